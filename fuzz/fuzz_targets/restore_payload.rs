//! What `RESTORE` and `FUNCTION RESTORE` take.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gunyu_fuzz::checks::run("restore_payload", input));
