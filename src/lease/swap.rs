//! A lease whose record changes by compare-and-swap, wherever the record is.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Acquisition, Claim, Lease, LeaseStore, Renewal, Sighting};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};

/// How often a record that changes under our hands is read again.
const SWAPS_MAX: u32 = 8;
/// How many of these may be for swaps whose answer was lost.
const UNKNOWN_SWAPS_MAX: u32 = 2;
/// The wait before we look what became of one.
const UNKNOWN_WAIT: Duration = Duration::from_millis(100);

/// Where one record is, which can be replaced on condition that it is still what it was.
#[async_trait]
pub trait Slot: Send + Sync {
    /// What tells one state of the slot from every other.
    type Version: Send;

    /// The slot's address.
    fn uri(&self) -> &str;

    /// The record, if there is one that can be understood, and the version of whatever is there.
    async fn read(&self) -> Result<(Option<Lease>, Self::Version)>;

    /// Puts `next` there, if what is there is still of `version`.
    async fn swap(&self, version: Self::Version, next: &Lease) -> Result<Swap>;
}

/// What a swap came to. An error beside it says that it was not done, and cannot be.
#[derive(Debug)]
pub enum Swap {
    /// It was done.
    Done,
    /// Something else is there; perhaps by an earlier attempt at this very swap.
    Refused,
    /// It may have been done or not.
    Unknown(Error),
}

/// A lease whose record is in a slot.
pub struct SwapLease<S> {
    slot: S,
    clock: Arc<dyn Clock>,
    sighting: Sighting,
}

/// What to do about a record.
enum Change<T> {
    /// Nothing; this is the answer.
    Leave(T),
    /// Replace it; the answer, if that succeeds.
    Replace(Lease, T),
}

impl<S: Slot> SwapLease<S> {
    /// The lease whose record is in `slot`.
    pub(super) fn in_slot(slot: S, clock: Arc<dyn Clock>) -> Self {
        Self { slot, clock, sighting: Sighting::default() }
    }

    /// Changes the record as `decide` says of what it is, again if it changes meanwhile.
    async fn change<T>(&self, decide: impl Fn(Option<&Lease>) -> Change<T>) -> Result<T> {
        let mut unknown = 0;
        let mut tried: Option<(Lease, T)> = None;
        for _ in 0..SWAPS_MAX {
            let (record, version) = self.slot.read().await?;
            // A swap that was not answered, or that the client repeated, may be found done.
            if let Some((next, answer)) = tried.take()
                && record.as_ref() == Some(&next)
            {
                return Ok(answer);
            }
            let (next, answer) = match decide(record.as_ref()) {
                Change::Leave(answer) => return Ok(answer),
                Change::Replace(next, answer) => (next, answer),
            };
            match self.slot.swap(version, &next).await? {
                Swap::Done => return Ok(answer),
                Swap::Refused => {}
                Swap::Unknown(error) if unknown == UNKNOWN_SWAPS_MAX => return Err(error),
                Swap::Unknown(_) => {
                    unknown += 1;
                    self.clock.sleep(UNKNOWN_WAIT).await;
                }
            }
            tried = Some((next, answer));
        }
        Err(Error::new(ErrorKind::Contention, "the lease changes hands all the time")
            .with_object(self.slot.uri())
            .with_advice("try again"))
    }
}

#[async_trait]
impl<S: Slot> LeaseStore for SwapLease<S> {
    fn uri(&self) -> &str {
        self.slot.uri()
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
        Ok(self.slot.read().await?.0.filter(Lease::is_held))
    }

    async fn break_(&self) -> Result<Option<Lease>> {
        self.change(|record| match record.filter(|record| record.is_held()) {
            Some(record) => Change::Replace(record.ended(self.clock.now()), Some(record.clone())),
            None => Change::Leave(None),
        })
        .await
    }
}
