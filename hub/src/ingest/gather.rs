//! Rows on their way into groups: pure, and slow when views are many, so never on a thread that serves others.
//!
//! Owns: which rows share a flush, and when memory is measured. Must not know: who waits, where payloads go.
//! Invariants: the rows of a request are in one flush or in none; groups of a flush are measured before more than
//! [`MEASURE_WORK`] was done on top of the last measure.

use headwater::ids::ViewId;
use headwater::limits::BatchLimits;
use headwater::plan::Plan;
use headwater::rollup::{Rollup, RollupOptions, ViewPartials};
use headwater::schema::StreamSchema;
use headwater::value::column::{Column, ColumnBatch, ColumnData};
use headwater::wire::batch::{LedgerDelta, SectionInput, encode_payloads};
use headwater_sql::SqlError;
use headwater_sql::source::{CatalogSnapshot, Insertion};
use std::collections::VecDeque;

/// Work between two looks at memory, which walk all states: 65,536 short rows of one view, or 16 MiB of texts.
pub(super) const MEASURE_WORK: usize = 16 << 20;
/// What a row counts on top of its bytes: it may begin a group of every view.
const ROW_WORK: usize = 256;

/// Groups that grow.
pub(super) struct Gathering {
    rollup: Rollup,
    views: usize,
    unmeasured: usize,
    events: u64,
}

impl Gathering {
    /// By the newest plans.
    pub(super) fn new(
        catalog: &CatalogSnapshot,
        schema: &StreamSchema,
        targets: Option<&[ViewId]>,
        limits: &BatchLimits,
    ) -> Self {
        let mut rollup = Rollup::new(schema.clone(), RollupOptions { key_bytes_max: limits.key_bytes_max });
        let plans = plans(catalog, schema, targets);
        let views = plans.len().max(1);
        for (view, error) in rollup.set_plans(schema.clone(), plans) {
            tracing::warn!(%view, %error, "this build cannot run a view's plan");
        }
        Self { rollup, views, unmeasured: 0, events: 0 }
    }

    pub(super) fn events(&self) -> u64 {
        self.events
    }

    pub(super) fn schema(&self) -> &StreamSchema {
        self.rollup.schema()
    }

    /// What these rows can add to memory, in a unit of its own.
    fn work_of(&self, batches: &[ColumnBatch]) -> usize {
        let work = |batch: &ColumnBatch| bytes_of(batch) + ROW_WORK * batch.rows();
        self.views * batches.iter().map(work).sum::<usize>()
    }

    /// Aggregates rows, and measures memory where that is due.
    ///
    /// # Errors
    /// `53200`: the groups take more than `bytes_max`.
    pub(super) fn push(&mut self, batch: &ColumnBatch, bytes_max: usize) -> Result<(), SqlError> {
        self.add(batch);
        if self.unmeasured < MEASURE_WORK { Ok(()) } else { self.measure(bytes_max) }
    }

    /// Measures memory.
    ///
    /// # Errors
    /// As [`Gathering::push`].
    pub(super) fn measure(&mut self, bytes_max: usize) -> Result<(), SqlError> {
        self.unmeasured = 0;
        let bytes = self.rollup.heap_bytes();
        if bytes <= bytes_max {
            return Ok(());
        }
        let message =
            format!("the groups of these rows take {bytes} bytes, more than the limit of {bytes_max}");
        Err(SqlError::new("53200", message).with_hint("send fewer rows at a time, or raise load_bytes_max"))
    }

    fn add(&mut self, batch: &ColumnBatch) {
        self.unmeasured += self.work_of(std::slice::from_ref(batch));
        self.events += batch.rows() as u64;
        self.rollup.push(batch);
    }

    /// All of it as payloads.
    pub(super) fn freeze(mut self, limits: &BatchLimits) -> Vec<Vec<u8>> {
        payloads(self.events, &self.rollup.drain(), limits)
    }
}

/// What one flush has.
#[derive(Default)]
pub(super) struct Flush {
    pub payloads: Vec<Vec<u8>>,
    /// For every request that was taken, in order, whether its rows are among them.
    pub outcomes: Vec<Result<(), SqlError>>,
}

/// Takes requests from the front until their groups take `bytes_max`: at least one, and one alone that is large.
pub(super) fn flush(
    requests: &mut VecDeque<Insertion>,
    catalog: &CatalogSnapshot,
    limits: &BatchLimits,
    bytes_max: usize,
) -> Flush {
    let mut outcomes = Vec::new();
    let mut open: Vec<(Option<Vec<ViewId>>, Gathering)> = Vec::new();
    while let Some(Insertion { stream, batches, targets, .. }) = requests.front() {
        if !is_same_stream(catalog, &stream.schema) {
            outcomes.push(Err(gone(&stream.schema.name)));
            requests.pop_front();
            continue;
        }
        let known = |(of, gathering): &(_, Gathering)| of == targets && *gathering.schema() == stream.schema;
        let mut gathering = match open.iter().position(known) {
            Some(at) => open.swap_remove(at).1,
            None => Gathering::new(catalog, &stream.schema, targets.as_deref(), limits),
        };
        let is_large = gathering.work_of(batches) > MEASURE_WORK;
        let is_alone = gathering.events == 0 && open.is_empty();
        if is_large && !is_alone {
            open.push((targets.clone(), gathering));
            break;
        }
        let pushed = match is_large {
            true => batches.iter().try_for_each(|batch| gathering.push(batch, bytes_max)),
            false => {
                batches.iter().for_each(|batch| gathering.add(batch));
                Ok(())
            }
        };
        // What a large one left behind goes with it.
        if pushed.is_ok() {
            open.push((targets.clone(), gathering));
        }
        let is_refused = pushed.is_err();
        outcomes.push(pushed);
        requests.pop_front();
        if !is_refused && (is_large || is_full(&mut open, bytes_max)) {
            break;
        }
    }
    let events = open.iter().map(|(_, gathering)| gathering.events).sum();
    let payloads = if events == 0 { Vec::new() } else { payloads(events, &together(open), limits) };
    Flush { payloads, outcomes }
}

/// Whether the groups of all take what they may, looked at when enough was added.
fn is_full(open: &mut [(Option<Vec<ViewId>>, Gathering)], bytes_max: usize) -> bool {
    if open.iter().map(|(_, gathering)| gathering.unmeasured).sum::<usize>() < MEASURE_WORK {
        return false;
    }
    open.iter_mut().for_each(|(_, gathering)| gathering.unmeasured = 0);
    open.iter().map(|(_, gathering)| gathering.rollup.heap_bytes()).sum::<usize>() > bytes_max
}

/// What all gathered, one entry per view and version: rows with other `stream_targets` may feed the same views.
fn together(open: Vec<(Option<Vec<ViewId>>, Gathering)>) -> Vec<ViewPartials> {
    let mut streams: Vec<Rollup> = Vec::new();
    for (_, Gathering { mut rollup, .. }) in open {
        match streams.iter_mut().find(|known| known.schema() == rollup.schema()) {
            Some(known) => known.merge(rollup.drain()),
            None => streams.push(rollup),
        }
    }
    streams.iter_mut().flat_map(Rollup::drain).collect()
}

/// A flush as payloads.
fn payloads(events: u64, partials: &[ViewPartials], limits: &BatchLimits) -> Vec<Vec<u8>> {
    let sections: Vec<_> = partials.iter().map(SectionInput::from).collect();
    let report = LedgerDelta { events, ..LedgerDelta::default() };
    let encoded = encode_payloads(&report, &sections, limits);
    if encoded.oversized_groups > 0 {
        let groups = encoded.oversized_groups;
        tracing::warn!(groups, "groups that alone are larger than a batch may be are left out");
    }
    encoded.payloads.into_iter().map(|payload| payload.bytes).collect()
}

/// The plans of a stream's views that are fed.
fn plans(catalog: &CatalogSnapshot, schema: &StreamSchema, targets: Option<&[ViewId]>) -> Vec<Plan> {
    let is_fed = |view: ViewId| targets.is_none_or(|targets| targets.contains(&view));
    catalog.plans_of(schema.id).into_iter().filter(|plan| is_fed(plan.view)).collect()
}

/// False when the stream was dropped; another one of its name has another id.
pub(super) fn is_same_stream(catalog: &CatalogSnapshot, schema: &StreamSchema) -> bool {
    catalog.streams.iter().any(|stream| stream.schema == *schema)
}

pub(super) fn gone(name: &str) -> SqlError {
    SqlError::new("42P01", format!("stream \"{name}\" was dropped or changed while rows were on their way"))
        .with_hint("none of them is counted")
}

/// Bytes that a batch of rows takes, about.
pub(super) fn bytes_of(batch: &ColumnBatch) -> usize {
    let column = |column: &Column| match &column.data {
        ColumnData::Bool(v) => v.len(),
        ColumnData::Int(v) => 8 * v.len(),
        ColumnData::Float(v) => 8 * v.len(),
        ColumnData::Bytes(v) => v.data.len() + 4 * v.len(),
        other => 16 * other.len(),
    };
    batch.columns.iter().map(column).sum()
}

#[cfg(test)]
mod tests;
