//! The catalog that needs none: a folder is the table.
//!
//! ```text
//! metadata/v1.metadata.json        the creation
//! metadata/v2.metadata.json        …and each commit, created where nothing is
//! metadata/version-hint.text       "2", or an older number, or nothing
//! ```
//!
//! This is the layout of Spark's Hadoop catalog, which `iceberg_scan` of DuckDB and others read. The
//! newest metadata is the one that no other follows; the hint only says where to begin to look. A commit
//! is the creation of the next number's file, and everything that Lakefeed promises rests on the store
//! creating it for one writer only.

use std::sync::Arc;

use async_trait::async_trait;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt};

use super::catalog::{Catalog, Change, Loaded};
use super::metadata;
use crate::clock::{Clock, Entropy};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::memory::display_bytes;
use crate::store::{Location, storage_error};
use crate::table::CommitOutcome;
use crate::table::offer::{Offerer, Placed, is_there};

/// The number of a table's first metadata file.
const FIRST: u64 = 1;
/// Says where to begin to look for the newest.
const HINT: &str = "version-hint.text";
/// The longest hint that is one, in bytes.
const HINT_BYTES_MAX: u64 = 20;
/// Metadata files that are looked for one by one after the hinted one, before the folder is listed.
const PROBES_MAX: u32 = 64;
/// How often the newest metadata is looked for: it may be cleaned away while we do.
const LOADS_MAX: u32 = 3;
/// The part of the memory budget that metadata may take as it is stored. It takes about eight times as
/// much when it is held, and half of the budget is for rows.
const BUDGET_PER_METADATA: u64 = 32;
/// What files are called that a catalog of another kind names.
const METADATA_SUFFIX: &str = ".metadata.json";
/// The same of those that are compressed, which Spark's catalog numbers alike.
const COMPRESSED_SUFFIX: &str = ".gz.metadata.json";

/// The table at one address, in a store that creates an object for one writer only.
pub(super) struct PathCatalog {
    uri: String,
    folder: Path,
    store: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    entropy: Arc<Entropy>,
    metadata_bytes_max: u64,
}

/// What is there of a number.
enum Present {
    No,
    Plain,
    Compressed,
}

impl PathCatalog {
    /// The catalog of the table at `location` alone.
    pub fn new(environment: &Environment, location: &Location) -> Self {
        Self {
            uri: location.uri.clone(),
            folder: location.path.clone().join("metadata"),
            store: Arc::clone(&location.store),
            clock: Arc::clone(&environment.clock),
            entropy: Arc::clone(&environment.entropy),
            metadata_bytes_max: environment.budget.limit_bytes() / BUDGET_PER_METADATA,
        }
    }

    fn path(&self, number: u64) -> Path {
        self.folder.clone().join(file_name(number))
    }

    /// The number that the hint holds, if it is one.
    async fn hinted(&self) -> Result<Option<u64>> {
        let path = self.folder.clone().join(HINT);
        let found = match self.store.get(&path).await {
            Ok(found) if found.meta.size <= HINT_BYTES_MAX => found,
            Ok(_) | Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(cause) => return Err(storage_error(path.as_ref(), cause)),
        };
        let body = found.bytes().await.map_err(|cause| storage_error(path.as_ref(), cause))?;
        Ok(std::str::from_utf8(&body).ok().and_then(|text| text.trim().parse().ok()))
    }

    /// The highest number in the folder.
    ///
    /// # Errors
    /// [`ErrorKind::TableUnsupported`] where only a catalog can say which metadata is the newest.
    async fn listed(&self) -> Result<Option<u64>> {
        let mut listing = self.store.list(Some(&self.folder));
        let (mut highest, mut catalogued) = (None, None);
        loop {
            let file = match listing.try_next().await {
                Ok(Some(file)) => file.location,
                Ok(None) | Err(StoreError::NotFound { .. }) => break,
                Err(cause) => return Err(storage_error(self.folder.as_ref(), cause)),
            };
            let is_direct = file.prefix_match(&self.folder).is_some_and(|parts| parts.count() == 1);
            let name = file.filename().filter(|_| is_direct).unwrap_or_default();
            match number_in(name) {
                Some(number) => highest = highest.max(Some(number)),
                None if name.ends_with(METADATA_SUFFIX) => catalogued = Some(name.to_owned()),
                None => {}
            }
        }
        match catalogued.filter(|_| highest.is_none()) {
            None => Ok(highest),
            Some(name) => Err(Error::new(
                ErrorKind::TableUnsupported,
                format!("a catalog says which is the table's metadata: there is {name}"),
            )
            .with_object(&self.uri)
            .with_advice(
                "choose another folder: what is committed here would be unknown to that catalog",
            )),
        }
    }

    async fn present(&self, number: u64) -> Result<Present> {
        let (plain, compressed) = (self.path(number), self.folder.clone());
        let compressed = compressed.join(format!("v{number}{COMPRESSED_SUFFIX}"));
        let store = self.store.as_ref();
        let (plain, compressed) =
            futures::try_join!(is_there(store, &plain), is_there(store, &compressed))?;
        Ok(match (plain, compressed) {
            (_, true) => Present::Compressed,
            (true, false) => Present::Plain,
            (false, false) => Present::No,
        })
    }

    /// The newest number, looked for from `from`, which is there.
    async fn newest_from(&self, mut from: u64) -> Result<u64> {
        for _ in 0..PROBES_MAX {
            match self.present(from + 1).await? {
                Present::No => return Ok(from),
                Present::Plain => from += 1,
                Present::Compressed => return Err(self.compressed()),
            }
        }
        Ok(self.listed().await?.unwrap_or(from).max(from))
    }

    fn compressed(&self) -> Error {
        Error::new(ErrorKind::TableUnsupported, "the table's metadata is compressed")
            .with_object(&self.uri)
            .with_advice(
                "ALTER TABLE t SET TBLPROPERTIES ('write.metadata.compression-codec' = 'none')",
            )
    }

    /// The metadata of this number; nothing where it is not there, or not any more.
    async fn read(&self, number: u64) -> Result<Option<Loaded>> {
        let path = self.path(number);
        let found = match self.store.get(&path).await {
            Ok(found) => found,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(cause) => return Err(storage_error(path.as_ref(), cause)),
        };
        if found.meta.size > self.metadata_bytes_max {
            return Err(self.too_large(&path, found.meta.size));
        }
        let body = found.bytes().await.map_err(|cause| storage_error(path.as_ref(), cause))?;
        let metadata = metadata::parse(&self.uri, &path, &body)?;
        let location = format!("{}/metadata/{}", metadata.location(), file_name(number));
        Ok(Some(Loaded { metadata, location, number }))
    }

    fn too_large(&self, path: &Path, bytes: u64) -> Error {
        let (size, max) = (display_bytes(bytes), display_bytes(self.metadata_bytes_max));
        Error::new(
            ErrorKind::TableTooLarge,
            format!("the table's metadata takes {size}, and at most {max} are loaded"),
        )
        .with_object(path.as_ref())
        .with_advice("expire snapshots of the table, or give Lakefeed more memory")
    }

    /// Says where the next one may begin to look. Best effort.
    async fn hint(&self, number: u64) {
        let path = self.folder.clone().join(HINT);
        if let Err(cause) = self.store.put(&path, number.to_string().into()).await {
            tracing::debug!(%path, %cause, "the hint stays behind");
        }
    }

    /// Whether a number that is taken has surely not been left behind by a clean-up of old metadata,
    /// which begins at the oldest: the number before is there.
    async fn follows(&self, number: u64) -> Result<bool> {
        match number {
            FIRST => Ok(true),
            _ => is_there(self.store.as_ref(), &self.path(number - 1)).await,
        }
    }
}

#[async_trait]
impl Catalog for PathCatalog {
    async fn load(&self) -> Result<Option<Loaded>> {
        for _ in 0..LOADS_MAX {
            let from = match self.hinted().await? {
                Some(hinted) if is_there(self.store.as_ref(), &self.path(hinted)).await? => hinted,
                _ => match self.listed().await? {
                    Some(highest) => highest,
                    None => return Ok(None),
                },
            };
            if let Some(loaded) = self.read(self.newest_from(from).await?).await? {
                return Ok(Some(loaded));
            }
            tracing::debug!(uri = self.uri, "the metadata was cleaned away: looking again");
        }
        // Where only compressed metadata was ever written, there is a highest number and no file.
        match self.listed().await? {
            Some(number) if matches!(self.present(number).await?, Present::Compressed) => {
                Err(self.compressed())
            }
            _ => Err(Error::new(
                ErrorKind::StorageUnavailable,
                "the table's metadata vanishes faster than it is read",
            )
            .with_object(&self.uri)
            .with_advice("run again; nothing is missing")),
        }
    }

    async fn commit(&self, base: Option<&Loaded>, change: &Change) -> Result<CommitOutcome> {
        let number = base.map_or(FIRST, |base| base.number + 1);
        let is_met = |requirement: &iceberg::TableRequirement| {
            requirement.check(base.map(|base| &base.metadata)).is_ok()
        };
        // One who was frozen may come back when the numbers around its own are cleaned away.
        if !change.requirements.iter().all(is_met) || !self.follows(number).await? {
            return Ok(CommitOutcome::Conflict);
        }
        let (store, clock) = (self.store.as_ref(), self.clock.as_ref());
        let offerer = Offerer { store, clock, entropy: &self.entropy };
        let path = self.path(number);
        let seen = match offerer.place(&path, &change.outcome).await {
            Placed::Ours => CommitOutcome::Committed(change.version),
            Placed::Theirs => CommitOutcome::Conflict,
            Placed::Refused(cause) => return Err(storage_error(path.as_ref(), cause)),
            Placed::Unknown => return Ok(CommitOutcome::Unknown),
        };
        // What a taken number says counts while the numbers before it are there: else what is ours may lie
        // below the oldest that anyone reads, and what is not may have taken the place of ours.
        match self.follows(number).await {
            Ok(true) => {}
            Ok(false) | Err(_) => return Ok(CommitOutcome::Unknown),
        }
        if matches!(seen, CommitOutcome::Committed(_)) {
            self.hint(number).await;
        }
        Ok(seen)
    }
}

fn file_name(number: u64) -> String {
    format!("v{number}{METADATA_SUFFIX}")
}

/// The number of a metadata file, compressed or not; nothing for any other file.
fn number_in(name: &str) -> Option<u64> {
    let rest = name.strip_prefix('v')?;
    let digits =
        rest.strip_suffix(COMPRESSED_SUFFIX).or_else(|| rest.strip_suffix(METADATA_SUFFIX))?;
    digits.parse().ok().filter(|_| digits.bytes().all(|digit| digit.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_files_are_told_by_their_names() {
        assert_eq!(number_in(&file_name(12)), Some(12));
        assert_eq!(number_in("v3.gz.metadata.json"), Some(3));
        for other in ["00003-a.metadata.json", "v+3.metadata.json", "v.metadata.json", "v3.json"] {
            assert_eq!(number_in(other), None, "{other}");
        }
    }
}
