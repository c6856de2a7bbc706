//! The protocol, raced by hand on a real table in memory: Delta, or Iceberg in a build without Delta.
#![cfg(any(feature = "delta", feature = "iceberg"))]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arrow::datatypes::{DataType, Field, Schema};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::*;
use crate::clock::{Entropy, SystemClock};
use crate::config::{Feed, Format};
use crate::fault::{Call, Fault, Faults, FaultyStore, Operation, Treatment};
use crate::ledger::EntryState;
use crate::memory::MemoryBudget;
use crate::repair;
use crate::store::Stores;
use crate::table::{ColumnStatistics, TableDefinition, Value};

#[cfg(feature = "delta")]
mod delta;
#[cfg(feature = "iceberg")]
mod iceberg;

const ATTEMPTS_MAX: u32 = 8;

const FORMAT: Format = if cfg!(feature = "delta") { Format::Delta } else { Format::Iceberg };

/// The next commits go wrong.
struct CommitsFail {
    fault: Fault,
    left: AtomicU32,
}

impl Faults for CommitsFail {
    fn treat(&self, call: &Call<'_>) -> Treatment {
        let is_commit =
            call.operation == Operation::Create && call.path.as_ref().ends_with(".json");
        let take = |left: u32| left.checked_sub(1);
        let fails =
            is_commit && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok();
        Treatment::from(if fails { self.fault } else { Fault::None })
    }
}

/// One table in memory, and what it takes to write to it.
struct World {
    environment: Environment,
    table: Box<dyn Table>,
}

impl World {
    fn new() -> Self {
        Self::over(Arc::new(InMemory::new()))
    }

    fn faulty(fault: Fault, faults: u32) -> Self {
        let faults = Arc::new(CommitsFail { fault, left: AtomicU32::new(faults) });
        let clock = Arc::new(SystemClock::default());
        let inner = Arc::new(InMemory::new());
        Self::over(Arc::new(FaultyStore::new(inner, faults, clock, Arc::default())))
    }

    fn over(store: Arc<dyn ObjectStore>) -> Self {
        Self::of(FORMAT, store)
    }

    fn of(format: Format, store: Arc<dyn ObjectStore>) -> Self {
        let stores = Stores::new(PathBuf::from("/"));
        stores.overlay("memory", store);
        let environment = Environment {
            clock: Arc::new(SystemClock::default()),
            entropy: Arc::new(Entropy::from_seed(1)),
            stores: Arc::new(stores),
            process: "test".to_owned(),
            time_box: None,
            budget: MemoryBudget::for_process(1 << 30).unwrap(),
            ledger: ledger::Limits::default(),
        };
        let feed = Feed { table: "memory:///t".to_owned(), format, ..Feed::default() };
        let table = crate::table::open(&environment, &feed).unwrap();
        Self { environment, table }
    }

    async fn pin(&self) -> Pin {
        if let Some(pin) = Pin::newest(self.table.as_ref(), "default").await.unwrap() {
            return pin;
        }
        let schema = Schema::new(vec![Field::new("id", DataType::Int64, true)]);
        let definition = TableDefinition { schema: Arc::new(schema), partition_by: vec![] };
        Pin::absence(&self.environment, self.table.as_ref(), "default", &definition).await.unwrap()
    }

    fn plan(&self, pin: &Pin, names: &[&str]) -> Plan {
        let file = DataFile {
            path: format!("part-{}.parquet", self.environment.entropy.uuid()),
            size_bytes: 100,
            rows: 1,
            modified_millis: 0,
            columns: vec![ColumnStatistics {
                null_count: 0,
                lower: Some(Value::Integer(1)),
                upper: Some(Value::Integer(1)),
            }],
            partition: vec![],
        };
        let source = |name: &&str| PlannedSource { uri: (*name).to_owned(), entry: entry(name) };
        Plan::new(&self.environment, pin, vec![file], names.iter().map(source).collect())
    }

    async fn commit(&self, pin: Pin, plan: &Plan) -> Result<Outcome> {
        commit(&self.environment, self.table.as_ref(), pin, plan, ATTEMPTS_MAX).await
    }

    /// Plans and commits, all in one; returns the version.
    async fn take(&self, names: &[&str]) -> u64 {
        let pin = self.pin().await;
        let plan = self.plan(&pin, names);
        match self.commit(pin, &plan).await.unwrap() {
            Outcome::Committed { version, chores, .. } => {
                ledger::delete_all(self.table.as_ref(), chores.retired).await;
                version
            }
            other => panic!("{other:?}"),
        }
    }

    async fn names(&self) -> Vec<String> {
        use futures::TryStreamExt;
        let pin = self.pin().await;
        let mut entries: Vec<Entry> =
            pin.ledger().entries(self.table.as_ref()).try_concat().await.unwrap();
        entries.sort_by_key(|entry| entry.sequence);
        entries.into_iter().map(|entry| entry.name).collect()
    }

    /// The commit files and the ledger's files.
    async fn log(&self) -> Vec<String> {
        use futures::TryStreamExt;
        let all = self.table.store().list(None);
        let mut names: Vec<String> = all
            .map_ok(|file| file.location.filename().unwrap_or_default().to_owned())
            .try_collect()
            .await
            .unwrap();
        names.sort();
        names
    }
}

fn entry(name: &str) -> Entry {
    Entry {
        name: name.to_owned(),
        sequence: 0,
        identity: "etag:1:1".to_owned(),
        size_bytes: 1,
        content: "0".to_owned(),
        append: Uuid::nil(),
        version: 0,
        rows: 1,
        rows_rejected: 0,
        quarantine: None,
        at: chrono::DateTime::UNIX_EPOCH,
        state: EntryState::In,
    }
}

fn committed(outcome: Outcome) -> u64 {
    match outcome {
        Outcome::Committed { version, .. } => version,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn planned_again(outcome: &Outcome, expected: &str) {
    match outcome {
        Outcome::PlanAgain { reason, .. } => assert!(reason.contains(expected), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_commit_creates_the_table_and_later_ones_follow() {
    let world = World::new();
    assert_eq!(world.take(&["a", "b"]).await, 1);
    assert_eq!(world.take(&["c"]).await, 2);
    assert_eq!(world.names().await, ["a", "b", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_loses_with_other_objects_goes_on_top() {
    let world = World::new();
    world.take(&["first"]).await;
    let pin = world.pin().await;
    let plan = world.plan(&pin, &["mine"]);
    world.take(&["theirs"]).await;
    assert_eq!(committed(world.commit(pin, &plan).await.unwrap()), 3);
    assert_eq!(world.names().await, ["first", "theirs", "mine"]);
    let tails = world.log().await.iter().filter(|name| name.ends_with(".ledger")).count();
    assert_eq!(tails, 4, "the tail of the lost attempt is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_loses_an_object_plans_again() {
    let world = World::new();
    world.take(&["first"]).await;
    let pin = world.pin().await;
    let plan = world.plan(&pin, &["mine", "shared"]);
    world.take(&["shared"]).await;
    let outcome = world.commit(pin, &plan).await.unwrap();
    planned_again(&outcome, "taken one of the objects");
    assert_eq!(world.names().await, ["first", "shared"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_creators_one_goes_on_top_of_the_other() {
    let world = World::new();
    let (ours, theirs) = (world.pin().await, world.pin().await);
    let our_plan = world.plan(&ours, &["ours"]);
    let their_plan = world.plan(&theirs, &["theirs"]);
    assert_eq!(committed(world.commit(theirs, &their_plan).await.unwrap()), 1);
    assert_eq!(committed(world.commit(ours, &our_plan).await.unwrap()), 2);
    assert_eq!(world.names().await, ["theirs", "ours"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_committed_once_however_often_it_is_tried() {
    let world = World::new();
    world.take(&["first"]).await;
    let pin = world.pin().await;
    let plan = world.plan(&pin, &["mine"]);
    for _ in 0..3 {
        assert_eq!(committed(world.commit(pin.clone(), &plan).await.unwrap()), 2);
    }
    assert_eq!(world.names().await, ["first", "mine"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_are_settled_by_looking() {
    let faults =
        [Fault::LoseAnswer, Fault::LoseRequest, Fault::DoneThenConflict, Fault::DoneThenRefuse];
    for fault in faults {
        // The creation and the append both go wrong once.
        let world = World::faulty(fault, 2);
        assert_eq!(world.take(&["a"]).await, 1, "{fault:?}");
        assert_eq!(world.names().await, ["a"], "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_never_comes_is_unknown() {
    let world = World::faulty(Fault::LoseRequest, u32::MAX);
    let pin = world.pin().await;
    let plan = world.plan(&pin, &["a"]);
    let error = world.commit(pin, &plan).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CommitUnknown, "{error}");
    assert!(error.kind().might_have_happened());
    assert!(error.advice().unwrap().contains("nothing is taken twice"));

    // Who asks no ledger would take it twice.
    let pin = world.pin().await;
    let blind = world.plan(&pin, &["a"]).blind();
    let error = world.commit(pin, &blind).await.unwrap_err();
    let advice = error.advice().unwrap();
    assert!(advice.contains(&blind.id.to_string()), "{advice}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_fence_makes_everybody_start_again() {
    let world = World::new();
    world.take(&["first"]).await;
    let pin = world.pin().await;
    let plan = world.plan(&pin, &["mine"]);
    let table = world.table.as_ref();
    repair::reset(&world.environment, table, "default").await.unwrap();
    planned_again(&world.commit(pin, &plan).await.unwrap(), "fence");
    assert!(world.names().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_repair_moves_the_fence() {
    let world = World::new();
    world.take(&["first"]).await;
    let table = world.table.as_ref();
    for _ in 0..2 {
        let pin = world.pin().await;
        let plan = world.plan(&pin, &["mine"]);
        repair::reset(&world.environment, table, "default").await.unwrap();
        planned_again(&world.commit(pin, &plan).await.unwrap(), "fence");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn making_a_table_ready_is_no_attempt_to_append() {
    let world = World::new();
    let pin = world.pin().await;
    let plan = world.plan(&pin, &["first"]);
    let outcome = commit(&world.environment, world.table.as_ref(), pin, &plan, 1).await.unwrap();
    assert!(matches!(outcome, Outcome::Committed { version: 1, attempts: 1, .. }), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_into_a_table_that_is_gone() {
    let world = World::new();
    world.take(&["first"]).await;
    let pin = world.pin().await;
    let plan = world.plan(&pin, &["mine"]);
    for file in world.files().await {
        world.table.store().delete(&file).await.unwrap();
    }
    let error = world.commit(pin, &plan).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TableInvalid, "{error}");
    assert_eq!(world.log().await.iter().filter(|name| name.ends_with(".json")).count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_ledger_is_refused_and_can_be_reset() {
    let world = World::new();
    world.take(&["first"]).await;
    for file in world.ledger_files().await {
        world.table.store().delete(&file).await.unwrap();
    }
    let table = world.table.as_ref();
    let error = Pin::newest(table, "default").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LedgerMissing);
    repair::reset(&world.environment, table, "default").await.unwrap();
    assert_eq!(world.take(&["first"]).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_cannot_be_read_is_not_adopted_away() {
    let world = World::new();
    world.take(&["first"]).await;
    let table = world.table.as_ref();
    let pin = world.pin().await;
    let file = format!("{:019}.ledger", pin.ledger().pointer().unwrap());
    let files = world.ledger_files().await;
    let path = files.iter().find(|path| path.as_ref().ends_with(&file)).unwrap();
    let body = table.store().get(path).await.unwrap().bytes().await.unwrap();
    let newer = String::from_utf8(body.to_vec()).unwrap().replace("ledger/2", "ledger/3");
    table.store().put(path, newer.into_bytes().into()).await.unwrap();
    let error = repair::adopt(&world.environment, table, "default").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TableUnsupported, "{error}");
    table.store().put(path, body.into()).await.unwrap();
    let adopted = repair::adopt(&world.environment, table, "default").await.unwrap();
    assert_eq!(adopted, repair::Repair { version: 1, entries: 1 });
    assert_eq!(world.names().await, ["first"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_commits_a_multiple_of_the_interval_is_to_merge() {
    let mut world = World::new();
    world.environment.ledger = ledger::Limits { merge_interval: 3, ..tiny() };
    world.take(&["first"]).await;
    let mut due = Vec::new();
    // All of them from one pin, as the commits of one round are.
    let pin = world.pin().await;
    for name in ["a", "b", "c", "d", "e", "f"] {
        let pin = pin.clone();
        let plan = world.plan(&pin, &[name]);
        match world.commit(pin, &plan).await.unwrap() {
            Outcome::Committed { chores, .. } => due.push(chores.is_merge_due),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(due, [false, true, false, false, true, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_of_another_table_is_refused() {
    let world = World::new();
    world.take(&["first"]).await;
    // What is left when a table is replaced in place: the old pointer, under a new identity.
    let files = world.ledger_files().await;
    let id = world.pin().await.ledger().table_id().to_owned();
    for file in files {
        let elsewhere = Path::from(file.as_ref().replace(&id, "another"));
        world.table.store().rename(&file, &elsewhere).await.unwrap();
    }
    let error = Pin::newest(world.table.as_ref(), "default").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LedgerForeign, "{error}");
}

/// Every commit is a run, and two runs are merged.
fn tiny() -> ledger::Limits {
    ledger::Limits {
        tail_entries_max: 0,
        runs_alike_max: 2,
        merge_interval: 1,
        retired_files_max: 0,
    }
}

impl World {
    async fn merge(&self) -> Result<u64> {
        merge_ledger(&self.environment, self.table.as_ref(), "default", ATTEMPTS_MAX).await
    }

    async fn runs(&self) -> Vec<Path> {
        let files = self.ledger_files().await.into_iter();
        files.filter(|file| file.as_ref().contains("/runs/")).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_a_run_gone_pins_again() {
    let mut world = World::new();
    world.environment.ledger = tiny();
    world.take(&["first"]).await;
    let plan = world.plan(&world.pin().await, &["mine"]);
    // What it does not know yet, and must look into: its own name would be in the middle.
    world.take(&["a", "z"]).await;
    let pin = world.pin().await;
    let before = world.runs().await;
    for name in ["b", "c", "d", "e"] {
        world.take(&[name]).await;
        // Which deletes what the ledger has left behind.
        world.merge().await.unwrap();
    }
    assert!(!world.runs().await.iter().any(|run| before.contains(run)));
    committed(world.commit(pin, &plan).await.unwrap());
    assert_eq!(world.names().await, ["first", "a", "z", "b", "c", "d", "e", "mine"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_that_may_be_in_the_ledger_is_not_deleted() {
    let faults = Arc::new(CommitsFail { fault: Fault::LoseRequest, left: AtomicU32::new(0) });
    let clock = Arc::new(SystemClock::default());
    let inner = Arc::new(InMemory::new());
    let faulty = FaultyStore::new(inner, Arc::clone(&faults) as _, clock, Arc::default());
    let mut world = World::over(Arc::new(faulty));
    world.environment.ledger = tiny();
    world.take(&["a"]).await;
    world.take(&["b"]).await;
    faults.left.store(u32::MAX, Ordering::SeqCst);
    let error = world.merge().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CommitUnknown, "{error}");
    assert_eq!(world.runs().await.len(), 3);
    faults.left.store(0, Ordering::SeqCst);
    assert_eq!(world.merge().await.unwrap(), 1);
    assert_eq!(world.names().await, ["a", "b"]);
}

impl World {
    async fn ledger_files(&self) -> Vec<Path> {
        self.files_below(self.table.ledger_root()).await
    }

    async fn files(&self) -> Vec<Path> {
        self.files_below(self.table.root().clone()).await
    }

    async fn files_below(&self, root: Path) -> Vec<Path> {
        use futures::TryStreamExt;
        self.table
            .store()
            .list(Some(&root))
            .map_ok(|file| file.location)
            .try_collect()
            .await
            .unwrap()
    }
}
