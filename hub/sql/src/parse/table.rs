//! Reference tables: CREATE TABLE, UPDATE, DELETE.
//!
//! Owns: their syntax, and that everything else of PostgreSQL's is refused by name. What UPDATE and DELETE change is a
//! query over the table under its [hidden name](hidden), so that everything that holds for queries holds for it.

use super::create::{check_name, checked_name};
use super::cursor::Cursor;
use super::returning::{Returning, select};
use super::{Change, CreateTable, Name, StatementKind, refuse};
use crate::convert::cast_text;
use crate::definition::TableColumn;
use crate::error::SqlError;
use crate::source::ROW_COLUMN;
use crate::text::{Text, fold, fold_name};
use crate::types::parse_type;
use datafusion::sql::sqlparser::ast::{
    self, AssignmentTarget, Expr, FromTable, Ident, ObjectName, SelectItem, SetExpr, Spanned, TableFactor,
    TableWithJoins,
};
use datafusion::sql::sqlparser::tokenizer::Token;
use headwater::schema::Field;

/// Most columns of a table: PostgreSQL's limit.
const COLUMNS_MAX: usize = 1_600;

/// What stands before the name of a table where its rows are to be told apart. No name has it.
const HIDDEN: char = '\u{1}';

/// The name of the rows of a statement, which only its own queries know.
pub(crate) const ROWS: &str = "\u{1}\u{1}rows";

/// The name of a table that shows [`ROW_COLUMN`].
pub(crate) fn hidden(table: &str) -> String {
    format!("{HIDDEN}{table}")
}

/// The table behind such a name.
pub(crate) fn unhidden(name: &str) -> Option<&str> {
    name.strip_prefix(HIDDEN)
}

/// After CREATE TABLE.
pub(super) fn create(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    let if_not_exists = cursor.words(&["if", "not", "exists"]);
    let name = checked_name(cursor)?;
    if cursor.word("as") {
        let query = filled_by(cursor)?;
        return Ok(StatementKind::CreateTable(CreateTable {
            name,
            if_not_exists,
            columns: Vec::new(),
            key: Vec::new(),
            query: Some(query),
        }));
    }
    let mut table = CreateTable { name, if_not_exists, columns: Vec::new(), key: Vec::new(), query: None };
    columns(cursor, &mut table)?;
    if !matches!(cursor.token(), Token::SemiColon | Token::EOF) {
        let clauses = ["inherits", "partition", "using", "with", "without", "on", "tablespace", "as"];
        return Err(match clauses.iter().find(|word| cursor.is_word(0, word)) {
            Some(&"as") => SqlError::unsupported("a list of columns in CREATE TABLE AS")
                .at(cursor.position())
                .with_hint("name them in the SELECT"),
            Some(word) => {
                SqlError::unsupported(format!("{} of a table", word.to_uppercase())).at(cursor.position())
            }
            None => cursor.expected("end of statement"),
        });
    }
    Ok(StatementKind::CreateTable(table))
}

fn filled_by(cursor: &mut Cursor<'_>) -> Result<Box<ast::Query>, SqlError> {
    if !cursor.at_query() {
        return Err(cursor.expected("SELECT"));
    }
    let query = cursor.query()?;
    refuse::query(cursor.text(), &query)?;
    if cursor.is_word(0, "with") && cursor.is_word(1, "no") {
        return Err(SqlError::unsupported("WITH NO DATA").at(cursor.position()).with_hint("add LIMIT 0"));
    }
    cursor.words(&["with", "data"]);
    Ok(query)
}

fn columns(cursor: &mut Cursor<'_>, table: &mut CreateTable) -> Result<(), SqlError> {
    cursor.expect(&Token::LParen)?;
    loop {
        match constraint(cursor) {
            Some("primary") if cursor.is_word(1, "key") => primary_key(cursor, table)?,
            Some(word) if !is_type_next(cursor) => return Err(refused(cursor, word)),
            _ => column(cursor, table)?,
        }
        if !cursor.consume(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen)?;
    Ok(())
}

/// A constraint of a table starts here, or a column of that name.
fn constraint(cursor: &Cursor<'_>) -> Option<&'static str> {
    ["primary", "foreign", "unique", "check", "exclude", "constraint", "like"]
        .into_iter()
        .find(|word| cursor.is_word(0, word))
}

/// A column may be called `exclude` or `like`: a type follows it.
fn is_type_next(cursor: &Cursor<'_>) -> bool {
    let types = [
        "bool",
        "boolean",
        "smallint",
        "int",
        "integer",
        "int2",
        "int4",
        "int8",
        "bigint",
        "real",
        "float",
        "float4",
        "float8",
        "double",
        "numeric",
        "decimal",
        "text",
        "varchar",
        "char",
        "bytea",
        "uuid",
        "date",
        "timestamp",
        "timestamptz",
        "interval",
    ];
    types.iter().any(|word| cursor.is_word(1, word))
}

fn refused(cursor: &Cursor<'_>, word: &str) -> SqlError {
    let (what, hint) = match word {
        "foreign" | "references" => ("FOREIGN KEY", "join when you read"),
        "unique" => ("UNIQUE", "a table has one unique key, its PRIMARY KEY"),
        "check" => ("CHECK", "check the rows before you insert them"),
        "constraint" => ("CONSTRAINT", "leave the name out: PRIMARY KEY (column, ...)"),
        "exclude" => ("EXCLUDE", "a table has one unique key, its PRIMARY KEY"),
        "like" => ("LIKE", "CREATE TABLE name AS SELECT * FROM other LIMIT 0"),
        "collate" => ("COLLATE", "text sorts by its bytes"),
        "generated" => ("GENERATED", "compute it when you read"),
        "primary" => ("PRIMARY", "PRIMARY KEY (column, ...)"),
        other => (other, "NOT NULL, PRIMARY KEY and DEFAULT constant are there"),
    };
    SqlError::unsupported(format!("{what} of a table")).at(cursor.position()).with_hint(hint)
}

fn primary_key(cursor: &mut Cursor<'_>, table: &mut CreateTable) -> Result<(), SqlError> {
    let at = cursor.position();
    cursor.words(&["primary", "key"]);
    let mut key: Vec<Name> = Vec::new();
    cursor.expect(&Token::LParen)?;
    loop {
        let position = cursor.position();
        let name = fold(&cursor.ident()?);
        if key.iter().any(|before| before.name == name) {
            let message = format!("column \"{name}\" appears twice in primary key constraint");
            return Err(SqlError::new("42701", message).at(position));
        }
        key.push(Name { name, position });
        if !cursor.consume(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen)?;
    set_key(table, key, at)
}

fn set_key(table: &mut CreateTable, key: Vec<Name>, at: Option<u32>) -> Result<(), SqlError> {
    if !table.key.is_empty() {
        let message = format!("multiple primary keys for table \"{}\" are not allowed", table.name.name);
        return Err(SqlError::new("42P16", message).at(at));
    }
    table.key = key;
    Ok(())
}

fn column(cursor: &mut Cursor<'_>, table: &mut CreateTable) -> Result<(), SqlError> {
    let position = cursor.position();
    let name = fold(&cursor.ident()?);
    check_column(&name, table).map_err(|e| e.at(position))?;
    let at = cursor.position();
    if matches!(cursor.token(), Token::Comma | Token::RParen) {
        return Err(cursor.expected("a type"));
    }
    let data_type = parse_type(&cursor.data_type()?).map_err(|e| e.at(at))?;
    let field = Field { name: name.clone(), data_type };
    let mut column = TableColumn { field, not_null: false, default: None };
    while !matches!(cursor.token(), Token::Comma | Token::RParen) {
        let at = cursor.position();
        if cursor.words(&["not", "null"]) {
            column.not_null = true;
        } else if cursor.words(&["primary", "key"]) {
            set_key(table, vec![Name { name: name.clone(), position }], at)?;
        } else if cursor.word("default") {
            column.default = default(cursor, &column.field)?;
        } else if !cursor.word("null") {
            return Err(column_constraint(cursor));
        }
    }
    table.columns.push(column);
    Ok(())
}

fn column_constraint(cursor: &Cursor<'_>) -> SqlError {
    let words = ["unique", "check", "references", "constraint", "collate", "generated"];
    match words.iter().find(|word| cursor.is_word(0, word)) {
        Some(word) => refused(cursor, word),
        None => cursor.expected("\",\" or \")\""),
    }
}

fn check_column(name: &str, table: &CreateTable) -> Result<(), SqlError> {
    check_name(name)?;
    if name == ROW_COLUMN {
        return Err(SqlError::new("42939", format!("\"{ROW_COLUMN}\" is the hub's own name")));
    }
    if table.columns.iter().any(|before| before.field.name == name) {
        return Err(SqlError::new("42701", format!("column \"{name}\" is named twice")));
    }
    if table.columns.len() >= COLUMNS_MAX {
        return Err(SqlError::new("54011", format!("a table has at most {COLUMNS_MAX} columns")));
    }
    Ok(())
}

/// Behind DEFAULT: a constant, checked against its column.
fn default(cursor: &mut Cursor<'_>, field: &Field) -> Result<Option<String>, SqlError> {
    let at = cursor.position();
    let mut expr = cursor.operand()?;
    while cursor.consume(&Token::DoubleColon) {
        parse_type(&cursor.data_type()?).map_err(|e| e.at(at))?;
    }
    while let Expr::Nested(inner) = expr {
        expr = *inner;
    }
    let Some(text) = constant(&expr) else {
        let hint = "rows are filled in by whoever inserts them: DEFAULT is a literal";
        return Err(SqlError::unsupported("DEFAULT of anything but a constant").at(at).with_hint(hint));
    };
    if let Some(text) = &text {
        cast_text(text, &field.data_type).map_err(|e| e.at(at))?;
    }
    Ok(text)
}

/// The text of a constant; `Some(None)` for NULL.
fn constant(expr: &Expr) -> Option<Option<String>> {
    let negative = |text: Option<String>| text.map(|text| format!("-{text}"));
    match expr {
        Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => match expr.as_ref() {
            Expr::Value(value) if matches!(value.value, ast::Value::Number(..)) => {
                super::call::literal(expr).map(negative)
            }
            _ => None,
        },
        Expr::UnaryOp { op: ast::UnaryOperator::Plus, expr } => constant(expr),
        Expr::Value(value) => match &value.value {
            ast::Value::Boolean(truth) => Some(Some(truth.to_string())),
            _ => super::call::literal(expr),
        },
        Expr::TypedString(_) | Expr::Interval(_) | Expr::Cast { .. } => super::call::literal(expr),
        _ => None,
    }
}

/// UPDATE and DELETE.
pub(super) fn change(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    let verb = if cursor.is_word(0, "update") { "UPDATE" } else { "DELETE" };
    let change = match cursor.statement()? {
        ast::Statement::Update(update) => changed(cursor, update)?,
        ast::Statement::Delete(delete) => deleted(cursor, delete)?,
        _ => return Err(SqlError::unsupported(verb)),
    };
    refuse::query(cursor.text(), &change.query)?;
    Ok(StatementKind::Change(change))
}

fn changed(cursor: &Cursor<'_>, update: ast::Update) -> Result<Change, SqlError> {
    let text = cursor.text();
    let at = text.of_span(update.update_token.0.span);
    let clauses = [
        (
            update.from.is_some(),
            "UPDATE ... FROM",
            "SET column = (SELECT ...) or WHERE column IN (SELECT ...)",
        ),
        (update.output.is_some(), "OUTPUT", "RETURNING what you want to see"),
        (
            update.or.is_some() || !update.order_by.is_empty() || update.limit.is_some(),
            "OR, ORDER BY or LIMIT in UPDATE",
            "WHERE chooses the rows",
        ),
    ];
    check_clauses(&clauses, at)?;
    let (table, from) = only_table(text, vec![update.table], "UPDATE", at)?;
    let (set, values) = assigned(text, update.assignments, at)?;
    let returning = returned(text, update.returning, &from)?;
    let query = query(from, values, update.selection)?;
    Ok(Change { table, set: Some(set), query, returning })
}

/// The clause that sqlparser has read.
fn returned(
    text: &Text,
    items: Option<Vec<SelectItem>>,
    from: &TableWithJoins,
) -> Result<Option<Returning>, SqlError> {
    let Some(items) = items else { return Ok(None) };
    let of = match &from.relation {
        TableFactor::Table { alias: Some(alias), .. } => fold(&alias.name),
        _ => String::new(),
    };
    let position = items.first().and_then(|item| text.of(item));
    Returning::new(text, items, (of, position)).map(Some)
}

/// What stands behind SET: columns and their values.
pub(super) fn assigned(
    text: &Text,
    assignments: Vec<ast::Assignment>,
    at: Option<u32>,
) -> Result<(Vec<Name>, Vec<SelectItem>), SqlError> {
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for assignment in assignments {
        let AssignmentTarget::ColumnName(target) = assignment.target else {
            let hint = "SET a = ..., b = ...";
            return Err(SqlError::unsupported("SET of a list of columns").at(at).with_hint(hint));
        };
        let position = text.of(&target);
        let name = match fold_name(&target).as_slice() {
            [name] => name.clone(),
            _ => return Err(SqlError::unsupported("a qualified name behind SET").at(position)),
        };
        if names.iter().any(|before: &Name| before.name == name) {
            let message = format!("multiple assignments to same column \"{name}\"");
            return Err(SqlError::new("42601", message).at(position));
        }
        names.push(Name { name, position });
        values.push(SelectItem::UnnamedExpr(assignment.value));
    }
    Ok((names, values))
}

fn deleted(cursor: &Cursor<'_>, delete: ast::Delete) -> Result<Change, SqlError> {
    let text = cursor.text();
    let at = text.of_span(delete.delete_token.0.span);
    let clauses = [
        (delete.using.is_some(), "DELETE ... USING", "WHERE column IN (SELECT ...)"),
        (delete.output.is_some(), "OUTPUT", "RETURNING what you want to see"),
        (
            !delete.tables.is_empty() || !delete.order_by.is_empty() || delete.limit.is_some(),
            "several tables, ORDER BY or LIMIT in DELETE",
            "WHERE chooses the rows",
        ),
    ];
    check_clauses(&clauses, at)?;
    let FromTable::WithFromKeyword(tables) = delete.from else {
        return Err(SqlError::new("42601", "syntax error: expected FROM behind DELETE").at(at));
    };
    let (table, from) = only_table(text, tables, "DELETE", at)?;
    let nothing = vec![SelectItem::UnnamedExpr(Expr::Value(ast::Value::Null.into()))];
    let returning = returned(text, delete.returning, &from)?;
    Ok(Change { table, set: None, query: query(from, nothing, delete.selection)?, returning })
}

fn check_clauses(clauses: &[(bool, &str, &str)], at: Option<u32>) -> Result<(), SqlError> {
    match clauses.iter().find(|(is_there, ..)| *is_there) {
        Some((_, what, hint)) => Err(SqlError::unsupported(what).at(at).with_hint(*hint)),
        None => Ok(()),
    }
}

/// The one table that is changed, and the same under its hidden name.
fn only_table(
    text: &Text,
    mut tables: Vec<TableWithJoins>,
    verb: &str,
    at: Option<u32>,
) -> Result<(Name, TableWithJoins), SqlError> {
    let refused = || SqlError::unsupported(format!("{verb} of anything but one table")).at(at);
    let mut from = tables.pop().filter(|from| from.joins.is_empty()).ok_or_else(refused)?;
    if !tables.is_empty() {
        return Err(refused());
    }
    let TableFactor::Table { name, alias, args: None, sample: None, with_ordinality: false, .. } =
        &mut from.relation
    else {
        return Err(refused());
    };
    let position = text.of(name);
    let mut parts = fold_name(name);
    let table = parts.pop().unwrap_or_default();
    if !parts.is_empty() && parts != ["public"] {
        let message = format!("\"{}\" cannot be changed: it is the hub's", parts.join("."));
        return Err(SqlError::new("42809", message).at(position));
    }
    let span = name.span();
    let ident = |value: String| Ident { value, quote_style: Some('"'), span };
    *name = ObjectName::from(vec![ident(hidden(&table))]);
    let shown = ident(table.clone());
    if alias.is_none() {
        *alias = Some(ast::TableAlias { explicit: true, name: shown, columns: Vec::new(), at: None });
    }
    Ok((Name { name: table, position }, from))
}

fn query(
    from: TableWithJoins,
    projection: Vec<SelectItem>,
    selection: Option<Expr>,
) -> Result<Box<ast::Query>, SqlError> {
    let mut query = select(projection, selection)?;
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.from = vec![from];
    }
    Ok(query)
}
