//! Readers beside a writer.

use super::*;

/// Lengths from 1 to 4000, the same for a seed.
fn lens(seed: u64, count: usize) -> Vec<usize> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count).map(|_| random.usize(1..4000)).collect()
}

/// Reads until `end`, checking each byte; returns how many chunks came from memory and from the disk.
async fn follow(mut reader: Reader, end: u64, drain: bool) -> (usize, usize) {
    let mut from_memory = 0;
    let mut from_disk = 0;
    let mut at = reader.position().get();
    while at < end {
        let next = if drain { reader.try_next().unwrap() } else { None };
        let chunk = match next {
            Some(chunk) => chunk,
            None => soon(reader.next()).await.unwrap(),
        };
        assert_eq!(chunk.start.get(), at);
        assert_eq!(chunk.bytes, stream(at, chunk.bytes.len()));
        at = chunk.end().get();
        assert_eq!(reader.position().get(), at);
        match chunk.received_at {
            Some(_) => from_memory += 1,
            None => from_disk += 1,
        }
    }
    (from_memory, from_disk)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn readers_behind_and_at_the_tail_see_the_same_bytes_while_more_is_appended() {
    for seed in 0..4 {
        let mut place = Place::new();
        place.segment_bytes = 64 << 10;
        place.tail_bytes = 16 << 10;
        place.flush = FlushPolicy::DirtyBytes(100_000);
        let log = place.started("a", 0).await;
        append(&log, &lens(seed + 100, 200)).await;
        let lens = lens(seed, 1500);
        let end = log.appended().get() + lens.iter().sum::<usize>() as u64;
        let behind = log.reader(Offset::ZERO).unwrap();
        let draining = log.reader(Offset::new(77_777)).unwrap();
        let at_the_tail = log.reader(log.appended()).unwrap();
        let tasks = [
            tokio::spawn(follow(behind, end, false)),
            tokio::spawn(follow(draining, end, true)),
            tokio::spawn(follow(at_the_tail, end, true)),
        ];
        let mut writer = log.writer().unwrap();
        for len in lens {
            let at = writer.position().get();
            writer.append(stream(at, len)).await.unwrap();
            tokio::task::yield_now().await;
        }
        for (n, task) in tasks.into_iter().enumerate() {
            let (_, from_disk) = task.await.unwrap();
            assert!(n == 2 || from_disk > 0, "reader {n} began behind the tail");
        }
    }
}

#[tokio::test]
async fn a_reader_that_keeps_up_gets_the_very_bytes_and_no_file_is_read() {
    let mut place = Place::new();
    place.disk = Disk::with_faults(Arc::new(super::faults::Script::failing(disk::Op::Read)));
    let log = place.started("a", 0).await;
    let mut reader = log.reader(Offset::ZERO).unwrap();
    let mut writer = log.writer().unwrap();
    for _ in 0..100 {
        let sent = stream(writer.position().get(), 999);
        writer.append(sent.clone()).await.unwrap();
        let chunk = soon(reader.next()).await.unwrap();
        assert_eq!(chunk.bytes.as_ptr(), sent.as_ptr());
        assert!(chunk.received_at.is_some());
    }
}

#[tokio::test]
async fn a_reader_behind_the_tail_changes_over_to_it() {
    let mut place = Place::new();
    place.tail_bytes = 10_000;
    let log = place.started("a", 0).await;
    append(&log, &[1000; 50]).await;
    let reader = log.reader(Offset::ZERO).unwrap();
    let (from_memory, from_disk) = follow(reader, 50_000, false).await;
    // One window holds it all, so the tail is reached only by who begins there.
    assert_eq!((from_memory, from_disk), (0, 1));
    let (from_memory, from_disk) = follow(log.reader(Offset::new(45_500)).unwrap(), 50_000, false).await;
    assert_eq!((from_memory, from_disk), (5, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_wake_up_is_lost() {
    let place = Place::new();
    let log = place.started("a", 0).await;
    let mut reader = log.reader(Offset::ZERO).unwrap();
    let (answers, mut answered) = tokio::sync::mpsc::channel::<u64>(1);
    let rounds = 20_000;
    let echo = tokio::spawn(async move {
        for _ in 0..rounds {
            let chunk = soon(reader.next()).await.unwrap();
            answers.send(chunk.end().get()).await.unwrap();
        }
    });
    let mut writer = log.writer().unwrap();
    for n in 0..rounds {
        writer.append(stream(n, 1)).await.unwrap();
        // Nothing else is sent before the answer: a lost wake-up would stop here.
        assert_eq!(soon(answered.recv()).await, Some(n + 1));
    }
    echo.await.unwrap();
}

#[tokio::test]
async fn cancelling_a_wait_or_a_read_loses_nothing() {
    let mut place = Place::new();
    place.tail_bytes = 0;
    // A read for every other append: not all of them can be done at the first poll.
    place.segment_bytes = 200;
    let log = place.started("a", 0).await;
    append(&log, &[100; 100]).await;
    let mut reader = log.reader(Offset::ZERO).unwrap();
    let mut at = 0;
    let mut cancelled = 0;
    while at < 10_000 {
        // Polled once and dropped where it is not done by then.
        tokio::select! {
            biased;
            chunk = reader.next() => {
                let chunk = chunk.unwrap();
                assert_eq!(chunk.bytes, stream(at, chunk.bytes.len()));
                at = chunk.end().get();
            }
            () = std::future::ready(()) => {
                cancelled += 1;
                tokio::task::yield_now().await;
            }
        }
    }
    assert!(cancelled > 0, "reads of a file do not end at the first poll");
}

#[tokio::test]
async fn a_reader_whose_bytes_were_released_is_told() {
    let mut place = Place::new();
    place.segment_bytes = 1000;
    place.space = Space::new(5000);
    let log = place.started("a", 0).await;
    let mut reader = log.reader(Offset::ZERO).unwrap();
    append(&log, &[400; 8]).await;
    log.set_releasable(log.appended());
    append(&log, &[400; 8]).await;
    let error = soon(reader.next()).await.unwrap_err();
    assert!(
        matches!(error, Error::Released { start, .. } if start == log.released()),
        "{error}"
    );
}
