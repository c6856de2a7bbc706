//! What is in storage and in the table, whoever put it there, and what a put does to it.

use std::collections::{BTreeMap, BTreeSet};

use crate::ingester::Ingester;
use crate::others::{Deed, Merge, Rebuild, Sweep, Undo};

pub type Version = u8;
pub type Key = u8;

/// A name that only its author gives, and only once: of a tail, a data file or an append.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u8, pub u8);

/// The fence of a file that is not an ingester's: no sweep takes it.
const FOREIGN: u8 = u8::MAX;

/// Files that a tail keeps for those who are reading them.
const RETIRED_MAX: usize = 1;

/// The identity of an entry rebuilt from rows: any version of its object.
pub const ANY: u8 = u8::MAX;

/// One version of one source object. Its content goes A, B, A, B; equal content has equal identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Object {
    pub key: Key,
    pub identity: u8,
    /// How often the object had been written: nobody in the model may look at it.
    pub write: u8,
}

impl Object {
    pub fn written(key: Key, write: u8) -> Self {
        Self { key, identity: write % 2, write }
    }

    pub fn is_covered_by(&self, entry: &Entry) -> bool {
        entry.key == self.key && (entry.identity == self.identity || entry.identity == ANY)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    pub key: Key,
    pub identity: u8,
    pub append: Id,
    /// Its rows, and all of its key's before, were taken away.
    pub is_undone: bool,
}

/// A file of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tail {
    pub table_id: u8,
    pub sequence: u8,
    pub fence: u8,
    /// All of them, whether they are in this file or in its runs.
    pub entries: Vec<Entry>,
    /// The files that hold the older entries.
    pub runs: BTreeSet<Id>,
    /// Files that are named no more and are kept for those who are reading them, oldest first.
    pub retired: Vec<Id>,
}

/// An older file of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RunFile {
    /// Under which it was written, as its name tells.
    pub fence: u8,
    /// The appends whose entries it holds.
    pub appends: Vec<Id>,
}

impl Tail {
    /// Puts the tail before on the list of what is left behind; what had its time there leaves it, to be
    /// deleted once this tail is committed.
    pub fn leave_behind(&mut self, predecessor: Option<Id>) -> Vec<Id> {
        self.retired.extend(predecessor);
        if self.retired.len() <= RETIRED_MAX {
            return Vec::new();
        }
        self.retired.drain(..self.retired.len().div_ceil(2)).collect()
    }

    /// The newest entry of an object.
    pub fn latest(&self, key: Key) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.key == key)
    }

    pub fn empty(table_id: u8) -> Self {
        Self {
            table_id,
            sequence: 0,
            fence: 0,
            entries: Vec::new(),
            runs: BTreeSet::new(),
            retired: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DataFile {
    pub id: Id,
    pub rows: Vec<Object>,
    pub schema: u8,
}

/// The bytes of a commit: equal exactly when the same attempt wrote them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Commit {
    pub append: Id,
    pub pointer: Option<Id>,
    pub file: Option<DataFile>,
    pub removal: Option<Removal>,
    pub deed: Option<Deed>,
}

/// Data files that leave the table, and those that hold their other rows from then on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Removal {
    pub removed: BTreeSet<Id>,
    pub rest: Vec<DataFile>,
}

/// The table at its newest version, as anyone reads it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Table {
    pub version: Version,
    pub id: u8,
    pub schema: u8,
    pub pointer: Option<Id>,
    pub files: Vec<DataFile>,
}

/// An append that became visible: history, for the properties alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Taken {
    pub object: Object,
    pub append: Id,
    pub table_id: u8,
}

/// How often each thing may still go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Answers to a put that do not arrive.
    pub lost_answers: u8,
    pub crashes: u8,
    /// Ingests that give up: too many lost races, or a slot that stays free.
    pub surrenders: u8,
    /// Source objects rewritten.
    pub rewrites: u8,
    pub checkpoints: u8,
    pub sweeps: u8,
    pub rebuilds: u8,
    pub undos: u8,
    pub merges: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// For each source object, how often it was written after the first time.
    pub writes: Vec<u8>,
    /// The commit in each version's slot. Those below the checkpoint may be gone again.
    pub log: Vec<Option<Commit>>,
    /// The version of the newest checkpoint: whoever loads the table begins there.
    pub checkpoint: Version,
    pub table: Table,
    pub tails: BTreeMap<Id, Tail>,
    pub runs: BTreeMap<Id, RunFile>,
    /// Files of the ledger that were left behind long enough, and are deleted at any time.
    pub garbage: Vec<Id>,
    /// Each with the fence that it was planned under, which its name tells.
    pub files: BTreeMap<Id, u8>,
    /// Puts that were sent and given up on, and may still arrive.
    pub in_flight: Vec<(Version, Commit)>,
    pub ingesters: Vec<Ingester>,
    pub deeds: Vec<Deed>,
    pub sweep: Sweep,
    pub rebuild: Rebuild,
    pub undo: Undo,
    pub merges: [Merge; 2],
    pub budget: Budget,

    /// What became visible, in order.
    pub taken: Vec<Taken>,
    /// Receipts that say "it is in this table": object and table id.
    pub told_taken: BTreeSet<(Key, u8, u8)>,
    /// Appends of which it was said that they did not happen.
    pub told_lost: BTreeSet<Id>,
    /// Whether a file became visible under another schema than it was written for.
    pub has_misfit: bool,
    /// Whether an ingest was refused because the ledger seemed to be missing.
    pub has_refused: bool,
}

impl World {
    /// Offers `commit` to the slot of `version`; whether it is there now because of this.
    pub fn put(&mut self, version: Version, commit: &Commit, refuses_old_slots: bool) -> bool {
        let slot = usize::from(version);
        if slot < self.log.len() {
            // An empty slot here was cleaned away. Delta's storage takes the commit, which nobody
            // will ever read; Iceberg's catalog asserts the snapshot below it, and refuses.
            let is_free = self.log[slot].is_none() && !refuses_old_slots;
            if is_free {
                self.log[slot] = Some(commit.clone());
            }
            return is_free;
        }
        self.log.push(Some(commit.clone()));
        self.apply(commit);
        true
    }

    /// Makes the next version of the table.
    fn apply(&mut self, commit: &Commit) {
        let table = &mut self.table;
        table.version += 1;
        table.pointer = commit.pointer.or(table.pointer);
        if let Some(file) = &commit.file {
            self.has_misfit |= file.schema != table.schema;
            let taken =
                |&object: &Object| Taken { object, append: commit.append, table_id: table.id };
            self.taken.extend(file.rows.iter().map(taken));
            table.files.push(file.clone());
        }
        if let Some(Removal { removed, rest }) = &commit.removal {
            table.files.retain(|file| !removed.contains(&file.id));
            self.has_misfit |= rest.iter().any(|file| file.schema != table.schema);
            table.files.extend(rest.iter().cloned());
        }
        match commit.deed {
            None | Some(Deed::Append) => {}
            Some(Deed::Compact) => {
                let rows = table.files.drain(..).flat_map(|file| file.rows).collect();
                self.files.insert(commit.append, FOREIGN);
                table.files.push(DataFile { id: commit.append, rows, schema: table.schema });
            }
            Some(Deed::ChangeSchema) => table.schema += 1,
            Some(Deed::Replace) => {
                table.id += 1;
                table.files.clear();
            }
            Some(Deed::ForgetPointer) => table.pointer = None,
        }
    }

    /// The commit in the slot of `version`, if there is one.
    pub fn slot(&self, version: Version) -> Option<&Commit> {
        self.log.get(usize::from(version)).and_then(Option::as_ref)
    }

    /// Whether every file is there that a tail names.
    pub fn is_readable(&self, tail: &Tail) -> bool {
        tail.runs.iter().all(|run| self.runs.contains_key(run))
    }

    /// Deletes a file of the ledger.
    pub fn delete(&mut self, file: Id) {
        self.tails.remove(&file);
        self.runs.remove(&file);
    }

    /// The tail that the table points to.
    pub fn tail(&self) -> Option<&Tail> {
        self.table.pointer.and_then(|pointer| self.tails.get(&pointer))
    }
}
