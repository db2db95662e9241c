//! Cancel requests: which statement runs in which session, and who may stop it.
//!
//! Owns: numbers and secrets of sessions. Must not know: statements: stopping one is cancelling its token.

use super::scram::random;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// The sessions that there are.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    held: Mutex<HashMap<i32, Entry>>,
}

#[derive(Debug)]
struct Entry {
    secret: i32,
    running: CancellationToken,
}

/// A session's place among them, for as long as this lives.
#[derive(Debug)]
pub(super) struct Cancellable {
    pub process: i32,
    pub secret: i32,
    sessions: Arc<Sessions>,
}

impl Sessions {
    /// A number and a secret for a new session.
    pub fn enter(self: &Arc<Self>) -> Result<Cancellable, getrandom::Error> {
        let secret = i32::from_le_bytes(random()?);
        let mut held = self.lock();
        let process = loop {
            let process = i32::from_le_bytes(random()?) & i32::MAX;
            if process != 0 && !held.contains_key(&process) {
                break process;
            }
        };
        held.insert(process, Entry { secret, running: CancellationToken::new() });
        Ok(Cancellable { process, secret, sessions: Arc::clone(self) })
    }

    /// Stops what the session runs. Nobody is told whether there was any.
    pub fn cancel(&self, process: i32, secret: i32) {
        if let Some(entry) = self.lock().get(&process)
            && entry.secret == secret
        {
            entry.running.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i32, Entry>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cancellable {
    /// The token of the statement that begins now; requests that came before do not reach it.
    pub fn begin(&self) -> CancellationToken {
        let token = CancellationToken::new();
        if let Some(entry) = self.sessions.lock().get_mut(&self.process) {
            entry.running = token.clone();
        }
        token
    }
}

impl Drop for Cancellable {
    fn drop(&mut self) {
        self.sessions.lock().remove(&self.process);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_reaches_the_statement_at_hand_only() {
        let sessions = Arc::new(Sessions::default());
        let session = sessions.enter().expect("random");
        let first = session.begin();
        sessions.cancel(session.process, session.secret.wrapping_add(1));
        sessions.cancel(session.process.wrapping_add(1), session.secret);
        assert!(!first.is_cancelled());
        sessions.cancel(session.process, session.secret);
        assert!(first.is_cancelled());
        assert!(!session.begin().is_cancelled());
        drop(session);
        assert!(sessions.lock().is_empty());
    }
}
