//! Going on where redis-GunYu stopped: its checkpoint becomes ours, once it is certain that it fits.
//!
//! ```text
//! nothing of ours on the target -> its checkpoint [target::inherited] -> does it fit? [resume::origin] -> the source is asked [probe] -> written as ours
//! ```
//!
//! The source is asked on a link of its own, a few bytes before the position, so that a position that does not fit is refused before anything has been
//! changed on either side. Those bytes are read: redis-GunYu may have stopped just behind a `SELECT`, which it then has recorded for the database before it,
//! or just behind a `MULTI`, whose `EXEC` is still to come.
//!
//! Owns the taking over. After it everything is as after a restart.

use super::{End, Fatal, Pipeline, Round};
use crate::core::position::{Offset, Position};
use crate::core::resume::{self, Origin, Unfit};
use crate::core::source::handshake::Answer;
use crate::core::source::{self, Event, Follower};
use crate::core::target::checkpoint::{Checkpoint, Record};
use crate::core::target::inherited::{self, Inherited};
use crate::core::target::session::Session;

/// So much of the stream before the position is looked at: a `SELECT` of any database and a `MULTI`.
const TAIL_BYTES: u64 = 64;

const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";

const SELECT: &[u8] = b"*2\r\n$6\r\nSELECT\r\n$";

impl Pipeline {
    /// Makes redis-GunYu's checkpoint ours, where that is wanted and there is none of ours.
    ///
    /// # Errors
    /// It does not fit, or it could not be found out.
    pub(super) async fn inherit(&self, round: &mut Round, session: &mut Session) -> Result<(), End> {
        let begins_anew = round.requested || round.force.is_some() || self.settings.awaits_full_sync;
        if !round.inherits || begins_anew {
            return Ok(());
        }
        if says_something(&session.record) {
            round.inherits = false;
            tracing::debug!("there is a checkpoint of this deployment: redis-GunYu's is not looked at");
            return Ok(());
        }
        let ids = round.history.into_iter();
        let ids = ids.flat_map(|history| [history.id].into_iter().chain(history.previous.map(|(id, _)| id)));
        let found = inherited::read(&mut session.lane, ids).await;
        let found = found.map_err(End::Target)?;
        let mut wish = self.wish.clone();
        let probed = tokio::select! {
            biased;
            _ = wish.changed() => return Err(End::Wished),
            probed = self.fit(found, round) => probed?,
        };
        let checkpoint = probed.map_err(|unfit| {
            End::Unfit(Fatal {
                message: unfit.to_string(),
                hint: Some(HINT.to_owned()),
            })
        })?;
        tracing::info!(position = %checkpoint.position, db = checkpoint.db, "going on from redis-GunYu's checkpoint");
        let record = Record {
            checkpoint: Some(checkpoint),
            epoch: session.record.epoch,
            // Fences and marks that may be there are of another time.
            lineage: fastrand::u64(1..),
            ..Record::default()
        };
        session.write_record(record).await.map_err(End::Target)?;
        // Whatever becomes of the target later, this process has been told once.
        round.inherits = false;
        Ok(())
    }

    /// Where to go on, if what was found fits.
    async fn fit(&self, found: Inherited, round: &Round) -> Result<Result<Checkpoint, Unfit>, End> {
        let (at, db) = match found {
            Inherited::Nothing => (None, 0),
            Inherited::Foreign(what) => return Ok(Err(Unfit::Foreign(what))),
            Inherited::At(at, db) => (Some(at), db),
        };
        // Without a question, which would cost the source a snapshot where it cannot be answered.
        let at = match resume::origin(false, at, round.history.as_ref(), None) {
            Ok(Origin::Inherited(at)) => at,
            Ok(Origin::Ours) => return Ok(Err(Unfit::NoneThere)),
            Err(unfit) => return Ok(Err(unfit)),
        };
        let tail = match probe(&self.settings.source, at).await {
            Ok(Probed::Fits(tail)) => tail,
            Ok(Probed::Unfit(unfit)) => return Ok(Err(unfit)),
            Ok(Probed::Behind) => {
                let message = "the source is a replica that has not got yet what redis-GunYu has applied";
                return Err(End::SourceRefuses {
                    message: message.to_owned(),
                    hint: None,
                });
            }
            Err(error) => {
                return Err(End::SourceRefuses {
                    message: error.to_string(),
                    hint: error.hint(),
                });
            }
        };
        let (offset, selected) = settle(&tail, at.offset);
        let db = match selected {
            Some(db) => Some(db),
            None => self.settings.filter.source_of(db),
        };
        let Some(db) = db else {
            let what = "no database of the source goes to the one that it had selected there";
            return Ok(Err(Unfit::Foreign(what.to_owned())));
        };
        let position = Position { offset, ..at };
        Ok(Ok(Checkpoint { position, db }))
    }
}

const HINT: &str = "leave --adopt-redis-gunyu-checkpoint away: gunyu then begins with a full sync";

/// Whether the target has anything of this deployment.
fn says_something(record: &Record) -> bool {
    record.checkpoint.is_some() || record.full_sync.is_some() || record.resync || record.lineage != 0
}

/// What the source says of a position.
enum Probed {
    /// It continues from there; the last bytes before it, as far as the source still has them.
    Fits(Vec<u8>),
    /// It does not.
    Unfit(Unfit),
    /// It will, when it has caught up.
    Behind,
}

/// Asks the source to continue from there. What it says of itself is enough for most that does not fit, and costs it no snapshot.
async fn probe(settings: &source::Settings, at: Position) -> Result<Probed, source::Error> {
    let mut follower = Follower::connect(settings).await?;
    let (history, kept_from) = (follower.info().history, follower.info().kept_from);
    if let Err(unfit) = resume::origin(false, Some(at), history.as_ref(), kept_from) {
        return Ok(Probed::Unfit(unfit));
    }
    let is_behind = follower.info().offset.is_some_and(|now| now < at.offset);
    match follower.info().is_replica {
        Some(true) if is_behind => return Ok(Probed::Behind),
        _ if is_behind => return Ok(Probed::Unfit(Unfit::OtherHistory(at))),
        _ => {}
    }
    let earliest = kept_from.unwrap_or(at.offset).get();
    let wanted = at.offset.get().saturating_sub(TAIL_BYTES).max(earliest);
    let from = Position {
        offset: Offset::new(wanted.min(at.offset.get())),
        ..at
    };
    if let Answer::FullResync(_) = follower.follow(Some(from)).await? {
        return Ok(Probed::Unfit(Unfit::TooOld(at)));
    }
    let want = usize::try_from(at.offset.since(from.offset)).unwrap_or(usize::MAX);
    let mut tail = Vec::with_capacity(want);
    while tail.len() < want {
        if let Event::Stream(bytes) = follower.next().await? {
            tail.extend_from_slice(&bytes[..bytes.len().min(want - tail.len())]);
        }
    }
    Ok(Probed::Fits(tail))
}

/// What the last bytes before a position say of it: where to begin, and which database was selected just there.
fn settle(tail: &[u8], at: Offset) -> (Offset, Option<u32>) {
    let (tail, at) = match tail.strip_suffix(MULTI) {
        Some(before) => (before, Offset::new(at.get().saturating_sub(MULTI.len() as u64))),
        None => (tail, at),
    };
    (at, selected_last(tail))
}

/// The database of the `SELECT` with which the bytes end.
fn selected_last(tail: &[u8]) -> Option<u32> {
    let tail = tail.strip_suffix(b"\r\n")?;
    let begins = tail.windows(SELECT.len()).rposition(|window| window == SELECT)?;
    let argument = std::str::from_utf8(&tail[begins + SELECT.len()..]).ok()?;
    let (length, number) = argument.split_once("\r\n")?;
    let is_whole = length.parse() == Ok(number.len());
    number.parse().ok().filter(|_| is_whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_before_a_position_say_what_was_selected_there_and_whether_a_transaction_has_begun() {
        let select = "*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n";
        let far = "*2\r\n$6\r\nSELECT\r\n$3\r\n120\r\n";
        let multi = "*1\r\n$5\r\nMULTI\r\n";
        let set = "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n";
        for (tail, offset, db) in [
            (String::new(), 500, None),
            (set.to_owned(), 500, None),
            (format!("{set}{select}"), 500, Some(3)),
            (format!("{set}{far}"), 500, Some(120)),
            (format!("{select}{set}"), 500, None),
            (format!("{set}{multi}"), 485, None),
            (format!("{set}{select}{multi}"), 485, Some(3)),
            // Cut off: it is not known whether it was a SELECT.
            (select[4..].to_owned(), 500, None),
            ("*2\r\n$6\r\nSELECT\r\n$2\r\n3\r\n".to_owned(), 500, None),
        ] {
            assert_eq!(
                settle(tail.as_bytes(), Offset::new(500)),
                (Offset::new(offset), db),
                "{tail:?}"
            );
        }
        assert!((far.len() + multi.len()) as u64 <= TAIL_BYTES);
    }

    #[test]
    fn a_record_that_says_anything_is_ours() {
        let lineage = Record {
            lineage: 7,
            ..Record::default()
        };
        assert!(!says_something(&Record::default()) && says_something(&lineage));
    }
}
