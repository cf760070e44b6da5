//! Snapshots: skip-scan, CRC64, LZF, decoding by encoding.

use std::hint::black_box;

use bytes::Bytes;
use gunyu::core::rdb::value::Decoder;
use gunyu::core::rdb::{Checksum, Cursor, Flavor, Item, Prefix, Scanner, Step, lzf};

use crate::rdb::Rdb;
use crate::timing::{Sheet, Work};
use crate::values::{mixed_keys, values};

const CHUNK_BYTES: usize = 1 << 20;
const FILE_BYTES: u64 = 4 << 20;

/// A file in memory, as it comes in chunks.
struct File {
    chunks: Vec<Bytes>,
    keys: usize,
}

impl File {
    /// What `write` writes, key after key.
    fn of(mut write: impl FnMut(Rdb<Vec<u8>>, u64) -> Rdb<Vec<u8>>) -> File {
        let (mut rdb, mut n) = (Rdb::in_memory("REDIS0011").select(0), 0);
        while rdb.written() < FILE_BYTES {
            rdb = write(rdb, n);
            n += 1;
        }
        let bytes = rdb.bytes();
        let chunks = bytes.chunks(CHUNK_BYTES).map(Bytes::copy_from_slice).collect();
        let mut file = File { chunks, keys: 0 };
        let mut keys = 0;
        file.look(|| keys += 1);
        file.keys = keys;
        file
    }

    fn work(&self) -> Work {
        Work {
            bytes: Some(self.chunks.iter().map(Bytes::len).sum()),
            items: self.keys,
            item: "key",
        }
    }

    #[inline]
    fn look(&self, mut see: impl FnMut()) -> usize {
        let (mut scanner, mut bytes) = (Scanner::new(), 0);
        for chunk in &self.chunks {
            scanner.push(chunk.clone());
            loop {
                let step = scanner.look(|key| {
                    bytes += key.value.len();
                    see();
                });
                match step.unwrap() {
                    Step::Item(Item::Key(key)) => {
                        bytes += key.value.len();
                        see();
                    }
                    Step::NeedMore | Step::End(_) => break,
                    _ => {}
                }
            }
        }
        assert!(scanner.finish().unwrap().checked);
        bytes
    }

    #[inline]
    fn step(&self, scanner: &mut Scanner, from: usize) -> usize {
        let mut bytes = 0;
        for (n, chunk) in self.chunks.iter().enumerate() {
            scanner.push(chunk.slice(if n == 0 { from } else { 0 }..));
            loop {
                match scanner.step().unwrap() {
                    Step::Item(Item::Key(key)) => bytes += key.value.len(),
                    Step::NeedMore | Step::End(_) => break,
                    _ => {}
                }
            }
        }
        bytes
    }

    /// After the file's header.
    fn cursor(&self) -> Cursor {
        let mut scanner = Scanner::new();
        scanner.push(self.chunks[0].clone());
        scanner.step().unwrap();
        Cursor {
            at: 9,
            db: 0,
            version: scanner.version().unwrap(),
        }
    }
}

pub fn scans(sheet: &mut Sheet) {
    let value = [b'x'; 100];
    let strings = File::of(|rdb, n| rdb.key(0, format!("key:{n:012}").as_bytes()).string(&value));
    let mixed = File::of(mixed_keys());
    for (name, file) in [("strings of 100 B", &strings), ("every type, mixed", &mixed)] {
        let figure = format!("skip-scan: {name}, a look at each key");
        sheet.measure(&figure, file.work(), || file.look(|| {}));
        let figure = format!("skip-scan: {name}, each key taken");
        sheet.measure(&figure, file.work(), || file.step(&mut Scanner::new(), 0));
        let (figure, cursor) = (format!("skip-scan: {name}, taken, checked before"), file.cursor());
        sheet.measure(&figure, file.work(), || {
            file.step(&mut Scanner::resume(cursor, Prefix::Trusted), cursor.at as usize)
        });
    }
}

pub fn checksums(sheet: &mut Sheet) {
    for (name, len) in [("100 B", 100), ("64 KiB", 64 << 10), ("1 MiB", 1 << 20)] {
        let bytes: Vec<u8> = (0..len).map(|n| (n * 31 % 251) as u8).collect();
        let work = Work {
            bytes: Some(len),
            items: 1,
            item: "call",
        };
        let mut checksum = Checksum::new();
        sheet.measure(&format!("CRC64: {name}"), work, || checksum.update(&bytes));
    }
}

pub fn lzf(sheet: &mut Sheet) {
    let words = packed(6, 8, 290);
    let repetitive = packed(4, 200, 20);
    for (name, (packed, plain)) in [("runs of 8 B", words), ("runs of 200 B", repetitive)] {
        let work = Work {
            bytes: Some(plain),
            items: 1,
            item: "string of 4 kB",
        };
        sheet.measure(&format!("LZF unpacked: {name}"), work, || {
            lzf::unpack(&packed, plain as u64).unwrap()
        });
    }
}

/// So many times a few bytes as they are and a run that lies some way back; how long all that is unpacked.
fn packed(plain: usize, run: usize, times: usize) -> (Vec<u8>, usize) {
    let (mut out, mut unpacked) = (Vec::new(), 0);
    for n in 0..times {
        out.push(plain as u8 - 1);
        out.extend((0..plain).map(|at| b'a' + ((n * 7 + at * 5) % 26) as u8));
        unpacked += plain;
        let back = (unpacked - 1).min(40 + n * 13 % 200);
        match run {
            ..9 => out.push(((run - 2) << 5 | back >> 8) as u8),
            _ => out.extend([0xe0 | (back >> 8) as u8, (run - 9) as u8]),
        }
        out.push(back as u8);
        unpacked += run;
    }
    (out, unpacked)
}

pub fn decoders(sheet: &mut Sheet) {
    for (name, value_type, value) in values() {
        let value = Bytes::from(value);
        let mut elements = 0;
        decode(value_type, &value, || elements += 1);
        let work = Work {
            bytes: Some(value.len()),
            items: elements,
            item: "element",
        };
        sheet.measure(&format!("decoded: {name}"), work, || {
            decode(value_type, &value, || {});
        });
    }
}

#[inline]
fn decode(value_type: u8, value: &Bytes, mut see: impl FnMut()) {
    let mut decoder = Decoder::new(value_type, Flavor::Redis, 0).unwrap();
    decoder.push(value.clone());
    while let Some(element) = decoder.element().unwrap() {
        drop(black_box(element));
        see();
    }
}
