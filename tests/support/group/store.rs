//! What holds a group's leases: an etcd, a Redis of its own, or the source itself.

use super::Plan;
use super::gate::{Gate, Roster};
use super::side::{Nodes, Side};
use crate::support::etcd::{Etcd, Program, Tls};
use crate::support::fleet::{Fleet, NAME, Sentinel, Watched};
use crate::support::secured::Secured;
use crate::support::server::{Binary, Server};

/// Where the group's keys are in a Redis.
const KEY: &str = "/redis-gunyu/of-the-test";

/// Sets the end of each session of whose field the name holds a text to the year 1970; how many.
const EXPIRE: &str = "local n = 0
    for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
        if string.sub(field, 1, 9) == 'registry/' and string.find(field, ARGV[1], 1, true) then
            local ended = string.gsub(redis.call('HGET', KEYS[1], field), '^%d+', '1')
            redis.call('HSET', KEYS[1], field, ended)
            n = n + 1
        end
    end
    return n";

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `cluster.metaEtcd`
    Etcd,
    /// `cluster.metaRedis`
    Redis,
    /// The same of three shards.
    Cluster,
    /// The same of a master with a replica and three sentinels. There are no gates: sentinels name the servers themselves.
    Sentinels,
    /// Neither: the source.
    Source,
}

/// A store, behind gates; the source has its own.
#[derive(Debug)]
pub struct Store {
    gate: Option<Gate>,
    backend: Backend,
    tls: Option<Tls>,
    secured: Option<Secured>,
}

#[derive(Debug)]
enum Backend {
    Etcd(Etcd),
    Redis(Server),
    Cluster(Box<Side>),
    Sentinels(Watched),
    Source,
}

impl Store {
    /// Started.
    pub fn start(plan: &Plan, roster: &Roster) -> Store {
        let (backend, port) = match plan.store {
            Kind::Etcd => {
                let etcd = match &plan.etcd_tls {
                    None => Etcd::start(),
                    Some(tls) => Etcd::secured(&Program::newest(), tls),
                };
                let port = etcd.port();
                (Backend::Etcd(etcd), Some(port))
            }
            Kind::Redis => {
                let server = Server::reached(&Binary::installed(), &[], plan.store_secured.as_ref());
                let port = server.port();
                (Backend::Redis(server), Some(port))
            }
            Kind::Cluster => {
                let nodes = Nodes::Many(Fleet::start(3, 0));
                let side = Side::behind_gates(nodes, plan.members, &plan.world, roster);
                (Backend::Cluster(Box::new(side)), None)
            }
            Kind::Sentinels => (Backend::Sentinels(Watched::start(1, 3)), None),
            Kind::Source => (Backend::Source, None),
        };
        Store {
            gate: port.map(|port| Gate::to(port, plan.members, &plan.world, roster)),
            tls: plan.etcd_tls.clone(),
            secured: plan.store_secured.clone(),
            backend,
        }
    }

    /// Of the section `cluster`, the lines that name it.
    pub fn yaml(&self) -> String {
        let at = self.gate.as_ref().map(Gate::addr);
        match (&self.backend, at) {
            (Backend::Etcd(_), Some(at)) => {
                let tls = self
                    .tls
                    .as_ref()
                    .map(|tls| format!(", tls: {{enable: true, ca: {}}}", tls.ca.display()));
                format!(
                    "  metaEtcd: {{endpoints: [\"{at}\"]{}}}\n",
                    tls.unwrap_or_default()
                )
            }
            (Backend::Redis(_), Some(at)) => {
                let more = self
                    .secured
                    .as_ref()
                    .map(|secured| format!(", {}", secured.yaml()));
                format!(
                    "  metaRedis: {{addresses: [\"{at}\"], type: standalone{}}}\n",
                    more.unwrap_or_default()
                )
            }
            (Backend::Cluster(side), _) => format!("  metaRedis: {}\n", side.yaml()),
            (Backend::Sentinels(watched), _) => {
                let sentinels: Vec<String> = watched.sentinels.iter().map(Sentinel::addr).collect();
                format!(
                    "  metaRedis: {{type: sentinel, addresses: [{}], sentinel: {{masterName: {NAME}}}}}\n",
                    sentinels.join(", ")
                )
            }
            _ => String::new(),
        }
    }

    /// The gates before it.
    pub fn gates<'a>(&'a self, source: &'a Side) -> &'a [Gate] {
        match (&self.gate, &self.backend) {
            (Some(gate), _) => std::slice::from_ref(gate),
            (None, Backend::Cluster(side)) => side.gates(),
            (None, Backend::Source) => source.gates(),
            (None, _) => &[],
        }
    }

    /// The Redis that it is.
    #[track_caller]
    pub fn server(&self) -> &Server {
        match &self.backend {
            Backend::Redis(server) => server,
            other => panic!("not one Redis: {other:?}"),
        }
    }

    /// The master with sentinels that it is.
    #[track_caller]
    pub fn watched(&mut self) -> &mut Watched {
        match &mut self.backend {
            Backend::Sentinels(watched) => watched,
            other => panic!("no sentinels: {other:?}"),
        }
    }

    /// What a Redis finds when its wall clock was set forward: the sessions of these members, or of all where none is named, ended long ago.
    ///
    /// Written into the group's hash rather than done to a clock: the system shifts no wall clock for one process alone (time namespaces know the
    /// steady ones), and the script reads nothing but these numbers and the time.
    #[track_caller]
    pub fn expire_sessions(&self, of: &str) -> usize {
        let count: usize = self.server().run(&["EVAL", EXPIRE, "1", KEY, of]);
        assert!(count > 0, "no session of {of:?} in {KEY}");
        count
    }

    /// Ends it as a crash would. A Redis forgets everything then, an etcd nothing.
    pub fn kill9(&mut self) {
        match &mut self.backend {
            Backend::Etcd(etcd) => etcd.kill9(),
            Backend::Redis(server) => server.kill9(),
            other => panic!("not one server: {other:?}"),
        }
    }

    /// Starts it again.
    pub fn restart(&mut self) {
        match &mut self.backend {
            Backend::Etcd(etcd) => etcd.restart(),
            Backend::Redis(server) => server.restart(),
            other => panic!("not one server: {other:?}"),
        }
    }

    /// Freezes it: it takes connections and answers nothing.
    pub fn freeze(&mut self) {
        match &mut self.backend {
            Backend::Etcd(etcd) => etcd.sigstop(),
            Backend::Redis(server) => server.sigstop(),
            other => panic!("not one server: {other:?}"),
        }
    }

    /// Lets it go on.
    pub fn thaw(&mut self) {
        match &mut self.backend {
            Backend::Etcd(etcd) => etcd.sigcont(),
            Backend::Redis(server) => server.sigcont(),
            other => panic!("not one server: {other:?}"),
        }
    }
}
