//! `headwater sql`: statements from the command line, a file, or a person.
//!
//! Owns: the session's settings, meta commands, what is printed where. Must not know: SQL beyond where a
//! statement ends.

mod meta;
mod split;

use super::connect::ConnectArgs;
use super::table::{Format, render};
use super::{CliError, out, runtime};
use headwater::client::{Client, QueryError, Rows};
use meta::{Meta, parse};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use split::{is_blank, is_open, split};
use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// How hubs refuse a name: there is nothing of this name, no such schema, or it is no name.
const NOT_FOUND: [&str; 3] = ["42P01", "3F000", "42601"];

/// Flags of `sql`.
#[derive(Debug, clap::Args)]
pub(super) struct SqlArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Run these statements and exit; may be given several times
    #[arg(short = 'c', long = "command", value_name = "SQL")]
    commands: Vec<String>,
    /// Run the statements of this file and exit; - is standard input
    #[arg(short = 'f', long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How to print answers
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Seconds to wait for an answer (at most a day). The hub ends a statement after its own sql_timeout_ms (5 s)
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
}

pub(super) fn run(args: &SqlArgs) -> Result<(), CliError> {
    let runtime = runtime()?;
    let timeout = Duration::from_secs(args.timeout);
    let client = runtime.block_on(args.connect.connect_with(|options| options.query_timeout = timeout))?;
    let mut shell = Shell {
        runtime,
        client,
        format: args.format,
        is_expanded: false,
        is_timed: false,
        is_interactive: false,
    };
    let result = shell.start(args);
    shell.runtime.block_on(shell.client.close());
    result
}

struct Shell {
    runtime: Runtime,
    client: Client,
    format: Format,
    is_expanded: bool,
    is_timed: bool,
    /// A person can give a statement up and go on.
    is_interactive: bool,
}

impl Shell {
    fn start(&mut self, args: &SqlArgs) -> Result<(), CliError> {
        for command in &args.commands {
            self.script(command, None)?;
        }
        match &args.file {
            Some(path) if path.as_os_str() != "-" => {
                self.script(&read(path)?, Some(&path.display().to_string()))
            }
            Some(path) => self.script(&read(path)?, None),
            None if !args.commands.is_empty() => Ok(()),
            None if std::io::stdin().is_terminal() => self.interactive(),
            None => self.script(&read("-".as_ref())?, None),
        }
    }

    /// Runs every statement, and every command on a line of its own between them; the last statement needs no
    /// semicolon. The first failure ends it; of a `file` it tells the line.
    fn script(&mut self, text: &str, file: Option<&str>) -> Result<(), CliError> {
        let mut pending = String::new();
        // Where `pending` begins.
        let mut first = 1;
        let place =
            |first, text: &str, at: &str| file.map(|file| Place { file, line: first + breaks(text, at) });
        for (line, number) in text.lines().zip(1..) {
            if line.trim_start().starts_with('\\')
                && let Some(meta) = command(&pending, line)
            {
                if meta == Meta::Quit {
                    return Ok(());
                }
                self.meta(&meta)?;
                if !pending.is_empty() {
                    pending.push('\n');
                }
                continue;
            }
            if pending.is_empty() {
                first = number;
            }
            pending.push_str(line);
            pending.push('\n');
            if line.contains(';') {
                let whole = std::mem::take(&mut pending);
                let (statements, rest) = split(&whole);
                for statement in statements {
                    self.statement(statement, place(first, &whole, statement))?;
                }
                first += breaks(&whole, rest);
                pending.push_str(rest);
            }
        }
        let last = pending.trim();
        if is_blank(last) { Ok(()) } else { self.statement(last, place(first, &pending, last)) }
    }

    fn statement(&self, sql: &str, place: Option<Place<'_>>) -> Result<(), CliError> {
        let begun = Instant::now();
        let rows = match self.answer(sql)? {
            Ok(rows) => rows,
            Err(error) => {
                point_at(sql, &error, place);
                return Err(error.into());
            }
        };
        out::print(&render(&rows, self.format, self.is_expanded))?;
        if self.is_timed {
            out::print(&format!("Time: {:.3} ms\n", begun.elapsed().as_secs_f64() * 1000.0))?;
        }
        Ok(())
    }

    /// Ctrl-C gives the statement up: the hub ends one whose reader is gone.
    fn answer(&self, sql: &str) -> Result<Result<Rows, QueryError>, CliError> {
        let query = self.client.query(sql);
        if !self.is_interactive {
            return Ok(self.runtime.block_on(query));
        }
        self.runtime.block_on(async {
            tokio::select! {
                answer = query => Ok(answer),
                _ = tokio::signal::ctrl_c() => Err(CliError::Other("the statement was given up".into())),
            }
        })
    }

    fn meta(&mut self, meta: &Meta) -> Result<(), CliError> {
        match meta {
            Meta::Help => return out::print(&format!("{}\n", meta::HELP)),
            Meta::Timing(wanted) => {
                self.is_timed = wanted.unwrap_or(!self.is_timed);
                return out::print(&format!("Timing is {}.\n", on(self.is_timed)));
            }
            Meta::Expanded => {
                self.is_expanded = !self.is_expanded;
                return out::print(&format!("Expanded display is {}.\n", on(self.is_expanded)));
            }
            Meta::Query(sql) => return self.statement(sql, None),
            Meta::Describe { name, is_full } => return self.describe(name, *is_full),
            Meta::Unknown(told) => return Err(CliError::Usage(told.clone())),
            Meta::Quit => {}
        }
        Ok(())
    }

    /// A name that is not there is no matter of a statement that nobody wrote.
    fn describe(&self, name: &str, is_full: bool) -> Result<(), CliError> {
        let rows = match self.runtime.block_on(self.client.query(&format!("DESCRIBE {name}"))) {
            Ok(rows) => rows,
            Err(QueryError::Failed(failure)) if NOT_FOUND.contains(&failure.code.as_str()) => {
                let hint = failure.hint.unwrap_or_else(|| "\\d lists all".into());
                return Err(CliError::Other(format!("there is no stream, view or table {name}; {hint}")));
            }
            Err(error) => return Err(error.into()),
        };
        out::print(&render(&rows, self.format, self.is_expanded))?;
        let sql = meta::definition(name);
        if !is_full || self.runtime.block_on(self.client.query(&sql))?.rows.is_empty() {
            return Ok(());
        }
        self.statement(&sql, None)
    }

    fn interactive(&mut self) -> Result<(), CliError> {
        self.is_interactive = true;
        let mut editor = DefaultEditor::new().map_err(|e| CliError::Other(e.to_string()))?;
        let history = history_file();
        if let Some(path) = &history {
            let _ = editor.load_history(path);
        }
        out::print(&format!("headwater {} - \\? for help, \\q to leave\n", env!("CARGO_PKG_VERSION")))?;
        let mut typed = String::new();
        loop {
            let prompt = if is_blank(&typed) { "headwater=> " } else { "headwater-> " };
            match editor.readline(prompt) {
                Ok(line) => {
                    if let Some(entry) = entry(&typed, &line) {
                        let _ = editor.add_history_entry(&entry);
                        // At once: ctrl-C during a statement ends the program.
                        if let Some(path) = &history {
                            let _ = editor.save_history(path);
                        }
                    }
                    if self.line(&mut typed, &line) {
                        break;
                    }
                }
                // Ctrl-C gives up what was typed; Ctrl-D leaves.
                Err(ReadlineError::Interrupted) => typed.clear(),
                Err(ReadlineError::Eof) => break,
                Err(ReadlineError::Io(error)) => return Err(out::failed(&error)),
                Err(error) => return Err(CliError::Other(error.to_string())),
            }
        }
        Ok(())
    }

    /// One line of a person; true when they want to leave. Failures are told and the session goes on.
    fn line(&mut self, typed: &mut String, line: &str) -> bool {
        if let Some(meta) = command(typed, line) {
            return meta == Meta::Quit || tell(self.meta(&meta));
        }
        if !is_blank(typed) && !is_open(typed) && matches!(line.trim(), "help" | "quit" | "exit") {
            out::note("Use \\? for help, \\q to leave, or ctrl-C to give up what was typed.");
        }
        typed.push_str(line);
        typed.push('\n');
        let whole = std::mem::take(typed);
        let (statements, rest) = split(&whole);
        *typed = rest.into();
        statements.into_iter().any(|statement| tell(self.statement(statement, None)))
    }
}

/// What a line completes, for the history: a command, or a statement with all its lines.
fn entry(typed: &str, line: &str) -> Option<String> {
    if command(typed, line).is_some() {
        return Some(line.trim().to_owned());
    }
    let whole = format!("{typed}{line}\n");
    let (statements, _) = split(&whole);
    (!statements.is_empty()).then(|| whole.trim().to_owned())
}

/// The command of a line behind what was `typed`. As in psql a backslash begins one also in the middle of a
/// statement, but not of a text or comment.
fn command(typed: &str, line: &str) -> Option<Meta> {
    let line = line.trim();
    if is_blank(typed) || (line.starts_with('\\') && !is_open(typed)) { parse(line) } else { None }
}

fn on(is_on: bool) -> &'static str {
    if is_on { "on" } else { "off" }
}

/// True when nobody reads any more.
fn tell(result: Result<(), CliError>) -> bool {
    match result {
        Ok(()) => false,
        Err(CliError::OutputClosed) => true,
        Err(error) => {
            out::note(&format!("ERROR: {error}"));
            if let Some(hint) = error.hint() {
                out::note(&format!("HINT: {hint}"));
            }
            false
        }
    }
}

/// Where a statement of a file begins.
#[derive(Clone, Copy)]
struct Place<'a> {
    file: &'a str,
    line: usize,
}

/// Line breaks of `text` before `part`, which is a part of it.
fn breaks(text: &str, part: &str) -> usize {
    let before = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    text.bytes().take(before).filter(|byte| *byte == b'\n').count()
}

/// Shows the line of the statement that an error's position is in; of a file's statement, its first without one.
fn point_at(sql: &str, error: &QueryError, place: Option<Place<'_>>) {
    let QueryError::Failed(failure) = error else { return };
    let Some(position) = failure.position.and_then(|p| usize::try_from(p).ok()).filter(|p| *p > 0) else {
        if let Some(Place { file, line }) = place {
            out::note(&format!("{file}:{line}: {}", sql.lines().next().unwrap_or_default()));
        }
        return;
    };
    let before: Vec<char> = sql.chars().take(position - 1).collect();
    let line = before.iter().filter(|c| **c == '\n').count();
    let column = before.iter().rev().take_while(|c| **c != '\n').count();
    if let Some(text) = sql.lines().nth(line) {
        let label = match place {
            Some(place) => format!("{}:{}: ", place.file, place.line + line),
            None => format!("LINE {}: ", line + 1),
        };
        out::note(&format!("{label}{text}\n{}^", " ".repeat(label.chars().count() + column)));
    }
}

fn read(path: &std::path::Path) -> Result<String, CliError> {
    if path.as_os_str() != "-" {
        return std::fs::read_to_string(path).map_err(|error| CliError::file(path, error));
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|error| CliError::file(path, error))?;
    Ok(text)
}

fn history_file() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").or_else(|| std::env::var_os("USERPROFILE"))?;
    Some(PathBuf::from(home).join(".headwater_history"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines were kept one by one: arrow-up gave half a statement.
    #[test]
    fn history_has_whole_statements() {
        let mut typed = String::new();
        let lines = ["SELECT 1,", "  'a;", "b'", ";", "\\d", "SELECT 2; SELECT", " 3;", ""];
        let mut entries = Vec::new();
        for line in lines {
            entries.extend(entry(&typed, line));
            if command(&typed, line).is_none() {
                let whole = format!("{typed}{line}\n");
                typed = split(&whole).1.to_owned();
            }
        }
        assert_eq!(entries, ["SELECT 1,\n  'a;\nb'\n;", "\\d", "SELECT 2; SELECT", "SELECT\n 3;"]);
    }
}
