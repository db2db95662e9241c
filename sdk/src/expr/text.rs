//! Text functions. Positions and lengths count characters (Unicode scalar values), from 1.

use super::cast::put_hex;
use super::kernel::{Cell, buffer};
use super::md5::md5;
use crate::limits::COMPUTED_BYTES_MAX;
use crate::plan::Function as F;
use crate::value::column::{ColumnData, Slot};
use alloc::vec::Vec;

/// One function on one row.
pub(super) fn call(function: F, cells: &[Cell<'_>], out: &mut ColumnData) -> Result<(), Slot> {
    match (function, cells) {
        (F::Length, [s]) => Cell::Int(s.text()?.chars().count() as i64).put(out),
        (F::OctetLength, [s]) => Cell::Int(s.bytes()?.len() as i64).put(out),
        (F::StrPos, [s, part]) => Cell::Int(position(s.text()?, part.text()?)).put(out),
        (F::StartsWith, [s, prefix]) => Cell::Bool(s.bytes()?.starts_with(prefix.bytes()?)).put(out),
        _ => put_text(function, cells, buffer(out)?),
    }
}

fn put_text(function: F, cells: &[Cell<'_>], out: &mut Vec<u8>) -> Result<(), Slot> {
    let start = out.len();
    let part = match (function, cells) {
        (F::Lower | F::Upper, [s]) => return put_case(s.text()?, function == F::Upper, out),
        (F::Concat, _) => {
            for cell in cells.iter().filter(|c| !c.is_null()) {
                append(cell.bytes()?, start, out)?;
            }
            return Ok(());
        }
        (F::Replace, [s, from, to]) => return put_replaced(s.text()?, from.text()?, to.text()?, out),
        (F::Md5, [s]) => {
            md5(s.bytes()?).into_iter().for_each(|byte| put_hex(byte, out));
            return Ok(());
        }
        (F::Trim | F::LTrim | F::RTrim, [s, chars @ ..]) => {
            let chars = chars.first().map_or(Ok(" "), |c| c.text())?;
            trim(s.text()?, chars, function)
        }
        (F::Substr, [s, from, count @ ..]) => {
            let count = count.first().map(|c| c.int()).transpose()?;
            substr(s.text()?, from.int()?, count)?
        }
        (F::Left, [s, n]) => left_right(s.text()?, n.int()?, true),
        (F::Right, [s, n]) => left_right(s.text()?, n.int()?, false),
        (F::SplitPart, [s, delimiter, n]) => split_part(s.text()?, delimiter.text()?, n.int()?)?,
        _ => return Err(Slot::Domain),
    };
    out.extend_from_slice(part.as_bytes());
    Ok(())
}

fn put_case(s: &str, upper: bool, out: &mut Vec<u8>) -> Result<(), Slot> {
    if s.is_ascii() {
        let case = if upper { u8::to_ascii_uppercase } else { u8::to_ascii_lowercase };
        out.extend(s.bytes().map(|b| case(&b)));
        return Ok(());
    }
    out.extend_from_slice(if upper { s.to_uppercase() } else { s.to_lowercase() }.as_bytes());
    Ok(())
}

fn put_replaced(s: &str, from: &str, to: &str, out: &mut Vec<u8>) -> Result<(), Slot> {
    let (start, mut end) = (out.len(), 0);
    if !from.is_empty() {
        for (at, found) in s.match_indices(from) {
            append(&s.as_bytes()[end..at], start, out)?;
            append(to.as_bytes(), start, out)?;
            end = at + found.len();
        }
    }
    append(&s.as_bytes()[end..], start, out)
}

/// Adds to the value that begins at `start`, unless it would become too long.
pub(super) fn append(bytes: &[u8], start: usize, out: &mut Vec<u8>) -> Result<(), Slot> {
    if out.len() - start + bytes.len() > COMPUTED_BYTES_MAX {
        return Err(Slot::Overflow);
    }
    out.extend_from_slice(bytes);
    Ok(())
}

fn position(s: &str, part: &str) -> i64 {
    s.find(part).map_or(0, |at| s[..at].chars().count() as i64 + 1)
}

fn trim<'a>(s: &'a str, chars: &str, function: F) -> &'a str {
    let s = if function == F::RTrim { s } else { s.trim_start_matches(|c| chars.contains(c)) };
    if function == F::LTrim { s } else { s.trim_end_matches(|c| chars.contains(c)) }
}

/// The byte where character `n` (from 0) starts, or the end.
fn byte_of(s: &str, n: i64) -> usize {
    // A large `n` may not fit the 32 bits of WASM: it is past every end.
    let n = usize::try_from(n.max(0)).unwrap_or(usize::MAX);
    s.char_indices().nth(n).map_or(s.len(), |(at, _)| at)
}

/// Characters `from` up to (without) `from + count`; positions before 1 are counted but empty.
fn substr(s: &str, from: i64, count: Option<i64>) -> Result<&str, Slot> {
    let end = match count {
        Some(count) if count < 0 => return Err(Slot::Domain),
        Some(count) => from.saturating_add(count).saturating_sub(1),
        None => i64::MAX,
    };
    let start = byte_of(s, from.saturating_sub(1));
    Ok(&s[start..byte_of(s, end).max(start)])
}

/// The first (or last) `n` characters; with a negative `n`, all but the last (or first) of them.
fn left_right(s: &str, n: i64, left: bool) -> &str {
    let all = s.chars().count() as i64;
    let keep = if n < 0 { all.saturating_add(n).max(0) } else { n.min(all) };
    if left { &s[..byte_of(s, keep)] } else { &s[byte_of(s, all - keep)..] }
}

/// The `n`th field, from 1, or from the end with a negative `n`; empty when there is none.
fn split_part<'a>(s: &'a str, delimiter: &str, n: i64) -> Result<&'a str, Slot> {
    let nth = usize::try_from(n.unsigned_abs()).unwrap_or(usize::MAX);
    if n == 0 {
        return Err(Slot::Domain);
    }
    if delimiter.is_empty() {
        return Ok(if nth == 1 { s } else { "" });
    }
    let field = if n > 0 { s.split(delimiter).nth(nth - 1) } else { s.rsplit(delimiter).nth(nth - 1) };
    Ok(field.unwrap_or(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Prevents: one event with two long texts that ends its program by asking for 4 GB.
    #[test]
    fn texts_that_grow_have_an_end() {
        let (long, short) = ("a".repeat(COMPUTED_BYTES_MAX / 2), "b".repeat(3));
        let mut out = b"before".to_vec();
        assert_eq!(put_replaced(&long, "a", &long, &mut out), Err(Slot::Overflow));
        assert!(out.len() <= 6 + COMPUTED_BYTES_MAX, "it stops where it is too long, not afterwards");
        out.truncate(6);
        assert_eq!(put_replaced(&long, "a", "bb", &mut out), Ok(()), "as long as may be");
        assert_eq!(out.len(), 6 + COMPUTED_BYTES_MAX);
        let cells =
            [Cell::Bytes(long.as_bytes()), Cell::Bytes(long.as_bytes()), Cell::Bytes(short.as_bytes())];
        assert_eq!(put_text(F::Concat, &cells[..2], &mut Vec::new()), Ok(()));
        assert_eq!(put_text(F::Concat, &cells, &mut Vec::new()), Err(Slot::Overflow));
    }
}
