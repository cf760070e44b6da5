//! A pause holds for the group: whoever leads next keeps it.

use std::time::Duration;

use super::support::fleet::LONG;
use super::support::group::{Group, Kind, LEASE, Plan, Tally};
use super::support::wait_for;
use super::support::workload::Seed;

/// How many of the writers' commands the target has carried out, by its own count.
fn applied(group: &Group) -> u64 {
    let stats = group.target.servers()[0].info("commandstats");
    let calls = stats
        .get("cmdstat_incr")
        .and_then(|line| line.strip_prefix("calls="))
        .and_then(|line| line.split(',').next());
    calls.map_or(0, |calls| calls.parse().unwrap())
}

struct Paused {
    group: Group,
    tally: Tally,
    applied: u64,
}

impl Paused {
    fn begin(store: Kind) -> Paused {
        let seed = Seed::pick();
        let mut group = Group::start(&Plan::of_one_input(store));
        let tally = Tally::start(group.source.shape(), &seed, 600);
        tally.wait_more(600);
        // Asked of any member.
        let follower = (group.leader() + 1) % 3;
        group.members[follower].must(200, "POST", "/syncer/pause?inputs=all");
        group.watch.note("paused");
        let mut last = applied(&group);
        group.wait_for(LONG, "nothing more is applied", |group| {
            tally.wait_time(Duration::from_millis(700));
            let now = applied(group);
            match std::mem::replace(&mut last, now) == now {
                true => Ok(()),
                false => Err(format!("{now} by now")),
            }
        });
        assert!(last > 0, "something was applied before");
        Paused {
            applied: last,
            group,
            tally,
        }
    }

    /// Whoever leads has what the source has written, and has applied nothing of it: for a lease time, in which everybody has looked many times.
    fn holds(&mut self, since: &str) {
        let end = self.group.source.servers()[0].offset();
        let leader = self.group.leader();
        let status = self.group.members[leader].wait_status(LONG, "the leader receives", |status| {
            status[0]["Offset"]["Received"].as_u64() >= Some(end)
        });
        self.tally.wait_time(LEASE);
        let now = applied(&self.group);
        assert_eq!(now, self.applied, "{since}, some was applied though it is paused");
        assert_eq!(status[0]["State"], "pause", "{since}: {status}");
    }

    fn resume(mut self) {
        let leader = self.group.leader();
        let asked = (leader + 1) % 3;
        self.group.members[asked].must(200, "POST", "/syncer/resume?inputs=all");
        self.group.watch.note("resumed");
        wait_for(LONG, "it is applied again", || {
            let now = applied(&self.group);
            (now > self.applied).then_some(()).ok_or_else(|| now.to_string())
        });
        self.group.finish(self.tally);
        assert_eq!(self.group.full_syncs(), 1, "{}", self.group.last_words());
    }
}

#[test]
fn a_pause_holds_over_a_takeover_and_a_handover() {
    let mut paused = Paused::begin(Kind::Etcd);
    let first = paused.group.leader();
    paused.group.members[first].kill9();
    paused.group.watch.note("the leader is killed");
    let second = paused.group.wait_successor(first, LONG);
    paused.holds("after a takeover");
    paused.group.members[first].start();
    paused.group.wait_settled(LONG);
    paused.holds("after a restart");
    paused.group.members[second].must(200, "POST", "/syncer/handover?inputs=all");
    paused.group.wait_successor(second, LONG);
    paused.holds("after a handover");
    paused.resume();
}

/// It goes by another name from then on.
#[test]
fn garbage_collection_removes_the_note_of_a_pause_whose_input_is_gone() {
    let mut group = Group::start(&Plan {
        members: 1,
        begin: 1,
        ..Plan::of_one_input(Kind::Redis)
    });
    let paused = |group: &Group| -> Vec<String> {
        let notes: Vec<String> = group.store.server().run(&["HKEYS", "/redis-gunyu/of-the-test"]);
        notes
            .into_iter()
            .filter(|note| note.contains("paused/"))
            .collect()
    };
    group.members[0].must(200, "POST", "/syncer/pause?inputs=all");
    let before = paused(&group);
    assert_eq!(before.len(), 1, "{before:?}");
    group.members[0].must(200, "POST", "/storage/gc");
    assert_eq!(paused(&group), before, "what is configured stays");
    assert_eq!(group.members[0].term().code(), Some(0));
    let yaml = group.members[0]
        .yaml()
        .replacen("input:\n", "input:\n  name: another\n", 1);
    group.members[0].configure(&yaml);
    group.members[0].start();
    group.wait_settled(LONG);
    group.members[0].must(200, "POST", "/storage/gc");
    assert_eq!(paused(&group), Vec::<String>::new());
}

/// All notes are gone with it, the members know.
#[test]
fn a_pause_holds_where_the_redis_that_holds_the_notes_is_flushed() {
    let mut paused = Paused::begin(Kind::Redis);
    for round in 0..2 {
        let () = paused.group.store.server().run(&["FLUSHALL"]);
        paused.group.watch.note("the store is flushed");
        paused.tally.wait_time(LEASE);
        paused.group.wait_settled(LONG);
        paused.holds(&format!("after flush {round} of the store"));
    }
    paused.resume();
}
