//! Of the room `topology` what reads texts of others.

#[path = "../../src/core/topology/nodes.rs"]
pub mod nodes;
