//! RDB files written by hand.

use gunyu::core::rdb::Checksum;

/// A file in the making.
pub(crate) struct File(pub(crate) Vec<u8>);

impl File {
    /// Of this magic.
    pub(crate) fn new(magic: &str) -> File {
        File(magic.as_bytes().to_vec())
    }

    pub(crate) fn raw(mut self, bytes: impl AsRef<[u8]>) -> File {
        self.0.extend_from_slice(bytes.as_ref());
        self
    }

    pub(crate) fn key(self, name: impl AsRef<[u8]>, value_type: u8, value: impl AsRef<[u8]>) -> File {
        self.raw([value_type]).raw(string(name)).raw(value)
    }

    /// The end, with a checksum where the version has one.
    pub(crate) fn end(self) -> Vec<u8> {
        match self.0.starts_with(b"REDIS") && self.0[8] < b'5' && self.0[7] == b'0' {
            true => self.end_without_checksum(),
            false => self.end_with_checksum(),
        }
    }

    /// The end as servers since 2.6 write it.
    pub(crate) fn end_with_checksum(self) -> Vec<u8> {
        let mut file = self.end_without_checksum();
        let checksum = Checksum::of(&file);
        file.extend_from_slice(&checksum.to_le_bytes());
        file
    }

    /// The end as servers before 2.6 wrote it.
    pub(crate) fn end_without_checksum(self) -> Vec<u8> {
        self.raw([0xff]).0
    }
}

/// A length.
pub(crate) fn len(len: usize) -> Vec<u8> {
    match len {
        0..=63 => vec![len as u8],
        64..=16_383 => vec![0x40 | (len >> 8) as u8, len as u8],
        _ => [&[0x80][..], &u32::try_from(len).unwrap().to_be_bytes()].concat(),
    }
}

/// A plain string.
pub(crate) fn string(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [&len(bytes.len()), bytes].concat()
}

/// A string of so many bytes, "abcdefgh" over and over, packed with LZF into a 88th.
pub(crate) fn packed(runs: usize) -> (Vec<u8>, usize) {
    let unpacked = 8 + 264 * runs;
    let packed = [&b"\x07abcdefgh"[..], &[0xe0, 0xff, 7].repeat(runs)].concat();
    (
        [&[0xc3][..], &len(packed.len()), &len(unpacked), &packed].concat(),
        unpacked,
    )
}

/// A ziplist of entries that bring their encoding, with this count in its head.
pub(crate) fn ziplist(entries: &[&[u8]], count: u16) -> Vec<u8> {
    let (mut body, mut previous, mut tail) = (Vec::new(), 0, 10);
    for entry in entries {
        tail = 10 + body.len();
        assert!(previous < 254 && entry.len() < 253);
        body.push(previous as u8);
        body.extend_from_slice(entry);
        previous = entry.len() + 1;
    }
    body.push(0xff);
    let total = body.len() as u32 + 10;
    let head = [total.to_le_bytes(), (tail as u32).to_le_bytes()].concat();
    string([&head[..], &count.to_le_bytes(), &body].concat())
}

/// A listpack of entries that bring their encoding and are shorter than 128 bytes, with this count in its head.
pub(crate) fn listpack(entries: &[impl AsRef<[u8]>], count: u16) -> Vec<u8> {
    let mut body = Vec::new();
    for entry in entries {
        let entry = entry.as_ref();
        assert!(entry.len() < 128);
        body.extend_from_slice(entry);
        body.push(entry.len() as u8);
    }
    body.push(0xff);
    let total = body.len() as u32 + 6;
    [&total.to_le_bytes()[..], &count.to_le_bytes(), &body].concat()
}

/// An entry of a listpack: a text shorter than 64 bytes.
pub(crate) fn text(text: &str) -> Vec<u8> {
    assert!(text.len() < 64);
    [&[0x80 | text.len() as u8], text.as_bytes()].concat()
}
