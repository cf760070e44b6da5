//! Frames from a leader.
//!
//! | input | meaning |
//! | --- | --- |
//! | byte 0 | the size of the pieces |
//! | the rest | what follows the head of the body: at each frame the checksum is put right, or else no input would ever come past it |

use bytes::{Buf, Bytes};

use gunyu::core::peer::wire::{Decoder, Error, Frame, encode, head};

use super::cut;

/// What follows kind and length in a frame beside the payload.
const CRC_LEN: usize = 4;

/// Understood alike however it is cut; and what was understood is understood again when it is said again.
pub fn check(input: &[u8]) {
    let Some((size, frames)) = input.split_first() else {
        return;
    };
    let body = Bytes::from([&head()[..], &with_checksums(frames)].concat());
    let whole = decode([body.clone()]);
    let in_pieces = decode(cut(&body, usize::from(*size) + 1));
    assert_eq!(whole, in_pieces);
    let said: Vec<Bytes> = [head()]
        .into_iter()
        .chain(whole.0.iter().flat_map(encode))
        .collect();
    assert_eq!(decode(said), (whole.0, None));
}

fn decode(pieces: impl IntoIterator<Item = Bytes>) -> (Vec<Frame>, Option<Error>) {
    let (mut decoder, mut frames) = (Decoder::new(), Vec::new());
    for piece in pieces {
        decoder.push(&piece);
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

/// Kind, length as u16 and payload become frames; a kind of 255 leaves the rest as it is.
fn with_checksums(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while rest.len() >= 3 && rest[0] != 255 {
        let (kind, len) = (rest.get_u8(), usize::from(rest.get_u16_le()).min(rest.len()));
        let start = body.len();
        body.push(kind);
        body.extend_from_slice(&(len as u32).to_le_bytes());
        body.extend_from_slice(&rest[..len]);
        rest = &rest[len..];
        let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &body[start..]) as u32;
        body.extend_from_slice(&crc.to_le_bytes());
        debug_assert_eq!(body.len(), start + 5 + len + CRC_LEN);
    }
    body.extend_from_slice(rest);
    body
}
