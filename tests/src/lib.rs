//! What the programs of this workspace share: where things are and what must be installed.
//! Must not know: any crate under test.

pub mod npm;
pub mod random;
pub mod splitmix;

use std::path::{Path, PathBuf};

/// The repository's root directory.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}
