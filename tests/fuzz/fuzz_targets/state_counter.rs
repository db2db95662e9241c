//! Foreign bytes as states of `counter`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_fuzz::run("state_counter", data));
