//! Why applying ended: what [`super::decide`] decides by.

use super::Fatal;
use crate::core::{catalog, log, rdb, resp, target};

/// Why applying ended.
#[derive(Debug)]
pub enum End {
    /// The wish is another one than when it began.
    Wished,
    /// The source refuses to be followed, and a person must mend it.
    SourceRefuses {
        /// What it said.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// All that was to be done is done: the snapshot alone was wanted.
    Done,
    /// The log began anew: the source sent a snapshot, or the plan changed.
    LogChanged,
    /// The target failed; it is tried again in a new session.
    Target(target::Error),
    /// The target is another server now.
    TargetMoved,
    /// The target cannot take anything now.
    Unavailable(String),
    /// The log cannot be read. It is dropped, and the source asked from the checkpoint.
    Log(log::Error),
    /// The snapshot cannot be read: a new one is needed.
    Snapshot(rdb::Error),
    /// The stream cannot be read: a full sync is needed.
    Stream(resp::Error),
    /// The source's shard was emptied, and other shards feed the same target: a full sync is needed, to take away what is its own.
    Emptied,
    /// Shards wait for each other, because a key went to and fro faster than they could be asked: each needs a full sync.
    Entangled,
    /// The snapshot holds half an import of slots that are another shard's: a later one is needed.
    Importing,
    /// Which keys on the target are this shard's cannot be found out now.
    Unsettled,
    /// The catalog failed.
    Catalog(catalog::Error),
    /// The dead-letter file cannot be written. Nothing goes on before it is.
    Letters {
        /// What happened.
        message: String,
        /// What to do.
        hint: String,
    },
    /// The checkpoint that was to be taken over does not fit.
    Unfit(Fatal),
    /// A person must decide.
    Stuck {
        /// What happened.
        message: String,
        /// What to do.
        hint: String,
    },
}
