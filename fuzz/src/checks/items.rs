//! Files: the same items, or the same error, however they are cut, and wherever the scan is resumed.
//!
//! | input byte | what |
//! | --- | --- |
//! | 1st, lower 6 bits | the size of the chunks, less 1 |
//! | 1st, bit 6 | the opcode for the end and the right checksum are to be appended |
//! | 1st, bit 7 | a header is to be put before |
//! | 2nd | values beyond so many bytes are given in pieces |
//! | 3rd | which header; after which item the scan is resumed |
//! | others | the file, but for what is put before and appended |

use bytes::{Bytes, BytesMut};
use gunyu::core::rdb::value::Decoder;
use gunyu::core::rdb::{Cause, Checksum, Cursor, End, Error, Flavor, Item, Key, Prefix, Scanner, Step};

use super::cut;

/// The bits of the first byte.
pub const HEADER: u8 = 0x80;
pub const END: u8 = 0x40;

/// One with no checksum, one that Redis wrote, one that Valkey wrote.
pub const MAGICS: [&[u8; 9]; 3] = [b"REDIS0004", b"REDIS0014", b"VALKEY080"];

/// What a scan gave: items, where one can resume after each, and how it ended.
#[derive(Debug)]
struct Found {
    items: Vec<Item>,
    cursors: Vec<Cursor>,
    end: Result<End, Error>,
}

/// See the table.
pub fn check(input: &[u8]) {
    let [how, above, which, rest @ ..] = input else {
        return;
    };
    let magic = MAGICS[usize::from(*which) % MAGICS.len()];
    let file = file(if how & HEADER == 0 { b"" } else { magic }, rest, how & END != 0);
    let size = usize::from(how & 0x3f) + 1;
    let whole = scan(Scanner::new(), [file.clone()]);
    assert_same(&whole, &scan(Scanner::new(), cut(&file, size)), file.len());
    let in_pieces = Scanner::new().in_pieces(usize::from(*above));
    assert_same(&whole, &scan(in_pieces, cut(&file, size)), file.len());
    assert_resumes(&file, &whole, usize::from(*which));
    for (item, cursor) in whole.items.iter().zip(&whole.cursors) {
        if let Item::Key(key) = item {
            assert_eq!(key.end, cursor.at);
            assert_decodes(key, cursor.version.flavor);
        }
    }
}

/// A file of these parts.
pub fn file(magic: &[u8], body: &[u8], with_end: bool) -> Bytes {
    let mut file = BytesMut::from(magic);
    file.extend_from_slice(body);
    if with_end {
        file.extend_from_slice(&[255]);
        let checksum = Checksum::of(&file);
        file.extend_from_slice(&checksum.to_le_bytes());
    }
    file.freeze()
}

/// The items of a file that is there whole.
pub fn items_of(file: &Bytes) -> Result<Vec<Item>, Error> {
    let found = scan(Scanner::new(), [file.clone()]);
    found.end.map(|_| found.items)
}

fn scan(mut scanner: Scanner, chunks: impl IntoIterator<Item = Bytes>) -> Found {
    let (mut items, mut cursors) = (Vec::new(), Vec::new());
    let mut outcome = Ok(());
    let mut large = None;
    for chunk in chunks {
        scanner.push(chunk);
        outcome = take(&mut scanner, &mut items, &mut cursors, &mut large);
        if outcome.is_err() {
            break;
        }
    }
    let end = outcome.and_then(|()| scanner.finish());
    Found { items, cursors, end }
}

/// Takes what has arrived; values that come in pieces are put together.
fn take(
    scanner: &mut Scanner,
    items: &mut Vec<Item>,
    cursors: &mut Vec<Cursor>,
    large: &mut Option<(Key, BytesMut)>,
) -> Result<(), Error> {
    loop {
        match (scanner.step()?, &mut *large) {
            (Step::Item(item), None) => items.push(item),
            (Step::Large(key), None) => {
                let value = BytesMut::from(&key.value[..]);
                *large = Some((key, value));
                continue;
            }
            (Step::Piece(piece), Some((_, value))) => {
                value.extend_from_slice(&piece);
                continue;
            }
            (Step::LargeEnd(end), held) => {
                let (mut key, value) = held.take().expect("a value's end follows its pieces");
                key.value = value.freeze();
                key.end = end;
                items.push(Item::Key(key));
            }
            (Step::NeedMore | Step::End(_), _) => return Ok(()),
            (step, held) => panic!("{step:?} while {held:?} is being read"),
        }
        cursors.push(scanner.cursor().expect("there is a cursor after every item"));
    }
}

fn assert_same(whole: &Found, other: &Found, len: usize) {
    assert_eq!(whole.items, other.items, "{:?}; {:?}", whole.end, other.end);
    assert_eq!(whole.cursors, other.cursors);
    match (&whole.end, &other.end) {
        (Ok(end), Ok(same)) => assert_eq!(end, same),
        (Err(error), Err(same)) => {
            assert_eq!(
                (error.at, error.reading),
                (same.at, same.reading),
                "{error}; {same}"
            );
            let cause = std::mem::discriminant(&error.cause);
            assert_eq!(cause, std::mem::discriminant(&same.cause), "{error}; {same}");
            assert!(error.at <= len as u64, "{error}");
        }
        (end, other) => panic!("whole {end:?}, in pieces {other:?}"),
    }
}

/// From the cursor after one of the items on it goes on as it went.
fn assert_resumes(file: &Bytes, whole: &Found, which: usize) {
    if whole.cursors.is_empty() {
        return;
    }
    let nth = which % whole.cursors.len();
    let cursor = whole.cursors[nth];
    let (before, after) = file.split_at(cursor.at as usize);
    let mut checksum = Checksum::new();
    checksum.update(before);
    let after = [Bytes::copy_from_slice(after)];
    let found = scan(Scanner::resume(cursor, Prefix::Hashed(checksum)), after);
    assert_eq!(whole.items[nth + 1..], found.items);
    assert_eq!(whole.end, found.end);
}

/// Where the scanner found a value's ends, the decoder must find them, too, whatever is broken between.
fn assert_decodes(key: &Key, flavor: Flavor) {
    let mut decoder = Decoder::of(key, flavor).expect("the scanner knows the type");
    loop {
        match decoder.element() {
            Ok(Some(_)) => {}
            Ok(None) => return,
            Err(error) => {
                let ends_differ = matches!(error.cause, Cause::Truncated | Cause::Trailing(_));
                assert!(!ends_differ, "{error}: the scanner found the value whole");
                assert!((key.start..=key.end).contains(&error.at), "{error}");
                return;
            }
        }
    }
}
