//! Two large values, side by side and in pieces: neither is ever in memory as a whole.
//!
//! What is said here is of a moment only if nothing changes meanwhile: whoever asks sees to that.
//!
//! | type | the source | the target |
//! | --- | --- | --- |
//! | string, list | `GETRANGE`, `LRANGE` | the same |
//! | set, sorted set | `SSCAN`, `ZSCAN` | `SISMEMBER`, `ZSCORE` of each member |
//! | hash | `HSCAN`; `HPEXPIRETIME`, where both know it | `HMGET`; the same |
//! | stream | `XRANGE`, `XINFO`, `XPENDING` | the same |
//!
//! Both are of the same length, so that nothing of the target is left over where all of the source is found there. Hashes say their length with fields that have
//! expired, which no question shows: those are walked through on both sides. What is not as long as was said has changed meanwhile.

use bytes::BytesMut;

use super::Error;
use super::seen::{Difference, Kind};
use super::side::Lines;
use super::talk::Talk;
use crate::core::rdb::value::StreamId;
use crate::core::resp::{Value, encode_command};

/// A piece is about so long.
const PIECE_BYTES: u64 = 256 << 10;

/// More elements than these make no piece.
const PIECE_ELEMENTS_MAX: u64 = 1_000;

/// The first piece: how long elements are is only known from answers.
const FIRST_PIECE: u64 = 16;

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compared {
    /// They are the same.
    Same,
    /// They differ so.
    Differ(Difference),
    /// One of them is of another type or another node's by now.
    Torn,
}

const DIFFER: Compared = Compared::Differ(Difference::Value);

/// A value that both sides have: on the source of this type and length.
#[derive(Debug, Clone)]
pub(super) struct Large<'a> {
    pub(super) key: &'a [u8],
    pub(super) kind: &'a Kind,
    pub(super) length: u64,
}

/// One side of it.
struct Half<'a> {
    talk: &'a mut Talk,
    db: u32,
}

impl Half<'_> {
    async fn ask(&mut self, args: &[&[u8]]) -> Result<Value, Error> {
        let mut request = BytesMut::new();
        encode_command(&mut request, args);
        let answer = self.talk.ask(self.db, &mut request, 1).await?.pop();
        Ok(answer.unwrap_or(Value::Nil))
    }

    async fn ask_each(&mut self, verb: &[u8], key: &[u8], members: &[&[u8]]) -> Result<Vec<Value>, Error> {
        let mut request = BytesMut::new();
        for member in members {
            encode_command(&mut request, &[verb, key, member]);
        }
        self.talk.ask(self.db, &mut request, members.len()).await
    }
}

/// Compares a value.
pub(super) async fn compare(
    source: (&mut Lines, u32),
    target: (&mut Lines, u32),
    large: &Large<'_>,
) -> Result<Compared, Error> {
    let (nodes, dbs) = (
        (
            source.0.side().node_of(large.key),
            target.0.side().node_of(large.key),
        ),
        (source.1, target.1),
    );
    let mut both = Both {
        source: Half {
            talk: source.0.talk(nodes.0).await?,
            db: dbs.0,
        },
        target: Half {
            talk: target.0.talk(nodes.1).await?,
            db: dbs.1,
        },
        key: large.key,
    };
    match large.kind {
        Kind::String => both.in_order(b"GETRANGE", large.length).await,
        Kind::List => both.in_order(b"LRANGE", large.length).await,
        Kind::Set => both.by_name(b"SSCAN", large.length).await,
        Kind::Zset => both.by_name(b"ZSCAN", large.length).await,
        Kind::Hash => both.by_name(b"HSCAN", large.length).await,
        Kind::Stream => both.stream(large.length).await,
        Kind::Missing | Kind::Any | Kind::Other(_) | Kind::Torn => Ok(Compared::Torn),
    }
}

/// Both sides of a value.
struct Both<'a> {
    source: Half<'a>,
    target: Half<'a>,
    key: &'a [u8],
}

impl Both<'_> {
    /// Asks both the same.
    async fn ask(&mut self, args: &[&[u8]]) -> Result<(Value, Value), Error> {
        tokio::try_join!(self.source.ask(args), self.target.ask(args))
    }

    async fn in_order(&mut self, verb: &[u8], length: u64) -> Result<Compared, Error> {
        let mut piece = if verb == b"GETRANGE" {
            PIECE_BYTES
        } else {
            FIRST_PIECE
        };
        let mut at = 0;
        while at < length {
            let (first, last) = (at.to_string(), (at + piece - 1).to_string());
            let args = [verb, self.key, first.as_bytes(), last.as_bytes()];
            let (source, target) = self.ask(&args).await?;
            if source.error().or(target.error()).is_some() || is_empty(&source) {
                return Ok(Compared::Torn);
            }
            if source != target {
                return Ok(DIFFER);
            }
            at += piece;
            if verb != b"GETRANGE" {
                piece = next_piece(piece, source.array().unwrap_or_default());
            }
        }
        Ok(Compared::Same)
    }

    async fn by_name(&mut self, verb: &[u8], length: u64) -> Result<Compared, Error> {
        let walked = self.walk(verb, true).await?;
        if walked.compared != Compared::Same {
            return Ok(walked.compared);
        }
        if verb != b"HSCAN" && walked.met < length {
            return Ok(Compared::Torn);
        }
        if verb == b"HSCAN" && (walked.expiries.is_some() || walked.met < length) {
            std::mem::swap(&mut self.source, &mut self.target);
            let back = self.walk(verb, false).await;
            std::mem::swap(&mut self.source, &mut self.target);
            let back = back?.compared;
            if back != Compared::Same {
                return Ok(back);
            }
        }
        Ok(match walked.expiries {
            Some(false) => Compared::Differ(Difference::FieldTtl),
            Some(true) | None => Compared::Same,
        })
    }

    /// Walks through the source, and looks for all of it on the target.
    async fn walk(&mut self, verb: &[u8], with_expiries: bool) -> Result<Walked, Error> {
        let (mut cursor, mut piece) = (b"0".to_vec(), FIRST_PIECE);
        let mut walked = Walked {
            compared: Compared::Same,
            met: 0,
            expiries: (verb == b"HSCAN" && with_expiries).then_some(true),
        };
        loop {
            let count = piece.to_string();
            let args = [verb, self.key, &cursor, b"COUNT", count.as_bytes()];
            let answer = self.source.ask(&args).await?;
            let Some([Value::Bulk(next), Value::Array(elements)]) = answer.array() else {
                walked.compared = Compared::Torn;
                return Ok(walked);
            };
            piece = next_piece(piece, elements);
            let elements: Vec<&[u8]> = elements.iter().filter_map(Value::text).collect();
            let each = if verb == b"SSCAN" { 1 } else { 2 };
            walked.met += (elements.len() / each) as u64;
            // What is packed comes as a whole, whatever was asked for.
            for elements in elements.chunks(PIECE_ELEMENTS_MAX as usize * each) {
                walked.compared = match verb {
                    b"SSCAN" => self.members(elements).await?,
                    b"ZSCAN" => self.scores(elements).await?,
                    _ => self.fields(elements).await?,
                };
                if walked.compared != Compared::Same {
                    return Ok(walked);
                }
                if let Some(same) = walked.expiries {
                    let more = self.expiries(elements).await?;
                    walked.expiries = more.map(|more| same && more);
                }
            }
            if next == b"0" {
                return Ok(walked);
            }
            cursor.clone_from(next);
        }
    }

    async fn members(&mut self, members: &[&[u8]]) -> Result<Compared, Error> {
        let answers = self.target.ask_each(b"SISMEMBER", self.key, members).await?;
        Ok(match answers.iter().find(|answer| **answer != Value::Int(1)) {
            None => Compared::Same,
            Some(Value::Int(_)) => DIFFER,
            Some(_) => Compared::Torn,
        })
    }

    async fn scores(&mut self, pairs: &[&[u8]]) -> Result<Compared, Error> {
        let members: Vec<&[u8]> = pairs.chunks_exact(2).map(|pair| pair[0]).collect();
        let answers = self.target.ask_each(b"ZSCORE", self.key, &members).await?;
        for (pair, answer) in pairs.chunks_exact(2).zip(&answers) {
            match answer {
                // Versions write the same number differently.
                Value::Bulk(score) if parsed(score) == parsed(pair[1]) => {}
                Value::Bulk(_) | Value::Nil => return Ok(DIFFER),
                _ => return Ok(Compared::Torn),
            }
        }
        Ok(Compared::Same)
    }

    async fn fields(&mut self, pairs: &[&[u8]]) -> Result<Compared, Error> {
        let mut args: Vec<&[u8]> = vec![b"HMGET", self.key];
        args.extend(pairs.chunks_exact(2).map(|pair| pair[0]));
        if args.len() == 2 {
            return Ok(Compared::Same);
        }
        let answer = self.target.ask(&args).await?;
        let whole = answer.array().filter(|values| values.len() == args.len() - 2);
        let Some(values) = whole else {
            return Ok(Compared::Torn);
        };
        let mut same = pairs.chunks_exact(2).zip(values);
        Ok(match same.all(|(pair, value)| value.text() == Some(pair[1])) {
            true => Compared::Same,
            false => DIFFER,
        })
    }

    /// Whether fields expire at the same time on both sides; nothing where one does not know that fields can.
    async fn expiries(&mut self, pairs: &[&[u8]]) -> Result<Option<bool>, Error> {
        if pairs.is_empty() {
            return Ok(Some(true));
        }
        let count = (pairs.len() / 2).to_string();
        let mut args: Vec<&[u8]> = vec![b"HPEXPIRETIME", self.key, b"FIELDS", count.as_bytes()];
        args.extend(pairs.chunks_exact(2).map(|pair| pair[0]));
        let (source, target) = self.ask(&args).await?;
        let both_know = source.array().and(target.array()).is_some();
        Ok(both_know.then(|| source == target))
    }

    async fn stream(&mut self, length: u64) -> Result<Compared, Error> {
        let compared = self.entries(length).await?;
        if compared != Compared::Same {
            return Ok(compared);
        }
        let about: [&[u8]; 3] = [b"last-generated-id", b"max-deleted-entry-id", b"entries-added"];
        let (source, target) = self.ask(&[b"XINFO", b"STREAM", self.key]).await?;
        if source.array().and(target.array()).is_none() {
            return Ok(Compared::Torn);
        }
        if !agree(&source, &target, &about) {
            return Ok(DIFFER);
        }
        let (source, target) = self.ask(&[b"XINFO", b"GROUPS", self.key]).await?;
        let (Some(source), Some(target)) = (source.array(), target.array()) else {
            return Ok(Compared::Torn);
        };
        let about: [&[u8]; 3] = [b"name", b"pending", b"last-delivered-id"];
        let mut pairs = source.iter().zip(target);
        if source.len() != target.len() || !pairs.all(|(one, other)| agree(one, other, &about)) {
            return Ok(DIFFER);
        }
        for group in source.iter().filter_map(|group| field(group, b"name")) {
            let name = group.text().unwrap_or_default();
            let compared = self.pending(name).await?;
            if compared != Compared::Same {
                return Ok(compared);
            }
        }
        Ok(Compared::Same)
    }

    async fn entries(&mut self, length: u64) -> Result<Compared, Error> {
        let (mut from, mut piece, mut met) = ("-".to_owned(), FIRST_PIECE, 0);
        loop {
            let count = piece.to_string();
            let args = [
                b"XRANGE",
                self.key,
                from.as_bytes(),
                b"+",
                b"COUNT",
                count.as_bytes(),
            ];
            let (source, target) = self.ask(&args).await?;
            let (Some(entries), Some(_)) = (source.array(), target.array()) else {
                return Ok(Compared::Torn);
            };
            if source != target {
                return Ok(DIFFER);
            }
            met += entries.len() as u64;
            let last = entries.last().and_then(|entry| entry.array()?.first()?.text());
            match last.and_then(after) {
                Some(next) => from = next,
                None if met == length => return Ok(Compared::Same),
                None => return Ok(Compared::Torn),
            }
            piece = next_piece(piece, entries);
        }
    }

    /// Pending entries of a group: whose, and how often delivered.
    async fn pending(&mut self, group: &[u8]) -> Result<Compared, Error> {
        let (mut from, count) = ("-".to_owned(), PIECE_ELEMENTS_MAX.to_string());
        loop {
            let args = [
                b"XPENDING",
                self.key,
                group,
                from.as_bytes(),
                b"+",
                count.as_bytes(),
            ];
            let (source, target) = self.ask(&args).await?;
            let (Some(source), Some(target)) = (source.array(), target.array()) else {
                return Ok(Compared::Torn);
            };
            // [id, consumer, idle for so long, delivered so often]
            let what = |one: &Value| {
                one.array()
                    .map(|one| (one.first().cloned(), one.get(1).cloned(), one.get(3).cloned()))
            };
            let mut pairs = source.iter().zip(target);
            if source.len() != target.len() || !pairs.all(|(one, other)| what(one) == what(other)) {
                return Ok(DIFFER);
            }
            let last = source.last().and_then(|one| one.array()?.first()?.text());
            match last.and_then(after) {
                Some(next) => from = next,
                None => return Ok(Compared::Same),
            }
        }
    }
}

/// What a walk through one side has come to.
struct Walked {
    compared: Compared,
    /// So many elements were met, some perhaps twice.
    met: u64,
    /// Whether fields expire at the same time; nothing where one side does not know that they can.
    expiries: Option<bool>,
}

/// How many elements are asked for after an answer to `piece`: not many more than before, for those that follow may be longer.
fn next_piece(piece: u64, elements: &[Value]) -> u64 {
    let bytes: u64 = elements.iter().map(bytes_of).sum();
    let each = (bytes / (elements.len() as u64).max(1)).max(1);
    (PIECE_BYTES / each).clamp(1, PIECE_ELEMENTS_MAX.min(piece * 2))
}

fn bytes_of(value: &Value) -> u64 {
    match value {
        Value::Array(parts) => parts.iter().map(bytes_of).sum(),
        other => other.text().map_or(0, |text| text.len() as u64),
    }
}

/// Whether a side has nothing there, although the value is longer.
fn is_empty(answer: &Value) -> bool {
    match answer {
        Value::Array(parts) => parts.is_empty(),
        other => other.text().is_none_or(<[u8]>::is_empty),
    }
}

fn parsed(score: &[u8]) -> Option<f64> {
    std::str::from_utf8(score).ok()?.parse().ok()
}

/// The least id after this one; nothing where there can be none.
fn after(id: &[u8]) -> Option<String> {
    let (ms, seq) = std::str::from_utf8(id).ok()?.split_once('-')?;
    let id = StreamId {
        ms: ms.parse().ok()?,
        seq: seq.parse().ok()?,
    };
    let next = match id.seq.checked_add(1) {
        Some(seq) => StreamId { seq, ..id },
        None => StreamId {
            ms: id.ms.checked_add(1)?,
            seq: 0,
        },
    };
    Some(next.to_string())
}

/// A value of a flat list of names and values.
fn field<'a>(about: &'a Value, name: &[u8]) -> Option<&'a Value> {
    let mut pairs = about.array()?.chunks_exact(2);
    let pair = pairs.find(|pair| pair[0].text() == Some(name))?;
    Some(&pair[1])
}

/// Whether two such lists say the same of what both name.
fn agree(one: &Value, other: &Value, names: &[&[u8]]) -> bool {
    let mut both = names
        .iter()
        .filter_map(|name| field(one, name).zip(field(other, name)));
    both.all(|(one, other)| one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_after_an_id_is_the_next_that_there_can_be() {
        assert_eq!(after(b"5-1").as_deref(), Some("5-2"));
        assert_eq!(after(b"5-18446744073709551615").as_deref(), Some("6-0"));
        assert_eq!(after(b"18446744073709551615-18446744073709551615"), None);
        assert_eq!(after(b"none"), None);
    }

    #[test]
    fn pieces_grow_slowly_and_are_short_where_elements_are_long() {
        let elements = |count: usize, bytes: usize| vec![Value::Bulk(vec![b'x'; bytes]); count];
        assert_eq!(next_piece(16, &elements(16, 10)), 32);
        assert_eq!(next_piece(800, &elements(800, 10)), PIECE_ELEMENTS_MAX);
        assert_eq!(next_piece(16, &elements(16, 64 << 10)), 4);
        assert_eq!(next_piece(16, &elements(2, 1 << 20)), 1);
        assert_eq!(next_piece(1, &elements(1, 1)), 2);
        assert_eq!(next_piece(16, &[]), 32);
    }

    #[test]
    fn only_what_both_name_is_compared() {
        let list = |pairs: &[(&str, i64)]| {
            let pairs = pairs.iter();
            Value::Array(
                pairs
                    .flat_map(|(name, value)| [Value::Bulk(name.as_bytes().to_vec()), Value::Int(*value)])
                    .collect(),
            )
        };
        let (old, new) = (list(&[("a", 1)]), list(&[("a", 1), ("b", 2)]));
        assert!(agree(&old, &new, &[b"a", b"b"]));
        assert!(!agree(&new, &list(&[("a", 1), ("b", 3)]), &[b"a", b"b"]));
    }
}
