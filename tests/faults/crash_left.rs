//! The tour of what an input has left that is not configured any more: its log goes at once, its checkpoint when it is old. Wherever that ends, a later
//! call finds the rest.

use std::os::unix::process::ExitStatusExt;

use super::crash_many::Toured;
use super::pair::{LONG, last, wait_death};
use super::support::workload::{Counters, Options, Seed};
use super::support::{Gunyu, SOON, Server, wait_for};

/// Writes a second.
const RATE: u64 = 600;

fn args(sources: &[&Server], target: &Server) -> Vec<String> {
    let sources: Vec<String> = sources.iter().map(|source| source.addr()).collect();
    let targets = vec![target.addr(); sources.len()];
    vec![
        "sync".to_owned(),
        format!("--set=input.redis.addresses=[{}]", sources.join(", ")),
        format!("--set=output.redis.addresses=[{}]", targets.join(", ")),
        "--set=channel.staleCheckpointDuration=5m".to_owned(),
    ]
}

/// What a call has taken and what it has left; nothing where gunyu has died of it.
fn collect(gunyu: &mut Gunyu) -> Option<serde_json::Value> {
    match gunyu.request("POST", "/storage/gc") {
        Ok(answer) if answer.status == 200 => Some(answer.json()),
        Ok(answer) => panic!("{}\n{}", answer.text(), last(&gunyu.traces())),
        Err(_) => {
            wait_death(gunyu);
            None
        }
    }
}

/// As if nobody had written it for two days.
fn grow_old(target: &Server, checkpoint: &str) {
    let written: u64 = target.run(&["HGET", checkpoint, "time_ms"]);
    let old = (written - 172_800_000).to_string();
    let () = target.run(&["HSET", checkpoint, "time_ms", &old]);
}

pub(super) fn what_is_left(seed: &Seed, part: u64, order: &str) -> Toured {
    let mut rng = seed.rng(part);
    let (stays, goes, target) = (Server::start(), Server::start(), Server::start());
    let () = goes.run(&["SET", "of the one that goes", "value"]);
    let both = args(&[&stays, &goes], &target);
    let mut gunyu = Gunyu::with_args(both, &[("GUNYU_CRASH_AT", order)]);
    gunyu.wait_ready(LONG);
    let () = goes.run(&["SET", "of its stream", "value"]);
    gunyu.wait_applied(&goes, LONG);
    assert_eq!(gunyu.term().code(), Some(0), "{}", last(&gunyu.traces()));
    let keys: Vec<String> = target.run(&["KEYS", "redis-gunyu-checkpoint:{*}"]);
    let of_goes = goes.addr().replace(':', "_");
    let checkpoint = keys.iter().find(|key| key.contains(&of_goes)).unwrap();
    let name = checkpoint.split(['{', '}']).nth(1).unwrap();
    let folder = gunyu.state_dir().join(name);
    assert!(folder.is_dir(), "{}", folder.display());

    gunyu.restart_with(args(&[&stays], &target));
    gunyu.wait_ready(LONG);
    let options = Options {
        per_second: Some(RATE),
        ..Options::default()
    };
    let counters = Counters::with(&stays.url(), &Seed::of(rng.u64(..)), &options);
    counters.wait_more(100);
    // The checkpoint is too young, and stays.
    let first = collect(&mut gunyu);
    grow_old(&target, checkpoint);
    if first.is_some() && collect(&mut gunyu).is_some() {
        gunyu.signal(libc::SIGTERM);
        wait_death(&mut gunyu);
    }
    let status = gunyu.ended().expect("it has ended");
    let toured = Toured {
        has_died: status.signal() == Some(libc::SIGABRT),
        traces: gunyu.traces(),
    };
    gunyu.restart_with_env(&[]);
    gunyu.wait_ready(LONG);
    wait_for(SOON, "nothing is left to collect", || {
        let answer = collect(&mut gunyu).expect("it has no order to die");
        let is_empty = |field: &str| answer[field].as_array().is_some_and(Vec::is_empty);
        match ["logs", "checkpoints", "kept"].into_iter().all(is_empty) {
            true => Ok(()),
            false => Err(answer.to_string()),
        }
    });
    assert!(!folder.exists(), "its log is still here");
    let session = format!("{checkpoint}:session");
    let ours: u64 = target.run(&["EXISTS", checkpoint, &session]);
    assert_eq!(ours, 0, "its checkpoint is still on the target");
    let data: u64 = target.run(&["EXISTS", "of the one that goes", "of its stream"]);
    assert_eq!(data, 2, "its data was to stay");
    counters.wait_more(100);
    let expected = counters.stop();
    gunyu.wait_applied(&stays, LONG);
    expected.assert_on(&stays);
    expected.assert_on(&target);
    assert_eq!(stays.info("stats")["sync_full"], "1");
    toured
}
