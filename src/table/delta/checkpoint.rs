//! Checkpoints: a version of the table summed up in one file, so that nobody has to read every
//! commit before it.
//!
//! The kernel says what is in one (tombstones within their retention, pointers of ledgers, which
//! never expire); it is written as it comes, a row group at a time. Where the table has the feature, what
//! tells of data files goes to sidecars. No promise rests on it: one that
//! was not written is written later, and one of which only half was sent is not there.

use std::time::Duration;

use arrow::array::RecordBatch;
use delta_kernel::engine::arrow_data::EngineDataArrowExt;
use delta_kernel::snapshot::{Snapshot as KernelSnapshot, SnapshotRef};
use delta_kernel::{ActionReconciliationIterator, Engine};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use url::Url;

use super::hint::LastCheckpoint;
use super::sidecars::{self, Sidecars};
use super::{DeltaTable, expiry, hint, slot};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::memory::Reservation;
use crate::parquet::{StoredFile, StreamedFile};
use crate::store::storage_error;
use crate::table::Checkpoint;
use crate::table::offer::is_there;

/// Versions between two checkpoints, where the table does not say (`delta.checkpointInterval`).
const INTERVAL_VERSIONS: u64 = 100;
/// Whoever commits a multiple of the interval writes the checkpoint. When that one did not, for so
/// many intervals, the next in ten does: all at once would do the same work.
const OVERDUE_INTERVALS: u64 = 2;
const OVERDUE_VERSIONS: u64 = 10;
/// One is not begun with less time than this, and is given up with less than that.
const TIME_TO_BEGIN_MIN: Duration = Duration::from_secs(10);
const TIME_TO_END_MIN: Duration = Duration::from_secs(5);
/// A row group ends when it has so many rows, if it is not full before.
pub(super) const ROW_GROUP_ROWS_MAX: usize = 50_000;
/// What writing one holds: an open row group, its encoded pages, the parts, and the batches and
/// names of files that the kernel compares; a row group of the checkpoint before comes on top.
const HELD_BYTES: u64 = 96 << 20;

/// What is read of another checkpoint's end at once: more than most footers.
pub(super) const FOOTER_BYTES: u64 = 64 << 10;

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
        let path = self.log().join(slot::checkpoint_name(version));
        let upto = hint::summed_up_to(self.store.as_ref(), &self.log()).await?;
        if upto >= Some(version) || is_there(self.store.as_ref(), &path).await? {
            return Ok(Checkpoint::There);
        }
        if !environment.has_time(TIME_TO_BEGIN_MIN) {
            return Ok(Checkpoint::NoTime);
        }
        let at_version = move |engine: &dyn Engine, url: &Url| {
            KernelSnapshot::builder_for(url).at_version(version).build(engine)
        };
        let snapshot: SnapshotRef = self.blocking(at_version).await?;
        let _held = self.reserve_to_sum_up(environment, "a checkpoint", &snapshot).await?;
        let retention = expiry::retention(&snapshot);
        let has_sidecars = sidecars::are_wanted(&snapshot);
        let data = move |engine: &dyn Engine, _: &Url| {
            snapshot.create_checkpoint_writer(engine)?.checkpoint_data(engine)
        };
        let actions = self.blocking(data).await?;
        let state = actions.state();
        let mut sidecars = has_sidecars.then(|| Sidecars::new(self));
        let written = self.stream(environment, actions, path, &mut sidecars).await?;
        let Some(size_in_bytes) = written else {
            return Ok(Checkpoint::NoTime);
        };
        let named = sidecars.map_or(0, |sidecars| sidecars.count());
        let checkpoint = LastCheckpoint {
            version,
            size: Some(state.actions_count() + named as i64),
            size_in_bytes: Some(size_in_bytes),
            num_of_add_files: Some(state.add_actions_count()),
        };
        hint::advance(self.store.as_ref(), &self.log(), &checkpoint).await?;
        let log_files_removed = match retention {
            Some(retention) => self.remove_expired_log_files(retention, has_sidecars).await?,
            None => 0,
        };
        Ok(Checkpoint::Written { bytes: size_in_bytes, log_files_removed })
    }

    /// Reserves what it takes to go through everything that the log says at `snapshot`.
    pub(super) async fn reserve_to_sum_up(
        &self,
        environment: &Environment,
        holder: &'static str,
        snapshot: &KernelSnapshot,
    ) -> Result<Reservation> {
        let held_bytes = HELD_BYTES + self.largest_row_group_bytes(snapshot).await?;
        environment.budget.try_reserve(holder, held_bytes)
    }

    /// The largest row group of the checkpoint before, which may be another's and is read row group
    /// by row group: some writers make one for all files of a table. The same of its sidecars.
    async fn largest_row_group_bytes(&self, snapshot: &KernelSnapshot) -> Result<u64> {
        let mut largest = 0;
        for part in &snapshot.log_segment().listed.checkpoint_parts {
            if part.extension != "parquet" {
                continue;
            }
            let path = self.log().join(part.filename.as_str());
            let size = part.location.size;
            largest = self.largest_row_group_of(&path, size).await?.max(largest);
            if !sidecars::are_wanted(snapshot) {
                continue;
            }
            for sidecar in self.sidecars_of(&path, size).await? {
                let path = self.sidecar(&sidecar);
                let sidecar = self.store.head(&path).await;
                let sidecar = sidecar.map_err(|cause| storage_error(path.as_ref(), cause))?;
                largest = self.largest_row_group_of(&path, sidecar.size).await?.max(largest);
            }
        }
        Ok(largest)
    }

    async fn largest_row_group_of(&self, path: &Path, size: u64) -> Result<u64> {
        let footer = async {
            let end_bytes = FOOTER_BYTES.min(size);
            StoredFile::open(&self.store, path.clone(), size, end_bytes).await?.metadata().await
        };
        let footer = footer.await.map_err(|cause| unreadable(path, cause))?;
        let sizes = footer.metadata().row_groups().iter().map(|group| group.total_byte_size());
        Ok(sizes.map(i64::unsigned_abs).max().unwrap_or(0))
    }

    /// Writes the actions to a file, but for those that go to sidecars; the size of all, or nothing where
    /// there was no time for all of them. Others may write the same checkpoint, with other bytes and the
    /// same meaning; whoever ends last has it, and nobody deletes it.
    async fn stream(
        &self,
        environment: &Environment,
        actions: ActionReconciliationIterator,
        path: Path,
        sidecars: &mut Option<Sidecars<'_>>,
    ) -> Result<Option<u64>> {
        let (actions, first) = self.next_actions(actions).await?;
        let Some(first) = first else {
            return Err(Error::new(ErrorKind::TableInvalid, "a checkpoint would be empty")
                .with_object(&self.uri));
        };
        let properties =
            WriterProperties::builder().set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX));
        let schema = first.schema();
        let mut file = StreamedFile::new(&self.store, path, self.part_bytes, schema, properties)?;
        match self.write_all(environment, first, actions, &mut file, sidecars).await {
            Ok(true) => {}
            given_up => {
                file.abort().await;
                if let Some(sidecars) = sidecars.take() {
                    sidecars.discard().await;
                }
                return given_up.map(|_| None);
            }
        }
        // From here on it may be there, and name its sidecars.
        let (bytes, _) = file.finish().await?;
        Ok(Some(bytes + sidecars.as_ref().map_or(0, Sidecars::bytes)))
    }

    /// Whether there was time for all actions.
    async fn write_all(
        &self,
        environment: &Environment,
        first: RecordBatch,
        mut actions: ActionReconciliationIterator,
        file: &mut StreamedFile,
        sidecars: &mut Option<Sidecars<'_>>,
    ) -> Result<bool> {
        let columns = first.schema();
        let mut next = Some(first);
        while let Some(mut batch) = next {
            if let Some(sidecars) = sidecars {
                batch = sidecars.take(&batch).await?;
            }
            file.write(&batch).await?;
            if !environment.has_time(TIME_TO_END_MIN) {
                return Ok(false);
            }
            (actions, next) = self.next_actions(actions).await?;
        }
        if let Some(sidecars) = sidecars {
            file.write(&sidecars.finish(&columns).await?).await?;
        }
        Ok(true)
    }

    /// Every step of the kernel may read files, and blocks.
    pub(super) async fn next_actions(
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
}

fn unreadable(path: &Path, cause: ParquetError) -> Error {
    Error::new(ErrorKind::StorageUnavailable, "the checkpoint before cannot be read")
        .with_object(path.as_ref())
        .with_cause(cause)
}
