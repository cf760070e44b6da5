//! The target's side: batches, replies, `RESTORE`.

use bytes::BytesMut;
use gunyu::core::command;
use gunyu::core::filter::{Filter, Rules, Verdict};
use gunyu::core::position::Offset;
use gunyu::core::rdb::payload::Payload;
use gunyu::core::resp::{Event, ReplyScanner};
use gunyu::core::target::batch::{Batch, Piece};
use gunyu::core::target::restore::{Dialect, Key, encode_restore};

use crate::stream::{Stream, mixed, sets};
use crate::timing::{Sheet, Work};

/// So many commands make a batch.
const BATCH: usize = 1000;

/// How much is read from a socket at once.
const READ_BYTES: usize = 16 << 10;

/// A lane's portion.
const PORTION_BYTES: usize = 64 << 10;

pub fn batches(sheet: &mut Sheet) {
    let (sets, mixed) = (sets(), mixed());
    sheet.measure("batch: SETs of 64 B framed and kept", sets.work(), || {
        batch(&sets, usize::MAX)
    });
    let figure = "batch: the same, every tenth left out";
    sheet.measure(figure, sets.work(), || batch(&sets, 10));
    for (figure, stream) in [
        ("framed, looked up, filtered, kept: SETs of 64 B", &sets),
        ("framed, looked up, filtered, kept: mixed commands", &mixed),
    ] {
        let filter = Filter::compile(&Rules::default()).unwrap();
        sheet.measure(figure, stream.work(), || {
            let mut state = filter.state(0, Some(&[0]));
            let (mut batch, mut bytes) = (Batch::new(Offset::ZERO, 0, 0), 0);
            stream.frame(|frame| {
                if filter.command(&mut state, command::of(frame), frame) == Verdict::Keep {
                    batch.keep(frame);
                }
                batch.advance(frame.end());
                if batch.commands() == BATCH {
                    bytes += closed(&mut batch);
                }
            });
            bytes + closed(&mut batch)
        });
    }
}

/// Fills batches with all but every so manieth command.
fn batch(stream: &Stream, without: usize) -> usize {
    let (mut batch, mut bytes, mut n) = (Batch::new(Offset::ZERO, 0, 0), 0, 0);
    stream.frame(|frame| {
        n += 1;
        if n == without {
            n = 0;
            return;
        }
        batch.keep(frame);
        if batch.commands() == BATCH {
            bytes += closed(&mut batch);
        }
    });
    bytes + closed(&mut batch)
}

/// What a lane would send of the batch; the next one follows.
fn closed(batch: &mut Batch) -> usize {
    let bytes = batch.pieces().iter().map(|piece| match piece {
        Piece::Commands { bytes, .. } => bytes.len(),
        _ => 0,
    });
    let bytes = bytes.sum();
    *batch = batch.successor();
    bytes
}

pub fn replies(sheet: &mut Sheet) {
    let transaction = [
        &b"+OK\r\n"[..],
        &b"+QUEUED\r\n".repeat(100),
        b"*100\r\n:0\r\n",
        &b"+OK\r\n:1\r\n$5\r\nvalue\r\n".repeat(33),
    ];
    let kinds = [
        ("replies: +OK", b"+OK\r\n".to_vec(), 1),
        ("replies: numbers of 4 digits", b":1234\r\n".to_vec(), 1),
        (
            "replies: transactions, 100 +QUEUED, then an array",
            transaction.concat(),
            201,
        ),
        ("replies: strings of 100 B", reply_of(100), 1),
    ];
    for (figure, reply, count) in kinds {
        let times = (1 << 18) / reply.len();
        let bytes = reply.repeat(times);
        let work = Work {
            bytes: Some(bytes.len()),
            items: times * count,
            item: "reply",
        };
        sheet.measure(figure, work, || {
            let (mut scanner, mut good) = (ReplyScanner::new(), 0);
            let mut on = |event: Event<'_>| match event {
                Event::Ok(count) => good += count,
                Event::Array { elements, errors } => good += elements - errors,
                _ => {}
            };
            for read in bytes.chunks(READ_BYTES) {
                scanner.scan(read, &mut on).unwrap();
            }
            good
        });
    }
}

fn reply_of(len: usize) -> Vec<u8> {
    format!("${len}\r\n{}\r\n", "r".repeat(len)).into_bytes()
}

pub fn restores(sheet: &mut Sheet) {
    let dialect = Dialect {
        absolute_ttl: true,
        set_absolute_ttl: true,
        replace: true,
    };
    for (figure, len) in [
        ("RESTORE encoded, its checksum: values of 100 B", 100),
        ("RESTORE encoded, its checksum: values of 10 kB", 10_000),
    ] {
        let value = [&crate::rdb::len(len as u64)[..], &vec![b'x'; len]].concat();
        let payload = Payload {
            meta: &[],
            value_type: 0,
            value: &value,
        };
        let keys: Vec<String> = (0..PORTION_BYTES.div_ceil(len))
            .map(|n| format!("key:{n:012}"))
            .collect();
        let work = Work {
            bytes: Some(keys.len() * value.len()),
            items: keys.len(),
            item: "key",
        };
        let mut out = BytesMut::with_capacity(4 * PORTION_BYTES);
        sheet.measure(figure, work, || {
            out.clear();
            for (name, n) in keys.iter().zip(0..) {
                let key = Key {
                    db: 0,
                    name: name.as_bytes(),
                    expire_at_ms: (n % 3 == 0).then_some(1_900_000_000_000 + n),
                    idle_secs: None,
                    freq: None,
                    payload_len: payload.len_bytes(),
                    replace: false,
                };
                encode_restore(&mut out, &key, dialect, |out| payload.write(out, 11));
            }
            out.len()
        });
    }
}
