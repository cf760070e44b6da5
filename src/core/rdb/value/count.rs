//! How many elements a value has, without decoding it.
//!
//! Owns where the counts stand. Promises that what it says is what a server would answer (`LLEN`, `SCARD`, …; for a string its length), fields
//! that have expired included; and nothing where that would take decoding (a packed collection of more than 65534 entries, a module's
//! value), or where the value is broken.
//!
//! | type | the count stands |
//! | --- | --- |
//! | string | in its length |
//! | written out | at the beginning |
//! | packed | in the header of the packed string; of pairs half of it |
//! | list of packed strings | in each of their headers |
//! | stream | behind its listpacks |

use bytes::Bytes;

use super::intset::Intset;
use super::listpack::Listpack;
use super::record::Record;
use super::shape::Layout;
use super::take;
use super::ziplist::Ziplist;
use crate::core::rdb::Flavor;
use crate::core::rdb::lzf;
use crate::core::rdb::reader::{LZF, Length, Reader, Stop};
use crate::core::rdb::window::Window;

/// The longest header of a packed string.
const HEADER_BYTES: usize = 10;

/// How many elements a value has that is there whole. `value` is what follows the key's name.
#[must_use]
pub fn count(value_type: u8, flavor: Flavor, value: &[u8]) -> Option<u64> {
    let layout = Layout::of(value_type, flavor)?;
    let mut reader = Reader::new(value);
    let first = begin(layout, &mut reader).ok()?;
    match first {
        First::Count(count) => count,
        First::Nodes(nodes) => {
            let mut count = 0;
            for _ in 0..nodes {
                count += node(layout, &mut reader).ok()??;
            }
            Some(count)
        }
        First::Listpacks(nodes) => {
            for _ in 0..nodes {
                skip_listpack(&mut reader).ok()?;
            }
            reader.length().ok()
        }
    }
}

/// The same for a value that comes in pieces.
#[derive(Debug)]
pub struct Counter {
    layout: Option<Layout>,
    window: Window,
    first: Option<First>,
    sum: Option<u64>,
}

/// What stands at a value's beginning.
#[derive(Debug, Clone, Copy)]
enum First {
    /// The count.
    Count(Option<u64>),
    /// So many packed strings with a count each.
    Nodes(u64),
    /// So many listpacks of a stream, and then the count.
    Listpacks(u64),
}

impl Counter {
    /// For a value of this type.
    #[must_use]
    pub fn new(value_type: u8, flavor: Flavor) -> Counter {
        Counter {
            layout: Layout::of(value_type, flavor),
            window: Window::new(0, None),
            first: None,
            sum: Some(0),
        }
    }

    /// Takes the bytes that follow those pushed before.
    pub fn push(&mut self, piece: Bytes) {
        let Some(layout) = self.layout else { return };
        if matches!(self.first, Some(First::Count(_))) {
            return;
        }
        self.window.push(piece);
        if let Err(Stop::Bad(_)) = self.read_on(layout) {
            self.layout = None;
        }
    }

    /// The count, of a value that has been pushed whole.
    #[must_use]
    pub fn count(&self) -> Option<u64> {
        self.layout?;
        match self.first? {
            First::Count(count) => count,
            First::Nodes(0) => self.sum,
            First::Nodes(_) | First::Listpacks(_) => None,
        }
    }

    fn read_on(&mut self, layout: Layout) -> Result<(), Stop> {
        let window = &mut self.window;
        let mut first = match self.first {
            Some(first) => first,
            None => {
                let raw = take(window, |reader| begin(layout, reader).map(|_| ()))?;
                begin(layout, &mut Reader::new(&raw))?
            }
        };
        self.first = Some(first);
        loop {
            first = match first {
                First::Count(_) | First::Nodes(0) => return Ok(()),
                First::Listpacks(0) => {
                    let raw = take(window, |reader| reader.length().map(|_| ()))?;
                    First::Count(Some(Reader::new(&raw).length()?))
                }
                First::Listpacks(left) => {
                    take(window, skip_listpack)?;
                    First::Listpacks(left - 1)
                }
                First::Nodes(left) => {
                    let raw = take(window, |reader| node(layout, reader).map(|_| ()))?;
                    let more = node(layout, &mut Reader::new(&raw))?;
                    self.sum = self.sum.zip(more).map(|(sum, more)| sum + more);
                    First::Nodes(left - 1)
                }
            };
            self.first = Some(first);
        }
    }
}

/// Reads what stands at the beginning. Of a packed string its header, as far as `reader` has it.
fn begin(layout: Layout, reader: &mut Reader<'_>) -> Result<First, Stop> {
    Ok(match layout {
        Layout::Text => First::Count(Some(text_bytes(reader)?)),
        Layout::Records(record) => {
            if record == Record::ExpiringSince {
                reader.take(8)?;
            }
            First::Count(Some(reader.length()?))
        }
        Layout::Packed { pack, after_expiry } => {
            if after_expiry {
                reader.take(8)?;
            }
            let entries = packed_count(pack.count_of(), reader)?;
            First::Count(entries.map(|entries| entries / pack.entries_each()))
        }
        Layout::Ziplists | Layout::Containers => First::Nodes(reader.length()?),
        Layout::Stream(_) => First::Listpacks(reader.length()?),
        Layout::Module => First::Count(None),
    })
}

/// Where the count of a packed string stands.
pub(super) type CountOf = fn(&[u8]) -> Option<u64>;

pub(super) fn of_listpack(header: &[u8]) -> Option<u64> {
    Listpack::count_of(header).map(u64::from)
}

pub(super) fn of_ziplist(header: &[u8]) -> Option<u64> {
    Ziplist::count_of(header).map(u64::from)
}

pub(super) fn of_intset(header: &[u8]) -> Option<u64> {
    Intset::count_of(header).map(u64::from)
}

/// A zipmap counts its pairs, as far as one byte goes; here it counts as entries.
pub(super) fn of_zipmap(header: &[u8]) -> Option<u64> {
    header
        .first()
        .filter(|count| **count < 254)
        .map(|count| 2 * u64::from(*count))
}

/// How many bytes a string has, unpacked.
fn text_bytes(reader: &mut Reader<'_>) -> Result<u64, Stop> {
    Ok(match reader.length_or_packing()? {
        Length::Plain(len) => len,
        Length::Packed(LZF) => {
            reader.length()?;
            reader.length()?
        }
        Length::Packed(0) => digits(i8::from_le_bytes(reader.array()?).into()),
        Length::Packed(1) => digits(i16::from_le_bytes(reader.array()?).into()),
        Length::Packed(_) => digits(i32::from_le_bytes(reader.array()?).into()),
    })
}

fn digits(number: i64) -> u64 {
    itoa::Buffer::new().format(number).len() as u64
}

/// One packed string of a list: how many items it has.
fn node(layout: Layout, reader: &mut Reader<'_>) -> Result<Option<u64>, Stop> {
    const PLAIN: u64 = 1;
    let container = match layout {
        Layout::Containers => reader.length()?,
        _ => 0,
    };
    if container == PLAIN {
        reader.skip_string()?;
        return Ok(Some(1));
    }
    let count_of: CountOf = if layout == Layout::Containers {
        of_listpack
    } else {
        of_ziplist
    };
    let before = reader.at;
    let count = packed_count(count_of, reader)?;
    reader.at = before;
    reader.skip_string()?;
    Ok(count)
}

/// The count in the header of a packed string.
fn packed_count(count_of: CountOf, reader: &mut Reader<'_>) -> Result<Option<u64>, Stop> {
    match reader.length_or_packing()? {
        Length::Plain(len) => Ok(count_of(reader.take(len.min(HEADER_BYTES as u64))?)),
        Length::Packed(LZF) => {
            let packed = reader.length()?;
            reader.length()?;
            // A header is unpacked from no more than three runs of a few bytes each, but a run of literals may be long.
            let head = reader.take(packed.min(4 * HEADER_BYTES as u64))?;
            let unpacked = lzf::head::<HEADER_BYTES>(head).ok();
            Ok(unpacked.and_then(|(head, len)| count_of(&head[..len])))
        }
        Length::Packed(_) => Ok(None),
    }
}

fn skip_listpack(reader: &mut Reader<'_>) -> Result<(), Stop> {
    reader.skip_string()?;
    reader.skip_string()
}
