//! What a group's store answers: records, leases, etcd's gateway.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gunyu_fuzz::checks::run("lease", input));
