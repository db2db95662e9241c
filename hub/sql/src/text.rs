//! The statement as it was typed, and where things are in it.
//!
//! Owns: the translation of sqlparser's line and column into a 1-based character position.

use datafusion::sql::sqlparser::ast::{Ident, ObjectName, ObjectNamePart, Spanned};
use datafusion::sql::sqlparser::tokenizer::{Location, Span};
use std::sync::Arc;

/// A whole SQL text; statements cut out of it keep pointing into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text(Arc<str>);

impl Text {
    pub(crate) fn new(sql: &str) -> Self {
        Self(sql.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The byte offset of a location; the end of the text for the empty location (end of input).
    pub(crate) fn byte(&self, at: Location) -> usize {
        if at.line == 0 {
            return self.0.len();
        }
        let line: usize = self.0.split_inclusive('\n').take(at.line as usize - 1).map(str::len).sum();
        let skip = at.column.saturating_sub(1) as usize;
        let rest = &self.0[line..];
        line + rest.char_indices().nth(skip).map_or(rest.len(), |(byte, _)| byte)
    }

    /// The 1-based character position of a location; `None` for the empty location.
    pub(crate) fn position(&self, at: Location) -> Option<u32> {
        (at.line != 0).then(|| self.position_of_byte(self.byte(at)))
    }

    /// The 1-based character position of a byte offset.
    pub(crate) fn position_of_byte(&self, byte: usize) -> u32 {
        let chars = self.0.get(..byte).map_or(0, |head| head.chars().count());
        u32::try_from(chars + 1).unwrap_or(u32::MAX)
    }

    /// The position just behind the text: where "end of input" is.
    pub(crate) fn end(&self) -> u32 {
        self.position_of_byte(self.0.len())
    }

    /// Where a piece of syntax starts.
    pub(crate) fn of(&self, node: &impl Spanned) -> Option<u32> {
        self.of_span(node.span())
    }

    /// Where a span starts.
    pub(crate) fn of_span(&self, span: Span) -> Option<u32> {
        self.position(span.start)
    }

    /// Where an identifier starts.
    pub(crate) fn of_ident(&self, ident: &Ident) -> Option<u32> {
        self.of_span(ident.span)
    }
}

/// A name as SQL folds it: lower case unless quoted.
pub(crate) fn fold(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

/// The folded parts of a possibly qualified name.
pub(crate) fn fold_name(name: &ObjectName) -> Vec<String> {
    let part = |part: &ObjectNamePart| part.as_ident().map_or_else(|| part.to_string(), fold);
    name.0.iter().map(part).collect()
}

/// An identifier in double quotes, so that SQL reads it back unchanged.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_across_lines() {
        let text = Text::new("s\u{e9}lect\n  \u{20ac}x");
        assert_eq!(text.position(Location { line: 1, column: 1 }), Some(1));
        assert_eq!(text.position(Location { line: 2, column: 4 }), Some(11));
        assert_eq!(text.position(Location { line: 0, column: 0 }), None);
        assert_eq!(text.end(), 12);
    }
}
