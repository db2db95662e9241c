//! `cargo verify`: sets up what is missing, runs every check, ends with one table and one line.
//!
//! Owns: the order of the steps and the exit code. Must not know: how a step does its work ([`steps`]).
//! Invariants: a step that fails does not stop the later ones; what cannot run is counted as skipped and
//! named, never passed over in silence; the exit code is 0 only when nothing failed.

mod clients;
mod fuzz;
mod report;
mod run;
mod setup;
mod steps;

use report::{Report, Tally};
use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "usage: cargo verify [--list] [--only STEP[,STEP...]]";

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok(Command::List) => list(),
        Ok(Command::Run(names)) => run_steps(&names),
        Err(message) => {
            eprintln!("{message}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

enum Command {
    List,
    /// The named steps; all when empty.
    Run(Vec<String>),
}

fn parse(args: impl Iterator<Item = String>) -> Result<Command, String> {
    let mut names = Vec::new();
    let mut args = args.filter(|a| a != "--");
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--list" => return Ok(Command::List),
            "--only" => {
                let list = args.next().ok_or("--only needs a step")?;
                names.extend(list.split(',').map(str::to_owned));
            }
            _ => return Err(format!("unknown argument {arg}")),
        }
    }
    match names.iter().find(|n| steps::STEPS.iter().all(|s| s.name != *n)) {
        Some(name) => Err(format!("no step is called {name}; see --list")),
        None => Ok(Command::Run(names)),
    }
}

fn list() -> ExitCode {
    for step in steps::STEPS {
        println!("{:<12} {}", step.name, step.what);
    }
    ExitCode::SUCCESS
}

fn run_steps(names: &[String]) -> ExitCode {
    let mut report = Report::default();
    for step in steps::STEPS {
        if !names.is_empty() && !names.iter().any(|n| n == step.name) {
            continue;
        }
        println!("\n==> {}: {}", step.name, step.what);
        let start = Instant::now();
        let tally = (step.run)().unwrap_or_else(|message| {
            println!("{}: {message}", step.name);
            Tally::failure(message)
        });
        report.add(step.name, tally, start.elapsed());
    }
    report.print();
    if report.failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
