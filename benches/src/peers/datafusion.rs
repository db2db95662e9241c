//! DataFusion's GROUP BY over the same columns in memory, one partition.

use crate::workload::Events;
use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringViewArray};
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::prelude::{SessionConfig, SessionContext};
use std::sync::Arc;

const BATCH_ROWS: usize = 8192;

/// A context whose table `requests` holds the events.
pub fn prepare(events: &Events) -> Result<SessionContext, DataFusionError> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    let batches = (0..events.len()).step_by(BATCH_ROWS).map(|from| {
        let rows = from..events.len().min(from + BATCH_ROWS);
        let path: StringViewArray = rows.clone().map(|row| Some(events.path_text(row))).collect();
        let status = Int64Array::from(events.status[rows.clone()].to_vec());
        let latency = Float64Array::from(events.latency_ms[rows].to_vec());
        let columns: [(&str, ArrayRef); 3] =
            [("path", Arc::new(path)), ("status", Arc::new(status)), ("latency_ms", Arc::new(latency))];
        Ok(RecordBatch::try_from_iter(columns)?)
    });
    let batches = batches.collect::<Result<Vec<_>, DataFusionError>>()?;
    let schema = batches[0].schema();
    context.register_table("requests", Arc::new(MemTable::try_new(schema, vec![batches])?))?;
    Ok(context)
}

/// The number of groups.
pub async fn run(context: &SessionContext) -> Result<usize, DataFusionError> {
    let sql =
        "SELECT path, status, count(*), sum(latency_ms), avg(latency_ms) FROM requests GROUP BY path, status";
    let batches = context.sql(sql).await?.collect().await?;
    Ok(batches.iter().map(RecordBatch::num_rows).sum())
}
