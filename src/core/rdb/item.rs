//! What a snapshot consists of.

use std::fmt;

use bytes::Bytes;

use super::layout::MODULE;
use super::payload::Payload;
use super::reader::Reader;

/// One thing that stands in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A key with its value.
    Key(Key),
    /// A library of functions: its code as an RDB string, as [`super::payload::write_functions`] takes it.
    /// [`super::unpack`] gives the code itself.
    Function(Bytes),
    /// A field about the file.
    Aux {
        /// Its name, such as `redis-ver`.
        key: Bytes,
        /// What it says.
        value: Bytes,
    },
    /// What a module keeps beside the keys. Redis has no command that takes it.
    ModuleAux {
        /// The module's type.
        module: ModuleId,
        /// Everything after the opcode.
        raw: Bytes,
    },
    /// The keys that follow are in this database.
    SelectDb(u32),
    /// How many keys the database selected has: a hint.
    ResizeDb {
        /// All keys.
        keys: u64,
        /// Those with a TTL.
        expires: u64,
    },
    /// How many keys a slot of a cluster has: a hint.
    SlotInfo {
        /// The slot.
        slot: u64,
        /// All its keys.
        keys: u64,
        /// Those with a TTL.
        expires: u64,
    },
    /// Valkey: slots that this node is importing, whose keys may be in the snapshot before they are the node's own.
    SlotImport {
        /// Name of the import, then ranges of slots: a count, and so many times first and last, all as lengths.
        raw: Bytes,
    },
}

impl Item {
    /// Whether it says that the snapshot may hold keys which are not the node's own yet: of slots that it was taking over as a whole.
    #[must_use]
    pub fn imports(&self) -> bool {
        match self {
            Item::SlotImport { .. } => true,
            // Redis: a task, in parts divided by colons; the fourth says which side of it this is.
            Item::Aux { key, value } if &key[..] == b"cluster-asm-task" => {
                value.split(|byte| *byte == b':').nth(3) == Some(b"import")
            }
            _ => false,
        }
    }
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The database.
    pub db: u32,
    /// The name, unpacked.
    pub key: Bytes,
    /// The value's type byte; [`super::kind_of`] says what it stands for.
    pub value_type: u8,
    /// The value as it stands in the file, without the type byte.
    pub value: Bytes,
    /// When the key expires, in milliseconds since 1970. May have passed.
    pub expire_at_ms: Option<i64>,
    /// Seconds since it was used, where the source evicts by that.
    pub idle_secs: Option<u64>,
    /// How often it is used, as the LFU counter, where the source evicts by that.
    pub freq: Option<u8>,
    /// What modules attached to the key, opcode included (Redis since RDB 13). Empty for nearly every key.
    pub meta: Bytes,
    /// The byte of the file with which the key begins, expiry and the like included.
    pub start: u64,
    /// The byte of the file after the value, as far as it is here.
    pub end: u64,
}

impl Key {
    /// The key's value as `RESTORE` takes it.
    #[must_use]
    pub fn payload(&self) -> Payload<'_> {
        Payload {
            meta: &self.meta,
            value_type: self.value_type,
            value: &self.value,
        }
    }

    /// The byte of the file at which the value begins.
    #[must_use]
    pub fn value_start(&self) -> u64 {
        self.end.saturating_sub(self.value.len() as u64)
    }

    /// Which module's type the value is of, if it is a module's.
    #[must_use]
    pub fn module(&self) -> Option<ModuleId> {
        (self.value_type == MODULE).then_some(())?;
        Reader::new(&self.value).length().ok().map(ModuleId)
    }
}

/// A module's type: a name of nine characters, and the version of its encoding.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ModuleId(pub(super) u64);

impl ModuleId {
    /// Nine times six bits from the top, and ten bits of version.
    const CHARACTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    /// The name, such as `ReJSON-RL`.
    #[must_use]
    pub fn name(self) -> String {
        (1..=9)
            .map(|i| char::from(Self::CHARACTERS[(self.0 >> (64 - 6 * i)) as usize & 63]))
            .collect()
    }

    /// The version of the encoding.
    #[must_use]
    pub fn encoding_version(self) -> u16 {
        (self.0 & 1023) as u16
    }
}

impl fmt::Display for ModuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} version {}", self.name(), self.encoding_version())
    }
}

impl fmt::Debug for ModuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModuleId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_says_whether_slots_were_being_imported() {
        for (value, expected) in [
            (&b"id:from:to:import:streaming-buffer:0-5"[..], true),
            (b"id:from:to:migrate:send-stream:0-5", false),
            (b"", false),
        ] {
            let aux = Item::Aux {
                key: Bytes::from_static(b"cluster-asm-task"),
                value: Bytes::from_static(value),
            };
            assert_eq!(aux.imports(), expected, "{aux:?}");
        }
        let raw = Bytes::new();
        assert!(Item::SlotImport { raw }.imports());
    }

    #[test]
    fn a_module_is_named_by_its_id() {
        let name = b"ReJSON-RL";
        let bits = name.iter().fold(0, |bits, wanted| {
            let digit = ModuleId::CHARACTERS.iter().position(|c| c == wanted).unwrap();
            bits << 6 | digit as u64
        });
        let id = ModuleId(bits << 10 | 3);
        assert_eq!(id.to_string(), "ReJSON-RL version 3");
    }
}
