//! LIKE and ILIKE: `%` any text, `_` one character, backslash makes the next character plain.

use crate::value::column::Slot;

/// Matches without recursion: after a mismatch only the last `%` can take one character more.
pub(super) fn like(text: &str, pattern: &str, case_insensitive: bool) -> Result<bool, Slot> {
    if case_insensitive {
        return like(&text.to_lowercase(), &pattern.to_lowercase(), false);
    }
    let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
    let (mut t, mut p) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(p) {
            Some(b'%') => {
                p += 1;
                retry = Some((t, p));
                continue;
            }
            None if t == text.len() => return Ok(true),
            None => None,
            Some(b'_') => text.get(t).map(|first| (width(*first), 1)),
            Some(b'\\') => match pattern.get(p + 1) {
                None => return Err(Slot::Domain),
                Some(plain) => (text.get(t) == Some(plain)).then_some((1, 2)),
            },
            Some(plain) => (text.get(t) == Some(plain)).then_some((1, 1)),
        };
        match (step, retry) {
            (Some((dt, dp)), _) => (t, p) = (t + dt, p + dp),
            (None, Some((from, after))) if from < text.len() => {
                t = from + width(text[from]);
                p = after;
                retry = Some((t, after));
            }
            (None, _) => return Ok(false),
        }
    }
}

/// Bytes of the UTF-8 character that starts with `first`.
fn width(first: u8) -> usize {
    match first {
        0xf0.. => 4,
        0xe0.. => 3,
        0xc0.. => 2,
        _ => 1,
    }
}
