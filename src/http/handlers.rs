//! What the calls do, on plain values: no warp here.

use super::Api;
use super::error::Failure;
use super::metrics;
use super::model::InputStatus;
use crate::core::progress::Phase;

/// A body and its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

const JSON: &str = "application/json";

impl Answer {
    /// A JSON body.
    #[must_use]
    pub fn json(body: String) -> Answer {
        Answer {
            content_type: JSON,
            body,
        }
    }

    /// The body of a success that has nothing to say.
    #[must_use]
    pub fn done() -> Answer {
        Answer::json("{\"ok\": true}".to_owned())
    }
}

/// `GET /syncer/status`.
#[must_use]
pub fn status(api: &Api) -> Answer {
    let inputs: Vec<InputStatus> = api.handle.inputs().iter().map(InputStatus::of).collect();
    Answer::json(serde_json::to_string(&inputs).expect("plain structs serialise"))
}

/// `GET /syncer/config`, in the format asked for.
///
/// # Errors
/// 400 for a format that there is not.
pub fn config(api: &Api, format: Option<&str>) -> Result<Answer, Failure> {
    match format {
        None | Some("yaml") => Ok(Answer {
            content_type: "application/yaml",
            body: api.config.yaml.clone(),
        }),
        Some("json") => Ok(Answer::json(api.config.json.clone())),
        Some(other) => Err(Failure::new(
            400,
            format!("there is no format {other:?}"),
            "use format=yaml or format=json",
        )),
    }
}

/// `DELETE /`: asks for a graceful stop. The answer is sent before the process ends.
#[must_use]
pub fn stop(api: &Api) -> Answer {
    tracing::info!("stopping, asked by DELETE /");
    api.handle.stop();
    Answer::done()
}

/// `GET /debug/health`: the process answers.
#[must_use]
pub fn health() -> Answer {
    Answer::done()
}

/// `GET /debug/ready`: every pipeline follows its source's live stream.
///
/// # Errors
/// 503 naming those that do not.
pub fn ready(api: &Api) -> Result<Answer, Failure> {
    let waiting: Vec<String> = api
        .handle
        .inputs()
        .iter()
        .filter_map(|input| {
            let phase = input.progress.status().phase;
            (phase != Phase::Incremental).then(|| format!("{} is {}", input.source, phase.as_str()))
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

/// `GET {metricRoutePath}`.
#[must_use]
pub fn metrics(api: &Api) -> Answer {
    Answer {
        content_type: "text/plain; version=0.0.4",
        body: metrics::render(&api.handle),
    }
}
