//! `config/gunyu.yaml`: the table of keys as a file, each with its meaning and default.

use super::keys::ROOT;
use super::schema::{self, Entry, Fate, Key, Shape};

/// How wide a line of comment may become.
const WIDTH: usize = 110;

const HEAD: &str = "\
# Every key that gunyu knows, with its meaning and its default. Written by the table of keys in
# src/cmd/config/keys.rs; a test holds the two together.
#
# Only input.redis.addresses and output.redis.addresses must be written; minimal.yaml is enough to begin with.
# A duration is written as 300ms, 10s, 1m30s or 12h, a size as an integer of bytes or as 64KiB, 512MiB or 10GB.
# A key without a value is not set. ${NAME} in a value is replaced from the environment; a plain ${ is written $${.
# A flag wins over the environment, the environment over this file: gunyu sync --set output.replay.connections=8
";

const TAIL: &str = "
# Keys of redis-GunYu that are accepted, so that its files work, and no longer do anything, or stand for another key:
#
";

/// The file with every key at its default.
#[must_use]
pub fn full_file() -> String {
    let mut text = HEAD.to_owned();
    for entry in ROOT {
        text.push('\n');
        write_entry(&mut text, entry, entry.name, 0);
    }
    text.push_str(TAIL);
    for (path, _, key) in schema::keys(ROOT) {
        if let Some(line) = retired(&path, &key) {
            comment(&mut text, 0, &line);
        }
    }
    text
}

fn retired(path: &str, key: &Key) -> Option<String> {
    match key.fate {
        Fate::Live => None,
        Fate::Ignored(why) => Some(format!("{path}: {why}")),
        Fate::Alias(other) => Some(format!("{path}: {other} of the same section")),
        Fate::Judged => Some(match path {
            "output.replay.replayTransaction" => format!("{path}: false stands for delivery: at_least_once"),
            "output.replay.mode" => {
                format!("{path}: sync and pipeline change nothing; parallel is refused (two-way sync)")
            }
            _ => format!("{path}: true is refused (two-way sync)"),
        }),
    }
}

fn write_entry(text: &mut String, entry: &Entry, path: &str, indent: usize) {
    if !entry.is_live() {
        return;
    }
    match &entry.shape {
        Shape::Section(inner) => {
            comment(text, indent, entry.doc);
            text.push_str(&format!("{:indent$}{}:\n", "", entry.name));
            for entry in *inner {
                write_entry(text, entry, &schema::join(path, entry.name), indent + 2);
            }
        }
        Shape::Key(key) => {
            comment(text, indent, &about(entry, key));
            let value = match path {
                "input.redis.addresses" => "[127.0.0.1:6379]",
                "output.redis.addresses" => "[127.0.0.1:6380]",
                _ => key.default,
            };
            let line = format!("{:indent$}{}: {value}", "", entry.name);
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
}

/// Meaning, what may be written, default.
fn about(entry: &Entry, key: &Key) -> String {
    let default = match (key.is_required, key.default) {
        (true, _) => "required".to_owned(),
        (false, "") => "not set by default".to_owned(),
        (false, default) => format!("default {default}"),
    };
    let spellings = match entry.spellings {
        [] => String::new(),
        spellings => format!("; also spelled {}", spellings.join(", ")),
    };
    let about = format!("{} [{}; {default}{spellings}]", entry.doc, key.kind.brief());
    about.trim_start().to_owned()
}

/// Comment lines, broken between words.
fn comment(text: &mut String, indent: usize, words: &str) {
    let start = format!("{:indent$}#", "");
    let mut line = start.clone();
    for word in words.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH && line.len() > start.len() {
            text.push_str(&line);
            text.push('\n');
            line.clone_from(&start);
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}
