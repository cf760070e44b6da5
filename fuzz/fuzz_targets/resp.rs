//! Replies and streams of commands (`core::resp`).
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gunyu_fuzz::checks::run("resp", input));
