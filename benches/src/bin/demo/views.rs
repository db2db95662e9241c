//! The views of the demo, and for each the query that computes the same exactly, straight from the file.

/// How far an answer may be from the exact one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Allowed {
    /// Not at all.
    Exact,
    /// By this relative error: two exact algorithms that round doubles in another order.
    Rounding(f64),
    /// A distinct count: by this relative error, three times the standard error 1.04 / sqrt(2^14) of a
    /// HyperLogLog of precision 14 (Flajolet et al., 2007), which one estimate in 370 exceeds.
    Distinct(f64),
    /// A quantile: this relative error around the values at the two ranks beside it (DDSketch, Masson et al.,
    /// 2019). The exact query names them `<column>_lo` and `<column>_hi`.
    Quantile(f64),
    /// The heaviest values: each count is at most this part of all events too low, and a value that is not
    /// listed is at most that part heavier than the last one that is (Misra and Gries, 1982). `k` are listed, or
    /// all there are. The exact query lists the counts of all values.
    Top {
        /// How many values are asked for.
        k: u32,
        /// The part.
        bound: f64,
    },
}

/// `topk_agg` keeps 8 counters per value that it reports, 64 at least.
fn top(k: u32) -> Allowed {
    Allowed::Top { k, bound: 1.0 / f64::from((8 * k).clamp(64, 8_000) + 1) }
}

const DISTINCT: Allowed = Allowed::Distinct(3.0 * 1.04 / 128.0);
const QUANTILE: Allowed = Allowed::Quantile(0.01);
const ROUNDING: Allowed = Allowed::Rounding(1e-9);

/// One continuous view.
pub struct View {
    /// Its name.
    pub name: &'static str,
    /// `CREATE CONTINUOUS VIEW ...`
    pub create: String,
    /// Its rows in the order of their keys.
    pub read: String,
    /// The same rows from the file.
    pub exact: String,
    /// How many leading columns are keys.
    pub keys: usize,
    /// The other columns, by name.
    pub columns: Vec<(&'static str, Allowed)>,
}

/// The stream that all views read.
pub const STREAM: &str = "CREATE STREAM flights
    (date TIMESTAMPTZ, delay BIGINT, distance BIGINT, origin TEXT, destination TEXT)";

/// A view's parts, from which both its definition and the exact query are written.
struct Parts {
    name: &'static str,
    /// (expression, name)
    keys: &'static [(&'static str, &'static str)],
    /// (expression, name, allowed); the expression means the same to both engines.
    plain: &'static [(&'static str, &'static str, Allowed)],
    /// (q, name) of `delay`
    quantiles: &'static [(f64, &'static str)],
    /// (column, k, name)
    top: Option<(&'static str, u32, &'static str)>,
}

const VIEWS: &[Parts] = &[
    Parts {
        name: "overall",
        keys: &[],
        plain: &[
            ("count(*)", "flights", Allowed::Exact),
            ("sum(distance)", "miles", Allowed::Exact),
            ("avg(delay)", "delay_avg", Allowed::Exact),
            ("min(delay)", "delay_min", Allowed::Exact),
            ("max(delay)", "delay_max", Allowed::Exact),
            ("stddev_samp(delay)", "delay_stddev", ROUNDING),
            ("bool_or(delay > 1000)", "any_very_late", Allowed::Exact),
            ("count(DISTINCT date)", "departure_minutes", DISTINCT),
            ("count(DISTINCT origin || destination)", "routes", DISTINCT),
        ],
        quantiles: &[(0.5, "delay_p50"), (0.99, "delay_p99")],
        top: Some(("destination", 10, "top_destinations")),
    },
    Parts {
        name: "by_origin",
        keys: &[("origin", "origin")],
        plain: &[
            ("count(*)", "flights", Allowed::Exact),
            ("count(*) FILTER (WHERE delay > 15)", "late", Allowed::Exact),
            ("sum(distance)", "miles", Allowed::Exact),
            ("avg(delay)", "delay_avg", Allowed::Exact),
            ("count(DISTINCT destination)", "destinations", DISTINCT),
        ],
        quantiles: &[(0.5, "delay_p50"), (0.99, "delay_p99")],
        top: None,
    },
    Parts {
        name: "by_day",
        keys: &[("date_trunc('day', date)", "day")],
        plain: &[
            ("count(*)", "flights", Allowed::Exact),
            ("avg(delay)", "delay_avg", Allowed::Exact),
            ("max(delay)", "delay_max", Allowed::Exact),
            ("sum(CASE WHEN delay > 0 THEN delay ELSE 0 END)", "minutes_lost", Allowed::Exact),
        ],
        quantiles: &[(0.9, "delay_p90")],
        top: Some(("origin", 3, "top_origins")),
    },
    Parts {
        name: "by_route",
        keys: &[("origin", "origin"), ("destination", "destination")],
        plain: &[
            ("count(*)", "flights", Allowed::Exact),
            ("avg(delay)", "delay_avg", Allowed::Exact),
            ("max(delay)", "delay_max", Allowed::Exact),
            ("stddev_pop(delay)", "delay_stddev", ROUNDING),
        ],
        quantiles: &[],
        top: None,
    },
];

/// All views, and one query that merges the states of a view over a coarser grouping.
pub fn views() -> Vec<View> {
    let mut views: Vec<View> = VIEWS.iter().map(view).collect();
    let combined = Parts {
        name: "by_route, combined by origin",
        keys: &[("origin", "origin")],
        plain: &[
            ("count(*)", "flights", Allowed::Exact),
            ("avg(delay)", "delay_avg", Allowed::Exact),
            ("max(delay)", "delay_max", Allowed::Exact),
            ("stddev_pop(delay)", "delay_stddev", ROUNDING),
        ],
        quantiles: &[],
        top: None,
    };
    let read = "SELECT origin, combine(flights) AS flights, combine(delay_avg) AS delay_avg,
        combine(delay_max) AS delay_max, combine(delay_stddev) AS delay_stddev
        FROM by_route GROUP BY origin ORDER BY origin";
    views.push(View { create: String::new(), read: read.into(), ..view(&combined) });
    views
}

fn view(parts: &Parts) -> View {
    let mut select: Vec<String> = parts.keys.iter().map(|(e, n)| format!("{e} AS {n}")).collect();
    let mut columns = Vec::new();
    for (expression, name, allowed) in parts.plain {
        select.push(format!("{expression} AS {name}"));
        columns.push((*name, *allowed));
    }
    for (q, name) in parts.quantiles {
        select.push(format!("percentile_cont({q}) WITHIN GROUP (ORDER BY delay) AS {name}"));
        columns.push((*name, QUANTILE));
    }
    if let Some((column, k, name)) = parts.top {
        select.push(format!("topk_agg({column}, {k}) AS {name}"));
        columns.push((name, top(k)));
    }
    let names = names(parts);
    View {
        name: parts.name,
        create: format!(
            "CREATE CONTINUOUS VIEW {} AS SELECT {} FROM flights{}",
            parts.name,
            select.join(", "),
            clause("GROUP BY", &names)
        ),
        read: format!("SELECT * FROM {}{}", parts.name, clause("ORDER BY", &names)),
        exact: exact(parts),
        keys: parts.keys.len(),
        columns,
    }
}

fn names(parts: &Parts) -> String {
    parts.keys.iter().map(|(_, n)| *n).collect::<Vec<_>>().join(", ")
}

fn clause(keyword: &str, names: &str) -> String {
    if names.is_empty() { String::new() } else { format!(" {keyword} {names}") }
}

/// One row per group: plain aggregates by DataFusion itself; quantiles and heavy hitters from full counts.
fn exact(parts: &Parts) -> String {
    // A constant key makes the ungrouped view a grouped one, so that one shape of query serves all.
    let keys: Vec<String> = parts.keys.iter().map(|(e, n)| format!("{e} AS {n}")).collect();
    let keys = [vec!["1 AS one".to_owned()], keys].concat().join(", ");
    let names =
        std::iter::once("one").chain(parts.keys.iter().map(|(_, n)| *n)).collect::<Vec<_>>().join(", ");
    let plain: String = parts.plain.iter().map(|(e, n, _)| format!(", {e} AS {n}")).collect();
    let groups = (1..=parts.keys.len() + 1).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");

    let mut with = vec![format!("plain AS (SELECT {keys}{plain} FROM flights GROUP BY {groups})")];
    let mut joins = String::new();
    if !parts.quantiles.is_empty() {
        with.push(rank_query(parts, &keys, &names));
        joins += &format!(" JOIN ranks USING ({names})");
    }
    if let Some((column, _, name)) = parts.top {
        with.push(top_query(column, name, &keys, &names));
        joins += &format!(" JOIN tops USING ({names})");
    }
    format!("WITH {} SELECT * FROM plain{joins} ORDER BY {names}", with.join(", "))
}

/// The values at the ranks floor and ceil of q * (n - 1), from cumulated counts of each value.
fn rank_query(parts: &Parts, keys: &str, names: &str) -> String {
    let groups = (1..=parts.keys.len() + 2).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
    let mut columns = String::new();
    for (q, name) in parts.quantiles {
        for (round, suffix) in [("floor", "lo"), ("ceil", "hi")] {
            let rank = format!("{round}({q} * (n - 1))");
            let here = format!("upto - c <= {rank} AND {rank} < upto");
            columns += &format!(", max(value) FILTER (WHERE {here}) AS {name}_{suffix}");
        }
    }
    format!(
        "counted AS (SELECT {keys}, delay AS value, count(*) AS c FROM flights GROUP BY {groups}),
         cumulated AS (SELECT *, sum(c) OVER (PARTITION BY {names} ORDER BY value) AS upto,
                       sum(c) OVER (PARTITION BY {names}) AS n FROM counted),
         ranks AS (SELECT {names}{columns} FROM cumulated GROUP BY {names})"
    )
}

fn top_query(column: &str, name: &str, keys: &str, names: &str) -> String {
    format!(
        "hits AS (SELECT {keys}, {column} AS item, count(*) AS c FROM flights GROUP BY {names}, {column}),
         tops AS (SELECT {names}, string_agg(item || ':' || c, ' ' ORDER BY c DESC, item) AS {name}
                  FROM hits GROUP BY {names})"
    )
}
