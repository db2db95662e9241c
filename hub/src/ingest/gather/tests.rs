use super::*;
use crate::catalog::command::Command;
use crate::catalog::state::CatalogState;
use headwater::value::{DataType, Value};
use headwater_sql::{InsertLevel, compile, parse};

fn catalog(statements: &[&str]) -> CatalogSnapshot {
    let mut state = CatalogState::default();
    for sql in statements {
        let statement = parse(sql).expect(sql).remove(0);
        let ddl = compile(&statement, &state.snapshot()).expect(sql).expect("a definition");
        state.apply(&Command::Ddl(ddl)).expect(sql);
    }
    state.snapshot()
}

fn with_views(views: usize) -> CatalogSnapshot {
    let views: Vec<String> = (0..views)
        .map(|view| format!("CREATE CONTINUOUS VIEW v{view} AS SELECT k, count(*) FROM s GROUP BY k"))
        .collect();
    let all = std::iter::once("CREATE STREAM s (k TEXT)").chain(views.iter().map(String::as_str));
    catalog(&all.collect::<Vec<_>>())
}

/// Rows with a key of their own each.
fn batch(rows: std::ops::Range<usize>, key_bytes: usize) -> ColumnBatch {
    let mut columns: Vec<Column> = [DataType::Text, DataType::Timestamp].iter().map(Column::new).collect();
    for row in rows {
        assert!(columns[0].push(&Value::Text(format!("{row:0key_bytes$}"))));
        assert!(columns[1].push(&Value::Int(7)));
    }
    ColumnBatch { columns }
}

fn insertion(catalog: &CatalogSnapshot, batches: Vec<ColumnBatch>) -> Insertion {
    let stream = catalog.stream("s").expect("the stream").clone();
    Insertion { stream, batches, level: InsertLevel::Durable, targets: None }
}

const LIMITS: BatchLimits = BatchLimits::NATIVE;

/// How many requests each flush takes, and which of them are counted.
fn flushes(catalog: &CatalogSnapshot, requests: Vec<Insertion>, bytes_max: usize) -> Vec<Vec<bool>> {
    let mut requests = VecDeque::from(requests);
    let mut flushes = Vec::new();
    while !requests.is_empty() {
        let flush = flush(&mut requests, catalog, &LIMITS, bytes_max);
        let counted: Vec<bool> = flush.outcomes.iter().map(Result::is_ok).collect();
        assert!(!counted.is_empty(), "every flush takes one at least");
        assert_eq!(flush.payloads.is_empty(), counted.iter().all(|counted| !counted));
        flushes.push(counted);
    }
    flushes
}

#[test]
fn small_requests_share_a_flush() {
    let catalog = with_views(2);
    let requests = (0..100).map(|n| insertion(&catalog, vec![batch(n..n + 3, 10)])).collect();
    assert_eq!(flushes(&catalog, requests, 1 << 20), [vec![true; 100]]);
}

/// Rounds were bounded by rows only, and never measured.
#[test]
fn a_flush_ends_when_its_groups_take_what_they_may() {
    let catalog = with_views(4);
    // Each is below what is measured alone: 4 views of 4,096 rows, and 4 MiB of keys.
    let request = |n: usize| insertion(&catalog, vec![batch(n * 4_096..(n + 1) * 4_096, 100)]);
    let requests: Vec<Insertion> = (0..20).map(request).collect();
    let flushes = flushes(&catalog, requests, 4 << 20);
    assert!(flushes.len() > 3, "{flushes:?}");
    assert!(flushes.iter().flatten().all(|counted| *counted));
    assert_eq!(flushes.iter().flatten().count(), 20);
}

/// One INSERT of many rows took gigabytes.
#[test]
fn a_request_whose_groups_take_too_much_is_refused_and_no_other() {
    let catalog = with_views(8);
    let small = |n: usize| insertion(&catalog, vec![batch(n..n + 1, 10)]);
    let large = || insertion(&catalog, (0..8).map(|n| batch(n * 4_096..(n + 1) * 4_096, 100)).collect());
    let requests = || vec![small(1), large(), small(2)];
    assert_eq!(flushes(&catalog, requests(), 2 << 20), [vec![true], vec![false, true]]);
    assert_eq!(flushes(&catalog, requests(), 1 << 30), [[true], [true], [true]]);
    let mut alone = VecDeque::from([large()]);
    let error = flush(&mut alone, &catalog, &LIMITS, 2 << 20).outcomes.remove(0).expect_err("too large");
    assert!(error.code == "53200" && error.message.contains("more than the limit of 2097152"), "{error}");
}

/// Loads of fewer rows than 65,536 were never measured, however large their rows and many their views.
#[test]
fn memory_is_measured_by_what_rows_can_add() {
    let unmeasured = |views: usize, key_bytes: usize| {
        let catalog = with_views(views);
        let schema = &catalog.streams[0].schema;
        let mut gathering = Gathering::new(&catalog, schema, None, &LIMITS);
        let mut rows = 0;
        while gathering.push(&batch(rows..rows + 256, key_bytes), 0).is_ok() {
            rows += 256;
        }
        rows + 256
    };
    assert!((60_000..=65_536).contains(&unmeasured(1, 5)), "short rows");
    assert!((6_000..=7_000).contains(&unmeasured(1, 2_200)));
    assert!((512..=1_024).contains(&unmeasured(10, 2_200)));
}

#[test]
fn rows_of_a_stream_that_is_gone_are_refused() {
    let (old, new) = (with_views(1), catalog(&["CREATE STREAM t (k TEXT)"]));
    let requests = vec![insertion(&old, vec![batch(0..1, 1)])];
    assert_eq!(flushes(&new, requests, 1 << 20), [[false]]);
}
