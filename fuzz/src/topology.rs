//! Of the room `topology` what reads texts and answers of others.

#[path = "../../src/core/topology/jobs.rs"]
pub mod jobs;
#[path = "../../src/core/topology/nodes.rs"]
pub mod nodes;
#[path = "../../src/core/topology/sample.rs"]
pub mod sample;
#[path = "../../src/core/topology/sentinel/answer.rs"]
pub mod answer;
#[path = "../../src/core/topology/migrations/told.rs"]
pub mod told;

pub mod sentinel {
    pub use super::answer;
}

pub mod migrations {
    pub use super::told;
}
