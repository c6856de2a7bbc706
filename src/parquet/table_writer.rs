//! The data files of one append.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use object_store::ObjectStore;
use object_store::path::Path;
use parquet::file::metadata::ParquetMetaData;
use tokio::task::JoinSet;

use super::partition::{self, PartitionKey, PartitionRows, Partitioner};
use super::upload::{self, UploadSlots};
use super::writer::{EncodedFile, OpenFile};
use super::{WriterLimits, statistics};
use crate::clock::{Clock, Entropy};
use crate::error::{Error, ErrorKind, Result};
use crate::memory::{MemoryBudget, Reservation};
use crate::table::{ColumnStatistics, DataFile, FileOrigin, Layout, Table, Value};

/// Data files of one append: what is known of each is held until the commit.
const DATA_FILES_MAX: usize = 10_000;

/// Where data files go, and what they are like.
#[derive(Clone)]
pub struct Destination {
    /// The storage.
    pub store: Arc<dyn ObjectStore>,
    /// The table's root in it.
    pub root: Path,
    /// How the table wants its files.
    pub layout: Arc<Layout>,
    /// What their names tell.
    pub origin: FileOrigin,
}

impl Destination {
    /// The folder of `table`.
    pub fn in_table(table: &dyn Table, layout: &Arc<Layout>, origin: FileOrigin) -> Self {
        let (store, root) = (Arc::clone(table.store()), table.root().clone());
        Self { store, root, layout: Arc::clone(layout), origin }
    }
}

/// Turns batches into the data files of one append, a file at a time or one for each partition.
///
/// After an error there is nothing left of this writer's in the store, as far as the store lets us
/// delete. A writer that is dropped without [`TableWriter::finish`] or [`TableWriter::abort`], as in
/// a process that is killed, leaves files that no table names and the parts of open uploads, which
/// the store's lifecycle rule for incomplete uploads removes.
pub struct TableWriter {
    destination: Destination,
    limits: WriterLimits,
    entropy: Arc<Entropy>,
    clock: Arc<dyn Clock>,
    partitioner: Partitioner,
    stored_columns: Vec<usize>,
    stored_schema: SchemaRef,
    slots: UploadSlots,
    open: BTreeMap<PartitionKey, OpenPartition>,
    /// Files whose last part is being sent. Their memory is that of the parts in flight.
    finishing: JoinSet<Result<DataFile>>,
    finished: Vec<DataFile>,
    files_begun: usize,
    /// Counts writes, to tell which partition was idle for longest.
    writes: u64,
    has_failed: bool,
    _reservation: Reservation,
}

struct OpenPartition {
    file: OpenFile,
    path: String,
    values: Vec<Option<Value>>,
    last_write: u64,
    held_bytes: usize,
}

impl TableWriter {
    /// A writer of files for `destination`. What `limits` allow is reserved of `budget` until the
    /// writer is gone.
    ///
    /// # Errors
    /// [`ErrorKind::OverBudget`] when the budget has less left than that, and
    /// [`ErrorKind::TableUnsupported`] for a partition column that has no text form.
    pub fn new(
        destination: Destination,
        limits: WriterLimits,
        entropy: Arc<Entropy>,
        clock: Arc<dyn Clock>,
        budget: &MemoryBudget,
    ) -> Result<Self> {
        let layout = &destination.layout;
        let is_partitioned = !layout.partition_columns.is_empty();
        let reservation =
            budget.try_reserve("the Parquet writer", limits.held_bytes_max(is_partitioned))?;
        let stored_columns = layout.stored_columns();
        let fields =
            stored_columns.iter().map(|&column| layout.file_schema.fields()[column].clone());
        Ok(Self {
            partitioner: Partitioner::new(layout)?,
            stored_schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            stored_columns,
            destination,
            slots: UploadSlots::new(limits.part_bytes, limits.parts_in_flight_max),
            limits,
            entropy,
            clock,
            open: BTreeMap::new(),
            finishing: JoinSet::new(),
            finished: Vec::new(),
            files_begun: 0,
            writes: 0,
            has_failed: false,
            _reservation: reservation,
        })
    }

    /// Takes the rows of `batch`, whose columns are those of the layout's schema, in order.
    ///
    /// Rows keep their order within a partition and a file.
    ///
    /// # Errors
    /// [`ErrorKind::StorageUnavailable`] when the store fails, for these rows or earlier ones, and
    /// [`ErrorKind::SchemaMismatch`] when the rows do not fit the layout. Everything that this
    /// writer wrote is then gone, and it takes nothing more.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.check_not_failed()?;
        let outcome = self.write_by_partition(batch).await;
        if outcome.is_err() {
            self.discard().await;
        }
        outcome
    }

    /// Ends every file. They are durable then, in the order of their paths.
    ///
    /// # Errors
    /// As for [`TableWriter::write`].
    pub async fn finish(mut self) -> Result<Vec<DataFile>> {
        self.check_not_failed()?;
        let outcome = self.finish_all().await;
        if outcome.is_err() {
            self.discard().await;
        }
        outcome
    }

    /// Gives up: open uploads are aborted and finished files deleted, as far as the store lets us.
    pub async fn abort(mut self) {
        self.discard().await;
    }

    fn check_not_failed(&self) -> Result<()> {
        if self.has_failed {
            return Err(Error::new(ErrorKind::Internal, "the Parquet writer has already failed"));
        }
        Ok(())
    }

    async fn write_by_partition(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_columns() != self.destination.layout.schema.fields().len() {
            return Err(Error::new(ErrorKind::Internal, "a batch has not the table's columns"));
        }
        let columns = self.stored_columns.iter().map(|&column| batch.column(column).clone());
        let stored = RecordBatch::try_new(self.stored_schema.clone(), columns.collect()).map_err(
            |error| {
                Error::new(ErrorKind::SchemaMismatch, "the rows do not fit the table")
                    .with_cause(error)
            },
        )?;
        for part in self.partitioner.split(batch, stored)? {
            self.write_partition(part).await?;
        }
        Ok(())
    }

    async fn write_partition(&mut self, part: PartitionRows) -> Result<()> {
        let PartitionRows { key, values, mut rows } = part;
        while rows.num_rows() > 0 {
            self.make_room(&key).await?;
            if !self.open.contains_key(&key) {
                let opened = self.open_partition(&values)?;
                self.open.insert(key.clone(), opened);
            }
            let Some(partition) = self.open.get_mut(&key) else {
                continue;
            };
            let count = partition.file.rows_to_write(&rows, &self.limits);
            partition.file.write(&rows.slice(0, count), &self.limits).await?;
            rows = rows.slice(count, rows.num_rows() - count);
            self.writes += 1;
            partition.last_write = self.writes;
            partition.held_bytes = partition.file.held_bytes(&self.limits);
            if partition.file.is_full(&self.limits) {
                self.close(&key).await?;
            }
        }
        Ok(())
    }

    fn open_partition(&mut self, values: &[Option<Value>]) -> Result<OpenPartition> {
        self.files_begun += 1;
        if self.files_begun > DATA_FILES_MAX {
            return Err(Error::new(
                ErrorKind::OverBudget,
                format!("its rows would make more than {DATA_FILES_MAX} data files"),
            )
            .with_advice("partition by columns with fewer values, or sort the rows by them"));
        }
        let folder = partition::folder(&self.destination.layout, values);
        let name = self.destination.origin.file_name(self.entropy.uuid());
        let path = format!("{folder}{name}");
        let file = OpenFile::new(
            self.destination.store.clone(),
            self.key_of(&path)?,
            self.stored_schema.clone(),
            &self.limits,
            self.slots.clone(),
        )?;
        Ok(OpenPartition { file, path, values: values.to_vec(), last_write: 0, held_bytes: 0 })
    }

    /// The object key of `path`. It is taken as it is: what it escapes is part of the key.
    fn key_of(&self, path: &str) -> Result<Path> {
        Path::parse(format!("{}/{path}", self.destination.root)).map_err(|error| {
            Error::new(ErrorKind::Internal, "a data file has no valid key")
                .with_object(path)
                .with_cause(error)
        })
    }

    /// Makes room for one more slice, for the partition of `key`.
    ///
    /// Where too many files are open, the one that was idle for longest is closed: in data that is
    /// roughly ordered it has most likely seen its last row. Where too much is held, the file that
    /// holds most gives it up: that frees the most for each row group or file that ends early.
    async fn make_room(&mut self, key: &PartitionKey) -> Result<()> {
        let mut needed_bytes = self.limits.slice_bytes_max;
        if !self.open.contains_key(key) {
            needed_bytes += self.limits.open_file_bytes(self.stored_columns.len());
            while self.open.len() >= self.limits.open_partitions_max {
                let Some(idle) = self.open_with_most(|open| u64::MAX - open.last_write) else {
                    break;
                };
                self.close(&idle).await?;
            }
        }
        while self.held_bytes() + needed_bytes > self.limits.open_files_bytes_max {
            let Some(largest) = self.open_with_most(|open| open.held_bytes as u64) else {
                break;
            };
            self.relieve(&largest).await?;
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn open_partition_count(&self) -> usize {
        self.open.len()
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.open.values().map(|open| open.held_bytes).sum()
    }

    fn open_with_most(&self, measure: impl Fn(&OpenPartition) -> u64) -> Option<PartitionKey> {
        self.open.iter().max_by_key(|(_, open)| measure(open)).map(|(key, _)| key.clone())
    }

    /// Frees what the open file of `key` holds. It stays open if it has a part to send; a part
    /// cannot be smaller than the store takes, so else the file ends.
    async fn relieve(&mut self, key: &PartitionKey) -> Result<()> {
        match self.open.get_mut(key) {
            Some(open) if open.file.unsent_bytes() >= self.limits.part_bytes => {
                open.file.end_row_group().await?;
                open.held_bytes = open.file.held_bytes(&self.limits);
                if open.file.is_full(&self.limits) { self.close(key).await } else { Ok(()) }
            }
            _ => self.close(key).await,
        }
    }

    /// Ends the open file of `key`; its last part is sent while other rows are encoded.
    async fn close(&mut self, key: &PartitionKey) -> Result<()> {
        while let Some(finished) = self.finishing.try_join_next() {
            self.finished.push(joined(finished)?);
        }
        let Some(open) = self.open.remove(key) else {
            return Ok(());
        };
        let EncodedFile { mut upload, last, footer, size_bytes, rows } = open.file.close().await?;
        let columns = match self.statistics(&footer) {
            Ok(columns) => columns,
            Err(error) => {
                upload.abort().await;
                return Err(error);
            }
        };
        let clock = self.clock.clone();
        self.finishing.spawn(async move {
            upload.finish(last).await?;
            let modified_millis = clock.now().timestamp_millis();
            Ok(DataFile {
                path: open.path,
                size_bytes,
                rows,
                modified_millis,
                columns,
                partition: open.values,
            })
        });
        Ok(())
    }

    fn statistics(&self, footer: &ParquetMetaData) -> Result<Vec<ColumnStatistics>> {
        let columns = self.stored_columns.iter().map(|&column| {
            (
                self.destination.layout.schema.field(column),
                self.destination.layout.bounded_columns[column],
            )
        });
        statistics::of_file(footer, columns)
    }

    async fn finish_all(&mut self) -> Result<Vec<DataFile>> {
        while let Some(key) = self.open.keys().next().cloned() {
            self.close(&key).await?;
        }
        while let Some(finished) = self.finishing.join_next().await {
            self.finished.push(joined(finished)?);
        }
        let mut files = std::mem::take(&mut self.finished);
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    async fn discard(&mut self) {
        self.has_failed = true;
        while let Some((_, open)) = self.open.pop_first() {
            open.file.abort().await;
        }
        while let Some(finished) = self.finishing.join_next().await {
            self.finished.extend(joined(finished).ok());
        }
        for file in std::mem::take(&mut self.finished) {
            if let Ok(key) = self.key_of(&file.path) {
                upload::delete(self.destination.store.as_ref(), &key).await;
            }
        }
    }
}

fn joined(finished: Result<Result<DataFile>, tokio::task::JoinError>) -> Result<DataFile> {
    finished.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Internal, "an upload did not end").with_cause(error))
    })
}
