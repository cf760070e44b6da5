//! One frame of the stream on its way into the batch: what the filter's verdict means for it, and for the checkpoint.

use super::dead_letter::Letter;
use crate::core::command::Kind;
use crate::core::filter::{self, DropReason, Verdict};
use crate::core::resp::Frame;
use crate::core::target::batch::{Batch, Piece};

/// What became of a frame.
pub(super) enum Judged {
    Kept,
    Dropped,
    Refused(Letter),
    NoDatabase(u32),
    /// An argument has more bytes than the target takes.
    TooLong(usize),
}

/// One frame on its way into the batch.
pub(super) struct Keeping<'a> {
    pub(super) batch: &'a mut Batch,
    pub(super) databases: u32,
    pub(super) bulk_bytes_max: usize,
    /// Batches are transactions of ours, so that the source's own MULTI and EXEC are left out.
    pub(super) exact: bool,
    /// The batch notes where each command ends: a cluster's fences are by command.
    pub(super) notes_ends: bool,
    pub(super) state: &'a filter::State,
    pub(super) received_at: Option<std::time::Instant>,
    /// The databases of the target that the command has change places.
    pub(super) swaps: Option<(u32, u32)>,
}

impl Keeping<'_> {
    pub(super) fn judge(self, frame: &Frame<'_>, kind: Kind, verdict: Verdict) -> Judged {
        let end = frame.end();
        if frame.bytes().len() > self.bulk_bytes_max
            && let Some(long) = frame
                .args()
                .map(<[u8]>::len)
                .find(|len| *len > self.bulk_bytes_max)
            && matches!(verdict, Verdict::Keep | Verdict::Rewrite(_))
        {
            return Judged::TooLong(long);
        }
        self.batch.advance(end);
        let target_db = self.state.selected().unwrap_or(self.batch.target_db());
        match verdict {
            Verdict::Drop(reason) => {
                self.batch.select(self.state.db(), target_db);
                if reason == DropReason::Control {
                    Judged::Kept
                } else {
                    Judged::Dropped
                }
            }
            Verdict::Straddles(why) => Judged::Refused(Letter {
                offset: end,
                db: target_db,
                reason: format!("the filter's rules leave it undecided: {why}"),
                command: frame.to_bytes(),
            }),
            Verdict::Keep => self.keep(kind, target_db, |batch| batch.keep(frame)),
            Verdict::Rewrite(commands) => self.keep(kind, target_db, |batch| batch.push_counted(commands)),
        }
    }

    fn keep(self, kind: Kind, target_db: u32, add: impl FnOnce(&mut Batch)) -> Judged {
        let batch = self.batch;
        if let Some(at) = self.received_at {
            batch.received(at);
        }
        if target_db >= self.databases {
            return Judged::NoDatabase(target_db);
        }
        match kind {
            Kind::Multi | Kind::Exec => {
                batch.set_in_transaction(kind == Kind::Multi);
                if !self.exact {
                    add(batch);
                }
            }
            Kind::Flushall | Kind::Flushdb | Kind::Swapdb => {
                let is_alone = !self.exact && !batch.in_transaction();
                if is_alone {
                    batch.mark(Piece::Open);
                }
                if let Some((one, other)) = self.swaps {
                    batch.swap(one, other);
                }
                if kind == Kind::Swapdb {
                    batch.mark(Piece::RemoveCheckpoint { back_to: target_db });
                }
                add(batch);
                batch.mark(Piece::RestoreCheckpoint { back_to: target_db });
                if is_alone {
                    batch.mark(Piece::Close);
                }
            }
            _ => add(batch),
        }
        if self.notes_ends {
            batch.note_end(batch.end());
        }
        batch.select(self.state.db(), target_db);
        Judged::Kept
    }
}
