//! Asks the servers of a side what they are.
//!
//! All at the same time. Owns how the servers are found: those of the configuration, the one that sentinels name, the masters that a cluster names.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use super::answer::{Answer, text};
use super::ask::Asker;
use super::certificate;
use super::facts::{Node, Origin, Rate, Seen, Trouble, View};
use super::info::{Closed, Config, Info};
use super::{Depth, Plan, Shape, Side, Subject};
use crate::core::command::SLOTS;
use crate::core::net::{Address, Connection, Endpoint};
use crate::core::survey;
use crate::core::topology::{Place, nodes};

/// Sentinels say within this time where the master is.
const FIND_LIMIT: Duration = Duration::from_secs(10);

/// Between the two looks at how far the stream has come.
const RATE_SPAN: Duration = Duration::from_millis(1000);

/// At most so much we send ourselves meanwhile.
const OWN_BYTES: u64 = 4096;

/// So often the clock is read; the answer that took the shortest way counts.
const CLOCK_READINGS: usize = 3;

/// What is asked of a configuration: our name for it, and the pattern that finds it under the names of all versions.
const ASKED: &[(&str, &str)] = &[
    ("client-output-buffer-limit", "client-output-buffer-limit"),
    ("repl-diskless-sync", "repl-diskless-sync"),
    ("repl-diskless-sync-delay", "repl-diskless-sync-delay"),
    ("repl-timeout", "repl-timeout"),
    ("repl-ping-period", "repl-ping-*-period"),
    ("repl-backlog-ttl", "repl-backlog-ttl"),
    ("maxclients", "maxclients"),
    ("maxmemory", "maxmemory"),
    ("maxmemory-policy", "maxmemory-policy"),
    ("databases", "databases"),
    ("proto-max-bulk-len", "proto-max-bulk-len"),
    ("min-replicas-to-write", "min-*-to-write"),
    ("stop-writes-on-bgsave-error", "stop-writes-on-bgsave-error"),
    ("save", "save"),
];

/// Looks at all servers of a side, or tells that it took too long.
pub(super) async fn within(limit: Duration, plan: &Plan, side: &Side, subject: Subject) -> Seen {
    let looking = Box::pin(self::side(plan, side, subject));
    timeout(limit, looking).await.unwrap_or_else(|_| Seen {
        lost: Some(Trouble {
            message: format!(
                "its servers have not answered everything within {} s",
                limit.as_secs()
            ),
            hint: Some("see whether they are overloaded (SLOWLOG GET), or the way to them".to_owned()),
        }),
        ..Seen::default()
    })
}

/// Looks at all servers of a side.
async fn side(plan: &Plan, side: &Side, subject: Subject) -> Seen {
    let look = Look { plan, subject };
    match &side.shape {
        Shape::Servers(endpoints) => Seen {
            nodes: join_all(
                endpoints
                    .iter()
                    .map(|one| look.node(one.clone(), Origin::Configured)),
            )
            .await,
            ..Seen::default()
        },
        Shape::Named { sentinels, place } => look.named(sentinels, place.clone()).await,
        Shape::Cluster { seeds, with_replicas } => look.cluster(seeds, *with_replicas).await,
    }
}

/// Whether each node of a group's store can be reached. Nothing is asked of it: it may be an etcd.
pub(super) async fn store(endpoints: &[Endpoint]) -> Vec<Node> {
    let looked = endpoints.iter().map(|endpoint| async {
        let mut node = Node::new(endpoint.clone(), Origin::Configured);
        if let Err(error) = Connection::open(endpoint).await {
            node.trouble = Some(Trouble {
                message: error.to_string(),
                hint: error.hint(),
            });
        }
        node
    });
    join_all(looked).await
}

#[derive(Clone, Copy)]
struct Look<'a> {
    plan: &'a Plan,
    subject: Subject,
}

impl Look<'_> {
    fn is_full(self) -> bool {
        self.plan.depth == Depth::Full
    }

    async fn named(self, sentinels: &[Endpoint], mut place: Place) -> Seen {
        let mut seen = Seen::default();
        let watched = place.clone();
        let master = timeout(FIND_LIMIT, async {
            tokio::select! {
                biased;
                master = place.known() => Some(master),
                () = watched.is_troubled() => None,
            }
        });
        match master.await.ok().flatten() {
            Some(master) => seen.nodes.push(self.node(master, Origin::Announced).await),
            None => seen.lost = Some(blind(&watched)),
        }
        if self.is_full() {
            let asked = sentinels.iter().map(|one| self.sentinel(one.clone()));
            seen.sentinels = join_all(asked).await;
        }
        seen
    }

    async fn sentinel(self, endpoint: Endpoint) -> Node {
        let mut node = Node::new(endpoint, Origin::Configured);
        match Asker::open(&node.endpoint).await {
            Ok((asker, _)) => {
                let text = asker.ask(&["INFO", "server"]).await.text();
                node.info = text.map(|text| Info::parse(&text));
            }
            Err(error) => node.trouble = Some(trouble(&error)),
        }
        node
    }

    async fn cluster(self, seeds: &[Endpoint], with_replicas: bool) -> Seen {
        let mut seen = Seen::default();
        let views = join_all(seeds.iter().map(|seed| self.view(seed.clone()))).await;
        for (seed, view) in seeds.iter().zip(views) {
            match view {
                Ok(view) if seen.cluster.is_none() => seen.cluster = Some(view),
                Ok(_) => {}
                Err(trouble) => {
                    let mut node = Node::new(seed.clone(), Origin::Configured);
                    node.trouble = Some(trouble);
                    seen.nodes.push(node);
                }
            }
        }
        let Some((first, view)) = seeds.first().zip(seen.cluster.as_ref()) else {
            return self.alone(seeds, seen).await;
        };
        let lost: BTreeSet<Address> = seen.nodes.iter().map(|node| node.address().clone()).collect();
        let masters = view.serving.iter().map(|address| (address, Origin::Announced));
        let replicas = view.replicas().map(|address| (address, Origin::Replica));
        let replicas = replicas.take(if with_replicas { usize::MAX } else { 0 });
        let all = masters.chain(replicas);
        let looked = all
            .filter(|(address, _)| !lost.contains(*address))
            .map(|(address, origin)| self.node(first.at(address.clone()), origin));
        let looked = join_all(looked).await;
        seen.nodes.extend(looked);
        seen
    }

    /// None of the seeds sees a cluster: perhaps they are in none.
    async fn alone(self, seeds: &[Endpoint], mut seen: Seen) -> Seen {
        seen.nodes = join_all(
            seeds
                .iter()
                .map(|seed| self.node(seed.clone(), Origin::Configured)),
        )
        .await;
        seen
    }

    /// The cluster as a node of it sees it.
    async fn view(self, seed: Endpoint) -> Result<View, Trouble> {
        let (asker, _) = Asker::open(&seed).await.map_err(|error| trouble(&error))?;
        let mut view = View {
            asked: seed.address.to_string(),
            ..View::default()
        };
        if self.is_full() {
            let info = asker.ask(&["CLUSTER", "INFO"]).await.text();
            view.state = info.and_then(|text| Some(Info::parse(&text).text("cluster_state")?.to_owned()));
        }
        if self.is_full() || self.subject == Subject::Source {
            let answer = asker.ask(&["CLUSTER", "NODES"]).await;
            if let Some(nodes) = answer.text().and_then(|text| nodes::parse(&text, &seed.address)) {
                view.served = masters(&nodes).map(nodes::Node::slot_count).sum();
                view.serving = masters(&nodes).filter_map(|node| node.address.clone()).collect();
                view.nodes = nodes;
                return Ok(view);
            }
        }
        let mut source = survey::Source::connect(&seed)
            .await
            .map_err(|error| trouble(&error))?;
        match source.masters().await {
            Ok(masters) => {
                view.served = u64::from(SLOTS);
                view.serving = masters;
                Ok(view)
            }
            Err(survey::Error::SlotsMissing { slots, .. }) => {
                view.served = slots as u64;
                // Who serves the others is not told: this one at least is there.
                view.serving = vec![seed.address];
                Ok(view)
            }
            Err(error) => Err(trouble(&error)),
        }
    }

    /// One server.
    async fn node(self, endpoint: Endpoint, origin: Origin) -> Node {
        let mut node = Node::new(endpoint, origin);
        if let Err(trouble) = self.learn(&mut node).await {
            node.trouble = Some(trouble);
        }
        node
    }

    async fn learn(self, node: &mut Node) -> Result<(), Trouble> {
        let opened = Asker::open(&node.endpoint).await;
        let (asker, certificate) = opened.map_err(|error| trouble(&error))?;
        node.certificate_ends = certificate.and_then(|der| certificate::not_after(&der));
        let begun = Instant::now();
        let answer = asker.ask(&["INFO", "all"]).await;
        node.info = match &answer {
            Answer::Said(_) => answer.text().map(|text| Info::parse(&text)),
            Answer::Refused(_) if is_closed(&answer) => {
                node.info_closed = Some(closed(&answer));
                None
            }
            Answer::Refused(reply) => return Err(refused(reply)),
            Answer::Lost(why) => return Err(silent(&node.endpoint.address, why)),
        };
        node.clock_ms = self.clock(&asker, node).await;
        if self.is_full() {
            node.config = config(&asker).await;
        }
        if self.subject == Subject::Source {
            node.rate = rate(&asker, node, begun).await;
        }
        Ok(())
    }

    /// The server's clock, less ours, in milliseconds.
    async fn clock(self, asker: &Asker, node: &Node) -> Option<f64> {
        let says = node.info("server_time_usec").is_some();
        let may_ask = self.subject == Subject::Target
            || node
                .version()
                .is_some_and(|version| !version.since((6, 0), (0, 0)));
        if !says && !may_ask {
            return None;
        }
        let mut best: Option<(Duration, f64)> = None;
        for _ in 0..CLOCK_READINGS {
            let (before, begun) = (SystemTime::now(), Instant::now());
            let there = match says {
                true => server_time(asker).await?,
                false => time(asker).await?,
            };
            let took = begun.elapsed();
            let here = before.duration_since(UNIX_EPOCH).ok()? + took / 2;
            if best.is_none_or(|(least, _)| took < least) {
                best = Some((took, there / 1_000.0 - here.as_secs_f64() * 1_000.0));
            }
        }
        best.map(|(_, difference)| difference)
    }
}

impl View {
    /// The replicas, at the addresses that the cluster gives them.
    fn replicas(&self) -> impl Iterator<Item = &Address> {
        let replicas = self
            .nodes
            .iter()
            .filter(|node| node.master.is_some() && !node.has_failed && !node.is_stranger);
        replicas.filter_map(|node| node.address.as_ref())
    }
}

/// The masters that serve slots. One that has failed keeps its slots, and serves nobody.
fn masters(nodes: &[nodes::Node]) -> impl Iterator<Item = &nodes::Node> {
    nodes
        .iter()
        .filter(|node| node.master.is_none() && !node.slots.is_empty() && !node.has_failed)
}

fn trouble(error: &survey::Error) -> Trouble {
    Trouble {
        message: error.to_string(),
        hint: Some(error.hint()),
    }
}

/// A server that is there, and says nothing.
fn refused(reply: &str) -> Trouble {
    let hint = match reply.split(' ').next() {
        Some("NOAUTH") => {
            "give the password: GUNYU_SOURCE_PASSWORD or GUNYU_TARGET_PASSWORD, or input.redis.password or output.redis.password"
        }
        Some("DENIED") => "it lets only its own machine in: set a password there, or protected-mode no",
        _ => "look into the server's log",
    };
    Trouble {
        message: format!("it answers INFO with: {}", crate::core::resp::harmless(reply)),
        hint: Some(hint.to_owned()),
    }
}

/// A server that has let us in, and says nothing any more.
fn silent(address: &Address, why: &str) -> Trouble {
    Trouble {
        message: format!("it does not answer INFO: {why}"),
        hint: Some(format!(
            "see whether {address} is frozen or overloaded (its log, SLOWLOG GET), and whether the network still carries its answers"
        )),
    }
}

/// The command itself is not to be had, by permission or by name.
fn is_closed(answer: &Answer) -> bool {
    let is_unknown = |reply: &str| reply.to_ascii_lowercase().contains("unknown command");
    answer.is_forbidden() || matches!(answer, Answer::Refused(reply) if is_unknown(reply))
}

/// Why there is no answer.
fn closed(answer: &Answer) -> Closed {
    match answer {
        Answer::Lost(_) => Closed::Lost,
        _ if answer.is_forbidden() => Closed::Forbidden,
        _ => Closed::Refused,
    }
}

/// What sentinels have said instead of naming a master.
fn blind(place: &Place) -> Trouble {
    let trouble = place.trouble();
    Trouble {
        hint: trouble.as_ref().and_then(|trouble| trouble.hint.clone()),
        message: trouble.map_or_else(
            || format!("no sentinel has named a master within {} s", FIND_LIMIT.as_secs()),
            |trouble| trouble.message,
        ),
    }
}

async fn config(asker: &Asker) -> Config {
    let mut config = Config::default();
    for (name, pattern) in ASKED {
        let answer = asker.ask(&["CONFIG", "GET", pattern]).await;
        match &answer {
            Answer::Said(redis::Value::Array(pair)) => {
                if let Some(value) = pair.get(1).and_then(text) {
                    config.values.insert((*name).to_owned(), value);
                }
            }
            Answer::Said(_) => {}
            Answer::Refused(_) | Answer::Lost(_) => {
                config.closed = Some(closed(&answer));
                break;
            }
        }
    }
    config
}

/// How fast it is written to: two looks, some time apart.
async fn rate(asker: &Asker, node: &Node, begun: Instant) -> Option<Rate> {
    let before = node.info.as_ref()?;
    before.text("master_repl_offset")?;
    sleep(RATE_SPAN.saturating_sub(begun.elapsed())).await;
    let text = asker.ask(&["INFO", "all"]).await.text()?;
    rate_between(before, &Info::parse(&text), begun.elapsed().as_secs_f64())
}

/// Where no replica has ever come there is no stream: what clients send counts then, if anything was written at all.
fn rate_between(before: &Info, after: &Info, secs: f64) -> Option<Rate> {
    let number = |info: &Info, field: &str| info.text(field)?.parse::<u64>().ok();
    let grown = |field: &str| Some(number(after, field)?.saturating_sub(number(before, field)?));
    if before.text("repl_backlog_active") != Some("0") {
        return Some(Rate::Stream(grown("master_repl_offset")? as f64 / secs));
    }
    let field = "rdb_changes_since_last_save";
    let is_written = number(before, field)? != number(after, field)?;
    let sent = grown("total_net_input_bytes")?.saturating_sub(OWN_BYTES);
    Some(Rate::Clients(if is_written { sent as f64 / secs } else { 0.0 }))
}

/// In microseconds.
async fn server_time(asker: &Asker) -> Option<f64> {
    let text = asker.ask(&["INFO", "server"]).await.text()?;
    let time: u64 = Info::parse(&text).text("server_time_usec")?.parse().ok()?;
    Some(time as f64)
}

/// The same, by `TIME`.
async fn time(asker: &Asker) -> Option<f64> {
    let Answer::Said(redis::Value::Array(parts)) = asker.ask(&["TIME"]).await else {
        return None;
    };
    let part = |number: usize| parts.get(number).and_then(text)?.parse::<u64>().ok();
    Some(part(0)? as f64 * 1_000_000.0 + part(1)? as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_of_a_master_that_has_failed_are_served_by_nobody() {
        let asked = Address {
            host: "10.0.0.1".to_owned(),
            port: 1,
        };
        let text = "a 10.0.0.1:1@11 myself,master - 0 0 1 connected 0-8191\n\
                    b 10.0.0.1:2@12 master,fail - 0 0 2 disconnected 8192-16383\n\
                    c 10.0.0.1:3@13 slave b 0 0 2 connected\n";
        let nodes = nodes::parse(text, &asked).unwrap();
        assert_eq!(masters(&nodes).map(nodes::Node::slot_count).sum::<u64>(), 8192);
    }

    #[test]
    fn what_clients_only_read_is_not_taken_for_written() {
        let info = |active: u8, offset: u64, input: u64, changes: u64| {
            Info::parse(&format!(
                "repl_backlog_active:{active}\nmaster_repl_offset:{offset}\ntotal_net_input_bytes:{input}\n\
                 rdb_changes_since_last_save:{changes}"
            ))
        };
        for (before, after, expected) in [
            (info(1, 0, 0, 0), info(1, 500, 9000, 5), Rate::Stream(250.0)),
            (info(0, 0, 0, 7), info(0, 0, 900_000, 7), Rate::Clients(0.0)),
            (
                info(0, 0, 0, 7),
                info(0, 0, OWN_BYTES + 900, 8),
                Rate::Clients(450.0),
            ),
            // A save has begun the count anew.
            (
                info(0, 0, 0, 7),
                info(0, 0, OWN_BYTES + 900, 0),
                Rate::Clients(450.0),
            ),
        ] {
            assert_eq!(rate_between(&before, &after, 2.0), Some(expected));
        }
        assert_eq!(rate_between(&Info::default(), &Info::default(), 1.0), None);
    }
}
