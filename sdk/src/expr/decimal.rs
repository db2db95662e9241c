//! `numeric` arithmetic: i128 units of a scale, with 256-bit products in between.
//!
//! Rounding is half away from zero, as PostgreSQL's numeric rounds. `None` is out of range.

use super::number::put_int;
use crate::value::column::Slot;
use alloc::vec::Vec;

/// `10^exponent`, up to 38.
pub(crate) fn pow10(exponent: u32) -> Option<u128> {
    10u128.checked_pow(exponent)
}

/// The 256-bit product, upper half first.
fn multiply(a: u128, b: u128) -> (u128, u128) {
    const LOW: u128 = u64::MAX as u128;
    let (a1, a0, b1, b0) = (a >> 64, a & LOW, b >> 64, b & LOW);
    let low = a0 * b0;
    // Neither sum can overflow: (2^64 - 1)^2 + 2 * (2^64 - 1) is 2^128 - 1.
    let middle = a1 * b0 + (low >> 64);
    let other = a0 * b1 + (middle & LOW);
    (a1 * b1 + (middle >> 64) + (other >> 64), other << 64 | low & LOW)
}

/// Quotient and remainder of a 256-bit number; `None` when the quotient needs more than 128 bits.
fn divide((high, low): (u128, u128), by: u128) -> Option<(u128, u128)> {
    if high == 0 {
        return Some((low / by, low % by));
    }
    if high >= by {
        return None;
    }
    let (mut rest, mut quotient) = (high, 0u128);
    for bit in (0..128).rev() {
        let carry = rest >> 127 == 1;
        rest = rest << 1 | (low >> bit & 1);
        quotient <<= 1;
        if carry || rest >= by {
            rest = rest.wrapping_sub(by);
            quotient |= 1;
        }
    }
    Some((quotient, rest))
}

/// `a * b * 10^exponent / by`, rounded half up or truncated. `by` is not 0.
fn scaled(a: u128, b: u128, exponent: i32, by: u128, round: bool) -> Option<u128> {
    let mut product = multiply(a, b);
    let mut divisor = by;
    let mut left = exponent;
    while left > 0 {
        let step = left.min(38);
        let factor = pow10(step as u32)?;
        let (over, high) = multiply(product.0, factor);
        let (carry, low) = multiply(product.1, factor);
        product = (high.checked_add(carry).filter(|_| over == 0)?, low);
        left -= step;
    }
    if left < -38 {
        // Truncating first is exact: what is cut is below one unit, and half of a power of ten is whole.
        let (q, _) = divide_wide(product, pow10(38)?);
        product = q;
        left += 38;
    }
    if left < 0 {
        match pow10(left.unsigned_abs()).and_then(|p| divisor.checked_mul(p)) {
            Some(d) => divisor = d,
            // The divisor is above any 128-bit number: less than a half remains of one.
            None if product.0 == 0 => return Some(0),
            None => product = divide_wide(product, pow10(left.unsigned_abs())?).0,
        }
    }
    let (quotient, rest) = divide(product, divisor)?;
    let up = round && rest >= divisor - rest;
    quotient.checked_add(u128::from(up))
}

/// A 256-bit quotient.
fn divide_wide((high, low): (u128, u128), by: u128) -> ((u128, u128), u128) {
    let (q1, r1) = (high / by, high % by);
    // r1 < by, so the second quotient fits.
    let (q0, r0) = divide((r1, low), by).unwrap_or((0, 0));
    ((q1, q0), r0)
}

fn signed(magnitude: Option<u128>, negative: bool) -> Option<i128> {
    let v = i128::try_from(magnitude?).ok()?;
    Some(if negative { -v } else { v })
}

/// `v` in units of another scale.
pub(crate) fn rescale(v: i128, from: u8, to: u8) -> Option<i128> {
    if from == to {
        return Some(v);
    }
    signed(scaled(v.unsigned_abs(), 1, i32::from(to) - i32::from(from), 1, true), v < 0)
}

/// `v` cut or rounded to `digits` after the point (negative: before it), in units of scale `to`.
pub(super) fn round_to(v: i128, from: u8, digits: i64, to: u8, round: bool) -> Option<i128> {
    let digits = digits.clamp(-76, i64::from(from)) as i32;
    let drop = i32::from(from) - digits;
    let kept = scaled(v.unsigned_abs(), 1, -drop, 1, round)?;
    signed(scaled(kept, 1, i32::from(to) - digits, 1, true), v < 0)
}

/// The operands in units of the larger of two scales, which is the third.
fn aligned(a: i128, sa: u8, b: i128, sb: u8) -> Option<(i128, i128, u8)> {
    let scale = sa.max(sb);
    Some((rescale(a, sa, scale)?, rescale(b, sb, scale)?, scale))
}

/// `a + b` (or `a - b`) in units of scale `to`.
pub(super) fn add(a: i128, sa: u8, b: i128, sb: u8, to: u8, subtract: bool) -> Option<i128> {
    let (a, b, scale) = aligned(a, sa, b, sb)?;
    rescale(if subtract { a.checked_sub(b) } else { a.checked_add(b) }?, scale, to)
}

/// `a * b` in units of scale `to`.
pub(super) fn mul(a: i128, sa: u8, b: i128, sb: u8, to: u8) -> Option<i128> {
    let exponent = i32::from(to) - i32::from(sa) - i32::from(sb);
    signed(scaled(a.unsigned_abs(), b.unsigned_abs(), exponent, 1, true), (a < 0) != (b < 0))
}

/// `a / b` in units of scale `to`; `b` is not 0.
pub(super) fn div(a: i128, sa: u8, b: i128, sb: u8, to: u8) -> Option<i128> {
    let exponent = i32::from(to) + i32::from(sb) - i32::from(sa);
    signed(scaled(a.unsigned_abs(), 1, exponent, b.unsigned_abs(), true), (a < 0) != (b < 0))
}

/// `a % b` in units of scale `to`, with the sign of `a`; `b` is not 0.
pub(super) fn modulo(a: i128, sa: u8, b: i128, sb: u8, to: u8) -> Option<i128> {
    let (a, b, scale) = aligned(a, sa, b, sb)?;
    rescale(a.wrapping_rem(b), scale, to)
}

/// Reads `[+-]digits[.digits][e[+-]digits]`, rounded to `scale`; blanks around it are ignored.
pub(crate) fn parse_decimal(text: &[u8], scale: u8) -> Result<i128, Slot> {
    let text = text.trim_ascii();
    let (negative, mut rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let (mut units, mut exponent, mut digits, mut point, mut sticky) = (0u128, 0i32, 0usize, false, false);
    while let [byte, tail @ ..] = rest {
        match byte {
            b'0'..=b'9' => {
                digits += 1;
                match units.checked_mul(10).and_then(|v| v.checked_add(u128::from(byte - b'0'))) {
                    Some(v) if !sticky => (units, exponent) = (v, exponent - i32::from(point)),
                    // Digits past 38 are below every unit that fits; they cannot reach a half again.
                    _ => (sticky, exponent) = (true, exponent.saturating_add(i32::from(!point))),
                }
            }
            b'.' if !point => point = true,
            b'e' | b'E' if digits > 0 => {
                exponent = exponent.saturating_add(exponent_of(tail)?);
                rest = &[];
                break;
            }
            _ => return Err(Slot::BadCast),
        }
        rest = tail;
    }
    if digits == 0 || !rest.is_empty() {
        return Err(Slot::BadCast);
    }
    if units == 0 {
        return Ok(0);
    }
    match exponent.saturating_add(i32::from(scale)) {
        up if up > 76 => Err(Slot::Overflow),
        down if down < -76 => Ok(0),
        shift => signed(scaled(units, 1, shift, 1, true), negative).ok_or(Slot::Overflow),
    }
}

/// The digits after an `e`, bounded far outside of what a numeric holds.
fn exponent_of(text: &[u8]) -> Result<i32, Slot> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Slot::BadCast);
    }
    let v = digits.iter().fold(0i32, |v, b| (v * 10 + i32::from(b - b'0')).min(100_000));
    Ok(if negative { -v } else { v })
}

/// Appends `units` with `scale` digits after the point.
pub(crate) fn put_decimal(units: i128, scale: u8, out: &mut Vec<u8>) {
    if units < 0 {
        out.push(b'-');
    }
    let start = out.len();
    put_int(units.unsigned_abs(), out);
    let scale = usize::from(scale);
    if scale == 0 {
        return;
    }
    let digits = out.len() - start;
    if digits <= scale {
        out.splice(start..start, core::iter::repeat_n(b'0', scale + 1 - digits));
    }
    out.insert(out.len() - scale, b'.');
}
