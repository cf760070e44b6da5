//! A source and a target with a proxy before each, gunyu with a small log between them, and counters at work.

use std::time::Duration;

use serde_json::Value;

use super::support::proxy::Proxy;
use super::support::workload::{Counters, Options, Seed};
use super::support::{Gunyu, SOON, Server, assert_equal, wait_for};

/// How long a busy machine may take to catch up.
pub(super) const LONG: Duration = Duration::from_secs(120);

/// The backlog is large enough for whatever happens here; the source is heard of every second.
const SOURCE: &[&str] = &["--repl-backlog-size", "64mb", "--repl-ping-replica-period", "1"];

/// Segments so small that they roll, and a log so small that it releases; values in pieces.
const SMALL: &[&str] = &[
    "channel.storer.maxSize=4MiB",
    "channel.storer.logSize=128KiB",
    "channel.storer.flush.duration=200ms",
    "output.replay.bigValueBytes=64KiB",
    "output.replay.updateCheckpointTicker=500ms",
    "server.gracefullStopTimeout=3s",
];

/// Silence is noticed after so long.
const SILENCE_MS: &str = "2500";

/// Bytes of the snapshot, about.
pub(super) const SNAPSHOT_BYTES: u64 = 1500 << 10;

/// Writes a second: the log must not fill while one link is down.
const RATE: u64 = 3_000;

pub(super) struct Pair {
    pub(super) rng: fastrand::Rng,
    /// First of the processes, so that it has ended before what it speaks with.
    pub(super) gunyu: Gunyu,
    pub(super) to_source: Proxy,
    pub(super) to_target: Proxy,
    pub(super) source: Server,
    pub(super) target: Server,
    /// Of whom the source is a replica at first.
    origin: Option<Server>,
    counters: Option<Counters>,
    seed_number: Seed,
}

impl Pair {
    /// Servers that are filled, and nothing else; `begin` starts gunyu.
    pub(super) fn prepare(seed: &Seed, part: u64) -> Prepared {
        let mut rng = seed.rng(part);
        let (source, target) = (Server::with(SOURCE), Server::start());
        fill(&source, &mut rng);
        Prepared::of(rng, source, target, None)
    }

    /// The same with more options of the target.
    pub(super) fn prepare_onto(seed: &Seed, part: u64, options: &[&str]) -> Prepared {
        let mut rng = seed.rng(part);
        let source = Server::with(SOURCE);
        fill(&source, &mut rng);
        Prepared::of(rng, source, Server::with(options), None)
    }

    /// The same with a source that is a replica.
    pub(super) fn prepare_replica(seed: &Seed, part: u64) -> Prepared {
        let mut rng = seed.rng(part);
        let (origin, source) = (Server::with(SOURCE), Server::with(SOURCE));
        fill(&origin, &mut rng);
        source.follow(&origin);
        source.wait_caught_up(&origin, LONG);
        Prepared::of(rng, source, Server::start(), Some(origin))
    }
}

/// All but gunyu and the counters.
pub(super) struct Prepared {
    pub(super) rng: fastrand::Rng,
    pub(super) source: Server,
    pub(super) target: Server,
    pub(super) to_source: Proxy,
    pub(super) to_target: Proxy,
    origin: Option<Server>,
}

impl Prepared {
    fn of(rng: fastrand::Rng, source: Server, target: Server, origin: Option<Server>) -> Prepared {
        let (to_source, to_target) = (Proxy::to(source.port()), Proxy::to(target.port()));
        Prepared {
            rng,
            source,
            target,
            to_source,
            to_target,
            origin,
        }
    }

    /// Starts gunyu with more of an environment.
    pub(super) fn begin(self, env: &[(&str, &str)]) -> Pair {
        self.begin_with(env, &[])
    }

    /// The same with more settings.
    pub(super) fn begin_with(mut self, env: &[(&str, &str)], set: &[&str]) -> Pair {
        let mut args = vec![
            "sync".to_owned(),
            format!("--source={}", self.to_source.url()),
            format!("--target={}", self.to_target.url()),
        ];
        let all = SMALL.iter().chain(set);
        args.extend(all.map(|pair| format!("--set={pair}")));
        let env = [&[("GUNYU_SILENCE_MS", SILENCE_MS)], env].concat();
        let seed_number = Seed::of(self.rng.u64(..));
        Pair {
            gunyu: Gunyu::with_args(args, &env),
            rng: self.rng,
            to_source: self.to_source,
            to_target: self.to_target,
            source: self.source,
            target: self.target,
            origin: self.origin,
            counters: None,
            seed_number,
        }
    }
}

/// What a snapshot must carry here: strings, some of which expire in a while, and values that go in pieces.
fn fill(server: &Server, rng: &mut fastrand::Rng) {
    let mut conn = server.conn();
    let mut pipe = redis::pipe();
    let mut value = |len: usize| {
        let mut bytes = vec![0; len];
        rng.fill(&mut bytes);
        bytes
    };
    for number in 0..300 {
        pipe.set(format!("string:{number}"), value(1_000)).ignore();
    }
    for number in 0..40 {
        pipe.pset_ex(format!("expiring:{number}"), value(100), 900_000)
            .ignore();
    }
    // Longer than what is written in one go.
    for _ in 0..130 {
        pipe.rpush("large:list", value(9_000)).ignore();
    }
    for number in 0..100 {
        pipe.hset("large:hash", format!("field:{number}"), value(500))
            .ignore();
    }
    let () = pipe.query(&mut conn).unwrap();
}

impl Pair {
    /// The source is a replica no more.
    pub(super) fn promote(&mut self) {
        let () = self.source.run(&["REPLICAOF", "NO", "ONE"]);
        self.origin = None;
    }

    /// Writers begin, unless they are at work.
    pub(super) fn count(&mut self) {
        if self.counters.is_some() {
            return;
        }
        let options = Options {
            per_second: Some(RATE),
            ..Options::default()
        };
        self.counters = Some(Counters::with(&self.source.url(), &self.seed_number, &options));
    }

    /// Waits until so many more writes have been answered by the source.
    #[track_caller]
    pub(super) fn wait_more(&self, writes: u64) {
        self.counters.as_ref().expect("they write").wait_more(writes);
    }

    /// More than the log may hold, so that it rolls and releases.
    pub(super) fn pour(&mut self) {
        let mut conn = self.source.conn();
        let mut value = vec![0; 32 << 10];
        for number in 0..150 {
            self.rng.fill(&mut value);
            let mut set = redis::cmd("SET");
            let () = set
                .arg(format!("poured:{}", number % 7))
                .arg(&value)
                .query(&mut conn)
                .unwrap();
        }
    }

    /// Keys that only the target has, or no such keys.
    pub(super) fn make_stale(&self, are_there: bool) {
        let mut conn = self.target.conn();
        for db in 0..2 {
            redis::cmd("SELECT").arg(db).exec(&mut conn).unwrap();
            for number in 0..5 {
                let key = format!("stale:{number}");
                match are_there {
                    true => redis::cmd("SET").arg(key).arg(number).exec(&mut conn).unwrap(),
                    false => redis::cmd("DEL").arg(key).exec(&mut conn).unwrap(),
                }
            }
        }
    }

    /// Waits until the status is as told; false where gunyu has died before.
    #[track_caller]
    pub(super) fn lives_until(&mut self, what: &str, mut holds: impl FnMut(&Value) -> bool) -> bool {
        let gunyu = &mut self.gunyu;
        wait_for(LONG, what, || {
            if gunyu.ended().is_some() {
                return Ok(false);
            }
            let answer = gunyu.request("GET", "/syncer/status");
            let status = answer.map(|answer| answer.json());
            match status {
                Ok(status) if holds(&status[0]) => Ok(true),
                other => Err(format!("{other:?}\n{}", last(&gunyu.traces()))),
            }
        })
    }

    /// Waits until it is live; false where it has died before.
    #[track_caller]
    pub(super) fn lives_to_be_live(&mut self) -> bool {
        self.lives_until("the stream is live", is_live)
    }

    /// Full syncs that the source has made, by its own count.
    pub(super) fn full_syncs(&self) -> u64 {
        self.source.info("stats")["sync_full"].parse().unwrap()
    }

    /// All is well again: everything arrives, at least once. Writers have ended.
    #[track_caller]
    pub(super) fn arrive_at_least(&mut self) {
        self.gunyu.wait_ready(LONG);
        self.wait_more(200);
        let expected = self.counters.take().expect("they write").stop();
        assert_eq!(expected.in_doubt(), 0);
        self.gunyu.wait_applied(&self.source, LONG);
        expected.assert_on(&self.source);
        if let Err(missing) = expected.check_at_least(&self.target) {
            panic!("something was lost:\n{missing}\n{}", last(&self.gunyu.traces()));
        }
    }

    /// All is well again: everything arrives, exactly, and both sides hold the same.
    #[track_caller]
    pub(super) fn finish(mut self, full_syncs_max: u64) {
        self.to_source.heal();
        self.to_target.heal();
        self.gunyu.wait_ready(LONG);
        self.wait_more(200);
        let expected = self.counters.take().expect("they write").stop();
        assert_eq!(expected.in_doubt(), 0);
        self.gunyu.wait_applied(&self.source, LONG);
        expected.assert_on(&self.source);
        if let Err(wrong) = expected.check(&self.target) {
            panic!(
                "the target does not hold what was sent:\n{wrong}\n{}",
                last(&self.gunyu.traces())
            );
        }
        self.finish_equal(full_syncs_max);
    }

    /// Both sides hold the same. Writers have ended.
    #[track_caller]
    pub(super) fn finish_equal(mut self, full_syncs_max: u64) {
        self.gunyu.wait_applied(&self.source, LONG);
        let syncs = self.full_syncs();
        assert!(
            (1..=full_syncs_max).contains(&syncs),
            "{syncs} full syncs, at most {full_syncs_max} were due\n{}",
            self.gunyu.traces()
        );
        self.gunyu.term();
        assert_equal(&self.source, &self.target);
    }
}

pub(super) fn is_live(status: &Value) -> bool {
    status["Phase"] == "incremental"
}

pub(super) fn last(traces: &str) -> String {
    let lines: Vec<&str> = traces.lines().collect();
    lines[lines.len().saturating_sub(50)..].join("\n")
}

/// Waits until gunyu has ended.
#[track_caller]
pub(super) fn wait_death(gunyu: &mut Gunyu) {
    wait_for(SOON, "gunyu ends", || {
        gunyu.ended().map(drop).ok_or_else(String::new)
    });
}
