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
mod column;
#[cfg(feature = "sketches")]
mod count;
#[cfg(feature = "sketches")]
mod create;
#[cfg(feature = "sketches")]
mod ddsketch;
#[cfg(feature = "sketches")]
mod extreme;
#[cfg(feature = "sketches")]
mod hll;
#[cfg(feature = "sketches")]
mod logic;
#[cfg(feature = "sketches")]
mod moments;
mod registry;
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
mod tdigest;
#[cfg(feature = "sketches")]
mod topk;

#[cfg(feature = "finish")]
pub use arg_extreme::integer_key;
#[cfg(feature = "sketches")]
pub use create::create;
pub use registry::{AggregateEntry, Law, REGISTRY};
pub use spec::SpecError;

use crate::codec::{DecodeError, Reader};
use crate::value::DataType;
#[cfg(feature = "finish")]
use crate::value::Value;
use crate::value::column::Column;
#[cfg(feature = "sketches")]
use alloc::boxed::Box;
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
    /// Events behind a Sum or Moments.
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
