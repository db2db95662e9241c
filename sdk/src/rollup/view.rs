//! One view's plan, its groups and what becomes of a batch's rows.

use super::ViewPartials;
use super::cap;
use super::codes::{Codes, GroupsByCode, NONE};
use super::keys::encode_keys;
use crate::aggregate::AggregateSpec;
use crate::expr::Program;
use crate::flavor::SMALL;
use crate::group::{GroupTable, Keys};
use crate::ids::{PlanVersion, ViewId};
use crate::limits::{VALUE_BYTES_MAX, WEIGHT_MAX};
use crate::plan::{ExprId, Plan, PlanError, StatePlan};
use crate::schema::StreamSchema;
use crate::value::column::{Column, ColumnBatch, ColumnData, Slot};
use crate::value::{DataType, Physical, key};
use crate::wire::batch::{DropCounts, DropReason};
use alloc::vec::Vec;

/// Buffers that all views of a rollup reuse.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// The rows that reach the view's groups.
    rows: Vec<u32>,
    keys: Keys,
    groups: Vec<u32>,
    /// Rows and groups of a state with a FILTER.
    some_rows: Vec<u32>,
    some_groups: Vec<u32>,
}

impl Scratch {
    /// The rows of the last batch of the last view, each with its group.
    pub(super) fn placed(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.rows.iter().copied().zip(self.groups.iter().copied())
    }
}

/// The small module looks every key up.
const KNOWN: usize = if SMALL { 0 } else { 1 };

#[derive(Debug)]
pub(super) struct View {
    program: Program,
    known: [GroupsByCode; KNOWN],
    now: ViewPartials,
}

impl View {
    pub fn new(plan: Plan, schema: &StreamSchema) -> Result<Self, (ViewId, PlanError)> {
        let program = Program::of(plan, schema).map_err(|(plan, error)| (plan.view, error))?;
        let plan = program.plan();
        let now = empty_for(plan).ok_or((plan.view, PlanError::Unsupported(0)))?;
        let known = core::array::from_fn(|_| GroupsByCode::new(plan));
        Ok(Self { program, known, now })
    }

    pub fn plan(&self) -> &Plan {
        self.program.plan()
    }

    pub fn groups(&self) -> usize {
        self.now.table.len()
    }

    pub fn rejected(&self, reason: DropReason) -> u64 {
        self.now.rejected.get(reason)
    }

    pub fn heap_bytes(&self) -> usize {
        self.now.table.heap_bytes()
    }

    /// True when `partials` were made with this plan.
    pub fn made(&self, partials: &ViewPartials) -> bool {
        (self.plan().view, self.plan().version) == (partials.view, partials.version)
            && self.now.table.specs() == partials.table.specs()
    }

    /// Takes over what the same version of this view gathered.
    pub fn go_on(&mut self, old: &mut [Self]) {
        if let Some(old) = old.iter_mut().find(|old| self.made(&old.now)) {
            core::mem::swap(&mut self.now, &mut old.now);
        }
    }

    pub fn merge(&mut self, partials: &ViewPartials) {
        self.now.merge(partials);
        self.cap(self.slack());
    }

    pub fn drain(&mut self) -> ViewPartials {
        self.cap(0);
        // The specs were supported when the view was made, and still are.
        let next = empty_for(self.plan()).unwrap_or_else(|| unreachable!("a view's specs are supported"));
        self.known.iter_mut().for_each(GroupsByCode::clear);
        core::mem::replace(&mut self.now, next)
    }

    pub fn push(
        &mut self,
        batch: &ColumnBatch,
        codes: &Codes<'_>,
        key_bytes_max: usize,
        scratch: &mut Scratch,
    ) {
        self.program.evaluate_filter(batch);
        self.select(batch, &mut scratch.rows);
        if scratch.rows.is_empty() {
            return;
        }
        self.program.evaluate_rest(batch);
        self.reject_failed(batch, &mut scratch.rows);
        self.find_groups(batch, codes, key_bytes_max, scratch);
        self.update(batch, scratch);
        self.now.events += scratch.rows.len() as u64;
        self.cap(self.slack());
    }

    /// The rows for which the filter is true. Errors in the filter reject the row.
    fn select(&mut self, batch: &ColumnBatch, rows: &mut Vec<u32>) {
        rows.clear();
        let all = 0..batch.rows() as u32;
        let Some(filter) = self.plan().filter else { return rows.extend(all) };
        let column = self.program.column(batch, filter);
        let rejected = &mut self.now.rejected;
        for row in all {
            if is_true(column, row, |slot| reject(rejected, slot)) {
                rows.push(row);
            }
        }
    }

    /// Leaves out rows that need an error slot as a key, a state's filter or its argument, and those with a value
    /// that is too large for a state to keep.
    fn reject_failed(&mut self, batch: &ColumnBatch, rows: &mut Vec<u32>) {
        let Self { program, now, .. } = self;
        let plan = program.plan();
        for key in &plan.keys {
            drop_errors(program.column(batch, *key), None, rows, &mut now.rejected);
        }
        for state in &plan.states {
            let filter = state.filter.map(|id| program.column(batch, id));
            if let Some(filter) = filter {
                drop_errors(filter, None, rows, &mut now.rejected);
            }
            for (at, arg) in state.args.iter().enumerate() {
                let column = program.column(batch, *arg);
                drop_errors(column, filter, rows, &mut now.rejected);
                drop_large(column, largest(&state.spec, at), filter, rows, &mut now.rejected);
            }
        }
    }

    /// One group per row, with the rows of keys that are too long left out.
    fn find_groups(
        &mut self,
        batch: &ColumnBatch,
        codes: &Codes<'_>,
        key_bytes_max: usize,
        scratch: &mut Scratch,
    ) {
        if self.plan().keys.is_empty() {
            let Scratch { rows, groups, .. } = scratch;
            groups.clear();
            if !rows.is_empty() {
                groups.resize(rows.len(), self.now.table.group(&[]));
            }
            return;
        }
        if !self.recall_groups(batch, codes, key_bytes_max, scratch) {
            self.look_up_groups(batch, key_bytes_max, scratch);
        }
        let now = &mut self.now;
        now.weights.resize(now.table.len(), 0);
        for group in scratch.groups.iter() {
            let weight = &mut now.weights[*group as usize];
            *weight = weight.saturating_add(1);
        }
    }

    /// Finds groups by the bytes of their keys.
    fn look_up_groups(&mut self, batch: &ColumnBatch, key_bytes_max: usize, scratch: &mut Scratch) {
        let Scratch { rows, keys, groups, .. } = scratch;
        let Self { program, now, .. } = self;
        let plan = program.plan();
        let column = |id: &ExprId| (program.column(batch, *id), &plan.nodes[usize::from(id.0)].data_type);
        let mut columns: Vec<(&Column, &DataType)> = Vec::with_capacity(plan.keys.len());
        plan.keys.iter().for_each(|key| columns.push(column(key)));
        encode_keys(&columns, rows, keys);
        if keys.longest() > key_bytes_max {
            let before = rows.len();
            let mut at = 0;
            keep(rows, |_| {
                at += 1;
                keys.get(at - 1).len() <= key_bytes_max
            });
            now.rejected.add(DropReason::KeyTooLong, (before - rows.len()) as u64);
            encode_keys(&columns, rows, keys);
        }
        now.table.group_all(keys, groups);
    }

    /// Finds groups by the caller's numbers; false when it has none for the key.
    fn recall_groups(
        &mut self,
        batch: &ColumnBatch,
        codes: &Codes<'_>,
        key_bytes_max: usize,
        scratch: &mut Scratch,
    ) -> bool {
        let Self { program, known, now, .. } = self;
        let Some((index, known)) = known.first_mut().and_then(|known| Some((known.column()?, known))) else {
            return false;
        };
        let (Some(codes_of), Some(column)) = (codes.columns.get(index), batch.columns.get(index)) else {
            return false;
        };
        if codes_of.len() < column.len() || column.slots.is_some() {
            return false;
        }
        let data_type = &program.plan().nodes[usize::from(program.plan().keys[0].0)].data_type;
        known.enter(codes.epoch);
        let Scratch { rows, keys, groups, .. } = scratch;
        groups.clear();
        let before = rows.len();
        rows.retain(|&row| {
            let code = codes_of[row as usize];
            let mut group = known.get(code);
            if group == NONE {
                keys.clear();
                key::encode_row(column, row as usize, data_type, &mut keys.data);
                if keys.data.len() > key_bytes_max {
                    return false;
                }
                group = now.table.group(&keys.data);
                known.set(code, group);
            }
            groups.push(group);
            true
        });
        now.rejected.add(DropReason::KeyTooLong, (before - rows.len()) as u64);
        true
    }

    fn update(&mut self, batch: &ColumnBatch, scratch: &mut Scratch) {
        let Self { program, now, .. } = self;
        let plan = program.plan();
        let Scratch { rows, groups, some_rows, some_groups, .. } = scratch;
        let mut columns: Vec<&Column> = Vec::new();
        for (StatePlan { args, filter, .. }, states) in plan.states.iter().zip(now.table.states_mut()) {
            columns.clear();
            args.iter().for_each(|id| columns.push(program.column(batch, *id)));
            let Some(filter) = filter.map(|id| program.column(batch, id)) else {
                states.update(rows, groups, &columns);
                continue;
            };
            some_rows.clear();
            some_groups.clear();
            for (row, group) in rows.iter().zip(groups.iter()) {
                if is_true(filter, *row, |_| ()) {
                    some_rows.push(*row);
                    some_groups.push(*group);
                }
            }
            states.update(some_rows, some_groups, &columns);
        }
    }

    /// How far the table may grow past the cap before the lightest groups are folded: folding costs time
    /// in proportion to the cap, so it must not happen for every batch.
    fn slack(&self) -> usize {
        (self.plan().groups_max as usize / 2).max(1024)
    }

    fn cap(&mut self, slack: usize) {
        let groups_max = self.plan().groups_max as usize;
        if !self.plan().keys.is_empty() && self.now.table.len() > groups_max.saturating_add(slack) {
            cap::fold(&mut self.now, groups_max);
            self.known.iter_mut().for_each(GroupsByCode::clear);
        }
    }
}

fn empty_for(plan: &Plan) -> Option<ViewPartials> {
    let mut specs = Vec::with_capacity(plan.states.len());
    plan.states.iter().for_each(|state| specs.push(state.spec.clone()));
    empty(plan.view, plan.version, specs)
}

/// No groups yet of a view with these states; `None` when this build does not have one of them.
pub(super) fn empty(view: ViewId, version: PlanVersion, specs: Vec<AggregateSpec>) -> Option<ViewPartials> {
    Some(ViewPartials {
        view,
        version,
        events: 0,
        rejected: DropCounts::default(),
        table: GroupTable::of(specs)?,
        weights: Vec::new(),
    })
}

fn reject(rejected: &mut DropCounts, slot: Slot) {
    if let Some(reason) = DropReason::from_slot(slot) {
        rejected.add(reason, 1);
    }
}

/// Whether a boolean row is true; anything but true and false goes to `otherwise`.
#[inline]
fn is_true(column: &Column, row: u32, otherwise: impl FnOnce(Slot)) -> bool {
    let slot = column.slot(row as usize);
    if slot != Slot::Valid {
        otherwise(slot);
        return false;
    }
    matches!(&column.data, ColumnData::Bool(v) if v[row as usize])
}

/// The largest value that a state takes as this argument: bytes of a text, or a weight.
fn largest(spec: &AggregateSpec, argument: usize) -> u64 {
    use AggregateSpec as S;
    match spec {
        S::TopK { weighted: true, .. } if argument == 1 => WEIGHT_MAX,
        S::Min(of) | S::Max(of) if of.physical() == Physical::Bytes => VALUE_BYTES_MAX as u64,
        S::ArgMin { .. }
        | S::ArgMax { .. }
        | S::TopK { .. }
        | S::Set { .. }
        | S::Bucket { .. }
        | S::StateAgg => VALUE_BYTES_MAX as u64,
        S::Rows { .. } => VALUE_BYTES_MAX as u64,
        _ => u64::MAX,
    }
}

/// Keeps the rows for which `is_kept` is true: where code must be small, by one function for all conditions.
#[inline]
fn keep(rows: &mut Vec<u32>, mut is_kept: impl FnMut(&u32) -> bool) {
    if SMALL { keep_by(rows, &mut is_kept) } else { rows.retain(is_kept) }
}

fn keep_by(rows: &mut Vec<u32>, is_kept: &mut dyn FnMut(&u32) -> bool) {
    rows.retain(is_kept);
}

/// Removes and counts the rows whose value is above `max`, where `filter` (if there is one) lets them through.
fn drop_large(
    column: &Column,
    max: u64,
    filter: Option<&Column>,
    rows: &mut Vec<u32>,
    rejected: &mut DropCounts,
) {
    let is_large = |row: &u32| match &column.data {
        ColumnData::Bytes(v) => v.get(*row as usize).len() as u64 > max,
        ColumnData::Int(v) => max == WEIGHT_MAX && v[*row as usize] > max as i64,
        _ => false,
    };
    if max == u64::MAX || !rows.iter().any(is_large) {
        return;
    }
    let before = rows.len();
    keep(rows, |row| !(is_large(row) && filter.is_none_or(|f| is_true(f, *row, |_| ()))));
    rejected.add(DropReason::ValueTooLarge, (before - rows.len()) as u64);
}

/// Removes and counts the rows with an error in `column`, where `filter` (if there is one) lets them through.
fn drop_errors(column: &Column, filter: Option<&Column>, rows: &mut Vec<u32>, rejected: &mut DropCounts) {
    let Some(slots) = &column.slots else { return };
    keep(rows, |row| {
        let slot = slots[*row as usize];
        let needed = slot.is_error() && filter.is_none_or(|f| is_true(f, *row, |_| ()));
        if needed {
            reject(rejected, slot);
        }
        !needed
    });
}
