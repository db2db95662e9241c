//! Numeric functions. Transcendental ones come from `libm`, so that native and WASM agree in every bit.

use super::cast::{float_to_int, narrow};
use super::decimal::{pow10, rescale, round_to};
use super::kernel::Cell;
use super::scalar::{decimal_in_range, in_range, scale_of};
use crate::plan::Function as F;
use crate::value::DataType;
use crate::value::column::Slot;

/// True for the functions of this file.
pub(super) fn is_math(function: F) -> bool {
    matches!(
        function,
        F::Abs
            | F::Floor
            | F::Ceil
            | F::Round
            | F::Trunc
            | F::Sqrt
            | F::Power
            | F::Exp
            | F::Ln
            | F::Log10
            | F::Sign
    ) || matches!(function, F::ToTimestamp | F::WidthBucket)
}

/// `10^exponent` for exponents that are exact doubles.
pub(super) fn pow10_float(exponent: u8) -> f64 {
    // Products of exact powers below 2^53 * 2^22 stay exact: 10^22 = 5^22 * 2^22 and 5^22 < 2^53.
    (0..exponent.min(22)).fold(1.0, |v, _| v * 10.0)
}

/// One function on one row; `from` is the first argument's type.
pub(super) fn call<'a>(
    function: F,
    cells: &[Cell<'a>],
    from: &DataType,
    to: &DataType,
) -> Result<Cell<'a>, Slot> {
    match (function, cells) {
        (F::WidthBucket, [x, low, high, count]) => {
            let v = width_bucket(x.float()?, low.float()?, high.float()?, count.int()?)?;
            in_range(Some(v), to).map(Cell::Int)
        }
        (F::ToTimestamp, [x]) => to_timestamp(x.float()?).map(Cell::Int),
        (F::Power, [x, y]) => power(x.float()?, y.float()?).and_then(|v| float(v, to)),
        (_, [Cell::Int(v)]) => in_range(int(function, *v), to).map(Cell::Int),
        (_, [Cell::Float(v), digits @ ..]) => {
            let digits = digits.first().map_or(Ok(0), |d| d.int())?;
            float_one(function, *v, digits).and_then(|v| float(v, to))
        }
        #[cfg(feature = "functions")]
        (_, [Cell::Decimal(v), digits @ ..]) => {
            let digits = digits.first().map_or(Ok(0), |d| d.int())?;
            decimal_in_range(decimal(function, *v, scale_of(from), digits, scale_of(to)), to)
                .map(Cell::Decimal)
        }
        _ => Err(Slot::Domain),
    }
}

fn float<'a>(v: f64, to: &DataType) -> Result<Cell<'a>, Slot> {
    Ok(Cell::Float(if *to == DataType::Float32 { narrow(v)? } else { v }))
}

fn int(function: F, v: i64) -> Option<i64> {
    match function {
        F::Abs => v.checked_abs(),
        F::Sign => Some(v.signum()),
        _ => None,
    }
}

fn decimal(function: F, v: i128, from: u8, digits: i64, to: u8) -> Option<i128> {
    let one = i128::try_from(pow10(u32::from(from))?).ok()?;
    match function {
        F::Abs => rescale(v.abs(), from, to),
        F::Sign => rescale(v.signum(), 0, to),
        F::Floor => rescale(v.div_euclid(one), 0, to),
        F::Ceil => rescale(-(-v).div_euclid(one), 0, to),
        F::Round => round_to(v, from, digits, to, true),
        F::Trunc => round_to(v, from, digits, to, false),
        _ => None,
    }
}

fn float_one(function: F, v: f64, digits: i64) -> Result<f64, Slot> {
    Ok(match function {
        F::Abs => v.abs(),
        F::Sign if v > 0.0 => 1.0,
        F::Sign if v < 0.0 => -1.0,
        F::Sign => v,
        F::Floor => libm::floor(v),
        F::Ceil => libm::ceil(v),
        F::Round => at_digits(v, digits, libm::rint),
        F::Trunc => at_digits(v, digits, libm::trunc),
        F::Sqrt if v < 0.0 => return Err(Slot::Domain),
        F::Sqrt => libm::sqrt(v),
        F::Exp => {
            let result = libm::exp(v);
            if v.is_finite() && (result.is_infinite() || result == 0.0) {
                return Err(Slot::Overflow);
            }
            result
        }
        F::Ln | F::Log10 if v <= 0.0 => return Err(Slot::Domain),
        F::Ln => libm::log(v),
        F::Log10 => libm::log10(v),
        _ => return Err(Slot::Domain),
    })
}

/// Rounds at a decimal digit, or leaves a value whose digits do not reach that far.
fn at_digits(v: f64, digits: i64, round: fn(f64) -> f64) -> f64 {
    if digits == 0 {
        return round(v);
    }
    let factor = libm::pow(10.0, digits.unsigned_abs().min(308) as f64);
    let result = if digits > 0 { round(v * factor) / factor } else { round(v / factor) * factor };
    if result.is_finite() { result } else { v }
}

fn power(x: f64, y: f64) -> Result<f64, Slot> {
    let fractional = y.is_finite() && libm::rint(y) != y;
    if (x == 0.0 && y < 0.0) || (x < 0.0 && x.is_finite() && fractional) {
        return Err(Slot::Domain);
    }
    let v = libm::pow(x, y);
    let finite = x.is_finite() && y.is_finite();
    if finite && (v.is_infinite() || (v == 0.0 && x != 0.0)) { Err(Slot::Overflow) } else { Ok(v) }
}

/// PostgreSQL's arithmetic: seconds since 2000 first, so that nearby times keep their microseconds.
fn to_timestamp(seconds: f64) -> Result<i64, Slot> {
    const EPOCH_SECONDS: i64 = 946_684_800;
    if seconds.is_nan() {
        return Err(Slot::Domain);
    }
    let since = float_to_int((seconds - EPOCH_SECONDS as f64) * 1e6).ok_or(Slot::Overflow)?;
    since.checked_add(EPOCH_SECONDS * 1_000_000).ok_or(Slot::Overflow)
}

fn width_bucket(x: f64, low: f64, high: f64, count: i64) -> Result<i64, Slot> {
    let bounded = low.is_finite() && high.is_finite() && low != high;
    if count <= 0 || x.is_nan() || !bounded {
        return Err(Slot::Domain);
    }
    // Descending bounds count from the other side.
    let (below, above) = if low < high { (x < low, x >= high) } else { (x > low, x <= high) };
    if below || above {
        return if above { count.checked_add(1).ok_or(Slot::Overflow) } else { Ok(0) };
    }
    let share = match high - low {
        width if width.is_finite() => (x - low) / width,
        _ => (x / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0),
    };
    Ok((libm::floor(count as f64 * share) as i64).min(count - 1) + 1)
}
