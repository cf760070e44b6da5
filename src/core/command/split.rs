//! Splitting a command by its keys, where that changes nothing but its being atomic: `DEL a b` is `DEL a`, `DEL b`.

use std::collections::HashMap;
use std::hash::Hash;

use bytes::{Bytes, BytesMut};

use super::Command;
use super::class::{Replay, is_word, msetex_is_unconditional};
use super::keys::{KeySpec, Stretch};
use crate::core::resp::{Frame, write_array_header, write_bulk, write_number};

impl Command {
    /// Whether this invocation does to each key what the same command with that key alone (and what belongs to it)
    /// would do.
    #[must_use]
    pub fn is_separable(&self, frame: &Frame<'_>) -> bool {
        let Stretch { first, end, step } = self.keys.stretch(frame);
        let whole_groups = end > first && (end - first).is_multiple_of(step);
        let unconditional = !matches!(self.replay, Replay::Msetex) || msetex_is_unconditional(frame);
        self.separable && whole_groups && unconditional
    }

    /// Writes the command with only those keys, and what belongs to them, for which `keep` holds; says how many
    /// there were. Where there were none, nothing is written. Only for an invocation that
    /// [is separable](Command::is_separable).
    pub fn project(&self, frame: &Frame<'_>, out: &mut BytesMut, keep: impl Fn(&[u8]) -> bool) -> usize {
        let groups = self.keys.stretch(frame);
        let kept = self.keys(frame).filter(|key| keep(key.bytes)).count();
        if kept == 0 {
            return 0;
        }
        let others = frame.arg_count() - (groups.end - groups.first);
        out.reserve(frame.bytes().len());
        write_array_header(out, others + kept * groups.step);
        let counted = match self.keys {
            KeySpec::Counted { at, .. } => Some(usize::from(at)),
            _ => None,
        };
        let mut keeping = true;
        for (index, arg) in frame.args().enumerate() {
            let in_groups = groups.first <= index && index < groups.end;
            if !in_groups {
                keeping = true;
            } else if (index - groups.first).is_multiple_of(groups.step) {
                keeping = keep(arg);
            }
            match keeping {
                true if counted == Some(index) => write_number(out, kept as u64),
                true => write_bulk(out, arg),
                false => {}
            }
        }
        kept
    }

    /// Splits the command into one for each value that `part` gives for its keys, in the order of their first keys.
    /// Nothing where it cannot be split.
    ///
    /// The command must be known to have succeeded, as one of a replication stream is: a condition on all keys together, such
    /// as MSETNX has, then held and is left out.
    #[must_use]
    pub fn split<P: Copy + Eq + Hash>(
        &self,
        frame: &Frame<'_>,
        part: impl Fn(&[u8]) -> P,
    ) -> Option<Vec<(P, Bytes)>> {
        let Stretch { first, end, step } = self.keys.stretch(frame);
        let conditional = self.name == "msetnx" || matches!(self.replay, Replay::Msetex);
        let whole_groups = end > first && (end - first).is_multiple_of(step);
        if !whole_groups || !(self.separable || conditional) {
            return None;
        }
        let mut head: Vec<&[u8]> = frame.args().take(first).collect();
        if self.name == "msetnx" {
            head[0] = b"MSET";
        }
        let groups: Vec<&[u8]> = frame.args().skip(first).take(end - first).collect();
        let unconditional = |arg: &&[u8]| !(conditional && is_word(arg, &["nx", "xx"]));
        let tail: Vec<&[u8]> = frame.args().skip(end).filter(unconditional).collect();
        let counted = matches!(self.keys, KeySpec::Counted { .. });
        let parts = by_part(groups.chunks_exact(step), |group| part(group[0]));
        let write = |(part, groups): (P, Vec<&[&[u8]]>)| {
            let mut out = BytesMut::new();
            write_array_header(&mut out, head.len() + groups.len() * step + tail.len());
            let plain = head.len() - usize::from(counted);
            head[..plain].iter().for_each(|arg| write_bulk(&mut out, arg));
            if counted {
                write_number(&mut out, groups.len() as u64);
            }
            let rest = groups.into_iter().flatten().chain(&tail);
            rest.for_each(|arg| write_bulk(&mut out, arg));
            (part, out.freeze())
        };
        Some(parts.into_iter().map(write).collect())
    }
}

/// Gathers what belongs to the same part, the parts in the order in which they were met first.
fn by_part<T, P: Copy + Eq + Hash>(all: impl Iterator<Item = T>, part: impl Fn(&T) -> P) -> Vec<(P, Vec<T>)> {
    let mut places: HashMap<P, usize> = HashMap::new();
    let mut parts: Vec<(P, Vec<T>)> = Vec::new();
    for one in all {
        let part = part(&one);
        let place = *places.entry(part).or_insert(parts.len());
        if place == parts.len() {
            parts.push((part, Vec::new()));
        }
        parts[place].1.push(one);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::super::of;
    use super::super::tests::framed;
    use super::*;

    /// The command projected on the keys that begin with `a`.
    fn projected(words: &str) -> Option<String> {
        framed(words, |frame| {
            let command = of(frame);
            if !command.is_separable(frame) {
                return None;
            }
            let mut out = BytesMut::new();
            command.project(frame, &mut out, |key| key.starts_with(b"a"));
            let lines = String::from_utf8_lossy(&out).into_owned();
            let words: Vec<&str> = lines
                .split("\r\n")
                .filter(|line| !line.starts_with(['$', '*']) && !line.is_empty())
                .collect();
            let declared = lines.split("\r\n").next().unwrap_or_default();
            let count = if words.is_empty() {
                String::new()
            } else {
                format!("*{}", words.len())
            };
            assert_eq!(declared, count);
            Some(words.join(" "))
        })
    }

    fn words_of(bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let words: Vec<&str> = text.split("\r\n").skip(2).step_by(2).collect();
        assert_eq!(text.split("\r\n").next(), Some(&*format!("*{}", words.len())));
        words.join(" ")
    }

    #[test]
    fn a_command_is_split_by_what_its_keys_begin_with() {
        for (words, expected) in [
            ("DEL a b a2", Some("DEL a a2; DEL b")),
            ("MSET b 1 a a b 2", Some("MSET b 1 b 2; MSET a a")),
            ("MSETNX b 1 a nx", Some("MSET b 1; MSET a nx")),
            (
                "MSETEX 2 b nx a 2 NX PXAT 5",
                Some("MSETEX 1 b nx PXAT 5; MSETEX 1 a 2 PXAT 5"),
            ),
            (
                "JSON.MSET a . nx b . 2",
                Some("JSON.MSET a . nx; JSON.MSET b . 2"),
            ),
            ("MSET a 1 b", None),
            ("MSETNX a", None),
            ("SUNIONSTORE a b", None),
            ("BLPOP a b 0", None),
            ("DEL", None),
        ] {
            let pieces = framed(words, |frame| of(frame).split(frame, |key| key[0]));
            let pieces = pieces.map(|pieces| {
                pieces
                    .iter()
                    .map(|(_, piece)| words_of(piece))
                    .collect::<Vec<_>>()
            });
            assert_eq!(
                pieces.map(|pieces| pieces.join("; ")).as_deref(),
                expected,
                "{words}"
            );
        }
    }

    #[test]
    fn a_separable_command_keeps_the_keys_asked_for_and_what_belongs_to_them() {
        for (words, expected) in [
            ("DEL a b a2", Some("DEL a a2")),
            ("DEL b", Some("")),
            ("MSET b 1 a a b 2", Some("MSET a a")),
            ("MSETEX 2 b 1 a 2 KEEPTTL", Some("MSETEX 1 a 2 KEEPTTL")),
            ("JSON.MSET a . 1 b . 2", Some("JSON.MSET a . 1")),
            ("MSETEX 2 b 1 a 2 NX", None),
            ("MSETNX a 1 b 2", None),
            ("MSET a 1 b", None),
            ("DEL", None),
            ("SET a 1", None),
            ("SUNIONSTORE a b", None),
        ] {
            assert_eq!(projected(words).as_deref(), expected, "{words}");
        }
    }
}
