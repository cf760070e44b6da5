//! Restores a snapshot: N connections, each a byte-windowed pipeline; one key always goes to one of them. On a cluster, N to each master.
//!
//! Owns the lanes of a full sync, `RESTORE` and `SET` in the target's dialect ([`encode`]), and the knowledge of what is confirmed: the low-water
//! mark is the first byte of the snapshot whose key is not. Promises that no more than about [`OUTSTANDING_BYTES`] are held that the target has not
//! answered for; and that what a cluster's node has sent on arrives in its order, before anything that comes after it. Leaves to the pipeline what is
//! restored and what a refusal means for it.

mod encode;
mod flight;
mod lanes;
mod unit;

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

pub use encode::{Dialect, Key, encode_restore};

use super::checkpoint::Cursor;
use super::guard::Guard;
use super::rewrite::Commands;
use super::session::encode_select;
use super::{Error, Settings};
use crate::core::resp;
use encode::encode_set;
use flight::{Answered, Portion};
use lanes::Lanes;

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

/// The lanes of a full sync.
#[derive(Debug)]
pub struct Restorer {
    lanes: Lanes,
    answers: mpsc::Receiver<Result<Answered, Error>>,
    /// Portions not answered yet, by number, with the place of their first key. Numbers follow the snapshot's order.
    outstanding: BTreeMap<u64, Cursor>,
    /// Bytes of those that have been handed over.
    outstanding_bytes: usize,
    next_number: u64,
    dialect: Dialect,
    confirmed_keys: u64,
    refused: Vec<Refused>,
    /// Portions that have been handed over and not answered.
    unanswered: usize,
    /// Portions of which a cluster's node has sent something on, and that is still to be done.
    sent_on: Vec<Answered>,
}

impl Restorer {
    /// Opens `count` connections, of a cluster to each master, under the session's name; each asks the guard, where there is one.
    ///
    /// # Errors
    /// The target cannot be reached, or refuses us; or another session has taken over.
    pub async fn open(
        settings: &Settings,
        client_name: &str,
        guard: Option<Guard>,
        count: usize,
        dialect: Dialect,
    ) -> Result<Restorer, Error> {
        let (lanes, answers) = Lanes::open(settings, client_name, guard, count).await?;
        Ok(Restorer {
            lanes,
            answers,
            outstanding: BTreeMap::new(),
            outstanding_bytes: 0,
            next_number: 1,
            dialect,
            confirmed_keys: 0,
            refused: Vec::new(),
            unanswered: 0,
            sent_on: Vec::new(),
        })
    }

    /// Whether the target is a cluster.
    #[must_use]
    pub fn is_cluster(&mut self) -> bool {
        self.lanes.router().is_some()
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
        let lane = self.lanes.of(key.name).await?;
        self.begin(lane, at, key.db);
        let dialect = self.dialect;
        let building = &mut self.lanes.all[lane];
        encode_restore(&mut building.out, key, dialect, payload);
        building.count += 1;
        building.keys += 1;
        self.hand_over_when_full(lane).await?;
        self.follow().await
    }

    /// Puts a string on its key's lane, with `SET`, which replaces whatever is there. Waits while the lane is full. Not cancel safe.
    ///
    /// # Errors
    /// As [`Restorer::restore`].
    pub async fn set(&mut self, at: Cursor, key: &Key<'_>, text: &[u8]) -> Result<(), Error> {
        let lane = self.lanes.of(key.name).await?;
        self.begin(lane, at, key.db);
        let building = &mut self.lanes.all[lane];
        encode_set(&mut building.out, key, text);
        building.count += 1;
        building.keys += 1;
        self.hand_over_when_full(lane).await?;
        self.follow().await
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
        let lane = self.lanes.of(key).await?;
        self.begin(lane, at, db);
        let building = &mut self.lanes.all[lane];
        building.out.extend_from_slice(&commands.bytes);
        building.count += commands.count;
        building.keys += keys;
        building.has_pieces |= keys == 0;
        self.hand_over_when_full(lane).await?;
        self.follow().await
    }

    /// Puts a command without a key (functions, scripts) on a lane, of a cluster on one to each master.
    ///
    /// # Errors
    /// As [`Restorer::restore`].
    pub async fn command(&mut self, at: Cursor, args: &[&[u8]]) -> Result<(), Error> {
        for lane in self.lanes.firsts().await? {
            self.begin(lane, at, self.lanes.all[lane].db);
            resp::encode_command(&mut self.lanes.all[lane].out, args);
            self.lanes.all[lane].count += 1;
            self.hand_over_when_full(lane).await?;
        }
        self.follow().await
    }

    /// Counts a key as confirmed that was made whole elsewhere.
    pub fn confirm_key(&mut self) {
        self.confirmed_keys += 1;
    }

    /// How the target is spoken to.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
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
        self.hand_over_all().await?;
        self.follow().await
    }

    async fn hand_over_all(&mut self) -> Result<(), Error> {
        for lane in 0..self.lanes.all.len() {
            if self.lanes.all[lane].count > 0 {
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
        self.hand_over_all().await?;
        while self.unanswered > 0 {
            let Some(answer) = self.answers.recv().await else {
                break;
            };
            self.note(answer)?;
        }
        self.send_again().await
    }

    /// Where a cluster's node has sent something on, everything waits until that is done: so nothing of a key is overtaken by what comes after it.
    async fn follow(&mut self) -> Result<(), Error> {
        match self.sent_on.is_empty() {
            true => Ok(()),
            false => self.finish().await,
        }
    }

    /// Sends what was sent on to where it belongs, in its order, and looks anew who serves what.
    async fn send_again(&mut self) -> Result<(), Error> {
        let mut sent_on = std::mem::take(&mut self.sent_on);
        let Some(router) = self.lanes.router().filter(|_| !sent_on.is_empty()) else {
            return Ok(());
        };
        sent_on.sort_by_key(|portion| portion.number);
        router.refresh().await?;
        for portion in &mut sent_on {
            for unit in std::mem::take(&mut portion.redirected.units) {
                tracing::debug!(slot = unit.slot, reply = portion.redirected.reply, "sent on");
                let (node, replies) = router.deliver(unit.slot, &unit.bytes, unit.count).await?;
                portion.refused.extend(unit.refused(&replies, &node)?);
            }
        }
        for portion in sent_on {
            self.confirm(portion);
        }
        self.lanes.forget_owners();
        Ok(())
    }

    fn begin(&mut self, lane: usize, at: Cursor, db: u32) {
        let building = &mut self.lanes.all[lane];
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
        if self.lanes.all[lane].out.len() >= PORTION_BYTES {
            self.hand_over(lane).await?;
        }
        while let Ok(answer) = self.answers.try_recv() {
            self.note(answer)?;
        }
        Ok(())
    }

    async fn hand_over(&mut self, lane: usize) -> Result<(), Error> {
        let bytes = self.lanes.all[lane].out.len();
        while self.outstanding_bytes > 0 && self.outstanding_bytes + bytes > OUTSTANDING_BYTES {
            match self.answers.recv().await {
                Some(answer) => self.note(answer)?,
                None => break,
            }
        }
        self.outstanding_bytes += bytes;
        let building = &mut self.lanes.all[lane];
        // Not split off: what is left of a buffer keeps all of it, and each lane would keep its last large value.
        let commands = std::mem::take(&mut building.out).freeze();
        let mut portion = Some(Portion {
            number: building.number,
            first_db: building.first_db,
            commands,
            count: building.count,
            keys: building.keys,
            has_pieces: building.has_pieces,
        });
        building.count = 0;
        building.keys = 0;
        building.has_pieces = false;
        self.unanswered += 1;
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
        self.unanswered -= 1;
        self.outstanding_bytes -= answered.bytes;
        if answered.redirected.units.is_empty() && self.sent_on.is_empty() {
            self.confirm(answered);
            return Ok(());
        }
        if answered.has_pieces && answered.redirected.has_overtaken {
            return Err(self.overtaken(&answered));
        }
        if answered.redirected.units.is_empty() {
            self.confirm(answered);
        } else {
            self.sent_on.push(answered);
        }
        Ok(())
    }

    /// A piece of a value was not taken, and a later one was: it goes on from its cursor in a new session.
    fn overtaken(&self, answered: &Answered) -> Error {
        let first = self.sent_on.first().unwrap_or(answered);
        Error::Refused {
            address: answered.node.clone(),
            command: "a piece of a value".to_owned(),
            reply: first.redirected.reply.clone(),
        }
    }

    fn confirm(&mut self, answered: Answered) {
        let at = self.outstanding.remove(&answered.number);
        self.confirmed_keys += answered.keys - (answered.refused.len() as u64).min(answered.keys);
        for one in answered.refused {
            let at = at.unwrap_or(one.at);
            // What concerns no key has been refused by each node of a cluster.
            let is_told = answered.keys == 0 && self.refused.iter().any(|told| told.is_same(&one));
            if !is_told {
                self.refused.push(Refused { at, ..one });
            }
        }
    }
}

impl Refused {
    fn is_same(&self, other: &Refused) -> bool {
        (&self.command, self.db, &self.reply) == (&other.command, other.db, &other.reply)
    }
}

impl Drop for Restorer {
    fn drop(&mut self) {
        self.lanes.abort();
    }
}
