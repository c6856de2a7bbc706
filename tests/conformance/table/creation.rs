//! From nothing to version 0.

use std::sync::{Arc, Barrier};

use lakefeed::table::{CommitOutcome, TableDefinition};

use crate::support::tables::{LEDGER, Lake, numbered_schema};

const RACERS: usize = 8;

fn definition() -> TableDefinition {
    TableDefinition { schema: numbered_schema(), partition_by: vec!["source".to_owned()] }
}

async fn nothing_is_no_table(lake: Lake) {
    let process = lake.process();
    assert!(process.table.load(LEDGER).await.unwrap().is_none());
    // Nor is a folder that happens to be there.
    lake.files().put("notes.txt", "not a table".into()).await;
    lake.files().put("data.parquet", "not a table".into()).await;
    assert!(process.table.load(LEDGER).await.unwrap().is_none());
}

async fn planning_a_creation_writes_nothing(lake: Lake) {
    let process = lake.process();
    let creation = process.table.plan_creation(&definition(), LEDGER, 7).await.unwrap();
    assert_eq!(creation.pointer, 7);
    assert!(lake.files().everything().await.is_empty());
    assert!(process.table.load(LEDGER).await.unwrap().is_none());
    let another = process.table.plan_creation(&definition(), LEDGER, 7).await.unwrap();
    assert_ne!(creation.table_id, another.table_id);
}

async fn a_creation_is_version_0_with_its_pointer(lake: Lake) {
    let process = lake.process();
    let creation = process.table.plan_creation(&definition(), LEDGER, 7).await.unwrap();
    let outcome = process.table.try_create(&creation).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Committed(0));

    let snapshot = lake.process().newest().await;
    assert_eq!((snapshot.version, snapshot.pointer), (0, Some(7)));
    assert_eq!(snapshot.table_id, creation.table_id);
    assert_eq!(snapshot.layout, creation.layout);
    assert_eq!(snapshot.layout.schema, numbered_schema());
    assert_eq!(snapshot.layout.partition_columns, [1]);
    assert!(process.rows(&snapshot).await.is_empty());

    assert_eq!(lake.versions().await, [0]);
    let commit = lake.commit(0).await;
    assert_eq!(commit.pointers.into_iter().collect::<Vec<_>>(), [(LEDGER.to_owned(), 7)]);
    assert!(commit.added.is_empty());
}

async fn a_second_creation_conflicts(lake: Lake) {
    let (_, first) = lake.created().await;
    let before = lake.files().everything().await;
    let process = lake.process();
    let creation = process.table.plan_creation(&definition(), LEDGER, 8).await.unwrap();
    assert_eq!(process.table.try_create(&creation).await.unwrap(), CommitOutcome::Conflict);
    assert_eq!(lake.files().everything().await, before);
    let now = process.newest().await;
    assert_eq!((now.table_id, now.pointer), (first.table_id, first.pointer));
}

/// One whose answer was lost tries again, and must not take itself for another.
async fn the_same_creation_again_is_known_as_ones_own(lake: Lake) {
    let process = lake.process();
    let creation = process.table.plan_creation(&definition(), LEDGER, 7).await.unwrap();
    for _ in 0..2 {
        let outcome = process.table.try_create(&creation).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Committed(0));
    }
    assert_eq!(lake.versions().await, [0]);
}

pub async fn one_of_many_creators_wins(lake: Lake) {
    let start = Arc::new(Barrier::new(RACERS));
    let mut racers = Vec::new();
    for pointer in 0..RACERS as i64 {
        let process = lake.process();
        let creation = process.table.plan_creation(&definition(), LEDGER, pointer).await.unwrap();
        let (start, runtime) = (Arc::clone(&start), tokio::runtime::Handle::current());
        racers.push(std::thread::spawn(move || {
            start.wait();
            let outcome = runtime.block_on(process.table.try_create(&creation)).unwrap();
            (outcome, creation.table_id, pointer)
        }));
    }
    let told = || racers.into_iter().map(|racer| racer.join().unwrap()).collect::<Vec<_>>();
    let told = tokio::task::block_in_place(told);
    let (won, lost): (Vec<_>, Vec<_>) =
        told.into_iter().partition(|(outcome, ..)| *outcome == CommitOutcome::Committed(0));
    assert_eq!(won.len(), 1, "exactly one of the creators wins: {won:?}, {lost:?}");
    assert!(lost.iter().all(|(outcome, ..)| *outcome == CommitOutcome::Conflict), "{lost:?}");
    let now = lake.process().newest().await;
    assert_eq!((&now.table_id, now.pointer), (&won[0].1, Some(won[0].2)));
}

conformance!(tables: delta_on_memory, delta_on_local => [
    nothing_is_no_table,
    planning_a_creation_writes_nothing,
    a_creation_is_version_0_with_its_pointer,
    a_second_creation_conflicts,
    the_same_creation_again_is_known_as_ones_own,
    one_of_many_creators_wins,
]);
