//! The data files of a snapshot: which may hold what, their rows, and how they are taken away.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, interleave_record_batch};
use arrow::util::display::array_value_to_string;
use delta_kernel::engine::arrow_data::{ArrowEngineData, EngineDataArrowExt};
use delta_kernel::expressions::{Expression, Predicate};
use delta_kernel::scan::ScanMetadata;
use delta_kernel::scan::state::{ScanFile, transform_to_logical};
use delta_kernel::schema::{SchemaRef as KernelSchemaRef, StructType};
use delta_kernel::snapshot::{Snapshot as KernelSnapshot, SnapshotRef};
use delta_kernel::table_features::TableFeature;
use delta_kernel::{Engine, FileMeta, FilteredEngineData, KernelError, KernelResult};
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use percent_encoding::percent_decode_str;
use url::Url;

use super::DeltaTable;
use crate::error::{Error, ErrorKind, Result};
use crate::memory::{MemoryBudget, Reservation};
use crate::parquet::StoredFile;
use crate::table::reading::{foreign, unreadable};
use crate::table::{LiveFile, Snapshot, Sources};

/// Of so many names, each is compared with a file's statistics; of more, the first and the last.
const NAMES_TOLD_APART_MAX: usize = 64;
/// What is read of a file's end at once: more than most footers.
const FOOTER_BYTES: u64 = 64 << 10;
/// The most that most writers put in a page.
const PAGE_BYTES: u64 = 1 << 20;
/// What the kernel adds to the description of a file where it compares statistics.
const PARSED_COLUMNS: [&str; 2] = ["stats_parsed", "partitionValues_parsed"];

/// A data file as the kernel describes it.
pub(super) struct Located {
    file: ScanFile,
    /// The descriptions of this file and of its neighbours in the log, as they are handed back to take
    /// files away. Shared: most of the memory that a file takes would go into copies.
    described: Arc<RecordBatch>,
    /// Which of them is this file's.
    row: usize,
}

/// Batches of a file, as they are read.
type Rows = Box<dyn Iterator<Item = KernelResult<RecordBatch>> + Send>;

impl DeltaTable {
    /// The rows of a file that nobody has deleted, in all columns of the table, or in the text column
    /// `only`.
    ///
    /// # Errors
    /// [`ErrorKind::TableUnsupported`] for all columns of a table that has some that we cannot write,
    /// [`ErrorKind::OverBudget`], and those of the storage.
    pub(super) async fn read_rows<'a>(
        &'a self,
        snapshot: &Snapshot,
        file: &LiveFile,
        only: Option<&str>,
        budget: &MemoryBudget,
    ) -> Result<BoxStream<'a, Result<RecordBatch>>> {
        let kernel = self.kernel_snapshot(snapshot)?;
        let columns = kernel.schema().num_fields();
        if only.is_none() && columns != snapshot.layout.schema.fields().len() {
            return Err(Error::new(
                ErrorKind::TableUnsupported,
                "a data file would be written again, and the table has columns that Lakefeed cannot \
                 write",
            )
            .with_object(&file.id)
            .with_advice("remove the rows with another engine"));
        }
        let located = Arc::clone(&file.inner).downcast::<Located>().map_err(|_| foreign(file))?;
        let held_bytes = self.held_bytes(&located, only.is_some()).await?;
        let held = budget.try_reserve("a data file that is read", held_bytes)?;
        let (engine, only) = (Arc::clone(&self.kernel.engine), only.map(str::to_owned));
        let open = move |_: &dyn Engine, _: &Url| rows(engine, &kernel, &located, only.as_deref());
        let rows = self.blocking(open).await?;
        let next = move |(mut rows, held): (Rows, Reservation)| async move {
            let step = move |_: &dyn Engine, _: &Url| {
                let batch = rows.next().transpose()?;
                Ok((batch, rows))
            };
            let (batch, rows) = self.blocking(step).await?;
            Ok(batch.map(|batch| (batch, (rows, held))))
        };
        Ok(stream::try_unfold((rows, held), next).boxed())
    }

    /// What reading a file holds: the largest of its row groups as it is stored, or of its columns
    /// there, and a page of each column.
    async fn held_bytes(&self, located: &Located, is_one_column: bool) -> Result<u64> {
        let (name, size) = (&located.file.path, located.size_bytes());
        let key = percent_decode_str(name).decode_utf8_lossy();
        let path = Path::parse(format!("{}/{key}", self.root)).map_err(|cause| {
            Error::new(
                ErrorKind::TableUnsupported,
                "a data file with a name that we cannot address",
            )
            .with_object(name)
            .with_cause(cause)
        })?;
        let footer = async {
            let end_bytes = FOOTER_BYTES.min(size);
            StoredFile::open(&self.store, path.clone(), size, end_bytes).await?.metadata().await
        };
        let footer = footer.await.map_err(|cause| unreadable(&path, cause))?;
        let of_column = |column: &ColumnChunkMetaData| {
            let page = column.uncompressed_size().unsigned_abs().min(PAGE_BYTES);
            column.compressed_size().unsigned_abs() + page
        };
        let of_group = |group: &RowGroupMetaData| {
            let columns = group.columns().iter().map(of_column);
            if is_one_column { columns.max().unwrap_or(0) } else { columns.sum() }
        };
        Ok(footer.metadata().row_groups().iter().map(of_group).max().unwrap_or(0))
    }
}

impl Located {
    fn size_bytes(&self) -> u64 {
        self.file.size.unsigned_abs()
    }
}

/// The files that may hold rows of `sources`: at most `files_max` of them, or nothing where there are
/// more.
pub(super) fn with(
    engine: &dyn Engine,
    snapshot: &SnapshotRef,
    sources: &Sources,
    files_max: usize,
) -> KernelResult<Option<Vec<LiveFile>>> {
    let scan = snapshot.clone().scan_builder().with_predicate(predicate(sources)).build()?;
    let mut found = Vec::new();
    for metadata in scan.scan_metadata(engine)? {
        found.extend(locate(metadata?)?);
        if found.len() > files_max {
            return Ok(None);
        }
    }
    Ok(Some(found))
}

fn predicate(sources: &Sources) -> Option<Arc<Predicate>> {
    let Sources::Named { column, names } = sources else { return None };
    let column = || Expression::column([column.as_str()]);
    let name = |name: &String| Expression::literal(name.as_str());
    if names.len() <= NAMES_TOLD_APART_MAX {
        let each = names.iter().map(|text| column().eq(name(text)));
        return Some(Arc::new(Predicate::or_from(each)));
    }
    let (first, last) = (names.iter().min()?, names.iter().max()?);
    Some(Arc::new(Predicate::and(column().ge(name(first)), column().le(name(last)))))
}

/// The files that one piece of the log describes.
fn locate(metadata: ScanMetadata) -> KernelResult<Vec<LiveFile>> {
    fn push(files: &mut Vec<ScanFile>, file: ScanFile) {
        files.push(file);
    }
    let files = metadata.visit_scan_files(Vec::new(), push)?;
    let described = metadata.scan_files.apply_selection_vector()?.try_into_record_batch()?;
    let schema = described.schema();
    let kept = (0..schema.fields().len())
        .filter(|&column| !PARSED_COLUMNS.contains(&schema.field(column).name().as_str()));
    let described = Arc::new(described.project(&kept.collect::<Vec<_>>())?);
    if described.num_rows() != files.len() {
        return Err(KernelError::generic("a scan describes a file that it does not show"));
    }
    let vectors = described
        .column_by_name("deletionVector")
        .ok_or_else(|| KernelError::missing_column("deletionVector"))?;
    let located = files.into_iter().enumerate().map(|(row, file)| {
        let deleted = array_value_to_string(vectors, row)?;
        let id = format!("{} {deleted}", file.path);
        let described = Arc::clone(&described);
        Ok(LiveFile { id, inner: Arc::new(Located { file, described, row }) })
    });
    located.collect()
}

/// The rows of a file that nobody has deleted, in all columns of the table, or in the text column
/// `only`.
fn rows(
    engine: Arc<dyn Engine>,
    snapshot: &SnapshotRef,
    located: &Located,
    only: Option<&str>,
) -> KernelResult<Rows> {
    let file = &located.file;
    let scan = snapshot.clone().scan_builder().build()?;
    let (logical, whole) = (scan.logical_schema().clone(), scan.physical_schema().clone());
    let meta = FileMeta {
        location: snapshot.table_root().join(&file.path)?,
        last_modified: file.modification_time,
        size: located.size_bytes(),
    };
    let live = file.dv_info.get_selection_vector(engine.as_ref(), snapshot.table_root())?;
    let stored = only.map(|column| stored_column(snapshot, &whole, column)).transpose()?.flatten();
    // A partition column is not stored: it comes with all the others.
    let project = only.filter(|_| stored.is_none()).map(str::to_owned);
    let transform = if stored.is_some() { None } else { file.transform.clone() };
    let physical = stored.unwrap_or(whole);
    let read = engine.parquet_handler().read_parquet_files(&[meta], physical.clone(), None)?;
    let mut begin = 0;
    Ok(Box::new(read.map(move |data| {
        let transform = transform.clone();
        let data = transform_to_logical(engine.as_ref(), data?, &physical, &logical, transform)?;
        let mut batch = data.try_into_record_batch()?;
        if let Some(column) = &project {
            batch = batch.project(&[batch.schema().index_of(column)?])?;
        }
        let rows = begin..begin + batch.num_rows();
        begin = rows.end;
        match &live {
            Some(live) => only_live(&batch, live, rows),
            None => Ok(batch),
        }
    })))
}

/// What a file stores of the column `name`, if it does.
fn stored_column(
    snapshot: &KernelSnapshot,
    physical: &StructType,
    name: &str,
) -> KernelResult<Option<KernelSchemaRef>> {
    let schema = snapshot.schema();
    let field = schema.field(name).ok_or_else(|| KernelError::missing_column(name))?;
    let mode = snapshot.table_configuration().column_mapping_mode();
    let stored = field.physical_name(mode);
    match physical.field(stored) {
        Some(_) => Ok(Some(physical.project(&[stored])?)),
        None => Ok(None),
    }
}

/// Of the rows of a batch, which are those of `rows` in its file, those that `live` does not say are
/// deleted; it may end early.
fn only_live(
    batch: &RecordBatch,
    live: &[bool],
    rows: std::ops::Range<usize>,
) -> KernelResult<RecordBatch> {
    let is_live = |row| live.get(row).copied().unwrap_or(true);
    let live: BooleanArray = rows.map(|row| Some(is_live(row))).collect();
    Ok(filter_record_batch(batch, &live)?)
}

/// The files, as the kernel wants to be told which to take away.
pub(super) fn to_remove(files: &[LiveFile]) -> KernelResult<Option<FilteredEngineData>> {
    let located = files.iter().map(|file| {
        let located = file.inner.downcast_ref::<Located>();
        located.ok_or_else(|| KernelError::generic("a data file of another format"))
    });
    let located = located.collect::<KernelResult<Vec<_>>>()?;
    if located.is_empty() {
        return Ok(None);
    }
    let described: Vec<&RecordBatch> = located.iter().map(|file| &*file.described).collect();
    let rows: Vec<(usize, usize)> = located.iter().map(|file| file.row).enumerate().collect();
    let rows = interleave_record_batch(&described, &rows)?;
    Ok(Some(FilteredEngineData::with_all_rows_selected(Box::new(ArrowEngineData::new(rows)))))
}

/// Refuses a table that does not let us take rows away.
pub(super) fn check_removable(uri: &str, snapshot: &KernelSnapshot) -> Result<()> {
    let refused = [
        (TableFeature::AppendOnly, "delta.appendOnly", "rows may only be added to it"),
        (
            TableFeature::ChangeDataFeed,
            "delta.enableChangeDataFeed",
            "it keeps a feed of its changes, which Lakefeed cannot write",
        ),
        (
            TableFeature::RowTracking,
            "delta.enableRowTracking",
            "it gives each row a number to keep, which Lakefeed cannot",
        ),
    ];
    let table = snapshot.table_configuration();
    match refused.iter().find(|(feature, ..)| table.is_feature_enabled(feature)) {
        None => Ok(()),
        Some((_, property, reason)) => Err(Error::new(
            ErrorKind::TableUnsupported,
            format!("no rows can be taken away from the table: {reason}"),
        )
        .with_object(uri)
        .with_advice(format!(
            "turn that off (ALTER TABLE t SET TBLPROPERTIES ('{property}' = 'false')), or remove \
             the rows with an engine that can"
        ))),
    }
}
