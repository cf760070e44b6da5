//! The cap on the size.

use proptest::prelude::*;

use super::*;

#[tokio::test]
async fn nothing_is_released_before_its_room_is_needed() {
    let mut place = Place::new();
    place.segment_bytes = 200;
    place.space = Space::new(10_000);
    let log = place.started("a", 0).await;
    append(&log, &[200; 20]).await;
    log.set_releasable(log.appended());
    assert_eq!(log.released(), Offset::ZERO);
    assert_eq!(read_all(&log, 0).await.unwrap(), stream(0, 4000));
    append(&log, &[200; 20]).await;
    assert!(log.released() > Offset::ZERO, "now it was");
    assert!(place.space.used_bytes() > 9000, "and no more than needed");
}

#[tokio::test]
async fn a_full_log_appends_nothing_and_goes_on_when_there_is_room() {
    for in_memory in [false, true] {
        let mut place = Place::new();
        place.in_memory = in_memory;
        place.segment_bytes = 200;
        place.space = Space::new(2000);
        let log = place.started("a", 0).await;
        let mut writer = log.writer().unwrap();
        let error = loop {
            let at = writer.position().get();
            match writer.append(stream(at, 100)).await {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::Full { max: 2000, .. }), "{error}");
        let end = log.appended();
        assert_eq!(read_all(&log, 0).await.unwrap(), stream(0, end.get() as usize));
        let space = place.space.clone();
        let waiting = tokio::spawn(async move { space.wait_for_room(500).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        log.set_releasable(Offset::new(end.get() / 2));
        soon(waiting).await.unwrap().unwrap();
        writer.append(stream(end.get(), 100)).await.unwrap();
        assert!(log.released() <= Offset::new(end.get() / 2));
    }
}

#[tokio::test]
async fn more_than_the_cap_never_fits() {
    let place = Space::new(100);
    assert!(matches!(place.wait_for_room(101).await, Err(Error::Full { .. })));
}

#[tokio::test]
async fn the_open_segment_goes_when_the_whole_of_it_may() {
    let mut place = Place::new();
    place.space = Space::new(1000);
    let log = place.started("a", 0).await;
    append(&log, &[700]).await;
    log.set_releasable(Offset::new(699));
    let mut writer = log.writer().unwrap();
    assert!(matches!(
        writer.append(stream(700, 700)).await,
        Err(Error::Full { .. })
    ));
    log.set_releasable(Offset::new(700));
    writer.append(stream(700, 700)).await.unwrap();
    assert_eq!(log.released().get(), 700);
    assert_eq!(read_all(&log, 700).await.unwrap(), stream(700, 700));
    soon(log.persist()).await.unwrap();
    drop((writer, log));
    let log = place.open("a").await;
    assert_eq!(log.released().get(), 700);
    assert_eq!(read_all(&log, 700).await.unwrap(), stream(700, 700));
}

#[tokio::test]
async fn an_idle_log_gives_way_to_another_and_keeps_its_place() {
    let mut place = Place::new();
    place.space = Space::new(1000);
    let idle = place.started("idle", 0).await;
    append(&idle, &[700]).await;
    idle.set_releasable(Offset::new(700));
    let busy = place.started("busy", 0).await;
    append(&busy, &[700]).await;
    assert_eq!(place.files("idle"), [""; 0]);
    assert_eq!(idle.log_bytes(), 0);
    let empty = Extent {
        start: Offset::new(700),
        end: Offset::new(700),
    };
    assert_eq!(idle.extent(), Some(empty));
    soon(idle.persist()).await.unwrap();
    drop(idle);
    let idle = place.open("idle").await;
    assert_eq!(idle.extent(), Some(empty), "also after reopening");
}

#[tokio::test]
async fn the_oldest_goes_first_whichever_log_it_is_in() {
    let mut place = Place::new();
    place.segment_bytes = 500;
    place.space = Space::new(2500);
    let (a, b) = (place.started("a", 0).await, place.started("b", 0).await);
    for log in [&a, &b, &a, &b] {
        append(log, &[500]).await;
        // Two segments get the same age if the clock is coarse.
        let begun = std::time::SystemTime::now();
        while std::time::SystemTime::now() == begun {}
    }
    for log in [&a, &b] {
        log.set_releasable(log.appended());
    }
    append(&b, &[500]).await;
    assert_eq!((a.released().get(), b.released().get()), (500, 0));
    append(&b, &[500]).await;
    assert_eq!((a.released().get(), b.released().get()), (500, 500));
}

#[tokio::test]
async fn a_mark_that_goes_back_protects_what_is_left() {
    let mut place = Place::new();
    place.segment_bytes = 200;
    place.space = Space::new(2000);
    let log = place.started("a", 0).await;
    append(&log, &[200; 5]).await;
    log.set_releasable(Offset::new(1000));
    log.set_releasable(Offset::new(100));
    let mut writer = log.writer().unwrap();
    while writer.append(stream(writer.position().get(), 200)).await.is_ok() {}
    assert_eq!(log.released(), Offset::ZERO);
}

#[tokio::test]
async fn a_dropped_log_gives_its_room_back_and_takes_it_at_opening() {
    let place = Place::new();
    let log = place.started("a", 0).await;
    append(&log, &[1000]).await;
    let used = place.space.used_bytes();
    drop(log);
    assert_eq!(place.space.used_bytes(), 0);
    place.open("a").await;
    assert_eq!(place.space.used_bytes(), 0);
    let log = place.open("a").await;
    assert_eq!(place.space.used_bytes(), used);
    drop(log);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_cap_holds_while_many_logs_append_release_and_begin_anew_at_once() {
    let mut place = Place::new();
    place.segment_bytes = 2000;
    place.tail_bytes = 3000;
    place.flush = FlushPolicy::DirtyBytes(5000);
    place.space = Space::new(30_000);
    let mut logs = Vec::new();
    for name in ["x", "y", "z"] {
        logs.push(place.started(name, 0).await);
    }
    let tasks: Vec<_> = (0..3u64)
        .map(|n| tokio::spawn(push_through(logs[n as usize].clone(), n)))
        .collect();
    for task in tasks {
        soon(task).await.unwrap();
    }
    for log in &logs {
        log.persist().await.unwrap();
    }
    assert_eq!(
        place.space.used_bytes(),
        logs.iter().map(Log::log_bytes).sum::<u64>()
    );
    for (name, log) in ["x", "y", "z"].iter().zip(&logs) {
        let segments = place.files(name).len() as u64;
        assert!(place.bytes_on_disk(name) <= log.log_bytes());
        assert!(log.log_bytes() <= place.bytes_on_disk(name) + 16 * segments);
    }
}

/// Appends and reads back, with the checkpoint a little behind, and begins anew now and then.
async fn push_through(log: Log, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..20 {
        log.start_at(history(), Offset::ZERO).await.unwrap();
        let mut writer = log.writer().unwrap();
        let mut reader = log.reader(Offset::ZERO).unwrap();
        for _ in 0..80 {
            let sent = stream(writer.position().get(), random.usize(1..1500));
            while let Err(error) = writer.append(sent.clone()).await {
                assert!(matches!(error, Error::Full { .. }), "round {round}: {error}");
                log.space().wait_for_room(2000).await.unwrap();
            }
            while reader.position() < log.appended() {
                let chunk = reader.next().await.unwrap();
                assert_eq!(chunk.bytes, stream(chunk.start.get(), chunk.bytes.len()));
            }
            log.set_releasable(Offset::new(reader.position().get().saturating_sub(500)));
            assert!(log.space().used_bytes() <= log.space().max_bytes());
        }
        log.set_releasable(reader.position());
    }
}

#[derive(Debug, Clone)]
enum Step {
    Append { log: usize, len: usize },
    Releasable { log: usize, percent: u64 },
    Snapshot { log: usize, len: usize },
    Abandon { log: usize, len: usize },
    StartAt { log: usize },
    Persist { log: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let log = 0..3usize;
    prop_oneof![
        12 => (log.clone(), 1..900usize).prop_map(|(log, len)| Step::Append { log, len }),
        4 => (log.clone(), 0..=100u64).prop_map(|(log, percent)| Step::Releasable { log, percent }),
        1 => (log.clone(), 1..3000usize).prop_map(|(log, len)| Step::Snapshot { log, len }),
        1 => (log.clone(), 1..3000usize).prop_map(|(log, len)| Step::Abandon { log, len }),
        1 => log.clone().prop_map(|log| Step::StartAt { log }),
        1 => log.prop_map(|log| Step::Persist { log }),
    ]
}

async fn take(place: &Place, logs: &[Log], step: Step) {
    match step {
        Step::Append { log, len } => {
            let at = logs[log].appended().get();
            let Ok(mut writer) = logs[log].writer() else {
                return;
            };
            match writer.append(stream(at, len)).await {
                Ok(end) => assert_eq!(end.get(), at + len as u64),
                Err(Error::Full { .. }) => assert_eq!(logs[log].appended().get(), at),
                Err(other) => panic!("{other}"),
            }
        }
        Step::Releasable { log, percent } => {
            let Some(extent) = logs[log].extent() else {
                return;
            };
            let mark = extent.start.get() + extent.len_bytes() * percent / 100;
            logs[log].set_releasable(Offset::new(mark));
        }
        Step::Snapshot { log, len } | Step::Abandon { log, len } => {
            let offset = Offset::new(10);
            let mut writer = logs[log].begin_snapshot(history(), offset, None).await.unwrap();
            let fits = writer.append(stream(0, len)).await.is_ok();
            if fits && matches!(step, Step::Snapshot { .. }) {
                writer.finish().await.unwrap();
            }
        }
        Step::StartAt { log } => logs[log].start_at(history(), Offset::new(5)).await.unwrap(),
        Step::Persist { log } => logs[log].persist().await.unwrap(),
    }
    let used = place.space.used_bytes();
    assert!(used <= place.space.max_bytes());
    assert_eq!(used, logs.iter().map(Log::log_bytes).sum::<u64>());
    if !place.in_memory {
        let on_disk: u64 = ["x", "y", "z"].iter().map(|name| place.bytes_on_disk(name)).sum();
        assert!(on_disk <= used, "{on_disk} bytes in files, {used} counted");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_cap_holds_at_every_moment(
        steps in prop::collection::vec(step(), 1..60),
        in_memory in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut place = Place::new();
            place.in_memory = in_memory;
            place.segment_bytes = 600;
            place.space = Space::new(6000);
            let mut logs = Vec::new();
            for name in ["x", "y", "z"] {
                logs.push(place.started(name, 5).await);
            }
            for step in steps {
                take(&place, &logs, step).await;
            }
            for log in &logs {
                let Some(extent) = log.extent() else { continue };
                let all = read_all(log, extent.start.get()).await.unwrap();
                assert_eq!(all, stream(extent.start.get(), all.len()));
            }
        });
    }
}

#[tokio::test]
async fn all_logs_together_keep_no_more_in_memory_than_a_few_would() {
    const MIB: usize = 1 << 20;
    let mut place = Place::new();
    place.tail_bytes = 16 << 20;
    let mut logs = Vec::new();
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        logs.push(place.started(name, 0).await);
    }
    for log in &logs {
        append(log, &[MIB; 6]).await;
    }
    let kept = |log: &Log| log.inner.state().tail.cost();
    let all: u64 = logs.iter().map(kept).sum();
    assert!(all <= 33 << 20, "{all}");
    // One that is alone has its whole share again.
    logs.truncate(1);
    append(&logs[0], &[MIB; 12]).await;
    assert!(kept(&logs[0]) > 12 << 20, "{}", kept(&logs[0]));
}
