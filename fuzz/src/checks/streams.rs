//! Streams put together from the input. See [`super::assembled`].

use gunyu::core::rdb::value::{Element, StreamId};

use super::assembled::{Assembled, Source, length, listpack_of, push_entry};

/// A stream of this type: listpacks, what it knows of itself, groups, producers; of each a few.
pub fn stream(value_type: u8, source: &mut Source, string: impl Fn(&[u8]) -> Vec<u8>) -> Assembled {
    let mut texts = Vec::new();
    let mut last = (0, 0);
    let nodes = source.byte() % 4;
    let mut value = length(nodes.into());
    let mut live = 0;
    for _ in 0..nodes {
        let (master, packed) = node(source, &mut last, &mut live, &mut texts);
        value.extend(string(&master));
        value.extend(string(&packed));
    }
    let more = if value_type >= 19 { 5 } else { 0 };
    value.extend([live, last.0, last.1].map(length).concat());
    value.extend((0..more).flat_map(|_| any_length(source)));
    value.extend(groups(value_type, source, &string));
    if value_type >= 26 {
        value.extend(producers(source, &string));
    }
    Assembled { value, texts }
}

/// The texts that an entry consists of; nothing for what else a stream has.
pub fn texts_of(element: &Element, texts: &mut Vec<Vec<u8>>) {
    let Element::Entry { id, fields } = element else {
        return;
    };
    texts.push(id.to_string().into_bytes());
    for (name, value) in fields {
        texts.extend([name.to_vec(), value.to_vec()]);
    }
}

/// A listpack under way.
#[derive(Default)]
struct Pack {
    body: Vec<u8>,
    entries: usize,
}

impl Pack {
    fn push(&mut self, entry: &[u8]) {
        push_entry(&mut self.body, entry);
        self.entries += 1;
    }

    fn number(&mut self, number: i64) {
        self.push(&integer(number));
    }
}

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// A listpack's master id, and the listpack. `last` is the id of the last entry, `live` how many there are that are not deleted.
fn node(
    source: &mut Source,
    last: &mut (u64, u64),
    live: &mut u64,
    texts: &mut Vec<Vec<u8>>,
) -> ([u8; 16], Vec<u8>) {
    // Far from the last id, or ids would never need more than a few bits.
    last.0 += u64::from(u32::from_be_bytes(source.array()));
    let master = (last.0, last.1);
    let names: Vec<Vec<u8>> = (0..source.byte() % 4).map(|_| text(source)).collect();
    let mut pack = Pack::default();
    let (mut entries, mut deleted) = (0, 0);
    for _ in 0..source.byte() % 5 {
        let flags = source.byte() % 4;
        last.1 += 1 + u64::from(source.byte());
        let fields = entry(&mut pack, flags, last.1 - master.1, &names, source);
        if flags & 1 != 0 {
            deleted += 1;
            continue;
        }
        entries += 1;
        let (ms, seq) = *last;
        texts.push(StreamId { ms, seq }.to_string().into_bytes());
        texts.extend(fields.into_iter().flat_map(|(name, value)| [name, value]));
    }
    *live += entries as u64;
    let mut head = Pack::default();
    for number in [entries, deleted, names.len() as i64] {
        head.number(number);
    }
    for name in &names {
        head.push(&entry_of(name));
    }
    head.number(0);
    let count = head.entries + pack.entries;
    let master = u128::from(master.0) << 64 | u128::from(master.1);
    (
        master.to_be_bytes(),
        listpack_of(&[head.body, pack.body].concat(), count),
    )
}

/// Appends an entry, and gives its fields.
fn entry(pack: &mut Pack, flags: u8, seq: u64, names: &[Vec<u8>], source: &mut Source) -> Fields {
    let same_fields = flags & 2 != 0;
    let fields: Fields = match same_fields {
        true => names.iter().map(|name| (name.clone(), text(source))).collect(),
        false => (0..source.byte() % 4)
            .map(|_| (text(source), text(source)))
            .collect(),
    };
    let before = pack.entries;
    for number in [i64::from(flags), 0, seq as i64] {
        pack.number(number);
    }
    if !same_fields {
        pack.number(fields.len() as i64);
    }
    for (name, value) in &fields {
        if !same_fields {
            pack.push(&entry_of(name));
        }
        pack.push(&entry_of(value));
    }
    let parts = pack.entries - before;
    pack.number(parts as i64);
    fields
}

fn groups(value_type: u8, source: &mut Source, string: &impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let groups = source.byte() % 3;
    let mut value = length(groups.into());
    for _ in 0..groups {
        value.extend(string(&text(source)));
        let lengths = if value_type >= 19 { 3 } else { 2 };
        value.extend((0..lengths).flat_map(|_| any_length(source)));
        let pending = source.byte() % 4;
        value.extend(length(pending.into()));
        for _ in 0..pending {
            value.extend(source.array::<24>());
            value.extend(any_length(source));
        }
        let consumers = source.byte() % 3;
        value.extend(length(consumers.into()));
        for _ in 0..consumers {
            value.extend(string(&text(source)));
            let times = if value_type >= 21 { 16 } else { 8 };
            value.extend(&source.array::<16>()[..times]);
            value.extend(ids(source));
        }
        if value_type >= 27 {
            value.extend(ids(source));
        }
    }
    value
}

fn producers(source: &mut Source, string: &impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut value = [any_length(source), any_length(source)].concat();
    let producers = source.byte() % 3;
    value.extend(length(producers.into()));
    for _ in 0..producers {
        value.extend(string(&text(source)));
        let produced = source.byte() % 3;
        value.extend(length(produced.into()));
        for _ in 0..produced {
            value.extend(string(&text(source)));
            value.extend([any_length(source), any_length(source)].concat());
        }
    }
    value.extend([any_length(source), any_length(source)].concat());
    value
}

fn ids(source: &mut Source) -> Vec<u8> {
    let count = source.byte() % 3;
    let mut value = length(count.into());
    for _ in 0..count {
        value.extend(source.array::<16>());
    }
    value
}

/// A length of whatever size: 0 to 8 bytes of it.
fn any_length(source: &mut Source) -> Vec<u8> {
    let bytes = usize::from(source.byte() % 9);
    let digits = source.take(bytes).iter();
    length(digits.fold(0, |length, digit| length << 8 | u64::from(*digit)))
}

fn text(source: &mut Source) -> Vec<u8> {
    let len = usize::from(source.byte());
    source.take(len % 80).to_vec()
}

/// A listpack's entry for a text.
fn entry_of(text: &[u8]) -> Vec<u8> {
    match text.len() {
        0..=63 => [&[0x80 | text.len() as u8][..], text].concat(),
        len => [&[0xe0 | (len >> 8) as u8, len as u8][..], text].concat(),
    }
}

/// A listpack's entry for an integer.
fn integer(number: i64) -> Vec<u8> {
    match number {
        0..=127 => vec![number as u8],
        -4096..=4095 => vec![0xc0 | (number >> 8) as u8 & 0x1f, number as u8],
        -32_768..=32_767 => [&[0xf1][..], &(number as i16).to_le_bytes()].concat(),
        _ => [&[0xf4][..], &number.to_le_bytes()].concat(),
    }
}
