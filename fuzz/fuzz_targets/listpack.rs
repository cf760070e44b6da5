//! Collections in a listpack (types 16, 17, 20, 23, 25).
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gunyu_fuzz::checks::run("listpack", input));
