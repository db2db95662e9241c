//! `VALUES` of literals and parameters, read as they stand: a literal is read as its column's type, and nothing is
//! planned.

use super::assigned::mismatch;
use super::rows::{Rows, Slot};
use crate::engine::parameters::{self, Parameter, ParameterValue};
use crate::engine::{failure, guard};
use crate::error::SqlError;
use crate::text::Text;
use crate::types::parse_type;
use datafusion::sql::sqlparser::ast::{Expr, Query, SetExpr, UnaryOperator, Value, Values};
use headwater::emit::Cell;
use headwater::value::DataType;
use std::borrow::Cow;

/// A query's rows, if it is VALUES and nothing else.
pub(super) struct Constants<'a> {
    values: Option<&'a Values>,
    parameters: &'a [Parameter],
    text: &'a Text,
}

/// A value as it was written.
enum Constant<'a> {
    Null,
    Default,
    Bool(bool),
    Number(Cow<'a, str>),
    Text(&'a str),
}

impl<'a> Constants<'a> {
    pub(super) fn of(query: &'a Query, parameters: &'a [Parameter], text: &'a Text) -> Self {
        let is_plain = query.with.is_none()
            && query.order_by.is_none()
            && query.limit_clause.is_none()
            && query.fetch.is_none();
        let values = match query.body.as_ref() {
            SetExpr::Values(values) if is_plain => Some(values),
            _ => None,
        };
        Self { values, parameters, text }
    }

    /// Adds all rows. False, and none added, when some value is more than a constant.
    pub(super) fn fill(&self, rows: &mut Rows<'_>) -> Result<bool, SqlError> {
        let Some(values) = self.values else { return Ok(false) };
        self.check_widths(values, rows)?;
        let target = |at| rows.target(at).map(|field| &field.data_type);
        let mut all = values.rows.iter().flat_map(|row| row.iter().enumerate());
        if !all.all(|(at, expr)| self.constant(expr, target(at)).is_some()) {
            return Ok(false);
        }
        self.charge(values)?;
        for row in &values.rows {
            rows.push(|at, slot| {
                let Some(expr) = row.get(at) else { return Ok(()) };
                let Some(constant) = self.constant(expr, Some(&slot.field().data_type)) else {
                    return Ok(());
                };
                put(&constant, slot).map_err(|error| error.at(self.text.of(expr)))
            })?;
        }
        Ok(true)
    }

    fn check_widths(&self, values: &Values, rows: &Rows<'_>) -> Result<(), SqlError> {
        let Some(width) = values.rows.first().map(|row| row.len()) else { return Ok(()) };
        if let Some(odd) = values.rows.iter().find(|row| row.len() != width) {
            let at = odd.first().and_then(|expr| self.text.of(expr));
            return Err(SqlError::new("42601", "VALUES lists must all be the same length").at(at));
        }
        let beyond = values.rows.first().and_then(|row| row.get(rows.width()).or(row.first()));
        rows.check_count(width).map_err(|error| error.at(beyond.and_then(|expr| self.text.of(expr))))
    }

    fn constant(&self, expr: &'a Expr, wanted: Option<&DataType>) -> Option<Constant<'a>> {
        match expr {
            Expr::Nested(inner) => self.constant(inner, wanted),
            Expr::Identifier(_) if is_default(expr) => Some(Constant::Default),
            Expr::Cast { expr, data_type, .. } if wanted == parse_type(data_type).ok().as_ref() => {
                match self.constant(expr, wanted)? {
                    constant @ (Constant::Text(_) | Constant::Null) => Some(constant),
                    _ => None,
                }
            }
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match self.constant(expr, wanted)? {
                Constant::Number(digits) if !digits.starts_with('-') => {
                    Some(Constant::Number(Cow::Owned(format!("-{digits}"))))
                }
                _ => None,
            },
            Expr::Value(value) => match &value.value {
                Value::Null => Some(Constant::Null),
                Value::Boolean(v) => Some(Constant::Bool(*v)),
                Value::Number(digits, _) => Some(Constant::Number(Cow::Borrowed(digits))),
                Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => {
                    Some(Constant::Text(text))
                }
                Value::Placeholder(_) => self.parameter(expr, wanted),
                _ => None,
            },
            _ => None,
        }
    }

    /// A parameter that is named often is copied as often.
    fn charge(&self, values: &Values) -> Result<(), SqlError> {
        let size = |parameter: &Parameter| match &parameter.value {
            ParameterValue::Text(text) => text.len(),
            _ => 0,
        };
        let uses = values.rows.iter().flat_map(|row| row.iter()).filter_map(parameters::number_of);
        let used = uses.filter_map(|number| self.parameters.get(number - 1)).map(size);
        let copies = used.sum::<usize>().saturating_sub(self.parameters.iter().map(size).sum());
        guard::keep(copies).map_err(|error| failure::from_datafusion(error, self.text))
    }

    fn parameter(&self, expr: &Expr, wanted: Option<&DataType>) -> Option<Constant<'a>> {
        let number = parameters::number_of(expr)?;
        let parameter = self.parameters.get(number - 1)?;
        match &parameter.value {
            ParameterValue::Null => Some(Constant::Null),
            ParameterValue::Text(text) if wanted.is_some_and(is_whole) => {
                Some(assigned(text, parameter.data_type.as_ref()).unwrap_or(Constant::Text(text)))
            }
            ParameterValue::Text(text) => Some(Constant::Text(text)),
            ParameterValue::List(_) => None,
        }
    }
}

/// A number for a column of whole ones, which PostgreSQL's assignment rounds: a numeric half away from zero, a double half to
/// even.
fn assigned<'a>(text: &'a str, declared: Option<&DataType>) -> Option<Constant<'a>> {
    match declared? {
        DataType::Decimal { .. } => Some(Constant::Number(Cow::Borrowed(text))),
        DataType::Float32 | DataType::Float64 => {
            let number: f64 = text.parse().ok().filter(|number: &f64| number.is_finite())?;
            Some(Constant::Number(Cow::Owned(number.round_ties_even().to_string())))
        }
        _ => None,
    }
}

/// The word DEFAULT, which is no column's name.
pub(super) fn is_default(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
}

fn put(constant: &Constant<'_>, slot: &mut Slot<'_>) -> Result<(), SqlError> {
    let data_type = slot.field().data_type.clone();
    match constant {
        Constant::Null => slot.put(Cell::Null),
        Constant::Default => slot.put_default(),
        Constant::Text(text) => slot.put(Cell::Text(text)),
        Constant::Bool(v) if data_type == DataType::Text => {
            slot.put(Cell::Text(if *v { "true" } else { "false" }))
        }
        Constant::Bool(v) if data_type == DataType::Bool => slot.put(Cell::Bool(*v)),
        Constant::Bool(_) => Err(mismatch(slot.field(), &DataType::Bool)),
        Constant::Number(digits) if data_type == DataType::Text => slot.put(Cell::Text(digits)),
        Constant::Number(digits) if is_whole(&data_type) => slot.put(rounded(digits)),
        Constant::Number(digits) if data_type.is_numeric() => slot.put(Cell::Text(digits)),
        Constant::Number(digits) => {
            let is_fraction = digits.contains(['.', 'e', 'E']);
            let decimal = DataType::Decimal { precision: 38, scale: 0 };
            Err(mismatch(slot.field(), if is_fraction { &decimal } else { &DataType::Int32 }))
        }
    }
}

pub(super) fn is_whole(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int16 | DataType::Int32 | DataType::Int64)
}

/// A number for a column of whole ones: PostgreSQL's assignment rounds, half away from zero.
pub(super) fn rounded(digits: &str) -> Cell<'_> {
    match digits.contains(['.', 'e', 'E']).then(|| whole(digits)).flatten() {
        Some(number) => Cell::Int(number),
        None => Cell::Text(digits),
    }
}

/// The whole number nearest to a decimal one; `None` where it has more digits than any column.
fn whole(decimal: &str) -> Option<i128> {
    /// What has more digits in front of the point is out of every range.
    const DIGITS_MAX: i64 = 30;
    let (mantissa, exponent) = decimal.split_once(['e', 'E']).unwrap_or((decimal, "0"));
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or((1, mantissa), |rest| (-1, rest));
    let (before, behind) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{before}{behind}");
    let point = exponent.parse::<i64>().ok()?.checked_add(i64::try_from(before.len()).ok()?)?;
    let leading = digits.len() - digits.trim_start_matches('0').len();
    if leading == digits.len() {
        return Some(0);
    }
    if point.checked_sub(i64::try_from(leading).ok()?)? > DIGITS_MAX {
        return None;
    }
    let Ok(point) = usize::try_from(point) else { return Some(0) };
    let (kept, cut) = digits.split_at(point.min(digits.len()));
    let kept = format!("0{kept}{}", "0".repeat(point.saturating_sub(digits.len())));
    let up = i128::from(cut.starts_with(|digit: char| digit >= '5'));
    Some(sign * (kept.parse::<i128>().ok()? + up))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Doubles lost the last digits of what fits a bigint.
    #[test]
    fn decimals_become_whole_numbers_by_their_digits() {
        let cases = [
            ("9007199254740993.0", Some(9_007_199_254_740_993)),
            ("1e18", Some(1_000_000_000_000_000_000)),
            ("-9223372036854775808.4", Some(i128::from(i64::MIN))),
            ("2.5", Some(3)),
            ("-2.5", Some(-3)),
            ("0.49999999999999999999", Some(0)),
            (".5", Some(1)),
            ("5e-1", Some(1)),
            ("49e-2", Some(0)),
            ("1e-400", Some(0)),
            ("0e400", Some(0)),
            ("0.0001e4", Some(1)),
            ("1e400", None),
            ("1e", None),
        ];
        for (decimal, wanted) in cases {
            assert_eq!(whole(decimal), wanted, "{decimal}");
        }
    }
}
