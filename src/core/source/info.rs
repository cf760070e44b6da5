//! What a source says of itself in `INFO`.
//!
//! Owns the reading of that text (`server.c`, `genRedisInfoString`). Leaves the asking to [`super::handshake`], and outside of the link to
//! `survey`.

use crate::core::net::Address;
use crate::core::position::{History, Offset, ReplId};

/// What `INFO` told about the source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceInfo {
    /// Its lineage.
    pub history: Option<History>,
    /// Its own offset at that moment.
    pub offset: Option<Offset>,
    /// The offset after which it still has its stream; nothing where it keeps none, or does not say.
    pub kept_from: Option<Offset>,
    /// The id of the running process, to notice when source and target are one server.
    pub run_id: Option<String>,
    /// `redis_version`, or `valkey_version` where there is one.
    pub version: Option<String>,
    /// Whether it is a replica itself; nothing where it does not say.
    pub is_replica: Option<bool>,
    /// The other nodes of its shard: its replicas, and its master where it has one.
    pub shard: Vec<Address>,
}

impl SourceInfo {
    /// Reads the text of `INFO`.
    #[must_use]
    pub fn parse(text: &str) -> SourceInfo {
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
        };
        let id = |name: &str| field(name).and_then(|text| ReplId::parse(text.as_bytes()).ok());
        let history = id("master_replid").map(|current| {
            let second = field("second_repl_offset")
                .and_then(|n| n.parse().ok())
                .unwrap_or(-1);
            History::from_info(current, id("master_replid2"), second)
        });
        SourceInfo {
            history: history.or_else(|| id("run_id").map(History::new)),
            offset: field("master_repl_offset").and_then(Offset::parse),
            kept_from: field("repl_backlog_first_byte_offset")
                .filter(|_| field("repl_backlog_active") == Some("1"))
                .and_then(|first| first.parse::<u64>().ok()?.checked_sub(1))
                .and_then(Offset::told),
            run_id: field("run_id").map(str::to_owned),
            version: field("valkey_version")
                .or_else(|| field("redis_version"))
                .map(str::to_owned),
            is_replica: field("role").map(|role| role != "master"),
            shard: shard(text),
        }
    }
}

/// `slave0:ip=127.0.0.1,port=6380,state=online,…` for each replica, `master_host` and `master_port` of a replica.
fn shard(text: &str) -> Vec<Address> {
    let address = |host: &str, port: &str| {
        Some(Address {
            host: host.to_owned(),
            port: port.parse().ok()?,
        })
    };
    let replica = |line: &str| {
        let (number, facts) = line.strip_prefix("slave")?.split_once(':')?;
        number.parse::<u32>().ok()?;
        let fact = |name: &str| facts.split(',').find_map(|fact| fact.strip_prefix(name));
        // Port 0 is what gunyu announces: nobody can be asked there.
        address(fact("ip=")?, fact("port=")?).filter(|replica| replica.port > 0)
    };
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
    };
    let master = field("master_host:").zip(field("master_port:"));
    let master = master.and_then(|(host, port)| address(host, port));
    master
        .into_iter()
        .chain(text.lines().filter_map(replica))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[test]
    fn a_server_before_4_0_is_known_by_its_run_id() {
        let info = SourceInfo::parse(&format!(
            "redis_version:2.8.17\r\nrun_id:{ID}\r\nmaster_repl_offset:5\r\n"
        ));
        assert_eq!(
            info.history,
            Some(History::new(ReplId::parse(ID.as_bytes()).unwrap()))
        );
    }

    #[test]
    fn an_offset_that_cannot_be_is_none() {
        for (number, expected) in [("5", Some(5)), ("-1", None), ("9223372036854775808", None)] {
            let info = SourceInfo::parse(&format!("run_id:{ID}\r\nmaster_repl_offset:{number}\r\n"));
            assert_eq!(info.offset.map(Offset::get), expected, "{number}");
        }
    }

    #[test]
    fn the_backlog_begins_after_the_offset_before_its_first_byte() {
        for (active, first, expected) in [("1", "101", Some(100)), ("0", "101", None), ("1", "0", None)] {
            let text = format!(
                "run_id:{ID}\r\nrepl_backlog_active:{active}\r\nrepl_backlog_first_byte_offset:{first}\r\n"
            );
            let kept_from = SourceInfo::parse(&text).kept_from.map(Offset::get);
            assert_eq!(kept_from, expected, "{active} {first}");
        }
    }

    #[test]
    fn the_nodes_of_a_shard_are_its_master_and_its_replicas() {
        let text = "role:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:6379\r\nconnected_slaves:2\r\n\
                    slave0:ip=10.0.0.2,port=6380,state=online,offset=5,lag=0\r\n\
                    slave1:ip=::1,port=7,state=online\r\nslave_priority:100\r\n";
        let nodes: Vec<String> = SourceInfo::parse(text)
            .shard
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(nodes, ["10.0.0.1:6379", "10.0.0.2:6380", "[::1]:7"]);
    }
}
