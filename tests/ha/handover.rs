//! The lead is handed over when it is asked for, by the API, by the command and by a member that ends; and what is asked of any member is carried out by
//! the one that leads.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::support::fleet::LONG;
use super::support::group::{Group, Kind, LASTING, Member, Plan, TOKEN, Tally};
use super::support::gunyu::PROGRAM;
use super::support::wire::{Batch, put};
use super::support::workload::Seed;
use super::support::{at_this_load, wait_for};

/// Without a leader there is at most this, on a machine that has nothing else to do.
const GAP_MAX: Duration = Duration::from_secs(1);

/// One input, of which the lead moves where it is handed over and nowhere else.
fn one_input(store: Kind) -> Plan {
    Plan {
        lease: LASTING,
        ..Plan::of_one_input(store)
    }
}

fn begin(plan: &Plan) -> (Group, Tally) {
    let seed = Seed::pick();
    let group = Group::start(plan);
    let tally = Tally::start(group.source.shape(), &seed, 600);
    tally.wait_more(300);
    (group, tally)
}

/// Exact, without a gap worth the name, and without a full sync but the first.
fn end(mut group: Group, tally: Tally) {
    let inputs = group.inputs() as u64;
    group.wait_settled(LONG);
    group.finish(tally);
    let (gaps, bound) = (group.watch.gaps(), at_this_load(GAP_MAX));
    println!("{gaps}");
    assert!(gaps.max() < bound, "{gaps}; at most {bound:?}");
    assert_eq!(group.full_syncs(), inputs, "{}", group.last_words());
}

/// `gunyu …words --server …`, which must end well, and in time.
fn command(member: &Member, args: &[&str]) -> String {
    let mut command = Command::new("timeout");
    command
        .arg(LONG.as_secs().to_string())
        .arg(PROGRAM)
        .args(args)
        .args(["--server", &member.url()]);
    let output = command.env("GUNYU_TOKEN", TOKEN).output().unwrap();
    let (said, told) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(
        output.status.success(),
        "{args:?}: {}\n{said}{told}",
        output.status
    );
    said
}

fn the_lead_is_handed_to_the_best_and_to_the_one_named(store: Kind) {
    let (mut group, tally) = begin(&one_input(store));
    let first = group.leader();
    group.hand_over(first, None);
    let second = group.wait_successor(first, LONG);
    group.wait_settled(LONG);
    tally.wait_more(300);
    // Back to the one that had it, though another could take it too.
    group.hand_over(second, Some(first));
    assert_eq!(group.wait_successor(second, LONG), first);
    end(group, tally);
}

#[test]
fn the_command_hands_over_and_waits() {
    let (mut group, tally) = begin(&one_input(Kind::Etcd));
    let first = group.leader();
    command(&group.members[first], &["handover", "--inputs", "all", "--wait"]);
    // It has waited: another leads by now.
    let second = group.leader();
    assert_ne!(second, first, "{}", group.watch.story());
    group.wait_settled(LONG);
    let third = (0..3).find(|number| ![first, second].contains(number)).unwrap();
    let id = group.members[third].id();
    command(
        &group.members[second],
        &["handover", "--inputs", "all", "--to", &id, "--wait"],
    );
    assert_eq!(group.leader(), third);
    end(group, tally);
}

/// Of the daemon whose configuration is given nothing runs; the registry that it names knows others.
#[test]
fn the_command_finds_a_living_member_by_the_configuration_of_one_that_is_down() {
    let (mut group, tally) = begin(&one_input(Kind::Redis));
    let leader = group.leader();
    let down = (leader + 1) % 3;
    let heir = (leader + 2) % 3;
    let status = group.members[down].term();
    assert_eq!(status.code(), Some(0), "{}", group.members[down].last_words());
    let mut command = Command::new(PROGRAM);
    command.args(["handover", "--inputs", "all", "--wait", "--config"]);
    command.arg(group.members[down].file());
    let output = command.env_remove("GUNYU_SERVER").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}{told}", output.status);
    assert!(said.contains(&group.members[heir].id()), "{said}");
    assert_eq!(group.leader(), heir, "{}", group.watch.story());
    group.members[down].start();
    end(group, tally);
}

/// Whichever of the others has left a moment ago: the leader may not have seen it yet, and chooses it.
#[test]
fn a_handover_that_meets_a_member_that_has_just_left_goes_to_the_next_one() {
    let (mut group, tally) = begin(&one_input(Kind::Redis));
    for round in 1..=4 {
        let leader = group.leader();
        let down = (leader + 1 + round % 2) % 3;
        let heir = 3 - leader - down;
        assert_eq!(group.members[down].term().code(), Some(0));
        group.members[leader].must(200, "POST", "/syncer/handover?inputs=all");
        assert_eq!(
            group.wait_successor(leader, LONG),
            heir,
            "{}",
            group.watch.story()
        );
        group.members[down].start();
        group.wait_settled(LONG);
    }
    end(group, tally);
}

/// Their leases have not run out, so that the registry still names them.
#[test]
fn a_handover_passes_over_members_that_have_died() {
    let (mut group, tally) = begin(&one_input(Kind::Etcd));
    let leader = group.leader();
    let (one, other) = ((leader + 1) % 3, (leader + 2) % 3);
    group.members[one].kill9();
    group.members[leader].must(200, "POST", "/syncer/handover?inputs=all");
    assert_eq!(
        group.wait_successor(leader, LONG),
        other,
        "{}",
        group.watch.story()
    );
    group.wait_settled(LONG);
    // Nobody answers: it stays where it is.
    group.members[leader].kill9();
    let refusal = group.members[other].must(409, "POST", "/syncer/handover?inputs=all");
    assert!(
        refusal.text().contains("reaches its source and target"),
        "{}",
        refusal.text()
    );
    assert_eq!(group.leader(), other);
    group.members[one].start();
    group.members[leader].start();
    end(group, tally);
}

#[test]
fn a_handover_that_cannot_be_is_refused() {
    let (mut group, tally) = begin(&Plan {
        begin: 1,
        ..one_input(Kind::Redis)
    });
    let refused = |code: u16, path: &str| {
        let answer = group.members[0].must(code, "POST", path);
        let body = answer.json();
        for field in ["error", "hint"] {
            let told = body[field].as_str().unwrap_or_default();
            assert!(!told.is_empty(), "{path}: no {field} in {body}");
        }
        body["error"].as_str().unwrap().to_owned()
    };
    refused(409, "/syncer/handover?inputs=all");
    let told = refused(400, "/syncer/handover?inputs=all&to=10.1.2.3:4");
    assert!(told.contains("10.1.2.3:4"), "{told}");
    refused(400, "/syncer/handover?inputs=10.1.2.3:4");
    assert_eq!(group.leader(), 0);
    // With another one it can be.
    group.members[1].start();
    group.wait_settled(LONG);
    group.hand_over(0, None);
    assert_eq!(group.wait_successor(0, LONG), 1);
    end(group, tally);
}

#[test]
fn a_full_sync_asked_of_a_follower_is_carried_out_by_the_leader() {
    let (mut group, tally) = begin(&one_input(Kind::Etcd));
    let leader = group.leader();
    let follower = (leader + 1) % 3;
    group.members[follower].must(200, "POST", "/syncer/fullsync?inputs=all");
    wait_full_syncs(&mut group, 2);
    assert_eq!(group.leader(), leader, "the lead stays where it is");
    group.wait_settled(LONG);
    group.finish(tally);
}

/// The inputs are led by different members, so that whoever is asked leads one of them at most.
#[test]
fn a_full_sync_asked_of_anyone_can_be_waited_for() {
    let (mut group, tally) = begin(&Plan::of(Kind::Redis));
    group.wait_for(LONG, "each leads one", |group| {
        let shares = group.shares();
        (shares.len() == 3)
            .then_some(())
            .ok_or_else(|| format!("{shares:?}"))
    });
    group.wait_settled(LONG);
    for asked in 0..3 {
        let before = group.full_syncs();
        let said = command(
            &group.members[asked],
            &["fullsync", "--inputs", "all", "--wait", "--patience", "30"],
        );
        assert!(said.contains("full sync done: "), "{said}");
        // It has waited: each leader has its snapshot on the target, and says so of itself and to whoever is asked.
        assert_eq!(group.full_syncs(), before + 3);
        let led = wait_for(LONG, "each leader says so of itself", || {
            let own = group.members.iter().map(|member| status(member, "here"));
            let led: Vec<Value> = own.flatten().filter(|input| input["Role"] == "leader").collect();
            (led.len() == 3)
                .then_some(led.clone())
                .ok_or_else(|| format!("{led:?}"))
        });
        // The member that is asked tells what it knows itself of a leader that takes long to answer.
        let told = wait_for(LONG, "each leader has told the one that is asked", || {
            let told = status(&group.members[asked], "leaders");
            let all = told.iter().all(|input| input["Role"] == "leader");
            all.then_some(told.clone()).ok_or_else(|| format!("{told:?}"))
        });
        for input in led.into_iter().chain(told) {
            let is_done = input["Phase"] == "incremental" && input["FullSync"]["Percent"] == 100.0;
            assert!(is_done, "{input}");
        }
    }
    // Of a leader that does not answer, the member that is asked tells what it knows itself.
    let (asked, silent) = (0, 1);
    group.members[silent].freeze();
    let all = status(&group.members[asked], "leaders");
    assert_eq!(all.len(), 3, "{all:?}");
    group.members[silent].thaw();
    group.members[asked].must(400, "GET", "/syncer/status?from=elsewhere");
    group.wait_settled(LONG);
    group.finish(tally);
}

fn status(member: &Member, from: &str) -> Vec<Value> {
    let answer = member.must(200, "GET", &format!("/syncer/status?from={from}"));
    answer.json().as_array().unwrap().clone()
}

#[test]
fn a_pause_is_shown_by_all_and_all_know_each_other() {
    let (mut group, tally) = begin(&one_input(Kind::Etcd));
    group.wait_settled(LONG);
    let mut ids: Vec<String> = group.members.iter().map(Member::id).collect();
    ids.sort();
    for (call, state) in [("pause", "pause"), ("resume", "run")] {
        group.members[0].must(200, "POST", &format!("/syncer/{call}?inputs=all"));
        for member in &group.members {
            member.wait_status(LONG, "it shows the state", |status| {
                status[0]["State"] == state && status[0]["Members"] == serde_json::json!(ids)
            });
        }
    }
    let leader = group.leader();
    let shown = command(&group.members[(leader + 1) % 3], &["status"]);
    let (id, last) = (
        group.members[leader].id(),
        format!("members: {}\n", ids.join(", ")),
    );
    assert!(
        shown.contains(&format!("  led by {id}, epoch ")) && shown.ends_with(&last),
        "{shown}"
    );
    let shown = command(&group.members[leader], &["status"]);
    assert!(shown.contains("  leads, epoch "), "{shown}");
    end(group, tally);
}

/// The inputs are led by different members.
#[test]
fn a_flush_and_full_sync_of_all_inputs_can_be_asked_of_anyone() {
    let (mut group, tally) = begin(&Plan::of(Kind::Redis));
    let mut client = group.target.shape().client();
    let mut stranger = Batch::default();
    put!(stranger, "SET", "a-stranger", "x");
    client.send(b"a-stranger", &stranger).unwrap();
    for asked in 0..3 {
        let before = group.full_syncs();
        group.members[asked].must(200, "POST", "/syncer/fullsync?inputs=all&flushdb=yes");
        wait_full_syncs(&mut group, before + 3);
        group.wait_settled(LONG);
    }
    group.finish(tally);
    let there: Vec<bool> = group
        .target
        .servers()
        .iter()
        .map(|server| server.run(&["EXISTS", "a-stranger"]))
        .collect();
    assert!(!there.contains(&true), "the target was flushed");
}

fn wait_full_syncs(group: &mut Group, count: u64) {
    group.wait_for(LONG, "the source has sent snapshots", |group| {
        let made = group.full_syncs();
        (made >= count)
            .then_some(())
            .ok_or_else(|| format!("{made} of {count}\n{}", group.last_words()))
    });
}

fn a_member_that_is_asked_to_stop_hands_over_first(store: Kind) {
    let (mut group, tally) = begin(&Plan::of(store));
    let stop: [fn(&mut Member) -> i32; 2] = [
        |member| {
            member.must(200, "DELETE", "/");
            member.wait_end(LONG).code().unwrap()
        },
        |member| member.term().code().unwrap(),
    ];
    for (number, stop) in stop.into_iter().enumerate() {
        group.watch.note(&format!("member {number} is asked to stop"));
        let code = stop(&mut group.members[number]);
        assert_eq!(code, 0, "{}", group.members[number].last_words());
        tally.wait_more(300);
        group.members[number].start();
        group.wait_settled(LONG);
    }
    end(group, tally);
}

over_both!(
    the_lead_is_handed_to_the_best_and_to_the_one_named,
    a_member_that_is_asked_to_stop_hands_over_first
);
