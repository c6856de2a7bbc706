//! A Parquet file in a store, read from its end.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

/// A file of a known size, whose end has been read. What lies in that end is not asked for again.
pub struct StoredFile {
    store: Arc<dyn ObjectStore>,
    path: Path,
    bytes: u64,
    end: Bytes,
}

impl StoredFile {
    /// Reads the last `end_bytes` of a file of `bytes`, best its footer.
    ///
    /// # Errors
    /// Those of the store, as [`ParquetError::External`].
    pub async fn open(
        store: &Arc<dyn ObjectStore>,
        path: Path,
        bytes: u64,
        end_bytes: u64,
    ) -> Result<Self, ParquetError> {
        let end = store.get_range(&path, bytes.saturating_sub(end_bytes)..bytes).await?;
        Ok(Self { store: Arc::clone(store), path, bytes, end })
    }

    /// Its footer.
    ///
    /// # Errors
    /// [`ParquetError`] for what is no Parquet file, and those of the store.
    pub async fn metadata(&mut self) -> Result<ArrowReaderMetadata, ParquetError> {
        ArrowReaderMetadata::load_async(self, ArrowReaderOptions::new()).await
    }

    /// What of the file has been read already.
    fn read_before(&self, range: &Range<u64>) -> Option<Bytes> {
        let end_begins = self.bytes - self.end.len() as u64;
        let start = usize::try_from(range.start.checked_sub(end_begins)?).ok()?;
        let end = usize::try_from(range.end.checked_sub(end_begins)?).ok()?;
        (end <= self.end.len()).then(|| self.end.slice(start..end))
    }
}

impl AsyncFileReader for StoredFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move {
            match self.read_before(&range) {
                Some(bytes) => Ok(bytes),
                None => Ok(self.store.get_range(&self.path, range).await?),
            }
        }
        .boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move {
            match ranges.iter().map(|range| self.read_before(range)).collect() {
                Some(read_before) => Ok(read_before),
                None => Ok(self.store.get_ranges(&self.path, &ranges).await?),
            }
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            let bytes = self.bytes;
            let reader = ParquetMetaDataReader::new().with_arrow_reader_options(options);
            Ok(Arc::new(reader.load_and_finish(self, bytes).await?))
        }
        .boxed()
    }
}
