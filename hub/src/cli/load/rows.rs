//! From rows to one batch's payload.
//!
//! Owns: the file's cursor, the rollup. Invariant: the rows of a payload are a run of the file's rows,
//! without gaps, in the file's order.

use super::CliError;
use super::block::Odd;
use super::faults::Faults;
use super::file::{ROWS, Rows};
use super::mapping::Target;
use headwater::ids::{PlanVersion, ViewId};
use headwater::limits::BatchLimits;
use headwater::plan::{Plan, PlanError};
use headwater::rollup::{Rollup, RollupOptions};
use headwater::value::column::{Column, ColumnBatch};
use headwater::wire::batch::{DropCounts, DropReason, LedgerDelta, SectionInput, encode_payloads};
use headwater::wire::{SessionLimits, StreamPlans};
use std::collections::VecDeque;

/// The rows of one payload.
#[derive(Debug)]
pub(super) struct Built {
    /// How many rows it stands for.
    pub rows: u64,
    /// The payload.
    pub bytes: Vec<u8>,
    /// Groups that alone are too large for a batch and are not in it.
    pub oversized: u64,
    /// Rows that views left out, by reason, counted per view.
    pub rejected: DropCounts,
    /// What was odd about rows read since the payload before.
    pub odd: Odd,
}

/// Rows to payloads.
pub(super) struct Builder {
    rows: Rows,
    targets: Vec<Target>,
    arrival: i64,
    rollup: Rollup,
    limits: BatchLimits,
    /// Rows read and not used: a batch would have become too large.
    left: VecDeque<ColumnBatch>,
    /// The number of the next row.
    pub position: u64,
    odd: Odd,
    unfed: Unfed,
}

/// Views whose plans this program cannot run: newer than it is.
#[derive(Default)]
struct Unfed {
    views: Vec<(ViewId, PlanVersion)>,
    /// What is to be told of them.
    news: Vec<String>,
}

impl Unfed {
    /// Goes over to other plans, some of them `refused`: those that `runs` does not know.
    fn update(
        &mut self,
        plans: &[Plan],
        refused: &[(ViewId, PlanError)],
        runs: impl Fn(ViewId, PlanVersion) -> bool,
    ) {
        let known = std::mem::take(&mut self.views);
        let versions = plans.iter().map(|plan| (plan.view, plan.version));
        self.views.extend(versions.filter(|(view, version)| !runs(*view, *version)));
        for (view, error) in refused {
            if !known.iter().any(|(known, _)| known == view) {
                self.news.push(format!(
                    "warning: view {} gets no rows: this program cannot run its plan ({error}); load with the hub's version",
                    view.0
                ));
            }
        }
    }

    /// Counts rows as rejected.
    fn reject(&self, rollup: &mut Rollup, rows: u64) {
        for (view, version) in &self.views {
            rollup.reject(*view, *version, DropReason::UnsupportedPlan, rows);
        }
    }
}

impl Builder {
    /// At the first row. `arrival`: the time of rows that bring none.
    pub fn new(
        rows: Rows,
        targets: Vec<Target>,
        arrival: i64,
        plans: &StreamPlans,
        limits: &SessionLimits,
    ) -> Self {
        let limits = BatchLimits::NATIVE.within(limits);
        let options = RollupOptions { key_bytes_max: limits.key_bytes_max };
        let rollup = Rollup::new(plans.schema.clone(), options);
        let mut builder = Self {
            rows,
            targets,
            arrival,
            rollup,
            limits,
            left: VecDeque::new(),
            position: 0,
            odd: Odd::default(),
            unfed: Unfed::default(),
        };
        builder.use_plans(plans);
        builder
    }

    /// Reads the whole file once without a word to the hub: a row that cannot be read ends the load here, before
    /// any row counts. Gives what is odd about the rows; `passed` hears how many were read.
    pub fn check(mut self, passed: impl Fn(u64)) -> Result<Odd, CliError> {
        let mut faults = Faults::default();
        let mut from = 0;
        while let Some(block) = self.rows.next(ROWS as u64, &self.targets, &mut faults)? {
            passed(self.rows.position - from);
            from = self.rows.position;
            // With faults the block is not what the file says.
            if faults.rows() == 0 {
                self.odd.add(block.finish(self.arrival).1);
            }
        }
        if faults.rows() > 0 { Err(CliError::Rows(faults.to_string())) } else { Ok(self.odd) }
    }

    /// True when the rows bring their own `arrival_timestamp`.
    pub fn has_times(&self) -> bool {
        self.targets.last().is_some_and(|arrival| arrival.source.is_some())
    }

    /// Evaluates other plans from the next batch on. `None`: the stream was dropped.
    ///
    /// # Errors
    /// [`CliError::StreamGone`], also when another stream has its name by now: the rows were read for the columns of
    /// the first one, and its views are not those that have the rows so far.
    pub fn set_plans(&mut self, plans: Option<&StreamPlans>) -> Result<(), CliError> {
        let same = plans.filter(|plans| plans.schema == *self.rollup.schema());
        self.use_plans(same.ok_or(CliError::StreamGone { sent: self.position })?);
        Ok(())
    }

    fn use_plans(&mut self, plans: &StreamPlans) {
        let refused = self.rollup.set_plans(plans.schema.clone(), plans.plans.clone());
        let rollup = &self.rollup;
        self.unfed.update(&plans.plans, &refused, |view, version| rollup.runs(view, version));
    }

    /// What is to be told since the last call.
    pub fn take_news(&mut self) -> Vec<String> {
        std::mem::take(&mut self.unfed.news)
    }

    /// Moves to a row: on, or from the file's start when it lies before the position.
    pub fn skip_to(&mut self, row: u64) -> Result<(), CliError> {
        if row < self.position {
            self.left.clear();
            self.rows.rewind(&self.targets)?;
            (self.position, self.odd) = (0, Odd::default());
        }
        while self.position < row && !self.left.is_empty() {
            self.take(row - self.position)?;
        }
        if self.position < row {
            if !self.rows.skip_to(row)? {
                return Err(CliError::Other("the file ends before the rows that its journal knows".into()));
            }
            self.position = row;
        }
        Ok(())
    }

    /// The payload of up to `max` rows from the position on; fewer when they do not fit one batch. `None` at the
    /// end of the file.
    pub fn build(&mut self, max: u64) -> Result<Option<Built>, CliError> {
        // Room for a view made before a continued load builds the same rows again.
        let limits = BatchLimits { payload_bytes_max: self.limits.payload_bytes_max / 4 * 3, ..self.limits };
        let mut batches = self.take(max)?;
        while !batches.is_empty() {
            if let Some(built) = self.encode(&batches, &limits)? {
                return Ok(Some(built));
            }
            self.put_back_half(&mut batches)?;
        }
        Ok(None)
    }

    /// Exactly `rows` rows as one payload.
    pub fn build_exactly(&mut self, rows: u64) -> Result<Built, CliError> {
        let batches = self.take(rows)?;
        let limits = self.limits;
        match self.encode(&batches, &limits)? {
            Some(built) if built.rows == rows => Ok(built),
            _ => {
                let message = "the views of the stream grew: rows that were one batch do not fit it any more";
                Err(CliError::Other(message.into()))
            }
        }
    }

    /// `None` when the rows do not fit one payload.
    fn encode(&mut self, batches: &[ColumnBatch], limits: &BatchLimits) -> Result<Option<Built>, CliError> {
        for batch in batches {
            self.unfed.reject(&mut self.rollup, batch.rows() as u64);
            self.rollup.push(batch);
        }
        let events = self.rollup.take_events();
        let partials = self.rollup.drain();
        let sections: Vec<_> = partials.iter().map(SectionInput::from).collect();
        let mut rejected = DropCounts::default();
        partials.iter().for_each(|view| rejected.merge(&view.rejected));
        let ledger = LedgerDelta { events, ..LedgerDelta::default() };
        let mut encoded = encode_payloads(&ledger, &sections, limits);
        let oversized = encoded.oversized_groups;
        match (encoded.payloads.pop(), encoded.payloads.is_empty()) {
            (Some(payload), true) => {
                let odd = std::mem::take(&mut self.odd);
                Ok(Some(Built { rows: events, bytes: payload.bytes, oversized, rejected, odd }))
            }
            (Some(_), false) => Ok(None),
            (None, _) => Err(CliError::Other("rows became no batch".into())),
        }
    }

    /// Keeps the first half of the rows; the others come again.
    fn put_back_half(&mut self, batches: &mut Vec<ColumnBatch>) -> Result<(), CliError> {
        if let [only] = batches.as_slice() {
            let rows = only.rows();
            if rows < 2 {
                return Err(CliError::Other(format!("row {} does not fit a batch", self.position)));
            }
            let second = slice(only, &self.targets, rows / 2, rows);
            batches[0] = slice(only, &self.targets, 0, rows / 2);
            batches.push(second);
        }
        for batch in batches.drain(batches.len().div_ceil(2)..).rev() {
            self.position -= batch.rows() as u64;
            self.left.push_front(batch);
        }
        Ok(())
    }

    /// Up to `max` rows; the position moves behind them.
    fn take(&mut self, max: u64) -> Result<Vec<ColumnBatch>, CliError> {
        let (mut batches, mut wanted) = (Vec::new(), max);
        while wanted > 0 {
            let Some(batch) = self.next_batch(wanted)? else { break };
            wanted -= batch.rows() as u64;
            self.position += batch.rows() as u64;
            batches.push(batch);
        }
        Ok(batches)
    }

    fn next_batch(&mut self, max: u64) -> Result<Option<ColumnBatch>, CliError> {
        if let Some(batch) = self.left.pop_front() {
            let max = usize::try_from(max).unwrap_or(usize::MAX);
            if batch.rows() <= max {
                return Ok(Some(batch));
            }
            self.left.push_front(slice(&batch, &self.targets, max, batch.rows()));
            return Ok(Some(slice(&batch, &self.targets, 0, max)));
        }
        let mut faults = Faults::default();
        let Some(block) = self.rows.next(max, &self.targets, &mut faults)? else { return Ok(None) };
        if faults.rows() > 0 {
            return Err(CliError::Rows(faults.to_string()));
        }
        let (batch, odd) = block.finish(self.arrival);
        self.odd.add(odd);
        Ok(Some(batch))
    }
}

/// Rows `from..to`. Slow, and needed only where a batch had to be cut.
fn slice(batch: &ColumnBatch, targets: &[Target], from: usize, to: usize) -> ColumnBatch {
    let cut = |(column, target): (&Column, &Target)| {
        let data_type = &target.field.data_type;
        let mut out = Column::new(data_type);
        for row in from..to {
            out.push(&column.value(row, data_type));
        }
        out
    };
    ColumnBatch { columns: batch.columns.iter().zip(targets).map(cut).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater::ids::StreamId;
    use headwater::schema::StreamSchema;

    /// Only a log that nobody keeps told of it, and no count.
    #[test]
    fn a_view_that_cannot_be_fed_is_told_once_and_counts_its_rows() {
        let schema = StreamSchema { id: StreamId(1), name: "s".into(), fields: Vec::new() };
        let plan = Plan {
            view: ViewId(7),
            version: PlanVersion(3),
            stream: schema.id,
            nodes: Vec::new(),
            filter: None,
            keys: Vec::new(),
            states: Vec::new(),
            groups_max: 10,
        };
        let (mut rollup, mut unfed) =
            (Rollup::new(schema, RollupOptions { key_bytes_max: 100 }), Unfed::default());
        for _ in 0..2 {
            let refused = [(ViewId(7), PlanError::Unsupported(0))];
            unfed.update(std::slice::from_ref(&plan), &refused, |_, _| false);
            unfed.reject(&mut rollup, 5);
        }
        assert!(unfed.news.len() == 1 && unfed.news[0].contains("view 7 gets no rows"), "{:?}", unfed.news);
        let partials = rollup.drain();
        let rejected = partials
            .iter()
            .map(|view| (view.view, view.version, view.rejected.get(DropReason::UnsupportedPlan)));
        assert_eq!(rejected.collect::<Vec<_>>(), [(ViewId(7), PlanVersion(3), 10)]);
        unfed.update(&[], &[], |_, _| false);
        assert!(unfed.views.is_empty());
    }
}
