//! Events emitted before the first plan: held as named values until the schema is known.
//!
//! Invariant: bounded in bytes; what does not fit is refused and counted by the caller.

use crate::ids::Micros;
use crate::value::Value;
use serde::ser::{Error as _, Impossible, Serialize, SerializeMap, SerializeStruct, Serializer};
use std::collections::VecDeque;

/// Bytes one value takes besides its name and text.
const VALUE_BYTES: usize = size_of::<(String, Value)>();

/// An event whose stream's schema is not known yet.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WaitingEvent {
    pub values: Vec<(String, Value)>,
    /// When it was emitted, local time: the hub's clock may not be known yet either.
    pub emitted: Micros,
}

impl WaitingEvent {
    fn bytes(&self) -> usize {
        let value = |(name, value): &(String, Value)| {
            let text = match value {
                Value::Text(text) => text.len(),
                Value::Bytes(bytes) => bytes.len(),
                _ => 0,
            };
            VALUE_BYTES + name.len() + text
        };
        size_of::<Self>() + self.values.iter().map(value).sum::<usize>()
    }
}

/// Events in the order of their arrival.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    events: VecDeque<WaitingEvent>,
    bytes: usize,
}

impl Waiting {
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Keeps an event; `false` when it does not fit.
    pub fn push(&mut self, event: WaitingEvent, bytes_max: usize) -> bool {
        let bytes = event.bytes();
        if self.bytes + bytes > bytes_max {
            return false;
        }
        self.bytes += bytes;
        self.events.push_back(event);
        true
    }

    pub fn take(&mut self) -> VecDeque<WaitingEvent> {
        self.bytes = 0;
        std::mem::take(&mut self.events)
    }
}

/// Why an event cannot wait.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
pub(super) struct CaptureError(String);

impl serde::ser::Error for CaptureError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// The named values of an event.
pub(super) fn capture<T: Serialize + ?Sized>(event: &T) -> Result<Vec<(String, Value)>, CaptureError> {
    event.serialize(RowSerializer)
}

fn not_a_row<T>() -> Result<T, CaptureError> {
    Err(CaptureError::custom("event is not a struct or a map"))
}

fn not_a_value<T>() -> Result<T, CaptureError> {
    Err(CaptureError::custom("a field is neither a number, a text, bytes nor a boolean"))
}

/// Implements the methods of a serializer that have no meaning for it.
macro_rules! refuse {
    ($refuse:ident: $($method:ident($($type:ty),*) -> $ok:ty;)*) => {
        $(fn $method(self, $(_: $type),*) -> Result<$ok, CaptureError> { $refuse() })*
    };
}

type NoRow = Impossible<Vec<(String, Value)>, CaptureError>;
type NoValue = Impossible<Value, CaptureError>;

struct RowSerializer;

/// The fields so far, and the name of the one to come.
#[derive(Default)]
struct RowBuilder {
    values: Vec<(String, Value)>,
    name: String,
}

impl Serializer for RowSerializer {
    type Ok = Vec<(String, Value)>;
    type Error = CaptureError;
    type SerializeSeq = NoRow;
    type SerializeTuple = NoRow;
    type SerializeTupleStruct = NoRow;
    type SerializeTupleVariant = NoRow;
    type SerializeMap = RowBuilder;
    type SerializeStruct = RowBuilder;
    type SerializeStructVariant = NoRow;

    fn serialize_map(self, _: Option<usize>) -> Result<RowBuilder, CaptureError> {
        Ok(RowBuilder::default())
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<RowBuilder, CaptureError> {
        Ok(RowBuilder::default())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Self::Ok, CaptureError> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        v: &T,
    ) -> Result<Self::Ok, CaptureError> {
        v.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<Self::Ok, CaptureError> {
        value.serialize(self)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Self::Ok, CaptureError> {
        Ok(Vec::new())
    }

    refuse! { not_a_row:
        serialize_bool(bool) -> Self::Ok;
        serialize_i8(i8) -> Self::Ok;
        serialize_i16(i16) -> Self::Ok;
        serialize_i32(i32) -> Self::Ok;
        serialize_i64(i64) -> Self::Ok;
        serialize_u8(u8) -> Self::Ok;
        serialize_u16(u16) -> Self::Ok;
        serialize_u32(u32) -> Self::Ok;
        serialize_u64(u64) -> Self::Ok;
        serialize_f32(f32) -> Self::Ok;
        serialize_f64(f64) -> Self::Ok;
        serialize_char(char) -> Self::Ok;
        serialize_str(&str) -> Self::Ok;
        serialize_bytes(&[u8]) -> Self::Ok;
        serialize_none() -> Self::Ok;
        serialize_unit() -> Self::Ok;
        serialize_unit_variant(&'static str, u32, &'static str) -> Self::Ok;
        serialize_seq(Option<usize>) -> NoRow;
        serialize_tuple(usize) -> NoRow;
        serialize_tuple_struct(&'static str, usize) -> NoRow;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> NoRow;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> NoRow;
    }
}

impl SerializeStruct for RowBuilder {
    type Ok = Vec<(String, Value)>;
    type Error = CaptureError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), CaptureError> {
        self.values.push((name.into(), value.serialize(ValueSerializer)?));
        Ok(())
    }

    fn end(self) -> Result<Self::Ok, CaptureError> {
        Ok(self.values)
    }
}

impl SerializeMap for RowBuilder {
    type Ok = Vec<(String, Value)>;
    type Error = CaptureError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), CaptureError> {
        match key.serialize(ValueSerializer)? {
            Value::Text(name) => self.name = name,
            _ => return Err(CaptureError::custom("a column name is not text")),
        }
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CaptureError> {
        self.values.push((std::mem::take(&mut self.name), value.serialize(ValueSerializer)?));
        Ok(())
    }

    fn end(self) -> Result<Self::Ok, CaptureError> {
        Ok(self.values)
    }
}

struct ValueSerializer;

/// Implements serializer methods of small integers.
macro_rules! integers {
    ($($method:ident($type:ty);)*) => {
        $(fn $method(self, v: $type) -> Result<Value, CaptureError> { Ok(Value::Int(v.into())) })*
    };
}

impl Serializer for ValueSerializer {
    type Ok = Value;
    type Error = CaptureError;
    type SerializeSeq = NoValue;
    type SerializeTuple = NoValue;
    type SerializeTupleStruct = NoValue;
    type SerializeTupleVariant = NoValue;
    type SerializeMap = NoValue;
    type SerializeStruct = NoValue;
    type SerializeStructVariant = NoValue;

    integers! {
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
    }

    fn serialize_bool(self, v: bool) -> Result<Value, CaptureError> {
        Ok(Value::Bool(v))
    }

    fn serialize_u64(self, v: u64) -> Result<Value, CaptureError> {
        i64::try_from(v).map(Value::Int).map_err(CaptureError::custom)
    }

    fn serialize_f32(self, v: f32) -> Result<Value, CaptureError> {
        Ok(Value::Float(v.into()))
    }

    fn serialize_f64(self, v: f64) -> Result<Value, CaptureError> {
        Ok(Value::Float(v))
    }

    fn serialize_char(self, v: char) -> Result<Value, CaptureError> {
        Ok(Value::Text(v.into()))
    }

    fn serialize_str(self, v: &str) -> Result<Value, CaptureError> {
        Ok(Value::Text(v.into()))
    }

    fn serialize_bytes(self, v: &[u8]) -> Result<Value, CaptureError> {
        Ok(Value::Bytes(v.into()))
    }

    fn serialize_none(self) -> Result<Value, CaptureError> {
        Ok(Value::Null)
    }

    fn serialize_unit(self) -> Result<Value, CaptureError> {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Value, CaptureError> {
        Ok(Value::Text(variant.into()))
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, CaptureError> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        v: &T,
    ) -> Result<Value, CaptureError> {
        v.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Value, CaptureError> {
        not_a_value()
    }

    refuse! { not_a_value:
        serialize_unit_struct(&'static str) -> Value;
        serialize_seq(Option<usize>) -> NoValue;
        serialize_tuple(usize) -> NoValue;
        serialize_tuple_struct(&'static str, usize) -> NoValue;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> NoValue;
        serialize_map(Option<usize>) -> NoValue;
        serialize_struct(&'static str, usize) -> NoValue;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> NoValue;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_captured_by_name() {
        #[derive(serde::Serialize)]
        struct View<'a> {
            url: &'a str,
            status: u16,
            latency_ms: f64,
            user: Option<&'a str>,
        }
        let values = capture(&View { url: "/", status: 200, latency_ms: 1.5, user: None });
        let named = |name: &str, value| (String::from(name), value);
        let want = vec![
            named("url", Value::Text("/".into())),
            named("status", Value::Int(200)),
            named("latency_ms", Value::Float(1.5)),
            named("user", Value::Null),
        ];
        assert_eq!(values, Ok(want));
        assert!(capture(&5).is_err());
        assert!(capture(&serde_json::json!({"a": [1]})).is_err());
        assert_eq!(capture(&serde_json::json!({"a": 1})), Ok(vec![named("a", Value::Int(1))]));
    }

    #[test]
    fn the_buffer_is_bounded_in_bytes() {
        let mut waiting = Waiting::default();
        let event =
            WaitingEvent { values: vec![("a".into(), Value::Text("x".repeat(100)))], emitted: Micros(0) };
        let pushed = (0..100).filter(|_| waiting.push(event.clone(), 1_000)).count();
        assert!((4..=6).contains(&pushed), "{pushed}");
        assert_eq!((waiting.take().len(), waiting.len()), (pushed, 0));
        assert!(waiting.push(event, 1_000));
    }
}
