//! `gunyu rdb-stats`: what takes the room in an RDB file.
//!
//! Owns the options, the way through the file, and how the command ends. What is counted stands in `counted.rs`, how it is told in `report.rs`.

mod counted;
mod json;
mod prefix;
mod table;
mod tally;
mod text;
mod top;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use super::progress::How;
use super::rdb_file::RdbFile;
use super::{Exit, Failure, print};
use crate::core::rdb::{self, End, Scanner, Step, Version};
use counted::Counted;

/// Show what takes the room in an RDB file
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Counts keys, and the bytes of the file that they take (value, name, expiry and the like), by database, by type and encoding, by time to live, and by \
prefix; and lists the keys that take most bytes and those that have most elements. No value is decoded, and memory does not grow with the file.

A string's encoding is raw, int (an integer of 8 to 32 bits) or lzf; other encodings are named as OBJECT ENCODING names them. Times to live are counted from now.

A prefix is a key up to and with its first separator, and again up to its second one: user:1:name counts for user: and for user:1:. Where more than 1000 \
different ones come below a first prefix they are ids, and are not told apart (in JSON ids_below). Separators are looked for in the first 128 bytes of a key. \
Up to 4096 different prefixes every figure is exact. Beyond that only the bigger ones are kept, and each tells the most that may be missing of its bytes \
(in JSON missing_bytes_max; 0 is exact); no prefix that has more than what was given up is left out.

Of a file that is broken everything before the fault is counted; the error names the byte.

Examples:
  gunyu rdb-stats dump.rdb
  gunyu rdb-stats dump.rdb --top 50 --prefix-separator :
  gunyu rdb-stats dump.rdb --json | jq '.prefixes.biggest[0]'
  ssh db1 cat /var/lib/redis/dump.rdb | gunyu rdb-stats -

Exit codes: 0 counted, 1 the file is broken or something failed, 2 usage.")]
pub struct Args {
    /// The RDB file, or - for stdin
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,
    /// How many keys and prefixes to list
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    top: u32,
    /// Characters that end a prefix
    #[arg(long, value_name = "CHARS", default_value = ":/|.")]
    prefix_separator: String,
    /// Print the figures as JSON; draw no progress
    #[arg(long)]
    json: bool,
    /// Draw no progress
    #[arg(long, short)]
    quiet: bool,
}

/// Values above this are counted piece by piece: no need to put them together.
const WHOLE_BYTES_MAX: usize = 64 << 10;

/// Everything there is to tell of a file.
#[derive(Debug)]
struct Stats {
    name: String,
    version: Option<Version>,
    /// Its end, or why that was not reached, and how many bytes there were.
    end: Result<End, rdb::Error>,
    bytes: u64,
    counted: Counted,
    top: usize,
    separators: String,
}

/// Counts.
///
/// # Errors
/// See the exit codes above.
pub fn run(args: &Args) -> Result<(), Failure> {
    if !args.prefix_separator.is_ascii() {
        return Err(
            Failure::new(Exit::Usage, "--prefix-separator takes ASCII characters")
                .with_hint(Some("for instance --prefix-separator ':/'".to_owned())),
        );
    }
    let file = RdbFile::open(&args.file, How::on_stderr(args.quiet || args.json))?;
    let stats = Stats::of(file, args)?;
    match args.json {
        true => print::json(&json::of(&stats))?,
        false => print::text(&text::of(&stats))?,
    }
    match stats.end {
        Ok(_) => Ok(()),
        Err(error) => Err(super::rdb_file::broken(&stats.name, &error)),
    }
}

impl Stats {
    fn of(mut file: RdbFile, args: &Args) -> Result<Stats, Failure> {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let top = args.top as usize;
        let now_ms = i64::try_from(now_ms.as_millis()).unwrap_or(i64::MAX);
        let mut counted = Counted::new(top, args.prefix_separator.as_bytes(), now_ms);
        let mut scanner = Scanner::new().in_pieces(WHOLE_BYTES_MAX);
        let end = count(&mut file, &mut scanner, &mut counted)?;
        counted.finish();
        Ok(Stats {
            name: file.name().to_owned(),
            version: scanner.version(),
            bytes: file.read_bytes(),
            end: end.and_then(|()| scanner.finish()),
            counted,
            top,
            separators: args.prefix_separator.clone(),
        })
    }
}

/// Counts what the file has; up to a fault, which is the inner error.
fn count(
    file: &mut RdbFile,
    scanner: &mut Scanner,
    counted: &mut Counted,
) -> Result<Result<(), rdb::Error>, Failure> {
    loop {
        if let Some(version) = scanner.version() {
            counted.is_of(version.flavor);
        }
        let step = scanner.look(|key| counted.key(key));
        match step {
            Ok(Step::NeedMore | Step::End(_)) => {
                file.dealt_with(counted.keys);
                let Some(chunk) = file.next_chunk()? else {
                    return Ok(Ok(()));
                };
                scanner.push(chunk);
            }
            Ok(Step::Item(item)) => counted.item(&item),
            Ok(Step::Large(key)) => counted.begin_large(key),
            Ok(Step::Piece(piece)) => counted.piece(piece),
            Ok(Step::LargeEnd(end)) => counted.end_large(end),
            Err(error) => return Ok(Err(error)),
        }
    }
}
