//! A one-shot migration: the pipelines of `gunyu sync`, until the target has caught up.
//!
//! ```text
//! check the configuration -> start, with a full sync -> snapshot restored -> ask the source where it is -> applied up to there
//!   -> every expiry as on the source -> stop, with the checkpoint on the target
//! ```
//!
//! A daemon tries for ever; this gives up: at once where a person is needed, and after `--patience` without anything that moves.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::Context;
use indicatif::{HumanBytes, HumanCount};
use serde_json::json;
use tempfile::TempDir;

use super::Args;
use crate::cmd::config::{Config, Level};
use crate::cmd::interrupt::interrupted;
use crate::cmd::progress::{Display, How, REDRAW_EVERY, statuses};
use crate::cmd::{Exit, Failure, print, settings, traces};
use crate::core::net::Endpoint;
use crate::core::pipeline::{Goal, Settings};
use crate::core::position::Offset;
use crate::core::supervisor::{Asked, Begin, Handle, Input, Refusal, Supervisor};
use crate::core::survey::{Source, Target};
use crate::http::model::InputStatus;

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let folder = own_folder().context("cannot make a temporary folder for the log")?;
    let config = configuration(args, &folder)?;
    let mut log = config.log.clone();
    if !args.verbose {
        log.level = Level::Warn;
    }
    traces::init(&log)?;
    for note in config.notes.iter().chain(&config.exposed()) {
        tracing::warn!("{note}");
    }
    let runtime = super::super::sync::runtime()?;
    let result = runtime.block_on(copy(args, &config));
    // Whatever still blocks (a disk, a name server) must not keep a process alive that is done.
    runtime.shutdown_timeout(Duration::from_millis(200));
    let result = keep_dead_letters(folder, result);
    tell(args, &result?, settings::one_database(&config).as_deref())
}

/// For this user alone: the whole data of the source will be in it.
fn own_folder() -> io::Result<TempDir> {
    tempfile::Builder::new()
        .prefix("gunyu-fullsync-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir()
}

/// As `gunyu sync` reads it, but for the folder: one that goes at the end, unless the operator names another.
fn configuration(args: &Args, folder: &TempDir) -> Result<Config, Failure> {
    let state = folder.path().to_string_lossy().into_owned();
    let environment = |name: &str| match name {
        "XDG_STATE_HOME" => Some(state.clone()),
        name => std::env::var(name).ok(),
    };
    let mut config = args.given().with_file(&args.server).check_with(&environment)?;
    config.refuse_unbuilt()?;
    config.read_tls()?;
    Ok(config)
}

/// What the copy came to.
struct Outcome {
    inputs: Vec<InputStatus>,
    seconds: f64,
}

async fn copy(args: &Args, config: &Config) -> Result<Outcome, Failure> {
    let began = Instant::now();
    let patience = Duration::from_secs(args.patience);
    let mut sources = settings::sources(config).map_err(|error| settings::wrong_filter(&error))?;
    sources.each(|one| {
        one.awaits_full_sync = true;
        if args.snapshot_only {
            one.goal = Goal::Snapshot;
        }
    });
    // Where they cannot be found now, the copy itself says why.
    if let Ok(pipelines) = sources.clone().find(patience).await {
        refuse_beside_another(&pipelines).await?;
    }
    let begin = Begin::FullSync {
        flush: args.flush()?,
        within: patience,
    };
    let mut supervisor = Supervisor::start(&settings::shared(config), sources, &begin).await?;
    let handle = supervisor.handle();
    let asked = supervisor.asked();
    let mut display = Display::new(How::on_stderr(args.quiet || args.json));
    let ended = tokio::select! {
        biased;
        () = interrupted() => Err(Failure::new(Exit::Interrupted, "interrupted").with_hint(Some(
            "the target holds a part of the copy; run the command again to make it whole".to_owned(),
        ))),
        ended = supervisor.run() => match ended {
            Ok(()) => by_itself(args, asked.clone()).await,
            Err(error) => Err(error.into()),
        },
        followed = follow(args, &handle, asked.clone(), &mut display) => followed,
    };
    display.finish();
    handle.stop();
    let drained = tokio::time::timeout(config.server.graceful_stop_timeout, supervisor.run()).await;
    // Where a person is needed at the first contact, the pipeline itself says it best, and with which exit code.
    if let Ok(Err(fatal)) = drained {
        return Err(fatal.into());
    }
    ended?;
    if drained.is_err() {
        let message = "the checkpoint could not be recorded in time";
        return Err(Failure::new(Exit::Failed, message).with_hint(Some(
            "the copy is there, but gunyu sync will not go on from it; run the command again".to_owned(),
        )));
    }
    Ok(Outcome {
        inputs: statuses(&handle),
        seconds: began.elapsed().as_secs_f64(),
    })
}

/// The pipelines have ended by themselves: rightly where the snapshot alone was wanted and has begun; otherwise because it could not begin.
async fn by_itself(args: &Args, asked: Asked) -> Result<(), Failure> {
    asked.all_begun().await.map_err(|refusal| not_begun(&refusal))?;
    match args.snapshot_only {
        true => Ok(()),
        false => Err(Failure::new(
            Exit::Failed,
            "it ended before the target had caught up",
        )),
    }
}

fn not_begun(refusal: &Refusal) -> Failure {
    Failure::new(Exit::Failed, refusal.to_string())
}

/// Until everything is caught up, or there is no hope.
async fn follow(args: &Args, handle: &Handle, asked: Asked, display: &mut Display) -> Result<(), Failure> {
    let patience = Duration::from_secs(args.patience);
    let mut asked = pin!(asked.all_begun());
    let mut has_begun = false;
    let mut goals: BTreeMap<String, Offset> = BTreeMap::new();
    let mut movement = Movement::new();
    let mut ticks = tokio::time::interval(REDRAW_EVERY);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            begun = &mut asked, if !has_begun => {
                begun.map_err(|refusal| not_begun(&refusal))?;
                has_begun = true;
                movement = Movement::new();
            }
        }
        let all = handle.inputs();
        let inputs: Vec<InputStatus> = all.iter().map(InputStatus::of).collect();
        display.show(&inputs);
        for (input, status) in all.iter().zip(&inputs) {
            if !goals.contains_key(input.name())
                && status.phase == "incremental"
                && let Some(source) = input.source_endpoint()
                && let Some(goal) = offset(&source).await
            {
                goals.insert(input.name().to_owned(), goal);
            }
        }
        let goal = |input: &Input| goals.get(input.name()).copied();
        let is_done = |(input, status): (&Input, &InputStatus)| is_done(status, goal(input));
        let all_done = all.iter().zip(&inputs).all(is_done);
        if all_done && !args.snapshot_only {
            return Ok(());
        }
        movement.see(&inputs);
        // Those that have come to their end (a snapshot alone was wanted) stand still, and well.
        let mut going = inputs;
        let mut ended = all.iter().map(Input::has_ended);
        going.retain(|_| !ended.next().unwrap_or(false));
        // Before they have begun, the orders have a time limit of their own.
        let still = if has_begun {
            movement.still()
        } else {
            Duration::ZERO
        };
        if let Some(failure) = given_up(&going, still, patience) {
            return Err(failure);
        }
    }
}

/// A daemon that copies the same would be ended by us, and we by it.
async fn refuse_beside_another(pipelines: &[Settings]) -> Result<(), Failure> {
    for pipeline in pipelines {
        let asked = async {
            Target::connect(&pipeline.target.endpoint)
                .await?
                .is_in_use(&pipeline.name)
                .await
        };
        // One that cannot be asked now is tried again by the copy itself, which then says what is wrong.
        if let Ok(Some(true)) = asked.await {
            let source = &pipeline.source.endpoint.address;
            let message = format!("a gunyu copies {source} to this target already");
            let hint = format!(
                "let that one do it: gunyu fullsync --inputs {source}; or stop it first: gunyu stop --wait"
            );
            return Err(Failure::new(Exit::Failed, message).with_hint(Some(hint)));
        }
    }
    Ok(())
}

/// Where the source is now. Nothing where it does not say: it is asked again.
async fn offset(source: &Endpoint) -> Option<Offset> {
    let info = async { Source::connect(source).await?.info().await };
    match info.await {
        Ok(info) => info.offset,
        Err(error) => {
            tracing::warn!(%error, "the source does not say how far it is");
            None
        }
    }
}

fn is_done(input: &InputStatus, goal: Option<Offset>) -> bool {
    let settled = input.full_sync.as_ref().is_some_and(|one| !one.expiries_pending);
    settled && goal.is_some_and(|goal| input.offset.applied >= goal.get())
}

/// Whether anything moves: the farthest that each input has come. What begins anew again and again does not get farther.
#[derive(Debug)]
pub(super) struct Movement {
    farthest: Vec<[u64; 5]>,
    at: Instant,
}

impl Movement {
    pub(super) fn new() -> Movement {
        Movement {
            farthest: Vec::new(),
            at: Instant::now(),
        }
    }

    /// Takes note of where the inputs are.
    pub(super) fn see(&mut self, inputs: &[InputStatus]) {
        self.farthest.resize(inputs.len(), [0; 5]);
        for (farthest, input) in self.farthest.iter_mut().zip(inputs) {
            for (mark, now) in farthest.iter_mut().zip(marks(input)) {
                if now > *mark {
                    (*mark, self.at) = (now, Instant::now());
                }
            }
        }
    }

    /// How long nothing has moved.
    pub(super) fn still(&self) -> Duration {
        self.at.elapsed()
    }
}

/// What moves while a copy gets on. Not what is received of the stream: the source sends pings whatever the target does.
fn marks(input: &InputStatus) -> [u64; 5] {
    let full_sync = input.full_sync.as_ref();
    let of = |field: fn(&crate::http::model::FullSync) -> u64| full_sync.map_or(0, field);
    [
        input.offset.applied,
        of(|one| one.keys),
        of(|one| one.bytes),
        of(|one| one.received_bytes),
        of(|one| one.swept),
    ]
}

/// Why there is no use in waiting any longer, if so.
///
/// | an input is | nothing has moved for the patience | |
/// | --- | --- | --- |
/// | stopped | – | give up: a person is needed |
/// | paused | – | give up: somebody must resume it |
/// | waiting for the source to make its snapshot, all of those that are not live | – | wait: the link says by itself when it breaks |
/// | anything else | yes | give up, with its last trouble |
/// | anything else | no | wait |
pub(super) fn given_up(inputs: &[InputStatus], still: Duration, patience: Duration) -> Option<Failure> {
    if let Some(input) = inputs
        .iter()
        .find(|input| input.state == "stop" || input.state == "pause")
    {
        let hint =
            "resume it: gunyu resume --inputs ADDR, on a gunyu sync with this configuration".to_owned();
        return Some(match input.state.as_str() {
            "pause" => Failure::new(Exit::Failed, format!("{} is paused", input.input)).with_hint(Some(hint)),
            _ => trouble(input)
                .unwrap_or_else(|| Failure::new(Exit::Failed, format!("{} has stopped", input.input))),
        });
    }
    let waits = |input: &InputStatus| {
        let received = input.full_sync.as_ref().map_or(0, |one| one.received_bytes);
        input.phase == "full_sync" && received == 0
    };
    let mut unfinished = inputs
        .iter()
        .filter(|input| input.phase != "incremental")
        .peekable();
    let source_is_busy = unfinished.peek().is_some() && unfinished.all(waits);
    if still < patience || source_is_busy {
        return None;
    }
    let seconds = patience.as_secs();
    let told = inputs
        .iter()
        .filter(|input| input.phase != "incremental")
        .find_map(trouble);
    Some(match told {
        Some(failure) => failure.with_context(&format!("nothing has moved for {seconds} s")),
        None => Failure::new(Exit::Failed, format!("nothing has moved for {seconds} s")).with_hint(Some(
            "look at both servers (INFO, SLOWLOG), or wait longer with --patience SECONDS".to_owned(),
        )),
    })
}

fn trouble(input: &InputStatus) -> Option<Failure> {
    let error = input.last_error.as_ref()?;
    let hint = (!error.hint.is_empty()).then(|| error.hint.clone());
    Some(Failure::new(Exit::Failed, format!("{}: {}", input.input, error.message)).with_hint(hint))
}

/// The temporary folder goes, but not with commands in it that nobody has seen.
fn keep_dead_letters(folder: TempDir, result: Result<Outcome, Failure>) -> Result<Outcome, Failure> {
    let letters = folder.path().join("gunyu").join("dead-letter");
    if !letters.is_dir() {
        return result;
    }
    let kept = folder.keep().join("gunyu").join("dead-letter");
    let note = format!("what the target refused is in {}", kept.display());
    match result {
        Ok(outcome) => {
            tracing::warn!("{note}");
            Ok(outcome)
        }
        Err(failure) => Err(failure.with_context(&note)),
    }
}

fn tell(args: &Args, outcome: &Outcome, only: Option<&str>) -> Result<(), Failure> {
    if args.json {
        let seconds = (outcome.seconds * 1000.0).round() / 1000.0;
        return print::json(&json!({ "ok": true, "seconds": seconds, "inputs": outcome.inputs }));
    }
    let mut text = String::new();
    for input in &outcome.inputs {
        let (keys, bytes) = input
            .full_sync
            .as_ref()
            .map_or((0, 0), |one| (one.keys, one.bytes));
        text.push_str(&format!(
            "copied {} to {}: {}, {} of snapshot, in {:.1} s",
            input.input,
            input.target,
            print::keys(keys),
            HumanBytes(bytes),
            outcome.seconds
        ));
        text.push_str(&match args.snapshot_only {
            true => "; the snapshot only\n".to_owned(),
            false => format!("; caught up at offset {}\n", input.offset.applied),
        });
        if let (0, Some(only)) = (keys, only) {
            text.push_str(&format!("  {only}\n"));
        }
        text.push_str(&stale(input));
        if input.dead_letters > 0 {
            text.push_str(&format!(
                "  {} commands were refused by the target\n",
                HumanCount(input.dead_letters)
            ));
        }
    }
    print::text(&text)
}

/// A line about the keys that only the target has had; nothing where there were none.
fn stale(input: &InputStatus) -> String {
    let (kept, deleted) = input
        .full_sync
        .as_ref()
        .map_or((0, 0), |one| (one.stale_kept, one.stale_deleted));
    let mut text = String::new();
    if kept > 0 {
        text.push_str(&format!(
            "  {} keys are on the target that the source does not have; --set output.replay.staleKeys=delete deletes such keys\n",
            HumanCount(kept)
        ));
    }
    if deleted > 0 {
        text.push_str(&format!(
            "  {} keys that the source does not have were deleted\n",
            HumanCount(deleted)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::model::{LastError, Offsets};

    #[test]
    fn nobody_but_the_owner_can_look_into_the_folder_of_a_one_shot_copy() {
        let folder = own_folder().unwrap();
        let mode = std::fs::metadata(folder.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    fn input(state: &str, phase: &str, message: Option<&str>) -> InputStatus {
        InputStatus {
            input: "a:1".into(),
            source_role: "master".into(),
            role: "leader".into(),
            transaction: true,
            state: state.into(),
            phase: phase.into(),
            target: "b:2".into(),
            offset: Offsets {
                source: 1,
                received: 1,
                applied: 1,
                checkpoint: 1,
            },
            lag_bytes: 0,
            lag_ms: 0,
            full_sync: None,
            last_error: message.map(|message| LastError {
                at: 0,
                message: message.into(),
                hint: "mend it".into(),
            }),
            dead_letters: 0,
            leader: "us".into(),
            epoch: 0,
            members: Vec::new(),
        }
    }

    #[test]
    fn every_row_of_the_table_of_patience() {
        let (short, long) = (Duration::from_secs(1), Duration::from_secs(31));
        let rows = [
            ("stop", "backoff", Some("gone"), short, Some("gone")),
            ("stop", "backoff", None, short, Some("stopped")),
            ("pause", "incremental", None, short, Some("paused")),
            ("run", "backoff", Some("gone"), short, None),
            ("run", "backoff", Some("gone"), long, Some("gone")),
            ("run", "full_sync", None, long, None),
            (
                "run",
                "connecting",
                None,
                long,
                Some("nothing has moved for 30 s"),
            ),
            (
                "run",
                "incremental",
                None,
                long,
                Some("nothing has moved for 30 s"),
            ),
        ];
        for (state, phase, message, still, expected) in rows {
            let given_up = given_up(&[input(state, phase, message)], still, Duration::from_secs(30));
            let told = given_up.map(|failure| failure.message);
            match expected {
                Some(part) => assert!(
                    told.as_ref().is_some_and(|told| told.contains(part)),
                    "{state} {phase}: {told:?}"
                ),
                None => assert_eq!(told, None, "{state} {phase}"),
            }
        }
    }
}
