//! What a source says of itself and how it answers `PSYNC` (`core::source`).
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gunyu_fuzz::checks::run("transfer", input));
