//! Putting bytes where there is nothing, and finding out what became of that.

use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};

use crate::clock::{Clock, Entropy};
use crate::error::Result;
use crate::store::{refused, storage_error};

/// How often the same bytes are offered while it is not known what is there.
const OFFERS_MAX: u32 = 5;
/// The longest wait before the second offer; it doubles for each one after.
const OFFER_WAIT_MIN: Duration = Duration::from_millis(100);

/// What became of an offer.
#[derive(Debug)]
pub(super) enum Placed {
    /// The bytes are there.
    Ours,
    /// Something else was there first.
    Theirs,
    /// The store refused, and nothing is there.
    Refused(object_store::Error),
    /// They may be there, now or later.
    Unknown,
}

/// What is there, seen from one who offers bytes.
pub(super) enum Holds {
    Nothing,
    Ours,
    Theirs,
}

/// Who offers, and how it waits.
#[derive(Clone, Copy)]
pub(super) struct Offerer<'a> {
    pub store: &'a dyn ObjectStore,
    pub clock: &'a dyn Clock,
    pub entropy: &'a Entropy,
}

impl Offerer<'_> {
    /// Puts `bytes` at `path` if nothing is there.
    ///
    /// An answer that is lost, or that may speak of our own earlier try (stores retry by themselves), is
    /// settled by looking: until something is there, only the same bytes are offered again. No two
    /// offers of different origin may be alike: each holds a random id.
    pub async fn place(&self, path: &Path, bytes: &Bytes) -> Placed {
        // Whether an earlier offer may still arrive.
        let mut in_doubt = false;
        for offer in 0..OFFERS_MAX {
            if offer > 0 {
                let ceiling = OFFER_WAIT_MIN * 2_u32.pow(offer);
                self.clock.sleep(self.entropy.jitter(ceiling)).await;
            }
            let offered =
                self.store.put_opts(path, bytes.clone().into(), PutMode::Create.into()).await;
            let Err(cause) = offered else { return Placed::Ours };
            // Somebody was first, or our own earlier offer was, or the answer was lost, or the store
            // refused: a disk may do that after it has linked the file.
            tracing::debug!(%path, %cause, "looking what is there");
            match self.look(path, bytes).await {
                Ok(Holds::Ours) => return Placed::Ours,
                Ok(Holds::Theirs) => return Placed::Theirs,
                Ok(Holds::Nothing) if refused(&cause) && !in_doubt => {
                    return Placed::Refused(cause);
                }
                Ok(Holds::Nothing) => {}
                Err(error) => tracing::debug!(%path, %error, "cannot look"),
            }
            in_doubt = true;
        }
        Placed::Unknown
    }

    /// What is at `path`, seen from one who wants to put `bytes` there.
    ///
    /// # Errors
    /// Those of the store: it did not say.
    pub async fn look(&self, path: &Path, bytes: &Bytes) -> Result<Holds> {
        let found = match self.store.get(path).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(Holds::Nothing),
            Err(cause) => return Err(storage_error(path.as_ref(), cause)),
        };
        // What another put there may be of any size; ours is this one.
        if found.meta.size != bytes.len() as u64 {
            return Ok(Holds::Theirs);
        }
        let there = found.bytes().await.map_err(|cause| storage_error(path.as_ref(), cause))?;
        Ok(if there == *bytes { Holds::Ours } else { Holds::Theirs })
    }
}

/// Whether anything is at `path`.
///
/// # Errors
/// Those of the store: it did not say.
pub(super) async fn is_there(store: &dyn ObjectStore, path: &Path) -> Result<bool> {
    match store.head(path).await {
        Ok(_) => Ok(true),
        Err(object_store::Error::NotFound { .. }) => Ok(false),
        Err(cause) => Err(storage_error(path.as_ref(), cause)),
    }
}
