//! The npm side of the build: exact dev dependencies from the lock file, and the package's own scripts.

use crate::{Places, run_command};
use headwater_tests::npm::{Packages, npm, packages};

/// `npm ci`, unless `node_modules` is as new as the lock file.
pub fn install() -> Result<(), String> {
    match packages().map_err(|error| format!("js/package.json: {error}"))? {
        Packages::Ready => Ok(()),
        Packages::Install(mut command, _turn) => run_command(&mut command),
        Packages::NoNpm => Err("npm is not installed: Node.js 20 or later is needed".into()),
    }
}

/// `npm run SCRIPT` in `js/`.
pub fn run_script(places: &Places, script: &str) -> Result<(), String> {
    run_command(npm().args(["run", "--silent", script]).current_dir(&places.js))
}
