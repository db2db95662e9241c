//! Statements that would take a hub's time or memory end with their code by their deadline, and others are
//! answered meanwhile.

use crate::hub::{Hub, define, run};
use futures::StreamExt;
use headwater::value::Value;
use headwater_sql::{Engine, EngineOptions, ReadOptions};
use std::sync::Arc;
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_millis(1_500);
/// For what ends by itself, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much later than its deadline an answer may be on a busy machine; a hang is much longer.
const LATE_MAX: Duration = Duration::from_secs(3);
/// What the whole test program may take: every statement here wants gigabytes.
const PEAK_BYTES_MAX: u64 = 1_500 << 20;

async fn engine() -> (Arc<Hub>, Engine) {
    let (hub, engine) = Hub::start_with(EngineOptions { timeout: PATIENCE, ..EngineOptions::default() });
    let ddl = "CREATE STREAM s (k text, n bigint);
        CREATE CONTINUOUS VIEW v AS SELECT k, count(*) AS n, sum(n) AS total FROM s GROUP BY k";
    define(&engine, ddl).await;
    let rows: Vec<_> =
        (0..200).map(|n| vec![Value::Text(format!("key {}", n % 20)), Value::Int(n)]).collect();
    hub.push("s", &["k", "n"], &rows, 100);
    (hub, engine)
}

/// Most memory this process ever had, bytes; `None` where the system does not say.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// `a`, then `n` CTEs that each name the one before twice.
fn doubled(n: usize, first: &str, each: &str, last: &str) -> String {
    let mut sql = format!("WITH c0 AS ({first})");
    for at in 1..=n {
        sql += &format!(", c{at} AS ({})", each.replace("prev", &format!("c{}", at - 1)));
    }
    sql + " " + &last.replace("prev", &format!("c{n}"))
}

/// Runs a statement and says how it ended; checks that it did so in time while a cheap one was answered.
async fn end_of(engine: &Engine, sql: &str, timeout: Duration) -> &'static str {
    let since = Instant::now();
    let options = ReadOptions { timeout: Some(timeout), ..ReadOptions::default() };
    let hostile = async { engine.execute(sql, options).await?.collect().await };
    let cheap = run(engine, "SELECT count(*) FROM v");
    let (ended, cheap) = tokio::join!(hostile, cheap);
    let took = since.elapsed();
    let shown = &sql[..sql.len().min(120)];
    assert!(took < timeout + LATE_MAX, "{shown}: took {took:?}");
    assert_eq!(cheap.expect("cheap").rows, [[Value::Int(20)]], "beside {shown}");
    if let Some(peak) = peak_bytes() {
        assert!(peak < PEAK_BYTES_MAX, "{shown}: {} MiB", peak >> 20);
    }
    match ended {
        Ok(_) => "ok",
        Err(error) => error.code,
    }
}

async fn all_end(cases: &[(&str, String)]) {
    let (_hub, engine) = engine().await;
    for (code, sql) in cases {
        let timeout = if code.contains("57014") { TIMEOUT } else { PATIENCE };
        let ended = end_of(&engine, sql, timeout).await;
        assert!(code.split('|').any(|code| code == ended), "{ended} instead of {code}: {sql}");
    }
}

#[tokio::test]
async fn plans_cannot_double() {
    let union = "SELECT * FROM prev UNION ALL SELECT * FROM prev";
    all_end(&[
        ("54001", doubled(20, "SELECT 1 AS x", union, "SELECT * FROM prev")),
        ("54001", doubled(30, "SELECT n AS x FROM v", union, "SELECT count(*) FROM prev")),
        ("54001", doubled(20, "SELECT 1 AS x", "SELECT a.x FROM prev a, prev b", "SELECT * FROM prev")),
        (
            "54001",
            doubled(
                20,
                "SELECT 1 AS x",
                "SELECT (SELECT max(x) FROM prev) AS x FROM prev",
                "SELECT * FROM prev",
            ),
        ),
        (
            "54001",
            doubled(
                25,
                "SELECT n AS x FROM v",
                "SELECT x + x AS x FROM prev",
                "SELECT * FROM prev WHERE x > 0",
            ),
        ),
        (
            "54001",
            doubled(
                25,
                "SELECT n AS x FROM v",
                "SELECT x * x AS x FROM prev",
                "SELECT * FROM prev a JOIN prev b ON a.x = b.x",
            ),
        ),
        ("54001", format!("SELECT count(*) FROM v GROUP BY CUBE ({})", vec!["k"; 16].join(", "))),
        ("ok", doubled(5, "SELECT 1 AS x", union, "SELECT * FROM prev")),
    ])
    .await;
}

/// An expression that holds itself, so many times.
fn nested(times: usize, first: &str, each: &str) -> String {
    (0..times).fold(first.to_owned(), |prev, _| each.replace("prev", &prev))
}

fn numbers(n: usize) -> String {
    (0..n).map(|n| n.to_string()).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn what_is_written_out_cannot_grow() {
    let rows = |n: usize| (0..n).map(|n| format!("({n}, {n})")).collect::<Vec<_>>().join(", ");
    let keys = (1..200).map(|n| format!("n / (total - {n})")).collect::<Vec<_>>().join(", ");
    let guard = (0..60).map(|n| format!("total <> {n}")).collect::<Vec<_>>().join(" AND ");
    all_end(&[
        // Every level asks twice whether the one below it is exact.
        (
            "ok|57014",
            doubled(40, "SELECT 0.5 AS x", "SELECT sum(x + x) AS x FROM prev", "SELECT x::bigint FROM prev"),
        ),
        ("ok|57014", format!("SELECT count(*) FROM v WHERE (n, total) IN ({})", rows(300))),
        ("54001", format!("SELECT count(*) FROM v WHERE (n, total) IN ({})", rows(9_000))),
        ("54001", format!("SELECT array_agg(k ORDER BY {keys}) FILTER (WHERE {guard}) FROM v")),
        // Every second percent sign is a wildcard, the others are not.
        ("54001", format!("SELECT count(*) FROM v WHERE k LIKE '{}'", "\\%%a".repeat(40))),
        // DataFusion's planner, its parser and its simplifier write or read an operand twice or more.
        ("54001", format!("SELECT {} FROM v", nested(8, "n > 0", "(n > 0) > ANY (array[prev, false])"))),
        ("54001", format!("SELECT {} FROM v", nested(20, "n > 0", "(NOT (prev <> (n > 1)))"))),
        ("54001", format!("SELECT {} FROM v", nested(9, "n > 0", "NOT (prev)"))),
        ("42601", format!("SELECT {} FROM v", nested(8, "n n n", "NOT (prev)"))),
        ("42601", format!("SELECT {} FROM v", nested(8, "n n n", "CAST(prev AS int)"))),
        ("42601", format!("SELECT {} FROM v", nested(16, "n n n", "upper(prev)"))),
        ("42601", format!("SELECT {} FROM v", nested(4, "n n n", "position(prev IN k)"))),
        ("54001", format!("SELECT {} FROM v", nested(5, "k", "position(prev IN k)"))),
        ("54001", format!("SELECT {} FROM v", nested(30, "(true)", "(prev BETWEEN false AND true)"))),
        ("54001|57014", format!("SELECT {} FROM v", nested(20, "n", "coalesce(prev, total)"))),
        (
            "54001",
            format!("SELECT {} FROM v", nested(14, "(n > 0)", "CASE WHEN prev THEN n > 1 ELSE n > 2 END")),
        ),
        (
            "ok|54001|57014",
            format!(
                "SELECT {} FROM v",
                nested(20, "(n > 0)", "(prev IN (CASE WHEN n > 0 THEN true END, false))")
            ),
        ),
        (
            "ok|57014",
            format!(
                "SELECT count(*) FROM v WHERE n NOT IN (CASE WHEN n > 1 THEN 2 ELSE n END, {})",
                numbers(5_000)
            ),
        ),
        (
            "ok|57014",
            format!(
                "SELECT count(*) FROM v WHERE ('{}' || k) IN (CASE WHEN n > 1 THEN k ELSE 'a' END{})",
                "x".repeat(100_000),
                ", k".repeat(20_000)
            ),
        ),
        ("ok|54001", format!("SELECT {} FROM v", nested(15, "now()", "date_bin('1 h', now(), prev)"))),
        (
            "ok|54001|57014",
            format!("SELECT {} FROM v", nested(12, "true", "(true = ANY (array[n > 0, prev]))")),
        ),
    ])
    .await;
}

#[tokio::test]
async fn execution_can_be_stopped() {
    let many = "generate_series(1, 100000000)";
    all_end(&[
        ("57014", format!("SELECT count(*) FROM {many} a, {many} b")),
        ("57014", "SELECT count(*) FROM generate_series(1, 200000) a(x), generate_series(1, 2000000) b(y)".into()),
        ("57014", "SELECT count(*) FROM generate_series(1, 200000) a(x) JOIN generate_series(1, 2000000) b(y) ON a.x + b.y < 0".into()),
        ("57014", "SELECT count(*) FROM generate_series(1, 300000) a(x) JOIN generate_series(1, 3000000) b(y) ON a.x % 2 = b.y % 2 AND a.x + b.y < 0".into()),
        ("57014|53200", "SELECT count(*) FROM v a, v b, v c, v d, v e, v f, v g WHERE a.k || g.k = 'x'".into()),
        ("57014", "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n FROM r) SELECT count(*) FROM r".into()),
        ("57014|53200", "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r".into()),
        ("57014|53200", "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT a.n FROM r a CROSS JOIN generate_series(1, 10)) SELECT count(*) FROM r".into()),
        ("57014", format!("SELECT count(*) FROM (SELECT * FROM {many} UNION ALL SELECT * FROM {many}) a, {many} b")),
        ("57014|53200", format!("SELECT count(*) FROM (SELECT sum(x) OVER () AS y FROM {many} a(x)) t WHERE y > 0")),
        ("57014", format!("EXPLAIN ANALYZE SELECT count(*) FROM {many} a, {many} b")),
    ])
    .await;
}

#[tokio::test]
async fn a_statement_that_nobody_reads_stops() {
    let (_hub, engine) = Hub::start_with(EngineOptions { concurrent_max: 1, ..EngineOptions::default() });
    let endless = "SELECT a FROM generate_series(1, 1000) a, generate_series(1, 100000000) b";
    let mut answer = engine.execute(endless, ReadOptions::default()).await.expect("runs");
    assert!(answer.batches.next().await.expect("a batch").is_ok());
    drop(answer);
    // There is one place: it is free again only when the thread of the first statement has ended.
    assert_eq!(run(&engine, "SELECT 1").await.expect("its turn").rows, [[Value::Int(1)]]);
}

/// Prevents that patterns which differ from row to row are compiled all at once: the thread went on for a minute, and took
/// gigabytes.
#[tokio::test]
async fn threads_end_with_their_statements() {
    let (_hub, engine) = Hub::start_with(EngineOptions { concurrent_max: 1, ..EngineOptions::default() });
    let short = ReadOptions { timeout: Some(TIMEOUT), ..ReadOptions::default() };
    let pattern = "('x{' || (a + 4000)::text || '}')";
    let many = "generate_series(1, 8192) a(a)";
    for sql in [
        format!("SELECT count(*) FROM {many} WHERE 'y' ~ {pattern}"),
        format!("SELECT count(*) FROM {many} WHERE NOT ('y' !~* {pattern})"),
        format!("SELECT count(regexp_replace('y', {pattern}, 'z')) FROM {many}"),
        format!("SELECT count(regexp_match('y', {pattern})) FROM {many}"),
        format!(
            "SELECT count(*) FROM {many} WHERE repeat('a', 100) ILIKE repeat('_', (a % 1000)::int) || '%' || a::text"
        ),
    ] {
        let ended =
            async { engine.execute(&sql, short).await?.collect().await }.await.map_err(|error| error.code);
        assert!(matches!(ended, Err("57014") | Ok(_)), "{sql}: {ended:?}");
        let patient = ReadOptions { timeout: Some(PATIENCE), ..ReadOptions::default() };
        let since = Instant::now();
        let next = async { engine.execute("SELECT 1", patient).await?.collect().await }.await;
        assert_eq!(next.map(|answer| answer.rows), Ok(vec![vec![Value::Int(1)]]), "{sql}");
        assert!(since.elapsed() < LATE_MAX, "{sql}: its thread went on for {:?}", since.elapsed());
        assert!(peak_bytes().is_none_or(|peak| peak < PEAK_BYTES_MAX), "{sql}");
    }
}

#[tokio::test]
async fn statements_wait_for_a_place_no_longer_than_their_timeout() {
    let options =
        EngineOptions { concurrent_max: 1, timeout: Duration::from_millis(300), ..EngineOptions::default() };
    let (_hub, engine) = Hub::start_with(options);
    let endless = "SELECT a FROM generate_series(1, 1000) a, generate_series(1, 100000000) b";
    let first = engine.execute(endless, ReadOptions::default()).await.expect("runs");
    let waited = run(&engine, "SELECT 1").await.map_err(|error| error.code);
    // Its turn may still come just before its own deadline.
    assert!(matches!(waited, Err("53300" | "57014") | Ok(_)), "{waited:?}");
    drop(first);
    assert!(run(&engine, "SELECT 1").await.is_ok());
}

/// Prevents that an answer nobody reads to its end keeps its place beyond its deadline: the thread waited to send.
#[tokio::test]
async fn an_answer_that_nobody_reads_gives_its_place_back() {
    let (_hub, engine) = Hub::start_with(EngineOptions { concurrent_max: 1, ..EngineOptions::default() });
    let short = ReadOptions { timeout: Some(Duration::from_secs(1)), ..ReadOptions::default() };
    for sql in ["SELECT 1", "SELECT value FROM generate_series(1, 100000)"] {
        let unread = engine.execute(sql, short).await.expect("runs");
        assert_eq!(run(&engine, "SELECT 1").await.expect("its turn").rows, [[Value::Int(1)]], "{sql}");
        drop(unread);
    }
}

#[tokio::test]
async fn functions_cannot_take_the_memory() {
    let x = "repeat('x', 1000000)";
    let columns =
        (0..400).map(|n| format!("repeat(k, {}) AS c{n}", 40_000 + n)).collect::<Vec<_>>().join(", ");
    let constants = (0..400).map(|n| format!("repeat('x', {})", 900_000 + n)).collect::<Vec<_>>().join(", ");
    let joined = (0..200).map(|n| format!("c{n}.s")).collect::<Vec<_>>().join(", ");
    let many = "generate_series(1, 100000) g(n)";
    let cases = [
        "SELECT length(repeat('x', 2000000000))".to_owned(),
        "SELECT length(repeat(k, 2000000000)) FROM v".to_owned(),
        "SELECT lpad(k, 2000000000), rpad(k, 2000000000, 'ab') FROM v".to_owned(),
        "SELECT length(lpad('x', 2000000000, 'ab'))".to_owned(),
        format!("SELECT replace({x}, 'x', {x})"),
        "SELECT replace(repeat(k, 100000), 'k', repeat(k, 1000)) FROM v".to_owned(),
        "SELECT regexp_replace(repeat(k, 100000), 'k', repeat(k, 1000), 'g') FROM v".to_owned(),
        "SELECT sum(length(repeat(k, 100000000))) FROM v".to_owned(),
        format!("SELECT concat({}) FROM v", vec!["repeat(k, 100000)"; 200].join(", ")),
        format!("SELECT string_agg(repeat(k, 100000), '') FROM v, {many}"),
        format!("SELECT string_agg(k, repeat('-', 900000)) FROM v, {many}"),
        format!("SELECT length(string_agg(k, '{}')) FROM v, {many}", "-".repeat(200_000)),
        format!("SELECT array_agg(repeat(k, 100000)) FROM v, {many}"),
        format!(
            "SELECT sum(length(s)) FROM (SELECT string_agg(n::text, ',') OVER (ORDER BY n) AS s FROM {many}) t"
        ),
        format!("SELECT count(a) FROM (SELECT array_agg(n) OVER (ORDER BY n) AS a FROM {many}) t"),
        format!("SELECT {columns} FROM v"),
        format!("SELECT {constants}"),
        "SELECT array_repeat('xxxxxxxx', 1000000000)".to_owned(),
        "SELECT array_repeat(n, 1000000000) FROM v".to_owned(),
        "SELECT range(1, 10000000000)".to_owned(),
        "SELECT count(generate_series(n, n + 10000000000)) FROM v".to_owned(),
        "SELECT array_resize([1], 1000000000, 7)".to_owned(),
        format!("SELECT array_to_string(array_agg(n), '{}') FROM {many}", "-".repeat(100_000)),
        doubled(
            30,
            "SELECT k AS x FROM v",
            "SELECT x || x AS x FROM prev",
            "SELECT sum(length(x)) FROM prev",
        ),
        doubled(
            16,
            "SELECT 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' AS x",
            "SELECT x || x AS x FROM prev",
            "SELECT x FROM prev",
        ),
        doubled(
            9,
            &format!("SELECT {x} || k AS x FROM v"),
            "SELECT array_concat(make_array(x), make_array(x)) [1] || x AS x FROM prev",
            "SELECT x FROM prev",
        ),
        format!(
            "SELECT {joined} FROM {}",
            (0..200)
                .map(|n| format!("(SELECT repeat(k, 2000) AS s FROM v LIMIT 1) c{n}"))
                .collect::<Vec<_>>()
                .join(", ")
        ),
    ];
    let cases: Vec<_> = cases.into_iter().map(|sql| ("53200|54001|57014", sql)).collect();
    all_end(&cases).await;
}

/// One of them ended the whole hub, others kept a core and a place long after their client had gone.
#[tokio::test]
async fn numbers_and_lists_cannot_ask_for_too_much() {
    let g = "generate_series(1, 1000) g(x)";
    let lists = |n: usize| {
        format!("(SELECT array_agg(x) AS a, array_agg(x + {n}) AS b FROM generate_series(1, {n}) g(x)) t")
    };
    let long = "repeat('ab', 500000)";
    let keys = |n: usize| (0..n).map(|i| format!("x + {i}")).collect::<Vec<_>>().join(", ");
    let cases = [
        ("22023", format!("SELECT approx_percentile_cont(x, 0.5, 10000000000) FROM {g}")),
        ("22023", format!("SELECT approx_percentile_cont(0.5, 10001) WITHIN GROUP (ORDER BY x) FROM {g}")),
        ("22023", format!("SELECT approx_percentile_cont(x, 0.5, 10000000000) OVER () FROM {g}")),
        ("22023", format!("SELECT approx_percentile_cont(x, 0.5, 100000 * 100000) FROM {g}")),
        (
            "22023|42000|42883",
            format!("SELECT approx_percentile_cont_with_weight(x, 1, 0.5, 10000000000) FROM {g}"),
        ),
        ("ok", format!("SELECT approx_percentile_cont(x, 0.5, 10000) FROM {g}")),
        ("42883", "SELECT arrow_cast(null, 'FixedSizeList(2000000000 x Int64)')".into()),
        ("42883", "SELECT arrow_try_cast(null, 'FixedSizeBinary(2000000000)')".into()),
        ("42883", "SELECT arrow_typeof(1)".into()),
        ("0A000", "SELECT cast(null AS int[2000000000])".into()),
        ("0A000", "SELECT null::int[2000000000][]".into()),
        ("54000", format!("SELECT array_has_any(a, b) FROM {}", lists(100_000))),
        ("54000", format!("SELECT array_has_all(a, b) FROM {}", lists(100_000))),
        ("ok", format!("SELECT array_has_any(a, b), array_has_all(a, b) FROM {}", lists(500))),
        (
            "ok|57014",
            format!(
                "SELECT array_length(array_except(a, b)), array_length(array_intersect(a, b)), array_length(array_distinct(a)) FROM {}",
                lists(100_000)
            ),
        ),
        ("54000", format!("SELECT strpos({long}, {long} || 'c')")),
        ("54000", format!("SELECT position(x::text || {long} IN {long}) FROM {g}")),
        ("54011", format!("SELECT x FROM {g} ORDER BY {}", keys(9_000))),
        ("54011", format!("VALUES ({}1)", "1, ".repeat(9_000))),
        ("54011", format!("SELECT count(*) FROM {g} GROUP BY {}", keys(9_000))),
        ("54011", format!("SELECT sum(x) OVER (ORDER BY {}) FROM {g}", keys(9_000))),
        ("54011", format!("SELECT sum(x) OVER w FROM {g} WINDOW w AS (PARTITION BY {})", keys(9_000))),
        ("54011", format!("SELECT array_agg(x ORDER BY {}) FROM {g}", keys(9_000))),
        (
            "22003",
            format!(
                "SELECT sum(x) OVER (ORDER BY x ROWS BETWEEN 18446744073709551615 PRECEDING AND UNBOUNDED FOLLOWING) FROM {g}"
            ),
        ),
        (
            "22003",
            format!(
                "SELECT sum(x) OVER (ORDER BY x ROWS BETWEEN CURRENT ROW AND 9223372036854775808 FOLLOWING) FROM {g}"
            ),
        ),
        (
            "ok",
            format!(
                "SELECT sum(x) OVER (ORDER BY x ROWS BETWEEN 9223372036854775807 PRECEDING AND UNBOUNDED FOLLOWING) FROM {g}"
            ),
        ),
        ("2201B", format!("SELECT 'a' ~ '{}'", "(".repeat(50_000) + "a" + &")".repeat(50_000))),
        ("2201B|57014", "SELECT regexp_like('a', '(a{1000}){1000}')".into()),
    ];
    all_end(&cases).await;
}

#[tokio::test]
async fn window_functions_take_any_offset() {
    for call in [
        "lag(x, 10000000000)",
        "lead(x, -9223372036854775807 - 1)",
        "nth_value(x, 9223372036854775807)",
        "ntile(9223372036854775807)",
    ] {
        let sql = format!("SELECT {call} OVER (ORDER BY x) FROM generate_series(1, 1000) g(x)");
        let (_hub, engine) = engine().await;
        assert_ne!(end_of(&engine, &sql, TIMEOUT).await, "XX000", "{sql}");
    }
}

#[tokio::test]
async fn large_values_are_copied_a_few_rows_at_a_time() {
    let big = "y".repeat(100_000);
    all_end(&[
        ("ok", format!("SELECT count(s) FROM (SELECT '{big}' || n AS s FROM generate_series(1, 700) g(n)) t WHERE length(s) > 5")),
        ("ok", format!("SELECT sum(length(s)) FROM (SELECT CASE WHEN n > 5 THEN '{big}' END AS s FROM generate_series(1, 700) g(n)) t")),
        ("53200", format!("SELECT max(s) OVER () FROM (SELECT CASE WHEN n > 5 THEN '{big}' END AS s FROM generate_series(1, 20000) g(n)) t")),
        ("ok|53200", "SELECT sum(length(a.s)) FROM (SELECT repeat(k, 100000) AS s FROM v LIMIT 5) a, generate_series(1, 20000) b".to_owned()),
        ("0A000", doubled(25, "SELECT 1 AS x", "SELECT struct(x, x) AS x FROM prev", "SELECT x FROM prev")),
        ("0A000", doubled(25, "SELECT 1 AS x", "SELECT (x, x) AS x FROM prev", "SELECT x FROM prev")),
        ("54011", format!("SELECT {} FROM v", vec!["n"; 2_000].join(", "))),
    ])
    .await;
}

#[tokio::test]
async fn memory_is_given_back() {
    let (_hub, engine) = engine().await;
    // Five times the limit, one statement after the other: each starts with all of it.
    for _ in 0..6 {
        let sum = run(&engine, "SELECT sum(length(repeat(k, 100000))) FROM v").await.expect("fits");
        // "key 0" to "key 9", "key 10" to "key 19"
        assert_eq!(sum.rows, [[Value::Int((10 * 5 + 10 * 6) * 100_000)]]);
        assert_eq!(
            end_of(&engine, "SELECT sum(length(repeat(k, 10000000))) FROM v", PATIENCE).await,
            "53200"
        );
    }
}
