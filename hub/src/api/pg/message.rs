//! Messages of clients, read from bytes of strangers.
//!
//! Owns: their layout (PostgreSQL's documentation, "Message Formats", protocol 3.0). Must not know: sockets, what
//! messages do.
//! Invariants: no input panics; nothing is allocated beyond what the input holds; a message is read to its last
//! byte or refused.

use bytes::{Buf, Bytes};
use thiserror::Error;

/// Why a message cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Too short, too long, or a field that cannot be.
    #[error("invalid message format: {0}")]
    Malformed(&'static str),
    /// A text that is not UTF-8.
    #[error("invalid byte sequence for encoding \"UTF8\"")]
    Encoding,
    /// A kind of message that clients do not send.
    #[error("invalid frontend message type {0}")]
    Kind(u8),
    /// A version of the protocol that the hub does not speak.
    #[error("unsupported frontend protocol {0}.{1}: server supports 3.0")]
    Version(u16, u16),
}

impl MessageError {
    /// Its SQLSTATE.
    pub fn code(self) -> &'static str {
        match self {
            Self::Encoding => "22021",
            Self::Version(..) => "0A000",
            _ => "08P01",
        }
    }
}

/// What a connection begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// The client would like TLS.
    Tls,
    /// The client would like GSSAPI.
    Gss,
    /// Stop what another connection runs.
    Cancel {
        /// Of that connection.
        process: i32,
        /// What proves that it may.
        secret: i32,
    },
    /// A session.
    Startup {
        /// Of protocol 3.
        minor: u16,
        /// user, database and settings, in order.
        parameters: Vec<(String, String)>,
    },
}

const TLS_CODE: u32 = 80_877_103;
const GSS_CODE: u32 = 80_877_104;
const CANCEL_CODE: u32 = 80_877_102;

/// Reads what follows the length of the first message.
pub fn opening(body: Bytes) -> Result<Opening, MessageError> {
    let mut fields = Fields(body);
    let opening = match fields.u32()? {
        TLS_CODE => Opening::Tls,
        GSS_CODE => Opening::Gss,
        CANCEL_CODE => Opening::Cancel { process: fields.i32()?, secret: fields.i32()? },
        version if version >> 16 == 3 => startup(&mut fields, version as u16)?,
        version => return Err(MessageError::Version((version >> 16) as u16, version as u16)),
    };
    fields.end()?;
    Ok(opening)
}

fn startup(fields: &mut Fields, minor: u16) -> Result<Opening, MessageError> {
    let mut parameters = Vec::new();
    loop {
        let name = fields.text()?;
        if name.is_empty() {
            return Ok(Opening::Startup { minor, parameters });
        }
        parameters.push((name, fields.text()?));
    }
}

/// A prepared statement or a portal, by name; empty is the unnamed one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A prepared statement.
    Statement(String),
    /// A portal.
    Portal(String),
}

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As text.
    Text,
    /// As PostgreSQL's send functions do.
    Binary,
}

/// Bind: values for a prepared statement make a portal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// The portal to make.
    pub portal: String,
    /// Of which statement.
    pub statement: String,
    /// Of values: none (all text), one for all, or one each.
    pub formats: Vec<Format>,
    /// The values; `None` is NULL.
    pub values: Vec<Option<Bytes>>,
    /// Of columns, in the same way.
    pub results: Vec<Format>,
}

/// A message of a client, once its session has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Statements to run.
    Query(String),
    /// Prepare a statement.
    Parse {
        /// Under this name.
        name: String,
        /// The text.
        text: String,
        /// Types of parameters, as far as they are told; 0 is not.
        types: Vec<u32>,
    },
    /// Make a portal.
    Bind(Box<Bind>),
    /// Tell parameters and columns.
    Describe(Target),
    /// Run a portal.
    Execute {
        /// Which one.
        portal: String,
        /// Rows to send before it is suspended; 0 is all.
        rows_max: u32,
    },
    /// Forget a statement or portal.
    Close(Target),
    /// Send what is there.
    Flush,
    /// The end of a round.
    Sync,
    /// Good bye.
    Terminate,
    /// Part of a dialogue about passwords.
    Password(Bytes),
    /// Rows of COPY FROM.
    CopyData(Bytes),
    /// Their end.
    CopyDone,
    /// Their end, gone wrong.
    CopyFail(String),
}

/// Reads a message's body.
pub fn message(kind: u8, body: Bytes) -> Result<Message, MessageError> {
    let mut fields = Fields(body);
    let message = match kind {
        b'Q' => Message::Query(fields.text()?),
        b'P' => parse(&mut fields)?,
        b'B' => Message::Bind(Box::new(bind(&mut fields)?)),
        b'D' => Message::Describe(target(&mut fields)?),
        b'C' => Message::Close(target(&mut fields)?),
        b'E' => {
            let portal = fields.text()?;
            // Zero and less is no limit.
            Message::Execute { portal, rows_max: u32::try_from(fields.i32()?).unwrap_or(0) }
        }
        b'H' => Message::Flush,
        b'S' => Message::Sync,
        b'X' => Message::Terminate,
        b'p' => Message::Password(fields.rest()),
        b'd' => Message::CopyData(fields.rest()),
        b'c' => Message::CopyDone,
        b'f' => Message::CopyFail(fields.text()?),
        kind => return Err(MessageError::Kind(kind)),
    };
    fields.end()?;
    Ok(message)
}

fn parse(fields: &mut Fields) -> Result<Message, MessageError> {
    let (name, text) = (fields.text()?, fields.text()?);
    let count = fields.u16()?;
    let types = (0..count).map(|_| fields.u32()).collect::<Result<_, _>>()?;
    Ok(Message::Parse { name, text, types })
}

fn bind(fields: &mut Fields) -> Result<Bind, MessageError> {
    let (portal, statement) = (fields.text()?, fields.text()?);
    let formats = formats(fields)?;
    let count = fields.u16()?;
    let values = (0..count).map(|_| fields.value()).collect::<Result<_, _>>()?;
    Ok(Bind { portal, statement, formats, values, results: self::formats(fields)? })
}

fn formats(fields: &mut Fields) -> Result<Vec<Format>, MessageError> {
    let count = fields.u16()?;
    let format = |code| match code {
        0 => Ok(Format::Text),
        1 => Ok(Format::Binary),
        _ => Err(MessageError::Malformed("a format code")),
    };
    (0..count).map(|_| fields.u16().and_then(format)).collect()
}

fn target(fields: &mut Fields) -> Result<Target, MessageError> {
    match fields.u8()? {
        b'S' => Ok(Target::Statement(fields.text()?)),
        b'P' => Ok(Target::Portal(fields.text()?)),
        _ => Err(MessageError::Malformed("neither a statement nor a portal")),
    }
}

/// The first message of SASL: the mechanism and what the client says.
pub fn sasl_initial(body: Bytes) -> Result<(String, Bytes), MessageError> {
    let mut fields = Fields(body);
    let mechanism = fields.text()?;
    let said = fields.value()?.ok_or(MessageError::Malformed("a mechanism without data"))?;
    fields.end()?;
    Ok((mechanism, said))
}

/// What is left of a message.
struct Fields(Bytes);

impl Fields {
    fn take(&mut self, bytes: usize) -> Result<Bytes, MessageError> {
        if bytes > self.0.len() {
            return Err(MessageError::Malformed("it ends too early"));
        }
        Ok(self.0.split_to(bytes))
    }

    fn u8(&mut self) -> Result<u8, MessageError> {
        Ok(self.take(1)?.get_u8())
    }

    fn u16(&mut self) -> Result<u16, MessageError> {
        Ok(self.take(2)?.get_u16())
    }

    fn u32(&mut self) -> Result<u32, MessageError> {
        Ok(self.take(4)?.get_u32())
    }

    fn i32(&mut self) -> Result<i32, MessageError> {
        Ok(self.take(4)?.get_i32())
    }

    /// A text up to its zero.
    fn text(&mut self) -> Result<String, MessageError> {
        let length = self.0.iter().position(|byte| *byte == 0);
        let length = length.ok_or(MessageError::Malformed("a text without an end"))?;
        let text = self.0.split_to(length);
        self.0.advance(1);
        std::str::from_utf8(&text).map(str::to_owned).map_err(|_| MessageError::Encoding)
    }

    /// A length and as many bytes; -1 is NULL.
    fn value(&mut self) -> Result<Option<Bytes>, MessageError> {
        match self.i32()? {
            -1 => Ok(None),
            length => {
                let length =
                    usize::try_from(length).map_err(|_| MessageError::Malformed("a negative length"))?;
                self.take(length).map(Some)
            }
        }
    }

    fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.0)
    }

    fn end(&self) -> Result<(), MessageError> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(MessageError::Malformed("bytes behind its end")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: u8, body: &'static [u8]) -> Result<Message, MessageError> {
        message(kind, Bytes::from_static(body))
    }

    #[test]
    fn openings() {
        let open = |body: &'static [u8]| opening(Bytes::from_static(body));
        assert_eq!(open(&[4, 210, 22, 47]), Ok(Opening::Tls));
        assert_eq!(open(&[4, 210, 22, 48]), Ok(Opening::Gss));
        let cancel = open(&[4, 210, 22, 46, 0, 0, 0, 7, 0, 0, 0, 9]);
        assert_eq!(cancel, Ok(Opening::Cancel { process: 7, secret: 9 }));
        let startup = open(b"\0\x03\0\x02user\0me\0database\0\0\0");
        let parameters = vec![("user".into(), "me".into()), ("database".into(), String::new())];
        assert_eq!(startup, Ok(Opening::Startup { minor: 2, parameters }));
        assert_eq!(open(&[0, 2, 0, 0]), Err(MessageError::Version(2, 0)));
        assert!(open(b"\0\x03\0\0user\0me\0").is_err() && open(&[4, 210, 22, 47, 0]).is_err());
    }

    #[test]
    fn messages() {
        assert_eq!(read(b'Q', b"SELECT 1\0"), Ok(Message::Query("SELECT 1".into())));
        let parse = Message::Parse { name: "a".into(), text: "b".into(), types: vec![23] };
        assert_eq!(read(b'P', b"a\0b\0\0\x01\0\0\0\x17"), Ok(parse));
        let bind = read(b'B', b"\0s\0\0\x01\0\x01\0\x02\xff\xff\xff\xff\0\0\0\x01x\0\0");
        let Ok(Message::Bind(bind)) = bind else { panic!("{bind:?}") };
        assert_eq!((bind.statement.as_str(), bind.formats.as_slice()), ("s", &[Format::Binary][..]));
        assert_eq!(bind.values, [None, Some(Bytes::from_static(b"x"))]);
        assert_eq!(read(b'D', b"Px\0"), Ok(Message::Describe(Target::Portal("x".into()))));
        let all = Message::Execute { portal: String::new(), rows_max: 0 };
        assert_eq!(read(b'E', b"\0\xff\xff\xff\xff"), Ok(all));
        assert_eq!(read(b'S', b""), Ok(Message::Sync));
    }

    #[test]
    fn hostile_bodies_are_refused() {
        for (kind, body) in [
            (b'Q', &b"SELECT 1"[..]),
            (b'Q', b"SELECT 1\0x"),
            (b'P', b"a\0b\0\xff\xff"),
            (b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff"),
            (b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe"),
            (b'B', b"\0\0\0\x01\0\x02\0\0\0\0"),
            (b'D', b"X\0"),
            (b'E', b"\0\0"),
            (b'S', b"x"),
            (b'C', b""),
        ] {
            assert!(matches!(read(kind, body), Err(MessageError::Malformed(_))), "{kind} {body:?}");
        }
        assert_eq!(read(b'Q', b"\xff\0"), Err(MessageError::Encoding));
        assert_eq!(read(b'~', b""), Err(MessageError::Kind(b'~')));
    }

    /// Every prefix of a message is an error or another message, and never a panic.
    #[test]
    fn truncated_messages_do_not_panic() {
        let bodies: [(u8, &'static [u8]); 4] = [
            (b'P', b"a\0b\0\0\x01\0\0\0\x17"),
            (b'B', b"p\0s\0\0\x01\0\x01\0\x02\xff\xff\xff\xff\0\0\0\x01x\0\x01\0\x01"),
            (b'E', b"\0\0\0\0\0"),
            (b'f', b"no\0"),
        ];
        for (kind, body) in bodies {
            for length in 0..body.len() {
                assert!(read(kind, &body[..length]).is_err(), "{kind} {length}");
            }
            for kind in 0..=u8::MAX {
                let _ = read(kind, body);
                let _ = sasl_initial(Bytes::from_static(body));
                let _ = opening(Bytes::from_static(body));
            }
        }
    }
}
