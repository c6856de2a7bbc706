//! Holding a lease while something is done.

use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};

use super::{Acquisition, Claim, Lease, LeaseStore, Renewal};
use crate::config::{Feed, LeaseOptions, LeaseScope};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::table::Table;

/// The shortest wait between two looks at a lease that somebody else holds.
const POLL_MIN: Duration = Duration::from_millis(50);
/// What is added to it at random, at most, so that those who wait do not all look at once.
const POLL_JITTER_MAX: Duration = Duration::from_millis(200);
/// No more than this part of the time that is left is spent waiting: the rest is the commit's.
const WAITING_PARTS: u32 = 2;
/// A lease is renewed this many times within its duration, so that one renewal may be lost.
const RENEWALS_PER_DURATION: u32 = 3;

/// One run, as one that claims its table's lease.
pub struct Claimant<'a> {
    environment: &'a Environment,
    scope: LeaseScope,
    /// One for the whole run: it remembers since when a record has stood still.
    store: Arc<dyn LeaseStore>,
    claim: Claim,
    wait_max: Duration,
}

impl<'a> Claimant<'a> {
    /// The run of `feed` into `table`; nobody, where the feed wants no lease.
    pub fn new(environment: &'a Environment, feed: &Feed, table: &dyn Table) -> Option<Self> {
        let LeaseOptions { scope, duration_seconds, wait_seconds_max } = feed.lease;
        let claim = || Claim {
            owner: format!("{} #{:08x}", environment.process, environment.entropy.bits(32)),
            purpose: format!("ingest of feed {:?}, ledger {:?}", feed.name, feed.ledger),
            duration: Duration::from_secs(duration_seconds),
        };
        (scope != LeaseScope::Off).then(|| Self {
            environment,
            scope,
            store: super::open(environment, table),
            claim: claim(),
            wait_max: Duration::from_secs(wait_seconds_max),
        })
    }

    /// What is held for the whole run, if anything.
    ///
    /// # Errors
    /// [`ErrorKind::Contention`] when another run holds the lease, and those of its storage.
    pub async fn for_run(&self) -> Result<Option<Guard<'a>>> {
        if self.scope != LeaseScope::Run {
            return Ok(None);
        }
        match self.store.acquire(&self.claim).await? {
            Acquisition::Acquired(lease) => Ok(Some(self.guard(lease))),
            Acquisition::Held(lease) => Err(is_held(self.store.uri(), &lease)),
        }
    }

    /// What is held for one commit, if anything. Waits for its turn, but not for ever, and not at
    /// any price: the commit is as right without it.
    pub async fn for_commit(&self) -> Option<Guard<'a>> {
        if self.scope != LeaseScope::Commit {
            return None;
        }
        match self.wait().await {
            Ok(Acquisition::Acquired(lease)) => Some(self.guard(lease)),
            Ok(Acquisition::Held(lease)) => {
                let uri = self.store.uri();
                tracing::info!(uri, owner = lease.owner, "committing without the lease");
                None
            }
            Err(error) => {
                tracing::warn!("committing without the lease: {error}");
                None
            }
        }
    }

    async fn wait(&self) -> Result<Acquisition> {
        let Environment { clock, entropy, time_box, .. } = self.environment;
        let began = clock.monotonic();
        let left = time_box.map_or(Duration::MAX, |time_box| time_box.ends.saturating_sub(began));
        let patience_ends = began + self.wait_max.min(left / WAITING_PARTS);
        loop {
            let acquisition = self.store.acquire(&self.claim).await?;
            let is_ours = matches!(acquisition, Acquisition::Acquired(_));
            if is_ours || clock.monotonic() >= patience_ends {
                return Ok(acquisition);
            }
            clock.sleep(POLL_MIN + entropy.jitter(POLL_JITTER_MAX)).await;
        }
    }

    fn guard(&self, lease: Lease) -> Guard<'a> {
        Guard { environment: self.environment, store: Arc::clone(&self.store), lease }
    }
}

/// A lease that is held.
pub struct Guard<'a> {
    environment: &'a Environment,
    store: Arc<dyn LeaseStore>,
    lease: Lease,
}

impl Guard<'_> {
    /// Does `work`, renewing the lease meanwhile, and releases it. When it is lost, the work goes
    /// on: it never rested on the lease.
    pub async fn during<T>(self, work: impl Future<Output = T>) -> T {
        let Self { environment, store, lease } = self;
        let heartbeat = pin!(keep_alive(environment, store.as_ref(), &lease));
        let outcome = match select(pin!(work), heartbeat).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right((never, _)) => match never {},
        };
        if let Err(error) = store.release(&lease).await {
            tracing::warn!("the lease was not released, and will expire: {error}");
        }
        outcome
    }
}

async fn keep_alive(
    environment: &Environment,
    store: &dyn LeaseStore,
    lease: &Lease,
) -> std::convert::Infallible {
    loop {
        environment.clock.sleep(lease.duration() / RENEWALS_PER_DURATION).await;
        match store.renew(lease).await {
            Ok(Renewal::Renewed(_)) => {}
            Ok(Renewal::Lost) => {
                tracing::warn!(uri = store.uri(), "the lease was taken or broken; going on");
                return pending().await;
            }
            Err(error) => tracing::warn!("the lease was not renewed: {error}"),
        }
    }
}

fn is_held(uri: &str, lease: &Lease) -> Error {
    let Lease { owner, purpose, acquired_at, .. } = lease;
    let since = acquired_at.format("%Y-%m-%d %H:%M:%S UTC");
    let message = format!("{owner} has held the table's lease since {since}, for the {purpose}");
    Error::new(ErrorKind::Contention, message).with_object(uri).with_advice(
        "wait until it is released or expires; if its holder is gone, `lakefeed lease break TABLE`",
    )
}
