//! What is typed wrongly, and what is said to type instead.

use super::support::{Gunyu, SOON, Server};
use super::{Ran, run};

#[test]
fn a_file_that_is_not_there_is_told_with_how_to_begin_one() {
    run(&["sync", "--config", "nofile.yaml"]).says(2, &["nofile.yaml", "hint: ", "gunyu config --local"]);
}

#[test]
fn each_thing_that_is_wrong_is_an_error_of_its_own() {
    let ran = run(&[
        "config",
        "--local",
        "--source=redis://a",
        "--set=foo=1",
        "--set=bar=1",
    ]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.stderr
            .lines()
            .filter(|line| line.starts_with("error: "))
            .count()
            == 2,
        "{ran:?}"
    );
}

#[test]
fn what_is_no_rdb_file_is_told_to_be_none() {
    let target = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let to = target.url();
    for text in ["host\n", "a line that is longer than a header\n", ""] {
        let file = folder.path().join("hostname");
        std::fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        for args in [
            &["rdb-print", file][..],
            &["rdb-stats", file],
            &["rdb-load", file, "--target", &to],
        ] {
            let ran = run(args);
            ran.says(1, &["an RDB file begins with REDIS or VALKEY"]);
            assert!(!ran.stderr.contains("dump"), "{ran:?}");
        }
    }
}

#[test]
fn a_daemon_that_is_named_without_a_port_is_told_to_have_one() {
    run(&["status", "--server", "127.0.0.1"]).says(3, &["--server http://127.0.0.1:18001"]);
    let ran = run(&["status", "--server", "127.0.0.1:1"]);
    assert!(ran.code == Some(3) && !ran.stderr.contains("18001"), "{ran:?}");
}

#[test]
fn inputs_of_a_copy_made_here_are_refused_with_both_ways_out() {
    for here in [
        &["--local"][..],
        &["--source=redis://a", "--target=redis://b"],
        &["--snapshot-only"],
    ] {
        let args = [&["fullsync", "--inputs", "all"][..], here].concat();
        run(&args).says(2, &["leave --inputs away", "--server"]);
    }
}

#[test]
fn differences_that_cannot_be_written_name_their_option_and_no_other_file() {
    let ran = run(&[
        "verify",
        "--source=redis://127.0.0.1:1",
        "--target=redis://127.0.0.1:2",
        "--differences=/nowhere/x",
    ]);
    ran.says(
        1,
        &["cannot write /nowhere/x: No such file", "with --differences"],
    );
    assert!(
        !ran.stderr.contains(".part") && !ran.stderr.contains("--output"),
        "{ran:?}"
    );
}

#[test]
fn a_database_that_holds_nothing_is_told_where_others_do() {
    let (source, target) = (Server::start(), Server::start());
    let () = source.run(&["SET", "a", "1"]);
    let sides = |database: &str| {
        [
            format!("--source={}/{database}", source.url()),
            format!("--target={}", target.url()),
        ]
    };
    let of = |command: &str, database: &str| -> Ran {
        let [from, to] = sides(database);
        run(&[command, &from, &to])
    };
    of("fullsync", "3").says(0, &[": 0 keys", "leave /3 away"]);
    of("verify", "3").says(0, &["leave /3 away"]);
    let all = of("fullsync", "0");
    all.says(0, &[": 1 key,"]);
    assert!(!all.stdout.contains("leave"), "{all:?}");
}

#[test]
fn waiting_ends_when_all_is_live_and_when_an_input_has_stopped() {
    let (source, target) = (Server::start(), Server::start());
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
    let server = format!("--server=http://{}", gunyu.http());
    let wait = ["status", "--wait", &server];
    run(&wait).says(0, &["incremental"]);
    let () = target.run(&["RPUSH", "key", "a list"]);
    let () = source.run(&["INCR", "key"]);
    gunyu.wait_status(SOON, "the input has stopped", |status| {
        status[0]["State"] == "stop"
    });
    let ran = run(&wait);
    ran.says(1, &["has stopped", "WRONGTYPE", "hint: "]);
    assert_eq!(ran.stdout, "");
}
