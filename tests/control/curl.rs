//! The calls of the API's first description, made by curl (`tests/curl.sh`), each with its effect on the servers.

use std::process::Command;

use serde_json::Value;

use super::support::workload::{Counters, Seed};
use super::support::{Gunyu, SOON, Server};
use super::{
    BACKLOG, PATIENCE, assert_equal, counting, full_syncs, has, held, input, plant, sync_args,
    wait_caught_up, wait_state,
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/curl.sh");

/// Runs one step; what was answered and with which code.
#[track_caller]
fn curl(gunyu: &Gunyu, step: &str, inputs: &str) -> (u16, String) {
    let server = format!("http://{}", gunyu.http());
    let output = Command::new(SCRIPT)
        .args([&server, step, inputs])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{step}: {said}{stderr} (`make test` installs curl)"
    );
    let (body, code) = said.trim_end().rsplit_once('\n').unwrap();
    (code.parse().unwrap(), body.to_owned())
}

/// A step that succeeds, with a body in JSON.
#[track_caller]
fn done(gunyu: &Gunyu, step: &str, inputs: &str) -> Value {
    let (code, body) = curl(gunyu, step, inputs);
    assert_eq!(code, 200, "{step}: {body}\n{}", gunyu.traces());
    serde_json::from_str(&body).unwrap_or_else(|e| panic!("{step}: {e}: {body}"))
}

/// Three sources, each with a target of its own, and writes that go on.
struct Pairs {
    sources: [Server; 3],
    targets: [Server; 3],
    gunyu: Gunyu,
    counters: [Counters; 3],
    _seed: Seed,
}

impl Pairs {
    fn start() -> Pairs {
        let seed = Seed::pick();
        let sources = [(); 3].map(|()| Server::with(BACKLOG));
        let targets = [(); 3].map(|()| Server::start());
        let addresses = |servers: &[Server; 3]| servers.iter().map(Server::addr).collect::<Vec<_>>();
        let args = sync_args(&addresses(&sources), &addresses(&targets), &[]);
        let mut gunyu = Gunyu::with_args(args, &[]);
        gunyu.wait_ready(PATIENCE);
        let counters = sources.each_ref().map(|source| counting(source, &seed, 300));
        Pairs {
            sources,
            targets,
            gunyu,
            counters,
            _seed: seed,
        }
    }

    #[track_caller]
    fn write_more(&self) {
        self.counters.iter().for_each(|counters| counters.wait_more(50));
    }

    #[track_caller]
    fn wait_all(&mut self) {
        self.gunyu.wait_ready(PATIENCE);
        for source in &self.sources {
            wait_caught_up(&mut self.gunyu, source);
        }
    }

    fn full_syncs(&self) -> [u64; 3] {
        self.sources.each_ref().map(full_syncs)
    }
}

#[test]
fn every_call_of_the_description_has_its_effect_on_the_servers() {
    let mut pairs = Pairs::start();
    pairs.write_more();
    pairs.wait_all();
    shown(&pairs);
    paused_and_resumed(&mut pairs);
    restarted(&mut pairs);
    fully_synced(&mut pairs);
    let (code, body) = curl(&pairs.gunyu, "handover", "all");
    let refused: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(code, 409, "{body}");
    assert!(
        refused["error"].is_string() && refused["hint"].is_string(),
        "{body}"
    );
    let freed = done(&pairs.gunyu, "gc", "");
    assert_eq!(freed["freed_bytes"], 0, "{freed}");
    stopped(pairs);
}

fn shown(pairs: &Pairs) {
    let status = done(&pairs.gunyu, "status", "");
    for source in &pairs.sources {
        let one = input(&status, &source.addr());
        assert_eq!(
            (&one["Role"], &one["Transaction"], &one["State"]),
            (&"leader".into(), &true.into(), &"run".into())
        );
    }
    let (code, yaml) = curl(&pairs.gunyu, "config", "");
    let yaml: Value = serde_yaml::from_str(&yaml).unwrap();
    let json = done(&pairs.gunyu, "config-json", "");
    assert_eq!((code, &yaml), (200, &json));
    assert_eq!(
        json["input"]["redis"]["addresses"][2],
        pairs.sources[2].addr(),
        "{json}"
    );
    let (code, metrics) = curl(&pairs.gunyu, "metrics", "");
    assert_eq!(code, 200);
    assert!(metrics.contains("redisGunYu_output_send_cmd{"), "{metrics}");
}

/// By the address of one, as the description says: by IP (which here means all of them) and by IP and port.
fn paused_and_resumed(pairs: &mut Pairs) {
    let first = pairs.sources[0].addr();
    for (inputs, paused) in [("127.0.0.1", 3), (first.as_str(), 1)] {
        let answer = done(&pairs.gunyu, "pause", inputs);
        assert_eq!(
            answer["inputs"].as_array().map(Vec::len),
            Some(paused),
            "{answer}"
        );
        for source in &pairs.sources[..paused] {
            wait_state(&mut pairs.gunyu, &source.addr(), "pause");
        }
        let before = held(&pairs.targets[0]);
        assert!(!before.is_empty(), "flushdb=yes has no meaning here");
        pairs.write_more();
        let at = pairs.sources[0].offset();
        pairs.gunyu.wait_status(SOON, "the log grows", |status| {
            input(status, &first)["Offset"]["Received"].as_u64() >= Some(at)
        });
        assert!(held(&pairs.targets[0]) == before, "the target stands still");
        done(&pairs.gunyu, "resume", inputs);
        pairs.wait_all();
        assert!(held(&pairs.targets[0]) != before);
    }
    assert_eq!(pairs.full_syncs(), [1, 1, 1]);
}

fn restarted(pairs: &mut Pairs) {
    done(&pairs.gunyu, "restart", "");
    pairs.write_more();
    pairs.wait_all();
    assert_eq!(pairs.full_syncs(), [1, 1, 1], "{}", pairs.gunyu.traces());
}

/// Two of the three by name, with a flush; then all of them, with and without.
fn fully_synced(pairs: &mut Pairs) {
    let two = format!("{},{}", pairs.sources[0].addr(), pairs.sources[2].addr());
    let steps = [
        ("fullsync", two.as_str(), [2, 1, 2], [true, false, true]),
        ("fullsync", "all", [3, 2, 3], [true, true, true]),
    ];
    for (step, inputs, counted, flushed) in steps {
        pairs
            .targets
            .iter()
            .for_each(|target| plant(target, 2, "planted"));
        done(&pairs.gunyu, step, inputs);
        pairs.write_more();
        pairs.wait_all();
        assert_eq!(pairs.full_syncs(), counted, "{step} {inputs}");
        let gone = pairs.targets.each_ref().map(|target| !has(target, 2, "planted"));
        assert_eq!(gone, flushed, "{step} {inputs}");
    }
    done(&pairs.gunyu, "fullsync-without-flush", "all");
    pairs.wait_all();
    assert_eq!(pairs.full_syncs(), [4, 3, 4]);
}

fn stopped(mut pairs: Pairs) {
    pairs.write_more();
    let expected = pairs.counters.map(Counters::stop);
    pairs.gunyu.wait_ready(PATIENCE);
    for source in &pairs.sources {
        wait_caught_up(&mut pairs.gunyu, source);
    }
    done(&pairs.gunyu, "stop", "");
    assert_eq!(
        pairs.gunyu.wait_end(SOON).code(),
        Some(0),
        "{}",
        pairs.gunyu.traces()
    );
    for ((source, target), expected) in pairs.sources.iter().zip(&pairs.targets).zip(expected) {
        expected.assert_on(target);
        assert_equal(source, target);
    }
}
