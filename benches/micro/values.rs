//! Values of each encoding, and keys that hold them.

use std::io::Write;

use crate::rdb::{Rdb, intset, len, listpack, ziplist, zipmap};

/// Writes a key and some more around it, given its number: mostly strings and small collections, some large ones.
pub fn mixed_keys<W: Write>() -> impl FnMut(Rdb<W>, u64) -> Rdb<W> {
    let small: Vec<(u8, Vec<u8>)> = values()
        .into_iter()
        .filter(|(_, value_type, _)| *value_type != 0)
        .map(|(_, value_type, value)| (value_type, value))
        .collect();
    move |rdb, n| {
        let rdb = rdb.times(12, |rdb, part| {
            let rdb = match part % 3 {
                0 => rdb.expires_ms(1_900_000_000_000 + n as i64),
                _ => rdb,
            };
            let value = vec![b'v'; 20 + (n * 7 + part * 31) as usize % 300];
            rdb.key(
                0,
                format!("session:{:08x}:{part}", n * 2_654_435_761 % 1_000_000_007).as_bytes(),
            )
            .string(&value)
        });
        let (value_type, value) = &small[n as usize % small.len()];
        // The large ones are rare.
        match value.len() < 2000 || n.is_multiple_of(50) {
            true => rdb.key(*value_type, format!("thing:{n}").as_bytes()).raw(value),
            false => rdb.key(0, format!("counter:{n}").as_bytes()).raw(&[0xc1, 5, 5]),
        }
    }
}

/// A value of each encoding.
pub fn values() -> Vec<(&'static str, u8, Vec<u8>)> {
    let texts = |count: usize| -> Vec<String> { (0..count).map(|n| format!("element {n:08}")).collect() };
    let strings = |count: usize| -> Vec<u8> {
        let all = texts(count)
            .into_iter()
            .flat_map(|text| joined(&len(text.len() as u64), text.as_bytes()));
        all.collect()
    };
    let string = |bytes: Vec<u8>| joined(&len(bytes.len() as u64), &bytes);
    let scored: Vec<u8> = texts(2000)
        .into_iter()
        .flat_map(|text| [&len(text.len() as u64), text.as_bytes(), &1.5_f64.to_le_bytes()].concat())
        .collect();
    let numbers: Vec<i64> = (0..64).map(|n| n * 1_000_000_007).collect();
    let small = texts(40);
    let pairs: Vec<(&[u8], &[u8])> = small
        .chunks(2)
        .map(|two| (two[0].as_bytes(), two[1].as_bytes()))
        .collect();
    let scores: Vec<String> = texts(20)
        .into_iter()
        .zip(1..)
        .flat_map(|(text, n)| [text, format!("{n}.5")])
        .collect();
    let scored_as_text: Vec<u8> = texts(2000)
        .into_iter()
        .flat_map(|text| [&len(text.len() as u64), text.as_bytes(), &[3], b"1.5"].concat())
        .collect();
    let expiring_packed: Vec<String> = texts(20)
        .into_iter()
        .zip(0..)
        .flat_map(|(text, n)| {
            [
                text,
                format!("value {n}"),
                (1_900_000_000_000_u64 + n).to_string(),
            ]
        })
        .collect();
    let soonest = 1_900_000_000_000_u64.to_le_bytes();
    let node = joined(&len(2), &string(listpack(&texts(400))));
    vec![
        ("string, raw", 0, string(vec![b'x'; 1000])),
        ("list, linkedlist", 1, joined(&len(2000), &strings(2000))),
        (
            "list, quicklist of listpacks",
            18,
            joined(&len(4), &node.repeat(4)),
        ),
        (
            "list, quicklist of ziplists",
            14,
            joined(&len(4), &string(ziplist(&texts(400))).repeat(4)),
        ),
        ("list, ziplist", 10, string(ziplist(&small))),
        ("set, hashtable", 2, joined(&len(2000), &strings(2000))),
        ("set, intset", 11, string(intset(&numbers))),
        ("set, listpack", 20, string(listpack(&small))),
        ("zset, skiplist", 5, joined(&len(2000), &scored)),
        (
            "zset, skiplist, scores as text",
            3,
            joined(&len(2000), &scored_as_text),
        ),
        ("zset, listpack", 17, string(listpack(&scores))),
        ("zset, ziplist", 12, string(ziplist(&scores))),
        ("hash, hashtable", 4, joined(&len(1000), &strings(2000))),
        ("hash, listpack", 16, string(listpack(&small))),
        ("hash, ziplist", 13, string(ziplist(&small))),
        ("hash, zipmap", 9, string(zipmap(&pairs))),
        ("hash, fields that expire", 24, expiring(&texts(1000))),
        (
            "hash, fields that expire, as a release candidate wrote it",
            22,
            joined(&len(1000), &expiring_fields(&texts(1000), 1_900_000_000_000)),
        ),
        (
            "hash, fields that expire, listpack",
            25,
            joined(&soonest, &string(listpack(&expiring_packed))),
        ),
        ("stream, listpacks (15)", 15, stream(1)),
        ("stream, listpacks (19)", 19, stream(2)),
        ("stream, listpacks (21)", 21, stream(3)),
        ("stream, listpacks (26)", 26, stream(4)),
        ("stream, listpacks (27)", 27, stream(5)),
        ("module, given as it is", 7, module()),
    ]
}

/// What a module wrote: a name and a version, then numbers, a double and a string, 200 times, and the end.
fn module() -> Vec<u8> {
    let entry = |n: u64| {
        let (number, text) = (len(1000 + n), format!("element {n:08}"));
        let double = joined(&[4], &1.5_f64.to_le_bytes());
        let string = [&[5][..], &len(text.len() as u64), text.as_bytes()].concat();
        [&[2][..], &number, &double, &string].concat()
    };
    let entries: Vec<u8> = (0..200).flat_map(entry).collect();
    [&len(0x1122_3344_5566_7401)[..], &entries, &[0]].concat()
}

fn joined(first: &[u8], second: &[u8]) -> Vec<u8> {
    [first, second].concat()
}

/// A hash of these fields, every other one of which expires.
fn expiring(fields: &[String]) -> Vec<u8> {
    let head = joined(&1_900_000_000_000_u64.to_le_bytes(), &len(fields.len() as u64));
    joined(&head, &expiring_fields(fields, 1))
}

/// Each with its time of expiry or 0, counted from the first.
fn expiring_fields(fields: &[String], first: u64) -> Vec<u8> {
    let field = |(n, name): (usize, &String)| {
        let ttl = len(if n % 2 == 0 { 0 } else { first + n as u64 });
        [&ttl[..], &[name.len() as u8], name.as_bytes(), &[5], b"value"].concat()
    };
    fields.iter().enumerate().flat_map(field).collect()
}

/// A stream of four listpacks, 100 entries of two fields in each, and a group with a consumer to whom 50 of them are still pending.
fn stream(version: u8) -> Vec<u8> {
    const NODES: u64 = 4;
    const ENTRIES: u64 = 100;
    const PENDING: u64 = 50;
    let id = |n: u64| joined(&(1000 + n).to_be_bytes(), &0_u64.to_be_bytes());
    let time = 1_900_000_000_000_u64.to_le_bytes();
    let mut out = len(NODES);
    for node in 0..NODES {
        let id = id(1000 * node);
        let entries = entries(ENTRIES);
        let head = joined(&[id.len() as u8], &id);
        out = [&out[..], &head, &len(entries.len() as u64), &entries].concat();
    }
    let (total, last) = (len(NODES * ENTRIES), len(1000 * NODES + ENTRIES - 1));
    // The length, the last id.
    out.extend([&total[..], &last, &[0]].concat());
    if version >= 2 {
        // The first id, the greatest deleted one, how many were added.
        out.extend([&len(1000)[..], &[0], &[0, 0], &total].concat());
    }
    // One group: its name, its last id.
    out.extend([&len(1)[..], &[5], b"group", &len(1000 + PENDING), &[0]].concat());
    if version >= 2 {
        out.extend(len(PENDING));
    }
    out.extend(len(PENDING));
    for n in 0..PENDING {
        out.extend([&id(n)[..], &time, &len(1)].concat());
    }
    // One consumer, seen then, and since 3 active then.
    out.extend([&len(1)[..], &[8], b"consumer", &time].concat());
    if version >= 3 {
        out.extend(time);
    }
    out.extend(len(PENDING));
    (0..PENDING).for_each(|n| out.extend(id(n)));
    if version >= 5 {
        // Entries given back.
        out.extend(len(0));
    }
    if version >= 4 {
        // For how long and how many ids of producers are kept, no producers, how many ids came, how many twice.
        out.extend([len(100), len(100), len(0), len(0), len(0)].concat());
    }
    out
}

/// The listpack of so many entries, each of the master's two fields.
fn entries(count: u64) -> Vec<u8> {
    let mut body = Vec::new();
    let number = |body: &mut Vec<u8>, n: u64| body.extend([n as u8, 1]);
    let text = |body: &mut Vec<u8>, text: &str| {
        body.push(0x80 | text.len() as u8);
        body.extend_from_slice(text.as_bytes());
        body.push(1 + text.len() as u8);
    };
    // The master: how many live, how many are deleted, its fields, the end.
    [count, 0, 2].into_iter().for_each(|n| number(&mut body, n));
    ["kind", "page"]
        .into_iter()
        .for_each(|field| text(&mut body, field));
    number(&mut body, 0);
    for n in 0..count {
        // The master's fields, so many milliseconds later, no sequence; after the values, how many parts there were.
        [2, n, 0].into_iter().for_each(|n| number(&mut body, n));
        ["click", &format!("page number {n:06}")]
            .into_iter()
            .for_each(|value| text(&mut body, value));
        number(&mut body, 5);
    }
    body.push(0xff);
    let (total, parts) = ((body.len() + 6) as u32, (6 + 6 * count) as u16);
    [&total.to_le_bytes()[..], &parts.to_le_bytes(), &body].concat()
}
