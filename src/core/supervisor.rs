//! All pipelines of a process, and the handle by which commands and the API reach them.
//!
//! Owns the folder's lock, the catalog, the cap on all logs together, and the tasks of the pipelines. Promises that one pipeline's end does not end
//! another, and that a stop waits for each to drain. Leaves what a pipeline does to [`super::pipeline`].

mod full_syncs;
mod garbage;
pub mod group;
mod handle;
mod input;
mod leaving;
mod mirror;
mod naming;
mod post;
mod selection;
mod shards;
mod sharing;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

use super::catalog::{self, Catalog};
use super::log::disk::FolderLock;
use super::log::{self, Log, Space};
use super::net::Endpoint;
use super::pipeline::orders::FlushCommand;
use super::pipeline::{Fatal, Mode, Orders, Settings, Tenure};
use super::progress::Progress;
use super::topology::{self, Place};

pub use full_syncs::{Asked, FullSyncs};
pub use garbage::Collected;
pub use handle::{Handle, Refusal, Unknown};
pub use input::Input;
use post::{Post, Seat};
pub use shards::Shards;

/// A cluster that could not be asked is asked again after this.
const LOOK_PAUSE: Duration = Duration::from_millis(500);

/// The store of a group's leases is waited for so long, before the inputs are called unknown for now.
const STORE_LIMIT: Duration = Duration::from_secs(3);

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
    /// The group, where several processes stand in for each other.
    pub group: Option<Arc<group::Settings>>,
}

/// What is followed.
#[derive(Debug, Clone)]
pub enum Sources {
    /// Servers, each with a pipeline of its own.
    Each(Vec<Settings>),
    /// A cluster, each of its shards with one.
    Shards(Box<Shards>),
}

impl Sources {
    /// Changes how every pipeline works.
    pub fn each(&mut self, change: impl Fn(&mut Settings)) {
        match self {
            Sources::Each(settings) => settings.iter_mut().for_each(change),
            Sources::Shards(shards) => change(&mut shards.template),
        }
    }

    /// The pipelines as they would begin now, with the addresses that source and target have: for those who only want to look.
    ///
    /// # Errors
    /// Where a source or a target is cannot be found out, or not within so long.
    pub async fn find(self, within: Duration) -> Result<Vec<Settings>, NotFound> {
        let found = async {
            let mut all = match self {
                Sources::Each(settings) => settings,
                Sources::Shards(shards) => shards::Watch::new(*shards, None, None).first().await?,
            };
            for one in &mut all {
                one.source.endpoint = found(&mut one.source_place).await?;
                one.target.endpoint = found(&mut one.target_place).await?;
            }
            Ok(all)
        };
        let late = |_| {
            Err(NotFound {
                message: format!(
                    "not found within {} s where source and target are",
                    within.as_secs()
                ),
                hint: None,
            })
        };
        tokio::time::timeout(within, found).await.unwrap_or_else(late)
    }
}

/// Where a server is now.
///
/// # Errors
/// The one who watches looks in vain.
pub async fn found(place: &mut Place) -> Result<Endpoint, NotFound> {
    let trouble = place.clone();
    tokio::select! {
        biased;
        endpoint = place.known() => Ok(endpoint),
        () = trouble.is_troubled() => {
            let trouble = trouble.trouble();
            Err(NotFound {
                hint: trouble.as_ref().and_then(|trouble| trouble.hint.clone()),
                message: trouble.map_or_else(String::new, |trouble| trouble.message),
            })
        }
    }
}

/// Where a server is could not be found out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct NotFound {
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl From<topology::Error> for NotFound {
    fn from(error: topology::Error) -> NotFound {
        NotFound {
            message: error.to_string(),
            hint: error.hint(),
        }
    }
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
    /// The cluster cannot be asked for its shards, and the pipelines were to begin within a time.
    #[error(transparent)]
    Topology(#[from] topology::Error),
    /// This process cannot be a member of its group.
    #[error(transparent)]
    Group(#[from] group::Unfit),
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
            Error::Topology(error) => error.hint(),
            Error::Group(unfit) => unfit.hint.clone(),
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
    /// Pipelines by their names.
    tasks: JoinSet<(String, Result<(), Fatal>)>,
    /// What changes in a cluster that is followed.
    changes: Option<mpsc::Receiver<shards::Change>>,
    watching: Option<AbortHandle>,
    /// The member at work, where there is a group.
    group: Option<JoinHandle<Result<(), group::Unfit>>>,
    /// Held until the end: nobody else may use the folder.
    _lock: FolderLock,
}

impl Supervisor {
    /// Locks the folder, opens the logs and starts a pipeline for each of `sources`. Those that were paused stay so. A cluster that cannot be
    /// asked is asked again later, unless the pipelines are to begin within a time.
    ///
    /// # Errors
    /// The folder cannot be used, or another process uses it. The cluster refuses, and a person must mend it.
    pub async fn start(shared: &Shared, sources: Sources, begin: &Begin) -> Result<Supervisor, Error> {
        let lock = FolderLock::take(&shared.root, &shared.holder)?;
        let catalog = Catalog::open(&shared.root)?;
        let space = Space::new(shared.max_bytes);
        let (membership, asked) = shared.group.as_deref().map(group::Membership::new).unzip();
        let handle = Handle::new(
            shared.clone(),
            catalog.clone(),
            Arc::clone(&space),
            membership.clone(),
        );
        let group = shared.group.as_deref().zip(membership).zip(asked);
        let group = group.map(|((settings, membership), asked)| {
            let group = group::Group::new(settings, handle.clone(), asked, membership);
            tokio::spawn(group.run())
        });
        let mut supervisor = Supervisor {
            handle,
            shared: shared.clone(),
            catalog,
            space,
            asked: None,
            tasks: JoinSet::new(),
            changes: None,
            watching: None,
            group,
            _lock: lock,
        };
        let (settings, watch) = match sources {
            Sources::Each(settings) => (settings, None),
            Sources::Shards(shards) => supervisor.first_look(*shards, begin).await?,
        };
        let mut posts = Vec::new();
        for settings in settings {
            posts.push(supervisor.open(settings).await?);
        }
        supervisor.asked = Some(match begin {
            Begin::Resume => Asked::default(),
            Begin::FullSync { flush, within } => {
                let inputs = supervisor.handle.inputs();
                let groups = sharing::groups(&inputs).await;
                Asked::place(&inputs, &groups, flush.as_ref(), *within)
            }
        });
        for post in posts {
            supervisor.spawn(post);
        }
        if let Some(watch) = watch {
            let (tell, changes) = mpsc::channel(1);
            let watching = tokio::spawn(watch.run(supervisor.handle(), tell));
            (supervisor.changes, supervisor.watching) = (Some(changes), Some(watching.abort_handle()));
        }
        Ok(supervisor)
    }

    /// The shards that there are at the beginning.
    async fn first_look(
        &self,
        shards: Shards,
        begin: &Begin,
    ) -> Result<(Vec<Settings>, Option<shards::Watch>), Error> {
        let group = self.handle.group().cloned();
        let mut watch = shards::Watch::new(shards, Some(self.catalog.clone()), group.clone());
        if let Some(group) = group
            && tokio::time::timeout(STORE_LIMIT, group.has_seen()).await.is_err()
        {
            self.handle.set_unknown(Some(Unknown {
                trouble: Some(topology::Trouble {
                    message: "the store of leases does not answer yet".to_owned(),
                    hint: None,
                    needs_a_person: false,
                }),
            }));
            return Ok((Vec::new(), Some(watch)));
        }
        let until = match begin {
            Begin::Resume => Instant::now(),
            Begin::FullSync { within, .. } => Instant::now() + *within,
        };
        loop {
            match watch.first().await {
                Ok(settings) => return Ok((settings, Some(watch))),
                Err(error) if error.needs_a_person() => return Err(error.into()),
                Err(_) if Instant::now() < until => tokio::time::sleep(LOOK_PAUSE).await,
                Err(error) if *begin == Begin::Resume => {
                    tracing::warn!(
                        hint = error.hint(),
                        "the cluster cannot be looked at yet: {error}"
                    );
                    self.handle.set_unknown(Some(Unknown {
                        trouble: Some(topology::Trouble::from(&error)),
                    }));
                    return Ok((Vec::new(), Some(watch)));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn spawn(&mut self, post: Post) {
        let name = post.name().to_owned();
        self.tasks
            .spawn(async move { (name, Box::pin(post.keep()).await) });
    }

    /// Opens the log of a new input, and makes it known. Its pipeline does not run yet.
    async fn open(&self, settings: Settings) -> Result<Post, Error> {
        if self.handle.inputs().iter().any(|one| one.name() == settings.name) {
            return Err(Error::SameName(settings.name));
        }
        let log = open_log(&self.shared, &settings, &self.catalog, &self.space).await?;
        let progress = Progress::new();
        let orders = Orders::new(match self.catalog.paused(&settings.name)? {
            true => Mode::Pause,
            false => Mode::Run,
        });
        let seat = self.handle.group().map(|group| {
            // Nobody leads before the store has said so.
            orders.set_tenure(Tenure::Follows);
            Seat {
                chair: post::Chair::new(),
                board: Arc::default(),
                group: group.clone(),
            }
        });
        let holder = (self.shared.holder.as_str(), seat.as_ref());
        self.handle
            .add(Input::new(&settings, holder, &progress, &orders, &log));
        Ok(Post {
            settings,
            log,
            catalog: self.catalog.clone(),
            progress,
            orders,
            seat,
        })
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

    /// Waits until all pipelines have ended; where a cluster is followed, until somebody has asked for a stop besides. May be called again.
    ///
    /// # Errors
    /// One met a trouble at its first contact that needs a person; the others are stopped then.
    pub async fn run(&mut self) -> Result<(), Error> {
        let mut result = Ok(());
        let handle = self.handle.clone();
        loop {
            let may_grow = self.changes.is_some() && !handle.is_stopping();
            if self.tasks.is_empty() && !may_grow && self.group.is_none() {
                return result;
            }
            tokio::select! {
                Some(ended) = group_ended(&mut self.group) => {
                    self.group = None;
                    let why = match ended {
                        Ok(Ok(())) => continue,
                        Ok(Err(unfit)) => Error::Group(unfit),
                        Err(error) => Error::Bug(error.to_string()),
                    };
                    self.handle.stop();
                    result = Err(why);
                }
                Some(ended) = self.tasks.join_next() => match ended {
                    Ok((name, Ok(()))) => self.has_ended(&name),
                    Ok((_, Err(fatal))) => {
                        self.handle.stop();
                        result = Err(Error::Fatal(fatal));
                    }
                    Err(error) => {
                        self.handle.stop();
                        result = Err(Error::Bug(error.to_string()));
                    }
                },
                Some(change) = next(&mut self.changes), if may_grow => self.carry_out(change).await,
                () = handle.stopping(), if may_grow => {}
            }
        }
    }

    /// A pipeline that ends while the others go on was drained: its input is no more.
    fn has_ended(&self, name: &str) {
        if self.changes.is_some() && !self.handle.is_stopping() {
            tracing::info!(name, "drained: the input is gone");
            self.handle.remove(name);
        }
    }

    async fn carry_out(&mut self, change: shards::Change) {
        match change {
            shards::Change::Begins(settings, tell) => {
                let name = settings.name.clone();
                let opened = self.open(*settings).await;
                // Whoever asks is gone only where everything is.
                let _ = tell.send(opened.is_ok());
                match opened {
                    Ok(post) => self.spawn(post),
                    Err(error) => {
                        tracing::error!(
                            name,
                            hint = error.hint(),
                            "a new shard's pipeline cannot begin: {error}"
                        );
                    }
                }
            }
            shards::Change::Ends(name) => self.handle.end(&name),
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if let Some(watching) = &self.watching {
            watching.abort();
        }
        if let Some(group) = &self.group {
            group.abort();
        }
    }
}

/// How the member ended; for ever nothing where there is none.
async fn group_ended(
    group: &mut Option<JoinHandle<Result<(), group::Unfit>>>,
) -> Option<Result<Result<(), group::Unfit>, tokio::task::JoinError>> {
    match group {
        Some(group) => Some(group.await),
        None => std::future::pending().await,
    }
}

/// The next change; for ever nothing where none can come.
async fn next(changes: &mut Option<mpsc::Receiver<shards::Change>>) -> Option<shards::Change> {
    match changes {
        Some(changes) => changes.recv().await,
        None => std::future::pending().await,
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
        Err(error) if error.is_damage() => {
            tracing::error!(%error, "the log cannot be trusted and is dropped; the checkpoint on the target decides where to go on");
            Ok(Log::open_empty(settings, space).await?)
        }
        Err(error) => Err(error.into()),
    }
}
