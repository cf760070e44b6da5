//! What a value holds: from its bytes in an RDB to its elements, one after another.
//!
//! Owns the meaning of every type that [`super::layout`] knows. A [`Decoder`] is given the value's bytes in pieces and gives [`Element`]s as
//! soon as they are there. Promises that memory is the largest single string of the value (an element, or a small collection that is packed
//! into one string), whatever the value's size; strings themselves come in pieces. Promises that what it gives is what the server that wrote
//! it would have answered, and that anything that does not fit together is an [`Error`] that names the byte of the file.
//!
//! Leaves to others how elements are shown or written elsewhere. Modules' values are given as they are: only the module knows them.
//!
//! | file | what |
//! | --- | --- |
//! | `element.rs` | what values consist of |
//! | `shape.rs` | which type is decoded how |
//! | `record.rs` | one element of a collection that is written out |
//! | `packed.rs`, `listpack.rs`, `ziplist.rs`, `zipmap.rs`, `intset.rs` | strings that hold a small collection |
//! | `walk.rs` | the elements of such a string |
//! | `stream.rs`, `entries.rs` | streams: the whole, and the listpacks of their entries |
//! | `text.rs` | strings in pieces |
//! | `count.rs` | how many elements a value has, without decoding it |

mod count;
mod element;
mod entries;
pub mod intset;
pub mod listpack;
pub mod packed;
mod record;
mod shape;
mod stream;
#[cfg(test)]
mod tests;
mod text;
mod walk;
pub mod ziplist;
pub mod zipmap;

pub use count::{Counter, count};
pub use element::{Element, Group, Pending, StreamCounts, StreamId, StreamMeta};

use bytes::Bytes;

use super::error::{Cause, Error, Reading};
use super::reader::{Reader, Stop};
use super::window::Window;
use super::{Flavor, Key};
use shape::{Layout, Shape};

/// Decodes one value.
#[derive(Debug)]
pub struct Decoder {
    window: Window,
    shape: Shape,
    reading: Reading,
    outcome: Option<Result<(), Error>>,
}

/// What came of looking for the next element.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// It is here.
    Element(Element),
    /// It has not arrived whole: push more.
    NeedMore,
    /// There is none: the value is whole.
    End,
}

impl Decoder {
    /// For a value of this type; `start` is the byte of the file at which it begins, after the key's name.
    ///
    /// # Errors
    /// The type is unknown to this flavor.
    pub fn new(value_type: u8, flavor: Flavor, start: u64) -> Result<Decoder, Error> {
        let reading = Reading::Value(value_type, flavor);
        let shape = Layout::of(value_type, flavor).map(Shape::of).ok_or(Error {
            at: start,
            reading,
            cause: Cause::Type(value_type),
        })?;
        Ok(Decoder {
            window: Window::new(start, None),
            shape,
            reading,
            outcome: None,
        })
    }

    /// For a key whose value is there whole.
    ///
    /// # Errors
    /// As [`Decoder::new`].
    pub fn of(key: &Key, flavor: Flavor) -> Result<Decoder, Error> {
        let mut decoder = Decoder::new(key.value_type, flavor, key.value_start())?;
        decoder.push(key.value.clone());
        Ok(decoder)
    }

    /// Gives the bytes that follow those pushed before.
    pub fn push(&mut self, piece: Bytes) {
        self.window.push(piece);
    }

    /// The next element. After the end, or an error, the same is given again; unless bytes follow the end, which are an error.
    ///
    /// # Errors
    /// The value is broken.
    pub fn step(&mut self) -> Result<Step, Error> {
        match &self.outcome {
            Some(Ok(())) if self.window.remaining() > 0 => {
                return self.fail(self.window.position(), Cause::Trailing(self.window.remaining()));
            }
            Some(Ok(())) => return Ok(Step::End),
            Some(Err(error)) => return Err(error.clone()),
            None => {}
        }
        match self.shape.step(&mut self.window) {
            Ok(Some(element)) => Ok(Step::Element(element)),
            Ok(None) if self.window.remaining() > 0 => {
                self.fail(self.window.position(), Cause::Trailing(self.window.remaining()))
            }
            Ok(None) => {
                self.outcome = Some(Ok(()));
                Ok(Step::End)
            }
            Err(Stop::Short(_)) => Ok(Step::NeedMore),
            Err(Stop::Bad(cause)) => self.fail(self.window.part(), cause),
        }
    }

    /// The next element of a value that is there whole, or was to be.
    ///
    /// # Errors
    /// The value is broken, or ends too early.
    pub fn element(&mut self) -> Result<Option<Element>, Error> {
        match self.step()? {
            Step::Element(element) => Ok(Some(element)),
            Step::End => Ok(None),
            Step::NeedMore => self.fail(self.window.position(), Cause::Truncated),
        }
    }

    fn fail<T>(&mut self, at: u64, cause: Cause) -> Result<T, Error> {
        let error = Error {
            at,
            reading: self.reading,
            cause,
        };
        self.outcome = Some(Err(error.clone()));
        Err(error)
    }
}

/// Takes one part of a value: `read` reads over it, and it is given as its bytes. Where it is not there whole, nothing is read.
fn take(window: &mut Window, read: impl Fn(&mut Reader<'_>) -> Result<(), Stop>) -> Result<Bytes, Stop> {
    window.begin_part();
    loop {
        let mut reader = Reader::new(window.unread());
        match read(&mut reader) {
            Ok(()) => {
                let len = reader.at;
                window.advance(len);
                return Ok(window.take_item());
            }
            Err(Stop::Short(needed)) => {
                if !window.extend(needed) {
                    return Err(Stop::Short(needed));
                }
            }
            Err(bad) => return Err(bad),
        }
    }
}

/// Takes a length.
fn take_length(window: &mut Window) -> Result<u64, Stop> {
    let raw = take(window, |reader| reader.length().map(|_| ()))?;
    Reader::new(&raw).length()
}
