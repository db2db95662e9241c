//! Numbers as text, as PostgreSQL reads and writes them.

use super::decimal::{parse_decimal, put_decimal};
use super::time_text::put_digits;
use crate::value::column::Slot;
use alloc::vec::Vec;
use core::fmt::Write;

/// Text of a few dozen bytes on the stack.
struct Short {
    bytes: [u8; 40],
    len: usize,
}

impl Write for Short {
    fn write_str(&mut self, s: &str) -> core::fmt::Result {
        let end = self.len + s.len();
        self.bytes.get_mut(self.len..end).ok_or(core::fmt::Error)?.copy_from_slice(s.as_bytes());
        self.len = end;
        Ok(())
    }
}

fn short(arguments: core::fmt::Arguments<'_>) -> Short {
    let mut out = Short { bytes: [0; 40], len: 0 };
    // A double has at most 17 digits, a sign, a point and a four-byte exponent: it fits.
    let _ = out.write_fmt(arguments);
    out
}

/// Appends the digits of a magnitude.
pub(crate) fn put_int(v: u128, out: &mut Vec<u8>) {
    const CHUNK: u128 = 10_000_000_000_000_000_000;
    match u64::try_from(v) {
        Ok(small) => put_digits(small, 1, out),
        Err(_) => {
            put_int(v / CHUNK, out);
            put_digits((v % CHUNK) as u64, 19, out);
        }
    }
}

/// Appends a signed integer.
pub(super) fn put_int64(v: i64, out: &mut Vec<u8>) {
    if v < 0 {
        out.push(b'-');
    }
    put_digits(v.unsigned_abs(), 1, out);
}

/// Appends the shortest text that reads back as the same `double precision` (or `real`, with `single`).
pub(super) fn put_float(v: f64, single: bool, out: &mut Vec<u8>) {
    if !v.is_finite() {
        let name = if v.is_nan() {
            "NaN"
        } else if v > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        };
        return out.extend_from_slice(name.as_bytes());
    }
    let text = if single { short(format_args!("{:e}", v as f32)) } else { short(format_args!("{v:e}")) };
    let text = &text.bytes[..text.len];
    let (sign, text) = if let [b'-', rest @ ..] = text { (true, rest) } else { (false, text) };
    let at = text.iter().position(|b| *b == b'e').unwrap_or(text.len());
    let exponent = parse_int(text.get(at + 1..).unwrap_or(b"0")).unwrap_or(0);
    if sign {
        out.push(b'-');
    }
    // PostgreSQL's thresholds for fixed-point output.
    if exponent < -4 || exponent >= if single { 6 } else { 15 } {
        out.extend_from_slice(&text[..at]);
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        return put_digits(exponent.unsigned_abs(), 2, out);
    }
    put_fixed(&text[..at], exponent, out);
}

/// Appends `d.ddd` times `10^exponent` without an exponent.
fn put_fixed(mantissa: &[u8], exponent: i64, out: &mut Vec<u8>) {
    let digits = mantissa.iter().copied().filter(|b| *b != b'.');
    let count = digits.clone().count() as i64;
    if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.extend(core::iter::repeat_n(b'0', (-exponent - 1) as usize));
        return out.extend(digits);
    }
    for (at, digit) in digits.enumerate() {
        if at as i64 == exponent + 1 {
            out.push(b'.');
        }
        out.push(digit);
    }
    out.extend(core::iter::repeat_n(b'0', (exponent + 1 - count).max(0) as usize));
}

/// Reads `[+-]digits`; blanks around it are ignored.
pub(crate) fn parse_int(text: &[u8]) -> Result<i64, Slot> {
    let text = text.trim_ascii();
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Slot::BadCast);
    }
    let step = |v: i64, b: &u8| {
        let digit = i64::from(b - b'0');
        v.checked_mul(10)?.checked_add(if negative { -digit } else { digit })
    };
    digits.iter().try_fold(0, step).ok_or(Slot::Overflow)
}

/// Reads a double: decimal, with or without exponent, `NaN`, `[-]Infinity`; blanks around it are ignored.
pub(crate) fn parse_float(text: &[u8]) -> Result<f64, Slot> {
    let text = core::str::from_utf8(text.trim_ascii()).map_err(|_| Slot::BadCast)?;
    let v: f64 = text.parse().map_err(|_| Slot::BadCast)?;
    let letters = text.bytes().any(|b| b == b'n' || b == b'N');
    let digits = text.bytes().take_while(|b| *b != b'e' && *b != b'E').any(|b| (b'1'..=b'9').contains(&b));
    if !letters && (v.is_infinite() || (v == 0.0 && digits)) { Err(Slot::Overflow) } else { Ok(v) }
}

/// The nearest double (or `real`, with `single`) to a decimal.
pub(crate) fn decimal_to_float(units: i128, scale: u8, single: bool) -> f64 {
    let exact = units.unsigned_abs() <= 1 << 53 && scale <= 22 && !single;
    if exact {
        // Both are exact doubles, so the division rounds once.
        return units as f64 / super::math::pow10_float(scale);
    }
    let mut text = Vec::new();
    put_decimal(units, scale, &mut text);
    let text = core::str::from_utf8(&text).unwrap_or("0");
    if single { text.parse::<f32>().map_or(0.0, f64::from) } else { text.parse().unwrap_or(0.0) }
}

/// PostgreSQL's cast: the double's 15 (a `real`'s 6) significant digits, rounded to `scale`.
pub(crate) fn float_to_decimal(v: f64, single: bool, scale: u8) -> Result<i128, Slot> {
    if !v.is_finite() {
        return Err(Slot::Overflow);
    }
    let digits = if single { 5 } else { 14 };
    let text = short(format_args!("{v:.digits$e}"));
    parse_decimal(&text.bytes[..text.len], scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// JavaScript took other digits.
    #[test]
    fn doubles_are_the_numerics_of_the_vectors() {
        for line in
            include_str!("../../../tests/vectors/numerics.txt").lines().filter(|l| !l.starts_with('#'))
        {
            let fields: Vec<&str> = line.split('\t').collect();
            let [number, scale, units] = fields[..] else { panic!("{line}") };
            let number = number.parse().expect("a double");
            let got = float_to_decimal(number, false, scale.parse().expect("a scale"));
            assert_eq!(got.ok(), Some(units.parse().expect("units")), "{line}");
        }
    }
}
