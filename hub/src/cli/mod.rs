//! The `headwater` command line.
//!
//! Owns: arguments, terminal output, exit codes. Must not know: how anything it asks for is done; it is a
//! client like any other, except for `serve`.

mod connect;
mod error;
mod load;
mod out;
mod serve;
mod sql;
mod status;
mod table;

pub use error::CliError;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  failed
  2  wrong usage or options
  3  no connection to the hub, or it went away
  4  the hub refused a statement
  10 data directory in use       11 data directory is read-only
  12 not a data directory        13 data is corrupted
  14 data has a newer format     15 data has an older format
  16 no space left               17 other storage failure (load: the hub's)
  130 interrupted by ctrl-C
  141 nobody read the output to its end (as with SIGPIPE)";

/// Counts at the source: continuous views over events that producers aggregate themselves.
#[derive(Debug, Parser)]
#[command(name = "headwater", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a hub
    Serve(Box<serve::ServeArgs>),
    /// Run SQL: interactively (\? lists commands), or with -c or -f
    Sql(sql::SqlArgs),
    /// Load a Parquet, CSV or NDJSON file into a stream, exactly once even if it is interrupted
    Load(load::LoadArgs),
    /// Show what a hub holds and what became of its events
    Status(status::StatusArgs),
    /// Print an options file with every option, its default and its documentation
    Config,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !matches!(error, CliError::OutputClosed) {
                out::note(&format!("headwater: {error}"));
            }
            if let Some(hint) = error.hint() {
                out::note(&format!("hint: {hint}"));
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(command: Command) -> Result<(), CliError> {
    if !matches!(command, Command::Serve(_)) {
        crate::options::check_client_variables(variables())?;
    }
    match command {
        Command::Serve(args) => serve::run(*args),
        Command::Sql(args) => sql::run(&args),
        Command::Load(args) => load::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Config => out::print(&crate::options::template()),
    }
}

/// Names of this process's variables.
fn variables() -> impl Iterator<Item = String> {
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())
}

/// A runtime for a command that waits for a hub.
fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| CliError::Other(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
