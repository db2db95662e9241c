//! How long a read takes in process; run by hand in release: `cargo test -p headwater-sql --release -- --ignored`.

use crate::hub::{Hub, define};
use futures::StreamExt;
use headwater::value::Value;
use headwater_sql::ReadOptions;
use std::time::Instant;

#[tokio::test]
#[ignore = "a measurement"]
async fn select_of_a_thousand_groups() {
    let (hub, engine) = Hub::start();
    let ddl = "CREATE STREAM s (a bigint, b text, c double precision);
               CREATE CONTINUOUS VIEW v AS SELECT a, b, count(*) AS n, sum(c) AS total, avg(c) AS mean FROM s GROUP BY a, b";
    define(&engine, ddl).await;
    let row = |a: i64| vec![Value::Int(a), Value::Text(format!("text {a}")), Value::Float(a as f64)];
    hub.push("s", &["a", "b", "c"], &(0..1_000).map(row).collect::<Vec<_>>(), 1_000);
    let mut times = Vec::new();
    for _ in 0..201 {
        let start = Instant::now();
        let mut answer = engine.execute("SELECT * FROM v", ReadOptions::default()).await.expect("runs");
        let mut rows = 0;
        while let Some(batch) = answer.batches.next().await {
            rows += batch.expect("batch").num_rows();
        }
        assert_eq!(rows, 1_000);
        times.push(start.elapsed());
    }
    times.sort();
    eprintln!("SELECT * of 1,000 groups: median {:?}, best {:?}", times[100], times[0]);
}
