//! What goes wrong: tables that are not ours to write, tables that are damaged, and storage that
//! fails.

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
    let faults = [Fault::Refuse, Fault::LoseRequest, Fault::LoseAnswer];
    for fault in faults {
        fails_to_load(&lake, move |_| fault).await;
    }
    let (process, _) = lake.created().await;
    process.add("a.csv", 0..5, 2).await;
    for fault in faults {
        fails_to_load(&lake, move |_| fault).await;
        let needed = match lake.can.lists_to_load {
            true => vec![Operation::Get, Operation::List],
            false => vec![Operation::Get],
        };
        for failing in needed {
            let is_failing = move |call: &Call<'_>| call.operation == failing;
            fails_to_load(&lake, move |call| if is_failing(call) { fault } else { Fault::None })
                .await;
        }
    }
}

async fn fails_to_load(lake: &Lake, faults: impl Fn(&Call<'_>) -> Fault + Send + Sync + 'static) {
    let loaded = lake.process_with(faults).table.load(LEDGER).await;
    let error = loaded.expect_err("nothing can be known");
    assert_eq!(error.kind(), ErrorKind::StorageUnavailable, "{error}");
}

fn is_write(call: &Call<'_>) -> bool {
    matches!(
        call.operation,
        Operation::Create | Operation::Put | Operation::Copy | Operation::Complete
    )
}

/// Whether the commit itself is written, and not what some tables put beside the log before it.
fn commit_of(lake: &Lake) -> impl Fn(&Call<'_>) -> bool + Send + Sync + use<> {
    let decides = lake.can.is_commit;
    move |call| is_write(call) && decides(call.path)
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

/// Faults of the first request of this kind. What comes after is as it was, or all of it is lost.
fn first(
    is_meant: impl Fn(&Call<'_>) -> bool,
    fault: Fault,
    and_then_the_storage_is_gone: bool,
) -> impl Fn(&Call<'_>) -> Fault {
    let is_written = AtomicBool::new(false);
    move |call| {
        if is_meant(call) && !is_written.swap(true, Ordering::SeqCst) {
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
    let of_either = faults.into_iter().flat_map(|fault| [(fault, true), (fault, false)]);
    for ((fault, of_commit), pointer) in of_either.zip(2..) {
        let base = process.newest().await;
        let append = process.append(&base, "a.csv", pointer..pointer + 1).await;
        let is_commit = commit_of(&lake);
        let is_meant =
            move |call: &Call<'_>| if of_commit { is_commit(call) } else { is_write(call) };
        let unlucky = lake.process_with(first(is_meant, fault, false));
        let outcome = unlucky.try_commit(&base, &append, pointer).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Committed(base.version + 1), "{fault:?}");
        assert_eq!(process.newest().await.pointer, Some(pointer), "{fault:?}");
    }
    let mut expected = numbered_rows("a.csv", 2..12);
    expected.sort();
    assert_eq!(lake.all_rows().await, expected);
    assert_eq!(process.rows(&process.newest().await).await, expected);
}

async fn what_cannot_be_found_out_is_unknown_and_told_by_a_later_load(lake: Lake) {
    let (process, _) = lake.created().await;
    for (fault, pointer, is_done) in
        [(Fault::LoseAnswer, 2, true), (Fault::LoseRequest, 3, false), (Fault::Refuse, 4, false)]
    {
        let base = process.newest().await;
        let append = process.append(&base, "a.csv", pointer..pointer + 1).await;
        let is_done = is_done || lake.can.decides_before_the_log;
        let unlucky = lake.process_with(first(commit_of(&lake), fault, true));
        let outcome = unlucky.try_commit(&base, &append, pointer).await;
        assert_eq!(outcome.unwrap(), CommitOutcome::Unknown, "{fault:?}");

        let now = process.newest().await;
        let (version, rows) = (base.version + u64::from(is_done), process.rows(&now).await);
        assert_eq!((now.version, now.pointer == Some(pointer)), (version, is_done), "{fault:?}");
        let row = numbered_rows("a.csv", pointer..pointer + 1).remove(0);
        assert_eq!(rows.contains(&row), is_done, "{fault:?}");
    }
}

/// The first offer may be on its way yet, whatever is said of the second.
async fn a_refusal_after_a_lost_answer_is_unknown(lake: Lake) {
    let (process, base) = lake.created().await;
    let append = process.append(&base, "a.csv", 0..5).await;
    let (is_offered, is_commit) = (AtomicBool::new(false), commit_of(&lake));
    let unlucky = lake.process_with(move |call| match is_commit(call) {
        true if is_offered.swap(true, Ordering::SeqCst) => Fault::Refuse,
        true => Fault::LoseRequest,
        false => Fault::None,
    });
    let outcome = unlucky.try_commit(&base, &append, 2).await;
    assert_eq!(outcome.unwrap(), CommitOutcome::Unknown);
}

async fn a_creation_may_be_unknown_too(lake: Lake) {
    let definition = TableDefinition { schema: numbered_schema(), partition_by: vec![] };
    let faults = match lake.can.decides_before_the_log {
        // The table is there after the first.
        true => vec![(Fault::LoseRequest, true)],
        false => vec![(Fault::LoseRequest, false), (Fault::LoseAnswer, true)],
    };
    for (fault, is_done) in faults {
        let unlucky = lake.process_with(first(commit_of(&lake), fault, true));
        let creation = unlucky.table.plan_creation(&definition, LEDGER, 9).await.unwrap();
        let outcome = unlucky.table.try_create(&creation).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Unknown, "{fault:?}");
        let now = lake.process().table.load(LEDGER).await.unwrap();
        let created = now.map(|snapshot| (snapshot.table_id, snapshot.pointer));
        assert_eq!(created, is_done.then_some((creation.table_id, Some(9))), "{fault:?}");
    }
}

on_every_table!([
    a_table_that_asks_for_what_we_do_not_know_is_refused,
    a_damaged_table_is_told_of,
    storage_that_fails_is_neither_damage_nor_absence,
    what_is_refused_did_not_happen,
    an_answer_that_is_lost_or_wrong_is_found_out,
    what_cannot_be_found_out_is_unknown_and_told_by_a_later_load,
    a_refusal_after_a_lost_answer_is_unknown,
    a_creation_may_be_unknown_too,
]);
