//! Limits end a query with an error, never with a shorter answer.

use crate::hub::{Hub, define, run};
use headwater::value::Value;
use headwater_sql::{Engine, EngineOptions};
use std::sync::Arc;
use std::time::Duration;

async fn filled(options: EngineOptions, groups: i64) -> (Arc<Hub>, Engine) {
    let (hub, engine) = Hub::start_with(options);
    let ddl = "CREATE STREAM s (a bigint, b text); CREATE CONTINUOUS VIEW v AS SELECT a, b, count(*) AS n FROM s GROUP BY a, b";
    define(&engine, ddl).await;
    let rows: Vec<Vec<Value>> =
        (0..groups).map(|a| vec![Value::Int(a), Value::Text(format!("text {a}"))]).collect();
    hub.push("s", &["a", "b"], &rows, 1_000);
    (hub, engine)
}

async fn code(engine: &Engine, sql: &str) -> &'static str {
    run(engine, sql).await.expect_err(sql).code
}

#[tokio::test]
async fn too_many_rows() {
    let (_hub, engine) = filled(EngineOptions { rows_max: 9, ..EngineOptions::default() }, 10).await;
    assert_eq!(code(&engine, "SELECT * FROM v").await, "54000");
    assert_eq!(run(&engine, "SELECT * FROM v LIMIT 9").await.expect("fits").rows.len(), 9);
}

#[tokio::test]
async fn too_much_memory() {
    let (_hub, engine) =
        filled(EngineOptions { memory_bytes_max: 20_000, ..EngineOptions::default() }, 2_000).await;
    assert_eq!(code(&engine, "SELECT b, sum(n) FROM v GROUP BY b ORDER BY 2").await, "53200");
}

#[tokio::test]
async fn too_long() {
    let (_hub, engine) =
        filled(EngineOptions { timeout: Duration::from_millis(200), ..EngineOptions::default() }, 1_000)
            .await;
    let slow = "SELECT count(*) FROM v a, v b, v c WHERE a.b || b.b || c.b = 'x'";
    assert_eq!(code(&engine, slow).await, "57014");
}

#[tokio::test]
async fn hostile_expressions_do_not_overflow_the_stack() {
    let timeout = Duration::from_secs(60);
    let (_hub, engine) = filled(EngineOptions { timeout, ..EngineOptions::default() }, 1).await;
    let deep = format!("SELECT {}1", "1+".repeat(250));
    assert_eq!(run(&engine, &deep).await.expect("runs").rows, [[Value::Int(251)]]);
    let deep = format!(
        "CREATE CONTINUOUS VIEW w AS SELECT {}count(*) AS x FROM s WHERE {}a > 0",
        "1+".repeat(250),
        "a+".repeat(250)
    );
    run(&engine, &deep).await.expect("compiles");
    assert_eq!(code(&engine, &format!("SELECT {}1", "1+".repeat(300))).await, "54001");
    assert_eq!(code(&engine, &format!("SELECT 1 {}", "UNION SELECT 1 ".repeat(300))).await, "54001");
    let wide = format!(
        "SELECT a FROM v WHERE a IN ({})",
        (0..1_000).map(|n| n.to_string()).collect::<Vec<_>>().join(",")
    );
    assert_eq!(run(&engine, &wide).await.expect("runs").rows.len(), 1);
}

#[tokio::test]
async fn ranges_of_keys_reach_the_source() {
    let (hub, engine) = filled(EngineOptions::default(), 100).await;
    let before = hub.scanned();
    let rows = run(&engine, "SELECT * FROM v WHERE a >= 90 AND a < 95").await.expect("runs").rows;
    assert_eq!(rows.len(), 5);
    assert_eq!(hub.scanned() - before, 6, "five groups, and the one at the inclusive end");
    let rows = run(&engine, "SELECT n FROM v WHERE b = 'text 7' AND a = 7").await.expect("runs").rows;
    assert_eq!((rows, hub.scanned() - before), (vec![vec![Value::Int(1)]], 7));
}
