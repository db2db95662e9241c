//! Damaged files: every bit of the rows of a small spool, bits all over the rest of it, every page.
//!
//! Prevents: a payload or a count that is another than was written, sent and counted; damage that is told as a full
//! disk, or as a panic.

use super::tests::{DyingDisk, contents, open};
use super::*;
use crate::ids::RouteVersion;
use crate::outbox::MemorySpool;
use crate::wire::batch::{DropReason, LedgerDelta};

const PAGE_BYTES: usize = 4096;
/// Outside of rows one byte in so many is damaged: all of them take minutes, and no multiple of a page's structures.
const ELSEWHERE_STEP: usize = 31;

type Contents = (Saved, Vec<Vec<u8>>);

/// How often a damaged file still gave everything, was refused, or gave all but the bytes of a batch.
#[derive(Debug, Default)]
struct Found {
    whole: u64,
    refused: u64,
    batch_refused: u64,
}

/// The bytes of a spool of six batches, three of them transmitted, and what is in it.
fn spool(dir: &Path) -> (Vec<u8>, Contents) {
    let path = dir.join("whole.spool");
    let mut twin = MemorySpool::default();
    let mut spool = DiskSpool::open(&path).expect("opens");
    let mut ops = vec![SpoolOp::Redot { pid: Pid::new(1_700_000_000_000, [9; 10]), dots: vec![] }];
    for n in 1..=6 {
        let mut report = LedgerDelta::default();
        report.dropped.add(DropReason::Invalid, n % 2);
        let payload = (0..20).map(|at| 30 * n as u8 + at).collect::<Vec<u8>>().into();
        ops.push(SpoolOp::Put { id: BatchId(n), seq: Seq(n), events: 100 + n, report, payload });
        ops.extend((n < 4).then_some(SpoolOp::Transmit { id: BatchId(n), route: RouteVersion(7) }));
    }
    spool.commit(&ops).expect("commits");
    twin.commit(&ops).expect("commits");
    drop(spool);
    (std::fs::read(&path).expect("reads"), contents(&mut twin))
}

/// Where in the file the values of rows are.
fn rows(path: &Path, image: &[u8]) -> Vec<usize> {
    let database = DiskSpool::database(path).expect("opens");
    let transaction = database.begin_read().expect("begins");
    let mut values = Vec::new();
    for table in [BATCHES, PAYLOADS] {
        let table = transaction.open_table(table).expect("opens");
        values.extend(table.iter().expect("rows").map(|row| row.expect("row").1.value().to_vec()));
    }
    let meta = transaction.open_table(META).expect("opens");
    values.extend(meta.iter().expect("rows").map(|row| row.expect("row").1.value().to_vec()));
    let places = |value: &Vec<u8>| {
        let found = image.windows(value.len()).enumerate().filter(|(_, bytes)| bytes == value);
        found.flat_map(|(at, _)| at..at + value.len()).collect::<Vec<_>>()
    };
    values.iter().flat_map(places).collect()
}

fn check(image: Vec<u8>, (saved, payloads): &Contents, found: &mut Found, what: &str) {
    let loaded = open(DyingDisk::new(image, u64::MAX)).and_then(|mut spool| {
        let loaded = spool.load()?;
        let read: Vec<_> = loaded.batches.iter().map(|batch| spool.payload(batch.id)).collect();
        Ok((loaded, read))
    });
    match loaded {
        Ok((loaded, read)) => {
            assert_eq!(loaded, *saved, "{what}");
            let is_same =
                |(read, payload): (&Result<Vec<u8>, _>, _)| read.as_ref().is_ok_and(|r| r == payload);
            let same = read.iter().zip(payloads).filter(|pair| is_same(*pair)).count();
            assert_eq!(read.iter().filter(|read| read.is_ok()).count(), same, "{what}");
            *(if same == read.len() { &mut found.whole } else { &mut found.batch_refused }) += 1;
        }
        Err(error) => {
            assert_eq!(error.code(), "spool_corrupted", "{what}: {error}");
            assert!(error.to_string().contains("move the file away"), "{error}");
            found.refused += 1;
        }
    }
}

#[test]
fn damage_never_gives_other_bytes_and_is_told_as_damage() {
    let dir = tempfile::tempdir().expect("dir");
    let (image, whole) = spool(dir.path());
    let rows = rows(&dir.path().join("whole.spool"), &image);
    let mut found = Found::default();
    let mut try_damage = |what: String, damage: &dyn Fn(&mut [u8])| {
        let mut image = image.clone();
        damage(&mut image);
        check(image, &whole, &mut found, &what);
    };
    let bits = |at: usize| if rows.contains(&at) { 0..8 } else { at % 8..at % 8 + 1 };
    let is_tried = |at: &usize| rows.contains(at) || (image[*at] != 0 && at.is_multiple_of(ELSEWHERE_STEP));
    for at in (0..image.len()).filter(is_tried) {
        for bit in bits(at) {
            try_damage(format!("byte {at}, bit {bit}"), &|image| image[at] ^= 1 << bit);
        }
    }
    for page in 0..image.len() / PAGE_BYTES {
        let bytes = PAGE_BYTES * page..PAGE_BYTES * (page + 1);
        if image[bytes.clone()].iter().any(|byte| *byte != 0) {
            try_damage(format!("page {page}"), &|image| image[bytes.clone()].fill(0));
        }
    }
    let payload_bytes: usize = whole.1.iter().map(Vec::len).sum();
    assert!(found.batch_refused >= 8 * payload_bytes as u64, "{found:?}");
    assert!(found.refused >= 8 * (rows.len() - payload_bytes) as u64, "{found:?}");
    assert!(found.whole > 100, "{found:?}");
}
