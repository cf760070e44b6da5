//! Whole files: items, errors, resuming.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gunyu_fuzz::checks::run("item_reader", input));
