//! `gunyu status --local`: what stands on the servers themselves, without a daemon.
//!
//! Reads the checkpoint on each target and the offset of its source, and says what a `gunyu sync` with this configuration would do. Changes nothing.
//!
//! Of a cluster's shard the master is asked, whichever node is followed: only it knows of all that was written.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use indicatif::{HumanBytes, HumanCount, HumanDuration};
use serde::Serialize;

use super::config::{Config, SyncFrom};
use super::{Exit, Failure, print, settings, sync};
use crate::core::pipeline::Settings;
use crate::core::survey::{self, Recorded, Source, Target};

/// One input, as the two servers tell it.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
struct Found {
    /// The source node that was asked, `host:port`.
    input: String,
    /// The target, `host:port`.
    target: String,
    /// The deployment's name, which its keys on the target bear.
    deployment: String,
    /// What a `gunyu sync` with this configuration would do.
    next: Next,
    /// The source's own offset.
    source_offset: Option<u64>,
    /// The checkpoint.
    checkpoint: Option<Checkpoint>,
    /// A full sync that was interrupted.
    full_sync: Option<Interrupted>,
    /// Bytes of stream between the two, where they belong to one history.
    lag_bytes: Option<u64>,
    /// Whether a gunyu is connected to the target for this deployment; null where the target does not say.
    in_use: Option<bool>,
    /// What could not be asked.
    error: Option<Trouble>,
}

#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
struct Checkpoint {
    repl_id: String,
    offset: u64,
    db: u32,
    /// Unix time in milliseconds.
    at: u64,
}

#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
struct Interrupted {
    position: String,
    keys: u64,
}

#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
struct Trouble {
    message: String,
    hint: String,
}

/// What comes next, by what stands on the target.
///
/// | checkpoint | in the source's history | next |
/// | --- | --- | --- |
/// | there | yes | go on |
/// | there | no | full sync |
/// | none, a full sync was interrupted | – | resume the full sync |
/// | none | – | full sync |
#[derive(Debug, Clone, Copy, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Next {
    /// A server could not be asked.
    Unknown,
    GoOn,
    ResumeFullSync,
    FullSync,
}

/// Sentinels, or a cluster, say within this time where the servers are.
const FIND_LIMIT: Duration = Duration::from_secs(10);

/// Prints what stands on the servers.
///
/// # Errors
/// A server could not be asked (1).
pub(super) fn run(config: &Config, json: bool) -> Result<(), Failure> {
    let runtime = sync::runtime()?;
    let mut config = config.clone();
    config.input.sync_from = SyncFrom::Master;
    let found: Vec<Found> = runtime.block_on(async {
        let sources = settings::sources(&config).map_err(|error| settings::wrong_filter(&error))?;
        let mut found = Vec::new();
        for pipeline in &sources.find(FIND_LIMIT).await? {
            found.push(look(pipeline).await);
        }
        Ok::<_, Failure>(found)
    })?;
    match json {
        true => print::text(&format!(
            "{}\n",
            serde_json::to_string(&found).expect("plain structs serialise")
        ))?,
        false => print::text(&found.iter().map(block).collect::<String>())?,
    }
    match found.into_iter().find_map(|one| one.error) {
        Some(trouble) => Err(Failure::new(Exit::Failed, trouble.message).with_hint(Some(trouble.hint))),
        None => Ok(()),
    }
}

async fn look(pipeline: &Settings) -> Found {
    let mut found = Found {
        input: pipeline.source.endpoint.address.to_string(),
        target: pipeline.target.endpoint.address.to_string(),
        deployment: pipeline.name.clone(),
        next: Next::Unknown,
        source_offset: None,
        checkpoint: None,
        full_sync: None,
        lag_bytes: None,
        in_use: None,
        error: None,
    };
    if let Err(error) = ask(pipeline, &mut found).await {
        found.error = Some(Trouble {
            message: error.to_string(),
            hint: error.hint(),
        });
    }
    found
}

async fn ask(pipeline: &Settings, found: &mut Found) -> Result<(), survey::Error> {
    let info = Source::connect(&pipeline.source.endpoint).await?.info().await?;
    found.source_offset = info.offset.map(|offset| offset.get());
    let mut target = Target::connect(&pipeline.target.endpoint).await?;
    let recorded = target.recorded(&pipeline.name).await?;
    found.in_use = target.is_in_use(&pipeline.name).await?;
    found.next = Next::FullSync;
    let Some(Recorded { record, at }) = recorded else {
        return Ok(());
    };
    if let Some(position) = record.full_sync {
        found.next = Next::ResumeFullSync;
        found.full_sync = Some(Interrupted {
            position: position.to_string(),
            keys: record.cursor.map_or(0, |cursor| cursor.keys),
        });
    }
    let Some(checkpoint) = record.checkpoint else {
        return Ok(());
    };
    let at_ms = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    found.checkpoint = Some(Checkpoint {
        repl_id: checkpoint.position.id.to_string(),
        offset: checkpoint.position.offset.get(),
        db: checkpoint.db,
        at: u64::try_from(at_ms).unwrap_or(u64::MAX),
    });
    if info
        .history
        .is_none_or(|history| history.contains(&checkpoint.position))
    {
        found.next = Next::GoOn;
        found.lag_bytes = info.offset.map(|offset| offset.since(checkpoint.position.offset));
    }
    Ok(())
}

/// A few lines for people.
fn block(found: &Found) -> String {
    let mut text = format!("{} -> {}\n", found.input, found.target);
    let mut line = |name: &str, value: String| text.push_str(&format!("  {name:<12}{value}\n"));
    if let Some(trouble) = &found.error {
        line("error", trouble.message.clone());
        return text;
    }
    match &found.checkpoint {
        Some(at) => line(
            "checkpoint",
            format!("offset {} of {}, written {}", at.offset, at.repl_id, ago(at.at)),
        ),
        None => line("checkpoint", "none".to_owned()),
    }
    if let Some(offset) = found.source_offset {
        let behind = found.lag_bytes.map_or(String::new(), |lag| {
            format!(", the checkpoint is {} behind", HumanBytes(lag))
        });
        line("source", format!("offset {offset}{behind}"));
    }
    let daemon = match found.in_use {
        Some(true) => "connected to the target",
        Some(false) => "none is connected to the target",
        None => "the target does not say which are connected",
    };
    line("daemon", daemon.to_owned());
    line("next", next(found));
    text
}

fn next(found: &Found) -> String {
    match (found.next, &found.full_sync) {
        (Next::GoOn, _) => "gunyu sync goes on from the checkpoint".to_owned(),
        (Next::ResumeFullSync, Some(one)) => {
            format!(
                "a full sync was interrupted after {} keys; gunyu sync goes on with it",
                HumanCount(one.keys)
            )
        }
        (Next::FullSync, _) if found.checkpoint.is_some() => {
            "the checkpoint is of another history; gunyu sync makes a full sync".to_owned()
        }
        _ => "gunyu sync makes a full sync".to_owned(),
    }
}

fn ago(at_ms: u64) -> String {
    let at = UNIX_EPOCH + Duration::from_millis(at_ms);
    let since = SystemTime::now().duration_since(at).unwrap_or_default();
    format!("{} ago", HumanDuration(since))
}
