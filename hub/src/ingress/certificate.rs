//! The hub's identity: a certificate from files, or a development certificate kept in the data directory.
//!
//! Owns: reading and making certificates, the fingerprint that clients pin, the TLS settings of both doors.
//! Must not know: connections. Invariant: a private key is readable by its owner only, and never logged.

use crate::options::ListenOptions;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// The development certificate's file in the data directory.
pub const DEV_CERT_FILE: &str = "dev-cert.pem";
/// The development certificate's private key in the data directory.
pub const DEV_KEY_FILE: &str = "dev-key.pem";

/// The secret behind stateless resets, in the data directory.
pub const RESET_KEY_FILE: &str = "reset.key";

/// Why the hub has no certificate.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// A PEM file cannot be read or holds something else.
    #[error("cannot use {path}: {message}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// A development certificate cannot be made: a name in `dev_names` is not one.
    #[error("cannot make a development certificate: {0}")]
    Generate(#[from] rcgen::Error),
    /// The certificate and the key do not belong together, or TLS cannot use them.
    #[error("the certificate cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// SHA-256 of a certificate's DER bytes: what clients of a development hub pin.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A certificate chain with its key.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// False for a certificate from files: clients trust it by their roots.
    pub is_development: bool,
}

impl Identity {
    /// From the files of the options, or the development certificate of `data_dir`, made when missing.
    ///
    /// # Errors
    /// [`CertificateError::File`] when a file cannot be read, written or used; [`CertificateError::Generate`] when a
    /// development certificate cannot be made.
    pub fn load(listen: &ListenOptions, data_dir: &Path) -> Result<Self, CertificateError> {
        if let (Some(cert), Some(key)) = (&listen.tls_cert.0, &listen.tls_key.0) {
            return Self::read(cert, key, false);
        }
        let (cert, key) = (data_dir.join(DEV_CERT_FILE), data_dir.join(DEV_KEY_FILE));
        if !(cert.exists() && key.exists()) {
            make(&listen.dev_names.0, &cert, &key)?;
        }
        Self::read(&cert, &key, true)
    }

    fn read(cert: &Path, key: &Path, is_development: bool) -> Result<Self, CertificateError> {
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_file_iter(cert).map_err(|e| unusable(cert, &e))?.collect();
        let chain = chain.map_err(|e| unusable(cert, &e))?;
        if chain.is_empty() {
            return Err(unusable(cert, &"it holds no certificate"));
        }
        let key = PrivateKeyDer::from_pem_file(key).map_err(|e| unusable(key, &e))?;
        Ok(Self { chain, key, is_development })
    }

    /// Of the first certificate.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, &self.chain[0]).as_ref());
        Fingerprint(bytes)
    }

    /// True when the certificate says that it is a CA's: clients that check it as ours do refuse it as a server's own.
    pub fn is_authority(&self) -> bool {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(self.chain.iter().cloned());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let (Ok(verifier), Ok(name)) = (verifier, ServerName::try_from("hub.invalid")) else { return false };
        // The checker of clients itself is asked; it has a name for this reason only in what it prints.
        let checked = verifier.verify_server_cert(&self.chain[0], &[], &name, &[], UnixTime::now());
        checked.is_err_and(|error| format!("{error:?}").contains("CaUsedAsEndEntity"))
    }

    /// TLS settings offering these protocols (ALPN). TLS 1.3 without early data where QUIC asks for it.
    ///
    /// # Errors
    /// [`CertificateError::Unusable`] when TLS cannot use the certificate or its key.
    pub fn tls(&self, protocols: &[&[u8]]) -> Result<rustls::ServerConfig, CertificateError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
        config.max_early_data_size = 0;
        Ok(config)
    }
}

fn unusable(path: &Path, error: &dyn fmt::Display) -> CertificateError {
    CertificateError::File { path: path.into(), message: error.to_string() }
}

/// The secret that makes stateless resets and connection ids, kept in the data directory: after a crash the
/// next process answers packets of the old connections with resets their clients believe, and they connect
/// anew at once instead of waiting out their idle timeout. One per directory: hubs that share a certificate
/// must not be able to reset each other's connections (RFC 9000, 21.11).
///
/// # Errors
/// [`CertificateError::File`] when a new one cannot be drawn or written.
pub fn reset_key(data_dir: &Path) -> Result<[u8; 32], CertificateError> {
    let path = data_dir.join(RESET_KEY_FILE);
    if let Ok(found) = std::fs::read(&path)
        && let Ok(key) = found.try_into()
    {
        return Ok(key);
    }
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|e| unusable(&path, &e))?;
    write_private(&path, &key)?;
    Ok(key)
}

fn make(names: &[String], cert_path: &Path, key_path: &Path) -> Result<(), CertificateError> {
    let made = rcgen::generate_simple_self_signed(names.to_vec())?;
    // The key first: a certificate without its key would never be completed.
    write_private(key_path, made.signing_key.serialize_pem().as_bytes())?;
    write_private(cert_path, made.cert.pem().as_bytes())
}

/// Whole or not at all, for its owner only: half a file would be refused at every start to come.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), CertificateError> {
    let temporary = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    });
    written.map_err(|e| unusable(path, &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_development_certificate_is_made_once_and_kept() {
        let dir = tempfile::tempdir().expect("dir");
        let listen = ListenOptions::default();
        let first = Identity::load(&listen, dir.path()).expect("made");
        let second = Identity::load(&listen, dir.path()).expect("read");
        assert!(first.is_development && first.fingerprint() == second.fingerprint());
        assert_eq!(first.fingerprint().to_string().len(), 64);
        assert!(first.tls(&[b"headwater/1"]).is_ok());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(dir.path().join(DEV_KEY_FILE)).expect("key").permissions().mode();
            assert_eq!(mode & 0o077, 0, "the key is private");
        }
    }

    #[test]
    fn the_reset_key_outlives_the_process() {
        let dir = tempfile::tempdir().expect("dir");
        let key = reset_key(dir.path()).expect("made");
        assert_eq!(reset_key(dir.path()).expect("read"), key);
        assert_ne!(key, [0; 32]);
    }

    /// Such a hub started without a word, and every client refused it.
    #[test]
    fn a_certificate_of_an_authority_is_known() {
        let dir = tempfile::tempdir().expect("dir");
        let path = |name: &str| dir.path().join(name);
        let identity = |is_ca: rcgen::IsCa| {
            let key = rcgen::KeyPair::generate().expect("key");
            let mut params = rcgen::CertificateParams::new(vec!["localhost".into()]).expect("name");
            params.is_ca = is_ca;
            let made = params.self_signed(&key).expect("signed");
            std::fs::write(path("cert"), made.pem()).expect("write");
            std::fs::write(path("key"), key.serialize_pem()).expect("write");
            Identity::read(&path("cert"), &path("key"), false).expect("read")
        };
        assert!(identity(rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained)).is_authority());
        assert!(
            !identity(rcgen::IsCa::NoCa).is_authority()
                && !identity(rcgen::IsCa::ExplicitNoCa).is_authority()
        );
    }

    #[test]
    fn files_that_are_not_certificates_are_named() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("cert.pem");
        std::fs::write(&path, "hello").expect("write");
        let some = |p: &Path| crate::options::Maybe(Some(p.to_path_buf()));
        let listen =
            ListenOptions { tls_cert: some(&path), tls_key: some(&path), ..ListenOptions::default() };
        let error = Identity::load(&listen, dir.path()).expect_err("refused").to_string();
        assert!(error.contains("cert.pem") && error.contains("no certificate"), "{error}");
    }
}
