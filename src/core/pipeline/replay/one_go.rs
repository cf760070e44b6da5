//! A value written with commands in one transaction: `MULTI`, `DEL`, the value, its expiry, `EXEC`.
//!
//! Where a key that is there must stay, the value is written under its staged name and takes the key's by `RENAMENX`, which leaves a key that is
//! there alone.

use bytes::Bytes;

use super::{Placed, Replayer};
use crate::core::pipeline::{End, KeyExists};
use crate::core::position::Offset;
use crate::core::rdb::value::{Decoder, Element};
use crate::core::rdb::{self, Key, kind_of};
use crate::core::resp::{Frame, Framer, Limits};
use crate::core::target::lane::Lane;
use crate::core::target::restore::Refused;
use crate::core::target::rewrite::stream::Dangling;
use crate::core::target::rewrite::{Commands, Rewriter};
use crate::core::target::staging;

/// Why a value could not be turned into commands.
enum Trouble {
    /// It is broken.
    Broken(rdb::Error),
    /// An element is longer than the target takes.
    TooLong(usize),
}

impl Replayer {
    /// Writes it.
    pub(super) async fn one_go(&mut self, control: &mut Lane, key: &Key, to: Placed) -> Result<(), End> {
        // A key that is there and is to be kept in silence need not be looked for: RENAMENX sees it.
        if self.policy.key_exists == KeyExists::Error && self.is_kept(control, key, to).await? {
            return Ok(());
        }
        let staged = self
            .keeps(to.db)
            .then(|| staging::name(&self.policy.deployment, &key.key));
        if staged.is_some() {
            self.note_staged(to.db);
        }
        let name = staged.clone().unwrap_or_else(|| key.key.clone());
        let mut rewriter = Rewriter::new(name.clone(), key.key.clone(), self.ability, false);
        if let Err(trouble) = self.rewrite(&mut rewriter, key) {
            self.tell_trouble(key, to, trouble);
            return Ok(());
        }
        self.tell_lost(to, rewriter.take_lost());
        self.tell_metadata(key, to);
        let commands = transaction(&mut rewriter, &name, key, to, staged.is_some());
        let sent = self.restorer.commands(to.at, to.db, &key.key, &commands, 1).await;
        sent.map_err(End::Target)
    }

    /// Turns the value into commands.
    fn rewrite(&self, rewriter: &mut Rewriter, key: &Key) -> Result<(), Trouble> {
        let flavor = self.source.flavor;
        let kind = kind_of(key.value_type, flavor).map_or("", |kind| kind.object);
        if kind == "stream" {
            let mut decoder = Decoder::of(key, flavor).map_err(Trouble::Broken)?;
            let dangling = Dangling::find(|| decoder.element()).map_err(Trouble::Broken)?;
            rewriter.prepare(dangling);
        }
        let mut decoder = Decoder::of(key, flavor).map_err(Trouble::Broken)?;
        while let Some(element) = decoder.element().map_err(Trouble::Broken)? {
            let longest = element.longest_bytes();
            if longest > self.facts.bulk_bytes_max && !matches!(element, Element::Text(_)) {
                return Err(Trouble::TooLong(longest));
            }
            rewriter.element(element);
        }
        rewriter.finish(kind == "string");
        Ok(())
    }

    fn tell_trouble(&mut self, key: &Key, to: Placed, trouble: Trouble) {
        let name = String::from_utf8_lossy(&key.key);
        let reason = match trouble {
            Trouble::Broken(error) => format!("key {name} cannot be written with commands: {error}"),
            Trouble::TooLong(bytes) => self.too_long_element(&name, bytes),
        };
        let command = self.told_command(key);
        self.tell(to, command, reason);
    }

    pub(super) fn too_long_element(&self, name: &str, bytes: usize) -> String {
        format!(
            "key {name}: an element of {bytes} bytes is more than the target takes ({}, its proto-max-bulk-len)",
            self.facts.bulk_bytes_max
        )
    }

    /// Writes with commands what the target's `RESTORE` refused for its format. Gives it back where it cannot.
    pub(super) async fn write_instead(
        &mut self,
        control: &mut Lane,
        refused: Refused,
    ) -> Result<Option<Refused>, End> {
        let Some(key) = key_of(&refused.command) else {
            return Ok(Some(refused));
        };
        let kind = kind_of(key.value_type, self.source.flavor).map_or("module", |kind| kind.object);
        if kind == "module" || (kind == "stream" && !self.ability.streams) {
            return Ok(Some(refused));
        }
        let to = Placed {
            db: refused.db,
            expire_at_ms: key.expire_at_ms,
            at: refused.at,
        };
        self.one_go(control, &key, to).await?;
        Ok(None)
    }
}

/// The commands that make the value the key's, all or none of them.
fn transaction(rewriter: &mut Rewriter, name: &Bytes, key: &Key, to: Placed, is_staged: bool) -> Commands {
    let value = rewriter.commands().take();
    let mut out = Commands::default();
    // A collection without elements is no key.
    let is_there = value.count > 0;
    if is_there {
        out.push(&[b"MULTI"]);
    }
    out.push(&[b"DEL", name]);
    if !is_there {
        return out;
    }
    out.bytes.extend_from_slice(&value.bytes);
    out.count += value.count;
    if let Some(at) = to.expire_at_ms {
        out.push(&[b"PEXPIREAT", name, at.max(1).to_string().as_bytes()]);
    }
    if is_staged {
        out.push(&[b"RENAMENX", name, &key.key]);
        out.push(&[b"DEL", name]);
    }
    out.push(&[b"EXEC"]);
    out
}

/// The key that a `RESTORE` with absolute expiry, or none, was to make.
fn key_of(command: &Bytes) -> Option<Key> {
    let mut framer = Framer::new(Limits::default());
    framer.push(Offset::ZERO, command.clone()).ok()?;
    let frame: Frame<'_> = framer.next().ok()??;
    if frame.name() != b"RESTORE" {
        return None;
    }
    let ttl: i64 = std::str::from_utf8(frame.arg(2)?).ok()?.parse().ok()?;
    let is_absolute = frame.args().any(|arg| arg == b"ABSTTL");
    let now = i64::try_from(crate::core::target::session::now_ms()).unwrap_or(i64::MAX);
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
}
