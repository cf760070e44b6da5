//! Values: large ones that several databases feed, fields that have expired, and servers that do not say how large a value is.

use super::support::matrix;
use super::support::server::Server;
use super::support::typed::since;
use super::support::{soon_ms, wait_for};
use super::{PATIENCE, tell, verify};

/// A set and a list of more than a mebibyte; the second argument is one element of each.
const BIG: &str = "local long = string.rep('y', 100) \
    for n = 1, 15000 do redis.call('SADD', 'set', n .. long) redis.call('RPUSH', 'list', n .. long) end \
    redis.call('SADD', 'set', ARGV[1]) redis.call('RPUSH', 'list', ARGV[1])";

#[test]
fn a_large_value_is_compared_with_that_of_the_database_that_has_it() {
    let (source, target) = (Server::start(), Server::start());
    // The first database that feeds the target's has neither.
    tell(&source, 0, &[&["SET", "other", "x"]]);
    tell(&source, 1, &[&["EVAL", BIG, "0", "a"]]);
    tell(&target, 0, &[&["SET", "other", "x"], &["EVAL", BIG, "0", "a"]]);
    let onto_one = [
        "--compare",
        "value",
        "--set",
        "output.replay.targetDbMap={\"1\":0}",
    ];
    verify(&source.url(), &target.url(), &onto_one).found_only(&[]);
    tell(
        &target,
        0,
        &[
            &["SREM", "set", "a"],
            &["SADD", "set", "b"],
            &["LSET", "list", "-1", "b"],
        ],
    );
    let expected = [(0, "set", "value"), (0, "list", "value")];
    verify(&source.url(), &target.url(), &onto_one).found_only(&expected);
}

#[test]
fn a_field_that_has_expired_is_none_in_hashes_large_or_small() {
    let knows = |(_, binary): &(_, _)| since(binary, (7, 4), (9, 0));
    let Some((_, binary)) = matrix().into_iter().find(knows) else {
        crate::support::skipped("GUNYU_TEST_SERVERS names no folder with Redis 7.4 or Valkey 9");
        return;
    };
    let start = || Server::of(&binary, &["--enable-debug-command", "yes"]);
    let (source, target) = (start(), start());
    let big = "for n = 1, 15000 do redis.call('HSET', KEYS[1], n .. string.rep('y', 100), n) end";
    let hashes = ["same", "same big", "other", "other big"];
    // Until somebody looks at it, what has expired stays where it is.
    tell(&source, 0, &[&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]]);
    for server in [&source, &target] {
        tell(
            server,
            0,
            &[
                &["HSET", "same", "a", "1"],
                &["HSET", "other", "a", "1"],
                &["EVAL", big, "1", "same big"],
                &["EVAL", big, "1", "other big"],
            ],
        );
    }
    let due = soon_ms();
    for hash in hashes {
        tell(
            &source,
            0,
            &[
                &["HSET", hash, "gone", "1"],
                &["HPEXPIREAT", hash, &due.to_string(), "FIELDS", "1", "gone"],
            ],
        );
    }
    wait_for(PATIENCE, "the fields have expired", || {
        // To read such a field would remove it.
        let scan = |hash| -> (u64, Vec<String>) {
            source.run(&["HSCAN", hash, "0", "MATCH", "gone", "COUNT", "100000"])
        };
        let left = hashes.map(|hash| scan(hash).1);
        match left.iter().all(Vec::is_empty) {
            true => Ok(()),
            false => Err(format!("{left:?}")),
        }
    });
    for hash in ["other", "other big"] {
        tell(&target, 0, &[&["HSET", hash, "alien", "1"]]);
        let lengths = [&source, &target].map(|server| server.run::<u64>(&["HLEN", hash]));
        assert_eq!(lengths[0], lengths[1], "what has expired counts in {hash}");
    }
    verify(&source.url(), &target.url(), &["--compare", "value"])
        .found_only(&[(0, "other", "value"), (0, "other big", "value")]);
}

#[test]
fn where_a_server_does_not_say_how_large_values_are_they_are_compared_in_pieces() {
    let (source, target) = (Server::start(), Server::start());
    for server in [&source, &target] {
        tell(
            server,
            0,
            &[
                &["RPUSH", "list", "a", "b"],
                &["SADD", "set", "a", "b"],
                &["ZADD", "zset", "1", "a"],
                &["HSET", "hash", "a", "1"],
                &["XADD", "stream", "1-1", "a", "b"],
                &["SET", "text", "x"],
                &["ACL", "SETUSER", "default", "-memory"],
            ],
        );
    }
    verify(&source.url(), &target.url(), &["--compare", "value"]).found_only(&[]);
    tell(
        &target,
        0,
        &[
            &["LSET", "list", "1", "c"],
            &["SREM", "set", "a"],
            &["SADD", "set", "c"],
            &["ZADD", "zset", "2", "a"],
            &["HSET", "hash", "a", "2"],
            &["DEL", "stream"],
            &["XADD", "stream", "1-1", "a", "c"],
        ],
    );
    let values = ["list", "set", "zset", "hash", "stream"].map(|key| (0, key, "value"));
    verify(&source.url(), &target.url(), &["--compare", "value"]).found_only(&values);
    verify(&source.url(), &target.url(), &["--compare", "value", "--repair"]).found_only(&[]);
}
