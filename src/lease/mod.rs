//! Leases: who may write to a table, by agreement.
//!
//! A lease only helps. It lets writers queue instead of colliding, or keeps a second run from
//! starting; which rows a table has is decided by the commit alone ([`crate::commit`]). So a lease
//! that is frozen, stolen, expired or broken costs time, and never rows, and nothing here is fenced.
//!
//! Each store keeps one *record*, which anybody can read, and in which the *epoch* counts the
//! holders. A record is free when its holder has ended it; when it stood unchanged for its whole
//! duration, by our own monotonic clock; or when it expired [`CLOCK_SKEW_MAX`] ago, by our wall
//! clock. Clocks that disagree cost time, too, and nothing else.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::environment::Environment;
use crate::error::Result;
use crate::table::Table;

#[cfg(feature = "aws")]
pub use dynamodb::DynamoDbLease;
pub use file::FileLease;
pub use guard::{Claimant, Guard};
pub use object::ObjectLease;

#[cfg(feature = "aws")]
mod dynamodb;
mod file;
mod guard;
mod object;
mod swap;

/// How far two machines' wall clocks may be apart before one's expired lease looks held to the
/// other, or the other way round.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(5 * 60);

/// The largest record that is read; whatever is larger is none of ours.
const RECORD_BYTES_MAX: u64 = 16 << 10;

/// The name of a table's record, in its folder of ledgers.
const RECORD_NAME: &str = "table.lease";

/// One lease of one kind of storage.
///
/// An `Err` from any method says nothing about whether it happened. A claim or a renewal may be
/// made again by the same owner; an end that was lost is an expiry.
#[async_trait]
pub trait LeaseStore: Send + Sync {
    /// Where the record is.
    fn uri(&self) -> &str;

    /// Takes the lease if it is free, or says who holds it. Does not wait. The holder itself gets
    /// what it holds already.
    async fn acquire(&self, claim: &Claim) -> Result<Acquisition>;

    /// Puts the expiry of `lease` off by its duration.
    async fn renew(&self, lease: &Lease) -> Result<Renewal>;

    /// Ends `lease`, so that the next claim succeeds at once. One that is not held any more is left
    /// alone.
    async fn release(&self, lease: &Lease) -> Result<()>;

    /// Who holds the lease; nobody when it was ended, though an expired one is still shown.
    async fn inspect(&self) -> Result<Option<Lease>>;

    /// Ends the lease of whoever holds it, and says who that was. The holder learns of it when it
    /// renews.
    async fn break_(&self) -> Result<Option<Lease>>;
}

/// Who wants a lease, what for, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Unique to the run, and telling for people.
    pub owner: String,
    /// For people.
    pub purpose: String,
    /// The time without a renewal after which others may take it.
    pub duration: Duration,
}

/// A lease that is or was held: the record, as it is stored, in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Who holds it.
    pub owner: String,
    /// What for.
    pub purpose: String,
    /// How many holders there have been, this one counted.
    pub epoch: u64,
    /// When it was taken, by the holder's clock.
    pub acquired_at: DateTime<Utc>,
    /// When it was renewed last.
    pub renewed_at: DateTime<Utc>,
    /// When others may take it.
    pub expires_at: DateTime<Utc>,
    /// When it was ended, by its holder or by a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
}

/// What a claim came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acquisition {
    /// It is ours.
    Acquired(Lease),
    /// It is somebody else's.
    Held(Lease),
}

/// What a renewal came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewal {
    /// It is still ours.
    Renewed(Lease),
    /// It was broken, or it expired and was taken.
    Lost,
}

impl Lease {
    /// The lease of whoever makes `claim`, after the holder `before`.
    fn next(claim: &Claim, before: Option<&Self>, now: DateTime<Utc>) -> Self {
        Self {
            owner: claim.owner.clone(),
            purpose: claim.purpose.clone(),
            epoch: before.map_or(0, |lease| lease.epoch) + 1,
            acquired_at: now,
            renewed_at: now,
            expires_at: now + claim.duration,
            ended_at: None,
        }
    }

    fn renewed(&self, now: DateTime<Utc>) -> Self {
        Self { renewed_at: now, expires_at: now + self.duration(), ..self.clone() }
    }

    fn ended(&self, now: DateTime<Utc>) -> Self {
        Self { ended_at: Some(now), ..self.clone() }
    }

    /// The time without a renewal after which others may take it.
    pub fn duration(&self) -> Duration {
        (self.expires_at - self.renewed_at).to_std().unwrap_or_default()
    }

    fn is_held(&self) -> bool {
        self.ended_at.is_none()
    }

    /// Whether this record says that `lease` is still held.
    fn continues(&self, lease: &Self) -> bool {
        self.is_held() && self.owner == lease.owner && self.epoch == lease.epoch
    }

    fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The record in `bytes`. What cannot be understood is nobody's: a lease only helps, and one
    /// that a crash cut short must not hold up anybody for ever.
    fn from_json(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// A record as it was first seen, and when, on the monotonic clock.
#[derive(Debug, Default)]
struct Sighting(Mutex<Option<(Lease, Duration)>>);

impl Sighting {
    /// Whether the holder of `lease` has had its time.
    fn has_expired(&self, lease: &Lease, clock: &dyn Clock) -> bool {
        if clock.now() > lease.expires_at + CLOCK_SKEW_MAX {
            return true;
        }
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*seen {
            Some((known, since)) if known == lease => {
                clock.monotonic().saturating_sub(*since) >= lease.duration()
            }
            _ => {
                *seen = Some((lease.clone(), clock.monotonic()));
                false
            }
        }
    }
}

/// The lease of `table`: beside its ledgers, or in DynamoDB, where the configuration names a table
/// for the leases of those on S3.
pub fn open(environment: &Environment, table: &dyn Table) -> Arc<dyn LeaseStore> {
    let clock = Arc::clone(&environment.clock);
    #[cfg(feature = "aws")]
    if let Some(lease_table) = &environment.stores.aws().dynamodb.lease_table
        && table.uri().starts_with("s3://")
    {
        // With or without a slash at its end, it is one table.
        let table_uri = table.uri().trim_end_matches('/').to_owned();
        let stores = Arc::clone(&environment.stores);
        return Arc::new(DynamoDbLease::new(stores, lease_table.clone(), table_uri, clock));
    }
    let path = table.ledger_root().join(RECORD_NAME);
    let uri = environment.stores.uri_of(table.uri(), &path);
    match uri.strip_prefix("file://") {
        // A file system can do better than an object store: its locks end with their process.
        Some(file) => Arc::new(FileLease::new(file.into(), clock)),
        None => Arc::new(ObjectLease::new(uri, Arc::clone(table.store()), path, clock)),
    }
}
