//! Plans: a continuous view compiled once at the hub, evaluated by every producer.
//!
//! Owns: the serialisable program ([`Plan`], [`Node`], [`Op`]) and its validation.
//! Must not know: SQL text, output names, how states are finished (that is the hub's business).
//! Invariants: nodes are in dependency order (an operand's index is below its user's), so evaluation
//! is one pass without recursion and a hostile plan cannot overflow the stack; equal subexpressions
//! share one node. Plans travel as postcard inside a checked frame (`FORMAT.md`, "Plans"): variants and
//! fields are append-only, and golden vectors hold the bytes.

mod build;
mod bytes;
mod check;
mod compose;
#[cfg(test)]
mod tests;
mod types;

pub use build::PlanBuilder;

use crate::aggregate::AggregateSpec;
use crate::ids::{PlanVersion, StreamId, ViewId};
use crate::value::{DataType, Value};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Most nodes in a plan: each costs one column of a batch's rows in memory.
pub const NODES_MAX: usize = 4096;
/// Most group expressions.
pub const KEYS_MAX: usize = 32;
/// Most states.
pub const STATES_MAX: usize = 256;
/// Longest text or bytea literal, bytes.
pub const LITERAL_BYTES_MAX: usize = 65_536;

/// The index of a node in [`Plan::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExprId(pub u16);

/// A compiled continuous view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The view.
    pub view: ViewId,
    /// This version of it.
    pub version: PlanVersion,
    /// The stream it reads.
    pub stream: StreamId,
    /// All expressions, operands first.
    pub nodes: Vec<Node>,
    /// Keep a row only when this is true (not false, not null).
    pub filter: Option<ExprId>,
    /// The group key, in the order of its canonical bytes.
    pub keys: Vec<ExprId>,
    /// The states of a partial, in order. Equal states are shared: `sum(x)` and `avg(x)` are one.
    pub states: Vec<StatePlan>,
    /// Groups a producer keeps between flushes; beyond it the lightest fold into `(other)`.
    pub groups_max: u32,
}

/// One state of a view and what feeds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatePlan {
    /// What kind of state.
    pub spec: AggregateSpec,
    /// Its arguments, as many as [`AggregateSpec::arity`] says.
    pub args: Vec<ExprId>,
    /// `FILTER (WHERE ...)`: only rows for which this is true.
    pub filter: Option<ExprId>,
}

/// One expression: what it does and the type it has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// The operation; operands are lower indices.
    pub op: Op,
    /// The type of the result.
    pub data_type: DataType,
}

/// Operations. Operand types are checked by [`Plan::validate`]: binary arithmetic and comparison take two
/// operands of one type (the compiler inserts casts), except where an arm says otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Op {
    /// A stream column; the schema's length names `arrival_timestamp`.
    Column(u16),
    /// A constant.
    Literal(Value),
    /// `NOT x`, three-valued.
    Not(ExprId),
    /// `-x`
    Negate(ExprId),
    /// `x IS NULL`
    IsNull(ExprId),
    /// `x IS NOT NULL`
    IsNotNull(ExprId),
    /// `x IS TRUE`
    IsTrue(ExprId),
    /// `x IS FALSE`
    IsFalse(ExprId),
    /// Two operands.
    Binary(BinaryOp, ExprId, ExprId),
    /// `CAST(x AS type)`: to the node's type. Failure is an error slot, or NULL with `try_cast`.
    Cast {
        /// What to cast.
        input: ExprId,
        /// `TRY_CAST`: NULL instead of an error.
        try_cast: bool,
    },
    /// `CASE WHEN ... THEN ... ELSE ... END`; a branch not taken cannot fail the row.
    Case {
        /// (condition, result) pairs, first true wins.
        branches: Vec<(ExprId, ExprId)>,
        /// The result when no condition is true; NULL without.
        otherwise: Option<ExprId>,
    },
    /// `x [NOT] IN (...)`
    InList {
        /// What to look for.
        input: ExprId,
        /// Where.
        list: Vec<ExprId>,
        /// NOT IN.
        negated: bool,
    },
    /// `x [NOT] [I]LIKE pattern`
    Like {
        /// The text.
        input: ExprId,
        /// The pattern; `%` and `_`, backslash escapes.
        pattern: ExprId,
        /// NOT LIKE.
        negated: bool,
        /// ILIKE.
        case_insensitive: bool,
    },
    /// A built-in function.
    Call(Function, Vec<ExprId>),
}

/// Binary operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum BinaryOp {
    /// `+`: numbers; timestamp + interval, date + int days, interval + interval.
    Add,
    /// `-`: numbers; timestamp - interval, timestamp - timestamp (interval), date - date (integer days).
    Subtract,
    /// `*`
    Multiply,
    /// `/`: integers truncate.
    Divide,
    /// `%`
    Modulo,
    /// `=`
    Eq,
    /// `<>`
    NotEq,
    /// `<`
    Lt,
    /// `<=`
    LtEq,
    /// `>`
    Gt,
    /// `>=`
    GtEq,
    /// `AND`, three-valued.
    And,
    /// `OR`, three-valued.
    Or,
    /// `||`: text or bytea.
    Concat,
    /// `&` on integers.
    BitAnd,
    /// `|` on integers.
    BitOr,
    /// `#` on integers.
    BitXor,
    /// `IS DISTINCT FROM`
    IsDistinct,
    /// `IS NOT DISTINCT FROM`
    IsNotDistinct,
}

/// Built-in functions. The comment gives the argument types; results as in PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Function {
    /// `abs(number)`
    Abs,
    /// `floor(double | numeric)`
    Floor,
    /// `ceil(double | numeric)`
    Ceil,
    /// `round(double | numeric[, digits int])`: half away from zero for numeric, half to even for double.
    Round,
    /// `trunc(double | numeric)`
    Trunc,
    /// `sqrt(double)`
    Sqrt,
    /// `power(double, double)`
    Power,
    /// `exp(double)`
    Exp,
    /// `ln(double)`
    Ln,
    /// `log10(double)`
    Log10,
    /// `sign(number)`
    Sign,
    /// `lower(text)`
    Lower,
    /// `upper(text)`
    Upper,
    /// `length(text)`: characters
    Length,
    /// `octet_length(text | bytea)`
    OctetLength,
    /// `trim(text[, chars])`
    Trim,
    /// `ltrim(text[, chars])`
    LTrim,
    /// `rtrim(text[, chars])`
    RTrim,
    /// `substr(text, from int[, count int])`: 1-based characters
    Substr,
    /// `left(text, n int)`
    Left,
    /// `right(text, n int)`
    Right,
    /// `strpos(text, text)`: 1-based characters, 0 when absent
    StrPos,
    /// `replace(text, from, to)`
    Replace,
    /// `split_part(text, delimiter, n int)`
    SplitPart,
    /// `starts_with(text, prefix)`
    StartsWith,
    /// `concat(text...)`: nulls are skipped
    Concat,
    /// `coalesce(any...)`
    Coalesce,
    /// `nullif(any, any)`
    NullIf,
    /// `greatest(any...)`: nulls are skipped
    Greatest,
    /// `least(any...)`: nulls are skipped
    Least,
    /// `date_trunc(field text literal, timestamp)`: UTC
    DateTrunc,
    /// `date_part(field text literal, timestamp | date)` and `extract`: double, UTC
    DatePart,
    /// `time_bucket(width interval literal, timestamp)`, aligned like TimescaleDB's: 2000-01-03 for days
    /// and less, 2000-01-01 for months.
    TimeBucket,
    /// `to_timestamp(double seconds)`
    ToTimestamp,
    /// `md5(text)`: hex
    Md5,
    /// `width_bucket(double, low, high, count int)`
    WidthBucket,
}

/// Why a plan was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// An operand or a root points past the node that uses it.
    #[error("node {0} refers to a later or missing node")]
    Order(u16),
    /// Operand types do not fit the operation, or the operation cannot have this result type.
    #[error("node {0} has operands or a result of the wrong type")]
    Type(u16),
    /// A stream column does not exist or has another type.
    #[error("node {0} reads a column that the stream does not have")]
    Column(u16),
    /// More nodes, keys or states than the limits allow.
    #[error("plan is too large")]
    TooLarge,
    /// A state's parameters or arguments do not fit.
    #[error("state {0} has the wrong arguments or parameters")]
    State(u16),
    /// The filter is not boolean, or a group expression has a type that cannot be a key.
    #[error("the filter or a group expression has the wrong type")]
    Root,
    /// The plan reads another stream than the schema it was checked against.
    #[error("plan belongs to another stream")]
    Stream,
    /// This build does not have what the plan needs (a slim WASM module).
    #[error("state {0} needs an aggregate that this build does not have")]
    Unsupported(u16),
}

impl PlanError {
    /// The stable code of this error.
    pub fn code(self) -> &'static str {
        match self {
            Self::Order(_) => "plan_order",
            Self::Type(_) => "plan_type",
            Self::Column(_) => "plan_column",
            Self::TooLarge => "plan_too_large",
            Self::State(_) => "plan_state",
            Self::Root => "plan_root",
            Self::Stream => "plan_stream",
            Self::Unsupported(_) => "plan_unsupported",
        }
    }
}
