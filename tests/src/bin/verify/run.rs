//! Runs a command, shows its output as it comes, and counts what its test runners report.

use crate::report::Tally;
use headwater_tests::root;
use std::io::{BufRead, BufReader, IsTerminal};
use std::process::{Child, Command};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

/// A command that says nothing for as long hangs: the largest crate takes a quarter of it.
const SILENT_MAX: Duration = Duration::from_secs(15 * 60);

/// How often a silent command is looked at.
const TICK: Duration = Duration::from_secs(5);

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
    let ended = (|| {
        let (reader, writer) = std::io::pipe()?;
        let mut child = command.stdout(writer.try_clone()?).stderr(writer).spawn()?;
        drop(command); // it holds the writing ends: with them open the pipe would never end
        let tally = follow(&lines_of(BufReader::new(reader)), &mut child)?;
        Ok::<_, std::io::Error>((child.wait()?, tally))
    })();
    let (output, tally) = ended.map_err(|e| format!("{name}: {e}"))?;
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

/// Shows and counts lines until nobody writes them any more, the command ended and left something that holds its output,
/// or it has been silent for too long.
fn follow(lines: &Receiver<String>, child: &mut Child) -> std::io::Result<Tally> {
    let (mut tally, mut silent) = (Tally::default(), Duration::ZERO);
    loop {
        match lines.recv_timeout(TICK) {
            Ok(line) => {
                print!("{line}");
                tally.read_line(&line);
                silent = Duration::ZERO;
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(tally),
            Err(RecvTimeoutError::Timeout) if child.try_wait()?.is_some() => return Ok(tally),
            Err(RecvTimeoutError::Timeout) if silent < SILENT_MAX => silent += TICK,
            Err(RecvTimeoutError::Timeout) => {
                let told = format!("silent for {} min, ended: {:?}", SILENT_MAX.as_secs() / 60, tally.slow);
                println!("{told}");
                tally.lines.push(told);
                end_below(child.id());
                silent = Duration::ZERO;
            }
        }
    }
}

/// Lines as they come, from a thread that may outlive whoever listens.
fn lines_of(mut output: impl BufRead + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = Vec::new();
        while matches!(output.read_until(b'\n', &mut line), Ok(n) if n > 0) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    lines
}

/// SIGKILL for what a process started, so that it can go on with the next; for itself when there is nothing.
fn end_below(id: u32) {
    let found = Command::new("ps").args(["-o", "pid=", "--ppid", &id.to_string()]).output();
    let found = found.map(|found| String::from_utf8_lossy(&found.stdout).into_owned()).unwrap_or_default();
    let children: Vec<&str> = found.split_whitespace().collect();
    if children.is_empty() {
        let _ = Command::new("kill").args(["-9", &id.to_string()]).status();
    }
    for child in children {
        child.parse().into_iter().for_each(end_below);
        let _ = Command::new("kill").args(["-9", child]).status();
    }
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
