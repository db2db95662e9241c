//! `covar_pop`, `covar_samp`, `corr` and `regr_*` of (y, x): count and exact sums of y, x, y^2, x^2 and x y.
//!
//! Only pairs of which neither is NULL count, as in PostgreSQL, whose order of arguments this is: y first.
//! State: up to 4 pairs themselves; above, the sums; see [`super::summed`]. Identity: no pairs. Merge: addition. Exact:
//! products of doubles are summed without rounding; an answer is a ratio of whole numbers (`n sum(x^2) - sum(x)^2` and
//! its kind), rounded three times or less at the very end, so nothing cancels. PostgreSQL rounds at every pair.
//! A value that is not finite makes every answer NaN that depends on it but the means; the other value of its pair
//! still counts in the sums over it alone.
//! Bytes: count (varint); up to 4: the pairs, y before x, ascending; above, unless full: the five sums in the order
//! above (about 75 bytes; 2,000 at worst, for values whose magnitudes span all that doubles can).

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

/// Statistics of two variables by group.
pub(super) type RegressionStates = StateColumn<Summed<Pairs, 2>>;

/// Sums over pairs.
#[derive(Clone, Default)]
pub(super) struct Pairs {
    y: ExactSum,
    x: ExactSum,
    yy: ExactSum,
    xx: ExactSum,
    xy: ExactSum,
}

impl Pairs {
    fn all(&self) -> [&ExactSum; 5] {
        [&self.y, &self.x, &self.yy, &self.xx, &self.xy]
    }

    /// The sums of squares and of products of distances to the means, times n: of y, of x, of both.
    fn central(&self, count: u64) -> [Dyadic; 3] {
        let [y, x, yy, xx, xy] = self.all().map(ExactSum::dyadic);
        let n = Dyadic::of(count);
        let of = |both: &Dyadic, a: &Dyadic, b: &Dyadic| n.times(both).minus(&a.times(b));
        [of(&yy, &y, &y), of(&xx, &x, &x), of(&xy, &x, &y)]
    }
}

impl Sums<2> for Pairs {
    const RAW_MAX: usize = 4;

    fn add(&mut self, [y, x]: &[f64; 2]) {
        self.y.add(*y);
        self.x.add(*x);
        self.yy.add_square(*y);
        self.xx.add_square(*x);
        self.xy.add_product_of(*x, *y);
    }

    fn merge(&mut self, other: &Self) {
        let Self { y, x, yy, xx, xy } = self;
        for (mine, theirs) in [y, x, yy, xx, xy].into_iter().zip(other.all()) {
            mine.merge(theirs);
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.all().iter().for_each(|sum| sum.encode(out));
    }

    fn decode(count: u64, bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut next = || ExactSum::decode(bytes);
        let pairs = Self { y: next()?, x: next()?, yy: next()?, xx: next()?, xy: next()? };
        let single = |sum: &ExactSum, squares: &ExactSum| {
            let of = squares.dyadic();
            let zero = of.is_zero() && !(sum.dyadic().is_zero() && pairs.xy.dyadic().is_zero());
            !of.negative && !zero && plausible(sum, count, 1)
        };
        let double = |sum: &ExactSum| sum.special() == 0 && plausible(sum, count, 2);
        let possible = single(&pairs.y, &pairs.yy)
            && single(&pairs.x, &pairs.xx)
            && [&pairs.yy, &pairs.xx, &pairs.xy].into_iter().all(double);
        if possible { Ok(pairs) } else { Err(DecodeError::Invalid("moments")) }
    }

    /// No variance is negative, and no covariance beyond the variances.
    fn is_possible(&self, count: u64) -> bool {
        let [yy, xx, xy] = self.central(count);
        !yy.negative && !xx.negative && !yy.times(&xx).minus(&xy.times(&xy)).negative
    }

    fn heap_bytes(&self) -> usize {
        self.all().iter().map(|sum| sum.heap_bytes()).sum()
    }

    #[cfg(feature = "finish")]
    fn finish(&self, count: u64, finisher: &Finisher) -> Result<Value, FinishError> {
        let n = count as f64;
        let float = |value| Ok(Value::Float(value));
        match finisher {
            _ if count == 0 => self.answer(1, finisher).map(|_| Value::Null),
            Finisher::CovarSamp if count < 2 => Ok(Value::Null),
            Finisher::RegrAvgY => float(self.y.to_f64() / n),
            Finisher::RegrAvgX => float(self.x.to_f64() / n),
            _ => Ok(self.answer(count, finisher)?.map_or(Value::Null, Value::Float)),
        }
    }
}

#[cfg(feature = "finish")]
impl Pairs {
    /// What is made of the central sums; `None` where a variance that divides is zero.
    fn answer(&self, count: u64, finisher: &Finisher) -> Result<Option<f64>, FinishError> {
        use Finisher as F;
        let n = count as f64;
        let (y, x) = (self.y.special() == 0, self.x.special() == 0);
        let finite = match finisher {
            F::RegrAvgX | F::RegrAvgY => true,
            F::RegrSxx => x,
            F::RegrSyy => y,
            F::CovarPop | F::CovarSamp | F::Corr | F::RegrSxy => x && y,
            F::RegrSlope | F::RegrIntercept | F::RegrR2 => x && y,
            _ => return Err(FinishError::Mismatch),
        };
        if !finite {
            return Ok(Some(f64::NAN));
        }
        let [yy, xx, xy] = self.central(count);
        let over = |dyadic: &Dyadic, divisor: f64| Some(Scaled::from(dyadic).over(divisor.into()).to_f64());
        Ok(match finisher {
            F::RegrSxx => over(&xx, n).map(not_negative),
            F::RegrSyy => over(&yy, n).map(not_negative),
            F::RegrSxy => over(&xy, n),
            F::CovarPop => over(&xy, n * n),
            F::CovarSamp => over(&xy, n * (n - 1.0)),
            F::Corr if is_zero(&xx) || is_zero(&yy) => None,
            F::Corr => Some(signed(share(&xy, &xx, &yy).root().to_f64(), xy.negative)),
            F::RegrSlope | F::RegrIntercept | F::RegrR2 if is_zero(&xx) => None,
            F::RegrSlope => Some(Scaled::from(&xy).over((&xx).into()).to_f64()),
            F::RegrIntercept => Some(self.intercept(&xx)),
            F::RegrR2 if is_zero(&yy) => Some(1.0),
            F::RegrR2 => Some(share(&xy, &xx, &yy).to_f64()),
            _ => None,
        })
    }

    /// `(sum(y) sum(x^2) - sum(x) sum(x y)) / (n sum(x^2) - sum(x)^2)`.
    fn intercept(&self, xx: &Dyadic) -> f64 {
        let (y, x) = (self.y.dyadic(), self.x.dyadic());
        let above = y.times(&self.xx.dyadic()).minus(&x.times(&self.xy.dyadic()));
        Scaled::from(&above).over(xx.into()).to_f64()
    }
}

/// Stored states may break Cauchy's inequality, admitted ones do not.
#[cfg(feature = "finish")]
fn is_zero(spread: &Dyadic) -> bool {
    spread.negative || spread.is_zero()
}

#[cfg(feature = "finish")]
fn not_negative(x: f64) -> f64 {
    x.max(0.0)
}

#[cfg(feature = "finish")]
fn signed(x: f64, negative: bool) -> f64 {
    if negative { -x } else { x }
}

/// The share of the variance that the line explains: `xy^2 / (xx yy)`.
#[cfg(feature = "finish")]
fn share(xy: &Dyadic, xx: &Dyadic, yy: &Dyadic) -> Scaled {
    Scaled::from(&xy.times(xy)).over(Scaled::from(&xx.times(yy)))
}

#[cfg(all(test, feature = "finish"))]
mod tests {
    use super::*;
    use Finisher as F;

    const ALL: [Finisher; 11] = [
        F::CovarPop,
        F::CovarSamp,
        F::Corr,
        F::RegrAvgX,
        F::RegrAvgY,
        F::RegrSxx,
        F::RegrSyy,
        F::RegrSxy,
        F::RegrSlope,
        F::RegrIntercept,
        F::RegrR2,
    ];

    fn answers(pairs: &[[f64; 2]]) -> [Option<f64>; 11] {
        let mut sums = Pairs::default();
        pairs.iter().for_each(|pair| sums.add(pair));
        ALL.map(|finisher| match sums.finish(pairs.len() as u64, &finisher).expect("a finisher of its own") {
            Value::Float(x) => Some(x),
            _ => None,
        })
    }

    #[test]
    fn answers_are_the_exact_ratios() {
        let root = (81f64 / 84.0).sqrt();
        let of = |values: [f64; 11]| values.map(Some);
        let expected = [1.0, 1.5, root, 7.0 / 3.0, 2.0, 14.0 / 3.0, 2.0, 3.0, 9.0 / 14.0, 0.5, 81.0 / 84.0];
        assert_eq!(answers(&[[1.0, 1.0], [2.0, 2.0], [3.0, 4.0]]), of(expected));
    }

    /// A perfect line is one at any distance: PostgreSQL's corr would be a little off 1.
    #[test]
    fn a_line_is_a_line() {
        let line: Vec<[f64; 2]> = (0..50).map(|i| [1e9 - 2.0 * f64::from(i), 1e12 + f64::from(i)]).collect();
        let answers = answers(&line);
        assert_eq!((answers[2], answers[8], answers[10]), (Some(-1.0), Some(-2.0), Some(1.0)));
    }

    /// As PostgreSQL 15 answers.
    #[test]
    fn edges_are_postgresqls() {
        assert_eq!(answers(&[]), [None; 11]);
        let one =
            [Some(0.0), None, None, Some(2.0), Some(1.0), Some(0.0), Some(0.0), Some(0.0), None, None, None];
        assert_eq!(answers(&[[1.0, 2.0]]), one);
        let flat = answers(&[[3.0, 1.0], [3.0, 2.0]]);
        assert_eq!((flat[2], flat[8], flat[9], flat[10]), (None, Some(0.0), Some(3.0), Some(1.0)));
        let infinite = answers(&[[1.0, f64::INFINITY], [3.0, 2.0]]);
        assert_eq!((infinite[3], infinite[4], infinite[6]), (Some(f64::INFINITY), Some(2.0), Some(2.0)));
        assert!([0, 1, 2, 5, 7, 8, 9, 10].iter().all(|&i| infinite[i].is_some_and(f64::is_nan)));
    }
}
