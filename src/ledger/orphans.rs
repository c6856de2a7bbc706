//! Files of a ledger that no tail names, and none may still name.
//!
//! Of tails, those of no higher sequence than the current one: a tail can only be the next after the
//! one that it was made of. Of runs, those that were written under an older fence: whoever had one
//! to put in the ledger starts again.

use futures::TryStreamExt;
use object_store::ObjectMeta;
use uuid::Uuid;

use super::{Ledger, tail};
use crate::error::Result;
use crate::store::storage_error;
use crate::table::Table;

/// The folder of runs, in that of their ledger.
const RUNS: &str = "runs";

/// The name of a new run's file, in the folder of its ledger.
pub(super) fn file_of_run(fence: u64, unique: Uuid) -> String {
    format!("{RUNS}/{fence}-{unique}.ledger")
}

/// Under which fence the run of this file was written.
fn fence_in(file: &str) -> Option<u64> {
    let (fence, unique) = file.strip_prefix(RUNS)?.strip_prefix('/')?.split_once('-')?;
    Uuid::try_parse(unique.strip_suffix(".ledger")?).ok()?;
    fence.parse().ok()
}

impl Ledger {
    /// The files in this ledger's folder that no tail names, and none may still name, where this is
    /// the current tail and all runs count that were written under a fence below `fence`. What a
    /// tail has left behind for those who are reading it is not among them. At most `files_max`.
    ///
    /// # Errors
    /// Those of listing.
    pub async fn orphans(
        &self,
        table: &dyn Table,
        fence: u64,
        files_max: usize,
    ) -> Result<Vec<ObjectMeta>> {
        let folder = self.place.folder(table);
        let mut listing = table.store().list(Some(&folder));
        let mut orphans = Vec::new();
        let failed = |cause| storage_error(folder.as_ref(), cause);
        while let Some(found) = listing.try_next().await.map_err(failed)? {
            let Some(parts) = found.location.prefix_match(&folder) else { continue };
            let file = parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/");
            if self.is_orphan(&file, fence) && orphans.len() < files_max {
                orphans.push(found);
            }
        }
        Ok(orphans)
    }

    fn is_orphan(&self, file: &str, fence: u64) -> bool {
        let is_past = match tail::pointer_in(file) {
            Some(pointer) => tail::sequence_of(pointer) <= self.sequence(),
            None => fence_in(file).is_some_and(|of_run| of_run < fence),
        };
        let is_named = self.pointer.is_some_and(|pointer| tail::file_of(pointer) == file)
            || self.runs().iter().any(|run| run.file == file)
            || self.header.retired.iter().any(|retired| retired == file);
        is_past && !is_named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_tells_the_fence_that_it_was_written_under() {
        let unique = Uuid::from_u128(7);
        assert_eq!(fence_in(&file_of_run(41, unique)), Some(41));
        for other in [format!("runs/{unique}.ledger"), format!("41-{unique}.ledger")] {
            assert_eq!(fence_in(&other), None, "{other}");
        }
        assert_eq!(fence_in("runs/41-notes.ledger"), None);
    }
}
