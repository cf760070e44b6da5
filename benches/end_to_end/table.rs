//! The table that is printed, and the same for programs.

use std::path::Path;

use serde_json::{Value, json};

use crate::meter::Cost;

/// One row.
#[derive(Debug, Default)]
pub struct Row {
    pub figure: String,
    pub gunyu: String,
    pub native: Option<String>,
    pub ratio: Option<f64>,
    /// What it cost gunyu, and for how many commands or keys.
    pub cost: Option<(Cost, f64)>,
    /// Bytes sent to the target per byte of the live stream.
    pub sent: Option<f64>,
}

#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Row>,
}

const HEAD: &str = "| figure | gunyu | native | ratio | CPU per million | memory | disk | sent |\n\
                    | --- | --- | --- | --- | --- | --- | --- | --- |";

impl Table {
    /// Shows it at once, too: a run takes minutes.
    pub fn push(&mut self, row: Row) {
        eprintln!("{}", line(&row));
        self.rows.push(row);
    }

    /// A row of wall times in seconds, each the median of its rounds.
    pub fn push_times(&mut self, figure: &str, gunyu: &[(f64, Cost)], native: &[f64], count: f64) {
        let ours = median(gunyu.iter().map(|(wall, _)| *wall));
        let theirs = (!native.is_empty()).then(|| median(native.iter().copied()));
        let costs: Vec<Cost> = gunyu.iter().map(|(_, cost)| *cost).collect();
        let sent: Vec<f64> = costs.iter().filter_map(Cost::sent_ratio).collect();
        self.push(Row {
            figure: figure.to_owned(),
            gunyu: format!("{ours:.2} s"),
            native: theirs.map(|theirs| format!("{theirs:.2} s")),
            ratio: theirs.map(|theirs| ours / theirs),
            cost: Some((Cost::median(&costs), count)),
            sent: (!sent.is_empty()).then(|| median(sent)),
        });
    }

    pub fn publish(&self) {
        println!("{HEAD}");
        self.rows.iter().for_each(|row| println!("{}", line(row)));
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
        std::fs::create_dir_all(&folder).unwrap();
        let all: Vec<Value> = self.rows.iter().map(json).collect();
        let text = serde_json::to_string_pretty(&all).unwrap();
        std::fs::write(folder.join("end_to_end.json"), text).unwrap();
    }
}

fn line(row: &Row) -> String {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    let cost = |show: &dyn Fn(&Cost, f64) -> String| {
        or_none(row.cost.as_ref().map(|(cost, count)| show(cost, *count)))
    };
    format!(
        "| {} | {} | {} | {} | {} | {} | {} | {} |",
        row.figure,
        row.gunyu,
        or_none(row.native.clone()),
        or_none(row.ratio.map(|ratio| format!("{ratio:.2}"))),
        cost(&|cost, count| format!("{:.2} s", cost.cpu_s / count * 1e6)),
        cost(&|cost, _| format!("{} MiB", cost.memory_bytes >> 20)),
        cost(&|cost, _| format!("{} MiB", cost.disk_bytes >> 20)),
        or_none(row.sent.map(|sent| format!("{sent:.3}"))),
    )
}

fn json(row: &Row) -> Value {
    let cost = row.cost.as_ref();
    json!({
        "figure": row.figure,
        "gunyu": row.gunyu,
        "native": row.native,
        "ratio": row.ratio,
        "cpu_s": cost.map(|(cost, _)| cost.cpu_s),
        "cpu_s_per_million": cost.map(|(cost, count)| cost.cpu_s / count * 1e6),
        "memory_bytes": cost.map(|(cost, _)| cost.memory_bytes),
        "disk_bytes": cost.map(|(cost, _)| cost.disk_bytes),
        "sent_bytes": cost.map(|(cost, _)| cost.sent_bytes),
        "sent_per_stream_byte": row.sent,
    })
}

/// The one in the middle.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
