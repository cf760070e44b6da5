//! Who writes, and whether both sides are the same when they have stopped.

use super::exact::{Counted, Exact};
use super::support::compare;
use super::support::fleet::client::{Client, Routed};
use super::support::fleet::{self, Load, Rate, Shape};
use super::support::wire::{Batch, put};
use super::support::workload::{Options, Seed, Writers};
use super::support::{Cluster, Server, wait_for};

/// Commands a second of the mix, and of the counters.
pub const MIX: u64 = 1_600;
pub const EXACT: u64 = 400;

/// Requests a second onto the cluster, each of one to a few commands.
pub const REQUESTS: u64 = 600;

/// Writers at work.
pub enum Writing {
    Server { mix: Writers, exact: Exact },
    Cluster { load: Load, trim: Trim },
}

/// What they wrote.
#[derive(Debug, Clone, Default)]
pub struct Wrote {
    /// Commands, or requests where it is a cluster.
    pub commands: u64,
    pub counted: Option<Counted>,
    /// What the writers themselves could not do.
    pub given_up: Vec<String>,
}

impl Writing {
    pub fn on_server(source: &Server, seed: &Seed) -> Writing {
        let options = Options {
            per_second: Some(MIX),
            ..Options::default()
        };
        Writing::Server {
            mix: Writers::with(source, &source.url(), seed, &options),
            exact: Exact::start(source, EXACT),
        }
    }

    pub fn on_cluster(source: &Cluster, seed: &Seed) -> Writing {
        let rate = Rate {
            per_second: REQUESTS,
            ..Rate::default()
        };
        Writing::Cluster {
            load: Load::start(source, seed, rate),
            trim: Trim {
                client: source.client(),
                keys: rate.keys,
                next: 0,
            },
        }
    }

    /// Called now and then: what would only grow begins anew, a part at each call.
    pub fn trim(&mut self) {
        if let Writing::Cluster { trim, .. } = self {
            trim.some();
        }
    }

    pub fn stop(self) -> Wrote {
        match self {
            Writing::Server { mix, exact } => {
                let counted = exact.stop();
                Wrote {
                    commands: mix.stop().commands + counted.commands(),
                    counted: Some(counted),
                    given_up: Vec::new(),
                }
            }
            Writing::Cluster { load, .. } => {
                let done = load.stop();
                let mut given_up = done.given_up;
                given_up.extend(
                    done.refused
                        .iter()
                        .map(|(word, count)| format!("{word}: {count}")),
                );
                Wrote {
                    commands: done.requests,
                    counted: None,
                    given_up,
                }
            }
        }
    }
}

/// Deletes lists and texts of a cluster's writers that nothing shortens.
pub struct Trim {
    client: Box<dyn Client>,
    keys: usize,
    next: usize,
}

impl Trim {
    fn some(&mut self) {
        for _ in 0..10 {
            for key in [format!("{{t{}}}list", self.next), format!("text:{}", self.next)] {
                let mut batch = Batch::default();
                put!(batch, "DEL", key);
                self.client.send(key.as_bytes(), &batch).unwrap();
            }
            self.next = (self.next + 1) % self.keys;
        }
    }
}

/// What differs between the sides, a line each. gunyu has ended.
pub fn differences(sources: &[Server], targets: &[Server], wrote: &Wrote) -> Vec<String> {
    let mut wrong = Vec::new();
    let Some(counted) = wrote.counted else {
        // They hold the same when what is due has expired on both.
        let (mut found, mut looks) = (Vec::new(), 0);
        wait_for(fleet::LONG, "source and target have been compared", || {
            found = fleet::differences(&Masters(sources), &Masters(targets)).0;
            looks += 1;
            match found.is_empty() || looks == 20 {
                true => Ok(()),
                false => Err(found.join("\n")),
            }
        });
        return found;
    };
    for (side, server) in [("source", &sources[0]), ("target", &targets[0])] {
        wrong.extend(
            counted
                .wrong_on(server)
                .into_iter()
                .map(|line| format!("{side}: {line}")),
        );
    }
    if let Err(found) = compare::equal(&sources[0], &targets[0]) {
        wrong.extend(found.0);
    }
    wrong
}

/// Masters of a cluster that is at rest.
struct Masters<'a>(&'a [Server]);

impl Shape for Masters<'_> {
    fn url(&self) -> String {
        self.0[0].url()
    }

    fn masters(&self) -> Vec<&Server> {
        self.0.iter().collect()
    }

    fn client(&self) -> Box<dyn Client> {
        let seeds = self.0.iter().map(Server::addr).collect();
        Box::new(Routed::with_seeds(seeds))
    }
}
