//! Delta tables.
//!
//! The Delta project's own kernel reads the log, checks the protocol and composes the actions of a
//! commit (`compose`); putting them in their slot, and finding out what became of that, is ours
//! (`slot`), because the answer to a lost reply is the heart of the protocol. Tables on S3 that Spark
//! commits to through DynamoDB are committed to in its way (`dynamodb_log`).

use std::num::NonZero;
use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use delta_kernel::snapshot::{Snapshot as KernelSnapshot, SnapshotRef};
use delta_kernel::{Engine, KernelError};
use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::ObjectStore;
use object_store::path::Path;
use tokio::sync::OnceCell;
use url::Url;

#[cfg(feature = "aws")]
use self::dynamodb_log::DynamoDbLog;
use self::slot::Slot;
use super::reading::too_many_files;
use super::{
    Append, Checkpoint, CommitOutcome, Creation, Evolution, FileNames, LiveFile, Pointer,
    SchemaChange, Snapshot, Sources, Table, TableDefinition, WiderTypes,
};
use crate::clock::{Clock, Entropy};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result, cause_in};
use crate::memory::MemoryBudget;
use crate::store::{Location, directory_url, storage_error, storage_failure};

mod by_name;
mod checkpoint;
mod compose;
#[cfg(feature = "aws")]
mod dynamodb_log;
mod evolve;
mod expiry;
mod files;
mod hint;
mod kernel;
mod layout;
mod named;
mod protocol;
mod scan;
mod sidecars;
mod slot;
mod statistics;
mod widen;

pub use by_name::LogByName;
pub use kernel::{BlockingCalls, Kernel};

/// The kernel's name for us in the table's history.
const ENGINE_INFO: &str = concat!("lakefeed/", env!("CARGO_PKG_VERSION"));

/// How often a log is read that seems damaged: it may have changed while it was.
const LOADS_MAX: u32 = 3;

/// The scheme of tables that others may commit to through DynamoDB.
const S3_SCHEME: &str = "s3";
/// The folder in the log where they put a commit first.
const TEMP_FOLDER: &str = ".tmp";

/// A Delta table at one address.
pub struct DeltaTable {
    uri: String,
    url: Url,
    root: Path,
    store: Arc<dyn ObjectStore>,
    kernel: Kernel,
    part_bytes: Option<usize>,
    checkpoint_interval: Option<NonZero<u64>>,
    commits: Commits,
    clock: Arc<dyn Clock>,
    entropy: Arc<Entropy>,
}

/// What decides which commit a version is.
enum Commits {
    /// The log, in which a file is put on the condition that there is none. Where it may be a log of
    /// the other kind, that is looked for once.
    Log { other_kind: OnceCell<()> },
    /// An entry in a DynamoDB table.
    #[cfg(feature = "aws")]
    DynamoDb(DynamoDbLog),
}

impl DeltaTable {
    /// The table at `location`, whether it exists or not. Must be called within a multi-threaded
    /// tokio runtime: the kernel's blocking calls wait for it.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] for an address that cannot hold a table.
    pub fn new(environment: &Environment, location: &Location) -> Result<Self> {
        let store = Arc::clone(&location.store);
        let read: Arc<dyn ObjectStore> =
            if location.lists_from_the_first { Arc::new(LogByName(store)) } else { store };
        Self::with_kernel(environment, location, Kernel::on_threads(&read))
    }

    /// The table at `location`, read by `kernel`.
    ///
    /// # Errors
    /// As for [`DeltaTable::new`].
    pub fn with_kernel(
        environment: &Environment,
        location: &Location,
        kernel: Kernel,
    ) -> Result<Self> {
        if location.path.as_ref().contains('%') {
            // The kernel and other readers decode it, some of them twice.
            return Err(Error::new(
                ErrorKind::Configuration,
                "a percent sign in a table's address",
            )
            .with_object(&location.uri)
            .with_advice("choose an address without one: readers disagree about what it means"));
        }
        Ok(Self {
            uri: location.uri.clone(),
            url: directory_url(location)?,
            root: location.path.clone(),
            store: Arc::clone(&location.store),
            kernel,
            part_bytes: None,
            checkpoint_interval: None,
            commits: Commits::Log { other_kind: OnceCell::new() },
            clock: Arc::clone(&environment.clock),
            entropy: Arc::clone(&environment.entropy),
        })
    }

    /// The same table, whose data files are uploaded in parts of `bytes`. Not every store takes
    /// small ones: S3 wants 5 MiB, but for the last.
    pub fn in_parts_of(self, bytes: usize) -> Self {
        Self { part_bytes: Some(bytes), ..self }
    }

    /// The same table, summed up every so many versions, whatever it says itself.
    pub fn with_checkpoints_every(self, versions: NonZero<u64>) -> Self {
        Self { checkpoint_interval: Some(versions), ..self }
    }

    /// The same table, committed to as Spark's `S3DynamoDBLogStore` does, by which it is called
    /// `address`.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] where DynamoDB cannot be reached as it is configured.
    #[cfg(feature = "aws")]
    pub fn with_dynamodb_log(self, environment: &Environment, address: &str) -> Result<Self> {
        let log = DynamoDbLog::open(environment, address, &self.root)?;
        Ok(Self { commits: Commits::DynamoDb(log), ..self })
    }

    fn log(&self) -> Path {
        self.root.clone().join("_delta_log")
    }

    /// Runs one of the kernel's calls, all of which block.
    async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn Engine, &Url) -> Result<T, KernelError> + Send + 'static,
    ) -> Result<T> {
        let (engine, url) = (Arc::clone(&self.kernel.engine), self.url.clone());
        let (answer, answered) = tokio::sync::oneshot::channel();
        let call = move || {
            // Nobody waits for the answer of a call that was given up.
            let _ = answer.send(call(engine.as_ref(), &url));
        };
        self.kernel.calls.run(Box::new(call)).await;
        match answered.await {
            Ok(result) => result.map_err(|cause| self.kernel_error(cause)),
            Err(cause) => Err(Error::new(ErrorKind::Internal, "the Delta library gave up")
                .with_object(&self.uri)
                .with_cause(cause)),
        }
    }

    fn kernel_error(&self, cause: KernelError) -> Error {
        let of_store = match cause.without_backtrace() {
            KernelError::ObjectStore(error) => Some(error),
            other => cause_in::<object_store::Error>(other),
        };
        match (of_store, cause.without_backtrace()) {
            // What is not there is damage; whatever else a store says may pass.
            (Some(error), _) if !matches!(error, object_store::Error::NotFound { .. }) => {
                storage_failure(&self.uri, error)
            }
            (_, KernelError::Unsupported(_) | KernelError::InvalidProtocol(_)) => {
                Error::new(ErrorKind::TableUnsupported, "the table asks for what is not supported")
                    .with_object(&self.uri)
                    .with_advice(protocol::WAY_OUT)
            }
            _ => Error::new(ErrorKind::TableInvalid, "the table's log cannot be read")
                .with_object(&self.uri)
                .with_advice("look at the table with another reader; nothing was written"),
        }
        .with_cause(cause)
    }

    /// What came of reading `snapshot`. Its log may have been summed up and cleaned up since, or its data
    /// swept when others had left it behind: that is no damage.
    async fn unless_outrun<T>(&self, snapshot: &Snapshot, read: Result<T>) -> Result<T> {
        let error = match read {
            Err(error) if error.kind() == ErrorKind::TableInvalid => error,
            read => return read,
        };
        let read = self.kernel_snapshot(snapshot)?;
        let newest = self.blocking(|engine, url| KernelSnapshot::builder_for(url).build(engine));
        let basis = |it: &KernelSnapshot| (it.version(), it.log_segment().checkpoint_version);
        if basis(&*newest.await?) == basis(&read) {
            return Err(error);
        }
        Err(Error::new(
            ErrorKind::StorageUnavailable,
            "the table's log and files vanish faster than they are read",
        )
        .with_object(&self.uri)
        .with_cause(error)
        .with_advice("run again; nothing is missing"))
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

    /// The newest version, and whether what was read of it is surely the log: commits that a
    /// checkpoint has covered meanwhile may have been taken away and replaced while we read.
    async fn load_once(&self, ledger: &str) -> Result<(Snapshot, bool)> {
        let kernel =
            self.blocking(|engine, url| KernelSnapshot::builder_for(url).build(engine)).await?;
        let checkpoint = kernel.log_segment().checkpoint_version;
        let snapshot = self.describe(kernel, ledger).await?;
        let upto = hint::summed_up_to(self.store.as_ref(), &self.log()).await?;
        Ok((snapshot, upto <= checkpoint))
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
            columns_id: evolve::columns_id(&kernel),
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

    fn part_bytes(&self) -> Option<usize> {
        self.part_bytes
    }

    /// Below `_delta_log`, the one folder that every engine's VACUUM spares.
    fn ledger_root(&self) -> Path {
        self.log().join("_lakefeed")
    }

    async fn load(&self, ledger: &str) -> Result<Option<Snapshot>> {
        #[cfg(feature = "aws")]
        if let Commits::DynamoDb(log) = &self.commits {
            log.finish_newest(&self.slot(0)).await?;
        }
        let mut loads = 1;
        loop {
            let is_last = loads == LOADS_MAX;
            match self.load_once(ledger).await {
                Ok((snapshot, is_settled)) if is_settled || is_last => return Ok(Some(snapshot)),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::TableInvalid => {
                    if !self.has_log().await? {
                        return Ok(None);
                    }
                    // Whoever cleans the log up takes files away that were listed already, and a
                    // table that was not there may be there now.
                    if is_last {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
            tracing::debug!(uri = self.uri, "the log changed while it was read: loading it again");
            loads += 1;
        }
    }

    async fn plan_creation(
        &self,
        definition: &TableDefinition,
        ledger: &str,
        pointer: Pointer,
    ) -> Result<Creation> {
        let (definition, application) = (definition.clone(), application(ledger));
        let nowhere = Arc::clone(&self.kernel.nowhere);
        self.blocking(move |_, _| {
            compose::creation(nowhere.as_ref(), &definition, &application, pointer)
        })
        .await
    }

    async fn try_create(&self, creation: &Creation) -> Result<CommitOutcome> {
        let Some(commit) = creation.inner.downcast_ref::<Bytes>() else {
            return Err(Error::new(ErrorKind::Internal, "a creation of another format"));
        };
        self.fill(&self.slot(0), commit).await
    }

    fn wider_types(&self, base: &Snapshot) -> Option<WiderTypes> {
        base.inner.downcast_ref::<SnapshotRef>().and_then(|kernel| widen::wider_types(kernel))
    }

    async fn plan_evolution(&self, base: &Snapshot, change: &SchemaChange) -> Result<Evolution> {
        let kernel = self.kernel_snapshot(base)?;
        let (uri, change) = (self.uri.clone(), change.clone());
        // Its errors are ours: the kernel's are told apart where they arise.
        self.blocking(move |engine, _| Ok(evolve::plan(&uri, &kernel, engine, &change))).await?
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
        if !slot.follows().await? {
            let newest = self.load(ledger).await?.map(|newest| newest.version);
            if newest != Some(kernel.version()) {
                // The table has gone on without us, or has been replaced: a commit here would be
                // lost, or leave a gap. Nothing was offered.
                return Ok(CommitOutcome::Conflict);
            }
        }
        let (append, application) = (append.clone(), application(ledger));
        let evolution = append.evolution.as_ref();
        let layout = Arc::clone(evolution.map_or(&base.layout, |evolution| &evolution.layout));
        let commit = self
            .blocking(move |engine, _| {
                compose::append(engine, &kernel, &layout, &append, &application, pointer)
            })
            .await?;
        self.fill(&slot, &commit).await
    }

    fn is_checkpoint_due(&self, base: &Snapshot, version: u64) -> bool {
        let is_due = |kernel: &SnapshotRef| {
            let before = kernel.log_segment().checkpoint_version;
            let interval =
                self.checkpoint_interval.map_or(checkpoint::interval(kernel), Into::into);
            checkpoint::is_due(version, before, interval)
        };
        base.inner.downcast_ref::<SnapshotRef>().is_some_and(is_due)
    }

    async fn checkpoint(&self, environment: &Environment, version: u64) -> Result<Checkpoint> {
        self.write_checkpoint(environment, version).await
    }

    async fn count_rows_by(&self, snapshot: &Snapshot, column: &str) -> Result<Vec<(String, u64)>> {
        let (kernel, column) = (self.kernel_snapshot(snapshot)?, column.to_owned());
        let engine = Arc::clone(&self.kernel.engine);
        self.blocking(move |_, _| scan::count_rows_by(engine, kernel, &column)).await
    }

    fn check_removable(&self, snapshot: &Snapshot) -> Result<()> {
        files::check_removable(&self.uri, &*self.kernel_snapshot(snapshot)?)
    }

    async fn files_with(
        &self,
        snapshot: &Snapshot,
        sources: &Sources,
        files_max: usize,
    ) -> Result<Vec<LiveFile>> {
        let (kernel, sources) = (self.kernel_snapshot(snapshot)?, sources.clone());
        let list =
            move |engine: &dyn Engine, _: &Url| files::with(engine, &kernel, &sources, files_max);
        let found = self.blocking(list).await;
        let found = self.unless_outrun(snapshot, found).await?;
        found.ok_or_else(|| too_many_files(&self.uri, files_max))
    }

    async fn rows_of<'a>(
        &'a self,
        snapshot: &Snapshot,
        file: &LiveFile,
        only: Option<&str>,
        budget: &MemoryBudget,
    ) -> Result<BoxStream<'a, Result<RecordBatch>>> {
        let rows = self.read_rows(snapshot, file, only, budget).await;
        self.unless_outrun(snapshot, rows).await
    }

    async fn file_names_at(
        &self,
        environment: &Environment,
        snapshot: &Snapshot,
    ) -> Result<FileNames<'_>> {
        self.names_at(environment, snapshot).await
    }

    fn file_names_in_history(&self, snapshot: &Snapshot) -> FileNames<'_> {
        self.names_in_history(snapshot)
    }

    async fn some_rows(&self, snapshot: &Snapshot, rows_max: usize) -> Result<Vec<RecordBatch>> {
        let (kernel, engine) = (self.kernel_snapshot(snapshot)?, Arc::clone(&self.kernel.engine));
        self.blocking(move |_, _| scan::some_rows(engine, kernel, rows_max)).await
    }
}

impl DeltaTable {
    /// Makes `commit` the slot's version, if that is free.
    async fn fill(&self, slot: &Slot<'_>, commit: &Bytes) -> Result<CommitOutcome> {
        match &self.commits {
            Commits::Log { other_kind } => {
                other_kind.get_or_try_init(|| self.refuse_other_kind()).await?;
                slot.fill(commit).await
            }
            #[cfg(feature = "aws")]
            Commits::DynamoDb(log) => log.fill(slot, commit).await,
        }
    }

    /// Makes `commit` the version, if that is free.
    ///
    /// # Errors
    /// Only when nothing happened.
    #[cfg(feature = "maintain")]
    pub(crate) async fn put_commit(&self, version: u64, commit: &Bytes) -> Result<CommitOutcome> {
        self.fill(&self.slot(version), commit).await
    }

    /// The table's address, as the Delta libraries want it.
    #[cfg(feature = "maintain")]
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Refuses a table that others commit to through DynamoDB: we would not exclude each other.
    pub(crate) async fn refuse_other_kind(&self) -> Result<()> {
        if self.url.scheme() != S3_SCHEME {
            return Ok(());
        }
        let folder = self.log().join(TEMP_FOLDER);
        let mark = self.store.list(Some(&folder)).try_next().await;
        match mark.map_err(|cause| storage_error(folder.as_ref(), cause))? {
            None => Ok(()),
            Some(mark) => Err(Error::new(
                ErrorKind::TableUnsupported,
                format!("the table is committed to through DynamoDB, too: there is {}", mark.location),
            )
            .with_object(&self.uri)
            .with_advice(
                "say commit = \"dynamodb\" for the table's feeds, or, if nobody commits so any more, \
                 settle it as docs/operations.md says",
            )),
        }
    }

    fn slot(&self, version: u64) -> Slot<'_> {
        Slot {
            version,
            log: self.log(),
            store: self.store.as_ref(),
            clock: self.clock.as_ref(),
            entropy: &self.entropy,
        }
    }
}
