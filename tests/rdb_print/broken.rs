//! Files that are broken: what comes before the fault is printed, the fault is named, and every line is JSON all the same.

use serde_json::Value as Json;

use super::contents::Talker;
use super::file::{File, packed, string};
use super::support::{Server, encodings};
use super::{failed, lines, parsed, run};

/// A snapshot with everything in it, and its lines.
fn snapshot() -> (Vec<u8>, Vec<Json>) {
    let server = Server::start();
    encodings::fill(&mut Talker::to(&server));
    let rdb = server.snapshot();
    let whole = lines(&rdb, &[""; 0]);
    (rdb, whole)
}

fn byte_in(said: &str) -> usize {
    let number = said
        .split("stdin: byte ")
        .nth(1)
        .unwrap_or_else(|| panic!("{said}"));
    number.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_file_cut_anywhere_is_printed_up_to_there() {
    let (rdb, whole) = snapshot();
    let mut rng = fastrand::Rng::with_seed(11);
    let cuts = (0..40).map(|_| rng.usize(..rdb.len()));
    for cut in cuts.chain([0, 1, 8, 9, 10, rdb.len() - 9, rdb.len() - 8, rdb.len() - 1]) {
        let (printed, said) = failed(&rdb[..cut], &[]);
        assert!(byte_in(&said) <= cut, "cut at {cut}: {said}");
        assert_eq!(printed[..], whole[..printed.len()], "cut at {cut}");
        // Nothing is held back that came whole.
        if cut > rdb.len() - 10 {
            assert_eq!(printed.len(), whole.len());
        }
    }
}

#[test]
fn a_file_with_a_wrong_byte_never_passes_for_whole_and_every_line_is_json() {
    let (rdb, _) = snapshot();
    for seed in 0..60 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut garbled = rdb.clone();
        let at = rng.usize(..garbled.len());
        garbled[at] ^= rng.u8(1..);
        let output = run(&garbled, &[""; 0]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "seed {seed}, byte {at}: {said}");
        assert!(
            said.starts_with("error: stdin: byte "),
            "seed {seed}, byte {at}: {said}"
        );
        // A name that comes twice is what a wrong byte can make of two.
        let text = std::str::from_utf8(&output.stdout).unwrap();
        for line in text.lines() {
            assert!(
                serde_json::from_str::<Json>(line).is_ok(),
                "seed {seed}, byte {at}: {line}"
            );
        }
    }
}

/// A value of each type of more than 4 MiB, without the end.
fn large() -> Vec<(&'static str, Vec<u8>)> {
    const COUNT: u32 = 50_000;
    let repeated = |count: u32, each: &dyn Fn(u32) -> Vec<u8>| {
        let head = [&[0x80][..], &count.to_be_bytes()].concat();
        let all = (0..count).flat_map(each);
        head.into_iter().chain(all).collect::<Vec<u8>>()
    };
    let item = |n: u32| string(format!("{n:0100}"));
    let pair = |n: u32| [item(n), item(n)].concat();
    let scored = |n: u32| [item(n), f64::from(n).to_le_bytes().to_vec()].concat();
    let group = b"\x00\x40\x40\x09\x00\x01\x01g\x00\x00".to_vec();
    let pending = |n: u32| [&[0; 12][..], &n.to_be_bytes(), &[7; 8], &[1]].concat();
    vec![
        (
            "string",
            [&[0x80, 0, 0x60, 0, 0][..], &b"text".repeat(6 << 18)].concat(),
        ),
        ("list", repeated(COUNT, &item)),
        ("set", repeated(COUNT, &item)),
        ("hash", repeated(COUNT, &pair)),
        ("zset", repeated(COUNT, &scored)),
        ("stream", [group, repeated(5 * COUNT, &pending)].concat()),
    ]
}

#[test]
fn a_large_value_that_ends_too_early_is_closed_and_says_that_it_is_broken() {
    let code = |object: &str| match object {
        "string" => 0,
        "list" => 1,
        "set" => 2,
        "hash" => 4,
        "zset" => 5,
        _ => 15,
    };
    for (object, value) in large() {
        let file = File::new("REDIS0009")
            .key("small", 0, string("v"))
            .key("big", code(object), &value)
            .0;
        let cut = file.len() - value.len() / 10 - 3;
        assert!(value.len() * 9 / 10 > 4 << 20, "{object}: {}", value.len());
        for args in [&[][..], &["--no-value"]] {
            let (printed, said) = failed(&file[..cut], args);
            assert_eq!(printed.len(), 2, "{object}");
            let line = &printed[1];
            assert_eq!(
                (&line["key"], &line["broken"]),
                (&"big".into(), &true.into()),
                "{object}"
            );
            assert_eq!(line.get("size"), None, "{object}: nobody knows");
            assert_eq!(line.get("value").is_some(), args.is_empty(), "{object}");
            assert!(
                said.contains(&format!("({object}): the file ends here")),
                "{said}"
            );
        }
    }
}

/// Its line has begun although the value is short in the file.
#[test]
fn a_packed_value_that_turns_out_broken_is_closed_likewise() {
    let (packed, unpacked) = packed(20_000);
    let count = [&[0x80][..], &2_u32.to_be_bytes()].concat();
    let (name, long) = (string("a"), packed);
    let wrong = [&[0xc3, 3, 40][..], b"\x01ab"].concat();
    let list = [count, [name, long, wrong].concat()].concat();
    let list = [&list[..1], &3_u32.to_be_bytes(), &list[5..]].concat();
    let (printed, said) = failed(&File::new("REDIS0009").key("big", 1, &list).end(), &[]);
    assert_eq!(printed[0]["broken"], true);
    assert_eq!(printed[0]["size"], list.len());
    let items = printed[0]["value"].as_array().unwrap();
    assert_eq!((items.len(), items[1].as_str().unwrap().len()), (2, unpacked));
    assert!(said.contains("the LZF data does not unpack"), "{said}");
    // A short line is left out.
    let short = b"\x02\x01a\xc3\x03\x28\x01ab";
    let output = run(&File::new("REDIS0009").key("short", 1, short).end(), &[""; 0]);
    assert_eq!((parsed(&output).len(), output.status.code()), (0, Some(1)));
}
