//! Who knows every event, where it should be, and where it is.

use super::Stats;
use headwater::ids::{Pid, Seq};
use headwater::outbox::OutboxLedger;
use headwater::wire::{AckLevel, BatchFrame};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

/// The group that all events share; every event has another of its own.
pub(super) const ALL: &str = "all";

/// An event's own group.
pub(super) fn key(event: u64) -> String {
    format!("e{event}")
}

#[derive(Default)]
pub(super) struct Oracle {
    /// Events so far; they are numbered from 1.
    events: u64,
    /// What every payload ever frozen stands for.
    payloads: HashMap<Vec<u8>, Range<u64>>,
    /// What left under every dot.
    dots: HashMap<(Pid, Seq), Vec<u8>>,
    /// The highest low water that every identity has sent.
    low_waters: HashMap<Pid, Seq>,
    /// Events that the hub has called durable.
    acked: BTreeSet<u64>,
    /// Events that no storage had when their process crashed.
    exposed: BTreeSet<u64>,
    /// Events that the last read saw.
    seen: BTreeSet<u64>,
    /// Ledgers of processes that are gone.
    past: Vec<OutboxLedger>,
    pub(super) reads: u64,
}

impl Oracle {
    pub(super) fn generate(&mut self, count: u64) -> Range<u64> {
        let first = self.events + 1;
        self.events += count;
        first..self.events + 1
    }

    pub(super) fn frozen(&mut self, payload: Vec<u8>, events: Range<u64>) {
        self.payloads.insert(payload, events);
    }

    /// A batch leaves its client.
    pub(super) fn sent(&mut self, batch: &BatchFrame) -> Result<(), String> {
        let BatchFrame { pid, seq, low_water, payload, .. } = batch;
        let highest = self.low_waters.entry(*pid).or_default();
        *highest = (*highest).max(*low_water);
        let known = self.dots.entry((*pid, *seq)).or_insert_with(|| payload.clone());
        if known != payload {
            return Err(format!("{pid:?} {seq} was used for two payloads"));
        }
        Ok(())
    }

    /// The hub has said so; whether anybody hears it is another matter.
    pub(super) fn acked(&mut self, pid: Pid, seq: Seq, level: AckLevel) {
        // Below low water an answer says nothing: that batch was acked before, or given up.
        let is_wanted = self.low_waters.get(&pid).is_none_or(|low| seq >= *low);
        if level >= AckLevel::Durable
            && is_wanted
            && let Some(events) = self.dots.get(&(pid, seq)).and_then(|payload| self.payloads.get(payload))
        {
            self.acked.extend(events.clone());
        }
    }

    /// A process crashed: of what it had (`mine`), only what storage `kept` can go on. Returns that.
    pub(super) fn crashed(
        &mut self,
        mine: &BTreeSet<u64>,
        kept: &[Vec<u8>],
        ledger: OutboxLedger,
    ) -> BTreeSet<u64> {
        let kept: BTreeSet<u64> =
            kept.iter().filter_map(|payload| self.payloads.get(payload)).cloned().flatten().collect();
        self.exposed.extend(mine.difference(&kept));
        self.past.push(ledger);
        kept
    }

    pub(super) fn ended(&mut self, ledger: OutboxLedger) {
        self.past.push(ledger);
    }

    /// What a read found: count and sum by group.
    pub(super) fn read(&mut self, totals: &BTreeMap<String, (i64, i128)>) -> Result<(), String> {
        self.reads += 1;
        let (mut now, mut sum) = (BTreeSet::new(), 0);
        for (group, (count, _)) in totals.iter().filter(|row| row.0 != ALL) {
            let event =
                group[1..].parse::<u64>().map_err(|_| format!("a group {group} came from nowhere"))?;
            if *count != 1 {
                return Err(format!("event {event} counts {count} times"));
            }
            now.insert(event);
            sum += i128::from(event);
        }
        let all = totals.get(ALL).copied().unwrap_or_default();
        if all != (now.len() as i64, sum) {
            return Err(format!("the shared group has {all:?}, the others {} and {sum}", now.len()));
        }
        if let Some(event) = self.seen.difference(&now).next() {
            return Err(format!("event {event} was read before and is gone: reads went backwards"));
        }
        if let Some(event) = self.acked.difference(&now).next() {
            return Err(format!("event {event} was acknowledged as durable and cannot be read"));
        }
        self.seen = now;
        Ok(())
    }

    /// After everything healed and drained, and one last read.
    pub(super) fn judge(&self, stats: &mut Stats) -> Result<(), String> {
        let absent: Vec<u64> = (1..=self.events).filter(|event| !self.seen.contains(event)).collect();
        let unexplained = absent.iter().filter(|event| !self.exposed.contains(event)).count() as u64;
        let dropped: u64 = self.past.iter().map(|ledger| ledger.dropped.total()).sum();
        let in_doubt: u64 =
            self.past.iter().map(|ledger| ledger.in_doubt_events - ledger.resent_events).sum();
        if unexplained > dropped + in_doubt {
            return Err(format!("{unexplained} events are lost, {dropped} dropped and {in_doubt} in doubt"));
        }
        if dropped > absent.len() as u64 {
            return Err(format!("{dropped} events count as dropped, {} are not applied", absent.len()));
        }
        (stats.events, stats.applied) = (self.events, self.seen.len() as u64);
        (stats.dropped, stats.in_doubt, stats.reads) = (dropped, in_doubt, self.reads);
        Ok(())
    }
}

/// generated = applied + in outbox + dropped + in doubt, at one client.
pub(super) fn balance(ledger: &OutboxLedger) -> Result<(), String> {
    let in_doubt = ledger.in_doubt_events - ledger.resent_events;
    let events = ledger.acked_events + ledger.dropped.total() + in_doubt + ledger.held_events;
    let batches =
        ledger.acked_batches + ledger.dropped_batches + ledger.dropped_in_doubt_batches + ledger.held_batches;
    if (ledger.frozen_events, ledger.frozen_batches) == (events, batches) {
        return Ok(());
    }
    Err(format!("a ledger does not add up: {ledger:?}"))
}
