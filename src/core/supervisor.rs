//! All pipelines of a process, and the handle by which commands and the API reach them.
//!
//! Owns the folder's lock, the catalog, the cap on all logs together, and the tasks of the pipelines. Promises that one pipeline's end does not end
//! another, and that a stop waits for each to drain. Leaves what a pipeline does to [`super::pipeline`].

mod full_syncs;
mod garbage;
mod handle;
mod selection;
mod sharing;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::catalog::{self, Catalog};
use super::log::disk::FolderLock;
use super::log::{self, Log, Space};
use super::pipeline::orders::FlushCommand;
use super::pipeline::{Fatal, Mode, Orders, Pipeline, Settings};
use super::progress::Progress;

pub use full_syncs::{Asked, FullSyncs};
pub use garbage::Collected;
pub use handle::{Handle, Input, Refusal};

/// What all pipelines share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The folder for logs, catalog and dead letters.
    pub root: PathBuf,
    /// Who we are, for a second process that finds the folder locked.
    pub holder: String,
    /// Whether logs are on disk; otherwise in memory.
    pub on_disk: bool,
    /// The cap on all logs together, in bytes.
    pub max_bytes: u64,
    /// Size of a segment, in bytes.
    pub segment_bytes: u64,
    /// When appended bytes are made durable.
    pub flush: log::FlushPolicy,
    /// A checkpoint of an input that is not configured any more may be removed when nobody has written it for so long.
    pub stale_checkpoint_after: Duration,
}

/// How the pipelines begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// Where they were.
    Resume,
    /// With a full sync, whatever was before.
    FullSync {
        /// The command by which the target's databases are emptied first, if they are.
        flush: Option<FlushCommand>,
        /// It begins within this time, or not at all.
        within: Duration,
    },
}

/// The supervisor could not start. A person must act; [`Error::hint`] says how.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder or a log in it cannot be used.
    #[error(transparent)]
    Log(#[from] log::Error),
    /// The catalog cannot be used.
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    /// A pipeline met a trouble at its first contact that only a person can mend.
    #[error(transparent)]
    Fatal(#[from] Fatal),
    /// Two pipelines would share a checkpoint and a log.
    #[error("two inputs have the same name {0:?}")]
    SameName(String),
    /// A bug of ours: better to end loudly than to go on without a pipeline.
    #[error("a pipeline ended badly: {0}")]
    Bug(String),
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Log(error) => error.hint().map(str::to_owned),
            Error::Catalog(error) => error.hint().map(str::to_owned),
            Error::Fatal(fatal) => fatal.hint.clone(),
            Error::SameName(_) => Some("list each source address once".to_owned()),
            Error::Bug(_) => Some("please report this with the traces above".to_owned()),
        }
    }
}

/// The running pipelines.
#[derive(Debug)]
pub struct Supervisor {
    handle: Handle,
    shared: Shared,
    catalog: Catalog,
    space: Arc<Space>,
    asked: Option<Asked>,
    tasks: JoinSet<Result<(), Fatal>>,
    /// Held until the end: nobody else may use the folder.
    _lock: FolderLock,
}

impl Supervisor {
    /// Locks the folder, opens the logs and starts a pipeline for each of `settings`. Those that were paused stay so.
    ///
    /// # Errors
    /// The folder cannot be used, or another process uses it.
    pub async fn start(shared: &Shared, settings: Vec<Settings>, begin: &Begin) -> Result<Supervisor, Error> {
        let lock = FolderLock::take(&shared.root, &shared.holder)?;
        let catalog = Catalog::open(&shared.root)?;
        let space = Space::new(shared.max_bytes);
        let mut supervisor = Supervisor {
            handle: Handle::new(shared.clone(), catalog.clone(), Arc::clone(&space)),
            shared: shared.clone(),
            catalog,
            space,
            asked: None,
            tasks: JoinSet::new(),
            _lock: lock,
        };
        let mut pipelines = Vec::new();
        for settings in settings {
            pipelines.push(supervisor.open(settings).await?);
        }
        supervisor.asked = Some(match begin {
            Begin::Resume => Asked::default(),
            Begin::FullSync { flush, within } => {
                let inputs = supervisor.handle.inputs();
                let groups = sharing::groups(&inputs).await;
                Asked::place(&inputs, &groups, flush.as_ref(), *within)
            }
        });
        for pipeline in pipelines {
            supervisor.tasks.spawn(pipeline.run());
        }
        Ok(supervisor)
    }

    /// Opens the log of a new input, and makes it known. Its pipeline does not run yet.
    async fn open(&self, settings: Settings) -> Result<Pipeline, Error> {
        if self.handle.inputs().iter().any(|one| one.name() == settings.name) {
            return Err(Error::SameName(settings.name));
        }
        let log = open_log(&self.shared, &settings, &self.catalog, &self.space).await?;
        let progress = Progress::new();
        let orders = Orders::new(match self.catalog.paused(&settings.name)? {
            true => Mode::Pause,
            false => Mode::Run,
        });
        let input = Input::new(&settings, &self.shared.holder, &progress, &orders, &log);
        self.handle.add(input);
        Ok(Pipeline::new(
            settings,
            log,
            self.catalog.clone(),
            progress,
            orders,
        ))
    }

    /// The handle.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Those who wait for the full syncs with which it all began. Given once.
    #[must_use]
    pub fn asked(&mut self) -> Asked {
        self.asked.take().unwrap_or_default()
    }

    /// Waits until all pipelines have ended.
    ///
    /// # Errors
    /// One met a trouble at its first contact that needs a person; the others are stopped then.
    pub async fn run(&mut self) -> Result<(), Error> {
        let mut result = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(fatal)) => {
                    self.handle.stop();
                    result = Err(Error::Fatal(fatal));
                }
                Err(error) => {
                    self.handle.stop();
                    result = Err(Error::Bug(error.to_string()));
                }
            }
        }
        result
    }
}

/// Opens a log. What is damaged is dropped, loudly: the checkpoint on the target says where to go on.
async fn open_log(
    shared: &Shared,
    pipeline: &Settings,
    catalog: &Catalog,
    space: &Arc<Space>,
) -> Result<Log, Error> {
    let storage = if shared.on_disk {
        log::Storage::Disk(log::OnDisk {
            root: shared.root.clone(),
            disk: log::Disk::new(),
            catalog: catalog.clone(),
            segment_bytes: shared.segment_bytes,
            flush: shared.flush,
        })
    } else {
        log::Storage::Memory
    };
    let settings = log::Settings {
        name: pipeline.name.clone(),
        storage,
        tail_bytes: log::TAIL_BYTES,
    };
    if !pipeline.resume {
        return Ok(Log::open_empty(settings, space).await?);
    }
    match Log::open(settings.clone(), space).await {
        Ok((log, recovery)) => {
            if let Some(torn) = &recovery.torn {
                tracing::warn!(
                    ?torn,
                    "the log's torn tail was cut; the source is asked for it again"
                );
            }
            Ok(log)
        }
        Err(error @ (log::Error::Rot { .. } | log::Error::Gap { .. })) => {
            tracing::error!(%error, "the log cannot be trusted and is dropped; the checkpoint on the target decides where to go on");
            Ok(Log::open_empty(settings, space).await?)
        }
        Err(error) => Err(error.into()),
    }
}
