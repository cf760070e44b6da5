//! A cluster that is written to while its shards fail over and gunyu is killed: in the end every key is as on the source.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::rig::{LONG, Rig};
use crate::support::server::connect;
use crate::support::workload::Seed;
use crate::support::{Gunyu, Server, wait_until};

/// Clients that write to whoever serves the slot, until told to stop.
struct Writers {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Writers {
    fn start(rig: &Rig, seed: &Seed) -> Writers {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let urls: Vec<String> = rig.nodes.iter().map(Server::url).collect();
        let threads = (0..2)
            .map(|number| {
                let (stop, written, urls) = (Arc::clone(&stop), Arc::clone(&written), urls.clone());
                let random = seed.rng(number + 1);
                thread::spawn(move || write(&urls, random, &stop, &written))
            })
            .collect();
        Writers {
            stop,
            written,
            threads,
        }
    }

    fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

fn write(urls: &[String], mut random: fastrand::Rng, stop: &AtomicBool, written: &AtomicU64) {
    let mut conns: Vec<Option<redis::Connection>> = urls.iter().map(|_| None).collect();
    while !stop.load(Ordering::Relaxed) {
        let key = random.u32(..200);
        let command = match random.u32(..7) {
            0 => vec!["INCR".to_owned(), format!("counter:{key}")],
            1 => vec![
                "RPUSH".to_owned(),
                format!("list:{key}"),
                random.u32(..).to_string(),
            ],
            2 => vec!["LPOP".to_owned(), format!("list:{key}")],
            3 => vec![
                "SET".to_owned(),
                format!("s:{key}"),
                random.u32(..).to_string(),
                "EX".to_owned(),
                "9000".to_owned(),
            ],
            4 => vec!["DEL".to_owned(), format!("s:{key}")],
            5 => vec![
                "ZINCRBY".to_owned(),
                format!("z:{key}"),
                "1".to_owned(),
                random.u32(..9).to_string(),
            ],
            _ => vec![
                "HINCRBY".to_owned(),
                format!("h:{key}"),
                random.u32(..9).to_string(),
                "1".to_owned(),
            ],
        };
        for (url, conn) in urls.iter().zip(&mut conns) {
            if conn.is_none() {
                *conn = connect(url).ok();
            }
            let Some(open) = conn else { continue };
            match redis::cmd(&command[0])
                .arg(&command[1..])
                .query::<redis::Value>(open)
            {
                Ok(_) => {
                    written.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                Err(error) if error.is_io_error() => *conn = None,
                // It moved: the next one may have it.
                Err(_) => {}
            }
        }
    }
}

fn storm(set: &[&str]) {
    let seed = Seed::pick();
    let mut random = seed.rng(0);
    let (mut rig, target) = (Rig::start(3, 1), Server::start());
    let mut gunyu = Gunyu::start(&rig.url(), &target.url(), set);
    gunyu.wait_ready(LONG);
    let writers = Writers::start(&rig, &seed);
    for round in 0..5 {
        let before = writers.written();
        wait_until(LONG, "writers get on", || writers.written() > before + 2000);
        let shard = random.usize(..3);
        let (master, replica) = match rig.is_master(shard) {
            true => (shard, shard + 3),
            false => (shard + 3, shard),
        };
        if random.bool() {
            rig.fail_over_to(replica);
        } else {
            rig.nodes[master].kill9();
            rig.wait_master(replica);
            rig.nodes[master].restart();
            rig.wait_settled();
        }
        if round % 2 == 0 {
            gunyu.restart();
        }
    }
    writers.end();
    gunyu.wait_ready(LONG);
    rig.wait_copied(&target);
    assert_eq!(
        crate::rig::folders(&gunyu).len(),
        3,
        "no shard has got another name: {}",
        gunyu.traces()
    );
}

#[test]
fn masters_that_are_followed_fail_over_under_load() {
    storm(&["input.syncFrom=master"]);
}

#[test]
fn replicas_that_are_followed_fail_over_under_load() {
    storm(&["input.syncFrom=prefer_slave"]);
}
