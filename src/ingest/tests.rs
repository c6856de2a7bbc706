use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::*;
use crate::clock::{Entropy, SystemClock, TimeBox};
use crate::fault::{Call, Fault, Faults, FaultyStore, Operation, Treatment};
use crate::memory::MemoryBudget;
use crate::receipt::Status;
use crate::store::Stores;

const MARKERS: &str = "t/_delta_log/_lakefeed/attempts";
/// Longer than any invocation takes here.
const HANGS: Duration = Duration::from_secs(60);
/// Longer than any test runs.
const FOR_EVER: Duration = Duration::from_secs(24 * 3600);

/// Answers no read of the killer, once it is marked as begun, until it is harmless.
#[derive(Debug, Default)]
struct Killer {
    is_marked: AtomicBool,
    is_harmless: AtomicBool,
}

impl Faults for Killer {
    fn treat(&self, call: &Call<'_>) -> Treatment {
        let path = call.path.as_ref();
        if path.starts_with(MARKERS) && call.operation == Operation::Put {
            self.is_marked.store(true, Ordering::SeqCst);
        }
        let kills = path == "in/killer.csv"
            && self.is_marked.load(Ordering::SeqCst)
            && !self.is_harmless.load(Ordering::SeqCst);
        let before = if kills { FOR_EVER } else { Duration::ZERO };
        Treatment { before, fault: Fault::None, after: Duration::ZERO }
    }
}

struct Function {
    store: Arc<InMemory>,
    killer: Arc<Killer>,
}

impl Function {
    fn new() -> Self {
        Self { store: Arc::new(InMemory::new()), killer: Arc::default() }
    }

    async fn put(&self, name: &str, body: &'static str) {
        self.store.put(&Path::from(format!("in/{name}.csv")), body.into()).await.unwrap();
    }

    /// What an invocation of so long says of the objects, each delivered so often.
    async fn invoke(&self, objects: &[(&str, u32)], length: Duration) -> Vec<Receipt> {
        #[allow(clippy::disallowed_methods)] // So that a test that fails does not hang.
        let ended = tokio::time::timeout(HANGS, self.run(objects, length)).await;
        ended.expect("it hangs")
    }

    async fn run(&self, objects: &[(&str, u32)], length: Duration) -> Vec<Receipt> {
        let clock = Arc::new(SystemClock::default());
        let store: Arc<dyn ObjectStore> = Arc::new(FaultyStore::new(
            self.store.clone(),
            self.killer.clone(),
            clock.clone(),
            Arc::default(),
        ));
        self.killer.is_marked.store(false, Ordering::SeqCst);
        let stores = Stores::new(PathBuf::from("/"));
        stores.overlay("memory", store);
        let environment = Environment {
            clock,
            entropy: Arc::new(Entropy::from_system()),
            stores: Arc::new(stores),
            process: "test".to_owned(),
            time_box: Some(TimeBox { began: Duration::ZERO, ends: length }),
            budget: MemoryBudget::for_process(1 << 30).unwrap(),
            ledger: crate::ledger::Limits::default(),
        };
        let feed = Feed { table: "memory:///t".to_owned(), ..Feed::default() };
        let announced = objects.iter().map(|(name, deliveries)| Announcement {
            location: environment.stores.resolve(&format!("memory:///in/{name}.csv")).unwrap(),
            relative: (*name).to_owned(),
            named: false,
            listed_identity: None,
            size_hint: None,
            deliveries: *deliveries,
            unaddressable: None,
        });
        let announced = announced.collect();
        ingest(&environment, &feed, announced, &()).await.unwrap()
    }

    /// An invocation that dies of the killer.
    async fn die(&self, objects: &[(&str, u32)]) {
        #[allow(clippy::disallowed_methods)] // A death takes real time.
        let ended = tokio::time::timeout(Duration::from_secs(2), self.run(objects, FOR_EVER));
        assert!(ended.await.is_err(), "it outlived the killer");
        assert!(self.killer.is_marked.load(Ordering::SeqCst), "it died of something else");
    }

    async fn markers(&self) -> usize {
        self.store.list_with_delimiter(Some(&Path::from(MARKERS))).await.unwrap().objects.len()
    }
}

fn status(receipts: &[Receipt], name: &str) -> (Status, Option<ErrorKind>) {
    let source = format!("memory:///in/{name}.csv");
    let receipt = receipts.iter().find(|receipt| receipt.source == source).unwrap();
    (receipt.status, receipt.error.as_ref().map(|error| error.kind))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_kills_the_function_is_set_aside_and_takes_nobody_with_it() {
    let function = Function::new();
    for name in ["killer", "a", "b"] {
        function.put(name, "id\n1\n").await;
    }
    let all = [("killer", 3), ("a", 1), ("b", 1)];
    for death in 1..=3 {
        function.die(&all).await;
        assert_eq!(function.markers().await, 1, "after death {death}");
    }
    let receipts = function.invoke(&all, FOR_EVER).await;
    assert_eq!(status(&receipts, "a").0, Status::Duplicate);
    assert_eq!(status(&receipts, "b").0, Status::Duplicate);
    let exhausted = (Status::Failed, Some(ErrorKind::AttemptsExhausted));
    assert_eq!(status(&receipts, "killer"), exhausted);
    // Another version of it is another object.
    function.killer.is_harmless.store(true, Ordering::SeqCst);
    function.put("killer", "id\n2\n").await;
    let receipts = function.invoke(&all, FOR_EVER).await;
    assert_eq!(status(&receipts, "killer"), (Status::Committed, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_marker_goes_when_its_object_has_come_to_an_end() {
    let function = Function::new();
    function.put("killer", "id\n1\n").await;
    function.die(&[("killer", 3)]).await;
    function.killer.is_harmless.store(true, Ordering::SeqCst);
    let receipts = function.invoke(&[("killer", 4)], FOR_EVER).await;
    assert_eq!(status(&receipts, "killer"), (Status::Committed, None));
    assert_eq!(function.markers().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_begun_without_time() {
    let function = Function::new();
    function.put("a", "id\n1\n").await;
    let receipts = function.invoke(&[("a", 1)], Duration::ZERO).await;
    assert_eq!(status(&receipts, "a"), (Status::Failed, Some(ErrorKind::DeadlineExceeded)));
    let receipts = function.invoke(&[("a", 1)], FOR_EVER).await;
    assert_eq!(status(&receipts, "a"), (Status::Committed, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hangs_is_cut_off_and_what_is_done_is_said() {
    let function = Function::new();
    for name in ["killer", "a", "b"] {
        function.put(name, "id\n1\n").await;
    }
    let all = [("killer", 3), ("a", 1), ("b", 1)];
    let receipts = function.invoke(&all, Duration::from_secs(3)).await;
    assert_eq!(status(&receipts, "a").0, Status::Committed);
    assert_eq!(status(&receipts, "b").0, Status::Committed);
    let cut_off = (Status::Failed, Some(ErrorKind::CommitUnknown));
    assert_eq!(status(&receipts, "killer"), cut_off);
    // It counts as a death.
    assert_eq!(function.markers().await, 1);
    function.killer.is_harmless.store(true, Ordering::SeqCst);
    let receipts = function.invoke(&all, FOR_EVER).await;
    assert_eq!(status(&receipts, "killer"), (Status::Committed, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_object_is_read_as_it_is_written_and_its_receipt_says_how() {
    let function = Function::new();
    function.put("a", "id,price\n1,2.5\n2,3\n").await;
    function.put("b", "A report\n\nid;price\n3;4.5\n4;5\n").await;
    // Without a header: by position.
    function.put("c", "5\t6.5\n6\t7\n").await;
    function.put("d", "id|price\n7|8.5\n8|dear\n9|9.5\n10|9.5\n11|1\n").await;
    let all = [("a", 1), ("b", 1), ("c", 1)];
    let receipts = function.invoke(&all, FOR_EVER).await;
    let receipts: Vec<_> =
        receipts.into_iter().chain(function.invoke(&[("d", 1)], FOR_EVER).await).collect();
    for (name, expected, delimiter, header_rows, skip_lines) in [
        ("a", (Status::Committed, None), ",", 1, 0),
        ("b", (Status::Committed, None), ";", 1, 2),
        ("c", (Status::Committed, None), "\t", 0, 0),
        ("d", (Status::Failed, Some(ErrorKind::SourceInvalid)), "|", 1, 0),
    ] {
        assert_eq!(status(&receipts, name), expected, "{name}");
        let source = format!("memory:///in/{name}.csv");
        let receipt = receipts.iter().find(|receipt| receipt.source == source).unwrap();
        let dialect = receipt.dialect.as_ref().unwrap();
        let told = (dialect.delimiter.as_str(), dialect.header_rows, dialect.skip_lines);
        assert_eq!(told, (delimiter, header_rows, skip_lines), "{name}");
    }
}
