//! The places of the rooms under test, as in gunyu.

#[path = "../../src/core/rdb/mod.rs"]
pub mod rdb;
#[path = "../../src/core/position.rs"]
pub mod position;
#[path = "net.rs"]
pub mod net;
#[path = "../../src/core/resp/mod.rs"]
pub mod resp;
#[path = "../../src/core/command/mod.rs"]
pub mod command;
#[path = "topology.rs"]
pub mod topology;
#[path = "source.rs"]
pub mod source;
#[path = "target.rs"]
pub mod target;
#[path = "log.rs"]
pub mod log;
#[path = "peer.rs"]
pub mod peer;
