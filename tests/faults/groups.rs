//! A link of a member of a group breaks in each of the ways it can, in each phase of the group's life.

use super::cells::{self, Cell};
use super::company::{Company, Link, RATE};
use super::support::fleet::LONG;
use super::support::group::Kind;
use super::support::proxy::{Fault, Way};
use super::support::workload::Seed;

/// What the group is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A member comes back that had died.
    Joining,
    /// One leads, the other follows.
    Live,
    /// The lead goes from one to the other.
    Handover,
    /// The leader was asked to stop.
    Leaving,
}

impl Phase {
    const ALL: &'static [Phase] = &[Phase::Joining, Phase::Live, Phase::Handover, Phase::Leaving];
}

struct Attack {
    link: Link,
    fault: Fault,
    phase: Phase,
}

impl Attack {
    fn run(&self, seed: &Seed) {
        let part = (self.link as u64) << 16 | (self.fault as u64) << 8 | self.phase as u64;
        let mut rng = seed.rng(0x6_0000_0000 + part);
        let store = if rng.bool() { Kind::Etcd } else { Kind::Redis };
        let mut company = Company::prepare(store);
        company.start();
        let tally = company.count(&Seed::of(rng.u64(..)));
        tally.wait_more(RATE / 3);
        let leader = company.group.leader();
        let victim = if rng.bool() { leader } else { 1 - leader };
        company
            .group
            .watch
            .note(&format!("member {victim} is the victim"));
        if self.phase == Phase::Joining {
            company.group.members[victim].kill9();
        }
        let (way, bytes) = match rng.bool() {
            true => (Way::Up, rng.u64(1..600)),
            false => (Way::Down, rng.u64(1..3_000)),
        };
        company.link(victim, self.link).arm(self.fault, way, bytes);
        match self.phase {
            Phase::Joining => company.group.members[victim].start(),
            Phase::Live => {}
            // May be refused: what breaks, breaks at this moment.
            Phase::Handover => {
                drop(company.group.members[leader].call("POST", "/syncer/handover?inputs=all"));
            }
            Phase::Leaving => company.group.members[leader].signal(libc::SIGTERM),
        }
        let proxy = company.link(victim, self.link);
        for _ in 0..10 {
            if proxy.strikes() == 0 {
                tally.wait_more(RATE / 10);
            }
        }
        if proxy.strikes() == 0 {
            // A link on which nothing moves in this phase.
            proxy.heal();
            proxy.strike(self.fault);
        }
        company.group.watch.note("it has struck");
        // At times for longer than a lease lasts.
        tally.wait_more(if rng.bool() { RATE } else { RATE * 9 / 2 });
        company.link(victim, self.link).heal();
        company.group.watch.note("it is healed");
        if self.phase == Phase::Leaving {
            let status = company.group.members[leader].wait_end(LONG);
            assert_eq!(status.code(), Some(0), "{}", company.group.last_words());
        }
        company.finish(tally, 1);
    }
}

#[test]
fn however_a_members_link_breaks_in_whatever_phase_counters_are_exact() {
    let mut cells = Vec::new();
    for link in Link::ALL {
        for fault in Fault::ALL {
            for phase in Phase::ALL {
                let attack = Attack {
                    link: *link,
                    fault: *fault,
                    phase: *phase,
                };
                let name = format!("group-{link:?}-{fault:?}-{phase:?}");
                cells.push(Cell::new(name, move |seed| attack.run(seed)));
            }
        }
    }
    cells::run("links of groups", cells);
}
