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
use super::extended::{Portal, Prepared};
use super::message::{Format, Message};
use super::reply::{Severity, Status};
use super::running::{Running, Sink};
use super::settings::Settings;
use super::wire::{End, Wire};
use crate::ingress::Backend;
use headwater_sql::{
    Found, Parameter, Session as Said, SqlError, Statement, StatementKind, WriteOptions, parse,
};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Texts up to this long are read on the connection's own task; longer ones take milliseconds.
pub(super) const PARSE_HERE_BYTES: usize = 8 << 10;

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

/// The state of transactions, and whether definitions were changed in the block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transaction {
    pub(super) status: Status,
    pub(super) changed: bool,
}

/// A session.
pub(super) struct Session {
    pub wire: Wire,
    /// The client's.
    pub(super) address: IpAddr,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) settings: Settings,
    pub(super) start: Settings,
    pub(super) cancellable: Cancellable,
    pub(super) statements: HashMap<String, Prepared>,
    pub(super) portals: HashMap<String, Portal>,
    pub(super) transaction: Transaction,
    /// Bytes that statements and portals hold, and may.
    pub(super) held: usize,
    pub(super) held_max: usize,
    /// After an error of the extended protocol.
    pub(super) skips: bool,
}

impl Session {
    pub fn new(
        (wire, address): (Wire, IpAddr),
        backend: Arc<dyn Backend>,
        (settings, cancellable): (Settings, Cancellable),
        held_max: usize,
    ) -> Self {
        Self {
            wire,
            address,
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

    pub(super) fn warn(&mut self, code: &'static str, message: &str) {
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

    pub(super) fn complete(&mut self, statement: &Statement, running: &Running) {
        if let Some(skipped) = &running.rows.notice() {
            let code = if skipped.found == Found::Nothing { "00000" } else { "42P07" };
            self.wire.out.error(Severity::Notice, &SqlError::new(code, skipped.to_string()));
        }
        self.wire.out.complete(&running.tag());
        let changes = !statement.is_read()
            && !matches!(statement.kind, StatementKind::Copy(_) | StatementKind::Session(_));
        self.transaction.changed |= changes && self.transaction.status == Status::Block;
    }

    /// In a failed block only its end is taken.
    pub(super) fn check_transaction(&self, statement: &Statement) -> Result<(), SqlError> {
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
    pub(super) async fn begin(
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
        let is_read = statement.is_read() || matches!(statement.kind, StatementKind::Copy(_));
        let (statement, sink) = match (&statement.kind, statement.copied()) {
            (StatementKind::Copy(copy), Some(query)) => (Arc::new(query), Sink::Copy(copy.options.clone())),
            _ => (self.written(statement), Sink::Rows),
        };
        let stop = cancelled.clone().cancelled_owned();
        let options = self.settings.read_options();
        // A statement that is being applied ends with its outcome: whoever takes it for cancelled would do it again.
        let answer = tokio::select! {
            biased;
            answer = self.backend.run(statement, parameters, options, Box::pin(stop)) => answer?,
            end = self.wire.gone() => return Err(end.into()),
        };
        let cancelled = if is_read { cancelled } else { CancellationToken::new() };
        Ok(Running::new(answer, formats, sink, cancelled))
    }

    /// The statement as this session's settings want it written.
    fn written(&self, statement: &Arc<Statement>) -> Arc<Statement> {
        let write = self.settings.write_options();
        let written = (*write != WriteOptions::default()).then(|| statement.written(write)).flatten();
        written.map_or_else(|| Arc::clone(statement), Arc::new)
    }

    /// Sends rows, at most `rows_max` where that is not 0; true at the end.
    pub(super) async fn send(&mut self, running: &mut Running, rows_max: u64) -> Result<bool, Stop> {
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
}

pub(super) fn cancel() -> SqlError {
    SqlError::new("57014", "canceling statement due to user request")
}

pub(super) fn no_statement(name: &str) -> SqlError {
    SqlError::new("26000", format!("prepared statement \"{name}\" does not exist"))
}

/// Reads a text; long ones where it may take its time.
pub(super) async fn read(text: String) -> Result<Vec<Statement>, SqlError> {
    if text.len() <= PARSE_HERE_BYTES {
        return parse(&text);
    }
    let read = tokio::task::spawn_blocking(move || parse(&text)).await;
    read.unwrap_or_else(|_| Err(SqlError::new("XX000", "the statement could not be read")))
}
