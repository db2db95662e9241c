//! A fold on its way: what it takes, and its part of the transaction.

use crate::shard::core::{Fold, OutputRecord};
use crate::shard::fold::{FoldOf, fold_layers};
use crate::shard::ledger::{Ledger, Total};
use crate::shard::open::Group;
use crate::shard::options::ShardOptions;
use crate::shard::overlay::Layer;
use crate::shard::stats::{StatsByView, ViewStats};
use crate::shard::views::Views;
use crate::store::tables::{group_key, log_key, session_birth_key, session_key};
use crate::store::{StoreError, Table, Transaction};
use headwater::ids::{Micros, ViewId};
use std::sync::Arc;

/// What only a fold finds out.
pub(super) fn folded_counts(before: &StatsByView, after: &StatsByView) -> Ledger {
    let sum = |stats: &StatsByView, count: fn(&ViewStats) -> u64| stats.values().map(count).sum::<u64>();
    let grown = |count| Total::from(sum(after, count) - sum(before, count));
    let mut ledger = Ledger::default();
    ledger.other_groups = grown(|s| s.other);
    ledger.quarantined = grown(|s| s.quarantined);
    ledger
}

/// The fold of one shard group, from its plan to what is to be done once it is durable.
pub(super) struct PlannedFold {
    pub(super) group: usize,
    pub(super) layers: Vec<Arc<Layer>>,
    pub(super) fold: Fold,
    pub(super) stats: StatsByView,
    pub(super) ledger: Ledger,
    /// What it changed in views that others read, and the records of that.
    pub(super) outputs: Vec<(ViewId, Vec<u8>)>,
    pub(super) records: Vec<OutputRecord>,
}

impl PlannedFold {
    /// Base, sessions, ledger, image, records of what changed, and the folded log records' removal, all in one
    /// transaction (P7, P9).
    pub(super) fn write(
        &mut self,
        txn: &mut dyn Transaction,
        group: &Group,
        (views, now): (&Views, Micros),
        options: &ShardOptions,
    ) -> Result<(), StoreError> {
        let id = group.id;
        let of = FoldOf {
            group: id,
            upto: self.fold.image.folded,
            views,
            groups_max: options.view_groups_max,
            sweep: options.sweep,
            quarantine: options.quarantine,
            time: now,
            key_bytes_max: options.limits.key_bytes_max,
        };
        self.outputs = fold_layers(txn, of, &self.layers, &mut self.stats)?;
        self.records = group.core.output_records(id, (of.upto, now), &self.outputs);
        for record in &self.records {
            txn.put(Table::Log, &log_key(id, record.lsn), &record.bytes)?;
        }
        self.ledger.merge(&folded_counts(&group.stats, &self.stats));
        if let Some(birth) = self.fold.forget_below {
            txn.remove_range(
                Table::Session,
                &session_birth_key(id, 0),
                &session_birth_key(id, birth),
                u64::MAX,
            )?;
        }
        let mut bytes = Vec::new();
        for (pid, session) in &self.fold.sessions {
            bytes.clear();
            session.encode(&mut bytes);
            txn.put(Table::Session, &session_key(id, pid), &bytes)?;
        }
        txn.put(Table::Ledger, &group_key(id), &self.ledger.encode())?;
        txn.put(Table::Meta, &group_key(id), &self.fold.image.encode())?;
        let (first, last) = (group.core.image().folded.next(), self.fold.image.folded);
        txn.remove_range(Table::Log, &log_key(id, first), &log_key(id, last.next()), u64::MAX)?;
        Ok(())
    }
}
