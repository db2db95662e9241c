//! Foreign bytes as states of `theta`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_fuzz::run("state_theta", data));
