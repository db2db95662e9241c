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

impl Cell {
    /// From a value that DataFusion computed.
    pub fn from_datafusion(value: &ScalarValue) -> Self {
        let int = |v: Option<i64>| v.map_or(Self::Null, |v| Self::Int(i128::from(v)));
        match value {
            v if v.is_null() => Self::Null,
            ScalarValue::Int32(v) => int(v.map(i64::from)),
            ScalarValue::Int64(v) => int(*v),
            ScalarValue::UInt64(v) => v.map_or(Self::Null, |v| Self::Int(i128::from(v))),
            ScalarValue::Float64(v) => v.map_or(Self::Null, Self::Float),
            ScalarValue::Utf8(Some(v)) | ScalarValue::LargeUtf8(Some(v)) | ScalarValue::Utf8View(Some(v)) => {
                Self::Text(v.clone())
            }
            ScalarValue::TimestampMicrosecond(Some(v), _) => Self::Time(*v),
            ScalarValue::TimestampMillisecond(Some(v), _) => Self::Time(v * 1_000),
            ScalarValue::TimestampNanosecond(Some(v), _) => Self::Time(v / 1_000),
            other => Self::Text(other.to_string()),
        }
    }
}
