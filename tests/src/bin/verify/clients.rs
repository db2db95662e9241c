//! PostgreSQL drivers of Python against a hub: a virtual environment with exact versions, then `tests/clients/run.py`.

use crate::report::Tally;
use crate::run::{cargo, exists, run};
use headwater_tests::root;
use std::path::PathBuf;
use std::process::Command;

/// The step.
pub fn step() -> Result<Tally, String> {
    if !exists("python3") {
        return Ok(Tally::skip("python3 is not installed: no driver of Python was tried"));
    }
    let Some(python) = environment()? else {
        return Ok(Tally::skip("python3 has no venv, or pip cannot install the drivers: none was tried"));
    };
    let built = run(cargo("build --package headwater-tests --bin headwater-under-test"))?;
    if built.failed > 0 {
        return Ok(built);
    }
    let program =
        std::env::current_exe().map_err(|error| error.to_string())?.with_file_name("headwater-under-test");
    let mut clients = Command::new(python);
    clients.arg(root().join("tests/clients/run.py")).arg(program).env("PYTHONDONTWRITEBYTECODE", "1");
    run(clients)
}

/// The environment's Python, with what `requirements.txt` lists.
fn environment() -> Result<Option<PathBuf>, String> {
    let dir = root().join("target/clients-venv");
    let python = dir.join("bin/python");
    if !python.is_file() {
        let mut make = Command::new("python3");
        make.args(["-m", "venv"]).arg(&dir);
        if run(make)?.failed > 0 {
            return Ok(None);
        }
    }
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
    install.arg(root().join("tests/clients/requirements.txt"));
    Ok((run(install)?.failed == 0).then_some(python))
}
