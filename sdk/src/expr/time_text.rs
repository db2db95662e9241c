//! Dates and timestamps as text: ISO 8601 in, PostgreSQL's ISO style (UTC) out.

use super::time::{MICROS_PER_DAY, MICROS_PER_SECOND, civil_from_days, days_from_civil, days_in_month};
#[cfg(feature = "finish")]
use alloc::string::String;
use alloc::vec::Vec;

/// A cursor over ASCII text.
struct Scan<'a>(&'a [u8]);

impl Scan<'_> {
    fn take(&mut self, wanted: &[u8]) -> Option<u8> {
        let first = *self.0.first()?;
        if !wanted.contains(&first) {
            return None;
        }
        self.0 = &self.0[1..];
        Some(first)
    }

    /// Between `min` and `max` digits as a number.
    fn digits(&mut self, min: usize, max: usize) -> Option<i64> {
        let count = self.0.iter().take(max).take_while(|b| b.is_ascii_digit()).count();
        if count < min {
            return None;
        }
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        Some(digits.iter().fold(0, |v, b| v * 10 + i64::from(b - b'0')))
    }

    fn date(&mut self) -> Option<i64> {
        let year = self.digits(4, 6)?;
        self.take(b"-")?;
        let month = self.digits(2, 2)?;
        self.take(b"-")?;
        let day = self.digits(2, 2)?;
        let valid = year > 0 && (1..=12).contains(&month) && day > 0 && day <= days_in_month(year, month);
        valid.then(|| days_from_civil(year, month, day))
    }

    /// `HH:MM[:SS[.fraction]]` in microseconds; 24:00:00 and a leap second are allowed.
    fn time(&mut self) -> Option<i64> {
        let hour = self.digits(2, 2)?;
        self.take(b":")?;
        let minute = self.digits(2, 2)?;
        let second = if self.take(b":").is_some() { self.digits(2, 2)? } else { 0 };
        let micros = if self.take(b".").is_some() { self.fraction()? } else { 0 };
        let total = ((hour * 60 + minute) * 60 + second) * MICROS_PER_SECOND + micros;
        (hour <= 24 && minute < 60 && second <= 60 && (hour < 24 || total == MICROS_PER_DAY)).then_some(total)
    }

    /// Digits after the point, rounded to microseconds.
    fn fraction(&mut self) -> Option<i64> {
        let before = self.0.len();
        let micros = self.digits(1, 6)?;
        let scale = 10i64.pow(6 - (before - self.0.len()) as u32);
        let round_up = self.0.first().is_some_and(|b| (b'5'..=b'9').contains(b));
        while self.take(b"0123456789").is_some() {}
        Some(micros * scale + i64::from(round_up))
    }

    /// `Z`, `+hh`, `+hhmm` or `+hh:mm` in microseconds east of UTC; nothing is UTC.
    fn offset(&mut self) -> Option<i64> {
        if self.0.is_empty() || self.take(b"Zz").is_some() {
            return Some(0);
        }
        let sign = if self.take(b"+-")? == b'-' { -1 } else { 1 };
        let hours = self.digits(2, 2)?;
        self.take(b":");
        let minutes = if self.0.is_empty() { 0 } else { self.digits(2, 2)? };
        (hours < 16 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60 * MICROS_PER_SECOND)
    }
}

/// `YYYY-MM-DD` as days since 1970-01-01; blanks around it are ignored.
pub(crate) fn parse_date(text: &[u8]) -> Option<i64> {
    let mut scan = Scan(text.trim_ascii());
    let days = scan.date()?;
    scan.0.is_empty().then_some(days)
}

/// RFC 3339 and its usual relatives (a blank for the `T`, no seconds, no time, no offset) as microseconds
/// since 1970-01-01T00:00:00Z; blanks around it are ignored.
pub(crate) fn parse_timestamp(text: &[u8]) -> Option<i64> {
    let mut scan = Scan(text.trim_ascii());
    let days = scan.date()?;
    let (mut time, mut offset) = (0, 0);
    if scan.take(b"Tt ").is_some() {
        time = scan.time()?;
        scan.0 = scan.0.trim_ascii_start();
        offset = scan.offset()?;
    }
    let micros = days.checked_mul(MICROS_PER_DAY)?.checked_add(time - offset)?;
    scan.0.is_empty().then_some(micros)
}

/// Appends at least `width` digits.
pub(super) fn put_digits(value: u64, width: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let (mut at, mut rest) = (20, value);
    while rest > 0 {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&digits[at.min(20 - width)..]);
}

fn put_civil(days: i64, out: &mut Vec<u8>) -> bool {
    let (year, month, day) = civil_from_days(days);
    let shown = if year > 0 { year } else { 1 - year };
    put_digits(shown.unsigned_abs(), 4, out);
    for part in [month, day] {
        out.push(b'-');
        put_digits(part as u64, 2, out);
    }
    year <= 0
}

/// `2024-02-29`, before year 1 with ` BC`.
pub(super) fn put_date(days: i64, out: &mut Vec<u8>) {
    if put_civil(days, out) {
        out.extend_from_slice(b" BC");
    }
}

/// `2024-02-29 12:34:56.789+00`: no trailing zeros in the fraction.
pub(super) fn put_timestamp(micros: i64, out: &mut Vec<u8>) {
    let bc = put_civil(micros.div_euclid(MICROS_PER_DAY), out);
    put_clock(micros.rem_euclid(MICROS_PER_DAY) as u64, b' ', out);
    out.extend_from_slice(b"+00");
    if bc {
        out.extend_from_slice(b" BC");
    }
}

/// A time of day behind `lead`.
fn put_clock(time: u64, lead: u8, out: &mut Vec<u8>) {
    let seconds = time / 1_000_000;
    for (lead, part) in [(lead, seconds / 3600), (b':', seconds / 60 % 60), (b':', seconds % 60)] {
        out.push(lead);
        put_digits(part, 2, out);
    }
    if !time.is_multiple_of(1_000_000) {
        out.push(b'.');
        put_digits(time % 1_000_000, 6, out);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

/// ISO 8601, where year 0 is 1 BC; years outside of 0 to 9999 have a sign and at least six digits, as ECMAScript
/// reads them.
#[cfg(feature = "finish")]
fn put_iso_date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil_from_days(days);
    let width = if (0..=9999).contains(&year) {
        4
    } else {
        out.push(if year < 0 { b'-' } else { b'+' });
        6
    };
    put_digits(year.unsigned_abs(), width, out);
    for part in [month, day] {
        out.push(b'-');
        put_digits(part as u64, 2, out);
    }
}

#[cfg(feature = "finish")]
fn text(put: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    put(&mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// Days since 1970-01-01 as PostgreSQL prints a date: `2024-02-29`, `0222-09-04 BC`.
#[cfg(feature = "finish")]
pub fn date_text(days: i64) -> String {
    text(|out| put_date(days, out))
}

/// Microseconds since 1970-01-01T00:00:00Z as PostgreSQL prints a `timestamptz` in UTC:
/// `2024-02-29 12:34:56.789+00`.
#[cfg(feature = "finish")]
pub fn timestamp_text(micros: i64) -> String {
    text(|out| put_timestamp(micros, out))
}

/// Days since 1970-01-01 in ISO 8601: `2024-02-29`, `+012026-01-01`, `-000221-09-04`.
#[cfg(feature = "finish")]
pub fn iso_date(days: i64) -> String {
    text(|out| put_iso_date(days, out))
}

/// Microseconds since 1970-01-01T00:00:00Z in ISO 8601: `2024-02-29T12:34:56.789Z`, years as [`iso_date`] has them.
#[cfg(feature = "finish")]
pub fn iso_timestamp(micros: i64) -> String {
    text(|out| {
        put_iso_date(micros.div_euclid(MICROS_PER_DAY), out);
        put_clock(micros.rem_euclid(MICROS_PER_DAY) as u64, b'T', out);
        out.push(b'Z');
    })
}
