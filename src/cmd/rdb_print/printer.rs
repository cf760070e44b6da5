//! Lines: which items get one, and what stands in it.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::glob::Glob;
use super::value::Value;
use super::{End, Type, json};
use crate::core::rdb::value::{self, Decoder};
use crate::core::rdb::{self, Flavor, Item, Key, Kind, Reading, Scanner, Step, kind_of};

/// What is printed.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) with_value: bool,
    pub(super) pattern: Option<Glob>,
    /// None listed: all.
    pub(super) dbs: Vec<u32>,
    /// None listed: all.
    pub(super) types: Vec<Type>,
}

impl Selection {
    fn has_type(&self, one: Type) -> bool {
        match self.types.is_empty() {
            // Who asks for certain keys wants keys.
            true => !one.is_beside_keys() || (self.pattern.is_none() && self.dbs.is_empty()),
            false => self.types.contains(&one),
        }
    }

    fn has_key(&self, key: &Key, kind: &Kind) -> bool {
        (self.dbs.is_empty() || self.dbs.contains(&key.db))
            && Type::of(kind.object).is_some_and(|one| self.has_type(one))
            && self.pattern.as_ref().is_none_or(|glob| glob.matches(&key.key))
    }
}

impl Type {
    fn of(object: &str) -> Option<Type> {
        Some(match object {
            "string" => Type::String,
            "list" => Type::List,
            "set" => Type::Set,
            "zset" => Type::Zset,
            "hash" => Type::Hash,
            "stream" => Type::Stream,
            "module" => Type::Module,
            _ => return None,
        })
    }

    fn is_beside_keys(self) -> bool {
        matches!(self, Type::Aux | Type::Function | Type::ModuleAux)
    }
}

/// A line is held back up to this length: nothing is printed of a value that turns out broken. A longer one goes on its way while it is
/// made, since a value that is packed can be many times as long as in the file.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Prints lines.
#[derive(Debug)]
pub(super) struct Printer<W> {
    out: W,
    selection: Selection,
    /// The large value in hand.
    large: Option<Large>,
    line: Vec<u8>,
}

/// A line that is being made.
struct Line<'a> {
    out: &'a mut dyn Write,
    held: &'a mut Vec<u8>,
    /// A part of it is printed.
    has_begun: bool,
}

impl Line<'_> {
    fn print(&mut self) -> io::Result<()> {
        self.has_begun = true;
        self.out.write_all(self.held)?;
        self.held.clear();
        Ok(())
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        if self.held.len() > LINE_BYTES_MAX {
            self.print()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.print()
    }
}

/// A value that comes in pieces.
#[derive(Debug)]
enum Large {
    /// Its key is not printed.
    Passed,
    /// Only its size is still to be told; where it began.
    Measured { start: u64 },
    /// It is printed while it is read.
    Printed {
        start: u64,
        decoder: Box<Decoder>,
        value: Box<Value>,
    },
}

impl<W: Write> Printer<W> {
    pub(super) fn new(out: W, selection: Selection) -> Printer<W> {
        Printer {
            out,
            selection,
            large: None,
            line: Vec::new(),
        }
    }

    /// Prints what the scanner gave last.
    pub(super) fn step(&mut self, step: Step, scanner: &Scanner) -> Result<(), End> {
        let flavor = scanner.version().map_or(Flavor::Redis, |version| version.flavor);
        match step {
            Step::Item(Item::Key(key)) => self.key(&key, flavor),
            Step::Item(Item::Function(raw)) => {
                let end = scanner.cursor().map_or(0, |cursor| cursor.at);
                self.function(&raw, end)
            }
            Step::Item(item) => self.beside(item).map_err(End::Write),
            Step::Large(key) => self.begin_large(key, flavor),
            Step::Piece(piece) => self.piece(piece),
            Step::LargeEnd(end) => self.end_large(end),
            Step::NeedMore | Step::End(_) => Ok(()),
        }
    }

    /// Everything that was printed is on its way.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// The file is broken: a line that has begun is closed.
    pub(super) fn broken(&mut self) -> io::Result<()> {
        match self.large.take() {
            None | Some(Large::Passed) => return Ok(()),
            Some(Large::Measured { .. }) => {}
            Some(Large::Printed { value, .. }) => value.end(&mut self.out)?,
        }
        self.out.write_all(BROKEN)
    }

    fn key(&mut self, key: &Key, flavor: Flavor) -> Result<(), End> {
        let Some(kind) = kind_of(key.value_type, flavor).filter(|kind| self.selection.has_key(key, kind))
        else {
            return Ok(());
        };
        self.line.clear();
        let mut line = Line {
            out: &mut self.out,
            held: &mut self.line,
            has_begun: false,
        };
        head(&mut line, key, kind).map_err(End::Write)?;
        size(&mut line, key.value.len() as u64).map_err(End::Write)?;
        if self.selection.with_value {
            line.write_all(b",\"value\":").map_err(End::Write)?;
            whole_value(&mut line, key, kind, flavor)?;
        }
        line.write_all(b"}\n").map_err(End::Write)?;
        line.print().map_err(End::Write)
    }

    fn begin_large(&mut self, key: Key, flavor: Flavor) -> Result<(), End> {
        let start = key.value_start();
        let kind = kind_of(key.value_type, flavor).filter(|kind| self.selection.has_key(&key, kind));
        self.large = Some(Large::Passed);
        let Some(kind) = kind else { return Ok(()) };
        self.line.clear();
        head(&mut self.line, &key, kind).map_err(End::Write)?;
        self.out.write_all(&self.line).map_err(End::Write)?;
        if !self.selection.with_value {
            self.large = Some(Large::Measured { start });
            return Ok(());
        }
        self.out.write_all(b",\"value\":").map_err(End::Write)?;
        let value = Value::begin(kind.object, &mut self.out).map_err(End::Write)?;
        let decoder = Decoder::new(key.value_type, flavor, start).map_err(End::Broken)?;
        self.large = Some(Large::Printed {
            start,
            decoder: Box::new(decoder),
            value: Box::new(value),
        });
        self.piece(key.value)
    }

    fn piece(&mut self, piece: Bytes) -> Result<(), End> {
        let Some(Large::Printed { decoder, value, .. }) = &mut self.large else {
            return Ok(());
        };
        decoder.push(piece);
        loop {
            match decoder.step() {
                Ok(value::Step::Element(element)) => {
                    if let Err(error) = value.element(&mut self.out, element) {
                        return Err(self.unwritten(error));
                    }
                }
                Ok(value::Step::NeedMore | value::Step::End) => return Ok(()),
                Err(error) => {
                    self.broken().map_err(End::Write)?;
                    return Err(End::Broken(error));
                }
            }
        }
    }

    /// An element could not be written. Where it should have been put off, nothing of the value is printed: its line is closed.
    fn unwritten(&mut self, error: io::Error) -> End {
        if json::NoRoom::is(&error) {
            self.large = None;
            // Should that fail, too, the first error is the one to tell.
            let _ = self
                .out
                .write_all(b"null")
                .and_then(|()| self.out.write_all(BROKEN));
        }
        End::Write(error)
    }

    fn end_large(&mut self, end: u64) -> Result<(), End> {
        // The scanner has seen the end of the value: so must the decoder.
        if let Some(Large::Printed { decoder, .. }) = &mut self.large
            && let Err(error) = decoder.element()
        {
            self.broken().map_err(End::Write)?;
            return Err(End::Broken(error));
        }
        self.whole(end).map_err(End::Write)
    }

    /// The large value in hand is whole.
    fn whole(&mut self, end: u64) -> io::Result<()> {
        let start = match self.large.take() {
            None | Some(Large::Passed) => return Ok(()),
            Some(Large::Measured { start }) => start,
            Some(Large::Printed { start, value, .. }) => {
                value.end(&mut self.out)?;
                start
            }
        };
        size(&mut self.out, end - start)?;
        self.out.write_all(b"}\n")
    }

    /// `end` is the byte of the file after it.
    fn function(&mut self, raw: &Bytes, end: u64) -> Result<(), End> {
        if !self.selection.has_type(Type::Function) {
            return Ok(());
        }
        let code = rdb::unpack(raw).map_err(|cause| {
            End::Broken(rdb::Error {
                at: end.saturating_sub(raw.len() as u64),
                reading: Reading::Opcode(FUNCTION),
                cause,
            })
        })?;
        self.library(raw.len() as u64, &code).map_err(End::Write)
    }

    fn library(&mut self, bytes: u64, code: &[u8]) -> io::Result<()> {
        let out = &mut self.out;
        out.write_all(b"{\"type\":\"function\"")?;
        size(out, bytes)?;
        if self.selection.with_value {
            out.write_all(b",\"code\":")?;
            json::text(out, code)?;
        }
        out.write_all(b"}\n")
    }

    fn beside(&mut self, item: Item) -> io::Result<()> {
        let out = &mut self.out;
        match item {
            Item::Aux { key, value } if self.selection.has_type(Type::Aux) => {
                out.write_all(b"{\"type\":\"aux\",\"key\":")?;
                json::text(out, &key)?;
                out.write_all(b",\"value\":")?;
                json::text(out, &value)?;
                out.write_all(b"}\n")
            }
            Item::ModuleAux { module, raw } if self.selection.has_type(Type::ModuleAux) => {
                out.write_all(b"{\"type\":\"module_aux\"")?;
                module_id(out, &module.name(), module.encoding_version())?;
                size(out, raw.len() as u64)?;
                if self.selection.with_value {
                    write!(out, ",\"value\":{{\"base64\":\"{}\"}}", STANDARD.encode(&raw))?;
                }
                out.write_all(b"}\n")
            }
            _ => Ok(()),
        }
    }
}

/// The opcode of a library of functions.
const FUNCTION: u8 = 245;

/// The value of a key that is there whole. Where it is broken and a part of its line is printed, the line is closed.
fn whole_value(line: &mut Line<'_>, key: &Key, kind: &Kind, flavor: Flavor) -> Result<(), End> {
    let mut value = Value::begin(kind.object, line).map_err(End::Write)?;
    let mut decoder = Decoder::of(key, flavor).map_err(End::Broken)?;
    loop {
        match decoder.element() {
            Ok(Some(element)) => value.element(line, element).map_err(End::Write)?,
            Ok(None) => return value.end(line).map_err(End::Write),
            Err(error) if line.has_begun => {
                let closed = value.end(line).and_then(|()| line.write_all(BROKEN));
                closed.and_then(|()| line.print()).map_err(End::Write)?;
                return Err(End::Broken(error));
            }
            Err(error) => return Err(End::Broken(error)),
        }
    }
}

/// Closes a line whose value is broken.
const BROKEN: &[u8] = b",\"broken\":true}\n";

/// What stands before the value.
fn head(out: &mut dyn Write, key: &Key, kind: &Kind) -> io::Result<()> {
    write!(out, "{{\"db\":{},\"key\":", key.db)?;
    json::text(out, &key.key)?;
    write!(
        out,
        ",\"type\":\"{}\",\"encoding\":\"{}\",\"ttl_ms\":",
        kind.object, kind.encoding
    )?;
    match key.expire_at_ms {
        Some(at) => write!(out, "{at}")?,
        None => out.write_all(b"null")?,
    }
    if let Some(idle) = key.idle_secs {
        write!(out, ",\"idle_secs\":{idle}")?;
    }
    if let Some(freq) = key.freq {
        write!(out, ",\"freq\":{freq}")?;
    }
    if let Some(module) = key.module() {
        module_id(out, &module.name(), module.encoding_version())?;
    }
    Ok(())
}

fn module_id(out: &mut dyn Write, name: &str, version: u16) -> io::Result<()> {
    write!(out, ",\"module\":\"{name}\",\"encoding_version\":{version}")
}

fn size(out: &mut dyn Write, bytes: u64) -> io::Result<()> {
    write!(out, ",\"size\":{bytes}")
}
