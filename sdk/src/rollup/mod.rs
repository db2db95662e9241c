//! Events in, partials out: every view of one stream, kept up to date.
//!
//! Owns: which rows reach which groups of which view, the group cap, over-the-air swaps of plans.
//! Must not know: batches, sequence numbers, sockets, the clock.
//! Invariants: a row reaches all states of a view or none (then it is counted by reason); nothing that
//! was counted is lost by a swap, a merge or the cap; memory grows with groups, never with events.

mod cap;
mod codes;
mod keys;
#[cfg(test)]
mod tests;
mod view;

use crate::flavor::SMALL;
use crate::group::GroupTable;
use crate::ids::{PlanVersion, ViewId};
use crate::plan::{Plan, PlanError};
use crate::schema::StreamSchema;
use crate::value::column::ColumnBatch;
use crate::wire::batch::{DropCounts, DropReason};
use alloc::vec::Vec;
use view::{Scratch, View};

pub use codes::Codes;

/// Limits of a rollup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollupOptions {
    /// Longest group key in bytes; a row with a longer one is rejected for its view. Default 1,024.
    pub key_bytes_max: usize,
}

impl Default for RollupOptions {
    fn default() -> Self {
        Self { key_bytes_max: 1024 }
    }
}

/// What one view has gathered since the last drain.
#[derive(Debug)]
pub struct ViewPartials {
    /// The view.
    pub view: ViewId,
    /// The plan version the partials were made with.
    pub version: PlanVersion,
    /// Events that reached a group.
    pub events: u64,
    /// Events that the view rejected, by reason.
    pub rejected: DropCounts,
    /// The groups.
    pub table: GroupTable,
    /// How many events each group has; what the cap keeps.
    weights: Vec<u32>,
}

impl ViewPartials {
    fn is_empty(&self) -> bool {
        self.table.is_empty() && self.rejected.is_empty()
    }

    /// Adds all of `other`, which has the same plan.
    fn merge(&mut self, other: &Self) {
        let groups = self.table.merge_table(&other.table);
        self.weights.resize(self.table.len(), 0);
        for (group, weight) in groups.iter().zip(&other.weights) {
            let mine = &mut self.weights[*group as usize];
            *mine = mine.saturating_add(*weight);
        }
        self.events += other.events;
        self.rejected.merge(&other.rejected);
    }
}

/// The views of one stream. Threads keep one each and merge at flush.
#[derive(Debug)]
pub struct Rollup {
    schema: StreamSchema,
    options: RollupOptions,
    views: Vec<View>,
    /// Partials of plans that are gone, until drained.
    retired: Vec<ViewPartials>,
    events: u64,
    scratch: Scratch,
}

impl Rollup {
    /// A stream without views.
    pub fn new(schema: StreamSchema, options: RollupOptions) -> Self {
        let (views, retired, scratch) = (Vec::new(), Vec::new(), Scratch::default());
        Self { schema, options, views, retired, events: 0, scratch }
    }

    /// The stream's schema.
    pub fn schema(&self) -> &StreamSchema {
        &self.schema
    }

    /// Limits; they hold from the next batch on.
    pub fn set_options(&mut self, options: RollupOptions) {
        self.options = options;
    }

    /// Takes a complete new set of plans. What unchanged plans have gathered goes on growing; what
    /// removed and changed ones have gathered stays as it is until drained. Plans that this build cannot
    /// run are left out and returned; the others run.
    pub fn set_plans(&mut self, schema: StreamSchema, plans: Vec<Plan>) -> Vec<(ViewId, PlanError)> {
        // A page makes every view anew, which costs less to download than comparing plans.
        let may_keep = !SMALL && self.schema == schema;
        self.schema = schema;
        let mut old = core::mem::take(&mut self.views);
        let mut refused = Vec::new();
        for plan in plans {
            let kept = old.iter().position(|v| may_keep && *v.plan() == plan);
            match kept.map(|at| Ok(old.swap_remove(at))).unwrap_or_else(|| View::new(plan, &self.schema)) {
                Ok(mut view) => {
                    if SMALL {
                        view.go_on(&mut old);
                    }
                    self.views.push(view);
                }
                Err(error) => refused.push(error),
            }
        }
        for view in &mut old {
            self.retire(view.drain());
        }
        // A plan that went and came back, or came with another cap: a flush has one section of each version.
        let retired = core::mem::take(&mut self.retired);
        self.merge(retired);
        refused
    }

    /// True while this version of a view's plan runs here.
    pub fn runs(&self, view: ViewId, version: PlanVersion) -> bool {
        self.views.iter().any(|v| (v.plan().view, v.plan().version) == (view, version))
    }

    fn retire(&mut self, partials: ViewPartials) {
        let twin = |r: &&mut ViewPartials| {
            (r.view, r.version) == (partials.view, partials.version)
                && r.table.specs() == partials.table.specs()
        };
        match self.retired.iter_mut().find(twin) {
            _ if partials.is_empty() => {}
            Some(retired) => retired.merge(&partials),
            None => self.retired.push(partials),
        }
    }

    /// Counts events that a view of this stream loses here for a reason that is not the rollup's: its plan cannot run.
    pub fn reject(&mut self, view: ViewId, version: PlanVersion, reason: DropReason, events: u64) {
        let Some(mut partials) = view::empty(view, version, Vec::new()) else { return };
        partials.rejected.add(reason, events);
        self.retire(partials);
    }

    /// Evaluates all views over a batch, which must be of the stream's schema ([`ColumnBatch::check`]).
    pub fn push(&mut self, batch: &ColumnBatch) {
        self.push_coded(batch, &Codes::default());
    }

    /// As [`Rollup::push`], for a caller that has numbers for the values of text columns: views by one such column find
    /// their groups by them.
    pub fn push_coded(&mut self, batch: &ColumnBatch, codes: &Codes<'_>) {
        self.events += batch.rows() as u64;
        for view in &mut self.views {
            view.push(batch, codes, self.options.key_bytes_max, &mut self.scratch);
        }
    }

    /// Where the rows of the last batch went in the view that comes last: rows that reached a group, and its number in
    /// what the next [`Rollup::drain`] gives. For a stream of one view whose cap is out of reach.
    pub fn placed(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.scratch.placed()
    }

    /// The number of events pushed since the last call.
    pub fn take_events(&mut self) -> u64 {
        core::mem::take(&mut self.events)
    }

    /// Takes what all views have gathered, within their group caps; the rollup goes on empty. At most one
    /// entry per view and plan version; views that saw nothing are left out.
    pub fn drain(&mut self) -> Vec<ViewPartials> {
        let mut all = core::mem::take(&mut self.retired);
        for view in &mut self.views {
            let partials = view.drain();
            if !partials.is_empty() {
                all.push(partials);
            }
        }
        all
    }

    /// Merges what another rollup (of another thread) or an earlier drain gathered.
    pub fn merge(&mut self, partials: Vec<ViewPartials>) {
        for other in partials {
            match self.views.iter_mut().find(|v| v.made(&other)) {
                Some(view) => view.merge(&other),
                None => self.retire(other),
            }
        }
    }

    /// Events that views rejected for a reason since the last drain, once for each view.
    pub fn rejected(&self, reason: DropReason) -> u64 {
        let now = self.views.iter().map(|view| view.rejected(reason));
        now.chain(self.retired.iter().map(|partials| partials.rejected.get(reason))).sum()
    }

    /// Groups held now, over all views.
    pub fn groups(&self) -> usize {
        let retired: usize = self.retired.iter().map(|r| r.table.len()).sum();
        retired + self.views.iter().map(|v| v.groups()).sum::<usize>()
    }

    /// Heap bytes held, roughly; walks all states, so not for every event.
    pub fn heap_bytes(&self) -> usize {
        let retired: usize = self.retired.iter().map(|r| r.table.heap_bytes()).sum();
        retired + self.views.iter().map(|v| v.heap_bytes()).sum::<usize>()
    }
}
