//! From newer to older, and from one fork to the other: every type in every encoding arrives, whichever way it has to be written.

use redis::Value;

use super::support::encodings::{self, Talk};
use super::support::{Binary, Server, typed};
use super::{COMMANDS_ALONE, GO_ON, brief, copy, found, staged, talk, words};

/// Copies everything that `from` can hold, and compares it, value by value.
fn arrives(from: &str, to: &str, set: &[&str]) {
    let (Some(from), Some(to)) = (found(from), found(to)) else {
        return;
    };
    let (source, target) = (Server::of(&from, &[]), Server::of(&to, &[]));
    fill(&source, &target);
    let set = [&[GO_ON], set].concat();
    let letters = copy(&source, &target, &set).done();
    let lost = |key: &[u8]| key == b"vectors" && !typed::since(&to, (8, 0), (u32::MAX, 0));
    let found = typed::differences(&source, &target, lost);
    assert!(found.is_empty(), "{from:?} to {to:?}:\n{}", found.join("\n"));
    assert_eq!(staged(&target), [""; 0]);
    check_digests(&source, &target);
    for letter in &letters {
        assert!(is_rightly_lost(&words(letter), &to), "{letter}");
    }
    let by_key = |verb: &str| letters.iter().filter(|one| words(one)[0] == verb).count();
    let expected = |has: bool, count: usize| if has { count } else { 0 };
    let functions = typed::since(&from, (7, 0), (0, 0)) && !typed::since(&to, (7, 0), (0, 0));
    assert_eq!(
        by_key("FUNCTION"),
        expected(functions, 2),
        "{:#?}",
        brief(&letters)
    );
    let expiry = typed::since(&from, (7, 4), (9, 0)) && !typed::since(&to, (7, 4), (9, 0));
    assert_eq!(by_key("HPEXPIREAT") > 0, expiry, "{:#?}", brief(&letters));
}

/// Whether the target cannot hold what this letter's command would have written.
fn is_rightly_lost(words: &[String], to: &Binary) -> bool {
    match (words[0].as_str(), words[1].as_str()) {
        ("FUNCTION", _) => !typed::since(to, (7, 0), (0, 0)),
        ("HPEXPIREAT", _) => !typed::since(to, (7, 4), (9, 0)),
        ("XIDMPRECORD", _) => !typed::since(to, (8, 6), (u32::MAX, 0)),
        ("RESTORE", "vectors") => !typed::since(to, (8, 0), (u32::MAX, 0)),
        _ => false,
    }
}

/// Every encoding, and what is odd.
fn fill(source: &Server, target: &Server) {
    let mut source = talk(source);
    encodings::fill(&mut source);
    source.say(
        "ZADD odd:scores 1e300 a 0.1 b 5e-324 c 1.7976931348623157e308 d 12345678901234567 e -0 f -inf g",
    );
    source.say("RPUSH odd:numbers -8388608 -32769 8388607 -8388609 127 128 -128 -129 4095 4096 -4096 -4097");
    source.say("HMSET odd:hash a -8388608 b -32769 c 2147483648 d -9223372036854775808");
    match (
        source.since((5, 0), (0, 0)),
        typed::since(target.binary(), (5, 0), (0, 0)),
    ) {
        (true, true) => fill_streams(&mut source),
        (true, false) => drop(source.say("DEL stream stream:bare")),
        (false, _) => {}
    }
    source.say("SELECT 9");
    for key in ["hash:nine", "list:nine", "set:nine", "zset:nine"] {
        source.say(&format!("PEXPIREAT {key} 1999999999999"));
    }
    source.say("SELECT 0");
}

/// Streams whose pending entries are gone, that are empty, that nobody knows how far a group has read.
fn fill_streams(source: &mut impl Talk) {
    for n in 1..=40 {
        source.say(&format!("XADD stream:trimmed {n}-1 a {n}"));
        source.say(&format!("XADD stream:deleted {n}-1 a {n}"));
    }
    for key in ["stream:trimmed", "stream:deleted"] {
        source.say(&format!("XGROUP CREATE {key} one 0"));
        source.say(&format!("XGROUP CREATE {key} two 7-1"));
        source.say(&format!("XGROUP CREATE {key} none 20-5"));
        source.say(&format!("XREADGROUP GROUP one alice COUNT 10 STREAMS {key} >"));
        source.say(&format!("XREADGROUP GROUP one bob COUNT 10 STREAMS {key} >"));
        source.say(&format!("XREADGROUP GROUP two alice COUNT 20 STREAMS {key} >"));
        source.say(&format!("XREADGROUP GROUP two idle COUNT 1 STREAMS {key} 0"));
        source.say(&format!(
            "XCLAIM {key} one alice 0 11-1 12-1 RETRYCOUNT 7 TIME 1700000000000"
        ));
        source.say(&format!("XCLAIM {key} one alice 0 30-1 TIME 1700000000001 FORCE"));
    }
    source.say("XTRIM stream:trimmed MAXLEN 25");
    source.say("XDEL stream:deleted 3-1 11-1 15-1 40-1");
    source.say("XGROUP CREATE stream:made group $ MKSTREAM");
    source.say("XADD stream:emptied 5-5 a b");
    source.say("XGROUP CREATE stream:emptied group 0");
    source.say("XREADGROUP GROUP group carol STREAMS stream:emptied >");
    source.say("XDEL stream:emptied 5-5");
    source.say("PEXPIREAT stream:trimmed 1999999999999");
}

/// Where both print values alike, the server's own digest of each says so, too.
fn check_digests(source: &Server, target: &Server) {
    let both = |redis, valkey| {
        typed::since(source.binary(), redis, valkey) && typed::since(target.binary(), redis, valkey)
    };
    if !both((5, 0), (0, 0)) {
        return;
    }
    let (mut here, mut there) = (talk(source), talk(target));
    let keys: Vec<Vec<u8>> = redis::from_redis_value(there.say("KEYS *")).unwrap();
    // Scores are printed, and fields that expire counted, by each in its own way.
    let fields_expire = typed::since(source.binary(), (7, 4), (9, 0));
    let expiring: [&[u8]; 3] = [b"hash:small", b"hash:large", b"hash:long"];
    let odd = |key: &[u8]| {
        key == b"odd:scores" || key.starts_with(b"redis-gunyu") || fields_expire && expiring.contains(&key)
    };
    for key in keys.into_iter().filter(|key| !odd(&key[..])) {
        let ask: [&[u8]; 3] = [b"DEBUG", b"DIGEST-VALUE", &key];
        let (one, other): (Value, Value) = (here.run(&ask).unwrap(), there.run(&ask).unwrap());
        assert_eq!(one, other, "{}", key.escape_ascii());
    }
}

#[test]
fn everything_arrives_with_commands_alone() {
    arrives("installed", "installed", &[COMMANDS_ALONE]);
}

#[test]
fn everything_arrives_by_restore() {
    arrives("installed", "installed", &[]);
}

macro_rules! pairs {
    ($($test:ident $from:literal $to:literal $(with $set:ident)?;)*) => {
        $(#[test]
        fn $test() {
            arrives($from, $to, &[$($set)?]);
        })*
    };
}

mod everything_arrives {
    use super::{COMMANDS_ALONE, arrives};

    pairs! {
        from_redis_8_6_on_redis_7_0 "redis-8.6" "redis-7.0";
        from_redis_8_6_on_redis_6_2 "redis-8.6" "redis-6.2";
        from_redis_7_0_on_redis_6_0 "redis-7.0" "redis-6.0";
        from_redis_7_0_on_redis_5_0 "redis-7.0" "redis-5.0";
        from_redis_6_2_on_redis_3_2 "redis-6.2" "redis-3.2";
        from_redis_6_2_on_redis_3_0 "redis-6.2" "redis-3.0";
        from_redis_6_2_on_redis_2_8 "redis-6.2" "redis-2.8";
        from_redis_8_2_on_valkey_8_1 "redis-8.2" "valkey-8.1";
        from_valkey_9_1_on_redis_7_0 "valkey-9.1" "redis-7.0";
        from_valkey_9_1_on_redis_8_6 "valkey-9.1" "redis-8.6";
        from_redis_stack_7_4_on_redis_7_0 "redis-stack-7.4" "redis-7.0";
        from_redis_8_6_on_valkey_9_1 "redis-8.6" "valkey-9.1";
        from_redis_8_6_with_commands_alone "redis-8.6" "redis-8.6" with COMMANDS_ALONE;
        from_redis_8_2_with_commands_alone "redis-8.2" "redis-8.2" with COMMANDS_ALONE;
        from_valkey_9_1_with_commands_alone "valkey-9.1" "valkey-9.1" with COMMANDS_ALONE;
        from_redis_6_2_with_commands_alone "redis-6.2" "redis-6.2" with COMMANDS_ALONE;
        from_redis_2_8_with_commands_alone "redis-2.8" "redis-8.6" with COMMANDS_ALONE;
        from_redis_3_2_with_commands_alone "redis-3.2" "valkey-9.1" with COMMANDS_ALONE;
        from_redis_5_0_with_commands_alone "redis-5.0" "redis-5.0" with COMMANDS_ALONE;
    }
}
