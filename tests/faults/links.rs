//! A link breaks in each of the ways it can, in each phase.
//!
//! Phases are reached by events: a proxy that holds at a byte, or what the status says.

use super::cells::{self, Cell};
use super::pair::{LONG, Pair, SNAPSHOT_BYTES, last};
use super::support::proxy::{Fault, Proxy, Way};
use super::support::wait_for;
use super::support::workload::Seed;

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

    fn run(&self, seed: &Seed) {
        let part = (self.link as u64) << 16 | (self.fault as u64) << 8 | self.phase as u64;
        let mut prepared = Pair::prepare(seed, part);
        if self.phase == Phase::Handshake {
            let proxy = match self.link {
                Link::Source => &prepared.to_source,
                Link::Target => &prepared.to_target,
            };
            let (way, bytes) = match prepared.rng.bool() {
                true => (Way::Up, prepared.rng.u64(1..500)),
                false => (Way::Down, prepared.rng.u64(1..3_000)),
            };
            proxy.arm(self.fault, way, bytes);
        }
        let into_snapshot = |rng: &mut fastrand::Rng| rng.u64(30_000..SNAPSHOT_BYTES * 3 / 4);
        match (self.phase, self.link) {
            (Phase::Receiving, Link::Source) => {
                let bytes = into_snapshot(&mut prepared.rng);
                prepared.to_source.arm(self.fault, Way::Down, bytes);
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
            Phase::Live => self.strike_live(&mut pair),
            Phase::Drain => self.strike_draining(&mut pair),
        }
        // Whatever breaks before the first snapshot is whole may cost another one, and so may what breaks then.
        let most = if matches!(self.phase, Phase::Live | Phase::Drain) {
            1
        } else {
            4
        };
        pair.finish(most);
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

    fn strike_live(&self, pair: &mut Pair) {
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
        self.proxy(pair).arm(self.fault, way, bytes);
        wait_strike(self.proxy(pair), pair);
        self.wait_felt(pair);
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
                cells.push(Cell::new(name, move |seed| attack.run(seed)));
            }
        }
    }
    cells::run("links", cells);
}
