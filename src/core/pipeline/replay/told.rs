//! What the target refused and what it cannot hold: what is told of it, and what is written in another way instead.
//!
//! | the target refused | saying | what becomes of it |
//! | --- | --- | --- |
//! | `RESTORE` | that it cannot load the format | the value is written with commands; told where no commands can |
//! | `RESTORE` | that the key is there | told, or not, as `keyExists` says |
//! | `RENAMENX` of a staged name | that it is not there | nothing: it has expired on its way; if it is for another reason, that is told |
//! | `XIDMPRECORD` | that the entry is gone | nothing: the server itself writes no such record into its append-only file |
//! | a command of a value in hand | anything | told once, by the value's own key; nothing of it stays |
//! | anything else | | told |

use bytes::{Bytes, BytesMut};

use super::{Placed, Replayer, Why};
use crate::core::pipeline::{End, KeyExists};
use crate::core::position::Offset;
use crate::core::rdb::{self, Key, kind_of};
use crate::core::resp::{self, Frame, Framer, Limits};
use crate::core::target::door::Door;
use crate::core::target::refusal::Kind;
use crate::core::target::restore::Refused;
use crate::core::target::rewrite::Lost;
use crate::core::target::session::now_ms;
use crate::core::target::staging;

/// A command that tells of a value is told whole up to this length.
const TOLD_BYTES_MAX: usize = 1 << 20;

impl Replayer {
    /// What the target has refused, or cannot hold, since the last call. A value that its `RESTORE` refused for its format is not among them
    /// where commands can write it: that is done.
    ///
    /// # Errors
    /// As [`Replayer::key`].
    pub async fn take_refused(&mut self, control: &mut Door) -> Result<Vec<Refused>, End> {
        self.settle(control).await?;
        if self.policy.key_exists == KeyExists::Ignore {
            self.told.retain(|one| Kind::of(&one.reply) != Kind::KeyExists);
        }
        Ok(std::mem::take(&mut self.told))
    }

    /// Deals with what has been refused so far, by the table at the module's head. While a value is in hand nothing of others is under way:
    /// see [`Replayer::begin`].
    pub(super) async fn settle(&mut self, control: &mut Door) -> Result<(), End> {
        for refused in self.restorer.take_refused() {
            if is_harmless(&refused) {
                continue;
            }
            match Kind::of(&refused.reply) {
                Kind::Payload if !self.pieces.is_in_hand() => self.write_instead(control, refused).await?,
                _ => self.told.push(refused),
            }
        }
        Ok(())
    }

    /// Tells what has been refused of values that were to be written under this name.
    pub(super) fn tell_refused_of(&mut self, staged: &Bytes) {
        let refused = self.restorer.take_refused_where(|one| is_of(one, staged));
        self.told
            .extend(refused.into_iter().filter(|one| !is_harmless(one)));
    }

    /// Tells, once and by its key, of the value that is written under this name, if anything of it has been refused. False: nothing was. A piece of it
    /// under a name of ours would help nobody.
    pub(super) fn tell_refused_value(&mut self, head: &Key, to: Placed, staged: &Bytes) -> bool {
        let refused = self.restorer.take_refused_where(|one| is_of(one, staged));
        let Some(first) = refused.into_iter().find(|one| !is_harmless(one)) else {
            return false;
        };
        let verb = with_frame(&first.command, |frame| {
            String::from_utf8_lossy(frame.name()).into_owned()
        });
        let reason = format!(
            "key {}: the target refused {}: {}",
            String::from_utf8_lossy(&head.key),
            verb.unwrap_or_default(),
            first.reply
        );
        self.tell_key(head, to, reason);
        true
    }

    /// Writes with commands what the target's `RESTORE` refused for its format; tells it where none can.
    async fn write_instead(&mut self, control: &mut Door, refused: Refused) -> Result<(), End> {
        let Some(key) = key_of(&refused.command) else {
            self.told.push(refused);
            return Ok(());
        };
        let kind = kind_of(key.value_type, self.source.flavor).map_or("unknown", |kind| kind.object);
        if matches!(kind, "module" | "unknown") || (kind == "stream" && !self.ability.streams) {
            let name = String::from_utf8_lossy(&key.key);
            let module = key
                .module()
                .map(|id| format!(" {}", id.name()))
                .unwrap_or_default();
            let reply = format!(
                "the target cannot load key {name} ({kind}{module}): {}",
                refused.reply
            );
            self.told.push(Refused { reply, ..refused });
            return Ok(());
        }
        let to = Placed {
            db: refused.db,
            expire_at_ms: key.expire_at_ms,
            at: refused.at,
        };
        self.one_go(control, &key, to).await
    }

    pub(super) fn refuse(&mut self, key: &Key, to: Placed, why: Why) {
        let source = self.source;
        let kind = kind_of(key.value_type, source.flavor).map_or("unknown", |kind| kind.object);
        let target = self.rdb_version();
        let name = String::from_utf8_lossy(&key.key);
        let reason = match why {
            Why::TooLong(bytes) => format!(
                "key {name}: a value of {bytes} bytes is more than the target takes ({}, its proto-max-bulk-len)",
                self.facts.bulk_bytes_max
            ),
            Why::Format => format!(
                "the target ({target}) cannot load the source's format ({source}): key {name} of type {} ({kind})",
                key.value_type
            ),
            Why::Type => format!("the target is older than values of this type: key {name} ({kind})"),
        };
        self.tell_key(key, to, reason);
    }

    /// An element is longer than the target takes.
    pub(super) fn too_long_element(&self, bytes: usize) -> String {
        format!(
            "has an element of {bytes} bytes, more than the target takes ({}, its proto-max-bulk-len)",
            self.facts.bulk_bytes_max
        )
    }

    /// What modules attached to a key is in no command but `RESTORE`.
    pub(super) fn tell_metadata(&mut self, key: &Key, to: Placed) {
        if key.meta.is_empty() {
            return;
        }
        let name = String::from_utf8_lossy(&key.key);
        let reason = format!(
            "key {name}: what modules attached to it can only be written by RESTORE, to a target of RDB 13"
        );
        self.tell_key(key, to, reason);
    }

    /// Tells of a key whose value could not be written: with the value where that is here, and short.
    pub(super) fn tell_key(&mut self, key: &Key, to: Placed, reason: String) {
        let mut out = BytesMut::new();
        let ttl = key.expire_at_ms.unwrap_or(0).max(0).to_string();
        let mut args: Vec<&[u8]> = vec![b"RESTORE", &key.key, ttl.as_bytes()];
        let mut dump = BytesMut::new();
        let payload = key.payload();
        if !key.value.is_empty() && payload.len_bytes() <= TOLD_BYTES_MAX {
            payload.write(&mut dump, u16::try_from(self.source.number).unwrap_or(u16::MAX));
            args.push(&dump);
        }
        if key.expire_at_ms.is_some() {
            args.push(b"ABSTTL");
        }
        resp::encode_command(&mut out, &args);
        self.tell(to, out.freeze(), reason);
    }

    pub(super) fn tell(&mut self, to: Placed, command: Bytes, reply: String) {
        self.told.push(Refused {
            command,
            db: to.db,
            reply,
            at: to.at,
        });
    }

    pub(super) fn tell_lost(&mut self, to: Placed, lost: Vec<Lost>) {
        for one in lost {
            self.tell(to, one.command, one.reason);
        }
    }
}

/// Nothing is lost by this refusal: see the table at the module's head.
fn is_harmless(refused: &Refused) -> bool {
    with_frame(&refused.command, |frame| {
        let is_staged = |arg: &[u8]| arg.starts_with(staging::KEY_PREFIX.as_bytes());
        match frame.name() {
            b"RENAMENX" => {
                frame.arg(1).is_some_and(is_staged) && refused.reply.starts_with("ERR no such key")
            }
            b"XIDMPRECORD" => refused.reply.starts_with("ERR No such message"),
            _ => false,
        }
    })
    .unwrap_or(false)
}

/// Whether a refused command was to write under this name.
pub(super) fn is_of(refused: &Refused, staged: &Bytes) -> bool {
    with_frame(&refused.command, |frame| {
        frame.args().any(|arg| arg == &staged[..])
    })
    .unwrap_or(false)
}

fn with_frame<T>(command: &Bytes, ask: impl FnOnce(&Frame<'_>) -> T) -> Option<T> {
    let mut framer = Framer::new(Limits::default());
    framer.push(Offset::ZERO, command.clone()).ok()?;
    let frame = framer.next().ok()??;
    Some(ask(&frame))
}

/// The key that a `RESTORE` was to make.
fn key_of(command: &Bytes) -> Option<Key> {
    with_frame(command, |frame| {
        if frame.name() != b"RESTORE" {
            return None;
        }
        let ttl: i64 = std::str::from_utf8(frame.arg(2)?).ok()?.parse().ok()?;
        let is_absolute = frame.args().any(|arg| arg == b"ABSTTL");
        let now = i64::try_from(now_ms()).unwrap_or(i64::MAX);
        let expire_at_ms = match (ttl, is_absolute) {
            (0, _) => None,
            (at, true) => Some(at),
            (left, false) => Some(now.saturating_add(left)),
        };
        let dump = frame.arg(3)?;
        let (value_type, rest) = dump.split_first()?;
        let value = rest.get(..rest.len().checked_sub(rdb::payload::FOOTER_BYTES)?)?;
        Some(Key {
            db: 0,
            key: Bytes::copy_from_slice(frame.arg(1)?),
            value_type: *value_type,
            value: Bytes::copy_from_slice(value),
            expire_at_ms,
            idle_secs: None,
            freq: None,
            meta: Bytes::new(),
            start: 0,
            end: value.len() as u64,
        })
    })?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::target::checkpoint::Cursor;

    fn refused(args: &[&[u8]], reply: &str) -> Refused {
        let mut command = BytesMut::new();
        resp::encode_command(&mut command, args);
        Refused {
            command: command.freeze(),
            db: 0,
            reply: reply.to_owned(),
            at: Cursor::default(),
        }
    }

    #[test]
    fn only_what_loses_nothing_is_passed_over() {
        let staged = staging::Names::of("d", false).name(b"key");
        let missing = "ERR no such key";
        #[rustfmt::skip]
        let rows: [(&[&[u8]], &str, bool); 6] = [
            (&[b"RENAMENX", &staged, b"key"],        missing,                            true),
            (&[b"RENAMENX", b"other", b"key"],       missing,                            false),
            (&[b"RENAMENX", &staged, b"key"],        "NOPERM no",                        false),
            (&[b"RENAME", &staged, b"key"],          missing,                            false),
            (&[b"XIDMPRECORD", b"k", b"p", b"i"],    "ERR No such message in stream",    true),
            (&[b"XIDMPRECORD", b"k", b"p", b"i"],    "ERR unknown command",              false),
        ];
        for (args, reply, expected) in rows {
            let refused = refused(args, reply);
            assert_eq!(is_harmless(&refused), expected, "{refused:?}");
        }
    }

    #[test]
    fn a_refused_restore_is_the_key_that_it_was_to_make() {
        let dump = [&b"\x00\x01v"[..], &[0; rdb::payload::FOOTER_BYTES]].concat();
        let of = |more: &[&[u8]], ttl: &[u8]| {
            let args = [&[&b"RESTORE"[..], b"key", ttl, &dump], more].concat();
            key_of(&refused(&args, "ERR Bad data format").command)
        };
        let key = of(&[b"ABSTTL"], b"1999999999999").unwrap();
        assert_eq!((&key.key[..], &key.value[..]), (&b"key"[..], &b"\x01v"[..]));
        assert_eq!((key.value_type, key.expire_at_ms), (0, Some(1_999_999_999_999)));
        assert_eq!(of(&[b"REPLACE"], b"0").unwrap().expire_at_ms, None);
        // What is left of it counts from now on.
        assert!(of(&[], b"5000").unwrap().expire_at_ms > i64::try_from(now_ms()).ok());
        assert!(key_of(&refused(&[b"FUNCTION", b"RESTORE"], "").command).is_none());
    }
}
