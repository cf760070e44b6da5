//! Opening what a crash, a bad disk or a person has left.

use std::fs;
use std::path::Path;

use super::*;

const LENS: [usize; 5] = [20, 1, 33, 8, 15];

/// Where each block begins in the file, and the offset before it; at last the file's end.
fn blocks(start: u64, lens: &[usize]) -> Vec<(usize, u64)> {
    let mut found = vec![(64, start)];
    for len in lens {
        let (at, offset) = *found.last().unwrap();
        found.push((at + 16 + len, offset + *len as u64));
    }
    found
}

/// A segment as the writer makes it; sealed if asked.
fn write_segment(path: &Path, start: u64, lens: &[usize], sealed: bool) {
    let mut bytes = block::header(id(b'a'), Offset::new(start)).to_vec();
    let mut at = start;
    for len in lens {
        let payload = stream(at, *len);
        bytes.extend(block::block_header(Offset::new(at), &payload));
        bytes.extend(payload);
        at += *len as u64;
    }
    if sealed {
        bytes.extend(block::block_header(Offset::new(at), b""));
    }
    fs::write(path, bytes).unwrap();
}

async fn one_segment() -> (Place, Vec<u8>) {
    let place = Place::new();
    drop(place.started("a", 700).await);
    write_segment(&place.segment("a", 700), 700, &LENS, false);
    let bytes = fs::read(place.segment("a", 700)).unwrap();
    (place, bytes)
}

#[tokio::test]
async fn the_writer_writes_what_the_format_says() {
    let (place, expected) = one_segment().await;
    let log = place.started("b", 700).await;
    append(&log, &LENS).await;
    assert_eq!(fs::read(place.segment("b", 700)).unwrap(), expected);
}

#[tokio::test]
async fn cut_at_any_byte_the_whole_blocks_remain_and_the_rest_is_reported() {
    let (place, bytes) = one_segment().await;
    let path = place.segment("a", 700);
    let blocks = blocks(700, &LENS);
    for len in 0..=bytes.len() {
        fs::write(&path, &bytes[..len]).unwrap();
        let (log, recovery) = place.try_open("a").await.unwrap();
        let whole = blocks.iter().rev().find(|(at, _)| *at <= len);
        let (at, end) = whole.copied().unwrap_or((0, 700));
        let torn = (at < len || len == 0).then(|| Torn {
            file: path.clone(),
            at: at as u64,
            bytes_cut: (len - at) as u64,
        });
        assert_eq!(recovery.torn, torn, "cut at {len}");
        assert_eq!(log.appended().get(), end, "cut at {len}");
        assert_eq!(
            read_all(&log, 700).await.unwrap(),
            stream(700, (end - 700) as usize)
        );
        // And it goes on from there.
        append(&log, &[9]).await;
        drop(log);
        let log = place.open("a").await;
        assert_eq!(
            read_all(&log, 700).await.unwrap(),
            stream(700, (end - 700) as usize + 9)
        );
    }
}

#[tokio::test]
async fn a_flipped_byte_is_rot_unless_nothing_valid_follows_it() {
    let (place, bytes) = one_segment().await;
    let path = place.segment("a", 700);
    let blocks = blocks(700, &LENS);
    let (last, end) = blocks[LENS.len() - 1];
    for flipped in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[flipped] ^= 0x10;
        fs::write(&path, &bad).unwrap();
        let opened = place.try_open("a").await;
        if flipped >= last {
            let (log, recovery) = opened.unwrap();
            assert_eq!(recovery.torn.unwrap().at, last as u64, "byte {flipped}");
            assert_eq!(log.appended().get(), end);
            continue;
        }
        let begins = blocks
            .iter()
            .rev()
            .find(|(at, _)| *at <= flipped)
            .map_or(0, |(at, _)| *at);
        match opened.unwrap_err() {
            Error::Rot { file, at, .. } => assert_eq!((file, at), (path.clone(), begins as u64)),
            other => panic!("byte {flipped}: {other}"),
        }
    }
}

#[tokio::test]
async fn a_flipped_byte_in_a_sealed_segment_is_found_when_it_is_read() {
    let place = Place::new();
    drop(place.started("a", 700).await);
    let path = place.segment("a", 700);
    write_segment(&path, 700, &LENS, true);
    write_segment(&place.segment("a", 777), 777, &[10], false);
    let bytes = fs::read(&path).unwrap();
    let blocks = blocks(700, &LENS);
    let seal = blocks[LENS.len()].0;
    for flipped in 64..bytes.len() {
        let mut bad = bytes.clone();
        bad[flipped] ^= 0x10;
        fs::write(&path, &bad).unwrap();
        let log = place.open("a").await;
        let read = read_all(&log, 700).await;
        if flipped >= seal {
            assert_eq!(read.unwrap(), stream(700, 87));
            assert_eq!(fs::read(&path).unwrap(), bytes, "sealed again");
            continue;
        }
        let begins = blocks.iter().rev().find(|(at, _)| *at <= flipped).unwrap().0;
        match read.unwrap_err() {
            Error::Rot { file, at, .. } => assert_eq!((file, at), (path.clone(), begins as u64)),
            other => panic!("byte {flipped}: {other}"),
        }
        // What lies before it is still handed out.
        let mut reader = log.reader(Offset::new(700)).unwrap();
        if begins > 64 {
            assert!(reader.next().await.unwrap().bytes.starts_with(&stream(700, 20)));
        }
    }
}

#[tokio::test]
async fn a_header_of_another_make_is_refused() {
    let (place, bytes) = one_segment().await;
    let path = place.segment("a", 700);
    fs::rename(&path, place.segment("a", 701)).unwrap();
    assert!(matches!(place.try_open("a").await, Err(Error::Rot { at: 0, .. })));
    fs::remove_file(place.segment("a", 701)).unwrap();
    let mut newer = bytes;
    newer[8] = 9;
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(&newer[..60]);
    newer[60..64].copy_from_slice(&(digest.finalize() as u32).to_le_bytes());
    fs::write(&path, newer).unwrap();
    let refused = place.try_open("a").await.unwrap_err();
    assert!(
        matches!(refused, Error::NewerFormat { version: 9, .. }),
        "{refused}"
    );
    assert!(refused.hint().is_some());
}

#[tokio::test]
async fn a_gap_and_an_overlap_are_refused_and_nothing_is_touched() {
    let place = Place::new();
    drop(place.started("a", 0).await);
    for (first, second, third) in [(10, 10, 30), (10, 20, 30), (10, 9, 30)] {
        write_segment(&place.segment("a", 0), 0, &[10], true);
        write_segment(&place.segment("a", second), second, &[10], true);
        write_segment(&place.segment("a", third), third, &[10], false);
        let before = place.files("a");
        match place.try_open("a").await.unwrap_err() {
            Error::Gap { file, expected, .. } => {
                let (at, missing) = if second == first {
                    (third, 20)
                } else {
                    (second, 10)
                };
                assert_eq!(file, place.segment("a", at));
                assert_eq!(expected.get(), missing);
            }
            other => panic!("{other}"),
        }
        assert_eq!(place.files("a"), before);
        fs::remove_file(place.segment("a", second)).unwrap();
    }
    let log = Log::open_empty(place.settings("a"), &place.space).await.unwrap();
    assert_eq!(log.history(), None);
    assert_eq!(place.files("a"), [""; 0]);
}

#[tokio::test]
async fn a_segment_that_vanishes_under_a_reader_is_a_gap() {
    let mut place = Place::new();
    place.segment_bytes = 100;
    place.tail_bytes = 0;
    let log = place.started("a", 0).await;
    append(&log, &[50; 6]).await;
    fs::remove_file(place.segment("a", 100)).unwrap();
    let error = read_all(&log, 0).await.unwrap_err();
    assert!(
        matches!(&error, Error::Gap { file, .. } if *file == place.segment("a", 100)),
        "{error}"
    );
    log.persist().await.unwrap();
    assert!(matches!(place.try_open("a").await, Err(Error::Gap { .. })));
}

#[tokio::test]
async fn after_a_power_cut_the_tail_may_span_segments_that_were_never_persisted() {
    let place = Place::new();
    drop(place.started("a", 0).await);
    write_segment(&place.segment("a", 0), 0, &[10, 10], false);
    let whole = fs::read(place.segment("a", 0)).unwrap();
    // Torn within a block, at the end of a block, and within the header.
    for (len, end) in [(100, 10), (90, 10), (63, 0)] {
        fs::write(place.segment("a", 0), &whole[..len]).unwrap();
        write_segment(&place.segment("a", 20), 20, &[10], false);
        write_segment(&place.segment("a", 30), 30, &[10], false);
        let (log, recovery) = place.try_open("a").await.unwrap();
        let torn = recovery.torn.unwrap();
        assert_eq!(torn.file, place.segment("a", 0));
        assert_eq!(log.appended().get(), end);
        assert_eq!(read_all(&log, 0).await.unwrap(), stream(0, end as usize));
        assert!(!place.segment("a", 20).exists() && !place.segment("a", 30).exists());
    }
}

#[tokio::test]
async fn a_torn_segment_before_a_sealed_one_is_no_crash_and_refused() {
    let place = Place::new();
    drop(place.started("a", 0).await);
    for len in [0, 63, 64, 90, 100] {
        write_segment(&place.segment("a", 0), 0, &[10, 10], false);
        let whole = fs::read(place.segment("a", 0)).unwrap();
        fs::write(place.segment("a", 0), &whole[..len]).unwrap();
        write_segment(&place.segment("a", 20), 20, &[10], true);
        let refused = place.try_open("a").await.unwrap_err();
        assert!(matches!(refused, Error::Gap { .. }), "{len}: {refused}");
        assert_eq!(fs::read(place.segment("a", 0)).unwrap().len(), len);
    }
}

#[tokio::test]
async fn finished_segments_without_a_seal_get_it_at_opening() {
    let place = Place::new();
    drop(place.started("a", 0).await);
    write_segment(&place.segment("a", 0), 0, &[10, 10], false);
    write_segment(&place.segment("a", 20), 20, &[], true);
    fs::remove_file(place.segment("a", 20)).unwrap();
    write_segment(&place.segment("a", 20), 20, &[10], false);
    let log = place.open("a").await;
    assert_eq!(read_all(&log, 0).await.unwrap(), stream(0, 30));
    let bytes = fs::read(place.segment("a", 0)).unwrap();
    assert!(block::parse_seal(bytes.last_chunk().unwrap()).is_some());
    assert_eq!(log.log_bytes(), place.bytes_on_disk("a") + 16);
}

#[tokio::test]
async fn empty_and_sealed_last_segments_are_fine() {
    let place = Place::new();
    drop(place.started("a", 0).await);
    write_segment(&place.segment("a", 0), 0, &[10], true);
    let log = place.open("a").await;
    append(&log, &[5]).await;
    drop(log);
    assert!(place.segment("a", 10).exists(), "a sealed one takes no more");
    write_segment(&place.segment("a", 10), 10, &[], false);
    let log = place.open("a").await;
    assert_eq!(log.appended().get(), 10);
    append(&log, &[5]).await;
    assert_eq!(read_all(&log, 0).await.unwrap(), stream(0, 15));
    assert_eq!(place.files("a").len(), 2);
}

#[tokio::test]
async fn what_no_log_has_written_is_left_alone_and_reported() {
    let place = Place::new();
    let log = place.started("a", 0).await;
    append(&log, &[10]).await;
    drop(log);
    let strange = place.folder("a").join("7.seg");
    fs::write(&strange, b"?").unwrap();
    let (log, recovery) = place.try_open("a").await.unwrap();
    assert_eq!(recovery.unknown, std::slice::from_ref(&strange));
    log.start_at(history(), Offset::ZERO).await.unwrap();
    assert!(strange.exists());
}

#[tokio::test]
async fn files_of_no_known_history_go() {
    let place = Place::new();
    let log = place.started("a", 0).await;
    append(&log, &[10]).await;
    drop(log);
    place.catalog.forget_log("a").unwrap();
    let (log, recovery) = place.try_open("a").await.unwrap();
    assert_eq!(recovery.removed.len(), 1);
    assert_eq!(log.extent(), None);
    assert_eq!(place.files("a"), [""; 0]);
    assert_eq!(place.space.used_bytes(), 0);
}

#[tokio::test]
async fn a_segment_of_another_history_that_was_put_back_is_refused() {
    let place = Place::new();
    let log = place.started("a", 0).await;
    append(&log, &[50]).await;
    let path = place.segment("a", 0);
    let copy = std::fs::read(&path).unwrap();
    // Another dataset, whose first segment has the same name.
    log.start_at(History::new(id(b'c')), Offset::ZERO).await.unwrap();
    append(&log, &[60]).await;
    drop(log);
    std::fs::write(&path, copy).unwrap();
    let refused = place.try_open("a").await.unwrap_err();
    assert!(refused.to_string().contains("another history"), "{refused}");
}

#[tokio::test]
async fn a_segment_of_the_same_history_from_before_a_failover_counts_as_far_as_both_are_one() {
    for (until, is_good) in [(50, true), (51, false)] {
        let place = Place::new();
        let log = place.started("a", 0).await;
        append(&log, &[until]).await;
        let path = place.segment("a", 0);
        let copy = std::fs::read(&path).unwrap();
        // The replica that was promoted had got as far as 50.
        log.start_at(history(), Offset::ZERO).await.unwrap();
        append(&log, &[50]).await;
        log.rename_history(history().renamed(id(b'b'), Offset::new(50)))
            .await
            .unwrap();
        append(&log, &[70]).await;
        log.persist().await.unwrap();
        drop(log);
        assert_eq!(place.files("a").len(), 2, "each id has segments of its own");
        std::fs::write(&path, copy).unwrap();
        match place.try_open("a").await {
            Ok((log, _)) if is_good => assert_eq!(read_all(&log, 0).await.unwrap(), stream(0, 120)),
            Err(Error::Rot { .. } | Error::Gap { .. }) if !is_good => {}
            other => panic!("{until}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_segment_without_a_block_is_of_no_history_and_goes() {
    let place = Place::new();
    let log = place.started("a", 0).await;
    log.rename_history(history().renamed(id(b'b'), Offset::ZERO))
        .await
        .unwrap();
    drop(log);
    // Its removal at the rename had not reached the disk.
    std::fs::write(place.segment("a", 0), block::header(id(b'a'), Offset::ZERO)).unwrap();
    let log = place.open("a").await;
    assert!(place.files("a").is_empty());
    append(&log, &[60]).await;
    assert_eq!(read_all(&log, 0).await.unwrap(), stream(0, 60));
}
