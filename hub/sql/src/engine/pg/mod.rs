//! What PostgreSQL's clients ask about the catalog: schemas `pg_catalog` and `information_schema`, the functions
//! that read them, and the spellings that come with them.
//!
//! Owns: those tables, made from one catalog version; numbers (oids) of streams, views and tables. Must not know: where the
//! catalog comes from, how queries run. Invariant: tables that are listed as empty are empty: queries over them are
//! answered without being planned (see `spell`).

mod columns;
mod empty;
mod functions;
mod spell;
mod types;

pub(super) use functions::functions;
pub(super) use spell::spell;

use super::tables::Inner;
use crate::source::{CatalogSnapshot, SystemTable};
use crate::types::type_name;
use datafusion::common::Result;
use headwater::schema::Field;
use headwater::value::{DataType, Value};

/// The schemas whose tables are here.
pub(super) const SCHEMAS: [&str; 2] = ["pg_catalog", "information_schema"];
/// The first number of a stream or view; PostgreSQL's own objects have lower ones.
const FIRST_OID: i64 = 16_384;
/// The first number of a table: above all streams and views, and still four bytes.
const FIRST_TABLE_OID: i64 = 1 << 30;
const OWNER: i64 = 10;
const PG_CATALOG: i64 = 11;
const PUBLIC: i64 = 2_200;
const DATABASE: i64 = 5;
const INFORMATION_SCHEMA: i64 = 13_000;
const HEADWATER: i64 = 13_001;
const SERVER: i64 = 13_002;
const WRAPPER: i64 = 13_003;
/// Who owns everything, and the database's name.
const NAME: &str = "headwater";

/// A stream, a view or a table, as PostgreSQL sees it.
struct Relation<'a> {
    oid: i64,
    name: &'a str,
    /// `f`, a foreign table, as PipelineDB's streams are; `v`, a view; or `r`, a table.
    kind: &'static str,
    definition: Option<&'a str>,
}

fn relations(catalog: &CatalogSnapshot) -> Vec<Relation<'_>> {
    let streams = catalog.streams.iter().map(|stream| Relation {
        oid: FIRST_OID + 2 * i64::from(stream.schema.id.0),
        name: &stream.schema.name,
        kind: "f",
        definition: None,
    });
    let views = catalog.views.iter().map(|view| Relation {
        oid: FIRST_OID + 2 * i64::from(view.id.0) + 1,
        name: &view.name,
        kind: "v",
        definition: Some(&view.query),
    });
    let tables = catalog.tables.iter().map(|table| Relation {
        oid: FIRST_TABLE_OID + i64::from(table.id.0),
        name: &table.name,
        kind: "r",
        definition: None,
    });
    streams.chain(views).chain(tables).collect()
}

/// A table of these schemas; `None` when there is none of this name.
pub(super) fn table(schema: &str, name: &str, inner: &Inner) -> Result<Option<SystemTable>> {
    let catalog = inner.catalog();
    let rows = match (schema, name) {
        ("pg_catalog", "pg_namespace") => namespaces(),
        ("pg_catalog", "pg_class") => classes(inner)?,
        ("pg_catalog", "pg_attribute") => columns::attributes(inner)?,
        ("pg_catalog", "pg_type") => types::rows(),
        ("pg_catalog", "pg_database") => databases(),
        ("pg_catalog", "pg_roles" | "pg_authid") => vec![role()],
        ("pg_catalog", "pg_user") => vec![user()],
        ("pg_catalog", "pg_am") => vec![vec![int(2), text("heap"), text("heap_tableam_handler"), text("t")]],
        ("pg_catalog", "pg_proc") => functions::rows(),
        ("pg_catalog", "pg_language") => vec![language()],
        ("pg_catalog", "pg_foreign_data_wrapper") => vec![wrapper()],
        ("pg_catalog", "pg_foreign_server") => vec![server()],
        ("pg_catalog", "pg_foreign_table") => foreign_tables(catalog),
        ("pg_catalog", "pg_tables") => pg_tables(catalog),
        ("pg_catalog", "pg_views") => pg_views(catalog),
        ("pg_catalog", "pg_settings") => settings(),
        ("information_schema", "schemata") => schemata(),
        ("information_schema", "tables") => tables(catalog),
        ("information_schema", "views") => views(catalog),
        ("information_schema", "columns") => columns::columns(inner)?,
        _ => Vec::new(),
    };
    Ok(layout(schema, name).map(|columns| SystemTable { columns, rows }))
}

/// Names of all tables of a schema.
pub(super) fn names(schema: &str) -> Vec<String> {
    let full = FULL.iter().filter(|entry| entry.0 == schema).map(|entry| entry.1.to_owned());
    let empty = empty::TABLES.iter().filter(|entry| entry.0 == schema).map(|entry| entry.1.to_owned());
    full.chain(empty).collect()
}

/// Tables with rows: schema, name, columns. Types: t text, i bigint, s smallint, n integer, b boolean, r real, T text[].
const FULL: &[(&str, &str, &str)] = &[
    ("pg_catalog", "pg_namespace", "i oid, t nspname, i nspowner, T nspacl"),
    (
        "pg_catalog",
        "pg_class",
        "i oid, t relname, i relnamespace, i reltype, i reloftype, i relowner, i relam, i relfilenode, \
         i reltablespace, n relpages, r reltuples, n relallvisible, i reltoastrelid, b relhasindex, b relisshared, \
         t relpersistence, t relkind, s relnatts, s relchecks, b relhasrules, b relhastriggers, b relhassubclass, \
         b relrowsecurity, b relforcerowsecurity, b relispopulated, t relreplident, b relispartition, i relrewrite, \
         i relfrozenxid, i relminmxid, T relacl, T reloptions, t relpartbound",
    ),
    (
        "pg_catalog",
        "pg_attribute",
        "i attrelid, t attname, i atttypid, n attstattarget, s attlen, s attnum, n attndims, n attcacheoff, \
         n atttypmod, b attbyval, t attalign, t attstorage, t attcompression, b attnotnull, b atthasdef, \
         b atthasmissing, t attidentity, t attgenerated, b attisdropped, b attislocal, n attinhcount, \
         i attcollation, T attacl, T attoptions, T attfdwoptions, t attmissingval",
    ),
    (
        "pg_catalog",
        "pg_type",
        "i oid, t typname, i typnamespace, i typowner, s typlen, b typbyval, t typtype, t typcategory, \
         b typispreferred, b typisdefined, t typdelim, i typrelid, i typsubscript, i typelem, i typarray, i typinput, \
         i typoutput, i typreceive, i typsend, i typmodin, i typmodout, i typanalyze, t typalign, t typstorage, \
         b typnotnull, i typbasetype, n typtypmod, n typndims, i typcollation, t typdefaultbin, t typdefault, T typacl",
    ),
    (
        "pg_catalog",
        "pg_database",
        "i oid, t datname, i datdba, n encoding, t datlocprovider, b datistemplate, b datallowconn, n datconnlimit, \
         i datfrozenxid, i datminmxid, i dattablespace, t datcollate, t datctype, t daticulocale, t datcollversion, \
         T datacl",
    ),
    ("pg_catalog", "pg_roles", ROLES),
    ("pg_catalog", "pg_authid", ROLES),
    (
        "pg_catalog",
        "pg_user",
        "t usename, i usesysid, b usecreatedb, b usesuper, b userepl, b usebypassrls, t passwd, t valuntil, T useconfig",
    ),
    ("pg_catalog", "pg_am", "i oid, t amname, t amhandler, t amtype"),
    (
        "pg_catalog",
        "pg_proc",
        "i oid, t proname, i pronamespace, i proowner, i prolang, r procost, r prorows, i provariadic, i prosupport, \
         t prokind, b prosecdef, b proleakproof, b proisstrict, b proretset, t provolatile, t proparallel, s pronargs, \
         s pronargdefaults, i prorettype, t proargtypes, T proargnames, t prosrc, t probin, T proconfig, T proacl",
    ),
    (
        "pg_catalog",
        "pg_language",
        "i oid, t lanname, i lanowner, b lanispl, b lanpltrusted, i lanplcallfoid, i laninline, i lanvalidator, T lanacl",
    ),
    (
        "pg_catalog",
        "pg_foreign_data_wrapper",
        "i oid, t fdwname, i fdwowner, i fdwhandler, i fdwvalidator, T fdwacl, T fdwoptions",
    ),
    (
        "pg_catalog",
        "pg_foreign_server",
        "i oid, t srvname, i srvowner, i srvfdw, t srvtype, t srvversion, T srvacl, T srvoptions",
    ),
    ("pg_catalog", "pg_foreign_table", "i ftrelid, i ftserver, T ftoptions"),
    (
        "pg_catalog",
        "pg_tables",
        "t schemaname, t tablename, t tableowner, t tablespace, b hasindexes, b hasrules, b hastriggers, b rowsecurity",
    ),
    ("pg_catalog", "pg_views", "t schemaname, t viewname, t viewowner, t definition"),
    (
        "pg_catalog",
        "pg_settings",
        "t name, t setting, t unit, t category, t short_desc, t context, t vartype, t source",
    ),
    (
        "information_schema",
        "schemata",
        "t catalog_name, t schema_name, t schema_owner, t default_character_set_catalog, \
         t default_character_set_schema, t default_character_set_name, t sql_path",
    ),
    (
        "information_schema",
        "tables",
        "t table_catalog, t table_schema, t table_name, t table_type, t self_referencing_column_name, \
         t reference_generation, t user_defined_type_catalog, t user_defined_type_schema, t user_defined_type_name, \
         t is_insertable_into, t is_typed, t commit_action",
    ),
    (
        "information_schema",
        "views",
        "t table_catalog, t table_schema, t table_name, t view_definition, t check_option, t is_updatable, \
         t is_insertable_into, t is_trigger_updatable, t is_trigger_deletable, t is_trigger_insertable_into",
    ),
    ("information_schema", "columns", columns::COLUMNS),
];

const ROLES: &str = "i oid, t rolname, b rolsuper, b rolinherit, b rolcreaterole, b rolcreatedb, b rolcanlogin, \
                     b rolreplication, n rolconnlimit, t rolpassword, t rolvaliduntil, b rolbypassrls, T rolconfig";

fn layout(schema: &str, name: &str) -> Option<Vec<Field>> {
    let mut all = FULL.iter().chain(empty::TABLES);
    all.find(|entry| entry.0 == schema && entry.1 == name).map(|entry| fields(entry.2))
}

/// The type of a column of the catalog by its name alone: it is the same in every table.
fn column_type(name: &str) -> Option<DataType> {
    let mut all = FULL.iter().chain(empty::TABLES).flat_map(|entry| fields(entry.2));
    all.find(|field| field.name == name).map(|field| field.data_type)
}

fn fields(columns: &str) -> Vec<Field> {
    let field = |column: &str| {
        let (data_type, name) = column.trim().split_once(' ')?;
        let data_type = match data_type {
            "i" => DataType::Int64,
            "n" => DataType::Int32,
            "s" => DataType::Int16,
            "b" => DataType::Bool,
            "r" => DataType::Float32,
            "T" => DataType::List(Box::new(DataType::Text)),
            "I" => DataType::List(Box::new(DataType::Int64)),
            _ => DataType::Text,
        };
        Some(Field { name: name.trim().to_owned(), data_type })
    };
    columns.split(',').filter_map(field).collect()
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn int(n: i64) -> Value {
    Value::Int(n)
}

fn flag(b: bool) -> Value {
    Value::Bool(b)
}

fn namespaces() -> Vec<Vec<Value>> {
    let schemas = [
        (PG_CATALOG, "pg_catalog"),
        (PUBLIC, "public"),
        (INFORMATION_SCHEMA, "information_schema"),
        (HEADWATER, NAME),
    ];
    schemas.iter().map(|(oid, name)| vec![int(*oid), text(name), int(OWNER), Value::Null]).collect()
}

fn classes(inner: &Inner) -> Result<Vec<Vec<Value>>> {
    let row = |relation: Relation<'_>| {
        let columns = inner.columns(relation.name)?.map_or(0, |columns| columns.len());
        let mut row = vec![int(relation.oid), text(relation.name), int(PUBLIC)];
        // From reltype to reltablespace.
        row.extend([0, 0, OWNER, 0, 0, 0].map(int));
        row.extend([int(0), Value::Float(-1.0), int(0), int(0), flag(false), flag(false)]);
        row.extend([text("p"), text(relation.kind), int(columns as i64), int(0)]);
        // From relhasrules to relforcerowsecurity.
        row.extend([false; 5].map(flag));
        row.extend([flag(true), text("n"), flag(false), int(0), int(0), int(0)]);
        row.extend([Value::Null, Value::Null, Value::Null]);
        Ok(row)
    };
    relations(inner.catalog()).into_iter().map(row).collect()
}

fn databases() -> Vec<Vec<Value>> {
    let mut row = vec![int(DATABASE), text(NAME), int(OWNER), int(6), text("c"), flag(false), flag(true)];
    row.extend([-1, 0, 0, 1_663].map(int));
    row.extend([text("C"), text("C"), Value::Null, Value::Null, Value::Null]);
    vec![row]
}

fn role() -> Vec<Value> {
    let mut row = vec![int(OWNER), text(NAME)];
    row.extend([false, true, false, false, true, false].map(flag));
    row.extend([int(-1), text("********"), Value::Null, flag(false), Value::Null]);
    row
}

fn user() -> Vec<Value> {
    let mut row = vec![text(NAME), int(OWNER)];
    row.extend([false; 4].map(flag));
    row.extend([text("********"), Value::Null, Value::Null]);
    row
}

fn language() -> Vec<Value> {
    let mut row = vec![int(12), text("internal"), int(OWNER), flag(false), flag(false)];
    row.extend([0, 0, 0].map(int));
    row.push(Value::Null);
    row
}

/// PipelineDB's server, whose foreign tables streams are.
fn server() -> Vec<Value> {
    let mut row = vec![int(SERVER), text("pipelinedb"), int(OWNER), int(WRAPPER)];
    row.extend([Value::Null, Value::Null, Value::Null, Value::Null]);
    row
}

fn wrapper() -> Vec<Value> {
    vec![int(WRAPPER), text("pipelinedb"), int(OWNER), int(0), int(0), Value::Null, Value::Null]
}

fn foreign_tables(catalog: &CatalogSnapshot) -> Vec<Vec<Value>> {
    let streams = relations(catalog).into_iter().filter(|relation| relation.kind == "f");
    streams.map(|stream| vec![int(stream.oid), int(SERVER), Value::Null]).collect()
}

fn pg_tables(catalog: &CatalogSnapshot) -> Vec<Vec<Value>> {
    let row = |table: &std::sync::Arc<crate::definition::TableDef>| {
        let mut row = vec![text("public"), text(&table.name), text(NAME), Value::Null];
        row.extend([false; 4].map(flag));
        row
    };
    catalog.tables.iter().map(row).collect()
}

fn pg_views(catalog: &CatalogSnapshot) -> Vec<Vec<Value>> {
    let row = |r: Relation<'_>| {
        let definition = text(r.definition?);
        Some(vec![text("public"), text(r.name), text(NAME), definition])
    };
    relations(catalog).into_iter().filter_map(row).collect()
}

/// What clients look for; SHOW knows all of a session.
fn settings() -> Vec<Vec<Value>> {
    functions::SETTINGS
        .iter()
        .map(|(name, value)| {
            let mut row = vec![text(name), text(value), Value::Null, text("Preset Options"), text("")];
            row.extend([text("internal"), text("string"), text("default")]);
            row
        })
        .collect()
}

fn schemata() -> Vec<Vec<Value>> {
    let names = ["pg_catalog", "public", "information_schema", NAME];
    names
        .iter()
        .map(|name| {
            let mut row = vec![text(NAME), text(name), text(NAME)];
            row.extend([Value::Null, Value::Null, Value::Null, Value::Null]);
            row
        })
        .collect()
}

fn tables(catalog: &CatalogSnapshot) -> Vec<Vec<Value>> {
    let row = |schema: &str, name: &str, kind: &str| {
        let mut row = vec![text(NAME), text(schema), text(name), text(kind)];
        row.extend([Value::Null, Value::Null, Value::Null, Value::Null, Value::Null]);
        let takes_rows = if kind == "BASE TABLE" { "YES" } else { "NO" };
        row.extend([text(takes_rows), text("NO"), Value::Null]);
        row
    };
    let kind = |kind: &str| match kind {
        "v" => "VIEW",
        "r" => "BASE TABLE",
        _ => "FOREIGN",
    };
    let own = relations(catalog);
    let own = own.iter().map(|r| row("public", r.name, kind(r.kind)));
    let system = ["headwater", "pipelinedb"]
        .into_iter()
        .flat_map(|schema| super::system::NAMES.iter().map(move |name| (schema, *name)));
    own.chain(system.map(|(schema, name)| row(schema, name, "VIEW"))).collect()
}

fn views(catalog: &CatalogSnapshot) -> Vec<Vec<Value>> {
    let row = |r: Relation<'_>| {
        let mut row = vec![text(NAME), text("public"), text(r.name), text(r.definition?), text("NONE")];
        row.extend(["NO"; 5].map(text));
        Some(row)
    };
    relations(catalog).into_iter().filter_map(row).collect()
}

/// The type's number, for `atttypid`; as the hub's face tells it.
fn type_oid(data_type: &DataType) -> i64 {
    types::oid(data_type)
}

/// `numeric(10,2)` has a modifier, nothing else.
fn modifier(data_type: &DataType) -> i64 {
    match data_type {
        DataType::Decimal { precision, scale } => ((i64::from(*precision) << 16) | i64::from(*scale)) + 4,
        _ => -1,
    }
}

/// PostgreSQL's name of a type without its parameters, as information_schema has it.
fn long_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Decimal { .. } => "numeric".into(),
        DataType::Timestamp => "timestamp with time zone".into(),
        DataType::List(_) => "ARRAY".into(),
        DataType::Struct(_) => "record".into(),
        other => type_name(other),
    }
}
