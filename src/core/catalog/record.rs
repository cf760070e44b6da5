//! What the catalog keeps of a pipeline, as others see it. How it is written stands in the table of [`super`].

use serde::{Deserialize, Serialize};

use crate::core::position::{History, Offset, Position, ReplId};

/// What the log of a pipeline holds, beside its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// The history that is followed.
    pub history: History,
    /// The ids that the history had before while the log followed it, each with the offset at which the log changed to the next.
    pub former: Vec<(ReplId, Offset)>,
    /// Segments that begin below this offset do not count any more.
    pub start: Offset,
    /// The snapshot before the stream.
    pub snapshot: Option<SnapshotRecord>,
}

/// One snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRecord {
    /// The position it brings an empty target to.
    pub position: Position,
    /// Its length in bytes; `None` until it is whole.
    pub len: Option<u64>,
    /// When receiving began, Unix ms.
    pub begun_ms: u64,
    /// When it was whole, Unix ms.
    pub whole_ms: Option<u64>,
}

/// How far the replay of a snapshot has come: everything before it is confirmed by the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The byte of the RDB at which to go on.
    pub rdb_byte: u64,
    /// The database selected there.
    pub db: u32,
    /// The RDB's version.
    pub rdb_version: u32,
    /// Which fork wrote it, as the rdb room numbers them.
    pub flavor: u8,
    /// Keys before it.
    pub keys_done: u64,
}
