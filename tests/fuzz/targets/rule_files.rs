//! See `rules` in ../bodies.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| postern_fuzz::rule_files(data));
