//! The source's history begins anew in the midst of a greeting, of a drain, of a handover. While a snapshot arrives or is restored, and while the stream is
//! live: [`super::source`].

use super::support::fleet::LONG;
use super::support::group::{Group, Kind, Plan, Tally};
use super::support::proxy::{Fault, Proxy, Way};
use super::support::workload::Seed;
use super::support::{Gunyu, SOON, Server, wait_until};
use super::{BACKLOG, Pair, full_syncs};

/// Bytes of a greeting, up to where it asks for the stream.
const GREETING_BYTES: u64 = 120;

/// Another id, which nobody is told of; the links there are end.
fn begin_another(source: &Server) {
    let () = source.run(&["DEBUG", "CHANGE-REPL-ID"]);
    source.run::<redis::Value>(&["CLIENT", "KILL", "TYPE", "replica"]);
}

#[track_caller]
fn wait_begun_anew(gunyu: &mut Gunyu, reasons: &[&str]) {
    gunyu.wait_status(
        LONG,
        &format!("it is live again, for one of {reasons:?}"),
        |status| {
            let reason = status[0]["FullSync"]["Reason"].as_str().unwrap_or_default();
            reasons.contains(&reason) && status[0]["Phase"] == "incremental"
        },
    );
}

/// What the source said of itself before is not true any more when the stream is asked for.
#[test]
fn a_new_history_in_the_midst_of_a_greeting_begins_anew() {
    let source = Server::with(BACKLOG);
    let line = Proxy::to(source.port());
    let mut pair = Pair::by_way(&line.url(), source, Server::start(), &[], &[]);
    pair.gunyu.wait_ready(LONG);
    pair.counters.wait_more(500);
    let bytes = pair.seed.rng(0x6EE7).u64(1..GREETING_BYTES);
    line.refuse(true);
    line.cut();
    line.arm(Fault::Stall, Way::Up, bytes);
    line.refuse(false);
    wait_until(LONG, "a greeting is held up", || {
        line.strikes() == 1 && line.is_holding()
    });
    let source = &pair.source;
    wait_until(SOON, "the old link has ended, and none has begun", || {
        source.info("replication")["connected_slaves"] == "0"
    });
    begin_another(source);
    pair.counters.wait_more(500);
    line.heal();
    wait_until(LONG, "the source is asked for a snapshot", || {
        full_syncs(source) >= 2
    });
    // Whether gunyu sees it by itself depends on what it had asked by then.
    wait_begun_anew(&mut pair.gunyu, &["history diverged", "source refused"]);
    pair.finish_however();
}

#[test]
fn a_new_history_while_gunyu_drains_begins_anew_then_or_at_the_next_start() {
    let mut pair = Pair::start(&[], &[]);
    pair.target.sigstop();
    pair.counters.wait_more(500);
    pair.gunyu.signal(libc::SIGTERM);
    let gunyu = &pair.gunyu;
    wait_until(LONG, "it drains", || gunyu.traces().contains("draining"));
    begin_another(&pair.source);
    pair.counters.wait_more(500);
    pair.target.sigcont();
    let status = pair.gunyu.wait_end(LONG);
    assert_eq!(status.code(), Some(0), "{}", pair.gunyu.traces());
    pair.gunyu.restart();
    let (source, traces) = pair.finish_however();
    // A snapshot that arrives while it drains is in the log, and is not asked for again.
    assert_eq!(full_syncs(&source), 2, "{traces}");
}

#[test]
fn a_new_history_while_the_lead_is_handed_over_begins_anew_under_the_heir() {
    let seed = Seed::pick();
    let mut group = Group::start(&Plan {
        members: 2,
        begin: 2,
        ..Plan::of_one_input(Kind::Redis)
    });
    let tally = Tally::start(group.source.shape(), &seed, 600);
    tally.wait_more(200);
    let leader = group.leader();
    let held = group.target.gates()[0].way(leader);
    held.stall();
    wait_until(LONG, "a batch is on its way", || held.is_holding());
    let api = group.members[leader].api();
    let handing = std::thread::spawn(move || api.send("POST", "/syncer/handover?inputs=all", LONG));
    let member = &group.members[leader];
    wait_until(LONG, "it hands over", || member.traces().contains("handing over"));
    begin_another(group.source.servers()[0]);
    tally.wait_more(200);
    held.resume();
    let answer = handing.join().unwrap().unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let heir = 1 - leader;
    // It restores what the one before it was still sent, or is sent a snapshot itself.
    group.members[heir].wait_status(LONG, "the heir is live", |status| {
        status[0]["Role"] == "leader" && status[0]["Phase"] == "incremental"
    });
    tally.wait_more(200);
    group.finish(tally);
    assert_eq!(group.full_syncs(), 2, "{}", group.last_words());
}
