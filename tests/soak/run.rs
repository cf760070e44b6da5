//! One bed from the first write to the comparison.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::bed::{Bed, LOGS_MAX};
use super::end::{Wrote, differences};
use super::faults::{Deck, Kind};
use super::flat::{Rule, Verdict};
use super::plot;
use super::report;
use super::sample::{Sample, Sampler};
use super::support::fleet::script::full_syncs;
use super::support::wait_for;
use super::support::workload::Seed;

/// Between two faults.
const EVERY: Duration = Duration::from_secs(10);

/// The longest that it may take until all is applied again, whatever else has happened meanwhile.
const RECOVERY_MAX: Duration = Duration::from_secs(180);

/// Until everything has arrived in the end.
const LONG: Duration = Duration::from_secs(180);

/// Processes are killed and stopped in this part of the run, and from there on to its end; in between one life goes on.
const LIVES_END_BEFORE: f64 = 0.3;
const LIVES_END_AFTER: f64 = 0.93;

/// A run of ten minutes has a life that can be judged; the last fault comes before its end.
const JUDGED_FROM_S: f64 = 9.5 * 60.0;

/// In half an hour each kind is tried several times, so that one that met another is not missed.
const ALL_KINDS_FROM_S: f64 = 29.5 * 60.0;

/// A catalog, and files that are removed and still being read, take a little beside the logs.
const BESIDE_LOGS: u64 = 4 << 20;

/// What to do.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub seed: u64,
    pub length: Duration,
    /// Too short to judge.
    pub is_slice: bool,
}

/// A fault.
#[derive(Debug, Clone)]
pub struct Happened {
    pub kind: Kind,
    /// Seconds since the start, and for how long it lasted.
    pub at: f64,
    pub lasted: f64,
    /// From its end until what had been written by then was applied; none where it could not be begun.
    pub recovery: Option<f64>,
}

/// Of one bed.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub name: &'static str,
    pub length: f64,
    pub samples: Vec<Sample>,
    pub faults: Vec<Happened>,
    /// Seconds at which lives began.
    pub births: Vec<f64>,
    /// Bytes and keys of the sources at each fault.
    pub held: Vec<(u64, u64)>,
    pub wrote: Wrote,
    /// By reason, as told.
    pub full_syncs: BTreeMap<String, usize>,
    pub asked: u64,
    /// What was to happen, each as often as any other.
    pub kinds: Vec<Kind>,
    pub inputs: usize,
    pub differences: Vec<String>,
    pub panics: usize,
    pub dead_letters: u64,
    pub judged: bool,
}

/// What must not grow.
pub struct Measure {
    pub name: &'static str,
    pub unit: &'static str,
    pub of: fn(&Sample) -> f64,
    pub rule: Rule,
}

const MIB: f64 = (1 << 20) as f64;

const fn few(slack: f64) -> Rule {
    Rule { factor: 1.15, slack }
}

pub const MEASURES: [Measure; 5] = [
    Measure {
        name: "memory of its own (RssAnon)",
        unit: "MiB",
        of: |sample| sample.rss_anon as f64 / MIB,
        rule: few(8.0),
    },
    Measure {
        name: "resident memory (VmRSS)",
        unit: "MiB",
        of: |sample| sample.rss as f64 / MIB,
        rule: few(8.0),
    },
    Measure {
        name: "open files",
        unit: "",
        of: |sample| sample.open_files as f64,
        rule: few(8.0),
    },
    Measure {
        name: "tasks",
        unit: "",
        of: |sample| sample.told.map_or(0.0, |told| told.tasks as f64),
        rule: few(8.0),
    },
    Measure {
        name: "threads",
        unit: "",
        of: |sample| sample.threads as f64,
        rule: few(4.0),
    },
];

/// A fault that is over, and what must be applied until it has been recovered from.
struct Wound {
    number: usize,
    over: Instant,
    offsets: Vec<u64>,
}

struct Run {
    bed: Bed,
    sampler: Sampler,
    start: Instant,
    faults: Vec<Happened>,
    births: Vec<f64>,
    wounds: Vec<Wound>,
    held: Vec<(u64, u64)>,
    /// Written where the run breaks off.
    wreck: PathBuf,
}

/// Runs one bed.
pub fn run(name: &'static str, begin: fn(u64) -> Bed, plan: Plan) -> Outcome {
    let bed = begin(plan.seed);
    let start = Instant::now();
    let sampler = Sampler::start(start, bed.gunyu.http(), &bed.folder());
    sampler.born(bed.gunyu.stats().pid());
    let mut run = Run {
        bed,
        sampler,
        start,
        faults: Vec::new(),
        births: vec![0.0],
        wounds: Vec::new(),
        held: Vec::new(),
        wreck: report::folder(plan.is_slice).join(format!("broken-off-{name}.svg")),
    };
    run.bed.gunyu.wait_ready(LONG);
    run.go_on(plan);
    run.end(name, plan)
}

impl Run {
    fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    fn go_on(&mut self, plan: Plan) {
        let mut rng = Seed::of(plan.seed).rng(0x50A4 + u64::from(self.bed.is_cluster()));
        let mut deck = Deck::of(self.bed.kinds());
        for number in 1.. {
            let due = self.start + EVERY * number;
            self.look_until(Some(due));
            self.held.push(self.bed.held());
            if let Some(writing) = &mut self.bed.writing {
                writing.trim();
            }
            if self.start.elapsed() + EVERY > plan.length {
                return;
            }
            let share = f64::from(number) * EVERY.as_secs_f64() / plan.length.as_secs_f64();
            let between = (LIVES_END_BEFORE..LIVES_END_AFTER).contains(&share);
            let kind = deck.draw(&mut rng, plan.is_slice || !between);
            self.happen(kind, &mut rng);
        }
    }

    fn happen(&mut self, kind: Kind, rng: &mut fastrand::Rng) {
        let (at, span) = (self.seconds(), kind.span(rng));
        println!("{at:7.1} s: {kind}");
        let begun = self.bed.strike(kind, rng, &self.sampler);
        if begun {
            let over = Instant::now() + span;
            if kind.class() == super::faults::Class::Process {
                std::thread::sleep(span);
            } else {
                self.look_until(Some(over));
            }
            self.bed.mend(kind, &self.sampler);
            if kind.ends_a_life() {
                self.births.push(self.seconds());
            }
            self.wounds.push(Wound {
                number: self.faults.len(),
                over: Instant::now(),
                offsets: self.bed.offsets(),
            });
        }
        self.faults.push(Happened {
            kind,
            at,
            lasted: self.seconds() - at,
            recovery: None,
        });
    }

    /// Looks after the wounds until then, or until there are none.
    fn look_until(&mut self, until: Option<Instant>) {
        loop {
            assert!(
                !self.bed.gunyu.has_ended(),
                "gunyu has ended by itself\n{}",
                last(&self.bed.gunyu.traces())
            );
            let mut said = String::new();
            self.wounds
                .retain(|wound| match self.bed.has_applied(&wound.offsets) {
                    Ok(()) => {
                        self.faults[wound.number].recovery = Some(wound.over.elapsed().as_secs_f64());
                        false
                    }
                    Err(why) => {
                        said = why;
                        true
                    }
                });
            if let Some(wound) = self.wounds.first() {
                assert!(
                    wound.over.elapsed() < RECOVERY_MAX,
                    "{} at {:.0} s is not recovered from: {said}\n{}",
                    self.faults[wound.number].kind,
                    self.faults[wound.number].at,
                    last(&self.bed.gunyu.traces())
                );
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let usual = Duration::from_millis(if self.wounds.is_empty() { 250 } else { 50 });
            match left {
                Some(left) if left.is_zero() => return,
                None if self.wounds.is_empty() => return,
                _ => std::thread::sleep(left.map_or(usual, |left| left.min(usual))),
            }
        }
    }

    /// Writers stop, everything arrives, gunyu ends, the sides are compared.
    fn end(mut self, name: &'static str, plan: Plan) -> Outcome {
        self.look_until(None);
        let wrote = self.bed.writing.take().expect("they write").stop();
        let offsets = self.bed.offsets();
        let bed = &self.bed;
        wait_for(LONG, "everything has arrived", || bed.has_applied(&offsets));
        let (length, samples) = (self.seconds(), self.sampler.samples());
        self.sampler.dies();
        self.bed.gunyu.term();
        let traces = self.bed.gunyu.traces();
        let letters = std::fs::read_dir(self.bed.folder().join("dead-letter"));
        let letters = letters.into_iter().flatten().filter_map(Result::ok);
        Outcome {
            name,
            length,
            samples,
            faults: std::mem::take(&mut self.faults),
            births: std::mem::take(&mut self.births),
            held: std::mem::take(&mut self.held),
            full_syncs: full_syncs(&self.bed.gunyu),
            asked: self.bed.asked,
            kinds: self.bed.kinds(),
            inputs: self.bed.sources.len(),
            differences: differences(&self.bed.sources, &self.bed.targets, &wrote),
            wrote,
            panics: traces.matches("panicked at").count(),
            dead_letters: letters
                .map(|file| file.metadata().map_or(0, |meta| meta.len()))
                .sum(),
            judged: !plan.is_slice,
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let drawn = plot::of_run(
                "broken off",
                self.seconds(),
                &self.sampler.samples(),
                &self.faults,
                &self.births,
            );
            drop(std::fs::write(&self.wreck, drawn));
            eprintln!("what was measured: {}", self.wreck.display());
        }
    }
}

fn last(traces: &str) -> String {
    let lines: Vec<&str> = traces.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

impl Outcome {
    /// The samples of the longest life at which the target had caught up: the number of that life, and they.
    pub fn longest(&self) -> (u64, Vec<&Sample>) {
        let lives = self.samples.last().map_or(0, |sample| sample.life);
        let of = |life: u64| -> Vec<&Sample> {
            let is_told = |sample: &&Sample| sample.told.is_some_and(|told| told.caught_up);
            let samples = self.samples.iter().filter(|sample| sample.life == life);
            samples.filter(is_told).collect()
        };
        let all = (1..=lives).map(|life| (life, of(life)));
        all.max_by_key(|(_, samples)| samples.len()).unwrap_or_default()
    }

    /// A measure in the longest life.
    pub fn series(&self, measure: &Measure) -> Vec<(f64, f64)> {
        let (_, samples) = self.longest();
        samples
            .iter()
            .map(|sample| (sample.at, (measure.of)(sample)))
            .collect()
    }

    pub fn verdict(&self, measure: &Measure) -> Verdict {
        measure.rule.judge(&self.series(measure))
    }

    /// The most that the logs, by their own count, and the folder ever took.
    pub fn disk_max(&self) -> (u64, u64) {
        let logs = self.samples.iter().filter_map(|sample| Some(sample.told?.logs));
        let folder = self.samples.iter().map(|sample| sample.disk);
        (logs.max().unwrap_or(0), folder.max().unwrap_or(0))
    }

    /// Each input's first, and each that was asked for; where the process ends in its midst it may begin again, or not at all.
    fn wrong_syncs(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let again = self.inputs * (self.births.len() - 1);
        let asked = usize::try_from(self.asked).expect("they were counted one by one");
        let due = [("first sync", self.inputs), ("requested", asked)];
        for (reason, due) in due {
            let made = self.full_syncs.get(reason).copied().unwrap_or(0);
            if !(due.saturating_sub(again)..=due + again).contains(&made) {
                wrong.push(format!(
                    "{made} full syncs of the reason {reason}: {due} were due"
                ));
            }
        }
        let undue = self
            .full_syncs
            .keys()
            .filter(|reason| due.iter().all(|one| one.0 != **reason));
        wrong.extend(undue.map(|reason| format!("a full sync that nobody asked for: {reason}")));
        wrong
    }

    /// What does not hold, a line each.
    pub fn wrong(&self) -> Vec<String> {
        let mut wrong = self.differences.clone();
        wrong.extend(
            self.wrote
                .given_up
                .iter()
                .map(|what| format!("a writer gave up: {what}")),
        );
        for measure in &MEASURES {
            match self.verdict(measure) {
                Verdict::Grows(medians) if self.judged => {
                    wrong.push(format!("{} grows: {medians:?}", measure.name));
                }
                // Of such a run there must be enough.
                Verdict::TooShort if self.judged && self.length >= JUDGED_FROM_S => {
                    wrong.push(format!("{}: hardly ever had the target caught up", measure.name));
                }
                _ => {}
            }
        }
        let (logs, folder) = self.disk_max();
        if logs > LOGS_MAX || folder > LOGS_MAX + BESIDE_LOGS {
            wrong.push(format!(
                "the logs took {logs} bytes, their folder {folder}: {LOGS_MAX} are allowed"
            ));
        }
        wrong.extend(self.wrong_syncs());
        if self.judged && self.length >= ALL_KINDS_FROM_S {
            let has_come = |kind: &Kind| {
                let begun = |one: &Happened| one.kind == *kind && one.recovery.is_some();
                self.faults.iter().any(begun)
            };
            let never = self.kinds.iter().filter(|kind| !has_come(kind));
            wrong.extend(never.map(|kind| format!("never begun: {kind}")));
        }
        if self.panics > 0 || self.dead_letters > 0 {
            wrong.push(format!(
                "{} panics, {} bytes of dead letters",
                self.panics, self.dead_letters
            ));
        }
        wrong
            .iter()
            .map(|line| format!("{}: {line}", self.name))
            .collect()
    }
}
