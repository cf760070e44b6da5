//! The log as its users see it, on real files in temporary folders.

mod faults;
mod following;
mod model;
mod opening;
mod room;
mod snapshots;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::core::position::ReplId;

/// A folder with a catalog, in which logs can be opened and opened again.
struct Place {
    root: tempfile::TempDir,
    catalog: Catalog,
    space: Arc<Space>,
    disk: Disk,
    segment_bytes: u64,
    tail_bytes: u64,
    flush: FlushPolicy,
    in_memory: bool,
}

impl Place {
    fn new() -> Place {
        let root = tempfile::tempdir().unwrap();
        Place {
            catalog: Catalog::open(root.path()).unwrap(),
            root,
            space: Space::new(u64::MAX),
            disk: Disk::new(),
            segment_bytes: SEGMENT_BYTES,
            tail_bytes: TAIL_BYTES,
            flush: FlushPolicy::Os,
            in_memory: false,
        }
    }

    fn settings(&self, name: &str) -> Settings {
        let on_disk = OnDisk {
            root: self.root.path().to_path_buf(),
            disk: self.disk.clone(),
            catalog: self.catalog.clone(),
            segment_bytes: self.segment_bytes,
            flush: self.flush,
        };
        Settings {
            name: name.to_string(),
            storage: if self.in_memory {
                Storage::Memory
            } else {
                Storage::Disk(on_disk)
            },
            tail_bytes: self.tail_bytes,
        }
    }

    async fn try_open(&self, name: &str) -> Result<(Log, Recovery), Error> {
        Log::open(self.settings(name), &self.space).await
    }

    async fn open(&self, name: &str) -> Log {
        let (log, recovery) = self.try_open(name).await.unwrap();
        assert_eq!(recovery, Recovery::default());
        log
    }

    /// A log that follows [`history`] from `offset` on.
    async fn started(&self, name: &str, offset: u64) -> Log {
        let log = self.open(name).await;
        log.start_at(history(), Offset::new(offset)).await.unwrap();
        log
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn segment(&self, name: &str, start: u64) -> PathBuf {
        self.folder(name).join(block::file_name(Offset::new(start)))
    }

    /// The names in a pipeline's folder, sorted.
    fn files(&self, name: &str) -> Vec<String> {
        let entries = Disk::new().list(&self.folder(name)).unwrap();
        entries.into_iter().map(|entry| entry.name).collect()
    }

    fn bytes_on_disk(&self, name: &str) -> u64 {
        let entries = Disk::new().list(&self.folder(name)).unwrap();
        entries.iter().map(|entry| entry.len).sum()
    }
}

fn id(c: u8) -> ReplId {
    ReplId::parse(&[c; 40]).unwrap()
}

fn history() -> History {
    History::new(id(b'a'))
}

/// The byte that follows offset `at`, the same in every test.
fn byte(at: u64) -> u8 {
    (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}

fn stream(start: u64, len: usize) -> Bytes {
    (start..start + len as u64).map(byte).collect()
}

/// Everything from `from` to the log's end.
async fn read_all(log: &Log, from: u64) -> Result<Vec<u8>, Error> {
    let mut reader = log.reader(Offset::new(from))?;
    let mut all = Vec::new();
    while reader.position() < log.appended() {
        let chunk = reader.next().await?;
        assert_eq!(chunk.start.get(), from + all.len() as u64);
        assert!(!chunk.bytes.is_empty());
        all.extend_from_slice(&chunk.bytes);
    }
    assert!(reader.try_next()?.is_none());
    Ok(all)
}

async fn append(log: &Log, lens: &[usize]) {
    let mut writer = log.writer().unwrap();
    for len in lens {
        let at = log.appended().get();
        writer.append(stream(at, *len)).await.unwrap();
    }
}

/// Ends a test that waits for something that never comes.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what)
        .await
        .expect("it should not have to wait")
}

#[tokio::test]
async fn an_empty_log_follows_nothing() {
    let place = Place::new();
    let log = place.open("a").await;
    assert_eq!(log.history(), None);
    assert_eq!(log.extent(), None);
    assert!(matches!(log.writer(), Err(Error::NoHistory)));
    assert!(matches!(log.reader(Offset::ZERO), Err(Error::NoHistory)));
    assert!(matches!(
        log.rename_history(history()).await,
        Err(Error::NoHistory)
    ));
}

#[tokio::test]
async fn what_was_appended_is_read_from_every_offset_and_after_reopening() {
    let mut place = Place::new();
    place.segment_bytes = 300;
    let log = place.started("a", 1000).await;
    append(&log, &[1, 100, 30, 250, 7]).await;
    for round in 0..2 {
        let log = if round == 0 {
            log.clone()
        } else {
            place.open("a").await
        };
        assert_eq!(log.extent().unwrap().start.get(), 1000);
        assert_eq!(log.extent().unwrap().end.get(), 1388);
        for from in 1000..=1388 {
            let all = read_all(&log, from).await.unwrap();
            assert_eq!(all, stream(from, (1388 - from) as usize), "from {from}");
        }
        assert!(matches!(
            log.reader(Offset::new(999)),
            Err(Error::Released { .. })
        ));
        assert!(matches!(log.reader(Offset::new(1389)), Err(Error::Beyond { .. })));
    }
}

#[tokio::test]
async fn a_chunk_of_many_mebibytes_is_cut_in_blocks_and_comes_back() {
    let place = Place::new();
    let log = place.started("a", 0).await;
    append(&log, &[3 * (1 << 20) + 17, 5]).await;
    let log = place.open("a").await;
    let len = 3 * (1 << 20) + 22;
    assert!(read_all(&log, 0).await.unwrap() == stream(0, len));
    let middle = (1 << 20) + 3;
    assert!(read_all(&log, middle).await.unwrap() == stream(middle, len - middle as usize));
}

#[tokio::test]
async fn a_log_has_one_writer_and_begins_anew_for_all_of_them() {
    let place = Place::new();
    let log = place.started("a", 0).await;
    let mut writer = log.writer().unwrap();
    assert!(matches!(log.writer(), Err(Error::WriterHeld)));
    let mut reader = log.reader(Offset::ZERO).unwrap();
    log.start_at(history(), Offset::new(50)).await.unwrap();
    assert!(matches!(
        writer.append(stream(0, 1)).await,
        Err(Error::Superseded)
    ));
    assert!(matches!(soon(reader.next()).await, Err(Error::Superseded)));
    assert!(matches!(reader.try_next(), Err(Error::Superseded)));
    let next = log.writer().unwrap();
    drop(writer);
    assert!(
        matches!(log.writer(), Err(Error::WriterHeld)),
        "the old one gives nothing back"
    );
    drop(next);
    log.writer().unwrap();
}

#[tokio::test]
async fn a_reader_that_waits_is_told_that_the_log_begins_anew() {
    let place = Place::new();
    let log = place.started("a", 0).await;
    let mut reader = log.reader(Offset::ZERO).unwrap();
    let waiting = tokio::spawn(async move { reader.next().await });
    tokio::task::yield_now().await;
    log.start_at(history(), Offset::new(50)).await.unwrap();
    assert!(matches!(soon(waiting).await.unwrap(), Err(Error::Superseded)));
}

#[tokio::test]
async fn a_renamed_history_is_there_after_reopening() {
    let place = Place::new();
    let log = place.started("a", 10).await;
    append(&log, &[5]).await;
    let renamed = history().renamed(id(b'b'), Offset::new(15));
    log.rename_history(renamed).await.unwrap();
    append(&log, &[5]).await;
    assert_eq!(log.history(), Some(renamed));
    let log = place.open("a").await;
    assert_eq!(log.history(), Some(renamed));
    assert_eq!(read_all(&log, 10).await.unwrap(), stream(10, 10));
}

#[tokio::test]
async fn opening_again_supersedes_the_earlier_opening() {
    let place = Place::new();
    let first = place.started("a", 0).await;
    let mut writer = first.writer().unwrap();
    writer.append(stream(0, 10)).await.unwrap();
    let second = place.open("a").await;
    assert!(matches!(
        writer.append(stream(10, 1)).await,
        Err(Error::Superseded)
    ));
    assert!(first.writer().is_err());
    assert!(matches!(
        first.start_at(history(), Offset::ZERO).await,
        Err(Error::Superseded)
    ));
    append(&second, &[10]).await;
    assert_eq!(read_all(&second, 0).await.unwrap(), stream(0, 20));
    assert_eq!(place.space.used_bytes(), second.log_bytes());
}

#[tokio::test]
async fn every_policy_makes_the_stream_durable_in_its_own_time() {
    for flush in [
        FlushPolicy::EveryWrite,
        FlushPolicy::Every(Duration::from_millis(1)),
        FlushPolicy::DirtyBytes(100),
        FlushPolicy::Os,
    ] {
        let mut place = Place::new();
        place.flush = flush;
        let log = place.started("a", 0).await;
        append(&log, &[60]).await;
        match flush {
            FlushPolicy::EveryWrite => assert_eq!(log.persisted(), Some(Offset::new(60))),
            FlushPolicy::DirtyBytes(_) => assert_eq!(log.persisted(), Some(Offset::ZERO)),
            FlushPolicy::Os => log.persist().await.unwrap(),
            FlushPolicy::Every(_) => {}
        }
        append(&log, &[60]).await;
        if flush == FlushPolicy::Os {
            assert_eq!(log.persisted(), Some(Offset::new(60)));
            continue;
        }
        soon(log.inner.persisted_to(log.generation(), Offset::new(120)))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn finished_segments_get_their_seal() {
    let mut place = Place::new();
    place.segment_bytes = 100;
    let log = place.started("a", 0).await;
    append(&log, &[60; 10]).await;
    log.persist().await.unwrap();
    let sealed = |start| {
        let bytes = std::fs::read(place.segment("a", start)).unwrap();
        let last = bytes.last_chunk::<16>().unwrap();
        block::parse_seal(last)
    };
    assert_eq!(sealed(0), Some(Offset::new(60)));
    assert_eq!(sealed(480), Some(Offset::new(540)));
    assert_eq!(sealed(540), None, "the open one has none");
    assert_eq!(log.log_bytes(), place.bytes_on_disk("a") + 16);
}

#[tokio::test]
async fn stale_folders_are_listed_and_removed_with_what_the_catalog_knows() {
    let place = Place::new();
    for name in ["10.0.0.1:6379", "10.0.0.2:6379"] {
        let log = place.started(name, 0).await;
        append(&log, &[100]).await;
    }
    std::fs::write(place.folder("10.0.0.2:6379").join("note"), b"mine").unwrap();
    let disk = Disk::new();
    let found = list_pipelines(&disk, place.root.path()).unwrap();
    let names: Vec<&str> = found.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["10.0.0.1:6379", "10.0.0.2:6379"]);
    for one in &found {
        let freed = remove_pipeline(&disk, place.root.path(), &one.name, &place.catalog).unwrap();
        assert_eq!(freed, one.bytes);
        assert_eq!(place.catalog.log(&one.name).unwrap(), None);
    }
    assert!(!place.folder("10.0.0.1:6379").exists());
    assert_eq!(
        place.files("10.0.0.2:6379"),
        ["note"],
        "what no log has written stays"
    );
}

#[tokio::test]
async fn a_name_that_is_no_folder_is_refused() {
    let place = Place::new();
    for name in ["", "..", ".hidden", "a/b", "catalog", "dead-letter", "lock"] {
        let refused = place.try_open(name).await.unwrap_err();
        assert!(matches!(refused, Error::BadName { .. }), "{name}");
    }
}
