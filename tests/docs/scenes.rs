//! What each scene needs before its blocks are run, and what must hold afterwards.

use std::path::PathBuf;

use crate::certs::Ca;
use crate::documents::Block;
use crate::renamed::Renamed;
use crate::stage::Stage;
use crate::support::port::Port;
use crate::support::redis_gunyu;
use crate::support::workload::{Fill, Seed};
use crate::support::{Binary, Cluster, Server, assert_equal, fleet, matrix, typed};
use crate::writer::Writer;

/// Keys where there are many.
const KEYS: usize = 500;

/// Names of the documents.
const ONE: &str = "10.0.0.1:6379";
const OTHER: &str = "10.0.1.1:6379";
const SOURCES: [&str; 3] = ["10.0.0.1:6379", "10.0.0.2:6379", "10.0.0.3:6379"];
const TARGETS: [&str; 3] = ["10.0.1.1:6379", "10.0.1.2:6379", "10.0.1.3:6379"];

/// Waits until the daemon that was started is live.
const LIVE: &str = "until curl -fs http://127.0.0.1:18001/debug/ready > /dev/null; do sleep 0.1; done";

/// A daemon from the one server to the other, live.
fn running() -> String {
    format!("gunyu sync --source redis://{ONE} --target redis://{OTHER}\n{LIVE}")
}

/// A server that is worth copying.
fn filled() -> Server {
    filled_with(&[])
}

fn filled_with(options: &[&str]) -> Server {
    let server = Server::with(options);
    Fill::keys(KEYS).run(&server, &Seed::pick());
    server
}

fn pair(source: &Server, target: &Server) -> Vec<(&'static str, String)> {
    vec![(ONE, source.addr()), (OTHER, target.addr())]
}

fn nodes<'a>(names: &[&'a str], cluster: &Cluster) -> Vec<(&'a str, String)> {
    let addresses = cluster.masters.iter().map(Server::addr);
    names.iter().copied().zip(addresses).collect()
}

fn masters(cluster: &Cluster) -> Vec<&Server> {
    cluster.masters.iter().collect()
}

/// Waits until the gunyu that `server` names has applied all that the source has written. Nobody writes any more.
fn caught_up(server: &str, source: &Server) -> String {
    let at = source.offset();
    format!(
        "until gunyu status {server} --json | jq -e '.[0] | .Phase == \"incremental\" and .Offset.Applied >= {at}'; do sleep 0.1; done"
    )
}

/// Ends it then.
fn stop_once_caught_up(stage: &Stage, server: &str, source: &Server) {
    stage.play(
        &format!("{}\ngunyu stop --wait {server}", caught_up(server, source)),
        &[],
    );
}

/// From a cluster to a cluster, while somebody writes until the script refuses it.
fn cluster_to_cluster(blocks: &[Block], shards: usize) {
    between_clusters(blocks, &Cluster::start(3), &Cluster::start(shards));
}

fn between_clusters(blocks: &[Block], source: &Cluster, target: &Cluster) {
    source.set_keys(KEYS);
    let names = [nodes(&SOURCES, source), nodes(&TARGETS, target)].concat();
    let mut writer = Writer::on(&masters(source));
    Stage::new(&names).play("", blocks);
    writer.assert_refused(&masters(target));
    fleet::assert_equal(source, target);
}

pub fn servers_that_ask_for_passwords_are_migrated(blocks: &[Block]) {
    let options = ["--requirepass", "secret", "--masterauth", "secret"];
    let (source, target) = (Cluster::with(3, &options), Cluster::with(3, &options));
    between_clusters(blocks, &source, &target);
}

pub fn users_for_each_side_may_do_what_is_needed(blocks: &[Block]) {
    let (source, target) = (filled(), Server::start());
    let stage = Stage::new(&[(ONE, source.addr()), ("10.0.0.2:6379", target.addr())]);
    stage.play(
        "export GUNYU_SOURCE_PASSWORD=secret GUNYU_TARGET_PASSWORD=secret",
        blocks,
    );
    let sides = "--source redis://gunyu@10.0.0.1:6379 --target redis://gunyu@10.0.0.2:6379";
    let writer = Writer::on(&[&source]);
    stage.play(
        &format!("gunyu doctor {sides} --set channel.storer.dirPath=logs"),
        &[],
    );
    let told = stage.printed();
    let mut permissions = told.lines().filter(|line| line.contains(" permission"));
    assert!(
        told.contains(" permission: ") && permissions.all(|line| line.starts_with("  ok ")),
        "{told}"
    );
    // It asks by ACL DRYRUN first, which nobody needs to allow.
    let () = target.run(&["ACL", "LOG", "RESET"]);
    stage.play(&format!("gunyu sync {sides}\n{LIVE}"), &[]);
    drop(writer);
    stop_once_caught_up(&stage, "", &source);
    let log: Vec<redis::Value> = target.run(&["ACL", "LOG"]);
    assert!(log.is_empty(), "{log:?}");
    assert_equal(&source, &target);
}

pub fn the_api_is_called(blocks: &[Block]) {
    let (source, target) = (filled(), Server::start());
    let stage = Stage::new(&pair(&source, &target));
    stage.play(&running(), blocks);
    let (told, snapshot) = (stage.printed(), stage.dir().join("snapshot.rdb"));
    assert!(told.contains("openapi: 3"), "{told}");
    assert!(std::fs::read(snapshot).unwrap().starts_with(b"REDIS"));
    assert_equal(&source, &target);
}

/// The files of the two members are those of docs/operations.md.
pub fn a_group_cuts_over(blocks: &[Block]) {
    let (source, target, leases) = (filled(), Server::start(), Server::start());
    let members = [Port::free(), Port::free()];
    let mut names = pair(&source, &target);
    names.push(("10.0.2.1:6379", leases.addr()));
    names.push(("10.0.0.5:18001", members[0].addr().to_string()));
    names.push(("10.0.0.6:18001", members[1].addr().to_string()));
    let stage = Stage::new(&names);
    let of_group = |one: &Block| one.document == "docs/operations.md" && one.heading == "A group";
    let files = crate::documents::blocks("sh").into_iter().find(of_group).unwrap();
    let mut writer = Writer::on(&[&source]);
    stage.play(&files.text, blocks);
    writer.assert_refused(&[&target]);
    assert_eq!(source.run::<u64>(&["EXISTS", "/redis-gunyu/orders"]), 0);
    assert_eq!(leases.run::<u64>(&["EXISTS", "/redis-gunyu/orders"]), 1);
    assert!(
        !stage.printed().contains("group's leases are in the source"),
        "{}",
        stage.printed()
    );
    assert_equal(&source, &target);
}

pub fn a_cluster_is_migrated_this_afternoon(blocks: &[Block]) {
    cluster_to_cluster(blocks, 3);
}

pub fn a_cluster_becomes_one_of_another_size(blocks: &[Block]) {
    cluster_to_cluster(blocks, 2);
}

pub fn one_server_becomes_a_cluster(blocks: &[Block]) {
    let (source, target) = (Server::start(), Cluster::start(3));
    let mut conn = source.conn();
    let mut pipe = redis::pipe();
    for number in 0..KEYS {
        pipe.set(format!("key:{number}"), number);
        pipe.rpush(format!("list:{number}"), &["a", "b"]);
        pipe.hset(format!("hash:{number}"), "field", number);
    }
    pipe.exec(&mut conn).unwrap();
    let mut names = nodes(&TARGETS, &target);
    names.push((ONE, source.addr()));
    let mut writer = Writer::on(&[&source]);
    Stage::new(&names).play("", blocks);
    writer.assert_refused(&masters(&target));
    fleet::assert_equal(&source, &target);
}

pub fn both_sides_are_compared(blocks: &[Block]) {
    let (source, target) = (filled(), Server::start());
    let names = [(ONE, source.addr()), ("10.0.0.2:6379", target.addr())];
    let stage = Stage::new(&names);
    let sync = "gunyu sync --source redis://10.0.0.1:6379 --target redis://10.0.0.2:6379";
    stage.play(&format!("{sync}\n{LIVE}"), blocks);
    stage.play("gunyu stop --wait", &[]);
    assert_equal(&source, &target);
}

pub fn the_daemon_is_started_and_looked_at(blocks: &[Block]) {
    let (source, target) = (filled(), Server::start());
    let names = [(ONE, source.addr()), ("10.0.0.2:6379", target.addr())];
    let stage = Stage::new(&names);
    let minimal = include_str!("../../config/minimal.yaml");
    let minimal = minimal
        .replace("127.0.0.1:6379", ONE)
        .replace("127.0.0.1:6380", "10.0.0.2:6379");
    stage.file("gunyu.yaml", &minimal);
    stage.play("", blocks);
    stage.play(&format!("{LIVE}\ngunyu stop --wait"), &[]);
    assert_equal(&source, &target);
}

/// A server that speaks TLS at a port of its own, with the name by which that is called.
struct Secured {
    server: Server,
    port: Port,
}

impl Secured {
    fn start(ca: &Ca, more: &[&str]) -> Secured {
        let (pair, port) = (ca.sign(&["127.0.0.1"]), Port::free());
        let number = port.number().to_string();
        let path = |path: &PathBuf| path.to_str().unwrap().to_owned();
        let (cert, key, ca) = (path(&pair.cert), path(&pair.key), path(&ca.path()));
        let mut options = vec!["--tls-port", &number, "--tls-auth-clients", "no"];
        options.extend([
            "--tls-cert-file",
            &cert,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &ca,
        ]);
        options.extend(more);
        let server = Server::with(&options);
        Secured { server, port }
    }

    fn addr(&self) -> String {
        self.port.addr().to_string()
    }
}

pub fn the_daemon_speaks_tls(blocks: &[Block]) {
    let ca = Ca::new();
    let (source, target) = (Secured::start(&ca, &[]), Secured::start(&ca, &[]));
    Fill::keys(KEYS).run(&source.server, &Seed::pick());
    let stage = Stage::new(&[(ONE, source.addr()), (OTHER, target.addr())]);
    stage.file("ca.pem", &std::fs::read_to_string(ca.path()).unwrap());
    stage.play("", blocks);
    stage.play(&format!("{LIVE}\ngunyu stop --wait"), &[]);
    assert_equal(&source.server, &target.server);
}

pub fn the_daemon_follows_clusters_and_sentinels(blocks: &[Block]) {
    let (cluster, target) = (Cluster::start(2), Server::start());
    cluster.set_keys(KEYS);
    let (source, watched) = (fleet::Watched::start(0, 1), fleet::Watched::start(0, 1));
    Fill::keys(KEYS).run(&source.servers[0], &Seed::pick());
    let url = |watched: &fleet::Watched| fleet::Shape::url(watched);
    let mut names = nodes(&["10.0.0.1:6379", "10.0.0.2:6379"], &cluster);
    names.push((OTHER, target.addr()));
    names.push((
        "redis+sentinel://10.0.0.1,10.0.0.2,10.0.0.3/mymaster",
        url(&source),
    ));
    names.push(("redis+sentinel://10.0.1.1/theirs", url(&watched)));
    let stage = Stage::new(&names);
    // The second line interrupts what the first has started.
    let [block] = blocks else { panic!("one block") };
    let lines = block.text.lines().map(|line| format!("{line}\n{LIVE}\n"));
    let text: String = lines.collect();
    stage.play(
        "",
        &[Block {
            text,
            ..block.clone()
        }],
    );
    stage.play("gunyu stop --wait", &[]);
    fleet::assert_equal(&cluster, &target);
    assert_equal(&source.servers[0], &watched.servers[0]);
}

pub fn a_migration_is_a_job(blocks: &[Block]) {
    let (source, target) = (filled(), filled());
    let stage = Stage::new(&[(ONE, source.addr()), ("10.0.0.2:6379", target.addr())]);
    let [job, calls] = blocks else {
        panic!("{}", blocks.len())
    };
    stage.play("", std::slice::from_ref(job));
    assert_equal(&source, &target);
    let sync = "gunyu sync --source redis://10.0.0.1:6379 --target redis://10.0.0.2:6379";
    let copied_anew = format!("{sync}\n{LIVE}\ngunyu fullsync --inputs all --wait");
    stage.play(&copied_anew, std::slice::from_ref(calls));
    for file in ["dump.rdb", "effective.yaml", "gunyu.bash", "man/gunyu.1"] {
        assert!(stage.dir().join(file).exists(), "{file}");
    }
    stage.play("gunyu stop --wait", &[]);
    assert_equal(&source, &target);
}

pub fn a_dump_is_written_loaded_and_looked_into(blocks: &[Block]) {
    let (source, target, cluster) = (filled(), Server::start(), Cluster::start(2));
    cluster.set_keys(KEYS);
    let stage = Stage::new(&[
        (ONE, source.addr()),
        ("10.0.0.2:6379", target.addr()),
        ("redis+cluster://10.0.0.1:6379,10.0.0.2:6379", cluster.url()),
    ]);
    stage.play("", blocks);
    for file in ["dump.rdb", "dump.rdb.gz", "streams.jsonl"] {
        assert!(stage.dir().join(file).exists(), "{file}");
    }
    for master in &cluster.masters {
        let file = format!("dump-127.0.0.1-{}.rdb", master.port());
        assert!(stage.dir().join(&file).exists(), "{file}");
    }
}

pub fn the_source_is_made_ready(blocks: &[Block]) {
    let source = Server::start();
    Stage::new(&[(ONE, source.addr())]).play("", blocks);
    let set: Vec<String> = source.run(&["CONFIG", "GET", "repl-backlog-size"]);
    assert_eq!(set[1], (256 << 20).to_string());
}

/// A server of the matrix whose label begins so, or the installed one, which is said: then the scene shows less.
fn of_matrix(label: &str, options: &[&str]) -> Server {
    let mut found = matrix()
        .into_iter()
        .rev()
        .filter(|(name, _)| name.starts_with(label));
    let binary = found.next().map_or_else(
        || {
            crate::support::skipped(&format!(
                "no {label}* among GUNYU_TEST_SERVERS: the installed server plays it"
            ));
            Binary::installed()
        },
        |(_, binary)| binary,
    );
    Server::of(&binary, options)
}

pub fn redis_becomes_valkey(blocks: &[Block]) {
    let (source, target) = (Server::start(), of_matrix("valkey-", &[]));
    // Both are read one after the other: nothing may expire in between.
    Fill::lasting(KEYS).run(&source, &Seed::pick());
    let mut writer = Writer::on(&[&source]);
    Stage::new(&pair(&source, &target)).play("", blocks);
    writer.assert_refused(&[&target]);
    assert_eq!(typed::differences(&source, &target, |_| false), [""; 0]);
}

pub fn an_older_version_gets_what_it_can_hold(blocks: &[Block]) {
    let older = of_matrix("redis-6.2", &[]);
    // Without a matrix the installed one plays the older: it is made to lack what 6.2 lacks.
    let target = match older.binary().version >= (7, 0, 0) {
        true => Server::with(&["--rename-command", "FUNCTION", ""]),
        false => older,
    };
    let source = filled();
    let library = "#!lua name=lib\nredis.register_function('f', function() return 1 end)";
    let _: String = source.run(&["FUNCTION", "LOAD", library]);
    let stage = Stage::new(&pair(&source, &target));
    stage.play("", blocks);
    assert!(stage.printed().contains("FUNCTION"), "{}", stage.printed());
}

pub fn a_service_is_a_target(blocks: &[Block]) {
    let ca = Ca::new();
    let (source, target) = (filled(), Secured::start(&ca, &["--requirepass", "secret"]));
    let stage = Stage::new(&[(ONE, source.addr()), (OTHER, target.addr())]);
    stage.file("ca.pem", &std::fs::read_to_string(ca.path()).unwrap());
    stage.play("", blocks);
    assert_equal(&source, &target.server);
}

pub fn psync_has_another_name(blocks: &[Block]) {
    let (source, target) = (filled(), Server::start());
    let service = Renamed::before(&source, "nmfu2bl5osync");
    let stage = Stage::new(&[(ONE, service.addr()), (OTHER, target.addr())]);
    stage.play("", blocks);
    stage.play(&format!("{LIVE}\ngunyu stop --wait"), &[]);
    assert_equal(&source, &target);
}

pub fn a_backup_file_is_loaded(blocks: &[Block]) {
    let (source, target) = (Server::start(), Cluster::start(2));
    let mut pipe = redis::pipe();
    for number in 0..KEYS {
        pipe.set(format!("key:{number}"), number);
    }
    pipe.exec(&mut source.conn()).unwrap();
    let stage = Stage::new(&nodes(&TARGETS, &target));
    std::fs::write(stage.dir().join("dump.rdb"), source.snapshot()).unwrap();
    stage.play("", blocks);
    fleet::assert_equal(&source, &target);
}

pub fn the_applications_cut_over(blocks: &[Block]) {
    let (source, target) = (filled(), Server::start());
    let mut writer = Writer::on(&[&source]);
    Stage::new(&pair(&source, &target)).play(&running(), blocks);
    writer.assert_refused(&[&target]);
    let left: Vec<String> = target.run(&["KEYS", "redis-gunyu-*"]);
    assert!(left.is_empty(), "{left:?}");
    assert_equal(&source, &target);
}

pub fn there_is_a_way_back(blocks: &[Block]) {
    let (old, new) = (Server::with(&["--min-replicas-to-write", "100"]), filled());
    let writer = Writer::on(&[&new]);
    let stage = Stage::new(&pair(&old, &new));
    stage.play("", blocks);
    drop(writer);
    stop_once_caught_up(&stage, "", &new);
    assert_equal(&new, &old);
}

pub fn it_is_deployed_upgraded_and_taken_away(blocks: &[Block]) {
    let (source, target) = (filled(), Server::start());
    let stage = Stage::new(&pair(&source, &target));
    let (taken_away, before) = blocks.split_last().unwrap();
    stage.play("", before);
    stage.play(&caught_up("", &source), std::slice::from_ref(taken_away));
    let left: Vec<String> = target.run(&["KEYS", "redis-gunyu-*"]);
    assert!(
        left.is_empty() && !stage.dir().join("gunyu-log").exists(),
        "{left:?}"
    );
    assert_equal(&source, &target);
}

pub fn it_is_operated_and_drilled(blocks: &[Block]) {
    let (source, target) = (filled_with(&["--repl-backlog-size", "64mb"]), Server::start());
    let _writer = Writer::on(&[&source]);
    let stage = Stage::new(&pair(&source, &target));
    stage.play(&running(), blocks);
    assert!(stage.printed().contains("bytes a second"), "{}", stage.printed());
    assert!(stage.dir().join("snapshot.rdb").exists());
}

pub fn the_source_fails_over(blocks: &[Block]) {
    let (source, target) = (fleet::Fleet::start(2, 1), Server::start());
    let mut pipe = redis::pipe();
    for number in 0..KEYS {
        pipe.set(format!("{{a}}{number}"), number);
    }
    let serves = |server: &&Server| pipe.exec(&mut server.conn()).is_ok();
    assert!(source.nodes.iter().any(|node| serves(&node)));
    // The nodes of the beginning: two masters, then a replica of each.
    let names = ["10.0.0.1:6379", "10.0.0.2:6379", "10.0.0.4:6379"];
    let mut all: Vec<(&str, String)> = names
        .into_iter()
        .zip(source.nodes.iter().map(Server::addr))
        .collect();
    all.push((OTHER, target.addr()));
    let stage = Stage::new(&all);
    stage.play("", blocks);
    stage.play("gunyu stop --wait", &[]);
    fleet::assert_equal(&source, &target);
}

pub fn a_group_is_upgraded(blocks: &[Block]) {
    let (source, target) = (filled(), Server::start());
    let members = [Port::free(), Port::free()];
    let mut names = pair(&source, &target);
    names.push(("10.0.0.5:18001", members[0].addr().to_string()));
    names.push(("10.0.0.6:18001", members[1].addr().to_string()));
    let stage = Stage::new(&names);
    stage.play("", blocks);
    // One of the two is left, which has the lead.
    stop_once_caught_up(&stage, &format!("--server http://{}", members[0].addr()), &source);
    // The leases were there.
    let () = source.run(&["DEL", "/redis-gunyu/orders"]);
    assert_equal(&source, &target);
}

pub fn redis_gunyu_is_taken_over(blocks: &[Block]) {
    let (source, target) = (filled_with(&["--repl-backlog-size", "64mb"]), Server::start());
    let at = redis_gunyu::copy_without_a_trace(&source.url(), &target.url(), &[&source], &[&target]);
    let offset = i64::try_from(at[0].1).unwrap();
    redis_gunyu::leave(&target, "redis-gunyu-checkpoint", (&at[0].0, offset), 0);
    let writer = Writer::on(&[&source]);
    let stage = Stage::new(&pair(&source, &target));
    stage.play("", blocks);
    drop(writer);
    stop_once_caught_up(&stage, "", &source);
    assert_eq!(source.info("stats")["sync_full"], "1");
    assert_equal(&source, &target);
}

pub fn redisshake_is_taken_over(blocks: &[Block]) {
    let (source, target) = (filled(), Server::start());
    let () = target.run(&["SET", "deleted-on-the-source-meanwhile", "1"]);
    let stage = Stage::new(&pair(&source, &target));
    stage.play("", blocks);
    stage.play("gunyu stop --wait", &[]);
    assert_equal(&source, &target);
}
