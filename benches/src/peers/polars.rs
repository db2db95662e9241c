//! Polars' lazy GROUP BY over the same columns in memory. Set `POLARS_MAX_THREADS=1` to give it one core.

use crate::workload::Events;
use polars::prelude::{Column, DataFrame, IntoLazy, PolarsResult, col, len};

/// The events as a frame.
pub fn prepare(events: &Events) -> PolarsResult<DataFrame> {
    let path: Vec<&str> = (0..events.len()).map(|row| events.path_text(row)).collect();
    DataFrame::new_infer_height(vec![
        Column::new("path".into(), path),
        Column::new("status".into(), &events.status),
        Column::new("latency_ms".into(), &events.latency_ms),
    ])
}

/// The number of groups.
pub fn run(events: &DataFrame) -> PolarsResult<usize> {
    let groups = events.clone().lazy().group_by([col("path"), col("status")]);
    let latency = col("latency_ms");
    let answer =
        groups.agg([len(), latency.clone().sum().alias("sum"), latency.mean().alias("avg")]).collect()?;
    Ok(answer.height())
}
