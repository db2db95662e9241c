//! The `headwater` command line.

fn main() -> std::process::ExitCode {
    headwater_hub::cli::main()
}
