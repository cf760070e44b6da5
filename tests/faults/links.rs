//! A link breaks in each of the ways it can, in each phase.
//!
//! Phases are reached by events: a proxy that holds at a byte, or what the status says.

use super::cells::{self, Cell, Struck, Witness};
use super::pair::{LONG, Pair, Prepared, SNAPSHOT_BYTES, is_live, last};
use super::support::proxy::{Fault, Proxy, Way};
use super::support::server::connect;
use super::support::workload::Seed;
use super::support::{http, wait_for};

/// Between gunyu and what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Source,
    Target,
}

impl Link {
    const ALL: &'static [Link] = &[Link::Source, Link::Target];
}

/// What gunyu is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It greets the other side.
    Handshake,
    /// The snapshot is arriving.
    Receiving,
    /// The snapshot has arrived, and is being restored.
    Replaying,
    /// The stream is live.
    Live,
    /// It was asked to stop, and has something under way.
    Drain,
}

impl Phase {
    const ALL: &'static [Phase] = &[
        Phase::Handshake,
        Phase::Receiving,
        Phase::Replaying,
        Phase::Live,
        Phase::Drain,
    ];
}

struct Attack {
    link: Link,
    fault: Fault,
    phase: Phase,
}

impl Attack {
    fn proxy<'a>(&self, pair: &'a Pair) -> &'a Proxy {
        match self.link {
            Link::Source => &pair.to_source,
            Link::Target => &pair.to_target,
        }
    }

    fn run(&self, seed: &Seed, attempt: u64) -> Struck {
        let part = attempt << 24 | (self.link as u64) << 16 | (self.fault as u64) << 8 | self.phase as u64;
        let mut prepared = Pair::prepare(seed, part);
        let into_snapshot = |rng: &mut fastrand::Rng| rng.u64(30_000..SNAPSHOT_BYTES * 3 / 4);
        let mut witness = None;
        match (self.phase, self.link) {
            (Phase::Handshake, _) => witness = Some(self.arm_greeting(&mut prepared, attempt)),
            (Phase::Receiving, Link::Source) => {
                // The snapshot alone is longer than that.
                let bytes = into_snapshot(&mut prepared.rng);
                let url = prepared.source.url();
                let fuse = (self.fault, Way::Down, bytes);
                witness = Some(Witness::arm(&prepared.to_source, fuse, move || {
                    match syncs(&url)? {
                        0 => Err("it has not been asked for a snapshot".to_owned()),
                        _ => Ok(()),
                    }
                }));
            }
            (Phase::Receiving, Link::Target) => {
                let bytes = into_snapshot(&mut prepared.rng);
                prepared.to_source.arm(Fault::Stall, Way::Down, bytes);
            }
            (Phase::Replaying, _) => {
                let bytes = into_snapshot(&mut prepared.rng);
                prepared.to_target.arm(Fault::Stall, Way::Up, bytes);
            }
            _ => {}
        }
        let mut pair = prepared.begin(&[]);
        pair.count();
        match self.phase {
            Phase::Handshake => self.wait_struck(&mut pair),
            Phase::Receiving => self.strike_receiving(&mut pair),
            Phase::Replaying => self.strike_replaying(&mut pair),
            Phase::Live => witness = Some(self.strike_live(&mut pair)),
            Phase::Drain => self.strike_draining(&mut pair),
        }
        // Whatever breaks before the first snapshot is whole may cost another one, and so may what breaks then.
        let most = if matches!(self.phase, Phase::Live | Phase::Drain) {
            1
        } else {
            4
        };
        pair.finish(most);
        let phase = format!("{:?}", self.phase);
        match witness {
            // What held the phase up was there when it struck.
            None => Struck::ByHand(phase),
            Some(witness) => witness.struck(&phase).expect("it was waited for"),
        }
    }

    /// In the midst of the greeting, earlier with each attempt.
    fn arm_greeting(&self, prepared: &mut Prepared, attempt: u64) -> Witness {
        let (way, most) = match prepared.rng.bool() {
            true => (Way::Up, 500),
            false => (Way::Down, 3_000),
        };
        let fuse = (self.fault, way, prepared.rng.u64(1..most >> (2 * attempt)));
        match self.link {
            Link::Source => {
                let url = prepared.source.url();
                Witness::arm(&prepared.to_source, fuse, move || match syncs(&url)? {
                    0 => Ok(()),
                    _ => Err("it has begun to send a snapshot".to_owned()),
                })
            }
            Link::Target => {
                let url = prepared.target.url();
                Witness::arm(&prepared.to_target, fuse, move || match holds_data(&url)? {
                    false => Ok(()),
                    true => Err("it holds a key already".to_owned()),
                })
            }
        }
    }

    fn wait_struck(&self, pair: &mut Pair) {
        wait_strike(self.proxy(pair), pair);
        self.wait_felt(pair);
    }

    fn strike_receiving(&self, pair: &mut Pair) {
        wait_strike(&pair.to_source, pair);
        if self.link == Link::Target {
            pair.to_target.strike(self.fault);
            pair.to_source.heal();
        }
        self.wait_felt(pair);
    }

    fn strike_replaying(&self, pair: &mut Pair) {
        wait_strike(&pair.to_target, pair);
        let source = &pair.source;
        wait_for(LONG, "the source has sent its snapshot", || {
            let told = source.info("replication");
            match told.get("slave0") {
                Some(one) if one.contains("state=online") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        self.proxy(pair).strike(self.fault);
        match (self.link, self.fault) {
            (Link::Source, _) => pair.to_target.heal(),
            // It goes on, and is the fault now.
            (Link::Target, Fault::Stall) => {}
            // What held it would hold the fault up.
            (Link::Target, _) => pair.to_target.resume(),
        }
        self.wait_felt(pair);
    }

    fn strike_live(&self, pair: &mut Pair) -> Witness {
        pair.gunyu.wait_ready(LONG);
        pair.wait_more(300);
        let (way, most) = match (self.link, pair.rng.bool()) {
            (Link::Source, true) => (Way::Up, 60),
            (Link::Target, false) => (Way::Down, 3_000),
            (Link::Source, false) | (Link::Target, true) => (
                if self.link == Link::Source {
                    Way::Down
                } else {
                    Way::Up
                },
                60_000,
            ),
        };
        let bytes = pair.rng.u64(1..most);
        let api = pair.gunyu.http();
        let witness = Witness::arm(self.proxy(pair), (self.fault, way, bytes), move || {
            let answer = http::get(api, "/syncer/status").map_err(|error| error.to_string())?;
            let status = answer.json();
            match is_live(&status[0]) {
                true => Ok(()),
                false => Err(status.to_string()),
            }
        });
        wait_strike(self.proxy(pair), pair);
        self.wait_felt(pair);
        witness
    }

    fn strike_draining(&self, pair: &mut Pair) {
        pair.gunyu.wait_ready(LONG);
        pair.wait_more(300);
        // So that something is under way: without, it stops at once.
        pair.to_target.stall();
        let held = &pair.to_target;
        wait_for(LONG, "a batch is on its way", || {
            held.is_holding().then_some(()).ok_or_else(String::new)
        });
        pair.wait_more(300);
        pair.gunyu.signal(libc::SIGTERM);
        let gunyu = &pair.gunyu;
        wait_for(LONG, "it drains", || {
            let traces = gunyu.traces();
            traces
                .contains("draining")
                .then_some(())
                .ok_or_else(|| last(&traces))
        });
        self.proxy(pair).strike(self.fault);
        if self.fault != Fault::Stall || self.link == Link::Source {
            pair.to_target.resume();
        }
        pair.gunyu.wait_end(LONG);
        // What was on its way arrives before the next life, or after it has begun.
        if pair.rng.bool() {
            self.proxy(pair).heal();
            pair.gunyu.restart();
            return;
        }
        pair.gunyu.restart();
        self.wait_felt(pair);
    }

    /// Goes on until the fault has been felt; then all is well again.
    ///
    /// Where new connections are well gunyu must come back to life by itself, whatever becomes of the old ones.
    fn wait_felt(&self, pair: &mut Pair) {
        let lasts = matches!(self.fault, Fault::Stall | Fault::Refused);
        match lasts {
            true if pair.rng.bool() => {
                let before = pair.gunyu.traces().matches("WARN").count();
                wait_for(LONG, "gunyu has noticed", || {
                    let traces = pair.gunyu.traces();
                    (traces.matches("WARN").count() > before)
                        .then_some(())
                        .ok_or_else(|| last(&traces))
                });
            }
            true => pair.wait_more(600),
            false => {
                pair.wait_more(300);
                pair.gunyu.wait_applied(&pair.source, LONG);
            }
        }
        self.proxy(pair).heal();
    }
}

/// Snapshots that the source was asked for, by its own count.
fn syncs(source: &str) -> Result<u64, String> {
    let mut conn = connect(source).map_err(|error| error.to_string())?;
    let said: Result<String, _> = redis::cmd("INFO").arg("stats").query(&mut conn);
    let said = said.map_err(|error| error.to_string())?;
    let count = said.lines().find_map(|line| line.strip_prefix("sync_full:"));
    count
        .and_then(|count| count.trim().parse().ok())
        .ok_or_else(|| said.clone())
}

/// Whether the target holds a key that is not gunyu's own.
fn holds_data(target: &str) -> Result<bool, String> {
    let mut conn = connect(target).map_err(|error| error.to_string())?;
    let keys: Result<Vec<String>, _> = redis::cmd("KEYS").arg("*").query(&mut conn);
    let keys = keys.map_err(|error| error.to_string())?;
    Ok(keys.iter().any(|key| !key.starts_with("redis-gunyu-")))
}

#[track_caller]
fn wait_strike(proxy: &Proxy, pair: &Pair) {
    wait_for(LONG, "the fault strikes", || match proxy.strikes() {
        0 => Err(last(&pair.gunyu.traces())),
        _ => Ok(()),
    });
}

#[test]
fn however_a_link_breaks_in_whatever_phase_counters_are_exact() {
    let mut cells = Vec::new();
    for link in Link::ALL {
        for fault in Fault::ALL {
            for phase in Phase::ALL {
                let attack = Attack {
                    link: *link,
                    fault: *fault,
                    phase: *phase,
                };
                let name = format!("{link:?}-{fault:?}-{phase:?}");
                cells.push(Cell::striking(name, move |seed, attempt| {
                    attack.run(seed, attempt)
                }));
            }
        }
    }
    cells::run("links", cells);
}
