//! Functions over state-typed values: what `bloom_agg`, `freq_agg`, `theta_agg`, `exp_histogram`, `bucket_agg`,
//! `counter_agg` and `dist_agg` columns read as, or functions and aggregates made of them.
//!
//! A state-typed value says what it is ([`super::sketch`]), so a function finds its parameters in it. Two values are
//! only put together when they were made with the same ones (`22023`); what is no state of the right kind is `22P03`.
//! NULL gives NULL, but unions and intersections leave NULLs out, as PipelineDB's do.

use super::guard::external;
use super::sketch::finish;
use crate::convert::{array_from_values, arrow_type, cast_value, type_of_field, value_at};
use crate::error::SqlError;
use crate::types::type_name;
use datafusion::arrow::datatypes::{DataType as ArrowType, Field};
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use headwater::aggregate::{AggregateSpec, Finisher, States, create};
use headwater::codec::Reader;
use headwater::hash::hash64;
use headwater::sketch::bloom::{self, Bloom};
use headwater::sketch::countmin::{self, CountMin};
use headwater::sketch::exphist::ExpHistogram;
use headwater::sketch::tdigest::TDigest;
use headwater::sketch::theta::Theta;
use headwater::value::{DataType, Value, key};

type Answer = std::result::Result<Value, SqlError>;

/// A value and its type.
pub(super) type Arg = (Value, DataType);

/// What a function takes after its states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Takes {
    /// One state.
    One,
    /// One state and a double.
    OneAndDouble,
    /// One state and a bigint.
    OneAndInt,
    /// One state and a value of any type.
    OneAndAny,
    /// Two states.
    Two,
    /// Any number of states.
    Many,
}

impl Takes {
    fn signature(self) -> Signature {
        let (state, fixed) = (ArrowType::Binary, |types| Signature::exact(types, Volatility::Immutable));
        match self {
            Self::One => fixed(vec![state]),
            Self::OneAndDouble => fixed(vec![state, ArrowType::Float64]),
            Self::OneAndInt => fixed(vec![state, ArrowType::Int64]),
            Self::OneAndAny => Signature::any(2, Volatility::Immutable),
            Self::Two => fixed(vec![state.clone(), state]),
            Self::Many => Signature::variadic(vec![state], Volatility::Immutable),
        }
    }
}

/// A function: its name, arguments, answer's type and work on one row.
#[derive(Debug)]
pub(super) struct StateFunction {
    name: &'static str,
    takes: Takes,
    gives: DataType,
    call: fn(&'static str, &[Arg]) -> Answer,
    signature: Signature,
}

impl PartialEq for StateFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for StateFunction {}

impl std::hash::Hash for StateFunction {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// All of them.
pub(super) fn functions() -> Vec<StateFunction> {
    use DataType::{Bool, Bytea, Float64, Int32, Int64};
    use Takes::{Many, One, OneAndAny, OneAndDouble, OneAndInt, Two};
    let function = |name, takes: Takes, gives, call| StateFunction {
        name,
        takes,
        gives,
        call,
        signature: takes.signature(),
    };
    let list = |of: DataType| DataType::List(Box::new(of));
    let field = |name: &str, data_type| (name.to_owned(), data_type);
    let buckets =
        list(DataType::Struct(vec![field("low", Float64), field("high", Float64), field("count", Int64)]));
    vec![
        function("bloom_contains", OneAndAny, Bool, bloom_contains),
        function("bloom_cardinality", One, Int64, cardinality),
        function("bloom_union", Many, Bytea, union),
        function("bloom_intersection", Many, Bytea, bloom_intersection),
        function("freq", OneAndAny, Int64, frequency),
        function("freq_norm", OneAndAny, Float64, frequency_norm),
        function("freq_total", One, Int64, count),
        function("theta_cardinality", One, Int64, cardinality),
        function("theta_union", Many, Bytea, union),
        function("theta_intersection", Many, Bytea, theta_intersection),
        function("theta_difference", Two, Bytea, theta_difference),
        function("theta_jaccard", Two, Float64, theta_jaccard),
        function("exp_histogram_count", One, Int64, count),
        function("exp_histogram_buckets", One, buckets, value),
        function("exp_histogram_quantile", OneAndDouble, Float64, quantile),
        function("exp_histogram_scale", One, Int32, exp_histogram_scale),
        function("bucket_cardinality", OneAndInt, Int64, bucket_cardinality),
        function("bucket_cardinalities", One, list(Int64), bucket_cardinalities),
        function("bucket_ids", One, list(Int32), bucket_ids),
        function("delta", One, Float64, |name, args| finished(name, args, &Finisher::Delta)),
        function("rate", One, Float64, |name, args| finished(name, args, &Finisher::Rate)),
        function("num_resets", One, Int64, |name, args| finished(name, args, &Finisher::Resets)),
        function("dist_cdf", OneAndDouble, Float64, dist_cdf),
        function("dist_add", OneAndDouble, Bytea, dist_add),
        function("error_bound", One, Float64, error_bound),
    ]
}

impl ScalarUDFImpl for StateFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[ArrowType]) -> Result<ArrowType> {
        let is_state = matches!(args.first(), Some(ArrowType::Binary | ArrowType::Null));
        if self.takes == Takes::OneAndAny && !is_state {
            let of = |t: &ArrowType| type_name(&type_of_field(&Field::new("", t.clone(), true)));
            let types: Vec<String> = args.iter().map(of).collect();
            let message = format!("function {}({}) does not exist", self.name, types.join(", "));
            return Err(external(SqlError::new("42883", message).with_hint("the first argument is a state")));
        }
        Ok(arrow_type(&self.gives))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| type_of_field(field)).collect();
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let rows = arrays.first().map_or(0, |array| array.len());
        let mut answers = Vec::with_capacity(rows);
        for row in 0..rows {
            let cell = |(array, data_type): (_, &DataType)| {
                let array: &datafusion::arrow::array::ArrayRef = array;
                Ok((value_at(array.as_ref(), row, data_type)?, data_type.clone()))
            };
            let row =
                arrays.iter().zip(&types).map(cell).collect::<std::result::Result<Vec<Arg>, SqlError>>();
            answers.push(row.and_then(|row| self.answer(&row)).map_err(external)?);
        }
        let array = array_from_values(&answers, &self.gives).map_err(external)?;
        Ok(ColumnarValue::Array(array))
    }
}

impl StateFunction {
    fn answer(&self, row: &[Arg]) -> Answer {
        let lenient = self.takes == Takes::Many;
        let present: Vec<Arg> = row.iter().filter(|(value, _)| !value.is_null()).cloned().collect();
        if present.is_empty() || (!lenient && present.len() < row.len()) {
            return Ok(Value::Null);
        }
        (self.call)(self.name, &present)
    }
}

/// The state's spec and bytes.
fn open<'a>(name: &str, arg: &'a Arg) -> std::result::Result<(AggregateSpec, &'a [u8]), SqlError> {
    let Value::Bytes(bytes) = &arg.0 else { return Err(no_state(name)) };
    let (spec, rest) = postcard::take_from_bytes::<AggregateSpec>(bytes).map_err(|_| no_state(name))?;
    spec.validate().map_err(|_| no_state(name))?;
    Ok((spec, rest))
}

fn no_state(name: &str) -> SqlError {
    SqlError::new("22P03", format!("{name}: these bytes are no state that it reads"))
        .with_hint("pass a column of the aggregate that the function belongs to, or its combine")
}

fn differ(name: &str) -> SqlError {
    SqlError::new("22023", format!("{name}: the states were made with different parameters"))
}

/// One state of the aggregate that the function's name begins with, or is known to read.
pub(super) fn states(
    name: &str,
    arg: &Arg,
) -> std::result::Result<(AggregateSpec, Box<dyn States>), SqlError> {
    let (spec, rest) = open(name, arg)?;
    if !reads(name, &spec) {
        return Err(no_state(name));
    }
    let mut states = create(&spec).ok_or_else(|| no_state(name))?;
    states.resize(1);
    let mut reader = Reader::new(rest);
    states.merge(0, &mut reader).map_err(|_| no_state(name))?;
    reader.finish().map_err(|_| no_state(name))?;
    Ok((spec, states))
}

/// What a state-typed value says of itself, and its bytes, which are those of a state.
pub(super) fn checked(name: &str, value: &[u8]) -> std::result::Result<(AggregateSpec, Vec<u8>), SqlError> {
    let (spec, states) = states(name, &(Value::Bytes(value.to_vec()), DataType::Bytea))?;
    let mut bare = Vec::new();
    states.encode(0, &mut bare);
    Ok((spec, bare))
}

/// True when a function of this name reads states of this aggregate.
fn reads(name: &str, spec: &AggregateSpec) -> bool {
    match spec.name() {
        _ if name == super::unions::COMBINE || name == super::exports::NAME => true,
        "counter" => matches!(name, "delta" | "rate" | "num_resets" | "error_bound"),
        "tdigest" => name.starts_with("dist_") || name == "error_bound",
        aggregate => name.starts_with(aggregate) || name == "error_bound",
    }
}

/// The state of an aggregate as SQL holds it.
fn bytes(spec: &AggregateSpec, encode: impl FnOnce(&mut Vec<u8>)) -> Answer {
    let mut out = postcard::to_allocvec(spec).map_err(|e| SqlError::new("XX000", e.to_string()))?;
    encode(&mut out);
    Ok(Value::Bytes(out))
}

fn finished(name: &'static str, args: &[Arg], finisher: &Finisher) -> Answer {
    let (spec, states) = states(name, &args[0])?;
    finish(states.as_ref(), 0, &spec, finisher)
        .map_err(|e| SqlError { message: format!("{name}: {}", e.message), ..e })
}

fn cardinality(name: &'static str, args: &[Arg]) -> Answer {
    finished(name, args, &Finisher::Cardinality)
}

fn count(name: &'static str, args: &[Arg]) -> Answer {
    finished(name, args, &Finisher::Count)
}

fn value(name: &'static str, args: &[Arg]) -> Answer {
    finished(name, args, &Finisher::Value)
}

fn quantile(name: &'static str, args: &[Arg]) -> Answer {
    match args[1].0 {
        Value::Float(q) if (0.0..=1.0).contains(&q) => finished(name, args, &Finisher::Quantile(q)),
        _ => Err(SqlError::new("22003", format!("{name}: the rank is not between 0 and 1"))),
    }
}

fn union(name: &'static str, args: &[Arg]) -> Answer {
    let (spec, mut all) = states(name, &args[0])?;
    for arg in &args[1..] {
        let (other, more) = states(name, arg)?;
        if other != spec {
            return Err(differ(name));
        }
        all.merge_group(0, more.as_ref(), 0);
    }
    bytes(&spec, |out| all.encode(0, out))
}

/// The hash of a value among those of a state; `None` for one that the state's type does not have.
fn hash_of((value, data_type): &Arg, wanted: &DataType) -> Option<u64> {
    let cast = cast_value(value, data_type, wanted)?;
    // 1.5 is no integer, although it casts to one.
    let kept = data_type == wanted
        || *data_type == DataType::Text
        || cast_value(&cast, wanted, data_type).as_ref() == Some(value);
    let key = key::encode_key(std::slice::from_ref(&cast), std::slice::from_ref(wanted))?;
    (kept && !cast.is_null()).then(|| hash64(&key))
}

fn open_bloom(name: &str, arg: &Arg) -> std::result::Result<(AggregateSpec, bloom::Shape, Bloom), SqlError> {
    let (spec, rest) = open(name, arg)?;
    let AggregateSpec::Bloom { rate_ppm, expected, .. } = &spec else { return Err(no_state(name)) };
    let shape = bloom::Shape::new(*rate_ppm, *expected);
    let mut reader = Reader::new(rest);
    let filter = Bloom::decode(&shape, &mut reader).map_err(|_| no_state(name))?;
    reader.finish().map_err(|_| no_state(name))?;
    Ok((spec, shape, filter))
}

fn bloom_contains(name: &'static str, args: &[Arg]) -> Answer {
    let (spec, shape, filter) = open_bloom(name, &args[0])?;
    let AggregateSpec::Bloom { value, .. } = &spec else { return Err(no_state(name)) };
    Ok(Value::Bool(hash_of(&args[1], value).is_some_and(|hash| filter.contains(&shape, hash))))
}

pub(super) fn bloom_intersection(name: &'static str, args: &[Arg]) -> Answer {
    let (spec, shape, mut both) = open_bloom(name, &args[0])?;
    for arg in &args[1..] {
        let (other, _, filter) = open_bloom(name, arg)?;
        if other != spec {
            return Err(differ(name));
        }
        both = both.intersection(&shape, &filter);
    }
    bytes(&spec, |out| both.encode(&shape, out))
}

fn open_freq(name: &str, arg: &Arg) -> std::result::Result<(DataType, countmin::Shape, CountMin), SqlError> {
    let (spec, rest) = open(name, arg)?;
    let AggregateSpec::Freq { value, error_ppm, confidence_ppm } = spec else { return Err(no_state(name)) };
    let shape = countmin::Shape::new(error_ppm, confidence_ppm);
    let mut reader = Reader::new(rest);
    let sketch = CountMin::decode(&shape, &mut reader).map_err(|_| no_state(name))?;
    reader.finish().map_err(|_| no_state(name))?;
    Ok((value, shape, sketch))
}

/// How many events had a value, and how many there were.
fn frequencies(name: &str, args: &[Arg]) -> std::result::Result<(u64, u64), SqlError> {
    let too_many = || SqlError::new("22003", format!("{name}: bigint is out of range"));
    let (value, shape, sketch) = open_freq(name, &args[0])?;
    let total = sketch.total().ok_or_else(too_many)?;
    let found = hash_of(&args[1], &value).map_or(Some(0), |hash| sketch.frequency(&shape, hash));
    Ok((found.ok_or_else(too_many)?, total))
}

fn frequency(name: &'static str, args: &[Arg]) -> Answer {
    let (found, _) = frequencies(name, args)?;
    let found = i64::try_from(found).map_err(|_| SqlError::new("22003", "bigint is out of range"));
    found.map(Value::Int)
}

fn frequency_norm(name: &'static str, args: &[Arg]) -> Answer {
    let (found, total) = frequencies(name, args)?;
    Ok(if total == 0 { Value::Null } else { Value::Float(found as f64 / total as f64) })
}

fn open_theta(name: &str, arg: &Arg) -> std::result::Result<(AggregateSpec, Theta), SqlError> {
    let (spec, rest) = open(name, arg)?;
    let AggregateSpec::Theta { lg_k, .. } = &spec else { return Err(no_state(name)) };
    let mut reader = Reader::new(rest);
    let theta = Theta::decode(1 << lg_k, &mut reader).map_err(|_| no_state(name))?;
    reader.finish().map_err(|_| no_state(name))?;
    Ok((spec, theta))
}

/// Two sets of one spec.
fn open_two(name: &str, args: &[Arg]) -> std::result::Result<(AggregateSpec, Theta, Theta), SqlError> {
    let ((spec, left), (other, right)) = (open_theta(name, &args[0])?, open_theta(name, &args[1])?);
    if spec == other { Ok((spec, left, right)) } else { Err(differ(name)) }
}

fn theta_intersection(name: &'static str, args: &[Arg]) -> Answer {
    let (spec, mut all) = open_theta(name, &args[0])?;
    for arg in &args[1..] {
        let (other, theta) = open_theta(name, arg)?;
        if other != spec {
            return Err(differ(name));
        }
        all = all.intersection(&theta);
    }
    bytes(&spec, |out| all.encode(out))
}

fn theta_difference(name: &'static str, args: &[Arg]) -> Answer {
    let (spec, left, right) = open_two(name, args)?;
    bytes(&spec, |out| left.difference(&right).encode(out))
}

fn theta_jaccard(name: &'static str, args: &[Arg]) -> Answer {
    let (_, left, right) = open_two(name, args)?;
    Ok(left.jaccard(&right).map_or(Value::Null, Value::Float))
}

fn open_exp(name: &str, arg: &Arg) -> std::result::Result<ExpHistogram, SqlError> {
    let (spec, rest) = open(name, arg)?;
    let AggregateSpec::ExpHistogram { buckets } = spec else { return Err(no_state(name)) };
    ExpHistogram::decode(buckets, &mut Reader::new(rest)).map_err(|_| no_state(name))
}

fn exp_histogram_scale(name: &'static str, args: &[Arg]) -> Answer {
    open_exp(name, &args[0]).map(|histogram| Value::Int(histogram.scale().into()))
}

/// The buckets of a `bucket_agg` and how many values are in each.
fn in_buckets(name: &'static str, args: &[Arg]) -> std::result::Result<Vec<(i64, Value)>, SqlError> {
    let Value::List(pairs) = value(name, args)? else { return Err(no_state(name)) };
    let pair = |pair: Value| match pair {
        Value::Struct(mut fields) if fields.len() == 2 => match (fields.remove(0), fields.remove(0)) {
            (Value::Int(bucket), count) => Ok((bucket, count)),
            _ => Err(no_state(name)),
        },
        _ => Err(no_state(name)),
    };
    pairs.into_iter().map(pair).collect()
}

fn bucket_cardinality(name: &'static str, args: &[Arg]) -> Answer {
    let Value::Int(wanted) = args[1].0 else { return Err(no_state(name)) };
    let found = in_buckets(name, args)?.into_iter().find(|(bucket, _)| *bucket == wanted);
    Ok(found.map_or(Value::Int(0), |(_, count)| count))
}

fn bucket_cardinalities(name: &'static str, args: &[Arg]) -> Answer {
    in_buckets(name, args).map(|pairs| Value::List(pairs.into_iter().map(|(_, count)| count).collect()))
}

fn bucket_ids(name: &'static str, args: &[Arg]) -> Answer {
    in_buckets(name, args).map(|pairs| Value::List(pairs.into_iter().map(|(id, _)| Value::Int(id)).collect()))
}

fn open_digest(name: &str, arg: &Arg) -> std::result::Result<(AggregateSpec, u16, TDigest), SqlError> {
    let (spec, rest) = open(name, arg)?;
    let AggregateSpec::TDigest { compression } = spec else { return Err(no_state(name)) };
    let mut reader = Reader::new(rest);
    let digest = TDigest::decode(compression, &mut reader).map_err(|_| no_state(name))?;
    reader.finish().map_err(|_| no_state(name))?;
    Ok((spec, compression, digest))
}

fn dist_cdf(name: &'static str, args: &[Arg]) -> Answer {
    let (_, _, digest) = open_digest(name, &args[0])?;
    let Value::Float(x) = args[1].0 else { return Err(no_state(name)) };
    Ok(digest.cdf(x).map_or(Value::Null, Value::Float))
}

fn dist_add(name: &'static str, args: &[Arg]) -> Answer {
    let (spec, _, mut digest) = open_digest(name, &args[0])?;
    let Value::Float(x) = args[1].0 else { return Err(no_state(name)) };
    digest.add(x);
    bytes(&spec, |out| digest.encode(out))
}

/// What is meant depends on the aggregate: `SQL.md`, "State-typed columns".
fn error_bound(name: &'static str, args: &[Arg]) -> Answer {
    let arg = &args[0];
    let bound = match states(name, arg)?.0 {
        AggregateSpec::Bloom { .. } => {
            let (_, shape, filter) = open_bloom(name, arg)?;
            filter.false_positives(&shape)
        }
        AggregateSpec::Freq { error_ppm, .. } => {
            let (_, _, sketch) = open_freq(name, arg)?;
            let total = sketch.total().map_or(f64::INFINITY, |total| total as f64);
            if sketch.is_exact() { 0.0 } else { f64::from(error_ppm) / 1e6 * total }
        }
        AggregateSpec::Theta { lg_k, .. } => {
            let (_, theta) = open_theta(name, arg)?;
            if theta.share() < 1.0 { 1.0 / f64::from((1u32 << lg_k) - 1).sqrt() } else { 0.0 }
        }
        AggregateSpec::DdSketch { alpha_ppm } => f64::from(alpha_ppm) / 1e6,
        AggregateSpec::TDigest { .. } => {
            let (_, compression, digest) = open_digest(name, arg)?;
            digest_bound(digest.count() as f64, f64::from(compression))
        }
        AggregateSpec::ExpHistogram { .. } => open_exp(name, arg)?.relative_error(),
        _ => 0.0,
    };
    Ok(Value::Float(bound))
}

/// Of the rank at the median, where it is largest.
fn digest_bound(n: f64, compression: f64) -> f64 {
    if n == 0.0 {
        return 0.0;
    }
    let z = 4.0 * (n / compression).ln() + 24.0;
    (0.25 * z.max(0.0) / compression + 2.0 / n).min(1.0)
}
