//! Files that a commit takes away: which they are, what is in them, and that nobody else's go.

use std::collections::BTreeSet;

use futures::TryStreamExt;
use lakefeed::error::ErrorKind;
use lakefeed::table::{
    Append, CommitOutcome, Effect, FileNames, LiveFile, Snapshot, Sources, TableDefinition,
};

use crate::support::tables::{Lake, Process, numbered_rows, numbered_schema, rows};

const FILES_MAX: usize = 100;

fn of(names: &[&str]) -> Sources {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    Sources::Named { column: "source".to_owned(), names }
}

impl Process {
    async fn files_of(&self, snapshot: &Snapshot, sources: &Sources) -> Vec<LiveFile> {
        self.table.files_with(snapshot, sources, FILES_MAX).await.unwrap()
    }

    async fn named(&self, names: FileNames<'_>) -> BTreeSet<String> {
        names.try_concat().await.unwrap().into_iter().collect()
    }

    /// The rows of files in words: in all columns, or in one.
    async fn rows_in(
        &self,
        snapshot: &Snapshot,
        files: &[LiveFile],
        only: Option<&str>,
    ) -> Vec<String> {
        let (mut all, budget) = (Vec::new(), &self.environment.budget);
        for file in files {
            let read = self.table.rows_of(snapshot, file, only, budget).await.unwrap();
            all.extend(rows(&read.try_collect::<Vec<_>>().await.unwrap()));
        }
        all.sort();
        all
    }

    fn removal_of(&self, removed: Vec<LiveFile>) -> Append {
        let effect = Effect::Delete { predicate: "true".to_owned() };
        Append { removed, effect, ..self.append_of(vec![], "a.csv") }
    }
}

/// Of each source two files.
async fn three_sources(lake: &Lake) -> (Process, Snapshot) {
    let (process, mut newest) = lake.created().await;
    for (pointer, source) in (2..).zip(["a.csv", "b/ü.csv", "c.csv", "a.csv", "b/ü.csv", "c.csv"])
    {
        newest = process.add(source, pointer * 10..pointer * 10 + pointer, pointer).await;
    }
    (process, newest)
}

async fn the_files_of_a_source_are_found(lake: Lake) {
    let (process, newest) = three_sources(&lake).await;
    let all = process.rows_in(&newest, &process.files_of(&newest, &Sources::All).await, None).await;
    assert_eq!(all, process.rows(&newest).await);
    let none: Vec<String> = (0..100).map(|number| format!("d{number}.csv")).collect();
    let none: Vec<&str> = none.iter().map(String::as_str).collect();
    for (names, files) in [
        (vec!["b/ü.csv"], 2),
        (vec!["a.csv", "c.csv"], 4),
        (vec!["a.csv", "nobody's.csv"], 2),
        (vec!["nobody's.csv"], 0),
        ([vec!["a.csv"], none].concat(), 6),
    ] {
        let found = process.files_of(&newest, &of(&names)).await;
        assert_eq!(found.len(), files, "{names:?}");
        let is_wanted = |row: &&String| names.iter().any(|name| row.ends_with(&format!("={name}")));
        let found: BTreeSet<String> =
            process.rows_in(&newest, &found, None).await.into_iter().collect();
        assert!(all.iter().filter(is_wanted).all(|row| found.contains(row)), "{names:?}");
    }
}

async fn files_are_named_as_long_as_anything_remembers_them(lake: Lake) {
    let (process, newest) = three_sources(&lake).await;
    let files = process.files_of(&newest, &of(&["a.csv"])).await;
    let removal = process.removal_of(files);
    let removed = process.try_commit(&newest, &removal, 9).await.unwrap();
    assert_eq!(removed, CommitOutcome::Committed(newest.version + 1));
    let now = process.newest().await;
    let all = process.named(process.table.file_names_in_history(&now)).await;
    assert_eq!(all.len(), 6);
    for snapshot in [&newest, &now] {
        let named = process.table.file_names_at(&process.environment, snapshot).await.unwrap();
        assert_eq!(process.named(named).await, all, "at {}", snapshot.version);
    }
}

async fn more_files_than_are_looked_for_are_refused(lake: Lake) {
    let (process, newest) = three_sources(&lake).await;
    let find = async |files_max| process.table.files_with(&newest, &Sources::All, files_max).await;
    assert_eq!(find(6).await.unwrap().len(), 6);
    assert_eq!(find(5).await.unwrap_err().kind(), ErrorKind::OverBudget);
}

async fn one_column_is_read_alone(lake: Lake) {
    let (process, newest) = three_sources(&lake).await;
    let files = process.files_of(&newest, &of(&["a.csv"])).await;
    let sources = process.rows_in(&newest, &files, Some("source")).await;
    assert_eq!(sources, ["source=a.csv"; 7]);
}

async fn a_column_of_partitions_is_read_like_another(lake: Lake) {
    let definition =
        TableDefinition { schema: numbered_schema(), partition_by: vec!["source".to_owned()] };
    let (process, _) = lake.created_as(&definition).await;
    process.add("a b/ü=1%.csv", 0..3, 2).await;
    let newest = process.add("c.csv", 5..9, 3).await;
    let files = process.files_of(&newest, &of(&["a b/ü=1%.csv"])).await;
    assert_eq!(files.len(), 1);
    let sources = process.rows_in(&newest, &files, Some("source")).await;
    assert_eq!(sources, ["source=a b/ü=1%.csv"; 3]);
    assert_eq!(process.rows_in(&newest, &files, None).await, numbered_rows("a b/ü=1%.csv", 0..3));
    let removed = process.try_commit(&newest, &process.removal_of(files), 4).await.unwrap();
    assert_eq!(removed, CommitOutcome::Committed(3));
    assert_eq!(process.rows(&process.newest().await).await, numbered_rows("c.csv", 5..9));
}

async fn what_is_reserved_for_reading_is_given_back(lake: Lake) {
    let (process, newest) = three_sources(&lake).await;
    let budget = &process.environment.budget;
    let before = budget.available_bytes();
    let file = &process.files_of(&newest, &Sources::All).await[0];
    let reading = process.table.rows_of(&newest, file, None, budget).await.unwrap();
    assert!(budget.available_bytes() < before);
    drop(reading);
    assert_eq!(budget.available_bytes(), before);
}

async fn files_change_places_in_one_commit(lake: Lake) {
    let (process, before) = three_sources(&lake).await;
    let rows = process.rows(&before).await;
    let removed = process.files_of(&before, &of(&["b/ü.csv"])).await;
    let new = process.append(&before, "d.csv", 500..503).await;
    let effect = Effect::Replace { predicate: "`source` IN ('b/ü.csv')".to_owned() };
    let exchange = Append { removed, effect, ..new };
    assert_eq!(
        process.try_commit(&before, &exchange, 9).await.unwrap(),
        CommitOutcome::Committed(7)
    );
    let commit = lake.commit(7).await;
    assert_eq!((commit.removed, commit.added.len(), commit.pointers["default"]), (2, 1, 9));
    let others = rows.iter().filter(|row| !row.contains("b/ü.csv")).cloned();
    let mut expected: Vec<String> = others.chain(numbered_rows("d.csv", 500..503)).collect();
    expected.sort();
    assert_eq!(process.rows(&lake.process().newest().await).await, expected);
    assert_eq!(process.rows(&before).await, rows, "an old snapshot reads as it did");
}

async fn a_removal_on_a_stale_pin_conflicts_and_takes_nothing(lake: Lake) {
    let (process, pinned) = three_sources(&lake).await;
    let removal = process.removal_of(process.files_of(&pinned, &of(&["a.csv"])).await);
    let newest = lake.process().add("e.csv", 0..3, 8).await;
    let rows = process.rows(&newest).await;
    assert_eq!(process.try_commit(&pinned, &removal, 9).await.unwrap(), CommitOutcome::Conflict);
    assert_eq!(process.rows(&process.newest().await).await, rows);
}

/// What was found out about a file holds for the next version, too.
async fn a_file_is_known_again(lake: Lake) {
    let ids = |files: Vec<LiveFile>| files.into_iter().map(|file| file.id).collect::<BTreeSet<_>>();
    let (process, first) = three_sources(&lake).await;
    let before = ids(process.files_of(&first, &Sources::All).await);
    assert_eq!(before.len(), 6);
    let other = lake.process();
    let newest = other.add("e.csv", 0..3, 8).await;
    let after = ids(other.files_of(&newest, &Sources::All).await);
    assert!(after.is_superset(&before) && after.len() == 7, "{before:?} {after:?}");
}

async fn a_table_that_keeps_its_rows_is_refused(lake: Lake) {
    let (process, created) = lake.created().await;
    process.table.check_removable(&created).unwrap();
    let files = lake.files();
    for promise in lake.format.promises(&files).await {
        let back = files.change(&promise).await;
        let error = process.table.check_removable(&process.newest().await);
        let error = error.expect_err(promise.what);
        assert_eq!(error.kind(), ErrorKind::TableUnsupported, "{}: {error}", promise.what);
        assert!(error.advice().is_some() && error.object().is_some(), "{error}");
        files.change(&back).await;
        process.table.check_removable(&process.newest().await).unwrap();
    }
}

on_every_delta_table!([
    the_files_of_a_source_are_found,
    files_are_named_as_long_as_anything_remembers_them,
    more_files_than_are_looked_for_are_refused,
    one_column_is_read_alone,
    a_column_of_partitions_is_read_like_another,
    what_is_reserved_for_reading_is_given_back,
    files_change_places_in_one_commit,
    a_removal_on_a_stale_pin_conflicts_and_takes_nothing,
    a_file_is_known_again,
    a_table_that_keeps_its_rows_is_refused,
]);
