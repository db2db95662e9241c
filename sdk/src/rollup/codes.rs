//! Groups by the caller's own numbers for values: a value that was seen before is neither encoded nor looked up.
//!
//! Owns: which number is which group. Must not know: what the values are.
//! Invariant: an entry is forgotten when the table of its group is replaced, or the numbers get another meaning.

use crate::plan::{Op, Plan};
use alloc::vec::Vec;

/// Numbers that the caller of [`Rollup::push_coded`](super::Rollup::push_coded) has for the values of text columns.
#[derive(Clone, Debug, Default)]
pub struct Codes<'a> {
    /// Per column a number for each row, or none at all: rows with equal numbers have equal values. Numbers are small,
    /// but for their highest bit.
    pub columns: &'a [&'a [u32]],
    /// Another one whenever numbers may have got another meaning.
    pub epoch: u32,
}

/// Not seen yet.
pub(super) const NONE: u32 = u32::MAX;
/// Numbers remembered per view; 1 MiB of groups.
const CODES_MAX: usize = 1 << 18;

/// The groups of one view by number.
#[derive(Debug)]
pub(super) struct GroupsByCode {
    column: Option<usize>,
    groups: Vec<u32>,
    epoch: u32,
}

impl GroupsByCode {
    /// No group yet.
    pub fn new(plan: &Plan) -> Self {
        let op = match plan.keys.as_slice() {
            [id] => plan.nodes.get(usize::from(id.0)).map(|node| &node.op),
            _ => None,
        };
        let column = if let Some(Op::Column(column)) = op { Some(usize::from(*column)) } else { None };
        Self { column, groups: Vec::new(), epoch: 0 }
    }

    /// The column that is the whole key as it is; without one there are no groups here.
    pub fn column(&self) -> Option<usize> {
        self.column
    }

    /// Numbers now mean what they mean in `epoch`.
    pub fn enter(&mut self, epoch: u32) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.clear();
        }
    }

    /// The group of a number, or [`NONE`].
    #[inline]
    pub fn get(&self, code: u32) -> u32 {
        self.groups.get(place(code)).copied().unwrap_or(NONE)
    }

    /// Remembers a group, if there is room.
    pub fn set(&mut self, code: u32, group: u32) {
        let at = place(code);
        if at >= CODES_MAX {
            return;
        }
        if at >= self.groups.len() {
            self.groups.resize((at + 1).next_power_of_two(), NONE);
        }
        self.groups[at] = group;
    }

    /// Forgets all groups.
    pub fn clear(&mut self) {
        self.groups.clear();
    }
}

/// Numbers with and without the highest bit in turns.
#[inline]
fn place(code: u32) -> usize {
    code.rotate_left(1) as usize
}
