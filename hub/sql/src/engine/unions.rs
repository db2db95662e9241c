//! Aggregates of queries over state-typed values, wherever those come from: a view's column, a function, another query.
//!
//! `combine` follows a column to its view; these read the values themselves. All values must be of one aggregate with
//! the same parameters (`22023`). NULLs are left out; over no value the answer is NULL.

use super::guard::external;
use super::states::{Arg, bloom_intersection, states};
use crate::error::SqlError;
use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType as ArrowType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};
use headwater::aggregate::{AggregateSpec, States};
use headwater::value::{DataType, Value};
use std::sync::Arc;

/// Their names; each begins with that of the aggregate it merges.
const NAMES: [&str; 4] = ["bloom_union_agg", "bloom_intersection_agg", "theta_union_agg", "freq_merge_agg"];

/// The name of [`MergeValues::combine`]: it takes states of any aggregate.
pub(super) const COMBINE: &str = "combine";

/// One of them.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct MergeValues {
    name: &'static str,
    signature: Signature,
}

/// All of them.
pub(super) fn aggregates() -> impl Iterator<Item = MergeValues> {
    let signature = || Signature::exact(vec![ArrowType::Binary], Volatility::Immutable);
    NAMES.into_iter().map(move |name| MergeValues { name, signature: signature() })
}

impl MergeValues {
    /// What `combine` is over states that were stored in a table.
    pub(super) fn combine() -> Self {
        Self { name: COMBINE, signature: Signature::exact(vec![ArrowType::Binary], Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for MergeValues {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[ArrowType]) -> Result<ArrowType> {
        Ok(ArrowType::Binary)
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(match self.name {
            "bloom_intersection_agg" => Box::new(Intersected { name: self.name, held: None }),
            _ => Box::new(Merged { name: self.name, held: None }),
        })
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[state]", args.name), ArrowType::Binary, true))])
    }
}

/// Calls `each` for the values of a column.
fn each(values: &[ArrayRef], mut each: impl FnMut(Arg) -> std::result::Result<(), SqlError>) -> Result<()> {
    let Some(values) = values.first() else { return Ok(()) };
    let values = values.as_binary::<i32>();
    for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
        each((Value::Bytes(values.value(row).to_vec()), DataType::Bytea)).map_err(external)?;
    }
    Ok(())
}

/// States merged as they come.
struct Merged {
    name: &'static str,
    held: Option<(AggregateSpec, Box<dyn States>)>,
}

impl std::fmt::Debug for Merged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Merged").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Accumulator for Merged {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let name = self.name;
        each(values, |arg| {
            let (spec, state) = states(name, &arg)?;
            match &mut self.held {
                None => self.held = Some((spec, state)),
                Some((held, merged)) if *held == spec => merged.merge_group(0, state.as_ref(), 0),
                Some(_) => {
                    let message = format!("{name}: the states were made with different parameters");
                    return Err(SqlError::new("22023", message));
                }
            }
            Ok(())
        })
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let Some((spec, merged)) = &self.held else { return Ok(ScalarValue::Binary(None)) };
        let bytes = postcard::to_allocvec(spec);
        let mut bytes = bytes.map_err(|e| external(SqlError::new("XX000", e.to_string())))?;
        merged.encode(0, &mut bytes);
        Ok(ScalarValue::Binary(Some(bytes)))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.held.as_ref().map_or(0, |(_, merged)| merged.heap_bytes())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }
}

/// What all filters have.
#[derive(Debug)]
struct Intersected {
    name: &'static str,
    held: Option<Vec<u8>>,
}

impl Accumulator for Intersected {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let name = self.name;
        each(values, |arg| {
            let held = self.held.take().map(|bytes| (Value::Bytes(bytes), DataType::Bytea));
            let args: Vec<Arg> = held.into_iter().chain([arg]).collect();
            match bloom_intersection(name, &args)? {
                Value::Bytes(bytes) => self.held = Some(bytes),
                _ => self.held = None,
            }
            Ok(())
        })
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Binary(self.held.clone()))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.held.as_ref().map_or(0, Vec::capacity)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }
}
