//! Foreign bytes as states of `moments4`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_fuzz::run("state_moments4", data));
