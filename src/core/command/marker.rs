//! What a shard's stream says of slots that go to another shard as a whole: `CLUSTER MIGRATION` of Redis 8.4 and later, `CLUSTER MIGRATESLOTS` of Valkey 9.
//!
//! Between two markers the stream of the shard that takes the slots over carries half an import: their keys as a snapshot, and what the other shard still writes to
//! them. Such commands stand there for the replicas of that shard, which hide the keys until the import is complete.
//!
//! ```text
//! CLUSTER SYNCSLOTS CONF ASM-TASK id:from:to:import:connecting:0-5 7-7      Redis: opens; so does each other state of an import
//! CLUSTER SYNCSLOTS CONF ASM-TASK id:from:to:import:completed:0-5 7-7       Redis: the slots have arrived
//! CLUSTER SYNCSLOTS CONF ASM-TASK id:from:to:import:failed:0-5 7-7          Redis: given up; `canceled` too. It may open again
//! CLUSTER SYNCSLOTS CONF ASM-TASK id:from:to:migrate:completed:0-5 7-7      Redis: the slots have left
//! CLUSTER SYNCSLOTS ESTABLISH SOURCE from NAME id SLOTSRANGE 0 5 7 7        Valkey: opens
//! CLUSTER SYNCSLOTS FINISH STATE SUCCESS NAME id MESSAGE ..                 Valkey: the slots have arrived; any other state: given up
//! ```

use super::slot::{range, ranges, read_range};
use crate::core::resp::Frame;

/// Ranges of slots: first and last.
pub type Ranges = Vec<(u16, u16)>;

/// A mark in a shard's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Marker {
    /// What follows of these slots is an import's, until it ends.
    Opens {
        /// The import's name.
        id: String,
        /// What it imports.
        slots: Ranges,
        /// The shard that has them deletes its keys one by one afterwards.
        clears: bool,
    },
    /// The import of that name has ended.
    Closes {
        /// The import's name.
        id: String,
        /// The slots are this shard's from here on; else they have stayed where they were.
        arrived: bool,
    },
    /// These slots are another shard's from here on.
    Leave(Ranges),
}

/// The mark that a `CLUSTER` command of the stream is; nothing where it is none.
#[must_use]
pub fn marker(frame: &Frame<'_>) -> Option<Marker> {
    let args: Vec<&[u8]> = frame.args().collect();
    let is = |at: usize, word: &str| {
        args.get(at)
            .is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
    };
    let text = |at: usize| std::str::from_utf8(args.get(at)?).ok();
    if !is(1, "SYNCSLOTS") {
        return None;
    }
    if is(2, "CONF") && is(3, "ASM-TASK") {
        return task(args.get(4)?);
    }
    if is(2, "ESTABLISH") {
        let named = (3..args.len()).find(|at| is(*at, "NAME"))?;
        let listed = (3..args.len()).find(|at| is(*at, "SLOTSRANGE"))?;
        let numbers = (listed + 1..args.len()).map_while(|at| text(at)?.parse().ok());
        let numbers: Vec<i64> = numbers.collect();
        let slots = numbers.chunks_exact(2).map(|pair| range(pair[0], pair[1]));
        return Some(Marker::Opens {
            id: text(named + 1)?.to_owned(),
            slots: ranges(slots)?,
            clears: true,
        });
    }
    if is(2, "FINISH") {
        let named = (3..args.len()).find(|at| is(*at, "NAME"))?;
        return Some(Marker::Closes {
            id: text(named + 1)?.to_owned(),
            arrived: is(4, "SUCCESS"),
        });
    }
    None
}

/// What a task of Redis says, as it stands in the stream and in the field `cluster-asm-task` of snapshots.
#[must_use]
pub fn task(text: &[u8]) -> Option<Marker> {
    let parts: Vec<&str> = std::str::from_utf8(text).ok()?.splitn(7, ':').collect();
    let [id, _, _, operation, state, slots, ..] = parts[..] else {
        return None;
    };
    let id = id.to_owned();
    let closes = |arrived| {
        Some(Marker::Closes {
            id: id.clone(),
            arrived,
        })
    };
    match (operation, state) {
        ("import", "completed") => closes(true),
        ("import", "failed" | "canceled") => closes(false),
        ("import", _) => Some(Marker::Opens {
            id,
            slots: listed(slots)?,
            clears: false,
        }),
        ("migrate", "completed") => Some(Marker::Leave(listed(slots)?)),
        _ => None,
    }
}

/// Reads `0-5 7-7`.
fn listed(text: &str) -> Option<Ranges> {
    ranges(text.split_ascii_whitespace().map(read_range))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::position::Offset;
    use crate::core::resp::{Framer, encode_command};

    fn read(command: &str) -> Option<Marker> {
        let args: Vec<&[u8]> = command.split('|').map(str::as_bytes).collect();
        let mut bytes = bytes::BytesMut::new();
        encode_command(&mut bytes, &args);
        let mut framer = Framer::default();
        framer.push(Offset::ZERO, bytes.freeze()).unwrap();
        let frame = framer.next().unwrap().unwrap();
        marker(&frame)
    }

    #[test]
    fn the_markers_of_either_server_are_read() {
        let opens = |clears, slots: &[(u16, u16)]| {
            Some(Marker::Opens {
                id: "id".to_owned(),
                slots: slots.to_vec(),
                clears,
            })
        };
        let closes = |arrived| {
            Some(Marker::Closes {
                id: "id".to_owned(),
                arrived,
            })
        };
        let task = |rest: &str| read(&format!("CLUSTER|SYNCSLOTS|CONF|ASM-TASK|id:aa:bb:{rest}"));
        assert_eq!(task("import:connecting:5-115"), opens(false, &[(5, 115)]));
        assert_eq!(
            task("import:connecting:5-6 9-9 7"),
            opens(false, &[(5, 6), (9, 9), (7, 7)])
        );
        assert_eq!(task("import:completed:5-115"), closes(true));
        assert_eq!(task("import:failed:5-115"), closes(false));
        assert_eq!(task("import:canceled:5-115"), closes(false));
        assert_eq!(
            task("migrate:completed:5-115"),
            Some(Marker::Leave(vec![(5, 115)]))
        );
        assert_eq!(task("migrate:wait-rdbchannel:5-115"), None);
        assert_eq!(
            read("CLUSTER|SYNCSLOTS|ESTABLISH|SOURCE|aa|NAME|id|SLOTSRANGE|5|115|7|7"),
            opens(true, &[(5, 115), (7, 7)])
        );
        for bad in ["5-3", "0-16384", "70000", "0-16383 5", &"1 ".repeat(16_385)] {
            assert_eq!(task(&format!("import:connecting:{bad}")), None);
            assert_eq!(task(&format!("migrate:completed:{bad}")), None);
        }
        for bad in ["5|3", "0|16384", "-1|4", "0|16383|5|5"] {
            let establish = "CLUSTER|SYNCSLOTS|ESTABLISH|SOURCE|aa|NAME|id|SLOTSRANGE";
            assert_eq!(read(&format!("{establish}|{bad}")), None, "{bad}");
        }
        let finish = |state: &str| {
            read(&format!(
                "CLUSTER|SYNCSLOTS|FINISH|STATE|{state}|NAME|id|MESSAGE|"
            ))
        };
        assert_eq!(finish("SUCCESS"), closes(true));
        assert_eq!(finish("FAILED"), closes(false));
        for other in [
            "CLUSTER|SYNCSLOTS|ACK",
            "CLUSTER|SYNCSLOTS|CONF|SLOT-INFO|5:4:0",
            "CLUSTER|SETSLOT|5|NODE|aa",
            "CLUSTER|SYNCSLOTS|CONF|ASM-TASK|",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
