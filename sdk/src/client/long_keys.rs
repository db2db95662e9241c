//! Which events may have a group key above the limit. Those are evaluated at once and alone, so that `emit` can say
//! which views left them out; all others wait for a thousand of their kind.
//!
//! Owns: the guess. Must not know: how keys are encoded, what becomes of the event.
//! What it does not suspect (keys that expressions make long, out of short texts) is only counted, by its view.

use crate::plan::{ExprId, Op, Plan};
use crate::schema::StreamSchema;
use crate::value::column::{ColumnBatch, ColumnData};
use crate::value::{DataType, Physical};

/// The texts that group keys are made of.
#[derive(Debug, Default)]
pub(super) struct LongKeys {
    columns: Vec<usize>,
    pub bytes_max: usize,
}

impl LongKeys {
    /// For a stream's plans.
    pub fn of(plans: &[Plan], bytes_max: usize) -> Self {
        let mut columns: Vec<usize> = plans.iter().flat_map(columns_of_keys).collect();
        columns.sort_unstable();
        columns.dedup();
        Self { columns, bytes_max }
    }

    /// True when the last row may have a key above the limit: its texts fill half of it, and escapes double some bytes.
    #[inline]
    pub fn is_suspect(&self, batch: &ColumnBatch) -> bool {
        let bytes: usize = self.columns.iter().map(|column| last_len(batch, *column)).sum();
        bytes > self.bytes_max / 2
    }

    /// The name and bytes of the longest text that a key of this batch's last row may have.
    pub fn longest(&self, schema: &StreamSchema, batch: &ColumnBatch) -> (String, usize) {
        let longest = self.columns.iter().map(|column| (last_len(batch, *column), *column)).max();
        let (bytes, column) = longest.unwrap_or_default();
        (schema.fields.get(column).map_or_else(String::new, |field| field.name.clone()), bytes)
    }
}

#[inline]
fn last_len(batch: &ColumnBatch, column: usize) -> usize {
    match batch.columns.get(column).map(|column| &column.data) {
        Some(ColumnData::Bytes(values)) => {
            values.len().checked_sub(1).map_or(0, |last| values.get(last).len())
        }
        _ => 0,
    }
}

/// The columns of bytes below the group expressions that are bytes themselves.
fn columns_of_keys(plan: &Plan) -> Vec<usize> {
    let is_bytes = |data_type: &DataType| data_type.physical() == Physical::Bytes;
    let node = |id: &ExprId| plan.nodes.get(usize::from(id.0));
    let mut open: Vec<ExprId> = plan
        .keys
        .iter()
        .copied()
        .filter(|id| node(id).is_some_and(|node| is_bytes(&node.data_type)))
        .collect();
    let mut columns = Vec::new();
    // Operands come before what they are operands of, so this ends.
    while let Some(id) = open.pop() {
        match node(&id).map(|node| &node.op) {
            Some(Op::Column(column)) => columns.push(usize::from(*column)),
            Some(op) => op.operands(&mut |operand| open.push(operand)),
            None => {}
        }
    }
    columns
}
