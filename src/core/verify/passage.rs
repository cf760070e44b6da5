//! Whether the pipelines have passed a position: what a source had said by then is on the target.
//!
//! | a gunyu of that name is connected to the target | the checkpoint comes to move within the patience | the pipeline is taken for |
//! | --- | --- | --- |
//! | no | – | none: the source is as it is, and so is the target |
//! | yes, or the target does not say | yes | one that follows: its checkpoint is waited for |
//! | yes, or the target does not say | no | none, and a note says so |

use std::time::{Duration, Instant};

use super::group::Group;
use super::{Error, Settings};
use crate::core::net::Endpoint;
use crate::core::position::{History, Offset};
use crate::core::survey;
use crate::core::target::checkpoint::Record;

/// Where nothing follows, it is looked again after so long.
const STILL: Duration = Duration::from_millis(300);

/// The checkpoint is read so often at first, and less and less often.
const ASK_EVERY_MIN: Duration = Duration::from_millis(5);
const ASK_EVERY_MAX: Duration = Duration::from_millis(100);

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
}

/// All pipelines of a group.
pub(super) struct Passage {
    ways: Vec<Way>,
    patience: Duration,
    notes: Vec<String>,
}

impl Passage {
    pub(super) async fn begin(settings: &Settings, group: &Group) -> Result<Passage, Error> {
        let mut ways = Vec::new();
        for one in &group.pipelines {
            let mut way = Way {
                name: one.name.clone(),
                source: one.source.endpoint.clone(),
                target: one.target.endpoint.clone(),
                asks: None,
                follows: false,
            };
            let name = way.name.clone();
            let in_use = way.asks().await?.1.is_in_use(&name).await?;
            way.follows = in_use.unwrap_or(true);
            ways.push(way);
        }
        Ok(Passage {
            ways,
            patience: settings.patience,
            notes: Vec::new(),
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
            marks.push(match way.follows {
                true => way.mark().await?,
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
            if !way.pass(mark, self.patience).await? {
                way.follows = false;
                self.notes.push(format!(
                    "the checkpoint of {} has not moved for {} s: what was written lately may still be on its way",
                    way.source.address,
                    self.patience.as_secs()
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

    async fn mark(&mut self) -> Result<Option<Mark>, Error> {
        let info = self.asks().await?.0.info().await?;
        let history = info.history;
        Ok(info.offset.map(|offset| Mark { history, offset }))
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

    /// Waits until the checkpoint is at the mark or after it; false where it does not move for the patience.
    async fn pass(&mut self, mark: &Mark, patience: Duration) -> Result<bool, Error> {
        let name = self.name.clone();
        let (mut last, mut moved_at) = (None, Instant::now());
        let mut pause = ASK_EVERY_MIN;
        loop {
            let recorded = self.asks().await?.1.recorded(&name).await?;
            let record = recorded.map(|recorded| recorded.record);
            if record.as_ref().is_some_and(|record| mark.is_passed(record)) {
                return Ok(true);
            }
            if record != last {
                (last, moved_at) = (record, Instant::now());
            }
            if moved_at.elapsed() > patience {
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
        let is_ours = self
            .history
            .as_ref()
            .is_none_or(|history| history.contains(&checkpoint.position));
        is_ours && checkpoint.position.offset >= self.offset
    }
}
