//! What changes the session itself: blocks, settings, and what is known by name.
//!
//! Owns: the answers to BEGIN and its kin, SET, RESET, DISCARD, DEALLOCATE. Must not know: bytes, how statements run.

use super::reply::Status;
use super::session::{Session, Transaction, no_statement};
use headwater_sql::{Session as Said, SqlError};

impl Session {
    /// What changes the session itself.
    pub(super) fn control(&mut self, said: &Said) -> Result<(), SqlError> {
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
}
