//! The statement as it was typed, and where things are in it.
//!
//! Owns: the translation of sqlparser's line and column into a 1-based character position.

use datafusion::sql::sqlparser::ast::{Ident, ObjectName, ObjectNamePart, Spanned};
use datafusion::sql::sqlparser::tokenizer::{Location, Span};
use std::sync::Arc;

/// A whole SQL text; statements cut out of it keep pointing into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text(Arc<Indexed>);

/// A text and where its lines and characters are, so that a position costs no walk through the text: every name
/// asks for one, and a statement may have a hundred thousand names.
#[derive(Debug, PartialEq, Eq)]
struct Indexed {
    sql: Box<str>,
    /// The number of the first character of each line.
    lines: Vec<usize>,
    /// The byte of each character whose number is a multiple of [`STEP`].
    marks: Vec<usize>,
    chars: usize,
}

/// Characters between two marks: what is walked at most.
const STEP: usize = 64;

impl Indexed {
    fn new(sql: &str) -> Self {
        let (mut lines, mut marks, mut chars) = (vec![0], Vec::with_capacity(sql.len() / STEP + 1), 0);
        for (byte, char) in sql.char_indices() {
            if chars % STEP == 0 {
                marks.push(byte);
            }
            chars += 1;
            if char == '\n' {
                lines.push(chars);
            }
        }
        Self { sql: sql.into(), lines, marks, chars }
    }

    /// The number of the character at a location.
    fn char_at(&self, at: Location) -> usize {
        let line = (at.line as usize).checked_sub(1).and_then(|line| self.lines.get(line));
        line.map_or(self.chars, |start| (start + at.column.saturating_sub(1) as usize).min(self.chars))
    }

    fn byte_of_char(&self, char: usize) -> usize {
        let Some(mark) = self.marks.get(char / STEP) else { return self.sql.len() };
        let rest = self.sql.get(*mark..).unwrap_or_default();
        rest.char_indices().nth(char % STEP).map_or(self.sql.len(), |(byte, _)| mark + byte)
    }

    /// The number of the character at a byte.
    fn char_of_byte(&self, byte: usize) -> usize {
        let Some(nth) = self.marks.partition_point(|mark| *mark <= byte).checked_sub(1) else { return 0 };
        let walked = self.sql.get(self.marks[nth]..byte).map_or(0, |walked| walked.chars().count());
        nth * STEP + walked
    }
}

impl Text {
    pub(crate) fn new(sql: &str) -> Self {
        Self(Arc::new(Indexed::new(sql)))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0.sql
    }

    /// The byte offset of a location; the end of the text for the empty location (end of input).
    pub(crate) fn byte(&self, at: Location) -> usize {
        self.0.byte_of_char(self.0.char_at(at))
    }

    /// The 1-based character position of a location; `None` for the empty location.
    pub(crate) fn position(&self, at: Location) -> Option<u32> {
        (at.line != 0).then(|| position(self.0.char_at(at)))
    }

    /// The 1-based character position of a byte offset.
    pub(crate) fn position_of_byte(&self, byte: usize) -> u32 {
        position(self.0.char_of_byte(byte))
    }

    /// The position just behind the text: where "end of input" is.
    pub(crate) fn end(&self) -> u32 {
        position(self.0.chars)
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

/// The 1-based position of a character.
fn position(char: usize) -> u32 {
    u32::try_from(char + 1).unwrap_or(u32::MAX)
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

    /// Bytes of every character, counted by walking: what the index must answer.
    #[test]
    fn the_index_answers_what_a_walk_would() {
        for sql in ["", "a", "\n\n", &"x".repeat(200), &"ab\u{e9}\n\u{20ac}".repeat(70), &"\n".repeat(65)] {
            let text = Text::new(sql);
            let (mut line, mut column) = (1, 1);
            for (nth, (byte, char)) in sql.char_indices().enumerate() {
                let at = Location { line, column };
                assert_eq!((text.byte(at), text.position(at)), (byte, Some(nth as u32 + 1)), "{at:?}");
                assert_eq!(text.position_of_byte(byte), nth as u32 + 1, "{byte}");
                (line, column) = if char == '\n' { (line + 1, 1) } else { (line, column + 1) };
            }
            assert_eq!(text.byte(Location { line, column }), sql.len());
            assert_eq!(text.byte(Location { line: line + 9, column }), sql.len());
            assert_eq!(text.end() as usize, sql.chars().count() + 1);
        }
    }
}
