//! Rows that cannot be taken: where, why, how many.

use std::collections::BTreeMap;
use std::fmt;

/// Faults told one by one; of the others only the number.
const TOLD: usize = 10;

/// Why one row cannot be taken.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    /// As `emit` counts it: `wrong_type`, `malformed`, ...
    pub code: &'static str,
    /// What is wrong.
    pub what: String,
}

impl Fault {
    /// Text that is no row.
    pub fn malformed(what: impl Into<String>) -> Self {
        Self { code: "malformed", what: what.into() }
    }
}

/// Where a row is in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The line it begins in, from 1.
    Line(u64),
    /// Its number, from 1: files without lines.
    Row(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Row(row) => write!(f, "row {row}"),
        }
    }
}

/// All faults of a run of rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Faults {
    codes: BTreeMap<&'static str, u64>,
    first: Vec<String>,
}

impl Faults {
    /// Counts a row.
    pub fn add(&mut self, place: Place, fault: &Fault) {
        *self.codes.entry(fault.code).or_default() += 1;
        if self.first.len() < TOLD {
            self.first.push(format!("{place}, {} ({})", fault.what, fault.code));
        }
    }

    /// How many rows.
    pub fn rows(&self) -> u64 {
        self.codes.values().sum()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codes: Vec<String> = self.codes.iter().map(|(code, rows)| format!("{rows} {code}")).collect();
        let rows = self.rows();
        write!(f, "{rows} row{} cannot be taken ({})", if rows == 1 { "" } else { "s" }, codes.join(", "))?;
        for line in &self.first {
            write!(f, "\n  {line}")?;
        }
        let more = rows.saturating_sub(self.first.len() as u64);
        if more > 0 { write!(f, "\n  and {more} more") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_told_and_all_are_counted() {
        let mut faults = Faults::default();
        for line in 2..14 {
            faults.add(Place::Line(line), &Fault::malformed("column n: \"x\" cannot be read as bigint"));
        }
        faults.add(Place::Row(7), &Fault { code: "wrong_type", what: "column n: 1.5 is no bigint".into() });
        let told = faults.to_string();
        assert!(
            told.starts_with(
                "13 rows cannot be taken (12 malformed, 1 wrong_type)\n  line 2, column n: \"x\""
            )
        );
        assert!(told.ends_with("\n  and 3 more"), "{told}");
    }
}
