//! A file beside the data (a checkpoint, a run of the ledger) that is sent as it is encoded.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use object_store::ObjectStore;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use tokio::io::AsyncWriteExt;

use crate::error::{Error, ErrorKind, Result};
use crate::store::storage_error;

/// A row group ends when it has so much, however few rows.
const ROW_GROUP_BYTES_MAX: usize = 8 << 20;
/// The parts that are sent, where the storage wants none of its own; one at a time is on its way
/// while the next fills.
const PART_BYTES: usize = 8 << 20;
const PARTS_IN_FLIGHT_MAX: usize = 1;

/// A Parquet file on its way: an open row group is all that is held, and the part that fills. It is
/// there when [`StreamedFile::finish`] says so, and before that it is not.
pub struct StreamedFile {
    path: Path,
    encoder: ArrowWriter<Vec<u8>>,
    upload: BufWriter,
    bytes: u64,
}

impl StreamedFile {
    /// Begins a file at `path`, over whatever is there. `properties` say when a row group ends but
    /// for its size; `part_bytes` is what the storage wants.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] for columns that Parquet does not have.
    pub fn new(
        store: &Arc<dyn ObjectStore>,
        path: Path,
        part_bytes: Option<usize>,
        schema: SchemaRef,
        properties: WriterPropertiesBuilder,
    ) -> Result<Self> {
        let properties = common(properties).map_err(|cause| encode_error(&path, cause))?;
        let encoder = ArrowWriter::try_new(Vec::new(), schema, Some(properties))
            .map_err(|cause| encode_error(&path, cause))?;
        let part_bytes = part_bytes.unwrap_or(PART_BYTES);
        let upload = BufWriter::with_capacity(Arc::clone(store), path.clone(), part_bytes)
            .with_max_concurrency(PARTS_IN_FLIGHT_MAX);
        Ok(Self { path, encoder, upload, bytes: 0 })
    }

    /// Appends rows.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`], [`ErrorKind::StorageUnavailable`]; the file is to be aborted then.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut written = self.encoder.write(batch);
        if self.encoder.in_progress_size() >= ROW_GROUP_BYTES_MAX {
            written = written.and_then(|()| self.encoder.flush());
        }
        written.map_err(|cause| encode_error(&self.path, cause))?;
        self.send().await
    }

    /// Sends what is encoded.
    async fn send(&mut self) -> Result<()> {
        self.encoder.sync().map_err(|cause| encode_error(&self.path, cause.into()))?;
        let encoded = Bytes::from(std::mem::take(self.encoder.inner_mut()));
        self.bytes += encoded.len() as u64;
        self.upload.put(encoded).await.map_err(|cause| storage_error(self.path.as_ref(), cause))
    }

    /// Sends the rest, after which the file is there; its size in bytes and its footer. Where that
    /// fails, the upload is given up.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`], [`ErrorKind::StorageUnavailable`].
    pub async fn finish(mut self) -> Result<(u64, ParquetMetaData)> {
        let sent = match self.encoder.finish() {
            Ok(footer) => self.send().await.map(|()| footer),
            Err(cause) => Err(encode_error(&self.path, cause)),
        };
        let footer = match sent {
            Ok(footer) => footer,
            Err(error) => {
                self.abort().await;
                return Err(error);
            }
        };
        self.upload.shutdown().await.map_err(|cause| {
            Error::new(ErrorKind::StorageUnavailable, "it was not written")
                .with_object(self.path.as_ref())
                .with_cause(cause)
        })?;
        Ok((self.bytes, footer))
    }

    /// Gives the file up.
    pub async fn abort(mut self) {
        if let Err(error) = self.upload.abort().await {
            tracing::debug!(object = %self.path, %error, "an upload could not be aborted");
        }
    }
}

fn common(properties: WriterPropertiesBuilder) -> Result<WriterProperties, ParquetError> {
    Ok(properties
        .set_created_by(concat!("lakefeed ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_bytes(None)
        .build())
}

fn encode_error(path: &Path, cause: ParquetError) -> Error {
    Error::new(ErrorKind::Internal, "it could not be encoded")
        .with_object(path.as_ref())
        .with_cause(cause)
}
