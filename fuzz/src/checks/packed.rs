//! LZF: the same bytes, whole or in pieces, and never more than is claimed.
//!
//! | input byte | what |
//! | --- | --- |
//! | 1st | the size of the pieces, less 1 |
//! | 2nd | how many bytes are enough at a time, less 1 |
//! | 3rd, 4th | how many bytes the string claims to unpack to, big endian; 0: what it does |
//! | others | the packed bytes |

use gunyu::core::rdb::lzf::{Bad, Unpacker, unpack};

/// Whatever unpacks to more is not asked for here.
const PLAIN_BYTES_MAX: u64 = 1 << 20;

/// See the table.
pub fn check(input: &[u8]) {
    let [size, enough, high, low, packed @ ..] = input else {
        return;
    };
    let claimed = match u16::from_be_bytes([*high, *low]) {
        0 => plain_bytes(packed),
        claimed => u64::from(claimed),
    };
    let whole = unpack(packed, claimed);
    if let Ok(plain) = &whole {
        assert_eq!(plain.len() as u64, claimed);
    }
    let pieces = in_pieces(packed, claimed, usize::from(*size) + 1, usize::from(*enough) + 1);
    assert_eq!(whole, pieces, "{} bytes that claim to be {claimed}", packed.len());
}

/// What the bytes unpack to, as far as they are right.
pub fn plain_bytes(packed: &[u8]) -> u64 {
    let mut unpacker = Unpacker::new(PLAIN_BYTES_MAX);
    let _ = unpacker.feed(packed, PLAIN_BYTES_MAX as usize);
    unpacker.ready() as u64
}

/// As a reader of pieces does it: what is left of a piece waits for the next one.
fn in_pieces(packed: &[u8], claimed: u64, size: usize, enough: usize) -> Result<Vec<u8>, Bad> {
    let mut unpacker = Unpacker::new(claimed);
    let (mut plain, mut waiting) = (Vec::new(), Vec::new());
    for piece in packed.chunks(size) {
        waiting.extend_from_slice(piece);
        loop {
            let used = unpacker.feed(&waiting, enough)?;
            waiting.drain(..used);
            assert!(unpacker.ready() < enough + 264, "more at a time than is enough");
            plain.extend(unpacker.take());
            if used == 0 {
                break;
            }
        }
    }
    match waiting.is_empty() && unpacker.is_complete() {
        true => Ok(plain),
        false => Err(Bad),
    }
}
