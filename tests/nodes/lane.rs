//! A proxy before one node of a target cluster, which calls itself by the proxy's port: what happens on the way to it.

use std::time::{Duration, Instant};

use super::support::fleet::slot::{SLOTS, tag};
use super::support::fleet::{LONG, Load, Rate, seen_by, wait_equal};
use super::support::proxy::{self, Way};
use super::support::wire::{Batch, put};
use super::support::workload::Seed;
use super::support::{Cluster, Gunyu, Proxy, SOON, Server, at_this_load, wait_for};

const MASTERS: usize = 3;

/// What happens to one node must not keep a write from another for so long. A new session takes some 0.1 s; the rest is for a machine that is slow.
const DELAY_MAX: Duration = Duration::from_secs(3);

/// One of everything that can happen, in seeded order, so often.
const ROUNDS: usize = 3;

#[derive(Debug, Clone, Copy)]
enum Fault {
    Cut,
    CutWithin(Way),
    Stall,
    Pieces(usize),
}

struct Rig {
    source: Server,
    cluster: Cluster,
    /// Before the first master.
    proxy: Proxy,
    marks: u64,
}

impl Rig {
    /// A cluster whose first master is reached through a proxy, by everybody who asks the cluster for it.
    fn start() -> Rig {
        let cluster = Cluster::start(MASTERS);
        let proxy = Proxy::to(cluster.masters[0].port());
        let port = proxy.addr().rsplit(':').next().unwrap().to_owned();
        let () = cluster.masters[0].run(&["CONFIG", "SET", "cluster-announce-port", &port]);
        wait_for(SOON, "all nodes call it by the proxy's port", || {
            let ports = |node: &Server| seen_by(node).into_values().map(|seen| seen.port.to_string());
            let views: Vec<Vec<String>> = cluster.masters.iter().map(|node| ports(node).collect()).collect();
            let all = views.iter().all(|view| view.contains(&port));
            all.then_some(()).ok_or_else(|| format!("{views:?}"))
        });
        Rig {
            source: Server::start(),
            cluster,
            proxy,
            marks: 0,
        }
    }

    /// By a node that has no proxy.
    fn url(&self) -> String {
        format!("redis+cluster://{}", self.cluster.masters[1].addr())
    }

    /// How long a write takes to get to this master.
    fn delay(&mut self, master: usize) -> Duration {
        self.marks += 1;
        let value = self.marks.to_string();
        let first = u16::try_from(master * SLOTS / MASTERS).unwrap() + 1;
        let key = format!("{{{}}}mark", tag(first));
        let start = Instant::now();
        let () = self.source.run(&["SET", &key, &value]);
        wait_for(SOON, "the write has come to its master", || {
            let there: Option<String> = self.cluster.masters[master].run(&["GET", &key]);
            (there.as_ref() == Some(&value))
                .then_some(())
                .ok_or_else(|| format!("{there:?}"))
        });
        start.elapsed()
    }

    /// The longest of some writes to the other masters.
    fn delay_of_others(&mut self) -> Duration {
        let mut longest = Duration::ZERO;
        for _ in 0..3 {
            for master in 1..MASTERS {
                longest = longest.max(self.delay(master));
            }
        }
        longest
    }

    /// Lets it happen, and says for how long it kept a write from another master.
    fn suffer(&mut self, fault: Fault, load: &Load, rng: &mut fastrand::Rng) -> Duration {
        match fault {
            Fault::Cut => {
                assert!(self.proxy.cut() > 0, "nobody comes through the proxy");
                self.delay_of_others()
            }
            Fault::CutWithin(way) => {
                let before = self.proxy.cuts();
                // Little comes down: the replies alone.
                let most = if way == Way::Up { 30_000 } else { 5_000 };
                self.proxy.cut_after(way, rng.u64(..most));
                let longest = self.delay_of_others();
                wait_for(LONG, "the fuse has burnt through", || {
                    (self.proxy.cuts() > before).then_some(()).ok_or_else(String::new)
                });
                longest.max(self.delay_of_others())
            }
            Fault::Stall => {
                self.proxy.stall();
                load.wait_more(200);
                let longest = self.delay_of_others();
                self.proxy.resume();
                longest
            }
            Fault::Pieces(bytes) => {
                self.proxy.in_pieces(bytes);
                load.wait_more(200);
                let longest = self.delay_of_others();
                self.proxy.whole();
                longest
            }
        }
    }
}

#[test]
fn what_happens_on_the_way_to_one_node_costs_no_write_and_holds_up_no_other() {
    let seed = Seed::pick();
    let mut rng = seed.rng(0x1A9E);
    let mut rig = Rig::start();
    let mut gunyu = Gunyu::start(&rig.source.url(), &rig.url(), &[]);
    gunyu.wait_ready(SOON);
    let load = Load::start(&rig.source, &seed, Rate::default());
    for _ in 0..ROUNDS {
        let mut faults = [
            Fault::Cut,
            Fault::CutWithin(Way::Up),
            Fault::CutWithin(Way::Down),
            Fault::Stall,
            Fault::Pieces(1 + rng.usize(..3)),
        ];
        rng.shuffle(&mut faults);
        for fault in faults {
            load.wait_more(100 + rng.u64(..200));
            // The way is open: nothing of the fault before is left.
            let before = rig.delay(0);
            let longest = rig.suffer(fault, &load, &mut rng);
            println!("{fault:?}: others waited {longest:?}, the node itself had {before:?} before");
            let most = at_this_load(DELAY_MAX);
            assert!(longest < most, "{fault:?}: {longest:?}\n{}", gunyu.traces());
        }
    }
    let done = load.stop();
    assert!(done.refused.is_empty() && done.given_up.is_empty(), "{done:?}");
    wait_equal(&rig.source, &rig.cluster, SOON);
    assert!(rig.proxy.cuts() >= 3 * ROUNDS as u64 && rig.proxy.bytes().0 > 0);
    gunyu.wait_ready(SOON);
}

/// Its marks have a line of their own, and overtake what is under way.
#[test]
fn what_is_under_way_to_a_slow_node_is_not_in_the_checkpoint() {
    let mut rng = Seed::pick().rng(0x510);
    let rig = Rig::start();
    let mut gunyu = Gunyu::start(&rig.source.url(), &rig.url(), &[]);
    gunyu.wait_ready(SOON);
    rig.proxy.strike(proxy::Fault::Narrow);
    let before = rig.source.offset();
    let mut batch = Batch::default();
    for number in 0..1_500u16 {
        let value: String = std::iter::repeat_with(|| rng.alphanumeric())
            .take(2_000)
            .collect();
        put!(batch, "SET", format!("{{{}}}:{number}", tag(number % 100)), value);
    }
    batch.must(&mut rig.source.conn());
    let all = rig.source.offset();
    let status = gunyu.wait_status(SOON, "some of it is recorded", |status| {
        status[0]["Offset"]["Checkpoint"].as_u64() > Some(before + 100_000)
    });
    gunyu.kill9();
    rig.proxy.strike(proxy::Fault::Reset);
    rig.proxy.heal();
    let recorded = status[0]["Offset"]["Checkpoint"].as_u64();
    assert!(recorded < Some(all), "nothing is under way any more: {status}");
    gunyu.restart();
    gunyu.wait_ready(SOON);
    gunyu.wait_applied(&rig.source, SOON);
    wait_equal(&rig.source, &rig.cluster, SOON);
}

/// While an answer is awaited more of the same slot comes, and must not get before what is refused for now.
#[test]
fn what_a_node_refuses_for_now_keeps_its_order() {
    let rig = Rig::start();
    let mut gunyu = Gunyu::start(&rig.source.url(), &rig.url(), &[]);
    gunyu.wait_ready(SOON);
    rig.proxy.strike(proxy::Fault::Slow);
    let master = &rig.cluster.masters[0];
    let () = master.run(&["CONFIG", "SET", "maxmemory", "1"]);
    let (mut conn, mut pushed, key) = (rig.source.conn(), 0u64, format!("{{{}}}list", tag(1)));
    let mut push = |count: u64| {
        for number in pushed..pushed + count {
            redis::cmd("RPUSH").arg(&key).arg(number).exec(&mut conn).unwrap();
        }
        pushed += count;
    };
    gunyu.wait_status(SOON, "it is told", |status| {
        push(100);
        status[0]["LastError"]["Message"].to_string().contains("OOM")
    });
    push(1_000);
    let () = master.run(&["CONFIG", "SET", "maxmemory", "0"]);
    rig.proxy.heal();
    gunyu.wait_applied(&rig.source, SOON);
    let list = |server: &Server| server.run::<Vec<u64>>(&["LRANGE", &key, "0", "-1"]);
    assert_eq!(list(&rig.source), list(master));
    wait_equal(&rig.source, &rig.cluster, SOON);
}

#[test]
fn a_command_of_two_slots_waits_for_what_is_under_way_to_a_slow_node() {
    let rig = Rig::start();
    let mut gunyu = Gunyu::start(&rig.source.url(), &rig.url(), &[]);
    gunyu.wait_ready(SOON);
    rig.proxy.strike(proxy::Fault::Narrow);
    let (slow, other) = (tag(1), tag(u16::try_from(SLOTS).unwrap() - 1));
    let (from, to) = (format!("{{{slow}}}from"), format!("{{{other}}}to"));
    let mut batch = Batch::default();
    put!(batch, "SET", &from, "x".repeat(600 << 10));
    put!(batch, "RENAME", &from, &to);
    batch.must(&mut rig.source.conn());
    gunyu.wait_applied(&rig.source, SOON);
    rig.proxy.heal();
    assert_eq!(gunyu.status()[0]["DeadLetters"], 0, "{}", gunyu.traces());
    wait_equal(&rig.source, &rig.cluster, SOON);
}
