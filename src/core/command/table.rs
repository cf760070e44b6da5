//! The commands of the servers themselves, grouped by what they have in common.

use super::class::{Class, Replay};
use super::keys::KeySpec;
use super::{Command, Group, Kind, Written};

const NONE: KeySpec = KeySpec::None;
pub(super) const ONE: KeySpec = range(1, 1, 1);
const ALL: KeySpec = range(1, -1, 1);
const TWO: KeySpec = range(1, 2, 1);
const SECOND: KeySpec = range(2, 2, 1);
const BUT_LAST: KeySpec = range(1, -2, 1);

pub(super) const fn range(first: u8, last: i8, step: u8) -> KeySpec {
    KeySpec::Range { first, last, step }
}

const fn counted(at: u8) -> KeySpec {
    KeySpec::Counted { at, step: 1 }
}

pub(super) const fn destination_and_counted(at: u8) -> KeySpec {
    KeySpec::DestinationAndCounted { at }
}

/// Changes no data.
pub(super) const fn read(keys: KeySpec) -> Command {
    Command::new(keys, Replay::As(Class::Admin), false)
}

/// A write, stateful until said otherwise.
pub(super) const fn write(keys: KeySpec) -> Command {
    Command::new(keys, Replay::As(Class::Stateful), true)
}

pub(super) const fn global(kind: Kind) -> Command {
    Command::new(NONE, Replay::As(Class::Global), false).kind(kind)
}

impl Command {
    const fn blind(self) -> Command {
        self.replay(Replay::As(Class::Blind))
    }

    const fn replay(mut self, replay: Replay) -> Command {
        self.replay = replay;
        self
    }

    const fn kind(mut self, kind: Kind) -> Command {
        self.kind = kind;
        self
    }

    pub(super) const fn writing(mut self, written: Written) -> Command {
        self.written = written;
        self
    }

    pub(super) const fn separable(mut self) -> Command {
        self.separable = true;
        self
    }

    pub(super) const fn flagged_as_write(mut self) -> Command {
        self.writes = true;
        self
    }
}

/// SET's conditions and relative times.
const SET_GUARD: Replay = Replay::UnlessAfter(3, &["nx", "xx", "ex", "px", "ifeq", "ifne", "ifdeq", "ifdne"]);
const EXPIREAT_GUARD: Replay = Replay::UnlessAfter(3, &["nx", "xx", "gt", "lt"]);
const ZADD_GUARD: Replay = Replay::UnlessOption(2, &["nx", "xx", "gt", "lt", "incr"], &["ch"]);
const HEXPIREAT_GUARD: Replay = Replay::UnlessOption(3, &["nx", "xx", "gt", "lt"], &[]);
#[rustfmt::skip]
pub(super) static GROUPS: &[Group] = &[
    // Reads and the server's own affairs.
    (&["bitcount", "bitfield_ro", "bitpos", "clusterscan", "digest", "dump", "expiretime", "geodist", "geohash",
       "geopos", "georadius_ro", "georadiusbymember_ro", "geosearch", "get", "getbit", "getrange", "hexists",
       "hexpiretime", "hget", "hgetall", "hkeys", "hlen", "hmget", "hpexpiretime", "hpttl", "hrandfield", "hscan",
       "hstrlen", "httl", "hvals", "lindex", "llen", "lpos", "lrange", "pexpiretime", "pttl", "scard", "sismember",
       "smembers", "smismember", "sort_ro", "srandmember", "sscan", "strlen", "substr", "ttl", "type", "xlen",
       "xpending", "xrange", "xrevrange", "zcard", "zcount", "zlexcount", "zmscore", "zrandmember", "zrange",
       "zrangebylex", "zrangebyscore", "zrank", "zrevrange", "zrevrangebylex", "zrevrangebyscore", "zrevrank",
       "zscan", "zscore", "vcard", "vdim", "vemb", "vgetattr", "vinfo", "vismember", "vlinks", "vrandmember",
       "vrange", "vsim"], read(ONE)),
    (&["mget", "sdiff", "sinter", "sunion", "watch"], read(ALL)),
    (&["exists", "touch"], read(ALL).separable()),
    // Servers call it a read, and yet it is in their stream: it refreshes a cache within the value.
    (&["pfcount"], Command::new(ALL, Replay::As(Class::Stateful), false)),
    (&["sintercard", "zdiff", "zinter", "zintercard", "zunion"], read(counted(1))),
    (&["lcs"], read(TWO)),
    (&["stralgo"], read(KeySpec::Stralgo)),
    (&["xread"], read(KeySpec::Streams)),
    (&["memory", "object", "xinfo"], read(SECOND)),
    (&["acl", "asking", "auth", "bgrewriteaof", "bgsave", "client", "command", "commandlog", "config",
       "dbsize", "debug", "echo", "failover", "hello", "host:", "hotkeys", "info", "keys", "lastsave", "latency",
       "lolwut", "module", "monitor", "pfselftest", "post", "psubscribe", "psync", "pubsub", "punsubscribe", "quit",
       "randomkey", "readonly", "readwrite", "replicaof", "reset", "role", "save", "scan", "shutdown", "slaveof",
       "slowlog", "ssubscribe", "subscribe", "sunsubscribe", "sync", "time", "unsubscribe", "unwatch", "wait",
       "waitaof"], read(NONE)),
    (&["cluster"], read(NONE).kind(Kind::Cluster)),
    (&["ping"], read(NONE).kind(Kind::Ping)),
    (&["replconf"], read(NONE).kind(Kind::Replconf)),
    // The connection, the server, a database.
    (&["select"], global(Kind::Select)),
    (&["multi"], global(Kind::Multi)),
    (&["exec"], global(Kind::Exec)),
    (&["discard"], global(Kind::Discard)),
    (&["publish"], global(Kind::Publish)),
    (&["spublish"], global(Kind::Spublish)),
    (&["function"], global(Kind::Function)),
    (&["script"], global(Kind::Script)),
    (&["flushall"], global(Kind::Flushall).flagged_as_write()),
    (&["flushdb"], global(Kind::Flushdb).flagged_as_write()),
    (&["swapdb"], global(Kind::Swapdb).flagged_as_write()),
    (&["trimslots"], global(Kind::Trimslots).flagged_as_write()),
    (&["eval", "evalsha", "fcall"],
       Command::new(counted(2), Replay::Script, false).kind(Kind::Eval)),
    (&["eval_ro", "evalsha_ro", "fcall_ro"], read(counted(2)).kind(Kind::Eval)),
    // Blind writes.
    (&["set"], write(ONE).replay(SET_GUARD)),
    (&["getset", "hmset", "hpersist", "hset", "lset", "persist", "pfadd", "sadd", "setbit", "setrange"],
       write(ONE).blind()),
    (&["expireat", "pexpireat"], write(ONE).replay(EXPIREAT_GUARD).kind(Kind::Expireat)),
    (&["geoadd", "zadd"], write(ONE).replay(ZADD_GUARD)),
    (&["hexpireat", "hpexpireat"], write(ONE).replay(HEXPIREAT_GUARD)),
    (&["hsetex"], write(ONE).replay(Replay::Hsetex)),
    (&["restore"], write(ONE).replay(Replay::Restore).kind(Kind::Restore)),
    (&["restore-asking"], write(ONE).replay(Replay::Restore).kind(Kind::RestoreAsking)),
    (&["del"], write(ALL).blind().kind(Kind::Del).separable()),
    (&["unlink"], write(ALL).blind().kind(Kind::Unlink).separable()),
    (&["mset"], write(range(1, -1, 2)).blind().separable()),
    (&["msetex"], write(KeySpec::Counted { at: 1, step: 2 }).replay(Replay::Msetex).separable()),
    // Stateful writes.
    (&["append", "bitfield", "decr", "decrby", "delex", "delifeq", "expire", "getdel", "getex", "hdel", "hexpire", "hgetdel",
       "hgetex", "hincrby", "hincrbyfloat", "hpexpire", "hsetnx", "incr", "incrby", "incrbyfloat", "linsert", "lpop",
       "lpush", "lpushx", "lrem", "ltrim", "pexpire", "psetex", "rpop", "rpush", "rpushx", "setex", "setnx", "spop",
       "srem", "vadd", "vrem", "vsetattr", "xack", "xackdel", "xadd", "xautoclaim", "xcfgset", "xclaim", "xdel",
       "xdelex", "xidmprecord", "xsetid", "xtrim", "zincrby", "zpopmax", "zpopmin", "zrem", "zremrangebylex",
       "zremrangebyrank", "zremrangebyscore"], write(ONE)),
    (&["blmove", "brpoplpush", "lmove", "rpoplpush", "smove"], write(TWO)),
    (&["geosearchstore", "zrangestore"], write(TWO).writing(Written::First)),
    (&["pfmerge", "sdiffstore", "sinterstore", "sunionstore"], write(ALL).writing(Written::First)),
    (&["zdiffstore", "zinterstore", "zunionstore"], write(destination_and_counted(2)).writing(Written::First)),
    (&["bitop"], write(range(2, -1, 1)).writing(Written::First)),
    (&["sort"], write(KeySpec::Sort).writing(Written::Last)),
    (&["georadius", "georadiusbymember"], write(KeySpec::Georadius).writing(Written::Last)),
    (&["copy"], write(TWO).kind(Kind::Copy).writing(Written::Last)),
    (&["rename"], write(TWO).kind(Kind::Rename)),
    (&["renamenx"], write(TWO).kind(Kind::Renamenx)),
    (&["move"], write(ONE).kind(Kind::Move)),
    (&["msetnx"], write(range(1, -1, 2))),
    (&["blpop", "brpop", "bzpopmax", "bzpopmin"], write(BUT_LAST)),
    (&["lmpop", "zmpop"], write(counted(1))),
    (&["blmpop", "bzmpop"], write(counted(2))),
    (&["xreadgroup"], write(KeySpec::Streams)),
    (&["migrate"], write(KeySpec::Migrate)),
    (&["pfdebug"], write(SECOND)),
    // A container: servers flag its subcommands, not the command itself.
    (&["xgroup"], write(SECOND)),
];
