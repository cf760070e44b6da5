//! What is planted on servers and on this machine.

// As in tests/support: what fails here fails the test.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::atomic::{AtomicBool, Ordering};

use super::rig::Doctor;
use super::support::port::Port;
use super::support::workload::Pace;
use super::support::{Gunyu, SOON, Server, versions, wait_until};

fn set(server: &Server, pairs: &[(&str, &str)]) {
    for (name, value) in pairs {
        let () = server.run(&["CONFIG", "SET", name, value]);
    }
}

/// Twelve at once, with somebody who writes; all of them are gone when what is printed has been typed.
#[test]
fn limits_that_are_too_small_are_found_and_what_is_printed_mends_them() {
    let (source, target) = (Server::start(), Server::start());
    let () = source.run(&["DEBUG", "POPULATE", "3000", "key", "1000"]);
    set(
        &source,
        &[
            ("repl-backlog-size", "64kb"),
            ("repl-backlog-ttl", "20"),
            ("client-output-buffer-limit", "replica 1mb 1mb 1"),
            ("repl-diskless-sync", "yes"),
            ("repl-diskless-sync-delay", "90"),
            ("repl-timeout", "5"),
            ("repl-ping-replica-period", "61"),
            ("maxclients", "3"),
        ],
    );
    set(
        &target,
        &[
            ("maxmemory", "2500kb"),
            ("maxmemory-policy", "allkeys-lru"),
            ("min-replicas-to-write", "1"),
            ("proto-max-bulk-len", "1mb"),
            ("maxclients", "5"),
        ],
    );
    let doctor = Doctor::between(&source.url(), &target.url());
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut conn = source.conn();
            // Few large ones at a fixed pace: the same rate whenever it is measured, on a machine that is busy too.
            let (value, mut pace) = ("x".repeat(16 << 10), Pace::new(Some(50.0)));
            while !is_over.load(Ordering::Relaxed) {
                redis::cmd("SET").arg("hot").arg(&value).exec(&mut conn).unwrap();
                pace.spend(1);
            }
        });
        let found = std::panic::catch_unwind(|| {
            let found = doctor.finds(&[
                "warning source backlog",
                "warning source backlog-ttl",
                "warning source output-buffer",
                "warning source diskless",
                "warning source repl-timeout",
                "problem source repl-ping",
                "problem source max-clients",
                "problem target maxmemory",
                "warning target eviction",
                "problem target min-replicas",
                "warning target bulk-length",
                "problem target max-clients",
            ]);
            found.type_fixes();
            doctor.finds(&[]);
        });
        is_over.store(true, Ordering::Relaxed);
        found.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

#[test]
fn a_server_that_cannot_be_asked_is_a_problem_and_the_other_side_is_examined_all_the_same() {
    let (closed, target) = (Port::free(), Server::with(&["--requirepass", "secret"]));
    let source = format!("redis://{}", closed.addr());
    let naked = format!("redis://{}", target.addr());
    let found = Doctor::between(&source, &naked).finds(&["problem source reach", "problem target reach"]);
    assert!(
        found.words("reach").contains("firewall"),
        "{}",
        found.words("reach")
    );
    let said = format!("{:?}", found.findings);
    assert!(
        said.contains("NOAUTH") && said.contains("GUNYU_TARGET_PASSWORD"),
        "{said}"
    );
    let wrong = format!("redis://:wrong-word@{}", target.addr());
    let found = Doctor::between(&source, &wrong).finds(&["problem source reach", "problem target reach"]);
    let said = format!("{:?}", found.findings);
    assert!(
        said.contains("authentication failed") && !said.contains("wrong-word"),
        "{said}"
    );
    let found = Doctor::between(&source, &target.url()).finds(&["problem source reach"]);
    let examined = found
        .findings
        .iter()
        .any(|one| one["check"] == "eviction" && one["severity"] == "ok");
    assert!(examined, "{:#?}", found.findings);
}

#[test]
fn servers_in_the_wrong_part_are_problems() {
    let (source, target, other) = (Server::start(), Server::start(), Server::start());
    // Under another name; the same one the configuration's check refuses.
    let renamed = format!("redis://localhost:{}", source.port());
    Doctor::between(&source.url(), &renamed).finds(&["problem target same-server"]);
    // A target that is a replica; what is printed makes it a master.
    target.follow(&other);
    target.wait_caught_up(&other, SOON);
    let doctor = Doctor::between(&source.url(), &target.url());
    let found = doctor.finds(&["problem target replica"]);
    assert!(
        found
            .words("replica")
            .contains(&format!("--target redis://{}", other.addr())),
        "{}",
        found.words("replica")
    );
    found.type_fixes();
    doctor.finds(&[]);
    // A source that takes its data from the target.
    source.follow(&target);
    source.wait_caught_up(&target, SOON);
    doctor.finds(&["problem target loop"]);
    // A source that is a replica, and has lost its master.
    let nobody = Port::free();
    let () = source.run(&["REPLICAOF", "127.0.0.1", &nobody.number().to_string()]);
    doctor.finds(&["problem source source-link"]);
}

#[test]
fn what_the_source_has_and_the_target_has_no_place_for_is_a_problem() {
    let (source, target) = (Server::start(), Server::with(&["--databases", "4"]));
    let mut conn = source.conn();
    redis::cmd("SELECT").arg(9).exec(&mut conn).unwrap();
    redis::cmd("SET").arg("key").arg(1).exec(&mut conn).unwrap();
    let doctor = Doctor::between(&source.url(), &target.url());
    let found = doctor.finds(&["problem target databases"]);
    assert!(
        found.words("databases").contains("databases 10 in"),
        "{}",
        found.words("databases")
    );
    doctor.with(&["--set=output.replay.targetDb=0"]).finds(&[]);
}

#[test]
fn leases_in_the_source_are_warned_of_and_elsewhere_all_is_well() {
    let (source, target, leases) = (Server::start(), Server::start(), Server::start());
    let group = || Doctor::between(&source.url(), &target.url()).with(&["--set=cluster.groupName=orders"]);
    let found = group().finds(&["warning here configuration", "warning here leases"]);
    let words = found.words("leases");
    assert!(
        words.contains("CLIENT PAUSE") && words.contains("cluster.metaRedis"),
        "{words}"
    );
    let elsewhere = format!("--set=cluster.metaRedis.addresses=[{}]", leases.addr());
    // That members are all on this machine is told in any case.
    group().with(&[&elsewhere]).finds(&["warning here configuration"]);
}

#[test]
fn a_database_of_the_source_that_holds_nothing_is_warned_of_where_others_hold_keys() {
    let (source, target) = (Server::start(), Server::start());
    let () = source.run(&["SET", "key", "1"]);
    let of = |database: &str| Doctor::between(&format!("{}/{database}", source.url()), &target.url());
    let found = of("3").finds(&["warning source databases"]);
    assert!(
        found.words("databases").contains("keys in database 0"),
        "{}",
        found.words("databases")
    );
    of("0").finds(&[]);
}

#[test]
fn commands_that_were_renamed_are_problems() {
    let (source, target) = (
        Server::with(&["--rename-command", "PSYNC", "HIDDEN"]),
        Server::with(&["--rename-command", "EXEC", ""]),
    );
    let doctor = Doctor::between(&source.url(), &target.url());
    let found = doctor.finds(&["problem source psync", "problem target permission"]);
    assert!(
        found.words("psync").contains("input.psyncCommand"),
        "{}",
        found.words("psync")
    );
    assert!(
        found.words("permission").contains("does not know exec"),
        "{}",
        found.words("permission")
    );
    doctor
        .with(&["--set=input.psyncCommand=HIDDEN"])
        .finds(&["problem target permission"]);
}

#[test]
fn a_target_that_cannot_save_is_a_problem_until_it_may_write_all_the_same() {
    let (source, target) = (Server::start(), Server::with(&["--save", "3600 1"]));
    // A folder in place of the file cannot be replaced by one.
    std::fs::create_dir(target.dir().join("dump.rdb")).unwrap();
    let _: String = target.run(&["BGSAVE"]);
    wait_until(SOON, "the save has failed", || {
        target.info("persistence")["rdb_last_bgsave_status"] == "err"
    });
    let doctor = Doctor::between(&source.url(), &target.url());
    let found = doctor.finds(&["problem target persistence"]);
    assert!(
        found.words("persistence").contains("MISCONF"),
        "{}",
        found.words("persistence")
    );
    found.type_fixes();
    doctor.finds(&[]);
}

#[test]
fn what_is_wrong_with_this_machine_is_found() {
    let (source, target) = (Server::start(), Server::start());
    let doctor = || Doctor::between(&source.url(), &target.url());
    // A folder that is a file; a port that somebody has; too few files; a cap beyond the disk.
    let one = doctor();
    std::fs::write(one.state(), "a file").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("--set=server.listen={}", taken.local_addr().unwrap());
    one.with(&[&listen, "--set=channel.storer.maxSize=4000TiB"])
        .open_files(200)
        .finds(&[
            "problem here folder",
            "problem here port",
            "warning here open-files",
            "warning here disk",
            "warning here configuration",
        ]);
    // A folder that everybody may write to.
    let open = doctor();
    std::fs::create_dir(open.state()).unwrap();
    std::fs::set_permissions(open.state(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let found = open.finds(&["problem here folder", "warning here configuration"]);
    assert!(
        found.words("folder").contains("chmod o-w"),
        "{}",
        found.words("folder")
    );
    // A cap below the snapshot.
    let () = source.run(&["DEBUG", "POPULATE", "3000", "key", "1000"]);
    doctor()
        .with(&["--set=channel.storer.maxSize=1MiB"])
        .finds(&["warning here log-size"]);
}

#[test]
fn a_folder_that_a_running_gunyu_has_is_a_warning_that_says_which() {
    let (source, target) = (Server::start(), Server::start());
    let gunyu = Gunyu::between(&source, &target);
    let folder = format!("--set=channel.storer.dirPath={}", gunyu.state_dir().display());
    let listen = format!("--set=server.listen={}", gunyu.http());
    let found = Doctor::between(&source.url(), &target.url())
        .with(&[&folder, &listen])
        .finds(&["warning here folder"]);
    assert!(
        found.words("folder").contains(&gunyu.http().to_string()),
        "{}",
        found.words("folder")
    );
}

#[test]
fn a_store_of_leases_that_nobody_reaches_is_a_problem() {
    let (source, target, nobody) = (Server::start(), Server::start(), Port::free());
    let endpoints = format!("--set=cluster.metaEtcd.endpoints=[\"{}\"]", nobody.addr());
    Doctor::between(&source.url(), &target.url())
        .with(&["--set=cluster.groupName=group", &endpoints])
        .finds(&["problem here store", "warning here configuration"]);
}

/// Also 2.8, which knows no units.
#[test]
fn what_is_printed_is_understood_by_every_version() {
    let source = Server::start();
    let () = source.run(&["DEBUG", "POPULATE", "3000", "key", "1000"]);
    for (label, binary) in versions() {
        let target = Server::of(&binary, &[]);
        set(
            &target,
            &[("maxmemory", "2500000"), ("maxmemory-policy", "allkeys-random")],
        );
        let doctor = Doctor::between(&source.url(), &target.url());
        let found = doctor.look();
        println!(
            "{label}: {} {}",
            found.words("maxmemory"),
            found.words("eviction")
        );
        found.type_fixes();
        let left = doctor.look().bad();
        let is_mended = |line: &String| !line.ends_with("maxmemory") && !line.ends_with("eviction");
        assert!(left.iter().all(is_mended), "{label}: {left:?}");
    }
}

/// Needs servers older than the installed one: `make matrix`.
#[test]
fn what_an_old_target_cannot_hold_is_a_problem() {
    let source = Server::start();
    let () = source.run(&[
        "FUNCTION",
        "LOAD",
        "#!lua name=lib\nredis.register_function('f', function() return 1 end)",
    ]);
    let () = source.run(&["XADD", "stream", "*", "f", "v"]);
    for (label, binary) in versions() {
        let target = Server::of(&binary, &[]);
        let mut expected = Vec::new();
        if binary.version < (7, 0, 0) {
            expected.push("problem target functions");
        }
        if binary.version < (5, 0, 0) {
            expected.push("problem target streams");
        }
        println!("{label}");
        Doctor::between(&source.url(), &target.url()).finds(&expected);
    }
}
