//! Intervals compared as PostgreSQL compares them: a month is 30 days, a day 24 hours.
//!
//! DataFusion compares months, days and nanoseconds in turn, so that `interval '1 day' = interval '24 hours'` is
//! false. An analyser's rule puts a number in the place of every interval that is compared: [`Length`]. Groups and
//! DISTINCT keep the first of the intervals that are equal; `min` and `max` are the first in that order. What else
//! compares values by itself is refused.

use super::bytes;
use super::families::compares;
use super::guard;
use super::postgres::each;
use super::walk::rewrite;
use crate::error::SqlError;
use datafusion::arrow::array::{ArrayRef, AsArray, Decimal128Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, Int32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    IntervalUnit, TimeUnit,
};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{Column, DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr;
use datafusion::logical_expr::expr::{
    AggregateFunction, AggregateFunctionParams, Case, NullTreatment, ScalarFunction, Sort, WindowFunction,
};
use datafusion::logical_expr::{
    Aggregate, ColumnarValue, Distinct, Expr, ExprSchemable, LogicalPlan, Projection, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility, WindowFrame, WindowFrameBound, WindowFrameUnits,
    WindowFunctionDefinition,
};
use datafusion::optimizer::AnalyzerRule;
use std::sync::Arc;

/// Nanoseconds of a day.
const DAY: i128 = 86_400_000_000_000;
const DAYS_OF_MONTH: i128 = 30;
const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// Measures the intervals that a plan compares.
#[derive(Debug)]
pub(super) struct CompareIntervals;

impl AnalyzerRule for CompareIntervals {
    fn name(&self) -> &str {
        "compare_intervals"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = rewrite(plan, compared)?;
        plan.transform_up_with_subqueries(operator).data()
    }
}

/// Measures the intervals that windows are sorted by, before their frames get the types of what they are sorted by.
#[derive(Debug)]
pub(super) struct SortWindows;

impl AnalyzerRule for SortWindows {
    fn name(&self) -> &str {
        "sort_windows"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, |mut expr, schema| {
            let changed = match &mut expr {
                Expr::WindowFunction(call) => window(call, schema)?,
                _ => false,
            };
            Ok(Transformed::new_transformed(expr, changed))
        })
    }
}

fn is_interval(expr: &Expr, schema: &DFSchema) -> bool {
    // Most expressions are none: their types are not asked for twice.
    matches!(expr.get_type(schema), Ok(DataType::Interval(_)))
}

fn measured(measure: Measure, expr: Expr) -> Expr {
    let func =
        Arc::new(ScalarUDF::from(Length { measure, signature: Signature::any(1, Volatility::Immutable) }));
    Expr::ScalarFunction(ScalarFunction { func, args: vec![expr] })
}

fn length(expr: Expr) -> Expr {
    measured(Measure::Nanoseconds, expr)
}

fn measure(expr: &mut Expr) {
    *expr = length(std::mem::take(expr));
}

fn refuse(what: &str) -> DataFusionError {
    let error = SqlError::unsupported(format!("{what} of intervals"));
    guard::external(error.with_hint("extract(epoch FROM ...) makes a number of an interval"))
}

/// Comparisons within an expression.
fn compared(mut expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let is = |expr: &Expr| is_interval(expr, schema);
    let changed = match &mut expr {
        Expr::BinaryExpr(binary) if compares(binary.op) && is(&binary.left) && is(&binary.right) => {
            measure(&mut binary.left);
            measure(&mut binary.right);
            true
        }
        Expr::Between(between) if is(&between.expr) => {
            [&mut between.expr, &mut between.low, &mut between.high].into_iter().for_each(|e| measure(e));
            true
        }
        Expr::InList(list) if is(&list.expr) => {
            measure(&mut list.expr);
            list.list.iter_mut().for_each(measure);
            true
        }
        Expr::Case(case) if case.expr.as_ref().is_some_and(|expr| is(expr)) => {
            case.expr.iter_mut().for_each(|expr| measure(expr));
            case.when_then_expr.iter_mut().for_each(|(when, _)| measure(when));
            true
        }
        Expr::InSubquery(subquery) if is(&subquery.expr) => return Err(refuse("IN (SELECT ...)")),
        Expr::SetComparison(comparison) if is(&comparison.expr) => return Err(refuse("ANY and ALL")),
        Expr::ScalarFunction(call) => return function(call, schema).map(|new| replaced(expr, new)),
        Expr::AggregateFunction(call) => aggregate(call, schema)?,
        _ => false,
    };
    Ok(Transformed::new_transformed(expr, changed))
}

fn replaced(expr: Expr, new: Option<Expr>) -> Transformed<Expr> {
    new.map_or(Transformed::no(expr), Transformed::yes)
}

/// Functions that compare their arguments.
const COMPARING: [&str; 15] = [
    "array_distinct",
    "array_except",
    "array_has",
    "array_intersect",
    "array_max",
    "array_min",
    "array_position",
    "array_positions",
    "array_remove",
    "array_remove_all",
    "array_sort",
    "array_union",
    "greatest",
    "least",
    "nullif",
];

fn function(call: &ScalarFunction, schema: &DFSchema) -> Result<Option<Expr>> {
    let name = call.func.name();
    if let ("date_part", [Expr::Literal(unit, _), interval]) = (name, call.args.as_slice())
        && unit.try_as_str().flatten() == Some("microseconds")
        && matches!(interval.get_type(schema), Ok(DataType::Interval(_) | DataType::Duration(_)))
    {
        return Ok(Some(measured(Measure::Micros, interval.clone())));
    }
    if let ("date_part", [Expr::Literal(unit, _), duration]) = (name, call.args.as_slice())
        && unit.try_as_str().flatten().is_some_and(|unit| unit.eq_ignore_ascii_case("epoch"))
        && matches!(duration.get_type(schema), Ok(DataType::Duration(_)))
    {
        // Arrow counts whole seconds, and 68 years of them.
        let micros = logical_expr::cast(duration.clone(), DataType::Duration(TimeUnit::Microsecond));
        let micros = logical_expr::cast(logical_expr::cast(micros, DataType::Int64), DataType::Float64);
        return Ok(Some(micros / logical_expr::lit(1e6)));
    }
    if let ("date_part", [unit, duration]) = (name, call.args.as_slice())
        && matches!(duration.get_type(schema), Ok(DataType::Duration(_)))
    {
        // Arrow would give all its hours or minutes.
        let args = vec![unit.clone(), measured(Measure::Parts, duration.clone())];
        return Ok(Some(Expr::ScalarFunction(ScalarFunction { func: Arc::clone(&call.func), args })));
    }
    if !COMPARING.contains(&name) || !call.args.iter().any(|arg| has_intervals(arg, schema)) {
        return Ok(None);
    }
    let ("nullif", [value, other]) = (name, call.args.as_slice()) else { return Err(refuse(name)) };
    let is_other = length(value.clone()).eq(length(other.clone()));
    let null = Expr::Literal(ScalarValue::try_from(&INTERVAL)?, None);
    Ok(Some(Expr::Case(Case {
        expr: None,
        when_then_expr: vec![(Box::new(is_other), Box::new(null))],
        else_expr: Some(Box::new(value.clone())),
    })))
}

fn has_intervals(expr: &Expr, schema: &DFSchema) -> bool {
    match expr.get_type(schema) {
        Ok(DataType::List(item) | DataType::LargeList(item)) => {
            matches!(item.data_type(), DataType::Interval(_))
        }
        data_type => matches!(data_type, Ok(DataType::Interval(_))),
    }
}

/// True when it changed.
fn aggregate(call: &mut AggregateFunction, schema: &DFSchema) -> Result<bool> {
    let sorted = sort_keys(&mut call.params.order_by, schema);
    let params = &mut call.params;
    let Some(arg) = params.args.first_mut().filter(|arg| is_interval(arg, schema)) else { return Ok(sorted) };
    match call.func.name() {
        name @ ("min" | "max") => {
            params.order_by = vec![Sort::new(length(arg.clone()), name == "min", false)];
            params.null_treatment = Some(NullTreatment::IgnoreNulls);
            params.distinct = false;
            call.func = first_value_udaf();
        }
        "count" if params.distinct => measure(arg),
        name if params.distinct => return Err(refuse(&format!("{name}(DISTINCT)"))),
        _ => return Ok(sorted),
    }
    Ok(true)
}

fn window(call: &mut WindowFunction, schema: &DFSchema) -> Result<bool> {
    let frame = &call.params.window_frame;
    let by_value = frame.units == WindowFrameUnits::Range && has_distance(frame);
    if by_value && call.params.order_by.iter().any(|key| is_interval(&key.expr, schema)) {
        return Err(refuse("RANGE frames"));
    }
    if by_value && call.params.order_by.iter().any(|key| bytes::is_of_bytes(&key.expr, schema)) {
        return Err(guard::external(SqlError::unsupported("RANGE frames of bytea")));
    }
    let mut changed = sort_keys(&mut call.params.order_by, schema);
    for key in call.params.order_by.iter_mut().filter(|key| bytes::is_of_bytes(&key.expr, schema)) {
        key.expr = bytes::spelled(std::mem::take(&mut key.expr));
        changed = true;
    }
    for key in call.params.partition_by.iter_mut().filter(|key| is_interval(key, schema)) {
        measure(key);
        changed = true;
    }
    let compares = matches!(&call.fun, WindowFunctionDefinition::AggregateUDF(function)
        if ["min", "max"].contains(&function.name()) || call.params.distinct);
    if compares && call.params.args.iter().any(|arg| is_interval(arg, schema)) {
        return Err(refuse("a window's min, max or DISTINCT"));
    }
    Ok(changed)
}

/// True when a frame reaches to a value, not to a row.
fn has_distance(frame: &WindowFrame) -> bool {
    [&frame.start_bound, &frame.end_bound].into_iter().any(|bound| match bound {
        WindowFrameBound::Preceding(distance) | WindowFrameBound::Following(distance) => !distance.is_null(),
        WindowFrameBound::CurrentRow => false,
    })
}

fn sort_keys(keys: &mut [Sort], schema: &DFSchema) -> bool {
    let mut changed = false;
    for key in keys.iter_mut().filter(|key| is_interval(&key.expr, schema)) {
        measure(&mut key.expr);
        changed = true;
    }
    changed
}

/// Comparisons that operators make themselves.
fn operator(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Sort(mut sort) => {
            let changed = sort_keys(&mut sort.expr, sort.input.schema());
            Ok(Transformed::new_transformed(LogicalPlan::Sort(sort), changed))
        }
        LogicalPlan::Join(mut join) => {
            let mut changed = false;
            for (left, right) in &mut join.on {
                if is_interval(left, join.left.schema()) && is_interval(right, join.right.schema()) {
                    measure(left);
                    measure(right);
                    changed = true;
                }
            }
            Ok(Transformed::new_transformed(LogicalPlan::Join(join), changed))
        }
        LogicalPlan::Aggregate(aggregate) => group(aggregate),
        LogicalPlan::Distinct(Distinct::All(input)) if has_interval_column(input.schema()) => {
            let keys = input.schema().columns().into_iter().map(Expr::Column).collect();
            group(Aggregate::try_new(input, keys, Vec::new())?)
        }
        LogicalPlan::Distinct(Distinct::On(on))
            if on.on_expr.iter().any(|e| is_interval(e, on.input.schema())) =>
        {
            Err(refuse("DISTINCT ON"))
        }
        LogicalPlan::RecursiveQuery(query)
            if query.is_distinct && has_interval_column(query.static_term.schema()) =>
        {
            Err(refuse("a recursive UNION"))
        }
        plan => Ok(Transformed::no(plan)),
    }
}

fn has_interval_column(schema: &DFSchema) -> bool {
    schema.fields().iter().any(|field| matches!(field.data_type(), DataType::Interval(_)))
}

/// Groups by the lengths of intervals, and gives each group its first one.
fn group(aggregate: Aggregate) -> Result<Transformed<LogicalPlan>> {
    let inner = aggregate.input.schema();
    let in_sets = |expr: &Expr| matches!(expr, Expr::GroupingSet(sets) if sets.distinct_expr().iter().any(|e| is_interval(e, inner)));
    if aggregate.group_expr.iter().any(in_sets) {
        return Err(refuse("grouping sets"));
    }
    if !aggregate.group_expr.iter().any(|expr| is_interval(expr, inner)) {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let keys = aggregate.group_expr.len();
    let (mut group_expr, mut aggr_expr, mut columns) = (Vec::new(), aggregate.aggr_expr.clone(), Vec::new());
    for (at, key) in aggregate.group_expr.iter().enumerate() {
        let (qualifier, field) = aggregate.schema.qualified_field(at);
        if is_interval(key, inner) {
            let name = format!("$first{at}");
            aggr_expr.push(first_of(key.clone()).alias(&name));
            group_expr.push(length(key.clone()).alias(format!("$length{at}")));
            let column = Expr::Column(Column::from_name(name));
            columns.push(column.alias_qualified(qualifier.cloned(), field.name()));
        } else {
            group_expr.push(key.clone());
            columns.push(Expr::Column(Column::from((qualifier, field))));
        }
    }
    columns.extend(aggregate.schema.columns().into_iter().skip(keys).map(Expr::Column));
    let grouped = LogicalPlan::Aggregate(Aggregate::try_new(aggregate.input, group_expr, aggr_expr)?);
    let named = Projection::try_new(columns, Arc::new(grouped))?;
    Ok(Transformed::yes(LogicalPlan::Projection(named)))
}

fn first_of(expr: Expr) -> Expr {
    let (filter, order_by, null_treatment) = (None, Vec::new(), None);
    let params =
        AggregateFunctionParams { args: vec![expr], distinct: false, filter, order_by, null_treatment };
    Expr::AggregateFunction(AggregateFunction { func: first_value_udaf(), params })
}

/// What is measured of an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Measure {
    /// All of it, as a decimal.
    Nanoseconds,
    /// The microseconds behind its last whole minute: DataFusion's `date_part` loses those behind the second.
    Micros,
    /// The days and the rest of a difference of two times, as PostgreSQL has it.
    Parts,
}

/// A measure, as a function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Length {
    measure: Measure,
    signature: Signature,
}

impl ScalarUDFImpl for Length {
    fn name(&self) -> &str {
        match self.measure {
            Measure::Nanoseconds => "length_of_interval",
            Measure::Micros => "micros_of_interval",
            Measure::Parts => "parts_of_interval",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.measure {
            Measure::Nanoseconds => DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0),
            Measure::Micros => DataType::Int32,
            Measure::Parts => INTERVAL,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let of_intervals = |values: &ArrayRef| cast(values, &INTERVAL);
        each(&args.args[0], args.number_rows, |values| match self.measure {
            Measure::Nanoseconds => {
                let intervals = of_intervals(values)?;
                let lengths: Decimal128Array =
                    intervals.as_primitive::<IntervalMonthDayNanoType>().unary(nanoseconds);
                Ok(Arc::new(lengths.with_precision_and_scale(DECIMAL128_MAX_PRECISION, 0)?) as ArrayRef)
            }
            Measure::Micros => {
                let intervals = of_intervals(values)?;
                Ok(Arc::new(
                    intervals.as_primitive::<IntervalMonthDayNanoType>().unary::<_, Int32Type>(micros),
                ))
            }
            Measure::Parts => parts(values),
        })
    }
}

/// Durations as days and nanoseconds.
fn parts(durations: &ArrayRef) -> Result<ArrayRef> {
    const DAY_US: i64 = 86_400_000_000;
    let micros = cast(&cast(durations, &DataType::Duration(TimeUnit::Microsecond))?, &DataType::Int64)?;
    let parts = micros.as_primitive::<Int64Type>().unary::<_, IntervalMonthDayNanoType>(|micros| {
        // At most 2^63 microseconds: 107 million days.
        IntervalMonthDayNano::new(0, (micros / DAY_US) as i32, micros % DAY_US * 1_000)
    });
    Ok(Arc::new(parts))
}

fn nanoseconds(interval: IntervalMonthDayNano) -> i128 {
    let days = i128::from(interval.months) * DAYS_OF_MONTH + i128::from(interval.days);
    days * DAY + i128::from(interval.nanoseconds)
}

/// Less than a minute's.
fn micros(interval: IntervalMonthDayNano) -> i32 {
    (interval.nanoseconds % 60_000_000_000 / 1_000) as i32
}
