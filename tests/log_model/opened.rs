//! After an opening: what must be there, and whether `resume` makes the right thing of it.

use gunyu::core::log::Error;
use gunyu::core::position::Offset;
use gunyu::core::resume::{Ask, Log};

use super::model::{Snapshot, Stage};
use super::plan;
use super::world::{CAP_BYTES, World};

impl World<'_> {
    /// What was found is compared with what was promised, and then is what there is.
    pub fn adopt(&mut self, power_was_lost: bool) {
        let log = self.life().log.clone();
        let Some((history, extent, snapshot)) = log.look() else {
            if let Some(held) = &self.held {
                let unfinished = held
                    .snapshot
                    .as_ref()
                    .is_some_and(|one| one.stage != Stage::Whole);
                assert!(
                    unfinished || held.damaged || held.abandoned,
                    "everything is gone: {held:?}"
                );
            }
            self.held = None;
            return;
        };
        let held = self.held.as_mut().expect("a log that had been dropped is back");
        assert_eq!(history, held.history, "{held:?}");
        let (start, end) = (extent.start.get(), extent.end.get());
        // A copy of a file of the same history may know more.
        assert!(
            end <= held.tried || held.damaged,
            "more than was ever appended: to {end}, {held:?}"
        );
        let needed = if power_was_lost { held.persisted } else { held.end };
        // What may have been released need not be there.
        let is_there = end >= needed || needed <= held.releasable;
        assert!(is_there || held.damaged, "to {end}, not to {needed}: {held:?}");
        assert!(start >= held.begin, "from {start}: {held:?}");
        let may_go = held.begin.max(held.releasable);
        assert!(start <= may_go || held.damaged, "from {start}: {held:?}");
        assert_eq!(log.persisted(), Some(extent.end));
        match (&mut held.snapshot, snapshot) {
            (Some(one), Some(found)) => {
                assert_ne!(one.stage, Stage::Receiving, "half a snapshot: {one:?}");
                assert_eq!(found.position.offset.get(), one.offset);
                assert_eq!(start, one.offset, "the stream does not follow the snapshot");
                one.stage = Stage::Whole;
            }
            (Some(one), None) => {
                let may_go = one.stage != Stage::Whole || one.offset <= held.releasable;
                assert!(may_go || held.damaged, "the snapshot is gone: {held:?}");
                held.snapshot = None;
            }
            (None, Some(found)) => {
                // Its release had not reached the disk: it is as good as it was.
                let offset = found.position.offset.get();
                assert!(power_was_lost && offset == start && offset <= held.releasable || held.damaged);
                held.snapshot = Some(Snapshot {
                    offset,
                    received: found.received_bytes,
                    stage: Stage::Whole,
                });
            }
            (None, None) => {}
        }
        held.end = end;
        held.tried = end;
        held.persisted = end;
        let releasable = Offset::new(held.releasable);
        log.set_releasable(releasable);
        if let Err(error) = self.read_from(start) {
            let damaged = self.held.as_ref().is_some_and(|held| held.damaged);
            let io = matches!(error, Error::Io { .. });
            assert!(damaged || io, "what is there cannot be read: {error}");
            self.failed(&error);
        }
    }

    /// Plans as the pipeline does, and has the log do what the plan says.
    pub fn resume(&mut self) {
        let log = Log::of(&self.life().log);
        let plan = plan::check(
            &self.source,
            self.held.as_ref(),
            log.as_ref(),
            self.target.as_ref(),
        );
        match plan.ask {
            Ask::Continue(at) if !plan.keep_log => self.start_at(at.offset.get()),
            Ask::Continue(_) | Ask::FullSync(_) => {}
        }
    }

    /// What holds at every moment.
    pub fn look_around(&mut self) {
        let life = self.life();
        let log = life.log.clone();
        assert_eq!(life.space.used_bytes(), log.log_bytes());
        let on_disk: u64 = self.files().iter().map(|(_, bytes)| bytes.len() as u64).sum();
        let allowed = CAP_BYTES.max(life.bytes_found);
        assert!(
            life.space.used_bytes() <= allowed,
            "{} of {allowed}",
            life.space.used_bytes()
        );
        let refused = self.was_refused();
        assert!(
            on_disk <= allowed || refused,
            "{on_disk} bytes of files, {allowed} allowed"
        );
        let (snapshot, released) = (log.snapshot(), log.released().get());
        let Some(held) = &mut self.held else { return };
        let may_go = held.begin.max(held.releasable);
        assert!(
            held.damaged || released <= may_go,
            "released to {released}: {held:?}"
        );
        if snapshot.is_none()
            && let Some(gone) = held.snapshot.take()
        {
            let was_needed = gone.stage == Stage::Whole && gone.offset > held.releasable;
            assert!(!was_needed, "a snapshot was released that is needed: {held:?}");
            held.abandoned |= gone.stage != Stage::Whole;
        }
    }
}
