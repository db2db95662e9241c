//! Which operand types an operation takes, and which type its result may have.
//!
//! Rules are as loose as the evaluator can bear: integers of different widths mix, and so do scales of
//! numeric under arithmetic. The compiler in `hub/sql` decides PostgreSQL's result types.

use super::{BinaryOp, Function, Node, Op};
use crate::expr::{DateField, DateUnit, bucket_is_valid, cast_is_defined};
use crate::value::{DataType as T, Value};

/// True when `node` is well typed over its operands, given in the order of [`Op::operands`].
pub(super) fn check(node: &Node, operands: &[&Node]) -> bool {
    let result = &node.data_type;
    let of = |at: usize| &operands[at].data_type;
    match &node.op {
        Op::Column(_) => true,
        Op::Literal(value) => value.fits(result),
        Op::Not(_) | Op::IsTrue(_) | Op::IsFalse(_) => *of(0) == T::Bool && *result == T::Bool,
        Op::Negate(_) => (result.is_numeric() || *result == T::Interval) && of(0) == result,
        Op::IsNull(_) | Op::IsNotNull(_) => *result == T::Bool,
        Op::Binary(op, ..) => binary(*op, of(0), of(1), result),
        Op::Cast { .. } => cast_is_defined(of(0), result),
        Op::Case { branches, .. } => {
            let pairs = branches.len() * 2;
            let conditions = (0..pairs).step_by(2).all(|at| *of(at) == T::Bool);
            let mut results = (1..pairs).step_by(2).chain(pairs..operands.len());
            !branches.is_empty() && conditions && results.all(|at| is(of(at), result))
        }
        Op::InList { .. } => {
            *result == T::Bool && operands[1..].iter().all(|o| comparable(of(0), &o.data_type))
        }
        Op::Like { .. } => *result == T::Bool && operands.iter().all(|o| o.data_type == T::Text),
        Op::Call(function, _) => call(*function, operands, result),
    }
}

/// Exactly the type, or a NULL of no type.
fn is(operand: &T, result: &T) -> bool {
    operand == result || *operand == T::Null
}

fn comparable(a: &T, b: &T) -> bool {
    match (a, b) {
        (T::Null, _) | (_, T::Null) => true,
        _ => a == b || (a.is_int() && b.is_int()) || (a.is_float() && b.is_float()),
    }
}

fn is_decimal(t: &T) -> bool {
    matches!(t, T::Decimal { .. })
}

/// Both operands and the result of one numeric family.
fn numbers(a: &T, b: &T, result: &T) -> bool {
    let all = |f: fn(&T) -> bool| f(a) && f(b) && f(result);
    all(T::is_int) || all(T::is_float) || all(is_decimal)
}

fn binary(op: BinaryOp, a: &T, b: &T, result: &T) -> bool {
    use BinaryOp as B;
    match op {
        B::Add => numbers(a, b, result) || added(a, b, result),
        B::Subtract => numbers(a, b, result) || subtracted(a, b, result),
        B::Multiply | B::Divide => numbers(a, b, result),
        B::Modulo => numbers(a, b, result) && !a.is_float(),
        B::BitAnd | B::BitOr | B::BitXor => a.is_int() && b.is_int() && result.is_int(),
        B::And | B::Or => [a, b, result].into_iter().all(|t| *t == T::Bool),
        B::Concat => a == b && a == result && matches!(a, T::Text | T::Bytea),
        B::Eq | B::NotEq | B::Lt | B::LtEq | B::Gt | B::GtEq | B::IsDistinct | B::IsNotDistinct => {
            comparable(a, b) && *result == T::Bool
        }
    }
}

fn added(a: &T, b: &T, result: &T) -> bool {
    match (a, b) {
        (T::Timestamp, T::Interval) | (T::Interval, T::Timestamp) => *result == T::Timestamp,
        (T::Interval, T::Interval) => *result == T::Interval,
        (T::Date, days) | (days, T::Date) => days.is_int() && *result == T::Date,
        _ => false,
    }
}

fn subtracted(a: &T, b: &T, result: &T) -> bool {
    match (a, b) {
        (T::Timestamp, T::Interval) => *result == T::Timestamp,
        (T::Timestamp, T::Timestamp) | (T::Interval, T::Interval) => *result == T::Interval,
        (T::Date, T::Date) => result.is_int(),
        (T::Date, days) => days.is_int() && *result == T::Date,
        _ => false,
    }
}

fn call(function: Function, operands: &[&Node], result: &T) -> bool {
    use Function as F;
    let all = |f: &dyn Fn(&T) -> bool| !operands.is_empty() && operands.iter().all(|o| f(&o.data_type));
    match function {
        F::Coalesce | F::Greatest | F::Least => all(&|t| is(t, result)),
        F::NullIf => matches!(operands, [a, b] if a.data_type == *result && comparable(result, &b.data_type)),
        F::Concat => *result == T::Text && all(&|t| is(t, &T::Text)),
        F::DateTrunc | F::DatePart | F::TimeBucket => temporal(function, operands, result),
        _ => signature(function).is_some_and(|(args, out)| matches(args, out, operands, result)),
    }
}

/// Functions whose first argument is a literal that must make sense.
fn temporal(function: Function, operands: &[&Node], result: &T) -> bool {
    let [first, second] = operands else { return false };
    match (function, &first.op, &second.data_type, result) {
        (Function::DateTrunc, Op::Literal(Value::Text(unit)), T::Timestamp, T::Timestamp) => {
            DateUnit::parse(unit).is_some()
        }
        (Function::DatePart, Op::Literal(Value::Text(field)), t, T::Float64) => {
            matches!(t, T::Timestamp | T::Date | T::Interval) && DateField::parse(field).is_some()
        }
        (Function::TimeBucket, Op::Literal(Value::Interval(width)), T::Timestamp, T::Timestamp) => {
            bucket_is_valid(*width)
        }
        _ => false,
    }
}

/// Argument and result letters: `t`ext, `b`ytea or text, `i`nteger, `f`loat, `n`umber, `r`ound number (float
/// or numeric), `B`oolean, `T`imestamp; after `?` arguments are optional.
fn signature(function: Function) -> Option<(&'static str, char)> {
    use Function as F;
    Some(match function {
        F::Abs | F::Sign => ("n", '~'),
        F::Floor | F::Ceil => ("r", '~'),
        F::Round | F::Trunc => ("r?i", '~'),
        F::Sqrt | F::Exp | F::Ln | F::Log10 => ("f", 'f'),
        F::Power => ("ff", 'f'),
        F::Lower | F::Upper => ("t", 't'),
        F::Length => ("t", 'i'),
        F::OctetLength => ("b", 'i'),
        F::Trim | F::LTrim | F::RTrim => ("t?t", 't'),
        F::Substr => ("ti?i", 't'),
        F::Left | F::Right => ("ti", 't'),
        F::StrPos => ("tt", 'i'),
        F::Replace => ("ttt", 't'),
        F::SplitPart => ("tti", 't'),
        F::StartsWith => ("tt", 'B'),
        F::ToTimestamp => ("f", 'T'),
        F::Md5 => ("b", 't'),
        F::WidthBucket => ("fffi", 'i'),
        _ => return None,
    })
}

fn matches(args: &str, out: char, operands: &[&Node], result: &T) -> bool {
    let required = args.find('?').unwrap_or(args.len());
    let letters = args.chars().filter(|c| *c != '?');
    let enough = operands.len() >= required && operands.len() <= letters.clone().count();
    enough && operands.iter().zip(letters).all(|(o, c)| letter(c, &o.data_type)) && {
        let first = &operands[0].data_type;
        match out {
            '~' => result == first || (is_decimal(result) && is_decimal(first)),
            c => letter(c, result),
        }
    }
}

fn letter(letter: char, t: &T) -> bool {
    match letter {
        't' => *t == T::Text,
        'b' => matches!(t, T::Text | T::Bytea),
        'i' => t.is_int(),
        'f' => t.is_float(),
        'n' => t.is_numeric(),
        'r' => t.is_float() || is_decimal(t),
        'B' => *t == T::Bool,
        'T' => *t == T::Timestamp,
        _ => false,
    }
}
