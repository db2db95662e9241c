//! NDJSON: one JSON object per line. Numbers keep all their digits; blank lines are skipped.

use super::block::Block;
use super::faults::{Fault, Place};
use super::lines::{Lines, Part};
use super::text::Records;
use crate::ingest::json::{found, message};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::path::Path;

/// Most columns of a file. Keys that are data would otherwise all be kept.
const COLUMNS_MAX: usize = 65_536;

/// The records of a file, one at a time.
pub(super) struct Objects {
    lines: Lines<Part>,
    /// Positions of the columns that are wanted.
    wanted: HashMap<String, usize>,
    columns: usize,
}

impl Objects {
    /// Opens the first `bytes` of a file. `names`: its columns by position.
    pub fn open(path: &Path, bytes: u64, names: &[String]) -> io::Result<Self> {
        let wanted = names.iter().enumerate().map(|(at, name)| (name.clone(), at)).collect();
        Ok(Self { lines: Lines::open(path, bytes)?, wanted, columns: names.len() })
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
        block.push_row(|at| found(values.get(at).copied().flatten()).map_err(Fault::malformed))
    }
}

/// The columns of all records, in the order in which they come up: one may be missing for long.
pub(super) fn names(path: &Path, bytes: u64) -> io::Result<Vec<String>> {
    let mut objects = Objects::open(path, bytes, &[])?;
    let (mut names, mut fault) = (Names::default(), None);
    while objects.advance()? {
        let mut reader = serde_json::Deserializer::from_slice(objects.lines.text());
        // What is no object is told with its line when its turn comes; where nothing is one, there is no turn.
        if let Err(error) = reader.deserialize_map(&mut names) {
            fault.get_or_insert_with(|| format!("line {}: {}", objects.lines.number(), message(&error)));
        }
        if names.ordered.len() > COLUMNS_MAX {
            let line = objects.lines.number();
            let message = format!("line {line}: more than {COLUMNS_MAX} different columns up to here");
            return Err(io::Error::other(message));
        }
    }
    match fault {
        _ if !names.ordered.is_empty() => Ok(names.ordered),
        Some(fault) => Err(io::Error::other(format!("{fault}; NDJSON has one JSON object per line"))),
        None => Err(io::Error::other("there are no columns: NDJSON has one JSON object per line")),
    }
}

/// Names of columns, each once.
#[derive(Default)]
struct Names {
    ordered: Vec<String>,
    known: HashSet<String>,
}

impl<'de> Visitor<'de> for &mut Names {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key_seed(&mut *self)?.is_some() {
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }

    fn visit_str<E>(self, name: &str) -> Result<(), E> {
        if !self.known.contains(name) {
            self.known.insert(name.into());
            self.ordered.push(name.into());
        }
        Ok(())
    }
}

/// A key of an object.
impl<'de> DeserializeSeed<'de> for &mut Names {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Those of the first 1,024 records only: a later one was dropped in silence.
    #[test]
    fn a_column_may_come_up_late() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("late.ndjson");
        let mut text = "{\"a\":1,\"b\":[{\"c\":2}]}\n".repeat(3_000);
        text.push_str("no object\n{\"a\":1,\"sp\\u00e4t\":2,\"broken\n[\"x\"]\n{\"last\":null}\n");
        std::fs::write(&path, text).expect("write");
        assert_eq!(names(&path, u64::MAX).expect("names"), ["a", "b", "sp\u{e4}t", "last"]);
        std::fs::write(&path, "[{\"a\":1}]\n").expect("write");
        let error = names(&path, u64::MAX).expect_err("an array").to_string();
        assert!(error.contains("line 1: ") && error.contains("one JSON object per line"), "{error}");
        let wide: String = (0..=COLUMNS_MAX).map(|n| format!("{{\"{n}\":0}}\n")).collect();
        std::fs::write(&path, wide).expect("write");
        let error = names(&path, u64::MAX).expect_err("too many").to_string();
        assert!(error.contains("line 65537: more than 65536"), "{error}");
    }
}
