//! The process dies at a step, and whoever starts it again finds everything.
//!
//! Each step lies on one of the *tours*: what a process does from its start to its end. It is sent on the tour with the order to die at one passing
//! of the step, started again without an order, and judged.

use std::os::unix::process::ExitStatusExt;

use gunyu::core::crash::Step;

use super::cells::{self, Cell};
use super::crash_beside::{at_least_once, with_letters};
use super::crash_leaver::{leaves_heard, leaves_unheard};
use super::crash_left::what_is_left;
use super::crash_many::{Toured, in_group, onto_cluster};
use super::crash_moving::{carrier, slots_move};
use super::pair::{Pair, is_live, last, wait_death};
use super::support::workload::Seed;
use super::support::{Binary, Gunyu};

/// Where a step lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tour {
    /// First full sync, live stream, links that break, another full sync, stop.
    Pair,
    /// The same, and the other full sync is to empty the target.
    Flushed,
    /// The same before a word is written.
    Idle,
    /// The source is a replica, and becomes a master.
    Promoted,
    /// Delivered at least once.
    Loose,
    /// The target does not know a command.
    Letters,
    /// Onto a cluster.
    Cluster,
    /// From a cluster whose slots move key by key.
    Moving,
    /// From one whose slots move as a whole, with a server that can do that.
    Carried,
    /// A shard leaves a cluster while a member of a group follows it.
    Leaver,
    /// It leaves while nobody runs.
    Unheard,
    /// An input has gone, and what it has left is collected.
    Left,
    /// As a member of a group: the one that leads first, or the other.
    Group(usize),
}

/// How a step is met: on which tour, whether a death there may cost one more snapshot, and how often it is passed at least.
struct Place {
    tour: Tour,
    costs_snapshot: bool,
    passings: u64,
}

const fn place(tour: Tour, costs_snapshot: bool, passings: u64) -> Place {
    Place {
        tour,
        costs_snapshot,
        passings,
    }
}

/// A new step does not compile until it has a place.
const fn place_of(step: Step) -> Place {
    use Step as S;
    match step {
        S::TargetClaimed | S::TargetCleared => place(Tour::Pair, false, 2),
        // Which of them it is, and in which phase, is not known.
        S::CatalogWriting | S::CatalogWritten => place(Tour::Pair, true, 5),
        S::CatalogRemoving | S::CatalogRemoved | S::LogForgotten | S::LogSwept => place(Tour::Pair, true, 2),
        S::LogBegun => place(Tour::Pair, true, 1),
        S::SourceAnswered => place(Tour::Pair, true, 2),
        S::SnapshotCreated | S::SnapshotBegun | S::SnapshotPersisted => place(Tour::Pair, true, 2),
        S::SnapshotTorn | S::SnapshotPiece => place(Tour::Pair, true, 4),
        S::SnapshotRenamed | S::SnapshotNamed | S::SnapshotWhole => place(Tour::Pair, false, 2),
        // While the snapshot is still arriving too.
        S::SyncBegun | S::SyncKey | S::SyncKeysNoted | S::SyncMarked => place(Tour::Pair, true, 2),
        // The target has no checkpoint then, and the log may have released the snapshot.
        S::FlushEmptied | S::FlushNoted | S::RequestBegun | S::RequestAnswered => {
            place(Tour::Flushed, true, 1)
        }
        S::RequestDue => place(Tour::Flushed, false, 1),
        S::ValueStaged | S::ValueNamed => place(Tour::Pair, true, 2),
        S::SyncStaleNoted | S::SyncSweeping => place(Tour::Pair, true, 2),
        S::SyncRestored | S::SyncSwept | S::SyncRecorded | S::SyncDone => place(Tour::Pair, true, 2),
        S::ParkedSet | S::ParkedForgotten => place(Tour::Pair, false, 2),
        S::SegmentCreated | S::SegmentTorn | S::SegmentHeaded => place(Tour::Pair, true, 12),
        S::SegmentRolled => place(Tour::Pair, false, 10),
        S::StreamReceived | S::BlockTorn | S::BlockWritten | S::BlockAppended => place(Tour::Pair, true, 60),
        S::PersistBegun => place(Tour::Pair, true, 8),
        S::SegmentPersisted | S::SealTorn | S::SegmentSealed => place(Tour::Pair, false, 6),
        S::SourceAcknowledged => place(Tour::Pair, true, 3),
        S::BatchSent | S::BatchAnswered | S::BatchAdvanced | S::BatchReleasable => {
            place(Tour::Pair, false, 40)
        }
        S::LooseSent | S::LooseAnswered => place(Tour::Loose, false, 20),
        S::LooseRecorded => place(Tour::Loose, false, 3),
        S::LetterDue | S::LetterTorn | S::LetterWritten => place(Tour::Letters, false, 4),
        S::CheckpointIdle => place(Tour::Idle, false, 1),
        S::SegmentRemoved => place(Tour::Pair, false, 4),
        S::SnapshotRemoved => place(Tour::Pair, false, 1),
        S::DrainBegun | S::DrainDone => place(Tour::Pair, false, 1),
        S::HistoryRenamed => place(Tour::Promoted, false, 1),
        S::FlightSent | S::FlightLanded => place(Tour::Cluster, false, 30),
        S::MarksLeft | S::MarksRecorded => place(Tour::Cluster, false, 3),
        S::TickWritten => place(Tour::Moving, true, 4),
        S::TicksForgotten => place(Tour::Moving, false, 2),
        S::WindowsWritten => place(Tour::Carried, false, 3),
        S::UnheardClaimed | S::EntangledNoted | S::UnheardSettled => place(Tour::Unheard, true, 1),
        S::EntangledForgotten => place(Tour::Unheard, true, 2),
        S::GarbageUncheckpointed | S::GarbageRetired | S::GarbageSwept | S::GarbageRemoved => {
            place(Tour::Left, false, 1)
        }
        S::GarbageForgotten => place(Tour::Left, false, 2),
        S::MemberBegun | S::LeaseTaken => place(Tour::Group(0), true, 1),
        S::SessionRenewed => place(Tour::Group(0), true, 4),
        S::CopyBegun => place(Tour::Group(1), false, 2),
        S::CopyAppended => place(Tour::Group(1), false, 20),
        S::HandoverDrained | S::HandoverPassed => place(Tour::Group(0), false, 2),
        S::LeaseGivenBack => place(Tour::Leaver, false, 1),
        S::LeaseResigned => place(Tour::Group(1), false, 1),
        S::MemberLeft => place(Tour::Group(0), false, 1),
    }
}

/// Where on the tour it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Stage {
    FirstSync,
    Live,
    SecondSync,
    LiveAgain,
    Stop,
}

/// From start to end, or to the death that was ordered. Says how far it came; nothing where it came to its own end.
fn tour(pair: &mut Pair, tour: Tour) -> Option<Stage> {
    if matches!(tour, Tour::Pair | Tour::Flushed) {
        pair.count();
    }
    if !pair.lives_to_be_live() {
        return Some(Stage::FirstSync);
    }
    if tour == Tour::Promoted {
        pair.promote();
        pair.count();
    }
    if tour == Tour::Idle {
        // The source's pings move the stream, and nothing else does.
        let at = pair.source.offset();
        let recorded = |status: &serde_json::Value| status["Offset"]["Checkpoint"].as_u64() > Some(at);
        if !pair.lives_until("a ping is recorded", recorded) {
            return Some(Stage::Live);
        }
        pair.count();
    }
    pair.wait_more(500);
    // Where little comes after it, the log still has the snapshot.
    if tour != Tour::Flushed || pair.rng.bool() {
        pair.pour();
    }
    pair.to_source.cut();
    pair.wait_more(300);
    pair.to_target.cut();
    pair.wait_more(300);
    if !pair.lives_to_be_live() {
        return Some(Stage::Live);
    }
    let (asked, stage) = match tour {
        Tour::Flushed => ("&flushdb=yes", Stage::SecondSync),
        _ => ("", Stage::Live),
    };
    // The second one finds some that only the target has, in two databases, unless it begins with empty ones.
    let finds_stale = tour != Tour::Flushed;
    if finds_stale {
        pair.make_stale(true);
    }
    let path = format!("/syncer/fullsync?inputs=all{asked}");
    let Ok(answer) = pair.gunyu.request("POST", &path) else {
        wait_death(&mut pair.gunyu);
        // Perhaps it has died before it heard of it.
        if finds_stale {
            pair.make_stale(false);
        }
        return Some(stage);
    };
    assert_eq!(answer.status, 200, "{}", answer.text());
    if !pair.lives_until("the second full sync is done", |status| {
        is_live(status)
            && status["FullSync"]["Reason"] == "requested"
            && status["FullSync"]["ExpiriesPending"] == false
    }) {
        return Some(Stage::SecondSync);
    }
    pair.pour();
    pair.wait_more(300);
    if pair.gunyu.ended().is_some() {
        return Some(Stage::LiveAgain);
    }
    pair.gunyu.signal(libc::SIGTERM);
    wait_death(&mut pair.gunyu);
    match has_died(&mut pair.gunyu) {
        true => Some(Stage::Stop),
        false => None,
    }
}

fn has_died(gunyu: &mut Gunyu) -> bool {
    let status = gunyu.ended().expect("it has ended");
    status.signal() == Some(libc::SIGABRT)
}

/// One death and what comes after it.
fn die_at(seed: &Seed, step: Step, nth: u64) {
    let place = place_of(step);
    let (part, order) = (step as u64 * 1000 + nth, format!("{}:{nth}", step.name()));
    let Some(toured) = beside(place.tour, seed, part, &order) else {
        return die_between(seed, part, &place, &order);
    };
    assert!(
        toured.has_died,
        "{order} was not reached:\n{}",
        last(&toured.traces)
    );
}

/// The tours on which there is more than a pair.
fn beside(tour: Tour, seed: &Seed, part: u64, order: &str) -> Option<Toured> {
    Some(match tour {
        Tour::Pair | Tour::Flushed | Tour::Idle | Tour::Promoted => return None,
        Tour::Loose => at_least_once(seed, part, order),
        Tour::Letters => with_letters(seed, part, order),
        Tour::Cluster => onto_cluster(seed, part, order),
        Tour::Moving => slots_move(seed, part, &Binary::installed(), order),
        Tour::Carried => {
            let binary = carrier().expect("only where there is one");
            slots_move(seed, part, &binary, order)
        }
        Tour::Leaver => leaves_heard(seed, part, order),
        Tour::Unheard => leaves_unheard(seed, part, order),
        Tour::Left => what_is_left(seed, part, order),
        Tour::Group(victim) => in_group(seed, part, victim, order),
    })
}

/// What it takes is not everywhere.
fn is_possible(tour: Tour) -> bool {
    let is_possible = tour != Tour::Carried || carrier().is_some();
    if !is_possible {
        crate::support::skipped("GUNYU_TEST_SERVERS names no folder with Redis 8.4 or Valkey 9");
    }
    is_possible
}

fn die_between(seed: &Seed, part: u64, place: &Place, order: &str) {
    let prepared = match place.tour {
        Tour::Promoted => Pair::prepare_replica(seed, part),
        _ => Pair::prepare(seed, part),
    };
    let mut pair = prepared.begin(&[("GUNYU_CRASH_AT", order)]);
    let stage = tour(&mut pair, place.tour);
    let traces = pair.gunyu.traces();
    let Some(stage) = stage.filter(|_| has_died(&mut pair.gunyu)) else {
        panic!("{order} was not reached:\n{}", last(&traces));
    };
    let before = pair.full_syncs();
    let is_syncing = matches!(stage, Stage::FirstSync | Stage::SecondSync);
    // Where the source had not been asked yet, the first is still to come.
    let more = u64::from(is_syncing && place.costs_snapshot);
    pair.gunyu.restart_with_env(&[]);
    pair.count();
    pair.finish((before + more).max(1));
}

fn matrix() -> Vec<Cell> {
    let mut cells = Vec::new();
    let steps = Step::ALL.iter().copied();
    for step in steps.filter(|step| is_possible(place_of(*step).tour)) {
        let passings = place_of(step).passings;
        cells.push(Cell::new(format!("{}:first", step.name()), move |seed| {
            die_at(seed, step, 1);
        }));
        if passings > 1 {
            cells.push(Cell::new(format!("{}:later", step.name()), move |seed| {
                die_at(seed, step, seed.rng(0x1A7E + step as u64).u64(2..=passings));
            }));
        }
    }
    cells
}

#[test]
fn whatever_step_gunyu_dies_at_counters_are_exact() {
    cells::run("crashes", matrix());
}

/// Without an order to die: whoever takes a step out of the program, or away from the tours, hears of it in every test run.
#[test]
fn every_step_is_passed_on_its_tour() {
    let seed = Seed::pick();
    let watch = "nowhere";
    for which in [
        Tour::Pair,
        Tour::Flushed,
        Tour::Idle,
        Tour::Promoted,
        Tour::Loose,
        Tour::Letters,
        Tour::Cluster,
        Tour::Moving,
        Tour::Carried,
        Tour::Leaver,
        Tour::Unheard,
        Tour::Left,
        Tour::Group(0),
        Tour::Group(1),
    ] {
        if !is_possible(which) {
            continue;
        }
        let traces = match beside(which, &seed, 0x70, watch) {
            Some(toured) => toured.traces,
            None => {
                let prepared = match which {
                    Tour::Promoted => Pair::prepare_replica(&seed, 0x70),
                    _ => Pair::prepare(&seed, 0x70),
                };
                let mut pair = prepared.begin(&[("GUNYU_CRASH_AT", watch)]);
                assert_eq!(tour(&mut pair, which), None, "{}", last(&pair.gunyu.traces()));
                pair.gunyu.traces()
            }
        };
        let of_tour = Step::ALL.iter().filter(|step| place_of(**step).tour == which);
        let missed: Vec<&str> = of_tour
            .map(|step| step.name())
            .filter(|name| !traces.contains(&format!("passed step={name:?}")))
            .collect();
        assert!(missed.is_empty(), "{which:?} does not pass {missed:?}\n{traces}");
    }
}
