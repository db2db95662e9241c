//! Calendar arithmetic in UTC: the proleptic Gregorian calendar as PostgreSQL keeps it.
//!
//! Owns: civil dates, truncation, fields, buckets, intervals. Must not know: columns, plans.
//! Units: days and microseconds since 1970-01-01; year 0 is 1 BC.

use crate::flavor::FUNCTIONS;
use crate::value::Interval;
use core::cmp::Ordering;

pub(super) const MICROS_PER_SECOND: i64 = 1_000_000;
pub(super) const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
const MICROS_PER_WEEK: i64 = 7 * MICROS_PER_DAY;
/// 2000-01-03, a Monday: where TimescaleDB's buckets of days and less start.
const BUCKET_ORIGIN: i64 = 10_959 * MICROS_PER_DAY;
/// January 2000 in months since year 0: where its buckets of months start.
const BUCKET_ORIGIN_MONTH: i64 = 2000 * 12;

/// Days since 1970-01-01 of a civil date. Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
pub(super) fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The civil date (year, month, day) of days since 1970-01-01; the inverse of [`days_from_civil`].
pub(super) fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

pub(super) fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Monday = 0.
fn weekday(days: i64) -> i64 {
    (days + 3).rem_euclid(7)
}

/// Times a fixed number of microseconds apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    /// Microseconds from one to the next; above 0.
    pub width: i64,
    /// One of them.
    origin: i64,
}

/// PostgreSQL's names of units of fixed length, as every build knows them.
const GRIDS: [(&str, i64); 5] = [
    ("second", MICROS_PER_SECOND),
    ("minute", 60 * MICROS_PER_SECOND),
    ("hour", 3600 * MICROS_PER_SECOND),
    ("day", MICROS_PER_DAY),
    ("week", MICROS_PER_WEEK),
];

/// Those that few use, and plurals.
const RARE_GRIDS: [(&str, i64); 11] = [
    ("microsecond", 1),
    ("microseconds", 1),
    ("us", 1),
    ("millisecond", 1000),
    ("milliseconds", 1000),
    ("ms", 1000),
    ("seconds", MICROS_PER_SECOND),
    ("minutes", 60 * MICROS_PER_SECOND),
    ("hours", 3600 * MICROS_PER_SECOND),
    ("days", MICROS_PER_DAY),
    ("weeks", MICROS_PER_WEEK),
];

impl Grid {
    /// The unit of this name, aligned to the epoch; weeks start on Monday.
    pub(super) fn named(name: &str) -> Option<Self> {
        let rare: &[(&str, i64)] = if FUNCTIONS { &RARE_GRIDS } else { &[] };
        let (_, width) = GRIDS.iter().chain(rare).find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        let origin = if *width == MICROS_PER_WEEK { BUCKET_ORIGIN } else { 0 };
        Some(Self { width: *width, origin })
    }

    /// Buckets without months.
    pub(super) fn buckets(width: Interval) -> Option<Self> {
        let micros = (i64::from(width.days) * MICROS_PER_DAY).checked_add(width.micros)?;
        (width.months == 0 && micros > 0).then_some(Self { width: micros, origin: BUCKET_ORIGIN })
    }

    /// The last of them at or before `micros`; `None` before the earliest timestamp.
    pub(super) fn truncate(self, micros: i64) -> Option<i64> {
        // Both remainders are below the width, so nothing overflows before the last step.
        let into = micros.rem_euclid(self.width) - self.origin.rem_euclid(self.width);
        micros.checked_sub(into.rem_euclid(self.width))
    }
}

/// What `date_trunc` truncates to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DateUnit {
    /// Of fixed length.
    Fixed(Grid),
    /// A number of months within a year: 1, 3 or 12.
    Months(i64),
    /// A number of years, and the remainder of the first year of each: 0 (decades) or 1.
    Years(i64, i64),
}

impl DateUnit {
    /// Reads PostgreSQL's names and their plurals.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        const NAMES: [(&str, DateUnit); 10] = [
            ("month", DateUnit::Months(1)),
            ("months", DateUnit::Months(1)),
            ("quarter", DateUnit::Months(3)),
            ("year", DateUnit::Months(12)),
            ("years", DateUnit::Months(12)),
            ("decade", DateUnit::Years(10, 0)),
            ("decades", DateUnit::Years(10, 0)),
            ("century", DateUnit::Years(100, 1)),
            ("centuries", DateUnit::Years(100, 1)),
            ("millennium", DateUnit::Years(1000, 1)),
        ];
        let calendar = || NAMES.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, unit)| *unit);
        Grid::named(name).map(Self::Fixed).or_else(calendar)
    }

    /// The start of the unit that holds `micros`; `None` before the earliest timestamp.
    pub(crate) fn truncate(self, micros: i64) -> Option<i64> {
        let days = micros.div_euclid(MICROS_PER_DAY);
        let start = match self {
            Self::Fixed(grid) => return grid.truncate(micros),
            Self::Months(count) => {
                let (year, month, _) = civil_from_days(days);
                days_from_civil(year, (month - 1) / count * count + 1, 1)
            }
            Self::Years(count, first) => {
                let (year, ..) = civil_from_days(days);
                days_from_civil((year - first).div_euclid(count) * count + first, 1, 1)
            }
        };
        start.checked_mul(MICROS_PER_DAY)
    }
}

/// The start of the decade (`years` 10), century (100) or millennium (1,000) that holds `micros`, as `date_trunc` has
/// it; `None` before the earliest timestamp.
#[cfg(feature = "finish")]
pub fn truncate_years(years: i64, micros: i64) -> Option<i64> {
    DateUnit::Years(years, i64::from(years != 10)).truncate(micros)
}

/// `date_trunc(unit, micros)`; `None` for what is no unit, and before the earliest timestamp.
#[cfg(feature = "finish")]
pub fn date_trunc(unit: &str, micros: i64) -> Option<i64> {
    DateUnit::parse(unit)?.truncate(micros)
}

/// True for the widths that `time_bucket` takes.
#[cfg(feature = "finish")]
pub fn is_bucket_width(width: Interval) -> bool {
    bucket_is_valid(width)
}

/// `time_bucket(width, micros)`; `None` for what is no width, and before the earliest timestamp.
#[cfg(feature = "finish")]
pub fn time_bucket(width: Interval, micros: i64) -> Option<i64> {
    bucket_is_valid(width).then(|| bucket(width, micros)).flatten()
}

/// What `date_part` and `extract` read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum DateField {
    Century,
    Day,
    Decade,
    Dow,
    Doy,
    Epoch,
    Hour,
    IsoDow,
    IsoYear,
    Julian,
    Microseconds,
    Millennium,
    Milliseconds,
    Minute,
    Month,
    Quarter,
    Second,
    Timezone,
    Week,
    Year,
}

impl DateField {
    /// Reads PostgreSQL's names.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        use DateField as F;
        const NAMES: [(&str, DateField); 25] = [
            ("century", F::Century),
            ("day", F::Day),
            ("days", F::Day),
            ("decade", F::Decade),
            ("dow", F::Dow),
            ("doy", F::Doy),
            ("epoch", F::Epoch),
            ("hour", F::Hour),
            ("hours", F::Hour),
            ("isodow", F::IsoDow),
            ("isoyear", F::IsoYear),
            ("julian", F::Julian),
            ("microseconds", F::Microseconds),
            ("millennium", F::Millennium),
            ("milliseconds", F::Milliseconds),
            ("minute", F::Minute),
            ("minutes", F::Minute),
            ("month", F::Month),
            ("quarter", F::Quarter),
            ("second", F::Second),
            ("seconds", F::Second),
            ("timezone", F::Timezone),
            ("timezone_hour", F::Timezone),
            ("week", F::Week),
            ("year", F::Year),
        ];
        NAMES.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, f)| *f)
    }

    /// The field of a timestamp, in UTC.
    pub(crate) fn of_timestamp(self, micros: i64) -> f64 {
        let days = micros.div_euclid(MICROS_PER_DAY);
        let time = micros.rem_euclid(MICROS_PER_DAY);
        let (year, month, day) = civil_from_days(days);
        let whole = match self {
            Self::Epoch => return micros as f64 / 1e6,
            Self::Julian => return (days + 2_440_588) as f64 + time as f64 / MICROS_PER_DAY as f64,
            Self::Century => centuries(year, 100),
            Self::Millennium => centuries(year, 1000),
            Self::Decade => year.div_euclid(10),
            Self::Year => without_year_zero(year),
            Self::Quarter => (month + 2) / 3,
            Self::Month => month,
            Self::Day => day,
            Self::Dow => (weekday(days) + 1) % 7,
            Self::IsoDow => weekday(days) + 1,
            Self::Doy => days - days_from_civil(year, 1, 1) + 1,
            Self::Week => iso_week(days).1,
            Self::IsoYear => without_year_zero(iso_week(days).0),
            Self::Timezone => 0,
            _ => return self.of_time(time),
        };
        whole as f64
    }

    /// The field of an interval; `None` where PostgreSQL has none.
    pub(crate) fn of_interval(self, v: Interval) -> Option<f64> {
        let (years, months) = (v.months / 12, v.months % 12);
        let whole = match self {
            Self::Epoch => {
                let days = 365.25 * f64::from(years) + 30.0 * f64::from(months) + f64::from(v.days);
                return Some(v.micros as f64 / 1e6 + 86_400.0 * days);
            }
            Self::Millennium => years / 1000,
            Self::Century => years / 100,
            Self::Decade => years / 10,
            Self::Year => years,
            Self::Quarter => months / 3 + 1,
            Self::Month => months,
            Self::Day => v.days,
            Self::Hour => return Some((v.micros / (3600 * MICROS_PER_SECOND)) as f64),
            Self::Minute | Self::Second | Self::Milliseconds | Self::Microseconds => {
                return Some(self.of_time(v.micros));
            }
            _ => return None,
        };
        Some(f64::from(whole))
    }

    /// The fields of a time of day, also of a negative one.
    fn of_time(self, time: i64) -> f64 {
        let in_minute = time % (60 * MICROS_PER_SECOND);
        match self {
            Self::Hour => (time / (3600 * MICROS_PER_SECOND)) as f64,
            Self::Minute => (time / (60 * MICROS_PER_SECOND) % 60) as f64,
            Self::Second => in_minute as f64 / 1e6,
            Self::Milliseconds => in_minute as f64 / 1e3,
            _ => in_minute as f64,
        }
    }
}

/// There is no century (or millennium) 0.
fn centuries(year: i64, years: i64) -> i64 {
    if year > 0 { (year + years - 1) / years } else { -((years - year) / years) }
}

/// 1 BC is year 0 inside and -1 outside.
fn without_year_zero(year: i64) -> i64 {
    if year > 0 { year } else { year - 1 }
}

/// ISO 8601 year and week: the week belongs to the year that has its Thursday.
fn iso_week(days: i64) -> (i64, i64) {
    let thursday = days - weekday(days) + 3;
    let (year, ..) = civil_from_days(thursday);
    (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
}

/// A bucket's width is whole months, or days and microseconds; and positive.
pub(crate) fn bucket_is_valid(width: Interval) -> bool {
    match width.months {
        0 => Grid::buckets(width).is_some(),
        months => months > 0 && width.days == 0 && width.micros == 0,
    }
}

/// The start of the bucket that holds `micros`. `width` must be valid.
pub(super) fn bucket(width: Interval, micros: i64) -> Option<i64> {
    if width.months == 0 {
        return Grid::buckets(width)?.truncate(micros);
    }
    let (year, month, _) = civil_from_days(micros.div_euclid(MICROS_PER_DAY));
    let months = year * 12 + month - 1 - BUCKET_ORIGIN_MONTH;
    let width = i64::from(width.months);
    let start = months.div_euclid(width) * width + BUCKET_ORIGIN_MONTH;
    days_from_civil(start.div_euclid(12), start.rem_euclid(12) + 1, 1).checked_mul(MICROS_PER_DAY)
}

/// `timestamp + interval`: months first (clamped to the month's last day), then days, then microseconds.
pub fn add_interval(micros: i64, v: Interval) -> Option<i64> {
    let mut days = micros.div_euclid(MICROS_PER_DAY);
    let time = micros.rem_euclid(MICROS_PER_DAY);
    if v.months != 0 {
        let (year, month, day) = civil_from_days(days);
        let months = year * 12 + month - 1 + i64::from(v.months);
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
        days = days_from_civil(year, month, day.min(days_in_month(year, month)));
    }
    days += i64::from(v.days);
    // Near the ends of the range the days alone may not fit while the sum does.
    let total = i128::from(days) * i128::from(MICROS_PER_DAY) + i128::from(time) + i128::from(v.micros);
    i64::try_from(total).ok()
}

/// `timestamp - timestamp`: whole days, and the rest with the same sign.
pub(super) fn difference(a: i64, b: i64) -> Option<Interval> {
    let micros = a.checked_sub(b)?;
    Some(Interval { months: 0, days: (micros / MICROS_PER_DAY) as i32, micros: micros % MICROS_PER_DAY })
}

/// `interval + interval`, part by part.
pub(super) fn interval_add(a: Interval, b: Interval) -> Option<Interval> {
    Some(Interval {
        months: a.months.checked_add(b.months)?,
        days: a.days.checked_add(b.days)?,
        micros: a.micros.checked_add(b.micros)?,
    })
}

pub(super) fn interval_negate(v: Interval) -> Option<Interval> {
    let (months, days) = (v.months.checked_neg()?, v.days.checked_neg()?);
    Some(Interval { months, days, micros: v.micros.checked_neg()? })
}

/// PostgreSQL's order of intervals: months of 30 days, days of 24 hours. (Groups go by the three parts.)
pub(super) fn interval_order(a: Interval, b: Interval) -> Ordering {
    let span = |v: Interval| {
        (i128::from(v.months) * 30 + i128::from(v.days)) * i128::from(MICROS_PER_DAY) + i128::from(v.micros)
    };
    span(a).cmp(&span(b))
}
