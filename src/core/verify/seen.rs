//! What a side says of a key, and whether two such say the same. Without I/O, but for a look at the clock.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Unix time in milliseconds.
#[must_use]
pub fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// The type of a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// There is none.
    Missing,
    /// It was not asked for.
    Any,
    /// A string.
    String,
    /// A list.
    List,
    /// A set.
    Set,
    /// A sorted set.
    Zset,
    /// A hash.
    Hash,
    /// A stream.
    Stream,
    /// Another, as the server names it: a module's.
    Other(String),
    /// The answers did not fit together, or another node has it now: nothing is known.
    Torn,
}

impl Kind {
    /// As `TYPE` names it.
    #[must_use]
    pub fn named(name: &[u8]) -> Kind {
        match name {
            b"none" => Kind::Missing,
            b"string" => Kind::String,
            b"list" => Kind::List,
            b"set" => Kind::Set,
            b"zset" => Kind::Zset,
            b"hash" => Kind::Hash,
            b"stream" => Kind::Stream,
            other => Kind::Other(String::from_utf8_lossy(other).into_owned()),
        }
    }

    /// The name, for people.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Kind::Missing => "none",
            Kind::Any => "any",
            Kind::String => "string",
            Kind::List => "list",
            Kind::Set => "set",
            Kind::Zset => "zset",
            Kind::Hash => "hash",
            Kind::Stream => "stream",
            Kind::Other(name) => name,
            Kind::Torn => "unknown",
        }
    }

    /// The command that says how long a value is; modules' values have none.
    #[must_use]
    pub fn length_verb(&self) -> Option<&'static [u8]> {
        Some(match self {
            Kind::String => b"STRLEN",
            Kind::List => b"LLEN",
            Kind::Set => b"SCARD",
            Kind::Zset => b"ZCARD",
            Kind::Hash => b"HLEN",
            Kind::Stream => b"XLEN",
            Kind::Missing | Kind::Any | Kind::Other(_) | Kind::Torn => return None,
        })
    }
}

/// A value, as far as it was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// It was not.
    Unasked,
    /// It is too large to be looked at as a whole: both sides are asked for it in pieces, when nothing of it changes.
    Large,
    /// It is a module's, and too large to be asked for.
    TooLarge,
    /// It was compared in pieces, and is the same, or differs so.
    Pieces(Option<Difference>),
    /// What it comes to, whatever its encoding.
    Digest(Digest),
    /// Only its bytes are known, of this version of the format: a module's.
    Raw {
        /// The version of the format, or of the module.
        version: u16,
        /// What the bytes come to.
        hash: Hash,
    },
}

/// A sum over what was hashed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hash(pub u64, pub u64);

/// What a value comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Its elements.
    pub elements: Hash,
    /// When its fields expire.
    pub expiries: Hash,
    /// What only some versions keep of a stream.
    pub counts: Option<Hash>,
}

/// What a side says of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Its type.
    pub kind: Kind,
    /// When it expires, Unix time in milliseconds; nothing where it does not, or was not asked for.
    pub expires_ms: Option<i64>,
    /// That may be wrong by so much: it was told as a time that is left, in an answer that took its time.
    #[serde(default)]
    pub slack_ms: i64,
    /// How long it is, where that was asked for and there is a length.
    pub length: Option<u64>,
    /// Its value.
    pub value: Value,
}

impl Seen {
    /// Only the type is known.
    #[must_use]
    pub fn of(kind: Kind) -> Seen {
        Seen {
            kind,
            expires_ms: None,
            slack_ms: 0,
            length: None,
            value: Value::Unasked,
        }
    }

    /// Whether there is such a key.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.kind != Kind::Missing
    }
}

/// How two sides differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// The source has the key, the target has not.
    Missing,
    /// The target has the key, the source has not.
    Extra,
    /// The types differ.
    Type,
    /// The lengths differ.
    Length,
    /// The values differ.
    Value,
    /// Fields of a hash expire at other times.
    FieldTtl,
    /// The key expires at another time.
    Ttl,
}

impl Difference {
    /// All kinds, in the order in which they are told.
    pub const ALL: [Difference; 7] = [
        Difference::Missing,
        Difference::Extra,
        Difference::Type,
        Difference::Length,
        Difference::Value,
        Difference::FieldTtl,
        Difference::Ttl,
    ];

    /// The name that a program reads.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Difference::Missing => "missing",
            Difference::Extra => "extra",
            Difference::Type => "type",
            Difference::Length => "length",
            Difference::Value => "value",
            Difference::FieldTtl => "field_ttl",
            Difference::Ttl => "ttl",
        }
    }
}

/// Whether two sides say the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They do.
    Equal,
    /// They do, but for values that cannot be compared: they are of different versions, and only their module knows them.
    Uncompared,
    /// They do not.
    Differs(Difference),
    /// Not yet known.
    Unknown,
}

/// Judges one key. The first row that fits:
///
/// | source | target | verdict |
/// | --- | --- | --- |
/// | torn | any | unknown |
/// | any | torn | unknown |
/// | missing | missing | equal |
/// | one there, and expires about now | the other missing | unknown: clocks may be apart |
/// | there | missing | missing |
/// | missing | there | extra |
/// | types differ | | type |
/// | lengths differ, but for hashes of the same live fields | | length |
/// | values differ | | value |
/// | fields expire at other times | | field TTL |
/// | expires, more than the tolerance from when the other does; or only one of them does | | TTL |
/// | large | large | unknown: it must be compared in pieces |
/// | bytes of different versions, not the same | | uncompared |
/// | else | | equal |
#[must_use]
pub fn judge(source: &Seen, target: &Seen, tolerance_ms: i64) -> Verdict {
    judge_at(source, target, tolerance_ms, now_ms())
}

/// The same at that moment.
fn judge_at(source: &Seen, target: &Seen, tolerance_ms: i64, now_ms: i64) -> Verdict {
    use Difference::{Extra, FieldTtl, Length, Missing, Ttl, Type};
    if source.kind == Kind::Torn || target.kind == Kind::Torn {
        return Verdict::Unknown;
    }
    let slack_ms = source.slack_ms.saturating_add(target.slack_ms);
    let tolerance = tolerance_ms.saturating_add(slack_ms).unsigned_abs();
    let is_expiring = |seen: &Seen| seen.expires_ms.is_some_and(|at| at.abs_diff(now_ms) <= tolerance);
    match (source.is_there(), target.is_there()) {
        (false, false) => return Verdict::Equal,
        (true, false) if is_expiring(source) => return Verdict::Unknown,
        (false, true) if is_expiring(target) => return Verdict::Unknown,
        (true, false) => return Verdict::Differs(Missing),
        (false, true) => return Verdict::Differs(Extra),
        (true, true) => {}
    }
    if source.kind != target.kind {
        return Verdict::Differs(Type);
    }
    let value = values(&source.value, &target.value);
    if source.length != target.length {
        // Fields that have expired count in the length of a hash until they are removed, which each side does when it likes.
        let is_told = source.kind == Kind::Hash && source.value != Value::Unasked;
        match value {
            Verdict::Equal | Verdict::Unknown | Verdict::Differs(FieldTtl) if is_told => {}
            _ => return Verdict::Differs(Length),
        }
    }
    if matches!(value, Verdict::Differs(one) if one != FieldTtl) {
        return value;
    }
    let apart = match (source.expires_ms, target.expires_ms) {
        (None, None) => false,
        // Asked for only because of keys that expire while they are looked at.
        _ if source.kind == Kind::Any => false,
        (Some(one), Some(other)) => one.abs_diff(other) > tolerance,
        _ => true,
    };
    match (value, apart) {
        (Verdict::Differs(_), _) | (_, false) => value,
        (_, true) => Verdict::Differs(Ttl),
    }
}

fn values(source: &Value, target: &Value) -> Verdict {
    let differ = Verdict::Differs(Difference::Value);
    match (source, target) {
        (Value::Unasked, Value::Unasked) => Verdict::Equal,
        (Value::TooLarge, _) | (_, Value::TooLarge) => Verdict::Uncompared,
        (Value::Pieces(difference), _) => difference.map_or(Verdict::Equal, Verdict::Differs),
        (Value::Digest(one), Value::Digest(other)) => {
            let counts = one.counts.zip(other.counts);
            match one.elements == other.elements && counts.is_none_or(|(one, other)| one == other) {
                false => differ,
                true if one.expiries != other.expiries => Verdict::Differs(Difference::FieldTtl),
                true => Verdict::Equal,
            }
        }
        (
            Value::Raw { version, hash },
            Value::Raw {
                version: other_version,
                hash: other_hash,
            },
        ) => match (hash == other_hash, version == other_version) {
            (true, _) => Verdict::Equal,
            (false, true) => differ,
            (false, false) => Verdict::Uncompared,
        },
        (Value::Large, Value::Large) => Verdict::Unknown,
        // One is of a version that we read, the other is not.
        (Value::Raw { .. }, Value::Digest(_)) | (Value::Digest(_), Value::Raw { .. }) => Verdict::Uncompared,
        _ => Verdict::Unknown,
    }
}

/// Judges a key that several places of the source may feed; of those only what is there. It is right where it is as in one of them, and missing, or extra,
/// as against all.
#[must_use]
pub fn judge_all(sources: &[Seen], target: &Seen, tolerance_ms: i64) -> Verdict {
    let none = [Seen::of(Kind::Missing)];
    let sources = if sources.is_empty() { &none[..] } else { sources };
    let verdicts = sources.iter().map(|source| judge(source, target, tolerance_ms));
    let rank = |verdict: &Verdict| match verdict {
        Verdict::Equal => 0,
        Verdict::Uncompared => 1,
        Verdict::Unknown => 2,
        Verdict::Differs(_) => 3,
    };
    verdicts.min_by_key(rank).unwrap_or(Verdict::Unknown)
}

/// Whether two looks at the source have seen the same, so far as can be told.
#[must_use]
pub fn is_same(before: &[Seen], after: &[Seen], tolerance_ms: i64) -> bool {
    let same = |(one, other): (&Seen, &Seen)| {
        let are_both = |value: Value| one.value == value && other.value == value;
        match judge(one, other, tolerance_ms) {
            Verdict::Equal => true,
            Verdict::Unknown => are_both(Value::Large) && one.kind != Kind::Torn && other.kind != Kind::Torn,
            Verdict::Uncompared => are_both(Value::TooLarge),
            Verdict::Differs(_) => false,
        }
    };
    before.len() == after.len() && before.iter().zip(after).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(kind: Kind) -> Seen {
        Seen {
            length: Some(3),
            ..Seen::of(kind)
        }
    }

    fn with(value: Value) -> Seen {
        Seen {
            value,
            ..seen(Kind::Hash)
        }
    }

    fn digest(elements: u64, expiries: u64, counts: Option<u64>) -> Seen {
        with(Value::Digest(Digest {
            elements: Hash(elements, 0),
            expiries: Hash(expiries, 0),
            counts: counts.map(|one| Hash(one, 0)),
        }))
    }

    fn raw(version: u16, hash: u64) -> Seen {
        with(Value::Raw {
            version,
            hash: Hash(hash, 0),
        })
    }

    fn expiring(at: Option<i64>) -> Seen {
        Seen {
            expires_ms: at,
            ..seen(Kind::String)
        }
    }

    #[test]
    fn every_row_of_the_table() {
        use Difference::{Extra, FieldTtl, Length, Missing, Ttl, Type, Value as Val};
        let longer = Seen {
            length: Some(4),
            ..seen(Kind::Set)
        };
        let both = Seen {
            expires_ms: Some(1),
            ..digest(1, 2, None)
        };
        #[rustfmt::skip]
        let rows = [
            (seen(Kind::Torn),     seen(Kind::Set),       Verdict::Unknown),
            (seen(Kind::Missing),  seen(Kind::Torn),      Verdict::Unknown),
            (Seen::of(Kind::Missing), Seen::of(Kind::Missing), Verdict::Equal),
            (seen(Kind::Set),      Seen::of(Kind::Missing), Verdict::Differs(Missing)),
            (Seen::of(Kind::Missing), seen(Kind::Set),    Verdict::Differs(Extra)),
            (seen(Kind::Set),      seen(Kind::List),      Verdict::Differs(Type)),
            (seen(Kind::Other("a".into())), seen(Kind::Other("b".into())), Verdict::Differs(Type)),
            (seen(Kind::Set),      longer,                Verdict::Differs(Length)),
            (digest(1, 1, None),   digest(2, 1, None),    Verdict::Differs(Val)),
            (digest(1, 1, Some(1)), digest(1, 1, Some(2)), Verdict::Differs(Val)),
            (digest(1, 1, Some(1)), digest(1, 1, None),   Verdict::Equal),
            (digest(1, 1, None),   digest(1, 2, None),    Verdict::Differs(FieldTtl)),
            (both,                 digest(1, 1, None),    Verdict::Differs(FieldTtl)),
            (expiring(Some(5_000)), expiring(Some(6_000)), Verdict::Equal),
            (expiring(Some(5_000)), expiring(Some(6_001)), Verdict::Differs(Ttl)),
            (expiring(Some(6_001)), expiring(Some(5_000)), Verdict::Differs(Ttl)),
            (expiring(None),       expiring(Some(1)),     Verdict::Differs(Ttl)),
            (expiring(Some(1)),    expiring(None),        Verdict::Differs(Ttl)),
            (with(Value::Large),   with(Value::Large),    Verdict::Unknown),
            (with(Value::Pieces(None)), with(Value::Large), Verdict::Equal),
            (with(Value::Pieces(Some(Val))), with(Value::Large), Verdict::Differs(Val)),
            (with(Value::Pieces(Some(FieldTtl))), with(Value::Large), Verdict::Differs(FieldTtl)),
            (with(Value::TooLarge), with(Value::TooLarge), Verdict::Uncompared),
            (with(Value::TooLarge), raw(10, 1),           Verdict::Uncompared),
            (raw(10, 1),           raw(11, 1),            Verdict::Equal),
            (raw(10, 1),           raw(11, 2),            Verdict::Uncompared),
            (raw(10, 1),           raw(10, 2),            Verdict::Differs(Val)),
            (raw(10, 1),           digest(1, 1, None),    Verdict::Uncompared),
            (seen(Kind::Set),      seen(Kind::Set),       Verdict::Equal),
        ];
        for (source, target, verdict) in rows {
            assert_eq!(judge(&source, &target, 1_000), verdict, "{source:?} {target:?}");
        }
    }

    #[test]
    fn a_hash_is_as_long_as_its_live_fields_where_those_were_looked_at() {
        use Difference::{FieldTtl, Length, Value as Val};
        let longer = |seen: Seen| Seen {
            length: Some(4),
            ..seen
        };
        #[rustfmt::skip]
        let rows = [
            (digest(1, 1, None),         digest(1, 1, None),  Verdict::Equal),
            (digest(1, 1, None),         digest(1, 2, None),  Verdict::Differs(FieldTtl)),
            (digest(1, 1, None),         digest(2, 1, None),  Verdict::Differs(Length)),
            (with(Value::Large),         with(Value::Large),  Verdict::Unknown),
            (with(Value::Pieces(None)),  with(Value::Large),  Verdict::Equal),
            (with(Value::Pieces(Some(Val))), with(Value::Large), Verdict::Differs(Length)),
            (seen(Kind::Hash),           seen(Kind::Hash),    Verdict::Differs(Length)),
        ];
        for (source, target, verdict) in rows {
            let target = longer(target);
            assert_eq!(judge(&source, &target, 0), verdict, "{source:?} {target:?}");
        }
        let list = |seen: Seen| Seen {
            kind: Kind::List,
            ..seen
        };
        let (one, other) = (list(digest(1, 1, None)), list(longer(digest(1, 1, None))));
        assert_eq!(judge(&one, &other, 0), Verdict::Differs(Length));
    }

    #[test]
    fn a_key_that_is_about_to_expire_may_be_gone_on_one_side_already() {
        let missing = Seen::of(Kind::Missing);
        let any = |at| Seen {
            kind: Kind::Any,
            ..expiring(at)
        };
        #[rustfmt::skip]
        let rows = [
            (Some(10_000), 10_000, true),
            (Some(11_000), 10_000, true),
            (Some(9_000),  10_000, true),
            (Some(11_001), 10_000, false),
            (Some(8_999),  10_000, false),
            (None,         10_000, false),
        ];
        for (at, now, is_unknown) in rows {
            for there in [expiring(at), any(at)] {
                let both = [(&there, &missing), (&missing, &there)];
                let unknown = both.map(|(one, other)| judge_at(one, other, 1_000, now) == Verdict::Unknown);
                assert_eq!(unknown, [is_unknown; 2], "{at:?}");
            }
        }
        assert_eq!(
            judge(&any(Some(1)), &any(None), 0),
            Verdict::Equal,
            "only whether it is there"
        );
    }

    #[test]
    fn an_answer_that_took_its_time_tells_times_less_exactly() {
        let slow = |at, slack_ms| Seen {
            slack_ms,
            ..expiring(Some(at))
        };
        assert_eq!(judge(&slow(5_000, 700), &slow(6_900, 200), 1_000), Verdict::Equal);
        let apart = judge(&slow(5_000, 700), &slow(6_901, 200), 1_000);
        assert_eq!(apart, Verdict::Differs(Difference::Ttl));
        assert_eq!(judge(&slow(0, i64::MAX), &slow(i64::MAX, 1), 1), Verdict::Equal);
    }

    #[test]
    fn a_key_that_several_databases_feed_is_right_where_it_is_as_in_one_of_them() {
        let (set, list) = (seen(Kind::Set), seen(Kind::List));
        let missing = Seen::of(Kind::Missing);
        assert_eq!(judge_all(&[set.clone(), list.clone()], &list, 0), Verdict::Equal);
        assert_eq!(
            judge_all(std::slice::from_ref(&set), &list, 0),
            Verdict::Differs(Difference::Type)
        );
        assert_eq!(judge_all(&[], &list, 0), Verdict::Differs(Difference::Extra));
        assert_eq!(
            judge_all(&[set, list], &missing, 0),
            Verdict::Differs(Difference::Missing)
        );
        assert_eq!(judge_all(&[], &missing, 0), Verdict::Equal);
    }

    #[test]
    fn nothing_is_the_same_as_what_is_torn_and_large_values_may_be() {
        let torn = [Seen::of(Kind::Torn)];
        assert!(!is_same(&torn, &torn, 0));
        let large = [with(Value::Large)];
        assert!(is_same(&large, &large, 0));
        assert!(!is_same(&large, &[], 0));
        assert!(is_same(&[], &[], 0));
    }
}
