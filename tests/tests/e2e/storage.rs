//! Data directories that cannot be used: a clear message, an exit code, and nothing overwritten.

use crate::frames::{Answer, Producer, send_batch};
use crate::harness::{Hub, run};
use serde::Serialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

#[derive(Serialize)]
struct Row {
    name: String,
}

fn rows(range: std::ops::Range<u32>) -> Vec<Row> {
    range.map(|i| Row { name: format!("a name that takes some room {i:08}") }).collect()
}

fn schema(hub: &Hub) {
    hub.sql("CREATE STREAM names (name TEXT)");
    hub.sql("CREATE CONTINUOUS VIEW by_name AS SELECT name, count(*) AS n FROM names GROUP BY name");
}

/// A directory in which a hub once counted, and the hub is gone.
fn used(dir: &Path) {
    let hub = Hub::start(dir, &[]);
    schema(&hub);
    let mut producer = Producer::new(&hub, "names", 1);
    assert!(matches!(send_batch(&hub, &producer.frame(&rows(0..100))), Answer::Ack(_)));
    assert!(hub.stop().success());
}

/// Starts a hub that must refuse with this exit code and leave `file` as it is; returns what it says.
fn refused(dir: &Path, file: &str, code: i32) -> String {
    let before = std::fs::read(dir.join(file)).ok();
    let text = dir.to_string_lossy();
    let output =
        run(&["serve", "--data-dir", &text, "--listen", "127.0.0.1:0", "--listen-http", "127.0.0.1:0"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    assert!(std::fs::read(dir.join(file)).ok() == before, "{file} was changed");
    said
}

#[test]
fn a_directory_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(dir.path(), &[]);
    let text = dir.path().to_string_lossy();
    let output =
        run(&["serve", "--data-dir", &text, "--listen", "127.0.0.1:0", "--listen-http", "127.0.0.1:0"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(10) && said.contains("in use"), "{said}");
    assert_eq!(hub.get("/healthz").0, 200);
}

#[test]
fn a_newer_format_is_named_as_such() {
    let dir = tempfile::tempdir().unwrap();
    used(dir.path());
    let marker = dir.path().join("HEADWATER");
    let mut bytes = std::fs::read(&marker).unwrap();
    bytes[8] = 200;
    std::fs::write(&marker, bytes).unwrap();
    let said = refused(dir.path(), "HEADWATER", 14);
    assert!(said.contains("format 200") && said.contains("newer"), "{said}");
}

#[test]
fn a_strangers_directory_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("thesis.txt"), "chapter one").unwrap();
    let said = refused(dir.path(), "thesis.txt", 12);
    assert!(said.contains("not a headwater data directory"), "{said}");
}

/// All files of a data directory.
fn contents(dir: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    files.map(|file| (file.file_name(), std::fs::read(file.path()).unwrap())).collect()
}

#[test]
fn corrupted_files_are_refused() {
    for file in ["hub.redb", "catalog.redb", "HEADWATER"] {
        let dir = tempfile::tempdir().unwrap();
        used(dir.path());
        let path = dir.path().join(file);
        let mut bytes = std::fs::read(&path).unwrap();
        let end = bytes.len().min(512);
        bytes[..end].iter_mut().for_each(|b| *b ^= 0x5a);
        std::fs::write(&path, bytes).unwrap();
        let before = contents(dir.path());
        let said = refused(dir.path(), file, 13);
        assert!(said.contains("corrupted"), "{file}: {said}");
        assert!(contents(dir.path()) == before, "{file}: another file was changed");
    }
}

#[test]
fn a_lost_data_file_is_refused_and_nothing_else_is_changed() {
    for left in [Some(Vec::new()), None] {
        let dir = tempfile::tempdir().unwrap();
        used(dir.path());
        let path = dir.path().join("hub.redb");
        std::fs::remove_file(&path).unwrap();
        if let Some(bytes) = left {
            std::fs::write(&path, bytes).unwrap();
        }
        let before = contents(dir.path());
        let said = refused(dir.path(), "hub.redb", 13);
        assert!(said.contains("missing or empty"), "{said}");
        assert!(contents(dir.path()) == before, "another file was changed");
    }
}

#[cfg(unix)]
#[test]
fn data_is_for_the_user_of_the_hub_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    used(&data);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o077;
    for path in [data.clone(), data.join("hub.redb"), data.join("catalog.redb")] {
        assert_eq!(mode(&path), 0, "{}", path.display());
    }
}

#[test]
fn a_torn_tail_is_refused_or_repaired_but_never_miscounted() {
    let dir = tempfile::tempdir().unwrap();
    used(dir.path());
    let path = dir.path().join("hub.redb");
    let whole = std::fs::read(&path).unwrap();
    for keep in [whole.len() - 1, whole.len() - 4096, whole.len() / 2, 100, 0] {
        std::fs::write(&path, &whole[..keep]).unwrap();
        let text = dir.path().to_string_lossy().into_owned();
        refused_or_exact(dir.path(), &text);
        std::fs::write(&path, &whole).unwrap();
    }
    let hub = Hub::start(dir.path(), &[]);
    assert_eq!(hub.number("SELECT count(*) FROM by_name"), 100.0);
}

/// Starts a hub on a torn file: it may refuse with a message, or be up with every group.
fn refused_or_exact(dir: &Path, text: &str) {
    let started = std::panic::catch_unwind(|| Hub::start(dir, &[]));
    match started {
        Ok(hub) => {
            assert_eq!(hub.number("SELECT count(*) FROM by_name"), 100.0, "a torn file lost groups");
            assert!(hub.stop().success());
        }
        Err(_) => {
            let output = run(&[
                "serve",
                "--data-dir",
                text,
                "--listen",
                "127.0.0.1:0",
                "--listen-http",
                "127.0.0.1:0",
            ]);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.code() == Some(13) && said.contains("storage is corrupted"), "{said}");
        }
    }
}

#[test]
fn a_full_disk_stops_writes_while_reads_go_on_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start_with_file_limit(dir.path(), 8 * 1024);
    schema(&hub);
    let mut producer = Producer::new(&hub, "names", 1);
    let mut acked = 0;
    let refused = (0..200).find_map(|i| {
        let batch = producer.frame(&rows(i * 1000..i * 1000 + 1000));
        match send_batch(&hub, &batch) {
            Answer::Ack(_) => {
                acked += 1;
                producer.low_water = producer.next;
                None
            }
            other => Some((batch, other)),
        }
    });
    let (batch, answer) = refused.expect("eight MiB hold less than 200,000 names");
    assert_eq!(answer.code(), "unavailable");
    assert_eq!(hub.number("SELECT count(*) FROM by_name"), f64::from(acked * 1000), "reads go on");
    assert_eq!(hub.get("/readyz").0, 503);
    drop(hub);
    // With room again the same batch is taken, once.
    let hub = Hub::start(dir.path(), &[]);
    assert!(matches!(send_batch(&hub, &batch), Answer::Ack(_)));
    assert_eq!(hub.number("SELECT count(*) FROM by_name"), f64::from((acked + 1) * 1000));
}
