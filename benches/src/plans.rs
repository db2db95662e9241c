//! The workload's stream and its view plans, as a hub would send them.

use headwater::aggregate::AggregateSpec;
use headwater::ids::{PlanVersion, StreamId, ViewId};
use headwater::plan::{Plan, PlanBuilder, PlanError};
use headwater::schema::{Field, StreamSchema};
use headwater::value::DataType;

/// `CREATE STREAM requests (path TEXT, status BIGINT, user_id BIGINT, latency_ms DOUBLE PRECISION)`
pub fn stream() -> StreamSchema {
    let field = |name: &str, data_type| Field { name: name.into(), data_type };
    let fields = vec![
        field("path", DataType::Text),
        field("status", DataType::Int64),
        field("user_id", DataType::Int64),
        field("latency_ms", DataType::Float64),
    ];
    StreamSchema { id: StreamId(1), name: "requests".into(), fields }
}

/// `SELECT path, status, count(*), sum(latency_ms), avg(latency_ms) ... GROUP BY path, status`; with `sketches` also
/// `count(DISTINCT user_id), percentile_cont(0.99) WITHIN GROUP (ORDER BY latency_ms), topk_agg(user_id, 10)`.
pub fn by_path_and_status(sketches: bool, groups_max: u32) -> Result<Plan, PlanError> {
    let mut plan = PlanBuilder::new();
    let path = plan.column(0, DataType::Text)?;
    let status = plan.column(1, DataType::Int64)?;
    let user = plan.column(2, DataType::Int64)?;
    let latency = plan.column(3, DataType::Float64)?;
    plan.key(path)?;
    plan.key(status)?;
    plan.state(AggregateSpec::Count { argument: false }, &[], None)?;
    // sum and avg share one state.
    plan.state(AggregateSpec::Sum(DataType::Float64), &[latency], None)?;
    if sketches {
        plan.state(AggregateSpec::Hll { value: DataType::Int64, precision: 14 }, &[user], None)?;
        plan.state(AggregateSpec::DdSketch { alpha_ppm: 10_000 }, &[latency], None)?;
        plan.state(AggregateSpec::TopK { value: DataType::Int64, k: 10, weighted: false }, &[user], None)?;
    }
    Ok(plan.finish(ViewId(1), PlanVersion(1), StreamId(1), groups_max))
}
