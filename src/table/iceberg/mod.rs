//! Iceberg tables.
//!
//! The specification's types are those of the `iceberg` crate: metadata, manifests, requirements and
//! updates. Its transactions are not used: they load newer metadata before each attempt and put a commit
//! on top of that, whatever it is. Here a commit is composed on the pinned metadata (`compose`) and tried
//! once, by a catalog of ours (`catalog`): a folder is one by itself (`path`).
//!
//! Not done yet, and refused by name: taking rows away, changing columns, partitions other than by a
//! column as it is, format version 3, and files by which others delete rows.

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use self::catalog::{Catalog, Change, Loaded};
use self::compose::{Manifests, POINTER, Stamp, Written};
use self::metadata::unsupported;
use self::path::PathCatalog;
use super::offer::{Offerer, Placed};
use super::reading::too_many_files;
use super::{
    Append, Checkpoint, CommitOutcome, Creation, Evolution, FileNames, LiveFile, Pointer,
    SchemaChange, Snapshot, Sources, Table, TableDefinition, WiderTypes,
};
use crate::clock::{Clock, Entropy};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::memory::MemoryBudget;
use crate::store::{Location, Stores, storage_error};

mod catalog;
mod compose;
mod data_file;
mod layout;
mod metadata;
mod path;
mod scan;

/// The part of the memory budget that a list of manifests may take as it is stored. It takes about
/// twenty times as much while it is written again.
const BUDGET_PER_MANIFEST_LIST: u64 = 80;
/// What to do about what is not done yet.
const WAY_OUT: &str = "do it with another engine, or keep the table as Delta";

/// An Iceberg table at one address.
pub struct IcebergTable {
    uri: String,
    root: Path,
    store: Arc<dyn ObjectStore>,
    stores: Arc<Stores>,
    catalog: Box<dyn Catalog>,
    /// The column that will hold the name of each row's source, where there is to be one.
    source_column: Option<String>,
    manifest_list_bytes_max: u64,
    clock: Arc<dyn Clock>,
    entropy: Arc<Entropy>,
}

impl IcebergTable {
    /// The table that is the folder at `location`, whether it exists or not. If it is created, whole
    /// values bound the column `source_column`.
    pub fn new(
        environment: &Environment,
        location: &Location,
        source_column: Option<&str>,
    ) -> Self {
        Self {
            // As metadata has addresses.
            uri: location.uri.trim_end_matches('/').to_owned(),
            root: location.path.clone(),
            store: Arc::clone(&location.store),
            stores: Arc::clone(&environment.stores),
            catalog: Box::new(PathCatalog::new(environment, location)),
            source_column: source_column.map(str::to_owned),
            manifest_list_bytes_max: environment.budget.limit_bytes() / BUDGET_PER_MANIFEST_LIST,
            clock: Arc::clone(&environment.clock),
            entropy: Arc::clone(&environment.entropy),
        }
    }

    fn metadata_folder(&self) -> Path {
        self.root.clone().join("metadata")
    }

    fn now_millis(&self) -> i64 {
        self.clock.now().timestamp_millis()
    }

    fn loaded<'a>(&self, snapshot: &'a Snapshot) -> Result<&'a Loaded> {
        snapshot.inner.downcast_ref().ok_or_else(|| {
            Error::new(ErrorKind::Internal, "a snapshot of another format").with_object(&self.uri)
        })
    }

    /// Refuses a table that says that it is elsewhere: what we would write would be named where it is not.
    fn check_location(&self, said: &str) -> Result<()> {
        // Spark says so of local files.
        let address = match said.strip_prefix("file:/") {
            Some(path) if !path.starts_with("//") => format!("file:///{path}"),
            _ => said.to_owned(),
        };
        if self.stores.canonical(&address).is_ok_and(|canonical| canonical == self.uri) {
            return Ok(());
        }
        Err(unsupported(
            &self.uri,
            format!("the table was moved or copied: it says that it is at {said}"),
            "register it where it is with an engine that rewrites its paths",
        ))
    }

    fn describe(&self, loaded: Loaded, ledger: &str) -> Result<Snapshot> {
        let metadata = &loaded.metadata;
        metadata::check(&self.uri, metadata)?;
        self.check_location(metadata.location())?;
        let pointer = metadata.properties().get(&pointer_key(ledger));
        let pointer = pointer.map(|pointer| pointer.parse::<Pointer>()).transpose();
        let pointer = pointer.map_err(|cause| {
            Error::new(ErrorKind::TableInvalid, "the table's pointer to its ledger is no number")
                .with_object(&self.uri)
                .with_cause(cause)
                .with_advice(format!("take the property {} away", pointer_key(ledger)))
        })?;
        Ok(Snapshot {
            version: compose::version_of(metadata),
            table_id: metadata.uuid().to_string(),
            pointer,
            columns_id: metadata::columns_id(metadata)?,
            layout: Arc::new(layout::of(&self.uri, metadata)?),
            inner: Arc::new(loaded),
        })
    }

    /// Writes the files that a commit names, beside the metadata.
    ///
    /// # Errors
    /// Those of the storage; what was written is gone then.
    async fn write(&self, manifests: &Manifests) -> Result<()> {
        let (store, clock) = (self.store.as_ref(), self.clock.as_ref());
        let offerer = Offerer { store, clock, entropy: &self.entropy };
        for written in manifests.added.iter().chain([&manifests.list]) {
            let path = self.metadata_folder().join(written.name.as_str());
            let cause = match offerer.place(&path, &written.body).await {
                Placed::Ours => continue,
                Placed::Refused(cause) => storage_error(path.as_ref(), cause),
                Placed::Theirs | Placed::Unknown => {
                    Error::new(ErrorKind::StorageUnavailable, "it was not written")
                        .with_object(path.as_ref())
                }
            };
            self.delete(manifests).await;
            return Err(cause);
        }
        Ok(())
    }

    /// Deletes the files of a commit that will never be. Best effort: nobody names them.
    async fn delete(&self, manifests: &Manifests) {
        for Written { name, .. } in manifests.added.iter().chain([&manifests.list]) {
            let path = self.metadata_folder().join(name.as_str());
            match self.store.delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(cause) => tracing::debug!(%path, %cause, "an abandoned manifest stays behind"),
            }
        }
    }

    /// Whether the table has gone on from what was loaded.
    async fn is_left(&self, loaded: &Loaded) -> Result<bool> {
        let newest = self.catalog.load().await?;
        Ok(newest.is_none_or(|newest| newest.location != loaded.location))
    }

    fn not_yet(&self, what: &str) -> Error {
        unsupported(&self.uri, format!("Lakefeed does not {what} Iceberg tables yet"), WAY_OUT)
    }
}

/// The property with a ledger's pointer. Names of ledgers hold no dots.
fn pointer_key(ledger: &str) -> String {
    format!("{POINTER}{ledger}")
}

#[async_trait]
impl Table for IcebergTable {
    fn uri(&self) -> &str {
        &self.uri
    }

    fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    fn root(&self) -> &Path {
        &self.root
    }

    fn ledger_root(&self) -> Path {
        self.metadata_folder().join("_lakefeed")
    }

    async fn load(&self, ledger: &str) -> Result<Option<Snapshot>> {
        let loaded = self.catalog.load().await?;
        loaded.map(|loaded| self.describe(loaded, ledger)).transpose()
    }

    async fn plan_creation(
        &self,
        definition: &TableDefinition,
        ledger: &str,
        pointer: Pointer,
    ) -> Result<Creation> {
        let table_id = self.entropy.uuid();
        let (metadata, change) = compose::creation(
            &self.uri,
            definition,
            self.source_column.as_deref(),
            (pointer_key(ledger), pointer.to_string()),
            table_id,
            self.now_millis(),
        )?;
        let layout = Arc::new(layout::of(&self.uri, &metadata)?);
        Ok(Creation { table_id: table_id.to_string(), pointer, layout, inner: Arc::new(change) })
    }

    async fn try_create(&self, creation: &Creation) -> Result<CommitOutcome> {
        let Some(change) = creation.inner.downcast_ref::<Change>() else {
            return Err(Error::new(ErrorKind::Internal, "a creation of another format"));
        };
        self.catalog.commit(None, change).await
    }

    fn wider_types(&self, _base: &Snapshot) -> Option<WiderTypes> {
        None
    }

    async fn plan_evolution(&self, _base: &Snapshot, _change: &SchemaChange) -> Result<Evolution> {
        Err(self.not_yet("change the columns of"))
    }

    async fn try_commit(
        &self,
        base: &Snapshot,
        append: &Append,
        ledger: &str,
        pointer: Pointer,
    ) -> Result<CommitOutcome> {
        if !append.removed.is_empty() {
            return Err(self.not_yet("take rows away from"));
        }
        let loaded = self.loaded(base)?;
        let metadata = &loaded.metadata;
        let stamp = Stamp::draw(metadata, &self.entropy, self.now_millis());
        let before = match self.manifest_list(metadata).await {
            // The pinned snapshot may have been expired, since others have left it behind.
            Err(error)
                if error.kind() == ErrorKind::TableInvalid && self.is_left(loaded).await? =>
            {
                return Ok(CommitOutcome::Conflict);
            }
            before => before?,
        };
        let manifests =
            compose::manifests(metadata, &base.layout, append, before.as_ref(), &stamp).await?;
        let pointer = (pointer_key(ledger), pointer.to_string());
        let change = compose::append(loaded, append, pointer, &manifests.list, &stamp)?;
        self.write(&manifests).await?;
        let outcome = self.catalog.commit(Some(loaded), &change).await;
        if matches!(outcome, Ok(CommitOutcome::Conflict) | Err(_)) {
            self.delete(&manifests).await;
        }
        outcome
    }

    /// Each version's metadata is its sum.
    fn is_checkpoint_due(&self, _base: &Snapshot, _version: u64) -> bool {
        false
    }

    async fn checkpoint(&self, _: &Environment, _version: u64) -> Result<Checkpoint> {
        Ok(Checkpoint::There)
    }

    async fn count_rows_by(&self, snapshot: &Snapshot, column: &str) -> Result<Vec<(String, u64)>> {
        self.count_by(snapshot, column).await
    }

    fn check_removable(&self, _snapshot: &Snapshot) -> Result<()> {
        Err(self.not_yet("take rows away from"))
    }

    async fn files_with(
        &self,
        snapshot: &Snapshot,
        sources: &Sources,
        files_max: usize,
    ) -> Result<Vec<LiveFile>> {
        let found = self.live_files(snapshot, sources).await?;
        if found.len() <= files_max {
            return Ok(found);
        }
        Err(too_many_files(&self.uri, files_max))
    }

    async fn rows_of<'a>(
        &'a self,
        snapshot: &Snapshot,
        file: &LiveFile,
        only: Option<&str>,
        budget: &MemoryBudget,
    ) -> Result<BoxStream<'a, Result<RecordBatch>>> {
        self.read_rows(snapshot, file, only, budget).await
    }

    async fn file_names_at(
        &self,
        _environment: &Environment,
        _snapshot: &Snapshot,
    ) -> Result<FileNames<'_>> {
        Err(self.not_yet("sweep"))
    }

    fn file_names_in_history(&self, _snapshot: &Snapshot) -> FileNames<'_> {
        futures::stream::iter([Err(self.not_yet("sweep"))]).boxed()
    }

    async fn some_rows(&self, snapshot: &Snapshot, rows_max: usize) -> Result<Vec<RecordBatch>> {
        self.first_rows(snapshot, rows_max).await
    }
}
