//! Both doors on real sockets, in front of a backend made of memory.

mod crowd;
mod fake;
mod hostile;
mod http;
mod quic;
mod tls;

use fake::Fake;
use headwater::ids::{Pid, RouteVersion, Seq};
use headwater::wire::{AckLevel, BatchFrame, Hello};
use headwater_hub::api::metrics::Metrics;
use headwater_hub::api::status::Status;
use headwater_hub::options::Options;
use headwater_hub::server::{Doors, StatusSource};
use std::sync::Arc;

/// Open doors in front of a fake, in a directory of their own.
struct House {
    doors: Doors,
    fake: Arc<Fake>,
    _dir: tempfile::TempDir,
}

impl House {
    fn open(change: impl FnOnce(&mut Options)) -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let mut options = Options::default();
        options.storage.data_dir = dir.path().into();
        options.listen.address = "127.0.0.1:0".parse().expect("address");
        options.limits.frame_ms = 400;
        options.limits.drain_ms = 5_000;
        change(&mut options);
        let fake = Arc::new(Fake::new());
        let backend = Arc::clone(&fake);
        let status: StatusSource = Arc::new(|| {
            let mut status = Status { version: "test".into(), ..Status::default() };
            status.storage.is_ok = true;
            status.ledger.dropped.insert("late".into(), 3);
            status
        });
        let mut metrics = Metrics::new();
        metrics.watch(Arc::clone(&status));
        let doors = Doors::open(&options, backend, status, Arc::new(metrics)).expect("doors");
        Self { doors, fake, _dir: dir }
    }
}

fn hello(streams: &[&str]) -> Hello {
    Hello {
        versions: vec![1],
        streams: streams.iter().map(|s| String::from(*s)).collect(),
        ..Hello::default()
    }
}

fn batch(seq: u64) -> BatchFrame {
    BatchFrame {
        pid: Pid::new(1, [7; 10]),
        seq: Seq(seq),
        low_water: Seq(seq),
        route: RouteVersion(0),
        level: AckLevel::Durable,
        backfill: false,
        payload: vec![0; 100],
    }
}
