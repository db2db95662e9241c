//! Which hub a connection leads to: what errors need to say about it.

use super::error::ConnectError;
use super::options::Trust;
use crate::session::SessionError;
use crate::wire::CloseCode;
use quinn::{ConnectionClose, ConnectionError, TransportErrorCode, VarInt};
use std::sync::Arc;

/// TLS alerts that a certificate is not accepted: 42 to 49 and 113 to 116; 51 that a signature on it or by it is wrong
/// (RFC 8446, 6.2). QUIC carries alerts in codes 0x100 to 0x1ff.
const UNTRUSTED: [std::ops::RangeInclusive<u64>; 3] = [0x12a..=0x131, 0x133..=0x133, 0x171..=0x174];
/// Nobody who is trusted signed it.
const UNKNOWN_CA: u64 = 0x130;
/// A signature does not verify.
const DECRYPT_ERROR: u64 = 0x133;
/// No application protocol in common.
const NO_PROTOCOL: u64 = 0x178;

/// The hub at an address, and whom it has to be.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    address: Arc<str>,
    trust: Arc<Trust>,
}

impl Peer {
    pub fn new(address: &str, trust: Arc<Trust>) -> Self {
        Self { address: address.into(), trust }
    }

    /// There is no connection (any more).
    pub fn unreachable(&self, message: impl Into<String>) -> ConnectError {
        ConnectError::Unreachable { address: self.address(), message: message.into() }
    }

    /// There was no answer in time.
    pub fn timed_out(&self) -> ConnectError {
        ConnectError::TimedOut { address: self.address() }
    }

    /// Why a connection ended, or did not begin.
    pub fn connection_error(&self, error: &ConnectionError) -> ConnectError {
        let (code, reason) = match error {
            ConnectionError::ApplicationClosed(close) if is(close.error_code, CloseCode::Unauthorized) => {
                return self.unauthorized(String::from_utf8_lossy(&close.reason).into_owned());
            }
            ConnectionError::ApplicationClosed(close) if is(close.error_code, CloseCode::Busy) => {
                return ConnectError::Busy { address: self.address() };
            }
            ConnectionError::ConnectionClosed(ConnectionClose { error_code, .. })
                if *error_code == TransportErrorCode::CONNECTION_REFUSED =>
            {
                return ConnectError::Busy { address: self.address() };
            }
            ConnectionError::TimedOut => return self.timed_out(),
            ConnectionError::TransportError(error) => (u64::from(error.code), error.reason.clone()),
            ConnectionError::ConnectionClosed(close) => (u64::from(close.error_code), error.to_string()),
            _ => (0, error.to_string()),
        };
        if UNTRUSTED.iter().any(|alerts| alerts.contains(&code)) {
            return self.untrusted(code, &reason);
        }
        if code == NO_PROTOCOL {
            return self.unreachable("what answers there is not a hub, or one of another protocol");
        }
        self.unreachable(error.to_string())
    }

    /// How a session ended.
    pub fn session_error(&self, source: SessionError) -> ConnectError {
        match source {
            SessionError::Rejected { code, message } if code == CloseCode::Unauthorized.code() => {
                self.unauthorized(message)
            }
            source => ConnectError::Session { address: self.address(), source },
        }
    }

    fn unauthorized(&self, message: String) -> ConnectError {
        ConnectError::Unauthorized { address: self.address(), message }
    }

    fn untrusted(&self, code: u64, reason: &str) -> ConnectError {
        let message = match (&*self.trust, code) {
            // Another key than the one that signed: an authority or a certificate was made anew under its old name.
            (Trust::Fingerprint(_), DECRYPT_ERROR) => {
                format!("{reason}: the hub does not have the key of the certificate that it shows")
            }
            (_, DECRYPT_ERROR) => format!(
                "{reason}: its certificate is not signed by the authority of that name that is trusted here, which may \
                 have been made anew since: {HOW_TO_TRUST}"
            ),
            (Trust::Fingerprint(pin), _) => format!(
                "its fingerprint is not the one pinned, {pin}: check the address, and pin the fingerprint that this \
                 hub printed when it started"
            ),
            _ if reason.contains("CaUsedAsEndEntity") => {
                "its certificate is an authority's (CA:TRUE), which no server can \
                show: make one with basicConstraints=CA:FALSE, or pin its fingerprint"
                    .into()
            }
            (_, UNKNOWN_CA) => format!("no authority that is trusted here has signed it: {HOW_TO_TRUST}"),
            _ => {
                let reason = reason.strip_prefix("invalid peer certificate: ").unwrap_or(reason);
                format!("{reason}: {HOW_TO_TRUST}")
            }
        };
        ConnectError::Untrusted { address: self.address(), message }
    }

    fn address(&self) -> String {
        self.address.to_string()
    }
}

/// What to do about a certificate that is not trusted.
const HOW_TO_TRUST: &str = "pin the fingerprint that a development hub prints when it starts (Trust::Fingerprint, \
                            HEADWATER_FINGERPRINT), or trust the file of its authority, or of its certificate if \
                            that signs itself (Trust::from_pem_file, HEADWATER_CA)";

fn is(number: VarInt, code: CloseCode) -> bool {
    number == VarInt::from_u32(code as u32)
}
