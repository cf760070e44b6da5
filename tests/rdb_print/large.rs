//! One value of any size: printed while it is read, in memory that does not grow with it.
//!
//! 40 MiB in less than 64 MiB of memory; with `GUNYU_FULL=1`, 300 MiB in less than 128 MiB. The file is made while it is read, and what is
//! printed is checked while it comes: neither is ever held.

use std::fmt;
use std::io::{BufReader, BufWriter, Read, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::file::{len, listpack, string, text};
use super::support::gunyu::PROGRAM;

/// Tests that measure go one after another: there are not as many processors.
static ALONE: Mutex<()> = Mutex::new(());

struct Size {
    value_bytes: u64,
    memory_bytes: u64,
}

fn size() -> Size {
    let (value, memory) = match std::env::var_os("GUNYU_FULL") {
        Some(_) => (300, 128),
        None => (40, 64),
    };
    Size {
        value_bytes: value << 20,
        memory_bytes: memory << 20,
    }
}

/// A value of one type.
struct Big {
    value_type: u8,
    /// What stands before its parts, but for the count of them.
    before: Vec<u8>,
    parts: u64,
    part: fn(u64) -> Vec<u8>,
    /// What stands behind them.
    after: Vec<u8>,
}

impl Big {
    /// As many parts as make it large enough.
    fn of(value_type: u8, part: fn(u64) -> Vec<u8>) -> Big {
        Big {
            value_type,
            before: Vec::new(),
            parts: size().value_bytes / part(0).len() as u64,
            part,
            after: Vec::new(),
        }
    }

    fn bytes(&self) -> u64 {
        let around = self.before.len() + self.after.len();
        around as u64 + self.parts * (self.part)(0).len() as u64
    }

    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        out.write_all(b"REDIS0011")?;
        out.write_all(&[self.value_type])?;
        out.write_all(&string("big"))?;
        out.write_all(&self.before)?;
        for n in 0..self.parts {
            let part = (self.part)(n);
            debug_assert_eq!(part.len(), (self.part)(0).len());
            out.write_all(&part)?;
        }
        out.write_all(&self.after)?;
        out.write_all(b"\xff\0\0\0\0\0\0\0\0")
    }
}

/// A count that always takes five bytes.
fn count(count: u64) -> Vec<u8> {
    [&[0x80][..], &u32::try_from(count).unwrap().to_be_bytes()].concat()
}

/// Prints it; `check` reads the line. Gives the most memory that it took.
fn print<T>(big: Big, args: &[&str], check: impl FnOnce(&mut dyn Read) -> T) -> (T, u64) {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut child = Command::new(PROGRAM)
        .args(["rdb-print", "-"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let most = Arc::new(AtomicU64::new(0));
    let (pid, stdin) = (child.id(), child.stdin.take().unwrap());
    let watched = |inner| Watched {
        inner,
        pid,
        most: Arc::clone(&most),
    };
    let input: Watched<ChildStdin> = watched(stdin);
    let writing = std::thread::spawn(move || {
        let mut input = BufWriter::with_capacity(1 << 18, input);
        big.write(&mut input).and_then(|()| input.flush())
    });
    let output = Watched {
        inner: child.stdout.take().unwrap(),
        pid,
        most: Arc::clone(&most),
    };
    let mut output = BufReader::with_capacity(1 << 18, output);
    let checked = check(&mut output);
    let mut rest = Vec::new();
    output.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"\n");
    writing.join().unwrap().unwrap();
    assert!(child.wait().unwrap().success());
    (checked, most.load(Ordering::Relaxed))
}

/// A pipe to or from a process, which is asked each time how much memory it has taken at most.
struct Watched<P> {
    inner: P,
    pid: u32,
    most: Arc<AtomicU64>,
}

impl<P> Watched<P> {
    fn watch(&self) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        self.most.fetch_max(kib.unwrap_or(0) << 10, Ordering::Relaxed);
    }
}

impl<P: Write> Write for Watched<P> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.watch();
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.watch();
        self.inner.flush()
    }
}

impl<P: Read> Read for Watched<P> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        self.watch();
        self.inner.read(bytes)
    }
}

#[track_caller]
fn check_memory(most: u64) {
    println!("{} MiB", most >> 20);
    // Less than the program itself needs would mean that nothing was measured.
    assert!(
        (4 << 20..size().memory_bytes).contains(&most),
        "{} MiB",
        most >> 20
    );
}

/// Prints it with its value, of so many elements, and without.
#[track_caller]
fn check(big: impl Fn() -> Big, elements: u64, expected: fn(u64, &serde_json::Value) -> bool) {
    let bytes = big().bytes();
    let line = Line { expected };
    let (found, most) = print(big(), &[], |out| {
        let mut parser = serde_json::Deserializer::from_reader(out);
        line.deserialize(&mut parser).unwrap()
    });
    check_memory(most);
    assert_eq!((found.elements, found.size), (elements, bytes));
    check_measured(big(), bytes);
}

#[track_caller]
fn check_measured(big: Big, bytes: u64) {
    let (line, most) = print(big, &["--no-value"], |out| {
        let mut parser = serde_json::Deserializer::from_reader(out);
        <serde_json::Value as serde::Deserialize>::deserialize(&mut parser).unwrap()
    });
    check_memory(most);
    assert_eq!(line["size"], bytes);
    assert_eq!(line.get("value"), None);
}

/// Reads a line, and checks the elements of its value one by one.
#[derive(Clone, Copy)]
struct Line {
    expected: fn(u64, &serde_json::Value) -> bool,
}

#[derive(Default)]
struct Found {
    elements: u64,
    size: u64,
}

impl<'de> DeserializeSeed<'de> for Line {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Line {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a line")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Found, A::Error> {
        let mut found = Found::default();
        while let Some(name) = pairs.next_key::<String>()? {
            match name.as_str() {
                "size" => found.size = pairs.next_value()?,
                "value" => found.elements = pairs.next_value_seed(Elements(self))?,
                _ => drop(pairs.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

/// An array, or an object: of a hash's pairs, or of a stream's arrays.
struct Elements(Line);

impl<'de> DeserializeSeed<'de> for Elements {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Elements {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<u64, A::Error> {
        let mut seen = 0;
        while let Some(item) = items.next_element::<serde_json::Value>()? {
            if !(self.0.expected)(seen, &item) {
                return Err(A::Error::custom(format!("element {seen}: {item}")));
            }
            seen += 1;
        }
        Ok(seen)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<u64, A::Error> {
        let mut seen = 0;
        while let Some(name) = pairs.next_key::<String>()? {
            if name == "entries" {
                seen = pairs.next_value_seed(Elements(self.0))?;
            } else if name.starts_with("m") {
                let pair = serde_json::json!([name, pairs.next_value::<serde_json::Value>()?]);
                if !(self.0.expected)(seen, &pair) {
                    return Err(A::Error::custom(format!("element {seen}: {pair}")));
                }
                seen += 1;
            } else {
                pairs.next_value::<IgnoredAny>()?;
            }
        }
        Ok(seen)
    }
}

fn member(n: u64) -> String {
    format!("m{n:059}")
}

#[test]
fn a_list_of_listpacks() {
    const EACH: u64 = 100;
    let node = |n: u64| {
        let items: Vec<Vec<u8>> = (n * EACH..(n + 1) * EACH).map(|n| text(&member(n))).collect();
        [vec![2], string(listpack(&items, EACH as u16))].concat()
    };
    let big = move || {
        let big = Big::of(18, node);
        Big {
            before: count(big.parts),
            ..big
        }
    };
    check(big, big().parts * EACH, |n, item| item == &member(n));
}

#[test]
fn a_set() {
    let big = || {
        let big = Big::of(2, |n| string(member(n)));
        Big {
            before: count(big.parts),
            ..big
        }
    };
    check(big, big().parts, |n, item| item == &member(n));
}

#[test]
fn a_sorted_set() {
    let scored = |n: u64| [string(member(n)), (n as f64 + 0.5).to_le_bytes().to_vec()].concat();
    let big = move || {
        let big = Big::of(5, scored);
        Big {
            before: count(big.parts),
            ..big
        }
    };
    check(big, big().parts, |n, item| {
        item[0] == member(n) && item[1] == n as f64 + 0.5
    });
}

#[test]
fn a_hash() {
    let big = || {
        let big = Big::of(4, |n| [string(member(n)), string(member(n + 1))].concat());
        Big {
            before: count(big.parts),
            ..big
        }
    };
    check(big, big().parts, |n, pair| {
        pair[0] == member(n) && pair[1] == member(n + 1)
    });
}

#[test]
fn a_hash_whose_fields_expire() {
    let field = |n: u64| [vec![0x40, 0x64], string(member(n)), string(member(n + 1))].concat();
    let big = move || {
        let big = Big::of(24, field);
        let before = [&1_999_999_999_999_u64.to_le_bytes()[..], &count(big.parts)].concat();
        Big { before, ..big }
    };
    check(big, big().parts, |n, pair| {
        pair[0] == member(n) && pair[1] == member(n + 1)
    });
}

/// Entries, and a group with as many that are pending.
#[test]
fn a_stream() {
    const EACH: u64 = 60;
    let node = |n: u64| {
        let mut entries = vec![vec![EACH as u8], vec![0], vec![1], text("m"), vec![0]];
        for nth in 0..EACH {
            entries.extend([
                vec![2],
                vec![nth as u8],
                vec![0],
                text(&member(n * EACH + nth)),
                vec![4],
            ]);
        }
        let id = [(n * EACH).to_be_bytes(), 1_u64.to_be_bytes()].concat();
        let count = u16::try_from(entries.len()).unwrap();
        [string(id), string(listpack(&entries, count))].concat()
    };
    let big = move || {
        let big = Big::of(15, node);
        let entries = big.parts * EACH;
        let pending: Vec<u8> = (0..10_000_u64)
            .flat_map(|n| [&n.to_be_bytes()[..], &1_u64.to_be_bytes(), &[7; 8], &[1]].concat())
            .collect();
        let after = [
            count(entries),
            count(entries),
            vec![1],
            vec![1],
            string("g"),
            vec![0, 0],
            len(10_000),
            pending,
            vec![0],
        ];
        Big {
            before: count(big.parts),
            after: after.concat(),
            ..big
        }
    };
    check(big, big().parts * EACH, |n, entry| {
        entry["id"] == format!("{n}-1") && entry["fields"]["m"] == member(n)
    });
}

/// Reads a string of "abcdefgh" over and over.
#[track_caller]
fn check_text(big: impl Fn() -> Big, unpacked: u64) {
    let bytes = big().bytes();
    let (rest, most) = print(big(), &[], |out| {
        let mut head = Vec::new();
        while !head.ends_with(b"\"value\":\"") {
            let mut byte = [0];
            out.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let mut left = unpacked;
        let (expected, mut piece) = (b"abcdefgh".repeat(8192), vec![0; 65_536]);
        while left > 0 {
            let wanted = left.min(65_536) as usize;
            out.read_exact(&mut piece[..wanted]).unwrap();
            assert!(
                piece[..wanted] == expected[..wanted],
                "{left} bytes before the end"
            );
            left -= wanted as u64;
        }
        let mut rest = Vec::new();
        while rest.last() != Some(&b'}') {
            let mut byte = [0];
            out.read_exact(&mut byte).unwrap();
            rest.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        head + "\"" + std::str::from_utf8(&rest[1..]).unwrap()
    });
    check_memory(most);
    let line: serde_json::Value = serde_json::from_str(&rest).unwrap();
    assert_eq!(line["size"], bytes, "{rest}");
    check_measured(big(), bytes);
}

#[test]
fn a_string() {
    let big = || {
        let big = Big::of(0, |_| b"abcdefgh".to_vec());
        Big {
            before: count(8 * big.parts),
            ..big
        }
    };
    check_text(big, 8 * big().parts);
}

/// In the file it is short: all of it was unpacked into memory.
#[test]
fn a_string_that_is_packed_well() {
    let runs = size().value_bytes / 264;
    let big = move || {
        let before = [
            vec![0xc3],
            count(9 + 3 * runs),
            count(8 + 264 * runs),
            b"\x07abcdefgh".to_vec(),
        ];
        Big {
            before: before.concat(),
            parts: runs,
            part: |_| vec![0xe0, 0xff, 7],
            value_type: 0,
            after: Vec::new(),
        }
    };
    check_text(big, 8 + 264 * runs);
}

#[test]
fn a_string_that_is_packed_badly() {
    let big = || {
        let big = Big::of(0, |_| [&[31][..], &b"abcdefgh".repeat(4)].concat());
        Big {
            before: [vec![0xc3], count(33 * big.parts), count(32 * big.parts)].concat(),
            ..big
        }
    };
    check_text(big, 32 * big().parts);
}
