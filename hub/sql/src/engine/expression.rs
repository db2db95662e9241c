//! A plan's expressions as SQL, for people.

use headwater::expr::{date_text, timestamp_text};
use headwater::plan::{BinaryOp, ExprId, Function, Op, Plan};
use headwater::schema::{ARRIVAL_TIMESTAMP, StreamSchema};
use headwater::value::{DataType, Value};

/// Longest text of one expression; expressions may share parts, which a text repeats.
const BYTES_MAX: usize = 2_000;

/// The expression as SQL.
pub(super) fn text(plan: &Plan, stream: &StreamSchema, id: ExprId) -> String {
    let mut printer = Printer { plan, stream, out: String::new() };
    printer.expr(id);
    if printer.out.len() > BYTES_MAX {
        let end = (0..=BYTES_MAX).rev().find(|at| printer.out.is_char_boundary(*at)).unwrap_or(0);
        printer.out.truncate(end);
        printer.out.push_str("...");
    }
    printer.out
}

struct Printer<'p> {
    plan: &'p Plan,
    stream: &'p StreamSchema,
    out: String,
}

impl Printer<'_> {
    fn expr(&mut self, id: ExprId) {
        let Some(node) = self.plan.nodes.get(usize::from(id.0)).filter(|_| self.out.len() <= BYTES_MAX)
        else {
            return;
        };
        match &node.op {
            Op::Column(at) => {
                let name = self.stream.fields.get(usize::from(*at)).map_or(ARRIVAL_TIMESTAMP, |f| &f.name);
                self.out.push_str(name);
            }
            Op::Literal(value) => self.out.push_str(&literal(value, &node.data_type)),
            Op::Not(x) => self.around("NOT ", *x, ""),
            Op::Negate(x) => self.around("-", *x, ""),
            Op::IsNull(x) => self.around("", *x, " IS NULL"),
            Op::IsNotNull(x) => self.around("", *x, " IS NOT NULL"),
            Op::IsTrue(x) => self.around("", *x, " IS TRUE"),
            Op::IsFalse(x) => self.around("", *x, " IS FALSE"),
            Op::Binary(op, a, b) => {
                self.operand(*a);
                self.out.push_str(&format!(" {} ", operator(*op)));
                self.operand(*b);
            }
            Op::Cast { input, try_cast } => {
                self.out.push_str(if *try_cast { "TRY_CAST(" } else { "CAST(" });
                self.expr(*input);
                self.out.push_str(&format!(" AS {})", crate::types::type_name(&node.data_type)));
            }
            Op::Case { branches, otherwise } => self.case(branches, *otherwise),
            Op::InList { input, list, negated } => {
                self.operand(*input);
                self.out.push_str(if *negated { " NOT IN (" } else { " IN (" });
                self.list(list);
            }
            Op::Like { input, pattern, negated, case_insensitive } => {
                self.operand(*input);
                let not = if *negated { " NOT" } else { "" };
                let like = if *case_insensitive { "ILIKE" } else { "LIKE" };
                self.out.push_str(&format!("{not} {like} "));
                self.operand(*pattern);
            }
            Op::Call(function, args) => {
                self.out.push_str(&format!("{}(", name(*function)));
                self.list(args);
            }
            other => self.out.push_str(&format!("{other:?}")),
        }
    }

    fn around(&mut self, before: &str, id: ExprId, after: &str) {
        self.out.push_str(before);
        self.operand(id);
        self.out.push_str(after);
    }

    /// In parentheses where it is more than a name, a literal or a call.
    fn operand(&mut self, id: ExprId) {
        let op = self.plan.nodes.get(usize::from(id.0)).map(|node| &node.op);
        let is_simple = matches!(
            op,
            Some(Op::Column(_) | Op::Literal(_) | Op::Call(..) | Op::Cast { .. } | Op::Case { .. })
        );
        if is_simple {
            return self.expr(id);
        }
        self.out.push('(');
        self.expr(id);
        self.out.push(')');
    }

    fn list(&mut self, ids: &[ExprId]) {
        for (at, id) in ids.iter().enumerate() {
            if at > 0 {
                self.out.push_str(", ");
            }
            self.expr(*id);
        }
        self.out.push(')');
    }

    fn case(&mut self, branches: &[(ExprId, ExprId)], otherwise: Option<ExprId>) {
        self.out.push_str("CASE");
        for (condition, result) in branches {
            self.out.push_str(" WHEN ");
            self.expr(*condition);
            self.out.push_str(" THEN ");
            self.expr(*result);
        }
        if let Some(otherwise) = otherwise {
            self.out.push_str(" ELSE ");
            self.expr(otherwise);
        }
        self.out.push_str(" END");
    }
}

fn operator(op: BinaryOp) -> &'static str {
    use BinaryOp as B;
    match op {
        B::Add => "+",
        B::Subtract => "-",
        B::Multiply => "*",
        B::Divide => "/",
        B::Modulo => "%",
        B::Eq => "=",
        B::NotEq => "<>",
        B::Lt => "<",
        B::LtEq => "<=",
        B::Gt => ">",
        B::GtEq => ">=",
        B::And => "AND",
        B::Or => "OR",
        B::Concat => "||",
        B::BitAnd => "&",
        B::BitOr => "|",
        B::BitXor => "#",
        B::IsDistinct => "IS DISTINCT FROM",
        B::IsNotDistinct => "IS NOT DISTINCT FROM",
        _ => "?",
    }
}

/// `DateTrunc` is `date_trunc`.
fn name(function: Function) -> String {
    match function {
        Function::LTrim => "ltrim".to_owned(),
        Function::RTrim => "rtrim".to_owned(),
        Function::StrPos => "strpos".to_owned(),
        Function::NullIf => "nullif".to_owned(),
        other => {
            let mut out = String::new();
            for c in format!("{other:?}").chars() {
                if c.is_uppercase() && !out.is_empty() {
                    out.push('_');
                }
                out.push(c.to_ascii_lowercase());
            }
            out
        }
    }
}

fn literal(value: &Value, data_type: &DataType) -> String {
    match (value, data_type) {
        (Value::Null, _) => "NULL".to_owned(),
        (Value::Text(text), _) => format!("'{}'", text.replace('\'', "''")),
        (Value::Int(v), DataType::Timestamp) => format!("'{}'", timestamp_text(*v)),
        (Value::Int(v), DataType::Date) => format!("'{}'", date_text(*v)),
        (Value::Int(v), _) => v.to_string(),
        (Value::Bool(v), _) => v.to_string(),
        (Value::Float(v), _) => v.to_string(),
        (Value::Decimal(v), DataType::Decimal { scale, .. }) => {
            let digits = format!("{:0>width$}", v.unsigned_abs(), width = usize::from(*scale) + 1);
            let (whole, fraction) = digits.split_at(digits.len() - usize::from(*scale));
            let sign = if *v < 0 { "-" } else { "" };
            if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
        }
        (Value::Interval(span), _) => {
            let parts = [(i64::from(span.months), "months"), (i64::from(span.days), "days")];
            let mut parts: Vec<String> =
                parts.iter().filter(|(n, _)| *n != 0).map(|(n, unit)| format!("{n} {unit}")).collect();
            if span.micros != 0 || parts.is_empty() {
                parts.push(match span.micros % 1_000_000 {
                    0 => format!("{} seconds", span.micros / 1_000_000),
                    _ => format!("{} microseconds", span.micros),
                });
            }
            format!("interval '{}'", parts.join(" "))
        }
        (Value::Bytes(bytes), _) => {
            let hex: String = bytes.iter().take(64).map(|b| format!("{b:02x}")).collect();
            format!("'\\x{hex}'")
        }
        (other, _) => format!("{other:?}"),
    }
}
