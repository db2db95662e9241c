//! `json_object_int_sum(text)`: PipelineDB's sum of the integers of JSON objects, by name.
//!
//! State: how many integers were added and the exact sum for each name, or "full" once there are more than `cap` names
//! (or 2^64 - 1 integers). Identity: nothing. Merge: addition by name; full absorbs. Exact, or an error when finished:
//! sums widen to 256 bits and are held against bigint at the end. A text counts as a whole or not at all: it must be
//! one JSON object whose values are integers of 64 bits or null (which adds nothing), with names of at most 1,024 bytes;
//! any other text, like NULL, is passed over. A name that comes twice in a text is added twice.
//! Bytes: 0 for full; else 1 + number of names (varint) and, unless there are none, how many integers were added
//! (varint) and for each name, ascending: its key bytes and its wide sum.

#[cfg(feature = "finish")]
use super::column::key_value;
use super::column::{State, StateColumn, admit_key, read_key, valid_rows};
#[cfg(feature = "finish")]
use super::{FinishError, Finisher, json};
use crate::codec::{DecodeError, Reader, Writer};
use crate::limits::VALUE_BYTES_MAX;
use crate::sketch::key::Key;
use crate::sketch::wide::Wide;
#[cfg(feature = "finish")]
use crate::value::Value;
use crate::value::column::{Column, ColumnData};
use crate::value::{DataType, key};
use alloc::vec::Vec;
use hashbrown::HashMap;

/// Sums by name, by group.
pub(super) type JsonSumStates = StateColumn<JsonSum>;

/// The sums so far.
#[derive(Clone, Default)]
pub(super) struct JsonSum {
    full: bool,
    /// Integers added.
    count: u64,
    sums: HashMap<Key, Wide>,
}

impl JsonSum {
    fn add(&mut self, name: &[u8], sum: &Wide, cap: u32) {
        match self.sums.get_mut(name) {
            Some(mine) => mine.add_wide(sum),
            None => drop(self.sums.insert(name.into(), *sum)),
        }
        if self.sums.len() > cap as usize {
            self.fill();
        }
    }

    fn count_more(&mut self, count: u64) {
        self.count = self.count.saturating_add(count);
        if self.count == u64::MAX {
            self.fill();
        }
    }

    fn fill(&mut self) {
        *self = Self { full: true, ..Self::default() };
    }

    fn sorted(&self) -> Vec<(&[u8], &Wide)> {
        let mut sorted: Vec<_> = self.sums.iter().map(|(name, sum)| (name.as_bytes(), sum)).collect();
        sorted.sort_unstable_by_key(|(name, _)| *name);
        sorted
    }
}

impl State for JsonSum {
    type Params = u32;

    fn empty(_: &u32) -> Self {
        Self::default()
    }

    fn update(states: &mut [Self], cap: &u32, rows: &[u32], groups: &[u32], args: &[&Column]) {
        let [column] = args else { return };
        let ColumnData::Bytes(texts) = &column.data else { return };
        let mut pairs = Vec::new();
        let mut name_key = Vec::new();
        valid_rows(rows, groups, column, |row, group| {
            pairs.clear();
            if (Text { rest: texts.get(row) }).object(&mut pairs).is_none() {
                return;
            }
            let state = &mut states[group];
            for (name, value) in &pairs {
                if state.full {
                    return;
                }
                name_key.clear();
                key::put_text(name, &mut name_key);
                let mut sum = Wide::default();
                sum.add(i128::from(*value));
                state.add(&name_key, &sum, *cap);
            }
            if !state.full {
                state.count_more(pairs.len() as u64);
            }
        });
    }

    fn merge(&mut self, cap: &u32, other: &Self) {
        if other.full {
            self.fill();
        }
        for (name, sum) in &other.sums {
            if self.full {
                return;
            }
            self.add(name.as_bytes(), sum, *cap);
        }
        if !self.full {
            self.count_more(other.count);
        }
    }

    fn encode(&self, _: &u32, out: &mut Vec<u8>) {
        if self.full {
            return out.push(0);
        }
        out.put_varint(self.sums.len() as u64 + 1);
        if !self.sums.is_empty() {
            out.put_varint(self.count);
        }
        for (name, sum) in self.sorted() {
            out.extend_from_slice(name);
            sum.encode(out);
        }
    }

    fn decode(cap: &u32, bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut state = Self::default();
        let Some(len) = bytes.varint()?.checked_sub(1) else {
            state.fill();
            return Ok(state);
        };
        if len > u64::from(*cap) {
            return Err(DecodeError::TooLarge("names"));
        }
        state.count = if len == 0 { 0 } else { bytes.varint()? };
        if state.count < len || state.count == u64::MAX {
            return Err(DecodeError::Invalid("number of integers"));
        }
        let mut before: &[u8] = &[];
        for _ in 0..len {
            before = read_key(&DataType::Text, before, bytes)?;
            let sum = Wide::decode(bytes)?;
            if !sum.within(state.count, 1 << 63) {
                return Err(DecodeError::Invalid("sum above what its count allows"));
            }
            state.sums.insert(before.into(), sum);
        }
        Ok(state)
    }

    /// One event may bring many integers, and never fewer than none: what they number bounds what they sum to.
    fn admit(&self, _: &u32) -> Result<u64, DecodeError> {
        self.sums.keys().try_for_each(|name| admit_key(name.as_bytes()))?;
        Ok(self.count)
    }

    fn heap_bytes(&self) -> usize {
        let entry = core::mem::size_of::<(Key, Wide)>() + 1;
        self.sums.capacity() * entry + self.sums.keys().map(Key::heap_bytes).sum::<usize>()
    }

    #[cfg(feature = "finish")]
    fn finish(&self, cap: &u32, finisher: &Finisher) -> Result<Value, FinishError> {
        if *finisher != Finisher::Value {
            return Err(FinishError::Mismatch);
        }
        if self.full {
            return Err(FinishError::CollectionFull(*cap));
        }
        if self.sums.is_empty() {
            return Ok(Value::Null);
        }
        let pair = |(name, sum): (&[u8], &Wide)| match sum.to_i128().map(i64::try_from) {
            Some(Ok(sum)) => Ok((key_value(name, &DataType::Text), Value::Int(sum))),
            _ => Err(FinishError::OutOfRange("bigint")),
        };
        let pairs = self.sorted().into_iter().map(pair).collect::<Result<Vec<_>, _>>()?;
        Ok(Value::Text(json::object(pairs.into_iter(), &DataType::Text, &DataType::Int64)))
    }
}

/// What is left of a JSON text. Nothing recurses: an object of integers has no depth.
struct Text<'a> {
    rest: &'a [u8],
}

impl Text<'_> {
    /// The members of the one object that the text is; `None` when it is anything else.
    fn object(mut self, pairs: &mut Vec<(Vec<u8>, i64)>) -> Option<()> {
        self.expect(b'{')?;
        if self.peek() != Some(b'}') {
            loop {
                let name = self.string()?;
                self.expect(b':')?;
                if let Some(value) = self.integer()? {
                    pairs.push((name, value));
                }
                if self.peek() != Some(b',') {
                    break;
                }
                self.expect(b',')?;
            }
        }
        self.expect(b'}')?;
        self.peek().is_none().then_some(())
    }

    /// The next byte that is not white.
    fn peek(&mut self) -> Option<u8> {
        let blank = self.rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.rest = &self.rest[blank..];
        self.rest.first().copied()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.rest = &self.rest[1..])
    }

    fn next(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    /// A whole number of 64 bits, or `None` for null.
    fn integer(&mut self) -> Option<Option<i64>> {
        self.peek()?;
        if let Some(rest) = self.rest.strip_prefix(b"null") {
            self.rest = rest;
            return Some(None);
        }
        let digits = self.rest.iter().skip(1).take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = self.rest.split_at(1 + digits);
        let plain = number.strip_prefix(b"-").unwrap_or(number);
        let canonical =
            plain.first().is_some_and(u8::is_ascii_digit) && (plain[0] != b'0' || plain.len() == 1);
        if !canonical || matches!(rest.first(), Some(b'.' | b'e' | b'E')) {
            return None;
        }
        self.rest = rest;
        core::str::from_utf8(number).ok()?.parse().ok().map(Some)
    }

    /// A name, without its quotes and escapes.
    fn string(&mut self) -> Option<Vec<u8>> {
        self.expect(b'"')?;
        let mut out = Vec::new();
        loop {
            match self.next()? {
                b'"' => break,
                b'\\' => self.escape(&mut out)?,
                0..0x20 => return None,
                byte => out.push(byte),
            }
        }
        (out.len() <= VALUE_BYTES_MAX).then_some(out)
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let byte = match self.next()? {
            byte @ (b'"' | b'\\' | b'/') => byte,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let first = self.unit()?;
                let code = match first {
                    0xd800..0xdc00 => {
                        let second =
                            (self.next()? == b'\\' && self.next()? == b'u').then(|| self.unit())??;
                        0x1_0000
                            + ((first - 0xd800) << 10)
                            + second.checked_sub(0xdc00).filter(|low| *low < 0x400)?
                    }
                    _ => first,
                };
                // PostgreSQL's json_each refuses U+0000, too.
                let c = char::from_u32(code).filter(|c| *c != '\0')?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Some(());
            }
            _ => return None,
        };
        out.push(byte);
        Some(())
    }

    fn unit(&mut self) -> Option<u32> {
        (0..4).try_fold(0, |unit, _| Some(unit << 4 | char::from(self.next()?).to_digit(16)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn read(text: &str) -> Option<Vec<(Vec<u8>, i64)>> {
        let mut pairs = Vec::new();
        Text { rest: text.as_bytes() }.object(&mut pairs).map(|()| pairs)
    }

    fn pair(name: &str, value: i64) -> (Vec<u8>, i64) {
        (name.into(), value)
    }

    #[test]
    fn objects_of_integers_are_read() {
        assert_eq!(read("{}"), Some(vec![]));
        assert_eq!(read(" { \"a\" : 1 , \"a\":-2,\"b\":null }\n"), Some(vec![pair("a", 1), pair("a", -2)]));
        assert_eq!(read("{\"\\u00e9\\ud83d\\ude00\\n\\\"\":0}"), Some(vec![pair("\u{e9}\u{1f600}\n\"", 0)]));
        let most = "{\"x\":9223372036854775807,\"y\":-9223372036854775808}";
        assert_eq!(read(most), Some(vec![pair("x", i64::MAX), pair("y", i64::MIN)]));
    }

    #[test]
    fn everything_else_is_passed_over_as_a_whole() {
        let texts = [
            "",
            "1",
            "[1]",
            "{",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\":1}}",
            "{\"a\":1.5}",
            "{\"a\":1e2}",
            "{\"a\":01}",
            "{\"a\":-}",
            "{\"a\":+1}",
            "{\"a\":\"1\"}",
            "{\"a\":{}}",
            "{\"a\":true}",
            "{a:1}",
            "{\"a\":9223372036854775808}",
            "{\"a\\x\":1}",
            "{\"\\ud800\":1}",
            "{\"\\u0000\":1}",
            "{\"a\u{1}\":1}",
        ];
        for text in texts {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
