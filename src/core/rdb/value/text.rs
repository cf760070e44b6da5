//! Strings in pieces.

use bytes::Bytes;

use super::element::Element;
use super::take;
use crate::core::rdb::Cause;
use crate::core::rdb::lzf::{self, Unpacker};
use crate::core::rdb::reader::{LZF, Length, Reader, Stop};
use crate::core::rdb::string;
use crate::core::rdb::window::Window;

/// About so many bytes are in a piece that had to be unpacked.
const PIECE_BYTES: usize = 64 << 10;

/// A run of LZF is no longer than this.
const RUN_BYTES_MAX: usize = 33;

/// How far a string has been read.
#[derive(Debug, Default)]
pub(super) enum Text {
    /// Its length has not.
    #[default]
    Header,
    /// So many bytes are to come as they are.
    Plain(u64),
    /// Packed bytes are to come.
    Packed {
        left: u64,
        claimed: u64,
        unpacker: Unpacker,
    },
    /// An integer in disguise, as text.
    Number(Bytes),
    /// Everything has been given.
    Done,
}

impl Text {
    pub(super) fn step(&mut self, window: &mut Window) -> Result<Option<Element>, Stop> {
        if let Text::Header = self {
            *self = header(window)?;
        }
        match self {
            Text::Header | Text::Done => Ok(None),
            Text::Plain(0) => {
                *self = Text::Done;
                Ok(None)
            }
            Text::Number(digits) => {
                let digits = std::mem::take(digits);
                *self = Text::Done;
                Ok(Some(Element::Text(digits)))
            }
            Text::Plain(left) => {
                let piece = plain(window, *left)?;
                *left -= piece.len() as u64;
                Ok(Some(Element::Text(piece)))
            }
            Text::Packed {
                left,
                claimed,
                unpacker,
            } => match packed(window, left, *claimed, unpacker)? {
                Some(piece) => Ok(Some(Element::Text(piece))),
                None => {
                    *self = Text::Done;
                    Ok(None)
                }
            },
        }
    }
}

/// Reads the length, or the integer.
fn header(window: &mut Window) -> Result<Text, Stop> {
    let raw = take(window, |reader| match reader.length_or_packing()? {
        Length::Packed(LZF) => {
            reader.length()?;
            reader.length().map(|_| ())
        }
        Length::Plain(_) => Ok(()),
        Length::Packed(packing @ 0..LZF) => reader.take(1 << packing).map(|_| ()),
        Length::Packed(packing) => Err(Stop::Bad(Cause::Packing(packing))),
    })?;
    let mut reader = Reader::new(&raw);
    match reader.length_or_packing()? {
        Length::Plain(len) => Ok(Text::Plain(len)),
        Length::Packed(LZF) => {
            let (left, claimed) = (reader.length()?, reader.length()?);
            Ok(Text::Packed {
                left,
                claimed,
                unpacker: Unpacker::new(claimed),
            })
        }
        Length::Packed(_) => string::unpack(&raw).map(Text::Number).map_err(Stop::Bad),
    }
}

/// What has arrived of `left` bytes; at least one.
fn plain(window: &mut Window, left: u64) -> Result<Bytes, Stop> {
    if !window.extend(1) {
        return Err(Stop::Short(1));
    }
    let arrived = window.unread().len();
    window.advance(arrived.min(usize::try_from(left).unwrap_or(usize::MAX)));
    Ok(window.take_item())
}

/// The next piece that can be unpacked, or none at the end.
fn packed(
    window: &mut Window,
    left: &mut u64,
    claimed: u64,
    unpacker: &mut Unpacker,
) -> Result<Option<Bytes>, Stop> {
    let bad = |lzf::Bad| Stop::Bad(Cause::Lzf { unpacked: claimed });
    while *left > 0 && unpacker.ready() < PIECE_BYTES {
        window.begin_part();
        let left_here = usize::try_from(*left).unwrap_or(usize::MAX);
        let mine = window.unread().len().min(left_here);
        let used = unpacker
            .feed(&window.unread()[..mine], PIECE_BYTES)
            .map_err(bad)?;
        if used > 0 {
            window.advance(used);
            window.take_item();
            *left -= used as u64;
            continue;
        }
        let wanted = left_here.min(RUN_BYTES_MAX);
        if mine >= wanted {
            return Err(bad(lzf::Bad));
        }
        // A short run may be whole although fewer bytes than that have arrived.
        if !window.extend(wanted) && window.unread().len() == mine {
            break;
        }
    }
    // What is missing from here on is missing at the string's end.
    window.begin_part();
    match (unpacker.ready(), *left) {
        (0, 0) if unpacker.is_complete() => Ok(None),
        (0, 0) => Err(bad(lzf::Bad)),
        (0, _) => Err(Stop::Short(1)),
        _ => Ok(Some(Bytes::from(unpacker.take()))),
    }
}
