//! Physical plans that can be stopped: every operator is wrapped, and joins' filters are.
//!
//! DataFusion's operators give way only where a leaf produces a batch. A cross join under an aggregate reads its
//! leaves once and then never again; a recursive query reads none. Wrapped, every batch of every operator is a
//! place to stop and to give way. What an operator does with the batches it gets may need more memory than they
//! have: joins and windows repeat rows, and windows keep their whole input. That is charged here, too, because
//! DataFusion does not.

use super::{EngineOptions, guard};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::execution_plan::{CardinalityEffect, replace_children_if_necessary};
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};
use futures::{Stream, StreamExt};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The name of the wrapper in plans.
pub(super) const NAME: &str = "WatchedExec";

/// What the operator above does with the rows that pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Nothing that needs more memory than it accounts for.
    Pass,
    /// Repeats rows, a batch at a time.
    Repeat,
    /// Repeats rows once per element of their lists.
    Unnest,
    /// Keeps all rows and may repeat a value in each.
    Keep,
}

impl Use {
    fn by(node: &dyn ExecutionPlan) -> Self {
        match node.name() {
            "WindowAggExec" | "BoundedWindowAggExec" => Self::Keep,
            "UnnestExec" => Self::Unnest,
            name if name.ends_with("JoinExec") => Self::Repeat,
            _ => Self::Pass,
        }
    }
}

/// The same plan with every operator watched.
pub(super) fn watch(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let watched = plan.transform_up(|node| {
        let node = with_checked_filter(node)?;
        let used = Use::by(node.as_ref());
        let width = node.schema().fields().len();
        let children: Vec<Arc<dyn ExecutionPlan>> = node.children().into_iter().cloned().collect();
        let children = children.into_iter().map(|child| match child.downcast_ref::<WatchedExec>() {
            Some(child) => Arc::new(WatchedExec { used, width, ..child.clone() }) as Arc<dyn ExecutionPlan>,
            None => child,
        });
        let node = replace_children_if_necessary(node, children.collect())?;
        Ok(Transformed::yes(Arc::new(WatchedExec::new(node)) as Arc<dyn ExecutionPlan>))
    });
    watched.data()
}

/// Bytes of the texts, byteas and lists that a plan has as constants.
pub(super) fn constant_bytes(plan: &Arc<dyn ExecutionPlan>) -> Result<usize> {
    let mut bytes = 0usize;
    plan.apply(|node| {
        node.apply_expressions(&mut |expr| {
            expr.apply(|expr| {
                if let Some(literal) = expr.downcast_ref::<Literal>() {
                    bytes =
                        bytes.saturating_add(literal.value().to_array().map_or(0, |array| longest(&array)));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(bytes)
}

/// Rows per batch of a plan: a constant is repeated in every row of a batch.
pub(super) fn batch_rows(plan: &Arc<dyn ExecutionPlan>, options: &EngineOptions) -> Result<usize> {
    let most = options.memory_bytes_max / 16 / constant_bytes(plan)?.max(1);
    Ok(options.batch_rows.min(most).max(1))
}

/// A join that looks for matches does not come up for air until it has a batch of them: its filter does.
fn with_checked_filter(node: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let checked = |filter: &JoinFilter| {
        let expr = Arc::new(Checked(Arc::clone(filter.expression())));
        Some(JoinFilter::new(expr, filter.column_indices().to_vec(), Arc::clone(filter.schema())))
    };
    if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>()
        && let Some(filter) = join.filter()
    {
        return Ok(Arc::new(NestedLoopJoinExecBuilder::from(join).with_filter(checked(filter)).build()?));
    }
    if let Some(join) = node.downcast_ref::<HashJoinExec>()
        && let Some(filter) = join.filter()
    {
        return join.builder().with_filter(checked(filter)).build_exec();
    }
    Ok(node)
}

/// One operator, watched.
#[derive(Clone, Debug)]
struct WatchedExec {
    input: Arc<dyn ExecutionPlan>,
    used: Use,
    /// Columns that the operator above makes.
    width: usize,
    properties: Arc<PlanProperties>,
}

impl WatchedExec {
    fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        let properties = Arc::clone(input.properties());
        Self { input, used: Use::Pass, width: 1, properties }
    }
}

impl DisplayAs for WatchedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)
    }
}

impl ExecutionPlan for WatchedExec {
    fn name(&self) -> &str {
        NAME
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().ok_or_else(|| guard::external(bug()))?;
        Ok(Arc::new(Self { used: self.used, width: self.width, ..Self::new(input) }))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mode = datafusion::physical_plan::ChildrenPropertiesMode::Recompute;
        self.replace_children(children, ReplaceChildrenOptions::new(mode))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        guard::check()?;
        let batch_rows = context.session_config().batch_size();
        let input = make_cooperative(self.input.execute(partition, context)?);
        let limit = guard::step_bytes(self.width);
        let held = match self.used {
            Use::Keep => guard::reservation("window"),
            _ => None,
        };
        let rest = None;
        Ok(Box::pin(Watched { input, used: self.used, batch_rows, limit, rest, rows: 0, widest: 0, held }))
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}

fn bug() -> crate::SqlError {
    crate::SqlError::new("XX000", "an operator lost its input")
}

/// The batches of one operator.
struct Watched {
    input: SendableRecordBatchStream,
    used: Use,
    batch_rows: usize,
    /// Bytes of a batch that are passed on at a time, and what is still to be passed on.
    limit: usize,
    rest: Option<RecordBatch>,
    /// Rows so far, and the longest of them, bytes.
    rows: usize,
    widest: usize,
    held: Option<MemoryReservation>,
}

impl Watched {
    fn account(&mut self, batch: &RecordBatch) -> Result<()> {
        match self.used {
            Use::Pass => Ok(()),
            Use::Repeat => {
                guard::check_bytes("a join's batch", widest(batch).saturating_mul(self.batch_rows))
            }
            Use::Unnest => {
                let rows = batch.columns().iter().map(elements).max().unwrap_or(0);
                let row = widest(batch) + fixed(&batch.schema());
                guard::check_bytes("unnest", rows.saturating_mul(row))
            }
            Use::Keep => {
                self.rows += batch.num_rows();
                self.widest = self.widest.max(widest(batch));
                let bytes = batch.columns().iter().map(var_bytes).sum::<usize>()
                    + batch.num_rows() * fixed(&batch.schema());
                self.held.as_ref().map_or(Ok(()), |held| held.try_grow(bytes))?;
                guard::check_bytes("a window", self.rows.saturating_mul(self.widest))
            }
        }
    }
}

impl Watched {
    /// The first rows of a batch, as many as may be passed on at a time; the others wait. What an operator makes of
    /// a batch, a column at a time, is then never much larger than the batch.
    fn part_of(&mut self, batch: RecordBatch) -> RecordBatch {
        let bytes: usize = batch.columns().iter().map(var_bytes).sum();
        // Sources that were made before the statement ran do not know how many rows it wants at a time.
        let by_bytes = (batch.num_rows().saturating_mul(self.limit)).checked_div(bytes).unwrap_or(usize::MAX);
        let rows = by_bytes.min(self.batch_rows).max(1);
        if rows >= batch.num_rows() {
            return batch;
        }
        self.rest = Some(batch.slice(rows, batch.num_rows() - rows));
        batch.slice(0, rows)
    }
}

impl Stream for Watched {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Err(error) = guard::check() {
            return Poll::Ready(Some(Err(error)));
        }
        if let Some(batch) = self.rest.take() {
            return Poll::Ready(Some(Ok(self.part_of(batch))));
        }
        let polled = self.input.poll_next_unpin(cx);
        match polled {
            Poll::Ready(Some(Ok(batch))) => {
                Poll::Ready(Some(self.account(&batch).map(|()| self.part_of(batch))))
            }
            other => other,
        }
    }
}

impl RecordBatchStream for Watched {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}

/// Bytes of the longest row's texts, byteas and lists.
fn widest(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(longest).sum()
}

/// Bytes of a column's longest value; 0 for types of fixed width.
pub(super) fn longest(column: &ArrayRef) -> usize {
    let lengths = |offsets: &[i32]| offsets.windows(2).map(|w| (w[1] - w[0]) as usize).max().unwrap_or(0);
    let large = |offsets: &[i64]| offsets.windows(2).map(|w| (w[1] - w[0]) as usize).max().unwrap_or(0);
    match column.data_type() {
        DataType::Utf8 => lengths(column.as_string::<i32>().value_offsets()),
        DataType::Binary => lengths(column.as_binary::<i32>().value_offsets()),
        DataType::LargeUtf8 => large(column.as_string::<i64>().value_offsets()),
        DataType::LargeBinary => large(column.as_binary::<i64>().value_offsets()),
        DataType::Utf8View => column.as_string_view().lengths().max().unwrap_or(0) as usize,
        DataType::BinaryView => column.as_binary_view().lengths().max().unwrap_or(0) as usize,
        DataType::List(_) => {
            let list = column.as_list::<i32>();
            lengths(list.value_offsets()).saturating_mul(element(list.values()))
        }
        DataType::LargeList(_) => {
            let list = column.as_list::<i64>();
            large(list.value_offsets()).saturating_mul(element(list.values()))
        }
        _ => 0,
    }
}

/// Bytes of a column's texts, byteas and lists.
fn var_bytes(column: &ArrayRef) -> usize {
    let span = |offsets: &[i32]| (offsets[offsets.len() - 1] - offsets[0]) as usize;
    match column.data_type() {
        DataType::Utf8 => span(column.as_string::<i32>().value_offsets()),
        DataType::Binary => span(column.as_binary::<i32>().value_offsets()),
        DataType::List(_) => {
            let list = column.as_list::<i32>();
            span(list.value_offsets())
                .saturating_mul(list.values().data_type().primitive_width().unwrap_or(8))
                + if list.values().is_empty() { 0 } else { var_bytes(list.values()) }
        }
        DataType::LargeUtf8 | DataType::LargeBinary | DataType::Utf8View | DataType::BinaryView => {
            longest(column).saturating_mul(column.len())
        }
        _ => 0,
    }
}

/// Bytes of a list's longest element.
fn element(values: &ArrayRef) -> usize {
    values.data_type().primitive_width().unwrap_or(8) + longest(values)
}

/// Elements of a column's lists; 0 for other types.
fn elements(column: &ArrayRef) -> usize {
    match column.data_type() {
        DataType::List(_) => column.as_list::<i32>().values().len(),
        DataType::LargeList(_) => column.as_list::<i64>().values().len(),
        _ => 0,
    }
}

/// Bytes of a row's values of fixed width.
fn fixed(schema: &Schema) -> usize {
    schema.fields().iter().map(|f| f.data_type().primitive_width().unwrap_or(8)).sum()
}

/// An expression that ends its query when its time is over.
#[derive(Debug, Clone)]
struct Checked(Arc<dyn PhysicalExpr>);

impl PartialEq for Checked {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq(&other.0)
    }
}

impl Eq for Checked {}

impl Hash for Checked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PhysicalExpr for Checked {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.0.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.0.nullable(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        guard::check()?;
        self.0.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.0]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let inner = children.pop().ok_or_else(|| guard::external(bug()))?;
        Ok(Arc::new(Self(inner)))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_sql(f)
    }
}
