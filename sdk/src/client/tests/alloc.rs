//! Prevents: an allocation per event between a program's `emit` and the columns.

#[path = "../../../tests/counting/mod.rs"]
mod counting;

use super::*;
use counting::allocations;

/// Rows that an emitter evaluates at a time.
const BATCH: usize = 1_024;
/// Batches after which groups and columns have the size they keep.
const WARM_UP: usize = 4;
const BATCHES: usize = 16;

/// On one thread: the driver does nothing meanwhile.
#[tokio::test]
async fn emit_allocates_nothing_but_lists_of_a_batch_once_the_plan_is_there() {
    let hub = Hub::start().await;
    let flush = FlushLimits { age_max: Duration::from_secs(3_600), ..FlushLimits::default() };
    let client = Client::connect(ConnectOptions { flush, ..options(&hub) }).await.expect("connects");
    let emitter = client.stream("views");
    client.schema("views").await.expect("exists");
    let urls: Vec<&str> = (0..100).map(|n| &*format!("/a/page/{n}").leak()).collect();
    let emit = |n: usize| emitter.emit(&View { url: urls[n % urls.len()], ms: n as i64 }).expect("emits");
    (0..WARM_UP * BATCH).for_each(emit);
    let allocating = (0..BATCHES * BATCH).filter(|n| allocations(|| emit(*n)) > 0).count();
    // The event that fills a batch has it evaluated: a few lists, however many rows.
    assert!(allocating <= BATCHES, "{allocating} events of {}", BATCHES * BATCH);
    assert!(allocations(|| drop(std::hint::black_box(vec![1]))) == 1, "the counter counts");
}
