//! Random sequences against a plain `Vec<u8>`.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Append(usize),
    Persist,
    Reopen,
    Read { percent: u64 },
    Releasable { percent: u64 },
    StartAt(u64),
    Rename(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..700usize).prop_map(Step::Append),
        1 => Just(Step::Persist),
        2 => Just(Step::Reopen),
        4 => (0..=100u64).prop_map(|percent| Step::Read { percent }),
        2 => (0..=100u64).prop_map(|percent| Step::Releasable { percent }),
        1 => (0..10_000u64).prop_map(Step::StartAt),
        1 => (b'a'..=b'f').prop_map(Step::Rename),
    ]
}

/// What the log must hold: everything since the beginning, of which the start may have been released.
struct Model {
    history: History,
    start: u64,
    bytes: Vec<u8>,
    releasable: u64,
}

impl Model {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    fn check(&self, log: &Log) {
        assert_eq!(log.history(), Some(self.history));
        let extent = log.extent().unwrap();
        assert_eq!(extent.end.get(), self.end());
        assert!(self.start <= extent.start.get());
        assert!(
            extent.start.get() <= self.releasable.max(self.start),
            "nothing but what may go has gone"
        );
        assert_eq!(log.released(), extent.start);
    }

    /// An offset within the log.
    fn at(&self, log: &Log, percent: u64) -> u64 {
        let start = log.released().get();
        start + (self.end() - start) * percent / 100
    }
}

async fn run(place: &Place, steps: Vec<Step>) {
    let mut log = place.started("a", 77).await;
    let mut model = Model {
        history: history(),
        start: 77,
        bytes: Vec::new(),
        releasable: 0,
    };
    for step in steps {
        match step {
            Step::Append(len) => {
                // Bytes that differ from those of another beginning at the same offset.
                let bytes: Bytes = (0..len)
                    .map(|n| byte(model.bytes.len() as u64 * 31 + n as u64))
                    .collect();
                let mut writer = log.writer().unwrap();
                match writer.append(bytes.clone()).await {
                    Ok(_) => model.bytes.extend_from_slice(&bytes),
                    Err(Error::Full { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            Step::Persist => {
                log.persist().await.unwrap();
                assert!(log.persisted().is_none_or(|end| end.get() == model.end()));
            }
            Step::Reopen if place.in_memory => {}
            Step::Reopen => {
                drop(log);
                log = place.open("a").await;
                log.set_releasable(Offset::new(model.releasable));
            }
            Step::Read { percent } => {
                let from = model.at(&log, percent);
                let all = read_all(&log, from).await.unwrap();
                assert_eq!(all, model.bytes[(from - model.start) as usize..]);
            }
            Step::Releasable { percent } => {
                model.releasable = model.releasable.max(model.at(&log, percent));
                log.set_releasable(Offset::new(model.releasable));
            }
            Step::StartAt(offset) => {
                log.start_at(history(), Offset::new(offset)).await.unwrap();
                model = Model {
                    history: history(),
                    start: offset,
                    bytes: Vec::new(),
                    releasable: 0,
                };
            }
            Step::Rename(c) => {
                model.history = model.history.renamed(id(c), Offset::new(model.end()));
                log.rename_history(model.history).await.unwrap();
            }
        }
        model.check(&log);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_a_vec_of_bytes_whose_beginning_may_go(
        steps in prop::collection::vec(step(), 1..60),
        in_memory in any::<bool>(),
        small_tail in any::<bool>(),
        policy in 0..3,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut place = Place::new();
            place.in_memory = in_memory;
            place.segment_bytes = 1000;
            place.tail_bytes = if small_tail { 500 } else { TAIL_BYTES };
            place.space = Space::new(8000);
            place.flush = match policy {
                0 => FlushPolicy::Os,
                1 => FlushPolicy::EveryWrite,
                _ => FlushPolicy::DirtyBytes(900),
            };
            run(&place, steps).await;
        });
    }
}
