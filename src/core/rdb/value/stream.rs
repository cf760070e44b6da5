//! Streams.
//!
//! | version (type) | written |
//! | --- | --- |
//! | 1 (15) | listpacks: a count, and for each the id of its master entry (16 bytes, as a string) and the listpack; length; last id; groups |
//! | 2 (19) | after the last id: first id, greatest deleted id, entries ever added; in a group, after its last id: entries read |
//! | 3 (21) | in a consumer, after the time it was seen: the time it was active |
//! | 4 (26) | at the end: seconds and number of producers' ids to keep; producers: name, ids: id and entry; how many ids came, how many twice |
//! | 5 (27) | in a group, after its consumers: pending entries that were given back |
//!
//! | part | written |
//! | --- | --- |
//! | group | name; last id; from 2 on entries read; pending entries; consumers |
//! | pending entry | id (16 bytes); time of delivery; deliveries |
//! | consumer | name; time seen; from 3 on time active; ids of its pending entries |
//!
//! Ids are two lengths unless it says 16 bytes (big endian); counts are lengths; times are 8 bytes little endian, milliseconds. "Entries
//! read" of 2^64 - 1 means that nobody knows. Source: `rdb.c` (`rdbSaveObject`, `rdbSaveStreamConsumers`).

use std::collections::VecDeque;

use bytes::Bytes;

use super::element::{Element, Group, Pending, StreamCounts, StreamId, StreamMeta};
use super::entries::Entries;
use super::{take, take_length};
use crate::core::rdb::Cause;
use crate::core::rdb::reader::{Reader, Stop};
use crate::core::rdb::string;
use crate::core::rdb::window::Window;

/// How far a stream has been read.
#[derive(Debug)]
pub(super) struct Stream {
    version: u8,
    part: Part,
    entries: Option<Entries>,
    /// The last entry given: ids ascend, over listpacks, too.
    last: Option<StreamId>,
    /// Read already, and given one by one.
    ready: VecDeque<Element>,
    /// The groups that are to come after the one in hand.
    groups: u64,
    /// The consumers of the group in hand that are to come.
    consumers: u64,
    /// The producers that are to come after the one in hand, and the one in hand.
    producers: u64,
    producer: Bytes,
}

/// What comes next; counts are of what is left.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Part {
    NodeCount,
    Nodes(u64),
    Meta,
    GroupCount,
    Group,
    Pending(u64),
    ConsumerCount,
    Consumer,
    Owned(u64),
    GivenBackCount,
    GivenBack(u64),
    Idempotence,
    Producer,
    Produced(u64),
    ProducedCounts,
    End,
}

/// "Entries read" where nobody knows.
const UNKNOWN: u64 = u64::MAX;

impl Stream {
    pub(super) fn new(version: u8) -> Stream {
        Stream {
            version,
            part: Part::NodeCount,
            entries: None,
            last: None,
            ready: VecDeque::new(),
            groups: 0,
            consumers: 0,
            producers: 0,
            producer: Bytes::new(),
        }
    }

    pub(super) fn step(&mut self, window: &mut Window) -> Result<Option<Element>, Stop> {
        loop {
            if let Some(element) = self.ready.pop_front() {
                return Ok(Some(element));
            }
            if let Some(entries) = &mut self.entries {
                if let Some((id, fields)) = entries.next().map_err(Stop::Bad)? {
                    self.ascend(id)?;
                    return Ok(Some(Element::Entry { id, fields }));
                }
                self.entries = None;
            }
            if self.part == Part::End {
                return Ok(None);
            }
            self.part = self.read(window)?;
        }
    }

    fn ascend(&mut self, id: StreamId) -> Result<(), Stop> {
        if self.last.is_some_and(|last| last >= id) {
            return Err(contradiction("the ids of a stream's entries do not ascend"));
        }
        self.last = Some(id);
        Ok(())
    }

    /// Reads the part that is next, and says which comes then.
    fn read(&mut self, window: &mut Window) -> Result<Part, Stop> {
        Ok(match self.part {
            Part::NodeCount => Part::Nodes(take_length(window)?),
            Part::Nodes(0) => Part::Meta,
            Part::Nodes(left) => {
                self.entries = Some(node(window)?);
                Part::Nodes(left - 1)
            }
            Part::Meta => {
                let meta = self.meta(window)?;
                self.ready.push_back(Element::StreamMeta(meta));
                Part::GroupCount
            }
            Part::GroupCount => {
                self.groups = take_length(window)?;
                self.next_group()
            }
            Part::Group => {
                let (group, pending) = self.group(window)?;
                self.ready.push_back(Element::Group(group));
                Part::Pending(pending)
            }
            Part::Pending(0) => Part::ConsumerCount,
            Part::Pending(left) => {
                let pending = pending(window)?;
                self.ready.push_back(Element::Pending(pending));
                Part::Pending(left - 1)
            }
            Part::ConsumerCount => {
                self.consumers = take_length(window)?;
                self.next_consumer()
            }
            Part::Consumer => {
                let (consumer, owned) = self.consumer(window)?;
                self.ready.push_back(consumer);
                Part::Owned(owned)
            }
            Part::Owned(0) => self.next_consumer(),
            Part::Owned(left) => {
                let id = raw_id(window)?;
                self.ready.push_back(Element::Owned(id));
                Part::Owned(left - 1)
            }
            Part::GivenBackCount => Part::GivenBack(take_length(window)?),
            Part::GivenBack(0) => self.next_group(),
            Part::GivenBack(left) => {
                let id = raw_id(window)?;
                self.ready.push_back(Element::GivenBack(id));
                Part::GivenBack(left - 1)
            }
            Part::Idempotence | Part::Producer | Part::Produced(_) | Part::ProducedCounts => {
                self.read_producers(window)?
            }
            Part::End => Part::End,
        })
    }

    fn read_producers(&mut self, window: &mut Window) -> Result<Part, Stop> {
        Ok(match self.part {
            Part::Idempotence => {
                let [duration_secs, ids_max, producers] = lengths(window)?;
                self.producers = producers;
                self.ready.push_back(Element::Idempotence {
                    duration_secs,
                    ids_max,
                });
                self.next_producer()
            }
            Part::Producer => {
                let raw = take(window, |reader| {
                    reader.skip_string()?;
                    reader.length().map(|_| ())
                })?;
                let mut reader = Reader::new(&raw);
                self.producer = string::read(&raw, &mut reader)?;
                Part::Produced(reader.length()?)
            }
            Part::Produced(0) => self.next_producer(),
            Part::Produced(left) => {
                let raw = take(window, |reader| {
                    reader.skip_string()?;
                    reader.length()?;
                    reader.length().map(|_| ())
                })?;
                let mut reader = Reader::new(&raw);
                self.ready.push_back(Element::Produced {
                    producer: self.producer.clone(),
                    produced: string::read(&raw, &mut reader)?,
                    id: id(&mut reader)?,
                });
                Part::Produced(left - 1)
            }
            _ => {
                let [_, _] = lengths(window)?;
                Part::End
            }
        })
    }

    fn next_group(&mut self) -> Part {
        match self.groups.checked_sub(1) {
            Some(left) => {
                self.groups = left;
                Part::Group
            }
            None if self.version >= 4 => Part::Idempotence,
            None => Part::End,
        }
    }

    fn next_consumer(&mut self) -> Part {
        match self.consumers.checked_sub(1) {
            Some(left) => {
                self.consumers = left;
                Part::Consumer
            }
            None if self.version >= 5 => Part::GivenBackCount,
            None => self.next_group(),
        }
    }

    fn next_producer(&mut self) -> Part {
        match self.producers.checked_sub(1) {
            Some(left) => {
                self.producers = left;
                Part::Producer
            }
            None => Part::ProducedCounts,
        }
    }

    fn meta(&self, window: &mut Window) -> Result<StreamMeta, Stop> {
        if self.version == 1 {
            let [length, ms, seq] = lengths(window)?;
            return Ok(StreamMeta {
                length,
                last_id: StreamId { ms, seq },
                since_7: None,
            });
        }
        let [
            length,
            ms,
            seq,
            first_ms,
            first_seq,
            deleted_ms,
            deleted_seq,
            entries_added,
        ] = lengths(window)?;
        Ok(StreamMeta {
            length,
            last_id: StreamId { ms, seq },
            since_7: Some(StreamCounts {
                first_id: StreamId {
                    ms: first_ms,
                    seq: first_seq,
                },
                max_deleted_id: StreamId {
                    ms: deleted_ms,
                    seq: deleted_seq,
                },
                entries_added,
            }),
        })
    }

    /// A group, and how many pending entries it has.
    fn group(&self, window: &mut Window) -> Result<(Group, u64), Stop> {
        let knows_read = self.version >= 2;
        let raw = take(window, |reader| {
            reader.skip_string()?;
            for _ in 0..3 + usize::from(knows_read) {
                reader.length()?;
            }
            Ok(())
        })?;
        let mut reader = Reader::new(&raw);
        let name = string::read(&raw, &mut reader)?;
        let last_id = id(&mut reader)?;
        let entries_read = match knows_read {
            true => Some(reader.length()?).filter(|read| *read != UNKNOWN),
            false => None,
        };
        let group = Group {
            name,
            last_id,
            entries_read,
        };
        Ok((group, reader.length()?))
    }

    /// A consumer, and how many pending entries it owns.
    fn consumer(&self, window: &mut Window) -> Result<(Element, u64), Stop> {
        let knows_active = self.version >= 3;
        let raw = take(window, |reader| {
            reader.skip_string()?;
            reader.take(if knows_active { 16 } else { 8 })?;
            reader.length().map(|_| ())
        })?;
        let mut reader = Reader::new(&raw);
        let name = string::read(&raw, &mut reader)?;
        let seen_ms = u64::from_le_bytes(reader.array()?);
        let active_ms = match knows_active {
            true => Some(u64::from_le_bytes(reader.array()?)),
            false => None,
        };
        let consumer = Element::Consumer {
            name,
            seen_ms,
            active_ms,
        };
        Ok((consumer, reader.length()?))
    }
}

fn contradiction(what: &'static str) -> Stop {
    Stop::Bad(Cause::Contradiction(what))
}

fn node(window: &mut Window) -> Result<Entries, Stop> {
    let raw = take(window, |reader| {
        reader.skip_string()?;
        reader.skip_string()
    })?;
    let mut reader = Reader::new(&raw);
    let master = string::read(&raw, &mut reader)?;
    let master = <[u8; 16]>::try_from(&master[..])
        .map_err(|_| contradiction("the id of a stream's listpack has not 16 bytes"))?;
    let data = string::read(&raw, &mut reader)?;
    Entries::open(StreamId::of_bytes(master), data).map_err(Stop::Bad)
}

fn pending(window: &mut Window) -> Result<Pending, Stop> {
    let raw = take(window, |reader| {
        reader.take(24)?;
        reader.length().map(|_| ())
    })?;
    let mut reader = Reader::new(&raw);
    Ok(Pending {
        id: StreamId::of_bytes(reader.array()?),
        delivered_ms: u64::from_le_bytes(reader.array()?),
        deliveries: reader.length()?,
    })
}

fn raw_id(window: &mut Window) -> Result<StreamId, Stop> {
    let raw = take(window, |reader| reader.take(16).map(|_| ()))?;
    Ok(StreamId::of_bytes(Reader::new(&raw).array()?))
}

fn id(reader: &mut Reader<'_>) -> Result<StreamId, Stop> {
    Ok(StreamId {
        ms: reader.length()?,
        seq: reader.length()?,
    })
}

fn lengths<const N: usize>(window: &mut Window) -> Result<[u64; N], Stop> {
    let raw = take(window, |reader| {
        for _ in 0..N {
            reader.length()?;
        }
        Ok(())
    })?;
    let mut reader = Reader::new(&raw);
    let mut found = [0; N];
    for one in &mut found {
        *one = reader.length()?;
    }
    Ok(found)
}
