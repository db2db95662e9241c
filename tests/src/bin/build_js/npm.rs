//! The npm side of the build: exact dev dependencies from the lock file, and the package's own scripts.

use crate::{Places, is_fresh, run_command};
use std::process::Command;

/// `npm ci`, unless `node_modules` is as new as the lock file.
pub fn install(places: &Places) -> Result<(), String> {
    let lock = places.js.join("package-lock.json");
    let stamp = places.js.join("node_modules/.package-lock.json");
    if is_fresh(&stamp, &lock) {
        return Ok(());
    }
    run_command(npm().args(["ci", "--no-audit", "--no-fund"]).current_dir(&places.js))
}

/// `npm run SCRIPT` in `js/`.
pub fn run_script(places: &Places, script: &str) -> Result<(), String> {
    run_command(npm().args(["run", "--silent", script]).current_dir(&places.js))
}

fn npm() -> Command {
    Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" })
}
