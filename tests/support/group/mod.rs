//! Several gunyu that stand in for each other, with everything around them, and what can happen to it.
//!
//! - [`Group`]: members, source, target and store; links between them that can be cut.
//! - [`member`]: one gunyu. [`store`]: what holds the leases. [`side`]: a source or target behind gates.
//! - [`gate`]: a proxy that knows which member a connection comes from, [`owner`]: how. [`world`]: machines of their own, where the system permits them.
//! - [`watch`]: who says that he leads what. [`ledger`]: who wrote what, as the target tells it. [`tally`]: writers whose every write is known.
//!
//! | link | how it is cut |
//! | --- | --- |
//! | member to source, target, store | at the gate: connections end, or stay open and silent |
//! | member to the other members | its cable is pulled; only where members have machines of their own |
//!
//! A failing test prints what happened when, and the end of each member's traces.

pub mod gate;
pub mod ledger;
pub mod member;
pub mod owner;
pub mod side;
pub mod store;
pub mod tally;
mod turn;
pub mod watch;
pub mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

pub use ledger::Ledger;
pub use member::{Member, TOKEN};
pub use side::{Nodes, Side};
pub use store::{Kind, Store};
pub use tally::{Sent, Tally};
pub use watch::{Gaps, Said, Watch};
pub use world::World;

use super::etcd;
use super::fleet::{Fleet, LONG, Layout};
use super::secured::Secured;
use super::server::Server;
use super::{at_this_load, wait_for};
use gate::{Gate, Roster};
use turn::Turn;

/// `cluster.leaseTimeout` of all groups here that are not given another.
pub const LEASE: Duration = Duration::from_secs(3);

/// A lease for groups in which nobody is to lose his: members of a machine that is busy do not, and what is to be over before it ends is.
pub const LASTING: Duration = Duration::from_secs(15);

/// Within this time another leads, or the judge says no.
pub const TAKEN_OVER: Duration = Duration::from_secs(5);

/// Another leads in time: within [`TAKEN_OVER`] on a machine that has nothing else to do, and later on one that has.
#[track_caller]
pub fn assert_in_time(took: Duration) {
    let bound = at_this_load(TAKEN_OVER);
    assert!(took <= bound, "it took {took:?}, at most {bound:?} is allowed");
}

/// What a group is to be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many members at most. The first [`Plan::begin`] of them are started.
    pub members: usize,
    /// How many at the beginning.
    pub begin: usize,
    /// Shards of the source; 0: one server that is no cluster.
    pub source: usize,
    /// Slots of one more shard of a source that is a cluster; 0: there is none.
    pub guest_slots: usize,
    /// The same of the target.
    pub target: usize,
    /// How many replicas each shard of a source or target that is a cluster has. A source that is one server and has one is named by that.
    pub replicas: usize,
    /// `cluster.leaseTimeout`.
    pub lease: Duration,
    /// What holds the leases.
    pub store: Kind,
    /// How a Redis that holds them is reached, where that is over TLS alone.
    pub store_secured: Option<Secured>,
    /// More of the configuration: whole sections.
    pub sections: String,
    /// More lines of the section `cluster`.
    pub cluster: String,
    /// Options of the source's servers.
    pub source_options: Vec<String>,
    /// Who signed the members' certificates, where they serve HTTPS.
    pub ca: Option<PathBuf>,
    /// How an etcd speaks TLS, if it does.
    pub etcd_tls: Option<etcd::Tls>,
    /// Where all live.
    pub world: World,
}

impl Plan {
    /// Three members of a source with three shards, onto one server, with this store.
    pub fn of(store: Kind) -> Plan {
        Plan {
            members: 3,
            begin: 3,
            source: 3,
            guest_slots: 0,
            target: 0,
            replicas: 0,
            lease: LEASE,
            store,
            store_secured: None,
            sections: String::new(),
            cluster: String::new(),
            source_options: vec!["--repl-backlog-size".to_owned(), "64mb".to_owned()],
            ca: None,
            etcd_tls: None,
            world: World::of_one(),
        }
    }

    /// A source that is one server: one input.
    #[must_use]
    pub fn of_one_input(store: Kind) -> Plan {
        Plan {
            source: 0,
            ..Plan::of(store)
        }
    }

    /// The same where members may have machines of their own.
    #[must_use]
    pub fn on(self, world: World) -> Plan {
        Plan { world, ..self }
    }

    fn nodes(&self, shards: usize, replicas: usize, options: &[String]) -> Nodes {
        let mut options: Vec<&str> = options.iter().map(String::as_str).collect();
        let host = self.world.host().to_string();
        if self.world.has_machines() {
            // Nodes announce that address, so it is there that they look for each other's bus.
            options.extend(["--bind", "127.0.0.1", &host]);
        }
        match (shards, replicas) {
            (0, 0) => Nodes::One(Server::with(&options)),
            (0, _) => {
                let (master, replica) = (Server::with(&options), Server::with(&options));
                replica.follow(&master);
                replica.wait_caught_up(&master, LONG);
                let replica = Box::new(replica);
                Nodes::Behind { master, replica }
            }
            (shards, replicas) => Nodes::Many(Fleet::with(Layout::of(shards, replicas).with(&options))),
        }
    }

    fn source_side(&self, roster: &Roster) -> Side {
        let mut nodes = self.nodes(self.source, self.replicas, &self.source_options);
        if let (Nodes::Many(fleet), 1..) = (&mut nodes, self.guest_slots) {
            fleet.add_shard(self.guest_slots);
        }
        Side::behind_gates(nodes, self.members, &self.world, roster)
    }

    fn target_side(&self, roster: &Roster) -> Side {
        let replicas = if self.target == 0 { 0 } else { self.replicas };
        let nodes = self.nodes(self.target, replicas, &[]);
        Side::behind_gates(nodes, self.members, &self.world, roster)
    }

    /// What all members have in common.
    fn yaml(&self, source: &Side, target: &Side, store: &Store) -> String {
        format!(
            "input:\n  redis: {}\noutput:\n  redis: {}\n{}cluster:\n  groupName: of-the-test\n  leaseTimeout: {}s\n  \
             leaseRenewInterval: 1s\n{}{}",
            source.yaml(),
            target.yaml(),
            self.sections,
            self.lease.as_secs(),
            store.yaml(),
            self.cluster
        )
    }
}

/// A way between a member and something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// To the store.
    Store,
    /// To all nodes of the source.
    Source,
    /// To all nodes of the target.
    Target,
    /// To all other members.
    Peers,
}

/// How it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// Connections end, new ones are refused.
    Cut,
    /// Nothing moves, and nobody is told.
    Stall,
}

/// Members and all that is around them. Fields are dropped in their order.
#[derive(Debug)]
pub struct Group {
    /// Who says that he leads what.
    pub watch: Watch,
    /// Who wrote what.
    pub ledger: Ledger,
    /// The members, those that are not started yet too.
    pub members: Vec<Member>,
    /// The source.
    pub source: Side,
    /// The target.
    pub target: Side,
    /// What holds the leases.
    pub store: Store,
    world: World,
    /// Full syncs and continued links among the source's own servers, from before any member.
    before: (u64, u64),
    _turn: Turn,
}

impl Group {
    /// Everything but the members runs.
    pub fn prepare(plan: &Plan) -> Group {
        let turn = Turn::take();
        let roster = Roster::default();
        let (source, target) = std::thread::scope(|scope| {
            let source = scope.spawn(|| plan.source_side(&roster));
            let target = plan.target_side(&roster);
            (source.join().unwrap(), target)
        });
        let store = Store::start(plan, &roster);
        let yaml = plan.yaml(&source, &target, &store);
        let mut members: Vec<Member> = (0..plan.members)
            .map(|number| Member::new(number, &yaml, &plan.world, &roster))
            .collect();
        if let Some(ca) = &plan.ca {
            members.iter_mut().for_each(|member| member.trust(ca));
        }
        let apis: Vec<_> = members.iter().map(Member::api).collect();
        Group {
            watch: Watch::start(&apis),
            ledger: Ledger::of(&target.servers(), target.gates()),
            members,
            before: (source.stat("sync_full"), source.stat("sync_partial_ok")),
            source,
            target,
            store,
            world: plan.world,
            _turn: turn,
        }
    }

    /// As planned: those members that begin have been started, each input is led and live, and the others follow it.
    #[track_caller]
    pub fn start(plan: &Plan) -> Group {
        let mut group = Group::prepare(plan);
        for number in 0..plan.begin {
            group.members[number].start();
        }
        group.wait_settled(LONG);
        group
    }

    /// How many inputs there are, or were before shards have left.
    pub fn inputs(&self) -> usize {
        self.source.shards()
    }

    /// Breaks a link. A member's link to its fellows can only be stalled.
    pub fn sever(&self, member: usize, link: Link, how: Break) {
        self.watch.note(&format!("member {member}: {link:?} {how:?}"));
        match (link, how) {
            (Link::Peers, _) => self.world.plug_peers(member, false),
            (_, Break::Cut) => self.gates(link).iter().for_each(|gate| gate.cut(member)),
            (_, Break::Stall) => self.gates(link).iter().for_each(|gate| gate.stall(member)),
        }
    }

    /// Mends it.
    pub fn heal(&self, member: usize, link: Link) {
        self.watch.note(&format!("member {member}: {link:?} is well"));
        match link {
            Link::Peers => self.world.plug_peers(member, true),
            _ => self.gates(link).iter().for_each(|gate| gate.heal(member)),
        }
    }

    fn gates(&self, link: Link) -> &[Gate] {
        match link {
            Link::Store => self.store.gates(&self.source),
            Link::Source => self.source.gates(),
            Link::Target => self.target.gates(),
            Link::Peers => &[],
        }
    }

    /// Who leads each input, under which epoch, as far as the members say so: under the highest epoch where several do.
    pub fn leaders(&self) -> BTreeMap<String, (usize, u64)> {
        let mut leaders = BTreeMap::<String, (usize, u64)>::new();
        for member in &self.members {
            for said in member.said().into_iter().filter(|said| said.leads) {
                let entry = leaders.entry(said.input).or_insert((member.number, said.epoch));
                if said.epoch > entry.1 {
                    *entry = (member.number, said.epoch);
                }
            }
        }
        leaders
    }

    /// Who leads the only input, or the first, as soon as somebody says so.
    #[track_caller]
    pub fn leader(&self) -> usize {
        self.lead().0
    }

    /// The same with the epoch under which he does.
    #[track_caller]
    pub fn lead(&self) -> (usize, u64) {
        wait_for(LONG, "somebody says that he leads", || {
            let first = self.leaders().into_values().next();
            first.ok_or_else(|| format!("nobody does\n{}", self.last_words()))
        })
    }

    /// How many inputs each running member leads.
    pub fn shares(&self) -> BTreeMap<usize, usize> {
        let mut shares = BTreeMap::new();
        for (member, _) in self.leaders().into_values() {
            *shares.entry(member).or_default() += 1;
        }
        shares
    }

    /// Waits until every input is led and live, and every running member that does not lead it follows it and knows by whom it is led.
    #[track_caller]
    pub fn wait_settled(&mut self, limit: Duration) {
        self.wait_for(limit, "every input is led and followed", Group::settled);
    }

    fn settled(&mut self) -> Result<(), String> {
        let running: Vec<usize> = (0..self.members.len())
            .filter(|number| self.members[*number].runs())
            .collect();
        let said: BTreeMap<usize, Vec<Said>> = running
            .iter()
            .map(|number| (*number, self.members[*number].said()))
            .collect();
        let inputs: BTreeSet<&String> = said.values().flatten().map(|said| &said.input).collect();
        let expected = self.source.shards_left();
        if inputs.len() != expected {
            return Err(format!("{} inputs of {expected}: {said:?}", inputs.len()));
        }
        for input in inputs {
            let of_it: Vec<(usize, &Said)> = said
                .iter()
                .filter_map(|(number, all)| Some((*number, all.iter().find(|said| said.input == *input)?)))
                .collect();
            let leading: Vec<&(usize, &Said)> = of_it.iter().filter(|(_, said)| said.leads).collect();
            let [(leader, words)] = leading.as_slice() else {
                return Err(format!("{} lead {input}: {of_it:?}", leading.len()));
            };
            let id = self.members[*leader].id();
            let follows = |said: &Said| said.leads || (said.phase == "following" && said.leader == id);
            if words.phase != "incremental" || of_it.len() != running.len() {
                return Err(format!("{input}: {of_it:?}"));
            }
            if !of_it.iter().all(|(_, said)| follows(said)) {
                return Err(format!("{input} is led by {id}: {of_it:?}"));
            }
        }
        Ok(())
    }

    /// Waits until a member other than `old` leads and has gone live with the only input (or all that `old` led): which.
    #[track_caller]
    pub fn wait_successor(&mut self, old: usize, limit: Duration) -> usize {
        let inputs = self.inputs();
        self.wait_for(limit, &format!("others lead what member {old} led"), |group| {
            let leaders = group.leaders();
            let held = leaders.values().filter(|(member, _)| *member == old).count();
            match (leaders.len() == inputs && held == 0, leaders.values().next()) {
                (true, Some((member, _))) => Ok(*member),
                _ => Err(format!("{leaders:?}")),
            }
        })
    }

    /// Asks a member to hand over all it leads, to the one named if one is; again where it has not heard yet, as it does with each renewal of a session, that
    /// another one follows it.
    #[track_caller]
    pub fn hand_over(&mut self, member: usize, to: Option<usize>) {
        let to = to.map(|to| format!("&to={}", self.members[to].id()));
        let path = format!("/syncer/handover?inputs=all{}", to.unwrap_or_default());
        self.watch.note(&format!("member {member}: POST {path}"));
        self.wait_for(LONG, "the lead is handed over", |group| {
            let answer = group.members[member].call("POST", &path);
            (answer.status == 200).then_some(()).ok_or_else(|| answer.text())
        });
    }

    /// As [`wait_for`], with the members' last words where it fails, and at once where one of them has ended by itself.
    #[track_caller]
    pub fn wait_for<T>(
        &mut self,
        limit: Duration,
        what: &str,
        mut probe: impl FnMut(&mut Group) -> Result<T, String>,
    ) -> T {
        wait_for(limit, what, || {
            let found = probe(self);
            if found.is_err() {
                self.refuse_the_dead(what);
            }
            found
        })
    }

    /// A member that ended with a code was not killed by the test.
    #[track_caller]
    fn refuse_the_dead(&mut self, what: &str) {
        for member in &mut self.members {
            if let Some(code) = member.exit_code() {
                panic!(
                    "before {what}, a member has ended with code {code}: {}",
                    member.last_words()
                );
            }
        }
    }

    /// Full syncs that the servers of the source have made, by their own count.
    pub fn full_syncs(&self) -> u64 {
        self.source.stat("sync_full") - self.before.0
    }

    /// Links that were continued without one.
    pub fn continued(&self) -> u64 {
        self.source.stat("sync_partial_ok") - self.before.1
    }

    /// Stops the writers and waits until both sides hold just what was sent, and no fault was seen.
    #[track_caller]
    pub fn finish(&mut self, tally: Tally) -> Sent {
        let sent = tally.stop();
        sent.wait_on(self.source.shape(), Duration::ZERO);
        sent.wait_on(self.target.shape(), LONG);
        self.assert_sound();
        sent
    }

    /// Nothing was seen that must not be.
    #[track_caller]
    pub fn assert_sound(&self) {
        self.ledger.catch_up(&self.target.servers());
        let faults = [self.ledger.faults(), self.watch.faults()].concat();
        assert!(
            faults.is_empty(),
            "{} faults:\n{}",
            faults.len(),
            faults.join("\n")
        );
        let epochs = self.ledger.epochs();
        let written = epochs
            .values()
            .filter(|epochs| epochs.iter().any(|epoch| *epoch > 0));
        assert_eq!(
            written.count(),
            self.inputs(),
            "each checkpoint bears an epoch: {epochs:?}"
        );
    }

    /// The end of each member's traces.
    pub fn last_words(&self) -> String {
        self.members.iter().map(Member::last_words).collect()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.last_words());
        }
    }
}
