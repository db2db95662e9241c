//! A client that sends bytes, and reads messages.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// A connection.
pub struct Raw(pub TcpStream);

impl Raw {
    /// Connects, and says nothing.
    pub fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        Self(stream)
    }

    /// A session that is ready.
    pub fn session(to: SocketAddr) -> Self {
        let mut raw = Self::connect(to);
        raw.start(b"user\0me\0");
        assert_eq!(raw.until(b'Z').last().map(|m| m.1.clone()), Some(b"I".to_vec()));
        raw
    }

    /// A start-up message with these parameters.
    pub fn start(&mut self, parameters: &[u8]) {
        let body = [&[0, 3, 0, 0][..], parameters, b"\0"].concat();
        let length = (body.len() as u32 + 4).to_be_bytes();
        self.send(&[&length[..], &body].concat());
    }

    /// Bytes as they are. Whether the hub still takes them does not matter.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    /// A message.
    pub fn message(&mut self, kind: u8, body: &[u8]) {
        let length = (body.len() as u32 + 4).to_be_bytes();
        self.send(&[&[kind][..], &length, body].concat());
    }

    /// A simple query.
    pub fn query(&mut self, sql: &str) -> Vec<(u8, Vec<u8>)> {
        self.message(b'Q', &[sql.as_bytes(), b"\0"].concat());
        self.until(b'Z')
    }

    /// The next message; `None` when the hub has closed.
    pub fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.0.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes(head[1..].try_into().expect("four bytes")) as usize;
        let mut body = vec![0; length - 4];
        self.0.read_exact(&mut body).ok()?;
        Some((head[0], body))
    }

    /// All messages up to one of this kind, or to the end.
    pub fn until(&mut self, kind: u8) -> Vec<(u8, Vec<u8>)> {
        let mut messages = Vec::new();
        while let Some(message) = self.next() {
            let is_last = message.0 == kind;
            messages.push(message);
            if is_last {
                break;
            }
        }
        messages
    }

    /// True when the hub closes the connection.
    pub fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

/// The kinds of messages, in order.
pub fn kinds(messages: &[(u8, Vec<u8>)]) -> String {
    messages.iter().map(|message| char::from(message.0)).collect()
}

/// The SQLSTATE of the first error.
pub fn code(messages: &[(u8, Vec<u8>)]) -> String {
    let Some((_, body)) = messages.iter().find(|message| message.0 == b'E') else { return String::new() };
    let field = body.split(|byte| *byte == 0).find(|field| field.first() == Some(&b'C'));
    field.map_or(String::new(), |field| String::from_utf8_lossy(&field[1..]).into_owned())
}
