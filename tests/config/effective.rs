//! The effective configuration, written and read back.

use super::*;

/// Files that between them set every kind of value to something else than its default.
const VARIED: [&str; 5] = [
    "",
    "\
input: {name: n, mode: static, syncFrom: master, psyncCommand: P, rdbParallel: 2,
  redis: {type: sentinel, sentinel: {masterName: m, userName: su}, userName: u,
  tls: {enable: true, ca: /a, cert: /c, key: /k, serverName: s, insecureSkipVerify: true}}}
output:
  replay: {resumeFromBreakPoint: false, delivery: at_least_once, onError: dead_letter, errorBudget: 5,
    keyExists: ignore, staleKeys: delete, functionExists: append, moduleAuxPolicy: skip,
    replaceHashTag: true, targetDbMap: {0: 1, 3: 4}, dbOnCluster: merge, crossSlot: error, batchCmdCount: 7,
    batchBufferSize: 777, updateCheckpointTicker: 1500ms,
    connections: 9, replayRdbEnableRestore: false, maxProtoBulkLen: 1GiB, bigValueBytes: 100000,
    rateLimit: {opsPerSec: 10, bytesPerSec: 1MiB}}
  filter: {dbWhitelist: [1], dbBlacklist: [2], commandBlacklist: [del], slotFilter: {keySlotWhitelist: [[1, 2], [3]],
    keySlotBlacklist: [[4]]}, keyFilter: {prefixKeyWhitelist: [a], prefixKeyBlacklist: ['1', 'true', '~', '$${x}', '$$${x}'],
    suffixKeyWhitelist: [c], suffixKeyBlacklist: [d], regexKeyWhitelist: ['^e'], regexKeyBlacklist: [f]}}
",
    "\
channel: {type: memory, storer: {dirPath: /d, maxSize: -1, logSize: 1MiB, flush: {dirtySize: 5}}, onFull: block,
  memory: {maxSize: 2MiB}, staleCheckpointDuration: 5m}
server: {listen: '[::]:1', listenPeer: 'p:2', metricRoutePath: metrics, checkRedisTypologyTicker: 30s,
  gracefullStopTimeout: 7s, doctorAtStart: false, allowUnauthenticated: true, auth: {tokenFile: /t}, allowedHosts: [h, '*'], tls: {cert: /c, key: /k}}
log: {level: debug, format: json, withCaller: false, withModuleName: false,
  handler: {stdout: true, file: {fileName: /f, maxSize: 5, maxBackups: 3, maxAge: 2}}}
output: {redis: {type: cluster}}
",
    "\
cluster: {groupName: g, leaseTimeout: 30s, leaseRenewInterval: 3s, metaEtcd: {endpoints: [e:1], username: u,
  tls: {enable: true, ca: /e}}, tokenFile: /t, tls: {serverName: n}}
server: {listenPeer: 'p:2', tls: {cert: /c, key: /k}}
channel: {storer: {flush: {everyWrite: true}}}
output: {replay: {targetDb: 4}}
log: {handler: {file: {fileName: /f}}}
",
    "\
cluster: {groupName: g, tokenFile: /t, metaRedis: {addresses: [r:1], type: sentinel, sentinel: {masterName: m}}}
server: {listenPeer: 'p:2', auth: {tokenFile: /u}}
",
];

#[test]
fn the_effective_configuration_loads_again_as_it_was() {
    for file in VARIED {
        let config = Written::with(file).config();
        assert_eq!(
            Written::file(&config.to_yaml()).config(),
            config,
            "{}",
            config.to_yaml()
        );
    }
}

#[test]
fn the_effective_configuration_masks_secrets_and_only_those_change() {
    let secrets = "\
input: {redis: {type: sentinel, password: a, sentinel: {masterName: m, password: b}}}
cluster: {groupName: g, metaEtcd: {endpoints: [e:1], password: c}, token: e}
server: {auth: {token: d}, listenPeer: 'p:1'}
";
    let config = Written::with(secrets).config();
    let masked = Written::file(&config.to_yaml()).config();
    let all_masked = ["a", "b", "c", "d", "e"]
        .iter()
        .fold(secrets.to_owned(), |text, secret| {
            text.replace(&format!("password: {secret}"), "password: '***'")
                .replace(&format!("token: {secret}"), "token: '***'")
        });
    assert_eq!(masked, Written::with(&all_masked).config());
}

#[test]
fn the_effective_configuration_has_every_key_as_documented() {
    let written: BTreeSet<String> = VARIED
        .iter()
        .flat_map(|file| leaves(&serde_yaml::from_str(&Written::with(file).config().to_yaml()).unwrap()))
        .collect();
    for key in known_keys().iter().filter(|key| key.is_live) {
        assert!(written.contains(&key.path), "{} is not written", key.path);
    }
    let known: BTreeSet<String> = known_keys().into_iter().map(|key| key.path).collect();
    let beyond: Vec<&String> = written
        .difference(&known)
        .filter(|path| *path != "cluster")
        .collect();
    assert!(beyond.is_empty(), "{beyond:?}");
}

#[test]
fn json_says_the_same_as_yaml() {
    for file in VARIED {
        let config = Written::with(file).config();
        let json = config.to_json().to_string().replace("${", "$${");
        assert_eq!(Written::file(&json).config(), config);
    }
    let json = defaults().to_json();
    assert_eq!(json["output"]["replay"]["batchBufferSize"], "256KiB");
    assert_eq!(json["channel"]["storer"]["flush"]["duration"], "1s");
}
