//! Two members of a group with a proxy on every link that each of them has, and writers at work.

use super::support::fleet::LONG;
use super::support::group::{Group, Kind, Plan, Tally};
use super::support::port::Port;
use super::support::proxy::Proxy;
use super::support::wait_for;
use super::support::workload::Seed;

/// So many members.
const MEMBERS: usize = 2;

/// Writes a second.
pub(super) const RATE: u64 = 600;

/// Between a member and what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    Source,
    Target,
    /// What holds the leases.
    Store,
    /// The other member, when this one calls it.
    Peer,
}

impl Link {
    pub(super) const ALL: &'static [Link] = &[Link::Source, Link::Target, Link::Store, Link::Peer];
}

pub(super) struct Company {
    pub(super) group: Group,
    /// Before the peers' port of each member.
    peers: Vec<Proxy>,
    own_env: Vec<Vec<(String, String)>>,
    _ports: Vec<Port>,
}

impl Company {
    /// Nobody has been started.
    pub(super) fn prepare(store: Kind) -> Company {
        Company::prepare_with(store, "8MiB")
    }

    /// The same with logs that may be as large as that.
    pub(super) fn prepare_with(store: Kind, log_max: &str) -> Company {
        let plan = Plan {
            members: MEMBERS,
            begin: MEMBERS,
            sections: format!("channel: {{storer: {{logSize: 128KiB, maxSize: {log_max}}}}}\n"),
            ..Plan::of_one_input(store)
        };
        let group = Group::prepare(&plan);
        let ports: Vec<Port> = (0..MEMBERS).map(|_| Port::free()).collect();
        let peers = group.members.iter().zip(&ports);
        let peers = peers.map(|(member, port)| Proxy::at(member.id().parse().unwrap(), port.number()));
        let own_env = ports.iter().map(|port| {
            vec![
                ("GUNYU_SILENCE_MS".to_owned(), "2500".to_owned()),
                ("GUNYU_LISTEN_PEER_AT".to_owned(), port.addr().to_string()),
            ]
        });
        let mut company = Company {
            peers: peers.collect(),
            own_env: own_env.collect(),
            group,
            _ports: ports,
        };
        (0..MEMBERS).for_each(|member| company.order(member, None));
        company
    }

    /// From its next start on this member is to die there; nowhere where there is no order.
    pub(super) fn order(&mut self, member: usize, order: Option<&str>) {
        let own = self.own_env[member].iter();
        let mut env: Vec<(&str, &str)> = own.map(|(name, value)| (&name[..], &value[..])).collect();
        env.extend(order.map(|order| ("GUNYU_CRASH_AT", order)));
        self.group.members[member].set_env(&env);
    }

    /// All run, and one leads.
    pub(super) fn start(&mut self) {
        for member in 0..MEMBERS {
            if !self.group.members[member].runs() {
                self.group.members[member].start();
            }
        }
        self.group.wait_settled(LONG);
    }

    pub(super) fn count(&self, seed: &Seed) -> Tally {
        Tally::start(self.group.source.shape(), seed, RATE)
    }

    /// This member's link to that.
    pub(super) fn link(&self, member: usize, link: Link) -> &Proxy {
        let group = &self.group;
        match link {
            Link::Source => group.source.gates()[0].way(member),
            Link::Target => group.target.gates()[0].way(member),
            Link::Store => group.store.gates(&group.source)[0].way(member),
            Link::Peer => &self.peers[1 - member],
        }
    }

    /// Waits until the probe says so; false where this member has ended before.
    #[track_caller]
    pub(super) fn lives_until(
        &mut self,
        member: usize,
        what: &str,
        mut probe: impl FnMut(&mut Group) -> bool,
    ) -> bool {
        wait_for(LONG, what, || {
            if self.group.members[member].ended().is_some() {
                return Ok(false);
            }
            match probe(&mut self.group) {
                true => Ok(true),
                false => Err(self.group.last_words()),
            }
        })
    }

    /// All is well: exact on both sides, with no full sync but those.
    #[track_caller]
    pub(super) fn finish(mut self, tally: Tally, full_syncs_max: u64) {
        self.start();
        tally.wait_more(200);
        self.group.finish(tally);
        let syncs = self.group.full_syncs();
        assert!(
            (1..=full_syncs_max).contains(&syncs),
            "{syncs} full syncs: {}",
            self.group.last_words()
        );
    }
}
