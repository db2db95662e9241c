//! Messages of the hub, written to a buffer.
//!
//! Owns: their layout (PostgreSQL's documentation, "Message Formats", protocol 3.0). Must not know: sockets, when
//! messages are due.

use super::message::Format;
use super::types;
use bytes::{BufMut, BytesMut};
use headwater::schema::Field;
use headwater_sql::SqlError;

/// Where a session is between statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// In no transaction block.
    Idle,
    /// In one.
    Block,
    /// In one that failed.
    Failed,
}

/// Who is told, and what it means for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The statement failed.
    Error,
    /// The connection ends.
    Fatal,
    /// Something to know.
    Warning,
    /// Something to know that is no fault.
    Notice,
}

impl Severity {
    fn name(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
            Self::Warning => "WARNING",
            Self::Notice => "NOTICE",
        }
    }
}

/// A buffer of messages on their way.
#[derive(Debug, Default)]
pub struct Replies(pub BytesMut);

impl Replies {
    /// A message: its kind, its length, what `body` writes.
    pub fn put(&mut self, kind: u8, body: impl FnOnce(&mut BytesMut)) {
        self.0.put_u8(kind);
        let at = self.0.len();
        self.0.put_i32(0);
        body(&mut self.0);
        let length = u32::try_from(self.0.len() - at).unwrap_or(u32::MAX);
        self.0[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }

    /// Who you are is settled.
    pub fn authenticated(&mut self) {
        self.put(b'R', |body| body.put_i32(0));
    }

    /// Prove it by one of these mechanisms.
    pub fn sasl(&mut self, mechanisms: &[&str]) {
        self.put(b'R', |body| {
            body.put_i32(10);
            mechanisms.iter().for_each(|mechanism| text(body, mechanism));
            body.put_u8(0);
        });
    }

    /// A step of the mechanism; `last`: of the hub.
    pub fn sasl_step(&mut self, said: &str, last: bool) {
        self.put(b'R', |body| {
            body.put_i32(if last { 12 } else { 11 });
            body.put_slice(said.as_bytes());
        });
    }

    /// The protocol's minor version is not spoken here, nor are these options.
    pub fn negotiate(&mut self, options: &[&str]) {
        self.put(b'v', |body| {
            body.put_i32(3 << 16);
            body.put_i32(i32::try_from(options.len()).unwrap_or(i32::MAX));
            options.iter().for_each(|option| text(body, option));
        });
    }

    /// A setting and its value.
    pub fn parameter(&mut self, name: &str, value: &str) {
        self.put(b'S', |body| {
            text(body, name);
            text(body, value);
        });
    }

    /// What a cancel request of this session must say.
    pub fn key(&mut self, process: i32, secret: i32) {
        self.put(b'K', |body| {
            body.put_i32(process);
            body.put_i32(secret);
        });
    }

    /// Ready for the next statement.
    pub fn ready(&mut self, status: Status) {
        let status = match status {
            Status::Idle => b'I',
            Status::Block => b'T',
            Status::Failed => b'E',
        };
        self.put(b'Z', |body| body.put_u8(status));
    }

    /// A message that is its kind alone: `1` parsed, `2` bound, `3` closed, `n` no columns, `s` suspended,
    /// `I` an empty statement, `c` the end of COPY.
    pub fn plain(&mut self, kind: u8) {
        self.put(kind, |_| {});
    }

    /// A statement is done.
    pub fn complete(&mut self, tag: &str) {
        self.put(b'C', |body| text(body, tag));
    }

    /// The types of a statement's parameters.
    pub fn parameters(&mut self, oids: &[u32]) {
        self.put(b't', |body| {
            body.put_u16(u16::try_from(oids.len()).unwrap_or(u16::MAX));
            oids.iter().for_each(|oid| body.put_u32(*oid));
        });
    }

    /// The columns of rows to come.
    pub fn columns(&mut self, fields: &[Field], formats: &[Format]) {
        self.put(b'T', |body| {
            body.put_u16(u16::try_from(fields.len()).unwrap_or(u16::MAX));
            for (at, field) in fields.iter().enumerate() {
                text(body, &field.name);
                // Of no table that the client could look up.
                body.put_i32(0);
                body.put_i16(0);
                body.put_u32(types::oid(&field.data_type));
                body.put_i16(types::size(&field.data_type));
                body.put_i32(types::modifier(&field.data_type));
                body.put_i16(i16::from(format_of(formats, at) == Format::Binary));
            }
        });
    }

    /// Rows come as lines.
    pub fn copy_out(&mut self, columns: usize, format: Format) {
        self.put(b'H', |body| {
            let code = u8::from(format == Format::Binary);
            body.put_u8(code);
            body.put_u16(u16::try_from(columns).unwrap_or(u16::MAX));
            (0..columns).for_each(|_| body.put_u16(u16::from(code)));
        });
    }

    /// Lines are waited for.
    pub fn copy_in(&mut self, columns: usize) {
        self.put(b'G', |body| {
            body.put_u8(0);
            body.put_u16(u16::try_from(columns).unwrap_or(u16::MAX));
            (0..columns).for_each(|_| body.put_u16(0));
        });
    }

    /// An error, or a notice.
    pub fn error(&mut self, severity: Severity, error: &SqlError) {
        let kind = if matches!(severity, Severity::Warning | Severity::Notice) { b'N' } else { b'E' };
        let position = error.position.map(|position| position.to_string());
        let fields = [
            (b'S', Some(severity.name())),
            (b'V', Some(severity.name())),
            (b'C', Some(error.code)),
            (b'M', Some(error.message.as_str())),
            (b'H', error.hint.as_deref()),
            (b'P', position.as_deref()),
        ];
        self.put(kind, |body| {
            for (name, value) in fields {
                let Some(value) = value else { continue };
                body.put_u8(name);
                text(body, value);
            }
            body.put_u8(0);
        });
    }
}

/// Of none all columns are text; one is for all.
pub fn format_of(formats: &[Format], column: usize) -> Format {
    match formats {
        [] => Format::Text,
        [one] => *one,
        each => each.get(column).copied().unwrap_or(Format::Text),
    }
}

/// A text up to its end; a zero within would end it early.
fn text(body: &mut BytesMut, text: &str) {
    body.extend(text.bytes().filter(|byte| *byte != 0));
    body.put_u8(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_their_fields() {
        let mut replies = Replies::default();
        let error = SqlError::new("42601", "no\0pe").at(Some(3)).with_hint("yes");
        replies.error(Severity::Error, &error);
        assert_eq!(&replies.0[..], &b"E\0\0\0\x28SERROR\0VERROR\0C42601\0Mnope\0Hyes\0P3\0\0"[..]);
    }

    #[test]
    fn lengths_count_themselves() {
        let mut replies = Replies::default();
        replies.ready(Status::Failed);
        replies.plain(b'1');
        replies.complete("SELECT 1");
        assert_eq!(&replies.0[..], &b"Z\0\0\0\x05E1\0\0\0\x04C\0\0\0\rSELECT 1\0"[..]);
    }
}
