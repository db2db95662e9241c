//! Which scalar functions queries have.

use datafusion::execution::SessionStateDefaults;
use std::collections::HashSet;
use std::sync::LazyLock;

static SCALARS: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let functions = SessionStateDefaults::default_scalar_functions();
    let names = functions
        .iter()
        .flat_map(|f| std::iter::once(f.name()).chain(f.aliases().iter().map(String::as_str)));
    names.map(str::to_owned).collect()
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
    let own =
        ["combine", "dist_quantile", "dist_count", "ddsketch_quantile", "ddsketch_count", "hll_cardinality"];
    let all = AGGREGATES.iter().chain(SCALARS.iter()).map(String::as_str);
    let mut all: Vec<&str> = own.into_iter().chain(all).collect();
    all.sort_unstable();
    crate::suggest::did_you_mean(name, all)
}

/// True when queries over views have this function, scalar or aggregate.
pub(crate) fn exists(name: &str) -> bool {
    SCALARS.contains(name) || AGGREGATES.contains(name)
}
