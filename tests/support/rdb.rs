//! RDB files written by hand: what no server writes any more, what is too large to go through a server, and what is broken.
//!
//! Everything is written as it comes, so a file may be larger than memory.

use std::io::{self, Write};

use gunyu::core::rdb::Checksum;

/// Opcodes, as they stand in a file.
pub mod opcode {
    pub const FUNCTION: u8 = 245;
    pub const MODULE_AUX: u8 = 247;
    pub const IDLE: u8 = 248;
    pub const FREQ: u8 = 249;
    pub const AUX: u8 = 250;
    pub const RESIZEDB: u8 = 251;
    pub const EXPIRE_MS: u8 = 252;
    pub const EXPIRE_SECS: u8 = 253;
    pub const SELECTDB: u8 = 254;
    pub const END: u8 = 255;
}

/// A file under way.
#[derive(Debug)]
pub struct Rdb<W: Write> {
    out: W,
    /// Of what has been written; none of a file that says it has none.
    checksum: Option<Checksum>,
    /// Bytes that have not gone out.
    pending: Vec<u8>,
    written: u64,
}

impl Rdb<Vec<u8>> {
    /// A file in memory, with this magic (`REDIS0011`).
    pub fn in_memory(magic: &str) -> Rdb<Vec<u8>> {
        Rdb::new(Vec::new(), magic)
    }

    /// Ends the file; its bytes.
    pub fn bytes(self) -> Vec<u8> {
        self.end().unwrap()
    }
}

impl<W: Write> Rdb<W> {
    /// A file with a checksum.
    pub fn new(out: W, magic: &str) -> Rdb<W> {
        let rdb = Rdb {
            out,
            checksum: Some(Checksum::new()),
            pending: Vec::new(),
            written: 0,
        };
        rdb.raw(magic.as_bytes())
    }

    /// The same file with 0 instead, as servers write it under `rdbchecksum no`.
    pub fn without_checksum(mut self) -> Rdb<W> {
        self.checksum = None;
        self
    }

    /// Bytes as they are.
    pub fn raw(mut self, bytes: &[u8]) -> Rdb<W> {
        self.push(bytes);
        self
    }

    /// A length.
    pub fn length(self, length: u64) -> Rdb<W> {
        self.raw(&len(length))
    }

    /// A string, not packed.
    pub fn string(self, bytes: &[u8]) -> Rdb<W> {
        self.length(bytes.len() as u64).raw(bytes)
    }

    /// A field about the file.
    pub fn aux(self, name: &str, value: &str) -> Rdb<W> {
        self.raw(&[opcode::AUX])
            .string(name.as_bytes())
            .string(value.as_bytes())
    }

    /// The keys that follow are in this database.
    pub fn select(self, db: u64) -> Rdb<W> {
        self.raw(&[opcode::SELECTDB]).length(db)
    }

    /// The key that follows expires then.
    pub fn expires_ms(self, at: i64) -> Rdb<W> {
        self.raw(&[opcode::EXPIRE_MS]).raw(&at.to_le_bytes())
    }

    /// Begins a key: its value is to be written next.
    pub fn key(self, value_type: u8, name: &[u8]) -> Rdb<W> {
        self.raw(&[value_type]).string(name)
    }

    /// Whatever `write` writes, `count` times.
    pub fn times(self, count: u64, mut write: impl FnMut(Rdb<W>, u64) -> Rdb<W>) -> Rdb<W> {
        (0..count).fold(self, &mut write)
    }

    /// So many bytes of the file are there.
    pub fn written(&self) -> u64 {
        self.written + self.pending.len() as u64
    }

    /// Ends the file.
    pub fn end(mut self) -> io::Result<W> {
        self.push(&[opcode::END]);
        self.flush_pending()?;
        let checksum = self.checksum.map_or(0, Checksum::value);
        self.out.write_all(&checksum.to_le_bytes())?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// Ends a file from before RDB 5, which has no checksum.
    pub fn end_bare(mut self) -> io::Result<W> {
        self.push(&[opcode::END]);
        self.flush_pending()?;
        Ok(self.out)
    }

    fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= 1 << 16 {
            self.flush_pending().unwrap();
        }
    }

    fn flush_pending(&mut self) -> io::Result<()> {
        if let Some(checksum) = &mut self.checksum {
            checksum.update(&self.pending);
        }
        self.out.write_all(&self.pending)?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}

/// A length as it stands in a file.
pub fn len(length: u64) -> Vec<u8> {
    match length {
        0..=63 => vec![length as u8],
        64..=16_383 => vec![0x40 | (length >> 8) as u8, length as u8],
        _ if length <= u64::from(u32::MAX) => [&[0x80][..], &(length as u32).to_be_bytes()].concat(),
        _ => [&[0x81][..], &length.to_be_bytes()].concat(),
    }
}

/// A listpack of texts, all of fewer than 64 bytes.
pub fn listpack<T: AsRef<[u8]>>(texts: &[T]) -> Vec<u8> {
    let mut body = Vec::new();
    for text in texts.iter().map(AsRef::as_ref) {
        assert!(text.len() < 64);
        body.push(0x80 | text.len() as u8);
        body.extend_from_slice(text);
        body.push(1 + text.len() as u8);
    }
    body.push(0xff);
    let total = (body.len() + 6) as u32;
    [
        &total.to_le_bytes()[..],
        &(texts.len() as u16).to_le_bytes(),
        &body,
    ]
    .concat()
}

/// A ziplist of texts, all of fewer than 64 bytes.
pub fn ziplist<T: AsRef<[u8]>>(texts: &[T]) -> Vec<u8> {
    let (mut body, mut previous, mut tail) = (Vec::new(), 0, 10);
    for text in texts.iter().map(AsRef::as_ref) {
        assert!(text.len() < 64);
        tail = 10 + body.len();
        body.push(previous);
        body.push(text.len() as u8);
        body.extend_from_slice(text);
        previous = 2 + text.len() as u8;
    }
    body.push(0xff);
    let total = (body.len() + 10) as u32;
    [
        &total.to_le_bytes()[..],
        &(tail as u32).to_le_bytes(),
        &(texts.len() as u16).to_le_bytes(),
        &body,
    ]
    .concat()
}

/// A zipmap of pairs, all of fewer than 254 bytes.
pub fn zipmap(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut out = vec![pairs.len() as u8];
    for (name, value) in pairs {
        out.push(name.len() as u8);
        out.extend_from_slice(name);
        out.extend_from_slice(&[value.len() as u8, 0]);
        out.extend_from_slice(value);
    }
    out.push(0xff);
    out
}

/// An intset of 64 bits each.
pub fn intset(numbers: &[i64]) -> Vec<u8> {
    let mut out = [8_u32.to_le_bytes(), (numbers.len() as u32).to_le_bytes()].concat();
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out
}

/// A string shortened the way LZF allows where nothing can be shortened: in runs of literals.
pub fn lzf_of_literals(bytes: &[u8]) -> Vec<u8> {
    let packed: Vec<u8> = bytes
        .chunks(32)
        .flat_map(|run| [&[run.len() as u8 - 1][..], run].concat())
        .collect();
    [
        &[0xc3][..],
        &len(packed.len() as u64),
        &len(bytes.len() as u64),
        &packed,
    ]
    .concat()
}
