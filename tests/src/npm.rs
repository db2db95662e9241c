//! The npm packages of `js/`: are they there, and what to run when they are not.

use crate::root;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// What stands between this machine and the packages that `js/package-lock.json` names.
#[derive(Debug)]
pub enum Packages {
    /// They are installed and not older than the lock.
    Ready,
    /// This installs them; until the file is dropped no other run in this folder does.
    Install(Box<Command>, File),
    /// There is no `npm` to install them with.
    NoNpm,
}

/// Looks, and waits for its turn where they are to be installed: two `npm ci` in one folder break each other.
///
/// # Errors
/// There is no `js/package.json`, or it cannot be locked.
pub fn packages() -> io::Result<Packages> {
    let js = root().join("js");
    if are_there(&js) {
        return Ok(Packages::Ready);
    }
    if !npm().arg("--version").output().is_ok_and(|out| out.status.success()) {
        return Ok(Packages::NoNpm);
    }
    let turn = File::open(js.join("package.json"))?;
    turn.lock()?;
    if are_there(&js) {
        return Ok(Packages::Ready);
    }
    let mut install = npm();
    install.args(["ci", "--no-audit", "--no-fund"]).current_dir(js);
    Ok(Packages::Install(Box::new(install), turn))
}

/// The command.
pub fn npm() -> Command {
    Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" })
}

fn are_there(js: &Path) -> bool {
    let installed = modified(js.join("node_modules/.package-lock.json"));
    installed.is_some() && installed >= modified(js.join("package-lock.json"))
}

fn modified(file: PathBuf) -> Option<SystemTime> {
    file.metadata().and_then(|m| m.modified()).ok()
}
