//! Makes a corpus of RDB files: `cargo run --example seeds -- FOLDER FILE...` writes `FOLDER/TARGET/...` for every target.
//!
//! Owns how a real file becomes inputs: each value one for its target and one for payloads, each packed string one for LZF, and the items, a few
//! at a time, those for the reader of files. Values that are long are left out: they hold nothing that short ones do not. `cargo fuzz cmin`
//! then keeps what adds something.

#![allow(clippy::print_stderr)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use gunyu_fuzz::checks::items::{self, HEADER, MAGICS};
use gunyu_fuzz::checks::payloads::all_kinds;
use gunyu_fuzz::checks::values::{self, Kind};
use gunyu_fuzz::core::rdb::{Flavor, Item, Key, Scanner, Step, Version, unpack};

const VALUE_BYTES_MAX: usize = 700;
const ITEMS_BYTES_MAX: usize = 400;

/// The pieces in which a value or file is given have 8 bytes, or 61.
const SIZES: [u8; 2] = [7, 60];

const TYPES_OF: [(&str, &[Kind]); 9] = [
    ("plain", values::PLAIN),
    ("listpack", values::LISTPACK),
    ("ziplist", values::ZIPLIST),
    ("zipmap", values::ZIPMAP),
    ("intset", values::INTSET),
    ("quicklist", values::QUICKLIST),
    ("stream", values::STREAM),
    ("hash_ttl", values::HASH_TTL),
    ("module", values::MODULE),
];

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// What a file holds: each item with where it ends.
struct Contents {
    file: Bytes,
    version: Version,
    items: Vec<(Item, u64)>,
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let folder = arguments.next().ok_or("usage: seeds FOLDER FILE...")?;
    let mut seeds = BTreeSet::new();
    for name in arguments {
        let contents = read(&name).map_err(|error| format!("{}: {error}", name.display()))?;
        of_values(&contents, &mut seeds)?;
        of_items(&contents, &mut seeds);
    }
    for (nth, (target, seed)) in seeds.iter().enumerate() {
        let folder = folder.join(target);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(format!("seed-{nth}")), seed)?;
    }
    eprintln!("{} seeds", seeds.len());
    Ok(())
}

fn read(name: &Path) -> Outcome<Contents> {
    let file = Bytes::from(std::fs::read(name)?);
    let mut scanner = Scanner::new();
    scanner.push(file.clone());
    let mut items = Vec::new();
    while let Step::Item(item) = scanner.step()? {
        let cursor = scanner.cursor().ok_or("no cursor after an item")?;
        items.push((item, cursor.at));
    }
    let version = scanner.version().ok_or("no header")?;
    scanner.finish()?;
    Ok(Contents { file, version, items })
}

type Seeds = BTreeSet<(&'static str, Vec<u8>)>;

fn of_values(contents: &Contents, seeds: &mut Seeds) -> Outcome<()> {
    for (item, _) in &contents.items {
        match item {
            Item::Key(key) if key.value.len() <= VALUE_BYTES_MAX => of_key(key, contents.version, seeds),
            Item::Function(library) => {
                let code = unpack(library)?;
                let len = (code.len() as u16).to_be_bytes();
                let head = [all_kinds().count() as u8, 10, 0, 0];
                seeds.insert(("restore_payload", [&head[..], &len, &code].concat()));
            }
            _ => {}
        }
    }
    Ok(())
}

fn of_key(key: &Key, version: Version, seeds: &mut Seeds) {
    let own = (key.value_type, version.flavor);
    let is_of = |kind: &Kind| *kind == own || kind.0 == own.0 && kind.0 < 22 && kind.1 == Flavor::Redis;
    for (target, kinds) in TYPES_OF {
        let Some(at) = kinds.iter().position(is_of) else {
            continue;
        };
        for size in SIZES {
            seeds.insert((target, [&[at as u8, size][..], &key.value].concat()));
        }
    }
    if let Some(at) = all_kinds().position(|kind| is_of(&kind)) {
        let [low, high] = (version.number as u16).to_le_bytes();
        let with_meta = 0x80 * u8::from(at % 2 == 0);
        let head = [at as u8, low, high, SIZES[0] | with_meta];
        seeds.insert(("restore_payload", [&head[..], &key.value].concat()));
    }
    if let Some(packed) = lzf_of(&key.value) {
        seeds.insert(("lzf", [&[SIZES[0], 63, 0, 0], packed].concat()));
    }
}

/// The packed bytes, where the value is one string that is packed with LZF.
fn lzf_of(value: &[u8]) -> Option<&[u8]> {
    let (bytes, rest) = length(value.strip_prefix(&[0xc3])?)?;
    let (_, packed) = length(rest)?;
    packed.get(..bytes)
}

/// A short length of an RDB, and what follows it.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [first, rest @ ..] if first >> 6 == 0 => Some((usize::from(*first), rest)),
        [first, low, rest @ ..] if first >> 6 == 1 => {
            Some((usize::from(first & 0x3f) << 8 | usize::from(*low), rest))
        }
        _ => None,
    }
}

/// A few items at a time; the first ones behind the file's own header.
fn of_items(contents: &Contents, seeds: &mut Seeds) {
    let magic = match contents.version.flavor {
        Flavor::Redis => 1,
        Flavor::Valkey => 2,
    };
    let mut from = 0;
    let mut ends = contents.items.iter().map(|(_, end)| *end as usize).peekable();
    while let Some(end) = ends.next() {
        let is_full = ends.peek().is_none_or(|next| next - from > ITEMS_BYTES_MAX);
        if !is_full {
            continue;
        }
        let body = &contents.file[from..end];
        let how = items::END | SIZES[from % 2] | if from == 0 { 0 } else { HEADER };
        if body.len() <= 2 * ITEMS_BYTES_MAX {
            seeds.insert(("item_reader", [&[how, 16, magic], body].concat()));
        }
        from = end;
    }
    assert!(usize::from(magic) < MAGICS.len());
}
