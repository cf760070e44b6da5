//! The loading of a file: a snapshot without a source, replayed by the engine of full syncs.
//!
//! ```text
//! chunks -> rdb::Scanner -> filter -> replay::Replayer (N lanes)
//! ```
//!
//! Nothing is recorded on the target: no checkpoint, no session. Keys that have expired by now are left out, as a server that loads the file
//! would; all others get the expiry that the file says, at once. Loading a file again, after it was interrupted, comes to the same.
//!
//! Owns the order of these steps. Leaves to the caller where the chunks come from, and how the progress is shown.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::dead_letter::{DeadLetters, Letter};
use super::refused::{no_database, refuse};
use super::replay::{Placed, Policy, Replayer};
use super::{End, OnError};
use crate::core::filter::Filter;
use crate::core::position::Offset;
use crate::core::progress::{Counters, Progress};
use crate::core::rdb::{Error as RdbError, Item, Key, Scanner, Step, Version};
use crate::core::target;
use crate::core::target::checkpoint::Cursor;
use crate::core::target::door::Door;
use crate::core::target::facts::Facts;
use crate::core::target::pace::{Pace, RateLimit};
use crate::core::target::restore::Restorer;
use crate::core::target::session::now_ms;
use crate::core::target::staging::Names;

/// What the target has refused is looked at after so many keys, at least.
const LOOK_EVERY_KEYS: u64 = 1024;

/// What is shown is brought up to date this often.
const SHOW_EVERY: Duration = Duration::from_millis(200);

/// How a file is loaded.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whom to write to; the name tells this loading from others.
    pub target: target::Settings,
    /// What is loaded, and into which databases.
    pub filter: Arc<Filter>,
    /// How.
    pub replay: Policy,
    /// Connections.
    pub connections: usize,
    /// How fast.
    pub rate_limit: RateLimit,
    /// What a refused command means.
    pub on_error: OnError,
    /// Where refused commands go.
    pub dead_letter_dir: PathBuf,
}

/// How far it is, for whoever shows it.
#[derive(Debug, Default)]
pub struct Shown {
    /// Bytes of the file whose keys are confirmed.
    pub bytes: AtomicU64,
    /// Keys that are confirmed.
    pub keys: AtomicU64,
}

/// What it came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The file's version.
    pub version: Version,
    /// Its length.
    pub bytes: u64,
    /// Whether its checksum was compared.
    pub checked: bool,
    /// Keys on the target.
    pub keys: u64,
    /// Keys that the filter left out.
    pub filtered: u64,
    /// Keys that have expired.
    pub expired: u64,
    /// Commands in the dead-letter file.
    pub dead_letters: u64,
}

/// Why it ended otherwise.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the file: {0}")]
    Read(io::Error),
    /// The file is broken. What came before the fault is on the target.
    #[error("{0}")]
    Broken(RdbError),
    /// The target failed.
    #[error("{0}")]
    Target(target::Error),
    /// The target cannot take anything now.
    #[error("the target cannot take anything now: {0}")]
    Unavailable(String),
    /// A person must decide.
    #[error("{message}")]
    Stuck {
        /// What happened.
        message: String,
        /// What to do.
        hint: String,
    },
}

impl Error {
    /// What to do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Broken(error) if error.is_no_rdb() => {
                Some("an RDB file begins with REDIS or VALKEY and a number: name another file".to_owned())
            }
            Error::Broken(_) => Some(
                "the keys before that byte are loaded; redis-check-rdb tells more; dump the file anew where its source still is"
                    .to_owned(),
            ),
            Error::Target(error) => error.hint(),
            Error::Unavailable(reply) => target::refusal::Kind::of(reply).hint(reply),
            Error::Stuck { hint, .. } => Some(hint.clone()),
            Error::Read(_) => None,
        }
    }
}

impl From<End> for Error {
    fn from(end: End) -> Error {
        match end {
            End::Target(error) => Error::Target(error),
            End::Snapshot(error) => Error::Broken(error),
            End::Unavailable(reply) => Error::Unavailable(reply),
            End::Letters { message, .. } => Error::Stuck {
                message,
                hint: "free space or mend the folder, and load the file again".to_owned(),
            },
            End::Stuck { message, hint } => Error::Stuck { message, hint },
            // The others are of pipelines, which follow a source.
            other => Error::Stuck {
                message: format!("{other:?}"),
                hint: "this is a bug of gunyu: please report it".to_owned(),
            },
        }
    }
}

/// Loads the file whose bytes come as `chunks`; what comes after its end is an error.
///
/// # Errors
/// See [`Error`].
pub async fn load(
    settings: Settings,
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    shown: Arc<Shown>,
) -> Result<Loaded, Error> {
    let mut loading = Loading::begin(settings, shown).await?;
    loading.run(chunks).await
}

struct Loading {
    settings: Settings,
    facts: Facts,
    control: Door,
    replayer: Replayer,
    letters: DeadLetters,
    progress: Arc<Progress>,
    shown: Arc<Shown>,
    shown_at: Instant,
    pace: Pace,
    /// Where the scanner stood before the item in hand.
    at: Cursor,
    filtered: u64,
    expired: u64,
}

impl Loading {
    async fn begin(settings: Settings, shown: Arc<Shown>) -> Result<Loading, Error> {
        let name = format!("gunyu:{}", settings.target.name);
        let home = Names::of(&settings.target.name, settings.target.is_cluster()).name(b"");
        let control = Door::open(&settings.target, &name, &home).await;
        let mut control = control.map_err(Error::Target)?;
        let facts = facts(&mut control, &settings).await.map_err(Error::Target)?;
        let dialect = Replayer::dialect(&settings.replay, &facts);
        let restorer = Restorer::open(&settings.target, &name, None, settings.connections, dialect).await;
        let restorer = restorer.map_err(Error::Target)?;
        let policy = settings.replay.clone();
        Ok(Loading {
            replayer: Replayer::new(policy, facts.clone(), restorer, Vec::new(), false),
            letters: DeadLetters::new(&settings.dead_letter_dir, &settings.target.name),
            pace: Pace::new(settings.rate_limit, Instant::now()),
            progress: Progress::new(),
            shown_at: Instant::now(),
            settings,
            facts,
            control,
            shown,
            at: Cursor::default(),
            filtered: 0,
            expired: 0,
        })
    }

    async fn run(&mut self, mut chunks: mpsc::Receiver<io::Result<Bytes>>) -> Result<Loaded, Error> {
        let mut scanner = Scanner::new().in_pieces(self.settings.replay.big_value_bytes);
        loop {
            match scanner.step() {
                // What is under way is confirmed first: the keys before the fault are loaded, as is said then.
                Err(error) => {
                    self.settle().await?;
                    return Err(Error::Broken(error));
                }
                Ok(Step::NeedMore) => match chunks.recv().await {
                    Some(chunk) => scanner.push(chunk.map_err(Error::Read)?),
                    None => break,
                },
                Ok(Step::End(_)) => match chunks.recv().await {
                    Some(chunk) => scanner.push(chunk.map_err(Error::Read)?),
                    None => break,
                },
                Ok(step) => self.step(step, &scanner).await?,
            }
        }
        self.settle().await?;
        let version = scanner.version();
        let end = scanner.finish().map_err(Error::Broken)?;
        self.shown.bytes.store(end.len_bytes, Ordering::Relaxed);
        Ok(Loaded {
            version: version.unwrap_or(Version::SHARED),
            bytes: end.len_bytes,
            checked: end.checked,
            keys: self.replayer.restorer.confirmed_keys(),
            filtered: self.filtered,
            expired: self.expired,
            dead_letters: Counters::read(&self.progress.counters.dead_letters),
        })
    }

    /// Waits until everything is confirmed, and deals with what was refused.
    async fn settle(&mut self) -> Result<(), Error> {
        self.replayer.restorer.finish().await.map_err(Error::Target)?;
        while self.note_refused().await? {
            self.replayer.restorer.finish().await.map_err(Error::Target)?;
        }
        self.replayer.finish(&mut self.control).await?;
        self.show();
        Ok(())
    }

    async fn step(&mut self, step: Step, scanner: &Scanner) -> Result<(), Error> {
        if let Some(version) = scanner.version() {
            self.replayer.set_source(version);
        }
        match step {
            Step::Item(item) => self.item(item).await?,
            Step::Large(key) => match self.place(&key)? {
                Some(to) => self.replayer.begin(&mut self.control, &key, to).await?,
                None => self.replayer.pass(),
            },
            Step::Piece(piece) => {
                self.keep_pace(0, piece.len()).await;
                self.replayer.piece(piece).await?;
            }
            Step::LargeEnd(_) => self.replayer.end_pieces(&mut self.control).await?,
            Step::NeedMore | Step::End(_) => {}
        }
        if let Some(cursor) = scanner.cursor() {
            self.at = Cursor {
                at: cursor.at,
                db: cursor.db,
                ..self.at
            };
        }
        if self.shown_at.elapsed() >= SHOW_EVERY || self.at.keys.is_multiple_of(LOOK_EVERY_KEYS) {
            self.note_refused().await?;
            self.show();
        }
        Ok(())
    }

    async fn item(&mut self, item: Item) -> Result<(), Error> {
        let at = self.at;
        match item {
            Item::Key(key) => {
                if let Some(to) = self.place(&key)? {
                    self.keep_pace(1, key.value.len()).await;
                    self.replayer.key(&mut self.control, &key, to).await?;
                }
            }
            Item::Function(_) if self.settings.filter.denies(b"function") => {}
            Item::Function(library) => self.replayer.function(&library, at).await?,
            Item::Aux { key, value } if &key[..] == b"lua" => self.replayer.script(&value, at).await?,
            Item::ModuleAux { module, .. } => self.replayer.module_aux(module)?,
            Item::SlotImport { .. }
            | Item::Aux { .. }
            | Item::SelectDb(_)
            | Item::ResizeDb { .. }
            | Item::SlotInfo { .. } => {}
        }
        Ok(())
    }

    /// Where a key goes; nowhere if the filter drops it or it has expired.
    fn place(&mut self, key: &Key) -> Result<Option<Placed>, Error> {
        let at = self.at;
        self.at.keys += 1;
        let filter = &self.settings.filter;
        let db = match filter.target_db(key.db) {
            Some(db) if filter.key(key.db, &key.key).is_none() => db,
            _ => {
                self.filtered += 1;
                return Ok(None);
            }
        };
        let now = i64::try_from(now_ms()).unwrap_or(i64::MAX);
        if key.expire_at_ms.is_some_and(|at| at <= now) {
            self.expired += 1;
            return Ok(None);
        }
        if db >= self.facts.databases {
            return Err(no_database(db, self.facts.databases).into());
        }
        Ok(Some(Placed {
            db,
            expire_at_ms: key.expire_at_ms,
            at,
        }))
    }

    async fn keep_pace(&mut self, keys: u64, bytes: usize) {
        while let Some(until) = self.pace.wait_until(Instant::now()) {
            tokio::time::sleep_until(until.into()).await;
        }
        self.pace.spend(keys, bytes as u64, Instant::now());
    }

    /// Deals with what was refused. True: some of it was written in another way, and is under way.
    async fn note_refused(&mut self) -> Result<bool, Error> {
        let refused = self.replayer.take_refused(&mut self.control).await?;
        let letters: Vec<Letter> = refused
            .into_iter()
            .map(|one| Letter {
                offset: Offset::ZERO,
                db: one.db,
                reason: one.reply,
                command: one.command,
            })
            .collect();
        if !letters.is_empty() {
            refuse(
                &self.progress,
                self.settings.on_error,
                &mut self.letters,
                &letters,
            )?;
        }
        Ok(self.replayer.restorer.has_outstanding())
    }

    fn show(&mut self) {
        self.shown_at = Instant::now();
        let low = self.replayer.low_water(self.at);
        self.shown.bytes.fetch_max(low.at, Ordering::Relaxed);
        let keys = self.replayer.restorer.confirmed_keys();
        self.shown.keys.store(keys, Ordering::Relaxed);
    }
}

/// What the target is. Its RDB version is in a dump of a key, which is there for that moment only.
async fn facts(control: &mut Door, settings: &Settings) -> Result<Facts, target::Error> {
    let mut facts = Facts::of_server(control).await?;
    let key = Names::of(&settings.target.name, settings.target.is_cluster()).name(b"");
    control.call(&[b"SET", &key, b""]).await?;
    facts.complete(control, &key).await?;
    control.call(&[b"DEL", &key]).await?;
    Ok(facts)
}
