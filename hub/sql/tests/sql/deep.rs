//! No text is too deep for the stack: every rule of the grammar that can contain itself, at several depths up to the
//! longest text, ends with an answer or a code. A stack overflow would end the whole program.

use crate::hub::{Hub, define, run};
use headwater_sql::{EngineOptions, SQL_BYTES_MAX, parse};
use std::time::Duration;

/// Stack of a thread of the hub's that parses a text.
const WORKER_STACK_BYTES: usize = 2 << 20;
const DEPTHS: &[usize] = &[40, 200, 1_000, 5_000];

/// What stands before, what is repeated before, what is within, what is repeated behind, and what stands behind.
const NESTED: &[[&str; 5]] = &[
    ["select ", "interval ", "'1 day'", "", ""],
    ["select now()", "", "", " at time zone 'UTC'", ""],
    ["select ", "- ", "1", "", ""],
    ["select ", "+", "1", "", ""],
    ["select ", "~", "1", "", ""],
    ["select ", "@", "1", "", ""],
    ["select ", "|/ ", "1", "", ""],
    ["select ", "not ", "true", "", ""],
    ["select ", "(", "1", ")", ""],
    ["select 1", "", "", "::int", ""],
    ["select 1::int", "", "", "[]", ""],
    ["select cast(1 as ", "array<", "int", ">", ")"],
    ["select cast(1 as ", "struct<a int, b ", "int", ">", ")"],
    ["select cast(1 as ", "table(a ", "int", ")", ")"],
    ["select ", "cast(", "1", " as int)", ""],
    ["select ", "try_cast(", "1", " as int)", ""],
    ["select a", "", "", "[1]", " from v"],
    ["select ", "array[", "1", "]", ""],
    ["select ", "array[1,", "1", "]", ""],
    ["select ", "[", "1", "]", ""],
    ["select array[1]", "", "", " || array[1, 2]", ""],
    ["select ", "array(select ", "1", ")", ""],
    ["select ", "{'a': ", "1", "}", ""],
    ["select ", "exists (select ", "1", ")", ""],
    ["select ", "(select ", "1", ")", ""],
    ["select 1", "", "", " union select 1", ""],
    ["select 1", "", "", " intersect select 1", ""],
    ["", "(", "select 1", ")", ""],
    ["select 1 from v", "", "", " join v on true", ""],
    ["select 1 from v", "", "", " natural join v", ""],
    ["select 1 from v", "", "", " cross join v", ""],
    ["select 1 from v", " join v", "", " on true", ""],
    ["select 1 from ", "(", "v", ")", ""],
    ["select 1 from ", "(v join ", "v", " on true)", ""],
    ["select 1 from ", "(select * from ", "v", ") t", ""],
    ["select 1 from ", "lateral (select * from ", "v", ") t", ""],
    ["select 1 from v", "", "", " pivot(sum(a) for b in (1))", ""],
    ["select 1 from v", "", "", " unpivot(a for b in (c))", ""],
    ["select * from json_table('{}', '$' columns(", "nested path '$' columns(", "a int path '$'", ")", "))"],
    ["select 1 from v tablesample(", "(", "1", ")", ")"],
    ["", "with a as (", "select 1", ") select 1", ""],
    ["select ", "case when ", "true", " then 1 end", ""],
    ["select ", "case when true then 1 else ", "1", " end", ""],
    ["select 'a'", "", "", " like 'a' escape 'b'", ""],
    ["select 'a'", "", "", " ilike 'a'", ""],
    ["select 'a'", "", "", " similar to 'a'", ""],
    ["select 'a'", "", "", " rlike 'a'", ""],
    ["select 'a'", "", "", " collate \"C\"", ""],
    ["select 1", "", "", " isnull", ""],
    ["select 1", "", "", " notnull", ""],
    ["select 1", "", "", " is null", ""],
    ["select 1", "", "", " is distinct from 1", ""],
    ["select true", "", "", " is not true", ""],
    ["select true", "", "", " between true and true", ""],
    ["select 1", "", "", " in (1, 2)", ""],
    ["select 1", "", "", " = any(array[1, 2])", ""],
    ["select 1", "", "", " overlaps 1", ""],
    ["select 1", "", "", " operator(pg_catalog.+) 1", ""],
    ["select 1", "", "", " div 1", ""],
    ["select true", "", "", " xor true", ""],
    ["select 1", "", "", "!", ""],
    ["select '{}'", "", "", " -> 'a'", ""],
    ["select 1", "", "", " + 1", ""],
    ["select 'a'", "", "", " 'a'", ""],
    ["select 'a'", "", "", " || f(1, 2)", ""],
    ["select count(*)", "", "", " + percentile_cont(0.5) within group (order by a)", " from v"],
    ["select count(*)", "", "", " + count(*) filter (where a > 0)", " from v"],
    ["select 1", "", "", " + sum(1) over (partition by 1, 2 order by 3)", " from v"],
    ["select ", "abs(", "1", ")", ""],
    ["select ", "coalesce(1, ", "1", ")", ""],
    ["select ", "extract(year from ", "now()", ")", ""],
    ["select ", "substring(", "'a'", " from 1)", ""],
    ["select ", "trim(both from ", "'a'", ")", ""],
    ["select ", "position('a' in ", "'a'", ")", ""],
    ["select ", "ceil(", "1", ")", ""],
    ["select ", "overlay(", "'a'", " placing 'b' from 1)", ""],
    ["select ", "row(", "1", ")", ""],
    ["select ", "(1, ", "1", ")", ""],
    ["select ", "date ", "'2024-01-01'", "", ""],
    ["select ", "x -> ", "1", "", ""],
    ["select ", "lambda x : ", "1", "", ""],
    ["select a", ".a", "", "", " from v"],
    ["select 1 from v group by ", "rollup(", "a", ")", ""],
    ["select 1 from v group by ", "grouping sets (", "a", ")", ""],
    ["select 1 from v where a in (", "0,", "1", "", ")"],
    ["select 1 from v where (a, n) in (", "(0, 1),", "(1, 2)", "", ")"],
    ["select 1 from v join v w using (", "a,", "a", "", ")"],
    ["select coalesce(", "1,", "1", "", ")"],
    ["select case a ", "when 1 then 2 ", "", "", " end from v"],
    ["select 1 from v order by ", "a,", "a", "", ""],
    ["select ", "/*", "", "*/", " 1"],
    ["explain ", "explain ", "select 1", "", ""],
    ["create stream t (a int", "", "", "[]", ")"],
    ["create stream t (a ", "array<", "int", ">", ")"],
    ["create stream t (a numeric(", "(", "1", ")", "))"],
    ["create continuous view w as select ", "- ", "count(*)", "", " from s"],
    ["create continuous view w as select count(*)", "", "", " at time zone 'UTC'", " from s"],
    ["create continuous view w with (ttl = ", "(", "1", ")", ") as select count(*) from s"],
];

fn text(parts: &[&str; 5], depth: usize) -> String {
    let [before, open, inner, close, behind] = parts;
    let each = (open.len() + close.len()).max(1);
    let depth = depth.min((SQL_BYTES_MAX - before.len() - inner.len() - behind.len()) / each);
    format!("{before}{}{inner}{}{behind}", open.repeat(depth), close.repeat(depth))
}

/// All texts at all depths; the deepest is as long as a text may be.
fn texts() -> impl Iterator<Item = String> {
    let depths = || DEPTHS.iter().copied().chain([SQL_BYTES_MAX]);
    NESTED.iter().flat_map(move |parts| depths().map(|depth| text(parts, depth)))
}

fn shown(text: &str) -> String {
    format!("{}... of {} bytes", &text[..text.len().min(60)], text.len())
}

#[test]
fn the_parser_fits_on_a_worker() {
    let parsed = || {
        for text in texts() {
            drop(parse(&text));
        }
    };
    let thread = std::thread::Builder::new().stack_size(WORKER_STACK_BYTES).spawn(parsed).expect("a thread");
    thread.join().expect("fits");
}

#[tokio::test]
async fn statements_fit_on_their_thread() {
    // A machine that does much else is slow; time that doubles with every level passes any limit.
    let timeout = Duration::from_secs(120);
    let (_hub, engine) = Hub::start_with(EngineOptions { timeout, ..EngineOptions::default() });
    let ddl = "CREATE STREAM s (a bigint, b text);
        CREATE CONTINUOUS VIEW v AS SELECT a, b, count(*) AS n FROM s GROUP BY a, b";
    define(&engine, ddl).await;
    for text in texts() {
        if let Err(error) = run(&engine, &text).await {
            assert!(!["XX000", "57014"].contains(&error.code), "{}: {error:?}", shown(&text));
        }
    }
}
