//! What is written, command by command.

use super::*;
use crate::core::rdb::value::{Group, Pending, StreamCounts, StreamId, StreamMeta};

const NEWEST: Ability = Ability {
    restore_replaces: true,
    hash_verb: b"HSET",
    streams: true,
    consumers_are_created: true,
    streams_are_counted: true,
    fields_expire: true,
    producers_are_known: true,
    functions: true,
};

const OLDEST: Ability = Ability {
    restore_replaces: false,
    hash_verb: b"HMSET",
    streams: true,
    consumers_are_created: false,
    streams_are_counted: false,
    fields_expire: false,
    producers_are_known: false,
    functions: false,
};

/// Commands as lines.
fn lines(bytes: &[u8]) -> Vec<String> {
    let mut framer = resp::Framer::new(resp::Limits::default());
    let bytes = Bytes::copy_from_slice(bytes);
    framer.push(crate::core::position::Offset::ZERO, bytes).unwrap();
    let mut lines = Vec::new();
    while let Some(frame) = framer.next().unwrap() {
        let words: Vec<_> = frame
            .args()
            .map(|arg| String::from_utf8_lossy(arg).into_owned())
            .collect();
        lines.push(words.join(" "));
    }
    lines
}

fn written(ability: Ability, elements: Vec<Element>, is_text: bool) -> (Vec<String>, Vec<String>) {
    let mut rewriter = Rewriter::new(Bytes::from("n"), Bytes::from("k"), ability, false);
    for element in elements {
        rewriter.element(element);
    }
    rewriter.finish(is_text);
    let lost = rewriter
        .take_lost()
        .iter()
        .flat_map(|lost| lines(&lost.command))
        .collect();
    let commands = rewriter.commands().take();
    let lines = lines(&commands.bytes);
    assert_eq!(lines.len(), commands.count);
    (lines, lost)
}

fn field(name: &str, expire_at_ms: Option<i64>) -> Element {
    Element::Field {
        name: Bytes::copy_from_slice(name.as_bytes()),
        value: Bytes::from("v"),
        expire_at_ms,
    }
}

#[test]
fn elements_share_commands_of_at_most_64_kib() {
    let item = || Element::Item(Bytes::from(vec![b'x'; 10_000]));
    let mut rewriter = Rewriter::new(Bytes::from("n"), Bytes::from("k"), NEWEST, false);
    for _ in 0..20 {
        rewriter.element(item());
    }
    assert_eq!((rewriter.taken(), rewriter.closed()), (20, 18));
    rewriter.finish(false);
    let commands = rewriter.commands().take();
    assert_eq!((commands.count, rewriter.closed()), (4, 20));
    let pushed = |line: &String| line.split(' ').count() - 2;
    assert_eq!(
        lines(&commands.bytes).iter().map(pushed).collect::<Vec<_>>(),
        [6, 6, 6, 2]
    );
}

#[test]
fn strings_are_written_by_place() {
    let piece = |len| Element::Text(Bytes::from(vec![b'x'; len]));
    let (written_lines, _) = written(NEWEST, vec![piece(PIECE_BYTES + 3), piece(2)], true);
    let starts: Vec<&str> = written_lines
        .iter()
        .map(|line| line.trim_end_matches('x'))
        .collect();
    assert_eq!(starts, ["SET n ", "SETRANGE n 65536 ", "SETRANGE n 65539 "]);
    assert_eq!(written(NEWEST, vec![], true).0, ["SET n "]);
    let mut resumed = Rewriter::new(Bytes::from("n"), Bytes::from("k"), NEWEST, true);
    resumed.skip(7);
    resumed.element(piece(1));
    resumed.finish(true);
    assert_eq!(lines(&resumed.commands().bytes), ["SETRANGE n 7 x"]);
}

#[test]
fn scores_are_written_so_that_they_read_back_the_same() {
    let scores = [
        0.1,
        -0.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        5e-324,
        1.797_693_134_862_315_7e308,
    ];
    let elements = scores.map(|score| Element::Scored {
        member: Bytes::from("m"),
        score,
    });
    let (written_lines, _) = written(NEWEST, elements.into(), false);
    assert_eq!(
        written_lines,
        ["ZADD n 0.1 m -0.0 m inf m -inf m 5e-324 m 1.7976931348623157e308 m"]
    );
}

#[test]
fn fields_that_expire_are_told_where_the_target_cannot_hold_them() {
    let elements = || {
        vec![
            field("a", Some(5)),
            field("b", Some(5)),
            field("c", None),
            field("d", Some(9)),
        ]
    };
    let (new, lost) = written(NEWEST, elements(), false);
    assert_eq!(
        new,
        [
            "HSET n a v b v c v d v",
            "HPEXPIREAT n 5 FIELDS 2 a b",
            "HPEXPIREAT n 9 FIELDS 1 d"
        ]
    );
    assert!(lost.is_empty());
    let (old, lost) = written(OLDEST, elements(), false);
    assert_eq!(old, ["HMSET n a v b v c v d v"]);
    assert_eq!(lost, ["HPEXPIREAT k 5 FIELDS 2 a b", "HPEXPIREAT k 9 FIELDS 1 d"]);
}

fn id(ms: u64) -> StreamId {
    StreamId { ms, seq: 1 }
}

fn stream(entries_read: Option<u64>) -> Vec<Element> {
    let pending = |ms| {
        Element::Pending(Pending {
            id: id(ms),
            delivered_ms: 77,
            deliveries: 2,
        })
    };
    let consumer = |name: &'static str| Element::Consumer {
        name: Bytes::from(name),
        seen_ms: 1,
        active_ms: None,
    };
    vec![
        Element::Entry {
            id: id(5),
            fields: vec![(Bytes::from("f"), Bytes::from("v"))],
        },
        Element::StreamMeta(StreamMeta {
            length: 1,
            last_id: id(6),
            since_7: Some(StreamCounts {
                first_id: id(5),
                max_deleted_id: id(4),
                entries_added: 3,
            }),
        }),
        Element::Group(Group {
            name: Bytes::from("g"),
            last_id: id(5),
            entries_read,
        }),
        pending(4),
        pending(5),
        consumer("idle"),
        consumer("busy"),
        Element::Owned(id(4)),
        Element::Owned(id(5)),
        Element::Idempotence {
            duration_secs: 60,
            ids_max: 40,
        },
        Element::Produced {
            producer: Bytes::from("p"),
            produced: Bytes::from("one"),
            id: id(5),
        },
    ]
}

/// Facts C8: entries read that nobody knows are left out.
#[test]
fn a_stream_is_written_with_its_groups_and_consumers() {
    let (new, lost) = written(NEWEST, stream(None), false);
    assert_eq!(
        new,
        [
            "XADD n 5-1 f v",
            "XSETID n 6-1 ENTRIESADDED 3 MAXDELETEDID 4-1",
            "XGROUP CREATE n g 5-1",
            "XGROUP CREATECONSUMER n g idle",
            "XGROUP CREATECONSUMER n g busy",
            "XCLAIM n g busy 0 4-1 5-1 TIME 77 RETRYCOUNT 2 FORCE JUSTID",
            "XCFGSET n IDMP-DURATION 60 IDMP-MAXSIZE 40",
            "XIDMPRECORD n p one 5-1",
        ]
    );
    assert!(lost.is_empty());
    let (old, lost) = written(OLDEST, stream(Some(2)), false);
    assert_eq!(old[1..3], ["XSETID n 6-1", "XGROUP CREATE n g 5-1"]);
    assert_eq!(old[3], "XREADGROUP GROUP g idle COUNT 1 STREAMS n 0");
    assert_eq!(lost, ["XIDMPRECORD k p one 5-1"]);
}

#[test]
fn a_pending_entry_whose_entry_is_gone_is_written_with_a_stand_in() {
    let mut elements = stream(Some(2)).into_iter();
    let dangling = stream::Dangling::find(|| Ok::<_, ()>(elements.next())).unwrap();
    let mut rewriter = Rewriter::new(Bytes::from("n"), Bytes::from("k"), NEWEST, false);
    rewriter.prepare(dangling);
    stream(Some(2))
        .into_iter()
        .for_each(|element| rewriter.element(element));
    rewriter.finish(false);
    assert_eq!(rewriter.groups(), [(Bytes::from("g"), 2)]);
    assert_eq!(
        lines(&rewriter.commands().bytes)[..12],
        [
            "XADD n 4-1 x y",
            "XGROUP CREATE n g 5-1",
            "XCLAIM n g busy 0 4-1 TIME 77 RETRYCOUNT 2 FORCE JUSTID",
            "XTRIM n MAXLEN 0",
            "XSETID n 0-0 ENTRIESADDED 0",
            "XADD n 5-1 f v",
            "XSETID n 6-1 ENTRIESADDED 3 MAXDELETEDID 4-1",
            "XGROUP SETID n g 5-1 ENTRIESREAD 2",
            "XGROUP CREATECONSUMER n g idle",
            "XGROUP CREATECONSUMER n g busy",
            "XCLAIM n g busy 0 5-1 TIME 77 RETRYCOUNT 2 FORCE JUSTID",
            "XCFGSET n IDMP-DURATION 60 IDMP-MAXSIZE 40",
        ]
    );
}

#[test]
fn a_stream_without_entries_is_there_all_the_same() {
    let meta = |last_id| {
        vec![Element::StreamMeta(StreamMeta {
            length: 0,
            last_id,
            since_7: None,
        })]
    };
    assert_eq!(
        written(NEWEST, meta(id(6)), false).0,
        ["XADD n MAXLEN 0 6-1 x y", "XSETID n 6-1 ENTRIESADDED 0"]
    );
    assert_eq!(
        written(OLDEST, meta(StreamId::default()), false).0,
        ["XADD n MAXLEN 0 0-1 x y", "XSETID n 0-0"]
    );
}
