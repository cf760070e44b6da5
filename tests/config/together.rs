//! Keys that only make sense, or none, together.

use super::*;

#[test]
fn sources_and_targets_are_paired_one_to_one() {
    let sides = |source: &str, target: &str| {
        Written::file(&format!(
            "input: {{redis: {source}}}\noutput: {{redis: {target}}}\n"
        ))
    };
    let standalone = |addresses: &str| format!("{{addresses: [{addresses}]}}");
    let cluster = |addresses: &str| format!("{{type: cluster, addresses: [{addresses}]}}");
    let possible = [
        (standalone("a:1, b:1"), standalone("c:1, d:1")),
        (standalone("a:1, b:1"), cluster("c:1")),
        (cluster("a:1, b:1"), standalone("c:1")),
        (cluster("a:1, b:1"), cluster("c:1")),
        (standalone("a:1, b:1"), standalone("b:1, c:1")),
    ];
    for (source, target) in possible {
        sides(&source, &target).config();
    }
    let impossible = [
        (standalone("a:1, b:1"), standalone("c:1")),
        (standalone("a:1"), standalone("b:1, c:1")),
        (cluster("a:1, b:1"), standalone("c:1, d:1")),
        (standalone("a:1, b:1"), standalone("c:1, b:1")),
        (cluster("a:1, b:1"), cluster("b:1")),
    ];
    for (source, target) in impossible {
        let problem = sides(&source, &target).problem();
        assert_eq!(
            (problem.key.as_str(), problem.line()),
            ("output.redis.addresses", Some(2)),
            "{source} {target}"
        );
    }
}

#[test]
fn an_address_without_a_port_has_that_of_what_answers_there() {
    let port = |file: &str| {
        Written::file(file)
            .set("output.redis.addresses=b:2")
            .config()
            .input
            .redis
            .addresses[0]
            .port
    };
    assert_eq!(port("input: {redis: {addresses: [h]}}"), 6379);
    assert_eq!(
        port("input: {redis: {addresses: [h], type: sentinel, sentinel: {masterName: m}}}"),
        26379
    );
}

#[test]
fn listening_beyond_loopback_needs_a_token_or_an_explicit_yes() {
    for listen in ["0.0.0.0:1", "'[::]:1'", "':1'", "10.0.0.1:1", "host:1"] {
        let written = Written::with(&format!("server:\n  listen: {listen}\n"));
        let problem = written.problem();
        assert_eq!(
            (problem.key.as_str(), problem.line()),
            ("server.listen", Some(2)),
            "{listen}"
        );
        let hint = problem.hint.unwrap();
        assert!(
            hint.contains("server.auth.tokenFile") && hint.contains("server.allowUnauthenticated: true"),
            "{hint}"
        );
        written.clone().set("server.allowUnauthenticated=true").config();
        written.clone().set("server.auth.tokenFile=/token").config();
    }
    for listen in ["127.0.0.1:1", "'[::1]:1'", "localhost:1"] {
        Written::with(&format!("server: {{listen: {listen}}}")).config();
    }
}

#[test]
fn what_would_leave_the_api_open_or_unreachable_is_refused() {
    for (file, key) in [
        ("server: {auth: {token: ''}}", "server.auth.token"),
        ("server: {auth: {token: '${EMPTY}'}}", "server.auth.token"),
        ("server: {auth: {token: 'two words'}}", "server.auth.token"),
        ("server: {auth: {token: schlüssel}}", "server.auth.token"),
        ("server: {auth: {tokenFile: ''}}", "server.auth.tokenFile"),
        ("server: {allowedHosts: ['http://a']}", "server.allowedHosts"),
        ("server: {allowedHosts: [a, 'b:1']}", "server.allowedHosts"),
        ("server: {allowedHosts: ['']}", "server.allowedHosts"),
        ("server: {metricRoutePath: /}", "server.metricRoutePath"),
        (
            "server: {metricRoutePath: syncer/status}",
            "server.metricRoutePath",
        ),
        (
            "server: {metricRoutePath: /debug/health}",
            "server.metricRoutePath",
        ),
    ] {
        assert_eq!(
            Written::with(file).variable("EMPTY", "").problem().key,
            key,
            "{file}"
        );
    }
    let config = Written::with("server: {allowedHosts: [Gunyu.Example, '*', a_b]}").config();
    assert_eq!(config.server.allowed_hosts, ["gunyu.example", "*", "a_b"]);
    assert_eq!(defaults().server.allowed_hosts, [""; 0]);
}

#[test]
fn what_belongs_together_is_asked_for_together() {
    for (file, key) in [
        (
            "input: {redis: {tls: {enable: true, cert: /c}}}",
            "input.redis.tls.cert",
        ),
        (
            "output: {redis: {tls: {enable: true, key: /k}}}",
            "output.redis.tls.key",
        ),
        ("server: {tls: {cert: /c}}", "server.tls.cert"),
        (
            "server: {auth: {token: t, tokenFile: /t}}",
            "server.auth.tokenFile",
        ),
        (
            "input: {redis: {type: sentinel}}",
            "input.redis.sentinel.masterName",
        ),
        ("channel: {storer: {maxSize: 1MiB}}", "channel.storer.maxSize"),
        (
            "output: {redis: {type: cluster}, replay: {targetDb: 1}}",
            "output.replay.targetDb",
        ),
        (
            "output: {redis: {type: cluster}, replay: {targetDbMap: {0: 1}}}",
            "output.replay.targetDbMap",
        ),
        ("channel: {memory: {maxSize: 0}}", "channel.memory.maxSize"),
    ] {
        assert_eq!(Written::with(file).problem().key, key, "{file}");
    }
}

#[test]
fn what_this_release_cannot_do_is_refused_with_what_to_do() {
    let file = "output: {replay: {replaceHashTag: true}}";
    let error = Written::with(file).config().refuse_unbuilt().unwrap_err();
    let told: Vec<&str> = error
        .problems()
        .iter()
        .map(|problem| problem.key.as_str())
        .collect();
    assert_eq!(told, ["output.replay.replaceHashTag"]);
    assert!(error.problems().iter().all(|problem| problem.hint.is_some()));
    defaults().refuse_unbuilt().unwrap();
    for built in [
        "input: {redis: {type: cluster}}",
        "output: {redis: {type: cluster, tlsEnable: true}}",
        "input: {redis: {type: sentinel, sentinel: {masterName: m}}}",
        "output: {redis: {type: sentinel, sentinel: {masterName: m}}}",
    ] {
        Written::with(built).config().refuse_unbuilt().unwrap();
    }
}

#[test]
fn a_command_that_reads_the_source_needs_no_target_and_none_that_fits() {
    let source_alone = Written {
        source: Some("redis+cluster://a:1,b:2"),
        ..Written::default()
    };
    let config = source_alone.check_by(Config::check_source).unwrap();
    assert_eq!(config.input.redis.addresses.len(), 2);
    assert!(config.output.redis.addresses.is_empty());
    assert!(source_alone.problem().message.contains("at least one address"));
    let same_on_both_sides = Written::urls("redis://a:1", "redis://a:1");
    same_on_both_sides.check_by(Config::check_source).unwrap();
    let nothing = Written::default().check_by(Config::check_source).unwrap_err();
    assert_eq!(nothing.problems().len(), 1, "{nothing}");
}

#[test]
fn only_the_certificates_of_a_side_that_is_reached_are_read() {
    let file = "{input: {redis: {tls: {enable: true, insecureSkipVerify: true}}}, \
                output: {redis: {tls: {enable: true, ca: /nowhere/ca.pem}}}}";
    let mut config = Written::with(file).config();
    config.read_source_tls().unwrap();
    for error in [config.read_tls(), config.read_target_tls()] {
        let error = error.unwrap_err();
        let [problem] = error.problems() else {
            panic!("{error}");
        };
        assert_eq!(problem.key, "output.redis.tls.ca");
        assert!(problem.message.contains("/nowhere/ca.pem"), "{error}");
    }
}

#[test]
fn what_a_member_of_a_group_goes_by_must_reach_it() {
    let group = "cluster: {groupName: g}\n";
    for (file, key) in [
        ("server: {listenPeer: '0.0.0.0:1'}", "server.listenPeer"),
        ("server: {listenPeer: '[::]:1'}", "server.listenPeer"),
        ("server: {listenPeer: 'p:1'}", "server.listenPeer"),
        ("cluster: {groupName: 'a{b'}", "cluster.groupName"),
        (
            "cluster: {groupName: g, metaEtcd: {endpoints: [e]}, metaRedis: {addresses: [r]}}",
            "cluster.metaRedis.addresses",
        ),
        (
            "cluster: {groupName: g, tls: {enable: true}}",
            "cluster.tls.enable",
        ),
        ("cluster: {groupName: g, token: 'a b'}", "cluster.token"),
        (
            "cluster: {groupName: g, metaEtcd: {endpoints: ['e:x']}}",
            "cluster.metaEtcd.endpoints",
        ),
    ] {
        let file = match file.contains("groupName") {
            true => file.to_owned(),
            false => format!("{group}{file}"),
        };
        assert_eq!(Written::with(&file).problem().key, key, "{file}");
    }
    for good in [
        "cluster: {groupName: g}",
        "cluster: {groupName: g, token: t}\nserver: {listenPeer: 'p:1'}",
        "cluster: {groupName: g, metaEtcd: {endpoints: ['https://e', 'http://e:1/']}}",
        "cluster: {groupName: g, metaRedis: {addresses: [r], password: x}}",
        "cluster: {groupName: g, tls: {ca: /ca}}\nserver: {tls: {cert: /c, key: /k}}",
    ] {
        Written::with(good).config();
    }
}
