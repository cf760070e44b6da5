//! Files written for redis-GunYu.

use super::*;

#[test]
fn documented_and_really_read_spellings_mean_the_same() {
    for (one, other) in [
        (
            "channel: {storer: {flush: {everyWrite: true}}}",
            "channel: {storer: {flushPolicy: {everywrite: true}}}",
        ),
        (
            "channel: {storer: {flush: {dirtySize: 1MiB}}}",
            "channel: {storer: {flushPolicy: {dirtysize: 1048576}}}",
        ),
        (
            "output: {filter: {commandBlacklist: [del]}}",
            "output: {filter: {cmdBlacklist: [DEL]}}",
        ),
        (
            "log: {level: warn, withCaller: false}",
            "log: {levelStr: warn, caller: false}",
        ),
        ("log: {handler: {stdout: false}}", "log: {handler: {stdOut: no}}"),
        (
            "input: {redis: {tls: {enable: true}}}",
            "input: {redis: {tlsEnable: true}}",
        ),
        (
            "cluster: {groupName: g, metaEtcd: {endpoints: [e:1], username: u}}",
            "cluster: {groupName: g, metaEtcd: {endpoints: [e:1], userName: u}}",
        ),
        (
            "output: {replay: {targetDb: 3}}",
            "output: {replay: {targetDbCfg: 3}}",
        ),
    ] {
        let config = Written::with(one).config();
        assert_eq!(config, Written::with(other).config(), "{other}");
        assert_ne!(config, Written::with("").config(), "{one}");
    }
}

/// The essence of the samples in redis-GunYu's repository, keys in the wrong place included.
#[test]
fn files_of_redis_gunyu_load_and_their_dead_keys_are_told() {
    let file = "\
server:
  listen: 127.0.0.1:18000
  listenPeer: 10.0.0.1:18000
  auth: {token: t}
  gracefullStopTimeout: 1s
  checkRedisTypologyTicker: 10s
input:
  redis:
    addresses: [127.0.0.1:16300,127.0.0.1:16310]
    type: cluster
    keepAlive: 32
    clusterOptions: {handleMoveErr: true, handleAskErr: true}
  rdbParallel: 4
  mode: auto
  syncDelayTestKey: redis-GunYu-syncDelay-testKey
  syncFrom: prefer_slave
channel:
  storer:
    dirPath: /tmp/redisgunyu-cluster1
    maxSize: 209715200
    logSize: 20971520
  staleCheckpointDuration: 10m
output:
  redis:
    addresses: [127.0.0.1:36300,127.0.0.1:36301]
    type: cluster
  resumeFromBreakPoint: true
  keepaliveTicker: 100s
  metric: true
  targetDb: -1
  replay:
    replayRdbParallel: 4
    bisyncEnabled: false
    mode: pipeline
    stats: {logInterval: 5s}
log:
  level: info
  handler:
    stdout: true
  withCaller: true
cluster:
  groupName: redis1
  leaseTimeout: 3s
  metaEtcd:
    endpoints:
      - 127.0.0.1:2379
";
    let config = Written::file(file).config();
    assert_eq!(config.input.redis.kind, RedisKind::Cluster);
    assert_eq!(
        (config.channel.max_bytes, config.channel.segment_bytes),
        (Some(209_715_200), 20_971_520)
    );
    let cluster = config.cluster.unwrap();
    assert_eq!(cluster.lease_renew_interval, Duration::from_secs(1));
    let Meta::Etcd(etcd) = cluster.meta else {
        unreachable!("{:?}", cluster.meta)
    };
    assert_eq!(etcd.endpoints[0].to_string(), "127.0.0.1:2379");
    let lines: Vec<&str> = config
        .notes
        .iter()
        .map(|note| note.split(": ").next().unwrap())
        .collect();
    let expected =
        [11, 12, 12, 15, 27, 28, 29, 30, 32, 35, 14, 34, 5].map(|line| format!("gunyu.yaml, line {line}"));
    assert_eq!(lines, expected, "{:#?}", config.notes);
    assert!(
        config.notes[5]
            .contains("output.keepaliveTicker has no effect: redis-GunYu never read it in this place")
    );
}

#[test]
fn two_way_sync_is_refused_and_not_silently_dropped() {
    for (file, key) in [
        (
            "output: {replay: {bisyncEnabled: true}}",
            "output.replay.bisyncEnabled",
        ),
        ("output: {replay: {mode: parallel}}", "output.replay.mode"),
    ] {
        let problem = Written::with(file).problem();
        assert_eq!(problem.key, key);
        assert!(problem.message.contains("two-way sync"), "{problem}");
    }
}

#[test]
fn replay_transaction_stands_for_delivery() {
    let delivery = |file: &str| Written::with(file).config().output.replay.delivery;
    assert_eq!(
        delivery("output: {replay: {replayTransaction: true}}"),
        Delivery::ExactlyOnce
    );
    assert_eq!(
        delivery("output: {replay: {replayTransaction: false}}"),
        Delivery::AtLeastOnce
    );
    assert_eq!(
        delivery("output: {replay: {replayTransaction: false, delivery: at_least_once}}"),
        Delivery::AtLeastOnce
    );
    for contradiction in [
        "output: {replay: {replayTransaction: false, delivery: exactly_once}}",
        "output: {replay: {replayTransaction: true, delivery: at_least_once}}",
    ] {
        assert_eq!(
            Written::with(contradiction).problem().key,
            "output.replay.replayTransaction"
        );
    }
    let file = Written::with("output: {replay: {replayTransaction: false}}");
    let config = file.set("output.replay.delivery=exactly_once").config();
    assert_eq!(config.output.replay.delivery, Delivery::ExactlyOnce);
}

#[test]
fn zero_stands_for_the_default_where_redis_gunyu_has_it_so() {
    let file = "\
output: {replay: {batchCmdCount: 0, batchBufferSize: 0, maxProtoBulkLen: 0}}
channel: {storer: {maxSize: 0, logSize: 0, flush: {duration: 0, dirtySize: 0}}, staleCheckpointDuration: 0}
server: {checkRedisTypologyTicker: 0, gracefullStopTimeout: 0}
input: {rdbParallel: -1}
log: {handler: {file: {maxSize: 0}}}
";
    assert_eq!(Written::with(file).config(), Written::with("").config());
}

#[test]
fn durations_beyond_their_limits_are_brought_within_them_and_that_is_told() {
    let config = Written::with("server:\n  gracefullStopTimeout: 200ms\n").config();
    assert_eq!(config.server.graceful_stop_timeout, Duration::from_secs(1));
    assert_eq!(
        config.notes,
        [
            "gunyu.yaml, line 2: server.gracefullStopTimeout: 200ms is beyond what is possible; the least, 1s, is used"
        ]
    );
}

#[test]
fn a_password_of_digits_is_a_text() {
    for (written, text) in [
        ("123456", "123456"),
        ("0123", "0123"),
        ("1e5", "1e5"),
        ("'x y'", "x y"),
        ("true", "true"),
    ] {
        let config = Written::with(&format!("input: {{redis: {{password: {written}}}}}")).config();
        assert_eq!(config.input.redis.password.unwrap().expose(), text);
    }
}

#[test]
fn only_one_way_to_flush_is_taken() {
    let flush = |file: &str| Written::with(file).config().channel.flush;
    assert_eq!(
        flush("channel: {storer: {flush: {everyWrite: true, auto: false}}}"),
        Flush::EveryWrite
    );
    assert_eq!(flush("channel: {storer: {flush: {auto: true}}}"), Flush::Auto);
    assert_eq!(
        flush("channel: {storer: {flush: {duration: 250ms}}}"),
        Flush::Duration(Duration::from_millis(250))
    );
    assert_eq!(
        flush("channel: {storer: {flush: {dirtySize: 64KiB}}}"),
        Flush::DirtyBytes(65_536)
    );
    let both = Written::with("channel:\n  storer:\n    flush:\n      auto: true\n      duration: 1s\n");
    assert_eq!(
        (both.problem().line(), both.problem().key.as_str()),
        (Some(5), "channel.storer.flush.duration")
    );
    let flag = both.set("channel.storer.flush.everyWrite=true").config();
    assert_eq!(flag.channel.flush, Flush::EveryWrite);
}

#[test]
fn target_db_wins_over_the_map_unless_a_stronger_layer_says_the_map() {
    let file = Written::with("output: {replay: {targetDb: 3, targetDbMap: {0: 1, 2: 5}}}");
    let config = file.config();
    assert_eq!(config.output.replay.databases, Databases::All(3));
    assert!(config.notes[0].contains("targetDb wins over it"));
    let config = file.set("output.replay.targetDbMap={0: 7}").config();
    assert_eq!(
        config.output.replay.databases,
        Databases::Mapped(BTreeMap::from([(0, 7)]))
    );
}
