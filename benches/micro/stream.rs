//! The replication stream: framing, the command table, slots, the filter.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use gunyu::core::command::{self, Command};
use gunyu::core::filter::{DbMap, Filter, Rules, Verdict};
use gunyu::core::position::Offset;
use gunyu::core::resp::{Frame, Framer, encode_command};

use crate::timing::{Sheet, Work};

/// How much of the stream comes at once.
pub const CHUNK_BYTES: usize = 64 << 10;

const STREAM_BYTES: usize = 1 << 20;

/// A piece of a replication stream.
pub struct Stream {
    pub chunks: Vec<Bytes>,
    pub commands: usize,
}

impl Stream {
    /// What `write` writes, command after command.
    fn of(mut write: impl FnMut(&mut BytesMut, usize)) -> Stream {
        let (mut out, mut commands) = (BytesMut::new(), 0);
        while out.len() < STREAM_BYTES {
            write(&mut out, commands);
            commands += 1;
        }
        let all = out.freeze();
        let cuts = (0..all.len()).step_by(CHUNK_BYTES);
        // Each where it would be received: a buffer of its own.
        let chunk = |from| Bytes::copy_from_slice(&all[from..all.len().min(from + CHUNK_BYTES)]);
        Stream {
            chunks: cuts.map(chunk).collect(),
            commands,
        }
    }

    pub fn work(&self) -> Work {
        Work {
            bytes: Some(self.chunks.iter().map(Bytes::len).sum()),
            items: self.commands,
            item: "command",
        }
    }

    /// Frames all of it and shows each command.
    #[inline]
    pub fn frame(&self, mut see: impl FnMut(&Frame<'_>)) {
        let (mut framer, mut start) = (Framer::default(), Offset::ZERO);
        for chunk in &self.chunks {
            framer.push(start, chunk.clone()).unwrap();
            start = start.after(chunk.len());
            while let Some(frame) = framer.next().unwrap() {
                see(&frame);
            }
        }
    }
}

/// SETs of 64 bytes: a command is 98.
pub fn sets() -> Stream {
    sets_of(64)
}

fn sets_of(len: usize) -> Stream {
    let value = vec![b'v'; len];
    Stream::of(|out, n| {
        let key = n.wrapping_mul(2_654_435_761) % 10_000_000;
        encode_command(out, &[b"SET", format!("k{key:07}").as_bytes(), &value]);
    })
}

/// What applications write.
pub fn mixed() -> Stream {
    Stream::of(|out, n| encode_command(out, &slices(&mixed_command(n))))
}

fn mixed_command(n: usize) -> Vec<String> {
    let id = n.wrapping_mul(2_654_435_761) % 1_000_000;
    let words = match n % 10 {
        0 => format!("SET session:{id:06} {id:0200}"),
        1 => format!("HSET user:{id:06} name somebody seen 1700000{id:06} score {id}"),
        2 => format!("INCRBY counter:{} {}", id % 1000, n % 7),
        3 => format!("PEXPIREAT session:{id:06} 1900000{id:06}"),
        4 => format!("ZADD board:{} {id}.5 player:{id:06}", id % 100),
        5 => format!("LPUSH queue:{} {{\"job\":{id},\"state\":\"new\"}}", id % 10),
        6 => format!("DEL session:{id:06} user:{id:06}"),
        7 => format!("SADD tags:{id:06} red green blue"),
        8 => format!("XADD events 1700000{id:06}-{n} kind click page {id} user {id:06} from web"),
        _ => format!("SREM tags:{id:06} red"),
    };
    words.split(' ').map(str::to_owned).collect()
}

fn slices(words: &[String]) -> Vec<&[u8]> {
    words.iter().map(String::as_bytes).collect()
}

pub fn framing(sheet: &mut Sheet) {
    let streams = [
        ("framing: SETs of 64 B", sets()),
        ("framing: mixed commands", mixed()),
        ("framing: SETs of 4 KiB", sets_of(4 << 10)),
        (
            "framing: SETs of 100 kB, each in several chunks",
            sets_of(100_000),
        ),
    ];
    for (figure, stream) in streams {
        sheet.measure(figure, stream.work(), || {
            let mut seen = 0;
            stream.frame(|frame| seen ^= frame.end().get());
            seen
        });
    }
}

/// Framers with one command each, so that their frames can be had together.
struct Framers(Vec<Framer>);

impl Framers {
    fn of(commands: impl Iterator<Item = Vec<String>>) -> Framers {
        let framer = |words: Vec<String>| {
            let (mut framer, mut out) = (Framer::default(), BytesMut::new());
            encode_command(&mut out, &slices(&words));
            framer.push(Offset::ZERO, out.freeze()).unwrap();
            framer
        };
        Framers(commands.map(framer).collect())
    }

    fn frames(&mut self) -> Vec<(Frame<'_>, &'static Command)> {
        let frame = |framer| {
            let frame = Framer::next(framer).unwrap().unwrap();
            (frame, command::of(&frame))
        };
        self.0.iter_mut().map(frame).collect()
    }
}

const FRAMES: usize = 1000;

fn each(items: usize, item: &'static str) -> Work {
    Work {
        bytes: None,
        items,
        item,
    }
}

pub fn commands(sheet: &mut Sheet) {
    let mut framers = Framers::of((0..FRAMES).map(mixed_command));
    let frames = framers.frames();
    sheet.measure("command table: lookup", each(FRAMES, "command"), || {
        frames
            .iter()
            .map(|(frame, _)| command::of(frame).id())
            .sum::<usize>()
    });
    sheet.measure("command table: class", each(FRAMES, "command"), || {
        let class = |(frame, command): &(Frame<'_>, &Command)| command.class(frame) as usize;
        frames.iter().map(class).sum::<usize>()
    });
    sheet.measure("command table: keys", each(FRAMES, "command"), || {
        let keys = frames.iter().flat_map(|(frame, command)| command.keys(frame));
        keys.map(|key| key.bytes.len()).sum::<usize>()
    });
}

pub fn slots(sheet: &mut Sheet) {
    let keys = |key: fn(usize) -> String| (0..FRAMES).map(key).collect::<Vec<String>>();
    let kinds = [
        ("slot: keys of 16 B", keys(|n| format!("user:{n:011}"))),
        (
            "slot: keys of 40 B",
            keys(|n| format!("application:session:{n:020}")),
        ),
        (
            "slot: keys of 40 B, a tag of 8",
            keys(|n| format!("application:session:{{{n:08}}}:somewhere")),
        ),
    ];
    for (figure, keys) in kinds {
        sheet.measure(figure, each(FRAMES, "key"), || {
            keys.iter()
                .map(|key| u64::from(command::slot(key.as_bytes())))
                .sum::<u64>()
        });
    }
}

/// Keys of many tenants, of which every second is allowed.
fn tenants(tenants: usize) -> impl Iterator<Item = Vec<String>> {
    (0..FRAMES).map(move |n| {
        let tenant = n.wrapping_mul(2_654_435_761) % (2 * tenants);
        vec!["SET".into(), format!("tenant{tenant:06}:user:{n:06}"), "v".into()]
    })
}

/// As [`mixed_command`], and now and then another database.
fn databases(n: usize) -> Vec<String> {
    match n % 11 {
        0 => vec!["SELECT".into(), (n / 11 % 2).to_string()],
        _ => mixed_command(n - n / 11),
    }
}

pub fn filters(sheet: &mut Sheet) {
    let prefixes = |count: usize| Rules {
        key_prefix_allow: (0..count).map(|n| format!("tenant{:06}:", 2 * n)).collect(),
        ..Rules::default()
    };
    let mapped = Rules {
        db_map: DbMap::Each(BTreeMap::from([(0, 5), (1, 6)])),
        ..Rules::default()
    };
    let kinds = [
        (
            "filter: no rules",
            Rules::default(),
            Framers::of((0..FRAMES).map(mixed_command)),
        ),
        ("filter: 10 prefixes", prefixes(10), Framers::of(tenants(10))),
        (
            "filter: 10,000 prefixes",
            prefixes(10_000),
            Framers::of(tenants(10_000)),
        ),
        (
            "filter: databases mapped, every eleventh a SELECT",
            mapped,
            Framers::of((0..FRAMES).map(databases)),
        ),
    ];
    for (figure, rules, mut framers) in kinds {
        let (filter, frames) = (Filter::compile(&rules).unwrap(), framers.frames());
        let mut state = filter.state(0, Some(&[0]));
        sheet.measure(figure, each(FRAMES, "command"), || {
            let mut kept = |(frame, command): &(Frame<'_>, &Command)| {
                usize::from(filter.command(&mut state, command, frame) == Verdict::Keep)
            };
            frames.iter().map(&mut kept).sum::<usize>()
        });
    }
}
