//! The evaluator: a plan's expressions over a batch of rows, one column per node.
//!
//! Owns: the meaning of every [`Op`], which is PostgreSQL's (three-valued logic, checked integers, its
//! casts, its calendar). Must not know: groups, aggregates, SQL text, the clock.
//! Invariants: nodes are evaluated once per batch, operands first, without recursion; a value that cannot
//! be computed is an error slot and never a panic; native and WASM give the same bits.

#![cfg_attr(not(feature = "functions"), allow(unused, reason = "numeric and interval values are left out"))]

mod cast;
mod decimal;
mod fast;
mod kernel;
mod like;
mod math;
mod md5;
mod number;
mod scalar;
#[cfg(test)]
pub(crate) mod tests;
mod text;
mod time;
mod time_text;

#[cfg(feature = "finish")]
pub use md5::md5;
#[cfg(feature = "finish")]
pub use time::{add_interval, date_trunc, is_bucket_width, time_bucket, truncate_years};
#[cfg(feature = "finish")]
pub use time_text::{date_text, iso_date, iso_timestamp, timestamp_text};

#[cfg(feature = "finish")]
pub(crate) use cast::value_text;
pub(crate) use cast::{cast_is_defined, float_to_int, narrow, parse_uuid};
#[cfg(feature = "client")]
pub(crate) use cast::{parse_bool, parse_bytea};
pub(crate) use decimal::{parse_decimal, rescale};
pub(crate) use number::float_to_decimal;
#[cfg(feature = "client")]
pub(crate) use number::{decimal_to_float, parse_float, parse_int};
pub(crate) use time::{DateField, DateUnit, bucket_is_valid};
pub(crate) use time_text::{parse_date, parse_timestamp};

use crate::flavor::{FUNCTIONS, SMALL};
use crate::plan::{ExprId, Node, Op, Plan, PlanError};
use crate::schema::StreamSchema;
use crate::value::column::{Column, ColumnBatch};
use crate::value::{DataType, Value};
use alloc::vec::Vec;
use kernel::Arg;

/// How often a node's column is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    /// Once, when the program is compiled: one row that stands for all.
    Constant,
    /// For every batch: the filter needs it.
    Filter,
    /// For every batch that has rows after the filter.
    Rest,
}

/// A plan made ready to run over batches of one schema. Columns are reused from batch to batch.
#[derive(Clone, Debug)]
pub struct Program {
    plan: Plan,
    passes: Vec<Pass>,
    results: Vec<Column>,
}

impl Program {
    /// Validates a plan against its stream and prepares it; constant expressions are evaluated here.
    ///
    /// # Errors
    /// Those of [`Plan::validate`].
    pub fn compile(plan: &Plan, schema: &StreamSchema) -> Result<Self, PlanError> {
        Self::of(plan.clone(), schema).map_err(|(_, error)| error)
    }

    /// The same without a copy of the plan; on error it comes back.
    pub(crate) fn of(plan: Plan, schema: &StreamSchema) -> Result<Self, (Plan, PlanError)> {
        if let Err(error) = plan.validate(schema) {
            return Err((plan, error));
        }
        let mut results = Vec::with_capacity(plan.nodes.len());
        plan.nodes.iter().for_each(|node| results.push(Column::new(&node.data_type)));
        let mut program = Self { passes: passes(&plan), plan, results };
        for at in 0..program.passes.len() {
            if program.passes[at] == Pass::Constant {
                program.evaluate_node(at, None, 1);
            }
        }
        Ok(program)
    }

    /// The plan.
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Evaluates what the filter needs. The batch must be of the compiled schema
    /// ([`ColumnBatch::check`]).
    pub fn evaluate_filter(&mut self, batch: &ColumnBatch) {
        self.evaluate_pass(Pass::Filter, batch);
    }

    /// Evaluates everything else, after [`Program::evaluate_filter`] on the same batch.
    pub fn evaluate_rest(&mut self, batch: &ColumnBatch) {
        if !SMALL {
            self.evaluate_pass(Pass::Rest, batch);
        }
    }

    /// Evaluates all nodes.
    pub fn evaluate(&mut self, batch: &ColumnBatch) {
        self.evaluate_filter(batch);
        self.evaluate_rest(batch);
    }

    /// The values of a root of the plan (its filter, a key, a state's argument or filter) for the batch
    /// last evaluated.
    pub fn column<'a>(&'a self, batch: &'a ColumnBatch, id: ExprId) -> &'a Column {
        match self.plan.nodes[usize::from(id.0)].op {
            Op::Column(column) => &batch.columns[usize::from(column)],
            _ => &self.results[usize::from(id.0)],
        }
    }

    fn evaluate_pass(&mut self, pass: Pass, batch: &ColumnBatch) {
        for at in 0..self.passes.len() {
            if self.passes[at] == pass {
                self.evaluate_node(at, Some(batch), batch.rows());
            }
        }
    }

    fn evaluate_node(&mut self, at: usize, batch: Option<&ColumnBatch>, rows: usize) {
        let (done, rest) = self.results.split_at_mut(at);
        let nodes = &self.plan.nodes;
        let (node, out) = (&nodes[at], &mut rest[0]);
        out.clear();
        match &node.op {
            Op::Column(_) => {}
            Op::Literal(value) => repeat(value, rows, out),
            op => {
                let mut args = Vec::new();
                op.operands(&mut |id| {
                    let id = usize::from(id.0);
                    let column = match (&nodes[id].op, batch) {
                        (Op::Column(column), Some(batch)) => &batch.columns[usize::from(*column)],
                        _ => &done[id],
                    };
                    let step = usize::from(self.passes[id] != Pass::Constant);
                    args.push(Arg { column, step, data_type: &nodes[id].data_type });
                });
                let literal = first_literal(op, nodes);
                if !fast::evaluate(node, &args, literal, rows, out) {
                    scalar::evaluate(node, &args, literal, rows, out);
                }
            }
        }
    }
}

/// True when this build can evaluate a node over its operands ([`FUNCTIONS`]).
pub(crate) fn is_supported(node: &Node, operands: &[&Node]) -> bool {
    use crate::plan::{BinaryOp, Function as F};
    use DataType as T;
    let simple = |t: &T| !matches!(t, T::Decimal { .. } | T::Interval);
    let number = |t: &T| t.is_int() || t.is_float();
    let types = || operands.iter().map(|operand| &operand.data_type);
    FUNCTIONS
        || match &node.op {
            // An interval is the width of `time_bucket` and nothing else.
            Op::Literal(_) => simple(&node.data_type) || node.data_type == T::Interval,
            Op::Call(F::TimeBucket | F::DateTrunc, _) => {
                node.data_type == T::Timestamp
                    && matches!(operands, [Node { op: Op::Literal(value), .. }, time]
                        if fast::is_fixed_step(value) && time.data_type == T::Timestamp)
            }
            Op::Cast { try_cast: false, .. } => number(&node.data_type) && types().all(number),
            Op::Cast { .. } | Op::Case { .. } | Op::InList { .. } | Op::Like { .. } | Op::Call(..) => false,
            // Those after OR.
            Op::Binary(op, ..) if *op as u8 > BinaryOp::Or as u8 => false,
            _ => simple(&node.data_type) && types().all(simple),
        }
}

/// Which pass computes each node. Constants that rows, keys or states need directly are columns.
fn passes(plan: &Plan) -> Vec<Pass> {
    // With one way for all rows a second pass would save little.
    let in_filter = if SMALL { Vec::new() } else { plan.needed(plan.filter.as_slice()) };
    let mut roots = alloc::vec![false; plan.nodes.len()];
    plan.roots().iter().for_each(|id| roots[usize::from(id.0)] = true);
    let mut passes: Vec<Pass> = Vec::with_capacity(plan.nodes.len());
    for (at, node) in plan.nodes.iter().enumerate() {
        let mut constant = !matches!(node.op, Op::Column(_)) && !roots[at];
        node.op.operands(&mut |id| constant &= passes[usize::from(id.0)] == Pass::Constant);
        passes.push(match (constant, SMALL || in_filter[at]) {
            (true, _) => Pass::Constant,
            (false, true) => Pass::Filter,
            (false, false) => Pass::Rest,
        });
    }
    passes
}

fn repeat(value: &Value, rows: usize, out: &mut Column) {
    for _ in 0..rows {
        // Validated: the literal fits its node's type.
        out.push(value);
    }
}

/// The value of a literal first operand.
fn first_literal<'a>(op: &Op, nodes: &'a [Node]) -> Option<&'a Value> {
    let mut first = None;
    op.operands(&mut |id| first = first.or(Some(id)));
    match &nodes[usize::from(first?.0)].op {
        Op::Literal(value) => Some(value),
        _ => None,
    }
}
