//! Environment, flags, and what wins over what.

use super::*;

#[test]
fn variables_are_replaced_in_values_of_every_type() {
    let file = "\
input: {redis: {addresses: ['${HOST}:1', 'x:2'], password: '${PASS}'}}
output:
  redis: {addresses: '${TARGETS}'}
  replay: {connections: '${N}', delivery: '${D}', replayRdbEnableRestore: '${FLAG}'}
  filter: {keyFilter: {prefixKeyBlacklist: ['$${literal}']}, dbBlacklist: '${DBS}'}
";
    let config = Written::file(file)
        .variable("HOST", "h")
        .variable("PASS", "p: ${x} #")
        .variable("TARGETS", "t:1,t:2")
        .variable("N", "7")
        .variable("D", "at_least_once")
        .variable("FLAG", "false")
        .variable("DBS", "1, 2")
        .config();
    assert_eq!(config.input.redis.addresses[0].to_string(), "h:1");
    assert_eq!(config.input.redis.password.unwrap().expose(), "p: ${x} #");
    assert_eq!(config.output.redis.addresses.len(), 2);
    assert_eq!(config.output.replay.connections, 7);
    assert_eq!(config.output.replay.delivery, Delivery::AtLeastOnce);
    assert!(!config.output.replay.restore);
    assert_eq!(config.output.filter.prefix.blacklist, ["${literal}"]);
    assert_eq!(config.output.filter.db_blacklist, [1, 2]);
}

#[test]
fn a_variable_that_is_not_set_is_named_with_its_line() {
    let problem = Written::with("input:\n  redis:\n    password: ${NOWHERE}\n").problem();
    assert_eq!(
        problem.to_string(),
        "gunyu.yaml, line 3: input.redis.password: the environment variable NOWHERE is not set (export NOWHERE=…)"
    );
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let password = |written: Written| {
        written
            .config()
            .input
            .redis
            .password
            .map(|p| p.expose().to_owned())
    };
    let file = Written::with("input: {redis: {password: file}}");
    assert_eq!(password(file.clone()).as_deref(), Some("file"));
    let environment = file.variable("GUNYU_SOURCE_PASSWORD", "env");
    assert_eq!(password(environment.clone()).as_deref(), Some("env"));
    let flag = environment.clone().set("input.redis.password=set");
    assert_eq!(password(flag).as_deref(), Some("set"));
    let url = Written {
        source: Some("redis://:url@a:1"),
        ..environment.clone()
    };
    assert_eq!(password(url).as_deref(), Some("url"));
    let unset = environment.set("input.redis.password=");
    assert_eq!(password(unset), None);
    let target = Written::with("").variable("GUNYU_TARGET_PASSWORD", "t").config();
    assert_eq!(
        (target.input.redis.password, target.output.redis.password),
        (None, Some(Secret::new("t")))
    );
}

#[test]
fn the_daemon_is_found_by_flag_environment_configuration_and_default_in_this_order() {
    let config = Written::with("")
        .set("server.listen=[::]:99")
        .set("server.allowUnauthenticated=true")
        .config();
    let none = |_: &str| None;
    let some = |name: &str| (name == "GUNYU_SERVER").then(|| "http://env:1/".to_owned());
    assert_eq!(daemon_url(Some("host:5"), &some, Some(&config)), "http://host:5");
    assert_eq!(daemon_url(None, &some, Some(&config)), "http://env:1");
    assert_eq!(daemon_url(None, &none, Some(&config)), "http://[::1]:99");
    assert_eq!(daemon_url(None, &none, None), "http://127.0.0.1:18001");
    let token = |name: &str| (name == "GUNYU_TOKEN").then(|| "env".to_owned());
    let guarded = Written::with("").set("server.auth.token=file").config();
    let found = |flag, environment, config| daemon_token(flag, environment, config).unwrap();
    assert_eq!(
        found(Some("flag"), &token, Some(&guarded)),
        Some(Secret::new("flag"))
    );
    assert_eq!(found(None, &token, Some(&guarded)), Some(Secret::new("env")));
    assert_eq!(found(None, &none, Some(&guarded)), Some(Secret::new("file")));
    assert_eq!(found(None, &none, Some(&config)), None);
    assert_eq!(found(None, &none, None), None);
    assert!(daemon_token(Some("two words"), &none, None).is_err());
}

#[test]
fn urls_are_enough_without_a_file() {
    let config = Written::urls("rediss://u:p@a:1/2", "redis://[::1]/5").config();
    assert_eq!(config.input.redis.addresses[0].to_string(), "a:1");
    assert_eq!(config.input.redis.user.as_deref(), Some("u"));
    assert_eq!(config.input.redis.tls, Some(Tls::default()));
    assert_eq!(config.output.filter.db_whitelist, [2]);
    assert_eq!(config.output.redis.addresses[0].to_string(), "[::1]:6379");
    assert_eq!(config.output.replay.databases, Databases::All(5));
    assert_eq!(config.output.redis.tls, None);
}

#[test]
fn a_url_lies_over_the_file_and_set_over_the_url() {
    let file = "\
input: {redis: {type: cluster, addresses: [x:1], userName: file, password: file, tlsEnable: true, tls: {ca: /ca}}}
output: {redis: {addresses: [y:1]}, replay: {targetDb: 1}}
";
    let written = |source| Written {
        source: Some(source),
        ..Written::file(file)
    };
    let redis = written("redis://a:1").config().input.redis;
    assert_eq!(
        (redis.kind, redis.tls, redis.addresses[0].host.as_str()),
        (RedisKind::Standalone, None, "a")
    );
    assert_eq!(
        (redis.user.as_deref(), redis.password),
        (Some("file"), Some(Secret::new("file")))
    );
    // The file's password belongs to the file's user.
    let redis = written("redis://url@a:1").config().input.redis;
    assert_eq!((redis.user.as_deref(), redis.password), (Some("url"), None));
    let redis = written("redis://:url@a:1").config().input.redis;
    assert_eq!((redis.user, redis.password), (None, Some(Secret::new("url"))));
    let redis = written("rediss://a:1")
        .set("input.redis.addresses=b:2")
        .config()
        .input
        .redis;
    assert_eq!(redis.addresses[0].host, "b");
    assert_eq!(redis.tls.unwrap().ca.unwrap(), Path::new("/ca"));
}

#[test]
fn a_url_that_is_none_is_refused_with_the_forms() {
    let problem = Written::urls("localhost:6379", "redis://b").problem();
    assert_eq!(problem.origin, Origin::Flag("--source".to_owned()));
    assert!(problem.hint.unwrap().contains("redis+sentinel://"));
}

#[test]
fn set_reaches_keys_of_every_type() {
    let config = Written::with("output: {replay: {targetDbMap: {0: 1}}}")
        .set("input.redis.addresses=a:1,[::1]:2")
        .set("output.redis.addresses=[b:2, 'c:3']")
        .set("input.redis.password=1e5: #x")
        .set("output.replay.batchCmdCount=500")
        .set("output.replay.updateCheckpointTicker=1500ms")
        .set("output.replay.batchBufferSize=64KiB")
        .set("output.replay.resumeFromBreakPoint=false")
        .set("output.replay.targetDbMap.4=2")
        .set("output.filter.commandBlacklist=flushall,FlushDB")
        .set("output.filter.slotFilter.keySlotWhitelist=[0,1000],[1002]")
        .set("output.filter.slotFilter={keySlotBlacklist: [[5]]}")
        .set("channel.storer.maxSize=-1")
        .set("channel.storer.flushPolicy.everywrite=true")
        .set("output.replay.connections=2")
        .set("output.replay.connections=3")
        .config();
    assert_eq!(config.input.redis.addresses[1].to_string(), "[::1]:2");
    assert_eq!(config.output.redis.addresses[1].to_string(), "c:3");
    assert_eq!(config.input.redis.password.unwrap().expose(), "1e5: #x");
    let replay = config.output.replay;
    assert_eq!(
        (
            replay.batch_commands_max,
            replay.batch_bytes_max,
            replay.connections
        ),
        (500, 65_536, 3)
    );
    assert_eq!(
        (replay.checkpoint_interval, replay.resume),
        (Duration::from_millis(1_500), false)
    );
    assert_eq!(
        replay.databases,
        Databases::Mapped(BTreeMap::from([(0, 1), (4, 2)]))
    );
    assert_eq!(config.output.filter.command_blacklist, ["FLUSHALL", "FLUSHDB"]);
    assert_eq!(config.output.filter.slots.whitelist, [(0, 1000), (1002, 1002)]);
    assert_eq!(config.output.filter.slots.blacklist, [(5, 5)]);
    assert_eq!(
        (config.channel.max_bytes, config.channel.flush),
        (None, Flush::EveryWrite)
    );
}

#[test]
fn set_without_a_value_goes_back_to_the_default() {
    let file = Written::with("output: {replay: {connections: 9}, filter: {dbBlacklist: [1]}}");
    let config = file
        .set("output.replay=")
        .set("output.filter.dbBlacklist=")
        .config();
    assert_eq!(config, Written::with("").config());
}

#[test]
fn set_is_as_strict_as_the_file() {
    for (setting, told) in [
        (
            "output.replay.batchCmdCont=5",
            "--set output.replay.batchCmdCont: this key is not known; \
             did you mean output.replay.batchCmdCount?",
        ),
        (
            "output.replay.connections=many",
            "--set output.replay.connections: expected an integer from 1 to 1024, \
             found the text \"many\"",
        ),
        (
            "output.replay.targetDbMap.x=1",
            "--set output.replay.targetDbMap.x: output.replay.targetDbMap: \"x\" is not a database number",
        ),
        (
            "verbose",
            "--set: it takes key=value (as --set output.replay.connections=8)",
        ),
    ] {
        assert_eq!(Written::with("").set(setting).problem().to_string(), told);
    }
    for setting in [
        "log.level.x=1",
        "log=5",
        "log={levl: info}",
        "output.filter.dbBlacklist=[1",
        "=x",
    ] {
        let origin = Written::with("").set(setting).problem().origin;
        assert!(matches!(origin, Origin::Flag(_)), "{setting}: {origin}");
    }
}
