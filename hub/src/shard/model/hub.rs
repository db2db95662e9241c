//! The hub's process: its shard groups and the half of each session that decides.

use super::oracle::Oracle;
use super::{Bug, LIFETIME_MS};
use crate::catalog::Catalog;
use crate::ingress::session::{Control, Policy, Request, Session};
use crate::shard::testing::{Totals, catalog, collect};
use crate::shard::writer::stepper::Stepper;
use crate::shard::{Outcome, ShardOptions, Shards};
use crate::sim::{Clock, Disk};
use futures::StreamExt;
use headwater::ids::Micros;
use headwater::outbox::BatchId;
use headwater::wire::{AckLevel, Frame, ReadLevel, SessionLimits, encode_frame};
use headwater_sql::source::ScanRequest;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::UnboundedReceiver;

/// Which stream of which connection of which client waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asker {
    pub(super) client: usize,
    pub(super) generation: u64,
    pub(super) id: BatchId,
}

pub(super) struct Hub {
    pub(super) stepper: Stepper,
    pub(super) policy: Arc<Policy>,
    waiting: Vec<(Asker, UnboundedReceiver<Outcome>)>,
    acks_early: bool,
}

/// All histories share one catalog: nothing changes it.
fn shared() -> &'static (Runtime, Catalog) {
    static SHARED: OnceLock<(Runtime, Catalog)> = OnceLock::new();
    SHARED.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("runtime");
        let catalog = runtime.block_on(catalog(2, 1));
        (runtime, catalog)
    })
}

impl Hub {
    /// A process starts over what the disk has. `None` when the disk fails just then.
    pub(super) fn start(disk: &Arc<Disk>, clock: &Clock, bug: Option<Bug>) -> Option<Self> {
        let options = ShardOptions {
            // Nothing happens by real time: the world decides.
            commit_delay: Duration::from_secs(3_600),
            fold_interval: Duration::from_secs(3_600),
            retry_interval: Duration::from_secs(3_600),
            pid_lifetime: Duration::from_millis(LIFETIME_MS),
            future_skew: Duration::from_secs(5),
            ..ShardOptions::default()
        };
        let bugs = match bug {
            Some(Bug::Core(name)) => [name].into(),
            _ => Default::default(),
        };
        let catalog = shared().1.clone();
        let stepper = Stepper::open(disk.clone(), options, catalog, clock.reader(), bugs).ok()?;
        let limits = SessionLimits {
            frame_bytes_max: 1 << 20,
            batch_groups_max: 1_000,
            key_bytes_max: 256,
            pid_lifetime_ms: LIFETIME_MS,
        };
        let policy = Policy {
            tokens: Vec::new(),
            limits,
            streams_max: 8,
            boot: stepper.shared.boot,
            cluster: Default::default(),
        };
        let acks_early = bug == Some(Bug::AckBeforeStored);
        Some(Self { stepper, policy: Arc::new(policy), waiting: Vec::new(), acks_early })
    }

    /// A frame of a control stream; gives the answer.
    pub(super) fn control(&mut self, session: &mut Session, bytes: &[u8], now: Micros) -> Vec<u8> {
        let frame = Frame::read_only(bytes, 1 << 20).expect("clients send frames");
        let catalog = shared().1.snapshot();
        match session.handle_control(&frame, now, &catalog).expect("clients keep the protocol") {
            Control::Welcome(welcome) => encode_frame(&*welcome),
            Control::Clock(reply) => encode_frame(&reply),
            Control::Resume(resume) => match self.stepper.resume(resume) {
                Ok(resumed) => encode_frame(&resumed),
                Err(refused) => encode_frame(&refused),
            },
        }
    }

    /// A batch; its answers come from [`Hub::answers`].
    pub(super) fn batch(&mut self, asker: Asker, bytes: &[u8]) -> Option<Vec<u8>> {
        let frame = Frame::read_only(bytes, 1 << 20).expect("clients send frames");
        let Ok(Request::Batch(batch)) = self.policy.handle_request(&frame, true) else {
            panic!("not a batch")
        };
        match self.stepper.submit(batch) {
            Ok(outcomes) => {
                self.waiting.push((asker, outcomes));
                None
            }
            Err(refused) => Some(encode_frame(&refused)),
        }
    }

    /// What has become of batches since the last call.
    pub(super) fn answers(&mut self, oracle: &mut Oracle) -> Vec<(Asker, Vec<u8>)> {
        let mut answers = Vec::new();
        self.waiting.retain_mut(|(asker, outcomes)| {
            while let Ok(outcome) = outcomes.try_recv() {
                let bytes = match outcome {
                    Outcome::Refused(refused) => encode_frame(&refused),
                    Outcome::Ack(mut ack) => {
                        if self.acks_early {
                            ack.level = ack.level.max(AckLevel::Durable);
                        }
                        oracle.acked(ack.pid, ack.seq, ack.level);
                        encode_frame(&ack)
                    }
                };
                answers.push((*asker, bytes));
            }
            !outcomes.is_closed()
        });
        answers
    }

    /// Reads the whole view, as a query does.
    pub(super) fn read(&self) -> Totals {
        let (runtime, catalog) = shared();
        let view = catalog.snapshot().view("v1").expect("view").clone();
        let shards = Shards { shared: self.stepper.shared.clone() };
        let request =
            ScanRequest { view, key_min: Vec::new(), key_max: None, read_level: ReadLevel::Replicated };
        let mut chunks = shards.scan(request);
        let mut totals = Totals::new();
        runtime.block_on(async {
            while let Some(chunk) = chunks.next().await {
                collect(&chunk.expect("reads go on"), &mut totals);
            }
        });
        totals
    }
}
