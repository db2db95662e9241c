//! What a load remembers, so that the next run continues exactly where a killed one stopped.
//!
//! A journal belongs to one file (by its contents, and how its columns are read), one stream of one cluster
//! and one producer identity. It is a text file of JSON lines: a head, then one line per batch that says which
//! rows it stands for, then an end mark. Where the hub has forgotten a producer all of whose batches it held, a
//! line names the next one, which counts its batches from 1 again.
//! Invariant: a batch's line is on disk before the batch's first byte leaves. So a sequence number means the
//! same rows in every run, and the hub's dots (rule P3) decide whether those rows were counted.

use super::CliError;
use headwater::ids::{Pid, Seq};
use headwater::schema::StreamSchema;
use headwater::wire::Welcome;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// The version of the journal's format.
const VERSION: u32 = 2;
/// The most that is read of another load's journal: its head has two names per column.
const TWIN_BYTES_MAX: u64 = 1 << 20;

/// The head: what is loaded, where to, under which identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// The journal's format.
    pub version: u32,
    /// The cluster, 32 hex digits: what it holds, no other does.
    pub cluster: String,
    /// The file's contents.
    pub file: Contents,
    /// How they are read.
    pub kind: String,
    /// Which column of the file feeds which of the stream, as `stream=file`; nothing after `=` for none.
    pub columns: Vec<String>,
    /// The stream.
    pub stream: String,
    /// Its id: a stream of the same name that was made anew is another one.
    pub stream_id: u32,
    /// The producer, 32 hex digits.
    pub pid: String,
    /// When the load began, microseconds: the `arrival_timestamp` of rows that bring none.
    pub started: i64,
}

/// What another load sent of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Twin {
    /// The same file, read otherwise.
    Same,
    /// The file when it was shorter.
    Beginning,
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
    Producer { pid: String },
    Batch(Range),
    Done { rows: u64 },
}

/// An open journal.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    /// What it belongs to.
    pub head: Head,
    /// Every batch of the producer so far, by ascending sequence number.
    pub ranges: Vec<Range>,
    /// Rows and batches of producers before it.
    before: (u64, u64),
    /// Rows of a load that is complete.
    pub done: Option<u64>,
}

impl Journal {
    /// Removes it. Its lock is held until it is gone: whoever opened it meanwhile sees that it is not there any more.
    pub fn remove(self, path: &Path) -> std::io::Result<()> {
        std::fs::remove_file(path)
    }

    /// Opens the journal at `path`, or starts it with `head`. A journal of another file or stream is refused.
    pub fn open(path: &Path, head: &Head) -> Result<Self, CliError> {
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent).map_err(|e| CliError::file(parent, e))?;
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = options.map_err(|e| CliError::file(path, e))?;
        let in_use = || {
            CliError::Other(format!(
                "another `headwater load` is loading this file into stream {} right now (it holds {}); wait for it to \
                 end, or stop it: this command then goes on where it was",
                head.stream,
                path.display()
            ))
        };
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => in_use(),
            TryLockError::Error(error) => CliError::file(path, format!("cannot be locked: {error}")),
        })?;
        if !is_at(&file, path) {
            // Its owner removed it in between: nobody would find what is written to it.
            return Err(in_use());
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|e| CliError::file(path, e))?;
        // A line without its line break was never complete, so its batch was never sent.
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        let mut journal = Self { file, head: head.clone(), ranges: Vec::new(), before: (0, 0), done: None };
        journal.file.set_len(whole as u64).map_err(|e| CliError::file(path, e))?;
        journal.file.seek(SeekFrom::End(0)).map_err(|e| CliError::file(path, e))?;
        match whole {
            0 => {
                journal.append(&Line::Load(head.clone()))?;
                // A journal that a crash unnames would let the next run begin anew.
                sync_directories(parent).map_err(|e| CliError::file(parent, e))?;
            }
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
                Line::Producer { pid } => self.begin(pid),
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
        if let Some(what) = head.differs(wanted) {
            let message = format!("this journal belongs to {what}; choose another with --journal");
            return Err(CliError::file(path, message));
        }
        self.head = head;
        Ok(())
    }

    fn begin(&mut self, pid: String) {
        self.before = (self.next_row(), self.batches());
        self.ranges.clear();
        self.head.pid = pid;
    }

    /// Goes on under another identity: the hub holds every batch so far and will take no more of this one.
    pub fn change_producer(&mut self, pid: Pid) -> Result<(), CliError> {
        self.append(&Line::Producer { pid: pid.to_hex() })?;
        self.begin(pid.to_hex());
        Ok(())
    }

    /// Batches so far.
    pub fn batches(&self) -> u64 {
        self.before.1 + self.ranges.len() as u64
    }

    fn fits(&self, range: Range) -> bool {
        let is_next = (range.seq, range.first) == (self.next_seq(), self.next_row());
        range.rows > 0 && is_next && range.first.checked_add(range.rows).is_some()
    }

    /// The sequence number of the next batch.
    pub fn next_seq(&self) -> u64 {
        self.ranges.len() as u64 + 1
    }

    /// The first row that no batch stands for yet.
    pub fn next_row(&self) -> u64 {
        self.ranges.last().map_or(self.before.0, |last| last.first + last.rows)
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

/// True while `path` is this file's name.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |data: std::fs::Metadata| (data.dev(), data.ino());
    let (own, there) = (file.metadata().map(id), std::fs::metadata(path).map(id));
    own.is_ok_and(|own| there.is_ok_and(|there| own == there))
}

/// True while `path` is this file's name.
#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

impl Head {
    /// A new load of `file`, read as `kind`, whose columns meet as `targets` say.
    pub fn new(
        welcome: &Welcome,
        schema: &StreamSchema,
        file: (Contents, &str),
        columns: Vec<String>,
        pid: Pid,
    ) -> Self {
        Self {
            version: VERSION,
            cluster: welcome.cluster.to_string(),
            file: file.0,
            kind: file.1.into(),
            columns,
            stream: schema.name.clone(),
            stream_id: schema.id.0,
            pid: pid.to_hex(),
            started: welcome.time.0,
        }
    }

    /// What of the load is another one's.
    fn differs(&self, other: &Self) -> Option<&'static str> {
        [
            (self.version != other.version, "another version of this program"),
            (self.cluster != other.cluster, "a load into another hub"),
            (self.file != other.file || self.kind != other.kind, "a load of another file"),
            (self.stream != other.stream, "a load into another stream"),
            (self.stream_id != other.stream_id, "a load into a stream of this name that was dropped"),
            (self.columns != other.columns, "a load with other columns"),
        ]
        .into_iter()
        .find_map(|(differs, what)| differs.then_some(what))
    }

    /// Another load that sent rows of `file`, which this is the head of, into the same stream: with other columns, a
    /// journal elsewhere, or when the file was shorter. The first of those whose journals are in `dir`.
    pub fn twin(&self, file: &Path, dir: &Path, own: &Path) -> Option<(PathBuf, Twin)> {
        let own = own.canonicalize().ok();
        let paths = std::fs::read_dir(dir).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
        let mut journals: Vec<PathBuf> =
            paths.filter(|path| path.extension().is_some_and(|e| e == "journal")).collect();
        journals.sort();
        let others = journals.into_iter().filter(|path| path.canonicalize().ok() != own);
        let mut twins = others.filter_map(|path| self.twin_at(&path, file).map(|twin| (path, twin)));
        twins.next()
    }

    /// By the first two lines: the head, and a batch as soon as there is one. What cannot be read is no journal.
    fn twin_at(&self, path: &Path, file: &Path) -> Option<Twin> {
        let mut lines = BufReader::new(File::open(path).ok()?.take(TWIN_BYTES_MAX));
        let mut line = || -> Option<Line> {
            let mut text = String::new();
            lines.read_line(&mut text).ok()?;
            serde_json::from_str(text.strip_suffix('\n')?).ok()
        };
        let Some(Line::Load(head)) = line() else { return None };
        if (&head.cluster, head.stream_id) != (&self.cluster, self.stream_id) {
            return None;
        }
        let Some(Line::Batch(_)) = line() else { return None };
        if head.file == self.file {
            return Some(Twin::Same);
        }
        let is_shorter = (1..self.file.bytes).contains(&head.file.bytes);
        let is_beginning = || contents_within(file, head.file.bytes).is_ok_and(|of| of == head.file);
        (is_shorter && is_beginning()).then_some(Twin::Beginning)
    }

    /// Where journals are kept by default: the user's state directory, else beside the working directory.
    pub fn default_dir() -> PathBuf {
        let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
        state.or_else(home).unwrap_or_default().join("headwater/loads")
    }

    /// The journal's default place. Loads that differ have journals that differ.
    pub fn default_path(&self) -> PathBuf {
        let base = Self::default_dir();
        let load = (&self.cluster, &self.file, &self.kind, self.stream_id, &self.columns);
        let hash = xxh3_128(format!("{load:?}").as_bytes());
        let name: String =
            self.stream.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        base.join(format!("{hash:032x}-{name}.journal"))
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
    contents_within(path, u64::MAX)
}

/// Reads the first `bytes_max` bytes of a file once.
pub(super) fn contents_within(path: &Path, bytes_max: u64) -> Result<Contents, CliError> {
    let mut file = File::open(path).map_err(|e| CliError::file(path, e))?.take(bytes_max);
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

/// Makes the new names in a directory durable, and its own name in turn: it may be new too.
#[cfg(unix)]
fn sync_directories(dir: &Path) -> std::io::Result<()> {
    let dir = dir.canonicalize()?;
    File::open(&dir)?.sync_all()?;
    // Directories above may not be ours to open; those that this program made are.
    for above in dir.ancestors().skip(1).take(3) {
        let _ = File::open(above).and_then(|above| above.sync_all());
    }
    Ok(())
}

/// Makes the new names in a directory durable; this system does so by itself.
#[cfg(not(unix))]
fn sync_directories(_dir: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(stream_id: u32) -> Head {
        Head {
            version: VERSION,
            cluster: "c".into(),
            file: Contents { bytes: 5, hash: "0".repeat(32) },
            kind: "csv".into(),
            columns: vec!["a=b".into()],
            stream: "s".into(),
            stream_id,
            pid: Pid::new(7, [stream_id as u8; 10]).to_hex(),
            started: 9,
        }
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
        let error = Journal::open(&path, &head(1)).expect_err("in use").to_string();
        assert!(
            error.contains("another `headwater load`") && error.contains("stream s right now"),
            "{error}"
        );
        drop(journal);
        for (change, expected) in [
            (|head: &mut Head| head.cluster = "d".into(), "into another hub"),
            (|head: &mut Head| head.columns = vec!["a=".into()], "with other columns"),
            (|head: &mut Head| head.file.bytes = 6, "of another file"),
            (|head: &mut Head| head.kind = "ndjson".into(), "of another file"),
            (|head: &mut Head| head.stream_id = 2, "that was dropped"),
        ] as [(fn(&mut Head), &str); 5]
        {
            let mut other = head(1);
            change(&mut other);
            let error = Journal::open(&path, &other).expect_err("other").to_string();
            assert!(error.contains(expected), "{error}");
            assert_ne!(other.default_path(), head(1).default_path());
        }
    }

    /// A load that opened a journal while another removed it would have written to a file without a name.
    #[test]
    fn a_journal_that_was_removed_is_known_to_be_gone() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("journal");
        let journal = Journal::open(&path, &head(1)).expect("new");
        let meanwhile = File::open(&path).expect("opened");
        assert!(is_at(&meanwhile, &path));
        journal.remove(&path).expect("removed");
        assert!(!is_at(&meanwhile, &path));
        Journal::open(&path, &head(1)).expect("another");
        assert!(cfg!(not(unix)) || !is_at(&meanwhile, &path), "another of this name");
    }

    /// A file's rows counted twice when they were mapped in another way.
    #[test]
    fn another_load_of_the_same_rows_is_found() {
        let dir = tempfile::tempdir().expect("dir");
        let (first, second) = (dir.path().join("a.journal"), dir.path().join("b.journal"));
        let file = dir.path().join("events.csv");
        std::fs::write(&file, "n\n1\n2\n").expect("write");
        let mut journal = Journal::open(&first, &head(1)).expect("new");
        let mut other = head(1);
        other.columns = vec!["a=".into()];
        assert_eq!(other.twin(&file, dir.path(), &second), None, "nothing was sent");
        journal.assign(10).expect("first");
        assert_eq!(other.twin(&file, dir.path(), &second), Some((first.clone(), Twin::Same)));
        assert_eq!(head(1).twin(&file, dir.path(), &first), None, "its own");
        assert_eq!(head(2).twin(&file, dir.path(), &second), None, "another stream");
        let mut grown = head(1);
        grown.file = contents(&file).expect("reads");
        assert_eq!(grown.twin(&file, dir.path(), &second), None, "another file");
        let third = dir.path().join("c.journal");
        let shorter = Head { file: contents_within(&file, 4).expect("reads"), ..head(1) };
        Journal::open(&third, &shorter).expect("new").assign(1).expect("first");
        assert_eq!(grown.twin(&file, dir.path(), &second), Some((third, Twin::Beginning)), "it grew");
        other.cluster = "d".into();
        assert_eq!(other.twin(&file, dir.path(), &second), None, "another hub");
        std::fs::write(&second, b"{}\n").expect("write");
        assert_eq!(other.twin(&file, dir.path(), &first), None, "no journal");
    }

    #[test]
    fn another_producer_goes_on_where_the_first_ended() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("journal");
        let mut journal = Journal::open(&path, &head(1)).expect("new");
        journal.assign(10).expect("first");
        let other = Pid::new(9, [3; 10]);
        journal.change_producer(other).expect("other");
        assert_eq!(journal.assign(5).expect("next"), Range { seq: 1, first: 10, rows: 5 });
        drop(journal);
        let journal = Journal::open(&path, &head(1)).expect("again");
        assert_eq!((journal.pid(), journal.next_row(), journal.batches()), (Some(other), 15, 2));
        assert_eq!(journal.ranges.len(), 1);
    }
}
