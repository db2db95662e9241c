//! Deserialising [`Value`] and [`DataType`] with a bound on nesting.
//!
//! Both are recursive, and two bytes of postcard open one more level: derived code would let a few
//! kilobytes of foreign input overflow the stack. The format is exactly that of the derive.

use super::{DataType, Interval, Nested, Value};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use serde::de::{self, DeserializeSeed, EnumAccess, SeqAccess, VariantAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Lists and structs within each other. SQL over views builds at most a few.
const DEPTH_MAX: u8 = 16;

/// What was read one level down, in a build that has such values.
#[cfg(feature = "functions")]
fn nested<T, E: de::Error>(inner: T) -> Result<Nested<T>, E> {
    Ok(inner)
}

/// The refusal of a build that has none.
#[cfg(not(feature = "functions"))]
fn nested<T, E: de::Error>(_: T) -> Result<Nested<T>, E> {
    Err(de::Error::custom("a nested value"))
}

/// Reads a `T` at a depth.
struct At<T> {
    depth: u8,
    kind: core::marker::PhantomData<T>,
}

impl<T> At<T> {
    fn new(depth: u8) -> Self {
        Self { depth, kind: core::marker::PhantomData }
    }

    /// The seed for what is one level down.
    fn down<U, E: de::Error>(&self) -> Result<At<U>, E> {
        if self.depth == DEPTH_MAX {
            Err(E::custom("nested too deeply"))
        } else {
            Ok(At::new(self.depth + 1))
        }
    }
}

#[derive(Deserialize)]
#[serde(variant_identifier)]
enum ValueTag {
    Null,
    Bool,
    Int,
    Float,
    Decimal,
    Text,
    Bytes,
    Interval,
    List,
    Struct,
}

const VALUE_TAGS: &[&str] =
    &["Null", "Bool", "Int", "Float", "Decimal", "Text", "Bytes", "Interval", "List", "Struct"];

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        At::<Value>::new(0).deserialize(deserializer)
    }
}

impl<'de> DeserializeSeed<'de> for At<Value> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_enum("Value", VALUE_TAGS, self)
    }
}

impl<'de> Visitor<'de> for At<Value> {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Value, A::Error> {
        let (tag, variant) = data.variant::<ValueTag>()?;
        Ok(match tag {
            ValueTag::Null => {
                variant.unit_variant()?;
                Value::Null
            }
            ValueTag::Bool => Value::Bool(variant.newtype_variant()?),
            ValueTag::Int => Value::Int(variant.newtype_variant()?),
            ValueTag::Float => Value::Float(variant.newtype_variant()?),
            ValueTag::Decimal => Value::Decimal(variant.newtype_variant()?),
            ValueTag::Text => Value::Text(variant.newtype_variant()?),
            ValueTag::Bytes => Value::Bytes(variant.newtype_variant()?),
            ValueTag::Interval => Value::Interval(variant.newtype_variant::<Interval>()?),
            ValueTag::List => {
                Value::List(nested(variant.newtype_variant_seed(self.down::<Vec<Value>, _>()?)?)?)
            }
            ValueTag::Struct => {
                Value::Struct(nested(variant.newtype_variant_seed(self.down::<Vec<Value>, _>()?)?)?)
            }
        })
    }
}

#[derive(Deserialize)]
#[serde(variant_identifier)]
enum TypeTag {
    Bool,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    Decimal,
    Text,
    Bytea,
    Uuid,
    Date,
    Timestamp,
    Interval,
    List,
    Struct,
    Null,
}

const TYPE_TAGS: &[&str] = &[
    "Bool",
    "Int16",
    "Int32",
    "Int64",
    "Float32",
    "Float64",
    "Decimal",
    "Text",
    "Bytea",
    "Uuid",
    "Date",
    "Timestamp",
    "Interval",
    "List",
    "Struct",
    "Null",
];

impl<'de> Deserialize<'de> for DataType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        At::<DataType>::new(0).deserialize(deserializer)
    }
}

impl<'de> DeserializeSeed<'de> for At<DataType> {
    type Value = DataType;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<DataType, D::Error> {
        deserializer.deserialize_enum("DataType", TYPE_TAGS, self)
    }
}

/// The fields of `DataType::Decimal`.
struct DecimalFields;

impl<'de> Visitor<'de> for DecimalFields {
    type Value = DataType;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("precision and scale")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<DataType, A::Error> {
        let precision = seq.next_element()?.ok_or_else(|| de::Error::invalid_length(0, &self))?;
        let scale = seq.next_element()?.ok_or_else(|| de::Error::invalid_length(1, &self))?;
        Ok(DataType::Decimal { precision, scale })
    }
    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<DataType, A::Error> {
        let (mut precision, mut scale) = (None, None);
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "precision" => precision = Some(map.next_value()?),
                "scale" => scale = Some(map.next_value()?),
                _ => return Err(de::Error::unknown_field(&name, &["precision", "scale"])),
            }
        }
        match (precision, scale) {
            (Some(precision), Some(scale)) => Ok(DataType::Decimal { precision, scale }),
            _ => Err(de::Error::missing_field("precision or scale")),
        }
    }
}

impl<'de> Visitor<'de> for At<DataType> {
    type Value = DataType;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a type")
    }
    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<DataType, A::Error> {
        use DataType as T;
        let (tag, variant) = data.variant::<TypeTag>()?;
        let unit = match tag {
            TypeTag::Decimal => return variant.struct_variant(&["precision", "scale"], DecimalFields),
            TypeTag::List => {
                let item = variant.newtype_variant_seed(self.down::<DataType, _>()?)?;
                return Ok(T::List(nested(Box::new(item))?));
            }
            TypeTag::Struct => {
                let fields = self.down::<Vec<(String, DataType)>, _>()?;
                return Ok(T::Struct(nested(variant.newtype_variant_seed(fields)?)?));
            }
            TypeTag::Bool => T::Bool,
            TypeTag::Int16 => T::Int16,
            TypeTag::Int32 => T::Int32,
            TypeTag::Int64 => T::Int64,
            TypeTag::Float32 => T::Float32,
            TypeTag::Float64 => T::Float64,
            TypeTag::Text => T::Text,
            TypeTag::Bytea => T::Bytea,
            TypeTag::Uuid => T::Uuid,
            TypeTag::Date => T::Date,
            TypeTag::Timestamp => T::Timestamp,
            TypeTag::Interval => T::Interval,
            TypeTag::Null => T::Null,
        };
        variant.unit_variant()?;
        Ok(unit)
    }
}

/// A sequence of what can be read at a depth.
impl<'de, T> DeserializeSeed<'de> for At<Vec<T>>
where
    At<T>: DeserializeSeed<'de, Value = T>,
{
    type Value = Vec<T>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T> Visitor<'de> for At<Vec<T>>
where
    At<T>: DeserializeSeed<'de, Value = T>,
{
    type Value = Vec<T>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
        let mut out = Vec::new();
        while let Some(item) = seq.next_element_seed(At::<T>::new(self.depth))? {
            out.push(item);
        }
        Ok(out)
    }
}

/// A struct type's field: its name and its type.
impl<'de> DeserializeSeed<'de> for At<(String, DataType)> {
    type Value = (String, DataType);
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_tuple(2, self)
    }
}

impl<'de> Visitor<'de> for At<(String, DataType)> {
    type Value = (String, DataType);
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name and a type")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let name = seq.next_element()?.ok_or_else(|| de::Error::invalid_length(0, &"a name"))?;
        let at = At::<DataType>::new(self.depth);
        let data_type = seq.next_element_seed(at)?.ok_or_else(|| de::Error::invalid_length(1, &"a type"))?;
        Ok((name, data_type))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    fn nested(depth: usize) -> Vec<u8> {
        // Tag 8 is a list, then a length of 1; at last NULL.
        let mut bytes = [8u8, 1].repeat(depth);
        bytes.push(0);
        bytes
    }

    #[test]
    fn hostile_nesting_is_refused_instead_of_overflowing_the_stack() {
        assert!(postcard::from_bytes::<Value>(&nested(16)).is_ok());
        assert!(postcard::from_bytes::<Value>(&nested(17)).is_err());
        assert!(postcard::from_bytes::<Value>(&nested(2_000_000)).is_err());
        assert!(postcard::from_bytes::<DataType>(&[13u8; 2_000_000]).is_err());
    }

    #[test]
    fn values_and_types_round_trip_in_binary_and_text() {
        let values = vec![
            Value::Null,
            Value::Bool(true),
            Value::Int(-7),
            Value::Float(1.5),
            Value::Decimal(1 << 100),
            Value::Text("x".to_string()),
            Value::Bytes(vec![0, 255]),
            Value::Interval(Interval { months: 1, days: -2, micros: 3 }),
            Value::List(vec![Value::Struct(vec![Value::Int(1), Value::Null])]),
        ];
        for value in values {
            let bytes = postcard::to_allocvec(&value).expect("encodes");
            assert_eq!(postcard::from_bytes::<Value>(&bytes).expect("decodes"), value);
            let json = serde_json::to_string(&value).expect("encodes");
            assert_eq!(serde_json::from_str::<Value>(&json).expect("decodes"), value);
        }
        use DataType as T;
        let fields =
            vec![("a".to_string(), T::Decimal { precision: 9, scale: 2 }), ("b".to_string(), T::Uuid)];
        let flat = [T::Bool, T::Int16, T::Int32, T::Int64, T::Float32, T::Float64, T::Text, T::Bytea];
        let more = [T::Date, T::Timestamp, T::Interval, T::Null, T::List(Box::new(T::Struct(fields)))];
        for data_type in flat.into_iter().chain(more) {
            let bytes = postcard::to_allocvec(&data_type).expect("encodes");
            assert_eq!(postcard::from_bytes::<DataType>(&bytes).expect("decodes"), data_type);
            let json = serde_json::to_string(&data_type).expect("encodes");
            assert_eq!(serde_json::from_str::<DataType>(&json).expect("decodes"), data_type);
        }
    }
}
