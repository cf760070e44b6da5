//! What the process takes and how far it is behind, every second.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::support::http;

const EVERY: Duration = Duration::from_secs(1);

/// A target so little behind has caught up: what is written within some tens of milliseconds.
const CAUGHT_UP_BYTES: u64 = 256 << 10;
const CAUGHT_UP_MS: u64 = 1_000;

/// A frozen process answers later, or not at all.
const PATIENCE: Duration = Duration::from_secs(3);

/// One second of one life.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// Seconds since the start of the run.
    pub at: f64,
    /// Which life of the process it is.
    pub life: u64,
    pub rss: u64,
    /// What is its own alone: no pages of files.
    pub rss_anon: u64,
    pub threads: u64,
    pub open_files: u64,
    /// What the files in its folder take.
    pub disk: u64,
    pub told: Option<Told>,
}

/// What it says of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Told {
    pub tasks: u64,
    /// What its logs take.
    pub logs: u64,
    /// Of the input that is furthest behind.
    pub lag_bytes: u64,
    pub lag_ms: u64,
    /// All inputs are live and have caught up.
    pub caught_up: bool,
}

/// Measures in a thread until it is dropped.
#[derive(Debug)]
pub struct Sampler {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    start: Instant,
    http: SocketAddr,
    folder: PathBuf,
    /// 0 while there is none.
    pid: AtomicI32,
    life: AtomicU64,
    stop: AtomicBool,
    samples: Mutex<Vec<Sample>>,
}

impl Sampler {
    /// Of a process that is to come.
    pub fn start(start: Instant, http: SocketAddr, folder: &Path) -> Sampler {
        let shared = Arc::new(Shared {
            start,
            http,
            folder: folder.to_owned(),
            pid: AtomicI32::new(0),
            life: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            samples: Mutex::default(),
        });
        let of_thread = Arc::clone(&shared);
        Sampler {
            thread: Some(std::thread::spawn(move || of_thread.measure())),
            shared,
        }
    }

    /// A life has begun.
    pub fn born(&self, pid: i32) {
        self.shared.life.fetch_add(1, Ordering::SeqCst);
        self.shared.pid.store(pid, Ordering::SeqCst);
    }

    /// It has ended, or is about to.
    pub fn dies(&self) {
        self.shared.pid.store(0, Ordering::SeqCst);
    }

    /// So far.
    pub fn samples(&self) -> Vec<Sample> {
        self.shared.samples.lock().unwrap().clone()
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Shared {
    fn measure(&self) {
        let mut due = Instant::now();
        while !self.stop.load(Ordering::SeqCst) {
            if let Some(sample) = self.sample() {
                self.samples.lock().unwrap().push(sample);
            }
            // A beat that was missed is left out.
            due = Instant::max(due + EVERY, Instant::now());
            std::thread::sleep(due - Instant::now());
        }
    }

    fn sample(&self) -> Option<Sample> {
        let (life, pid) = (self.life.load(Ordering::SeqCst), self.pid.load(Ordering::SeqCst));
        if pid == 0 {
            return None;
        }
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let mut sample = Sample {
            at: self.start.elapsed().as_secs_f64(),
            life,
            rss: field(&status, "VmRSS:")? * 1024,
            rss_anon: field(&status, "RssAnon:")? * 1024,
            threads: field(&status, "Threads:")?,
            open_files: std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64,
            disk: taken(&self.folder),
            told: None,
        };
        sample.told = self.ask();
        // Whoever answered may be of the next life.
        (self.life.load(Ordering::SeqCst) == life).then_some(sample)
    }

    fn ask(&self) -> Option<Told> {
        let get = |path: &str| http::send_within(self.http, "GET", path, &[], PATIENCE).ok();
        let status: Value = serde_json::from_slice(&get("/syncer/status")?.body).ok()?;
        let metrics = get("/prometheus")?.text();
        told(&status, &metrics)
    }
}

/// What the files there take on disk: of a file that is longer than what was written into it, what was written.
fn taken(path: &Path) -> u64 {
    // Files come and go meanwhile.
    let Ok(meta) = std::fs::symlink_metadata(path) else {
        return 0;
    };
    if !meta.is_dir() {
        return meta.blocks() * 512;
    }
    let entries = std::fs::read_dir(path).into_iter().flatten();
    entries
        .filter_map(Result::ok)
        .map(|entry| taken(&entry.path()))
        .sum()
}

/// A field of `/proc/PID/status`.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn told(status: &Value, metrics: &str) -> Option<Told> {
    let inputs = status.as_array()?;
    let metric = |name: &str| -> Option<u64> {
        let mut lines = metrics.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        value.parse().ok()
    };
    let most = |field: &str| inputs.iter().filter_map(|input| input[field].as_u64()).max();
    let (lag_bytes, lag_ms) = (most("LagBytes")?, most("LagMs")?);
    let live = inputs.iter().all(|input| input["Phase"] == "incremental");
    Some(Told {
        tasks: ["pipelines", "api"]
            .into_iter()
            .map(|runtime| metric(&format!("gunyu_tasks{{runtime=\"{runtime}\"}}")))
            .sum::<Option<u64>>()?,
        logs: metric("redisGunYu_storage_size")?,
        lag_bytes,
        lag_ms,
        caught_up: live && lag_bytes <= CAUGHT_UP_BYTES && lag_ms <= CAUGHT_UP_MS,
    })
}

#[cfg(test)]
mod tests {
    use super::{Told, field, told};

    const METRICS: &str = "# TYPE gunyu_tasks gauge\ngunyu_tasks{runtime=\"api\"} 2\ngunyu_tasks{runtime=\"pipelines\"} 39\nredisGunYu_storage_size 1234\n";

    #[test]
    fn fields_of_a_process_are_found_by_their_whole_name() {
        let status = "Name:\tgunyu\nVmRSS:\t  61234 kB\nRssAnon:\t 50000 kB\nThreads:\t5\n";
        let found = ["VmRSS:", "RssAnon:", "Threads:", "Rss:"].map(|name| field(status, name));
        assert_eq!(found, [Some(61_234), Some(50_000), Some(5), None]);
    }

    #[test]
    fn the_input_that_is_furthest_behind_counts() {
        let status = serde_json::json!([
            {"Phase": "incremental", "LagBytes": 7, "LagMs": 30},
            {"Phase": "incremental", "LagBytes": 900, "LagMs": 2},
        ]);
        let wanted = Told {
            tasks: 41,
            logs: 1234,
            lag_bytes: 900,
            lag_ms: 30,
            caught_up: true,
        };
        assert_eq!(told(&status, METRICS), Some(wanted));
    }

    #[test]
    fn one_input_that_is_behind_or_not_live_is_enough() {
        for input in [
            serde_json::json!({"Phase": "backoff", "LagBytes": 0, "LagMs": 0}),
            serde_json::json!({"Phase": "incremental", "LagBytes": 300_000, "LagMs": 0}),
            serde_json::json!({"Phase": "incremental", "LagBytes": 0, "LagMs": 1_001}),
        ] {
            let live = serde_json::json!({"Phase": "incremental", "LagBytes": 0, "LagMs": 0});
            let status = serde_json::json!([live, input]);
            assert!(!told(&status, METRICS).unwrap().caught_up, "{status}");
        }
    }
}
