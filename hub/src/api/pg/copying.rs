//! `COPY ... FROM STDIN`: lines of a client, counted, or written to a table, when all have come.
//!
//! Owns: the messages of it. Must not know: how lines are read or counted. A client that fails or goes leaves nothing
//! behind: what was aggregated is dropped.

use super::message::Message;
use super::reply::{Severity, Status};
use super::session::{Session, Stop, cancel};
use super::wire::End;
use crate::ingest::lines::{Header, LineOptions, Lines};
use crate::ingest::{Load, Loading};
use crate::server::now;
use headwater_sql::{CopyFrom, SqlError};

/// Bytes that are read between two looks at other tasks.
const STEP_BYTES: usize = 64 << 10;

impl Session {
    /// The whole dialogue, up to the command's completion.
    pub(super) async fn copy_in(&mut self, from: &CopyFrom) -> Result<(), Stop> {
        let write = self.settings.write_options().clone();
        let (target, columns) = (from.target.clone(), from.columns.clone());
        let loading = Loading { target, columns, write, tables: true };
        let mut load = self.backend.load(&loading)?;
        let options = LineOptions {
            copy: from.options.clone(),
            header: if from.options.header { Header::Skipped } else { Header::None },
            on_error: from.on_error,
            line_bytes_max: load.options().line_bytes,
        };
        let (mut lines, columns) = load.lines(options);
        self.wire.out.copy_in(columns);
        self.wire.flush().await?;
        self.read_lines(&mut lines, &mut load).await?;
        let rows = load.finish(lines.places()).await?;
        if let Some((skipped, first)) = lines.skipped() {
            let plural = if skipped == 1 { " was" } else { "s were" };
            let message = format!("{skipped} row{plural} skipped; the first: {}", first.message);
            self.wire.out.error(Severity::Notice, &SqlError::new("00000", message));
        }
        self.wire.out.complete(&format!("COPY {rows}"));
        self.transaction.changed |= rows > 0 && self.transaction.status == Status::Block;
        Ok(())
    }

    /// Until the client says that it is done.
    async fn read_lines(&mut self, lines: &mut Lines, load: &mut Load) -> Result<(), Stop> {
        let cancelled = self.cancellable.begin();
        loop {
            let message = tokio::select! {
                biased;
                () = cancelled.cancelled() => return Err(cancel().into()),
                message = self.wire.message() => message?,
            };
            match message {
                (Message::CopyData(bytes), _taken) => {
                    for bytes in bytes.chunks(STEP_BYTES) {
                        lines.feed(bytes, now(), &mut |batch| load.push(batch))?;
                        tokio::task::yield_now().await;
                    }
                }
                (Message::CopyDone, _) => return Ok(lines.end(now(), &mut |batch| load.push(batch))?),
                (Message::CopyFail(reason), _) => {
                    return Err(SqlError::new("57014", format!("COPY from stdin failed: {reason}")).into());
                }
                (Message::Flush | Message::Sync, _) => {}
                (Message::Terminate, _) => return Err(End::Gone.into()),
                _ => return Err(SqlError::new("08P01", "unexpected message during COPY from stdin").into()),
            }
        }
    }
}
