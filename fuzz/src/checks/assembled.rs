//! Values put together from the input, so that every length and count in them is right: a fuzzer that changes single bytes hardly gets past
//! a listpack's header otherwise. What was put into a value must come out of it.
//!
//! The input describes entries, one after another: an encoding as the format has it, and what follows it, fewer bytes where the input ends.
//! Lengths before and behind an entry, counts and totals are made. 255 ends a packed string; in a list the next one begins.

use gunyu::core::rdb::Flavor;
use gunyu::core::rdb::value::Element;

use super::streams;
use super::values::Kind;

/// A value, and the texts that its elements consist of.
pub struct Assembled {
    pub value: Vec<u8>,
    pub texts: Vec<Vec<u8>>,
}

/// The input, used up from its front. Behind its end there are zeros.
pub struct Source<'a>(pub &'a [u8]);

impl<'a> Source<'a> {
    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    /// At most `len` bytes.
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// `N` bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let taken = self.take(N);
        std::array::from_fn(|at| taken.get(at).copied().unwrap_or(0))
    }
}

/// A value of this type; none for types whose values have nothing to put right.
pub fn value(kind: Kind, input: &[u8], lzf: bool) -> Option<Assembled> {
    let source = &mut Source(input);
    let string = |packed: &[u8]| {
        if lzf {
            literally_packed(packed)
        } else {
            string(packed)
        }
    };
    let (packed, texts) = match kind {
        (9, _) => zipmap(source),
        (11, _) => intset(source),
        (10, _) => ziplist(source, 1, false),
        (13, _) => ziplist(source, 2, false),
        (12, _) => ziplist(source, 2, true),
        (16, _) => listpack(source, 2, false),
        (20, _) => listpack(source, 1, false),
        (17, _) => listpack(source, 2, true),
        (23 | 25, Flavor::Redis) => listpack(source, 3, true),
        (14 | 18, _) => return Some(quicklist(kind.0 == 18, source, string)),
        (15 | 19 | 21 | 26 | 27, _) => return Some(streams::stream(kind.0, source, string)),
        _ => return None,
    };
    let mut value = if kind.0 == 25 { vec![7; 8] } else { Vec::new() };
    value.extend(string(&packed));
    Some(Assembled { value, texts })
}

/// The texts that elements consist of, as [`value`] gives them.
pub fn texts_of(kind: Kind, elements: &[Element]) -> Vec<Vec<u8>> {
    let expires = matches!(kind, (23 | 25, Flavor::Redis));
    let mut texts = Vec::new();
    for element in elements {
        match element {
            Element::Item(text) | Element::Member(text) => texts.push(text.to_vec()),
            Element::Scored { member, score } => {
                texts.push(member.to_vec());
                texts.push(score.to_string().into_bytes());
            }
            Element::Field {
                name,
                value,
                expire_at_ms,
            } => {
                texts.extend([name.to_vec(), value.to_vec()]);
                texts.extend(expires.then(|| expire_at_ms.unwrap_or(0).to_string().into_bytes()));
            }
            other => streams::texts_of(other, &mut texts),
        }
    }
    texts
}

fn quicklist(has_containers: bool, source: &mut Source, string: impl Fn(&[u8]) -> Vec<u8>) -> Assembled {
    let (mut nodes, mut count, mut texts) = (Vec::new(), 0, Vec::new());
    while !source.0.is_empty() {
        count += 1;
        if has_containers && source.byte().is_multiple_of(4) {
            let len = usize::from(source.byte());
            let item = source.take(len);
            nodes.push(1);
            nodes.extend(string(item));
            texts.push(item.to_vec());
            continue;
        }
        let (packed, more) = match has_containers {
            true => listpack(source, 1, false),
            false => ziplist(source, 1, false),
        };
        nodes.extend(has_containers.then_some(2));
        nodes.extend(string(&packed));
        texts.extend(more);
    }
    Assembled {
        value: [length(count), nodes].concat(),
        texts,
    }
}

/// A listpack whose entries belong together by `each`; the last of them is a number where that is asked for.
pub fn listpack(source: &mut Source, each: usize, numbers: bool) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (mut body, mut texts) = (Vec::new(), Vec::new());
    while !source.0.is_empty() && texts.len() < 65_000 || texts.len() % each != 0 {
        let encoding = source.byte();
        if encoding == 255 && texts.len() % each == 0 {
            break;
        }
        let number = numbers && texts.len() % each == each - 1;
        let (entry, text) = match number && !matches!(encoding, 0xc0..=0xdf | 0xf1..=0xf4) {
            true => (vec![encoding & 0x7f], (encoding & 0x7f).to_string().into_bytes()),
            false => listpack_entry(encoding, source),
        };
        push_entry(&mut body, &entry);
        texts.push(match number && each == 2 {
            true => score_of(&text),
            false => text,
        });
    }
    (listpack_of(&body, texts.len()), texts)
}

/// A listpack of so many entries, which are written already.
pub fn listpack_of(body: &[u8], count: usize) -> Vec<u8> {
    let total = body.len() as u32 + 7;
    let count = count as u16;
    [&total.to_le_bytes()[..], &count.to_le_bytes(), body, &[255]].concat()
}

/// Appends an entry, and its length behind it.
pub fn push_entry(body: &mut Vec<u8>, entry: &[u8]) {
    body.extend_from_slice(entry);
    let mut digits = vec![entry.len() & 0x7f];
    while entry.len() >> (7 * digits.len()) > 0 {
        digits.push(entry.len() >> (7 * digits.len()) & 0x7f);
    }
    let last = digits.len() - 1;
    let bits = digits.iter().enumerate().rev();
    body.extend(bits.map(|(at, digit)| *digit as u8 | if at == last { 0 } else { 0x80 }));
}

fn listpack_entry(encoding: u8, source: &mut Source) -> (Vec<u8>, Vec<u8>) {
    match encoding {
        0x80..=0xbf => {
            let data = source.take(usize::from(encoding & 0x3f));
            ([&[0x80 | data.len() as u8][..], data].concat(), data.to_vec())
        }
        0xc0..=0xdf => {
            let low = source.byte();
            let bits = i64::from(encoding & 0x1f) * 256 + i64::from(low);
            let number = if bits < 4096 { bits } else { bits - 8192 };
            (vec![encoding, low], number.to_string().into_bytes())
        }
        0xe0..=0xef => {
            let len = usize::from(encoding & 0x0f) * 256 + usize::from(source.byte());
            let data = source.take(len);
            let header = [0xe0 | (data.len() >> 8) as u8, data.len() as u8];
            ([&header[..], data].concat(), data.to_vec())
        }
        0xf0 => {
            let len = usize::from(source.byte()) * 64;
            let data = source.take(len);
            let header = [&[0xf0][..], &(data.len() as u32).to_le_bytes()].concat();
            ([&header[..], data].concat(), data.to_vec())
        }
        0xf1..=0xf4 => integer(encoding, [2, 3, 4, 8][usize::from(encoding - 0xf1)], source),
        _ => (vec![encoding & 0x7f], (encoding & 0x7f).to_string().into_bytes()),
    }
}

/// An integer of so many bytes after its encoding.
fn integer(encoding: u8, bytes: usize, source: &mut Source) -> (Vec<u8>, Vec<u8>) {
    let mut taken = source.take(bytes).to_vec();
    taken.resize(bytes, 0);
    let mut wide = [if taken[bytes - 1] < 0x80 { 0 } else { 0xff }; 8];
    wide[..bytes].copy_from_slice(&taken);
    let text = i64::from_le_bytes(wide).to_string().into_bytes();
    ([vec![encoding], taken].concat(), text)
}

fn score_of(text: &[u8]) -> Vec<u8> {
    let number: i64 = String::from_utf8_lossy(text)
        .parse()
        .expect("a number was written");
    (number as f64).to_string().into_bytes()
}

/// A ziplist, as [`listpack`]. An encoding that no value has (193 to 207) makes the next entry's prevlen a long one.
fn ziplist(source: &mut Source, each: usize, numbers: bool) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (mut body, mut texts) = (Vec::new(), Vec::new());
    let (mut tail, mut previous, mut long) = (0, 0, false);
    while !source.0.is_empty() && texts.len() < 65_000 || texts.len() % each != 0 {
        let encoding = source.byte();
        match encoding {
            255 if texts.len() % each == 0 => break,
            0xc1..=0xcf => {
                long = true;
                continue;
            }
            _ => {}
        }
        tail = body.len();
        match long || previous >= 254 {
            true => body.extend([&[254][..], &(previous as u32).to_le_bytes()].concat()),
            false => body.push(previous as u8),
        }
        let number = numbers && texts.len() % each == each - 1;
        let encoding = if number { encoding | 0xf0 } else { encoding };
        let (entry, text) = ziplist_entry(encoding, source);
        body.extend(entry);
        texts.push(if number { score_of(&text) } else { text });
        (previous, long) = (body.len() - tail, false);
    }
    let sizes = [body.len() as u32 + 11, tail as u32 + 10].map(u32::to_le_bytes);
    let count = (texts.len() as u16).to_le_bytes();
    ([&sizes.concat()[..], &count, &body, &[255]].concat(), texts)
}

fn ziplist_entry(encoding: u8, source: &mut Source) -> (Vec<u8>, Vec<u8>) {
    let (header, data) = match encoding {
        0x00..=0x3f => {
            let data = source.take(usize::from(encoding));
            (vec![data.len() as u8], data)
        }
        0x40..=0x7f => {
            let len = usize::from(encoding & 0x3f) * 256 + usize::from(source.byte());
            let data = source.take(len);
            (vec![0x40 | (data.len() >> 8) as u8, data.len() as u8], data)
        }
        0x80..=0xbf => {
            let data = source.take(usize::from(encoding & 0x3f) * 64);
            let len = (data.len() as u32).to_be_bytes();
            ([&[encoding][..], &len].concat(), data)
        }
        0xd0..=0xdf => return integer(0xd0, 4, source),
        0xe0..=0xef => return integer(0xe0, 8, source),
        0xf0 => return integer(0xf0, 3, source),
        0xf1..=0xfd => {
            let number = encoding - 0xf1;
            return (vec![encoding], number.to_string().into_bytes());
        }
        0xfe => return integer(0xfe, 1, source),
        _ => return integer(0xc0, 2, source),
    };
    ([&header[..], data].concat(), data.to_vec())
}

/// A zipmap: of each pair the length of the name, the name, that of the value, the padding, the value.
fn zipmap(source: &mut Source) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (mut body, mut texts) = (Vec::new(), Vec::new());
    while !source.0.is_empty() {
        let name_bytes = usize::from(source.byte()) * 2;
        let name = source.take(name_bytes);
        let value_bytes = usize::from(source.byte()) * 2;
        let padding = source.byte() % 9;
        let value = source.take(value_bytes);
        body.extend([zipmap_length(name.len()), name.to_vec()].concat());
        body.extend([zipmap_length(value.len()), vec![padding], value.to_vec()].concat());
        body.extend(std::iter::repeat_n(b'p', usize::from(padding)));
        texts.extend([name.to_vec(), value.to_vec()]);
    }
    let count = (texts.len() / 2).min(254) as u8;
    ([&[count][..], &body, &[255]].concat(), texts)
}

fn zipmap_length(len: usize) -> Vec<u8> {
    match len {
        0..=253 => vec![len as u8],
        _ => [&[254][..], &(len as u32).to_le_bytes()].concat(),
    }
}

/// An intset: first a byte for the width, then the integers in any order.
fn intset(source: &mut Source) -> (Vec<u8>, Vec<Vec<u8>>) {
    let width = [2, 4, 8][usize::from(source.byte() % 3)];
    let mut numbers = std::collections::BTreeSet::new();
    while !source.0.is_empty() {
        let (_, text) = integer(0, width, source);
        numbers.insert(
            String::from_utf8_lossy(&text)
                .parse::<i64>()
                .expect("a number was written"),
        );
    }
    let mut packed = [width as u32, numbers.len() as u32]
        .map(u32::to_le_bytes)
        .concat();
    for number in &numbers {
        packed.extend_from_slice(&number.to_le_bytes()[..width]);
    }
    (
        packed,
        numbers
            .iter()
            .map(|number| number.to_string().into_bytes())
            .collect(),
    )
}

/// A length as an RDB has it.
pub fn length(len: u64) -> Vec<u8> {
    match len {
        0..=63 => vec![len as u8],
        64..=16_383 => vec![0x40 | (len >> 8) as u8, len as u8],
        16_384..=0xffff_ffff => [&[0x80][..], &(len as u32).to_be_bytes()].concat(),
        _ => [&[0x81][..], &len.to_be_bytes()].concat(),
    }
}

/// A string as an RDB has it.
pub fn string(bytes: &[u8]) -> Vec<u8> {
    [&length(bytes.len() as u64)[..], bytes].concat()
}

/// The same as LZF that shortens nothing.
pub fn literally_packed(bytes: &[u8]) -> Vec<u8> {
    let runs = bytes
        .chunks(32)
        .map(|run| [&[run.len() as u8 - 1][..], run].concat());
    let packed: Vec<u8> = runs.collect::<Vec<_>>().concat();
    let lengths = [length(packed.len() as u64), length(bytes.len() as u64)].concat();
    [&[0xc3][..], &lengths, &packed].concat()
}
