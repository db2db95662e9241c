//! PostgreSQL's implicit conversions: what type two operands share, and the casts that take them there.

use super::nodes::Nodes;
use crate::convert;
use crate::error::SqlError;
use crate::types::type_name;
use headwater::plan::{ExprId, Op};
use headwater::value::{DataType, Value};

/// A compiled expression, or a constant whose type its surroundings decide.
#[derive(Clone, Debug)]
pub(super) struct Typed {
    pub(super) what: What,
    /// Where it stands.
    pub(super) at: Option<u32>,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    /// A node of this type.
    Node(ExprId, DataType),
    /// A quoted literal: text unless something else is expected.
    Text(String),
    /// NULL: of any type.
    Null,
}

impl Typed {
    /// The type, when it is decided.
    pub(super) fn known(&self) -> Option<&DataType> {
        match &self.what {
            What::Node(_, data_type) => Some(data_type),
            _ => None,
        }
    }

    /// The type for people: `unknown` while undecided, as PostgreSQL says.
    pub(super) fn name(&self) -> String {
        self.known().map_or_else(|| "unknown".to_owned(), type_name)
    }
}

impl Nodes {
    /// The expression as a node; undecided text becomes `text`, an undecided NULL too.
    pub(super) fn settle(&mut self, typed: Typed) -> Result<(ExprId, DataType), SqlError> {
        match typed.what {
            What::Node(id, data_type) => Ok((id, data_type)),
            What::Text(text) => {
                Ok((self.push(Op::Literal(Value::Text(text)), DataType::Text)?, DataType::Text))
            }
            What::Null => Ok((self.push(Op::Literal(Value::Null), DataType::Text)?, DataType::Text)),
        }
    }

    /// The expression as a node of type `to`, by an implicit conversion.
    ///
    /// # Errors
    /// `42804` when there is none; `22P02` and the like when a literal does not read as `to`.
    pub(super) fn coerce(&mut self, typed: Typed, to: &DataType) -> Result<ExprId, SqlError> {
        match typed.what {
            What::Null => self.push(Op::Literal(Value::Null), to.clone()),
            What::Text(text) => {
                let value = convert::cast_text(&text, to).map_err(|e| e.at(typed.at))?;
                self.push(Op::Literal(value), to.clone())
            }
            What::Node(id, from) if is_implicit(&from, to) => self.cast(id, &from, to, false),
            What::Node(_, from) => {
                let message = format!("expected {}, found {}", type_name(to), type_name(&from));
                let hint = format!("write CAST(... AS {})", type_name(to));
                Err(SqlError::new("42804", message).at(typed.at).with_hint(hint))
            }
        }
    }

    /// A cast node, unless it changes nothing; constants are cast now.
    pub(super) fn cast(
        &mut self,
        id: ExprId,
        from: &DataType,
        to: &DataType,
        try_cast: bool,
    ) -> Result<ExprId, SqlError> {
        if from == to {
            return Ok(id);
        }
        let constant = self.literal(id).and_then(|value| convert::cast_value(value, from, to));
        match constant {
            Some(value) => self.push(Op::Literal(value), to.clone()),
            None => self.push(Op::Cast { input: id, try_cast }, to.clone()),
        }
    }

    /// All of them as nodes of one type.
    pub(super) fn unify(
        &mut self,
        items: Vec<Typed>,
        what: &str,
    ) -> Result<(Vec<ExprId>, DataType), SqlError> {
        let data_type = common_of(&items, what)?;
        let ids = items.into_iter().map(|item| self.coerce(item, &data_type)).collect::<Result<_, _>>()?;
        Ok((ids, data_type))
    }
}

/// The type that all items share; `text` when none has decided.
fn common_of(items: &[Typed], what: &str) -> Result<DataType, SqlError> {
    let mut common: Option<DataType> = None;
    for item in items {
        let Some(data_type) = item.known() else { continue };
        common = Some(match common {
            None => data_type.clone(),
            Some(before) => common_type(&before, data_type).ok_or_else(|| {
                let message = format!(
                    "{what}: types {} and {} cannot be matched",
                    type_name(&before),
                    type_name(data_type)
                );
                SqlError::new("42804", message).at(item.at)
            })?,
        });
    }
    Ok(common.unwrap_or(DataType::Text))
}

/// The type to which both convert implicitly.
pub(super) fn common_type(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType as T;
    if a == b {
        return Some(a.clone());
    }
    match (a, b) {
        (T::Date, T::Timestamp) | (T::Timestamp, T::Date) => Some(T::Timestamp),
        _ if !a.is_numeric() || !b.is_numeric() => None,
        _ if a.is_float() || b.is_float() => Some(T::Float64),
        _ if a.is_int() && b.is_int() => Some(if int_rank(a) > int_rank(b) { a.clone() } else { b.clone() }),
        _ => Some(common_decimal(digits(a), digits(b))),
    }
}

fn int_rank(data_type: &DataType) -> u8 {
    match data_type {
        DataType::Int16 => 1,
        DataType::Int32 => 2,
        _ => 3,
    }
}

/// Precision and scale that hold every value of an integer or decimal type.
pub(super) fn digits(data_type: &DataType) -> (u8, u8) {
    match data_type {
        DataType::Decimal { precision, scale } => (*precision, *scale),
        DataType::Int16 => (5, 0),
        DataType::Int32 => (10, 0),
        _ => (19, 0),
    }
}

fn common_decimal((p1, s1): (u8, u8), (p2, s2): (u8, u8)) -> DataType {
    let scale = s1.max(s2);
    DataType::Decimal { precision: ((p1 - s1).max(p2 - s2) + scale).min(38), scale }
}

/// PostgreSQL's implicit casts: towards wider numbers, and dates to timestamps. A decimal converts to any other
/// decimal: an overflow is found per row.
pub(super) fn is_implicit(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    match (from, to) {
        _ if from == to => true,
        (T::Null, _) | (T::Date, T::Timestamp) | (T::Decimal { .. }, T::Decimal { .. }) => true,
        _ if from.is_int() && to.is_int() => int_rank(from) < int_rank(to),
        _ if from.is_int() => matches!(to, T::Decimal { .. }) || to.is_float(),
        (T::Decimal { .. }, _) => to.is_float(),
        (T::Float32, T::Float64) => true,
        _ => false,
    }
}

/// Casts that have to be written.
pub(super) fn is_explicit(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    // Producers have no text of intervals; constants are read when the definition is.
    let scalar = |t: &DataType| !matches!(t, T::List(_) | T::Struct(_) | T::Interval);
    match (from, to) {
        _ if is_implicit(from, to) => true,
        _ if from.is_numeric() && to.is_numeric() => true,
        (T::Text, _) => scalar(to),
        (_, T::Text) => scalar(from),
        (T::Bool, T::Int32) | (T::Int32, T::Bool) | (T::Timestamp, T::Date) => true,
        _ => false,
    }
}
