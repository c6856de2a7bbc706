//! The rows that one append did not take, in a Parquet file beside the table.
//!
//! The file is durable before the commit that names it, and goes if that commit is definitely lost. A
//! writer that is killed in between leaves it to the sweep of orphans: see [`crate::orphans`].

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use crate::commit::Pin;
use crate::config::{BadRows, Feed};
use crate::csv::Reject;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::parquet::StreamedFile;
use crate::table::Table;

/// Rows that are encoded at once end with so many bytes.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// The parts that are sent, where the storage wants none of its own: the smallest that S3 takes.
const PART_BYTES: usize = 5 << 20;
/// What a file holds while it is written: two parts, an open row group and what is encoded at once.
/// One row can take it over that.
const HELD_BYTES: u64 = 2 * PART_BYTES as u64 + (8 << 20) + BATCH_BYTES_MAX as u64;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    let number = |name: &str| Field::new(name, DataType::Int64, false);
    Arc::new(Schema::new(vec![
        text("source", false),
        number("line"),
        number("byte"),
        text("column", true),
        text("kind", false),
        text("reason", false),
        Field::new("raw", DataType::Binary, false),
    ]))
});

/// What a file takes while it is written, for a feed that quarantines rows of up to `row_bytes_max`.
pub(super) fn held_bytes_max(feed: &Feed, row_bytes_max: usize) -> u64 {
    match feed.csv.bad_rows {
        BadRows::Quarantine => HELD_BYTES + row_bytes_max as u64,
        BadRows::Fail | BadRows::Rescue | BadRows::Drop => 0,
    }
}

/// The quarantine of one append. There is a file as soon as there is a row for it.
pub(super) struct Quarantine {
    file: QuarantineFile,
    part_bytes: usize,
    streamed: Option<StreamedFile>,
}

/// A finished file: durable, and not named by a commit yet.
#[derive(Debug, Clone)]
pub(super) struct QuarantineFile {
    /// Its address.
    pub uri: String,
    store: Arc<dyn ObjectStore>,
    path: Path,
}

impl QuarantineFile {
    /// Deletes it, now that no commit can have named it. Best effort.
    pub async fn delete(&self) {
        if let Err(cause) = self.store.delete(&self.path).await {
            tracing::debug!(path = %self.path, %cause, "a quarantine file stays behind");
        }
    }
}

impl Quarantine {
    /// The quarantine of an append that is planned on `pin`. Nothing is written.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] for a place that cannot be.
    pub fn new(
        environment: &Environment,
        feed: &Feed,
        table: &dyn Table,
        pin: &Pin,
    ) -> Result<Self> {
        let unique = environment.entropy.uuid();
        let ledger = pin.ledger();
        let (store, path, uri) = match &feed.csv.quarantine {
            None => {
                let path = ledger.quarantine_path(table, unique);
                (Arc::clone(table.store()), path, table.uri().to_owned())
            }
            Some(place) => {
                let folder = environment.stores.resolve(place)?;
                let name = format!("{}-{}-{unique}.parquet", ledger.name(), ledger.fence());
                (folder.store, folder.path.join(name), folder.uri)
            }
        };
        let uri = environment.stores.uri_of(&uri, &path);
        let part_bytes = table.part_bytes().unwrap_or(PART_BYTES);
        Ok(Self { file: QuarantineFile { uri, store, path }, part_bytes, streamed: None })
    }

    /// Adds rows of the object `source`.
    ///
    /// # Errors
    /// Those of [`StreamedFile::write`]. The quarantine is to be aborted then.
    pub async fn write(&mut self, source: &str, rejects: &[Reject]) -> Result<()> {
        let mut rest = rejects;
        while !rest.is_empty() {
            let (some, others) = rest.split_at(rows_at_once(rest));
            rest = others;
            let batch = batch_of(source, some).map_err(|cause| {
                Error::new(ErrorKind::Internal, "rejected rows make no batch").with_cause(cause)
            })?;
            let file = match &mut self.streamed {
                Some(file) => file,
                none => none.insert(StreamedFile::new(
                    &self.file.store,
                    self.file.path.clone(),
                    Some(self.part_bytes),
                    Arc::clone(&SCHEMA),
                    WriterProperties::builder()
                        .set_column_dictionary_enabled("raw".into(), false)
                        .set_column_statistics_enabled("raw".into(), EnabledStatistics::None),
                )?),
            };
            file.write(&batch).await?;
        }
        Ok(())
    }

    /// Ends the file, after which it is there; nothing where there was no row for it.
    ///
    /// # Errors
    /// Those of [`StreamedFile::finish`].
    pub async fn finish(self) -> Result<Option<QuarantineFile>> {
        let Some(streamed) = self.streamed else { return Ok(None) };
        if let Err(error) = streamed.finish().await {
            // Its end may have been written, and only the answer lost.
            self.file.delete().await;
            return Err(error);
        }
        Ok(Some(self.file))
    }

    /// Gives the file up.
    pub async fn abort(self) {
        if let Some(streamed) = self.streamed {
            streamed.abort().await;
        }
    }
}

/// How many of the first rows are encoded at once: one at least.
fn rows_at_once(rejects: &[Reject]) -> usize {
    let mut bytes = 0;
    let fits = |reject: &&Reject| {
        bytes += reject.raw.len() + reject.complaint.reason.len();
        bytes <= BATCH_BYTES_MAX
    };
    rejects.iter().take_while(fits).count().max(1)
}

fn batch_of(source: &str, rejects: &[Reject]) -> Result<RecordBatch, arrow::error::ArrowError> {
    let complaints = || rejects.iter().map(|reject| &reject.complaint);
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let text = |values: StringArray| Arc::new(values) as ArrayRef;
    let lines = complaints().map(|it| number(it.position.line));
    let bytes = complaints().map(|it| number(it.position.byte));
    RecordBatch::try_new(
        Arc::clone(&SCHEMA),
        vec![
            text(StringArray::from_iter_values(rejects.iter().map(|_| source))),
            Arc::new(Int64Array::from_iter_values(lines)),
            Arc::new(Int64Array::from_iter_values(bytes)),
            text(complaints().map(|it| it.position.column.as_deref()).collect()),
            text(StringArray::from_iter_values(complaints().map(|it| it.kind.name()))),
            text(StringArray::from_iter_values(complaints().map(|it| &it.reason))),
            Arc::new(BinaryArray::from_iter_values(rejects.iter().map(|reject| &reject.raw))),
        ],
    )
}

#[cfg(test)]
#[cfg(feature = "delta")]
mod tests;
