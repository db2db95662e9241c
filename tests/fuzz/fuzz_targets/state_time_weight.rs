//! Foreign bytes as states of `time_weight`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_fuzz::run("state_time_weight", data));
