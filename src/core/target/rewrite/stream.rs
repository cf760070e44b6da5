//! Streams, written with commands.
//!
//! ```text
//! XADD each entry, XSETID; for each group XGROUP CREATE, its consumers, XCLAIM what each owns; XCFGSET, XIDMPRECORD
//! ```
//!
//! A consumer may own a pending entry whose entry is gone: trimming does that. `XCLAIM` takes only entries that are there. Where these are known
//! beforehand (a value that is there whole) each gets a stand-in before anything else is written:
//!
//! ```text
//! XADD the stand-ins, XGROUP CREATE, XCLAIM them, XTRIM MAXLEN 0, XSETID 0-0; then as above, with XGROUP SETID instead of CREATE
//! ```
//!
//! Trimming leaves no trace in the greatest deleted id, as deleting would. Where they are not known the target says in the end how many are
//! pending, and the difference is reported by whoever asks. Found by trying on servers from 5.0 to 8.6 and Valkey 8.0 to 9.1.
//!
//! When a consumer was last seen cannot be set. A time of delivery ahead of the target's clock becomes its now. What a producer has added
//! is recorded for entries that are there, as the server's own rewriting of its append-only file does it (`aof.c`).

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use super::{Ability, Commands, Lost, PIECE_BYTES};
use crate::core::rdb::value::{Element, Group, Pending, StreamId, StreamMeta};
use crate::core::resp;

/// What is written with.
pub(super) struct Writing<'a> {
    pub(super) name: &'a Bytes,
    pub(super) key: &'a Bytes,
    pub(super) ability: Ability,
    pub(super) out: &'a mut Commands,
    pub(super) lost: &'a mut Vec<Lost>,
}

/// A stream being written.
#[derive(Debug)]
pub(super) struct Stream {
    /// Some of it was written before: groups may be there.
    resumed: bool,
    dangling: Dangling,
    entries: u64,
    group: Bytes,
    /// The pending entries of the group in hand, ascending.
    pending: Vec<Pending>,
    consumer: Bytes,
    claim: Claim,
    groups: Vec<(Bytes, u64)>,
    /// Producers' ids were lost already: that is told once.
    told_producers: bool,
}

/// Pending entries that one `XCLAIM` can write: they share time and count of deliveries.
#[derive(Debug, Default)]
struct Claim {
    delivered_ms: u64,
    deliveries: u64,
    ids: Vec<String>,
}

/// `XCLAIM` carries at most so many ids: their text stays below [`PIECE_BYTES`].
const CLAIM_IDS_MAX: usize = PIECE_BYTES / 64;

/// The pending entries of a stream whose entries are gone.
#[derive(Debug, Default)]
pub struct Dangling {
    /// By group: its last id, and who owns which.
    groups: BTreeMap<Bytes, (StreamId, Vec<(Bytes, Pending)>)>,
    /// The entries that are there.
    live: Option<Vec<StreamId>>,
}

impl Dangling {
    /// Finds them among the elements of a stream.
    ///
    /// # Errors
    /// What `next` gives.
    pub fn find<E>(mut next: impl FnMut() -> Result<Option<Element>, E>) -> Result<Dangling, E> {
        let (mut live, mut groups) = (Vec::new(), BTreeMap::new());
        let (mut group, mut consumer) = (None::<Group>, Bytes::new());
        let mut pending: Vec<Pending> = Vec::new();
        while let Some(element) = next()? {
            match element {
                Element::Entry { id, .. } => live.push(id),
                Element::Group(one) => {
                    group = Some(one);
                    pending.clear();
                }
                Element::Pending(one) => pending.push(one),
                Element::Consumer { name, .. } => consumer = name,
                Element::Owned(id) if live.binary_search(&id).is_err() => {
                    if let (Some(group), Some(one)) = (&group, find(&pending, id)) {
                        let entry = groups.entry(group.name.clone());
                        let (_, owned) = entry.or_insert_with(|| (group.last_id, Vec::new()));
                        owned.push((consumer.clone(), one));
                    }
                }
                _ => {}
            }
        }
        Ok(Dangling {
            groups,
            live: Some(live),
        })
    }

    fn is_live(&self, id: StreamId) -> bool {
        self.live
            .as_ref()
            .is_none_or(|live| live.binary_search(&id).is_ok())
    }
}

fn find(pending: &[Pending], id: StreamId) -> Option<Pending> {
    let at = pending.binary_search_by_key(&id, |one| one.id).ok()?;
    pending.get(at).copied()
}

impl Stream {
    pub(super) fn new(resumed: bool) -> Stream {
        Stream {
            resumed,
            dangling: Dangling::default(),
            entries: 0,
            group: Bytes::new(),
            pending: Vec::new(),
            consumer: Bytes::new(),
            claim: Claim::default(),
            groups: Vec::new(),
            told_producers: false,
        }
    }

    pub(super) fn groups(&self) -> &[(Bytes, u64)] {
        &self.groups
    }

    /// Writes stand-ins for what is dangling, and lets them go again.
    pub(super) fn prepare(&mut self, to: &mut Writing<'_>, dangling: Dangling) {
        self.dangling = dangling;
        let groups = std::mem::take(&mut self.dangling.groups);
        let owned = groups.values().flat_map(|(_, owned)| owned);
        let mut ids: Vec<StreamId> = owned.map(|(_, one)| one.id).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return;
        }
        for id in &ids {
            to.out
                .push(&[b"XADD", to.name, id.to_string().as_bytes(), b"x", b"y"]);
        }
        for (name, (last_id, owned)) in &groups {
            let last_id = last_id.to_string();
            to.out
                .push(&[b"XGROUP", b"CREATE", to.name, name, last_id.as_bytes()]);
            self.group = name.clone();
            for (consumer, one) in owned {
                self.claim(to, consumer, *one);
            }
            self.end_claim(to);
        }
        to.out.push(&[b"XTRIM", to.name, b"MAXLEN", b"0"]);
        match to.ability.streams_are_counted {
            true => to.out.push(&[b"XSETID", to.name, b"0-0", b"ENTRIESADDED", b"0"]),
            false => to.out.push(&[b"XSETID", to.name, b"0-0"]),
        }
        self.dangling.groups = groups;
    }

    pub(super) fn element(&mut self, to: &mut Writing<'_>, element: Element) {
        match element {
            Element::Entry { id, fields } => self.entry(to, id, &fields),
            Element::StreamMeta(meta) => self.meta(to, meta),
            Element::Group(group) => self.begin_group(to, &group),
            Element::Pending(one) => {
                self.pending.push(one);
                if let Some((_, count)) = self.groups.last_mut() {
                    *count += 1;
                }
            }
            Element::Consumer { name, .. } => self.begin_consumer(to, name),
            Element::Owned(id) => {
                if let Some(one) = find(&self.pending, id).filter(|_| self.dangling.is_live(id)) {
                    let consumer = self.consumer.clone();
                    self.claim(to, &consumer, one);
                }
            }
            Element::GivenBack(id) => self.given_back(to, id),
            Element::Idempotence {
                duration_secs,
                ids_max,
            } => self.idempotence(to, duration_secs, ids_max),
            Element::Produced {
                producer,
                produced,
                id,
            } => self.produced(to, &producer, &produced, id),
            _ => debug_assert!(false, "not of a stream"),
        }
    }

    pub(super) fn finish(&mut self, to: &mut Writing<'_>) {
        self.end_claim(to);
    }

    fn entry(&mut self, to: &mut Writing<'_>, id: StreamId, fields: &[(Bytes, Bytes)]) {
        self.entries += 1;
        resp::write_array_header(&mut to.out.bytes, 3 + 2 * fields.len());
        for arg in [&b"XADD"[..], to.name, id.to_string().as_bytes()] {
            resp::write_bulk(&mut to.out.bytes, arg);
        }
        for (name, value) in fields {
            resp::write_bulk(&mut to.out.bytes, name);
            resp::write_bulk(&mut to.out.bytes, value);
        }
        to.out.count += 1;
    }

    fn meta(&mut self, to: &mut Writing<'_>, meta: StreamMeta) {
        let last = meta.last_id.to_string();
        if self.entries == 0 && !self.resumed && meta.length == 0 {
            let id = if meta.last_id == StreamId::default() {
                "0-1"
            } else {
                &last
            };
            to.out
                .push(&[b"XADD", to.name, b"MAXLEN", b"0", id.as_bytes(), b"x", b"y"]);
        }
        let mut args: Vec<&[u8]> = vec![b"XSETID", to.name, last.as_bytes()];
        let added = meta
            .since_7
            .map_or(meta.length, |since| since.entries_added)
            .to_string();
        let deleted = meta.since_7.map(|since| since.max_deleted_id).unwrap_or_default();
        let deleted_text = deleted.to_string();
        if to.ability.streams_are_counted {
            args.extend([&b"ENTRIESADDED"[..], added.as_bytes()]);
            if deleted != StreamId::default() {
                args.extend([&b"MAXDELETEDID"[..], deleted_text.as_bytes()]);
            }
        }
        to.out.push(&args);
    }

    fn begin_group(&mut self, to: &mut Writing<'_>, group: &Group) {
        self.end_claim(to);
        self.pending.clear();
        self.group = group.name.clone();
        self.groups.push((group.name.clone(), 0));
        if self.resumed {
            to.out.push(&[b"XGROUP", b"DESTROY", to.name, &group.name]);
        }
        let is_there = self.dangling.groups.contains_key(&group.name);
        let verb: &[u8] = if is_there { b"SETID" } else { b"CREATE" };
        let last = group.last_id.to_string();
        let mut args: Vec<&[u8]> = vec![b"XGROUP", verb, to.name, &group.name, last.as_bytes()];
        let read = group.entries_read.map(|read| read.to_string());
        if let Some(read) = &read
            && to.ability.streams_are_counted
        {
            args.extend([&b"ENTRIESREAD"[..], read.as_bytes()]);
        }
        to.out.push(&args);
    }

    /// A consumer may own nothing: it is created all the same. Before 6.2 reading its history does that.
    fn begin_consumer(&mut self, to: &mut Writing<'_>, consumer: Bytes) {
        self.end_claim(to);
        let group = &self.group;
        match to.ability.consumers_are_created {
            true => to
                .out
                .push(&[b"XGROUP", b"CREATECONSUMER", to.name, group, &consumer]),
            false => to.out.push(&[
                b"XREADGROUP",
                b"GROUP",
                group,
                &consumer,
                b"COUNT",
                b"1",
                b"STREAMS",
                to.name,
                b"0",
            ]),
        }
        self.consumer = consumer;
    }

    fn claim(&mut self, to: &mut Writing<'_>, consumer: &Bytes, one: Pending) {
        let claim = &self.claim;
        let fits = claim.ids.len() < CLAIM_IDS_MAX
            && (claim.delivered_ms, claim.deliveries) == (one.delivered_ms, one.deliveries)
            && self.consumer == *consumer;
        if !fits {
            self.end_claim(to);
            self.consumer = consumer.clone();
        }
        self.claim.delivered_ms = one.delivered_ms;
        self.claim.deliveries = one.deliveries;
        self.claim.ids.push(one.id.to_string());
    }

    fn end_claim(&mut self, to: &mut Writing<'_>) {
        let ids = std::mem::take(&mut self.claim.ids);
        if ids.is_empty() {
            return;
        }
        let (time, count) = (
            self.claim.delivered_ms.to_string(),
            self.claim.deliveries.to_string(),
        );
        let mut args: Vec<&[u8]> = vec![b"XCLAIM", to.name, &self.group, &self.consumer, b"0"];
        args.extend(ids.iter().map(|id| id.as_bytes()));
        args.extend([
            &b"TIME"[..],
            time.as_bytes(),
            b"RETRYCOUNT",
            count.as_bytes(),
            b"FORCE",
            b"JUSTID",
        ]);
        to.out.push(&args);
    }

    fn given_back(&mut self, to: &mut Writing<'_>, id: StreamId) {
        let (id, group) = (id.to_string(), &self.group);
        let reason = "a pending entry that its consumer gave back is written by no command";
        lose(
            to,
            reason,
            &[
                b"XNACK",
                to.key,
                group,
                b"FAIL",
                b"IDS",
                b"1",
                id.as_bytes(),
                b"FORCE",
            ],
        );
    }

    fn idempotence(&mut self, to: &mut Writing<'_>, duration_secs: u64, ids_max: u64) {
        self.end_claim(to);
        if !to.ability.producers_are_known {
            return;
        }
        let (duration, max) = (duration_secs.to_string(), ids_max.to_string());
        to.out.push(&[
            b"XCFGSET",
            to.name,
            b"IDMP-DURATION",
            duration.as_bytes(),
            b"IDMP-MAXSIZE",
            max.as_bytes(),
        ]);
    }

    fn produced(&mut self, to: &mut Writing<'_>, producer: &Bytes, produced: &Bytes, id: StreamId) {
        let is_live = self.dangling.is_live(id);
        let id = id.to_string();
        if !to.ability.producers_are_known {
            if !std::mem::replace(&mut self.told_producers, true) {
                let reason = "the target does not keep what producers have added already (Redis before 8.6.2, Valkey); told once for a stream";
                lose(
                    to,
                    reason,
                    &[b"XIDMPRECORD", to.key, producer, produced, id.as_bytes()],
                );
            }
            return;
        }
        if is_live {
            to.out
                .push(&[b"XIDMPRECORD", to.name, producer, produced, id.as_bytes()]);
        }
    }
}

fn lose(to: &mut Writing<'_>, reason: &str, args: &[&[u8]]) {
    let mut command = BytesMut::new();
    resp::encode_command(&mut command, args);
    to.lost.push(Lost::of(to.key, reason, command.freeze()));
}
