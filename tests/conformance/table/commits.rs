//! From one version to the next.

use std::sync::{Arc, Barrier};

use lakefeed::table::{CommitOutcome, Pointer, Snapshot};

use crate::support::tables::{LEDGER, Lake, Process, numbered_rows};

const RACERS: usize = 6;
/// Commits of each writer, where writers take turns as they come.
const COMMITS: usize = 4;
const ATTEMPTS_MAX: usize = 1_000;

async fn a_commit_takes_exactly_the_next_version(lake: Lake) {
    let (process, mut base) = lake.created().await;
    for version in 1..=3 {
        let ids = version * 10..version * 10 + 3;
        let append = process.append(&base, "a.csv", ids.clone()).await;
        let outcome = process.try_commit(&base, &append, 100 + version).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Committed(version as u64));
        let commit = lake.commit(version as u64).await;
        assert_eq!(commit.pointers[LEDGER], 100 + version);
        assert_eq!(commit.removed, 0);
        let [added] = commit.added.as_slice() else { panic!("{commit:?}") };
        assert_eq!(added.path, append.files[0].path);
        assert_eq!((added.rows, added.size_bytes), (3, append.files[0].size_bytes));
        assert_eq!(lake.files().rows_of(&added.path).await, numbered_rows("a.csv", ids));
        base = lake.process().newest().await;
        assert_eq!((base.version, base.pointer), (version as u64, Some(100 + version)));
    }
    assert_eq!(lake.versions().await, [0, 1, 2, 3]);
    assert_eq!(process.rows(&base).await, lake.all_rows().await);
}

async fn several_files_show_at_once(lake: Lake) {
    let (process, base) = lake.created().await;
    let mut files = process.append(&base, "a.csv", 0..5).await.files;
    files.extend(process.append(&base, "b.csv", 5..8).await.files);
    let append = process.append_of(files, "both");
    let outcome = process.try_commit(&base, &append, 2).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Committed(1));
    assert_eq!(lake.commit(1).await.added.len(), 2);
    let expected = [numbered_rows("a.csv", 0..5), numbered_rows("b.csv", 5..8)].concat();
    assert_eq!(process.rows(&process.newest().await).await, expected);
}

async fn files_are_not_seen_before_their_commit(lake: Lake) {
    let (process, base) = lake.created().await;
    let append = process.append(&base, "a.csv", 0..5).await;
    assert!(lake.files().get(&append.files[0].path).await.is_some());
    let now = process.newest().await;
    assert_eq!(now.version, 0);
    assert!(process.rows(&now).await.is_empty());
}

pub async fn a_stale_pin_conflicts_and_changes_nothing(lake: Lake) {
    let (process, stale) = lake.created().await;
    let late = process.append(&stale, "late.csv", 100..110).await;
    for version in 1..=2 {
        lake.process().add("first.csv", version..version + 1, version).await;
        let before = lake.files().everything().await;
        let outcome = process.try_commit(&stale, &late, 77).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Conflict);
        assert_eq!(lake.files().everything().await, before);
        assert_eq!(process.newest().await.pointer, Some(version));
    }
    assert_eq!(lake.versions().await, [0, 1, 2]);
    assert_eq!(lake.all_rows().await, numbered_rows("first.csv", 1..3));
    // On top of the newest, the same files are as good.
    let outcome = process.try_commit(&process.newest().await, &late, 77).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Committed(3));
    assert_eq!(process.rows(&process.newest().await).await.len(), 12);
}

pub async fn one_of_many_writers_on_one_pin_wins(lake: Lake) {
    let (_, base) = lake.created().await;
    let start = Arc::new(Barrier::new(RACERS));
    let mut racers = Vec::new();
    for number in 0..RACERS as i64 {
        let (process, base) = (lake.process(), base.clone());
        let append = process.append(&base, &format!("{number}.csv"), number..number + 1).await;
        let (start, runtime) = (Arc::clone(&start), tokio::runtime::Handle::current());
        racers.push(std::thread::spawn(move || {
            start.wait();
            runtime.block_on(process.try_commit(&base, &append, 100 + number)).unwrap()
        }));
    }
    let told = || racers.into_iter().map(|racer| racer.join().unwrap()).collect::<Vec<_>>();
    let told = tokio::task::block_in_place(told);
    let is_won = |&&outcome: &&CommitOutcome| outcome == CommitOutcome::Committed(1);
    assert_eq!(told.iter().filter(is_won).count(), 1, "exactly one writer wins: {told:?}");
    let is_lost = |&&outcome: &&CommitOutcome| outcome == CommitOutcome::Conflict;
    assert_eq!(told.iter().filter(is_lost).count(), RACERS - 1, "{told:?}");

    let winner = told.iter().position(|outcome| is_won(&outcome)).unwrap() as i64;
    let expected = numbered_rows(&format!("{winner}.csv"), winner..winner + 1);
    assert_eq!(lake.versions().await, [0, 1]);
    assert_eq!(lake.all_rows().await, expected);
    let now = lake.process().newest().await;
    assert_eq!((now.version, now.pointer), (1, Some(100 + winner)));
    assert_eq!(lake.process().rows(&now).await, expected);
}

/// One writer of several: commits on the newest, whatever the newest is, until it has committed.
async fn commit_in_the_end(process: &Process, pointer: Pointer) -> Snapshot {
    let base = process.newest().await;
    let append = process.append(&base, &format!("{pointer}.csv"), pointer..pointer + 1).await;
    let mut base = base;
    for _ in 0..ATTEMPTS_MAX {
        match process.try_commit(&base, &append, pointer).await.unwrap() {
            CommitOutcome::Committed(version) => {
                assert_eq!(version, base.version + 1);
                return base;
            }
            CommitOutcome::Conflict => base = process.newest().await,
            CommitOutcome::Unknown => panic!("nothing failed"),
        }
    }
    panic!("it never wins");
}

async fn versions_are_contiguous_and_files_move_with_the_pointer(lake: Lake) {
    lake.created().await;
    let mut writers = Vec::new();
    for writer in 0..RACERS {
        let (process, runtime) = (lake.process(), tokio::runtime::Handle::current());
        writers.push(std::thread::spawn(move || {
            for number in 0..COMMITS {
                let pointer = (100 + writer * COMMITS + number) as Pointer;
                runtime.block_on(commit_in_the_end(&process, pointer));
            }
        }));
    }
    let done = || writers.into_iter().for_each(|writer| writer.join().unwrap());
    tokio::task::block_in_place(done);

    let commits = RACERS * COMMITS;
    assert_eq!(lake.versions().await, (0..=commits as u64).collect::<Vec<_>>());
    let mut pointers = Vec::new();
    for version in 1..=commits as u64 {
        let commit = lake.commit(version).await;
        let pointer = commit.pointers[LEDGER];
        let [added] = commit.added.as_slice() else { panic!("{commit:?}") };
        let expected = numbered_rows(&format!("{pointer}.csv"), pointer..pointer + 1);
        assert_eq!(lake.files().rows_of(&added.path).await, expected, "version {version}");
        pointers.push(pointer);
    }
    assert_eq!(lake.process().newest().await.pointer, pointers.last().copied());
    pointers.sort_unstable();
    assert_eq!(pointers, (100..100 + commits as Pointer).collect::<Vec<_>>());
}

async fn an_append_of_no_files_moves_only_the_pointer(lake: Lake) {
    let (process, _) = lake.created().await;
    let base = process.add("a.csv", 0..5, 2).await;
    let rows = process.rows(&base).await;
    let nothing = process.append_of(vec![], "empty.csv");
    let outcome = process.try_commit(&base, &nothing, 3).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Committed(2));
    let commit = lake.commit(2).await;
    assert_eq!((commit.pointers[LEDGER], commit.added.len(), commit.removed), (3, 0, 0));
    let now = process.newest().await;
    assert_eq!((now.version, now.pointer), (2, Some(3)));
    assert_eq!(process.rows(&now).await, rows);
    assert_eq!(now.layout, base.layout);
    // It takes the version as any other does.
    let late = process.append_of(vec![], "late.csv");
    assert_eq!(process.try_commit(&base, &late, 4).await.unwrap(), CommitOutcome::Conflict);
}

/// As after a rebuild of the ledger, whose sequence starts where nobody expects it.
async fn a_pointer_goes_wherever_it_is_told(lake: Lake) {
    let (process, mut base) = lake.created().await;
    for pointer in [1 << 40, 5, 5, Pointer::MAX, 0] {
        let append = process.append(&base, "a.csv", 0..1).await;
        let outcome = process.try_commit(&base, &append, pointer).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Committed(base.version + 1));
        assert_eq!(lake.commit(base.version + 1).await.pointers[LEDGER], pointer);
        base = process.newest().await;
        assert_eq!(base.pointer, Some(pointer));
    }
}

async fn ledgers_have_pointers_of_their_own(lake: Lake) {
    let (process, base) = lake.created().await;
    let table = process.table.as_ref();
    assert_eq!(table.load("other").await.unwrap().unwrap().pointer, None);
    let append = process.append(&base, "a.csv", 0..1).await;
    let outcome = table.try_commit(&base, &append, "other", 500).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Committed(1));
    assert_eq!(
        lake.commit(1).await.pointers.into_iter().collect::<Vec<_>>(),
        [("other".to_owned(), 500)]
    );

    let base = process.newest().await;
    assert_eq!((base.version, base.pointer), (1, Some(1)));
    let append = process.append(&base, "b.csv", 1..2).await;
    process.try_commit(&base, &append, 2).await.unwrap();
    assert_eq!(process.newest().await.pointer, Some(2));
    let other = table.load("other").await.unwrap().unwrap();
    assert_eq!((other.version, other.pointer), (2, Some(500)));
    assert_eq!(table.load("othe").await.unwrap().unwrap().pointer, None);
}

conformance!(tables: delta_on_memory, delta_on_local => [
    a_commit_takes_exactly_the_next_version,
    several_files_show_at_once,
    files_are_not_seen_before_their_commit,
    a_stale_pin_conflicts_and_changes_nothing,
    one_of_many_writers_on_one_pin_wins,
    versions_are_contiguous_and_files_move_with_the_pointer,
    an_append_of_no_files_moves_only_the_pointer,
    a_pointer_goes_wherever_it_is_told,
    ledgers_have_pointers_of_their_own,
]);
