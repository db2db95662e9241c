//! Foreign bytes as states of `topk`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_fuzz::run("state_topk", data));
