//! How `headwater serve` begins and ends when something is in its way.

use super::cli::{HEADWATER, Server};
use super::house::House;
use super::load;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn serve(dir: &Path) -> Command {
    let mut command = Command::new(HEADWATER);
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(dir);
    command
}

fn assert_ends(output: &Output, code: i32, message: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(&format!("headwater: {message}")) || stderr.contains(message), "{stderr}");
    assert!(output.stdout.is_empty(), "it said that it was ready");
}

/// Every file's bytes.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = std::fs::read_dir(dir).expect("dir").map(|entry| entry.expect("entry").path());
    let mut all: Vec<_> = paths.map(|path| (path.clone(), std::fs::read(path).expect("read"))).collect();
    all.sort();
    all
}

/// A directory that a hub has used.
fn used(house: &House) -> PathBuf {
    let server = Server::start(house, &[]);
    server.sql("CREATE STREAM s (a TEXT)");
    server.kill();
    house.path().join("data")
}

#[test]
fn data_of_another_format_or_damaged_is_left_as_it_is() {
    let house = House::new();
    let data = used(&house);
    let marker = data.join("HEADWATER");
    let good = std::fs::read(&marker).expect("marker");
    for (at, byte, code, message) in
        [(8, 3, 14, "data has format 3, this program reads up to 2"), (20, 99, 13, "storage is corrupted")]
    {
        let mut bad = good.clone();
        bad[at] = byte;
        std::fs::write(&marker, bad).expect("write");
        let before = contents(&data);
        assert_ends(&serve(&data).output().expect("serve"), code, message);
        assert!(contents(&data) == before, "something was overwritten");
    }
    std::fs::write(&marker, good).expect("write");
    for file in ["hub.redb", "catalog.redb"] {
        let path = data.join(file);
        let good = std::fs::read(&path).expect("file");
        std::fs::write(&path, &good[..good.len() / 2]).expect("write");
        let before = std::fs::read(&path).expect("file");
        assert_ends(&serve(&data).output().expect("serve"), 13, "storage is corrupted");
        // redb notes the length that it found in the first 64 bytes; nothing behind them may change.
        let after = std::fs::read(&path).expect("file");
        assert!(after.len() == before.len() && after[64..] == before[64..], "{file} was overwritten");
        std::fs::write(&path, good).expect("write");
    }
    assert!(Server::start(&house, &[]).sql("\\d").contains(" s "), "all is well again");
}

/// A disk that is full is played by a limit on the size of files.
#[cfg(unix)]
#[test]
fn a_full_disk_is_told() {
    let house = House::new();
    let data = house.path().join("data");
    let script = format!(
        "trap '' XFSZ; ulimit -f 64; exec {HEADWATER} serve --listen 127.0.0.1:0 --data-dir {}",
        data.display()
    );
    let output = Command::new("sh").args(["-c", &script]).output().expect("sh");
    assert_ends(&output, 16, "no space left");
}

/// Undone when dropped.
#[cfg(target_os = "linux")]
struct Mount(PathBuf);

#[cfg(target_os = "linux")]
impl Mount {
    /// Makes `dir` read-only even for root; `None` where that is not allowed.
    fn read_only(dir: &Path) -> Option<Self> {
        let run = |args: &[&str]| {
            let mut command = Command::new("mount");
            command.args(args).arg(dir).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
        };
        if !run(&["--bind", dir.to_str()?]) {
            return None;
        }
        let mount = Self(dir.into());
        run(&["-o", "remount,bind,ro"]).then_some(mount)
    }
}

#[cfg(target_os = "linux")]
impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_read_only_directory_is_told() {
    let house = House::new();
    let data = used(&house);
    let Some(mount) = Mount::read_only(&data) else {
        eprintln!("SKIPPED 1 of 1: this user may not mount, so nothing can be made read-only for sure");
        return;
    };
    assert_ends(&serve(&data).output().expect("serve"), 11, "is read-only");
    assert_ends(&serve(&data.join("new")).output().expect("serve"), 11, "is read-only");
    drop(mount);
    assert!(Server::start(&house, &[]).sql("\\d").contains(" s "));
}

#[test]
fn an_address_in_use_is_told() {
    let house = House::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("address").to_string();
    let mut command = Command::new(HEADWATER);
    command.args(["serve", "--listen", &address, "--data-dir"]).arg(house.path().join("data"));
    let output = command.output().expect("serve");
    assert_ends(&output, 1, &format!("cannot listen on {address}"));
    assert_ends(&output, 1, "hint: another program has this port, perhaps a hub");
    assert_ends(&output, 1, "--listen IP:PORT");
}

/// What was acknowledged before the signal is there after it, and the load goes on at the next hub.
#[cfg(unix)]
#[test]
fn a_hub_that_is_told_to_stop_drains_and_loses_nothing() {
    let house = House::new();
    let mut server = Server::start(&house, &[]);
    let address = server.address.clone();
    server.sql(load::TABLE);
    server.sql(load::VIEW);
    let file = load::csv(&house);
    let mut child = load::load(&server, &house, &file, &[]).stdout(Stdio::null()).spawn().expect("load");
    for batches in [10, 120] {
        load::wait_for_batches(&house, &mut child, batches);
        server.signal("TERM");
        assert_eq!(server.wait_within(Duration::from_secs(30)), Some(0));
        server = Server::start_at(&house, &address, &[]);
    }
    assert!(child.wait().expect("load").success());
    load::assert_totals(&server, 1);
}

/// A client that sends half a request and waits.
#[cfg(unix)]
fn stall(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(&server.address).expect("connect");
    stream
        .write_all(b"POST /v1/sql HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 100\r\n\r\n")
        .expect("write");
    // The hub asks for the body: the request is in flight.
    std::io::Read::read_exact(&mut stream, &mut [0; 12]).expect("continue");
    stream
}

#[cfg(unix)]
#[test]
fn draining_has_an_end() {
    let house = House::new();
    let mut server = Server::start(&house, &["--drain-ms", "300", "--frame-ms", "600000"]);
    let _stalled = stall(&server);
    let _idle = TcpStream::connect(&server.address).expect("connect");
    server.signal("TERM");
    assert_eq!(server.wait_within(Duration::from_secs(20)), Some(0));
}

#[cfg(unix)]
#[test]
fn a_second_signal_ends_the_draining() {
    let house = House::new();
    let mut server = Server::start(&house, &["--drain-ms", "600000", "--frame-ms", "600000"]);
    server.sql("CREATE STREAM s (a TEXT)");
    let stalled = stall(&server);
    server.signal("TERM");
    // The door is closed while the hub drains.
    let begun = Instant::now();
    while TcpStream::connect(&server.address).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the door stays open");
    }
    server.signal("INT");
    assert_eq!(server.wait_within(Duration::from_secs(20)), Some(0));
    drop(stalled);
    assert!(Server::start(&house, &[]).sql("\\d").contains(" s "));
}

/// A query that was given up while its text was on its way looked like half a frame: the hub closed the connection.
#[tokio::test]
async fn a_query_that_is_given_up_does_not_end_the_connection() {
    let house = House::new();
    let hub = house.start().await;
    let client = house.client(&hub).await;
    // Longer than what may be on its way at a time: the first poll cannot send it all.
    let long = format!("SELECT 1 -- {}", "x".repeat(3 << 20));
    for _ in 0..20 {
        let mut query = Box::pin(client.query(&long));
        for _ in 0..3 {
            assert!(futures::poll!(&mut query).is_pending());
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(client.query("SELECT 1").await.expect("the connection lives").rows.len(), 1);
    let mut stream = tokio::net::TcpStream::connect(hub.http_addr()).await.expect("connect");
    let request = b"GET /metrics HTTP/1.1\r\nhost: hub\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.expect("write");
    let mut metrics = String::new();
    stream.read_to_string(&mut metrics).await.expect("read");
    assert!(metrics.contains("headwater_"), "{metrics}");
    let closed = metrics.lines().find(|line| line.contains("\"malformed\""));
    assert!(closed.is_none_or(|line| line.ends_with(" 0")), "{closed:?}");
    client.close().await;
    hub.shutdown().await.expect("shutdown");
}
