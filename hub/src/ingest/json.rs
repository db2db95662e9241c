//! Values of lines of JSON, as columns take them. Numbers keep all their digits.

use headwater::emit::Cell;
use headwater::value::DataType;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A value as text formats have it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Found<'a> {
    /// NULL.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as it is written.
    Number(&'a str),
    /// Text.
    Text(Cow<'a, str>),
    /// An array or an object.
    Nested,
}

impl Found<'_> {
    /// The value for a column of this type; `None` for arrays and objects.
    pub(crate) fn cell(&self, data_type: &DataType) -> Option<Cell<'_>> {
        Some(match self {
            Self::Null => Cell::Null,
            Self::Bool(v) => Cell::Bool(*v),
            Self::Text(text) => Cell::Text(text),
            // All digits count where the column is a number; elsewhere only whole ones mean something.
            Self::Number(text) if data_type.is_numeric() => Cell::Text(text),
            Self::Number(text) => match text.parse() {
                Ok(v) => Cell::Int(v),
                Err(_) => Cell::Float(text.parse().unwrap_or(f64::INFINITY)),
            },
            Self::Nested => return None,
        })
    }
}

/// Reads a value; nothing is NULL.
///
/// # Errors
/// The words of what is wrong with a text.
pub(crate) fn found(raw: Option<&RawValue>) -> Result<Found<'_>, String> {
    let Some(raw) = raw.map(RawValue::get) else { return Ok(Found::Null) };
    Ok(match raw.as_bytes() {
        b"null" => Found::Null,
        b"true" => Found::Bool(true),
        b"false" => Found::Bool(false),
        [b'[' | b'{', ..] => Found::Nested,
        [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => {
            Found::Text(Cow::Borrowed(&raw[1..raw.len() - 1]))
        }
        [b'"', ..] => {
            let text = serde_json::from_str(raw).map_err(|error| message(&error))?;
            Found::Text(Cow::Owned(text))
        }
        _ => Found::Number(raw),
    })
}

/// The words of a JSON error without its line, which is always the first.
pub(crate) fn message(error: &serde_json::Error) -> String {
    let words = error.to_string();
    let words = words.split(" at line ").next().unwrap_or_default();
    let words = match words.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected ")) {
        // serde's words for what JSON calls otherwise.
        Some(("sequence", wanted)) => format!("{wanted} is expected, not an array"),
        Some(("map", wanted)) => format!("{wanted} is expected, not an object"),
        Some((found, wanted)) => format!("{wanted} is expected, not {found}"),
        None if matches!(words, "expected ident" | "expected value") => "this is no JSON".into(),
        None => words.into(),
    };
    if error.column() > 0 { format!("{words} at byte {}", error.column()) } else { words }
}
