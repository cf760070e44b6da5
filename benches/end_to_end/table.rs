//! Rows of what gunyu does beside native replication.

use crate::meter::Cost;
use crate::results::{Row, median};

/// Wall times in seconds, each the median of its rounds, and what it cost gunyu for so many commands or keys.
pub fn times(section: &str, figure: &str, gunyu: &[(f64, Cost)], native: &[f64], count: f64) -> Row {
    let ours = median(gunyu.iter().map(|(wall, _)| *wall));
    let theirs = (!native.is_empty()).then(|| median(native.iter().copied()));
    let costs: Vec<Cost> = gunyu.iter().map(|(_, cost)| *cost).collect();
    let row = Row::of(section, figure)
        .count("rounds", gunyu.len() as u64)
        .number("wall_s", ours)
        .maybe("native_s", theirs)
        .maybe("ratio", theirs.map(|theirs| ours / theirs));
    cost(row, &costs, count)
}

/// Adds what was spent in each round, for so many commands or keys.
pub fn cost(row: Row, costs: &[Cost], count: f64) -> Row {
    let sent: Vec<f64> = costs.iter().filter_map(Cost::sent_ratio).collect();
    let one = Cost::median(costs);
    row.number("cpu_s", one.cpu_s)
        .count("commands", count as u64)
        .number("cpu_s_per_million", one.cpu_s / count * 1e6)
        .number("rss_mib", one.memory_bytes as f64 / f64::from(1 << 20))
        .count("disk_bytes", one.disk_bytes)
        .count("target_bytes", one.sent_bytes)
        .count("stream_bytes", one.stream_bytes)
        .maybe(
            "target_bytes_per_stream_byte",
            (!sent.is_empty()).then(|| median(sent)),
        )
}
