//! The follower's side: keeps its log a warm copy of the leader's, whoever that is.
//!
//! Owns the link to the leader and its reconnects. Promises to ask from its own log's end, so that nothing is fetched twice and nothing is missed; that a link that
//! says nothing for [`SILENCE_MAX`] is given up; and that a leader that changes, and a stop, are heeded at once, though never in the middle of a
//! change to the log. Leaves to [`super::copy`] what a frame does, to the caller who leads.
//!
//! | the link ended because | next |
//! | --- | --- |
//! | there is another leader | asks that one at once |
//! | the leader has ended it (its log began anew, it stops) | asks again; at once where the link had brought something |
//! | it broke, was silent, a byte was damaged | pauses, 100 ms to 1 s; asks from the log's end, or where a snapshot broke off, for what there is |
//! | the log is full | asks again after a second or when there is room: the leader says first of all what may be released |
//! | a snapshot does not fit | asks without snapshots: it gets the stream once the leader is live |
//! | the log's disk failed | asks for what it needs to begin anew |
//! | refused | pauses; 503 is no trouble, the rest is shown: also that there is more here than the leader has, until it has as much |

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::copy::{self, Copy, Finishing};
use super::wire::Standing;
use super::words::words;
use super::{Ask, Error};
use crate::core::log::{self, Log};
use crate::core::net::Endpoint;
use crate::core::net::http::{self, Body, Opened, Request};
use crate::core::pipeline::backoff::Backoff;
use crate::core::progress::{Phase, Progress};

/// How long connecting, and the head of an answer, may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// How long the leader may say nothing: some signs of life may be late.
pub const SILENCE_MAX: Duration = Duration::from_secs(5);
/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// A full log is tried again at once when so much is free, or a quarter of a cap that is small.
const ROOM_BYTES: u64 = 4 << 20;
/// What is read of a refusal.
const REFUSAL_BYTES_MAX: usize = 4 << 10;

/// Whom to follow.
#[derive(Clone, PartialEq, Eq)]
pub struct Leader {
    /// Where its peers' port is.
    pub endpoint: Endpoint,
    /// What is sent as `Authorization`, whole.
    pub authorization: Option<String>,
}

/// The token is not for traces.
impl fmt::Debug for Leader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leader")
            .field("endpoint", &self.endpoint)
            .field("has_token", &self.authorization.is_some())
            .finish()
    }
}

/// What is known of the leader by its own word. It stays when the link ends, and says then how old it is.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// The link is up.
    pub is_linked: bool,
    /// How far it was.
    pub standing: Option<Standing>,
    /// When it said so.
    pub at: Option<Instant>,
    /// What it knows of commands that cross slots or shards, as JSON; empty where it has said nothing.
    pub windows: Arc<str>,
}

/// Keeps one log a copy.
#[derive(Debug)]
pub struct Follower {
    input: String,
    log: Log,
    progress: Arc<Progress>,
    heard: watch::Sender<Heard>,
    finishing: Option<Finishing>,
    /// What the log holds is of no use.
    begins_anew: bool,
    /// The last snapshot did not fit.
    is_too_small: bool,
    /// What was said last in the traces, so that it is said once.
    said: Option<String>,
}

enum End {
    Stopped,
    OtherLeader,
    /// By the leader, in good order.
    Ended,
    Refused {
        status: u16,
        message: String,
    },
    Failed(Error),
}

impl Follower {
    /// One that has not begun, for the input of that name. Nobody else may write to the log while it runs.
    #[must_use]
    pub fn new(input: &str, log: &Log, progress: &Arc<Progress>) -> Follower {
        Follower {
            input: input.to_owned(),
            log: log.clone(),
            progress: Arc::clone(progress),
            heard: watch::Sender::new(Heard::default()),
            finishing: None,
            begins_anew: false,
            is_too_small: false,
            said: None,
        }
    }

    /// What the leader says.
    #[must_use]
    pub fn heard(&self) -> watch::Receiver<Heard> {
        self.heard.subscribe()
    }

    /// Follows whoever leads until `stop` is true; waits while nobody does. May be run again afterwards.
    pub async fn run(
        &mut self,
        mut leader: watch::Receiver<Option<Leader>>,
        mut stop: watch::Receiver<bool>,
    ) {
        self.progress.set_phase(Phase::Following);
        self.progress.set_link(false);
        if let Some(extent) = self.log.extent() {
            drop(self.progress.begin_history(extent.end));
        }
        let mut backoff = Backoff::new();
        while let Some(now) = next_leader(&mut leader, &mut stop).await {
            let began = Instant::now();
            let (end, has_moved) = self.link(&now, &mut leader, &mut stop).await;
            self.progress.set_link(false);
            if has_moved || began.elapsed() > Duration::from_secs(10) {
                backoff.reset();
                self.said = None;
            }
            let waits = self.judge(&end, has_moved, &mut backoff);
            // Last: whoever hears it finds the rest told.
            self.heard.send_modify(|heard| heard.is_linked = false);
            if matches!(end, End::Stopped) {
                return;
            }
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                () = changed(&mut leader) => backoff.reset(),
                () = pause(waits, &self.log) => {}
            }
        }
    }

    /// What to do before the next link.
    fn judge(&mut self, end: &End, has_moved: bool, backoff: &mut Backoff) -> Wait {
        let (message, hint) = match end {
            End::Stopped | End::OtherLeader => return Wait::Not,
            End::Ended if has_moved => return Wait::Not,
            End::Ended | End::Refused { status: 503, .. } => {
                return Wait::For(backoff.pause().min(PAUSE_MAX));
            }
            End::Refused { status, message } => (message.clone(), refusal_hint(*status)),
            End::Failed(error) => (error.to_string(), error.hint()),
        };
        self.say(message, hint);
        match end {
            End::Failed(Error::Log(log::Error::Full { .. })) => Wait::ForRoom,
            _ => Wait::For(backoff.pause().min(PAUSE_MAX)),
        }
    }

    fn say(&mut self, message: String, hint: Option<String>) {
        let is_new = self.said.as_ref() != Some(&message);
        if is_new {
            tracing::warn!(input = %self.input, hint = hint.as_deref(), "the leader's log is not copied just now: {message}");
            self.said = Some(message.clone());
        }
        self.progress.report(message, hint);
    }

    /// One link, from the question to its end, and whether it has brought something.
    async fn link(
        &mut self,
        now: &Leader,
        leader: &mut watch::Receiver<Option<Leader>>,
        stop: &mut watch::Receiver<bool>,
    ) -> (End, bool) {
        let opened = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return (End::Stopped, false),
            () = changed(leader) => return (End::OtherLeader, false),
            opened = self.open(now) => opened,
        };
        let mut body = match opened {
            Ok(body) => body,
            Err(end) => return (end, false),
        };
        let mut copy = Copy::new(&self.log, &self.progress, &self.heard, self.begins_anew);
        let end = loop {
            // The stop and the leader first: no amount of data may put them off.
            let bytes = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break End::Stopped,
                () = changed(leader) => break End::OtherLeader,
                finished = finished(&mut copy.finishing) => match finished {
                    Ok(()) => continue,
                    Err(error) => break End::Failed(error.into()),
                },
                bytes = body.next(SILENCE_MAX) => bytes,
            };
            let taken = match bytes {
                Ok(Some(bytes)) => copy.take(&bytes).await,
                Ok(None) => break End::Ended,
                Err(error) => Err(error.into()),
            };
            if let Err(error) = taken {
                break End::Failed(error);
            }
        };
        self.finishing = copy.finishing.take();
        self.learn(&end, &copy);
        (end, copy.has_moved)
    }

    /// What the next question must heed.
    fn learn(&mut self, end: &End, copy: &Copy) {
        let half = copy.half_a_snapshot();
        if copy.has_begun() {
            self.begins_anew = false;
            // A snapshot that did not fit once may be asked for again after a live leader has been followed.
            self.is_too_small &= half.is_none() && !copy.has_moved;
        }
        if let Some(bytes) = half {
            tracing::info!(input = %self.input, bytes, "the leader's snapshot broke off, and is begun anew");
        }
        match end {
            End::Failed(Error::Log(log::Error::Full { .. } | log::Error::NoSpace { .. }))
                if half.is_some() =>
            {
                self.is_too_small = true;
            }
            End::Failed(Error::Log(log::Error::Broken(_) | log::Error::Rot { .. })) => {
                self.begins_anew = true;
            }
            End::Stopped | End::OtherLeader | End::Ended | End::Refused { .. } | End::Failed(_) => {}
        }
    }

    /// Asks, and reads the answer's head.
    async fn open(&mut self, leader: &Leader) -> Result<Body, End> {
        // What the log holds is known only once its snapshot is whole, or is not.
        if let Err(error) = whole(&mut self.finishing).await {
            return Err(End::Failed(error.into()));
        }
        let ask = copy::ask(&self.log, self.begins_anew, self.is_too_small);
        let path = path(&self.input, &ask);
        let request = Request {
            method: "GET",
            path: &path,
            authorization: leader.authorization.as_deref(),
            ..Request::default()
        };
        let Opened { status, body } = http::open(&leader.endpoint, request, ANSWER_LIMIT)
            .await
            .map_err(|error| End::Failed(error.into()))?;
        match status {
            200 => Ok(body),
            status => Err(End::Refused {
                status,
                message: format!(
                    "{} refuses ({status}): {}",
                    leader.endpoint.address,
                    said(body).await
                ),
            }),
        }
    }
}

/// How the next try is put off.
#[derive(Debug, Clone, Copy)]
enum Wait {
    Not,
    For(Duration),
    ForRoom,
}

async fn pause(wait: Wait, log: &Log) {
    match wait {
        Wait::Not => {}
        Wait::For(pause) => sleep(pause).await,
        Wait::ForRoom => {
            let space = log.space();
            let room = space.wait_for_room(ROOM_BYTES.min(space.max_bytes() / 4));
            // Room comes when another log gives some; or the leader's checkpoint has moved, which only asking tells. Where releasing itself fails
            // there is the pause as well.
            match timeout(PAUSE_MAX, room).await {
                Ok(Ok(())) | Err(_) => {}
                Ok(Err(_)) => sleep(PAUSE_MAX).await,
            }
        }
    }
}

/// Who leads, once somebody does; nothing when it is to stop.
async fn next_leader(
    leader: &mut watch::Receiver<Option<Leader>>,
    stop: &mut watch::Receiver<bool>,
) -> Option<Leader> {
    loop {
        if let Some(now) = leader.borrow_and_update().clone() {
            return (!*stop.borrow()).then_some(now);
        }
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return None,
            () = changed(leader) => {}
        }
    }
}

/// Waits until somebody else leads, or nobody. Where nobody can say so any more, the one that leads stays.
async fn changed(leader: &mut watch::Receiver<Option<Leader>>) {
    if leader.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Waits for a snapshot to be made durable; for ever where none is.
async fn finished(finishing: &mut Option<Finishing>) -> Result<(), log::Error> {
    if finishing.is_none() {
        std::future::pending::<()>().await;
    }
    whole(finishing).await
}

/// As [`finished`], but at once where none is.
async fn whole(finishing: &mut Option<Finishing>) -> Result<(), log::Error> {
    let Some(task) = finishing else { return Ok(()) };
    let outcome = task.await.unwrap_or(Err(log::Error::ShutDown));
    *finishing = None;
    outcome
}

fn path(input: &str, ask: &Ask) -> String {
    let mut query = form_urlencoded::Serializer::new(String::from("/peer/log?"));
    query.append_pair("input", input);
    if let Some(end) = ask.end {
        query.append_pair("replid", end.id.as_str());
        query.append_pair("offset", &end.offset.to_string());
    }
    match (ask.is_without_snapshots, ask.snapshot) {
        (true, _) => drop(query.append_pair("snapshot", "no")),
        (false, Some(offset)) => drop(query.append_pair("snapshot", &offset.to_string())),
        (false, None) => {}
    }
    query.finish()
}

/// The beginning of what a refusal says.
async fn said(mut body: Body) -> String {
    let mut said = Vec::new();
    while said.len() < REFUSAL_BYTES_MAX {
        match body.next(ANSWER_LIMIT).await {
            Ok(Some(bytes)) => said.extend_from_slice(&bytes),
            Ok(None) | Err(_) => break,
        }
    }
    said.truncate(REFUSAL_BYTES_MAX);
    words(&said)
}

fn refusal_hint(status: u16) -> Option<String> {
    let text = match status {
        401 => "give all members of the group the same cluster.token",
        403 | 421 => "list the name under which members reach each other in server.allowedHosts of each",
        404 => "run the same version of gunyu, with the same configuration, on all members of the group",
        409 => {
            "the log here is newer than the leader's; it is kept, and counts when a leader is chosen the next time"
        }
        _ => return None,
    };
    Some(text.to_owned())
}
