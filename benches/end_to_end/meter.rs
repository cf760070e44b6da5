//! What gunyu spends.

use crate::results::median;
use crate::side::received;
use crate::support::process::Process;
use crate::support::server::Server;

/// What a stretch of work has cost.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Processor time, user and system.
    pub cpu_s: f64,
    /// The most resident memory since the start.
    pub memory_bytes: u64,
    pub disk_bytes: u64,
    /// What the target's servers received.
    pub sent_bytes: u64,
    /// What the sources wrote to their streams.
    pub stream_bytes: u64,
}

impl Cost {
    /// Each figure's median by itself.
    pub fn median(costs: &[Cost]) -> Cost {
        let whole = |of: fn(&Cost) -> u64| median(costs.iter().map(|cost| of(cost) as f64)) as u64;
        Cost {
            cpu_s: median(costs.iter().map(|cost| cost.cpu_s)),
            memory_bytes: whole(|cost| cost.memory_bytes),
            disk_bytes: whole(|cost| cost.disk_bytes),
            sent_bytes: whole(|cost| cost.sent_bytes),
            stream_bytes: whole(|cost| cost.stream_bytes),
        }
    }

    /// Nothing where there was no stream worth the name.
    pub fn sent_ratio(&self) -> Option<f64> {
        (self.stream_bytes > 1 << 18).then(|| self.sent_bytes as f64 / self.stream_bytes as f64)
    }

    /// What sources and targets have sent and received since their start, before there is a process.
    pub fn of_servers(sources: &[&Server], targets: &[&Server]) -> Cost {
        Cost {
            sent_bytes: received(targets),
            stream_bytes: sources.iter().map(|server| server.offset()).sum(),
            ..Cost::default()
        }
    }

    /// What this process has spent since its start, and what sources and targets have sent and received since theirs.
    pub fn so_far(process: &Process, sources: &[&Server], targets: &[&Server]) -> Cost {
        Cost {
            cpu_s: process.cpu().as_secs_f64(),
            memory_bytes: process.rss_bytes_max(),
            disk_bytes: written(process.pid()),
            ..Cost::of_servers(sources, targets)
        }
    }

    /// What was spent since then. Memory is the most since the start all the same.
    pub fn since(self, before: Cost) -> Cost {
        Cost {
            cpu_s: self.cpu_s - before.cpu_s,
            memory_bytes: self.memory_bytes,
            disk_bytes: self.disk_bytes - before.disk_bytes,
            sent_bytes: self.sent_bytes - before.sent_bytes,
            stream_bytes: self.stream_bytes - before.stream_bytes,
        }
    }
}

/// `write_bytes` of `/proc/PID/io`: pages that are to go to the disk because of the process.
fn written(pid: i32) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.unwrap().parse().unwrap()
}
