//! What a source says.
//!
//! | input | meaning |
//! | --- | --- |
//! | byte 0 | the size of the pieces |
//! | the rest | its answers to a handshake; and what follows `+FULLRESYNC` |

use bytes::{Bytes, BytesMut};

use gunyu::core::source::handshake::{Announcement, Handshake, Progress};
use gunyu::core::source::transfer::{Part, Transfer};

use super::cut;

/// Understood alike however it is cut.
pub fn check(input: &[u8]) {
    let Some((size, rest)) = input.split_first() else {
        return;
    };
    let (whole, size) = (Bytes::copy_from_slice(rest), usize::from(*size) + 1);
    assert_eq!(shaken([whole.clone()]), shaken(cut(&whole, size)));
    assert_eq!(received([whole.clone()]), received(cut(&whole, size)));
}

/// What each step came to.
fn shaken(pieces: impl IntoIterator<Item = Bytes>) -> Vec<String> {
    let (mut handshake, _) = Handshake::start(Announcement::default());
    let (mut input, mut steps) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(&piece);
        loop {
            let progress = handshake.advance(&mut input);
            match &progress {
                Ok(Progress::NeedMore) => break,
                Ok(Progress::Send(_)) => {}
                Ok(Progress::Ready(_)) => drop(handshake.psync("PSYNC", None)),
                Ok(Progress::Answered(_)) | Err(_) => {
                    steps.push(format!("{progress:?}"));
                    return steps;
                }
            }
            steps.push(format!("{progress:?}"));
        }
    }
    steps
}

/// What came of a snapshot.
#[derive(Debug, Default, PartialEq, Eq)]
struct Received {
    declared: Option<Option<u64>>,
    snapshot: Vec<u8>,
    is_whole: bool,
    stream: Vec<u8>,
    is_bad: bool,
}

fn received(pieces: impl IntoIterator<Item = Bytes>) -> Received {
    let (mut transfer, mut input, mut all) = (Transfer::of_snapshot(), BytesMut::new(), Received::default());
    for piece in pieces {
        input.extend_from_slice(&piece);
        loop {
            match transfer.next(&mut input) {
                Ok(Some(Part::SnapshotBegins(declared))) => all.declared = Some(declared),
                Ok(Some(Part::Snapshot(bytes))) => all.snapshot.extend_from_slice(&bytes),
                Ok(Some(Part::SnapshotEnds)) => all.is_whole = true,
                Ok(Some(Part::Stream(bytes))) => all.stream.extend_from_slice(&bytes),
                Ok(None) => break,
                Err(_) => {
                    all.is_bad = true;
                    return all;
                }
            }
        }
    }
    // What might be the beginning of the mark, or is the header's, stays where it is.
    assert!(input.len() < 64 << 10 && (input.is_empty() || !all.is_whole));
    all
}
