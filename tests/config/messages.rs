//! What is wrong, and where.

use super::*;

#[test]
fn an_unknown_key_is_named_with_its_line_and_its_neighbour() {
    let file = "\
# comment
output:
  replay:
    connections: 8

    batchCmdCont: 500
";
    let problem = Written::with(file).problem();
    assert_eq!((problem.file(), problem.line()), (Some("gunyu.yaml"), Some(6)));
    assert_eq!(problem.key, "output.replay.batchCmdCont");
    assert_eq!(problem.nearest.as_deref(), Some("output.replay.batchCmdCount"));
    assert_eq!(
        problem.to_string(),
        "gunyu.yaml, line 6: output.replay.batchCmdCont: this key is not known; \
         did you mean output.replay.batchCmdCount?"
    );
}

#[test]
fn an_unknown_section_is_one_problem_whatever_it_holds() {
    let problem = Written::with("logs:\n  level: info\n  more: {x: 1}\n").problem();
    assert_eq!(
        (problem.line(), problem.nearest.as_deref()),
        (Some(1), Some("log"))
    );
}

#[test]
fn wrong_types_say_what_was_expected_and_what_was_found() {
    for (file, line, message) in [
        (
            "server:\n  doctorAtStart: 1\n",
            2,
            "server.doctorAtStart: expected true or false, found the integer 1",
        ),
        (
            "log:\n\n  level: loud\n",
            3,
            "log.level: expected one of trace, debug, info, warn, error, panic, fatal, found the text \"loud\"",
        ),
        (
            "output:\n  replay:\n    updateCheckpointTicker: 10\n",
            3,
            "output.replay.updateCheckpointTicker: expected a duration (as 300ms, 10s, 1m30s, 12h), found the integer 10",
        ),
        (
            "output:\n  replay:\n    connections: '4'\n",
            3,
            "output.replay.connections: expected an integer from 1 to 1024, found the text \"4\"",
        ),
        (
            "output:\n  replay:\n    batchCmdCount: 100001\n",
            3,
            "output.replay.batchCmdCount: expected an integer from 1 to 100000, found the integer 100001",
        ),
        (
            "output:\n  filter:\n    dbBlacklist:\n      - 1\n      - two\n",
            5,
            "output.filter.dbBlacklist: expected a list of database numbers, found the text \"two\"",
        ),
        (
            "output:\n  filter:\n    dbBlacklist: 1\n",
            3,
            "output.filter.dbBlacklist: expected a list of database numbers, found the integer 1",
        ),
        ("server: [1]\n", 1, "server: expected a section of keys"),
        (
            "server:\n  listen: localhost\n",
            2,
            "server.listen: \"localhost\" lacks a port (1 to 65535)",
        ),
        (
            "output:\n  replay:\n    bigValueBytes: 0\n",
            3,
            "output.replay.bigValueBytes: 0 bytes are not from 65536 to 18446744073709551615",
        ),
    ] {
        let problem = Written::with(file).problem();
        assert_eq!(problem.to_string(), format!("gunyu.yaml, line {line}: {message}"));
    }
}

#[test]
fn several_problems_are_reported_together_in_the_order_of_the_file() {
    let file = "server:\n  listn: x:1\nlog:\n  level: 3\n  level: info\nchannel: {onFull: wait}\n";
    let lines: Vec<_> = Written::with(file).problems().iter().map(Problem::line).collect();
    assert_eq!(lines, [Some(2), Some(4), Some(5), Some(6)]);
}

#[test]
fn a_key_written_twice_is_refused_in_whatever_spellings() {
    for (file, line) in [
        ("log:\n  level: info\n  level: info\n", 3),
        ("log: {level: info}\nlog: {format: json}\n", 2),
        ("output:\n  replay:\n    targetDb: 1\n    targetDbCfg: 1\n", 4),
        (
            "channel:\n  storer:\n    flush: {auto: true}\n    flushPolicy: {auto: true}\n",
            4,
        ),
        (
            "input:\n  redis:\n    tls: {enable: true}\n    tlsEnable: true\n",
            4,
        ),
    ] {
        let problem = Written::with(file).problem();
        assert_eq!(problem.line(), Some(line), "{file}");
        assert!(
            problem.message.contains("written twice, first in line"),
            "{problem}"
        );
    }
}

#[test]
fn what_is_not_yaml_names_file_and_line() {
    let error = Written::file("input:\n  redis: {addresses: [a:1\noutput: x\n")
        .check()
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("gunyu.yaml, line 3: not valid YAML: "),
        "{error}"
    );
}

#[test]
fn a_bare_reference_between_braces_is_told_to_be_quoted() {
    for file in [
        "input:\n  redis: {addresses: [a:1], password: ${NAME}}\n",
        "input: {redis: {addresses: [a:1], password: ${NAME}\n  }}\n",
        "input: {redis: {addresses: [${NAME}]}}\n",
    ] {
        let error = Written::file(file).check().unwrap_err().to_string();
        assert!(
            error.contains("not valid YAML") && error.ends_with("'${NAME}'"),
            "{error}"
        );
    }
    let error = Written::file("input: {redis: {addresses: [a:1}}\n")
        .check()
        .unwrap_err();
    assert!(!error.to_string().contains("NAME"), "{error}");
}

#[test]
fn a_flag_that_is_wrong_is_named_once() {
    let problem = Written::urls("redis://a", "redis://b")
        .set("output.replay.connections=x")
        .problem();
    let said = problem.to_string();
    assert_eq!(said.matches("output.replay.connections").count(), 1, "{said}");
    assert!(
        said.starts_with("--set output.replay.connections: expected"),
        "{said}"
    );
}

#[test]
fn several_addresses_onto_one_server_are_told_how_nodes_of_a_cluster_are_written() {
    let problem = Written::urls("redis://a,b", "redis://c").problem();
    assert!(problem.to_string().contains("redis+cluster://"), "{problem}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = File::read(Path::new("/nonexistent/gunyu.yaml")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cannot read the configuration /nonexistent/gunyu.yaml: "),
        "{error}"
    );
    assert!(
        error
            .hint()
            .is_some_and(|hint| hint.contains("gunyu config --local"))
    );
}

#[test]
fn without_addresses_both_sides_are_asked_for() {
    let problems = Written::default().problems();
    let told: Vec<String> = problems.iter().map(Problem::to_string).collect();
    assert_eq!(
        told,
        [
            "input.redis.addresses: at least one address is needed (write it in the file, or give --source URL)",
            "output.redis.addresses: at least one address is needed (write it in the file, or give --target URL)",
        ]
    );
}

#[test]
fn no_message_and_no_debug_output_holds_a_secret() {
    let config = Written::urls("redis://u:hunter2@a", "redis://b")
        .set("input.redis.sentinel.password=hunter2")
        .set("server.auth.token=hunter2")
        .config();
    let printed = format!("{config:?}{}{}", config.to_yaml(), config.to_json());
    assert!(
        !printed.contains("hunter2") && printed.contains("***"),
        "{printed}"
    );

    let wrong = Written::urls("redis://u:hunter2@a:x", "redis://b").set("input.redis.password={a: hunter2");
    assert!(!format!("{:?}", wrong.problems()).contains("hunter2"));
    let wrong = Written::with("input:\n  redis:\n    password: [hunter2]\n");
    assert!(!format!("{:?}", wrong.problems()).contains("hunter2"));
}

proptest::proptest! {
    #[test]
    fn no_file_however_mangled_makes_the_check_panic(
        cuts in proptest::collection::vec((0usize..10_000, 0usize..30, "[-:{}\\[\\]&*!|>'\"#%@`,~<$a1 \n\t]{0,4}"), 1..8),
        setting in ".*",
    ) {
        let mut text: Vec<char> = files::shipped("gunyu.yaml").lines().filter(|l| !l.trim_start().starts_with('#'))
            .flat_map(|line| line.chars().chain(['\n'])).collect();
        for (start, length, new) in cuts {
            let start = start % text.len().max(1);
            let end = (start + length).min(text.len());
            text.splice(start..end, new.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(error) = Written::file(&text).set(&setting).set(&format!("output{setting}=x")).check() {
            let _ = error.to_string();
        }
    }
}
