//! Times in microseconds, as events and PostgreSQL have them.
//!
//! DataFusion makes nanoseconds of what a date, a text or its own functions become beside a time, and they begin in 1677
//! and end in 2262. This rule puts microseconds in their place: before types are made to agree, where functions and
//! tables give nanoseconds, and behind it, where casts have come in. It may then find only those casts.

use super::walk::rewrite_all;
use datafusion::arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{DFSchema, DFSchemaRef, Result, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan, Union, Values, cast};
use datafusion::optimizer::AnalyzerRule;
use std::cell::Cell;
use std::sync::Arc;

/// Functions that answer with nanoseconds.
const FUNCTIONS: [&str; 4] = ["now", "to_local_time", "to_timestamp", "to_timestamp_nanos"];

/// Puts microseconds in the place of nanoseconds.
#[derive(Debug)]
pub(super) struct Microseconds;

impl AnalyzerRule for Microseconds {
    fn name(&self) -> &str {
        "microseconds"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let mut has_columns = false;
        plan.apply_with_subqueries(|node| {
            has_columns |= node.schema().fields().iter().any(|field| is_fine(field.data_type()));
            Ok(if has_columns { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        let found = Cell::new(false);
        let change = |expr, schema: &DFSchema| {
            let changed = coarse(expr, schema, has_columns)?;
            found.set(found.get() || changed.transformed);
            Ok(changed)
        };
        rewrite_all(
            plan,
            change,
            |plan| if found.get() { with_schema(plan) } else { Ok(Transformed::no(plan)) },
        )
    }
}

fn is_fine(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(TimeUnit::Nanosecond, _))
}

fn in_micros(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        other => other.clone(),
    }
}

fn in_micros_field(field: &Field) -> Field {
    field.clone().with_data_type(in_micros(field.data_type()))
}

fn coarse(mut expr: Expr, schema: &DFSchema, has_columns: bool) -> Result<Transformed<Expr>> {
    use datafusion::common::ExprSchema;
    use datafusion::logical_expr::ExprSchemable;
    let to_cast = match &mut expr {
        Expr::Cast(cast) if is_fine(cast.field.data_type()) => {
            cast.field = Arc::new(in_micros_field(&cast.field));
            return Ok(Transformed::yes(expr));
        }
        Expr::TryCast(cast) if is_fine(cast.field.data_type()) => {
            cast.field = Arc::new(in_micros_field(&cast.field));
            return Ok(Transformed::yes(expr));
        }
        Expr::Literal(ScalarValue::TimestampNanosecond(time, zone), _) => {
            let time = time.map(|nanos| nanos.div_euclid(1_000));
            let literal = ScalarValue::TimestampMicrosecond(time, zone.clone());
            return Ok(Transformed::yes(Expr::Literal(literal, None)));
        }
        Expr::ScalarFunction(call) if FUNCTIONS.contains(&call.func.name()) => expr.get_type(schema).ok(),
        Expr::Column(column) if has_columns => schema.data_type(column).ok().cloned(),
        _ => None,
    };
    Ok(match to_cast.filter(is_fine) {
        Some(data_type) => Transformed::yes(cast(expr, in_micros(&data_type))),
        None => Transformed::no(expr),
    })
}

/// A plan over inputs that have changed, and whose schema it may not take from them by itself.
fn with_schema(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    Ok(Transformed::yes(match plan {
        LogicalPlan::Union(Union { inputs, schema }) => {
            LogicalPlan::Union(Union { inputs, schema: micros_schema(&schema)? })
        }
        LogicalPlan::Values(Values { schema, values }) => {
            LogicalPlan::Values(Values { schema: micros_schema(&schema)?, values })
        }
        plan => plan.recompute_schema()?,
    }))
}

fn micros_schema(schema: &DFSchemaRef) -> Result<DFSchemaRef> {
    let fields = schema.iter().map(|(table, field)| (table.cloned(), Arc::new(in_micros_field(field))));
    Ok(Arc::new(DFSchema::new_with_metadata(fields.collect(), schema.metadata().clone())?))
}
