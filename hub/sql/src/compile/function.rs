//! Scalar functions of definitions: names, argument types, result types.
//!
//! The list is exactly [`Function`]: what a producer can evaluate. Queries over views have all of DataFusion's.

use super::aggregate;
use super::coerce::{Typed, What};
use super::expr::Exprs;
use crate::error::SqlError;
use crate::suggest::did_you_mean;
use crate::text::fold_name;
use crate::units;
use datafusion::sql::sqlparser::ast::{
    self, CeilFloorKind, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, TrimWhereField,
};
use headwater::plan::{BinaryOp, ExprId, Function, Op};
use headwater::value::{DataType, Value};

/// Every scalar function name, for hints.
const NAMES: &[&str] = &[
    "abs",
    "floor",
    "ceil",
    "ceiling",
    "round",
    "trunc",
    "sqrt",
    "power",
    "pow",
    "exp",
    "ln",
    "log",
    "log10",
    "sign",
    "mod",
    "lower",
    "upper",
    "length",
    "char_length",
    "character_length",
    "octet_length",
    "trim",
    "btrim",
    "ltrim",
    "rtrim",
    "substr",
    "substring",
    "left",
    "right",
    "strpos",
    "replace",
    "split_part",
    "starts_with",
    "concat",
    "coalesce",
    "nullif",
    "greatest",
    "least",
    "date_trunc",
    "date_part",
    "date_round",
    "time_bucket",
    "to_timestamp",
    "md5",
    "width_bucket",
    "year",
    "month",
    "day",
    "hour",
    "minute",
    "second",
];

/// Functions whose value differs between producers, or from call to call.
const VOLATILE: &[&str] = &[
    "now",
    "current_timestamp",
    "current_date",
    "current_time",
    "localtimestamp",
    "localtime",
    "clock_timestamp",
    "statement_timestamp",
    "transaction_timestamp",
    "timeofday",
    "random",
    "rand",
    "gen_random_uuid",
    "uuid",
    "uuidv7",
    "uuid_generate_v4",
    "current_user",
    "session_user",
    "nextval",
    "today",
];

const WINDOW: &[&str] =
    &["row_number", "rank", "dense_rank", "percent_rank", "cume_dist", "ntile", "lag", "lead", "nth_value"];

/// The last part of a function's name; schemas `pg_catalog` and `pipelinedb` may be written.
pub(super) fn function_name(function: &ast::Function) -> Result<String, SqlError> {
    let mut parts = fold_name(&function.name);
    let name = parts.pop().unwrap_or_default();
    match parts.as_slice() {
        [] => Ok(name),
        [schema] if schema == "pg_catalog" || schema == "pipelinedb" => Ok(name),
        _ => Err(SqlError::new("3F000", format!("schema \"{}\" does not exist", parts.join(".")))),
    }
}

/// Refuses `now()` and its kind.
pub(super) fn check_volatile(name: &str) -> Result<(), SqlError> {
    if !VOLATILE.contains(&name) {
        return Ok(());
    }
    let hint = "its value differs between producers; use arrival_timestamp, or filter when you read the view";
    Err(SqlError::not_in_definition(format!("function {name}()")).with_hint(hint))
}

impl Exprs<'_> {
    /// A function call in a scalar expression.
    pub(super) fn function(&mut self, function: &ast::Function) -> Result<Typed, SqlError> {
        let at = self.text.of(&function.name);
        let name = function_name(function).map_err(|e| e.at(at))?;
        self.check_call(function, &name).map_err(|e| e.at(at))?;
        let args = self.arguments(&function.args, &name).map_err(|e| e.at(at))?;
        let what = self.call(&name, args).map_err(|e| e.at(at))?;
        Ok(Typed { what, at })
    }

    fn check_call(&self, function: &ast::Function, name: &str) -> Result<(), SqlError> {
        if function.over.is_some() || WINDOW.contains(&name) {
            return Err(SqlError::not_in_definition(format!("window function {name}"))
                .with_hint("use it when you read the view"));
        }
        if aggregate::is_aggregate(name) {
            return Err(SqlError::new("42803", format!("aggregate function {name} is not allowed here")));
        }
        check_volatile(name)?;
        if !NAMES.contains(&name) {
            return Err(unknown_function(name));
        }
        let plain = function.filter.is_none()
            && function.within_group.is_empty()
            && function.null_treatment.is_none();
        let distinct = matches!(&function.args, FunctionArguments::List(l) if l.duplicate_treatment.is_some() || !l.clauses.is_empty());
        if plain && !distinct {
            return Ok(());
        }
        Err(SqlError::new(
            "42809",
            format!("DISTINCT, FILTER and ORDER BY need an aggregate, {name} is none"),
        ))
    }

    /// Compiles the arguments of a call.
    pub(super) fn arguments(&mut self, args: &FunctionArguments, name: &str) -> Result<Vec<Typed>, SqlError> {
        argument_exprs(args, name)?.into_iter().map(|arg| self.expr(arg)).collect()
    }

    fn call(&mut self, name: &str, args: Vec<Typed>) -> Result<What, SqlError> {
        let call = Call { name, args };
        match name {
            "concat" => self.concat_all(call),
            "coalesce" => self.common(call, Function::Coalesce),
            "greatest" => self.common(call, Function::Greatest),
            "least" => self.common(call, Function::Least),
            "nullif" => self.nullif(call),
            "date_trunc" => self.date_trunc(call),
            "date_part" => self.date_part(call),
            "time_bucket" => self.time_bucket(call),
            "date_round" => self.date_round(call),
            "year" | "month" | "day" | "hour" | "minute" | "second" => self.truncated_to(call),
            _ => self.of_numbers(call),
        }
    }

    /// Functions of numbers; others are [texts'](Self::of_texts).
    fn of_numbers(&mut self, call: Call) -> Result<What, SqlError> {
        use DataType as T;
        let double = T::Float64;
        match call.name {
            "abs" => self.number(call, Function::Abs, false),
            "sign" => self.number(call, Function::Sign, true),
            "floor" => self.number(call, Function::Floor, true),
            "ceil" | "ceiling" => self.number(call, Function::Ceil, true),
            "round" => self.rounded(call, Function::Round),
            "trunc" => self.rounded(call, Function::Trunc),
            "sqrt" => self.plain(call, Function::Sqrt, &[T::Float64], 1, double),
            "exp" => self.plain(call, Function::Exp, &[T::Float64], 1, double),
            "ln" => self.plain(call, Function::Ln, &[T::Float64], 1, double),
            "log" | "log10" => self.plain(call, Function::Log10, &[T::Float64], 1, double),
            "power" | "pow" => self.plain(call, Function::Power, &[T::Float64, T::Float64], 2, double),
            "mod" => self.modulo(call),
            "to_timestamp" => self.plain(call, Function::ToTimestamp, &[T::Float64], 1, T::Timestamp),
            "width_bucket" => {
                let types = [T::Float64, T::Float64, T::Float64, T::Int32];
                self.plain(call, Function::WidthBucket, &types, 4, T::Int32)
            }
            _ => self.of_texts(call),
        }
    }

    /// Functions of texts; others are [those that measure](Self::of_lengths) them.
    fn of_texts(&mut self, call: Call) -> Result<What, SqlError> {
        use DataType as T;
        match call.name {
            "lower" => self.plain(call, Function::Lower, &[T::Text], 1, T::Text),
            "upper" => self.plain(call, Function::Upper, &[T::Text], 1, T::Text),
            "trim" | "btrim" => self.plain(call, Function::Trim, &[T::Text, T::Text], 1, T::Text),
            "ltrim" => self.plain(call, Function::LTrim, &[T::Text, T::Text], 1, T::Text),
            "rtrim" => self.plain(call, Function::RTrim, &[T::Text, T::Text], 1, T::Text),
            "substr" | "substring" => {
                self.plain(call, Function::Substr, &[T::Text, T::Int32, T::Int32], 2, T::Text)
            }
            "left" => self.plain(call, Function::Left, &[T::Text, T::Int32], 2, T::Text),
            "right" => self.plain(call, Function::Right, &[T::Text, T::Int32], 2, T::Text),
            "strpos" => self.plain(call, Function::StrPos, &[T::Text, T::Text], 2, T::Int32),
            "replace" => self.plain(call, Function::Replace, &[T::Text, T::Text, T::Text], 3, T::Text),
            "split_part" => self.plain(call, Function::SplitPart, &[T::Text, T::Text, T::Int32], 3, T::Text),
            "starts_with" => self.plain(call, Function::StartsWith, &[T::Text, T::Text], 2, T::Bool),
            _ => self.of_lengths(call),
        }
    }

    /// Functions of texts and byteas alike.
    fn of_lengths(&mut self, call: Call) -> Result<What, SqlError> {
        use DataType as T;
        let taken = if call.is(0, &T::Bytea) { [T::Bytea] } else { [T::Text] };
        match call.name {
            "length" if taken == [T::Bytea] => self.plain(call, Function::OctetLength, &taken, 1, T::Int32),
            "length" | "char_length" | "character_length" => {
                self.plain(call, Function::Length, &[T::Text], 1, T::Int32)
            }
            "octet_length" => self.plain(call, Function::OctetLength, &taken, 1, T::Int32),
            "md5" => self.plain(call, Function::Md5, &taken, 1, T::Text),
            name => Err(unknown_function(name)),
        }
    }

    fn node(&mut self, function: Function, args: Vec<ExprId>, data_type: DataType) -> Result<What, SqlError> {
        Ok(What::Node(self.nodes.push(Op::Call(function, args), data_type.clone())?, data_type))
    }

    /// Arguments of fixed types, the first `required` of which must be there.
    fn plain(
        &mut self,
        call: Call,
        f: Function,
        types: &[DataType],
        required: usize,
        result: DataType,
    ) -> Result<What, SqlError> {
        call.check(required..=types.len())?;
        let no_match = call.no_match();
        let args = call.args.into_iter().zip(types);
        let args = args.map(|(arg, t)| self.nodes.coerce(arg, t).map_err(|e| signature_error(e, &no_match)));
        let args = args.collect::<Result<Vec<_>, _>>()?;
        self.node(f, args, result)
    }

    /// One number; integers become doubles where PostgreSQL makes them so.
    fn number(&mut self, call: Call, f: Function, ints_to_double: bool) -> Result<What, SqlError> {
        call.check(1..=1)?;
        let (id, data_type) = self.first_number(call, ints_to_double)?;
        self.node(f, vec![id], data_type)
    }

    fn first_number(&mut self, mut call: Call, ints_to_double: bool) -> Result<(ExprId, DataType), SqlError> {
        let no_match = call.no_match();
        let arg = call.args.swap_remove(0);
        let data_type = arg.known().cloned().unwrap_or(DataType::Float64);
        if !data_type.is_numeric() {
            return Err(no_match);
        }
        let widen = data_type.is_int() || data_type == DataType::Float32;
        let data_type = if ints_to_double && widen { DataType::Float64 } else { data_type };
        Ok((self.nodes.coerce(arg, &data_type)?, data_type))
    }

    fn rounded(&mut self, mut call: Call, f: Function) -> Result<What, SqlError> {
        call.check(1..=2)?;
        let digits = (call.args.len() == 2).then(|| call.args.remove(1));
        let digits = digits.map(|d| self.nodes.coerce(d, &DataType::Int32)).transpose()?;
        let (id, data_type) = self.first_number(call, true)?;
        self.node(f, std::iter::once(id).chain(digits).collect(), data_type)
    }

    fn modulo(&mut self, mut call: Call) -> Result<What, SqlError> {
        call.check(2..=2)?;
        let second = call.args.remove(1);
        let first = call.args.remove(0);
        self.arithmetic_typed(BinaryOp::Modulo, "%", (first, second))
    }

    fn concat_all(&mut self, call: Call) -> Result<What, SqlError> {
        call.check(1..=usize::MAX)?;
        let args = call.args.into_iter().map(|arg| self.stringify(arg, &DataType::Text));
        let args = args.collect::<Result<Vec<_>, _>>()?;
        self.node(Function::Concat, args, DataType::Text)
    }

    fn common(&mut self, call: Call, f: Function) -> Result<What, SqlError> {
        call.check(1..=usize::MAX)?;
        let (ids, data_type) = self.nodes.unify(call.args, call.name)?;
        self.node(f, ids, data_type)
    }

    fn nullif(&mut self, call: Call) -> Result<What, SqlError> {
        call.check(2..=2)?;
        let (ids, data_type) = self.nodes.unify(call.args, "nullif")?;
        self.node(Function::NullIf, ids, data_type)
    }

    fn date_trunc(&mut self, mut call: Call) -> Result<What, SqlError> {
        call.check(2..=2)?;
        let source = call.args.remove(1);
        let unit = self.text_literal(&call.args[0], "the unit of date_trunc")?;
        self.truncate(&unit, source).map_err(|e| e.at(call.args[0].at))
    }

    /// PipelineDB's `minute(timestamp)` and so on.
    fn truncated_to(&mut self, mut call: Call) -> Result<What, SqlError> {
        call.check(1..=1)?;
        let source = call.args.remove(0);
        self.truncate(call.name, source)
    }

    fn truncate(&mut self, unit: &str, source: Typed) -> Result<What, SqlError> {
        let unit = units::unit(unit).ok_or_else(|| units::unknown(unit))?;
        let source = self.nodes.coerce(source, &DataType::Timestamp)?;
        let unit = self.nodes.push(Op::Literal(Value::Text(unit.to_owned())), DataType::Text)?;
        self.node(Function::DateTrunc, vec![unit, source], DataType::Timestamp)
    }

    fn date_part(&mut self, mut call: Call) -> Result<What, SqlError> {
        call.check(2..=2)?;
        let source = call.args.remove(1);
        let field = self.text_literal(&call.args[0], "the field of date_part")?;
        self.part(&field, source).map_err(|e| e.at(call.args[0].at))
    }

    fn part(&mut self, field: &str, source: Typed) -> Result<What, SqlError> {
        let to = match source.known() {
            Some(t @ (DataType::Date | DataType::Interval)) => t.clone(),
            _ => DataType::Timestamp,
        };
        let source = self.nodes.coerce(source, &to)?;
        let field = units::field(field).ok_or_else(|| units::unknown(field))?;
        if to == DataType::Interval {
            units::check_interval(field)?;
        }
        let field = self.nodes.push(Op::Literal(Value::Text(field.to_owned())), DataType::Text)?;
        self.node(Function::DatePart, vec![field, source], DataType::Float64)
    }

    /// The text of an argument that must be a literal.
    pub(super) fn text_literal(&self, arg: &Typed, what: &str) -> Result<String, SqlError> {
        match &arg.what {
            What::Text(text) => Ok(text.clone()),
            What::Node(id, _) => match self.nodes.literal(*id) {
                Some(Value::Text(text)) => Ok(text.clone()),
                _ => Err(SqlError::unsupported(format!("{what} as anything but a literal")).at(arg.at)),
            },
            What::Null => Err(SqlError::new("22004", format!("{what} is NULL")).at(arg.at)),
        }
    }

    /// Functions with a syntax of their own: EXTRACT, TRIM, SUBSTRING, POSITION, CEIL, FLOOR.
    pub(super) fn special_syntax(&mut self, expr: &Expr) -> Result<Typed, SqlError> {
        let at = self.text.of(expr);
        let (name, args): (&str, Vec<&Expr>) = match expr {
            Expr::Extract { field, expr, .. } => {
                let source = self.expr(expr)?;
                let what = self.part(&field.to_string(), source).map_err(|e| e.at(at))?;
                return Ok(Typed { what, at });
            }
            Expr::Ceil { expr, field: CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime) } => {
                ("ceil", vec![expr])
            }
            Expr::Floor { expr, field: CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime) } => {
                ("floor", vec![expr])
            }
            Expr::Position { expr, r#in } => ("strpos", vec![r#in, expr]),
            Expr::Substring { expr, substring_from: Some(from), substring_for, special: _, shorthand: _ } => {
                ("substr", [expr, from].into_iter().chain(substring_for).map(Box::as_ref).collect())
            }
            Expr::Trim { trim_where, trim_what, expr, trim_characters: None } => {
                let name = match trim_where {
                    Some(TrimWhereField::Leading) => "ltrim",
                    Some(TrimWhereField::Trailing) => "rtrim",
                    _ => "trim",
                };
                (name, std::iter::once(expr).chain(trim_what).map(Box::as_ref).collect())
            }
            other => return Err(refuse_syntax(other).at(at)),
        };
        let args = args.into_iter().map(|arg| self.expr(arg)).collect::<Result<Vec<_>, _>>()?;
        let what = self.call(name, args).map_err(|e| e.at(at))?;
        Ok(Typed { what, at })
    }
}

pub(super) struct Call<'a> {
    name: &'a str,
    pub(super) args: Vec<Typed>,
}

impl Call<'_> {
    fn is(&self, arg: usize, data_type: &DataType) -> bool {
        self.args.get(arg).and_then(Typed::known) == Some(data_type)
    }

    pub(super) fn check(&self, counts: std::ops::RangeInclusive<usize>) -> Result<(), SqlError> {
        if counts.contains(&self.args.len()) { Ok(()) } else { Err(self.no_match()) }
    }

    fn no_match(&self) -> SqlError {
        let types: Vec<String> = self.args.iter().map(Typed::name).collect();
        SqlError::new("42883", format!("function {}({}) does not exist", self.name, types.join(", ")))
    }
}

/// A wrong argument type reads better as "no such function"; a literal that does not parse stays as it is.
fn signature_error(error: SqlError, no_match: &SqlError) -> SqlError {
    if error.code != "42804" {
        return error;
    }
    SqlError { hint: error.hint, ..no_match.clone() }.at(error.position)
}

/// Over aggregates, a reader evaluates: any function that queries have will do.
pub(super) fn check_known(name: &str) -> Result<(), SqlError> {
    if crate::functions::exists(name) || NAMES.contains(&name) { Ok(()) } else { Err(unknown_function(name)) }
}

/// `42883` with the nearest names; what DataFusion has but producers have not is `0A000`.
pub(super) fn unknown_function(name: &str) -> SqlError {
    if crate::functions::exists(name) {
        let message = format!("function {name} is not supported in a continuous view's definition");
        return SqlError::new("0A000", message)
            .with_hint("producers evaluate definitions; use it when you read the view");
    }
    let names = NAMES.iter().copied().chain(aggregate::NAMES.iter().copied());
    SqlError::new("42883", format!("function {name} does not exist")).with_hint_opt(did_you_mean(name, names))
}

/// The plain expressions in an argument list.
pub(super) fn argument_exprs<'e>(args: &'e FunctionArguments, name: &str) -> Result<Vec<&'e Expr>, SqlError> {
    let list = match args {
        FunctionArguments::None => return Ok(Vec::new()),
        FunctionArguments::Subquery(_) => return Err(SqlError::not_in_definition("a subquery")),
        FunctionArguments::List(list) => list,
    };
    let expr = |arg: &'e FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok(expr),
        FunctionArg::Unnamed(_) => Err(SqlError::new("42809", format!("{name}(*) does not exist"))),
        _ => Err(SqlError::unsupported("named arguments")),
    };
    list.args.iter().map(expr).collect()
}

/// Names syntax that definitions do not have.
pub(super) fn refuse_syntax(expr: &Expr) -> SqlError {
    let what = match expr {
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => "a subquery",
        Expr::AtTimeZone { .. } => "AT TIME ZONE",
        Expr::SimilarTo { .. } => "SIMILAR TO",
        Expr::RLike { .. } => "RLIKE",
        Expr::AnyOp { .. } => "ANY",
        Expr::AllOp { .. } => "ALL",
        Expr::Collate { .. } => "COLLATE",
        Expr::Overlay { .. } => "OVERLAY",
        Expr::GroupingSets(_) => "GROUPING SETS",
        Expr::Cube(_) => "CUBE",
        Expr::Rollup(_) => "ROLLUP",
        Expr::Tuple(_) => "a row constructor",
        Expr::Array(_) => "an array",
        Expr::Struct { .. } => "a struct",
        Expr::CompoundFieldAccess { .. } | Expr::JsonAccess { .. } => "access to a field or element",
        Expr::InUnnest { .. } => "UNNEST",
        Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => "*",
        Expr::Like { .. } | Expr::ILike { .. } => "LIKE ANY",
        Expr::Prefixed { .. } => "a prefixed literal",
        Expr::Ceil { .. } | Expr::Floor { .. } => "CEIL or FLOOR to a unit",
        _ => "this expression",
    };
    SqlError::not_in_definition(what)
}
