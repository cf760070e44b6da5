//! Which part of the log a follower gets, and what it hears, on real logs.

use std::pin::Pin;

use futures_util::StreamExt;
use tokio::time::timeout;

use super::super::wire::Decoder;
use super::*;
use crate::core::catalog::Catalog;
use crate::core::log::{Disk, FlushPolicy, OnDisk, Recovery, SnapshotWriter, Space, Storage};
use crate::core::position::ReplId;

const SOON: Duration = Duration::from_secs(10);

fn id(digit: u8) -> ReplId {
    ReplId::parse(&[digit; 40]).unwrap()
}

fn history() -> History {
    History::new(id(b'a'))
}

const fn at(offset: u64) -> Offset {
    Offset::new(offset)
}

fn position(digit: u8, offset: u64) -> Option<Position> {
    Some(Position {
        id: id(digit),
        offset: at(offset),
    })
}

/// The stream's bytes from `from` on: each tells where it stands.
fn stream(from: u64, len: usize) -> Bytes {
    (from..from + len as u64).map(|n| (n % 251) as u8).collect()
}

/// A leader with a log that is real.
struct Leader {
    log: Log,
    progress: Arc<Progress>,
    board: Board,
    stop: watch::Sender<bool>,
    space: Arc<Space>,
    _root: tempfile::TempDir,
}

impl Leader {
    async fn new(in_memory: bool, space_bytes: u64) -> Leader {
        let root = tempfile::tempdir().unwrap();
        let storage = match in_memory {
            true => Storage::Memory,
            false => Storage::Disk(OnDisk {
                root: root.path().to_path_buf(),
                disk: Disk::new(),
                catalog: Catalog::open(root.path()).unwrap(),
                segment_bytes: 4 << 10,
                flush: FlushPolicy::Os,
            }),
        };
        let settings = log::Settings {
            name: "a".to_owned(),
            storage,
            tail_bytes: 1 << 20,
        };
        let space = Space::new(space_bytes);
        let (log, recovery) = Log::open(settings, &space).await.unwrap();
        assert_eq!(recovery, Recovery::default());
        Leader {
            log,
            progress: Progress::new(),
            board: Board::default(),
            stop: watch::Sender::new(false),
            space,
            _root: root,
        }
    }

    /// One that is live: its log holds 1,000 to 2,000, and 1,500 is checkpointed.
    async fn live(in_memory: bool) -> Leader {
        let leader = Leader::new(in_memory, u64::MAX).await;
        leader.log.start_at(history(), at(1_000)).await.unwrap();
        leader.append(stream(1_000, 1_000)).await;
        leader.checkpointed(2_000, 1_500);
        leader
    }

    async fn append(&self, bytes: Bytes) {
        self.log.writer().unwrap().append(bytes).await.unwrap();
    }

    fn checkpointed(&self, held: u64, checkpointed: u64) {
        drop(self.progress.begin_history(at(held)));
        let generation = self.progress.generation();
        self.progress
            .begin_applying(generation, at(checkpointed))
            .unwrap();
        self.progress.set_phase(Phase::Incremental);
    }

    /// One in a full sync: a snapshot for 1,000, of which `bytes` are here.
    async fn in_full_sync(bytes: usize) -> (Leader, SnapshotWriter) {
        let leader = Leader::new(false, u64::MAX).await;
        let mut writer = leader
            .log
            .begin_snapshot(history(), at(1_000), None)
            .await
            .unwrap();
        if bytes > 0 {
            writer.append(stream(0, bytes)).await.unwrap();
        }
        drop(leader.progress.begin_history(at(1_000)));
        leader.progress.set_phase(Phase::FullSync);
        (leader, writer)
    }

    fn ask(&self, ask: &Ask) -> Result<Served, Refused> {
        let body = serve(&self.log, &self.progress, &self.board, ask, self.stop.subscribe())?;
        Ok(Served {
            body: Box::pin(body),
            decoder: Decoder::new(),
        })
    }

    fn ask_from(&self, end: Option<Position>) -> Result<Served, Refused> {
        self.ask(&Ask {
            end,
            ..Ask::default()
        })
    }
}

struct Served {
    body: Pin<Box<dyn Stream<Item = Result<Bytes, log::Error>> + Send>>,
    decoder: Decoder,
}

impl Served {
    /// The next frame; nothing at the end of the body, which is not in the middle of one.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Some(frame);
            }
            match timeout(SOON, self.body.next()).await.unwrap() {
                Some(piece) => self.decoder.push(&piece.unwrap()),
                None => {
                    assert_eq!(self.decoder.held_bytes(), 0);
                    return None;
                }
            }
        }
    }

    /// The next frame that is no standing.
    async fn next_but_standings(&mut self) -> Option<Frame> {
        loop {
            match self.next().await {
                Some(Frame::Standing(_)) => {}
                other => return other,
            }
        }
    }

    /// The next standing that is as wanted.
    async fn standing(&mut self, wanted: impl Fn(&Standing) -> bool) -> Standing {
        loop {
            match self.next().await {
                Some(Frame::Standing(standing)) if wanted(&standing) => return standing,
                Some(_) => {}
                None => panic!("the body has ended"),
            }
        }
    }

    /// The history, and how it begins; the standing that comes third.
    async fn beginning(&mut self) -> (History, Frame) {
        let Some(Frame::History(history)) = self.next().await else {
            panic!("the history comes first");
        };
        let begins = self.next().await.unwrap();
        assert!(matches!(self.next().await, Some(Frame::Standing(_))));
        (history, begins)
    }

    async fn stream(&mut self, from: u64, len: usize) {
        let mut end = at(from);
        while end < at(from + len as u64) {
            match self.next_but_standings().await {
                Some(Frame::Stream { start, bytes }) => {
                    assert_eq!(start, end);
                    assert_eq!(bytes, stream(start.get(), bytes.len()));
                    end = start.after(bytes.len());
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(end, at(from + len as u64));
    }

    async fn snapshot(&mut self, from: usize, len: usize) {
        let mut here = Vec::new();
        while here.len() < len {
            match self.next_but_standings().await {
                Some(Frame::Snapshot(bytes)) => here.extend_from_slice(&bytes),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(here, stream(from as u64, len));
    }
}

#[test]
fn what_a_follower_gets_is_as_the_table_has_it() {
    use Phase::{Connecting, Following, FullSync, Incremental};
    let snapshot = |stage, resumable| SnapshotInfo {
        position: position(b'a', 100).unwrap(),
        received_bytes: 7,
        declared_bytes: None,
        stage,
        resumable,
        begun_ms: 0,
        whole_ms: None,
    };
    let (receiving, abandoned, queue) = (
        Some(snapshot(Stage::Receiving, true)),
        Some(snapshot(Stage::Abandoned, true)),
        Some(snapshot(Stage::Receiving, false)),
    );
    let ask = |end| Ask {
        end,
        ..Ask::default()
    };
    let (none, within, end) = (ask(None), ask(position(b'a', 150)), ask(position(b'a', 200)));
    let (ahead, before, elsewhere) = (
        ask(position(b'a', 201)),
        ask(position(b'a', 99)),
        ask(position(b'c', 150)),
    );
    let (of_old_id, beyond_old_id) = (ask(position(b'b', 120)), ask(position(b'b', 121)));
    let with_it = Ask {
        snapshot: Some(at(100)),
        ..within
    };
    let without = Ask {
        is_without_snapshots: true,
        ..none
    };
    // A log from 100 to 200, which was of `b` up to 120.
    let rows = [
        (within, Incremental, 180, None, "from 150"),
        (end, Incremental, 180, None, "from 200"),
        (within, Incremental, 0, receiving, "from 150"),
        (of_old_id, Incremental, 180, None, "from 120"),
        (beyond_old_id, Incremental, 180, None, "from 180"),
        (ahead, Incremental, 180, None, "409"),
        (ahead, FullSync, 0, receiving, "409"),
        (before, Incremental, 180, None, "from 180"),
        (elsewhere, Incremental, 180, None, "from 180"),
        (none, Incremental, 180, None, "from 180"),
        (none, Incremental, 180, receiving, "from 180"),
        (none, Incremental, 90, receiving, "503"),
        (none, FullSync, 0, receiving, "snapshot"),
        (none, FullSync, 180, receiving, "snapshot"),
        (none, FullSync, 0, abandoned, "503"),
        (none, FullSync, 0, queue, "from 100"),
        (elsewhere, FullSync, 0, queue, "from 100"),
        (none, FullSync, 180, None, "503"),
        (without, FullSync, 0, receiving, "503"),
        (within, FullSync, 0, receiving, "snapshot"),
        (with_it, FullSync, 0, receiving, "from 150"),
        (within, FullSync, 0, queue, "from 150"),
        (before, FullSync, 0, receiving, "snapshot"),
        (none, Connecting, 0, receiving, "snapshot"),
        (none, Connecting, 180, None, "from 180"),
        (none, Connecting, 0, None, "503"),
        (within, Connecting, 0, None, "from 150"),
        (none, Following, 180, None, "503"),
        (within, Following, 180, None, "503"),
    ];
    for (row, (ask, phase, checkpointed, snapshot, expected)) in rows.into_iter().enumerate() {
        let extent = Extent {
            start: at(100),
            end: at(200),
        };
        let history = History {
            id: id(b'a'),
            previous: Some((id(b'b'), at(120))),
        };
        let leader = Leader {
            phase,
            checkpointed: at(checkpointed),
            log: Some((history, extent, snapshot)),
        };
        assert_eq!(told(&plan(&ask, &leader)), expected, "row {row}");
        let empty = Leader { log: None, ..leader };
        assert_eq!(told(&plan(&ask, &empty)), "503", "row {row}, with an empty log");
    }

    use super::Leader;
    fn told(plan: &Result<Plan, Refused>) -> String {
        match plan {
            Ok(Plan::StreamFrom(offset)) => format!("from {offset}"),
            Ok(Plan::Snapshot) => "snapshot".into(),
            Err(Refused::Ahead { .. }) => "409".into(),
            Err(Refused::NotYet { .. }) => "503".into(),
        }
    }
}

#[tokio::test]
async fn a_follower_gets_the_stream_from_its_end_on_and_what_is_appended_later() {
    for in_memory in [false, true] {
        let leader = Leader::live(in_memory).await;
        let mut served = leader.ask_from(position(b'a', 1_200)).unwrap();
        let begins = Frame::Begins(at(1_200));
        assert_eq!(served.beginning().await, (history(), begins));
        served.stream(1_200, 800).await;
        for n in 0..5 {
            leader.append(stream(2_000 + n * 10, 10)).await;
            served.stream(2_000 + n * 10, 10).await;
        }
        leader.append(stream(2_050, 3 << 20)).await;
        served.stream(2_050, 3 << 20).await;
    }
}

#[tokio::test]
async fn a_follower_with_nothing_gets_a_live_leaders_stream_from_its_checkpoint_on() {
    for in_memory in [false, true] {
        let leader = Leader::live(in_memory).await;
        for end in [None, position(b'c', 1_200), position(b'a', 999)] {
            let mut served = leader.ask_from(end).unwrap();
            assert_eq!(served.beginning().await.1, Frame::Begins(at(1_500)));
            served.stream(1_500, 500).await;
        }
    }
}

#[tokio::test]
async fn a_leader_with_nothing_and_a_follower_that_is_ahead_are_refused() {
    for in_memory in [false, true] {
        let empty = Leader::new(in_memory, u64::MAX).await;
        let refused = empty.ask_from(position(b'a', 1)).err().unwrap();
        assert!(matches!(refused, Refused::NotYet { .. }), "{refused}");
        let leader = Leader::live(in_memory).await;
        let refused = leader.ask_from(position(b'a', 2_001)).err().unwrap();
        let expected = Refused::Ahead {
            end: at(2_001),
            leader: at(2_000),
        };
        assert_eq!(refused, expected);
    }
}

#[tokio::test]
async fn a_snapshot_is_sent_while_it_is_received_and_the_stream_after_it() {
    let (leader, mut writer) = Leader::in_full_sync(100_000).await;
    let mut served = leader.ask_from(None).unwrap();
    let begins = Frame::SnapshotBegins {
        offset: at(1_000),
        declared: None,
    };
    assert_eq!(served.beginning().await.1, begins);
    served.snapshot(0, 100_000).await;
    writer.append(stream(100_000, 5_000)).await.unwrap();
    served.snapshot(100_000, 5_000).await;
    leader.append(stream(1_000, 300)).await;
    writer.finish().await.unwrap();
    assert_eq!(served.next_but_standings().await, Some(Frame::SnapshotEnds));
    served.stream(1_000, 300).await;
    // Whole by now: its length is known. Who has it goes on with the stream.
    let begins = Frame::SnapshotBegins {
        offset: at(1_000),
        declared: Some(105_000),
    };
    let mut other = leader.ask_from(position(b'a', 1_100)).unwrap();
    assert_eq!(other.beginning().await.1, begins);
    let ask = Ask {
        end: position(b'a', 1_100),
        snapshot: Some(at(1_000)),
        ..Ask::default()
    };
    let mut third = leader.ask(&ask).unwrap();
    assert_eq!(third.beginning().await.1, Frame::Begins(at(1_100)));
}

#[tokio::test]
async fn a_snapshot_that_breaks_off_at_the_leader_ends_the_body() {
    let (leader, writer) = Leader::in_full_sync(1_000).await;
    let mut served = leader.ask_from(None).unwrap();
    served.beginning().await;
    served.snapshot(0, 1_000).await;
    drop(writer);
    assert_eq!(served.next_but_standings().await, None);
}

#[tokio::test]
async fn the_snapshot_of_a_log_in_memory_is_left_to_the_leader_who_tells_for_what_it_waits() {
    let leader = Leader::new(true, u64::MAX).await;
    let mut writer = leader
        .log
        .begin_snapshot(history(), at(1_000), None)
        .await
        .unwrap();
    writer.append(stream(0, 100)).await.unwrap();
    leader.progress.set_phase(Phase::FullSync);
    let mut served = leader.ask_from(None).unwrap();
    assert_eq!(served.beginning().await.1, Frame::Begins(at(1_000)));
    leader.board.set_waits_for(Some("another"));
    let standing = served.standing(|one| one.waits_for.is_some()).await;
    assert!(standing.is_copying && !standing.is_exact, "{standing:?}");
    let mut own = leader.log.snapshot_reader(0).unwrap();
    assert_eq!(own.next().await.unwrap().unwrap(), stream(0, 100));
}

#[tokio::test]
async fn the_body_ends_when_the_log_begins_anew_when_it_is_told_so_and_when_nobody_leads_here_any_more() {
    for in_memory in [false, true] {
        let leader = Leader::live(in_memory).await;
        let mut served = leader.ask_from(None).unwrap();
        served.stream_of_live().await;
        leader.log.start_at(history(), at(7)).await.unwrap();
        assert_eq!(served.next_but_standings().await, None);

        let leader = Leader::live(in_memory).await;
        let mut served = leader.ask_from(None).unwrap();
        served.stream_of_live().await;
        leader.stop.send_replace(true);
        assert_eq!(served.next_but_standings().await, None);

        let leader = Leader::live(in_memory).await;
        let mut served = leader.ask_from(None).unwrap();
        served.stream_of_live().await;
        leader.progress.set_phase(Phase::Following);
        assert_eq!(served.next_but_standings().await, None);

        let mut leader = Leader::live(in_memory).await;
        let mut served = leader.ask_from(None).unwrap();
        served.stream_of_live().await;
        leader.board = Board::default();
        assert_eq!(served.next_but_standings().await, None);
    }
}

impl Served {
    async fn stream_of_live(&mut self) {
        self.beginning().await;
        self.stream(1_500, 500).await;
    }
}

#[tokio::test]
async fn what_is_released_under_a_slow_follower_ends_its_body_and_holds_nobody_up() {
    for in_memory in [false, true] {
        let leader = Leader::new(in_memory, 64 << 10).await;
        leader.log.start_at(history(), at(0)).await.unwrap();
        leader.append(stream(0, 1_000)).await;
        leader.checkpointed(1_000, 0);
        let mut served = leader.ask_from(position(b'a', 0)).unwrap();
        served.beginning().await;
        for n in 1..200 {
            leader.log.set_releasable(at(n * 1_000));
            leader.append(stream(n * 1_000, 1_000)).await;
        }
        assert!(leader.space.used_bytes() <= 64 << 10);
        assert!(leader.log.released() > at(1_000));
        while let Some(frame) = served.next().await {
            if let Frame::Stream { start, bytes } = frame {
                assert_eq!(bytes, stream(start.get(), bytes.len()));
            }
        }
    }
}

#[tokio::test]
async fn a_new_name_of_the_history_is_told_before_its_first_byte_and_without_one() {
    for in_memory in [false, true] {
        let leader = Leader::live(in_memory).await;
        let mut served = leader.ask_from(position(b'a', 1_900)).unwrap();
        served.beginning().await;
        // Both are there before any of it is read.
        let renamed = history().renamed(id(b'b'), at(2_000));
        leader.log.rename_history(renamed).await.unwrap();
        leader.append(stream(2_000, 10)).await;
        assert_eq!(served.next_but_standings().await, Some(Frame::History(renamed)));
        served.stream(1_900, 110).await;
        let again = renamed.renamed(id(b'c'), at(2_010));
        leader.log.rename_history(again).await.unwrap();
        assert_eq!(served.next_but_standings().await, Some(Frame::History(again)));
    }
}

#[tokio::test]
async fn the_standing_follows_the_ladder_and_is_a_sign_of_life_each_second() {
    let leader = Leader::live(false).await;
    let receiving = leader.progress.receiving(at(2_000));
    let generation = leader.progress.generation();
    let applying = leader.progress.begin_applying(generation, at(1_500)).unwrap();
    leader.progress.set_source_offset(at(2_345));
    let mut served = leader.ask_from(None).unwrap();
    served.beginning().await;
    receiving.received(at(2_100));
    receiving.appended(at(2_100));
    // The best of three, on a machine that is busy. Each change comes right behind a standing: the next sign of life is a whole time away.
    let (mut soonest, mut standing) = (Duration::MAX, None);
    for checkpointed in [2_001, 2_005, 2_010] {
        applying.applied(at(checkpointed + 40), at(checkpointed));
        let moved = Instant::now();
        standing = Some(served.standing(|one| one.checkpointed == at(checkpointed)).await);
        soonest = soonest.min(moved.elapsed());
    }
    let standing = standing.unwrap();
    assert!(soonest < SIGN_OF_LIFE_EVERY / 2, "not at the next sign of life");
    let expected = Standing {
        received: at(2_100),
        source: at(2_345),
        applied: at(2_050),
        checkpointed: at(2_010),
        is_exact: true,
        is_copying: false,
        waits_for: None,
    };
    assert_eq!(standing, expected);
    let began = Instant::now();
    for _ in 0..2 {
        assert_eq!(served.standing(|_| true).await, expected);
    }
    let took = began.elapsed();
    assert!(
        took >= SIGN_OF_LIFE_EVERY && took < 4 * SIGN_OF_LIFE_EVERY,
        "{took:?}"
    );
}

#[tokio::test]
async fn standings_do_not_crowd_a_busy_stream() {
    let leader = Leader::live(true).await;
    let generation = leader.progress.generation();
    let applying = leader.progress.begin_applying(generation, at(1_500)).unwrap();
    let mut served = leader.ask_from(position(b'a', 2_000)).unwrap();
    served.beginning().await;
    let (began, mut standings) = (Instant::now(), 0);
    for n in 0..400 {
        leader.append(stream(2_000 + n, 1)).await;
        applying.applied(at(1_500 + n), at(1_500 + n));
        loop {
            match served.next().await.unwrap() {
                Frame::Standing(_) => standings += 1,
                Frame::Stream { .. } => break,
                other => panic!("{other:?}"),
            }
        }
    }
    let most = began.elapsed().as_millis() / STANDING_SPACING.as_millis() + 1;
    assert!(standings <= most, "{standings} standings, at most {most}");
}

#[tokio::test]
async fn windows_and_waits_are_told_at_the_beginning_and_when_they_change() {
    let leader = Leader::live(false).await;
    leader.board.set_windows("{\"n\":1}");
    let mut served = leader.ask_from(position(b'a', 2_000)).unwrap();
    served.beginning().await;
    let windows = |text: &str| Some(Frame::Windows(text.to_owned()));
    assert_eq!(served.next_but_standings().await, windows("{\"n\":1}"));
    leader.board.set_windows("{\"n\":1}");
    leader.board.set_windows("{\"n\":2}");
    assert_eq!(served.next_but_standings().await, windows("{\"n\":2}"));
    leader.board.set_waits_for(Some("other"));
    let standing = served.standing(|one| one.waits_for.is_some()).await;
    assert_eq!(standing.waits_for.unwrap().input, "other");
    let later = served.standing(|_| true).await.waits_for.unwrap();
    assert!(later.since > Duration::ZERO);
    leader.board.set_waits_for(None);
    served.standing(|one| one.waits_for.is_none()).await;
}
