//! Functions of PostgreSQL that DataFusion does not have, or answers for itself.
//!
//! | function | answers |
//! |---|---|
//! | `version()` | Headwater's version, and the version of PostgreSQL that clients may take it for |
//! | `current_database()`, `current_catalog`, `current_schema`, `current_user`, `session_user`, `user` | names |
//! | `pg_typeof(x)` | the name of a type |
//! | `md5(text or bytea)` | the digest in hex |
//! | `date_trunc` of decades, centuries, millennia | as [`TRUNC_YEARS`] |

use super::guard;
use super::session::{CATALOG, SCHEMA};
use crate::error::SqlError;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray, TimestampMicrosecondArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use headwater::expr::{md5, truncate_years};
use std::sync::Arc;

/// What `date_trunc` becomes where DataFusion's has no such unit.
pub(super) const TRUNC_YEARS: &str = "date_trunc_years";

/// One of them.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct PostgresFunction {
    name: &'static str,
    what: What,
    signature: Signature,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum What {
    /// The same text for everybody.
    Text(String),
    TypeOf,
    Md5,
    TruncYears,
}

/// All of them.
pub(super) fn functions() -> Vec<PostgresFunction> {
    let version = || {
        let (arch, os) = (std::env::consts::ARCH, std::env::consts::OS);
        format!("Headwater {} ({arch}, {os}), speaks as PostgreSQL 15.0", env!("CARGO_PKG_VERSION"))
    };
    let function = |name, what, args| {
        let signature = match args {
            0 => Signature::nullary(Volatility::Immutable),
            args => Signature::any(args, Volatility::Immutable),
        };
        PostgresFunction { name, what, signature }
    };
    let text = |name, text: &str| function(name, What::Text(text.to_owned()), 0);
    vec![
        text("version", &version()),
        text("current_database", CATALOG),
        text("current_catalog", CATALOG),
        text("current_schema", SCHEMA),
        text("current_user", CATALOG),
        text("session_user", CATALOG),
        text("user", CATALOG),
        function("pg_typeof", What::TypeOf, 1),
        function("md5", What::Md5, 1),
        function(TRUNC_YEARS, What::TruncYears, 2),
    ]
}

impl ScalarUDFImpl for PostgresFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.what {
            What::TruncYears => timestamptz(),
            _ => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let text = |text: &str| Ok(ColumnarValue::Scalar(ScalarValue::Utf8(Some(text.to_owned()))));
        match (&self.what, args.args.as_slice(), args.arg_fields.as_slice()) {
            (What::Text(name), ..) => text(name),
            (What::TypeOf, _, [field]) => text(&type_name(field)),
            (What::Md5, [value], _) => each(value, args.number_rows, md5_column),
            (What::TruncYears, [unit, time], _) => {
                let unit = match unit {
                    ColumnarValue::Scalar(unit) => unit.try_as_str().flatten().and_then(years_of),
                    ColumnarValue::Array(_) => None,
                };
                let unit = unit.ok_or_else(|| wrong("unit of date_trunc"))?;
                each(time, args.number_rows, |times| trunc_column(times, unit))
            }
            _ => Err(wrong("arguments")),
        }
    }
}

pub(super) fn timestamptz() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
}

fn wrong(what: &str) -> DataFusionError {
    guard::external(SqlError::new("22023", format!("unexpected {what}")))
}

/// Runs over an array, or over the one value of a constant.
pub(super) fn each(
    value: &ColumnarValue,
    rows: usize,
    run: impl Fn(&ArrayRef) -> Result<ArrayRef>,
) -> Result<ColumnarValue> {
    match value {
        ColumnarValue::Array(array) => run(array).map(ColumnarValue::Array),
        ColumnarValue::Scalar(scalar) => {
            let array = run(&scalar.to_array()?)?;
            debug_assert!(rows > 0 || array.len() == 1);
            ScalarValue::try_from_array(&array, 0).map(ColumnarValue::Scalar)
        }
    }
}

/// PostgreSQL's long names.
pub(super) fn type_name(field: &Field) -> String {
    if *field.data_type() == DataType::Null {
        return "unknown".to_owned();
    }
    let name = crate::type_name(&crate::type_of_field(field));
    match name.split_once('(') {
        Some(("numeric", _)) => "numeric".to_owned(),
        _ if name == "timestamptz" => "timestamp with time zone".to_owned(),
        _ => name,
    }
}

fn md5_column(values: &ArrayRef) -> Result<ArrayRef> {
    let bytes = cast(values, &DataType::Binary).map_err(|_| {
        guard::external(SqlError::new("42883", "md5 takes text or bytea").with_hint("cast it to text"))
    })?;
    let hex = |bytes: &[u8]| md5(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let digests: StringArray = bytes.as_binary::<i32>().iter().map(|bytes| bytes.map(hex)).collect();
    Ok(Arc::new(digests))
}

fn years_of(unit: &str) -> Option<i64> {
    Some(match unit {
        "decade" => 10,
        "century" => 100,
        "millennium" => 1_000,
        _ => return None,
    })
}

fn trunc_column(times: &ArrayRef, years: i64) -> Result<ArrayRef> {
    let times = cast(times, &timestamptz())?;
    let times = times.as_primitive::<TimestampMicrosecondType>();
    let trunc = |time: i64| {
        truncate_years(years, time)
            .ok_or_else(|| guard::external(SqlError::new("22008", "timestamp out of range")))
    };
    let starts = times.iter().map(|time| time.map(trunc).transpose()).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(TimestampMicrosecondArray::from(starts).with_timezone("+00:00")))
}
