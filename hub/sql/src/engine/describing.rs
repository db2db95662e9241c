//! What a statement will take and answer, before it runs: types of parameters, names and types of columns.

use super::answer::field_of;
use super::change::whole_query;
use super::tables::Tables;
use super::{
    Core, ReadOptions, combine, df_statement, expansion, exports, failure, names, parameters, returning,
    session, sizes, system,
};
use crate::compile::missing_table;
use crate::convert::type_of_field;
use crate::definition::TableDef;
use crate::error::SqlError;
use crate::parse::{CallName, CreateTable, Explain, Returning, Statement, StatementKind};
use datafusion::common::{DataFusionError, Result as DfResult};
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast;
use futures::FutureExt;
use headwater::schema::Field;
use headwater::value::DataType;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a statement takes and answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Description {
    /// The types of its parameters, in order.
    pub parameters: Vec<DataType>,
    /// The columns of its answer; none for commands.
    pub fields: Vec<Field>,
}

impl Core {
    /// `declared`: the types that whoever prepares it has told. On the statement's own thread.
    pub(super) fn describe_statement(
        &self,
        statement: &Statement,
        declared: &[Option<DataType>],
        options: ReadOptions,
    ) -> Result<Description, SqlError> {
        let tables = self.tables();
        let fields = match &statement.kind {
            StatementKind::Query { query, explain } => {
                return statement.with_stack(|| {
                    let parameters = self.types(statement, query, declared, (&tables, options))?;
                    let fields =
                        self.columns(statement, (query, *explain), &parameters, (&tables, options))?;
                    Ok(Description { parameters, fields })
                });
            }
            StatementKind::Insert(insert) => {
                return statement
                    .with_stack(|| self.describe_insert(statement, insert, declared, (&tables, options)));
            }
            StatementKind::Call(call) => {
                let data_type = match call.function {
                    CallName::TtlExpire => DataType::Int64,
                    _ => DataType::Bool,
                };
                vec![Field { name: call.name.clone(), data_type }]
            }
            StatementKind::CreateTable(CreateTable { query: Some(query), .. }) => {
                let parameters =
                    statement.with_stack(|| self.types(statement, query, declared, (&tables, options)))?;
                return Ok(Description { parameters, fields: Vec::new() });
            }
            StatementKind::Change(change) => {
                let catalog = tables.catalog();
                let table = catalog.table(&change.table.name);
                let table = table.ok_or_else(|| missing_table(&change.table, catalog))?;
                return statement.with_stack(|| {
                    let queries = vec![(whole_query(change, table)?, Arc::clone(&tables))];
                    let returning = change.returning.as_ref().map(|returning| (table, returning));
                    self.describe_changing(statement, queries, returning, declared, (&tables, options))
                });
            }
            StatementKind::Show(_) | StatementKind::Describe(_) => system::fields(&statement.kind),
            _ => Vec::new(),
        };
        Ok(Description { parameters: Vec::new(), fields })
    }

    /// A statement that changes a table: the queries that it is made of, and what it returns.
    pub(super) fn describe_changing(
        &self,
        statement: &Statement,
        mut queries: Vec<(ast::Query, Arc<Tables>)>,
        returning: Option<(&Arc<TableDef>, &Returning)>,
        declared: &[Option<DataType>],
        (tables, options): (&Arc<Tables>, ReadOptions),
    ) -> Result<Description, SqlError> {
        if let Some((table, returning)) = returning {
            let rows = tables.with_rows(&table.fields(), Vec::new())?;
            queries.push((returning::query(returning, statement)?, rows));
        }
        let mut known = declared.to_vec();
        known.resize(known.len().max(statement.parameters()), None);
        for (query, tables) in &queries {
            let found = self.types(statement, query, &known, (tables, options))?;
            for number in parameters::numbers(query) {
                let (slot, found) = (known.get_mut(number - 1), found.get(number - 1));
                if let (Some(slot @ None), Some(found)) = (slot, found) {
                    *slot = Some(found.clone());
                }
            }
        }
        known.truncate(statement.parameters());
        let parameters: Vec<_> = known.into_iter().map(|found| found.unwrap_or(DataType::Text)).collect();
        let fields = match returning {
            Some((table, returning)) => {
                self.returned_columns(returning, table, (statement, &parameters), (tables, options))?
            }
            None => Vec::new(),
        };
        Ok(Description { parameters, fields })
    }

    /// Declared ones, those that casts tell, those that DataFusion finds beside columns; text where nothing does.
    pub(super) fn types(
        &self,
        statement: &Statement,
        query: &ast::Query,
        declared: &[Option<DataType>],
        (tables, options): (&Arc<Tables>, ReadOptions),
    ) -> Result<Vec<DataType>, SqlError> {
        let count = parameters::count(query, &statement.text)?;
        let written = parameters::written_types(query);
        let told =
            |at: usize| declared.get(at).cloned().flatten().or_else(|| written.get(&(at + 1)).cloned());
        let mut types: Vec<Option<DataType>> = (0..count).map(told).collect();
        let mut arrays = BTreeSet::new();
        if types.iter().any(Option::is_none) {
            let known: Vec<_> = types.iter().map(|t| t.as_ref().map(parameters::null)).collect();
            let mut query = parameters::bind(query, &known, &statement.text)?;
            arrays = parameters::items_of_arrays(&mut query);
            if let Ok(prepared) = self.checked(&query, statement, session::Placeholders::Stay)
                && let Ok(plan) = logical(&self.state(tables, options), df_statement(prepared, None))
                && let Ok(found) = plan.get_parameter_fields()
            {
                for (name, field) in found {
                    let at = parameters::number(&name)?.saturating_sub(1);
                    if let (Some(slot @ None), Some(field)) = (types.get_mut(at), field) {
                        *slot = Some(type_of_field(&field)).filter(|found| *found != DataType::Null);
                        if arrays.remove(&(at + 1)) {
                            *slot = slot.take().map(|item| DataType::List(Box::new(item)));
                        }
                    }
                }
            }
        }
        let unknown = |at: usize| match arrays.contains(&(at + 1)) {
            true => DataType::List(Box::new(DataType::Text)),
            false => DataType::Text,
        };
        Ok(types.into_iter().enumerate().map(|(at, found)| found.unwrap_or_else(|| unknown(at))).collect())
    }

    /// The checks that every query goes through.
    pub(super) fn checked(
        &self,
        query: &ast::Query,
        statement: &Statement,
        placeholders: session::Placeholders,
    ) -> Result<ast::Query, SqlError> {
        sizes::check_keys(query, &statement.text)?;
        expansion::check_query(query, &statement.text, self.options.plan_nodes_max)?;
        session::prepare(query, &statement.text, placeholders)
    }

    pub(super) fn columns(
        &self,
        statement: &Statement,
        (query, explain): (&ast::Query, Option<Explain>),
        types: &[DataType],
        (tables, options): (&Arc<Tables>, ReadOptions),
    ) -> Result<Vec<Field>, SqlError> {
        let nulls: Vec<_> = types.iter().map(|data_type| Some(parameters::null(data_type))).collect();
        let bound = parameters::bind(query, &nulls, &statement.text)?;
        let prepared = self.checked(&bound, statement, session::Placeholders::Refused)?;
        let state = self.state(tables, options);
        let analyzed = logical(&state, df_statement(prepared, explain)).and_then(|plan| {
            expansion::check_plan(&plan, self.options.plan_nodes_max)?;
            let plan = exports::rewrite(combine::rewrite(plan)?)?;
            state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})
        });
        let plan = analyzed.map_err(|error| {
            failure::from_datafusion(error, &statement.text).with_catalog_hint(tables.catalog())
        })?;
        let fields = plan.schema().fields().iter().map(|field| field_of(field)).collect();
        Ok(match explain {
            None => names::finish(fields, query),
            Some(_) => fields,
        })
    }
}

fn logical(state: &SessionState, statement: datafusion::sql::parser::Statement) -> DfResult<LogicalPlan> {
    let waited = || DataFusionError::Internal("planning had to wait".to_owned());
    let plan = state.statement_to_plan(statement).now_or_never().ok_or_else(waited)??;
    super::read_only().verify_plan(&plan)?;
    Ok(plan)
}
