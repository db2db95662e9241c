//! How deep the tree of a text can become, told from its tokens.
//!
//! The parser recurses, and so does whatever walks or drops its trees. Its own limit counts expressions, tables and
//! queries within each other; it does not count what it builds in loops (`1 + 1 + 1`, `t AT TIME ZONE 'a' AT ...`,
//! `int[][][]`) or without an expression between (`interval interval '1 day'`, types within types). All of that is
//! bounded here, before anything recursive runs.

use crate::error::SqlError;
use crate::text::Text;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// Longest chain of operators. A chain is a tree as deep as it is long.
const CHAIN_MAX: usize = 256;
/// Operators that an interval within an interval, or a dimension of an array's type, counts as: the functions that
/// recurse for them are large, and nobody writes 16 of them.
const STEEP: usize = 16;
/// Parentheses, brackets and braces within each other; the parser refuses 50 expressions.
const NESTED_MAX: usize = 64;
/// Calls within each other: the parser reads the arguments of each twice, so that time doubles with every one. Words of the
/// language count as several (`readings_of`).
const CALLS_MAX: usize = 16;
/// Most UNION, EXCEPT and INTERSECT in one text: each is one more level of the plan.
const SET_OPERATIONS_MAX: usize = 64;

/// Words that put one expression, or one table, into another.
const OPERATORS: &[Keyword] = &[
    Keyword::AND,
    Keyword::OR,
    Keyword::XOR,
    Keyword::NOT,
    Keyword::IS,
    Keyword::NOTNULL,
    Keyword::IN,
    Keyword::BETWEEN,
    Keyword::LIKE,
    Keyword::ILIKE,
    Keyword::RLIKE,
    Keyword::REGEXP,
    Keyword::SIMILAR,
    Keyword::MATCH,
    Keyword::MEMBER,
    Keyword::OVERLAPS,
    Keyword::OPERATOR,
    Keyword::DIV,
    Keyword::COLLATE,
    Keyword::AT,
    Keyword::INTERVAL,
    Keyword::JOIN,
    Keyword::PIVOT,
    Keyword::UNPIVOT,
];

/// Counts the operators of each expression: chains within parentheses add to the chain around them, and a comma
/// or a clause starts anew. The longest of them.
pub(super) fn check_depth(text: &Text, tokens: &[TokenWithSpan]) -> Result<usize, SqlError> {
    let too_complex = |message: String, token: &TokenWithSpan| {
        Err(SqlError::new("54001", format!("statement is too complex: {message}"))
            .at(text.of_span(token.span)))
    };
    if let Some(token) = tokens.iter().filter(|t| is_set_operation(&t.token)).nth(SET_OPERATIONS_MAX) {
        return too_complex(format!("more than {SET_OPERATIONS_MAX} set operations"), token);
    }
    let mut chains = Chains { open: Vec::new(), readings: Vec::new(), chain: 0, around: 0, is_empty: false };
    let (mut before, mut readings, mut depth) = (Keyword::NoKeyword, 0, 0);
    for token in tokens.iter().filter(|t| !matches!(t.token, Token::Whitespace(_))) {
        chains.take(&token.token, before, readings);
        readings = readings_of(&token.token);
        before = keyword(&token.token);
        depth = depth.max(chains.depth());
        if depth > CHAIN_MAX {
            return too_complex(format!("more than {CHAIN_MAX} operators in one expression"), token);
        }
        if chains.open.len() > NESTED_MAX || chains.readings.iter().sum::<usize>() > CALLS_MAX {
            let error = SqlError::new("54001", "statement is nested too deeply");
            return Err(error.at(text.of_span(token.span)));
        }
    }
    Ok(depth)
}

/// The chain at hand, and those around it.
struct Chains {
    open: Vec<usize>,
    /// Of each open one, how often what is in it is read again, as a power of two.
    readings: Vec<usize>,
    chain: usize,
    /// The sum of the open ones.
    around: usize,
    /// A bracket was opened by the last token.
    is_empty: bool,
}

impl Chains {
    fn depth(&self) -> usize {
        self.around + self.chain
    }

    fn take(&mut self, token: &Token, before: Keyword, readings: usize) {
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                // What is behind a value is an operator; an array's bracket counts as one, too.
                self.chain += usize::from(*token != Token::LParen);
                // `int[]`; an array of values has some.
                self.is_empty = *token == Token::LBracket;
                self.around += self.chain;
                self.readings.push(if *token == Token::LParen { readings } else { 0 });
                self.open.push(std::mem::take(&mut self.chain));
            }
            Token::RParen | Token::RBracket | Token::RBrace => {
                self.readings.pop();
                if let Some(chain) = self.open.pop() {
                    self.chain = chain + if self.is_empty { STEEP } else { 0 };
                    self.around -= chain;
                }
                self.is_empty = false;
                return;
            }
            Token::Lt if before == Keyword::ARRAY => self.chain += STEEP,
            token if starts_anew(token, before) => self.chain = 0,
            token if keyword(token) == Keyword::INTERVAL && before == Keyword::INTERVAL => {
                self.chain += STEEP;
            }
            token => self.chain += usize::from(is_operator(token)),
        }
        self.is_empty &= *token == Token::LBracket;
    }
}

fn keyword(token: &Token) -> Keyword {
    match token {
        Token::Word(word) => word.keyword,
        _ => Keyword::NoKeyword,
    }
}

/// A word that a call's parenthesis may follow.
fn is_callable(token: &Token) -> bool {
    let clauses = [Keyword::FROM, Keyword::SELECT, Keyword::WHERE, Keyword::ON, Keyword::AS, Keyword::EXISTS];
    matches!(token, Token::Word(word) if !OPERATORS.contains(&word.keyword) && !clauses.contains(&word.keyword))
}

/// Words of the language before a parenthesis, which the parser takes for a function's name when what is in it cannot be read.
const RETRIED: &[Keyword] = &[
    Keyword::NOT,
    Keyword::EXISTS,
    Keyword::INTERVAL,
    Keyword::MATCH,
    Keyword::CAST,
    Keyword::TRY_CAST,
    Keyword::SAFE_CAST,
    Keyword::CONVERT,
    Keyword::TRY_CONVERT,
    Keyword::EXTRACT,
    Keyword::CEIL,
    Keyword::FLOOR,
    Keyword::SUBSTR,
    Keyword::SUBSTRING,
    Keyword::OVERLAY,
    Keyword::TRIM,
    Keyword::STRUCT,
];

/// How often a parenthesis behind a token is read again, as a power of two.
fn readings_of(token: &Token) -> usize {
    match keyword(token) {
        // Up to its IN, and as a whole.
        Keyword::POSITION => 4,
        word if RETRIED.contains(&word) => 2,
        _ => usize::from(is_callable(token)),
    }
}

fn starts_anew(token: &Token, before: Keyword) -> bool {
    if matches!(token, Token::Comma | Token::SemiColon) {
        return true;
    }
    match keyword(token) {
        // Not a clause: `a IS DISTINCT FROM b`, `f(x) WITHIN GROUP (...)`.
        Keyword::FROM => before != Keyword::DISTINCT,
        Keyword::GROUP => before != Keyword::WITHIN,
        Keyword::SELECT | Keyword::WHERE | Keyword::HAVING | Keyword::ORDER | Keyword::ON => true,
        _ => false,
    }
}

fn is_set_operation(token: &Token) -> bool {
    [Keyword::UNION, Keyword::EXCEPT, Keyword::INTERSECT].contains(&keyword(token))
}

fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(word) => OPERATORS.contains(&word.keyword),
        Token::EOF | Token::Number(..) | Token::SingleQuotedString(_) | Token::Period => false,
        _ => true,
    }
}
