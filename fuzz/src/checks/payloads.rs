//! `RESTORE` payloads: what was put in comes out, version and checksum are right.
//!
//! | input byte | what |
//! | --- | --- |
//! | 1st | which type; the last choice is functions |
//! | 2nd, 3rd | the version in the footer, little endian |
//! | 4th, lower 6 bits | the size of the pieces in which the value is read, less 1 |
//! | 4th, bit 7 | the key has metadata of a module |
//! | others | the value as it stands in an RDB; of functions the code of each: two bytes for its length, big endian, and the code |

use bytes::{Bytes, BytesMut};
use gunyu::core::rdb::payload::{self, FOOTER_BYTES, Payload};
use gunyu::core::rdb::{Checksum, Flavor, Item, Version, unpack};

use super::assembled::string;
use super::items::{MAGICS, file, items_of};
use super::values::{self, Kind};

/// Every type there is.
const KINDS: [&[Kind]; 9] = [
    values::PLAIN,
    values::LISTPACK,
    values::ZIPLIST,
    values::ZIPMAP,
    values::INTSET,
    values::QUICKLIST,
    values::STREAM,
    values::HASH_TTL,
    values::MODULE,
];

/// Metadata of one class: four bytes of it, and an integer that a module wrote.
const META: &[u8] = b"\xf3\x01CLAS\x02\x07\x00";

const WITH_META: u8 = 0x80;

/// See the table.
pub fn check(input: &[u8]) {
    let [which, low, high, how, rest @ ..] = input else {
        return;
    };
    let footer = u16::from_le_bytes([*low, *high]);
    match all_kinds().nth(usize::from(*which) % (all_kinds().count() + 1)) {
        Some(kind) => check_value(kind, footer, *how, rest),
        None => check_functions(footer, rest),
    }
}

/// The types in the order of the first byte.
pub fn all_kinds() -> impl Iterator<Item = Kind> {
    KINDS.into_iter().flatten().copied()
}

fn check_value(kind: Kind, footer: u16, how: u8, value: &[u8]) {
    let has_meta = how & WITH_META != 0 && kind.1 == Flavor::Redis;
    let payload = Payload {
        meta: if has_meta { META } else { b"" },
        value_type: kind.0,
        value,
    };
    let written = write(|out| payload.write(out, footer));
    assert_eq!(written.len(), payload.len_bytes());
    assert_footer(&written, footer);
    let (body, _) = written.split_at(written.len() - FOOTER_BYTES);
    let after_meta = body.strip_prefix(payload.meta).expect("metadata comes first");
    assert_eq!(after_meta.split_first(), Some((&kind.0, value)));
    let taken_out = Bytes::copy_from_slice(&after_meta[1..]);
    let decodes = values::agree(kind, &taken_out, usize::from(how & 0x3f) + 1).is_ok();

    // In a file the key's name stands between type and value.
    let magic = if kind.1 == Flavor::Redis {
        MAGICS[1]
    } else {
        MAGICS[2]
    };
    let key = [payload.meta, &[kind.0], &string(b"name"), value].concat();
    match items_of(&file(magic, &key, true)).as_deref() {
        Ok([Item::Key(key)]) => {
            let again = write(|out| key.payload().write(out, footer));
            assert_eq!(again, written, "the payload of the key in a file is another");
        }
        other => assert!(
            !decodes,
            "the value can be decoded, and yet a file with it has {other:?}"
        ),
    }
}

fn check_functions(footer: u16, mut rest: &[u8]) {
    let mut codes: Vec<&[u8]> = Vec::new();
    while let [high, low, more @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let (code, after) = more.split_at(len.min(more.len()));
        codes.push(code);
        rest = after;
    }
    let libraries: Vec<Vec<u8>> = codes.iter().map(|code| string(code)).collect();
    let written = write(|out| {
        payload::write_functions(out, libraries.iter().map(Vec::as_slice), footer);
    });
    assert_footer(&written, footer);
    let body = &written[..written.len() - FOOTER_BYTES];
    let items = items_of(&file(MAGICS[1], body, true)).expect("a payload of functions is a part of a file");
    let found = items.iter().map(|item| match item {
        Item::Function(library) => unpack(library).expect("it was written as a string"),
        other => panic!("{other:?} among functions"),
    });
    assert!(found.eq(codes), "other functions than were written");
}

/// Writes behind something else, and takes off what was written.
fn write(write: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::from(&b"before"[..]);
    write(&mut out);
    let written = out.split_off(6);
    assert_eq!(&out[..], b"before");
    written.freeze()
}

fn assert_footer(written: &[u8], footer: u16) {
    assert_eq!(payload::version_of(written), Some(Version::of_footer(footer)));
    let (checked, checksum) = written.split_at(written.len() - 8);
    assert_eq!(checksum, Checksum::of(checked).to_le_bytes());
    assert!(checked.ends_with(&footer.to_le_bytes()));
}
