//! docs/openapi.yaml, held against a running daemon: every call answers as it says, and nothing else does.
//!
//! The document decides what is called and what must come back, so a call that is added to it is tested from then on.

#![allow(clippy::unwrap_used, clippy::panic)] // a helper that fails fails its test

mod support;

#[path = "openapi/call.rs"]
mod call;
#[path = "openapi/schema.rs"]
mod schema;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use call::{Call, all_calls, body, calls, examples};
use serde_json::{Value, json};
use support::http::{self, Response};
use support::process::{Process, text_from};
use support::{Gunyu, SOON, Server, wait_for};

/// What the fuzzer's requests follow from. Another number makes others.
const SEED: u32 = 20_261_123;

/// Requests that the fuzzer makes up for each call, beside those that follow from the document.
const EXAMPLES_MAX: u32 = 60;

/// The longest that the fuzzer may take.
const FUZZ_MAX: Duration = Duration::from_secs(300);

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.yaml")
}

fn document() -> Value {
    serde_yaml::from_slice(&std::fs::read(file()).unwrap()).unwrap()
}

/// A live daemon between two real servers.
struct Daemon {
    source: Server,
    #[allow(dead_code, reason = "it runs as long as the daemon copies to it")]
    target: Server,
    gunyu: Gunyu,
}

impl Daemon {
    fn start(set: &[&str]) -> Daemon {
        let (source, target) = (Server::start(), Server::start());
        let () = source.run(&["SET", "k", "v"]);
        let mut gunyu = Gunyu::start(&source.url(), &target.url(), set);
        let addr = gunyu.http();
        // Not by the status itself, which may need a token.
        gunyu.wait_status(SOON, "every input is live", |_| {
            http::get(addr, "/debug/ready").is_ok_and(|response| response.status == 200)
        });
        if set.is_empty() {
            gunyu.wait_applied(&source, SOON);
        }
        Daemon {
            source,
            target,
            gunyu,
        }
    }

    fn send(&self, call: &Call, target: &str, headers: &[&str]) -> Response {
        let method = call.method.to_uppercase();
        http::send(self.gunyu.http(), &method, target, headers)
            .unwrap_or_else(|e| panic!("{method} {target}: {e}\n{}", self.gunyu.traces()))
    }
}

#[track_caller]
fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Which codes a call may answer with when it is asked as the document's examples do.
fn expected(call: &Call) -> &'static [u16] {
    match call.id() {
        // Alone there is no other node.
        "handover" => &[409],
        // The snapshot may have been released.
        "snapshot" => &[200, 404],
        // Full syncs and restarts of this test.
        "ready" => &[200, 503],
        _ => &[200],
    }
}

#[test]
fn every_call_answers_as_documented() {
    let document = document();
    let mut daemon = Daemon::start(&[]);
    let mut faults = Vec::new();
    for call in calls(&document) {
        for target in call.targets(&document, &daemon.source.addr()) {
            let response = daemon.send(&call, &target, &[]);
            let mut found = call.faults(&document, &response);
            if !expected(&call).contains(&response.status) {
                found.push(format!("answered {}, not {:?}", response.status, expected(&call)));
            }
            faults.extend(
                found
                    .iter()
                    .map(|fault| format!("{} {target}: {fault}", call.method)),
            );
        }
    }
    let stop = all_calls(&document)
        .into_iter()
        .find(|call| call.id() == "stop")
        .unwrap();
    let response = daemon.send(&stop, &stop.path, &[]);
    faults.extend(stop.faults(&document, &response));
    assert_eq!(daemon.gunyu.wait_end(SOON).code(), Some(0));
    assert_none(&faults);
}

#[test]
fn refusals_are_documented_and_say_why() {
    let daemon = Daemon::start(&[]);
    let document = document();
    let calls = calls(&document);
    let table = [
        ("config", "format=toml", 400),
        ("pause", "", 400),
        ("pause", "inputs=", 400),
        ("pause", "inputs=192.0.2.1:1", 400),
        ("resume", "inputs=all,192.0.2.1:1", 400),
        ("fullsync", "", 400),
        ("fullsync", "inputs=192.0.2.1", 400),
        ("fullsync", "inputs=all&flushdb=perhaps", 400),
        ("handover", "", 400),
        ("handover", "inputs=192.0.2.1:1", 400),
        ("handover", "inputs=all", 409),
        ("snapshot", "input=all", 200),
        ("snapshot", "input=192.0.2.1:1", 400),
        // What these do not know they ignore.
        ("pause", "inputs=all&flushdb=yes", 200),
        ("fullsync", "inputs=all", 409),
        ("resume", "inputs=all&flushdb=yes", 200),
    ];
    let mut faults = Vec::new();
    for (id, query, code) in table {
        let call = calls.iter().find(|call| call.id() == id).unwrap();
        let target = format!("{}?{query}", call.path);
        let response = daemon.send(call, &target, &[]);
        let mut found = call.faults(&document, &response);
        if response.status != code {
            found.push(format!("answered {}, not {code}", response.status));
        }
        faults.extend(found.iter().map(|fault| format!("{target}: {fault}")));
    }
    assert_none(&faults);
}

#[test]
fn methods_that_are_not_documented_are_refused() {
    let daemon = Daemon::start(&[]);
    let document = document();
    let error = json!({"$ref": "#/components/schemas/Error"});
    let mut faults = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in METHODS.iter().filter(|method| methods[**method].is_null()) {
            let response = daemon.gunyu.request(&method.to_uppercase(), path).unwrap();
            if response.status != 405 {
                faults.push(format!("{method} {path}: answered {}", response.status));
            }
            let body = body("application/json", &response).unwrap_or(Value::Null);
            let found = schema::faults(&body, &error, &document);
            faults.extend(found.into_iter().map(|fault| format!("{method} {path}: {fault}")));
        }
    }
    assert_none(&faults);
}

/// Sends every call with these headers, and finds those that are refused with `code` although the document does not say so, or
/// the other way round.
fn disagreements(daemon: &Daemon, headers: &[&str], code: u16, told: impl Fn(&Call) -> bool) -> Vec<String> {
    let document = document();
    let mut faults = Vec::new();
    for call in all_calls(&document) {
        let source = daemon.source.addr();
        let target = call.targets(&document, &source).pop_first().unwrap();
        // It would end the process, were it not refused.
        if call.id() == "stop" && !told(&call) {
            continue;
        }
        let response = daemon.send(&call, &target, headers);
        if (response.status == code) != told(&call) {
            faults.push(format!("{}: answered {}", call.id(), response.status));
        }
        let found = call.faults(&document, &response);
        faults.extend(found.into_iter().map(|fault| format!("{}: {fault}", call.id())));
    }
    faults
}

#[test]
fn a_token_is_asked_for_where_documented() {
    let daemon = Daemon::start(&["server.auth.token=t0ken"]);
    let needs = |call: &Call| call.told["security"].is_null();
    for headers in [&[][..], &["Authorization: Bearer wrong"]] {
        assert_none(&disagreements(&daemon, headers, 401, needs));
    }
    assert_none(&disagreements(
        &daemon,
        &["Authorization: Bearer t0ken"],
        401,
        |_| false,
    ));
}

#[test]
fn foreign_hosts_and_other_sites_are_refused_where_documented() {
    let daemon = Daemon::start(&[]);
    assert_none(&disagreements(&daemon, &["Host: rebound.example"], 421, |call| {
        call.lists(421)
    }));
    assert_none(&disagreements(
        &daemon,
        &["Origin: http://site.example"],
        403,
        |call| call.lists(403),
    ));
}

#[test]
fn the_document_is_served_as_it_is() {
    let daemon = Daemon::start(&[]);
    let response = daemon.gunyu.request("GET", "/openapi.yaml").unwrap();
    assert_eq!(response.status, 200);
    assert_eq!(response.text(), std::fs::read_to_string(file()).unwrap());
}

// The document by itself.

#[test]
fn the_document_is_whole() {
    let document = document();
    let calls = all_calls(&document);
    let ids: BTreeSet<&str> = calls.iter().map(Call::id).collect();
    assert_eq!(ids.len(), calls.len(), "each call has an id of its own");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let mut faults = Vec::new();
    for call in &calls {
        if !call.lists(200) || !call.lists(405) {
            faults.push(format!("{}: success and 405", call.id()));
        }
        for parameter in call.parameters(&document) {
            for pair in examples(parameter, "127.0.0.1:6379") {
                let value = json!(pair.split_once('=').unwrap().1);
                faults.extend(schema::faults(&value, &parameter["schema"], &document));
            }
        }
        for response in call.told["responses"].as_object().unwrap().values() {
            let content = &schema::resolved(response, &document)["content"];
            for (kind, media) in content.as_object().unwrap() {
                let binary = kind == "application/octet-stream" || call.id() == "openapi";
                match media.get("example") {
                    Some(example) => faults.extend(schema::faults(example, &media["schema"], &document)),
                    None if binary => {}
                    None => faults.push(format!("{}: an example of {kind}", call.id())),
                }
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn an_answer_that_is_not_as_documented_is_caught() {
    let document = document();
    let calls = all_calls(&document);
    let status = calls.iter().find(|call| call.id() == "status").unwrap();
    let good = &status.told["responses"]["200"]["content"]["application/json"]["example"];
    let answer = |status: u16, kind: &str, body: &Value| Response {
        status,
        headers: format!("content-length: 1\r\nContent-Type: {kind}; charset=utf-8"),
        body: body.to_string().into_bytes(),
    };
    let json = "application/json";
    let with = |pointer: &str, value: Value| {
        let mut changed = good.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        changed
    };
    let mut without = good.clone();
    without[0].as_object_mut().unwrap().remove("Leader");
    let mut beyond = good.clone();
    beyond[0]["Offset"]["More"] = json!(1);
    let table = [
        (answer(200, json, good), None),
        (answer(200, json, &with("/0/FullSync", Value::Null)), None),
        (answer(200, json, &json!([])), None),
        (answer(404, json, good), Some("404 is not documented")),
        (
            answer(200, "text/plain", good),
            Some("200 with content type \"text/plain\""),
        ),
        (answer(200, json, &without), Some("the body[0] has no Leader")),
        (
            answer(200, json, &beyond),
            Some("the body[0].Offset.More is not documented"),
        ),
        (
            answer(200, json, &with("/0/Offset", Value::Null)),
            Some("the body[0].Offset is null, not of type object"),
        ),
        (
            answer(200, json, &with("/0/State", json!("gone"))),
            Some("the body[0].State is \"gone\", none of"),
        ),
        (
            answer(200, json, &with("/0/LagBytes", json!(-1))),
            Some("the body[0].LagBytes is -1, out of its range"),
        ),
        (
            answer(200, json, &with("/0/LagMs", json!("3"))),
            Some("the body[0].LagMs is \"3\", not of type integer"),
        ),
    ];
    for (response, fault) in table {
        let found = status.faults(&document, &response);
        match fault {
            None => assert_none(&found),
            Some(fault) => assert!(
                found.iter().any(|one| one.starts_with(fault)),
                "{fault}: {found:?}"
            ),
        }
    }
}

// The fuzzer.

/// schemathesis' configuration: no answer may be a 5xx but those that the document lists for a call.
fn fuzz_config(document: &Value) -> String {
    let mut config = String::new();
    for call in all_calls(document) {
        let codes = (500..600).filter(|code| call.lists(*code));
        let codes: Vec<String> = codes.map(|code| code.to_string()).collect();
        if !codes.is_empty() {
            config += &format!(
                "[[operations]]\ninclude-operation-id = \"{}\"\n[operations.checks]\nnot_a_server_error.expected-statuses = [\"2xx\", \"3xx\", \"4xx\", \"{}\"]\n",
                call.id(),
                codes.join("\", \"")
            );
        }
    }
    config
}

/// Runs schemathesis to its end: whether it is content, and what it said.
fn fuzz(base: &str, schema: &Path) -> (bool, String) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("schemathesis.toml"), fuzz_config(&document())).unwrap();
    let program = std::env::var_os("SCHEMATHESIS").unwrap_or_else(|| OsString::from("schemathesis"));
    // Asked first, so that a missing program is told in a sentence.
    if let Err(e) = Command::new(&program).arg("--version").output() {
        panic!(
            "schemathesis is needed and {} cannot be run ({e}): run `make test`, which installs it, or set SCHEMATHESIS to its path",
            program.display()
        );
    }
    let mut command = Command::new(&program);
    command
        .current_dir(dir.path())
        .env("NO_PROXY", "127.0.0.1")
        .args(["--config-file", "schemathesis.toml", "run"])
        .arg(schema)
        .arg(format!("--url={base}"))
        .args(["--exclude-operation-id=stop", "--phases=examples,coverage,fuzzing"])
        .arg("--checks=not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance")
        .arg(format!("--seed={SEED}"))
        .arg(format!("--max-examples={EXAMPLES_MAX}"))
        .args(["--request-timeout=10", "--generation-database=none", "--continue-on-failure"])
        .args(["--workers=1", "--warnings=off"]);
    let (stdout, stderr) = (dir.path().join("stdout"), dir.path().join("stderr"));
    let mut process = Process::start(command, &stdout, &stderr);
    let said = || text_from(&stdout, 0) + &text_from(&stderr, 0);
    let ended = wait_for(FUZZ_MAX, "the fuzzer ends", || process.ended().ok_or_else(said));
    (ended.success(), format!("seed {SEED}\n{}", said()))
}

#[test]
fn no_request_that_a_fuzzer_makes_up_breaks_the_daemon_or_the_document() {
    let mut daemon = Daemon::start(&[]);
    let (content, said) = fuzz(&format!("http://{}", daemon.gunyu.http()), &file());
    assert!(content, "{said}\n{}", daemon.gunyu.traces());
    println!("{said}");
    // Whatever was asked of it, it goes on copying once it may.
    let resumed = daemon.gunyu.request("POST", "/syncer/resume?inputs=all").unwrap();
    assert_eq!(resumed.status, 200, "{}", resumed.text());
    let () = daemon.source.run(&["SET", "k", "after"]);
    daemon.gunyu.wait_applied(&daemon.source, SOON);
    assert_eq!(daemon.target.run::<String>(&["GET", "k"]), "after");
}

#[test]
fn a_fuzzer_finds_an_answer_that_the_document_does_not_have() {
    let daemon = Daemon::start(&[]);
    let mut document = document();
    document["paths"]
        .as_object_mut()
        .unwrap()
        .retain(|path, _| path == "/debug/health");
    document["components"]["schemas"]["Done"]["required"] = json!(["ok", "done"]);
    let dir = tempfile::tempdir().unwrap();
    let wrong = dir.path().join("wrong.json");
    std::fs::write(&wrong, document.to_string()).unwrap();
    let (content, said) = fuzz(&format!("http://{}", daemon.gunyu.http()), &wrong);
    assert!(!content && said.contains("done"), "{said}");
}
