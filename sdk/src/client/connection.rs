//! One QUIC connection: dialing, its control stream, its batch streams. Moves bytes, decides nothing.
//!
//! Owns: quinn. Must not know: the protocol beyond where frames begin and end.
//! Invariants: every task lives in the connection's own `JoinSet` and ends with it; frames of an earlier
//! connection are told from later ones by their generation.

use super::error::ConnectError;
use super::options::{ConnectOptions, Trust};
use super::peer::Peer;
use crate::limits::TransportLimits;
use crate::outbox::BatchId;
use crate::wire::{FrameDecoder, FrameKind};
use quinn::{Connection, Endpoint, RecvStream, SendStream, TransportConfig, VarInt, WriteError};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Frames and endings on their way to the driver. Small: the driver is never far behind, and a full queue
/// makes QUIC's flow control hold the hub back.
pub(super) const NET_QUEUE: usize = 64;
/// Control frames on their way to the hub: Hellos, one Resume, clock requests.
const CONTROL_QUEUE: usize = 64;

/// What a connection tells the driver.
#[derive(Debug)]
pub(super) enum Net {
    /// The handshake is done, or failed.
    Dialed(Result<(Connection, Peer), ConnectError>),
    /// A frame arrived: kind and body.
    Frame(FrameKind, Vec<u8>),
    /// No more answers come for a batch.
    BatchEnded(BatchId),
    /// The control stream or the connection ended.
    Closed(ConnectError),
}

/// Which connection said it.
pub(super) type Tagged = (u64, Net);

/// Makes connections to the addresses of the options, in turn.
pub(super) struct Dialer {
    addresses: Vec<String>,
    next: usize,
    trust: Arc<Trust>,
    timeout: Duration,
    config: quinn::ClientConfig,
    endpoints: Arc<Endpoints>,
}

/// Sockets, made when they are needed first.
#[derive(Default)]
struct Endpoints {
    v4: OnceLock<Endpoint>,
    v6: OnceLock<Endpoint>,
}

impl Endpoints {
    fn towards(&self, target: SocketAddr) -> Result<&Endpoint, ConnectError> {
        let (slot, local): (_, SocketAddr) = match target {
            SocketAddr::V4(_) => (&self.v4, (Ipv4Addr::UNSPECIFIED, 0).into()),
            SocketAddr::V6(_) => (&self.v6, (Ipv6Addr::UNSPECIFIED, 0).into()),
        };
        if let Some(endpoint) = slot.get() {
            return Ok(endpoint);
        }
        let made = Endpoint::client(local).map_err(|error| ConnectError::Socket(error.to_string()))?;
        Ok(slot.get_or_init(|| made))
    }
}

impl Dialer {
    pub fn new(options: &ConnectOptions) -> Result<Self, ConnectError> {
        if options.addresses.is_empty() {
            return Err(ConnectError::Options("no address".into()));
        }
        for address in &options.addresses {
            host_of(address)?;
        }
        let mut config = quinn::ClientConfig::new(Arc::new(super::tls::client_crypto(&options.trust)?));
        config.transport_config(Arc::new(transport(&options.transport)));
        Ok(Self {
            addresses: options.addresses.clone(),
            next: 0,
            trust: Arc::new(options.trust.clone()),
            timeout: options.connect_timeout,
            config,
            endpoints: Arc::default(),
        })
    }

    /// Connects to the next address, name resolution included, within `connect_timeout`. Nothing happens before the
    /// future is polled: callers with something else to do give it a task of its own.
    pub fn dial(&mut self) -> impl Future<Output = Result<(Connection, Peer), ConnectError>> + use<> {
        let turn = self.next;
        self.next = self.next.wrapping_add(1);
        let address = self.addresses[turn % self.addresses.len()].clone();
        // After each full round the next of a host's addresses has its turn.
        let round = turn / self.addresses.len();
        let peer = Peer::new(&address, self.trust.clone());
        let (config, endpoints, timeout) = (self.config.clone(), self.endpoints.clone(), self.timeout);
        async move {
            let dialed =
                tokio::time::timeout(timeout, connect(&address, round, config, &endpoints, &peer)).await;
            dialed.unwrap_or_else(|_| Err(peer.timed_out())).map(|connection| (connection, peer))
        }
    }

    /// Waits until all connections have said goodbye.
    pub async fn finish(&self) {
        for endpoint in [self.endpoints.v4.get(), self.endpoints.v6.get()].into_iter().flatten() {
            endpoint.wait_idle().await;
        }
    }
}

async fn connect(
    address: &str,
    round: usize,
    config: quinn::ClientConfig,
    endpoints: &Endpoints,
    peer: &Peer,
) -> Result<Connection, ConnectError> {
    let host = host_of(address)?;
    let unresolved = |message| ConnectError::Resolve { host: host.to_owned(), message };
    let found = tokio::net::lookup_host(address).await.map_err(|error| unresolved(error.to_string()))?;
    let found: Vec<SocketAddr> = found.collect();
    let target = found.get(round % found.len().max(1)).copied();
    let target = target.ok_or_else(|| unresolved("no address".into()))?;
    let connecting = endpoints.towards(target)?.connect_with(config, target, host);
    let connecting = connecting.map_err(|error| ConnectError::Options(error.to_string()))?;
    connecting.await.map_err(|error| peer.connection_error(&error))
}

fn host_of(address: &str) -> Result<&str, ConnectError> {
    if let Some((scheme, rest)) = address.split_once("://") {
        let rest = rest.trim_end_matches('/');
        return Err(ConnectError::Options(format!(
            "{address}: write host:port without {scheme}://, as {rest}"
        )));
    }
    let parts =
        address.rsplit_once(':').filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    let (host, _) = parts.ok_or_else(|| ConnectError::Options(format!("{address} is not host:port")))?;
    Ok(host.trim_start_matches('[').trim_end_matches(']'))
}

fn transport(limits: &TransportLimits) -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(limits.streams_bidi_max))
        .max_concurrent_uni_streams(VarInt::from_u32(limits.streams_uni_max))
        .stream_receive_window(VarInt::from_u32(limits.stream_window_bytes))
        .receive_window(VarInt::from_u32(limits.connection_window_bytes))
        .send_window(u64::from(limits.connection_window_bytes))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(limits.idle_timeout.try_into().ok())
        .keep_alive_interval(Some(limits.keep_alive));
    config
}

/// How long the hub's reason for closing may come after the end of a stream, which overtakes it.
const REASON_DELAY: Duration = Duration::from_secs(1);

/// An established connection and its tasks.
pub(super) struct Live {
    pub generation: u64,
    pub connection: Connection,
    pub peer: Peer,
    control: mpsc::Sender<Vec<u8>>,
    tasks: JoinSet<()>,
    net: mpsc::Sender<Tagged>,
    frame_bytes_max: usize,
}

impl Live {
    /// Opens the control stream; its frames and its end go to `net`.
    pub fn start(
        generation: u64,
        (connection, peer): (Connection, Peer),
        net: mpsc::Sender<Tagged>,
        frame_bytes_max: usize,
    ) -> Self {
        let (control, frames) = mpsc::channel(CONTROL_QUEUE);
        let mut tasks = JoinSet::new();
        let reports = Reports { generation, net: net.clone() };
        let end = End { connection: connection.clone(), peer: peer.clone() };
        tasks.spawn(run_control(end, frames, reports, frame_bytes_max));
        Self { generation, connection, peer, control, tasks, net, frame_bytes_max }
    }

    /// Queues a control frame; `false` when the peer has stopped reading for so long that the queue is full.
    pub fn send_control(&mut self, frame: Vec<u8>) -> bool {
        self.control.try_send(frame).is_ok()
    }

    /// Sends a batch on a stream of its own.
    pub fn send_batch(&mut self, id: BatchId, frame: Vec<u8>) {
        // Finished tasks are collected here, so that the set holds no more than what is in flight.
        while self.tasks.try_join_next().is_some() {}
        let reports = Reports { generation: self.generation, net: self.net.clone() };
        self.tasks.spawn(run_batch(self.connection.clone(), id, frame, reports, self.frame_bytes_max));
    }

    /// Ends the connection and its tasks.
    pub fn close(mut self) {
        self.tasks.abort_all();
        self.connection.close(VarInt::from_u32(0), b"bye");
    }
}

/// Where a task reports to.
struct Reports {
    generation: u64,
    net: mpsc::Sender<Tagged>,
}

impl Reports {
    /// `false` once the driver is gone.
    async fn send(&self, net: Net) -> bool {
        self.net.send((self.generation, net)).await.is_ok()
    }
}

/// Tells why a connection ended.
struct End {
    connection: Connection,
    peer: Peer,
}

impl End {
    /// The hub's reason for closing, which says more than the end of a stream.
    async fn reason(&self, stream: String) -> ConnectError {
        match tokio::time::timeout(REASON_DELAY, self.connection.closed()).await {
            Ok(reason) => self.peer.connection_error(&reason),
            Err(_) => self.peer.unreachable(stream),
        }
    }
}

async fn run_control(end: End, frames: mpsc::Receiver<Vec<u8>>, reports: Reports, frame_bytes_max: usize) {
    let error = match end.connection.open_bi().await {
        Ok((send, recv)) => {
            let mut decoder = FrameDecoder::new(frame_bytes_max);
            let stream = tokio::select! {
                end = write_control(send, frames) => end,
                end = read_frames(recv, &mut decoder, &reports) => Some(end),
            };
            match stream {
                Some(stream) => end.reason(stream).await,
                None => ConnectError::Closed,
            }
        }
        Err(error) => end.peer.connection_error(&error),
    };
    reports.send(Net::Closed(error)).await;
}

/// Returns why the stream ended; nothing when this side is done with it.
async fn write_control(mut send: SendStream, mut frames: mpsc::Receiver<Vec<u8>>) -> Option<String> {
    while let Some(frame) = frames.recv().await {
        if let Err(error) = send.write_all(&frame).await {
            return Some(error.to_string());
        }
    }
    let _ = send.finish();
    None
}

/// Sends a frame and ends the stream. A future that is dropped before resets it: dropping a stream alone finishes it, and
/// the hub would take a part of a frame for a malformed one and close the connection.
pub(super) async fn send_whole(send: SendStream, frame: &[u8]) -> Result<(), WriteError> {
    let mut send = Unfinished(Some(send));
    if let Some(stream) = &mut send.0 {
        stream.write_all(frame).await?;
    }
    if let Some(mut stream) = send.0.take() {
        stream.finish()?;
    }
    Ok(())
}

/// A stream that resets when it is dropped.
struct Unfinished(Option<SendStream>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(mut stream) = self.0.take() {
            // It may be closed: then nobody waits for its end.
            let _ = stream.reset(VarInt::from_u32(0));
        }
    }
}

async fn run_batch(
    connection: Connection,
    id: BatchId,
    frame: Vec<u8>,
    reports: Reports,
    frame_bytes_max: usize,
) {
    if let Ok((send, recv)) = connection.open_bi().await
        && send_whole(send, &frame).await.is_ok()
    {
        drop(frame);
        read_frames(recv, &mut FrameDecoder::new(frame_bytes_max), &reports).await;
    }
    reports.send(Net::BatchEnded(id)).await;
}

/// Reports frames until the stream ends; returns why it did.
async fn read_frames(mut recv: RecvStream, decoder: &mut FrameDecoder, reports: &Reports) -> String {
    loop {
        match decoder.next_frame() {
            Ok(Some(frame)) => {
                let net = Net::Frame(frame.kind, frame.body.to_vec());
                if !reports.send(net).await {
                    return "the client is gone".into();
                }
                continue;
            }
            Ok(None) => {}
            Err(error) => return error.to_string(),
        }
        match recv.read_chunk(READ_BYTES, true).await {
            Ok(Some(chunk)) => decoder.push(&chunk.bytes),
            Ok(None) => return "the hub ended the stream".into(),
            Err(error) => return error.to_string(),
        }
    }
}

/// Bytes taken from a stream at a time.
pub(super) const READ_BYTES: usize = 64 * 1024;
