//! What values consist of.

use bytes::Bytes;

/// One thing that a value consists of.
#[derive(Debug, Clone, PartialEq)]
pub enum Element {
    /// The next piece of a string.
    Text(Bytes),
    /// The next item of a list.
    Item(Bytes),
    /// A member of a set.
    Member(Bytes),
    /// A member of a sorted set.
    Scored {
        /// The member.
        member: Bytes,
        /// Its score; never NaN.
        score: f64,
    },
    /// A field of a hash.
    Field {
        /// Its name.
        name: Bytes,
        /// What it holds.
        value: Bytes,
        /// When it expires, in milliseconds since 1970. May have passed.
        expire_at_ms: Option<i64>,
    },
    /// An entry of a stream. Deleted ones are not given.
    Entry {
        /// Its id; ids ascend.
        id: StreamId,
        /// Fields and values, as they were added.
        fields: Vec<(Bytes, Bytes)>,
    },
    /// What a stream knows of itself. After its entries.
    StreamMeta(StreamMeta),
    /// A group of a stream. Its pending entries follow, then its consumers, each followed by the ids it owns.
    Group(Group),
    /// An entry that was delivered to a consumer of the group and not acknowledged.
    Pending(Pending),
    /// A consumer of the group.
    Consumer {
        /// Its name.
        name: Bytes,
        /// When it last asked, in milliseconds since 1970.
        seen_ms: u64,
        /// When it last got something, where the server keeps that.
        active_ms: Option<u64>,
    },
    /// The consumer owns this pending entry.
    Owned(StreamId),
    /// The group's pending entry was given back: nobody owns it.
    GivenBack(StreamId),
    /// Redis since 8.6: for how long, and for how many, ids of producers are kept.
    Idempotence {
        /// Seconds.
        duration_secs: u64,
        /// How many for each producer.
        ids_max: u64,
    },
    /// The producer `producer` has added the entry `id` under its id `produced`.
    Produced {
        /// The producer.
        producer: Bytes,
        /// The producer's id of it.
        produced: Bytes,
        /// The entry.
        id: StreamId,
    },
    /// The next piece of a module's value, as it stands in the RDB.
    Module(Bytes),
}

impl Element {
    /// The length of its longest part, in bytes: no command has a longer argument of it.
    #[must_use]
    pub fn longest_bytes(&self) -> usize {
        match self {
            Element::Text(one) | Element::Item(one) | Element::Member(one) | Element::Module(one) => {
                one.len()
            }
            Element::Scored { member, .. } => member.len(),
            Element::Field { name, value, .. } => name.len().max(value.len()),
            Element::Entry { fields, .. } => {
                let longest = fields.iter().map(|(name, value)| name.len().max(value.len()));
                longest.max().unwrap_or(0)
            }
            Element::Group(group) => group.name.len(),
            Element::Consumer { name, .. } => name.len(),
            Element::Produced {
                producer, produced, ..
            } => producer.len().max(produced.len()),
            Element::StreamMeta(_)
            | Element::Pending(_)
            | Element::Owned(_)
            | Element::GivenBack(_)
            | Element::Idempotence { .. } => 0,
        }
    }
}

/// The id of an entry of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StreamId {
    /// Milliseconds since 1970, as a rule.
    pub ms: u64,
    /// Tells apart what was added in the same millisecond.
    pub seq: u64,
}

impl StreamId {
    /// From 16 bytes, big endian.
    pub(super) fn of_bytes(bytes: [u8; 16]) -> StreamId {
        let number = u128::from_be_bytes(bytes);
        StreamId {
            ms: (number >> 64) as u64,
            seq: number as u64,
        }
    }
}

impl std::fmt::Display for StreamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// What a stream knows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamMeta {
    /// How many entries it has.
    pub length: u64,
    /// The greatest id it ever had.
    pub last_id: StreamId,
    /// What servers since 7.0 keep beside that.
    pub since_7: Option<StreamCounts>,
}

/// What servers since 7.0 keep of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamCounts {
    /// The first entry's id.
    pub first_id: StreamId,
    /// The greatest id that was ever deleted.
    pub max_deleted_id: StreamId,
    /// How many entries were ever added.
    pub entries_added: u64,
}

/// A group of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: Bytes,
    /// The last id that was delivered.
    pub last_id: StreamId,
    /// How many entries it has read, where the server knows.
    pub entries_read: Option<u64>,
}

/// A pending entry of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// The entry.
    pub id: StreamId,
    /// When it was last delivered, in milliseconds since 1970.
    pub delivered_ms: u64,
    /// How often.
    pub deliveries: u64,
}
