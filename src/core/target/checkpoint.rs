//! The checkpoint: which position of the source the target has, recorded on the target itself.
//!
//! A hash in database 0 under `redis-gunyu-checkpoint:{name}`, with human-readable fields:
//!
//! | field | example | meaning |
//! | --- | --- | --- |
//! | `version` | `1` | of this table |
//! | `replid`, `offset` | `5ab3…`, `10482` | everything up to here is applied |
//! | `db` | `0` | the database selected in the source's stream at that position |
//! | `time_ms` | `1760000000000` | when it was written, Unix time |
//! | `epoch` | `0` | of the lease under which it was written |
//! | `full_sync` | `5ab3…:9000` | a snapshot for this position is being replayed; `replid` and `offset` are absent then |
//! | `snapshot_ms` | `1760000000000` | when receiving that snapshot began, Unix time: two snapshots may have one position |
//! | `cursor` | `81920:0:1042:0` | of that snapshot: everything before this byte is restored, the database selected there, keys so far, elements that are written of the key that begins there |
//! | `resync` | `1` | that snapshot is not the first: what an earlier sync wrote may be on the target |
//! | `wanted_ms` | `1760000000000` | when a full sync was asked for that has not begun, Unix time: a snapshot from before that is not the one |
//! | `had` | `5ab3…:9000` | everything up to there was applied when that full sync was asked for |
//! | `noted` | `1` | the keys of that snapshot are written down as they come, from the first: what else is on the target can be told afterwards |
//! | `guarded` | `1` | keys of the last full sync still have an expiry ten years ahead of their own (`pipeline::parked`); `0` where they had |
//! | `lineage` | `9f…` | names the full sync on which all this rests: fences and marks of another one count for nothing |
//! | `marks` | `0,5461,10923` | on a cluster: the slots in which [`super::cluster::fences`] has left marks of this position |
//! | `seen` | `0,1,7` | the source's databases that have been replicated so far |
//! | `owned` | `0,3` | databases that were empty when this deployment first synced: their keys are ours alone |
//! | `libraries` | `1` | there was no library of functions when this deployment first synced: they are ours alone |
//!
//! Beside it `redis-gunyu-checkpoint:{name}:session`, a hash with one field: the session that may write. A session watches
//! that key; whoever replaces it makes every transaction of the others fail, even one that was sent before. The field's value:
//!
//! | value | written by | epoch |
//! | --- | --- | --- |
//! | `0` | a process that stands alone | none |
//! | `7` | the holder of a lease | that of the lease |
//! | `1` | any process before there were leases; or the holder of the very first lease | none: of the very first, the checkpoint says it, as soon as there is one |
//! | anything else | – | none |
//!
//! The braces make all keys of a deployment hash to one slot. Owns the format; leaves to [`super::exact`] when it is written.

use bytes::Bytes;

use crate::core::command;
use crate::core::position::{Epoch, Offset, Position, ReplId};

/// All checkpoint keys begin so; keys that do are never replicated from a source.
pub const KEY_PREFIX: &str = "redis-gunyu-checkpoint";

/// The format's version.
const VERSION: &str = "1";

/// The key of a deployment's checkpoint.
#[must_use]
pub fn key(name: &str) -> Bytes {
    Bytes::from(format!("{KEY_PREFIX}:{{{name}}}"))
}

/// The key of a deployment's session.
#[must_use]
pub fn session_key(name: &str) -> Bytes {
    Bytes::from(format!("{KEY_PREFIX}:{{{name}}}:session"))
}

/// The epoch of a session, by the value of its field: the second table above.
#[must_use]
pub fn epoch_of_session(value: &[u8]) -> Epoch {
    let epoch = std::str::from_utf8(value).ok().and_then(Epoch::parse);
    epoch
        .filter(|epoch| *epoch != Epoch::new(1))
        .unwrap_or(Epoch::NONE)
}

/// A position and what is needed to go on from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// Everything up to here is applied.
    pub position: Position,
    /// The source's selected database there.
    pub db: u32,
}

/// What stands on the target.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// The checkpoint, if one is recorded.
    pub checkpoint: Option<Checkpoint>,
    /// The position of a snapshot whose replay has begun and not ended.
    pub full_sync: Option<Position>,
    /// The lease epoch under which it was written.
    pub epoch: Epoch,
    /// The source's databases that have been replicated so far, ascending; empty where that is not known.
    pub seen: Vec<u32>,
    /// Target databases whose keys are this deployment's alone.
    pub owned: Vec<u32>,
    /// The target's libraries of functions are this deployment's alone.
    pub owns_libraries: bool,
    /// When receiving that snapshot began, Unix time: two snapshots may have one position.
    pub snapshot_ms: u64,
    /// How far the replay of that snapshot is.
    pub cursor: Option<Cursor>,
    /// That snapshot is not the first: what an earlier sync wrote may be on the target.
    pub resync: bool,
    /// When a full sync was asked for that has not begun, Unix time; 0 where none was.
    pub wanted_ms: u64,
    /// Everything up to there was applied when that full sync was asked for.
    pub had: Option<Position>,
    /// The keys of that snapshot are written down as they come, from the first.
    pub noted: bool,
    /// Whether keys of the last full sync still have an expiry far ahead of their own; nothing where none ever had.
    pub guarded: Option<bool>,
    /// Names the full sync on which all this rests; 0 where none has begun.
    pub lineage: u64,
    /// On a cluster, the slots with marks of this position.
    pub marks: Vec<u16>,
}

/// How far the replay of a snapshot has certainly come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    /// Byte of the snapshot at which to go on.
    pub at: u64,
    /// The snapshot's selected database there.
    pub db: u32,
    /// Keys before it.
    pub keys: u64,
    /// Elements of the key that begins there that are written already, under its staged name; of a string, bytes.
    pub elements: u64,
}

/// The hash on the target is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("checkpoint field {field} holds {value:?}")]
pub struct Malformed {
    /// The field.
    pub field: String,
    /// What it holds.
    pub value: String,
}

impl Record {
    /// Two databases of the target change places. Where the keys of one alone are this deployment's, neither's are from now on: the same batch may be
    /// sent again, and nobody could tell how often they have.
    pub fn share_swapped(&mut self, swapped: &[(u32, u32)]) {
        for (one, other) in swapped {
            if self.owned.contains(one) != self.owned.contains(other) {
                self.owned.retain(|db| db != one && db != other);
            }
        }
    }

    /// Reads the fields and values of the hash, in any order.
    ///
    /// # Errors
    /// A field does not hold what the table says, or a newer gunyu wrote it.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Result<Record, Malformed> {
        let mut record = Record::default();
        let (mut id, mut offset, mut db) = (None, None, 0);
        for (field, value) in pairs {
            let malformed = || Malformed {
                field: String::from_utf8_lossy(field).into_owned(),
                value: String::from_utf8_lossy(value).into_owned(),
            };
            let text = std::str::from_utf8(value).map_err(|_| malformed())?;
            match field {
                b"version" if text != VERSION => return Err(malformed()),
                b"replid" => id = Some(ReplId::parse(value).map_err(|_| malformed())?),
                b"offset" => offset = Some(Offset::parse(text).ok_or_else(malformed)?),
                b"db" => db = text.parse().map_err(|_| malformed())?,
                b"epoch" => record.epoch = Epoch::parse(text).ok_or_else(malformed)?,
                b"snapshot_ms" => record.snapshot_ms = count(text).ok_or_else(malformed)?,
                b"cursor" => record.cursor = Some(Cursor::parse(text).ok_or_else(malformed)?),
                b"full_sync" => record.full_sync = Some(parse_position(text).ok_or_else(malformed)?),
                b"resync" => record.resync = text == "1",
                b"wanted_ms" => record.wanted_ms = count(text).ok_or_else(malformed)?,
                b"had" => record.had = Some(parse_position(text).ok_or_else(malformed)?),
                b"noted" => record.noted = text == "1",
                b"guarded" => record.guarded = Some(text == "1"),
                b"libraries" => record.owns_libraries = text == "1",
                b"lineage" => record.lineage = u64::from_str_radix(text, 16).map_err(|_| malformed())?,
                b"marks" => record.marks = parse_slots(text).ok_or_else(malformed)?,
                b"seen" => record.seen = parse_numbers(text).ok_or_else(malformed)?,
                b"owned" => record.owned = parse_numbers(text).ok_or_else(malformed)?,
                _ => {}
            }
        }
        let position = id.zip(offset).map(|(id, offset)| Position { id, offset });
        record.checkpoint = position.map(|position| Checkpoint { position, db });
        Ok(record)
    }

    /// The command that writes every field that this record holds; `verb` is the target's for several fields at once. `time_ms` is Unix time.
    #[must_use]
    pub fn command(&self, verb: &[u8], key: &[u8], time_ms: u64) -> Vec<Vec<u8>> {
        let mut args: Vec<Vec<u8>> = vec![verb.to_vec(), key.to_vec()];
        let mut field =
            |name: &str, value: String| args.extend([name.as_bytes().to_vec(), value.into_bytes()]);
        field("version", VERSION.to_owned());
        if let Some(at) = self.checkpoint {
            field("replid", at.position.id.to_string());
            field("offset", at.position.offset.to_string());
            field("db", at.db.to_string());
        }
        field("time_ms", time_ms.to_string());
        field("epoch", self.epoch.to_string());
        if let Some(position) = self.full_sync {
            field("full_sync", position.to_string());
            field("snapshot_ms", self.snapshot_ms.to_string());
        }
        if let Some(cursor) = self.cursor {
            let (at, db, keys, elements) = (cursor.at, cursor.db, cursor.keys, cursor.elements);
            field("cursor", format!("{at}:{db}:{keys}:{elements}"));
        }
        if self.resync {
            field("resync", "1".to_owned());
        }
        if self.wanted_ms != 0 {
            field("wanted_ms", self.wanted_ms.to_string());
        }
        if let Some(had) = self.had {
            field("had", had.to_string());
        }
        if self.noted {
            field("noted", "1".to_owned());
        }
        if self.owns_libraries {
            field("libraries", "1".to_owned());
        }
        if let Some(guarded) = self.guarded {
            field("guarded", u8::from(guarded).to_string());
        }
        if self.lineage != 0 {
            field("lineage", format!("{:016x}", self.lineage));
        }
        if !self.marks.is_empty() {
            let numbers: Vec<String> = self.marks.iter().map(u16::to_string).collect();
            field("marks", numbers.join(","));
        }
        for (name, databases) in [("seen", &self.seen), ("owned", &self.owned)] {
            let numbers: Vec<String> = databases.iter().map(u32::to_string).collect();
            field(name, numbers.join(","));
        }
        args
    }
}

impl Cursor {
    fn parse(text: &str) -> Option<Cursor> {
        let mut numbers = text.split(':');
        let at = count(numbers.next()?)?;
        let db = numbers.next()?.parse().ok()?;
        let keys = count(numbers.next()?)?;
        // Versions before 0.2 did not write this one.
        let elements = numbers.next().map_or(Some(0), count)?;
        Some(Cursor {
            at,
            db,
            keys,
            elements,
        })
    }
}

fn parse_position(text: &str) -> Option<Position> {
    let (id, offset) = text.split_once(':')?;
    Some(Position {
        id: ReplId::parse(id.as_bytes()).ok()?,
        offset: Offset::parse(offset)?,
    })
}

/// Nothing that is counted comes near 2^63: what does would overflow where it is added to.
fn count(text: &str) -> Option<u64> {
    Offset::parse(text).map(Offset::get)
}

/// A mark in each of these slots: there are no more than slots.
fn parse_slots(text: &str) -> Option<Vec<u16>> {
    let slots = command::ranges(text.split(',').filter(|n| !n.is_empty()).map(|n| {
        let slot = n.parse().ok()?;
        command::range(slot, slot)
    }))?;
    Some(slots.into_iter().map(|(slot, _)| slot).collect())
}

fn parse_numbers<N: std::str::FromStr>(text: &str) -> Option<Vec<N>> {
    text.split(',')
        .filter(|n| !n.is_empty())
        .map(|n| n.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[Vec<u8>]) -> Result<Record, Malformed> {
        Record::parse(args[2..].chunks(2).map(|pair| (&pair[0][..], &pair[1][..])))
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let id = ReplId::parse(&[b'a'; 40]).unwrap();
        let position = Position {
            id,
            offset: Offset::new(42),
        };
        let record = Record {
            checkpoint: Some(Checkpoint { position, db: 3 }),
            full_sync: Some(position),
            epoch: Epoch::new(7),
            snapshot_ms: 1_760_000_000_000,
            wanted_ms: 1_760_000_000_001,
            had: Some(position),
            seen: vec![0, 1, 7],
            owned: vec![0, 3],
            owns_libraries: true,
            cursor: Some(Cursor {
                at: 5,
                db: 1,
                keys: 9,
                elements: 4,
            }),
            resync: true,
            noted: true,
            guarded: Some(true),
            lineage: u64::MAX,
            marks: vec![0, 16_383],
        };
        assert_eq!(parsed(&record.command(b"HSET", b"k", 1)), Ok(record));
        assert_eq!(
            parsed(&Record::default().command(b"HSET", b"k", 1)),
            Ok(Record::default())
        );
    }

    #[test]
    fn databases_that_change_places_stay_ours_where_both_were() {
        for (owned, expected) in [
            (vec![0, 1], vec![0, 1]),
            (vec![0, 5], vec![5]),
            (vec![5], vec![5]),
        ] {
            let mut record = Record {
                owned,
                ..Record::default()
            };
            record.share_swapped(&[(0, 1), (1, 0)]);
            assert_eq!(record.owned, expected);
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_the_name_of_its_field() {
        let id = "a".repeat(40);
        let far = format!("{id}:9223372036854775808");
        let many = "1,".repeat(16_385);
        for (field, value) in [
            ("marks", "16384"),
            ("marks", "0,65535"),
            ("marks", "-1"),
            ("marks", "5-7"),
            ("marks", &many),
            ("offset", "9223372036854775808"),
            ("offset", "18446744073709551615"),
            ("epoch", "9223372036854775808"),
            ("full_sync", &far),
            ("cursor", "9223372036854775808:0:0:0"),
            ("cursor", "0:0:9223372036854775808:0"),
            ("cursor", "0:0:0:9223372036854775808"),
            ("snapshot_ms", "9223372036854775808"),
            ("db", "4294967296"),
            ("lineage", "x"),
        ] {
            let read = Record::parse([(field.as_bytes(), value.as_bytes())]);
            assert_eq!(read.unwrap_err().field, field, "{value}");
        }
        let most = Record::parse([(&b"epoch"[..], &b"9223372036854775807"[..])]).unwrap();
        assert_eq!(most.epoch.get(), 9_223_372_036_854_775_807);
    }

    #[test]
    fn a_cursor_of_an_older_gunyu_stands_at_the_beginning_of_its_key() {
        let record = Record::parse([(&b"cursor"[..], &b"5:1:9"[..])]).unwrap();
        assert_eq!(
            record.cursor.map(|cursor| (cursor.at, cursor.elements)),
            Some((5, 0))
        );
        assert!(Record::parse([(&b"cursor"[..], &b"5:1:9:x"[..])]).is_err());
    }

    #[test]
    fn the_session_of_an_older_gunyu_has_no_epoch() {
        for (value, epoch) in [
            ("0", 0),
            ("1", 0),
            ("2", 2),
            ("9223372036854775807", i64::MAX.unsigned_abs()),
            ("9223372036854775808", 0),
            ("18446744073709551615", 0),
            ("-1", 0),
            ("x", 0),
        ] {
            assert_eq!(epoch_of_session(value.as_bytes()), Epoch::new(epoch), "{value}");
        }
    }

    #[test]
    fn a_newer_format_and_rubbish_are_refused_by_name() {
        let newer = Record::parse([(&b"version"[..], &b"2"[..])]).unwrap_err();
        assert_eq!(newer.field, "version");
        let rubbish = Record::parse([(&b"offset"[..], &b"-1"[..])]).unwrap_err();
        assert_eq!((rubbish.field.as_str(), rubbish.value.as_str()), ("offset", "-1"));
    }

    #[test]
    fn the_key_of_a_deployment_hashes_by_its_name() {
        assert_eq!(&key("n")[..], b"redis-gunyu-checkpoint:{n}");
    }
}
