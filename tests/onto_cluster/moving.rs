//! Slots that change hands while a file is loaded.

use std::process::Stdio;

use redis::Connection;

use super::support::{Cluster, SOON, Server, wait_for, wait_until};
use super::{
    COMMANDS_ALONE, FROM_64_KIB, Ran, assert_same, dumped, dumps, gunyu, load, numbered, of_cluster,
};

/// Which master serves the slot of a key, and that slot.
fn place(cluster: &Cluster, key: &str) -> (usize, u16) {
    let slot: u16 = cluster.masters[0].run(&["CLUSTER", "KEYSLOT", key]);
    let owner = usize::from(slot) * cluster.masters.len() / 16_384;
    (owner, slot)
}

fn id(server: &Server) -> String {
    server.run(&["CLUSTER", "MYID"])
}

/// A slot on its way from one master to another.
struct Move<'a> {
    from: &'a Server,
    to: &'a Server,
    slot: String,
}

impl Move<'_> {
    fn begin(cluster: &Cluster, owner: usize, slot: u16) -> Move<'_> {
        let to = (owner + 1) % cluster.masters.len();
        let this = Move {
            from: &cluster.masters[owner],
            to: &cluster.masters[to],
            slot: slot.to_string(),
        };
        let () = this
            .to
            .run(&["CLUSTER", "SETSLOT", &this.slot, "IMPORTING", &id(this.from)]);
        let () = this
            .from
            .run(&["CLUSTER", "SETSLOT", &this.slot, "MIGRATING", &id(this.to)]);
        this
    }

    /// Moves the keys that are there.
    fn keys(&self) -> usize {
        let mut conn: Connection = self.from.conn();
        let mut moved = 0;
        loop {
            let keys: Vec<Vec<u8>> = redis::cmd("CLUSTER")
                .arg("GETKEYSINSLOT")
                .arg(&self.slot)
                .arg(100)
                .query(&mut conn)
                .unwrap();
            if keys.is_empty() {
                return moved;
            }
            moved += keys.len();
            let mut migrate = redis::cmd("MIGRATE");
            migrate.arg("127.0.0.1").arg(self.to.port()).arg("").arg(0);
            migrate.arg(10_000).arg("KEYS").arg(keys);
            let _: String = migrate.query(&mut conn).unwrap();
        }
    }

    fn end(&self, cluster: &Cluster) {
        let mut all = vec![self.to, self.from];
        all.extend(cluster.masters.iter());
        for master in all {
            let () = master.run(&["CLUSTER", "SETSLOT", &self.slot, "NODE", &id(self.to)]);
        }
    }
}

#[test]
fn keys_of_a_slot_that_is_on_its_way_arrive() {
    let folder = tempfile::tempdir().unwrap();
    let source = numbered("{moving}key", 500);
    let mut conn = source.conn();
    let mut pipe = redis::pipe();
    for number in 0..2_000 {
        pipe.set(format!("key{number}"), number).ignore();
    }
    let () = pipe.query(&mut conn).unwrap();
    let file = dumped(&source, folder.path());
    for set in [&[][..], &[COMMANDS_ALONE]] {
        let cluster = Cluster::start(3);
        let (owner, slot) = place(&cluster, "{moving}");
        let moving = Move::begin(&cluster, owner, slot);
        load(&file, &cluster.url(), set).says(0, &["2,500 keys loaded"]);
        assert!(moving.to.keys() > 500, "they are at their new master already");
        moving.end(&cluster);
        assert_same(&dumps(&[&source]), &of_cluster(&cluster));
    }
}

#[test]
fn a_slot_that_moves_in_the_middle_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let source = numbered("{moving}key", 4_000);
    let mut conn = source.conn();
    let mut pipe = redis::pipe();
    for number in 0..4_000 {
        pipe.set(format!("key{number}"), number).ignore();
    }
    let () = pipe.query(&mut conn).unwrap();
    let file = dumped(&source, folder.path());
    let cluster = Cluster::start(3);
    let (owner, slot) = place(&cluster, "{moving}");
    let url = cluster.url();
    let args = ["rdb-load", file.to_str().unwrap(), "--target", &url];
    let loading = gunyu(&args, &["output.replay.rateLimit.opsPerSec=2000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let in_slot = |server: &Server| server.run::<usize>(&["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()]);
    wait_for(SOON, "the slot has keys", || {
        match in_slot(&cluster.masters[owner]) {
            0 => Err(String::new()),
            _ => Ok(()),
        }
    });
    let moving = Move::begin(&cluster, owner, slot);
    assert!(moving.keys() > 0);
    wait_for(SOON, "keys go to the new master meanwhile", || {
        match moving.keys() == 0 && in_slot(moving.to) > 100 {
            true => Ok(()),
            false => Err(in_slot(moving.to).to_string()),
        }
    });
    moving.end(&cluster);
    let between = in_slot(moving.to);
    assert!(between < 4_000, "it was to move before all had come: {between}");
    Ran::of(&loading.wait_with_output().unwrap()).says(0, &["8,000 keys loaded"]);
    assert_same(&dumps(&[&source]), &of_cluster(&cluster));
}

/// The staged name is in the key's slot, and moves with it.
#[test]
fn a_value_in_pieces_whose_slot_moves_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let source = Server::start();
    let mut conn = source.conn();
    // What LZF cannot shorten: the file is to be long.
    let mut rng = fastrand::Rng::with_seed(5);
    for _ in 0..30 {
        let mut pipe = redis::pipe();
        for _ in 0..2_000 {
            let item: String = std::iter::repeat_with(|| rng.alphanumeric()).take(60).collect();
            pipe.rpush("{moving}list", item).ignore();
        }
        let () = pipe.query(&mut conn).unwrap();
    }
    let file = dumped(&source, folder.path());
    let cluster = Cluster::start(3);
    let (owner, slot) = place(&cluster, "{moving}");
    let url = cluster.url();
    let args = ["rdb-load", file.to_str().unwrap(), "--target", &url];
    let loading = gunyu(
        &args,
        &[
            FROM_64_KIB,
            COMMANDS_ALONE,
            "output.replay.rateLimit.bytesPerSec=512KiB",
        ],
    )
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    let moving = wait_for(SOON, "some of it is there", || {
        let keys: Vec<String> = cluster.masters[owner].run(&["KEYS", "redis-gunyu-staged:*"]);
        match keys.iter().any(|key| key.starts_with("redis-gunyu-staged:{")) {
            true => Ok(Move::begin(&cluster, owner, slot)),
            false => Err(format!("{keys:?}")),
        }
    });
    moving.keys();
    // A node that is to get a slot answers for its keys to nobody but those who were sent on; what debugs it may look.
    let there = || {
        let keys: Vec<String> = moving.to.run(&["KEYS", "redis-gunyu-staged:*"]);
        keys.iter()
            .flat_map(|key| moving.to.run::<Vec<String>>(&["DEBUG", "DIGEST-VALUE", key]))
            .collect::<Vec<_>>()
    };
    let before = there();
    wait_until(SOON, "it is written on at its new place", || there() != before);
    moving.keys();
    moving.end(&cluster);
    Ran::of(&loading.wait_with_output().unwrap()).says(0, &["1 keys loaded"]);
    let there: Vec<String> = moving.to.run(&["LRANGE", "{moving}list", "0", "-1"]);
    let expected: Vec<String> = source.run(&["LRANGE", "{moving}list", "0", "-1"]);
    assert!(there == expected, "{} of {}", there.len(), expected.len());
    assert_eq!(cluster.keys(), 1, "nothing of ours stays");
}
