//! Files that no commit names, and none may still name: what killed and frozen writers left behind.
//!
//! A writer that is frozen may wake up at any time and commit what it wrote before, so no age makes a
//! file safe to delete. A fence does (11). In this order:
//!
//! 1. *Fence*: a commit of its own moves the ledger's fence. Who planned under the one before starts
//!    again.
//! 2. *Pin* the table behind it: what was committed under the fence before is named there, or was.
//! 3. *List*, and delete what was written under an older fence, as its name tells, and is named
//!    neither at that pin, nor by any commit that the table still remembers.
//!
//! Files of other writers, and of other ledgers, are left alone: no fence of ours stops their commits.

use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectMeta, ObjectStoreExt};
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::commit::{self, Pin};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::memory::Reservation;
use crate::store::storage_error;
use crate::table::{FileNames, FileOrigin, Table};

/// Files that one sweep finds; the next one finds others.
const FILES_MAX: usize = 100_000;
/// What is held of each.
const FILE_BYTES: u64 = 512;
/// Files that are deleted at once.
const DELETES_IN_FLIGHT_MAX: usize = 8;
/// Names of a table's files that are held, eight bytes each.
const NAMES_MAX: usize = 8_000_000;
const NAME_BYTES: u64 = 8;
/// Names for which memory is reserved at once.
const NAMES_RESERVED: usize = 65_536;

/// What a sweep has taken away, or would.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// The version of the table that was pinned behind the fence.
    pub version: u64,
    /// Data files.
    pub data_files: u64,
    /// Their sizes, together.
    pub data_bytes: u64,
    /// Files of the ledger.
    pub ledger_files: u64,
    /// Their sizes, together.
    pub ledger_bytes: u64,
    /// Files that could not be deleted: the next sweep finds them.
    pub failures: u64,
    /// Whether there may be more than one sweep finds.
    pub is_partial: bool,
}

/// Deletes the orphans of a ledger.
///
/// # Errors
/// Those of [`commit::move_fence`]; [`ErrorKind::TableTooLarge`] and [`ErrorKind::OverBudget`] for a table whose
/// files' names take too much memory; those of the storage. Nothing was deleted then.
pub async fn sweep(
    environment: &Environment,
    table: &dyn Table,
    ledger: &str,
    attempts_max: u32,
) -> Result<Swept> {
    let pin = commit::move_fence(environment, table, ledger, attempts_max).await?;
    let orphans = Orphans::behind(environment, table, &pin, pin.ledger().fence()).await?;
    let mut swept = orphans.counted(&pin);
    let files = orphans.data_files.iter().chain(&orphans.ledger_files);
    let delete = async |file: &ObjectMeta| match table.store().delete(&file.location).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => 0,
        Err(cause) => {
            tracing::warn!(path = %file.location, %cause, "an orphan stays behind");
            1
        }
    };
    let failures = stream::iter(files).map(delete).buffer_unordered(DELETES_IN_FLIGHT_MAX);
    swept.failures = failures.fold(0, async |sum, failure| sum + failure).await;
    Ok(swept)
}

/// Says what [`sweep`] would delete, if nobody were writing: files of a writer that is under way are
/// counted as well. Nothing is written.
///
/// # Errors
/// Those of [`sweep`].
pub async fn plan(environment: &Environment, table: &dyn Table, ledger: &str) -> Result<Swept> {
    let Some(pin) = Pin::newest(table, ledger).await? else {
        return Err(crate::table::missing(table));
    };
    let next_fence = pin.ledger().fence() + 1;
    Ok(Orphans::behind(environment, table, &pin, next_fence).await?.counted(&pin))
}

/// What was found.
struct Orphans {
    data_files: Vec<ObjectMeta>,
    ledger_files: Vec<ObjectMeta>,
    _held: Reservation,
}

impl Orphans {
    /// The files that were written under a fence below `fence`, and that nothing at `pin` names.
    async fn behind(
        environment: &Environment,
        table: &dyn Table,
        pin: &Pin,
        fence: u64,
    ) -> Result<Self> {
        let held_bytes = 2 * FILES_MAX as u64 * FILE_BYTES;
        let held = environment.budget.try_reserve("files that nobody names", held_bytes)?;
        let data_files = data_files(environment, table, pin, fence).await?;
        let ledger_files = pin.ledger().orphans(table, fence, FILES_MAX).await?;
        Ok(Self { data_files, ledger_files, _held: held })
    }

    fn counted(&self, pin: &Pin) -> Swept {
        let bytes = |files: &[ObjectMeta]| files.iter().map(|file| file.size).sum();
        let is_full = |files: &[ObjectMeta]| files.len() >= FILES_MAX;
        Swept {
            version: pin.version().unwrap_or_default(),
            data_files: self.data_files.len() as u64,
            data_bytes: bytes(&self.data_files),
            ledger_files: self.ledger_files.len() as u64,
            ledger_bytes: bytes(&self.ledger_files),
            failures: 0,
            is_partial: is_full(&self.data_files) || is_full(&self.ledger_files),
        }
    }
}

async fn data_files(
    environment: &Environment,
    table: &dyn Table,
    pin: &Pin,
    fence: u64,
) -> Result<Vec<ObjectMeta>> {
    let Some(snapshot) = pin.snapshot() else { return Ok(Vec::new()) };
    let at_pin = table.file_names_at(environment, snapshot).await?;
    let named = NameSet::collect(environment, table, at_pin).await?;
    let is_past = |name: &str| {
        let origin = FileOrigin::of_file(name);
        origin.is_some_and(|it| it.ledger == pin.ledger().name() && it.fence < fence)
    };
    let is_suspect = |file: &ObjectMeta| {
        let name = file.location.filename();
        std::future::ready(name.is_some_and(|name| is_past(name) && !named.has(name)))
    };
    let listing = table.store().list(Some(table.root())).try_filter(is_suspect);
    let found = listing.take(FILES_MAX).try_collect::<Vec<_>>().await;
    let mut found = found.map_err(|cause| storage_error(table.root().as_ref(), cause))?;
    if found.is_empty() {
        return Ok(found);
    }
    // What was committed, taken away again and forgotten is for VACUUM: an older version may hold it.
    found.sort_unstable_by(|a, b| a.location.filename().cmp(&b.location.filename()));
    let mut is_named = vec![false; found.len()];
    let mut history = table.file_names_in_history(snapshot);
    while let Some(names) = history.try_next().await? {
        for name in names {
            let place =
                found.binary_search_by(|file| file.location.filename().cmp(&Some(name.as_str())));
            if let Ok(place) = place {
                is_named[place] = true;
            }
        }
    }
    let mut is_named = is_named.into_iter();
    found.retain(|_| !is_named.next().unwrap_or(true));
    Ok(found)
}

/// Names, by their hashes: a file that shares one with another passes for named, and stays.
struct NameSet {
    hashes: Vec<u64>,
    _held: Reservation,
}

impl NameSet {
    async fn collect(
        environment: &Environment,
        table: &dyn Table,
        mut names: FileNames<'_>,
    ) -> Result<Self> {
        let mut held = environment.budget.try_reserve("the names of a table's files", 0)?;
        let (mut hashes, mut reserved) = (Vec::new(), 0);
        while let Some(names) = names.try_next().await? {
            hashes.extend(names.iter().map(|name| xxh3_64(name.as_bytes())));
            while hashes.len() > reserved {
                // Twice: what is full is copied to what is twice as large.
                held.try_grow(2 * NAMES_RESERVED as u64 * NAME_BYTES)?;
                reserved += NAMES_RESERVED;
            }
            if hashes.len() > NAMES_MAX {
                return Err(Error::new(
                    ErrorKind::TableTooLarge,
                    format!("the table has more than {NAMES_MAX} data files"),
                )
                .with_object(table.uri())
                .with_advice("compact the table; orphans harm nobody meanwhile"));
            }
        }
        hashes.sort_unstable();
        Ok(Self { hashes, _held: held })
    }

    fn has(&self, name: &str) -> bool {
        self.hashes.binary_search(&xxh3_64(name.as_bytes())).is_ok()
    }
}
