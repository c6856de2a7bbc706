//! One data file: batches to row groups to parts.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use object_store::ObjectStore;
use object_store::path::Path;
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;

use super::upload::{LastPart, PartBuffer, Upload, UploadSlots};
use super::{CHUNK_METADATA_BYTES, WriterLimits, properties};
use crate::error::{Error, ErrorKind, Result};

/// A data file that takes rows.
pub(super) struct OpenFile {
    encoder: ArrowWriter<PartBuffer>,
    upload: Upload,
    column_count: usize,
    rows: u64,
}

/// A data file that is encoded to its end, and of which the last part is still to be sent.
pub(super) struct EncodedFile {
    pub(super) upload: Upload,
    pub(super) last: LastPart,
    pub(super) footer: ParquetMetaData,
    pub(super) size_bytes: u64,
    pub(super) rows: u64,
}

impl OpenFile {
    /// A file of `schema` that will be the object `path`.
    pub(super) fn new(
        store: Arc<dyn ObjectStore>,
        path: Path,
        schema: SchemaRef,
        limits: &WriterLimits,
        slots: UploadSlots,
    ) -> Result<Self> {
        let column_count = schema.fields().len();
        let encoder = properties::writer_options(&schema, limits)
            .and_then(|options| {
                ArrowWriter::try_new_with_options(PartBuffer::default(), schema, options)
            })
            .map_err(encode_error)?;
        let upload = Upload::new(store, path, limits.part_bytes, slots);
        Ok(Self { encoder, upload, column_count, rows: 0 })
    }

    /// How many of the first rows of `batch` may be written at once.
    pub(super) fn rows_to_write(&self, batch: &RecordBatch, limits: &WriterLimits) -> usize {
        let row_bytes = (bytes_of(batch) / batch.num_rows().max(1)).max(1);
        let rows_left = limits.row_group_rows_max.saturating_sub(self.encoder.in_progress_rows());
        (limits.slice_bytes_max / row_bytes).min(rows_left).clamp(1, batch.num_rows().max(1))
    }

    /// Encodes `slice`, ends the row group where it has reached a limit, and sends full parts.
    pub(super) async fn write(&mut self, slice: &RecordBatch, limits: &WriterLimits) -> Result<()> {
        self.encoder.write(slice).map_err(encode_error)?;
        self.rows += slice.num_rows() as u64;
        let is_full = self.encoder.in_progress_size() >= limits.row_group_bytes_max
            || self.encoder.in_progress_rows() >= limits.row_group_rows_max
            || self.row_group_memory_bytes(limits) >= limits.row_group_memory_bytes_max;
        if is_full { self.end_row_group().await } else { Ok(()) }
    }

    /// Ends the row group, wherever it is, and sends full parts.
    pub(super) async fn end_row_group(&mut self) -> Result<()> {
        self.encoder.flush().map_err(encode_error)?;
        self.encoder.sync().map_err(|error| encode_error(error.into()))?;
        self.upload.send_full_parts(self.encoder.inner_mut()).await
    }

    /// The size of the file if it ended now, without its footer.
    pub(super) fn encoded_bytes(&self) -> usize {
        self.encoder.bytes_written() + self.encoder.in_progress_size()
    }

    /// What would wait to be sent if the row group ended now.
    pub(super) fn unsent_bytes(&self) -> usize {
        self.encoder.inner().len() + self.encoder.in_progress_size()
    }

    /// What the file holds: the open row group, what waits to be sent, and the coming footer.
    pub(super) fn held_bytes(&self, limits: &WriterLimits) -> usize {
        self.row_group_memory_bytes(limits)
            + self.encoder.inner().held_bytes()
            + self.encoder.flushed_row_groups().len() * self.column_count * CHUNK_METADATA_BYTES
    }

    fn row_group_memory_bytes(&self, limits: &WriterLimits) -> usize {
        let encoded_bytes = self.encoder.memory_size();
        let rows = self.encoder.in_progress_rows();
        encoded_bytes + limits.codecs_bytes(self.column_count, rows, encoded_bytes)
    }

    /// Whether another row should go to another file.
    pub(super) fn is_full(&self, limits: &WriterLimits) -> bool {
        let next_row_groups = self.encoder.flushed_row_groups().len() + 1;
        let footer_is_full = self.encoder.in_progress_rows() == 0
            && next_row_groups * self.column_count > limits.row_groups_times_columns_max;
        footer_is_full || self.encoded_bytes() as u64 >= limits.file_bytes_target
    }

    /// Encodes the rest, and sends everything but the last part.
    ///
    /// # Errors
    /// Those of the encoder and the store; the upload was aborted then.
    pub(super) async fn close(mut self) -> Result<EncodedFile> {
        match self.encode_rest().await {
            Ok((footer, last)) => Ok(EncodedFile {
                size_bytes: self.encoder.bytes_written() as u64,
                rows: self.rows,
                upload: self.upload,
                last,
                footer,
            }),
            Err(error) => {
                self.upload.abort().await;
                Err(error)
            }
        }
    }

    async fn encode_rest(&mut self) -> Result<(ParquetMetaData, LastPart)> {
        self.end_row_group().await?;
        let footer = self.encoder.finish().map_err(encode_error)?;
        let last = self.upload.take_last(self.encoder.inner_mut()).await?;
        Ok((footer, last))
    }

    /// Gives up: nothing stays in the store, as far as the store lets us.
    pub(super) async fn abort(mut self) {
        self.upload.abort().await;
    }
}

/// What the rows of `batch` take, and not the buffers that it shares with the rows beside them.
fn bytes_of(batch: &RecordBatch) -> usize {
    let columns = batch.columns().iter();
    columns.map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum()
}

fn encode_error(error: ParquetError) -> Error {
    Error::new(ErrorKind::Internal, "rows could not be encoded").with_cause(error)
}
