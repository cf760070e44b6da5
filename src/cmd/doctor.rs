//! `gunyu doctor`: what would go wrong, said before it does.
//!
//! Owns how [`crate::core::doctor`]'s findings are shown, here and in the traces of a `gunyu sync` that begins.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::config::{self, Config};
use super::settings::Places;
use super::settings::doctor::{OUTAGE, plan};
use super::{ConfigArgs, Exit, Failure, print, settings, status, sync};
use crate::core::doctor::{self, Depth, Finding, Severity, Subject};
use crate::core::resp::harmless;

/// Say what would go wrong between source and target, before it does
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Takes the configuration as `gunyu sync` does, connects to both sides, and tells of each thing that it needs of them and of this machine whether it is ok, a warning \
(works now, may not always) or a problem (will not work), and what to type to mend it. What the user may not ask is unknown, which is no fault. Nothing is changed on \
either side. A permission that is lacking may leave an entry in the server's ACL log, unless the user may ask by ACL DRYRUN. A fix by redis-cli is for a user who may \
do that, whose password REDISCLI_AUTH has; what CONFIG SET and ACL SETUSER change stays after a restart where CONFIG REWRITE and ACL SAVE write it down.

What is written on the source is measured for a second: run it when there is something to measure.

Examples:
  gunyu doctor --source redis://10.0.0.1:6379 --target redis://10.0.0.2:6379
  gunyu doctor --config /etc/gunyu/gunyu.yaml --outage 10m
  gunyu doctor --config gunyu.yaml --json \\
    | jq '.findings[] | select(.severity == \"problem\")'

Exit codes: 0 all is well, 1 there are warnings, 2 there are problems, or the configuration is wrong.")]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// So long the source may be out of reach without a full sync afterwards: its backlog should last
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = outage)]
    outage: Duration,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// A number alone is seconds.
fn outage(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().map(Duration::from_secs);
    let given = seconds.or_else(|| config::duration(text));
    given
        .filter(|given| !given.is_zero())
        .ok_or_else(|| "write a number with a unit, as in 90s, 10m or 1h".to_owned())
}

/// Examines and prints.
///
/// # Errors
/// Something is found: the exit code tells how bad the worst is.
pub fn run(args: &Args) -> Result<(), Failure> {
    let mut config = args.config.check()?;
    config.refuse_unbuilt()?;
    config.read_tls()?;
    let runtime = sync::runtime()?;
    let findings = runtime.block_on(async {
        let places = Places::of(&config);
        let plan = plan(&config, &places, args.outage, Depth::Full);
        let plan = plan.map_err(|error| settings::wrong_filter(&error))?;
        Ok::<_, Failure>(doctor::examine(&plan).await)
    })?;
    // A name server that does not answer must keep nobody waiting who has all findings.
    runtime.shutdown_timeout(Duration::from_millis(100));
    match args.json {
        true => print::json(&as_json(&findings))?,
        false => print::text(&as_text(&findings, status::has_colours()))?,
    }
    match doctor::worst(&findings) {
        Severity::Ok | Severity::Unknown => Ok(()),
        // What is to be said stands above.
        Severity::Warning => Err(Failure::new(Exit::Failed, "")),
        Severity::Problem => Err(Failure::new(Exit::Usage, "")),
    }
}

/// The look at the start of a `gunyu sync` may take so long.
const AT_START_LIMIT: Duration = Duration::from_secs(15);

/// What the pipelines tell by themselves, as soon as they meet it.
const TOLD_ANYWAY: [&str; 6] = [
    "reach",
    "announced-address",
    "sentinels",
    "same-server",
    "loading",
    "cluster-slots",
];

/// Looks at both sides, in brief, and traces what is worse than ok. Delays and ends nothing, whatever it finds.
pub(super) async fn at_start(config: Config, places: Places) {
    let Ok(plan) = plan(&config, &places, OUTAGE, Depth::Brief) else {
        // The pipelines have not begun either.
        return;
    };
    let Ok(findings) = tokio::time::timeout(AT_START_LIMIT, doctor::examine(&plan)).await else {
        tracing::debug!("the look at both sides was given up: an answer is late");
        return;
    };
    let bad = findings
        .iter()
        .filter(|finding| finding.severity > Severity::Unknown);
    for finding in bad.filter(|finding| !TOLD_ANYWAY.contains(&finding.check)) {
        tracing::warn!(
            check = finding.check,
            severity = finding.severity.as_str(),
            servers = some_of(&finding.nodes.iter().map(String::as_str).collect::<Vec<_>>()),
            hint = harmless(&hint(&finding.fix)),
            "the {}: {}",
            heading(finding.subject),
            harmless(&finding.says)
        );
    }
}

/// Of many nodes each has its line: `gunyu doctor` prints them all.
fn hint(fix: &[String]) -> String {
    const MOST: usize = 3;
    match fix.split_at_checked(MOST) {
        Some((first, rest)) if !rest.is_empty() => {
            format!(
                "{}; and {} more, which gunyu doctor prints",
                first.join("; "),
                rest.len()
            )
        }
        _ => fix.join("; "),
    }
}

fn counted(findings: &[Finding], severity: Severity) -> usize {
    findings
        .iter()
        .filter(|finding| finding.severity == severity)
        .count()
}

fn as_json(findings: &[Finding]) -> serde_json::Value {
    let each = findings.iter().map(|finding| {
        json!({
            "check": finding.check,
            "severity": finding.severity.as_str(),
            "side": finding.subject.as_str(),
            "nodes": finding.nodes,
            "says": finding.says,
            "fix": finding.fix,
        })
    });
    let counts =
        Severity::ALL.map(|severity| (severity.as_str().to_owned(), json!(counted(findings, severity))));
    json!({
        "findings": each.collect::<Vec<_>>(),
        "summary": counts.into_iter().collect::<serde_json::Map<_, _>>(),
    })
}

/// A heading for each side, with its servers; below it a line for each finding, the worst first, and what to type.
fn as_text(findings: &[Finding], colours: bool) -> String {
    let mut text = String::new();
    for subject in [Subject::Source, Subject::Target, Subject::Here] {
        let of_it: Vec<&Finding> = findings
            .iter()
            .filter(|finding| finding.subject == subject)
            .collect();
        // What is about this machine may be about others, too, each of its own.
        let is_named = |_: &&&Finding| subject != Subject::Here;
        let named = of_it.iter().filter(is_named);
        let nodes: BTreeSet<&String> = named.flat_map(|finding| &finding.nodes).collect();
        if of_it.is_empty() {
            continue;
        }
        let names: Vec<&str> = nodes.iter().map(|node| node.as_str()).collect();
        let heading = format!("{} {}", heading(subject), some_of(&names));
        text.push_str(&painted(heading.trim_end(), "1", colours));
        text.push('\n');
        for finding in of_it {
            text.push_str(&lines(finding, nodes.len(), colours));
        }
    }
    text + &summary(findings)
}

const fn heading(subject: Subject) -> &'static str {
    match subject {
        Subject::Source => "source",
        Subject::Target => "target",
        Subject::Here => "this machine",
    }
}

fn lines(finding: &Finding, nodes: usize, colours: bool) -> String {
    let code = match finding.severity {
        Severity::Ok => "32",
        Severity::Unknown => "2",
        Severity::Warning => "33",
        Severity::Problem => "31",
    };
    let word = painted(&format!("{:<7}", finding.severity.as_str()), code, colours);
    // Those of all are in the heading.
    let names: Vec<&str> = finding.nodes.iter().map(String::as_str).collect();
    let of = match names.len() {
        0 => String::new(),
        some if some == nodes => String::new(),
        _ => format!(" ({})", some_of(&names)),
    };
    let mut text = format!("  {word}  {}{of}: {}\n", finding.check, harmless(&finding.says));
    for fix in &finding.fix {
        text.push_str(&format!("           fix: {}\n", harmless(fix)));
    }
    text
}

/// A large cluster is not listed on every line.
fn some_of(names: &[&str]) -> String {
    const MOST: usize = 6;
    match names.split_at_checked(MOST) {
        Some((first, rest)) if !rest.is_empty() => format!("{} and {} more", first.join(", "), rest.len()),
        _ => names.join(", "),
    }
}

fn painted(text: &str, code: &str, colours: bool) -> String {
    match colours {
        true => format!("\x1b[{code}m{text}\x1b[0m"),
        false => text.to_owned(),
    }
}

fn summary(findings: &[Finding]) -> String {
    let counts = Severity::ALL.iter().rev().map(|severity| {
        let count = counted(findings, *severity);
        let plural = match (severity, count) {
            (Severity::Ok | Severity::Unknown, _) | (_, 1) => "",
            _ => "s",
        };
        format!("{count} {}{plural}", severity.as_str())
    });
    format!("{}\n", counts.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(severity: Severity, nodes: &[&str], fix: &[&str]) -> Finding {
        Finding {
            check: "backlog",
            severity,
            subject: Subject::Source,
            nodes: nodes.iter().map(ToString::to_string).collect(),
            says: "it is \u{1b}[2J so".to_owned(),
            fix: fix.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn an_outage_is_a_duration_or_seconds_and_never_none() {
        let secs = |text| outage(text).map(|given| given.as_secs());
        assert_eq!(
            (secs("600"), secs("1h"), secs("1m30s")),
            (Ok(600), Ok(3600), Ok(90))
        );
        assert_eq!(outage("60s"), Ok(OUTAGE), "the default of the option");
        for wrong in ["", "0", "0s", "h", "-1", "1 week"] {
            assert!(outage(wrong).is_err_and(|hint| hint.contains("1h")), "{wrong}");
        }
    }

    #[test]
    fn a_finding_is_a_line_and_each_fix_one_below_it() {
        let findings = [
            finding(Severity::Problem, &["a:1"], &["one", "two"]),
            finding(Severity::Ok, &["a:1", "b:2"], &[]),
        ];
        let expected = "source a:1, b:2\n  problem  backlog (a:1): it is \\u{1b}[2J so\n           fix: one\n           fix: two\n  \
                        ok       backlog: it is \\u{1b}[2J so\n1 problem, 0 warnings, 0 unknown, 1 ok\n";
        assert_eq!(as_text(&findings, false), expected);
        assert!(as_text(&findings, true).contains("\x1b[31mproblem\x1b[0m"));
        assert_eq!(as_json(&findings)["summary"]["problem"], 1);
    }
}
