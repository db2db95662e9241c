//! How a command finds its hub and whom it trusts.

use super::CliError;
use headwater::client::{Client, ConnectError, ConnectOptions, Fingerprint, Trust};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

/// How long a hub on this machine may take to tell its fingerprint.
const ASK: Duration = Duration::from_secs(2);

/// Which hub.
#[derive(Debug, clap::Args)]
pub(super) struct ConnectArgs {
    /// The hub, as host:port
    #[arg(long, env = "HEADWATER_HUB", default_value = "127.0.0.1:7171", value_name = "HOST:PORT", value_parser = address)]
    hub: String,
    /// SHA-256 of the certificate of a development hub, as `headwater serve` prints it; a hub on this machine is
    /// asked for it
    #[arg(long, env = "HEADWATER_FINGERPRINT", value_name = "HEX")]
    fingerprint: Option<Fingerprint>,
    /// PEM file with the authority, or a self-signed certificate, to trust instead of the platform's roots
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
        options.token = self.token.as_deref().map(Into::into);
        options.trust = self.trust()?;
        Ok(options)
    }

    /// Connects; within a runtime.
    pub(super) async fn connect(&self) -> Result<Client, CliError> {
        self.connect_with(|_| {}).await
    }

    /// Connects with options that are not of every command; within a runtime.
    pub(super) async fn connect_with(
        &self,
        set: impl FnOnce(&mut ConnectOptions),
    ) -> Result<Client, CliError> {
        let mut options = self.options()?;
        set(&mut options);
        self.unless_refused(async { Ok(Client::connect(options).await?) }).await
    }

    /// The result of `work`, which connects; or an error as soon as it is certain that nothing listens. QUIC alone
    /// would go on asking until its time is up.
    pub(super) async fn unless_refused<T>(
        &self,
        work: impl Future<Output = Result<T, CliError>>,
    ) -> Result<T, CliError> {
        unless_refused(&self.hub, work).await
    }

    fn trust(&self) -> Result<Trust, CliError> {
        if let Some(fingerprint) = self.fingerprint {
            return Ok(Trust::Fingerprint(fingerprint));
        }
        if let Some(path) = &self.ca {
            return Trust::from_pem_file(path).map_err(|error| CliError::file(path, error));
        }
        let local = self.hub.to_socket_addrs().ok().and_then(|mut all| all.find(|a| is_local(a.ip())));
        Ok(local.and_then(ask).map_or(Trust::PlatformRoots, Trust::Fingerprint))
    }
}

/// Text that can be an address; a host's name is looked up later.
fn address(text: &str) -> Result<String, String> {
    let port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    match text.rsplit_once(':') {
        Some((host, digits)) if port(digits) && is_host(host) => Ok(text.into()),
        _ if text.contains("://") => {
            let rest = text.split("://").nth(1).unwrap_or_default().trim_end_matches('/');
            Err(format!("write HOST:PORT without http:// or https://, as {rest}"))
        }
        _ if is_host(text) => Err(format!("write HOST:PORT, for example {text}:7171")),
        _ => Err("write HOST:PORT, for example 127.0.0.1:7171 or [::1]:7171".into()),
    }
}

fn is_host(text: &str) -> bool {
    let is_bracketed = text.starts_with('[') && text.ends_with(']');
    !text.is_empty() && (is_bracketed || !text.contains([':', '/', '@', ' ']))
}

/// The result of `work`, which connects to `hub`; or an error as soon as it is certain that nothing listens there.
pub(super) async fn unless_refused<T>(
    hub: &str,
    work: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    tokio::select! {
        biased;
        result = work => result,
        error = refused(hub) => Err(error),
    }
}

/// Returns once every address of the hub has said that nobody listens there, or when it has none; never when one did
/// not.
pub(super) async fn refused(hub: &str) -> CliError {
    let addresses = match tokio::net::lookup_host(hub).await {
        Ok(addresses) => addresses,
        Err(error) => {
            let (host, message) = (hub.into(), error.to_string());
            return CliError::Connect(ConnectError::Resolve { host, message });
        }
    };
    for address in addresses {
        if !is_refused(address).await {
            return std::future::pending().await;
        }
    }
    let (address, message) = (hub.into(), "nothing listens there (UDP)".into());
    CliError::Connect(ConnectError::Unreachable { address, message })
}

/// Asks with a datagram that no hub answers; where nobody listens the system says so.
async fn is_refused(address: SocketAddr) -> bool {
    let local: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let Ok(socket) = tokio::net::UdpSocket::bind(local).await else { return false };
    if socket.connect(address).await.is_err() || socket.send(&[0]).await.is_err() {
        return false;
    }
    let answer = tokio::time::timeout(ASK, socket.recv(&mut [0; 1])).await;
    matches!(answer, Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for good in ["127.0.0.1:7171", "[::1]:7171", "hub.example:1", "localhost:65535"] {
            assert_eq!(address(good), Ok(good.into()));
        }
        for bad in
            ["", "127.0.0.1", "localhost:", ":7171", "::1:7171", "http://hub:7171", "hub:0", "hub:99999"]
        {
            assert!(address(bad).is_err(), "{bad}");
        }
        let error = address("http://hub:7171/").expect_err("a scheme");
        assert!(error.ends_with("without http:// or https://, as hub:7171"), "{error}");
        assert!(address("127.0.0.1").expect_err("no port").contains("127.0.0.1:7171"));
    }
}
