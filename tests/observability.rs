//! The dashboard and the alert rules, held against a running daemon: whatever they ask for is there.
//!
//! promtool judges the rules; `make test` brings it along.

#![allow(clippy::unwrap_used, clippy::panic)] // a helper that fails fails its test

mod support;

#[path = "observability/group.rs"]
mod group;
#[path = "observability/promql.rs"]
mod promql;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use promql::{Matcher, Scrape, Selector, faults, named};
use serde_json::Value;
use support::{Gunyu, SOON, Server, gunyu};

/// The width of Grafana's grid.
const COLUMNS: u64 = 24;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

fn dashboard() -> Value {
    serde_json::from_slice(&std::fs::read(path("grafana.json")).unwrap()).unwrap()
}

fn rules() -> Vec<Value> {
    let rules: Value = serde_yaml::from_slice(&std::fs::read(path("alerts.yaml")).unwrap()).unwrap();
    let groups = rules["groups"].as_array().unwrap();
    groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap().clone())
        .collect()
}

/// The panels that show something; rows are headings.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    panels.filter(|panel| panel["type"] != "row").collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Every expression of the dashboard, with the place where it stands.
fn shown() -> Vec<(String, String)> {
    let dashboard = dashboard();
    let mut found = Vec::new();
    for panel in panels(&dashboard) {
        for target in panel["targets"].as_array().unwrap() {
            found.push((
                format!("panel {}", panel["title"]),
                text(&target["expr"]).to_owned(),
            ));
        }
    }
    for annotation in dashboard["annotations"]["list"].as_array().unwrap() {
        if let Some(expr) = annotation["expr"].as_str() {
            found.push((format!("annotation {}", annotation["name"]), expr.to_owned()));
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if variable["type"] == "query" {
            let query = text(&variable["query"]["query"]);
            found.push((format!("variable {}", variable["name"]), query.to_owned()));
        }
    }
    found
}

fn told() -> Vec<(String, String)> {
    rules()
        .iter()
        .map(|rule| (format!("alert {}", rule["alert"]), text(&rule["expr"]).to_owned()))
        .collect()
}

#[track_caller]
fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// A scrape of a live daemon between two real servers, after one write, and what the members of a group show besides.
fn real_scrape() -> Scrape {
    let (source, target) = (Server::start(), Server::start());
    let mut gunyu = Gunyu::between(&source, &target);
    let () = source.run(&["SET", "k", "v"]);
    gunyu.wait_applied(&source, SOON);
    let mut scrape = promql::scrape(&gunyu.metrics());
    for text in group::scrapes() {
        for (metric, labels) in promql::scrape(&text) {
            let known = scrape.entry(metric).or_default();
            for (label, values) in labels {
                known.entry(label).or_default().extend(values);
            }
        }
    }
    scrape
}

#[test]
fn dashboard_and_alerts_ask_only_for_what_a_daemon_shows() {
    let scrape = real_scrape();
    let (shown, told) = (shown(), told());
    assert!(
        shown.len() > 40 && told.len() > 15,
        "{} and {}",
        shown.len(),
        told.len()
    );
    let all = shown.iter().chain(&told);
    let found = all.flat_map(|(place, expr)| {
        let faults = faults(expr, &scrape);
        faults
            .into_iter()
            .map(move |fault| format!("{place}: {fault}: {expr}"))
    });
    assert_none(&found.collect::<Vec<_>>());
}

#[test]
fn what_a_daemon_does_not_show_is_caught() {
    let scrape = promql::scrape(
        "# HELP gunyu_real Real.\ngunyu_real{input=\"a:1\",kind=\"source\"} 1\ngunyu_real_bucket{le=\"+Inf\",input=\"a:1\"} 1\n",
    );
    let table = [
        ("gunyu_real", None),
        (
            "rate(gunyu_made_up[5m])",
            Some("there is no metric gunyu_made_up"),
        ),
        (
            "sum(gunyu_real) / gunyu_unreal",
            Some("there is no metric gunyu_unreal"),
        ),
        (
            "gunyu_real{input=\"a\"} or made:up",
            Some("gunyu_real: its label input is never \"a\""),
        ),
        (
            "gunyu_real{input=~\"$input\", job=~\"$job\", instance=\"x\"}",
            None,
        ),
        (
            "gunyu_real{inputs=~\"$input\"}",
            Some("gunyu_real: it has no label inputs"),
        ),
        (
            "gunyu_real{kind=~\"source|src\"}",
            Some("gunyu_real: its label kind is never \"src\""),
        ),
        ("sum by (job, input) (gunyu_real)", None),
        (
            "sum by (side) (gunyu_real)",
            Some("gunyu_real: it has no label side"),
        ),
        (
            "sum(gunyu_real) by (side)",
            Some("gunyu_real: it has no label side"),
        ),
        (
            "histogram_quantile(0.9, sum by (le) (rate(gunyu_real_bucket[$__rate_interval])))",
            None,
        ),
        (
            "up{job=\"x\"} == 0 and on (side) gunyu_real",
            Some("gunyu_real: it has no label side"),
        ),
        ("label_values(gunyu_real{job=~\"$job\"}, input)", None),
        (
            "label_values(gunyu_real, side)",
            Some("gunyu_real: it has no label side"),
        ),
        ("{job=\"gunyu\"}", Some("a selector without the name of a metric")),
        ("vector(1)", Some("it asks for no metric")),
        ("gunyu_real{kind=\"source", Some("a string does not end")),
    ];
    for (expr, fault) in table {
        let found = faults(expr, &scrape);
        match fault {
            None => assert!(found.is_empty(), "{expr}: {found:?}"),
            Some(fault) => assert!(
                found.first().is_some_and(|first| first.starts_with(fault)),
                "{expr}: {found:?}"
            ),
        }
    }
}

#[test]
fn names_are_told_from_functions_keywords_labels_strings_and_comments() {
    let expr = "topk(3, sum without (le) (rate(a:b_total{x!=\"in{x}\\\"\", y=~'c|d'}[5m:30s] offset 1h))) > bool 1e3 # no_metric\n unless on (x) group_left (z) e / on (x) group_left f";
    let found = named(expr).unwrap();
    let matcher = |label: &str, operator: &str, value: &str| Matcher {
        label: label.to_owned(),
        operator: operator.to_owned(),
        value: value.to_owned(),
    };
    let wanted = [
        Selector {
            metric: "a:b_total".to_owned(),
            matchers: vec![matcher("x", "!=", "in{x}\""), matcher("y", "=~", "c|d")],
        },
        Selector {
            metric: "e".to_owned(),
            matchers: Vec::new(),
        },
        Selector {
            metric: "f".to_owned(),
            matchers: Vec::new(),
        },
    ];
    assert_eq!(found.selectors, wanted);
    assert_eq!(found.grouped, ["le", "x", "z"].map(str::to_owned).into());
}

/// promtool, as `make test` names it, or from `PATH`.
fn promtool(args: &[&Path]) -> (bool, String) {
    let program = std::env::var_os("PROMTOOL").unwrap_or_else(|| OsString::from("promtool"));
    let output = Command::new(&program).args(args).output().unwrap_or_else(|e| {
        panic!(
            "promtool is needed and {} cannot be run ({e}): run `make test`, which fetches it, or set PROMTOOL to its path",
            program.display()
        )
    });
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[track_caller]
fn assert_promtool(args: &[&Path]) {
    let (well, said) = promtool(args);
    assert!(well, "promtool {args:?}:\n{said}");
}

#[test]
fn promtool_accepts_the_alerts_and_each_fires_when_it_should() {
    assert_promtool(&["check".as_ref(), "rules".as_ref(), &path("alerts.yaml")]);
    assert_promtool(&["test".as_ref(), "rules".as_ref(), &path("alerts_test.yaml")]);
}

#[test]
fn promtool_says_when_an_alert_does_not_fire() {
    let dir = tempfile::tempdir().unwrap();
    let rules = std::fs::read_to_string(path("alerts.yaml")).unwrap();
    let broken = rules.replace(
        "gunyu_replication_lag_seconds > 300",
        "gunyu_replication_lag_seconds > 1e9",
    );
    assert_ne!(rules, broken);
    std::fs::write(dir.path().join("alerts.yaml"), broken).unwrap();
    let tests = dir.path().join("alerts_test.yaml");
    std::fs::copy(path("alerts_test.yaml"), &tests).unwrap();
    let (well, said) = promtool(&["test".as_ref(), "rules".as_ref(), &tests]);
    assert!(!well && said.contains("GunyuLagVeryHigh"), "{said}");
}

#[test]
fn promtool_accepts_every_expression_of_the_dashboard() {
    // As rules, which promtool knows how to read. What Grafana puts in for its own variables is put in here.
    let rules: Vec<Value> = shown()
        .into_iter()
        .filter(|(_, expr)| !expr.starts_with("label_values("))
        .enumerate()
        .map(|(at, (place, expr))| {
            let expr = expr.replace("$__rate_interval", "5m");
            serde_json::json!({"record": format!("dashboard:{at}"), "labels": {"place": place}, "expr": expr})
        })
        .collect();
    let groups = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]});
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dashboard.yaml");
    std::fs::write(&file, groups.to_string()).unwrap();
    assert_promtool(&["check".as_ref(), "rules".as_ref(), &file]);
}

#[test]
fn every_alert_has_a_severity_a_sentence_what_to_type_and_a_test() {
    let tests = std::fs::read_to_string(path("alerts_test.yaml")).unwrap();
    let mut faults = Vec::new();
    for rule in rules() {
        let name = text(&rule["alert"]);
        let annotations = &rule["annotations"];
        if !["warning", "critical"].contains(&text(&rule["labels"]["severity"])) {
            faults.push(format!("{name}: severity is warning or critical"));
        }
        if text(&annotations["summary"]).is_empty() || !text(&annotations["description"]).contains("`gunyu ")
        {
            faults.push(format!(
                "{name}: a summary, and a description that says what to type"
            ));
        }
        if !tests.contains(&format!("alertname=\"{name}\"")) && !tests.contains(&format!("alertname: {name}"))
        {
            faults.push(format!("{name}: no test in alerts_test.yaml"));
        }
    }
    assert_none(&faults);
}

/// The commands that the texts tell people to type: between backquotes, beginning with `gunyu`.
fn commands_told() -> BTreeSet<String> {
    let dashboard = dashboard();
    let described = panels(&dashboard)
        .into_iter()
        .map(|panel| text(&panel["description"]).to_owned());
    let told = rules().into_iter().flat_map(|rule| {
        ["summary", "description"].map(|field| text(&rule["annotations"][field]).to_owned())
    });
    described
        .chain(told)
        .flat_map(|text| {
            let quoted = text.split('`').skip(1).step_by(2);
            quoted.map(str::to_owned).collect::<Vec<_>>()
        })
        .filter(|command| command.starts_with("gunyu "))
        .collect()
}

#[test]
fn every_command_that_people_are_told_to_type_exists_with_its_options() {
    let mut faults = Vec::new();
    let commands = commands_told();
    assert!(commands.contains("gunyu status"), "{commands:?}");
    for command in commands {
        let words: Vec<&str> = command.split(' ').collect();
        let output = gunyu::run(&[words[1], "--help"]);
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        let unknown = words
            .iter()
            .find(|word| word.starts_with("--") && !help.contains(**word));
        if !output.status.success() {
            faults.push(format!("`{command}`: there is no such command"));
        } else if let Some(option) = unknown {
            faults.push(format!("`{command}`: there is no option {option}"));
        }
    }
    assert_none(&faults);
}

// The shape of the dashboard.

#[test]
fn every_panel_has_a_title_a_description_a_unit_and_something_to_show() {
    let dashboard = dashboard();
    let mut faults = Vec::new();
    let mut titles = BTreeSet::new();
    for panel in panels(&dashboard) {
        let title = text(&panel["title"]);
        if title.is_empty() || !titles.insert((title, panel["gridPos"].to_string())) {
            faults.push(format!("panel {}: a title", panel["id"]));
        }
        let unit = &panel["fieldConfig"]["defaults"]["unit"];
        for (what, value) in [("a description", &panel["description"]), ("a unit", unit)] {
            if text(value).is_empty() {
                faults.push(format!("{title}: {what}"));
            }
        }
        let targets = panel["targets"].as_array().map_or(&[][..], Vec::as_slice);
        let names: BTreeSet<&str> = targets.iter().map(|target| text(&target["refId"])).collect();
        if targets.is_empty() || names.len() != targets.len() {
            faults.push(format!("{title}: queries, each with a refId of its own"));
        }
        let of = targets.iter().chain([panel]);
        if of
            .into_iter()
            .any(|it| it["datasource"]["uid"] != "${datasource}")
        {
            faults.push(format!("{title}: the data source chosen above"));
        }
    }
    assert_none(&faults);
}

/// Left, top, right and bottom of a panel; right and bottom just outside.
fn edges(panel: &Value) -> [u64; 4] {
    let [x, y, w, h] = ["x", "y", "w", "h"].map(|name| panel["gridPos"][name].as_u64().unwrap());
    [x, y, x + w, y + h]
}

fn overlap(a: &Value, b: &Value) -> bool {
    let ([left, top, right, bottom], [x, y, end, floor]) = (edges(a), edges(b));
    left < end && x < right && top < floor && y < bottom
}

#[test]
fn panels_have_their_own_ids_and_do_not_overlap() {
    let dashboard = dashboard();
    let all = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = all.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), all.len(), "each has an id of its own");
    for (at, panel) in all.iter().enumerate() {
        let [left, top, right, bottom] = edges(panel);
        assert!(
            left < right && right <= COLUMNS && top < bottom,
            "{}",
            panel["title"]
        );
        for other in &all[at + 1..] {
            assert!(
                !overlap(panel, other),
                "{} overlaps {}",
                panel["title"],
                other["title"]
            );
        }
    }
}

#[test]
fn overlapping_panels_are_caught() {
    let panel = |x: u64, y: u64| serde_json::json!({"gridPos": {"x": x, "y": y, "w": 12, "h": 8}});
    assert!(overlap(&panel(0, 0), &panel(11, 7)));
    assert!(!overlap(&panel(0, 0), &panel(12, 0)));
    assert!(!overlap(&panel(0, 0), &panel(0, 8)));
}

#[test]
fn dashboard_can_be_imported_and_asks_for_a_data_source() {
    let dashboard = dashboard();
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 39);
    assert!(
        dashboard["id"].is_null(),
        "an id belongs to the Grafana that gave it"
    );
    assert!(!text(&dashboard["uid"]).is_empty());
    let input = &dashboard["__inputs"][0];
    assert_eq!(
        (text(&input["type"]), text(&input["pluginId"])),
        ("datasource", "prometheus")
    );
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<&str> = variables.iter().map(|variable| text(&variable["name"])).collect();
    assert_eq!(names, ["datasource", "job", "input"]);
    let chosen = format!("${{{}}}", text(&input["name"]));
    assert_eq!(variables[0]["current"]["value"], chosen);
    let required = dashboard["__requires"].as_array().unwrap();
    for panel in panels(&dashboard) {
        assert!(
            required
                .iter()
                .any(|it| it["type"] == "panel" && it["id"] == panel["type"]),
            "{} is of a type that __requires does not name",
            panel["title"]
        );
    }
}
