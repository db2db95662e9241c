//! NDJSON: one JSON object per line. Numbers keep all their digits; blank lines are skipped.

use super::block::{Block, Found};
use super::faults::{Fault, Place};
use super::lines::Lines;
use super::text::Records;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

/// Records that are looked at for a file's columns.
const INFER: usize = 1024;

/// The records of a file, one at a time.
pub(super) struct Objects {
    lines: Lines<BufReader<File>>,
    /// Positions of the columns that are wanted.
    wanted: HashMap<String, usize>,
    columns: usize,
}

impl Objects {
    /// Opens a file. `names`: its columns by position.
    pub fn open(path: &Path, names: &[String]) -> io::Result<Self> {
        let wanted = names.iter().enumerate().map(|(at, name)| (name.clone(), at)).collect();
        Ok(Self { lines: Lines::open(path)?, wanted, columns: names.len() })
    }
}

impl Records for Objects {
    fn advance(&mut self) -> io::Result<bool> {
        while self.lines.advance()? {
            if !self.lines.text().trim_ascii().is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn place(&self) -> Place {
        Place::Line(self.lines.number())
    }

    fn bytes(&self) -> usize {
        self.lines.text().len()
    }

    fn fill(&self, block: &mut Block<'_>) -> Result<(), Fault> {
        let mut reader = serde_json::Deserializer::from_slice(self.lines.text().trim_ascii_end());
        let object = Object { wanted: &self.wanted, columns: self.columns };
        let values = object.deserialize(&mut reader).and_then(|values| reader.end().map(|()| values));
        let values = values.map_err(|error| Fault::malformed(message(&error)))?;
        block.push_row(|at| found(values.get(at).copied().flatten()))
    }
}

/// The columns of the file's first records, in the order in which they come up.
pub(super) fn names(path: &Path) -> io::Result<Vec<String>> {
    let mut objects = Objects::open(path, &[])?;
    let mut names: Vec<String> = Vec::new();
    let mut known = HashMap::new();
    for _ in 0..INFER {
        if !objects.advance()? {
            break;
        }
        // What is no object is told with its line when its turn comes.
        let record: Result<serde_json::Map<String, serde_json::Value>, _> =
            serde_json::from_slice(objects.lines.text());
        for name in record.into_iter().flat_map(|record| record.into_iter().map(|(name, _)| name)) {
            if known.insert(name.clone(), ()).is_none() {
                names.push(name);
            }
        }
    }
    Ok(names)
}

/// The words of a JSON error without its line, which is always the first.
fn message(error: &serde_json::Error) -> String {
    let words = error.to_string();
    let words = words.split(" at line ").next().unwrap_or_default();
    if error.column() > 0 { format!("{words} at byte {}", error.column()) } else { words.into() }
}

fn found(raw: Option<&RawValue>) -> Result<Found<'_>, Fault> {
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
            let text = serde_json::from_str(raw).map_err(|error| Fault::malformed(message(&error)))?;
            Found::Text(Cow::Owned(text))
        }
        _ => Found::Number(raw),
    })
}

/// A record's values by position.
struct Object<'a> {
    wanted: &'a HashMap<String, usize>,
    columns: usize,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = Vec<Option<&'de RawValue>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Vec<Option<&'de RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = vec![None; self.columns];
        while let Some(column) = map.next_key_seed(Key(self.wanted))? {
            match column.and_then(|at| values.get_mut(at)) {
                Some(slot @ None) => *slot = Some(map.next_value()?),
                Some(Some(_)) => return Err(A::Error::custom("a column is given twice")),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(values)
    }
}

/// The position of a key, without copying it.
struct Key<'a>(&'a HashMap<String, usize>);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.get(key).copied())
    }
}
