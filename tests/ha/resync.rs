//! A full sync that was asked for, whose leader dies before it is over: what the heir has of an older snapshot counts for nothing, and in the end all is exact.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use redis::Commands;
use serde_json::Value;

use super::support::fleet::{LONG, wait_equal};
use super::support::group::{Group, Kind, Plan, Tally};
use super::support::server::connect;
use super::support::workload::Seed;

/// Keys that nobody but this test writes to.
const KEYS: u64 = 4_000;

/// How many commands a second are applied at most: fewer than there are keys, more than the writers send.
const OPS_PER_SECOND: u64 = 1_500;

/// The source's child waits for so long behind each key where its snapshot is to take long.
const SAVE_DELAY_US: &str = "400";

/// One of them says which round it is.
const MARK: &str = "resync:mark";

/// How far the full sync is when the leader is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// It has been asked for.
    Begun,
    /// Some of the snapshot has been received, and the rest takes long.
    Received,
    /// Some of it has been replayed.
    Replayed,
}

impl Moment {
    fn has_come(self, input: &Value) -> bool {
        let (full_sync, is_copying) = (&input["FullSync"], input["Phase"] == "full_sync");
        match self {
            Moment::Begun => true,
            Moment::Received => is_copying && full_sync["ReceivedBytes"].as_u64() > Some(100_000),
            Moment::Replayed => is_copying && full_sync["Keys"].as_u64() > Some(KEYS / 8),
        }
    }
}

/// What the target says of the mark, all the time.
struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<BTreeSet<Option<u64>>>,
}

impl Sampler {
    fn start(group: &Group) -> Sampler {
        let stop = Arc::new(AtomicBool::new(false));
        let (url, until) = (group.target.servers()[0].url(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut conn = connect(&url).unwrap();
            let mut seen = BTreeSet::new();
            while !until.load(Ordering::SeqCst) {
                seen.insert(conn.get::<_, Option<u64>>(MARK).unwrap());
                std::thread::sleep(Duration::from_millis(3));
            }
            seen
        });
        Sampler { stop, thread }
    }

    fn stop(self) -> BTreeSet<Option<u64>> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

/// All keys get this round's value, and one of them goes for good.
fn change(group: &Group, round: u64) {
    let mut pipe = redis::pipe();
    for number in 0..KEYS {
        pipe.cmd("SET")
            .arg(format!("resync:{number}"))
            .arg(format!("{round}:{}", "x".repeat(200)))
            .ignore();
    }
    pipe.cmd("DEL").arg(format!("resync:gone:{round}")).ignore();
    pipe.cmd("SET").arg(MARK).arg(round).ignore();
    let () = pipe.query(&mut group.source.servers()[0].conn()).unwrap();
}

fn wait_mark(group: &mut Group, round: u64) {
    let mut target = group.target.servers()[0].conn();
    group.wait_for(LONG, "the target has this round's values", |_| {
        let mark: Option<u64> = target.get(MARK).map_err(|error| error.to_string())?;
        (mark == Some(round))
            .then_some(())
            .ok_or_else(|| format!("{mark:?}"))
    });
}

/// Begins with a full sync; then one is asked for in each round, and its leader dies at this moment. `sections`: more of the configuration.
fn killed(store: Kind, sections: &str, call: &str, moments: &[Moment]) {
    let seed = Seed::pick();
    let mut group = Group::prepare(&Plan {
        sections: format!("  replay: {{rateLimit: {{opsPerSec: {OPS_PER_SECOND}}}}}\n{sections}"),
        ..Plan::of_one_input(store)
    });
    for round in 1..=moments.len() {
        let () = group.source.servers()[0].run(&["SET", &format!("resync:gone:{round}"), "old"]);
    }
    change(&group, 0);
    group.members.iter_mut().for_each(|member| member.start());
    group.wait_settled(LONG);
    let tally = Tally::start(group.source.shape(), &seed, 150);
    for (round, moment) in (1..).zip(moments) {
        change(&group, round);
        wait_mark(&mut group, round);
        let leader = group.leader();
        if *moment == Moment::Received {
            let () = group.source.servers()[0].run(&["CONFIG", "SET", "rdb-key-save-delay", SAVE_DELAY_US]);
        }
        let sampler = Sampler::start(&group);
        group.members[leader].must(200, "POST", call);
        let status = group.members[leader].wait_status(LONG, "the full sync is so far", |status| {
            moment.has_come(&status[0])
        });
        group.members[leader].kill9();
        group.watch.note(&format!(
            "{moment:?}: member {leader} is killed: {}",
            status[0]["FullSync"]
        ));
        let () = group.source.servers()[0].run(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
        group.wait_successor(leader, LONG);
        group.members[leader].start();
        group.wait_settled(LONG);
        wait_mark(&mut group, round);
        let mut seen = sampler.stop();
        if call.contains("flushdb") {
            seen.remove(&None);
        }
        assert_eq!(
            seen,
            BTreeSet::from([Some(round)]),
            "{moment:?}: older data came back"
        );
        println!(
            "round {round}, {moment:?}: the source has made {} snapshots",
            group.full_syncs()
        );
    }
    group.finish(tally);
    wait_equal(group.source.shape(), group.target.shape(), LONG);
}

#[test]
fn a_leader_that_dies_during_a_full_sync_leaves_no_older_data() {
    let moments = [Moment::Begun, Moment::Received, Moment::Replayed];
    killed(Kind::Etcd, "", "/syncer/fullsync?inputs=all", &moments);
}

#[test]
fn a_leader_that_dies_during_a_full_sync_with_a_flush_leaves_all_that_is_new() {
    let call = "/syncer/fullsync?inputs=all&flushdb=yes";
    killed(Kind::Redis, "", call, &[Moment::Replayed]);
}

#[test]
fn a_leader_with_its_log_in_memory_that_dies_during_a_full_sync_leaves_no_older_data() {
    let moments = [Moment::Received, Moment::Replayed];
    let sections = "channel: {type: memory}\n";
    killed(Kind::Redis, sections, "/syncer/fullsync?inputs=all", &moments);
}

/// The target is behind the slots that have moved, and what it lacks of either shard is in the snapshot that the other member's leader alone has.
#[test]
fn full_syncs_of_shards_led_by_different_members_do_not_wait_for_each_other_with_logs_in_memory() {
    let seed = Seed::pick();
    let mut group = Group::start(&Plan {
        members: 2,
        begin: 2,
        source: 2,
        sections: "  replay: {rateLimit: {opsPerSec: 200}}\nchannel: {type: memory}\n".to_owned(),
        ..Plan::of(Kind::Redis)
    });
    group.wait_for(LONG, "each leads one", |group| {
        let shares = group.shares();
        (shares.len() == 2).then_some(()).ok_or(format!("{shares:?}"))
    });
    group.wait_settled(LONG);
    let tally = Tally::start(group.source.shape(), &seed, 400);
    tally.wait_more(2_000);
    group.source.fleet().reshard(0, 1, 100);
    group.watch.note("slots have moved");
    group.members[0].must(200, "POST", "/syncer/fullsync?inputs=all");
    group.watch.note("full syncs have begun");
    let sent = tally.stop();
    group.wait_settled(LONG);
    group.watch.note("they are over");
    sent.wait_on(group.target.shape(), LONG);
    group.assert_sound();
    println!("{}", group.watch.story());
    assert_eq!(group.full_syncs(), 4, "one more of each: {}", group.last_words());
}
