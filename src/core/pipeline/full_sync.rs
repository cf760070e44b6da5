//! The restoring of a snapshot, while it still arrives, and its resuming after a crash.
//!
//! ```text
//! log::SnapshotReader -> rdb::Scanner -> filter -> target::Restorer (N lanes)
//!                                                        | confirmed
//!                              cursor on the target <----+
//! ```
//!
//! The checkpoint is taken away first: a half restored target is no position of any history. Every second the low-water mark of confirmed keys is recorded on the
//! target, in the place of the checkpoint, so that a target which lost its tail also loses the mark. The checkpoint is written when all keys are
//! confirmed and the snapshot's checksum was right.
//!
//! Owns the order of these steps. Leaves single commands to `target::restore`.

use std::time::Instant;

use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::apply::{Context, LOOK_EVERY};
use super::dead_letter::{DeadLetters, Letter};
use super::header::{self, Libraries, Opened};
use super::noted::{self, Noted};
use super::parked::{GUARD_MS, HORIZON_MS_MIN};
use super::refused::{no_database, refuse};
use super::replay::{Placed, Replayer};
use super::stale;
use super::{End, Tenure, Wish};
use crate::core::catalog::KeySet;
use crate::core::crash;
use crate::core::log::{SnapshotInfo, SnapshotReader};
use crate::core::position::Offset;
use crate::core::progress::Counters;
use crate::core::rdb::{self, Item, Scanner, Step};
use crate::core::resume::Reason;
use crate::core::target::checkpoint::{Checkpoint, Cursor, Record};
use crate::core::target::pace::Pace;
use crate::core::target::restore::{Refused, Restorer};
use crate::core::target::session::{Session, now_ms};

/// After so many keys, what else is due is attended to.
const ATTEND_EVERY_KEYS: u64 = 64;

/// One full sync.
pub struct FullSync<'a> {
    context: &'a Context,
    snapshot: SnapshotInfo,
    reason: Reason,
    letters: &'a mut DeadLetters,
    /// One was begun before, this or another, and has not come to its end: it may have left values half written, in any database.
    follows_unended: bool,
}

impl<'a> FullSync<'a> {
    /// A full sync of the log's snapshot.
    pub fn new(
        context: &'a Context,
        snapshot: SnapshotInfo,
        reason: Reason,
        letters: &'a mut DeadLetters,
    ) -> FullSync<'a> {
        FullSync {
            context,
            snapshot,
            reason,
            letters,
            follows_unended: false,
        }
    }

    /// Restores the snapshot and writes the checkpoint. Gives the database that the stream after it has selected.
    pub async fn run(mut self, session: &mut Session) -> Result<u32, End> {
        let began = Instant::now();
        let cursor = self.begin(session).await?;
        self.context.look_for_evictions(session).await?;
        let Opened {
            reader,
            scanner,
            stream_db,
            libraries,
        } = header::open(&self.context.log, cursor).await?;
        let settings = &self.context.settings;
        let dialect = Replayer::dialect(&settings.replay, &session.facts);
        let name = session.client_name(&settings.target);
        let guard = Some(session.guard());
        let restorer = Restorer::open(&settings.target, &name, guard, settings.connections, dialect).await;
        let mut restoring = self.restoring(session, cursor, restorer.map_err(End::Target)?)?;
        restoring.stream_db = stream_db;
        restoring.libraries = libraries;
        restoring.run(reader, scanner).await?;
        crash::pass(crash::Step::SyncRestored);
        let keys = restoring.keys_before + restoring.replayer.restorer.confirmed_keys();
        let stream_db = restoring.stream_db;
        let mut seen = std::mem::take(&mut restoring.seen_dbs);
        let libraries = std::mem::take(&mut restoring.libraries);
        drop(restoring);
        seen.sort_unstable();
        session.record.seen = seen;
        stale::sweep_all(self.context, session, &libraries).await?;
        crash::pass(crash::Step::SyncSwept);
        self.finish(session, stream_db).await?;
        self.show_complete();
        tracing::info!(keys, seconds = began.elapsed().as_secs_f64(), "full sync done");
        Ok(stream_db)
    }

    /// What follows the last key (the end and the checksum) is no key that could be confirmed, but it has been read.
    fn show_complete(&self) {
        let received = self.context.log.snapshot().map_or(0, |one| one.received_bytes);
        self.context.progress.update_full_sync(|one| {
            let total = one.total_bytes.unwrap_or(received).max(one.replayed_bytes);
            one.total_bytes = Some(total);
            one.replayed_bytes = total;
        });
    }

    /// Takes the checkpoint away and says where to go on.
    async fn begin(&mut self, session: &mut Session) -> Result<Option<Cursor>, End> {
        let position = self.snapshot.position;
        let before = session.record.clone();
        let progress = &self.context.progress;
        // Where this process has asked for the snapshot, it stands there with its reason already.
        if progress.status().full_sync.is_none() {
            progress.begin_full_sync(self.reason.as_str(), self.snapshot.declared_bytes);
        }
        progress.update_full_sync(|one| one.replayed_bytes = 0);
        // Two snapshots of an idle source have one position and different bytes: the cursor is only good for the very one.
        self.follows_unended = before.full_sync.is_some();
        let same = before.full_sync == Some(position) && before.snapshot_ms == self.snapshot.begun_ms;
        if same && self.snapshot.resumable {
            // What the catalog says of this very snapshot holds, from the first key on too: what a sweep has counted before.
            if self.seen()?.is_of(before.lineage).map_err(End::Catalog)? {
                return Ok(before.cursor);
            }
            // What lies before the mark is written down nowhere here: a target that has lost its tail stands within a full sync that we have brought to its end, or somebody
            // else has begun it. It begins anew, as one of its own even where there is no mark yet: two processes must never have a set of one lineage each.
            if before.cursor.is_some() {
                tracing::info!("the keys before the mark of the full sync are forgotten: it begins anew");
            }
        }
        let resync = before.resync || before.checkpoint.is_some() || before.full_sync.is_some();
        // After a flush it is known already which are ours alone.
        let (owned, owns_libraries) = match resync || !before.owned.is_empty() {
            true => (before.owned.clone(), before.owns_libraries),
            false => stale::unowned_so_far(session, self.context.settings.shard.as_ref()).await?,
        };
        let record = Record {
            checkpoint: None,
            full_sync: Some(position),
            snapshot_ms: self.snapshot.begun_ms,
            cursor: None,
            resync,
            wanted_ms: 0,
            had: None,
            noted: false,
            owned,
            owns_libraries,
            seen: Vec::new(),
            // What fences and marks of before say is of another history.
            lineage: fastrand::u64(1..),
            marks: Vec::new(),
            ..before
        };
        // As it is decided here it stays for this snapshot, whatever the settings say after a restart: of keys that were restored before nobody would know.
        let noted = stale::is_looked_for(&self.context.settings, &record, session.facts.databases);
        let record = Record { noted, ..record };
        session.write_record(record).await.map_err(End::Target)?;
        crash::pass(crash::Step::SyncBegun);
        self.forget_what_was_before(session.record.lineage)?;
        Ok(None)
    }

    fn seen(&self) -> Result<KeySet, End> {
        let seen = self.context.catalog.seen(&self.context.settings.name);
        seen.map_err(End::Catalog)
    }

    /// What the catalog says of an earlier snapshot. From now on it is about the one of this lineage.
    fn forget_what_was_before(&self, lineage: u64) -> Result<(), End> {
        // From here on the record itself says that a full sync is due.
        let name = &self.context.settings.name;
        let catalog = &self.context.catalog;
        if catalog.entangled(name).map_err(End::Catalog)? {
            catalog
                .set_entangled(std::slice::from_ref(name), false)
                .map_err(End::Catalog)?;
            crash::pass(crash::Step::EntangledForgotten);
        }
        // Parked keys stay: a key that is not in this snapshot, and that is kept on the target, still waits for its expiry.
        self.seen()?.begin(lineage).map_err(End::Catalog)
    }

    fn restoring<'b>(
        &'b mut self,
        session: &'b mut Session,
        cursor: Option<Cursor>,
        restorer: Restorer,
    ) -> Result<Restoring<'b>, End> {
        let context = self.context;
        let name = &context.settings.name;
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ours = match session.record.resync || cursor.is_some() {
            true => session.record.owned.clone(),
            false => Vec::new(),
        };
        let policy = context.settings.replay.clone();
        let mut replayer = Replayer::new(policy, session.facts.clone(), restorer, ours, cursor.is_some());
        if self.follows_unended {
            let fed = context.settings.filter.fed_databases(session.facts.databases);
            let targets: Vec<u32> = fed.into_iter().map(|(_, target_db)| target_db).collect();
            replayer.clear_staged_in(&targets);
        }
        Ok(Restoring {
            context,
            replayer,
            looks,
            wish: context.wish.clone(),
            noted: Noted::new(&context.catalog, name, session.record.noted).map_err(End::Catalog)?,
            letters: self.letters,
            position: self.snapshot.position.offset,
            pace: Pace::new(context.settings.rate_limit, Instant::now()),
            keys_before: cursor.map_or(0, |cursor| cursor.keys),
            keys_scanned: cursor.map_or(0, |cursor| cursor.keys),
            reader_at: Cursor {
                elements: 0,
                ..cursor.unwrap_or_default()
            },
            resume_elements: cursor.map_or(0, |cursor| cursor.elements),
            horizon_ms: HORIZON_MS_MIN,
            began: Instant::now(),
            seen_dbs: session.record.seen.clone(),
            stream_db: 0,
            libraries: Vec::new(),
            session,
        })
    }

    /// Whether some keys have an expiry far ahead of their own.
    fn has_guarded(&self) -> Result<bool, End> {
        let keys = self.context.catalog.parked(&self.context.settings.name);
        let first = keys.and_then(|keys| keys.chunk(None, 1));
        Ok(!first.map_err(End::Catalog)?.is_empty())
    }

    async fn finish(&self, session: &mut Session, stream_db: u32) -> Result<(), End> {
        let checkpoint = Some(Checkpoint {
            position: self.snapshot.position,
            db: stream_db,
        });
        let marks = session
            .leave_marks(self.snapshot.position.offset, stream_db)
            .await;
        let record = Record {
            marks: marks.map_err(End::Target)?,
            checkpoint,
            full_sync: None,
            cursor: None,
            resync: false,
            noted: false,
            guarded: self
                .has_guarded()?
                .then_some(true)
                .or(session.record.guarded.map(|_| false)),
            ..session.record.clone()
        };
        session.write_record(record).await.map_err(End::Target)?;
        crash::pass(crash::Step::SyncRecorded);
        self.seen()?.clear().map_err(End::Catalog)?;
        crash::pass(crash::Step::SyncDone);
        Ok(())
    }
}

/// The loop's state.
struct Restoring<'a> {
    context: &'a Context,
    session: &'a mut Session,
    replayer: Replayer,
    letters: &'a mut DeadLetters,
    looks: Interval,
    wish: watch::Receiver<Wish>,
    noted: Noted,
    position: Offset,
    pace: Pace,
    keys_before: u64,
    keys_scanned: u64,
    /// Where the scanner stood before the item in hand.
    reader_at: Cursor,
    /// Elements of the next key that are written already: where an earlier process stopped within it.
    resume_elements: u64,
    /// Keys that expire within this time are parked.
    horizon_ms: i64,
    began: Instant,
    /// The source's databases that have keys in the snapshot.
    seen_dbs: Vec<u32>,
    /// The database that the stream after the snapshot has selected.
    stream_db: u32,
    /// The names of the libraries of functions in the snapshot.
    libraries: Libraries,
}

impl Restoring<'_> {
    async fn run(&mut self, mut reader: SnapshotReader, scanner: Scanner) -> Result<(), End> {
        let mut scanner = scanner.in_pieces(self.context.settings.replay.big_value_bytes);
        loop {
            match scanner.step().map_err(End::Snapshot)? {
                Step::End(_) => break,
                Step::NeedMore => {
                    // Wishes first; then the look at what is confirmed, which is due however fast chunks come.
                    tokio::select! {
                        biased;
                        _ = self.wish.changed() => self.end_if_wished().await?,
                        _ = self.looks.tick() => self.look().await?,
                        chunk = reader.next() => match chunk.map_err(End::Log)? {
                            Some(chunk) => scanner.push(chunk),
                            None => return Err(scanner.finish().map_or_else(End::Snapshot, |_| End::LogChanged)),
                        },
                    }
                }
                step => self.step(step, &scanner).await?,
            }
        }
        // Bytes after the end, or a snapshot that was given up after its last byte, are found here.
        while let Some(chunk) = reader.next().await.map_err(End::Log)? {
            scanner.push(chunk);
            scanner.step().map_err(End::Snapshot)?;
        }
        self.replayer.restorer.finish().await.map_err(End::Target)?;
        self.noted.store(0)?;
        self.noted.persist()?;
        while self.note_refused().await? {
            self.replayer.restorer.finish().await.map_err(End::Target)?;
        }
        self.replayer.finish(&mut self.session.lane).await?;
        self.show();
        Ok(())
    }

    /// An item, or a part of one.
    async fn step(&mut self, step: Step, scanner: &Scanner) -> Result<(), End> {
        if let Some(version) = scanner.version() {
            self.replayer.set_source(version);
        }
        let mut ends_large = false;
        let is_piece = match step {
            Step::Item(item) => self.item(item).await.map(|()| false)?,
            Step::Large(key) => self.large(&key).await.map(|()| true)?,
            Step::Piece(piece) => {
                let bytes = if self.replayer.is_passing() {
                    0
                } else {
                    piece.len()
                };
                self.keep_pace(0, bytes).await?;
                self.replayer.piece(piece).await.map(|()| true)?
            }
            Step::LargeEnd(_) => {
                self.replayer.end_pieces(&mut self.session.lane).await?;
                ends_large = true;
                true
            }
            Step::NeedMore | Step::End(_) => return Ok(()),
        };
        if let Some(cursor) = scanner.cursor() {
            self.reader_at = Cursor {
                at: cursor.at,
                db: cursor.db,
                keys: self.keys_scanned,
                elements: 0,
            };
        }
        if ends_large {
            // Its staged name is free for another key from now on: no mark within this one may stay.
            return self.look().await;
        }
        if is_piece || self.keys_scanned.is_multiple_of(ATTEND_EVERY_KEYS) {
            self.attend().await?;
        }
        Ok(())
    }

    /// Hears wishes, and looks at what is confirmed where that is due; waits for neither. One chunk may hold keys for many seconds.
    async fn attend(&mut self) -> Result<(), End> {
        tokio::select! {
            biased;
            _ = self.wish.changed() => self.end_if_wished().await,
            _ = self.looks.tick() => self.look().await,
            () = std::future::ready(()) => Ok(()),
        }
    }

    async fn item(&mut self, item: Item) -> Result<(), End> {
        match item {
            Item::Key(key) => self.key(&key).await,
            Item::Function(_) if self.context.settings.filter.denies(b"function") => Ok(()),
            Item::Function(library) => {
                self.libraries.push(header::library_name(&library));
                self.replayer.function(&library, self.reader_at).await
            }
            Item::Aux { key, value } if &key[..] == b"lua" => {
                self.replayer.script(&value, self.reader_at).await
            }
            Item::ModuleAux { module, .. } => self.replayer.module_aux(module),
            // Another shard has these slots still, and has, or is going to have, a pipeline of its own.
            item if item.imports() && self.context.settings.shard.is_some() => Err(End::Importing),
            Item::SlotImport { .. } => Ok(()),
            Item::Aux { key, value } => {
                self.stream_db = header::stream_db(&key, &value).unwrap_or(self.stream_db);
                Ok(())
            }
            Item::SelectDb(_) | Item::ResizeDb { .. } | Item::SlotInfo { .. } => Ok(()),
        }
    }

    async fn key(&mut self, key: &rdb::Key) -> Result<(), End> {
        let Some(to) = self.place(key)? else {
            return Ok(());
        };
        self.keep_pace(1, key.value.len()).await?;
        self.replayer.key(&mut self.session.lane, key, to).await?;
        crash::pass(crash::Step::SyncKey);
        Counters::add(&self.context.progress.counters.snapshot_keys_sent, 1);
        self.noted.store(noted::BATCH)
    }

    /// What is confirmed. Until the first key has come, what an earlier process wrote of it counts.
    fn low_water(&self) -> Cursor {
        self.replayer.low_water(Cursor {
            elements: self.resume_elements,
            ..self.reader_at
        })
    }

    /// A key whose value comes in pieces.
    async fn large(&mut self, key: &rdb::Key) -> Result<(), End> {
        let Some(to) = self.place(key)? else {
            self.replayer.pass();
            return Ok(());
        };
        self.keep_pace(1, key.value.len()).await?;
        self.replayer.begin(&mut self.session.lane, key, to).await?;
        if to.at.elements > 0 {
            // Where its staged name was gone it is written from its beginning: the mark must not say more.
            self.look().await?;
        }
        Counters::add(&self.context.progress.counters.snapshot_keys_sent, 1);
        self.noted.store(noted::BATCH)
    }

    /// Where a key goes; nowhere if the filter drops it.
    fn place(&mut self, key: &rdb::Key) -> Result<Option<Placed>, End> {
        let at = Cursor {
            elements: std::mem::take(&mut self.resume_elements),
            ..self.reader_at
        };
        self.keys_scanned += 1;
        let filter = &self.context.settings.filter;
        let target_db = match filter.target_db(key.db) {
            Some(db) if filter.key(key.db, &key.key).is_none() => db,
            _ => {
                Counters::add(&self.context.progress.counters.snapshot_keys_filtered, 1);
                return Ok(None);
            }
        };
        if target_db >= self.session.facts.databases {
            return Err(no_database(target_db, self.session.facts.databases));
        }
        if self.seen_dbs.last() != Some(&key.db) && !self.seen_dbs.contains(&key.db) {
            self.seen_dbs.push(key.db);
        }
        self.noted.see(target_db, &key.key);
        Ok(Some(Placed {
            db: target_db,
            expire_at_ms: self.park(key),
            at,
        }))
    }

    /// The expiry to restore the key with: its own, or one far ahead where it might pass before all is caught up.
    fn park(&mut self, key: &rdb::Key) -> Option<i64> {
        let at = key.expire_at_ms?;
        let now = i64::try_from(now_ms()).unwrap_or(i64::MAX);
        if at > now.saturating_add(self.horizon_ms) {
            return Some(at);
        }
        self.noted.park(key.db, &key.key, at);
        Some(at.saturating_add(GUARD_MS))
    }

    /// Waits until the pace allows the next key. What is due meanwhile is done, and a wish ends it.
    async fn keep_pace(&mut self, keys: u64, bytes: usize) -> Result<(), End> {
        while let Some(until) = self.pace.wait_until(Instant::now()) {
            tokio::select! {
                biased;
                _ = self.wish.changed() => self.end_if_wished().await?,
                _ = self.looks.tick() => self.look().await?,
                () = tokio::time::sleep_until(until.into()) => {}
            }
        }
        self.pace.spend(keys, bytes as u64, Instant::now());
        Ok(())
    }

    async fn end_if_wished(&mut self) -> Result<(), End> {
        let wish = *self.wish.borrow_and_update();
        if wish == self.context.wished {
            return Ok(());
        }
        if wish.tenure != Tenure::Follows {
            self.look().await?;
        }
        Err(End::Wished)
    }

    /// Sends what is waiting, records the low-water mark, and shows how far it is.
    async fn look(&mut self) -> Result<(), End> {
        self.replayer.flush().await?;
        self.note_refused().await?;
        // The key sets before the mark: what lies before it is not scanned again.
        self.noted.store(0)?;
        let low = self.low_water();
        if self.session.record.cursor != Some(low) && low.at > 0 {
            self.noted.persist()?;
            crash::pass(crash::Step::SyncKeysNoted);
            let marks = self.session.leave_marks(Offset::new(low.at), 0).await;
            let record = Record {
                cursor: Some(low),
                marks: marks.map_err(End::Target)?,
                seen: self.seen_dbs.clone(),
                ..self.session.record.clone()
            };
            self.session.write_record(record).await.map_err(End::Target)?;
            crash::pass(crash::Step::SyncMarked);
        }
        self.stretch_horizon(self.replayer.bytes_confirmed(low));
        self.show();
        Ok(())
    }

    /// A full sync that takes long needs a horizon to match: four times what is left of it.
    fn stretch_horizon(&mut self, done: u64) {
        let total = self
            .context
            .log
            .snapshot()
            .map_or(0, |one| one.declared_bytes.unwrap_or(one.received_bytes));
        if done == 0 || total <= done {
            return;
        }
        let left = self.began.elapsed().mul_f64((total - done) as f64 / done as f64);
        let wanted = i64::try_from((left * 4).as_millis()).unwrap_or(i64::MAX);
        self.horizon_ms = self.horizon_ms.max(wanted).max(HORIZON_MS_MIN);
    }

    fn show(&self) {
        let low = self.low_water();
        let bytes = self.replayer.bytes_confirmed(low);
        let keys = self.keys_before + self.replayer.restorer.confirmed_keys();
        self.context.progress.update_full_sync(|one| {
            one.keys = keys;
            one.replayed_bytes = one.replayed_bytes.max(bytes);
        });
    }

    /// Deals with what was refused. True: some of it was written in another way, and is under way.
    async fn note_refused(&mut self) -> Result<bool, End> {
        let refused = self.replayer.take_refused(&mut self.session.lane).await?;
        let letters: Vec<Letter> = refused.into_iter().map(|one| self.letter(one)).collect();
        if !letters.is_empty() {
            let (progress, on_error) = (&self.context.progress, self.context.settings.on_error);
            refuse(progress, on_error, self.letters, &letters)?;
        }
        Ok(self.replayer.restorer.has_outstanding())
    }

    fn letter(&self, refused: Refused) -> Letter {
        Letter {
            offset: self.position,
            db: refused.db,
            reason: refused.reply,
            command: refused.command,
        }
    }
}
