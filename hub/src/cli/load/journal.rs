//! What a load remembers, so that the next run continues exactly where a killed one stopped.
//!
//! A journal belongs to one file (by its contents), one stream and one producer identity. It is a text file
//! of JSON lines: a head, then one line per batch that says which rows it stands for, then an end mark.
//! Invariant: a batch's line is on disk before the batch's first byte leaves. So a sequence number means the
//! same rows in every run, and the hub's dots (rule P3) decide whether those rows were counted.

use super::CliError;
use headwater::ids::{Pid, Seq};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::Xxh3;

/// The version of the journal's format.
const VERSION: u32 = 1;

/// The head: what is loaded, where to, under which identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// The journal's format.
    pub version: u32,
    /// The file's contents.
    pub file: Contents,
    /// The stream.
    pub stream: String,
    /// Its id: a stream of the same name that was made anew is another one.
    pub stream_id: u32,
    /// The producer, 32 hex digits.
    pub pid: String,
    /// When the load began, microseconds: the `arrival_timestamp` of rows that bring none.
    pub started: i64,
}

/// What makes two files the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Contents {
    /// Length, bytes.
    pub bytes: u64,
    /// xxh3-128 of all bytes, hex.
    pub hash: String,
}

/// The rows of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Range {
    /// The batch.
    pub seq: u64,
    /// Its first row, from 0.
    pub first: u64,
    /// How many.
    pub rows: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Load(Head),
    Batch(Range),
    Done { rows: u64 },
}

/// An open journal.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    /// What it belongs to.
    pub head: Head,
    /// Every batch so far, by ascending sequence number.
    pub ranges: Vec<Range>,
    /// Rows of a load that is complete.
    pub done: Option<u64>,
}

impl Journal {
    /// Opens the journal at `path`, or starts it with `head`. A journal of another file or stream is refused.
    pub fn open(path: &Path, head: &Head) -> Result<Self, CliError> {
        if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent).map_err(|e| CliError::file(parent, e))?;
        }
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = options.map_err(|e| CliError::file(path, e))?;
        if let Err(error) = file.try_lock() {
            return Err(CliError::file(path, format!("another load of this file is running ({error})")));
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|e| CliError::file(path, e))?;
        // A line without its line break was never complete, so its batch was never sent.
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        let mut journal = Self { file, head: head.clone(), ranges: Vec::new(), done: None };
        journal.file.set_len(whole as u64).map_err(|e| CliError::file(path, e))?;
        journal.file.seek(SeekFrom::End(0)).map_err(|e| CliError::file(path, e))?;
        match whole {
            0 => journal.append(&Line::Load(head.clone()))?,
            _ => journal.replay(path, &text[..whole], head)?,
        }
        Ok(journal)
    }

    fn replay(&mut self, path: &Path, text: &str, wanted: &Head) -> Result<(), CliError> {
        for (number, line) in text.lines().enumerate() {
            let line = serde_json::from_str(line)
                .map_err(|e| CliError::file(path, format!("line {} is not a journal's: {e}", number + 1)))?;
            match line {
                Line::Load(head) => self.adopt(path, head, wanted)?,
                Line::Batch(range) if self.fits(range) => self.ranges.push(range),
                Line::Batch(_) => {
                    return Err(CliError::file(path, format!("line {} is out of order", number + 1)));
                }
                Line::Done { rows } => self.done = Some(rows),
            }
        }
        Ok(())
    }

    fn adopt(&mut self, path: &Path, head: Head, wanted: &Head) -> Result<(), CliError> {
        let same = (head.version, &head.file, &head.stream, head.stream_id)
            == (wanted.version, &wanted.file, &wanted.stream, wanted.stream_id);
        if !same {
            return Err(CliError::file(
                path,
                "this journal belongs to another load; choose another with --journal",
            ));
        }
        self.head = head;
        Ok(())
    }

    fn fits(&self, range: Range) -> bool {
        range.rows > 0 && (range.seq, range.first) == (self.next_seq(), self.next_row())
    }

    /// The sequence number of the next batch.
    pub fn next_seq(&self) -> u64 {
        self.ranges.len() as u64 + 1
    }

    /// The first row that no batch stands for yet.
    pub fn next_row(&self) -> u64 {
        self.ranges.last().map_or(0, |last| last.first + last.rows)
    }

    /// The producer.
    pub fn pid(&self) -> Option<Pid> {
        let digits = self.head.pid.as_bytes();
        let byte = |at: usize| {
            u8::from_str_radix(std::str::from_utf8(digits.get(2 * at..2 * at + 2)?).ok()?, 16).ok()
        };
        let mut bytes = [0; 16];
        for (at, slot) in bytes.iter_mut().enumerate() {
            *slot = byte(at)?;
        }
        (digits.len() == 32).then_some(Pid(bytes))
    }

    /// Gives the next `rows` rows a sequence number, durably.
    pub fn assign(&mut self, rows: u64) -> Result<Range, CliError> {
        let range = Range { seq: self.next_seq(), first: self.next_row(), rows };
        self.append(&Line::Batch(range))?;
        self.ranges.push(range);
        Ok(range)
    }

    /// Marks the load as complete.
    pub fn finish(&mut self) -> Result<(), CliError> {
        let rows = self.next_row();
        self.append(&Line::Done { rows })?;
        self.done = Some(rows);
        Ok(())
    }

    fn append(&mut self, line: &Line) -> Result<(), CliError> {
        let failed =
            |e: &dyn std::fmt::Display| CliError::Other(format!("cannot write the load's journal: {e}"));
        let mut text = serde_json::to_string(line).map_err(|e| failed(&e))?;
        text.push('\n');
        self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data()).map_err(|e| failed(&e))
    }
}

impl Head {
    /// A new load.
    pub fn new(file: Contents, stream: &str, stream_id: u32, pid: Pid, started: i64) -> Self {
        Self { version: VERSION, file, stream: stream.into(), stream_id, pid: pid.to_hex(), started }
    }
}

impl Range {
    /// Its batch.
    pub fn seq(&self) -> Seq {
        Seq(self.seq)
    }
}

/// Reads all of a file once.
pub(super) fn contents(path: &Path) -> Result<Contents, CliError> {
    let mut file = File::open(path).map_err(|e| CliError::file(path, e))?;
    let (mut hash, mut bytes, mut buffer) = (Xxh3::new(), 0, vec![0; 1 << 20]);
    loop {
        let read = file.read(&mut buffer).map_err(|e| CliError::file(path, e))?;
        if read == 0 {
            return Ok(Contents { bytes, hash: format!("{:032x}", hash.digest128()) });
        }
        hash.update(&buffer[..read]);
        bytes += read as u64;
    }
}

/// Where the journal of a file and a stream is kept by default: the user's state directory, else beside the
/// working directory.
pub(super) fn default_path(contents: &Contents, stream: &str) -> PathBuf {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let base = state.or_else(home).unwrap_or_default().join("headwater/loads");
    let name: String = stream.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    base.join(format!("{}-{name}.journal", &contents.hash[..16]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(stream_id: u32) -> Head {
        let file = Contents { bytes: 5, hash: "0".repeat(32) };
        Head::new(file, "s", stream_id, Pid::new(7, [stream_id as u8; 10]), 9)
    }

    #[test]
    fn a_journal_is_replayed_without_its_torn_line() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("deep/journal");
        let mut journal = Journal::open(&path, &head(1)).expect("new");
        let first = journal.assign(10).expect("first");
        let second = journal.assign(20).expect("second");
        drop(journal);
        let mut file = OpenOptions::new().append(true).open(&path).expect("file");
        file.write_all(b"{\"batch\":{\"seq\":3,").expect("torn");
        drop(file);
        let mut later = head(1);
        later.pid = Pid::new(8, [9; 10]).to_hex();
        let mut journal = Journal::open(&path, &later).expect("again");
        assert_eq!(journal.pid(), Some(Pid::new(7, [1; 10])), "the first identity stays");
        assert_eq!(journal.ranges, [first, second]);
        assert_eq!(journal.assign(5).expect("third"), Range { seq: 3, first: 30, rows: 5 });
        journal.finish().expect("done");
        drop(journal);
        assert_eq!(Journal::open(&path, &head(1)).expect("done").done, Some(35));
    }

    #[test]
    fn a_journal_of_another_load_or_in_use_is_refused() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("journal");
        let journal = Journal::open(&path, &head(1)).expect("new");
        assert!(Journal::open(&path, &head(1)).expect_err("in use").to_string().contains("running"));
        drop(journal);
        assert!(Journal::open(&path, &head(2)).expect_err("other").to_string().contains("another load"));
    }
}
