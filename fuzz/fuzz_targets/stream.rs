//! Streams (types 15, 19, 21, 26, 27).
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gunyu_fuzz::checks::run("stream", input));
