//! Runs of about the same size, put together.

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::Int64Type;
use object_store::path::Path;

use super::run::{NAME, Rows, Run, RunWriter, SEQUENCE};
use super::{Ledger, NextTail, delete_all};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::table::Table;

/// Rows that are written at once.
const BATCH_ROWS_MAX: usize = 4096;
/// What the run that is written holds: an open row group, and two parts on their way.
const HELD_TO_WRITE_BYTES: u64 = 24 << 20;
/// What a run that is read holds at most: a row group, its pages, a batch.
const HELD_TO_READ_BYTES: u64 = 6 << 20;
/// The same of a small run, for each byte of its file.
const HELD_BY_FILE: u64 = 16;
/// What the filters and the footer of the run that is written take for each entry.
const HELD_BY_ENTRY_BYTES: u64 = 3;
/// Runs that are merged at once: each holds a row group.
const RUNS_MAX: usize = 16;

/// A run that takes the place of others.
#[derive(Debug)]
pub struct Merged {
    /// Under which it was made: behind another, its file may be gone.
    fence: u64,
    inputs: Vec<String>,
    output: Run,
    path: Path,
}

impl Ledger {
    /// The runs that are to be merged next: the smallest of which there are enough.
    pub fn runs_to_merge(&self, environment: &Environment) -> Option<Vec<Run>> {
        let limits = &environment.ledger;
        let alike = limits.runs_alike_max.clamp(2, RUNS_MAX);
        let tier = |run: &Run| tier_of(run.entries, limits.tail_entries_max, alike);
        let mut tiers: Vec<u32> = self.runs().iter().map(tier).collect();
        tiers.sort_unstable();
        let crowded = tiers.windows(alike).find(|some| some[0] == some[alike - 1])?[0];
        let of_tier = self.runs().iter().filter(|run| tier(run) == crowded);
        Some(of_tier.take(RUNS_MAX).cloned().collect())
    }

    /// Whether whoever has committed on top of this ledger merges runs after that.
    pub fn is_merge_due(&self, environment: &Environment) -> bool {
        (self.sequence() + 1).is_multiple_of(environment.ledger.merge_interval)
            && self.runs_to_merge(environment).is_some()
    }

    /// Writes one run of `inputs`; they stay as they are.
    ///
    /// # Errors
    /// [`ErrorKind::LedgerMissing`] when one of them is gone, which the pointer may have left behind
    /// meanwhile; [`ErrorKind::OverBudget`]; [`ErrorKind::StorageUnavailable`].
    pub async fn merge(
        &self,
        environment: &Environment,
        table: &dyn Table,
        inputs: Vec<Run>,
    ) -> Result<Merged> {
        let held_bytes = held_bytes(&inputs);
        let _held = environment.budget.try_reserve("merging the ledger", held_bytes)?;
        let mut cursors = Vec::with_capacity(inputs.len());
        for run in &inputs {
            let rows = run.rows(table.store(), &self.place.file(table, &run.file)).await?;
            cursors.extend(Cursor::first(rows).await?);
        }
        let mut output = self.begin_run(environment, table, self.fence())?;
        let output = match write_in_order(cursors, &mut output).await {
            Ok(()) => output.finish().await?,
            Err(error) => {
                output.abort().await;
                return Err(error);
            }
        };
        let path = self.place.file(table, &output.file);
        let inputs = inputs.into_iter().map(|run| run.file).collect();
        Ok(Merged { fence: self.fence(), inputs, output, path })
    }

    /// Writes the tail that follows this one, with the merged run in place of those that it was made
    /// of; nothing where they are not all there any more, or the fence has moved.
    ///
    /// # Errors
    /// [`ErrorKind::StorageUnavailable`].
    pub async fn write_merged_tail(
        &self,
        environment: &Environment,
        table: &dyn Table,
        merged: &Merged,
    ) -> Result<Option<NextTail>> {
        let is_input = |run: &&Run| merged.inputs.contains(&run.file);
        let inputs = self.runs().iter().filter(is_input).count();
        if self.fence() != merged.fence || inputs < merged.inputs.len() {
            return Ok(None);
        }
        let mut header = self.next_header();
        header.runs.retain(|run| !is_input(&run));
        header.runs.push(merged.output.clone());
        header.runs.sort_by_key(|run| run.newest);
        header.retired.extend(merged.inputs.iter().cloned());
        let next = self.write_tail(environment, table, header, self.entries.clone());
        next.await.map(Some)
    }
}

impl Merged {
    #[cfg(test)]
    pub(super) fn file_name(&self) -> &str {
        self.path.filename().unwrap_or_default()
    }

    /// Deletes it, now that no attempt that named it is committed or unknown. Best effort.
    pub async fn delete(self, table: &dyn Table) {
        delete_all(table, vec![self.path]).await;
    }
}

fn held_bytes(inputs: &[Run]) -> u64 {
    let of_run = |run: &Run| {
        (run.bytes * HELD_BY_FILE).min(HELD_TO_READ_BYTES) + run.entries * HELD_BY_ENTRY_BYTES
    };
    HELD_TO_WRITE_BYTES + inputs.iter().map(of_run).sum::<u64>()
}

/// How often a tail has grown `alike` times to make so many entries.
fn tier_of(entries: u64, tail_entries_max: usize, alike: usize) -> u32 {
    let tails = entries / (tail_entries_max as u64 + 1);
    tails.max(1).ilog(alike as u64)
}

/// How far one run has been read.
struct Cursor {
    rows: Rows,
    batch: RecordBatch,
    row: usize,
}

impl Cursor {
    async fn first(mut rows: Rows) -> Result<Option<Self>> {
        Ok(rows.next().await?.map(|batch| Self { rows, batch, row: 0 }))
    }

    /// The next row's name and sequence; nothing where the batch has been read.
    fn head(&self) -> Option<(&str, i64)> {
        let names = self.batch.column(NAME).as_string::<i32>();
        let sequences = self.batch.column(SEQUENCE).as_primitive::<Int64Type>();
        (self.row < self.batch.num_rows())
            .then(|| (names.value(self.row), sequences.value(self.row)))
    }
}

async fn write_in_order(mut cursors: Vec<Cursor>, output: &mut RunWriter) -> Result<()> {
    while !cursors.is_empty() {
        let picks = pick(&mut cursors);
        let batches: Vec<&RecordBatch> = cursors.iter().map(|cursor| &cursor.batch).collect();
        let merged = interleave_record_batch(&batches, &picks).map_err(|cause| {
            Error::new(ErrorKind::Internal, "runs of the ledger cannot be merged").with_cause(cause)
        })?;
        output.write(&merged).await?;
        let mut unfinished = Vec::with_capacity(cursors.len());
        for cursor in cursors {
            match cursor.head() {
                Some(_) => unfinished.push(cursor),
                None => unfinished.extend(Cursor::first(cursor.rows).await?),
            }
        }
        cursors = unfinished;
    }
    Ok(())
}

/// The next rows of all, in order, as far as the batches go: which batch, and which row of it.
fn pick(cursors: &mut [Cursor]) -> Vec<(usize, usize)> {
    let mut picks = Vec::with_capacity(BATCH_ROWS_MAX);
    while picks.len() < BATCH_ROWS_MAX && cursors.iter().all(|cursor| cursor.head().is_some()) {
        let least = (0..cursors.len()).min_by_key(|&number| cursors[number].head());
        let Some(least) = least else { break };
        picks.push((least, cursors[least].row));
        cursors[least].row += 1;
    }
    picks
}
