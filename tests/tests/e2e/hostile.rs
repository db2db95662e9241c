//! Frames and states that lie: refused with a code, the rest of the hub untouched.

use crate::frames::{Answer, Producer, send_batch, send_batch_bytes, send_bytes};
use crate::harness::Hub;
use headwater::aggregate::{AggregateSpec, Finisher};
use headwater::group::GroupTable;
use headwater::ids::Seq;
use headwater::limits::BatchLimits;
use headwater::value::Value;
use headwater::wire::batch::{Payload, Section};
use headwater::wire::{BatchFrame, Frame, encode_frame};
use headwater_tests::random::Rng;
use serde::Serialize;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

#[derive(Serialize)]
struct Visit {
    page: String,
    visitor: i64,
    ms: f64,
}

fn visits(n: i64) -> Vec<Visit> {
    (0..n).map(|i| Visit { page: format!("/{}", i % 7), visitor: i, ms: i as f64 / 3.0 }).collect()
}

fn hub(dir: &std::path::Path) -> Hub {
    let hub = Hub::start(dir, &[]);
    hub.sql("CREATE STREAM visits (page TEXT, visitor BIGINT, ms DOUBLE PRECISION)");
    hub.sql(
        "CREATE CONTINUOUS VIEW pages AS SELECT page, count(*) AS n, sum(ms) AS ms, count(DISTINCT visitor) AS who,
         percentile_cont(0.9) WITHIN GROUP (ORDER BY ms) AS p90, topk_agg(visitor, 3) AS top FROM visits GROUP BY page",
    );
    hub
}

/// Resident memory of a process, bytes; nothing where only Linux would tell.
fn resident(pid: u32) -> u64 {
    if !cfg!(target_os = "linux") {
        return 0;
    }
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("a line VmRSS");
    let kib = line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok());
    kib.expect("a number of KiB") * 1024
}

/// One to three damages behind the head of a batch frame.
fn damage(bytes: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..=rng.below(3) {
        let at = 30 + rng.below(bytes.len() as u64 - 30) as usize;
        match rng.below(3) {
            0 => bytes[at] ^= 1 << rng.below(8),
            1 => bytes[at] = 0xff,
            _ => bytes.truncate(at),
        }
        if bytes.len() < 60 {
            break;
        }
    }
}

/// What `count(*)` gets from a batch that the hub took.
fn counted(bytes: &[u8], producer: &Producer) -> i64 {
    let frame: BatchFrame = Frame::read_only(bytes, 4 << 20).expect("a frame").decode().expect("a batch");
    let plan = &producer.plans.plans[0];
    let specs: Vec<AggregateSpec> = plan.states.iter().map(|state| state.spec.clone()).collect();
    let count = AggregateSpec::Count { argument: false };
    let count = specs.iter().position(|spec| *spec == count).expect("count(*)");
    let mut total = 0;
    let payload = Payload::parse(&frame.payload, &BatchLimits::NATIVE).expect("a payload");
    let is_ours = |section: &&Section| (section.view, section.version) == (plan.view, plan.version);
    for section in payload.sections().iter().filter(is_ours) {
        let mut table = GroupTable::new(&specs);
        section.merge_into(&mut table).expect("states");
        for group in table.sorted() {
            match table.states()[count].finish(group, &Finisher::Value) {
                Ok(Value::Int(n)) => total += n,
                other => panic!("a count is {other:?}"),
            }
        }
    }
    total
}

#[test]
fn damaged_batches_are_refused_and_do_not_disturb_others() {
    let dir = tempfile::tempdir().unwrap();
    let hub = hub(dir.path());
    let mut honest = Producer::new(&hub, "visits", 1);
    let mut hostile = Producer::new(&hub, "visits", 2);
    let mut frame = hostile.frame(&visits(500));
    let mut rng = Rng::new(7);
    let before = resident(hub.pid());
    let (mut refused, mut taken) = (0, 0);
    for round in 0..300 {
        // A dot of its own: what is refused is the damage, not a repetition.
        (frame.seq, frame.low_water) = (Seq(round + 1), Seq(round + 1));
        let mut bytes = encode_frame(&frame);
        damage(&mut bytes, &mut rng);
        match send_batch_bytes(&hub, &bytes) {
            // Some damage leaves a valid batch: it counts, once, as what it says.
            Answer::Ack(_) => taken += counted(&bytes, &hostile),
            Answer::Refused(_) | Answer::Failed(400..500, _) => refused += 1,
            answer => panic!("round {round}: {answer:?}"),
        }
    }
    assert!((200..300).contains(&refused), "{refused} of 300 refused");
    let batch = honest.frame(&visits(70));
    assert!(matches!(send_batch(&hub, &batch), Answer::Ack(_)));
    assert_eq!(hub.number("SELECT sum(n) FROM pages"), (taken + 70) as f64);
    let grown = resident(hub.pid()).saturating_sub(before);
    assert!(grown < 256 << 20, "the hub grew by {grown} bytes");
    assert_eq!(hub.get("/healthz").0, 200);
}

#[test]
fn lengths_that_lie_do_not_cost_memory() {
    let dir = tempfile::tempdir().unwrap();
    let hub = hub(dir.path());
    let before = resident(hub.pid());
    // A frame head that promises 2^40 bytes, and bodies that promise 2^40 groups.
    let heads: [&[u8]; 4] = [
        &[0x48, 6, 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20],
        &[0x48, 1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0x48, 99, 1, 0],
        &[0x48, 6, 200, 0],
    ];
    for head in heads {
        for path in ["/v1/session", "/v1/batch", "/v1/resume"] {
            let answer = send_bytes(&hub, path, head);
            assert!(matches!(answer, Answer::Failed(400..500, _) | Answer::Refused(_)), "{path}: {answer:?}");
        }
    }
    let mut producer = Producer::new(&hub, "visits", 3);
    let mut frame = producer.frame(&visits(10));
    frame.payload = vec![1, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20];
    assert_eq!(send_batch(&hub, &frame).code(), "malformed");
    assert!(resident(hub.pid()).saturating_sub(before) < 64 << 20);
}

#[test]
fn noise_on_both_ports_leaves_the_hub_up() {
    let dir = tempfile::tempdir().unwrap();
    let hub = hub(dir.path());
    let mut rng = Rng::new(11);
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..200 {
        let noise: Vec<u8> = (0..rng.below(1400)).map(|_| rng.next_u64() as u8).collect();
        udp.send_to(&noise, hub.quic).unwrap();
        if let Ok(mut tcp) = TcpStream::connect(hub.http) {
            // The hub may close at the first byte that is no HTTP.
            let _ = tcp.write_all(&noise);
        }
    }
    // A connection that never finishes its request head holds nobody up.
    let mut slow = TcpStream::connect(hub.http).unwrap();
    slow.write_all(b"POST /v1/sql HTTP/1.1\r\nhost").unwrap();
    assert_eq!(hub.get("/healthz").0, 200);
    slow.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let _ = slow.read(&mut [0; 16]);
    let mut producer = Producer::new(&hub, "visits", 4);
    assert!(matches!(send_batch(&hub, &producer.frame(&visits(7))), Answer::Ack(_)));
}
