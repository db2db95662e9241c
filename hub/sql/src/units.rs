//! PostgreSQL's names of units of time: singular, plural and short (`deltatktbl` of its `datetime.c`).
//!
//! One table for definitions and queries, so that both accept what PostgreSQL accepts and nothing else. It has no
//! `quarters`: neither has PostgreSQL.

use crate::error::SqlError;
use crate::suggest::did_you_mean;

/// What an evaluator calls a unit, and everything else it is called. As in PostgreSQL, only ten characters count.
const UNITS: [(&str, &[&str]); 13] = [
    ("microseconds", &["microsecon", "us", "usec", "usecond", "useconds", "usecs"]),
    ("milliseconds", &["millisecon", "ms", "msec", "msecond", "mseconds", "msecs"]),
    ("second", &["seconds", "s", "sec", "secs"]),
    ("minute", &["minutes", "m", "min", "mins"]),
    ("hour", &["hours", "h", "hr", "hrs"]),
    ("day", &["days", "d"]),
    ("week", &["weeks", "w"]),
    ("month", &["months", "mon", "mons"]),
    ("quarter", &["qtr"]),
    ("year", &["years", "y", "yr", "yrs"]),
    ("decade", &["decades", "dec", "decs"]),
    ("century", &["centuries", "c", "cent"]),
    ("millennium", &["millennia", "mil", "mils"]),
];

/// Fields of `date_part` and EXTRACT that are no units.
const FIELDS: [&str; 8] = ["dow", "doy", "epoch", "isodow", "isoyear", "julian", "timezone", "timezone_hour"];

/// Length of a token that counts.
const TOKEN_MAX: usize = 10;

/// The unit of `date_trunc` that a name stands for.
pub(crate) fn unit(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    let cut = |s: &str| s.chars().take(TOKEN_MAX).collect::<String>();
    let token = cut(&name);
    let is = |unit: &&(&'static str, &[&str])| cut(unit.0) == token || unit.1.iter().any(|n| *n == token);
    UNITS.iter().find(is).map(|(canonical, _)| *canonical)
}

/// The field of `date_part` that a name stands for.
pub(crate) fn field(name: &str) -> Option<&'static str> {
    let lower = name.to_lowercase();
    unit(name).or_else(|| FIELDS.iter().find(|f| **f == lower).copied())
}

/// Fields that an interval has not: they need a day of the calendar.
const OF_DAYS: [&str; 8] = ["dow", "doy", "isodow", "isoyear", "julian", "timezone", "timezone_hour", "week"];

/// `0A000` for the field of `date_part` that no interval has, in PostgreSQL's words.
pub(crate) fn check_interval(field: &str) -> Result<(), SqlError> {
    if !OF_DAYS.contains(&field) {
        return Ok(());
    }
    Err(SqlError::new("0A000", format!("unit \"{field}\" not supported for type interval")))
}

/// `22023`: no unit has this name.
pub(crate) fn unknown(name: &str) -> SqlError {
    let names = UNITS.iter().flat_map(|(n, _)| [*n]).chain(FIELDS);
    SqlError::new("22023", format!("unit \"{name}\" is not recognised"))
        .with_hint_opt(did_you_mean(name, names))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_have_the_names_that_postgresql_has() {
        let same = [
            ("minutes", "minute"),
            ("HOURS", "hour"),
            ("secs", "second"),
            ("mons", "month"),
            ("microsecond", "microseconds"),
            ("millisecond", "milliseconds"),
            ("centuries", "century"),
            ("millennia", "millennium"),
            ("qtr", "quarter"),
            ("yrs", "year"),
        ];
        for (name, canonical) in same {
            assert_eq!(unit(name), Some(canonical), "{name}");
        }
        for name in ["quarters", "", "minuts", "epoch", "fortnight"] {
            assert_eq!(unit(name), None, "{name}");
        }
        assert_eq!((field("Epoch"), field("mins"), field("nonsense")), (Some("epoch"), Some("minute"), None));
        assert_eq!(unknown("minuts").hint.as_deref(), Some("did you mean \"minute\"?"));
    }
}
