//! Files of the log: the input as it is; and as payloads that are put into a file, which is then damaged.

use gunyu::core::log::block::{
    BLOCK_HEADER_LEN, HEADER_LEN, Parsed, block_header, check_header, find_block, header, parse,
};
use gunyu::core::position::{Offset, ReplId};

/// Nothing of a damaged file is taken for what it is not, and what is whole behind the damage is found.
pub fn check(input: &[u8]) {
    raw(input);
    let Some((how, rest)) = input.split_first_chunk::<8>() else {
        return;
    };
    let start = u64::from(u32::from_le_bytes([how[0], how[1], how[2], how[3]]));
    let file = File::of(start, rest);
    let at = usize::from(u16::from_le_bytes([how[4], how[5]])) % file.bytes.len();
    match how[6] % 3 {
        0 => whole(&file),
        1 if how[7] != 0 => flipped(&file, at, how[7]),
        _ => cut(&file, at),
    }
}

/// Whatever stands there, it is read to an end, and no further than there is.
fn raw(bytes: &[u8]) {
    if let Some(head) = bytes.first_chunk::<HEADER_LEN>() {
        let _ = check_header(head, Offset::ZERO);
    }
    if let Some(eight) = bytes.get(8..16).and_then(|bytes| bytes.first_chunk::<8>()) {
        let before = Offset::new(u64::from_le_bytes(*eight));
        if let Parsed::Block(len) = parse(bytes, before) {
            assert!(bytes.len() >= BLOCK_HEADER_LEN + len && len > 0);
        }
    }
    let _ = find_block(bytes, &(Offset::ZERO..=Offset::new(u64::MAX)));
}

struct File {
    start: u64,
    bytes: Vec<u8>,
    /// Where each block begins, and how long its payload is; the seal is not among them.
    blocks: Vec<(usize, usize)>,
    seal: usize,
    end: u64,
}

impl File {
    fn of(start: u64, mut rest: &[u8]) -> File {
        let id = ReplId::parse(&[b'a'; 40]).expect("forty hexadecimal digits");
        let mut bytes = header(id, Offset::new(start)).to_vec();
        let (mut blocks, mut end) = (Vec::new(), start);
        while let Some((len, more)) = rest.split_first() {
            let payload = &more[..usize::from(*len).min(more.len())];
            rest = &more[payload.len()..];
            if payload.is_empty() {
                continue;
            }
            blocks.push((bytes.len(), payload.len()));
            bytes.extend(block_header(Offset::new(end), payload));
            bytes.extend(payload);
            end += payload.len() as u64;
        }
        let seal = bytes.len();
        bytes.extend(block_header(Offset::new(end), b""));
        File {
            start,
            bytes,
            blocks,
            seal,
            end,
        }
    }

    /// How many of its blocks can be read in a row, and what stands behind them.
    fn read(&self, bytes: &[u8]) -> (usize, Parsed) {
        let (mut at, mut before, mut count) = (HEADER_LEN, self.start, 0);
        loop {
            match parse(bytes.get(at..).unwrap_or_default(), Offset::new(before)) {
                Parsed::Block(len) => {
                    assert_eq!(self.blocks.get(count), Some(&(at, len)));
                    let payload = at + BLOCK_HEADER_LEN..at + BLOCK_HEADER_LEN + len;
                    assert_eq!(bytes[payload.clone()], self.bytes[payload]);
                    at += BLOCK_HEADER_LEN + len;
                    before += len as u64;
                    count += 1;
                }
                end => return (count, end),
            }
        }
    }

    fn has_header(&self, bytes: &[u8]) -> bool {
        let head = bytes.first_chunk::<HEADER_LEN>();
        head.is_some_and(|head| check_header(head, Offset::new(self.start)).is_ok())
    }

    /// Blocks that end at or before this byte.
    fn whole_before(&self, at: usize) -> usize {
        let ends = self
            .blocks
            .iter()
            .map(|(begin, len)| begin + BLOCK_HEADER_LEN + len);
        ends.filter(|end| *end <= at).count()
    }
}

fn whole(file: &File) {
    assert!(file.has_header(&file.bytes));
    assert_eq!(file.read(&file.bytes), (file.blocks.len(), Parsed::Seal));
}

fn flipped(file: &File, at: usize, bits: u8) {
    let mut bytes = file.bytes.clone();
    bytes[at] ^= bits;
    if at < HEADER_LEN {
        assert!(!file.has_header(&bytes));
        return;
    }
    let (count, end) = file.read(&bytes);
    assert_eq!(count, file.whole_before(at));
    assert!(matches!(end, Parsed::Bad(_) | Parsed::Short), "{end:?}");
    // The first that begins behind the damage: a block, or the seal.
    let begins = file.blocks.iter().map(|(begin, _)| *begin).chain([file.seal]);
    let expected = begins.into_iter().find(|begin| *begin > at);
    let offsets = Offset::new(file.start)..=Offset::new(file.end);
    assert_eq!(
        find_block(&bytes[at + 1..], &offsets).map(|found| at + 1 + found),
        expected
    );
}

fn cut(file: &File, at: usize) {
    let bytes = &file.bytes[..at];
    if at < HEADER_LEN {
        assert!(!file.has_header(bytes));
        return;
    }
    assert_eq!(file.read(bytes), (file.whole_before(at), Parsed::Short));
}
