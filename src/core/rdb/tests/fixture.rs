//! Files written by hand, and what scanning them gives.

use bytes::{BufMut, Bytes, BytesMut};

use super::super::layout::opcode;
use super::super::*;

pub(in crate::core::rdb) const REDIS: Version = Version {
    flavor: Flavor::Redis,
    number: 13,
};
pub(in crate::core::rdb) const VALKEY: Version = Version {
    flavor: Flavor::Valkey,
    number: 80,
};

/// Writes a file.
pub(in crate::core::rdb) struct File(pub(in crate::core::rdb) BytesMut);

impl File {
    pub(in crate::core::rdb) fn new(version: Version) -> File {
        File(BytesMut::from(version.to_string().as_bytes()))
    }

    pub(in crate::core::rdb) fn raw(mut self, bytes: &[u8]) -> File {
        self.0.put_slice(bytes);
        self
    }

    pub(in crate::core::rdb) fn key(self, name: &[u8], value_type: u8, value: &[u8]) -> File {
        self.raw(&[value_type]).raw(&string(name)).raw(value)
    }

    /// The opcode for the end and the checksum.
    pub(in crate::core::rdb) fn end(self) -> Bytes {
        let mut file = self.raw(&[opcode::EOF]);
        let checksum = Checksum::of(&file.0);
        file.0.put_u64_le(checksum);
        file.0.freeze()
    }
}

pub(in crate::core::rdb) fn len(len: usize) -> Vec<u8> {
    match len {
        0..=63 => vec![len as u8],
        64..=16_383 => vec![0x40 | (len >> 8) as u8, len as u8],
        _ => [&[0x80][..], &(len as u32).to_be_bytes()].concat(),
    }
}

pub(in crate::core::rdb) fn string(bytes: &[u8]) -> Vec<u8> {
    [len(bytes.len()), bytes.to_vec()].concat()
}

/// 40 times "a" as LZF: "a", then 39 = 7 + 2 + 30 from one back.
pub(in crate::core::rdb) const LZF_A40: &[u8] = &[0xc3, 5, 40, 0, b'a', 0xe0, 30, 0];

pub(in crate::core::rdb) fn scan(
    mut scanner: Scanner,
    chunks: impl IntoIterator<Item = Bytes>,
) -> Result<(Vec<Item>, End), Error> {
    let mut items = Vec::new();
    for chunk in chunks {
        scanner.push(chunk);
        while let Step::Item(item) = scanner.step()? {
            items.push(item);
        }
    }
    Ok((items, scanner.finish()?))
}

pub(in crate::core::rdb) fn scan_all(file: &Bytes) -> Result<Vec<Item>, Error> {
    let (items, end) = scan(Scanner::new(), [file.clone()])?;
    assert_eq!(
        end,
        End {
            len_bytes: file.len() as u64,
            checked: true
        }
    );
    Ok(items)
}

pub(in crate::core::rdb) fn only_key(file: &Bytes) -> Key {
    match &scan_all(file).unwrap()[..] {
        [Item::Key(key)] => key.clone(),
        other => panic!("not one key: {other:?}"),
    }
}

/// The cause of the error that a file ends in.
pub(in crate::core::rdb) fn cause(file: &Bytes) -> Cause {
    scan(Scanner::new(), [file.clone()]).unwrap_err().cause
}

/// A value of each type, by hand from `rdb.c`, with nested counts above one.
pub(in crate::core::rdb) fn values() -> Vec<(Version, u8, Vec<u8>)> {
    let entries = b"\x02\x10IDIDIDIDIDIDIDID\x03lp1\x10IDIDIDIDIDIDIDID\x02lp";
    let pending = [
        b"\x02".as_slice(),
        &[b'p'; 16],
        &[b't'; 8],
        b"\x01",
        &[b'p'; 16],
        &[b't'; 8],
        b"\x40\x50",
    ]
    .concat();
    let ids = [b"\x02".as_slice(), &[b'o'; 32]].concat();
    let consumers = |times| {
        [
            b"\x02\x02c1",
            &vec![b't'; times][..],
            &ids,
            b"\x02c2",
            &vec![b't'; times],
            b"\x00",
        ]
        .concat()
    };
    let group = |read: &[u8], times, nacked: &[u8]| {
        [
            b"\x01\x05group\x01\x00".as_slice(),
            read,
            &pending,
            &consumers(times),
            nacked,
        ]
        .concat()
    };
    let long_id = b"\x81\x00\x00\x01\x8f\x00\x00\x00\x01\x07";
    let (counts, more) = (
        [b"\x04".as_slice(), long_id].concat(),
        b"\x01\x02\x00\x00\x04".as_slice(),
    );
    let idmp = [
        b"\x40\x64\x40\x64\x02\x02p1\x02\x02i1".as_slice(),
        long_id,
        b"\x02i2",
        long_id,
        b"\x02p2\x00\x03\x01",
    ]
    .concat();
    let module = b"\x81\x11\x22\x33\x44\x55\x66\x77\x88\x02\x07\x01\x05\x03FFFF\x04DDDDDDDD\x05\x03str\x05\xc1\x01\x02\x00".to_vec();
    let blob = string(b"blob");
    let stream = |parts: &[&[u8]]| [entries, &counts[..], &parts.concat()].concat();
    vec![
        (REDIS, 0, blob.clone()),
        (REDIS, 0, b"\xc0\x05".to_vec()),
        (REDIS, 0, b"\xc1\x05\x05".to_vec()),
        (REDIS, 0, b"\xc2\x05\x05\x05\x05".to_vec()),
        (REDIS, 0, LZF_A40.to_vec()),
        (REDIS, 0, string(&[b'x'; 70_000])),
        (REDIS, 1, b"\x02\x01a\xc0\x01".to_vec()),
        (REDIS, 2, [b"\x03\x01a\x00".as_slice(), LZF_A40].concat()),
        (REDIS, 3, b"\x04\x01a\x031.5\x01b\xff\x01c\xfe\x01d\xfd".to_vec()),
        (REDIS, 4, b"\x02\x01f\x01v\x01g\xc0\x01".to_vec()),
        (REDIS, 5, b"\x02\x01aDOUBLE64\x01bDOUBLE64".to_vec()),
        (REDIS, 7, module),
        (REDIS, 9, blob.clone()),
        (REDIS, 10, blob.clone()),
        (REDIS, 11, blob.clone()),
        (REDIS, 12, blob.clone()),
        (REDIS, 13, blob.clone()),
        (REDIS, 14, [b"\x02", &blob[..], LZF_A40].concat()),
        (REDIS, 15, stream(&[&group(b"", 8, b"")])),
        (REDIS, 16, blob.clone()),
        (REDIS, 17, LZF_A40.to_vec()),
        (REDIS, 18, [b"\x02\x01", &blob[..], b"\x02", LZF_A40].concat()),
        (REDIS, 19, stream(&[more, &group(b"\x03", 8, b"")])),
        (REDIS, 20, blob.clone()),
        (REDIS, 21, stream(&[more, &group(b"\x03", 16, b"")])),
        (REDIS, 22, b"\x02\x00\x01f\x01v\x40\x50\x01g\x01v".to_vec()),
        (REDIS, 23, blob.clone()),
        (REDIS, 24, b"MINIMUM8\x02\x00\x01f\x01v\x05\x01g\x01v".to_vec()),
        (REDIS, 25, [b"MINIMUM8", &blob[..]].concat()),
        (REDIS, 26, stream(&[more, &group(b"\x03", 16, b""), &idmp])),
        (REDIS, 27, stream(&[more, &group(b"\x03", 16, &ids), &idmp])),
        (VALKEY, 0, blob.clone()),
        (VALKEY, 21, stream(&[more, &group(b"\x03", 16, b"")])),
        (
            VALKEY,
            22,
            b"\x02\x01f\x01vEXPIRES8\x01g\x01v\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
        ),
    ]
}

/// A file with a value of every type of the flavor, and some of everything else.
pub(in crate::core::rdb) fn everything(version: Version) -> Bytes {
    let mut file = File::new(version).raw(b"\xfa\x09redis-ver\x057.0.1\xf5\x04code\xfe\x00\xfb\x05\x01");
    for (n, (_, value_type, value)) in values()
        .into_iter()
        .filter(|value| value.0 == version)
        .enumerate()
    {
        if n % 3 == 0 {
            file = file
                .raw(&[opcode::EXPIRETIME_MS])
                .raw(&[1; 8])
                .raw(&[opcode::IDLE, 0x40, 0x50]);
        }
        if n == 7 {
            file = file.raw(&[opcode::SELECTDB, 9]);
        }
        file = file.key(format!("key:{n}").as_bytes(), value_type, &value);
    }
    file.end()
}

pub(in crate::core::rdb) fn cut(file: &Bytes, mut sizes: impl Iterator<Item = usize>) -> Vec<Bytes> {
    let mut rest = file.clone();
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        let size = sizes.next().unwrap_or(usize::MAX).min(rest.len());
        chunks.push(rest.split_to(size));
    }
    chunks
}
