//! Strings, and collections that are written out (types 0 to 5).
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gunyu_fuzz::checks::run("plain", input));
