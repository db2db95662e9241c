//! Foreign bytes as states of `bit_xor`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_fuzz::run("state_bit_xor", data));
