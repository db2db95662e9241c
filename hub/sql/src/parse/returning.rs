//! `RETURNING`, and what else of a statement is an expression over rows: a SELECT that does not say what it reads.

use super::cursor::Cursor;
use super::{refuse, with_stack};
use crate::error::SqlError;
use crate::text::Text;
use datafusion::sql::sqlparser::ast::{Expr, Query, SelectItem, SetExpr};

/// `RETURNING item, ...`
#[derive(Clone, Debug, PartialEq)]
pub struct Returning {
    /// `SELECT item, ...` of the rows that were changed, as they are now, or were before a DELETE.
    pub query: Box<Query>,
    /// What the rows are called: the table's name or its alias.
    pub of: String,
    /// Where it stands.
    pub position: Option<u32>,
}

impl Returning {
    pub(super) fn new(
        text: &Text,
        items: Vec<SelectItem>,
        (of, position): (String, Option<u32>),
    ) -> Result<Self, SqlError> {
        let query = select(items, None)?;
        refuse::query(text, &query)?;
        Ok(Self { query, of, position })
    }

    /// The clause, if it stands here.
    pub(super) fn read(cursor: &mut Cursor<'_>, of: &str) -> Result<Option<Self>, SqlError> {
        let position = cursor.position();
        if !cursor.word("returning") {
            return Ok(None);
        }
        let items = cursor.select_items()?;
        Self::new(cursor.text(), items, (of.to_owned(), position)).map(Some)
    }
}

/// A SELECT without FROM.
pub(crate) fn select(items: Vec<SelectItem>, condition: Option<Expr>) -> Result<Box<Query>, SqlError> {
    let text = Text::new("SELECT 1");
    let mut cursor = Cursor::new(&text)?;
    let mut query = cursor.query()?;
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection = items;
        select.selection = condition;
    }
    Ok(query)
}

/// The same SELECT with `from`, which is what stands behind FROM.
pub(crate) fn reading(query: &Query, from: &str) -> Result<Query, SqlError> {
    let text = Text::new(&format!("SELECT 1 FROM {from}"));
    let mut cursor = Cursor::new(&text)?;
    let read = with_stack(cursor.depth(), || cursor.query())?;
    let mut query = query.clone();
    if let (SetExpr::Select(whole), SetExpr::Select(read)) = (query.body.as_mut(), *read.body) {
        whole.from = read.from;
    }
    Ok(query)
}
