//! The way of the data, from the source to the target.
//!
//! For each source node gunyu poses as a replica, writes what it hears to a local log, and replays the log onto
//! the target:
//!
//! ```text
//!            task: receive                        memory tail            task: apply
//! source -> source::Follower -Bytes-> log::Writer -> segments -> log::Reader -> resp framing -> filter
//!              ^ never waits for the target                                                       | keep
//!              +--- REPLCONF ACK <- progress::Progress <- checkpointed <- target lane <- batch <--+
//! ```
//!
//! The two tasks share the log and [`progress::Progress`], nothing else. Positions only move forward; the one stored on
//! the target, in the transaction that carries the data, decides where a restart begins.
//!
//! The rooms stand in the order of their dependencies: a room may use those above it, never one below. `source`,
//! `log` and `target` do not know each other; `pipeline` is the only room that knows all three.

pub mod position;
pub mod crash;
pub mod net;
pub mod progress;
pub mod resp;
pub mod command;
pub mod filter;
pub mod rdb;
pub mod topology;
pub mod source;
pub mod catalog;
pub mod log;
pub mod target;
pub mod resume;
pub mod survey;
pub mod doctor;
pub mod pipeline;
pub mod verify;
pub mod lease;
pub mod peer;
pub mod supervisor;
