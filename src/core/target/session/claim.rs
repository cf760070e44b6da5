//! By what right a session is taken, and the taking itself.
//!
//! | the larger of the epochs that stand in the session's key and in the checkpoint | the session that stands there | |
//! | --- | --- | --- |
//! | whatever, the claim having no epoch | any | is taken over |
//! | lower than the claim's | any | is taken over |
//! | the same | none, or an earlier one of the same tenure | is taken over |
//! | the same | another's: a store of leases that failed over may give one number twice | outranks us |
//! | higher | any | outranks us |
//!
//! It is read and replaced under `WATCH` of the session's key. The checkpoint need not be watched, and is not, as who writes it all the time could hold
//! up the taking: its epoch is that of the session under which it is written, so a newer one comes only with another session.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::transaction::{Command, command};
use crate::core::position::Epoch;
use crate::core::resp::{Value, said};
use crate::core::target::Error;
use crate::core::target::checkpoint::{self, Record};
use crate::core::target::cluster::redirect::Redirect;
use crate::core::target::door::Door;

/// A slot on its way, or another who takes the session at the same moment: it is tried again for so long.
const PATIENCE: Duration = Duration::from_secs(15);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// By what right a session is taken.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The lease's; where there is none, nobody is outranked, and nobody outranks us.
    pub epoch: Epoch,
    /// Earlier sessions of the same tenure.
    pub ours: &'a [String],
}

impl Claim<'_> {
    /// That of a process which stands alone.
    pub const ALONE: Claim<'static> = Claim {
        epoch: Epoch::NONE,
        ours: &[],
    };

    /// The epoch that stands above it, if one does: the table above.
    fn outranked(&self, standing: &Standing) -> Option<Epoch> {
        let there = standing.session.as_ref().map(|(_, epoch)| *epoch);
        let there = there.unwrap_or(Epoch::NONE).max(standing.recorded);
        let is_anothers = match &standing.session {
            Some((token, _)) => !self.ours.contains(token),
            None => false,
        };
        let is_outranked = there > self.epoch || there == self.epoch && is_anothers;
        (self.epoch != Epoch::NONE && is_outranked).then_some(there)
    }
}

/// What stands on the target before a session is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Standing {
    /// The session that may write, and its epoch.
    session: Option<(String, Epoch)>,
    /// The checkpoint's epoch.
    recorded: Epoch,
    has_checkpoint: bool,
}

impl Standing {
    fn of(session: &Value, record: &Value) -> Result<Standing, checkpoint::Malformed> {
        let session = fields(session).into_iter().next().map(|(token, value)| {
            (
                String::from_utf8_lossy(token).into_owned(),
                checkpoint::epoch_of_session(value),
            )
        });
        let record = fields(record);
        Ok(Standing {
            session,
            has_checkpoint: !record.is_empty(),
            recorded: Record::parse(record)?.epoch,
        })
    }
}

/// The fields and values of a hash, however they are answered.
pub(super) fn fields(reply: &Value) -> Vec<(&[u8], &[u8])> {
    match reply {
        Value::Array(items) => {
            let texts: Vec<&[u8]> = items.iter().filter_map(Value::text).collect();
            texts.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
        }
        Value::Map(pairs) => pairs
            .iter()
            .filter_map(|(field, value)| Some((field.text()?, value.text()?)))
            .collect(),
        _ => Vec::new(),
    }
}

/// The keys of a deployment.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    pub(super) checkpoint: Bytes,
    pub(super) session: Bytes,
}

/// Puts the session `token` in place of what stands there, if the claim is good for that; the session that had the right before.
pub(super) async fn take(
    door: &mut Door,
    keys: &Keys,
    token: &str,
    claim: Claim<'_>,
) -> Result<Option<String>, Error> {
    let began = Instant::now();
    loop {
        let seat = door.watch(&keys.session).await?;
        let asks = [&keys.session, &keys.checkpoint].map(|key| command(&[b"HGETALL", key]));
        let replies = door.call_seated(&seat, asks.to_vec()).await?;
        if let Some(reply) = replies.iter().find_map(Value::error).map(said) {
            wait_for_slot(door, "HGETALL", reply, began).await?;
            continue;
        }
        let standing = Standing::of(&replies[0], &replies[1]).map_err(|cause| Error::Checkpoint {
            address: door.address().clone(),
            cause,
        })?;
        if let Some(epoch) = claim.outranked(&standing) {
            return Err(Error::Outranked {
                address: door.address().clone(),
                epoch,
            });
        }
        let replacing = replacing(keys, token, claim, &standing);
        let replies = door.call_seated(&seat, replacing).await?;
        if let Some(reply) = replies.iter().find_map(Value::error).map(said) {
            wait_for_slot(door, "EXEC", reply, began).await?;
            continue;
        }
        match replies.last() {
            Some(Value::Array(_)) => return Ok(standing.session.map(|(token, _)| token)),
            // Somebody else has done the same.
            Some(Value::Nil) if began.elapsed() < PATIENCE => {}
            _ => {
                let address = door.address().clone();
                return Err(Error::Superseded { address });
            }
        }
    }
}

fn replacing(keys: &Keys, token: &str, claim: Claim<'_>, standing: &Standing) -> Vec<Command> {
    let epoch = claim.epoch.to_string();
    let mut commands: Vec<Command> = vec![
        command(&[b"MULTI"]),
        command(&[b"DEL", &keys.session]),
        command(&[b"HSET", &keys.session, token.as_bytes(), epoch.as_bytes()]),
    ];
    if claim.epoch != Epoch::NONE && standing.has_checkpoint {
        commands.push(command(&[b"HSET", &keys.checkpoint, b"epoch", epoch.as_bytes()]));
    }
    commands.push(command(&[b"EXEC"]));
    commands
}

/// Waits a moment where the refusal says nothing but that the slot is on its way.
async fn wait_for_slot(door: &mut Door, command: &str, reply: String, began: Instant) -> Result<(), Error> {
    let address = door.address().clone();
    let is_passing = door.map().is_some() && Redirect::of(&reply, &address).is_some();
    if is_passing && began.elapsed() < PATIENCE {
        tokio::time::sleep(PAUSE).await;
        return Ok(());
    }
    Err(Error::Refused {
        address,
        command: command.to_owned(),
        reply,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(session: Option<(&str, u64)>, recorded: u64) -> Standing {
        Standing {
            session: session.map(|(token, epoch)| (token.to_owned(), Epoch::new(epoch))),
            recorded: Epoch::new(recorded),
            has_checkpoint: recorded > 0,
        }
    }

    #[test]
    fn every_row_of_the_table() {
        let ours = ["early".to_owned()];
        let rows = [
            (0, Some(("other", 9)), 9, None),
            (5, Some(("other", 4)), 4, None),
            (5, Some(("other", 0)), 0, None),
            (5, None, 5, None),
            (5, None, 0, None),
            (5, Some(("early", 5)), 5, None),
            (5, Some(("early", 5)), 0, None),
            (5, Some(("other", 5)), 0, Some(5)),
            (5, Some(("other", 0)), 5, Some(5)),
            (5, Some(("other", 6)), 5, Some(6)),
            (5, Some(("early", 5)), 6, Some(6)),
            (5, None, 6, Some(6)),
        ];
        for (epoch, session, recorded, expected) in rows {
            let claim = Claim {
                epoch: Epoch::new(epoch),
                ours: &ours,
            };
            let shown = format!("{epoch} {session:?} {recorded}");
            let outranked = claim.outranked(&standing(session, recorded));
            assert_eq!(outranked, expected.map(Epoch::new), "{shown}");
        }
    }
}
