//! Functions over what aggregates answer with: PipelineDB's `topk`, `topk_values`, `topk_freqs` over the records of a
//! `topk_agg`, and `set_cardinality` over the values of a `set_agg`.

use super::guard::external;
use crate::convert::type_of_field;
use crate::error::SqlError;
use crate::types::type_name;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray};
use datafusion::arrow::datatypes::{DataType as ArrowType, Field};
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use std::sync::Arc;

/// What a function takes out of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Gives {
    /// All of it.
    Records,
    /// Field n of every record.
    Field(usize),
    /// How many there are.
    Length,
}

/// A function over a list.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct RecordFunction {
    name: &'static str,
    gives: Gives,
    signature: Signature,
}

/// All of them.
pub(super) fn functions() -> impl Iterator<Item = RecordFunction> {
    let functions = [
        ("topk", Gives::Records),
        ("topk_values", Gives::Field(0)),
        ("topk_freqs", Gives::Field(1)),
        ("set_cardinality", Gives::Length),
    ];
    let signature = || Signature::any(1, Volatility::Immutable);
    functions.into_iter().map(move |(name, gives)| RecordFunction { name, gives, signature: signature() })
}

impl RecordFunction {
    fn no_match(&self, data_type: Option<&ArrowType>) -> SqlError {
        let name = data_type.map(|t| type_name(&type_of_field(&Field::new("", t.clone(), true))));
        let message = format!("function {}({}) does not exist", self.name, name.unwrap_or_default());
        let column = if self.gives == Gives::Length { "a set_agg" } else { "a topk_agg" };
        SqlError::new("42883", message).with_hint(format!("it reads {column} column, or its combine"))
    }
}

impl ScalarUDFImpl for RecordFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[ArrowType]) -> Result<ArrowType> {
        let no_match = || external(self.no_match(args.first()));
        let Some(ArrowType::List(item)) = args.first() else { return Err(no_match()) };
        match (self.gives, item.data_type()) {
            (Gives::Length, _) => Ok(ArrowType::Int64),
            (gives, ArrowType::Struct(fields)) if fields.len() == 2 && fields[1].name() == "count" => {
                Ok(match gives {
                    Gives::Field(at) => {
                        ArrowType::List(Arc::new(fields[at].as_ref().clone().with_name("item")))
                    }
                    _ => args[0].clone(),
                })
            }
            _ => Err(no_match()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let list = arrays.first().and_then(|array| array.as_list_opt::<i32>());
        let list = list.ok_or_else(|| external(self.no_match(arrays.first().map(|a| a.data_type()))))?;
        let array: ArrayRef = match self.gives {
            Gives::Records => Arc::new(list.clone()),
            Gives::Field(at) => {
                let ArrowType::List(item) = args.return_field.data_type() else {
                    return Err(external(self.no_match(Some(list.data_type()))));
                };
                let column = Arc::clone(list.values().as_struct().column(at));
                let nulls = list.nulls().cloned();
                Arc::new(ListArray::try_new(Arc::clone(item), list.offsets().clone(), column, nulls)?)
            }
            Gives::Length => {
                let length = |row| list.is_valid(row).then(|| i64::from(list.value_length(row)));
                Arc::new((0..list.len()).map(length).collect::<Int64Array>())
            }
        };
        Ok(ColumnarValue::Array(array))
    }
}
