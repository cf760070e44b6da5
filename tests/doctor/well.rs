//! Pairs that are well, and what the output is like.

// As in tests/support: what fails here fails the test.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::rig::Doctor;
use super::support::cluster::Cluster;
use super::support::{Server, versions};

#[test]
fn of_a_pair_that_is_well_every_line_is_ok_and_the_code_is_0() {
    let (source, target) = (Server::start(), Server::start());
    let () = source.run(&["SET", "key", "value"]);
    let doctor = Doctor::between(&source.url(), &target.url());
    let found = doctor.finds(&[]);
    let checks: Vec<&str> = found
        .findings
        .iter()
        .map(|one| one["check"].as_str().unwrap())
        .collect();
    for check in [
        "reach",
        "version",
        "kind",
        "permission",
        "config",
        "backlog",
        "output-buffer",
        "diskless",
        "maxmemory",
        "eviction",
        "databases",
        "clock",
        "folder",
        "disk",
        "port",
        "open-files",
    ] {
        assert!(checks.contains(&check), "{check} is not told: {checks:?}");
    }
    let text = doctor.text();
    let said = String::from_utf8(text.stdout).unwrap();
    assert_eq!(text.status.code(), Some(0));
    assert!(said.starts_with(&format!("source {}\n", source.addr())), "{said}");
    assert!(said.contains("0 problems, 0 warnings, 0 unknown, "), "{said}");
    // It has left nothing behind, here or there.
    assert!(!doctor.state().exists());
    assert_eq!((source.keys(), target.keys()), (1, 0));
}

#[test]
fn of_clusters_that_are_well_every_line_is_ok() {
    let (source, target) = std::thread::scope(|scope| {
        let source = scope.spawn(|| Cluster::start(3));
        (source.join().unwrap(), Cluster::start(3))
    });
    source.set_keys(30);
    let found = Doctor::between(&source.url(), &target.url()).finds(&[]);
    let version = found
        .findings
        .iter()
        .find(|one| one["check"] == "version")
        .unwrap();
    assert_eq!(
        version["nodes"].as_array().unwrap().len(),
        3,
        "what all nodes have in common is one line: {:#?}",
        found.findings
    );
}

#[test]
fn servers_of_every_version_are_examined() {
    let installed = Server::start();
    for (label, binary) in versions() {
        let other = Server::of(&binary, &[]);
        for (source, target) in [(&installed, &other), (&other, &installed)] {
            let found = Doctor::between(&source.url(), &target.url()).look();
            let bad = found.bad();
            // Some bring modules along that the installed one has not.
            let known = ["warning target modules"];
            assert!(
                bad.iter().all(|line| known.contains(&line.as_str())),
                "{label}: {:#?}",
                found.findings
            );
        }
    }
}
