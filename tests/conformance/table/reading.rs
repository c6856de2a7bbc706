//! What one sees of a table: one version, and others' commits when they are there.

use std::sync::Arc;

use arrow::array::RecordBatch;
use lakefeed::table::CommitOutcome;
use parquet::arrow::ArrowWriter;

use crate::support::tables::{LEDGER, Lake, numbered, numbered_rows};

async fn an_old_snapshot_reads_as_it_did(lake: Lake) {
    let (process, empty) = lake.created().await;
    let first = process.add("a.csv", 0..5, 2).await;
    let rows = process.rows(&first).await;
    assert_eq!(rows, numbered_rows("a.csv", 0..5));
    for pointer in 3..6 {
        lake.process().add("b.csv", pointer * 10..pointer * 10 + 4, pointer).await;
        assert_eq!(process.rows(&first).await, rows);
        let counts = process.table.count_rows_by(&first, "source").await.unwrap();
        assert_eq!(counts, [("a.csv".to_owned(), 5)]);
        assert!(process.rows(&empty).await.is_empty());
        assert_eq!((first.version, first.pointer), (1, Some(2)));
    }
    let counts = process.table.count_rows_by(&process.newest().await, "source").await.unwrap();
    assert_eq!(counts, [("a.csv".to_owned(), 5), ("b.csv".to_owned(), 12)]);
}

async fn rows_are_counted_by_value_in_order(lake: Lake) {
    let (process, _) = lake.created().await;
    for (pointer, source) in [(2, "b.csv"), (3, "ä b/c=1.csv"), (4, "a.csv"), (5, "b.csv")] {
        process.add(source, 0..pointer, pointer).await;
    }
    let counts = process.table.count_rows_by(&process.newest().await, "source").await.unwrap();
    let expected = [("a.csv", 4), ("b.csv", 7), ("ä b/c=1.csv", 3)];
    assert_eq!(counts, expected.map(|(source, rows)| (source.to_owned(), rows)));
}

async fn no_more_rows_are_read_than_are_asked_for(lake: Lake) {
    let (process, _) = lake.created().await;
    process.add("a.csv", 0..5, 2).await;
    let now = process.add("b.csv", 5..10, 3).await;
    for (rows_max, expected) in [(0, 0), (1, 1), (7, 7), (10, 10), (11, 10)] {
        let batches = process.table.some_rows(&now, rows_max).await.unwrap();
        let rows: usize = batches.iter().map(|batch| batch.num_rows()).sum();
        assert_eq!(rows, expected, "of at most {rows_max}");
    }
}

async fn the_layout_is_the_same_after_reloading_and_committing(lake: Lake) {
    let (process, created) = lake.created().await;
    assert_eq!(lake.process().newest().await.layout, created.layout);
    let committed = process.add("a.csv", 0..5, 2).await;
    assert_eq!(committed.layout, created.layout);
    assert_eq!(committed.table_id, created.table_id);
}

async fn another_writers_commit_is_seen(lake: Lake) {
    let (process, pinned) = lake.created().await;
    let ours = process.append(&pinned, "ours.csv", 0..5).await;
    // Under the ids that the columns have, where they have some.
    let columns = numbered("theirs.csv", 5..8).columns().to_vec();
    let batch = RecordBatch::try_new(Arc::clone(&pinned.layout.file_schema), columns).unwrap();
    let mut body = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut body, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    lake.files().put("theirs.parquet", body.into()).await;
    lake.format.append(&lake.files(), "theirs.parquet", 3).await;

    let now = process.newest().await;
    assert_eq!((now.version, now.pointer), (1, Some(1)));
    assert_eq!(now.layout, pinned.layout);
    assert_eq!(process.rows(&now).await, numbered_rows("theirs.csv", 5..8));
    // It is a rival as any other.
    assert_eq!(process.try_commit(&pinned, &ours, 2).await.unwrap(), CommitOutcome::Conflict);
    assert_eq!(process.try_commit(&now, &ours, 2).await.unwrap(), CommitOutcome::Committed(2));
    assert_eq!(process.rows(&process.newest().await).await.len(), 8);
}

/// The ledger lists this folder, and what is in it must be no trouble to the table's readers.
async fn the_ledgers_folder_is_no_part_of_the_table(lake: Lake) {
    let (process, created) = lake.created().await;
    let folder = process.table.ledger_root();
    assert!(folder.prefix_matches(process.table.root()));
    let file = folder.join(created.table_id.as_str()).join(LEDGER).join("1.ledger");
    let path = file.as_ref().strip_prefix(process.table.root().as_ref()).unwrap();
    lake.files().put(path.trim_start_matches('/'), "{}\n".into()).await;
    let now = process.add("a.csv", 0..5, 2).await;
    assert_eq!(now.version, 1);
    assert_eq!(process.rows(&now).await, numbered_rows("a.csv", 0..5));
}

on_every_table!([
    an_old_snapshot_reads_as_it_did,
    rows_are_counted_by_value_in_order,
    no_more_rows_are_read_than_are_asked_for,
    the_layout_is_the_same_after_reloading_and_committing,
    another_writers_commit_is_seen,
    the_ledgers_folder_is_no_part_of_the_table,
]);
