//! Restores a snapshot: N connections, each a byte-windowed pipeline; one key always goes to one of them.
//!
//! Owns the lanes of a full sync, the `RESTORE` command in the target's dialect ([`encode`]), and the knowledge of what is confirmed: the low-water
//! mark is the first byte of the snapshot whose key is not. Promises that no more than about [`OUTSTANDING_BYTES`] are held that the target has not
//! answered for. Leaves to the pipeline what is restored and what a refusal means for it.

mod encode;
mod flight;

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

pub use encode::{Dialect, Key};

use super::checkpoint::Cursor;
use super::lane::Lane;
use super::rewrite::Commands;
use super::session::encode_select;
use super::staging;
use super::{Error, Settings};
use crate::core::resp;
use encode::encode_restore;
use flight::{Answered, Portion, run_lane};

/// A lane's commands are handed over in portions of about this size.
const PORTION_BYTES: usize = 64 << 10;

/// So many bytes may be under way on one lane before it waits for replies.
const WINDOW_BYTES: usize = 1 << 20;

/// So many bytes may wait for answers on all lanes together; one portion may always, however large.
const OUTSTANDING_BYTES: usize = 32 << 20;

/// So many portions may wait for a lane.
const WAITING_PORTIONS: usize = 4;

/// A refused command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The command.
    pub command: Bytes,
    /// The target's database it was meant for.
    pub db: u32,
    /// The target's words.
    pub reply: String,
    /// Where in the snapshot it belongs: not before this is dealt with may the mark pass.
    pub at: Cursor,
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
    /// Bytes of those that have been handed over.
    outstanding_bytes: usize,
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
            outstanding_bytes: 0,
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
        let lane = self.lane_of(key.name);
        self.begin(lane, at, key.db);
        let dialect = self.dialect;
        let building = &mut self.lanes[lane];
        encode_restore(&mut building.out, key, dialect, payload);
        building.count += 1;
        building.keys += 1;
        self.hand_over_when_full(lane).await
    }

    /// Puts commands that write `key`, or a part of it, on the key's lane; `keys` of them are whole with these. Waits while the lane is full. Not
    /// cancel safe.
    ///
    /// # Errors
    /// As [`Restorer::restore`].
    pub async fn commands(
        &mut self,
        at: Cursor,
        db: u32,
        key: &[u8],
        commands: &Commands,
        keys: u64,
    ) -> Result<(), Error> {
        let lane = self.lane_of(key);
        self.begin(lane, at, db);
        let building = &mut self.lanes[lane];
        building.out.extend_from_slice(&commands.bytes);
        building.count += commands.count;
        building.keys += keys;
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

    /// Counts a key as confirmed that was made whole elsewhere.
    pub fn confirm_key(&mut self) {
        self.confirmed_keys += 1;
    }

    fn lane_of(&self, key: &[u8]) -> usize {
        (staging::number(key) % self.lanes.len() as u64) as usize
    }

    /// Keys that the target has confirmed.
    #[must_use]
    pub fn confirmed_keys(&self) -> u64 {
        self.confirmed_keys
    }

    /// Everything before the answer is confirmed, and what was refused of it has been taken; `reader` is where the snapshot's reader stands.
    #[must_use]
    pub fn low_water(&self, reader: Cursor) -> Cursor {
        let refused = self.refused.iter().map(|one| &one.at);
        let open = self.outstanding.values().chain(refused);
        open.min_by_key(|cursor| (cursor.at, cursor.elements))
            .copied()
            .unwrap_or(reader)
    }

    /// Whether something has not been answered.
    #[must_use]
    pub fn has_outstanding(&self) -> bool {
        !self.outstanding.is_empty()
    }

    /// What the target has refused since the last call.
    pub fn take_refused(&mut self) -> Vec<Refused> {
        std::mem::take(&mut self.refused)
    }

    /// The same of those that `is` says, and the others stay.
    pub fn take_refused_where(&mut self, is: impl FnMut(&Refused) -> bool) -> Vec<Refused> {
        if self.refused.is_empty() {
            return Vec::new();
        }
        let (taken, left) = self.take_refused().into_iter().partition(is);
        self.refused = left;
        taken
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
        let bytes = self.lanes[lane].out.len();
        while self.outstanding_bytes > 0 && self.outstanding_bytes + bytes > OUTSTANDING_BYTES {
            match self.answers.recv().await {
                Some(answer) => self.note(answer)?,
                None => break,
            }
        }
        self.outstanding_bytes += bytes;
        let building = &mut self.lanes[lane];
        // Not split off: what is left of a buffer keeps all of it, and each lane would keep its last large value.
        let commands = std::mem::take(&mut building.out).freeze();
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
        let at = self.outstanding.remove(&answered.number);
        self.outstanding_bytes -= answered.bytes;
        self.confirmed_keys += answered.keys - (answered.refused.len() as u64).min(answered.keys);
        let refused = answered.refused.into_iter();
        self.refused.extend(refused.map(|one| Refused {
            at: at.unwrap_or(one.at),
            ..one
        }));
        Ok(())
    }
}

impl Drop for Restorer {
    fn drop(&mut self) {
        self.tasks.abort_all();
    }
}
