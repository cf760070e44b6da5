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

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::apply::{Context, LOOK_EVERY};
use super::dead_letter::{DeadLetters, Letter};
use super::header::{self, Libraries, Opened};
use super::parked::{GUARD_MS, HORIZON_MS_MIN};
use super::refused::{no_database, refuse, too_long};
use super::stale;
use super::{End, FunctionExists, KeyExists, ModuleAux, StaleKeys, Wish};
use crate::core::catalog::{KeySet, ParkedKeys};
use crate::core::log::{SnapshotInfo, SnapshotReader};
use crate::core::position::Offset;
use crate::core::progress::Counters;
use crate::core::rdb::payload::{self, Modules, Payload};
use crate::core::rdb::{self, Item, Scanner, Step};
use crate::core::resume::Reason;
use crate::core::target::checkpoint::{Checkpoint, Cursor, Record};
use crate::core::target::pace::Pace;
use crate::core::target::restore::{Dialect, Key, Refused, Restorer};
use crate::core::target::session::{Session, now_ms};

/// After so many keys, what else is due is attended to.
const ATTEND_EVERY_KEYS: u64 = 64;

/// So many keys are written to the catalog at once.
const CATALOG_BATCH: usize = 500;

/// One full sync.
pub struct FullSync<'a> {
    context: &'a Context,
    snapshot: SnapshotInfo,
    reason: Reason,
    letters: &'a mut DeadLetters,
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
        }
    }

    /// Restores the snapshot and writes the checkpoint. Gives the database that the stream after it has selected.
    pub async fn run(mut self, session: &mut Session) -> Result<u32, End> {
        let began = Instant::now();
        let cursor = self.begin(session).await?;
        let Opened {
            reader,
            scanner,
            stream_db,
            libraries,
        } = header::open(&self.context.log, cursor).await?;
        let settings = &self.context.settings;
        let dialect = Dialect {
            absolute_ttl: session.facts.version.0 >= 5,
            replace: settings.key_exists == KeyExists::Replace,
        };
        let name = session.client_name(&settings.target);
        let restorer = Restorer::open(&settings.target, &name, settings.connections, dialect).await;
        let mut restoring = self.restoring(session, cursor, restorer.map_err(End::Target)?)?;
        restoring.stream_db = stream_db;
        restoring.libraries = libraries;
        restoring.run(reader, scanner).await?;
        let keys = restoring.keys_before + restoring.restorer.confirmed_keys();
        let stream_db = restoring.stream_db;
        let mut seen = std::mem::take(&mut restoring.seen_dbs);
        let libraries = std::mem::take(&mut restoring.libraries);
        drop(restoring);
        seen.sort_unstable();
        session.record.seen = seen;
        stale::sweep_all(self.context, session, &libraries).await?;
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
        let same = before.full_sync == Some(position) && before.snapshot_ms == self.snapshot.begun_ms;
        if same && self.snapshot.resumable {
            return Ok(before.cursor);
        }
        let resync = before.resync || before.checkpoint.is_some() || before.full_sync.is_some();
        // After a flush it is known already which are ours alone.
        let (owned, owns_libraries) = match resync || !before.owned.is_empty() {
            true => (before.owned.clone(), before.owns_libraries),
            false => stale::unowned_so_far(session).await?,
        };
        let record = Record {
            checkpoint: None,
            full_sync: Some(position),
            snapshot_ms: self.snapshot.begun_ms,
            cursor: None,
            resync,
            owned,
            owns_libraries,
            seen: Vec::new(),
            ..before
        };
        session.write_record(record).await.map_err(End::Target)?;
        // Parked keys stay: a key that is not in this snapshot, and that is kept on the target, still waits for its expiry.
        let seen = self.context.catalog.seen(&self.context.settings.name);
        seen.and_then(|seen| seen.clear()).map_err(End::Catalog)?;
        Ok(None)
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
        Ok(Restoring {
            context,
            restorer,
            looks,
            wish: context.wish.clone(),
            seen: context.catalog.seen(name).map_err(End::Catalog)?,
            parked: context.catalog.parked(name).map_err(End::Catalog)?,
            seen_batch: Vec::new(),
            parked_batch: Vec::new(),
            records_seen: context.settings.stale_keys != StaleKeys::Keep && session.record.resync,
            letters: self.letters,
            position: self.snapshot.position.offset,
            pace: Pace::new(context.settings.rate_limit, Instant::now()),
            keys_before: cursor.map_or(0, |cursor| cursor.keys),
            keys_scanned: cursor.map_or(0, |cursor| cursor.keys),
            reader_at: cursor.unwrap_or(Cursor {
                at: 0,
                db: 0,
                keys: 0,
            }),
            horizon_ms: HORIZON_MS_MIN,
            began: Instant::now(),
            functions_flushed: cursor.is_some(),
            ours: if session.record.resync || cursor.is_some() {
                session.record.owned.clone()
            } else {
                Vec::new()
            },
            seen_dbs: session.record.seen.clone(),
            stream_db: 0,
            libraries: Vec::new(),
            session,
        })
    }

    async fn finish(&self, session: &mut Session, stream_db: u32) -> Result<(), End> {
        let checkpoint = Some(Checkpoint {
            position: self.snapshot.position,
            db: stream_db,
        });
        let record = Record {
            checkpoint,
            full_sync: None,
            cursor: None,
            resync: false,
            ..session.record.clone()
        };
        session.write_record(record).await.map_err(End::Target)?;
        let name = &self.context.settings.name;
        self.context
            .catalog
            .seen(name)
            .and_then(|seen| seen.clear())
            .map_err(End::Catalog)
    }
}

/// The loop's state.
struct Restoring<'a> {
    context: &'a Context,
    session: &'a mut Session,
    restorer: Restorer,
    letters: &'a mut DeadLetters,
    looks: Interval,
    wish: watch::Receiver<Wish>,
    seen: KeySet,
    parked: ParkedKeys,
    seen_batch: Vec<(u32, Bytes)>,
    parked_batch: Vec<(u32, Bytes, i64)>,
    records_seen: bool,
    position: Offset,
    pace: Pace,
    keys_before: u64,
    keys_scanned: u64,
    /// Where the scanner stood before the item in hand.
    reader_at: Cursor,
    /// Keys that expire within this time are parked.
    horizon_ms: i64,
    began: Instant,
    functions_flushed: bool,
    /// Target databases in which a key that is there already was written by us, in an earlier full sync or before a crash: it is replaced
    /// whatever `keyExists` says.
    ours: Vec<u32>,
    /// The source's databases that have keys in the snapshot.
    seen_dbs: Vec<u32>,
    /// The database that the stream after the snapshot has selected.
    stream_db: u32,
    /// The names of the libraries of functions in the snapshot.
    libraries: Libraries,
}

impl Restoring<'_> {
    async fn run(&mut self, mut reader: SnapshotReader, mut scanner: Scanner) -> Result<(), End> {
        loop {
            match scanner.step().map_err(End::Snapshot)? {
                Step::Item(item) => {
                    self.item(item, &scanner).await?;
                    if let Some(cursor) = scanner.cursor() {
                        self.reader_at = Cursor {
                            at: cursor.at,
                            db: cursor.db,
                            keys: self.keys_scanned,
                        };
                    }
                    if self.keys_scanned.is_multiple_of(ATTEND_EVERY_KEYS) {
                        self.attend().await?;
                    }
                }
                Step::Large(_) | Step::Piece(_) | Step::LargeEnd(_) => return Err(End::LogChanged),
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
            }
        }
        // Bytes after the end, or a snapshot that was given up after its last byte, are found here.
        while let Some(chunk) = reader.next().await.map_err(End::Log)? {
            scanner.push(chunk);
            scanner.step().map_err(End::Snapshot)?;
        }
        self.restorer.finish().await.map_err(End::Target)?;
        self.store_key_sets(0)?;
        self.parked.persist().map_err(End::Catalog)?;
        self.note_refused()?;
        self.show();
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

    async fn item(&mut self, item: Item, scanner: &Scanner) -> Result<(), End> {
        match item {
            Item::Key(key) => self.key(&key, scanner).await,
            Item::Function(_) if self.context.settings.filter.denies(b"function") => Ok(()),
            Item::Function(library) => self.function(&library, scanner).await,
            Item::Aux { key, value } if &key[..] == b"lua" => {
                let args: [&[u8]; 3] = [b"SCRIPT", b"LOAD", &value];
                self.restorer
                    .command(self.reader_at, &args)
                    .await
                    .map_err(End::Target)
            }
            Item::ModuleAux { module, .. } => self.module_aux(&module.to_string()),
            Item::SlotImport { .. } => {
                tracing::warn!(
                    "the snapshot holds slots that the source was importing; their keys are taken as they are"
                );
                Ok(())
            }
            Item::Aux { key, value } => {
                self.stream_db = header::stream_db(&key, &value).unwrap_or(self.stream_db);
                Ok(())
            }
            Item::SelectDb(_) | Item::ResizeDb { .. } | Item::SlotInfo { .. } => Ok(()),
        }
    }

    async fn key(&mut self, key: &rdb::Key, scanner: &Scanner) -> Result<(), End> {
        self.keys_scanned += 1;
        let filter = &self.context.settings.filter;
        let target_db = match filter.target_db(key.db) {
            Some(db) if filter.key(key.db, &key.key).is_none() => db,
            _ => {
                Counters::add(&self.context.progress.counters.snapshot_keys_filtered, 1);
                return Ok(());
            }
        };
        if target_db >= self.session.facts.databases {
            return Err(no_database(target_db, self.session.facts.databases));
        }
        if self.seen_dbs.last() != Some(&key.db) && !self.seen_dbs.contains(&key.db) {
            self.seen_dbs.push(key.db);
        }
        if self.records_seen {
            self.seen_batch.push((target_db, key.key.clone()));
        }
        let payload = key.payload();
        let footer = self.footer(&payload, scanner, &key.key)?;
        let limit = self.session.facts.bulk_bytes_max;
        if payload.len_bytes() > limit {
            return Err(too_long(&key.key, payload.len_bytes(), limit));
        }
        let restore = Key {
            db: target_db,
            name: &key.key,
            expire_at_ms: self.park(key),
            idle_secs: key.idle_secs,
            freq: key.freq,
            payload_len: payload.len_bytes(),
            replace: self.ours.contains(&target_db),
        };
        self.keep_pace(payload.len_bytes()).await?;
        let at = self.reader_at;
        self.restorer
            .restore(at, &restore, |out| payload.write(out, footer))
            .await
            .map_err(End::Target)?;
        Counters::add(&self.context.progress.counters.snapshot_keys_sent, 1);
        self.store_key_sets(CATALOG_BATCH)
    }

    /// The version that the payload's footer says, so that the target takes it.
    fn footer(&self, payload: &Payload<'_>, scanner: &Scanner, key: &[u8]) -> Result<u16, End> {
        let Some(source) = scanner.version() else {
            return Err(End::LogChanged);
        };
        let target = self.session.facts.rdb_version.unwrap_or(source);
        payload.footer(source, target, Modules::Unknown).ok_or_else(|| {
            let kind = rdb::kind_of(payload.value_type, source.flavor).map_or("unknown", |kind| kind.object);
            End::Stuck {
                message: format!(
                    "the target ({target}) cannot load the source's format ({source}): key {} of type {} ({kind})",
                    String::from_utf8_lossy(key),
                    payload.value_type,
                ),
                hint: "use a target of at least the source's version".to_owned(),
            }
        })
    }

    /// The expiry to restore the key with: its own, or one far ahead where it might pass before all is caught up.
    fn park(&mut self, key: &rdb::Key) -> Option<i64> {
        let at = key.expire_at_ms?;
        let now = i64::try_from(now_ms()).unwrap_or(i64::MAX);
        if at > now.saturating_add(self.horizon_ms) {
            return Some(at);
        }
        self.parked_batch.push((key.db, key.key.clone(), at));
        Some(at.saturating_add(GUARD_MS))
    }

    /// Waits until the pace allows the next key. What is due meanwhile is done, and a wish ends it.
    async fn keep_pace(&mut self, bytes: usize) -> Result<(), End> {
        while let Some(until) = self.pace.wait_until(Instant::now()) {
            tokio::select! {
                biased;
                _ = self.wish.changed() => self.end_if_wished().await?,
                _ = self.looks.tick() => self.look().await?,
                () = tokio::time::sleep_until(until.into()) => {}
            }
        }
        self.pace.spend(1, bytes as u64, Instant::now());
        Ok(())
    }

    async fn end_if_wished(&mut self) -> Result<(), End> {
        if *self.wish.borrow_and_update() == self.context.wished {
            return Ok(());
        }
        self.look().await?;
        Err(End::Wished)
    }

    async fn function(&mut self, library: &Bytes, scanner: &Scanner) -> Result<(), End> {
        let Some(source) = scanner.version() else {
            return Err(End::LogChanged);
        };
        let target = self.session.facts.rdb_version.unwrap_or(source);
        let Some(footer) = payload::functions_footer(source, target) else {
            return Err(End::Stuck {
                message: format!("the source has functions, which the target ({target}) does not know"),
                hint: "use a target of version 7.0 or later".to_owned(),
            });
        };
        self.libraries.push(header::library_name(library));
        let policy = self.context.settings.function_exists;
        if policy == FunctionExists::Flush && !std::mem::replace(&mut self.functions_flushed, true) {
            self.restorer
                .command(self.reader_at, &[b"FUNCTION", b"FLUSH"])
                .await
                .map_err(End::Target)?;
        }
        let mut dump = BytesMut::new();
        payload::write_functions(&mut dump, [&library[..]], footer);
        let how: &[u8] = if policy == FunctionExists::Append {
            b"APPEND"
        } else {
            b"REPLACE"
        };
        let args: [&[u8]; 4] = [b"FUNCTION", b"RESTORE", &dump, how];
        self.restorer
            .command(self.reader_at, &args)
            .await
            .map_err(End::Target)
    }

    fn module_aux(&self, module: &str) -> Result<(), End> {
        if self.context.settings.module_aux == ModuleAux::Skip {
            tracing::warn!(module, "module data beside the keys is left out");
            return Ok(());
        }
        Err(End::Stuck {
            message: format!("the snapshot holds data of module {module} beside the keys, which no command can restore"),
            hint: "set output.replay.moduleAuxPolicy: skip to leave it out (search indexes must then be made anew on the target)"
                .to_owned(),
        })
    }

    /// Writes the key sets that have grown beyond `limit` to the catalog.
    fn store_key_sets(&mut self, limit: usize) -> Result<(), End> {
        if self.seen_batch.len() > limit {
            let batch = std::mem::take(&mut self.seen_batch);
            self.seen
                .insert(batch.iter().map(|(db, key)| (*db, &key[..])))
                .map_err(End::Catalog)?;
        }
        if self.parked_batch.len() > limit {
            let batch = std::mem::take(&mut self.parked_batch);
            self.parked
                .insert(batch.iter().map(|(db, key, at)| (*db, &key[..], *at)))
                .map_err(End::Catalog)?;
        }
        Ok(())
    }

    /// Sends what is waiting, records the low-water mark, and shows how far it is.
    async fn look(&mut self) -> Result<(), End> {
        self.restorer.flush().await.map_err(End::Target)?;
        self.note_refused()?;
        // The key sets before the mark: what lies before it is not scanned again.
        self.store_key_sets(0)?;
        let low = self.restorer.low_water(self.reader_at);
        if self.session.record.cursor != Some(low) && low.at > 0 {
            self.parked.persist().map_err(End::Catalog)?;
            let record = Record {
                cursor: Some(low),
                seen: self.seen_dbs.clone(),
                ..self.session.record.clone()
            };
            self.session.write_record(record).await.map_err(End::Target)?;
        }
        self.stretch_horizon(low.at);
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
        let low = self.restorer.low_water(self.reader_at);
        let keys = self.keys_before + self.restorer.confirmed_keys();
        self.context.progress.update_full_sync(|one| {
            one.keys = keys;
            one.replayed_bytes = one.replayed_bytes.max(low.at);
        });
    }

    fn note_refused(&mut self) -> Result<(), End> {
        let refused = self.restorer.take_refused();
        let ignore = self.context.settings.key_exists == KeyExists::Ignore;
        let letters: Vec<Letter> = refused
            .into_iter()
            .filter(|one| !(ignore && one.reply.starts_with("BUSYKEY")))
            .map(|one| self.letter(one))
            .collect();
        if letters.is_empty() {
            return Ok(());
        }
        refuse(self.context, self.letters, &letters)
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
