//! The columns of set operations, which have to be of one type: a literal takes the other's, as in PostgreSQL.
//!
//! DataFusion would make text of whatever stands beside a text. An analyser's rule looks before it does.

use super::families::{Family, Operand, is_comparable, placed, read_as};
use super::operands::{decimal, is_near};
use super::walk::rewrite_operators;
use crate::error::SqlError;
use datafusion::arrow::datatypes::DataType as ArrowType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{NullEquality, Result};
use datafusion::logical_expr::{Distinct, Expr, Join, LogicalPlan, Projection, Union, cast};
use datafusion::optimizer::AnalyzerRule;
use headwater::value::DataType;
use std::sync::Arc;

/// Makes the columns of set operations agree.
#[derive(Debug)]
pub(super) struct AgreeInSets;

impl AnalyzerRule for AgreeInSets {
    fn name(&self) -> &str {
        "agree_in_sets"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_operators(plan, |plan| match plan {
            LogicalPlan::Union(union) => agreed(union),
            LogicalPlan::Join(join) if !join.on.is_empty() => joined(join),
            plan => Ok(Transformed::no(plan)),
        })
    }
}

fn agreed(union: Union) -> Result<Transformed<LogicalPlan>> {
    let mut inputs = union.inputs.clone();
    for at in 0..union.schema.fields().len() {
        agree(Comparing::Union, &mut inputs, &vec![at; union.inputs.len()])?;
    }
    // Its inputs may have been read before.
    let union = Union::try_new_with_loose_types(inputs)?;
    Ok(Transformed::yes(LogicalPlan::Union(union)))
}

/// Why columns have to agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparing {
    /// Rows of UNION.
    Union,
    /// Rows of INTERSECT and EXCEPT, which are joins.
    Rows,
    /// Keys of a join.
    Keys,
}

/// INTERSECT and EXCEPT are joins by all columns, whose NULLs are equal.
fn joined(join: Join) -> Result<Transformed<LogicalPlan>> {
    let comparing = match join.null_equality {
        NullEquality::NullEqualsNull => Comparing::Rows,
        NullEquality::NullEqualsNothing => Comparing::Keys,
    };
    let mut inputs = [Arc::clone(&join.left), Arc::clone(&join.right)];
    let mut changed = false;
    for (left, right) in &join.on {
        let place = |expr: &Expr, plan: &LogicalPlan| match expr {
            Expr::Column(column) => plan.schema().maybe_index_of_column(column),
            _ => None,
        };
        if let (Some(left), Some(right)) = (place(left, &join.left), place(right, &join.right)) {
            changed |= agree(comparing, &mut inputs, &[left, right])?;
        }
    }
    let plan = LogicalPlan::Join(join);
    if !changed {
        return Ok(Transformed::no(plan));
    }
    let inputs = inputs.into_iter().map(Arc::unwrap_or_clone).collect();
    plan.with_new_exprs(plan.expressions(), inputs).map(Transformed::yes)
}

/// One column of a plan, and what it is.
fn column(plan: &LogicalPlan, at: usize) -> Option<(Expr, Operand)> {
    let (expr, schema) = match plan {
        LogicalPlan::Projection(projection) => {
            (projection.expr.get(at)?.clone().unalias_nested().data, projection.input.schema())
        }
        LogicalPlan::Distinct(Distinct::All(input)) => return column(input, at),
        // Its type will be the widest of theirs.
        LogicalPlan::Union(union) => {
            let columns = union.inputs.iter().rev().filter_map(|input| column(input, at));
            return columns.max_by_key(|(_, operand)| width(operand));
        }
        plan => (Expr::from(plan.schema().iter().nth(at)?), plan.schema()),
    };
    let operand = Operand::of(&expr, schema)?;
    Some((expr, operand))
}

/// Reads the literals of one column, which is at another place in each input, as what the others are. True when one was read.
fn agree(comparing: Comparing, inputs: &mut [Arc<LogicalPlan>], places: &[usize]) -> Result<bool> {
    let columns = inputs.iter().zip(places).filter_map(|(input, at)| column(input, *at));
    let columns: Vec<(Expr, Operand)> = columns.filter(|(_, operand)| !operand.is_open).collect();
    let mut known = columns.iter().filter(|(_, operand)| operand.family != Family::Other);
    let Some((_, first)) = known.next() else { return Ok(false) };
    if let Some((expr, other)) = known.find(|(_, other)| !is_comparable(first.family, other.family)) {
        let what = match comparing {
            Comparing::Union => "UNION",
            Comparing::Rows => "INTERSECT or EXCEPT",
            Comparing::Keys => "JOIN/USING",
        };
        let message = format!("{what} types {} and {} cannot be matched", first.name(), other.name());
        return Err(placed(
            SqlError::new("42804", message).with_hint("a cast of one side may help"),
            &[expr],
        ));
    }
    if matches!(first.family, Family::Text | Family::Uuid) {
        return Ok(false);
    }
    // A fraction as a literal is a numeric where there is one.
    let is_numeric = |operand: &Operand| matches!(operand.data_type(), DataType::Decimal { .. });
    let numeric = columns.iter().map(|(_, operand)| operand).find(|operand| is_numeric(operand));
    if let Some(wanted) = float_of(&columns, comparing != Comparing::Keys) {
        for (input, at) in inputs.iter_mut().zip(places) {
            *input = Arc::new(as_type(input, *at, &wanted)?);
        }
        return Ok(true);
    }
    let widest = columns.iter().rev().map(|(_, operand)| operand).max_by_key(|operand| width(operand));
    let wanted = numeric.or(widest).unwrap_or(first).data_type();
    let mut changed = false;
    for (input, at) in inputs.iter_mut().zip(places) {
        if let Some(read) = with_literal(input, *at, &wanted)? {
            *input = Arc::new(read);
            changed = true;
        }
    }
    Ok(changed)
}

/// The type of the floats that the columns become, where they are not of one: doubles if one is a double, and else reals;
/// but `=` compares a real with another number as doubles.
fn float_of(columns: &[(Expr, Operand)], is_set: bool) -> Option<ArrowType> {
    let data_types = || columns.iter().map(|(_, operand)| operand.field.data_type());
    let has =
        |wanted| columns.iter().any(|(expr, operand)| *operand.field.data_type() == wanted && !is_near(expr));
    let has_numeric = data_types().any(ArrowType::is_decimal);
    let has_other = has_numeric || data_types().any(ArrowType::is_integer);
    match (has(ArrowType::Float64), has(ArrowType::Float32)) {
        (true, has_real) => (has_numeric || has_real).then_some(ArrowType::Float64),
        (false, true) if is_set => {
            data_types().any(|t| *t != ArrowType::Float32).then_some(ArrowType::Float32)
        }
        (false, true) => has_other.then_some(ArrowType::Float64),
        (false, false) => None,
    }
}

/// How wide a number is; 0 for what is none, and for a literal that is still to be read.
fn width(operand: &Operand) -> usize {
    match operand.field.data_type() {
        data_type if data_type.is_floating() => usize::MAX,
        data_type if data_type.is_decimal() => usize::MAX - 1,
        data_type if data_type.is_integer() => data_type.primitive_width().unwrap_or(0),
        _ => 0,
    }
}

/// The plan with a column cast.
pub(super) fn as_type(plan: &Arc<LogicalPlan>, at: usize, wanted: &ArrowType) -> Result<LogicalPlan> {
    let columns = plan.schema().iter().enumerate().map(|(nth, (table, field))| {
        let column = Expr::from((table, field));
        match nth == at {
            true => cast(column, wanted.clone()).alias_qualified(table.cloned(), field.name()),
            false => column,
        }
    });
    Projection::try_new(columns.collect(), Arc::clone(plan)).map(LogicalPlan::Projection)
}

/// The plan with the fraction as a literal at a place as a numeric; `None` where there is none.
pub(super) fn with_numeric(plan: &LogicalPlan, at: usize) -> Option<LogicalPlan> {
    with_literal(plan, at, &DataType::Decimal { precision: 38, scale: 0 }).ok().flatten()
}

/// The plan with the literal at a place read as a value of a type; `None` where there is none.
fn with_literal(plan: &LogicalPlan, at: usize, data_type: &DataType) -> Result<Option<LogicalPlan>> {
    let projection = match plan {
        LogicalPlan::Projection(projection) => projection,
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let read = with_literal(input, at, data_type)?;
            return Ok(read.map(|input| LogicalPlan::Distinct(Distinct::All(Arc::new(input)))));
        }
        _ => return Ok(None),
    };
    let mut exprs = projection.expr.clone();
    let Some(expr) = exprs.get_mut(at) else { return Ok(None) };
    let name = expr.schema_name().to_string();
    let mut literal = expr.clone().unalias_nested().data;
    let is_fraction = matches!(data_type, DataType::Decimal { .. }) && is_near(&literal);
    match decimal(&literal).filter(|_| is_fraction) {
        Some(numeric) => literal = numeric,
        None if read_as(&mut literal, data_type)? => {}
        None => return Ok(None),
    }
    *expr = literal.alias(name);
    Projection::try_new(exprs, Arc::clone(&projection.input)).map(|p| Some(LogicalPlan::Projection(p)))
}
