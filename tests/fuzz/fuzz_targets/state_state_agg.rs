//! Foreign bytes as states of `state_agg`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_fuzz::run("state_state_agg", data));
