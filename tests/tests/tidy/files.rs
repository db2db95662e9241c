//! The repository's own files: what git would track, found without git so that an export works too.

use headwater_tests::root;
use std::path::{Path, PathBuf};

/// One file, read.
pub struct File {
    /// From the root, with `/`.
    pub path: String,
    /// Its text; empty for binary files.
    pub text: String,
}

impl File {
    /// The part after the last point of the name.
    pub fn extension(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name.rsplit_once('.').map_or("", |(_, extension)| extension)
    }

    /// True for a file below one of these folders.
    pub fn is_in(&self, folders: &[&str]) -> bool {
        folders.iter().any(|folder| self.path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')))
    }
}

/// Everything below the root but what builds leave behind.
pub fn all() -> Vec<File> {
    let mut files = Vec::new();
    collect(&root(), &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(files.len() > 20, "no repository at {}", root().display());
    files
}

fn collect(dir: &Path, files: &mut Vec<File>) {
    const BUILT: [&str; 5] = [".git", "target", "node_modules", "dist", "corpus"];
    for entry in std::fs::read_dir(dir).expect("a readable folder") {
        let entry = entry.expect("a readable folder");
        let path = entry.path();
        if BUILT.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(read(path));
        }
    }
}

fn read(path: PathBuf) -> File {
    let bytes = std::fs::read(&path).expect("a readable file");
    let relative = path.strip_prefix(root()).expect("a file below the root");
    let path = relative.to_string_lossy().replace('\\', "/");
    File { path, text: String::from_utf8(bytes).unwrap_or_default() }
}
