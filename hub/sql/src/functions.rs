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
    let own = [
        "combine",
        "dist_quantile",
        "dist_count",
        "ddsketch_quantile",
        "ddsketch_count",
        "hll_cardinality",
        "time_bucket",
        "date_round",
        "year",
        "month",
        "day",
        "hour",
        "minute",
        "second",
    ];
    let all = AGGREGATES.iter().chain(SCALARS.iter()).map(String::as_str);
    let mut all: Vec<&str> = own.into_iter().chain(all).collect();
    all.sort_unstable();
    crate::suggest::did_you_mean(name, all)
}

/// True when queries over views have this function, scalar or aggregate.
pub(crate) fn exists(name: &str) -> bool {
    SCALARS.contains(name) || AGGREGATES.contains(name)
}
