//! Installs what the checks need and the machine lacks: the wasm target, npm packages, Chromium.

use crate::report::Tally;
use crate::run::{exists, program, run};
use headwater_tests::npm::{self, Packages};
use headwater_tests::root;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The core is checked and the browser module is built for this target.
pub const WASM: &str = "wasm32-unknown-unknown";

/// Adds the wasm target to the toolchain that compiles this repository.
pub fn wasm_target() -> Result<Tally, String> {
    if wasm_std_installed() {
        return Ok(Tally::success());
    }
    if !exists("rustup") {
        return Err(format!("the {WASM} target is missing and rustup is not here to add it"));
    }
    run(program("rustup", &format!("target add {WASM}")))
}

fn wasm_std_installed() -> bool {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", WASM]).current_dir(root());
    rustc.output().is_ok_and(|out| Path::new(String::from_utf8_lossy(&out.stdout).trim()).is_dir())
}

/// Installs the npm packages of `js/` as locked, unless they are there and newer than the lock.
pub fn npm_packages() -> Result<Tally, String> {
    if !root().join("js/package-lock.json").is_file() {
        return Ok(Tally::skip("js/package-lock.json is not there"));
    }
    match npm::packages().map_err(|error| format!("js/package.json: {error}"))? {
        Packages::Ready => Ok(Tally::success()),
        Packages::Install(command, _turn) => run(*command),
        Packages::NoNpm => Ok(Tally::failure("npm is not installed: Node.js 20 or later is needed")),
    }
}

/// Finds Chromium, or installs Debian's when this is Debian and we are root.
pub fn chromium() -> Result<Tally, String> {
    if let Some(path) = find_chromium() {
        println!("{}", path.display());
        return Ok(Tally::success());
    }
    if !exists("apt-get") || !is_root() {
        return Ok(Tally::skip("no Chromium, and no apt-get as root to install it"));
    }
    run(program("apt-get", "update -qq"))?;
    run(apt_install("chromium"))?;
    match find_chromium() {
        Some(_) => Ok(Tally::success()),
        None => Ok(Tally::skip("Chromium could not be installed")),
    }
}

fn apt_install(package: &str) -> Command {
    let mut apt = program("apt-get", "install -y -qq --no-install-recommends");
    apt.arg(package).env("DEBIAN_FRONTEND", "noninteractive");
    apt
}

/// `CHROMIUM`, or the first of the usual names on the path.
pub fn find_chromium() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("CHROMIUM") {
        return Some(path.into());
    }
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    std::env::split_paths(&path).flat_map(|dir| names.map(|n| dir.join(n))).find(|file| file.is_file())
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout.trim_ascii() == b"0")
}
