//! Buckets of time with a time zone, an origin or an offset, and PipelineDB's `date_round`.
//!
//! All of them are plain buckets of a time that is shifted, and shifted back. So producers need nothing new.

use crate::error::SqlError;
use headwater::expr::is_bucket_width;
use headwater::value::Interval;

/// Where plain buckets of days and less begin: 2000-01-03, a Monday.
const ORIGIN_US: i64 = 946_857_600_000_000;
/// Where PostgreSQL's time begins, and `date_round`'s: 2000-01-01.
const EPOCH_US: i64 = 946_684_800_000_000;

/// How `time_bucket` is asked to place its buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Placing {
    /// Of the time zone: how far its clocks are ahead of UTC, microseconds.
    pub(crate) zone_us: i64,
    /// A time at which a bucket begins.
    pub(crate) origin_us: Option<i64>,
    /// By how much all of them are moved.
    pub(crate) offset: Option<Interval>,
}

/// By how much plain buckets of `width` have to be moved.
///
/// # Errors
/// `22023` for a width, origin or offset that makes no sense; `0A000` for what cannot be shifted.
pub(crate) fn shift(width: Interval, placing: &Placing) -> Result<Interval, SqlError> {
    check_width(width)?;
    let micros = |micros| Interval { months: 0, days: 0, micros };
    if let Some(offset) = placing.offset {
        return match placing.origin_us.is_some() || placing.zone_us != 0 {
            true => Err(SqlError::unsupported("an offset beside an origin or a time zone in time_bucket")),
            false => Ok(offset),
        };
    }
    if width.months == 0 {
        let width_us = i64::from(width.days) * 86_400_000_000 + width.micros;
        let shift = match placing.origin_us {
            Some(origin) => origin.rem_euclid(width_us) - ORIGIN_US.rem_euclid(width_us),
            None => -placing.zone_us,
        };
        return Ok(micros(shift.rem_euclid(width_us)));
    }
    match placing.origin_us {
        None => Ok(micros(-placing.zone_us)),
        Some(_) if placing.zone_us != 0 => {
            Err(SqlError::unsupported("an origin beside a time zone in time_bucket of months"))
        }
        Some(origin) => months_to(width.months, origin).map(|months| Interval { months, days: 0, micros: 0 }),
    }
}

/// Months from the first plain bucket to the one that begins at `origin`.
fn months_to(width: i32, origin: i64) -> Result<i32, SqlError> {
    let single = Interval { months: 1, days: 0, micros: 0 };
    let start = |width, micros| headwater::expr::time_bucket(width, micros);
    if start(single, origin) != Some(origin) {
        return Err(SqlError::new("22023", "the origin of buckets of months must be the first of a month"));
    }
    let moved =
        |months: i32| headwater::expr::add_interval(origin, Interval { months: -months, days: 0, micros: 0 });
    let wide = Interval { months: width, days: 0, micros: 0 };
    let fits = |months: &i32| moved(*months).is_some_and(|time| start(wide, time) == Some(time));
    (0..width).find(fits).ok_or_else(|| SqlError::new("22023", "the origin of time_bucket is out of range"))
}

/// How `date_round` places its buckets.
pub(crate) fn rounding(width: Interval) -> Placing {
    match width.months {
        0 => Placing { origin_us: Some(EPOCH_US), ..Placing::default() },
        _ => Placing::default(),
    }
}

pub(crate) fn check_width(width: Interval) -> Result<(), SqlError> {
    match is_bucket_width(width) {
        true => Ok(()),
        false => Err(SqlError::new(
            "22023",
            "the width of time_bucket must be positive, and either months or days and time",
        )),
    }
}

/// How far a time zone is ahead of UTC, microseconds; `None` for a text that names none.
///
/// # Errors
/// `0A000` for a zone with rules.
pub(crate) fn zone(name: &str) -> Result<Option<i64>, SqlError> {
    let lower = name.trim().to_lowercase();
    if ["utc", "gmt", "z", "etc/utc", "etc/gmt"].contains(&lower.as_str()) {
        return Ok(Some(0));
    }
    if let Some(offset) = fixed_offset(&lower) {
        return Ok(Some(offset));
    }
    let is_named = lower.contains('/') || (lower.len() > 2 && lower.chars().all(|c| c.is_ascii_alphabetic()));
    if !is_named {
        return Ok(None);
    }
    let hint = "'UTC' or a fixed offset such as '+02:00': producers have no table of time zones";
    Err(SqlError::unsupported(format!("time zone \"{name}\"")).with_hint(hint))
}

/// `+02`, `-0330`, `+05:45`
fn fixed_offset(text: &str) -> Option<i64> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let digits: String = rest.chars().filter(|c| *c != ':').collect();
    let is_written = matches!(rest.len(), 1 | 2 | 4) || (rest.len() == 5 && rest.as_bytes()[2] == b':');
    if !is_written || !digits.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes) = digits.split_at(digits.len().min(2));
    let (hours, minutes): (i64, i64) =
        (hours.parse().ok()?, if minutes.is_empty() { 0 } else { minutes.parse().ok()? });
    (hours <= 15 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000_000;

    fn interval(months: i32, days: i32, micros: i64) -> Interval {
        Interval { months, days, micros }
    }

    #[test]
    fn zones_are_fixed_offsets() {
        assert_eq!(zone("UTC"), Ok(Some(0)));
        assert_eq!(zone("+02:00"), Ok(Some(7_200_000_000)));
        assert_eq!(zone("-0330"), Ok(Some(-12_600_000_000)));
        assert_eq!(zone("+5"), Ok(Some(18_000_000_000)));
        assert_eq!(zone("2020-01-01"), Ok(None));
        assert_eq!(zone("Europe/Berlin").map_err(|e| e.code), Err("0A000"));
    }

    #[test]
    fn shifts_are_within_a_bucket() {
        let origin = |micros| Placing { origin_us: Some(micros), ..Placing::default() };
        let week = interval(0, 7, 0);
        assert_eq!(shift(week, &Placing::default()), Ok(interval(0, 0, 0)));
        assert_eq!(shift(week, &origin(ORIGIN_US + 9 * DAY)), Ok(interval(0, 0, 2 * DAY)));
        assert_eq!(shift(week, &rounding(week)), Ok(interval(0, 0, 5 * DAY)));
        let hour = interval(0, 0, 3_600_000_000);
        assert_eq!(shift(hour, &rounding(hour)), Ok(interval(0, 0, 0)));
        let quarter = interval(3, 0, 0);
        // 2000-02-01
        assert_eq!(shift(quarter, &origin(EPOCH_US + 31 * DAY)), Ok(interval(1, 0, 0)));
        assert_eq!(shift(quarter, &origin(EPOCH_US + DAY)).map_err(|e| e.code), Err("22023"));
        assert_eq!(shift(interval(1, 1, 0), &Placing::default()).map_err(|e| e.code), Err("22023"));
    }
}
