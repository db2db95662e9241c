//! Rows as serde data: a row is a map of its columns, a sequence of its values, or its only value.

use crate::schema::Field;
use crate::value::{DataType, Value};
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

/// Why a row does not fit a type.
pub(super) type Error = serde::de::value::Error;

/// Reads one row; an error names the column that does not fit.
pub(super) fn row<T: DeserializeOwned>(columns: &[Field], values: Vec<Value>) -> Result<T, String> {
    let cells = columns.iter().zip(values);
    let cells = cells
        .map(|(field, value)| (field.name.as_str(), Cell { value, data_type: &field.data_type }))
        .collect();
    let at = std::cell::Cell::new(None);
    T::deserialize(Row { cells, at: &at }).map_err(|error| {
        let message = told(&error.to_string());
        match at.get().and_then(|at: usize| columns.get(at)) {
            Some(field) => format!("column {}: {message}", field.name),
            None => message,
        }
    })
}

/// serde calls NULL a unit.
fn told(message: &str) -> String {
    match message.strip_prefix("invalid type: unit value, ") {
        Some(expected) => format!("NULL, {expected}; an Option takes it"),
        None => message.into(),
    }
}

struct Row<'a> {
    cells: Vec<(&'a str, Cell<'a>)>,
    /// The column that is being read.
    at: &'a std::cell::Cell<Option<usize>>,
}

impl<'a> Row<'a> {
    /// One by one, noting which is read.
    fn noted(self) -> impl Iterator<Item = (&'a str, Cell<'a>)> {
        let mut cells = self.cells.into_iter().enumerate();
        let at = self.at;
        std::iter::from_fn(move || {
            let next = cells.next();
            at.set(next.as_ref().map(|(index, _)| *index));
            next.map(|(_, cell)| cell)
        })
    }

    fn only(self) -> Result<Self, Error> {
        match self.cells.len() {
            1 => {
                self.at.set(Some(0));
                Ok(self)
            }
            count => Err(Error::custom(format!("one value wanted, the row has {count} columns"))),
        }
    }
}

/// A row of one column stands for its value.
macro_rules! only_value {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let mut row = self.only()?;
            row.cells.remove(0).1.$method(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Row<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(MapDeserializer::new(self.noted()))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(SeqDeserializer::new(self.noted().map(|(_, cell)| cell)))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    only_value! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64
        deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf deserialize_option
        deserialize_unit
    }

    forward_to_deserialize_any! { unit_struct map struct enum identifier ignored_any }
}

struct Cell<'a> {
    value: Value,
    data_type: &'a DataType,
}

impl Cell<'_> {
    fn text(&self) -> Option<String> {
        crate::expr::value_text(&self.value, self.data_type)
    }

    /// A `numeric` without fraction as an integer; other values as they are.
    fn integer(self) -> Result<Self, Error> {
        let (Value::Decimal(units), DataType::Decimal { scale, .. }) = (&self.value, self.data_type) else {
            return Ok(self);
        };
        let unit = 10i128.checked_pow(u32::from(*scale)).unwrap_or(i128::MAX);
        let whole = i64::try_from(units / unit).ok().filter(|_| units % unit == 0);
        let whole = whole.ok_or_else(|| Error::custom("numeric does not fit a 64-bit integer"))?;
        Ok(Self { value: Value::Int(whole), data_type: self.data_type })
    }
}

macro_rules! integers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.integer()?.deserialize_any(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Cell<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let text = matches!(self.value, Value::Decimal(_)).then(|| self.text()).flatten();
        match (self.value, self.data_type) {
            (Value::Null, _) => visitor.visit_unit(),
            (Value::Bool(v), _) => visitor.visit_bool(v),
            (Value::Int(v), _) => visitor.visit_i64(v),
            (Value::Float(v), _) => visitor.visit_f64(v),
            (Value::Decimal(_), _) => visitor.visit_string(text.unwrap_or_default()),
            (Value::Text(v), _) => visitor.visit_string(v),
            (Value::Bytes(v), _) => visitor.visit_byte_buf(v),
            (Value::Interval(v), _) => visitor.visit_map(MapDeserializer::new(
                [("months", i64::from(v.months)), ("days", i64::from(v.days)), ("micros", v.micros)]
                    .into_iter(),
            )),
            (Value::List(values), DataType::List(data_type)) => {
                let cells = values.into_iter().map(|value| Cell { value, data_type });
                visitor.visit_seq(SeqDeserializer::new(cells))
            }
            (Value::Struct(values), DataType::Struct(fields)) => {
                let cells = fields.iter().zip(values);
                let cells =
                    cells.map(|((name, data_type), value)| (name.as_str(), Cell { value, data_type }));
                visitor.visit_map(MapDeserializer::new(cells))
            }
            _ => Err(Error::custom("value does not fit its column")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match (&self.value, self.text()) {
            (Value::Decimal(_), Some(text)) => visitor.visit_f64(text.parse().map_err(Error::custom)?),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match (&self.value, self.text()) {
            (Value::Text(_), _) | (_, None) => self.deserialize_any(visitor),
            (_, Some(text)) => visitor.visit_string(text),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match (self.value, self.data_type) {
            (Value::Struct(values), DataType::Struct(fields)) => {
                let cells =
                    fields.iter().zip(values).map(|((_, data_type), value)| Cell { value, data_type });
                visitor.visit_seq(SeqDeserializer::new(cells))
            }
            (Value::Bytes(bytes), _) => visitor.visit_seq(SeqDeserializer::new(bytes.into_iter())),
            (value, data_type) => Cell { value, data_type }.deserialize_any(visitor),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let text = self.text().ok_or_else(|| Error::custom("an enum is read from text"))?;
        visitor.visit_enum(text.into_deserializer())
    }

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
    }

    forward_to_deserialize_any! {
        bool char bytes byte_buf unit unit_struct map struct identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, Error> for Cell<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::Rows;
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Line {
        url: String,
        views: u64,
        total: f64,
        exact: String,
        at: String,
        micros: i64,
        p99: Option<f64>,
        top: Vec<(String, i64)>,
    }

    fn field(name: &str, data_type: DataType) -> Field {
        Field { name: name.into(), data_type }
    }

    fn rows() -> Rows {
        let numeric = DataType::Decimal { precision: 38, scale: 2 };
        let pair =
            DataType::Struct(vec![("value".into(), DataType::Text), ("count".into(), DataType::Int64)]);
        Rows {
            columns: vec![
                field("url", DataType::Text),
                field("views", DataType::Decimal { precision: 38, scale: 0 }),
                field("total", numeric.clone()),
                field("exact", numeric),
                field("at", DataType::Timestamp),
                field("micros", DataType::Timestamp),
                field("p99", DataType::Float64),
                field("top", DataType::List(Box::new(pair))),
            ],
            rows: vec![vec![
                Value::Text("/".into()),
                Value::Decimal(7),
                Value::Decimal(-1_250),
                Value::Decimal(-1_250),
                Value::Int(1_700_000_000_000_000),
                Value::Int(5),
                Value::Null,
                Value::List(vec![Value::Struct(vec![Value::Text("de".into()), Value::Int(3)])]),
            ]],
            tag: "SELECT 1".into(),
        }
    }

    #[test]
    fn rows_read_as_structs() {
        let line = Line {
            url: "/".into(),
            views: 7,
            total: -12.5,
            exact: "-12.50".into(),
            at: "2023-11-14 22:13:20+00".into(),
            micros: 5,
            p99: None,
            top: vec![("de".into(), 3)],
        };
        assert_eq!(rows().into_typed::<Line>(), Ok(vec![line]));
    }

    #[test]
    fn rows_read_as_tuples_and_single_values() {
        let rows = |columns, row| Rows { columns, rows: vec![row], tag: String::new() };
        let two = || vec![field("a", DataType::Text), field("b", DataType::Int64)];
        let row = vec![Value::Text("x".into()), Value::Int(4)];
        assert_eq!(rows(two(), row.clone()).into_typed::<(String, i64)>(), Ok(vec![("x".into(), 4)]));
        let error = rows(two(), row).into_typed::<i64>().expect_err("two columns");
        assert_eq!(error.code(), "row");
        let one = rows(vec![field("n", DataType::Int64)], vec![Value::Int(4)]);
        assert_eq!(one.clone().into_typed::<i64>(), Ok(vec![4]));
        assert_eq!(one.into_typed::<Option<u8>>(), Ok(vec![Some(4)]));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let rows = Rows {
            columns: vec![field("n", DataType::Decimal { precision: 38, scale: 1 })],
            rows: vec![vec![Value::Decimal(20)], vec![Value::Decimal(15)]],
            tag: String::new(),
        };
        let error = rows.into_typed::<i64>().expect_err("1.5 is not an integer");
        assert_eq!(error.to_string(), "row 1: column n: numeric does not fit a 64-bit integer");
        let error = self::rows().into_typed::<(String, u64, f64, f64, String, i64, f64)>().expect_err("NULL");
        assert_eq!(error.to_string(), "row 0: column p99: NULL, expected f64; an Option takes it");
        #[derive(Debug, Deserialize)]
        #[allow(dead_code)]
        struct Other {
            url: String,
            hits: u64,
        }
        let error = self::rows().into_typed::<Other>().expect_err("no such column");
        assert_eq!(error.to_string(), "row 0: missing field `hits`");
    }
}
