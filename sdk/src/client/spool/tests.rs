//! The spool against its memory twin, and against disks that die at every single write.

use super::*;
use crate::ids::RouteVersion;
use crate::outbox::MemorySpool;
use crate::wire::batch::{DropReason, LedgerDelta};
use redb::StorageBackend;
use std::sync::{Arc, Mutex};

/// Every other batch has nothing to report.
fn report(id: u64) -> LedgerDelta {
    let mut report = LedgerDelta::default();
    report.dropped.add(DropReason::Invalid, id % 2);
    report
}

fn ops() -> Vec<Vec<SpoolOp>> {
    let put = |id: u64, seq: u64| SpoolOp::Put {
        id: BatchId(id),
        seq: Seq(seq),
        events: 10 * id,
        report: report(id),
        payload: vec![id as u8; 3_000].into(),
    };
    let pid = |n: u64| Pid::new(1_700_000_000_000 + n, [n as u8; 10]);
    vec![
        vec![SpoolOp::Redot { pid: pid(1), dots: vec![] }, put(1, 1)],
        vec![SpoolOp::Transmit { id: BatchId(1), route: RouteVersion(7) }, put(2, 2), put(3, 3)],
        vec![
            SpoolOp::Remove { id: BatchId(1) },
            SpoolOp::Transmit { id: BatchId(2), route: RouteVersion(0) },
        ],
        vec![put(4, 4)],
        vec![
            SpoolOp::Redot { pid: pid(2), dots: vec![(BatchId(3), Seq(1)), (BatchId(4), Seq(2))] },
            put(5, 3),
        ],
        vec![SpoolOp::Remove { id: BatchId(3) }],
    ]
}

/// Everything a spool holds.
pub(super) fn contents(spool: &mut dyn Spool) -> (Saved, Vec<Vec<u8>>) {
    let saved = spool.load().expect("loads");
    let payloads = saved.batches.iter().map(|batch| spool.payload(batch.id).expect("payload")).collect();
    (saved, payloads)
}

#[test]
fn it_means_what_its_memory_twin_means_and_survives_reopening() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("outbox.spool");
    let mut twin = MemorySpool::default();
    for ops in ops() {
        let mut spool = DiskSpool::open(&path).expect("opens");
        spool.commit(&ops).expect("commits");
        twin.commit(&ops).expect("commits");
        assert_eq!(contents(&mut spool), contents(&mut twin));
    }
    assert_eq!(contents(&mut DiskSpool::open(&path).expect("opens")), contents(&mut twin));
}

#[test]
fn one_process_at_a_time() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("outbox.spool");
    let _first = DiskSpool::open(&path).expect("opens");
    let error = DiskSpool::open(&path).expect_err("is in use");
    assert_eq!(error.code(), "spool_in_use");
    assert!(error.to_string().contains("outbox.spool"));
}

#[test]
fn foreign_older_and_newer_files_are_refused_and_left_alone() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("notes.txt");
    std::fs::write(&path, "not a spool at all").expect("writes");
    assert!(DiskSpool::open(&path).is_err());
    assert_eq!(std::fs::read(&path).expect("reads"), b"not a spool at all");

    let with_format = |name: &str, row: &[u8]| {
        let path = dir.path().join(name);
        let database = Database::create(&path).expect("creates");
        let transaction = database.begin_write().expect("begins");
        transaction.open_table(META).expect("opens").insert("format", row).expect("inserts");
        transaction.commit().expect("commits");
        drop(database);
        DiskSpool::open(&path).expect_err("another format")
    };
    assert_eq!(with_format("newer.spool", &seal(b"format", &[9])), SpoolError::TooNew(9));
    assert_eq!(with_format("older.spool", &[1]), SpoolError::TooOld(1));
    assert_eq!(with_format("damaged.spool", &[9]).code(), "spool_corrupted");
}

/// A disk that keeps what was synced and dies at write or sync number `left`; unsynced writes may or may not
/// have reached it.
#[derive(Debug)]
struct Disk {
    written: Vec<u8>,
    synced: Vec<u8>,
    left: u64,
}

#[derive(Clone, Debug)]
pub(super) struct DyingDisk(Arc<Mutex<Disk>>);

impl DyingDisk {
    pub(super) fn new(image: Vec<u8>, left: u64) -> Self {
        Self(Arc::new(Mutex::new(Disk { written: image.clone(), synced: image, left })))
    }

    fn alive(&self) -> std::io::Result<std::sync::MutexGuard<'_, Disk>> {
        let mut disk = self.0.lock().expect("lock");
        disk.left = disk.left.checked_sub(1).ok_or_else(|| std::io::Error::other("the disk died"))?;
        Ok(disk)
    }

    /// What a reader finds after the power came back.
    pub(super) fn images(&self) -> [Vec<u8>; 2] {
        let disk = self.0.lock().expect("lock");
        [disk.synced.clone(), disk.written.clone()]
    }
}

impl StorageBackend for DyingDisk {
    fn len(&self) -> std::io::Result<u64> {
        Ok(self.0.lock().expect("lock").written.len() as u64)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        let disk = self.0.lock().expect("lock");
        let end = offset as usize + out.len();
        out.copy_from_slice(disk.written.get(offset as usize..end).ok_or(std::io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.alive()?.written.resize(len as usize, 0);
        Ok(())
    }
    fn sync_data(&self) -> std::io::Result<()> {
        let mut disk = self.alive()?;
        disk.synced = disk.written.clone();
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        let mut disk = self.alive()?;
        disk.written[offset as usize..offset as usize + data.len()].copy_from_slice(data);
        Ok(())
    }
}

pub(super) fn open(disk: DyingDisk) -> Result<DiskSpool, SpoolError> {
    DiskSpool::with_database(|| {
        Database::builder().set_cache_size(1 << 20).create_with_backend(disk).map_err(io)
    })
}

/// A process that lost power keeps every commit that was reported, and of the one under way all or nothing.
#[test]
fn every_commit_is_all_or_nothing_wherever_the_disk_dies() {
    let fresh = DyingDisk::new(Vec::new(), u64::MAX);
    drop(open(fresh.clone()).expect("opens"));
    let image = fresh.images()[1].clone();
    let mut deaths = 0;
    for left in 0.. {
        let disk = DyingDisk::new(image.clone(), left);
        let mut twin = MemorySpool::default();
        let mut next = twin.clone();
        let mut died = true;
        if let Ok(mut spool) = open(disk.clone()) {
            died = false;
            for ops in ops() {
                next.commit(&ops).expect("memory");
                if spool.commit(&ops).is_err() {
                    died = true;
                    assert!(spool.commit(&ops).is_err(), "a failed spool refuses further writes");
                    break;
                }
                twin = next.clone();
            }
        }
        for image in disk.images() {
            let found = contents(&mut open(DyingDisk::new(image, u64::MAX)).expect("repairs"));
            assert!(found == contents(&mut twin) || found == contents(&mut next), "death at {left}");
        }
        deaths += u64::from(died);
        if !died {
            break;
        }
    }
    assert!(deaths > 20, "only {deaths} deaths");
}

/// Files whose disk fails.
static PLANTED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Makes the disk under a file fail when a batch is put there or the file is opened, or work again. What an earlier ack
/// still has to delete passes: tests do not see when that is.
pub(in crate::client) fn plant(path: &Path, fails: bool) {
    let mut planted = PLANTED.lock().expect("lock");
    planted.retain(|failing| failing != path);
    planted.extend(fails.then(|| path.to_owned()));
}

pub(super) fn fail_if_planted(path: &Path) -> Result<(), SpoolError> {
    let is_planted = PLANTED.lock().expect("lock").iter().any(|failing| failing == path);
    if is_planted { Err(SpoolError::Io("the disk fails".into())) } else { Ok(()) }
}
