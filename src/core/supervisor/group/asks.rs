//! What the rest of the process asks of the group, and what it knows of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::handing::Heir;
use super::{Access, Group, Settings, View, decide};
use crate::core::lease;

/// Another member is told that it may look within this time, or it looks by itself.
const TELL_LIMIT: Duration = Duration::from_secs(1);

/// Another member says within this time whether it reaches source and target; it looks itself.
const FIT_LIMIT: Duration = Duration::from_millis(2_500);

/// Who has given an input up, because it could not reach source or target, lets others go first for so long.
const SHUNNED_FOR: Duration = Duration::from_secs(30);

/// Inputs that are being gathered here are not given away for evenness for so long.
const GATHERED_FOR: Duration = Duration::from_secs(60);

/// The member to whom an input went.
pub(in crate::core::supervisor) type Answer = Result<String, NotHanded>;

/// An input was not handed over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotHanded {
    /// Another one leads it, or nobody does.
    #[error("this process does not lead it")]
    NotOurs,
    /// There is nobody to take it.
    #[error("there is no other member that could take over: {0}")]
    NoHeir(String),
    /// It stays where it was.
    #[error("{0}")]
    Failed(String),
}

/// What is asked of the group.
pub(in crate::core::supervisor) enum Ask {
    /// Who could get an input of ours, the best first.
    Heirs {
        input: String,
        tell: oneshot::Sender<Result<Vec<String>, NotHanded>>,
    },
    HandOver {
        input: String,
        heir: Heir,
        at_once: bool,
        tell: oneshot::Sender<Answer>,
    },
    Note {
        key: String,
        change: Change,
        tell: oneshot::Sender<Result<bool, lease::Error>>,
    },
    /// To look at once; told when that is done.
    Look(Option<oneshot::Sender<()>>),
}

/// What becomes of a note.
pub(in crate::core::supervisor) enum Change {
    Put(String),
    Create(String),
    Remove,
}

/// A process as a member of a group. Clones share it.
#[derive(Debug, Clone)]
pub struct Membership(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Settings,
    seen: watch::Sender<Option<Arc<View>>>,
    asks: mpsc::Sender<Ask>,
    shunned: Mutex<BTreeMap<String, Instant>>,
    /// Members that have not reached source or target lately.
    unfit: Mutex<BTreeMap<String, Instant>>,
    gathered_at: Mutex<Option<Instant>>,
}

impl Membership {
    pub(in crate::core::supervisor) fn new(settings: &Settings) -> (Membership, mpsc::Receiver<Ask>) {
        let (asks, asked) = mpsc::channel(16);
        let inner = Inner {
            settings: settings.clone(),
            seen: watch::Sender::new(None),
            asks,
            shunned: Mutex::default(),
            unfit: Mutex::default(),
            gathered_at: Mutex::default(),
        };
        (Membership(Arc::new(inner)), asked)
    }

    /// What this process goes by.
    #[must_use]
    pub fn me(&self) -> &str {
        &self.0.settings.record.id
    }

    /// How the members speak with each other.
    #[must_use]
    pub(super) fn access(&self) -> &Access {
        &self.0.settings.access
    }

    /// How long a lease lasts.
    #[must_use]
    pub fn lease_timeout(&self) -> Duration {
        self.0.settings.store.lease_timeout
    }

    pub(super) fn saw(&self, view: View) -> Arc<View> {
        let view = Arc::new(view);
        self.0.seen.send_replace(Some(Arc::clone(&view)));
        view
    }

    /// What the store said last.
    #[must_use]
    pub fn seen(&self) -> Option<Arc<View>> {
        self.0.seen.borrow().clone()
    }

    /// Waits until the store has said something.
    pub async fn has_seen(&self) -> Arc<View> {
        let mut seen = self.0.seen.subscribe();
        // The sender is this one's own, and there is something when it is woken.
        let view = seen
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|view| view.clone());
        view.unwrap_or_default()
    }

    /// The members that are there, without this one.
    #[must_use]
    pub fn others(&self) -> Vec<String> {
        let members = self
            .seen()
            .map(|view| view.members.keys().cloned().collect::<Vec<_>>());
        let mut others = members.unwrap_or_default();
        others.retain(|id| id != self.me());
        others
    }

    /// Hands an input over that this process leads, to that member or to the best that reaches source and target; gives the member that leads then.
    ///
    /// # Errors
    /// [`NotHanded`]: it stays where it was.
    pub async fn hand_over(&self, input: &str, to: Option<&str>, at_once: bool) -> Result<String, NotHanded> {
        let heir = match to {
            Some(to) => Heir::named(to),
            None => Heir::chosen(self.fit_heir(input).await?),
        };
        let input = input.to_owned();
        self.told(|tell| Ask::HandOver {
            input,
            heir,
            at_once,
            tell,
        })
        .await
    }

    /// The best of the others that reaches source and target. All are asked at once, for one that has died is a member until its session ends, and does not answer.
    async fn fit_heir(&self, input: &str) -> Result<String, NotHanded> {
        let name = input.to_owned();
        let heirs = self.told(|tell| Ask::Heirs { input: name, tell }).await?;
        if heirs.is_empty() {
            return Err(NotHanded::NoHeir("no other member follows it".to_owned()));
        }
        let asked = heirs.iter().map(|member| async move {
            let is_fit = self.is_fit(member, input).await;
            is_fit.then(|| member.clone())
        });
        let mut asked: FuturesOrdered<_> = asked.collect();
        while let Some(answer) = asked.next().await {
            if let Some(heir) = answer {
                return Ok(heir);
            }
        }
        Err(NotHanded::NoHeir(format!(
            "none of those that follow it reaches its source and target: {}",
            heirs.join(", ")
        )))
    }

    /// What the group says to this.
    async fn told<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<Result<T, NotHanded>>) -> Ask,
    ) -> Result<T, NotHanded> {
        let (tell, told) = oneshot::channel();
        let ended = || NotHanded::Failed("gunyu is stopping".to_owned());
        self.0.asks.send(ask(tell)).await.map_err(|_| ended())?;
        told.await.map_err(|_| ended())?
    }

    /// Lets the group look at the leases at once.
    pub fn look(&self) {
        // A full queue holds a look already.
        let _ = self.0.asks.try_send(Ask::Look(None));
    }

    /// The same, and waits until it is done, or for a while.
    pub async fn has_looked(&self) {
        let (tell, told) = oneshot::channel();
        let looked = async {
            if self.0.asks.send(Ask::Look(Some(tell))).await.is_ok() {
                // An error: the group has ended.
                let _ = told.await;
            }
        };
        // It looks by itself, too.
        let _ = tokio::time::timeout(TELL_LIMIT, looked).await;
    }

    /// Tells another member to look; `then` when it has, or cannot be told.
    pub(super) fn tell_to_look(&self, member: &str, then: impl FnOnce() + Send + 'static) {
        let (this, member) = (self.clone(), member.to_owned());
        tokio::spawn(async move {
            let call = ("POST", "/peer/look");
            if let Err(error) = this.ask(&member, call, &[], TELL_LIMIT * 2).await {
                tracing::debug!(%error, "a member could not be told to look; it does so by itself");
            }
            then();
        });
    }

    /// Writes a note that all members see.
    ///
    /// # Errors
    /// The store's.
    pub async fn put_note(&self, key: &str, text: &str) -> Result<(), lease::Error> {
        self.note(key, Change::Put(text.to_owned())).await.map(drop)
    }

    /// Writes a note unless there is one of that name; whether it was this one.
    ///
    /// # Errors
    /// The store's.
    pub async fn create_note(&self, key: &str, text: &str) -> Result<bool, lease::Error> {
        self.note(key, Change::Create(text.to_owned())).await
    }

    /// Removes a note.
    ///
    /// # Errors
    /// The store's.
    pub async fn remove_note(&self, key: &str) -> Result<(), lease::Error> {
        self.note(key, Change::Remove).await.map(drop)
    }

    async fn note(&self, key: &str, change: Change) -> Result<bool, lease::Error> {
        let (tell, told) = oneshot::channel();
        let key = key.to_owned();
        let ask = Ask::Note { key, change, tell };
        let sent = self.0.asks.send(ask).await.is_ok();
        match told.await {
            Ok(answer) if sent => answer,
            _ => Err(lease::Error::SessionLost),
        }
    }

    /// This process could not reach the input's source or target: others go first.
    pub(super) fn shun(&self, input: &str) {
        let until = Instant::now() + SHUNNED_FOR;
        unpoisoned(&self.0.shunned).insert(input.to_owned(), until);
    }

    /// Whether that member reaches the input's source and target.
    pub(super) async fn is_fit(&self, member: &str, input: &str) -> bool {
        let (call, query) = (("GET", "/peer/fit"), [("input", input)]);
        let asked = self.ask(member, call, &query, FIT_LIMIT).await;
        asked.is_ok_and(|answer| answer["fit"].as_bool() == Some(true))
    }

    /// That member gets no input for evenness for a while.
    pub(super) fn note_unfit(&self, member: &str) {
        let until = Instant::now() + SHUNNED_FOR;
        unpoisoned(&self.0.unfit).insert(member.to_owned(), until);
    }

    pub(super) fn is_unfit(&self, member: &str) -> bool {
        let mut unfit = unpoisoned(&self.0.unfit);
        unfit.retain(|_, until| Instant::now() < *until);
        unfit.contains_key(member)
    }

    pub(super) fn shunned(&self) -> Vec<String> {
        let mut shunned = unpoisoned(&self.0.shunned);
        shunned.retain(|_, until| Instant::now() < *until);
        shunned.keys().cloned().collect()
    }

    pub(super) fn shuns(&self, input: &str) -> bool {
        self.shunned().iter().any(|one| one == input)
    }

    /// Inputs are being gathered here: none of them is given away for a while.
    pub fn gather(&self) {
        *unpoisoned(&self.0.gathered_at) = Some(Instant::now());
    }

    pub(super) fn is_gathering(&self) -> bool {
        unpoisoned(&self.0.gathered_at).is_some_and(|at| at.elapsed() < GATHERED_FOR)
    }
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing can panic while it is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Group {
    pub(super) async fn hear(&mut self, ask: Ask) {
        match ask {
            Ask::Look(tell) => self.looks.extend(tell),
            Ask::Heirs { input, tell } => {
                let heirs = self.may_hand(&input).map(|()| self.heirs(&input));
                // Whoever asked may have gone.
                let _ = tell.send(heirs);
            }
            Ask::HandOver {
                input,
                heir,
                at_once,
                tell,
            } => match self.may_hand(&input).and_then(|()| self.may_get(&input, &heir)) {
                Ok(()) => self.begin_handing(&input, Some(heir), at_once, Some(tell)),
                Err(why) => drop(tell.send(Err(why))),
            },
            Ask::Note { key, change, tell } => {
                let done = match change {
                    Change::Put(text) => self.store.put_note(&key, &text).await.map(|()| true),
                    Change::Create(text) => self.store.create_note(&key, &text).await,
                    Change::Remove => self.store.remove_note(&key).await.map(|()| true),
                };
                // Whoever asked may have gone.
                let _ = tell.send(done);
            }
        }
    }

    /// Whether we can give the input away.
    fn may_hand(&self, input: &str) -> Result<(), NotHanded> {
        if !self.held.contains_key(input) {
            return Err(NotHanded::NotOurs);
        }
        if let Some(trouble) = &self.trouble {
            return Err(NotHanded::Failed(format!(
                "the store of leases cannot be asked: {trouble}"
            )));
        }
        Ok(())
    }

    /// Whether it can go there. One that we have chosen and that has gone since is found out when the lease is to go there.
    fn may_get(&self, input: &str, heir: &Heir) -> Result<(), NotHanded> {
        if !heir.is_named {
            return Ok(());
        }
        let to = &heir.id;
        let members = self.candidates();
        if to == self.me() {
            return Err(NotHanded::NoHeir(format!("{to} leads it already")));
        }
        match members.iter().find(|one| one.id == *to) {
            None => Err(NotHanded::NoHeir(format!(
                "the group has no member {to:?}; it has {}",
                members
                    .iter()
                    .map(|one| one.id.as_str())
                    .collect::<Vec<_>>()
                    .join(", ")
            ))),
            Some(member) if !member.ends.contains_key(input) => {
                Err(NotHanded::NoHeir(format!("{to} does not follow it")))
            }
            Some(_) => Ok(()),
        }
    }

    /// The other members that follow it, the best first.
    fn heirs(&self, input: &str) -> Vec<String> {
        let members = self.candidates();
        let history = self.input(input).and_then(|input| input.history());
        let heirs = decide::heirs(input, history.as_ref(), &members, self.me());
        heirs.into_iter().map(str::to_owned).collect()
    }

    /// The best of them, without those that have gone since they were last looked at.
    pub(super) fn next_heir(&self, input: &str, gone: &[String]) -> Option<String> {
        let mut heirs = self.heirs(input).into_iter();
        heirs.find(|id| !gone.contains(id))
    }
}
