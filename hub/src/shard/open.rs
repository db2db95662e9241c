//! Opening: from the data file to shard groups that can go on, after a clean stop, a crash or a failed write.
//!
//! Every open makes this hub primary in a new epoch (M1, M2): as the only copy it holds everything durable.

use super::admit::{read_output, readmit};
use super::core::{CoreOptions, HubId, Image, Placement, ReplayError, ShardCore};
use super::ledger::Ledger;
use super::log::LogSizes;
use super::overlay::Overlay;
use super::record::{self, Body, Window};
use super::session::Session;
use super::stats::{StatsByView, ViewStats};
use super::views::Views;
use crate::store::marker::FORMAT_VERSION;
use crate::store::tables::{group_key, log_key, parse_view_key, session_birth_key, session_key, view_key};
use crate::store::{Snapshot, Store, StoreError, Table, Transaction};
use headwater::codec::DecodeError;
use headwater::ids::{BootId, Lsn, Micros, Pid, ShardGroupId, ViewId};
use std::ops::ControlFlow;

/// Rows of `meta-2` about the file itself; two-byte keys are shard groups.
const META_FORMAT: &[u8] = b"format";
const META_CLUSTER: &[u8] = b"cluster";
const META_BOOT: &[u8] = b"boot";
const META_CLOCK: &[u8] = b"clock";

/// What does not change from one opening to the next.
#[derive(Clone, Debug)]
pub(super) struct OpenOptions {
    pub(super) cluster: [u8; 16],
    pub(super) hub: HubId,
    pub(super) shard_groups: u16,
    pub(super) core: CoreOptions,
}

/// One shard group as the writer holds it.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: ShardGroupId,
    pub(super) core: ShardCore,
    /// Totals as folded.
    pub(super) folded: Ledger,
    /// Totals of all committed batches.
    pub(super) total: Ledger,
    /// Groups per view in the base.
    pub(super) stats: StatsByView,
    /// Bytes of committed log records that are not folded.
    pub(super) log: LogSizes,
}

fn corrupted(what: &str, error: DecodeError) -> StoreError {
    match error {
        DecodeError::TooNew => StoreError::FormatTooNew { found: FORMAT_VERSION + 1, known: FORMAT_VERSION },
        error => StoreError::Corrupted(format!("{what}: {error}")),
    }
}

impl From<ReplayError> for StoreError {
    fn from(error: ReplayError) -> Self {
        StoreError::Corrupted(error.to_string())
    }
}

/// Counts this start of the process, durably. Also tells the time that was believed last; `now` when that is unknown.
pub(super) fn next_boot(
    store: &dyn Store,
    options: &OpenOptions,
    now: Micros,
) -> Result<(BootId, Micros), StoreError> {
    let snapshot = store.snapshot()?;
    check_file(&*snapshot, options)?;
    let number =
        |key: &[u8]| Ok::<_, StoreError>(snapshot.get(Table::Meta, key)?.and_then(|b| b.try_into().ok()));
    let boot = BootId(number(META_BOOT)?.map_or(0, u64::from_le_bytes)).next();
    let believed = number(META_CLOCK)?.map_or(now, |b| Micros(i64::from_le_bytes(b)));
    store.write(&mut |txn| {
        txn.put(Table::Meta, META_FORMAT, &FORMAT_VERSION.to_le_bytes())?;
        txn.put(Table::Meta, META_CLUSTER, &options.cluster)?;
        put_time(txn, believed)?;
        txn.put(Table::Meta, META_BOOT, &boot.0.to_le_bytes())
    })?;
    Ok((boot, believed))
}

/// Remembers the time that is believed, for the next start.
pub(super) fn put_time(txn: &mut dyn Transaction, believed: Micros) -> Result<(), StoreError> {
    txn.put(Table::Meta, META_CLOCK, &believed.0.to_le_bytes())
}

/// True when the base has sessions of producers born before `birth` (ms).
pub(super) fn has_sessions_below(
    snapshot: &dyn Snapshot,
    group: ShardGroupId,
    birth: u64,
) -> Result<bool, StoreError> {
    let (from, to) = (session_birth_key(group, 0), session_birth_key(group, birth));
    let mut any = false;
    snapshot.scan(Table::Session, &from, Some(&to), &mut |_, _| {
        any = true;
        ControlFlow::Break(())
    })?;
    Ok(any)
}

fn check_file(snapshot: &dyn Snapshot, options: &OpenOptions) -> Result<(), StoreError> {
    if let Some(format) = snapshot.get(Table::Meta, META_FORMAT)? {
        let found = format.try_into().map_or(0, u32::from_le_bytes);
        if found > FORMAT_VERSION {
            return Err(StoreError::FormatTooNew { found, known: FORMAT_VERSION });
        }
    }
    match snapshot.get(Table::Meta, META_CLUSTER)? {
        Some(cluster) if cluster != options.cluster => {
            Err(StoreError::Corrupted("the data file belongs to another cluster than its directory".into()))
        }
        _ => Ok(()),
    }
}

/// Loads all shard groups (records of version 1 are read by `window`), replays their logs into fresh overlays, and takes office in a new epoch.
pub(super) fn load(
    store: &dyn Store,
    options: &OpenOptions,
    boot: BootId,
    views: &Views,
    window: Window,
) -> Result<Vec<(Group, Overlay)>, StoreError> {
    let snapshot = store.snapshot()?;
    let mut loaded = Vec::with_capacity(usize::from(options.shard_groups));
    for id in 0..options.shard_groups {
        loaded.push(load_group(&*snapshot, ShardGroupId(id), options, boot, views, window)?);
    }
    store.write(&mut |txn| {
        for (group, _) in &loaded {
            let image = Image { epoch: group.core.epoch(), ..*group.core.image() };
            txn.put(Table::Meta, &group_key(group.id), &image.encode())?;
        }
        Ok(())
    })?;
    Ok(loaded)
}

fn load_group(
    snapshot: &dyn Snapshot,
    id: ShardGroupId,
    options: &OpenOptions,
    boot: BootId,
    views: &Views,
    window: Window,
) -> Result<(Group, Overlay), StoreError> {
    let image = image(snapshot, id)?;
    let ledger = snapshot.get(Table::Ledger, &group_key(id))?;
    let ledger = ledger.map(|b| Ledger::decode(&b)).transpose().map_err(|e| corrupted("ledger", e))?;
    let ledger = ledger.unwrap_or_default();
    let placement = Placement { epoch: image.epoch.next(), primary: options.hub, boot, in_sync: Vec::new() };
    let core = ShardCore::open(options.hub, boot, placement, options.core, image);
    let mut group = Group {
        id,
        core,
        folded: ledger.clone(),
        total: ledger,
        stats: load_stats(snapshot, id)?,
        log: LogSizes::default(),
    };
    let overlay = Overlay::new(image.folded);
    replay(snapshot, &mut group, &overlay, views, window)?;
    Ok((group, overlay))
}

/// Where the last fold of a shard group ended.
pub(super) fn image(snapshot: &dyn Snapshot, id: ShardGroupId) -> Result<Image, StoreError> {
    let bytes = snapshot.get(Table::Meta, &group_key(id))?;
    let image = bytes.map(|b| Image::decode(&b)).transpose().map_err(|e| corrupted("shard group", e))?;
    Ok(image.unwrap_or_default())
}

fn load_stats(snapshot: &dyn Snapshot, id: ShardGroupId) -> Result<StatsByView, StoreError> {
    let mut stats = StatsByView::new();
    let mut result = Ok(());
    let from = view_key(id, ViewId(0));
    snapshot.scan(Table::View, &from, None, &mut |key, value| {
        let Some((group, view)) = parse_view_key(key) else {
            result = Err(StoreError::Corrupted("key of view statistics".into()));
            return ControlFlow::Break(());
        };
        if group != id {
            return ControlFlow::Break(());
        }
        match ViewStats::decode(value) {
            Ok(row) => drop(stats.insert(view, row)),
            Err(e) => result = Err(corrupted("view statistics", e)),
        }
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    result.map(|()| stats)
}

/// Takes every record behind the fold back into the core and the overlay.
fn replay(
    snapshot: &dyn Snapshot,
    group: &mut Group,
    overlay: &Overlay,
    views: &Views,
    window: Window,
) -> Result<(), StoreError> {
    let mut chain = group.core.image().chain;
    let from = log_key(group.id, group.core.image().folded.next());
    let to = log_key(group.id, Lsn(u64::MAX));
    let mut result = Ok(());
    snapshot.scan(Table::Log, &from, Some(&to), &mut |_, bytes| {
        result = replay_record(snapshot, group, overlay, views, window, bytes, &mut chain);
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    result
}

fn replay_record(
    snapshot: &dyn Snapshot,
    group: &mut Group,
    overlay: &Overlay,
    views: &Views,
    window: Window,
    bytes: &[u8],
    chain: &mut record::Chain,
) -> Result<(), StoreError> {
    let (record, next) = record::decode(bytes, *chain).map_err(|e| corrupted("log record", e))?;
    *chain = next;
    let id = group.id;
    group.core.replay(&record, next, |pid| stored_session(snapshot, id, pid))?;
    group.log.push(record.lsn, bytes.len() as u64);
    let Body::Data { payload, window: recorded, dot, .. } = record.body else {
        overlay.skip(record.lsn);
        return Ok(());
    };
    let partials = match record::is_output(&dot.pid) {
        true => read_output(payload, record.time, views),
        false => readmit(payload, record.time, recorded.unwrap_or(window), views),
    };
    group.total.merge(&partials.ledger);
    overlay.merge(record.lsn, partials);
    Ok(())
}

/// A producer's session in the base.
pub(super) fn stored_session(
    snapshot: &dyn Snapshot,
    group: ShardGroupId,
    pid: &Pid,
) -> Result<Option<Session>, StoreError> {
    let bytes = snapshot.get(Table::Session, &session_key(group, pid))?;
    bytes.map(|b| Session::decode(&b)).transpose().map_err(|e| corrupted("session", e))
}
