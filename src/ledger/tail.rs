//! The newest part of a ledger: one file of JSON lines for each move of the pointer.

use std::fmt::Write as _;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutPayload};
use serde::{Deserialize, Serialize};

use super::run::Run;
use super::{Entry, Place, trouble};
use crate::clock::Entropy;
use crate::error::{Error, ErrorKind, Result};
use crate::store::storage_error;
use crate::table::{Pointer, Table};

/// The first field of every tail's header. What begins otherwise is refused: its reader would not
/// know where its other entries are.
const FORMAT: &str = "lakefeed-ledger/2";
/// A pointer is a sequence number and this many random bits.
const POINTER_RANDOM_BITS: u32 = 24;
/// The largest tail that is loaded.
const TAIL_BYTES_MAX: u64 = 48 << 20;
/// Tries at a name that nobody has taken.
const TAIL_NAME_ATTEMPTS_MAX: u32 = 3;

/// A tail's first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    pub format: String,
    pub table_id: String,
    pub ledger: String,
    /// One more than the tail's before. Readers of format 1 know no runs and do not look at `format`:
    /// they refuse a header without a field `sequence`, and so do not take a tail for everything.
    #[serde(rename = "moves")]
    pub sequence: u64,
    pub fence: u64,
    /// The sequence since which the entries tell everything; higher than 0 where they were rebuilt from
    /// the table's rows, which do not tell what was quarantined.
    #[serde(default)]
    pub known_since: u64,
    pub predecessor: Option<Pointer>,
    /// Where the entries are that are not in this file.
    pub runs: Vec<Run>,
    /// Files that earlier tails named and this one does not, oldest first: to be deleted when nobody
    /// can be reading them any more.
    pub retired: Vec<String>,
}

impl Header {
    /// Of a ledger without entries.
    pub fn empty(place: &Place, sequence: u64, fence: u64, predecessor: Option<Pointer>) -> Self {
        Self {
            format: FORMAT.to_owned(),
            table_id: place.table_id.clone(),
            ledger: place.name.clone(),
            sequence,
            fence,
            known_since: fence,
            predecessor,
            runs: Vec::new(),
            retired: Vec::new(),
        }
    }
}

/// A new pointer of this sequence.
pub(super) fn pointer_of(sequence: u64, entropy: &Entropy) -> Pointer {
    let pointer = sequence << POINTER_RANDOM_BITS | entropy.bits(POINTER_RANDOM_BITS);
    // 39 bits of sequence: a thousand commits a second for seventeen years.
    Pointer::try_from(pointer).unwrap_or(Pointer::MAX)
}

pub(super) fn sequence_of(pointer: Pointer) -> u64 {
    pointer.unsigned_abs() >> POINTER_RANDOM_BITS
}

/// The name of a tail's file in the folder of its ledger.
pub(super) fn file_of(pointer: Pointer) -> String {
    format!("{pointer:019}.ledger")
}

/// The pointer to the tail in the file of this name, if it is one's.
pub(super) fn pointer_in(file: &str) -> Option<Pointer> {
    file.strip_suffix(".ledger")?.parse().ok()
}

/// Loads the tail that `pointer` names.
///
/// # Errors
/// [`ErrorKind::LedgerMissing`] when it is gone or damaged, [`ErrorKind::LedgerForeign`] when it is
/// another table's, [`ErrorKind::TableUnsupported`], [`ErrorKind::TableTooLarge`], and
/// [`ErrorKind::StorageUnavailable`].
pub(super) async fn load(
    table: &dyn Table,
    place: &Place,
    pointer: Pointer,
) -> Result<(Header, Vec<Entry>)> {
    let path = place.file(table, &file_of(pointer));
    let body = match table.store().get(&path).await {
        Ok(found) if found.meta.size > TAIL_BYTES_MAX => {
            return Err(trouble::too_large(path.as_ref(), found.meta.size, TAIL_BYTES_MAX));
        }
        Ok(found) => found.bytes().await.map_err(|cause| storage_error(path.as_ref(), cause))?,
        Err(object_store::Error::NotFound { .. }) => {
            return Err(trouble::missing_tail(table, place, pointer).await);
        }
        Err(cause) => return Err(storage_error(path.as_ref(), cause)),
    };
    let (header, entries) = parse(&body, &path)?;
    if header.table_id != place.table_id {
        return Err(trouble::foreign(table, &header.table_id, &place.table_id));
    }
    Ok((header, entries))
}

/// Writes a tail where nothing is; its pointer.
///
/// # Errors
/// [`ErrorKind::StorageUnavailable`].
pub(super) async fn create(
    table: &dyn Table,
    place: &Place,
    entropy: &Entropy,
    header: &Header,
    entries: &[Entry],
) -> Result<Pointer> {
    for _ in 0..TAIL_NAME_ATTEMPTS_MAX {
        let pointer = pointer_of(header.sequence, entropy);
        if put(table, place, pointer, header, entries).await? {
            return Ok(pointer);
        }
    }
    Err(Error::new(ErrorKind::StorageUnavailable, "no free name for the ledger's next file")
        .with_object(table.uri())
        .with_advice("run again"))
}

/// Writes the tail that `pointer` names; false where one of that name is there.
pub(super) async fn put(
    table: &dyn Table,
    place: &Place,
    pointer: Pointer,
    header: &Header,
    entries: &[Entry],
) -> Result<bool> {
    let path = place.file(table, &file_of(pointer));
    let body = PutPayload::from(render(header, entries));
    match table.store().put_opts(&path, body, PutMode::Create.into()).await {
        Ok(_) => Ok(true),
        Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
        Err(cause) => Err(storage_error(path.as_ref(), cause)),
    }
}

fn render(header: &Header, entries: &[Entry]) -> String {
    let mut text = String::new();
    let mut line = |json: serde_json::Result<String>| {
        // Plain data: it has no map with keys that are not text, the one thing that fails.
        let _ = writeln!(text, "{}", json.unwrap_or_default());
    };
    line(serde_json::to_string(header));
    for entry in entries {
        line(serde_json::to_string(entry));
    }
    text
}

/// Of a header of any format.
#[derive(Deserialize)]
struct Format {
    format: String,
}

fn parse(body: &Bytes, path: &Path) -> Result<(Header, Vec<Entry>)> {
    let damaged = |cause: serde_json::Error| trouble::damaged(path.as_ref()).with_cause(cause);
    let mut lines = body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let header = lines.next().unwrap_or_default();
    let Format { format } = serde_json::from_slice(header).map_err(damaged)?;
    if format != FORMAT {
        return Err(trouble::unknown_format(path.as_ref(), &format));
    }
    let header = serde_json::from_slice(header).map_err(damaged)?;
    let entries = lines.map(serde_json::from_slice).collect::<serde_json::Result<_>>();
    Ok((header, entries.map_err(damaged)?))
}
