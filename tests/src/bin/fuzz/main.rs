//! Throws hostile bytes at every decoder, for a while, from a printed seed.
//!
//! A decoder must neither panic nor allocate more than its input justifies, and what it accepts must be the
//! one encoding of its value (of a batch: when it says something). Inputs are mutations of valid ones, so that they get past the first byte.
//!
//! `cargo run -p headwater-tests --no-default-features --features sdk --bin fuzz -- [--seconds N] [--seed N]
//! [--jobs N] [TARGET...]`; `--list` names the targets, of which every one runs whose name contains a given
//! one; a name that no target has is an error. Each target gets N seconds (60), as many at once as there are cores.
//! An input that breaks something is printed as hex: add it to `tests/vectors/crashers.txt`, which every run
//! replays first.

mod memory;
mod mutate;
mod payload;
mod plan;
mod seeds;
mod targets;

use mutate::Mutator;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use targets::{Target, Verdict};

#[global_allocator]
static MEMORY: memory::Meter = memory::Meter;

struct Args {
    seconds: f64,
    seed: u64,
    jobs: usize,
    only: Vec<String>,
    list: bool,
}

fn parse() -> Result<Args, String> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = now.map_or(1, |d| d.as_nanos() as u64);
    let jobs = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut parsed = Args { seconds: 60.0, seed, jobs, only: Vec::new(), list: false };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let number = |text: Option<String>| text.and_then(|t| t.parse::<f64>().ok());
        match arg.as_str() {
            "--list" => parsed.list = true,
            "--seconds" => {
                let seconds = number(args.next()).filter(|s| (0.0..1e9).contains(s));
                parsed.seconds = seconds.ok_or("--seconds needs a number")?;
            }
            "--seed" => {
                parsed.seed = args.next().and_then(|t| t.parse().ok()).ok_or("--seed needs a number")?
            }
            "--jobs" => parsed.jobs = number(args.next()).ok_or("--jobs needs a number")?.max(1.0) as usize,
            name if name.starts_with('-') => return Err(format!("unknown argument {name}")),
            name => parsed.only.push(name.to_owned()),
        }
    }
    Ok(parsed)
}

/// The targets that the names choose: all of them without names.
fn choose(only: &[String]) -> Result<Vec<Target>, String> {
    let mut chosen = targets::all();
    let unknown = |name: &&String| name.is_empty() || chosen.iter().all(|t| !t.name.contains(name.as_str()));
    if let Some(name) = only.iter().find(unknown) {
        return Err(format!("no target {name:?}; --list names them"));
    }
    chosen.retain(|t| only.is_empty() || only.iter().any(|o| t.name.contains(o)));
    Ok(chosen)
}

fn main() -> ExitCode {
    let (args, chosen) = match parse().and_then(|args| Ok((choose(&args.only)?, args))) {
        Ok((chosen, args)) => (args, chosen),
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    if args.list {
        chosen.iter().for_each(|t| println!("{}", t.name));
        return ExitCode::SUCCESS;
    }
    println!("seed {}", args.seed);
    // A caught panic is reported below with its input; the default hook would only repeat it.
    std::panic::set_hook(Box::new(|_| {}));
    let passed = run_all(&chosen, &args);
    let failed = chosen.len() - passed;
    println!(
        "test result: {}. {passed} passed; {failed} failed; 0 ignored",
        if failed == 0 { "ok" } else { "FAILED" }
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the targets, `args.jobs` at once; returns how many passed.
fn run_all(targets: &[Target], args: &Args) -> usize {
    let (next, passed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        while let Some(target) = targets.get(next.fetch_add(1, Relaxed)) {
            match run(target, Duration::from_secs_f64(args.seconds), args.seed) {
                Ok(line) => {
                    println!("{:<28} {line}", target.name);
                    passed.fetch_add(1, Relaxed);
                }
                Err(line) => println!("{:<28} FAILED: {line}", target.name),
            }
        }
    };
    std::thread::scope(|scope| (0..args.jobs).for_each(|_| drop(scope.spawn(work))));
    passed.into_inner()
}

fn run(target: &Target, time: Duration, seed: u64) -> Result<String, String> {
    let seeds = (target.seeds)();
    if seeds.is_empty() {
        return Err("no valid input to start from".into());
    }
    for (i, seed) in seeds.iter().enumerate() {
        if try_input(target, seed)? != Verdict::Accepted {
            return Err(format!("refuses valid input {i}: {}", hex(seed)));
        }
    }
    for crasher in seeds::crashers(target.name) {
        try_input(target, &crasher)?;
    }
    let mut mutator = Mutator::new(seed, seeds);
    let (start, mut runs, mut accepted) = (Instant::now(), 0u64, 0u64);
    while start.elapsed() < time {
        // The clock is read once per round: it costs as much as a small input.
        for _ in 0..64 {
            let input = mutator.next_input();
            runs += 1;
            accepted += u64::from(try_input(target, &input)? == Verdict::Accepted);
        }
    }
    Ok(format!("{runs:>9} inputs, {:>4.1} % accepted", 100.0 * accepted as f64 / runs.max(1) as f64))
}

fn try_input(target: &Target, input: &[u8]) -> Result<Verdict, String> {
    let before = memory::reset_peak();
    let verdict = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let used = usize::try_from(memory::peak() - before).unwrap_or(0);
    let fault = match verdict {
        Err(panic) => format!("panic: {}", message(&*panic)),
        Ok(Verdict::Wrong(what)) => what,
        Ok(_) if used > target.memory_max(input.len()) => {
            format!("{used} bytes of memory for {} bytes of input", input.len())
        }
        Ok(verdict) => return Ok(verdict),
    };
    Err(format!("{fault}\n  {}\t{}", target.name, hex(input)))
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default()
}

/// Lowercase hex digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
