//! Which scalar functions queries have.

use datafusion::execution::SessionStateDefaults;
use std::collections::HashSet;
use std::sync::LazyLock;

/// DataFusion's functions that show Arrow's types, metadata and files instead of SQL's values. The types that they
/// make have sizes nothing accounts for.
pub(crate) const ARROW: &[&str] = &[
    "arrow_cast",
    "arrow_field",
    "arrow_metadata",
    "arrow_try_cast",
    "arrow_typeof",
    "cast_to_type",
    "file_row_index",
    "input_file_name",
    "try_cast_to_type",
    "union_extract",
    "union_tag",
    "with_metadata",
];

/// A function of Headwater's own: of queries, and those of time of definitions, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Own {
    /// Its name.
    pub(crate) name: &'static str,
    /// The types of its arguments, as `\df` shows them.
    pub(crate) arguments: &'static str,
    /// The type of its answer.
    pub(crate) result: &'static str,
    /// Of many rows.
    pub(crate) is_aggregate: bool,
}

const fn scalar(name: &'static str, arguments: &'static str, result: &'static str) -> Own {
    Own { name, arguments, result, is_aggregate: false }
}

const fn aggregate(name: &'static str, arguments: &'static str, result: &'static str) -> Own {
    Own { name, arguments, result, is_aggregate: true }
}

/// All of them: what `\df` lists and misspelt names are compared with. `SQL.md` explains them.
pub(crate) const OWN: &[Own] = &[
    aggregate("combine", "column of a view", "its type"),
    scalar("dist_quantile", "bytea, double precision", "double precision"),
    scalar("dist_count", "bytea", "bigint"),
    scalar("dist_cdf", "bytea, double precision", "double precision"),
    scalar("dist_add", "bytea, double precision", "bytea"),
    scalar("ddsketch_quantile", "bytea, double precision", "double precision"),
    scalar("ddsketch_count", "bytea", "bigint"),
    scalar("hll_cardinality", "bigint", "bigint"),
    aggregate("hll_union_agg", "column of a view", "bigint"),
    scalar("topk", "record[]", "record[]"),
    scalar("topk_values", "record[]", "anyarray"),
    scalar("topk_freqs", "record[]", "bigint[]"),
    aggregate("topk_merge_agg", "column of a view", "record[]"),
    scalar("set_cardinality", "anyarray", "bigint"),
    scalar("bloom_contains", "bytea, anyelement", "boolean"),
    scalar("bloom_cardinality", "bytea", "bigint"),
    scalar("bloom_union", "VARIADIC bytea", "bytea"),
    scalar("bloom_intersection", "VARIADIC bytea", "bytea"),
    aggregate("bloom_union_agg", "bytea", "bytea"),
    aggregate("bloom_intersection_agg", "bytea", "bytea"),
    scalar("freq", "bytea, anyelement", "bigint"),
    scalar("freq_norm", "bytea, anyelement", "double precision"),
    scalar("freq_total", "bytea", "bigint"),
    aggregate("freq_merge_agg", "bytea", "bytea"),
    scalar("theta_cardinality", "bytea", "bigint"),
    scalar("theta_union", "VARIADIC bytea", "bytea"),
    scalar("theta_intersection", "VARIADIC bytea", "bytea"),
    scalar("theta_difference", "bytea, bytea", "bytea"),
    scalar("theta_jaccard", "bytea, bytea", "double precision"),
    aggregate("theta_union_agg", "bytea", "bytea"),
    scalar("exp_histogram_count", "bytea", "bigint"),
    scalar("exp_histogram_buckets", "bytea", "record[]"),
    scalar("exp_histogram_quantile", "bytea, double precision", "double precision"),
    scalar("exp_histogram_scale", "bytea", "integer"),
    scalar("bucket_cardinality", "bytea, bigint", "bigint"),
    scalar("bucket_cardinalities", "bytea", "bigint[]"),
    scalar("bucket_ids", "bytea", "integer[]"),
    scalar("delta", "bytea", "double precision"),
    scalar("rate", "bytea", "double precision"),
    scalar("num_resets", "bytea", "bigint"),
    scalar("error_bound", "bytea", "double precision"),
    scalar("to_datasketches", "column of a view, or bytea", "bytea"),
    scalar("time_bucket", "interval, timestamp with time zone", "timestamp with time zone"),
    scalar("date_round", "timestamp with time zone, interval", "timestamp with time zone"),
    scalar("year", "timestamp with time zone", "timestamp with time zone"),
    scalar("month", "timestamp with time zone", "timestamp with time zone"),
    scalar("day", "timestamp with time zone", "timestamp with time zone"),
    scalar("hour", "timestamp with time zone", "timestamp with time zone"),
    scalar("minute", "timestamp with time zone", "timestamp with time zone"),
    scalar("second", "timestamp with time zone", "timestamp with time zone"),
];

static SCALARS: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let functions = SessionStateDefaults::default_scalar_functions();
    let names = functions
        .iter()
        .flat_map(|f| std::iter::once(f.name()).chain(f.aliases().iter().map(String::as_str)));
    names.filter(|name| !ARROW.contains(name)).map(str::to_owned).collect()
});

static AGGREGATES: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let functions = SessionStateDefaults::default_aggregate_functions();
    let names = functions
        .iter()
        .flat_map(|f| std::iter::once(f.name()).chain(f.aliases().iter().map(String::as_str)));
    names.map(str::to_owned).collect()
});

/// What to write in the place of functions that PostgreSQL has.
const INSTEAD: [(&str, &str); 13] = [
    ("percentile_disc", "percentile_cont(fraction) WITHIN GROUP (ORDER BY x) is there"),
    ("variance", "it is var_samp(x)"),
    ("mode", "GROUP BY x ORDER BY count(*) DESC LIMIT 1"),
    ("age", "subtract one time from the other"),
    ("format", "concat(...), or texts put together by ||"),
    ("row_to_json", "rows are JSON over HTTP"),
    ("to_json", "rows are JSON over HTTP"),
    ("to_jsonb", "rows are JSON over HTTP"),
    ("json_agg", "array_agg(x) collects values; rows are JSON over HTTP"),
    ("json_build_object", "rows are JSON over HTTP"),
    ("width_bucket", "floor((x - low) / width)"),
    ("date", "x::date casts"),
    ("array", "array_agg(x) collects values, ARRAY[a, b] lists them"),
];

/// The nearest function that queries have, as a hint.
pub(crate) fn did_you_mean(name: &str) -> Option<String> {
    if ARROW.contains(&name) {
        return Some("x::type casts, and pg_typeof(x) names a type".to_owned());
    }
    if let Some((_, hint)) = INSTEAD.iter().find(|(known, _)| *known == name) {
        return Some((*hint).to_owned());
    }
    let all = AGGREGATES.iter().chain(SCALARS.iter()).map(String::as_str);
    let mut all: Vec<&str> = OWN.iter().map(|own| own.name).chain(all).collect();
    all.sort_unstable();
    crate::suggest::did_you_mean(name, all)
}

/// True for the name of an aggregate and of nothing else.
pub(crate) fn is_aggregate(name: &str) -> bool {
    // `grouping` is one only by its kind: it tells how a row was grouped.
    let is_known = AGGREGATES.contains(name) && !SCALARS.contains(name) && name != "grouping";
    let is_own = OWN.iter().any(|own| own.name == name && own.is_aggregate);
    is_known || is_own || ["combine", "every"].contains(&name)
}

/// True when queries over views have this function, scalar or aggregate.
pub(crate) fn exists(name: &str) -> bool {
    SCALARS.contains(name) || AGGREGATES.contains(name)
}
