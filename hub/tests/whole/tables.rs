//! Reference tables of a whole hub: what is durable, what is atomic, what is refused.

use crate::cli::Server;
use crate::house::House;
use headwater::client::Client;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

/// Rows of one statement.
const ROWS: usize = 50;

fn insert(statement: usize) -> String {
    let row = |n| format!("({}, 'row {n}')", statement * ROWS + n);
    let rows: Vec<String> = (0..ROWS).map(row).collect();
    format!("INSERT INTO t VALUES {};\n", rows.join(", "))
}

fn count(server: &Server) -> usize {
    let shown = server.sql("SELECT count(*) AS n FROM t");
    let number = |line: &str| line.trim().trim_matches('|').trim().parse().ok();
    shown.lines().find_map(number).unwrap_or_else(|| panic!("no number in {shown}"))
}

#[test]
fn what_was_answered_survives_sigkill_and_no_statement_is_there_in_part() {
    let house = House::new();
    let server = Server::start(&house, &[]);
    server.sql("CREATE TABLE t (id bigint PRIMARY KEY, note text NOT NULL)");
    let mut client = server
        .command(&["sql"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("client");
    let mut input = client.stdin.take().expect("stdin");
    let writer = std::thread::spawn(move || {
        // It fails once the client has ended with its hub.
        let _ = (0..400).try_for_each(|n| input.write_all(insert(n).as_bytes()));
    });
    let mut lines = BufReader::new(client.stdout.take().expect("stdout")).lines().map_while(Result::ok);
    let is_answer = |line: &String| line.contains("INSERT 0 50");
    let before = lines.by_ref().filter(is_answer).take(5).count();
    assert_eq!(before, 5, "the statements run");
    server.kill();
    let answered = before + lines.filter(is_answer).count();
    client.wait().expect("client");
    writer.join().expect("writer");
    let server = Server::start(&house, &[]);
    let rows = count(&server);
    assert_eq!(rows % ROWS, 0, "{rows} rows are no whole statements");
    assert!(rows >= answered * ROWS, "{rows} rows, {answered} statements were answered");
    server.kill();
    let server = Server::start(&house, &[]);
    assert_eq!(count(&server), rows);
    let next = insert(rows / ROWS);
    assert!(server.sql(next.trim()).contains("INSERT 0 50"));
}

async fn refused(client: &Client, sql: &str) -> String {
    format!("{:?}", client.query(sql).await.expect_err(sql))
}

async fn tag(client: &Client, sql: &str) -> String {
    client.query(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}")).tag
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_are_whole_and_limits_hold() {
    let house = House::new();
    let mut options = house.options();
    options.storage.table_rows_max = 4;
    let hub = headwater_hub::server::Hub::start(&options).await.expect("hub");
    let client = house.client(&hub).await;
    assert_eq!(tag(&client, "CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL)").await, "CREATE TABLE");
    assert_eq!(tag(&client, "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)").await, "INSERT 0 3");
    for (sql, code) in [
        ("INSERT INTO t VALUES (4, 4), (1, 1)", "23505"),
        ("INSERT INTO t VALUES (4, 4), (5, NULL)", "23502"),
        ("INSERT INTO t VALUES (4, 4), (5, 5)", "54000"),
        ("UPDATE t SET id = 1", "23505"),
        ("UPDATE t SET n = n / (n - 3)", "22012"),
        ("UPDATE t SET n = NULL WHERE id = 2", "23502"),
        ("CREATE TABLE u AS SELECT * FROM generate_series(1, 5)", "54000"),
    ] {
        let error = refused(&client, sql).await;
        assert!(error.contains(code), "{sql}: {error}");
    }
    let rows: Vec<(i64, i64)> = client.query_as("SELECT id, n FROM t ORDER BY id").await.expect("rows");
    assert_eq!(rows, [(1, 1), (2, 2), (3, 3)]);
    assert_eq!(tag(&client, "UPDATE t SET id = id + 1, n = 0 WHERE id > 1").await, "UPDATE 2");
    assert_eq!(tag(&client, "DELETE FROM t WHERE id = 1").await, "DELETE 1");
    let sizes: Vec<(String, i64)> =
        client.query_as("SELECT name, rows FROM headwater.tables").await.expect("sizes");
    assert_eq!(sizes, [("t".to_owned(), 2)]);
    let error = refused(&client, "SELECT * FROM u").await;
    assert!(error.contains("42P01"), "{error}");
    assert_eq!(tag(&client, "TRUNCATE t").await, "TRUNCATE TABLE");
    assert_eq!(tag(&client, "CREATE TABLE u AS SELECT 1 AS a UNION ALL SELECT 2").await, "SELECT 2");
    client.close().await;
    hub.shutdown().await.expect("shutdown");
    // Without the limit, and from disk.
    let hub = house.start().await;
    let client = house.client(&hub).await;
    let counts: Vec<(i64, i64)> =
        client.query_as("SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM u)").await.expect("counts");
    assert_eq!(counts, [(0, 2)]);
    client.close().await;
    hub.shutdown().await.expect("shutdown");
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_at_one_time_are_all_counted() {
    let house = House::new();
    let hub = house.start().await;
    let client = house.client(&hub).await;
    tag(&client, "CREATE TABLE counters (id int PRIMARY KEY, n bigint)").await;
    tag(&client, "INSERT INTO counters VALUES (1, 0), (2, 0)").await;
    let mut tasks = Vec::new();
    for task in 0..4 {
        let client = house.client(&hub).await;
        tasks.push(tokio::spawn(async move {
            for n in 0..8 {
                tag(&client, "UPDATE counters SET n = n + 1 WHERE id = 1").await;
                tag(&client, &format!("INSERT INTO counters VALUES ({}, {n})", 100 * (task + 1) + n)).await;
            }
            client.close().await;
        }));
    }
    for task in tasks {
        task.await.expect("task");
    }
    let rows: Vec<(i64, i64)> =
        client.query_as("SELECT max(n) FILTER (WHERE id = 1), count(*) FROM counters").await.expect("rows");
    assert_eq!(rows, [(32, 34)]);
    client.close().await;
    hub.shutdown().await.expect("shutdown");
}
