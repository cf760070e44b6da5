//! The command line: completions and manual pages are those committed, and every command explains itself.
//!
//! A new command or option changes the committed files: `GUNYU_BLESS=1 cargo test --test completions` writes them.

#![allow(clippy::unwrap_used, clippy::panic)] // a helper that fails fails its test

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;

use clap::CommandFactory;
use gunyu::cmd::Cli;
use support::gunyu::{PROGRAM, run};

const SHELLS: [(&str, &str); 5] = [
    ("bash", "gunyu.bash"),
    ("zsh", "_gunyu"),
    ("fish", "gunyu.fish"),
    ("powershell", "_gunyu.ps1"),
    ("elvish", "gunyu.elv"),
];

/// `completions/`, written anew first where that was asked for.
fn folder() -> PathBuf {
    static BLESSED: Once = Once::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("completions");
    if std::env::var_os("GUNYU_BLESS").is_some() {
        BLESSED.call_once(|| bless(&folder));
    }
    folder
}

fn bless(folder: &Path) {
    // Pages of commands that are no more go away.
    drop(std::fs::remove_dir_all(folder.join("man")));
    printed(&["man", "--dir", folder.join("man").to_str().unwrap()]);
    for (shell, file) in SHELLS {
        std::fs::write(folder.join(file), printed(&["completions", shell])).unwrap();
    }
}

/// What a command that must succeed prints.
#[track_caller]
fn printed(args: &[&str]) -> String {
    let output = run(args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{args:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Compares a committed file with what it should be.
#[track_caller]
fn assert_same(path: &Path, wanted: &str) {
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    let first = committed
        .lines()
        .zip(wanted.lines())
        .find(|(old, new)| old != new);
    assert!(
        committed == wanted,
        "{} is not what gunyu prints (first difference: {first:?});\n\
         if the command line was meant to change: GUNYU_BLESS=1 cargo test --test completions",
        path.display()
    );
}

#[test]
fn the_committed_completions_are_those_that_gunyu_prints() {
    for (shell, file) in SHELLS {
        assert_same(&folder().join(file), &printed(&["completions", shell]));
    }
}

fn files_in(folder: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(folder)
        .map_or_else(|_| Vec::new(), |entries| entries.map(Result::unwrap).collect());
    let named = entries.iter().map(|entry| {
        let name = entry.file_name().into_string().unwrap();
        (name, std::fs::read_to_string(entry.path()).unwrap())
    });
    named.collect()
}

#[test]
fn the_committed_manual_pages_are_those_that_gunyu_writes() {
    let fresh = tempfile::tempdir().unwrap();
    let fresh = fresh.path().join("made/where/missing");
    assert_eq!(printed(&["man", "--dir", fresh.to_str().unwrap()]), "");
    let (fresh, committed) = (files_in(&fresh), folder().join("man"));
    for (name, text) in &fresh {
        assert_same(&committed.join(name), text);
    }
    assert_eq!(fresh["gunyu.1"], printed(&["man"]));
    for name in files_in(&committed).keys() {
        assert!(
            fresh.contains_key(name),
            "{name} is committed, and no command has that page any more"
        );
    }
    for command in Cli::command().get_subcommands() {
        let name = format!("gunyu-{}.1", command.get_name());
        assert!(fresh[&name].contains(".SH \"EXAMPLES\""), "{}", fresh[&name]);
    }
}

#[test]
fn a_page_is_understood_by_man_without_a_complaint() {
    let Ok(output) = Command::new("man").arg("--version").output() else {
        return eprintln!("no man here: not looked at");
    };
    assert!(output.status.success());
    for name in files_in(&folder().join("man")).keys() {
        let mut man = Command::new("man");
        man.args(["--warnings", "-E", "UTF-8", "-l"])
            .arg(folder().join("man").join(name));
        let output = man
            .env("MANWIDTH", "80")
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{name}: {said}");
        assert!(
            String::from_utf8_lossy(&output.stdout).contains("SEE ALSO"),
            "{name}"
        );
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    for args in [&["man"][..], &["completions", "bash"], &["--help"]] {
        let mut child = Command::new(PROGRAM)
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Closed before a byte is read: the pipe holds less than all of it only for long texts.
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
    }
}

#[test]
fn every_command_explains_itself() {
    let mut top = Cli::command();
    top.build();
    let mut faults = Vec::new();
    for command in top
        .get_subcommands_mut()
        .filter(|command| command.get_name() != "help")
    {
        explains_itself(command, &mut faults);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The columns of a terminal: what is longer is wrapped, and fails when it is pasted.
const COLUMNS: usize = 80;

#[test]
fn every_example_fits_on_its_line() {
    let mut top = Cli::command();
    top.build();
    let all = std::iter::once(&top).chain(top.get_subcommands());
    let after = all.filter_map(|command| command.get_after_long_help());
    let texts: Vec<String> = after.map(ToString::to_string).collect();
    let examples = texts
        .iter()
        .flat_map(|text| text.lines())
        .filter(|line| line.starts_with("  "));
    let long: Vec<&str> = examples.filter(|line| line.chars().count() >= COLUMNS).collect();
    assert!(texts.len() > 15 && long.is_empty(), "{long:#?}");
}

fn explains_itself(command: &mut clap::Command, faults: &mut Vec<String>) {
    let name = command.get_name().to_owned();
    let after = command
        .get_after_long_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let examples = after.lines().skip_while(|line| *line != "Examples:").skip(1);
    let has_example = examples
        .take_while(|line| line.starts_with(' '))
        .any(|line| line.contains(&format!("gunyu {name}")));
    if !has_example {
        faults.push(format!(
            "{name}: after_long_help has no \"Examples:\" with an indented `gunyu {name}`"
        ));
    }
    for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
        if arg
            .get_help()
            .is_none_or(|help| help.to_string().trim().is_empty())
        {
            faults.push(format!("{name}: {} has no help", arg.get_id()));
        }
    }
    let (short, long) = (
        command.render_help().to_string(),
        command.render_long_help().to_string(),
    );
    if short.len() >= long.len() || short.contains("Examples:") {
        faults.push(format!("{name}: -h must be shorter than --help"));
    }
}

// In a shell.

/// What bash offers for these words, the last of which is being typed.
fn completed(words: &[&str]) -> Vec<String> {
    let script = r#"
        source "$SCRIPT" || exit 1
        function=$(complete -p gunyu | sed -nE 's/.* -F ([^ ]+) .*/\1/p')
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_TYPE=9 COMP_KEY=9
        COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
        "$function" gunyu "${@: -1}" "${@: -2:1}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("gunyu-config.yaml"), "").unwrap();
    let output = Command::new("bash")
        .args(["--norc", "--noprofile", "-c", script, "bash"])
        .args(words)
        .env("SCRIPT", self::folder().join("gunyu.bash"))
        .current_dir(folder.path())
        .output()
        .unwrap();
    let offered = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    offered
        .lines()
        .map(str::to_owned)
        .filter(|line| !line.is_empty())
        .collect()
}

#[test]
fn bash_completes_commands_options_values_and_files() {
    let all = completed(&["gunyu", ""]);
    for command in Cli::command().get_subcommands() {
        assert!(all.iter().any(|word| word == command.get_name()), "{all:?}");
    }
    let begun = completed(&["gunyu", "sy"]);
    assert_eq!(begun, ["sync"]);
    assert_eq!(completed(&["gunyu", "completions", "fi"]), ["fish"]);
    let options = completed(&["gunyu", "status", "--"]);
    for option in ["--server", "--watch", "--json", "--help"] {
        assert!(options.iter().any(|word| word == option), "{options:?}");
    }
    assert_eq!(completed(&["gunyu", "sync", "--sou"]), ["--source"]);
    assert_eq!(
        completed(&["gunyu", "sync", "--config", "gunyu-c"]),
        ["gunyu-config.yaml"]
    );
    assert_eq!(completed(&["gunyu", "nonsense", "--nothing"]), [""; 0]);
}

#[test]
fn shells_that_are_here_can_read_their_file() {
    for (shell, file) in [("bash", "gunyu.bash"), ("zsh", "_gunyu"), ("fish", "gunyu.fish")] {
        match Command::new(shell).arg("-n").arg(folder().join(file)).output() {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success() && said.is_empty(), "{shell}: {said}");
            }
            Err(error) => assert_ne!(shell, "bash", "{error}"),
        }
    }
}
