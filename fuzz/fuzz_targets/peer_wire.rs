//! What a leader sends its followers (`core::peer::wire`).
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gunyu_fuzz::checks::run("peer_wire", input));
