//! Many peers at once: what they announce, hold and leave idle costs themselves, and the hub is always heard.

use super::http::request;
use super::quic::{Lane, connect, session};
use super::{House, batch, hello};
use headwater::wire::{Ack, encode_frame};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Nothing in these tests may wait for a peer's silence to end.
async fn soon<T>(what: &str, step: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), step).await.unwrap_or_else(|_| panic!("{what} has to wait"))
}

/// One HTTP/2 connection with `streams` requests of `announced` bytes, of which `sent` follow.
async fn announce(to: SocketAddr, streams: usize, announced: usize, sent: usize) -> JoinHandle<()> {
    let stream = TcpStream::connect(to).await.expect("connect");
    let (mut client, connection) = h2::client::handshake(stream).await.expect("h2");
    let driver = tokio::spawn(async move {
        let _ = connection.await;
    });
    let mut bodies = Vec::new();
    for _ in 0..streams {
        client = client.ready().await.expect("ready");
        let head = axum::http::Request::post("http://hub/v1/batch").header("content-length", announced);
        let (_, mut body) = client.send_request(head.body(()).expect("request"), false).expect("send");
        body.send_data(vec![0x48; sent].into(), false).expect("data");
        bodies.push(body);
    }
    tokio::spawn(async move {
        let _kept = (bodies, client);
        let _ = driver.await;
    })
}

async fn healthz(house: &House) -> u16 {
    request(house.doors.http_address(), "GET /healthz", b"").await.status
}

/// Bodies that were announced used up the whole hub's budget before their first byte.
#[tokio::test]
async fn bodies_that_are_announced_and_not_sent_starve_nobody() {
    let house = House::open(|options| {
        options.limits.frame_ms = 60_000;
        options.limits.ingress_bytes_max = options.limits.frame_bytes_max;
    });
    let (connection, _control, _) = soon("a session", session(&house, &[])).await;
    let mut peers = Vec::new();
    for _ in 0..17 {
        peers.push(announce(house.doors.http_address(), 64, 262_144, 10).await);
    }
    for seq in 1..20 {
        let mut lane = Lane::open(&connection).await;
        lane.put(&batch(seq)).await;
        soon("a batch over QUIC", lane.expect::<Ack>()).await;
        let reply = soon("SQL", request(house.doors.http_address(), "POST /v1/sql", b"rows")).await;
        assert_eq!(reply.status, 200);
        let frame = encode_frame(&batch(seq));
        let reply = soon("a batch", request(house.doors.http_address(), "POST /v1/batch", &frame)).await;
        assert_eq!((reply.status, reply.frame::<Ack>().seq), (200, batch(seq).seq));
    }
    peers.into_iter().for_each(|peer| peer.abort());
}

/// The same over QUIC: headers of large frames, and nothing after them.
#[tokio::test]
async fn frames_that_are_announced_and_not_sent_starve_nobody() {
    let house = House::open(|options| {
        options.limits.frame_ms = 60_000;
        options.limits.ingress_bytes_max = options.limits.frame_bytes_max;
    });
    let mut kept = Vec::new();
    for _ in 0..4 {
        let (connection, control, _) = soon("a session", session(&house, &[])).await;
        let mut lane = Lane::open(&connection).await;
        // A batch of 4,000,000 bytes.
        lane.send.write_all(&[0x48, 5, 1, 0x80, 0x92, 0xf4, 0x01, 0]).await.expect("write");
        kept.push((connection, control, lane));
    }
    let (connection, _control, _) = soon("a session", session(&house, &[])).await;
    for seq in 1..20 {
        let mut lane = Lane::open(&connection).await;
        lane.put(&batch(seq)).await;
        soon("a batch", lane.expect::<Ack>()).await;
    }
}

#[tokio::test]
async fn a_body_that_stalls_is_ended_and_gives_its_bytes_back() {
    let house = House::open(|options| {
        options.limits.http_session_bytes_max = 262_144;
        options.limits.ingress_bytes_max = options.limits.frame_bytes_max;
    });
    let stream = TcpStream::connect(house.doors.http_address()).await.expect("connect");
    let (mut client, connection) = h2::client::handshake(stream).await.expect("h2");
    tokio::spawn(connection);
    for _ in 0..5 {
        client = client.ready().await.expect("ready");
        let head = axum::http::Request::post("http://hub/v1/batch").header("content-length", 250_000);
        let (answer, mut body) = client.send_request(head.body(()).expect("request"), false).expect("send");
        body.send_data(vec![0; 10_000].into(), false).expect("data");
        let answer = soon("an answer", answer).await.expect("answer");
        assert_eq!(answer.status(), 408, "each has the connection's whole share in its turn");
    }
}

/// A thousand connections that said nothing kept everybody else out, for ever.
#[tokio::test]
async fn idle_connections_make_room() {
    let house = House::open(|options| {
        options.limits.http_connections_max = 8;
        options.limits.frame_ms = 60_000;
    });
    let mut idle = Vec::new();
    for at in 0..100 {
        let mut stream = TcpStream::connect(house.doors.http_address()).await.expect("connect");
        if at % 2 == 0 {
            let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: h").await;
        }
        idle.push(stream);
        assert_eq!(soon("health", healthz(&house)).await, 200);
    }
    let frame = encode_frame(&batch(1));
    let reply = soon("a batch", request(house.doors.http_address(), "POST /v1/batch", &frame)).await;
    assert_eq!(reply.status, 200);
    let mut byte = [0];
    let ended = soon("the first of them", idle[0].read(&mut byte)).await;
    assert!(matches!(ended, Ok(0) | Err(_)), "it made room for others");
    let metrics = request(house.doors.http_address(), "GET /metrics", b"").await;
    assert!(!String::from_utf8_lossy(&metrics.body).contains("connections_shed_total 0\n"));
}

#[tokio::test]
async fn health_is_told_when_every_place_is_busy() {
    let house = House::open(|options| {
        options.limits.http_connections_max = 4;
        options.limits.frame_ms = 60_000;
    });
    let watch = encode_frame(&hello(&["later"]));
    let mut watches = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(house.doors.http_address()).await.expect("connect");
        let head = format!(
            "POST /v1/watch?catalog=0 HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n",
            watch.len()
        );
        stream.write_all(head.as_bytes()).await.expect("head");
        stream.write_all(&watch).await.expect("body");
        watches.push(stream);
    }
    // Until its request is in flight a connection is idle, and would make room.
    soon("a watch", async {
        while house.fake.watchers() < 4 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let frame = encode_frame(&batch(1));
    for _ in 0..100 {
        assert_eq!(soon("health", healthz(&house)).await, 200);
    }
    let status = request(house.doors.http_address(), "POST /v1/batch", &frame).await.status;
    assert_eq!(status, 503);
    house.fake.create_stream("later");
    for mut stream in watches {
        let mut begin = [0; 12];
        soon("a watch", stream.read_exact(&mut begin)).await.expect("an answer");
        assert_eq!(&begin, b"HTTP/1.1 200", "a request in flight keeps its place");
    }
}

#[tokio::test]
async fn a_connection_that_never_asks_is_closed() {
    let house = House::open(|_| {});
    let mut stream = TcpStream::connect(house.doors.http_address()).await.expect("connect");
    let mut byte = [0];
    let ended = soon("the end", stream.read(&mut byte)).await;
    assert!(matches!(ended, Ok(0) | Err(_)));
}

/// One host could take every place of both doors.
#[tokio::test]
async fn one_address_gets_its_share_of_the_places() {
    let house = House::open(|options| {
        options.limits.address_connections_max = 3;
        options.limits.frame_ms = 60_000;
    });
    let mut quic = Vec::new();
    for _ in 0..3 {
        quic.push(soon("a session", session(&house, &[])).await);
    }
    let refused = soon("a refusal", connect(house.doors.quic_address(), b"headwater/1")).await;
    assert!(matches!(&refused, Err(quinn::ConnectionError::ConnectionClosed(_))), "{refused:?}");
    // The other door counts for itself.
    let mut http = Vec::new();
    for _ in 0..3 {
        http.push(TcpStream::connect(house.doors.http_address()).await.expect("connect"));
    }
    let mut more = TcpStream::connect(house.doors.http_address()).await.expect("connect");
    let mut byte = [0];
    let ended = soon("the end", more.read(&mut byte)).await;
    assert!(matches!(ended, Ok(0) | Err(_)), "refused without a word");
    // Who goes gives the place back.
    drop(http);
    let metrics = soon("a place", async {
        loop {
            let mut stream = TcpStream::connect(house.doors.http_address()).await.expect("connect");
            let asked =
                stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await;
            let mut answer = String::new();
            if asked.is_ok() && stream.read_to_string(&mut answer).await.is_ok() && !answer.is_empty() {
                break answer;
            }
        }
    })
    .await;
    let counted =
        metrics.lines().find_map(|l| l.strip_prefix("headwater_connections_address_refused_total "));
    assert!(counted.is_some_and(|count| count.parse::<u64>().is_ok_and(|count| count >= 2)), "{counted:?}");
    drop(quic.pop());
    soon("a session", async {
        while connect(house.doors.quic_address(), b"headwater/1").await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
