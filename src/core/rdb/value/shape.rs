//! Which type is laid out how: one table, and how that is decoded, step by step.

use bytes::Bytes;

use super::element::Element;
use super::record::{self, Record};
use super::stream::Stream;
use super::text::Text;
use super::walk::{Nodes, Pack, Walk};
use super::{take, take_length};
use crate::core::rdb::layout::{MODULE, MODULE_PARTS};
use crate::core::rdb::reader::{Reader, Stop};
use crate::core::rdb::skip::Skip;
use crate::core::rdb::string;
use crate::core::rdb::window::Window;
use crate::core::rdb::{Cause, Flavor};

/// How a value is decoded, and how far that has come.
#[derive(Debug)]
pub(super) enum Shape {
    /// A string.
    Text(Text),
    /// Elements written out one after another.
    Records(Records),
    /// A collection packed into one string.
    Packed {
        pack: Pack,
        /// The earliest time of expiry is still to be read over.
        skip_expiry: bool,
        walk: Option<Walk>,
    },
    /// A list of packed strings.
    Nodes(Nodes),
    /// A stream.
    Stream(Box<Stream>),
    /// A module's value, given as it is: only its structure is known.
    Module(Skip),
}

/// Elements written out one after another.
#[derive(Debug)]
pub(super) struct Records {
    record: Record,
    /// How many are to come, once that has been read.
    left: Option<u64>,
    /// Where times of expiry count from, once that has been read; only for [`Record::ExpiringSince`].
    since_ms: Option<i64>,
}

/// How a type is laid out, as far as its meaning goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Layout {
    /// A string.
    Text,
    /// A count, and so many records.
    Records(Record),
    /// A packed collection; for some after the earliest time of expiry, 8 bytes that nobody needs.
    Packed { pack: Pack, after_expiry: bool },
    /// A count, and so many ziplists.
    Ziplists,
    /// A count, and so many containers with an item or a listpack.
    Containers,
    /// A stream of this version: see [`super::stream`].
    Stream(u8),
    /// What a module wrote.
    Module,
}

impl Layout {
    /// How this type is laid out; none where it is unknown.
    pub(super) fn of(value_type: u8, flavor: Flavor) -> Option<Layout> {
        let packed = |pack| Layout::Packed {
            pack,
            after_expiry: false,
        };
        Some(match (value_type, flavor) {
            (0, _) => Layout::Text,
            (1, _) => Layout::Records(Record::Item),
            (2, _) => Layout::Records(Record::Member),
            (3, _) => Layout::Records(Record::ScoredAsText),
            (4, _) => Layout::Records(Record::Field),
            (5, _) => Layout::Records(Record::Scored),
            (MODULE, _) => Layout::Module,
            (9, _) => packed(Pack::HashZipmap),
            (10, _) => packed(Pack::ListZiplist),
            (11, _) => packed(Pack::SetIntset),
            (12, _) => packed(Pack::ZsetZiplist),
            (13, _) => packed(Pack::HashZiplist),
            (14, _) => Layout::Ziplists,
            (15, _) => Layout::Stream(1),
            (16, _) => packed(Pack::HashListpack),
            (17, _) => packed(Pack::ZsetListpack),
            (18, _) => Layout::Containers,
            (19, _) => Layout::Stream(2),
            (20, _) => packed(Pack::SetListpack),
            (21, _) => Layout::Stream(3),
            (22, Flavor::Redis) => Layout::Records(Record::Expiring),
            (23, Flavor::Redis) => packed(Pack::ExpiringListpack),
            (24, Flavor::Redis) => Layout::Records(Record::ExpiringSince),
            (25, Flavor::Redis) => Layout::Packed {
                pack: Pack::ExpiringListpack,
                after_expiry: true,
            },
            (26, Flavor::Redis) => Layout::Stream(4),
            (27, Flavor::Redis) => Layout::Stream(5),
            (22, Flavor::Valkey) => Layout::Records(Record::ExpiringOfValkey),
            _ => return None,
        })
    }
}

impl Shape {
    /// How a value of this layout is decoded.
    pub(super) fn of(layout: Layout) -> Shape {
        match layout {
            Layout::Text => Shape::Text(Text::default()),
            Layout::Records(record) => Shape::Records(Records {
                record,
                left: None,
                since_ms: None,
            }),
            Layout::Packed { pack, after_expiry } => Shape::Packed {
                pack,
                skip_expiry: after_expiry,
                walk: None,
            },
            Layout::Ziplists => Shape::Nodes(Nodes::of_ziplists()),
            Layout::Containers => Shape::Nodes(Nodes::of_containers()),
            Layout::Stream(version) => Shape::Stream(Box::new(Stream::new(version))),
            Layout::Module => {
                let mut skip = Skip::default();
                skip.begin(MODULE_PARTS);
                Shape::Module(skip)
            }
        }
    }

    /// The next element, or none at the end.
    pub(super) fn step(&mut self, window: &mut Window) -> Result<Option<Element>, Stop> {
        match self {
            Shape::Text(text) => text.step(window),
            Shape::Records(records) => records.step(window),
            Shape::Packed {
                pack,
                skip_expiry,
                walk,
            } => {
                if *skip_expiry {
                    take(window, |reader| reader.take(8).map(|_| ()))?;
                    *skip_expiry = false;
                }
                walk_on(walk, *pack, window)
            }
            Shape::Nodes(nodes) => nodes.step(window),
            Shape::Stream(stream) => stream.step(window),
            Shape::Module(skip) => Ok(structure(skip, window)?.map(Element::Module)),
        }
    }
}

fn walk_on(walk: &mut Option<Walk>, pack: Pack, window: &mut Window) -> Result<Option<Element>, Stop> {
    let walk = match walk {
        Some(walk) => walk,
        None => walk.insert(Walk::open(pack, take_string(window)?).map_err(Stop::Bad)?),
    };
    walk.next().map_err(Stop::Bad)
}

/// Takes a string, unpacked.
pub(super) fn take_string(window: &mut Window) -> Result<Bytes, Stop> {
    let raw = take(window, |reader| reader.skip_string())?;
    string::unpack(&raw).map_err(Stop::Bad)
}

/// What has arrived of something of which only the structure is known.
fn structure(skip: &mut Skip, window: &mut Window) -> Result<Option<Bytes>, Stop> {
    loop {
        window.begin_part();
        let mut reader = Reader::new(window.unread());
        let outcome = skip.run(&mut reader);
        let read = reader.at;
        window.advance(read);
        if read > 0 {
            return Ok(Some(window.take_item()));
        }
        match outcome {
            Ok(()) => return Ok(None),
            Err(Stop::Short(needed)) if window.extend(needed) => {}
            Err(stop) => return Err(stop),
        }
    }
}

impl Records {
    fn step(&mut self, window: &mut Window) -> Result<Option<Element>, Stop> {
        if self.record == Record::ExpiringSince && self.since_ms.is_none() {
            let raw = take(window, |reader| reader.take(8).map(|_| ()))?;
            let bytes = *raw.first_chunk().ok_or(Stop::Bad(Cause::Truncated))?;
            self.since_ms = Some(i64::from_le_bytes(bytes));
        }
        let left = match self.left {
            Some(left) => left,
            None => *self.left.insert(take_length(window)?),
        };
        let Some(after) = left.checked_sub(1) else {
            return Ok(None);
        };
        let raw = take(window, |reader| record::skip(self.record, reader))?;
        self.left = Some(after);
        record::decode(self.record, &raw, self.since_ms.unwrap_or_default()).map(Some)
    }
}
