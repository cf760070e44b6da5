//! Keys whose expiry is put off while a full sync runs.
//!
//! A key may be restored with its expiry, expire on the target while the full sync goes on, and have been renewed on the source meanwhile: the
//! renewal then finds nothing and the key is lost. So a key that would expire before the target has caught up is restored with an
//! expiry far ahead ([`GUARD_MS`] later than its own) and written down in the catalog. Once the target has applied everything
//! that the source had sent by the end of the full sync, each gets its true expiry, unless the stream has given it another one since. Until
//! then it does not matter that the key lives: when it expires on the source, a `DEL` comes.
//!
//! What is put off goes with the key where the stream takes it, or a copy of it:
//!
//! | command | the place to which it goes is |
//! | --- | --- |
//! | `RENAME`, `RENAMENX`, `COPY`, `MOVE` | parked too, with the same expiry |
//! | `SWAPDB` | asked when it is settled: each key of one database is looked for in the other as well |
//!
//! Where another process takes over before all is settled, it knows the names in the snapshot alone.
//!
//! A place that is parked and has no such key, or one with another expiry, is let alone. What is known of keys is forgotten when the target's record says that
//! all have their own: whoever goes on without this catalog finds there whether something is still to be done.
//!
//! Owns which keys are parked and how they are settled.

use super::End;
use crate::core::catalog::{Catalog, Error, ParkedKeys, SourceKey};
use crate::core::command;
use crate::core::crash;
use crate::core::filter::Filter;
use crate::core::log::{self, Log};
use crate::core::position::Offset;
use crate::core::rdb::{Item, Scanner, Step};
use crate::core::resp::{Frame, Value, said};
use crate::core::target::refusal::Kind;
use crate::core::target::session::{Session, now_ms};

/// So much later than its own, ten years, is the expiry that a parked key gets.
pub const GUARD_MS: i64 = 10 * 365 * 24 * 3600 * 1000;

/// A key that expires within this time is parked, at least.
pub const HORIZON_MS_MIN: i64 = 3600 * 1000;

/// So many keys are settled between two batches.
const CHUNK: usize = 500;

/// Keys that expire within this time may have been parked by another process: its full sync took less long.
const RECOVERY_MS: i64 = 7 * 24 * 3600 * 1000;

/// Of a large value only the name is looked at.
const PIECE_BYTES: usize = 1 << 20;

/// So often all keys are looked at, at most: where the stream takes keys to other places without end.
const LOOKS_MAX: u8 = 5;

/// The record that is under way may be from before; the next one is not.
const RECORDS: u8 = 2;

/// Two clocks and a rounded TTL may differ by so much.
const TOLERANCE_MS: i64 = 60_000;

/// The parked keys of a pipeline. The catalog is held only while they are looked at: one that has failed to write is opened again when nobody holds it.
pub struct Parked {
    catalog: Catalog,
    name: String,
    /// What the source had sent when the full sync ended.
    due: Offset,
    /// The last key looked at; nothing before the first.
    after: Option<SourceKey>,
    settled: bool,
    /// Every key has its own expiry, and so many records are still to be written before what is known of them is forgotten; 0 where nothing is.
    kept_for: u8,
    /// Keys have gone to other places, and a power cut would forget that.
    is_unsaved: bool,
    /// Keys have gone to other places since the first was looked at, or are about to.
    looks_again: bool,
    /// How often all of them were looked at.
    looks: u8,
    /// Databases of the source that have changed places.
    swapped: Vec<(u32, u32)>,
}

impl Parked {
    /// The parked keys that an earlier full sync has left, due when everything up to `due` is applied.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn open(catalog: &Catalog, name: &str, due: Offset) -> Result<Parked, Error> {
        let settled = catalog.parked(name)?.chunk(None, 1)?.is_empty();
        Ok(Parked {
            catalog: catalog.clone(),
            name: name.to_owned(),
            due,
            after: None,
            settled,
            kept_for: 0,
            is_unsaved: false,
            looks_again: false,
            looks: 0,
            swapped: catalog.swapped(name)?,
        })
    }

    /// A command of the stream may take keys, and with them what is put off, to other places; `db` is the source's database that it is for.
    ///
    /// # Errors
    /// The catalog fails.
    pub fn follow(&mut self, frame: &Frame<'_>, kind: command::Kind, db: u32) -> Result<(), End> {
        if self.settled {
            return Ok(());
        }
        if let Some((one, other)) = swapped(frame, kind) {
            let pair = (one.min(other), one.max(other));
            if self.swapped.contains(&pair) {
                return Ok(());
            }
            self.swapped.push(pair);
            return self
                .catalog
                .set_swapped(&self.name, &self.swapped)
                .map_err(End::Catalog);
        }
        let Some((from, (to_db, to))) = taken(frame, kind, db) else {
            return Ok(());
        };
        let keys = self.keys()?;
        for place in self.places(db) {
            let expiries = keys.expiries(place, from).map_err(End::Catalog)?;
            if !expiries.is_empty() {
                // Beside those that are there: where this comes again after a crash, another key may have had the name by then.
                keys.add(to_db, to, &expiries).map_err(End::Catalog)?;
                (self.is_unsaved, self.looks_again) = (true, true);
            }
        }
        Ok(())
    }

    /// Before the target is given what [`Parked::follow`] has seen.
    ///
    /// # Errors
    /// The catalog fails.
    pub fn persist_followed(&mut self) -> Result<(), End> {
        if std::mem::take(&mut self.is_unsaved) {
            self.keys()?.persist().map_err(End::Catalog)?;
        }
        Ok(())
    }

    /// The databases in which a key of this one may be by now: itself first.
    fn places(&self, db: u32) -> Vec<u32> {
        let mut places = vec![db];
        let mut next = 0;
        while let Some(&place) = places.get(next) {
            for &(one, other) in &self.swapped {
                let there = if one == place { other } else { one };
                if (one == place || other == place) && !places.contains(&there) {
                    places.push(there);
                }
            }
            next += 1;
        }
        places
    }

    /// A record has been written on the target. When it surely says that every key has its own expiry, nothing needs to be known of them any more.
    ///
    /// # Errors
    /// The catalog fails.
    pub fn forget_settled(&mut self) -> Result<(), End> {
        if self.kept_for == 0 {
            return Ok(());
        }
        self.kept_for -= 1;
        if self.kept_for > 0 {
            return Ok(());
        }
        self.keys()?.clear().map_err(End::Catalog)?;
        self.catalog.set_swapped(&self.name, &[]).map_err(End::Catalog)?;
        crash::pass(crash::Step::ParkedForgotten);
        Ok(())
    }

    /// Takes them up again where another process has restored the snapshot, and had not settled them: out of the copy of that snapshot. More keys than were
    /// parked do no harm, for only one that still has the guard gets its own expiry. False where there is no whole copy.
    ///
    /// # Errors
    /// The copy or the catalog cannot be read.
    pub async fn recover(&mut self, log: &Log) -> Result<bool, End> {
        // One in memory has been read, and is gone.
        let is_whole = |one: &log::SnapshotInfo| one.stage.is_here() && one.resumable;
        if log.snapshot().filter(is_whole).is_none() {
            return Ok(false);
        }
        let now = i64::try_from(now_ms()).unwrap_or(i64::MAX);
        let mut reader = log.snapshot_reader(0).map_err(End::Log)?;
        let mut scanner = Scanner::new().in_pieces(PIECE_BYTES);
        let mut found: Vec<(u32, Vec<u8>, i64)> = Vec::new();
        loop {
            let mut note = |db: u32, key: &[u8], at: Option<i64>| {
                let at = at.filter(|at| *at <= now.saturating_add(RECOVERY_MS));
                found.extend(at.map(|at| (db, key.to_vec(), at)));
            };
            match scanner
                .look(|key| note(key.db, key.key, key.expire_at_ms))
                .map_err(End::Snapshot)?
            {
                Step::End(_) => break,
                Step::Item(Item::Key(key)) => note(key.db, &key.key, key.expire_at_ms),
                Step::Large(key) => note(key.db, &key.key, key.expire_at_ms),
                Step::Item(_) | Step::Piece(_) | Step::LargeEnd(_) => {}
                Step::NeedMore => match reader.next().await.map_err(End::Log)? {
                    Some(chunk) => scanner.push(chunk),
                    None => return Err(End::LogChanged),
                },
            }
            if found.len() > CHUNK {
                self.keep(&mut found)?;
            }
        }
        self.keep(&mut found)?;
        self.keys()?.persist().map_err(End::Catalog)?;
        self.settled = self.keys()?.chunk(None, 1).map_err(End::Catalog)?.is_empty();
        Ok(true)
    }

    fn keys(&self) -> Result<ParkedKeys, End> {
        self.catalog.parked(&self.name).map_err(End::Catalog)
    }

    fn keep(&self, found: &mut Vec<(u32, Vec<u8>, i64)>) -> Result<(), End> {
        let keys = self.keys()?;
        let mut all = found.iter().map(|(db, key, at)| (*db, &key[..], *at));
        // Beside what is known already.
        let kept = match self.settled {
            true => keys.insert(all),
            false => all.try_for_each(|(db, key, at)| keys.add(db, key, &[at])),
        };
        kept.map_err(End::Catalog)?;
        found.clear();
        Ok(())
    }

    /// Whether every key has its own expiry.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// Whether they are still known though every key has its own expiry: the target's record is to say it first.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.kept_for > 0
    }

    /// Whether there is something to settle, everything up to `applied` being applied.
    #[must_use]
    pub fn is_due(&self, applied: Offset) -> bool {
        !self.settled && applied >= self.due
    }

    /// Gives a chunk of keys their true expiry.
    ///
    /// # Errors
    /// The target or the catalog fails.
    pub async fn settle(&mut self, filter: &Filter, session: &mut Session) -> Result<(), End> {
        let chunk = self
            .keys()?
            .chunk(self.after.as_ref(), CHUNK)
            .map_err(End::Catalog)?;
        if chunk.is_empty() {
            // What went to another place meanwhile may have gone past us; the same key time after time has not.
            self.looks += 1;
            if std::mem::take(&mut self.looks_again) && self.looks < LOOKS_MAX {
                self.after = None;
                return Ok(());
            }
            (self.settled, self.kept_for) = (true, RECORDS);
            tracing::info!("keys whose expiry was put off during the full sync have it now");
            return Ok(());
        }
        let mut placed: Vec<(u32, &[u8], &[i64])> = Vec::new();
        for one in &chunk {
            let places = self.places(one.key.db).into_iter();
            let places = places.filter_map(|db| filter.target_db(db));
            placed.extend(places.map(|db| (db, &one.key.key[..], &one.expires_ms[..])));
        }
        let mut asks = vec![vec![b"TIME".to_vec()]];
        for (db, key, _) in &placed {
            asks.push(select(*db));
            asks.push(vec![b"PTTL".to_vec(), key.to_vec()]);
        }
        let answers = session.lane.call_many(asks).await.map_err(End::Target)?;
        must_not_be_refused(&answers)?;
        let now = server_time_ms(answers.first());
        let ttls = answers.iter().skip(2).step_by(2);
        let mut sets = Vec::new();
        for ((db, key, expiries), ttl) in placed.iter().zip(ttls) {
            if let Some(expire_at_ms) = guarded(now, ttl, expiries) {
                sets.push(select(*db));
                sets.push(vec![
                    b"PEXPIREAT".to_vec(),
                    key.to_vec(),
                    expire_at_ms.to_string().into_bytes(),
                ]);
            }
        }
        sets.push(select(0));
        let answers = session.lane.call_many(sets).await.map_err(End::Target)?;
        must_not_be_refused(&answers)?;
        crash::pass(crash::Step::ParkedSet);
        self.after = chunk.into_iter().next_back().map(|one| one.key);
        Ok(())
    }
}

/// The databases that the command has change places.
pub(super) fn swapped(frame: &Frame<'_>, kind: command::Kind) -> Option<(u32, u32)> {
    let pair = (kind == command::Kind::Swapdb).then(|| Some((number(frame, 1)?, number(frame, 2)?)));
    pair.flatten()
}

/// A key and where it is taken, or copied.
type Taken<'a> = (&'a [u8], (u32, &'a [u8]));

/// What the command takes to another place; `db` is the database that is selected.
fn taken<'a>(frame: &Frame<'a>, kind: command::Kind, db: u32) -> Option<Taken<'a>> {
    use command::Kind;
    if !matches!(kind, Kind::Rename | Kind::Renamenx | Kind::Move | Kind::Copy) {
        return None;
    }
    let (from, to) = (frame.arg(1)?, frame.arg(2)?);
    match kind {
        Kind::Rename | Kind::Renamenx => Some((from, (db, to))),
        Kind::Move => Some((from, (number(frame, 2)?, from))),
        Kind::Copy => {
            let mut options = (3..frame.arg_count()).filter_map(|at| Some((at, frame.arg(at)?)));
            let option = options.find(|(_, word)| word.eq_ignore_ascii_case(b"DB"));
            let to_db = option.map_or(Some(db), |(at, _)| number(frame, at + 1))?;
            Some((from, (to_db, to)))
        }
        _ => None,
    }
}

fn number(frame: &Frame<'_>, at: usize) -> Option<u32> {
    std::str::from_utf8(frame.arg(at)?).ok()?.parse().ok()
}

/// Commands of ours that keep the target a copy: where they are refused, it is none, and we must not go on as if it were.
///
/// # Errors
/// One was refused.
pub(super) fn must_not_be_refused(answers: &[Value]) -> Result<(), End> {
    let refused = answers.iter().find_map(Value::error);
    let Some(reply) = refused.map(said) else {
        return Ok(());
    };
    let kind = Kind::of(&reply);
    if kind.may_be_repeated() {
        return Err(End::Unavailable(reply));
    }
    let hint = kind
        .hint(&reply)
        .unwrap_or_else(|| "see README.md for the commands that gunyu needs on the target".to_owned());
    Err(End::Stuck {
        message: format!("the target refused a command that gunyu needs: {reply}"),
        hint,
    })
}

fn select(db: u32) -> Vec<Vec<u8>> {
    vec![b"SELECT".to_vec(), db.to_string().into_bytes()]
}

/// `TIME` answers seconds and microseconds.
fn server_time_ms(reply: Option<&Value>) -> i64 {
    let number = |value: &Value| std::str::from_utf8(value.text()?).ok()?.parse::<i64>().ok();
    let parts = reply.and_then(Value::array).unwrap_or_default();
    let seconds = parts.first().and_then(number).unwrap_or(0);
    let micros = parts.get(1).and_then(number).unwrap_or(0);
    seconds * 1000 + micros / 1000
}

/// The one of these expiries that parking has put off, where the key still has what parking gave it.
fn guarded(now_ms: i64, ttl: &Value, expiries: &[i64]) -> Option<i64> {
    let Value::Int(ttl @ 1..) = ttl else { return None };
    let is_off_by = |at: i64| (now_ms + ttl - (at + GUARD_MS)).abs();
    let nearest = expiries.iter().copied().min_by_key(|at| is_off_by(*at));
    nearest.filter(|at| is_off_by(*at) < TOLERANCE_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_key_that_still_has_the_guard_gets_its_expiry() {
        let (now, true_expiry) = (1_000_000, 1_005_000);
        let put_off = true_expiry + GUARD_MS - now;
        let of = |ttl: i64| guarded(now, &Value::Int(ttl), &[900_000, true_expiry, 1_006_000]);
        assert_eq!(of(put_off), Some(true_expiry));
        assert_eq!(of(put_off - 3), Some(true_expiry));
        assert_eq!(
            of(put_off + 999),
            Some(1_006_000),
            "another's, which had the name"
        );
        assert_eq!(of(30_000), None, "renewed by the stream");
        assert_eq!(of(-1), None, "persisted by the stream");
        assert_eq!(of(-2), None, "deleted by the stream");
        assert_eq!(guarded(now, &Value::Error(b"ERR".to_vec()), &[true_expiry]), None);
    }

    #[test]
    fn what_is_put_off_goes_where_the_key_goes() {
        use crate::core::command::{of, tests::framed};
        for (words, expected) in [
            ("RENAME a b", Some(("a", 3, "b"))),
            ("renamenx a b", Some(("a", 3, "b"))),
            ("COPY a b", Some(("a", 3, "b"))),
            ("COPY a b REPLACE DB 7", Some(("a", 7, "b"))),
            ("MOVE a 5", Some(("a", 5, "a"))),
            ("SET a b", None),
            ("SWAPDB 0 1", None),
        ] {
            framed(words, |frame| {
                let taken = taken(frame, of(frame).kind, 3);
                let taken = taken.map(|(from, (db, to))| (from.to_vec(), db, to.to_vec()));
                let expected = expected.map(|(from, db, to): (&str, u32, &str)| (from.into(), db, to.into()));
                assert_eq!(taken, expected, "{words}");
            });
        }
        framed("SWAPDB 4 1", |frame| {
            assert_eq!(swapped(frame, of(frame).kind), Some((4, 1)));
        });
    }

    #[test]
    fn the_time_of_the_server_is_in_milliseconds() {
        let time = Value::Array(vec![Value::Bulk(b"12".to_vec()), Value::Bulk(b"345678".to_vec())]);
        assert_eq!(server_time_ms(Some(&time)), 12_345);
    }
}
