//! The data directory's marker: what makes a directory a headwater data directory, and of which format.
//!
//! `HEADWATER`, 64 bytes: magic `HEADWATR` (8), format version u32 LE, zero u32, cluster id (16), hub id u64 LE,
//! shard groups u16 LE, zeros (14), xxh3-64 of all before u64 LE. Reserved bytes are zero and checked.

use super::StoreError;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;

/// The marker's file name.
pub const MARKER_NAME: &str = "HEADWATER";
/// The data file's name.
pub const HUB_FILE: &str = "hub.redb";
/// The catalog file's name.
pub const CATALOG_FILE: &str = "catalog.redb";
/// The format this program writes, and the newest it reads. Raised when older programs must not open the
/// directory; tables change by their own schema numbers.
pub const FORMAT_VERSION: u32 = 2;

const MAGIC: &[u8; 8] = b"HEADWATR";
const BYTES: usize = 64;

/// What a data directory belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The cluster: drawn once, when its first hub starts.
    pub cluster: [u8; 16],
    /// This hub within it.
    pub hub: u64,
    /// Shard groups, fixed when the directory is made.
    pub shard_groups: u16,
}

impl Marker {
    /// The marker's bytes.
    pub fn to_bytes(self) -> [u8; BYTES] {
        let mut out = [0; BYTES];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[16..32].copy_from_slice(&self.cluster);
        out[32..40].copy_from_slice(&self.hub.to_le_bytes());
        out[40..42].copy_from_slice(&self.shard_groups.to_le_bytes());
        let sum = xxh3_64(&out[..56]);
        out[56..].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// Reads a marker. The version is checked before the checksum, so that a newer layout is named as such.
    ///
    /// # Errors
    /// [`StoreError::FormatTooNew`], or [`StoreError::Corrupted`] when the bytes are no whole marker.
    pub fn parse(bytes: &[u8]) -> Result<Self, StoreError> {
        let corrupted = |what: &str| StoreError::Corrupted(format!("marker file {MARKER_NAME}: {what}"));
        if bytes.get(..8) != Some(MAGIC.as_slice()) {
            return Err(corrupted("magic does not match"));
        }
        let found = bytes.get(8..12).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
        let found = found.ok_or_else(|| corrupted("it is too short"))?;
        if found > FORMAT_VERSION {
            return Err(StoreError::FormatTooNew { found, known: FORMAT_VERSION });
        }
        let bytes: &[u8; BYTES] = bytes.try_into().map_err(|_| corrupted("its length is wrong"))?;
        let (body, sum) = bytes.split_at(56);
        if xxh3_64(body).to_le_bytes() != sum {
            return Err(corrupted("checksum does not match"));
        }
        if found == 0 || body[12..16] != [0; 4] || body[42..56] != [0; 14] {
            return Err(corrupted("reserved bytes are not zero"));
        }
        let field = |range: std::ops::Range<usize>| &body[range];
        Ok(Self {
            cluster: field(16..32).try_into().map_err(|_| corrupted("cluster"))?,
            hub: u64::from_le_bytes(field(32..40).try_into().map_err(|_| corrupted("hub"))?),
            shard_groups: u16::from_le_bytes(
                field(40..42).try_into().map_err(|_| corrupted("shard groups"))?,
            ),
        })
    }
}

/// Reads the marker of `dir`, or makes `dir` a data directory when it is empty or missing.
///
/// # Errors
/// [`StoreError::NotADataDirectory`] when there are files but no marker: nothing is written then.
pub fn open(dir: &Path, fresh: impl FnOnce() -> Result<Marker, StoreError>) -> Result<Marker, StoreError> {
    make_directory(dir).map_err(|e| not_made(dir, &e))?;
    let path = dir.join(MARKER_NAME);
    match fs::read(&path) {
        Ok(bytes) => {
            let marker = Marker::parse(&bytes)?;
            // Before anything else is written: an older program must not open what comes then.
            if bytes != marker.to_bytes() {
                write_new(dir, &path, &marker.to_bytes())?;
            }
            Ok(marker)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            refuse_strangers(dir)?;
            let marker = fresh()?;
            write_new(dir, &path, &marker.to_bytes())?;
            Ok(marker)
        }
        Err(e) => Err(StoreError::at(&path, &e)),
    }
}

/// Makes the directory when it is missing, for this user alone.
fn make_directory(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// A file where a directory should be is the caller's mistake, not the storage's.
fn not_made(dir: &Path, error: &io::Error) -> StoreError {
    let file = dir.ancestors().find(|path| path.is_file());
    match file {
        Some(file) if file == dir => {
            StoreError::NotADataDirectory { path: dir.to_owned(), detail: "it is a file".into() }
        }
        Some(file) => {
            let detail = format!("{} is a file", file.display());
            StoreError::NotADataDirectory { path: dir.to_owned(), detail }
        }
        None => StoreError::at(dir, error),
    }
}

/// A directory without a marker may hold only what an interrupted first start leaves, and dot files.
fn refuse_strangers(dir: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(dir).map_err(|e| StoreError::at(dir, &e))? {
        let name = entry.map_err(|e| StoreError::at(dir, &e))?.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with('.') && name != "lost+found" && !name.starts_with(MARKER_NAME) {
            let detail = format!("it has no {MARKER_NAME} file but contains {name}");
            return Err(StoreError::NotADataDirectory { path: dir.to_owned(), detail });
        }
    }
    Ok(())
}

/// Write, sync, rename, sync the directory: the marker is there whole or not at all.
fn write_new(dir: &Path, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let temporary: PathBuf = dir.join(format!("{MARKER_NAME}.new"));
    let at = |e: io::Error| StoreError::at(path, &e);
    let mut file = fs::File::create(&temporary).map_err(at)?;
    file.write_all(bytes).map_err(at)?;
    file.sync_all().map_err(at)?;
    drop(file);
    fs::rename(&temporary, path).map_err(at)?;
    sync_directory(dir)
}

/// Makes new names in `dir` durable.
///
/// # Errors
/// What [`StoreError::at`] makes of the system's refusal to open or to sync it.
#[cfg(unix)]
pub fn sync_directory(dir: &Path) -> Result<(), StoreError> {
    fs::File::open(dir).and_then(|d| d.sync_all()).map_err(|e| StoreError::at(dir, &e))
}

/// Makes new names in `dir` durable; this system does so by itself.
///
/// # Errors
/// Never.
#[cfg(not(unix))]
pub fn sync_directory(_dir: &Path) -> Result<(), StoreError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKER: Marker = Marker { cluster: [7; 16], hub: 3, shard_groups: 2 };

    #[test]
    fn a_marker_reads_back_and_every_flipped_bit_is_noticed() {
        let bytes = MARKER.to_bytes();
        assert_eq!(Marker::parse(&bytes), Ok(MARKER));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Marker::parse(&bad).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Marker::parse(&bytes[..len]).is_err());
        }
    }

    #[test]
    fn a_newer_format_is_named_as_such() {
        let mut bytes = MARKER.to_bytes();
        bytes[8] = 3;
        assert_eq!(Marker::parse(&bytes), Err(StoreError::FormatTooNew { found: 3, known: 2 }));
    }

    /// Values had no checks in format 1: a program that knows no others must not read them.
    #[test]
    fn an_older_directory_is_read_and_marked_as_new() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut old = MARKER.to_bytes();
        old[8] = 1;
        let sum = xxh3_64(&old[..56]);
        old[56..].copy_from_slice(&sum.to_le_bytes());
        fs::write(dir.path().join(MARKER_NAME), old).expect("write");
        assert_eq!(open(dir.path(), || unreachable!("there is one")), Ok(MARKER));
        assert_eq!(fs::read(dir.path().join(MARKER_NAME)).expect("read"), MARKER.to_bytes());
    }

    #[test]
    fn somebody_elses_directory_is_left_alone() {
        let dir = tempfile::tempdir().expect("temporary directory");
        fs::write(dir.path().join("thesis.txt"), "precious").expect("write");
        let error = open(dir.path(), || Ok(MARKER)).expect_err("must refuse");
        assert_eq!(error.code(), "not_a_data_directory");
        assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 1);
    }

    #[test]
    fn a_directory_below_a_file_is_none() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let file = dir.path().join("file");
        fs::write(&file, "x").expect("write");
        for path in [file.clone(), file.join("below"), file.join("far/below")] {
            let error = open(&path, || Ok(MARKER)).expect_err("must refuse");
            assert_eq!(error.code(), "not_a_data_directory");
            assert!(error.to_string().contains("is a file"), "{error}");
        }
    }

    #[test]
    fn an_empty_directory_becomes_a_data_directory_once() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("new");
        assert_eq!(open(&path, || Ok(MARKER)), Ok(MARKER));
        let other = Marker { hub: 9, ..MARKER };
        assert_eq!(open(&path, || Ok(other)), Ok(MARKER));
    }
}
