//! `skewness`, `kurtosis` and their `_pop` and `_samp`: count and exact sums of x, x^2, x^3 and x^4.
//!
//! State: up to 8 values themselves; above, the sums, over doubles (integers are cast by the plan); see
//! [`super::summed`]. Identity: no values. Merge: addition. Exact: a fourth power of a double is a 212-bit mantissa
//! and is summed without rounding; with the central sums multiplied by powers of the count n everything stays whole:
//! `A = n s2 - s1^2`, `B = n^2 s3 - 3 n s1 s2 + 2 s1^3`, `C = n^3 s4 - 4 n^2 s1 s3 + 6 n s1^2 s2 - 3 s1^4`, and the
//! skewness of the population is `B / A^1.5`, its excess kurtosis `(C - 3 A^2) / A^2`: each rounded three times or
//! less, at the very end, so nothing cancels and the answer is within about 4 units in the last place.
//! The samples' are as in DuckDB (and SAS, Excel): `g1 sqrt(n (n - 1)) / (n - 2)` and
//! `((n + 1) g2 + 6) (n - 1) / ((n - 2) (n - 3))`; NULL below three and four values, and without a variance.
//! Bytes: count (varint); up to 8: the values, ascending; above, unless full: the four sums (about 90 bytes; 2,700 at
//! worst, for values whose magnitudes span all that doubles can). A value costs about 60 ns: four times what
//! [`super::moments`] takes.

use super::column::StateColumn;
use super::sum::plausible;
use super::summed::{Summed, Sums};
#[cfg(feature = "finish")]
use super::{FinishError, Finisher};
use crate::codec::{DecodeError, Reader};
use crate::sketch::exact::{Dyadic, ExactSum};
#[cfg(feature = "finish")]
use crate::sketch::rational::Scaled;
#[cfg(feature = "finish")]
use crate::value::Value;
use alloc::vec::Vec;

/// Higher moments by group.
pub(super) type Moments4States = StateColumn<Summed<Powers, 1>>;

/// Sums of the first four powers.
#[derive(Clone, Default)]
pub(super) struct Powers([ExactSum; 4]);

impl Sums<1> for Powers {
    const RAW_MAX: usize = 8;

    fn add(&mut self, [x]: &[f64; 1]) {
        let [s1, s2, s3, s4] = &mut self.0;
        s1.add(*x);
        s2.add_square(*x);
        s3.add_cube(*x);
        s4.add_fourth(*x);
    }

    fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(mine, theirs)| mine.merge(theirs));
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.0.iter().for_each(|sum| sum.encode(out));
    }

    /// What sums of powers must keep is kept by sums of sums: signs, bounds, and that an even power is only zero
    /// when all are.
    fn decode(count: u64, bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut sums = Self::default();
        for (sum, power) in sums.0.iter_mut().zip(1..) {
            *sum = ExactSum::decode_powers(bytes, power)?;
            let dyadic = sum.dyadic();
            let signed = power % 2 == 1 || !dyadic.negative;
            if !signed || (power > 1 && sum.special() != 0) || !plausible(sum, count, power) {
                return Err(DecodeError::Invalid("moments"));
            }
        }
        let zero = |power: usize| sums.0[power - 1].dyadic().is_zero();
        if zero(2) != zero(4) || (zero(2) && !(zero(1) && zero(3))) {
            return Err(DecodeError::Invalid("moments"));
        }
        Ok(sums)
    }

    /// Cauchy's inequality for each two powers whose product is a square.
    fn is_possible(&self, count: u64) -> bool {
        let [s1, s2, s3, s4] = self.0.each_ref().map(ExactSum::dyadic);
        let n = Dyadic::of(count);
        [(&n, &s2, &s1), (&n, &s4, &s2), (&s2, &s4, &s3)]
            .iter()
            .all(|(a, b, c)| !a.times(b).minus(&c.times(c)).negative)
    }

    fn heap_bytes(&self) -> usize {
        self.0.iter().map(ExactSum::heap_bytes).sum()
    }

    #[cfg(feature = "finish")]
    fn finish(&self, count: u64, finisher: &Finisher) -> Result<Value, FinishError> {
        let least = match finisher {
            Finisher::SkewnessPop | Finisher::KurtosisPop => 1,
            Finisher::SkewnessSamp => 3,
            Finisher::KurtosisSamp => 4,
            _ => return Err(FinishError::Mismatch),
        };
        if count < least {
            return Ok(Value::Null);
        }
        if self.0[0].special() != 0 {
            return Ok(Value::Float(f64::NAN));
        }
        let central = Central::new(count, self.0.each_ref().map(ExactSum::dyadic));
        if central.square.is_zero() || central.square.negative {
            return Ok(Value::Null);
        }
        let n = count as f64;
        Ok(Value::Float(match finisher {
            Finisher::SkewnessPop => central.skewness(),
            Finisher::SkewnessSamp => {
                central.skewness() * (crate::sketch::math::sqrt(n * (n - 1.0)) / (n - 2.0))
            }
            Finisher::KurtosisPop => central.excess(),
            _ => ((n + 1.0) * central.excess() + 6.0) * ((n - 1.0) / ((n - 2.0) * (n - 3.0))),
        }))
    }
}

/// Sums of powers of the distances to the mean, times n, n^2 and n^3.
#[cfg(feature = "finish")]
struct Central {
    square: Dyadic,
    cube: Dyadic,
    fourth: Dyadic,
}

#[cfg(feature = "finish")]
impl Central {
    fn new(count: u64, [s1, s2, s3, s4]: [Dyadic; 4]) -> Self {
        let times = |factor: u64, terms: &[&Dyadic]| {
            terms.iter().fold(Dyadic::of(factor), |product, term| product.times(term))
        };
        let n = &Dyadic::of(count);
        Self {
            square: times(1, &[n, &s2]).minus(&times(1, &[&s1, &s1])),
            cube: times(1, &[n, n, &s3]).minus(&times(3, &[n, &s1, &s2])).plus(&times(2, &[&s1, &s1, &s1])),
            fourth: times(1, &[n, n, n, &s4])
                .minus(&times(4, &[n, n, &s1, &s3]))
                .plus(&times(6, &[n, &s1, &s1, &s2]))
                .minus(&times(3, &[&s1, &s1, &s1, &s1])),
        }
    }

    fn skewness(&self) -> f64 {
        let square = Scaled::from(&self.square);
        Scaled::from(&self.cube).over(square).over(square.root()).to_f64()
    }

    fn excess(&self) -> f64 {
        let squared = self.square.times(&self.square);
        let above = self.fourth.minus(&squared.times(&Dyadic::of(3)));
        Scaled::from(&above).over(Scaled::from(&squared)).to_f64()
    }
}

#[cfg(all(test, feature = "finish"))]
mod tests {
    use super::*;

    fn answers(values: &[f64]) -> [Value; 4] {
        let mut sums = Powers::default();
        values.iter().for_each(|&x| sums.add(&[x]));
        let finishers =
            [Finisher::SkewnessPop, Finisher::SkewnessSamp, Finisher::KurtosisPop, Finisher::KurtosisSamp];
        finishers.map(|finisher| sums.finish(values.len() as u64, &finisher).expect("a finisher of its own"))
    }

    /// Sums of powers of values far from 0 cancel all but their last bits: exact ones do not care.
    #[test]
    fn the_mean_does_not_matter() {
        let values = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        let near = answers(&values);
        let float = |value| Value::Float(value);
        assert_eq!(near[0], float(0.65625));
        assert_eq!(near[2], float(-0.21875));
        assert!(matches!(near[1], Value::Float(x) if (x - 0.818_487_553_356_799_7).abs() < 1e-15));
        assert!(matches!(near[3], Value::Float(x) if (x - 0.940_625).abs() < 1e-15));
        for offset in [1e6, -1e12, 2f64.powi(49)] {
            assert_eq!(answers(&values.map(|x| x + offset)), near, "{offset}");
        }
        for scale in [1e-300, 1e300] {
            let Value::Float(x) = answers(&values.map(|x| x * scale))[0] else { panic!("no double") };
            assert!((x - 0.65625).abs() < 1e-12, "{scale}: {x}");
        }
    }

    #[test]
    fn too_few_values_or_no_variance_give_null() {
        let is_null = |values: &[f64]| answers(values).map(|value| value.is_null());
        assert_eq!(is_null(&[7.0]), [true; 4]);
        assert_eq!(is_null(&[1.0, 2.0]), [false, true, false, true]);
        assert_eq!(is_null(&[1.0, 2.0, 4.0]), [false, false, false, true]);
        assert_eq!(is_null(&[0.1; 9]), [true; 4]);
        assert!(
            answers(&[1.0, 2.0, 3.0, f64::INFINITY])
                .iter()
                .all(|v| matches!(v, Value::Float(x) if x.is_nan()))
        );
    }
}
