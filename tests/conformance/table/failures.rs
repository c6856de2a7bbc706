//! What goes wrong: tables that are not ours to write, tables that are damaged, and storage that fails.

use std::sync::atomic::{AtomicBool, Ordering};

use lakefeed::error::ErrorKind;
use lakefeed::fault::{Call, Fault, Operation};
use lakefeed::table::{CommitOutcome, TableDefinition};

use crate::support::tables::{LEDGER, Lake, numbered_rows, numbered_schema};

async fn a_table_that_asks_for_what_we_do_not_know_is_refused(lake: Lake) {
    lake.created().await;
    let (files, process) = (lake.files(), lake.process());
    for demand in lake.format.demands(&files).await {
        let back = files.change(&demand).await;
        let refused = process.table.load(LEDGER).await.map(|found| found.map(|s| s.version));
        let error = refused.expect_err(demand.what);
        assert_eq!(error.kind(), ErrorKind::TableUnsupported, "{}: {error}", demand.what);
        assert!(error.advice().is_some() && error.object().is_some(), "{error}");
        files.change(&back).await;
        process.newest().await;
    }
}

async fn a_damaged_table_is_told_of(lake: Lake) {
    let (process, _) = lake.created().await;
    process.add("a.csv", 0..5, 2).await;
    process.add("b.csv", 5..8, 3).await;
    let files = lake.files();
    for damage in lake.format.damages(&files).await {
        let back = files.change(&damage).await;
        let before = files.everything().await;
        let loaded = process.table.load(LEDGER).await;
        let loaded = loaded.map(|found| found.map(|snapshot| snapshot.version));
        let error = loaded.expect_err(damage.what);
        assert_eq!(error.kind(), ErrorKind::TableInvalid, "{}: {error}", damage.what);
        assert_eq!(files.everything().await, before, "{}: it is left as it is", damage.what);
        files.change(&back).await;
        assert_eq!(process.newest().await.version, 2);
    }
}

async fn storage_that_fails_is_neither_damage_nor_absence(lake: Lake) {
    for is_there in [false, true] {
        if is_there {
            let (process, _) = lake.created().await;
            process.add("a.csv", 0..5, 2).await;
        }
        for fault in [Fault::Refuse, Fault::LoseRequest, Fault::LoseAnswer] {
            let loaded = lake.process_with(move |_| fault).table.load(LEDGER).await;
            let error = loaded.expect_err("nothing can be known");
            assert_eq!(error.kind(), ErrorKind::StorageUnavailable, "{fault:?}: {error}");
        }
    }
}

fn is_write(call: &Call<'_>) -> bool {
    matches!(
        call.operation,
        Operation::Create | Operation::Put | Operation::Copy | Operation::Complete
    )
}

async fn what_is_refused_did_not_happen(lake: Lake) {
    let refusing =
        || lake.process_with(|call| if is_write(call) { Fault::Refuse } else { Fault::None });
    let definition = TableDefinition { schema: numbered_schema(), partition_by: vec![] };
    let creator = refusing();
    let creation = creator.table.plan_creation(&definition, LEDGER, 1).await.unwrap();
    let error = creator.table.try_create(&creation).await.expect_err("it may not be written");
    assert_eq!(error.kind(), ErrorKind::StorageUnavailable, "{error}");
    assert!(lake.files().everything().await.is_empty());

    let (process, base) = lake.created().await;
    let append = process.append(&base, "a.csv", 0..5).await;
    let before = lake.files().everything().await;
    let error = refusing().try_commit(&base, &append, 2).await.expect_err("it may not be written");
    assert_eq!(error.kind(), ErrorKind::StorageUnavailable, "{error}");
    assert!(!error.kind().might_have_happened());
    assert_eq!(lake.files().everything().await, before);
    // Nobody stands in the way of the next.
    let outcome = process.try_commit(&base, &append, 2).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Committed(1));
}

/// Faults of the first write. What comes after is as it was, or all of it is lost.
fn first_write(fault: Fault, and_then_the_storage_is_gone: bool) -> impl Fn(&Call<'_>) -> Fault {
    let is_written = AtomicBool::new(false);
    move |call| {
        if is_write(call) && !is_written.swap(true, Ordering::SeqCst) {
            fault
        } else if and_then_the_storage_is_gone && is_written.load(Ordering::SeqCst) {
            Fault::LoseRequest
        } else {
            Fault::None
        }
    }
}

/// However the first try's answer was lost or wrong, it is found out what became of it.
async fn an_answer_that_is_lost_or_wrong_is_found_out(lake: Lake) {
    let (process, _) = lake.created().await;
    let faults = [
        Fault::LoseAnswer,
        Fault::LoseRequest,
        Fault::Conflict,
        Fault::DoneThenConflict,
        Fault::DoneThenRefuse,
    ];
    for (fault, pointer) in faults.into_iter().zip(2..) {
        let base = process.newest().await;
        let append = process.append(&base, "a.csv", pointer..pointer + 1).await;
        let unlucky = lake.process_with(first_write(fault, false));
        let outcome = unlucky.try_commit(&base, &append, pointer).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Committed(base.version + 1), "{fault:?}");
        assert_eq!(process.newest().await.pointer, Some(pointer), "{fault:?}");
    }
    assert_eq!(lake.all_rows().await, numbered_rows("a.csv", 2..7));
    assert_eq!(process.rows(&process.newest().await).await, numbered_rows("a.csv", 2..7));
}

async fn what_cannot_be_found_out_is_unknown_and_told_by_a_later_load(lake: Lake) {
    let (process, _) = lake.created().await;
    for (fault, pointer, is_done) in
        [(Fault::LoseAnswer, 2, true), (Fault::LoseRequest, 3, false), (Fault::Refuse, 4, false)]
    {
        let base = process.newest().await;
        let append = process.append(&base, "a.csv", pointer..pointer + 1).await;
        let unlucky = lake.process_with(first_write(fault, true));
        let outcome = unlucky.try_commit(&base, &append, pointer).await;
        assert_eq!(outcome.unwrap(), CommitOutcome::Unknown, "{fault:?}");

        let now = process.newest().await;
        let (version, rows) = (base.version + u64::from(is_done), process.rows(&now).await);
        assert_eq!((now.version, now.pointer == Some(pointer)), (version, is_done), "{fault:?}");
        let row = numbered_rows("a.csv", pointer..pointer + 1).remove(0);
        assert_eq!(rows.contains(&row), is_done, "{fault:?}");
    }
}

async fn a_creation_may_be_unknown_too(lake: Lake) {
    let definition = TableDefinition { schema: numbered_schema(), partition_by: vec![] };
    for (fault, is_done) in [(Fault::LoseRequest, false), (Fault::LoseAnswer, true)] {
        let unlucky = lake.process_with(first_write(fault, true));
        let creation = unlucky.table.plan_creation(&definition, LEDGER, 9).await.unwrap();
        let outcome = unlucky.table.try_create(&creation).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Unknown, "{fault:?}");
        let now = lake.process().table.load(LEDGER).await.unwrap();
        let created = now.map(|snapshot| (snapshot.table_id, snapshot.pointer));
        assert_eq!(created, is_done.then_some((creation.table_id, Some(9))), "{fault:?}");
    }
}

conformance!(tables: delta_on_memory, delta_on_local => [
    a_table_that_asks_for_what_we_do_not_know_is_refused,
    a_damaged_table_is_told_of,
    storage_that_fails_is_neither_damage_nor_absence,
    what_is_refused_did_not_happen,
    an_answer_that_is_lost_or_wrong_is_found_out,
    what_cannot_be_found_out_is_unknown_and_told_by_a_later_load,
    a_creation_may_be_unknown_too,
]);
