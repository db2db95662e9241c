//! Sketches as SQL values, and the functions that read them.
//!
//! A `ddsketch_agg` or `dist_agg` column reads as bytea: the state's [`AggregateSpec`] in postcard, then the
//! state's canonical bytes (`sdk/FORMAT.md`, "States"). The value says what it is, so that it can be read wherever
//! it ends up; `combine` gives the same.
//!
//! | function | reads |
//! |---|---|
//! | `dist_quantile(sketch, q)`, `ddsketch_quantile(sketch, q)` | the value at rank q in 0..=1; NULL when empty |
//! | `dist_count(sketch)`, `ddsketch_count(sketch)` | how many values it holds |
//! | `hll_cardinality(n)` | `n`: `hll_agg` reads as its estimate already; kept for PipelineDB's queries |

use crate::error::SqlError;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array};
use datafusion::arrow::datatypes::{DataType as ArrowType, Float64Type};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use headwater::aggregate::{AggregateSpec, FinishError, Finisher, States, create};
use headwater::codec::Reader;
use headwater::value::Value;
use std::sync::Arc;

/// Finishes one state as SQL reads it.
///
/// # Errors
/// `22003` when the value does not fit its type, `54000` when a set is full.
pub(super) fn finish(
    states: &dyn States,
    group: u32,
    spec: &AggregateSpec,
    finisher: &Finisher,
) -> Result<Value, SqlError> {
    if *finisher == Finisher::Bytes {
        let mut bytes = postcard::to_allocvec(spec).map_err(|e| SqlError::new("XX000", e.to_string()))?;
        states.encode(group, &mut bytes);
        return Ok(Value::Bytes(bytes));
    }
    states.finish(group, finisher).map_err(|error| {
        let code = match error {
            FinishError::OutOfRange(_) => "22003",
            FinishError::SetFull(_) | FinishError::CollectionFull(_) => "54000",
            FinishError::Overlapping => "22000",
            _ => "XX000",
        };
        let told = SqlError::new(code, error.to_string());
        match error {
            FinishError::SetFull(_) => told.with_hint(WHEN_FULL),
            FinishError::CollectionFull(_) => told.with_hint(WHEN_COLLECTED),
            FinishError::Overlapping => told.with_hint(WHEN_OVERLAPPING),
            _ => told,
        }
    })
}

/// A view keeps its cap for life.
const WHEN_FULL: &str = "leave the column out, or make the view again with a larger cap (the second argument), or with \
                         count(DISTINCT ...), which estimates and has no cap";

/// So does a collection.
const WHEN_COLLECTED: &str = "leave the column out, or make the view again with a larger cap (the last argument) or \
                              smaller groups";

/// What producers of one group send must be apart in time.
const WHEN_OVERLAPPING: &str =
    "group by what tells the producers apart (a host, a device), and by a time bucket";

/// What a reading function does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Reads {
    Quantile,
    Count,
    Itself,
}

/// A function over sketch values.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct SketchFunction {
    name: &'static str,
    reads: Reads,
    signature: Signature,
}

/// All of them.
pub(super) fn functions() -> Vec<SketchFunction> {
    let quantile = || Signature::exact(vec![ArrowType::Binary, ArrowType::Float64], Volatility::Immutable);
    let count = || Signature::exact(vec![ArrowType::Binary], Volatility::Immutable);
    let itself = Signature::exact(vec![ArrowType::Int64], Volatility::Immutable);
    vec![
        SketchFunction { name: "dist_quantile", reads: Reads::Quantile, signature: quantile() },
        SketchFunction { name: "ddsketch_quantile", reads: Reads::Quantile, signature: quantile() },
        SketchFunction { name: "dist_count", reads: Reads::Count, signature: count() },
        SketchFunction { name: "ddsketch_count", reads: Reads::Count, signature: count() },
        SketchFunction { name: "hll_cardinality", reads: Reads::Itself, signature: itself },
    ]
}

impl ScalarUDFImpl for SketchFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[ArrowType]) -> Result<ArrowType> {
        Ok(match self.reads {
            Reads::Quantile => ArrowType::Float64,
            Reads::Count | Reads::Itself => ArrowType::Int64,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let array: ArrayRef = match (self.reads, arrays.as_slice()) {
            (Reads::Itself, [array]) => Arc::clone(array),
            (Reads::Count, [sketches]) => {
                let counts = read_all(self.name, sketches, |_| Some(Finisher::Count))?;
                Arc::new(
                    counts
                        .into_iter()
                        .map(|v| if let Value::Int(v) = v { Some(v) } else { None })
                        .collect::<Int64Array>(),
                )
            }
            (Reads::Quantile, [sketches, ranks]) => {
                let ranks = ranks.as_primitive::<Float64Type>();
                check_ranks(self.name, ranks)?;
                let rank = |row: usize| ranks.is_valid(row).then(|| Finisher::Quantile(ranks.value(row)));
                let values = read_all(self.name, sketches, rank)?;
                Arc::new(
                    values
                        .into_iter()
                        .map(|v| if let Value::Float(v) = v { Some(v) } else { None })
                        .collect::<Float64Array>(),
                )
            }
            _ => return Err(external(SqlError::new("XX000", "a sketch function got the wrong arguments"))),
        };
        Ok(ColumnarValue::Array(array))
    }
}

fn external(error: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

fn check_ranks(name: &str, ranks: &Float64Array) -> Result<()> {
    match ranks.iter().flatten().find(|q| !(0.0..=1.0).contains(q)) {
        Some(q) => Err(external(SqlError::new("22003", format!("{name}: rank {q} is not between 0 and 1")))),
        None => Ok(()),
    }
}

/// Reads every sketch of a column; NULLs stay.
fn read_all(
    name: &str,
    sketches: &ArrayRef,
    finisher: impl Fn(usize) -> Option<Finisher>,
) -> Result<Vec<Value>> {
    let sketches = sketches.as_binary::<i32>();
    let read = |row: usize| match (sketches.is_valid(row), finisher(row)) {
        (true, Some(finisher)) => read(name, sketches.value(row), &finisher).map_err(external),
        _ => Ok(Value::Null),
    };
    (0..sketches.len()).map(read).collect()
}

fn read(name: &str, bytes: &[u8], finisher: &Finisher) -> Result<Value, SqlError> {
    let invalid = || {
        SqlError::new("22P03", format!("{name}: these bytes are not a sketch"))
            .with_hint("pass a ddsketch_agg or dist_agg column, or its combine")
    };
    let (spec, rest) = postcard::take_from_bytes::<AggregateSpec>(bytes).map_err(|_| invalid())?;
    if !matches!(spec, AggregateSpec::DdSketch { .. } | AggregateSpec::TDigest { .. }) {
        return Err(invalid());
    }
    let mut states = create(&spec).ok_or_else(invalid)?;
    states.resize(1);
    let mut reader = Reader::new(rest);
    states.merge(0, &mut reader).map_err(|_| invalid())?;
    reader.finish().map_err(|_| invalid())?;
    finish(states.as_ref(), 0, &spec, finisher)
}
