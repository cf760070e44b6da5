//! Checkpoints (`core::target::checkpoint`).
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gunyu_fuzz::checks::run("checkpoint", input));
