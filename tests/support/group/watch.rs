//! Who leads what, as the members themselves say: each is asked for its status all the time, in a thread of its own, and may
//! be silent.
//!
//! Of each input it is kept when somebody last said that he leads it, under the highest epoch so far. The time between that and the first word of
//! the next leader is *time without a leader*; the time between two questions is part of it. Where the next leader did not answer for a while before that
//! word, the time ends where his silence began: he may have led ever since.
//!
//! Two who lead under one epoch at the same time are a fault. One after the other is none: a store that has forgotten everything begins to
//! count anew, and the leader learns from the target that he must raise his number before he writes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::member::{Api, STATUS_LIMIT};

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(80);

/// Observers at work. Dropping them stops them.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    board: Mutex<Board>,
}

/// What was heard.
#[derive(Debug)]
pub struct Board {
    start: Instant,
    inputs: BTreeMap<String, Track>,
    /// Since when a member has not answered.
    silent: BTreeMap<usize, Instant>,
    /// Words of a leader whom a higher epoch had outranked already: one that woke up says so for a moment.
    outranked: u64,
    faults: Vec<String>,
    story: Vec<(Duration, String)>,
}

#[derive(Debug, Clone)]
struct Track {
    epoch: u64,
    leader: usize,
    heard: Instant,
    /// Who else has said that he leads under the same epoch.
    rival: Option<usize>,
    gaps: Vec<Duration>,
}

/// What one member says of one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The source node.
    pub input: String,
    /// Whether it leads it.
    pub leads: bool,
    /// Whom it believes the leader.
    pub leader: String,
    /// The lease's number, if it knows it.
    pub epoch: u64,
    /// `incremental`, `following`, …
    pub phase: String,
    /// What it has of the source's stream.
    pub received: u64,
}

impl Said {
    /// All inputs of a status.
    pub fn all(status: &Value) -> Vec<Said> {
        let inputs = status.as_array().map_or(&[][..], Vec::as_slice);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        inputs
            .iter()
            .map(|input| Said {
                input: text(&input["Input"]),
                leads: input["Role"] == "leader",
                leader: text(&input["Leader"]),
                epoch: input["Epoch"].as_u64().unwrap_or(0),
                phase: text(&input["Phase"]),
                received: input["Offset"]["Received"].as_u64().unwrap_or(0),
            })
            .collect()
    }
}

impl Watch {
    /// Asks all of these from now on.
    pub fn start(apis: &[Api]) -> Watch {
        let mut watch = Watch {
            shared: Arc::new(Shared {
                stop: AtomicBool::new(false),
                board: Mutex::new(Board::begin()),
            }),
            threads: Vec::new(),
        };
        apis.iter().for_each(|api| watch.add(api));
        watch
    }

    /// One more.
    pub fn add(&mut self, api: &Api) {
        let (member, api, shared) = (self.threads.len(), api.clone(), Arc::clone(&self.shared));
        self.threads.push(std::thread::spawn(move || {
            while !shared.stop.load(Ordering::SeqCst) {
                let asked = Instant::now();
                match api.status() {
                    Ok(status) => lock(&shared.board).hear(member, asked, &Said::all(&status)),
                    Err(_) if asked.elapsed() >= STATUS_LIMIT => lock(&shared.board).miss(member, asked),
                    // Nobody is there.
                    Err(_) => {}
                }
                std::thread::sleep(PAUSE);
            }
        }));
    }

    /// Something that the test did, for the story.
    pub fn note(&self, what: &str) {
        let mut board = lock(&self.shared.board);
        let at = board.start.elapsed();
        board.story.push((at, what.to_owned()));
    }

    /// What happened so far, a line each.
    pub fn story(&self) -> String {
        let board = lock(&self.shared.board);
        let line = |(at, what): &(Duration, String)| format!("{:8.3} s  {what}\n", at.as_secs_f64());
        board.story.iter().map(line).collect()
    }

    /// Two leaders of one input under one epoch at the same time.
    pub fn faults(&self) -> Vec<String> {
        lock(&self.shared.board).faults.clone()
    }

    /// The times without a leader, of all inputs.
    pub fn gaps(&self) -> Gaps {
        lock(&self.shared.board).gaps()
    }

    /// So many times the lead of an input has changed hands or epoch.
    pub fn takeovers(&self) -> usize {
        self.gaps().all.len()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
        if std::thread::panicking() {
            eprintln!("what happened:\n{}", self.story());
        }
    }
}

impl Board {
    /// Nothing yet.
    pub fn begin() -> Board {
        Board {
            start: Instant::now(),
            inputs: BTreeMap::new(),
            silent: BTreeMap::new(),
            outranked: 0,
            faults: Vec::new(),
            story: Vec::new(),
        }
    }

    /// The times without a leader, of all inputs.
    pub fn gaps(&self) -> Gaps {
        let mut all: Vec<Duration> = self
            .inputs
            .values()
            .flat_map(|track| track.gaps.clone())
            .collect();
        all.sort_unstable();
        Gaps {
            all,
            outranked: self.outranked,
        }
    }

    /// Two leaders of one input under one epoch at the same time.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    /// A member that was asked at this moment is there, and did not answer.
    pub fn miss(&mut self, member: usize, asked: Instant) {
        self.silent.entry(member).or_insert(asked);
    }

    /// What a member answered when it was asked at this moment.
    pub fn hear(&mut self, member: usize, asked: Instant, said: &[Said]) {
        let first_asked = self.silent.remove(&member).unwrap_or(asked);
        for said in said.iter().filter(|said| said.leads) {
            let track = self.inputs.get_mut(&said.input);
            let Some(track) = track else {
                self.tell(format!(
                    "{}: member {member} leads, epoch {}",
                    said.input, said.epoch
                ));
                let track = Track {
                    epoch: said.epoch,
                    leader: member,
                    heard: asked,
                    rival: None,
                    gaps: Vec::new(),
                };
                self.inputs.insert(said.input.clone(), track);
                continue;
            };
            if said.epoch < track.epoch {
                self.outranked += 1;
                continue;
            }
            if said.epoch == track.epoch && member != track.leader {
                track.rival = Some(member);
                continue;
            }
            if said.epoch == track.epoch
                && let Some(rival) = track.rival.take()
            {
                self.faults.push(format!(
                    "{}: members {rival} and {member} both lead under epoch {}",
                    said.input, said.epoch
                ));
            }
            if said.epoch > track.epoch {
                let gap = first_asked.saturating_duration_since(track.heard);
                let before = std::mem::replace(&mut track.leader, member);
                (track.epoch, track.rival) = (said.epoch, None);
                track.gaps.push(gap);
                self.tell(format!(
                    "{}: member {member} leads after {before}, epoch {}, {gap:.2?} without a leader",
                    said.input, said.epoch
                ));
            }
            // It was there when it was asked; the answer may have taken long.
            if let Some(track) = self.inputs.get_mut(&said.input) {
                track.heard = track.heard.max(asked);
            }
        }
    }

    fn tell(&mut self, what: String) {
        self.story.push((self.start.elapsed(), what));
    }
}

fn lock(board: &Mutex<Board>) -> MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Times without a leader, ascending.
#[derive(Debug, Clone)]
pub struct Gaps {
    all: Vec<Duration>,
    outranked: u64,
}

impl Gaps {
    /// All of them, ascending.
    pub fn all(&self) -> &[Duration] {
        &self.all
    }

    /// Words of a leader whom a higher epoch had outranked already: one that woke up says so for a moment.
    pub fn outranked(&self) -> u64 {
        self.outranked
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        self.all.last().copied().unwrap_or_default()
    }

    fn part(&self, percent: usize) -> Duration {
        let last = self.all.len().saturating_sub(1);
        self.all.get(last * percent / 100).copied().unwrap_or_default()
    }
}

impl std::fmt::Display for Gaps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} takeovers; without a leader: p50 {:.2?}, p95 {:.2?}, max {:.2?}; words of an outranked leader: {}",
            self.all.len(),
            self.part(50),
            self.part(95),
            self.max(),
            self.outranked
        )
    }
}
