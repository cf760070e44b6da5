//! Texts of others: INFO, CLUSTER INFO, fences, what members of a group say.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gunyu_fuzz::checks::run("texts", input));
