//! The extended protocol: statements prepared, bound, described and executed.
//!
//! Owns: prepared statements and portals, and the estimate of what they hold. Must not know: bytes, how statements run.
//! Invariants: a portal runs once; what it shares with its statement counts for both, so that neither is free when the
//! other is closed; an answer that waits for the client counts with the rows that it has read.

use super::holding::description_bytes;
use super::message::{Bind, Format, Message, Target};
use super::parameter;
use super::running::Running;
use super::session::{PARSE_HERE_BYTES, Session, Stop, cancel, no_statement, read};
use super::types;
use bytes::Bytes;
use headwater::schema::Field;
use headwater::value::DataType;
use headwater_sql::{
    Description, PARAMETERS_MAX, Parameter, Session as Said, SqlError, Statement, StatementKind,
};
use std::sync::Arc;

/// What a byte of a statement's text costs as a tree, about.
const TREE_BYTES: usize = 16;
/// The least that a prepared statement or a portal costs.
const ENTRY_BYTES: usize = 1 << 10;

/// A statement that was read.
pub(super) struct Prepared {
    /// `None` is an empty one.
    statement: Option<Arc<Statement>>,
    /// Types of parameters that the client told; 0 is not told.
    types: Vec<u32>,
    /// Once it was asked for.
    description: Option<Description>,
    pub(super) bytes: usize,
}

/// A statement with values.
pub(super) struct Portal {
    statement: Option<Arc<Statement>>,
    parameters: Vec<Parameter>,
    formats: Vec<Format>,
    /// What the client was told of its columns, if it asked before.
    described: Option<Vec<Field>>,
    running: Progress,
    bytes: usize,
    /// Of these, what a suspended answer holds.
    suspended: usize,
}

pub(super) enum Progress {
    New,
    Rows(Box<Running>),
    Done,
}

impl Session {
    /// The extended protocol.
    pub(super) async fn extended(&mut self, message: Message) -> Result<(), Stop> {
        match message {
            Message::Parse { name, text, types } => self.parse(name, text, types).await,
            Message::Bind(bind) => self.bind(*bind).await,
            Message::Describe(Target::Statement(name)) => self.describe_statement(&name).await,
            Message::Describe(Target::Portal(name)) => self.describe_portal(&name).await,
            Message::Execute { portal, rows_max } => self.execute(&portal, rows_max).await,
            Message::Close(target) => {
                match target {
                    Target::Statement(name) => drop(self.close_statement(&name)),
                    Target::Portal(name) => self.close_portal(&name),
                }
                self.wire.out.plain(b'3');
                Ok(())
            }
            Message::Flush => Ok(self.wire.flush().await?),
            _ => Err(SqlError::new("08P01", "this message has no place here").into()),
        }
    }

    async fn parse(&mut self, name: String, text: String, types: Vec<u32>) -> Result<(), Stop> {
        if !name.is_empty() && self.statements.contains_key(&name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(SqlError::new("42P05", message).into());
        }
        self.close_statement(&name);
        let bytes = ENTRY_BYTES + name.len() + text.len() * TREE_BYTES + types.len() * size_of::<u32>();
        self.hold(bytes)?;
        let prepared = match read(text).await.and_then(one) {
            Ok(statement) => Prepared { statement, types, description: None, bytes },
            Err(error) => {
                self.held -= bytes;
                return Err(error.into());
            }
        };
        if let Some(statement) = &prepared.statement
            && let Err(error) = self.check_transaction(statement)
        {
            self.held -= bytes;
            return Err(error.into());
        }
        self.statements.insert(name, prepared);
        self.wire.out.plain(b'1');
        Ok(())
    }

    fn hold(&mut self, bytes: usize) -> Result<(), SqlError> {
        if self.held.saturating_add(bytes) > self.held_max {
            return Err(SqlError::new("53200", "prepared statements and portals take too much memory")
                .with_hint("close some, or raise pg_session_bytes_max"));
        }
        self.held += bytes;
        Ok(())
    }

    pub(super) fn close_statement(&mut self, name: &str) -> bool {
        let closed = self.statements.remove(name);
        self.held -= closed.as_ref().map_or(0, |prepared| prepared.bytes);
        closed.is_some()
    }

    pub(super) fn close_portal(&mut self, name: &str) {
        self.held -= self.portals.remove(name).map_or(0, |portal| portal.bytes);
    }

    pub(super) fn close_portals(&mut self) {
        self.held -= self.portals.drain().map(|(_, portal)| portal.bytes).sum::<usize>();
    }

    fn prepared(&mut self, name: &str) -> Result<&mut Prepared, SqlError> {
        self.statements.get_mut(name).ok_or_else(|| no_statement(name))
    }

    /// What a statement takes and answers, found out once.
    async fn description(&mut self, name: &str) -> Result<Description, Stop> {
        let options = self.settings.read_options();
        let prepared = self.prepared(name)?;
        if let Some(known) = &prepared.description {
            return Ok(known.clone());
        }
        let declared = declared(&prepared.types)?;
        let found = match &prepared.statement {
            None => Description::default(),
            Some(statement) => match &statement.kind {
                StatementKind::Session(Said::Show(name)) => {
                    let fields = Running::shown_fields(name.as_ref().map(|name| name.name.as_str()));
                    Description { fields, ..Description::default() }
                }
                StatementKind::Session(_) | StatementKind::Copy(_) | StatementKind::CopyFrom(_) => {
                    Description::default()
                }
                _ => {
                    let statement = Arc::clone(statement);
                    let cancelled = self.cancellable.begin();
                    let described = self.backend.describe(statement, declared, options);
                    tokio::select! {
                        biased;
                        () = cancelled.cancelled() => return Err(cancel().into()),
                        described = described => described?,
                        end = self.wire.gone() => return Err(end.into()),
                    }
                }
            },
        };
        let bytes = description_bytes(&found);
        self.hold(bytes)?;
        let prepared = self.prepared(name)?;
        prepared.bytes += bytes;
        prepared.description = Some(found.clone());
        Ok(found)
    }

    async fn describe_statement(&mut self, name: &str) -> Result<(), Stop> {
        let description = self.description(name).await?;
        let prepared = self.prepared(name)?;
        let told = &prepared.types;
        let spells_oids = prepared.statement.as_ref().is_some_and(|s| s.sql().contains("::oid[]"));
        let oid = |(at, data_type)| match told.get(at) {
            None | Some(0 | 705) if spells_oids => types::oid_or_oids(data_type),
            None | Some(0 | 705) => types::oid(data_type),
            Some(told) => *told,
        };
        let oids: Vec<u32> = description.parameters.iter().enumerate().map(oid).collect();
        self.wire.out.parameters(&oids);
        match description.fields.as_slice() {
            [] => self.wire.out.plain(b'n'),
            fields => self.wire.out.columns(fields, &[]),
        }
        Ok(())
    }

    async fn bind(&mut self, bind: Bind) -> Result<(), Stop> {
        let Bind { portal, statement, formats, values, results } = bind;
        if !portal.is_empty() && self.portals.contains_key(&portal) {
            return Err(SqlError::new("42P03", format!("portal \"{portal}\" already exists")).into());
        }
        self.close_portal(&portal);
        let prepared = self.prepared(&statement)?;
        let is_binary = |at| super::reply::format_of(&formats, at) == Format::Binary;
        let untold = |at: usize| matches!(prepared.types.get(at), None | Some(0 | 705));
        let is_asked = (0..values.len()).any(|at| is_binary(at) && untold(at));
        if is_asked {
            self.description(&statement).await?;
        }
        let prepared = self.prepared(&statement)?;
        check_counts(prepared, values.len(), &formats)?;
        let types = parameter_types(prepared, values.len())?;
        // NULL takes a place, too; and what was read and described stays for as long as the portal does.
        let bytes = ENTRY_BYTES
            + prepared.bytes
            + values.len() * size_of::<Parameter>()
            + results.len() * size_of::<Format>()
            + values.iter().flatten().map(|value| 2 * value.len() + 64).sum::<usize>();
        let (statement, described) = (prepared.statement.clone(), prepared.description.clone());
        let parameters = parameters(values, types, formats).await?;
        let new = Portal {
            statement,
            parameters,
            formats: results,
            described: described.map(|known| known.fields),
            running: Progress::New,
            bytes,
            suspended: 0,
        };
        if let Some(statement) = &new.statement {
            self.check_transaction(statement)?;
        }
        self.hold(bytes)?;
        self.portals.insert(portal, new);
        self.wire.out.plain(b'2');
        Ok(())
    }

    fn portal(&mut self, name: &str) -> Result<&mut Portal, SqlError> {
        let missing = || SqlError::new("34000", format!("portal \"{name}\" does not exist"));
        self.portals.get_mut(name).ok_or_else(missing)
    }

    /// Statements that answer rows begin to run here: then their columns are known, without planning them twice.
    async fn describe_portal(&mut self, name: &str) -> Result<(), Stop> {
        let portal = self.portal(name)?;
        let has_rows = portal.statement.as_ref().is_some_and(|statement| {
            statement.has_rows() || matches!(statement.kind, StatementKind::Session(Said::Show(_)))
        });
        if !has_rows {
            self.wire.out.plain(b'n');
            return Ok(());
        }
        if portal.statement.as_ref().is_some_and(|statement| !statement.is_read() && statement.has_rows()) {
            return self.describe_returning(name).await;
        }
        self.start(name).await?;
        let portal = self.portals.get(name);
        match portal.map(|portal| &portal.running) {
            Some(Progress::Rows(running)) => self.wire.out.columns(running.fields(), &running.formats),
            _ => self.wire.out.plain(b'n'),
        }
        Ok(())
    }

    /// Who only asks for columns has changed nothing: such a statement is described, not begun.
    async fn describe_returning(&mut self, name: &str) -> Result<(), Stop> {
        let options = self.settings.read_options();
        let portal = self.portal(name)?;
        let fields = match (&portal.described, portal.statement.clone()) {
            (Some(fields), _) => fields.clone(),
            (None, Some(statement)) => {
                let declared = portal.parameters.iter().map(|value| value.data_type.clone()).collect();
                let cancelled = self.cancellable.begin();
                let described = self.backend.describe(statement, declared, options);
                let described = tokio::select! {
                    biased;
                    () = cancelled.cancelled() => return Err(cancel().into()),
                    described = described => described?,
                    end = self.wire.gone() => return Err(end.into()),
                };
                described.fields
            }
            (None, None) => Vec::new(),
        };
        let portal = self.portal(name)?;
        portal.described = Some(fields.clone());
        let formats = portal.formats.clone();
        self.wire.out.columns(&fields, &formats);
        Ok(())
    }

    /// Begins to run a portal, unless it runs already.
    async fn start(&mut self, name: &str) -> Result<(), Stop> {
        let portal = self.portal(name)?;
        let (Progress::New, Some(statement)) = (&portal.running, portal.statement.clone()) else {
            return Ok(());
        };
        self.check_transaction(&statement)?;
        let portal = self.portal(name)?;
        let (parameters, formats) = (std::mem::take(&mut portal.parameters), portal.formats.clone());
        let described = portal.described.clone();
        let running = self.begin(&statement, parameters, formats).await?;
        running.check(described.as_deref())?;
        self.portal(name)?.running = Progress::Rows(Box::new(running));
        Ok(())
    }

    async fn execute(&mut self, name: &str, rows_max: u32) -> Result<(), Stop> {
        let Some(statement) = self.portal(name)?.statement.clone() else {
            self.wire.out.plain(b'I');
            return Ok(());
        };
        self.check_transaction(&statement)?;
        if let StatementKind::Session(said) = &statement.kind
            && !matches!(said, Said::Show(_))
        {
            return Ok(self.control(said)?);
        }
        if let StatementKind::CopyFrom(from) = &statement.kind {
            return self.copy_in(from).await;
        }
        self.start(name).await?;
        let Progress::Rows(mut running) = self.resume(name)? else {
            return match statement.is_read() {
                true => {
                    self.wire.out.complete("SELECT 0");
                    Ok(())
                }
                false => Err(SqlError::new("55000", format!("portal \"{name}\" cannot be run again")).into()),
            };
        };
        running.sent = 0;
        running.cancelled = self.cancellable.begin();
        if self.send(&mut running, u64::from(rows_max)).await? {
            self.complete(&statement, &running);
        } else {
            self.suspend(name, running)?;
        }
        Ok(())
    }

    /// Keeps what is left of an answer until the client asks for more of it.
    fn suspend(&mut self, name: &str, running: Box<Running>) -> Result<(), SqlError> {
        let bytes = running.rows.bytes();
        self.hold(bytes)?;
        let portal = self.portal(name)?;
        portal.bytes += bytes;
        portal.suspended = bytes;
        portal.running = Progress::Rows(running);
        self.wire.out.plain(b's');
        Ok(())
    }

    /// Takes a portal's answer out of it, to go on.
    fn resume(&mut self, name: &str) -> Result<Progress, SqlError> {
        let portal = self.portal(name)?;
        let bytes = std::mem::take(&mut portal.suspended);
        portal.bytes -= bytes;
        let progress = std::mem::replace(&mut portal.running, Progress::Done);
        self.held -= bytes;
        Ok(progress)
    }
}

/// A prepared statement is one, or none.
fn one(mut statements: Vec<Statement>) -> Result<Option<Arc<Statement>>, SqlError> {
    match statements.len() {
        0 | 1 => Ok(statements.pop().map(Arc::new)),
        _ => Err(SqlError::new("42601", "cannot insert multiple commands into a prepared statement")),
    }
}

fn declared(types: &[u32]) -> Result<Vec<Option<DataType>>, SqlError> {
    let known = |oid: &u32| {
        types::data_type(*oid)
            .map_err(|oid| SqlError::unsupported(format!("a parameter of the type with the number {oid}")))
    };
    types.iter().map(known).collect()
}

/// The client's types first; then what was found out, if it was asked for.
fn parameter_types(prepared: &Prepared, count: usize) -> Result<Vec<Option<DataType>>, SqlError> {
    let told = declared(&prepared.types)?;
    let found = prepared.description.as_ref().map(|known| known.parameters.as_slice()).unwrap_or_default();
    Ok((0..count).map(|at| told.get(at).cloned().flatten().or_else(|| found.get(at).cloned())).collect())
}

fn check_counts(prepared: &Prepared, values: usize, formats: &[Format]) -> Result<(), SqlError> {
    if !(formats.len() <= 1 || formats.len() == values) {
        let message = format!("bind message has {} parameter formats but {values} parameters", formats.len());
        return Err(SqlError::new("08P01", message));
    }
    let wanted = match &prepared.description {
        Some(known) => known.parameters.len(),
        None => prepared.statement.as_ref().map_or(0, |statement| statement.parameters()),
    };
    if values != wanted || values > PARAMETERS_MAX {
        let message = format!(
            "bind message supplies {values} parameters, but the prepared statement requires {wanted}"
        );
        return Err(SqlError::new("08P01", message));
    }
    Ok(())
}

/// Reads values; many or long ones where it may take its time.
async fn parameters(
    values: Vec<Option<Bytes>>,
    types: Vec<Option<DataType>>,
    formats: Vec<Format>,
) -> Result<Vec<Parameter>, SqlError> {
    let value_bytes = |value: &Option<Bytes>| size_of::<Parameter>() + value.as_ref().map_or(0, Bytes::len);
    let bytes: usize = values.iter().map(value_bytes).sum();
    let read = move || -> Result<Vec<Parameter>, SqlError> {
        let read = |(at, value)| {
            let format = super::reply::format_of(&formats, at);
            parameter::read(value, types.get(at).and_then(Option::as_ref), format)
        };
        values.into_iter().enumerate().map(read).collect()
    };
    if bytes <= PARSE_HERE_BYTES {
        return read();
    }
    let read = tokio::task::spawn_blocking(read).await;
    read.unwrap_or_else(|_| Err(SqlError::new("XX000", "the parameters could not be read")))
}
