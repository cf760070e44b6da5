//! The elements of a small collection that is packed into one string, and of lists that consist of such strings.

use bytes::Bytes;

use super::count::{self, CountOf};
use super::element::Element;
use super::intset::Intset;
use super::listpack::Listpack;
use super::packed::Entry;
use super::shape::take_string;
use super::take_length;
use super::ziplist::Ziplist;
use super::zipmap::Zipmap;
use crate::core::rdb::Cause;
use crate::core::rdb::error::Packed;
use crate::core::rdb::reader::Stop;
use crate::core::rdb::window::Window;

/// Which collection is packed, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pack {
    ListZiplist,
    ListListpack,
    SetIntset,
    SetListpack,
    ZsetZiplist,
    ZsetListpack,
    HashZipmap,
    HashZiplist,
    HashListpack,
    /// Field, value, time of expiry or 0.
    ExpiringListpack,
}

impl Pack {
    /// How many entries of the packed string make one element.
    pub(super) fn entries_each(self) -> u64 {
        match self {
            Pack::ListZiplist | Pack::ListListpack | Pack::SetIntset | Pack::SetListpack => 1,
            Pack::ZsetZiplist | Pack::ZsetListpack => 2,
            Pack::HashZipmap | Pack::HashZiplist | Pack::HashListpack => 2,
            Pack::ExpiringListpack => 3,
        }
    }

    /// Where the packed string says how many entries it has.
    pub(super) fn count_of(self) -> CountOf {
        match self {
            Pack::ListZiplist | Pack::ZsetZiplist | Pack::HashZiplist => count::of_ziplist,
            Pack::SetIntset => count::of_intset,
            Pack::HashZipmap => count::of_zipmap,
            _ => count::of_listpack,
        }
    }
}

/// A walk over a packed collection.
#[derive(Debug)]
pub(super) struct Walk {
    pack: Pack,
    entries: Entries,
}

#[derive(Debug)]
enum Entries {
    Listpack(Listpack),
    Ziplist(Ziplist),
    Zipmap(Zipmap),
    Intset(Intset),
}

impl Walk {
    pub(super) fn open(pack: Pack, data: Bytes) -> Result<Walk, Cause> {
        let entries = match pack {
            Pack::ListZiplist | Pack::ZsetZiplist | Pack::HashZiplist => {
                Entries::Ziplist(Ziplist::open(data)?)
            }
            Pack::SetIntset => Entries::Intset(Intset::open(data)?),
            Pack::HashZipmap => Entries::Zipmap(Zipmap::open(data)?),
            _ => Entries::Listpack(Listpack::open(data)?),
        };
        Ok(Walk { pack, entries })
    }

    pub(super) fn next(&mut self) -> Result<Option<Element>, Cause> {
        if let Entries::Zipmap(zipmap) = &mut self.entries {
            let pair = zipmap.read()?;
            return Ok(pair.map(|(name, value)| field(name, value, None)));
        }
        let Some(first) = self.entries.next()? else {
            return Ok(None);
        };
        Ok(Some(match self.pack {
            Pack::ListZiplist | Pack::ListListpack => Element::Item(first.into_text()),
            Pack::SetIntset | Pack::SetListpack => Element::Member(first.into_text()),
            Pack::ZsetZiplist | Pack::ZsetListpack => Element::Scored {
                member: first.into_text(),
                score: self.entries.partner()?.as_score().ok_or(Cause::Score)?,
            },
            Pack::HashZipmap | Pack::HashZiplist | Pack::HashListpack => {
                field(first.into_text(), self.entries.partner()?.into_text(), None)
            }
            Pack::ExpiringListpack => {
                let value = self.entries.partner()?.into_text();
                let time = self.entries.partner()?.as_int();
                let time = time.ok_or(Cause::Contradiction("a field's time of expiry is no number"))?;
                field(first.into_text(), value, (time != 0).then_some(time))
            }
        }))
    }
}

fn field(name: Bytes, value: Bytes, expire_at_ms: Option<i64>) -> Element {
    Element::Field {
        name,
        value,
        expire_at_ms,
    }
}

impl Entries {
    fn next(&mut self) -> Result<Option<Entry>, Cause> {
        match self {
            Entries::Listpack(listpack) => listpack.read(),
            Entries::Ziplist(ziplist) => ziplist.read(),
            Entries::Intset(intset) => Ok(intset.read()?.map(Entry::Int)),
            // Its entries come in pairs, and are read as such.
            Entries::Zipmap(_) => Ok(None),
        }
    }

    /// The entry that belongs to the one before.
    fn partner(&mut self) -> Result<Entry, Cause> {
        let missing = Cause::Contradiction("the last entry of a packed collection lacks its partner");
        self.next()?.ok_or(missing)
    }
}

/// A list of packed strings: a quicklist.
#[derive(Debug)]
pub(super) struct Nodes {
    /// Each string is preceded by its container: 1 for an item that stands alone, 2 for a listpack. Else they are ziplists.
    has_containers: bool,
    left: Option<u64>,
    walk: Option<Walk>,
    /// The container of the string that comes next, once that has been read.
    container: Option<u64>,
}

/// The string is an item.
const PLAIN: u64 = 1;

/// The string is a listpack.
const PACKED: u64 = 2;

impl Nodes {
    pub(super) fn of_ziplists() -> Nodes {
        Nodes {
            has_containers: false,
            left: None,
            walk: None,
            container: None,
        }
    }

    pub(super) fn of_containers() -> Nodes {
        Nodes {
            has_containers: true,
            ..Nodes::of_ziplists()
        }
    }

    pub(super) fn step(&mut self, window: &mut Window) -> Result<Option<Element>, Stop> {
        loop {
            if let Some(walk) = &mut self.walk {
                if let Some(element) = walk.next().map_err(Stop::Bad)? {
                    return Ok(Some(element));
                }
                self.walk = None;
            }
            let left = match self.left {
                Some(left) => left,
                None => *self.left.insert(take_length(window)?),
            };
            let Some(after) = left.checked_sub(1) else {
                return Ok(None);
            };
            let pack = match self.container(window)? {
                None => Pack::ListZiplist,
                Some(PACKED) => Pack::ListListpack,
                Some(_) => {
                    let item = take_string(window)?;
                    self.left = Some(after);
                    self.container = None;
                    return Ok(Some(Element::Item(item)));
                }
            };
            let data = take_string(window)?;
            self.left = Some(after);
            self.container = None;
            self.walk = Some(Walk::open(pack, data).map_err(Stop::Bad)?);
        }
    }

    fn container(&mut self, window: &mut Window) -> Result<Option<u64>, Stop> {
        if !self.has_containers {
            return Ok(None);
        }
        let container = match self.container {
            Some(container) => container,
            None => *self.container.insert(take_length(window)?),
        };
        match container {
            PLAIN | PACKED => Ok(Some(container)),
            _ => Err(Stop::Bad(Cause::Packed {
                what: Packed::Listpack,
                at: 0,
                why: "a list's node is neither an item nor a listpack",
            })),
        }
    }
}
