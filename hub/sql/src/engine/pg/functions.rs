//! Functions about the catalog that clients call, and the rows of `pg_proc`.

use super::{
    FIRST_OID, HEADWATER, INFORMATION_SCHEMA, NAME, OWNER, PG_CATALOG, PUBLIC, flag, int, relations, text,
    types,
};
use crate::functions::{OWN, Own};
use crate::source::CatalogSnapshot;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use headwater::value::Value;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What `current_setting` knows; a session's own settings are SHOW's.
pub(super) const SETTINGS: &[(&str, &str)] = &[
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("integer_datetimes", "on"),
    ("jit", "off"),
    ("max_identifier_length", "63"),
    ("max_index_keys", "32"),
    ("search_path", "public"),
    ("server_encoding", "UTF8"),
    ("server_version", "15.0"),
    ("server_version_num", "150000"),
    ("standard_conforming_strings", "on"),
    ("TimeZone", "UTC"),
    ("transaction_isolation", "read committed"),
];

/// What a function answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Text(&'static str),
    NoText,
    Int(i64),
    NoInt,
    Bool(bool),
    FormatType,
    QuoteIdent,
    QuoteLiteral,
    Setting,
    /// Its second argument: settings change by SET.
    Second,
    Schemas,
    ViewDefinition,
    /// The number of a relation by its name, or the number itself as text.
    Relation,
    RelationName,
    Type,
    Namespace,
    NamespaceName,
    Arguments,
    Returns,
}

const FUNCTIONS: &[(&str, What)] = &[
    ("array_lower", What::Int(1)),
    ("col_description", What::NoText),
    ("current_schemas", What::Schemas),
    ("current_setting", What::Setting),
    ("format_type", What::FormatType),
    ("has_any_column_privilege", What::Bool(true)),
    ("has_column_privilege", What::Bool(true)),
    ("has_database_privilege", What::Bool(true)),
    ("has_function_privilege", What::Bool(true)),
    ("has_schema_privilege", What::Bool(true)),
    ("has_table_privilege", What::Bool(true)),
    ("inet_client_addr", What::NoText),
    ("inet_client_port", What::NoInt),
    ("inet_server_addr", What::NoText),
    ("inet_server_port", What::NoInt),
    ("obj_description", What::NoText),
    ("pg_advisory_unlock_all", What::NoText),
    ("pg_backend_pid", What::Int(0)),
    ("pg_char_to_encoding", What::Int(6)),
    ("pg_collation_is_visible", What::Bool(true)),
    ("pg_database_size", What::NoInt),
    ("pg_encoding_to_char", What::Text("UTF8")),
    ("pg_function_is_visible", What::Bool(true)),
    ("pg_get_constraintdef", What::NoText),
    ("pg_get_expr", What::NoText),
    ("pg_get_function_arguments", What::Arguments),
    ("pg_get_function_identity_arguments", What::Arguments),
    ("pg_get_function_result", What::Returns),
    ("pg_get_indexdef", What::NoText),
    ("pg_get_partkeydef", What::NoText),
    ("pg_get_ruledef", What::NoText),
    ("pg_get_serial_sequence", What::NoText),
    ("pg_get_statisticsobjdef_columns", What::NoText),
    ("pg_get_triggerdef", What::NoText),
    ("pg_get_userbyid", What::Text(NAME)),
    ("pg_get_viewdef", What::ViewDefinition),
    ("pg_indexes_size", What::NoInt),
    ("pg_is_in_recovery", What::Bool(false)),
    ("pg_is_other_temp_schema", What::Bool(false)),
    ("pg_my_temp_schema", What::Int(0)),
    ("pg_opclass_is_visible", What::Bool(true)),
    ("pg_operator_is_visible", What::Bool(true)),
    ("pg_relation_is_publishable", What::Bool(false)),
    ("pg_relation_size", What::NoInt),
    ("pg_table_is_visible", What::Bool(true)),
    ("pg_table_size", What::NoInt),
    ("pg_tablespace_location", What::NoText),
    ("pg_total_relation_size", What::NoInt),
    ("pg_type_is_visible", What::Bool(true)),
    ("quote_ident", What::QuoteIdent),
    ("quote_literal", What::QuoteLiteral),
    ("set_config", What::Second),
    ("shobj_description", What::NoText),
    // Behind casts: see `spell`.
    (super::spell::TO_REGCLASS, What::Relation),
    (super::spell::REGCLASS_NAME, What::RelationName),
    (super::spell::TO_REGTYPE, What::Type),
    (super::spell::TO_REGNAMESPACE, What::Namespace),
    (super::spell::REGNAMESPACE_NAME, What::NamespaceName),
];

/// The number of the first function of Headwater's own.
const OWN_OID: i64 = 14_000;

/// The functions, over one catalog version.
pub(in crate::engine) fn functions(catalog: &Arc<CatalogSnapshot>) -> Vec<Arc<ScalarUDF>> {
    let one = |(name, what): &(&'static str, What)| {
        let signature = Signature::variadic_any(Volatility::Stable);
        let signature = match what {
            What::Schemas | What::Setting | What::QuoteIdent => signature,
            _ => Signature::one_of(
                vec![
                    datafusion::logical_expr::TypeSignature::VariadicAny,
                    datafusion::logical_expr::TypeSignature::Nullary,
                ],
                Volatility::Stable,
            ),
        };
        let function = CatalogFunction { name, what: *what, catalog: Arc::clone(catalog), signature };
        Arc::new(ScalarUDF::from(function))
    };
    FUNCTIONS.iter().map(one).collect()
}

/// Of `pg_proc`.
pub(super) fn rows() -> Vec<Vec<Value>> {
    let row = |(at, own): (usize, &Own)| {
        let (name, count) = (own.name, own.arguments.split(',').count() as i64);
        let kind = if own.is_aggregate { "a" } else { "f" };
        let mut row = vec![int(OWN_OID + at as i64), text(name), int(PUBLIC), int(OWNER), int(12)];
        row.extend([Value::Float(1.0), Value::Float(0.0), int(0), int(0), text(kind)]);
        row.extend([flag(false), flag(false), flag(false), flag(false), text("i"), text("s")]);
        row.extend([int(count), int(0), int(0), text(""), Value::Null, text(name)]);
        row.extend([Value::Null, Value::Null, Value::Null]);
        row
    };
    OWN.iter().enumerate().map(row).collect()
}

#[derive(Debug)]
struct CatalogFunction {
    name: &'static str,
    what: What,
    catalog: Arc<CatalogSnapshot>,
    signature: Signature,
}

impl PartialEq for CatalogFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.catalog.version == other.catalog.version
    }
}

impl Eq for CatalogFunction {}

impl Hash for CatalogFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for CatalogFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.what {
            What::Int(_) | What::NoInt | What::Relation | What::Type | What::Namespace => DataType::Int64,
            What::Bool(_) => DataType::Boolean,
            What::Schemas => schemas().data_type(),
            _ => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = match self.what {
            What::Text(text) => Some(ScalarValue::from(text)),
            What::NoText => Some(ScalarValue::Utf8(None)),
            What::Int(n) => Some(ScalarValue::Int64(Some(n))),
            What::NoInt => Some(ScalarValue::Int64(None)),
            What::Bool(b) => Some(ScalarValue::Boolean(Some(b))),
            What::Schemas => Some(schemas()),
            _ => None,
        };
        if let Some(constant) = constant {
            return Ok(ColumnarValue::Scalar(constant));
        }
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let answers = (0..rows).map(|row| {
            let values = arrays.iter().map(|array| ScalarValue::try_from_array(array, row));
            values.collect::<Result<Vec<_>>>().map(|values| self.answer(&values))
        });
        let answers = answers.collect::<Result<Vec<_>>>()?;
        match is_scalar {
            true => Ok(ColumnarValue::Scalar(answers.into_iter().next().unwrap_or(ScalarValue::Null))),
            false if answers.is_empty() => {
                Ok(ColumnarValue::Array(datafusion::arrow::array::new_empty_array(args.return_type())))
            }
            false => ScalarValue::iter_to_array(answers).map(ColumnarValue::Array),
        }
    }
}

fn schemas() -> ScalarValue {
    let names = ["pg_catalog", "public"].map(ScalarValue::from);
    ScalarValue::List(ScalarValue::new_list_nullable(&names, &DataType::Utf8))
}

fn number(value: Option<&ScalarValue>) -> Option<i64> {
    match value?.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(number)) => number,
        _ => None,
    }
}

fn string(value: Option<&ScalarValue>) -> Option<String> {
    match value?.cast_to(&DataType::Utf8) {
        Ok(ScalarValue::Utf8(text)) => text,
        _ => None,
    }
}

impl CatalogFunction {
    fn answer(&self, args: &[ScalarValue]) -> ScalarValue {
        let (first, second) = (args.first(), args.get(1));
        match self.what {
            What::FormatType => {
                let modifier = number(second).unwrap_or(-1);
                let name =
                    number(first).map(|oid| types::format(oid, modifier).unwrap_or_else(|| "???".into()));
                ScalarValue::Utf8(name)
            }
            What::QuoteIdent => ScalarValue::Utf8(string(first).map(|name| quoted(&name))),
            What::QuoteLiteral => {
                ScalarValue::Utf8(string(first).map(|text| format!("'{}'", text.replace('\'', "''"))))
            }
            What::Second => ScalarValue::Utf8(string(second)),
            What::Setting => ScalarValue::Utf8(string(first).and_then(|name| setting(&name))),
            What::ViewDefinition => ScalarValue::Utf8(self.definition(args)),
            What::Relation => ScalarValue::Int64(string(first).and_then(|name| self.relation(&name))),
            What::RelationName => ScalarValue::Utf8(number(first).map(|oid| self.relation_name(oid))),
            What::Type => ScalarValue::Int64(
                string(first).and_then(|name| digits(&name).or_else(|| types::find(&name))),
            ),
            What::Namespace => ScalarValue::Int64(string(first).and_then(|name| namespace(&name))),
            What::NamespaceName => ScalarValue::Utf8(number(first).map(namespace_name)),
            What::Arguments => ScalarValue::Utf8(own(first).map(|own| own.arguments.to_owned())),
            What::Returns => ScalarValue::Utf8(own(first).map(|own| own.result.to_owned())),
            _ => ScalarValue::Null,
        }
    }

    fn definition(&self, args: &[ScalarValue]) -> Option<String> {
        let oid = number(args.first()).or_else(|| self.relation(&string(args.first())?))?;
        let found = relations(&self.catalog).into_iter().find(|relation| relation.oid == oid)?;
        found.definition.map(|definition| format!(" {definition};"))
    }

    fn relation(&self, name: &str) -> Option<i64> {
        if let Some(oid) = digits(name) {
            return Some(oid);
        }
        let name = name.rsplit_once('.').map_or(name, |(_, name)| name);
        let name = match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
            Some(quoted) => quoted.replace("\"\"", "\""),
            None => name.to_lowercase(),
        };
        relations(&self.catalog).iter().find(|relation| relation.name == name).map(|relation| relation.oid)
    }

    fn relation_name(&self, oid: i64) -> String {
        let all = relations(&self.catalog);
        let found = all.iter().find(|relation| relation.oid == oid && oid >= FIRST_OID);
        found.map_or_else(|| oid.to_string(), |relation| quoted(relation.name))
    }
}

fn digits(text: &str) -> Option<i64> {
    text.trim().parse().ok()
}

fn own(oid: Option<&ScalarValue>) -> Option<&'static Own> {
    OWN.get(usize::try_from(number(oid)? - OWN_OID).ok()?)
}

fn setting(name: &str) -> Option<String> {
    SETTINGS.iter().find(|setting| setting.0.eq_ignore_ascii_case(name)).map(|setting| setting.1.to_owned())
}

const NAMESPACES: [(i64, &str); 4] = [
    (PG_CATALOG, "pg_catalog"),
    (PUBLIC, "public"),
    (INFORMATION_SCHEMA, "information_schema"),
    (HEADWATER, NAME),
];

fn namespace(name: &str) -> Option<i64> {
    digits(name).or_else(|| NAMESPACES.iter().find(|entry| entry.1 == name).map(|entry| entry.0))
}

fn namespace_name(oid: i64) -> String {
    NAMESPACES.iter().find(|entry| entry.0 == oid).map_or_else(|| oid.to_string(), |entry| entry.1.to_owned())
}

/// In quotes where SQL needs them.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    if starts && name.chars().all(plain) { name.to_owned() } else { crate::text::quote(name) }
}
