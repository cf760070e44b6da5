//! Of the room `topology` what reads texts and answers of others.

#[path = "../../src/core/topology/jobs.rs"]
pub mod jobs;
#[path = "../../src/core/topology/nodes.rs"]
pub mod nodes;
