//! What can happen, and in which order it does.

use std::fmt;
use std::time::Duration;

use super::support::proxy::Fault;

/// Which side of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Source,
    Target,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            End::Source => "source",
            End::Target => "target",
        })
    }
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// To the link, at once or in the midst of what passes.
    Link(End, Fault),
    /// `kill -9`, and started again.
    Kill,
    /// SIGTERM, and started again.
    Stop,
    /// SIGSTOP, SIGCONT.
    Freeze,
    /// The same to a server.
    ServerFreezes(End),
    /// `DEBUG SLEEP 1`.
    ServerSleeps(End),
    /// `CLIENT KILL` of all links.
    LinksKilled(End),
    /// By the API, and resumed.
    Pause,
    /// By the API: the same process.
    Restart,
    /// Asked for.
    FullSync,
    /// Of one database of the source.
    Flush,
    /// The target is a replica of nobody for a while.
    ReadOnly,
    /// The target takes nothing more for a while.
    OutOfMemory,
}

/// What it happens to, for the plot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Link,
    Process,
    Server,
    Order,
}

impl Class {
    pub const ALL: [Class; 4] = [Class::Link, Class::Process, Class::Server, Class::Order];

    pub fn name(self) -> &'static str {
        match self {
            Class::Link => "a link breaks",
            Class::Process => "gunyu killed, stopped, frozen",
            Class::Server => "a server frozen, refusing, flushed",
            Class::Order => "pause, restart, full sync",
        }
    }
}

impl Kind {
    pub fn class(self) -> Class {
        match self {
            Kind::Link(..) | Kind::LinksKilled(_) => Class::Link,
            Kind::Kill | Kind::Stop | Kind::Freeze => Class::Process,
            Kind::ServerFreezes(_) | Kind::ServerSleeps(_) => Class::Server,
            Kind::Flush | Kind::ReadOnly | Kind::OutOfMemory => Class::Server,
            Kind::Pause | Kind::Restart | Kind::FullSync => Class::Order,
        }
    }

    /// Whether a life of the process ends by it.
    pub fn ends_a_life(self) -> bool {
        matches!(self, Kind::Kill | Kind::Stop)
    }

    /// For how long, where it lasts.
    pub fn span(self, rng: &mut fastrand::Rng) -> Duration {
        let millis = rng.u64(300..4_000);
        match self {
            Kind::Link(_, Fault::Cut | Fault::Reset) => Duration::ZERO,
            Kind::LinksKilled(_) | Kind::Restart | Kind::FullSync | Kind::Flush => Duration::ZERO,
            Kind::ServerSleeps(_) => Duration::from_secs(1),
            Kind::Freeze | Kind::ServerFreezes(_) => Duration::from_secs(2),
            _ => Duration::from_millis(millis),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Link(end, fault) => {
                let how = match fault {
                    Fault::Cut => "cut",
                    Fault::Reset => "reset",
                    Fault::Refused => "refused",
                    Fault::Stall => "stalled",
                    Fault::Late => "late",
                    Fault::HalfOpen => "half-open, gunyu not told",
                    Fault::Orphaned => "half-open, server not told",
                    Fault::Bytewise => "byte by byte",
                    Fault::Slow => "slow",
                    Fault::Narrow => "narrow",
                };
                write!(f, "link to {end}: {how}")
            }
            Kind::Kill => write!(f, "gunyu: kill -9"),
            Kind::Stop => write!(f, "gunyu: SIGTERM"),
            Kind::Freeze => write!(f, "gunyu: SIGSTOP"),
            Kind::ServerFreezes(end) => write!(f, "{end}: SIGSTOP"),
            Kind::ServerSleeps(end) => write!(f, "{end}: DEBUG SLEEP 1"),
            Kind::LinksKilled(end) => write!(f, "{end}: CLIENT KILL"),
            Kind::Pause => write!(f, "asked to pause, resume"),
            Kind::Restart => write!(f, "asked to restart"),
            Kind::FullSync => write!(f, "asked for a full sync"),
            Kind::Flush => write!(f, "source: FLUSHDB"),
            Kind::ReadOnly => write!(f, "target: read-only replica"),
            Kind::OutOfMemory => write!(f, "target: out of memory"),
        }
    }
}

/// Kinds in an order drawn anew whenever all have come: each comes as often as any other.
#[derive(Debug)]
pub struct Deck {
    all: Vec<Kind>,
    left: Vec<Kind>,
}

impl Deck {
    pub fn of(all: Vec<Kind>) -> Deck {
        Deck {
            all,
            left: Vec::new(),
        }
    }

    /// The next; those that end a life only where that may be.
    pub fn draw(&mut self, rng: &mut fastrand::Rng, may_end_lives: bool) -> Kind {
        let fits = |kind: &Kind| may_end_lives || !kind.ends_a_life();
        loop {
            if let Some(at) = self.left.iter().rposition(fits) {
                return self.left.remove(at);
            }
            self.left.clone_from(&self.all);
            rng.shuffle(&mut self.left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Deck, End, Fault, Kind};

    fn all() -> Vec<Kind> {
        vec![
            Kind::Kill,
            Kind::Pause,
            Kind::Link(End::Source, Fault::Cut),
            Kind::Stop,
        ]
    }

    fn drawn(seed: u64, count: usize, may_end_lives: bool) -> Vec<Kind> {
        let (mut rng, mut deck) = (fastrand::Rng::with_seed(seed), Deck::of(all()));
        (0..count).map(|_| deck.draw(&mut rng, may_end_lives)).collect()
    }

    #[test]
    fn every_kind_comes_before_one_comes_again() {
        for round in drawn(1, 40, true).chunks(4) {
            assert!(all().iter().all(|kind| round.contains(kind)), "{round:?}");
        }
    }

    #[test]
    fn where_no_life_may_end_none_does() {
        let some = drawn(1, 40, false);
        assert!(!some.iter().any(|kind| kind.ends_a_life()), "{some:?}");
        assert!(some.contains(&Kind::Pause) && some.contains(&all()[2]));
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        assert_eq!(drawn(5, 40, true), drawn(5, 40, true));
        assert_ne!(drawn(5, 40, true), drawn(6, 40, true));
    }
}
