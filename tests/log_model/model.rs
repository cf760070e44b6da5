//! What a log must hold: the plain model. No I/O, nothing of the log's own code.

use gunyu::core::position::{History, Offset, Position, ReplId};

/// Which bytes a history has. Two lineages may have their beginning in common: after a failover to a replica that lacked the
/// end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    /// From the first offset on, the bytes are drawn from the second number; ascending.
    parts: Vec<(u64, u64)>,
}

impl Lineage {
    pub fn new(key: u64) -> Lineage {
        Lineage {
            parts: vec![(0, key)],
        }
    }

    /// The same up to `at`, other bytes after it.
    pub fn branched(&self, at: u64, key: u64) -> Lineage {
        let mut parts = self.parts.clone();
        parts.retain(|(from, _)| *from < at || *from == 0);
        parts.push((at, key));
        Lineage { parts }
    }

    /// The byte that follows offset `at`.
    fn byte(&self, at: u64) -> u8 {
        let key = self.parts.iter().rev().find(|(from, _)| *from <= at).unwrap().1;
        // A block that lands in another's place, or a history's byte in another history, is another byte.
        (at.wrapping_add(key.wrapping_mul(0xD6E8_FEB8_6659_FD93))
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            >> 56) as u8
    }

    pub fn bytes(&self, from: u64, to: u64) -> Vec<u8> {
        (from..to).map(|at| self.byte(at)).collect()
    }

    /// The bytes of a snapshot at `offset`.
    pub fn snapshot(&self, offset: u64, from: u64, to: u64) -> Vec<u8> {
        let key = self.byte(offset).wrapping_mul(31);
        (from..to)
            .map(|at| self.byte(at.wrapping_mul(7)).wrapping_add(key))
            .collect()
    }

    /// Whether both say the same up to `offset`.
    pub fn agrees_up_to(&self, other: &Lineage, offset: u64) -> bool {
        let below = |lineage: &Lineage| {
            let parts = lineage.parts.iter().filter(|(from, _)| *from < offset);
            parts.copied().collect::<Vec<_>>()
        };
        offset == 0 || below(self) == below(other)
    }
}

/// The server that is followed.
#[derive(Debug)]
pub struct Source {
    pub history: History,
    pub lineage: Lineage,
    names: u64,
}

impl Source {
    pub fn new() -> Source {
        Source {
            history: History::new(id(1)),
            lineage: Lineage::new(1),
            names: 1,
        }
    }

    fn next_name(&mut self) -> u64 {
        self.names += 1;
        self.names
    }

    /// Another dataset has come in its place.
    pub fn diverge(&mut self) {
        let name = self.next_name();
        self.history = History::new(id(name));
        self.lineage = Lineage::new(name);
    }

    /// A replica that had got as far as `at` has come in its place; `lost` where the old one had got further.
    pub fn fail_over(&mut self, at: u64, lost: bool) {
        let name = self.next_name();
        self.history = self.history.renamed(id(name), Offset::new(at));
        if lost {
            self.lineage = self.lineage.branched(at, name);
        }
    }
}

fn id(number: u64) -> ReplId {
    ReplId::parse(format!("{number:040x}").as_bytes()).unwrap()
}

/// How far the model's snapshot has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Receiving,
    /// Finishing it was tried, and something failed.
    Perhaps,
    Whole,
}

#[derive(Debug, Clone)]
pub struct Snapshot {
    pub offset: u64,
    pub received: u64,
    pub stage: Stage,
}

/// What the target has.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    pub position: Position,
    pub lineage: Lineage,
}

/// What the log holds.
#[derive(Debug, Clone)]
pub struct Held {
    pub history: History,
    pub lineage: Lineage,
    /// Where it began.
    pub begin: u64,
    /// Up to here it has said that it has them.
    pub end: u64,
    /// Up to here it may have them: an append has failed on its way.
    pub tried: u64,
    /// Up to here it has said that they survive a cut of power.
    pub persisted: u64,
    /// The highest offset up to which it was ever told that it may forget.
    pub releasable: u64,
    pub snapshot: Option<Snapshot>,
    /// Somebody has changed its files.
    pub damaged: bool,
    /// Its snapshot broke off and its room was needed: a restart drops what there is.
    pub abandoned: bool,
}

impl Held {
    /// A log that has just begun.
    pub fn new(source: &Source, begin: u64) -> Held {
        Held {
            history: source.history,
            lineage: source.lineage.clone(),
            begin,
            end: begin,
            tried: begin,
            persisted: begin,
            releasable: 0,
            snapshot: None,
            damaged: false,
            abandoned: false,
        }
    }

    /// So many percent of the way from `start` to the end.
    pub fn at(&self, start: u64, percent: u8) -> u64 {
        start + self.end.saturating_sub(start) * u64::from(percent) / 100
    }
}
