//! Just enough of Rust's lexical grammar to tell code from comments, strings and characters.
//!
//! Invariant: [`code`] keeps every line break, so line numbers in its answer are the file's.

/// The source with comments and the insides of literals turned into spaces.
pub fn code(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = at + token_to_blank(&bytes[at..], at.checked_sub(1).map(|i| bytes[i]));
        if end == at {
            at += 1;
            continue;
        }
        out[at..end].iter_mut().filter(|b| **b != b'\n').for_each(|b| *b = b' ');
        at = end;
    }
    String::from_utf8(out).unwrap_or_default()
}

/// The length of the comment or literal that starts here; 0 when none does.
fn token_to_blank(rest: &[u8], before: Option<u8>) -> usize {
    let in_word = before.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment(rest),
        [b'"', ..] => 1 + quoted(&rest[1..], b'"'),
        [b'r', b'"' | b'#', ..] if !in_word => raw_string(rest, 1),
        [b'b', b'r', b'"' | b'#', ..] if !in_word => raw_string(rest, 2),
        [b'\'', b'\\', ..] => 1 + quoted(&rest[1..], b'\''),
        [b'\'', _, b'\'', ..] => 3,
        [b'\'', first, ..] if !first.is_ascii() => 1 + quoted(&rest[1..], b'\''),
        _ => 0,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0);
    while at < rest.len() {
        match rest[at..] {
            [b'/', b'*', ..] => (at, depth) = (at + 2, depth + 1),
            [b'*', b'/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length up to and with the closing quote.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 0;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b if b == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// `r"..."`, `r#"..."#`, ...; 0 for a raw identifier such as `r#type`.
fn raw_string(rest: &[u8], prefix: usize) -> usize {
    let hashes = rest[prefix..].iter().take_while(|&&b| b == b'#').count();
    if rest.get(prefix + hashes) != Some(&b'"') {
        return 0;
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let body = prefix + hashes + 1;
    let end = rest[body..].windows(close.len()).position(|w| w == close);
    end.map_or(rest.len(), |i| body + i + close.len())
}

/// The words of code: identifiers, keywords, numbers, with the byte where each starts.
pub fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + code[at..].find(is_word)?;
        let end = code[start..].find(|c| !is_word(c)).map_or(code.len(), |i| start + i);
        at = end;
        Some((start, &code[start..end]))
    })
}

/// The 1-based line of a byte.
pub fn line_of(code: &str, byte: usize) -> usize {
    code[..byte].matches('\n').count() + 1
}

/// Functions with bodies: name, first line, number of lines from `fn` to the closing brace.
pub fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    let mut all = words(code).peekable();
    while let Some((at, word)) = all.next() {
        let Some(&(name_at, name)) = all.peek() else { break };
        if word != "fn" || !code[at + 2..name_at].trim().is_empty() {
            continue; // `fn(u8)` is a type: no name follows
        }
        if let Some(end) = body_end(code, name_at) {
            let first = line_of(code, at);
            found.push((name.to_owned(), first, line_of(code, end) - first + 1));
        }
    }
    found
}

/// The byte of the closing brace of the function whose signature starts at `from`; `None` without a body.
fn body_end(code: &str, from: usize) -> Option<usize> {
    let (mut round, mut curly) = (0i32, 0i32);
    for (i, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => round += 1,
            b')' | b']' => round -= 1,
            b';' if round == 0 && curly == 0 => return None,
            b'{' => curly += 1,
            b'}' => {
                curly -= 1;
                if curly == 0 {
                    return Some(i);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{code, functions};

    #[test]
    fn literals_and_comments_are_not_code() {
        let source =
            "let a = \"dbg!\"; // dbg!\nlet b = 'd'; /* dbg! /* x */ y */ let c = r#\"dbg!\"#; &'a x";
        let code = code(source);
        assert!(!code.contains("dbg!") && code.contains("let c") && code.contains("&'a x"), "{code}");
        assert_eq!(code.len(), source.len());
    }

    #[test]
    fn a_function_is_as_long_as_its_lines() {
        let code = code("trait T { fn none(&self) -> [u8; 3]; }\nfn two(f: fn(u8)) {\n\"}\";\n}\n");
        assert_eq!(functions(&code), [("two".to_owned(), 2, 3)]);
    }
}
