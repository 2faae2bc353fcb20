//! See `backend_login` in ../bodies.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| postern_fuzz::backend_login(data));
