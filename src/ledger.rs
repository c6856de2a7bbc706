//! Which source objects the table has taken.
//!
//! Immutable files, and one pointer that moves in the commit that adds the rows. Each attempt to
//! commit writes a new *tail*, create-only: a header line, then the newest entries and its own, as
//! lines of JSON that anyone can read. The pointer in the table's metadata names the current tail.
//! A tail that no commit names is nothing.
//!
//! A tail of more than [`Limits::tail_entries_max`] entries is folded into a *run*: a Parquet file of
//! entries in the order of names, which the following tails name. Runs of about the same size are
//! merged ([`Ledger::merge`]), so that there are few of them, and an entry is written again only as
//! often as the ledger has grown eightfold. A look-up ([`Ledger::find`]) reads the tail, and of the
//! runs only what may hold one of its names: what it costs hardly depends on how much was ever taken.
//!
//! Entries only grow. What is missing is judged on the current pointer, and refused, never
//! assumed empty: an empty ledger would take everything again.

use futures::FutureExt;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use object_store::path::Path;

use crate::clock::Entropy;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::table::{CommitOutcome, Pointer, Table};

mod entry;
mod merge;
mod orphans;
mod run;
mod tail;
mod trouble;

#[cfg(test)]
mod tests;

pub use entry::{ANY_IDENTITY, Entry, EntryState, Found, Standing, hold_rows};
pub use merge::Merged;
pub use run::Run;
pub use trouble::{any, missing};

use run::RunWriter;
use tail::Header;

/// Files that are deleted at once.
const DELETES_IN_FLIGHT_MAX: usize = 8;
/// Runs that are looked into at once.
const RUNS_IN_FLIGHT_MAX: usize = 4;

/// When a ledger's files are put together, and when they are taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Entries of a tail; with more, it is folded.
    pub tail_entries_max: usize,
    /// Runs of about the same size; so many are merged.
    pub runs_alike_max: usize,
    /// Of so many moves of the pointer, whoever makes one looks whether runs are to be merged: all
    /// at once would do the same work.
    pub merge_interval: u64,
    /// Files that are not named any more and are kept for those who are still reading them. With
    /// more, the older half of them is deleted.
    pub retired_files_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { tail_entries_max: 256, runs_alike_max: 8, merge_interval: 8, retired_files_max: 64 }
    }
}

/// Where a ledger's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    table_id: String,
    name: String,
}

impl Place {
    fn folder(&self, table: &dyn Table) -> Path {
        table.ledger_root().join(self.table_id.as_str()).join(self.name.as_str())
    }

    fn file(&self, table: &dyn Table, file: &str) -> Path {
        file.split('/').fold(self.folder(table), |folder, name| folder.join(name))
    }
}

/// The ledger at one pinned version of the table.
#[derive(Debug, Clone)]
pub struct Ledger {
    place: Place,
    /// Nothing: the table has not been adopted yet.
    pointer: Option<Pointer>,
    /// Of the current tail. No tail of this ledger has a higher sequence, as far as is known.
    header: Header,
    /// The current tail's.
    entries: Vec<Entry>,
}

/// A tail that was written and is not committed yet.
#[derive(Debug)]
#[must_use = "what it came to decides which files are deleted"]
pub struct NextTail {
    /// What the table is to point to.
    pub pointer: Pointer,
    /// The files that nobody else names.
    written: Vec<Path>,
    /// The files that nobody names any more, once this tail is committed.
    retired: Vec<Path>,
}

impl Ledger {
    /// The ledger of a table that has none yet.
    pub fn unadopted(name: &str, table_id: &str) -> Self {
        let place = Place { table_id: table_id.to_owned(), name: name.to_owned() };
        let header = Header::empty(&place, 0, 0, None);
        Self { place, pointer: None, header, entries: Vec::new() }
    }

    /// Loads the tail that `pointer` names. Without a pointer, the table is not adopted yet.
    ///
    /// # Errors
    /// [`ErrorKind::LedgerMissing`] when the tail is gone, or when there is no pointer and yet a
    /// trace of one; [`ErrorKind::LedgerForeign`] when it is another table's;
    /// [`ErrorKind::TableUnsupported`] when another Lakefeed wrote it; [`ErrorKind::TableTooLarge`];
    /// [`ErrorKind::StorageUnavailable`].
    pub async fn load(
        table: &dyn Table,
        table_id: &str,
        name: &str,
        pointer: Option<Pointer>,
    ) -> Result<Self> {
        let none = Self::unadopted(name, table_id);
        let Some(pointer) = pointer else {
            trouble::refuse_lost_pointer(table, &none.place).await?;
            return Ok(none);
        };
        let (header, entries) = tail::load(table, &none.place, pointer).await?;
        Ok(Self { pointer: Some(pointer), header, entries, ..none })
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
        let none = Self::unadopted(name, table_id);
        let listed = trouble::highest_sequence(table, &none.place).await?;
        let pointed = pointer.map(tail::sequence_of);
        let sequence = listed.max(pointed).unwrap_or(0);
        let header = Header::empty(&none.place, sequence, 0, None);
        Ok(Self { pointer, header, ..none })
    }

    /// The entries of `names`.
    ///
    /// # Errors
    /// [`ErrorKind::LedgerMissing`] when a run is gone: the pointer may have moved on since this
    /// ledger was loaded. [`ErrorKind::StorageUnavailable`].
    pub async fn find<'n>(
        &self,
        table: &dyn Table,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<Found> {
        self.look_up(table, names, 0).await
    }

    /// Those of the entries of `names` that were entered after `sequence`.
    ///
    /// # Errors
    /// Those of [`Ledger::find`].
    pub async fn find_after<'n>(
        &self,
        table: &dyn Table,
        names: impl IntoIterator<Item = &'n str>,
        sequence: u64,
    ) -> Result<Found> {
        self.look_up(table, names, sequence + 1).await
    }

    async fn look_up<'n>(
        &self,
        table: &dyn Table,
        names: impl IntoIterator<Item = &'n str>,
        oldest: u64,
    ) -> Result<Found> {
        let mut names: Vec<&str> = names.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        let runs = self.runs().iter().filter(|run| run.newest >= oldest && run.may_hold(&names));
        let of_runs: Vec<Vec<Entry>> = stream::iter(runs)
            // In a box: reading Parquet is a future of many layers.
            .map(|run| run.find(table.store(), self.place.file(table, &run.file), &names).boxed())
            .buffer_unordered(RUNS_IN_FLIGHT_MAX)
            .try_collect()
            .await?;
        let is_named = |entry: &&Entry| names.binary_search(&entry.name.as_str()).is_ok();
        let of_tail = self.entries.iter().filter(is_named).cloned();
        Ok(of_runs
            .into_iter()
            .flatten()
            .chain(of_tail)
            .filter(|entry| entry.sequence >= oldest)
            .collect())
    }

    /// Every entry, some at a time: those of each run by their names, then those of the tail as they
    /// were entered.
    pub fn entries<'a>(&'a self, table: &'a dyn Table) -> BoxStream<'a, Result<Vec<Entry>>> {
        let of_run = async |run: &'a Run| {
            let rows = run.rows(table.store(), &self.place.file(table, &run.file)).await?;
            Ok(stream::try_unfold(rows, async |mut rows| {
                Ok(rows.next_entries().await?.map(|entries| (entries, rows)))
            }))
        };
        let of_runs = stream::iter(self.runs()).then(of_run).try_flatten();
        of_runs.chain(stream::iter([Ok(self.entries.clone())])).boxed()
    }

    /// How many entries there are.
    pub fn count(&self) -> u64 {
        self.runs().iter().map(|run| run.entries).sum::<u64>() + self.entries.len() as u64
    }

    /// The runs, oldest first.
    pub fn runs(&self) -> &[Run] {
        &self.header.runs
    }

    /// The current tail's id; nothing where the table is not adopted.
    pub fn pointer(&self) -> Option<Pointer> {
        self.pointer
    }

    /// How often the pointer was moved.
    pub fn sequence(&self) -> u64 {
        self.header.sequence
    }

    /// The fence: an append that began under another one must begin again.
    pub fn fence(&self) -> u64 {
        self.header.fence
    }

    /// The ledger's name.
    pub fn name(&self) -> &str {
        &self.place.name
    }

    /// The table that the ledger belongs to.
    pub fn table_id(&self) -> &str {
        &self.place.table_id
    }

    /// Writes the tail of an adoption: sequence 0, empty.
    ///
    /// # Errors
    /// [`ErrorKind::StorageUnavailable`].
    pub async fn write_first_tail(&self, table: &dyn Table, pointer: Pointer) -> Result<NextTail> {
        let header = Header::empty(&self.place, 0, self.fence(), self.pointer);
        if !tail::put(table, &self.place, pointer, &header, &[]).await? {
            return Err(Error::new(
                ErrorKind::StorageUnavailable,
                "another writer drew the same random name for its ledger",
            )
            .with_advice("run again"));
        }
        let written = vec![self.place.file(table, &tail::file_of(pointer))];
        Ok(NextTail { pointer, written, retired: Vec::new() })
    }

    /// Writes the tail that follows this one: every entry so far, and `added`. What is too much for
    /// a tail goes to a run.
    ///
    /// # Errors
    /// [`ErrorKind::StorageUnavailable`].
    pub async fn write_next_tail(
        &self,
        environment: &Environment,
        table: &dyn Table,
        added: Vec<Entry>,
    ) -> Result<NextTail> {
        let entries = self.entries.iter().cloned().chain(added).collect();
        self.write_tail(environment, table, self.next_header(), entries).await
    }

    /// Writes a tail that forgets this one and starts again with `entries`, behind a new fence.
    ///
    /// # Errors
    /// [`ErrorKind::StorageUnavailable`].
    pub async fn write_fresh_tail(
        &self,
        environment: &Environment,
        table: &dyn Table,
        entries: &[Entry],
    ) -> Result<NextTail> {
        // A fence is the sequence of the tail that set it: higher than every one before, known or
        // lost.
        let sequence = self.sequence() + 1;
        let header = Header::empty(&self.place, sequence, sequence, self.pointer);
        let entry = |entry: &Entry| Entry { sequence, ..entry.clone() };
        self.write_tail(environment, table, header, entries.iter().map(entry).collect()).await
    }

    /// Writes the tail that follows this one, with the same entries, behind a new fence.
    ///
    /// # Errors
    /// [`ErrorKind::StorageUnavailable`].
    pub async fn write_fenced_tail(
        &self,
        environment: &Environment,
        table: &dyn Table,
    ) -> Result<NextTail> {
        let header = self.next_header();
        let header = Header { fence: header.sequence, ..header };
        self.write_tail(environment, table, header, self.entries.clone()).await
    }

    /// Of the tail after this one, if it names the same runs.
    fn next_header(&self) -> Header {
        let mut retired = self.header.retired.clone();
        retired.extend(self.pointer.map(tail::file_of));
        let sequence = self.sequence() + 1;
        Header { sequence, predecessor: self.pointer, retired, ..self.header.clone() }
    }

    async fn write_tail(
        &self,
        environment: &Environment,
        table: &dyn Table,
        mut header: Header,
        mut entries: Vec<Entry>,
    ) -> Result<NextTail> {
        let limits = &environment.ledger;
        let retired = match header.retired.len() > limits.retired_files_max {
            true => header.retired.drain(..header.retired.len() / 2).collect(),
            false => Vec::new(),
        };
        let mut written = Vec::new();
        if entries.len() > limits.tail_entries_max {
            let folded = std::mem::take(&mut entries);
            let run = self.fold(environment, table, header.fence, folded).boxed().await?;
            written.push(self.place.file(table, &run.file));
            header.runs.push(run);
        }
        let entropy = &environment.entropy;
        let pointer = tail::create(table, &self.place, entropy, &header, &entries).await?;
        written.push(self.place.file(table, &tail::file_of(pointer)));
        let path = |file: String| self.place.file(table, &file);
        Ok(NextTail { pointer, written, retired: retired.into_iter().map(path).collect() })
    }

    /// Writes `entries` as a run.
    async fn fold(
        &self,
        environment: &Environment,
        table: &dyn Table,
        fence: u64,
        mut entries: Vec<Entry>,
    ) -> Result<Run> {
        entries.sort_by(|a, b| (&a.name, a.sequence).cmp(&(&b.name, b.sequence)));
        let mut run = self.begin_run(environment, table, fence)?;
        match run.write_entries(&entries).await {
            Ok(()) => run.finish().await,
            Err(error) => {
                run.abort().await;
                Err(error)
            }
        }
    }

    /// Nobody else draws the name of its file, so nothing is overwritten.
    fn begin_run(
        &self,
        environment: &Environment,
        table: &dyn Table,
        fence: u64,
    ) -> Result<RunWriter> {
        let file = orphans::file_of_run(fence, environment.entropy.uuid());
        let path = self.place.file(table, &file);
        RunWriter::new(table.store(), path, file, table.part_bytes())
    }
}

impl NextTail {
    /// What the attempt to commit this tail has come to: of one that was lost, its own files are
    /// deleted; of one that was won, those of older tails are returned that nobody need be reading,
    /// to be deleted when there is time. Neither where that is not known.
    pub async fn settle(self, table: &dyn Table, outcome: CommitOutcome) -> Vec<Path> {
        match outcome {
            CommitOutcome::Committed(_) => self.retired,
            CommitOutcome::Conflict => {
                delete_all(table, self.written).await;
                Vec::new()
            }
            CommitOutcome::Unknown => Vec::new(),
        }
    }
}

/// Deletes files that nobody names. Best effort: one that stays behind harms nobody.
pub async fn delete_all(table: &dyn Table, files: Vec<Path>) {
    let delete = async |path: Path| {
        if let Err(cause) = table.store().delete(&path).await {
            tracing::debug!(%path, %cause, "a file of the ledger stays behind");
        }
    };
    stream::iter(files).for_each_concurrent(DELETES_IN_FLIGHT_MAX, delete).await;
}

/// The pointer to a ledger's first tail.
pub fn first_pointer(entropy: &Entropy) -> Pointer {
    tail::pointer_of(0, entropy)
}
