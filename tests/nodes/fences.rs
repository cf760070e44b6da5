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
use super::support::fleet::wait_equal;
use super::support::wire::{Batch, put};
use super::support::{Cluster, Gunyu, SOON, Server};

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
    assert!(times.iter().min() < Some(&READING_MAX), "{times:?}");
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
