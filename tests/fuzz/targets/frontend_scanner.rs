//! See `frontend_scanner` in ../bodies.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| postern_fuzz::frontend_scanner(data));
