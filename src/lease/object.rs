//! A lease in an object store that can replace an object on condition (If-Match, or a generation).

use std::sync::Arc;

use async_trait::async_trait;
use object_store::path::Path;
use object_store::{
    Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion,
};

use super::{Acquisition, Claim, Lease, LeaseStore, RECORD_BYTES_MAX, Renewal, Sighting};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::store::storage_error;

/// How often a record that changes under our hands is read again.
const SWAPS_MAX: u32 = 8;

/// A lease whose record is one object, which changes by compare-and-swap.
pub struct ObjectLease {
    uri: String,
    store: Arc<dyn ObjectStore>,
    path: Path,
    clock: Arc<dyn Clock>,
    sighting: Sighting,
}

/// What the record is now, and how to replace just that.
struct Seen {
    lease: Option<Lease>,
    mode: PutMode,
}

/// What to do about a record.
enum Change<T> {
    /// Nothing; this is the answer.
    Leave(T),
    /// Replace it; the answer, if that succeeds.
    Replace(Lease, T),
}

impl ObjectLease {
    /// The lease whose record is at `path` of `store`; `uri` is its address.
    pub fn new(
        uri: String,
        store: Arc<dyn ObjectStore>,
        path: Path,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { uri, store, path, clock, sighting: Sighting::default() }
    }

    async fn read(&self) -> Result<Seen> {
        let failed = |error| storage_error(&self.uri, error);
        let found = match self.store.get(&self.path).await {
            Err(StoreError::NotFound { .. }) => {
                return Ok(Seen { lease: None, mode: PutMode::Create });
            }
            found => found.map_err(failed)?,
        };
        let (e_tag, version) = (found.meta.e_tag.clone(), found.meta.version.clone());
        let lease = if found.meta.size > RECORD_BYTES_MAX {
            None
        } else {
            Lease::from_json(&found.bytes().await.map_err(failed)?)
        };
        Ok(Seen { lease, mode: PutMode::Update(UpdateVersion { e_tag, version }) })
    }

    /// Changes the record as `decide` says of what it is, again if it changes meanwhile.
    async fn change<T>(&self, decide: impl Fn(Option<&Lease>) -> Change<T>) -> Result<T> {
        for _ in 0..SWAPS_MAX {
            let Seen { lease, mode } = self.read().await?;
            let (next, answer) = match decide(lease.as_ref()) {
                Change::Leave(answer) => return Ok(answer),
                Change::Replace(next, answer) => (next, answer),
            };
            let options = PutOptions { mode, ..PutOptions::default() };
            match self.store.put_opts(&self.path, next.to_json().into(), options).await {
                Ok(_) => return Ok(answer),
                // Also what a client reports that repeats its own request: the record will tell.
                Err(StoreError::Precondition { .. } | StoreError::AlreadyExists { .. }) => {}
                Err(error) => return Err(storage_error(&self.uri, error)),
            }
        }
        Err(Error::new(ErrorKind::Contention, "the lease changes hands all the time")
            .with_object(&self.uri)
            .with_advice("try again"))
    }
}

#[async_trait]
impl LeaseStore for ObjectLease {
    fn uri(&self) -> &str {
        &self.uri
    }

    async fn acquire(&self, claim: &Claim) -> Result<Acquisition> {
        let (clock, sighting) = (self.clock.as_ref(), &self.sighting);
        self.change(|lease| match lease.filter(|lease| lease.is_held()) {
            Some(held) if held.owner == claim.owner => {
                Change::Leave(Acquisition::Acquired(held.clone()))
            }
            Some(held) if !sighting.has_expired(held, clock) => {
                Change::Leave(Acquisition::Held(held.clone()))
            }
            _ => {
                let next = Lease::next(claim, lease, clock.now());
                Change::Replace(next.clone(), Acquisition::Acquired(next))
            }
        })
        .await
    }

    async fn renew(&self, lease: &Lease) -> Result<Renewal> {
        self.change(|record| match record.filter(|record| record.continues(lease)) {
            Some(record) => {
                let next = record.renewed(self.clock.now());
                Change::Replace(next.clone(), Renewal::Renewed(next))
            }
            None => Change::Leave(Renewal::Lost),
        })
        .await
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        self.change(|record| match record.filter(|record| record.continues(lease)) {
            Some(record) => Change::Replace(record.ended(self.clock.now()), ()),
            None => Change::Leave(()),
        })
        .await
    }

    async fn inspect(&self) -> Result<Option<Lease>> {
        Ok(self.read().await?.lease.filter(Lease::is_held))
    }

    async fn break_(&self) -> Result<Option<Lease>> {
        self.change(|record| match record.filter(|record| record.is_held()) {
            Some(record) => Change::Replace(record.ended(self.clock.now()), Some(record.clone())),
            None => Change::Leave(None),
        })
        .await
    }
}
