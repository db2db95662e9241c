//! Any SELECT works over views: each statement is answered over a view whose groups are the events, and by a
//! DataFusion of its own over the events; and every aggregate's `combine` over coarser groups is compared with the
//! aggregate over the events.

use crate::differential::{self as reference, COLUMNS, STREAM};
use crate::hub::{Hub, run};
use headwater::value::{DataType, Value};
use headwater_sql::Engine;
use std::sync::Arc;

/// Over `e`: one row per event.
const STATEMENTS: &[&str] = &[
    // Casts, numbers, decimals.
    "SELECT i::bigint + 1, i::text, i::double precision / 7, p::double precision, trunc(x)::int FROM e",
    "SELECT p * 2, p + 1.5, p - i, -p, abs(p), round(p, 1), p::numeric(12,4), sum(p) OVER () FROM e",
    "SELECT CAST(t AS text), CAST('12' AS int), CAST('1.5' AS double precision), '2024-02-03'::date FROM e",
    "SELECT i % 7, i / 3, i * i - 2, power(k, 2), sqrt(abs(x)), ln(abs(x) + 1), exp(k) FROM e",
    "SELECT floor(x), ceil(x) + 0.0, trunc(x) + 0.0, round(x, 2), greatest(i, k), least(i, k, 3) FROM e",
    "SELECT nullif(i, 0), coalesce(i, k, -1), coalesce(t, u, '-'), i IS DISTINCT FROM k FROM e",
    "SELECT i BETWEEN -5 AND 5, i NOT BETWEEN 0 AND 9, i IN (1, 2, NULL), i NOT IN (1, 2) FROM e",
    "SELECT i & 3, i | 4, i # 5, k << 1, k >> 1 FROM e",
    // Logic with NULL.
    "SELECT b AND NULL, b OR NULL, NOT b, b IS TRUE, b IS NOT FALSE, b IS NULL, b IS UNKNOWN FROM e",
    "SELECT i FROM e WHERE NOT (i > 0 AND b)",
    "SELECT i FROM e WHERE i = NULL",
    // CASE.
    "SELECT CASE WHEN i > 0 THEN 'pos' WHEN i < 0 THEN 'neg' ELSE 'zero' END FROM e",
    "SELECT CASE k WHEN 1 THEN 'one' WHEN 2 THEN 'two' END, CASE WHEN b THEN x END FROM e",
    "SELECT sum(CASE WHEN b THEN 1 ELSE 0 END), count(CASE WHEN i > 0 THEN 1 END) FROM e",
    // Text.
    "SELECT upper(t), lower(t), length(t), reverse(t), initcap(t), trim(t), ltrim(u, 'u'), rtrim(u, '0') FROM e",
    "SELECT substr(t, 2), substr(t, 1, 2), left(t, 2), right(t, 2), strpos(t, 'b'), replace(t, 'a', 'zz') FROM e",
    "SELECT t || '-' || u, concat(t, NULL, u), concat_ws('/', t, u), repeat(t, 2), lpad(u, 5, '*'), rpad(u, 5) FROM e",
    "SELECT split_part(u, 'u', 2), starts_with(t, 'a'), ascii(u), chr(65 + k), translate(u, '01', 'ab') FROM e",
    "SELECT t LIKE 'a%', t NOT LIKE '%b%', t ILIKE 'A%', t ~ '^a', t !~ 'b$', t ~* 'AB' FROM e",
    "SELECT substring(t FROM 2 FOR 1), position('b' IN t), overlay(u PLACING 'x' FROM 1 FOR 1), char_length(t) FROM e",
    "SELECT regexp_replace(u, '[0-9]', 'n', 'g'), regexp_like(u, '1'), btrim(u, 'u'), octet_length(t) FROM e",
    "SELECT 'h\u{e9}llo \u{4e16}\u{754c}', length('\u{4e16}\u{754c}'), t = 'h\u{e9}', upper('h\u{e9}') FROM e",
    "SELECT E'a\\nb', 'it''s', $$dollar$$ FROM e LIMIT 1",
    // Time.
    "SELECT date_trunc('minute', a), date_trunc('hour', a), date_trunc('day', a), date_trunc('month', a) FROM e",
    "SELECT extract(hour FROM a), extract(dow FROM a), extract(epoch FROM a), date_part('minute', a) FROM e",
    "SELECT a + interval '1 hour', a - interval '2 days', d + 1, a - interval '1 month', a::date FROM e",
    "SELECT a - timestamptz '2023-01-01 00:00:00+00' FROM e",
    "SELECT d > '2022-01-20', a > '2023-11-14T22:30:00Z', d = date '2022-01-21' FROM e",
    "SELECT date_bin(interval '15 minutes', a), to_timestamp(1700000000), extract(year FROM d) FROM e",
    "SELECT date_trunc('week', d), extract(quarter FROM a), extract(doy FROM d), extract(week FROM d) FROM e",
    // Groups.
    "SELECT t, count(*), sum(i), avg(x), min(u), max(d) FROM e GROUP BY t",
    "SELECT b, k, count(*) FROM e GROUP BY b, k HAVING count(*) > 5",
    "SELECT date_trunc('hour', a) AS h, sum(n) FROM e GROUP BY h",
    "SELECT i % 3 AS m, count(DISTINCT u), sum(DISTINCT k) FROM e GROUP BY 1",
    "SELECT count(*) FILTER (WHERE b), sum(x) FILTER (WHERE i > 0), max(t) FILTER (WHERE k = 1) FROM e",
    "SELECT t, b, count(*) FROM e GROUP BY GROUPING SETS ((t, b), (t), ())",
    "SELECT t, b, sum(n) FROM e GROUP BY ROLLUP (t, b)",
    "SELECT t, b, sum(n), grouping(t) FROM e GROUP BY CUBE (t, b)",
    "SELECT stddev(x), stddev_pop(x), var_samp(x), var_pop(x), corr(x, i), covar_samp(x, k) FROM e",
    "SELECT bool_and(b), bool_or(b), bit_and(k), bit_or(k), bit_xor(k) FROM e",
    "SELECT median(i), count(t), count(NULL), sum(NULL::int) FROM e",
    "SELECT t, array_agg(i ORDER BY a) FROM e GROUP BY t",
    "SELECT string_agg(u, ',' ORDER BY a) FROM e",
    "SELECT first_value(u ORDER BY a), last_value(u ORDER BY a), nth_value(u, 2 ORDER BY a) FROM e",
    "SELECT count(*) FROM e WHERE false",
    "SELECT sum(i), max(t) FROM e WHERE i > 1000",
    // Windows.
    "SELECT a, row_number() OVER (ORDER BY a), rank() OVER (ORDER BY k), dense_rank() OVER (ORDER BY k) FROM e",
    "SELECT a, sum(i) OVER (PARTITION BY t ORDER BY a), avg(x) OVER (PARTITION BY b) FROM e",
    "SELECT a, lag(i) OVER (ORDER BY a), lead(i, 2, 0) OVER (ORDER BY a), lag(t, 1, '-') OVER (ORDER BY a) FROM e",
    "SELECT a, sum(i) OVER (ORDER BY a ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) FROM e",
    "SELECT a, max(x) OVER (ORDER BY a ROWS BETWEEN 3 PRECEDING AND 3 FOLLOWING) FROM e",
    "SELECT a, count(*) OVER (ORDER BY a RANGE BETWEEN INTERVAL '5 minutes' PRECEDING AND CURRENT ROW) FROM e",
    "SELECT a, first_value(u) OVER w, last_value(u) OVER w, ntile(4) OVER w FROM e WINDOW w AS (ORDER BY a)",
    "SELECT a, percent_rank() OVER (ORDER BY a), cume_dist() OVER (ORDER BY a) FROM e",
    "SELECT t, sum(sum(n)) OVER (ORDER BY t) FROM e GROUP BY t",
    "SELECT * FROM (SELECT a, t, row_number() OVER (PARTITION BY t ORDER BY a) AS r FROM e) x WHERE r <= 2",
    "SELECT a, nth_value(i, 3) OVER (ORDER BY a), sum(i) FILTER (WHERE b) OVER (ORDER BY a) FROM e",
    // Joins.
    "SELECT count(*) FROM e a JOIN e b ON a.u = b.u",
    "SELECT l.a, r.a FROM e l JOIN e r ON l.a = r.a AND l.i > 0",
    "SELECT l.a, r.t FROM e l LEFT JOIN (SELECT * FROM e WHERE b) r ON l.a = r.a",
    "SELECT r.a, l.t FROM (SELECT * FROM e WHERE b) l RIGHT JOIN e r ON l.a = r.a",
    "SELECT l.a, r.a FROM (SELECT * FROM e WHERE b) l FULL JOIN (SELECT * FROM e WHERE i > 0) r ON l.a = r.a",
    "SELECT count(*) FROM e a CROSS JOIN (SELECT DISTINCT k FROM e) b",
    "SELECT count(*) FROM e a, e b WHERE a.k = b.k AND a.i < b.i",
    "SELECT count(*) FROM e l JOIN e r USING (a)",
    "SELECT count(*) FROM (SELECT a, i FROM e) l NATURAL JOIN (SELECT a, t FROM e) r",
    "SELECT count(*) FROM e a JOIN e b ON a.i < b.i AND a.x > b.x",
    // Subqueries.
    "SELECT a FROM e WHERE i > (SELECT avg(i) FROM e)",
    "SELECT a, (SELECT count(*) FROM e) FROM e",
    "SELECT a FROM e o WHERE i = (SELECT max(i) FROM e p WHERE p.t = o.t)",
    "SELECT a FROM e WHERE u IN (SELECT u FROM e WHERE b)",
    "SELECT a FROM e WHERE k NOT IN (SELECT k FROM e WHERE k > 3 AND k IS NOT NULL)",
    "SELECT a FROM e o WHERE EXISTS (SELECT 1 FROM e p WHERE p.u = o.u AND p.a <> o.a)",
    "SELECT a FROM e o WHERE NOT EXISTS (SELECT 1 FROM e p WHERE p.u = o.u AND p.i > o.i)",
    "SELECT avg(c) FROM (SELECT t, count(*) AS c FROM e GROUP BY t) x",
    "SELECT o.a, x.c FROM e o JOIN (SELECT u, count(*) AS c FROM e GROUP BY u) x ON x.u = o.u",
    // Sets, CTEs, VALUES.
    "SELECT t FROM e UNION SELECT u FROM e",
    "SELECT k FROM e UNION ALL SELECT i FROM e",
    "SELECT i FROM e INTERSECT SELECT k FROM e",
    "SELECT i FROM e EXCEPT SELECT k FROM e",
    "SELECT DISTINCT t, b FROM e",
    "SELECT DISTINCT ON (t) t, a FROM e ORDER BY t, a",
    "WITH c AS (SELECT t, sum(i) AS s FROM e GROUP BY t) SELECT * FROM c WHERE s > 0",
    "WITH c AS (SELECT i FROM e), d AS (SELECT i FROM c WHERE i > 0) SELECT count(*) FROM c JOIN d ON c.i = d.i",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 10) SELECT r.n, count(e.i) FROM r LEFT JOIN e ON e.i = r.n GROUP BY r.n",
    "SELECT v.name, count(*) FROM e JOIN (VALUES (1, 'one'), (2, 'two')) AS v(k, name) ON v.k = e.k GROUP BY v.name",
    "VALUES (1, 'a', NULL), (2, 'b', 1.5)",
    "SELECT g.n, count(e.a) FROM generate_series(0, 5) g(n) LEFT JOIN e ON e.k = g.n GROUP BY g.n",
    // Order and limits.
    "SELECT a, i FROM e ORDER BY i DESC NULLS LAST, a LIMIT 7",
    "SELECT a FROM e ORDER BY a OFFSET 390",
    "SELECT a FROM e ORDER BY a LIMIT 3 OFFSET 1",
    "SELECT t AS name, count(*) AS c FROM e GROUP BY t ORDER BY c DESC, name LIMIT 3",
    "SELECT i + 1 AS j1 FROM e ORDER BY j1, a LIMIT 5 OFFSET 5",
    // Lists.
    "SELECT [1, 2, 3], ARRAY['a', 'b'][1], array_length(ARRAY[1, 2]), 2 = ANY (ARRAY[1, 2]) FROM e LIMIT 1",
    "SELECT unnest(ARRAY[1, 2, 3]), k FROM e",
    "SELECT array_to_string(array_agg(u ORDER BY a), ';') FROM e",
    // Names.
    "SELECT \"e\".\"i\" AS \"Big Name\", E.J + 1, e.* FROM public.e",
    "SELECT \"sch\u{f6}n\".i AS \"\u{4e16}\" FROM e AS \"sch\u{f6}n\" WHERE \"sch\u{f6}n\".i > 3",
];

/// `combine(column)` of the view `c`, and what it is over the events.
const COMBINED: &[(&str, &str, &str)] = &[
    ("count(*)", "c1", "count(*)"),
    ("count(t)", "c2", "count(t)"),
    ("sum(i)", "c3", "sum(i)"),
    ("sum(x)", "c4", "sum(x)"),
    ("sum(p)", "c5", "sum(p)"),
    ("avg(i)", "c6", "avg(i::double precision)"),
    ("avg(x)", "c7", "avg(x)"),
    ("min(t)", "c8", "min(t)"),
    ("max(x)", "c9", "max(x)"),
    ("var_pop(x)", "c10", "var_pop(x)"),
    ("var_samp(x)", "c11", "var_samp(x)"),
    ("stddev_pop(i)", "c12", "stddev_pop(i)"),
    ("stddev_samp(i)", "c13", "stddev_samp(i)"),
    ("bool_and(b)", "c14", "bool_and(b)"),
    ("bool_or(b)", "c15", "bool_or(b)"),
    ("bit_and(k)", "c16", "bit_and(k)"),
    ("bit_or(k)", "c17", "bit_or(k)"),
    ("exact_count_distinct(u)", "c18", "count(DISTINCT u)"),
    ("count(DISTINCT u)", "c19", "count(DISTINCT u)"),
    ("sum(i) FILTER (WHERE b)", "c20", "sum(i) FILTER (WHERE b)"),
    ("sum(x) / count(x)", "c21", "sum(x) / count(x)"),
    ("max(d)", "c22", "max(d)"),
    ("min(arrival_timestamp)", "c23", "min(arrival_timestamp)"),
];

/// Coarser groupings of the view, over the view and over the events.
const GROUPINGS: &[(&str, &str)] = &[
    ("", ""),
    ("t", "t"),
    ("b", "b"),
    ("upper(t)", "upper(t)"),
    ("date_trunc('hours', minute)", "date_trunc('hour', arrival_timestamp)"),
];

async fn filled() -> (Arc<Hub>, Engine) {
    let (hub, engine) = Hub::start();
    run(&engine, STREAM).await.expect("stream");
    let keys = "arrival_timestamp, i, j, k, x, t, u, b, p, d";
    let view = format!(
        "CREATE CONTINUOUS VIEW e AS SELECT arrival_timestamp AS a, i, j, k, x, t, u, b, p, d, count(*) AS n FROM s GROUP BY {keys}"
    );
    run(&engine, &view).await.unwrap_or_else(|e| panic!("{e:?}"));
    let items: Vec<String> = COMBINED.iter().map(|(call, name, _)| format!("{call} AS {name}")).collect();
    let view = format!(
        "CREATE CONTINUOUS VIEW c AS SELECT date_trunc('minutes', arrival_timestamp) AS minute, t, b, {} FROM s GROUP BY 1, t, b",
        items.join(", ")
    );
    run(&engine, &view).await.unwrap_or_else(|e| panic!("{e:?}"));
    hub.push("s", &COLUMNS, &reference::events(0x5eed, 400), 13);
    (hub, engine)
}

type Typed = (Value, DataType);

async fn answer(engine: &Engine, sql: &str) -> Result<Vec<Vec<Typed>>, String> {
    let rows = run(engine, sql).await.map_err(|e| format!("{sql}\n    {e:?}"))?;
    let types: Vec<DataType> = rows.fields.iter().map(|f| f.data_type.clone()).collect();
    Ok(rows.rows.into_iter().map(|row| row.into_iter().zip(types.iter().cloned()).collect()).collect())
}

#[tokio::test]
async fn any_select_works_over_views() {
    let (hub, engine) = filled().await;
    let context = reference::reference(&hub);
    let e =
        "CREATE VIEW e AS SELECT arrival_timestamp AS a, i, j, k, x, t, u, b, p, d, 1::bigint AS n FROM s";
    context.sql(e).await.expect("view");
    let mut wrong = Vec::new();
    for sql in STATEMENTS {
        let got = answer(&engine, sql).await;
        let plain = sql.replace("public.e", "e");
        let want =
            reference::expected(&context, &plain).await.map_err(|e| format!("{sql}\n    reference: {e}"));
        match (got, want) {
            (Ok(got), Ok(want)) => wrong.extend(reference::difference(sql, got, want)),
            (got, want) => wrong.extend(got.err().into_iter().chain(want.err())),
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), STATEMENTS.len(), wrong.join("\n"));
}

#[tokio::test]
async fn every_aggregate_combines_over_coarser_groups() {
    let (hub, engine) = filled().await;
    let context = reference::reference(&hub);
    let mut wrong = Vec::new();
    for (over_view, over_events) in GROUPINGS {
        for (_, name, call) in COMBINED {
            let select = |what: &str, from: &str, group: &str| match group {
                "" => format!("SELECT {what} AS r FROM {from}"),
                group => format!("SELECT {group} AS g, {what} AS r FROM {from} GROUP BY 1"),
            };
            let sql = select(&format!("combine({name})"), "c", over_view);
            let got = answer(&engine, &sql).await;
            let want = reference::expected(&context, &select(call, "s", over_events)).await;
            match (got, want.map_err(|e| format!("{sql}\n    reference: {e}"))) {
                (Ok(got), Ok(want)) => wrong.extend(reference::difference(&sql, got, want)),
                (got, want) => wrong.extend(got.err().into_iter().chain(want.err())),
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn what_postgresql_has_and_datafusion_spells_otherwise() {
    let (_hub, engine) = filled().await;
    let pairs = [
        ("SELECT a FROM e ORDER BY a FETCH FIRST 3 ROWS ONLY", "SELECT a FROM e ORDER BY a LIMIT 3"),
        (
            "SELECT a FROM e ORDER BY a OFFSET 2 ROWS FETCH NEXT ROW ONLY",
            "SELECT a FROM e ORDER BY a LIMIT 1 OFFSET 2",
        ),
        ("SELECT sign(x) FROM e", "SELECT signum(x) FROM e"),
        (
            "SELECT date_trunc('mins', a), date_part('hrs', a) FROM e",
            "SELECT date_trunc('minute', a), date_part('hour', a) FROM e",
        ),
        (
            "SELECT date_trunc('microseconds', a), extract(minutes FROM a) FROM e",
            "SELECT a, extract(minute FROM a) FROM e",
        ),
        ("SELECT e.i FROM public.e", "SELECT i FROM e"),
    ];
    for (sql, plain) in pairs {
        let (got, want) = (answer(&engine, sql).await, answer(&engine, plain).await);
        let got = got.unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(reference::difference(sql, got, want.expect("plain")), None);
    }
}

/// What is wrong, where, and what to try.
const REFUSED: &[(&str, &str, &str, bool)] = &[
    ("SELECT nn FROM e", "42703", "nn", true),
    ("SELECT e.nn FROM e", "42703", "e.nn", true),
    ("SELECT i FROM e WHERE uu > 'x'", "42703", "uu", true),
    ("SELECT i FROM e ORDER BY missing_column", "42703", "missing_column", false),
    ("SELECT zz.i FROM e", "42P01", "zz.i", false),
    ("SELECT * FROM missing_view", "42P01", "missing_view", false),
    ("SELECT * FROM e JOIN ee ON true", "42P01", "ee", true),
    ("SELECT * FROM s", "42809", "s", true),
    ("SELECT uper(t) FROM e", "42883", "uper", true),
    ("SELECT summ(i) FROM e", "42883", "summ", true),
    ("SELECT date_trunc('minuts', a) FROM e", "22023", "'minuts'", true),
    ("SELECT i::intger FROM e", "42704", "intger", true),
    ("SELECT i FROM e ORDER", "42601", "ORDER", false),
    ("SELECT i FROM e WHERE", "42601", "", false),
    ("SELECT (i FROM e", "42601", "FROM", false),
    ("SELEC i FROM e", "42601", "SELEC", true),
    ("SELECT i FROM e FOR UPDATE", "0A000", "SELECT", false),
    ("MERGE INTO s VALUES (1)", "0A000", "MERGE", true),
    ("SELECT i INTO z FROM e", "0A000", "SELECT", false),
    ("SELECT $1 FROM e", "0A000", "$1", false),
    ("SELECT t, i FROM e GROUP BY t", "42803", "i", false),
    ("CREATE CONTINUOUS VIEW w AS SELECT nope, count(*) FROM s GROUP BY nope", "42703", "nope", false),
    ("CREATE CONTINUOUS VIEW w AS SELECT count(*) FROM nowhere", "42P01", "nowhere", false),
    (
        "CREATE CONTINUOUS VIEW w AS SELECT date_trunc('minuts', arrival_timestamp), count(*) FROM s GROUP BY 1",
        "22023",
        "'minuts'",
        true,
    ),
    (
        "CREATE CONTINUOUS VIEW w AS SELECT date_part('nonsense', arrival_timestamp), count(*) FROM s GROUP BY 1",
        "22023",
        "'nonsense'",
        false,
    ),
    ("CREATE CONTINUOUS VIEW w AS SELECT jsonb_agg(t) FROM s", "0A000", "jsonb_agg", false),
    ("CREATE CONTINUOUS VIEW w AS SELECT cuont(*) FROM s", "42883", "cuont", true),
    ("CREATE STREAM z (a intger)", "42704", "intger", true),
    ("SELECT 1; SELECT 2", "42601", "SELECT 2", true),
    ("SELECT 'xyz'::uuid", "22P02", "'xyz'", false),
    ("SELECT '\\x0'::bytea FROM e", "22P02", "'\\x0'", false),
];

#[tokio::test]
async fn errors_say_where_and_what_to_try() {
    let (_hub, engine) = filled().await;
    let mut wrong = Vec::new();
    for (sql, code, at, has_hint) in REFUSED {
        let error = match run(&engine, sql).await {
            Ok(_) => {
                wrong.push(format!("{sql}: runs"));
                continue;
            }
            Err(error) => error,
        };
        let places: Vec<u32> = match *at {
            "" => vec![sql.len() as u32 + 1],
            at => sql.match_indices(at).map(|(byte, _)| byte as u32 + 1).collect(),
        };
        let placed = error.position.is_some_and(|p| places.contains(&p));
        if error.code != *code || !placed || (*has_hint && error.hint.is_none()) {
            wrong.push(format!("{sql}\n    wanted {code} at {places:?}, got {error:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}
