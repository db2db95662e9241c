//! Mergeable states: one file per aggregate, each with state, update, merge, bytes and finish.
//!
//! Owns: what a state is ([`AggregateSpec`]), columns of states ([`States`]), what becomes of them
//! ([`Finisher`]), the registry ([`create`], [`REGISTRY`]). Must not know: plans, groups' keys, SQL, time.
//! Invariants: merge is commutative and associative and never depends on arrival order (files say where
//! the law is an error bound instead); one canonical encoding per state; foreign bytes are validated
//! before anything is changed, and never allocate more than they justify; the states that decode are closed
//! under merge: whatever was merged from them, in any order and however often, encodes to bytes that decode.

#[cfg(feature = "sketches")]
mod arg_extreme;
#[cfg(feature = "sketches")]
mod bloom;
#[cfg(feature = "sketches")]
mod bucket;
#[cfg(feature = "sketches")]
mod column;
#[cfg(feature = "sketches")]
mod count;
#[cfg(feature = "sketches")]
mod create;
#[cfg(feature = "sketches")]
mod ddsketch;
#[cfg(feature = "sketches")]
mod exp_histogram;
#[cfg(feature = "sketches")]
mod extreme;
#[cfg(feature = "sketches")]
mod freq;
#[cfg(all(feature = "sketches", feature = "functions"))]
mod histogram;
#[cfg(feature = "sketches")]
mod hll;
#[cfg(feature = "finish")]
mod json;
#[cfg(feature = "sketches")]
mod json_sum;
#[cfg(feature = "sketches")]
mod logic;
#[cfg(feature = "sketches")]
mod moments;
#[cfg(feature = "sketches")]
mod moments4;
mod registry;
#[cfg(feature = "sketches")]
mod regression;
#[cfg(all(feature = "sketches", feature = "functions"))]
mod rows;
#[cfg(feature = "sketches")]
mod scalar;
#[cfg(feature = "sketches")]
mod set;
#[cfg(any(test, not(feature = "sketches")))]
mod slim;
mod spec;
#[cfg(feature = "sketches")]
mod sum;
#[cfg(feature = "sketches")]
mod summed;
#[cfg(feature = "sketches")]
mod tdigest;
#[cfg(feature = "sketches")]
mod theta;
#[cfg(feature = "sketches")]
mod timeline;
#[cfg(feature = "sketches")]
mod topk;

#[cfg(feature = "finish")]
pub use arg_extreme::integer_key;
#[cfg(feature = "sketches")]
pub use create::create;
pub use registry::{AggregateEntry, Law, REGISTRY};
pub use spec::SpecError;

use crate::codec::{DecodeError, Reader};
#[cfg(feature = "finish")]
use crate::value::Value;
use crate::value::column::Column;
use crate::value::{DataType, Nested};
#[cfg(feature = "sketches")]
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// What kind of state, with every parameter that decides whether two states can merge.
/// Tags are part of the plan format: append, never renumber.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "functions"), derive(Copy))]
#[non_exhaustive]
pub enum AggregateSpec {
    /// Rows whose argument (if there is one) is not null. `count(*)`, `count(x)`.
    Count {
        /// False for `count(*)`: no argument.
        argument: bool,
    },
    /// Count and exact sum: `sum`, `avg` over integers, decimals or doubles.
    Sum(DataType),
    /// Smallest value.
    Min(DataType),
    /// Largest value.
    Max(DataType),
    /// Count, exact sum and exact sum of squares: `var_*`, `stddev_*`. Doubles (integers are cast).
    Moments,
    /// `bool_and`, `every`.
    BoolAnd,
    /// `bool_or`.
    BoolOr,
    /// `bit_and` over integers.
    BitAnd(DataType),
    /// `bit_or` over integers.
    BitOr(DataType),
    /// The value at the smallest key; ties go to the smallest value bytes. `arg_min(x, key)`,
    /// `keyed_min(key, x)`, `first(x)` (key = `arrival_timestamp`). Arguments: value, key.
    ArgMin {
        /// The value's type.
        value: DataType,
        /// The key's type.
        key: DataType,
    },
    /// The value at the largest key; ties go to the largest value bytes.
    ArgMax {
        /// The value's type.
        value: DataType,
        /// The key's type.
        key: DataType,
    },
    /// HyperLogLog over [`crate::hash::hash64`] of the value's canonical key bytes. `count(DISTINCT x)`, `hll_agg(x, p)`.
    Hll {
        /// The value's type.
        value: DataType,
        /// Precision, 4..=18; standard error 1.04 / sqrt(2^p).
        precision: u8,
    },
    /// DDSketch over doubles with relative error `alpha_ppm` / 1e6. `percentile_cont`, `approx_percentile`.
    DdSketch {
        /// Relative error in millionths, 100..=200_000 (default 10_000 = 1 %).
        alpha_ppm: u32,
    },
    /// t-digest over doubles. `dist_agg`.
    TDigest {
        /// Compression, 20..=10_000 (default 200).
        compression: u16,
    },
    /// Heavy hitters of a value with an integer weight (1 for the plain form). `topk_agg(x, k[, weight])`.
    TopK {
        /// The value's type.
        value: DataType,
        /// How many to report, 1..=1_000.
        k: u16,
        /// True when a second, integer argument weighs each event.
        weighted: bool,
    },
    /// The exact set of values up to `cap`; above it, finishing is an error. `exact_count_distinct`, `set_agg`.
    Set {
        /// The value's type.
        value: DataType,
        /// Most values kept, 1..=1_000_000 (default 10_000).
        cap: u32,
    },
    /// Bloom filter over [`crate::hash::hash64`] of the value's canonical key bytes. `bloom_agg(x[, p, n])`.
    Bloom {
        /// The value's type.
        value: DataType,
        /// Rate of false positives in millionths, 100..=500_000 (default 20_000 = 2 %).
        rate_ppm: u32,
        /// Distinct values at which that rate is reached, 1..=1_000_000 (default 16_384).
        expected: u32,
    },
    /// `bit_xor` over integers.
    BitXor(DataType),
    /// Count and exact sums of the first four powers: `skewness*`, `kurtosis*`. Doubles (integers are cast).
    Moments4,
    /// Count and exact sums over pairs (y, x) of doubles: `covar_*`, `corr`, `regr_*`.
    Regression,
    /// Rows of one or more columns in an order of their own: `min_n`, `max_n`, `first_values`, `last_values`,
    /// `array_agg`, `string_agg`, `json_agg`, `json_object_agg`.
    Rows {
        /// Which rows are kept.
        keep: Keep,
        /// How many: 1..=1_000 first or last ones; a cap of 1..=100_000 for all (default 10_000), above which finishing
        /// is an error.
        limit: u32,
        /// The columns, 1..=16: they order the rows one after the other.
        columns: Nested<Vec<SortColumn>>,
    },
    /// The sums of the integers of JSON objects by name: `json_object_int_sum(text)`.
    JsonSum {
        /// Most names kept, 1..=100_000 (default 10_000); above it, finishing is an error.
        cap: u32,
    },
    /// Count-min sketch over [`crate::hash::hash64`] of the value's canonical key bytes. `freq_agg(x[, eps, p])`.
    Freq {
        /// The value's type.
        value: DataType,
        /// Error as a share of the total in millionths, 20..=500_000 (default 2_000 = 0.2 %).
        error_ppm: u32,
        /// How often the error is kept, in millionths, 1..=999_999 (default 995_000 = 99.5 %).
        confidence_ppm: u32,
    },
    /// Theta sketch (a sample of distinct hashes) over [`crate::hash::hash64`] of the value's canonical key bytes.
    /// `theta_agg(x[, k])`.
    Theta {
        /// The value's type.
        value: DataType,
        /// Hashes kept, as a power of two, 4..=16 (default 12); standard error 1 / sqrt(2^lg_k - 1).
        lg_k: u8,
    },
    /// Exact counts of doubles between given bounds. `histogram(x, bounds)`.
    Histogram {
        /// Where buckets begin: 1 to 1_000 finite doubles, ascending.
        bounds: Nested<Vec<f64>>,
    },
    /// Exponential histogram of OpenTelemetry's data model, over doubles. `exp_histogram(x[, buckets])`.
    ExpHistogram {
        /// Most buckets of the positive and of the negative values, 4..=1_024 (default 160).
        buckets: u16,
    },
    /// Which bucket each distinct value is in, by its latest event. `bucket_agg(x, bucket[, ts])`. Arguments: value,
    /// bucket, time.
    Bucket {
        /// The value's type.
        value: DataType,
        /// Most values kept, 1..=1_000_000 (default 10_000).
        cap: u32,
    },
    /// A counter that only grows, or starts again from 0. `counter_agg(ts, value)`. Arguments: time, value.
    Counter,
    /// The average of a value weighted by how long it held. `time_weight(ts, value[, method])`. Arguments: time, value.
    TimeWeight {
        /// Values go straight to the next one; else each holds until the next one (LOCF).
        linear: bool,
    },
    /// How long a thing was in each state. `state_agg(ts, state)`. Arguments: time, text.
    StateAgg,
}

/// Which rows a [`AggregateSpec::Rows`] keeps. Part of the plan format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Keep {
    /// The first by their order.
    First,
    /// The last.
    Last,
    /// All.
    All,
}

/// One column of rows and how it orders them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SortColumn {
    /// The type of its values.
    pub data_type: DataType,
    /// The largest first.
    pub descending: bool,
    /// NULL before every value, else after.
    pub nulls_first: bool,
}

impl SortColumn {
    /// Ascending, NULLs last.
    pub fn ascending(data_type: DataType) -> Self {
        Self { data_type, descending: false, nulls_first: false }
    }
}

/// A column of states of one spec: state `g` belongs to group `g` of a table. The one interface between
/// groups and aggregates, so that updating costs one dynamic call per batch of rows, not per event.
pub trait States: Send + Sync {
    /// Grows (with empty states) or shrinks to `groups` states.
    fn resize(&mut self, groups: usize);

    /// Adds rows: row `rows[i]` of every argument goes to group `groups[i]`. The caller has left out rows
    /// that FILTER refuses and rows with an error slot in an argument; NULLs are the aggregate's business.
    fn update(&mut self, rows: &[u32], groups: &[u32], args: &[&Column]);

    /// Reads one state at `bytes` and merges it into `group`: any that merges of admitted states can give. On
    /// error nothing has changed.
    ///
    /// # Errors
    /// The bytes are no state of this spec: [`DecodeError::Truncated`], [`DecodeError::Overlong`],
    /// [`DecodeError::TooLarge`], [`DecodeError::Invalid`]. Always `Invalid` in a build that only writes states.
    fn merge(&mut self, group: u32, bytes: &mut Reader<'_>) -> Result<(), DecodeError>;

    /// As [`States::merge`], for a state that a producer claims to have made: stricter, so that a forged one
    /// cannot do more than events could. Gives how many events it claims to stand for, or 0 if it does not
    /// tell; the caller bounds their sum ([`crate::limits::BATCH_EVENTS_MAX`]).
    ///
    /// # Errors
    /// Those of [`States::merge`]; [`DecodeError::TooLarge`] also for too long a value, and
    /// [`DecodeError::Invalid`] for moments that no values have.
    fn admit(&mut self, group: u32, bytes: &mut Reader<'_>) -> Result<u64, DecodeError>;

    /// Merges group `from` of `other`, which has the same spec, into `into`.
    ///
    /// # Panics
    /// When `other` has another type of state: the caller mixed two specs.
    fn merge_group(&mut self, into: u32, other: &dyn States, from: u32);

    /// Appends the canonical bytes of `group`'s state.
    fn encode(&self, group: u32, out: &mut Vec<u8>);

    /// Makes `group` empty again.
    fn reset(&mut self, group: u32);

    /// Heap bytes held, roughly; for limits and status.
    fn heap_bytes(&self) -> usize;

    /// The concrete type, for [`States::merge_group`] and finishing.
    fn as_any(&self) -> &dyn core::any::Any;

    /// Turns `group`'s state into a value of [`AggregateSpec::finish_type`].
    ///
    /// # Errors
    /// [`FinishError::Mismatch`] when `finisher` does not belong to this state; [`FinishError::OutOfRange`] when the
    /// answer does not fit its type or the state counted too much to tell; [`FinishError::SetFull`] for a set above
    /// its cap.
    #[cfg(feature = "finish")]
    fn finish(&self, group: u32, finisher: &Finisher) -> Result<Value, FinishError>;
}

/// How a state becomes a value. One state may serve several (a sum's state gives `sum`, `avg`, `count`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Finisher {
    /// The state's own answer: count; sum; min; max; and/or; the value at the key; the estimate of a
    /// distinct set; the values of a set; the top k as a list of (value, count).
    Value,
    /// Mean of a [`AggregateSpec::Sum`]: double (numeric input: double too).
    Avg,
    /// Events behind a Sum, Moments, Moments4 or Regression.
    Count,
    /// Population variance.
    VarPop,
    /// Sample variance; NULL below two values.
    VarSamp,
    /// Population standard deviation.
    StddevPop,
    /// Sample standard deviation; NULL below two values.
    StddevSamp,
    /// The quantile at `q` in 0..=1, of DdSketch or TDigest: double; NULL when empty.
    Quantile(f64),
    /// Several quantiles: a list of doubles.
    Quantiles(Vec<f64>),
    /// The number of values in a Set: bigint.
    Cardinality,
    /// The state's canonical bytes as bytea.
    Bytes,
    /// Skewness of the population, of a Moments4; NULL without a variance, as all four.
    SkewnessPop,
    /// Sample skewness; NULL below three values.
    SkewnessSamp,
    /// Excess kurtosis of the population.
    KurtosisPop,
    /// Sample excess kurtosis; NULL below four values.
    KurtosisSamp,
    /// Population covariance, of a Regression; without pairs NULL, as all of them.
    CovarPop,
    /// Sample covariance; NULL below two pairs.
    CovarSamp,
    /// Correlation; NULL when either variance is zero.
    Corr,
    /// Mean of x.
    RegrAvgX,
    /// Mean of y.
    RegrAvgY,
    /// Sum of squared distances of x to its mean.
    RegrSxx,
    /// Sum of squared distances of y to its mean.
    RegrSyy,
    /// Sum of products of both distances.
    RegrSxy,
    /// Slope of the least-squares line; NULL when x does not vary, as the two below.
    RegrSlope,
    /// Its value at 0.
    RegrIntercept,
    /// The share of y's variance that it explains; 1 when y does not vary.
    RegrR2,
    /// The values of one column of Rows, as a list; NULL without rows, as all four.
    Column(u8),
    /// Texts of one column with a delimiter between; NULLs are left out.
    Join {
        /// Which column.
        column: u8,
        /// What stands between two.
        delimiter: String,
    },
    /// The values of one column as a JSON array: text.
    JsonArray(u8),
    /// Two columns as the members of a JSON object: text.
    JsonObject {
        /// The column of names.
        key: u8,
        /// The column of values.
        value: u8,
    },
    /// Increase of a Counter: double; NULL when empty.
    Delta,
    /// Increase of a Counter per second: double; NULL when no time passes.
    Rate,
    /// How often a Counter started again: bigint.
    Resets,
}

/// Why a state has no value.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FinishError {
    /// The sum or the count does not fit the result type.
    #[error("{0} is out of range")]
    OutOfRange(&'static str),
    /// A set grew past its cap.
    #[error("set has more than {0} values; raise its cap")]
    SetFull(u32),
    /// A collection grew past its cap.
    #[error("collection has more than {0} elements; raise its cap")]
    CollectionFull(u32),
    /// Events of its parts overlap in time, or came in too many parts.
    #[error("events cannot be put in order: parts that were merged overlap in time, or are more than 4096")]
    Overlapping,
    /// This finisher does not belong to this state.
    #[error("state cannot be finished this way")]
    Mismatch,
}

/// The states of one spec.
#[cfg(feature = "sketches")]
pub type StatesOf = Box<dyn States>;

/// The states of one spec.
#[cfg(not(feature = "sketches"))]
pub type StatesOf = slim::Slim;

/// An empty column of states, or `None` when this build does not have the aggregate or the spec is not valid.
#[cfg(not(feature = "sketches"))]
pub fn create(spec: &AggregateSpec) -> Option<StatesOf> {
    slim::Slim::create(spec)
}
