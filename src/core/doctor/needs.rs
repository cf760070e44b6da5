//! The permissions that gunyu needs on both sides: README's table, as data.
//!
//! `tests/doctor` holds the two to be the same. Each has arguments with which it can be tried, or asked about, without any effect: on a key that is gunyu's own name and that
//! nobody has.

use super::Shape;
use super::info::Version;

/// When a permission is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Nothing works without it.
    Always,
    /// Some things do not work without it.
    Sometimes(&'static str),
    /// In a cluster nothing works without it.
    Cluster,
    /// Behind sentinels nothing works without it.
    Named,
    /// For other commands than `sync`, or where it is asked in vain the usual is assumed: its absence is no fault.
    Elsewhere,
}

/// A command that gunyu sends.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    /// As an ACL rule has it after the `+`: `client|list`.
    pub command: &'static str,
    /// When.
    pub when: When,
    /// Servers before it do not know the command. Valkey knows all of Redis 7.2.
    pub since: (u32, u32),
    /// Arguments that do nothing.
    pub(super) args: &'static [&'static str],
}

const fn need(command: &'static str, when: When, since: (u32, u32), args: &'static [&'static str]) -> Need {
    Need {
        command,
        when,
        since,
        args,
    }
}

impl Need {
    /// Whether it is needed on a side of that shape.
    pub(super) const fn applies(&self, shape: &Shape) -> bool {
        match self.when {
            When::Always | When::Sometimes(_) => true,
            When::Cluster => shape.is_cluster(),
            When::Named => matches!(shape, Shape::Named { .. }),
            When::Elsewhere => false,
        }
    }

    /// Whether such a server knows it.
    pub(super) fn is_known(&self, version: Option<Version>) -> bool {
        version.is_none_or(|version| version.knows_since(self.since))
    }
}

/// A key that nobody has.
pub(super) const KEY: &str = "redis-gunyu-doctor";

use When::{Always, Cluster, Elsewhere, Named, Sometimes};

const OLD: (u32, u32) = (0, 0);

const FENCE: When = Sometimes("end the connections of a gunyu that another has taken over from");
const PIECES: When = Sometimes("write values with the commands of their types");
const FUNCTIONS: When = Sometimes("delete functions that the source no longer has");
const FLUSH: When = Sometimes("flush the target before a full sync");

/// On a source.
pub const SOURCE: &[Need] = &[
    need("ping", Always, OLD, &[]),
    need(
        "info",
        Sometimes("see by itself whether a stream can be continued"),
        OLD,
        &[],
    ),
    need("replconf", Always, OLD, &[]),
    need("psync", Always, (2, 8), &["?", "-1"]),
    need("cluster|nodes", Cluster, (3, 0), &[]),
    need("cluster|slots", Elsewhere, (3, 0), &[]),
    need("role", Named, (2, 8), &[]),
];

/// On sentinels.
pub const SENTINELS: &[Need] = &[
    need("sentinel|get-master-addr-by-name", Always, OLD, &[KEY]),
    need("sentinel|master", Always, OLD, &[KEY]),
    need("sentinel|sentinels", Always, OLD, &[KEY]),
    need("subscribe", Always, OLD, &["+switch-master"]),
];

/// What sentinels tell of a failover.
pub const SENTINELS_CHANNEL: &str = "+switch-master";

/// On a target, beside what is replicated.
pub const TARGET: &[Need] = &[
    need("multi", Always, OLD, &[]),
    need("exec", Always, OLD, &[]),
    need("watch", Always, OLD, &[KEY]),
    need("unwatch", Always, OLD, &[]),
    need("hset", Always, OLD, &[KEY, "f", "v"]),
    need("hget", Always, OLD, &[KEY, "f"]),
    need("hgetall", Always, OLD, &[KEY]),
    need("del", Always, OLD, &[KEY]),
    need("unlink", Always, (4, 0), &[KEY]),
    need("select", Always, OLD, &["0"]),
    need("client|setname", FENCE, (2, 8), &[""]),
    need("client|list", FENCE, OLD, &[]),
    need("client|kill", FENCE, OLD, &["127.0.0.1:0"]),
    need("restore", Always, (2, 6), &[KEY, "0", "x"]),
    need("set", Always, OLD, &[KEY, "v", "XX"]),
    need("dump", Always, (2, 6), &[KEY]),
    need("info", Always, OLD, &[]),
    need("dbsize", Always, OLD, &[]),
    need("exists", Always, OLD, &[KEY]),
    need("scan", Always, (2, 8), &["0"]),
    need("pttl", Always, (2, 6), &[KEY]),
    need("pexpireat", Always, (2, 6), &[KEY, "1"]),
    need("time", Always, (2, 6), &[]),
    need("config|get", Elsewhere, OLD, &["proto-max-bulk-len"]),
    need("rename", PIECES, OLD, &[KEY, KEY]),
    need("renamenx", PIECES, OLD, &[KEY, KEY]),
    need("lindex", PIECES, OLD, &[KEY, "0"]),
    need("lpop", PIECES, OLD, &[KEY]),
    need("ltrim", PIECES, OLD, &[KEY, "0", "0"]),
    need("llen", PIECES, OLD, &[KEY]),
    need("getrange", PIECES, OLD, &[KEY, "0", "0"]),
    need("hdel", PIECES, OLD, &[KEY, "f"]),
    need("hexists", PIECES, OLD, &[KEY, "f"]),
    need("strlen", PIECES, OLD, &[KEY]),
    need("scard", PIECES, OLD, &[KEY]),
    need("zcard", PIECES, OLD, &[KEY]),
    need("hlen", PIECES, OLD, &[KEY]),
    need("xlen", PIECES, (5, 0), &[KEY]),
    need("xrevrange", PIECES, (5, 0), &[KEY, "+", "-"]),
    need("xpending", PIECES, (5, 0), &[KEY, "g"]),
    need("xsetid", PIECES, (5, 0), &[KEY, "1-1"]),
    need("xtrim", PIECES, (5, 0), &[KEY, "MAXLEN", "1"]),
    need("xclaim", PIECES, (5, 0), &[KEY, "g", "c", "0", "1-1"]),
    need("xgroup", PIECES, (5, 0), &["DESTROY", KEY, "g"]),
    need("setrange", PIECES, OLD, &[KEY, "0", ""]),
    need("hpexpireat", PIECES, (7, 4), &[KEY, "1", "FIELDS", "1", "f"]),
    need("function|list", FUNCTIONS, (7, 0), &[]),
    need("function|delete", FUNCTIONS, (7, 0), &[KEY]),
    need("flushdb", FLUSH, OLD, &[]),
    need("cluster|slots", Cluster, (3, 0), &[]),
    need("asking", Cluster, (3, 0), &[]),
    need("hmget", Cluster, OLD, &[KEY, "f"]),
    need("role", Named, (2, 8), &[]),
];

/// Never tried, only asked about: were a proxy to take the transaction in which they are tried for none, it would not be without effect.
pub(super) const TOO_HOT: &[&str] = &["flushdb", "flushall"];

/// What goes on as it was called, in every version: those of them that the source's clients have called are needed on the target too.
pub(super) const REPLICATED: &[Need] = &[
    need("append", Always, OLD, &[KEY, ""]),
    need("copy", Always, (6, 2), &[KEY, KEY]),
    need("decr", Always, OLD, &[KEY]),
    need("decrby", Always, OLD, &[KEY, "0"]),
    need("geoadd", Always, (3, 2), &[KEY, "XX", "0", "0", "m"]),
    need("hincrby", Always, OLD, &[KEY, "f", "0"]),
    need("hmset", Always, OLD, &[KEY, "f", "v"]),
    need("hsetnx", Always, OLD, &[KEY, "f", "v"]),
    need("incr", Always, OLD, &[KEY]),
    need("incrby", Always, OLD, &[KEY, "0"]),
    need("linsert", Always, OLD, &[KEY, "BEFORE", "p", "e"]),
    need("lpush", Always, OLD, &[KEY, "e"]),
    need("lrem", Always, OLD, &[KEY, "0", "e"]),
    need("lset", Always, OLD, &[KEY, "0", "e"]),
    need("mset", Always, OLD, &[KEY, "v"]),
    need("msetnx", Always, OLD, &[KEY, "v"]),
    need("persist", Always, OLD, &[KEY]),
    need("pfadd", Always, (2, 8), &[KEY, "e"]),
    need("publish", Always, OLD, &[KEY, ""]),
    need("rpop", Always, OLD, &[KEY]),
    need("rpush", Always, OLD, &[KEY, "e"]),
    need("sadd", Always, OLD, &[KEY, "m"]),
    need("setbit", Always, OLD, &[KEY, "0", "0"]),
    need("smove", Always, OLD, &[KEY, KEY, "m"]),
    need("srem", Always, OLD, &[KEY, "m"]),
    need("bitop", Always, (2, 6), &["AND", KEY, KEY]),
    need("flushall", Sometimes("follow a FLUSHALL"), OLD, &[]),
    need(
        "geosearchstore",
        Always,
        (6, 2),
        &[KEY, KEY, "FROMMEMBER", "m", "BYRADIUS", "1", "m"],
    ),
    need("hpersist", Always, (7, 4), &[KEY, "FIELDS", "1", "f"]),
    need("hsetex", Always, (8, 0), &[KEY, "FXX", "FIELDS", "1", "f", "v"]),
    need("lmove", Always, (6, 2), &[KEY, KEY, "LEFT", "LEFT"]),
    need("lpushx", Always, OLD, &[KEY, "e"]),
    need("move", Always, OLD, &[KEY, "0"]),
    need("msetex", Always, (8, 4), &["1", KEY, "v", "XX"]),
    need("pfmerge", Always, (2, 8), &[KEY, KEY]),
    need("rpoplpush", Always, OLD, &[KEY, KEY]),
    need("rpushx", Always, OLD, &[KEY, "e"]),
    need("sdiffstore", Always, OLD, &[KEY, KEY]),
    need("setnx", Always, OLD, &[KEY, "v"]),
    need("sinterstore", Always, OLD, &[KEY, KEY]),
    need("spublish", Always, (7, 0), &[KEY, ""]),
    need("sunionstore", Always, OLD, &[KEY, KEY]),
    need("zdiffstore", Always, (6, 2), &[KEY, "1", KEY]),
    need("zinterstore", Always, OLD, &[KEY, "1", KEY]),
    need("zpopmax", Always, (5, 0), &[KEY]),
    need("zpopmin", Always, (5, 0), &[KEY]),
    need("zrangestore", Always, (6, 2), &[KEY, KEY, "0", "0"]),
    need("zremrangebylex", Always, (2, 8), &[KEY, "-", "+"]),
    need("zunionstore", Always, OLD, &[KEY, "1", KEY]),
    need("xack", Always, (5, 0), &[KEY, "g", "1-1"]),
    need("xadd", Always, (5, 0), &[KEY, "NOMKSTREAM", "*", "f", "v"]),
    need("xdel", Always, (5, 0), &[KEY, "1-1"]),
    need("zadd", Always, OLD, &[KEY, "XX", "0", "m"]),
    need("zincrby", Always, OLD, &[KEY, "0", "m"]),
    need("zrem", Always, OLD, &[KEY, "m"]),
    need("zremrangebyrank", Always, OLD, &[KEY, "0", "0"]),
    need("zremrangebyscore", Always, OLD, &[KEY, "0", "0"]),
];

/// What goes on as another command, which is then needed: as it was called, and as it is replicated.
pub(super) const REPLICATED_AS: &[(&str, &str)] = &[
    ("blmove", "lmove"),
    ("blmpop", "lpop"),
    ("blpop", "lpop"),
    ("brpop", "rpop"),
    ("brpoplpush", "rpoplpush"),
    ("bzmpop", "zpopmin"),
    ("bzpopmax", "zpopmax"),
    ("bzpopmin", "zpopmin"),
    ("getdel", "del"),
    ("hexpire", "hpexpireat"),
    ("hexpireat", "hpexpireat"),
    ("hgetdel", "hdel"),
    ("hincrbyfloat", "hset"),
    ("hpexpire", "hpexpireat"),
    ("incrbyfloat", "set"),
    ("lmpop", "lpop"),
    ("migrate", "del"),
    ("restore-asking", "restore"),
    ("spop", "srem"),
    ("xautoclaim", "xclaim"),
    ("xreadgroup", "xclaim"),
    ("zmpop", "zpopmin"),
];

/// Nothing is asked about these: whether and as what they go on depends on their arguments, or on the source's version.
#[cfg(test)]
const NOT_ASKED: &[&str] = &[
    "bitfield",
    "delex",
    "delifeq",
    "eval",
    "evalsha",
    "expire",
    "expireat",
    "fcall",
    "georadius",
    "georadiusbymember",
    "getex",
    "getset",
    "hgetex",
    "pexpire",
    "pfdebug",
    "psetex",
    "setex",
    "sort",
    "swapdb",
    "trimslots",
    "vadd",
    "vrem",
    "vsetattr",
    "xackdel",
    "xcfgset",
    "xdelex",
    "xidmprecord",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::command;

    /// Modules' commands are left to the rule of modules.
    #[test]
    fn every_write_of_the_servers_is_asked_about_or_is_left_out_on_purpose() {
        let asked = |name: &str| {
            let mut all = TARGET.iter().chain(REPLICATED);
            all.any(|need| need.command == name)
        };
        for (name, goes_on) in REPLICATED_AS {
            assert!(!asked(name) && asked(goes_on), "{name} as {goes_on}");
        }
        for name in NOT_ASKED {
            assert!(!asked(name), "{name}");
        }
        let writes = command::all().filter(|command| command.writes && !command.name.contains('.'));
        for name in writes.map(|command| command.name) {
            let is_other = REPLICATED_AS.iter().any(|(called, _)| *called == name);
            assert!(asked(name) || is_other || NOT_ASKED.contains(&name), "{name}");
        }
    }

    #[test]
    fn no_permission_stands_twice_in_a_table() {
        for table in [SOURCE, SENTINELS, TARGET, REPLICATED] {
            for (number, need) in table.iter().enumerate() {
                let twice = table[number + 1..]
                    .iter()
                    .any(|other| other.command == need.command);
                assert!(!twice, "{}", need.command);
            }
        }
        for need in REPLICATED {
            assert!(
                TARGET.iter().all(|other| other.command != need.command),
                "{}",
                need.command
            );
        }
    }
}
