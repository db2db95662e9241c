//! The hub's half of the protocol as a pure state machine: frames in, frames and actions out.
//!
//! Owns: which frame is legal when, tokens, versions, which plans a session has. Must not know: sockets,
//! time, storage.
//! Invariants: what a peer sends decides at most about its own session; every refusal is a [`Close`] with a
//! stable code; plans are pushed exactly when those of the session's streams changed.
//!
//! Call order: [`Session::handle_control`] for each frame of the control stream, [`Session::handle_catalog`]
//! whenever the catalog changed; [`Policy::handle_request`] for the one frame of every other stream.

use headwater::codec::DecodeError;
use headwater::ids::{BootId, ClusterId, Micros, RouteVersion};
use headwater::limits::NAME_BYTES_MAX;
pub use headwater::wire::CloseCode;
use headwater::wire::{
    AckLevel, BatchFrame, ClockReply, ClockRequest, Failure, Frame, FrameKind, Hello, Plans, Query, Resume,
    SessionLimits, StreamPlans, Welcome, encode_control,
};
use headwater_sql::source::CatalogSnapshot;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// Protocol versions this hub speaks, best first.
pub const VERSIONS: &[u16] = &[1];

/// Bytes of all names of streams that a session asks for: as many of the longest as it may have by default.
const STREAM_NAMES_BYTES_MAX: usize = 256 * NAME_BYTES_MAX;

/// What a Welcome carries beside the plans, generously.
const WELCOME_BYTES: usize = 256;

/// The end of a session (or of one stream), and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// For programs.
    pub code: CloseCode,
    /// For people.
    pub message: String,
}

impl Close {
    /// An end with its reason.
    pub fn new(code: CloseCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The frame that tells the peer.
    pub fn failure(&self) -> Failure {
        Failure { code: self.code.code().into(), message: self.message.clone(), position: None, hint: None }
    }
}

impl From<DecodeError> for Close {
    fn from(error: DecodeError) -> Self {
        let code = match error {
            DecodeError::TooLarge(_) => CloseCode::TooLarge,
            DecodeError::TooNew => CloseCode::Version,
            _ => CloseCode::Malformed,
        };
        Self::new(code, error.to_string())
    }
}

/// What all sessions of one door share.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Acceptable tokens; none = everybody may.
    pub tokens: Vec<String>,
    /// What producers must keep.
    pub limits: SessionLimits,
    /// Streams that one session may ask for.
    pub streams_max: usize,
    /// This start of the hub.
    pub boot: BootId,
    /// Whom the hub belongs to.
    pub cluster: ClusterId,
}

/// What the driver is asked to do with a frame of the control stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Control {
    /// Send this; the session is open.
    Welcome(Box<Welcome>),
    /// Send this.
    Clock(ClockReply),
    /// Look the producer up and send what is held.
    Resume(Resume),
}

/// What the driver is asked to do with a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Submit it and send the outcomes.
    Batch(BatchFrame),
    /// Run it and send the answer.
    Query(Query),
}

impl Policy {
    /// True when the hub accepts `token`. Compares every byte of every token whatever the input, so that
    /// time does not tell how much of a guess was right.
    pub fn admits(&self, token: Option<&str>) -> bool {
        let given = token.unwrap_or_default().as_bytes();
        let hits = self.tokens.iter().map(|known| u8::from(equal(known.as_bytes(), given)));
        self.tokens.is_empty() || hits.fold(0, |any, hit| any | hit) == 1
    }

    /// Refuses a token that the hub does not accept.
    ///
    /// # Errors
    /// [`CloseCode::Unauthorized`].
    pub fn check(&self, token: Option<&str>) -> Result<(), Close> {
        if self.admits(token) {
            return Ok(());
        }
        let message = if token.is_some() { "the token is not accepted" } else { "a token is needed" };
        Err(Close::new(CloseCode::Unauthorized, message))
    }

    /// The one frame of a stream that is not the control stream. `welcomed`: the connection's session is
    /// open. Queries carry their own token and need no session.
    ///
    /// # Errors
    /// [`CloseCode::Protocol`] for another kind of frame, or a batch before the welcome; [`CloseCode::Malformed`] or
    /// [`CloseCode::TooLarge`] when the body does not read; [`CloseCode::Unauthorized`] for the token of a query.
    pub fn handle_request(&self, frame: &Frame<'_>, welcomed: bool) -> Result<Request, Close> {
        match frame.kind {
            FrameKind::Batch if welcomed => Ok(Request::Batch(frame.decode()?)),
            FrameKind::Batch => {
                Err(Close::new(CloseCode::Protocol, "a batch before the session was welcomed"))
            }
            FrameKind::Query => {
                let query: Query = frame.decode()?;
                self.check(query.token.as_deref())?;
                Ok(Request::Query(query))
            }
            kind => Err(out_of_place(kind)),
        }
    }
}

fn equal(known: &[u8], given: &[u8]) -> bool {
    let difference = known.iter().enumerate().fold(known.len() ^ given.len(), |sum, (at, byte)| {
        sum | usize::from(byte ^ given.get(at).copied().unwrap_or(!*byte))
    });
    std::hint::black_box(difference) == 0
}

fn out_of_place(kind: FrameKind) -> Close {
    Close::new(CloseCode::Protocol, format!("a {kind:?} frame is not legal here"))
}

/// One session: what one client asked for and was told.
#[derive(Debug)]
pub struct Session {
    policy: Arc<Policy>,
    streams: Vec<String>,
    /// Hash of the plans the client has; `None` before it was welcomed.
    known: Option<u64>,
}

impl Session {
    /// A session that was not greeted yet.
    pub fn new(policy: Arc<Policy>) -> Self {
        Self { policy, streams: Vec::new(), known: None }
    }

    /// True after the first [`Control::Welcome`].
    pub fn is_open(&self) -> bool {
        self.known.is_some()
    }

    /// A frame of the control stream.
    ///
    /// # Errors
    /// [`CloseCode::Protocol`] for a frame that is not legal here or comes before a Hello; [`CloseCode::Malformed`]
    /// when the body does not read; those of [`Session::handle_hello`].
    pub fn handle_control(
        &mut self,
        frame: &Frame<'_>,
        now: Micros,
        catalog: &CatalogSnapshot,
    ) -> Result<Control, Close> {
        match frame.kind {
            FrameKind::Hello => {
                self.handle_hello(frame.decode()?, now, catalog).map(Box::new).map(Control::Welcome)
            }
            _ if !self.is_open() => Err(Close::new(CloseCode::Protocol, "the first frame must be a Hello")),
            FrameKind::ClockRequest => {
                let request: ClockRequest = frame.decode()?;
                Ok(Control::Clock(ClockReply { sent: request.sent, time: now }))
            }
            FrameKind::Resume => Ok(Control::Resume(frame.decode()?)),
            kind => Err(out_of_place(kind)),
        }
    }

    /// Opens the session, or replaces its list of streams.
    ///
    /// # Errors
    /// [`CloseCode::Version`] without a common one; [`CloseCode::Unauthorized`]; [`CloseCode::TooLarge`] for too many
    /// streams, too long names, or plans that do not fit a frame.
    pub fn handle_hello(
        &mut self,
        hello: Hello,
        now: Micros,
        catalog: &CatalogSnapshot,
    ) -> Result<Welcome, Close> {
        let version = *VERSIONS.iter().find(|version| hello.versions.contains(version)).ok_or_else(|| {
            Close::new(CloseCode::Version, format!("this hub speaks versions {VERSIONS:?} of the protocol"))
        })?;
        self.policy.check(hello.token.as_deref())?;
        if hello.streams.len() > self.policy.streams_max {
            return Err(Close::new(
                CloseCode::TooLarge,
                format!("more than {} streams", self.policy.streams_max),
            ));
        }
        // A name that is too long for a stream is one of an unknown stream, and costs the others nothing.
        if hello.streams.iter().map(String::len).sum::<usize>() > STREAM_NAMES_BYTES_MAX {
            return Err(Close::new(
                CloseCode::TooLarge,
                format!("names of streams of more than {STREAM_NAMES_BYTES_MAX} bytes"),
            ));
        }
        self.streams = hello.streams;
        self.streams.sort_unstable();
        self.streams.dedup();
        let (plans, known) = self.plans_that_fit(catalog)?;
        self.known = Some(known);
        Ok(Welcome {
            version,
            time: now,
            boot: self.policy.boot,
            catalog: plans.catalog,
            route: RouteVersion::default(),
            ack_level_max: AckLevel::Replicated,
            limits: self.policy.limits,
            streams: plans.streams,
            unknown_streams: plans.unknown_streams,
            cluster: self.policy.cluster,
        })
    }

    /// The catalog changed: the plans to push, when those of this session did.
    ///
    /// # Errors
    /// [`CloseCode::TooLarge`] when they do not fit a frame.
    pub fn handle_catalog(&mut self, catalog: &CatalogSnapshot) -> Result<Option<Plans>, Close> {
        let Some(known) = self.known else { return Ok(None) };
        let (plans, now) = self.plans_that_fit(catalog)?;
        self.known = Some(now);
        Ok((now != known).then_some(plans))
    }

    /// The plans of this session's streams.
    ///
    /// # Errors
    /// They do not fit a frame.
    pub fn plans(&self, catalog: &CatalogSnapshot) -> Result<Plans, Close> {
        self.plans_that_fit(catalog).map(|(plans, _)| plans)
    }

    /// The plans and their fingerprint. Peers do not read frames above the limit of their door: better a reason
    /// than a frame that breaks the connection.
    fn plans_that_fit(&self, catalog: &CatalogSnapshot) -> Result<(Plans, u64), Close> {
        let plans = self.all_plans(catalog);
        let (hash, bytes) = fingerprint(&plans);
        let bytes_max = (self.policy.limits.frame_bytes_max as usize).saturating_sub(WELCOME_BYTES);
        if bytes <= bytes_max {
            return Ok((plans, hash));
        }
        let message =
            format!("the plans of these streams take {bytes} bytes, above {bytes_max}: feed fewer streams");
        Err(Close::new(CloseCode::TooLarge, message))
    }

    fn all_plans(&self, catalog: &CatalogSnapshot) -> Plans {
        let mut plans = Plans { catalog: catalog.version, streams: Vec::new(), unknown_streams: Vec::new() };
        for name in &self.streams {
            match catalog.stream(name) {
                Some(stream) => plans.streams.push(StreamPlans {
                    schema: stream.schema.clone(),
                    plans: catalog.plans_of(stream.schema.id),
                }),
                None => plans.unknown_streams.push(name.clone()),
            }
        }
        plans
    }
}

/// A hash, equal for equal plans, and their bytes, whatever the catalog's version: a view of another stream is no news.
fn fingerprint(plans: &Plans) -> (u64, usize) {
    let mut bytes = Vec::new();
    encode_control(&(&plans.streams, &plans.unknown_streams), &mut bytes);
    (xxh3_64(&bytes), bytes.len())
}

#[cfg(test)]
mod tests;
