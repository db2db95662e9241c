//! Builds the npm package `headwater` from a fresh clone: WASM modules, glue, TypeScript, sizes.
//!
//! Owns: the order of the steps and when one can be skipped. Must not know: how JavaScript is bundled or
//! what the budgets are (`js/scripts/build.mjs`).
//! Run: `cargo run -p headwater-tests --no-default-features --features js-build --bin build_js`.
//! Needs rustup's wasm target (added when missing) and Node >= 20 with npm; nothing else.

mod npm;
mod wasm;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Where things are.
pub struct Places {
    /// The workspace root.
    root: PathBuf,
    /// The npm package.
    js: PathBuf,
    /// Cargo's target directory.
    target: PathBuf,
}

/// What the command line asks for.
#[derive(Default)]
pub struct Options {
    /// Only bind the core module, for size analysis: no bundle.
    core_only: bool,
    /// Run `npm test` afterwards.
    test: bool,
    /// Fail when a file is over its budget, which is a warning otherwise: whoever builds the package can use it.
    budget: bool,
}

fn main() -> ExitCode {
    match places().and_then(|places| run(&places, &options()?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("build_js: {message}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options, String> {
    let mut options = Options::default();
    for arg in std::env::args().skip(1) {
        match arg.as_str() {
            "--core-only" => options.core_only = true,
            "--test" => options.test = true,
            "--budget" => options.budget = true,
            other => return Err(format!("unknown option {other}; known: --core-only, --test, --budget")),
        }
    }
    Ok(options)
}

fn places() -> Result<Places, String> {
    let root = headwater_tests::root();
    let exe = std::env::current_exe().map_err(|e| e.to_string())?;
    let target =
        exe.ancestors().nth(2).ok_or("the build program is not in a target directory")?.to_path_buf();
    Ok(Places { js: root.join("js"), root, target })
}

fn run(places: &Places, options: &Options) -> Result<(), String> {
    npm::install()?;
    wasm::ensure_target()?;
    wasm::build(places, wasm::Flavor::Core)?;
    if options.core_only {
        return Ok(());
    }
    wasm::build(places, wasm::Flavor::Full)?;
    npm::run_script(places, if options.budget { "bundle:budget" } else { "bundle" })?;
    if options.test { npm::run_script(places, "test") } else { Ok(()) }
}

/// Runs a command to its end, showing its output.
pub fn run_command(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|e| format!("cannot start {name}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{name} failed: {status}")) }
}

/// True when `output` exists and is not older than `input`.
pub fn is_fresh(output: &Path, input: &Path) -> bool {
    let modified = |path: &Path| path.metadata().and_then(|m| m.modified()).ok();
    match (modified(output), modified(input)) {
        (Some(out), Some(inp)) => out >= inp,
        _ => false,
    }
}
