//! Writes on a condition: the slots of a log, the ledger's files, leases.

use std::sync::{Arc, Barrier};

use object_store::{
    Error, ObjectStoreExt, PutMode, PutOptions, PutPayload, PutResult, Result, UpdateVersion,
};
use tokio::runtime::Handle;

use crate::support::stores::Store;

const RACERS: usize = 32;
const RACES: usize = 20;

/// What a racer writes: of a size of its own, so that a mixture of two would show.
fn body(racer: usize) -> Vec<u8> {
    vec![racer as u8; 1_000 + racer * 97]
}

/// Lets all racers go at once, each on a thread of its own, and returns what each was told, in their order.
async fn race(store: &Arc<Store>, name: &str, mode: PutMode) -> Vec<Result<PutResult>> {
    let start = Arc::new(Barrier::new(RACERS));
    let racers: Vec<_> = (0..RACERS)
        .map(|racer| {
            let (store, start, runtime) =
                (Arc::clone(store), Arc::clone(&start), Handle::current());
            let (key, options) = (store.key(name), PutOptions::from(mode.clone()));
            std::thread::spawn(move || {
                start.wait();
                runtime.block_on(store.store.put_opts(&key, body(racer).into(), options))
            })
        })
        .collect();
    let told = || racers.into_iter().map(|racer| racer.join().unwrap()).collect();
    tokio::task::block_in_place(told)
}

/// The one racer who won, whose content is there.
async fn winner(store: &Store, name: &str, told: &[Result<PutResult>]) -> usize {
    let winners: Vec<usize> = (0..RACERS).filter(|&racer| told[racer].is_ok()).collect();
    assert_eq!(winners.len(), 1, "exactly one of the racers wins: {told:?}");
    assert!(store.read(name).await == body(winners[0]), "the content is the winner's");
    winners[0]
}

pub async fn a_second_create_is_refused(store: Store) {
    let key = store.key("slot");
    store.store.put_opts(&key, "first".into(), PutMode::Create.into()).await.unwrap();
    let second = store.store.put_opts(&key, "second".into(), PutMode::Create.into()).await;
    assert!(matches!(second, Err(Error::AlreadyExists { .. })), "a second create: {second:?}");
    assert_eq!(store.read("slot").await, b"first");
    let same = store.store.put_opts(&key, "first".into(), PutMode::Create.into()).await;
    assert!(matches!(same, Err(Error::AlreadyExists { .. })), "the same once more: {same:?}");
}

async fn a_create_does_not_follow_an_overwrite(store: Store) {
    store.write("slot", "there").await;
    let key = store.key("slot");
    let create = store.store.put_opts(&key, "new".into(), PutMode::Create.into()).await;
    assert!(matches!(create, Err(Error::AlreadyExists { .. })), "{create:?}");
    store.store.delete(&key).await.unwrap();
    store.store.put_opts(&key, "new".into(), PutMode::Create.into()).await.unwrap();
    assert_eq!(store.read("slot").await, b"new");
}

pub async fn one_of_many_creators_wins(store: Store) {
    let store = Arc::new(store);
    for race_number in 0..RACES {
        let name = format!("slot-{race_number}");
        let told = race(&store, &name, PutMode::Create).await;
        for refused in told.iter().filter_map(|told| told.as_ref().err()) {
            assert!(matches!(refused, Error::AlreadyExists { .. }), "a loser hears: {refused:?}");
        }
        winner(&store, &name, &told).await;
    }
}

/// Whoever looks while a slot is filled sees nothing, or everything.
async fn a_create_is_seen_whole_or_not_at_all(store: Store) {
    let (store, content) = (Arc::new(store), vec![7_u8; 3 << 20]);
    let writer = {
        let (store, content) = (Arc::clone(&store), PutPayload::from(content.clone()));
        tokio::spawn(async move {
            let key = store.key("slot");
            store.store.put_opts(&key, content, PutMode::Create.into()).await.unwrap();
        })
    };
    loop {
        let is_written = writer.is_finished();
        match store.store.get(&store.key("slot")).await {
            Ok(found) => assert!(found.bytes().await.unwrap() == content, "part of it is seen"),
            Err(error) => {
                assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
                assert!(!is_written, "what was written is not seen");
            }
        }
        if is_written {
            break;
        }
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
}

/// The condition that the object is still the one that `put` made.
fn still(put: PutResult) -> PutMode {
    PutMode::Update(UpdateVersion::from(put))
}

fn is_not_implemented(told: &Result<PutResult>) -> bool {
    matches!(told, Err(Error::NotImplemented { .. } | Error::NotSupported { .. }))
}

pub async fn a_stale_update_is_refused(store: Store) {
    let key = store.key("lease");
    let first = store.store.put(&key, "first".into()).await.unwrap();
    let update = store.store.put_opts(&key, "second".into(), still(first.clone()).into()).await;
    if !store.can.update {
        assert!(is_not_implemented(&update), "it has learnt to update: {update:?}");
        assert_eq!(store.read("lease").await, b"first");
        return;
    }
    update.unwrap();
    let stale = store.store.put_opts(&key, "third".into(), still(first.clone()).into()).await;
    assert!(matches!(stale, Err(Error::Precondition { .. })), "a stale update: {stale:?}");
    assert_eq!(store.read("lease").await, b"second");

    store.store.delete(&key).await.unwrap();
    let gone = store.store.put_opts(&key, "fourth".into(), still(first).into()).await;
    let is_refused = matches!(gone, Err(Error::Precondition { .. } | Error::NotFound { .. }));
    assert!(is_refused, "an update of nothing: {gone:?}");
    assert!(store.is_absent("lease").await);
}

async fn one_of_many_updaters_wins(store: Store) {
    let store = Arc::new(store);
    let mut newest = store.store.put(&store.key("lease"), "first".into()).await.unwrap();
    for _ in 0..RACES {
        let mut told = race(&store, "lease", still(newest.clone())).await;
        if !store.can.update {
            assert!(told.iter().all(is_not_implemented), "it has learnt to update: {told:?}");
            return;
        }
        for refused in told.iter().filter_map(|told| told.as_ref().err()) {
            assert!(matches!(refused, Error::Precondition { .. }), "a loser hears: {refused:?}");
        }
        let winner = winner(&store, "lease", &told).await;
        newest = told.swap_remove(winner).unwrap();
    }
}

conformance!(stores: memory, local, faultless => [
    a_second_create_is_refused,
    a_create_does_not_follow_an_overwrite,
    one_of_many_creators_wins,
    a_create_is_seen_whole_or_not_at_all,
    a_stale_update_is_refused,
    one_of_many_updaters_wins,
]);
