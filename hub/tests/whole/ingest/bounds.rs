//! What nobody may take from others by loading rows, or by not loading them.

use super::{counts, end, post, posted, postgres, with_hits_and};
use crate::pg::raw::{Raw, code, kinds};
use headwater_hub::server::Hub;
use std::net::SocketAddr;

const PATH: &str = "/v1/events?stream=hits";

fn pg(hub: &Hub) -> SocketAddr {
    hub.pg_addr().expect("the door is open")
}

/// A COPY that has begun.
fn begun(to: SocketAddr) -> Raw {
    let mut raw = Raw::session(to);
    raw.message(b'Q', b"COPY hits FROM STDIN\0");
    assert_eq!(kinds(&raw.until(b'G')), "G");
    raw
}

/// 64 KiB of rows.
fn rows() -> Vec<u8> {
    b"/\t1\t1.5\n".repeat((64 << 10) / 8)
}

/// Four loads of one address begin: one of them is told that the address has its share.
fn three_of_four(to: SocketAddr) {
    let (told, answers) = std::sync::mpsc::channel();
    let mut writers = Vec::new();
    for number in 0..4 {
        let mut raw = begun(to);
        raw.message(b'd', &rows());
        writers.push(Raw(raw.0.try_clone().expect("a handle")));
        let told = told.clone();
        std::thread::spawn(move || told.send((number, raw.until(b'Z'))));
    }
    let (refused, messages) = answers.recv().expect("an answer");
    let hint = String::from_utf8_lossy(&messages[0].1).into_owned();
    assert!(code(&messages) == "53300" && hint.contains("one address"), "{hint}");
    for (number, raw) in writers.iter_mut().enumerate().filter(|(number, _)| *number != refused) {
        raw.message(b'c', b"");
        assert_eq!(kinds(&answers.recv().expect("an answer").1), "CZ", "{number}");
    }
}

/// Bounds that are no whole number of places were rounded down, and what takes all of them waited for one more: for ever, and
/// all that came after it.
#[tokio::test(flavor = "multi_thread")]
async fn what_takes_all_that_there_is_has_its_turn() {
    let (_house, hub, client) = with_hits_and(|options| {
        options.storage.inbox_bytes = 1_500;
        options.limits.insert_bytes_max = 1_048_577;
    })
    .await;
    let lines: String = (0..20_000).map(|n| format!("{{\"url\":\"/{n}\"}}\n")).collect();
    for _ in 0..2 {
        let (status, body) = posted(hub.http_addr(), PATH, "", lines.clone()).await;
        assert_eq!(status, 200, "{body}");
    }
    let total: Vec<(i64,)> = client.query_as("SELECT sum(count)::bigint FROM by_url").await.expect("rows");
    assert_eq!(total, [(40_000,)]);
    let insert = "INSERT INTO hits (url) SELECT '/' || n FROM generate_series(1, 20000) AS g(n)";
    client.query(insert).await.expect("insert");
    let total: Vec<(i64,)> = client.query_as("SELECT sum(count)::bigint FROM by_url").await.expect("rows");
    assert_eq!(total, [(60_000,)]);
    end(hub, client).await;
}

/// Sixteen clients that sent nothing were all the loads that there may be, for an hour.
#[tokio::test(flavor = "multi_thread")]
async fn who_sends_nothing_holds_no_place_and_no_address_holds_all() {
    let (_house, hub, client) = with_hits_and(|options| options.limits.loads_max = 4).await;
    let (to, http) = (pg(&hub), hub.http_addr());
    let loads = move || {
        let mut idle: Vec<Raw> = (0..8).map(|_| begun(to)).collect();
        idle.iter_mut().for_each(|raw| raw.message(b'd', b"/\t1\t1.5\n"));
        let (status, body) = post(http, PATH, "", b"{\"url\":\"/\"}").expect("an answer");
        assert_eq!(status, 200, "{body}");
        three_of_four(to);
        idle.into_iter().for_each(|mut raw| {
            raw.message(b'c', b"");
            assert_eq!(kinds(&raw.until(b'Z')), "CZ", "its rows count still");
        });
    };
    tokio::task::spawn_blocking(loads).await.expect("as told");
    assert_eq!(counts(&client).await, [(Some("/".into()), 1 + 3 * 8_192 + 8, Some(3 * 8_192 + 8))]);
    end(hub, client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_stops_gives_its_place_back() {
    let options = |options: &mut headwater_hub::options::Options| {
        options.limits.frame_ms = 200;
        options.limits.loads_max = 1;
    };
    let (_house, hub, client) = with_hits_and(options).await;
    let to = pg(&hub);
    let loads = move || {
        let mut raw = begun(to);
        raw.message(b'd', &rows());
        let messages = raw.until(b'Z');
        assert_eq!((kinds(&messages), code(&messages)), ("EZ".into(), "57014".into()));
        let mut raw = begun(to);
        raw.message(b'd', &rows());
        raw.message(b'c', b"");
        assert_eq!(kinds(&raw.until(b'Z')), "CZ");
    };
    tokio::task::spawn_blocking(loads).await.expect("as told");
    assert_eq!(counts(&client).await, [(Some("/".into()), 8_192, Some(8_192))]);
    end(hub, client).await;
}

/// A load of fewer than 65,536 rows was never measured, and an INSERT not at all.
#[tokio::test(flavor = "multi_thread")]
async fn groups_that_take_too_much_memory_end_a_load_or_an_insert() {
    let (_house, hub, client) = with_hits_and(|options| options.limits.load_bytes_max = 1 << 20).await;
    for view in 0..6 {
        let sql = format!("CREATE CONTINUOUS VIEW v{view} AS SELECT url, count(*) FROM hits GROUP BY url");
        client.query(&sql).await.expect("view");
    }
    let long = "x".repeat(100);
    let body: String = (0..20_000).map(|n| format!("{{\"url\":\"{n}{long}\"}}\n")).collect();
    let (status, answer) = posted(hub.http_addr(), PATH, "", body).await;
    assert!(status == 503 && answer.contains("53200"), "{status} {answer}");
    let pg = postgres(&hub).await;
    let insert =
        "INSERT INTO hits (url) SELECT n::text || repeat('x', 100) FROM generate_series(1, 20000) g(n)";
    let error = pg.execute(insert, &[]).await.expect_err("too much");
    assert_eq!(error.code().map(|code| code.code()), Some("53200"), "{error}");
    assert!(counts(&client).await.is_empty());
    assert_eq!(pg.execute("INSERT INTO hits (url) VALUES ('/')", &[]).await.expect("a small one"), 1);
    assert_eq!(counts(&client).await, [(Some("/".into()), 1, None)]);
    end(hub, client).await;
}

/// A cancelled INSERT was answered with 57014 and counted afterwards: who tried again counted twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_insert_is_counted_if_and_only_if_it_says_so() {
    let (_house, hub, client) = with_hits_and(|_| {}).await;
    let pg = postgres(&hub).await;
    let mut answered = 0;
    for round in 0..40 {
        let insert = "INSERT INTO hits (url) SELECT '/' FROM generate_series(1, 500)";
        let cancelling = async {
            for _ in 0..round * 20 {
                tokio::task::yield_now().await;
            }
            pg.cancel_token().cancel_query(tokio_postgres::NoTls).await.expect("a request");
        };
        match tokio::join!(pg.execute(insert, &[]), cancelling).0 {
            Ok(rows) => answered += rows,
            Err(error) => assert_eq!(error.code().map(|code| code.code()), Some("57014"), "{error}"),
        }
    }
    let counted = counts(&client).await.first().map_or(0, |row| row.1);
    assert_eq!(u64::try_from(counted), Ok(answered));
    end(hub, client).await;
}
