//! The format, held to be what its table says.

use proptest::prelude::*;

use super::*;

/// One that is believed.
fn number() -> impl Strategy<Value = u64> + Clone {
    0..=i64::MAX.unsigned_abs()
}

fn id(digit: u8) -> ReplId {
    ReplId::parse(&[digit; 40]).unwrap()
}

fn body(frames: &[Frame]) -> Vec<u8> {
    let mut body = head().to_vec();
    frames
        .iter()
        .flat_map(encode)
        .for_each(|piece| body.extend_from_slice(&piece));
    body
}

/// Everything that these pieces hold, up to an error.
fn decode(pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> (Vec<Frame>, Option<Error>) {
    let (mut decoder, mut frames) = (Decoder::new(), Vec::new());
    for piece in pieces {
        decoder.push(piece.as_ref());
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

fn a_history() -> impl Strategy<Value = History> {
    let a_id = prop_oneof![Just(id(b'a')), Just(id(b'0')), Just(id(b'F'))];
    let previous = proptest::option::of((a_id.clone(), number().prop_map(Offset::new)));
    (a_id, previous).prop_map(|(id, previous)| History { id, previous })
}

fn a_standing() -> impl Strategy<Value = Standing> {
    let waiting = ("[a-z0-9_.:-]{0,40}", any::<u32>()).prop_map(|(input, ms)| Waiting {
        input,
        since: Duration::from_millis(u64::from(ms)),
    });
    let offsets = (number(), number(), number(), number());
    (offsets, any::<[bool; 2]>(), proptest::option::of(waiting)).prop_map(
        |((received, source, one, other), [is_exact, is_copying], waits_for)| Standing {
            received: Offset::new(received),
            source: Offset::new(source),
            applied: Offset::new(one.max(other)),
            checkpointed: Offset::new(one.min(other)),
            is_exact,
            is_copying,
            waits_for,
        },
    )
}

fn a_frame() -> impl Strategy<Value = Frame> {
    let bytes = || {
        let len = prop_oneof![1..200_usize, SMALL - 20..SMALL + 20];
        (len, any::<u8>()).prop_map(|(len, fill)| Bytes::from(vec![fill; len]))
    };
    prop_oneof![
        a_history().prop_map(Frame::History),
        number().prop_map(|at| Frame::Begins(Offset::new(at))),
        (number(), proptest::option::of(number())).prop_map(|(at, declared)| Frame::SnapshotBegins {
            offset: Offset::new(at),
            declared
        }),
        bytes().prop_map(Frame::Snapshot),
        Just(Frame::SnapshotEnds),
        (any::<u32>(), bytes()).prop_map(|(at, bytes)| Frame::Stream {
            start: Offset::new(u64::from(at)),
            bytes
        }),
        a_standing().prop_map(Frame::Standing),
        ".{0,60}".prop_map(Frame::Windows),
    ]
}

proptest! {
    #[test]
    fn what_is_said_is_understood_however_it_is_cut(
        frames in proptest::collection::vec(a_frame(), 0..8),
        size in 1..5_000_usize,
    ) {
        let body = body(&frames);
        let (understood, error) = decode(body.chunks(size));
        prop_assert_eq!(error, None);
        prop_assert_eq!(understood, frames);
    }

    #[test]
    fn no_changed_byte_of_a_frame_goes_unnoticed(
        frames in proptest::collection::vec(a_frame(), 1..4),
        place in any::<proptest::sample::Index>(),
        change in 1..=255_u8,
    ) {
        let mut body = body(&frames);
        let at = place.index(body.len());
        body[at] ^= change;
        let (understood, error) = decode([&body]);
        // A length that has grown may leave the decoder waiting; it has then handed out only what stood before.
        prop_assert!(understood.len() < frames.len(), "{:?}", error);
        prop_assert_eq!(&understood[..], &frames[..understood.len()]);
    }

    #[test]
    fn whatever_bytes_come_it_ends_and_holds_no_more_than_a_frame(
        bytes in proptest::collection::vec(any::<u8>(), 0..2_000),
        with_head in any::<bool>(),
        size in 1..300_usize,
    ) {
        let mut body = if with_head { head().to_vec() } else { Vec::new() };
        body.extend_from_slice(&bytes);
        let mut decoder = Decoder::new();
        'all: for piece in body.chunks(size) {
            decoder.push(piece);
            loop {
                match decoder.next_frame() {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => break 'all,
                }
            }
            prop_assert!(decoder.buffer.capacity() <= 2 * (PAYLOAD_MAX + 300));
        }
    }
}

fn raw(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head().to_vec();
    pieces(kind, &[], Bytes::copy_from_slice(payload)).for_each(|piece| bytes.extend_from_slice(&piece));
    bytes
}

#[test]
fn the_bytes_are_those_of_the_table() {
    let mut expected = b"GNYPEER1\x01\0\0\0\x06\x0b\0\0\0\x64\0\0\0\0\0\0\0abc".to_vec();
    let crc = crc32c(&[&expected[HEAD_LEN..]]);
    expected.extend_from_slice(&crc.to_le_bytes());
    let stream = Frame::Stream {
        start: Offset::new(100),
        bytes: Bytes::from_static(b"abc"),
    };
    assert_eq!(body(&[stream]), expected);
}

#[test]
fn a_kind_that_is_not_known_is_skipped() {
    let mut body = raw(200, b"of a later version");
    encode(&Frame::SnapshotEnds).for_each(|piece| body.extend_from_slice(&piece));
    assert_eq!(decode([body]), (vec![Frame::SnapshotEnds], None));
}

#[test]
fn fields_that_are_not_known_are_ignored() {
    let mut fields = BytesMut::new();
    put_standing(&mut fields, &Standing::default());
    fields.put_slice(b"more");
    let known = Frame::Standing(Standing::default());
    assert_eq!(decode([raw(STANDING, &fields)]), (vec![known], None));
}

#[test]
fn what_makes_no_sense_is_an_error_that_says_why() {
    let mut ahead = vec![0; 43];
    ahead[24] = 1;
    let table: [(u8, &[u8], &str); 9] = [
        (HISTORY, b"short", "too short"),
        (HISTORY, &[b'x'; 89], "its id is none"),
        (HISTORY, &[b'a'; 89], "no such number"),
        (BEGINS, b"1234567", "too short"),
        (SNAPSHOT_BEGINS, b"12345678", "too short"),
        (SNAPSHOT, b"", "empty"),
        (STREAM, &[255; 9], "beyond the last offset"),
        (STANDING, &ahead, "beyond the data"),
        (WINDOWS, &[255], "no text"),
    ];
    for (kind, payload, why) in table {
        let (frames, error) = decode([raw(kind, payload)]);
        assert_eq!(frames, []);
        let error = error.unwrap().to_string();
        assert!(error.contains(why), "kind {kind}: {error}");
    }
}

#[test]
fn a_length_beyond_any_is_refused_before_its_bytes_come() {
    let mut body = head().to_vec();
    body.extend_from_slice(&[STREAM, 255, 255, 255, 255]);
    let error = Error::TooLong {
        kind: STREAM,
        len: u32::MAX,
    };
    assert_eq!(decode([body]), (Vec::new(), Some(error)));
}

#[test]
fn another_body_and_a_newer_version_are_told_apart() {
    assert_eq!(decode([b"HTTP/1.1"]).1, Some(Error::Magic));
    assert_eq!(decode([b"G"]), (Vec::new(), None));
    let newer = decode([b"GNYPEER1\x02\0\0\0"]).1.unwrap();
    assert_eq!(newer, Error::Newer { found: 2 });
    assert!(newer.hint().unwrap().contains("same version"));
}
