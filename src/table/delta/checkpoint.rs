//! Checkpoints: a version of the table summed up in one file, so that nobody has to read every
//! commit before it.
//!
//! The kernel says what is in one (tombstones within their retention, pointers of ledgers, which
//! never expire); it is written as it comes, a row group at a time. No promise rests on it: one that
//! was not written is written later, and one of which only half was sent is not there.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use bytes::Bytes;
use delta_kernel::ActionReconciliationIterator;
use delta_kernel::engine::arrow_data::EngineDataArrowExt;
use delta_kernel::snapshot::{Snapshot as KernelSnapshot, SnapshotRef};
use object_store::ObjectStoreExt;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use tokio::io::AsyncWriteExt;

use super::hint::LastCheckpoint;
use super::{DeltaTable, expiry, hint, slot};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::store::storage_error;
use crate::table::Checkpoint;

/// Versions between two checkpoints, where the table does not say (`delta.checkpointInterval`).
const INTERVAL_VERSIONS: u64 = 100;
/// Whoever commits a multiple of the interval writes the checkpoint. When that one did not, for so
/// many intervals, the next in ten does: all at once would do the same work.
const OVERDUE_INTERVALS: u64 = 2;
const OVERDUE_VERSIONS: u64 = 10;
/// One is not begun with less time than this, and is given up with less than that.
const TIME_TO_BEGIN_MIN: Duration = Duration::from_secs(10);
const TIME_TO_END_MIN: Duration = Duration::from_secs(5);
/// A row group ends when it has so much, or so many rows.
const ROW_GROUP_BYTES_MAX: usize = 8 << 20;
const ROW_GROUP_ROWS_MAX: usize = 50_000;
/// The parts that are sent; one at a time is on its way while the next fills.
const PART_BYTES: usize = 8 << 20;
const PARTS_IN_FLIGHT_MAX: usize = 1;
/// What writing one holds: an open row group, its encoded pages, the parts, and the batches and
/// names of files that the kernel compares.
const HELD_BYTES: u64 = 96 << 20;

/// Whether whoever has committed `version`, on top of what was read from the checkpoint before
/// (`None`: from the first commit), writes one.
pub(super) fn is_due(version: u64, before: Option<u64>, interval: u64) -> bool {
    let since = version.saturating_sub(before.unwrap_or(0));
    let is_overdue = since >= interval.saturating_mul(OVERDUE_INTERVALS);
    since > 0
        && (version.is_multiple_of(interval)
            || is_overdue && version.is_multiple_of(OVERDUE_VERSIONS))
}

/// The interval between checkpoints that the table wants.
pub(super) fn interval(snapshot: &KernelSnapshot) -> u64 {
    snapshot.table_properties().checkpoint_interval.map_or(INTERVAL_VERSIONS, Into::into)
}

impl DeltaTable {
    /// Sums the table up to `version`, and takes away what the log need not keep any more.
    ///
    /// # Errors
    /// Those of the storage and of the table, and [`ErrorKind::OverBudget`]. Nothing is lost.
    pub(super) async fn write_checkpoint(
        &self,
        environment: &Environment,
        version: u64,
    ) -> Result<Checkpoint> {
        let path = self.checkpoint_path(version);
        let upto = hint::summed_up_to(self.store.as_ref(), &self.log()).await?;
        if upto >= Some(version) || self.is_there(&path).await? {
            return Ok(Checkpoint::There);
        }
        if !has_time(environment, TIME_TO_BEGIN_MIN) {
            return Ok(Checkpoint::NoTime);
        }
        let _held = environment.budget.try_reserve("a checkpoint", HELD_BYTES)?;
        let at_version = move |engine: &dyn delta_kernel::Engine, url: &url::Url| {
            let snapshot: SnapshotRef =
                KernelSnapshot::builder_for(url).at_version(version).build(engine)?;
            let retention = expiry::retention(&snapshot);
            Ok((snapshot.create_checkpoint_writer(engine)?.checkpoint_data(engine)?, retention))
        };
        let (actions, retention) = self.blocking(at_version).await?;
        let state = actions.state();
        let mut file = CheckpointFile::new(self, path);
        match self.stream(environment, actions, &mut file).await {
            Ok(true) => {}
            Ok(false) => {
                file.abort().await;
                return Ok(Checkpoint::NoTime);
            }
            Err(error) => {
                file.abort().await;
                return Err(error);
            }
        }
        let size_in_bytes = file.finish().await?;
        let checkpoint = LastCheckpoint {
            version,
            size: Some(state.actions_count()),
            size_in_bytes: Some(size_in_bytes),
            num_of_add_files: Some(state.add_actions_count()),
        };
        hint::advance(self.store.as_ref(), &self.log(), &checkpoint).await?;
        let log_files_removed = match retention {
            Some(retention) => self.remove_expired_log_files(retention).await?,
            None => 0,
        };
        Ok(Checkpoint::Written { bytes: size_in_bytes, log_files_removed })
    }

    /// Writes the actions to the file; whether there was time for all of them.
    async fn stream(
        &self,
        environment: &Environment,
        mut actions: ActionReconciliationIterator,
        file: &mut CheckpointFile,
    ) -> Result<bool> {
        loop {
            let (rest, batch) = self.next_actions(actions).await?;
            let Some(batch) = batch else { break };
            actions = rest;
            file.write(&batch).await?;
            if !has_time(environment, TIME_TO_END_MIN) {
                return Ok(false);
            }
        }
        file.encode_rest().await?;
        Ok(true)
    }

    /// Every step of the kernel may read files, and blocks.
    async fn next_actions(
        &self,
        mut actions: ActionReconciliationIterator,
    ) -> Result<(ActionReconciliationIterator, Option<RecordBatch>)> {
        self.blocking(move |_, _| {
            let Some(selected) = actions.next() else { return Ok((actions, None)) };
            let batch = selected?.apply_selection_vector()?.try_into_record_batch()?;
            Ok((actions, Some(batch)))
        })
        .await
    }

    fn checkpoint_path(&self, version: u64) -> Path {
        let digits = slot::VERSION_DIGITS;
        self.log().join(format!("{version:0digits$}.checkpoint.parquet"))
    }

    async fn is_there(&self, path: &Path) -> Result<bool> {
        match self.store.head(path).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(cause) => Err(storage_error(path.as_ref(), cause)),
        }
    }
}

fn has_time(environment: &Environment, min: Duration) -> bool {
    let left = |ends: Duration| ends.saturating_sub(environment.clock.monotonic());
    environment.time_box.is_none_or(|time_box| left(time_box.ends) >= min)
}

/// A checkpoint on its way. Others may write the same one, with other bytes and the same meaning;
/// whoever ends last has it, and nobody deletes it.
struct CheckpointFile {
    path: Path,
    encoder: Option<ArrowWriter<Vec<u8>>>,
    upload: BufWriter,
    bytes: u64,
}

impl CheckpointFile {
    fn new(table: &DeltaTable, path: Path) -> Self {
        let part_bytes = table.part_bytes.unwrap_or(PART_BYTES);
        let upload = BufWriter::with_capacity(Arc::clone(&table.store), path.clone(), part_bytes)
            .with_max_concurrency(PARTS_IN_FLIGHT_MAX);
        Self { path, encoder: None, upload, bytes: 0 }
    }

    async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            none => {
                let encoder = encoder_like(batch);
                none.insert(encoder.map_err(|cause| encode_error(&self.path, cause))?)
            }
        };
        let written = encoder.write(batch);
        let is_full = encoder.in_progress_size() >= ROW_GROUP_BYTES_MAX
            || encoder.in_progress_rows() >= ROW_GROUP_ROWS_MAX;
        let written = if is_full { written.and_then(|()| encoder.flush()) } else { written };
        written.map_err(|cause| encode_error(&self.path, cause))?;
        self.send().await
    }

    /// Sends what is encoded.
    async fn send(&mut self) -> Result<()> {
        let Some(encoder) = &mut self.encoder else { return Ok(()) };
        encoder.sync().map_err(|cause| encode_error(&self.path, cause.into()))?;
        let encoded = Bytes::from(std::mem::take(encoder.inner_mut()));
        self.bytes += encoded.len() as u64;
        self.upload.put(encoded).await.map_err(|cause| storage_error(self.path.as_ref(), cause))
    }

    /// Sends the rest, but for the last part.
    async fn encode_rest(&mut self) -> Result<()> {
        if let Some(encoder) = &mut self.encoder {
            encoder.finish().map_err(|cause| encode_error(&self.path, cause))?;
        }
        self.send().await
    }

    /// Sends the last part, after which it is there; its size. Where that fails, the upload is given
    /// up.
    async fn finish(mut self) -> Result<u64> {
        self.upload.shutdown().await.map_err(|cause| {
            Error::new(ErrorKind::StorageUnavailable, "the checkpoint was not written")
                .with_object(self.path.as_ref())
                .with_cause(cause)
        })?;
        Ok(self.bytes)
    }

    async fn abort(mut self) {
        if let Err(error) = self.upload.abort().await {
            tracing::debug!(object = %self.path, %error, "an upload could not be aborted");
        }
    }
}

fn encoder_like(batch: &RecordBatch) -> Result<ArrowWriter<Vec<u8>>, ParquetError> {
    let properties = WriterProperties::builder()
        .set_created_by(concat!("lakefeed ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(None)
        .set_max_row_group_bytes(None)
        .build();
    ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))
}

fn encode_error(path: &Path, cause: ParquetError) -> Error {
    Error::new(ErrorKind::Internal, "a checkpoint could not be encoded")
        .with_object(path.as_ref())
        .with_cause(cause)
}
