//! The tours from a cluster whose slots move: what is written down about whose a slot is, and what a shard imports.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use serde_json::Value;

use super::company::RATE;
use super::crash_many::Toured;
use super::pair::{LONG, last, wait_death};
use super::support::fleet::{Fleet, Layout, Shape};
use super::support::group::Tally;
use super::support::workload::Seed;
use super::support::{Binary, Gunyu, Server, matrix, wait_for};

/// Slots that move at once.
const AT_ONCE: usize = 8;

/// A server whose slots can go as a whole, where one is at hand.
pub(super) fn carrier() -> Option<Binary> {
    let can = |binary: &Binary| match binary.product.as_str() {
        "redis" => binary.version >= (8, 4, 0),
        "valkey" => binary.version >= (9, 0, 0),
        _ => false,
    };
    matrix().into_iter().map(|(_, binary)| binary).find(can)
}

/// A cluster of two shards that is written, and gunyu behind it.
struct Moving {
    fleet: Fleet,
    target: Server,
    gunyu: Gunyu,
    tally: Tally,
}

impl Moving {
    fn start(rng: &mut fastrand::Rng, binary: &Binary, env: &[(&str, &str)]) -> Moving {
        let mut layout = Layout::of(2, 0).with(&["--repl-ping-replica-period", "1"]);
        layout.binary = binary.clone();
        let (fleet, target) = (Fleet::with(layout), Server::of(binary, &[]));
        let args = vec![
            "sync".to_owned(),
            format!("--source={}", Shape::url(&fleet)),
            format!("--target={}", target.url()),
        ];
        Moving {
            gunyu: Gunyu::with_args(args, env),
            tally: Tally::start(&fleet, &Seed::of(rng.u64(..)), RATE),
            fleet,
            target,
        }
    }

    /// Slots that are written: some of the first shard's to the second, some back, others again there. No slot moves twice: what goes there and back
    /// while nobody looks may need a full sync. As a whole where the server can.
    fn moves(&mut self, mut after_each: impl FnMut(&mut Gunyu)) {
        let of: [Vec<u16>; 2] = [0, 1].map(|place| {
            let own = self.fleet.shard(place).slots;
            let mut slots = Tally::slots();
            slots.retain(|slot| own.contains(slot));
            slots
        });
        for (from, to, slots) in [
            (0, 1, &of[0][..AT_ONCE]),
            (1, 0, &of[1][..AT_ONCE]),
            (0, 1, &of[0][AT_ONCE..2 * AT_ONCE]),
        ] {
            if !self.fleet.move_slots_atomically(from, to, slots) {
                self.fleet.move_slots(from, to, slots);
            }
            self.tally.wait_more(RATE);
            after_each(&mut self.gunyu);
        }
    }

    /// Waits until both streams are live; false where gunyu has died before.
    fn lives_to_be_live(&mut self) -> bool {
        let is_live = |status: &Value| {
            let inputs = status.as_array().map_or(&[][..], Vec::as_slice);
            inputs.len() == 2 && inputs.iter().all(|input| input["Phase"] == "incremental")
        };
        let gunyu = &mut self.gunyu;
        wait_for(LONG, "both streams are live", || {
            if gunyu.ended().is_some() {
                return Ok(false);
            }
            match gunyu.request("GET", "/syncer/status").map(|answer| answer.json()) {
                Ok(status) if is_live(&status) => Ok(true),
                other => Err(format!("{other:?}\n{}", last(&gunyu.traces()))),
            }
        })
    }

    /// Everything is there, exactly.
    fn finish(mut self) -> Gunyu {
        self.gunyu.wait_ready(LONG);
        self.tally.wait_more(RATE / 3);
        let sent = self.tally.stop();
        sent.wait_on(&self.fleet, Duration::ZERO);
        let traces = || last(&self.gunyu.traces());
        wait_for(LONG, "counters and lists are exact", || {
            sent.check(&self.target)
                .map_err(|wrong| format!("{wrong}\n{}", traces()))
        });
        self.gunyu
    }
}

/// It ends, by an order or by a signal.
fn end(gunyu: &mut Gunyu) -> Toured {
    if gunyu.ended().is_none() {
        gunyu.signal(libc::SIGTERM);
        wait_death(gunyu);
    }
    let status = gunyu.ended().expect("it has ended");
    Toured {
        has_died: status.signal() == Some(libc::SIGABRT),
        traces: gunyu.traces(),
    }
}

/// Slots move while it runs, and it dies then.
pub(super) fn slots_move(seed: &Seed, part: u64, binary: &Binary, order: &str) -> Toured {
    let mut moving = Moving::start(&mut seed.rng(part), binary, &[("GUNYU_CRASH_AT", order)]);
    let was_live = moving.lives_to_be_live();
    let mut toured = None;
    moving.moves(|gunyu| {
        if gunyu.ended().is_some() {
            toured = Some(end(gunyu));
            gunyu.restart_with_env(&[]);
            gunyu.wait_ready(LONG);
        }
    });
    let toured = toured.unwrap_or_else(|| {
        let toured = end(&mut moving.gunyu);
        moving.gunyu.restart_with_env(&[]);
        toured
    });
    let gunyu = moving.finish();
    assert!(
        !gunyu.metrics().contains("gunyu_full_sync_total{") || !was_live,
        "no full sync was due\n{}",
        last(&gunyu.traces())
    );
    toured
}
