//! Fills a server with keys of every type and encoding, fast: pipelined, mostly small values, a few large ones.
//!
//! The same seed gives the same data, but for what is bound to the clock: times of expiry and of delivery.

use std::collections::HashSet;
use std::sync::mpsc;
use std::time::Duration;

use super::{Draw, Seed};
use crate::support::now_ms;
use crate::support::server::Server;
use crate::support::wire::{Batch, put};

/// One kind of key.
struct Shape {
    /// How often, in relation to the others.
    weight: usize,
    /// Left out where the server does not know this command.
    needs: &'static str,
    /// Appends the commands that make the key.
    make: fn(&mut Draw, &mut Batch, &[u8]),
}

const fn shape(weight: usize, needs: &'static str, make: fn(&mut Draw, &mut Batch, &[u8])) -> Shape {
    Shape { weight, needs, make }
}

const SHAPES: &[Shape] = &[
    shape(1500, "SET", string_integer),
    shape(2500, "SET", string_short),
    shape(1000, "SET", string_long),
    shape(300, "SET", string_compressible),
    shape(50, "SET", string_empty),
    shape(100, "APPEND", string_appended),
    shape(8, "SET", string_large),
    shape(100, "SETBIT", bitmap),
    shape(60, "PFADD", hyperloglog_sparse),
    shape(1, "PFADD", hyperloglog_dense),
    shape(600, "RPUSH", list_small),
    shape(60, "RPUSH", list_of_large_elements),
    shape(6, "RPUSH", list_of_many_elements),
    shape(300, "SADD", set_of_integers),
    shape(300, "SADD", set_of_words),
    shape(100, "SADD", set_with_a_long_member),
    shape(6, "SADD", set_of_many_members),
    shape(400, "ZADD", zset_small),
    shape(100, "ZADD", zset_with_a_long_member),
    shape(6, "ZADD", zset_of_many_members),
    shape(60, "GEOADD", geo),
    shape(800, "HSET", hash_small),
    shape(150, "HSET", hash_with_a_long_value),
    shape(6, "HSET", hash_of_many_fields),
    shape(60, "HPEXPIRE", hash_with_field_ttls),
    shape(200, "XADD", stream_small),
    shape(80, "XADD", stream_with_groups),
    shape(3, "XADD", stream_of_many_entries),
];

/// Commands in one write: large enough for speed, small enough for the server's buffers.
const BATCH_BYTES: usize = 256 << 10;

/// What to fill a server with.
#[derive(Debug, Clone)]
pub struct Fill {
    /// How many keys.
    pub keys: usize,
    /// Spread over these databases, most of them in the first.
    pub databases: Vec<u32>,
    /// Whether some keys expire within seconds.
    pub short_ttls: bool,
    /// Whether libraries of functions are loaded (where the server knows them).
    pub functions: bool,
}

impl Fill {
    /// So many keys in four databases, with times of expiry short and long, and with functions.
    pub fn keys(keys: usize) -> Fill {
        Fill {
            keys,
            databases: vec![0, 1, 5, 15],
            short_ttls: true,
            functions: true,
        }
    }

    /// Without what the clock changes: no key expires soon.
    pub fn lasting(keys: usize) -> Fill {
        Fill {
            short_ttls: false,
            ..Fill::keys(keys)
        }
    }

    /// Fills `server`: one thread draws while another sends and reads the replies.
    #[track_caller]
    pub fn run(&self, server: &Server, seed: &Seed) {
        let known = server.commands();
        let mut conn = server.conn();
        std::thread::scope(|scope| {
            let (drawn, batches) = mpsc::sync_channel::<Batch>(4);
            let sending =
                scope.spawn(move || batches.iter().for_each(|mut batch| drop(batch.must(&mut conn))));
            self.draw(&known, seed, &drawn);
            drop(drawn);
            sending.join().expect("no command of the filling is refused");
        });
    }

    fn draw(&self, known: &HashSet<String>, seed: &Seed, drawn: &mpsc::SyncSender<Batch>) {
        let mut draw = Draw(seed.rng(0xF111));
        let mut batch = Batch::default();
        let shapes: Vec<&Shape> = SHAPES
            .iter()
            .filter(|shape| known.contains(shape.needs))
            .collect();
        let total = shapes.iter().map(|shape| shape.weight).sum();
        for number in 0..self.keys {
            if number % 50 == 0 {
                put!(batch, "SELECT", self.database(&mut draw));
            }
            let key = name(&mut draw, number);
            (pick(&shapes, draw.below(total)).make)(&mut draw, &mut batch, &key);
            self.expire(&mut draw, &mut batch, &key);
            // Once the sending thread has failed, its panic is the one that counts.
            if batch.len_bytes() > BATCH_BYTES && drawn.send(std::mem::take(&mut batch)).is_err() {
                return;
            }
        }
        if self.functions {
            load_functions(known, &mut batch);
        }
        drop(drawn.send(batch));
    }

    fn database(&self, draw: &mut Draw) -> u32 {
        if draw.one_in(2) {
            self.databases[0]
        } else {
            draw.of(&self.databases)
        }
    }

    fn expire(&self, draw: &mut Draw, batch: &mut Batch, key: &[u8]) {
        match draw.below(100) {
            0..8 => put!(
                batch,
                "PEXPIREAT",
                key,
                now_ms() + 3_600_000 + draw.0.u64(..2_592_000_000)
            ),
            8 if self.short_ttls => put!(batch, "PEXPIRE", key, 1 + draw.below(3_000)),
            _ => {}
        }
    }
}

fn pick<'a>(shapes: &[&'a Shape], mut at: usize) -> &'a Shape {
    for shape in shapes {
        match at.checked_sub(shape.weight) {
            Some(rest) => at = rest,
            None => return shape,
        }
    }
    unreachable!("the number was drawn below the sum of the weights")
}

/// Readable names, binary ones, ones with a hash tag, and the empty one.
fn name(draw: &mut Draw, number: usize) -> Vec<u8> {
    match number {
        7 => return Vec::new(),
        8 => return b"\r\n$3\r\n\0*1\r\n{".to_vec(),
        _ => {}
    }
    match draw.below(20) {
        0 => [draw.bytes(6), number.to_string().into_bytes()].concat(),
        1 => format!("{{tag{}}}:{number}", number % 100).into_bytes(),
        2 => format!("{number:0>200}").into_bytes(),
        _ => format!("key:{number}").into_bytes(),
    }
}

fn load_functions(known: &HashSet<String>, batch: &mut Batch) {
    if known.contains("FUNCTION") {
        for library in ["fill_a", "fill_b"] {
            put!(batch, "FUNCTION", "LOAD", "REPLACE", super::mix::library(library));
        }
    }
    put!(batch, "SCRIPT", "LOAD", "return redis.call('GET', KEYS[1])");
}

/// A command of a name and a key, and arguments in groups of `each`.
fn many(batch: &mut Batch, command: &str, key: &[u8], groups: &[Vec<u8>]) {
    batch.begin(2 + groups.len());
    batch.arg(&command);
    batch.arg(&key);
    groups.iter().for_each(|arg| batch.arg(arg));
}

fn values(draw: &mut Draw, count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|_| draw.value()).collect()
}

fn pairs(count: usize, pair: impl FnMut(usize) -> [Vec<u8>; 2]) -> Vec<Vec<u8>> {
    (0..count).flat_map(pair).collect()
}

fn string_integer(draw: &mut Draw, batch: &mut Batch, key: &[u8]) {
    put!(batch, "SET", key, draw.integer());
}

fn string_short(draw: &mut Draw, batch: &mut Batch, key: &[u8]) {
    put!(batch, "SET", key, draw.word());
}

fn string_long(draw: &mut Draw, batch: &mut Batch, key: &[u8]) {
    let len = 45 + draw.below(200);
    put!(batch, "SET", key, draw.bytes(len));
}

fn string_compressible(draw: &mut Draw, batch: &mut Batch, key: &[u8]) {
    put!(batch, "SET", key, draw.compressible(4_000));
}

fn string_empty(_: &mut Draw, batch: &mut Batch, key: &[u8]) {
    put!(batch, "SET", key, "");
}

fn string_appended(draw: &mut Draw, batch: &mut Batch, key: &[u8]) {
    put!(batch, "SET", key, draw.word());
    put!(batch, "APPEND", key, draw.value());
}

fn string_large(draw: &mut Draw, batch: &mut Batch, key: &[u8]) {
    let len = if draw.one_in(20) {
        1 << 20
    } else {
        20_000 + draw.below(50_000)
    };
    put!(batch, "SET", key, draw.bytes(len));
}

fn bitmap(draw: &mut Draw, batch: &mut Batch, key: &[u8]) {
    for _ in 0..3 {
        put!(batch, "SETBIT", key, draw.below(4_096), 1);
    }
}

fn hyperloglog_sparse(draw: &mut Draw, batch: &mut Batch, key: &[u8]) {
    let elements = values(draw, 5);
    many(batch, "PFADD", key, &elements);
}

fn hyperloglog_dense(draw: &mut Draw, batch: &mut Batch, key: &[u8]) {
    let elements: Vec<_> = (0..4_000).map(|_| draw.bytes(8)).collect();
    many(batch, "PFADD", key, &elements);
}

fn list_small(draw: &mut Draw, batch: &mut Batch, key: &[u8]) {
    let count = 1 + draw.below(8);
    let elements = values(draw, count);
    many(batch, "RPUSH", key, &elements);
}

/// Several nodes of a quicklist, some of them compressed, some of one element only.
fn list_of_large_elements(draw: &mut Draw, batch: &mut Batch, key: &[u8]) {
    let mut elements = vec![draw.bytes(3_000), draw.compressible(6_000), draw.bytes(3_000)];
    elements.push(draw.compressible(12_000));
    many(batch, "RPUSH", key, &elements);
}

fn list_of_many_elements(draw: &mut Draw, batch: &mut Batch, key: &[u8]) {
    let elements = values(draw, 900);
    many(batch, "RPUSH", key, &elements);
}

fn set_of_integers(draw: &mut Draw, batch: &mut Batch, key: &[u8]) {
    let widest = draw.of(&[100, 40_000, 1 << 40]);
    let members: Vec<_> = (0..6)
        .map(|_| draw.0.i64(-widest..widest).to_string().into_bytes())
        .collect();
    many(batch, "SADD", key, &members);
}

fn set_of_words(draw: &mut Draw, batch: &mut Batch, key: &[u8]) {
    let count = 1 + draw.below(8);
    let members = values(draw, count);
    many(batch, "SADD", key, &members);
}

fn set_with_a_long_member(draw: &mut Draw, batch: &mut Batch, key: &[u8]) {
    let members = vec![draw.bytes(70), draw.value(), draw.value()];
    many(batch, "SADD", key, &members);
}

fn set_of_many_members(draw: &mut Draw, batch: &mut Batch, key: &[u8]) {
    let members: Vec<_> = (0..700)
        .map(|_| draw.integer().to_string().into_bytes())
        .collect();
    many(batch, "SADD", key, &members);
}

fn zset(draw: &mut Draw, count: usize) -> Vec<Vec<u8>> {
    pairs(count, |_| [draw.score().into_bytes(), draw.value()])
}

fn zset_small(draw: &mut Draw, batch: &mut Batch, key: &[u8]) {
    let count = 1 + draw.below(8);
    let members = zset(draw, count);
    many(batch, "ZADD", key, &members);
}

fn zset_with_a_long_member(draw: &mut Draw, batch: &mut Batch, key: &[u8]) {
    let mut members = zset(draw, 4);
    members.extend([draw.score().into_bytes(), draw.bytes(70)]);
    many(batch, "ZADD", key, &members);
}

fn zset_of_many_members(draw: &mut Draw, batch: &mut Batch, key: &[u8]) {
    let members = pairs(400, |at| {
        [draw.score().into_bytes(), format!("member:{at}").into_bytes()]
    });
    many(batch, "ZADD", key, &members);
}

fn geo(draw: &mut Draw, batch: &mut Batch, key: &[u8]) {
    for _ in 0..2 {
        let (longitude, latitude) = (draw.0.f64() * 360.0 - 180.0, draw.0.f64() * 170.0 - 85.0);
        put!(
            batch,
            "GEOADD",
            key,
            format!("{longitude:.6}"),
            format!("{latitude:.6}"),
            draw.word()
        );
    }
}

fn hash_small(draw: &mut Draw, batch: &mut Batch, key: &[u8]) {
    let count = 1 + draw.below(8);
    let fields = pairs(count, |_| [draw.value(), draw.value()]);
    many(batch, "HMSET", key, &fields);
}

fn hash_with_a_long_value(draw: &mut Draw, batch: &mut Batch, key: &[u8]) {
    let fields = vec![
        draw.value(),
        draw.bytes(100),
        draw.value(),
        draw.compressible(2_000),
    ];
    many(batch, "HMSET", key, &fields);
}

fn hash_of_many_fields(draw: &mut Draw, batch: &mut Batch, key: &[u8]) {
    let fields = pairs(700, |at| [format!("field:{at}").into_bytes(), draw.value()]);
    many(batch, "HMSET", key, &fields);
}

fn hash_with_field_ttls(draw: &mut Draw, batch: &mut Batch, key: &[u8]) {
    let long = draw.one_in(3);
    let value = if long { draw.bytes(100) } else { draw.value() };
    put!(
        batch,
        "HSET",
        key,
        "stays",
        value,
        "goes",
        draw.value(),
        "also",
        draw.value()
    );
    put!(
        batch,
        "HPEXPIRE",
        key,
        3_600_000 + draw.below(1_000_000),
        "FIELDS",
        2,
        "goes",
        "also"
    );
}

fn entries(draw: &mut Draw, batch: &mut Batch, key: &[u8], count: usize) {
    let mut ms = 1_600_000_000_000 + draw.0.u64(..1_000_000);
    for at in 0..count {
        ms += draw.0.u64(..3);
        match draw.below(4) {
            // The same fields as the entry before are stored shorter; other fields are not.
            0 => put!(
                batch,
                "XADD",
                key,
                format!("{ms}-{}", at + 1),
                draw.word(),
                draw.value()
            ),
            _ => put!(
                batch,
                "XADD",
                key,
                format!("{ms}-{}", at + 1),
                "name",
                draw.value(),
                "size",
                draw.integer()
            ),
        }
    }
}

fn stream_small(draw: &mut Draw, batch: &mut Batch, key: &[u8]) {
    let count = 1 + draw.below(5);
    entries(draw, batch, key, count);
}

/// Groups, consumers, entries pending and acknowledged, entries deleted while pending, a group ahead of the stream.
fn stream_with_groups(draw: &mut Draw, batch: &mut Batch, key: &[u8]) {
    put!(batch, "XADD", key, "1-1", "first", draw.value());
    put!(batch, "XADD", key, "1-2", "second", draw.value());
    entries(draw, batch, key, 6);
    put!(batch, "XGROUP", "CREATE", key, "group-a", "0");
    put!(batch, "XGROUP", "CREATE", key, "group-b", "1-2");
    put!(batch, "XGROUP", "CREATE", key, "group-c", "$");
    put!(
        batch,
        "XREADGROUP",
        "GROUP",
        "group-a",
        "alice",
        "COUNT",
        3,
        "STREAMS",
        key,
        ">"
    );
    put!(
        batch,
        "XREADGROUP",
        "GROUP",
        "group-a",
        "bob",
        "COUNT",
        2,
        "STREAMS",
        key,
        ">"
    );
    put!(
        batch,
        "XREADGROUP",
        "GROUP",
        "group-b",
        draw.word(),
        "COUNT",
        2,
        "STREAMS",
        key,
        ">"
    );
    put!(batch, "XACK", key, "group-a", "1-2");
    put!(batch, "XDEL", key, "1-1");
}

fn stream_of_many_entries(draw: &mut Draw, batch: &mut Batch, key: &[u8]) {
    entries(draw, batch, key, 350);
    put!(batch, "XGROUP", "CREATE", key, "group", "0");
    put!(
        batch,
        "XREADGROUP",
        "GROUP",
        "group",
        "reader",
        "COUNT",
        150,
        "STREAMS",
        key,
        ">"
    );
    put!(batch, "XTRIM", key, "MAXLEN", 300);
}
