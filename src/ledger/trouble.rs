//! A ledger that is not what the table says: never assumed empty, and told with the ways out.

use futures::TryStreamExt;
use object_store::ObjectStoreExt;

use super::{Place, tail};
use crate::error::{Error, ErrorKind, Result};
use crate::memory::display_bytes;
use crate::store::storage_error;
use crate::table::{Pointer, Table};

/// A table without a pointer may be adopted only if it never had one.
pub(super) async fn refuse_lost_pointer(table: &dyn Table, place: &Place) -> Result<()> {
    match highest_sequence(table, place).await? {
        None | Some(0) => Ok(()),
        Some(_) => Err(missing(
            table,
            "the table has forgotten its pointer to the ledger, whose files are there",
        )),
    }
}

/// The highest sequence among a ledger's tails.
pub(super) async fn highest_sequence(table: &dyn Table, place: &Place) -> Result<Option<u64>> {
    let folder = place.folder(table);
    let mut listing = table.store().list(Some(&folder));
    let mut highest = None;
    loop {
        match listing.try_next().await {
            Ok(None) | Err(object_store::Error::NotFound { .. }) => return Ok(highest),
            Ok(Some(file)) => {
                let pointer = file.location.filename().and_then(tail::pointer_in);
                highest = highest.max(pointer.map(tail::sequence_of));
            }
            Err(cause) => return Err(storage_error(folder.as_ref(), cause)),
        }
    }
}

/// Whether any ledger was ever begun for this table.
///
/// # Errors
/// [`ErrorKind::StorageUnavailable`].
pub async fn any(table: &dyn Table, table_id: &str) -> Result<bool> {
    let folder = table.ledger_root().join(table_id);
    match table.store().list(Some(&folder)).try_next().await {
        Ok(first) => Ok(first.is_some()),
        Err(object_store::Error::NotFound { .. }) => Ok(false),
        Err(cause) => Err(storage_error(folder.as_ref(), cause)),
    }
}

/// Tells a tail that is gone from one that another table left behind.
pub(super) async fn missing_tail(table: &dyn Table, place: &Place, pointer: Pointer) -> Error {
    let tables = table.store().list_with_delimiter(Some(&table.ledger_root())).await;
    for other in tables.map(|listed| listed.common_prefixes).unwrap_or_default() {
        let other_id = other.filename().unwrap_or_default();
        let elsewhere = Place { table_id: other_id.to_owned(), ..place.clone() };
        let path = elsewhere.file(table, &tail::file_of(pointer));
        if other_id != place.table_id && table.store().head(&path).await.is_ok() {
            return foreign(table, other_id, &place.table_id);
        }
    }
    missing(table, "the ledger's file that the table points to is gone")
}

/// [`ErrorKind::LedgerMissing`], with the ways out.
pub fn missing(table: &dyn Table, message: &str) -> Error {
    Error::new(ErrorKind::LedgerMissing, message).with_object(table.uri()).with_advice(
        "run `lakefeed ledger rebuild TABLE` to make it again from the table's _source_file \
         column, or `lakefeed ledger reset TABLE` to forget what was taken",
    )
}

/// [`ErrorKind::LedgerMissing`]: the file is there, and cannot be read.
pub(super) fn damaged(path: &str) -> Error {
    Error::new(ErrorKind::LedgerMissing, "this file of the ledger is damaged")
        .with_object(path)
        .with_advice("restore it, or run `lakefeed ledger rebuild`")
}

pub(super) fn unknown_format(path: &str, format: &str) -> Error {
    Error::new(
        ErrorKind::TableUnsupported,
        format!("this ledger is written as {format:?}, which this lakefeed does not know"),
    )
    .with_object(path)
    .with_advice("use the lakefeed that wrote it, or a newer one")
}

pub(super) fn too_large(path: &str, size_bytes: u64, bytes_max: u64) -> Error {
    let (size, max) = (display_bytes(size_bytes), display_bytes(bytes_max));
    Error::new(
        ErrorKind::TableTooLarge,
        format!("the ledger's tail takes {size}, and at most {max} are loaded"),
    )
    .with_object(path)
    .with_advice("begin another ledger with --ledger, for sources that this one does not know")
}

pub(super) fn foreign(table: &dyn Table, ledger_of: &str, table_id: &str) -> Error {
    Error::new(
        ErrorKind::LedgerForeign,
        format!("its ledger belongs to table {ledger_of}, and this is table {table_id}"),
    )
    .with_object(table.uri())
    .with_advice(
        "the table was replaced or cloned: run `lakefeed ledger adopt TABLE` to start an empty \
         ledger, `rebuild` to make it from the _source_file column, or `reset`",
    )
}
