//! Lease stores: one lease, and as many as want it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use lakefeed::clock::{Clock, SystemClock, Usage};
use lakefeed::lease::{Acquisition, Claim, FileLease, Lease, LeaseStore, ObjectLease};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tempfile::TempDir;

use super::Opened;
use super::liar::{self, Lie};
use super::stores;

#[cfg(feature = "aws")]
pub use dynamodb::{dynamodb_local, dynamodb_moto};

#[cfg(feature = "aws")]
mod dynamodb;

/// How long each claim is for.
pub const DURATION: Duration = Duration::from_secs(60);

/// Puts something in the record's place that is none.
type Damage = dyn Fn() -> BoxFuture<'static, ()> + Send + Sync;
type NewContender = dyn Fn(Arc<dyn Clock>) -> Arc<dyn LeaseStore> + Send + Sync;

/// One lease, which nobody holds yet, and the time that its claimants see.
pub struct Leases {
    contender: Box<NewContender>,
    pub clock: Arc<ShiftedClock>,
    pub can: Capabilities,
    damage: Box<Damage>,
    _scratch: Option<TempDir>,
}

/// Where lease stores differ.
#[derive(Debug, Clone, Copy)]
pub struct Capabilities {
    /// A lease ends with the process that holds it. Without it, it has to expire.
    pub ends_with_its_holder: bool,
}

impl Leases {
    /// Another process that may want the lease.
    pub fn contender(&self) -> Arc<dyn LeaseStore> {
        (self.contender)(self.clock.clone())
    }

    /// Makes of the record what nobody can read.
    pub async fn damage(&self) {
        (self.damage)().await;
    }

    /// One more, whose wall clock is ahead of the others'.
    pub fn contender_ahead_by(&self, skew: Duration) -> Arc<dyn LeaseStore> {
        let clock = ShiftedClock::default();
        clock.shift_wall(skew);
        (self.contender)(Arc::new(clock))
    }
}

/// What somebody claims who is called `owner`.
pub fn claim(owner: &str) -> Claim {
    Claim { owner: owner.to_owned(), purpose: "a test".to_owned(), duration: DURATION }
}

/// The lease that the claim of `owner` must get.
pub async fn acquired(store: &dyn LeaseStore, owner: &str) -> Lease {
    match store.acquire(&claim(owner)).await.unwrap() {
        Acquisition::Acquired(lease) => lease,
        Acquisition::Held(lease) => panic!("{owner} is told that it is held: {lease:?}"),
    }
}

/// The lease that the claim of `owner` must meet.
pub async fn held(store: &dyn LeaseStore, owner: &str) -> Lease {
    match store.acquire(&claim(owner)).await.unwrap() {
        Acquisition::Held(lease) => lease,
        Acquisition::Acquired(lease) => panic!("{owner} gets it: {lease:?}"),
    }
}

/// Real time, and as much more as a test says.
#[derive(Debug, Default)]
pub struct ShiftedClock {
    real: SystemClock,
    monotonic_millis: AtomicU64,
    wall_millis: AtomicU64,
}

impl ShiftedClock {
    /// Has time pass.
    pub fn pass(&self, time: Duration) {
        self.pass_unseen(time);
        self.shift_wall(time);
    }

    /// Has time pass which the wall clock does not show.
    pub fn pass_unseen(&self, time: Duration) {
        self.monotonic_millis.fetch_add(millis(time), Ordering::SeqCst);
    }

    fn shift_wall(&self, time: Duration) {
        self.wall_millis.fetch_add(millis(time), Ordering::SeqCst);
    }
}

fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap()
}

#[async_trait]
impl Clock for ShiftedClock {
    fn now(&self) -> DateTime<Utc> {
        self.real.now() + Duration::from_millis(self.wall_millis.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        let shift = Duration::from_millis(self.monotonic_millis.load(Ordering::SeqCst));
        self.real.monotonic() + shift
    }

    async fn sleep(&self, duration: Duration) {
        self.real.sleep(duration).await;
    }

    fn usage(&self) -> Usage {
        self.real.usage()
    }
}

/// An object in memory, replaced on condition.
pub fn object() -> Opened<Leases> {
    Ok(in_store(stores::memory()?))
}

/// An object on S3.
pub fn object_on_s3() -> Opened<Leases> {
    Ok(in_store(stores::s3()?))
}

/// The same in a store that breaks a promise.
pub fn lying(lie: Lie) -> Opened<Leases> {
    Ok(in_store(liar::store(lie)?))
}

fn in_store(folder: stores::Store) -> Leases {
    let record = folder.key("table.lease");
    let (store, path) = (Arc::clone(&folder.store), record.clone());
    let contender = move |clock| -> Arc<dyn LeaseStore> {
        let uri = format!("memory:///{path}");
        Arc::new(ObjectLease::new(uri, Arc::clone(&store), path.clone(), clock))
    };
    Leases {
        contender: Box::new(contender),
        clock: Arc::default(),
        can: Capabilities { ends_with_its_holder: false },
        damage: damage_of(folder.store, record),
        _scratch: None,
    }
}

/// What damages the record at `path` of `store`.
fn damage_of(store: Arc<dyn ObjectStore>, path: Path) -> Box<Damage> {
    Box::new(move || {
        let (store, path) = (Arc::clone(&store), path.clone());
        Box::pin(async move {
            store.put(&path, "{\"owner\": 3".into()).await.unwrap();
        })
    })
}

/// A local file.
pub fn file() -> Opened<Leases> {
    let folder = stores::local()?;
    let record = folder.key("table.lease");
    let path = PathBuf::from(format!("/{record}"));
    let contender =
        move |clock| -> Arc<dyn LeaseStore> { Arc::new(FileLease::new(path.clone(), clock)) };
    Ok(Leases {
        contender: Box::new(contender),
        clock: Arc::default(),
        can: Capabilities { ends_with_its_holder: true },
        damage: damage_of(folder.store, record),
        _scratch: folder._scratch,
    })
}

/// An item in moto's DynamoDB.
#[cfg(not(feature = "aws"))]
pub fn dynamodb_moto() -> Opened<Leases> {
    Err(super::Missing { backend: "DynamoDB", remedy: "build with the feature aws" })
}

/// An item in DynamoDB Local.
#[cfg(not(feature = "aws"))]
pub fn dynamodb_local() -> Opened<Leases> {
    dynamodb_moto()
}
