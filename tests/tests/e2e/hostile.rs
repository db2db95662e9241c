//! Frames and states that lie: refused with a code, the rest of the hub untouched.

use crate::frames::{Answer, Producer, send_batch, send_batch_bytes};
use crate::harness::Hub;
use headwater::wire::encode_frame;
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

/// Resident memory of a process, bytes.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}

#[test]
fn damaged_batches_are_refused_and_do_not_disturb_others() {
    let dir = tempfile::tempdir().unwrap();
    let hub = hub(dir.path());
    let mut honest = Producer::new(&hub, "visits", 1);
    let mut hostile = Producer::new(&hub, "visits", 2);
    let good = encode_frame(&hostile.frame(&visits(500)));
    let mut rng = Rng::new(7);
    let before = resident(hub.pid());
    for round in 0..300 {
        let mut bytes = good.clone();
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
        // Some damage leaves a valid batch; then it counts, under the hostile producer's dot, once.
        let answer = send_batch_bytes(&hub, &bytes);
        assert!(!matches!(answer, Answer::Status(500..)), "round {round}: {answer:?}");
    }
    let batch = honest.frame(&visits(70));
    assert!(matches!(send_batch(&hub, &batch), Answer::Ack(_)));
    assert!(hub.number("SELECT sum(n) FROM pages") >= 70.0);
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
            let (status, _) = hub.post(path, "application/octet-stream", head);
            assert!((400..500).contains(&status) || status == 200, "{path}: {status}");
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
