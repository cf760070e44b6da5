//! What the calls do, on plain values: no warp here.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::Api;
use super::calls::Call;
use super::error::Failure;
use super::metrics;
use super::model::{Freed, FullSyncsBegun, InputStatus, LEADER};
use crate::core::log::SnapshotFile;
use crate::core::pipeline::orders::FlushCommand;
use crate::core::progress::Phase;
use crate::core::supervisor::Input;

/// The parameters of a query, decoded.
pub type Query = HashMap<String, String>;

/// A body and its type.
#[derive(Debug, Clone)]
pub struct Answer {
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: Body,
}

/// What is answered.
#[derive(Debug, Clone)]
pub enum Body {
    /// This.
    Text(String),
    /// The bytes of a file, as they are read.
    File(SnapshotFile),
}

/// A member that leads an input says within this time how far it is.
const LEADER_LIMIT: Duration = Duration::from_secs(2);

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";

impl Answer {
    fn text(content_type: &'static str, text: String) -> Answer {
        Answer {
            content_type,
            body: Body::Text(text),
        }
    }

    /// A JSON body.
    #[must_use]
    pub fn json(body: &impl serde::Serialize) -> Answer {
        Answer::text(JSON, serde_json::to_string(body).expect("plain values serialise"))
    }

    /// The body of a success that has nothing to say.
    #[must_use]
    pub fn done() -> Answer {
        Answer::json(&json!({ "ok": true }))
    }
}

/// Carries out a call.
///
/// # Errors
/// It is refused, or fails; see docs/openapi.yaml for the codes.
pub async fn answer(call: Call, query: &Query, api: &Api) -> Result<Answer, Failure> {
    match call {
        Call::Stop => Ok(stop(api)),
        Call::Restart => restart(api).await,
        Call::Pause => pause(query, api).await,
        Call::Resume => resume(query, api).await,
        Call::Status => status(query, api).await,
        Call::Config => config(query, api),
        Call::FullSync => full_sync(query, api).await,
        Call::Handover => handover(query, api).await,
        Call::CollectGarbage => collect_garbage(api).await,
        Call::Snapshot => snapshot(query, api),
        Call::Health => Ok(Answer::done()),
        Call::Ready => ready(api),
        Call::Metrics => Ok(Answer::text(
            "text/plain; version=0.0.4",
            metrics::render(&api.handle, api.group.as_deref()),
        )),
        Call::Description => Ok(Answer::text(YAML, super::DESCRIPTION.to_owned())),
    }
}

/// | `from` | an input that is led here | one that another member leads |
/// | --- | --- | --- |
/// | absent, `here` | as it is here | as it is here |
/// | `leaders` | as it is here | as it is there; as it is here where that member cannot be asked, or leads it no more |
async fn status(query: &Query, api: &Api) -> Result<Answer, Failure> {
    let inputs = api.handle.inputs();
    let statuses: Vec<InputStatus> = match query.get("from").map(String::as_str) {
        None | Some("here") => inputs.iter().map(InputStatus::of).collect(),
        Some("leaders") => join_all(inputs.iter().map(|input| of_leader(input, api))).await,
        Some(other) => {
            let error = format!("status cannot be had from {other:?}");
            return Err(Failure::new(400, error, "use from=here or from=leaders"));
        }
    };
    Ok(Answer::json(&statuses))
}

async fn of_leader(input: &Input, api: &Api) -> InputStatus {
    let leader = input.leader();
    let theirs = match api.handle.group() {
        Some(group) if !input.is_led() && !leader.is_empty() && leader != group.me() => {
            let (call, query) = (("GET", "/peer/status"), [("input", input.name())]);
            group.ask(&leader, call, &query, LEADER_LIMIT).await.ok()
        }
        _ => None,
    };
    let theirs = theirs.and_then(|told| serde_json::from_value::<InputStatus>(told).ok());
    match theirs.filter(|theirs| theirs.role == LEADER) {
        // It may follow another node of the shard; here the input goes by the name that it has here.
        Some(theirs) => InputStatus {
            input: input.source.to_string(),
            ..theirs
        },
        None => InputStatus::of(input),
    }
}

fn config(query: &Query, api: &Api) -> Result<Answer, Failure> {
    match query.get("format").map(String::as_str) {
        None | Some("yaml") => Ok(Answer::text(YAML, api.config.yaml.clone())),
        Some("json") => Ok(Answer::text(JSON, api.config.json.clone())),
        Some(other) => Err(Failure::new(
            400,
            format!("there is no format {other:?}"),
            "use format=yaml or format=json",
        )),
    }
}

/// The answer is sent before the process ends.
fn stop(api: &Api) -> Answer {
    tracing::info!("stopping, asked by DELETE /");
    api.handle.stop();
    Answer::done()
}

async fn restart(api: &Api) -> Result<Answer, Failure> {
    tracing::info!("every input begins anew from its checkpoint, as was asked");
    api.handle.restart().await?;
    Ok(Answer::done())
}

async fn pause(query: &Query, api: &Api) -> Result<Answer, Failure> {
    let inputs = inputs(query, api)?;
    api.handle.pause(&inputs).await?;
    Ok(done_with("paused", &inputs))
}

async fn resume(query: &Query, api: &Api) -> Result<Answer, Failure> {
    let inputs = inputs(query, api)?;
    api.handle.resume(&inputs).await?;
    Ok(done_with("resumed", &inputs))
}

async fn full_sync(query: &Query, api: &Api) -> Result<Answer, Failure> {
    let inputs = inputs(query, api)?;
    let flush = flush_command(query)?;
    let begun = api.handle.full_sync(&inputs, flush.as_ref()).await?;
    Ok(Answer::json(&FullSyncsBegun {
        ok: true,
        started: begun.begun,
        joined: begun.joined,
    }))
}

/// Whoever leads hands over; `to` names the member that is to lead, or else it is the one whose log reaches furthest.
async fn handover(query: &Query, api: &Api) -> Result<Answer, Failure> {
    let inputs = inputs(query, api)?;
    let to = query.get("to").map(|to| to.trim()).filter(|to| !to.is_empty());
    let handed = api.handle.hand_over(&inputs, to).await?;
    tracing::info!(?handed, "handed over, as was asked");
    let inputs: Vec<&String> = handed.iter().map(|(input, _)| input).collect();
    let leaders: HashMap<&String, &String> = handed.iter().map(|(input, leader)| (input, leader)).collect();
    Ok(Answer::json(
        &json!({ "ok": true, "inputs": inputs, "leaders": leaders }),
    ))
}

async fn collect_garbage(api: &Api) -> Result<Answer, Failure> {
    Ok(Answer::json(&Freed::of(api.handle.collect_garbage().await?)))
}

fn snapshot(query: &Query, api: &Api) -> Result<Answer, Failure> {
    let wanted = query.get("input").map_or("", String::as_str);
    if wanted.is_empty() && api.handle.inputs().len() > 1 {
        return Err(Failure::new(
            400,
            "one input must be named",
            format!("add input=, with one of {}", known(api)),
        ));
    }
    let chosen = match wanted {
        "" => api.handle.inputs(),
        wanted => api.handle.select(wanted)?,
    };
    let [input] = &chosen[..] else {
        let hint = format!("name one of {}", known(api));
        return Err(Failure::new(
            400,
            format!("{wanted:?} names several inputs"),
            hint,
        ));
    };
    let file = input.snapshot_file().ok_or_else(|| {
        Failure::new(
            404,
            format!("there is no whole snapshot of {}", input.source),
            "one is kept on disk after a full sync, until its room is needed; see GET /syncer/status",
        )
    })?;
    Ok(Answer {
        content_type: "application/octet-stream",
        body: Body::File(file),
    })
}

/// Every pipeline is in a live phase.
fn ready(api: &Api) -> Result<Answer, Failure> {
    if let Some(unknown) = api.handle.unknown() {
        let why = unknown.trouble.map_or_else(
            || "they are being asked for".to_owned(),
            |trouble| trouble.message,
        );
        return Err(Failure::new(
            503,
            format!("the source's shards are not known yet: {why}"),
            "see the traces",
        ));
    }
    let waiting: Vec<String> = api
        .handle
        .inputs()
        .iter()
        .filter_map(|input| {
            let phase = input.progress.status().phase;
            // What another member leads is ready when it is followed; what nobody leads is not.
            let is_live = match input.is_led() {
                true => phase == Phase::Incremental,
                false => phase == Phase::Following && !input.leader().is_empty(),
            };
            (!is_live).then(|| format!("{} is {}", input.source, phase.as_str()))
        })
        .collect();
    if waiting.is_empty() {
        return Ok(Answer::done());
    }
    Err(Failure::new(
        503,
        format!("not every input is live: {}", waiting.join(", ")),
        "see GET /syncer/status",
    ))
}

/// The inputs that the query names.
fn inputs(query: &Query, api: &Api) -> Result<Vec<Input>, Failure> {
    let wanted = query.get("inputs").map(|text| text.trim()).unwrap_or_default();
    if wanted.is_empty() {
        let hint = format!(
            "add inputs=all, or addresses between commas out of {}",
            known(api)
        );
        return Err(Failure::new(400, "no input is named", hint));
    }
    Ok(api.handle.select(wanted)?)
}

fn known(api: &Api) -> String {
    let names: Vec<String> = api
        .handle
        .inputs()
        .iter()
        .map(|input| input.source.to_string())
        .collect();
    names.join(", ")
}

fn done_with(what: &str, inputs: &[Input]) -> Answer {
    let inputs: Vec<String> = inputs.iter().map(|input| input.source.to_string()).collect();
    tracing::info!(?inputs, "{what}, as was asked");
    Answer::json(&json!({ "ok": true, "inputs": inputs }))
}

/// The command that empties a database, where that is asked for.
///
/// | `flushdb` | `flushCommand` | what |
/// | --- | --- | --- |
/// | absent, no | – | nothing is flushed |
/// | yes | absent | `FLUSHDB` |
/// | yes | one word | that command |
/// | yes | `FLUSHALL`, or no word | 400 |
/// | anything else | – | 400 |
fn flush_command(query: &Query) -> Result<Option<FlushCommand>, Failure> {
    let command = query
        .get("flushCommand")
        .map(String::as_str)
        .filter(|command| !command.is_empty());
    let flush = match query
        .get("flushdb")
        .map(|text| text.to_ascii_lowercase())
        .as_deref()
    {
        None | Some("no" | "false" | "0" | "") => false,
        Some("yes" | "true" | "1") => true,
        Some(other) => {
            let error = format!("flushdb={other:?} is neither yes nor no");
            return Err(Failure::new(400, error, "write flushdb=yes, or leave it out"));
        }
    };
    match (flush, command) {
        (false, _) => Ok(None),
        (true, None) => Ok(Some(FlushCommand::default())),
        (true, Some(name)) => FlushCommand::named(name).map(Some).map_err(|error| {
            let hint =
                "write the name that FLUSHDB has on the target, without arguments, or leave flushCommand out";
            Failure::new(400, format!("flushCommand: {error}"), hint)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_of_flush_commands() {
        type Row<'a> = (Option<&'a str>, Option<&'a str>, Result<Option<&'a str>, u16>);
        let rows: [Row<'_>; 12] = [
            (None, None, Ok(None)),
            (Some("no"), None, Ok(None)),
            (Some("0"), Some(""), Ok(None)),
            (None, Some("x"), Ok(None)),
            (Some("no"), Some("x"), Ok(None)),
            (Some("yes"), None, Ok(Some("FLUSHDB"))),
            (Some("TRUE"), None, Ok(Some("FLUSHDB"))),
            (Some("yes"), Some("my-flush_1"), Ok(Some("my-flush_1"))),
            (Some("yes"), Some("FlushAll"), Err(400)),
            (Some("yes"), Some("flushdb async"), Err(400)),
            (Some("yes"), Some("a\r\nb"), Err(400)),
            (Some("maybe"), None, Err(400)),
        ];
        for (flushdb, command, expected) in rows {
            let given = [("flushdb", flushdb), ("flushCommand", command)];
            let query: Query = given
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
                .collect();
            let told = flush_command(&query).map_err(|failure| failure.code);
            let told = told.map(|one| one.map(|one| one.as_str().to_owned()));
            assert_eq!(told, expected.map(|one| one.map(str::to_owned)), "{query:?}");
        }
    }
}
