//! PostgreSQL's syntax, where sqlparser reads it otherwise.
//!
//! Owns: operators whose right side sqlparser takes too far. Everything else is its own dialect's.

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::{self, PostgreSqlDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use std::any::TypeId;

/// PostgreSQL's dialect.
#[derive(Debug)]
pub(crate) struct Dialect;

const INNER: PostgreSqlDialect = PostgreSqlDialect {};

/// The dialect that everything here is read in.
pub(crate) static DIALECT: Dialect = Dialect;

/// Reads an expression that this crate wrote down.
///
/// # Errors
/// It is no expression.
pub(crate) fn parse_expr(sql: &str) -> Result<Expr, ParserError> {
    Parser::new(&DIALECT).try_with_sql(sql)?.parse_expr()
}

macro_rules! as_postgresql {
    ($($name:ident),* $(,)?) => { $(fn $name(&self) -> bool { INNER.$name() })* };
}

impl dialect::Dialect for Dialect {
    fn dialect(&self) -> TypeId {
        INNER.dialect()
    }

    /// `a IS DISTINCT FROM b AND c` is `(a IS DISTINCT FROM b) AND c`: the right side ends before operators that bind
    /// as IS does or less.
    fn parse_infix(&self, parser: &mut Parser<'_>, left: &Expr, _: u8) -> Option<Result<Expr, ParserError>> {
        let is_distinct = parser.parse_keywords(&[Keyword::IS, Keyword::DISTINCT, Keyword::FROM]);
        if !is_distinct
            && !parser.parse_keywords(&[Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM])
        {
            return None;
        }
        let right = parser.parse_subexpr(self.prec_value(Precedence::Is));
        Some(right.map(|right| {
            let (left, right) = (Box::new(left.clone()), Box::new(right));
            if is_distinct { Expr::IsDistinctFrom(left, right) } else { Expr::IsNotDistinctFrom(left, right) }
        }))
    }

    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        INNER.get_next_precedence(parser)
    }

    fn prec_value(&self, prec: Precedence) -> u8 {
        INNER.prec_value(prec)
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        INNER.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        INNER.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        INNER.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        INNER.is_identifier_part(ch)
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        INNER.is_reserved_for_identifier(keyword)
    }

    /// `x>-1` is `x > -1`: no operator that is known here has a sign behind other characters.
    fn is_custom_operator_part(&self, ch: char) -> bool {
        !matches!(ch, '+' | '-') && INNER.is_custom_operator_part(ch)
    }

    as_postgresql!(
        supports_unicode_string_literal,
        supports_filter_during_aggregation,
        supports_group_by_expr,
        allow_extract_custom,
        allow_extract_single_quotes,
        supports_create_index_with_clause,
        supports_explain_with_utility_options,
        supports_listen_notify,
        supports_factorial_operator,
        supports_bitwise_shift_operators,
        supports_comment_on,
        supports_load_extension,
        supports_named_fn_args_with_colon_operator,
        supports_named_fn_args_with_expr_name,
        supports_empty_projections,
        supports_nested_comments,
        supports_string_escape_constant,
        supports_numeric_literal_underscores,
        supports_array_typedef_with_brackets,
        supports_geometric_types,
        supports_set_names,
        supports_alter_column_type_using,
        supports_notnull_operator,
        supports_interval_options,
        supports_insert_table_alias,
        supports_create_table_like_parenthesized,
        supports_select_wildcard_with_alias,
        supports_comma_separated_trim,
        supports_xml_expressions,
        supports_comment_optimizer_hint,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::ast::{VisitMut, VisitorMut};
    use std::ops::ControlFlow;

    #[test]
    fn distinct_from_ends_before_and() {
        let cases = [
            ("a IS DISTINCT FROM b AND c", "(a IS DISTINCT FROM b) AND c"),
            ("x AND a IS NOT DISTINCT FROM b OR c", "(x AND (a IS NOT DISTINCT FROM b)) OR c"),
            ("NOT a IS DISTINCT FROM b AND c", "(NOT (a IS DISTINCT FROM b)) AND c"),
            ("a IS DISTINCT FROM b + 1 = c OR d", "(a IS DISTINCT FROM ((b + 1) = c)) OR d"),
            (
                "a = b IS DISTINCT FROM c BETWEEN 1 AND 2 AND d",
                "((a = b) IS DISTINCT FROM (c BETWEEN 1 AND 2)) AND d",
            ),
        ];
        for (sql, wanted) in cases {
            assert_eq!(
                nested(parse_expr(sql).expect(sql)),
                nested(parse_expr(wanted).expect(wanted)),
                "{sql}"
            );
        }
    }

    #[test]
    fn a_sign_behind_an_operator_is_the_numbers() {
        for (sql, wanted) in [
            ("x>-1", "x > -1"),
            ("x>=+5", "x >= +5"),
            ("x<>-1", "x <> -1"),
            ("1<<-1", "1 << -1"),
            ("x->'a'", "x -> 'a'"),
            ("x->>'a'", "x ->> 'a'"),
        ] {
            assert_eq!(parse_expr(sql).expect(sql), parse_expr(wanted).expect(wanted), "{sql}");
        }
    }

    /// Without parentheses; equality does not look at positions.
    fn nested(mut expr: Expr) -> Expr {
        struct Strip;
        impl VisitorMut for Strip {
            type Break = ();
            fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
                if let Expr::Nested(inner) = expr {
                    *expr = inner.as_ref().clone();
                }
                ControlFlow::Continue(())
            }
        }
        let _ = VisitMut::visit(&mut expr, &mut Strip);
        expr
    }
}
