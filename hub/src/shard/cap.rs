//! The group cap of a view: heavy groups stay, the lightest are merged into one exact `(other)` group.
//!
//! Owns: what a group weighs, which groups go. Must not know: layers, when to fold.
//!
//! A group weighs the events of its states plus its credit: the view's floor (the largest weight of a group that
//! ever went) when it came. So a key that comes back is not taken for a light one, and what is not kept weighs at
//! most the floor: that is SpaceSaving, folded (Metwally et al. 2005; in the form of mergeable summaries, Agarwal et
//! al. 2012). A view whose states count nothing weighs the partials it merges once it is half full.
//!
//! A full view is swept like a clock: each fold looks at a bounded number of rows from where the last one stopped,
//! lets go of the lightest, and counts the others by weight, from which the next revolution knows which are light. Up
//! to `exact_rows` rows one fold sees all of them and decides exactly, ties by key. Everything it goes by is in
//! the view's row, and changes with the fold: the same log folded at the same boundaries keeps the same groups.

use super::fold::{ViewFold, try_merge_row};
use super::overlay::empty;
use super::quarantine::Kind;
use super::stats::{CLASS_MAX, Sweep, bucket, bucket_min};
use crate::store::tables::{base_end, base_prefix};
use crate::store::{StoreError, Table, Transaction};
use headwater::codec::Reader;
use headwater::group::{GroupTable, OTHER_KEY};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The credit of a row.
pub(super) fn credit(txn: &dyn Transaction, base_key: &[u8]) -> Result<u64, StoreError> {
    let mut credit = 0;
    txn.get(Table::Weight, base_key, &mut |bytes| credit = read_credit(bytes))?;
    Ok(credit)
}

/// A damaged credit is none: it decides who stays, never what counts.
fn read_credit(bytes: &[u8]) -> u64 {
    Reader::new(bytes).varint().unwrap_or(0)
}

/// Some rows of a view, decoded.
struct Page {
    table: GroupTable,
    /// By group of `table`.
    weights: Vec<u64>,
    /// Keys and bytes that cannot be read.
    damaged: Vec<(Vec<u8>, Vec<u8>)>,
    rows: u64,
    /// The group key to go on from; `None` = that was all.
    next: Option<Vec<u8>>,
}

impl ViewFold<'_> {
    /// Merges the lightest groups of a view that has too many into `(other)`: a bounded piece of that work.
    pub(super) fn sweep(&mut self) -> Result<(), StoreError> {
        if self.stats.groups > self.groups_max && self.stats.sweep.is_none() {
            self.stats.sweep = Some(Sweep { base: self.stats.floor, ..Sweep::default() });
        }
        let Some(mut sweep) = self.stats.sweep.take() else { return Ok(()) };
        let mut left = self.of.sweep.rows + self.of.sweep.rows_per_new * self.new_rows;
        // All weights of a revolution that began in this fold, while they are few.
        let mut exact = sweep.hand.is_empty().then(Vec::new);
        while self.stats.groups > self.target() {
            if left == 0 {
                self.stats.sweep = Some(sweep);
                return Ok(());
            }
            let page = self.page(&sweep.hand, left.min(self.of.sweep.page_rows))?;
            left -= page.rows.max(1).min(left);
            self.contained_page(&page, &mut sweep, &mut exact)?;
            match page.next {
                Some(next) => sweep.hand = next,
                None if sweep.rows.is_empty() => break,
                None => {
                    let excess = self.stats.groups.saturating_sub(self.target());
                    sweep = next_revolution(&sweep, exact.take(), excess, self.stats.floor);
                    exact = Some(Vec::new());
                }
            }
        }
        Ok(())
    }

    /// Large views are swept down to an eighth below their cap, so that a sweep pays for many new rows.
    fn target(&self) -> u64 {
        let slack = if self.groups_max <= self.of.sweep.exact_rows { 0 } else { self.groups_max / 8 };
        self.groups_max - slack
    }

    fn page(&mut self, hand: &[u8], rows_max: u64) -> Result<Page, StoreError> {
        let prefix = base_prefix(self.of.group, self.shape.id);
        let from = [&prefix, hand].concat();
        let to = base_end(self.of.group, self.shape.id);
        let mut rows: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut next = None;
        self.txn.scan(Table::Base, &from, to.as_deref(), &mut |key, states| {
            if rows.len() as u64 == rows_max {
                next = Some(key[prefix.len()..].to_vec());
                return ControlFlow::Break(());
            }
            rows.push((key[prefix.len()..].to_vec(), states.to_vec()));
            ControlFlow::Continue(())
        })?;
        let end = next.as_ref().map(|next| [&prefix, next.as_slice()].concat()).or(to);
        let mut credits: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        self.txn.scan(Table::Weight, &from, end.as_deref(), &mut |key, bytes| {
            credits.insert(key[prefix.len()..].to_vec(), read_credit(bytes));
            ControlFlow::Continue(())
        })?;
        let mut page = Page {
            table: empty(&self.shape.specs),
            weights: Vec::new(),
            damaged: Vec::new(),
            rows: rows.len() as u64,
            next,
        };
        let mut scratch = empty(&self.shape.specs);
        for (key, states) in rows.into_iter().filter(|row| row.0 != OTHER_KEY) {
            scratch.clear();
            let at = [&prefix, key.as_slice()].concat();
            if !try_merge_row(&mut scratch, (&at, &key), &states) {
                page.damaged.push((key, states));
                continue;
            }
            let events = self.shape.events(&scratch, 0).unwrap_or(1);
            page.weights.push(events.saturating_add(credits.get(&key).copied().unwrap_or(0)));
            page.table.merge_group(&key, &scratch, 0);
        }
        Ok(page)
    }

    /// Lets go of the page's light rows. When a merge panics its rows stay for now.
    fn contained_page(
        &mut self,
        page: &Page,
        sweep: &mut Sweep,
        exact: &mut Option<Vec<u64>>,
    ) -> Result<(), StoreError> {
        let before = (self.stats.clone(), sweep.clone());
        match catch_unwind(AssertUnwindSafe(|| self.settle(page, sweep, exact))) {
            Ok(result) => result,
            Err(_panic) => {
                tracing::error!(view = %self.shape.id, "states of a full view cannot be merged into (other)");
                *sweep = before.1;
                self.start_over(before.0);
                Ok(())
            }
        }
    }

    fn settle(
        &mut self,
        page: &Page,
        sweep: &mut Sweep,
        exact: &mut Option<Vec<u64>>,
    ) -> Result<(), StoreError> {
        let mut gone: Vec<u32> = Vec::new();
        for (group, weight) in page.weights.iter().enumerate() {
            let is_wanted = self.stats.groups - gone.len() as u64 > self.target();
            if is_wanted && sweep.takes(*weight) {
                self.other.merge_group(OTHER_KEY, &page.table, group as u32);
                self.stats.floor = self.stats.floor.max(*weight);
                gone.push(group as u32);
                continue;
            }
            *sweep.rows.entry(bucket(weight.saturating_sub(sweep.base))).or_default() += 1;
            if let Some(weights) = exact {
                weights.push(*weight);
                if weights.len() as u64 > self.of.sweep.exact_rows {
                    *exact = None;
                }
            }
        }
        self.put_other()?;
        let prefix = base_prefix(self.of.group, self.shape.id);
        for key in gone.iter().map(|group| page.table.key(*group)) {
            self.forget(&[&prefix, key].concat())?;
        }
        self.stats.other += gone.len() as u64;
        for (key, states) in &page.damaged {
            self.quarantine(Kind::Row, key, states)?;
            self.forget(&[&prefix, key.as_slice()].concat())?;
        }
        Ok(())
    }

    fn forget(&mut self, base_key: &[u8]) -> Result<(), StoreError> {
        self.stats.groups = self.stats.groups.saturating_sub(1);
        self.txn.remove(Table::Base, base_key)?;
        self.txn.remove(Table::Weight, base_key)
    }
}

impl Sweep {
    fn takes(&mut self, weight: u64) -> bool {
        if weight < self.lo {
            return true;
        }
        let is_tie = weight <= self.hi && self.ties > 0;
        self.ties -= u64::from(is_tie);
        is_tie
    }
}

/// What to let go in the next revolution, so that `excess` rows go.
fn next_revolution(sweep: &Sweep, exact: Option<Vec<u64>>, excess: u64, floor: u64) -> Sweep {
    let fresh = |lo, hi, ties| Sweep { lo, hi, ties, base: floor, ..Sweep::default() };
    if let Some(mut weights) = exact.filter(|w| w.len() as u64 >= excess && excess > 0) {
        let (lighter, weight, _) = weights.select_nth_unstable(excess as usize - 1);
        let ties = excess - lighter.iter().filter(|w| *w < weight).count() as u64;
        return fresh(*weight, *weight, ties);
    }
    let above = |class| sweep.base.saturating_add(bucket_min(class));
    let mut left = excess;
    for (class, rows) in &sweep.rows {
        if *rows >= left {
            let lo = if *class == 0 { 0 } else { above(*class) };
            let hi = if *class >= CLASS_MAX { u64::MAX } else { above(*class + 1) - 1 };
            return fresh(lo, hi, left);
        }
        left -= rows;
    }
    fresh(u64::MAX, u64::MAX, u64::MAX)
}
