//! How a command finds its hub and whom it trusts.

use super::CliError;
use headwater::client::{Client, ConnectOptions, Fingerprint, Trust};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

/// How long a hub on this machine may take to tell its fingerprint.
const ASK: Duration = Duration::from_secs(2);

/// Which hub.
#[derive(Debug, clap::Args)]
pub(super) struct ConnectArgs {
    /// The hub, as host:port
    #[arg(long, env = "HEADWATER_HUB", default_value = "127.0.0.1:7171", value_name = "HOST:PORT")]
    hub: String,
    /// SHA-256 of the certificate of a development hub, as `headwater serve` prints it; a hub on this machine is
    /// asked for it
    #[arg(long, env = "HEADWATER_FINGERPRINT", value_name = "HEX")]
    fingerprint: Option<Fingerprint>,
    /// PEM file with the certificate (or its authority) to trust instead of the platform's roots
    #[arg(long, env = "HEADWATER_CA", value_name = "FILE", conflicts_with = "fingerprint")]
    ca: Option<PathBuf>,
    /// Token, when the hub asks for one
    #[arg(long, env = "HEADWATER_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
}

impl ConnectArgs {
    /// Options for the client.
    pub(super) fn options(&self) -> Result<ConnectOptions, CliError> {
        let mut options = ConnectOptions::new(self.hub.clone());
        options.token = self.token.clone();
        options.trust = self.trust()?;
        Ok(options)
    }

    /// Connects; within a runtime.
    pub(super) async fn connect(&self) -> Result<Client, CliError> {
        Ok(Client::connect(self.options()?).await?)
    }

    fn trust(&self) -> Result<Trust, CliError> {
        if let Some(fingerprint) = self.fingerprint {
            return Ok(Trust::Fingerprint(fingerprint));
        }
        if let Some(path) = &self.ca {
            use rustls::pki_types::CertificateDer;
            use rustls::pki_types::pem::PemObject;
            let der = CertificateDer::from_pem_file(path).map_err(|error| CliError::file(path, error))?;
            return Ok(Trust::Certificate(der.to_vec()));
        }
        let local = self.hub.to_socket_addrs().ok().and_then(|mut all| all.find(|a| is_local(a.ip())));
        Ok(local.and_then(ask).map_or(Trust::PlatformRoots, Trust::Fingerprint))
    }
}

fn is_local(ip: IpAddr) -> bool {
    ip.is_loopback()
}

/// Asks a hub on this machine for its fingerprint over plain HTTP; nobody is between us and loopback.
fn ask(address: SocketAddr) -> Option<Fingerprint> {
    let mut stream = TcpStream::connect_timeout(&address, ASK).ok()?;
    stream.set_read_timeout(Some(ASK)).ok()?;
    stream.write_all(b"GET /v1/hub HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.take(64 * 1024).read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    if !head.starts_with("HTTP/1.1 200") {
        return None;
    }
    let about: serde_json::Value = serde_json::from_str(body).ok()?;
    if about["development"] != serde_json::Value::Bool(true) {
        return None;
    }
    about["fingerprint"].as_str()?.parse().ok()
}
