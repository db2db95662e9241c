//! Foreign bytes as states of `bucket`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_fuzz::run("state_bucket", data));
