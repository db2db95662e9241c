//! The one error of this crate, with what PostgreSQL's clients expect: SQLSTATE, position, hint.

use thiserror::Error;

/// A statement that was refused or failed.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{message}")]
pub struct SqlError {
    /// SQLSTATE: `42601` syntax, `42P01` unknown table, `42703` unknown column, `42883` unknown function,
    /// `42P07` already exists, `0A000` not supported, `22xxx` data, `53200` memory, `53300` too many statements,
    /// `54000` limit, `54001` too complex, `57014` out of time, `XX000` internal.
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

    /// Something this system does not do (`0A000`), by name.
    pub fn unsupported(what: impl AsRef<str>) -> Self {
        Self::new("0A000", format!("{} is not supported", what.as_ref()))
    }

    /// Something that a continuous view's definition cannot contain (`0A000`), by name.
    pub(crate) fn not_in_definition(what: impl AsRef<str>) -> Self {
        let what = what.as_ref();
        let hint = match what {
            "a subquery" => "keep what is looked up in a table, and join it when the view is read",
            "LIMIT or OFFSET" => "give it where the view is read: SELECT ... FROM view LIMIT n",
            "*" => "name the columns",
            _ => "",
        };
        let error = Self::new("0A000", format!("{what} is not supported in a continuous view's definition"));
        if hint.is_empty() { error } else { error.with_hint(hint) }
    }

    /// The same error at a 1-based character position; a position that is already known stays.
    #[must_use]
    pub fn at(mut self, position: Option<u32>) -> Self {
        self.position = self.position.or(position);
        self
    }

    /// The same error with advice; a hint that is already there stays.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// The same error with advice, if there is any.
    #[must_use]
    pub(crate) fn with_hint_opt(self, hint: Option<String>) -> Self {
        match hint {
            Some(hint) => self.with_hint(hint),
            None => self,
        }
    }
}
