//! Where statements end in what was typed or read.
//!
//! Owns: the lexical rules that hide a semicolon: quotes, dollar quotes, comments. Must not know: grammar.

/// Cuts whole statements (without their semicolon) off the front of `text`; what is left is unfinished.
/// Blank statements are left out.
pub(super) fn split(text: &str) -> (Vec<&str>, &str) {
    let mut statements = Vec::new();
    let mut rest = text;
    while let Some(end) = statement_end(rest) {
        let statement = rest[..end].trim();
        if !is_blank(statement) {
            statements.push(statement);
        }
        rest = &rest[end + 1..];
    }
    (statements, rest)
}

/// True when there is nothing but blanks and comments.
pub(super) fn is_blank(text: &str) -> bool {
    let mut rest = text.trim_start();
    while let Some(length) = comment(rest) {
        rest = rest[length..].trim_start();
    }
    rest.is_empty()
}

/// True when `text` ends inside of quotes or a comment, so that the next line belongs to them.
pub(super) fn is_open(text: &str) -> bool {
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        match token(&text[at..], c) {
            Some(length) => at += length,
            None => return true,
        }
    }
    false
}

/// The position of the first semicolon that ends a statement.
fn statement_end(text: &str) -> Option<usize> {
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        if c == ';' {
            return Some(at);
        }
        at += token(&text[at..], c)?;
    }
    None
}

/// The length of the token at the start of `text`; `None` when it has no end yet.
fn token(text: &str, first: char) -> Option<usize> {
    match first {
        '\'' | '"' => quoted(text, first),
        '-' | '/' => match comment(text) {
            Some(length) if length == text.len() && !is_closed(text) => None,
            Some(length) => Some(length),
            None => Some(1),
        },
        '$' => dollar(text),
        c if c.is_alphanumeric() || c == '_' => {
            // A whole word: a dollar sign inside it quotes nothing.
            let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'));
            Some(end.unwrap_or(text.len()))
        }
        c => Some(c.len_utf8()),
    }
}

/// A doubled quote is two quoted texts in a row: both end where the other begins.
fn quoted(text: &str, quote: char) -> Option<usize> {
    text[1..].find(quote).map(|at| at + 2)
}

fn dollar(text: &str) -> Option<usize> {
    let tag_end = text[1..].find('$').map(|at| at + 2);
    let Some(tag_end) =
        tag_end.filter(|end| text[1..end - 1].chars().all(|c| c.is_alphanumeric() || c == '_'))
    else {
        return Some(1);
    };
    let tag = &text[..tag_end];
    text[tag_end..].find(tag).map(|at| tag_end + at + tag.len())
}

/// The length of the comment at the start of `text`, up to its end or the end of the text.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("--") {
        return Some(text.find('\n').map_or(text.len(), |at| at + 1));
    }
    if !text.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (1, 2);
    while depth > 0 {
        let (open, close) = (text[at..].find("/*"), text[at..].find("*/"));
        match (open, close) {
            (Some(open), Some(close)) if open < close => (depth, at) = (depth + 1, at + open + 2),
            (_, Some(close)) => (depth, at) = (depth - 1, at + close + 2),
            (_, None) => return Some(text.len()),
        }
    }
    Some(at)
}

/// A comment that reaches the end of the text is finished when a line break or its mark ends it.
fn is_closed(comment: &str) -> bool {
    if comment.starts_with("--") { comment.ends_with('\n') } else { comment.ends_with("*/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_comments_go_on_in_the_next_line() {
        for text in ["SELECT 'a\n", "SELECT \"a\n", "SELECT $$ ;\n", "/* \n", "x; SELECT 'a;\n"] {
            assert!(is_open(text), "{text:?}");
        }
        for text in ["", "SELECT\n", "SELECT 'a' -- 'b\n", "SELECT $1\n", "/* 'a */\n"] {
            assert!(!is_open(text), "{text:?}");
        }
    }

    #[test]
    fn semicolons_end_statements_only_outside_of_quotes_and_comments() {
        for (text, statements, rest) in [
            ("SELECT 1; SELECT 2", vec!["SELECT 1"], " SELECT 2"),
            ("SELECT ';'; x", vec!["SELECT ';'"], " x"),
            ("SELECT 'it''s;'; ", vec!["SELECT 'it''s;'"], " "),
            ("SELECT \"a;b\";", vec!["SELECT \"a;b\""], ""),
            ("SELECT 1 -- no; end\n;", vec!["SELECT 1 -- no; end"], ""),
            ("SELECT /* ; /* ; */ ; */ 1;", vec!["SELECT /* ; /* ; */ ; */ 1"], ""),
            ("SELECT $$;$$, $a$;$$;$a$;", vec!["SELECT $$;$$, $a$;$$;$a$"], ""),
            ("SELECT 'open;", vec![], "SELECT 'open;"),
            ("SELECT 3 - 2 / 1; y", vec!["SELECT 3 - 2 / 1"], " y"),
            (";;  ; -- c\n;", vec![], ""),
            ("SELECT '\u{e4};\u{f6}';", vec!["SELECT '\u{e4};\u{f6}'"], ""),
        ] {
            assert_eq!(split(text), (statements, rest), "{text}");
        }
    }

    #[test]
    fn comments_alone_are_nothing() {
        assert!(is_blank(" -- a\n /* b */ ") && is_blank("") && !is_blank("x -- a"));
    }
}
