//! Files of a ledger that no tail names, and none may still name.
//!
//! Of tails, those of no higher sequence than the current one: a tail can only be the next after the
//! one that it was made of. Of runs, those that were written under an older fence: whoever had one
//! to put in the ledger starts again. Of quarantine files, the same, if no entry names them; not
//! those of before the ledger was rebuilt, of which its entries know nothing.

use std::collections::HashSet;

use futures::TryStreamExt;
use object_store::ObjectMeta;
use object_store::path::Path;
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

/// The folder of quarantine files, in that of their ledger.
const QUARANTINE: &str = "quarantine";

/// The name of a new quarantine file, in the folder of its ledger.
fn file_of_quarantine(fence: u64, unique: Uuid) -> String {
    format!("{QUARANTINE}/{fence}-{unique}.parquet")
}

/// Under which fence the run of this file was written.
fn fence_in(file: &str) -> Option<u64> {
    fence_between(file, RUNS, ".ledger")
}

/// Under which fence the append of this quarantine file was planned.
fn fence_of_quarantine(file: &str) -> Option<u64> {
    fence_between(file, QUARANTINE, ".parquet")
}

fn fence_between(file: &str, folder: &str, suffix: &str) -> Option<u64> {
    let (fence, unique) = file.strip_prefix(folder)?.strip_prefix('/')?.split_once('-')?;
    Uuid::try_parse(unique.strip_suffix(suffix)?).ok()?;
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
        let (mut orphans, mut suspects) = (Vec::new(), Vec::new());
        let failed = |cause| storage_error(folder.as_ref(), cause);
        while let Some(found) = listing.try_next().await.map_err(failed)? {
            let Some(parts) = found.location.prefix_match(&folder) else { continue };
            let file = parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/");
            if self.is_orphan(&file, fence) && orphans.len() < files_max {
                orphans.push(found);
            } else if self.is_past_quarantine(&file, fence) && suspects.len() < files_max {
                suspects.push(found);
            }
        }
        let unnamed = self.unnamed(table, suspects).await?;
        orphans.extend(unnamed.into_iter().take(files_max - orphans.len()));
        Ok(orphans)
    }

    /// Where a new quarantine file goes, of an append that is planned on this ledger.
    pub fn quarantine_path(&self, table: &dyn Table, unique: Uuid) -> Path {
        self.place.file(table, &file_of_quarantine(self.fence(), unique))
    }

    fn is_past_quarantine(&self, file: &str, fence: u64) -> bool {
        let known = self.header.known_since..fence;
        fence_of_quarantine(file).is_some_and(|planned_under| known.contains(&planned_under))
    }

    /// Those of these quarantine files that no entry names.
    async fn unnamed(
        &self,
        table: &dyn Table,
        mut suspects: Vec<ObjectMeta>,
    ) -> Result<Vec<ObjectMeta>> {
        let name_of = |file: &ObjectMeta| file.location.filename().map(str::to_owned);
        let mut unnamed: HashSet<String> = suspects.iter().filter_map(name_of).collect();
        if unnamed.is_empty() {
            return Ok(suspects);
        }
        let mut entries = self.entries(table);
        while let Some(some) = entries.try_next().await? {
            for file in some.iter().filter_map(|entry| entry.quarantine.as_deref()) {
                // A table may have been moved: only the name is the same wherever it is.
                unnamed.remove(file.rsplit('/').next().unwrap_or(file));
            }
        }
        suspects.retain(|file| name_of(file).is_some_and(|name| unnamed.contains(&name)));
        Ok(suspects)
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
        assert_eq!(fence_of_quarantine(&file_of_quarantine(41, unique)), Some(41));
        assert_eq!(fence_of_quarantine("quarantine/41-notes.parquet"), None);
    }
}
