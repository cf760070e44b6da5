//! The page.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::bed::LOGS_MAX;
use super::end::{EXACT, MIX, REQUESTS};
use super::flat::{Medians, Verdict, rank, slope_an_hour};
use super::plot;
use super::run::{Happened, MEASURES, Measure, Outcome, Plan};
use super::support::Binary;

/// Where it goes: that of a test run by itself, so that it does not take the place of a longer one.
pub fn folder(is_slice: bool) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("it is within target");
    let folder = target
        .join("soak")
        .join(if is_slice { "slice" } else { "report" });
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Writes the page, its plots and the samples; says where the page is.
pub fn write(plan: &Plan, outcomes: &[Outcome]) -> PathBuf {
    let folder = folder(plan.is_slice);
    let mut page = head(plan);
    for outcome in outcomes {
        let name = outcome.name;
        page.push_str(&section(outcome));
        let drawn = plot::of_run(
            &format!("gunyu under faults: {name}"),
            outcome.length,
            &outcome.samples,
            &outcome.faults,
            &outcome.births,
        );
        std::fs::write(folder.join(format!("soak-{name}.svg")), drawn).unwrap();
        std::fs::write(folder.join(format!("soak-{name}.csv")), table(outcome)).unwrap();
        std::fs::write(
            folder.join(format!("soak-{name}-faults.csv")),
            listed(&outcome.faults),
        )
        .unwrap();
    }
    page.push_str(RULE);
    let path = folder.join("soak.md");
    std::fs::write(&path, page).unwrap();
    path
}

const RULE: &str = "\
## How this is judged

*Flat*: of the longest life of the process, without its first minute, and of the samples (one a second) at which the target had caught up (live, at most 256 KiB and
1 s behind), the median of the last quarter of the time is at most 1.15 times that of the second quarter, plus 8 MiB of memory, 8 files, 8 tasks or 4 threads; nor does it climb evenly:
where each quarter is higher than the one before by more than a quarter of that, the last step is less than half of the first. A single sample never decides. A process that is started again begins anew, so lives are not compared with each other; processes are killed and stopped in the first three tenths of the run and
the last fourteenth, and one life lasts all the time between, under all other faults. The *slope* is the median of the slopes between any two of those samples.

*Recovered* is a fault when all that the source had written at its end is applied and every input is live; it is looked at 20 times a second. The next fault does not wait for that: a
recovery may meet others. Silence is noticed after 4 s here (60 s in a release), so that what is half-open is over before the next fault.

*Equal*: `DEBUG DIGEST`, times of expiry, groups of streams and functions; on clusters every key's `DUMP` and time of expiry. *Exact*: counters of six kinds and the last 50 entries of lists, of
which the writer knows each value.
";

fn head(plan: &Plan) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let minutes = plan.length.as_secs_f64() / 60.0;
    let (server, build) = (
        Binary::installed(),
        if cfg!(debug_assertions) {
            "with debug assertions"
        } else {
            "without debug assertions"
        },
    );
    let (major, minor, patch) = server.version;
    let profile = Path::new(super::support::gunyu::PROGRAM)
        .parent()
        .and_then(Path::file_name)
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    format!(
        "# A soak of {minutes:.0} minutes\n\n\
         gunyu {}, profile `{profile}` {build}; {} {major}.{minor}.{patch}; {cores} processors, shared with the servers, the writers and the proxies. Again, with the same faults in the same \
         order: `GUNYU_SOAK_SEED={} make soak MINUTES={minutes:.0}`.\n\n\
         A fault every ten seconds. One server gets {} commands a second of every type ({EXACT} of them counted), over a bounded set of keys; a cluster of three masters {REQUESTS} requests.\n\n\
         *flat* is judged by the quarters, not by the slope: the median of the last is at most 1.15 times that of the second and a little \
         (8 MiB, 8 files or tasks, 4 threads: the column *last at most*), and the steps from quarter to quarter \
         do not go on as they began. The slope is that of a line through the whole of one life, the filling of its first buffers included: made an hour long, it is no forecast.\n\n",
        env!("CARGO_PKG_VERSION"),
        server.product,
        plan.seed,
        MIX + EXACT,
    )
}

fn section(outcome: &Outcome) -> String {
    let mut page = match outcome.name {
        "servers" => "## One server onto another, a proxy on either link\n\n".to_owned(),
        _ => "## A cluster of three masters onto another\n\n".to_owned(),
    };
    let wrong = outcome.wrong();
    let verdict = if wrong.is_empty() {
        "**All holds.**"
    } else {
        "**Not all holds:**"
    };
    writeln!(page, "{verdict} {}\n", said(outcome)).unwrap();
    for line in &wrong {
        writeln!(page, "- {line}").unwrap();
    }
    let (life, samples) = outcome.longest();
    let (from, to) = (
        samples.first().map_or(0.0, |one| one.at),
        samples.last().map_or(0.0, |one| one.at),
    );
    writeln!(
        page,
        "| in life {life} of {}, {:.1} to {:.1} min | by quarters | last at most | slope an hour | |\n| --- | ---: | ---: | ---: | --- |",
        outcome.births.len(),
        from / 60.0,
        to / 60.0
    )
    .unwrap();
    for measure in &MEASURES {
        page.push_str(&row(outcome, measure));
    }
    let (logs, folder) = outcome.disk_max();
    writeln!(
        page,
        "\nDisk, at any time: logs at most {:.1} MiB of {} allowed, all files {:.1}. {}\n\n![{}](soak-{}.svg)\n",
        mib(logs),
        LOGS_MAX >> 20,
        mib(folder),
        behind(outcome),
        outcome.name,
        outcome.name
    )
    .unwrap();
    page.push_str(&faults(&outcome.faults));
    page
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn said(outcome: &Outcome) -> String {
    let what = if outcome.inputs > 1 {
        "requests"
    } else {
        "commands"
    };
    let counted = outcome
        .wrote
        .counted
        .map(|counted| format!(", {} of them counted and exact", counted.commands()));
    let (bytes, keys): (Vec<f64>, Vec<f64>) = outcome
        .held
        .iter()
        .map(|held| (mib(held.0), held.1 as f64))
        .unzip();
    let half = bytes.len() / 2;
    let exact = counted
        .filter(|_| outcome.differences.is_empty())
        .unwrap_or_default();
    let syncs: Vec<String> = outcome
        .full_syncs
        .iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    format!(
        "{} {what}{exact}; the sides are {}. {} faults, {} lives of the process; snapshots of {} inputs: {} ({} asked for). The sources held {:.1} MiB in {:.0} keys (median; first half {:.1}, second {:.1} MiB).",
        outcome.wrote.commands,
        if outcome.differences.is_empty() {
            "equal"
        } else {
            "NOT equal"
        },
        outcome.faults.iter().filter(|one| one.recovery.is_some()).count(),
        outcome.births.len(),
        outcome.inputs,
        syncs.join(", "),
        outcome.asked,
        rank(&bytes, 0.5),
        rank(&keys, 0.5),
        rank(&bytes[..half], 0.5),
        rank(&bytes[half..], 0.5),
    )
}

fn row(outcome: &Outcome, measure: &Measure) -> String {
    let (name, unit) = (measure.name, measure.unit);
    let told = |medians: Medians, word: &str| {
        format!(
            "| {name} | {} {unit} | {:.1} {unit} | {:+.1} {unit} | {word} |\n",
            medians.quarters.map(|median| format!("{median:.1}")).join(", "),
            medians.limit,
            slope_an_hour(&outcome.series(measure))
        )
    };
    match outcome.verdict(measure) {
        Verdict::Flat(medians) => told(medians, "flat"),
        Verdict::Grows(medians) => told(medians, "**grows**"),
        Verdict::TooShort => format!("| {name} | | | | too short to judge |\n"),
    }
}

/// How far behind it was over all samples.
fn behind(outcome: &Outcome) -> String {
    let told: Vec<_> = outcome.samples.iter().filter_map(|sample| sample.told).collect();
    let (bytes, millis): (Vec<f64>, Vec<f64>) = told
        .iter()
        .map(|told| (told.lag_bytes as f64 / 1024.0, told.lag_ms as f64))
        .unzip();
    format!(
        "Lag, over {} samples, faults included: p50 {:.0} ms and {:.1} KiB, p90 {:.0} ms and {:.0} KiB, most {:.1} s and {:.1} MiB.",
        told.len(),
        rank(&millis, 0.5),
        rank(&bytes, 0.5),
        rank(&millis, 0.9),
        rank(&bytes, 0.9),
        rank(&millis, 1.0) / 1_000.0,
        rank(&bytes, 1.0) / 1_024.0
    )
}

/// By kind, in order of their names, two kinds a line.
fn faults(faults: &[Happened]) -> String {
    let mut kinds: BTreeMap<String, (Vec<f64>, usize)> = BTreeMap::new();
    for fault in faults {
        let kind = kinds.entry(fault.kind.to_string()).or_default();
        match fault.recovery {
            Some(seconds) => kind.0.push(seconds),
            None => kind.1 += 1,
        }
    }
    let cells: Vec<String> = kinds
        .iter()
        .map(|(name, (recovery, not_begun))| {
            let note = match not_begun {
                0 => String::new(),
                more => format!(" (+{more} refused)"),
            };
            format!(
                "{name} | {}{note} | {:.2} | {:.2} |",
                recovery.len(),
                rank(recovery, 0.5),
                rank(recovery, 1.0)
            )
        })
        .collect();
    let head = "fault | times | recovered, p50 s | most s |";
    let mut page = format!("| {head} {head}\n| --- | ---: | ---: | ---: | --- | ---: | ---: | ---: |\n");
    for pair in cells.chunks(2) {
        let other = pair.get(1).map_or(" | | | |", String::as_str);
        writeln!(page, "| {} {other}", pair[0]).unwrap();
    }
    page.push('\n');
    page
}

fn listed(faults: &[Happened]) -> String {
    let mut text = "seconds,fault,lasted,recovery\n".to_owned();
    for one in faults {
        let recovery = one
            .recovery
            .map_or_else(String::new, |seconds| format!("{seconds:.3}"));
        writeln!(
            text,
            "{:.2},\"{}\",{:.2},{recovery}",
            one.at, one.kind, one.lasted
        )
        .unwrap();
    }
    text
}

/// The samples, for whoever wants to look closer.
fn table(outcome: &Outcome) -> String {
    let mut text =
        "seconds,life,rss,rss_anon,threads,open_files,disk,tasks,logs,lag_bytes,lag_ms,caught_up\n"
            .to_owned();
    for one in &outcome.samples {
        write!(
            text,
            "{:.2},{},{},{},{},{},{},",
            one.at, one.life, one.rss, one.rss_anon, one.threads, one.open_files, one.disk
        )
        .unwrap();
        match one.told {
            Some(told) => writeln!(
                text,
                "{},{},{},{},{}",
                told.tasks, told.logs, told.lag_bytes, told.lag_ms, told.caught_up
            ),
            None => writeln!(text, ",,,,"),
        }
        .unwrap();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Happened, faults};
    use crate::faults::Kind;

    #[test]
    fn faults_are_told_by_kind_with_their_median_and_their_worst() {
        let one = |kind, recovery| Happened {
            kind,
            at: 1.0,
            lasted: 0.0,
            recovery,
        };
        let page = faults(&[
            one(Kind::Kill, Some(3.0)),
            one(Kind::Pause, None),
            one(Kind::Kill, Some(1.0)),
            one(Kind::Kill, Some(2.0)),
        ]);
        let line = page.lines().last().filter(|line| !line.is_empty());
        let line = line.or_else(|| page.lines().rev().nth(1)).unwrap();
        assert_eq!(
            line,
            "| asked to pause, resume | 0 (+1 refused) | 0.00 | 0.00 | gunyu: kill -9 | 3 | 2.00 | 3.00 |"
        );
    }
}
