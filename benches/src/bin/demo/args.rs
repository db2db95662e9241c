//! What the demo can be told.

use std::path::PathBuf;

/// How to call it.
pub const USAGE: &str = "usage: cargo demo [-- [--serve] [--dir PATH] [--threads N]]
  --serve      keep the hub up afterwards and print where to connect
  --dir PATH   keep the hub's data there (default: a temporary directory)
  --threads N  threads that emit (default: one per core)";

/// Parsed arguments.
#[derive(Debug)]
pub struct Args {
    /// Keep the hub up.
    pub serve: bool,
    /// The hub's data directory; a temporary one without.
    pub dir: Option<PathBuf>,
    /// Threads that emit.
    pub threads: usize,
}

impl Args {
    /// `None` when help was asked for.
    pub fn parse(args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut parsed = Self { serve: false, dir: None, threads: cores };
        // `cargo demo -- --serve` hands over a second `--`: the alias has its own.
        let mut args = args.filter(|a| a != "--");
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--serve" => parsed.serve = true,
                "--dir" => parsed.dir = Some(args.next().ok_or("--dir needs a path")?.into()),
                "--threads" => {
                    let n = args.next().and_then(|n| n.parse().ok()).filter(|n| (1..=256).contains(n));
                    parsed.threads = n.ok_or("--threads needs a number from 1 to 256")?;
                }
                "--help" | "-h" => return Ok(None),
                _ => return Err(format!("unknown argument {arg}")),
            }
        }
        Ok(Some(parsed))
    }
}
