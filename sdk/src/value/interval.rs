//! Intervals as text.
//!
//! Owns: how PostgreSQL writes and reads them. Must not know: columns, casts.

use super::Interval;
use core::str::FromStr;

/// Text that PostgreSQL would not read as an interval, or an interval out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an interval")]
pub struct IntervalError;

impl FromStr for Interval {
    type Err = IntervalError;

    /// Reads what PostgreSQL writes, and the usual other forms: `1 year 2 mons -3 days 04:05:06.789`, `90 minutes`,
    /// `1.5h`, `2 weeks ago`; a number alone is seconds. Fractions go down to the next part, of months of 30 days and
    /// of days of 24 hours; what is below a microsecond is rounded. ISO 8601 (`P1D`) is not read.
    fn from_str(text: &str) -> Result<Self, IntervalError> {
        read(text).ok_or(IntervalError)
    }
}

/// One in the fixed-point numbers below; digits beyond are cut.
const ONE: i128 = 10i128.pow(DIGITS as u32);
const DIGITS: usize = 12;

/// What one unit is.
#[derive(Clone, Copy)]
enum Scale {
    Years(i128),
    Months,
    Days(i128),
    Micros(i128),
}

const UNITS: [(&[&str], Scale); 12] = [
    (&["hour", "hours", "h", "hr", "hrs"], Scale::Micros(3_600_000_000)),
    (&["minute", "minutes", "m", "min", "mins"], Scale::Micros(60_000_000)),
    (&["second", "seconds", "s", "sec", "secs"], Scale::Micros(1_000_000)),
    (&["millisecond", "milliseconds", "ms", "msec", "msecs"], Scale::Micros(1_000)),
    (&["microsecond", "microseconds", "us", "usec", "usecs"], Scale::Micros(1)),
    (&["day", "days", "d"], Scale::Days(1)),
    (&["week", "weeks", "w"], Scale::Days(7)),
    (&["mon", "mons", "month", "months"], Scale::Months),
    (&["year", "years", "y", "yr", "yrs"], Scale::Years(1)),
    (&["decade", "decades", "dec", "decs"], Scale::Years(10)),
    (&["century", "centuries", "c", "cent"], Scale::Years(100)),
    (&["millennium", "millennia", "mil", "mils"], Scale::Years(1_000)),
];

/// Places in [`UNITS`].
const SECONDS: usize = 2;
/// The bits of hours, minutes and seconds.
const CLOCK: u16 = 0b111;

/// The parts so far.
#[derive(Default)]
struct Sum {
    months: i128,
    days: i128,
    micros: i128,
    /// Units that were given: none may be twice.
    seen: u16,
}

fn read(text: &str) -> Option<Interval> {
    let mut words = text.split_ascii_whitespace().peekable();
    let mut sum = Sum::default();
    let mut is_ago = false;
    while let Some(word) = words.next() {
        if word.eq_ignore_ascii_case("ago") && sum.seen != 0 && words.peek().is_none() {
            is_ago = true;
        } else if word.contains(':') {
            sum.add_clock(word)?;
        } else {
            let digits = word.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(word.len());
            let (amount, glued) = word.split_at(digits);
            let name = if glued.is_empty() { words.next() } else { Some(glued) };
            sum.add_unit(amount, name)?;
        }
    }
    if sum.seen == 0 {
        return None;
    }
    let sign = if is_ago { -1 } else { 1 };
    Some(Interval {
        months: i32::try_from(sign * sum.months).ok()?,
        days: i32::try_from(sign * sum.days).ok()?,
        micros: i64::try_from(sign * sum.micros).ok()?,
    })
}

impl Sum {
    fn add_unit(&mut self, amount: &str, name: Option<&str>) -> Option<()> {
        let is_named =
            |names: &[&str]| names.iter().any(|n| name.is_some_and(|name| n.eq_ignore_ascii_case(name)));
        let at = match name {
            Some(_) => UNITS.iter().position(|(names, _)| is_named(names))?,
            None => SECONDS,
        };
        self.see(1 << at)?;
        self.add(number(amount)?, UNITS[at].1)
    }

    /// `[+-]HH:MM[:SS[.ffffff]]`
    fn add_clock(&mut self, word: &str) -> Option<()> {
        self.see(CLOCK)?;
        let (is_negative, digits) = signed(word);
        let mut parts = digits.split(':');
        for (at, (_, scale)) in UNITS.iter().enumerate().take(SECONDS + 1) {
            let text = match parts.next() {
                Some(text) => text,
                None if at == SECONDS => "0",
                None => return None,
            };
            let is_plain =
                text.starts_with(|c: char| c.is_ascii_digit()) && (at == SECONDS || !text.contains('.'));
            let part = number(text).filter(|part| is_plain && (at == 0 || *part < 60 * ONE))?;
            self.add(if is_negative { -part } else { part }, *scale)?;
        }
        parts.next().is_none().then_some(())
    }

    fn see(&mut self, units: u16) -> Option<()> {
        let is_new = self.seen & units == 0;
        self.seen |= units;
        is_new.then_some(())
    }

    fn add(&mut self, amount: i128, scale: Scale) -> Option<()> {
        match scale {
            Scale::Years(years) => self.months += rounded(amount.checked_mul(12 * years)?),
            Scale::Months => {
                self.months += amount / ONE;
                self.add(amount % ONE * 30, Scale::Days(1))?;
            }
            Scale::Days(days) => {
                let days = amount.checked_mul(days)?;
                self.days += days / ONE;
                self.micros += rounded(days % ONE * 86_400_000_000);
            }
            Scale::Micros(micros) => self.micros += rounded(amount.checked_mul(micros)?),
        }
        Some(())
    }
}

/// The nearest whole number, half away from zero.
fn rounded(v: i128) -> i128 {
    v / ONE + v % ONE * 2 / ONE
}

fn signed(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// `[+-]digits[.digits]`, below 10^19.
fn number(text: &str) -> Option<i128> {
    let (is_negative, digits) = signed(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = whole.len() + fraction.len() > 0
        && whole.len() < 20
        && whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit());
    if !is_number {
        return None;
    }
    let fraction = fraction.bytes().chain(core::iter::repeat(b'0')).take(DIGITS);
    let units = whole.bytes().chain(fraction).fold(0, |units, b| units * 10 + i128::from(b - b'0'));
    Some(if is_negative { -units } else { units })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    fn reads(text: &str) -> Option<(i32, i32, i64)> {
        let interval: Interval = text.parse().ok()?;
        Some((interval.months, interval.days, interval.micros))
    }

    #[test]
    fn text_is_read_as_postgresql_reads_it() {
        for (text, expected) in [
            ("1 day 02:00:00", (0, 1, 2 * HOUR)),
            (" -00:00:01.5 ", (0, 0, -1_500_000)),
            ("90", (0, 0, 90_000_000)),
            ("1 day 90", (0, 1, 90_000_000)),
            ("1 year 2 mons -3 days +04:05", (14, -3, 4 * HOUR + 300_000_000)),
            ("1 mon 2 days 00:00:03", (1, 2, 3_000_000)),
            ("1.5h 2MIN", (0, 0, HOUR * 3 / 2 + 120_000_000)),
            ("2 weeks ago", (0, -14, 0)),
            ("-1 day 1 hour ago", (0, 1, -HOUR)),
            ("1.5 months", (1, 15, 0)),
            ("1.5 weeks", (0, 10, 12 * HOUR)),
            ("0.3 years", (4, 0, 0)),
            ("1 millennium 1 century 1 decade 1 year", (13_332, 0, 0)),
            ("3 ms 2 us", (0, 0, 3_002)),
            ("0.0000005 s", (0, 0, 1)),
            ("100:00:00", (0, 0, 100 * HOUR)),
        ] {
            assert_eq!(reads(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn other_text_and_what_is_out_of_range_is_refused() {
        for text in [
            "",
            "soon",
            "1 fortnight",
            "day",
            "ago",
            "1 day 2 days",
            "1 hour 02:00:00",
            "1:60",
            "1:00:60",
            "1:2:3:4",
            "1:+2",
            "1:1.5",
            ":30",
            "1 ago day",
            "+ 1 day",
            "--1 day",
            "1..5 s",
            ".",
            "1 \u{660} s",
            "P1D",
            "1e3 s",
            "2147483648 days",
            "-178956971 years",
            "9223372036855 s",
            "99999999999999999999 us",
        ] {
            assert_eq!(reads(text), None, "{text}");
        }
        assert_eq!(reads("2147483647 days -9223372036854775808 us"), Some((0, i32::MAX, i64::MIN)));
    }
}
