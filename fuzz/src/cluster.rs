//! Of the clusters' part of `target` what reads replies.

#[path = "../../src/core/target/cluster/map.rs"]
pub mod map;
#[path = "../../src/core/target/cluster/redirect.rs"]
pub mod redirect;
#[path = "../../src/core/target/cluster/written.rs"]
pub mod written;
