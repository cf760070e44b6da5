//! A full sync by a running daemon.

use std::thread;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use super::Args;
use crate::cmd::calls::{OF_LEADERS, listed, query};
use crate::cmd::client::Daemon;
use crate::cmd::progress::{Display, How};
use crate::cmd::{Exit, Failure, print};
use crate::http::model::{FullSyncsBegun, InputStatus, LEADER};

/// The daemon answers when every full sync has begun, or certainly will not.
const CALL_LIMIT: Duration = Duration::from_secs(120);

/// Between two questions how far it is.
const ASK_EVERY: Duration = Duration::from_millis(250);

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let Some(inputs) = &args.inputs else {
        return Err(Failure::new(
            Exit::Usage,
            "neither --inputs for a daemon, nor --source and --target to copy here",
        )
        .with_hint(Some(
            "gunyu fullsync --inputs all, or gunyu fullsync --source URL --target URL".to_owned(),
        )));
    };
    let mut pairs = vec![("inputs", inputs.as_str())];
    if args.flushdb {
        pairs.push(("flushdb", "yes"));
    }
    if let Some(command) = &args.flush_command {
        pairs.push(("flushCommand", command));
    }
    let daemon = Daemon::find(&args.server)?;
    let answer = daemon.call("POST", &query("/syncer/fullsync", &pairs), CALL_LIMIT)?;
    if args.wait {
        let begun: FullSyncsBegun = serde_json::from_value(answer.clone())
            .context("the daemon's answer is not of a kind this gunyu knows")?;
        let names: Vec<String> = begun.started.into_iter().chain(begun.joined).collect();
        wait(args, &daemon, &names)?;
    }
    tell(args, &answer)
}

fn tell(args: &Args, answer: &Value) -> Result<(), Failure> {
    if args.json {
        return print::json(answer);
    }
    let verb = if args.wait { "done" } else { "begun" };
    let mut text = String::new();
    for (field, what) in [("started", verb), ("joined", "was under way already")] {
        let names = listed(&answer[field]);
        if !names.is_empty() {
            text.push_str(&format!("full sync {what}: {names}\n"));
        }
    }
    print::text(&text)
}

/// Until every one of them is live, or cannot become so without a person, or nothing has moved for too long.
fn wait(args: &Args, daemon: &Daemon, names: &[String]) -> Result<(), Failure> {
    let mut display = Display::new(How::on_stderr(args.quiet || args.json));
    let mut movement = super::local::Movement::new();
    let result = loop {
        let value = daemon.get(OF_LEADERS)?;
        let mut inputs: Vec<InputStatus> =
            serde_json::from_value(value).context("the daemon's status is not of a kind this gunyu knows")?;
        inputs.retain(|input| names.contains(&input.input));
        display.show(&inputs);
        // One that is not there has ended, and will not come to its end.
        if let Some(gone) = names
            .iter()
            .find(|name| inputs.iter().all(|one| one.input != **name))
        {
            break Err(Failure::new(
                Exit::Failed,
                format!("{gone} is not among the daemon's inputs any more"),
            ));
        }
        if inputs.iter().all(is_done) {
            break Ok(());
        }
        movement.see(&inputs);
        let patience = Duration::from_secs(args.patience);
        if let Some(failure) = super::local::given_up(&inputs, movement.still(), patience) {
            break Err(failure.with_context("the daemon goes on trying"));
        }
        thread::sleep(ASK_EVERY);
    };
    display.finish();
    result
}

/// Whoever leads it has set the phase to `full_sync` before the daemon answered: `incremental` is behind it.
fn is_done(input: &InputStatus) -> bool {
    let complete = input.full_sync.as_ref().is_some_and(|one| one.percent >= 100.0);
    input.role == LEADER && input.phase == "incremental" && complete
}
