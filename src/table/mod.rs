//! What a table is to the pipeline, whatever its format.
//!
//! The pipeline pins a [`Snapshot`], writes [`DataFile`]s for it, and asks the table to make them
//! visible in exactly the next version. The table never retries, rebases or cleans up: it says what
//! happened ([`CommitOutcome`]) and `commit.rs` decides.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use uuid::Uuid;

#[cfg(feature = "delta")]
use crate::config::CommitProtocol;
use crate::config::Feed;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::memory::MemoryBudget;

#[cfg(feature = "delta")]
pub mod delta;
#[cfg(feature = "iceberg")]
pub mod iceberg;
#[cfg(any(feature = "delta", feature = "iceberg"))]
mod offer;
mod origin;
#[cfg(any(feature = "delta", feature = "iceberg"))]
mod reading;

pub use origin::FileOrigin;

/// The pointer to the ledger's current tail: the tail's id. See [`crate::ledger`].
pub type Pointer = i64;

/// A lakehouse table at one address.
///
/// An `Err` from any method means that nothing happened; what may have happened is
/// [`CommitOutcome::Unknown`].
#[async_trait]
pub trait Table: Send + Sync {
    /// The table's address, as the user gave it, made absolute.
    fn uri(&self) -> &str;

    /// Where the table's files are.
    fn store(&self) -> &Arc<dyn ObjectStore>;

    /// The table's root in [`Table::store`].
    fn root(&self) -> &Path;

    /// The size of the parts in which data files are uploaded, where the storage wants one: else the
    /// memory budget says.
    fn part_bytes(&self) -> Option<usize> {
        None
    }

    /// The folder that holds a folder of ledgers for each table id that was ever here.
    fn ledger_root(&self) -> Path;

    /// The newest version, or nothing where there is no table. `ledger` names the pointer to load.
    async fn load(&self, ledger: &str) -> Result<Option<Snapshot>>;

    /// Composes the creation of a table that is not there, with the ledger's pointer at `pointer`.
    /// Nothing is written.
    async fn plan_creation(
        &self,
        definition: &TableDefinition,
        ledger: &str,
        pointer: Pointer,
    ) -> Result<Creation>;

    /// Tries to create the table as version 0.
    async fn try_create(&self, creation: &Creation) -> Result<CommitOutcome>;

    /// How columns of the table at `base` can be widened by a commit that adds rows; nothing where they
    /// cannot be. Partition columns never are.
    fn wider_types(&self, base: &Snapshot) -> Option<WiderTypes>;

    /// Composes a change of the columns of the table at `base`. Nothing is written.
    ///
    /// # Errors
    /// [`ErrorKind::SchemaMismatch`] for a column that the table has no room for;
    /// [`ErrorKind::TableUnsupported`] where we cannot change the table's columns.
    async fn plan_evolution(&self, base: &Snapshot, change: &SchemaChange) -> Result<Evolution>;

    /// Tries to make `append` the version after `base`, with the ledger's pointer at `pointer`.
    async fn try_commit(
        &self,
        base: &Snapshot,
        append: &Append,
        ledger: &str,
        pointer: Pointer,
    ) -> Result<CommitOutcome>;

    /// Whether whoever has committed `version` on top of `base` is to sum the table up.
    fn is_checkpoint_due(&self, base: &Snapshot, version: u64) -> bool;

    /// Sums the table up at `version`, so that its newest version is as quickly loaded as its first
    /// was. Nothing that is promised rests on it; an error has changed nothing.
    async fn checkpoint(&self, environment: &Environment, version: u64) -> Result<Checkpoint>;

    /// How many rows have each value of the text column `column`, nulls aside, in the order of
    /// values. Holds every distinct value in memory.
    async fn count_rows_by(&self, snapshot: &Snapshot, column: &str) -> Result<Vec<(String, u64)>>;

    /// Whether rows may be taken away from the table.
    ///
    /// # Errors
    /// [`ErrorKind::TableUnsupported`] where not.
    fn check_removable(&self, snapshot: &Snapshot) -> Result<()>;

    /// The data files that may hold rows of these sources: all that do, and more where the table's
    /// statistics cannot tell.
    ///
    /// # Errors
    /// [`ErrorKind::OverBudget`] where there are more than `files_max`.
    async fn files_with(
        &self,
        snapshot: &Snapshot,
        sources: &Sources,
        files_max: usize,
    ) -> Result<Vec<LiveFile>>;

    /// The rows of a data file that nobody has deleted, in order: all columns of the table, or the
    /// text column `only`. What reading holds is reserved of `budget`.
    ///
    /// # Errors
    /// [`ErrorKind::TableUnsupported`] for all columns of a table that has some that we cannot write.
    async fn rows_of<'a>(
        &'a self,
        snapshot: &Snapshot,
        file: &LiveFile,
        only: Option<&str>,
        budget: &MemoryBudget,
    ) -> Result<BoxStream<'a, Result<RecordBatch>>>;

    /// The names of all data files that the table names at `snapshot`, those among them that were
    /// taken away and are remembered for the sake of readers. Of those that are not called as
    /// [`FileOrigin`] has it, there may be none.
    ///
    /// # Errors
    /// [`ErrorKind::OverBudget`], and those of the storage.
    async fn file_names_at(
        &self,
        environment: &Environment,
        snapshot: &Snapshot,
    ) -> Result<FileNames<'_>>;

    /// The same of every commit up to `snapshot` that the table still remembers.
    fn file_names_in_history(&self, snapshot: &Snapshot) -> FileNames<'_>;

    /// Some rows of the table, at most `rows_max`, in no particular order.
    async fn some_rows(&self, snapshot: &Snapshot, rows_max: usize) -> Result<Vec<RecordBatch>>;
}

/// Names of data files, each the last part of its path; some at a time.
pub type FileNames<'a> = BoxStream<'a, Result<Vec<String>>>;

/// What one attempt to commit came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitOutcome {
    /// It is this version, and visible.
    Committed(u64),
    /// Somebody else took the version; this attempt did not and will not happen.
    Conflict,
    /// It may be there, now or later: the answer was lost, or what was written is not visible.
    Unknown,
}

/// What became of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checkpoint {
    /// It was written.
    Written {
        /// The size of its file.
        bytes: u64,
        /// Log files that had had their time, and were taken away.
        log_files_removed: u64,
    },
    /// It, or a newer one, was there.
    There,
    /// It would not have come to its end before the deadline.
    NoTime,
}

/// A table that does not exist yet.
#[derive(Debug, Clone)]
pub struct TableDefinition {
    /// Columns, in order, with logical names and what their metadata is to be. Every column is nullable.
    pub schema: SchemaRef,
    /// The names of the partition columns, in order.
    pub partition_by: Vec<String>,
}

/// A creation, composed and not yet tried.
#[derive(Clone)]
pub struct Creation {
    /// The identifier that the table will have.
    pub table_id: String,
    /// The ledger's pointer at version 0.
    pub pointer: Pointer,
    /// How the table will want its data files.
    pub layout: Arc<Layout>,
    /// What the format will write.
    pub(crate) inner: Arc<dyn Any + Send + Sync>,
}

/// What is to change about a table's columns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SchemaChange {
    /// Columns that the table does not have, all nullable. They come after those that it has.
    pub added: Vec<FieldRef>,
    /// Columns that the table has, by name, each with a type that is wider there.
    pub widened: Vec<FieldRef>,
}

/// The types that a column of a type can be widened to, narrowest first, so that what its files hold is
/// read as before.
pub type WiderTypes = fn(&DataType) -> Vec<DataType>;

impl SchemaChange {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.widened.is_empty()
    }
}

/// A change of columns, composed and not yet tried.
#[derive(Clone)]
pub struct Evolution {
    /// What changes.
    pub change: SchemaChange,
    /// [`Snapshot::columns_id`] of the versions that it can be put on top of.
    pub columns_id: u128,
    /// How the table will want its data files.
    pub layout: Arc<Layout>,
    /// What the format will write.
    pub(crate) inner: Arc<dyn Any + Send + Sync>,
}

impl fmt::Debug for Evolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Evolution").field(&self.change).finish()
    }
}

/// A table's state at one pinned version.
#[derive(Clone)]
pub struct Snapshot {
    /// The pinned version.
    pub version: u64,
    /// The table's own identifier; a table replaced in place has another.
    pub table_id: String,
    /// The ledger's pointer at this version.
    pub pointer: Option<Pointer>,
    /// Equal in two versions only when they have the same columns, with the same identities, be they
    /// some that no data file of ours stores, and the same partitions.
    pub columns_id: u128,
    /// How the table wants its data files.
    pub layout: Arc<Layout>,
    /// What the format needs to commit on top of this version.
    pub(crate) inner: Arc<dyn Any + Send + Sync>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("version", &self.version)
            .field("table_id", &self.table_id)
            .field("pointer", &self.pointer)
            .finish_non_exhaustive()
    }
}

/// How a table wants its data files.
///
/// Two layouts are equal exactly when files written for the one are right for the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The table's columns with logical names, partition columns included.
    pub schema: SchemaRef,
    /// The same columns as the files name them, with Parquet field ids where the table has them.
    pub file_schema: SchemaRef,
    /// The partition columns, as positions in [`Layout::schema`].
    pub partition_columns: Vec<usize>,
    /// Whether files store them all the same, beside the table's metadata.
    pub stores_partition_columns: bool,
    /// For each column of [`Layout::schema`], whether the table wants minimum and maximum.
    pub bounded_columns: Vec<bool>,
}

impl Layout {
    /// The positions in [`Layout::schema`] of the columns that files store, in order.
    pub fn stored_columns(&self) -> Vec<usize> {
        let is_stored =
            |i: &usize| self.stores_partition_columns || !self.partition_columns.contains(i);
        (0..self.schema.fields().len()).filter(is_stored).collect()
    }
}

/// A finished Parquet file: durable in the table's storage, and not visible yet.
#[derive(Debug, Clone, PartialEq)]
pub struct DataFile {
    /// Where it is, relative to the table's root, as an object key (not percent-encoded).
    pub path: String,
    /// Its size.
    pub size_bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// When it was finished, in milliseconds since 1970.
    pub modified_millis: i64,
    /// Statistics for each column of [`Layout::stored_columns`], in that order.
    pub columns: Vec<ColumnStatistics>,
    /// The value of each partition column, in order.
    pub partition: Vec<Option<Value>>,
}

/// What is known of a column in one file. A bound may be wider than the data, never narrower.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ColumnStatistics {
    /// How many values are null.
    pub null_count: u64,
    /// At most every value; absent where not known.
    pub lower: Option<Value>,
    /// At least every value; absent where not known (as when there is a NaN).
    pub upper: Option<Value>,
}

/// One value of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A truth value.
    Boolean(bool),
    /// An integer of any width up to 64 bits, signed.
    Integer(i64),
    /// A floating-point number of either width.
    Float(f64),
    /// A decimal: the unscaled value and the number of digits after the point.
    Decimal(i128, u8),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since 1970, in UTC or on a clock without a zone: the column says which.
    Timestamp(i64),
    /// Text.
    String(String),
}

/// A decimal in digits, all of them.
pub(crate) fn decimal_text(unscaled: i128, scale: u8) -> String {
    let scale = usize::from(scale);
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let point = if scale == 0 { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}")
}

/// Whose rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sources {
    /// Every row.
    All,
    /// The rows of some sources.
    Named {
        /// The text column that holds the name of each row's source.
        column: String,
        /// The names.
        names: Vec<String>,
    },
}

/// A data file of one snapshot.
#[derive(Clone)]
pub struct LiveFile {
    /// Equal in two snapshots exactly when the file holds the same rows in both: its path, and which
    /// of its rows are deleted.
    pub id: String,
    /// What the format needs to read it and to take it away.
    pub(crate) inner: Arc<dyn Any + Send + Sync>,
}

impl fmt::Debug for LiveFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LiveFile").field(&self.id).finish()
    }
}

/// What a commit does to the rows that were there, for people who read the table's history. A
/// predicate is a condition in SQL that those rows meet which it takes away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// It leaves them.
    Append,
    /// It puts others in the place of some.
    Replace {
        /// Of which.
        predicate: String,
    },
    /// It takes some away.
    Delete {
        /// Which.
        predicate: String,
    },
}

/// The intent to commit: files, and the ledger's entries for the objects whose rows they hold.
#[derive(Debug, Clone)]
pub struct Append {
    /// Random; found in the ledger, it says that this very append was committed.
    pub id: Uuid,
    /// The files whose rows become visible. None, where only the ledger moves.
    pub files: Vec<DataFile>,
    /// The files whose rows go.
    pub removed: Vec<LiveFile>,
    /// What that is.
    pub effect: Effect,
    /// What changes about the table's columns in the same commit. The files are written for its layout.
    pub evolution: Option<Evolution>,
    /// The source objects' addresses, for people who read the table's history.
    pub sources: Vec<String>,
    /// The address of the file of rows that were not taken, if there are some.
    pub quarantine: Option<String>,
}

impl Append {
    /// The names of the columns that it adds to the table.
    pub fn columns_added(&self) -> Vec<String> {
        let added = self.evolution.iter().flat_map(|evolution| &evolution.change.added);
        added.map(|field| field.name().clone()).collect()
    }
}

/// Deletes data files that no commit can have named. Best effort: a file that no commit names harms
/// nobody.
pub async fn delete_data_files(table: &dyn Table, files: impl Iterator<Item = &DataFile>) {
    for file in files {
        let Ok(path) = Path::parse(format!("{}/{}", table.root(), file.path)) else { continue };
        if let Err(cause) = table.store().delete(&path).await {
            tracing::debug!(%path, %cause, "an abandoned data file stays behind");
        }
    }
}

/// [`ErrorKind::TableInvalid`]: there is no table where there must be one.
pub fn missing(table: &dyn Table) -> Error {
    Error::new(ErrorKind::TableInvalid, "there is no table")
        .with_object(table.uri())
        .with_advice("check the address")
}

/// Opens the feed's table, whether it exists or not.
///
/// # Errors
/// [`ErrorKind::Configuration`] for an address or a format that this build does not have.
pub fn open(environment: &Environment, feed: &Feed) -> Result<Box<dyn Table>> {
    let location = environment.stores.resolve(&feed.table)?;
    #[cfg(feature = "delta")]
    if feed.format == crate::config::Format::Delta {
        let table = delta::DeltaTable::new(environment, &location)?;
        return Ok(match feed.commit {
            CommitProtocol::ConditionalPut => Box::new(table),
            #[cfg(feature = "aws")]
            CommitProtocol::DynamoDb => {
                Box::new(table.with_dynamodb_log(environment, &feed.table)?)
            }
            #[cfg(not(feature = "aws"))]
            CommitProtocol::DynamoDb => {
                return Err(Error::new(ErrorKind::Configuration, "this build has no DynamoDB")
                    .with_object(location.uri)
                    .with_advice("use a build with the feature aws"));
            }
        });
    }
    #[cfg(feature = "iceberg")]
    if feed.format == crate::config::Format::Iceberg {
        let source_column = feed.source_file_column.as_deref();
        return Ok(Box::new(iceberg::IcebergTable::new(environment, &location, source_column)));
    }
    Err(Error::new(ErrorKind::Configuration, format!("this build has no {:?} tables", feed.format))
        .with_object(location.uri)
        .with_advice(format!("use {}", formats_of_this_build())))
}

fn formats_of_this_build() -> &'static str {
    match (cfg!(feature = "delta"), cfg!(feature = "iceberg")) {
        (true, true) => "format = \"delta\" or format = \"iceberg\"",
        (true, false) => "format = \"delta\", or a build with the feature iceberg",
        (false, true) => "format = \"iceberg\", or a build with the feature delta",
        (false, false) => "a build with the feature delta or iceberg",
    }
}
