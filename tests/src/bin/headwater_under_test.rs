//! The `headwater` program, built for the end-to-end tests with the same features as they are.

use std::process::ExitCode;

fn main() -> ExitCode {
    headwater_hub::cli::main()
}
