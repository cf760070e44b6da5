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
//! Both are of the same length, so that nothing of the target is left over where all of the source is found there.

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

/// A value that both sides have: on the source of this type and length, and about so many bytes.
#[derive(Debug, Clone)]
pub(super) struct Large<'a> {
    pub(super) key: &'a [u8],
    pub(super) kind: &'a Kind,
    pub(super) length: u64,
    pub(super) bytes: u64,
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
    let each = (large.bytes / large.length.max(1)).max(1);
    let piece = (PIECE_BYTES / each).clamp(1, PIECE_ELEMENTS_MAX);
    match large.kind {
        Kind::String => both.in_order(b"GETRANGE", large.length, PIECE_BYTES).await,
        Kind::List => both.in_order(b"LRANGE", large.length, piece).await,
        Kind::Set => both.by_name(b"SSCAN", piece).await,
        Kind::Zset => both.by_name(b"ZSCAN", piece).await,
        Kind::Hash => both.by_name(b"HSCAN", piece).await,
        Kind::Stream => both.stream(piece).await,
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

    async fn in_order(&mut self, verb: &[u8], length: u64, piece: u64) -> Result<Compared, Error> {
        let mut at = 0;
        while at < length {
            let (first, last) = (at.to_string(), (at + piece - 1).to_string());
            let args = [verb, self.key, first.as_bytes(), last.as_bytes()];
            let (source, target) = self.ask(&args).await?;
            if source.error().or(target.error()).is_some() {
                return Ok(Compared::Torn);
            }
            if source != target {
                return Ok(DIFFER);
            }
            at += piece;
        }
        Ok(Compared::Same)
    }

    async fn by_name(&mut self, verb: &[u8], piece: u64) -> Result<Compared, Error> {
        let (mut cursor, count) = (b"0".to_vec(), piece.to_string());
        let mut knows_expiry = true;
        let mut expiries_differ = false;
        loop {
            let args = [verb, self.key, &cursor, b"COUNT", count.as_bytes()];
            let answer = self.source.ask(&args).await?;
            let Some([Value::Bulk(next), Value::Array(elements)]) = answer.array() else {
                return Ok(Compared::Torn);
            };
            let elements: Vec<&[u8]> = elements.iter().filter_map(Value::text).collect();
            // What is packed comes as a whole, whatever was asked for.
            let each = if verb == b"SSCAN" { 1 } else { 2 };
            for elements in elements.chunks(PIECE_ELEMENTS_MAX as usize * each) {
                let compared = match verb {
                    b"SSCAN" => self.members(elements).await?,
                    b"ZSCAN" => self.scores(elements).await?,
                    _ => self.fields(elements).await?,
                };
                if compared != Compared::Same {
                    return Ok(compared);
                }
                if verb == b"HSCAN" && knows_expiry {
                    match self.expiries(elements).await? {
                        None => knows_expiry = false,
                        Some(same) => expiries_differ |= !same,
                    }
                }
            }
            if next == b"0" {
                break;
            }
            cursor.clone_from(next);
        }
        Ok(match expiries_differ {
            true => Compared::Differ(Difference::FieldTtl),
            false => Compared::Same,
        })
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
        let Some(values) = answer.array() else {
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

    async fn stream(&mut self, piece: u64) -> Result<Compared, Error> {
        let compared = self.entries(piece).await?;
        if compared != Compared::Same {
            return Ok(compared);
        }
        let about: [&[u8]; 3] = [b"last-generated-id", b"max-deleted-entry-id", b"entries-added"];
        let (source, target) = self.ask(&[b"XINFO", b"STREAM", self.key]).await?;
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

    async fn entries(&mut self, piece: u64) -> Result<Compared, Error> {
        let (mut from, count) = ("-".to_owned(), piece.to_string());
        loop {
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
            let last = entries.last().and_then(|entry| entry.array()?.first()?.text());
            match last.and_then(after) {
                Some(next) => from = next,
                None => return Ok(Compared::Same),
            }
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
