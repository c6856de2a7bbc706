//! What becomes of a quarantine file when the commit that would name it is lost.

use std::path::PathBuf;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::memory::InMemory;

use super::*;
use crate::clock::{Entropy, SystemClock};
use crate::error::ErrorKind;
use crate::fault::{Call, Fault, Faults, FaultyStore, Operation, Treatment};
use crate::ingest::ingest;
use crate::memory::MemoryBudget;
use crate::receipt::{Receipt, Status};
use crate::source::Announcement;
use crate::store::Stores;

/// Does this to every creation of a file whose name ends so, from version 1 on.
#[derive(Debug, Clone, Copy)]
struct At(&'static str, Fault);

impl Faults for At {
    fn treat(&self, call: &Call<'_>) -> Treatment {
        let path = call.path.as_ref();
        let is_first = path.ends_with("00.json");
        let is_met = call.operation == Operation::Create && path.ends_with(self.0) && !is_first;
        Treatment::from(if is_met { self.1 } else { Fault::None })
    }
}

/// Ingests an object with a bad row; its receipt, and how many quarantine files there are then.
async fn ingest_with(fault: At) -> (Receipt, usize) {
    let memory = Arc::new(InMemory::new());
    memory.put(&Path::from("in/a.csv"), "id\n1\n2,3\n".into()).await.unwrap();
    let clock = Arc::new(SystemClock::default());
    let stores = Stores::new(PathBuf::from("/"));
    let faulty = FaultyStore::new(memory.clone(), Arc::new(fault), clock.clone(), Arc::default());
    stores.overlay("memory", Arc::new(faulty));
    let environment = Environment {
        clock,
        entropy: Arc::new(Entropy::from_system()),
        stores: Arc::new(stores),
        process: "test".to_owned(),
        time_box: None,
        budget: MemoryBudget::for_process(1 << 30).unwrap(),
        ledger: crate::ledger::Limits::default(),
    };
    let mut feed = Feed { table: "memory:///t".to_owned(), ..Feed::default() };
    feed.commit_attempts_max = 2;
    feed.csv.bad_rows = BadRows::Quarantine;
    feed.csv.set("delimiter", ",").unwrap();
    let announcement = Announcement {
        location: environment.stores.resolve("memory:///in/a.csv").unwrap(),
        relative: "a.csv".to_owned(),
        named: false,
        listed_identity: None,
        size_hint: None,
        deliveries: 1,
        unaddressable: None,
    };
    let receipts = ingest(&environment, &feed, vec![announcement], &()).await.unwrap();
    let files: Vec<_> = memory.list(None).try_collect().await.unwrap();
    let is_quarantine = |path: &Path| path.as_ref().contains("/quarantine/");
    let count = files.iter().filter(|file| is_quarantine(&file.location)).count();
    (receipts.into_iter().next().unwrap(), count)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_names_its_quarantine_file() {
    let (receipt, files) = ingest_with(At("nothing", Fault::None)).await;
    assert_eq!((receipt.status, receipt.rows, receipt.rows_rejected), (Status::Committed, 1, 1));
    assert!(receipt.quarantine.is_some_and(|uri| uri.starts_with("memory:///t/")));
    assert_eq!(files, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantine_file_goes_with_the_commit_that_is_lost() {
    let (receipt, files) = ingest_with(At(".ledger", Fault::Refuse)).await;
    assert_eq!(receipt.error.map(|error| error.kind), Some(ErrorKind::StorageUnavailable));
    assert_eq!((receipt.quarantine, receipt.rows_rejected, files), (None, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantine_file_stays_where_the_commit_may_have_happened() {
    let late = Fault::DeliverLate(Duration::from_secs(3600));
    let (receipt, files) = ingest_with(At(".json", late)).await;
    assert_eq!(receipt.error.map(|error| error.kind), Some(ErrorKind::CommitUnknown));
    assert_eq!(files, 1);
}
