//! The figures of files that real servers wrote, against what these servers say themselves.
//!
//! The `redis-server` on the path is always used, and every version in the folder that `GUNYU_TEST_SERVERS` names.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::run_on;
use crate::support::matrix;
use crate::support::server::{Binary, Server};
use crate::support::workload::{Fill, Seed};

/// Thresholds beyond which a collection is not packed: none is, or many are.
const NOTHING_PACKED: [&str; 3] = [
    "hash-max-ziplist-entries",
    "zset-max-ziplist-entries",
    "set-max-intset-entries",
];

#[test]
fn the_figures_are_what_the_server_on_the_path_says() {
    check(&Binary::installed());
}

#[test]
fn the_figures_are_what_every_version_says() {
    let versions = matrix();
    if versions.is_empty() {
        crate::support::skipped("GUNYU_TEST_SERVERS names no folder with servers");
    }
    for (label, binary) in versions {
        eprintln!("{label}");
        check(&binary);
    }
}

fn check(binary: &Binary) {
    for packs in [true, false] {
        let options: Vec<&str> = match packs {
            true => Vec::new(),
            false => NOTHING_PACKED.iter().flat_map(|name| [*name, "0"]).collect(),
        };
        let options: Vec<String> = options
            .chunks(2)
            .flat_map(|pair| [format!("--{}", pair[0]), pair[1].to_owned()])
            .collect();
        let server = Server::of(binary, &options.iter().map(String::as_str).collect::<Vec<_>>());
        Fill::lasting(3000).run(&server, &Seed::of(5));
        assert_eq!(check_one(&server), packs, "hashes are packed");
    }
}

/// Compares everything; says whether any hash is packed.
fn check_one(server: &Server) -> bool {
    let ran = run_on(&server.snapshot(), &["--json", "--top", "100000"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let found = ran.json();
    let mut counted = BTreeMap::new();
    for database in found["databases"].as_array().unwrap() {
        let of = |field: &str| database[field].as_u64().unwrap();
        counted.insert(u32::try_from(of("db")).unwrap(), (of("keys"), of("expiring")));
    }
    assert_eq!(counted, server.keyspace());
    let keys: u64 = counted.values().map(|(keys, _)| keys).sum();
    let ranked = found["biggest_by_bytes"].as_array().unwrap();
    assert_eq!((ranked.len() as u64, found["keys"].as_u64()), (keys, Some(keys)));
    let mut conn = server.conn();
    let mut selected = None;
    for one in ranked {
        if selected.as_ref() != Some(&one["db"]) {
            let () = redis::cmd("SELECT")
                .arg(one["db"].as_u64())
                .query(&mut conn)
                .unwrap();
            selected = Some(one["db"].clone());
        }
        check_key(&mut conn, one);
    }
    let with_elements = ranked
        .iter()
        .filter(|one| one["elements"].as_u64() > Some(0))
        .count();
    assert_eq!(
        found["biggest_by_elements"].as_array().unwrap().len(),
        with_elements
    );
    found["types"].as_array().unwrap().iter().any(|one| {
        let encoding = one["encoding"].as_str().unwrap();
        one["type"] == "hash" && !encoding.starts_with("hashtable")
    })
}

/// Type and number of elements of a key are as the server has them.
fn check_key(conn: &mut redis::Connection, one: &Value) {
    // Names that are no text are tried elsewhere.
    let Some(key) = one["key"].as_str() else { return };
    let object: String = redis::cmd("TYPE").arg(key).query(conn).unwrap();
    assert_eq!(one["type"], object, "{one}");
    let count = match object.as_str() {
        "list" => "LLEN",
        "set" => "SCARD",
        "zset" => "ZCARD",
        "hash" => "HLEN",
        "stream" => "XLEN",
        _ => {
            assert!(one["elements"].is_null(), "{one}");
            return;
        }
    };
    let elements: u64 = redis::cmd(count).arg(key).query(conn).unwrap();
    assert_eq!(one["elements"], elements, "{one}");
}
