//! The classes of commands, put to servers: what may be replayed leaves the same.

use std::time::{SystemTime, UNIX_EPOCH};

use super::*;

/// Blind commands on the key K, which tread on each other's toes as well as they can.
const BLIND: &[&str] = &[
    "SET K V",
    "SET K V PXAT 4000000000000",
    "SET K V KEEPTTL",
    "GETSET K V",
    "MSET a V b V",
    "SETRANGE K 3 V",
    "SETBIT K 7 1",
    "HSET K V 1",
    "HSET K f V",
    "SADD K V",
    "ZADD K 1 V",
    "ZADD K 2 V",
    "GEOADD K 1 1 V",
    "PFADD K V",
    "PEXPIREAT K 4100000000000",
    "PEXPIREAT K 4200000000000",
    "PERSIST K",
    "DEL K",
    "UNLINK a b",
    "LSET K 0 V",
    "RESTORE K 0 LIST REPLACE",
    "RESTORE K 4300000000000 HASH REPLACE ABSTTL",
    "HMSET K V 1 f 2",
    "HPEXPIREAT K 4400000000000 FIELDS 2 V f",
    "HEXPIREAT K 4500000000 FIELDS 1 V",
    "HPERSIST K FIELDS 2 V f",
    "HSETEX K PXAT 4600000000000 FIELDS 2 V 1 f 3",
    "HSETEX K FIELDS 1 V 4",
    "MSETEX 2 a V b V PXAT 4700000000000",
    "MSETEX 1 a V KEEPTTL",
    "EXPIREAT K 4800000000",
];

/// What the two keys are: everything that a digest tells, and what it leaves out: their times to live and those of the fields.
fn state(server: &mut Server) -> Vec<Value> {
    let digest = server.ask(&["DEBUG", "DIGEST"]);
    assert!(digest.text().is_some(), "{digest:?}");
    let mut state = vec![digest];
    for key in ["a", "b"] {
        state.push(expiry(server, key));
        state.push(server.ask(&["HPEXPIRETIME", key, "FIELDS", "3", "f", "u", "v"]));
    }
    state
}

/// When a key expires; where a server tells only what is left, to a million seconds: the times of [`BLIND`] lie farther apart.
fn expiry(server: &mut Server, key: &str) -> Value {
    match server.ask(&["PEXPIRETIME", key]) {
        Value::Error(_) => {}
        answer => return answer,
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    match server.ask(&["PTTL", key]) {
        Value::Int(left) if left >= 0 => Value::Int((now + left + 500_000_000) / 1_000_000_000),
        answer => answer,
    }
}

/// Whether a source sends the command on, of which its server said `answer`: it does where that had an effect.
fn is_sent_on(command: &[Vec<u8>], answer: &Value) -> bool {
    let name = String::from_utf8_lossy(&command[0]);
    let may_have_none = ["PEXPIREAT", "EXPIREAT", "PERSIST", "DEL", "UNLINK"];
    match answer {
        Value::Error(_) => false,
        Value::Int(0) => !may_have_none.contains(&&*name),
        // Of each field.
        Value::Array(fields) => fields.contains(&Value::Int(1)),
        _ => true,
    }
}

/// One of the commands, its placeholders filled in.
fn some_command(random: &mut fastrand::Rng, palette: &[&str], list: &[u8], hash: &[u8]) -> Vec<Vec<u8>> {
    let value = ["u", "v"][random.usize(..2)];
    let words = palette[random.usize(..palette.len())].split(' ');
    let args = words.map(|word| match word {
        "K" => b"a".to_vec(),
        "V" => value.as_bytes().to_vec(),
        "LIST" => list.to_vec(),
        "HASH" => hash.to_vec(),
        word => word.as_bytes().to_vec(),
    });
    args.collect()
}

fn apply(server: &mut Server, command: &[Vec<u8>]) -> Value {
    let args: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
    server.send(&args)
}

fn readable(stream: &[Vec<Vec<u8>>]) -> String {
    let commands = stream
        .iter()
        .map(|command| String::from_utf8_lossy(&command.join(&b' ')).into_owned());
    commands.collect::<Vec<_>>().join("; ")
}

fn is_blind(command: &[Vec<u8>]) -> bool {
    let args: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
    let mut bytes = BytesMut::new();
    encode_command(&mut bytes, &args);
    let mut framer = Framer::default();
    framer.push(Offset::ZERO, bytes.freeze()).unwrap();
    let frame = framer.next().unwrap().unwrap();
    command::of(&frame).class(&frame) == command::Class::Blind
}

/// The definition of a blind command, put to every server: any suffix of a stream of them, replayed onto what the stream left,
/// leaves the same.
#[test]
fn matrix_of_servers_a_suffix_of_blind_commands_leaves_the_same_state_however_often_it_is_replayed() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    for (program, mut server) in debuggable() {
        let times = if program == "redis-server" { 1000 } else { 200 };
        let about = format!("seed {seed} on {program}");
        replay_suffixes(&mut server, &mut random, times, &about);
    }
}

/// Servers that answer DEBUG: since 7.0 they must be told so, and before they do not know of that.
fn debuggable() -> Vec<(String, Server)> {
    let mut all = servers(&["--enable-debug-command", "yes"]);
    let old = servers(&[]);
    let is_new = |name: &String, all: &[(String, Server)]| all.iter().all(|(known, _)| known != name);
    for (name, server) in old {
        if is_new(&name, &all) {
            all.push((name, server));
        }
    }
    all
}

fn replay_suffixes(server: &mut Server, random: &mut fastrand::Rng, times: usize, about: &str) {
    server.ask(&["FLUSHALL"]);
    server.ask(&["RPUSH", "a", "1", "2"]);
    server.ask(&["HSET", "b", "h", "1"]);
    let [list, hash] = ["a", "b"].map(|key| server.ask(&["DUMP", key]).text().unwrap().to_vec());
    let mut longest = 0;
    for _ in 0..times {
        server.ask(&["FLUSHALL"]);
        // A few kinds of commands at a time meet each other more often than all of them would.
        let kinds = random.usize(2..5);
        let palette = random.choose_multiple(BLIND.iter().copied(), kinds);
        let mut stream = Vec::new();
        for _ in 0..random.usize(2..14) {
            let command = some_command(random, &palette, &list, &hash);
            assert!(is_blind(&command), "{command:?}");
            if is_sent_on(&command, &apply(server, &command)) {
                stream.push(command);
            }
        }
        longest = longest.max(stream.len());
        let expected = state(server);
        let from = random.usize(..=stream.len());
        for time in 0..2 {
            for command in &stream[from..] {
                apply(server, command);
            }
            let said = readable(&stream);
            let replayed = state(server);
            assert_eq!(replayed, expected, "{about}, replay {time} from {from} of {said}");
        }
    }
    assert!(longest > 8, "{about}: no stream had more than {longest} commands");
}

/// Each command of the table that may be blind takes part.
#[test]
fn every_command_that_may_be_blind_is_replayed() {
    let replayed = |name: &str| {
        let mut names = BLIND.iter().filter_map(|line| line.split(' ').next());
        names.any(|known| known.eq_ignore_ascii_case(name))
    };
    let (mut missing, mut blind) = (Vec::new(), 0);
    for known in command::all().filter(|known| known.writes) {
        let forms = [
            "K 1 V",
            "K 4100000000000 FIELDS 1 V",
            "K FIELDS 1 V 1",
            "1 K V",
            "K 0 x REPLACE",
        ];
        let may_be_blind = forms.iter().any(|form| {
            let words = format!("{} {form}", known.name);
            let words: Vec<Vec<u8>> = words.split(' ').map(|word| word.as_bytes().to_vec()).collect();
            is_blind(&words)
        });
        blind += usize::from(may_be_blind);
        // What a cluster's nodes send each other is RESTORE by another name.
        if may_be_blind && !replayed(known.name) && known.kind != Kind::RestoreAsking {
            missing.push(known.name);
        }
    }
    assert_eq!(missing, Vec::<&str>::new());
    assert!(blind > 20, "only {blind}");
}

#[test]
fn commands_that_take_a_key_away_only_sometimes_are_not_blind_for_a_reason() {
    let Some(mut server) = Server::start(Path::new("redis-server"), &["--enable-debug-command", "yes"])
    else {
        crate::skipped::skipped("redis-server does not run here");
        return;
    };
    for stream in [
        [
            "HSET a f 1",
            "PEXPIREAT a 4000000000000",
            "HDEL a f",
            "HSET a g 2",
        ],
        ["SET a v", "PEXPIREAT a 4000000000000", "GETDEL a", "HSET a g 2"],
    ] {
        let commands: Vec<Vec<Vec<u8>>> = stream
            .iter()
            .map(|words| words.split(' ').map(|word| word.as_bytes().to_vec()).collect())
            .collect();
        assert!(!is_blind(&commands[2]), "{stream:?}");
        server.ask(&["FLUSHALL"]);
        commands
            .iter()
            .for_each(|command| drop(apply(&mut server, command)));
        let once = state(&mut server);
        commands[1..]
            .iter()
            .for_each(|command| drop(apply(&mut server, command)));
        assert_ne!(state(&mut server), once, "{stream:?}");
    }
}
