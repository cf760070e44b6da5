//! The scanner against files built by hand, cut anywhere, broken anywhere.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::layout::opcode;
use super::*;
use fixture::*;

pub(in crate::core::rdb) mod fixture;

#[test]
fn a_value_of_every_type_ends_where_the_next_key_begins() {
    let values = values();
    for flavor in [Flavor::Redis, Flavor::Valkey] {
        let known = (0..=255).filter_map(|code| kind_of(code, flavor));
        let covered = |kind: &Kind| {
            values.iter().any(|(_, code, _)| *code == kind.code)
                && (kind.code <= 21 || flavor == Flavor::Redis)
                || values
                    .iter()
                    .any(|(version, code, _)| (version.flavor, *code) == (flavor, kind.code))
        };
        assert_eq!(
            known.filter(|kind| !covered(kind)).collect::<Vec<_>>(),
            Vec::<&Kind>::new()
        );
    }
    for (version, value_type, value) in values {
        let file = File::new(version)
            .key(b"k", value_type, &value)
            .key(b"next", 0, b"\x01v")
            .end();
        let items = scan_all(&file).unwrap();
        let [Item::Key(key), Item::Key(next)] = &items[..] else {
            panic!("type {value_type}: {items:?}");
        };
        assert_eq!((key.value_type, &key.value[..]), (value_type, &value[..]));
        assert_eq!((&key.key[..], key.start), (&b"k"[..], 9));
        assert_eq!((&next.key[..], next.start), (&b"next"[..], key.end));
    }
}

#[test]
fn what_stands_before_a_key_is_the_keys() {
    let expires = 1_700_000_000_123_i64;
    let file = File::new(REDIS)
        .raw(&[opcode::SELECTDB, 3, opcode::EXPIRETIME_MS])
        .raw(&expires.to_le_bytes())
        .raw(&[opcode::IDLE, 0x40, 0x50, opcode::FREQ, 200])
        .key(b"k", 0, b"\x01v")
        .raw(&[opcode::EXPIRETIME])
        .raw(&1_700_000_000_i32.to_le_bytes())
        .key(b"seconds", 0, b"\x01v")
        .key(b"bare", 0, b"\x01v")
        .end();
    let items = scan_all(&file).unwrap();
    let [
        Item::SelectDb(3),
        Item::Key(first),
        Item::Key(second),
        Item::Key(third),
    ] = &items[..]
    else {
        panic!("{items:?}");
    };
    assert_eq!((first.db, first.start), (3, 11));
    assert_eq!(
        (first.expire_at_ms, first.idle_secs, first.freq),
        (Some(expires), Some(80), Some(200))
    );
    assert_eq!(
        (second.expire_at_ms, second.idle_secs, second.freq),
        (Some(1_700_000_000_000), None, None)
    );
    assert_eq!(third.expire_at_ms, None);
}

#[test]
fn metadata_of_modules_comes_first_in_the_payload() {
    let meta = b"\xf3\x02CLS1\x02\x05\x00CLS2\x05\x02hi\x00";
    let key = only_key(&File::new(REDIS).raw(meta).key(b"k", 0, b"\x01v").end());
    assert_eq!(&key.meta[..], meta);
    let mut payload = BytesMut::new();
    key.payload().write(&mut payload, 13);
    assert_eq!(payload[..meta.len() + 3], [meta, &b"\x00\x01v"[..]].concat());
}

#[test]
fn a_packed_name_is_unpacked_and_a_packed_value_is_not() {
    let file = File::new(REDIS).raw(b"\x00").raw(LZF_A40).raw(LZF_A40).end();
    let key = only_key(&file);
    assert_eq!(
        (&key.key[..], &key.value[..]),
        ("a".repeat(40).as_bytes(), LZF_A40)
    );
    assert_eq!(
        only_key(&File::new(REDIS).raw(b"\x00\xc0\x85\x01v").end()).key,
        "-123"
    );
}

/// Found by fuzzing: it was an error only once the value was there, unless that came in pieces.
#[test]
fn a_packed_name_that_is_broken_is_an_error_before_its_value_has_come() {
    let file = File::new(REDIS)
        .raw(&[0, 0xc3, 2, 9, 0, b'a'])
        .raw(&[0x80, 0xff])
        .0
        .freeze();
    for above in [0, usize::MAX] {
        let mut scanner = Scanner::new().in_pieces(above);
        scanner.push(file.clone());
        let error = scanner.step().unwrap_err();
        assert_eq!(
            (error.at, &error.cause),
            (10, &Cause::Lzf { unpacked: 9 }),
            "{error}"
        );
    }
}

#[test]
fn opcodes_that_stand_for_themselves_become_items() {
    let file = File::new(REDIS)
        .raw(b"\xfa\x09redis-ver\x058.6.2\xfa\x0aredis-bits\xc0\x40")
        .raw(b"\xf5\x07#!lua..")
        .raw(b"\xf7\x81\x11\x22\x33\x44\x55\x66\x77\x88\x02\x02\x05\x01x\x00")
        .raw(b"\xfe\x01\xfb\x40\x50\x02\xf4\x7f\xff\x03\x01")
        .end();
    let aux = |key: &'static str, value: &'static str| Item::Aux {
        key: key.into(),
        value: value.into(),
    };
    let raw = Bytes::from_static(b"\x81\x11\x22\x33\x44\x55\x66\x77\x88\x02\x02\x05\x01x\x00");
    let expected = vec![
        aux("redis-ver", "8.6.2"),
        aux("redis-bits", "64"),
        Item::Function(Bytes::from_static(b"\x07#!lua..")),
        Item::ModuleAux {
            module: item::ModuleId(0x1122_3344_5566_7788),
            raw,
        },
        Item::SelectDb(1),
        Item::ResizeDb { keys: 80, expires: 2 },
        Item::SlotInfo {
            slot: 16_383,
            keys: 3,
            expires: 1,
        },
    ];
    assert_eq!(scan_all(&file).unwrap(), expected);
}

#[test]
fn opcode_243_is_a_slot_import_for_valkey() {
    let import = [&string(&[b'j'; 40])[..], b"\x02\x00\x05\x40\x64\x41\x00"].concat();
    let file = File::new(VALKEY).raw(&[243]).raw(&import).end();
    assert_eq!(
        scan_all(&file).unwrap(),
        vec![Item::SlotImport { raw: import.into() }]
    );
}

#[test]
fn what_nobody_can_read_is_an_error_that_says_so() {
    let with = |bytes: &[u8]| cause(&File::new(REDIS).raw(bytes).end());
    assert_eq!(with(b"\x06\x01k"), Cause::ModulePreGa);
    assert_eq!(with(b"\xf6\x01f"), Cause::FunctionPreGa);
    assert_eq!(
        with(b"\x08"),
        Cause::Unknown {
            code: 8,
            version: REDIS
        }
    );
    assert_eq!(
        with(b"\x64"),
        Cause::Unknown {
            code: 100,
            version: REDIS
        }
    );
    assert_eq!(
        with(b"\xfc12345678\xfe\x00"),
        Cause::PrefixWithoutKey(opcode::SELECTDB)
    );
    assert_eq!(with(b"\xf8\x01"), Cause::PrefixWithoutKey(opcode::EOF));
    assert_eq!(
        with(b"\xfe\x81\x00\x00\x00\x01\x00\x00\x00\x00"),
        Cause::Database(1 << 32)
    );
    assert_eq!(
        cause(&File::new(VALKEY).raw(b"\x18").end()),
        Cause::Unknown {
            code: 24,
            version: VALKEY
        }
    );
    assert_eq!(
        cause(&Bytes::from_static(b"HTTP/1.1 ")),
        Cause::Magic(*b"HTTP/1.1 ")
    );
}

#[test]
fn an_error_names_byte_and_type_and_stays() {
    let file = File::new(REDIS).key(b"k", 4, b"\x02\x01f\x01v\xc5").end();
    let mut scanner = Scanner::new();
    scanner.push(file);
    let error = scanner.step().unwrap_err();
    assert_eq!(
        error.to_string(),
        "byte 17 of the RDB, reading a value of type 4 (hash): unknown string packing 5"
    );
    assert_eq!(scanner.step(), Err(error.clone()));
    assert_eq!(scanner.finish(), Err(error));
}

#[test]
fn a_changed_byte_is_seen_at_the_end() {
    let good = File::new(REDIS).key(b"k", 0, b"\x05value").end();
    for (at, byte) in good.iter().enumerate().skip(12).take(good.len() - 21) {
        let mut bad = BytesMut::from(&good[..]);
        bad[at] = byte ^ 1;
        assert!(scan_all(&bad.freeze()).is_err(), "byte {at}");
    }
    let mut bad = BytesMut::from(&good[..]);
    bad[13] ^= 1;
    assert!(matches!(cause(&bad.freeze()), Cause::Checksum { .. }));
}

#[test]
fn without_a_checksum_nothing_is_checked() {
    let unchecked = |file: Bytes| {
        let len_bytes = file.len() as u64;
        let (items, end) = scan(Scanner::new(), [file]).unwrap();
        assert_eq!(
            (items.len(), end),
            (
                1,
                End {
                    len_bytes,
                    checked: false
                }
            )
        );
    };
    unchecked(
        File::new(REDIS)
            .key(b"k", 0, b"\x01v")
            .raw(&[opcode::EOF, 0, 0, 0, 0, 0, 0, 0, 0])
            .0
            .freeze(),
    );
    let old = Version {
        flavor: Flavor::Redis,
        number: 4,
    };
    unchecked(
        File::new(old)
            .key(b"k", 0, b"\x01v")
            .raw(&[opcode::EOF])
            .0
            .freeze(),
    );
}

#[test]
fn bytes_after_the_end_are_an_error() {
    let file = File::new(REDIS).end();
    let longer = [&file[..], b"x"].concat();
    assert_eq!(cause(&Bytes::from(longer)), Cause::Trailing(1));
    let mut scanner = Scanner::new();
    scanner.push(file);
    assert!(matches!(scanner.step(), Ok(Step::End(_))));
    assert!(matches!(scanner.step(), Ok(Step::End(_))));
    scanner.push(Bytes::from_static(b"late"));
    assert_eq!(scanner.step().unwrap_err().cause, Cause::Trailing(4));
}

#[test]
fn an_item_within_a_chunk_is_not_copied() {
    let file = File::new(REDIS).key(b"name", 0, &string(b"value")).end();
    let key = only_key(&file);
    assert_eq!(key.key.as_ptr(), file[11..].as_ptr());
    assert_eq!(key.value.as_ptr(), file[15..].as_ptr());
}

#[test]
fn an_item_is_given_with_its_last_byte() {
    let file = everything(REDIS);
    let mut scanner = Scanner::new();
    let mut ends = Vec::new();
    for at in 0..file.len() {
        scanner.push(file.slice(at..=at));
        while let Step::Item(item) = scanner.step().unwrap() {
            if let Item::Key(key) = item {
                assert_eq!(key.end, at as u64 + 1);
                ends.push(key.end);
            }
        }
    }
    assert_eq!(
        ends.len(),
        values().iter().filter(|value| value.0 == REDIS).count()
    );
}

#[test]
fn a_length_that_lies_holds_only_what_has_arrived() {
    let mut scanner = Scanner::new();
    let head = File::new(REDIS)
        .raw(b"\x00\x01k\x81\x7f\xff\xff\xff\xff\xff\xff\xff")
        .0
        .freeze();
    scanner.push(head);
    for _ in 0..3 {
        assert_eq!(scanner.step(), Ok(Step::NeedMore));
        scanner.push(Bytes::from(vec![0; 1000]));
    }
    assert_eq!(scanner.finish().unwrap_err().cause, Cause::Truncated);
}

#[test]
fn a_scan_resumed_at_any_cursor_gives_the_rest() {
    let file = everything(REDIS);
    let all = scan_all(&file).unwrap();
    let mut scanner = Scanner::new();
    scanner.push(file.clone());
    for given in 1..=all.len() {
        assert!(matches!(scanner.step(), Ok(Step::Item(_))));
        let cursor = scanner.cursor().unwrap();
        let (before, after) = (file.slice(..cursor.at as usize), file.slice(cursor.at as usize..));
        let mut checksum = Checksum::new();
        checksum.update(&before);
        for prefix in [Prefix::Hashed(checksum), Prefix::Trusted] {
            let (rest, end) = scan(Scanner::resume(cursor, prefix), [after.clone()]).unwrap();
            assert_eq!(rest, all[given..]);
            assert_eq!(
                end,
                End {
                    len_bytes: file.len() as u64,
                    checked: prefix != Prefix::Trusted
                }
            );
        }
        let wrong = Scanner::resume(cursor, Prefix::Hashed(Checksum::resume(1)));
        assert!(matches!(
            scan(wrong, [after]).unwrap_err().cause,
            Cause::Checksum { .. }
        ));
    }
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(REDIS), Just(VALKEY)]
}

proptest! {
    #[test]
    fn chunks_make_no_difference(version in version(), sizes in prop::collection::vec(0usize..2000, 0..200)) {
        let file = everything(version);
        let expected = scan_all(&file).unwrap();
        let chunks = cut(&file, sizes.iter().copied());
        prop_assert_eq!(&scan(Scanner::new(), chunks.clone()).unwrap().0, &expected);
        // And the same when all is pushed before the first step.
        let mut scanner = Scanner::new();
        chunks.into_iter().for_each(|chunk| scanner.push(chunk));
        prop_assert_eq!(&scan(scanner, [Bytes::new()]).unwrap().0, &expected);
    }

    #[test]
    fn small_chunks_make_no_difference(version in version(), sizes in prop::collection::vec(1usize..9, 1..50)) {
        let file = everything(version);
        let chunks = cut(&file, sizes.iter().copied().cycle());
        prop_assert_eq!(scan(Scanner::new(), chunks).unwrap().0, scan_all(&file).unwrap());
    }

    #[test]
    fn a_file_cut_short_gives_only_what_is_whole(at in any::<prop::sample::Index>()) {
        let file = everything(REDIS);
        let short = file.slice(..at.index(file.len()));
        let mut scanner = Scanner::new();
        scanner.push(short.clone());
        let mut items = Vec::new();
        while let Step::Item(item) = scanner.step().unwrap() {
            if let Item::Key(key) = &item {
                prop_assert!(key.end <= short.len() as u64);
            }
            items.push(item);
        }
        prop_assert_eq!(&items[..], &scan_all(&file).unwrap()[..items.len()]);
        prop_assert_eq!(scanner.finish().unwrap_err().cause, Cause::Truncated);
    }

    #[test]
    fn random_bytes_never_panic(version in version(), bytes: Vec<u8>, sizes in prop::collection::vec(0usize..9, 0..50)) {
        let file = File::new(version).raw(&bytes).0.freeze();
        let _ = scan(Scanner::new(), cut(&file, sizes.into_iter()));
    }

    #[test]
    fn a_broken_file_never_panics(
        version in version(),
        breaks in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        size in 1usize..5000,
    ) {
        let mut file = BytesMut::from(&everything(version)[..]);
        for (at, byte) in breaks {
            let at = at.index(file.len());
            file[at] = byte;
        }
        let file = file.freeze();
        // How many bytes follow the end depends on how many have come.
        let trailing = |error: Error| match error.cause {
            Cause::Trailing(_) => Error { cause: Cause::Trailing(0), ..error },
            _ => error,
        };
        let whole = scan(Scanner::new(), [file.clone()]).map_err(trailing);
        let pieces = scan(Scanner::new(), cut(&file, std::iter::repeat(size))).map_err(trailing);
        prop_assert_eq!(whole, pieces);
    }
}

/// Items, with values that came in pieces put together again; and the longest piece.
fn scan_in_pieces(file: &Bytes, size: usize, above: usize) -> (Vec<Item>, usize) {
    let mut scanner = Scanner::new().in_pieces(above);
    let (mut items, mut large, mut longest) = (Vec::new(), None::<(Key, Vec<u8>)>, 0);
    let mut chunks = (0..file.len()).step_by(size);
    loop {
        match scanner.step().unwrap() {
            Step::Item(item) => items.push(item),
            Step::Large(key) => {
                longest = longest.max(key.value.len());
                let value = key.value.to_vec();
                large = Some((key, value));
            }
            Step::Piece(piece) => {
                longest = longest.max(piece.len());
                large.as_mut().unwrap().1.extend_from_slice(&piece);
                assert!(scanner.cursor().is_none());
            }
            Step::LargeEnd(end) => {
                let (key, value) = large.take().unwrap();
                let value = Bytes::from(value);
                items.push(Item::Key(Key { value, end, ..key }));
            }
            Step::End(_) => return (items, longest),
            Step::NeedMore => {
                let at = chunks.next().unwrap();
                scanner.push(file.slice(at..file.len().min(at + size)));
            }
        }
    }
}

#[test]
fn a_value_in_pieces_is_the_same_value_and_no_piece_is_longer_than_what_arrived() {
    let long = "x".repeat(3000).into_bytes();
    let fields: Vec<u8> = (0..200)
        .flat_map(|n| string(format!("field {n}").as_bytes()))
        .collect();
    let module = [&[0x05][..], &[0x05], &string(&long), &[0x02, 0x07, 0x00]].concat();
    let file = File::new(REDIS)
        .key(b"small", 0, &string(b"v"))
        .key(b"string", 0, &string(&long))
        .raw(&[opcode::EXPIRETIME_MS])
        .raw(&5000_i64.to_le_bytes())
        .key(b"set", 2, &[len(200), fields].concat())
        .key(b"module", 7, &module)
        .key(b"last", 0, &string(b"w"))
        .end();
    let (whole, _) = scan_in_pieces(&file, file.len(), usize::MAX);
    assert_eq!(whole.len(), 5);
    for size in [1, 7, 100, 1000] {
        for above in [0, 50, 500] {
            let (items, longest) = scan_in_pieces(&file, size, above);
            assert_eq!(items, whole, "chunks of {size}, pieces above {above}");
            assert!(
                longest <= above + 2 * size + 16,
                "{longest} with {size} and {above}"
            );
        }
    }
}
