//! The tours on which a shard leaves a cluster: while a member of a group follows it, or while nobody runs. What it said last, deletions among it, is then in no
//! stream any more.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use super::company::RATE;
use super::crash_many::Toured;
use super::support::Server;
use super::support::fleet::slot::{slot, tag};
use super::support::fleet::{LONG, wait_equal};
use super::support::group::{Group, Kind, Plan, Tally};
use super::support::wait_for;
use super::support::workload::Seed;

/// Shards that stay.
const STAY: usize = 2;

/// Slots of the one that leaves; some that are written come to it beside them.
const GUEST_SLOTS: usize = 20;
const WRITTEN_SLOTS: usize = 6;

/// Keys of a kind.
const KEYS: usize = 20;

/// A cluster with a shard that is about to leave it, and one member of a group.
struct Leaver {
    group: Group,
    /// The node that leaves.
    guest: usize,
    /// A tag of one of its slots that nobody else writes.
    tag: &'static str,
    tally: Tally,
}

impl Leaver {
    /// All is live.
    fn start(rng: &mut fastrand::Rng, env: &[(&str, &str)]) -> Leaver {
        let mut group = Group::prepare(&Plan {
            members: 1,
            begin: 1,
            source: STAY,
            guest_slots: GUEST_SLOTS,
            ..Plan::of(if rng.bool() { Kind::Etcd } else { Kind::Redis })
        });
        let fleet = group.source.fleet();
        let shards = fleet.shards().into_iter();
        let guest = shards.min_by_key(|shard| shard.slots.len()).unwrap();
        let (mut slots, first) = (Tally::slots(), fleet.masters_at()[0]);
        slots.retain(|slot| fleet.shard(first).slots.contains(slot));
        fleet.move_slots(first, guest.master, &slots[..WRITTEN_SLOTS]);
        let written = Tally::slots();
        let own = guest.slots.iter().find(|slot| !written.contains(slot)).unwrap();
        let mut leaver = Leaver {
            guest: guest.master,
            tag: tag(*own),
            tally: Tally::start(group.source.shape(), &Seed::of(rng.u64(..)), RATE),
            group,
        };
        assert_eq!(slot(leaver.tag.as_bytes()), *own);
        leaver.write("stays");
        leaver.write("goes");
        leaver.group.members[0].set_env(env);
        leaver.group.members[0].start();
        leaver.lives_to_lead(STAY + 1);
        leaver.tally.wait_more(RATE / 3);
        leaver
    }

    fn node(&mut self) -> &Server {
        let guest = self.guest;
        &self.group.source.fleet().nodes[guest]
    }

    fn write(&mut self, kind: &str) {
        let tag = self.tag;
        for number in 0..KEYS {
            let () = self
                .node()
                .run(&["SET", &format!("{{{tag}}}{kind}:{number}"), kind]);
        }
    }

    fn delete(&mut self, kind: &str) {
        let tag = self.tag;
        for number in 0..KEYS {
            let gone: u64 = self.node().run(&["DEL", &format!("{{{tag}}}{kind}:{number}")]);
            assert_eq!(gone, 1);
        }
    }

    /// Waits until it leads so many inputs, and all are live; false where it has died before.
    fn lives_to_lead(&mut self, inputs: usize) -> bool {
        let member = &mut self.group.members[0];
        wait_for(LONG, "all shards are led, and live", || {
            if member.ended().is_some() {
                return Ok(false);
            }
            let said = member.said();
            let is_live = said.iter().all(|said| said.leads && said.phase == "incremental");
            match is_live && said.len() == inputs {
                true => Ok(true),
                false => Err(format!("{said:?}\n{}", member.last_words())),
            }
        })
    }

    /// It ends, by an order or by a signal, and goes on without an order: all is there, nothing else is, at the cost of so many snapshots in all.
    fn judge(mut self, full_syncs: std::ops::RangeInclusive<usize>) -> Toured {
        let member = &mut self.group.members[0];
        if member.ended().is_none() {
            member.term();
        }
        let toured = Toured {
            has_died: member.ended().and_then(|status| status.signal()) == Some(libc::SIGABRT),
            traces: member.traces(),
        };
        member.set_env(&[]);
        member.start();
        assert!(self.lives_to_lead(STAY), "{}", self.group.last_words());
        self.tally.wait_more(RATE / 3);
        let (source, target) = (self.group.source.shape(), self.group.target.shape());
        let sent = self.tally.stop();
        sent.wait_on(source, Duration::ZERO);
        sent.wait_on(target, LONG);
        wait_equal(source, target, LONG);
        // As gunyu tells it: an empty master becomes a replica, and has a snapshot, too.
        let told = self.group.members[0].traces();
        let made = told.matches("the source sends a snapshot").count();
        assert!(
            full_syncs.contains(&made),
            "{made} full syncs, {full_syncs:?} were due: {}",
            self.group.last_words()
        );
        toured
    }
}

/// The shard leaves in order: it is heard to its end, and its lease goes back.
pub(super) fn leaves_heard(seed: &Seed, part: u64, order: &str) -> Toured {
    let mut leaver = Leaver::start(&mut seed.rng(part), &[("GUNYU_CRASH_AT", order)]);
    leaver.delete("goes");
    let (Group { source, members, .. }, guest) = (&mut leaver.group, leaver.guest);
    source.remove_shard(guest, &mut |_| {
        wait_for(LONG, "its lease is given back", || {
            let is_back = members[0].traces().contains("its lease is given back");
            match is_back || members[0].ended().is_some() {
                true => Ok(()),
                false => Err(members[0].last_words()),
            }
        });
    });
    leaver.lives_to_lead(STAY);
    leaver.judge(STAY + 1..=STAY + 1)
}

/// The shard leaves while nobody runs: those that stay begin anew, once.
pub(super) fn leaves_unheard(seed: &Seed, part: u64, order: &str) -> Toured {
    let mut leaver = Leaver::start(&mut seed.rng(part), &[]);
    leaver.group.members[0].kill9();
    leaver.delete("goes");
    leaver.write("new");
    let guest = leaver.guest;
    leaver.group.source.remove_shard(guest, &mut |_| {});
    leaver.group.members[0].set_env(&[("GUNYU_CRASH_AT", order)]);
    leaver.group.members[0].start();
    leaver.lives_to_lead(STAY);
    // Each made one at first. One that dies in the midst of the second may need another.
    let anew = STAY + 1 + STAY;
    let more = if order.starts_with("sync.") { STAY } else { 0 };
    leaver.judge(anew..=anew + more)
}
