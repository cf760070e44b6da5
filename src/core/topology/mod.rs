//! Where the servers are, while they change: the shards of a cluster, the master that sentinels have elected.
//!
//! Owns how that is asked and understood, and [`Place`], by which whoever connects learns where to. Promises that what moved is noticed at once where
//! somebody doubts it, and by the ticker otherwise. Leaves to the pipeline what a move means for it, and to the supervisor which pipelines there are.

pub mod place;

pub use place::{Place, Seen, Trouble, Watcher};
