//! Plans: decoded, validated, and run when they are valid, as a producer runs what a hub sends.

use crate::seeds;
use crate::targets::{Target, Verdict, same};
use headwater::aggregate::AggregateSpec as S;
use headwater::ids::{PlanVersion, StreamId, ViewId};
use headwater::plan::{BinaryOp, ExprId, Function, Op, Plan, PlanBuilder, PlanError};
use headwater::rollup::{Rollup, RollupOptions};
use headwater::schema::{Field, StreamSchema};
use headwater::value::column::ColumnBatch;
use headwater::value::{DataType, Value};

/// Encodings of valid plans, and of those in the golden vectors.
pub fn target() -> Target {
    Target {
        name: "plan",
        seeds: Box::new(|| {
            let golden = seeds::vectors("plans.txt").into_iter().map(|(_, bytes)| bytes);
            golden.chain(valid().iter().map(Plan::to_bytes)).collect()
        }),
        run: Box::new(plan),
        memory_base: 4 << 20,
    }
}

fn plan(input: &[u8]) -> Verdict {
    let Ok(plan) = Plan::from_bytes(input) else { return Verdict::Refused };
    let verdict = same(input, &plan.to_bytes());
    let valid = plan.validate(&schema()).is_ok();
    let mut rollup = Rollup::new(schema(), RollupOptions::default());
    if rollup.set_plans(schema(), vec![plan]).is_empty() != valid {
        return Verdict::Wrong("validation and the rollup disagree".into());
    }
    if valid {
        rollup.push(&rows(20));
        drop(rollup.drain());
    }
    verdict
}

/// The stream of all plans here; the golden example's too.
pub fn schema() -> StreamSchema {
    let field = |name: &str, data_type| Field { name: name.into(), data_type };
    let fields =
        vec![field("url", DataType::Text), field("ms", DataType::Float64), field("n", DataType::Int32)];
    StreamSchema { id: StreamId(3), name: "s".into(), fields }
}

/// Events of [`schema`], always the same.
pub fn rows(count: u32) -> ColumnBatch {
    let mut batch = schema().empty_batch();
    for i in 0..i64::from(count) {
        let row = [
            if i % 11 == 5 { Value::Null } else { Value::Text(format!("/Page/{}", i % 17)) },
            Value::Float(i as f64 / 4.0 - 3.0),
            if i % 13 == 7 { Value::Null } else { Value::Int(i % 5 - 2) },
            Value::Int(1_700_000_000_000_000 + i * 9_000_000),
        ];
        for (column, value) in batch.columns.iter_mut().zip(&row) {
            assert!(column.push(value), "a value of its type fits its column");
        }
    }
    batch
}

/// Plans of views 1, 2, ...
pub fn valid() -> Vec<Plan> {
    let plans = [counts(), expressions()].map(|plan| plan.expect("a small plan"));
    for plan in &plans {
        assert_eq!(plan.validate(&schema()), Ok(()), "view {:?}", plan.view);
    }
    plans.into()
}

/// By minute and url.
fn counts() -> Result<Plan, PlanError> {
    let mut b = PlanBuilder::new();
    let [url, ms, n, at] = columns(&mut b)?;
    let minute = text(&mut b, "minute")?;
    let minute = b.node(Op::Call(Function::DateTrunc, vec![minute, at]), DataType::Timestamp)?;
    let limit = b.literal(Value::Float(60_000.0), DataType::Float64)?;
    let fast = b.node(Op::Binary(BinaryOp::Lt, ms, limit), DataType::Bool)?;
    b.filter(fast);
    b.key(minute)?;
    b.key(url)?;
    b.state(S::Count { argument: false }, &[], None)?;
    b.state(S::Hll { value: DataType::Text, precision: 10 }, &[url], None)?;
    b.state(S::DdSketch { alpha_ppm: 10_000 }, &[ms], Some(fast))?;
    b.state(S::Sum(DataType::Int32), &[n], None)?;
    Ok(b.finish(ViewId(1), PlanVersion(1), schema().id, 10_000))
}

/// One of many kinds of expressions and states.
fn expressions() -> Result<Plan, PlanError> {
    let mut b = PlanBuilder::new();
    let [url, ms, n, at] = columns(&mut b)?;
    let lower = b.node(Op::Call(Function::Lower, vec![url]), DataType::Text)?;
    let slash = text(&mut b, "/")?;
    let second = b.literal(Value::Int(2), DataType::Int64)?;
    let part = b.node(Op::Call(Function::SplitPart, vec![lower, slash, second]), DataType::Text)?;
    let pattern = text(&mut b, "%_1%")?;
    let like = Op::Like { input: lower, pattern, negated: false, case_insensitive: true };
    let like = b.node(like, DataType::Bool)?;
    let case = Op::Case { branches: vec![(like, part)], otherwise: Some(lower) };
    let case = b.node(case, DataType::Text)?;
    let minus = b.node(Op::Negate(n), DataType::Int32)?;
    let quotient = b.node(Op::Binary(BinaryOp::Divide, minus, n), DataType::Int32)?;
    let cast = b.node(Op::Cast { input: ms, try_cast: false }, DataType::Text)?;
    let list = Op::InList { input: n, list: vec![minus, quotient], negated: true };
    let list = b.node(list, DataType::Bool)?;
    b.key(case)?;
    b.state(S::Count { argument: true }, &[quotient], Some(list))?;
    b.state(S::Min(DataType::Text), &[cast], None)?;
    b.state(S::ArgMax { value: DataType::Float64, key: DataType::Timestamp }, &[ms, at], None)?;
    b.state(S::TopK { value: DataType::Text, k: 3, weighted: false }, &[url], None)?;
    b.state(S::Set { value: DataType::Text, cap: 10 }, &[part], None)?;
    b.state(S::TDigest { compression: 50 }, &[ms], None)?;
    b.state(S::Moments, &[ms], Some(like))?;
    b.state(S::BoolOr, &[like], None)?;
    Ok(b.finish(ViewId(2), PlanVersion(1), schema().id, 100))
}

fn columns(b: &mut PlanBuilder) -> Result<[ExprId; 4], PlanError> {
    Ok([
        b.column(0, DataType::Text)?,
        b.column(1, DataType::Float64)?,
        b.column(2, DataType::Int32)?,
        b.column(3, DataType::Timestamp)?,
    ])
}

fn text(b: &mut PlanBuilder, value: &str) -> Result<ExprId, PlanError> {
    b.literal(Value::Text(value.into()), DataType::Text)
}
