//! What handles, scans and the writer share: the inbox, the overlays, the newest views, published status.

use super::admit::{AdmitOptions, NotAdmitted, admit, weight};
use super::janitor::Expired;
use super::ledger::Ledger;
use super::options::ShardOptions;
use super::overlay::{Overlay, Partials};
use super::record::Window;
use super::route::route;
use super::scan::Leases;
use super::status::{Latency, ShardGroupStatus, ShardStatus, ViewStatus};
use super::views::Views;
use super::{Clock, Outcome, refused};
use crate::catalog::Catalog;
use crate::store::{Store, StoreError};
use headwater::ids::{BootId, Micros, ShardGroupId, ViewId};
use headwater::limits::BatchLimits;
use headwater::wire::batch::payload_hash;
use headwater::wire::{BatchFrame, Refused, RefusedCode, Resume, Resumed};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, mpsc as sync_mpsc};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// What the writer is asked to do.
pub(super) enum Message {
    Batch(Box<Admitted>),
    Resume(Resume, oneshot::Sender<Result<Resumed, Refused>>),
    /// One page of removing a view's expired rows; the first one (`true`) folds before.
    Expire(ViewId, bool, oneshot::Sender<Result<Expired, StoreError>>),
    /// Folds until nothing is left, so that chained views are up to date.
    Settle(oneshot::Sender<Result<(), StoreError>>),
    Shutdown(oneshot::Sender<Result<(), StoreError>>),
}

/// A batch that passed admission.
pub(super) struct Admitted {
    pub(super) group: ShardGroupId,
    pub(super) frame: BatchFrame,
    pub(super) hash: u64,
    /// When it arrived: what the record will say.
    pub(super) time: Micros,
    /// What it was admitted by: the record says that, too.
    pub(super) window: Window,
    pub(super) partials: Partials,
    pub(super) reply: mpsc::UnboundedSender<Outcome>,
    /// Its place in the inbox, kept until it is answered.
    pub(super) _place: OwnedSemaphorePermit,
}

pub(super) struct Shared {
    pub(super) options: ShardOptions,
    pub(super) catalog: Catalog,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Clock,
    pub(super) boot: BootId,
    /// One per shard group.
    pub(super) overlays: Vec<Overlay>,
    pub(super) leases: Leases,
    views: RwLock<Arc<Views>>,
    inbox: sync_mpsc::Sender<Message>,
    /// One permit per [`PLACE_BYTES`] of what waits in the inbox.
    places: Arc<Semaphore>,
    noted: Mutex<Noted>,
    /// Rows that a read found damaged, for the writer to set aside.
    damaged: Mutex<BTreeSet<DamagedRow>>,
    /// Views of which a read found fewer rows than there should be, for the writer to count.
    lost: Mutex<BTreeSet<ViewId>>,
    pub(super) published: Mutex<Published>,
    /// The writer is gone or going.
    pub(super) closed: AtomicBool,
    /// The writer thread; it holds the files until it has ended.
    pub(super) writer: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// What the writer tells about itself after every transaction.
#[derive(Clone, Debug, Default)]
pub(super) struct Published {
    pub(super) storage_error: Option<StoreError>,
    pub(super) ledger: Ledger,
    pub(super) shards: Vec<ShardGroupStatus>,
    pub(super) views: Vec<ViewStatus>,
    pub(super) commits: Latency,
    /// Until when, by steady time, a wall clock that jumped removes nothing.
    pub(super) hold_until: Option<Micros>,
}

/// Counts that change no state (refusals, duplicates): kept here until a fold writes them.
#[derive(Clone, Debug, Default)]
pub(super) struct Noted {
    /// Since the last fold began.
    pub(super) fresh: Ledger,
    /// What the fold in progress writes.
    pub(super) folding: Ledger,
}

impl Noted {
    pub(super) fn begin_fold(&mut self) -> Ledger {
        let fresh = std::mem::take(&mut self.fresh);
        self.folding.merge(&fresh);
        self.folding.clone()
    }

    /// The fold's counts are in the published totals now, or must be written by a later fold.
    pub(super) fn end_fold(&mut self, written: bool) {
        let folding = std::mem::take(&mut self.folding);
        if !written {
            self.fresh.merge(&folding);
        }
    }
}

/// A row of the base: shard group, view, group key.
pub(super) type DamagedRow = (ShardGroupId, ViewId, Vec<u8>);

/// Damaged rows remembered at a time; the next read finds the others.
const DAMAGED_ROWS_MAX: usize = 1_024;

/// The unit of the inbox's bound.
const PLACE_BYTES: usize = 1 << 10;

impl Shared {
    pub(super) fn new(
        store: Arc<dyn Store>,
        options: ShardOptions,
        catalog: Catalog,
        clock: Clock,
        boot: BootId,
        overlays: Vec<Overlay>,
    ) -> (Arc<Self>, sync_mpsc::Receiver<Message>) {
        let (inbox, messages) = sync_mpsc::channel();
        let places = Arc::new(Semaphore::new(options.inbox_bytes.div_ceil(PLACE_BYTES).max(1)));
        let views = RwLock::new(Arc::new(Views::new(&catalog.snapshot(), &Views::default())));
        let shared = Self {
            options,
            catalog,
            store,
            clock,
            boot,
            overlays,
            leases: Leases::default(),
            views,
            inbox,
            places,
            noted: Mutex::default(),
            damaged: Mutex::default(),
            lost: Mutex::default(),
            published: Mutex::default(),
            closed: AtomicBool::new(false),
            writer: Mutex::default(),
        };
        (Arc::new(shared), messages)
    }

    pub(super) fn now(&self) -> Micros {
        (self.clock.wall)()
    }

    /// The views of the newest catalog.
    pub(super) fn views(&self) -> Arc<Views> {
        let catalog = self.catalog.snapshot();
        let known = self.views.read().unwrap_or_else(PoisonError::into_inner).clone();
        if known.version == catalog.version {
            return known;
        }
        let mut slot = self.views.write().unwrap_or_else(PoisonError::into_inner);
        if slot.version < catalog.version {
            *slot = Arc::new(Views::new(&catalog, &slot));
        }
        slot.clone()
    }

    /// A read could not read a row: the writer sets it aside in its next round.
    pub(super) fn report_damaged(&self, row: DamagedRow) {
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        if damaged.len() < DAMAGED_ROWS_MAX {
            damaged.insert(row);
        }
    }

    pub(super) fn take_damaged(&self) -> BTreeSet<DamagedRow> {
        std::mem::take(&mut *self.damaged.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A read of a whole view found fewer rows than its statistics say: the writer counts them in its next round.
    pub(super) fn report_lost(&self, view: ViewId) {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).insert(view);
    }

    pub(super) fn take_lost(&self) -> BTreeSet<ViewId> {
        std::mem::take(&mut *self.lost.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn published(&self) -> MutexGuard<'_, Published> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a message; `Err` once the writer is gone.
    pub(super) fn send(&self, message: Message) -> Result<(), ()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(());
        }
        self.inbox.send(message).map_err(|_| ())
    }

    /// Admits a batch within limits and queues it for the writer.
    pub(super) async fn submit(
        &self,
        frame: BatchFrame,
        limits: BatchLimits,
    ) -> Result<mpsc::UnboundedReceiver<Outcome>, Refused> {
        let (pid, seq) = (frame.pid, frame.seq);
        let refuse = |code, message: &str| {
            self.noted().fresh.refuse(code);
            refused(pid, seq, code, message)
        };
        // Nobody asks for more places than there are: what is larger comes alone.
        let bytes = weight(&frame.payload, &self.views(), &limits).min(self.options.inbox_bytes);
        let places = u32::try_from(bytes.div_ceil(PLACE_BYTES).max(1)).unwrap_or(1);
        let place = self.places.clone().acquire_many_owned(places).await;
        let Ok(place) = place else {
            return Err(refuse(RefusedCode::Unavailable, "the hub is shutting down"));
        };
        let time = self.now();
        let mut options = AdmitOptions { limits, window: self.options.window() };
        if frame.backfill {
            if !self.options.backfill {
                return Err(refuse(RefusedCode::Unauthorized, "this hub takes no backfill"));
            }
            options.window.late_max = None;
        }
        let partials = admit(&frame.payload, time, &self.views(), &options)
            .map_err(|NotAdmitted { code, message }| refuse(code, &message))?;
        let settings = self.catalog.settings();
        let group = route(&settings.routing_key, &pid, settings.shard_groups);
        let hash = payload_hash(&frame.payload);
        let (reply, outcomes) = mpsc::unbounded_channel();
        let window = options.window;
        let admitted = Admitted { group, frame, hash, time, window, partials, reply, _place: place };
        self.send(Message::Batch(Box::new(admitted)))
            .map_err(|()| refuse(RefusedCode::Unavailable, "the hub is shutting down"))?;
        Ok(outcomes)
    }

    fn published_with_noted(&self) -> Published {
        let published = self.published();
        let mut copy = published.clone();
        let noted = self.noted();
        copy.ledger.merge(&noted.fresh);
        copy.ledger.merge(&noted.folding);
        copy
    }

    pub(super) fn status(&self) -> ShardStatus {
        let Published { storage_error, ledger, mut shards, views, commits, hold_until } =
            self.published_with_noted();
        let min_birth = shards.iter().map(|shard| shard.min_birth).max().unwrap_or(0);
        let clock_behind = behind(min_birth, self.now());
        for (shard, overlay) in shards.iter_mut().zip(&self.overlays) {
            let (groups, bytes) = overlay.size();
            shard.overlay_groups = groups as u64;
            shard.overlay_bytes = bytes as u64;
        }
        ShardStatus {
            boot: self.boot,
            storage_ok: storage_error.is_none(),
            storage_error,
            ledger,
            shards,
            views,
            file_bytes: self.store.file_bytes(),
            commits,
            clock_hold: hold_until.map_or(Duration::ZERO, |until| span((self.clock.steady)(), until)),
            clock_behind,
        }
    }
}

/// By how much `now` is before `min_birth` (ms): until then everybody is too old, whoever is born now among them.
fn behind(min_birth: u64, now: Micros) -> Duration {
    let min_birth = i64::try_from(min_birth).unwrap_or(i64::MAX).saturating_mul(1_000);
    span(now, Micros(min_birth))
}

/// From `since` to `until`, if that is later.
fn span(since: Micros, until: Micros) -> Duration {
    Duration::from_micros(u64::try_from(until.0.saturating_sub(since.0)).unwrap_or(0))
}
