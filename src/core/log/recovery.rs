//! Opening a log that is on disk already: what can be trusted, what is cut, what is refused.
//!
//! The catalog says which history the files belong to; without it they are nobody's and go. Segments must follow each
//! other to the byte. A sealed one is taken at its word (its blocks are checked when they are read); one without a seal
//! is walked, block by block.
//!
//! | a segment without a seal ends in | followed by | verdict |
//! | --- | --- | --- |
//! | a whole block | nothing, or a segment that begins right there | good |
//! | something that is no whole block | a valid block somewhere later in the file | rot: refused |
//! | the same | nothing | torn tail: cut and reported |
//! | the same, all blocks before it whole | a segment that begins at the end of the last whole block | a torn seal: cut |
//! | either | segments without a seal that begin later | torn tail: cut, these removed, reported: none of it had been persisted |
//! | either | a sealed segment that begins elsewhere | a gap: refused, since everything before a seal had been persisted |
//! | any | a segment that begins earlier | an overlap: refused |
//!
//! A segment's bytes are of the history in its header, alone: one whose id this log never had, or had only up to an earlier
//! offset, is a file of another history (put back from a copy, say) and refused as rot.
//!
//! A file whose header is cut short or no header, and that holds no valid block, counts as torn from its first byte.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;

use super::block::{self, BLOCK_HEADER_LEN, BLOCK_MAX, HEADER_LEN, HeaderFault, Parsed};
use super::disk::{Entry, File};
use super::inner::{Store, is_ours, sweep_folder};
use super::segment::Segment;
use super::snapshot::{self, Snapshot};
use super::state::State;
use super::{Error, disk::Disk};
use crate::core::catalog::{Durability, LogRecord};
use crate::core::position::Offset;

/// What follows damage is looked through so many bytes at a time.
const WINDOW_BYTES: usize = 4 << 20;

/// What opening found that whoever runs gunyu may want to know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The end of the log that a crash had torn, and that was cut.
    pub torn: Option<Torn>,
    /// Files of a log that were removed, and why.
    pub removed: Vec<(PathBuf, &'static str)>,
    /// Files that no log has written; they are left alone.
    pub unknown: Vec<PathBuf>,
}

/// A torn tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// The segment.
    pub file: PathBuf,
    /// The byte from which on it was cut.
    pub at: u64,
    /// Bytes that went, those of later segments included.
    pub bytes_cut: u64,
}

/// Reads back what the folder and the catalog hold about one pipeline.
pub(super) fn recover(name: &str, store: &Store, tail_bytes: u64) -> Result<(State, Recovery), Error> {
    store.disk.create_folder(&store.dir)?;
    if let Some(root) = store.dir.parent() {
        store.disk.persist_folder(root)?;
    }
    let mut entries = store.disk.list(&store.dir)?;
    let mut recovery = Recovery {
        unknown: entries
            .iter()
            .filter(|entry| !is_ours(&entry.name))
            .map(|entry| entry.path.clone())
            .collect(),
        ..Recovery::default()
    };
    let mut state = State::empty(tail_bytes);
    let Some(record) = usable_record(name, store, &entries)? else {
        forget(name, store, &entries, &mut recovery)?;
        return Ok((state, recovery));
    };
    name_whole(store, &record, &mut entries)?;
    let kept = remove_stale(store, &record, entries, &mut recovery)?;
    let chain = Chain::walk(store, &record, &kept, &mut recovery)?;
    state.begin(record.history, chain.start);
    state.former.clone_from(&record.former);
    state.end = chain.end;
    state.persisted = chain.end;
    state.snapshot = whole_snapshot(store, &record, chain.start, &kept, &mut recovery)?;
    state.bytes = chain.segments.iter().map(Segment::bytes).sum::<u64>()
        + state.snapshot.as_ref().map_or(0, Snapshot::bytes_on_disk);
    state.segments = chain.segments;
    store.disk.persist_folder(&store.dir)?;
    if let Some(found) = state.record().filter(|found| *found != record) {
        store.catalog.put_log(name, &found, Durability::Durable)?;
    }
    Ok((state, recovery))
}

/// The catalog's record, without the snapshot that it begins with where that was never whole; a file with its name is then another's. Where not even the stream after
/// it is there, nothing is.
fn usable_record(name: &str, store: &Store, entries: &[Entry]) -> Result<Option<LogRecord>, Error> {
    let Some(record) = store.catalog.log(name)? else {
        return Ok(None);
    };
    if record.snapshot.as_ref().is_none_or(|one| one.len.is_some()) {
        return Ok(Some(record));
    }
    let has_stream = entries
        .iter()
        .any(|entry| block::offset_in_name(&entry.name, ".seg").is_some());
    if !has_stream {
        return Ok(None);
    }
    let record = LogRecord {
        snapshot: None,
        ..record
    };
    store.catalog.put_log(name, &record, Durability::Durable)?;
    Ok(Some(record))
}

/// A snapshot that was whole, and had been about to get its name.
fn name_whole(store: &Store, record: &LogRecord, entries: &mut [Entry]) -> Result<(), Error> {
    let Some(snapshot) = &record.snapshot else {
        return Ok(());
    };
    let [part, whole] = snapshot::paths(&store.dir, snapshot.position.offset);
    let is_named = entries.iter().any(|entry| entry.path == whole);
    let unnamed = |entry: &&mut Entry| entry.path == part && Some(entry.len) == snapshot.len;
    let Some(entry) = entries.iter_mut().find(unnamed).filter(|_| !is_named) else {
        return Ok(());
    };
    store.disk.rename(&part, &whole)?;
    entry.name = entry.name.trim_end_matches(".part").to_owned();
    entry.path = whole;
    Ok(())
}

/// Nobody knows what these files are the history of.
fn forget(name: &str, store: &Store, entries: &[Entry], recovery: &mut Recovery) -> Result<(), Error> {
    store.catalog.forget_log(name)?;
    sweep_folder(&store.disk, &store.dir)?;
    let files = entries.iter().filter(|entry| is_ours(&entry.name));
    recovery
        .removed
        .extend(files.map(|entry| (entry.path.clone(), "what it belongs to was never finished")));
    Ok(())
}

/// Removes what a crash left behind; returns the rest.
fn remove_stale(
    store: &Store,
    record: &LogRecord,
    entries: Vec<Entry>,
    recovery: &mut Recovery,
) -> Result<Vec<Entry>, Error> {
    let snapshot = record.snapshot.as_ref().map(|one| one.position.offset);
    let mut kept = Vec::new();
    for entry in entries {
        let stale = if block::offset_in_name(&entry.name, ".rdb.part").is_some() {
            Some("the snapshot was never whole")
        } else if let Some(offset) = block::offset_in_name(&entry.name, ".rdb") {
            (Some(offset) != snapshot).then_some("the snapshot had been released")
        } else {
            block::offset_in_name(&entry.name, ".seg")
                .filter(|start| *start < record.start)
                .map(|_| "the segment had been released")
        };
        match stale {
            None => kept.push(entry),
            Some(why) => {
                store.disk.remove(&entry.path)?;
                recovery.removed.push((entry.path, why));
            }
        }
    }
    Ok(kept)
}

/// The snapshot, if it is there, has the length it had, and the stream follows it.
fn whole_snapshot(
    store: &Store,
    record: &LogRecord,
    start: Offset,
    entries: &[Entry],
    recovery: &mut Recovery,
) -> Result<Option<Snapshot>, Error> {
    let Some(snapshot) = &record.snapshot else {
        return Ok(None);
    };
    let [_, path] = snapshot::paths(&store.dir, snapshot.position.offset);
    let Some(entry) = entries.iter().find(|entry| entry.path == path) else {
        recovery.removed.push((path, "the snapshot has vanished"));
        return Ok(None);
    };
    let why = if snapshot.position.offset != start {
        "the stream after the snapshot had been released"
    } else if snapshot.len.is_some_and(|len| len != entry.len) {
        "the snapshot's length is not the one in the catalog"
    } else {
        let file = Arc::new(store.disk.open(&path)?);
        return Ok(Some(Snapshot::found(snapshot, file, entry.written)));
    };
    store.disk.remove(&path)?;
    recovery.removed.push((path, why));
    Ok(None)
}

/// The segments, contiguous.
struct Chain {
    start: Offset,
    end: Offset,
    segments: VecDeque<Segment>,
}

/// What one file turned out to be.
enum Examined {
    /// Whole by its seal.
    Sealed(Segment),
    /// Its whole blocks; and the byte from which on there is something else.
    Unsealed(Segment, Option<u64>),
    /// Not even its header is there.
    Nothing,
}

impl Chain {
    fn walk(
        store: &Store,
        record: &LogRecord,
        entries: &[Entry],
        recovery: &mut Recovery,
    ) -> Result<Chain, Error> {
        let files: Vec<(Offset, &Entry)> = entries
            .iter()
            .filter_map(|entry| Some((block::offset_in_name(&entry.name, ".seg")?, entry)))
            .collect();
        let start = files.first().map_or(record.start, |(start, _)| *start);
        let mut chain = Chain {
            start,
            end: start,
            segments: VecDeque::new(),
        };
        for (n, (start, entry)) in files.iter().enumerate() {
            if *start != chain.end {
                return Err(gap(entry, chain.end, *start));
            }
            let later = &files[n + 1..];
            let goes_on = chain.take(store, *start, entry, later, recovery)?;
            chain.check_history(record)?;
            if !goes_on {
                break;
            }
        }
        chain.open_last(store, record)?;
        Ok(chain)
    }

    /// Takes one segment in; `false` where it is the last because the log is torn there.
    fn take(
        &mut self,
        store: &Store,
        start: Offset,
        entry: &Entry,
        later: &[(Offset, &Entry)],
        recovery: &mut Recovery,
    ) -> Result<bool, Error> {
        let (mut segment, torn_at) = match examine(&store.disk, entry, start)? {
            Examined::Sealed(segment) => {
                self.end = segment.end;
                self.segments.push_back(segment);
                return Ok(true);
            }
            Examined::Nothing => {
                let cut = drop_files(store, start, later)? + entry.len;
                store.disk.remove(&entry.path)?;
                recovery.torn = Some(torn(entry, 0, cut));
                return Ok(false);
            }
            Examined::Unsealed(segment, torn_at) => (segment, torn_at),
        };
        let file = Arc::new(store.disk.open_append(&entry.path)?);
        let at = torn_at.unwrap_or(entry.len);
        let joined = later.first().is_none_or(|(next, _)| *next == segment.end);
        let dropped = if joined {
            0
        } else {
            drop_files(store, segment.end, later)?
        };
        if torn_at.is_some() {
            file.cut(at)?;
        }
        file.persist()?;
        let followed = joined && !later.is_empty();
        if !followed && (torn_at.is_some() || dropped > 0) {
            recovery.torn = Some(torn(entry, at, entry.len - at + dropped));
        }
        segment.file = Some(file.clone());
        if followed {
            match seal(&file, segment.end) {
                Ok(()) => segment.file = None,
                // The next persist tries again.
                Err(Error::NoSpace { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.end = segment.end;
        self.segments.push_back(segment);
        Ok(joined)
    }

    /// Whether the segment that was taken in last is of the history that the catalog says.
    fn check_history(&self, record: &LogRecord) -> Result<(), Error> {
        let Some(segment) = self.segments.back() else {
            return Ok(());
        };
        // One without a block holds no byte of any history.
        let belongs = segment.id == record.history.id
            || segment.start == segment.end
            || record
                .former
                .iter()
                .any(|(id, end)| *id == segment.id && segment.end <= *end);
        if belongs {
            return Ok(());
        }
        Err(Error::rot(
            &segment.path,
            block::ID_AT,
            "it is a file of another history",
        ))
    }

    /// The last segment goes on being appended to, unless it is sealed, or the history has had another id since.
    fn open_last(&mut self, store: &Store, record: &LogRecord) -> Result<(), Error> {
        let renamed = |one: &Segment| one.id != record.history.id;
        let empty = |one: &Segment| one.start == one.end;
        if let Some(last) = self.segments.back().filter(|last| renamed(last) && empty(last)) {
            store.disk.remove(&last.path)?;
            self.segments.pop_back();
        }
        store.disk.persist_folder(&store.dir)?;
        if let Some(last) = self.segments.back_mut() {
            last.open = last.file.is_some() && !renamed(last);
        }
        Ok(())
    }
}

fn seal(file: &File, end: Offset) -> Result<(), Error> {
    file.append(&mut [IoSlice::new(&block::block_header(end, &[]))])
}

fn gap(entry: &Entry, expected: Offset, found: Offset) -> Error {
    Error::Gap {
        file: entry.path.clone(),
        expected,
        found: format!("offset {found}"),
    }
}

fn torn(entry: &Entry, at: u64, bytes_cut: u64) -> Torn {
    Torn {
        file: entry.path.clone(),
        at,
        bytes_cut,
    }
}

/// Removes the segments after a torn one. Persists go oldest first, so a seal among them means that this is not what
/// a crash leaves.
fn drop_files(store: &Store, end: Offset, later: &[(Offset, &Entry)]) -> Result<u64, Error> {
    for (start, entry) in later {
        let file = store.disk.open(&entry.path)?;
        if *start < end || sealed_end(&file, *start)?.is_some() {
            return Err(gap(entry, end, *start));
        }
    }
    let mut dropped = 0;
    for (_, entry) in later.iter().rev() {
        store.disk.remove(&entry.path)?;
        dropped += entry.len;
    }
    Ok(dropped)
}

/// The offset in the seal at the file's end, if there is one.
fn sealed_end(file: &File, start: Offset) -> Result<Option<Offset>, Error> {
    let Some(at) = file.len().checked_sub(BLOCK_HEADER_LEN as u64) else {
        return Ok(None);
    };
    let mut bytes = [0; BLOCK_HEADER_LEN];
    file.read(&mut bytes, at)?;
    let most = at.saturating_sub(HEADER_LEN as u64);
    Ok(block::parse_seal(&bytes).filter(|end| *end >= start && end.since(start) <= most))
}

fn examine(disk: &Disk, entry: &Entry, start: Offset) -> Result<Examined, Error> {
    let file = disk.open(&entry.path)?;
    if file.len() < HEADER_LEN as u64 {
        return Ok(Examined::Nothing);
    }
    let mut header = [0; HEADER_LEN];
    file.read(&mut header, 0)?;
    let id = match block::check_header(&header, start) {
        Ok(id) => id,
        Err(HeaderFault::Newer(version)) => {
            return Err(Error::NewerFormat {
                file: entry.path.clone(),
                version,
                known: block::VERSION,
            });
        }
        Err(HeaderFault::Rot(why)) => {
            let followed = block_follows(&file, 0, start)?;
            return if followed {
                Err(Error::rot(&entry.path, 0, why))
            } else {
                Ok(Examined::Nothing)
            };
        }
    };
    let mut segment = Segment::new(&entry.path, id, start, entry.written);
    if let Some(end) = sealed_end(&file, start)? {
        segment.end = end;
        segment.len = file.len() - BLOCK_HEADER_LEN as u64;
        return Ok(Examined::Sealed(segment));
    }
    let torn_at = walk_blocks(&file, &mut segment)?;
    Ok(Examined::Unsealed(segment, torn_at))
}

/// Notes the file's whole blocks; returns the byte at which something else begins, unless that is the end.
fn walk_blocks(file: &File, segment: &mut Segment) -> Result<Option<u64>, Error> {
    loop {
        let left = file.len() - segment.len;
        if left == 0 {
            return Ok(None);
        }
        let mut window = vec![0; left.min((BLOCK_MAX + BLOCK_HEADER_LEN) as u64) as usize];
        file.read(&mut window, segment.len)?;
        let whole = left == window.len() as u64;
        let mut read = 0;
        let why = loop {
            match block::parse(&window[read..], segment.end) {
                Parsed::Block(len) => {
                    segment.wrote(len);
                    read += BLOCK_HEADER_LEN + len;
                }
                Parsed::Short if read == window.len() || (read > 0 && !whole) => break None,
                Parsed::Short => break Some("a block does not end within the file"),
                Parsed::Seal => return Err(rot(file, segment, "there is something after the seal")),
                Parsed::Bad(why) => break Some(why),
            }
        };
        let Some(why) = why else {
            continue;
        };
        if block_follows(file, segment.len + 1, segment.end)? {
            return Err(rot(file, segment, why));
        }
        return Ok(Some(segment.len));
    }
}

fn rot(file: &File, segment: &Segment, why: &'static str) -> Error {
    Error::rot(file.path(), segment.len, why)
}

/// Whether a valid block begins anywhere from byte `from` on, at offset `least` or later.
fn block_follows(file: &File, from: u64, least: Offset) -> Result<bool, Error> {
    block_in_windows(file, from, least, WINDOW_BYTES)
}

/// The same, looking at so many bytes at a time as those where a block may begin, and at what the longest block has behind them.
fn block_in_windows(file: &File, mut from: u64, least: Offset, window: usize) -> Result<bool, Error> {
    // The payloads of a file are shorter than the file.
    let most = Offset::new(least.get().saturating_add(file.len()));
    let mut bytes = Vec::new();
    while from < file.len() {
        let left = usize::try_from(file.len() - from).unwrap_or(usize::MAX);
        bytes.resize(left.min(window + BLOCK_HEADER_LEN + BLOCK_MAX), 0);
        file.read(&mut bytes, from)?;
        if block::find_block(&bytes, &(least..=most)).is_some() {
            return Ok(true);
        }
        from += window as u64;
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_found_wherever_it_lies_across_windows() {
        let root = tempfile::tempdir().unwrap();
        let payload = [b'p'; 50];
        for (nth, before) in [0, 1, 99, 100, 101, 150, 199, 200, 250, 301]
            .into_iter()
            .enumerate()
        {
            let file = Disk::new().create(&root.path().join(nth.to_string())).unwrap();
            let at = Offset::new(1_000);
            let header = block::block_header(at, &payload);
            let bytes = [&vec![0xff; before][..], &header, &payload, &[0xff; 130]].concat();
            file.append(&mut [IoSlice::new(&bytes)]).unwrap();
            for window in [1, 7, 100, 4_096] {
                let found = |from, least| block_in_windows(&file, from, Offset::new(least), window).unwrap();
                assert!(found(0, 1_000) && found(before as u64, 900), "{before} {window}");
                assert!(
                    !found(before as u64 + 1, 1_000) && !found(0, 1_001),
                    "{before} {window}"
                );
            }
        }
    }
}
