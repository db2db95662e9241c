//! What a command prints. A reader who has seen enough (`| head`) ends the command, without a word.

use super::CliError;
use std::io::{self, Write};

/// Prints answers.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| failed(&error))
}

/// Prints a line beside the answers; when nobody reads it, it is gone.
pub(super) fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Why output failed.
pub(super) fn failed(error: &io::Error) -> CliError {
    match error.kind() {
        io::ErrorKind::BrokenPipe => CliError::OutputClosed,
        _ => CliError::Other(format!("cannot print: {error}")),
    }
}
