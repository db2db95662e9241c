//! A hub in this process: real QUIC and TLS, one view, dots, and faults on demand.

use super::super::{ALPN, Fingerprint, fingerprint};
use crate::aggregate::{AggregateSpec, Finisher};
use crate::group::{GroupTable, OTHER_KEY};
use crate::ids::{
    BootId, CatalogVersion, ClusterId, Epoch, Micros, Pid, PlanVersion, RouteVersion, Seq, StreamId, ViewId,
};
use crate::limits::BatchLimits;
use crate::plan::{ExprId, Function, Op, Plan, PlanBuilder};
use crate::schema::{Field, StreamSchema};
use crate::value::key::decode_key;
use crate::value::{DataType, Value};
use crate::wire::batch::{LedgerDelta, Payload, payload_hash};
use crate::wire::{
    Ack, AckLevel, BatchFrame, Body, ClockReply, ClockRequest, Failure, FrameDecoder, FrameKind, Hello,
    Plans, Query, Refused, RefusedCode, Resume, Resumed, Rows, RowsEnd, RowsHeader, SessionLimits,
    StreamPlans, Welcome, encode_frame,
};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, RecvStream, SendStream, ServerConfig};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::watch;

/// What survives a restart.
pub struct State {
    pub exists: bool,
    /// One more view, whose plan no client can run.
    pub foreign: bool,
    /// One more view, by the first letter of what the other groups by.
    pub by_letter: bool,
    /// The cap of the view by url, where it has one.
    pub groups_max: Option<u32>,
    pub table: GroupTable,
    pub dots: HashMap<(Pid, Seq), u64>,
    pub ledger: LedgerDelta,
    pub batches: usize,
    pub duplicates: usize,
    pub hellos: usize,
    /// Batches to apply without answering: the connection ends instead.
    pub lose_answers: usize,
    /// Batches are neither applied nor answered.
    pub is_mute: bool,
    pub refuse: Option<RefusedCode>,
    pub token: Option<String>,
    /// No place for another connection.
    pub is_full: bool,
    pub frame_bytes_max: Option<u32>,
    /// The hub's clock minus this machine's, microseconds.
    pub clock_ahead: i64,
    plan_version: u32,
}

pub struct Hub {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
    endpoint: Option<Endpoint>,
    config: ServerConfig,
    pub certificate: Vec<u8>,
    pub address: SocketAddr,
}

fn specs() -> [AggregateSpec; 4] {
    let (int, time) = (DataType::Int64, DataType::Timestamp);
    let count = AggregateSpec::Count { argument: false };
    [count, AggregateSpec::Sum(int), AggregateSpec::Min(time.clone()), AggregateSpec::Max(time)]
}

/// A view of the states that the hub keeps.
fn view(id: u32, version: u32, key: impl FnOnce(&mut PlanBuilder) -> ExprId) -> Plan {
    let mut plan = PlanBuilder::new();
    let ms = plan.column(1, DataType::Int64).expect("column");
    let arrival = plan.column(2, DataType::Timestamp).expect("column");
    let key = key(&mut plan);
    plan.key(key).expect("key");
    for (spec, arguments) in specs().into_iter().zip([&[][..], &[ms], &[arrival], &[arrival]]) {
        plan.state(spec, arguments, None).expect("state");
    }
    plan.finish(ViewId(id), PlanVersion(version), StreamId(1), 100_000)
}

fn plan(version: u32) -> Plan {
    view(1, version, |plan| plan.column(0, DataType::Text).expect("column"))
}

fn plan_by_letter() -> Plan {
    view(3, 1, |plan| {
        let url = plan.column(0, DataType::Text).expect("column");
        let one = plan.literal(Value::Int(1), DataType::Int64).expect("literal");
        plan.node(Op::Call(Function::Left, vec![url, one]), DataType::Text).expect("call")
    })
}

/// Signs certificates of hubs.
pub type Authority = rcgen::CertifiedIssuer<'static, rcgen::KeyPair>;

pub fn authority() -> Authority {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    Authority::self_signed(params, rcgen::KeyPair::generate().expect("key")).expect("certificate")
}

impl Hub {
    pub async fn start() -> Self {
        let names = vec!["localhost".to_string(), "127.0.0.1".to_string()];
        Self::start_as(&rcgen::generate_simple_self_signed(names).expect("certificate")).await
    }

    /// With a certificate of an authority's, for `localhost` alone.
    pub async fn start_signed_by(authority: &Authority) -> Self {
        let signing_key = rcgen::KeyPair::generate().expect("key");
        let params = rcgen::CertificateParams::new(vec!["localhost".to_string()]).expect("names");
        let cert = params.signed_by(&signing_key, authority).expect("certificate");
        Self::start_as(&rcgen::CertifiedKey { cert, signing_key }).await
    }

    /// Something else than a hub.
    pub async fn start_speaking(protocol: &[u8]) -> Self {
        let names = vec!["localhost".to_string()];
        Self::start_with(&rcgen::generate_simple_self_signed(names).expect("certificate"), protocol).await
    }

    async fn start_as(made: &rcgen::CertifiedKey<rcgen::KeyPair>) -> Self {
        Self::start_with(made, ALPN).await
    }

    async fn start_with(made: &rcgen::CertifiedKey<rcgen::KeyPair>, protocol: &[u8]) -> Self {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("tls 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("certificate");
        tls.alpn_protocols = vec![protocol.to_vec()];
        let config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).expect("quic")));
        let state = State {
            exists: true,
            foreign: false,
            by_letter: false,
            groups_max: None,
            table: GroupTable::new(&specs()),
            dots: HashMap::new(),
            ledger: LedgerDelta::default(),
            batches: 0,
            duplicates: 0,
            hellos: 0,
            lose_answers: 0,
            is_mute: false,
            refuse: None,
            token: None,
            is_full: false,
            frame_bytes_max: None,
            clock_ahead: 0,
            plan_version: 1,
        };
        let mut hub = Self {
            state: Arc::new(Mutex::new(state)),
            changed: watch::channel(1).0,
            endpoint: None,
            config,
            certificate: made.cert.der().to_vec(),
            address: ([127, 0, 0, 1], 0).into(),
        };
        hub.resume().await;
        hub
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("lock")
    }

    pub fn fingerprint(&self) -> Fingerprint {
        fingerprint(&self.certificate)
    }

    /// The process dies: connections end, state stays.
    pub fn stop(&mut self) {
        if let Some(endpoint) = self.endpoint.take() {
            endpoint.close(7u32.into(), b"killed");
        }
    }

    /// Listens (again), at the same address, as soon as the endpoint before has let go of it.
    pub async fn resume(&mut self) {
        let socket = loop {
            match std::net::UdpSocket::bind(self.address) {
                Ok(socket) => break socket,
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        };
        let runtime = Arc::new(quinn::TokioRuntime);
        let endpoint =
            Endpoint::new(quinn::EndpointConfig::default(), Some(self.config.clone()), socket, runtime)
                .expect("endpoint");
        self.address = endpoint.local_addr().expect("address");
        let (state, changed) = (self.state.clone(), self.changed.clone());
        tokio::spawn(serve(endpoint.clone(), state, changed));
        self.endpoint = Some(endpoint);
    }

    /// DDL: makes the stream, or gives its view a new version.
    pub fn change_plan(&self) {
        let mut state = self.state();
        state.plan_version += u32::from(state.exists);
        state.exists = true;
        drop(state);
        self.changed.send_modify(|version| *version += 1);
    }

    /// DDL: drops the stream and its view.
    pub fn drop_stream(&self) {
        self.state().exists = false;
        self.changed.send_modify(|version| *version += 1);
    }

    /// (url, count, sum) of every group.
    pub fn totals(&self) -> Vec<(String, i64, i128)> {
        totals(&self.state())
    }

    pub fn count(&self) -> i64 {
        self.totals().iter().map(|row| row.1).sum()
    }

    /// The first and the last arrival of the first group.
    pub fn arrivals(&self) -> (Micros, Micros) {
        let state = self.state();
        let group = state.table.sorted()[0];
        let time = |at: usize| match state.table.states()[at].finish(group, &Finisher::Value) {
            Ok(Value::Int(time)) => Micros(time),
            other => panic!("{other:?}"),
        };
        (time(2), time(3))
    }

    /// The hub's time.
    pub fn now(&self) -> Micros {
        time(&self.state())
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.stop();
    }
}

fn totals(state: &State) -> Vec<(String, i64, i128)> {
    let table = &state.table;
    let row = |group| {
        let key = match table.key(group) {
            OTHER_KEY => vec![Value::Text("(other)".into())],
            key => decode_key(key, &[DataType::Text]).expect("key"),
        };
        let state = |at: usize| table.states()[at].finish(group, &Finisher::Value).expect("finishes");
        match (&key[0], state(0), state(1)) {
            (Value::Text(url), Value::Int(count), Value::Decimal(sum)) => (url.clone(), count, sum),
            other => panic!("{other:?}"),
        }
    };
    table.sorted().into_iter().map(row).collect()
}

fn plans(state: &State) -> (Vec<StreamPlans>, Vec<String>) {
    if !state.exists {
        return (vec![], vec!["views".into()]);
    }
    let field = |name: &str, data_type| Field { name: name.into(), data_type };
    let fields = vec![field("url", DataType::Text), field("ms", DataType::Int64)];
    let schema = StreamSchema { id: StreamId(1), name: "views".into(), fields };
    let foreign = Plan { view: ViewId(2), stream: StreamId(9), ..plan(1) };
    let mut by_url = plan(state.plan_version);
    by_url.groups_max = state.groups_max.unwrap_or(by_url.groups_max);
    let mut plans = vec![by_url];
    plans.extend(state.foreign.then_some(foreign));
    plans.extend(state.by_letter.then(plan_by_letter));
    (vec![StreamPlans { schema, plans }], vec![])
}

type Shared = Arc<Mutex<State>>;

async fn serve(endpoint: Endpoint, state: Shared, changed: watch::Sender<u64>) {
    while let Some(incoming) = endpoint.accept().await {
        if state.lock().expect("lock").is_full {
            incoming.refuse();
            continue;
        }
        let (state, changed) = (state.clone(), changed.clone());
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else { return };
            while let Ok((send, recv)) = connection.accept_bi().await {
                let served = stream(connection.clone(), send, recv, state.clone(), changed.subscribe());
                tokio::spawn(ends_tests_when_it_panics(served));
            }
        });
    }
}

/// A fake hub that is wrong leaves its client trying again for ever: no test would tell.
async fn ends_tests_when_it_panics(served: impl Future<Output = ()> + Send + 'static) {
    if tokio::spawn(served).await.is_err_and(|error| error.is_panic()) {
        std::process::abort();
    }
}

async fn stream(
    connection: Connection,
    mut send: SendStream,
    mut recv: RecvStream,
    state: Shared,
    mut changed: watch::Receiver<u64>,
) {
    let mut decoder = FrameDecoder::new(4 << 20);
    loop {
        while let Some(frame) = decoder.next_frame().expect("clients send frames") {
            let answer = match frame.kind {
                FrameKind::Hello => hello(&state, &frame.decode().expect("hello"), *changed.borrow()),
                FrameKind::Resume => encode_frame(&resumed(&state, &frame.decode().expect("resume"))),
                FrameKind::ClockRequest => {
                    let ClockRequest { sent } = frame.decode().expect("clock");
                    encode_frame(&ClockReply { sent, time: time(&state.lock().expect("lock")) })
                }
                FrameKind::Batch => match batch(&state, &frame.decode().expect("batch")) {
                    Some(answer) => answer,
                    None => return connection.close(9u32.into(), b"lost"),
                },
                FrameKind::Query => query(&state, &frame.decode().expect("query")),
                kind => panic!("client sent {kind:?}"),
            };
            if send.write_all(&answer).await.is_err() {
                return;
            }
        }
        tokio::select! {
            chunk = recv.read_chunk(1 << 16, true) => match chunk {
                Ok(Some(chunk)) => decoder.push(&chunk.bytes),
                _ => break,
            },
            Ok(()) = changed.changed() => {
                let catalog = CatalogVersion(*changed.borrow_and_update());
                let (streams, unknown_streams) = plans(&state.lock().expect("lock"));
                let _ = send.write_all(&encode_frame(&Plans { catalog, streams, unknown_streams })).await;
            }
        }
    }
    let _ = send.finish();
    let _ = send.stopped().await;
}

fn hello(state: &Shared, hello: &Hello, catalog: u64) -> Vec<u8> {
    let mut state = state.lock().expect("lock");
    state.hellos += 1;
    if state.token.is_some() && state.token.as_deref() != hello.token.as_deref() {
        return failure("unauthorized", "the token is not accepted");
    }
    let (streams, unknown_streams) = if hello.streams.is_empty() { (vec![], vec![]) } else { plans(&state) };
    encode_frame(&Welcome {
        version: 1,
        time: time(&state),
        boot: BootId(1),
        catalog: CatalogVersion(catalog),
        route: RouteVersion(1),
        ack_level_max: AckLevel::Durable,
        limits: SessionLimits {
            frame_bytes_max: state.frame_bytes_max.unwrap_or(1 << 20),
            batch_groups_max: 10_000,
            key_bytes_max: 256,
            pid_lifetime_ms: 604_800_000,
        },
        streams,
        unknown_streams,
        cluster: ClusterId([1; 16]),
    })
}

fn failure(code: &str, message: &str) -> Vec<u8> {
    encode_frame(&Failure { code: code.into(), message: message.into(), position: None, hint: None })
}

fn resumed(state: &Shared, resume: &Resume) -> Resumed {
    let state = state.lock().expect("lock");
    let holds = |seq: u64| state.dots.contains_key(&(resume.pid, Seq(seq)));
    let floor = resume.low_water.0 - 1;
    let bitmap = (0..64).filter(|i| holds(floor + 1 + i)).fold(0, |bits, i| bits | 1 << i);
    Resumed { pid: resume.pid, floor: Seq(floor), bitmap, level: AckLevel::Durable, expired: false }
}

/// `None`: the answer is lost and the connection with it.
fn batch(state: &Shared, batch: &BatchFrame) -> Option<Vec<u8>> {
    let mut state = state.lock().expect("lock");
    let (pid, seq) = (batch.pid, batch.seq);
    if let Some(code) = state.refuse {
        return Some(encode_frame(&Refused { pid, seq, code, message: "no".into(), retry_after_ms: 20 }));
    }
    if state.is_mute {
        return Some(Vec::new());
    }
    let hash = payload_hash(&batch.payload);
    match state.dots.insert((pid, seq), hash) {
        Some(known) => {
            assert_eq!(known, hash, "one payload per dot");
            state.duplicates += 1;
        }
        None => apply(&mut state, &batch.payload),
    }
    if state.lose_answers > 0 {
        state.lose_answers -= 1;
        return None;
    }
    Some(encode_frame(&Ack { pid, seq, level: AckLevel::Durable, epoch: Epoch(1) }))
}

fn apply(state: &mut State, payload: &[u8]) {
    let payload = Payload::parse(payload, &BatchLimits::NATIVE).expect("payload");
    state.batches += 1;
    state.ledger.merge(&payload.ledger);
    for section in payload.sections() {
        section.merge_into(&mut state.table).expect("states");
    }
}

fn query(state: &Shared, query: &Query) -> Vec<u8> {
    if query.sql != "SELECT * FROM by_url" {
        return failure("42601", "syntax error");
    }
    let field = |name: &str, data_type| Field { name: name.into(), data_type };
    let numeric = DataType::Decimal { precision: 38, scale: 0 };
    let columns = vec![field("url", DataType::Text), field("views", DataType::Int64), field("ms", numeric)];
    let rows: Vec<Vec<Value>> = totals(&state.lock().expect("lock"))
        .into_iter()
        .map(|(url, count, sum)| vec![Value::Text(url), Value::Int(count), Value::Decimal(sum)])
        .collect();
    let end = RowsEnd { tag: format!("SELECT {}", rows.len()), rows: rows.len() as u64 };
    [frame(&RowsHeader { columns }), frame(&Rows { rows }), frame(&end)].concat()
}

fn frame<T: Body>(body: &T) -> Vec<u8> {
    encode_frame(body)
}

fn time(state: &State) -> Micros {
    Micros(super::super::wall_clock().0 + state.clock_ahead)
}
