//! What the ledger says of one source object.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::source::SourceObject;

/// The identity of an entry rebuilt from the table's rows: any version of its object.
pub const ANY_IDENTITY: &str = "*";

/// One source object that the table has taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The source's name, as the feed's `source_key` makes it, and as `_source_file` holds it.
    pub name: String,
    /// Which move of the ledger's pointer entered it: of one name's entries, the latest has the
    /// highest.
    pub sequence: u64,
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
    /// The address of the file that holds the rows that the table did not take, where they were
    /// quarantined. As long as an entry names it, nobody sweeps it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<String>,
}

impl Entry {
    /// What is known of an object before it is read: not how many rows it has, nor its content, nor
    /// who takes it when.
    pub fn draft(name: &str, object: &SourceObject, state: EntryState) -> Self {
        Self {
            name: name.to_owned(),
            sequence: 0,
            identity: object.identity.clone(),
            size_bytes: object.size_bytes,
            content: String::new(),
            append: Uuid::nil(),
            version: 0,
            rows: 0,
            rows_rejected: 0,
            at: DateTime::UNIX_EPOCH,
            state,
            quarantine: None,
        }
    }

    /// Of a source of which the table held `rows` at `version`, and nobody knows which version of it.
    pub fn of_any_version(name: &str, rows: u64, version: u64) -> Self {
        Self {
            name: name.to_owned(),
            sequence: 0,
            identity: ANY_IDENTITY.to_owned(),
            size_bytes: 0,
            content: String::new(),
            append: Uuid::nil(),
            version,
            rows,
            rows_rejected: 0,
            at: DateTime::UNIX_EPOCH,
            state: EntryState::In,
            quarantine: None,
        }
    }

    /// Whether it is of the version `identity`.
    fn is_of(&self, identity: &str) -> bool {
        self.identity == identity || self.identity == ANY_IDENTITY
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
    /// Its rows, and those of every version of it before, were taken away on purpose.
    Undone,
}

/// Whether the table holds rows of the source whose entries these are, oldest first, as far as the
/// ledger knows.
pub fn hold_rows(entries: &[Entry]) -> bool {
    let since = entries.iter().rev().take_while(|entry| entry.state != EntryState::Undone);
    since.into_iter().any(|entry| entry.rows > 0)
}

/// How an object stands with the ledger.
#[derive(Debug, PartialEq, Eq)]
pub enum Standing<'a> {
    /// Nothing of this name was taken.
    New,
    /// This very version was; if that was undone since, this is the entry that says so.
    Taken(&'a Entry),
    /// Another version was; this is the latest one.
    Other(&'a Entry),
}

/// The entries of some names.
#[derive(Debug, Clone, Default)]
pub struct Found(HashMap<String, Vec<Entry>>);

impl Found {
    /// The entries of one source, oldest first.
    pub fn of(&self, name: &str) -> &[Entry] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// How the version `identity` of the object `name` stands.
    pub fn standing(&self, name: &str, identity: &str) -> Standing<'_> {
        let entries = self.of(name);
        let taken = entries.iter().rposition(|entry| entry.is_of(identity));
        let is_undone = |entry: &&Entry| entry.state == EntryState::Undone;
        match (taken.map(|at| &entries[at..]), entries.last()) {
            (Some(since), _) => Standing::Taken(since.iter().find(is_undone).unwrap_or(&since[0])),
            (None, Some(latest)) => Standing::Other(latest),
            (None, None) => Standing::New,
        }
    }

    /// The same, where only the latest version of an object counts: an older one would be another.
    pub fn latest_standing(&self, name: &str, identity: &str) -> Standing<'_> {
        match self.of(name).last() {
            None => Standing::New,
            Some(latest) if latest.is_of(identity) => Standing::Taken(latest),
            Some(latest) => Standing::Other(latest),
        }
    }

    /// The same sources as the table itself tells: `held` names those of which it holds rows at
    /// `version`, and how many. Of those that it holds none of, only entries count that say so; not
    /// that they were undone, if they were taken again since and somebody else has deleted them.
    pub fn as_held(mut self, held: &BTreeMap<String, u64>, version: u64) -> Self {
        for (name, entries) in &mut self.0 {
            if !held.contains_key(name) {
                let were_deleted = hold_rows(entries);
                let is_past = |entry: &Entry| were_deleted && entry.state == EntryState::Undone;
                entries.retain(|entry| entry.rows == 0 && !is_past(entry));
            }
        }
        for (name, rows) in held {
            let entries = self.0.entry(name.clone()).or_default();
            if !hold_rows(entries) {
                *entries = vec![Entry::of_any_version(name, *rows, version)];
            }
        }
        self
    }

    /// Every entry, in no particular order of names.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.values().flatten()
    }
}

impl FromIterator<Entry> for Found {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut found: HashMap<String, Vec<Entry>> = HashMap::new();
        for entry in entries {
            found.entry(entry.name.clone()).or_default().push(entry);
        }
        for entries in found.values_mut() {
            entries.sort_by_key(|entry| entry.sequence);
        }
        Self(found)
    }
}
