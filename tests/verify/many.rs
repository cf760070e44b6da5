//! Differences without number.

use super::support::gunyu::PROGRAM;
use super::support::process::Process;
use super::support::server::Server;
use super::{PATIENCE, tell};

/// So many keys the target lacks.
const MISSING: u64 = 60_000;

/// Less than the names of all these keys take where they are kept once for each of what is noted of them, with what the program takes for a few.
const RSS_BYTES_MAX: u64 = 230 << 20;

/// A third of the names. Nothing of them is kept twice in the second half.
const GROWTH_BYTES_MAX: u64 = 20 << 20;

#[test]
fn differences_without_number_are_told_and_memory_stays_small_and_does_not_grow() {
    let (source, target) = (Server::start(), Server::start());
    let fill = "for n = tonumber(ARGV[1]), tonumber(ARGV[1]) + 9999 do \
        redis.call('SET', string.rep('long', 240) .. ':' .. n, n) end";
    for first in (1..=MISSING).step_by(10_000) {
        tell(&source, 0, &[&["EVAL", fill, "0", &first.to_string()]]);
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("differing.jsonl");
    let mut command = std::process::Command::new(PROGRAM);
    command
        .args([
            "verify",
            "--source",
            &source.url(),
            "--target",
            &target.url(),
            "--json",
        ])
        .arg("--differences")
        .arg(&file)
        .env("TMPDIR", folder.path());
    let (out, err) = (folder.path().join("out"), folder.path().join("err"));
    let mut process = Process::start(command, &out, &err);
    let mut most = Vec::new();
    let ended = super::support::wait_for(PATIENCE, "it has compared", || {
        // Asked while it runs: it is gone afterwards.
        if let Some(ended) = process.ended() {
            return Ok(ended);
        }
        most.extend(Some(rss_max(process.pid())).filter(|bytes| *bytes > 0));
        Err(format!("{:?} bytes", most.last()))
    });
    let said = std::fs::read_to_string(&out).unwrap() + &std::fs::read_to_string(&err).unwrap();
    assert_eq!(ended.code(), Some(4), "{said}");
    let json: serde_json::Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!(json["differences"]["missing"], MISSING);
    let lines = std::fs::read_to_string(&file).unwrap();
    assert_eq!(lines.lines().count() as u64, MISSING);
    let (half, end) = (most[most.len() / 2], most[most.len() - 1]);
    assert!(end < RSS_BYTES_MAX, "{end} bytes");
    // The walk ends early: from then on all that was noted is looked at again, and again, and told.
    assert!(
        end < half + GROWTH_BYTES_MAX,
        "{half} bytes at half time, {end} at the end"
    );
    assert!(
        std::fs::read_dir(folder.path()).unwrap().count() == 3,
        "its own folder is gone"
    );
}

/// The most memory that a process has had, or nothing where it has ended.
fn rss_max(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
