//! tokio-postgres: everything prepared, everything binary.

use super::raw::{Raw, code, kinds};
use super::{address, end, with_rows};
use crate::House;
use futures::StreamExt;
use headwater_hub::server::Hub;
use std::error::Error;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

/// A value's bytes.
#[derive(Debug, PartialEq)]
struct Bytes(Vec<u8>);

impl<'a> FromSql<'a> for Bytes {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl ToSql for Bytes {
    fn to_sql(&self, _: &Type, out: &mut bytes::BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

async fn connect(hub: &Hub) -> Client {
    let mut config = Config::new();
    config.host("127.0.0.1").port(address(hub).port()).user("me");
    let (client, connection) = config.connect(NoTls).await.expect("connect");
    tokio::spawn(connection);
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_parameters_in_binary() {
    let (_house, hub, native) = with_rows().await;
    let client = connect(&hub).await;
    let statement = client
        .prepare(
            "SELECT url, count, users, mean FROM by_url WHERE url = $1 AND count >= $2 ORDER BY 1 LIMIT $3",
        )
        .await
        .expect("prepare");
    assert_eq!(statement.params(), [Type::TEXT, Type::INT8, Type::INT8]);
    let types: Vec<&Type> = statement.columns().iter().map(|column| column.type_()).collect();
    assert_eq!(types, [&Type::TEXT, &Type::INT8, &Type::INT8, &Type::FLOAT8]);
    for _ in 0..2 {
        let rows = client.query(&statement, &[&"/", &1_i64, &10_i64]).await.expect("rows");
        assert_eq!(rows.len(), 1);
        let row: (String, i64, i64, f64) = (rows[0].get(0), rows[0].get(1), rows[0].get(2), rows[0].get(3));
        assert_eq!(row, ("/".into(), 2, 3, 1.5));
    }
    let none = client.query(&statement, &[&None::<&str>, &1_i64, &1_i64]).await.expect("rows");
    assert!(none.is_empty(), "nothing equals NULL");
    end(hub, native).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_goes_both_ways() {
    let house = House::new();
    let hub = house.start().await;
    let client = connect(&hub).await;
    // What PostgreSQL's send functions give.
    for (cast, bytes) in [
        ("bool", &[1][..]),
        ("int2", &[255, 254]),
        ("int4", &[0, 1, 0, 0]),
        ("int8", &[255; 8]),
        ("float4", &[0x3f, 0xc0, 0, 0]),
        ("float8", &[0xbf, 0xe0, 0, 0, 0, 0, 0, 0]),
        ("numeric(10,2)", &[0, 2, 0, 0, 0x40, 0, 0, 2, 0, 12, 0x13, 0x88]),
        ("text", "\u{e9}'".as_bytes()),
        ("bytea", &[0, 255]),
        ("uuid", &[7; 16]),
        ("date", &[0, 0, 0x22, 0x3a]),
        ("timestamptz", &[0, 2, 0xb0, 0, 0, 0, 0, 1]),
        ("interval", &[0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0, 0, 1]),
        (
            "int8[]",
            &[
                0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0,
                9,
            ],
        ),
    ] {
        let sql = format!("SELECT $1::{cast}");
        let row = client
            .query_one(&sql, &[&Bytes(bytes.to_vec())])
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        assert_eq!(row.get::<_, Bytes>(0), Bytes(bytes.to_vec()), "{cast}");
        let null = client.query_one(&sql, &[&None::<Bytes>]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        assert_eq!(null.get::<_, Option<Bytes>>(0), None, "{cast}");
    }
    hub.shutdown().await.expect("shutdown");
}

#[tokio::test(flavor = "multi_thread")]
async fn portals_are_suspended_and_go_on() {
    let house = House::new();
    let hub = house.start().await;
    let mut client = connect(&hub).await;
    let transaction = client.transaction().await.expect("begin");
    let portal = transaction.bind("SELECT value FROM generate_series(1, 25)", &[]).await.expect("bind");
    let mut seen = Vec::new();
    loop {
        let rows = transaction.query_portal(&portal, 10).await.expect("rows");
        let is_last = rows.len() < 10;
        seen.extend(rows.iter().map(|row| row.get::<_, i64>(0)));
        if is_last {
            break;
        }
    }
    assert_eq!(seen, (1..=25).collect::<Vec<_>>());
    transaction.commit().await.expect("commit");
    hub.shutdown().await.expect("shutdown");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_code_position_and_hint_and_the_session_lives() {
    let (_house, hub, native) = with_rows().await;
    let client = connect(&hub).await;
    let error = client.query("SELECT urll FROM by_url", &[]).await.expect_err("refused");
    let error = error.as_db_error().expect("the hub's");
    assert_eq!(error.code().code(), "42703");
    assert_eq!(error.position(), Some(&tokio_postgres::error::ErrorPosition::Original(8)));
    assert!(error.hint().is_some_and(|hint| hint.contains("url")), "{error:?}");
    let late = client.query("SELECT 1 / (value - 15000) FROM generate_series(1, 20000)", &[]).await;
    assert_eq!(late.err().and_then(|e| e.code().map(|c| c.code().to_owned())).as_deref(), Some("22012"));
    let copy = client.copy_in::<_, bytes::Bytes>("COPY pageviews FROM STDIN (FORMAT binary)").await;
    assert_eq!(copy.err().and_then(|e| e.code().map(|c| c.code().to_owned())).as_deref(), Some("0A000"));
    assert_eq!(client.query_one("SELECT 1", &[]).await.expect("alive").get::<_, i64>(0), 1);
    end(hub, native).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_statements_run_up_to_the_first_error() {
    let house = House::new();
    let hub = house.start().await;
    let client = connect(&hub).await;
    let rows = client.simple_query("SELECT 1; SELECT 'two' AS b;; SHOW TimeZone").await.expect("rows");
    let texts: Vec<&str> = rows
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        })
        .collect();
    assert_eq!(texts, ["1", "two", "UTC"]);
    let failed =
        client.simple_query("CREATE STREAM one (a INT); SELECT 1 / 0; CREATE STREAM two (a INT)").await;
    assert!(failed.is_err());
    let streams = client.query("SELECT name FROM headwater.streams", &[]).await.expect("rows");
    assert_eq!(streams.iter().map(|row| row.get(0)).collect::<Vec<String>>(), ["one"]);
    // What does not parse runs nothing at all.
    assert!(client.simple_query("CREATE STREAM three (a INT); SELEC 1").await.is_err());
    let streams = client.query("SELECT name FROM headwater.streams", &[]).await.expect("rows");
    assert_eq!(streams.len(), 1);
    hub.shutdown().await.expect("shutdown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_request_stops_the_statement() {
    let house = House::new();
    let hub = house.start().await;
    let client = connect(&hub).await;
    let token = client.cancel_token();
    let slow = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b";
    let running = client.query(slow, &[]);
    let cancelling = async {
        for _ in 0..1_000 {
            token.cancel_query(NoTls).await.expect("a request");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let stopped = tokio::select! {
        stopped = running => stopped,
        () = cancelling => panic!("it goes on"),
    };
    assert_eq!(stopped.err().and_then(|e| e.code().map(|c| c.code().to_owned())).as_deref(), Some("57014"));
    assert_eq!(client.query_one("SELECT 1", &[]).await.expect("alive").get::<_, i64>(0), 1);
    hub.shutdown().await.expect("shutdown");
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_have_their_states() {
    let house = House::new();
    let hub = house.start().await;
    let to = address(&hub);
    let told = tokio::task::spawn_blocking(move || {
        let mut raw = Raw::session(to);
        let mut status = |sql: &str| {
            let messages = raw.query(sql);
            let last = messages.last().map_or(0, |m| m.1[0]);
            (kinds(&messages), code(&messages), char::from(last))
        };
        let own = |(kinds, code, status): (&str, &str, char)| (kinds.to_owned(), code.to_owned(), status);
        assert_eq!(status("BEGIN"), own(("CZ", "", 'T')));
        assert_eq!(status("BEGIN"), own(("NCZ", "", 'T')));
        assert_eq!(status("CREATE STREAM s (a INT)"), own(("CZ", "", 'T')));
        assert_eq!(status("SELECT 1 / 0").1, "22012");
        assert_eq!(status("SELECT 1"), own(("EZ", "25P02", 'E')));
        assert_eq!(status("ROLLBACK"), own(("NCZ", "", 'I')), "the stream stays: that is said");
        assert_eq!(status("COMMIT"), own(("NCZ", "", 'I')));
        assert_eq!(status(""), own(("IZ", "", 'I')));
        assert_eq!(status("SET statement_timeout = 1"), own(("CZ", "", 'I')));
        let slow = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b";
        assert_eq!(status(slow).1, "57014");
        assert_eq!(status("RESET ALL"), own(("CZ", "", 'I')));
        assert_eq!(status("SET TimeZone = 'Europe/Berlin'").1, "0A000");
        assert_eq!(status("DISCARD ALL"), own(("CZ", "", 'I')));
        assert_eq!(status("COPY (SELECT 1, 'a') TO STDOUT"), own(("HdcCZ", "", 'I')));
    });
    told.await.expect("as told");
    hub.shutdown().await.expect("shutdown");
}

/// What is answered with 57014 is not counted: a client sends it again. The deadline came between an answer's head and
/// its end.
#[tokio::test(flavor = "multi_thread")]
async fn statements_that_time_out_are_not_counted() {
    let house = House::new();
    let hub = house.start().await;
    let client = connect(&hub).await;
    client.batch_execute("CREATE STREAM s (n INT)").await.expect("stream");
    client.batch_execute("CREATE CONTINUOUS VIEW v AS SELECT count(*) FROM s").await.expect("view");
    let (mut counted, mut refused) = (0, 0);
    for timeout in (1..=40).cycle().take(160) {
        client.batch_execute(&format!("SET statement_timeout = {timeout}")).await.expect("set");
        match client.batch_execute("INSERT INTO s VALUES (1)").await {
            Ok(()) => counted += 1,
            Err(error) => {
                assert_eq!(error.code().map(|code| code.code()), Some("57014"), "{error}");
                refused += 1;
            }
        }
    }
    client.batch_execute("RESET statement_timeout").await.expect("reset");
    let row = client.query_one("SELECT count FROM v", &[]).await.expect("row");
    assert_eq!(row.get::<_, i64>(0), counted, "{refused} were refused");
    drop(client);
    hub.shutdown().await.expect("shutdown");
}

/// A reader that takes nothing must not hold the rows of its answer in the hub.
#[tokio::test(flavor = "multi_thread")]
async fn rows_come_as_they_are_read() {
    let house = House::new();
    let mut options = house.options();
    options.sql.timeout_ms = 60_000;
    let hub = Hub::start(&options).await.expect("hub");
    let client = connect(&hub).await;
    let rows = client
        .query_raw::<_, i64, _>("SELECT value, repeat('x', 1000) FROM generate_series(1, 20000)", [])
        .await
        .expect("rows");
    let mut rows = std::pin::pin!(rows);
    let first = rows.next().await.expect("a row").expect("no error");
    assert_eq!(first.get::<_, i64>(0), 1);
    let count = rows.fold(1, |count, row| async move { count + i64::from(row.is_ok()) }).await;
    assert_eq!(count, 20_000);
    hub.shutdown().await.expect("shutdown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_the_password_of_any_user() {
    let house = House::new();
    let mut options = house.options();
    options.auth.tokens.0 = vec!["first".into(), "second token".into()];
    let hub = Hub::start(&options).await.expect("hub");
    let connect = |password: Option<&str>| {
        let mut config = Config::new();
        config.host("127.0.0.1").port(address(&hub).port()).user("anybody");
        if let Some(password) = password {
            config.password(password);
        }
        async move { config.connect(NoTls).await }
    };
    for password in ["first", "second token"] {
        let (client, connection) = connect(Some(password)).await.expect("welcome");
        tokio::spawn(connection);
        assert_eq!(client.query_one("SELECT 1", &[]).await.expect("row").get::<_, i64>(0), 1);
    }
    let wrong = connect(Some("third")).await.err().expect("refused");
    assert_eq!(wrong.code().map(|code| code.code()), Some("28P01"), "{wrong}");
    assert!(connect(None).await.is_err());
    hub.shutdown().await.expect("shutdown");
}

/// Grafana's queries as its macros leave them: $__timeFilter, $__timeGroup, $__unixEpochGroup.
#[tokio::test(flavor = "multi_thread")]
async fn grafanas_queries_are_answered() {
    let (_house, hub, native) = with_rows().await;
    let client = connect(&hub).await;
    client
        .simple_query(
            "CREATE CONTINUOUS VIEW by_minute AS SELECT date_trunc('minute', arrival_timestamp) AS minute, url, \
             count(*) AS views FROM pageviews GROUP BY minute, url",
        )
        .await
        .expect("view");
    for sql in [
        "SELECT minute AS \"time\", url AS metric, views FROM by_minute \
         WHERE minute BETWEEN '2024-01-01T00:00:00Z' AND '2030-01-01T00:00:00.5Z' ORDER BY 1",
        "SELECT floor(extract(epoch from minute)/300)*300 AS \"time\", sum(views) AS \"views\" FROM by_minute \
         WHERE minute BETWEEN '2024-01-01T00:00:00Z' AND '2030-01-01T00:00:00Z' GROUP BY 1 ORDER BY 1",
        "SELECT date_trunc('hour', minute) AS \"time\", combine(views) FROM by_minute \
         WHERE extract(epoch from minute) >= 1704067200 AND extract(epoch from minute) <= 1893456000 GROUP BY 1",
        "SELECT DISTINCT url FROM by_minute",
        "SELECT quote_ident(table_name) AS \"table\" FROM information_schema.tables \
         WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog') ORDER BY table_name",
        "SELECT quote_ident(column_name) AS \"column\", data_type AS \"type\" FROM information_schema.columns \
         WHERE quote_ident(table_name) = 'by_minute'",
        "SELECT current_setting('server_version_num')::int/100 as version",
        "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'",
    ] {
        client.query(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    end(hub, native).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_tells_idle_clients() {
    let house = House::new();
    let hub = house.start().await;
    let to = address(&hub);
    let mut raw = tokio::task::spawn_blocking(move || Raw::session(to)).await.expect("session");
    hub.shutdown().await.expect("shutdown");
    let last = tokio::task::spawn_blocking(move || raw.until(b'E')).await.expect("messages");
    assert_eq!(code(&last), "57P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_written_with_parameters() {
    let (_house, hub, native) = with_rows().await;
    let client = connect(&hub).await;
    client
        .batch_execute("CREATE TABLE labels (url text PRIMARY KEY, label text, weight int)")
        .await
        .expect("table");
    let insert = client.prepare("INSERT INTO labels VALUES ($1, $2, $3)").await.expect("prepare");
    assert_eq!(insert.params(), [Type::TEXT, Type::TEXT, Type::INT4]);
    for (url, label, weight) in [("/", Some("home"), 3), ("/a", None, 4)] {
        assert_eq!(client.execute(&insert, &[&url, &label, &weight]).await.expect("insert"), 1);
    }
    let again = client.execute(&insert, &[&"/", &"again", &1]).await.expect_err("duplicate");
    assert_eq!(again.code().map(|code| code.code()), Some("23505"));
    let update = client
        .prepare("UPDATE labels SET label = $1, weight = weight + $2 WHERE url = $3")
        .await
        .expect("prepare");
    assert_eq!(update.params(), [Type::TEXT, Type::INT4, Type::TEXT]);
    assert_eq!(client.execute(&update, &[&"section a", &1, &"/a"]).await.expect("update"), 1);
    let joined =
        "SELECT l.label, v.count, l.weight FROM by_url v JOIN labels l ON l.url = v.url WHERE v.url = $1";
    let rows = client.query(joined, &[&"/a"]).await.expect("rows");
    let row = &rows[0];
    assert_eq!((row.get(0), row.get(1), row.get(2)), ("section a", 1_i64, 5_i32));
    let deleted = client.execute("DELETE FROM labels WHERE weight > $1::int", &[&4]).await.expect("delete");
    assert_eq!(deleted, 1);
    end(hub, native).await;
}

/// PostgreSQL says that something exists, too; that its definition is another one is for whoever changed theirs.
#[tokio::test(flavor = "multi_thread")]
async fn what_if_not_exists_finds_is_noticed() {
    let (_house, hub, _native) = with_rows().await;
    let address = address(&hub);
    let noticed = tokio::task::spawn_blocking(move || {
        let mut raw = Raw::session(address);
        let mut notice = |sql: &str| {
            let answer = raw.query(sql);
            let notice = answer.iter().find(|(kind, _)| *kind == b'N');
            assert!(answer.iter().any(|(kind, _)| *kind == b'C'), "{sql}");
            notice.map(|(_, body)| String::from_utf8_lossy(body).into_owned())
        };
        let absent = notice("DROP STREAM IF EXISTS q").expect("a notice");
        assert!(absent.contains("\"q\" does not exist, skipping"), "{absent}");
        ["a int", "a int", "b int"]
            .map(|columns| notice(&format!("CREATE STREAM IF NOT EXISTS q ({columns})")))
    });
    let [made, same, other] = noticed.await.expect("statements");
    assert_eq!(made, None);
    let same = same.expect("a notice");
    assert!(
        same.contains("NOTICE") && same.contains("42P07") && same.contains("\"q\" already exists, skipping"),
        "{same}"
    );
    assert!(other.expect("a notice").contains("\"q\" already exists, with another definition"));
}
