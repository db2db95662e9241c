//! `POST /v1/events`.

use super::{counts, end, posted, with_hits};

const PATH: &str = "/v1/events?stream=hits";

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_json_become_events() {
    let (_house, hub, client) = with_hits().await;
    let to = hub.http_addr();
    let mut body: String =
        (0..5_000).map(|n| format!("{{\"url\":\"/{}\",\"user_id\":{n}}}\n", n % 2)).collect();
    body.push_str("{\"latency_ms\":1.5}");
    assert_eq!(posted(to, PATH, "application/x-ndjson", body).await, (200, "{\"events\":5001}".into()));
    let odd: i64 = (0..5_000).filter(|n| n % 2 == 1).sum();
    let expected = [
        (Some("/0".into()), 2_500, Some(odd - 2_500)),
        (Some("/1".into()), 2_500, Some(odd)),
        (None, 1, None),
    ];
    assert_eq!(counts(&client).await, expected);
    let csv = "user_id,url\n1,/0\n2,\n".to_owned();
    assert_eq!(posted(to, PATH, "text/csv", csv).await, (200, "{\"events\":2}".into()));
    let csv = "\u{feff}user_id,url\n3,/0\n\\.,\n".to_owned();
    let (status, answer) = posted(to, PATH, "text/csv", csv).await;
    assert!(status == 400 && answer.contains("line 3: column \\\"user_id\\\""), "{answer}");
    assert_eq!(posted(to, PATH, "text/csv", "url\n\\.\n/0\n".into()).await, (200, "{\"events\":2}".into()));
    assert_eq!(posted(to, PATH, "text/csv", String::new()).await, (200, "{\"events\":0}".into()));
    end(hub, client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_line_is_named_and_nothing_is_counted() {
    let (_house, hub, client) = with_hits().await;
    let to = hub.http_addr();
    for (body, status, code, message) in [
        (
            "{\"url\":\"/\"}\n{\"user_id\":\"x\"}",
            400,
            "22P02",
            "line 2: column \\\"user_id\\\": invalid input",
        ),
        ("{\"url\":\"/\"}\n{\"user\":1}", 400, "42703", "line 2: column \\\"user\\\" of stream"),
        ("{\"url\":\"\\u0000\"}", 400, "22021", "line 1: column \\\"url\\\""),
        ("{\"url\":\"/\"}\nnonsense", 400, "22P02", "line 2: "),
    ] {
        let (found, answer) = posted(to, PATH, "application/json", body.into()).await;
        assert_eq!(found, status, "{answer}");
        assert!(answer.contains(code) && answer.contains(message), "{answer}");
    }
    let (status, answer) = posted(to, "/v1/events?stream=nothing", "", "{}".into()).await;
    assert_eq!(status, 404, "{answer}");
    let (status, answer) = posted(to, "/v1/events?stream=hits&stream=hits", "", "{}".into()).await;
    assert!(status == 400 && answer.contains("twice"), "{answer}");
    let (status, answer) = posted(to, "/v1/events", "", "{}".into()).await;
    assert_eq!(status, 400, "{answer}");
    assert!(counts(&client).await.is_empty());
    end(hub, client).await;
}

/// Other paths and methods were answered with nothing at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_path_or_method_is_told_what_there_is() {
    let (_house, hub, client) = with_hits().await;
    let (status, body) = posted(hub.http_addr(), "/v1/event", "text/plain", String::new()).await;
    assert!(status == 404 && body.contains("/v1/events"), "{status} {body}");
    let (status, body) = posted(hub.http_addr(), "/v1/status", "text/plain", String::new()).await;
    assert!(status == 405 && body.contains("does not take POST"), "{status} {body}");
    end(hub, client).await;
}
