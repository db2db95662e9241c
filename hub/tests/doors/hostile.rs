//! Peers that mean harm lose their own session and nothing else.

use super::http::request;
use super::quic::{Lane, connect, session};
use super::{House, batch, hello};
use headwater::wire::{Ack, Failure, encode_frame};
use quinn::ConnectionError;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ALPN: &[u8] = b"headwater/1";

/// Sends bytes on a stream; gives the failure's code and the number the connection was closed with.
async fn attack(house: &House, bytes: &[u8], is_finished: bool) -> (String, u64) {
    let connection = connect(house.doors.quic_address(), ALPN).await.expect("connected");
    let mut lane = Lane::open(&connection).await;
    lane.send.write_all(bytes).await.expect("write");
    if is_finished {
        lane.send.finish().expect("finish");
    }
    let failure: Failure = lane.expect().await;
    match connection.closed().await {
        ConnectionError::ApplicationClosed(close) => (failure.code, close.error_code.into_inner()),
        other => panic!("closed by {other}"),
    }
}

#[tokio::test]
async fn bad_frames_end_their_connection_with_a_code() {
    let house = House::open(|options| options.limits.frame_bytes_max = 4096);
    let (connection, _control, _) = session(&house, &[]).await;
    let oversized = [&[0x48, 6, 1][..], &[0xff, 0xff, 0xff, 0x7f]].concat();
    let cut = &encode_frame(&hello(&["a"]))[..6];
    let slow = &encode_frame(&hello(&["a"]))[..7];
    for (bytes, is_finished, expected) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], true, ("malformed", 1)),
        (&oversized, false, ("too_large", 2)),
        (&[0x48, 6, 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80], false, ("too_large", 2)),
        (cut, true, ("malformed", 1)),
        (slow, false, ("slow", 7)),
        (&encode_frame(&batch(1)), true, ("protocol", 3)),
        (&[0x48, 1, 9, 0], true, ("version", 4)),
    ] {
        let (code, number) = attack(&house, bytes, is_finished).await;
        assert_eq!((code.as_str(), number), expected);
    }
    let mut lane = Lane::open(&connection).await;
    lane.put(&batch(1)).await;
    lane.expect::<Ack>().await;
}

#[tokio::test]
async fn another_protocol_is_not_spoken() {
    let house = House::open(|_| {});
    let error = connect(house.doors.quic_address(), b"h3").await.expect_err("refused");
    assert!(matches!(error, ConnectionError::ConnectionClosed(_)), "{error}");
}

/// Kept alive by the hub itself, connections that said nothing held all places.
#[tokio::test]
async fn a_connection_without_a_session_is_ended() {
    let house = House::open(|_| {});
    let connection = connect(house.doors.quic_address(), ALPN).await.expect("connected");
    match tokio::time::timeout(Duration::from_secs(10), connection.closed()).await.expect("it ends") {
        ConnectionError::ApplicationClosed(close) => assert_eq!(close.error_code.into_inner(), 7),
        other => panic!("closed by {other}"),
    }
}

#[tokio::test]
async fn connections_above_the_limit_are_refused_and_places_come_back() {
    let house = House::open(|options| options.limits.connections_max = 1);
    let first = connect(house.doors.quic_address(), ALPN).await.expect("connected");
    assert!(connect(house.doors.quic_address(), ALPN).await.is_err());
    first.close(0u32.into(), b"");
    // The place is free as soon as the hub has seen the close; each try is a round trip.
    for _ in 0..1000 {
        if connect(house.doors.quic_address(), ALPN).await.is_ok() {
            return;
        }
    }
    panic!("the place did not come back");
}

#[tokio::test]
async fn a_client_that_trickles_its_request_is_cut_off() {
    let house = House::open(|_| {});
    for begun in [
        "GET /healthz HTTP/1.1\r\nhost: h",
        "POST /v1/batch HTTP/1.1\r\nhost: h\r\ncontent-length: 50\r\n\r\nx",
    ] {
        let mut stream = TcpStream::connect(house.doors.http_address()).await.expect("connect");
        stream.write_all(begun.as_bytes()).await.expect("write");
        let mut bytes = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut bytes)).await;
        assert!(ended.is_ok(), "the hub waits for ever after {begun:?}");
        let text = String::from_utf8_lossy(&bytes);
        assert!(bytes.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");
    }
}

#[tokio::test]
async fn a_body_that_lies_about_its_length_is_not_believed() {
    let house = House::open(|_| {});
    let mut stream = TcpStream::connect(house.doors.http_address()).await.expect("connect");
    let head = "POST /v1/batch HTTP/1.1\r\nhost: h\r\ncontent-length: 1099511627776\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("write");
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).await.expect("answer");
    assert_eq!(&begin, b"HTTP/1.1 413");
    assert_eq!(request(house.doors.http_address(), "GET /healthz", b"").await.status, 200);
}
