//! What becomes of a key: of one that is there already, of its expiry, and of what the target cannot hold.

use super::support::encodings::{Talk, noise};
use super::support::{Server, soon_ms, typed, wait_past};
use super::{COMMANDS_ALONE, Copied, FROM_64_KIB, GO_ON, Json, brief, copy, found, staged, talk, words};

/// How values are written: the small ones in one go, the large ones in pieces.
const SIZES: [(&str, usize); 2] = [("small", 20), ("large", 8_000)];

/// Of each type a value of so many elements, in `key` and what the type is called.
fn fill(server: &Server, name: &str, count: usize) {
    let script = "
        local n = tonumber(ARGV[1])
        for i = 1, n do
            local one = ''
            for part = 1, 5 do one = one .. redis.sha1hex(i .. ':' .. part) end
            redis.call('RPUSH', 'list:' .. KEYS[1], one)
            redis.call('SADD', 'set:' .. KEYS[1], one)
            redis.call('HSET', 'hash:' .. KEYS[1], one, i)
            redis.call('ZADD', 'zset:' .. KEYS[1], i / 7, one)
            redis.call('XADD', 'stream:' .. KEYS[1], i .. '-1', 'f', one)
        end
        redis.call('SETRANGE', 'string:' .. KEYS[1], n * 200, 'end')";
    let () = server.run(&["EVAL", script, "1", name, &count.to_string()]);
    // What LZF cannot shorten.
    let mut server = talk(server);
    server
        .run(&[
            b"SETRANGE",
            format!("string:{name}").as_bytes(),
            b"7",
            &noise(count * 200),
        ])
        .unwrap();
}

fn fill_all(server: &Server) {
    for (name, count) in SIZES {
        fill(server, name, count);
    }
    for key in TYPES.map(|kind| format!("{kind}:large")) {
        let told: String = server.run(&["DEBUG", "OBJECT", &key]);
        let bytes = told
            .split("serializedlength:")
            .nth(1)
            .unwrap()
            .split(' ')
            .next()
            .unwrap();
        assert!(
            bytes.parse::<usize>().unwrap() > 1 << 20,
            "in one go: {key} {told}"
        );
    }
}

const TYPES: [&str; 6] = ["string", "list", "set", "hash", "zset", "stream"];

fn all_keys() -> Vec<String> {
    let keys = SIZES
        .iter()
        .flat_map(|(name, _)| TYPES.map(|kind| format!("{kind}:{name}")));
    keys.collect()
}

/// Something of the same type, or of another, in place of each.
fn occupy(target: &Server, same_type: bool) {
    let mut target = talk(target);
    for (at, key) in all_keys().into_iter().enumerate() {
        let kind = TYPES[(at + usize::from(!same_type)) % TYPES.len()];
        let line = match kind {
            "string" => format!("SET {key} {}", "old".repeat(1000)),
            "list" => format!("RPUSH {key} old older"),
            "set" => format!("SADD {key} old older"),
            "hash" => format!("HSET {key} old 1 older 2"),
            "zset" => format!("ZADD {key} 1 old 2 older"),
            _ => format!("XADD {key} 99999999-1 old 1"),
        };
        target.say(&line);
        if kind == "stream" {
            target.say(&format!("XGROUP CREATE {key} old $"));
        }
        target.say(&format!("PEXPIRE {key} {}", 9_000_000 + at));
    }
}

#[track_caller]
fn assert_alike(source: &Server, target: &Server) {
    let found = typed::differences(source, target, |_| false);
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert_eq!(staged(target), [""; 0]);
}

/// Facts A8.
#[test]
fn nothing_is_merged_with_an_old_value_and_every_expiry_is_the_sources() {
    for same_type in [true, false] {
        let (source, target) = (Server::start(), Server::start());
        fill_all(&source);
        for key in all_keys().iter().filter(|key| !key.starts_with("set")) {
            let () = source.run(&["PEXPIREAT", key, "1999999999999"]);
        }
        occupy(&target, same_type);
        assert_eq!(copy(&source, &target, &[COMMANDS_ALONE]).done(), [Json::Null; 0]);
        assert_alike(&source, &target);
    }
}

/// Facts A9.
#[test]
fn a_key_that_is_there_is_kept_where_that_is_wanted() {
    let (source, target) = (Server::start(), Server::start());
    fill_all(&source);
    occupy(&target, true);
    let () = target.run(&["DEL", "hash:small", "hash:large", "zset:large"]);
    let kept = |key: &str| typed::held(&target, key.as_bytes());
    let before: Vec<_> = all_keys().iter().map(|key| kept(key)).collect();
    let set = [COMMANDS_ALONE, "output.replay.keyExists=ignore"];
    assert_eq!(copy(&source, &target, &set).done(), [Json::Null; 0]);
    assert_kept_or_new(&source, &target, &before);
    assert_eq!(staged(&target), [""; 0]);
}

/// What was there is as it was; what was not is the source's.
#[track_caller]
fn assert_kept_or_new(source: &Server, target: &Server, before: &[Option<typed::Held>]) {
    for (key, before) in all_keys().iter().zip(before) {
        let now = typed::held(target, key.as_bytes());
        match before {
            Some(before) => assert_eq!(now.as_ref().map(|now| &now.value), Some(&before.value), "{key}"),
            None => assert_eq!(now, typed::held(source, key.as_bytes()), "{key}"),
        }
    }
}

/// Facts A9.
#[test]
fn a_key_that_is_there_is_told_where_that_is_wanted_and_all_others_arrive() {
    conflicts_are_told(&[COMMANDS_ALONE]);
}

#[test]
fn a_key_that_is_there_is_told_while_its_value_still_arrives() {
    conflicts_are_told(&[COMMANDS_ALONE, FROM_64_KIB]);
}

fn conflicts_are_told(set: &[&str]) {
    let (source, target) = (Server::start(), Server::start());
    fill_all(&source);
    occupy(&target, true);
    let () = target.run(&["DEL", "hash:small", "hash:large", "zset:large"]);
    let before: Vec<_> = all_keys()
        .iter()
        .map(|key| typed::held(&target, key.as_bytes()))
        .collect();
    let set = [set, &[GO_ON, "output.replay.keyExists=error"]].concat();
    let letters = copy(&source, &target, &set).done();
    assert_kept_or_new(&source, &target, &before);
    let mut told: Vec<String> = letters.iter().map(|letter| words(letter)[1].clone()).collect();
    told.sort();
    let mut expected = all_keys();
    expected.retain(|key| !["hash:small", "hash:large", "zset:large"].contains(&key.as_str()));
    expected.sort();
    assert_eq!(told, expected);
    for letter in &letters {
        assert!(
            letter["reason"].as_str().unwrap().starts_with("BUSYKEY"),
            "{letter}"
        );
        can_be_replayed(&source, letter);
    }
}

/// A letter with a value in it can be replayed as it is.
fn can_be_replayed(source: &Server, letter: &Json) {
    use base64::Engine as _;
    let command = letter["command"].as_array().unwrap();
    let Some(dump) = command.get(3).and_then(|word| word["base64"].as_str()) else {
        return;
    };
    let dump = base64::engine::general_purpose::STANDARD.decode(dump).unwrap();
    let other = Server::start();
    let key = command[1].as_str().unwrap().as_bytes();
    let replayed = talk(&other).run(&[b"RESTORE", key, b"0", &dump]);
    replayed.unwrap_or_else(|error| panic!("{}: {error}", key.escape_ascii()));
    assert_eq!(typed::held(&other, key), typed::held(source, key));
}

/// It has stopped, naming what and saying what to do.
#[track_caller]
fn stops(copied: &Copied, named: &[&str]) {
    let told = copied.told();
    assert_eq!(copied.output.status.code(), Some(1), "{told}");
    let error = String::from_utf8_lossy(&copied.output.stderr);
    for word in named.iter().chain(&["output.replay.onError: dead_letter"]) {
        assert!(error.contains(word), "{word} in: {told}");
    }
}

#[test]
fn fields_that_expire_are_told_where_the_target_cannot_hold_them() {
    let (Some(from), Some(to)) = (found("redis-8.6"), found("redis-7.0")) else {
        return;
    };
    let source = Server::of(&from, &[]);
    fill_all(&source);
    let fields: Vec<String> = source.run(&["HKEYS", "hash:large"]);
    for key in ["hash:small", "hash:large"] {
        let own: Vec<String> = source.run(&["HKEYS", key]);
        let () = source.run(&[
            "HPEXPIREAT",
            key,
            "1999999999999",
            "FIELDS",
            "2",
            &own[3],
            &own[7],
        ]);
        let () = source.run(&["HPEXPIREAT", key, "1999999999998", "FIELDS", "1", &own[9]]);
    }
    let target = Server::of(&to, &[]);
    stops(
        &copy(&source, &target, &[]),
        &["key hash:", "fields cannot expire"],
    );
    let target = Server::of(&to, &[]);
    let letters = copy(&source, &target, &[GO_ON]).done();
    assert_alike(&source, &target);
    let told = |key: &str| {
        let mut told: Vec<(String, Vec<String>)> = letters
            .iter()
            .map(words)
            .filter(|words| words[0] == "HPEXPIREAT" && words[1] == key)
            .flat_map(|words| {
                words[5..]
                    .iter()
                    .map(|field| (field.clone(), vec![words[2].clone()]))
                    .collect::<Vec<_>>()
            })
            .collect();
        told.sort();
        told
    };
    assert_eq!(told("hash:small").len(), 3, "{:#?}", brief(&letters));
    let at = |field: usize, at: &str| (fields[field].clone(), vec![at.to_owned()]);
    let mut expected = [
        at(3, "1999999999999"),
        at(7, "1999999999999"),
        at(9, "1999999999998"),
    ];
    expected.sort();
    assert_eq!(told("hash:large"), expected);
}

#[test]
fn functions_are_told_where_the_target_has_none() {
    let Some(to) = found("redis-6.2") else { return };
    let source = Server::start();
    let code = "#!lua name=mine\nredis.register_function('f', function() return 1 end)";
    let () = source.run(&["FUNCTION", "LOAD", code]);
    let () = source.run(&["SET", "key", "value"]);
    let target = Server::of(&to, &[]);
    stops(&copy(&source, &target, &[]), &["functions", "before 7.0"]);
    let target = Server::of(&to, &[]);
    let letters = copy(&source, &target, &[GO_ON]).done();
    assert_eq!(letters.len(), 1, "{:#?}", brief(&letters));
    assert_eq!(words(&letters[0]), ["FUNCTION", "LOAD", "REPLACE", code]);
    assert_alike_but_functions(&source, &target);
}

#[track_caller]
fn assert_alike_but_functions(source: &Server, target: &Server) {
    let found = typed::differences(source, target, |_| false);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_modules_value_is_told_where_the_target_has_no_such_module() {
    let Some(from) = found("redis-8.6") else { return };
    for to in ["redis-7.0", "redis-6.0"] {
        let Some(to) = found(to) else { return };
        let source = Server::of(&from, &[]);
        talk(&source).say("VADD vectors VALUES 3 1 0.5 0 a");
        let () = source.run(&["SET", "key", "value"]);
        let target = Server::of(&to, &[]);
        stops(&copy(&source, &target, &[]), &["vectors"]);
        let target = Server::of(&to, &[]);
        let letters = copy(&source, &target, &[GO_ON]).done();
        assert_eq!(letters.len(), 1, "{:#?}", brief(&letters));
        assert_eq!(words(&letters[0])[1], "vectors");
        assert_eq!(target.run::<Vec<String>>(&["KEYS", "[kv]*"]), ["key"]);
    }
}

/// Only `RESTORE` can write it: it is put together first.
#[test]
fn a_modules_large_value_is_restored_where_the_target_has_the_module() {
    let Some(stack) = found("redis-stack-7.4") else {
        return;
    };
    let module = stack
        .path
        .parent()
        .unwrap()
        .with_file_name("real")
        .join("rejson.so");
    let module = ["--loadmodule", module.to_str().unwrap()];
    let (source, target) = (Server::of(&stack, &module), Server::of(&stack, &module));
    let texts: Vec<String> = noise(600_000)
        .chunks(3)
        .map(|chunk| format!("\"{chunk:?}\""))
        .collect();
    let document = format!("[{}]", texts.join(","));
    let () = source.run(&["JSON.SET", "json", "$", &document]);
    let () = source.run(&["SET", "key", "value"]);
    for set in [&[FROM_64_KIB][..], &[FROM_64_KIB, COMMANDS_ALONE]] {
        let () = target.run(&["FLUSHALL"]);
        assert_eq!(copy(&source, &target, set).done(), [Json::Null; 0]);
        assert_alike(&source, &target);
        let digest = |server: &Server| -> Vec<String> { server.run(&["DEBUG", "DIGEST-VALUE", "json"]) };
        assert_eq!(digest(&source), digest(&target));
    }
    let target = Server::start();
    let letters = copy(&source, &target, &[FROM_64_KIB, GO_ON]).done();
    assert_eq!(letters.len(), 1, "{:#?}", brief(&letters));
    assert!(
        letters[0]["reason"]
            .as_str()
            .unwrap()
            .contains("key json (module ReJSON-RL)"),
        "{:#?}",
        brief(&letters)
    );
}

#[test]
fn what_is_longer_than_the_target_takes_is_told_and_nothing_else() {
    let (source, target) = (Server::start(), Server::with(&["--proto-max-bulk-len", "1mb"]));
    let mut to = talk(&source);
    let (long, short) = (noise(2 << 20), "x".repeat(2 << 20));
    for (name, value) in [("noise", &long[..]), ("packed", short.as_bytes())] {
        let key = |kind: &str| format!("{kind}:{name}").into_bytes();
        to.run(&[b"SET", &key("string"), value]).unwrap();
        to.run(&[b"RPUSH", &key("list"), b"short", value]).unwrap();
        to.run(&[b"SADD", &key("set"), b"short", value]).unwrap();
        to.run(&[b"HSET", &key("hash"), b"short", value, value, b"short"])
            .unwrap();
        to.run(&[b"ZADD", &key("zset"), b"1", b"short", b"2", value])
            .unwrap();
        to.run(&[b"XADD", &key("stream"), b"1-1", b"short", value])
            .unwrap();
    }
    fill(&source, "usual", 4_500);
    let letters = copy(&source, &target, &[COMMANDS_ALONE, GO_ON]).done();
    assert_eq!(letters.len(), 12, "{:#?}", brief(&letters));
    for letter in &letters {
        let reason = letter["reason"].as_str().unwrap();
        let key = words(letter)[1].clone();
        assert!(
            reason.contains(&key) && reason.contains("proto-max-bulk-len"),
            "{reason}"
        );
        let () = source.run(&["DEL", &key]);
    }
    assert_alike(&source, &target);
}

#[test]
fn a_user_who_may_not_dump_gets_commands_instead_of_what_restore_refuses() {
    let (Some(from), Some(to)) = (found("redis-8.6"), found("redis-7.0")) else {
        return;
    };
    let (source, target) = (Server::of(&from, &[]), Server::of(&to, &[]));
    fill_all(&source);
    let code = "#!lua name=mine\nredis.register_function('f', function() return 1 end)";
    let () = source.run(&["FUNCTION", "LOAD", code]);
    let () = target.run(&[
        "ACL", "SETUSER", "gunyu", "on", ">secret", "~*", "&*", "+@all", "-dump",
    ]);
    let set = ["output.redis.userName=gunyu", "output.redis.password=secret"];
    assert_eq!(copy(&source, &target, &set).done(), [Json::Null; 0]);
    assert_alike(&source, &target);
}

/// The permissions in README's table, and the commands of the types.
#[test]
fn a_user_needs_no_more_on_the_target_than_readme_says() {
    let readme = include_str!("../../README.md");
    let row = readme
        .lines()
        .find(|line| line.starts_with("| target |"))
        .unwrap();
    let rights: Vec<String> = row
        .split([' ', '`'])
        .filter(|word| word.starts_with('+'))
        .map(|word| word.replace("\\|", "|"))
        .collect();
    let types = ["+set", "+rpush", "+sadd", "+zadd", "+hset", "+xadd"].map(String::from);
    for policy in ["replace", "ignore", "error"] {
        let (source, target) = (Server::start(), Server::start());
        fill_all(&source);
        let () = source.run(&["PEXPIREAT", "list:large", "1999999999999"]);
        let () = source.run(&["XGROUP", "CREATE", "stream:large", "group", "7-1"]);
        let mut user = vec!["ACL", "SETUSER", "gunyu", "on", ">secret", "~*", "-@all"];
        // Some of them are of newer servers.
        let known = target.commands();
        let rights = rights.iter().chain(&types).filter(|right| {
            let name = right[1..].split('|').next().unwrap();
            known.contains(&name.to_uppercase())
        });
        user.extend(rights.map(String::as_str));
        let () = target.run(&user);
        let policy = format!("output.replay.keyExists={policy}");
        let set = [
            "output.redis.userName=gunyu",
            "output.redis.password=secret",
            COMMANDS_ALONE,
            &policy,
        ];
        assert_eq!(copy(&source, &target, &set).done(), [Json::Null; 0], "{policy}");
        assert_alike(&source, &target);
    }
}

#[test]
fn a_key_whose_expiry_has_passed_does_not_come_back() {
    for set in [&[][..], &[COMMANDS_ALONE]] {
        let (source, target) = (Server::start(), Server::start());
        let () = source.run(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
        let () = target.run(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
        fill_all(&source);
        let due = soon_ms();
        for key in all_keys() {
            let () = source.run(&["PEXPIREAT", &key, &due.to_string()]);
        }
        let () = source.run(&["SET", "stays", "value"]);
        occupy(&target, true);
        wait_past(due);
        // Nobody has looked at them: they are in the snapshot, expired.
        assert_eq!(source.keys(), 1 + all_keys().len() as u64);
        assert_eq!(copy(&source, &target, set).done(), [Json::Null; 0]);
        for key in all_keys() {
            assert_eq!(typed::held(&target, key.as_bytes()), None, "{key}");
        }
        assert_alike(&source, &target);
    }
}

#[test]
fn fields_whose_expiry_has_passed_do_not_come_back() {
    let Some(binary) = found("redis-8.6") else { return };
    let (source, target) = (Server::of(&binary, &[]), Server::of(&binary, &[]));
    let () = source.run(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    let () = target.run(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    fill_all(&source);
    let due = soon_ms();
    let at = due.to_string();
    for key in ["hash:small", "hash:large"] {
        let () = source.run(&["COPY", key, &format!("all:{key}")]);
        let own: Vec<String> = source.run(&["HKEYS", key]);
        let () = source.run(&["HPEXPIREAT", key, &at, "FIELDS", "2", &own[3], &own[7]]);
        for own in own.chunks(5_000) {
            let mut words = vec![
                "HPEXPIREAT".to_owned(),
                format!("all:{key}"),
                at.clone(),
                "FIELDS".into(),
            ];
            words.push(own.len().to_string());
            words.extend_from_slice(own);
            let () = source.run(&words.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }
    let () = target.run(&["HSET", "all:hash:small", "old", "1"]);
    let () = target.run(&["HSET", "all:hash:large", "old", "1"]);
    wait_past(due);
    assert_eq!(copy(&source, &target, &[COMMANDS_ALONE]).done(), [Json::Null; 0]);
    assert_eq!(target.run::<u64>(&["HLEN", "hash:small"]), 18);
    assert_eq!(target.run::<u64>(&["HLEN", "hash:large"]), 7_998);
    assert_eq!(
        target.run::<u64>(&["EXISTS", "all:hash:small", "all:hash:large"]),
        0
    );
    assert_eq!(staged(&target), [""; 0]);
}

#[test]
fn pending_entries_of_a_large_stream_arrive_though_their_entries_are_gone() {
    let (source, target) = (Server::start(), Server::start());
    fill_large_stream(&source);
    assert_eq!(copy(&source, &target, &[COMMANDS_ALONE]).done(), [Json::Null; 0]);
    assert_alike(&source, &target);
}

/// A stream in which two groups have pending entries that are gone.
fn fill_large_stream(source: &Server) {
    fill(source, "large", 8_000);
    let mut say = talk(source);
    say.say("XGROUP CREATE stream:large one 0");
    say.say("XGROUP CREATE stream:large two 0");
    say.say("XREADGROUP GROUP one alice COUNT 10 STREAMS stream:large >");
    say.say("XREADGROUP GROUP two bob COUNT 3 STREAMS stream:large >");
    say.say("XREADGROUP GROUP two carol COUNT 100 STREAMS stream:large >");
    say.say("XDEL stream:large 2-1 5-1");
}

#[test]
fn a_stream_that_never_is_there_whole_tells_how_many_pending_entries_it_lacks() {
    let (source, target) = (Server::start(), Server::start());
    fill_large_stream(&source);
    let letters = copy(&source, &target, &[FROM_64_KIB, GO_ON]).done();
    let mut told: Vec<String> = letters
        .iter()
        .map(|one| one["reason"].as_str().unwrap().to_owned())
        .collect();
    told.sort();
    assert_eq!(told.len(), 2, "{told:?}");
    for (told, group) in told.iter().zip(["one", "two"]) {
        let expected =
            format!("key stream:large: 2 pending entries of group {group} are of entries that are gone");
        assert!(told.starts_with(&expected), "{told}");
    }
    let say_pending = |server: &Server| -> u64 {
        let (count, ..): (u64, String, String, Vec<(String, String)>) =
            server.run(&["XPENDING", "stream:large", "two"]);
        count
    };
    assert_eq!((say_pending(&source), say_pending(&target)), (103, 101));
    let found = typed::differences(&source, &target, |key| key == b"stream:large");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// How often a key is used, and when it was, goes along where `RESTORE` writes it.
#[test]
fn idle_times_and_frequencies_arrive_by_restore() {
    for (policy, what) in [("allkeys-lfu", "FREQ"), ("allkeys-lru", "IDLETIME")] {
        let (source, target) = (
            Server::with(&["--maxmemory-policy", policy]),
            Server::with(&["--maxmemory-policy", policy]),
        );
        for n in 0..20 {
            let () = source.run(&["SET", &format!("key:{n}"), "v"]);
        }
        let () = source.run(&["DEBUG", "SLEEP", "1.1"]);
        for _ in 0..40 {
            let () = source.run(&["GET", "key:3"]);
        }
        copy(&source, &target, &[]).done();
        let of = |server: &Server, key: &str| -> i64 { server.run(&["OBJECT", what, key]) };
        for key in ["key:3", "key:4"] {
            let (here, there) = (of(&source, key), of(&target, key));
            assert!((here - there).abs() <= 1, "{what} of {key}: {here}, {there}");
        }
        assert_ne!(of(&target, "key:3"), of(&target, "key:4"), "{what}");
    }
}
