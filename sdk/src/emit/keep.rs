//! Events kept as they are until their stream's schema is known.
//!
//! Owns: which shapes can be an event of any stream at all. Must not know: columns; what does not fit one is found when
//! the event is pushed.
//! Invariant: pushing a kept event does what pushing the event itself does.

#[cfg(test)]
mod tests;

use super::row::{NameSerializer, Row, RowError, RowSerializer, ValueError, byte, refuse, wrong_type};
use super::{EmitError, Fault};
use alloc::string::String;
use alloc::vec::Vec;
use serde::ser::{
    Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, Serializer,
};

/// An event of a stream that is not known yet: pushed later, it is a map.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct KeptEvent(Vec<(String, Kept)>);

/// A value in the widest of its kind: columns take all of them in the same way.
#[derive(Clone, Debug, PartialEq)]
enum Kept {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
}

impl KeptEvent {
    /// Keeps an event.
    ///
    /// # Errors
    /// No stream takes it: it is not a row, a field is neither a scalar nor bytes, or its own `Serialize` failed.
    pub fn of<T: Serialize + ?Sized>(event: &T) -> Result<Self, EmitError> {
        event.serialize(RowSerializer(RowBuilder::default())).map_err(|error| *error.0)
    }

    /// What it takes in memory.
    pub fn bytes(&self) -> usize {
        let value = |(name, value): &(String, Kept)| {
            let heap = match value {
                Kept::Text(text) => text.len(),
                Kept::Bytes(bytes) => bytes.len(),
                _ => 0,
            };
            size_of::<(String, Kept)>() + name.len() + heap
        };
        size_of::<Self>() + self.0.iter().map(value).sum::<usize>()
    }

    fn put<T: Serialize + ?Sized>(&mut self, name: String, value: &T) -> Result<(), RowError> {
        match value.serialize(ValueKeeper) {
            Ok(value) => self.0.push((name, value)),
            Err(error) => return Err(error.at(&name, None)),
        }
        Ok(())
    }
}

impl Serialize for KeptEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl Serialize for Kept {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Bool(v) => serializer.serialize_bool(*v),
            Self::Int(v) => serializer.serialize_i128(*v),
            Self::Float(v) => serializer.serialize_f64(*v),
            Self::Text(v) => serializer.serialize_str(v),
            Self::Bytes(v) => serializer.serialize_bytes(v),
        }
    }
}

/// The fields so far, and the name of the one to come.
#[derive(Default)]
struct RowBuilder {
    event: KeptEvent,
    name: Option<String>,
}

impl Row for RowBuilder {
    type Ok = KeptEvent;
    type Map = Self;
    type Struct = Self;

    fn map(self) -> Self {
        self
    }

    fn fields(self) -> Self {
        self
    }

    fn without_fields(self) -> KeptEvent {
        self.event
    }
}

impl SerializeStruct for RowBuilder {
    type Ok = KeptEvent;
    type Error = RowError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), RowError> {
        self.event.put(name.into(), value)
    }

    fn end(self) -> Result<KeptEvent, RowError> {
        Ok(self.event)
    }
}

impl SerializeStructVariant for RowBuilder {
    type Ok = KeptEvent;
    type Error = RowError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), RowError> {
        SerializeStruct::serialize_field(self, name, value)
    }

    fn end(self) -> Result<KeptEvent, RowError> {
        SerializeStruct::end(self)
    }
}

impl SerializeMap for RowBuilder {
    type Ok = KeptEvent;
    type Error = RowError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), RowError> {
        self.name = Some(key.serialize(NameSerializer(|name: &str| Ok(String::from(name))))?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), RowError> {
        let name = self.name.take().ok_or_else(RowError::value_without_key)?;
        self.event.put(name, value)
    }

    fn end(self) -> Result<KeptEvent, RowError> {
        Ok(self.event)
    }
}

/// Keeps one value.
struct ValueKeeper;

macro_rules! values {
    ($($method:ident($type:ty) => $kept:ident($convert:expr);)*) => {
        $(fn $method(self, v: $type) -> Result<Kept, ValueError> {
            let convert: fn($type) -> _ = $convert;
            Ok(Kept::$kept(convert(v)))
        })*
    };
}

impl Serializer for ValueKeeper {
    type Ok = Kept;
    type Error = ValueError;
    type SerializeSeq = ByteKeeper;
    type SerializeTuple = ByteKeeper;
    type SerializeTupleStruct = Impossible<Kept, ValueError>;
    type SerializeTupleVariant = Impossible<Kept, ValueError>;
    type SerializeMap = Impossible<Kept, ValueError>;
    type SerializeStruct = Impossible<Kept, ValueError>;
    type SerializeStructVariant = Impossible<Kept, ValueError>;

    values! {
        serialize_bool(bool) => Bool(|v| v);
        serialize_i8(i8) => Int(i128::from);
        serialize_i16(i16) => Int(i128::from);
        serialize_i32(i32) => Int(i128::from);
        serialize_i64(i64) => Int(i128::from);
        serialize_i128(i128) => Int(|v| v);
        serialize_u8(u8) => Int(i128::from);
        serialize_u16(u16) => Int(i128::from);
        serialize_u32(u32) => Int(i128::from);
        serialize_u64(u64) => Int(i128::from);
        serialize_f32(f32) => Float(f64::from);
        serialize_f64(f64) => Float(|v| v);
        serialize_char(char) => Text(String::from);
        serialize_str(&str) => Text(|v| v.into());
        serialize_bytes(&[u8]) => Bytes(|v| v.into());
    }

    fn serialize_u128(self, v: u128) -> Result<Kept, ValueError> {
        Ok(Kept::Int(i128::try_from(v).map_err(|_| Fault::OutOfRange)?))
    }

    fn serialize_none(self) -> Result<Kept, ValueError> {
        Ok(Kept::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Kept, ValueError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Kept, ValueError> {
        Ok(Kept::Null)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, name: &'static str) -> Result<Kept, ValueError> {
        self.serialize_str(name)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        v: &T,
    ) -> Result<Kept, ValueError> {
        v.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Kept, ValueError> {
        Err(wrong_type())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<ByteKeeper, ValueError> {
        Ok(ByteKeeper(Vec::new()))
    }

    fn serialize_tuple(self, len: usize) -> Result<ByteKeeper, ValueError> {
        self.serialize_seq(Some(len))
    }

    refuse! { wrong_type();
        serialize_unit_struct(n: &'static str) -> Kept;
        serialize_tuple_struct(n: &'static str, l: usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(n: &'static str, i: u32, v: &'static str, l: usize) -> Self::SerializeTupleVariant;
        serialize_map(l: Option<usize>) -> Self::SerializeMap;
        serialize_struct(n: &'static str, l: usize) -> Self::SerializeStruct;
        serialize_struct_variant(n: &'static str, i: u32, v: &'static str, l: usize) -> Self::SerializeStructVariant;
    }
}

/// A sequence of integers 0..=255.
struct ByteKeeper(Vec<u8>);

impl SerializeSeq for ByteKeeper {
    type Ok = Kept;
    type Error = ValueError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
        self.0.push(byte(value)?);
        Ok(())
    }

    fn end(self) -> Result<Kept, ValueError> {
        Ok(Kept::Bytes(self.0))
    }
}

impl SerializeTuple for ByteKeeper {
    type Ok = Kept;
    type Error = ValueError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
        SerializeSeq::serialize_element(self, value)
    }

    fn end(self) -> Result<Kept, ValueError> {
        SerializeSeq::end(self)
    }
}
