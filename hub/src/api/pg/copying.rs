//! `COPY ... FROM STDIN`: lines of a client, counted, or written to a table, when all have come.
//!
//! Owns: the messages of it. Must not know: how lines are read or counted. A client that fails or goes leaves nothing
//! behind: what was aggregated is dropped.

use super::message::Message;
use super::reply::{Severity, Status};
use super::session::{Session, Stop, cancel};
use super::wire::{End, Wire};
use crate::ingest::lines::{Header, LineOptions, Lines};
use crate::ingest::{Load, Loading, Pace};
use crate::ingress::budget::Taken;
use crate::server::now;
use headwater_sql::{CopyFrom, SqlError};

impl Session {
    /// The whole dialogue, up to the command's completion.
    pub(super) async fn copy_in(&mut self, from: &CopyFrom) -> Result<(), Stop> {
        let write = self.settings.write_options().clone();
        let (target, columns, from_address) = (from.target.clone(), from.columns.clone(), self.address);
        let loading = Loading { target, columns, write, from: Some(from_address), tables: true };
        let mut load = self.backend.load(&loading)?;
        let options = LineOptions {
            copy: from.options.clone(),
            header: if from.options.header { Header::Skipped } else { Header::None },
            end_mark: true,
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
        let mut pace = Pace::new(load.options().pace);
        loop {
            let message = tokio::select! {
                biased;
                () = cancelled.cancelled() => return Err(cancel().into()),
                message = next(&mut self.wire, load.has_place().then_some(&mut pace)) => message?,
            };
            match message {
                (Message::CopyData(bytes), _taken) => {
                    pace.came(bytes.len());
                    for bytes in bytes.chunks(load.step_bytes()) {
                        lines.feed(bytes, now(), &mut |batch| {
                            load.push(batch);
                            Ok(())
                        })?;
                        load.step(bytes.len()).await?;
                        tokio::task::yield_now().await;
                    }
                }
                (Message::CopyDone, _) => {
                    return Ok(lines.end(now(), &mut |batch| {
                        load.push(batch);
                        Ok(())
                    })?);
                }
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

/// The next message, in time where the load holds a place.
async fn next(wire: &mut Wire, pace: Option<&mut Pace>) -> Result<(Message, Option<Taken>), Stop> {
    match pace {
        None => Ok(wire.message().await?),
        Some(pace) => match pace.wait(wire.message()).await {
            Some(message) => Ok(message?),
            None => {
                let message = "rows of COPY come too slowly: less than 64 KiB within frame_ms";
                let hint = "a COPY holds one of few places: send what there is, and begin another for what comes later";
                Err(SqlError::new("57014", message).with_hint(hint).into())
            }
        },
    }
}
