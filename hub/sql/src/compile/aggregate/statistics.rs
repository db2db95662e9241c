//! Statistics of one and of two variables: exact sums of doubles and what becomes of them.

use super::{Call, Parts};
use crate::error::SqlError;
use headwater::aggregate::{AggregateSpec, Finisher};

/// The aggregates here, by name.
pub(super) fn parts(call: &mut Call<'_, '_>, name: &str) -> Option<Result<Parts, SqlError>> {
    use Finisher as F;
    let of_one = |finisher| Some((AggregateSpec::Moments4, finisher));
    let of_two = |finisher| Some((AggregateSpec::Regression, finisher));
    let (spec, finisher) = match name {
        "skewness" | "skewness_samp" => of_one(F::SkewnessSamp),
        "skewness_pop" => of_one(F::SkewnessPop),
        "kurtosis" | "kurtosis_samp" => of_one(F::KurtosisSamp),
        "kurtosis_pop" => of_one(F::KurtosisPop),
        "covar_pop" => of_two(F::CovarPop),
        "covar_samp" => of_two(F::CovarSamp),
        "corr" => of_two(F::Corr),
        "regr_count" => of_two(F::Count),
        "regr_avgx" => of_two(F::RegrAvgX),
        "regr_avgy" => of_two(F::RegrAvgY),
        "regr_sxx" => of_two(F::RegrSxx),
        "regr_syy" => of_two(F::RegrSyy),
        "regr_sxy" => of_two(F::RegrSxy),
        "regr_slope" => of_two(F::RegrSlope),
        "regr_intercept" => of_two(F::RegrIntercept),
        "regr_r2" => of_two(F::RegrR2),
        _ => None,
    }?;
    Some(call.doubles(spec, finisher))
}

impl Call<'_, '_> {
    /// As many doubles as the state takes.
    pub(super) fn doubles(&mut self, spec: AggregateSpec, finisher: Finisher) -> Result<Parts, SqlError> {
        let arity = spec.arity();
        self.check(arity..=arity)?;
        // Looked at together first: an error names the types of all.
        let no_match = self.no_match();
        let args = (0..arity)
            .map(|_| self.double().map_err(|e| if e.code == "42883" { no_match.clone() } else { e }));
        let args = args.collect::<Result<Vec<_>, _>>()?;
        Parts::finish(spec, args, finisher)
    }
}
