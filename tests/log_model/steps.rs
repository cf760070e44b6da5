//! What can happen to a log, drawn at random.

use proptest::prelude::*;

use super::power::{Call, Cut, Refusal, Tear};

/// How one life of the log ends.
#[derive(Debug, Clone, Copy)]
pub enum Ending {
    /// It is closed and opened again.
    Closed,
    /// The process dies.
    Killed,
    /// The machine loses power.
    PowerLost(Cut),
}

/// What somebody does to a file of a log that is not open.
#[derive(Debug, Clone, Copy)]
pub enum Harm {
    FlipBit {
        permille: u16,
        bit: u8,
    },
    CutShort {
        permille: u16,
    },
    Delete,
    /// From a copy that was made earlier; of this log or of one before it.
    PutBack,
}

#[derive(Debug, Clone, Copy)]
pub enum Step {
    Append(usize),
    Persist,
    Read {
        percent: u8,
    },
    Releasable {
        percent: u8,
    },
    Checkpoint {
        percent: u8,
    },
    StartAt(u64),
    BeginSnapshot {
        offset: u64,
        declared: bool,
    },
    AppendToSnapshot(usize),
    FinishSnapshot,
    AbandonSnapshot,
    /// The source fails over to a replica that had come so far.
    FailOver {
        percent: u8,
    },
    /// The source is another one.
    Diverge,
    Refuse(Refusal),
    /// The life ends after so many calls to the disk, in the midst of whatever that hits.
    End {
        calls: u8,
        written: usize,
        how: Ending,
    },
    Harm {
        file: u8,
        harm: Harm,
    },
    /// Copies of all files are made.
    Copy,
}

/// One run.
#[derive(Debug, Clone)]
pub struct Case {
    pub small_tail: bool,
    pub policy: u8,
    pub steps: Vec<Step>,
}

fn tear() -> impl Strategy<Value = Tear> {
    prop_oneof![
        Just(Tear::Lost),
        (0..=100u8).prop_map(Tear::Prefix),
        (0..=100u8).prop_map(Tear::Zeros),
        (0..=100u8).prop_map(Tear::Garbage),
        Just(Tear::Holes),
        Just(Tear::Kept),
    ]
}

fn ending() -> impl Strategy<Value = Ending> {
    let cut = (0..=100u8, tear(), any::<u64>());
    prop_oneof![
        1 => Just(Ending::Closed),
        2 => Just(Ending::Killed),
        4 => cut.prop_map(|(names, tear, seed)| Ending::PowerLost(Cut { names, tear, seed })),
    ]
}

fn refusal() -> impl Strategy<Value = Refusal> {
    let call = prop::sample::select(vec![
        Call::Append,
        Call::Append,
        Call::Create,
        Call::Persist,
        Call::PersistFolder,
        Call::Read,
        Call::Remove,
        Call::Cut,
        Call::Rename,
        Call::List,
        Call::Open,
    ]);
    (call, 0..4u8, 0..200usize, any::<bool>()).prop_map(|(call, after, written, full)| Refusal {
        call,
        after,
        written,
        // Only where something is written can there be no room for it.
        full: full && matches!(call, Call::Append | Call::Create),
    })
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        4 => (0..1000u16, 0..8u8).prop_map(|(permille, bit)| Harm::FlipBit { permille, bit }),
        1 => (0..1000u16).prop_map(|permille| Harm::CutShort { permille }),
        1 => Just(Harm::Delete),
        3 => Just(Harm::PutBack),
    ]
}

/// Offsets of beginnings, few, so that two logs begin at the same one.
fn beginning() -> impl Strategy<Value = u64> {
    prop::sample::select(vec![0u64, 77, 1000])
}

fn step() -> impl Strategy<Value = Step> {
    let percent = || 0..=100u8;
    let end = (0..12u8, 0..120usize, ending());
    prop_oneof![
        20 => (1..700usize).prop_map(Step::Append),
        3 => Just(Step::Persist),
        4 => percent().prop_map(|percent| Step::Read { percent }),
        3 => percent().prop_map(|percent| Step::Releasable { percent }),
        3 => percent().prop_map(|percent| Step::Checkpoint { percent }),
        1 => beginning().prop_map(Step::StartAt),
        2 => (beginning(), any::<bool>())
            .prop_map(|(offset, declared)| Step::BeginSnapshot { offset, declared }),
        3 => (1..900usize).prop_map(Step::AppendToSnapshot),
        3 => Just(Step::FinishSnapshot),
        1 => Just(Step::AbandonSnapshot),
        1 => percent().prop_map(|percent| Step::FailOver { percent }),
        // Mostly the replica lacks nothing.
        2 => Just(Step::FailOver { percent: 100 }),
        1 => Just(Step::Diverge),
        2 => refusal().prop_map(Step::Refuse),
        6 => end.prop_map(|(calls, written, how)| Step::End { calls, written, how }),
        1 => (any::<u8>(), harm()).prop_map(|(file, harm)| Step::Harm { file, harm }),
        1 => Just(Step::Copy),
    ]
}

pub fn case() -> impl Strategy<Value = Case> {
    (any::<bool>(), 0..3u8, prop::collection::vec(step(), 1..50)).prop_map(|(small_tail, policy, steps)| {
        Case {
            small_tail,
            policy,
            steps,
        }
    })
}
