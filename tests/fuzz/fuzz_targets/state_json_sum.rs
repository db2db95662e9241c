//! Foreign bytes as states of `json_sum`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_fuzz::run("state_json_sum", data));
