//! Restores a snapshot: N connections, each a byte-windowed pipeline; one key always goes to one of them.
//!
//! Owns the lanes of a full sync, the `RESTORE` command in the target's dialect, and the knowledge of what is confirmed: the low-water mark is the first byte of
//! the snapshot whose key is not. Leaves to the pipeline what is restored and what a refusal means for it.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

use super::checkpoint::Cursor;
use super::lane::Lane;
use super::refusal::Kind;
use super::session::encode_select;
use super::{Error, Settings};
use crate::core::resp::{self, Event, said};

/// A lane's commands are handed over in portions of about this size.
const PORTION_BYTES: usize = 64 << 10;

/// So many bytes may be under way on one lane before it waits for replies.
const WINDOW_BYTES: usize = 1 << 20;

/// So many portions may wait for a lane.
const WAITING_PORTIONS: usize = 4;

/// What the target's `RESTORE` understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// `ABSTTL`, `IDLETIME` and `FREQ`: from 5.0 on.
    pub absolute_ttl: bool,
    /// Whether keys that are there are replaced.
    pub replace: bool,
}

/// One key to restore.
#[derive(Debug)]
pub struct Key<'a> {
    /// The target's database.
    pub db: u32,
    /// Its name.
    pub name: &'a [u8],
    /// When it expires, Unix time in milliseconds.
    pub expire_at_ms: Option<i64>,
    /// Seconds since it was last used.
    pub idle_secs: Option<u64>,
    /// Its LFU counter.
    pub freq: Option<u8>,
    /// How long the payload will be.
    pub payload_len: usize,
    /// It is replaced whatever the dialect says.
    pub replace: bool,
}

/// A refused command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The command.
    pub command: Bytes,
    /// The target's database it was meant for.
    pub db: u32,
    /// The target's words.
    pub reply: String,
}

/// A portion has been answered.
#[derive(Debug)]
struct Answered {
    number: u64,
    keys: u64,
    refused: Vec<Refused>,
}

#[derive(Debug)]
struct Portion {
    number: u64,
    /// The database selected before its first command.
    first_db: u32,
    commands: Bytes,
    count: usize,
    keys: u64,
}

#[derive(Debug)]
struct Building {
    number: u64,
    first_db: u32,
    out: BytesMut,
    count: usize,
    keys: u64,
    db: u32,
    feed: mpsc::Sender<Portion>,
}

/// The lanes of a full sync.
#[derive(Debug)]
pub struct Restorer {
    lanes: Vec<Building>,
    answers: mpsc::Receiver<Result<Answered, Error>>,
    /// Portions not answered yet, by number, with the place of their first key. Numbers follow the snapshot's order.
    outstanding: BTreeMap<u64, Cursor>,
    next_number: u64,
    dialect: Dialect,
    confirmed_keys: u64,
    refused: Vec<Refused>,
    tasks: tokio::task::JoinSet<()>,
}

impl Restorer {
    /// Opens `count` connections under the session's name.
    ///
    /// # Errors
    /// The target cannot be reached, or refuses us.
    pub async fn open(
        settings: &Settings,
        client_name: &str,
        count: usize,
        dialect: Dialect,
    ) -> Result<Restorer, Error> {
        let count = count.max(1);
        let (answer, answers) = mpsc::channel(count * (WAITING_PORTIONS + WINDOW_BYTES / PORTION_BYTES + 2));
        let mut tasks = tokio::task::JoinSet::new();
        let mut lanes = Vec::with_capacity(count);
        for _ in 0..count {
            let lane = Lane::open(settings, client_name).await?;
            let (feed, portions) = mpsc::channel(WAITING_PORTIONS);
            tasks.spawn(run_lane(lane, portions, answer.clone()));
            lanes.push(Building {
                number: 0,
                first_db: 0,
                out: BytesMut::new(),
                count: 0,
                keys: 0,
                db: 0,
                feed,
            });
        }
        Ok(Restorer {
            lanes,
            answers,
            outstanding: BTreeMap::new(),
            next_number: 1,
            dialect,
            confirmed_keys: 0,
            refused: Vec::new(),
            tasks,
        })
    }

    /// Puts a key on its lane; `payload` writes what `DUMP` would give. `at` is where the snapshot's reader stood before it.
    /// Waits while the lane is full. Not cancel safe.
    ///
    /// # Errors
    /// A lane failed.
    pub async fn restore(
        &mut self,
        at: Cursor,
        key: &Key<'_>,
        payload: impl FnOnce(&mut BytesMut),
    ) -> Result<(), Error> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key.name);
        let lane = usize::try_from(hash % self.lanes.len() as u64).unwrap_or(0);
        self.begin(lane, at, key.db);
        let dialect = self.dialect;
        let building = &mut self.lanes[lane];
        encode_restore(&mut building.out, key, dialect, payload);
        building.count += 1;
        building.keys += 1;
        self.hand_over_when_full(lane).await
    }

    /// Puts a command without a key (functions, scripts) on the first lane.
    ///
    /// # Errors
    /// As [`Restorer::restore`].
    pub async fn command(&mut self, at: Cursor, args: &[&[u8]]) -> Result<(), Error> {
        self.begin(0, at, self.lanes[0].db);
        resp::encode_command(&mut self.lanes[0].out, args);
        self.lanes[0].count += 1;
        self.hand_over_when_full(0).await
    }

    /// Keys that the target has confirmed.
    #[must_use]
    pub fn confirmed_keys(&self) -> u64 {
        self.confirmed_keys
    }

    /// Everything before the answer is confirmed; `reader` is where the snapshot's reader stands.
    #[must_use]
    pub fn low_water(&self, reader: Cursor) -> Cursor {
        self.outstanding
            .first_key_value()
            .map_or(reader, |(_, cursor)| *cursor)
    }

    /// What the target has refused since the last call.
    pub fn take_refused(&mut self) -> Vec<Refused> {
        std::mem::take(&mut self.refused)
    }

    /// Hands over what is being filled, so that it is confirmed without waiting for more.
    ///
    /// # Errors
    /// A lane failed.
    pub async fn flush(&mut self) -> Result<(), Error> {
        for lane in 0..self.lanes.len() {
            if self.lanes[lane].count > 0 {
                self.hand_over(lane).await?;
            }
        }
        Ok(())
    }

    /// Waits until everything is confirmed.
    ///
    /// # Errors
    /// A lane failed.
    pub async fn finish(&mut self) -> Result<(), Error> {
        self.flush().await?;
        while !self.outstanding.is_empty() {
            let Some(answer) = self.answers.recv().await else {
                break;
            };
            self.note(answer)?;
        }
        Ok(())
    }

    fn begin(&mut self, lane: usize, at: Cursor, db: u32) {
        let building = &mut self.lanes[lane];
        if building.count == 0 {
            building.number = self.next_number;
            building.first_db = building.db;
            self.outstanding.insert(self.next_number, at);
            self.next_number += 1;
        }
        if building.db != db {
            encode_select(&mut building.out, db);
            building.count += 1;
            building.db = db;
        }
    }

    async fn hand_over_when_full(&mut self, lane: usize) -> Result<(), Error> {
        if self.lanes[lane].out.len() >= PORTION_BYTES {
            self.hand_over(lane).await?;
        }
        while let Ok(answer) = self.answers.try_recv() {
            self.note(answer)?;
        }
        Ok(())
    }

    async fn hand_over(&mut self, lane: usize) -> Result<(), Error> {
        let building = &mut self.lanes[lane];
        let commands = building.out.split().freeze();
        let mut portion = Some(Portion {
            number: building.number,
            first_db: building.first_db,
            commands,
            count: building.count,
            keys: building.keys,
        });
        building.count = 0;
        building.keys = 0;
        let feed = building.feed.clone();
        // Answers must be taken while waiting for room: a lane that cannot tell its answers reads no further.
        while let Some(waiting) = portion.take() {
            tokio::select! {
                biased;
                Some(answer) = self.answers.recv() => {
                    self.note(answer)?;
                    portion = Some(waiting);
                }
                permit = feed.reserve() => match permit {
                    Ok(permit) => permit.send(waiting),
                    Err(_) => return Err(self.lane_failed().await),
                },
            }
        }
        Ok(())
    }

    /// A lane has ended: its reason is among the answers.
    async fn lane_failed(&mut self) -> Error {
        while let Some(answer) = self.answers.recv().await {
            if let Err(error) = answer {
                return error;
            }
        }
        unreachable!("a lane sends its reason before it ends")
    }

    fn note(&mut self, answer: Result<Answered, Error>) -> Result<(), Error> {
        let answered = answer?;
        self.outstanding.remove(&answered.number);
        self.confirmed_keys += answered.keys - (answered.refused.len() as u64).min(answered.keys);
        self.refused.extend(answered.refused);
        Ok(())
    }
}

impl Drop for Restorer {
    fn drop(&mut self) {
        self.tasks.abort_all();
    }
}

/// `RESTORE key ttl payload [REPLACE] [ABSTTL] [IDLETIME s] [FREQ n]`
fn encode_restore(out: &mut BytesMut, key: &Key<'_>, dialect: Dialect, payload: impl FnOnce(&mut BytesMut)) {
    let idle = key.idle_secs.filter(|_| dialect.absolute_ttl);
    let freq = key.freq.filter(|_| dialect.absolute_ttl);
    let absolute = dialect.absolute_ttl && key.expire_at_ms.is_some();
    let replace = dialect.replace || key.replace;
    let words = 4
        + usize::from(replace)
        + usize::from(absolute)
        + 2 * usize::from(idle.is_some())
        + 2 * usize::from(freq.is_some());
    out.reserve(key.name.len() + key.payload_len + 96);
    resp::write_array_header(out, words);
    resp::write_bulk(out, b"RESTORE");
    resp::write_bulk(out, key.name);
    resp::write_number(out, ttl_argument(key.expire_at_ms, dialect));
    out.extend_from_slice(b"$");
    out.extend_from_slice(itoa::Buffer::new().format(key.payload_len).as_bytes());
    out.extend_from_slice(b"\r\n");
    payload(out);
    out.extend_from_slice(b"\r\n");
    if replace {
        resp::write_bulk(out, b"REPLACE");
    }
    if absolute {
        resp::write_bulk(out, b"ABSTTL");
    }
    if let Some(seconds) = idle {
        resp::write_bulk(out, b"IDLETIME");
        resp::write_number(out, seconds);
    }
    if let Some(freq) = freq {
        resp::write_bulk(out, b"FREQ");
        resp::write_number(out, u64::from(freq));
    }
}

/// Absolute where the target takes that, else what is left now; never 0, which means no expiry.
fn ttl_argument(expire_at_ms: Option<i64>, dialect: Dialect) -> u64 {
    let Some(at) = expire_at_ms else { return 0 };
    let at = u64::try_from(at).unwrap_or(0).max(1);
    if dialect.absolute_ttl {
        at
    } else {
        at.saturating_sub(super::session::now_ms()).max(1)
    }
}

/// One lane: sends portions while the window has room, reads replies.
async fn run_lane(
    mut lane: Lane,
    mut portions: mpsc::Receiver<Portion>,
    answers: mpsc::Sender<Result<Answered, Error>>,
) {
    if let Err(error) = drive_lane(&mut lane, &mut portions, &answers).await {
        // Where nobody listens the full sync is over.
        let _ = answers.send(Err(error)).await;
    }
}

async fn drive_lane(
    lane: &mut Lane,
    portions: &mut mpsc::Receiver<Portion>,
    answers: &mpsc::Sender<Result<Answered, Error>>,
) -> Result<(), Error> {
    let mut in_flight: VecDeque<Flight> = VecDeque::new();
    let mut bytes = 0;
    loop {
        while in_flight.front().is_some_and(Flight::is_complete) {
            let Some(flight) = in_flight.pop_front() else {
                break;
            };
            bytes -= flight.portion.commands.len();
            let answered = flight.conclude(lane)?;
            if answers.send(Ok(answered)).await.is_err() {
                return Ok(());
            }
        }
        let waiting = !in_flight.is_empty();
        let address = lane.address().clone();
        tokio::select! {
            // Replies first: they make room.
            biased;
            heard = lane.replies(waiting, |event| hear(&mut in_flight, &event)) => heard?,
            portion = portions.recv(), if bytes < WINDOW_BYTES => match portion {
                Some(portion) => {
                    bytes += portion.commands.len();
                    lane.send([portion.commands.clone()]).await?;
                    in_flight.push_back(Flight { portion, seen: 0, errors: Vec::new() });
                }
                None if in_flight.is_empty() => return Ok(()),
                None => {
                    lane.replies(true, |event| hear(&mut in_flight, &event)).await?;
                }
            },
        }
        if in_flight
            .front()
            .is_some_and(|flight| flight.seen > flight.portion.count)
        {
            return Err(Error::Unexpected {
                address,
                command: "RESTORE".into(),
            });
        }
    }
}

#[derive(Debug)]
struct Flight {
    portion: Portion,
    seen: usize,
    errors: Vec<(usize, String)>,
}

impl Flight {
    fn is_complete(&self) -> bool {
        self.seen == self.portion.count
    }

    /// Finds the commands that were refused. One that may be repeated ends the lane: the whole full sync goes on from its cursor later.
    fn conclude(self, lane: &Lane) -> Result<Answered, Error> {
        let mut refused = Vec::new();
        for (index, reply) in self.errors {
            if Kind::of(&reply).may_be_repeated() {
                return Err(Error::Refused {
                    address: lane.address().clone(),
                    command: "RESTORE".into(),
                    reply,
                });
            }
            let (command, db) = nth_command(&self.portion, index);
            refused.push(Refused { command, db, reply });
        }
        Ok(Answered {
            number: self.portion.number,
            keys: self.portion.keys,
            refused,
        })
    }
}

/// The `nth` command of a portion, and the database it runs in.
fn nth_command(portion: &Portion, nth: usize) -> (Bytes, u32) {
    let mut framer = resp::Framer::new(resp::Limits::default());
    let mut db = portion.first_db;
    if framer
        .push(crate::core::position::Offset::ZERO, portion.commands.clone())
        .is_err()
    {
        return (Bytes::new(), db);
    }
    let mut at = 0;
    while let Ok(Some(frame)) = framer.next() {
        if at == nth {
            return (frame.to_bytes(), db);
        }
        if frame.name() == b"SELECT" {
            let number = frame
                .arg(1)
                .and_then(|n| std::str::from_utf8(n).ok())
                .and_then(|n| n.parse().ok());
            db = number.unwrap_or(db);
        }
        at += 1;
    }
    (Bytes::new(), db)
}

fn hear(in_flight: &mut VecDeque<Flight>, event: &Event<'_>) {
    let mut left = match event {
        Event::Ok(count) => *count,
        Event::ElementError { .. } => return,
        Event::Nil | Event::Array { .. } | Event::Error(_) => 1,
    };
    for flight in in_flight.iter_mut() {
        let take = left.min(flight.portion.count - flight.seen);
        if take > 0
            && let Event::Error(text) = event
        {
            flight.errors.push((flight.seen, said(text)));
        }
        flight.seen += take;
        left -= take;
        if left == 0 {
            return;
        }
    }
    // More replies than commands: noticed by the caller.
    if let Some(flight) = in_flight.front_mut() {
        flight.seen = flight.portion.count + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(key: &Key<'_>, dialect: Dialect) -> String {
        let mut out = BytesMut::new();
        encode_restore(&mut out, key, dialect, |out| out.extend_from_slice(b"PAYLOAD"));
        String::from_utf8(out.to_vec()).unwrap().replace("\r\n", " ")
    }

    const KEY: Key<'static> = Key {
        db: 0,
        name: b"k",
        expire_at_ms: Some(9_000_000_000_000),
        idle_secs: Some(7),
        freq: None,
        payload_len: 7,
        replace: false,
    };

    #[test]
    fn a_modern_target_gets_absolute_ttl_and_idle_time() {
        let dialect = Dialect {
            absolute_ttl: true,
            replace: true,
        };
        assert_eq!(
            encoded(&KEY, dialect),
            "*8 $7 RESTORE $1 k $13 9000000000000 $7 PAYLOAD $7 REPLACE $6 ABSTTL $8 IDLETIME $1 7 "
        );
    }

    #[test]
    fn an_old_target_gets_what_is_left_of_the_ttl_and_at_least_a_millisecond() {
        let dialect = Dialect {
            absolute_ttl: false,
            replace: false,
        };
        let expired = Key {
            expire_at_ms: Some(5),
            ..KEY
        };
        assert_eq!(encoded(&expired, dialect), "*4 $7 RESTORE $1 k $1 1 $7 PAYLOAD ");
        let none = Key {
            expire_at_ms: None,
            ..KEY
        };
        assert_eq!(encoded(&none, dialect), "*4 $7 RESTORE $1 k $1 0 $7 PAYLOAD ");
    }

    #[test]
    fn replies_are_counted_to_the_portions_they_belong_to() {
        let portion = |number, count| Portion {
            number,
            first_db: 0,
            commands: Bytes::new(),
            count,
            keys: 0,
        };
        let flight = |number, count| Flight {
            portion: portion(number, count),
            seen: 0,
            errors: vec![],
        };
        let mut in_flight = VecDeque::from([flight(1, 2), flight(2, 3)]);
        hear(&mut in_flight, &Event::Ok(3));
        hear(&mut in_flight, &Event::Error(b"BUSYKEY x"));
        assert!(in_flight[0].is_complete());
        assert_eq!(
            (
                in_flight[1].seen,
                in_flight[1].errors.len(),
                in_flight[1].errors[0].0
            ),
            (2, 1, 1)
        );
    }
}
