//! Views over views' outputs and transforms, end to end: over `kill -9` at folds, and fed by the native client.

use super::kill::{http, insert};
use super::{House, end};
use crate::cli::Server;
use headwater::wire::AckLevel;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

const DEFINITIONS: [&str; 7] = [
    "CREATE STREAM ticks (n BIGINT)",
    "CREATE STREAM doubled (n BIGINT)",
    "CREATE CONTINUOUS VIEW total AS SELECT n, count(*), sum(n) AS sum FROM ticks GROUP BY n",
    "CREATE CONTINUOUS VIEW twice AS SELECT count(*), sum(n) AS sum FROM doubled",
    "CREATE CONTINUOUS TRANSFORM double AS SELECT n * 2 FROM ticks THEN EXECUTE FUNCTION insert_into_stream('doubled')",
    "CREATE CONTINUOUS VIEW chained AS SELECT (new).n % 2 AS odd, sum((delta).count) AS count, combine((delta).sum) AS sum \
     FROM output_of('total') GROUP BY 1",
    "CREATE CONTINUOUS VIEW last AS SELECT combine((delta).count) AS count, combine((delta).sum) AS sum \
     FROM output_of('chained')",
];

/// The first two numbers of an answer.
fn numbers(server: &Server, query: &str) -> [i64; 2] {
    let rows = server.sql(query);
    let mut numbers = rows.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok());
    [numbers.next().expect("a number"), numbers.next().expect("another")]
}

#[test]
fn kills_at_folds_lose_nothing_of_a_chain() {
    let house = House::new();
    let flags = ["--fold-interval-ms", "2"];
    let server = Server::start(&house, &flags);
    DEFINITIONS.iter().for_each(|sql| drop(server.sql(sql)));
    let mut server = Some(server);
    let answered = Arc::new(AtomicI64::new(0));
    for round in 1..=4 {
        let to = http(server.as_ref().expect("a hub"));
        let inserters: Vec<_> = (0..2)
            .map(|_| {
                let answered = Arc::clone(&answered);
                std::thread::spawn(move || insert(to, &answered))
            })
            .collect();
        while answered.load(Ordering::SeqCst) < 15 * round {
            assert!(inserters.iter().any(|thread| !thread.is_finished()), "no INSERT is answered any more");
            std::thread::yield_now();
        }
        server.take().expect("a hub").kill();
        for thread in inserters {
            thread.join().expect("an inserter");
        }
        server = Some(Server::start(&house, &flags));
    }
    let server = server.expect("a hub");
    drop(server.sql("SELECT flush()"));
    let total = numbers(&server, "SELECT sum(count)::bigint AS c, sum(sum)::bigint AS s FROM total");
    assert!(total[0] >= 2 * answered.load(Ordering::SeqCst), "{total:?}");
    let chained = numbers(&server, "SELECT sum(count)::bigint AS c, sum(sum)::bigint AS s FROM chained");
    assert_eq!(chained, total, "what folds changed is counted once");
    assert_eq!(
        numbers(&server, "SELECT count AS c, sum::bigint AS s FROM last"),
        total,
        "and so is what that changed"
    );
    assert_eq!(numbers(&server, "SELECT count AS c, sum::bigint AS s FROM twice"), [total[0], 2 * total[1]]);
}

#[derive(Serialize)]
struct Tick {
    n: i64,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_evaluates_what_transforms_make_of_its_events() {
    let house = House::new();
    let hub = house.start().await;
    let client = house.client(&hub).await;
    for sql in DEFINITIONS {
        client.query(sql).await.expect(sql);
    }
    let (ticks, doubled) = (client.stream("ticks"), client.stream("doubled"));
    for n in 0..100 {
        ticks.emit(&Tick { n }).expect("emit");
        // Both streams feed the same view, out of one flush.
        doubled.emit(&Tick { n: 1_000 }).expect("emit");
    }
    client.flush(AckLevel::Durable).await.expect("flush");
    client.query("SELECT flush()").await.expect("flush of the hub");
    let sums = "SELECT count, sum::bigint FROM ";
    let twice: Vec<(i64, i64)> = client.query_as(&format!("{sums} twice")).await.expect("rows");
    assert_eq!(twice, [(200, 2 * 4_950 + 100_000)]);
    let last: Vec<(i64, i64)> = client.query_as(&format!("{sums} last")).await.expect("rows");
    assert_eq!(last, [(100, 4_950)]);
    // Dropped, it leaves what it made.
    client.query("DROP CONTINUOUS TRANSFORM double").await.expect("drop");
    let twice: Vec<(i64, i64)> = client.query_as(&format!("{sums} twice")).await.expect("rows");
    assert_eq!(twice, [(200, 2 * 4_950 + 100_000)]);
    end(hub, client).await;
}
