//! Lists of packed strings (types 14, 18).
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gunyu_fuzz::checks::run("quicklist", input));
