//! Where a pipeline goes on: a pure function of what the source, the log and the target say.
//!
//! | case | checkpoint is in the source's history | the log continues it | checkpoint within the log | the log holds a snapshot | plan |
//! | --- | --- | --- | --- | --- | --- |
//! | A | yes | yes | yes | – | ask from the log's end; read the log from the checkpoint |
//! | B | yes | yes | no | no newer one | drop the log; ask from the checkpoint |
//! | C | yes | no | – | – | as B |
//! | D | none, of another history, or before the snapshot | yes | no | yes | ask from the log's end; restore the snapshot, then the log |
//! | E | none yet | – | – | no, or the log does not continue | full sync, `first sync` |
//! | F | of another history | – | – | no, or the log does not continue | full sync, `history diverged` |
//! | G | any, and the source answers `FULLRESYNC` | | | | full sync, `source refused`, and from then on D |
//!
//! "The log continues it" means that there is a log and that its end lies in the source's history, so that the source can be asked from there. A
//! source that does not tell its history (no permission for `INFO`) is taken at our word: it will refuse where we are wrong, which is
//! case G.
//!
//! The checkpoint is that of this deployment. Where the operator wants that of redis-GunYu taken over, [`origin`] says whether it may stand in for one:
//!
//! | of this deployment the target has | of redis-GunYu it has | that is in the source's history | and the source still has what follows | origin |
//! | --- | --- | --- | --- | --- |
//! | anything | – | – | – | ours, as in the table above |
//! | nothing | nothing, or what we cannot read | – | – | none: refused |
//! | nothing | a position | no, or the source does not tell | – | none: refused |
//! | nothing | a position | yes | no | none: refused |
//! | nothing | a position | yes | yes, or it does not tell: then it is asked | the position, as the checkpoint of the table above |
//!
//! Owns the decision. Leaves to the pipeline to carry it out.

use super::log;
use super::position::{Extent, History, Offset, Position};

/// What the log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// The history of its bytes.
    pub history: History,
    /// Its segments.
    pub extent: Extent,
    /// The offset of its snapshot, if it holds one from which its segments go on: whole, or being received just now.
    pub snapshot: Option<Offset>,
}

impl Log {
    /// What a log holds, as far as it can be used: nothing, where its snapshot broke off before any stream.
    #[must_use]
    pub fn of(log: &log::Log) -> Option<Log> {
        let (history, extent, snapshot) = log.look()?;
        let whole = snapshot.filter(|one| one.stage != log::Stage::Abandoned);
        let usable = whole
            .map(|one| one.position.offset)
            .filter(|at| *at == extent.start);
        let broke_off = snapshot.is_some() && usable.is_none() && extent.len_bytes() == 0;
        (!broke_off).then_some(Log {
            history,
            extent,
            snapshot: usable,
        })
    }

    fn end(&self) -> Position {
        Position {
            id: self.history.id,
            offset: self.extent.end,
        }
    }

    fn holds(&self, checkpoint: &Position) -> bool {
        self.history.contains(checkpoint) && self.extent.can_read_from(checkpoint.offset)
    }
}

/// Why a full sync is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The target has no checkpoint of this deployment.
    FirstSync,
    /// The checkpoint is not in the source's history.
    HistoryDiverged,
    /// The source does not have the bytes after our position any more.
    SourceRefused,
    /// Somebody asked for it.
    Requested,
    /// The source's shard was emptied; its keys are not alone on the target.
    Emptied,
    /// Keys went to and fro between shards of the source too fast for their order to be seen.
    Entangled,
    /// The last snapshot was taken while slots were being imported.
    Importing,
    /// One was interrupted; it goes on where it was.
    Resumed,
    /// The snapshot or the log was damaged, on disk or on its way.
    Damaged,
}

impl Reason {
    /// The name in status, traces and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::FirstSync => "first sync",
            Reason::HistoryDiverged => "history diverged",
            Reason::SourceRefused => "source refused",
            Reason::Requested => "requested",
            Reason::Emptied => "emptied",
            Reason::Entangled => "entangled",
            Reason::Importing => "importing",
            Reason::Resumed => "resumed",
            Reason::Damaged => "damaged",
        }
    }
}

/// What to ask of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// To continue after this position.
    Continue(Position),
    /// For a snapshot.
    FullSync(Reason),
}

/// What to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// The log, from this offset.
    Log(Offset),
    /// The log's snapshot, which stands for this offset, then the log.
    Snapshot(Offset),
    /// The snapshot that the source is going to send.
    Coming,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The row of the table.
    pub case: char,
    /// Whether what the log holds is kept.
    pub keep_log: bool,
    /// What to ask of the source.
    pub ask: Ask,
    /// What to read.
    pub read: Read,
}

/// Looks up the table.
#[must_use]
pub fn plan(source: Option<&History>, log: Option<&Log>, checkpoint: Option<Position>) -> Plan {
    let in_history = |position: &Position| source.is_none_or(|history| history.contains(position));
    let log = log.filter(|log| in_history(&log.end()));
    let full_sync = |case, reason| Plan {
        case,
        keep_log: false,
        ask: Ask::FullSync(reason),
        read: Read::Coming,
    };
    let from_log = |case, log: &Log, read| Plan {
        case,
        keep_log: true,
        ask: Ask::Continue(log.end()),
        read,
    };
    let known = checkpoint.filter(in_history);
    if let (Some(at), Some(log)) = (known, log)
        && log.holds(&at)
    {
        return from_log('A', log, Read::Log(at.offset));
    }
    if let Some(
        log @ Log {
            snapshot: Some(snapshot),
            ..
        },
    ) = log
        && known.is_none_or(|at| at.offset < *snapshot)
    {
        return from_log('D', log, Read::Snapshot(*snapshot));
    }
    match (known, checkpoint) {
        (Some(at), _) => {
            let case = if log.is_some() { 'B' } else { 'C' };
            Plan {
                case,
                keep_log: false,
                ask: Ask::Continue(at),
                read: Read::Log(at.offset),
            }
        }
        (None, Some(_)) => full_sync('F', Reason::HistoryDiverged),
        (None, None) => full_sync('E', Reason::FirstSync),
    }
}

/// Where the position comes from on which a plan rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// What this deployment has recorded, if anything.
    Ours,
    /// A checkpoint of redis-GunYu, if the source continues from it.
    Inherited(Position),
}

/// Why a checkpoint of redis-GunYu cannot be taken over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// There is none.
    #[error("no checkpoint of redis-GunYu for this source is on the target")]
    NoneThere,
    /// It is none that we know.
    #[error("redis-GunYu's checkpoint on the target cannot be taken over: {0}")]
    Foreign(String),
    /// Nothing is known of the source's history.
    #[error(
        "whether redis-GunYu's checkpoint fits is not known: the source does not tell its replication id (INFO)"
    )]
    UnknownHistory,
    /// It is of another history.
    #[error(
        "redis-GunYu's checkpoint ({0}) is not in the source's history: it was restarted, or failed over and lost what was copied"
    )]
    OtherHistory(Position),
    /// The source does not have what follows it any more.
    #[error("the source does not have what comes after redis-GunYu's checkpoint ({0}) any more")]
    TooOld(Position),
}

/// Looks up the second table. `kept_from` is the offset after which the source says that it has its stream.
///
/// # Errors
/// It cannot be taken over.
pub fn origin(
    has_ours: bool,
    inherited: Option<Position>,
    source: Option<&History>,
    kept_from: Option<Offset>,
) -> Result<Origin, Unfit> {
    if has_ours {
        return Ok(Origin::Ours);
    }
    let at = inherited.ok_or(Unfit::NoneThere)?;
    let history = source.ok_or(Unfit::UnknownHistory)?;
    if !history.contains(&at) {
        return Err(Unfit::OtherHistory(at));
    }
    match kept_from.is_some_and(|from| at.offset < from) {
        true => Err(Unfit::TooOld(at)),
        false => Ok(Origin::Inherited(at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::position::ReplId;

    fn at(id: u8, offset: u64) -> Position {
        Position {
            id: ReplId::parse(&[id; 40]).unwrap(),
            offset: Offset::new(offset),
        }
    }

    fn log(id: u8, start: u64, end: u64, snapshot: Option<u64>) -> Log {
        Log {
            history: History::new(at(id, 0).id),
            extent: Extent {
                start: Offset::new(start),
                end: Offset::new(end),
            },
            snapshot: snapshot.map(Offset::new),
        }
    }

    #[test]
    fn every_row_of_the_table() {
        let source = History {
            id: at(b'a', 0).id,
            previous: Some((at(b'b', 0).id, Offset::new(500))),
        };
        let rows = [
            // (log, checkpoint, case, keeps the log, ask, read)
            (
                Some(log(b'a', 100, 900, None)),
                Some(at(b'a', 300)),
                'A',
                true,
                Ask::Continue(at(b'a', 900)),
                Read::Log(Offset::new(300)),
            ),
            (
                Some(log(b'b', 100, 450, None)),
                Some(at(b'b', 300)),
                'A',
                true,
                Ask::Continue(at(b'b', 450)),
                Read::Log(Offset::new(300)),
            ),
            (
                Some(log(b'a', 400, 900, None)),
                Some(at(b'a', 300)),
                'B',
                false,
                Ask::Continue(at(b'a', 300)),
                Read::Log(Offset::new(300)),
            ),
            (
                Some(log(b'a', 100, 900, None)),
                Some(at(b'a', 901)),
                'B',
                false,
                Ask::Continue(at(b'a', 901)),
                Read::Log(Offset::new(901)),
            ),
            (
                None,
                Some(at(b'b', 500)),
                'C',
                false,
                Ask::Continue(at(b'b', 500)),
                Read::Log(Offset::new(500)),
            ),
            (
                Some(log(b'b', 100, 600, None)),
                Some(at(b'b', 300)),
                'C',
                false,
                Ask::Continue(at(b'b', 300)),
                Read::Log(Offset::new(300)),
            ),
            (
                Some(log(b'a', 100, 900, Some(100))),
                None,
                'D',
                true,
                Ask::Continue(at(b'a', 900)),
                Read::Snapshot(Offset::new(100)),
            ),
            (
                Some(log(b'a', 100, 900, None)),
                None,
                'E',
                false,
                Ask::FullSync(Reason::FirstSync),
                Read::Coming,
            ),
            (
                Some(log(b'c', 100, 900, Some(100))),
                None,
                'E',
                false,
                Ask::FullSync(Reason::FirstSync),
                Read::Coming,
            ),
            (
                None,
                None,
                'E',
                false,
                Ask::FullSync(Reason::FirstSync),
                Read::Coming,
            ),
            (
                None,
                Some(at(b'b', 501)),
                'F',
                false,
                Ask::FullSync(Reason::HistoryDiverged),
                Read::Coming,
            ),
            (
                Some(log(b'c', 100, 900, Some(100))),
                Some(at(b'c', 300)),
                'F',
                false,
                Ask::FullSync(Reason::HistoryDiverged),
                Read::Coming,
            ),
        ];
        for (log, checkpoint, case, keep_log, ask, read) in rows {
            let expected = Plan {
                case,
                keep_log,
                ask,
                read,
            };
            assert_eq!(
                plan(Some(&source), log.as_ref(), checkpoint),
                expected,
                "{log:?} {checkpoint:?}"
            );
        }
    }

    #[test]
    fn a_checkpoint_under_the_old_id_is_within_a_log_that_was_renamed() {
        let mut renamed = log(b'a', 100, 900, None);
        renamed.history = History::new(at(b'b', 0).id).renamed(at(b'a', 0).id, Offset::new(600));
        let source = renamed.history;
        assert_eq!(plan(Some(&source), Some(&renamed), Some(at(b'b', 600))).case, 'A');
        assert_eq!(plan(Some(&source), Some(&renamed), Some(at(b'b', 601))).case, 'F');
    }

    #[test]
    fn a_source_that_does_not_tell_its_history_decides_itself() {
        let log = log(b'c', 100, 900, None);
        assert_eq!(plan(None, Some(&log), Some(at(b'c', 300))).case, 'A');
        assert_eq!(plan(None, None, Some(at(b'd', 300))).case, 'C');
    }

    /// Where the source tells its history, what it holds says so already: equal bytes stand at equal offsets. Here nothing else says it.
    #[test]
    fn a_checkpoint_of_another_history_is_not_within_a_log_whatever_its_offset() {
        for snapshot in [None, Some(100)] {
            let log = log(b'c', 100, 900, snapshot);
            let expected = Plan {
                case: 'B',
                keep_log: false,
                ask: Ask::Continue(at(b'd', 300)),
                read: Read::Log(Offset::new(300)),
            };
            assert_eq!(plan(None, Some(&log), Some(at(b'd', 300))), expected);
        }
    }

    #[test]
    fn every_row_of_the_table_of_origins() {
        let source = History {
            id: at(b'a', 0).id,
            previous: Some((at(b'b', 0).id, Offset::new(500))),
        };
        let kept_from = Some(Offset::new(200));
        let here = |inherited, kept_from| origin(false, inherited, Some(&source), kept_from);
        assert_eq!(origin(true, None, None, None), Ok(Origin::Ours));
        assert_eq!(
            origin(true, Some(at(b'a', 300)), Some(&source), kept_from),
            Ok(Origin::Ours)
        );
        assert_eq!(here(None, kept_from), Err(Unfit::NoneThere));
        assert_eq!(
            origin(false, Some(at(b'a', 300)), None, kept_from),
            Err(Unfit::UnknownHistory)
        );
        for other in [at(b'c', 300), at(b'b', 501)] {
            assert_eq!(here(Some(other), kept_from), Err(Unfit::OtherHistory(other)));
        }
        for fits in [at(b'a', 200), at(b'b', 500)] {
            assert_eq!(here(Some(fits), kept_from), Ok(Origin::Inherited(fits)));
        }
        let old = at(b'a', 199);
        assert_eq!(here(Some(old), kept_from), Err(Unfit::TooOld(old)));
        assert_eq!(here(Some(old), None), Ok(Origin::Inherited(old)));
    }
}
