//! Each fault does what it says.

use object_store::memory::InMemory;

use super::*;
use crate::clock::SystemClock;

/// The same fault each time.
struct Always(Fault);

impl Faults for Always {
    fn treat(&self, _: &Call<'_>) -> Treatment {
        self.0.into()
    }
}

/// One fault at one kind of request.
struct Only(Operation, Fault);

impl Faults for Only {
    fn treat(&self, call: &Call<'_>) -> Treatment {
        Treatment::from(if call.operation == self.0 { self.1 } else { Fault::None })
    }
}

fn faulty(faults: impl Faults) -> (Arc<InMemory>, FaultyStore) {
    let inner = Arc::new(InMemory::new());
    let clock = Arc::new(SystemClock::default());
    (inner.clone(), FaultyStore::new(inner, Arc::new(faults), clock, Arc::default()))
}

#[tokio::test]
async fn each_fault_does_what_it_says() {
    for (fault, is_done, answer) in [
        (Fault::None, true, "done"),
        (Fault::LoseAnswer, true, "lost"),
        (Fault::LoseRequest, false, "lost"),
        (Fault::Refuse, false, "refused"),
        (Fault::Conflict, false, "conflict"),
        (Fault::DoneThenConflict, true, "conflict"),
        (Fault::DoneThenRefuse, true, "refused"),
    ] {
        let (inner, store) = faulty(Always(fault));
        let path = Path::from("a");
        let put = store.put_opts(&path, "x".into(), PutMode::Create.into()).await;
        let heard = match put {
            Ok(_) => "done",
            Err(Error::AlreadyExists { .. }) => "conflict",
            Err(Error::PermissionDenied { .. }) => "refused",
            Err(_) => "lost",
        };
        assert_eq!((heard, inner.head(&path).await.is_ok()), (answer, is_done), "{fault:?}");
    }
}

#[tokio::test]
async fn a_late_request_is_done_after_it_was_given_up() {
    let (inner, store) = faulty(Always(Fault::DeliverLate(Duration::from_millis(5))));
    let path = Path::from("a");
    assert!(store.put(&path, "x".into()).await.is_err());
    assert!(inner.head(&path).await.is_err());
    store.clock.sleep(Duration::from_millis(50)).await;
    assert!(inner.head(&path).await.is_ok());
}

#[tokio::test]
async fn an_upload_is_torn_at_any_step() {
    for (step, fault, is_done) in [
        (Operation::Begin, Fault::LoseRequest, false),
        (Operation::Part, Fault::LoseRequest, false),
        (Operation::Complete, Fault::LoseRequest, false),
        (Operation::Complete, Fault::LoseAnswer, true),
        (Operation::Abort, Fault::LoseAnswer, true),
    ] {
        let (inner, store) = faulty(Only(step, fault));
        let path = Path::from("a");
        let uploaded = async {
            let mut upload = store.put_multipart(&path).await?;
            upload.put_part("x".into()).await?;
            upload.complete().await
        };
        assert_eq!(uploaded.await.is_ok(), step == Operation::Abort, "{step:?}");
        assert_eq!(inner.head(&path).await.is_ok(), is_done, "{step:?} {fault:?}");
    }
}

#[tokio::test]
async fn nothing_comes_of_an_upload_without_one_of_its_parts() {
    for fault in [Fault::LoseRequest, Fault::Refuse, Fault::DeliverLate(Duration::from_secs(60))] {
        let (inner, store) = faulty(Only(Operation::Part, fault));
        let path = Path::from("a");
        let mut upload = store.put_multipart(&path).await.unwrap();
        assert!(upload.put_part("x".into()).await.is_err());
        assert!(upload.complete().await.is_err(), "{fault:?}");
        assert!(inner.head(&path).await.is_err(), "{fault:?}");
    }
}

#[tokio::test]
async fn nothing_comes_of_an_upload_that_was_abandoned_before_its_end_arrived() {
    let late = Fault::DeliverLate(Duration::from_millis(5));
    let (inner, store) = faulty(Only(Operation::Complete, late));
    let path = Path::from("a");
    let mut upload = store.put_multipart(&path).await.unwrap();
    upload.put_part("x".into()).await.unwrap();
    assert!(upload.complete().await.is_err());
    upload.abort().await.unwrap();
    store.clock.sleep(Duration::from_millis(50)).await;
    assert!(inner.head(&path).await.is_err());
}

#[tokio::test]
async fn a_listing_lags_behind() {
    let (_, store) = faulty(Only(Operation::List, Fault::Lag(Duration::from_secs(60))));
    store.put(&Path::from("a"), "x".into()).await.unwrap();
    assert!(store.list(None).try_collect::<Vec<_>>().await.unwrap().is_empty());
    assert!(store.head(&Path::from("a")).await.is_ok());
}

#[test]
fn a_seed_replays() {
    let rates = FaultRates {
        lose_answer: 0.3,
        deliver_late: 0.3,
        way_max: Duration::from_secs(1),
        late_max: Duration::from_secs(9),
        ..FaultRates::NONE
    };
    let path = Path::from("a");
    let treated = |seed| {
        let faults = SeededFaults::new(seed, rates);
        let call = || Call { operation: Operation::Create, path: &path, payload: None };
        (0..50).map(|_| faults.treat(&call())).collect::<Vec<_>>()
    };
    assert_eq!(treated(1), treated(1));
    assert_ne!(treated(1), treated(2));
    assert!(treated(1).iter().any(|treatment| treatment.fault == Fault::None));
    assert!(treated(1).iter().any(|treatment| treatment.fault == Fault::LoseAnswer));
}
