//! LZF as somebody else reads and writes it.

use crate::checks::packed::plain_bytes;
use crate::core::rdb::lzf::unpack;

/// Longer ones are not asked for.
const PLAIN_BYTES_MAX: usize = 1 << 20;

/// `input` as for [`crate::checks::packed::check`]: its packed bytes unpack to what the oracle unpacks them to, and to nothing where it
/// cannot; and what the oracle packs unpacks to what it was.
pub fn agrees(input: &[u8]) {
    // The oracle takes no empty string.
    let Some(packed @ [_, ..]) = input.get(4..) else {
        return;
    };
    match lzf::decompress(packed, PLAIN_BYTES_MAX) {
        Ok(plain) => assert_eq!(unpack(packed, plain.len() as u64).as_ref(), Ok(&plain)),
        Err(error) => {
            let ours = unpack(packed, plain_bytes(packed));
            assert!(ours.is_err(), "{error:?}, and yet we unpack {ours:?}");
        }
    }
    if let Ok(repacked) = lzf::compress(packed) {
        assert_eq!(unpack(&repacked, packed.len() as u64).as_deref(), Ok(packed));
    }
}
