//! Collections in a ziplist (types 10, 12, 13).
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gunyu_fuzz::checks::run("ziplist", input));
