//! Snapshots, from their first byte to their release.

use std::path::Path;

use super::super::disk::{Faults, Op, Verdict};
use super::*;

async fn begin(log: &Log, declared: Option<u64>) -> SnapshotWriter {
    log.begin_snapshot(history(), Offset::new(500), declared)
        .await
        .unwrap()
}

async fn read_snapshot(mut reader: SnapshotReader) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    while let Some(bytes) = soon(reader.next()).await? {
        assert!(bytes.len() <= 1 << 20);
        all.extend_from_slice(&bytes);
    }
    assert!(reader.next().await?.is_none(), "the end stays the end");
    Ok(all)
}

#[tokio::test]
async fn the_stream_goes_on_while_the_snapshot_is_made_durable() {
    let place = Place::new();
    let log = place.open("a").await;
    let mut writer = begin(&log, Some(1000)).await;
    writer.append(stream(0, 1000)).await.unwrap();
    append(&log, &[100]).await;
    drop(writer);
    assert!(
        matches!(log.writer(), Err(Error::SnapshotUnfinished)),
        "a stream after half a snapshot is of no use"
    );
}

#[tokio::test]
async fn a_snapshot_is_a_plain_file_that_appears_whole() {
    let place = Place::new();
    let log = place.open("a").await;
    let mut writer = begin(&log, Some(3000)).await;
    for at in [0, 1000, 2000] {
        assert_eq!(place.files("a"), ["00000000000000000500.rdb.part"]);
        writer.append(stream(at, 1000)).await.unwrap();
    }
    assert_eq!(writer.received_bytes(), 3000);
    writer.finish().await.unwrap();
    assert_eq!(place.files("a"), ["00000000000000000500.rdb"]);
    append(&log, &[100]).await;
    drop(log);

    let log = place.open("a").await;
    let info = log.snapshot().unwrap();
    assert_eq!((info.stage, info.received_bytes), (Stage::Whole, 3000));
    assert_eq!(info.position.offset.get(), 500);
    assert_eq!(info.position.id, id(b'a'));
    assert!(info.resumable && info.whole_ms.unwrap() >= info.begun_ms);
    for from in [0, 1, 2500, 3000] {
        let all = read_snapshot(log.snapshot_reader(from).unwrap()).await.unwrap();
        assert_eq!(all, stream(from, 3000 - from as usize));
    }
    assert!(matches!(
        log.snapshot_reader(3001),
        Err(Error::NoSnapshot { wanted: 3001 })
    ));
    assert_eq!(read_all(&log, 500).await.unwrap(), stream(500, 100));
    assert_eq!(place.space.used_bytes(), place.bytes_on_disk("a") + 16);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn readers_follow_a_snapshot_that_is_still_received() {
    let mut place = Place::new();
    place.tail_bytes = 100_000;
    let log = place.open("a").await;
    let mut writer = begin(&log, None).await;
    writer.append(stream(0, 300_000)).await.unwrap();
    let readers = [0, 299_999, 150_000].map(|from| {
        let reader = log.snapshot_reader(from).unwrap();
        tokio::spawn(async move { (from, read_snapshot(reader).await.unwrap()) })
    });
    for n in 0..300u64 {
        writer.append(stream(300_000 + n * 5000, 5000)).await.unwrap();
        tokio::task::yield_now().await;
    }
    writer.finish().await.unwrap();
    for task in readers {
        let (from, all) = task.await.unwrap();
        assert!(all == stream(from, 1_800_000 - from as usize));
    }
}

#[tokio::test]
async fn a_snapshot_reader_that_keeps_up_gets_the_very_bytes() {
    let mut place = Place::new();
    place.disk = Disk::with_faults(Arc::new(super::faults::Script::failing(disk::Op::Read)));
    let log = place.open("a").await;
    let mut writer = begin(&log, None).await;
    let mut reader = log.snapshot_reader(0).unwrap();
    for n in 0..50 {
        let sent = stream(n * 1000, 1000);
        writer.append(sent.clone()).await.unwrap();
        let got = soon(reader.next()).await.unwrap().unwrap();
        assert_eq!(got.as_ptr(), sent.as_ptr());
    }
    writer.finish().await.unwrap();
    assert_eq!(soon(reader.next()).await.unwrap(), None);
}

#[tokio::test]
async fn an_abandoned_snapshot_ends_its_readers_and_is_gone_after_reopening() {
    let place = Place::new();
    let log = place.open("a").await;
    let mut writer = begin(&log, None).await;
    let mut reader = log.snapshot_reader(0).unwrap();
    writer.append(stream(0, 1000)).await.unwrap();
    soon(reader.next()).await.unwrap();
    let waiting = tokio::spawn(async move { reader.next().await });
    tokio::task::yield_now().await;
    drop(writer);
    let error = soon(waiting).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Abandoned { received: 1000 }), "{error}");
    assert!(matches!(log.snapshot_reader(0), Err(Error::Abandoned { .. })));
    assert_eq!(log.snapshot().unwrap().stage, Stage::Abandoned);
    drop(log);

    let (log, recovery) = place.try_open("a").await.unwrap();
    assert_eq!(recovery.removed.len(), 1);
    assert_eq!(log.history(), None);
    assert!(log.snapshot().is_none());
    assert_eq!(place.files("a"), [""; 0]);
    begin(&log, None).await.finish().await.unwrap();
    assert_eq!(log.snapshot().unwrap().received_bytes, 0);
}

#[tokio::test]
async fn a_snapshot_of_another_length_than_declared_is_refused() {
    let place = Place::new();
    let log = place.open("a").await;
    let mut writer = begin(&log, Some(10)).await;
    writer.append(stream(0, 9)).await.unwrap();
    let error = writer.finish().await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::SnapshotLength {
                declared: 10,
                received: 9
            }
        ),
        "{error}"
    );
    assert_eq!(log.snapshot().unwrap().stage, Stage::Abandoned);
}

#[tokio::test]
async fn a_new_snapshot_drops_everything_before_it() {
    let place = Place::new();
    let log = place.started("a", 0).await;
    append(&log, &[1000]).await;
    let writer = begin(&log, None).await;
    let mut reader = log.snapshot_reader(0).unwrap();
    let mut second = begin(&log, None).await;
    assert!(matches!(soon(reader.next()).await, Err(Error::Superseded)));
    drop(writer);
    assert_eq!(
        log.snapshot().unwrap().stage,
        Stage::Receiving,
        "the old writer abandons nothing"
    );
    second.append(stream(0, 10)).await.unwrap();
    second.finish().await.unwrap();
    assert_eq!(place.files("a"), ["00000000000000000500.rdb"]);
    assert_eq!(place.space.used_bytes(), 10);
    log.start_at(history(), Offset::new(7)).await.unwrap();
    assert!(log.snapshot().is_none());
    assert_eq!(place.space.used_bytes(), 0);
}

#[tokio::test]
async fn a_crash_before_the_rename_leaves_a_whole_snapshot() {
    let place = Place::new();
    let log = place.open("a").await;
    let mut writer = begin(&log, None).await;
    writer.append(stream(0, 10)).await.unwrap();
    writer.finish().await.unwrap();
    drop(log);
    let [part, whole] = snapshot::paths(&place.folder("a"), Offset::new(500));
    std::fs::rename(&whole, &part).unwrap();
    let log = place.open("a").await;
    assert_eq!(log.snapshot().unwrap().stage, Stage::Whole);
    assert_eq!(place.files("a"), ["00000000000000000500.rdb"]);
    let reader = log.snapshot_reader(0).unwrap();
    assert_eq!(read_snapshot(reader).await.unwrap(), stream(0, 10));
}

#[tokio::test]
async fn a_file_with_the_name_of_a_snapshot_that_was_never_whole_is_not_it() {
    let place = Place::new();
    let log = place.open("a").await;
    let mut writer = begin(&log, None).await;
    writer.append(stream(0, 10)).await.unwrap();
    let [_, whole] = snapshot::paths(&place.folder("a"), Offset::new(500));
    std::fs::write(&whole, b"of another history").unwrap();
    drop((writer, log));
    let (log, _) = place.try_open("a").await.unwrap();
    assert!(log.look().is_none());
    assert!(place.files("a").is_empty());
}

#[tokio::test]
async fn a_snapshot_that_vanished_or_changed_is_not_used_and_reported() {
    for vanished in [true, false] {
        let place = Place::new();
        let log = place.open("a").await;
        let mut writer = begin(&log, None).await;
        writer.append(stream(0, 10)).await.unwrap();
        writer.finish().await.unwrap();
        append(&log, &[20]).await;
        drop(log);
        let [_, whole] = snapshot::paths(&place.folder("a"), Offset::new(500));
        match vanished {
            true => std::fs::remove_file(&whole).unwrap(),
            false => std::fs::write(&whole, b"short").unwrap(),
        }
        let (log, recovery) = place.try_open("a").await.unwrap();
        assert_eq!(recovery.removed.len(), 1);
        assert!(log.snapshot().is_none());
        assert_eq!(read_all(&log, 500).await.unwrap(), stream(500, 20));
        drop(log);
        place.open("a").await;
    }
}

#[tokio::test]
async fn the_snapshot_goes_before_the_stream_that_follows_it() {
    let mut place = Place::new();
    place.segment_bytes = 500;
    place.space = Space::new(4000);
    let log = place.open("a").await;
    let mut writer = begin(&log, None).await;
    writer.append(stream(0, 1500)).await.unwrap();
    writer.finish().await.unwrap();
    append(&log, &[500; 3]).await;
    let mut reader = log.snapshot_reader(0).unwrap();
    let mut writer = log.writer().unwrap();
    log.set_releasable(Offset::new(499));
    assert!(matches!(
        writer.append(stream(2000, 900)).await,
        Err(Error::Full { .. })
    ));
    log.set_releasable(Offset::new(2000));
    writer.append(stream(2000, 900)).await.unwrap();
    assert!(log.snapshot().is_none());
    assert_eq!(log.released().get(), 500, "the stream is still there");
    assert!(matches!(soon(reader.next()).await, Err(Error::NoSnapshot { .. })));
    drop((writer, log));
    let log = place.open("a").await;
    assert_eq!(read_all(&log, 500).await.unwrap(), stream(500, 2400));
}

#[tokio::test]
async fn a_snapshot_larger_than_the_room_is_refused_not_squeezed_in() {
    let mut place = Place::new();
    place.space = Space::new(1000);
    let log = place.open("a").await;
    let mut writer = begin(&log, None).await;
    writer.append(stream(0, 900)).await.unwrap();
    let error = writer.append(stream(900, 200)).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Full {
                needed: 200,
                used: 900,
                max: 1000
            }
        ),
        "{error}"
    );
    assert_eq!(place.bytes_on_disk("a"), 900);
}

#[tokio::test]
async fn an_abandoned_snapshot_makes_room_for_others() {
    let mut place = Place::new();
    place.space = Space::new(2000);
    let log = place.open("a").await;
    let other = place.started("b", 0).await;
    let mut writer = begin(&log, None).await;
    writer.append(stream(0, 1500)).await.unwrap();
    let space = place.space.clone();
    let waiting = tokio::spawn(async move { space.wait_for_room(1000).await });
    tokio::task::yield_now().await;
    drop(writer);
    soon(waiting).await.unwrap().unwrap();
    append(&other, &[1000]).await;
    assert_eq!(place.files("a"), [""; 0]);
}

#[tokio::test]
async fn in_memory_the_writer_waits_for_the_reader_and_what_is_read_is_gone() {
    let mut place = Place::new();
    place.in_memory = true;
    place.tail_bytes = 10_000;
    let log = place.open("a").await;
    let mut writer = begin(&log, None).await;
    let mut reader = log.snapshot_reader(0).unwrap();
    writer.append(stream(0, 6000)).await.unwrap();
    let blocked = tokio::time::timeout(Duration::ZERO, writer.append(stream(6000, 6000))).await;
    assert!(blocked.is_err(), "the queue is full");
    assert_eq!(soon(reader.next()).await.unwrap().unwrap(), stream(0, 6000));
    writer.append(stream(6000, 6000)).await.unwrap();
    let sending = tokio::spawn(async move {
        for n in 2..50 {
            writer.append(stream(n * 6000, 6000)).await.unwrap();
        }
        writer.finish().await.unwrap();
    });
    let rest = read_snapshot(reader).await.unwrap();
    assert!(rest == stream(6000, 49 * 6000));
    sending.await.unwrap();
    let info = log.snapshot().unwrap();
    assert_eq!((info.stage, info.resumable), (Stage::Whole, false));
    let mut again = log.snapshot_reader(0).unwrap();
    assert!(matches!(again.next().await, Err(Error::NoSnapshot { wanted: 0 })));
    append(&log, &[100]).await;
    assert_eq!(read_all(&log, 500).await.unwrap(), stream(500, 100));
}

#[tokio::test]
async fn in_memory_a_waiting_writer_learns_that_the_log_begins_anew() {
    let mut place = Place::new();
    place.in_memory = true;
    place.tail_bytes = 100;
    let log = place.open("a").await;
    let mut writer = begin(&log, None).await;
    writer.append(stream(0, 100)).await.unwrap();
    let waiting = tokio::spawn(async move { writer.append(stream(100, 100)).await });
    tokio::task::yield_now().await;
    log.start_at(history(), Offset::ZERO).await.unwrap();
    assert!(matches!(soon(waiting).await.unwrap(), Err(Error::Superseded)));
}

/// A disk that makes nothing durable before it is told to.
#[derive(Debug, Default)]
struct Slow {
    is_free: std::sync::Mutex<bool>,
    freed: std::sync::Condvar,
}

impl Slow {
    fn free(&self) {
        *self.is_free.lock().unwrap() = true;
        self.freed.notify_all();
    }
}

impl Faults for Slow {
    fn before(&self, op: Op, file: &Path) -> Verdict {
        if op == Op::Persist && file.extension().is_some_and(|suffix| suffix == "part") {
            let is_free = self.is_free.lock().unwrap();
            drop(self.freed.wait_while(is_free, |is_free| !*is_free).unwrap());
        }
        Verdict::Proceed
    }
}

#[tokio::test]
async fn a_slow_disk_keeps_neither_the_reader_from_the_end_nor_the_stream_from_going_on() {
    let (mut place, slow) = (Place::new(), Arc::new(Slow::default()));
    place.disk = Disk::with_faults(Arc::clone(&slow) as _);
    let log = place.open("a").await;
    let mut writer = begin(&log, Some(10)).await;
    let mut reader = log.snapshot_reader(0).unwrap();
    writer.append(stream(0, 10)).await.unwrap();
    let finishing = tokio::spawn(writer.finish());
    assert_eq!(soon(reader.next()).await.unwrap(), Some(stream(0, 10)));
    assert_eq!(soon(reader.next()).await.unwrap(), None);
    assert_eq!(log.snapshot().unwrap().stage, Stage::Received);
    append(&log, &[100]).await;
    assert_eq!(log.snapshot().unwrap().stage, Stage::Received);
    slow.free();
    soon(finishing).await.unwrap().unwrap();
    assert_eq!(log.snapshot().unwrap().stage, Stage::Whole);
    assert!(place.files("a").contains(&"00000000000000000500.rdb".to_owned()));
}

/// A disk that makes no snapshot durable.
#[derive(Debug)]
struct Forgetful;

impl Faults for Forgetful {
    fn before(&self, op: Op, file: &Path) -> Verdict {
        match op == Op::Persist && file.extension().is_some_and(|suffix| suffix == "part") {
            true => Verdict::Fail(std::io::Error::other("refused")),
            false => Verdict::Proceed,
        }
    }
}

#[tokio::test]
async fn a_snapshot_that_the_disk_does_not_keep_is_good_for_now_and_the_stream_after_it_for_good() {
    let mut place = Place::new();
    place.disk = Disk::with_faults(Arc::new(Forgetful));
    let log = place.open("a").await;
    let mut writer = begin(&log, Some(10)).await;
    writer.append(stream(0, 10)).await.unwrap();
    assert!(matches!(writer.finish().await, Err(Error::Io { .. })));
    assert_eq!(log.snapshot().unwrap().stage, Stage::Unkept);
    let read = read_snapshot(log.snapshot_reader(0).unwrap()).await;
    assert_eq!(read.unwrap(), stream(0, 10));
    append(&log, &[100]).await;
    drop(log);
    let (log, _) = place.try_open("a").await.unwrap();
    assert!(log.snapshot().is_none());
    let extent = log.extent().unwrap();
    assert_eq!((extent.start.get(), extent.end.get()), (500, 600));
    assert_eq!(place.files("a"), ["00000000000000000500.seg"]);
}
