//! Sets of integers (type 11).
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gunyu_fuzz::checks::run("intset", input));
