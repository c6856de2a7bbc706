//! The older part of a ledger: files of entries in the order of names, that are never changed.
//!
//! A run is a Parquet file, which any engine reads, with one row for each entry. Its row groups are
//! small, each has the least and the greatest of its names in the footer and a bloom filter over all
//! of them; the filters lie side by side before the footer. A look-up reads the footer, the filters
//! of row groups in whose range a name is, and those row groups of which a filter says "perhaps".
//! Names of objects mostly grow with time, so that new ones are outside the range of old runs, and
//! what a listing finds side by side lies side by side.

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use arrow::array::{AsArray, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use arrow::json::{LineDelimitedWriter, ReaderBuilder};
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStream};
use parquet::basic::Encoding;
use parquet::bloom_filter::Sbbf;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::properties::{
    BloomFilterPosition, EnabledStatistics, WriterProperties, WriterPropertiesBuilder,
};
use parquet::file::statistics::Statistics;
use serde::{Deserialize, Serialize};

use super::{Entry, trouble};
use crate::error::{Error, ErrorKind, Result, cause_in};
use crate::parquet::{StoredFile, StreamedFile};

/// A row group is read whole for one entry of it: some 800 KB.
const ROW_GROUP_ROWS: usize = 17_500;
/// Whoever merges runs holds a page of each column of each.
const PAGE_BYTES_MAX: usize = 64 << 10;
/// Of names that are not in a row group, the filter lets so many pass. A filter's size is a power of
/// two: 32 KB for so many rows.
const BLOOM_FALSE_POSITIVES: f64 = 0.001;
/// Filters that are read and held at once.
const BLOOM_BYTES_MAX: u64 = 4 << 20;
/// A run of this size is read in one go.
const WHOLE_BYTES_MAX: u64 = 256 << 10;
/// Rows that are decoded at once.
const BATCH_ROWS: usize = 1024;

/// The columns that entries are ordered by.
pub(super) const NAME: usize = 0;
pub(super) const SEQUENCE: usize = 1;

/// A run, as a tail names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its file, relative to the ledger's folder.
    pub file: String,
    /// How many entries it has.
    pub entries: u64,
    /// The size of its file.
    pub bytes: u64,
    /// How much of that, at its end, is the footer.
    pub footer_bytes: u64,
    /// The least of its names.
    pub first: String,
    /// The greatest of its names.
    pub last: String,
    /// The highest sequence among its entries.
    pub newest: u64,
}

impl Run {
    /// Whether one of `names`, which are in order, may be in it.
    pub(super) fn may_hold(&self, names: &[&str]) -> bool {
        !within(names, self.first.as_bytes(), self.last.as_bytes()).is_empty()
    }

    /// The entries of `names`, which are in order.
    ///
    /// # Errors
    /// [`ErrorKind::LedgerMissing`] when the file is gone or damaged;
    /// [`ErrorKind::StorageUnavailable`].
    pub(super) async fn find(
        &self,
        store: &Arc<dyn ObjectStore>,
        path: Path,
        names: &[&str],
    ) -> Result<Vec<Entry>> {
        let failed = |cause| read_error(&path, cause);
        let mut file = self.open(store, &path).await.map_err(failed)?;
        let metadata = file.metadata().await.map_err(failed)?;
        let groups = groups_that_may_hold(&mut file, metadata.metadata(), names);
        let groups = groups.await.map_err(failed)?;
        let mut found = Vec::new();
        if groups.is_empty() {
            return Ok(found);
        }
        let mut rows = rows(file, metadata, Some(groups)).map_err(failed)?;
        while let Some(batch) = rows.try_next().await.map_err(failed)? {
            let is_wanted =
                |name: Option<&str>| name.is_some_and(|n| names.binary_search(&n).is_ok());
            let wanted: BooleanArray =
                batch.column(NAME).as_string::<i32>().iter().map(|n| Some(is_wanted(n))).collect();
            let matching = filter_record_batch(&batch, &wanted).map_err(|e| failed(e.into()))?;
            found.extend(entries_of(&matching, &path)?);
        }
        Ok(found)
    }

    /// All its rows, in order.
    ///
    /// # Errors
    /// Those of [`Run::find`].
    pub(super) async fn rows(&self, store: &Arc<dyn ObjectStore>, path: &Path) -> Result<Rows> {
        let failed = |cause| read_error(path, cause);
        let mut file = self.open(store, path).await.map_err(failed)?;
        let metadata = file.metadata().await.map_err(failed)?;
        Ok(Rows { path: path.clone(), stream: rows(file, metadata, None).map_err(failed)? })
    }

    async fn open(
        &self,
        store: &Arc<dyn ObjectStore>,
        path: &Path,
    ) -> Result<StoredFile, ParquetError> {
        let end_bytes = self.footer_bytes.max(WHOLE_BYTES_MAX);
        StoredFile::open(store, path.clone(), self.bytes, end_bytes).await
    }
}

fn rows(
    file: StoredFile,
    metadata: ArrowReaderMetadata,
    groups: Option<Vec<usize>>,
) -> Result<ParquetRecordBatchStream<StoredFile>, ParquetError> {
    let rows = ParquetRecordBatchStreamBuilder::new_with_metadata(file, metadata);
    let rows = rows.with_batch_size(BATCH_ROWS);
    match groups {
        Some(groups) => rows.with_row_groups(groups).build(),
        None => rows.build(),
    }
}

/// The rows of a run, one batch after another.
pub(super) struct Rows {
    path: Path,
    stream: ParquetRecordBatchStream<StoredFile>,
}

impl Rows {
    /// The next rows; nothing at the end.
    ///
    /// # Errors
    /// Those of [`Run::find`].
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let batch = self.stream.try_next().await.map_err(|cause| read_error(&self.path, cause))?;
        batch.map(|batch| with_all_columns(batch, &self.path)).transpose()
    }

    /// The same, as entries.
    ///
    /// # Errors
    /// Those of [`Run::find`].
    pub async fn next_entries(&mut self) -> Result<Option<Vec<Entry>>> {
        let Some(batch) = self.next().await? else { return Ok(None) };
        entries_of(&batch, &self.path).map(Some)
    }
}

/// A run that is being written, in order.
pub(super) struct RunWriter {
    file: StreamedFile,
    run: Run,
}

impl RunWriter {
    /// Begins the run `file` at `path`.
    ///
    /// # Errors
    /// Those of [`StreamedFile::new`].
    pub fn new(
        store: &Arc<dyn ObjectStore>,
        path: Path,
        file: String,
        part_bytes: Option<usize>,
    ) -> Result<Self> {
        let schema = Arc::clone(&SCHEMA);
        let streamed = StreamedFile::new(store, path, part_bytes, schema, properties())?;
        let run = Run {
            file,
            entries: 0,
            bytes: 0,
            footer_bytes: 0,
            first: String::new(),
            last: String::new(),
            newest: 0,
        };
        Ok(Self { file: streamed, run })
    }

    /// Appends rows, none of which comes before what was written.
    ///
    /// # Errors
    /// Those of [`StreamedFile::write`].
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let Some(last) = batch.num_rows().checked_sub(1) else { return Ok(()) };
        let names = batch.column(NAME).as_string::<i32>();
        if self.run.entries == 0 {
            names.value(0).clone_into(&mut self.run.first);
        }
        names.value(last).clone_into(&mut self.run.last);
        let sequences = batch.column(SEQUENCE).as_primitive::<Int64Type>();
        let newest = sequences.values().iter().max().map_or(0, |newest| newest.unsigned_abs());
        self.run.newest = self.run.newest.max(newest);
        self.run.entries += batch.num_rows() as u64;
        self.file.write(batch).await
    }

    /// Appends entries, none of which comes before what was written.
    ///
    /// # Errors
    /// Those of [`StreamedFile::write`].
    pub async fn write_entries(&mut self, entries: &[Entry]) -> Result<()> {
        for some in entries.chunks(BATCH_ROWS) {
            let batch = batch_of(some).map_err(|cause| {
                Error::new(ErrorKind::Internal, "no rows of the ledger's entries").with_cause(cause)
            })?;
            self.write(&batch).await?;
        }
        Ok(())
    }

    /// Ends it, after which it is there.
    ///
    /// # Errors
    /// Those of [`StreamedFile::finish`].
    pub async fn finish(self) -> Result<Run> {
        let (bytes, footer) = self.file.finish().await?;
        let footer_bytes = bytes.saturating_sub(end_of_filters(&footer));
        Ok(Run { bytes, footer_bytes, ..self.run })
    }

    /// Gives it up.
    pub async fn abort(self) {
        self.file.abort().await;
    }
}

/// One column for each field of an [`Entry`], by its name.
static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let number = |name: &str| Field::new(name, DataType::Int64, false);
    let time = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        text("name"),
        number("sequence"),
        text("identity"),
        number("size_bytes"),
        text("content"),
        text("append"),
        number("version"),
        number("rows"),
        number("rows_rejected"),
        Field::new("at", time, false),
        text("state"),
        Field::new("quarantine", DataType::Utf8, true),
    ]))
});

fn properties() -> WriterPropertiesBuilder {
    let mut properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_data_page_size_limit(PAGE_BYTES_MAX)
        // Bounds decide where a name is looked for: they must not be cut short.
        .set_statistics_truncate_length(None)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_bloom_filter_position(BloomFilterPosition::End)
        .set_column_statistics_enabled("name".into(), EnabledStatistics::Chunk)
        .set_column_bloom_filter_fpp("name".into(), BLOOM_FALSE_POSITIVES)
        .set_column_bloom_filter_max_ndv("name".into(), ROW_GROUP_ROWS as u64);
    // What differs from row to row; the other columns are best kept as dictionaries.
    let by_encoding = [
        (Encoding::DELTA_BYTE_ARRAY, &["name", "identity", "content"][..]),
        (Encoding::DELTA_BINARY_PACKED, &["sequence", "size_bytes", "version", "rows", "at"][..]),
    ];
    for (encoding, columns) in by_encoding {
        for &column in columns {
            properties = properties
                .set_column_dictionary_enabled(column.into(), false)
                .set_column_encoding(column.into(), encoding);
        }
    }
    properties
}

/// The rows of a run with the columns that runs have now: older ones lack the last.
fn with_all_columns(batch: RecordBatch, path: &Path) -> Result<RecordBatch> {
    let (_, mut columns, rows) = batch.into_parts();
    for field in SCHEMA.fields().iter().skip(columns.len()) {
        columns.push(new_null_array(field.data_type(), rows));
    }
    RecordBatch::try_new(Arc::clone(&SCHEMA), columns)
        .map_err(|cause| trouble::damaged(path.as_ref()).with_cause(cause))
}

fn batch_of(entries: &[Entry]) -> Result<RecordBatch, arrow::error::ArrowError> {
    let mut decoder = ReaderBuilder::new(Arc::clone(&SCHEMA)).build_decoder()?;
    decoder.serialize(entries)?;
    Ok(decoder.flush()?.unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(&SCHEMA))))
}

fn entries_of(batch: &RecordBatch, path: &Path) -> Result<Vec<Entry>> {
    let mut lines = LineDelimitedWriter::new(Vec::new());
    let written = lines.write(batch).and_then(|()| lines.finish());
    written.map_err(|cause| trouble::damaged(path.as_ref()).with_cause(cause))?;
    let text = lines.into_inner();
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let entries = lines.map(serde_json::from_slice).collect::<serde_json::Result<_>>();
    entries.map_err(|cause| trouble::damaged(path.as_ref()).with_cause(cause))
}

/// Those of `names`, which are in order, from `first` to `last`.
fn within<'a, 'b>(names: &'a [&'b str], first: &[u8], last: &[u8]) -> &'a [&'b str] {
    let start = names.partition_point(|name| name.as_bytes() < first);
    let end = names.partition_point(|name| name.as_bytes() <= last);
    &names[start..end.max(start)]
}

/// The row groups that may hold one of `names`, by their bounds and by their filters.
async fn groups_that_may_hold(
    file: &mut StoredFile,
    metadata: &ParquetMetaData,
    names: &[&str],
) -> Result<Vec<usize>, ParquetError> {
    let in_range = |(number, group): (usize, &RowGroupMetaData)| {
        let bounds = match group.column(NAME).statistics() {
            Some(Statistics::ByteArray(it)) => it.min_bytes_opt().zip(it.max_bytes_opt()),
            _ => None,
        };
        // Without bounds, any name may be in it.
        let names = bounds.map_or(names, |(first, last)| within(names, first, last));
        (!names.is_empty()).then_some((number, names, filter_range(group)))
    };
    let candidates: Vec<_> =
        metadata.row_groups().iter().enumerate().filter_map(in_range).collect();
    let mut groups = Vec::new();
    let mut rest = candidates.as_slice();
    while !rest.is_empty() {
        let some = rest.split_at(filters_at_once(rest)).0;
        rest = &rest[some.len()..];
        let ranges = some.iter().map(|(_, _, range)| range.clone()).collect();
        let filters = file.get_byte_ranges(ranges).await?;
        for ((number, names, _), filter) in some.iter().zip(filters) {
            let may_hold = match filter.is_empty() {
                true => true,
                false => {
                    let filter = Sbbf::from_bytes(&filter)?;
                    names.iter().any(|name| filter.check(*name))
                }
            };
            groups.extend(may_hold.then_some(*number));
        }
    }
    Ok(groups)
}

type Candidate<'a, 'b> = (usize, &'a [&'b str], Range<u64>);

/// How many of the first filters are read at once: one at least.
fn filters_at_once(candidates: &[Candidate<'_, '_>]) -> usize {
    let mut bytes = 0;
    let fits = |(_, _, range): &&Candidate<'_, '_>| {
        bytes += range.end - range.start;
        bytes <= BLOOM_BYTES_MAX
    };
    candidates.iter().take_while(fits).count().max(1)
}

/// Where the filter over a row group's names is; nowhere, if it has none.
fn filter_range(group: &RowGroupMetaData) -> Range<u64> {
    let names = group.column(NAME);
    let offset = names.bloom_filter_offset().map_or(0, i64::unsigned_abs);
    let length = names.bloom_filter_length().map_or(0, |length| u64::from(length.unsigned_abs()));
    offset..offset + length
}

fn end_of_filters(metadata: &ParquetMetaData) -> u64 {
    metadata.row_groups().iter().map(|group| filter_range(group).end).max().unwrap_or(0)
}

fn read_error(path: &Path, cause: ParquetError) -> Error {
    match cause_in::<object_store::Error>(&cause) {
        Some(object_store::Error::NotFound { .. }) => {
            Error::new(ErrorKind::LedgerMissing, "this file of the ledger is gone")
                .with_object(path.as_ref())
                .with_advice("restore it, or run `lakefeed ledger rebuild`")
        }
        Some(_) => Error::new(ErrorKind::StorageUnavailable, "the ledger cannot be read")
            .with_object(path.as_ref())
            .with_cause(cause),
        None => trouble::damaged(path.as_ref()).with_cause(cause),
    }
}
