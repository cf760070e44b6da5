//! What the catalog and a verification's tables hold: rows of keys, records as JSON.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gunyu_fuzz::checks::run("catalog", input));
