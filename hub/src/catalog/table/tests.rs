//! Tables in a catalog over the memory store.

use super::*;
use crate::catalog::testing::{create_stream, table_def};
use crate::catalog::{Catalog, CatalogOptions, Marker};
use crate::store::{MemoryStore, Store};
use headwater_sql::arrow::array::RecordBatch;
use headwater_sql::batch_of;
use headwater_sql::source::{ROW_COLUMN, RowLines};
use std::sync::Arc;

const MARKER: Marker = Marker { cluster: [1; 16], hub: 2, shard_groups: 3 };
const LIMITS: TableOptions = TableOptions { rows_max: 5, bytes_max: 200, cache_bytes: 1 << 20 };

fn open(store: &MemoryStore) -> Catalog {
    let options = CatalogOptions { tables: LIMITS, ..CatalogOptions::default() };
    Catalog::with_options(Arc::new(store.clone()), MARKER, &options).expect("open")
}

/// A catalog with the table `t (k text, v bigint)`.
async fn with_table(store: &MemoryStore, keyed: bool) -> (Catalog, Arc<TableDef>) {
    let catalog = open(store);
    let def = table_def("t", keyed);
    catalog.apply(Ddl::CreateTable { def, if_not_exists: false }).await.expect("table");
    let def = Arc::clone(catalog.snapshot().table("t").expect("table"));
    (catalog, def)
}

fn rows(def: &TableDef, rows: &[(&str, i64)]) -> Vec<RecordBatch> {
    let rows: Vec<_> = rows.iter().map(|(k, v)| vec![Value::Text((*k).into()), Value::Int(*v)]).collect();
    vec![batch_of(&def.fields(), &rows).expect("batch")]
}

fn insert(def: &Arc<TableDef>, added: &[(&str, i64)]) -> TableWrite {
    TableWrite {
        table: Arc::clone(def),
        create: None,
        expected: None,
        removed: Removed::Rows(Vec::new()),
        added: rows(def, added),
        skip_duplicates: false,
        lines: RowLines::default(),
    }
}

#[tokio::test]
async fn a_row_that_is_refused_is_named_by_its_line() {
    let store = MemoryStore::default();
    let (catalog, def) = with_table(&store, true).await;
    let mut lines = RowLines::default();
    [2, 3, 5].iter().enumerate().for_each(|(row, line)| lines.push(row as u64, *line));
    let twice = TableWrite { lines: lines.clone(), ..insert(&def, &[("a", 1), ("b", 2), ("a", 3)]) };
    let error = catalog.write_table(twice).await.expect_err("a duplicate");
    assert!(error.code == "23505" && error.message.starts_with("line 5: duplicate key value"), "{error:?}");
    let long = "x".repeat(150);
    let large = TableWrite { lines, ..insert(&def, &[("a", 1), (long.as_str(), 2)]) };
    let error = catalog.write_table(large).await.expect_err("no room");
    assert!(
        error.code == "54000" && error.message.starts_with("line 3: table \"t\" would have"),
        "{error:?}"
    );
    assert_eq!(content(&catalog, &def).await, []);
}

async fn content(catalog: &Catalog, def: &Arc<TableDef>) -> Vec<(String, i64)> {
    let read = catalog.table(Arc::clone(def)).await.expect("rows");
    let mut fields = def.fields();
    fields.push(headwater::schema::Field { name: ROW_COLUMN.into(), data_type: DataType::Bytea });
    let rows = read.batches.iter().flat_map(|batch| rows_of(batch, &fields).expect("rows"));
    rows.map(|row| match row.as_slice() {
        [Value::Text(k), Value::Int(v), Value::Bytes(_)] => (k.clone(), *v),
        other => panic!("{other:?}"),
    })
    .collect()
}

fn pairs(rows: &[(&str, i64)]) -> Vec<(String, i64)> {
    rows.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect()
}

#[tokio::test]
async fn rows_are_durable_and_read_in_the_order_of_their_key() {
    let store = MemoryStore::new();
    let (catalog, def) = with_table(&store, true).await;
    assert_eq!(catalog.write_table(insert(&def, &[("b", 2), ("a", 1)])).await, Ok(2));
    assert_eq!(content(&catalog, &def).await, pairs(&[("a", 1), ("b", 2)]));
    let again = open(&store);
    assert_eq!(content(&again, &def).await, pairs(&[("a", 1), ("b", 2)]));
    let size = again.table_size(def.id).expect("size");
    assert_eq!((size.version, size.rows), (1, 2));
}

#[tokio::test]
async fn a_statement_changes_all_of_its_rows_or_none() {
    let store = MemoryStore::new();
    let (catalog, def) = with_table(&store, true).await;
    catalog.write_table(insert(&def, &[("a", 1)])).await.expect("rows");
    for added in [&[("b", 2), ("a", 3)][..], &[("c", 1), ("c", 2)]] {
        let error = catalog.write_table(insert(&def, added)).await.expect_err("duplicate");
        assert_eq!(error.code, "23505");
        assert!(error.message.contains("\"t_pkey\""), "{error}");
    }
    assert_eq!(content(&catalog, &def).await, pairs(&[("a", 1)]));
    let skipping = TableWrite { skip_duplicates: true, ..insert(&def, &[("b", 2), ("a", 3), ("b", 4)]) };
    assert_eq!(catalog.write_table(skipping).await, Ok(1));
    assert_eq!(content(&catalog, &def).await, pairs(&[("a", 1), ("b", 2)]));
}

#[tokio::test]
async fn a_table_has_limits_of_rows_and_bytes() {
    let (catalog, def) = with_table(&MemoryStore::new(), false).await;
    let many = [("x", 0); 6];
    let error = catalog.write_table(insert(&def, &many)).await.expect_err("too many");
    assert_eq!((error.code, error.message.as_str()), ("54000", "table \"t\" would have more than 5 rows"));
    let long = "x".repeat(201);
    let error = catalog.write_table(insert(&def, &[(&long, 0)])).await.expect_err("too large");
    assert!(error.hint.expect("hint").contains("table_bytes_max"));
    // What is removed makes room in the same statement.
    catalog.write_table(insert(&def, &many[..5])).await.expect("five");
    let anew = TableWrite { removed: Removed::All, ..insert(&def, &many[..5]) };
    assert_eq!(catalog.write_table(anew).await, Ok(5));
    assert_eq!(catalog.table_size(def.id).expect("size").rows, 5);
}

#[tokio::test]
async fn what_was_planned_on_other_rows_is_refused() {
    let (catalog, def) = with_table(&MemoryStore::new(), true).await;
    let before = catalog.table(Arc::clone(&def)).await.expect("rows");
    catalog.write_table(insert(&def, &[("a", 1)])).await.expect("row");
    let late = TableWrite { expected: Some(before.version), ..insert(&def, &[("b", 1)]) };
    assert_eq!(catalog.write_table(late).await.expect_err("late").code, "40001");
    let row = {
        let mut out = Vec::new();
        key::encode_value(&Value::Text("a".into()), &DataType::Text, &mut out);
        out
    };
    let now = catalog.table(Arc::clone(&def)).await.expect("rows").version;
    let update =
        TableWrite { expected: Some(now), removed: Removed::Rows(vec![row]), ..insert(&def, &[("a", 7)]) };
    assert_eq!(catalog.write_table(update).await, Ok(1));
    assert_eq!(content(&catalog, &def).await, pairs(&[("a", 7)]));
    let size = catalog.table_size(def.id).expect("size");
    let (other, same) = with_table(&MemoryStore::new(), true).await;
    other.write_table(insert(&same, &[("a", 7)])).await.expect("row");
    let fresh = other.table_size(same.id).expect("size");
    assert_eq!((size.rows, size.bytes), (1, fresh.bytes), "the size follows");
}

#[tokio::test]
async fn dropping_removes_the_rows_and_another_table_of_the_name_is_empty() {
    let store = MemoryStore::new();
    let (catalog, def) = with_table(&store, true).await;
    catalog.write_table(insert(&def, &[("a", 1)])).await.expect("row");
    let drop_table = Ddl::DropTable { name: "t".into(), if_exists: false };
    catalog.apply(drop_table).await.expect("dropped");
    assert_eq!(catalog.table(Arc::clone(&def)).await.expect_err("gone").code, "40001");
    assert_eq!(catalog.write_table(insert(&def, &[("a", 1)])).await.expect_err("gone").code, "40001");
    let mut left = 0;
    let snapshot = crate::store::Store::snapshot(&store).expect("snapshot");
    for table in [Table::Row, Table::TableSize] {
        let count = &mut |_: &[u8], _: &[u8]| {
            left += 1;
            std::ops::ControlFlow::Continue(())
        };
        snapshot.scan(table, &[], None, count).expect("scan");
    }
    assert_eq!(left, 0);
    let def = table_def("t", true);
    catalog.apply(Ddl::CreateTable { def, if_not_exists: false }).await.expect("again");
    let def = Arc::clone(catalog.snapshot().table("t").expect("table"));
    assert_eq!((def.id, content(&catalog, &def).await.len()), (TableId(2), 0));
}

#[tokio::test]
async fn a_table_is_made_with_all_of_its_rows_or_not_at_all() {
    let store = MemoryStore::new();
    let catalog = open(&store);
    let def = Arc::new(table_def("t", true));
    let twice = TableWrite { create: Some(false), ..insert(&def, &[("a", 1), ("a", 2)]) };
    assert_eq!(catalog.write_table(twice).await.expect_err("duplicate").code, "23505");
    assert!(catalog.snapshot().table("t").is_none());
    let made = TableWrite { create: Some(false), ..insert(&def, &[("a", 1), ("b", 2)]) };
    assert_eq!(catalog.write_table(made.clone()).await, Ok(2));
    assert_eq!(catalog.write_table(made.clone()).await.expect_err("taken").code, "42P07");
    assert_eq!(catalog.write_table(TableWrite { create: Some(true), ..made }).await, Ok(0));
    let again = open(&store);
    let def = Arc::clone(again.snapshot().table("t").expect("table"));
    assert_eq!(content(&again, &def).await, pairs(&[("a", 1), ("b", 2)]));
}

#[tokio::test]
async fn a_failed_write_leaves_neither_rows_nor_a_wrong_cache() {
    let store = MemoryStore::new();
    let (catalog, def) = with_table(&store, true).await;
    catalog.write_table(insert(&def, &[("a", 1)])).await.expect("row");
    assert_eq!(content(&catalog, &def).await.len(), 1);
    store.fail_next_write(StoreError::NoSpace);
    assert_eq!(catalog.write_table(insert(&def, &[("b", 1)])).await.expect_err("no space").code, "58030");
    assert_eq!(content(&catalog, &def).await.len(), 1);
    catalog.write_table(insert(&def, &[("c", 1)])).await.expect("space again");
    assert_eq!(content(&catalog, &def).await, pairs(&[("a", 1), ("c", 1)]));
}

#[tokio::test]
async fn tables_survive_snapshots_of_the_catalog() {
    let store = MemoryStore::new();
    let (catalog, def) = with_table(&store, false).await;
    catalog.write_table(insert(&def, &[("a", 1), ("a", 1)])).await.expect("rows");
    for n in 0..100 {
        catalog.apply(create_stream(&format!("s{n}"))).await.expect("stream");
    }
    let again = open(&store);
    assert_eq!(again.snapshot().tables, catalog.snapshot().tables);
    assert_eq!(content(&again, &def).await.len(), 2);
}

/// A damaged page hid rows, and nobody was told: answers went on with those that were left.
#[tokio::test]
async fn rows_that_are_gone_are_told() {
    let store = MemoryStore::default();
    let (catalog, def) = with_table(&store, true).await;
    catalog.write_table(insert(&def, &[("a", 1), ("b", 2)])).await.expect("insert");
    let mut keys = Vec::new();
    let scanned = store.snapshot().expect("snapshot").scan(Table::Row, &[], None, &mut |key, _| {
        keys.push(key.to_vec());
        std::ops::ControlFlow::Continue(())
    });
    scanned.expect("scan");
    store.write(&mut |txn| txn.remove(Table::Row, &keys[1])).expect("write");
    let error = catalog.table(Arc::clone(&def)).await.expect_err("a row is gone");
    assert_eq!((error.code, error.message.contains("1 of its 2 rows")), ("XX001", true), "{error:?}");
}

#[test]
fn a_size_is_read_as_it_was_written() {
    let size = TableSize { version: 300, rows: 2, bytes: 1 << 40, next_row: 7 };
    assert_eq!(TableSize::decode(&size.encode()), Ok(size));
    assert_eq!(TableSize::decode(&[1, 0, 0, 0, 0]), Ok(TableSize::default()));
    assert_eq!(TableSize::decode(&[2, 0, 0, 0, 0]), Err(DecodeError::TooNew));
    assert_eq!(TableSize::decode(&[1, 0, 0, 0]), Err(DecodeError::Truncated));
}
