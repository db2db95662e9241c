//! COPY FROM STDIN, by a driver and by raw messages.

use super::{counts, end, posted, postgres, with_hits};
use crate::pg::raw::{Raw, code, kinds};
use bytes::Bytes;
use futures::SinkExt;
use std::net::SocketAddr;

async fn copy(
    pg: &tokio_postgres::Client,
    sql: &str,
    text: &'static str,
) -> Result<u64, tokio_postgres::Error> {
    let sink = pg.copy_in(sql).await?;
    let mut sink = std::pin::pin!(sink);
    for piece in text.as_bytes().chunks(7) {
        sink.send(Bytes::from_static(piece)).await?;
    }
    sink.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_become_events() {
    let (_house, hub, client) = with_hits().await;
    let pg = postgres(&hub).await;
    assert_eq!(copy(&pg, "COPY hits FROM STDIN", "/\t1\t1.5\n/\t2\t\\N\n/a\t3\t0\n").await.expect("text"), 3);
    let csv = "COPY hits (user_id, url) FROM STDIN WITH (FORMAT csv, HEADER)";
    assert_eq!(copy(&pg, csv, "user_id,url\n4,\"/\"\n5,/b\n").await.expect("csv"), 2);
    assert_eq!(copy(&pg, "COPY hits FROM STDIN", "").await.expect("nothing"), 0);
    let some = |url: &str, count, users| (Some(url.to_owned()), count, Some(users));
    assert_eq!(counts(&client).await, [some("/", 3, 7), some("/a", 1, 3), some("/b", 1, 5)]);
    end(hub, client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_line_loads_nothing_or_all_the_others() {
    let (_house, hub, client) = with_hits().await;
    let pg = postgres(&hub).await;
    let text = "/\t1\t1.5\n/\tx\t1.5\n/\t3\t1.5\n/\t4\n";
    let error = copy(&pg, "COPY hits FROM STDIN", text).await.expect_err("a bad line");
    let error = error.as_db_error().expect("the hub's");
    let message = "line 2: column \"user_id\": invalid input syntax for type integer: \"x\"";
    assert_eq!((error.code().code(), error.message()), ("22P02", message));
    assert!(counts(&client).await.is_empty());
    assert_eq!(copy(&pg, "COPY hits FROM STDIN (ON_ERROR ignore)", text).await.expect("the others"), 2);
    assert_eq!(counts(&client).await, [(Some("/".into()), 2, Some(4))]);
    end(hub, client).await;
}

/// The rows of the table that the tests below fill.
async fn rows(client: &headwater::client::Client) -> Vec<(i64, String, Option<f64>)> {
    client.query_as("SELECT id, name, share FROM prices ORDER BY id").await.expect("rows")
}

fn told(error: &tokio_postgres::Error) -> (String, String) {
    let error = error.as_db_error().unwrap_or_else(|| panic!("{error:?} is not the hub's"));
    (error.code().code().to_owned(), error.message().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_become_rows_of_a_table() {
    let (_house, hub, client) = with_hits().await;
    let pg = postgres(&hub).await;
    let create = "CREATE TABLE prices (id int PRIMARY KEY, name text NOT NULL DEFAULT 'new', share float8)";
    pg.batch_execute(create).await.expect("table");
    let text = "1\tone\t0.5\n2\tt\\two\t\\N\n\\.\nafter the end";
    assert_eq!(copy(&pg, "COPY prices FROM STDIN", text).await.expect("text"), 2);
    let csv = "COPY prices (share, id) FROM STDIN WITH (FORMAT csv, HEADER)";
    assert_eq!(copy(&pg, csv, "share,id\nNaN,3\n,4\n").await.expect("csv"), 2);
    assert_eq!(copy(&pg, "COPY prices FROM STDIN", "").await.expect("nothing"), 0);
    let found = rows(&client).await;
    let share = |at: usize| found[at].2;
    assert!(share(2).is_some_and(f64::is_nan), "{found:?}");
    assert_eq!((share(0), share(1), share(3)), (Some(0.5), None, None));
    let names: Vec<&str> = found.iter().map(|row| row.1.as_str()).collect();
    assert_eq!(names, ["one", "t\two", "new", "new"]);
    // Bytes and texts are as long as a row may be.
    pg.batch_execute("CREATE TABLE states (s bytea, t text)").await.expect("table");
    let long = format!("\\\\x{}\t{}\n", "00ff".repeat(40_000), "x".repeat(100_000));
    assert_eq!(copy(&pg, "COPY states FROM STDIN", long.leak()).await.expect("long values"), 1);
    let lengths: Vec<(i64, i64)> =
        client.query_as("SELECT length(encode(s, 'hex')), length(t) FROM states").await.expect("lengths");
    assert_eq!(lengths, [(160_000, 100_000)]);
    end(hub, client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_a_table_refuses_is_named_and_nothing_is_loaded() {
    let house = crate::House::new();
    let mut options = house.options();
    options.storage.table_rows_max = 5;
    let hub = headwater_hub::server::Hub::start(&options).await.expect("hub");
    let client = house.client(&hub).await;
    let pg = postgres(&hub).await;
    let create = "CREATE TABLE prices (id int PRIMARY KEY, name text NOT NULL, share float8)";
    pg.batch_execute(create).await.expect("table");
    assert_eq!(copy(&pg, "COPY prices FROM STDIN", "1\told\t1\n").await.expect("a row"), 1);
    let plain = "COPY prices FROM STDIN";
    let header = "COPY prices (id, name) FROM STDIN (FORMAT csv, HEADER)";
    for (sql, text, code, message) in [
        (plain, "2\tb\t1\nx\tc\t1\n", "22P02", "line 2: column \"id\": invalid input syntax"),
        (plain, "2\tb\t1\n3\tc\n", "22P04", "line 2: missing data for column \"share\""),
        (plain, "2\tb\t1\n3\t\\N\t1\n", "23502", "line 2: column \"name\": null value in column"),
        ("COPY prices (id) FROM STDIN", "2\n", "23502", "line 1: null value in column \"name\""),
        (plain, "2\tb\t1\n3\tc\t1\n2\td\t1\n", "23505", "line 3: duplicate key value violates"),
        (header, "id,name\n2,\"b\nb\"\n1,c\n", "23505", "line 4: duplicate key value violates"),
    ] {
        let (found, said) = told(&copy(&pg, sql, text).await.expect_err(text));
        assert!(found == code && said.starts_with(message), "{text:?}: {found} {said}");
    }
    for (text, message) in [
        (
            "2\ta\t0\n3\ta\t0\n4\ta\t0\n5\ta\t0\n6\ta\t0\n",
            "line 5: table \"prices\" would have more than 5 rows",
        ),
        (
            "2\ta\t0\n3\ta\t0\n4\ta\t0\n5\ta\t0\n6\ta\t0\n7\ta\t0\n",
            "table \"prices\" would have more than 5 rows",
        ),
    ] {
        let (code, said) = told(&copy(&pg, plain, text).await.expect_err("too many"));
        assert_eq!((code.as_str(), said.as_str()), ("54000", message));
    }
    assert_eq!(rows(&client).await, [(1, "old".to_owned(), Some(1.0))]);
    // The others, without those that are no rows; a key that is there is no fault of a line's form.
    let ignoring = "COPY prices FROM STDIN (ON_ERROR ignore)";
    assert_eq!(copy(&pg, ignoring, "x\tb\t1\n2\t\\N\t1\n3\tc\t1\n4\n").await.expect("one"), 1);
    let (code, message) = told(&copy(&pg, ignoring, "x\tb\t1\n4\td\t1\n3\te\t1\n").await.expect_err("3"));
    assert!(code == "23505" && message.starts_with("line 3: "), "{code} {message}");
    assert_eq!(rows(&client).await.iter().map(|row| row.0).collect::<Vec<_>>(), [1, 3]);
    // Events have no place in a table.
    let path = "/v1/events?stream=prices";
    let (_, answer) = posted(hub.http_addr(), path, "application/json", "{\"id\": 7}".into()).await;
    assert!(answer.contains("42809"), "{answer}");
    end(hub, client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_fails_or_goes_loads_nothing() {
    let (_house, hub, client) = with_hits().await;
    let to: SocketAddr = hub.pg_addr().expect("the door is open");
    tokio::task::spawn_blocking(move || dialogues(to)).await.expect("as told");
    assert_eq!(counts(&client).await, [(Some("last".into()), 1, Some(9))]);
    end(hub, client).await;
}

fn begin(raw: &mut Raw) {
    raw.message(b'Q', b"COPY hits FROM STDIN\0");
    assert_eq!(kinds(&raw.until(b'G')), "G");
    raw.message(b'd', b"/\t1\t1.5\n");
}

fn dialogues(to: SocketAddr) {
    let mut raw = Raw::session(to);
    begin(&mut raw);
    raw.message(b'f', b"no more\0");
    let messages = raw.until(b'Z');
    assert_eq!((kinds(&messages), code(&messages)), ("EZ".into(), "57014".into()));
    // What follows an error belongs to the COPY that is over.
    begin(&mut raw);
    raw.message(b'd', b"/\tx\t1.5\n");
    let messages = raw.until(b'Z');
    assert_eq!((kinds(&messages), code(&messages)), ("EZ".into(), "22P02".into()));
    raw.message(b'd', b"/\t1\t1.5\n");
    raw.message(b'c', b"");
    assert_eq!(kinds(&raw.query("SELECT 1")), "TDCZ");
    // A query has no place in it.
    begin(&mut raw);
    raw.message(b'Q', b"SELECT 1\0");
    let messages = raw.until(b'Z');
    assert_eq!((kinds(&messages), code(&messages)), ("EZ".into(), "08P01".into()));
    // Prepared, with Sync where it does not matter.
    raw.message(b'P', b"\0COPY hits FROM STDIN\0\0\0");
    raw.message(b'B', b"\0\0\0\0\0\0\0\0");
    raw.message(b'E', b"\0\0\0\0\0");
    raw.message(b'H', b"");
    assert_eq!(kinds(&raw.until(b'G')), "12G");
    raw.message(b'd', b"last\t9\t");
    raw.message(b'S', b"");
    raw.message(b'd', b"1.5");
    raw.message(b'c', b"");
    raw.message(b'S', b"");
    let messages = raw.until(b'Z');
    assert_eq!(kinds(&messages), "CZ", "{}", code(&messages));
    assert_eq!(messages[0].1, b"COPY 1\0");
    // Lines that are skipped are told.
    raw.message(b'Q', b"COPY hits FROM STDIN (ON_ERROR ignore)\0");
    raw.until(b'G');
    raw.message(b'd', b"only\tx\n");
    raw.message(b'c', b"");
    let messages = raw.until(b'Z');
    assert_eq!(kinds(&messages), "NCZ");
    let notice = String::from_utf8_lossy(&messages[0].1).into_owned();
    assert!(notice.contains("NOTICE") && notice.contains("1 row was skipped; the first: line 1"), "{notice}");
    for (sql, expected) in [
        ("COPY by_url FROM STDIN", "42809"),
        ("COPY nothing FROM STDIN", "42P01"),
        ("COPY hits (a) FROM STDIN", "42703"),
        ("COPY hits (url, url) FROM STDIN", "42701"),
        ("CREATE TABLE prices (id int)", ""),
        ("COPY prices (nope) FROM STDIN", "42703"),
        ("COPY prices (id, id) FROM STDIN", "42701"),
    ] {
        assert_eq!(code(&raw.query(sql)), expected, "{sql}");
    }
    // Who goes leaves nothing.
    begin(&mut raw);
    drop(raw);
    let mut raw = Raw::session(to);
    begin(&mut raw);
    raw.message(b'X', b"");
    assert!(raw.is_closed());
}
