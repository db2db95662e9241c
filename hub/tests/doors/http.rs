//! The HTTP door, byte by byte.

use super::{House, batch, hello};
use headwater::codec::Writer;
use headwater::ids::{CatalogVersion, ClusterId, Micros, Pid, Seq};
use headwater::wire::{
    Ack, AckLevel, Body, ClockReply, ClockRequest, Failure, Frame, Plans, Refused, RefusedCode, Resume,
    Resumed, Welcome, encode_frame,
};
use headwater_hub::options::Secrets;
use headwater_sql::arrow::ipc::reader::StreamReader;
use serde_json::json;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn frame<T: Body>(&self) -> T {
        Frame::read_only(&self.body, 1 << 20).expect("frame").decode().expect("body")
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("json")
    }
}

/// One request on a connection of its own; chunked bodies are put together.
pub async fn request(to: SocketAddr, head: &str, body: &[u8]) -> Reply {
    parse(&exchange(to, head, body).await)
}

/// All bytes of the answer, as they came.
async fn exchange(to: SocketAddr, head: &str, body: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).await.expect("connect");
    let head =
        format!("{head} HTTP/1.1\r\nhost: hub\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    // `head` may bring headers of its own after the request line: "POST /x\r\nname: value".
    let (line, rest) = head.split_once(" HTTP/1.1\r\n").expect("head");
    let (line, extra) = line.split_once("\r\n").unwrap_or((line, ""));
    let extra = if extra.is_empty() { String::new() } else { format!("{extra}\r\n") };
    stream.write_all(format!("{line} HTTP/1.1\r\n{rest}{extra}\r\n").as_bytes()).await.expect("head");
    let _ = stream.write_all(body).await;
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    bytes
}

fn parse(bytes: &[u8]) -> Reply {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("headers");
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("status");
    let body = bytes[end + 4..].to_vec();
    let body = if head.contains("transfer-encoding: chunked") { unchunk(&body) } else { body };
    Reply { status, head, body }
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(at) = rest.windows(2).position(|w| w == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..at]).expect("size"), 16).expect("hex");
        out.extend_from_slice(&rest[at + 2..at + 2 + size]);
        rest = &rest[at + 2 + size + 2..];
    }
    out
}

async fn post(house: &House, path: &str, body: &[u8]) -> Reply {
    request(house.doors.http_address(), &format!("POST {path}"), body).await
}

async fn get(house: &House, path: &str) -> Reply {
    request(house.doors.http_address(), &format!("GET {path}"), b"").await
}

#[tokio::test]
async fn frames_travel_in_bodies() {
    let house = House::open(|_| {});
    house.fake.create_stream("clicks");
    let welcome: Welcome =
        post(&house, "/v1/session", &encode_frame(&hello(&["clicks", "no"]))).await.frame();
    assert_eq!((welcome.streams.len(), welcome.unknown_streams.len()), (1, 1));
    assert_eq!(welcome.cluster, ClusterId([6; 16]));
    assert_eq!(welcome.limits.frame_bytes_max, 262_144, "pages get the limits of pages");

    let reply = post(&house, "/v1/batch", &encode_frame(&batch(9))).await;
    let ack: Ack = reply.frame();
    assert_eq!((reply.status, ack.seq, ack.level), (200, Seq(9), AckLevel::Durable));
    assert_eq!(house.fake.batches.lock().expect("lock").as_slice(), [batch(9)]);

    let refused = headwater::wire::BatchFrame { payload: vec![0xad], ..batch(10) };
    let reply = post(&house, "/v1/batch", &encode_frame(&refused)).await;
    assert_eq!((reply.status, reply.frame::<Refused>().code), (200, RefusedCode::Malformed));

    let history = headwater::wire::BatchFrame { backfill: true, ..batch(11) };
    let reply = post(&house, "/v1/batch", &encode_frame(&history)).await;
    assert_eq!((reply.status, house.fake.batches.lock().expect("lock").len()), (401, 2));

    let resume = Resume { pid: Pid::new(1, [7; 10]), low_water: Seq(1) };
    assert_eq!(post(&house, "/v1/resume", &encode_frame(&resume)).await.frame::<Resumed>().floor, Seq(3));
}

#[tokio::test]
async fn a_watch_answers_when_the_catalog_is_newer() {
    let house = House::open(|_| {});
    let mut body = encode_frame(&hello(&["later"]));
    body.put_varint(0);
    let address = house.doors.http_address();
    let waiting = tokio::spawn(async move { request(address, "POST /v1/watch", &body).await });
    house.fake.create_stream("later");
    let plans: Plans = waiting.await.expect("watch").frame();
    assert_eq!((plans.catalog, plans.streams.len()), (CatalogVersion(1), 1));
    let reply = post(&house, "/v1/watch?catalog=0", &encode_frame(&hello(&["later"]))).await;
    assert_eq!(reply.frame::<Plans>().catalog, CatalogVersion(1), "news at once when the client is behind");
    assert_eq!(post(&house, "/v1/watch?catalog=x", &encode_frame(&hello(&[]))).await.status, 400);
}

#[tokio::test]
async fn the_clock_is_told() {
    let house = House::open(|_| {});
    let reply: ClockReply =
        post(&house, "/v1/clock", &encode_frame(&ClockRequest { sent: Micros(4) })).await.frame();
    assert!(reply.sent == Micros(4) && reply.time > Micros(1_000_000));
}

#[tokio::test]
async fn requests_that_are_wrong_are_refused_with_a_failure() {
    let house = House::open(|options| options.limits.http_frame_bytes_max = 2048);
    for (path, body, status, code) in [
        ("/v1/session", vec![1, 2, 3], 400, "malformed"),
        ("/v1/session", encode_frame(&batch(1)), 400, "malformed"),
        ("/v1/batch", vec![0; 5000], 413, "too_large"),
        ("/v1/watch", encode_frame(&hello(&[])), 400, "malformed"),
    ] {
        let reply = post(&house, path, &body).await;
        let failure: Failure = reply.frame();
        assert_eq!((reply.status, failure.code.as_str()), (status, code), "{path}");
    }
    assert_eq!(get(&house, "/v1/batch").await.status, 405);
    assert_eq!(get(&house, "/nowhere").await.status, 404);
}

/// Sessions and watches took the token of their frame only, the other routes only those of the request.
#[tokio::test]
async fn tokens_guard_everything_but_health_by_one_rule() {
    let house = House::open(|options| options.auth.tokens = Secrets(vec!["secret+%".into()]));
    house.fake.create_stream("s");
    let news = encode_frame(&hello(&[]));
    let guarded: [(&str, &[u8]); 6] = [
        ("POST /v1/batch?x", &encode_frame(&batch(1))),
        ("POST /v1/resume?x", &encode_frame(&Resume { pid: Pid::new(1, [7; 10]), low_water: Seq(1) })),
        ("POST /v1/session?x", &news),
        ("POST /v1/watch?catalog=0", &news),
        ("POST /v1/sql?format=json", b"rows"),
        ("GET /metrics?x", b""),
    ];
    let status = async |head: &str, body: &[u8]| request(house.doors.http_address(), head, body).await.status;
    for (head, body) in guarded {
        for (given, expected) in [
            ("", 401),
            ("&token=wrong", 401),
            ("&token=secret%2b%25", 200),
            ("\r\nauthorization: Bearer secret+%", 200),
            ("\r\nauthorization: bearer secret+%", 200),
            ("\r\nauthorization: Bearer wrong", 401),
            ("&token=secret%2B%25\r\nauthorization: Bearer wrong", 401),
        ] {
            assert_eq!(status(&format!("{head}{given}"), body).await, expected, "{head}{given}");
        }
    }
    let reply = request(house.doors.http_address(), "POST /v1/sql", b"rows").await;
    assert!(
        reply.json()["error"]["hint"].as_str().is_some_and(|hint| hint.contains("Authorization: Bearer"))
    );
    let own = |token: &str| encode_frame(&headwater::wire::Hello { token: Some(token.into()), ..hello(&[]) });
    for path in ["POST /v1/session?x", "POST /v1/watch?catalog=0"] {
        assert_eq!(status(path, &own("secret+%")).await, 200, "the frame's own token");
        assert_eq!(status(path, &own("wrong")).await, 401);
        assert_eq!(
            status(&format!("{path}&token=wrong"), &own("secret+%")).await,
            401,
            "the request's decides"
        );
    }
    for open in ["GET /healthz", "GET /readyz", "GET /v1/hub"] {
        assert_eq!(status(open, b"").await, 200, "{open}");
    }
    assert_eq!(status("POST /v1/clock", &encode_frame(&ClockRequest { sent: Micros(4) })).await, 200);
}

#[tokio::test]
async fn sql_answers_in_every_format() {
    let house = House::open(|_| {});
    let reply = post(&house, "/v1/sql", b"rows").await;
    let expected = json!({
        "columns": [{"name": "n", "type": "bigint"}, {"name": "name", "type": "text"}],
        "rows": [[1, "a,b"], ["9223372036854775807", null]],
        "tag": "SELECT 2",
    });
    assert_eq!((reply.status, reply.json()), (200, expected));
    let reply = post(&house, "/v1/sql?format=ndjson", br#"{"sql":"rows"}"#).await;
    assert_eq!(
        String::from_utf8_lossy(&reply.body),
        "{\"n\":1,\"name\":\"a,b\"}\n{\"n\":\"9223372036854775807\",\"name\":null}\n"
    );
    let reply = post(&house, "/v1/sql?format=arrow", b"rows").await;
    let reader = StreamReader::try_new(reply.body.as_slice(), None).expect("arrow");
    assert_eq!(reader.map(|batch| batch.expect("batch").num_rows()).sum::<usize>(), 2);
    let reply = post(&house, "/v1/sql\r\naccept: text/csv", b"rows").await;
    assert_eq!(String::from_utf8_lossy(&reply.body), "n,name\r\n1,\"a,b\"\r\n9223372036854775807,\r\n");
    assert_eq!(post(&house, "/v1/sql?format=xml", b"rows").await.status, 406);
    let reply = post(&house, "/v1/sql?fromat=csv", b"rows").await;
    assert_eq!((reply.status, reply.json()["error"]["code"].as_str()), (400, Some("08P01")));
    let reply = post(&house, "/v1/sql", b"wrong").await;
    let error = json!({"error": {"code": "42601", "message": "no", "position": 3, "hint": "try rows"}});
    assert_eq!((reply.status, reply.json()), (400, error));
}

/// A CSV or Arrow answer that failed at run time ended without a reason; Arrow's even looked whole to its reader.
#[tokio::test]
async fn an_answer_that_fails_says_why_or_breaks_off() {
    let house = House::open(|_| {});
    for format in ["json", "ndjson", "csv", "arrow"] {
        let path = format!("/v1/sql?format={format}");
        let reply = post(&house, &path, b"fails at once").await;
        assert_eq!((reply.status, reply.json()["error"]["code"].as_str()), (408, Some("57014")), "{format}");
        let raw = exchange(house.doors.http_address(), &format!("POST {path}"), b"fails late").await;
        let is_whole = raw.ends_with(b"0\r\n\r\n");
        let reply = parse(&raw);
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        assert_eq!(reply.status, 200, "{format}");
        match format {
            "arrow" => {
                assert!(!is_whole, "no client may take it for whole");
                assert!(text.trim_end().ends_with("ERROR 57014: the statement took too long"), "no reason");
                // Where the transfer looks whole (an old proxy), the stream itself does not.
                let mut reader = StreamReader::try_new(reply.body.as_slice(), None).expect("arrow");
                let rows = reader.by_ref().map_while(Result::ok).map(|batch| batch.num_rows());
                assert_eq!(rows.sum::<usize>(), 20_000);
                let mut reader = StreamReader::try_new(reply.body.as_slice(), None).expect("arrow");
                assert!(reader.any(|batch| batch.is_err()), "the end was taken for a good one");
            }
            "csv" => {
                assert!(!is_whole, "no client may take it for whole");
                assert!(text.ends_with("1,x\r\nERROR 57014: the statement took too long\r\n"), "{text}");
                assert_eq!(text.matches("1,x").count(), 20_000);
            }
            _ => assert!(is_whole && text.contains("\"code\":\"57014\""), "{format}"),
        }
    }
}

#[tokio::test]
async fn the_hub_tells_about_itself() {
    let house = House::open(|_| {});
    post(&house, "/v1/batch", &encode_frame(&batch(1))).await;
    let limits = house.fake.limits.lock().expect("lock").expect("limits");
    assert_eq!((limits.batch_groups_max, limits.key_bytes_max), (4_096, 256), "those of this door");
    let metrics = String::from_utf8(get(&house, "/metrics").await.body).expect("text");
    for line in [
        "headwater_batches_received_total 1",
        "headwater_storage_ok 1",
        "headwater_events_dropped_total{reason=\"late\"} 3",
        "headwater_events_accounted_total 3",
        "headwater_groups_other_total 0",
        "headwater_log_commit_seconds_count 0",
        "# EOF",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    let about = get(&house, "/v1/hub").await.json();
    assert_eq!(about["fingerprint"], json!(house.doors.fingerprint().to_string()));
    assert_eq!(get(&house, "/v1/status").await.json()["version"], json!("test"));
}

#[tokio::test]
async fn pages_may_call_a_development_hub() {
    let house = House::open(|_| {});
    let head = "OPTIONS /v1/batch\r\norigin: https://page.example\r\naccess-control-request-method: POST";
    let reply = request(house.doors.http_address(), head, b"").await;
    assert!(reply.head.contains("access-control-allow-origin: *"), "{}", reply.head);
    let strict =
        House::open(|options| options.listen.cors_origins = "https://mine.example".parse().expect("list"));
    let reply = request(strict.doors.http_address(), head, b"").await;
    assert!(!reply.head.contains("access-control-allow-origin: https://page.example"), "{}", reply.head);
}

/// A page that is not listed could not read what came of its statements, but they ran.
#[tokio::test]
async fn pages_that_are_not_listed_are_refused() {
    let house =
        House::open(|options| options.listen.cors_origins = "https://mine.example".parse().expect("list"));
    let to = house.doors.http_address();
    for (origin, is_refused) in [
        ("https://page.example", true),
        ("null", true),
        ("https://mine.example", false),
        ("http://hub", false),
    ] {
        let head = format!("POST /v1/sql\r\ncontent-type: text/plain\r\norigin: {origin}");
        let reply = request(to, &head, b"SELECT 1").await;
        assert_eq!(reply.head.starts_with("http/1.1 403"), is_refused, "{origin}: {}", reply.head);
        if is_refused {
            assert_eq!(reply.json()["error"]["code"], json!("28000"));
        }
    }
}

/// Packed bodies were taken for bad text.
#[tokio::test]
async fn packed_bodies_are_refused() {
    let house = House::open(|_| {});
    let to = house.doors.http_address();
    for path in ["/v1/sql", "/v1/events?stream=s", "/v1/batch"] {
        let reply = request(to, &format!("POST {path}\r\ncontent-encoding: gzip"), b"\x1f\x8b").await;
        assert_eq!(reply.status, 415, "{path}");
        assert!(reply.json()["error"]["message"].as_str().is_some_and(|text| text.contains("gzip")));
    }
    let reply = request(to, "POST /v1/sql\r\ncontent-encoding: identity", b"SELECT 1").await;
    assert_ne!(reply.status, 415);
}

/// Names of metrics are an interface: each is in the README, and the README names no other.
#[tokio::test]
async fn the_readme_lists_every_metric() {
    let house = House::open(|_| {});
    let metrics = String::from_utf8(get(&house, "/metrics").await.body).expect("text");
    let mut served: Vec<String> = metrics
        .lines()
        .filter_map(|l| l.strip_prefix("# HELP ")?.split(' ').next())
        .map(String::from)
        .collect();
    let readme = include_str!("../../../README.md");
    let mut listed: Vec<String> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `headwater_")?.split('`').next())
        .map(|name| format!("headwater_{}", name.trim_end_matches("_total")))
        .collect();
    served.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, served);
}
