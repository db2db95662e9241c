//! Whom the client believes: rustls settings for QUIC, always with the ring provider, never with early data.

use super::error::ConnectError;
use super::options::{Fingerprint, Trust};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_platform_verifier::Verifier;
use std::sync::Arc;

/// The protocol's name in the TLS handshake.
pub const ALPN: &[u8] = b"headwater/1";

/// QUIC's cryptography for a way to trust.
pub(super) fn client_crypto(trust: &Trust) -> Result<QuicClientConfig, ConnectError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls)?;
    let builder = match trust {
        Trust::Certificate(der) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from(der.clone())).map_err(tls)?;
            builder.with_root_certificates(roots)
        }
        Trust::PlatformRoots => {
            let verifier = Verifier::new(provider).map_err(tls)?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
        Trust::Fingerprint(pin) => {
            let verifier = PinnedVerifier { pin: *pin, provider };
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
    };
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    // 0-RTT data can be replayed by anybody who saw it.
    config.enable_early_data = false;
    QuicClientConfig::try_from(config).map_err(|error| ConnectError::Tls(error.to_string()))
}

fn tls(error: rustls::Error) -> ConnectError {
    ConnectError::Tls(error.to_string())
}

/// SHA-256 of a certificate's DER bytes.
pub fn fingerprint(der: &[u8]) -> Fingerprint {
    let mut bytes = [0; 32];
    // The suite's hash is SHA-256 by its name, 32 bytes long: rustls has no shorter way to it.
    if let Some(suite) = TLS13_AES_128_GCM_SHA256.tls13() {
        bytes.copy_from_slice(suite.common.hash_provider.hash(der).as_ref());
    }
    Fingerprint(bytes)
}

/// Believes exactly one certificate, whatever its name and dates, and checks that the peer holds its key.
#[derive(Debug)]
struct PinnedVerifier {
    pin: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if fingerprint(end_entity) == self.pin {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_sha_256() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(fingerprint(b"").to_string(), empty);
    }
}
