//! A target that takes nothing, or not all, or lets go of what it was given.

use super::support::port::Port;
use super::support::server::connect;
use super::support::{Cluster, Gunyu, SOON, Server, matrix, wait_for, wait_until};
use super::{BACKLOG, Goes, LONG, Pair, SLOW_LOADING, full_syncs, load_fast, put_keys, sync_anew, wait_told};

#[test]
fn a_target_out_of_memory_is_told_and_healed_by_more() {
    let mut pair = Pair::start(&[], &[]);
    let () = pair.target.run(&["CONFIG", "SET", "maxmemory", "1"]);
    pair.wait_told(Goes::Waits, "OOM", "CONFIG SET maxmemory <more>");
    pair.counters.wait_more(1_000);
    let () = pair.target.run(&["CONFIG", "SET", "maxmemory", "0"]);
    pair.finish();
}

#[test]
fn a_target_that_is_a_replica_for_a_while_is_waited_for() {
    let mut pair = Pair::start(&[], &[]);
    let nobody = Port::free();
    let () = pair
        .target
        .run(&["REPLICAOF", "127.0.0.1", &nobody.number().to_string()]);
    pair.wait_told(Goes::Waits, "READONLY", "read-only replica");
    pair.counters.wait_more(1_000);
    let () = pair.target.run(&["REPLICAOF", "NO", "ONE"]);
    pair.finish();
}

#[test]
fn a_target_that_cannot_save_is_told_and_waited_for() {
    let mut pair = Pair::start(&["--enable-protected-configs", "yes"], &[]);
    // A dump cannot take the place of a folder.
    std::fs::create_dir(pair.target.dir().join("in-the-way")).unwrap();
    let () = pair.target.run(&["CONFIG", "SET", "dbfilename", "in-the-way"]);
    let () = pair.target.run(&["CONFIG", "SET", "save", "86400 1000000000"]);
    let () = pair.target.run(&["BGSAVE"]);
    pair.wait_told(Goes::Waits, "MISCONF", "stop-writes-on-bgsave-error");
    pair.counters.wait_more(1_000);
    let () = pair
        .target
        .run(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);
    pair.finish();
}

#[test]
fn a_target_that_is_busy_with_a_script_is_told_and_waited_for() {
    let mut pair = Pair::start(&["--busy-reply-threshold", "100"], &[]);
    let url = pair.target.url();
    let script = std::thread::spawn(move || {
        let mut conn = connect(&url).unwrap();
        let end: redis::RedisResult<()> = redis::cmd("EVAL")
            .arg("while true do end")
            .arg(0)
            .query(&mut conn);
        end.unwrap_err().to_string()
    });
    pair.wait_told(Goes::Waits, "BUSY", "SCRIPT KILL");
    pair.counters.wait_more(1_000);
    let () = pair.target.run(&["SCRIPT", "KILL"]);
    let end = script.join().unwrap();
    assert!(end.contains("kill"), "{end}");
    pair.finish();
}

#[test]
fn a_target_that_loads_its_data_is_told_and_waited_for() {
    let mut pair = Pair::start(SLOW_LOADING, &[]);
    put_keys(&pair.source, 2_000);
    pair.gunyu.wait_applied(&pair.source, LONG);
    let dump = pair.target.snapshot();
    pair.counters.wait_more(1_000);
    let url = pair.target.url();
    let (target, gunyu) = (&mut pair.target, &mut pair.gunyu);
    std::thread::scope(|scope| {
        // Returns when it has loaded.
        scope.spawn(|| target.restart_from(&dump));
        wait_told(gunyu, Goes::Waits, "LOADING", "wait: the target is loading");
        load_fast(&url);
    });
    pair.finish();
}

#[test]
fn a_target_that_is_a_replica_without_its_master_is_told_and_waited_for() {
    let mut pair = Pair::start(&["--replica-serve-stale-data", "no"], &[]);
    let nobody = Port::free();
    let () = pair
        .target
        .run(&["REPLICAOF", "127.0.0.1", &nobody.number().to_string()]);
    pair.wait_told(Goes::Waits, "MASTERDOWN", "whose master is away");
    pair.counters.wait_more(1_000);
    let () = pair.target.run(&["REPLICAOF", "NO", "ONE"]);
    pair.finish();
}

#[test]
fn a_target_that_wants_more_replicas_is_told_and_waited_for() {
    let mut pair = Pair::start(&[], &[]);
    let () = pair.target.run(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    pair.wait_told(Goes::Waits, "NOREPLICAS", "min-replicas-to-write");
    pair.counters.wait_more(1_000);
    let () = pair.target.run(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    pair.finish();
}

/// The refusal is the answer to the first command on a connection, the one that names it, which a target may refuse for good: it was passed over, and what was told
/// was a connection that is lost.
#[test]
fn a_target_without_a_connection_left_is_told_and_waited_for() {
    let mut pair = Pair::start(&[], &[]);
    let mut held = pair.target.conn();
    let mut say = |words: &[&str]| redis::cmd(words[0]).arg(&words[1..]).exec(&mut held).unwrap();
    say(&["CONFIG", "SET", "maxclients", "1"]);
    say(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    pair.wait_told(
        Goes::Waits,
        "max number of clients",
        "CONFIG SET maxclients <more>",
    );
    pair.counters.wait_more(1_000);
    say(&["CONFIG", "SET", "maxclients", "1000"]);
    pair.finish();
}

/// A target with a user for gunyu.
fn with_user() -> (Server, String) {
    let target = Server::start();
    let () = target.run(&["ACL", "SETUSER", "gunyu", "on", ">pw", "~*", "&*", "+@all"]);
    let url = format!("redis://gunyu:pw@{}", target.addr());
    (target, url)
}

#[test]
fn a_command_that_gunyus_user_may_not_run_any_more_stops_it_and_a_restart_goes_on_exactly() {
    let (target, url) = with_user();
    let mut pair = Pair::as_user(Server::with(BACKLOG), target, &url, &[]);
    let () = pair.target.run(&["ACL", "SETUSER", "gunyu", "-incr"]);
    pair.wait_told(Goes::Stops, "NOPERM", "ACL SETUSER <user>");
    pair.counters.wait_more(1_000);
    let () = pair.target.run(&["ACL", "SETUSER", "gunyu", "+incr"]);
    pair.gunyu.must("POST", "/syncer/restart");
    pair.finish();
}

/// The checkpoint is gunyu's own: no command of the source is to blame.
#[test]
fn a_checkpoint_that_gunyus_user_may_not_write_any_more_is_told_and_waited_for() {
    let (target, url) = with_user();
    let mut pair = Pair::as_user(Server::with(BACKLOG), target, &url, &[]);
    let () = pair.target.run(&["ACL", "SETUSER", "gunyu", "-hset"]);
    pair.wait_told(Goes::Waits, "NOPERM", "ACL SETUSER <user>");
    pair.counters.wait_more(1_000);
    let () = pair.target.run(&["ACL", "SETUSER", "gunyu", "+hset"]);
    let letters = pair.gunyu.status()[0]["DeadLetters"].clone();
    assert_eq!(letters, 0, "{}", pair.gunyu.traces());
    pair.finish();
}

#[test]
fn a_password_that_was_changed_is_told_and_waited_for() {
    let (target, url) = with_user();
    let mut pair = Pair::as_user(Server::with(BACKLOG), target, &url, &[]);
    let () = pair
        .target
        .run(&["ACL", "SETUSER", "gunyu", "resetpass", ">other"]);
    let _: u64 = pair.target.run(&["CLIENT", "KILL", "USER", "gunyu"]);
    pair.wait_told(Goes::Waits, "WRONGPASS", "output.redis.password");
    pair.counters.wait_more(1_000);
    let () = pair.target.run(&["ACL", "SETUSER", "gunyu", ">pw"]);
    pair.finish();
}

const DEAD_LETTER: &str = "output.replay.onError=dead_letter";

/// Lines of the dead-letter file.
fn dead_letters(pair: &Pair) -> Vec<String> {
    let folder = std::fs::read_dir(pair.gunyu.state_dir().join("dead-letter")).unwrap();
    let texts = folder.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    texts
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

#[test]
fn a_key_that_a_person_touched_costs_its_own_commands_and_a_full_sync_mends_it() {
    let mut pair = Pair::start(&[], &[DEAD_LETTER]);
    let () = pair.target.run(&["SET", "touched", "by a person"]);
    for number in 0..20 {
        let () = pair.source.run(&["RPUSH", "touched", &number.to_string()]);
    }
    pair.wait_told(Goes::On, "WRONGTYPE", "DEL it there, and gunyu fullsync");
    pair.gunyu.wait_applied(&pair.source, LONG);
    let letters = dead_letters(&pair);
    assert_eq!(letters.len(), 20, "{letters:#?}");
    assert!(
        letters
            .iter()
            .all(|one| one.contains("WRONGTYPE") && one.contains("touched"))
    );
    assert_eq!(pair.target.run::<String>(&["GET", "touched"]), "by a person");
    sync_anew(&mut pair);
    assert_eq!(pair.target.run::<u64>(&["LLEN", "touched"]), 20);
    pair.finish_however();
}

#[test]
fn matrix_a_command_of_a_module_that_is_missing_is_kept_and_all_else_goes_on() {
    let Some((_, newer)) = matrix().into_iter().find(|(label, _)| label == "redis-8.6") else {
        crate::support::skipped("no redis-8.6 in GUNYU_TEST_SERVERS");
        return;
    };
    let source = Server::of(&newer, BACKLOG);
    let mut pair = Pair::between(source, Server::start(), &[DEAD_LETTER]);
    let () = pair
        .source
        .run(&["VADD", "vectors", "VALUES", "3", "1", "0.5", "0", "element"]);
    pair.wait_told(Goes::On, "unknown command", "load the module");
    pair.gunyu.wait_applied(&pair.source, LONG);
    let letters = dead_letters(&pair);
    assert!(letters.len() == 1 && letters[0].contains("VADD"), "{letters:#?}");
    assert_eq!(pair.target.run::<u64>(&["EXISTS", "vectors"]), 0);
    let () = pair.source.run(&["DEL", "vectors"]);
    pair.finish();
}

/// The default is to stop: nothing of the batch is applied, so that nothing comes twice when the module is there.
#[test]
fn matrix_a_target_whose_module_was_missing_goes_on_where_it_was_when_it_is_loaded() {
    let Some((_, stack)) = matrix().into_iter().find(|(label, _)| label == "redis-stack-7.4") else {
        crate::support::skipped("no redis-stack-7.4 in GUNYU_TEST_SERVERS");
        return;
    };
    let module = stack.path.parent().unwrap().with_file_name("real");
    let module = module.join("rejson.so").to_str().unwrap().to_owned();
    let source = Server::of(&stack, &[BACKLOG, &["--loadmodule", &module]].concat());
    let target = Server::of(&stack, &["--enable-module-command", "yes"]);
    let mut pair = Pair::between(source, target, &[]);
    let () = pair.source.run(&["JSON.SET", "document", "$", "{\"count\": 1}"]);
    pair.wait_told(Goes::Stops, "unknown command", "load the module");
    let _: redis::Value = pair.source.run(&["JSON.NUMINCRBY", "document", "$.count", "1"]);
    pair.counters.wait_more(1_000);
    let () = pair.target.run(&["MODULE", "LOAD", &module]);
    pair.gunyu.must("POST", "/syncer/restart");
    pair.gunyu.wait_applied(&pair.source, LONG);
    let document: String = pair.target.run(&["JSON.GET", "document"]);
    assert_eq!(document, "{\"count\":2}");
    pair.finish();
}

/// Counters on keys that have gone begin anew on the target, and no reply says so.
#[test]
fn keys_that_the_target_evicts_are_told_and_a_full_sync_mends_it() {
    let mut pair = Pair::start(&[], &[]);
    put_keys(&pair.source, 5_000);
    pair.gunyu.wait_applied(&pair.source, LONG);
    let () = pair
        .target
        .run(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]);
    let used: u64 = pair.target.info("memory")["used_memory"].parse().unwrap();
    let () = pair
        .target
        .run(&["CONFIG", "SET", "maxmemory", &(used - (64 << 10)).to_string()]);
    pair.wait_told(Goes::On, "the target has evicted", "gunyu fullsync --inputs");
    let target = &pair.target;
    wait_until(LONG, "a hundred have gone", || {
        target.info("stats")["evicted_keys"].parse::<u64>().unwrap() > 100
    });
    let () = target.run(&["CONFIG", "SET", "maxmemory", "0"]);
    let () = target.run(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    assert!(pair.target.keys() < pair.source.keys());
    sync_anew(&mut pair);
    pair.finish_however();
}

/// Each key has been incremented so often on its master.
fn wait_counted(cluster: &Cluster, keys: &[String], count: u64, on: impl Fn(usize) -> bool) {
    let mut conns: Vec<_> = cluster.masters.iter().map(Server::conn).collect();
    for key in keys {
        wait_for(LONG, &format!("{key} is {count}"), || {
            let mut seen = Vec::new();
            for (number, conn) in conns.iter_mut().enumerate() {
                // Masters that do not serve its slot answer MOVED.
                let Ok(value) = redis::cmd("GET").arg(key).query::<Option<u64>>(conn) else {
                    continue;
                };
                if !on(number) || value == Some(count) {
                    return Ok(());
                }
                seen.push(value);
            }
            Err(format!("{seen:?}"))
        });
    }
}

#[test]
fn a_node_of_a_target_cluster_out_of_memory_is_told_and_holds_up_no_other() {
    let (source, cluster) = (Server::with(BACKLOG), Cluster::start(3));
    let mut gunyu = Gunyu::start(&source.url(), &cluster.url(), &[]);
    gunyu.wait_ready(SOON);
    let keys: Vec<String> = (0..30).map(|number| format!("counter:{number}")).collect();
    let count_up = || keys.iter().for_each(|key| source.run(&["INCR", key]));
    count_up();
    let full = &cluster.masters[1];
    let () = full.run(&["CONFIG", "SET", "maxmemory", "1"]);
    (0..9).for_each(|_| count_up());
    wait_told(
        &mut gunyu,
        Goes::On,
        &format!("target {} takes nothing now: OOM", full.addr()),
        "CONFIG SET maxmemory <more>",
    );
    wait_counted(&cluster, &keys, 10, |number| number != 1);
    let () = full.run(&["CONFIG", "SET", "maxmemory", "0"]);
    gunyu.wait_applied(&source, LONG);
    wait_counted(&cluster, &keys, 10, |_| true);
    assert_eq!(full_syncs(&source), 1, "{}", gunyu.traces());
}
