//! The data files of a checkpoint, in files of their own beside the log.
//!
//! Where a table has the feature `v2Checkpoint`, a checkpoint names sidecars, each of which says of some
//! data files that they are there or were taken away; the checkpoint itself stays small, and readers
//! take the sidecars side by side, or leave them. A sidecar has a name of its own, so one that no
//! checkpoint names is one that was left behind, or is still being written:
//! <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#sidecar-files>

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, StructArray, new_null_array,
};
use arrow::compute::{filter_record_batch, is_not_null, not, or};
use arrow::datatypes::{DataType, SchemaRef};
use chrono::{DateTime, Utc};
use delta_kernel::snapshot::Snapshot as KernelSnapshot;
use delta_kernel::table_features::TableFeature;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use serde::Deserialize;

use super::DeltaTable;
use super::checkpoint::{FOOTER_BYTES, ROW_GROUP_ROWS_MAX};
use crate::error::{Error, ErrorKind, Result};
use crate::memory::display_bytes;
use crate::parquet::{StoredFile, StreamedFile};
use crate::store::storage_error;

const FOLDER: &str = "_sidecars";
/// The column of a checkpoint that names its sidecars.
const COLUMN: &str = "sidecar";
const PATH: &str = "path";
/// The columns of a checkpoint that tell of data files.
const FILE_ACTIONS: [&str; 2] = ["add", "remove"];
/// A sidecar ends when it tells of so many.
const FILE_ACTIONS_MAX: usize = 250_000;
/// A younger sidecar may be one whose checkpoint is still being written: so the protocol has it.
const AGE_MIN: Duration = Duration::from_secs(24 * 3600);
/// Sidecars that are taken away at once.
const FILES_REMOVED_MAX: usize = 1_000;
/// Checkpoints that are looked into for that; where there are more, nothing is taken away.
pub(super) const CHECKPOINTS_MAX: usize = 1_000;
const CHECKPOINTS_IN_FLIGHT_MAX: usize = 8;
/// The largest checkpoint of JSON that is looked into.
const JSON_BYTES_MAX: u64 = 4 << 20;

/// Whether a table's checkpoints are to have sidecars.
pub(super) fn are_wanted(snapshot: &KernelSnapshot) -> bool {
    snapshot.table_configuration().is_feature_supported(&TableFeature::V2Checkpoint)
}

/// The sidecars of a checkpoint on its way.
pub(super) struct Sidecars<'a> {
    table: &'a DeltaTable,
    open: Option<Open>,
    closed: Vec<Sidecar>,
}

struct Open {
    name: String,
    file: StreamedFile,
    file_actions: usize,
}

/// A finished sidecar.
struct Sidecar {
    name: String,
    bytes: u64,
    modified_millis: i64,
}

impl<'a> Sidecars<'a> {
    pub fn new(table: &'a DeltaTable) -> Self {
        Self { table, open: None, closed: Vec::new() }
    }

    /// Takes what `actions` tell of data files, and gives back the others.
    ///
    /// # Errors
    /// Those of [`StreamedFile::write`].
    pub async fn take(&mut self, actions: &RecordBatch) -> Result<RecordBatch> {
        let (of_files, others) = split(actions).map_err(internal)?;
        if of_files.num_rows() > 0 {
            let open = match &mut self.open {
                Some(open) => open,
                None => self.open.insert(self.table.open_sidecar(of_files.schema())?),
            };
            open.file.write(&of_files).await?;
            open.file_actions += of_files.num_rows();
            if open.file_actions >= FILE_ACTIONS_MAX {
                self.close().await?;
            }
        }
        Ok(others)
    }

    async fn close(&mut self) -> Result<()> {
        let Some(Open { name, file, .. }) = self.open.take() else { return Ok(()) };
        let modified_millis = self.table.clock.now().timestamp_millis();
        let finished = file.finish().await;
        // Also where the answer was lost: it may be there.
        let bytes = finished.as_ref().map_or(0, |(bytes, _)| *bytes);
        self.closed.push(Sidecar { name, bytes, modified_millis });
        finished.map(|_| ())
    }

    /// Ends the last sidecar; the actions that name them all, in a checkpoint's columns.
    ///
    /// # Errors
    /// Those of [`StreamedFile::finish`].
    pub async fn finish(&mut self, columns: &SchemaRef) -> Result<RecordBatch> {
        self.close().await?;
        name_all(&self.closed, columns).map_err(internal)
    }

    /// Their sizes, together.
    pub fn bytes(&self) -> u64 {
        self.closed.iter().map(|sidecar| sidecar.bytes).sum()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.closed.len()
    }

    /// Deletes them all: nobody names them, and nobody will. Best effort.
    pub async fn discard(self) {
        if let Some(open) = self.open {
            open.file.abort().await;
        }
        for Sidecar { name, .. } in self.closed {
            let path = self.table.sidecar(&name);
            if let Err(cause) = self.table.store.delete(&path).await {
                tracing::debug!(%path, %cause, "a sidecar stays behind");
            }
        }
    }
}

/// What tells of data files, in those columns alone; and everything else.
fn split(actions: &RecordBatch) -> arrow::error::Result<(RecordBatch, RecordBatch)> {
    let schema = actions.schema();
    let [add, remove] = [schema.index_of(FILE_ACTIONS[0])?, schema.index_of(FILE_ACTIONS[1])?];
    let is_there = |column: usize| is_not_null(actions.column(column));
    let is_of_file = or(&is_there(add)?, &is_there(remove)?)?;
    let of_files = filter_record_batch(&actions.project(&[add, remove])?, &is_of_file)?;
    Ok((of_files, filter_record_batch(actions, &not(&is_of_file)?)?))
}

/// One row for each sidecar: all columns are null but the one that names it.
fn name_all(sidecars: &[Sidecar], columns: &SchemaRef) -> arrow::error::Result<RecordBatch> {
    let rows = sidecars.len();
    let size = |sidecar: &Sidecar| i64::try_from(sidecar.bytes).unwrap_or(i64::MAX);
    let value = |name: &str, data_type: &DataType| -> ArrayRef {
        match name {
            PATH => Arc::new(StringArray::from_iter_values(sidecars.iter().map(|it| &it.name))),
            "sizeInBytes" => Arc::new(Int64Array::from_iter_values(sidecars.iter().map(size))),
            "modificationTime" => {
                Arc::new(Int64Array::from_iter_values(sidecars.iter().map(|it| it.modified_millis)))
            }
            _ => new_null_array(data_type, rows),
        }
    };
    let column = |field: &Arc<arrow::datatypes::Field>| -> arrow::error::Result<ArrayRef> {
        match field.data_type() {
            DataType::Struct(fields) if field.name() == COLUMN => {
                let values = fields.iter().map(|field| value(field.name(), field.data_type()));
                Ok(Arc::new(StructArray::try_new(fields.clone(), values.collect(), None)?))
            }
            data_type => Ok(new_null_array(data_type, rows)),
        }
    };
    let columns_of_rows = columns.fields().iter().map(column).collect::<Result<_, _>>()?;
    RecordBatch::try_new(Arc::clone(columns), columns_of_rows)
}

fn internal(cause: arrow::error::ArrowError) -> Error {
    Error::new(ErrorKind::Internal, "a checkpoint cannot be told apart").with_cause(cause)
}

impl DeltaTable {
    /// Where the sidecar of this name is.
    pub(super) fn sidecar(&self, name: &str) -> Path {
        self.log().join(FOLDER).join(name)
    }

    fn open_sidecar(&self, schema: SchemaRef) -> Result<Open> {
        let name = format!("{}.parquet", self.entropy.uuid());
        let properties =
            WriterProperties::builder().set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX));
        let path = self.sidecar(&name);
        let file = StreamedFile::new(&self.store, path, self.part_bytes, schema, properties)?;
        Ok(Open { name, file, file_actions: 0 })
    }

    /// Takes away sidecars that are older than `horizon` and that none of `checkpoints`, which are all
    /// that there are, names; how many.
    ///
    /// # Errors
    /// Those of the storage. What could not be deleted is left for the next time.
    pub(super) async fn remove_unnamed_sidecars(
        &self,
        checkpoints: Vec<ObjectMeta>,
        horizon: DateTime<Utc>,
    ) -> Result<u64> {
        let horizon = horizon.min(self.clock.now() - AGE_MIN);
        let folder = self.log().join(FOLDER);
        let is_old = |file: &ObjectMeta| std::future::ready(file.last_modified < horizon);
        let old = self.store.list(Some(&folder)).try_filter(is_old).take(FILES_REMOVED_MAX);
        let name = |file: ObjectMeta| file.location.filename().map(str::to_owned);
        let mut unnamed: BTreeSet<String> =
            match old.try_filter_map(async |file| Ok(name(file))).try_collect().await {
                Ok(unnamed) => unnamed,
                Err(object_store::Error::NotFound { .. }) => return Ok(0),
                Err(cause) => return Err(storage_error(folder.as_ref(), cause)),
            };
        if unnamed.is_empty() || checkpoints.len() > CHECKPOINTS_MAX {
            return Ok(0);
        }
        let mut named = stream::iter(checkpoints)
            .map(async |file| self.sidecars_of(&file.location, file.size).await)
            .buffer_unordered(CHECKPOINTS_IN_FLIGHT_MAX);
        while let Some(names) = named.try_next().await? {
            for name in names {
                unnamed.remove(&name);
            }
        }
        let paths: Vec<_> = unnamed.iter().map(|name| Ok(self.sidecar(name))).collect();
        let removals = self.store.delete_stream(stream::iter(paths).boxed());
        Ok(removals.filter(|removal| std::future::ready(removal.is_ok())).count().await as u64)
    }

    /// The names of the sidecars of a checkpoint.
    ///
    /// # Errors
    /// [`ErrorKind::StorageUnavailable`], also for what is no checkpoint.
    pub(super) async fn sidecars_of(&self, path: &Path, size: u64) -> Result<Vec<String>> {
        if path.extension() == Some("json") {
            return self.sidecars_in_json(path, size).await;
        }
        self.sidecars_in_parquet(path, size).await.map_err(|cause| {
            Error::new(ErrorKind::StorageUnavailable, "a checkpoint cannot be read")
                .with_object(path.as_ref())
                .with_cause(cause)
        })
    }

    async fn sidecars_in_parquet(
        &self,
        path: &Path,
        size: u64,
    ) -> Result<Vec<String>, ParquetError> {
        let mut file =
            StoredFile::open(&self.store, path.clone(), size, FOOTER_BYTES.min(size)).await?;
        let footer = file.metadata().await?;
        let leaves = footer.parquet_schema().columns();
        let is_path = |leaf: &str| leaf == format!("{COLUMN}.{PATH}");
        let Some(leaf) = leaves.iter().position(|leaf| is_path(&leaf.path().string())) else {
            return Ok(Vec::new());
        };
        let paths = ProjectionMask::leaves(footer.parquet_schema(), [leaf]);
        let rows = ParquetRecordBatchStreamBuilder::new_with_metadata(file, footer);
        let mut rows = rows.with_projection(paths).build()?;
        let mut names = Vec::new();
        while let Some(batch) = rows.try_next().await? {
            let Some(sidecars) = batch.column(0).as_struct_opt() else { continue };
            let Some(paths) = sidecars.column(0).as_string_opt::<i32>() else { continue };
            // A path may not be null: where there is no sidecar, it is some text.
            let is_there = (0..batch.num_rows()).filter(|&row| sidecars.is_valid(row));
            names.extend(is_there.map(|row| name_in(paths.value(row))));
        }
        Ok(names)
    }

    async fn sidecars_in_json(&self, path: &Path, size: u64) -> Result<Vec<String>> {
        if size > JSON_BYTES_MAX {
            return Err(Error::new(
                ErrorKind::TableTooLarge,
                format!("a checkpoint of JSON has more than {}", display_bytes(JSON_BYTES_MAX)),
            )
            .with_object(path.as_ref()));
        }
        let failed = |cause| storage_error(path.as_ref(), cause);
        let body = self.store.get(path).await.map_err(failed)?.bytes().await.map_err(failed)?;
        let lines = body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let actions = lines.map(serde_json::from_slice::<Action>).collect::<Result<Vec<_>, _>>();
        let actions = actions.map_err(|cause| {
            Error::new(ErrorKind::TableInvalid, "a checkpoint is not what it says it is")
                .with_object(path.as_ref())
                .with_cause(cause)
        })?;
        Ok(actions
            .iter()
            .filter_map(|it| it.sidecar.as_ref())
            .map(|it| name_in(&it.path))
            .collect())
    }
}

/// Of a line of a checkpoint of JSON, what names a sidecar.
#[derive(Deserialize)]
struct Action {
    sidecar: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    path: String,
}

/// The last part of a sidecar's path, which may be a whole address.
fn name_in(path: &str) -> String {
    path.rsplit('/').next().unwrap_or_default().to_owned()
}
