//! What holds a group's leases: an etcd, a Redis of its own, or the source itself.

use super::Plan;
use super::gate::{Gate, Roster};
use super::side::Side;
use crate::support::etcd::{Etcd, Program, Tls};
use crate::support::server::Server;

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `cluster.metaEtcd`
    Etcd,
    /// `cluster.metaRedis`
    Redis,
    /// Neither: the source.
    Source,
}

/// A store, behind a gate unless it is the source, which has its own.
#[derive(Debug)]
pub struct Store {
    gate: Option<Gate>,
    backend: Backend,
    tls: Option<Tls>,
}

#[derive(Debug)]
enum Backend {
    Etcd(Etcd),
    Redis(Server),
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
                let server = Server::start();
                let port = server.port();
                (Backend::Redis(server), Some(port))
            }
            Kind::Source => (Backend::Source, None),
        };
        Store {
            gate: port.map(|port| Gate::to(port, plan.members, &plan.world, roster)),
            tls: plan.etcd_tls.clone(),
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
                format!("  metaRedis: {{addresses: [\"{at}\"], type: standalone}}\n")
            }
            _ => String::new(),
        }
    }

    /// The gates before it.
    pub fn gates<'a>(&'a self, source: &'a Side) -> &'a [Gate] {
        match &self.gate {
            Some(gate) => std::slice::from_ref(gate),
            None => source.gates(),
        }
    }

    /// Ends it as a crash would. A Redis forgets everything then, an etcd nothing.
    pub fn kill9(&mut self) {
        match &mut self.backend {
            Backend::Etcd(etcd) => etcd.kill9(),
            Backend::Redis(server) => server.kill9(),
            Backend::Source => panic!("the source is the store"),
        }
    }

    /// Starts it again.
    pub fn restart(&mut self) {
        match &mut self.backend {
            Backend::Etcd(etcd) => etcd.restart(),
            Backend::Redis(server) => server.restart(),
            Backend::Source => panic!("the source is the store"),
        }
    }

    /// Freezes it: it takes connections and answers nothing.
    pub fn freeze(&mut self) {
        match &mut self.backend {
            Backend::Etcd(etcd) => etcd.sigstop(),
            Backend::Redis(server) => server.sigstop(),
            Backend::Source => panic!("the source is the store"),
        }
    }

    /// Lets it go on.
    pub fn thaw(&mut self) {
        match &mut self.backend {
            Backend::Etcd(etcd) => etcd.sigcont(),
            Backend::Redis(server) => server.sigcont(),
            Backend::Source => panic!("the source is the store"),
        }
    }
}
