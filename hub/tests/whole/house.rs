//! A hub on free ports in a directory of its own.

use headwater::client::{Client, ConnectOptions, Fingerprint, Trust};
use headwater_hub::options::Options;
use headwater_hub::server::Hub;
use std::path::Path;

pub struct House {
    dir: tempfile::TempDir,
}

impl House {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("dir") }
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
