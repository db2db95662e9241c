use super::*;
use crate::definition::{PANE_KEY, SelectItem, SlidingWindow};
use crate::parse::parse;
use headwater::aggregate::{AggregateSpec, Finisher};
use headwater::plan::{BinaryOp, Function, Op};
use headwater::value::Value;
use std::sync::Arc;

const STREAM: &str = "CREATE STREAM pageviews (url text, user_id bigint, country text, latency_ms double precision, \
                      ok boolean, price numeric(10,2), small smallint, n int, day date, id uuid, raw bytea, r real)";

fn catalog() -> CatalogSnapshot {
    let statements = parse(STREAM).expect("parses");
    let Ok(Some(Ddl::CreateStream { mut def, .. })) = compile(&statements[0], &CatalogSnapshot::default())
    else {
        panic!("stream")
    };
    def.schema.id = StreamId(7);
    CatalogSnapshot { streams: vec![Arc::new(def)], ..CatalogSnapshot::default() }
}

fn compile_sql(sql: &str) -> Result<Option<Ddl>, SqlError> {
    compile(&parse(sql)?[0], &catalog())
}

fn view(select: &str) -> ViewDef {
    view_with("", select)
}

fn view_with(options: &str, select: &str) -> ViewDef {
    let sql = format!("CREATE CONTINUOUS VIEW v {options} AS {select}");
    match compile_sql(&sql) {
        Ok(Some(Ddl::CreateView { def, .. })) => *def,
        other => panic!("{sql}: {other:?}"),
    }
}

/// Code, message and position counted from the start of the SELECT.
fn refused(select: &str) -> (&'static str, String, Option<u32>) {
    let head = "CREATE CONTINUOUS VIEW v AS ";
    let error = compile_sql(&format!("{head}{select}")).expect_err(select);
    (error.code, error.message, error.position.map(|p| p - head.len() as u32))
}

fn hint(select: &str) -> String {
    compile_sql(&format!("CREATE CONTINUOUS VIEW v AS {select}")).expect_err(select).hint.unwrap_or_default()
}

fn select(def: &ViewDef) -> Vec<(&str, &str)> {
    def.select.iter().map(|SelectItem { name, expr }| (name.as_str(), expr.as_str())).collect()
}

/// The type of the single key.
fn key_type(expr: &str) -> DataType {
    view(&format!("SELECT {expr} AS k, count(*) FROM pageviews GROUP BY k")).keys[0].1.clone()
}

#[test]
fn the_example_of_the_design() {
    let def = view_with(
        "WITH (num_shards = 8, num_replicas = 2, sharding_policy = 'write_optimized', ttl = '30 days', ttl_column = 'minute')",
        "SELECT date_trunc('minute', arrival_timestamp) AS minute, url, count(*), count(DISTINCT user_id) AS users,
         percentile_cont(0.99) WITHIN GROUP (ORDER BY latency_ms) AS p99, topk_agg(country, 10) AS top
         FROM pageviews WHERE latency_ms < 60000 GROUP BY minute, url",
    );
    assert_eq!(def.keys, [("minute".into(), DataType::Timestamp), ("url".into(), DataType::Text)]);
    let names = [
        ("minute", "\"minute\""),
        ("url", "\"url\""),
        ("count", "\"$0\""),
        ("users", "\"$1\""),
        ("p99", "\"$2\""),
        ("top", "\"$3\""),
    ];
    assert_eq!(select(&def), names);
    assert_eq!(def.specs()[1], AggregateSpec::Hll { value: DataType::Int64, precision: 14 });
    assert_eq!(def.outputs[2].finisher, Finisher::Quantile(0.99));
    assert_eq!(def.plan.stream, StreamId(7));
    assert!(
        def.plan.nodes.iter().any(|n| n.op == Op::Literal(Value::Float(60_000.0))),
        "the literal is cast once, here"
    );
    assert_eq!(def.typed_options().ttl.map(|t| t.days), Some(30));
    assert_eq!(def.typed_options().num_shards, Some(8));
}

#[test]
fn the_time_bucket_leads_the_key() {
    let def = view(
        "SELECT url, date_trunc('hour', arrival_timestamp) AS h, count(*) FROM pageviews GROUP BY url, 2",
    );
    assert_eq!(def.keys.iter().map(|k| k.0.as_str()).collect::<Vec<_>>(), ["h", "url"]);
    let def = view_with(
        "WITH (ttl_column = 'day', ttl = '1 day')",
        "SELECT url, day, sum(n) FROM pageviews GROUP BY url, day",
    );
    assert_eq!(def.keys[0].0, "day");
}

#[test]
fn equal_states_are_shared() {
    let def = view(
        "SELECT sum(n), avg(n), sum(n) + 1 AS more, count(n) FILTER (WHERE ok), count(n) AS c FROM pageviews",
    );
    assert_eq!(def.plan.states.len(), 3);
    assert_eq!(def.outputs.len(), 4);
    assert_eq!(select(&def)[2], ("more", "\"$0\" + 1"));
    let [a, b] = [&def.outputs[0], &def.outputs[1]];
    assert_eq!((a.state, b.state, &a.data_type, &b.data_type), (0, 0, &DataType::Int64, &DataType::Float64));
}

#[test]
fn keys_are_recognised_however_they_are_written() {
    let def = view(
        "SELECT lower(p.url) || '!' AS u, 1 + count(*) AS c, coalesce(lower(url), 'x') AS l FROM pageviews p \
                    GROUP BY lower(url), lower(url)",
    );
    assert_eq!(def.keys.len(), 1);
    assert_eq!(def.keys[0].0, "key1");
    assert_eq!(
        select(&def),
        [("u", "\"key1\" || '!'"), ("c", "1 + \"$0\""), ("l", "coalesce(\"key1\", 'x')")]
    );
    let def = view("SELECT URL, country AS \"URL2\" FROM pageviews GROUP BY url, country");
    assert_eq!(def.keys.iter().map(|k| k.0.as_str()).collect::<Vec<_>>(), ["url", "URL2"]);
}

#[test]
fn nodes_that_nothing_needs_are_left_out() {
    let def = view("SELECT upper(country) AS c, count(*) FROM pageviews GROUP BY upper(country)");
    assert_eq!(def.plan.nodes.len(), 2);
}

#[test]
fn types_are_postgresqls() {
    use DataType::*;
    let money = |precision, scale| Decimal { precision, scale };
    for (expr, want) in [
        ("small + 1", Int32),
        ("n + user_id", Int64),
        ("n / 2", Int32),
        ("n / 2.0", money(38, 16)),
        ("price + 1", money(13, 2)),
        ("price * 2.50", money(13, 4)),
        ("price * latency_ms", Float64),
        ("r + n", Float64),
        ("r + r", Float32),
        ("n % 10", Int32),
        ("n & 3", Int32),
        ("abs(n)", Int32),
        ("floor(n)", Float64),
        ("round(price, 1)", money(10, 2)),
        ("sqrt(n)", Float64),
        ("length(url)", Int32),
        ("substring(url from 2 for 3)", Text),
        ("extract(hour from arrival_timestamp)", Float64),
        ("arrival_timestamp - interval '1 hour'", Timestamp),
        ("arrival_timestamp - arrival_timestamp", Interval),
        ("day + 1", Date),
        ("day - day", Int32),
        ("day + interval '1 day'", Timestamp),
        ("time_bucket('5 minutes', arrival_timestamp)", Timestamp),
        ("minute(arrival_timestamp)", Timestamp),
        ("CASE WHEN ok THEN 1 ELSE 2.5 END", money(11, 1)),
        ("CASE country WHEN 'DE' THEN 'x' END", Text),
        ("coalesce(small, user_id)", Int64),
        ("nullif(url, '')", Text),
        ("url || n", Text),
        ("raw || raw", Bytea),
        ("n::text", Text),
        ("cast(url as numeric(5,1))", money(5, 1)),
        ("'2024-01-01'::date", Date),
        ("id", Uuid),
        ("NOT ok", Bool),
        ("ok IS NOT TRUE", Bool),
        ("url IN ('a', 'b')", Bool),
        ("n BETWEEN 1 AND 5", Bool),
        ("url LIKE 'a%'", Bool),
        ("-n", Int32),
        ("trim(both 'x' from url)", Text),
        ("position('a' in url)", Int32),
        ("n IS DISTINCT FROM 5", Bool),
        ("ceil(price)", money(10, 2)),
    ] {
        assert_eq!(key_type(expr), want, "{expr}");
    }
}

#[test]
fn literals_take_the_other_sides_type() {
    let def = view(
        "SELECT count(*) FROM pageviews WHERE id = '00010203-0405-0607-0809-0a0b0c0d0e0f' AND day > '2024-01-01' AND n = '5'",
    );
    let literals = def.plan.nodes.iter().filter_map(|n| match &n.op {
        Op::Literal(v) => Some((v.clone(), n.data_type.clone())),
        _ => None,
    });
    let literals: Vec<_> = literals.collect();
    assert!(literals.contains(&(Value::Bytes((0..16).collect()), DataType::Uuid)));
    assert!(literals.contains(&(Value::Int(19_723), DataType::Date)));
    assert!(literals.contains(&(Value::Int(5), DataType::Int32)));
    assert_eq!(
        refused("SELECT count(*) FROM pageviews WHERE n = 'x'"),
        ("22P02", "invalid input syntax for type integer: \"x\"".into(), Some(42))
    );
}

#[test]
fn operations_land_in_the_plan() {
    let def = view("SELECT count(*) FROM pageviews WHERE latency_ms > 1.5 OR url ILIKE '%X'");
    let ops: Vec<_> = def.plan.nodes.iter().map(|n| &n.op).collect();
    assert!(ops.iter().any(|op| matches!(op, Op::Binary(BinaryOp::Gt, ..))));
    assert!(ops.iter().any(|op| matches!(op, Op::Like { case_insensitive: true, negated: false, .. })));
    let def = view("SELECT date_trunc('WEEK', day) d, count(*) FROM pageviews GROUP BY d");
    assert!(def.plan.nodes.iter().any(|n| matches!(n.op, Op::Call(Function::DateTrunc, _))));
}

#[test]
fn every_aggregate_compiles() {
    let money = DataType::Decimal { precision: 38, scale: 2 };
    for (call, want) in [
        ("count(*)", DataType::Int64),
        ("count(url)", DataType::Int64),
        ("count(DISTINCT url)", DataType::Int64),
        ("sum(small)", DataType::Int64),
        ("sum(user_id)", DataType::Decimal { precision: 38, scale: 0 }),
        ("sum(price)", money),
        ("sum(r)", DataType::Float64),
        ("avg(price)", DataType::Float64),
        ("min(url)", DataType::Text),
        ("max(arrival_timestamp)", DataType::Timestamp),
        ("variance(n)", DataType::Float64),
        ("stddev_pop(price)", DataType::Float64),
        ("bool_and(ok)", DataType::Bool),
        ("every(n > 1)", DataType::Bool),
        ("bit_or(small)", DataType::Int16),
        ("first(url)", DataType::Text),
        ("last(price)", DataType::Decimal { precision: 10, scale: 2 }),
        ("arg_min(url, latency_ms)", DataType::Text),
        ("keyed_max(latency_ms, id)", DataType::Uuid),
        ("hll_agg(url)", DataType::Int64),
        ("hll_agg(url, 10)", DataType::Int64),
        ("approx_percentile(latency_ms, 0.5)", DataType::Float64),
        (
            "percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY n)",
            DataType::List(Box::new(DataType::Float64)),
        ),
        ("approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY latency_ms DESC)", DataType::Float64),
        ("median(latency_ms)", DataType::Float64),
        ("ddsketch_agg(latency_ms, 0.02)", DataType::Bytea),
        ("dist_agg(latency_ms, 100)", DataType::Bytea),
        ("exact_count_distinct(url, 100)", DataType::Int64),
        ("set_agg(country)", DataType::List(Box::new(DataType::Text))),
    ] {
        let def = view(&format!("SELECT {call} AS a FROM pageviews"));
        assert_eq!(def.outputs[0].data_type, want, "{call}");
    }
    let def = view("SELECT topk_agg(url, 5, n) AS t FROM pageviews");
    assert_eq!(def.specs()[0], AggregateSpec::TopK { value: DataType::Text, k: 5, weighted: true });
}

#[test]
fn what_definitions_cannot_do_is_refused_by_name_and_place() {
    let clause = |what: &str| format!("{what} is not supported in a continuous view's definition");
    for (sql, what, at) in [
        ("SELECT count(*) FROM pageviews LIMIT 1", "LIMIT or OFFSET", 38),
        ("WITH x AS (SELECT 1) SELECT count(*) FROM x", "WITH", 1),
        ("SELECT DISTINCT ON (url) url, n FROM pageviews", "SELECT DISTINCT ON", 1),
        ("SELECT DISTINCT count(*) FROM pageviews", "SELECT DISTINCT with GROUP BY or an aggregate", 1),
        ("SELECT count(*) FROM (SELECT DISTINCT url FROM pageviews) x", "DISTINCT in a subselect", 23),
        ("SELECT count(*) FROM (SELECT max(n) FROM pageviews) x", "an aggregate in a subselect", 30),
        ("SELECT count(*) FROM (SELECT n FROM pageviews LIMIT 1) x", "LIMIT or OFFSET", 53),
        ("SELECT count(*) FROM (SELECT a.n FROM pageviews a, pageviews b) x", "a join", 52),
        ("SELECT count(*) FROM pageviews a JOIN pageviews b ON true", "a join", 39),
        ("SELECT count(*) FROM pageviews, pageviews b", "a join", 33),
        ("SELECT row_number() OVER (), count(*) FROM pageviews", "window function row_number", 8),
        ("SELECT sum(n) OVER () FROM pageviews", "window function sum", 8),
        ("SELECT count(*) FROM pageviews WHERE now() > arrival_timestamp", "function now()", 38),
        ("SELECT random(), count(*) FROM pageviews", "function random()", 8),
        ("SELECT sum(DISTINCT n) FROM pageviews", "DISTINCT in sum", 8),
        ("SELECT jsonb_agg(n) FROM pageviews", "aggregate jsonb_agg", 8),
        ("SELECT count(*) FROM pageviews WHERE url SIMILAR TO 'a'", "SIMILAR TO", 38),
        ("SELECT count(*) FROM pageviews UNION SELECT 1", "UNION", 1),
    ] {
        let (code, message, position) = refused(sql);
        assert_eq!((code, message, position), ("0A000", clause(what), Some(at)), "{sql}");
    }
    assert_eq!(refused("SELECT count(*) FROM pageviews WHERE n IN (SELECT 1)").0, "0A000");
    assert_eq!(refused("SELECT regexp_like(url, 'a'), count(*) FROM pageviews GROUP BY 1").0, "0A000");
    assert_eq!(
        refused("SELECT sum(count(*)) FROM pageviews"),
        ("42803", "aggregate function calls cannot be nested".into(), Some(12))
    );
    assert_eq!(refused("SELECT url FROM pageviews").0, "0A000");
    assert_eq!(refused("SELECT * FROM pageviews").0, "0A000");
    assert_eq!(refused("SELECT 1").1, "a continuous view reads a stream: FROM is missing");
}

#[test]
fn mistakes_have_places_and_hints() {
    let lost = "column \"lateny_ms\" does not exist in stream \"pageviews\"";
    assert_eq!(refused("SELECT sum(lateny_ms) FROM pageviews"), ("42703", lost.into(), Some(12)));
    assert_eq!(hint("SELECT sum(lateny_ms) FROM pageviews"), "did you mean \"latency_ms\"?");
    assert_eq!(
        refused("SELECT count(*) FROM pageview"),
        ("42P01", "stream \"pageview\" does not exist".into(), Some(22))
    );
    assert_eq!(hint("SELECT count(*) FROM pageview"), "did you mean \"pageviews\"?");
    assert_eq!(
        refused("SELECT cuont(url) FROM pageviews"),
        ("42883", "function cuont does not exist".into(), Some(8))
    );
    assert_eq!(hint("SELECT cuont(url) FROM pageviews"), "did you mean \"count\"?");
    assert_eq!(refused("SELECT url, count(*) FROM pageviews").0, "42803");
    assert_eq!(refused("SELECT url, count(*) FROM pageviews").2, Some(8));
    assert_eq!(
        refused("SELECT count(*) FROM pageviews WHERE url"),
        ("42804", "argument of WHERE must be type boolean, not type text".into(), Some(38))
    );
    assert_eq!(refused("SELECT count(*) FROM pageviews WHERE count(*) > 1").0, "42803");
    assert_eq!(
        refused("SELECT sum(url) FROM pageviews"),
        ("42883", "function sum(text) does not exist".into(), Some(8))
    );
    assert_eq!(
        refused("SELECT url + 1, count(*) FROM pageviews GROUP BY 1"),
        ("42883", "operator does not exist: text + integer".into(), Some(8))
    );
    assert_eq!(refused("SELECT count(*) FROM pageviews WHERE url = n").0, "42804");
    assert_eq!(refused("SELECT count(*) FROM pageviews WHERE x.url = 'a'").0, "42P01");
    assert_eq!(refused("SELECT count(*), count(*) FROM pageviews").0, "42701");
    assert_eq!(refused("SELECT count(*) FROM pageviews GROUP BY 3").0, "42P10");
    assert_eq!(
        refused("SELECT date_trunc('minit', arrival_timestamp), count(*) FROM pageviews GROUP BY 1").0,
        "22023"
    );
    assert_eq!(refused("SELECT percentile_cont(2) WITHIN GROUP (ORDER BY n) FROM pageviews").0, "22003");
    assert_eq!(refused("SELECT percentile_cont(0.5) FROM pageviews").0, "42809");
    assert_eq!(refused("SELECT count(*) FROM pageviews WHERE 'abc'::int = n").0, "22P02");
    assert_eq!(refused("SELECT hll_agg(url, 99) FROM pageviews").0, "22023");
}

#[test]
fn options_are_checked() {
    let refused = |options: &str| {
        let error = compile_sql(&format!(
            "CREATE CONTINUOUS VIEW v WITH ({options}) AS SELECT count(*) FROM pageviews"
        ))
        .expect_err(options);
        (error.code, error.position, error.hint.unwrap_or_default())
    };
    assert_eq!(refused("num_shard = 8"), ("22023", Some(32), "did you mean \"num_shards\"?".into()));
    assert_eq!(refused("num_shards = many").1, Some(45));
    assert_eq!(refused("sharding_policy = 'x'").0, "22023");
    assert_eq!(refused("pk = url").0, "0A000");
    assert_eq!(refused("sw = '1 hour', sliding_window = '1 hour'"), ("42601", Some(47), String::new()));
    assert_eq!(refused("step_factor = 5").0, "22023");
    assert_eq!(refused("ttl = '30 days'").0, "42P17");
    assert_eq!(refused("ttl_column = 'x'").0, "42703");
    assert_eq!(refused("zzz = 1").0, "22023");
    let def = view_with(
        "WITH (hll_precision = 10, max_groups = 5, quantile_error = 0.05)",
        "SELECT count(DISTINCT n), median(n) FROM pageviews",
    );
    assert_eq!(def.specs()[0], AggregateSpec::Hll { value: DataType::Int32, precision: 10 });
    assert_eq!(def.specs()[1], AggregateSpec::DdSketch { alpha_ppm: 50_000 });
    assert_eq!(def.plan.groups_max, 5);
}

#[test]
fn a_sliding_window_is_a_hidden_first_key() {
    let def = view_with(
        "WITH (sw = '1 hour', step_factor = 10)",
        "SELECT url, count(*) FROM pageviews GROUP BY url",
    );
    let window = SlidingWindow { span_us: 3_600_000_000, pane_us: 360_000_000 };
    assert_eq!(def.window(), Some(window));
    assert_eq!(def.keys.iter().map(|k| k.0.as_str()).collect::<Vec<_>>(), [PANE_KEY, "url"]);
    assert_eq!(def.visible_keys(), &def.keys[1..]);
    assert_eq!(select(&def), [("url", "\"url\""), ("count", "\"$0\"")]);
    let by_day = view_with("WITH (sw = '30 days', sw_column = 'day')", "SELECT count(*) FROM pageviews");
    assert!(by_day.plan.filter.is_some(), "events without a time are in no window");
    let condition = "arrival_timestamp > clock_timestamp() - interval '2' HOUR";
    let def = view(&format!("SELECT count(*) FROM pageviews WHERE n > 1 AND {condition}"));
    assert_eq!(def.window().map(|w| w.span_us), Some(7_200_000_000));
    let same = view_with("WITH (sw = '2 hours')", "SELECT count(*) FROM pageviews WHERE n > 1");
    assert!(def.is_same_view(&same));
    let bucketed = view_with(
        "WITH (sw = '1 hour')",
        "SELECT time_bucket('3 minutes', arrival_timestamp) AS b, count(*) FROM pageviews GROUP BY b",
    );
    assert_eq!(bucketed.visible_keys()[0].0, "b", "a key that is like the pane is still shown");
}

#[test]
fn subselects_leave_only_expressions_behind() {
    let flat =
        view("SELECT lower(url) AS u, sum(n + 1) AS s FROM pageviews WHERE n > 0 AND ok GROUP BY lower(url)");
    let nested = view(
        "SELECT u, sum(m) AS s FROM (SELECT lower(p.url) AS u, n + 1 AS m, ok AS fine, country FROM pageviews p \
         WHERE n > 0) AS t WHERE t.fine GROUP BY u",
    );
    let specs = |def: &ViewDef| (def.specs(), def.keys.clone(), def.plan.nodes.len());
    assert_eq!(specs(&flat), specs(&nested), "what nothing needs is left out");
    assert_eq!(refused("SELECT url FROM (SELECT n FROM pageviews) t GROUP BY url").0, "42703");
    assert_eq!(refused("SELECT pageviews.n FROM (SELECT n FROM pageviews) t GROUP BY 1").0, "42P01");
    let timed = view(
        "SELECT date_trunc('hour', arrival_timestamp) AS h, count(*) FROM (SELECT n FROM pageviews) t GROUP BY h",
    );
    assert_eq!(timed.keys[0].0, "h", "every event has its time, whatever a subselect chooses");
}

#[test]
fn grouping_sets_are_written_out() {
    let sets = |sql: &str| view(sql).grouping_sets().map(<[Vec<u16>]>::to_vec);
    let select = "SELECT url, country, count(*) FROM pageviews GROUP BY";
    assert_eq!(sets(&format!("{select} url, country")), None);
    assert_eq!(sets(&format!("{select} ROLLUP (url, country)")), Some(vec![vec![0, 1], vec![0], vec![]]));
    assert_eq!(
        sets(&format!("{select} CUBE (url, country)")),
        Some(vec![vec![0, 1], vec![0], vec![1], vec![]])
    );
    assert_eq!(sets(&format!("{select} url, ROLLUP (country)")), Some(vec![vec![0, 1], vec![0]]));
    assert_eq!(
        sets(&format!("{select} GROUPING SETS ((country), (url, country))")),
        Some(vec![vec![0], vec![1, 0]])
    );
    let timed = view(
        "SELECT url, date_trunc('hour', arrival_timestamp) AS h, count(*), grouping(date_trunc('hour', arrival_timestamp)) FROM pageviews GROUP BY ROLLUP (url, h)",
    );
    assert_eq!(timed.keys[0].0, "h");
    assert_eq!(timed.grouping_sets(), Some(&[vec![1, 0], vec![1], vec![]][..]));
    assert_eq!(timed.groupings().collect::<Vec<_>>(), [&[0]]);
}

#[test]
fn names_that_are_taken_missing_or_needed() {
    let mut catalog = catalog();
    catalog.views.push(Arc::new(view("SELECT count(*) FROM pageviews")));
    let run =
        |sql: &str| compile(&parse(sql).expect("parses")[0], &catalog).map_err(|e| (e.code, e.position));
    assert_eq!(run("CREATE STREAM pageviews (a int)"), Err(("42P07", Some(15))));
    assert!(run("CREATE STREAM IF NOT EXISTS pageviews (a int)").is_ok());
    assert_eq!(run("CREATE STREAM v (a int)"), Err(("42P07", Some(15))));
    assert_eq!(run("CREATE CONTINUOUS VIEW v AS SELECT count(*) FROM pageviews"), Err(("42P07", Some(24))));
    assert_eq!(run("CREATE CONTINUOUS VIEW w AS SELECT count(*) FROM v"), Err(("0A000", Some(50))));
    assert_eq!(run("DROP STREAM pageviews"), Err(("2BP01", Some(13))));
    assert!(run("DROP STREAM pageviews CASCADE").is_ok());
    assert_eq!(run("DROP STREAM v"), Err(("42809", Some(13))));
    assert_eq!(run("DROP CONTINUOUS VIEW w"), Err(("42P01", Some(22))));
    assert!(run("DROP CONTINUOUS VIEW IF EXISTS w").is_ok());
    assert_eq!(run("SELECT 1"), Ok(None));
}

/// Calls of every aggregate name, as `SQL.md` lists them.
fn documented() -> Vec<[String; 4]> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("SQL.md");
    let text = std::fs::read_to_string(path).expect("SQL.md");
    let table = text.lines().skip_while(|line| !line.starts_with("| call |")).skip(2);
    let row = |line: &str| {
        let mut cells =
            line.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`').to_owned());
        std::array::from_fn(|_| cells.next().unwrap_or_default())
    };
    table.take_while(|line| line.starts_with('|')).map(row).collect()
}

#[test]
fn the_table_of_aggregates_in_the_docs_is_true() {
    let rows = documented();
    let mut wrong = String::new();
    for [call, state, data_type, answer] in &rows {
        let def = view(&format!("SELECT {call} AS x FROM pageviews"));
        let spec = &def.plan.states[0].spec;
        let answers = match spec {
            AggregateSpec::Hll { precision, .. } => {
                let error = 104.0 / f64::from(1u32 << precision).sqrt();
                format!("estimate: standard error {error:.2} %")
            }
            AggregateSpec::DdSketch { alpha_ppm } => {
                format!("estimate: relative error {} %", f64::from(*alpha_ppm) / 10_000.0)
            }
            AggregateSpec::TDigest { .. }
            | AggregateSpec::TopK { .. }
            | AggregateSpec::Bloom { .. }
            | AggregateSpec::Freq { .. }
            | AggregateSpec::Theta { .. }
            | AggregateSpec::ExpHistogram { .. } => "estimate: ".to_owned(),
            _ => "exact".to_owned(),
        };
        let shares = def.select[0].expr.to_lowercase().contains("double precision");
        let of = if shares { &DataType::Float64 } else { &def.outputs[0].data_type };
        let is = (spec.name(), crate::types::type_name(of));
        if (state.as_str(), data_type) != (is.0, &is.1) || !answer.starts_with(&answers) {
            wrong += &format!("| `{call}` | {} | {} | {answers}\n", is.0, is.1);
        }
    }
    assert!(wrong.is_empty(), "should be\n{wrong}");
    for name in aggregate::NAMES {
        let listed = rows.iter().any(|[call, ..]| call.split('(').next() == Some(name));
        assert!(listed, "SQL.md does not list {name}");
    }
}

/// A cast that definitions take and producers do not have was an internal error.
#[test]
fn every_cast_is_known_or_refused() {
    let types =
        "boolean smallint int bigint real float8 numeric(10,2) text bytea uuid date timestamptz interval";
    let columns = ["ok", "small", "n", "user_id", "r", "latency_ms", "price", "url", "raw", "id", "day"];
    for column in columns.into_iter().chain(["arrival_timestamp", "(arrival_timestamp - day)"]) {
        for to in types.split(' ') {
            let sql =
                format!("CREATE CONTINUOUS VIEW v AS SELECT max(({column}::{to}) IS NULL) FROM pageviews");
            let sql = sql.replace("max(", "bool_or(");
            match compile_sql(&sql) {
                Ok(_) => {}
                Err(error) => {
                    assert!(["42846", "42883"].contains(&error.code), "{sql}: {error:?}");
                    assert!(error.position.is_some(), "{sql}: {error:?}");
                }
            }
        }
    }
}
