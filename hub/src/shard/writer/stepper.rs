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
        let submitted = self
            .shared
            .submit(frame, self.shared.options.limits)
            .now_or_never()
            .expect("there is room in the inbox");
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

    /// What the writer does between batches: folds that are due among it.
    pub(in crate::shard) fn background(&mut self) {
        self.writer.background(&self.shared);
    }

    /// Bytes of committed log that are not folded.
    pub(in crate::shard) fn log_bytes(&self) -> u64 {
        self.writer.groups.iter().map(|group| group.log.bytes()).sum()
    }

    /// The same, as the store has it.
    #[cfg(test)]
    fn unfolded_bytes(&self) -> u64 {
        let (snapshot, mut bytes) = (self.shared.store.snapshot().expect("reads"), 0);
        let sum = &mut |_: &[u8], record: &[u8]| {
            bytes += record.len() as u64;
            std::ops::ControlFlow::Continue(())
        };
        snapshot.scan(Table::Log, &[], None, sum).expect("scans");
        bytes
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

#[cfg(test)]
mod tests {
    use super::Stepper;
    use crate::shard::testing::{START, batch, catalog, eager, lazy, pid};
    use crate::shard::{Clock, ShardOptions, SweepOptions};
    use crate::store::MemoryStore;
    use headwater::ids::Micros;
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    /// A fold of the oldest layers halved the log in the writer's books whatever it took: with many layers left nothing
    /// was due any more, and a start had seconds of log to replay.
    #[test]
    fn folds_follow_one_another_until_the_log_is_short() {
        const BATCHES: u64 = 200;
        const GROUPS: u64 = 1_000;
        /// About half of what all of it takes.
        const LOG_MAX: u64 = 800_000;
        let options = ShardOptions { fold_log_bytes: LOG_MAX, ..lazy() };
        let (store, clock) = (Arc::new(MemoryStore::new()), Clock::unset(Arc::new(|| Micros(START))));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let catalog = runtime.block_on(catalog(1, 1));
        let mut hub = Stepper::open(store, options, catalog, clock, BTreeSet::new()).expect("opens");
        for seq in 1..=BATCHES {
            let keys: Vec<String> = (0..GROUPS).map(|i| format!("{:07}", seq * GROUPS + i)).collect();
            let events: Vec<(&str, i64)> = keys.iter().map(|key| (key.as_str(), 1)).collect();
            drop(hub.submit(batch(pid(1), seq, seq, &events)).expect("taken"));
            hub.commit(false);
        }
        let (before, mut folds) = (hub.log_bytes(), 0);
        assert!(before > LOG_MAX * 3 / 2, "{before} bytes of log to fold");
        while hub.unfolded_bytes() >= LOG_MAX {
            folds += 1;
            assert!(folds <= BATCHES, "{} bytes of log are left", hub.unfolded_bytes());
            hub.background();
            hub.commit(false);
        }
        assert_eq!(hub.log_bytes(), hub.unfolded_bytes(), "the books hold");
    }

    /// A view that had exploded kept more groups than it may for as long as nothing new came.
    #[test]
    fn a_view_above_its_cap_is_swept_when_nothing_new_comes() {
        let sweep = SweepOptions { rows: 50, rows_per_new: 0, page_rows: 10, exact_rows: 64 };
        let options = ShardOptions { view_groups_max: 100, sweep, ..eager() };
        let (store, clock) = (Arc::new(MemoryStore::new()), Clock::unset(Arc::new(|| Micros(START))));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let catalog = runtime.block_on(catalog(1, 1));
        let mut hub = Stepper::open(store, options, catalog, clock, BTreeSet::new()).expect("opens");
        let keys: Vec<String> = (0..1_000).map(|i| format!("{i:04}")).collect();
        let events: Vec<(&str, i64)> = keys.iter().map(|key| (key.as_str(), 1)).collect();
        drop(hub.submit(batch(pid(1), 1, 1, &events)).expect("taken"));
        let groups = |hub: &Stepper| hub.shared.status().views.iter().map(|view| view.groups).sum::<u64>();
        hub.commit(true);
        hub.commit(true);
        assert!(groups(&hub) > 900, "one fold does a piece of it");
        // By time, not rounds: folds take about a third of it, so after one that took long many rounds do nothing.
        let begun = Instant::now();
        while groups(&hub) > 100 || !hub.is_settled() {
            assert!(begun.elapsed() < Duration::from_secs(60), "{} groups are left", groups(&hub));
            hub.background();
            hub.commit(false);
        }
        let last = hub.shared.status().shards[0].last;
        for _ in 0..10 {
            hub.background();
            hub.commit(false);
        }
        assert_eq!(hub.shared.status().shards[0].last, last, "then the log rests");
    }
}
