//! Keys that share a staged name: what happens to one is not taken for what happens to another.

use gunyu::core::target::staging;

use super::support::encodings::Talk;
use super::support::{Server, typed};
use super::{COMMANDS_ALONE, FROM_64_KIB, GO_ON, Json, brief, copy, found, staged, talk, words};

/// Names of keys that are written under one staged name.
fn sharing(count: usize) -> Vec<String> {
    let names = (0..).map(|n| format!("key:{n}"));
    let of_one = names.filter(|name| staging::number(name.as_bytes()) == 7);
    of_one.take(count).collect()
}

/// A hash, a sorted set or a stream of so many elements of 200 bytes that LZF can hardly shorten.
fn fill(server: &Server, key: &str, verb: &str, count: usize) {
    let script = "
        for i = 1, tonumber(ARGV[2]) do
            local one = ''
            for part = 1, 5 do one = one .. redis.sha1hex(i .. ':' .. part) end
            if ARGV[1] == 'XADD' then
                redis.call('XADD', KEYS[1], '*', 'f', one)
            else
                redis.call(ARGV[1], KEYS[1], i, one)
            end
        end";
    let () = server.run(&["EVAL", script, "1", key, verb, &count.to_string()]);
}

const LARGE: usize = 8_000;

#[test]
fn a_value_that_is_refused_takes_no_other_with_it() {
    let (source, target) = (Server::start(), Server::start());
    let names = sharing(10);
    for pair in names.chunks(2) {
        fill(&source, &pair[0], "ZADD", LARGE);
        fill(&source, &pair[1], "HSET", LARGE);
    }
    let () = target.run(&[
        "ACL", "SETUSER", "gunyu", "on", ">secret", "~*", "&*", "+@all", "-zadd",
    ]);
    let user = ["output.redis.userName=gunyu", "output.redis.password=secret"];
    let letters = copy(&source, &target, &[&user[..], &[COMMANDS_ALONE, GO_ON]].concat()).done();
    let mut told: Vec<String> = letters.iter().map(|letter| words(letter)[1].clone()).collect();
    told.sort();
    let mut refused: Vec<String> = names.iter().step_by(2).cloned().collect();
    refused.sort();
    assert_eq!(
        told,
        refused,
        "each is told once, by its own name: {:#?}",
        brief(&letters)
    );
    for (letter, key) in letters
        .iter()
        .map(|letter| (letter, words(letter).swap_remove(1)))
    {
        let reason = letter["reason"].as_str().unwrap();
        assert!(
            reason.contains(&format!("key {key}: the target refused ZADD: NOPERM")),
            "{reason}"
        );
    }
    for pair in names.chunks(2) {
        assert_eq!(typed::held(&target, pair[0].as_bytes()), None);
        let (one, other) = [&source, &target]
            .map(|server| typed::held(server, pair[1].as_bytes()))
            .into();
        assert!(one == other, "{}", pair[1]);
    }
    assert_eq!(staged(&target), [""; 0]);
}

#[test]
fn a_large_value_that_is_refused_is_given_up_before_its_end() {
    let (source, target) = (Server::start(), Server::start());
    fill(&source, "zset", "ZADD", 6 * LARGE);
    let () = target.run(&[
        "ACL", "SETUSER", "gunyu", "on", ">secret", "~*", "&*", "+@all", "-zadd",
    ]);
    let user = ["output.redis.userName=gunyu", "output.redis.password=secret"];
    let letters = copy(&source, &target, &[&user[..], &[COMMANDS_ALONE, GO_ON]].concat()).done();
    let pieces = 6 * LARGE * 200 / (64 << 10);
    let told: Vec<String> = letters.iter().map(|letter| words(letter).join(" ")).collect();
    assert_eq!(told, ["RESTORE zset 0"]);
    let stats = &target.info("commandstats")["cmdstat_zadd"];
    let rejected = stats
        .split(',')
        .find_map(|part| part.strip_prefix("rejected_calls="));
    let rejected: usize = rejected.unwrap().parse().unwrap();
    assert!((1..pieces / 2).contains(&rejected), "{rejected} of {pieces}");
    assert_eq!(staged(&target), [""; 0]);
}

#[test]
fn what_restore_refuses_is_not_written_into_a_value_in_hand() {
    let (Some(from), Some(to)) = (found("redis-8.6"), found("redis-7.0")) else {
        return;
    };
    let (source, target) = (Server::of(&from, &[]), Server::of(&to, &[]));
    let names = sharing(60);
    for name in &names {
        fill(&source, name, "HSET", 2);
    }
    fill(&source, &names[30], "HSET", 2 * LARGE);
    let () = target.run(&[
        "ACL", "SETUSER", "gunyu", "on", ">secret", "~*", "&*", "+@all", "-dump",
    ]);
    let set = [
        "output.redis.userName=gunyu",
        "output.redis.password=secret",
        "output.replay.keyExists=ignore",
        // The value is in hand for longer than it takes to look at what was refused.
        "output.replay.rateLimit.bytesPerSec=2MiB",
        FROM_64_KIB,
    ];
    assert_eq!(copy(&source, &target, &set).done(), [Json::Null; 0]);
    let found = typed::differences(&source, &target, |_| false);
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert_eq!(staged(&target), [""; 0]);
}

/// As the server itself forgets them when it rewrites its append-only file.
#[test]
fn what_a_producer_added_and_somebody_deleted_is_forgotten() {
    let Some(binary) = found("redis-8.6") else { return };
    let (source, target) = (Server::of(&binary, &[]), Server::of(&binary, &[]));
    let mut say = talk(&source);
    let gone: String = redis::from_redis_value(say.say("XADD stream IDMP producer one * a b")).unwrap();
    say.say("XADD stream IDMP producer two * a b");
    fill(&source, "stream", "XADD", LARGE);
    say.say(&format!("XDEL stream {gone}"));
    assert_eq!(copy(&source, &target, &[FROM_64_KIB]).done(), [Json::Null; 0]);
    // What is remembered is not added twice.
    let mut there = talk(&target);
    let before: u64 = target.run(&["XLEN", "stream"]);
    assert_eq!(before, LARGE as u64 + 1);
    there.say("XADD stream IDMP producer two * a b");
    assert_eq!(target.run::<u64>(&["XLEN", "stream"]), before);
    there.say("XADD stream IDMP producer one * a b");
    assert_eq!(target.run::<u64>(&["XLEN", "stream"]), before + 1);
}
