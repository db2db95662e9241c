//! The serde side: a row is a struct or a map, a column's value is a scalar.

use super::column::Target;
use super::{EmitError, EventBuffer, Fault, name_of};
use crate::value::column::Column;
use crate::value::{DataType, Value};
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Display;
use serde::ser::{
    Error, Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    Serializer,
};

/// An [`EmitError`] on its way through a `Serialize` implementation; boxed, so that success costs a register.
#[derive(Debug)]
pub(super) struct RowError(pub Box<EmitError>);

impl From<EmitError> for RowError {
    #[cold]
    fn from(error: EmitError) -> Self {
        Self(Box::new(error))
    }
}

impl Display for RowError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

impl core::error::Error for RowError {}

impl RowError {
    pub fn value_without_key() -> Self {
        Self::custom("a map value came before its key")
    }
}

impl Error for RowError {
    fn custom<T: Display>(message: T) -> Self {
        EmitError::Serialize(message.to_string()).into()
    }
}

/// What a sequence is that is no bytes.
const LIST: &str = "a list";

/// A fault of one value, before its column's name is known; or a message of the value's own `Serialize`.
#[derive(Debug)]
pub(super) struct ValueError(Box<Result<Fault, String>>);

impl From<Fault> for ValueError {
    #[cold]
    fn from(fault: Fault) -> Self {
        Self(Box::new(Ok(fault)))
    }
}

impl Display for ValueError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match &*self.0 {
            Ok(_) => f.write_str("value does not fit its column"),
            Err(message) => f.write_str(message),
        }
    }
}

impl core::error::Error for ValueError {}

impl ValueError {
    /// The error of a row whose `column` it is.
    #[cold]
    pub fn at(self, column: &str, data_type: Option<&DataType>) -> RowError {
        RowError::from(match *self.0 {
            Ok(fault) => fault.at(column, data_type),
            Err(message) => EmitError::Serialize(message),
        })
    }

    /// The error of a list one of whose elements it is.
    #[cold]
    fn of_list(self) -> Self {
        match *self.0 {
            Ok(Fault::WrongType(_)) => Fault::WrongType(LIST).into(),
            other => Self(Box::new(other)),
        }
    }
}

impl Error for ValueError {
    fn custom<T: Display>(message: T) -> Self {
        Self(Box::new(Err(message.to_string())))
    }
}

/// What takes an event's fields.
pub(super) trait Row {
    /// What it becomes.
    type Ok;
    /// Takes the entries of a map.
    type Map: SerializeMap<Ok = Self::Ok, Error = RowError>;
    /// Takes the fields of a struct.
    type Struct: SerializeStruct<Ok = Self::Ok, Error = RowError>
        + SerializeStructVariant<Ok = Self::Ok, Error = RowError>;

    fn map(self) -> Self::Map;
    fn fields(self) -> Self::Struct;
    fn without_fields(self) -> Self::Ok;
}

/// A buffer's unfinished row.
pub(super) struct BufferRow<'a> {
    pub buffer: &'a mut EventBuffer,
}

impl<'a> Row for BufferRow<'a> {
    type Ok = ();
    type Map = MapRow<'a>;
    type Struct = StructRow<'a>;

    fn map(self) -> MapRow<'a> {
        MapRow { row: self, column: None }
    }

    #[inline]
    fn fields(self) -> StructRow<'a> {
        StructRow { row: self, at: 0 }
    }

    fn without_fields(self) {}
}

impl BufferRow<'_> {
    #[inline(always)]
    fn put<T: Serialize + ?Sized>(&mut self, column: usize, value: &T) -> Result<(), RowError> {
        let Some(target) = self.buffer.target(column) else {
            return Err(self.buffer.duplicate(column).into());
        };
        value.serialize(ValueSerializer(target)).map_err(|error| self.name(column, error))
    }

    #[cold]
    fn name(&self, column: usize, error: ValueError) -> RowError {
        let schema = &self.buffer.schema;
        let data_type = schema.fields.get(column).map_or(&DataType::Timestamp, |field| &field.data_type);
        error.at(name_of(schema, column), Some(data_type))
    }
}

macro_rules! refuse {
    ($error:expr; $($method:ident($($arg:ident: $type:ty),*) -> $ok:ty;)*) => {
        $(fn $method(self, $($arg: $type),*) -> Result<$ok, Self::Error> {
            $(let _ = $arg;)*
            Err($error)
        })*
    };
}
#[cfg(feature = "client")]
pub(super) use refuse;

#[cold]
fn not_a_row() -> RowError {
    EmitError::NotARow.into()
}

/// Finds the fields of one event: a struct or a map, or what holds just that.
pub(super) struct RowSerializer<R>(pub R);

impl<R: Row> Serializer for RowSerializer<R> {
    type Ok = R::Ok;
    type Error = RowError;
    type SerializeSeq = Impossible<R::Ok, RowError>;
    type SerializeTuple = Impossible<R::Ok, RowError>;
    type SerializeTupleStruct = Impossible<R::Ok, RowError>;
    type SerializeTupleVariant = Impossible<R::Ok, RowError>;
    type SerializeMap = R::Map;
    type SerializeStruct = R::Struct;
    type SerializeStructVariant = R::Struct;

    #[inline]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<R::Struct, RowError> {
        Ok(self.0.fields())
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<R::Struct, RowError> {
        Ok(self.0.fields())
    }

    fn serialize_map(self, _: Option<usize>) -> Result<R::Map, RowError> {
        Ok(self.0.map())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<R::Ok, RowError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<R::Ok, RowError> {
        value.serialize(self)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<R::Ok, RowError> {
        value.serialize(self)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<R::Ok, RowError> {
        Ok(self.0.without_fields())
    }

    refuse! { not_a_row();
        serialize_bool(v: bool) -> R::Ok;
        serialize_i8(v: i8) -> R::Ok;
        serialize_i16(v: i16) -> R::Ok;
        serialize_i32(v: i32) -> R::Ok;
        serialize_i64(v: i64) -> R::Ok;
        serialize_u8(v: u8) -> R::Ok;
        serialize_u16(v: u16) -> R::Ok;
        serialize_u32(v: u32) -> R::Ok;
        serialize_u64(v: u64) -> R::Ok;
        serialize_f32(v: f32) -> R::Ok;
        serialize_f64(v: f64) -> R::Ok;
        serialize_char(v: char) -> R::Ok;
        serialize_str(v: &str) -> R::Ok;
        serialize_bytes(v: &[u8]) -> R::Ok;
        serialize_none() -> R::Ok;
        serialize_unit() -> R::Ok;
        serialize_unit_variant(n: &'static str, i: u32, v: &'static str) -> R::Ok;
        serialize_seq(l: Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(l: usize) -> Self::SerializeTuple;
        serialize_tuple_struct(n: &'static str, l: usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(n: &'static str, i: u32, v: &'static str, l: usize) -> Self::SerializeTupleVariant;
    }
}

/// A struct's fields in order.
pub(super) struct StructRow<'a> {
    row: BufferRow<'a>,
    at: usize,
}

impl SerializeStruct for StructRow<'_> {
    type Ok = ();
    type Error = RowError;

    #[inline(always)]
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), RowError> {
        let Some(column) = self.row.buffer.field(self.at, name) else {
            return Err(EmitError::UnknownColumn(String::from(name)).into());
        };
        self.at += 1;
        self.row.put(column, value)
    }

    #[inline]
    fn end(self) -> Result<(), RowError> {
        Ok(())
    }
}

impl SerializeStructVariant for StructRow<'_> {
    type Ok = ();
    type Error = RowError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), RowError> {
        SerializeStruct::serialize_field(self, name, value)
    }

    fn end(self) -> Result<(), RowError> {
        Ok(())
    }
}

/// A map's entries; keys are column names.
pub(super) struct MapRow<'a> {
    row: BufferRow<'a>,
    column: Option<usize>,
}

impl SerializeMap for MapRow<'_> {
    type Ok = ();
    type Error = RowError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), RowError> {
        let schema = &self.row.buffer.schema;
        let find =
            |name: &str| schema.column(name).ok_or_else(|| EmitError::UnknownColumn(name.into()).into());
        self.column = Some(key.serialize(NameSerializer(find))?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), RowError> {
        let column = self.column.take().ok_or_else(RowError::value_without_key)?;
        self.row.put(column, value)
    }

    fn end(self) -> Result<(), RowError> {
        Ok(())
    }
}

/// Hands the column's name, which a map's key is, to a function.
pub(super) struct NameSerializer<F>(pub F);

impl<N, F: FnOnce(&str) -> Result<N, RowError>> Serializer for NameSerializer<F> {
    type Ok = N;
    type Error = RowError;
    type SerializeSeq = Impossible<N, RowError>;
    type SerializeTuple = Impossible<N, RowError>;
    type SerializeTupleStruct = Impossible<N, RowError>;
    type SerializeTupleVariant = Impossible<N, RowError>;
    type SerializeMap = Impossible<N, RowError>;
    type SerializeStruct = Impossible<N, RowError>;
    type SerializeStructVariant = Impossible<N, RowError>;

    fn serialize_str(self, name: &str) -> Result<N, RowError> {
        self.0(name)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, name: &'static str) -> Result<N, RowError> {
        self.serialize_str(name)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, v: &T) -> Result<N, RowError> {
        v.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<N, RowError> {
        Err(not_a_row())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<N, RowError> {
        value.serialize(self)
    }

    refuse! { not_a_row();
        serialize_bool(v: bool) -> N;
        serialize_i8(v: i8) -> N;
        serialize_i16(v: i16) -> N;
        serialize_i32(v: i32) -> N;
        serialize_i64(v: i64) -> N;
        serialize_u8(v: u8) -> N;
        serialize_u16(v: u16) -> N;
        serialize_u32(v: u32) -> N;
        serialize_u64(v: u64) -> N;
        serialize_f32(v: f32) -> N;
        serialize_f64(v: f64) -> N;
        serialize_char(v: char) -> N;
        serialize_bytes(v: &[u8]) -> N;
        serialize_none() -> N;
        serialize_unit() -> N;
        serialize_unit_struct(n: &'static str) -> N;
        serialize_seq(l: Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(l: usize) -> Self::SerializeTuple;
        serialize_tuple_struct(n: &'static str, l: usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(n: &'static str, i: u32, v: &'static str, l: usize) -> Self::SerializeTupleVariant;
        serialize_map(l: Option<usize>) -> Self::SerializeMap;
        serialize_struct(n: &'static str, l: usize) -> Self::SerializeStruct;
        serialize_struct_variant(n: &'static str, i: u32, v: &'static str, l: usize) -> Self::SerializeStructVariant;
    }
}

/// Serialises one value into its column.
struct ValueSerializer<'a>(Target<'a>);

macro_rules! values {
    ($($method:ident($type:ty) => $to:ident($convert:expr);)*) => {
        $(#[inline(always)]
        fn $method(self, v: $type) -> Result<(), ValueError> {
            let convert: fn($type) -> _ = $convert;
            Ok(self.0.$to(convert(v))?)
        })*
    };
}

#[cold]
pub(super) fn wrong_type() -> ValueError {
    Fault::WrongType("a struct or map").into()
}

impl<'a> Serializer for ValueSerializer<'a> {
    type Ok = ();
    type Error = ValueError;
    type SerializeSeq = ByteSeq<'a>;
    type SerializeTuple = ByteSeq<'a>;
    type SerializeTupleStruct = Impossible<(), ValueError>;
    type SerializeTupleVariant = Impossible<(), ValueError>;
    type SerializeMap = Impossible<(), ValueError>;
    type SerializeStruct = Impossible<(), ValueError>;
    type SerializeStructVariant = Impossible<(), ValueError>;

    values! {
        serialize_bool(bool) => bool(|v| v);
        serialize_i8(i8) => int(i64::from);
        serialize_i16(i16) => int(i64::from);
        serialize_i32(i32) => int(i64::from);
        serialize_i64(i64) => int(|v| v);
        serialize_u8(u8) => int(i64::from);
        serialize_u16(u16) => int(i64::from);
        serialize_u32(u32) => int(i64::from);
        serialize_u64(u64) => int128(i128::from);
        serialize_i128(i128) => int128(|v| v);
        serialize_f32(f32) => float(f64::from);
        serialize_f64(f64) => float(|v| v);
    }

    fn serialize_u128(self, v: u128) -> Result<(), ValueError> {
        Ok(self.0.int128(i128::try_from(v).map_err(|_| Fault::OutOfRange)?)?)
    }

    #[inline(always)]
    fn serialize_str(self, v: &str) -> Result<(), ValueError> {
        Ok(self.0.text(v)?)
    }

    fn serialize_bytes(self, v: &[u8]) -> Result<(), ValueError> {
        Ok(self.0.bytes(v)?)
    }

    fn serialize_char(self, v: char) -> Result<(), ValueError> {
        self.serialize_str(v.encode_utf8(&mut [0; 4]))
    }

    fn serialize_none(self) -> Result<(), ValueError> {
        Ok(self.0.null()?)
    }

    #[inline(always)]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), ValueError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), ValueError> {
        self.serialize_none()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, name: &'static str) -> Result<(), ValueError> {
        self.serialize_str(name)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        v: &T,
    ) -> Result<(), ValueError> {
        v.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), ValueError> {
        Err(wrong_type())
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<ByteSeq<'a>, ValueError> {
        // The limit also bounds what a lying length can reserve.
        let len = len.unwrap_or(0).min(self.0.bytes_max);
        Ok(ByteSeq { target: self.0, bytes: Vec::with_capacity(len) })
    }

    fn serialize_tuple(self, len: usize) -> Result<ByteSeq<'a>, ValueError> {
        self.serialize_seq(Some(len))
    }

    refuse! { wrong_type();
        serialize_unit_struct(n: &'static str) -> ();
        serialize_tuple_struct(n: &'static str, l: usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(n: &'static str, i: u32, v: &'static str, l: usize) -> Self::SerializeTupleVariant;
        serialize_map(l: Option<usize>) -> Self::SerializeMap;
        serialize_struct(n: &'static str, l: usize) -> Self::SerializeStruct;
        serialize_struct_variant(n: &'static str, i: u32, v: &'static str, l: usize) -> Self::SerializeStructVariant;
    }
}

/// A sequence of integers 0..=255: how serde shows `Vec<u8>` and `[u8; 16]`.
pub(super) struct ByteSeq<'a> {
    target: Target<'a>,
    bytes: Vec<u8>,
}

/// One element of such a sequence.
pub(super) fn byte<T: Serialize + ?Sized>(value: &T) -> Result<u8, ValueError> {
    let data_type = &DataType::Int16;
    let mut column = Column::new(data_type);
    let target = Target { column: &mut column, data_type, bytes_max: 0 };
    value.serialize(ValueSerializer(target)).map_err(ValueError::of_list)?;
    match column.value(0, data_type) {
        Value::Int(v) => Ok(u8::try_from(v).map_err(|_| Fault::WrongType(LIST))?),
        _ => Err(Fault::WrongType(LIST).into()),
    }
}

impl SerializeSeq for ByteSeq<'_> {
    type Ok = ();
    type Error = ValueError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
        self.bytes.push(byte(value)?);
        Ok(())
    }

    fn end(self) -> Result<(), ValueError> {
        Ok(self.target.bytes(&self.bytes)?)
    }
}

impl serde::ser::SerializeTuple for ByteSeq<'_> {
    type Ok = ();
    type Error = ValueError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
        SerializeSeq::serialize_element(self, value)
    }

    fn end(self) -> Result<(), ValueError> {
        SerializeSeq::end(self)
    }
}
