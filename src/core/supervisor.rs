//! All pipelines of a process, and the handle by which commands and the API reach them.
//!
//! Owns the folder's lock, the catalog, the cap on all logs together, and the tasks of the pipelines. Promises that one pipeline's end does not end
//! another, and that a stop waits for each to drain. Leaves what a pipeline does to [`super::pipeline`].

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::catalog::{self, Catalog};
use super::log::disk::FolderLock;
use super::log::{self, Log, Space};
use super::net::Address;
use super::pipeline::{Delivery, Fatal, Pipeline, Settings, Wish};
use super::progress::Progress;

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

/// One input as commands and the API see it.
#[derive(Debug, Clone)]
pub struct Input {
    /// The source node.
    pub source: Address,
    /// The target node.
    pub target: Address,
    /// Whether batches are transactions.
    pub transaction: bool,
    /// Who leads it: this process.
    pub leader: String,
    /// Where it is.
    pub progress: Arc<Progress>,
    name: String,
    log: Log,
}

impl Input {
    /// Bytes that its log takes.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        self.log.log_bytes()
    }
}

/// Reaches all pipelines. Clones share them.
#[derive(Debug, Clone)]
pub struct Handle {
    inputs: Arc<Vec<Input>>,
    wish: Arc<watch::Sender<Wish>>,
    space: Arc<Space>,
}

impl Handle {
    /// The inputs, in the order of the configuration.
    #[must_use]
    pub fn inputs(&self) -> Vec<Input> {
        self.inputs.to_vec()
    }

    /// Asks every pipeline to drain and end.
    pub fn stop(&self) {
        self.wish.send_replace(Wish::Stop);
    }

    /// Waits until somebody has asked for a stop.
    pub async fn stopping(&self) {
        let mut wish = self.wish.subscribe();
        // An error means that the sender is gone, and with it everything that could be running.
        let _ = wish.wait_for(|wish| *wish == Wish::Stop).await;
    }

    /// Bytes that all logs take, and their cap.
    #[must_use]
    pub fn storage_bytes(&self) -> (u64, u64) {
        (self.space.used_bytes(), self.space.max_bytes())
    }
}

/// The running pipelines.
#[derive(Debug)]
pub struct Supervisor {
    handle: Handle,
    tasks: JoinSet<Result<(), Fatal>>,
    /// Held until the end: nobody else may use the folder.
    _lock: FolderLock,
}

impl Supervisor {
    /// Locks the folder, opens the logs and starts a pipeline for each of `settings`.
    ///
    /// # Errors
    /// The folder cannot be used, or another process uses it.
    pub async fn start(shared: &Shared, settings: Vec<Settings>) -> Result<Supervisor, Error> {
        let lock = FolderLock::take(&shared.root, &shared.holder)?;
        let catalog = Catalog::open(&shared.root)?;
        let space = Space::new(shared.max_bytes);
        let (wish, wishes) = watch::channel(Wish::Run);
        let mut inputs = Vec::new();
        let mut tasks = JoinSet::new();
        for settings in settings {
            if inputs.iter().any(|one: &Input| one.name == settings.name) {
                return Err(Error::SameName(settings.name));
            }
            let log = open_log(shared, &settings, &catalog, &space).await?;
            let progress = Progress::new();
            inputs.push(Input {
                name: settings.name.clone(),
                source: settings.source.endpoint.address.clone(),
                target: settings.target.endpoint.address.clone(),
                transaction: settings.delivery == Delivery::ExactlyOnce,
                leader: shared.holder.clone(),
                progress: Arc::clone(&progress),
                log: log.clone(),
            });
            tasks.spawn(Pipeline::new(settings, log, catalog.clone(), progress, wishes.clone()).run());
        }
        let handle = Handle {
            inputs: Arc::new(inputs),
            wish: Arc::new(wish),
            space,
        };
        Ok(Supervisor {
            handle,
            tasks,
            _lock: lock,
        })
    }

    /// The handle.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
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
