//! The section `cluster`: who stands in for whom, and by which names.
//!
//! | `server.listenPeer` | as a member's name |
//! | --- | --- |
//! | an address that others can reach | good |
//! | a loopback address | good while all members are on one machine, which shows when they meet; noted |
//! | every address of the machine (0.0.0.0, ::) | refused: it reaches nobody, and all would bear it |

use std::time::Duration;

use super::Check;
use crate::cmd::config::Config;
use crate::cmd::config::address::Address;
use crate::cmd::config::sections::{Auth, Cluster, Etcd, Meta, Tls};

/// A stop needs so long to hand over what is led, at most.
const HANDOVER_TIME: Duration = Duration::from_secs(5);

/// The port of etcd, where an endpoint names none.
const ETCD_PORT: u16 = 2379;

impl Check {
    pub(super) fn cluster(&mut self) -> Option<Cluster> {
        let group_name = self.values.owned("cluster.groupName")?;
        self.group_name(&group_name);
        let lease_timeout = self.values.duration("cluster.leaseTimeout");
        Some(Cluster {
            group_name,
            meta: self.meta(),
            lease_timeout,
            lease_renew_interval: self.lease_renew_interval(lease_timeout / 3),
            auth: self.auth("cluster"),
            tls: self.peers_tls(),
        })
    }

    /// It is a part of keys in etcd and Redis, there between braces.
    fn group_name(&mut self, name: &str) {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.len() > 100 || !name.chars().all(is_part) {
            self.problem(
                "cluster.groupName",
                format!("{name:?} cannot be a part of a key"),
                "use letters, digits and . _ -, at most 100 of them",
            );
        }
    }

    fn lease_renew_interval(&mut self, most: Duration) -> Duration {
        let path = "cluster.leaseRenewInterval";
        let interval = self.values.duration_if_set(path).unwrap_or(most);
        if interval > most {
            self.note(path, "is more than a third of leaseTimeout; that third is used");
        }
        interval.min(most)
    }

    /// Members that serve TLS are reached by it.
    fn peers_tls(&mut self) -> Option<Tls> {
        let serves = self.values.text("server.tls.cert").is_some();
        let is_on = serves || self.values.flag("cluster.tls.enable");
        is_on.then(|| self.tls_that_is_on("cluster.tls"))
    }

    fn meta(&mut self) -> Meta {
        let redis = self.redis("cluster.metaRedis", "");
        let etcd = self.etcd();
        if etcd.is_some() && !redis.addresses.is_empty() {
            let message = "etcd is named as well (cluster.metaEtcd.endpoints)";
            self.problem("cluster.metaRedis.addresses", message, "name one of the two");
        }
        match etcd {
            Some(etcd) => Meta::Etcd(etcd),
            None if redis.addresses.is_empty() => Meta::Source,
            None => Meta::Redis(redis),
        }
    }

    fn etcd(&mut self) -> Option<Etcd> {
        let path = "cluster.metaEtcd.endpoints";
        let written = self.values.texts(path);
        if written.is_empty() {
            return None;
        }
        let mut tls = self.tls("cluster.metaEtcd.tls");
        let mut endpoints = Vec::new();
        for text in &written {
            let secure = text.strip_prefix("https://");
            if secure.is_some() {
                tls.get_or_insert_with(Tls::default);
            }
            let rest = secure.or(text.strip_prefix("http://")).unwrap_or(text);
            match Address::parse(rest.trim_end_matches('/'), Some(ETCD_PORT)) {
                Ok(address) => endpoints.push(address),
                Err(error) => self.problem(path, error.to_string(), "write host:port"),
            }
        }
        Some(Etcd {
            endpoints,
            user: self.values.owned("cluster.metaEtcd.username"),
            password: self.values.secret("cluster.metaEtcd.password"),
            tls,
        })
    }

    /// What the members' names ask for.
    pub(super) fn peers(&mut self, config: &Config) {
        let (server, path) = (&config.server, "server.listenPeer");
        let Some(cluster) = &config.cluster else { return };
        let peer = &server.listen_peer;
        if peer.is_unspecified() {
            let message = "this is every address of the machine: no other member can reach it, and all would bear the same name";
            let hint = "write the address by which the other members reach this machine, as 10.0.0.5:18001";
            self.problem(path, message, hint);
            return;
        }
        if peer.is_loopback() {
            let message =
                "only members on this machine can reach it; one on another machine is refused when they meet";
            self.note(path, message);
        } else if cluster.auth == Auth::None && server.auth == Auth::None {
            let message =
                "other machines reach this address, and nothing guards what the members say to each other";
            let hint = "set cluster.token or cluster.tokenFile to the same on all of them";
            self.problem(path, message, hint);
        }
        if server.graceful_stop_timeout < HANDOVER_TIME {
            let message = "a stop within less than 5s may come before what is led is handed over: then the others wait until the lease has run out";
            self.note("server.gracefullStopTimeout", message);
        }
        if server.tls.is_none() && cluster.tls.is_some() {
            let message = "the members are to be reached by TLS, and this one does not serve it";
            self.problem(
                "cluster.tls.enable",
                message,
                "set server.tls.cert and server.tls.key",
            );
        }
    }
}
