//! What a log holds, as the catalog writes it.

use serde::{Deserialize, Serialize};

use super::record::{LogRecord, SnapshotRecord};
use crate::core::position::{History, Offset, Position, ReplId};

/// [`LogRecord`] as it is written.
#[derive(Serialize, Deserialize)]
pub struct WrittenLog {
    id: String,
    previous_id: Option<String>,
    previous_shared: Option<u64>,
    #[serde(default)]
    former: Vec<(String, u64)>,
    start: u64,
    snapshot: Option<WrittenSnapshot>,
}

/// [`SnapshotRecord`] as it is written.
#[derive(Serialize, Deserialize)]
struct WrittenSnapshot {
    id: String,
    offset: u64,
    len: Option<u64>,
    begun_ms: u64,
    whole_ms: Option<u64>,
}

impl From<&LogRecord> for WrittenLog {
    fn from(log: &LogRecord) -> WrittenLog {
        WrittenLog {
            id: log.history.id.to_string(),
            previous_id: log.history.previous.map(|(id, _)| id.to_string()),
            previous_shared: log.history.previous.map(|(_, shared)| shared.get()),
            former: log
                .former
                .iter()
                .map(|(id, end)| (id.to_string(), end.get()))
                .collect(),
            start: log.start.get(),
            snapshot: log.snapshot.as_ref().map(|snapshot| WrittenSnapshot {
                id: snapshot.position.id.to_string(),
                offset: snapshot.position.offset.get(),
                len: snapshot.len,
                begun_ms: snapshot.begun_ms,
                whole_ms: snapshot.whole_ms,
            }),
        }
    }
}

impl TryFrom<WrittenLog> for LogRecord {
    type Error = String;

    fn try_from(log: WrittenLog) -> Result<LogRecord, String> {
        let id = |text: &str| ReplId::parse(text.as_bytes()).map_err(|error| error.to_string());
        let offset = |number: u64| Offset::told(number).ok_or_else(|| format!("offset {number} cannot be"));
        let previous = match (log.previous_id, log.previous_shared) {
            (Some(previous), Some(shared)) => Some((id(&previous)?, offset(shared)?)),
            _ => None,
        };
        let snapshot = match log.snapshot {
            None => None,
            Some(snapshot) => Some(SnapshotRecord {
                position: Position {
                    id: id(&snapshot.id)?,
                    offset: offset(snapshot.offset)?,
                },
                len: snapshot.len,
                begun_ms: snapshot.begun_ms,
                whole_ms: snapshot.whole_ms,
            }),
        };
        let former = log
            .former
            .iter()
            .map(|(text, end)| Ok((id(text)?, offset(*end)?)))
            .collect::<Result<_, String>>()?;
        Ok(LogRecord {
            history: History {
                id: id(&log.id)?,
                previous,
            },
            former,
            start: offset(log.start)?,
            snapshot,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_that_cannot_be_is_refused() {
        let id = "a".repeat(40);
        let written = |start: u64, shared: u64, snapshot: u64| WrittenLog {
            id: id.clone(),
            previous_id: Some(id.clone()),
            previous_shared: Some(shared),
            former: Vec::new(),
            start,
            snapshot: Some(WrittenSnapshot {
                id: id.clone(),
                offset: snapshot,
                len: None,
                begun_ms: 0,
                whole_ms: None,
            }),
        };
        assert!(LogRecord::try_from(written(1, 2, 3)).is_ok());
        let far = i64::MAX.unsigned_abs() + 1;
        for bad in [written(far, 2, 3), written(1, u64::MAX, 3), written(1, 2, far)] {
            assert!(LogRecord::try_from(bad).is_err());
        }
    }
}
