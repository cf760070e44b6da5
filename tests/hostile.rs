//! Bytes that nobody meant well: the corpus of the fuzzers, and real files cut off, changed and lied in.
//!
//! Whatever is read, it ends in what the file holds or in an error that names a byte of it; and memory follows what has
//! been read, never what is claimed. The checks are those of the fuzz targets (`fuzz/src/checks`).

// The exemption for tests does not reach the functions that these tests share.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytes::Bytes;
use gunyu::core::rdb::value::{self, Counter, Decoder, Element};
use gunyu::core::rdb::{Cause, Cursor, End, Error, Flavor, Item, Scanner, Step, value::Step as ValueStep};

#[allow(unreachable_pub, missing_docs, dead_code)]
#[path = "../fuzz/src/checks/mod.rs"]
mod checks;
#[allow(unreachable_pub)]
#[path = "hostile/meter.rs"]
mod meter;
mod support;

use checks::assembled::{self, Source, literally_packed, string};
use checks::values::{Kind, LISTPACK, ZIPLIST};
use meter::peak_bytes;
use support::{Binary, Server};

const MIB: usize = 1 << 20;

/// The targets whose inputs stand for no more than they are: texts, commands, records.
const MODEST: [&str; 6] = ["command", "catalog", "lease", "answers", "texts", "certificate"];

/// What a small file may make us hold, whatever it says: its strings unpacked, and a few elements.
const SMALL: usize = MIB / 4;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files_in(folder: &Path) -> BTreeSet<PathBuf> {
    let listing = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    listing.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn every_input_that_a_fuzzer_has_kept_still_holds() {
    let corpus = root().join("fuzz/corpus");
    let mut bytes = 0;
    for (target, check) in checks::TARGETS {
        let inputs = files_in(&corpus.join(target));
        assert!(inputs.len() > 10, "{target} has only {} inputs", inputs.len());
        for name in inputs {
            let input = std::fs::read(&name).unwrap();
            bytes += input.len();
            let (held, most) = peak_bytes(|| std::panic::catch_unwind(|| check(&input)));
            assert!(held.is_ok(), "broken by {}", name.display());
            let is_modest = !MODEST.contains(target) || most < 2 * MIB;
            assert!(is_modest, "{most} bytes held for {}", name.display());
        }
    }
    assert!(
        bytes < MIB,
        "the corpus has {bytes} bytes: run `cargo fuzz cmin TARGET`"
    );
}

#[test]
fn every_fuzz_target_has_its_check_and_its_program() {
    let programs: BTreeSet<String> = files_in(&root().join("fuzz/fuzz_targets"))
        .iter()
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let targets: BTreeSet<String> = checks::TARGETS
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    assert_eq!(programs, targets);
}

/// A snapshot with every encoding that this server has.
fn snapshot_of(binary: &Binary) -> Bytes {
    let debug: &[&str] = match binary.version >= (7, 0, 0) {
        true => &["--enable-debug-command", "yes"],
        false => &[],
    };
    let server = Server::of(binary, debug);
    let mut cli = Command::new("redis-cli")
        .args(["-p", &server.port().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("`make test` installs redis-cli");
    let commands = include_bytes!("files/every_encoding.txt");
    cli.stdin.take().unwrap().write_all(commands).unwrap();
    assert!(cli.wait().unwrap().success());
    assert!(server.keys() > 15, "the server has refused nearly everything");
    Bytes::from(server.snapshot())
}

/// What every test reads: the installed server's snapshot and the old files, each byte of them; every few bytes of other
/// servers' snapshots.
fn files() -> Vec<(String, Bytes, usize)> {
    let mut found = vec![("installed".to_owned(), snapshot_of(&Binary::installed()), 1)];
    for name in files_in(&root().join("tests/files/rdb")) {
        let file = Bytes::from(std::fs::read(&name).unwrap());
        found.push((name.display().to_string(), file, 1));
    }
    let others = support::matrix();
    if others.is_empty() {
        crate::support::skipped("other versions: GUNYU_TEST_SERVERS names no folder with servers");
    }
    found.extend(
        others
            .iter()
            .map(|(label, binary)| (label.clone(), snapshot_of(binary), 7)),
    );
    found
}

/// Reads everything that is in a file, its values as well; large values as they come.
fn read(chunks: impl IntoIterator<Item = Bytes>, above: usize) -> Result<End, Error> {
    let mut scanner = Scanner::new().in_pieces(above);
    let mut large: Option<(Decoder, Counter)> = None;
    for chunk in chunks {
        scanner.push(chunk);
        loop {
            match (scanner.step()?, &mut large) {
                (Step::NeedMore | Step::End(_), _) => break,
                (Step::Item(Item::Key(key)), _) => {
                    let flavor = scanner.version().unwrap().flavor;
                    let _ = value::count(key.value_type, flavor, &key.value);
                    let mut decoder = Decoder::of(&key, flavor)?;
                    while decoder.element()?.is_some() {}
                }
                (Step::Large(key), _) => {
                    let flavor = scanner.version().unwrap().flavor;
                    let start = key.end - key.value.len() as u64;
                    let decoder = Decoder::new(key.value_type, flavor, start)?;
                    let mut held = (decoder, Counter::new(key.value_type, flavor));
                    feed(&mut held, key.value)?;
                    large = Some(held);
                }
                (Step::Piece(piece), Some(held)) => feed(held, piece)?,
                (Step::LargeEnd(_), held) => {
                    let (mut decoder, _) = held.take().unwrap();
                    while decoder.element()?.is_some() {}
                }
                (Step::Item(_) | Step::Piece(_), _) => {}
            }
        }
    }
    scanner.finish()
}

fn feed((decoder, counter): &mut (Decoder, Counter), piece: Bytes) -> Result<(), Error> {
    counter.push(piece.clone());
    decoder.push(piece);
    while let ValueStep::Element(_) = decoder.step()? {}
    Ok(())
}

/// Reads it whole and in pieces: both end alike, and an error names a byte of the file.
#[track_caller]
fn read_both_ways(file: &Bytes, what: &dyn Fn() -> String) -> Result<End, Error> {
    let (whole, held) = peak_bytes(|| read([file.clone()], usize::MAX));
    assert!(held < SMALL + 4 * file.len(), "{}: {held} bytes held", what());
    let (pieces, held) = peak_bytes(|| read(checks::cut(file, 13), 20));
    assert!(
        held < SMALL + 4 * file.len(),
        "{}: {held} bytes held in pieces",
        what()
    );
    if let (Err(error), Err(in_pieces)) = (&whole, &pieces) {
        let len = file.len() as u64;
        assert!(error.at <= len && in_pieces.at <= len, "{}: {error}", what());
    }
    assert_eq!(whole.is_ok(), pieces.is_ok(), "{}: {whole:?}, {pieces:?}", what());
    whole
}

#[test]
fn a_file_cut_off_at_any_byte_is_an_error_that_names_a_byte_of_it() {
    for (label, file, step) in files() {
        read_both_ways(&file, &|| label.clone()).unwrap();
        for len in (0..file.len()).step_by(step) {
            let what = || format!("{label} cut off at byte {len}");
            let error = scan(&file.slice(..len)).unwrap_err();
            assert_eq!(error.cause, Cause::Truncated, "{}", what());
            assert!(error.at <= len as u64, "{}: {error}", what());
        }
        let longer = Bytes::from([&file[..], b"more"].concat());
        assert_eq!(scan(&longer).unwrap_err().cause, Cause::Trailing(4), "{label}");
    }
}

fn scan(file: &Bytes) -> Result<End, Error> {
    let mut scanner = Scanner::new();
    scanner.push(file.clone());
    while let Step::Item(_) = scanner.step()? {}
    scanner.finish()
}

/// What breaks no structure breaks the checksum, where there is one.
#[test]
fn a_file_with_any_byte_changed_is_an_error_that_names_a_byte_of_it() {
    for (label, file, step) in files() {
        let is_checked = read([file.clone()], usize::MAX).unwrap().checked;
        for at in (0..file.len()).step_by(step) {
            for change in [0x01, 0x80, 0xff] {
                let mut changed = file.to_vec();
                changed[at] ^= change;
                let changed = Bytes::from(changed);
                let what = || format!("{label} with byte {at} changed by {change:#x}");
                // The values before it are as they were.
                match scan(&changed) {
                    Ok(_) => assert!(!is_checked, "{}: nobody noticed", what()),
                    Err(error) => assert!(error.at <= file.len() as u64, "{}: {error}", what()),
                }
            }
        }
        for (nth, one) in parts(&file).into_iter().enumerate() {
            for at in (0..one.len()).step_by(step) {
                let mut changed = one.to_vec();
                changed[at] ^= 1 << (at % 8);
                let what = || format!("{label}, item {nth} with byte {at} changed");
                let _ = read_both_ways(&Bytes::from(changed), &what);
            }
        }
    }
}

/// Each item in a file of its own, whose checksum nobody compares.
fn parts(file: &Bytes) -> Vec<Bytes> {
    let mut scanner = Scanner::new();
    scanner.push(file.clone());
    let (mut parts, mut from) = (Vec::new(), 9);
    while let Step::Item(_) = scanner.step().unwrap() {
        let Cursor { at, version, .. } = scanner.cursor().unwrap();
        let item = &file[from..at as usize];
        let end: &[u8] = if version.number >= 5 {
            &[255, 0, 0, 0, 0, 0, 0, 0, 0]
        } else {
            &[255]
        };
        parts.push(Bytes::from([&file[..9], item, end].concat()));
        from = at as usize;
    }
    parts
}

#[test]
fn a_length_beyond_all_data_holds_nothing_wherever_it_stands() {
    let lengths: [&[u8]; 5] = [
        b"\x80\xff\xff\xff\xff",
        b"\x81\x00\x00\x00\x01\x00\x00\x00\x00",
        b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"\x81\x80\x00\x00\x00\x00\x00\x00\x00",
        b"\x81\xff\xff\xff\xff\xff\xff\xff\xff",
    ];
    // In packed strings, lengths have two or four bytes.
    let fixed: [&[u8]; 4] = [b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\xff\xff", b"\xfe\xff"];
    for (label, file, step) in files() {
        for (nth, one) in parts(&file).into_iter().enumerate() {
            for at in (9..one.len()).step_by(step) {
                let what = || format!("{label}, item {nth} with a length at byte {at}");
                for length in lengths {
                    let lie = [&one[..at], length, &one[at + 1..]].concat();
                    let _ = read_both_ways(&Bytes::from(lie), &what);
                }
                for length in fixed {
                    let after = one.get(at + length.len()..).unwrap_or_default();
                    let _ = read_both_ways(&Bytes::from([&one[..at], length, after].concat()), &what);
                }
            }
        }
    }
}

/// Reads a file with one value, of which `again` comes over and over. How that ended, and the most that was held.
fn endless(value_type: u8, head: &[u8], again: &[u8], total: usize) -> (Error, usize) {
    let piece = Bytes::from(again.repeat(16_384 / again.len()));
    let head = Bytes::from([b"REDIS0013", &[value_type][..], &string(b"name"), head].concat());
    let pieces = std::iter::repeat_n(piece.clone(), total / piece.len());
    peak_bytes(|| read(std::iter::once(head).chain(pieces), 1000).unwrap_err())
}

#[test]
fn a_value_that_never_ends_is_read_in_little_memory() {
    const MANY: &[u8] = b"\x81\xff\xff\xff\xff\xff\xff\xff\xff";
    let empty_listpack: &[u8] = b"\x07\x07\0\0\0\0\0\xff";
    let empty_node = [
        &string(&[0; 16])[..],
        &string(b"\x0f\0\0\0\x04\0\0\x01\0\x01\0\x01\0\x01\xff"),
    ]
    .concat();
    let counts = |after: &[u8]| [b"\x00\x00\x00\x00", after, MANY].concat();
    let pending = [&counts(b"\x01\x00\x00\x00")[..5], b"\x00\x00\x00", MANY].concat();
    let table: [(&str, u8, Vec<u8>, &[u8]); 9] = [
        ("items", 1, MANY.to_vec(), b"\x00"),
        ("scores", 3, MANY.to_vec(), b"\x00\xff"),
        ("ziplists", 14, MANY.to_vec(), b"\x0b\x0b\0\0\0\x0a\0\0\0\0\0\xff"),
        (
            "listpacks",
            18,
            MANY.to_vec(),
            &[b"\x02", empty_listpack].concat(),
        ),
        ("a module's numbers", 7, b"\x00".to_vec(), b"\x02\x00"),
        ("a module's strings", 7, b"\x00".to_vec(), b"\x05\x02xx"),
        ("nodes", 15, MANY.to_vec(), &empty_node),
        ("groups", 15, counts(b""), b"\x00\x00\x00\x00\x00"),
        ("pending entries", 15, pending, &[0; 25]),
    ];
    for (what, value_type, head, again) in table {
        let (error, held) = endless(value_type, &head, again, 2 * MIB);
        assert_eq!(error.cause, Cause::Truncated, "{what}");
        assert!(held < SMALL, "{what}: {held} bytes held");
    }
}

/// LZF that stands for so many bytes: three bytes are 264 of them.
fn bomb(runs: usize) -> (Vec<u8>, usize) {
    let packed = [&[0, b'x'][..], &b"\xe0\xff\x00".repeat(runs)].concat();
    (packed, 1 + 264 * runs)
}

fn packed_string(packed: &[u8], claimed: u64) -> Bytes {
    let lengths = [packed.len() as u64, claimed].map(assembled::length).concat();
    Bytes::from([&[0xc3][..], &lengths, packed].concat())
}

#[test]
fn a_string_that_unpacks_to_far_more_than_it_is_comes_in_pieces() {
    let (packed, plain) = bomb(80_000);
    let value = packed_string(&packed, plain as u64);
    let (given, held) = peak_bytes(|| {
        let mut decoder = Decoder::new(0, Flavor::Redis, 0).unwrap();
        let mut given = 0;
        for piece in checks::cut(&value, 4096) {
            decoder.push(piece);
            while let ValueStep::Element(element) = decoder.step().unwrap() {
                let Element::Text(text) = element else {
                    panic!("{element:?}")
                };
                given += text.len();
            }
        }
        assert_eq!(decoder.step(), Ok(ValueStep::End));
        given
    });
    assert_eq!(given, plain);
    assert!(
        held < MIB,
        "{held} bytes held for {} that unpack to {plain}",
        packed.len()
    );
}

#[test]
fn what_must_be_unpacked_whole_is_held_once_and_never_for_a_claim() {
    let (packed, plain) = bomb(10_000);
    let read = |claimed: u64| {
        let value = packed_string(&packed, claimed);
        peak_bytes(|| {
            let mut decoder = Decoder::new(20, Flavor::Redis, 0).unwrap();
            decoder.push(value);
            decoder.element().unwrap_err()
        })
    };
    let (error, held) = read(plain as u64);
    assert!(
        matches!(error.cause, Cause::Packed { .. }),
        "it is no listpack: {error}"
    );
    assert!(
        (plain..4 * plain).contains(&held),
        "{held} bytes held for {plain}"
    );
    for claimed in [u64::from(u32::MAX), 1 << 63, u64::MAX] {
        let (error, held) = read(claimed);
        assert_eq!(error.cause, Cause::Lzf { unpacked: claimed });
        assert!(held < SMALL, "{held} bytes held for a claim of {claimed}");
    }
}

/// A packed string whose header says something else than it holds.
#[test]
fn a_packed_string_whose_sizes_lie_is_an_error_whatever_they_say() {
    // Entries as the checks take them: texts and numbers of every width.
    let entries =
        b"\x83abc\x07\xc0\x05\xe0\x02de\xf1\x01\x02\xf2\x01\x02\x03\xf4\x01\x02\x03\x04\x05\x06\x07\x08\x81z";
    let kinds: Vec<Kind> = [LISTPACK, ZIPLIST, &[(9, Flavor::Redis), (11, Flavor::Redis)]].concat();
    for kind in kinds {
        let whole = assembled::value(kind, entries, false).unwrap().value;
        let header = if kind.0 == 25 { 8 } else { 0 };
        let (expiry, text) = whole.split_at(header);
        let packed = &text[1..];
        assert_eq!(usize::from(text[0]), packed.len(), "the string is a short one");
        let sizes = match kind.0 {
            9 => 1,
            11 => 8,
            10 | 12 | 13 => 10,
            _ => 6,
        };
        for at in 0..sizes {
            for change in 1..=255_u8 {
                let mut lie = packed.to_vec();
                lie[at] ^= change;
                for string in [string(&lie), literally_packed(&lie)] {
                    let value = Bytes::from([expiry, &string].concat());
                    let error = checks::values::agree(kind, &value, 5).err();
                    let is_no_lie = kind.0 == 9 && lie[0] >= 254;
                    assert!(
                        error.is_some() != is_no_lie,
                        "type {}: byte {at} is {:#x}",
                        kind.0,
                        lie[at]
                    );
                }
            }
        }
    }
    // Nothing is lost by a count that says nothing: it is for more entries than can be counted.
    let (listpack, texts) = assembled::listpack(&mut Source(entries), 1, false);
    let uncounted = [&listpack[..4], b"\xff\xff", &listpack[6..]].concat();
    let found = checks::values::agree((20, Flavor::Redis), &Bytes::from(string(&uncounted)), 5);
    assert_eq!(found.unwrap().len(), texts.len());
}
