//! The rows as one table in Markdown.

use std::fmt::Write;

use serde_json::Value;

const HEAD: &str = "| figure | gunyu | native | ratio | CPU | CPU per million | memory | disk | to the target | sent | measured |\n\
                    | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";

const CAPTION: &str = "
*gunyu*: wall time, or of a latency p50 / p99 / p99.9, or what a room by itself does in a second and for each item. *native*: the same of native replication in the same run, onto one replica
for each server of the source; of `rdb-load` it is `redis-cli --pipe`, fed with the `RESTORE` commands of the same file; of reading RDB files a plain read; of other rows what they name.
*CPU*: processor time of gunyu alone, user and system; *per million* commands or keys. *memory*: the most that was resident. *disk*: written to the log and the catalog. *to the target*: bytes
that the target's servers received; *sent*: of these per byte of the stream. Each figure is the median of its rounds; a latency is that of the probes of all rounds together.

A latency is that of a write: `SADD` of a new key on the source, until the keyspace notification of it is heard on the target and on a native replica of the same source. Only notifications of sets are
turned on, on both alike, so that the other writes (`SET`) and gunyu's own cost neither side anything more. The probes, a thousand a second, are among the writes counted in the rate.

A *floor* is what exactly once costs a cluster at the least, without gunyu: each group of commands of a slot that holds one which is no blind write goes with the slot's fence in a transaction. *sent* is to be
compared with that of the same mix onto a cluster.
";

/// All of them, and what the columns mean.
pub fn markdown(rows: &[Value]) -> String {
    let lines = rows.iter().map(|row| line(row) + "\n");
    [HEAD.to_owned(), lines.collect(), CAPTION.to_owned()].concat()
}

/// A row of the table.
pub fn line(row: &Value) -> String {
    let number = |field: &str| row[field].as_f64();
    let cells = [
        row["row"].as_str().map(str::to_owned),
        speed(row, ""),
        speed(row, "native_"),
        latencies(row, |name| format!("{name}_ratio"), 2)
            .or_else(|| number("ratio").map(|ratio| format!("{ratio:.2}"))),
        number("cpu_s").map(|cpu| format!("{cpu:.2} s")),
        number("cpu_s_per_million").map(|cpu| format!("{cpu:.2} s")),
        number("rss_mib").map(|rss| format!("{rss:.0} MiB")),
        number("disk_bytes").map(mib),
        number("target_bytes").map(mib),
        number("target_bytes_per_stream_byte").map(|sent| format!("{sent:.3}")),
        Some(measured(row)),
    ];
    let mut line = "|".to_owned();
    for cell in cells {
        write!(line, " {} |", cell.as_deref().unwrap_or("–")).unwrap();
    }
    line
}

fn mib(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / f64::from(1 << 20))
}

/// Whatever the row tells of how fast it was; with the prefix, of how fast the yardstick was.
fn speed(row: &Value, prefix: &str) -> Option<String> {
    let number = |field: &str| row[format!("{prefix}{field}")].as_f64();
    let wall = if prefix.is_empty() { "wall_s" } else { "s" };
    let each = |ns: f64| {
        let item = row["item"].as_str().unwrap_or("item");
        let digits = usize::from(ns < 100.0);
        format!("{ns:.digits$} ns per {item}")
    };
    if let Some(all) = latencies(row, |name| format!("{prefix}{name}_us"), 0) {
        return Some(all + " µs");
    }
    let ways = [
        number(wall).map(|wall| format!("{wall:.2} s")),
        number("gb_per_s").map(|speed| format!("{speed:.2} GB/s")),
        number("mb_per_s").map(|speed| format!("{speed:.0} MB/s")),
        number("per_s").map(|speed| format!("{speed:.0}/s")),
        number("ns_per_item").map(each),
        number("server_us_per_command").map(|each| format!("server: {each:.2} µs per command")),
    ];
    let said: Vec<String> = ways.into_iter().flatten().collect();
    (!said.is_empty()).then(|| said.join(", "))
}

/// p50 / p99 / p99.9, where there are all of them.
fn latencies(row: &Value, field: impl Fn(&str) -> String, digits: usize) -> Option<String> {
    let one = |name| row[field(name)].as_f64().map(|value| format!("{value:.digits$}"));
    let all: Option<Vec<String>> = ["p50", "p99", "p99_9"].into_iter().map(one).collect();
    all.map(|all| all.join(" / "))
}

/// To the minute, and the build.
fn measured(row: &Value) -> String {
    let at = row["measured_at"].as_str().unwrap_or("–").replace('T', " ");
    let (minute, build) = (at.get(..16).unwrap_or(&at), row["build"].as_str());
    format!("{minute}, {}", build.unwrap_or("–"))
}
