//! Foreign bytes as states of `bit_and`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_fuzz::run("state_bit_and", data));
