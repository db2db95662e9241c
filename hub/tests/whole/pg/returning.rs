//! RETURNING and ON CONFLICT over the PostgreSQL protocol, and by several writers at a time.

use super::address;
use super::raw::{Raw, code, kinds};
use crate::House;
use std::net::SocketAddr;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Config, NoTls};

async fn connect(to: SocketAddr) -> Client {
    let mut config = Config::new();
    config.host("127.0.0.1").port(to.port()).user("me");
    let (client, connection) = config.connect(NoTls).await.expect("connect");
    tokio::spawn(connection);
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_answer_with_the_rows_that_they_changed() {
    let house = House::new();
    let hub = house.start().await;
    let client = connect(address(&hub)).await;
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY, name text, n bigint)").await.expect("table");
    let upsert = "INSERT INTO t AS x (id, name, n) VALUES ($1, $2, $3) ON CONFLICT (id) \
         DO UPDATE SET n = x.n + excluded.n WHERE x.n < $4 RETURNING id, name || $5 AS said, n";
    let upsert = client.prepare(upsert).await.expect("prepare");
    assert_eq!(upsert.params(), [Type::INT4, Type::TEXT, Type::INT8, Type::INT8, Type::TEXT]);
    let types: Vec<_> =
        upsert.columns().iter().map(|column| (column.name(), column.type_().clone())).collect();
    assert_eq!(types, [("id", Type::INT4), ("said", Type::TEXT), ("n", Type::INT8)]);
    for expected in [Some(5_i64), Some(10), Some(15), None] {
        let rows = client.query(&upsert, &[&1_i32, &"one", &5_i64, &12_i64, &"!"]).await.expect("rows");
        let found: Vec<(i32, String, i64)> =
            rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
        assert_eq!(found, expected.map(|n| (1, "one!".to_owned(), n)).into_iter().collect::<Vec<_>>());
    }
    let row = client.query_one("UPDATE t SET n = $1 WHERE id = $2 RETURNING *", &[&7_i64, &1_i32]).await;
    assert_eq!(row.expect("a row").get::<_, i64>(2), 7);
    let rows = client.query("DELETE FROM t WHERE id = $1 RETURNING n", &[&1_i32]).await.expect("rows");
    assert_eq!(rows.len(), 1);
    let changed = client.execute("DELETE FROM t RETURNING n", &[]).await.expect("none is left");
    assert_eq!(changed, 0);
    drop(client);
    let to = address(&hub);
    tokio::task::spawn_blocking(move || dialogues(to)).await.expect("as told");
    hub.shutdown().await.expect("shutdown");
}

fn dialogues(to: SocketAddr) {
    let mut raw = Raw::session(to);
    let messages = raw.query("INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2) RETURNING id");
    assert_eq!(kinds(&messages), "TDDCZ", "{}", code(&messages));
    assert_eq!(messages[3].1, b"INSERT 0 2\0");
    // Who only asks for the columns has changed nothing.
    raw.message(b'P', b"\0INSERT INTO t VALUES (3, 'c', 3) RETURNING id, n\0\0\0");
    raw.message(b'B', b"\0\0\0\0\0\0\0\0");
    raw.message(b'D', b"P\0");
    raw.message(b'S', b"");
    let messages = raw.until(b'Z');
    assert_eq!(kinds(&messages), "12TZ", "{}", code(&messages));
    let messages = raw.query("SELECT id FROM t");
    assert_eq!(kinds(&messages), "TDDCZ");
    // And then it runs, once.
    raw.message(b'P', b"\0INSERT INTO t VALUES (3, 'c', 3) RETURNING id, n\0\0\0");
    raw.message(b'B', b"\0\0\0\0\0\0\0\0");
    raw.message(b'D', b"P\0");
    raw.message(b'E', b"\0\0\0\0\0");
    raw.message(b'E', b"\0\0\0\0\0");
    raw.message(b'S', b"");
    let messages = raw.until(b'Z');
    assert_eq!((kinds(&messages), code(&messages)), ("12TDCEZ".into(), "55000".into()));
    // What cannot be described tells so.
    raw.message(b'P', b"\0DELETE FROM t RETURNING nope\0\0\0");
    raw.message(b'B', b"\0\0\0\0\0\0\0\0");
    raw.message(b'D', b"P\0");
    raw.message(b'S', b"");
    assert_eq!(code(&raw.until(b'Z')), "42703");
    assert_eq!(kinds(&raw.query("SELECT id FROM t")), "TDDDCZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn upserts_at_one_time_are_all_counted() {
    let house = House::new();
    let hub = house.start().await;
    let client = connect(address(&hub)).await;
    client.batch_execute("CREATE TABLE counters (id int PRIMARY KEY, n bigint)").await.expect("table");
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let client = connect(address(&hub)).await;
        tasks.push(tokio::spawn(async move {
            for _ in 0..8 {
                let upsert = "INSERT INTO counters VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET n = counters.n + excluded.n";
                client.execute(upsert, &[]).await.expect("counted");
            }
        }));
    }
    for task in tasks {
        task.await.expect("task");
    }
    let row = client.query_one("SELECT n FROM counters", &[]).await.expect("a row");
    assert_eq!(row.get::<_, i64>(0), 32);
    drop(client);
    hub.shutdown().await.expect("shutdown");
}
