//! Both walks: through the source, asking the target; and through the target, asking the source.
//!
//! What does not fit together becomes a candidate, no more: between two questions anything may have been written. Promises that every key that is there from
//! beginning to end is met; where slots of a cluster have changed hands meanwhile, or are about to, everything is walked
//! again, and where they never rest, that is an error.
//!
//! ```text
//! SCAN of each node ─▶ batches of keys ─▶ workers ─▶ questions to both sides at once ─▶ candidates
//! ```
//!
//! Several workers keep both servers busy: while one waits for the one server, another has the other at work.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::group::{Group, Place, int};
use super::guess::Guess;
use super::look::Clock;
use super::look::Look;
use super::seen::{Kind, Verdict, judge};
use super::side::{Lines, Side};
use super::sizes::Sized;
use super::standing::Standing;
use super::values;
use super::{Compare, Error, Settings, Shown, Stage};
use crate::core::catalog::Table;
use crate::core::resp::{Value, encode_command, write_array_header, write_bulk};

/// So many keys a step of `SCAN`, and so about a batch.
const SCAN_COUNT: u64 = 1000;

/// So many batches wait for workers.
const BATCHES_AHEAD: usize = 8;

/// So many work at the same time.
const WORKERS: usize = 4;

/// So often everything is walked where slots keep changing hands.
const WALKS_MAX: u32 = 3;

/// Keys of one database of the side that is walked.
struct Batch {
    db: u32,
    keys: Vec<Vec<u8>>,
}

/// What tasks share.
struct Shared {
    settings: Arc<Settings>,
    group: Group,
    candidates: Table,
    shown: Arc<Shown>,
}

/// Batches, for whoever comes first.
type Batches = Arc<tokio::sync::Mutex<mpsc::Receiver<Batch>>>;

/// Both walks.
pub(super) struct Walk {
    shared: Shared,
}

impl Walk {
    pub(super) fn new(settings: &Arc<Settings>, group: Group, candidates: Table, shown: &Arc<Shown>) -> Walk {
        Walk {
            shared: Shared {
                settings: Arc::clone(settings),
                group,
                candidates,
                shown: Arc::clone(shown),
            },
        }
    }

    /// Walks, and gives the group back as it was found at the end.
    pub(super) async fn run(self) -> Result<Group, Error> {
        let mut shared = self.shared;
        let (counted, patience) = (shared.shown.counted(), shared.settings.patience);
        let (mut standing, at_once) = Standing::wait(&shared.group, patience).await?;
        if !at_once {
            shared.group.refresh().await?;
        }
        for _ in 0..WALKS_MAX {
            shared.shown.counts_again(counted);
            let all = Arc::new(shared);
            walk_source(&all).await?;
            walk_target(&all).await?;
            let ended = Arc::into_inner(all);
            shared = ended.ok_or_else(|| Error::Bug("a task outlives its walk".to_owned()))?;
            let before = shared.group.clone();
            let (now, at_once) = Standing::wait(&before, patience).await?;
            shared.group.refresh().await?;
            if at_once && now == standing && is_unmoved(&before, &shared.group) {
                return Ok(shared.group);
            }
            standing = now;
            tracing::info!("slots have changed hands: everything is walked again");
        }
        let sides = shared.group.origins.iter().map(|origin| &origin.side);
        let moving = sides.chain([&shared.group.target]).find(|side| side.is_cluster());
        let address = moving.and_then(|side| Some(side.nodes.first()?.endpoint.address.clone()));
        let address =
            address.ok_or_else(|| Error::Bug("slots have moved where there are none".to_owned()))?;
        Err(Error::Moving { address })
    }
}

fn is_unmoved(before: &Group, after: &Group) -> bool {
    let same = |one: &Arc<Side>, other: &Arc<Side>| one.is_as(other);
    let mut origins = before.origins.iter().zip(&after.origins);
    origins.all(|(one, other)| same(&one.side, &other.side)) && same(&before.target, &after.target)
}

async fn walk_source(shared: &Arc<Shared>) -> Result<(), Error> {
    shared.shown.enters(Stage::Source);
    for number in 0..shared.group.origins.len() {
        let origin = &shared.group.origins[number];
        let is_fed = |db: &u32| shared.group.filter.target_db(*db).is_some();
        let databases: Vec<u32> = origin.databases.keys().copied().filter(is_fed).collect();
        let mut tasks = JoinSet::new();
        let batches = scan_all(&mut tasks, shared, &origin.side, &databases, |shared, db, key| {
            shared.group.compares(db, key)
        });
        for _ in 0..WORKERS {
            let worker = Forward {
                origin: number,
                source: Lines::new(&origin.side),
                target: Lines::new(&shared.group.target),
                guess: Guess::new(),
                shared: Arc::clone(shared),
            };
            tasks.spawn(worker.run(Arc::clone(&batches)));
        }
        drop(batches);
        end_all(tasks).await?;
    }
    Ok(())
}

async fn walk_target(shared: &Arc<Shared>) -> Result<(), Error> {
    shared.shown.enters(Stage::Target);
    let fed = |db: &u32| shared.group.feeder(*db).is_some();
    let databases: Vec<u32> = shared.group.databases.keys().copied().filter(fed).collect();
    let mut tasks = JoinSet::new();
    let batches = scan_all(
        &mut tasks,
        shared,
        &shared.group.target,
        &databases,
        |shared, db, key| {
            let feeder = shared.group.feeder(db);
            feeder.is_some_and(|feeder| shared.group.compares(feeder, key))
        },
    );
    for _ in 0..WORKERS {
        let worker = Backward {
            sources: shared.group.source_lines(),
            shared: Arc::clone(shared),
        };
        tasks.spawn(worker.run(Arc::clone(&batches)));
    }
    drop(batches);
    end_all(tasks).await
}

/// Waits for all; the first that fails ends the others.
async fn end_all(mut tasks: JoinSet<Result<(), Error>>) -> Result<(), Error> {
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|error| Error::Bug(error.to_string()))??;
    }
    Ok(())
}

/// Begins to scan all nodes of a side.
fn scan_all(
    tasks: &mut JoinSet<Result<(), Error>>,
    shared: &Arc<Shared>,
    side: &Arc<Side>,
    databases: &[u32],
    keeps: impl Fn(&Shared, u32, &[u8]) -> bool + Copy + Send + Sync + 'static,
) -> Batches {
    let (give, batches) = mpsc::channel(BATCHES_AHEAD);
    for node in 0..side.nodes.len() {
        let scan = Scan {
            shared: Arc::clone(shared),
            side: Arc::clone(side),
            node,
            give: give.clone(),
        };
        tasks.spawn(scan.run(databases.to_vec(), keeps));
    }
    Arc::new(tokio::sync::Mutex::new(batches))
}

/// One node's keys.
struct Scan {
    shared: Arc<Shared>,
    side: Arc<Side>,
    node: usize,
    give: mpsc::Sender<Batch>,
}

impl Scan {
    async fn run(
        self,
        databases: Vec<u32>,
        keeps: impl Fn(&Shared, u32, &[u8]) -> bool,
    ) -> Result<(), Error> {
        let settings = &self.shared.settings;
        // A batch is not to be longer than what may be asked in a quarter of a second.
        let count = settings
            .keys_per_sec
            .map_or(SCAN_COUNT, |rate| (rate / 4).clamp(1, SCAN_COUNT));
        let count = count.to_string().into_bytes();
        let mut talk = self.side.open(self.node).await?;
        for db in databases {
            let mut cursor = b"0".to_vec();
            loop {
                let mut request = BytesMut::new();
                let mut args: Vec<&[u8]> = vec![b"SCAN", &cursor, b"COUNT", &count];
                if let Some(pattern) = &settings.pattern {
                    args.extend([&b"MATCH"[..], pattern]);
                }
                encode_command(&mut request, &args);
                let answer = talk.ask(db, &mut request, 1).await?.pop();
                let (next, mut keys) = match step(answer) {
                    Ok(step) => step,
                    Err(Some(text)) => return Err(talk.refused(b"SCAN", &text)),
                    Err(None) => return Err(talk.unexpected("SCAN")),
                };
                Shown::add(&self.shared.shown.met, keys.len());
                self.shared.group.pacing.spend(keys.len()).await;
                keys.retain(|key| keeps(&self.shared, db, key) && is_sampled(key, settings.sample));
                if !keys.is_empty() && self.give.send(Batch { db, keys }).await.is_err() {
                    // The workers have failed, and say why.
                    return Ok(());
                }
                if next == b"0" {
                    break;
                }
                cursor = next;
            }
        }
        Ok(())
    }
}

/// The next cursor, and keys.
type Step = (Vec<u8>, Vec<Vec<u8>>);

/// What a step of `SCAN` says; otherwise what was said instead.
fn step(answer: Option<Value>) -> Result<Step, Option<Vec<u8>>> {
    let mut parts = match answer {
        Some(Value::Array(parts)) => parts.into_iter(),
        Some(Value::Error(text)) => return Err(Some(text)),
        _ => return Err(None),
    };
    let (Some(Value::Bulk(cursor)), Some(Value::Array(keys))) = (parts.next(), parts.next()) else {
        return Err(None);
    };
    let key = |key: Value| match key {
        Value::Bulk(key) => Some(key),
        _ => None,
    };
    Ok((cursor, keys.into_iter().filter_map(key).collect()))
}

/// Whether a key is among those that are looked at: by its name alone, so that both walks choose the same.
fn is_sampled(key: &[u8], sample: Option<f64>) -> bool {
    use crc_fast::{CrcAlgorithm, checksum};
    let Some(part) = sample else { return true };
    let hash = checksum(CrcAlgorithm::Crc64Nvme, key) >> 11;
    (hash as f64) < part * (1_u64 << 53) as f64
}

/// Asks both sides for keys of the source.
struct Forward {
    shared: Arc<Shared>,
    /// Which source.
    origin: usize,
    source: Lines,
    target: Lines,
    guess: Guess,
}

impl Forward {
    async fn run(mut self, batches: Batches) -> Result<(), Error> {
        loop {
            let next = batches.lock().await.recv().await;
            let Some(batch) = next else { return Ok(()) };
            let keys = batch.keys.len();
            let Some(target_db) = self.shared.group.filter.target_db(batch.db) else {
                continue;
            };
            let mut sorted = Sorted::default();
            match self.shared.settings.compare {
                Compare::Existence => {
                    sorted.candidates = absent(&mut self.target, target_db, &batch.keys).await?;
                }
                Compare::Type => {
                    let all: Vec<usize> = (0..keys).collect();
                    self.closely(&batch, target_db, &all, &mut sorted).await?;
                }
                Compare::Length | Compare::Value => self.quickly(&batch, target_db, &mut sorted).await?,
            }
            if self.shared.settings.compare == Compare::Value {
                let (source, target) = ((&mut self.source, batch.db), (&mut self.target, target_db));
                let fitting = sorted.fitting(&batch);
                let differing = values::differing(source, target, fitting).await?;
                sorted.candidates.extend(differing);
            }
            let candidates = sorted.candidates.iter().map(|place| &batch.keys[*place][..]);
            note(&self.shared, target_db, candidates)?;
            Shown::add(&self.shared.shown.source, keys);
        }
    }

    /// Asks both sides for the length, by the type that the key probably has, and for its expiry, unless no key of the database expires on either side.
    async fn quickly(&mut self, batch: &Batch, target_db: u32, sorted: &mut Sorted) -> Result<(), Error> {
        let group = &self.shared.group;
        let (keys, clock) = (&batch.keys, group.look.clock);
        let guess = &self.guess;
        let place = Place {
            origin: self.origin,
            db: batch.db,
        };
        let expires = group.expires(place, target_db);
        let each = if expires { 2 } else { 1 };
        let ask = |request: &mut BytesMut, number: usize| {
            let key = &keys[number];
            let verb = guess.kind(key).length_verb().unwrap_or(b"STRLEN");
            encode_command(request, &[verb, key]);
            if expires {
                encode_command(request, &[clock.verb(), key]);
            }
        };
        let (source, target) = tokio::try_join!(
            self.source.ask(batch.db, keys, each, ask),
            self.target.ask(target_db, keys, each, ask),
        )?;
        let mut unsure = Vec::new();
        for (number, key) in keys.iter().enumerate() {
            let pair = number * each..(number + 1) * each;
            match fits(
                &source[pair.clone()],
                &target[pair.clone()],
                clock,
                group.tolerance_ms,
            ) {
                Fit::Fits if group.look.compare == Compare::Value => {
                    let kind = guess.kind(key).clone();
                    sorted
                        .fits
                        .push((number, kind, int(&source[pair.start]).unwrap_or(0)));
                }
                Fit::Fits => {}
                Fit::Guessed => unsure.push(number),
                Fit::Not => sorted.candidates.push(number),
            }
        }
        self.closely(batch, target_db, &unsure, sorted).await
    }

    /// Asks for the type first.
    async fn closely(
        &mut self,
        batch: &Batch,
        target_db: u32,
        places: &[usize],
        sorted: &mut Sorted,
    ) -> Result<(), Error> {
        let group = &self.shared.group;
        // Values are asked for in a way of their own.
        let look = Look {
            compare: group.look.compare.min(Compare::Length),
            ..group.look
        };
        let keys: Vec<&[u8]> = places.iter().map(|place| &batch.keys[*place][..]).collect();
        let (source, target) = tokio::try_join!(
            look.at(&mut self.source, batch.db, &keys),
            look.at(&mut self.target, target_db, &keys),
        )?;
        for (place, (source, target)) in places.iter().zip(source.iter().zip(&target)) {
            self.guess.learn(&batch.keys[*place], &source.kind);
            match judge(source, target, group.tolerance_ms) {
                Verdict::Equal => {
                    let length = source.length.and_then(|length| i64::try_from(length).ok());
                    let fits = (*place, source.kind.clone(), length.unwrap_or(0));
                    sorted.fits.push(fits);
                }
                _ => sorted.candidates.push(*place),
            }
        }
        Ok(())
    }
}

/// Keys of a batch, by their places.
#[derive(Default)]
struct Sorted {
    candidates: Vec<usize>,
    /// With type and length; those whose values are still to be compared.
    fits: Vec<(usize, Kind, i64)>,
}

impl Sorted {
    fn fitting<'a>(&mut self, batch: &'a Batch) -> Vec<Sized<'a>> {
        let fits = std::mem::take(&mut self.fits).into_iter();
        let there = fits.filter(|(_, kind, _)| *kind != Kind::Missing);
        let sized = |(place, kind, length)| Sized {
            place,
            key: &batch.keys[place],
            kind,
            length: u64::try_from(length).unwrap_or(0),
            bytes: 0,
            is_guess: false,
        };
        there.map(sized).collect()
    }
}

/// What the quick answers of both sides say.
#[derive(Debug, PartialEq, Eq)]
enum Fit {
    /// Length and expiry are the same, and with them the type: the length was asked for by it.
    Fits,
    /// The key is of another type than was guessed.
    Guessed,
    /// They differ, or one says something else.
    Not,
}

/// What a key answers that does not expire.
const NEVER: i64 = -1;

fn fits(source: &[Value], target: &[Value], clock: Clock, tolerance_ms: i64) -> Fit {
    let is_other_type = |answer: &Value| answer.error().is_some_and(|text| text.starts_with(b"WRONGTYPE"));
    if is_other_type(&source[0]) {
        return Fit::Guessed;
    }
    let numbers = |answers: &[Value]| match answers {
        [length, expiry] => Some((int(length)?, int(expiry)?)),
        [length] => Some((int(length)?, NEVER)),
        _ => None,
    };
    let (Some(one), Some(other)) = (numbers(source), numbers(target)) else {
        return Fit::Not;
    };
    // Without its expiry, nobody has said whether the key is there: an empty string has no length either.
    if source.len() == 1 && (one.0 == 0 || other.0 == 0) {
        return Fit::Guessed;
    }
    let (source, target) = (one, other);
    debug_assert!(clock == Clock::Absolute || tolerance_ms > 0);
    let same_expiry = match (source.1, target.1) {
        (one @ 0.., other @ 0..) => one.abs_diff(other) <= tolerance_ms.unsigned_abs(),
        (one, other) => one == other,
    };
    match source.0 == target.0 && same_expiry {
        true => Fit::Fits,
        false => Fit::Not,
    }
}

/// Asks the source for keys of the target.
struct Backward {
    shared: Arc<Shared>,
    sources: Vec<Lines>,
}

impl Backward {
    async fn run(mut self, batches: Batches) -> Result<(), Error> {
        loop {
            let next = batches.lock().await.recv().await;
            let Some(Batch { db, keys }) = next else {
                return Ok(());
            };
            let count = keys.len();
            let mut left = keys;
            for place in self.shared.group.places(db) {
                let absent = absent(&mut self.sources[place.origin], place.db, &left).await?;
                left = absent
                    .into_iter()
                    .map(|number| std::mem::take(&mut left[number]))
                    .collect();
                if left.is_empty() {
                    break;
                }
            }
            note(&self.shared, db, left.iter().map(Vec::as_slice))?;
            Shown::add(&self.shared.shown.target, count);
        }
    }
}

/// The places of those keys that a side does not have, or does not say whether it has them.
async fn absent(lines: &mut Lines, db: u32, keys: &[Vec<u8>]) -> Result<Vec<usize>, Error> {
    if !lines.side().is_cluster() && has_all(lines, db, keys).await? {
        return Ok(Vec::new());
    }
    let ask = |request: &mut BytesMut, number: usize| encode_command(request, &[b"EXISTS", &keys[number]]);
    let answers = lines.ask(db, keys, 1, ask).await?;
    let is_absent = |(number, answer): (usize, &Value)| match answer {
        Value::Int(1..) => None,
        _ => Some(number),
    };
    Ok(answers.iter().enumerate().filter_map(is_absent).collect())
}

/// Whether a server has all of these keys: one question for all.
async fn has_all(lines: &mut Lines, db: u32, keys: &[Vec<u8>]) -> Result<bool, Error> {
    let mut request = BytesMut::with_capacity(keys.iter().map(|key| key.len() + 12).sum());
    write_array_header(&mut request, keys.len() + 1);
    write_bulk(&mut request, b"EXISTS");
    keys.iter().for_each(|key| write_bulk(&mut request, key));
    let answers = lines.talk(0).await?.ask(db, &mut request, 1).await?;
    // Servers before 3.0.3 take one key, and refuse.
    Ok(answers.first().and_then(int) == i64::try_from(keys.len()).ok())
}

/// Puts candidates away.
fn note<'a>(shared: &Shared, db: u32, keys: impl Iterator<Item = &'a [u8]>) -> Result<(), Error> {
    let rows: Vec<(u32, &[u8], &[u8])> = keys.map(|key| (db, key, &[][..])).collect();
    if !rows.is_empty() {
        Shown::add(&shared.shown.candidates, rows.len());
        shared.candidates.insert(rows)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_answers_fit_or_are_looked_at_again() {
        let wrong = Value::Error(b"WRONGTYPE Operation against a key".to_vec());
        let moved = Value::Error(b"MOVED 1 h:1".to_vec());
        let int = Value::Int;
        #[rustfmt::skip]
        let rows = [
            ([int(3), int(-1)],        [int(3), int(-1)],        Fit::Fits),
            ([int(0), int(-2)],        [int(0), int(-2)],        Fit::Fits),
            ([int(0), int(-1)],        [int(0), int(-2)],        Fit::Not),
            ([int(3), int(-1)],        [int(4), int(-1)],        Fit::Not),
            ([int(3), int(9_000)],     [int(3), int(9_500)],     Fit::Fits),
            ([int(3), int(9_000)],     [int(3), int(9_501)],     Fit::Not),
            ([int(3), int(9_000)],     [int(3), int(-1)],        Fit::Not),
            ([int(3), int(-1)],        [wrong.clone(), int(-1)], Fit::Not),
            ([wrong.clone(), int(-1)], [wrong, int(-1)],         Fit::Guessed),
            ([moved.clone(), int(-1)], [int(3), int(-1)],        Fit::Not),
            ([int(3), int(-1)],        [moved, int(-1)],         Fit::Not),
        ];
        for (source, target, expected) in rows {
            let fit = fits(&source, &target, Clock::Absolute, 500);
            assert_eq!(fit, expected, "{source:?} {target:?}");
        }
        let of_lengths = [
            (3, 3, Fit::Fits),
            (3, 4, Fit::Not),
            (0, 0, Fit::Guessed),
            (0, 1, Fit::Guessed),
        ];
        for (source, target, expected) in of_lengths {
            let fit = fits(&[int(source)], &[int(target)], Clock::Absolute, 500);
            assert_eq!(fit, expected, "{source} {target}");
        }
    }

    #[test]
    fn a_sample_is_about_as_large_as_was_asked_for() {
        let keys: Vec<Vec<u8>> = (0..10_000).map(|n| format!("key:{n}").into_bytes()).collect();
        let count = |part| keys.iter().filter(|key| is_sampled(key, Some(part))).count();
        assert_eq!(count(0.0), 0);
        assert_eq!(count(1.0), 10_000);
        assert!((900..1_100).contains(&count(0.1)), "{}", count(0.1));
        assert!(keys.iter().all(|key| is_sampled(key, None)));
    }
}
