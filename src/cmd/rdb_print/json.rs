//! JSON, written piece by piece.
//!
//! What can only be written when all of it is known is put off: in memory while it is short, in a temporary file beyond. That file has no
//! name and goes away with the command, however it ends.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64::write::EncoderWriter;

/// What is put off is held in memory up to this length, and in a temporary file beyond.
const HELD_BYTES_MAX: usize = 1 << 20;

/// Writes bytes as a string, or as `{"base64":…}` where they are not UTF-8.
pub(super) fn text(out: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(serde_json::to_writer(out, text)?),
        Err(_) => write!(out, "{{\"base64\":\"{}\"}}", STANDARD.encode(bytes)),
    }
}

/// Writes a score: a number, or the infinities as strings.
pub(super) fn score(out: &mut dyn Write, score: f64) -> io::Result<()> {
    match score {
        f64::INFINITY => out.write_all(b"\"inf\""),
        f64::NEG_INFINITY => out.write_all(b"\"-inf\""),
        // A whole number that a double holds exactly is written as one.
        whole if whole.fract() == 0.0 && whole.abs() < 9e15 && (whole != 0.0 || whole.is_sign_positive()) => {
            write!(out, "{whole}")
        }
        other => Ok(serde_json::to_writer(out, &other)?),
    }
}

/// There is no room for what is put off.
#[derive(Debug, thiserror::Error)]
#[error("{folder}: {cause}", folder = .folder.display())]
pub(super) struct NoRoom {
    /// Where temporary files are.
    folder: PathBuf,
    cause: io::Error,
}

impl NoRoom {
    fn because(cause: io::Error) -> io::Error {
        let folder = std::env::temp_dir();
        io::Error::new(cause.kind(), NoRoom { folder, cause })
    }

    /// Whether this, and not the output, is what an error is about.
    pub(super) fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<NoRoom>())
    }
}

/// What is put off.
#[derive(Debug)]
struct Spool(tempfile::SpooledTempFile);

impl Spool {
    fn new() -> Spool {
        Spool(tempfile::SpooledTempFile::new(HELD_BYTES_MAX))
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(NoRoom::because)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(NoRoom::because)
    }
}

impl Read for Spool {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read(bytes).map_err(NoRoom::because)
    }
}

impl Seek for Spool {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to).map_err(NoRoom::because)
    }
}

/// Bytes that are written when the last of them is known: only then is it known how.
#[derive(Debug)]
pub(super) struct PutOff {
    spool: Spool,
    /// The end of what was valid so far may be the beginning of a character.
    tail: Vec<u8>,
    is_utf8: bool,
}

impl PutOff {
    pub(super) fn new() -> PutOff {
        PutOff {
            spool: Spool::new(),
            tail: Vec::new(),
            is_utf8: true,
        }
    }

    /// The next bytes of a text.
    pub(super) fn text(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.check(bytes);
        self.spool.write_all(bytes)
    }

    fn check(&mut self, bytes: &[u8]) {
        if !self.is_utf8 {
            return;
        }
        let with_tail;
        let checked = match self.tail.is_empty() {
            true => bytes,
            false => {
                with_tail = [&self.tail[..], bytes].concat();
                &with_tail
            }
        };
        let tail = match std::str::from_utf8(checked) {
            Ok(_) => Vec::new(),
            Err(error) if error.error_len().is_none() => checked[error.valid_up_to()..].to_vec(),
            Err(_) => {
                self.is_utf8 = false;
                Vec::new()
            }
        };
        self.tail = tail;
    }

    /// Writes the text as one value.
    pub(super) fn write_text(mut self, out: &mut dyn Write) -> io::Result<()> {
        self.spool.seek(SeekFrom::Start(0))?;
        if self.is_utf8 && self.tail.is_empty() {
            out.write_all(b"\"")?;
            copy_escaped(&mut self.spool, out)?;
            return out.write_all(b"\"");
        }
        out.write_all(b"{\"base64\":\"")?;
        let mut encoder = EncoderWriter::new(out, &STANDARD);
        io::copy(&mut self.spool, &mut encoder)?;
        encoder.finish()?.write_all(b"\"}")
    }
}

/// Copies UTF-8 as the inside of a JSON string.
fn copy_escaped(from: &mut dyn Read, out: &mut dyn Write) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let mut held = 0;
    loop {
        let read = from.read(&mut buffer[held..])?;
        let there = held + read;
        if there == 0 {
            return Ok(());
        }
        let valid = match std::str::from_utf8(&buffer[..there]) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let text = std::str::from_utf8(&buffer[..valid]).unwrap_or_default();
        let quoted = serde_json::to_string(text)?;
        out.write_all(quoted.get(1..quoted.len() - 1).unwrap_or_default().as_bytes())?;
        if read == 0 {
            return Ok(());
        }
        buffer.copy_within(valid..there, 0);
        held = there - valid;
    }
}

/// The fields of a hash, put off: whether its names are UTF-8 decides on the form, and times of expiry come after all values.
#[derive(Debug)]
pub(super) struct Fields {
    spool: Spool,
    is_utf8: bool,
    has_expiry: bool,
}

/// Written where a field does not expire.
const NEVER: i64 = i64::MIN;

impl Fields {
    pub(super) fn new() -> Fields {
        Fields {
            spool: Spool::new(),
            is_utf8: true,
            has_expiry: false,
        }
    }

    pub(super) fn add(&mut self, name: &[u8], value: &[u8], expire_at_ms: Option<i64>) -> io::Result<()> {
        self.is_utf8 &= std::str::from_utf8(name).is_ok();
        self.has_expiry |= expire_at_ms.is_some();
        for part in [name, value] {
            self.spool.write_all(&(part.len() as u64).to_le_bytes())?;
            self.spool.write_all(part)?;
        }
        self.spool.write_all(&expire_at_ms.unwrap_or(NEVER).to_le_bytes())
    }

    /// Writes the value, and the times of expiry where there are some.
    pub(super) fn write(mut self, out: &mut dyn Write) -> io::Result<()> {
        self.pairs(out, |_, value, _| Some(Shown::Text(value)))?;
        if self.has_expiry {
            out.write_all(b",\"field_ttl_ms\":")?;
            self.pairs(out, |_, _, at| (at != NEVER).then_some(Shown::Number(at)))?;
        }
        Ok(())
    }

    /// An object, or an array of pairs where a name is not UTF-8.
    fn pairs(
        &mut self,
        out: &mut dyn Write,
        shown: impl for<'a> Fn(&'a [u8], &'a [u8], i64) -> Option<Shown<'a>>,
    ) -> io::Result<()> {
        let end = self.spool.stream_position()?;
        self.spool.seek(SeekFrom::Start(0))?;
        let mut from = io::BufReader::new(&mut self.spool).take(end);
        let (open, between, close) = if self.is_utf8 {
            ("{", ":", "}")
        } else {
            ("[", ",", "]")
        };
        out.write_all(open.as_bytes())?;
        let mut is_first = true;
        let (mut name, mut value) = (Vec::new(), Vec::new());
        while read_part(&mut from, &mut name)? && read_part(&mut from, &mut value)? {
            let mut at = [0; 8];
            from.read_exact(&mut at)?;
            let Some(one) = shown(&name, &value, i64::from_le_bytes(at)) else {
                continue;
            };
            if !std::mem::take(&mut is_first) {
                out.write_all(b",")?;
            }
            if !self.is_utf8 {
                out.write_all(b"[")?;
            }
            text(out, &name)?;
            out.write_all(between.as_bytes())?;
            match one {
                Shown::Text(bytes) => text(out, bytes)?,
                Shown::Number(number) => write!(out, "{number}")?,
            }
            if !self.is_utf8 {
                out.write_all(b"]")?;
            }
        }
        drop(from);
        self.spool.seek(SeekFrom::Start(end))?;
        out.write_all(close.as_bytes())
    }
}

/// What stands beside a field's name.
enum Shown<'a> {
    Text(&'a [u8]),
    Number(i64),
}

/// Reads a part with its length before it; false at the end.
fn read_part(from: &mut dyn Read, part: &mut Vec<u8>) -> io::Result<bool> {
    let mut len = [0; 8];
    match from.read_exact(&mut len) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        other => other?,
    }
    part.clear();
    from.take(u64::from_le_bytes(len)).read_to_end(part)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn bytes_are_text_or_base64() {
        assert_eq!(written(|out| text(out, b"a\"\n\xc3\xa9")), "\"a\\\"\\n\u{e9}\"");
        assert_eq!(written(|out| text(out, b"\xff")), "{\"base64\":\"/w==\"}");
    }

    #[test]
    fn scores_are_numbers_but_for_the_infinities() {
        let scores = [
            1.0,
            0.5,
            -3.25,
            f64::INFINITY,
            f64::NEG_INFINITY,
            1e300,
            5e-324,
            -0.0,
        ];
        let expected = [
            "1", "0.5", "-3.25", "\"inf\"", "\"-inf\"", "1e+300", "5e-324", "-0.0",
        ];
        for (one, expected) in scores.into_iter().zip(expected) {
            assert_eq!(written(|out| score(out, one)), expected);
        }
    }

    #[test]
    fn a_text_that_comes_in_pieces_is_the_same_however_it_is_cut() {
        let long = "é\"\u{1F600}\n".repeat(40_000);
        for size in [1, 3, 1000, long.len()] {
            let mut put_off = PutOff::new();
            for piece in long.as_bytes().chunks(size) {
                put_off.text(piece).unwrap();
            }
            let shown = written(|out| put_off.write_text(out));
            assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), long);
        }
        for broken in [&b"ab\xff"[..], b"ab\xc3"] {
            let mut put_off = PutOff::new();
            broken.iter().for_each(|byte| put_off.text(&[*byte]).unwrap());
            let shown = written(|out| put_off.write_text(out));
            assert_eq!(shown, format!("{{\"base64\":\"{}\"}}", STANDARD.encode(broken)));
        }
    }

    #[test]
    fn one_name_that_is_not_text_makes_pairs_of_all() {
        let mut fields = Fields::new();
        fields.add(b"a", b"1", None).unwrap();
        fields.add(b"b", b"\xff", Some(7)).unwrap();
        assert_eq!(
            written(|out| fields.write(out)),
            r#"{"a":"1","b":{"base64":"/w=="}},"field_ttl_ms":{"b":7}"#
        );
        let mut fields = Fields::new();
        fields.add(b"a", b"1", None).unwrap();
        fields.add(b"\xff", b"2", None).unwrap();
        assert_eq!(
            written(|out| fields.write(out)),
            r#"[["a","1"],[{"base64":"/w=="},"2"]]"#
        );
    }
}
