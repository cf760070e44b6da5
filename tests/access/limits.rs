//! Clients that mean no good: too many, too large, too slow, gone, or talking nonsense. After each the daemon still answers.

#![allow(unsafe_code)] // system calls that nothing else makes

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::support::{SOON, http, wait_until};
use super::{Daemon, SENT_AWAY, until_end};

#[test]
fn heads_that_are_too_large_are_refused() {
    let daemon = Daemon::start(&[]);
    let start = format!(
        "GET /debug/health HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
        daemon.addr()
    );
    let long = format!("{start}X-Long: {}\r\n\r\n", "x".repeat(20_000));
    let many: String = (0..80).map(|n| format!("X-{n}: y\r\n")).collect();
    let target = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(20_000));
    for head in [long, format!("{start}{many}\r\n"), target] {
        let answer = daemon.talk(head.as_bytes());
        // Where it was still sending when the end came, the answer may be lost with the connection.
        let code = answer.split(' ').nth(1).unwrap_or("none");
        assert!(matches!(code, "431" | "400" | "414" | "none"), "{answer}");
        daemon.assert_well();
    }
    let fits: String = (0..40)
        .map(|n| format!("X-{n}: {}\r\n", "y".repeat(200)))
        .collect();
    assert!(
        daemon
            .talk(format!("{start}{fits}\r\n").as_bytes())
            .starts_with("HTTP/1.1 200")
    );
}

#[test]
fn a_head_that_trickles_in_is_not_waited_for() {
    let daemon = Daemon::start(&[]);
    let mut slow = daemon.raw();
    slow.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let begun = Instant::now();
    slow.write_all(b"GET /debug/health HTTP/1.1\r\nX-Slow: ").unwrap();
    // One byte more whenever nothing came back for a while.
    let mut byte = [0];
    loop {
        let is_over = match slow.read(&mut byte) {
            Ok(got) => got == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        };
        if is_over || slow.write_all(b"x").is_err() {
            break;
        }
        assert!(begun.elapsed() < SENT_AWAY, "a slow head is waited for");
    }
    daemon.assert_well();
}

#[test]
fn a_connection_that_stays_idle_is_ended() {
    let daemon = Daemon::start(&[]);
    let mut never = daemon.raw();
    let mut once = daemon.raw();
    write!(
        once,
        "GET /debug/health HTTP/1.1\r\nHost: {}\r\n\r\n",
        daemon.addr()
    )
    .unwrap();
    assert!(until_end(&mut once).starts_with("HTTP/1.1 200"));
    until_end(&mut never);
    daemon.assert_well();
}

#[test]
fn a_body_that_never_arrives_holds_nothing_up() {
    let daemon = Daemon::start(&[]);
    for (head, expected) in [
        ("POST /syncer/status HTTP/1.1\r\nContent-Length: 10", "405"),
        ("GET /debug/health HTTP/1.1\r\nContent-Length: 10", "200"),
        (
            "GET /debug/health HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 10",
            "200",
        ),
        (
            "POST /syncer/status HTTP/1.1\r\nContent-Length: 1000000000",
            "413",
        ),
        (
            "POST /syncer/status HTTP/1.1\r\nTransfer-Encoding: chunked",
            "413",
        ),
    ] {
        let answer = daemon.talk(format!("{head}\r\nHost: {}\r\n\r\n", daemon.addr()).as_bytes());
        assert_eq!(answer.split(' ').nth(1), Some(expected), "{head}: {answer}");
        daemon.assert_well();
    }
}

#[test]
fn more_connections_than_it_takes_leave_it_answering_afterwards() {
    let daemon = Daemon::start(&[]);
    let mut held: Vec<TcpStream> = (0..560).map(|_| daemon.raw()).collect();
    // They were taken in this order, so the last one is one too many.
    let last = until_end(&mut held.pop().unwrap());
    assert!(last.starts_with("HTTP/1.1 503"), "{last}");
    assert!(last.to_lowercase().contains("retry-after: "), "{last}");
    let body: Value = serde_json::from_str(last.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert!(body["error"].is_string() && body["hint"].is_string(), "{body}");
    // All are held open from here; their time runs out, and the slots are free again.
    wait_until(SOON, "it answers again", || {
        http::get(daemon.addr(), "/debug/health").is_ok_and(|answer| answer.status == 200)
    });
    assert_eq!(held.len(), 559);
}

#[test]
fn clients_that_go_away_or_talk_nonsense_are_shrugged_off() {
    let mut daemon = Daemon::start(&[]);
    let request = format!("GET /prometheus HTTP/1.1\r\nHost: {}\r\n\r\n", daemon.addr());
    for _ in 0..20 {
        // Hundreds of answers are due, a few bytes are read, and the rest is thrown back with a reset.
        let mut rude = daemon.raw();
        rude.write_all(request.repeat(200).as_bytes()).unwrap();
        rude.read_exact(&mut [0; 12]).unwrap();
    }
    daemon.assert_well();
    fastrand::seed(18_001);
    for length in [1, 7, 100, 5_000, 100_000] {
        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(length).collect();
        daemon.talk(&noise);
        daemon.assert_well();
    }
    for nonsense in [
        &b"\r\n\r\n\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ] {
        let answer = daemon.talk(nonsense);
        assert!(!answer.starts_with("HTTP/1.1 2"), "{nonsense:?}: {answer}");
        daemon.assert_well();
    }
    let traces = daemon.gunyu.traces();
    assert!(
        !traces.contains("panicked") && !traces.contains("ERROR"),
        "{traces}"
    );
    assert_eq!(daemon.send("DELETE", "/", &[]).status, 200);
    assert_eq!(daemon.gunyu.wait_end(SOON).code(), Some(0));
}

/// Sets how many files a process may have open, and gives back what it was.
#[cfg(target_os = "linux")]
fn set_open_files_max(pid: i32, soft: u64) -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: plain system calls on a child of ours, with a structure that lives as long as they last.
    unsafe {
        assert_eq!(
            libc::prlimit(pid, libc::RLIMIT_NOFILE, std::ptr::null(), &mut limit),
            0
        );
        let was = std::mem::replace(&mut limit.rlim_cur, soft);
        assert_eq!(
            libc::prlimit(pid, libc::RLIMIT_NOFILE, &limit, std::ptr::null_mut()),
            0
        );
        was
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_lack_of_file_descriptors_is_waited_out_and_told_once() {
    let daemon = Daemon::start(&[]);
    daemon.assert_well();
    let pid = daemon.gunyu.stats().pid();
    let was = set_open_files_max(pid, 0);
    let mut waiting = daemon.raw();
    write!(
        waiting,
        "GET /debug/health HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        daemon.addr()
    )
    .unwrap();
    let told = || daemon.gunyu.traces().matches("cannot take connections").count();
    wait_until(SOON, "the lack is told of", || told() > 0);
    set_open_files_max(pid, was);
    assert!(until_end(&mut waiting).starts_with("HTTP/1.1 200"));
    assert_eq!(told(), 1);
    daemon.assert_well();
}

#[cfg(target_os = "linux")]
#[test]
fn the_api_has_a_thread_of_its_own_that_steps_back() {
    let daemon = Daemon::start(&[]);
    // Before it answers the thread may not be there yet.
    daemon.assert_well();
    let tasks = format!("/proc/{}/task", daemon.gunyu.stats().pid());
    let niceness = |name: &str| -> Vec<i32> {
        std::fs::read_dir(&tasks)
            .unwrap()
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok())
            .filter(|stat| stat.contains(&format!("({name}) ")))
            // Behind the name comes the state; niceness is the 17th field from there.
            .map(|stat| {
                stat.rsplit_once(") ")
                    .unwrap()
                    .1
                    .split(' ')
                    .nth(16)
                    .unwrap()
                    .parse()
                    .unwrap()
            })
            .collect()
    };
    let usual = niceness("gunyu")[0];
    assert_eq!(niceness("gunyu-http"), [(usual + 5).min(19)]);
}
