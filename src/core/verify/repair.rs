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
use super::ahead::Ahead;
use super::extra::Removal;
use super::group::{Group, Place};
use super::look::Clock;
use super::note::Told;
use super::passage::Passage;
use super::seen::{Difference, Kind};
use super::settle::next_of_one_database;
use super::side::{self, Lines, TRANSIENT_LIMIT, TRANSIENT_PAUSE};
use super::sizes::{Sized, measure};
use super::watchers::{self, Watchers};
use crate::core::catalog::{Mark, Noted, Table};
use crate::core::command;
use crate::core::rdb::Version;
use crate::core::rdb::payload::{FOOTER_BYTES, Modules, Payload, version_of};
use crate::core::resp::{Value, encode_command};

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
    /// Keys that the source does not have and that stay: `staleKeys` would keep them ([`super::extra`]).
    pub kept: u64,
    /// Keys that the target does not take as the source writes them, or that several databases of the source feed, or that are too large.
    pub refused: u64,
}

/// Repairs the differences of a group.
pub(super) struct Repair<'a> {
    group: &'a Group,
    passage: &'a mut Passage,
    ahead: &'a mut Ahead,
    watchers: Watchers,
    sources: Vec<Lines>,
    /// For each company.
    targets: Vec<Lines>,
    removal: &'a Removal,
    /// The version of the target's format, where it has refused the source's.
    version: Option<Version>,
    /// Since when the target refuses everything, in a state that passes by itself.
    refused_since: Option<Instant>,
    done: Repaired,
}

/// A key that is to be copied.
struct Copy<'a> {
    row: &'a Noted,
    /// The value, with its expiry; nothing where the source has none.
    value: Option<Valued>,
    state: State,
}

/// A value as the source has it.
struct Valued {
    dump: Vec<u8>,
    /// What the source answered to the question for its expiry.
    expiry: i64,
    asked: Instant,
}

impl Valued {
    /// The expiry as `RESTORE` takes it, 0 for none; nothing where it has passed.
    fn expiry(&self, clock: Clock, now: Instant) -> Option<i64> {
        match (self.expiry, clock) {
            (..0, _) => Some(0),
            (at, Clock::Absolute) => Some(at.max(1)),
            (left, Clock::Relative) => {
                let gone = now.saturating_duration_since(self.asked).as_millis();
                let left = left - i64::try_from(gone).unwrap_or(i64::MAX);
                (left > 0).then_some(left)
            }
        }
    }
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
    pub(super) fn new(
        group: &'a Group,
        (passage, ahead): (&'a mut Passage, &'a mut Ahead),
        removal: &'a Removal,
    ) -> Repair<'a> {
        Repair {
            sources: group.source_lines(),
            targets: (0..WATCHERS).map(|_| Lines::new(&group.target)).collect(),
            watchers: Watchers::new(group, WATCHERS),
            group,
            passage,
            ahead,
            refused_since: None,
            removal,
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
        let mut copies = self.read(db, rows, &places).await?;
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
        // What was read holds up to where the source is now, as nothing touches it meanwhile: that must be as far as what the target has.
        self.ahead.check().await?;
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
    async fn read<'b>(
        &mut self,
        db: u32,
        rows: &'b [Noted],
        places: &[Place],
    ) -> Result<Vec<Copy<'b>>, Error> {
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
            let before = Instant::now();
            let mut answers = answers.await?.into_iter();
            let asked = before + before.elapsed() / 2;
            for key in &keys {
                let copy = &mut copies[key.place];
                match (answers.next(), answers.next()) {
                    (Some(Value::Bulk(_)), Some(Value::Int(_))) if copy.value.is_some() => {
                        copy.state = State::Refused;
                    }
                    (Some(Value::Bulk(dump)), Some(Value::Int(expiry))) => {
                        copy.value = Some(Valued { dump, expiry, asked });
                    }
                    (Some(Value::Nil), _) => {}
                    _ => copy.state = State::Touched,
                }
            }
        }
        for copy in &mut copies {
            let is_extra = copy.value.is_none() && copy.state == State::Open;
            if is_extra && !self.removal.removes(db) {
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
            encode(&mut request, copy, self.group.look.clock, self.version);
        }
        encode_command(&mut request, &[b"EXEC"]);
        let answers = talk.ask(db, &mut request, open.len() + 2).await?;
        let outcome = written(&answers, open.len()).map_err(|_| talk.unexpected("EXEC"))?;
        let (mut waits, mut refused) = (None, false);
        match outcome {
            Written::Done(answers) => {
                for (place, answer) in open.iter().zip(answers) {
                    copies[*place].state = match answer.error() {
                        None => State::Done,
                        Some(text) if side::passes(text) => {
                            waits = Some(text);
                            State::Touched
                        }
                        // Of another version of the format: once more, with what the target itself writes.
                        Some(_) if self.version.is_none() => {
                            refused = true;
                            State::Touched
                        }
                        Some(_) => State::Refused,
                    };
                }
            }
            Written::Touched => touch(&open, copies),
            Written::Refused(text) if side::passes(text) => {
                touch(&open, copies);
                waits = Some(text);
            }
            Written::Refused(text) => return Err(talk.refused(b"RESTORE", text)),
        }
        match waits {
            None => self.refused_since = None,
            Some(text) => {
                let since = *self.refused_since.get_or_insert_with(Instant::now);
                if since.elapsed() > TRANSIENT_LIMIT {
                    return Err(talk.refused(b"RESTORE", text));
                }
                tokio::time::sleep(TRANSIENT_PAUSE).await;
            }
        }
        if refused {
            self.version = self.learn(db, number, node).await?;
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

/// What a transaction came to.
enum Written<'a> {
    /// Its answers.
    Done(&'a [Value]),
    /// Something has touched a key of it: nothing was done.
    Touched,
    /// A command was not taken at all, or the transaction was not: nothing was done.
    Refused(&'a [u8]),
}

fn written(answers: &[Value], expected: usize) -> Result<Written<'_>, ()> {
    match answers.last() {
        Some(Value::Array(answers)) if answers.len() == expected => Ok(Written::Done(answers)),
        Some(Value::Nil) => Ok(Written::Touched),
        Some(Value::Error(exec)) => {
            let mut refusals = answers.iter().filter_map(Value::error);
            let refusal = refusals.find(|text| !text.starts_with(b"EXECABORT"));
            let refusal = refusal.unwrap_or(exec);
            match side::is_elsewhere(refusal) {
                true => Ok(Written::Touched),
                false => Ok(Written::Refused(refusal)),
            }
        }
        _ => Err(()),
    }
}

fn touch(open: &[usize], copies: &mut [Copy<'_>]) {
    for place in open {
        copies[*place].state = State::Touched;
    }
}

/// The command that makes a key as on the source.
fn encode(request: &mut BytesMut, copy: &Copy<'_>, clock: Clock, version: Option<Version>) {
    let key = &copy.row.key[..];
    let absolute = clock == Clock::Absolute;
    let value = copy.value.as_ref();
    let value = value.and_then(|value| Some((&value.dump, value.expiry(clock, Instant::now())?)));
    let Some((dump, expiry)) = value else {
        let verb: &[u8] = if absolute { b"UNLINK" } else { b"DEL" };
        return encode_command(request, &[verb, key]);
    };
    let expiry = expiry.to_string();
    let fitted = version.and_then(|version| fitted(dump, version));
    let dump = fitted.as_ref().map_or(&dump[..], |fitted| &fitted[..]);
    let mut args: Vec<&[u8]> = vec![b"RESTORE", key, expiry.as_bytes(), dump, b"REPLACE"];
    // Without an expiry there is none, in whichever way it is given.
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
pub(super) fn plan(group: &Group, differences: &Table, removal: &Removal) -> Result<Repaired, Error> {
    let mut planned = Repaired {
        dry: true,
        ..Repaired::default()
    };
    super::settle::each(differences, 1_000, |rows| {
        for (row, told) in rows.iter().filter_map(|row| Some((row, Told::of(&row.note)?))) {
            let counter = match told.difference {
                Some(Difference::Extra) if removal.removes(row.db) => &mut planned.removed,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_expires_while_it_is_copied_is_not_copied_for_good() {
        let asked = Instant::now();
        let later = asked + Duration::from_millis(300);
        #[rustfmt::skip]
        let rows = [
            (-1,    Clock::Relative, Some(0)),
            (1_000, Clock::Relative, Some(700)),
            (300,   Clock::Relative, None),
            (0,     Clock::Relative, None),
            (-1,    Clock::Absolute, Some(0)),
            (1_000, Clock::Absolute, Some(1_000)),
        ];
        for (expiry, clock, expected) in rows {
            let value = Valued {
                dump: Vec::new(),
                expiry,
                asked,
            };
            assert_eq!(value.expiry(clock, later), expected, "{expiry} {clock:?}");
        }
    }

    #[test]
    fn a_transaction_that_was_not_taken_tells_why() {
        let error = |text: &str| Value::Error(text.as_bytes().to_vec());
        let aborted = || error("EXECABORT Transaction discarded because of previous errors.");
        let refusal = |answers: &[Value]| match written(answers, 1) {
            Ok(Written::Refused(text)) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        };
        assert_eq!(refusal(&[error("OOM no"), aborted()]).as_deref(), Some("OOM no"));
        assert!(refusal(&[aborted()]).is_some());
        let touched = [error("MOVED 1 h:1"), aborted()];
        assert!(matches!(written(&touched, 1), Ok(Written::Touched)));
        assert!(matches!(written(&[Value::Nil], 1), Ok(Written::Touched)));
        assert!(written(&[Value::Array(Vec::new())], 1).is_err());
    }
}
