//! Foreign bytes as states of `bool_and`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_fuzz::run("state_bool_and", data));
