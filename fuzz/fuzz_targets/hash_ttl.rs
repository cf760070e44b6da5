//! Hashes whose fields expire (types 22 to 25, and Valkey's 22).
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gunyu_fuzz::checks::run("hash_ttl", input));
