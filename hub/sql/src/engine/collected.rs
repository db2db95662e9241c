//! Aggregates whose value is as large as everything they were given: `array_agg` and `string_agg`.
//!
//! What they hold is accounted by the operators they run in, but only after a batch was taken, and not what they
//! give: as a window function one of them gives a longer value for every row. Both are charged here.

use super::guard;
use super::watched::longest;
use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::logical_expr::expr::{AggregateFunctionParams, WindowFunctionParams};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, ReversedUDAF, Signature};
use std::sync::Arc;

/// The aggregates that collect.
pub(super) const NAMES: [&str; 2] = ["array_agg", "string_agg"];

/// The same aggregate, charged.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Collected {
    inner: Arc<AggregateUDF>,
}

impl Collected {
    pub(super) fn new(inner: Arc<AggregateUDF>) -> Self {
        Self { inner }
    }

    fn charged(&self, inner: Box<dyn Accumulator>) -> Box<dyn Accumulator> {
        match guard::reservation(self.inner.name()) {
            Some(given) => Box::new(Charged { inner, given }),
            None => inner,
        }
    }
}

impl AggregateUDFImpl for Collected {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner.schema_name(params)
    }

    fn human_display(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner.human_display(params)
    }

    fn window_function_schema_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.inner.window_function_schema_name(params)
    }

    fn display_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner.display_name(params)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn return_field(&self, arg_fields: &[FieldRef]) -> Result<FieldRef> {
        self.inner.return_field(arg_fields)
    }

    fn is_nullable(&self) -> bool {
        self.inner.is_nullable()
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(args).map(|inner| self.charged(inner))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.inner.create_sliding_accumulator(args).map(|inner| self.charged(inner))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn with_beneficial_ordering(
        self: Arc<Self>,
        beneficial_ordering: bool,
    ) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        let ordered = Arc::clone(self.inner.inner()).with_beneficial_ordering(beneficial_ordering)?;
        let charged = |inner| Arc::new(Self::new(Arc::new(AggregateUDF::new_from_shared_impl(inner))));
        Ok(ordered.map(|inner| charged(inner) as Arc<dyn AggregateUDFImpl>))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        match self.inner.reverse_udf() {
            ReversedUDAF::Reversed(inner) => {
                ReversedUDAF::Reversed(Arc::new(AggregateUDF::from(Self::new(inner))))
            }
            other => other,
        }
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(data_type)
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.inner.supports_null_handling_clause()
    }

    fn supports_within_group_clause(&self) -> bool {
        self.inner.supports_within_group_clause()
    }
}

/// What one group collects.
#[derive(Debug)]
struct Charged {
    inner: Box<dyn Accumulator>,
    /// The values given so far.
    given: MemoryReservation,
}

impl Charged {
    /// Before a batch is taken: each row adds at most the longest value of each argument.
    fn check(&self, values: &[ArrayRef]) -> Result<()> {
        guard::check()?;
        let rows = values.first().map_or(0, |v| v.len());
        let row: usize = values.iter().map(longest).sum();
        let all: usize = values.iter().map(|v| v.get_buffer_memory_size()).sum();
        let added =
            if values.len() == 1 { all.min(rows.saturating_mul(row)) } else { rows.saturating_mul(row) };
        guard::check_bytes("a collecting aggregate", added.saturating_add(self.inner.size()))
    }
}

impl Accumulator for Charged {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.check(values)?;
        self.inner.update_batch(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        guard::check()?;
        let value = self.inner.evaluate()?;
        self.given.try_grow(value.size())?;
        Ok(value)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        guard::check()?;
        self.inner.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }
}
