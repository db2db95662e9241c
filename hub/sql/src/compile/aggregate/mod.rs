//! Aggregate calls of definitions: names to states and finishers.
//!
//! | SQL | state | answer |
//! |---|---|---|
//! | `count(*)`, `count(x)` | Count | bigint |
//! | `sum(x)`, `avg(x)` | Sum | as `AggregateSpec::finish_type`; double |
//! | `min(x)`, `max(x)` | Min, Max | x's type |
//! | `var[iance]_pop/_samp`, `stddev_pop/_samp` | Moments | double |
//! | `bool_and`, `every`, `bool_or`, `bit_and`, `bit_or` | the same | boolean, x's type |
//! | `first(x)`, `last(x)`, `first_value`, `last_value` | ArgMin, ArgMax over `arrival_timestamp` | x's type |
//! | `arg_min(x, key)`, `keyed_min(key, x)`, `..._max` | ArgMin, ArgMax | x's type |
//! | `count(DISTINCT x)`, `hll_agg(x[, p])`, `approx_distinct(x)` | Hll | bigint, an estimate |
//! | `percentile_cont(q or array) WITHIN GROUP (ORDER BY x)`, `approx_percentile(x, q)`, `median(x)` | DdSketch | double, an estimate |
//! | `ddsketch_agg(x[, error])`, `dist_agg(x[, compression])` | DdSketch, TDigest | bytea: a sketch to read with `ddsketch_quantile`, `dist_quantile` |
//! | `skewness`, `kurtosis`, `covar_*`, `corr`, `regr_*` | Moments4, Regression ([`statistics`]) | double |
//! | `min_n`, `first_values`, `array_agg`, `string_agg`, `json_agg`, ... | Rows ([`rows`]) | lists, text |
//! | `rank(c) WITHIN GROUP (ORDER BY x)`, ... | counts ([`hypothetical`]) | bigint, double |
//! | `topk_agg(x, k[, weight])` | TopK | list of (value, count) |
//! | `exact_count_distinct(x[, cap])`, `set_agg(x[, cap])` | Set | bigint; list |
//! | `bloom_agg(x[, p, n])`, `freq_agg(x[, eps, p])`, `theta_agg(x[, k])` | Bloom, Freq, Theta | bytea |
//! | `histogram(x, bounds)`, `exp_histogram(x[, buckets])` | Histogram, ExpHistogram | bigint[]; bytea |
//! | `bucket_agg(x, bucket[, ts])` | Bucket | bytea |
//! | `counter_agg(ts, x)`, `time_weight(ts, x[, method])`, `state_agg(ts, state)` | Counter, TimeWeight, StateAgg | bytea; double; list of (state, duration) |

mod sketched;
mod timed;

pub(super) mod hypothetical;
mod rows;
mod statistics;

use super::coerce::{Typed, What};
use super::expr::Exprs;
use super::function::argument_exprs;
use crate::error::SqlError;
use datafusion::sql::sqlparser::ast::{
    self, DuplicateTreatment, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
};
use headwater::aggregate::{AggregateSpec, Finisher, SpecError};
use headwater::plan::{BinaryOp, ExprId, Op, StatePlan};
use headwater::schema::ARRIVAL_TIMESTAMP;
use headwater::value::{DataType, Value};

/// Every aggregate name.
pub(super) const NAMES: &[&str] = &[
    "count",
    "sum",
    "avg",
    "mean",
    "min",
    "max",
    "variance",
    "var_samp",
    "var_pop",
    "stddev",
    "stddev_samp",
    "stddev_pop",
    "bool_and",
    "every",
    "bool_or",
    "bit_and",
    "bit_or",
    "bit_xor",
    "first",
    "last",
    "first_value",
    "last_value",
    "arg_min",
    "arg_max",
    "keyed_min",
    "keyed_max",
    "hll_agg",
    "hll_count_distinct",
    "approx_count_distinct",
    "approx_distinct",
    "percentile_cont",
    "approx_percentile",
    "approx_percentile_cont",
    "median",
    "approx_median",
    "ddsketch_agg",
    "dist_agg",
    "topk_agg",
    "exact_count_distinct",
    "set_agg",
    "bloom_agg",
    "freq_agg",
    "theta_agg",
    "histogram",
    "exp_histogram",
    "bucket_agg",
    "counter_agg",
    "time_weight",
    "state_agg",
    "skewness",
    "skewness_samp",
    "skewness_pop",
    "kurtosis",
    "kurtosis_samp",
    "kurtosis_pop",
    "covar_pop",
    "covar_samp",
    "corr",
    "regr_count",
    "regr_avgx",
    "regr_avgy",
    "regr_sxx",
    "regr_syy",
    "regr_sxy",
    "regr_slope",
    "regr_intercept",
    "regr_r2",
    "min_n",
    "max_n",
    "first_values",
    "last_values",
    "array_agg",
    "string_agg",
    "json_agg",
    "json_object_agg",
    "json_object_int_sum",
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
];

/// Aggregates that others have: refused as such, not as unknown functions.
const REFUSED: &[&str] = &[
    "jsonb_agg",
    "jsonb_object_agg",
    "mode",
    "percentile_disc",
    "covar",
    "grouping",
    "any_value",
    "xor_agg",
    "approx_percentile_cont_with_weight",
    "combine",
    "nth_value_agg",
    "array_concat_agg",
];

const HLL_PRECISION: u8 = 14;
const DDSKETCH_ALPHA_PPM: u32 = 10_000;
const TDIGEST_COMPRESSION: u16 = 200;
const SET_CAP: u32 = 10_000;

/// True for calls that belong to the aggregate compiler, supported or not.
pub(super) fn is_aggregate(name: &str) -> bool {
    NAMES.contains(&name) || REFUSED.contains(&name)
}

/// Precision of distinct counts and error of quantiles where the call does not say, from the view's options.
#[derive(Clone, Copy, Debug)]
pub(super) struct Defaults {
    pub(super) hll_precision: u8,
    pub(super) ddsketch_alpha_ppm: u32,
}

impl Default for Defaults {
    fn default() -> Self {
        Self { hll_precision: HLL_PRECISION, ddsketch_alpha_ppm: DDSKETCH_ALPHA_PPM }
    }
}

/// One compiled aggregate call.
pub(super) struct Aggregate {
    pub(super) state: StatePlan,
    pub(super) finisher: Finisher,
    pub(super) data_type: DataType,
}

/// A state, its arguments and what becomes of it.
struct Parts {
    spec: AggregateSpec,
    args: Vec<ExprId>,
    finisher: Finisher,
    /// A condition of the aggregate's own, besides FILTER.
    only: Option<ExprId>,
}

impl Parts {
    fn new(spec: AggregateSpec, args: Vec<ExprId>) -> Result<Self, SqlError> {
        Self::finish(spec, args, Finisher::Value)
    }

    fn finish(spec: AggregateSpec, args: Vec<ExprId>, finisher: Finisher) -> Result<Self, SqlError> {
        Ok(Self { spec, args, finisher, only: None })
    }
}

/// Compiles an aggregate call.
pub(super) fn compile(
    exprs: &mut Exprs<'_>,
    f: &ast::Function,
    name: &str,
    defaults: Defaults,
) -> Result<Aggregate, SqlError> {
    let at = exprs.text.of(&f.name);
    let parts = parts(exprs, f, name, defaults).map_err(|e| e.at(at))?;
    finished(exprs, f, name, parts)
}

/// Checks a state and adds FILTER.
fn finished(
    exprs: &mut Exprs<'_>,
    f: &ast::Function,
    name: &str,
    parts: Parts,
) -> Result<Aggregate, SqlError> {
    let at = exprs.text.of(&f.name);
    let wrong = |error: String| SqlError::new("42883", format!("{name}: {error}")).at(at);
    parts.spec.validate().map_err(|e| match e {
        SpecError::Parameter("precision") => {
            SqlError::new("22023", format!("{name}: the precision must be from 4 to 18")).at(at)
        }
        e => wrong(e.to_string()),
    })?;
    let data_type = parts.spec.finish_type(&parts.finisher).map_err(|e| wrong(e.to_string()))?;
    let filter = f.filter.as_ref().map(|filter| exprs.boolean(filter, "FILTER")).transpose()?;
    let filter = match (filter, parts.only) {
        (Some(filter), Some(only)) => {
            Some(exprs.nodes.push(Op::Binary(BinaryOp::And, filter, only), DataType::Bool)?)
        }
        (filter, only) => filter.or(only),
    };
    let state = StatePlan { spec: parts.spec, args: parts.args, filter };
    Ok(Aggregate { state, finisher: parts.finisher, data_type })
}

fn parts(
    exprs: &mut Exprs<'_>,
    f: &ast::Function,
    name: &str,
    defaults: Defaults,
) -> Result<Parts, SqlError> {
    check_clauses(f, name)?;
    if name == "count" && is_wildcard(f) {
        return Parts::new(AggregateSpec::Count { argument: false }, Vec::new());
    }
    let mut call = Call::new(exprs, f, name)?;
    if name == "count" && is_distinct(f) {
        return call.hll(defaults.hll_precision);
    }
    if let Some(parts) = exact(&mut call, name) {
        return parts;
    }
    statistics::parts(&mut call, name)
        .or_else(|| rows::parts(&mut call, name))
        .or_else(|| estimated(&mut call, name, defaults))
        .unwrap_or_else(|| Err(refused(name)))
}

fn refused(name: &str) -> SqlError {
    let error = SqlError::not_in_definition(format!("aggregate {name}"));
    match name {
        "percentile_disc" => error.with_hint(
            "its answer is the value of an event, which a sketch does not keep; percentile_cont estimates within 1 %",
        ),
        "jsonb_agg" | "jsonb_object_agg" => error.with_hint("json_agg and json_object_agg give JSON as text"),
        _ => error,
    }
}

/// The aggregates whose answer is exact.
fn exact(call: &mut Call<'_, '_>, name: &str) -> Option<Result<Parts, SqlError>> {
    Some(match name {
        "count" => {
            call.only().and_then(|(x, _)| Parts::new(AggregateSpec::Count { argument: true }, vec![x]))
        }
        "sum" => call.sum(Finisher::Value),
        "avg" | "mean" => call.sum(Finisher::Avg),
        "min" => call.only().and_then(|(x, t)| Parts::new(AggregateSpec::Min(t), vec![x])),
        "max" => call.only().and_then(|(x, t)| Parts::new(AggregateSpec::Max(t), vec![x])),
        "variance" | "var_samp" => call.moments(Finisher::VarSamp),
        "var_pop" => call.moments(Finisher::VarPop),
        "stddev" | "stddev_samp" => call.moments(Finisher::StddevSamp),
        "stddev_pop" => call.moments(Finisher::StddevPop),
        "bool_and" | "every" => call.boolean(AggregateSpec::BoolAnd),
        "bool_or" => call.boolean(AggregateSpec::BoolOr),
        "bit_and" => call.bits(AggregateSpec::BitAnd),
        "bit_or" => call.bits(AggregateSpec::BitOr),
        "bit_xor" => call.bits(AggregateSpec::BitXor),
        "first" | "first_value" | "last" | "last_value" => call.by_time(name.starts_with("first")),
        "arg_min" | "arg_max" => call.keyed(name == "arg_min", false),
        "keyed_min" | "keyed_max" => call.keyed(name == "keyed_min", true),
        "exact_count_distinct" => call.set(Finisher::Cardinality),
        "set_agg" => call.set(Finisher::Value),
        "histogram" => call.histogram(),
        "bucket_agg" => call.bucket(),
        "counter_agg" => call.counter(),
        "time_weight" => call.time_weight(),
        "state_agg" => call.state_agg(),
        _ => return None,
    })
}

/// The aggregates whose answer is within an error.
fn estimated(call: &mut Call<'_, '_>, name: &str, defaults: Defaults) -> Option<Result<Parts, SqlError>> {
    Some(match name {
        "hll_agg" | "hll_count_distinct" | "approx_count_distinct" | "approx_distinct" => {
            call.hll(defaults.hll_precision)
        }
        "percentile_cont" | "approx_percentile" | "approx_percentile_cont" => call.percentile(defaults),
        "median" | "approx_median" => call.median(defaults),
        "ddsketch_agg" => call.ddsketch(defaults),
        "dist_agg" => call.tdigest(),
        "topk_agg" => call.topk(),
        "bloom_agg" => call.bloom(),
        "freq_agg" => call.freq(),
        "theta_agg" => call.theta(),
        "exp_histogram" => call.exp_histogram(),
        _ => return None,
    })
}

/// Clauses that no aggregate here takes, and WITHIN GROUP where it does not belong.
fn check_clauses(f: &ast::Function, name: &str) -> Result<(), SqlError> {
    let refuse = |what: &str| Err(SqlError::not_in_definition(format!("{what} in {name}")));
    if f.over.is_some() {
        return Err(SqlError::not_in_definition(format!("window function {name}"))
            .with_hint("use it when you read the view"));
    }
    if f.null_treatment.is_some() {
        return refuse("IGNORE or RESPECT NULLS");
    }
    if !f.within_group.is_empty() && !takes_group(name) {
        return refuse("WITHIN GROUP");
    }
    if rows::order_by(&f.args).is_none_or(|order| !order.is_empty() && !rows::takes_order(name)) {
        return refuse("ORDER BY or another clause between the parentheses");
    }
    if is_distinct(f) && is_wildcard(f) {
        return Err(SqlError::new("42601", "DISTINCT needs columns, which * is none of")
            .with_hint("count(DISTINCT x) counts distinct values, count(*) counts rows"));
    }
    if is_distinct(f) && name != "count" {
        let error = SqlError::not_in_definition(format!("DISTINCT in {name}"));
        return Err(
            error.with_hint("count(DISTINCT x), exact_count_distinct(x) and set_agg(x) keep distinct values")
        );
    }
    Ok(())
}

/// True for ordered-set and hypothetical-set aggregates.
fn takes_group(name: &str) -> bool {
    let sets = [
        "percentile_cont",
        "approx_percentile_cont",
        "percentile_disc",
        "mode",
        "first_values",
        "last_values",
    ];
    sets.contains(&name) || hypothetical::NAMES.contains(&name)
}

fn is_distinct(f: &ast::Function) -> bool {
    matches!(&f.args, FunctionArguments::List(l) if l.duplicate_treatment == Some(DuplicateTreatment::Distinct))
}

fn is_wildcard(f: &ast::Function) -> bool {
    matches!(&f.args, FunctionArguments::List(l) if matches!(l.args.as_slice(), [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)]))
}

/// An aggregate's arguments, compiled.
struct Call<'c, 'e> {
    exprs: &'c mut Exprs<'e>,
    f: &'c ast::Function,
    name: &'c str,
    args: Vec<Typed>,
}

impl<'c, 'e> Call<'c, 'e> {
    fn new(exprs: &'c mut Exprs<'e>, f: &'c ast::Function, name: &'c str) -> Result<Self, SqlError> {
        let items = argument_exprs(&f.args, name)?;
        refuse_nested(exprs, &items)?;
        let array =
            matches!(name, "histogram" | "percentile_cont" | "approx_percentile" | "approx_percentile_cont");
        let items = items.into_iter().filter(|item| !(array && matches!(item, Expr::Array(_))));
        let args = items.map(|item| exprs.expr(item)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { exprs, f, name, args })
    }

    fn no_match(&self) -> SqlError {
        let types: Vec<String> = self.args.iter().map(Typed::name).collect();
        SqlError::new("42883", format!("function {}({}) does not exist", self.name, types.join(", ")))
    }

    fn check(&self, counts: std::ops::RangeInclusive<usize>) -> Result<(), SqlError> {
        if counts.contains(&self.args.len()) { Ok(()) } else { Err(self.no_match()) }
    }

    /// The next argument, its type decided.
    fn next(&mut self) -> Result<(ExprId, DataType), SqlError> {
        let arg = self.args.remove(0);
        self.exprs.nodes.settle(arg)
    }

    fn only(&mut self) -> Result<(ExprId, DataType), SqlError> {
        self.check(1..=1)?;
        self.next()
    }

    /// The next argument as a double.
    fn double(&mut self) -> Result<ExprId, SqlError> {
        let no_match = self.no_match();
        let arg = self.args.remove(0);
        self.exprs
            .nodes
            .coerce(arg, &DataType::Float64)
            .map_err(|e| if e.code == "42804" { no_match } else { e })
    }

    /// An optional whole-number parameter, which must be a literal.
    fn parameter<T: TryFrom<i64>>(&mut self, what: &str, default: T) -> Result<T, SqlError> {
        if self.args.is_empty() {
            return Ok(default);
        }
        let arg = self.args.remove(0);
        let bad = SqlError::new(
            "22023",
            format!("{} of {} must be a whole number within its range", what, self.name),
        )
        .at(arg.at);
        match self.constant(&arg) {
            Some(Value::Int(v)) => T::try_from(v).map_err(|_| bad),
            _ => Err(bad),
        }
    }

    fn constant(&self, arg: &Typed) -> Option<Value> {
        match &arg.what {
            What::Node(id, _) => self.exprs.nodes.literal(*id).cloned(),
            What::Text(text) => Some(Value::Text(text.clone())),
            What::Null => None,
        }
    }

    fn sum(&mut self, finisher: Finisher) -> Result<Parts, SqlError> {
        let no_match = self.no_match();
        let (x, data_type) = self.only()?;
        if !data_type.is_numeric() {
            return Err(no_match);
        }
        Parts::finish(AggregateSpec::Sum(data_type), vec![x], finisher)
    }

    fn moments(&mut self, finisher: Finisher) -> Result<Parts, SqlError> {
        self.check(1..=1)?;
        let x = self.double()?;
        Parts::finish(AggregateSpec::Moments, vec![x], finisher)
    }

    fn boolean(&mut self, spec: AggregateSpec) -> Result<Parts, SqlError> {
        self.check(1..=1)?;
        let no_match = self.no_match();
        let arg = self.args.remove(0);
        let x = self
            .exprs
            .nodes
            .coerce(arg, &DataType::Bool)
            .map_err(|e| if e.code == "42804" { no_match } else { e })?;
        Parts::new(spec, vec![x])
    }

    fn bits(&mut self, spec: fn(DataType) -> AggregateSpec) -> Result<Parts, SqlError> {
        let no_match = self.no_match();
        let (x, data_type) = self.only()?;
        if data_type.is_int() { Parts::new(spec(data_type), vec![x]) } else { Err(no_match) }
    }

    fn by_time(&mut self, first: bool) -> Result<Parts, SqlError> {
        let (x, value) = self.only()?;
        let (time, key) = self.exprs.any(&Expr::Identifier(Ident::with_quote('"', ARRIVAL_TIMESTAMP)))?;
        Parts::new(arg_spec(first, value, key), vec![x, time])
    }

    fn keyed(&mut self, smallest: bool, key_first: bool) -> Result<Parts, SqlError> {
        self.check(2..=2)?;
        let (first, second) = (self.next()?, self.next()?);
        let ((x, value), (by, key)) = if key_first { (second, first) } else { (first, second) };
        Parts::new(arg_spec(smallest, value, key), vec![x, by])
    }

    fn hll(&mut self, precision: u8) -> Result<Parts, SqlError> {
        self.check(if self.name == "count" { 1..=1 } else { 1..=2 })?;
        let (x, value) = self.next()?;
        let precision = self.parameter("the precision", precision)?;
        Parts::new(AggregateSpec::Hll { value, precision }, vec![x])
    }

    /// `f(q) WITHIN GROUP (ORDER BY x)` or `f(x, q)`.
    fn percentile(&mut self, defaults: Defaults) -> Result<Parts, SqlError> {
        let spec = AggregateSpec::DdSketch { alpha_ppm: defaults.ddsketch_alpha_ppm };
        let descending = match self.f.within_group.as_slice() {
            [] if self.name == "percentile_cont" => {
                return Err(SqlError::new(
                    "42809",
                    "WITHIN GROUP is required for ordered-set aggregate percentile_cont",
                )
                .with_hint("percentile_cont(0.99) WITHIN GROUP (ORDER BY x)"));
            }
            [] => false,
            [order] => {
                let x = self.exprs.expr(&order.expr)?;
                self.args.insert(0, x);
                order.options.asc == Some(false)
            }
            _ => return Err(SqlError::unsupported("WITHIN GROUP (ORDER BY ...) with several expressions")),
        };
        let ranks = self.ranks(descending)?;
        let x = self.double()?;
        Parts::finish(spec, vec![x], ranks)
    }

    /// The ranks, which are literals: one, or an array of them.
    fn ranks(&mut self, descending: bool) -> Result<Finisher, SqlError> {
        let turn = |q: f64| if descending { 1.0 - q } else { q };
        let array = argument_exprs(&self.f.args, self.name)?.into_iter().find_map(|arg| match arg {
            Expr::Array(array) => Some(array),
            _ => None,
        });
        if let Some(array) = array {
            self.check(1..=1)?;
            let ranks = array.elem.iter().map(|e| {
                let typed = self.exprs.expr(e)?;
                self.rank(&typed).map(turn)
            });
            return ranks.collect::<Result<Vec<_>, _>>().map(Finisher::Quantiles);
        }
        self.check(2..=2)?;
        let rank = self.args.remove(1);
        self.rank(&rank).map(|q| Finisher::Quantile(turn(q)))
    }

    fn rank(&self, typed: &Typed) -> Result<f64, SqlError> {
        let bad =
            SqlError::new("22003", format!("the rank of {} must be a literal between 0 and 1", self.name))
                .at(typed.at);
        let value = self.constant(typed).zip(typed.known());
        let value = value.and_then(|(value, t)| crate::convert::cast_value(&value, t, &DataType::Float64));
        match value {
            Some(Value::Float(q)) if (0.0..=1.0).contains(&q) => Ok(q),
            _ => Err(bad),
        }
    }

    fn median(&mut self, defaults: Defaults) -> Result<Parts, SqlError> {
        self.check(1..=1)?;
        let x = self.double()?;
        let spec = AggregateSpec::DdSketch { alpha_ppm: defaults.ddsketch_alpha_ppm };
        Parts::finish(spec, vec![x], Finisher::Quantile(0.5))
    }

    fn ddsketch(&mut self, defaults: Defaults) -> Result<Parts, SqlError> {
        self.check(1..=2)?;
        let x = self.double()?;
        let alpha_ppm = match self.args.pop() {
            None => defaults.ddsketch_alpha_ppm,
            Some(error) => (self.rank(&error)? * 1e6).round() as u32,
        };
        Parts::finish(AggregateSpec::DdSketch { alpha_ppm }, vec![x], Finisher::Bytes)
    }

    fn tdigest(&mut self) -> Result<Parts, SqlError> {
        self.check(1..=2)?;
        let x = self.double()?;
        let compression = self.parameter("the compression", TDIGEST_COMPRESSION)?;
        Parts::finish(AggregateSpec::TDigest { compression }, vec![x], Finisher::Bytes)
    }

    fn topk(&mut self) -> Result<Parts, SqlError> {
        self.check(2..=3)?;
        let (x, value) = self.next()?;
        let at = self.args.first().and_then(|k| k.at);
        let k = self.parameter("k", 0)?;
        if !(1..=1_000).contains(&k) {
            return Err(SqlError::new("22023", "k of topk_agg must be from 1 to 1000").at(at));
        }
        let mut args = vec![x];
        let weighted = !self.args.is_empty();
        if weighted {
            let weight = self.args.remove(0);
            let (name, at) = (weight.name(), weight.at);
            let whole = |e: SqlError| match e.code {
                "42804" => {
                    let message = format!("the weight of topk_agg must be a whole number, not {name}");
                    SqlError::new("42804", message).at(at).with_hint("cast it to bigint, which rounds it")
                }
                _ => e,
            };
            args.push(self.exprs.nodes.coerce(weight, &DataType::Int64).map_err(whole)?);
        }
        Parts::new(AggregateSpec::TopK { value, k, weighted }, args)
    }

    fn set(&mut self, finisher: Finisher) -> Result<Parts, SqlError> {
        self.check(1..=2)?;
        let (x, value) = self.next()?;
        let cap = self.parameter("the cap", SET_CAP)?;
        Parts::finish(AggregateSpec::Set { value, cap }, vec![x], finisher)
    }
}

fn arg_spec(smallest: bool, value: DataType, key: DataType) -> AggregateSpec {
    if smallest { AggregateSpec::ArgMin { value, key } } else { AggregateSpec::ArgMax { value, key } }
}

fn refuse_nested(exprs: &Exprs<'_>, items: &[&Expr]) -> Result<(), SqlError> {
    match items.iter().find_map(|item| super::select::find_aggregate(item)) {
        Some(inner) => {
            Err(SqlError::new("42803", "aggregate function calls cannot be nested").at(exprs.text.of(&inner)))
        }
        None => Ok(()),
    }
}
