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

/// Functions and aggregates over states, of queries only. `SQL.md` lists them.
pub(crate) const OWN: &[&str] = &[
    "combine",
    "dist_quantile",
    "dist_count",
    "dist_cdf",
    "dist_add",
    "ddsketch_quantile",
    "ddsketch_count",
    "hll_cardinality",
    "hll_union_agg",
    "topk",
    "topk_values",
    "topk_freqs",
    "topk_merge_agg",
    "set_cardinality",
    "bloom_contains",
    "bloom_cardinality",
    "bloom_union",
    "bloom_intersection",
    "bloom_union_agg",
    "bloom_intersection_agg",
    "freq",
    "freq_norm",
    "freq_total",
    "freq_merge_agg",
    "theta_cardinality",
    "theta_union",
    "theta_intersection",
    "theta_difference",
    "theta_jaccard",
    "theta_union_agg",
    "exp_histogram_count",
    "exp_histogram_buckets",
    "exp_histogram_quantile",
    "exp_histogram_scale",
    "bucket_cardinality",
    "bucket_cardinalities",
    "bucket_ids",
    "delta",
    "rate",
    "num_resets",
    "error_bound",
    "time_bucket",
    "date_round",
    "year",
    "month",
    "day",
    "hour",
    "minute",
    "second",
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

/// The nearest function that queries have, as a hint.
pub(crate) fn did_you_mean(name: &str) -> Option<String> {
    if ARROW.contains(&name) {
        return Some("x::type casts, and pg_typeof(x) names a type".to_owned());
    }
    let all = AGGREGATES.iter().chain(SCALARS.iter()).map(String::as_str);
    let mut all: Vec<&str> = OWN.iter().copied().chain(all).collect();
    all.sort_unstable();
    crate::suggest::did_you_mean(name, all)
}

/// True for the name of an aggregate and of nothing else.
pub(crate) fn is_aggregate(name: &str) -> bool {
    // `grouping` is one only by its kind: it tells how a row was grouped.
    let is_known = AGGREGATES.contains(name) && !SCALARS.contains(name) && name != "grouping";
    is_known || ["combine", "every"].contains(&name) || OWN.contains(&name) && name.ends_with("_agg")
}

/// True when queries over views have this function, scalar or aggregate.
pub(crate) fn exists(name: &str) -> bool {
    SCALARS.contains(name) || AGGREGATES.contains(name)
}
