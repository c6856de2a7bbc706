//! One version's place in the log, which can be filled once.

use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};

use super::hint;
use crate::clock::{Clock, Entropy};
use crate::error::Result;
use crate::store::{refused, storage_error};
use crate::table::CommitOutcome;

/// A commit file's name begins with its version in this many digits.
pub(super) const VERSION_DIGITS: usize = 20;
/// How often the same bytes are offered to a slot whose state is not known.
const FILL_ATTEMPTS_MAX: u32 = 5;
/// The longest wait before the second offer; it doubles for each one after.
const FILL_WAIT_MIN: Duration = Duration::from_millis(100);

pub(super) struct Slot<'a> {
    pub version: u64,
    pub log: Path,
    pub store: &'a dyn ObjectStore,
    pub clock: &'a dyn Clock,
    pub entropy: &'a Entropy,
}

/// What a slot holds, seen from one who wants to put something there.
pub(super) enum Holds {
    Nothing,
    Ours,
    Theirs,
}

impl Slot<'_> {
    /// Puts `commit` in the slot if it is empty, and finds out what became of it.
    ///
    /// An answer that is lost, or that may speak of our own earlier try (stores retry by
    /// themselves), is settled by looking: until the slot is filled, only the same bytes are
    /// offered again.
    ///
    /// # Errors
    /// Only when the store refused and the slot is seen to be empty, so that nothing happened.
    pub async fn fill(&self, commit: &Bytes) -> Result<CommitOutcome> {
        let path = self.path();
        // Whether an earlier offer may still arrive.
        let mut in_doubt = false;
        for attempt in 0..FILL_ATTEMPTS_MAX {
            if attempt > 0 {
                let ceiling = FILL_WAIT_MIN * 2_u32.pow(attempt);
                self.clock.sleep(self.entropy.jitter(ceiling)).await;
            }
            let cause = match self
                .store
                .put_opts(&path, commit.clone().into(), PutMode::Create.into())
                .await
            {
                Ok(_) => return Ok(self.confirm(CommitOutcome::Committed(self.version)).await),
                Err(cause) => cause,
            };
            // Somebody was first, or our own earlier offer was, or the answer was lost, or the store
            // refused: a disk may do that after it has linked the file.
            tracing::debug!(version = self.version, %cause, "looking who has the slot");
            match self.look(commit).await {
                Ok(Holds::Ours) => {
                    return Ok(self.confirm(CommitOutcome::Committed(self.version)).await);
                }
                Ok(Holds::Theirs) => return Ok(self.confirm(CommitOutcome::Conflict).await),
                Ok(Holds::Nothing) if refused(&cause) && !in_doubt => {
                    // Empty, or filled in spite of the refusal and cleaned away since.
                    if self.is_in_sight().await {
                        return Err(storage_error(path.as_ref(), cause));
                    }
                    return Ok(CommitOutcome::Unknown);
                }
                Ok(Holds::Nothing) => {}
                Err(error) => tracing::debug!(version = self.version, %error, "cannot look"),
            }
            in_doubt = true;
        }
        Ok(CommitOutcome::Unknown)
    }

    /// What the slot holds, seen from one who wants to put `commit` there.
    ///
    /// # Errors
    /// Those of the store: it did not say.
    pub async fn look(&self, commit: &Bytes) -> Result<Holds> {
        let path = self.path();
        let found = match self.store.get(&path).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(Holds::Nothing),
            Err(cause) => return Err(storage_error(path.as_ref(), cause)),
        };
        // Another's commit may be of any size; ours is this one.
        if found.meta.size != commit.len() as u64 {
            return Ok(Holds::Theirs);
        }
        let bytes = found.bytes().await.map_err(|cause| storage_error(path.as_ref(), cause))?;
        Ok(if bytes == *commit { Holds::Ours } else { Holds::Theirs })
    }

    /// What a filled slot says counts while the log has not been cleaned up behind us: the version
    /// before is there, and no checkpoint covers the slot. Else what we wrote may lie below the
    /// oldest version that anyone reads, and what we see may have taken the place of ours, or of
    /// the version before: only the table itself can say.
    pub async fn confirm(&self, seen: CommitOutcome) -> CommitOutcome {
        if self.is_in_sight().await { seen } else { CommitOutcome::Unknown }
    }

    /// Whether the log has surely not been cleaned up to here: the version before is there, and no
    /// checkpoint covers this one.
    pub async fn is_in_sight(&self) -> bool {
        let (follows, upto) =
            futures::join!(self.follows(), hint::summed_up_to(self.store, &self.log));
        matches!((follows, upto), (Ok(true), Ok(upto)) if upto < Some(self.version))
    }

    /// Whether the version before this one is still in the log.
    ///
    /// # Errors
    /// Those of the store: it did not say.
    pub async fn follows(&self) -> Result<bool> {
        match self.version.checked_sub(1) {
            Some(previous) => self.at(previous).is_filled().await,
            None => Ok(true),
        }
    }

    /// Whether anything is in the slot.
    ///
    /// # Errors
    /// Those of the store: it did not say.
    pub async fn is_filled(&self) -> Result<bool> {
        let path = self.path();
        match self.store.head(&path).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(cause) => Err(storage_error(path.as_ref(), cause)),
        }
    }

    /// The slot of another version of the same log.
    pub fn at(&self, version: u64) -> Slot<'_> {
        Slot { version, log: self.log.clone(), ..*self }
    }

    /// Where its file is.
    pub fn path(&self) -> Path {
        self.log.clone().join(file_name(self.version))
    }
}

/// What the file of a version is called.
pub(super) fn file_name(version: u64) -> String {
    format!("{version:0VERSION_DIGITS$}.json")
}

/// What the file is called that sums a version up.
pub(super) fn checkpoint_name(version: u64) -> String {
    format!("{version:0VERSION_DIGITS$}.checkpoint.parquet")
}

/// The version that `digits` are, as the names of log files begin with it.
pub(super) fn version(digits: &str) -> Option<u64> {
    digits.parse().ok().filter(|_| digits.len() == VERSION_DIGITS)
}
