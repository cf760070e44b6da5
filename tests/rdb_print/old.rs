//! Files of every version, written by hand: what no server of today writes any more, or none that is at hand.

use serde_json::{Value as Json, json};

use super::file::{File, len, listpack, packed, string, text, ziplist};
use super::{failed, keys, lines, strict};

/// The value of the only key of a file.
#[track_caller]
fn value(magic: &str, value_type: u8, value: impl AsRef<[u8]>) -> Json {
    let line = only(magic, value_type, value);
    line["value"].clone()
}

#[track_caller]
fn only(magic: &str, value_type: u8, value: impl AsRef<[u8]>) -> Json {
    let value = value.as_ref();
    let file = File::new(magic).key("k", value_type, value).end();
    let [line] = &keys(&file)[..] else {
        panic!("not one key")
    };
    assert_eq!((&line["key"], &line["size"]), (&json!("k"), &json!(value.len())));
    line.clone()
}

#[track_caller]
fn refused(magic: &str, value_type: u8, value: impl AsRef<[u8]>) -> String {
    let before = File::new(magic).key("before", 0, string("it"));
    let (printed, said) = failed(&before.key("k", value_type, value).end(), &[]);
    assert_eq!(printed.len(), 1, "{printed:?}");
    said
}

#[test]
fn files_before_version_5_end_without_a_checksum() {
    for magic in ["REDIS0001", "REDIS0002", "REDIS0003", "REDIS0004"] {
        let file = File::new(magic).raw(b"\xfe\x00").key("k", 0, string("v"));
        assert_eq!(keys(&file.end_without_checksum())[0]["value"], "v", "{magic}");
        let (printed, said) = failed(
            &File::new(magic).key("k", 0, string("v")).end_with_checksum(),
            &[],
        );
        assert_eq!(printed.len(), 1);
        assert!(said.contains("8 bytes follow the end"), "{said}");
    }
    for magic in ["REDIS0005", "REDIS0009", "REDIS0012", "VALKEY080"] {
        let file = || File::new(magic).key("k", 0, string("v"));
        assert_eq!(keys(&file().end())[0]["value"], "v", "{magic}");
        failed(&file().end_without_checksum(), &[]);
    }
}

#[test]
fn a_checksum_of_0_means_that_there_is_none_and_another_one_must_fit() {
    let file = File::new("REDIS0006").key("k", 0, string("v")).raw([0xff]);
    let none = [&file.0[..], &[0; 8]].concat();
    assert_eq!(keys(&none).len(), 1);
    let (printed, said) = failed(&[&file.0[..], &[1; 8]].concat(), &[]);
    assert_eq!(printed[0]["value"], "v");
    assert!(
        said.contains("stdin: byte 15 of the RDB, reading the checksum"),
        "{said}"
    );
}

#[test]
fn times_of_expiry_in_seconds_and_milliseconds_and_what_eviction_knows() {
    let file = File::new("REDIS0009")
        .raw([253])
        .raw(1_999_999_999_u32.to_le_bytes())
        .key("seconds", 0, string("v"))
        .raw([252])
        .raw(1_999_999_999_123_u64.to_le_bytes())
        .raw([248, 0x40, 200])
        .key("milliseconds", 0, string("v"))
        .raw([249, 255])
        .key("often", 0, string("v"))
        .key("never", 0, string("v"));
    let found = keys(&file.end());
    let expected = [
        r#"{"db":0,"key":"seconds","type":"string","encoding":"string","ttl_ms":1999999999000,"size":2,"value":"v"}"#,
        r#"{"db":0,"key":"milliseconds","type":"string","encoding":"string","ttl_ms":1999999999123,"idle_secs":200,"size":2,"value":"v"}"#,
        r#"{"db":0,"key":"often","type":"string","encoding":"string","ttl_ms":null,"freq":255,"size":2,"value":"v"}"#,
        r#"{"db":0,"key":"never","type":"string","encoding":"string","ttl_ms":null,"size":2,"value":"v"}"#,
    ];
    assert_eq!(found, expected.map(strict::parse));
}

#[test]
fn zipmaps_are_hashes() {
    let zipmap = b"\x02\x03foo\x03\x00bar\x05hello\x05\x03world\0\0\0\xff";
    let line = only("REDIS0002", 9, string(zipmap));
    assert_eq!(
        (&line["type"], &line["encoding"]),
        (&json!("hash"), &json!("zipmap"))
    );
    assert_eq!(line["value"], json!({"foo": "bar", "hello": "world"}));
    let uncounted = [b"\xfe\x01k\xfe\x2c\x01\0\0\0".as_slice(), &[b'v'; 300], b"\xff"].concat();
    assert_eq!(
        value("REDIS0003", 9, string(uncounted)),
        json!({"k": "v".repeat(300)})
    );
    let said = refused("REDIS0002", 9, string(b"\x01\x03foo\x09\x00bar\xff"));
    assert!(said.contains("the zipmap is broken at its byte"), "{said}");
}

#[test]
fn scores_that_are_text_may_be_infinite_and_never_nan() {
    let zset = |last: &[u8]| {
        let members = [&b"\x01a\x031.5\x01b\xfe\x01c\xff\x01d"[..], last].concat();
        [&[4], &members[..]].concat()
    };
    assert_eq!(
        value("REDIS0001", 3, zset(b"\x171.7976931348623157e+308")),
        json!([["a", 1.5], ["b", "inf"], ["c", "-inf"], ["d", f64::MAX]])
    );
    for wrong in [&b"\xfd"[..], b"\x03nan", b"\x02xy", b"\x00"] {
        let said = refused("REDIS0001", 3, zset(wrong));
        assert!(said.contains("the score is not a number"), "{said}");
    }
    let binary = |score: f64| [&b"\x01\x01a"[..], &score.to_le_bytes()].concat();
    assert_eq!(value("REDIS0008", 5, binary(0.1)), json!([["a", 0.1]]));
    assert!(refused("REDIS0008", 5, binary(f64::NAN)).contains("the score is not a number"));
}

/// Facts A11: integers of 24 bits are signed.
#[test]
fn integers_of_every_width_are_signed() {
    let entries: [&[u8]; 8] = [
        &[0xf0, 0x00, 0x00, 0x80],
        &[0xf0, 0xff, 0x7f, 0xff],
        &[0xf0, 0xff, 0xff, 0x7f],
        &[0xc0, 0x00, 0x80],
        &[0xd0, 0, 0, 0, 0x80],
        &[0xe0, 0, 0, 0, 0, 0, 0, 0, 0x80],
        &[0xfe, 0x80],
        &[0xfd],
    ];
    let expected = [
        "-8388608",
        "-32769",
        "8388607",
        "-32768",
        "-2147483648",
        "-9223372036854775808",
        "-128",
        "12",
    ];
    assert_eq!(value("REDIS0002", 10, ziplist(&entries, 8)), json!(expected));
    let nodes = [&[1][..], &ziplist(&entries, 8)].concat();
    assert_eq!(value("REDIS0007", 14, nodes), json!(expected));
    let pair: [&[u8]; 2] = [b"\x01f", &[0xf0, 0xff, 0x7f, 0xff]];
    assert_eq!(value("REDIS0004", 13, ziplist(&pair, 2)), json!({"f": "-32769"}));
    assert_eq!(value("REDIS0002", 12, ziplist(&pair, 2)), json!([["f", -32769]]));
    let entries = [
        &[0xf2, 0x00, 0x00, 0x80][..],
        &[0xf2, 0xff, 0x7f, 0xff],
        &[0xdf, 0xff],
        &[0x7f],
    ];
    let listpack = string(listpack(&entries, 4));
    assert_eq!(
        value("REDIS0011", 20, listpack),
        json!(["-8388608", "-32769", "-1", "127"])
    );
}

/// Facts A12: 65535 is no count, in ziplists and listpacks alike; any other must be right.
#[test]
fn a_count_of_65535_says_nothing() {
    let pair: [&[u8]; 2] = [b"\x01f", &[0xf3]];
    assert_eq!(
        value("REDIS0004", 13, ziplist(&pair, u16::MAX)),
        json!({"f": "2"})
    );
    assert_eq!(
        value("REDIS0002", 10, ziplist(&pair, u16::MAX)),
        json!(["f", "2"])
    );
    let said = refused("REDIS0004", 13, ziplist(&pair, 3));
    assert!(said.contains("fewer entries than its header says"), "{said}");
    let pair = [text("f"), vec![2]];
    let of = |count| string(listpack(&pair, count));
    assert_eq!(value("REDIS0010", 16, of(u16::MAX)), json!({"f": "2"}));
    assert_eq!(value("REDIS0010", 17, of(u16::MAX)), json!([["f", 2]]));
    assert!(refused("REDIS0010", 16, of(1)).contains("more entries than its header says"));
}

/// A stream of version 1 with these entries in a listpack, after the master entry (1-1) with fields a and b.
fn stream(entries: &[Vec<u8>], live: u8, deleted: u8) -> Vec<u8> {
    let master = [vec![live], vec![deleted], vec![2], text("a"), text("b"), vec![0]];
    let all = [&master[..], entries].concat();
    let id = [1_u64.to_be_bytes(), 1_u64.to_be_bytes()].concat();
    let node = [string(id), string(listpack(&all, u16::MAX))].concat();
    [&[1], &node[..], &[live, 9, 0, 0]].concat()
}

/// Facts A10: the fields of an entry that has its own never take the place of the master's.
#[test]
fn entries_with_the_same_fields_keep_them_whatever_stands_between() {
    let own = [vec![0], vec![1], vec![0], vec![1], text("z"), text("3"), vec![6]];
    let same = |ms, one: &str, two: &str| [vec![2], vec![ms], vec![0], text(one), text(two), vec![5]];
    let deleted = [vec![3], vec![3], vec![0], text("x"), text("y"), vec![5]];
    let entries = [&same(0, "1", "2")[..], &own, &deleted, &same(7, "4", "5")].concat();
    assert_eq!(
        value("REDIS0009", 15, stream(&entries, 3, 1)),
        json!({
            "entries": [
                {"id": "1-1", "fields": {"a": "1", "b": "2"}},
                {"id": "2-1", "fields": {"z": "3"}},
                {"id": "8-1", "fields": {"a": "4", "b": "5"}},
            ],
            "length": 3, "last_id": "9-0", "groups": [],
        })
    );
}

#[test]
fn fields_that_come_twice_in_an_entry_are_pairs() {
    let twice = [
        vec![0],
        vec![0],
        vec![0],
        vec![2],
        text("z"),
        text("1"),
        text("z"),
        text("2"),
        vec![8],
    ];
    let found = value("REDIS0009", 15, stream(&twice, 1, 0));
    assert_eq!(found["entries"][0]["fields"], json!([["z", "1"], ["z", "2"]]));
}

/// A consumer that never got anything has -1 there.
#[test]
fn a_consumer_that_never_was_active_says_null() {
    let group = [
        &b"\x01\x01g\x00\x00"[..],
        &[0x81],
        &[0xff; 8],
        b"\x00\x01\x01c",
        &7_u64.to_le_bytes(),
        &[0xff; 8],
        b"\x00",
    ]
    .concat();
    let found = value(
        "REDIS0011",
        21,
        [&b"\x00\x00\x05\x00\x00\x00\x00\x00\x00"[..], &group].concat(),
    );
    assert_eq!(
        found["groups"],
        json!([{
            "name": "g", "last_id": "0-0", "entries_read": null, "pending": [],
            "consumers": [{"name": "c", "seen_ms": 7, "active_ms": null, "pending": []}],
        }])
    );
}

#[test]
fn fields_that_expire_are_printed_whoever_wrote_them() {
    const AT: i64 = 1_999_999_999_999;
    let of_valkey = |at: i64| at.to_le_bytes();
    let long = [&[0x81][..], &AT.to_be_bytes()].concat();
    let packed = |at: Vec<u8>| {
        string(listpack(
            &[text("f"), text("v"), at, text("g"), text("w"), vec![0]],
            6,
        ))
    };
    let in_listpack = [&[0xf4][..], &AT.to_le_bytes()].concat();
    let earliest = of_valkey(AT);
    let rows = [
        (
            "REDIS0012",
            22,
            "hashtable_ex",
            [&[2][..], &long, b"\x01f\x01v\x00\x01g\x01w"].concat(),
        ),
        ("REDIS0012", 23, "listpack_ex", packed(in_listpack.clone())),
        (
            "REDIS0012",
            24,
            "hashtable_ex",
            [&earliest[..], b"\x02\x01\x01f\x01v\x00\x01g\x01w"].concat(),
        ),
        (
            "REDIS0012",
            25,
            "listpack_ex",
            [&earliest[..], &packed(in_listpack)].concat(),
        ),
        (
            "VALKEY080",
            22,
            "hashtable_ex",
            [
                &b"\x02\x01f\x01v"[..],
                &of_valkey(AT),
                b"\x01g\x01w",
                &of_valkey(-1),
            ]
            .concat(),
        ),
    ];
    for (magic, value_type, encoding, value) in rows {
        let line = only(magic, value_type, value);
        assert_eq!(line["encoding"], encoding, "{magic} {value_type}");
        assert_eq!(line["value"], json!({"f": "v", "g": "w"}), "{magic} {value_type}");
        assert_eq!(line["field_ttl_ms"], json!({"f": AT}), "{magic} {value_type}");
    }
}

/// The id of `ReJSON-RL` version 3, as a length.
const MODULE: [u8; 9] = [0x81, 0x45, 0xe2, 0x52, 0x38, 0xdf, 0x91, 0x2c, 0x03];

#[test]
fn modules_are_named_and_what_they_wrote_is_base64() {
    let wrote = b"\x02\x07\x05\x04json\x04\0\0\0\0\0\0\xf8\x3f\x00";
    let line = only("REDIS0009", 7, [&MODULE[..], wrote].concat());
    assert_eq!(
        (&line["type"], &line["module"], &line["encoding_version"]),
        (&json!("module"), &json!("ReJSON-RL"), &json!(3))
    );
    let whole = [&MODULE[..], wrote].concat();
    assert_eq!(line["value"]["base64"], base64_of(&whole));
    let aux = [&MODULE[..], b"\x02\x02", wrote].concat();
    let file = File::new("REDIS0009").raw([247]).raw(&aux).end();
    let expected = json!({
        "type": "module_aux", "module": "ReJSON-RL", "encoding_version": 3, "size": aux.len(), "value": {"base64": base64_of(&aux)},
    });
    assert_eq!(lines(&file, &[""; 0])[..], std::slice::from_ref(&expected)[..]);
    assert_eq!(lines(&file, &["--type", "module_aux"]), [expected]);
    let (_, said) = failed(
        &File::new("REDIS0009").raw([247]).raw(MODULE).raw([9, 9, 9]).end(),
        &[],
    );
    assert!(said.contains("unknown module opcode"), "{said}");
}

fn base64_of(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[test]
fn functions_and_fields_about_the_file_have_lines_of_their_own() {
    let code = "#!lua name=one\nredis.register_function('f', function() return 1 end)";
    let file = File::new("REDIS0010")
        .raw(b"\xfa\x09redis-ver\x057.0.1\xfa\x03odd\x01\xff\xfa\x05ctime\xc2\x01\x00\x00\x00")
        .raw([245])
        .raw(string(code))
        .end();
    let size = string(code).len();
    assert_eq!(
        lines(&file, &[""; 0]),
        [
            json!({"type": "aux", "key": "redis-ver", "value": "7.0.1"}),
            json!({"type": "aux", "key": "odd", "value": {"base64": "/w=="}}),
            json!({"type": "aux", "key": "ctime", "value": "1"}),
            json!({"type": "function", "size": size, "code": code}),
        ]
    );
    assert_eq!(
        lines(&file, &["--no-value", "--type", "function"]),
        [json!({"type": "function", "size": size})]
    );
    let (packed, unpacked) = packed(2);
    let file = File::new("REDIS0010").raw([245]).raw(packed).end();
    let found = &lines(&file, &[""; 0])[0]["code"];
    assert_eq!(found, &json!("abcdefgh".repeat(unpacked / 8)));
}

/// It was printed as an empty library, and the file taken for whole.
#[test]
fn a_library_that_does_not_unpack_is_an_error() {
    let lie = [&[0xc3][..], &len(3), &len(64), b"\x01ab"].concat();
    let file = File::new("REDIS0010")
        .key("k", 0, string("v"))
        .raw([245])
        .raw(lie)
        .end();
    let (printed, said) = failed(&file, &[]);
    assert_eq!(printed.len(), 1);
    assert!(said.contains("byte 15 of the RDB, reading opcode 245"), "{said}");
}

#[test]
fn what_is_unknown_is_an_error_that_names_the_byte() {
    for code in [6, 8, 28, 100, 200, 242, 246] {
        let file = File::new("REDIS0011").key("k", 0, string("v")).raw([code]);
        let (printed, said) = failed(&file.key("l", 0, string("v")).end(), &[]);
        assert_eq!(printed.len(), 1, "{code}");
        assert!(said.contains("stdin: byte 14 of the RDB"), "{code}: {said}");
    }
    for magic in ["REDIS000x", "RADIS0001", "REDIS0000"] {
        let (printed, said) = failed(&File::new(magic).end(), &[]);
        assert!(
            printed.is_empty() && said.contains("is not the magic of an RDB"),
            "{said}"
        );
    }
}
