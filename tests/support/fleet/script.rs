//! Events in seeded order while writers run, and the question at the end: do both sides hold the same?
//!
//! A failure prints the seed and what happened when.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::load::{Load, Rate};
use super::sentinel::Watched;
use super::{Fleet, LONG, Shape, equal};
use crate::support::server::Server;
use crate::support::workload::Seed;
use crate::support::{Gunyu, SOON};

/// Something that happens to one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A master hands over to a replica.
    FailOver,
    /// A master is killed, a replica elected, and the killed one comes back as a replica.
    Crash,
    /// So many slots move from one shard to another; the next such event moves them back.
    Reshard(usize),
    /// A shard joins and gets so many slots; the next such event takes it out again.
    Shard(usize),
    /// A master is killed, forgotten, and a fresh node takes its place as a replica.
    Replace,
}

/// A side of a copy, to which something can happen.
pub trait Changing: Shape {
    /// Makes it happen, to the shard that `choice` names, and waits until it is over. Nodes that leave are shut down only when
    /// `drained`, which is told their addresses, has come back.
    fn change(&mut self, change: Change, choice: usize, drained: &mut dyn FnMut(&[String]));
}

impl Changing for Fleet {
    fn change(&mut self, change: Change, choice: usize, drained: &mut dyn FnMut(&[String])) {
        let mut masters = self.masters_at();
        if matches!(change, Change::Reshard(_)) {
            // A guest has few slots: one that gives away its last ceases to be a shard.
            masters.retain(|master| Some(self.members[*master]) != self.guest);
        }
        let (one, other) = (
            masters[choice % masters.len()],
            masters[(choice + 1) % masters.len()],
        );
        match change {
            Change::FailOver => {
                self.fail_over(one);
            }
            Change::Crash => {
                self.crash_and_revive(one);
            }
            Change::Reshard(_) if self.is_resharded() => self.reshard_back(),
            Change::Reshard(slots) => self.reshard(one, other, slots),
            Change::Shard(slots) => match self.guest.take() {
                Some(guest) => self.remove_shard(self.master_of(guest), drained),
                None => {
                    let guest = self.add_shard(slots);
                    self.guest = Some(self.members[guest]);
                }
            },
            Change::Replace => {
                let heir = self.crash(one);
                self.replace(one, heir);
            }
        }
    }
}

impl Changing for Watched {
    fn change(&mut self, change: Change, _choice: usize, _drained: &mut dyn FnMut(&[String])) {
        match change {
            Change::FailOver => self.fail_over(),
            Change::Crash => self.crash_and_revive(),
            other => panic!("sentinels know no {other:?}"),
        };
    }
}

impl Changing for Server {
    fn change(&mut self, change: Change, _choice: usize, _drained: &mut dyn FnMut(&[String])) {
        panic!("{change:?} cannot happen to a server that is alone");
    }
}

/// What a script is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// To the source.
    Source(Change),
    /// To the target.
    Target(Change),
    /// gunyu is killed as a crash would and started again.
    Kill,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Source(change) => write!(f, "source: {change:?}"),
            Event::Target(change) => write!(f, "target: {change:?}"),
            Event::Kill => write!(f, "gunyu is killed"),
        }
    }
}

/// Events, how often each.
#[derive(Debug, Clone)]
pub struct Script {
    /// In this order the seed shuffles them.
    pub events: Vec<Event>,
    /// How the writers write.
    pub rate: Rate,
    /// So many writes are answered between two events.
    pub between: u64,
    /// How long the target may take to become equal once the writers have stopped.
    pub patience: Duration,
}

impl Script {
    /// Each event so many times.
    pub fn of(events: &[(usize, Event)]) -> Script {
        let events = events
            .iter()
            .flat_map(|(times, event)| std::iter::repeat_n(*event, *times));
        Script {
            events: events.collect(),
            rate: Rate::default(),
            between: 400,
            patience: Duration::from_secs(60),
        }
    }

    /// Lets it all happen, and fails unless both sides hold the same in the end.
    ///
    /// gunyu must be live. A failure prints the seed and the trace.
    #[track_caller]
    pub fn run(
        mut self,
        seed: &Seed,
        source: &mut dyn Changing,
        target: &mut dyn Changing,
        gunyu: &mut Gunyu,
    ) {
        let mut trace = Trace::begin();
        trace.note(format!("{seed:?}"));
        println!("{seed:?}: {} events", self.events.len());
        let mut rng = seed.rng(0x5C21);
        rng.shuffle(&mut self.events);
        let load = Load::start(&*source, seed, self.rate);
        load.wait_more(self.between);
        for event in &self.events {
            let choice = rng.usize(..1_000);
            trace.note(format!("{event} ({choice})"));
            match event {
                Event::Source(change) => source.change(*change, choice, &mut |gone| {
                    wait_drained(gunyu, gone);
                }),
                Event::Target(change) => target.change(*change, choice, &mut |_| {}),
                Event::Kill => gunyu.restart(),
            }
            trace.note(format!("… is over, {} writes", load.requests()));
            load.wait_more(self.between);
            inputs(gunyu).into_iter().for_each(|line| trace.note(line));
        }
        let done = load.stop();
        trace.note(format!("the writers have stopped: {done:?}"));
        assert!(done.refused.is_empty(), "{done:?}");
        gunyu.wait_status(SOON, "gunyu runs", |_| true);
        equal::wait_equal(&*source, &*target, self.patience);
        trace.note("equal");
        println!(
            "{} writes in {:?}; full syncs: {:?}",
            done.requests,
            trace.start.elapsed(),
            full_syncs(gunyu)
        );
    }
}

/// How far gunyu is, a line for each input, as far as it tells.
fn inputs(gunyu: &Gunyu) -> Vec<String> {
    let Ok(answer) = gunyu.request("GET", "/syncer/status") else {
        return Vec::new();
    };
    let shown = |input: &serde_json::Value| {
        let (offset, trouble) = (&input["Offset"], &input["LastError"]["Message"]);
        format!("    {} {} {offset} {trouble}", input["Input"], input["Phase"])
    };
    answer
        .json()
        .as_array()
        .into_iter()
        .flatten()
        .map(shown)
        .collect()
}

/// Waits until gunyu follows none of these any more.
#[track_caller]
fn wait_drained(gunyu: &mut Gunyu, gone: &[String]) {
    gunyu.wait_status(LONG, &format!("{gone:?} are drained"), |status| {
        let inputs = status.as_array().map_or(&[][..], Vec::as_slice);
        let is_gone = |input: &serde_json::Value| gone.iter().any(|address| input["Input"] == **address);
        !inputs.is_empty() && !inputs.iter().any(is_gone)
    });
}

/// Snapshots that sources have sent to gunyu over all its lives, by the reason that its traces name.
pub fn full_syncs(gunyu: &Gunyu) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let traces = gunyu.traces();
    for line in traces
        .lines()
        .filter(|line| line.contains("the source sends a snapshot"))
    {
        // The traces may be coloured between a field's name and its value.
        let reason = line.split('"').nth(1).unwrap_or("unnamed");
        *found.entry(reason.to_owned()).or_default() += 1;
    }
    found
}

/// What happened when; a test that fails prints it.
#[derive(Debug)]
pub struct Trace {
    start: Instant,
    lines: Vec<String>,
}

impl Trace {
    /// Nothing yet.
    pub fn begin() -> Trace {
        Trace {
            start: Instant::now(),
            lines: Vec::new(),
        }
    }

    /// This, now.
    pub fn note(&mut self, what: impl Into<String>) {
        let at = self.start.elapsed().as_secs_f64();
        self.lines.push(format!("{at:8.3} s  {}", what.into()));
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("what happened:\n{}", self.lines.join("\n"));
        }
    }
}
