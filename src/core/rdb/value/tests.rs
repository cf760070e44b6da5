//! Values written by hand, decoded whole and in pieces.

use bytes::{BufMut, Bytes, BytesMut};

use super::listpack::tests::listpack;
use super::ziplist::tests::ziplist;
use super::*;
use crate::core::rdb::tests::fixture::{LZF_A40, len, string};

/// Elements as lines, pieces of one string put together.
fn shown(elements: &[Element]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let (mut text, mut has_text) = (Vec::new(), false);
    let as_text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    for element in elements {
        lines.push(match element {
            Element::Text(piece) | Element::Module(piece) => {
                text.extend_from_slice(piece);
                has_text = true;
                continue;
            }
            Element::Item(item) => as_text(item),
            Element::Member(member) => as_text(member),
            Element::Scored { member, score } => format!("{}={score:?}", as_text(member)),
            Element::Field {
                name,
                value,
                expire_at_ms,
            } => {
                let until = expire_at_ms.map(|at| format!("@{at}")).unwrap_or_default();
                format!("{}={}{until}", as_text(name), as_text(value))
            }
            Element::Entry { id, fields } => {
                let fields: Vec<String> = fields
                    .iter()
                    .map(|(name, value)| format!("{}={}", as_text(name), as_text(value)))
                    .collect();
                format!("{id} {}", fields.join(" "))
            }
            Element::StreamMeta(meta) => format!(
                "length {} last {}{}",
                meta.length,
                meta.last_id,
                meta.since_7
                    .map(|since| format!(
                        " first {} deleted {} added {}",
                        since.first_id, since.max_deleted_id, since.entries_added
                    ))
                    .unwrap_or_default()
            ),
            Element::Group(group) => format!(
                "group {} {} read {:?}",
                as_text(&group.name),
                group.last_id,
                group.entries_read
            ),
            Element::Pending(one) => format!("pending {} {} {}", one.id, one.delivered_ms, one.deliveries),
            Element::Consumer {
                name,
                seen_ms,
                active_ms,
            } => format!("consumer {} {seen_ms} {active_ms:?}", as_text(name)),
            Element::Owned(id) => format!("owned {id}"),
            Element::GivenBack(id) => format!("given back {id}"),
            Element::Idempotence {
                duration_secs,
                ids_max,
            } => format!("idempotence {duration_secs} {ids_max}"),
            Element::Produced {
                producer,
                produced,
                id,
            } => format!("{} {} {id}", as_text(producer), as_text(produced)),
        });
    }
    if has_text {
        lines.push(String::from_utf8_lossy(&text).into_owned());
    }
    lines
}

fn decoded(
    value_type: u8,
    flavor: Flavor,
    pieces: impl IntoIterator<Item = Bytes>,
) -> Result<Vec<Element>, Error> {
    let mut decoder = Decoder::new(value_type, flavor, 100)?;
    let mut elements = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        while let Step::Element(element) = decoder.step()? {
            elements.push(element);
        }
    }
    while let Some(element) = decoder.element()? {
        elements.push(element);
    }
    Ok(elements)
}

/// Decodes it whole, in pieces of every small size, and cut off at every byte; and counts it.
fn check(value_type: u8, flavor: Flavor, value: &[u8], expected: &[&str]) {
    let value = Bytes::copy_from_slice(value);
    let whole = decoded(value_type, flavor, [value.clone()]).unwrap();
    assert_eq!(shown(&whole), expected, "type {value_type}");
    for size in 1..=value.len().min(70) {
        let pieces = (0..value.len()).step_by(size);
        let pieces = pieces.map(|at| value.slice(at..value.len().min(at + size)));
        let elements = decoded(value_type, flavor, pieces).unwrap();
        assert_eq!(
            shown(&elements),
            expected,
            "type {value_type} in pieces of {size}"
        );
    }
    for cut in 0..value.len() {
        let error = decoded(value_type, flavor, [value.slice(..cut)]).unwrap_err();
        assert_eq!(error.cause, Cause::Truncated, "type {value_type} cut at {cut}");
        assert!((100..=100 + cut as u64).contains(&error.at));
    }
    let more = [&value[..], b"x"].concat();
    let error = decoded(value_type, flavor, [Bytes::from(more)]).unwrap_err();
    assert_eq!(error.cause, Cause::Trailing(1), "type {value_type}");
}

fn check_count(value_type: u8, flavor: Flavor, value: &[u8], expected: Option<u64>) {
    assert_eq!(count(value_type, flavor, value), expected, "type {value_type}");
    for size in [1, 3, 1000] {
        let mut counter = Counter::new(value_type, flavor);
        for piece in value.chunks(size) {
            counter.push(Bytes::copy_from_slice(piece));
        }
        assert_eq!(counter.count(), expected, "type {value_type} in pieces of {size}");
    }
}

const REDIS: Flavor = Flavor::Redis;

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn packed(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    string(bytes.as_ref())
}

#[test]
fn strings_come_whole_however_they_are_packed() {
    for (raw, text) in [
        (string(b"hello"), "hello"),
        (vec![0xc0, 0x85], "-123"),
        (vec![0xc1, 0x39, 0x30], "12345"),
        (vec![0xc2, 0, 0, 0, 0x80], "-2147483648"),
        (LZF_A40.to_vec(), &"a".repeat(40)),
    ] {
        check(0, REDIS, &raw, &[text]);
        check_count(0, REDIS, &raw, Some(text.len() as u64));
    }
    assert_eq!(decoded(0, REDIS, [Bytes::from_static(b"\0")]).unwrap(), []);
}

#[test]
fn what_is_written_out_is_decoded() {
    let two = joined(&[&[2], &string(b"a"), &[0xc0, 7]]);
    check(1, REDIS, &two, &["a", "7"]);
    check(2, REDIS, &two, &["a", "7"]);
    let hash = joined(&[&[2], &string(b"f"), &string(b"v"), &string(b"g"), LZF_A40]);
    check(4, REDIS, &hash, &["f=v", &format!("g={}", "a".repeat(40))]);
    let text_scores = joined(&[
        &[5],
        &string(b"a"),
        b"\x031.5",
        &string(b"b"),
        &[254],
        &string(b"c"),
        &[255],
        &string(b"d"),
        b"\x02-0",
        &string(b"e"),
        b"\x171.7976931348623157e+308",
    ]);
    let scores = ["a=1.5", "b=inf", "c=-inf", "d=-0.0", "e=1.7976931348623157e308"];
    check(3, REDIS, &text_scores, &scores);
    let binary = joined(&[&[1], &string(b"a"), &0.1_f64.to_le_bytes()]);
    check(5, REDIS, &binary, &["a=0.1"]);
    for (value_type, value, expected) in [(1, &two, 2), (4, &hash, 2), (3, &text_scores, 5), (5, &binary, 1)]
    {
        check_count(value_type, REDIS, value, Some(expected));
    }
}

#[test]
fn a_score_that_is_not_a_number_is_an_error() {
    for (value_type, score) in [
        (3, vec![253]),
        (3, b"\x03abc".to_vec()),
        (5, f64::NAN.to_le_bytes().to_vec()),
    ] {
        let value = joined(&[&[1], &string(b"a"), &score]);
        let error = decoded(value_type, REDIS, [Bytes::from(value)]).unwrap_err();
        assert_eq!(error.cause, Cause::Score);
    }
}

#[test]
fn small_collections_are_unpacked() {
    let list = packed(ziplist(&[b"\x01a", &[0xf0, 0x00, 0x00, 0x80]]));
    check(10, REDIS, &list, &["a", "-8388608"]);
    check_count(10, REDIS, &list, Some(2));
    let pairs: [&[u8]; 4] = [b"\x01a", b"\x031.5", b"\x01b", &[0xf8]];
    let ziplist_pairs = packed(ziplist(&pairs));
    check(12, REDIS, &ziplist_pairs, &["a=1.5", "b=7.0"]);
    check(13, REDIS, &ziplist_pairs, &["a=1.5", "b=7"]);
    check_count(12, REDIS, &ziplist_pairs, Some(2));
    let entries: [&[u8]; 4] = [b"\x81a", b"\x831.5", b"\x81b", &[7]];
    let listpack_pairs = packed(listpack(&entries));
    check(16, REDIS, &listpack_pairs, &["a=1.5", "b=7"]);
    check(17, REDIS, &listpack_pairs, &["a=1.5", "b=7.0"]);
    check(20, REDIS, &listpack_pairs, &["a", "1.5", "b", "7"]);
    check_count(17, REDIS, &listpack_pairs, Some(2));
    check_count(20, REDIS, &listpack_pairs, Some(4));
    let intset = packed(b"\x02\0\0\0\x02\0\0\0\xff\xff\x05\x00");
    check(11, REDIS, &intset, &["-1", "5"]);
    check_count(11, REDIS, &intset, Some(2));
    let zipmap = packed(b"\x01\x03foo\x03\x00bar\xff");
    check(9, REDIS, &zipmap, &["foo=bar"]);
    check_count(9, REDIS, &zipmap, Some(1));
    let odd = packed(listpack(&[b"\x81a"]));
    assert!(decoded(16, REDIS, [Bytes::from(odd)]).is_err());
}

#[test]
fn a_packed_string_that_is_itself_shortened_is_counted_by_its_head() {
    // Runs of literals: LZF that shortens nothing.
    let plain = listpack(&[&[1], &[2], &[3]]);
    let run = joined(&[&[plain.len() as u8 - 1], &plain]);
    let value = joined(&[&[0xc3], &len(run.len()), &len(plain.len()), &run]);
    check(20, REDIS, &value, &["1", "2", "3"]);
    check_count(20, REDIS, &value, Some(3));
}

#[test]
fn quicklists_are_decoded_node_by_node() {
    let first = packed(ziplist(&[b"\x01a"]));
    let second = packed(ziplist(&[b"\x01b", b"\x01c"]));
    let value = joined(&[&[2], &first, &second]);
    check(14, REDIS, &value, &["a", "b", "c"]);
    check_count(14, REDIS, &value, Some(3));
    let node = packed(listpack(&[b"\x81a", b"\x81b"]));
    let value = joined(&[&[3, 2], &node, &[1], &string(b"plain"), &[2], &node]);
    check(18, REDIS, &value, &["a", "b", "plain", "a", "b"]);
    check_count(18, REDIS, &value, Some(5));
    let strange = joined(&[&[1, 3], &node]);
    assert!(decoded(18, REDIS, [Bytes::from(strange)]).is_err());
}

#[test]
fn fields_that_expire_keep_their_time_in_every_encoding() {
    let pair = |ttl: &[u8], name: &[u8]| joined(&[ttl, &string(name), &string(b"v")]);
    let release_candidate = joined(&[&[2], &pair(&[0], b"f"), &pair(&len(5000), b"g")]);
    check(22, REDIS, &release_candidate, &["f=v", "g=v@5000"]);
    let since = joined(&[
        &1000_i64.to_le_bytes(),
        &[2],
        &pair(&[1], b"f"),
        &pair(&[0], b"g"),
    ]);
    check(24, REDIS, &since, &["f=v@1000", "g=v"]);
    check_count(24, REDIS, &since, Some(2));
    let triples: [&[u8]; 6] = [b"\x81f", b"\x81v", &[0xf1, 0x88, 0x13], b"\x81g", b"\x81v", &[0]];
    let packed_triples = packed(listpack(&triples));
    check(23, REDIS, &packed_triples, &["f=v@5000", "g=v"]);
    let after_expiry = joined(&[&5000_i64.to_le_bytes(), &packed_triples]);
    check(25, REDIS, &after_expiry, &["f=v@5000", "g=v"]);
    check_count(25, REDIS, &after_expiry, Some(2));
    let field = |name: &[u8], at: i64| joined(&[&string(name), &string(b"v"), &at.to_le_bytes()]);
    let valkey = joined(&[&[2], &field(b"f", -1), &field(b"g", 5000)]);
    check(22, Flavor::Valkey, &valkey, &["f=v", "g=v@5000"]);
    check_count(22, Flavor::Valkey, &valkey, Some(2));
    let never = joined(&[&i64::MAX.to_le_bytes(), &[1], &pair(&[9], b"f")]);
    assert!(decoded(24, REDIS, [Bytes::from(never)]).is_err());
}

/// Three entries: the second has fields of its own, the third those of the master again, and one is deleted.
fn stream_listpack() -> Vec<u8> {
    let entries: &[&[u8]] = &[
        // The master entry: 3 entries, 1 deleted, fields a and b.
        &[3],
        &[1],
        &[2],
        b"\x81a",
        b"\x81b",
        &[0],
        // Same fields, 0-0 from the master.
        &[2],
        &[0],
        &[0],
        b"\x811",
        b"\x812",
        &[5],
        // Three fields of its own.
        &[0],
        &[1],
        &[0],
        &[3],
        b"\x81x",
        b"\x81y",
        b"\x81a",
        &[9],
        b"\x81p",
        b"\x81q",
        &[10],
        // Deleted.
        &[3],
        &[2],
        &[0],
        b"\x81-",
        b"\x81-",
        &[5],
        // Same fields as the master, not as the entry before.
        &[2],
        &[3],
        &[4],
        b"\x813",
        b"\x814",
        &[5],
    ];
    listpack(entries)
}

fn id_bytes(ms: u64, seq: u64) -> Vec<u8> {
    joined(&[&ms.to_be_bytes(), &seq.to_be_bytes()])
}

const ENTRIES: [&str; 3] = ["1000-1 a=1 b=2", "1001-1 x=y a=9 p=q", "1003-5 a=3 b=4"];

fn stream(version: u8) -> Vec<u8> {
    let mut out = BytesMut::new();
    out.put_slice(&[1]);
    out.put_slice(&string(&id_bytes(1000, 1)));
    out.put_slice(&string(&stream_listpack()));
    out.put_slice(&joined(&[&[3], &len(1003), &[5]]));
    if version >= 2 {
        out.put_slice(&joined(&[&len(1000), &[1], &len(1002), &[1], &[4]]));
    }
    out.put_slice(&joined(&[&[1], &string(b"g"), &len(1001), &[1]]));
    if version >= 2 {
        out.put_slice(&[0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    }
    let pending = joined(&[&id_bytes(1000, 1), &777_u64.to_le_bytes(), &[2]]);
    out.put_slice(&joined(&[&[1], &pending, &[2]]));
    for (name, owned) in [(b"idle", vec![0]), (b"busy", joined(&[&[1], &id_bytes(1000, 1)]))] {
        out.put_slice(&joined(&[&string(name), &888_u64.to_le_bytes()]));
        if version >= 3 {
            out.put_slice(&999_u64.to_le_bytes());
        }
        out.put_slice(&owned);
    }
    if version >= 5 {
        out.put_slice(&joined(&[&[1], &id_bytes(1001, 1)]));
    }
    if version >= 4 {
        let produced = joined(&[&string(b"one"), &len(1003), &[5]]);
        out.put_slice(&joined(&[&[60, 40, 1], &string(b"p"), &[1], &produced, &[1, 0]]));
    }
    out.to_vec()
}

/// Facts A10, C8.
#[test]
fn streams_of_every_version_are_decoded() {
    for (value_type, version) in [(15, 1), (19, 2), (21, 3), (26, 4), (27, 5)] {
        let mut expected: Vec<String> = ENTRIES.map(str::to_owned).into();
        expected.push(match version {
            1 => "length 3 last 1003-5".into(),
            _ => "length 3 last 1003-5 first 1000-1 deleted 1002-1 added 4".into(),
        });
        expected.push("group g 1001-1 read None".into());
        expected.push("pending 1000-1 777 2".into());
        let active = if version >= 3 { "Some(999)" } else { "None" };
        expected.push(format!("consumer idle 888 {active}"));
        expected.push(format!("consumer busy 888 {active}"));
        expected.push("owned 1000-1".into());
        if version >= 5 {
            expected.push("given back 1001-1".into());
        }
        if version >= 4 {
            expected.push("idempotence 60 40".into());
            expected.push("p one 1003-5".into());
        }
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check(value_type, REDIS, &stream(version), &expected);
        check_count(value_type, REDIS, &stream(version), Some(3));
    }
}

/// Found by reading what fuzzing was to find: the count went below the least number there is.
#[test]
fn a_listpack_of_fewer_than_no_entries_is_an_error_and_no_overflow() {
    let least = joined(&[&[0xf4], &i64::MIN.to_le_bytes()]);
    let entry: [&[u8]; 5] = [&[2], &[0], &[0], &[3], &[0]];
    for (live, deleted) in [(&least[..], &[0][..]), (&[0], &least)] {
        let head: [&[u8]; 4] = [live, deleted, &[0], &[0]];
        let flags = [u8::from(live == [0]) | 2];
        let entries = [&head[..], &[&flags], &entry[1..4]].concat();
        let value = joined(&[&[1], &string(&id_bytes(1000, 1)), &string(&listpack(&entries))]);
        let error = decoded(15, REDIS, [Bytes::from(value)]).unwrap_err();
        assert!(matches!(error.cause, Cause::Contradiction(_)), "{error}");
    }
}

#[test]
fn a_stream_whose_ids_do_not_ascend_is_an_error() {
    let node = joined(&[&string(&id_bytes(1000, 1)), &string(&stream_listpack())]);
    let value = joined(&[&[2], &node, &node]);
    let error = decoded(15, REDIS, [Bytes::from(value)]).unwrap_err();
    assert!(matches!(error.cause, Cause::Contradiction(_)));
}

#[test]
fn a_modules_value_is_given_as_it_is() {
    check(
        7,
        REDIS,
        b"\x05\x02\x07\x05\x03abc\x00",
        &["\u{5}\u{2}\u{7}\u{5}\u{3}abc\u{0}"],
    );
}

#[test]
fn a_large_string_comes_in_pieces_and_nothing_is_held() {
    let value = joined(&[&[0x80], &200_000_u32.to_be_bytes(), &vec![b'x'; 200_000]]);
    let mut decoder = Decoder::new(0, REDIS, 0).unwrap();
    let mut total = 0;
    for piece in value.chunks(1000) {
        decoder.push(Bytes::copy_from_slice(piece));
        while let Step::Element(Element::Text(text)) = decoder.step().unwrap() {
            total += text.len();
            assert!(text.len() <= 1000);
        }
    }
    assert_eq!(total, 200_000);
}

#[test]
fn a_type_that_is_unknown_is_an_error() {
    assert_eq!(Decoder::new(8, REDIS, 7).unwrap_err().cause, Cause::Type(8));
    assert_eq!(
        Decoder::new(24, Flavor::Valkey, 7).unwrap_err().cause,
        Cause::Type(24)
    );
}

/// Found by fuzzing: only bytes that came together with the end were seen.
#[test]
fn bytes_that_come_after_the_end_are_an_error_like_those_that_came_with_it() {
    let mut decoder = Decoder::new(1, REDIS, 100).unwrap();
    decoder.push(Bytes::from_static(b"\x00"));
    assert_eq!(decoder.step(), Ok(Step::End));
    decoder.push(Bytes::from_static(b"more"));
    let error = decoder.step().unwrap_err();
    assert_eq!((error.at, &error.cause), (101, &Cause::Trailing(4)));
    assert_eq!(decoder.step(), Err(error));
}

/// Found by fuzzing: the byte named was that of whatever had arrived together with it.
#[test]
fn a_run_that_is_bad_or_missing_is_named_by_its_own_byte_however_the_string_is_cut() {
    let runs: [&[u8]; 3] = [b"\x00a", b"\x00b", b"\xe0\x09\x05"];
    let reaches_back_too_far = joined(&[&[0xc3, 7, 20], &joined(&runs)]);
    let ends_too_early = reaches_back_too_far[..5].to_vec();
    let has_too_few_runs = joined(&[&[0xc3, 4, 20], &joined(&runs[..2])]);
    let table = [
        (reaches_back_too_far, 107, true),
        (ends_too_early, 105, false),
        (has_too_few_runs, 107, true),
    ];
    for (value, at, of_lzf) in table {
        for size in 1..=value.len() {
            let pieces = value.chunks(size).map(Bytes::copy_from_slice);
            let error = decoded(0, REDIS, pieces).unwrap_err();
            assert_eq!(error.at, at, "in pieces of {size}: {error}");
            assert_eq!(matches!(error.cause, Cause::Lzf { .. }), of_lzf, "{error}");
        }
    }
}

/// Found beside that: the byte named was the one after the string.
#[test]
fn a_packed_string_that_is_broken_is_named_by_its_first_byte() {
    let broken = joined(&[&string(b"name"), &string(b"short")]);
    let error = decoded(15, REDIS, [Bytes::from(joined(&[&[1], &broken]))]).unwrap_err();
    assert_eq!(error.at, 101, "{error}");
    let mut lies = listpack(&[&[1], &[2]]);
    lies[4] = 1;
    let nodes = joined(&[&[2, 2], &packed(listpack(&[&[7]])), &[2], &packed(&lies)]);
    let second = nodes.len() - packed(&lies).len();
    let error = decoded(18, REDIS, [Bytes::from(nodes)]).unwrap_err();
    assert_eq!(error.at, 100 + second as u64, "{error}");
    let nan = joined(&[
        &[2],
        &string(b"a"),
        &[0; 8],
        &string(b"b"),
        &f64::NAN.to_le_bytes(),
    ]);
    let error = decoded(5, REDIS, [Bytes::from(nan)]).unwrap_err();
    assert_eq!((error.at, error.cause), (100 + 11, Cause::Score));
}

proptest::proptest! {
    #[test]
    fn random_bytes_never_panic_and_mean_the_same_in_pieces(value_type in 0_u8..28, value: Vec<u8>, size in 1_usize..40) {
        for flavor in [Flavor::Redis, Flavor::Valkey] {
            if Decoder::new(value_type, flavor, 0).is_err() {
                continue;
            }
            let value = Bytes::from(value.clone());
            let whole = decoded(value_type, flavor, [value.clone()]).map(|elements| shown(&elements));
            let pieces = (0..value.len()).step_by(size).map(|at| value.slice(at..value.len().min(at + size)));
            let in_pieces = decoded(value_type, flavor, pieces).map(|elements| shown(&elements));
            proptest::prop_assert_eq!(whole.as_ref().ok(), in_pieces.as_ref().ok());
            let _ = count(value_type, flavor, &value);
        }
    }
}
