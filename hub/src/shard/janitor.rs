//! The janitor: removes rows nobody will read again, a bounded number per transaction.
//!
//! Owns: rows of dropped views, and rows past their view's `ttl`. Must not know: the log. Where the TTL column
//! leads the key, expired rows are one key range; elsewhere the view is walked page by page.

use super::open::Group;
use super::shared::Shared;
use super::views::{ViewShape, Views};
use crate::store::tables::{base_end, base_prefix, view_key};
use crate::store::{StoreError, Table};
use headwater::ids::{Micros, ShardGroupId, ViewId};
use headwater::value::key::encode_value;
use headwater::value::{DataType, Value};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// Rows removed, or looked at, in one transaction.
const ROWS_MAX: u64 = 4_096;
/// How often a view's rows are checked for their age.
const TTL_INTERVAL: Duration = Duration::from_secs(60);

/// What is left to do.
#[derive(Debug, Default)]
pub(super) struct Janitor {
    /// Where the walk over a view stands, and when the next one starts.
    walks: HashMap<(ShardGroupId, ViewId), Walk>,
}

#[derive(Debug)]
struct Walk {
    /// The base key to go on from; `None` = from the view's first.
    next: Option<Vec<u8>>,
    due: Instant,
}

/// What one page of an expiry on demand has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// Rows removed.
    pub rows: u64,
    /// False: there are more to look at.
    pub is_done: bool,
}

impl Janitor {
    /// Does one bounded piece of work, if there is any. Rows are as old as `now` says: a time that may remove things.
    ///
    /// # Errors
    /// Storage failed.
    pub(super) fn work(
        &mut self,
        shared: &Shared,
        groups: &mut [Group],
        now: Micros,
    ) -> Result<(), StoreError> {
        let views = shared.views();
        for (at, group) in groups.iter_mut().enumerate() {
            // View 0 counts what belongs to no view.
            let mut dropped = group.stats.keys().copied().filter(|view| view.0 > 0 && !views.exists(*view));
            if let Some(view) = dropped.next() {
                drop(dropped);
                shared.overlays[at].drop_view(view);
                return self.remove_dropped(shared, group, view);
            }
            if let Some(shape) = self.due(group, &views) {
                return self.remove_expired(shared, group, shape, now).map(drop);
            }
        }
        Ok(())
    }

    /// Removes, before anybody is served, all rows of views that the catalog has never heard of: it is an older copy than
    /// the data, and would give their ids to new views.
    ///
    /// # Errors
    /// Storage failed.
    pub(super) fn remove_unheard(
        &mut self,
        shared: &Shared,
        groups: &mut [Group],
        last: ViewId,
    ) -> Result<(), StoreError> {
        for (at, group) in groups.iter_mut().enumerate() {
            while let Some(view) = group.stats.keys().copied().find(|view| *view > last) {
                tracing::error!(%view, "the data has a view that the catalog does not know: the catalog is an older copy; its rows are removed");
                shared.overlays[at].drop_view(view);
                self.remove_dropped(shared, group, view)?;
            }
        }
        Ok(())
    }

    fn remove_dropped(&mut self, shared: &Shared, group: &mut Group, view: ViewId) -> Result<(), StoreError> {
        self.walks.remove(&(group.id, view));
        let from = base_prefix(group.id, view);
        let Some(to) = base_end(group.id, view) else { return Ok(()) };
        let mut removed = 0;
        shared.store.write(&mut |txn| {
            let weights = txn.remove_range(Table::Weight, &from, &to, ROWS_MAX)?;
            removed = weights.max(txn.remove_range(Table::Base, &from, &to, ROWS_MAX)?);
            if removed < ROWS_MAX {
                // The quarantine's keys begin alike.
                txn.remove_range(Table::Quarantine, &from, &to, u64::MAX)?;
                txn.remove(Table::View, &view_key(group.id, view))?;
            }
            Ok(())
        })?;
        if removed < ROWS_MAX {
            group.stats.remove(&view);
            tracing::info!(%view, "all rows of a dropped view are removed");
        }
        Ok(())
    }

    /// A view with a TTL whose next walk, or next page of it, is due.
    fn due<'v>(&self, group: &Group, views: &'v Views) -> Option<&'v ViewShape> {
        let now = Instant::now();
        let is_due = |view| self.walks.get(&(group.id, view)).is_none_or(|w| w.due <= now);
        let shapes = views.iter().filter(|s| s.ttl.is_some() && group.stats.contains_key(&s.id));
        shapes.map(|s| &**s).find(|s| is_due(s.id))
    }

    /// Does one page of a view's walk in every shard group, whether it is due or not. The rows removed, and whether
    /// the walk goes on.
    ///
    /// # Errors
    /// Storage failed.
    pub(super) fn expire(
        &mut self,
        shared: &Shared,
        groups: &mut [Group],
        (view, begin): (ViewId, bool),
        now: Micros,
    ) -> Result<Expired, StoreError> {
        let mut expired = Expired { rows: 0, is_done: true };
        let Some(shape) = shared.views().get(view).cloned() else { return Ok(expired) };
        for group in groups.iter_mut().filter(|group| group.stats.contains_key(&view)) {
            let at = (group.id, view);
            if begin {
                self.walks.remove(&at);
            }
            if self.walks.get(&at).is_none_or(|walk| walk.next.is_some()) {
                expired.rows += self.remove_expired(shared, group, &shape, now)?;
            }
            expired.is_done &= self.walks.get(&at).is_none_or(|walk| walk.next.is_none());
        }
        Ok(expired)
    }

    fn remove_expired(
        &mut self,
        shared: &Shared,
        group: &mut Group,
        shape: &ViewShape,
        now: Micros,
    ) -> Result<u64, StoreError> {
        let Some(ttl) = shape.ttl else { return Ok(0) };
        let cutoff = Micros(now.0.saturating_sub(ttl.age));
        let (removed, next) = if ttl.column == 0 {
            remove_leading(shared, group.id, shape, cutoff)?
        } else {
            let from = self.walks.get(&(group.id, shape.id)).and_then(|w| w.next.clone());
            remove_page(shared, group.id, shape, cutoff, from)?
        };
        if removed > 0 {
            self.count_removed(shared, group, shape.id, removed)?;
        }
        let due = if next.is_some() { Instant::now() } else { Instant::now() + TTL_INTERVAL };
        self.walks.insert((group.id, shape.id), Walk { next, due });
        Ok(removed)
    }

    /// Follows the removal with the view's row count. A crash between the two leaves the count too high by at
    /// most one page, which only makes the group cap stricter.
    fn count_removed(
        &mut self,
        shared: &Shared,
        group: &mut Group,
        view: ViewId,
        removed: u64,
    ) -> Result<(), StoreError> {
        let stats = group.stats.entry(view).or_default();
        stats.groups = stats.groups.saturating_sub(removed);
        let bytes = stats.encode();
        shared.store.write(&mut |txn| txn.put(Table::View, &view_key(group.id, view), &bytes))
    }
}

/// The TTL column leads the key: all expired rows are one range.
fn remove_leading(
    shared: &Shared,
    group: ShardGroupId,
    shape: &ViewShape,
    cutoff: Micros,
) -> Result<(u64, Option<Vec<u8>>), StoreError> {
    let from = base_prefix(group, shape.id).to_vec();
    let mut to = from.clone();
    let data_type = &shape.key_types[0];
    let value = match data_type {
        DataType::Date => Value::Int(cutoff.0.div_euclid(86_400_000_000)),
        _ => Value::Int(cutoff.0),
    };
    if !encode_value(&value, data_type, &mut to) {
        return Ok((0, None));
    }
    if !any_row(shared, &from, &to)? {
        return Ok((0, None));
    }
    let mut removed = 0;
    shared.store.write(&mut |txn| {
        removed = txn.remove_range(Table::Base, &from, &to, ROWS_MAX)?;
        // Weights are at most as many as rows; what is left of them goes with the next page, or the next time.
        txn.remove_range(Table::Weight, &from, &to, ROWS_MAX)?;
        Ok(())
    })?;
    Ok((removed, (removed == ROWS_MAX).then_some(from)))
}

/// Looking costs no fsync; most walks find nothing.
fn any_row(shared: &Shared, from: &[u8], to: &[u8]) -> Result<bool, StoreError> {
    let mut any = false;
    shared.store.snapshot()?.scan(Table::Base, from, Some(to), &mut |_, _| {
        any = true;
        ControlFlow::Break(())
    })?;
    Ok(any)
}

/// The TTL column is elsewhere in the key: looks at one page of rows.
fn remove_page(
    shared: &Shared,
    group: ShardGroupId,
    shape: &ViewShape,
    cutoff: Micros,
    from: Option<Vec<u8>>,
) -> Result<(u64, Option<Vec<u8>>), StoreError> {
    let prefix = base_prefix(group, shape.id);
    let from = from.unwrap_or_else(|| prefix.to_vec());
    let to = base_end(group, shape.id);
    let (mut seen, mut expired, mut next) = (0, Vec::new(), None);
    let mut scratch = shape.key_columns();
    shared.store.snapshot()?.scan(Table::Base, &from, to.as_deref(), &mut |key, _| {
        if seen == ROWS_MAX {
            next = Some(key.to_vec());
            return ControlFlow::Break(());
        }
        seen += 1;
        if shape.ttl_time(&key[prefix.len()..], &mut scratch).is_some_and(|time| time < cutoff) {
            expired.push(key.to_vec());
        }
        ControlFlow::Continue(())
    })?;
    if !expired.is_empty() {
        shared.store.write(&mut |txn| {
            expired.iter().try_for_each(|key| {
                txn.remove(Table::Weight, key)?;
                txn.remove(Table::Base, key)
            })
        })?;
    }
    Ok((expired.len() as u64, next))
}
