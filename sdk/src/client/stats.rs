//! The ledger as a program sees it.

use super::error::ConnectError;
use super::{Link, Shared, lock};
use crate::ids::Pid;
use crate::outbox::{OutboxLedger, SpoolError};
use crate::wire::batch::DropCounts;

/// What became of every event: `generated + adopted = acked + in_outbox + rolled_up + waiting + dropped +
/// in_doubt`, up to what moves while it is read.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Events given to `emit`, whatever became of them.
    pub generated: u64,
    /// Events of batches a process before left in the spool.
    pub adopted: u64,
    /// Events merged into partials and not frozen yet.
    pub rolled_up: u64,
    /// Events that wait for their stream's first plan.
    pub waiting: u64,
    /// Events in frozen batches that are not acked.
    pub in_outbox: u64,
    /// Events acked at the level asked for.
    pub acked: u64,
    /// Events dropped, by reason.
    pub dropped: DropCounts,
    /// Events that may or may not have been counted (rule C6), and that were dropped.
    pub in_doubt: u64,
    /// Events that may or may not have been counted and that were sent again, as [`InDoubt::Resend`] asks for:
    /// they may count twice. They are in `in_outbox`, `acked` or `dropped` as well.
    ///
    /// [`InDoubt::Resend`]: crate::limits::InDoubt::Resend
    pub resent: u64,
    /// Events refused by `emit`, by the code of the error; they are in `dropped` too.
    pub refused: Vec<(&'static str, u64)>,
    /// Events rejected by a view's expressions, by reason; other views have them.
    pub rejected: DropCounts,
    /// The batches behind this.
    pub outbox: OutboxLedger,
    /// The identity in use.
    pub pid: Pid,
    /// What crossed the network.
    pub wire: WireBytes,
    /// True while a session is open.
    pub is_connected: bool,
    /// Why the last attempt to connect failed, or the last connection ended, while there is none. It is tried again.
    pub connect_error: Option<ConnectError>,
    /// Why the disk spool stopped, if it did; the outbox then lives in memory only, until the spool works again.
    pub spool_error: Option<SpoolError>,
    /// How often a spool that had failed was opened again.
    pub spool_reopened: u64,
}

/// UDP payload bytes of all connections of a client: batches, acks, plans and queries, with everything that QUIC and
/// TLS add.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WireBytes {
    /// Sent to hubs, repeats included.
    pub sent: u64,
    /// Received from hubs.
    pub received: u64,
}

impl WireBytes {
    pub(super) fn add(&mut self, connection: &quinn::Connection) {
        let stats = connection.stats();
        self.sent += stats.udp_tx.bytes;
        self.received += stats.udp_rx.bytes;
    }
}

impl Stats {
    pub(super) fn gather(shared: &Shared) -> Self {
        let mut stats = Self::default();
        let mut counts = super::producer::Counts::default();
        for stream in lock(&shared.streams).iter() {
            counts.merge(&stream.counts());
            let (rolled_up, waiting) = stream.held();
            stats.rolled_up += rolled_up;
            stats.waiting += waiting;
            stats.dropped.merge(&stream.dropped());
        }
        stats.wire = shared.wire();
        stats.connect_error = match &*shared.link.borrow() {
            Link::Down(error) => Some(error.clone()),
            Link::Starting | Link::Up(_) => None,
        };
        let status = lock(&shared.status);
        stats.generated = counts.generated;
        stats.refused = counts.refused;
        stats.dropped.merge(&status.outbox.dropped);
        stats.adopted = status.outbox.adopted_events;
        stats.in_outbox = status.outbox.held_events;
        stats.acked = status.outbox.acked_events;
        stats.in_doubt = status.outbox.in_doubt_events - status.outbox.resent_events;
        stats.resent = status.outbox.resent_events;
        stats.rejected = status.rejected.clone();
        stats.outbox = status.outbox.clone();
        stats.pid = status.pid;
        stats.is_connected = status.is_connected;
        stats.spool_error = status.spool_error.clone();
        stats.spool_reopened = status.spool_reopened;
        stats
    }
}
