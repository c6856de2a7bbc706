//! Compaction and vacuum, by `deltalake`: for machines with more memory than the function has.
//!
//! The engine holds the whole list of a table's files in memory, and brings a query engine with it;
//! that is why no other part of Lakefeed uses it (docs/decisions/0001). It plans and rewrites. What it
//! may do to the table's storage is limited (`storage`), and its commit is put by us (`log`): beside
//! running ingests it is one more writer that gives way.

use std::num::NonZero;
use std::sync::Arc;

use deltalake::DeltaTableError;
use deltalake::delta_datafusion::create_session_state_with_spill_config;
use deltalake::kernel::transaction::{CommitConflictError, TransactionError};
use deltalake::operations::optimize::OptimizeType;
use deltalake::operations::vacuum::VacuumMode;
use deltalake::parquet::basic::{Compression, ZstdLevel};
use deltalake::parquet::file::properties::WriterProperties;
use deltalake::table::config::TablePropertiesExt;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use serde::Deserialize;
use tokio::runtime::{Builder, Runtime};

use self::log::{Log, Put};
use crate::config::{CommitProtocol, Feed, nearest};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result, cause_in};
use crate::store::{storage_error, storage_failure};
use crate::table::Table;
use crate::table::delta::DeltaTable;

mod log;
mod storage;

/// How often everything is rewritten because others have taken away what was read. The engine itself
/// tries a commit 16 times while they only add.
const REWRITES_MAX: u32 = 3;
/// Groups of files that are rewritten at once.
const REWRITES_AT_ONCE_MAX: usize = 2;
/// What a row group that is being written may come to, in memory.
const ROW_GROUP_BYTES_MAX: usize = 32 << 20;
/// The longest bound that a file keeps for a text column: most names of objects, whole.
const STATISTICS_BYTES_MAX: usize = 256;
/// Threads that wait for files. Each of the spilled files that are merged may want one.
const BLOCKING_THREADS_MAX: usize = 512;

const HOUR_SECONDS: u64 = 3600;

/// In which order rows are put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// As they are: small files become large ones.
    Kept,
    /// Along a curve that keeps rows near each other which have similar values in these columns, all
    /// of them: every file of the table is rewritten.
    Curve(Vec<String>),
}

/// What a compaction did.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Compaction {
    /// The version that it committed; nothing, where nothing was to be done.
    pub version: Option<u64>,
    /// The data files that it wrote.
    pub files_added: u64,
    /// Their size.
    pub bytes_added: u64,
    /// The data files that it took out of the table. They stay in storage until a vacuum.
    pub files_removed: u64,
    /// Their size.
    pub bytes_removed: u64,
}

/// How long data files are kept that the table has no use for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// As the table says, `delta.deletedFileRetentionDuration`; a week, where it does not.
    OfTable,
    /// So many hours, and not fewer than that.
    Hours(u32),
    /// So many hours, whatever the table says.
    HoursAtAnyRate(u32),
}

/// The threads that the engine has.
///
/// # Errors
/// [`ErrorKind::Internal`] where the system gives none.
pub fn runtime() -> Result<Runtime> {
    Builder::new_multi_thread()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
        .map_err(|cause| Error::new(ErrorKind::Internal, "no runtime").with_cause(cause))
}

/// Puts a table's data files together, to files of the feed's `target_file_bytes`. No row changes, and
/// the ledger neither. What cannot be held within the memory budget goes to temporary files.
///
/// # Errors
/// [`ErrorKind::Configuration`] for a column that cannot order rows, and for a table that is committed
/// to through DynamoDB; [`ErrorKind::Contention`] where others took away what was read, each time, so
/// that nothing happened; and those of the storage and the commit.
pub async fn compact(environment: &Environment, feed: &Feed, order: &Order) -> Result<Compaction> {
    let table = open(environment, feed).await?;
    for attempt in 1..=REWRITES_MAX {
        match compact_once(environment, feed, &table, order).await? {
            Some(compaction) => return Ok(compaction),
            None => tracing::info!(attempt, "others took away what was read: it is read again"),
        }
    }
    Err(Error::new(
        ErrorKind::Contention,
        format!("{REWRITES_MAX} times, other writers took away what was read; nothing happened"),
    )
    .with_object(table.uri())
    .with_advice("run again when fewer rows are replaced"))
}

/// One attempt; nothing, where others stand against it.
async fn compact_once(
    environment: &Environment,
    feed: &Feed,
    table: &Arc<DeltaTable>,
    order: &Order,
) -> Result<Option<Compaction>> {
    let log = Arc::new(Log::new(Arc::clone(table))?);
    let loaded = load(table.uri(), &log).await?;
    let kind = match order {
        Order::Kept => OptimizeType::Compact,
        Order::Curve(columns) => {
            check_columns(table.uri(), &loaded, columns)?;
            OptimizeType::ZOrder(columns.clone())
        }
    };
    let held_bytes = usize::try_from(environment.budget.limit_bytes()).unwrap_or(usize::MAX);
    let session = create_session_state_with_spill_config(Some(held_bytes), None);
    let done = loaded
        .optimize()
        .with_type(kind)
        .with_target_size(NonZero::new(feed.target_file_bytes).unwrap_or(NonZero::<u64>::MAX))
        .with_max_concurrent_tasks(REWRITES_AT_ONCE_MAX)
        .with_writer_properties(writer_properties())
        .with_session_state(Arc::new(session))
        .await;
    match (log.take(), done) {
        (Some(Put::Committed(version, commit)), _) => Ok(Some(tally(version, &commit)?)),
        (Some(Put::Unknown), _) => Err(Error::new(
            ErrorKind::CommitUnknown,
            "the commit's answer was lost: the files may have been put together, or not",
        )
        .with_object(table.uri())
        .with_advice("run again; no row depends on it")),
        (Some(Put::Failed(error)), _) => Err(error.with_object(table.uri())),
        (None, Ok(_)) => Ok(Some(Compaction::default())),
        (None, Err(error)) if is_contention(&error) => {
            tracing::debug!(%error, "others stand against it");
            Ok(None)
        }
        (None, Err(error)) => Err(engine_error(table.uri(), error)),
    }
}

/// Deletes the data files that the newest version has no use for and that are older than the
/// retention; the paths, relative to the table. With `dry_run`, it only says which.
///
/// The age of a file that was in the table counts from when it was taken out; of one that never was,
/// from when it was written: a file that a run has written and not yet committed is safe while the run is
/// younger than the retention.
///
/// # Errors
/// [`ErrorKind::Configuration`] for a retention below the table's, and for a table that is committed to
/// through DynamoDB; and those of the storage.
pub async fn vacuum(
    environment: &Environment,
    feed: &Feed,
    retention: Retention,
    dry_run: bool,
) -> Result<Vec<String>> {
    let table = open(environment, feed).await?;
    let log = Arc::new(Log::new(Arc::clone(&table))?);
    let loaded = load(table.uri(), &log).await?;
    let seconds = seconds_kept(table.uri(), &loaded, retention)?;
    // The engine only lists: it would make two commits, and a checkpoint maybe, to say that it deletes.
    let (_, found) = loaded
        .vacuum()
        .with_mode(VacuumMode::Full)
        .with_retention_period(chrono::Duration::seconds(seconds))
        .with_enforce_retention_duration(false)
        .with_dry_run(true)
        .await
        .map_err(|cause| engine_error(table.uri(), cause))?;
    let found: Vec<String> =
        found.files_deleted.into_iter().filter(|path| is_data_file(path)).collect();
    if !dry_run {
        delete(&table, &found).await?;
    }
    Ok(found)
}

async fn delete(table: &DeltaTable, found: &[String]) -> Result<()> {
    let failed = |cause| storage_error(table.uri(), cause);
    let paths = found.iter().map(|path| format!("{}/{path}", table.root()));
    let paths = paths.map(|path| Path::parse(path).map_err(Into::into)).collect::<Vec<_>>();
    let mut deleted = table.store().delete_stream(stream::iter(paths).boxed());
    loop {
        match deleted.try_next().await {
            Ok(Some(_)) | Err(object_store::Error::NotFound { .. }) => {}
            Ok(None) => return Ok(()),
            Err(cause) => return Err(failed(cause)),
        }
    }
}

/// The feed's table, which must be there, and must be one that we commit to as the engine reads it.
async fn open(environment: &Environment, feed: &Feed) -> Result<Arc<DeltaTable>> {
    let location = environment.stores.resolve(&feed.table)?;
    if feed.commit == CommitProtocol::DynamoDb {
        return Err(Error::new(
            ErrorKind::Configuration,
            "the table is committed to through DynamoDB, which the engine does not know",
        )
        .with_object(location.uri)
        .with_advice("compact it and vacuum it with Spark, through its S3DynamoDBLogStore"));
    }
    let table = DeltaTable::new(environment, &location)?;
    table.refuse_other_kind().await?;
    if table.load(&feed.ledger).await?.is_none() {
        return Err(crate::table::missing(&table));
    }
    Ok(Arc::new(table))
}

async fn load(uri: &str, log: &Arc<Log>) -> Result<deltalake::DeltaTable> {
    let mut table = deltalake::DeltaTable::new(Arc::clone(log) as _);
    table.load().await.map_err(|cause| engine_error(uri, cause))?;
    Ok(table)
}

/// As our own files are written, but for the encodings.
fn writer_properties() -> WriterProperties {
    WriterProperties::builder()
        .set_created_by(concat!("lakefeed ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_truncate_length(Some(STATISTICS_BYTES_MAX))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES_MAX))
        .build()
}

/// Refuses columns that are not there, or by whose values the files are apart anyway.
fn check_columns(uri: &str, table: &deltalake::DeltaTable, columns: &[String]) -> Result<()> {
    let state = table.snapshot().map_err(|cause| engine_error(uri, cause))?;
    let schema = state.schema();
    let known: Vec<&str> = schema.fields().map(|field| field.name().as_str()).collect();
    let wrong = |message| Error::new(ErrorKind::Configuration, message).with_object(uri);
    for column in columns {
        if !known.contains(&column.as_str()) {
            let advice = match nearest(column, &known) {
                Some(name) => format!("did you mean {name:?}?"),
                None => "lakefeed show lists its columns".to_owned(),
            };
            return Err(wrong(format!("the table has no column {column:?}")).with_advice(advice));
        }
        if state.metadata().partition_columns().contains(column) {
            return Err(wrong(format!("{column:?} is a partition column"))
                .with_advice("leave it out: within a partition all its values are the same"));
        }
        if column.contains('.') {
            return Err(wrong(format!("rows cannot be ordered by {column:?}")).with_advice(
                "leave it out: the engine takes the dot for a column within a column",
            ));
        }
    }
    Ok(())
}

/// How long files are kept, in seconds.
fn seconds_kept(uri: &str, table: &deltalake::DeltaTable, retention: Retention) -> Result<i64> {
    let state = table.snapshot().map_err(|cause| engine_error(uri, cause))?;
    let of_table = state.table_config().deleted_file_retention_duration().as_secs();
    let seconds = match retention {
        Retention::OfTable => of_table,
        Retention::Hours(hours) | Retention::HoursAtAnyRate(hours) => {
            u64::from(hours) * HOUR_SECONDS
        }
    };
    if matches!(retention, Retention::Hours(_)) && seconds < of_table {
        let hours = of_table.div_ceil(HOUR_SECONDS);
        return Err(Error::new(
            ErrorKind::Configuration,
            format!("the table keeps files for {hours} hours, and that is more"),
        )
        .with_object(uri)
        .with_advice(
            "leave --retain out; or add --yes if no run takes longer than that, and no reader reads an \
             older version: their files would be deleted",
        ));
    }
    i64::try_from(seconds).map_err(|cause| {
        Error::new(ErrorKind::TableInvalid, "the table keeps files for ever").with_cause(cause)
    })
}

/// Whether a path is one of a data file, or of what says which of its rows are deleted: whatever else
/// somebody keeps in the folder is not ours to delete.
fn is_data_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.ends_with(".parquet") || (name.starts_with("deletion_vector_") && name.ends_with(".bin"))
}

/// What a commit of the engine's does, of which each line is an action.
fn tally(version: u64, commit: &[u8]) -> Result<Compaction> {
    #[derive(Deserialize)]
    struct File {
        size: u64,
    }
    #[derive(Deserialize)]
    struct Action {
        add: Option<File>,
        remove: Option<File>,
    }
    let mut tally = Compaction { version: Some(version), ..Compaction::default() };
    for line in commit.split(|byte| *byte == b'\n') {
        let action: Action = serde_json::from_slice(line).map_err(|cause| {
            Error::new(ErrorKind::Internal, "the engine's commit is unlike others")
                .with_cause(cause)
        })?;
        if let Some(File { size }) = action.add {
            tally.files_added += 1;
            tally.bytes_added += size;
        }
        if let Some(File { size }) = action.remove {
            tally.files_removed += 1;
            tally.bytes_removed += size;
        }
    }
    Ok(tally)
}

/// Whether other writers were in the way, so that nothing happened.
fn is_contention(error: &DeltaTableError) -> bool {
    matches!(
        error,
        DeltaTableError::Transaction {
            source: TransactionError::MaxCommitAttempts(_)
                | TransactionError::CommitConflict(
                    CommitConflictError::ConcurrentAppend
                        | CommitConflictError::ConcurrentDeleteRead
                        | CommitConflictError::ConcurrentDeleteDelete
                        | CommitConflictError::ConcurrentTransaction
                        | CommitConflictError::MetadataChanged
                        | CommitConflictError::ProtocolChanged(_)
                ),
        }
    )
}

/// What an error of the engine's means, all of which leave the table as it was.
fn engine_error(uri: &str, cause: DeltaTableError) -> Error {
    let unsupported = || {
        Error::new(ErrorKind::TableUnsupported, "the engine does not know all that the table uses")
            .with_advice("compact it with the engine that made it so")
    };
    let error = match (&cause, cause_in::<object_store::Error>(&cause)) {
        (_, Some(error)) => storage_failure(uri, error),
        (DeltaTableError::UnsupportedColumnMapping { .. }, _) => unsupported(),
        (
            DeltaTableError::Transaction {
                source:
                    TransactionError::UnsupportedTableFeatures(_)
                    | TransactionError::TableFeaturesRequired(_)
                    | TransactionError::DeltaTableAppendOnly,
            },
            _,
        ) => unsupported(),
        _ => {
            Error::new(ErrorKind::StorageUnavailable, "the engine has failed, and nothing happened")
                .with_advice("mend what it says, or give it more with --memory, then try again")
        }
    };
    error.with_object(uri).with_cause(cause)
}
