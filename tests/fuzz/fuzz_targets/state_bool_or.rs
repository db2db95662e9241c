//! Foreign bytes as states of `bool_or`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_fuzz::run("state_bool_or", data));
