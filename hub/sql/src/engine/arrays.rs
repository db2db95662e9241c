//! Arrays as text: `{1,NULL,"a \"b\""}`.

use std::iter::Peekable;
use std::str::Chars;

/// The items of an array of one dimension, without quotes; `None` when it is no such array.
pub fn array_items(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut items = Vec::new();
    let mut chars = inner.chars().peekable();
    if inner.trim().is_empty() {
        return Some(items);
    }
    loop {
        let (item, more) = array_item(&mut chars)?;
        items.push(item);
        if !more {
            return Some(items);
        }
    }
}

/// An item, and whether a comma follows.
fn array_item(chars: &mut Peekable<Chars<'_>>) -> Option<(Option<String>, bool)> {
    while chars.next_if(|c| c.is_whitespace()).is_some() {}
    let mut item = String::new();
    if chars.next_if_eq(&'"').is_some() {
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => item.push(chars.next()?),
                c => item.push(c),
            }
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        return match chars.next() {
            None => Some((Some(item), false)),
            Some(',') => Some((Some(item), true)),
            Some(_) => None,
        };
    }
    let more = loop {
        match chars.next() {
            None => break false,
            Some(',') => break true,
            Some('{' | '}' | '"') => return None,
            Some('\\') => item.push(chars.next()?),
            Some(c) => item.push(c),
        }
    };
    match item.trim_end() {
        "" => None,
        null if null.eq_ignore_ascii_case("null") => Some((None, more)),
        item => Some((Some(item.to_owned()), more)),
    }
}
