//! Brings `flights-3m.parquet` here: it comes with the npm package `vega-datasets`, a dev dependency of `js/`.

use headwater_tests::npm::{self, Packages};
use headwater_tests::root;
use std::path::PathBuf;

/// The file's path, after installing the npm packages when it is not there.
pub fn flights_file() -> Result<PathBuf, String> {
    let file = root().join("js/node_modules/vega-datasets/data/flights-3m.parquet");
    // Another run may be writing it: only what is installed as a whole is there.
    match npm::packages().map_err(|error| format!("js/package.json: {error}"))? {
        Packages::Install(mut command, _turn) => {
            println!("installing the npm packages of js/ (the flights come with vega-datasets)");
            let status = command.status().map_err(|e| format!("npm ci: {e}"))?;
            if !status.success() {
                return Err(format!("npm ci failed: {status}"));
            }
        }
        Packages::NoNpm if file.is_file() => {}
        Packages::NoNpm => return Err("npm is not installed: Node.js 20 or later is needed".into()),
        Packages::Ready => {}
    }
    if file.is_file() { Ok(file) } else { Err(format!("{} is not there", file.display())) }
}
