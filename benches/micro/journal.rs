//! The log: chunks to segments, and back from the disk's cache and from memory.

use std::sync::Arc;

use bytes::Bytes;
use gunyu::core::catalog::Catalog;
use gunyu::core::log::{Disk, FlushPolicy, Log, OnDisk, SEGMENT_BYTES, Settings, Space, Storage};
use gunyu::core::position::{History, Offset, ReplId};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::timing::{SAMPLES, Sheet, Work, wall_time};

const CHUNK_BYTES: usize = 64 << 10;
const CHUNKS: usize = 512;
const ALL: usize = CHUNK_BYTES * CHUNKS;

pub fn segments(sheet: &mut Sheet) {
    let work = Work {
        bytes: Some(ALL),
        items: CHUNKS,
        item: "chunk",
    };
    // What stays in memory besides: little, or all.
    for (name, tail_bytes) in [
        ("little in memory", 1 << 20),
        ("all in memory too", 2 * ALL as u64),
    ] {
        let figures = [
            format!("log, {name}: chunks of 64 KiB appended"),
            format!("log, {name}: read back"),
        ];
        if !figures.iter().any(|figure| sheet.wants(figure)) {
            continue;
        }
        let place = Place::new(tail_bytes);
        let (append, read) = (0..SAMPLES).map(|_| place.sample()).unzip();
        for (figure, samples) in figures.iter().zip([append, read]) {
            if sheet.wants(figure) {
                sheet.record(figure, work, samples);
            }
        }
    }
}

/// A log in a folder of its own.
struct Place {
    log: Log,
    runtime: Runtime,
    chunk: Bytes,
    _root: TempDir,
}

impl Place {
    fn new(tail_bytes: u64) -> Place {
        let (root, runtime) = (tempfile::tempdir().unwrap(), Runtime::new().unwrap());
        let on_disk = OnDisk {
            root: root.path().to_path_buf(),
            disk: Disk::new(),
            catalog: Catalog::open(root.path()).unwrap(),
            segment_bytes: SEGMENT_BYTES,
            flush: FlushPolicy::Os,
        };
        let settings = Settings {
            name: "bench".to_owned(),
            storage: Storage::Disk(on_disk),
            tail_bytes,
        };
        let space: Arc<Space> = Space::new(u64::MAX);
        let log = runtime.block_on(Log::open_empty(settings, &space)).unwrap();
        Place {
            log,
            runtime,
            chunk: Bytes::from(vec![b'c'; CHUNK_BYTES]),
            _root: root,
        }
    }

    /// How long appending took, and reading it all back.
    fn sample(&self) -> (f64, f64) {
        let history = History::new(ReplId::parse(&[b'a'; 40]).unwrap());
        let begun = self.log.start_at(history, Offset::ZERO);
        self.runtime.block_on(begun).unwrap();
        let append = wall_time(|| self.runtime.block_on(self.append()));
        let read = wall_time(|| self.runtime.block_on(self.read()));
        (append, read)
    }

    async fn append(&self) {
        let mut writer = self.log.writer().unwrap();
        for _ in 0..CHUNKS {
            writer.append(self.chunk.clone()).await.unwrap();
        }
    }

    async fn read(&self) {
        let mut reader = self.log.reader(Offset::ZERO).unwrap();
        let end = self.log.appended();
        while reader.position() < end {
            reader.next().await.unwrap();
        }
    }
}
