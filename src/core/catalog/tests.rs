//! What the catalog promises, on a real database in a folder of its own.

use super::*;
use crate::core::position::{History, Offset, Position, ReplId};
use bytes::Bytes;

use crate::core::catalog::opened::small_keyspace;

fn id(c: u8) -> ReplId {
    ReplId::parse(&[c; 40]).unwrap()
}

fn record() -> LogRecord {
    LogRecord {
        history: History {
            id: id(b'a'),
            previous: Some((id(b'b'), Offset::new(70))),
        },
        former: vec![(id(b'b'), Offset::new(80))],
        start: Offset::new(i64::MAX.unsigned_abs()),
        snapshot: Some(SnapshotRecord {
            position: Position {
                id: id(b'b'),
                offset: Offset::new(60),
            },
            len: Some(1 << 40),
            begun_ms: 1_700_000_000_000,
            whole_ms: None,
        }),
    }
}

#[test]
fn what_is_put_is_there_after_reopening() {
    let root = tempfile::tempdir().unwrap();
    let cursor = Cursor {
        rdb_byte: 9,
        db: 3,
        rdb_version: 12,
        flavor: 1,
        keys_done: u64::MAX,
    };
    {
        let catalog = Catalog::open(root.path()).unwrap();
        catalog.put_log("a:1", &record(), Durability::Process).unwrap();
        catalog.set_cursor("a:1", Some(&cursor)).unwrap();
        catalog.set_paused(&["a:1".to_owned()], true).unwrap();
        catalog.set_epoch("a:1", 7).unwrap();
        catalog.set_epoch("a:10", 8).unwrap();
    }
    let catalog = Catalog::open(root.path()).unwrap();
    assert_eq!(catalog.log("a:1").unwrap(), Some(record()));
    assert_eq!(catalog.cursor("a:1").unwrap(), Some(cursor));
    assert!(catalog.paused("a:1").unwrap());
    assert_eq!(catalog.epoch("a:1").unwrap(), Some(7));
    assert_eq!(catalog.pipelines().unwrap(), ["a:1", "a:10"]);
}

#[test]
fn a_catalog_whose_files_do_not_fit_together_is_an_error_with_what_to_do() {
    let root = tempfile::tempdir().unwrap();
    drop(Catalog::open(root.path()).unwrap());
    // The database takes a folder of that name for a file of its journal.
    std::fs::create_dir(root.path().join("catalog").join("77.jnl")).unwrap();
    let error = Catalog::open(root.path()).map(drop).unwrap_err();
    assert!(matches!(error, Error::Unreadable { .. }), "{error}");
    assert!(error.hint().unwrap().contains("remove the catalog folder"));
}

#[test]
fn forgetting_a_log_forgets_the_cursor_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(root.path()).unwrap();
    catalog.put_log("a", &record(), Durability::Durable).unwrap();
    catalog.set_epoch("a", 7).unwrap();
    catalog.forget_log("a").unwrap();
    assert_eq!(catalog.log("a").unwrap(), None);
    assert_eq!(catalog.cursor("a").unwrap(), None);
    assert_eq!(catalog.epoch("a").unwrap(), Some(7));
    assert!(!catalog.paused("a").unwrap());
}

#[test]
fn a_newer_format_is_refused_with_a_hint() {
    let root = tempfile::tempdir().unwrap();
    {
        let catalog = Catalog::open(root.path()).unwrap();
        let meta = catalog
            .base
            .now()
            .unwrap()
            .db
            .keyspace("meta", small_keyspace)
            .unwrap();
        meta.insert("format", "2").unwrap();
    }
    let error = Catalog::open(root.path()).unwrap_err();
    assert!(matches!(error, Error::NewerFormat { found: 2, .. }), "{error}");
    assert!(error.hint().is_some());
}

#[test]
fn a_second_opener_is_told_that_it_is_locked() {
    let root = tempfile::tempdir().unwrap();
    let _first = Catalog::open(root.path()).unwrap();
    let error = Catalog::open(root.path()).unwrap_err();
    assert!(error.hint().unwrap().contains("another process"), "{error}");
}

#[test]
fn a_damaged_record_is_an_error_naming_it() {
    let root = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(root.path()).unwrap();
    for bad in ["{", r#"{"id":"short","start":1}"#] {
        catalog
            .base
            .now()
            .unwrap()
            .pipelines
            .keyspace()
            .insert(row("a", "log"), bad)
            .unwrap();
        let error = catalog.log("a").unwrap_err();
        assert!(error.to_string().contains("a/log"), "{error}");
    }
}

#[test]
fn a_name_that_no_row_could_carry_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(root.path()).unwrap();
    for bad in ["", "a\0b", &"x".repeat(NAME_BYTES_MAX + 1)] {
        assert!(matches!(catalog.set_epoch(bad, 1), Err(Error::BadName { .. })));
        assert!(matches!(catalog.seen(bad), Err(Error::BadName { .. })));
    }
    catalog.seen(&"x".repeat(NAME_BYTES_MAX)).unwrap();
}

#[test]
fn seen_keys_are_told_apart_by_database_and_by_every_byte() {
    let root = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(root.path()).unwrap();
    let long = vec![b'k'; 200_000];
    let mut other = long.clone();
    other[100_000] = b'j';
    let seen = catalog.seen("a").unwrap();
    seen.insert([(0, &b"k"[..]), (1, &long[..]), (2, &b""[..])])
        .unwrap();
    assert!(seen.contains(0, b"k").unwrap());
    assert!(!seen.contains(1, b"k").unwrap());
    assert!(seen.contains(1, &long).unwrap());
    assert!(!seen.contains(1, &other).unwrap());
    assert!(seen.contains(2, b"").unwrap());
    assert!(
        !catalog.seen("b").unwrap().contains(0, b"k").unwrap(),
        "of another pipeline"
    );
}

#[test]
fn a_stale_key_counts_once_however_often_it_is_met_and_in_whichever_life() {
    let root = tempfile::tempdir().unwrap();
    let keys =
        |names: &[&str]| -> Vec<Vec<u8>> { names.iter().map(|name| name.as_bytes().to_vec()).collect() };
    let long = "l".repeat(2_000);
    let stale = |kept, deleted| Stale { kept, deleted };
    {
        let seen = Catalog::open(root.path()).unwrap().seen("a").unwrap();
        seen.insert([(0, &b"seen"[..])]).unwrap();
        let met = keys(&["seen", "x", "x", &long, &long]);
        let found = seen.note_stale(0, met, Fate::Kept).unwrap();
        assert_eq!(found, keys(&["x", "x", &long, &long]));
        assert_eq!(seen.stale().unwrap(), stale(2, 0));
        // The same name in another database is another key.
        seen.note_stale(1, keys(&["x", "seen"]), Fate::Deleted).unwrap();
        assert_eq!(seen.stale().unwrap(), stale(2, 2));
    }
    let seen = Catalog::open(root.path()).unwrap().seen("a").unwrap();
    let found = seen.note_stale(0, keys(&["x", &long, "y"]), Fate::Kept).unwrap();
    assert_eq!(found, keys(&["x", &long, "y"]));
    assert_eq!(seen.stale().unwrap(), stale(3, 2));
    assert!(!seen.contains(0, b"x").unwrap() && !seen.contains(0, long.as_bytes()).unwrap());
    // Whoever is told otherwise meanwhile has one fate, not two.
    seen.note_stale(0, keys(&["x", "x"]), Fate::Deleted).unwrap();
    assert_eq!(seen.stale().unwrap(), stale(2, 3));
    seen.clear().unwrap();
    assert_eq!(seen.stale().unwrap(), Stale::default());
}

#[test]
fn seen_keys_are_known_to_be_of_their_snapshot_until_they_are_cleared() {
    let root = tempfile::tempdir().unwrap();
    let seen = Catalog::open(root.path()).unwrap().seen("a").unwrap();
    assert!(!seen.is_of(0).unwrap());
    seen.begin(7).unwrap();
    seen.insert([(0, &b"k"[..])]).unwrap();
    assert!(seen.is_of(7).unwrap() && !seen.is_of(8).unwrap());
    seen.begin(8).unwrap();
    assert!(seen.is_of(8).unwrap() && !seen.contains(0, b"k").unwrap());
    seen.clear().unwrap();
    assert!(!seen.is_of(8).unwrap());
}

#[test]
fn cleared_keys_stay_away_after_reopening() {
    let root = tempfile::tempdir().unwrap();
    {
        let seen = Catalog::open(root.path()).unwrap().seen("a").unwrap();
        seen.insert([(0, &b"k"[..])]).unwrap();
        seen.clear().unwrap();
        seen.insert([(0, &b"new"[..])]).unwrap();
    }
    let seen = Catalog::open(root.path()).unwrap().seen("a").unwrap();
    assert!(!seen.contains(0, b"k").unwrap());
    assert!(seen.contains(0, b"new").unwrap());
}

/// Files and bytes of a folder and all below it.
fn held(folder: &Path) -> (usize, u64) {
    let mut sum = (0, 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let (path, about) = entry
            .map(|entry| (entry.path(), entry.metadata().unwrap()))
            .unwrap();
        let (files, bytes) = match about.is_dir() {
            true => held(&path),
            false => (1, about.len()),
        };
        sum = (sum.0 + files, sum.1 + bytes);
    }
    sum
}

fn fill(seen: &KeySet, keys: u64) {
    for some in (0..keys).collect::<Vec<u64>>().chunks(500) {
        let keys: Vec<String> = some
            .iter()
            .map(|number| format!("a key of some length:{number}"))
            .collect();
        seen.insert(keys.iter().map(|key| (0, key.as_bytes()))).unwrap();
    }
}

#[test]
fn a_set_that_is_filled_and_emptied_often_leaves_nothing_behind() {
    let root = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(root.path()).unwrap();
    let seen = catalog.seen("a").unwrap();
    // So many that they are files; and few, which are in memory alone.
    for (rounds, keys, bytes_max) in [(4, 150_000, 90 << 20), (200, 50, 90 << 20)] {
        for _ in 0..rounds {
            fill(&seen, keys);
            seen.clear().unwrap();
        }
        let (files, bytes) = held(root.path());
        assert!(files < 40 && bytes < bytes_max, "{files} files, {bytes} bytes");
    }
    assert!(!seen.contains(0, b"a key of some length:1").unwrap());
}

/// What a thread has read from files so far, in bytes.
fn read_bytes() -> u64 {
    let told = std::fs::read_to_string("/proc/thread-self/io").unwrap();
    let line = told.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.unwrap().parse().unwrap()
}

#[test]
fn a_key_is_looked_up_in_small_blocks_however_many_there_are() {
    let root = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(root.path()).unwrap();
    let seen = catalog.seen("a").unwrap();
    fill(&seen, 700_000);
    let before = read_bytes();
    for number in 0..1_000 {
        let key = format!("a key of some length:{}", number * 699);
        assert!(seen.contains(0, key.as_bytes()).unwrap(), "{key}");
        let other = format!("another key:{number}");
        assert!(!seen.contains(0, other.as_bytes()).unwrap(), "{other}");
    }
    let each = (read_bytes() - before) / 2_000;
    assert!(each < 64 << 10, "{each} bytes are read for each key");
}

#[test]
fn keys_of_an_emptied_set_do_not_come_back_over_reopenings() {
    let root = tempfile::tempdir().unwrap();
    let open = || Catalog::open(root.path()).unwrap().seen("a").unwrap();
    for keys in [150_000, 50, 3_000] {
        let seen = open();
        fill(&seen, keys);
        seen.clear().unwrap();
        seen.insert([(0, &b"new"[..])]).unwrap();
        drop(seen);
        let seen = open();
        assert!(seen.contains(0, b"new").unwrap());
        for number in 0..keys {
            let key = format!("a key of some length:{number}");
            assert!(!seen.contains(0, key.as_bytes()).unwrap(), "{key} of {keys}");
        }
        seen.clear().unwrap();
    }
}

#[test]
fn parked_keys_come_back_in_chunks_each_once() {
    let root = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(root.path()).unwrap();
    let parked = catalog.parked("a").unwrap();
    let keys: Vec<(u32, Vec<u8>, i64)> = (0..50u32)
        .map(|n| (n % 3, vec![b'k'; 40 * n as usize], i64::from(n) - 5))
        .collect();
    parked
        .insert(keys.iter().map(|(db, key, at)| (*db, &key[..], *at)))
        .unwrap();
    parked.persist().unwrap();
    let mut found: Vec<ParkedKey> = Vec::new();
    loop {
        let chunk = parked.chunk(found.last().map(|last| &last.key), 7).unwrap();
        if chunk.is_empty() {
            break;
        }
        found.extend(chunk);
    }
    assert_eq!(found.len(), 50);
    for (db, key, at) in &keys {
        let expected = ParkedKey {
            key: SourceKey {
                db: *db,
                key: Bytes::copy_from_slice(key),
            },
            expires_ms: vec![*at],
        };
        assert!(found.contains(&expected), "{expected:?}");
    }
    parked
        .remove(keys.iter().skip(1).map(|(db, key, _)| (*db, &key[..])))
        .unwrap();
    assert_eq!(parked.chunk(None, 100).unwrap().len(), 1);
    parked.clear().unwrap();
    assert!(parked.chunk(None, 100).unwrap().is_empty());
}

#[test]
fn a_removed_pipeline_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(root.path()).unwrap();
    catalog.set_epoch("a", 7).unwrap();
    catalog.seen("a").unwrap().insert([(0, &b"k"[..])]).unwrap();
    catalog.set_epoch("b", 8).unwrap();
    catalog.remove_pipeline("a").unwrap();
    assert_eq!(catalog.pipelines().unwrap(), ["b"]);
    assert!(!catalog.seen("a").unwrap().contains(0, b"k").unwrap());
}

#[test]
fn a_retired_pipeline_is_listed_until_that_is_forgotten() {
    let root = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(root.path()).unwrap();
    catalog.set_epoch("a", 7).unwrap();
    catalog.retire("a").unwrap();
    catalog.remove_pipeline("a").unwrap();
    assert_eq!(catalog.pipelines().unwrap(), ["a"]);
    catalog.forget_retired("a").unwrap();
    assert!(catalog.pipelines().unwrap().is_empty());
}

#[test]
fn numbered_records_come_back_in_their_order() {
    let root = tempfile::tempdir().unwrap();
    {
        let catalog = Catalog::open(root.path()).unwrap();
        let ticks = catalog.ticks("shard--00ff").unwrap();
        for number in [300, 2, 1] {
            ticks.put(number, &format!("record {number}")).unwrap();
        }
        ticks.remove(&[2]).unwrap();
    }
    let catalog = Catalog::open(root.path()).unwrap();
    let all: Vec<(u64, String)> = catalog.ticks("shard--00ff").unwrap().all().unwrap();
    assert_eq!(all, [(1, "record 1".to_owned()), (300, "record 300".to_owned())]);
    assert!(
        catalog.pipelines().unwrap().is_empty(),
        "a cluster is no pipeline"
    );
}

#[test]
fn who_is_entangled_stands_until_it_is_taken_back() {
    let root = tempfile::tempdir().unwrap();
    let names = ["a".to_owned(), "b".to_owned()];
    Catalog::open(root.path())
        .unwrap()
        .set_entangled(&names, true)
        .unwrap();
    let catalog = Catalog::open(root.path()).unwrap();
    catalog.set_entangled(&names[..1], false).unwrap();
    let stands = ["a", "b", "c"].map(|name| catalog.entangled(name).unwrap());
    assert_eq!(stands, [false, true, false]);
}
