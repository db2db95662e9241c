//! A cursor over tokens: sqlparser's parser with words of our own and errors with positions.

use super::Name;
use super::depth::check_depth;
use crate::dialect::DIALECT;
use crate::error::SqlError;
use crate::text::{Text, fold_name};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

pub(super) struct Cursor<'a> {
    parser: Parser<'static>,
    text: &'a Text,
    depth: usize,
}

/// Stands for THEN before EXECUTE FUNCTION, where a query would take it for an alias.
pub(super) const THEN: Token = Token::Backslash;

fn mark_then(tokens: &mut [TokenWithSpan]) {
    let word = |token: &TokenWithSpan, words: &[&str]| match &token.token {
        Token::Word(w) => {
            w.quote_style.is_none() && words.iter().any(|word| w.value.eq_ignore_ascii_case(word))
        }
        _ => false,
    };
    let mut last: [Option<usize>; 2] = [None; 2];
    for at in 0..tokens.len() {
        if matches!(tokens[at].token, Token::Whitespace(_)) {
            continue;
        }
        if let [Some(then), Some(execute)] = last
            && word(&tokens[then], &["then"])
            && word(&tokens[execute], &["execute"])
            && word(&tokens[at], &["function", "procedure"])
        {
            tokens[then].token = THEN;
        }
        last = [last[1], Some(at)];
    }
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a Text) -> Result<Self, SqlError> {
        let mut tokens = Vec::new();
        let mut tokenizer = Tokenizer::new(&DIALECT, text.as_str());
        if let Err(error) = tokenizer.tokenize_with_location_into_buf(&mut tokens) {
            return Err(SqlError::new("42601", lower_first(&error.message)).at(text.position(error.location)));
        }
        tokens.iter_mut().for_each(|token| unreserve(&mut token.token));
        mark_then(&mut tokens);
        let depth = check_depth(text, &tokens)?;
        Ok(Self { parser: Parser::new(&DIALECT).with_tokens_with_locations(tokens), text, depth })
    }

    pub(super) fn text(&self) -> &'a Text {
        self.text
    }

    /// The longest chain of operators.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    fn peek(&self) -> &TokenWithSpan {
        self.parser.peek_token_ref()
    }

    pub(super) fn token(&self) -> &Token {
        &self.peek().token
    }

    /// Where THEN EXECUTE FUNCTION stands, if that is next.
    pub(super) fn then_position(&self) -> Option<u32> {
        (*self.token() == THEN).then(|| self.position()).flatten()
    }

    /// Where the next token starts; behind the text at its end.
    pub(super) fn position(&self) -> Option<u32> {
        self.text.of_span(self.peek().span).or_else(|| Some(self.text.end()))
    }

    /// The byte at which the next token starts.
    pub(super) fn byte(&self) -> usize {
        self.text.byte(self.peek().span.start)
    }

    /// The byte behind the last token taken.
    pub(super) fn last_byte(&self) -> usize {
        self.text.byte(self.parser.get_current_token().span.end)
    }

    /// Skips semicolons; false at the end of the text.
    pub(super) fn skip_semicolons(&mut self) -> bool {
        while self.parser.consume_token(&Token::SemiColon) {}
        *self.token() != Token::EOF
    }

    pub(super) fn expect_end_of_statement(&mut self) -> Result<(), SqlError> {
        match self.token() {
            Token::SemiColon | Token::EOF => Ok(()),
            _ => Err(self.expected("end of statement")),
        }
    }

    /// True (and taken) when the next token is this unquoted word.
    pub(super) fn word(&mut self, word: &str) -> bool {
        let found = self.is_word(0, word);
        if found {
            self.parser.advance_token();
        }
        found
    }

    /// True (and taken) when the next tokens are these unquoted words.
    pub(super) fn words(&mut self, words: &[&str]) -> bool {
        let found = words.iter().enumerate().all(|(n, word)| self.is_word(n, word));
        if found {
            words.iter().for_each(|_| self.parser.advance_token());
        }
        found
    }

    pub(super) fn is_word(&self, nth: usize, word: &str) -> bool {
        match &self.parser.peek_nth_token_ref(nth).token {
            Token::Word(w) => w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word),
            _ => false,
        }
    }

    pub(super) fn is_next(&self, nth: usize, token: &Token) -> bool {
        self.parser.peek_nth_token_ref(nth).token == *token
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Result<(), SqlError> {
        if self.word(word) { Ok(()) } else { Err(self.expected(&word.to_uppercase())) }
    }

    pub(super) fn consume(&mut self, token: &Token) -> bool {
        self.parser.consume_token(token)
    }

    pub(super) fn expect(&mut self, token: &Token) -> Result<(), SqlError> {
        if self.consume(token) { Ok(()) } else { Err(self.expected(&format!("\"{token}\""))) }
    }

    pub(super) fn advance(&mut self) {
        self.parser.advance_token();
    }

    /// True when a query starts here.
    pub(super) fn at_query(&self) -> bool {
        let starts = ["select", "with", "values", "table"];
        *self.token() == Token::LParen || starts.iter().any(|word| self.is_word(0, word))
    }

    pub(super) fn query(&mut self) -> Result<Box<ast::Query>, SqlError> {
        let query = self.parser.parse_query();
        query.map_err(|e| self.convert(e))
    }

    pub(super) fn expr(&mut self) -> Result<ast::Expr, SqlError> {
        let expr = self.parser.parse_expr();
        expr.map_err(|e| self.convert(e))
    }

    /// What may stand behind SELECT.
    pub(super) fn select_items(&mut self) -> Result<Vec<ast::SelectItem>, SqlError> {
        let items = self.parser.parse_comma_separated(Parser::parse_select_item);
        items.map_err(|e| self.convert(e))
    }

    /// What stands behind SET.
    pub(super) fn assignments(&mut self) -> Result<Vec<ast::Assignment>, SqlError> {
        let assignments = self.parser.parse_comma_separated(Parser::parse_assignment);
        assignments.map_err(|e| self.convert(e))
    }

    /// An item of a SELECT list.
    pub(super) fn select_item(&mut self) -> Result<ast::SelectItem, SqlError> {
        let item = self.parser.parse_select_item();
        item.map_err(|e| self.convert(e))
    }

    /// Any statement of SQL.
    pub(super) fn statement(&mut self) -> Result<ast::Statement, SqlError> {
        let statement = self.parser.parse_statement();
        statement.map_err(|e| self.convert(e))
    }

    /// An expression without operators behind it.
    pub(super) fn operand(&mut self) -> Result<ast::Expr, SqlError> {
        let expr = self.parser.parse_prefix();
        expr.map_err(|e| self.convert(e))
    }

    pub(super) fn data_type(&mut self) -> Result<ast::DataType, SqlError> {
        let data_type = self.parser.parse_data_type();
        data_type.map_err(|e| self.convert(e))
    }

    pub(super) fn ident(&mut self) -> Result<ast::Ident, SqlError> {
        let ident = self.parser.parse_identifier();
        ident.map_err(|e| self.convert(e))
    }

    pub(super) fn object_name(&mut self) -> Result<ast::ObjectName, SqlError> {
        let name = self.parser.parse_object_name(false);
        name.map_err(|e| self.convert(e))
    }

    /// Skips the rest of the statement.
    pub(super) fn rest(&mut self) {
        while !matches!(self.token(), Token::SemiColon | Token::EOF) {
            self.advance();
        }
    }

    /// The name of a stream or view; schema `public` may be written.
    pub(super) fn name(&mut self) -> Result<Name, SqlError> {
        let position = self.position();
        let name = self.parser.parse_object_name(false);
        self.in_public(fold_name(&name.map_err(|e| self.convert(e))?), position)
    }

    /// The folded parts of a name, which may be of schema `public`.
    pub(super) fn in_public(&self, mut parts: Vec<String>, position: Option<u32>) -> Result<Name, SqlError> {
        let name = parts.pop().unwrap_or_default();
        if !parts.is_empty() && parts != ["public"] {
            let schema = parts.join(".");
            return Err(SqlError::new("3F000", format!("schema \"{schema}\" does not exist")).at(position));
        }
        Ok(Name { name, position })
    }

    /// `42601`: something else was expected here.
    pub(super) fn expected(&self, what: &str) -> SqlError {
        let message = format!("syntax error: expected {what}, found {}", self.describe_next());
        SqlError::new("42601", message).at(self.position())
    }

    /// The next token for people.
    pub(super) fn describe_next(&self) -> String {
        match self.token() {
            Token::EOF => "end of input".into(),
            token => token.to_string(),
        }
    }

    fn convert(&self, error: ParserError) -> SqlError {
        match error {
            ParserError::RecursionLimitExceeded => {
                SqlError::new("54001", "statement is nested too deeply").at(self.position())
            }
            ParserError::TokenizerError(message) | ParserError::ParserError(message) => {
                let (message, position) = split_location(&message, self.text);
                let message = lower_first(message).replace("found: EOF", "found: end of input");
                let message = message.replace("expected: ", "expected ").replace("found: ", "found ");
                SqlError::new("42601", format!("syntax error: {message}"))
                    .at(position.or(Some(self.text.end())))
            }
        }
    }
}

/// TOP is a word of other databases: here, as in PostgreSQL, it names columns.
fn unreserve(token: &mut Token) {
    if let Token::Word(word) = token
        && word.keyword == Keyword::TOP
    {
        word.keyword = Keyword::NoKeyword;
    }
}

/// Splits sqlparser's " at Line: 1, Column: 2" off its message.
fn split_location<'m>(message: &'m str, text: &Text) -> (&'m str, Option<u32>) {
    let Some((head, tail)) = message.rsplit_once(" at Line: ") else { return (message, None) };
    let Some((line, column)) = tail.split_once(", Column: ") else { return (message, None) };
    match (line.parse(), column.parse()) {
        (Ok(line), Ok(column)) => (head, text.position(Location { line, column })),
        _ => (message, None),
    }
}

fn lower_first(message: &str) -> String {
    let mut chars = message.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}
