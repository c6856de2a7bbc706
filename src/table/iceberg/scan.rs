//! Reading a table: its manifests, and the rows of its files.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use iceberg::spec::{
    DataContentType, DataFile, DataFileFormat, FormatVersion, Manifest, ManifestContentType,
    ManifestFile, ManifestList, TableMetadata,
};
use object_store::ObjectStore;
use object_store::path::Path;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;

use super::IcebergTable;
use super::data_file::text_bound;
use super::layout::field_id;
use super::metadata::{library_error, unsupported};
use crate::error::{Error, ErrorKind, Result};
use crate::memory::{MemoryBudget, display_bytes};
use crate::parquet::StoredFile;
use crate::store::storage_error;
use crate::table::reading::{count_texts, foreign, unreadable};
use crate::table::{Layout, LiveFile, Snapshot, Sources};

/// What is read of a file's end at once: more than most footers.
const FOOTER_BYTES: u64 = 64 << 10;
/// Rows of a batch.
const BATCH_ROWS: usize = 8_192;

/// A data file as its manifest has it.
struct Located {
    file: DataFile,
    path: Path,
}

impl IcebergTable {
    /// The list of manifests of a snapshot of the table; nothing where it has no snapshot.
    ///
    /// # Errors
    /// [`ErrorKind::TableInvalid`] where it is missing, [`ErrorKind::TableTooLarge`], and those of the
    /// storage.
    pub(super) async fn manifest_list(&self, metadata: &TableMetadata) -> Result<Option<Bytes>> {
        let Some(snapshot) = metadata.current_snapshot() else { return Ok(None) };
        let path = self.key_of(metadata, snapshot.manifest_list())?;
        Ok(Some(self.get(&path, self.manifest_list_bytes_max).await?))
    }

    async fn get(&self, path: &Path, bytes_max: u64) -> Result<Bytes> {
        match self.store.get_opts(path, object_store::GetOptions::default()).await {
            Ok(found) if found.meta.size > bytes_max => {
                let (size, max) = (display_bytes(found.meta.size), display_bytes(bytes_max));
                Err(Error::new(
                    ErrorKind::TableTooLarge,
                    format!(
                        "a file of the table's metadata takes {size}, and at most {max} are loaded"
                    ),
                )
                .with_object(path.as_ref())
                .with_advice("rewrite the table's manifests, or give Lakefeed more memory"))
            }
            Ok(found) => found.bytes().await.map_err(|cause| storage_error(path.as_ref(), cause)),
            Err(object_store::Error::NotFound { .. }) => Err(Error::new(
                ErrorKind::TableInvalid,
                "a file of the table's metadata is missing",
            )
            .with_object(path.as_ref())
            .with_advice("look at the table with another reader; nothing was written")),
            Err(cause) => Err(storage_error(path.as_ref(), cause)),
        }
    }

    /// Where a file is that the metadata names: below the table's root, wherever else it says.
    fn key_of(&self, metadata: &TableMetadata, named: &str) -> Result<Path> {
        let below = named.strip_prefix(metadata.location()).and_then(|it| it.strip_prefix('/'));
        let below = below.ok_or_else(|| {
            unsupported(
                &self.uri,
                format!("a file of the table is elsewhere: {named}"),
                "rewrite the table's files into its folder",
            )
        })?;
        Path::parse(format!("{}/{below}", self.root)).map_err(|cause| {
            unsupported(
                &self.uri,
                format!("a file has a name that we cannot address: {named}"),
                "rewrite it under another name",
            )
            .with_cause(cause)
        })
    }

    /// The data files of a snapshot.
    ///
    /// # Errors
    /// [`ErrorKind::TableUnsupported`] where some of their rows are deleted, or where they are no
    /// Parquet; those of [`IcebergTable::manifest_list`].
    async fn located(&self, metadata: &TableMetadata) -> Result<Vec<Located>> {
        let Some(list) = self.manifest_list(metadata).await? else { return Ok(Vec::new()) };
        let damaged = |cause| library_error(&self.uri, cause);
        let list = ManifestList::parse_with_version(&list, FormatVersion::V2).map_err(damaged)?;
        let mut located = Vec::new();
        for manifest in list.entries() {
            if manifest.content == ManifestContentType::Deletes && is_live(manifest) {
                return Err(unsupported(
                    &self.uri,
                    "rows of the table are deleted by files beside the data",
                    "rewrite the table's data files with the engine that wrote those",
                ));
            }
            let path = self.key_of(metadata, &manifest.manifest_path)?;
            let body = self.get(&path, self.manifest_list_bytes_max).await?;
            for entry in Manifest::parse_avro(&body).map_err(damaged)?.entries() {
                let file = entry.data_file();
                if !entry.is_alive() || file.content_type() != DataContentType::Data {
                    continue;
                }
                if file.file_format() != DataFileFormat::Parquet {
                    return Err(unsupported(
                        &self.uri,
                        "some of its files are no Parquet",
                        "rewrite the table's data files as Parquet",
                    ));
                }
                let path = self.key_of(metadata, file.file_path())?;
                located.push(Located { file: file.clone(), path });
            }
        }
        // As they were added.
        located.reverse();
        Ok(located)
    }

    /// See [`crate::table::Table::files_with`].
    pub(super) async fn live_files(
        &self,
        snapshot: &Snapshot,
        sources: &Sources,
    ) -> Result<Vec<LiveFile>> {
        let metadata = &self.loaded(snapshot)?.metadata;
        let may_hold = |located: &Located| match sources {
            Sources::All => true,
            Sources::Named { column, names } => {
                let id = metadata.current_schema().field_id_by_name(column);
                id.is_none_or(|id| may_hold(&located.file, id, names))
            }
        };
        let located = self.located(metadata).await?.into_iter().filter(may_hold);
        let file = |located: Located| LiveFile {
            id: located.file.file_path().to_owned(),
            inner: Arc::new(located),
        };
        Ok(located.map(file).collect())
    }

    /// See [`crate::table::Table::rows_of`].
    pub(super) async fn read_rows(
        &self,
        snapshot: &Snapshot,
        file: &LiveFile,
        only: Option<&str>,
        budget: &MemoryBudget,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let columns = self.loaded(snapshot)?.metadata.current_schema().as_struct().fields().len();
        if only.is_none() && columns != snapshot.layout.schema.fields().len() {
            return Err(unsupported(
                &self.uri,
                "a data file would be read whole, and the table has columns that Lakefeed cannot write",
                "read it with another engine",
            ));
        }
        let located = file.inner.downcast_ref::<Located>().ok_or_else(|| foreign(file))?;
        let path = located.path.clone();
        self.open(&snapshot.layout, located, only, Some(budget))
            .await
            .map_err(|cause| unreadable(&path, cause))?
    }

    async fn open(
        &self,
        layout: &Arc<Layout>,
        located: &Located,
        only: Option<&str>,
        budget: Option<&MemoryBudget>,
    ) -> Result<Result<BoxStream<'static, Result<RecordBatch>>>, ParquetError> {
        let (path, size) = (located.path.clone(), located.file.file_size_in_bytes());
        let end_bytes = FOOTER_BYTES.min(size);
        let mut file = StoredFile::open(&self.store, path.clone(), size, end_bytes).await?;
        let metadata = file.metadata().await?;
        let wanted = Wanted::new(layout, only, metadata.schema());
        let mask = ProjectionMask::roots(
            metadata.parquet_schema(),
            wanted.columns.iter().filter_map(|column| column.stored),
        );
        let held = metadata.metadata().row_groups().iter().map(|group| held_bytes(group, &mask));
        let held = budget
            .map(|budget| budget.try_reserve("a data file that is read", held.max().unwrap_or(0)));
        let held = match held.transpose() {
            Ok(held) => held,
            Err(over) => return Ok(Err(over)),
        };
        let rows = ParquetRecordBatchStreamBuilder::new_with_metadata(file, metadata.clone())
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS)
            .build()?;
        Ok(Ok(rows
            .map(move |batch| {
                let _ = &held;
                batch.map_err(|cause| unreadable(&path, cause)).and_then(|it| wanted.fit(&it))
            })
            .boxed()))
    }

    /// See [`crate::table::Table::some_rows`].
    pub(super) async fn first_rows(
        &self,
        snapshot: &Snapshot,
        rows_max: usize,
    ) -> Result<Vec<RecordBatch>> {
        let mut left = rows_max;
        let mut batches = Vec::new();
        for located in self.located(&self.loaded(snapshot)?.metadata).await? {
            let opened = self.open(&snapshot.layout, &located, None, None).await;
            let mut rows = opened.map_err(|cause| unreadable(&located.path, cause))??;
            while left > 0
                && let Some(batch) = rows.try_next().await?
            {
                let batch = batch.slice(0, batch.num_rows().min(left));
                left -= batch.num_rows();
                batches.push(batch);
            }
            if left == 0 {
                break;
            }
        }
        Ok(batches)
    }

    /// See [`crate::table::Table::count_rows_by`].
    pub(super) async fn count_by(
        &self,
        snapshot: &Snapshot,
        column: &str,
    ) -> Result<Vec<(String, u64)>> {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for located in self.located(&self.loaded(snapshot)?.metadata).await? {
            let opened = self.open(&snapshot.layout, &located, Some(column), None).await;
            let mut rows = opened.map_err(|cause| unreadable(&located.path, cause))??;
            while let Some(batch) = rows.try_next().await? {
                count_texts(&mut counts, &batch);
            }
        }
        Ok(counts.into_iter().collect())
    }
}

/// Whether a manifest names files of the table at all.
fn is_live(manifest: &ManifestFile) -> bool {
    manifest.has_added_files() || manifest.has_existing_files()
}

/// Whether a file may hold rows of one of `names`, which are in its column `id`.
fn may_hold(file: &DataFile, id: i32, names: &[String]) -> bool {
    let lower = text_bound(file.lower_bounds(), id);
    let upper = text_bound(file.upper_bounds(), id);
    names.iter().any(|name| {
        lower.is_none_or(|lower| lower <= name.as_str())
            && upper.is_none_or(|upper| name.as_str() <= upper)
    })
}

fn held_bytes(group: &RowGroupMetaData, mask: &ProjectionMask) -> u64 {
    let columns = group.columns().iter().enumerate();
    let read = columns.filter(|(leaf, _)| mask.leaf_included(*leaf));
    read.map(|(_, column)| column.compressed_size().unsigned_abs()).sum()
}

/// The columns that are wanted of a file, and where they come from.
struct Wanted {
    schema: SchemaRef,
    columns: Vec<WantedColumn>,
}

struct WantedColumn {
    data_type: DataType,
    id: i32,
    /// Its position among the file's columns; nothing where it was added later.
    stored: Option<usize>,
}

impl Wanted {
    /// Columns are found by their ids, whatever they are called.
    fn new(layout: &Layout, only: Option<&str>, stored: &SchemaRef) -> Self {
        let ids: HashMap<i32, usize> = stored
            .fields()
            .iter()
            .enumerate()
            .filter_map(|(position, field)| Some((field_id(field)?, position)))
            .collect();
        let is_wanted = |name: &String| only.is_none_or(|only| only == name);
        let positions: Vec<usize> = (0..layout.schema.fields().len())
            .filter(|&column| is_wanted(layout.schema.field(column).name()))
            .collect();
        let column = |&column: &usize| {
            let field = layout.file_schema.field(column);
            let id = field_id(field).unwrap_or_default();
            WantedColumn { data_type: field.data_type().clone(), id, stored: ids.get(&id).copied() }
        };
        let fields = positions.iter().map(|&column| layout.schema.fields()[column].clone());
        Self {
            schema: Arc::new(arrow::datatypes::Schema::new(fields.collect::<Vec<_>>())),
            columns: positions.iter().map(column).collect(),
        }
    }

    /// The wanted columns of a batch, as the table has them: a file may be older than a wider type.
    fn fit(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let schema = batch.schema();
        let read = |id: i32| schema.fields().iter().position(|it| field_id(it) == Some(id));
        let column = |wanted: &WantedColumn| -> Result<ArrayRef> {
            match wanted.stored.and_then(|_| read(wanted.id)) {
                Some(position) => cast(batch.column(position), &wanted.data_type).map_err(unfit),
                None => Ok(new_null_array(&wanted.data_type, batch.num_rows())),
            }
        };
        let columns = self.columns.iter().map(column).collect::<Result<Vec<_>>>()?;
        let options =
            arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(unfit)
    }
}

fn unfit(cause: arrow::error::ArrowError) -> Error {
    Error::new(ErrorKind::TableInvalid, "a data file holds other types than its table")
        .with_cause(cause)
}
