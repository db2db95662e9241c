//! A session: what messages do.
//!
//! Owns: prepared statements, portals, the state of transactions, and the order of replies. Must not know: bytes,
//! how statements run ([`Backend`]).
//! Invariants: after an error in the extended protocol everything is skipped up to Sync; a statement ends with one
//! of its completion, an error or a suspension; what prepared statements and portals hold is bounded.
//!
//! Transactions are blocks in name: every statement reads a snapshot of its own, and definitions change at once.
//! A ROLLBACK of such changes is answered with a warning that they stay.

use super::cancel::Cancellable;
use super::message::{Bind, Format, Message, Target};
use super::reply::{Severity, Status};
use super::running::{Running, Sink};
use super::settings::Settings;
use super::wire::{End, Wire};
use super::{parameter, types};
use crate::ingress::Backend;
use headwater::schema::Field;
use headwater_sql::{
    Description, PARAMETERS_MAX, Parameter, Session as Said, SqlError, Statement, StatementKind,
    WriteOptions, parse,
};
use std::collections::HashMap;
use std::sync::Arc;

/// Texts up to this long are read on the connection's own task; longer ones take milliseconds.
const PARSE_HERE_BYTES: usize = 8 << 10;
/// What a byte of a statement's text costs as a tree, about.
const TREE_BYTES: usize = 16;
/// The least that a prepared statement or a portal costs.
const ENTRY_BYTES: usize = 1 << 10;

/// Why a statement, or the connection, ended.
#[derive(Debug)]
pub(super) enum Stop {
    /// The statement; the session goes on.
    Error(SqlError),
    /// The connection.
    End(End),
}

impl From<SqlError> for Stop {
    fn from(error: SqlError) -> Self {
        Self::Error(error)
    }
}

impl From<End> for Stop {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

/// A statement that was read.
struct Prepared {
    /// `None` is an empty one.
    statement: Option<Arc<Statement>>,
    /// Types of parameters that the client told; 0 is not told.
    types: Vec<u32>,
    /// Once it was asked for.
    description: Option<Description>,
    bytes: usize,
}

/// A statement with values.
struct Portal {
    statement: Option<Arc<Statement>>,
    parameters: Vec<Parameter>,
    formats: Vec<Format>,
    /// What the client was told of its columns, if it asked before.
    described: Option<Vec<Field>>,
    running: Progress,
    bytes: usize,
}

enum Progress {
    New,
    Rows(Box<Running>),
    Done,
}

/// The state of transactions, and whether definitions were changed in the block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transaction {
    pub(super) status: Status,
    pub(super) changed: bool,
}

/// A session.
pub(super) struct Session {
    pub wire: Wire,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) settings: Settings,
    start: Settings,
    pub(super) cancellable: Cancellable,
    statements: HashMap<String, Prepared>,
    portals: HashMap<String, Portal>,
    pub(super) transaction: Transaction,
    /// Bytes that statements and portals hold, and may.
    held: usize,
    held_max: usize,
    /// After an error of the extended protocol.
    skips: bool,
}

impl Session {
    pub fn new(
        wire: Wire,
        backend: Arc<dyn Backend>,
        (settings, cancellable): (Settings, Cancellable),
        held_max: usize,
    ) -> Self {
        Self {
            wire,
            backend,
            start: settings.clone(),
            settings,
            cancellable,
            statements: HashMap::new(),
            portals: HashMap::new(),
            transaction: Transaction { status: Status::Idle, changed: false },
            held: 0,
            held_max,
            skips: false,
        }
    }

    /// Until the client has enough, or the connection ends otherwise.
    pub async fn run(&mut self) -> Result<(), End> {
        loop {
            let (message, _taken) = self.wire.message().await?;
            match message {
                Message::Terminate => return Ok(()),
                Message::Sync => self.sync().await?,
                _ if self.skips => {}
                Message::Query(text) => self.query(text).await?,
                // The rest of a COPY FROM that was refused.
                Message::CopyData(_) | Message::CopyDone | Message::CopyFail(_) => {}
                message => match self.extended(message).await {
                    Ok(()) => {}
                    Err(Stop::End(end)) => return Err(end),
                    Err(Stop::Error(error)) => {
                        self.fail(&error);
                        self.skips = true;
                        // Clients that sent Flush instead of Sync wait for it.
                        self.wire.flush().await?;
                    }
                },
            }
            // Messages that are there already are read without waiting: what answers them must not pile up, and
            // other connections have their turn.
            self.wire.relieve().await?;
            tokio::task::coop::consume_budget().await;
        }
    }

    fn fail(&mut self, error: &SqlError) {
        if self.transaction.status == Status::Block {
            self.transaction.status = Status::Failed;
        }
        self.wire.out.error(Severity::Error, error);
    }

    fn warn(&mut self, code: &'static str, message: &str) {
        self.wire.out.error(Severity::Warning, &SqlError::new(code, message));
    }

    async fn sync(&mut self) -> Result<(), End> {
        self.skips = false;
        self.ready().await
    }

    async fn ready(&mut self) -> Result<(), End> {
        if self.transaction.status == Status::Idle {
            self.close_portals();
        }
        self.wire.out.ready(self.transaction.status);
        self.wire.flush().await
    }

    /// The simple protocol: all statements of a text in order, up to the first error.
    async fn query(&mut self, text: String) -> Result<(), End> {
        self.close_statement("");
        self.close_portal("");
        match self.simple(text).await {
            Ok(()) => {}
            Err(Stop::Error(error)) => self.fail(&error),
            Err(Stop::End(end)) => return Err(end),
        }
        self.ready().await
    }

    async fn simple(&mut self, text: String) -> Result<(), Stop> {
        let statements = read(text).await?;
        if statements.is_empty() {
            self.wire.out.plain(b'I');
        }
        for statement in statements {
            let statement = Arc::new(statement);
            self.check_transaction(&statement)?;
            if let StatementKind::Session(said) = &statement.kind
                && !matches!(said, Said::Show(_))
            {
                self.control(said)?;
                self.wire.relieve().await?;
                continue;
            }
            if let StatementKind::CopyFrom(from) = &statement.kind {
                self.copy_in(from).await?;
                continue;
            }
            let mut running = self.begin(&statement, Vec::new(), Vec::new()).await?;
            if let Sink::Rows = running.sink
                && running.has_rows()
            {
                self.wire.out.columns(running.fields(), &[]);
            }
            self.send(&mut running, 0).await?;
            self.complete(&statement, &running);
            self.wire.relieve().await?;
        }
        Ok(())
    }

    fn complete(&mut self, statement: &Statement, running: &Running) {
        self.wire.out.complete(&running.tag());
        let changes = !statement.is_read()
            && !matches!(statement.kind, StatementKind::Copy(_) | StatementKind::Session(_));
        self.transaction.changed |= changes && self.transaction.status == Status::Block;
    }

    /// In a failed block only its end is taken.
    fn check_transaction(&self, statement: &Statement) -> Result<(), SqlError> {
        let ends = matches!(
            statement.kind,
            StatementKind::Session(Said::Commit | Said::Rollback | Said::RollbackTo)
        );
        if self.transaction.status == Status::Failed && !ends {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(SqlError::new("25P02", message));
        }
        Ok(())
    }

    /// Begins a statement: the answer of a query, of COPY or of SHOW.
    async fn begin(
        &mut self,
        statement: &Arc<Statement>,
        parameters: Vec<Parameter>,
        formats: Vec<Format>,
    ) -> Result<Running, Stop> {
        let cancelled = self.cancellable.begin();
        if let StatementKind::Session(Said::Show(name)) = &statement.kind {
            let name = name.as_ref().map(|name| name.name.as_str());
            return Ok(Running::shown(&self.settings, name, (formats, cancelled))?);
        }
        let (statement, sink) = match (&statement.kind, statement.copied()) {
            (StatementKind::Copy(copy), Some(query)) => (Arc::new(query), Sink::Copy(copy.options.clone())),
            _ => (self.written(statement), Sink::Rows),
        };
        let answer = self.backend.run(statement, parameters, self.settings.read_options());
        let answer = tokio::select! {
            biased;
            () = cancelled.cancelled() => return Err(cancel().into()),
            answer = answer => answer?,
            end = self.wire.gone() => return Err(end.into()),
        };
        Ok(Running::new(answer, formats, sink, cancelled))
    }

    /// The statement as this session's settings want it written.
    fn written(&self, statement: &Arc<Statement>) -> Arc<Statement> {
        let write = self.settings.write_options();
        let written = (*write != WriteOptions::default()).then(|| statement.written(write)).flatten();
        written.map_or_else(|| Arc::clone(statement), Arc::new)
    }

    /// Sends rows, at most `rows_max` where that is not 0; true at the end.
    async fn send(&mut self, running: &mut Running, rows_max: u64) -> Result<bool, Stop> {
        running.begin(&mut self.wire.out);
        loop {
            let batch = tokio::select! {
                biased;
                () = running.cancelled.cancelled() => return Err(cancel().into()),
                batch = running.rows.next() => batch?,
                end = self.wire.gone() => return Err(end.into()),
            };
            if !batch {
                running.end(&mut self.wire.out);
                return Ok(true);
            }
            while let Some(row) = running.rows.row() {
                running.write(&row, &mut self.wire.out)?;
                self.wire.relieve().await?;
                if running.sent == rows_max && rows_max > 0 {
                    return Ok(false);
                }
            }
        }
    }

    /// What changes the session itself.
    fn control(&mut self, said: &Said) -> Result<(), SqlError> {
        let tag = match said {
            Said::Begin => self.begin_block(),
            Said::Commit => self.end_block(true),
            Said::Rollback => self.end_block(false),
            Said::Savepoint => self.in_block("SAVEPOINT")?,
            Said::Release => self.in_block("RELEASE")?,
            Said::RollbackTo => {
                let tag = self.in_block("ROLLBACK")?;
                self.transaction.status = Status::Block;
                tag
            }
            Said::Set { name, value } => {
                let changed = match value {
                    Some(value) => self.settings.set(&name.name, Some(value)),
                    None => self.settings.reset_one(&name.name, &self.start.clone()),
                };
                self.tell(changed.map_err(|error| error.at(name.position))?);
                "SET"
            }
            Said::SetTransaction => "SET",
            Said::Reset(Some(name)) => {
                let changed = self.settings.reset_one(&name.name, &self.start.clone());
                self.tell(changed.map_err(|error| error.at(name.position))?);
                "RESET"
            }
            Said::Reset(None) => {
                self.reset();
                "RESET"
            }
            Said::Discard { all } => self.discard(*all)?,
            Said::Deallocate(name) => self.deallocate(name.as_ref())?,
            Said::CloseAll => {
                self.close_portals();
                "CLOSE CURSOR ALL"
            }
            Said::Unlisten => "UNLISTEN",
            other => return Err(SqlError::unsupported(format!("{other:?}"))),
        };
        self.wire.out.complete(tag);
        Ok(())
    }

    fn tell(&mut self, changed: Option<(&'static str, String)>) {
        if let Some((name, value)) = changed {
            self.wire.out.parameter(name, &value);
        }
    }

    fn reset(&mut self) {
        let changed = self.settings.reset(&self.start);
        changed.iter().for_each(|(name, value)| self.wire.out.parameter(name, value));
    }

    fn begin_block(&mut self) -> &'static str {
        match self.transaction.status {
            Status::Idle => self.transaction = Transaction { status: Status::Block, changed: false },
            _ => self.warn("25001", "there is already a transaction in progress"),
        }
        "BEGIN"
    }

    fn end_block(&mut self, commits: bool) -> &'static str {
        let was = self.transaction;
        self.transaction = Transaction { status: Status::Idle, changed: false };
        let undone = !commits || was.status == Status::Failed;
        if was.status == Status::Idle {
            self.warn("25P01", "there is no transaction in progress");
        } else if undone && was.changed {
            self.warn(
                "01000",
                "what this transaction changed stays: streams, views and tables as they are now, and what was inserted",
            );
        }
        if undone { "ROLLBACK" } else { "COMMIT" }
    }

    fn in_block(&self, tag: &'static str) -> Result<&'static str, SqlError> {
        match self.transaction.status {
            Status::Idle => {
                Err(SqlError::new("25P01", format!("{tag} can only be used in transaction blocks")))
            }
            _ => Ok(tag),
        }
    }

    fn discard(&mut self, all: bool) -> Result<&'static str, SqlError> {
        if !all {
            return Ok("DISCARD");
        }
        if self.transaction.status != Status::Idle {
            return Err(SqlError::new("25001", "DISCARD ALL cannot run inside a transaction block"));
        }
        self.close_portals();
        self.deallocate(None)?;
        self.reset();
        Ok("DISCARD ALL")
    }

    fn deallocate(&mut self, name: Option<&headwater_sql::Name>) -> Result<&'static str, SqlError> {
        match name {
            Some(name) if self.close_statement(&name.name) => Ok("DEALLOCATE"),
            Some(name) => Err(no_statement(&name.name)),
            None => {
                self.held -= self.statements.drain().map(|(_, prepared)| prepared.bytes).sum::<usize>();
                Ok("DEALLOCATE ALL")
            }
        }
    }

    /// The extended protocol.
    async fn extended(&mut self, message: Message) -> Result<(), Stop> {
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

    fn close_statement(&mut self, name: &str) -> bool {
        let closed = self.statements.remove(name);
        self.held -= closed.as_ref().map_or(0, |prepared| prepared.bytes);
        closed.is_some()
    }

    fn close_portal(&mut self, name: &str) {
        self.held -= self.portals.remove(name).map_or(0, |portal| portal.bytes);
    }

    fn close_portals(&mut self) {
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
        self.prepared(name)?.description = Some(found.clone());
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
        // NULL takes a place, too.
        let bytes = ENTRY_BYTES
            + values.len() * size_of::<Parameter>()
            + results.len() * size_of::<Format>()
            + values.iter().flatten().map(|value| 2 * value.len() + 64).sum::<usize>();
        let read = |(at, value)| {
            let format = super::reply::format_of(&formats, at);
            parameter::read(value, types.get(at).and_then(Option::as_ref), format)
        };
        let parameters = values.into_iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
        let new = Portal {
            statement: prepared.statement.clone(),
            parameters,
            formats: results,
            described: prepared.description.as_ref().map(|known| known.fields.clone()),
            running: Progress::New,
            bytes,
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
        self.start(name).await?;
        let portal = self.portals.get(name);
        match portal.map(|portal| &portal.running) {
            Some(Progress::Rows(running)) => self.wire.out.columns(running.fields(), &running.formats),
            _ => self.wire.out.plain(b'n'),
        }
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
        let running = std::mem::replace(&mut self.portal(name)?.running, Progress::Done);
        let Progress::Rows(mut running) = running else {
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
            self.wire.out.plain(b's');
            self.portal(name)?.running = Progress::Rows(running);
        }
        Ok(())
    }
}

pub(super) fn cancel() -> SqlError {
    SqlError::new("57014", "canceling statement due to user request")
}

fn no_statement(name: &str) -> SqlError {
    SqlError::new("26000", format!("prepared statement \"{name}\" does not exist"))
}

/// Reads a text; long ones where it may take its time.
async fn read(text: String) -> Result<Vec<Statement>, SqlError> {
    if text.len() <= PARSE_HERE_BYTES {
        return parse(&text);
    }
    let read = tokio::task::spawn_blocking(move || parse(&text)).await;
    read.unwrap_or_else(|_| Err(SqlError::new("XX000", "the statement could not be read")))
}

/// A prepared statement is one, or none.
fn one(mut statements: Vec<Statement>) -> Result<Option<Arc<Statement>>, SqlError> {
    match statements.len() {
        0 | 1 => Ok(statements.pop().map(Arc::new)),
        _ => Err(SqlError::new("42601", "cannot insert multiple commands into a prepared statement")),
    }
}

fn declared(types: &[u32]) -> Result<Vec<Option<headwater::value::DataType>>, SqlError> {
    let known = |oid: &u32| {
        types::data_type(*oid)
            .map_err(|oid| SqlError::unsupported(format!("a parameter of the type with the number {oid}")))
    };
    types.iter().map(known).collect()
}

/// The client's types first; then what was found out, if it was asked for.
fn parameter_types(
    prepared: &Prepared,
    count: usize,
) -> Result<Vec<Option<headwater::value::DataType>>, SqlError> {
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
