//! Walks a layout to its end, and can stop anywhere between.
//!
//! Owns how far into a layout the walk is. Promises never to read a part twice once it has been read whole, so that
//! the work is linear however the bytes are cut; and to allocate by the depth of the layout, never by what a count
//! in the data says. Leaves the bytes themselves to [`super::window`].

use super::error::Cause;
use super::layout::Part;
use super::reader::{Reader, Stop};

/// A walk under way.
#[derive(Debug, Default)]
pub(super) struct Skip {
    /// The parts we are in, outermost first. No layout is more than five deep.
    frames: Vec<Frame>,
    /// Bytes of a string that are still to be read over: a string need not be there whole.
    passing: u64,
}

#[derive(Debug)]
struct Frame {
    parts: &'static [Part],
    /// Which of them is next.
    next: usize,
    /// How many times they still stand there, this time included.
    left: u64,
}

impl Frame {
    /// Reads parts as long as they are there whole, in order, and hold no others: collections have many, so this is the quick way.
    fn run(&mut self, reader: &mut Reader<'_>) {
        while self.left > 0 {
            while let Some(part) = self.parts.get(self.next) {
                let before = reader.at;
                if read_small(*part, reader).is_none() {
                    reader.at = before;
                    return;
                }
                self.next += 1;
            }
            self.next = 0;
            self.left -= 1;
        }
    }
}

/// What follows a module's opcode.
mod operand {
    pub(super) const END: u64 = 0;
    pub(super) const SIGNED: u64 = 1;
    pub(super) const UNSIGNED: u64 = 2;
    pub(super) const FLOAT: u64 = 3;
    pub(super) const DOUBLE: u64 = 4;
    pub(super) const STRING: u64 = 5;
}

impl Skip {
    /// Starts over, with these parts.
    #[inline]
    pub(super) fn begin(&mut self, parts: &'static [Part]) {
        self.frames.clear();
        self.passing = 0;
        self.frames.push(Frame {
            parts,
            next: 0,
            left: 1,
        });
    }

    /// Reads to the end of the layout. Where the bytes end before that, `reader` stands after the last part that was
    /// there whole, or at the end within a string; go on by calling again with the bytes from there.
    pub(super) fn run(&mut self, reader: &mut Reader<'_>) -> Result<(), Stop> {
        self.pass(reader)?;
        while let Some(frame) = self.frames.last_mut() {
            frame.run(reader);
            if frame.left == 0 {
                self.frames.pop();
                continue;
            }
            let Some(part) = frame.parts.get(frame.next) else {
                frame.next = 0;
                frame.left -= 1;
                continue;
            };
            let before = reader.at;
            match read(*part, reader) {
                Ok(Read::Whole) => frame.next += 1,
                Ok(Read::Opens(inner)) => {
                    frame.next += 1;
                    self.frames.push(inner);
                }
                Ok(Read::Passing(bytes)) => {
                    frame.next += 1;
                    self.passing = bytes;
                    self.pass(reader)?;
                }
                // What a module wrote goes on after its string.
                Ok(Read::ModulePassing(bytes)) => {
                    self.passing = bytes;
                    self.pass(reader)?;
                }
                Err(stop) => {
                    // A module's operands are parts of their own: those read so far stay read.
                    if *part != Part::Module {
                        reader.at = before;
                    }
                    return Err(stop);
                }
            }
        }
        Ok(())
    }

    /// Reads on within a string.
    #[inline]
    fn pass(&mut self, reader: &mut Reader<'_>) -> Result<(), Stop> {
        if self.passing == 0 {
            return Ok(());
        }
        self.passing -= reader.pass(self.passing);
        match self.passing {
            0 => Ok(()),
            _ => Err(Stop::Short(reader.at + 1)),
        }
    }
}

/// What came of reading one part.
enum Read {
    /// It was there whole.
    Whole,
    /// It was a count; so many parts follow.
    Opens(Frame),
    /// It is a string of which so many bytes are still to be read over.
    Passing(u64),
    /// The same of a string that a module wrote.
    ModulePassing(u64),
}

/// Reads one part that is there whole and holds no others.
#[inline]
fn read_small(part: Part, reader: &mut Reader<'_>) -> Option<()> {
    match part {
        Part::Str => reader.skip_string().ok(),
        Part::Lens(count) => (0..count).try_for_each(|_| reader.length().map(drop)).ok(),
        Part::Fixed(len) => reader.take(u64::from(len)).map(drop).ok(),
        Part::Score => reader.skip_score().ok(),
        Part::Many(_) | Part::Module => None,
    }
}

/// Reads one part.
#[inline]
fn read(part: Part, reader: &mut Reader<'_>) -> Result<Read, Stop> {
    match part {
        Part::Str => return Ok(passing(reader.string_bytes()?, reader)),
        Part::Lens(count) => {
            for _ in 0..count {
                reader.length()?;
            }
        }
        Part::Fixed(len) => reader.take(u64::from(len)).map(|_| ())?,
        Part::Score => reader.skip_score()?,
        Part::Module => return skip_module(reader),
        Part::Many(parts) => {
            let left = reader.length()?;
            let frame = Frame { parts, next: 0, left };
            return Ok(if left > 0 { Read::Opens(frame) } else { Read::Whole });
        }
    }
    Ok(Read::Whole)
}

#[inline]
fn passing(bytes: u64, reader: &mut Reader<'_>) -> Read {
    match bytes - reader.pass(bytes) {
        0 => Read::Whole,
        left => Read::Passing(left),
    }
}

/// Reads what a module wrote, up to and with the opcode for the end, or into a string that is not there whole.
fn skip_module(reader: &mut Reader<'_>) -> Result<Read, Stop> {
    loop {
        let before = reader.at;
        match skip_operand(reader) {
            Ok(Operand::End) => return Ok(Read::Whole),
            Ok(Operand::Other) => {}
            Ok(Operand::String(bytes)) => {
                if let Read::Passing(left) = passing(bytes, reader) {
                    return Ok(Read::ModulePassing(left));
                }
            }
            Err(stop) => {
                reader.at = before;
                return Err(stop);
            }
        }
    }
}

enum Operand {
    End,
    /// It has been read over.
    Other,
    /// So many bytes of it are to be read over.
    String(u64),
}

fn skip_operand(reader: &mut Reader<'_>) -> Result<Operand, Stop> {
    match reader.length()? {
        operand::END => return Ok(Operand::End),
        operand::SIGNED | operand::UNSIGNED => reader.length().map(|_| ())?,
        operand::FLOAT => reader.take(4).map(|_| ())?,
        operand::DOUBLE => reader.take(8).map(|_| ())?,
        operand::STRING => return Ok(Operand::String(reader.string_bytes()?)),
        unknown => return Err(Stop::Bad(Cause::ModuleOpcode(unknown))),
    }
    Ok(Operand::Other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Part::{Fixed, Lens, Many, Module, Str};

    const NESTED: &[Part] = &[Many(&[Str, Many(&[Fixed(2), Lens(1)])]), Str];
    const BYTES: &[u8] = b"\x02\x01a\x01xx\x40\x07\x01b\x00\x03end";

    #[test]
    fn a_walk_goes_on_where_the_bytes_ended() {
        for cut in 0..BYTES.len() {
            let mut skip = Skip::default();
            skip.begin(NESTED);
            let mut first = Reader::new(&BYTES[..cut]);
            let Err(Stop::Short(need)) = skip.run(&mut first) else {
                panic!("cut at {cut}: not short");
            };
            assert!(need > cut && need <= BYTES.len(), "cut at {cut}: asks for {need}");
            let mut rest = Reader::new(&BYTES[first.at..]);
            assert_eq!(skip.run(&mut rest), Ok(()), "cut at {cut}");
            assert_eq!(first.at + rest.at, BYTES.len());
        }
    }

    #[test]
    fn nothing_is_asked_for_beyond_the_end_of_the_layout() {
        let mut skip = Skip::default();
        skip.begin(NESTED);
        let mut reader = Reader::new(BYTES);
        assert_eq!((skip.run(&mut reader), reader.at), (Ok(()), BYTES.len()));
    }

    #[test]
    fn a_module_is_walked_by_its_opcodes() {
        let bytes = b"\x01\x05\x02\x40\x80\x03FFFF\x04DDDDDDDD\x05\x02hi\x00rest";
        let mut skip = Skip::default();
        skip.begin(&[Module]);
        let mut reader = Reader::new(bytes);
        assert_eq!((skip.run(&mut reader), reader.at), (Ok(()), bytes.len() - 4));
        skip.begin(&[Module]);
        assert_eq!(
            skip.run(&mut Reader::new(b"\x06")),
            Err(Stop::Bad(Cause::ModuleOpcode(6)))
        );
    }

    #[test]
    fn a_count_beyond_all_data_allocates_nothing() {
        let mut skip = Skip::default();
        skip.begin(&[Many(&[Fixed(16)])]);
        let mut bytes = vec![0x81];
        bytes.extend([0xff; 8 + 40]);
        let mut reader = Reader::new(&bytes);
        assert_eq!(skip.run(&mut reader), Err(Stop::Short(9 + 48)));
        assert_eq!(reader.at, 9 + 32);
    }
}
