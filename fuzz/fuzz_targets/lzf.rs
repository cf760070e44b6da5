//! LZF, beside an independent implementation.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    gunyu_fuzz::checks::run("lzf", input);
    gunyu_fuzz::oracle::agrees(input);
});
