//! The aggregate behind `combine`: merges encoded states, then finishes them.
//!
//! Exact wherever the aggregate is: the states are the ones the hub stores, and merging is the sdk's.

use super::sketch::finish;
use crate::convert::{array_from_values, arrow_type};
use crate::error::SqlError;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray};
use datafusion::arrow::compute::nullif;
use datafusion::arrow::datatypes::{DataType as ArrowType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};
use headwater::aggregate::{AggregateSpec, Finisher, States, create};
use headwater::codec::Reader;
use headwater::value::{DataType, Value};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What becomes of merged states.
#[derive(Clone, Debug)]
pub(super) enum Emit {
    /// The column's value.
    Value(Finisher, DataType),
    /// The merged state, for a `combine` further up.
    State,
}

/// Merges states of one spec.
#[derive(Clone, Debug)]
pub(super) struct MergeStates {
    pub(super) spec: AggregateSpec,
    pub(super) emit: Emit,
    /// The view's column, for errors.
    pub(super) column: String,
    /// The view that is read, where nobody wrote `combine`.
    view: Option<String>,
    signature: Signature,
}

impl MergeStates {
    pub(super) fn new(spec: AggregateSpec, emit: Emit, column: String) -> Self {
        Self {
            spec,
            emit,
            column,
            view: None,
            signature: Signature::exact(vec![ArrowType::Binary], Volatility::Immutable),
        }
    }

    /// The merge that reading a view takes.
    pub(super) fn of_view(self, view: &str) -> Self {
        Self { view: Some(view.to_owned()), ..self }
    }

    /// What could not be finished.
    fn subject(&self) -> String {
        match &self.view {
            Some(view) => format!("column \"{}\" of view \"{view}\"", self.column),
            None => format!("combine({})", self.column),
        }
    }

    /// What tells two of these apart: finishers hold floats, so text stands for them.
    fn identity(&self) -> String {
        format!("{:?} {:?} {} {:?}", self.spec, self.emit, self.column, self.view)
    }

    fn arrow_type(&self) -> ArrowType {
        match &self.emit {
            Emit::Value(_, data_type) => arrow_type(data_type),
            Emit::State => ArrowType::Binary,
        }
    }

    fn merged(&self) -> Result<Merged> {
        let states = create(&self.spec)
            .ok_or_else(|| bug("a stored view needs an aggregate that this build does not have"))?;
        Ok(Merged { merge: self.clone(), states, groups: 0 })
    }
}

impl PartialEq for MergeStates {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for MergeStates {}

impl Hash for MergeStates {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

fn bug(message: impl Into<String>) -> DataFusionError {
    DataFusionError::External(Box::new(SqlError::new("XX000", message)))
}

impl AggregateUDFImpl for MergeStates {
    fn name(&self) -> &str {
        "combine"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[ArrowType]) -> Result<ArrowType> {
        Ok(self.arrow_type())
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let mut merged = self.merged()?;
        merged.resize(1);
        Ok(Box::new(merged))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[state]", args.name), ArrowType::Binary, true))])
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(self.merged()?))
    }
}

/// States being merged, one per group.
struct Merged {
    merge: MergeStates,
    states: Box<dyn States>,
    groups: usize,
}

impl Merged {
    fn resize(&mut self, groups: usize) {
        self.groups = groups;
        self.states.resize(groups);
    }

    /// Merges row by row; `group` says where each row goes.
    fn merge(&mut self, values: &[ArrayRef], group: impl Fn(usize) -> Option<usize>) -> Result<()> {
        let [states] = values else { return Err(bug("combine takes one state")) };
        let states = states.as_binary::<i32>();
        for row in (0..states.len()).filter(|row| states.is_valid(*row)) {
            let Some(group) = group(row) else { continue };
            let merged = self.states.merge(group as u32, &mut Reader::new(states.value(row)));
            merged.map_err(|e| {
                bug(format!("a stored state of column \"{}\" cannot be read: {e}", self.merge.column))
            })?;
        }
        Ok(())
    }

    fn finished(&self, groups: usize) -> Result<ArrayRef> {
        let Emit::Value(finisher, data_type) = &self.merge.emit else { return Ok(self.encoded(groups)) };
        let named =
            |e: SqlError| SqlError { message: format!("{}: {}", self.merge.subject(), e.message), ..e };
        let value = |group: usize| finish(self.states.as_ref(), group as u32, &self.merge.spec, finisher);
        let values = (0..groups).map(value).collect::<Result<Vec<Value>, SqlError>>();
        let array = values.map_err(named).and_then(|values| array_from_values(&values, data_type));
        array.map_err(|e| DataFusionError::External(Box::new(e)))
    }

    fn encoded(&self, groups: usize) -> ArrayRef {
        let mut builder = BinaryBuilder::new();
        let mut bytes = Vec::new();
        for group in 0..groups {
            bytes.clear();
            self.states.encode(group as u32, &mut bytes);
            builder.append_value(&bytes);
        }
        Arc::new(builder.finish())
    }

    /// How many groups leave.
    fn leaving(&self, emit_to: EmitTo) -> usize {
        match emit_to {
            EmitTo::All => self.groups,
            EmitTo::First(n) => n.min(self.groups),
        }
    }

    /// Forgets the first groups and moves the others down.
    fn forget(&mut self, first: usize) -> Result<()> {
        let kept = self.groups - first;
        let before = std::mem::replace(&mut self.states, self.merge.merged()?.states);
        self.resize(kept);
        for group in 0..kept {
            self.states.merge_group(group as u32, before.as_ref(), (group + first) as u32);
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.states.heap_bytes()
    }
}

impl std::fmt::Debug for Merged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Merged").field("column", &self.merge.column).field("groups", &self.groups).finish()
    }
}

impl Accumulator for Merged {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        Merged::merge(self, values, |_| Some(0))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        ScalarValue::try_from_array(&self.finished(1)?, 0)
    }

    fn size(&self) -> usize {
        self.bytes()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::try_from_array(&self.encoded(1), 0)?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        Merged::merge(self, states, |_| Some(0))
    }
}

impl GroupsAccumulator for Merged {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.resize(total);
        Merged::merge(self, values, |row| {
            let wanted = filter.is_none_or(|f| f.is_valid(row) && f.value(row));
            wanted.then(|| groups[row])
        })
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let first = self.leaving(emit_to);
        let array = self.finished(first)?;
        self.forget(first)?;
        Ok(array)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let first = self.leaving(emit_to);
        let array = self.encoded(first);
        self.forget(first)?;
        Ok(vec![array])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.resize(total);
        Merged::merge(self, values, |row| Some(groups[row]))
    }

    /// A state is its own partial result; rows that the filter refuses have none.
    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let [states] = values else { return Err(bug("combine takes one state")) };
        let Some(filter) = filter else { return Ok(vec![Arc::clone(states)]) };
        let refused = BooleanArray::from_iter(filter.iter().map(|keep| Some(keep != Some(true))));
        Ok(vec![nullif(states, &refused)?])
    }

    fn size(&self) -> usize {
        self.bytes()
    }
}
