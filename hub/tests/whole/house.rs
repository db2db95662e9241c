//! A hub on free ports in a directory of its own.

use headwater::client::{Client, ConnectOptions, Fingerprint, Trust};
use headwater_hub::options::Options;
use headwater_hub::server::Hub;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// Longer than any test takes on a machine that has much else to do.
const TEST_ENDS_WITHIN: Duration = Duration::from_secs(600);

/// Ends the program, and names the test, when a test does not end: its runner would wait for ever.
struct Deadline {
    _ended: mpsc::Sender<()>,
}

impl Deadline {
    fn new() -> Self {
        let name = std::thread::current().name().unwrap_or("without a name").to_owned();
        let (ended, wait) = mpsc::channel();
        std::thread::spawn(move || {
            if wait.recv_timeout(TEST_ENDS_WITHIN) == Err(RecvTimeoutError::Timeout) {
                // Not `eprintln`: what a test prints is kept until it ends.
                let _ = writeln!(std::io::stderr(), "test {name} has not ended within {TEST_ENDS_WITHIN:?}");
                std::process::abort();
            }
        });
        Self { _ended: ended }
    }
}

pub struct House {
    dir: tempfile::TempDir,
    _deadline: Deadline,
}

impl House {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("dir"), _deadline: Deadline::new() }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn options(&self) -> Options {
        let mut options = Options::default();
        options.storage.data_dir = self.dir.path().join("data");
        options.listen.address = "127.0.0.1:0".parse().expect("address");
        options
    }

    pub async fn start(&self) -> Hub {
        Hub::start(&self.options()).await.expect("hub")
    }

    pub async fn client(&self, hub: &Hub) -> Client {
        let mut options = ConnectOptions::new(hub.addr().to_string());
        options.trust = Trust::Fingerprint(Fingerprint(hub.fingerprint().0));
        Client::connect(options).await.expect("client")
    }
}
