//! INSERT over every door.

use super::{counts, end, posted, postgres, with_hits};
use crate::View;
use headwater::wire::AckLevel;
use std::sync::Arc;

/// The same events by a native producer and by INSERT: the same answers.
#[tokio::test(flavor = "multi_thread")]
async fn an_insert_counts_as_a_producer_would() {
    let (_house, hub, client) = with_hits().await;
    client
        .query("CREATE STREAM pageviews (url TEXT, user_id INTEGER, latency_ms DOUBLE PRECISION)")
        .await
        .expect("stream");
    let view = super::VIEW.replace("by_url", "native").replace("FROM hits", "FROM pageviews");
    client.query(&view).await.expect("view");
    let pg = postgres(&hub).await;
    let mut rows = Vec::new();
    for n in 0..2_000_u32 {
        let (url, user_id, latency_ms) = (["/", "/a", "/b"][n as usize % 3], n % 97, f64::from(n) / 7.0);
        client.stream("pageviews").emit(&View { url, user_id, latency_ms }).expect("emit");
        rows.push(format!("('{url}', {user_id}, {latency_ms:?})"));
    }
    client.flush(AckLevel::Durable).await.expect("flush");
    for rows in rows.chunks(500) {
        let inserted = pg.execute(&format!("INSERT INTO hits VALUES {}", rows.join(", ")), &[]).await;
        assert_eq!(inserted.expect("insert"), 500);
    }
    let sql = "SELECT url, count, users, visitors, mean, p90, top FROM VIEW ORDER BY url";
    let native = client.query(&sql.replace("VIEW", "native")).await.expect("native").rows;
    let inserted = client.query(&sql.replace("VIEW", "by_url")).await.expect("inserted").rows;
    assert_eq!(native.len(), 3);
    assert_eq!(native, inserted);
    end(hub, client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_door_inserts() {
    let (_house, hub, client) = with_hits().await;
    client.query("INSERT INTO hits VALUES ('quic', 1, 1.5)").await.expect("QUIC");
    let (http, insert) = (hub.http_addr(), "INSERT INTO hits (url, user_id) VALUES ('http', 2), ('http', 3)");
    let (status, body) = posted(http, "/v1/sql", "text/plain", insert.into()).await;
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("\"tag\":\"INSERT 0 2\""), "{body}");
    let pg = postgres(&hub).await;
    pg.simple_query("INSERT INTO hits VALUES ('simple', 4); SELECT pipelinedb.flush()")
        .await
        .expect("simple");
    let insert = pg.prepare("INSERT INTO hits VALUES ($1, $2, $3)").await.expect("prepare");
    use tokio_postgres::types::Type;
    assert_eq!(insert.params(), [Type::TEXT, Type::INT4, Type::FLOAT8]);
    for n in 0..3 {
        assert_eq!(pg.execute(&insert, &[&"prepared", &n, &0.5]).await.expect("insert"), 1);
    }
    assert_eq!(pg.execute(&insert, &[&None::<&str>, &7, &None::<f64>]).await.expect("NULL"), 1);
    let query = "INSERT INTO hits SELECT 'from ' || url, count::integer FROM by_url WHERE url = $1";
    assert_eq!(pg.execute(query, &[&"prepared"]).await.expect("select"), 1);
    let flushed = pg.query_one("SELECT flush()", &[]).await.expect("flush");
    assert!(flushed.get::<_, bool>(0));
    let some = |url: &str, count, users| (Some(url.to_owned()), count, Some(users));
    let expected = [
        some("from prepared", 1, 3),
        some("http", 2, 5),
        some("prepared", 3, 3),
        some("quic", 1, 1),
        some("simple", 1, 4),
        (None, 1, Some(7)),
    ];
    assert_eq!(counts(&client).await, expected);
    let error = client.query("INSERT INTO hits VALUES ('x', 'y')").await.expect_err("refused").to_string();
    assert!(error.contains("invalid input syntax for type integer: \"y\""), "{error}");
    end(hub, client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_inserters_at_all_levels_lose_nothing() {
    let (_house, hub, client) = with_hits().await;
    let hub = Arc::new(hub);
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..12_i32 {
        let pg = postgres(&hub).await;
        tasks.spawn(async move {
            let level = ["sync_commit", "sync_receive", "async"][task as usize % 3];
            pg.batch_execute(&format!("SET stream_insert_level = {level}")).await.expect("a level");
            let insert = pg.prepare("INSERT INTO hits (url, user_id) VALUES ($1, $2), ('all', $2)").await;
            let insert = insert.expect("prepare");
            for n in 0..40_i32 {
                assert_eq!(pg.execute(&insert, &[&format!("/{task}"), &n]).await.expect("insert"), 2);
            }
            pg.query_one("SELECT pipelinedb.flush()", &[]).await.expect("flush");
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("an inserter");
    }
    let counts = counts(&client).await;
    assert_eq!(counts.len(), 13);
    for (url, count, users) in counts {
        let times = if url.as_deref() == Some("all") { 12 } else { 1 };
        assert_eq!((count, users), (40 * times, Some(780 * times)), "{url:?}");
    }
    let sessions: Vec<(i64,)> = client
        .query_as("SELECT count FROM headwater.ledger WHERE outcome = 'events applied'")
        .await
        .expect("ledger");
    assert_eq!(sessions, [(960,)]);
    let Ok(hub) = Arc::try_unwrap(hub) else { panic!("somebody holds the hub") };
    end(hub, client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_feed_some_views_only() {
    let (_house, hub, client) = with_hits().await;
    client.query("CREATE CONTINUOUS VIEW total AS SELECT count(*) FROM hits").await.expect("view");
    let pg = postgres(&hub).await;
    pg.batch_execute("SET stream_targets = 'total'").await.expect("targets");
    pg.batch_execute("INSERT INTO hits VALUES ('/', 1)").await.expect("insert");
    pg.batch_execute("RESET stream_targets").await.expect("all again");
    pg.batch_execute("INSERT INTO hits VALUES ('/', 1)").await.expect("insert");
    let total: Vec<(i64,)> = client.query_as("SELECT count FROM total").await.expect("rows");
    assert_eq!((total, counts(&client).await), (vec![(2,)], vec![(Some("/".into()), 1, Some(1))]));
    pg.batch_execute("SET stream_targets = 'nothing'").await.expect("told when it is used");
    let error = pg.batch_execute("INSERT INTO hits VALUES ('/', 1)").await.expect_err("no view");
    assert_eq!(error.code().map(|code| code.code()), Some("42P01"));
    end(hub, client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_inserted_stays_whatever_becomes_of_the_transaction() {
    let (_house, hub, client) = with_hits().await;
    let pg = postgres(&hub).await;
    pg.batch_execute("BEGIN; INSERT INTO hits VALUES ('/', 1); ROLLBACK").await.expect("a warning");
    assert_eq!(counts(&client).await, [(Some("/".into()), 1, Some(1))]);
    end(hub, client).await;
}
