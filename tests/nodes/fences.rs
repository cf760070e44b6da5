//! What a restart reads before it goes on.

use std::time::{Duration, Instant};

use gunyu::core::command::SLOTS;
use gunyu::core::net::{Address, Credentials, Endpoint};
use gunyu::core::position::Offset;
use gunyu::core::target::checkpoint::{KEY_PREFIX, Record};
use gunyu::core::target::cluster::fences::{self, Fences};
use gunyu::core::target::cluster::known::Known;
use gunyu::core::target::cluster::router::Router;
use gunyu::core::target::{Settings, Shape};

use super::support::fleet::slot::tag;
use super::support::fleet::{Fleet, LONG, Shape as _, wait_equal};
use super::support::wire::{Batch, put};
use super::support::{Cluster, Gunyu, SOON, Server, at_this_load, wait_for, wait_until};

/// Well under a second, the issue says; this is of the debug build.
const READING_MAX: Duration = Duration::from_secs(1);

/// A counter in every slot, one higher.
fn count_in_every_slot(source: &Server) {
    let mut batch = Batch::default();
    for slot in 0..SLOTS {
        put!(batch, "INCR", format!("{{{}}}counter", tag(slot)));
    }
    batch.must(&mut source.conn());
}

/// The deployment on the target: its name, and its record.
fn deployment(cluster: &Cluster) -> (String, Record) {
    for master in &cluster.masters {
        let keys: Vec<String> = master.run(&["KEYS", &format!("{KEY_PREFIX}:*")]);
        let name = |key: &String| {
            let inner = key.strip_prefix(KEY_PREFIX)?.strip_prefix(":{")?;
            inner.strip_suffix('}').map(str::to_owned)
        };
        if let Some((key, name)) = keys.iter().find_map(|key| Some((key, name(key)?))) {
            let fields: Vec<Vec<u8>> = master.run(&["HGETALL", key]);
            let pairs = fields.chunks(2).map(|pair| (&pair[0][..], &pair[1][..]));
            return (name, Record::parse(pairs).unwrap());
        }
    }
    panic!("no master has a checkpoint");
}

/// The fences of all slots, and how long it took to read them, the connections included.
async fn read(cluster: &Cluster, name: &str, record: &Record) -> (Fences, Duration) {
    let address: Address = Address {
        host: "127.0.0.1".to_owned(),
        port: cluster.masters[0].port(),
    };
    let settings = Settings {
        endpoint: Endpoint {
            address,
            credentials: Credentials::default(),
            tls: None,
        },
        shape: Shape::Cluster {
            seeds: Vec::new(),
            known: Known::default(),
        },
        name: name.to_owned(),
        reply_limit: SOON,
    };
    let start = Instant::now();
    let home = format!("{KEY_PREFIX}:{{{name}}}");
    let mut router = Router::open(&settings, "test", home.as_bytes()).await.unwrap();
    let fences = fences::read(&mut router, name, &mut record.clone())
        .await
        .unwrap();
    (fences, start.elapsed())
}

#[test]
fn the_fences_of_all_slots_are_read_in_well_under_a_second() {
    let (source, cluster) = (Server::start(), Cluster::start(3));
    let mut gunyu = Gunyu::start(&source.url(), &cluster.url(), &[]);
    gunyu.wait_ready(SOON);
    count_in_every_slot(&source);
    gunyu.wait_applied(&source, SOON);
    gunyu.kill9();
    let (name, record) = deployment(&cluster);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    // The best of three: other tests have the machine too.
    let tries: Vec<(Fences, Duration)> = (0..3)
        .map(|_| runtime.block_on(read(&cluster, &name, &record)))
        .collect();
    for (fences, _) in &tries {
        let missing = (0..SLOTS).filter(|slot| !fences.covers(*slot, Offset::new(1)));
        assert_eq!(missing.count(), 0, "slots have no fence");
    }
    let times: Vec<Duration> = tries.iter().map(|(_, took)| *took).collect();
    let start = Instant::now();
    gunyu.restart();
    gunyu.wait_ready(SOON);
    println!(
        "{SLOTS} fences were read in {times:?}; gunyu was live {:?} after its start",
        start.elapsed()
    );
    assert!(times.iter().min() < Some(&at_this_load(READING_MAX)), "{times:?}");
    // What was there is not applied again, what comes is.
    count_in_every_slot(&source);
    wait_equal(&source, &cluster, SOON);
}

/// The checkpoint is on one node, and speaks of all: where another comes back without its last writes, its mark is as old as what it has.
#[test]
fn a_node_that_comes_back_from_an_older_dump_gets_the_difference_from_the_log() {
    let (source, mut cluster) = (Server::start(), Cluster::start(3));
    let mut gunyu = Gunyu::start(&source.url(), &cluster.url(), &[]);
    gunyu.wait_ready(SOON);
    let recorded = |gunyu: &mut Gunyu| {
        gunyu.wait_status(SOON, "all is recorded", |status| {
            let offset = &status[0]["Offset"];
            offset["Checkpoint"].as_u64() >= Some(source.offset()) && offset["Checkpoint"] == offset["Source"]
        });
    };
    count_in_every_slot(&source);
    recorded(&mut gunyu);
    let has_checkpoint = |master: &Server| {
        let keys: Vec<String> = master.run(&["KEYS", &format!("{KEY_PREFIX}:*")]);
        !keys.is_empty()
    };
    let another = cluster
        .masters
        .iter()
        .position(|one| !has_checkpoint(one))
        .unwrap();
    let dump = cluster.masters[another].snapshot();
    count_in_every_slot(&source);
    recorded(&mut gunyu);
    cluster.masters[another].restart_from(&dump);
    cluster.wait_whole();
    count_in_every_slot(&source);
    gunyu.wait_applied(&source, SOON);
    wait_equal(&source, &cluster, SOON);
    let syncs = source.info("stats")["sync_full"].clone();
    assert_eq!(syncs, "1", "{}", gunyu.traces());
}

/// Nobody ends a connection or refuses a word: a checkpoint that is due is the first to meet the heir, and must not vouch for it.
#[test]
fn what_an_heir_has_not_heard_of_comes_to_it_from_the_log() {
    let (source, target) = (Server::start(), Fleet::start(3, 1));
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
    gunyu.wait_ready(LONG);
    for master in target.masters_at() {
        let shard = target.shard(master);
        let (heir, key) = (
            &target.nodes[shard.replicas[0]],
            format!("{{{}}}counter", tag(shard.slots[7])),
        );
        // It is not let in any more, and so falls behind.
        let () = heir.run(&["CONFIG", "SET", "masteruser", "nobody", "masterauth", "none"]);
        let _: u64 = heir.run(&["CLIENT", "KILL", "TYPE", "master"]);
        wait_until(SOON, "the heir hears nothing any more", || {
            heir.info("replication")["master_link_status"] == "down"
        });
        for _ in 0..10 {
            let _: u64 = source.run(&["INCR", &key]);
        }
        gunyu.wait_applied(&source, SOON);
        let () = heir.run(&["CLUSTER", "FAILOVER", "TAKEOVER"]);
        wait_for(LONG, "the heir has what its master had", || {
            let there = redis::cmd("GET").arg(&key).query::<Option<u64>>(&mut heir.conn());
            (there == Ok(Some(10)))
                .then_some(())
                .ok_or_else(|| format!("{there:?}\n{}", gunyu.traces()))
        });
    }
    wait_equal(&source, &target, LONG);
}

/// What is refused within the window behind a restart may have been applied before, and met what a later write has left.
#[test]
fn a_refused_write_is_told_where_it_cannot_be_one_that_comes_again() {
    const WINDOW_BYTES: u64 = gunyu::core::target::cluster::fenced::WINDOW_BYTES;
    let (source, cluster) = (Server::start(), Cluster::start(3));
    let set = ["output.replay.onError=dead_letter"];
    let mut gunyu = Gunyu::start(&source.url(), &cluster.url(), &set);
    gunyu.wait_ready(SOON);
    let end = source.offset() + WINDOW_BYTES;
    let (filling, mut conn) = ("x".repeat(1 << 20), source.conn());
    while source.offset() <= end {
        redis::cmd("SET")
            .arg("filling")
            .arg(&filling)
            .exec(&mut conn)
            .unwrap();
    }
    gunyu.wait_applied(&source, LONG);
    let touched = |master: &&Server| {
        let mut set = redis::cmd("SET");
        set.arg("touched")
            .arg("by a person")
            .exec(&mut master.conn())
            .is_ok()
    };
    assert!(cluster.masters.iter().any(|master| touched(&master)));
    let () = source.run(&["HSET", "touched", "field", "1"]);
    gunyu.wait_status(SOON, "it is told", |status| status[0]["DeadLetters"] == 1);
}
