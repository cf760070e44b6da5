//! What servers tell of clusters: nodes, slots, migrations, redirects.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gunyu_fuzz::checks::run("topology_text", input));
