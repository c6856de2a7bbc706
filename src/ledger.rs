//! Which source objects the table has taken.
//!
//! Immutable files, and one pointer that moves in the commit that adds the rows. Each attempt to
//! commit writes a new *tail*, create-only: a header line, then every entry so far and its own, as
//! lines of JSON that anyone can read. The pointer in the table's metadata names the current tail.
//! A tail that no commit names is nothing.
//!
//! Entries only grow. What is missing is judged on the current pointer, and refused, never
//! assumed empty: an empty ledger would take everything again.

use std::collections::HashMap;
use std::fmt::Write as _;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutPayload};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

use crate::clock::Entropy;
use crate::error::{Error, ErrorKind, Result};
use crate::memory::display_bytes;
use crate::source::SourceObject;
use crate::store::storage_error;
use crate::table::{Pointer, Table};

/// The first field of every tail's header.
const FORMAT: &str = "lakefeed-ledger/1";
/// A pointer is a sequence number and this many random bits.
const POINTER_RANDOM_BITS: u32 = 24;
/// The largest tail that is loaded: some 150,000 objects.
const TAIL_BYTES_MAX: u64 = 48 << 20;
/// Tries at a name that nobody has taken.
const TAIL_NAME_ATTEMPTS_MAX: u32 = 3;
/// The identity of an entry rebuilt from the table's rows: any version of its object.
pub const ANY_IDENTITY: &str = "*";

/// The hash of a source's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(u128);

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Key {
    /// The key of a source's canonical name.
    pub fn of(name: &str) -> Self {
        Self(xxh3_128(name.as_bytes()))
    }
}

/// One source object that the table has taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The source's name, as the feed's `source_key` makes it, and as `_source_file` holds it.
    pub name: String,
    /// Which version of the object.
    pub identity: String,
    /// Its size as stored.
    pub size_bytes: u64,
    /// The xxh3 of its bytes as stored, in hexadecimal.
    pub content: String,
    /// The append that took it.
    pub append: Uuid,
    /// The version of the table that took it.
    pub version: u64,
    /// How many of its rows the table took.
    pub rows: u64,
    /// How many it did not.
    pub rows_rejected: u64,
    /// When.
    pub at: DateTime<Utc>,
    /// Whether its rows are in the table because of this entry.
    pub state: EntryState,
}

impl Entry {
    /// What is known of an object before it is read: not how many rows it has, nor its content, nor
    /// who takes it when.
    pub fn draft(name: &str, object: &SourceObject, state: EntryState) -> Self {
        Self {
            name: name.to_owned(),
            identity: object.identity.clone(),
            size_bytes: object.size_bytes,
            content: String::new(),
            append: Uuid::nil(),
            version: 0,
            rows: 0,
            rows_rejected: 0,
            at: DateTime::UNIX_EPOCH,
            state,
        }
    }

    /// A content hash as entries write it.
    pub fn render_content(hash: u64) -> String {
        format!("{hash:016x}")
    }
}

/// What an entry means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryState {
    /// Its rows came with this entry.
    In,
    /// The same content under another identity (a touched file): its rows came with an older entry.
    Alias,
}

/// A tail's first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    format: String,
    table_id: String,
    ledger: String,
    sequence: u64,
    fence: u64,
    predecessor: Option<Pointer>,
}

/// The ledger at one pinned version of the table.
#[derive(Debug, Clone)]
pub struct Ledger {
    name: String,
    table_id: String,
    /// Nothing: the table has not been adopted yet.
    pointer: Option<Pointer>,
    /// No tail of this ledger has a higher one, as far as is known.
    sequence: u64,
    fence: u64,
    entries: Vec<Entry>,
    by_key: HashMap<Key, Vec<usize>>,
}

/// How an object stands with the ledger.
#[derive(Debug, PartialEq, Eq)]
pub enum Standing<'a> {
    /// Nothing of this name was taken.
    New,
    /// This very version was.
    Taken(&'a Entry),
    /// Another version was; this is the latest one.
    Other(&'a Entry),
}

impl Ledger {
    /// The ledger of a table that has none yet.
    pub fn unadopted(name: &str, table_id: &str) -> Self {
        Self {
            name: name.to_owned(),
            table_id: table_id.to_owned(),
            pointer: None,
            sequence: 0,
            fence: 0,
            entries: Vec::new(),
            by_key: HashMap::new(),
        }
    }

    /// Loads the tail that `pointer` names. Without a pointer, the table is not adopted yet.
    ///
    /// # Errors
    /// [`ErrorKind::LedgerMissing`] when the tail is gone, or when there is no pointer and yet a
    /// trace of one; [`ErrorKind::LedgerForeign`] when it is another table's;
    /// [`ErrorKind::StorageUnavailable`].
    pub async fn load(
        table: &dyn Table,
        table_id: &str,
        name: &str,
        pointer: Option<Pointer>,
    ) -> Result<Self> {
        let Some(pointer) = pointer else {
            refuse_lost_pointer(table, table_id, name).await?;
            return Ok(Self::unadopted(name, table_id));
        };
        let path = tail_path(table, table_id, name, pointer);
        let body = match table.store().get(&path).await {
            Ok(found) if found.meta.size > TAIL_BYTES_MAX => {
                return Err(too_large(path.as_ref(), found.meta.size));
            }
            Ok(found) => {
                found.bytes().await.map_err(|cause| storage_error(path.as_ref(), cause))?
            }
            Err(object_store::Error::NotFound { .. }) => {
                return Err(missing_tail(table, table_id, name, pointer).await);
            }
            Err(cause) => return Err(storage_error(path.as_ref(), cause)),
        };
        let (header, entries) = parse(&body).map_err(|cause| {
            Error::new(ErrorKind::LedgerMissing, "this file of the ledger is damaged")
                .with_object(path.as_ref())
                .with_cause(cause)
                .with_advice("restore it, or run `lakefeed ledger rebuild`")
        })?;
        if header.table_id != table_id {
            return Err(foreign(table, &header.table_id, table_id));
        }
        let mut ledger = Self {
            pointer: Some(pointer),
            sequence: header.sequence,
            fence: header.fence,
            ..Self::unadopted(name, table_id)
        };
        for entry in entries {
            ledger.push(entry);
        }
        Ok(ledger)
    }

    /// A ledger that is to be replaced, whatever has become of its files: only how far its sequence
    /// went is known of it.
    ///
    /// # Errors
    /// [`ErrorKind::StorageUnavailable`].
    pub async fn abandoned(
        table: &dyn Table,
        table_id: &str,
        name: &str,
        pointer: Option<Pointer>,
    ) -> Result<Self> {
        let listed = highest_sequence(table, table_id, name).await?;
        let pointed = pointer.map(sequence_of);
        let sequence = listed.max(pointed).unwrap_or(0);
        Ok(Self { pointer, sequence, ..Self::unadopted(name, table_id) })
    }

    /// How the version `identity` of the object `key` stands.
    pub fn standing(&self, key: Key, identity: &str) -> Standing<'_> {
        let of_key = || self.entries_of(key);
        let taken = |entry: &&Entry| entry.identity == identity || entry.identity == ANY_IDENTITY;
        match (of_key().rev().find(taken), of_key().next_back()) {
            (Some(entry), _) => Standing::Taken(entry),
            (None, Some(latest)) => Standing::Other(latest),
            (None, None) => Standing::New,
        }
    }

    /// The entries of one source, oldest first.
    pub fn entries_of(&self, key: Key) -> impl DoubleEndedIterator<Item = &Entry> {
        self.by_key.get(&key).into_iter().flatten().map(|&i| &self.entries[i])
    }

    /// The version at which the append `id` was committed, if it was.
    pub fn version_of_append(&self, id: Uuid) -> Option<u64> {
        // Ours is near the end.
        self.entries.iter().rev().find(|entry| entry.append == id).map(|entry| entry.version)
    }

    /// Every entry, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The current tail's id; nothing where the table is not adopted.
    pub fn pointer(&self) -> Option<Pointer> {
        self.pointer
    }

    /// The fence: an append that began under another one must begin again.
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// The ledger's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The table that the ledger belongs to.
    pub fn table_id(&self) -> &str {
        &self.table_id
    }

    /// Writes the tail of an adoption: sequence 0, empty.
    ///
    /// # Errors
    /// [`ErrorKind::StorageUnavailable`].
    pub async fn write_first_tail(&self, table: &dyn Table, pointer: Pointer) -> Result<()> {
        let header = self.header(0, self.fence);
        match put_tail(table, &self.table_id, &self.name, pointer, &header, &[]).await? {
            TailPut::Written => Ok(()),
            TailPut::NameTaken => Err(Error::new(
                ErrorKind::StorageUnavailable,
                "another writer drew the same random name for its ledger",
            )
            .with_advice("run again")),
        }
    }

    /// Writes the tail that follows this one: every entry so far, and `added`.
    ///
    /// # Errors
    /// [`ErrorKind::StorageUnavailable`].
    pub async fn write_next_tail(
        &self,
        table: &dyn Table,
        entropy: &Entropy,
        added: &[Entry],
    ) -> Result<Pointer> {
        let entries: Vec<&Entry> = self.entries.iter().chain(added).collect();
        self.write_tail(table, entropy, self.fence, &entries).await
    }

    /// Writes a tail that forgets this one and starts again with `entries`, behind a new fence.
    ///
    /// # Errors
    /// [`ErrorKind::StorageUnavailable`].
    pub async fn write_fresh_tail(
        &self,
        table: &dyn Table,
        entropy: &Entropy,
        entries: &[Entry],
    ) -> Result<Pointer> {
        let entries: Vec<&Entry> = entries.iter().collect();
        // A fence is the sequence of the tail that set it: higher than every one before, known or
        // lost.
        self.write_tail(table, entropy, self.sequence + 1, &entries).await
    }

    async fn write_tail(
        &self,
        table: &dyn Table,
        entropy: &Entropy,
        fence: u64,
        entries: &[&Entry],
    ) -> Result<Pointer> {
        let sequence = self.sequence + 1;
        let header = self.header(sequence, fence);
        for _ in 0..TAIL_NAME_ATTEMPTS_MAX {
            let pointer = pointer_of(sequence, entropy);
            let put = put_tail(table, &self.table_id, &self.name, pointer, &header, entries);
            if let TailPut::Written = put.await? {
                return Ok(pointer);
            }
        }
        Err(Error::new(ErrorKind::StorageUnavailable, "no free name for the ledger's next file")
            .with_object(table.uri())
            .with_advice("run again"))
    }

    fn header(&self, sequence: u64, fence: u64) -> Header {
        Header {
            format: FORMAT.to_owned(),
            table_id: self.table_id.clone(),
            ledger: self.name.clone(),
            sequence,
            fence,
            predecessor: self.pointer,
        }
    }

    fn push(&mut self, entry: Entry) {
        let key = Key::of(&entry.name);
        self.by_key.entry(key).or_default().push(self.entries.len());
        self.entries.push(entry);
    }
}

/// The pointer to a ledger's first tail.
pub fn first_pointer(entropy: &Entropy) -> Pointer {
    pointer_of(0, entropy)
}

/// Deletes a tail that is known never to have been committed. Best effort: a tail that no commit
/// names harms nobody.
pub async fn delete_lost_tail(table: &dyn Table, ledger: &Ledger, pointer: Pointer) {
    let path = tail_path(table, &ledger.table_id, &ledger.name, pointer);
    if let Err(cause) = table.store().delete(&path).await {
        tracing::debug!(%path, %cause, "a lost tail stays behind");
    }
}

fn pointer_of(sequence: u64, entropy: &Entropy) -> Pointer {
    let pointer = sequence << POINTER_RANDOM_BITS | entropy.bits(POINTER_RANDOM_BITS);
    // 39 bits of sequence: a thousand commits a second for seventeen years.
    Pointer::try_from(pointer).unwrap_or(Pointer::MAX)
}

fn sequence_of(pointer: Pointer) -> u64 {
    pointer.unsigned_abs() >> POINTER_RANDOM_BITS
}

fn folder(table: &dyn Table, table_id: &str, name: &str) -> Path {
    table.ledger_root().join(table_id).join(name)
}

fn tail_path(table: &dyn Table, table_id: &str, name: &str, pointer: Pointer) -> Path {
    folder(table, table_id, name).join(format!("{pointer:019}.ledger"))
}

enum TailPut {
    Written,
    NameTaken,
}

async fn put_tail(
    table: &dyn Table,
    table_id: &str,
    name: &str,
    pointer: Pointer,
    header: &Header,
    entries: &[&Entry],
) -> Result<TailPut> {
    let path = tail_path(table, table_id, name, pointer);
    let body = PutPayload::from(render(header, entries));
    match table.store().put_opts(&path, body, PutMode::Create.into()).await {
        Ok(_) => Ok(TailPut::Written),
        Err(object_store::Error::AlreadyExists { .. }) => Ok(TailPut::NameTaken),
        Err(cause) => Err(storage_error(path.as_ref(), cause)),
    }
}

fn render(header: &Header, entries: &[&Entry]) -> String {
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

fn parse(body: &Bytes) -> serde_json::Result<(Header, Vec<Entry>)> {
    let mut lines = body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let header: Header = serde_json::from_slice(lines.next().unwrap_or_default())?;
    let entries = lines.map(serde_json::from_slice).collect::<serde_json::Result<_>>()?;
    Ok((header, entries))
}

/// A table without a pointer may be adopted only if it never had one.
async fn refuse_lost_pointer(table: &dyn Table, table_id: &str, name: &str) -> Result<()> {
    match highest_sequence(table, table_id, name).await? {
        None | Some(0) => Ok(()),
        Some(_) => Err(missing(
            table,
            "the table has forgotten its pointer to the ledger, whose files are there",
        )),
    }
}

/// The highest sequence among a ledger's files.
async fn highest_sequence(table: &dyn Table, table_id: &str, name: &str) -> Result<Option<u64>> {
    let folder = folder(table, table_id, name);
    let mut listing = table.store().list(Some(&folder));
    let mut highest = None;
    loop {
        match listing.try_next().await {
            Ok(None) | Err(object_store::Error::NotFound { .. }) => return Ok(highest),
            Ok(Some(file)) => {
                let stem = file.location.filename().and_then(|name| name.split('.').next());
                let pointer = stem.and_then(|stem| stem.parse::<Pointer>().ok());
                highest = highest.max(pointer.map(sequence_of));
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
async fn missing_tail(table: &dyn Table, table_id: &str, name: &str, pointer: Pointer) -> Error {
    let tables = table.store().list_with_delimiter(Some(&table.ledger_root())).await;
    for other in tables.map(|listed| listed.common_prefixes).unwrap_or_default() {
        let other_id = other.filename().unwrap_or_default();
        let path = tail_path(table, other_id, name, pointer);
        if other_id != table_id && table.store().head(&path).await.is_ok() {
            return foreign(table, other_id, table_id);
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

fn too_large(path: &str, size_bytes: u64) -> Error {
    Error::new(
        ErrorKind::TableTooLarge,
        format!(
            "the ledger takes {}, and at most {} are loaded",
            display_bytes(size_bytes),
            display_bytes(TAIL_BYTES_MAX)
        ),
    )
    .with_object(path)
    .with_advice("begin another ledger with --ledger, for sources that this one does not know")
}

fn foreign(table: &dyn Table, ledger_of: &str, table_id: &str) -> Error {
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
