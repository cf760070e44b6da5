//! What redis-GunYu, the Go program, leaves on a target, written as it does it (`pkg/redis/checkpoint/checkpoint.go`).
//!
//! The copy that belongs to it is made by gunyu, whose own records then go.

use std::collections::HashMap;

use super::compare::delete_own_keys;
use super::{Gunyu, SOON, Server};

/// A replication id and an offset.
pub type At = (String, u64);

/// Copies everything, and takes gunyu's own records away; what they said of each source.
#[track_caller]
pub fn copy_without_a_trace(source: &str, target: &str, sources: &[&Server], targets: &[&Server]) -> Vec<At> {
    let mut gunyu = Gunyu::start(source, target, &[]);
    gunyu.wait_ready(SOON);
    sources.iter().for_each(|one| gunyu.wait_applied(one, SOON));
    assert_eq!(gunyu.term().code(), Some(0), "{}", gunyu.traces());
    let mut found = Vec::new();
    for target in targets {
        let keys: Vec<String> = target.run(&["KEYS", "redis-gunyu-checkpoint:{*}"]);
        for key in keys {
            let record: HashMap<String, String> = target.run(&["HGETALL", &key]);
            found.push((record["replid"].clone(), record["offset"].parse().unwrap()));
        }
        delete_own_keys(target);
    }
    found
}

/// The name of a checkpoint in database 0, and the checkpoint in the database that it has selected.
pub fn leave(target: &Server, name: &str, (id, offset): (&str, i64), db: u32) {
    let mut conn = target.conn();
    let mut run = |command: &[&str]| redis::cmd(command[0]).arg(&command[1..]).exec(&mut conn).unwrap();
    run(&["HSET", "redis-gunyu-checkpoint-hash", id, name]);
    run(&["SELECT", &db.to_string()]);
    let field = |suffix: &str| format!("{id}_{suffix}");
    run(&[
        "HSET",
        name,
        &field("mtime"),
        "1760000000000000000",
        &field("runid"),
        id,
        &field("version"),
        "1",
        &field("offset"),
        &offset.to_string(),
    ]);
}
