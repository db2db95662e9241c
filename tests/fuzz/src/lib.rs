//! What the fuzz targets check, without libFuzzer: also included by the plain tests of the crates under test.
//!
//! A target's first input byte picks a variant where there are several. Crashers become corpus files.

pub mod random;
pub mod states;

/// Runs one target on one input; panics when a law is broken.
pub fn run(target: &str, data: &[u8]) {
    match target.strip_prefix("state_") {
        Some(name) => states::run(name, data),
        None => panic!("no target {target}"),
    }
}
