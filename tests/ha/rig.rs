//! The rig itself: what it cuts is cut, whose connection it is it knows, and what it must see it sees. A client of Redis stands in for
//! a member here.

use std::time::Duration;

use super::support::fleet::{Fleet, Layout};
use super::support::group::gate::{Gate, Roster};
use super::support::group::ledger::Ledger;
use super::support::group::{Nodes, Side, Tally, World};
use super::support::process::Process;
use super::support::workload::Seed;
use super::support::{SOON, Server, wait_until};

/// Writes once in a while, and connects again whenever that fails.
const WRITER: &str = r#"
    trap '' PIPE
    while :; do
        if { exec 3<>"/dev/tcp/$1/$2"; } 2>/dev/null; then
            while printf 'INCR %s\r\n' "$3" >&3 && read -r -t 2 <&3; do sleep 0.02; done 2>/dev/null
            exec 3>&-
        fi
        sleep 0.05
    done"#;

/// A process that writes as if it were that member.
fn member(number: usize, world: &World, roster: &Roster, gate: &Gate, key: &str) -> Process {
    let mut command = world.command(number, "bash");
    let (host, port) = (gate.addr().ip().to_string(), gate.addr().port().to_string());
    command.args(["-c", WRITER, "bash", &host, &port, key]);
    let nowhere = std::path::Path::new("/dev/null");
    let process = Process::start(command, nowhere, nowhere);
    roster.set(number, process.pid());
    process
}

fn links_are_cut_one_by_one(world: &World) {
    let (roster, server) = (Roster::default(), Server::start());
    let gate = Gate::to(server.port(), 2, world, &roster);
    let ledger = Ledger::of(&[&server], std::slice::from_ref(&gate));
    let _members = [0, 1].map(|number| member(number, world, &roster, &gate, &format!("key{number}")));
    let count = |number: usize| ledger.writes_of(number).0;
    let goes_on = |number: usize| {
        let before = count(number);
        wait_until(SOON, "the member writes", || count(number) > before);
    };
    goes_on(0);
    goes_on(1);
    for stalled in [false, true] {
        match stalled {
            true => gate.stall(0),
            false => gate.cut(0),
        }
        goes_on(1); // whatever was on its way is over by then
        ledger.catch_up(&[&server]);
        let before = count(0);
        goes_on(1);
        goes_on(1);
        ledger.catch_up(&[&server]);
        assert_eq!(count(0), before, "stalled: {stalled}");
        gate.heal(0);
        goes_on(0);
    }
    let () = server.run(&["INCR", "of-the-test"]);
    ledger.catch_up(&[&server]);
    let of_members: u64 = [0, 1]
        .map(|number| server.run::<u64>(&["GET", &format!("key{number}")]))
        .iter()
        .sum();
    assert!(ledger.writes().0 <= of_members);
    assert_eq!(ledger.faults(), Vec::<String>::new());
}

#[test]
fn the_link_of_one_member_is_cut_and_those_of_others_go_on() {
    links_are_cut_one_by_one(&World::of_one());
}

#[test]
fn machines_are_apart_where_the_system_permits_it() {
    World::with_machines(2, machines_are_apart_where_the_system_permits_it, |world| {
        links_are_cut_one_by_one(&world);
        if world.missing("that a cable can be pulled") {
            return;
        }
        // Each machine listens on the cable to the other alone.
        let (roster, nowhere) = (Roster::default(), std::path::Path::new("/dev/null"));
        let mut command = world.command(1, "redis-server");
        let address = world.hosts_of(1).1.to_string();
        command.args([
            "--port",
            "7000",
            "--bind",
            &address,
            "--save",
            "",
            "--protected-mode",
            "no",
        ]);
        let server = Process::start(command, nowhere, nowhere);
        roster.set(1, server.pid());
        let reaches = || {
            let mut command = world.command(0, "timeout");
            command.args(["1", "redis-cli", "-h", &address, "-p", "7000", "PING"]);
            command.output().unwrap().stdout.starts_with(b"PONG")
        };
        wait_until(SOON, "one machine reaches the other", reaches);
        world.plug_peers(1, false);
        assert!(!reaches(), "a cable that is pulled carries nothing");
        world.plug_peers(1, true);
        wait_until(SOON, "one machine reaches the other again", reaches);
    });
}

#[test]
fn a_cluster_is_found_by_its_gates_alone_and_what_is_written_is_counted() {
    let (roster, world, seed) = (Roster::default(), World::of_one(), Seed::pick());
    let side = Side::behind_gates(Nodes::Many(Fleet::with(Layout::of(3, 0))), 1, &world, &roster);
    let told: String = side.servers()[1].run(&["CLUSTER", "NODES"]);
    for (server, gate) in side.servers().iter().zip(side.addresses()) {
        assert!(!told.contains(&server.addr()) && told.contains(&gate), "{told}");
    }
    let tally = Tally::start(side.shape(), &seed, 2_000);
    tally.wait_more(3_000);
    let sent = tally.stop();
    sent.wait_on(side.shape(), Duration::ZERO);
    let key: String = side.servers()[0].run(&["RANDOMKEY"]);
    let () = side.servers()[0].run(&["DEL", &key]);
    assert!(sent.check(side.shape()).is_err());
}
