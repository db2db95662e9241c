//! Series as tables: DataFusion's functions want bigints, and the nanoseconds that nothing else has here.

use super::families::constant;
use super::guard;
use crate::error::SqlError;
use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::Expr;
use headwater::value::DataType as Type;
use std::sync::Arc;

/// Their names.
pub(super) const NAMES: [&str; 2] = ["generate_series", "range"];

/// One of them.
#[derive(Debug)]
pub(super) struct Series {
    inner: Arc<dyn TableFunctionImpl>,
}

impl Series {
    pub(super) fn new(inner: Arc<dyn TableFunctionImpl>) -> Self {
        Self { inner }
    }
}

impl TableFunctionImpl for Series {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let mut exprs = args.exprs().iter().map(fine).collect::<Result<Vec<_>>>()?;
        if let [start, end, ..] = exprs.as_mut_slice() {
            read_beside(start, end)?;
            read_beside(end, start)?;
        }
        if let Some(step) = exprs.get_mut(2)
            && let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = step
        {
            *step = constant(text, &Type::Interval)?;
        }
        self.inner.call_with_args(TableFunctionArgs::new(&exprs, args.session()))
    }
}

/// A text beside a time is one.
fn read_beside(time: &Expr, text: &mut Expr) -> Result<()> {
    let wanted = match time {
        Expr::Literal(ScalarValue::TimestampNanosecond(..), _) => Type::Timestamp,
        Expr::Literal(ScalarValue::Date32(_), _) => Type::Date,
        _ => return Ok(()),
    };
    if let Expr::Literal(ScalarValue::Utf8(Some(written)), _) = text {
        *text = fine(&constant(written, &wanted)?)?;
    }
    Ok(())
}

/// The argument as DataFusion's functions take it.
fn fine(expr: &Expr) -> Result<Expr> {
    let Expr::Literal(value, metadata) = expr else { return Ok(expr.clone()) };
    let value = match value {
        ScalarValue::TimestampMicrosecond(time, zone) => {
            let time = time.map(|micros| micros.checked_mul(1_000).ok_or_else(out_of_range)).transpose()?;
            ScalarValue::TimestampNanosecond(time, zone.clone())
        }
        // Parameters of drivers have the narrowest type; lengths of arrays have none of SQL's.
        ScalarValue::Int16(_) | ScalarValue::Int32(_) | ScalarValue::UInt64(_) => {
            value.cast_to(&DataType::Int64)?
        }
        value => value.clone(),
    };
    Ok(Expr::Literal(value, metadata.clone()))
}

fn out_of_range() -> DataFusionError {
    let error = SqlError::new("22008", "a series of times begins and ends between 1677 and 2262");
    guard::external(error.with_hint("add its steps to a time: time + n * step"))
}
