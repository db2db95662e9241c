//! Foreign bytes as states of `exp_histogram`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_fuzz::run("state_exp_histogram", data));
