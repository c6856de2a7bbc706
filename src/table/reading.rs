//! What reading a table is in every format.

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use object_store::path::Path;
use parquet::errors::ParquetError;

use super::LiveFile;
use crate::error::{Error, ErrorKind, cause_in};
use crate::store::storage_failure;

/// Counts the values of a batch's first column, nulls aside.
pub(super) fn count_texts(counts: &mut BTreeMap<String, u64>, batch: &RecordBatch) {
    let Some(values) = batch.column(0).as_string_opt::<i32>() else { return };
    for value in values.iter().flatten() {
        match counts.get_mut(value) {
            Some(count) => *count += 1,
            None => {
                counts.insert(value.to_owned(), 1);
            }
        }
    }
}

/// A data file that cannot be read. What is not there, or is no Parquet, is damage; whatever else a
/// store says may pass.
pub(super) fn unreadable(path: &Path, cause: ParquetError) -> Error {
    match cause_in::<object_store::Error>(&cause) {
        Some(error) if !matches!(error, object_store::Error::NotFound { .. }) => {
            storage_failure(path.as_ref(), error)
        }
        _ => Error::new(ErrorKind::TableInvalid, "a data file of the table cannot be read")
            .with_object(path.as_ref())
            .with_advice("look at the table with another reader; nothing was written"),
    }
    .with_cause(cause)
}

/// More files than are looked for.
pub(super) fn too_many_files(uri: &str, files_max: usize) -> Error {
    Error::new(
        ErrorKind::OverBudget,
        format!("more than {files_max} data files may hold rows of these sources"),
    )
    .with_object(uri)
    .with_advice("compact the table, ordered by the column that names the sources")
}

/// A file that another format found.
pub(super) fn foreign(file: &LiveFile) -> Error {
    Error::new(ErrorKind::Internal, "a data file of another format").with_object(&file.id)
}
