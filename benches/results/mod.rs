//! What the benchmarks found, all in one place: `target/bench/results.json`, and the same as one table in `results.md`.
//!
//! Each bench puts a row here as soon as it has measured it. A row takes the place of the one that has its name, all others stay: after a run of a part the table has the newest of
//! each, and each row says when and with which build it was measured. `GUNYU_BENCH_RESULTS` names another folder, as for a trial with small sizes; `GUNYU_BENCH_LABEL` is added to the
//! names of rows, so that those of several builds of the program stand beside each other.
//!
//! Figures are numbers whose names say their unit:
//!
//! | field | |
//! | --- | --- |
//! | `row`, `section` | its name, and what it belongs to |
//! | `measured_at`, `build`, `cores` | when, with which version and commit, on how many processors |
//! | `wall_s`, `native_s`, `ratio`; `rounds` | by the clock on the wall: gunyu, what it is measured beside, the one by the other; so often. Of a latency: for how long a round probes |
//! | `p50_us`, `native_p50_us`, `p50_ratio`; `p99_…`, `p99_9_…`; `probes` | from a write on the source until it is there, so many writes |
//! | `cpu_s`, `commands`, `cpu_s_per_million` | processor time of gunyu, user and system; for so many commands or keys |
//! | `rss_mib` | the most resident memory of gunyu |
//! | `disk_bytes` | what gunyu had written to disk |
//! | `target_bytes`, `stream_bytes`, `target_bytes_per_stream_byte` | what the target received, what the source wrote |
//! | `gb_per_s`, `ns_per_item`, `item`, `spread_percent` | a room by itself |
//! | `per_s`, `native_per_s`, `mb_per_s`, `native_mb_per_s` | what goes through in a second |
//! | `server_us_per_command` | processor time of the target, of a floor, in which no gunyu takes part |

#![allow(dead_code, unreachable_pub, missing_docs)] // each bench uses a part of it
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod table;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value};

pub use table::markdown;

/// The order of the table. What is not here comes last.
const SECTIONS: [&str; 11] = [
    "full sync",
    "live",
    "latency",
    "catch-up",
    "follower",
    "scaling",
    "rdb-load",
    "floor",
    "micro",
    "rdb",
    "other",
];

/// One row under way.
#[derive(Debug, Clone)]
pub struct Row(Map<String, Value>);

impl Row {
    pub fn of(section: &str, name: &str) -> Row {
        Row(Map::new()).text("section", section).text("row", name)
    }

    /// A figure; its name says its unit.
    pub fn number(mut self, field: &str, value: f64) -> Row {
        self.0.insert(field.to_owned(), Value::from(value));
        self
    }

    /// A figure that not every row has.
    pub fn maybe(self, field: &str, value: Option<f64>) -> Row {
        match value {
            Some(value) => self.number(field, value),
            None => self,
        }
    }

    /// A whole number.
    pub fn count(mut self, field: &str, value: u64) -> Row {
        self.0.insert(field.to_owned(), Value::from(value));
        self
    }

    pub fn text(mut self, field: &str, value: &str) -> Row {
        self.0.insert(field.to_owned(), Value::from(value));
        self
    }
}

/// The rows there are, of this run and of earlier ones.
#[derive(Debug)]
pub struct Results {
    folder: PathBuf,
    build: String,
    label: Option<String>,
}

impl Results {
    pub fn open() -> Results {
        let otherwise = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
        Results::in_folder(std::env::var_os("GUNYU_BENCH_RESULTS").map_or_else(otherwise, PathBuf::from))
    }

    pub fn in_folder(folder: PathBuf) -> Results {
        std::fs::create_dir_all(&folder).unwrap();
        Results {
            folder,
            build: build(),
            label: std::env::var("GUNYU_BENCH_LABEL").ok(),
        }
    }

    /// Writes it at once, and shows it: a whole run takes its time, and may be cut short.
    pub fn put(&self, mut row: Row) {
        if let (Some(label), Some(name)) = (&self.label, row.0["row"].as_str()) {
            let name = format!("{name} [{label}]");
            row = row.text("row", &name);
        }
        let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let row = row.text("measured_at", &now).text("build", &self.build);
        let row = Value::Object(row.count("cores", cores as u64).0);
        eprintln!("{}", table::line(&row));
        let mut rows = self.rows();
        merge(&mut rows, row);
        let json = serde_json::to_string_pretty(&rows).unwrap();
        std::fs::write(self.folder.join("results.json"), json + "\n").unwrap();
        std::fs::write(self.folder.join("results.md"), markdown(&rows)).unwrap();
    }

    /// As they were written.
    pub fn rows(&self) -> Vec<Value> {
        let Ok(text) = std::fs::read_to_string(self.folder.join("results.json")) else {
            return Vec::new();
        };
        serde_json::from_str(&text).expect("results.json is an array of rows, as a bench wrote it")
    }
}

/// Puts a row in the place of the one of its name, or behind the last of its section.
fn merge(rows: &mut Vec<Value>, row: Value) {
    match rows.iter_mut().find(|one| one["row"] == row["row"]) {
        Some(one) => *one = row,
        None => rows.push(row),
    }
    let rank = |row: &Value| SECTIONS.iter().position(|section| row["section"] == *section);
    rows.sort_by_key(|row| rank(row).unwrap_or(SECTIONS.len()));
}

/// The version; where there is a repository, its commit, and whether files differ from it.
fn build() -> String {
    let (version, root) = (env!("CARGO_PKG_VERSION"), env!("CARGO_MANIFEST_DIR"));
    // Not a repository in which an unpacked archive happens to lie.
    if !Path::new(root).join(".git").exists() {
        return version.to_owned();
    }
    let described = Command::new("git")
        .args(["-C", root, "describe", "--always", "--dirty", "--tags"])
        .output();
    match described {
        Ok(output) if output.status.success() => {
            format!("{version} {}", String::from_utf8_lossy(&output.stdout).trim())
        }
        _ => version.to_owned(),
    }
}

/// A number out of the environment.
pub fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// How often each figure is taken: `GUNYU_BENCH_ROUNDS`.
pub fn rounds(otherwise: usize) -> usize {
    number("GUNYU_BENCH_ROUNDS", otherwise).max(1)
}

/// The one in the middle.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
