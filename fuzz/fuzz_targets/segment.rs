//! Files of the log (`core::log::block`).
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gunyu_fuzz::checks::run("segment", input));
