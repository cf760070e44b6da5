//! A disk that refuses.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::disk::{Faults, Op, Verdict};
use super::*;

/// Refuses some calls.
#[derive(Debug)]
pub(super) struct Script {
    op: Op,
    /// Before it refuses for the first time.
    spare: AtomicUsize,
    /// How often it refuses.
    times: AtomicUsize,
    /// For appends: bytes that are still written.
    written: usize,
    error: fn() -> io::Error,
}

impl Script {
    fn new(op: Op, spare: usize, times: usize, error: fn() -> io::Error) -> Script {
        Script {
            op,
            spare: AtomicUsize::new(spare),
            times: AtomicUsize::new(times),
            written: 0,
            error,
        }
    }

    /// Always refuses `op`.
    pub(super) fn failing(op: Op) -> Script {
        Script::new(op, 0, usize::MAX, || io::Error::other("refused"))
    }

    fn no_space(op: Op, spare: usize, times: usize, written: usize) -> Script {
        let mut script = Script::new(op, spare, times, || io::ErrorKind::StorageFull.into());
        script.written = written;
        script
    }
}

impl Faults for Script {
    fn before(&self, op: Op, _file: &Path) -> Verdict {
        // `Append(0)` stands for appends of any length.
        let same = op == self.op || matches!((op, self.op), (Op::Append(_), Op::Append(0)));
        let less = |n: usize| n.checked_sub(1);
        let order = Ordering::Relaxed;
        if !same || self.spare.fetch_update(order, order, less).is_ok() {
            return Verdict::Proceed;
        }
        if self.times.fetch_update(order, order, less).is_err() {
            return Verdict::Proceed;
        }
        Verdict::FailAfter(self.written, (self.error)())
    }
}

fn place_with(script: Script) -> Place {
    let mut place = Place::new();
    place.disk = Disk::with_faults(Arc::new(script));
    place
}

#[tokio::test]
async fn a_full_disk_appends_nothing_says_so_and_the_next_append_goes_on() {
    // Torn at every place: in the header, in the payload, and not at all.
    for written in [0, 5, 16, 30] {
        let place = place_with(Script::no_space(Op::Append(0), 2, 1, written));
        let log = place.started("a", 0).await;
        append(&log, &[50]).await;
        assert_eq!(place.space.used_bytes(), log.log_bytes());
        let used = place.space.used_bytes();
        let mut writer = log.writer().unwrap();
        let error = writer.append(stream(50, 60)).await.unwrap_err();
        assert!(matches!(error, Error::NoSpace { .. }), "{error}");
        assert!(error.to_string().contains("00000.seg at byte 130"), "{error}");
        assert!(error.hint().is_some());
        assert_eq!(place.space.used_bytes(), used);
        assert_eq!(log.appended().get(), 50);
        writer.append(stream(50, 60)).await.unwrap();
        assert_eq!(read_all(&log, 0).await.unwrap(), stream(0, 110));
        drop((writer, log));
        let log = place.open("a").await;
        assert_eq!(read_all(&log, 0).await.unwrap(), stream(0, 110));
    }
}

#[tokio::test]
async fn a_segment_whose_header_found_no_space_leaves_nothing() {
    let place = place_with(Script::no_space(Op::Append(0), 0, 1, 10));
    let log = place.started("a", 0).await;
    let mut writer = log.writer().unwrap();
    let error = writer.append(stream(0, 60)).await.unwrap_err();
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    assert_eq!(place.files("a"), [""; 0]);
    assert_eq!(place.space.used_bytes(), 0);
    writer.append(stream(0, 60)).await.unwrap();
    assert_eq!(read_all(&log, 0).await.unwrap(), stream(0, 60));
}

#[tokio::test]
async fn a_segment_whose_first_block_found_no_space_is_counted_and_used() {
    let place = place_with(Script::no_space(Op::Append(0), 1, 1, 10));
    let log = place.started("a", 0).await;
    let mut writer = log.writer().unwrap();
    assert!(writer.append(stream(0, 60)).await.is_err());
    assert_eq!(place.space.used_bytes(), 80);
    assert_eq!(log.log_bytes(), 80);
    writer.append(stream(0, 60)).await.unwrap();
    assert_eq!(place.files("a").len(), 1);
    assert_eq!(log.log_bytes(), place.bytes_on_disk("a") + 16);
    assert_eq!(read_all(&log, 0).await.unwrap(), stream(0, 60));
}

#[tokio::test]
async fn a_failed_persist_breaks_the_log_until_it_is_opened_again() {
    let mut place = place_with(Script::new(Op::Persist, 0, 1, || io::Error::other("dying disk")));
    place.flush = FlushPolicy::EveryWrite;
    let log = place.started("a", 0).await;
    let mut writer = log.writer().unwrap();
    let error = soon(writer.append(stream(0, 60))).await.unwrap_err();
    assert!(error.to_string().contains("dying disk"), "{error}");
    let error = writer.append(stream(60, 60)).await.unwrap_err();
    assert!(matches!(error, Error::Broken(_)), "{error}");
    assert!(matches!(log.persist().await, Err(Error::Broken(_))));
    // What is there can still be read.
    assert_eq!(read_all(&log, 0).await.unwrap(), stream(0, 60));
    drop((writer, log));
    let log = place.open("a").await;
    append(&log, &[60]).await;
    assert_eq!(log.persisted(), Some(log.appended()));
}

#[tokio::test]
async fn a_seal_that_finds_no_space_is_made_up_for() {
    for reopen in [true, false] {
        let mut place = place_with(Script::no_space(Op::Append(16), 0, 1, 3));
        place.segment_bytes = 100;
        let log = place.started("a", 0).await;
        append(&log, &[50, 50]).await;
        let finished = log.inner.persisted_to(log.generation(), Offset::new(50));
        soon(finished).await.unwrap();
        let len = || std::fs::metadata(place.segment("a", 0)).unwrap().len();
        assert_eq!(len(), 64 + 16 + 50, "its bytes are durable, the seal is missing");
        let log = if reopen { place.open("a").await } else { log };
        log.persist().await.unwrap();
        assert_eq!(len(), 64 + 16 + 50 + 16);
        append(&log, &[50]).await;
        assert_eq!(read_all(&log, 0).await.unwrap(), stream(0, 150));
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_removed_is_still_counted_and_still_read() {
    let mut place = place_with(Script::new(Op::Remove, 0, 1, || {
        io::ErrorKind::PermissionDenied.into()
    }));
    place.segment_bytes = 500;
    place.space = Space::new(2000);
    let log = place.started("a", 0).await;
    append(&log, &[500; 3]).await;
    log.set_releasable(log.appended());
    let mut writer = log.writer().unwrap();
    let error = writer.append(stream(1500, 500)).await.unwrap_err();
    assert!(
        matches!(error, Error::Io { .. }) && error.hint().is_some(),
        "{error}"
    );
    assert_eq!(read_all(&log, 0).await.unwrap(), stream(0, 1500));
    assert_eq!(place.space.used_bytes(), log.log_bytes());
    writer.append(stream(1500, 500)).await.unwrap();
    assert_eq!(read_all(&log, 500).await.unwrap(), stream(500, 1500));
}

#[tokio::test]
async fn a_beginning_that_fails_leaves_an_empty_log() {
    let place = place_with(Script::new(Op::Create, 1, 1, || io::Error::other("no")));
    let log = place.started("a", 0).await;
    append(&log, &[50]).await;
    let failed = log.begin_snapshot(history(), Offset::new(9), None).await;
    assert!(failed.is_err());
    assert_eq!(log.history(), None);
    assert_eq!(place.space.used_bytes(), 0);
    assert_eq!(place.open("a").await.history(), None);
}

#[tokio::test]
async fn a_snapshot_that_finds_no_space_goes_on_when_there_is() {
    let place = place_with(Script::no_space(Op::Append(0), 1, 1, 700));
    let log = place.open("a").await;
    let mut writer = log.begin_snapshot(history(), Offset::new(9), None).await.unwrap();
    writer.append(stream(0, 1000)).await.unwrap();
    let error = writer.append(stream(1000, 1000)).await.unwrap_err();
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    assert_eq!(log.log_bytes(), 1000);
    writer.append(stream(1000, 1000)).await.unwrap();
    writer.finish().await.unwrap();
    let path = snapshot::paths(&place.folder("a"), Offset::new(9));
    assert_eq!(std::fs::read(&path[1]).unwrap(), stream(0, 2000));
}
