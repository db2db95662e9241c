//! `kill -9` between and during INSERTs: what was answered is counted, once.

use super::post;
use crate::House;
use crate::cli::Server;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

pub(super) fn http(server: &Server) -> SocketAddr {
    let line = server.greeting.lines().find_map(|line| line.trim().strip_prefix("http "));
    line.expect("an address").trim().trim_start_matches("http://").parse().expect("an address")
}

/// Inserts until the hub is gone; how many were answered, and how many were not.
pub(super) fn insert(to: SocketAddr, answered: &AtomicI64) -> i64 {
    loop {
        let insert = b"INSERT INTO ticks VALUES (1), (2)";
        match post(to, "/v1/sql", "text/plain", insert) {
            Some((200, body)) if body.contains("INSERT 0 2") => drop(answered.fetch_add(1, Ordering::SeqCst)),
            // A hub that is killed may have sent a part.
            Some((200, _)) | None => return 1,
            Some(refused) => panic!("{refused:?}"),
        }
    }
}

#[test]
fn what_was_answered_is_counted_once() {
    let house = House::new();
    let server = Server::start(&house, &[]);
    server.sql("CREATE STREAM ticks (n BIGINT)");
    server.sql("CREATE CONTINUOUS VIEW total AS SELECT count(*), sum(n) AS n FROM ticks");
    let mut server = Some(server);
    let (answered, mut in_doubt) = (Arc::new(AtomicI64::new(0)), 0);
    for round in 1..=3 {
        let to = http(server.as_ref().expect("a hub"));
        let inserters: Vec<_> = (0..4)
            .map(|_| {
                let answered = Arc::clone(&answered);
                std::thread::spawn(move || insert(to, &answered))
            })
            .collect();
        while answered.load(Ordering::SeqCst) < 20 * round {
            assert!(inserters.iter().any(|thread| !thread.is_finished()), "no INSERT is answered any more");
            std::thread::yield_now();
        }
        server.take().expect("a hub").kill();
        in_doubt += inserters.into_iter().map(|thread| thread.join().expect("an inserter")).sum::<i64>();
        server = Some(Server::start(&house, &[]));
    }
    let server = server.expect("a hub");
    let rows = server.sql("SELECT count, n FROM total");
    let numbers: Vec<i64> =
        rows.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
    let (count, sum) = (numbers[0], numbers[1]);
    let answered = answered.load(Ordering::SeqCst);
    // Both rows of an INSERT are counted, or none.
    assert_eq!((count % 2, sum), (0, count / 2 * 3), "{rows}");
    assert!((answered..=answered + in_doubt).contains(&(count / 2)), "{answered} + {in_doubt}: {rows}");
}
