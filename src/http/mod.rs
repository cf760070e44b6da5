//! The daemon's HTTP API.
//!
//! Owns connections ([`serve`], [`tls`]), who may call ([`access`]), routes ([`routes`]; besides `serve`, which drives them, the only room that
//! knows warp), what they do ([`handlers`]; [`peer`] for members of the group), what they print ([`model`], [`metrics`]) and how they fail ([`error`]). Promises that a
//! request never waits for a pipeline and never holds one up: everything shown is read from `core::progress`, on a thread of the API's own.
//! Leaves to `core::supervisor` what is done.

pub mod access;
pub mod calls;
pub mod error;
pub mod handlers;
pub mod metrics;
pub mod model;
pub mod peer;
pub mod routes;
pub mod serve;
mod steady;
pub mod tls;

use std::sync::Arc;

use crate::core::supervisor::Handle;

/// The description of this API, as `GET /openapi.yaml` serves it.
pub const DESCRIPTION: &str = include_str!("../../docs/openapi.yaml");

/// What the API works on.
#[derive(Debug, Clone)]
pub struct Api {
    /// The pipelines.
    pub handle: Handle,
    /// The effective configuration, without secrets.
    pub config: Arc<ConfigText>,
    /// The name of the group, where this process is a member of one.
    pub group: Option<String>,
    /// Where the metrics are served, beginning with `/`.
    pub metrics_path: String,
}

/// The effective configuration as text.
#[derive(Debug)]
pub struct ConfigText {
    /// As YAML.
    pub yaml: String,
    /// As JSON.
    pub json: String,
}
