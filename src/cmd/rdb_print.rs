//! `gunyu rdb-print`: what is in an RDB file, one JSON object a line.
//!
//! Owns the lines. A value is decoded whole before its line is written, unless it is large: then it is written while it is read, in memory that
//! does not grow with it, and `size` stands behind it.

mod glob;
mod json;
mod printer;
mod stream;
mod value;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use clap::ValueEnum;

use super::file;
use super::interrupt::unless_interrupted;
use super::progress::{Download, How};
use super::{Exit, Failure, rdb_file};
use crate::core::rdb::{self, Scanner, Step};
use glob::Glob;
use printer::{Printer, Selection};

/// Print what is in an RDB file, one JSON object a line
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
A key: {\"db\":0,\"key\":\"k\",\"type\":\"hash\",\"encoding\":\"listpack\",\"ttl_ms\":null,\"size\":12,\"value\":{…}}
\"ttl_ms\" is when it expires, in milliseconds since 1970; \"size\" its value's bytes in the file; \"idle_secs\" and \"freq\" stand where the file has them. \
What is not UTF-8 is {\"base64\":\"…\"}. A list or a set is an array, a sorted set an array of [member, score] (\"inf\" and \"-inf\" for the infinities), a hash an object (an array of pairs where a name is not \
UTF-8) with \"field_ttl_ms\" beside it where fields expire, a stream an object with entries and groups, a module's value base64 of what the module wrote. \
Fields about the file, functions and modules' data beside the keys have lines of their own, with \"type\" aux, function, module_aux.

A file that is broken is printed up to the fault, and the error names the byte. Values above 4 MiB are printed while they are read: their \"size\" comes last. A line \
above 1 MiB that ends in a fault is closed with \"broken\":true; a shorter one is left out. Large strings and hashes pass through a temporary file without a \
name, in $TMPDIR or /tmp, which must have room for one of them.

Examples:
  gunyu rdb-print dump.rdb | jq -c 'select(.type == \"zset\")'
  gunyu rdb-print dump.rdb --no-value --match 'user:*' --db 0
  zcat dump.rdb.gz | gunyu rdb-print - --type stream --output streams.jsonl

Exit codes: 0 printed, 1 it failed (the file is broken: what came before is printed), 2 usage, 130 interrupted.")]
pub struct Args {
    /// The file, or - for stdin
    file: PathBuf,
    /// Leave out what keys, modules and functions hold
    #[arg(long)]
    no_value: bool,
    /// Only keys that match a pattern, as KEYS knows them
    #[arg(long = "match", value_name = "GLOB")]
    pattern: Option<OsString>,
    /// Only keys of this database; may be repeated
    #[arg(long, value_name = "N")]
    db: Vec<u32>,
    /// Only this type; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<Type>,
    /// Write to a file, which appears whole or not at all
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// For symmetry with other commands: it is JSON anyway
    #[arg(long)]
    json: bool,
    /// Draw no progress
    #[arg(long, short)]
    quiet: bool,
}

/// What a line may be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Type {
    /// A string.
    String,
    /// A list.
    List,
    /// A set.
    Set,
    /// A sorted set.
    Zset,
    /// A hash.
    Hash,
    /// A stream.
    Stream,
    /// A module's value.
    Module,
    /// A field about the file.
    Aux,
    /// A library of functions.
    Function,
    /// What a module keeps beside the keys.
    ModuleAux,
}

/// A file is read in pieces of this size.
const CHUNK_BYTES: usize = 1 << 20;

/// Larger values are printed while they are read.
const WHOLE_BYTES_MAX: usize = 4 << 20;

/// Prints.
///
/// # Errors
/// See the exit codes above.
pub fn run(args: &Args) -> Result<(), Failure> {
    let selection = Selection {
        with_value: !args.no_value,
        pattern: args.pattern.as_ref().map(|pattern| Glob::new(pattern.as_bytes())),
        dbs: args.db.clone(),
        types: args.types.clone(),
    };
    let Some(output) = args.output.as_deref().filter(|path| *path != Path::new("-")) else {
        let out = BufWriter::with_capacity(CHUNK_BYTES / 16, io::stdout().lock());
        return print(args, Printer::new(out, selection));
    };
    if is_same(&args.file, output) {
        let message = format!("{} would be replaced by what is printed of it", output.display());
        return Err(Failure::new(Exit::Usage, message)
            .with_hint(Some("choose another place with --output".to_owned())));
    }
    let (unnamed, out) = file::create(output, "--output")?;
    let args = args.clone();
    unless_interrupted("nothing is written; run the command again", move || {
        let mut out = BufWriter::with_capacity(CHUNK_BYTES, out);
        print(&args, Printer::new(&mut out, selection))?;
        let mut out = out.into_inner().map_err(|error| cannot_write(error.error()))?;
        out.finish()
    })?;
    file::name(vec![unnamed])
}

/// Whether both are one file.
fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok().filter(|path| path.is_file());
    real(one).is_some_and(|one| real(other) == Some(one))
}

/// Why printing ended before the file did.
#[derive(Debug)]
enum End {
    /// The file is broken.
    Broken(rdb::Error),
    /// It cannot be read.
    Read(io::Error),
    /// What is printed cannot be written.
    Write(io::Error),
}

fn print(args: &Args, mut printer: Printer<impl Write>) -> Result<(), Failure> {
    let (mut input, total) = open(&args.file)?;
    // Lines that go by on a terminal say themselves how far it is.
    let how = match args.output.is_some() {
        true => How::on_stderr(args.quiet),
        false => How::Not,
    };
    let mut bar = Download::new(how, &args.file.display().to_string());
    bar.begins(total);
    let ended = lines(&mut *input, &mut printer, &mut bar);
    let flushed = printer.finish();
    drop(bar);
    match ended.and_then(|()| flushed.map_err(End::Write)) {
        Ok(()) => Ok(()),
        // Whoever read has had enough.
        Err(End::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(End::Write(error)) => Err(cannot_write(&error)),
        Err(End::Read(error)) => Err(cannot_read(&args.file, &error)),
        Err(End::Broken(error)) => Err(is_broken(args, &error)),
    }
}

fn is_broken(args: &Args, error: &rdb::Error) -> Failure {
    let file = match args.file == Path::new("-") {
        true => "stdin".to_owned(),
        false => args.file.display().to_string(),
    };
    let hint = match &args.output {
        _ if error.is_no_rdb() => return rdb_file::broken(&file, error),
        None => "what stands before that byte is printed; dump the file anew where its source still is",
        Some(_) => {
            "without --output, what stands before that byte is printed; dump the file anew where its source still is"
        }
    };
    Failure::new(Exit::Failed, format!("{file}: {error}")).with_hint(Some(hint.to_owned()))
}

fn lines(input: &mut dyn Read, printer: &mut Printer<impl Write>, bar: &mut Download) -> Result<(), End> {
    let mut scanner = Scanner::new().in_pieces(WHOLE_BYTES_MAX);
    loop {
        match scanner.step() {
            Ok(Step::NeedMore | Step::End(_)) => {
                let Some(chunk) = read(input).map_err(End::Read)? else {
                    break;
                };
                bar.received(chunk.len() as u64);
                scanner.push(chunk);
            }
            Ok(step) => printer.step(step, &scanner)?,
            Err(error) => {
                printer.broken().map_err(End::Write)?;
                return Err(End::Broken(error));
            }
        }
    }
    let ended = scanner.finish().map(|_| ()).map_err(End::Broken);
    if ended.is_err() {
        printer.broken().map_err(End::Write)?;
    }
    ended
}

fn read(input: &mut dyn Read) -> io::Result<Option<Bytes>> {
    let mut chunk = BytesMut::zeroed(CHUNK_BYTES);
    loop {
        match input.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) => return Ok(None),
            Ok(read) => {
                chunk.truncate(read);
                return Ok(Some(chunk.freeze()));
            }
            Err(error) => return Err(error),
        }
    }
}

/// Opens the file; says how long it is, where that is known.
fn open(path: &Path) -> Result<(Box<dyn Read>, Option<u64>), Failure> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin().lock()), None));
    }
    let file = File::open(path).map_err(|error| cannot_read(path, &error))?;
    let about = file.metadata().map_err(|error| cannot_read(path, &error))?;
    Ok((Box::new(file), about.is_file().then_some(about.len())))
}

fn cannot_read(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot read {}: {error}", path.display()))
        .with_hint(Some("name an RDB file, or - for stdin".to_owned()))
}

fn cannot_write(error: &io::Error) -> Failure {
    let (what, hint) = match json::NoRoom::is(error) {
        true => (
            "cannot put a large value into a temporary file",
            "make room there, or name another folder by TMPDIR; --no-value needs none",
        ),
        false => (
            "cannot write what is printed",
            "make room, or choose another place with --output",
        ),
    };
    Failure::new(Exit::Failed, format!("{what}: {error}")).with_hint(Some(hint.to_owned()))
}
