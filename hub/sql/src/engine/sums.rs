//! `sum` of integers and decimals that never wraps: added in a wider type, `22003` when the answer does not fit.
//!
//! DataFusion adds modulo the width of the result. Here it is given integers as decimals of 128 bits, which 2^63 of
//! them cannot leave, and decimals as those of 256, so that the order of rows does not matter either. Sums of other
//! types are DataFusion's.

use super::guard;
use crate::error::SqlError;
use datafusion::arrow::array::{ArrayRef, BooleanArray};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Field, FieldRef,
};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature,
};
use std::sync::Arc;

/// The aggregate that adds.
pub(super) const NAME: &str = "sum";

/// The same aggregate, exact.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Exact {
    inner: Arc<AggregateUDF>,
}

impl Exact {
    pub(super) fn new(inner: Arc<AggregateUDF>) -> Self {
        Self { inner }
    }
}

/// The type that a sum of this type is added in; `None` where DataFusion's own does not wrap.
fn wide_of(result: &DataType) -> Option<DataType> {
    match result {
        DataType::Int64 | DataType::UInt64 => Some(DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0)),
        DataType::Decimal128(_, scale) => Some(DataType::Decimal256(DECIMAL256_MAX_PRECISION, *scale)),
        _ => None,
    }
}

fn wide_field(result: &FieldRef) -> Option<(FieldRef, Widened)> {
    let wide = wide_of(result.data_type())?;
    let widened = Widened { wide: wide.clone(), result: result.data_type().clone() };
    Some((Arc::new(Field::new(result.name(), wide, true)), widened))
}

impl AggregateUDFImpl for Exact {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let Some((field, widened)) = wide_field(&args.return_field) else {
            return self.inner.accumulator(args);
        };
        let inner = self.inner.accumulator(AccumulatorArgs { return_field: field, ..args })?;
        Ok(Box::new(Sum { inner, widened }))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let Some((field, widened)) = wide_field(&args.return_field) else {
            return self.inner.create_sliding_accumulator(args);
        };
        if args.is_distinct {
            return Err(guard::external(SqlError::unsupported("DISTINCT in a window function")));
        }
        let inner = self.inner.create_sliding_accumulator(AccumulatorArgs { return_field: field, ..args })?;
        Ok(Box::new(Sum { inner, widened }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = wide_field(&args.return_field).map(|(field, _)| field);
        let return_field = field.unwrap_or_else(|| Arc::clone(&args.return_field));
        self.inner.state_fields(StateFieldsArgs { return_field, ..args })
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let Some((field, widened)) = wide_field(&args.return_field) else {
            return self.inner.create_groups_accumulator(args);
        };
        let inner = self.inner.create_groups_accumulator(AccumulatorArgs { return_field: field, ..args })?;
        Ok(Box::new(Sums { inner, widened }))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// The way into the wide type and back.
#[derive(Debug)]
struct Widened {
    wide: DataType,
    result: DataType,
}

impl Widened {
    fn widen(&self, values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        values.iter().map(|values| Ok(cast_with_options(values, &self.wide, &STRICT)?)).collect()
    }

    fn narrow(&self, totals: &ArrayRef) -> Result<ArrayRef> {
        cast_with_options(totals, &self.result, &STRICT).map_err(|_| {
            guard::external(match self.result {
                DataType::Decimal128(..) => SqlError::new("22003", "numeric out of range"),
                _ => SqlError::new("22003", "bigint out of range").with_hint("sum(column::numeric(38,0))"),
            })
        })
    }
}

/// An error where a value does not fit, not NULL.
const STRICT: CastOptions<'static> =
    CastOptions { safe: false, format_options: datafusion::arrow::util::display::FormatOptions::new() };

/// One sum, also over a sliding window.
#[derive(Debug)]
struct Sum {
    inner: Box<dyn Accumulator>,
    widened: Widened,
}

impl Accumulator for Sum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(&self.widened.widen(values)?)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let total = self.inner.evaluate()?.to_array()?;
        ScalarValue::try_from_array(&self.widened.narrow(&total)?, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(&self.widened.widen(values)?)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }
}

/// The sums of many groups.
struct Sums {
    inner: Box<dyn GroupsAccumulator>,
    widened: Widened,
}

impl GroupsAccumulator for Sums {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let values = self.widened.widen(values)?;
        self.inner.update_batch(&values, group_indices, opt_filter, total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.widened.narrow(&self.inner.evaluate(emit_to)?)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.inner.state(emit_to)
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.inner.merge_batch(values, group_indices, total_num_groups)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        self.inner.convert_to_state(&self.widened.widen(values)?, opt_filter)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }
}
