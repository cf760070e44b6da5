//! The commands that are one call to a running daemon: `pause`, `resume`, `restart`, `stop`, `gc`, `config`, `handover`.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::{Daemon, ServerArgs};
use super::{ConfigArgs, Exit, Failure, print, settings};
use crate::http::model::LEADER;

/// How long `--wait` waits for a daemon to end.
const END_LIMIT: Duration = Duration::from_secs(60);

/// A member drains before it hands over.
const HANDOVER_LIMIT: Duration = Duration::from_secs(30);

/// How far the inputs are, from whoever leads each.
pub const OF_LEADERS: &str = "/syncer/status?from=leaders";

/// Every target is asked for every input that has gone.
const GC_LIMIT: Duration = Duration::from_secs(300);

/// Which inputs are meant.
#[derive(Debug, Clone, clap::Args)]
pub struct InputsArgs {
    /// `all`, or source addresses (host:port) between commas, as `gunyu status` shows them
    #[arg(long, value_name = "all|ADDR,…")]
    pub inputs: String,
}

/// What every call has.
#[derive(Debug, Clone, clap::Args)]
pub struct CallArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Print the daemon's answer as JSON
    #[arg(long)]
    json: bool,
}

/// A call that is about some inputs.
#[derive(Debug, Clone, clap::Args)]
struct OnInputs {
    #[command(flatten)]
    inputs: InputsArgs,
    #[command(flatten)]
    call: CallArgs,
}

/// Stop replaying some inputs; what their sources send is still received and kept
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
A paused input goes on receiving into its log while there is room, and stays paused over restarts of the daemon. \
Keys whose time runs out during the pause expire on the target, even where the source has given them more time meanwhile: \
after a long pause, gunyu fullsync brings them back.

Examples:
  gunyu pause --inputs all
  gunyu pause --inputs 10.0.0.1:6379,10.0.0.2:6379

Exit codes: 0 paused, 3 no daemon answers, 5 the daemon refuses.")]
pub struct Pause {
    #[command(flatten)]
    on: OnInputs,
}

/// Go on replaying paused inputs
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Resuming what is not paused succeeds and changes nothing.

Examples:
  gunyu resume --inputs all
  gunyu resume --inputs 10.0.0.1:6379

Exit codes: 0 resumed, 3 no daemon answers, 5 the daemon refuses.")]
pub struct Resume {
    #[command(flatten)]
    on: OnInputs,
}

/// Let every input begin anew from its checkpoint
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Connections to source and target are opened again; nothing is lost or applied twice. The process stays.

Examples:
  gunyu restart
  gunyu restart --server http://10.0.0.5:18001

Exit codes: 0 restarted, 3 no daemon answers, 5 the daemon refuses.")]
pub struct Restart {
    #[command(flatten)]
    call: CallArgs,
}

/// Stop a running daemon
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
The daemon drains the batch under way, records its checkpoint and ends with 0.

Examples:
  gunyu stop
  gunyu stop --wait && echo stopped

Exit codes: 0 stopping (with --wait: stopped), 1 still running after a minute, 3 no daemon answers, 5 it refuses.")]
pub struct Stop {
    #[command(flatten)]
    call: CallArgs,
    /// Return when the daemon has ended
    #[arg(long)]
    wait: bool,
}

/// Remove logs and checkpoints of inputs that are not configured any more
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Only what this daemon's own folder knows is removed, and a checkpoint only when nobody has written it for \
channel.staleCheckpointDuration.

Examples:
  gunyu gc
  gunyu gc --json | jq .freed_bytes

Exit codes: 0 done, 3 no daemon answers, 5 the daemon refuses.")]
pub struct Gc {
    #[command(flatten)]
    call: CallArgs,
}

/// Show the effective configuration, without secrets
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  gunyu config
  gunyu config --json | jq .output.replay
  gunyu config --local --config gunyu.yaml

The last checks a file and shows every default, without a daemon.

Exit codes: 0 shown, 2 the file is wrong, 3 no daemon answers, 5 the daemon refuses.")]
pub struct Config {
    #[command(flatten)]
    call: CallArgs,
    /// Show what --config (or --source and --target) means, without a daemon
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    given: GivenArgs,
}

/// The part of a configuration that [`ServerArgs`] has not.
#[derive(Debug, Clone, clap::Args)]
pub struct GivenArgs {
    /// Source, as gunyu sync has it
    #[arg(long, value_name = "URL", requires = "local")]
    pub source: Option<String>,
    /// Target, as gunyu sync has it
    #[arg(long, value_name = "URL", requires = "local")]
    pub target: Option<String>,
    /// Set any key of the configuration by its dotted path; may be repeated
    #[arg(long, value_name = "KEY=VALUE", requires = "local")]
    pub set: Vec<String>,
}

impl GivenArgs {
    /// The whole of it, with the file that `server` names.
    #[must_use]
    pub fn with_file(&self, server: &ServerArgs) -> ConfigArgs {
        ConfigArgs {
            config: server.config.clone(),
            source: self.source.clone(),
            target: self.target.clone(),
            set: self.set.clone(),
        }
    }
}

/// Hand leadership of some inputs over to another node
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Needs several gunyu that stand in for each other; one that runs alone refuses and says what to do instead.

Examples:
  gunyu handover --inputs all
  gunyu handover --inputs 10.0.0.1:6379 --wait
  gunyu handover --inputs all --to 10.0.0.6:18001 --config gunyu.yaml

With --config any member that answers is asked.

Exit codes: 0 handed over, 3 no daemon answers, 5 the daemon refuses.")]
pub struct Handover {
    #[command(flatten)]
    inputs: InputsArgs,
    #[command(flatten)]
    call: CallArgs,
    /// The member that is to lead, as gunyu status shows it [default: the one whose log reaches furthest]
    #[arg(long, value_name = "MEMBER")]
    to: Option<String>,
    /// Return when another node leads
    #[arg(long)]
    wait: bool,
}

impl Pause {
    /// Pauses.
    ///
    /// # Errors
    /// As [`Daemon::post`].
    pub fn run(&self) -> Result<(), Failure> {
        self.on.call("/syncer/pause", "paused")
    }
}

impl Resume {
    /// Resumes.
    ///
    /// # Errors
    /// As [`Daemon::post`].
    pub fn run(&self) -> Result<(), Failure> {
        self.on.call("/syncer/resume", "resumed")
    }
}

impl Restart {
    /// Restarts.
    ///
    /// # Errors
    /// As [`Daemon::post`].
    pub fn run(&self) -> Result<(), Failure> {
        let answer = Daemon::find(&self.call.server)?.post("/syncer/restart")?;
        self.call.show(&answer, || {
            "restarted: every input goes on from its checkpoint".to_owned()
        })
    }
}

impl Stop {
    /// Stops.
    ///
    /// # Errors
    /// As [`Daemon::delete`]; 1 when it goes on for too long.
    pub fn run(&self) -> Result<(), Failure> {
        let daemon = Daemon::find(&self.call.server)?;
        let answer = daemon.delete("/")?;
        if self.wait {
            wait_for_the_end(&daemon)?;
        }
        let done = if self.wait { "stopped" } else { "stopping" };
        self.call.show(&answer, || done.to_owned())
    }
}

/// Asks again and again: nobody tells when a process has ended that is not ours.
fn wait_for_the_end(daemon: &Daemon) -> Result<(), Failure> {
    let began = Instant::now();
    loop {
        match daemon.get("/debug/health") {
            Err(failure) if failure.exit == Exit::Unreachable => return Ok(()),
            _ if began.elapsed() > END_LIMIT => {
                return Err(
                    Failure::new(Exit::Failed, "the daemon still runs after a minute").with_hint(Some(
                        "server.gracefullStopTimeout of its configuration says how long it may drain"
                            .to_owned(),
                    )),
                );
            }
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

impl Gc {
    /// Collects.
    ///
    /// # Errors
    /// As [`Daemon::post`].
    pub fn run(&self) -> Result<(), Failure> {
        let answer = Daemon::find(&self.call.server)?.call("POST", "/storage/gc", GC_LIMIT)?;
        self.call.show(&answer, || freed(&answer))
    }
}

fn freed(answer: &Value) -> String {
    let count = |field: &str| answer[field].as_array().map_or(0, Vec::len);
    let bytes = indicatif::HumanBytes(answer["freed_bytes"].as_u64().unwrap_or(0));
    let mut text = format!(
        "freed {bytes}: {} logs, {} checkpoints",
        count("logs"),
        count("checkpoints")
    );
    for kept in answer["kept"].as_array().into_iter().flatten() {
        let (target, key) = (kept["target"].as_str(), kept["key"].as_str());
        let (target, key) = (target.unwrap_or_default(), key.unwrap_or_default());
        text.push_str(&format!("\nkept for now: {key} on {target}"));
    }
    text
}

impl Config {
    /// Shows the configuration.
    ///
    /// # Errors
    /// As [`Daemon::get`]; 2 where a file is wrong.
    pub fn run(&self) -> Result<(), Failure> {
        if self.local {
            let mut config = self.given.with_file(&self.call.server).check()?;
            config.refuse_unbuilt()?;
            config.read_tls()?;
            // What the filter's rules say shows only when they are compiled.
            settings::check_filter(&config).map_err(|error| settings::wrong_filter(&error))?;
            return print::text(&match self.call.json {
                true => format!("{:#}\n", config.to_json()),
                false => config.to_yaml(),
            });
        }
        let daemon = Daemon::find(&self.call.server)?;
        if self.call.json {
            return print::json(&daemon.get("/syncer/config?format=json")?);
        }
        let mut yaml = Vec::new();
        daemon.download("/syncer/config", &mut yaml)?;
        print::text(&String::from_utf8_lossy(&yaml))
    }
}

impl Handover {
    /// Hands over.
    ///
    /// # Errors
    /// As [`Daemon::post`].
    pub fn run(&self) -> Result<(), Failure> {
        let mut given = vec![("inputs", self.inputs.inputs.as_str())];
        given.extend(self.to.as_deref().map(|to| ("to", to)));
        let path = query("/syncer/handover", &given);
        let daemon = Daemon::find_member(&self.call.server)?;
        let answer = daemon.call("POST", &path, HANDOVER_LIMIT)?;
        if self.wait {
            wait_for_leaders(&daemon, &answer["leaders"])?;
        }
        self.call.show(&answer, || {
            let leaders = answer["leaders"].as_object().into_iter().flatten();
            let each: Vec<String> = leaders
                .map(|(input, leader)| format!("{input} to {}", leader.as_str().unwrap_or_default()))
                .collect();
            format!("handed over: {}", each.join(", "))
        })
    }
}

/// Until each input is led by the member that got it, by its own word.
fn wait_for_leaders(daemon: &Daemon, leaders: &Value) -> Result<(), Failure> {
    let began = Instant::now();
    loop {
        let status = daemon.get(OF_LEADERS)?;
        let is_led = |(input, leader): (&String, &Value)| {
            let mut all = status.as_array().into_iter().flatten();
            all.any(|one| one["Input"] == **input && one["Leader"] == *leader && one["Role"] == LEADER)
        };
        if leaders.as_object().into_iter().flatten().all(is_led) {
            return Ok(());
        }
        if began.elapsed() > END_LIMIT {
            return Err(Failure::new(Exit::Failed, "no other node leads after a minute"));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

impl OnInputs {
    fn call(&self, path: &str, done: &str) -> Result<(), Failure> {
        let path = query(path, &[("inputs", &self.inputs.inputs)]);
        let answer = Daemon::find(&self.call.server)?.post(&path)?;
        self.call
            .show(&answer, || format!("{done}: {}", listed(&answer["inputs"])))
    }
}

impl CallArgs {
    fn show(&self, answer: &Value, text: impl FnOnce() -> String) -> Result<(), Failure> {
        match self.json {
            true => print::json(answer),
            false => print::text(&format!("{}\n", text())),
        }
    }
}

/// A path with a query, percent-encoded.
#[must_use]
pub fn query(path: &str, pairs: &[(&str, &str)]) -> String {
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish();
    format!("{path}?{query}")
}

/// The texts of an array, between commas.
#[must_use]
pub fn listed(texts: &Value) -> String {
    let texts: Vec<&str> = texts
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    texts.join(", ")
}
