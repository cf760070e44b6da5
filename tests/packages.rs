//! What packages gunyu: the Debian package's files, the service, the image and the Kubernetes manifests, held against the program and against each other.
//!
//! `make package` builds and installs what is only read here.

#![allow(clippy::unwrap_used, clippy::panic)] // a helper that fails fails its test

#[path = "support/skipped.rs"]
mod skipped;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What the manifests take from the cluster, and the service from `/etc/default/gunyu`.
const SECRETS: [(&str, &str); 4] = [
    ("POD_NAME", "gunyu-0"),
    ("GUNYU_TOKEN", "a-token-that-is-long-enough"),
    ("GUNYU_SOURCE_PASSWORD", "one"),
    ("GUNYU_TARGET_PASSWORD", "two"),
];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|cause| panic!("{name}: {cause}"))
}

/// The effective configuration of a file, as the program itself understands it.
fn effective(file: &Path) -> Value {
    let args = ["config", "--local", "--json", "--config", file.to_str().unwrap()];
    let output = Command::new(env!("CARGO_BIN_EXE_gunyu"))
        .args(args)
        .envs(SECRETS)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", file.display());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A duration as the program prints it, in seconds.
fn seconds(value: &Value) -> u64 {
    let text = value.as_str().unwrap();
    let digits = text.trim_end_matches('s');
    digits
        .parse()
        .unwrap_or_else(|_| panic!("{text} is no number of seconds"))
}

/// The lines `key=value` of a unit.
fn unit(key: &str) -> Vec<String> {
    let text = read("packaging/gunyu.service");
    let prefix = format!("{key}=");
    text.lines()
        .filter_map(|line| line.strip_prefix(&prefix))
        .map(str::to_owned)
        .collect()
}

fn only(mut values: Vec<String>) -> String {
    assert_eq!(values.len(), 1, "{values:?}");
    values.remove(0)
}

/// The assets of the Debian package: file, place.
fn assets() -> Vec<(String, String)> {
    let manifest = read("Cargo.toml");
    let list = manifest
        .split("\nassets = [\n")
        .nth(1)
        .unwrap()
        .split("\n]")
        .next()
        .unwrap();
    let words = |line: &str| {
        line.split('"')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    list.lines()
        .map(words)
        .map(|words| (words[0].clone(), words[1].clone()))
        .collect()
}

#[test]
fn everything_that_the_debian_package_takes_is_there() {
    let assets = assets();
    assert!(assets.len() > 8, "{assets:?}");
    for (file, place) in &assets {
        if file == "target/release/gunyu" {
            continue;
        }
        let folder = path(file).parent().unwrap().to_path_buf();
        let (before, after) = file
            .rsplit('/')
            .next()
            .unwrap()
            .split_once('*')
            .unwrap_or((file, ""));
        let fits = |name: &str| {
            file.ends_with(name) || (file.contains('*') && name.starts_with(before) && name.ends_with(after))
        };
        let found = std::fs::read_dir(&folder)
            .unwrap_or_else(|cause| panic!("{}: {cause}", folder.display()))
            .any(|entry| fits(entry.unwrap().file_name().to_str().unwrap()));
        assert!(found, "{file}, which goes to {place}, is not there");
    }
}

/// README and docs are installed, too: what they lead to must lie beside them, as in the repository.
#[test]
fn every_link_of_the_installed_documents_leads_to_an_installed_file() {
    let home = "usr/share/doc/gunyu/";
    let installed: Vec<(String, String)> = assets()
        .into_iter()
        .filter(|(_, place)| place.starts_with(home))
        .collect();
    let is_there = |link: &str| {
        installed.iter().any(|(file, place)| {
            let (folder, _) = file.rsplit_once('/').unwrap_or(("", ""));
            let (before, after) = file.split_once('*').unwrap_or((file, ""));
            let fits = link.starts_with(before) && link.ends_with(after) && link.len() >= file.len() - 1;
            let lies = place.strip_prefix(home).unwrap();
            fits && (lies == link || lies.trim_end_matches('/') == folder)
        })
    };
    let mut documents = vec!["README.md".to_owned()];
    let docs = std::fs::read_dir(path("docs")).unwrap();
    let names = docs.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    documents.extend(
        names
            .filter(|name| name.ends_with(".md"))
            .map(|name| format!("docs/{name}")),
    );
    let mut missing = Vec::new();
    for document in &documents {
        let text = read(document);
        let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        for link in links.map(|(link, _)| link.split('#').next().unwrap()) {
            if link.is_empty() || link.contains("://") || link.contains(' ') {
                continue;
            }
            let from_root = match (link.strip_prefix("../"), document.starts_with("docs/")) {
                (Some(above), _) => above.to_owned(),
                (None, true) => format!("docs/{link}"),
                (None, false) => link.to_owned(),
            };
            if !is_there(&from_root) {
                missing.push(format!("{document}: {link}"));
            }
        }
    }
    assert!(documents.len() > 5 && missing.is_empty(), "{missing:#?}");
}

#[test]
fn the_service_starts_what_the_package_installs_and_keeps_its_data_where_it_may_write() {
    let start = only(unit("ExecStart"));
    let words: Vec<&str> = start.split(' ').collect();
    assert_eq!(
        words,
        ["/usr/bin/gunyu", "sync", "--config", "/etc/gunyu/gunyu.yaml"]
    );
    let places: Vec<String> = assets()
        .into_iter()
        .map(|(_, place)| format!("/{place}"))
        .collect();
    assert!(places.contains(&words[3].to_owned()), "{places:?}");
    let environment = only(unit("EnvironmentFile"));
    assert!(
        places.contains(&environment.trim_start_matches('-').to_owned()),
        "{environment}"
    );

    let config = effective(&path("packaging/gunyu.yaml"));
    let state = format!("/var/lib/{}", only(unit("StateDirectory")));
    assert_eq!(config["channel"]["storer"]["dirPath"], Value::from(state));
    let patience: u64 = only(unit("TimeoutStopSec"))
        .trim_end_matches('s')
        .parse()
        .unwrap();
    let drain = seconds(&config["server"]["gracefullStopTimeout"]);
    assert!(
        patience > drain,
        "systemd kills it after {patience} s, and it may take {drain} s"
    );
}

#[test]
fn systemd_finds_no_fault_with_the_service() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        crate::skipped::skipped("there is no systemd-analyze here");
        return;
    }
    // It looks for the program, too, and for the page of the manual, which only a package brings.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gunyu.service");
    let text = read("packaging/gunyu.service").replace("/usr/bin/gunyu", env!("CARGO_BIN_EXE_gunyu"));
    let kept = |line: &&str| !line.starts_with("Documentation=");
    std::fs::write(&file, text.lines().filter(kept).collect::<Vec<_>>().join("\n")).unwrap();
    let output = Command::new("systemd-analyze")
        .arg("verify")
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let faults: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("gunyu.service"))
        .collect();
    assert!(output.status.success() && faults.is_empty(), "{said}");
}

#[test]
fn the_image_runs_the_command_that_its_file_is_written_for() {
    let text = read("packaging/Dockerfile");
    let list = |key: &str| -> Vec<String> {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        serde_json::from_str(line.trim()).unwrap()
    };
    assert_eq!(list("ENTRYPOINT"), ["/usr/bin/gunyu"]);
    let command = list("CMD");
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    assert_eq!(words[..2], ["sync", "--config"]);
    let claim = manifests()
        .into_iter()
        .find(|one| one["kind"] == "StatefulSet")
        .unwrap();
    assert_eq!(
        container(&claim)["args"],
        serde_json::to_value(&command).unwrap(),
        "image and manifest differ"
    );
}

fn manifests() -> Vec<Value> {
    let text = read("packaging/kubernetes/gunyu.yaml");
    let pieces = text.split("\n---\n");
    pieces
        .map(|piece| serde_yaml::from_str(piece).unwrap_or_else(|cause| panic!("{cause}: {piece}")))
        .collect()
}

fn manifest(kind: &str) -> Value {
    manifests()
        .into_iter()
        .find(|one| one["kind"] == kind)
        .unwrap_or_else(|| panic!("there is no {kind}"))
}

fn container(stateful_set: &Value) -> &Value {
    &stateful_set["spec"]["template"]["spec"]["containers"][0]
}

#[test]
fn the_configuration_of_the_manifests_is_one_that_gunyu_takes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gunyu.yaml");
    let written = manifest("ConfigMap")["data"]["gunyu.yaml"]
        .as_str()
        .unwrap()
        .to_owned();
    std::fs::write(&file, &written).unwrap();
    let config = effective(&file);
    let set = manifest("StatefulSet");
    let pod = &set["spec"]["template"]["spec"];

    let (name, service) = (
        set["metadata"]["name"].as_str().unwrap(),
        set["spec"]["serviceName"].as_str().unwrap(),
    );
    assert_eq!(
        config["server"]["listenPeer"],
        Value::from(format!("{name}-0.{service}:18001"))
    );
    assert_eq!(container(&set)["ports"][0]["containerPort"], 18001);
    assert!(
        config["server"]["listen"].as_str().unwrap().ends_with(":18001"),
        "{config}"
    );
    let drain = seconds(&config["server"]["gracefullStopTimeout"]);
    let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(grace > drain, "killed after {grace} s, and it may take {drain} s");
    let mounts = container(&set)["volumeMounts"].as_array().unwrap();
    let is_mounted = |path: &Value| mounts.iter().any(|mount| mount["mountPath"] == *path);
    assert!(is_mounted(&config["channel"]["storer"]["dirPath"]), "{mounts:?}");

    // Whatever ${NAME} stands in it is given to the program.
    let given: Vec<String> = manifest("Secret")["stringData"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    for name in written
        .split("${")
        .skip(1)
        .map(|rest| rest.split('}').next().unwrap())
    {
        let from_pod = container(&set)["env"]
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["name"] == name);
        assert!(
            from_pod || given.iter().any(|one| one == name),
            "nobody gives {name}; there are {given:?}"
        );
    }
}

#[test]
fn the_probes_call_what_the_api_has() {
    let api = read("docs/openapi.yaml");
    let set = manifest("StatefulSet");
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let called = container(&set)[probe]["httpGet"]["path"].as_str().unwrap();
        assert!(api.contains(&format!("\n  {called}:\n")), "{probe}: {called}");
    }
    let note = &set["spec"]["template"]["metadata"]["annotations"];
    let config: Value = serde_yaml::from_str(&read("config/gunyu.yaml")).unwrap();
    assert_eq!(note["prometheus.io/path"], config["server"]["metricRoutePath"]);
}

#[test]
fn the_manifests_find_each_other() {
    let set = manifest("StatefulSet");
    let labels = &set["spec"]["template"]["metadata"]["labels"];
    assert_eq!(&set["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(&manifest("Service")["spec"]["selector"], labels);
    assert_eq!(
        &manifest("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        labels
    );
    assert_eq!(
        set["spec"]["serviceName"],
        manifest("Service")["metadata"]["name"]
    );
    let volumes = set["spec"]["template"]["spec"]["volumes"].as_array().unwrap();
    let claims = set["spec"]["volumeClaimTemplates"].as_array().unwrap();
    for mount in container(&set)["volumeMounts"].as_array().unwrap() {
        let known = volumes.iter().any(|one| one["name"] == mount["name"])
            || claims.iter().any(|one| one["metadata"]["name"] == mount["name"]);
        assert!(known, "{mount}");
    }
}
