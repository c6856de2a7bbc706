//! One version's place in the log, which can be filled once.

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path;

use super::hint;
use crate::clock::{Clock, Entropy};
use crate::error::Result;
use crate::store::storage_error;
use crate::table::CommitOutcome;
use crate::table::offer::{Holds, Offerer, Placed, is_there};

/// A commit file's name begins with its version in this many digits.
pub(super) const VERSION_DIGITS: usize = 20;
pub(super) struct Slot<'a> {
    pub version: u64,
    pub log: Path,
    pub store: &'a dyn ObjectStore,
    pub clock: &'a dyn Clock,
    pub entropy: &'a Entropy,
}

impl Slot<'_> {
    /// Puts `commit` in the slot if it is empty, and finds out what became of it.
    ///
    /// # Errors
    /// Only when the store refused and the slot is seen to be empty, so that nothing happened.
    pub async fn fill(&self, commit: &Bytes) -> Result<CommitOutcome> {
        let path = self.path();
        Ok(match self.offerer().place(&path, commit).await {
            Placed::Ours => self.confirm(CommitOutcome::Committed(self.version)).await,
            Placed::Theirs => self.confirm(CommitOutcome::Conflict).await,
            // Empty, or filled in spite of the refusal and cleaned away since.
            Placed::Refused(cause) if self.is_in_sight().await => {
                return Err(storage_error(path.as_ref(), cause));
            }
            Placed::Refused(_) | Placed::Unknown => CommitOutcome::Unknown,
        })
    }

    fn offerer(&self) -> Offerer<'_> {
        Offerer { store: self.store, clock: self.clock, entropy: self.entropy }
    }

    /// What the slot holds, seen from one who wants to put `commit` there.
    ///
    /// # Errors
    /// Those of the store: it did not say.
    pub async fn look(&self, commit: &Bytes) -> Result<Holds> {
        self.offerer().look(&self.path(), commit).await
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
        is_there(self.store, &self.path()).await
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
