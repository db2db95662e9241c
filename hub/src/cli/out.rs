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
    // Hubs and files may have chosen the words: they are no orders to this terminal.
    let line: Vec<String> = line.split('\n').map(printable).collect();
    let _ = writeln!(io::stderr().lock(), "{}", line.join("\n"));
}

/// Text without control characters: as `\n`, `\t` and `\x1b`.
pub(super) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// Why output failed.
pub(super) fn failed(error: &io::Error) -> CliError {
    match error.kind() {
        io::ErrorKind::BrokenPipe => CliError::OutputClosed,
        _ => CliError::Other(format!("cannot print: {error}")),
    }
}
