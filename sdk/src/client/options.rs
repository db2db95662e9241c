//! How a client is configured: plain structs, every field with its default, unit and cost.

use crate::emit::EmitOptions;
use crate::limits::{BatchLimits, FlushLimits, FrameLimits, OutboxLimits, TimeLimits, TransportLimits};
use crate::wire::{AckLevel, ReadLevel, Token};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where a client connects, whom it trusts, how much it keeps.
///
/// ```
/// use headwater::client::{ConnectOptions, Trust};
/// let mut options = ConnectOptions::new("hub.example.com:7171");
/// options.trust = Trust::PlatformRoots;
/// options.spool = Some("/var/lib/my-service/events.spool".into());
/// ```
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// Hubs as `host:port`, tried in turn; after a failure the next one is taken. Each host may resolve to
    /// several addresses, which are tried in turn too.
    pub addresses: Vec<String>,
    /// Whom to trust. Default: the platform's roots.
    pub trust: Trust,
    /// A key or token, when the hub asks for one.
    pub token: Option<Token>,
    /// The level at which a batch is safe and leaves the outbox. Default durable.
    pub level: AckLevel,
    /// A file that keeps the outbox beyond the process, used by one process at a time. Default none: what is
    /// in the outbox is lost with the process.
    ///
    /// Events wait in memory until the first session has brought plans: those of a program that never had one (`lazy`, while the
    /// hub is down) are lost with it.
    ///
    /// Never copy the file, nor restore it from a backup or with a snapshot of its machine: what no hub was sent before
    /// gets a new number under a new identity from whoever opens it next, so batches of two copies count twice. One
    /// whose bytes are damaged is `spool_corrupted` and left as it is: move it away to go on. It takes space to send
    /// what is in it, too, for the mark that a batch may have left: keep `outbox.disk_bytes_max` well below what is free
    /// there. After a disk was filled, the spool goes on once there are some MB.
    pub spool: Option<PathBuf>,
    /// How large a frame may be.
    pub frame: FrameLimits,
    /// What a batch may hold; the hub may ask for less.
    pub batch: BatchLimits,
    /// How much the outbox holds.
    pub outbox: OutboxLimits,
    /// QUIC's windows, streams and timeouts.
    pub transport: TransportLimits,
    /// When partials become batches.
    pub flush: FlushLimits,
    /// Longest text or bytea value of an event in bytes; longer ones refuse the event (`too_long`). Default 64 KiB. An
    /// emitter holds at most 1,024 rows of such values before it evaluates them.
    pub value_bytes_max: usize,
    /// Lives of identities. Default: 7 days with a spool, 24 hours without.
    pub times: Option<TimeLimits>,
    /// How long [`Client::connect`](super::Client::connect) waits for the first session, and one attempt for
    /// its handshake. Default 10 s.
    pub connect_timeout: Duration,
    /// True: `connect` returns at once and the first session is made in the background; events wait until then,
    /// in memory also where there is a spool.
    /// Default false.
    pub lazy: bool,
    /// How long [`Client::close`](super::Client::close), and dropping the last handle, go on sending. Default 10 s.
    pub close_timeout: Duration,
    /// How long a query may take, connecting included. Default 30 s.
    pub query_timeout: Duration,
    /// Most bytes of one answer. Default 64 MiB; a few times that in memory once decoded.
    pub answer_bytes_max: usize,
    /// Which states queries read. Default durable: what this client's `flush` waited for is in it.
    pub read_level: ReadLevel,
}

impl ConnectOptions {
    /// Defaults, with one address.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            addresses: vec![address.into()],
            trust: Trust::PlatformRoots,
            token: None,
            level: AckLevel::Durable,
            spool: None,
            frame: FrameLimits::NATIVE,
            batch: BatchLimits::NATIVE,
            outbox: OutboxLimits::NATIVE,
            transport: TransportLimits::NATIVE,
            flush: FlushLimits::default(),
            value_bytes_max: EmitOptions::default().value_bytes_max,
            times: None,
            connect_timeout: Duration::from_secs(10),
            lazy: false,
            close_timeout: Duration::from_secs(10),
            query_timeout: Duration::from_secs(30),
            answer_bytes_max: 64 << 20,
            read_level: ReadLevel::Durable,
        }
    }

    /// Defaults, for a development hub that prints its certificate's fingerprint.
    pub fn development(address: impl Into<String>, fingerprint: Fingerprint) -> Self {
        Self { trust: Trust::Fingerprint(fingerprint), ..Self::new(address) }
    }

    pub(super) fn times(&self) -> TimeLimits {
        let usual = if self.spool.is_some() { TimeLimits::PERSISTENT } else { TimeLimits::MEMORY_ONLY };
        self.times.unwrap_or(usual)
    }
}

/// Whose certificate is believed. Names are checked except where one certificate is pinned by its fingerprint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trust {
    /// The roots the operating system trusts.
    PlatformRoots,
    /// One certificate, DER: the hub's own, or an authority of one's own.
    Certificate(Vec<u8>),
    /// The hub that owns the certificate with this fingerprint, under any name: for development.
    Fingerprint(Fingerprint),
}

impl Trust {
    /// [`Trust::Certificate`], the first one in a PEM file.
    ///
    /// # Errors
    /// The file cannot be read, or holds no certificate.
    pub fn from_pem_file(path: &Path) -> std::io::Result<Self> {
        use rustls::pki_types::CertificateDer;
        use rustls::pki_types::pem::{Error, PemObject};
        let certificate = CertificateDer::from_pem_file(path).map_err(|error| match error {
            Error::Io(error) => error,
            Error::NoItemsFound => {
                std::io::Error::new(std::io::ErrorKind::InvalidData, "there is no certificate in it")
            }
            error => std::io::Error::new(std::io::ErrorKind::InvalidData, error.to_string()),
        })?;
        Ok(Self::Certificate(certificate.to_vec()))
    }
}

/// SHA-256 of a certificate's DER bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A fingerprint that is not 64 hex digits (colons between bytes are allowed).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint has 64 hex digits")]
pub struct FingerprintError;

impl std::str::FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits: Option<Vec<u32>> =
            text.trim().chars().filter(|c| *c != ':').map(|c| c.to_digit(16)).collect();
        let digits = digits.filter(|digits| digits.len() == 64).ok_or(FingerprintError)?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = (pair[0] << 4 | pair[1]) as u8;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_as_printed() {
        let fingerprint = Fingerprint(std::array::from_fn(|i| i as u8 * 7));
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        let text = fingerprint.to_string();
        let colons: Vec<_> = text.as_bytes().chunks(2).map(String::from_utf8_lossy).collect();
        assert_eq!(colons.join(":").to_uppercase().parse(), Ok(fingerprint));
        assert_eq!("abc".parse::<Fingerprint>(), Err(FingerprintError));
        assert_eq!("x".repeat(64).parse::<Fingerprint>(), Err(FingerprintError));
    }
}
