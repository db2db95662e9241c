//! The QUIC door with a client made of bare quinn.

use super::{House, batch, hello};
use headwater::ids::{CatalogVersion, Micros, Pid, Seq};
use headwater::wire::{
    Ack, Body, ClockReply, ClockRequest, Failure, Frame, FrameDecoder, FrameKind, Goodbye, Plans, Query,
    Resume, Resumed, RowsEnd, Welcome, encode_frame,
};
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use std::net::SocketAddr;
use std::sync::Arc;

/// Trusts any certificate: these tests are about what comes after it.
#[derive(Debug)]
struct Trusting(rustls::crypto::CryptoProvider);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

pub async fn connect(to: SocketAddr, alpn: &[u8]) -> Result<Connection, quinn::ConnectionError> {
    let provider = rustls::crypto::ring::default_provider();
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(provider.clone()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting(provider)))
        .with_no_client_auth();
    tls.alpn_protocols = vec![alpn.to_vec()];
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).expect("tls");
    let mut endpoint = Endpoint::client("127.0.0.1:0".parse().expect("address")).expect("socket");
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
    endpoint.connect(to, "localhost").expect("connect").await
}

/// One stream, as frames.
pub struct Lane {
    pub send: SendStream,
    recv: RecvStream,
    decoder: FrameDecoder,
}

impl Lane {
    pub async fn open(connection: &Connection) -> Self {
        let (send, recv) = connection.open_bi().await.expect("stream");
        Self { send, recv, decoder: FrameDecoder::new(1 << 22) }
    }

    pub async fn put<T: Body>(&mut self, body: &T) {
        self.send.write_all(&encode_frame(body)).await.expect("write");
    }

    /// The next frame, or `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<(FrameKind, Vec<u8>)> {
        loop {
            if let Some(frame) = self.decoder.next_frame().expect("frame") {
                return Some((frame.kind, frame.body.to_vec()));
            }
            let chunk = self.recv.read_chunk(65_536, true).await.expect("read")?;
            self.decoder.push(&chunk.bytes);
        }
    }

    pub async fn expect<T: Body>(&mut self) -> T {
        let (kind, body) = self.next().await.expect("a frame");
        Frame { kind, body: &body }.decode().unwrap_or_else(|e| panic!("{e} in {kind:?}"))
    }
}

/// A connection with an open session.
pub async fn session(house: &House, streams: &[&str]) -> (Connection, Lane, Welcome) {
    let connection = connect(house.doors.quic_address(), b"headwater/1").await.expect("connected");
    let mut control = Lane::open(&connection).await;
    control.put(&hello(streams)).await;
    let welcome = control.expect().await;
    (connection, control, welcome)
}

#[tokio::test]
async fn a_session_gets_its_plans_and_news_of_them() {
    let house = House::open(|_| {});
    let (_connection, mut control, welcome) = session(&house, &["later"]).await;
    assert_eq!(welcome.unknown_streams, ["later"]);
    house.fake.create_stream("other");
    house.fake.create_stream("later");
    let plans: Plans = control.expect().await;
    assert_eq!(
        (plans.catalog, plans.streams.len()),
        (CatalogVersion(2), 1),
        "news of other streams are not told"
    );
    control.put(&ClockRequest { sent: Micros(7) }).await;
    assert_eq!(control.expect::<ClockReply>().await.sent, Micros(7));
    control.put(&Resume { pid: Pid::new(1, [7; 10]), low_water: Seq(1) }).await;
    assert_eq!(control.expect::<Resumed>().await.floor, Seq(3));
}

#[tokio::test]
async fn batches_and_queries_have_streams_of_their_own() {
    let house = House::open(|_| {});
    let (connection, _control, _) = session(&house, &[]).await;
    let mut lanes = Vec::new();
    for seq in 1..=20 {
        let mut lane = Lane::open(&connection).await;
        lane.put(&batch(seq)).await;
        lanes.push((seq, lane));
    }
    for (seq, mut lane) in lanes {
        assert_eq!(lane.expect::<Ack>().await.seq, Seq(seq));
        assert!(lane.next().await.is_none(), "the stream ends after the last ack");
    }
    let limits = house.fake.limits.lock().expect("lock").expect("limits");
    assert_eq!((limits.batch_groups_max, limits.key_bytes_max), (65_536, 1_024), "those of this door");
    let mut lane = Lane::open(&connection).await;
    lane.put(&Query { sql: "rows".into(), ..Query::default() }).await;
    let mut kinds = Vec::new();
    while let Some((kind, body)) = lane.next().await {
        kinds.push(kind);
        if kind == FrameKind::RowsEnd {
            let end: RowsEnd = Frame { kind, body: &body }.decode().expect("end");
            assert_eq!((end.tag.as_str(), end.rows), ("SELECT 2", 2));
        }
    }
    assert_eq!(kinds, [FrameKind::RowsHeader, FrameKind::Rows, FrameKind::Rows, FrameKind::RowsEnd]);
}

#[tokio::test]
async fn a_query_needs_no_session_and_its_failure_ends_nothing_else() {
    let house = House::open(|_| {});
    let connection = connect(house.doors.quic_address(), b"headwater/1").await.expect("connected");
    for _ in 0..2 {
        let mut lane = Lane::open(&connection).await;
        lane.put(&Query { sql: "wrong".into(), ..Query::default() }).await;
        let failure: Failure = lane.expect().await;
        assert_eq!((failure.code.as_str(), failure.position), ("42601", Some(3)));
    }
}

#[tokio::test]
async fn a_stopped_query_frees_its_stream() {
    let house = House::open(|options| options.limits.streams_max = 2);
    let connection = connect(house.doors.quic_address(), b"headwater/1").await.expect("connected");
    for _ in 0..5 {
        let mut lane = Lane::open(&connection).await;
        lane.put(&Query { sql: "endless".into(), ..Query::default() }).await;
        assert_eq!(lane.next().await.expect("header").0, FrameKind::RowsHeader);
        lane.recv.stop(0u32.into()).expect("stop");
        lane.send.finish().expect("finish");
    }
}

#[tokio::test]
async fn shutdown_says_goodbye_and_answers_what_is_in_flight() {
    let house = House::open(|_| {});
    let (connection, mut control, _) = session(&house, &[]).await;
    house.fake.gate.forget_permits(1 << 20);
    let mut lane = Lane::open(&connection).await;
    lane.put(&batch(1)).await;
    house.fake.arrived.acquire().await.expect("arrived").forget();
    let fake = Arc::clone(&house.fake);
    let closing = tokio::spawn(house.doors.close());
    control.expect::<Goodbye>().await;
    fake.gate.add_permits(1);
    assert_eq!(lane.expect::<Ack>().await.seq, Seq(1), "in flight when the shutdown began");
    closing.await.expect("closed");
    assert!(connection.open_bi().await.is_err());
}
