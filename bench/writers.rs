//! How many commits a second a table takes from several writers at once, on a store with latency.
//!
//!     cargo bench --bench writers                   96 commits, by 1, 2, 4, 8 and 16 writers
//!     cargo bench --bench writers -- 32 1 4 16      32 of them, by 1, 4 and 16
//!
//! The store is in memory, and takes a while for every request, as many of them at once as are made: so
//! that what is measured is how many requests follow on one another, and how many races are lost. Each
//! commit is an ingest of its own, which opens the table anew. One line of JSON for each race.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use lakefeed::clock::{Entropy, SystemClock};
use lakefeed::config::{Feed, LeaseOptions, LeaseScope};
use lakefeed::environment::Environment;
use lakefeed::error::ErrorKind;
use lakefeed::ingest::ingest;
use lakefeed::ledger::Limits;
use lakefeed::memory::MemoryBudget;
use lakefeed::receipt::{Receipt, Status};
use lakefeed::source::Announcement;
use lakefeed::store::Stores;
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::json;

const LATENCY: Duration = Duration::from_millis(30);
const COMMITS: usize = 96;
const WRITERS: [usize; 5] = [1, 2, 4, 8, 16];
/// The kernel's calls wait for the store on a thread each.
const BLOCKING_THREADS_MAX: usize = 64;
/// An append that lost every race it ran is begun again, as a scheduler would.
const BEGINNINGS_MAX: usize = 50;

/// A new object of one row.
async fn object(environment: &Environment, number: usize) -> Announcement {
    let uri = format!("memory:///inbox/{number}.csv");
    let location = environment.stores.resolve(&uri).unwrap();
    let body = format!("id,name\n{number},Ada Lindqvist\n");
    location.store.put(&location.path, body.into()).await.unwrap();
    Announcement {
        location,
        relative: uri,
        named: true,
        size_hint: None,
        listed_identity: None,
        deliveries: 0,
        unaddressable: None,
    }
}

/// Ingests `object` until it is committed; how often it was begun again, and how many commits were
/// tried.
async fn append(environment: &Environment, feed: &Feed, object: Announcement) -> (usize, usize) {
    let mut attempts = 0;
    for beginnings in 0..BEGINNINGS_MAX {
        let told = ingest(environment, feed, vec![object.clone()], &()).await.unwrap();
        let Receipt { status, error, attempts: tried, .. } = &told[0];
        attempts += *tried as usize;
        if *status == Status::Committed {
            return (beginnings, attempts);
        }
        let lost = error.as_ref().is_some_and(|error| error.kind == ErrorKind::Contention);
        assert!(lost, "{told:?}");
        attempts += feed.commit_attempts_max as usize;
    }
    panic!("{object:?} lost every race")
}

/// A new table in a new store, and the races that `commits` of so many writers are.
async fn race(commits: usize, writers: usize, scope: LeaseScope) -> serde_json::Value {
    let store = Arc::new(ThrottledStore::new(InMemory::new(), ThrottleConfig::default()));
    let stores = Stores::new(PathBuf::from("/"));
    stores.overlay("memory", Arc::clone(&store) as Arc<dyn ObjectStore>);
    let environment = Environment {
        clock: Arc::new(SystemClock::default()),
        entropy: Arc::new(Entropy::from_seed(1)),
        stores: Arc::new(stores),
        process: "bench".to_owned(),
        time_box: None,
        budget: MemoryBudget::for_process(8 << 30).unwrap(),
        ledger: Limits::default(),
    };
    let lease = LeaseOptions { scope, ..LeaseOptions::default() };
    let feed = Feed { table: "memory:///orders".to_owned(), lease, ..Feed::default() };
    // The table is there before the race.
    append(&environment, &feed, object(&environment, 0).await).await;
    let mut objects = Vec::new();
    for number in 1..=commits {
        objects.push(object(&environment, number).await);
    }
    store.config_mut(|config| {
        *config = ThrottleConfig {
            wait_delete_per_call: LATENCY,
            wait_get_per_call: LATENCY,
            wait_list_per_call: LATENCY,
            wait_list_with_delimiter_per_call: LATENCY,
            wait_put_per_call: LATENCY,
            ..ThrottleConfig::default()
        };
    });
    let began = Instant::now();
    let writer = async |first| {
        let mut all = (0, 0);
        for object in objects.iter().skip(first).step_by(writers) {
            let (again, attempts) = append(&environment, &feed, object.clone()).await;
            all = (all.0 + again, all.1 + attempts);
        }
        all
    };
    let done = join_all((0..writers).map(writer)).await;
    let seconds = began.elapsed().as_secs_f64();
    store.config_mut(|config| *config = ThrottleConfig::default());
    let table = lakefeed::table::open(&environment, &feed).unwrap();
    let newest = table.load("default").await.unwrap().unwrap();
    let counted = table.count_rows_by(&newest, "_source_file").await.unwrap();
    assert!(counted.len() == commits + 1 && counted.iter().all(|(_, rows)| *rows == 1));
    json!({
        "contender": if scope == LeaseScope::Off { "lakefeed" } else { "lakefeed, lease" },
        "writers": writers,
        "appends": commits / writers,
        "seconds": seconds,
        "commits_per_second": commits as f64 / seconds,
        "begun_again": done.iter().map(|(again, _)| again).sum::<usize>(),
        "attempts": done.iter().map(|(_, attempts)| attempts).sum::<usize>(),
    })
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
        .unwrap();
    let numbers = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let numbers: Vec<usize> = numbers.collect();
    let (commits, writers) = match numbers.as_slice() {
        [commits, writers @ ..] if !writers.is_empty() => (*commits, writers),
        _ => (COMMITS, WRITERS.as_slice()),
    };
    for writers in writers {
        for scope in [LeaseScope::Off, LeaseScope::Commit] {
            println!("{}", runtime.block_on(race(commits, *writers, scope)));
        }
    }
}
