//! Why connections and sessions end.

/// Why the hub ends a session or a stream. Numbers are QUIC application error codes: wire format (`FORMAT.md`,
/// "Codes").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum CloseCode {
    /// Nothing is wrong: the hub or the client is going away.
    Done = 0,
    /// Bytes that are not a frame.
    Malformed = 1,
    /// A frame or a number above its limit.
    TooLarge = 2,
    /// A frame where it is not legal.
    Protocol = 3,
    /// No protocol version in common.
    Version = 4,
    /// The token is missing or wrong.
    Unauthorized = 5,
    /// No room for more frames or connections.
    Busy = 6,
    /// A frame was begun and not completed in time.
    Slow = 7,
}

impl CloseCode {
    /// All codes, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Done,
        Self::Malformed,
        Self::TooLarge,
        Self::Protocol,
        Self::Version,
        Self::Unauthorized,
        Self::Busy,
        Self::Slow,
    ];

    /// The stable text of this code in failures, logs and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Protocol => "protocol",
            Self::Version => "version",
            Self::Unauthorized => "unauthorized",
            Self::Busy => "busy",
            Self::Slow => "slow",
        }
    }
}
