//! COPY FROM STDIN, by a driver and by raw messages.

use super::{counts, end, postgres, with_hits};
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
