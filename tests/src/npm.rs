//! The npm packages of `js/`: are they there, and what to run when they are not.

use crate::root;
use std::path::PathBuf;
use std::process::Command;
use std::time::SystemTime;

/// What stands between this machine and the packages that `js/package-lock.json` names.
#[derive(Debug)]
pub enum Packages {
    /// They are installed and not older than the lock.
    Ready,
    /// This installs them.
    Install(Command),
    /// There is no `npm` to install them with.
    NoNpm,
}

/// Looks, without changing anything.
pub fn packages() -> Packages {
    let js = root().join("js");
    let installed = modified(js.join("node_modules/.package-lock.json"));
    if installed.is_some() && installed >= modified(js.join("package-lock.json")) {
        return Packages::Ready;
    }
    if !Command::new("npm").arg("--version").output().is_ok_and(|out| out.status.success()) {
        return Packages::NoNpm;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund"]).current_dir(js);
    Packages::Install(npm)
}

fn modified(file: PathBuf) -> Option<SystemTime> {
    file.metadata().and_then(|m| m.modified()).ok()
}
