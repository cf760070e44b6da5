//! The rig itself: what it cuts is cut, whose connection it is it knows, and what it must see it sees. A client of Redis stands in for
//! a member here.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use redis::Value;

use super::support::fleet::{Fleet, LONG, Layout};
use super::support::group::gate::{Gate, Roster};
use super::support::group::owner;
use super::support::group::tally::{LENGTH, judge};
use super::support::group::watch::{Board, Said};
use super::support::group::{Break, Group, Kind, Ledger, Link, Nodes, Plan, Side, Tally, World};
use super::support::process::Process;
use super::support::server::connect;
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
    roster.start(number, || Process::start(command, nowhere, nowhere))
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
        let _server = roster.start(1, || Process::start(command, nowhere, nowhere));
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

#[test]
fn whose_a_connection_is_can_be_found_out_in_both_ways() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (SocketAddr::V4(local), SocketAddr::V4(remote)) =
        (client.local_addr().unwrap(), client.peer_addr().unwrap())
    else {
        panic!("this is IPv4");
    };
    let (asked, listed) = owner::both(local, remote);
    assert!(listed.is_some_and(|inode| owner::holds(std::process::id().try_into().unwrap(), inode)));
    assert!(asked == listed || asked.is_none(), "{asked:?}, {listed:?}");
    assert!(!owner::holds(1, listed.unwrap()));
    if asked.is_none() {
        eprintln!("this system cannot be asked for one socket: connections are slow to be let in");
    }
}

#[test]
fn what_is_lost_repeated_or_out_of_order_is_seen() {
    let replies = |counter: u64, list: &[u64]| {
        let text = |number: &u64| Value::BulkString(number.to_string().into_bytes());
        vec![text(&counter), Value::Array(list.iter().map(text).collect())]
    };
    assert_eq!(judge(&replies(3, &[0, 1, 2]), 3), Ok(()));
    assert_eq!(judge(&replies(2, &[LENGTH, LENGTH + 1]), 2), Ok(()));
    for (counter, list) in [
        (2, &[0, 1, 2][..]),
        (4, &[0, 1, 2]),
        (3, &[0, 1]),
        (3, &[0, 2, 1]),
        (3, &[0, 1, 1]),
        (3, &[1, 2, 3]),
    ] {
        assert!(judge(&replies(counter, list), 3).is_err(), "{counter} {list:?}");
    }
}

#[test]
fn an_epoch_that_falls_a_session_that_comes_back_and_two_members_under_one_epoch_are_faults() {
    let (roster, server) = (Roster::default(), Server::start());
    let gate = Gate::to(server.port(), 1, &World::of_one(), &roster);
    roster.set(0, i32::try_from(std::process::id()).unwrap());
    let ledger = Ledger::of(&[&server], std::slice::from_ref(&gate));
    let url = format!("redis://{}", gate.addr());
    let run = |conn: &mut redis::Connection, words: &[&str]| {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.exec(conn).unwrap();
    };
    let named = |url: &str, name: &str| {
        let mut conn = connect(url).unwrap();
        run(&mut conn, &["CLIENT", "SETNAME", name]);
        conn
    };
    let checkpoint = "redis-gunyu-checkpoint:{a}";
    let session = "redis-gunyu-checkpoint:{a}:session";
    let (mut one, mut other) = (named(&url, "gunyu:a:one"), named(&url, "gunyu:a:two"));
    run(&mut one, &["HSET", checkpoint, "offset", "9", "epoch", "1"]);
    run(&mut one, &["SET", "a \\ \"quoted\" key", "1"]);
    run(&mut other, &["HSET", session, "two", "2"]);
    run(&mut other, &["SET", "key", "2"]);
    run(&mut other, &["HSET", checkpoint, "epoch", "2", "offset", "10"]);
    let faults = |expected: usize, why: &str| {
        ledger.catch_up(&[&server]);
        let faults = ledger.faults();
        assert_eq!(faults.len(), expected, "{why}: {faults:?}");
    };
    faults(0, "one after the other");
    assert_eq!(ledger.writes_of(0).0, 5);
    assert_eq!(ledger.epochs()["a"], [1, 2]);
    run(&mut one, &["GET", "key"]);
    faults(0, "who reads does no harm");
    run(&mut one, &["SET", "key", "1"]);
    faults(1, "an older session");
    run(&mut other, &["HSET", checkpoint, "epoch", "1"]);
    faults(3, "the older session has been broken off, and the epoch falls");
    let mut stranger = named(&server.url(), "gunyu:b:one");
    run(&mut stranger, &["HSET", checkpoint, "epoch", "3"]);
    faults(3, "another deployment's session is none of this one's");
    run(&mut other, &["HSET", checkpoint, "epoch", "3"]);
    faults(4, "two members under one epoch");
}

#[test]
fn the_time_between_two_leaders_counts_and_two_under_one_epoch_are_a_fault() {
    let (start, mut board) = (Instant::now(), Board::begin());
    let at = |ms| start + Duration::from_millis(ms);
    let hear = |board: &mut Board, member, at_ms, epoch, leads| {
        let said = Said {
            input: "i".to_owned(),
            leads,
            leader: String::new(),
            epoch,
            phase: String::new(),
            received: 0,
        };
        board.hear(member, at(at_ms), &[said]);
    };
    hear(&mut board, 0, 0, 1, true);
    hear(&mut board, 0, 5_000, 1, true);
    // A silence that was over before he led shortens nothing.
    board.miss(1, at(5_500));
    hear(&mut board, 1, 6_000, 1, false);
    hear(&mut board, 1, 8_000, 2, true);
    hear(&mut board, 0, 8_100, 1, true);
    hear(&mut board, 2, 8_200, 2, true);
    hear(&mut board, 1, 8_300, 2, true);
    assert_eq!(board.gaps().all(), [Duration::from_secs(3)]);
    assert_eq!((board.gaps().outranked(), board.faults().len()), (1, 1));
    // One out of which he leads does: he may have led all the while.
    hear(&mut board, 2, 8_400, 2, false);
    board.miss(2, at(8_500));
    board.miss(2, at(9_000));
    hear(&mut board, 2, 9_900, 3, true);
    assert_eq!(board.gaps().all()[0], Duration::from_millis(200));
}

/// As one that belongs to no group runs: it shows that source, target and writers go together.
#[test]
fn what_a_member_copies_is_exact_and_its_writes_are_known_as_its_own() {
    for (source, target) in [(3, 0), (0, 3)] {
        let seed = Seed::pick();
        let mut group = Group::prepare(&Plan {
            members: 1,
            source,
            target,
            ..Plan::of(Kind::Redis)
        });
        let yaml = group.members[0]
            .yaml()
            .split("cluster:\n")
            .next()
            .unwrap()
            .to_owned();
        group.members[0].configure(&yaml);
        group.members[0].start();
        group.wait_settled(LONG);
        let tally = Tally::start(group.source.shape(), &seed, 900);
        for how in [Break::Cut, Break::Stall] {
            tally.wait_more(500);
            group.sever(0, Link::Target, how);
            tally.wait_more(500);
            group.heal(0, Link::Target);
        }
        group.sever(0, Link::Source, Break::Cut);
        tally.wait_more(200);
        group.heal(0, Link::Source);
        let sent = tally.stop();
        sent.wait_on(group.source.shape(), Duration::ZERO);
        sent.wait_on(group.target.shape(), LONG);
        group.ledger.catch_up(&group.target.servers());
        let (of_it, of_all) = (group.ledger.writes_of(0).0, group.ledger.writes().0);
        assert!(
            of_it == of_all && of_it >= 2 * sent.total(),
            "{of_it} of {of_all}, {}",
            sent.total()
        );
        assert_eq!(group.full_syncs(), group.inputs() as u64);
        assert!(group.continued() >= 1);
        assert_eq!(group.ledger.faults(), Vec::<String>::new());
    }
}
