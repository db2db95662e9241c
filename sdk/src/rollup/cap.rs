//! The group cap: heavy groups stay, the rest becomes one exact `(other)` group.
//!
//! Which groups are heavy is decided by the events they have since the last drain (or since they came
//! back after being folded), so a group that is heavy in the stream stays once its share shows. Totals
//! over all groups, `(other)` included, are always exact.

use super::ViewPartials;
use crate::flavor::SMALL_SORTS;
use crate::group::{GroupTable, OTHER_KEY};
use crate::sort::sort_by;
use alloc::vec::Vec;

/// Keeps the `groups_max` heaviest groups (older ones first among equals) and merges the others into the
/// group of [`OTHER_KEY`], which does not count against the cap.
pub(super) fn fold(partials: &mut ViewPartials, groups_max: usize) {
    let old = &partials.table;
    let weights = &partials.weights;
    let other = old.find(OTHER_KEY);
    let mut groups: Vec<u32> = (0..old.len() as u32).collect();
    if let Some(other) = other {
        groups.swap_remove(other as usize);
    }
    if groups.len() <= groups_max {
        return;
    }
    let heavier = |g: &u32| (core::cmp::Reverse(weights[*g as usize]), *g);
    match SMALL_SORTS {
        true => sort_by(&mut groups, |a, b| heavier(a).cmp(&heavier(b))),
        false => drop(groups.select_nth_unstable_by_key(groups_max, heavier)),
    }
    let (kept, folded) = groups.split_at_mut(groups_max);
    sort_by(kept, u32::cmp);
    let mut table = GroupTable::new(old.specs());
    let mut new_weights = Vec::with_capacity(groups_max + 1);
    for group in kept.iter() {
        table.merge_group(old.key(*group), old, *group);
        new_weights.push(weights[*group as usize]);
    }
    let mut weight = 0u32;
    for group in folded.iter().copied().chain(other) {
        table.merge_group(OTHER_KEY, old, group);
        weight = weight.saturating_add(weights[group as usize]);
    }
    new_weights.push(weight);
    partials.table = table;
    partials.weights = new_weights;
}
