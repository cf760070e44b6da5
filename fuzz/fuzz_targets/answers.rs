//! Single answers of servers: checkpoints of redis-GunYu, sentinels, libraries, what the doctor asks.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gunyu_fuzz::checks::run("answers", input));
