//! The writer without its thread: simulations decide when it commits, folds and fails.

use super::*;
use headwater::wire::BatchFrame;
use std::collections::BTreeSet;
use tokio::sync::mpsc::UnboundedReceiver;

/// One hub's shard groups, moved step by step.
pub(in crate::shard) struct Stepper {
    pub(in crate::shard) shared: Arc<Shared>,
    writer: Writer,
    inbox: Receiver<Message>,
    bugs: BTreeSet<&'static str>,
}

impl Stepper {
    /// Opens the shard groups of `store`, with `bugs` planted in their cores.
    pub(in crate::shard) fn open(
        store: Arc<dyn Store>,
        options: ShardOptions,
        catalog: Catalog,
        clock: Clock,
        bugs: BTreeSet<&'static str>,
    ) -> Result<Self, StoreError> {
        let (shared, writer, inbox) = open(store, options, catalog, clock)?;
        let mut stepper = Self { shared, writer, inbox, bugs };
        stepper.plant();
        Ok(stepper)
    }

    fn plant(&mut self) {
        self.writer.groups.iter_mut().for_each(|group| group.core.bugs.clone_from(&self.bugs));
    }

    /// Hands a batch in, as a door does, and lets the writer have it.
    pub(in crate::shard) fn submit(
        &mut self,
        frame: BatchFrame,
    ) -> Result<UnboundedReceiver<Outcome>, Refused> {
        use futures::FutureExt;
        let submitted = self.shared.submit(frame).now_or_never().expect("there is room in the inbox");
        while let Ok(message) = self.inbox.try_recv() {
            if let Message::Batch(batch) = message {
                self.writer.handle_batch(&self.shared, batch);
            }
        }
        submitted
    }

    pub(in crate::shard) fn resume(&mut self, resume: Resume) -> Result<Resumed, Refused> {
        self.writer.handle_resume(&self.shared, resume)
    }

    /// A group commit, if there is anything to commit; a fold may ride on it, or have a transaction of its own.
    pub(in crate::shard) fn commit(&mut self, fold: bool) {
        if self.writer.failed.is_none() && (fold || !self.writer.pending.is_empty()) {
            self.writer.transact(&self.shared, fold);
        }
    }

    pub(in crate::shard) fn expire(&mut self) {
        if self.writer.failed.is_none() {
            self.writer.expire(&self.shared);
        }
    }

    /// Tries a store that had failed again.
    pub(in crate::shard) fn retry(&mut self) {
        if self.writer.failed.is_some() {
            self.writer.next_retry = Instant::now();
            self.writer.retry(&self.shared);
            self.plant();
        }
    }

    /// Nothing waits for a commit or a fold.
    pub(in crate::shard) fn is_settled(&self) -> bool {
        self.writer.failed.is_none() && self.writer.pending.is_empty() && !self.writer.fold_is_left()
    }
}
