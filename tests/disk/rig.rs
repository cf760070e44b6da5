//! Source, target, counters, and a gunyu whose calls to its files can be made to fail.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use super::support::workload::{Counters, Options, Seed};
use super::support::{Gunyu, SOON, Server, assert_equal, wait_until};

/// How long a busy machine may take to catch up.
pub const LONG: Duration = Duration::from_secs(180);

/// The source's backlog is large enough for whatever happens here.
pub const BACKLOG: &[&str] = &["--repl-backlog-size", "256mb"];

/// The library that stands before the files; made by the compiler with which cargo links.
static SHIM: LazyLock<PathBuf> = LazyLock::new(|| {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/disk/shim.c");
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("shim-{}.so", std::process::id()));
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
        .arg(&made)
        .args([source, "-ldl"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    made
});

/// What happens to calls: of which kind, on files with which pattern in their path; with which error, after how many milliseconds.
pub type Rule<'a> = (&'a str, &'a str, i32, u32);

pub struct Rig {
    pub seed: Seed,
    pub source: Server,
    pub target: Server,
    pub gunyu: Gunyu,
    pub counters: Counters,
    rules: PathBuf,
    _dir: tempfile::TempDir,
}

impl Rig {
    /// Live, with counters at 2,000 a second.
    pub fn start(set: &[&str]) -> Rig {
        let mut rig = Rig::with_rules(set, &[]);
        rig.gunyu.wait_ready(SOON);
        // The stream has begun, which it may only a second later: the log has a segment.
        rig.gunyu.wait_applied(&rig.source, SOON);
        rig.counters.wait_more(1_000);
        rig
    }

    /// Started while these rules hold.
    pub fn with_rules(set: &[&str], rules: &[Rule<'_>]) -> Rig {
        let (seed, dir) = (Seed::pick(), tempfile::tempdir().unwrap());
        let (source, target) = (Server::with(BACKLOG), Server::start());
        let script = "for i = 1, 2000 do redis.call('SET', 'ballast:' .. i, string.rep('x', 100)) end";
        let () = source.run(&["EVAL", script, "0"]);
        let counters = counters(&source, &seed);
        counters.wait_more(1_000);
        let file = dir.path().join("rules");
        write_rules(&file, rules);
        let args = args(&source, &target, set);
        let env = [
            ("LD_PRELOAD", SHIM.to_str().unwrap()),
            ("GUNYU_TEST_DISK", file.to_str().unwrap()),
        ];
        Rig {
            gunyu: Gunyu::with_args(args, &env),
            seed,
            source,
            target,
            counters,
            rules: file,
            _dir: dir,
        }
    }

    /// Its arguments, with these settings.
    pub fn args(&self, set: &[&str]) -> Vec<String> {
        args(&self.source, &self.target, set)
    }

    /// From now on; none: the disk is well again.
    pub fn rule(&self, rules: &[Rule<'_>]) {
        write_rules(&self.rules, rules);
    }

    fn hits(&self) -> u64 {
        let hits = self.rules.with_extension("hits");
        fs::metadata(hits).map_or(0, |file| file.len())
    }

    /// Waits until a rule has hit a call.
    #[track_caller]
    pub fn wait_hit(&self) {
        let before = self.hits();
        wait_until(LONG, "a call is hit", || self.hits() > before);
    }

    /// Waits until status tells of a trouble with this in its message, and a hint where one is expected.
    #[track_caller]
    pub fn wait_trouble(&mut self, message: &str, hint: &str) {
        self.gunyu
            .wait_status(LONG, &format!("status tells: {message}"), |status| {
                let text = |field: &str| {
                    let error = &status[0]["LastError"];
                    error[field].as_str().unwrap_or_default().to_owned()
                };
                text("Message").contains(message) && text("Hint").contains(hint)
            });
    }

    pub fn full_syncs(&self) -> u64 {
        self.source.info("stats")["sync_full"].parse().unwrap()
    }

    /// The files of gunyu whose names end so, in order; those of the catalog are below its folder.
    pub fn files(&self, end: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        collect(&self.gunyu.state_dir(), &mut found);
        found.retain(|path| path.to_string_lossy().ends_with(end));
        found.sort();
        found
    }

    /// Waits until it is live, or has ended by itself; says whether it has ended.
    #[track_caller]
    pub fn ends_or_is_ready(&mut self) -> bool {
        let mut ended = false;
        wait_until(LONG, "it ends or is live", || {
            ended = self.gunyu.has_ended();
            let status = self.gunyu.request("GET", "/syncer/status");
            let live = status
                .is_ok_and(|response| response.status == 200 && response.json()[0]["Phase"] == "incremental");
            ended || live
        });
        ended
    }

    /// The source begins again, empty, as another history; so do the counters.
    pub fn begin_again(&mut self) {
        let nobody = Options {
            threads: 0,
            ..Options::default()
        };
        let nobody = Counters::with(&self.source.url(), &self.seed, &nobody);
        std::mem::replace(&mut self.counters, nobody).stop();
        self.source.restart();
        let other = Seed::of(self.seed.rng(0xA9A).u64(..));
        self.counters = counters(&self.source, &other);
        self.counters.wait_more(1_000);
    }

    /// It has healed: everything is there, exactly.
    #[track_caller]
    pub fn finish(mut self) -> Gunyu {
        self.counters.wait_more(500);
        let expected = self.counters.stop();
        self.gunyu.wait_applied(&self.source, LONG);
        expected.assert_on(&self.source);
        expected.assert_on(&self.target);
        assert_equal(&self.source, &self.target);
        let traces = self.gunyu.traces();
        assert!(!traces.contains("panicked"), "{traces}");
        self.gunyu
    }
}

fn args(source: &Server, target: &Server, set: &[&str]) -> Vec<String> {
    let mut args = vec![
        "sync".to_owned(),
        format!("--source={}", source.url()),
        format!("--target={}", target.url()),
    ];
    args.extend(set.iter().map(|pair| format!("--set={pair}")));
    args
}

fn counters(source: &Server, seed: &Seed) -> Counters {
    let options = Options {
        per_second: Some(2_000),
        ..Options::default()
    };
    Counters::with(&source.url(), seed, &options)
}

fn write_rules(file: &Path, rules: &[Rule<'_>]) {
    let lines = rules
        .iter()
        .map(|(call, pattern, error, delay)| format!("{call} {pattern} {error} {delay}\n"));
    let new = file.with_extension("new");
    fs::write(&new, lines.collect::<String>()).unwrap();
    fs::rename(new, file).unwrap();
}

pub fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            folder if folder.is_dir() => collect(&folder, found),
            file => found.push(file),
        }
    }
}
