//! Hashes in a zipmap (type 9).
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gunyu_fuzz::checks::run("zipmap", input));
