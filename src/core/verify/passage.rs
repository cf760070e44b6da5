//! Whether the pipelines have passed a position: what a source had said by then is on the target.
//!
//! | a gunyu of that name is connected to the target | the checkpoint comes to move within the patience | the pipeline is taken for |
//! | --- | --- | --- |
//! | no | – | none: the source is as it is, and so is the target |
//! | yes, or the target does not say | yes | one that follows: its checkpoint is waited for |
//! | yes, or the target does not say | no | none, and a note says so |
//!
//! One that was taken for none is looked for again, for it may only have been between two attempts. A source that takes up another history, after a failover, is asked
//! again where it is: its old position is in nobody's checkpoint any more.

use std::time::{Duration, Instant};

use super::group::Group;
use super::{Error, Settings};
use crate::core::net::Endpoint;
use crate::core::position::{History, Offset, Position};
use crate::core::survey;
use crate::core::target::checkpoint::Record;

/// Where nothing follows, it is looked again after so long.
const STILL: Duration = Duration::from_millis(300);

/// The checkpoint is read so often at first, and less and less often.
const ASK_EVERY_MIN: Duration = Duration::from_millis(5);
const ASK_EVERY_MAX: Duration = Duration::from_millis(100);

/// What follows nothing is looked for again after so long.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A checkpoint that moves is waited for so many times the patience all in all.
const PATIENCES: u32 = 60;

/// Where a source was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    history: Option<History>,
    offset: Offset,
}

/// One pipeline.
struct Way {
    name: String,
    source: Endpoint,
    target: Endpoint,
    asks: Option<(survey::Source, survey::Target)>,
    follows: bool,
    /// When it was last looked for.
    looked_at: Instant,
    /// It did not move from here for the patience.
    stuck: Option<Option<Record>>,
    is_told: bool,
}

/// All pipelines of a group.
pub(super) struct Passage {
    ways: Vec<Way>,
    patience: Duration,
    notes: Vec<String>,
}

impl Passage {
    pub(super) async fn begin(settings: &Settings, group: &Group) -> Result<Passage, Error> {
        let (mut ways, mut notes) = (Vec::new(), Vec::new());
        for one in &group.pipelines {
            let mut way = Way {
                name: one.name.clone(),
                source: one.source.endpoint.clone(),
                target: one.target.endpoint.clone(),
                asks: None,
                follows: false,
                looked_at: Instant::now(),
                stuck: None,
                is_told: false,
            };
            way.look(&mut notes).await?;
            ways.push(way);
        }
        Ok(Passage {
            ways,
            patience: settings.patience,
            notes,
        })
    }

    /// Whether a pipeline is at work on every way.
    pub(super) fn follows(&self) -> bool {
        self.ways.iter().all(|way| way.follows)
    }

    /// What an operator should know.
    pub(super) fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// Where the sources are now; of those that are followed.
    pub(super) async fn marks(&mut self) -> Result<Vec<Option<Mark>>, Error> {
        let mut marks = Vec::new();
        for way in &mut self.ways {
            if !way.follows && way.looked_at.elapsed() > LOOK_EVERY {
                way.look(&mut self.notes).await?;
            }
            marks.push(match way.follows {
                true => Some(way.mark().await?),
                false => None,
            });
        }
        Ok(marks)
    }

    /// Whether what is written to the target now stays right when the stream goes on.
    pub(super) async fn check_safe(&mut self) -> Result<(), Error> {
        for way in self.ways.iter_mut().filter(|way| !way.follows) {
            if way.will_go_on().await? {
                return Err(Error::Stalled {
                    source_address: way.source.address.clone(),
                });
            }
        }
        Ok(())
    }

    /// Waits until the target has what the sources had said at these marks.
    pub(super) async fn wait(&mut self, marks: &[Option<Mark>]) -> Result<(), Error> {
        for (way, mark) in self.ways.iter_mut().zip(marks) {
            let Some(mark) = mark else { continue };
            let began = Instant::now();
            if !way.pass(mark, self.patience).await? {
                way.follows = false;
                let (source, seconds) = (&way.source.address, self.patience.as_secs());
                let what = match began.elapsed() < self.patience * PATIENCES {
                    true => format!("has not moved for {seconds} s"),
                    false => "moves, and does not come to where its source was".to_owned(),
                };
                self.notes.push(format!(
                    "the checkpoint of {source} {what}: what was written lately may still be on its way"
                ));
            }
        }
        Ok(())
    }

    /// Where nothing follows, waits for a moment: whatever else writes there may do so meanwhile.
    pub(super) async fn rest(&self) {
        if !self.follows() {
            tokio::time::sleep(STILL).await;
        }
    }
}

impl Way {
    async fn asks(&mut self) -> Result<&mut (survey::Source, survey::Target), survey::Error> {
        if self.asks.is_none() {
            let source = survey::Source::connect(&self.source).await?;
            self.asks = Some((source, survey::Target::connect(&self.target).await?));
        }
        Ok(self.asks.as_mut().expect("it has just been made"))
    }

    async fn mark(&mut self) -> Result<Mark, Error> {
        let info = self.asks().await?.0.info().await?;
        let offset = info.offset.ok_or_else(|| Error::NoOffset {
            address: self.source.address.clone(),
        })?;
        let history = info.history;
        Ok(Mark { history, offset })
    }

    /// Whether a pipeline is at work here, or again. Where none is, a checkpoint that stands behind its source is told of.
    async fn look(&mut self, notes: &mut Vec<String>) -> Result<(), Error> {
        self.looked_at = Instant::now();
        let name = self.name.clone();
        let record = self.asks().await?.1.recorded(&name).await?;
        let record = record.map(|recorded| recorded.record);
        if self.stuck.as_ref().is_some_and(|stuck| *stuck == record) {
            return Ok(());
        }
        let in_use = self.asks().await?.1.is_in_use(&name).await?;
        self.follows = in_use.unwrap_or(true);
        if self.follows || self.is_told {
            return Ok(());
        }
        let info = self.asks().await?.0.info().await?;
        let mark = info.offset.map(|offset| Mark {
            history: info.history,
            offset,
        });
        if let Some(bytes) = mark.zip(record).and_then(|(mark, record)| mark.behind(&record)) {
            self.is_told = true;
            notes.push(format!(
                "the checkpoint of {} is {bytes} bytes behind it, and no gunyu is at work: what was written since differs",
                self.source.address
            ));
        }
        Ok(())
    }

    /// Whether a pipeline that begins later goes on from a checkpoint that stands there.
    async fn will_go_on(&mut self) -> Result<bool, Error> {
        let name = self.name.clone();
        let (source, target) = self.asks().await?;
        let history = source.info().await?.history;
        let recorded = target.recorded(&name).await?;
        let checkpoint = recorded.and_then(|recorded| recorded.record.checkpoint);
        let goes_on = |at: &History| checkpoint.is_some_and(|checkpoint| at.contains(&checkpoint.position));
        Ok(history.as_ref().is_none_or(goes_on) && checkpoint.is_some())
    }

    /// Waits until the checkpoint is at the mark or after it; false where it does not move for the patience, or moves for too long.
    async fn pass(&mut self, mark: &Mark, patience: Duration) -> Result<bool, Error> {
        let name = self.name.clone();
        let mut mark = mark.clone();
        let began = Instant::now();
        let (mut last, mut moved_at) = (None, began);
        let mut pause = ASK_EVERY_MIN;
        loop {
            let recorded = self.asks().await?.1.recorded(&name).await?;
            let record = recorded.map(|recorded| recorded.record);
            if record.as_ref().is_some_and(|record| mark.is_passed(record)) {
                return Ok(true);
            }
            let is_coming = |mark: &Mark| record.as_ref().is_some_and(|record| mark.is_coming(record));
            if record.is_some() && !is_coming(&mark) {
                mark = self.mark().await?;
            }
            let coming = record.clone().filter(|_| is_coming(&mark));
            if coming != last {
                (last, moved_at) = (coming, Instant::now());
            }
            if moved_at.elapsed() > patience || began.elapsed() > patience * PATIENCES {
                self.stuck = Some(record);
                return Ok(false);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(ASK_EVERY_MAX);
        }
    }
}

impl Mark {
    fn is_passed(&self, record: &Record) -> bool {
        let Some(checkpoint) = record.checkpoint.filter(|_| record.full_sync.is_none()) else {
            return false;
        };
        self.is_ours(&checkpoint.position) && checkpoint.position.offset >= self.offset
    }

    /// Whether what is recorded may come to the mark: it is of the source's history, or a snapshot is copied.
    fn is_coming(&self, record: &Record) -> bool {
        let is_ours = |position| self.is_ours(&position);
        record.full_sync.is_some()
            || record
                .checkpoint
                .is_some_and(|checkpoint| is_ours(checkpoint.position))
    }

    /// How many bytes it is behind, where it is of the source's history and is behind.
    fn behind(&self, record: &Record) -> Option<u64> {
        let checkpoint = record.checkpoint.filter(|one| self.is_ours(&one.position))?;
        let bytes = self.offset.get().checked_sub(checkpoint.position.offset.get());
        bytes.filter(|bytes| *bytes > 0)
    }

    fn is_ours(&self, position: &Position) -> bool {
        let history = self.history.as_ref();
        history.is_none_or(|history| history.contains(position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::position::ReplId;
    use crate::core::target::checkpoint::Checkpoint;

    #[test]
    fn every_row_of_what_is_recorded() {
        let id = |letter: u8| ReplId::parse(&[letter; 40]).unwrap();
        let at = |letter, offset| Position {
            id: id(letter),
            offset: Offset::new(offset),
        };
        let mark = Mark {
            history: Some(History::new(id(b'a'))),
            offset: Offset::new(100),
        };
        let record = |position, full_sync| Record {
            checkpoint: Some(Checkpoint { position, db: 0 }),
            full_sync,
            ..Record::default()
        };
        #[rustfmt::skip]
        let rows = [
            // recorded,                                    passed, coming, behind
            (record(at(b'a', 100), None),                   true,  true,  None),
            (record(at(b'a', 101), None),                   true,  true,  None),
            (record(at(b'a', 99),  None),                   false, true,  Some(1)),
            (record(at(b'b', 500), None),                   false, false, None),
            (record(at(b'b', 50),  None),                   false, false, None),
            (record(at(b'b', 50),  Some(at(b'a', 70))),     false, true,  None),
            (record(at(b'a', 500), Some(at(b'a', 70))),     false, true,  None),
            (Record::default(),                             false, false, None),
        ];
        for (record, passed, coming, behind) in rows {
            let is = (
                mark.is_passed(&record),
                mark.is_coming(&record),
                mark.behind(&record),
            );
            assert_eq!(is, (passed, coming, behind), "{record:?}");
        }
    }
}
