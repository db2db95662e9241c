//! SQL for Headwater: definitions compiled to plans, queries over merged states.
//!
//! The only crate that names DataFusion. It never opens redb or a socket: the hub hands it a [`source::Source`].

pub mod definition;
pub mod source;

use thiserror::Error;

/// A statement that was refused or failed.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{message}")]
pub struct SqlError {
    /// SQLSTATE: `42601` syntax, `42P01` unknown table, `42703` unknown column, `42883` unknown function,
    /// `42P07` already exists, `0A000` not supported, `22xxx` data, `54000` limit, `57014` cancelled, `XX000` internal.
    pub code: &'static str,
    /// Lower-case, without a full stop.
    pub message: String,
    /// 1-based character position in the statement.
    pub position: Option<u32>,
    /// What to try.
    pub hint: Option<String>,
}

impl SqlError {
    /// An error without position or hint.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), position: None, hint: None }
    }
}
