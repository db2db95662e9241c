//! Text to statements: Headwater's DDL around sqlparser's queries.
//!
//! Owns: what a statement is, and that everything else is refused by name and position.
//! Must not know: the catalog, plans, execution.

mod alter;
mod call;
mod copy;
mod create;
mod cursor;
mod depth;
mod differs;
mod insert;
mod known;
mod refuse;
mod returning;
mod session;
mod table;

pub use copy::{CopyFormat, CopyFrom, CopyOptions, CopyTo, OnError};
pub use insert::{Insert, InsertLevel, OnConflict, OnUpdate, WriteOptions};
pub use returning::Returning;
pub(crate) use returning::{reading, select};
pub use session::Session;
pub(crate) use table::{ROWS, hidden, unhidden};

use crate::error::SqlError;
use crate::text::Text;
use cursor::Cursor;
use datafusion::sql::sqlparser::ast;

/// Longest SQL text taken, bytes.
pub const SQL_BYTES_MAX: usize = 256 * 1024;

/// One statement, cut out of a text; errors count positions from the start of that text.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// What it says.
    pub kind: StatementKind,
    pub(crate) text: Text,
    pub(crate) start: usize,
    pub(crate) end: usize,
    depth: usize,
}

/// Chains of operators up to this long are walked on whatever stack there is.
const SHALLOW: usize = 24;
/// Enough for the longest chain's levels of unoptimised planning code; only what is touched becomes real.
const DEEP_STACK_BYTES: usize = 64 << 20;

fn with_stack<T>(depth: usize, walk: impl FnOnce() -> T) -> T {
    if depth <= SHALLOW { walk() } else { stacker::grow(DEEP_STACK_BYTES, walk) }
}

impl Statement {
    /// The statement as it was typed.
    pub fn sql(&self) -> &str {
        self.text.as_str().get(self.start..self.end).unwrap_or_default().trim_end()
    }

    /// `42601`: this statement follows another one. Several at once would not be atomic, and all but the last
    /// one's answers lost.
    pub(crate) fn not_alone(&self) -> SqlError {
        SqlError::new("42601", "a request is one statement")
            .at(Some(self.text.position_of_byte(self.start)))
            .with_hint(
                "send one statement at a time; `headwater sql` takes several and sends them one by one",
            )
    }

    /// Where the defining SELECT of a view starts.
    pub(crate) fn query_position(&self) -> Option<u32> {
        match &self.kind {
            StatementKind::CreateView(create) => self.text.of(create.query.as_ref()),
            _ => None,
        }
    }

    /// Runs what walks this statement's trees, on a larger stack when they are deep.
    pub(crate) fn with_stack<T>(&self, walk: impl FnOnce() -> T) -> T {
        with_stack(self.depth, walk)
    }

    /// `0A000`: a face without sessions was asked for something that only they have.
    pub(crate) fn needs_session(&self) -> SqlError {
        if let StatementKind::Session(Session::Show(Some(name))) = &self.kind {
            return SqlError::unsupported(format!("SHOW {}", name.name.to_uppercase()))
                .at(name.position)
                .with_hint("SHOW STREAMS, SHOW VIEWS, SHOW TABLES or SHOW TRANSFORMS");
        }
        let word: String = self.sql().chars().take_while(char::is_ascii_alphabetic).collect();
        SqlError::unsupported(word.to_uppercase())
            .at(Some(self.text.position_of_byte(self.start)))
            .with_hint("a request has no session: connect with a PostgreSQL client")
    }

    /// How many parameters it has: the highest number.
    pub fn parameters(&self) -> usize {
        let queries = self.queries().into_iter().flatten();
        queries.map(|query| crate::engine::count_parameters(query, &self.text)).max().unwrap_or(0)
    }

    /// What of it can have parameters.
    fn queries(&self) -> [Option<&ast::Query>; 3] {
        match &self.kind {
            StatementKind::Query { query, .. }
            | StatementKind::CreateTable(CreateTable { query: Some(query), .. }) => [Some(query), None, None],
            StatementKind::Change(change) => {
                [Some(&change.query), None, change.returning.as_ref().map(|r| r.query.as_ref())]
            }
            StatementKind::Insert(insert) => [
                insert.source.as_deref(),
                insert.on_conflict.as_ref().and_then(|c| c.update.as_ref()).map(|u| u.query.as_ref()),
                insert.returning.as_ref().map(|r| r.query.as_ref()),
            ],
            _ => [None; 3],
        }
    }

    /// True for what changes rows and answers with them.
    pub fn returns(&self) -> bool {
        match &self.kind {
            StatementKind::Insert(insert) => insert.returning.is_some(),
            StatementKind::Change(change) => change.returning.is_some(),
            _ => false,
        }
    }

    /// The query behind a COPY, to be run as one.
    #[must_use]
    pub fn copied(&self) -> Option<Self> {
        let StatementKind::Copy(copy) = &self.kind else { return None };
        let kind = StatementKind::Query { query: copy.query.clone(), explain: None };
        Some(Self { kind, ..self.clone() })
    }

    /// The same statement, written as a session wants it; only INSERT is.
    #[must_use]
    pub fn written(&self, write: &WriteOptions) -> Option<Self> {
        let StatementKind::Insert(insert) = &self.kind else { return None };
        let insert = Insert { write: write.clone(), ..insert.as_ref().clone() };
        Some(Self { kind: StatementKind::Insert(Box::new(insert)), ..self.clone() })
    }

    /// True when its answer is rows: [`Self::is_read`], functions that change something, RETURNING.
    pub fn has_rows(&self) -> bool {
        self.is_read() || self.returns() || matches!(self.kind, StatementKind::Call(_))
    }

    /// True for everything that changes nothing: queries, EXPLAIN, SHOW, DESCRIBE.
    pub fn is_read(&self) -> bool {
        matches!(
            self.kind,
            StatementKind::Query { .. }
                | StatementKind::Show(_)
                | StatementKind::Describe(_)
                | StatementKind::ExplainView(_)
        )
    }
}

/// The statements there are.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum StatementKind {
    /// `CREATE STREAM`, `CREATE FOREIGN TABLE ... SERVER pipelinedb`
    CreateStream(CreateStream),
    /// `CREATE CONTINUOUS VIEW`, `CREATE VIEW ... WITH (action = materialize)`
    CreateView(CreateView),
    /// `DROP STREAM`, `DROP FOREIGN TABLE`
    DropStream(Drop),
    /// `DROP CONTINUOUS VIEW`, `DROP VIEW`
    DropView(Drop),
    /// `CREATE TABLE`
    CreateTable(CreateTable),
    /// `DROP TABLE`
    DropTable(Drop),
    /// `UPDATE`, `DELETE`
    Change(Change),
    /// `ALTER CONTINUOUS VIEW`, `ALTER VIEW`, `TRUNCATE`
    AlterView(AlterView),
    /// `SELECT activate('view')` and the other functions that change a view.
    Call(Call),
    /// `EXPLAIN CONTINUOUS VIEW name`
    ExplainView(Name),
    /// `SHOW STREAMS`, `SHOW VIEWS`, `SHOW TABLES`, `SHOW TRANSFORMS`
    Show(Show),
    /// `DESCRIBE name`
    Describe(Name),
    /// A SELECT, VALUES, WITH or UNION.
    Query {
        /// The query.
        query: Box<ast::Query>,
        /// `EXPLAIN [ANALYZE] [VERBOSE]`: show the plan instead of the answer.
        explain: Option<Explain>,
    },
    /// `COPY ... TO STDOUT`
    Copy(CopyTo),
    /// `COPY ... FROM STDIN`
    CopyFrom(CopyFrom),
    /// `INSERT INTO ...`
    Insert(Box<Insert>),
    /// What only a session can do: BEGIN, SET, ...
    Session(Session),
}

/// A folded name and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Name {
    /// Lower case unless it was quoted.
    pub name: String,
    /// 1-based character position.
    pub position: Option<u32>,
}

/// `CREATE STREAM`
#[derive(Clone, Debug, PartialEq)]
pub struct CreateStream {
    /// Its name.
    pub name: Name,
    /// Its columns.
    pub columns: Vec<headwater::schema::Field>,
    /// IF NOT EXISTS
    pub if_not_exists: bool,
}

/// `CREATE CONTINUOUS VIEW`
#[derive(Clone, Debug, PartialEq)]
pub struct CreateView {
    /// Its name.
    pub name: Name,
    /// IF NOT EXISTS
    pub if_not_exists: bool,
    /// OR REPLACE
    pub or_replace: bool,
    /// `WITH (name = value, ...)`, in order.
    pub options: Vec<WithOption>,
    /// The defining SELECT.
    pub query: Box<ast::Query>,
    /// The defining SELECT as it was typed.
    pub query_sql: String,
    /// It is a continuous transform, into these streams.
    pub transform: Option<Vec<Name>>,
}

/// One option of a WITH list.
#[derive(Clone, Debug, PartialEq)]
pub struct WithOption {
    /// Its folded name and where it stands.
    pub name: Name,
    /// Its value without quotes.
    pub value: String,
    /// Where the value stands.
    pub value_position: Option<u32>,
}

/// `CREATE TABLE`
#[derive(Clone, Debug, PartialEq)]
pub struct CreateTable {
    /// Its name.
    pub name: Name,
    /// IF NOT EXISTS
    pub if_not_exists: bool,
    /// Its columns; none where a query makes them.
    pub columns: Vec<crate::definition::TableColumn>,
    /// The columns of its primary key, and where they stand.
    pub key: Vec<Name>,
    /// `AS SELECT ...`
    pub query: Option<Box<ast::Query>>,
}

/// `UPDATE` or `DELETE`
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The table.
    pub table: Name,
    /// The columns behind SET; `None` for DELETE.
    pub set: Option<Vec<Name>>,
    /// `SELECT values FROM table WHERE condition`, the table under a name that shows which row is which.
    pub query: Box<ast::Query>,
    /// `RETURNING ...`
    pub returning: Option<Returning>,
}

/// `DROP ...`
#[derive(Clone, Debug, PartialEq)]
pub struct Drop {
    /// What.
    pub name: Name,
    /// IF EXISTS
    pub if_exists: bool,
    /// CASCADE: with everything that depends on it.
    pub cascade: bool,
    /// Whether CONTINUOUS TRANSFORM was written, or CONTINUOUS VIEW; a plain VIEW may be either.
    pub is_transform: Option<bool>,
}

/// `ALTER CONTINUOUS VIEW ...`
#[derive(Clone, Debug, PartialEq)]
pub struct AlterView {
    /// Which.
    pub name: Name,
    /// IF EXISTS
    pub if_exists: bool,
    /// What to do with it.
    pub action: AlterAction,
}

/// What ALTER and TRUNCATE do.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum AlterAction {
    /// RENAME TO
    Rename(Name),
    /// `SET (option = value, ...)`
    Set(Vec<WithOption>),
    /// `RESET (option, ...)`
    Reset(Vec<Name>),
    /// `ADD [COLUMN] expression [AS name]`
    Add {
        /// The column.
        item: Box<ast::SelectItem>,
        /// Where it stands.
        position: Option<u32>,
    },
    /// TRUNCATE
    Truncate,
}

/// A function that changes something.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Which.
    pub function: CallName,
    /// Its name as it was typed, folded and without its schema.
    pub name: String,
    /// The view; an empty name for functions of the hub.
    pub view: Name,
    /// What follows the view's name.
    pub arguments: Vec<Argument>,
    /// Where the function stands.
    pub position: Option<u32>,
}

/// The functions that change a view, or wait for the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallName {
    /// `activate(view)`
    Activate,
    /// `deactivate(view)`
    Deactivate,
    /// `truncate_continuous_view(view)`
    TruncateContinuousView,
    /// `set_ttl(view, ttl, column)`
    SetTtl,
    /// `ttl_expire(view)`
    TtlExpire,
    /// `flush()`
    Flush,
}

/// A literal argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Its text; `None` for NULL.
    pub value: Option<String>,
    /// Where it stands.
    pub value_position: Option<u32>,
}

/// `SHOW ...`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// All streams.
    Streams,
    /// All views.
    Views,
    /// All reference tables.
    Tables,
    /// All continuous transforms.
    Transforms,
}

/// `EXPLAIN ...`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Explain {
    /// Run it and show what it took.
    pub analyze: bool,
    /// More detail.
    pub verbose: bool,
}

/// Reads all statements of a text, separated by semicolons. An empty text has none.
///
/// # Errors
/// `42601` with the position of the first thing that does not parse; `0A000` for statements and clauses that
/// are understood but not supported; `54000` / `54001` for texts that are too long or too deep.
pub fn parse(sql: &str) -> Result<Vec<Statement>, SqlError> {
    if sql.len() > SQL_BYTES_MAX {
        return Err(SqlError::new("54000", format!("statement is longer than {SQL_BYTES_MAX} bytes")));
    }
    let text = Text::new(sql);
    let cursor = Cursor::new(&text)?;
    with_stack(cursor.depth(), || statements(&text, cursor))
}

fn statements(text: &Text, mut cursor: Cursor<'_>) -> Result<Vec<Statement>, SqlError> {
    let mut statements = Vec::new();
    while cursor.skip_semicolons() {
        let start = cursor.byte();
        let kind = statement(&mut cursor)?;
        cursor.expect_end_of_statement()?;
        statements.push(Statement {
            kind,
            text: text.clone(),
            start,
            end: cursor.last_byte(),
            depth: cursor.depth(),
        });
    }
    Ok(statements)
}

fn statement(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    if cursor.at_query() {
        return query(cursor, None);
    }
    if cursor.word("create") {
        return create::create(cursor);
    }
    if cursor.word("drop") {
        return create::drop(cursor);
    }
    if cursor.word("alter") {
        return alter::alter(cursor);
    }
    if cursor.word("truncate") {
        return alter::truncate(cursor);
    }
    if cursor.is_word(0, "update") || cursor.is_word(0, "delete") {
        return table::change(cursor);
    }
    if cursor.word("show") {
        return show(cursor);
    }
    if cursor.word("explain") {
        return explain(cursor);
    }
    if cursor.word("describe") || cursor.word("desc") {
        return Ok(StatementKind::Describe(cursor.name()?));
    }
    if cursor.word("copy") {
        return copy::copy(cursor);
    }
    if cursor.word("insert") {
        return insert::insert(cursor).map(Box::new).map(StatementKind::Insert);
    }
    if let Some(session) = session::statement(cursor)? {
        return Ok(StatementKind::Session(session));
    }
    Err(refuse::statement(cursor))
}

fn query(cursor: &mut Cursor<'_>, explain: Option<Explain>) -> Result<StatementKind, SqlError> {
    let query = known::known(cursor.query()?, cursor.text().as_str())?;
    refuse::query(cursor.text(), &query)?;
    if explain.is_none()
        && let Some(call) = call::call(cursor.text(), &query)?
    {
        return Ok(StatementKind::Call(call));
    }
    Ok(StatementKind::Query { query, explain })
}

fn explain(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    if cursor.words(&["continuous", "view"]) {
        return Ok(StatementKind::ExplainView(cursor.name()?));
    }
    let analyze = cursor.word("analyze");
    let verbose = cursor.word("verbose");
    if !cursor.at_query() {
        let at = cursor.position();
        return Err(SqlError::unsupported("EXPLAIN of anything but a query").at(at));
    }
    query(cursor, Some(Explain { analyze, verbose }))
}

fn show(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    if cursor.word("streams") {
        return Ok(StatementKind::Show(Show::Streams));
    }
    if cursor.word("views") || cursor.words(&["continuous", "views"]) {
        return Ok(StatementKind::Show(Show::Views));
    }
    if cursor.word("tables") {
        return Ok(StatementKind::Show(Show::Tables));
    }
    if cursor.word("transforms") || cursor.words(&["continuous", "transforms"]) {
        return Ok(StatementKind::Show(Show::Transforms));
    }
    session::show(cursor).map(StatementKind::Session)
}

#[cfg(test)]
mod tests;
