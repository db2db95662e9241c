//! Series of times as tables: DataFusion's functions want the nanoseconds that nothing else has here.

use super::guard;
use crate::error::SqlError;
use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Expr;
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
        let exprs = args.exprs().iter().map(fine).collect::<Result<Vec<_>>>()?;
        self.inner.call_with_args(TableFunctionArgs::new(&exprs, args.session()))
    }
}

fn fine(expr: &Expr) -> Result<Expr> {
    let Expr::Literal(ScalarValue::TimestampMicrosecond(time, zone), metadata) = expr else {
        return Ok(expr.clone());
    };
    let out_of_range = || {
        let error = SqlError::new("22008", "a series of times begins and ends between 1677 and 2262");
        guard::external(error.with_hint("add its steps to a time: time + n * step"))
    };
    let time = time.map(|micros| micros.checked_mul(1_000).ok_or_else(out_of_range)).transpose()?;
    Ok(Expr::Literal(ScalarValue::TimestampNanosecond(time, zone.clone()), metadata.clone()))
}
