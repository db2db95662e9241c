//! Limits: every bound of the protocol and the client, in one place, with what it costs and what its extremes break.
//!
//! Owns: plain option structs and their presets. Must not know: who enforces them.
//! Units are in the names or, for [`Duration`], in the type. A preset is a starting point: every field is public.

use core::time::Duration;

/// 1,024 bytes.
const KIB: usize = 1024;
/// 1,048,576 bytes.
const MIB: usize = 1024 * KIB;
/// 1,073,741,824 bytes.
const GIB: u64 = 1024 * MIB as u64;

/// Longest name of a stream, a view or a column, bytes of UTF-8. Names go into plans, sessions and metrics' labels.
pub const NAME_BYTES_MAX: usize = 128;

/// The largest number of events (or of batches in doubt) that one batch may report, in any of its counts: no
/// producer aggregates 2.8e14 events into one batch, and a forged report must not pin the totals it is added to.
/// Encoders stop counting here; decoders refuse more.
pub const REPORT_MAX: u64 = 1 << 48;

/// Most events that one batch may claim for any one aggregate of a view, over all its groups: 2^40, a day of
/// one core at full speed. A state is a claim that nobody can check, and it is merged for ever: this bounds
/// what a forged one can do. A total passes bigint, and its answer becomes an error, only after 2^23 batches
/// that all claim the most. Part of the format ("States").
pub const BATCH_EVENTS_MAX: u64 = 1 << 40;

/// Longest text or bytea that a state may keep as it is (extremes, arguments at an extreme, heavy hitters, sets),
/// bytes. An event with a longer one is rejected by its view, at the rollup, and counted there as
/// `value_too_large`; hubs refuse states that hold one. Without it a value may fill a frame, and a set or top-k of
/// a hub hold thousands of those. As long as the longest group key. Part of the format ("States").
pub const VALUE_BYTES_MAX: usize = KIB;

/// Longest text or bytea that `concat`, `||` and `replace` make of a row, as long as one that `emit` takes by default; a
/// row beyond it is rejected (`overflow`). Without it one event of two long texts asks for gigabytes. Worst case of one
/// evaluation: this times the rows (1,024) times the nodes of a plan that make texts.
pub const COMPUTED_BYTES_MAX: usize = 64 * KIB;

/// Most that one event may weigh in a weighted heavy hitter: 2^32. Heavier ones are rejected like too long texts.
/// Three weights of 2^63 would be more than a state can count, and its answers errors for ever. Part of the format.
pub const WEIGHT_MAX: u64 = 1 << 32;

/// What stands for one event where a hub bounds the weight of one batch ([`BATCH_EVENTS_MAX`]): 2^16. All weight of
/// one aggregate in one batch is then at most 2^56: 16 million events of the heaviest kind, and no fewer than 256
/// batches of forged weights to fill a state. Part of the format.
pub const WEIGHT_PER_EVENT: u64 = 1 << 16;

// What SECURITY.md and FORMAT.md say of it.
const _: () =
    assert!(BATCH_EVENTS_MAX.ilog2() + WEIGHT_PER_EVENT.ilog2() == 56 && WEIGHT_MAX.ilog2() == 56 - 24);

/// What a decoder accepts of one batch payload, and what an encoder keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Longest payload, bytes. Default: native 4 MiB less a frame's own overhead. It bounds the memory of one
    /// received batch. Small values split a flush into more batches; below about 1 KiB single groups with
    /// sketches no longer fit and are dropped and counted (`oversized`).
    pub payload_bytes_max: usize,
    /// Most groups in one batch, over all its sections. Default: native 65,536, browser 4,096. Worst-case
    /// memory at the hub: this times (key + states) of one group.
    pub groups_max: usize,
    /// Longest group key, bytes. Default: native 1 KiB, browser 256. An event whose key in a view is longer is
    /// rejected by that view, at the rollup, and counted there as `key_too_long`; other views have it, and `emit` says
    /// so.
    pub key_bytes_max: usize,
    /// All keys of one batch after front coding is undone, bytes. Default: four frames. Front coding can make
    /// 3 bytes on the wire stand for a whole key: this is what bounds the memory of decoded keys.
    pub keys_bytes_max: usize,
    /// Most sections (views) in one batch. Default 1,024. A section without groups takes 6 bytes.
    pub sections_max: usize,
}

impl BatchLimits {
    /// Pages and holders of public keys.
    pub const BROWSER: Self = Self::for_frame(FrameLimits::BROWSER, 4_096, 256);
    /// Services using the native client.
    pub const NATIVE: Self = Self::for_frame(FrameLimits::NATIVE, 65_536, KIB);

    const fn for_frame(frame: FrameLimits, groups_max: usize, key_bytes_max: usize) -> Self {
        Self {
            payload_bytes_max: frame.body_bytes_max - crate::wire::BATCH_HEADER_BYTES_MAX,
            groups_max,
            key_bytes_max,
            keys_bytes_max: 4 * frame.body_bytes_max,
            sections_max: 1_024,
        }
    }

    /// These limits, or the hub's where they are tighter.
    pub fn within(self, session: &crate::wire::SessionLimits) -> Self {
        let frame = session.frame_bytes_max as usize;
        let payload = frame.saturating_sub(crate::wire::BATCH_HEADER_BYTES_MAX);
        Self {
            payload_bytes_max: self.payload_bytes_max.min(payload),
            groups_max: self.groups_max.min(session.batch_groups_max as usize).max(1),
            key_bytes_max: self.key_bytes_max.min(session.key_bytes_max as usize),
            keys_bytes_max: self.keys_bytes_max.min(frame.saturating_mul(4)),
            sections_max: self.sections_max,
        }
    }
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self::NATIVE
    }
}

/// How large a frame may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// Longest body, bytes. Default: browser 256 KiB, native 4 MiB, hub to hub 16 MiB. Worst-case memory: this
    /// per stream that is receiving. Below about 64 KiB plans of wide views may not fit.
    pub body_bytes_max: usize,
}

impl FrameLimits {
    /// Pages and holders of public keys.
    pub const BROWSER: Self = Self { body_bytes_max: 256 * KIB };
    /// A beacon on page hide: browsers allow 64 KiB in flight in all.
    pub const BEACON: Self = Self { body_bytes_max: 60 * KIB };
    /// Services using the native client.
    pub const NATIVE: Self = Self { body_bytes_max: 4 * MIB };
    /// Between hubs.
    pub const HUB: Self = Self { body_bytes_max: 16 * MIB };
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self::NATIVE
    }
}

/// How much an outbox holds and how it behaves when it may not hold more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxLimits {
    /// Payload bytes held in memory. Default: native 64 MiB, browser 1 MiB. Without a disk spool this is all the
    /// outbox holds; with one, batches beyond it are read back from disk when their turn comes.
    pub memory_bytes_max: usize,
    /// Payload bytes held on disk. Default: native 1 GiB, browser 5 MiB. The file itself is somewhat larger.
    pub disk_bytes_max: u64,
    /// Batches sent and not answered. Default 8 (C3). More hides a longer round trip, and costs the hub as
    /// many frames per producer; 1 means one round trip per batch.
    pub in_flight_max: usize,
    /// What happens to a flush that does not fit. Default: [`Overflow::Backpressure`].
    pub overflow: Overflow,
    /// What happens to batches that may or may not have been counted before the hub forgot this producer (C6).
    /// Default: [`InDoubt::Drop`].
    pub in_doubt: InDoubt,
}

impl OutboxLimits {
    /// Pages: small, and never in the page's way.
    pub const BROWSER: Self = Self {
        memory_bytes_max: MIB,
        disk_bytes_max: 5 * MIB as u64,
        in_flight_max: 8,
        overflow: Overflow::DropOldest,
        in_doubt: InDoubt::Drop,
    };
    /// Services using the native client.
    pub const NATIVE: Self = Self {
        memory_bytes_max: 64 * MIB,
        disk_bytes_max: GIB,
        in_flight_max: 8,
        overflow: Overflow::Backpressure,
        in_doubt: InDoubt::Drop,
    };
}

impl Default for OutboxLimits {
    fn default() -> Self {
        Self::NATIVE
    }
}

/// What a full outbox does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// Refuses the new batch: partials go on merging in the rollup, and once that is full too, `emit` says so.
    #[default]
    Backpressure,
    /// Drops the oldest batches to make room, and counts them: never transmitted ones first, as dropped; then
    /// transmitted ones, as in doubt.
    DropOldest,
}

/// What becomes of batches in doubt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum InDoubt {
    /// Dropped and counted: totals may miss them, and never hold them twice.
    #[default]
    Drop,
    /// Sent again under a new identity, and counted: totals may hold them twice, and do not miss them. Batches
    /// whose storing failed halfway are not: where the disk has them, the next process sends them.
    Resend,
}

/// The QUIC transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportLimits {
    /// Bidirectional streams the peer may open. Default: browser 16, native 64, hub to hub 256. Each can hold a
    /// stream window of memory. Below 2 a client cannot send while its control stream is open.
    pub streams_bidi_max: u32,
    /// Unidirectional streams the peer may open. Default as above; this version uses none.
    pub streams_uni_max: u32,
    /// Bytes buffered per stream. Default: browser 256 KiB, native 1 MiB, hub to hub 4 MiB. Throughput of one
    /// stream is at most this per round trip.
    pub stream_window_bytes: u32,
    /// Bytes buffered per connection, the worst-case memory of one peer. Default: 1, 8 and 32 MiB.
    pub connection_window_bytes: u32,
    /// Silence after which the connection is dead. Default 30 s, hub to hub 3 s. Small values cut off busy or
    /// sleeping peers; large ones delay failover.
    pub idle_timeout: Duration,
    /// Silence after which a keep-alive is sent. Default 10 s, hub to hub 0.5 s; at most a third of
    /// `idle_timeout`, so that two may be lost.
    pub keep_alive: Duration,
}

impl TransportLimits {
    /// Pages and holders of public keys.
    pub const BROWSER: Self = Self::new(16, 256 * KIB, MIB, 30_000, 10_000);
    /// Services using the native client.
    pub const NATIVE: Self = Self::new(64, MIB, 8 * MIB, 30_000, 10_000);
    /// Between hubs.
    pub const HUB: Self = Self::new(256, 4 * MIB, 32 * MIB, 3_000, 500);

    const fn new(
        streams: u32,
        stream_bytes: usize,
        connection_bytes: usize,
        idle_ms: u64,
        keep_alive_ms: u64,
    ) -> Self {
        Self {
            streams_bidi_max: streams,
            streams_uni_max: streams,
            stream_window_bytes: stream_bytes as u32,
            connection_window_bytes: connection_bytes as u32,
            idle_timeout: Duration::from_millis(idle_ms),
            keep_alive: Duration::from_millis(keep_alive_ms),
        }
    }
}

impl Default for TransportLimits {
    fn default() -> Self {
        Self::NATIVE
    }
}

/// Times of the exactly-once protocol and of late data. A cluster shares them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimits {
    /// How long a hub remembers a producer's dots, counted from its birth. Default 7 days; 24 h for outboxes
    /// that live in memory only. A client offline for longer has its transmitted batches in doubt. Cost: one
    /// session record (about 40 bytes) per producer born in that time.
    pub pid_lifetime: Duration,
    /// How late an event may be: hubs leave out older time buckets, and count them; clients do not look. Default 7 days.
    pub late_max: Duration,
    /// How far in the future an event or a producer's birth may be. Default 5 min; it covers clocks that were
    /// never set.
    pub future_skew_max: Duration,
}

impl TimeLimits {
    /// Outboxes that survive their process.
    pub const PERSISTENT: Self = Self {
        pid_lifetime: Duration::from_secs(7 * 24 * 3600),
        late_max: Duration::from_secs(7 * 24 * 3600),
        future_skew_max: Duration::from_secs(5 * 60),
    };
    /// Outboxes in memory only.
    pub const MEMORY_ONLY: Self = Self { pid_lifetime: Duration::from_secs(24 * 3600), ..Self::PERSISTENT };
}

impl Default for TimeLimits {
    fn default() -> Self {
        Self::PERSISTENT
    }
}

/// When a producer turns merged partials into batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushLimits {
    /// The oldest event waits at most this long while the hub answers. Default 500 ms, so that an event is
    /// readable within 1 s. Shorter means more and smaller batches; memory and bytes per event grow.
    pub age_max: Duration,
    /// Groups that one emitter holds before a flush is due. Default: native 65,536. Emitters of a stream meet at the
    /// flush, where a view's `group_cap` holds for all of them together; until then each holds that many.
    pub groups_max: usize,
    /// Heap bytes of merged partials, over all threads, above which `emit` reports back-pressure while the
    /// outbox is full. Looked at every `age_max`, because measuring walks all states. Default: native 64 MiB.
    pub rollup_bytes_max: usize,
    /// While the hub does not answer, partials go on merging in memory; with a disk spool they are written out
    /// at least this often, which bounds what a crash loses. Default 5 s.
    pub spool_age_max: Duration,
    /// Bytes of a stream's events, over all its emitters, held until its first plans arrive. Default 4 MiB; what does not
    /// fit is refused and counted.
    pub waiting_bytes_max: usize,
}

impl Default for FlushLimits {
    fn default() -> Self {
        Self {
            age_max: Duration::from_millis(500),
            groups_max: 65_536,
            rollup_bytes_max: 64 * MIB,
            spool_age_max: Duration::from_secs(5),
            waiting_bytes_max: 4 * MIB,
        }
    }
}

const _: () = {
    let presets = [TransportLimits::BROWSER, TransportLimits::NATIVE, TransportLimits::HUB];
    let mut i = 0;
    while i < presets.len() {
        assert!(presets[i].keep_alive.as_millis() * 3 <= presets[i].idle_timeout.as_millis());
        assert!(presets[i].stream_window_bytes <= presets[i].connection_window_bytes);
        i += 1;
    }
};
