//! A value written with commands in one transaction: `MULTI`, `DEL`, the value, its expiry, `EXEC`.
//!
//! Where a key that is there must stay, the value is written under its staged name and takes the key's by `RENAMENX`, which leaves a key that is
//! there alone.
//!
//! A value that is short in the RDB because it is packed may be long in commands: it is written in pieces after all.

use bytes::Bytes;

use super::{Placed, Replayer};
use crate::core::pipeline::{End, KeyExists};
use crate::core::rdb::value::{Decoder, Element};
use crate::core::rdb::{self, Key, kind_of};
use crate::core::target::door::Door;
use crate::core::target::rewrite::stream::Dangling;
use crate::core::target::rewrite::{Commands, Rewriter};

/// One transaction has no more bytes of commands.
const COMMANDS_BYTES_MAX: usize = 4 << 20;

/// Why a value could not be turned into commands of one transaction.
enum Trouble {
    /// It is broken.
    Broken(rdb::Error),
    /// An element is longer than the target takes.
    TooLong(usize),
    /// It is more than [`COMMANDS_BYTES_MAX`].
    TooMuch,
}

impl Replayer {
    /// Writes it.
    pub(super) async fn one_go(&mut self, control: &mut Door, key: &Key, to: Placed) -> Result<(), End> {
        // A key that is there and is to be kept in silence need not be looked for: RENAMENX sees it.
        if self.policy.key_exists == KeyExists::Error && self.is_kept(control, key, to).await? {
            return Ok(());
        }
        let staged = self.keeps(to.db).then(|| self.names.name(&key.key));
        if staged.is_some() {
            self.note_staged(to.db);
        }
        let name = staged.clone().unwrap_or_else(|| key.key.clone());
        let mut rewriter = Rewriter::new(name.clone(), key.key.clone(), self.ability, false);
        let reason = match self.rewrite(&mut rewriter, key) {
            Ok(()) => None,
            Err(Trouble::TooMuch) => return self.in_pieces(control, key, to).await,
            Err(Trouble::Broken(error)) => Some(format!("cannot be written with commands: {error}")),
            Err(Trouble::TooLong(bytes)) => Some(self.too_long_element(bytes)),
        };
        if let Some(reason) = reason {
            self.tell_key(
                key,
                to,
                format!("key {} {reason}", String::from_utf8_lossy(&key.key)),
            );
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
            if rewriter.commands().bytes.len() > COMMANDS_BYTES_MAX {
                return Err(Trouble::TooMuch);
            }
        }
        rewriter.finish(kind == "string");
        Ok(())
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
