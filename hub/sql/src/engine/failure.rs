//! DataFusion's errors as SQL errors: SQLSTATE, position, hint.

use crate::error::SqlError;
use crate::source::CatalogSnapshot;
use crate::suggest::{did_you_mean, listed};
use crate::text::Text;
use datafusion::arrow::error::ArrowError;
use datafusion::common::{DataFusionError, SchemaError};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, Tokenizer};

/// Translates an error of planning or running `text`.
pub(super) fn from_datafusion(error: DataFusionError, text: &Text) -> SqlError {
    let error = own_words(regex(translate(error, text)));
    if error.position.is_some() {
        return error;
    }
    let at = find_unreadable(&error, text).or_else(|| find_named(&error.message, text));
    error.at(at)
}

/// Where that stands which a message names, if it is there once.
fn find_named(message: &str, text: &Text) -> Option<u32> {
    const WORDS: [(&str, &str); 4] = [
        ("combine ", "combine"),
        ("DISTINCT, ORDER BY and NULLS in combine", "combine"),
        ("EXISTS, ANY or ALL ", "exists"),
        ("a correlated subquery ", "lateral"),
    ];
    if let Some(call) = message.strip_prefix("function ") {
        let name = call.split(['(', ' ']).next().unwrap_or_default();
        // DataFusion tells a function's first name.
        let names = if name == "character_length" { &[name, "char_length"][..] } else { &[name][..] };
        return names.iter().find_map(|name| find(text, name));
    }
    let word = WORDS.iter().find(|(start, _)| message.starts_with(start))?.1;
    find(text, word)
}

/// `2201B`: a pattern that is none, or that is too large. It is left out: it may be a whole text.
fn regex(error: SqlError) -> SqlError {
    let message = &error.message;
    let reason = if let Some((_, reason)) =
        message.split_once("xceeds size limit of").or_else(|| message.split_once("CompiledTooBig("))
    {
        let bytes = reason.trim().split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        format!("it takes more than {bytes} bytes")
    } else if message.contains("regex parse error") {
        // A pattern of one line is marked beneath.
        let reason = message.rsplit_once("error: ").map_or("", |(_, reason)| reason);
        reason.split(" ~~~").next().unwrap_or(reason).trim().to_owned()
    } else {
        return error;
    };
    SqlError::new("2201B", format!("invalid regular expression: {reason}")).at(error.position)
}

/// DataFusion's internal errors ask for a report to its authors, who have nothing to do with it.
fn own_words(error: SqlError) -> SqlError {
    let is_internal = error.code == "XX000" && error.message.to_lowercase().contains("internal error");
    if !is_internal && !error.message.contains("caused by a bug in DataFusion") {
        return error;
    }
    tracing::error!(code = error.code, message = error.message, "a statement met an internal error");
    SqlError::new(
        "XX000",
        "internal error: this statement could not be planned or run; the hub's log has the details",
    )
    .at(error.position)
    .with_hint("write it in another way, and report it to Headwater's authors")
}

/// Where the literal stands that is no value of its type.
fn find_unreadable(error: &SqlError, text: &Text) -> Option<u32> {
    let literal = match error.code {
        "22P02" | "22007" | "22008" => error.message.split_once(": \"")?.1.strip_suffix('"')?,
        "22003" => error.message.strip_prefix('"')?.split_once("\" is out of range for type ")?.0,
        _ => return None,
    };
    let beginning = literal.strip_suffix("...").unwrap_or(literal);
    let is_it = |quoted: &str| quoted == literal || beginning != literal && quoted.starts_with(beginning);
    find_token(text, |token| matches!(token, Token::SingleQuotedString(quoted) if is_it(quoted)))
}

fn translate(error: DataFusionError, text: &Text) -> SqlError {
    match error {
        DataFusionError::Diagnostic(diagnostic, inner) => {
            let at = diagnostic.span.map(|s| Location { line: s.start.line, column: s.start.column });
            let at = at.and_then(|at| text.position(at));
            // Better than a search of the text.
            let error = translate(*inner, text);
            SqlError { position: at.or(error.position), ..error }
        }
        DataFusionError::Context(_, inner) => translate(*inner, text),
        DataFusionError::Shared(shared) => from_shared(&shared, text),
        DataFusionError::Collection(mut errors) if !errors.is_empty() => {
            translate(errors.swap_remove(0), text)
        }
        DataFusionError::External(error) => match error.downcast::<SqlError>() {
            Ok(error) => *error,
            Err(error) => SqlError::new("XX000", error.to_string()),
        },
        DataFusionError::ArrowError(error, _) => from_arrow(*error),
        DataFusionError::SchemaError(error, _) => from_schema(&error, text),
        DataFusionError::NotImplemented(message) => not_implemented(&message),
        DataFusionError::ResourcesExhausted(message) => {
            SqlError::new("53200", format!("query needs more memory than its limit: {}", tidy(&message)))
        }
        DataFusionError::Plan(message) => from_plan(&message, text),
        DataFusionError::SQL(error, _) => SqlError::new("42601", tidy(&error.to_string())),
        DataFusionError::Execution(message) => from_execution(&message),
        other => SqlError::new("XX000", tidy(&other.strip_backtrace())),
    }
}

/// `0A000`; DataFusion shows the whole expression where it has no plan for a subquery.
fn not_implemented(message: &str) -> SqlError {
    if message.contains("LIMIT expression") || message.contains("OFFSET expression") {
        return SqlError::unsupported("LIMIT or OFFSET of anything but a whole number");
    }
    if let Some(error) = operator(message) {
        return error;
    }
    let what = between(message, "does not support logical expression ", "(");
    let what = match what {
        Some("Exists" | "SetComparison") => "EXISTS, ANY or ALL (SELECT ...) outside of WHERE and HAVING",
        Some("InSubquery") => "IN (SELECT ...) outside of WHERE",
        Some("ScalarSubquery" | "OuterReferenceColumn") => return correlated(),
        _ => return SqlError::new("0A000", tidy(message)),
    };
    SqlError::unsupported(what).with_hint(JOIN_INSTEAD)
}

/// An operator by its sign, where DataFusion names it as sqlparser does.
fn operator(message: &str) -> Option<SqlError> {
    const SIGNS: [(&str, &str); 8] = [
        ("PGOverlap", "&&"),
        ("PGSquareRoot", "|/"),
        ("PGCubeRoot", "||/"),
        ("PGPostfixFactorial", "!"),
        ("PGPrefixFactorial", "!!"),
        ("PGAbs", "@"),
        ("PGStartsWith", "^@"),
        ("AtArrow", "@>"),
    ];
    let (_, sign) = SIGNS.iter().find(|(name, _)| message.contains(name))?;
    Some(SqlError::unsupported(format!("operator {sign}")))
}

/// What works in the place of most subqueries that have no plan.
const JOIN_INSTEAD: &str = "join with a subquery that has its own GROUP BY";

fn correlated() -> SqlError {
    SqlError::unsupported("a correlated subquery of this form").with_hint(JOIN_INSTEAD)
}

/// An error that several streams share cannot be taken apart: the parts that matter are read through it.
fn from_shared(error: &DataFusionError, text: &Text) -> SqlError {
    match error.find_root() {
        DataFusionError::External(inner) => match inner.downcast_ref::<SqlError>() {
            Some(error) => error.clone(),
            None => SqlError::new("XX000", inner.to_string()),
        },
        DataFusionError::ResourcesExhausted(message) => {
            translate(DataFusionError::ResourcesExhausted(message.clone()), text)
        }
        DataFusionError::Execution(message) => from_execution(message),
        DataFusionError::ArrowError(inner, _) => arrow_by_text(&inner.to_string()),
        other => SqlError::new("XX000", tidy(&other.strip_backtrace())),
    }
}

fn from_arrow(error: ArrowError) -> SqlError {
    match error {
        ArrowError::ExternalError(inner) => match inner.downcast::<DataFusionError>() {
            Ok(inner) => translate(*inner, &Text::new("")),
            Err(inner) => match inner.downcast::<SqlError>() {
                Ok(error) => *error,
                Err(inner) => SqlError::new("XX000", inner.to_string()),
            },
        },
        other => arrow_by_text(&other.to_string()),
    }
}

fn arrow_by_text(message: &str) -> SqlError {
    let lower = message.to_lowercase();
    if let Some((_, operation)) = message.split_once("arithmetic operation: ") {
        return SqlError::new("42883", format!("operator does not exist: {}", sql_types(operation)));
    }
    if let Some(error) = out_of_domain(&lower) {
        return error;
    }
    if let Some(error) = out_of_range(message) {
        return error;
    }
    if let Some(error) = unreadable(message) {
        return error;
    }
    let code = if lower.contains("cast") || lower.contains("pars") { "22P02" } else { "22000" };
    SqlError::new(code, tidy(message))
}

/// In PostgreSQL's words: a text that is no value of the type it is cast to.
fn unreadable(message: &str) -> Option<SqlError> {
    if let Some((_, behind)) = message.split_once("Error parsing timestamp from '") {
        let (text, _) = behind.rsplit_once("': ")?;
        return Some(crate::convert::unreadable(text, "timestamptz"));
    }
    if let Some((_, behind)) = message.split_once("Cannot cast value '") {
        let (text, name) = behind.rsplit_once("' to value of ")?;
        return Some(crate::convert::unreadable(text, &sql_types(name.split_once(" type")?.0.trim())));
    }
    if let Some((_, behind)) = message.split_once("Invalid input syntax for type interval: \"") {
        let (text, _) = behind.rsplit_once('"')?;
        return Some(crate::convert::unreadable(text, "interval"));
    }
    if message.contains("Format error") {
        return Some(SqlError::new("22023", "a pattern of to_char is not understood"));
    }
    let (_, behind) = message.split_once("Cannot cast string '")?;
    let (text, behind) = behind.rsplit_once("' to value of ")?;
    Some(crate::convert::unreadable(text, &sql_types(behind.split_once(" type")?.0)))
}

/// `22003`, in PostgreSQL's words where Arrow says enough.
fn out_of_range(message: &str) -> Option<SqlError> {
    let line = tidy(message);
    let lower = line.to_lowercase();
    let after = |before: &str| line.split_once(before).map(|(_, rest)| rest);
    let message = if let Some(name) = after("Can't cast value ").and_then(|cast| cast.split_once(" to type "))
    {
        format!("{} out of range", name.1)
    } else if let Some((_, what)) = line.split_once("verflow on abs(") {
        format!("out of range: abs({what}")
    } else if let Some(what) = after("verflow happened on: ") {
        format!("out of range: {what}")
    } else if line.contains("too large to store in a Decimal")
        || line.contains("too small to store in a Decimal")
    {
        "numeric field overflow".to_owned()
    } else if lower.contains("cannot cast to numeric") {
        "numeric out of range".to_owned()
    } else if ["overflow", "out of range", "too large to store"].iter().any(|word| lower.contains(word)) {
        line
    } else {
        return None;
    };
    Some(SqlError::new("22003", message))
}

/// A value that a function is not defined for, with PostgreSQL's code and words.
fn out_of_domain(lower: &str) -> Option<SqlError> {
    const DOMAINS: [(&str, &str, &str); 9] = [
        ("exceeds the representable i64 range", "22008", "timestamp out of range"),
        (
            "scalar subquery returned more than one row",
            "21000",
            "more than one row returned by a subquery used as an expression",
        ),
        ("divide by zero", "22012", "division by zero"),
        ("division by zero", "22012", "division by zero"),
        ("square root of a negative number", "2201F", "cannot take square root of a negative number"),
        ("zero raised to a negative power", "2201F", "zero raised to a negative power is undefined"),
        ("field position must not be zero", "22023", "field position must not be zero"),
        ("negative count not allowed", "22011", "negative substring length not allowed"),
        ("negative substring length", "22011", "negative substring length not allowed"),
    ];
    let found = DOMAINS.iter().find(|(words, ..)| lower.contains(words))?;
    Some(SqlError::new(found.1, found.2))
}

fn from_execution(message: &str) -> SqlError {
    let lower = message.to_lowercase();
    if let Some(error) = out_of_domain(&lower) {
        return error;
    }
    if lower.contains("cannot access field") {
        // DataFusion looks among a subquery's own columns first, and for the table of that name only then.
        return SqlError::unsupported(
            "a column of an outer table beside a column that has this table's name",
        )
        .with_hint("give the table another alias: FROM name AS t");
    }
    out_of_range(message).unwrap_or_else(|| SqlError::new("22000", tidy(message)))
}

fn from_schema(error: &SchemaError, text: &Text) -> SqlError {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let name = field.name();
            if name.starts_with('$') {
                // A column of the plan, not of the statement: it got lost when a subquery became a join.
                return correlated();
            }
            if !mentions(text, name) {
                return correlated();
            }
            let table = field.relation.as_ref().map(|r| r.table().to_owned());
            let known = |f: &&datafusion::common::Column| {
                table.as_deref().is_none_or(|t| f.relation.as_ref().is_none_or(|r| r.table() == t))
            };
            if let Some(table) = table.as_deref().filter(|table| {
                let is_table =
                    |f: &datafusion::common::Column| f.relation.as_ref().is_some_and(|r| r.table() == *table);
                !valid_fields.iter().any(is_table)
            }) {
                let message = format!("missing FROM-clause entry for table \"{table}\"");
                return SqlError::new("42P01", message).at(find(text, table));
            }
            let names = valid_fields.iter().filter(known).map(|f| f.name()).filter(|n| !n.starts_with('$'));
            let hint = instead_of_column(name)
                .or_else(|| did_you_mean(name, names.clone()))
                .or_else(|| listed(names));
            SqlError::new("42703", format!("column \"{name}\" does not exist"))
                .at(find(text, name))
                .with_hint_opt(hint)
        }
        SchemaError::AmbiguousReference { field } => {
            let message = format!("column reference \"{}\" is ambiguous", field.name());
            SqlError::new("42702", message)
                .at(find(text, field.name()))
                .with_hint("name its table, too: table.column")
        }
        other => SqlError::new("42701", tidy(&other.to_string())),
    }
}

/// What there is in the place of PostgreSQL's names without parentheses.
fn instead_of_column(name: &str) -> Option<String> {
    let is_clock = ["localtimestamp", "localtime", "current_time"].contains(&name);
    is_clock.then(|| "now() is the time, current_date the day".to_owned())
}

fn from_plan(message: &str, text: &Text) -> SqlError {
    let message = tidy(message);
    if message.to_lowercase().contains("scalar subquery must be aggregated") {
        // `(SELECT name FROM t WHERE key = outer.key)`
        return SqlError::unsupported("a correlated scalar subquery without an aggregate")
            .with_hint("take max(...) of its column, or join with its table");
    }
    if let Some(error) = wrong_clause(&message, text) {
        return error;
    }
    if let Some(table) = between(&message, "table '", "' not found") {
        let mut parts = table.rsplit('.');
        let name = parts.next().unwrap_or(table);
        if let Some(schema) = parts.next().filter(|schema| *schema != "public") {
            let message = format!("relation \"{schema}.{name}\" does not exist");
            let error = SqlError::new("42P01", message).at(find(text, schema));
            return error
                .with_hint("streams, views and tables are in the schema public, which need not be named");
        }
        return SqlError::new("42P01", format!("relation \"{name}\" does not exist")).at(find(text, name));
    }
    if let Some(name) = between(&message, "nvalid function '", "'") {
        if WINDOWS.contains(&name) {
            let message = format!("window function {name} requires an OVER clause");
            return SqlError::new("42809", message).at(find(text, name));
        }
        let hint = crate::functions::did_you_mean(name);
        return SqlError::new("42883", format!("function {name} does not exist"))
            .at(find(text, name))
            .with_hint_opt(hint);
    }
    if let Some(column) = between(&message, "column \"", "\" must appear in the GROUP BY") {
        let name = column.rsplit('.').next().unwrap_or(column).trim_matches('"');
        let message = format!(
            "column \"{column}\" must appear in the GROUP BY clause or be used in an aggregate function"
        );
        return SqlError::new("42803", message).at(find(text, name));
    }
    if let Some(call) = between(&message, "given name and argument types '", "'") {
        let name = call.split('(').next().unwrap_or(call);
        return SqlError::new("42883", format!("function {call} does not exist"))
            .at(find(text, name))
            .with_hint("a function of this name takes other arguments; a cast may help");
    }
    let code = plan_code(&message.to_lowercase());
    SqlError::new(code, message)
}

/// Functions that are nothing without OVER.
const WINDOWS: [&str; 8] =
    ["lag", "lead", "row_number", "rank", "dense_rank", "percent_rank", "cume_dist", "ntile"];

/// What a clause does not take, in PostgreSQL's words.
fn wrong_clause(message: &str, text: &Text) -> Option<SqlError> {
    if let Some((_, data_type)) = message.rsplit_once("' returning ")
        && message.contains("non-boolean predicate")
    {
        let has = |word| contains(text, word);
        let name = match (has(Keyword::WHERE), has(Keyword::HAVING)) {
            (_, false) => "WHERE",
            (false, true) => "HAVING",
            (true, true) => "WHERE or HAVING",
        };
        let message = format!("argument of {name} must be type boolean, not type {data_type}");
        return Some(SqlError::new("42804", message).at(behind(text, name)));
    }
    if let Some((_, data_type)) = message.split_once("'NOT' requires a boolean expression, got ") {
        let message = format!("argument of NOT must be type boolean, not type {data_type}");
        return Some(SqlError::new("42804", message));
    }
    if let Some((_, operands)) = message.split_once("type for temporal operation ") {
        let operation = operands.split_once(':').map_or(operands, |(operation, _)| operation);
        let error = SqlError::new("42883", format!("operator does not exist: {operation}"));
        return Some(error.with_hint("intervals are added and subtracted, not multiplied"));
    }
    if let Some((_, operation)) = message.split_once("arithmetic operation: ") {
        let operation = operation.split_once(['.', ';']).map_or(operation, |(operation, _)| operation);
        return Some(SqlError::new("42883", format!("operator does not exist: {operation}")));
    }
    if let Some((_, types)) = message.split_once("annot automatically convert ") {
        let error =
            SqlError::new("42883", format!("cannot calculate with {}", types.replacen(" to ", " and ", 1)));
        return Some(error.with_hint("a cast of one side may help"));
    }
    if message.contains("should only return one column") {
        return Some(SqlError::new("42601", "subquery has too many columns"));
    }
    if message.contains("nconsistent data length across values list") {
        return Some(SqlError::new("42601", "VALUES lists must all be the same length"));
    }
    if message.contains("have different number of columns") {
        let name = message.split(' ').next().unwrap_or("UNION");
        let message = format!("each {name} query must have the same number of columns");
        return Some(SqlError::new("42601", message));
    }
    if message.contains("aggregate function calls cannot be nested") {
        return Some(SqlError::new("42803", "aggregate function calls cannot be nested"));
    }
    if message.contains("require unique expression names") {
        let error = SqlError::new("42701", "two columns would have one name");
        return Some(error.with_hint("give each a name with AS"));
    }
    if message.starts_with("HAVING clause references") {
        let message =
            "a column of HAVING must appear in the GROUP BY clause or be used in an aggregate function";
        return Some(SqlError::new("42803", message).at(behind(text, "HAVING")));
    }
    None
}

fn plan_code(lower: &str) -> &'static str {
    let any = |words: &[&str]| words.iter().any(|w| lower.contains(w));
    if any(&["not supported", "not implemented", "unsupported"]) {
        "0A000"
    } else if any(&[
        "must be in group by",
        "must appear in the group by",
        "could not be resolved from available columns",
    ]) {
        "42803"
    } else if any(&["coerce", "coercion", "no function matches", "cannot infer common", "failed to find"]) {
        "42883"
    } else if any(&["type", "must be boolean", "expected boolean", "should be"]) {
        "42804"
    } else {
        "42000"
    }
}

/// `42P01` for a name that is neither stream, view nor table.
pub(super) fn unknown_relation(name: &str, catalog: &CatalogSnapshot) -> SqlError {
    SqlError::new("42P01", format!("relation \"{name}\" does not exist")).with_catalog_hint(catalog)
}

impl SqlError {
    /// Adds the nearest view's name to an unknown relation, or says that streams cannot be read.
    pub(super) fn with_catalog_hint(self, catalog: &CatalogSnapshot) -> Self {
        let Some(name) =
            (self.code == "42P01").then(|| between(&self.message, "relation \"", "\"")).flatten()
        else {
            return self;
        };
        if catalog.stream(name).is_some() {
            let message = format!("\"{name}\" is a stream: its events are not stored");
            let hint = "query a continuous view over it, or DESCRIBE it";
            return Self { code: "42809", message, hint: Some(hint.to_owned()), ..self };
        }
        let tables = catalog.tables.iter().map(|t| t.name.as_str());
        let known = catalog.views.iter().map(|v| v.name.as_str()).chain(tables);
        let hint = did_you_mean(name, known);
        let all = || "SHOW STREAMS, SHOW VIEWS and SHOW TABLES list what there is".to_owned();
        match &self.hint {
            Some(_) => self,
            None => self.with_hint(hint.unwrap_or_else(all)),
        }
    }
}

fn between<'m>(message: &'m str, before: &str, after: &str) -> Option<&'m str> {
    let (_, rest) = message.split_once(before)?;
    rest.split_once(after).map(|(inner, _)| inner)
}

/// The place of the only word of the text that folds to `name`, not counting what AS gives the name to.
pub(super) fn find(text: &Text, name: &str) -> Option<u32> {
    find_token(text, |token| match token {
        Token::Word(word) if word.quote_style.is_some() => word.value == name,
        Token::Word(word) => word.value.to_lowercase() == name,
        _ => false,
    })
}

/// True when the text has this name somewhere.
fn mentions(text: &Text, name: &str) -> bool {
    text.as_str().to_lowercase().contains(&name.to_lowercase())
}

/// The place of the only such token: where there are several, none is better than a wrong one.
fn find_token(text: &Text, is_it: impl Fn(&Token) -> bool) -> Option<u32> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text.as_str()).tokenize_with_location().ok()?;
    let mut before: Option<&Token> = None;
    let mut found = None;
    for token in tokens.iter().filter(|t| !matches!(t.token, Token::Whitespace(_))) {
        let is_alias = matches!(before, Some(Token::Word(word)) if word.keyword == Keyword::AS);
        before = Some(&token.token);
        if is_alias || !is_it(&token.token) {
            continue;
        }
        if found.is_some() {
            return None;
        }
        found = Some(token.span);
    }
    found.and_then(|span| text.of_span(span))
}

fn contains(text: &Text, keyword: Keyword) -> bool {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text.as_str()).tokenize();
    let is_it = |token: &Token| matches!(token, Token::Word(word) if word.keyword == keyword);
    tokens.is_ok_and(|tokens| tokens.iter().any(is_it))
}

/// The place of what follows a word that is there once.
fn behind(text: &Text, word: &str) -> Option<u32> {
    find(text, &word.to_lowercase())?;
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text.as_str()).tokenize_with_location().ok()?;
    let mut tokens = tokens.iter().filter(|t| !matches!(t.token, Token::Whitespace(_)));
    tokens.find(|t| matches!(&t.token, Token::Word(found) if found.value.eq_ignore_ascii_case(word)))?;
    tokens.next().and_then(|token| text.of_span(token.span))
}

/// One line, without DataFusion's prefixes, in lower case.
fn tidy(message: &str) -> String {
    let mut line = message.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join(" ");
    if let Some((head, _)) = line.split_once(" backtrace:") {
        line = head.to_owned();
    }
    for prefix in
        ["Error during planning: ", "Execution error: ", "Arrow error: ", "This feature is not implemented: "]
    {
        while let Some(rest) = line.strip_prefix(prefix) {
            line = rest.to_owned();
        }
    }
    let line = sql_types(&line);
    in_lower_case(line.trim_end_matches('.'))
}

/// A sentence as messages begin; words of SQL (`LIMIT`) keep their capitals.
fn in_lower_case(line: &str) -> String {
    let mut chars = line.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(head), next) if !next.is_some_and(char::is_uppercase) => {
            format!("{}{}", head.to_lowercase(), chars.as_str())
        }
        _ => line.to_owned(),
    }
}

/// Arrow's type names as SQL's.
fn sql_types(line: &str) -> String {
    let types = ["Timestamp(", "Interval(", "Duration(", "Decimal128("];
    let line = types.into_iter().fold(line.to_owned(), without_arguments);
    let name = |word: &str| {
        Some(match word {
            "Utf8" | "LargeUtf8" | "Utf8View" => "text",
            "Int16" => "smallint",
            "Int32" => "integer",
            "Int64" | "UInt64" => "bigint",
            "Float32" => "real",
            "Float64" => "double precision",
            "Boolean" => "boolean",
            "Date32" => "date",
            "Binary" => "bytea",
            _ => return None,
        })
    };
    let mut out = String::with_capacity(line.len());
    let mut rest = line.as_str();
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        let (before, tail) = rest.split_at(start);
        let end = tail.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(tail.len());
        let (word, after) = tail.split_at(end);
        out.push_str(before);
        out.push_str(name(word).unwrap_or(word));
        rest = after;
    }
    out + rest
}

/// Types that have their unit, zone or digits in parentheses.
fn without_arguments(line: String, start: &str) -> String {
    let name = match start {
        "Timestamp(" => "timestamp with time zone",
        "Decimal128(" => "numeric",
        _ => "interval",
    };
    let mut out = String::with_capacity(line.len());
    let mut rest = line.as_str();
    while let Some((before, after)) = rest.split_once(start) {
        let Some((_, behind)) = after.split_once(')') else { break };
        out.push_str(before);
        out.push_str(name);
        rest = behind;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// They reached users with a request to report them to DataFusion.
    #[test]
    fn internal_errors_are_our_own() {
        let internal = || DataFusionError::Internal("no such thing".to_owned());
        let planned = DataFusionError::Plan(format!("failed to coerce: {}", internal().strip_backtrace()));
        for error in [internal(), internal().context("rule"), planned] {
            let error = from_datafusion(error, &Text::new("SELECT 1"));
            assert_eq!(error.code, "XX000");
            assert!(error.message.starts_with("internal error: this statement"), "{error}");
        }
        let users = from_datafusion(DataFusionError::Plan("type 'internal error'".into()), &Text::new(""));
        assert_eq!((users.code, users.message.as_str()), ("42804", "type 'internal error'"));
    }

    /// `lIMIT must be >= 0`
    #[test]
    fn words_of_sql_keep_their_capitals() {
        let cases = [
            ("Error during planning: LIMIT must be >= 0.", "LIMIT must be >= 0"),
            ("Cannot cast Utf8 to Timestamp(ns)", "cannot cast text to timestamp with time zone"),
            ("Interval(MonthDayNano) + Decimal128(10, 2)", "interval + numeric"),
            ("A thing", "a thing"),
        ];
        for (line, wanted) in cases {
            assert_eq!(tidy(line), wanted);
        }
    }

    /// The first of several was told.
    #[test]
    fn places_are_told_where_they_are_known() {
        let at = |text: &str, name| find(&Text::new(text), name);
        assert_eq!(at("SELECT upper(t), upper(i)", "upper"), None);
        assert_eq!(at("SELECT k AS foo FROM v WHERE foo > 1", "foo"), Some(30));
        assert_eq!(behind(&Text::new("SELECT 1 WHERE  x"), "WHERE"), Some(17));
    }
}
