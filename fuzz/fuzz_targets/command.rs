//! Commands from a source: keys, class, parts, what the filter makes of them.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gunyu_fuzz::checks::run("command", input));
