//! Sliding windows: `sw`, `step_factor` and `sw_column`, or PipelineDB's condition on `clock_timestamp()`.
//!
//! A window is cut into panes, a hidden first group key. Readers merge the panes that began less than the window's
//! length ago; older ones are removed. So the window moves by a pane at a time, and what it shows is younger than its
//! length and complete but for the oldest pane.

use super::from::From;
use super::options::{ViewOptions, span_us};
use super::select::Key;
use crate::convert::cast_text;
use crate::definition::{PANE_KEY, SlidingWindow};
use crate::error::SqlError;
use crate::parse::WithOption;
use crate::text::{Text, fold};
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Ident, Value as Literal};
use headwater::plan::{ExprId, Function, Op};
use headwater::schema::ARRIVAL_TIMESTAMP;
use headwater::value::{DataType, Interval, Value};

/// Percent of the window that a pane has unless the view says otherwise: PipelineDB's default.
const STEP_FACTOR: u8 = 5;
/// The shortest pane, microseconds.
const PANE_MIN_US: i64 = 1_000;

/// A window that a definition asks for.
#[derive(Debug)]
pub(super) struct Wanted {
    window: SlidingWindow,
    /// The column that says when an event was.
    column: Ident,
    at: Option<u32>,
}

/// A condition of WHERE that is a window.
pub(super) struct Condition {
    span: Interval,
    column: Ident,
    at: Option<u32>,
}

/// The window that options and WHERE ask for.
pub(super) fn wanted(
    options: &ViewOptions,
    written: &[WithOption],
    condition: Option<Condition>,
) -> Result<Option<Wanted>, SqlError> {
    let option = |names: &[&str]| written.iter().find(|o| names.contains(&o.name.name.as_str()));
    let place = |o: &WithOption| o.value_position.or(o.name.position);
    let sw = option(&["sw", "sliding_window"]);
    let (span, column, at) = match (options.sw, condition) {
        (Some(_), Some(condition)) => {
            let message = "the window is given twice: as option sw, and in WHERE";
            return Err(SqlError::new("42601", message).at(condition.at));
        }
        (Some(span), None) => {
            let name = options.sw_column.as_deref().unwrap_or(ARRIVAL_TIMESTAMP);
            let at = option(&["sw_column"]).or(sw).and_then(place);
            (span, Ident::with_quote('"', name), at)
        }
        (None, Some(Condition { span, column, at })) => (span, column, at),
        (None, None) => {
            let alone = option(&["step_factor", "sw_column"]);
            return alone.map_or(Ok(None), |o| {
                let message = format!("option {} needs option sw", o.name.name);
                Err(SqlError::new("22023", message).at(o.name.position).with_hint("WITH (sw = '1 hour')"))
            });
        }
    };
    if let Some(ttl) = option(&["ttl", "ttl_column"]) {
        let message = format!("option {} beside a sliding window", ttl.name.name);
        let hint = "its panes are removed when the window has passed them";
        return Err(SqlError::new("22023", message).at(ttl.name.position).with_hint(hint));
    }
    let step = i64::from(options.step_factor.unwrap_or(STEP_FACTOR));
    let span_us = span_us(span).unwrap_or(i64::MAX / 100);
    let pane_us = span_us.min(i64::MAX / 100) * step / 100;
    if pane_us < PANE_MIN_US {
        let message = format!("a window must be long enough for steps of {} ms", PANE_MIN_US / 1_000);
        return Err(SqlError::new("22023", message).at(sw.and_then(place).or(at)));
    }
    Ok(Some(Wanted { window: SlidingWindow { span_us, pane_us }, column, at }))
}

impl Wanted {
    pub(super) fn window(&self) -> SlidingWindow {
        self.window
    }

    /// The key of panes. Events without a time are in no window.
    pub(super) fn pane(&self, from: &mut From<'_>) -> Result<Key, SqlError> {
        let time = self.time(from).map_err(|e| e.at(self.at))?;
        if fold(&self.column) != ARRIVAL_TIMESTAMP {
            let known = from.exprs.nodes.push(Op::IsNotNull(time), DataType::Bool)?;
            from.require(known)?;
        }
        let width = Interval { months: 0, days: 0, micros: self.window.pane_us };
        let width = from.exprs.nodes.push(Op::Literal(Value::Interval(width)), DataType::Interval)?;
        let pane = Op::Call(Function::TimeBucket, vec![width, time]);
        let id = from.exprs.nodes.push(pane, DataType::Timestamp)?;
        Ok(Key { id, data_type: DataType::Timestamp, name: PANE_KEY.to_owned() })
    }

    fn time(&self, from: &mut From<'_>) -> Result<ExprId, SqlError> {
        let exprs = &mut from.exprs;
        let typed = exprs.expr(&Expr::Identifier(self.column.clone()))?;
        match typed.known() {
            Some(DataType::Timestamp | DataType::Date) => exprs.nodes.coerce(typed, &DataType::Timestamp),
            _ => {
                let message = format!(
                    "the column of a sliding window must be timestamptz or date, not {}",
                    typed.name()
                );
                Err(SqlError::new("42804", message))
            }
        }
    }
}

/// Takes `column > clock_timestamp() - interval '...'` out of WHERE, as PipelineDB's views have it. The rest of WHERE,
/// and the window.
pub(super) fn split(text: &Text, condition: &Expr) -> Result<(Option<Expr>, Option<Condition>), SqlError> {
    match condition {
        Expr::Nested(inner) => match split(text, inner)? {
            (_, None) => Ok((Some(condition.clone()), None)),
            found => Ok(found),
        },
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            let (left_rest, left_window) = split(text, left)?;
            let (right_rest, right_window) = split(text, right)?;
            if let (Some(_), Some(second)) = (&left_window, &right_window) {
                return Err(SqlError::new("42601", "WHERE has two sliding windows").at(second.at));
            }
            let rest = match (left_rest, right_rest) {
                (Some(left), Some(right)) => Some(Expr::BinaryOp {
                    left: Box::new(left),
                    op: BinaryOperator::And,
                    right: Box::new(right),
                }),
                (left, right) => left.or(right),
            };
            Ok((rest, left_window.or(right_window)))
        }
        other => match window_of(text, other)? {
            Some(window) => Ok((None, Some(window))),
            None => Ok((Some(other.clone()), None)),
        },
    }
}

fn window_of(text: &Text, expr: &Expr) -> Result<Option<Condition>, SqlError> {
    use BinaryOperator::{Gt, GtEq, Lt, LtEq};
    let (column, since) = match expr {
        Expr::BinaryOp { left, op: Gt | GtEq, right } => (left, right),
        Expr::BinaryOp { left, op: Lt | LtEq, right } => (right, left),
        _ => return Ok(None),
    };
    let (Expr::Identifier(column), Some(span)) = (bare(column), span_before_now(bare(since))) else {
        return Ok(None);
    };
    let at = text.of(span);
    let span = literal_interval(span).map_err(|e| e.at(at))?;
    Ok(span.map(|span| Condition { span, column: column.clone(), at }))
}

fn bare(expr: &Expr) -> &Expr {
    if let Expr::Nested(inner) = expr { bare(inner) } else { expr }
}

/// The span of `clock_timestamp() - span`.
fn span_before_now(expr: &Expr) -> Option<&Expr> {
    let Expr::BinaryOp { left, op: BinaryOperator::Minus, right } = expr else { return None };
    let Expr::Function(now) = bare(left) else { return None };
    let name = super::function::function_name(now).ok()?;
    matches!(name.as_str(), "clock_timestamp" | "now" | "current_timestamp").then(|| bare(right))
}

fn literal_interval(expr: &Expr) -> Result<Option<Interval>, SqlError> {
    let quoted = |value: &Literal| value.clone().into_string();
    let written = match expr {
        Expr::Interval(interval) => match (interval.value.as_ref(), &interval.leading_field) {
            (Expr::Value(value), None) => quoted(&value.value),
            (Expr::Value(value), Some(field)) => {
                let count = match &value.value {
                    Literal::Number(digits, _) => Some(digits.clone()),
                    other => quoted(other),
                };
                count.map(|count| format!("{count} {field}"))
            }
            _ => None,
        },
        Expr::Value(value) => quoted(&value.value),
        _ => None,
    };
    let Some(written) = written else { return Ok(None) };
    match cast_text(&written, &DataType::Interval)? {
        Value::Interval(span) if span_us(span).is_some_and(|us| us > 0) => Ok(Some(span)),
        _ => Err(SqlError::new("22023", "the length of a sliding window must be positive")),
    }
}
