//! Going on where redis-GunYu stopped: its checkpoint becomes ours, once it is certain that it fits.
//!
//! ```text
//! nothing of ours on the target -> its checkpoint [target::inherited] -> does it fit? [resume::origin] -> the source is asked [probe] -> written as ours
//! ```
//!
//! The source is asked on a link of its own, a few bytes before the position, so that a position that does not fit is refused before anything has been
//! changed on either side. Those bytes are read: redis-GunYu may have stopped just behind a `SELECT`, which it then has recorded for the database before it,
//! or just behind a `MULTI`, whose `EXEC` is still to come. A value may end with the same bytes. So they count only where another command, or the beginning of what
//! the source has, stands before them.
//!
//! Owns the taking over. After it everything is as after a restart.

use bytes::Bytes;

use super::{End, Fatal, Pipeline, Round};
use crate::core::position::{History, Offset, Position};
use crate::core::resp::Framer;
use crate::core::resume::{self, Origin, Unfit};
use crate::core::source::handshake::Answer;
use crate::core::source::{self, Event, Follower};
use crate::core::target::checkpoint::{Checkpoint, Record};
use crate::core::target::inherited::{self, Inherited};
use crate::core::target::session::Session;

/// So much of the stream before the position is looked at.
const TAIL_BYTES: u64 = 64 << 10;

/// At least so much, where the source has it; else no more than half of what it has: what is at the end of its backlog may be gone by the time it is asked for.
const TAIL_BYTES_MIN: u64 = 4 << 10;

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
        if has_failed_over(round.history.as_ref(), checkpoint.position) {
            let hint = "compare with gunyu verify; where it did, ask for a full sync (gunyu fullsync)";
            tracing::warn!(
                hint,
                "the source has failed over since its history began: had redis-GunYu been in the midst of a full sync then, its checkpoint would be wrong, and that cannot be seen"
            );
        }
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
            Ok(Probed::MasterMayHave(unfit)) => {
                return Err(End::Unfit(Fatal {
                    message: unfit.to_string(),
                    hint: Some(format!("{HINT_MASTER}, or {HINT}")),
                }));
            }
            Ok(Probed::Behind) => {
                let message = "the source is a replica that has not got yet what redis-GunYu has applied";
                return Err(End::SourceRefuses {
                    message: message.to_owned(),
                    hint: None,
                });
            }
            Err(error) => {
                let (message, hint) = (error.to_string(), error.hint());
                return Err(match error.needs_a_person() && round.untouched {
                    true => End::Unfit(Fatal { message, hint }),
                    false => End::SourceRefuses { message, hint },
                });
            }
        };
        let Some((offset, selected)) = settle(&tail, at.offset) else {
            let what = "the command before its position is so long that it cannot be told whether it stopped within a transaction or behind a SELECT";
            return Ok(Err(Unfit::Foreign(what.to_owned())));
        };
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

const HINT_MASTER: &str =
    "the master may still have it: set input.syncFrom: master (of one server: give the master as the source)";

/// Whether the source goes by another id than it once did, and the checkpoint is under the new one: redis-GunYu wrote it anew, whatever it was about.
fn has_failed_over(source: Option<&History>, at: Position) -> bool {
    source.is_some_and(|history| history.previous.is_some() && history.id == at.id)
}

/// Whether the target has anything of this deployment.
fn says_something(record: &Record) -> bool {
    record.checkpoint.is_some() || record.full_sync.is_some() || record.resync || record.lineage != 0
}

/// What the source says of a position.
enum Probed {
    /// It continues from there; the last bytes before it, as far as the source still has them.
    Fits(Tail),
    /// It does not.
    Unfit(Unfit),
    /// It does not, being a replica, and its master might.
    MasterMayHave(Unfit),
    /// It will, when it has caught up.
    Behind,
}

impl Probed {
    fn of(unfit: Unfit, is_replica: Option<bool>) -> Probed {
        match (&unfit, is_replica) {
            (Unfit::TooOld(_), Some(true)) => Probed::MasterMayHave(unfit),
            _ => Probed::Unfit(unfit),
        }
    }
}

/// Asks the source to continue from there. What it says of itself is enough for most that does not fit, and costs it no snapshot.
async fn probe(settings: &source::Settings, at: Position) -> Result<Probed, source::Error> {
    let mut follower = Follower::connect(settings).await?;
    let (history, kept_from) = (follower.info().history, follower.info().kept_from);
    let is_replica = follower.info().is_replica;
    if let Err(unfit) = resume::origin(false, Some(at), history.as_ref(), kept_from) {
        return Ok(Probed::of(unfit, is_replica));
    }
    let is_behind = follower.info().offset.is_some_and(|now| now < at.offset);
    match is_replica {
        Some(true) if is_behind => return Ok(Probed::Behind),
        _ if is_behind => return Ok(Probed::Unfit(Unfit::OtherHistory(at))),
        _ => {}
    }
    let kept = at.offset.since(kept_from.unwrap_or(at.offset));
    let wanted = reach(kept);
    let from = Position {
        offset: Offset::new(at.offset.get() - wanted),
        ..at
    };
    if let Answer::FullResync(_) = follower.follow(Some(from)).await? {
        return Ok(Probed::of(Unfit::TooOld(at), is_replica));
    }
    let want = usize::try_from(at.offset.since(from.offset)).unwrap_or(usize::MAX);
    let mut tail = Vec::with_capacity(want);
    while tail.len() < want {
        if let Event::Stream(bytes) = follower.next().await? {
            tail.extend_from_slice(&bytes[..bytes.len().min(want - tail.len())]);
        }
    }
    Ok(Probed::Fits(Tail {
        bytes: tail,
        is_all: wanted == kept,
    }))
}

/// How many bytes before the position are asked for, of so many that the source keeps.
fn reach(kept: u64) -> u64 {
    (kept / 2).clamp(TAIL_BYTES_MIN, TAIL_BYTES).min(kept)
}

/// The last bytes before a position.
struct Tail {
    bytes: Vec<u8>,
    /// The source has none before them.
    is_all: bool,
}

/// What the last bytes before a position say of it: where to begin, and which database was selected just there. Nothing where they may as well be a value.
fn settle(tail: &Tail, at: Offset) -> Option<(Offset, Option<u32>)> {
    let commands = last_commands(&tail.bytes);
    let (mut offset, mut selected, mut first) = (at, None, commands.len());
    for (number, command) in commands.iter().enumerate().rev() {
        match command.what {
            What::Select(db) => selected = selected.or(Some(db)),
            // What was selected within the transaction is selected again.
            What::Multi => {
                let bytes = (tail.bytes.len() - command.begins) as u64;
                (offset, selected) = (Offset::new(at.get().saturating_sub(bytes)), None);
            }
            What::Other => break,
        }
        first = number;
    }
    let is_known = first == commands.len() || first > 0 || tail.is_all && commands[0].begins == 0;
    is_known.then_some((offset, selected))
}

/// A command before the position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Command {
    begins: usize,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Select(u32),
    Multi,
    Other,
}

/// The commands with which the bytes end, from the first place from which they can be cut into commands; none where the last command begins before them.
fn last_commands(tail: &[u8]) -> Vec<Command> {
    let bytes = Bytes::copy_from_slice(tail);
    let mut tried = vec![false; tail.len() + 1];
    let begins = |at: &usize| tail[*at] == b'*' && (*at == 0 || tail[..*at].ends_with(b"\r\n"));
    for start in (0..tail.len()).filter(begins) {
        if let Some(commands) = cut(&bytes, start, &mut tried) {
            return commands;
        }
    }
    Vec::new()
}

/// The commands from there to the end, if they are whole. What has been tried once leads nowhere the second time.
fn cut(bytes: &Bytes, start: usize, tried: &mut [bool]) -> Option<Vec<Command>> {
    let mut framer = Framer::default();
    framer
        .push(Offset::new(start as u64), bytes.slice(start..))
        .ok()?;
    let (mut begins, mut commands) = (start, Vec::new());
    loop {
        if std::mem::replace(&mut tried[begins], true) {
            return None;
        }
        let frame = framer.next().ok()??;
        let what = match (frame.arg_count(), frame.arg(0), frame.arg(1)) {
            (1, Some(b"MULTI"), _) => What::Multi,
            (2, Some(b"SELECT"), Some(db)) => std::str::from_utf8(db)
                .ok()
                .and_then(|db| db.parse().ok())
                .map_or(What::Other, What::Select),
            _ => What::Other,
        };
        commands.push(Command { begins, what });
        begins = usize::try_from(frame.end().get()).ok()?;
        if begins == bytes.len() {
            return Some(commands);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::position::ReplId;

    const SELECT: &str = "*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n";
    const MULTI: &str = "*1\r\n$5\r\nMULTI\r\n";
    const SET: &str = "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n";

    fn settled(tail: &str) -> Option<(u64, Option<u32>)> {
        let tail = Tail {
            bytes: tail.as_bytes().to_vec(),
            is_all: true,
        };
        settle(&tail, Offset::new(500)).map(|(offset, db)| (offset.get(), db))
    }

    #[test]
    fn what_may_be_gone_by_the_time_it_is_asked_for_is_not_asked_for() {
        for (kept, asked) in [(0, 0), (23, 23), (4_096, 4_096), (10_000, 5_000), (6_000, 4_096)] {
            assert_eq!(reach(kept), asked, "{kept}");
        }
        assert_eq!(reach(1 << 20), TAIL_BYTES);
        let tail = Tail {
            bytes: SELECT.as_bytes().to_vec(),
            is_all: false,
        };
        assert_eq!(settle(&tail, Offset::new(500)), None);
    }

    #[test]
    fn the_bytes_before_a_position_say_what_was_selected_there_and_whether_a_transaction_has_begun() {
        let far = "*2\r\n$6\r\nSELECT\r\n$3\r\n120\r\n";
        for (tail, offset, db) in [
            (String::new(), 500, None),
            (SET.to_owned(), 500, None),
            (format!("{SET}{SELECT}"), 500, Some(3)),
            (format!("{SET}{far}"), 500, Some(120)),
            (format!("{SELECT}{SET}"), 500, None),
            (format!("{SET}{MULTI}"), 485, None),
            (format!("{SET}{SELECT}{MULTI}"), 485, Some(3)),
            (format!("{SET}{MULTI}{SELECT}"), 462, None),
            // All that the source has.
            (SELECT.to_owned(), 500, Some(3)),
            (MULTI.to_owned(), 485, None),
            // The end of what came before it.
            (format!("end\r\n{SET}{SELECT}"), 500, Some(3)),
            (format!("*7\r\n{SET}{MULTI}"), 485, None),
            // Cut off: whatever it was, it was long.
            (SET[4..].to_owned(), 500, None),
            ("*2\r\n$6\r\nSELECT\r\n$2\r\n3\r\n".to_owned(), 500, None),
        ] {
            assert_eq!(settled(&tail), Some((offset, db)), "{tail:?}");
        }
    }

    #[test]
    fn a_value_that_ends_like_a_select_or_a_multi_is_neither_and_where_it_may_be_one_nothing_is_guessed() {
        for fake in [SELECT, MULTI] {
            let value = &fake[..fake.len() - 2];
            let long = format!("{SET}{MULTI}{SET}x\r\n{value}");
            for value in [value, &long] {
                let set = format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n${}\r\n{value}\r\n", value.len());
                assert_eq!(settled(&format!("{SET}{set}")), Some((500, None)), "{set:?}");
                assert_eq!(settled(&set), Some((500, None)), "{set:?}");
            }
            // The command before it is not seen whole.
            assert_eq!(settled(&format!("xxx\r\n{fake}")), None);
        }
    }

    #[test]
    fn a_tail_full_of_beginnings_is_read_in_one_pass() {
        let tail = format!("{}x", "*1\r\n$4\r\nPING\r\n".repeat(20_000));
        assert_eq!(settled(&tail), Some((500, None)));
    }

    #[test]
    fn a_replica_that_lacks_what_follows_points_to_its_master() {
        let at = Position {
            id: ReplId::parse(&[b'a'; 40]).unwrap(),
            offset: Offset::new(5),
        };
        let of = |is_replica| Probed::of(Unfit::TooOld(at), is_replica);
        assert!(matches!(of(Some(true)), Probed::MasterMayHave(Unfit::TooOld(_))));
        assert!(matches!(of(Some(false)), Probed::Unfit(_)));
        assert!(matches!(of(None), Probed::Unfit(_)));
        let other = Probed::of(Unfit::OtherHistory(at), Some(true));
        assert!(matches!(other, Probed::Unfit(_)));
    }

    #[test]
    fn a_checkpoint_under_the_new_id_of_a_source_that_has_failed_over_is_doubted() {
        let id = |of: u8| ReplId::parse(&[of; 40]).unwrap();
        let at = |of: u8| Position {
            id: id(of),
            offset: Offset::new(5),
        };
        let history = History {
            id: id(b'b'),
            previous: Some((id(b'a'), Offset::new(9))),
        };
        assert!(has_failed_over(Some(&history), at(b'b')));
        assert!(!has_failed_over(Some(&history), at(b'a')));
        assert!(!has_failed_over(Some(&History::new(id(b'b'))), at(b'b')));
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
