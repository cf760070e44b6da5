//! The daemon's HTTP API.
//!
//! Owns routes ([`routes`], the only room that knows warp), what they do ([`handlers`]), what they print ([`model`], [`metrics`]) and how they
//! fail ([`error`]). Promises that a request never waits for a pipeline and never holds one up: everything shown is read from
//! `core::progress`. Leaves to `core::supervisor` what is done.

pub mod error;
pub mod handlers;
pub mod metrics;
pub mod model;
pub mod routes;

use std::sync::Arc;

use crate::core::supervisor::Handle;

/// What the API works on.
#[derive(Debug, Clone)]
pub struct Api {
    /// The pipelines.
    pub handle: Handle,
    /// The effective configuration, without secrets.
    pub config: Arc<ConfigText>,
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
