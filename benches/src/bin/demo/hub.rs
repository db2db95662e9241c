//! The hub inside the demo: the same rooms as `headwater serve`, on a directory and free ports of its own.

use headwater::client::ConnectOptions;
use headwater_hub::options::Options;
use headwater_hub::server::Hub;
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// A running hub and its data.
pub struct DemoHub {
    hub: Hub,
    /// Where QUIC listens.
    pub quic: SocketAddr,
    /// Where its data is.
    pub dir: PathBuf,
    /// Removes the data when dropped, unless the caller named the directory.
    _temporary: Option<tempfile::TempDir>,
}

/// Starts a hub on `dir`, which must be new or empty (what it counted before would count again), or on a temporary
/// directory.
pub async fn start(dir: Option<&Path>) -> Result<DemoHub, Box<dyn Error>> {
    if let Some(dir) =
        dir.filter(|dir| std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()))
    {
        return Err(
            format!("{} is not empty: the demo counts from zero, in a new directory", dir.display()).into()
        );
    }
    let temporary = if dir.is_none() {
        Some(tempfile::Builder::new().prefix("headwater-demo-").tempdir()?)
    } else {
        None
    };
    let dir =
        dir.or(temporary.as_ref().map(tempfile::TempDir::path)).map(Path::to_path_buf).unwrap_or_default();
    let mut options = Options::default();
    options.storage.data_dir = dir.clone();
    options.listen.address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0).into();
    let hub = Hub::start(&options).await?;
    Ok(DemoHub { quic: hub.addr(), hub, dir, _temporary: temporary })
}

impl DemoHub {
    /// How a client reaches it.
    pub fn connect_options(&self) -> Result<ConnectOptions, Box<dyn Error>> {
        let fingerprint = self.hub.fingerprint().to_string().parse()?;
        Ok(ConnectOptions::development(self.quic.to_string(), fingerprint))
    }

    /// Prints where to connect and waits for Ctrl-C or SIGTERM.
    pub async fn serve(&self) -> Result<(), Box<dyn Error>> {
        let (http, fingerprint) = (self.hub.http_addr(), self.hub.fingerprint());
        println!("\nthe hub stays up; Ctrl-C ends it");
        println!("  SDK   {}  fingerprint {fingerprint}", self.quic);
        println!(
            "  SQL   cargo run --profile demo -p headwater-hub -- sql --hub {} --fingerprint {fingerprint}",
            self.quic
        );
        println!("        (links the command first, some seconds)");
        if let Some(pg) = self.hub.pg_addr() {
            println!("  psql  psql -h {} -p {} -U demo", pg.ip(), pg.port());
        }
        println!("  HTTP  curl 'http://{http}/v1/sql?format=csv' -d 'SELECT * FROM by_day ORDER BY day'");
        ended().await?;
        println!("stopping");
        Ok(())
    }

    /// Drains and closes it.
    pub async fn stop(self) -> Result<(), Box<dyn Error>> {
        self.hub.shutdown().await?;
        Ok(())
    }
}

/// Waits for the first signal that asks a program to end.
#[cfg(unix)]
pub async fn ended() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt,
        _ = terminate.recv() => Ok(()),
    }
}

/// Waits for Ctrl-C.
#[cfg(not(unix))]
pub async fn ended() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
