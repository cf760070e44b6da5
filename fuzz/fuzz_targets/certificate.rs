//! Certificates and keys: PEM, and the walk over DER.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gunyu_fuzz::checks::run("certificate", input));
