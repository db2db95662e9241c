//! Foreign bytes as states of `regression`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_fuzz::run("state_regression", data));
