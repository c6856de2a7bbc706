//! Tables: a place for one, processes that write to it, and a reader of the format that is not on
//! trial.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::array_value_to_string;
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use lakefeed::clock::{Clock, Entropy, SystemClock, Usage};
use lakefeed::config::{self, AwsAccess, CommitProtocol, Feed};
use lakefeed::environment::Environment;
use lakefeed::fault::{Call, Fault, Faults, FaultyStore, Treatment};
use lakefeed::memory::MemoryBudget;
use lakefeed::parquet::{Destination, TableWriter, WriterLimits};
use lakefeed::store::Stores;
use lakefeed::table::{
    self, Append, CommitOutcome, DataFile, Effect, FileOrigin, Layout, Pointer, Snapshot, Table,
    TableDefinition,
};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value as Json;

use super::stores::Store;
use super::{Opened, stores};

/// The ledger that most promises are about.
pub const LEDGER: &str = "default";
/// A folder whose name has to be encoded here and there.
const TABLE: &str = "the täble";
const WRITER_BYTES: u64 = 64 << 20;

/// A place for one table.
pub struct Lake {
    pub store: Store,
    pub format: Box<dyn Format>,
    pub can: Differences,
    kind: config::Format,
    commit: CommitProtocol,
    aws: AwsAccess,
}

/// Where tables differ, and Lakefeed does not mind.
#[derive(Debug, Clone)]
pub struct Differences {
    /// A commit is decided before its file is put into the log, by an entry elsewhere: whoever loads
    /// the table finishes it.
    pub decides_before_the_log: bool,
    /// Whether the file at a path is one that decides what a version is.
    pub is_commit: fn(&Path) -> bool,
    /// Whatever is loaded takes listings.
    pub lists_to_load: bool,
    /// Files store the columns too that the table is partitioned by.
    pub stores_partition_columns: bool,
    /// Bounds of time are whole milliseconds, and there are none of truth values.
    pub coarse_bounds: bool,
    /// The narrowest integers have this type.
    pub narrowest_integer: DataType,
}

impl Differences {
    /// The type of the table's column for one that was to be of `data_type`.
    pub fn stored_type(&self, data_type: &DataType) -> DataType {
        match data_type.primitive_width() < self.narrowest_integer.primitive_width() {
            true if data_type.is_integer() => self.narrowest_integer.clone(),
            _ => data_type.clone(),
        }
    }
}

#[cfg(feature = "delta")]
const OF_DELTA: Differences = Differences {
    decides_before_the_log: false,
    is_commit: |path| !path.as_ref().contains("/.tmp/"),
    lists_to_load: true,
    stores_partition_columns: false,
    coarse_bounds: true,
    narrowest_integer: DataType::Int8,
};

#[cfg(feature = "iceberg")]
const OF_ICEBERG: Differences = Differences {
    decides_before_the_log: false,
    is_commit: |path| path.as_ref().ends_with(".metadata.json"),
    lists_to_load: false,
    stores_partition_columns: true,
    coarse_bounds: false,
    narrowest_integer: DataType::Int32,
};

/// A table format, read and written from nothing: by none of the code that is on trial.
#[async_trait]
pub trait Format: Send + Sync {
    /// Every version that there is, in order.
    async fn versions(&self, table: &Files) -> Vec<u64>;

    /// What `version` changed.
    async fn commit(&self, table: &Files, version: u64) -> Commit;

    /// Another writer's commit, which adds the file `path` of `rows` rows and moves no pointer.
    async fn append(&self, table: &Files, path: &str, rows: u64);

    /// What another writer may do so that nobody may write to the table who does not know what it
    /// asks for.
    async fn demands(&self, table: &Files) -> Vec<Change>;

    /// What another writer may promise of a table just created, so that no rows may be taken away.
    async fn promises(&self, table: &Files) -> Vec<Change>;

    /// What may be wrong with a table of three versions or more.
    async fn damages(&self, table: &Files) -> Vec<Change>;
}

/// The files below a table's root.
pub struct Files {
    pub store: Arc<dyn ObjectStore>,
    pub root: Path,
}

/// What one commit changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// Where it moved the pointers of ledgers, by their names.
    pub pointers: BTreeMap<String, Pointer>,
    /// The names of the table's columns, where it changes them.
    pub columns: Option<Vec<String>>,
    pub added: Vec<AddedFile>,
    pub removed: usize,
}

/// A file as the table's metadata has it.
#[derive(Debug, Clone, PartialEq)]
pub struct AddedFile {
    /// Its key below the root, decoded.
    pub path: String,
    pub size_bytes: u64,
    pub rows: u64,
    /// By the columns' names, as the format writes them.
    pub partition: BTreeMap<String, Option<String>>,
    pub lower: Json,
    pub upper: Json,
    pub nulls: Json,
}

/// An object that is put or taken away.
pub struct Change {
    pub what: &'static str,
    pub path: String,
    pub body: Option<Bytes>,
}

impl Files {
    pub fn key(&self, path: &str) -> Path {
        Path::parse(format!("{}/{path}", self.root)).unwrap()
    }

    pub async fn get(&self, path: &str) -> Option<Bytes> {
        match self.store.get(&self.key(path)).await {
            Ok(found) => Some(found.bytes().await.unwrap()),
            Err(object_store::Error::NotFound { .. }) => None,
            Err(error) => panic!("{path}: {error}"),
        }
    }

    pub async fn put(&self, path: &str, body: Bytes) {
        self.store.put(&self.key(path), body.into()).await.unwrap();
    }

    /// Makes a change, and returns the one that takes it back.
    pub async fn change(&self, change: &Change) -> Change {
        let before = self.get(&change.path).await;
        match &change.body {
            Some(body) => self.put(&change.path, body.clone()).await,
            None => self.store.delete(&self.key(&change.path)).await.unwrap(),
        }
        Change { what: "taken back", path: change.path.clone(), body: before }
    }

    /// Every object, with its size and entity tag.
    pub async fn everything(&self) -> BTreeMap<String, (u64, Option<String>)> {
        use futures::TryStreamExt;
        let listed: Vec<_> = self.store.list(Some(&self.root)).try_collect().await.unwrap();
        let described = |object: object_store::ObjectMeta| {
            (object.location.to_string(), (object.size, object.e_tag))
        };
        listed.into_iter().map(described).collect()
    }

    /// The rows of one data file, in the columns that it stores.
    pub async fn rows_of(&self, path: &str) -> Vec<String> {
        let body = self.get(path).await.unwrap_or_else(|| panic!("{path} is missing"));
        let reader = ParquetRecordBatchReaderBuilder::try_new(body).unwrap().build().unwrap();
        rows(&reader.map(Result::unwrap).collect::<Vec<_>>())
    }
}

impl Lake {
    fn new(store: Store, kind: config::Format, format: Box<dyn Format>, can: Differences) -> Self {
        Self {
            store,
            kind,
            format,
            can,
            commit: CommitProtocol::ConditionalPut,
            aws: AwsAccess::default(),
        }
    }

    /// A process that works on the table.
    pub fn process(&self) -> Process {
        self.process_over(Arc::clone(&self.store.store))
    }

    /// A process whose requests have these faults.
    pub fn process_with(
        &self,
        faults: impl Fn(&Call<'_>) -> Fault + Send + Sync + 'static,
    ) -> Process {
        let (inner, clock) = (Arc::clone(&self.store.store), Arc::new(SystemClock::default()));
        let faults = Arc::new(Decided(faults));
        self.process_over(Arc::new(FaultyStore::new(inner, faults, clock, Arc::default())))
    }

    fn process_over(&self, store: Arc<dyn ObjectStore>) -> Process {
        let stores = Stores::new(PathBuf::from("/")).with_aws(self.aws.clone());
        let (scheme, _) = self.store.address.split_once("://").unwrap();
        stores.overlay(scheme, store);
        let environment = Environment {
            clock: Arc::new(Hurried(SystemClock::default())),
            entropy: Arc::new(Entropy::from_system()),
            stores: Arc::new(stores),
            process: "conformance".to_owned(),
            time_box: None,
            budget: MemoryBudget::for_process(1 << 30).unwrap(),
            ledger: lakefeed::ledger::Limits::default(),
        };
        let address = format!("{}/{TABLE}", self.store.address);
        let (format, commit) = (self.kind, self.commit);
        let feed = Feed { table: address, format, commit, ..Feed::default() };
        let table = table::open(&environment, &feed).unwrap();
        Process { environment, table }
    }

    /// The table's files, for the reader of the format.
    pub fn files(&self) -> Files {
        Files { store: Arc::clone(&self.store.store), root: self.store.key(TABLE) }
    }

    pub async fn versions(&self) -> Vec<u64> {
        self.format.versions(&self.files()).await
    }

    pub async fn commit(&self, version: u64) -> Commit {
        self.format.commit(&self.files(), version).await
    }

    /// The rows of every file that was ever added, as the files have them, sorted.
    pub async fn all_rows(&self) -> Vec<String> {
        let (files, mut all) = (self.files(), Vec::new());
        for version in self.versions().await {
            for added in self.commit(version).await.added {
                let rows = files.rows_of(&added.path).await;
                assert_eq!(rows.len() as u64, added.rows, "{}", added.path);
                all.extend(rows);
            }
        }
        all.sort();
        all
    }

    /// A table that was just created, of the columns of [`numbered`].
    pub async fn created(&self) -> (Process, Snapshot) {
        self.created_as(&TableDefinition { schema: numbered_schema(), partition_by: vec![] }).await
    }

    pub async fn created_as(&self, definition: &TableDefinition) -> (Process, Snapshot) {
        let process = self.process();
        let creation = process.table.plan_creation(definition, LEDGER, 1).await.unwrap();
        let created = process.table.try_create(&creation).await.unwrap();
        assert_eq!(created, CommitOutcome::Committed(0));
        let snapshot = process.newest().await;
        (process, snapshot)
    }
}

/// One process that works on the table, and remembers nothing.
pub struct Process {
    pub environment: Environment,
    pub table: Box<dyn Table>,
}

impl Process {
    /// The newest version of a table that is there.
    pub async fn newest(&self) -> Snapshot {
        self.table.load(LEDGER).await.unwrap().expect("the table is there")
    }

    /// Writes a data file, or one for each partition.
    pub async fn write(&self, layout: &Arc<Layout>, batch: &RecordBatch) -> Vec<DataFile> {
        let Environment { clock, entropy, budget, .. } = &self.environment;
        let mut writer = TableWriter::new(
            Destination::in_table(
                self.table.as_ref(),
                layout,
                FileOrigin { ledger: LEDGER.to_owned(), fence: 0 },
            ),
            WriterLimits::within(WRITER_BYTES, layout.schema.fields().len()).unwrap(),
            Arc::clone(entropy),
            Arc::clone(clock),
            budget,
        )
        .unwrap();
        writer.write(batch).await.unwrap();
        writer.finish().await.unwrap()
    }

    /// The intent to add the rows `ids` of `source`, whose files are durable.
    pub async fn append(&self, base: &Snapshot, source: &str, ids: std::ops::Range<i64>) -> Append {
        let files = self.write(&base.layout, &numbered(source, ids)).await;
        self.append_of(files, source)
    }

    pub fn append_of(&self, files: Vec<DataFile>, source: &str) -> Append {
        Append {
            id: self.environment.entropy.uuid(),
            files,
            removed: vec![],
            effect: Effect::Append,
            evolution: None,
            sources: vec![source.to_owned()],
            quarantine: None,
        }
    }

    pub async fn try_commit(
        &self,
        base: &Snapshot,
        append: &Append,
        pointer: Pointer,
    ) -> lakefeed::error::Result<CommitOutcome> {
        self.table.try_commit(base, append, LEDGER, pointer).await
    }

    /// Adds rows on top of the newest version, by one who is alone.
    pub async fn add(&self, source: &str, ids: std::ops::Range<i64>, pointer: Pointer) -> Snapshot {
        let base = self.newest().await;
        let append = self.append(&base, source, ids).await;
        let outcome = self.try_commit(&base, &append, pointer).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Committed(base.version + 1));
        self.newest().await
    }

    /// Every row of a version, as the table reads it, sorted.
    pub async fn rows(&self, snapshot: &Snapshot) -> Vec<String> {
        let batches = self.table.some_rows(snapshot, usize::MAX).await.unwrap();
        let mut rows = rows(&batches);
        rows.sort();
        rows
    }
}

pub fn numbered_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("source", DataType::Utf8, true),
    ]))
}

/// Rows with these numbers, of one source.
pub fn numbered(source: &str, ids: std::ops::Range<i64>) -> RecordBatch {
    let sources = ids.clone().map(|_| source).collect::<Vec<_>>();
    let ids = Int64Array::from_iter_values(ids);
    let columns: Vec<arrow::array::ArrayRef> =
        vec![Arc::new(ids), Arc::new(StringArray::from(sources))];
    RecordBatch::try_new(numbered_schema(), columns).unwrap()
}

/// The same rows in words.
pub fn numbered_rows(source: &str, ids: std::ops::Range<i64>) -> Vec<String> {
    rows(&[numbered(source, ids)])
}

/// Rows in words: each value, by its column.
pub fn rows(batches: &[RecordBatch]) -> Vec<String> {
    let row = |batch: &RecordBatch, row: usize| {
        let value = |column: usize| match batch.column(column).is_null(row) {
            true => "null".to_owned(),
            false => array_value_to_string(batch.column(column), row).unwrap(),
        };
        let schema = batch.schema();
        let named =
            |(column, field): (usize, &Arc<Field>)| format!("{}={}", field.name(), value(column));
        schema.fields().iter().enumerate().map(named).collect::<Vec<_>>().join(" ")
    };
    let all = batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |at| row(batch, at)));
    all.collect()
}

struct Decided<F>(F);

impl<F: Fn(&Call<'_>) -> Fault + Send + Sync + 'static> Faults for Decided<F> {
    fn treat(&self, call: &Call<'_>) -> Treatment {
        Treatment::from((self.0)(call))
    }
}

/// A clock whose waits are short: nobody waits for anything but a number of tries.
struct Hurried(SystemClock);

#[async_trait]
impl Clock for Hurried {
    fn now(&self) -> DateTime<Utc> {
        self.0.now()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    async fn sleep(&self, duration: Duration) {
        self.0.sleep(duration / 100).await;
    }

    fn usage(&self) -> Usage {
        self.0.usage()
    }
}

#[cfg(feature = "delta")]
pub fn delta_on(store: Store) -> Opened<Lake> {
    let format = Box::new(super::delta::Delta { entries: None });
    Ok(Lake::new(store, config::Format::Delta, format, OF_DELTA))
}

#[cfg(feature = "iceberg")]
pub fn iceberg_on(store: Store) -> Opened<Lake> {
    let format = Box::new(super::iceberg::Iceberg);
    Ok(Lake::new(store, config::Format::Iceberg, format, OF_ICEBERG))
}

/// Iceberg in a folder, in memory.
#[cfg(feature = "iceberg")]
pub fn iceberg_on_memory() -> Opened<Lake> {
    iceberg_on(stores::memory()?)
}

/// Iceberg in a folder, on a local disk.
#[cfg(feature = "iceberg")]
pub fn iceberg_on_local() -> Opened<Lake> {
    iceberg_on(stores::local()?)
}

/// Iceberg in a folder, on S3.
#[cfg(feature = "iceberg")]
pub fn iceberg_on_s3() -> Opened<Lake> {
    iceberg_on(stores::s3()?)
}

/// Delta, in memory.
#[cfg(feature = "delta")]
pub fn delta_on_memory() -> Opened<Lake> {
    delta_on(stores::memory()?)
}

/// Delta, on S3.
#[cfg(feature = "delta")]
pub fn delta_on_s3() -> Opened<Lake> {
    delta_on(stores::s3()?)
}

/// Delta, on S3, committed to through DynamoDB.
#[cfg(all(feature = "aws", feature = "delta"))]
pub fn delta_through_dynamodb() -> Opened<Lake> {
    let (store, aws) = (stores::s3()?, super::s3::access()?);
    let table_path = format!("{}/{TABLE}", store.address);
    let entries = super::log_entries::Entries::new(&aws, table_path);
    Ok(Lake {
        can: Differences { decides_before_the_log: true, ..OF_DELTA },
        commit: CommitProtocol::DynamoDb,
        aws,
        format: Box::new(super::delta::Delta { entries: Some(entries) }),
        ..delta_on(store)?
    })
}

/// Delta, on S3, committed to through DynamoDB.
#[cfg(all(feature = "delta", not(feature = "aws")))]
pub fn delta_through_dynamodb() -> Opened<Lake> {
    Err(super::Missing { backend: "DynamoDB", remedy: "build with the feature aws" })
}

/// Delta, on a local disk.
#[cfg(feature = "delta")]
pub fn delta_on_local() -> Opened<Lake> {
    delta_on(stores::local()?)
}
