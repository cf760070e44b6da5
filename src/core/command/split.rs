//! Splitting a command by its keys, where that changes nothing but its being atomic: `DEL a b` is `DEL a`, `DEL b`.

use bytes::BytesMut;

use super::Command;
use super::class::{Replay, msetex_is_unconditional};
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
