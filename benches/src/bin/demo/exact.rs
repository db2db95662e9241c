//! The exact answers: DataFusion over the file itself.

use crate::cell::Cell;
use crate::compare::Answer;
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use std::path::Path;

/// A context whose only table, `flights`, is the file.
pub async fn open(file: &Path) -> Result<SessionContext, DataFusionError> {
    let context = SessionContext::new();
    let path = file.to_string_lossy();
    context.register_parquet("flights", path.as_ref(), ParquetReadOptions::default()).await?;
    Ok(context)
}

/// Runs a query to its end.
pub async fn query(context: &SessionContext, sql: &str) -> Result<Answer, DataFusionError> {
    let frame = context.sql(sql).await?;
    let names = frame.schema().fields().iter().map(|f| f.name().clone()).collect();
    let mut rows = Vec::new();
    for batch in frame.collect().await? {
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|column| {
                ScalarValue::try_from_array(column, row).map(|value| Cell::from_datafusion(&value))
            });
            rows.push(cells.collect::<Result<Vec<_>, _>>()?);
        }
    }
    Ok(Answer { names, rows })
}
