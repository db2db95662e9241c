//! `WITH (...)` of a view: names, types and ranges of its options.

use crate::convert::cast_text;
use crate::definition::ViewDef;
use crate::error::SqlError;
use crate::parse::{Name, WithOption};
use crate::suggest::did_you_mean;
use headwater::value::{DataType, Interval, Value};

/// Groups a producer keeps between flushes when the view does not say: what a native client may send in one batch.
pub const GROUPS_MAX_DEFAULT: u32 = 65_536;

/// What an option's value must be.
enum Kind {
    Whole(i64, i64),
    Fraction(f64, f64),
    Flag,
    OneOf(&'static [&'static str]),
    Span,
    Column,
}

/// Every option. Those about clusters are checked and kept.
const OPTIONS: &[(&str, Kind)] = &[
    ("num_shards", Kind::Whole(1, 4_096)),
    ("num_replicas", Kind::Whole(0, 16)),
    ("sharding_policy", Kind::OneOf(&["read_optimized", "write_optimized"])),
    ("primary_only", Kind::Flag),
    ("skip_unavailable", Kind::Flag),
    ("ttl", Kind::Span),
    ("ttl_column", Kind::Column),
    ("group_cap", Kind::Whole(1, 10_000_000)),
    ("max_groups", Kind::Whole(1, 10_000_000)),
    ("hll_precision", Kind::Whole(4, 18)),
    ("quantile_error", Kind::Fraction(0.0001, 0.2)),
    ("sw", Kind::Span),
    ("sliding_window", Kind::Span),
    ("step_factor", Kind::Whole(1, 50)),
    ("sw_column", Kind::Column),
];

/// Options of PipelineDB that are not here.
const REFUSED: &[&str] = &["pk", "fillfactor", "tablespace", "outputfunc"];

/// Options that a view has for life: its states and keys are made by them.
const LASTING: &[&str] =
    &["hll_precision", "quantile_error", "sw", "sliding_window", "step_factor", "sw_column"];

/// A view's options, read.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ViewOptions {
    /// Groups older than this leave the view.
    pub ttl: Option<Interval>,
    /// The column that `ttl` looks at.
    pub ttl_column: Option<String>,
    /// Most groups a producer keeps between flushes, and about how many the hub keeps per shard group.
    pub group_cap: Option<u32>,
    /// Precision of distinct counts, 4..=18.
    pub hll_precision: Option<u8>,
    /// Relative error of quantiles, millionths.
    pub quantile_error_ppm: Option<u32>,
    /// How many shards the view wants.
    pub num_shards: Option<u32>,
    /// How many copies beside the primary.
    pub num_replicas: Option<u32>,
    /// Length of the sliding window.
    pub sw: Option<Interval>,
    /// Percent of the window by which it slides, 1..=50.
    pub step_factor: Option<u8>,
    /// The column of times by which it slides.
    pub sw_column: Option<String>,
}

impl ViewDef {
    /// The options, read; what does not parse (a newer catalog) reads as absent.
    pub fn typed_options(&self) -> ViewOptions {
        let mut options = ViewOptions::default();
        self.options.iter().for_each(|(name, value)| options.read(name, value));
        options
    }
}

impl ViewOptions {
    fn read(&mut self, name: &str, value: &str) {
        match name {
            "ttl" => self.ttl = value.parse().ok(),
            "ttl_column" => self.ttl_column = Some(value.to_owned()),
            "group_cap" | "max_groups" => self.group_cap = value.parse().ok(),
            "hll_precision" => self.hll_precision = value.parse().ok(),
            "quantile_error" => {
                self.quantile_error_ppm = value.parse().ok().map(|e: f64| (e * 1e6).round() as u32)
            }
            "num_shards" => self.num_shards = value.parse().ok(),
            "num_replicas" => self.num_replicas = value.parse().ok(),
            "sw" | "sliding_window" => self.sw = value.parse().ok(),
            "step_factor" => self.step_factor = value.parse().ok(),
            "sw_column" => self.sw_column = Some(value.to_owned()),
            _ => {}
        }
    }
}

/// Checks every option.
///
/// # Errors
/// `22023` for an unknown option or a value out of range, with its position.
pub(super) fn check(options: &[WithOption]) -> Result<ViewOptions, SqlError> {
    let mut read = ViewOptions::default();
    for option in options {
        let name = option.name.name.as_str();
        if REFUSED.contains(&name) {
            return Err(SqlError::unsupported(format!("option {name}")).at(option.name.position));
        }
        let Some((_, kind)) = OPTIONS.iter().find(|(known, _)| *known == name) else {
            return Err(unknown(&option.name));
        };
        kind.check(&option.value).map_err(|want| {
            SqlError::new("22023", format!("option {name} must be {want}, not \"{}\"", option.value))
                .at(option.value_position)
        })?;
        read.read(name, &option.value);
    }
    check_twice(options)?;
    Ok(read)
}

/// Refuses an option under both of its names.
fn check_twice(options: &[WithOption]) -> Result<(), SqlError> {
    for (name, other) in [("sw", "sliding_window"), ("group_cap", "max_groups")] {
        let has = |name: &str| options.iter().find(|o| o.name.name == name);
        if let (Some(_), Some(second)) = (has(name), has(other)) {
            let message = format!("options {name} and {other} are the same");
            return Err(SqlError::new("42601", message).at(second.name.position));
        }
    }
    Ok(())
}

/// Refuses to change what a view has for life.
pub(super) fn check_alterable(name: &Name) -> Result<(), SqlError> {
    if LASTING.contains(&name.name.as_str()) {
        let message = format!("option {} of a view that exists cannot be changed", name.name);
        return Err(SqlError::new("0A000", message)
            .at(name.position)
            .with_hint("its states are made by it: CREATE OR REPLACE CONTINUOUS VIEW starts anew"));
    }
    if !OPTIONS.iter().any(|(known, _)| *known == name.name) {
        return Err(unknown(name));
    }
    Ok(())
}

fn unknown(name: &Name) -> SqlError {
    let hint = did_you_mean(&name.name, OPTIONS.iter().map(|(known, _)| *known)).unwrap_or_else(all);
    SqlError::new("22023", format!("unknown option \"{}\"", name.name)).at(name.position).with_hint(hint)
}

/// Microseconds of an interval, where a month counts 30 days, as PostgreSQL compares intervals.
pub(crate) fn span_us(span: Interval) -> Option<i64> {
    let days = i64::from(span.months) * 30 + i64::from(span.days);
    days.checked_mul(86_400_000_000)?.checked_add(span.micros)
}

fn all() -> String {
    format!("options: {}", OPTIONS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "))
}

impl Kind {
    fn check(&self, value: &str) -> Result<(), String> {
        let (ok, want) = match self {
            Self::Whole(min, max) => {
                let ok = value.parse::<i64>().is_ok_and(|v| (*min..=*max).contains(&v));
                (ok, format!("a whole number from {min} to {max}"))
            }
            Self::Fraction(min, max) => {
                let ok = value.parse::<f64>().is_ok_and(|v| (*min..=*max).contains(&v));
                (ok, format!("a number from {min} to {max}"))
            }
            Self::Flag => {
                (matches!(cast_text(value, &DataType::Bool), Ok(Value::Bool(_))), "true or false".to_owned())
            }
            Self::OneOf(words) => (words.contains(&value), words.join(" or ")),
            Self::Span => {
                let span = value.parse().ok();
                let positive =
                    |i: Interval| i.months >= 0 && i.days >= 0 && i.micros >= 0 && i != Interval::default();
                (span.is_some_and(positive), "a positive interval such as '30 days'".to_owned())
            }
            Self::Column => (!value.is_empty(), "the name of a column".to_owned()),
        };
        if ok { Ok(()) } else { Err(want) }
    }
}
