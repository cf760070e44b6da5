//! The layout of the source, held to be true: which room may use which, what core may not know, how files begin.
//!
//! The first table is DESIGN's list of rooms in the order of their dependencies. A new room goes into the table at its
//! place; everything above it is what it may use.

#![allow(clippy::unwrap_used)] // a check that cannot read its input fails the test

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "tidy/paths.rs"]
mod paths;

use paths::{paths, tokens};

/// The rooms of `src/core`. Each may use those above it, never one below.
const ROOMS: &[&str] = &[
    "position",
    "crash",
    "net",
    "progress",
    "resp",
    "command",
    "filter",
    "rdb",
    "topology",
    "source",
    "catalog",
    "log",
    "target",
    "resume",
    "survey",
    "doctor",
    "pipeline",
    "verify",
    "lease",
    "peer",
    "supervisor",
];

/// Rooms that never use each other, whatever their order: only `pipeline` knows them all.
const STRANGERS: &[&str] = &["source", "log", "target"];

/// What core must not know: commands, HTTP, errors without a type, the environment.
const NOT_IN_CORE: &[&str] = &[
    "clap",
    "warp",
    "anyhow",
    "indicatif",
    "std::env",
    "crate::http",
    "crate::cmd",
    "gunyu",
];

/// Lines that a source file may have. A longer one holds two rooms.
const LINES_MAX: usize = 600;

#[test]
fn rooms_use_only_rooms_above_them() {
    let mut faults = Vec::new();
    for file in files_under("src/core") {
        let Some(room) = file.room() else { continue };
        if !ROOMS.contains(&room.as_str()) {
            faults.push(format!(
                "{}: room `{room}` is not in the table ROOMS of tests/tidy.rs: add it at its place",
                file.name
            ));
            continue;
        }
        for (line, path) in paths(&file.text, &file.module()) {
            if let Some(fault) = fault_of_use(&room, &path) {
                faults.push(format!("{}:{line}: {fault}", file.name));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn core_knows_no_command_line_no_http_and_no_environment() {
    let mut faults = Vec::new();
    for file in files_under("src/core") {
        for (line, path) in paths(&file.text, &file.module()) {
            let path = path.join("::");
            let foreign = NOT_IN_CORE
                .iter()
                .find(|known| path == **known || path.starts_with(&format!("{known}::")));
            faults.extend(foreign.map(|name| format!("{}:{line}: core must not use `{name}`", file.name)));
        }
    }
    assert_none(&faults);
}

#[test]
fn http_does_not_know_the_commands_and_its_handlers_do_not_know_warp() {
    let mut faults = Vec::new();
    for file in files_under("src/http") {
        let forbidden = if file.name.ends_with("/handlers.rs") {
            "warp"
        } else {
            "crate::cmd"
        };
        for (line, path) in paths(&file.text, &file.module()) {
            if path.join("::").starts_with("crate::cmd") || path.join("::").starts_with(forbidden) {
                faults.push(format!(
                    "{}:{line}: must not use `{}`",
                    file.name,
                    path.join("::")
                ));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn errors_without_a_type_stay_in_the_commands() {
    let mut faults = Vec::new();
    for file in files_under("src") {
        if file.name.starts_with("src/cmd/") || ["src/cmd.rs", "src/main.rs"].contains(&file.name.as_str()) {
            continue;
        }
        let uses = paths(&file.text, &file.module())
            .into_iter()
            .filter(|(_, path)| path[0] == "anyhow");
        faults.extend(
            uses.map(|(line, _)| format!("{}:{line}: anyhow is for src/cmd and main.rs only", file.name)),
        );
    }
    assert_none(&faults);
}

#[test]
fn nothing_is_left_unfinished() {
    let mut faults = Vec::new();
    for file in files_under("src") {
        let tokens = tokens(&file.text);
        for pair in tokens.windows(2) {
            if pair[1].text == "!" && ["todo", "unimplemented", "dbg"].contains(&pair[0].text.as_str()) {
                faults.push(format!("{}:{}: {}!", file.name, pair[0].line, pair[0].text));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn source_files_are_short_enough_to_proofread() {
    let long = |file: &SourceFile| {
        let lines = file.text.lines().count();
        (lines > LINES_MAX).then(|| {
            format!(
                "{}: {lines} lines, at most {LINES_MAX}: split the room",
                file.name
            )
        })
    };
    assert_none(&files_under("src").iter().filter_map(long).collect::<Vec<_>>());
}

#[test]
fn every_file_says_first_what_it_is() {
    let files = ["src", "tests", "benches", "fuzz"]
        .into_iter()
        .flat_map(files_under);
    let silent = files
        .filter(|file| !file.text.starts_with("//!"))
        .map(|file| format!("{}: must open with //!", file.name));
    assert_none(&silent.collect::<Vec<_>>());
}

#[test]
fn no_file_names_a_developers_machine_or_a_mirror() {
    // Put together here, or this file would be the first fault.
    let folders = ["work", "root", "home"].map(|name| format!("/{name}/"));
    let hosts =
        ["crates.", "pypi.", "npmjs.", "artifactory", "jfrog"].map(|name| match name.strip_suffix('.') {
            Some("crates") => format!("{name}io/"),
            Some(_) => format!("{name}org"),
            None => name.to_owned(),
        });
    let mut faults = Vec::new();
    for name in tracked_files() {
        // Cargo writes the name of its registry into the lock file, the same on every machine.
        let Ok(text) = std::fs::read_to_string(root().join(&name)) else {
            continue;
        };
        let told: Vec<&String> = match name.as_str() {
            "Cargo.lock" => folders.iter().collect(),
            "tests/tidy.rs" => Vec::new(),
            _ => folders.iter().chain(&hosts).collect(),
        };
        for (number, line) in text.lines().enumerate() {
            let found = told.iter().find(|word| line.contains(word.as_str()));
            faults.extend(found.map(|word| format!("{name}:{}: names `{word}`", number + 1)));
        }
    }
    assert_none(&faults);
}

/// Why `room` must not use `path`, if it must not.
fn fault_of_use(room: &str, path: &[String]) -> Option<String> {
    if path.first()? != "crate" || path.get(1)? != "core" {
        return None;
    }
    let used = match path.get(2).map(String::as_str) {
        None | Some("self" | "*") => return Some("name the room that is used, not all of core".to_owned()),
        Some(used) => used,
    };
    let place = |name: &str| ROOMS.iter().position(|room| *room == name);
    let Some(place_of_used) = place(used) else {
        return Some(format!(
            "`crate::core::{used}` is not a room of the table ROOMS in tests/tidy.rs: add it"
        ));
    };
    if used != room && STRANGERS.contains(&used) && STRANGERS.contains(&room) {
        return Some(format!(
            "{room} and {used} must not know each other: only pipeline knows both"
        ));
    }
    let below = Some(place_of_used) > place(room);
    below.then(|| format!("{room} must not use {used}, which stands below it"))
}

#[track_caller]
fn assert_none(faults: &[String]) {
    assert!(
        faults.is_empty(),
        "{} faults:\n  {}",
        faults.len(),
        faults.join("\n  ")
    );
}

/// One file of Rust, with its path from the root of the repository.
struct SourceFile {
    name: String,
    text: String,
}

impl SourceFile {
    /// `["crate", "core", "log", "segment"]` for `src/core/log/segment.rs`.
    fn module(&self) -> Vec<String> {
        let path = self
            .name
            .strip_prefix("src/")
            .unwrap_or(&self.name)
            .trim_end_matches(".rs");
        let below = path
            .split('/')
            .filter(|part| !["mod", "lib", "main"].contains(part));
        std::iter::once("crate").chain(below).map(str::to_owned).collect()
    }

    /// The room of core that it belongs to; none for core's own `mod.rs`.
    fn room(&self) -> Option<String> {
        self.module().get(2).cloned()
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All `.rs` files below a folder, in order; none where the folder does not exist.
fn files_under(folder: &str) -> Vec<SourceFile> {
    let mut names = BTreeSet::new();
    collect(&root().join(folder), &mut names);
    let rust = names
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ext| ext == "rs"));
    let read = |path: PathBuf| SourceFile {
        text: std::fs::read_to_string(&path).unwrap(),
        name: name_of(&path),
    };
    rust.map(read).collect()
}

fn name_of(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_string_lossy().into_owned()
}

fn collect(folder: &Path, names: &mut BTreeSet<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for path in entries.map(|entry| entry.unwrap().path()) {
        let built = [root().join("target"), root().join("fuzz/target")].contains(&path);
        let hidden = built
            || path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() && !hidden {
            collect(&path, names);
        } else if path.is_file() {
            names.insert(path);
        }
    }
}

/// What git tracks or would; every file where there is no git (an unpacked archive).
fn tracked_files() -> Vec<String> {
    let listing = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    match listing {
        Ok(output) if output.status.success() => {
            let names = String::from_utf8_lossy(&output.stdout).into_owned();
            names
                .split('\0')
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect()
        }
        _ => {
            let mut names = BTreeSet::new();
            collect(&root(), &mut names);
            names.iter().map(|path| name_of(path)).collect()
        }
    }
}

#[test]
fn a_use_is_judged_by_the_table() {
    let judge = |room: &str, path: &str| {
        let path: Vec<String> = path.split("::").map(str::to_owned).collect();
        fault_of_use(room, &path)
    };
    assert_eq!(judge("log", "crate::core::catalog::Catalog"), None);
    assert_eq!(judge("log", "crate::core::log::disk"), None);
    assert_eq!(judge("log", "std::fs::File"), None);
    for (room, path) in [
        ("rdb", "crate::core::target::Lane"),
        ("target", "crate::core::source::Follower"),
        ("target", "crate::core::log::Reader"),
        ("position", "crate::core::progress::Progress"),
        ("log", "crate::core::*"),
        ("log", "crate::core"),
        ("log", "crate::core::helpers::x"),
    ] {
        assert!(judge(room, path).is_some(), "{room} must not use {path}");
    }
}
