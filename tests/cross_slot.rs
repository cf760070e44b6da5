//! Commands whose keys lie in several slots, on a real cluster: what a single server has after them, the cluster has too.
//!
//! The source is a single server, and its own replication stream is what is carried out, frame by frame, as the engine does it: routed, and where it
//! is a plan, each step as a transaction with its slot's fence. After a step a crash may come: everything but what is on the servers is
//! forgotten, and the plan is made again.

// A test's helpers fail by panicking, and say on stdout what they skip.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod support;

#[path = "hostile/meter.rs"]
#[allow(unreachable_pub)] // it belongs to another program
mod meter;
#[path = "cross_slot/source.rs"]
mod source;

use std::collections::BTreeMap;

use bytes::BytesMut;
use gunyu::core::command::{self, SLOTS, slot, tag_of};
use gunyu::core::position::Offset;
use gunyu::core::resp::{Frame, Framer, Value, encode_command};
use gunyu::core::target::cluster::plan::{Expiry, Plan, Standing, Step, Undone};
use gunyu::core::target::cluster::route::{CrossSlot, Refusal, Route, route};
use source::{Source, Wire};
use support::typed::{differences_on_cluster, since};
use support::{Binary, Cluster, Server, matrix};

const MASTERS: usize = 3;

/// When a plan is interrupted.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Crash {
    Never,
    AfterEachStep,
    Sometimes,
}

/// The cluster, and how the stream gets there.
struct Target {
    masters: Vec<Wire>,
    expiry: Expiry,
    crash: Crash,
    random: fastrand::Rng,
    /// What the last plan that could not be carried out has met.
    told: Result<(), Undone>,
    /// How often each kind of route was taken.
    tally: BTreeMap<String, usize>,
}

impl Target {
    fn of(cluster: &Cluster, binary: &Binary, seed: u64) -> Target {
        let expiry = match since(binary, (7, 0), (0, 0)) {
            true => Expiry::Absolute,
            false => Expiry::Relative,
        };
        Target {
            masters: cluster.masters.iter().map(Wire::to).collect(),
            expiry,
            crash: Crash::Never,
            random: fastrand::Rng::with_seed(seed),
            told: Ok(()),
            tally: BTreeMap::new(),
        }
    }

    fn owner(&mut self, slot: u16) -> &mut Wire {
        let first = |number: usize| number * usize::from(SLOTS) / MASTERS;
        let owner = (0..MASTERS).rfind(|number| first(*number) <= usize::from(slot));
        &mut self.masters[owner.unwrap()]
    }

    fn must(&mut self, slot: u16, command: &[u8]) {
        let answer = self.owner(slot).ask_encoded(command);
        assert!(
            answer.error().is_none(),
            "{answer:?} to {}",
            command.escape_ascii()
        );
    }

    fn apply(&mut self, frame: &Frame<'_>) {
        let route = route(command::of(frame), frame, CrossSlot::Split);
        let kind = match &route {
            Route::Planned(plan) => format!("{plan:?}"),
            other => format!("{other:?}").split('(').next().unwrap().to_owned(),
        };
        *self.tally.entry(kind).or_default() += 1;
        match route {
            Route::Slot(slot) => self.must(slot, frame.bytes()),
            Route::Split(parts) => {
                parts.iter().for_each(|(slot, part)| self.must(*slot, part));
            }
            Route::Planned(plan) => self.carry_out(&plan, frame.end().get()),
            Route::EveryMaster(command) => {
                for master in &mut self.masters {
                    assert_eq!(master.ask_encoded(&command).error(), None);
                }
            }
            Route::AnyMaster | Route::Refused(Refusal::Envelope) => {}
            Route::Refused(why) => panic!("{} is refused: {why}", frame.bytes().escape_ascii()),
        }
    }

    /// Makes and runs the plan until the fences say that it is done.
    fn carry_out(&mut self, plan: &Plan, offset: u64) {
        loop {
            let slots: Vec<u16> = plan.written_slots().chain(plan.read_slots()).collect();
            let fences: BTreeMap<u16, u64> = slots.into_iter().map(|slot| (slot, self.fence(slot))).collect();
            let covered = |slot: u16| fences[&slot] >= offset;
            match plan.standing(covered) {
                Standing::Done => return,
                Standing::Open => {}
                Standing::Overtaken => panic!("{plan:?} was overtaken"),
            }
            let reads = plan.reads(self.expiry);
            let replies: Vec<Value> = reads
                .iter()
                .map(|read| self.owner(slot(&read[1])).ask(read))
                .collect();
            let steps = match plan.steps(self.expiry, &replies) {
                Ok(steps) => steps,
                Err(why) => {
                    self.told = Err(why);
                    return;
                }
            };
            let fenced = steps.iter().filter(|step| step.fenced);
            assert!(fenced.map(|step| step.slot).eq(plan.written_slots()));
            for step in steps.iter().filter(|step| !covered(step.slot)) {
                self.run(step, offset);
                // After a step without a fence a crash changes nothing: the plan is made again as if it had not been taken.
                if self.crashes() && (step.fenced || self.crash == Crash::Sometimes) {
                    *self.tally.entry("crash".into()).or_default() += 1;
                    break;
                }
            }
        }
    }

    fn crashes(&mut self) -> bool {
        match self.crash {
            Crash::Never => false,
            Crash::AfterEachStep => true,
            Crash::Sometimes => self.random.bool(),
        }
    }

    fn run(&mut self, step: &Step, offset: u64) {
        let (fence, offset) = (fence_key(step.slot), offset.to_string());
        let owner = self.owner(step.slot);
        owner.ask(&["MULTI"]);
        if step.fenced {
            owner.ask(&["HSET", &fence, "test", &offset]);
        }
        for command in &step.commands {
            assert_eq!(owner.ask(command), Value::Simple(b"QUEUED".into()));
        }
        let answers = owner.ask(&["EXEC"]);
        let refused = answers.array().unwrap().iter().find_map(Value::error);
        assert_eq!(refused.map(String::from_utf8_lossy), None);
    }

    fn fence(&mut self, slot: u16) -> u64 {
        let answer = self.owner(slot).ask(&["HGET", &fence_key(slot), "test"]);
        let text = answer.text().map(String::from_utf8_lossy);
        text.map_or(0, |text| text.parse().unwrap())
    }
}

fn fence_key(slot: u16) -> String {
    format!("redis-gunyu-checkpoint:fence:{{{}}}", tag_of(slot))
}

/// A source and a cluster of the same version.
struct Pair {
    server: Server,
    cluster: Cluster,
    source: Source,
    target: Target,
}

impl Pair {
    fn of(binary: &Binary, seed: u64) -> Pair {
        let server = Server::of(binary, &[]);
        let cluster = Cluster::of(binary, MASTERS);
        Pair {
            source: Source::of(&server),
            target: Target::of(&cluster, binary, seed),
            server,
            cluster,
        }
    }

    fn run(&mut self, command: &str) -> Value {
        let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
        self.source.run(&words, |frame| self.target.apply(frame))
    }

    #[track_caller]
    fn assert_equal(&self, after: &str) {
        let found = differences_on_cluster(&self.server, &self.cluster.masters);
        assert!(found.is_empty(), "after {after}:\n{}", found.join("\n"));
    }
}

#[test]
fn a_command_with_one_slot_is_routed_without_any_memory() {
    for text in [
        "SET a 1",
        "DEL {a}1 {a}2 {a}3",
        "SUNIONSTORE {a}1 {a}2 a",
        "RENAME a {a}1",
        "EVAL s 1 a x",
    ] {
        let mut bytes = BytesMut::new();
        let words: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
        encode_command(&mut bytes, &words);
        let mut framer = Framer::default();
        framer.push(Offset::ZERO, bytes.freeze()).unwrap();
        let frame = framer.next().unwrap().unwrap();
        let routed = || route(command::of(&frame), &frame, CrossSlot::Split);
        let (route, bytes) = meter::peak_bytes(routed);
        assert_eq!((route, bytes), (Route::Slot(slot(b"a")), 0), "{text}");
    }
}

/// What there is before each case; `a` to `j` lie in ten slots of all three masters.
const BEFORE: &[&str] = &[
    "SET a text",
    "PEXPIREAT a 4000000000000",
    "RPUSH b 3 1 2",
    "PEXPIREAT b 4100000000000",
    "SADD c 1 2 3",
    "ZADD d 1 1 2.5 x 3 3",
    "HMSET e f 1 g 2",
    "XADD f 1-1 k v",
    "XADD f 2-1 k w",
    "XGROUP CREATE f group 1-1",
    "XCLAIM f group reader 0 1-1 TIME 1700000000000 FORCE",
    "PEXPIREAT f 4200000000000",
    "PFADD g 1 2 3",
    "GEOADD h 13.361389 38.115556 Palermo 15.087269 37.502669 Catania",
    "SADD i 2 3 4",
    "SET j xet",
];

/// Commands that a source has sent on at least once: each must have an effect after [`BEFORE`].
const CASES: &[&str] = &[
    "RENAME a x",
    "RENAME b x",
    "RENAME c x",
    "RENAME d x",
    "RENAME e x",
    "RENAME f x",
    "RENAME a b",
    "RENAME j a",
    "RENAMENX f x",
    "COPY a x",
    "COPY f x",
    "COPY j a REPLACE",
    "COPY e a REPLACE DB 0",
    "SMOVE c i 1",
    "SMOVE c x 1",
    "SMOVE c i 2",
    "RPOPLPUSH b x",
    "BRPOPLPUSH b x 1",
    "LMOVE b x LEFT LEFT",
    "LMOVE b x LEFT RIGHT",
    "LMOVE b x RIGHT LEFT",
    "LMOVE b x RIGHT RIGHT",
    "BLMOVE b x LEFT RIGHT 1",
    "SUNIONSTORE x c i",
    "SUNIONSTORE c c i nosuch",
    "SINTERSTORE x c i",
    "SDIFFSTORE i c i i",
    "SINTERSTORE a c nosuch",
    "ZUNIONSTORE x 2 d c WEIGHTS 2 3 AGGREGATE MAX",
    "ZUNIONSTORE d 3 d d c",
    "ZINTERSTORE x 2 d c WEIGHTS 2 3",
    "ZDIFFSTORE x 2 d c",
    "ZRANGESTORE x d 0 1",
    "ZRANGESTORE x d 5 1 BYSCORE REV LIMIT 0 2",
    "GEOSEARCHSTORE x h FROMLONLAT 15 37 BYRADIUS 200 km ASC STOREDIST",
    "GEORADIUS h 15 37 200 km STORE x",
    "GEORADIUSBYMEMBER h Palermo 400 km STOREDIST x",
    "PFMERGE x g nosuch",
    "PFMERGE g g x",
    "BITOP AND x a j",
    "BITOP NOT a j",
    "BITOP XOR a a j nosuch",
    "SORT b STORE x",
    "SORT b LIMIT 0 2 DESC STORE a",
    "SORT c BY nosort GET # STORE x",
    "SORT b GET # STORE {b}x",
    "DEL a b c nosuch",
    "UNLINK a b c",
    "MSET a 1 b 2 a 3",
    "MSETNX x 1 y 2 z 3",
    "MSETEX 2 x 1 y 2 NX PXAT 4000000000000",
    "FLUSHALL",
];

/// Runs all cases, each without a crash and with one after each step. Says how many the version knows.
fn run_cases(label: &str, binary: &Binary) -> usize {
    let mut pair = Pair::of(binary, 0);
    let is_known = |case: &&&str| run_case(&mut pair, label, case);
    CASES.iter().filter(is_known).count()
}

fn run_case(pair: &mut Pair, label: &str, case: &str) -> bool {
    for crash in [Crash::Never, Crash::AfterEachStep] {
        pair.target.crash = crash;
        pair.run("FLUSHALL");
        for command in BEFORE {
            pair.run(command);
        }
        let before = pair.target.tally.clone();
        if let Some(error) = pair.run(case).error() {
            crate::support::skipped(&format!(
                "{label} answers {} to {case}",
                String::from_utf8_lossy(error)
            ));
            return false;
        }
        let after = &pair.target.tally;
        assert_ne!(*after, before, "{case} has no effect");
        assert_eq!(after.get("Slot"), before.get("Slot"), "{case} has one slot");
        pair.assert_equal(&format!("{case} on {label}, crash {crash:?}"));
    }
    true
}

#[test]
fn each_command_over_several_slots_leaves_what_a_single_server_has() {
    let known = run_cases("the installed server", &Binary::installed());
    // MSETEX is newer than some of the servers that are installed.
    assert!(known + 1 >= CASES.len(), "{known} of {}", CASES.len());
}

/// The versions of `GUNYU_TEST_SERVERS` that know clusters.
fn versions() -> Vec<(String, Binary)> {
    let all = matrix();
    if all.is_empty() {
        crate::support::skipped("GUNYU_TEST_SERVERS is not set (make matrix SERVERS=dir)");
    }
    let clusters = |(_, binary): &(String, Binary)| since(binary, (3, 0), (0, 0));
    all.into_iter().filter(clusters).collect()
}

#[test]
fn matrix_of_clusters_each_command_over_several_slots_leaves_what_a_single_server_has() {
    for (label, binary) in versions() {
        let known = run_cases(&label, &binary);
        assert!(known > 30, "{label} knows only {known}");
    }
}

/// A target that has not what the source had: no plan invents it, and none passes over it.
#[test]
fn what_is_missing_on_the_target_is_told_or_empty_as_the_command_has_it() {
    let mut pair = Pair::of(&Binary::installed(), 0);
    let told = Err(Undone::Missing);
    for (case, lost, expected) in [
        ("RENAME a x", "a", told.clone()),
        ("RENAMENX a x", "a", told.clone()),
        ("COPY a x", "a", told.clone()),
        ("LMOVE b x LEFT LEFT", "b", told.clone()),
        ("RPOPLPUSH b x", "b", told),
        ("SUNIONSTORE x c i", "c", Ok(())),
        ("SINTERSTORE i i c", "c", Ok(())),
        ("ZRANGESTORE i d 0 1", "d", Ok(())),
        ("SORT b STORE i", "b", Ok(())),
        ("BITOP OR i a j", "a", Ok(())),
    ] {
        pair.run("FLUSHALL");
        for command in BEFORE {
            pair.run(command);
        }
        let loses = ["DEL", lost];
        pair.target.owner(slot(lost.as_bytes())).ask(&loses);
        pair.target.told = Ok(());
        pair.run(case);
        assert_eq!(pair.target.told, expected, "{case} without {lost}");
        // A single server that has lost the same has the same, where a plan was refused without the command.
        let loss = loses.join(" ");
        let mut history = vec!["FLUSHALL"];
        history.extend(BEFORE);
        history.push(&loss);
        history.extend(expected.is_ok().then_some(case));
        for command in history {
            let words: Vec<&str> = command.split(' ').collect();
            pair.source.client.ask(&words);
        }
        pair.assert_equal(case);
        // What the server has done beside the stream is not for the cluster.
        pair.source.run(&["PING".to_owned()], |_| {});
    }
}

/// What a random stream consists of: `@s` is one of four strings, `@v` one of six values, `@any` any of the keys.
const PALETTE: &[&str] = &[
    "SET @s @v",
    "SETBIT @s 77 1",
    "APPEND @s @v",
    "PFADD @h @v",
    "RPUSH @l @v @v",
    "SADD @e @v @v",
    "ZADD @z 1 @v 2.5 @v",
    "GEOADD @g 13.361 38.115 @v",
    "HSET @f @v @v",
    "XADD @x * f @v",
    "PEXPIREAT @any 4000000000000",
    "PEXPIREAT @any 4100000000000",
    "PERSIST @any",
    "DEL @any @any",
    "MSET @s @v @s @v",
    "MSETNX @any @v @any @v",
    "RENAME @any @any",
    "RENAMENX @any @any",
    "COPY @any @any",
    "COPY @any @any REPLACE",
    "SMOVE @e @e @v",
    "RPOPLPUSH @l @l",
    "LMOVE @l @l LEFT RIGHT",
    "LMOVE @l @l RIGHT RIGHT",
    "SUNIONSTORE @e @e @e",
    "SINTERSTORE @e @e @e",
    "SDIFFSTORE @e @e @e",
    "ZUNIONSTORE @z 2 @z @e WEIGHTS 2 3",
    "ZINTERSTORE @z 2 @z @z AGGREGATE MIN",
    "ZDIFFSTORE @z 2 @z @z",
    "ZRANGESTORE @z @z 0 1",
    "GEOSEARCHSTORE @z @g FROMLONLAT 15 37 BYRADIUS 500 km STOREDIST",
    "GEORADIUS @g 15 37 500 km STORE @g",
    "PFMERGE @h @h @h",
    "BITOP XOR @s @s @s",
    "BITOP NOT @s @s",
    "SORT @l ALPHA STORE @l",
    "SORT @e BY nosort STORE @l",
];

fn some_command(random: &mut fastrand::Rng) -> String {
    let words = PALETTE[random.usize(..PALETTE.len())].split(' ');
    let words = words.map(|word| match word {
        "@v" => random.u8(b'1'..b'7').to_string(),
        "@any" => format!(
            "{}{}",
            char::from(*random.choice(b"shlezgfx").unwrap()),
            random.u8(..4)
        ),
        _ => match word.strip_prefix('@') {
            Some(kind) => format!("{kind}{}", random.u8(..4)),
            None => word.to_owned(),
        },
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_random_stream_with_crashes_between_steps_leaves_what_a_single_server_has() {
    let times = run_random(&Binary::installed(), 30, fastrand::u64(..));
    for kind in ["staged", "copied", "moved", "popped", "Split", "crash"] {
        let times = times.get(kind).copied().unwrap_or(0);
        assert!(times > 20, "{kind} only {times} times");
    }
}

#[test]
fn matrix_of_clusters_a_random_stream_leaves_what_a_single_server_has() {
    for (label, binary) in versions() {
        println!("{label}");
        run_random(&binary, 6, fastrand::u64(..));
    }
}

/// Says how often each kind of route was taken.
fn run_random(binary: &Binary, rounds: usize, seed: u64) -> BTreeMap<String, usize> {
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut pair = Pair::of(binary, random.u64(..));
    pair.target.crash = Crash::Sometimes;
    let mut sent = Vec::new();
    for round in 0..rounds {
        for _ in 0..100 {
            let command = some_command(&mut random);
            pair.run(&command);
            sent.push(command);
        }
        let told = &sent[sent.len() - 100..];
        pair.assert_equal(&format!("round {round} of seed {seed}: {}", told.join("; ")));
    }
    assert_eq!(pair.target.told, Ok(()), "seed {seed}");
    pair.target.tally
}
