//! The fuzz step: 20 seconds for every decoder, and a second where the same program has passed them here before.
//!
//! Owns: the stamp that remembers which program passed. A changed decoder changes the program, and the time
//! starts again; a clean checkout has no stamp.

use crate::report::Tally;
use crate::run::{cargo, run};
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Some forty targets on two cores are seven minutes: a cold run has to stay under forty.
const NEW: &str = "20";
/// What an unchanged program gets: new seeds, and the crashers again.
const AGAIN: &str = "1";

/// Builds the program, runs it for as long as it needs, and remembers when it passed.
pub fn step() -> Result<Tally, String> {
    let build =
        run(cargo("build --package headwater-tests --no-default-features --features sdk --bin fuzz"))?;
    if build.failed > 0 {
        return Ok(build);
    }
    let program = program()?;
    let (stamp, print) = (program.with_extension("passed"), fingerprint(&program)?);
    let known = std::fs::read_to_string(&stamp).is_ok_and(|text| text == print);
    let mut fuzz = Command::new(&program);
    fuzz.args(["--seconds", if known { AGAIN } else { NEW }]);
    let tally = run(fuzz)?;
    if tally.failed == 0 {
        std::fs::write(&stamp, print).map_err(|e| format!("{}: {e}", stamp.display()))?;
    }
    Ok(tally)
}

/// Cargo puts both programs into one folder.
fn program() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|e| format!("this program's path: {e}"))?;
    Ok(own.with_file_name(format!("fuzz{}", std::env::consts::EXE_SUFFIX)))
}

fn fingerprint(program: &Path) -> Result<String, String> {
    let bytes = std::fs::read(program).map_err(|e| format!("{}: {e}", program.display()))?;
    let mut hasher = DefaultHasher::new();
    hasher.write(&bytes);
    Ok(format!("{:016x}", hasher.finish()))
}
