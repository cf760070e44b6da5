//! What the catalog and a verification's tables hold: byte 0 says which, the rest is what stands there.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use gunyu::core::catalog::record::{Cursor, LogRecord};
use gunyu::core::catalog::row::{self, Fate, ParkedKey, SourceKey, Stale, Standing};
use gunyu::core::catalog::written::WrittenLog;
use gunyu::core::command::SLOTS;
use gunyu::core::pipeline::crossing::windows::Windows;
use gunyu::core::pipeline::crossing::written::Written;
use gunyu::core::position::{History, Offset, Position, ReplId};
use gunyu::core::verify::note::{self, Told};
use gunyu::core::verify::seen::{Difference, Seen, Verdict, is_same, judge, judge_all};

use super::assembled::Source;

/// What was read can be written, and is read then as it was written.
pub fn check(input: &[u8]) {
    let Some((which, rest)) = input.split_first() else {
        return;
    };
    match which % 8 {
        0 => keys(rest),
        1 => rows(rest),
        2 => logs(rest),
        3 => drop(again::<Cursor>(rest)),
        4 => ticks(rest),
        5 => windows(rest),
        6 => {
            let told = Told::of(rest);
            assert_eq!(told.as_ref().and_then(|told| Told::of(&told.note())), told);
        }
        _ => {
            let seen: Option<Vec<Seen>> = note::read(rest);
            let again = seen.as_ref().and_then(|seen| note::read(&note::written(seen)));
            assert_eq!(again, seen);
            judged(&seen.unwrap_or_default());
        }
    }
}

/// What one side lacks the other has too much.
fn judged(seen: &[Seen]) {
    for pair in seen.windows(2) {
        let (there, back) = (judge(&pair[0], &pair[1], 100), judge(&pair[1], &pair[0], 100));
        for (one, other) in [
            (Difference::Missing, Difference::Extra),
            (Difference::Extra, Difference::Missing),
        ] {
            assert_eq!(
                there == Verdict::Differs(one),
                back == Verdict::Differs(other),
                "{pair:?}"
            );
        }
    }
    let _ = is_same(seen, seen, 100);
    if let Some((target, sources)) = seen.split_first() {
        let _ = judge_all(sources, target, 100);
    }
}

/// The JSON, read; what it says is written and read again.
fn again<T: Serialize + DeserializeOwned + PartialEq + Debug>(text: &[u8]) -> Option<T> {
    let read: T = serde_json::from_slice(text).ok()?;
    let written = serde_json::to_vec(&read).expect("plain values can be written");
    let same: T = serde_json::from_slice(&written).expect("what we write is what we read");
    assert_eq!(same, read);
    Some(read)
}

/// Bytes 0 to 3 are the database, byte 4 how often the rest is the key, the next eight an expiry.
fn keys(input: &[u8]) {
    let mut source = Source(input);
    let (db, times) = (u32::from_be_bytes(source.array()), usize::from(source.byte()));
    let expires_ms = i64::from_le_bytes(source.array());
    let key = source.0.repeat(times.max(1));
    let (row, rest) = (row::row(db, &key), row::rest(&key));
    let source_key = SourceKey {
        db,
        key: key.clone().into(),
    };
    assert_eq!(row::key_of(&row, rest).as_ref(), Some(&source_key));
    assert!(row.len() <= 5 + 1024);
    let parked = row::parked(&row, &row::parked_value(&key, &[expires_ms, 7]));
    assert_eq!(
        parked,
        Some(ParkedKey {
            key: source_key,
            expires_ms: vec![expires_ms, 7],
        })
    );
    for fate in [Fate::Kept, Fate::Deleted] {
        assert_eq!(Standing::of(Some(&fate.value(&key)), &key), Standing::Stale(fate));
    }
    assert_eq!(Standing::of(Some(rest), &key), Standing::Seen);
    assert_eq!(Standing::of(None, &key), Standing::Unknown);
}

/// Byte 0 says how long the row is; then its value.
fn rows(input: &[u8]) {
    let mut source = Source(input);
    let len = usize::from(source.byte());
    let (row, value) = (source.take(len), source.0);
    if let Some(key) = row::key_of(row, value) {
        assert!(key.key.len() <= row.len().max(value.len()));
    }
    if let Some(parked) = row::parked(row, value) {
        assert!(parked.key.key.len() <= row.len().max(value.len()));
    }
    let _ = Standing::of(Some(value), row);
    let stale = Stale::of_bytes(Source(value).array());
    assert_eq!(Stale::of_bytes(stale.to_bytes()), stale);
}

fn is_counted(offset: Offset) -> bool {
    i64::try_from(offset.get()).is_ok()
}

fn logs(text: &[u8]) {
    let read = |text: &[u8]| {
        let written: WrittenLog = serde_json::from_slice(text).ok()?;
        LogRecord::try_from(written).ok()
    };
    let Some(log) = read(text) else { return };
    let written = serde_json::to_vec(&WrittenLog::from(&log)).expect("plain values can be written");
    assert_eq!(read(&written).as_ref(), Some(&log));
    assert!(is_counted(log.start) && log.former.iter().all(|(_, end)| is_counted(*end)));
    assert!(log.history.previous.is_none_or(|(_, shared)| is_counted(shared)));
    assert!(
        log.snapshot
            .is_none_or(|snapshot| is_counted(snapshot.position.offset))
    );
}

fn ticks(text: &[u8]) {
    for written in again::<BTreeMap<String, Written>>(text)
        .unwrap_or_default()
        .into_values()
    {
        let Some(sample) = written.read() else { continue };
        assert!(is_counted(sample.at.offset));
        let of_exports = sample.exports.iter().flatten().flat_map(|export| &export.slots);
        let mut ranges = sample.slots.iter().chain(of_exports);
        assert!(ranges.all(|(first, last)| first <= last && *last < SLOTS));
        assert!(sample.moving.iter().all(|slot| *slot < SLOTS));
        let again = Written::of(&sample);
        assert!(again.says_the_same(&again));
        assert_eq!(again.read(), Some(sample));
    }
}

/// What is in the catalog, or comes from another member; then the stream goes on.
fn windows(text: &[u8]) {
    let Some(mut windows) = again::<Windows>(text) else {
        return;
    };
    // One of that name that is open already stays as it is.
    let told = serde_json::to_value(&windows).expect("plain values can be written");
    if told
        .as_array()
        .into_iter()
        .flatten()
        .any(|one| one["id"] == "new")
    {
        return;
    }
    let id = ReplId::parse(&[b'a'; 40]).expect("so an id is written");
    let (history, at) = (History::new(id), Offset::new(100));
    let before = windows.open_at(at, &history).len();
    let position = Position { id, offset: at };
    windows.open("new".to_owned(), vec![(0, 5)], true, position);
    let end = Offset::new(101);
    assert!(windows.has(3, end) && windows.holds(end));
    assert!(windows.open_at(at, &history).len() <= before + 1);
    for key in 0..=u8::MAX {
        windows.note(3, end, Some(&[key]));
    }
    let closed = windows.close("new", Offset::new(200)).expect("it was open");
    assert!(closed.slots() == &[(0, 5)] && closed.id() == "new");
    assert!(closed.last_deleted().is_none_or(|keys| keys.len() <= 256));
    windows.drop_tails();
    let text = serde_json::to_vec(&windows).expect("plain values can be written");
    assert_eq!(again::<Windows>(&text), Some(windows));
}
