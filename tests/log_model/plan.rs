//! Whether what `resume` plans is right: the row of its table that fits what is there, and a way on which the target gets each
//! byte of the source once and no other.

use gunyu::core::position::{History, Position};
use gunyu::core::resume::{Ask, Log, Plan, Read, plan};

use super::model::{Checkpoint, Held, Source};

/// Whether `position` can be continued from, by the words of the source's own documentation.
fn covers(history: &History, position: &Position) -> bool {
    let by_previous = history
        .previous
        .is_some_and(|(id, shared)| id == position.id && position.offset.get() <= shared.get());
    history.id == position.id || by_previous
}

/// The row, by the table at the head of `resume`.
fn row(source: &History, log: Option<&Log>, checkpoint: Option<&Position>) -> char {
    let known = checkpoint.map(|at| covers(source, at));
    let log = log.filter(|log| {
        let end = Position {
            id: log.history.id,
            offset: log.extent.end,
        };
        covers(source, &end)
    });
    let within = log.zip(checkpoint).is_some_and(|(log, at)| {
        covers(&log.history, at) && log.extent.start <= at.offset && at.offset <= log.extent.end
    });
    let snapshot = log.and_then(|log| log.snapshot);
    let newer = snapshot.is_some_and(|at| checkpoint.is_none_or(|one| one.offset < at));
    match (known, log.is_some(), within, snapshot.is_some()) {
        (Some(true), true, true, _) => 'A',
        (Some(true), true, false, _) if newer => 'D',
        (Some(true), true, false, _) => 'B',
        (Some(true), false, _, _) => 'C',
        (None | Some(false), true, _, true) => 'D',
        (None, _, _, _) => 'E',
        (Some(false), _, _, _) => 'F',
    }
}

/// Plans, and checks the plan.
pub fn check(source: &Source, held: Option<&Held>, log: Option<&Log>, target: Option<&Checkpoint>) -> Plan {
    let checkpoint = target.map(|one| one.position);
    let plan = plan(Some(&source.history), log, checkpoint);
    let seen = || format!("{plan:?}\nsource {source:?}\nlog {log:?}\nheld {held:?}\ntarget {target:?}");
    assert_eq!(
        plan.case,
        row(&source.history, log, checkpoint.as_ref()),
        "{}",
        seen()
    );
    // What goes on in the log, or at the source, is the source's own history.
    if let Ask::Continue(at) = plan.ask {
        assert!(covers(&source.history, &at), "{}", seen());
    }
    if plan.keep_log {
        let (held, log) = (held.unwrap(), log.unwrap());
        let end = log.extent.end.get();
        assert!(held.lineage.agrees_up_to(&source.lineage, end), "{}", seen());
        assert!(
            matches!(plan.ask, Ask::Continue(at) if at.offset.get() == end),
            "{}",
            seen()
        );
    }
    match (plan.read, target) {
        (Read::Log(from), Some(target)) => {
            assert_eq!(from, target.position.offset, "{}", seen());
            let agrees = target.lineage.agrees_up_to(&source.lineage, from.get());
            assert!(agrees, "what the target has is not the source's: {}", seen());
            let asked_from_there = matches!(plan.ask, Ask::Continue(at) if at.offset == from);
            let held = log.is_some_and(|log| log.extent.can_read_from(from));
            assert!(plan.keep_log && held || asked_from_there, "{}", seen());
        }
        (Read::Log(_), None) => panic!("nothing is on the target: {}", seen()),
        (Read::Snapshot(at), _) => {
            let log = log.unwrap();
            assert_eq!(log.snapshot, Some(at), "{}", seen());
            assert_eq!(log.extent.start, at, "a gap after the snapshot: {}", seen());
        }
        (Read::Coming, _) => assert!(matches!(plan.ask, Ask::FullSync(_)), "{}", seen()),
    }
    plan
}
