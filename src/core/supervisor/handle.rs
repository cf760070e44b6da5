//! What can be done to running pipelines from outside.
//!
//! Promises that every call is safe to repeat and safe against the others: those that change something are decided one after the other, a pause
//! stands in the catalog before it holds, and a full sync that could not begin in time is withdrawn before the caller is told so.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{Mutex, watch};

use super::full_syncs::{Asked, BEGIN_LIMIT, FullSyncs, Verdict, verdict_on};
use super::garbage::{self, Collected};
use super::group::Membership;
use super::input::Input;
use super::selection::{Names, select};
use super::{Shared, catalog, sharing};
use crate::core::catalog::Catalog;
use crate::core::log::Space;
use crate::core::pipeline::Mode;
use crate::core::pipeline::orders::FlushCommand;
use crate::core::progress::State;
use crate::core::topology::Trouble;

/// A call was not carried out. Unless it says otherwise, nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A word names no input.
    #[error("there is no input {wanted:?}")]
    Unknown {
        /// The word.
        wanted: String,
        /// The inputs that there are.
        known: Vec<String>,
    },
    /// This process stands alone, and there is nobody to hand anything to.
    #[error("there is no other node that could take over: this gunyu runs alone")]
    Alone,
    /// The group has no such member.
    #[error("the group has no member {wanted:?}")]
    UnknownMember {
        /// The word.
        wanted: String,
        /// The members that there are.
        known: Vec<String>,
    },
    /// The member that leads the input refuses.
    #[error("{message}")]
    ByLeader {
        /// Its words.
        message: String,
        /// What to do.
        hint: String,
    },
    /// Some inputs were not handed over.
    #[error("not handed over: {}", listed(.failed))]
    NotHanded {
        /// Those that were, and the member that leads each now.
        done: Vec<(String, String)>,
        /// Those that were not, and why.
        failed: Vec<(String, String)>,
    },
    /// Emptying the target would delete what another input has written.
    #[error(
        "emptying the databases of {input} would delete the keys of {other}, which writes to the same target"
    )]
    WouldDelete {
        /// The input that was named.
        input: String,
        /// The one that was not.
        other: String,
    },
    /// The inputs are paused.
    #[error("paused: {}", .0.join(", "))]
    Paused(Vec<String>),
    /// Everything is being stopped.
    #[error("gunyu is stopping")]
    Stopping,
    /// What was asked cannot be done on a target.
    #[error("{}", listed(.0))]
    CannotBe(Vec<(String, String)>),
    /// Some full syncs could not begin.
    #[error("not begun: {}", listed(.failed))]
    NotBegun {
        /// Those that have begun all the same.
        begun: Vec<String>,
        /// Those that have not, and why.
        failed: Vec<(String, String)>,
        /// Some of what was asked may have been done on a target, and a full sync follows by itself there.
        in_part: bool,
    },
    /// What was asked could not be written down.
    #[error("{message}")]
    Failed {
        /// What happened.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
}

impl From<catalog::Error> for Refusal {
    fn from(error: catalog::Error) -> Refusal {
        Refusal::Failed {
            message: error.to_string(),
            hint: error.hint().map(str::to_owned),
        }
    }
}

/// Which inputs there are is not known yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unknown {
    /// What the one who looks met last.
    pub trouble: Option<Trouble>,
}

/// Reaches all pipelines. Clones share them.
#[derive(Debug, Clone)]
pub struct Handle {
    /// They come and go: nobody holds the list while he waits for something.
    inputs: Arc<RwLock<Vec<Input>>>,
    stopping: Arc<watch::Sender<bool>>,
    /// Why it is not known which inputs there are; nothing once it is.
    unknown: Arc<RwLock<Option<Unknown>>>,
    /// Whoever changes something holds it while he decides.
    changing: Arc<Mutex<()>>,
    /// One collection at a time. It asks targets, which may take long: nobody else waits for it.
    collecting: Arc<Mutex<()>>,
    shared: Arc<Shared>,
    catalog: Catalog,
    space: Arc<Space>,
    group: Option<Membership>,
    /// On which the pipelines run.
    runtime: tokio::runtime::Handle,
}

impl Handle {
    /// Called on the runtime of the pipelines.
    pub(crate) fn new(
        shared: Shared,
        catalog: Catalog,
        space: Arc<Space>,
        group: Option<Membership>,
    ) -> Handle {
        Handle {
            inputs: Arc::default(),
            stopping: Arc::new(watch::Sender::new(false)),
            unknown: Arc::default(),
            changing: Arc::default(),
            collecting: Arc::default(),
            shared: Arc::new(shared),
            catalog,
            space,
            group,
            runtime: tokio::runtime::Handle::current(),
        }
    }

    /// This process as a member of its group, where there is one.
    #[must_use]
    pub fn group(&self) -> Option<&Membership> {
        self.group.as_ref()
    }

    /// The inputs that there are now, where they are now: in the order of the configuration, or of their coming.
    #[must_use]
    pub fn inputs(&self) -> Vec<Input> {
        let inputs = self.inputs.read().unwrap_or_else(PoisonError::into_inner);
        inputs.iter().map(Input::as_of_now).collect()
    }

    /// The input whose pipeline has that name.
    #[must_use]
    pub fn input_named(&self, name: &str) -> Option<Input> {
        let inputs = self.inputs.read().unwrap_or_else(PoisonError::into_inner);
        inputs
            .iter()
            .find(|input| input.name() == name)
            .map(Input::as_of_now)
    }

    /// Whether it is known which inputs there are: those of a cluster have to be asked for.
    #[must_use]
    pub fn knows_its_inputs(&self) -> bool {
        self.unknown().is_none()
    }

    /// Why it is not known which inputs there are, as far as anything is known of that.
    #[must_use]
    pub fn unknown(&self) -> Option<Unknown> {
        self.unknown
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn set_unknown(&self, unknown: Option<Unknown>) {
        *self.unknown.write().unwrap_or_else(PoisonError::into_inner) = unknown;
    }

    /// Takes the input of that name out.
    pub(super) fn remove(&self, name: &str) {
        let mut inputs = self.inputs.write().unwrap_or_else(PoisonError::into_inner);
        inputs.retain(|input| input.name() != name);
    }

    /// Adds an input. A stop reaches it too, whichever of the two comes first.
    pub(super) fn add(&self, input: Input) {
        let mut inputs = self.inputs.write().unwrap_or_else(PoisonError::into_inner);
        if *self.stopping.borrow() {
            input.orders().set_mode(Mode::Stop);
        }
        inputs.push(input);
    }

    /// The inputs that are meant by `wanted`: `all`, or addresses between commas.
    ///
    /// # Errors
    /// [`Refusal::Unknown`].
    pub fn select(&self, wanted: &str) -> Result<Vec<Input>, Refusal> {
        let names = |input: &Input| Names {
            source: input.source.clone(),
            shard: input.nodes(),
        };
        let inputs = self.inputs();
        let known: Vec<Names> = inputs.iter().map(names).collect();
        let chosen = select(&known, wanted).map_err(|wanted| Refusal::Unknown {
            wanted,
            known: sources(&inputs),
        })?;
        Ok(chosen.into_iter().map(|place| inputs[place].clone()).collect())
    }

    /// Asks every pipeline to drain and end. Nothing can be asked of them afterwards.
    pub fn stop(&self) {
        // First the word, so that an input that is being added is stopped by one of the two.
        self.stopping.send_replace(true);
        self.inputs()
            .iter()
            .for_each(|input| input.orders().set_mode(Mode::Stop));
    }

    /// Whether somebody has asked for a stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Asks the pipeline of that name to end.
    pub(super) fn end(&self, name: &str) {
        let inputs = self.inputs();
        let input = inputs.iter().find(|input| input.name() == name);
        if let Some(input) = input {
            input.orders().set_mode(Mode::Stop);
        }
    }

    /// Waits until somebody has asked for a stop.
    pub async fn stopping(&self) {
        // An error means that the sender is gone, and with it everything that could be running.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// Lets every pipeline begin anew from its checkpoint; those that are paused stay so.
    ///
    /// # Errors
    /// [`Refusal::Stopping`].
    pub async fn restart(&self) -> Result<(), Refusal> {
        let _changing = self.changing.lock().await;
        self.refuse_while_stopping()?;
        self.inputs().iter().for_each(|input| input.orders().begin_anew());
        Ok(())
    }

    /// Stops the replay of these inputs; what the source sends is still received. Holds over restarts of the process.
    ///
    /// # Errors
    /// [`Refusal::Stopping`], [`Refusal::Failed`].
    pub async fn pause(&self, inputs: &[Input]) -> Result<(), Refusal> {
        self.set_paused(inputs, true).await?;
        self.tell_leaders(inputs, "/peer/look").await;
        Ok(())
    }

    /// Goes on with the replay of these inputs. One that is not paused goes on as it was.
    ///
    /// # Errors
    /// As [`Handle::pause`].
    pub async fn resume(&self, inputs: &[Input]) -> Result<(), Refusal> {
        self.set_paused(inputs, false).await?;
        self.tell_leaders(inputs, "/peer/resume").await;
        Ok(())
    }

    /// The same for an input of this process alone, for a member that was asked.
    ///
    /// # Errors
    /// As [`Handle::resume`].
    pub async fn resume_here(&self, input: Input) -> Result<(), Refusal> {
        self.set_paused(&[input], false).await
    }

    async fn set_paused(&self, inputs: &[Input], paused: bool) -> Result<(), Refusal> {
        let _changing = self.changing.lock().await;
        self.refuse_while_stopping()?;
        let (catalog, names) = (self.catalog.clone(), names(inputs));
        self.note_paused(&names, paused).await?;
        let noted = tokio::task::spawn_blocking(move || catalog.set_paused(&names, paused));
        noted.await.map_err(|error| Refusal::Failed {
            message: error.to_string(),
            hint: None,
        })??;
        for input in inputs {
            input
                .orders()
                .set_mode(if paused { Mode::Pause } else { Mode::Run });
            // One that stands still until a person has helped takes this for the help.
            if !paused && input.progress.status().state == State::Stop {
                input.orders().begin_anew();
            }
        }
        Ok(())
    }

    /// What another member was asked holds here as well.
    pub(super) fn set_mode_as_noted(&self, input: &Input, paused: bool) {
        let (catalog, name) = (self.catalog.clone(), input.name().to_owned());
        tokio::task::spawn_blocking(move || {
            if let Err(error) = catalog.set_paused(&[name], paused) {
                tracing::error!(%error, hint = error.hint(), "that an input is paused could not be written down");
            }
        });
        input
            .orders()
            .set_mode(if paused { Mode::Pause } else { Mode::Run });
    }

    /// In a group it holds for whoever leads.
    async fn note_paused(&self, names: &[String], paused: bool) -> Result<(), Refusal> {
        let Some(group) = &self.group else { return Ok(()) };
        for name in names {
            let key = format!("{}{name}", super::group::PAUSED);
            let text = if paused { super::group::NOTED } else { "no" };
            let noted = group.put_note(&key, text).await;
            noted.map_err(|error| Refusal::Failed {
                message: error.to_string(),
                hint: error.hint(),
            })?;
        }
        Ok(())
    }

    /// Begins a full sync of these inputs, by the table at the head; with `flush`, the command for it, every database of the target that they feed is
    /// emptied first. Returns when all have begun, or have certainly not.
    ///
    /// # Errors
    /// [`Refusal::Stopping`], [`Refusal::Paused`], [`Refusal::WouldDelete`]: nothing has changed. [`Refusal::NotBegun`]: those named as begun have.
    pub async fn full_sync_here(
        &self,
        inputs: &[Input],
        flush: Option<&FlushCommand>,
    ) -> Result<FullSyncs, Refusal> {
        let all = self.inputs();
        let groups = match flush {
            Some(_) => sharing::groups(&all).await,
            None => (0..all.len()).collect(),
        };
        // One that has gone since it was selected is in no group, and asked in vain: its orders are closed.
        let group = |input: &Input| {
            let place = all.iter().position(|one| one.name() == input.name());
            place.map_or(usize::MAX, |place| groups[place])
        };
        let asked = {
            let _changing = self.changing.lock().await;
            self.refuse_full_sync(inputs, flush.is_some(), (&all, &group))?;
            let of_these: Vec<usize> = inputs.iter().map(group).collect();
            Asked::place(inputs, &of_these, flush, BEGIN_LIMIT)
        };
        asked.begun().await
    }

    /// Whether a full sync of these with a flush would be refused: nothing may have changed then.
    pub(super) async fn check_full_sync(&self, inputs: &[Input]) -> Result<(), Refusal> {
        let all = self.inputs();
        let groups = sharing::groups(&all).await;
        let group = |input: &Input| {
            let place = all.iter().position(|one| one.name() == input.name());
            place.map_or(usize::MAX, |place| groups[place])
        };
        self.refuse_full_sync(inputs, true, (&all, &group))
    }

    fn refuse_full_sync(
        &self,
        inputs: &[Input],
        flush: bool,
        (all, group): (&[Input], &impl Fn(&Input) -> usize),
    ) -> Result<(), Refusal> {
        self.refuse_while_stopping()?;
        let paused: Vec<Input> = inputs
            .iter()
            .filter(|input| verdict_on(input, flush) == Verdict::Paused)
            .cloned()
            .collect();
        if !paused.is_empty() {
            return Err(Refusal::Paused(sources(&paused)));
        }
        if !flush {
            return Ok(());
        }
        for other in all
            .iter()
            .filter(|one| inputs.iter().all(|input| input.name() != one.name()))
        {
            let shares = |input: &&Input| group(input) == group(other);
            if let Some(input) = inputs.iter().find(shares) {
                return Err(Refusal::WouldDelete {
                    input: input.source.to_string(),
                    other: other.source.to_string(),
                });
            }
        }
        Ok(())
    }

    /// Removes the logs of inputs that are not configured any more, and their checkpoints where nobody has written them for long.
    ///
    /// # Errors
    /// [`Refusal::Failed`]: some of it may be done; calling again does the rest.
    pub async fn collect_garbage(&self) -> Result<Collected, Refusal> {
        let _collecting = self.collecting.lock().await;
        if !self.knows_its_inputs() {
            return Err(Refusal::Failed {
                message: "the source's shards are not known yet, so nobody can say what is stale".to_owned(),
                hint: Some("try again when gunyu status shows the inputs".to_owned()),
            });
        }
        garbage::collect(&self.shared, &self.catalog, self.group(), &self.inputs()).await
    }

    /// Bytes that all logs take, and their cap.
    #[must_use]
    pub fn storage_bytes(&self) -> (u64, u64) {
        (self.space.used_bytes(), self.space.max_bytes())
    }

    /// Tasks of the pipelines' runtime that have not ended.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.runtime.metrics().num_alive_tasks()
    }

    fn refuse_while_stopping(&self) -> Result<(), Refusal> {
        match self.is_stopping() {
            true => Err(Refusal::Stopping),
            false => Ok(()),
        }
    }
}

fn sources(inputs: &[Input]) -> Vec<String> {
    inputs.iter().map(|input| input.source.to_string()).collect()
}

fn names(inputs: &[Input]) -> Vec<String> {
    inputs.iter().map(|input| input.name().to_owned()).collect()
}

fn listed(failed: &[(String, String)]) -> String {
    let each: Vec<String> = failed
        .iter()
        .map(|(input, why)| format!("{input}: {why}"))
        .collect();
    each.join("; ")
}
