//! The process dies while it sweeps, or has just swept, a target that has keys which the source has not: they are counted as if it had lived.

use gunyu::core::crash::Step;
use serde_json::Value;

use super::cells::{self, Cell};
use super::pair::{LONG, is_live, last, wait_death};
use super::support::wire::{Batch, put};
use super::support::{Gunyu, Server, wait_for};

/// So many steps of the walk meet some of them.
const STALE: usize = 12_000;

/// What becomes of them: by the setting, the field that counts them, and how many are left.
const POLICIES: [(&str, &str, usize); 2] = [("delete", "StaleDeleted", 0), ("auto", "StaleKept", STALE)];

fn filled(names: &str, count: usize, server: &Server) {
    let mut batch = Batch::default();
    for number in 0..count {
        put!(batch, "SET", format!("{names}:{number}"), number);
    }
    batch.must(&mut server.conn());
}

fn count(names: &str, server: &Server) -> usize {
    let keys: Vec<String> = server.run(&["KEYS", &format!("{names}:*")]);
    keys.len()
}

fn died_at(order: &str, policy: &str, source: &Server, target: &Server) -> Gunyu {
    let args = vec![
        "sync".to_owned(),
        format!("--source={}", source.url()),
        format!("--target={}", target.url()),
        format!("--set=output.replay.staleKeys={policy}"),
    ];
    let mut gunyu = Gunyu::with_args(args, &[("GUNYU_CRASH_AT", order)]);
    wait_for(LONG, "it dies as ordered", || {
        gunyu.ended().map(drop).ok_or_else(|| last(&gunyu.traces()))
    });
    wait_death(&mut gunyu);
    gunyu.restart_with_env(&[]);
    gunyu.wait_ready(LONG);
    gunyu
}

/// Whether it was within the sweep: then its numbers are told by the life that brings it to its end.
fn in_sweep(step: Step, nth: u64, (policy, field, left): (&str, &str, usize)) {
    let (source, target) = (Server::start(), Server::start());
    filled("both", 20, &source);
    filled("both", 20, &target);
    filled("only", STALE, &target);
    let gunyu = died_at(&format!("{}:{nth}", step.name()), policy, &source, &target);
    let told = gunyu.status()[0]["FullSync"].clone();
    for other in ["StaleDeleted", "StaleKept"] {
        let wanted = if other == field { STALE } else { 0 };
        assert_eq!(told[other], wanted, "{told}\n{}", last(&gunyu.traces()));
    }
    assert_eq!((count("only", &target), count("both", &target)), (left, 20));
}

/// It was over: nothing is swept again. What the catalog still has of it must not reach into the next one.
fn after_record((policy, field, left): (&str, &str, usize)) {
    let (source, target) = (Server::start(), Server::start());
    filled("both", 20, &source);
    filled("only", STALE, &target);
    let mut gunyu = died_at(Step::SyncRecorded.name(), policy, &source, &target);
    assert_eq!(source.info("stats")["sync_full"], "1");
    assert_eq!((count("only", &target), count("both", &target)), (left, 20));
    // This one was in that snapshot, and is stale now; that one was not, and is no longer.
    let _: u64 = source.run(&["DEL", "both:7"]);
    let () = source.run(&["SET", "only:7", "source"]);
    gunyu.wait_applied(&source, LONG);
    let () = target.run(&["SET", "both:7", "target"]);
    gunyu.must("POST", "/syncer/fullsync?inputs=all");
    let is_done = |status: &Value| is_live(&status[0]) && status[0]["FullSync"]["Reason"] == "requested";
    let status = gunyu.wait_status(LONG, "another full sync is done", is_done);
    let stale = if left == 0 { 1 } else { left };
    assert_eq!(status[0]["FullSync"][field], stale, "{status}");
    assert_eq!(target.run::<String>(&["GET", "only:7"]), "source");
    assert_eq!(target.run::<u64>(&["EXISTS", "both:7"]), u64::from(left > 0));
}

#[test]
fn a_crash_of_the_sweep_changes_neither_what_is_left_nor_what_is_counted() {
    let mut cells = Vec::new();
    for policy in POLICIES {
        let mut steps = vec![(Step::SyncStaleNoted, 2), (Step::SyncSwept, 1)];
        if policy.0 == "delete" {
            steps.push((Step::SyncSweeping, 2));
        }
        for (step, nth) in steps {
            let name = format!("stale:{}:{}", policy.0, step.name());
            cells.push(Cell::new(name, move |_| in_sweep(step, nth, policy)));
        }
        let name = format!("stale:{}:{}", policy.0, Step::SyncRecorded.name());
        cells.push(Cell::new(name, move |_| after_record(policy)));
    }
    cells::run("crashes of the sweep", cells);
}
