//! Runs a command, shows its output as it comes, and counts what its test runners report.

use crate::report::Tally;
use headwater_tests::root;
use std::io::{BufRead, BufReader, IsTerminal};
use std::process::Command;

/// Runs `command` at the repository's root unless it names another directory. A failing command counts
/// at least one failure; a good one without a test runner counts one pass.
pub fn run(mut command: Command) -> Result<Tally, String> {
    let name = describe(&command);
    println!("$ {name}");
    if command.get_current_dir().is_none() {
        command.current_dir(root());
    }
    if std::io::stdout().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let (output, tally) = (|| {
        let (reader, writer) = std::io::pipe()?;
        let mut child = command.stdout(writer.try_clone()?).stderr(writer).spawn()?;
        drop(command); // it holds the writing ends: with them open the pipe would never end
        let tally = echo(BufReader::new(reader));
        Ok::<_, std::io::Error>((child.wait()?, tally))
    })()
    .map_err(|e| format!("{name}: {e}"))?;
    Ok(judge(tally, output.success(), &name))
}

fn judge(mut tally: Tally, ok: bool, name: &str) -> Tally {
    if !ok {
        tally.failed = tally.failed.max(1);
        tally.note = format!("failed: {name}");
    } else if tally.passed + tally.failed + tally.skipped == 0 {
        tally.passed = 1;
    }
    tally
}

fn echo(mut output: impl BufRead) -> Tally {
    let mut tally = Tally::default();
    let mut line = Vec::new();
    while matches!(output.read_until(b'\n', &mut line), Ok(n) if n > 0) {
        let text = String::from_utf8_lossy(&line);
        print!("{text}");
        tally.read_line(&text);
        line.clear();
    }
    tally
}

/// True when `program` runs and answers `--version`.
pub fn exists(program: &str) -> bool {
    let probe = Command::new(program).arg("--version").output();
    probe.is_ok_and(|output| output.status.success())
}

/// `cargo` with arguments: the same cargo that runs this program.
pub fn cargo(args: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args.split_whitespace());
    command
}

/// A program with arguments.
pub fn program(name: &str, args: &str) -> Command {
    let mut command = Command::new(name);
    command.args(args.split_whitespace());
    command
}

fn describe(command: &Command) -> String {
    let name = std::path::Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(name).chain(command.get_args());
    words.map(|w| w.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
