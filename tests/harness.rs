//! The test support itself, on real servers: what it calls equal is equal, what it says was cut is cut.

#![allow(unsafe_code)] // system calls that nothing else makes
#![allow(clippy::unwrap_used)] // a helper that fails fails its test

#[path = "../benches/results/mod.rs"]
mod results;
mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use results::{Results, Row};
use support::proxy::Way;
use support::workload::{Counters, Fill, Options, Seed, Writers};
use support::{Gunyu, Proxy, SOON, Server, assert_equal, compare, equal, http, wait_until};

const A_MINUTE: Duration = Duration::from_secs(60);

/// A source and its native replica.
fn pair() -> (Server, Server) {
    let (source, replica) = (Server::start(), Server::start());
    replica.follow(&source);
    replica.wait_caught_up(&source, SOON);
    (source, replica)
}

/// Two servers that hold the same few keys.
fn twins() -> (Server, Server) {
    let (one, other) = (Server::start(), Server::start());
    for server in [&one, &other] {
        let _: String = server.run(&["SET", "string", "value"]);
        let _: i64 = server.run(&["HSET", "hash", "field", "value"]);
        let _: i64 = server.run(&["RPUSH", "list", "a", "b"]);
        let _: String = server.run(&["XADD", "stream", "1-1", "field", "value"]);
        let _: String = server.run(&["XGROUP", "CREATE", "stream", "group", "0"]);
        let _: String = server.run(&["SET", "expiring", "value", "PXAT", "4000000000000"]);
    }
    assert_equal(&one, &other);
    (one, other)
}

/// What `equal` says once `change` was done to one of two equal servers.
fn said_after(change: &[&str]) -> String {
    let (one, other) = twins();
    let _: redis::Value = other.run(change);
    equal(&one, &other).expect_err("they differ").to_string()
}

#[test]
fn a_native_replica_of_the_whole_workload_is_equal() {
    let seed = Seed::pick();
    let (source, replica) = pair();
    let (writers, counters) = (Writers::start(&source, &seed), Counters::start(&source, &seed));
    Fill::keys(20_000).run(&source, &seed);
    writers.wait_more(20_000);
    counters.wait_more(20_000);
    let (written, expected) = (writers.stop(), counters.stop());
    replica.wait_caught_up(&source, A_MINUTE);
    assert_equal(&source, &replica);
    expected.assert_on(&source);
    expected.assert_on(&replica);
    assert_eq!(expected.in_doubt(), 0);
    let refused: u64 = written.refused.values().sum();
    assert!(
        refused < written.commands / 4,
        "most writes must be accepted: {written:?}"
    );
    assert!(!written.refused.contains_key("NOAUTH"), "{written:?}");
}

#[test]
fn the_same_seed_gives_the_same_data() {
    let seed = Seed::pick();
    let (one, other) = (Server::start(), Server::start());
    for server in [&one, &other] {
        Fill::lasting(10_000).run(server, &seed);
    }
    assert_eq!(one.digest(), other.digest());
    assert_eq!(one.keys(), 10_000);
    assert_eq!(one.keyspace().len(), 4);
}

#[test]
fn the_data_has_every_encoding() {
    let server = Server::start();
    Fill {
        databases: vec![0],
        ..Fill::lasting(60_000)
    }
    .run(&server, &Seed::pick());
    let script = "local seen, cursor = {}, '0'
        repeat
            local page = redis.call('SCAN', cursor, 'COUNT', 1000)
            cursor = page[1]
            for _, key in ipairs(page[2]) do
                seen[redis.call('TYPE', key).ok .. ' ' .. redis.call('OBJECT', 'ENCODING', key)] = true
            end
        until cursor == '0'
        local names = {}
        for name in pairs(seen) do names[#names + 1] = name end
        return names";
    let seen: std::collections::BTreeSet<String> = server.run(&["EVAL", script, "0"]);
    let wanted = [
        "hash hashtable",
        "list quicklist",
        "set hashtable",
        "set intset",
        "stream stream",
        "string embstr",
        "string int",
        "string raw",
        "zset skiplist",
    ];
    assert!(wanted.iter().all(|name| seen.contains(*name)), "{seen:?}");
    let compact = |kind: &str| {
        ["ziplist", "listpack"]
            .iter()
            .any(|name| seen.contains(&format!("{kind} {name}")))
    };
    assert!(compact("hash") && compact("zset"), "{seen:?}");
}

#[test]
fn a_changed_value_is_named() {
    let said = said_after(&["HSET", "hash", "field", "other"]);
    assert!(said.contains("db 0 key \"hash\" Digest"), "{said}");
    assert!(!said.contains("\"list\""), "{said}");
}

#[test]
fn a_missing_key_is_named() {
    let said = said_after(&["DEL", "list"]);
    assert!(
        said.contains("db 0 key \"list\" Exists: source int(1), target int(0)"),
        "{said}"
    );
}

#[test]
fn a_key_in_another_database_is_named_twice() {
    let said = said_after(&["MOVE", "list", "3"]);
    assert!(
        said.contains("db 0 key \"list\"") && said.contains("db 3 key \"list\""),
        "{said}"
    );
}

#[test]
fn a_changed_time_of_expiry_is_named_though_the_digest_is_the_same() {
    let said = said_after(&["PEXPIREAT", "expiring", "4000000000001"]);
    assert!(said.contains("key \"expiring\" ExpireTime"), "{said}");
}

#[test]
fn a_pending_entry_is_named_though_the_digest_is_the_same() {
    let said = said_after(&["XREADGROUP", "GROUP", "group", "alice", "STREAMS", "stream", ">"]);
    assert!(said.contains("key \"stream\" Groups"), "{said}");
}

#[test]
fn a_missing_function_is_named_though_the_digest_is_the_same() {
    let code = "#!lua name=lib\nredis.register_function('f', function() return 1 end)";
    let said = said_after(&["FUNCTION", "LOAD", code]);
    assert!(said.contains("library lib"), "{said}");
}

#[test]
fn a_missing_key_is_found_among_many() {
    let seed = Seed::pick();
    let (source, replica) = pair();
    Fill::lasting(3_000).run(&source, &seed);
    replica.wait_caught_up(&source, SOON);
    let _: String = replica.run(&["REPLICAOF", "NO", "ONE"]);
    assert_equal(&source, &replica);
    let mut conn = replica.conn();
    let victim: Vec<u8> = redis::cmd("RANDOMKEY").query(&mut conn).unwrap();
    redis::cmd("DEL").arg(&victim).exec(&mut conn).unwrap();
    assert_eq!(equal(&source, &replica).expect_err("they differ").0.len(), 1);
}

#[test]
fn checkpoints_of_gunyu_do_not_count() {
    let (one, other) = twins();
    let _: i64 = other.run(&["HSET", "redis-gunyu-checkpoint:abc", "offset", "7"]);
    compare::equal_key_by_key(&one, &other).unwrap();
    assert_eq!(other.run::<i64>(&["EXISTS", "redis-gunyu-checkpoint:abc"]), 1);
    assert_equal(&one, &other);
    assert_eq!(other.run::<i64>(&["EXISTS", "redis-gunyu-checkpoint:abc"]), 0);
}

#[test]
fn counters_notice_a_repeated_and_a_lost_write() {
    let server = Server::start();
    let counters = Counters::start(&server, &Seed::pick());
    counters.wait_more(2_000);
    let expected = counters.stop();
    expected.assert_on(&server);
    assert!(expected.certain() >= 2_000);
    let _: i64 = server.run(&["INCR", "counter:0:0"]);
    let lost: u64 = server.run(&["RPOP", "list:0:1"]);
    let repeated: u64 = server.run(&["LINDEX", "list:0:2", "-1"]);
    let _: i64 = server.run(&["RPUSH", "list:0:2", &repeated.to_string()]);
    let said = expected.check(&server).unwrap_err();
    assert!(said.contains("db 0 counter:0:0: is "), "{said}");
    assert!(
        said.contains("list:0:1") && said.contains(&format!("{lost} of ")),
        "{said}"
    );
    assert!(said.contains("list:0:2") && said.contains("repeated"), "{said}");
    assert_eq!(said.lines().count(), 3, "{said}");
}

#[test]
fn counters_that_may_come_twice_notice_what_is_lost_and_nothing_else() {
    let server = Server::start();
    let counters = Counters::start(&server, &Seed::pick());
    counters.wait_more(2_000);
    let expected = counters.stop();
    let _: i64 = server.run(&["INCRBY", "counter:0:0", "5"]);
    let again: Vec<u64> = server.run(&["LRANGE", "list:0:2", "-3", "-1"]);
    for number in again {
        let _: i64 = server.run(&["RPUSH", "list:0:2", &number.to_string()]);
    }
    assert_eq!(expected.check_at_least(&server), Ok(()));
    let lost: u64 = server.run(&["LPOP", "list:0:1"]);
    let _: i64 = server.run(&["DECR", "counter:0:3"]);
    let said = expected.check_at_least(&server).unwrap_err();
    assert!(said.contains("counter:0:3: is "), "{said}");
    assert!(said.contains(&format!("list:0:1: {lost} of ")), "{said}");
    assert_eq!(said.lines().count(), 2, "{said}");
}

#[test]
fn counters_survive_cut_connections_with_their_last_batch_in_doubt() {
    let seed = Seed::pick();
    let server = Server::start();
    let proxy = Proxy::to(server.port());
    let counters = Counters::with(
        &proxy.url(),
        &seed,
        &Options {
            threads: 3,
            per_second: None,
        },
    );
    let mut rng = seed.rng(1);
    for cut in 1..=20 {
        counters.wait_more(500);
        let way = if rng.bool() { Way::Up } else { Way::Down };
        proxy.cut_after(way, rng.u64(..5_000));
        wait_until(SOON, "the proxy has cut", || proxy.cuts() >= cut);
    }
    counters.wait_more(500);
    let expected = counters.stop();
    expected.assert_on(&server);
    assert!(expected.in_doubt() > 0);
}

#[test]
fn writers_keep_to_their_rate_and_follow_to_another_server() {
    let seed = Seed::pick();
    let (first, second) = (Server::start(), Server::start());
    let start = Instant::now();
    let options = Options {
        threads: 2,
        per_second: Some(5_000),
    };
    let writers = Writers::with(&first, &first.url(), &seed, &options);
    writers.wait_more(5_000);
    assert!(
        start.elapsed() > Duration::from_millis(800),
        "{:?}",
        start.elapsed()
    );
    writers.move_to(&second.url());
    drop(first);
    writers.wait_more(500);
    assert!(writers.stop().broken >= 2);
    assert!(second.keys() > 0);
}

#[test]
fn a_cut_is_seen_by_both_sides_and_counted() {
    let server = Server::start();
    let proxy = Proxy::to(server.port());
    let mut client = TcpStream::connect(proxy.addr()).unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    ping(&mut client);
    assert_eq!(proxy.bytes(), (6, 7), "PING and +PONG with their line ends");
    assert_eq!(proxy.cut(), 1);
    assert_eq!(client.read(&mut [0; 8]).unwrap_or(0), 0, "closed or reset");
    wait_until(SOON, "the server has lost the client", || {
        server.info("clients")["connected_clients"] == "1"
    });
    assert_eq!((proxy.accepted(), proxy.cuts(), proxy.open()), (1, 1, 0));
}

#[test]
fn a_stalled_proxy_holds_bytes_back_and_lets_them_go_later() {
    let server = Server::start();
    let proxy = Proxy::to(server.port());
    let mut client = TcpStream::connect(proxy.addr()).unwrap();
    ping(&mut client);
    proxy.stall();
    client.write_all(b"PING\r\n").unwrap();
    client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let kind = client.read(&mut [0; 8]).unwrap_err().kind();
    assert!(
        matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{kind:?}"
    );
    proxy.resume();
    client.set_read_timeout(Some(SOON)).unwrap();
    client.read_exact(&mut [0; 7]).unwrap();
}

#[test]
fn a_fuse_cuts_after_exactly_so_many_bytes() {
    let server = Server::start();
    let proxy = Proxy::to(server.port());
    let mut client = TcpStream::connect(proxy.addr()).unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    proxy.cut_after(Way::Down, 10);
    client.write_all(b"PING\r\nPING\r\nPING\r\n").unwrap();
    let mut received = Vec::new();
    // Whether the end comes as an end or as a reset is the system's business.
    drop(client.read_to_end(&mut received));
    assert_eq!(received, b"+PONG\r\n+PO");
}

#[test]
fn a_refusing_proxy_lets_nobody_in() {
    let server = Server::start();
    let proxy = Proxy::to(server.port());
    proxy.refuse(true);
    let mut client = TcpStream::connect(proxy.addr()).unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    assert_eq!(client.read(&mut [0; 8]).unwrap_or(0), 0);
    proxy.refuse(false);
    ping(&mut TcpStream::connect(proxy.addr()).unwrap());
}

fn ping(client: &mut TcpStream) {
    client.write_all(b"PING\r\n").unwrap();
    let mut pong = [0; 7];
    client.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"+PONG\r\n");
}

#[test]
fn a_killed_server_comes_back_on_its_port_empty_or_from_a_snapshot() {
    let mut server = Server::with(&["--requirepass", "secret"]);
    let url = server.url();
    let _: String = server.run(&["SET", "key", "old"]);
    let older = server.snapshot();
    let _: String = server.run(&["SET", "key", "new"]);
    server.restart_from(&older);
    assert_eq!(server.run::<String>(&["GET", "key"]), "old");
    server.kill9();
    server.restart();
    assert_eq!((server.keys(), server.url()), (0, url));
    assert!(server.term().success());
}

#[test]
fn a_frozen_server_answers_when_it_goes_on() {
    let mut server = Server::start();
    let mut client = TcpStream::connect(server.addr()).unwrap();
    ping(&mut client);
    server.sigstop();
    client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    client.write_all(b"PING\r\n").unwrap();
    assert!(client.read(&mut [0; 8]).is_err());
    server.sigcont();
    client.set_read_timeout(Some(SOON)).unwrap();
    client.read_exact(&mut [0; 7]).unwrap();
}

#[test]
fn no_server_outlives_a_test_that_is_killed() {
    let mut test = Command::new(std::env::current_exe().unwrap());
    test.args(["--exact", "dies_with_a_server_running", "--nocapture"])
        .env("GUNYU_HARNESS_DIE", "1");
    let output = test.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let pid = printed
        .split("server pid ")
        .nth(1)
        .unwrap_or_else(|| panic!("{output:?}"));
    let pid = pid.split_whitespace().next().unwrap();
    let stat = format!("/proc/{pid}/stat");
    // Gone, or a zombie that nobody has waited for yet.
    let ended = || std::fs::read_to_string(&stat).map_or(true, |text| text.contains(") Z "));
    wait_until(SOON, "the server has died with its test", ended);
}

/// Does nothing by itself: the test above runs it in a process of its own.
#[test]
fn dies_with_a_server_running() {
    if std::env::var_os("GUNYU_HARNESS_DIE").is_none() {
        return;
    }
    let server = Server::start();
    println!("server pid {} ", server.stats().pid());
    std::io::stdout().flush().unwrap();
    // SAFETY: ends the process without running any destructor, as SIGKILL would.
    unsafe { libc::_exit(3) };
}

#[test]
fn many_servers_start_at_once_on_their_own_ports() {
    let servers: Vec<Server> = std::thread::scope(|scope| {
        let starting: Vec<_> = (0..8).map(|_| scope.spawn(Server::start)).collect();
        starting
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    for server in &servers {
        assert_eq!(
            server.info("server")["process_id"],
            server.stats().pid().to_string()
        );
    }
}

#[test]
fn an_answer_in_chunks_is_put_together() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 1024];
        let len = stream.read(&mut head).unwrap();
        let answer =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1,2,\r\n2\r\n3]\r\n0\r\n\r\n";
        stream.write_all(answer).unwrap();
        String::from_utf8_lossy(&head[..len]).into_owned()
    });
    let response = http::get(addr, "/syncer/status").unwrap();
    assert_eq!(
        (response.status, response.json()),
        (200, serde_json::json!([1, 2, 3]))
    );
    assert!(
        server
            .join()
            .unwrap()
            .starts_with("GET /syncer/status HTTP/1.1\r\nHost: 127.0.0.1:")
    );
}

#[test]
fn a_gunyu_that_ends_is_reported_at_once_with_its_arguments() {
    let start = Instant::now();
    let waiting = std::thread::spawn(|| {
        let mut gunyu = Gunyu::with_args(vec!["sync".to_owned(), "--no-such-option".to_owned()], &[]);
        gunyu.wait_ready(SOON * 10);
    });
    let panic = waiting.join().unwrap_err();
    let said = panic.downcast_ref::<String>().unwrap();
    assert!(
        said.contains("gunyu ended") && said.contains("--no-such-option"),
        "{said}"
    );
    assert!(start.elapsed() < SOON * 5);
}

/// `make matrix`: the helpers with each version at hand, a native replica as the program under test.
#[test]
fn matrix_of_servers_a_native_replica_of_the_workload_is_equal() {
    for (label, binary) in support::versions() {
        println!("{label}: {} {:?}", binary.product, binary.version);
        let seed = Seed::pick();
        let (source, replica) = (Server::of(&binary, &[]), Server::of(&binary, &[]));
        replica.follow(&source);
        replica.wait_caught_up(&source, SOON);
        let (writers, counters) = (Writers::start(&source, &seed), Counters::start(&source, &seed));
        Fill::keys(3_000).run(&source, &seed);
        writers.wait_more(5_000);
        let expected = counters.stop();
        println!("{label}: {:?}", writers.stop());
        replica.wait_caught_up(&source, A_MINUTE);
        assert_equal(&source, &replica);
        expected.assert_on(&replica);
    }
}

#[test]
fn a_partial_run_of_the_benchmarks_replaces_only_its_own_rows() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Results::in_folder(folder.path().to_owned());
    let row = |section: &str, name: &str, wall: f64| Row::of(section, name).number("wall_s", wall);
    let whole = open();
    whole.put(row("micro", "framing", 1.0));
    whole.put(row("live", "sets", 2.0));
    whole.put(row("live", "mixed", 3.0));
    open().put(row("live", "sets", 4.0).number("native_s", 2.0));
    let rows = open().rows();
    let found: Vec<_> = rows
        .iter()
        .map(|row| (row["row"].as_str().unwrap(), row["wall_s"].as_f64().unwrap()))
        .collect();
    assert_eq!(found, [("sets", 4.0), ("mixed", 3.0), ("framing", 1.0)]);
    for row in &rows {
        let build = row["build"].as_str().unwrap();
        assert!(build.starts_with(env!("CARGO_PKG_VERSION")), "{build}");
        assert!(row["measured_at"].as_str().unwrap().ends_with('Z'), "{row}");
    }
    let table = std::fs::read_to_string(folder.path().join("results.md")).unwrap();
    let (rows, caption) = table.split_once("\n\n").unwrap();
    assert_eq!(rows.lines().count(), 5, "{table}");
    assert!(rows.contains("| sets | 4.00 s | 2.00 s | – |"), "{table}");
    assert!(caption.contains("SADD"), "{table}");
}
