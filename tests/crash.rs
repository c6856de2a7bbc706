//! Crash points: a real process, killed at each request that it makes of its storage.
//!
//! Nothing happens between two requests that outlives the process, so killing it before each of them
//! covers every point at which it can die with something done and something left to do. After each
//! kill comes another, elsewhere, and then a run to the end; and every row must be there once.
//!
//! A child is this very program, told by its environment to ingest and where to die.
#![cfg(feature = "delta")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)] // Processes are told by their environment.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;
use lakefeed::clock::{Entropy, SystemClock};
use lakefeed::config::Feed;
use lakefeed::environment::Environment;
use lakefeed::fault::{Call, Fault, Faults, FaultyStore, Operation, Treatment};
use lakefeed::ingest::ingest;
use lakefeed::memory::MemoryBudget;
use lakefeed::orphans;
use lakefeed::receipt::Status;
use lakefeed::source::discover;
use lakefeed::store::Stores;
use lakefeed::table;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use object_store::local::LocalFileSystem;

const FOLDER: &str = "LAKEFEED_CRASH_FOLDER";
const POINT: &str = "LAKEFEED_CRASH_POINT";
const UPLOADS_ONLY: &str = "LAKEFEED_CRASH_UPLOADS_ONLY";
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

fn feed() -> Feed {
    Feed {
        source: vec!["inbox".to_owned()],
        table: "table".to_owned(),
        // Else the bad row would have its say in what the column is.
        columns: [("id".to_owned(), "int64".parse().unwrap())].into(),
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
    let faults = CrashAt {
        point: std::env::var(POINT).unwrap().parse().unwrap(),
        uploads_only: std::env::var(UPLOADS_ONLY).is_ok(),
        requests: AtomicU64::new(0),
    };
    let local = Arc::new(LocalFileSystem::new().with_fsync(true));
    let clock = Arc::clone(&environment.clock);
    let store = FaultyStore::new(local, Arc::new(faults), clock, Arc::default());
    environment.stores.overlay("file", Arc::new(store));
    let source = feed().source;
    let found = discover(&environment.stores, &source).try_collect().await.unwrap();
    let receipts = ingest(&environment, &feed(), found, &()).await.unwrap();
    for receipt in receipts {
        let is_bad = receipt.source.ends_with("bad.csv");
        assert_eq!(receipt.status == Status::Failed, is_bad, "{receipt:?}");
    }
}

fn run_child(folder: &Path, point: u64, uploads_only: bool) -> ExitStatus {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]).stdout(Stdio::null());
    command.env(FOLDER, folder).env(POINT, point.to_string());
    if uploads_only {
        command.env(UPLOADS_ONLY, "1");
    }
    command.status().unwrap()
}

/// Runs with a kill at each point until one is past the end; says how many there were.
async fn kill_at_each_point(uploads_only: bool, prepare: impl Fn(&Path) -> u64) -> u64 {
    for point in 1..POINTS_MAX {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("inbox")).unwrap();
        let rows = prepare(&folder.path().join("inbox"));
        let first = run_child(folder.path(), point, uploads_only);
        if first.success() {
            return point - 1;
        }
        assert_eq!(first.signal(), Some(Signal::SIGKILL as i32), "point {point}");
        if !uploads_only {
            // Wherever the next one dies, it has not harmed what the first one left.
            run_child(folder.path(), 1 + point * 7 % 23, uploads_only);
        }
        assert!(run_child(folder.path(), NOWHERE, uploads_only).success(), "point {point}");
        let counts = count_rows(folder.path()).await;
        let once: BTreeMap<i64, u64> = (0..rows as i64).map(|id| (id, 1)).collect();
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
    let table = table::open(&environment(folder), &feed()).unwrap();
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
    let table = table::open(&environment, &feed()).unwrap();
    orphans::sweep(&environment, table.as_ref(), "default", 1).await.unwrap();
    let snapshot = table.load("default").await.unwrap().unwrap();
    let named = table.file_names_at(&environment, &snapshot).await.unwrap();
    let named = named.try_concat().await.unwrap();
    let there = fs::read_dir(folder.join("table")).unwrap();
    let there = there.map(|file| file.unwrap().file_name().into_string().unwrap());
    // The parts of an upload that never ended are in a file of which no listing tells.
    there.filter(|name| name.ends_with(".parquet") && !named.contains(name)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_anywhere_every_row_is_there_once() {
    let points = kill_at_each_point(false, |inbox| {
        let mut ids = 0..;
        for (name, rows) in [("a", 5), ("b", 3), ("large", 400), ("c", 7), ("larger", 600)] {
            let text = ids.by_ref().take(rows).map(|id| format!("{id},text of {id}\n"));
            fs::write(
                inbox.join(format!("{name}.csv")),
                format!("id,text\n{}", String::from_iter(text)),
            )
            .unwrap();
        }
        fs::write(inbox.join("bad.csv"), "id,text\nno,number\n").unwrap();
        ids.start
    })
    .await;
    assert!(points > 30, "only {points} points: is every request counted?");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_the_parts_of_an_upload_every_row_is_there_once() {
    let points = kill_at_each_point(true, |inbox| {
        // Text that does not compress, enough for more than one part.
        let entropy = Entropy::from_seed(1);
        let row = |id| format!("{id},{}{}{}\n", entropy.uuid(), entropy.uuid(), entropy.uuid());
        let text = String::from_iter((0..200_000).map(row));
        fs::write(inbox.join("large.csv"), format!("id,text\n{text}")).unwrap();
        200_000
    })
    .await;
    assert!(points >= 4, "only {points} points: was there more than one part?");
}
