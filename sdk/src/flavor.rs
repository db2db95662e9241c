//! What this build can do. Hubs and native programs do everything; the WASM core module leaves out what few
//! pages need, to be small, and a page whose plans need more loads the full module.
//!
//! Constants rather than `cfg`s: both flavors are type-checked everywhere, and the optimiser removes what is
//! behind a false one. The exception are numeric and interval values (`functions`): without their variants every cell
//! of every expression is half the size.

/// Expressions beyond columns, literals, comparison, logic, integer and double arithmetic, casts among those types, and
/// times truncated to weeks and less: CASE, IN, COALESCE and its kind, IS DISTINCT FROM, operations on bits, months, text
/// and math functions, LIKE, numeric and interval arithmetic, TRY_CAST, other casts. Lists and structs, too.
pub const FUNCTIONS: bool = cfg!(feature = "functions");

/// Aggregates beyond count, sum, min, max, HLL and DDSketch.
pub const SKETCHES: bool = cfg!(feature = "sketches");

/// Reading states that others wrote. Producers only write them.
pub const FOREIGN_STATES: bool = cfg!(any(feature = "finish", test));

/// One small sort instead of the standard library's fast ones.
pub const SMALL_SORTS: bool = cfg!(not(feature = "std"));

/// Frames from hubs are read without serde, whose code is larger than all aggregates together.
pub const LEAN_FRAMES: bool = cfg!(not(feature = "std"));

/// Reading the states of many rows together before they are updated: worth its code where groups are many.
pub const FETCH_TOGETHER: bool = cfg!(feature = "std");

/// An outbox that a spool keeps beyond the process. Pages hold theirs in memory only.
pub const SPOOLS: bool = cfg!(any(feature = "std", test));

/// One general way instead of several fast ones, wherever both give the same bytes: keys, the group index, merging of
/// sketches. The WASM core module: what every page downloads.
pub const SMALL: bool = cfg!(not(feature = "functions"));
