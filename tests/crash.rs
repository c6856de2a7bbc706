//! Crash points: a real process, killed at each request that it makes of its storage.
//!
//! Nothing happens between two requests that outlives the process, so killing it before each of them
//! covers every point at which it can die with something done and something left to do. After each
//! kill comes another, elsewhere, and then a run to the end; and every row must be there once, or, of
//! what was taken away, never.
//!
//! A child is this very program, told by its environment what to do and where to die.
#![cfg(feature = "delta")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)] // Processes are told by their environment.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;
use lakefeed::clock::{Entropy, SystemClock};
use lakefeed::config::{ColumnType, Feed, OnChanged};
use lakefeed::environment::Environment;
use lakefeed::fault::{Call, Fault, Faults, FaultyStore, Operation, Treatment};
use lakefeed::ingest::ingest;
use lakefeed::memory::MemoryBudget;
use lakefeed::orphans;
use lakefeed::receipt::Status;
use lakefeed::source::discover;
use lakefeed::store::Stores;
use lakefeed::table;
use lakefeed::undo::undo;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use object_store::local::LocalFileSystem;

const FOLDER: &str = "LAKEFEED_CRASH_FOLDER";
const POINT: &str = "LAKEFEED_CRASH_POINT";
const DEED: &str = "LAKEFEED_CRASH_DEED";
/// What a child does: ingests, ingests with only the requests of uploads counted, ingests objects that
/// have changed, or undoes one.
const INGEST: &str = "ingest";
const UPLOAD: &str = "upload";
const REPLACE: &str = "replace";
const UNDO: &str = "undo";
/// No ingest of these tests makes so many requests.
const POINTS_MAX: u64 = 400;
const NOWHERE: u64 = u64::MAX;

/// Kills the process before its n-th request.
struct CrashAt {
    point: u64,
    uploads_only: bool,
    requests: AtomicU64,
}

impl Faults for CrashAt {
    fn treat(&self, call: &Call<'_>) -> Treatment {
        let is_upload =
            matches!(call.operation, Operation::Begin | Operation::Part | Operation::Complete);
        if is_upload || !self.uploads_only {
            let request = 1 + self.requests.fetch_add(1, Ordering::SeqCst);
            if request == self.point {
                kill(Pid::this(), Signal::SIGKILL).unwrap();
            }
        }
        Treatment::from(Fault::None)
    }
}

fn environment(folder: &Path) -> Environment {
    Environment {
        clock: Arc::new(SystemClock::default()),
        entropy: Arc::new(Entropy::from_system()),
        stores: Arc::new(Stores::new(folder.to_owned())),
        process: "crash".to_owned(),
        time_box: None,
        budget: MemoryBudget::for_process(256 << 20).unwrap(),
        ledger: lakefeed::ledger::Limits::default(),
    }
}

fn feed(deed: &str) -> Feed {
    Feed {
        on_changed: if deed == REPLACE { OnChanged::Replace } else { OnChanged::Skip },
        source: vec!["inbox".to_owned()],
        table: "table".to_owned(),
        // Else the bad row would have its say in what the column is.
        columns: [("id".to_owned(), ColumnType::from_str("int64").unwrap().into())].into(),
        // So that some objects share files, and some have their own.
        stage_bytes_max: 4096,
        ..Feed::default()
    }
}

/// Not a test by itself: what a child does. Without its environment, there is nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let environment = environment(Path::new(&folder));
    let deed = std::env::var(DEED).unwrap();
    let feed = feed(&deed);
    let faults = CrashAt {
        point: std::env::var(POINT).unwrap().parse().unwrap(),
        uploads_only: deed == UPLOAD,
        requests: AtomicU64::new(0),
    };
    let local = Arc::new(LocalFileSystem::new().with_fsync(true));
    let clock = Arc::clone(&environment.clock);
    let store = FaultyStore::new(local, Arc::new(faults), clock, Arc::default());
    environment.stores.overlay("file", Arc::new(store));
    if deed == UNDO {
        let table = table::open(&environment, &feed).unwrap();
        let object = environment.stores.resolve("inbox/a.csv").unwrap().uri;
        undo(&environment, &feed, table.as_ref(), &[object]).await.unwrap();
        return;
    }
    let found = discover(&environment.stores, &feed.source).try_collect().await.unwrap();
    let receipts = ingest(&environment, &feed, found, &()).await.unwrap();
    for receipt in receipts {
        let is_bad = receipt.source.ends_with("bad.csv");
        assert_eq!(receipt.status == Status::Failed, is_bad, "{receipt:?}");
    }
}

fn run_child(folder: &Path, point: u64, deed: &str) -> ExitStatus {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]).stdout(Stdio::null());
    command.env(FOLDER, folder).env(POINT, point.to_string()).env(DEED, deed);
    command.status().unwrap()
}

/// Runs with a kill at each point until one is past the end; says how many there were. What is prepared
/// below a folder says which rows must be there in the end.
async fn kill_at_each_point(deed: &str, prepare: impl Fn(&Path) -> Vec<i64>) -> u64 {
    for point in 1..POINTS_MAX {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("inbox")).unwrap();
        let rows = prepare(folder.path());
        let first = run_child(folder.path(), point, deed);
        if first.success() {
            return point - 1;
        }
        assert_eq!(first.signal(), Some(Signal::SIGKILL as i32), "point {point}");
        if deed != UPLOAD {
            // Wherever the next one dies, it has not harmed what the first one left.
            run_child(folder.path(), 1 + point * 7 % 23, deed);
        }
        assert!(run_child(folder.path(), NOWHERE, deed).success(), "point {point}");
        let counts = count_rows(folder.path()).await;
        let once: BTreeMap<i64, u64> = rows.into_iter().map(|id| (id, 1)).collect();
        assert_eq!(counts, once, "after a kill at point {point}");
        assert_eq!(
            unnamed_after_a_sweep(folder.path()).await,
            Vec::<String>::new(),
            "point {point}"
        );
    }
    panic!("there are more than {POINTS_MAX} points");
}

/// How often each row is in the table.
async fn count_rows(folder: &Path) -> BTreeMap<i64, u64> {
    let table = table::open(&environment(folder), &feed(INGEST)).unwrap();
    let snapshot = table.load("default").await.unwrap().unwrap();
    let mut counts = BTreeMap::new();
    for batch in table.some_rows(&snapshot, usize::MAX).await.unwrap() {
        for id in batch.column(0).as_primitive::<Int64Type>().values() {
            *counts.entry(*id).or_default() += 1;
        }
    }
    counts
}

/// The finished data files that no version names, after a sweep of orphans.
async fn unnamed_after_a_sweep(folder: &Path) -> Vec<String> {
    let environment = environment(folder);
    let table = table::open(&environment, &feed(INGEST)).unwrap();
    orphans::sweep(&environment, table.as_ref(), "default", 1).await.unwrap();
    let snapshot = table.load("default").await.unwrap().unwrap();
    let named = table.file_names_at(&environment, &snapshot).await.unwrap();
    let named = named.try_concat().await.unwrap();
    let there = fs::read_dir(folder.join("table")).unwrap();
    let there = there.map(|file| file.unwrap().file_name().into_string().unwrap());
    // The parts of an upload that never ended are in a file of which no listing tells.
    there.filter(|name| name.ends_with(".parquet") && !named.contains(name)).collect()
}

/// Writes an object of these rows.
fn write(folder: &Path, name: &str, ids: impl Iterator<Item = i64>) -> Vec<i64> {
    let ids: Vec<i64> = ids.collect();
    let rows = String::from_iter(ids.iter().map(|id| format!("{id},text of {id}\n")));
    fs::write(folder.join(format!("inbox/{name}.csv")), format!("id,text\n{rows}")).unwrap();
    ids
}

/// Objects, of which a, b and c share a data file.
fn write_all(folder: &Path) -> Vec<i64> {
    let mut ids = 0..;
    let objects = [("a", 5), ("b", 3), ("large", 400), ("c", 7), ("larger", 600)];
    objects
        .into_iter()
        .flat_map(|(name, rows)| write(folder, name, ids.by_ref().take(rows)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_anywhere_every_row_is_there_once() {
    let points = kill_at_each_point(INGEST, |folder| {
        fs::write(folder.join("inbox/bad.csv"), "id,text\nno,number\n").unwrap();
        write_all(folder)
    })
    .await;
    assert!(points > 30, "only {points} points: is every request counted?");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_replaces_rows_the_new_ones_are_there_once() {
    let points = kill_at_each_point(REPLACE, |folder| {
        write_all(folder);
        assert!(run_child(folder, NOWHERE, INGEST).success());
        // One that shares its file, and one that has its own.
        let a = write(folder, "a", 2_000..2_004);
        let larger = write(folder, "larger", 3_000..3_500);
        [a, (5..415).collect(), larger].concat()
    })
    .await;
    assert!(points > 30, "only {points} points: is every request counted?");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_undoes_an_object_only_its_rows_go() {
    let points = kill_at_each_point(UNDO, |folder| {
        let all = write_all(folder);
        assert!(run_child(folder, NOWHERE, INGEST).success());
        all[5..].to_vec()
    })
    .await;
    assert!(points > 10, "only {points} points: is every request counted?");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_the_parts_of_an_upload_every_row_is_there_once() {
    let points = kill_at_each_point(UPLOAD, |folder| {
        // Text that does not compress, enough for more than one part.
        let entropy = Entropy::from_seed(1);
        let row = |id| format!("{id},{}{}{}\n", entropy.uuid(), entropy.uuid(), entropy.uuid());
        let text = String::from_iter((0..200_000).map(row));
        fs::write(folder.join("inbox/large.csv"), format!("id,text\n{text}")).unwrap();
        (0..200_000).collect()
    })
    .await;
    assert!(points >= 4, "only {points} points: was there more than one part?");
}
