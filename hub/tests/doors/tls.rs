//! HTTPS, with a client that checks whom it talks to.

use super::House;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, ServerName};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A certificate for localhost in `dir`, as an operator would bring one.
fn certificate(dir: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("certificate");
    std::fs::write(dir.join("cert.pem"), made.cert.pem()).expect("write");
    std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).expect("write");
    made.cert.der().clone()
}

fn house(dir: &Path) -> House {
    House::open(|options| {
        options.listen.tls_cert = dir.join("cert.pem").to_str().expect("path").parse().expect("option");
        options.listen.tls_key = dir.join("key.pem").to_str().expect("path").parse().expect("option");
    })
}

async fn connect(
    house: &House,
    trusted: &CertificateDer<'static>,
    alpn: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).expect("root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let stream = TcpStream::connect(house.doors.http_address()).await?;
    let name = ServerName::try_from("localhost").expect("name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

async fn healthz(mut stream: TlsStream<TcpStream>) -> String {
    let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.expect("request");
    let mut answer = String::new();
    // The hub may close the connection without a farewell.
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

#[tokio::test]
async fn a_client_that_trusts_the_certificate_is_answered() {
    let dir = tempfile::tempdir().expect("dir");
    let trusted = certificate(dir.path());
    let house = house(dir.path());
    assert!(!house.doors.is_development());
    let stream = connect(&house, &trusted, &[b"http/1.1"]).await.expect("trusted");
    assert!(healthz(stream).await.starts_with("HTTP/1.1 200"));
    let stream = connect(&house, &trusted, &[b"h2", b"http/1.1"]).await.expect("trusted");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut client, connection) = h2::client::handshake(stream).await.expect("h2");
    tokio::spawn(connection);
    let request = axum::http::Request::get("https://localhost/healthz").body(()).expect("request");
    let (answer, _) = client.send_request(request, true).expect("send");
    assert_eq!(answer.await.expect("answer").status(), 200);
}

#[tokio::test]
async fn a_client_that_expects_another_certificate_goes_away_and_nobody_else() {
    let (dir, other) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
    let (trusted, another) = (certificate(dir.path()), certificate(other.path()));
    let house = house(dir.path());
    let error = connect(&house, &another, &[b"http/1.1"]).await.expect_err("not the one it expects");
    assert!(error.to_string().contains("certificate"), "{error}");
    let stream = connect(&house, &trusted, &[b"http/1.1"]).await.expect("trusted");
    assert!(healthz(stream).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn plain_http_and_silence_get_nothing_from_a_tls_port() {
    let dir = tempfile::tempdir().expect("dir");
    let trusted = certificate(dir.path());
    let house = house(dir.path());
    for begin in [&b"GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n"[..], b"\x16\x03\x01"] {
        let mut stream = TcpStream::connect(house.doors.http_address()).await.expect("connect");
        stream.write_all(begin).await.expect("write");
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "the hub waits for ever");
        assert!(!answer.starts_with(b"HTTP/"), "it answers in the clear");
    }
    let stream = connect(&house, &trusted, &[]).await.expect("trusted");
    assert!(healthz(stream).await.starts_with("HTTP/1.1 200"));
}
