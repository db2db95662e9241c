//! Foreign bytes as states of `arg_min`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_fuzz::run("state_arg_min", data));
