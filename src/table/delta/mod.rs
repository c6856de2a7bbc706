//! Delta tables.
//!
//! The Delta project's own kernel reads the log, checks the protocol and composes the actions of a
//! commit (`compose`); putting them in their slot, and finding out what became of that, is ours
//! (`slot`), because the answer to a lost reply is the heart of the protocol.

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use delta_kernel::snapshot::{Snapshot as KernelSnapshot, SnapshotRef};
use delta_kernel::{Engine, KernelError};
use delta_kernel_default_engine::DefaultEngineBuilder;
use delta_kernel_default_engine::executor::tokio::TokioMultiThreadExecutor;
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use url::Url;

use super::{Append, CommitOutcome, Creation, Pointer, Snapshot, Table, TableDefinition};
use crate::clock::{Clock, Entropy};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Location, directory_url, storage_error};

mod compose;
mod layout;
mod protocol;
mod scan;
mod slot;
mod statistics;

/// The kernel's name for us in the table's history.
const ENGINE_INFO: &str = concat!("lakefeed/", env!("CARGO_PKG_VERSION"));
/// Commit files that the kernel reads ahead, and rows per batch of them: its defaults would hold
/// a thousand files at once.
const LOG_FILES_IN_FLIGHT_MAX: usize = 8;
const LOG_BATCH_ROWS: usize = 1_000;

/// A Delta table at one address.
pub struct DeltaTable {
    uri: String,
    url: Url,
    root: Path,
    store: Arc<dyn ObjectStore>,
    engine: Arc<dyn Engine>,
    /// An engine over no storage: what is composed on it touches nothing.
    nowhere: Arc<dyn Engine>,
    clock: Arc<dyn Clock>,
    entropy: Arc<Entropy>,
}

impl DeltaTable {
    /// The table at `location`, whether it exists or not. Must be called within a multi-threaded
    /// tokio runtime: the kernel's blocking calls wait for it.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] for an address that cannot hold a table.
    pub fn new(environment: &Environment, location: &Location) -> Result<Self> {
        if location.path.as_ref().contains('%') {
            // The kernel and other readers decode it, some of them twice.
            return Err(Error::new(
                ErrorKind::Configuration,
                "a percent sign in a table's address",
            )
            .with_object(&location.uri)
            .with_advice("choose an address without one: readers disagree about what it means"));
        }
        let executor = TokioMultiThreadExecutor::new(tokio::runtime::Handle::current());
        let executor = Arc::new(executor);
        let nowhere = DefaultEngineBuilder::new(Arc::new(InMemory::new()))
            .with_task_executor(Arc::clone(&executor));
        let mut builder =
            DefaultEngineBuilder::new(Arc::clone(&location.store)).with_task_executor(executor);
        if let Some(files) = std::num::NonZero::new(LOG_FILES_IN_FLIGHT_MAX) {
            builder = builder.with_buffer_size(files);
        }
        if let Some(rows) = std::num::NonZero::new(LOG_BATCH_ROWS) {
            builder = builder.with_batch_size(rows);
        }
        Ok(Self {
            uri: location.uri.clone(),
            url: directory_url(location)?,
            root: location.path.clone(),
            store: Arc::clone(&location.store),
            engine: Arc::new(builder.build()),
            nowhere: Arc::new(nowhere.build()),
            clock: Arc::clone(&environment.clock),
            entropy: Arc::clone(&environment.entropy),
        })
    }

    fn log(&self) -> Path {
        self.root.clone().join("_delta_log")
    }

    /// Runs one of the kernel's calls, all of which block.
    async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn Engine, &Url) -> Result<T, KernelError> + Send + 'static,
    ) -> Result<T> {
        let (engine, url) = (Arc::clone(&self.engine), self.url.clone());
        let called = tokio::task::spawn_blocking(move || call(engine.as_ref(), &url)).await;
        match called {
            Ok(result) => result.map_err(|cause| self.kernel_error(cause)),
            Err(cause) => Err(Error::new(ErrorKind::Internal, "the Delta library gave up")
                .with_object(&self.uri)
                .with_cause(cause)),
        }
    }

    fn kernel_error(&self, cause: KernelError) -> Error {
        match cause {
            KernelError::ObjectStore(cause) => storage_error(&self.uri, cause),
            KernelError::Unsupported(_) | KernelError::InvalidProtocol(_) => {
                Error::new(ErrorKind::TableUnsupported, "the table asks for what is not supported")
                    .with_object(&self.uri)
                    .with_cause(cause)
            }
            cause => Error::new(ErrorKind::TableInvalid, "the table's log cannot be read")
                .with_object(&self.uri)
                .with_cause(cause)
                .with_advice("look at the table with another reader; nothing was written"),
        }
    }

    /// Whether anything that looks like a table is there: the kernel has no error of its own for
    /// a table that is not.
    async fn has_log(&self) -> Result<bool> {
        let log = self.log();
        let mut listing = self.store.list(Some(&log));
        loop {
            match listing.try_next().await {
                Ok(Some(file)) if is_log_file(&log, &file.location) => return Ok(true),
                Ok(Some(_)) => {}
                Ok(None) | Err(object_store::Error::NotFound { .. }) => return Ok(false),
                Err(cause) => return Err(storage_error(log.as_ref(), cause)),
            }
        }
    }

    async fn newest_version(&self) -> Result<Option<u64>> {
        Ok(self.load_kernel().await?.map(|kernel| kernel.version()))
    }

    /// The kernel's newest snapshot; nothing where there is no table.
    async fn load_kernel(&self) -> Result<Option<SnapshotRef>> {
        let loaded = self.blocking(|engine, url| KernelSnapshot::builder_for(url).build(engine));
        match loaded.await {
            Ok(kernel) => Ok(Some(kernel)),
            Err(error) if error.kind() == ErrorKind::TableInvalid && !self.has_log().await? => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn describe(&self, kernel: SnapshotRef, ledger: &str) -> Result<Snapshot> {
        let uri = self.uri.clone();
        let application = application(ledger);
        let pinned = Arc::clone(&kernel);
        let (pointer, layout) = self
            .blocking(move |engine, _| {
                let pointer = pinned.get_app_id_version(&application, engine)?;
                Ok((pointer, protocol::probe(&uri, &pinned, engine)))
            })
            .await?;
        Ok(Snapshot {
            version: kernel.version(),
            table_id: kernel.table_configuration().metadata().id().to_owned(),
            pointer,
            layout: Arc::new(layout?),
            inner: Arc::new(kernel),
        })
    }

    fn kernel_snapshot(&self, snapshot: &Snapshot) -> Result<SnapshotRef> {
        snapshot.inner.downcast_ref::<SnapshotRef>().cloned().ok_or_else(|| {
            Error::new(ErrorKind::Internal, "a snapshot of another format").with_object(&self.uri)
        })
    }
}

fn is_log_file(log: &Path, file: &Path) -> bool {
    let parts = file.prefix_match(log).map(|parts| parts.collect::<Vec<_>>()).unwrap_or_default();
    let [name] = parts.as_slice() else {
        return false;
    };
    let name = name.as_ref();
    (name.ends_with(".json") || name.ends_with(".parquet"))
        && name.bytes().take(slot::VERSION_DIGITS).all(|byte| byte.is_ascii_digit())
}

/// The ledger's application id in `txn` actions.
fn application(ledger: &str) -> String {
    format!("lakefeed/{ledger}")
}

#[async_trait]
impl Table for DeltaTable {
    fn uri(&self) -> &str {
        &self.uri
    }

    fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    fn root(&self) -> &Path {
        &self.root
    }

    /// Below `_delta_log`, the one folder that every engine's VACUUM spares.
    fn ledger_root(&self) -> Path {
        self.log().join("_lakefeed")
    }

    async fn load(&self, ledger: &str) -> Result<Option<Snapshot>> {
        match self.load_kernel().await? {
            Some(kernel) => self.describe(kernel, ledger).await.map(Some),
            None => Ok(None),
        }
    }

    async fn plan_creation(
        &self,
        definition: &TableDefinition,
        ledger: &str,
        pointer: Pointer,
    ) -> Result<Creation> {
        let (definition, application) = (definition.clone(), application(ledger));
        let nowhere = Arc::clone(&self.nowhere);
        self.blocking(move |_, _| {
            compose::creation(nowhere.as_ref(), &definition, &application, pointer)
        })
        .await
    }

    async fn try_create(&self, creation: &Creation) -> Result<CommitOutcome> {
        let Some(commit) = creation.inner.downcast_ref::<bytes::Bytes>() else {
            return Err(Error::new(ErrorKind::Internal, "a creation of another format"));
        };
        self.slot(0).fill(commit).await
    }

    async fn try_commit(
        &self,
        base: &Snapshot,
        append: &Append,
        ledger: &str,
        pointer: Pointer,
    ) -> Result<CommitOutcome> {
        let kernel = self.kernel_snapshot(base)?;
        let slot = self.slot(kernel.version() + 1);
        if !slot.follows().await? && self.newest_version().await? != Some(kernel.version()) {
            // The table has gone on without us, or has been replaced: a commit here would be lost,
            // or leave a gap. Nothing was offered.
            return Ok(CommitOutcome::Conflict);
        }
        let (append, application) = (append.clone(), application(ledger));
        let layout = Arc::clone(&base.layout);
        let commit = self
            .blocking(move |engine, _| {
                compose::append(engine, &kernel, &layout, &append, &application, pointer)
            })
            .await?;
        slot.fill(&commit).await
    }

    async fn count_rows_by(&self, snapshot: &Snapshot, column: &str) -> Result<Vec<(String, u64)>> {
        let (kernel, column) = (self.kernel_snapshot(snapshot)?, column.to_owned());
        let engine = Arc::clone(&self.engine);
        self.blocking(move |_, _| scan::count_rows_by(engine, kernel, &column)).await
    }

    async fn some_rows(&self, snapshot: &Snapshot, rows_max: usize) -> Result<Vec<RecordBatch>> {
        let (kernel, engine) = (self.kernel_snapshot(snapshot)?, Arc::clone(&self.engine));
        self.blocking(move |_, _| scan::some_rows(engine, kernel, rows_max)).await
    }
}

impl DeltaTable {
    fn slot(&self, version: u64) -> slot::Slot<'_> {
        slot::Slot {
            version,
            log: self.log(),
            store: self.store.as_ref(),
            clock: self.clock.as_ref(),
            entropy: &self.entropy,
        }
    }
}
