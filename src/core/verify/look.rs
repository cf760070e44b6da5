//! Asking a side for keys: one answer, or a few, about each.

use bytes::BytesMut;

use super::Compare;
use super::Error;
use super::digest;
use super::seen::{self, Kind, Seen, now_ms};
use super::side::{self, Lines};
use super::sizes::{Sized, measure, together};
use crate::core::resp::{Value, encode_command};

/// How times of expiry are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// `PEXPIRETIME`, which both sides know.
    Absolute,
    /// `PTTL`, which is about a moment: the answers of two sides are of two moments.
    Relative,
}

/// How far apart two answers of [`Clock::Relative`] may be that were asked for together.
pub(super) const RELATIVE_SLACK_MS: i64 = 500;

impl Clock {
    pub(super) fn verb(self) -> &'static [u8] {
        match self {
            Clock::Absolute => b"PEXPIRETIME",
            Clock::Relative => b"PTTL",
        }
    }

    /// What a side answers, as a time of expiry; nothing where there is none.
    fn at(self, answer: i64, asked: Asked) -> Option<i64> {
        match (self, answer) {
            (_, ..0) => None,
            (Clock::Absolute, at) => Some(at),
            (Clock::Relative, left) => Some(asked.at_ms.saturating_add(left)),
        }
    }

    /// By how much that may be wrong.
    fn slack_ms(self, asked: Asked) -> i64 {
        match self {
            Clock::Absolute => 0,
            Clock::Relative => asked.slack_ms,
        }
    }
}

/// When a side has answered: in the middle between question and answer, give or take half the time between them.
#[derive(Debug, Clone, Copy)]
struct Asked {
    at_ms: i64,
    slack_ms: i64,
}

impl Asked {
    fn between(before_ms: i64, after_ms: i64) -> Asked {
        let slack_ms = after_ms.saturating_sub(before_ms).max(0) / 2;
        Asked {
            at_ms: before_ms.saturating_add(slack_ms),
            slack_ms,
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) compare: Compare,
    pub(super) clock: Clock,
}

impl Look {
    /// What this side says of each of the keys.
    pub(super) async fn at<K: AsRef<[u8]>>(
        self,
        lines: &mut Lines,
        db: u32,
        keys: &[K],
    ) -> Result<Vec<Seen>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        if self.compare == Compare::Existence {
            return self.existence(lines, db, keys).await;
        }
        let clock = self.clock.verb();
        let ask = |request: &mut BytesMut, number: usize| {
            let key = keys[number].as_ref();
            encode_command(request, &[b"TYPE", key]);
            encode_command(request, &[clock, key]);
        };
        let before_ms = now_ms();
        let answers = lines.ask(db, keys, 2, ask).await?;
        let asked = Asked::between(before_ms, now_ms());
        let pairs = answers.chunks_exact(2);
        let mut all: Vec<Seen> = pairs.map(|pair| self.typed(&pair[0], &pair[1], asked)).collect();
        if self.compare >= Compare::Length {
            lengths(lines, db, keys, &mut all).await?;
        }
        if self.compare >= Compare::Value {
            values(lines, db, keys, &mut all).await?;
        }
        Ok(all)
    }

    fn typed(self, kind: &Value, expiry: &Value, asked: Asked) -> Seen {
        let (Some(name), Value::Int(expiry)) = (kind.text(), expiry) else {
            return Seen::of(Kind::Torn);
        };
        let kind = match (Kind::named(name), *expiry) {
            // It came or went between the two questions.
            (Kind::Missing, -1..) => Kind::Torn,
            (kind, -2) if kind != Kind::Missing => Kind::Torn,
            (kind, _) => kind,
        };
        Seen {
            expires_ms: self.clock.at(*expiry, asked),
            slack_ms: self.clock.slack_ms(asked),
            ..Seen::of(kind)
        }
    }

    /// With when they expire: of two sides one may have a key no longer that expires now.
    async fn existence<K: AsRef<[u8]>>(
        self,
        lines: &mut Lines,
        db: u32,
        keys: &[K],
    ) -> Result<Vec<Seen>, Error> {
        let clock = self.clock.verb();
        let ask = |request: &mut BytesMut, number: usize| {
            let key = keys[number].as_ref();
            encode_command(request, &[b"EXISTS", key]);
            encode_command(request, &[clock, key]);
        };
        let before_ms = now_ms();
        let answers = lines.ask(db, keys, 2, ask).await?;
        let asked = Asked::between(before_ms, now_ms());
        let seen = |pair: &[Value]| match pair {
            [Value::Int(0), Value::Int(_)] => Seen::of(Kind::Missing),
            [Value::Int(_), Value::Int(expiry)] => Seen {
                expires_ms: self.clock.at(*expiry, asked),
                slack_ms: self.clock.slack_ms(asked),
                ..Seen::of(Kind::Any)
            },
            _ => Seen::of(Kind::Torn),
        };
        Ok(answers.chunks_exact(2).map(seen).collect())
    }
}

/// Asks for the lengths of those that have one.
async fn lengths<K: AsRef<[u8]>>(
    lines: &mut Lines,
    db: u32,
    keys: &[K],
    all: &mut [Seen],
) -> Result<(), Error> {
    let has_length = |number: &usize| all[*number].kind.length_verb().is_some();
    let long: Vec<usize> = (0..keys.len()).filter(has_length).collect();
    let named: Vec<&[u8]> = long.iter().map(|number| keys[*number].as_ref()).collect();
    let ask = |request: &mut BytesMut, number: usize| {
        let verb = all[long[number]].kind.length_verb().unwrap_or_default();
        encode_command(request, &[verb, named[number]]);
    };
    let answers = lines.ask(db, &named, 1, ask).await?;
    for (number, answer) in long.into_iter().zip(answers) {
        match answer {
            Value::Int(length) => all[number].length = u64::try_from(length).ok(),
            // It is of another type by now.
            _ => all[number].kind = Kind::Torn,
        }
    }
    Ok(())
}

/// Asks for the values of those that are there, and not too large.
async fn values<K: AsRef<[u8]>>(
    lines: &mut Lines,
    db: u32,
    keys: &[K],
    all: &mut [Seen],
) -> Result<(), Error> {
    let sized = |(place, seen): (usize, &Seen)| {
        let is_there = !matches!(seen.kind, Kind::Missing | Kind::Torn | Kind::Any);
        is_there.then(|| Sized {
            place,
            key: keys[place].as_ref(),
            kind: seen.kind.clone(),
            length: seen.length.unwrap_or(0),
            bytes: 0,
            is_guess: false,
        })
    };
    let mut there: Vec<Sized<'_>> = all.iter().enumerate().filter_map(sized).collect();
    measure(lines, db, &mut there).await?;
    let (large, small): (Vec<Sized<'_>>, Vec<Sized<'_>>) = there.into_iter().partition(Sized::is_large);
    for one in &large {
        all[one.place].value = seen::Value::Large;
    }
    let (too_large, small): (Vec<Sized<'_>>, Vec<Sized<'_>>) =
        small.into_iter().partition(Sized::is_too_large);
    for one in &too_large {
        all[one.place].value = seen::Value::TooLarge;
    }
    for some in together(&small) {
        for (one, dump) in some.iter().zip(dump(lines, db, some).await?) {
            let value = match dump {
                Value::Bulk(dump) => digest::of_dump(dump, now_ms()),
                _ => None,
            };
            match value {
                Some(value) => all[one.place].value = value,
                // It has gone, or another node has it by now.
                None => all[one.place].kind = Kind::Torn,
            }
        }
    }
    Ok(())
}

/// The values as a side writes them.
pub(super) async fn dump(lines: &mut Lines, db: u32, keys: &[Sized<'_>]) -> Result<Vec<Value>, Error> {
    let ask = |request: &mut BytesMut, number: usize| encode_command(request, &[b"DUMP", keys[number].key]);
    lines.ask(db, keys, 1, ask).await
}

/// Whether both sides know `PEXPIRETIME`.
pub(super) async fn knows_absolute(lines: &mut Lines) -> Result<bool, Error> {
    let key = b"redis-gunyu-verify";
    let node = lines.side().node_of(key);
    match lines.talk(node).await?.call(&[b"PEXPIRETIME", key]).await {
        Ok(_) => Ok(true),
        Err(Error::Refused { reply, .. }) => Ok(side::is_elsewhere(reply.as_bytes())),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_left_counts_from_the_middle_of_question_and_answer() {
        let asked = Asked::between(1_000, 1_600);
        assert_eq!((asked.at_ms, asked.slack_ms), (1_300, 300));
        assert_eq!(Clock::Relative.at(5_000, asked), Some(6_300));
        assert_eq!(Clock::Relative.slack_ms(asked), 300);
        assert_eq!(Clock::Relative.at(i64::MAX, asked), Some(i64::MAX));
        assert_eq!(Clock::Relative.at(-1, asked), None);
        assert_eq!(Clock::Absolute.at(5_000, asked), Some(5_000));
        assert_eq!(Clock::Absolute.slack_ms(asked), 0);
        // The clock was set back meanwhile.
        assert_eq!(Asked::between(2_000, 1_000).slack_ms, 0);
    }
}
