//! Scalar expressions over one stream: sqlparser's tree to plan nodes, with PostgreSQL's types.
//!
//! Owns: names, operators, CASE, casts. Functions are next door ([`super::function`]).
//! Invariants: recursion is bounded (the parser bounds the tree); whatever is not understood is refused by
//! name and position, never ignored.

use super::coerce::{Typed, What, common_type, digits, is_explicit};
use super::nodes::Nodes;
use super::output::Relation;
use crate::convert;
use crate::error::SqlError;
use crate::suggest::{did_you_mean, listed};
use crate::text::{Text, fold};
use crate::types::{parse_type, type_name};
use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator as B, CastKind, Expr, Ident, UnaryOperator, Value as Literal,
};
use headwater::plan::{BinaryOp, ExprId, Op};
use headwater::schema::ARRIVAL_TIMESTAMP;
use headwater::value::{DataType, Value};

/// Compiles expressions over one stream.
#[derive(Clone)]
pub(super) struct Exprs<'a> {
    pub(super) text: &'a Text,
    pub(super) stream: Relation<'a>,
    /// What columns may be qualified with: the stream's alias, or its name.
    pub(super) qualifier: String,
    /// The columns of the subselect in FROM; `None`: the stream's own.
    pub(super) layer: Option<Layer>,
    pub(super) nodes: Nodes,
}

/// The columns of a subselect: their names, and what they are over the stream.
#[derive(Clone, Debug)]
pub(super) struct Layer(pub(super) Vec<(String, ExprId, DataType)>);

impl Exprs<'_> {
    /// Compiles one expression.
    pub(super) fn expr(&mut self, expr: &Expr) -> Result<Typed, SqlError> {
        let at = self.text.of(expr);
        let what = match expr {
            Expr::Nested(inner) => return self.expr(inner),
            Expr::Identifier(ident) => self.column(ident)?,
            Expr::CompoundIdentifier(path) => self.qualified(path)?,
            Expr::Value(value) => literal(&mut self.nodes, &value.value).map_err(|e| e.at(at))?,
            Expr::TypedString(typed) => self.typed_string(typed)?,
            Expr::Interval(interval) => self.interval(interval)?,
            Expr::BinaryOp { left, op, right } => return self.binary(left, op, right, at),
            Expr::UnaryOp { op, expr } => self.unary(*op, expr, at)?,
            Expr::Cast { kind, expr, data_type, array: false, format: None } => {
                self.cast(kind, expr, data_type, at)?
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref())?
            }
            Expr::InList { expr, list, negated } => self.in_list(expr, list, *negated)?,
            Expr::Between { expr, negated, low, high } => return self.between(expr, *negated, low, high, at),
            Expr::Like { negated, any: false, expr, pattern, escape_char } => {
                self.like(expr, pattern, escape_char.as_ref(), (*negated, false))?
            }
            Expr::ILike { negated, any: false, expr, pattern, escape_char } => {
                self.like(expr, pattern, escape_char.as_ref(), (*negated, true))?
            }
            Expr::Function(function) => return self.function(function),
            Expr::CompoundFieldAccess { root, access_chain } => match self.field(root, access_chain)? {
                Some(what) => what,
                None => return self.special_syntax(expr),
            },
            _ => match self.test(expr)? {
                Some(what) => what,
                None => return self.special_syntax(expr),
            },
        };
        Ok(Typed { what, at })
    }

    /// `IS ...` tests; `None` when it is something else.
    fn test(&mut self, expr: &Expr) -> Result<Option<What>, SqlError> {
        let (inner, op): (&Expr, fn(ExprId) -> Op) = match expr {
            Expr::IsNull(e) => (e, Op::IsNull),
            Expr::IsNotNull(e) => (e, Op::IsNotNull),
            Expr::IsTrue(e) | Expr::IsNotTrue(e) => (e, Op::IsTrue),
            Expr::IsFalse(e) | Expr::IsNotFalse(e) => (e, Op::IsFalse),
            Expr::IsUnknown(e) => (e, Op::IsNull),
            Expr::IsNotUnknown(e) => (e, Op::IsNotNull),
            Expr::IsDistinctFrom(a, b) => return self.compare(BinaryOp::IsDistinct, a, b).map(Some),
            Expr::IsNotDistinctFrom(a, b) => return self.compare(BinaryOp::IsNotDistinct, a, b).map(Some),
            _ => return Ok(None),
        };
        let any_type = matches!(expr, Expr::IsNull(_) | Expr::IsNotNull(_));
        if any_type && let Some(exists) = self.row_exists(inner)? {
            let is_null = matches!(expr, Expr::IsNull(_));
            let id = if is_null { self.nodes.push(Op::Not(exists), DataType::Bool)? } else { exists };
            return Ok(Some(What::Node(id, DataType::Bool)));
        }
        let input = if any_type { self.any(inner)?.0 } else { self.boolean(inner, "IS")? };
        let id = self.nodes.push(op(input), DataType::Bool)?;
        let negated = matches!(expr, Expr::IsNotTrue(_) | Expr::IsNotFalse(_));
        let id = if negated { self.nodes.push(Op::Not(id), DataType::Bool)? } else { id };
        Ok(Some(What::Node(id, DataType::Bool)))
    }

    /// The expression with its type decided.
    pub(super) fn any(&mut self, expr: &Expr) -> Result<(ExprId, DataType), SqlError> {
        let typed = self.expr(expr)?;
        self.nodes.settle(typed)
    }

    /// The expression as a boolean; `what` wants it.
    pub(super) fn boolean(&mut self, expr: &Expr, what: &str) -> Result<ExprId, SqlError> {
        let typed = self.expr(expr)?;
        if let Some(other) = typed.known().filter(|t| **t != DataType::Bool) {
            let message = format!("argument of {what} must be type boolean, not type {}", type_name(other));
            return Err(SqlError::new("42804", message).at(typed.at));
        }
        self.nodes.coerce(typed, &DataType::Bool)
    }

    fn column(&mut self, ident: &Ident) -> Result<What, SqlError> {
        let name = fold(ident);
        let at = self.text.of_ident(ident);
        if let Some(Layer(columns)) = &self.layer {
            let mut found = columns.iter().filter(|(column, ..)| *column == name);
            match (found.next(), found.next()) {
                (Some((_, id, data_type)), None) => return Ok(What::Node(*id, data_type.clone())),
                (Some(_), Some(_)) => {
                    let message = format!("column reference \"{name}\" is ambiguous");
                    return Err(SqlError::new("42702", message).at(at));
                }
                // Events have it whatever a subselect chooses.
                _ if name == ARRIVAL_TIMESTAMP => {}
                _ => return Err(self.unknown_column(&name).at(at)),
            }
        }
        let index = match self.stream.output() {
            // Everything else of an output is a column of one of its rows.
            Some(_) if name != ARRIVAL_TIMESTAMP => None,
            _ => self.stream.column(&name),
        };
        let found = index.and_then(|i| Some((i, self.stream.data_type(i)?)));
        let Some((index, data_type)) = found else { return Err(self.unknown_column(&name).at(at)) };
        let id = self.nodes.push(Op::Column(index as u16), data_type.clone())?;
        Ok(What::Node(id, data_type))
    }

    /// True for the name of a column that can be read here.
    pub(super) fn has_column(&self, name: &str) -> bool {
        match &self.layer {
            Some(Layer(columns)) if name != ARRIVAL_TIMESTAMP => {
                columns.iter().any(|(column, ..)| column == name)
            }
            _ if self.stream.output().is_some() => name == ARRIVAL_TIMESTAMP,
            _ => self.stream.column(name).is_some(),
        }
    }

    fn unknown_column(&self, name: &str) -> SqlError {
        if let Some(Layer(columns)) = &self.layer {
            let message = format!("column \"{name}\" does not exist in the subselect");
            let columns = columns.iter().map(|(column, ..)| column.as_str());
            let hint = did_you_mean(name, columns.clone()).or_else(|| listed(columns));
            return SqlError::new("42703", message).with_hint_opt(hint);
        }
        if let Some(output) = self.stream.output() {
            let message =
                format!("column \"{name}\" does not exist in the output of view \"{}\"", output.view.name);
            let hint = "its rows are old, new and delta: (new).column; and it has arrival_timestamp";
            return SqlError::new("42703", message).with_hint(hint);
        }
        let columns = self.stream.fields.iter().map(|f| f.name.as_str()).chain([ARRIVAL_TIMESTAMP]);
        let message = format!("column \"{name}\" does not exist in stream \"{}\"", self.stream.name);
        let hint = did_you_mean(name, columns.clone()).or_else(|| listed(columns));
        SqlError::new("42703", message).with_hint_opt(hint)
    }

    fn qualified(&mut self, path: &[Ident]) -> Result<What, SqlError> {
        let [table, column] = path else {
            return Err(SqlError::unsupported("a name of more than two parts")
                .at(path.first().and_then(|i| self.text.of_ident(i))));
        };
        let name = fold(table);
        if name != self.qualifier {
            let message = format!("missing FROM-clause entry for table \"{name}\"");
            let record = format!("a field of a record is ({name}).{}", fold(column));
            let is_record =
                self.stream.output().is_some() && ["old", "new", "delta"].contains(&name.as_str());
            let hint = if is_record { Some(record) } else { did_you_mean(&name, [self.qualifier.as_str()]) };
            return Err(SqlError::new("42P01", message).at(self.text.of_ident(table)).with_hint_opt(hint));
        }
        self.column(column)
    }

    fn typed_string(&mut self, typed: &ast::TypedString) -> Result<What, SqlError> {
        let at = self.text.of_span(typed.value.span);
        let to = parse_type(&typed.data_type).map_err(|e| e.at(at))?;
        let text = typed.value.clone().into_string().unwrap_or_default();
        let value = convert::cast_text(&text, &to).map_err(|e| e.at(at))?;
        Ok(What::Node(self.nodes.push(Op::Literal(value), to.clone())?, to))
    }

    fn interval(&mut self, interval: &ast::Interval) -> Result<What, SqlError> {
        let at = self.text.of(interval.value.as_ref());
        let Expr::Value(value) = interval.value.as_ref() else {
            return Err(SqlError::unsupported("an INTERVAL that is not a literal").at(at));
        };
        if interval.last_field.is_some() || interval.leading_precision.is_some() {
            return Err(SqlError::unsupported("an INTERVAL with a range of fields or a precision").at(at));
        }
        let text = match &value.value {
            Literal::Number(digits, _) => digits.clone(),
            other => other.clone().into_string().unwrap_or_default(),
        };
        let text = match &interval.leading_field {
            Some(field) => format!("{text} {field}"),
            None => text,
        };
        let value = convert::cast_text(&text, &DataType::Interval).map_err(|e| e.at(at))?;
        Ok(What::Node(self.nodes.push(Op::Literal(value), DataType::Interval)?, DataType::Interval))
    }

    fn unary(&mut self, op: UnaryOperator, expr: &Expr, at: Option<u32>) -> Result<What, SqlError> {
        match op {
            UnaryOperator::Not => {
                let input = self.boolean(expr, "NOT")?;
                Ok(What::Node(self.nodes.push(Op::Not(input), DataType::Bool)?, DataType::Bool))
            }
            UnaryOperator::Plus | UnaryOperator::Minus => {
                let (id, data_type) = self.any(expr)?;
                if !data_type.is_numeric() && data_type != DataType::Interval {
                    return Err(no_operator(&format!("{op} {}", type_name(&data_type)), at));
                }
                let id = if op == UnaryOperator::Minus { self.negate(id, &data_type)? } else { id };
                Ok(What::Node(id, data_type))
            }
            other => Err(SqlError::unsupported(format!("operator {other}")).at(at)),
        }
    }

    /// `-x`; of a constant, the negative constant.
    fn negate(&mut self, id: ExprId, data_type: &DataType) -> Result<ExprId, SqlError> {
        let op = match self.nodes.literal(id) {
            Some(Value::Int(v)) => Op::Literal(Value::Int(v.wrapping_neg())),
            Some(Value::Float(v)) => Op::Literal(Value::Float(-v)),
            Some(Value::Decimal(v)) => Op::Literal(Value::Decimal(-v)),
            _ => Op::Negate(id),
        };
        self.nodes.push(op, data_type.clone())
    }

    fn binary(&mut self, left: &Expr, op: &B, right: &Expr, at: Option<u32>) -> Result<Typed, SqlError> {
        let node = match op {
            B::And | B::Or => {
                let name = if *op == B::And { "AND" } else { "OR" };
                let (a, b) = (self.boolean(left, name)?, self.boolean(right, name)?);
                let op = if *op == B::And { BinaryOp::And } else { BinaryOp::Or };
                What::Node(self.nodes.push(Op::Binary(op, a, b), DataType::Bool)?, DataType::Bool)
            }
            B::Eq => self.compare(BinaryOp::Eq, left, right)?,
            B::NotEq => self.compare(BinaryOp::NotEq, left, right)?,
            B::Lt => self.compare(BinaryOp::Lt, left, right)?,
            B::LtEq => self.compare(BinaryOp::LtEq, left, right)?,
            B::Gt => self.compare(BinaryOp::Gt, left, right)?,
            B::GtEq => self.compare(BinaryOp::GtEq, left, right)?,
            B::StringConcat => self.concat(left, right)?,
            B::Plus => self.arithmetic(BinaryOp::Add, "+", left, right)?,
            B::Minus => self.arithmetic(BinaryOp::Subtract, "-", left, right)?,
            B::Multiply => self.arithmetic(BinaryOp::Multiply, "*", left, right)?,
            B::Divide => self.arithmetic(BinaryOp::Divide, "/", left, right)?,
            B::Modulo => self.arithmetic(BinaryOp::Modulo, "%", left, right)?,
            B::BitwiseAnd => self.arithmetic(BinaryOp::BitAnd, "&", left, right)?,
            B::BitwiseOr => self.arithmetic(BinaryOp::BitOr, "|", left, right)?,
            B::PGBitwiseXor => self.arithmetic(BinaryOp::BitXor, "#", left, right)?,
            other => {
                return Err(SqlError::unsupported(format!("operator {other}")).at(self.text.of(right).or(at)));
            }
        };
        Ok(Typed { what: node, at })
    }

    fn compare(&mut self, op: BinaryOp, left: &Expr, right: &Expr) -> Result<What, SqlError> {
        let items = vec![self.expr(left)?, self.expr(right)?];
        self.compare_typed(op, items)
    }

    fn compare_typed(&mut self, op: BinaryOp, items: Vec<Typed>) -> Result<What, SqlError> {
        let (ids, _) = self.nodes.unify(items, "comparison")?;
        Ok(What::Node(self.nodes.push(Op::Binary(op, ids[0], ids[1]), DataType::Bool)?, DataType::Bool))
    }

    fn concat(&mut self, left: &Expr, right: &Expr) -> Result<What, SqlError> {
        let (a, b) = (self.expr(left)?, self.expr(right)?);
        let of = |t: &Typed, data_type: &DataType| t.known() == Some(data_type);
        let data_type = if of(&a, &DataType::Bytea) || of(&b, &DataType::Bytea) {
            DataType::Bytea
        } else {
            DataType::Text
        };
        let any_text =
            a.known().is_none() || b.known().is_none() || of(&a, &DataType::Text) || of(&b, &DataType::Text);
        if data_type == DataType::Text && !any_text {
            return Err(no_operator(&format!("{} || {}", a.name(), b.name()), a.at)
                .with_hint("cast one side to text"));
        }
        let (a, b) = (self.stringify(a, &data_type)?, self.stringify(b, &data_type)?);
        Ok(What::Node(self.nodes.push(Op::Binary(BinaryOp::Concat, a, b), data_type.clone())?, data_type))
    }

    /// As text (any scalar casts to it) or bytea.
    pub(super) fn stringify(&mut self, typed: Typed, to: &DataType) -> Result<ExprId, SqlError> {
        match typed.what {
            What::Node(id, from) if *to == DataType::Text => self.nodes.cast(id, &from, to, false),
            _ => self.nodes.coerce(typed, to),
        }
    }

    fn arithmetic(&mut self, op: BinaryOp, name: &str, left: &Expr, right: &Expr) -> Result<What, SqlError> {
        let items = (self.expr(left)?, self.expr(right)?);
        self.arithmetic_typed(op, name, items)
    }

    pub(super) fn arithmetic_typed(
        &mut self,
        op: BinaryOp,
        name: &str,
        (a, b): (Typed, Typed),
    ) -> Result<What, SqlError> {
        let at = a.at;
        let signature = format!("{} {name} {}", a.name(), b.name());
        // An undecided literal takes the other side's type; beside a time, what is added to it.
        let a_type = a.known().cloned().or_else(|| b.known().map(|t| partner(t, op)));
        let b_type = b.known().cloned().or_else(|| a.known().map(|t| partner(t, op)));
        let (Some(a_type), Some(b_type)) = (a_type, b_type) else { return Err(no_operator(&signature, at)) };
        let Some((a_type, b_type, result)) = arithmetic_types(op, &a_type, &b_type) else {
            return Err(no_operator(&signature, at));
        };
        let (a, b) = (self.nodes.coerce(a, &a_type)?, self.nodes.coerce(b, &b_type)?);
        Ok(What::Node(self.nodes.push(Op::Binary(op, a, b), result.clone())?, result))
    }

    fn between(
        &mut self,
        expr: &Expr,
        negated: bool,
        low: &Expr,
        high: &Expr,
        at: Option<u32>,
    ) -> Result<Typed, SqlError> {
        let input = self.expr(expr)?;
        let (low, high) = (self.expr(low)?, self.expr(high)?);
        let above = self.compare_typed(BinaryOp::GtEq, vec![input.clone(), low])?;
        let below = self.compare_typed(BinaryOp::LtEq, vec![input, high])?;
        let (What::Node(a, _), What::Node(b, _)) = (above, below) else { return Err(internal()) };
        let both = self.nodes.push(Op::Binary(BinaryOp::And, a, b), DataType::Bool)?;
        let id = if negated { self.nodes.push(Op::Not(both), DataType::Bool)? } else { both };
        Ok(Typed { what: What::Node(id, DataType::Bool), at })
    }

    fn in_list(&mut self, expr: &Expr, list: &[Expr], negated: bool) -> Result<What, SqlError> {
        let mut items = vec![self.expr(expr)?];
        for item in list {
            items.push(self.expr(item)?);
        }
        let (mut ids, _) = self.nodes.unify(items, "IN")?;
        let input = ids.remove(0);
        let id = self.nodes.push(Op::InList { input, list: ids, negated }, DataType::Bool)?;
        Ok(What::Node(id, DataType::Bool))
    }

    fn like(
        &mut self,
        expr: &Expr,
        pattern: &Expr,
        escape: Option<&ast::ValueWithSpan>,
        (negated, case_insensitive): (bool, bool),
    ) -> Result<What, SqlError> {
        if let Some(escape) = escape.filter(|e| e.value.clone().into_string().as_deref() != Some("\\")) {
            return Err(SqlError::unsupported("LIKE with another ESCAPE than '\\'")
                .at(self.text.of_span(escape.span)));
        }
        let (input, pattern) = (self.expr(expr)?, self.expr(pattern)?);
        let (input, pattern) =
            (self.nodes.coerce(input, &DataType::Text)?, self.nodes.coerce(pattern, &DataType::Text)?);
        let id = self.nodes.push(Op::Like { input, pattern, negated, case_insensitive }, DataType::Bool)?;
        Ok(What::Node(id, DataType::Bool))
    }

    fn case(
        &mut self,
        operand: Option<&Expr>,
        whens: &[ast::CaseWhen],
        otherwise: Option<&Expr>,
    ) -> Result<What, SqlError> {
        let operand = operand.map(|e| self.expr(e)).transpose()?;
        let mut conditions = Vec::new();
        let mut results = Vec::new();
        for when in whens {
            conditions.push(match &operand {
                None => self.boolean(&when.condition, "CASE WHEN")?,
                Some(operand) => {
                    let items = vec![operand.clone(), self.expr(&when.condition)?];
                    match self.compare_typed(BinaryOp::Eq, items)? {
                        What::Node(id, _) => id,
                        _ => return Err(internal()),
                    }
                }
            });
            results.push(self.expr(&when.result)?);
        }
        if let Some(otherwise) = otherwise {
            results.push(self.expr(otherwise)?);
        }
        let (mut ids, data_type) = self.nodes.unify(results, "CASE")?;
        let otherwise = if otherwise.is_some() { ids.pop() } else { None };
        let branches = conditions.into_iter().zip(ids).collect();
        Ok(What::Node(self.nodes.push(Op::Case { branches, otherwise }, data_type.clone())?, data_type))
    }

    fn cast(
        &mut self,
        kind: &CastKind,
        expr: &Expr,
        to: &ast::DataType,
        at: Option<u32>,
    ) -> Result<What, SqlError> {
        let to = parse_type(to).map_err(|e| e.at(at))?;
        let try_cast = matches!(kind, CastKind::TryCast | CastKind::SafeCast);
        let typed = self.expr(expr)?;
        let id = match typed.what {
            What::Node(id, from) if is_explicit(&from, &to) => {
                self.check_constant(id, &from, &to, try_cast).map_err(|e| e.at(at))?;
                self.nodes.cast(id, &from, &to, try_cast)?
            }
            What::Node(_, from) => {
                let message = format!("cannot cast type {} to {}", type_name(&from), type_name(&to));
                return Err(SqlError::new("42846", message).at(at));
            }
            What::Text(text) if try_cast && convert::cast_text(&text, &to).is_err() => {
                self.nodes.push(Op::Literal(Value::Null), to.clone())?
            }
            _ => self.nodes.coerce(typed, &to)?,
        };
        Ok(What::Node(id, to))
    }

    /// A constant that can never be cast would reject every event: refuse the definition instead.
    fn check_constant(
        &self,
        id: ExprId,
        from: &DataType,
        to: &DataType,
        try_cast: bool,
    ) -> Result<(), SqlError> {
        match self.nodes.literal(id) {
            Some(Value::Text(text)) if !try_cast => convert::cast_text(text, to).map(|_| ()),
            Some(value) if !try_cast && convert::cast_value(value, from, to).is_none() => {
                Err(SqlError::new("22003", format!("{} out of range", type_name(to))))
            }
            _ => Ok(()),
        }
    }
}

/// The type of an undecided literal beside `other`.
fn partner(other: &DataType, op: BinaryOp) -> DataType {
    match (other, op) {
        (DataType::Timestamp, BinaryOp::Add) => DataType::Interval,
        _ => other.clone(),
    }
}

/// Operand types and result of `a op b`; `None` when there is no such operator.
fn arithmetic_types(op: BinaryOp, a: &DataType, b: &DataType) -> Option<(DataType, DataType, DataType)> {
    use DataType as T;
    let same = |t: DataType| Some((t.clone(), t.clone(), t));
    if a.is_numeric() && b.is_numeric() {
        return numeric_types(op, a, b);
    }
    match (op, a, b) {
        (BinaryOp::Add, T::Interval, T::Interval) | (BinaryOp::Subtract, T::Interval, T::Interval) => {
            same(T::Interval)
        }
        (BinaryOp::Add | BinaryOp::Subtract, T::Timestamp | T::Date, T::Interval) => {
            Some((T::Timestamp, T::Interval, T::Timestamp))
        }
        (BinaryOp::Add, T::Interval, T::Timestamp | T::Date) => {
            Some((T::Interval, T::Timestamp, T::Timestamp))
        }
        (BinaryOp::Subtract, T::Date, T::Date) => Some((T::Date, T::Date, T::Int32)),
        (BinaryOp::Subtract, T::Timestamp | T::Date, T::Timestamp | T::Date) => {
            Some((T::Timestamp, T::Timestamp, T::Interval))
        }
        (BinaryOp::Add | BinaryOp::Subtract, T::Date, T::Int16 | T::Int32) => {
            Some((T::Date, b.clone(), T::Date))
        }
        (BinaryOp::Add, T::Int16 | T::Int32, T::Date) => Some((a.clone(), T::Date, T::Date)),
        _ => None,
    }
}

fn numeric_types(op: BinaryOp, a: &DataType, b: &DataType) -> Option<(DataType, DataType, DataType)> {
    let common = common_type(a, b)?;
    let bitwise = matches!(op, BinaryOp::BitAnd | BinaryOp::BitOr | BinaryOp::BitXor);
    match common {
        DataType::Decimal { .. } if bitwise => None,
        DataType::Decimal { .. } => decimal_types(op, digits(a), digits(b)),
        DataType::Float32 | DataType::Float64 if bitwise || op == BinaryOp::Modulo => None,
        common => Some((common.clone(), common.clone(), common)),
    }
}

/// Operands keep their scales; the result holds what the operation can give, within 38 digits. A quotient has
/// at least 16 digits after the point, as in PostgreSQL.
fn decimal_types(
    op: BinaryOp,
    (p1, s1): (u8, u8),
    (p2, s2): (u8, u8),
) -> Option<(DataType, DataType, DataType)> {
    let wide = s1.max(s2);
    let whole = (p1 - s1).max(p2 - s2);
    let (precision, scale) = match op {
        BinaryOp::Multiply => (p1 + p2, (s1 + s2).min(wide.max(20))),
        BinaryOp::Divide => (38, wide.max(16)),
        BinaryOp::Modulo => (whole + wide, wide),
        _ => (whole + wide + 1, wide),
    };
    let decimal = |precision: u8, scale| DataType::Decimal { precision: precision.clamp(1, 38), scale };
    Some((decimal(p1, s1), decimal(p2, s2), decimal(precision, scale)))
}

/// A constant as it is written.
pub(super) fn literal(nodes: &mut Nodes, value: &Literal) -> Result<What, SqlError> {
    let (value, data_type) = match value {
        Literal::Null => return Ok(What::Null),
        Literal::Boolean(v) => (Value::Bool(*v), DataType::Bool),
        Literal::Number(digits, _) => number(digits)?,
        Literal::Placeholder(name) => return Err(SqlError::unsupported(format!("parameter {name}"))),
        Literal::HexStringLiteral(hex) => {
            (convert::cast_text(&format!("\\x{hex}"), &DataType::Bytea)?, DataType::Bytea)
        }
        other => {
            let text = other
                .clone()
                .into_string()
                .ok_or_else(|| SqlError::unsupported(format!("literal {other}")))?;
            return Ok(What::Text(text));
        }
    };
    Ok(What::Node(nodes.push(Op::Literal(value), data_type.clone())?, data_type))
}

/// PostgreSQL's type of a number: the first of integer, bigint, numeric that holds it. With an exponent, or
/// with more digits than a numeric has, it is a double.
fn number(digits: &str) -> Result<(Value, DataType), SqlError> {
    if let Ok(v) = digits.parse::<i64>() {
        let small = i32::try_from(v).is_ok();
        return Ok((Value::Int(v), if small { DataType::Int32 } else { DataType::Int64 }));
    }
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    let significant = all.trim_start_matches('0').len().max(fraction.len()).max(1);
    match all.parse::<i128>() {
        Ok(units) if significant <= 38 => Ok((
            Value::Decimal(units),
            DataType::Decimal { precision: significant as u8, scale: fraction.len() as u8 },
        )),
        _ => {
            let float = digits.parse::<f64>().ok().filter(|v| v.is_finite());
            let value = float.ok_or_else(|| SqlError::new("22003", format!("{digits} is out of range")))?;
            Ok((Value::Float(value), DataType::Float64))
        }
    }
}

/// `42883`: these operands have no such operator.
fn no_operator(signature: &str, at: Option<u32>) -> SqlError {
    SqlError::new("42883", format!("operator does not exist: {signature}")).at(at)
}

/// A state the code above excludes.
pub(super) fn internal() -> SqlError {
    SqlError::new("XX000", "the compiler lost an expression")
}
