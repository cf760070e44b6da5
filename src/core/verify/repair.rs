//! Keys that differ, copied anew from the source, while the stream goes on.
//!
//! A copy must neither undo a write that the stream has brought already nor come before one that the stream still brings again. For some keys at a time:
//!
//! ```text
//! WATCH at the source ─▶ DUMP there ─▶ wait until the target has what the source had said by then ─▶ WATCH at the target
//!   ─▶ empty transaction at the source: nothing has touched the key since ─▶ RESTORE in a transaction at the target: nothing has touched it there either
//! ```
//!
//! | a write to the key | what becomes of the copy |
//! | --- | --- |
//! | before the source was watched | it is in the copy, and was applied to the target before that was watched |
//! | while the source was watched | the source says so: again |
//! | after that, and it reaches the target before the copy | the target says so: again |
//! | after that, and it reaches the target later | it is applied to the copy, which is what the source had before it |
//!
//! So every write counts once. Where no pipeline is at work, one that begins later would go on from its checkpoint and bring again what the copy has already:
//!
//! | a pipeline follows | its checkpoint | repair |
//! | --- | --- | --- |
//! | yes | – | yes |
//! | no | none, or of another history: a full sync comes first | yes |
//! | no | in the source's history | no: [`Error::Stalled`] |

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::Error;
use super::group::{Group, Place};
use super::look::Clock;
use super::passage::Passage;
use super::seen::{Difference, Kind};
use super::settle::{Told, next_of_one_database};
use super::side::Lines;
use super::sizes::{Sized, measure};
use super::watchers::{self, Watchers};
use crate::core::catalog::{Mark, Noted, Table};
use crate::core::command;
use crate::core::rdb::Version;
use crate::core::rdb::payload::{FOOTER_BYTES, Modules, Payload, version_of};
use crate::core::resp::{Value, encode_command};
use crate::core::target::checkpoint::{self, KEY_PREFIX};

/// So many keys at a time, in so many companies: what changes often spoils it for its company.
const COMPANIES: [(usize, usize); 4] = [(1_000, 10), (320, 32), (32, 32), (32, 32)];

/// As many as there are companies at most.
const WATCHERS: usize = 32;

/// Values that are copied together take at most about so much.
const TOGETHER_BYTES: u64 = 16 << 20;

/// A value above this is not copied.
const VALUE_BYTES_MAX: u64 = 256 << 20;

/// So long for what changes often, each time.
const SMALL_COMPANIES_LIMIT: Duration = Duration::from_secs(60);

/// What was done, or would be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Nothing was.
    pub dry: bool,
    /// Keys copied from the source.
    pub copied: u64,
    /// Keys removed from the target: the source has none.
    pub removed: u64,
    /// Keys that the source does not have and that stay, as the configuration wants it, or because other syncs use the target.
    pub kept: u64,
    /// Keys that the target does not take as the source writes them, or that several databases of the source feed, or that are too large.
    pub refused: u64,
}

/// Repairs the differences of a group.
pub(super) struct Repair<'a> {
    group: &'a Group,
    passage: &'a mut Passage,
    watchers: Watchers,
    sources: Vec<Lines>,
    /// For each company.
    targets: Vec<Lines>,
    removes: bool,
    /// The version of the target's format, where it has refused the source's.
    version: Option<Version>,
    done: Repaired,
}

/// A key that is to be copied.
struct Copy<'a> {
    row: &'a Noted,
    /// The value, with its expiry; nothing where the source has none.
    value: Option<(Vec<u8>, i64)>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// To be done.
    Open,
    /// Something has touched it: another time.
    Touched,
    /// It is as on the source.
    Done,
    /// It stays as it is.
    Kept,
    /// It cannot be copied.
    Refused,
}

impl<'a> Repair<'a> {
    pub(super) fn new(group: &'a Group, passage: &'a mut Passage, removes: bool) -> Repair<'a> {
        Repair {
            sources: group.source_lines(),
            targets: (0..WATCHERS).map(|_| Lines::new(&group.target)).collect(),
            watchers: Watchers::new(group, WATCHERS),
            group,
            passage,
            removes,
            version: None,
            done: Repaired::default(),
        }
    }

    /// Copies or removes all keys of the table. Those that are settled leave it, but for those that cannot be repaired.
    pub(super) async fn run(mut self, differences: &Table) -> Result<Repaired, Error> {
        self.passage.check_safe().await?;
        for (number, (count, companies)) in COMPANIES.into_iter().enumerate() {
            let (mut mark, began) = (Mark::default(), Instant::now());
            let count = match self.group.target.is_cluster() {
                // Each slot is a company.
                true => count.min(WATCHERS),
                false => count,
            };
            while number == 0 || began.elapsed() < SMALL_COMPANIES_LIMIT {
                let Some((db, rows)) = next_of_one_database(differences, &mut mark, count)? else {
                    break;
                };
                // What is done with has lost its note, and is passed over.
                let rows: Vec<Noted> = rows.into_iter().filter(|row| !row.note.is_empty()).collect();
                if !rows.is_empty() {
                    let companies = self.companies(&rows, companies);
                    self.some(db, &rows, &companies, differences).await?;
                }
            }
        }
        Ok(self.done)
    }

    async fn some(
        &mut self,
        db: u32,
        rows: &[Noted],
        companies: &[Vec<usize>],
        differences: &Table,
    ) -> Result<(), Error> {
        self.group.pacing.spend(rows.len()).await;
        let places = watchers::places(self.group, db);
        let mut is_sure = self.watchers.watch(&places, rows, companies).await?;
        let mut copies = self.read(rows, &places).await?;
        let marks = self.passage.marks().await?;
        self.passage.wait(&marks).await?;
        self.passage.check_safe().await?;
        for (company, target) in companies.iter().zip(&mut self.targets) {
            let keys: Vec<&[u8]> = company.iter().map(|row| &rows[*row].key[..]).collect();
            let answers = target.ask(db, &keys, 1, |request, number| {
                encode_command(request, &[b"WATCH", keys[number]]);
            });
            for (row, answer) in company.iter().zip(answers.await?) {
                is_sure[*row] &= answer.error().is_none();
            }
        }
        // Only now: what touches the key from here on is seen by the watch at the target, or comes after the copy.
        let untouched = self.watchers.unwatch(&places, rows, companies, &mut is_sure);
        untouched.await?;
        for (copy, is_sure) in copies.iter_mut().zip(is_sure) {
            if copy.state == State::Open && !is_sure {
                copy.state = State::Touched;
            }
        }
        for (number, company) in companies.iter().enumerate() {
            self.write(db, number, company, &mut copies).await?;
        }
        self.note(db, &copies, differences)
    }

    /// Which keys are watched, and written, together; on a cluster those of one slot.
    fn companies(&self, rows: &[Noted], count: usize) -> Vec<Vec<usize>> {
        if !self.group.target.is_cluster() {
            return watchers::companies(rows.len(), count);
        }
        let mut by_slot: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
        for (place, row) in rows.iter().enumerate() {
            by_slot.entry(command::slot(&row.key)).or_default().push(place);
        }
        by_slot.into_values().collect()
    }

    /// What the source has of these keys.
    async fn read<'b>(&mut self, rows: &'b [Noted], places: &[Place]) -> Result<Vec<Copy<'b>>, Error> {
        let copy = |row| Copy {
            row,
            value: None,
            state: State::Open,
        };
        let mut copies: Vec<Copy<'b>> = rows.iter().map(copy).collect();
        for place in places {
            let lines = &mut self.sources[place.origin];
            let sized = |(place, row): (usize, &'b Noted)| Sized {
                place,
                key: &row.key,
                kind: Kind::Any,
                length: 0,
                bytes: 0,
                is_guess: false,
            };
            let mut keys: Vec<Sized<'b>> = rows.iter().enumerate().map(sized).collect();
            measure(lines, place.db, &mut keys).await?;
            let mut bytes = 0;
            keys.retain(|key| {
                let copy = &mut copies[key.place];
                if key.bytes > VALUE_BYTES_MAX {
                    copy.state = State::Refused;
                }
                // What is too much for this time is left for another.
                bytes += key.bytes;
                if bytes > TOGETHER_BYTES && bytes != key.bytes && copy.state == State::Open {
                    copy.state = State::Touched;
                }
                copy.state == State::Open
            });
            let clock = self.group.look.clock.verb();
            let answers = lines.ask(place.db, &keys, 2, |request, number| {
                encode_command(request, &[b"DUMP", keys[number].key]);
                encode_command(request, &[clock, keys[number].key]);
            });
            let mut answers = answers.await?.into_iter();
            for key in &keys {
                let copy = &mut copies[key.place];
                match (answers.next(), answers.next()) {
                    (Some(Value::Bulk(_)), Some(Value::Int(_))) if copy.value.is_some() => {
                        copy.state = State::Refused;
                    }
                    (Some(Value::Bulk(dump)), Some(Value::Int(expiry))) => copy.value = Some((dump, expiry)),
                    (Some(Value::Nil), _) => {}
                    _ => copy.state = State::Touched,
                }
            }
        }
        for copy in &mut copies {
            let is_extra = copy.value.is_none() && copy.state == State::Open;
            if is_extra && !self.removes {
                copy.state = State::Kept;
            }
        }
        Ok(copies)
    }

    /// Writes one unit in a transaction.
    async fn write(
        &mut self,
        db: u32,
        number: usize,
        unit: &[usize],
        copies: &mut [Copy<'_>],
    ) -> Result<(), Error> {
        let absolute = self.group.look.clock == Clock::Absolute;
        let open: Vec<usize> = unit
            .iter()
            .copied()
            .filter(|place| copies[*place].state == State::Open)
            .collect();
        let Some(first) = unit.first() else { return Ok(()) };
        let lines = &mut self.targets[number];
        let node = lines.side().node_of(&copies[*first].row.key);
        let talk = lines.talk(node).await?;
        if open.is_empty() {
            talk.call(&[b"UNWATCH"]).await?;
            return Ok(());
        }
        let mut request = BytesMut::new();
        encode_command(&mut request, &[b"MULTI"]);
        for place in &open {
            let copy = &copies[*place];
            encode(&mut request, copy, absolute, self.version);
        }
        encode_command(&mut request, &[b"EXEC"]);
        let answers = talk.ask(db, &mut request, open.len() + 2).await?;
        match answers.last() {
            Some(Value::Array(answers)) if answers.len() == open.len() => {
                let mut refused = false;
                for (place, answer) in open.iter().zip(answers) {
                    copies[*place].state = match answer.error() {
                        None => State::Done,
                        // Of another version of the format: once more, with what the target itself writes.
                        Some(_) if self.version.is_none() => State::Touched,
                        Some(_) => State::Refused,
                    };
                    refused |= answer.error().is_some();
                }
                if refused && self.version.is_none() {
                    self.version = self.learn(db, number, node).await?;
                }
            }
            Some(Value::Nil) => open
                .iter()
                .for_each(|place| copies[*place].state = State::Touched),
            // A command that is not taken at all spoils the transaction: nothing was done.
            Some(Value::Error(text))
                if !super::side::is_elsewhere(text) && !text.starts_with(b"EXECABORT") =>
            {
                return Err(talk.refused(b"EXEC", text));
            }
            Some(Value::Error(_)) => {
                let refusal = answers
                    .iter()
                    .filter_map(Value::error)
                    .find(|text| !text.starts_with(b"EXECABORT"));
                match refusal {
                    Some(text) if !super::side::is_elsewhere(text) => {
                        return Err(talk.refused(b"RESTORE", text));
                    }
                    _ => open
                        .iter()
                        .for_each(|place| copies[*place].state = State::Touched),
                }
            }
            _ => return Err(talk.unexpected("EXEC")),
        }
        Ok(())
    }

    /// The version of the target's format, by what it says of any of its keys.
    async fn learn(&mut self, db: u32, number: usize, node: usize) -> Result<Option<Version>, Error> {
        let talk = self.targets[number].talk(node).await?;
        let mut request = BytesMut::new();
        encode_command(&mut request, &[b"RANDOMKEY"]);
        let key = talk.ask(db, &mut request, 1).await?;
        let Some(key) = key.first().and_then(Value::text) else {
            return Ok(Some(Version::SHARED));
        };
        request.clear();
        encode_command(&mut request, &[b"DUMP", key]);
        let dump = talk.ask(db, &mut request, 1).await?;
        let version = dump.first().and_then(Value::text).and_then(version_of);
        Ok(Some(version.unwrap_or(Version::SHARED)))
    }

    fn note(&mut self, db: u32, copies: &[Copy<'_>], differences: &Table) -> Result<(), Error> {
        let (mut gone, mut stay) = (Vec::new(), Vec::new());
        for copy in copies {
            let key = &copy.row.key[..];
            match copy.state {
                State::Open | State::Touched => {}
                State::Done => {
                    let counter = match copy.value {
                        Some(_) => &mut self.done.copied,
                        None => &mut self.done.removed,
                    };
                    *counter += 1;
                    gone.push(key);
                }
                State::Kept => {
                    self.done.kept += 1;
                    stay.push(key);
                }
                State::Refused => {
                    self.done.refused += 1;
                    stay.push(key);
                }
            }
        }
        // Done or not, all are looked at again afterwards.
        let keys = gone.iter().chain(&stay);
        differences.insert(keys.map(|key| (db, *key, &b""[..])))?;
        Ok(())
    }
}

/// The command that makes a key as on the source.
fn encode(request: &mut BytesMut, copy: &Copy<'_>, absolute: bool, version: Option<Version>) {
    let key = &copy.row.key[..];
    let Some((dump, expiry)) = &copy.value else {
        let verb: &[u8] = if absolute { b"UNLINK" } else { b"DEL" };
        return encode_command(request, &[verb, key]);
    };
    let expiry = (*expiry).max(0).to_string();
    let fitted = version.and_then(|version| fitted(dump, version));
    let dump = fitted.as_ref().map_or(&dump[..], |fitted| &fitted[..]);
    let mut args: Vec<&[u8]> = vec![b"RESTORE", key, expiry.as_bytes(), dump, b"REPLACE"];
    if absolute {
        args.push(b"ABSTTL");
    }
    encode_command(request, &args);
}

/// The same value as a server of that version takes it; nothing where it cannot.
fn fitted(dump: &[u8], target: Version) -> Option<BytesMut> {
    let source = version_of(dump)?;
    let (value_type, value) = dump.get(..dump.len() - FOOTER_BYTES)?.split_first()?;
    let payload = Payload {
        meta: b"",
        value_type: *value_type,
        value,
    };
    let footer = payload.footer(source, target, Modules::Unknown)?;
    let mut out = BytesMut::new();
    payload.write(&mut out, footer);
    Some(out)
}

/// What a repair would do.
pub(super) fn plan(group: &Group, differences: &Table, removes: bool) -> Result<Repaired, Error> {
    let mut planned = Repaired {
        dry: true,
        ..Repaired::default()
    };
    super::settle::each(differences, 1_000, |rows| {
        for told in rows.iter().filter_map(Told::of) {
            let counter = match told.difference {
                Some(Difference::Extra) if removes => &mut planned.removed,
                Some(Difference::Extra) => &mut planned.kept,
                _ if told.source.len() > 1 && group.origins.len() > 1 => &mut planned.refused,
                _ => &mut planned.copied,
            };
            *counter += 1;
        }
        Ok(())
    })?;
    Ok(planned)
}

/// Whether other deployments keep checkpoints on the target: what the source does not have may be theirs.
pub(super) async fn is_shared(group: &Group) -> Result<bool, Error> {
    let ours: Vec<_> = group
        .pipelines
        .iter()
        .flat_map(|one| [checkpoint::key(&one.name), checkpoint::session_key(&one.name)])
        .collect();
    let pattern = format!("{KEY_PREFIX}:*");
    for node in 0..group.target.nodes.len() {
        let mut talk = group.target.open(node).await?;
        let mut cursor = b"0".to_vec();
        loop {
            let args = [
                &b"SCAN"[..],
                &cursor,
                b"MATCH",
                pattern.as_bytes(),
                b"COUNT",
                b"5000",
            ];
            let answer = talk.call(&args).await?;
            let Some([Value::Bulk(next), Value::Array(keys)]) = answer.array() else {
                return Err(talk.unexpected("SCAN"));
            };
            let mut keys = keys.iter().filter_map(Value::text);
            if keys.any(|key| !ours.iter().any(|ours| ours == key)) {
                return Ok(true);
            }
            if next == b"0" {
                break;
            }
            cursor.clone_from(next);
        }
    }
    Ok(false)
}
