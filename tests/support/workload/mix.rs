//! The table of write commands from which [`super::Writers`] draw.
//!
//! Keys come from a small space, so that commands meet each other's keys; their names begin with the type, so that most
//! of the commands succeed. Some are meant to be refused (another type, a missing key): a refused command changes
//! nothing and must not reach the target.

use super::Draw;
use crate::support::wire::{Batch, put};

/// Databases in which the writers work; the last three are flushed and swapped now and then.
pub const DATABASES: [u32; 4] = [0, 1, 2, 9];
const FLUSHED: u32 = 14;
const SWAPPED: [u32; 2] = [12, 13];

/// How many keys of a type there are, in each database.
const KEYS: usize = 150;

/// One kind of write.
pub struct Write {
    /// How often, in relation to the others.
    pub weight: usize,
    /// Left out where the server does not know this command.
    pub needs: &'static str,
    /// Appends the command, or a few that belong together.
    pub make: fn(&mut Draw, &mut Batch),
}

macro_rules! writes {
    ($($weight:literal $needs:literal |$draw:pat_param, $batch:ident| $make:expr;)+) => {
        &[$(Write { weight: $weight, needs: $needs, make: |$draw, $batch| { $make } }),+]
    };
}

/// Source of a library with one function, `write_LIBRARY`.
pub fn library(name: &str) -> String {
    format!(
        "#!lua name={name}\nredis.register_function('write_{name}', function(keys, args) \
         redis.call('INCR', keys[1]) return redis.call('RPUSH', keys[2], args[1]) end)"
    )
}

const SCRIPT: &str = "redis.call('INCRBY', KEYS[1], ARGV[1]) redis.call('RPUSH', KEYS[2], ARGV[1]) \
    return redis.call('HSET', KEYS[3], ARGV[1], ARGV[1])";

/// A script whose writes differ each time it runs: its effects must be replicated, not itself.
const SCRIPT_BY_CHANCE: &str = "if redis.replicate_commands then redis.replicate_commands() end \
    local member = redis.call('SRANDMEMBER', KEYS[1]) \
    if member then redis.call('SREM', KEYS[1], member) redis.call('LPUSH', KEYS[2], member) end \
    return redis.call('SET', KEYS[3], redis.call('TIME')[1])";

fn key(draw: &mut Draw, kind: &str) -> String {
    format!("w:{kind}:{}", draw.below(KEYS))
}

/// Now and then a key of whatever type, to be refused.
fn any_key(draw: &mut Draw) -> String {
    let kind = draw.of(&[
        "str", "num", "list", "set", "zset", "hash", "stream", "hll", "bits", "geo",
    ]);
    key(draw, kind)
}

fn small(draw: &mut Draw) -> i32 {
    draw.0.i32(-20..20)
}

fn member(draw: &mut Draw) -> String {
    format!("m{}", draw.below(60))
}

/// A key that nobody writes to again. A target further behind than a key has to live expires it before a renewal that is still on its way:
/// README names that limit, and a loaded machine meets it at random. So what expires soon is not renewed here.
fn mayfly(draw: &mut Draw) -> String {
    format!("w:mayfly:{}", draw.below(1 << 60))
}

fn soon_ms(draw: &mut Draw) -> usize {
    20 + draw.below(3_000)
}

/// Long after the test.
fn late_ms(draw: &mut Draw) -> usize {
    10_000_000 + draw.below(10_000_000)
}

/// Every write.
pub const WRITES: &[Write] = writes! {
    // Strings and numbers.
    60 "SET" |d, b| put!(b, "SET", key(d, "str"), d.value());
    10 "SET" |d, b| put!(b, "SET", key(d, "str"), d.value(), "PX", late_ms(d));
    10 "SET" |d, b| put!(b, "SET", mayfly(d), d.value(), "PX", soon_ms(d));
    5 "SET" |d, b| put!(b, "SET", key(d, "str"), d.value(), "EX", 100_000, "NX");
    5 "SET" |d, b| put!(b, "SET", key(d, "str"), d.value(), "XX");
    3 "GETEX" |d, b| put!(b, "SET", key(d, "str"), d.value(), "KEEPTTL");
    5 "GETEX" |d, b| put!(b, "GETEX", key(d, "str"), "PX", late_ms(d));
    3 "GETEX" |d, b| put!(b, "GETEX", key(d, "str"), "PERSIST");
    3 "GETDEL" |d, b| put!(b, "GETDEL", key(d, "str"));
    5 "GETSET" |d, b| put!(b, "GETSET", key(d, "str"), d.value());
    5 "SETEX" |d, b| put!(b, "SETEX", mayfly(d), 1 + d.below(3), d.value());
    5 "PSETEX" |d, b| put!(b, "PSETEX", mayfly(d), soon_ms(d), d.value());
    5 "SETNX" |d, b| put!(b, "SETNX", key(d, "str"), d.value());
    8 "MSET" |d, b| put!(b, "MSET", key(d, "str"), d.value(), key(d, "str"), d.value());
    3 "MSETNX" |d, b| put!(b, "MSETNX", key(d, "str"), d.value(), key(d, "str"), d.value());
    8 "APPEND" |d, b| put!(b, "APPEND", key(d, "str"), d.word());
    5 "SETRANGE" |d, b| put!(b, "SETRANGE", key(d, "str"), d.below(100), d.word());
    20 "INCR" |d, b| put!(b, "INCR", key(d, "num"));
    8 "INCRBY" |d, b| put!(b, "INCRBY", key(d, "num"), small(d));
    5 "DECRBY" |d, b| put!(b, "DECRBY", key(d, "num"), small(d));
    5 "INCRBYFLOAT" |d, b| put!(b, "INCRBYFLOAT", key(d, "float"), format!("{}.{}", small(d), d.below(99)));
    1 "SET" |d, b| { let long = d.bytes(150_000); put!(b, "SET", format!("w:large:{}", d.below(8)), long) };
    // Bitmaps and HyperLogLogs.
    8 "SETBIT" |d, b| put!(b, "SETBIT", key(d, "bits"), d.below(5_000), d.below(2));
    5 "BITFIELD" |d, b| put!(b, "BITFIELD", key(d, "bits"), "INCRBY", "i9", d.below(300), small(d));
    3 "BITOP" |d, b| put!(b, "BITOP", "XOR", key(d, "bits"), key(d, "bits"), key(d, "bits"));
    8 "PFADD" |d, b| put!(b, "PFADD", key(d, "hll"), d.value(), d.value());
    3 "PFMERGE" |d, b| put!(b, "PFMERGE", key(d, "hll"), key(d, "hll"));
    1 "PFCOUNT" |d, b| put!(b, "PFCOUNT", key(d, "hll")); // writes its cache
    // Lists.
    15 "RPUSH" |d, b| put!(b, "RPUSH", key(d, "list"), d.value(), d.value());
    10 "LPUSH" |d, b| put!(b, "LPUSH", key(d, "list"), d.value());
    3 "RPUSHX" |d, b| put!(b, "RPUSHX", key(d, "list"), d.value());
    8 "LPOP" |d, b| put!(b, "LPOP", key(d, "list"));
    8 "RPOP" |d, b| put!(b, "RPOP", key(d, "list"));
    3 "LMOVE" |d, b| put!(b, "LPOP", key(d, "list"), 2);
    3 "LMPOP" |d, b| put!(b, "LMPOP", 2, key(d, "list"), key(d, "list"), "LEFT", "COUNT", 2);
    5 "LSET" |d, b| put!(b, "LSET", key(d, "list"), small(d), d.value());
    5 "LINSERT" |d, b| put!(b, "LINSERT", key(d, "list"), "BEFORE", d.value(), d.value());
    3 "LREM" |d, b| put!(b, "LREM", key(d, "list"), small(d), d.value());
    5 "LTRIM" |d, b| put!(b, "LTRIM", key(d, "list"), d.below(4), -1 - i64::from(d.one_in(2)));
    5 "RPOPLPUSH" |d, b| put!(b, "RPOPLPUSH", key(d, "list"), key(d, "list"));
    5 "LMOVE" |d, b| put!(b, "LMOVE", key(d, "list"), key(d, "list"), "LEFT", "RIGHT");
    // Sets.
    15 "SADD" |d, b| put!(b, "SADD", key(d, "set"), member(d), d.integer());
    8 "SREM" |d, b| put!(b, "SREM", key(d, "set"), member(d), member(d));
    5 "SPOP" |d, b| put!(b, "SPOP", key(d, "set"));
    3 "SPOP" |d, b| put!(b, "SPOP", key(d, "set"), d.below(5));
    5 "SMOVE" |d, b| put!(b, "SMOVE", key(d, "set"), key(d, "set"), member(d));
    3 "SINTERSTORE" |d, b| put!(b, "SINTERSTORE", key(d, "set"), key(d, "set"), key(d, "set"));
    3 "SUNIONSTORE" |d, b| put!(b, "SUNIONSTORE", key(d, "set"), key(d, "set"), key(d, "set"));
    3 "SDIFFSTORE" |d, b| put!(b, "SDIFFSTORE", key(d, "set"), key(d, "set"), key(d, "set"));
    // Sorted sets and places.
    15 "ZADD" |d, b| put!(b, "ZADD", key(d, "zset"), d.score(), member(d), small(d), member(d));
    5 "ZADD" |d, b| put!(b, "ZADD", key(d, "zset"), d.of(&["NX", "XX"]), small(d), member(d));
    3 "ZRANGESTORE" |d, b| put!(b, "ZADD", key(d, "zset"), d.of(&["GT", "LT"]), "CH", small(d), member(d));
    5 "ZADD" |d, b| put!(b, "ZADD", key(d, "zset"), "INCR", small(d), member(d));
    5 "ZINCRBY" |d, b| put!(b, "ZINCRBY", key(d, "zset"), small(d), member(d));
    5 "ZREM" |d, b| put!(b, "ZREM", key(d, "zset"), member(d));
    3 "ZPOPMIN" |d, b| put!(b, "ZPOPMIN", key(d, "zset"), d.below(3));
    3 "ZPOPMAX" |d, b| put!(b, "ZPOPMAX", key(d, "zset"));
    3 "ZREMRANGEBYRANK" |d, b| put!(b, "ZREMRANGEBYRANK", key(d, "zset"), 0, d.below(3));
    3 "ZREMRANGEBYSCORE" |d, b| put!(b, "ZREMRANGEBYSCORE", key(d, "zset"), "(0", small(d));
    3 "ZUNIONSTORE" |d, b| put!(b, "ZUNIONSTORE", key(d, "zset"), 2, key(d, "zset"), key(d, "zset"), "AGGREGATE", "MIN");
    3 "ZINTERSTORE" |d, b| put!(b, "ZINTERSTORE", key(d, "zset"), 2, key(d, "zset"), key(d, "zset"), "AGGREGATE", "MAX");
    3 "ZRANGESTORE" |d, b| put!(b, "ZRANGESTORE", key(d, "zset"), key(d, "zset"), 0, 5);
    5 "GEOADD" |d, b| put!(b, "GEOADD", key(d, "geo"), d.below(180), d.below(80), member(d));
    3 "GEOSEARCHSTORE" |d, b| put!(b, "GEOSEARCHSTORE", key(d, "geo"), key(d, "geo"), "FROMLONLAT", 90, 40, "BYRADIUS", 5000, "km");
    // Hashes.
    15 "HSET" |d, b| put!(b, "HMSET", key(d, "hash"), member(d), d.value(), member(d), d.integer());
    5 "HSETNX" |d, b| put!(b, "HSETNX", key(d, "hash"), member(d), d.value());
    8 "HDEL" |d, b| put!(b, "HDEL", key(d, "hash"), member(d), member(d));
    8 "HINCRBY" |d, b| put!(b, "HINCRBY", key(d, "hash"), member(d), small(d));
    5 "HINCRBYFLOAT" |d, b| put!(b, "HINCRBYFLOAT", key(d, "hash"), member(d), "0.25");
    5 "HPEXPIRE" |d, b| put!(b, "HPEXPIRE", key(d, "hash"), late_ms(d), "FIELDS", 1, member(d));
    2 "HPERSIST" |d, b| put!(b, "HPERSIST", key(d, "hash"), "FIELDS", 1, member(d));
    // Streams.
    12 "XADD" |d, b| put!(b, "XADD", key(d, "stream"), "*", member(d), d.value());
    5 "XADD" |d, b| put!(b, "XADD", key(d, "stream"), "MAXLEN", "~", 20, "*", "f", d.value());
    3 "XADD" |d, b| put!(b, "XTRIM", key(d, "stream"), "MAXLEN", 15);
    3 "XAUTOCLAIM" |d, b| put!(b, "XADD", key(d, "stream"), "NOMKSTREAM", "MINID", "1-1", "*", "f", d.value());
    3 "XGROUP" |d, b| put!(b, "XGROUP", "CREATE", key(d, "stream"), "g", "0", "MKSTREAM");
    1 "XGROUP" |d, b| put!(b, "XGROUP", "DESTROY", key(d, "stream"), "g");
    1 "XGROUP" |d, b| put!(b, "XGROUP", "SETID", key(d, "stream"), "g", "0");
    1 "XGROUP" |d, b| put!(b, "XGROUP", "DELCONSUMER", key(d, "stream"), "g", "alice");
    8 "XREADGROUP" |d, b| put!(b, "XREADGROUP", "GROUP", "g", d.of(&["alice", "bob"]), "COUNT", 3, "STREAMS", key(d, "stream"), ">");
    3 "XAUTOCLAIM" |d, b| put!(b, "XAUTOCLAIM", key(d, "stream"), "g", "carol", 0, "0", "COUNT", 2);
    3 "XCLAIM" |d, b| put!(b, "XCLAIM", key(d, "stream"), "g", "dave", 0, "1-1", "FORCE");
    3 "XACK" |d, b| put!(b, "XACK", key(d, "stream"), "g", "1-1");
    // Whole keys.
    10 "DEL" |d, b| put!(b, "DEL", any_key(d), any_key(d));
    8 "UNLINK" |d, b| put!(b, "UNLINK", any_key(d), any_key(d), any_key(d));
    8 "PEXPIRE" |d, b| put!(b, "PEXPIRE", any_key(d), late_ms(d));
    5 "EXPIRE" |d, b| put!(b, "EXPIRE", any_key(d), 50_000);
    2 "EXPIREAT" |d, b| put!(b, "EXPIREAT", any_key(d), 1_000_000); // long past: deletes
    5 "PERSIST" |d, b| put!(b, "PERSIST", any_key(d));
    5 "RENAME" |d, b| put!(b, "RENAME", key(d, "str"), key(d, "str"));
    3 "RENAMENX" |d, b| put!(b, "RENAMENX", key(d, "hash"), key(d, "hash"));
    5 "COPY" |d, b| put!(b, "COPY", key(d, "zset"), key(d, "zset"), "REPLACE");
    3 "COPY" |d, b| put!(b, "COPY", key(d, "list"), key(d, "list"), "DB", d.of(&DATABASES), "REPLACE");
    3 "MOVE" |d, b| put!(b, "MOVE", key(d, "set"), d.of(&DATABASES));
    3 "SORT" |d, b| put!(b, "SORT", key(d, "num-list"), "STORE", key(d, "num-list"));
    3 "RPUSH" |d, b| put!(b, "RPUSH", key(d, "num-list"), d.integer());
    5 "SET" |d, b| put!(b, "INCR", any_key(d)); // mostly refused
    5 "SET" |d, b| put!(b, "LPUSH", any_key(d), "x"); // mostly refused
    // Scripts, functions, messages.
    5 "EVAL" |d, b| put!(b, "EVAL", SCRIPT, 3, key(d, "num"), key(d, "list"), key(d, "hash"), small(d));
    3 "COPY" |d, b| put!(b, "EVAL", SCRIPT_BY_CHANCE, 3, key(d, "set"), key(d, "list"), key(d, "str"));
    2 "SCRIPT" |_, b| put!(b, "SCRIPT", "LOAD", SCRIPT);
    2 "FUNCTION" |d, b| put!(b, "FUNCTION", "LOAD", "REPLACE", library(d.of(&["mix_a", "mix_b", "mix_c"])));
    1 "FUNCTION" |_, b| put!(b, "FUNCTION", "DELETE", "mix_c");
    5 "FCALL" |d, b| put!(b, "FCALL", format!("write_{}", d.of(&["mix_a", "mix_b", "mix_c"])), 2, key(d, "num"), key(d, "list"), small(d));
    5 "PUBLISH" |d, b| put!(b, "PUBLISH", "news", d.value());
    2 "SPUBLISH" |d, b| put!(b, "SPUBLISH", "news", d.value());
    // Databases.
    20 "SELECT" |d, b| put!(b, "SELECT", d.of(&DATABASES));
    1 "FLUSHDB" |d, b| flush(d, b);
    1 "SWAPDB" |d, b| swap(d, b);
};

/// Empties a database of its own, after some writes into it; ends in one of the usual databases.
fn flush(draw: &mut Draw, batch: &mut Batch) {
    put!(batch, "SELECT", FLUSHED);
    put!(batch, "SET", key(draw, "str"), draw.value());
    put!(batch, "FLUSHDB");
    put!(batch, "HMSET", key(draw, "hash"), member(draw), draw.value());
    put!(batch, "SELECT", draw.of(&DATABASES));
}

fn swap(draw: &mut Draw, batch: &mut Batch) {
    put!(batch, "SELECT", draw.of(&SWAPPED));
    put!(batch, "SET", key(draw, "str"), draw.value());
    put!(batch, "SWAPDB", SWAPPED[0], SWAPPED[1]);
    put!(batch, "RPUSH", key(draw, "list"), draw.value());
    put!(batch, "SELECT", draw.of(&DATABASES));
}
