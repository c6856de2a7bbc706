//! The pipeline: from announced objects to committed rows and receipts.
//!
//! One call is one micro-batch of one feed. It goes in rounds; what loses a race in one round is
//! planned again in the next.
//!
//! 1. *Pin* the table's newest version, then look at each object, then ask the ledger (in this
//!    order: an object that changes after it was looked at is caught when it is read).
//! 2. *Read* each object, on condition that it is still the version that was looked at.
//! 3. *Decode* it into typed batches. A bad row fails its object, and only that one; or it is
//!    rescued, quarantined or dropped, as the feed wants it.
//! 4. *Write* the batches as data files, and quarantined rows as a file of their own, durable and not
//!    yet visible. Small objects are decoded
//!    wholly, judged, and only then written to files that they share; a large one has its own.
//! 5. *Commit* files and ledger entries as the next version (see [`crate::commit`]), under the
//!    table's lease where the feed wants one, so that writers queue instead of colliding.
//! 6. *Receipt*: what happened to each object, said as soon as it is known.
//! 7. Once in a while, *sum up* the table in a checkpoint, so that it stays cheap to pin.
//!
//! Smallest first, and what is staged is committed before a large object begins. After a commit
//! nothing can fail the objects in it.

use std::collections::HashSet;
use std::sync::Arc;

use object_store::path::Path;

use crate::commit::{self, Outcome, Pin, Plan, PlannedSource, Removal, Watch};
use crate::config::{Feed, Mode};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::lease::{Claimant, Guard};
use crate::ledger;
use crate::parquet::TableWriter;
use crate::receipt::{Observer, Receipt};
use crate::source::Announcement;
use crate::table::{self, Checkpoint, DataFile, Sources, Table};

mod append;
mod attempts;
mod bad_rows;
mod budget;
mod drift;
mod evolve;
mod overwrite;
mod plan;
mod quarantine;
mod rows;
mod schema;
mod select;
mod task;
mod text;
mod time;
mod widen;
mod writing;

pub use plan::{Action, IngestPlan, PlannedColumn, PlannedObject, plan};
pub use time::has_time;

use budget::Limits;
use select::Selection;
use task::{Candidate, Facts, Task};
use time::Timekeeper;
use writing::Written;

/// Rounds in a row that end with no receipt, all being lost races, before the rest is handed back.
const FRUITLESS_ROUNDS_MAX: u32 = 20;
/// Objects in one commit: bounds its ledger entries and its memory.
pub const OBJECTS_PER_COMMIT_MAX: usize = 10_000;

/// Ingests the announced objects into the feed's table. Every distinct object gets one receipt,
/// which `observer` sees as soon as it is known.
///
/// # Errors
/// [`ErrorKind::Configuration`] and [`ErrorKind::OverBudget`], before anything was started. Whatever
/// happens later is in the receipts: a table that cannot be read or written fails each object.
pub async fn ingest(
    environment: &Environment,
    feed: &Feed,
    announcements: Vec<Announcement>,
    observer: &dyn Observer,
) -> Result<Vec<Receipt>> {
    let table = table::open(environment, feed)?;
    ingest_into(environment, feed, table.as_ref(), announcements, observer).await
}

/// Ingests into `table`, which is the feed's, already open.
///
/// # Errors
/// Those of [`ingest`].
pub async fn ingest_into(
    environment: &Environment,
    feed: &Feed,
    table: &dyn Table,
    announcements: Vec<Announcement>,
    observer: &dyn Observer,
) -> Result<Vec<Receipt>> {
    let mut run = Run::new(environment, feed, table, observer);
    let candidates = run.candidates(announcements);
    let all = environment.time_box.map(|_| candidates.clone());
    match time::until_the_end(environment, run.take(candidates)).await {
        Some(outcome) => outcome?,
        None => run.fail_waiting(all.unwrap_or_default(), &time::cut_off()),
    }
    run.sum_up().await;
    Ok(run.receipts)
}

/// Whether an error is about what was asked, and not about what happened to any object.
fn is_for_the_caller(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Configuration | ErrorKind::OverBudget)
}

/// One micro-batch under way.
struct Run<'a> {
    environment: &'a Environment,
    feed: &'a Feed,
    table: &'a dyn Table,
    observer: &'a dyn Observer,
    receipts: Vec<Receipt>,
    /// Whether this run has committed since the round's pin.
    has_committed: bool,
    /// Whether something of the round is to be planned again.
    has_lost: bool,
    /// What the table holds of the round's candidates, where that decides.
    watch: Option<Watch>,
    /// A version of this run's at which the table is to be summed up.
    checkpoint_due: Option<u64>,
    /// Whether the ledger's runs are to be merged.
    merge_due: bool,
    /// Files that the ledger has left behind.
    retired: Vec<Path>,
    /// Says what there is time for.
    time: Timekeeper<'a>,
    /// Claims the table's lease, where the feed wants one.
    claimant: Option<Claimant<'a>>,
}

impl<'a> Run<'a> {
    fn new(
        environment: &'a Environment,
        feed: &'a Feed,
        table: &'a dyn Table,
        observer: &'a dyn Observer,
    ) -> Self {
        let claimant = Claimant::new(environment, feed, table);
        let time = Timekeeper::new(environment);
        Self {
            environment,
            feed,
            table,
            observer,
            receipts: Vec::new(),
            has_committed: false,
            has_lost: false,
            watch: None,
            checkpoint_due: None,
            merge_due: false,
            retired: Vec::new(),
            time,
            claimant,
        }
    }

    /// Each announced object once.
    fn candidates(&self, announcements: Vec<Announcement>) -> Vec<Candidate> {
        let mut seen = HashSet::new();
        let distinct: Vec<Announcement> = announcements
            .into_iter()
            .filter(|announcement| seen.insert(announcement.location.uri.clone()))
            .collect();
        let bytes = distinct.iter().filter_map(|announcement| announcement.size_hint).sum();
        self.observer.started(distinct.len(), bytes);
        let candidate = |announcement| Candidate::new(self.feed, self.table.uri(), announcement);
        distinct.into_iter().map(candidate).collect()
    }

    async fn lease_for_run(&self) -> Result<Option<Guard<'a>>> {
        match &self.claimant {
            Some(claimant) => claimant.for_run().await,
            None => Ok(None),
        }
    }

    async fn lease_for_commit(&self) -> Option<Guard<'a>> {
        self.claimant.as_ref()?.for_commit().await
    }

    /// Takes the candidates, under the table's lease where the feed wants one for the whole run.
    async fn take(&mut self, candidates: Vec<Candidate>) -> Result<()> {
        match self.lease_for_run().await {
            Ok(Some(guard)) => guard.during(self.rounds(candidates)).await,
            Ok(None) => self.rounds(candidates).await,
            Err(error) => {
                self.fail_waiting(candidates, &error);
                Ok(())
            }
        }
    }

    /// Takes the candidates in rounds, until each has its receipt.
    async fn rounds(&mut self, mut pending: Vec<Candidate>) -> Result<()> {
        let mut fruitless_rounds = 0;
        while fruitless_rounds < FRUITLESS_ROUNDS_MAX {
            if pending.is_empty() {
                return Ok(());
            }
            if let Some(objection) = self.time.objection(0) {
                self.fail_waiting(pending, &objection);
                return Ok(());
            }
            let receipts_before = self.receipts.len();
            let waiting = pending.clone();
            let round = match self.feed.mode {
                // In boxes: each is a large future.
                Mode::Overwrite => Box::pin(self.overwrite(pending)).await,
                Mode::Once | Mode::Again | Mode::Append => Box::pin(self.round(pending)).await,
            };
            pending = match round {
                Ok(again) => again,
                Err(error) if self.receipts.is_empty() && is_for_the_caller(error.kind()) => {
                    return Err(error);
                }
                Err(error) => {
                    self.fail_waiting(waiting, &error);
                    return Ok(());
                }
            };
            fruitless_rounds =
                if self.receipts.len() == receipts_before { fruitless_rounds + 1 } else { 0 };
        }
        let error = Error::new(ErrorKind::Contention, "it lost every race against other writers")
            .with_advice("run again later; nothing of it was committed");
        self.fail_waiting(pending, &error);
        Ok(())
    }

    /// Takes every candidate as far as it goes on one pin; returns those to be planned again.
    async fn round(&mut self, candidates: Vec<Candidate>) -> Result<Vec<Candidate>> {
        (self.has_committed, self.has_lost) = (false, false);
        let (pin, taken) =
            select::pin(self.environment, self.feed, self.table, &candidates).await?;
        let selection = self.select(pin, &taken, candidates).await?;
        let Selection { pin, tasks, aliases, mut again, settled } = selection;
        let Some(pin) = pin else { return Ok(again) };
        self.watch = taken.held.and_then(|held| {
            let column = self.feed.source_file_column.clone()?;
            Some(Watch { column, held: held.into_keys().collect() })
        });
        let left = {
            let limits = Limits::new(self.environment, self.feed, self.table, pin.layout())?;
            self.append_all(&pin, &limits, tasks, aliases).await
        };
        again.extend(left.again);
        again.extend(self.append_drifting(&pin, left.drifting).await);
        for (candidate, receipt) in settled {
            // What the table held may have changed, so that it is to be taken after all.
            if self.has_lost { again.push(candidate) } else { self.finish(receipt) }
        }
        Ok(again)
    }

    /// Commits the files and says so; returns what is to be planned again.
    async fn commit(
        &mut self,
        planned_on: &Pin,
        written: Written,
        loaded: Vec<(Task, Facts)>,
        aliases: Vec<PlannedSource>,
    ) -> Vec<Candidate> {
        let plan = self.plan(planned_on, &written, &loaded, aliases);
        self.commit_planned(planned_on, &plan, written, loaded).await
    }

    async fn commit_planned(
        &mut self,
        planned_on: &Pin,
        plan: &Plan,
        written: Written,
        loaded: Vec<(Task, Facts)>,
    ) -> Vec<Candidate> {
        match self.commit_plan(planned_on, plan).await {
            Ok(Outcome::Committed { version, attempts, rows_removed, columns_added, chores }) => {
                self.has_committed = true;
                self.look_whether_due(planned_on, version);
                self.merge_due |= chores.is_merge_due;
                self.retired.extend(chores.retired);
                let share = Share::of(&written.files);
                let quarantine = written.quarantine.as_ref();
                for (task, facts) in loaded {
                    let receipt = task.committed(
                        self.environment,
                        &facts,
                        &share,
                        quarantine,
                        version,
                        attempts,
                    );
                    let rows_removed = rows_removed.get(&task.candidate.name).copied();
                    self.finish(Receipt {
                        rows_removed: rows_removed.unwrap_or(0),
                        columns_added: columns_added.clone(),
                        ..receipt
                    });
                }
                Vec::new()
            }
            Ok(Outcome::PlanAgain { reason, files_are_lost, .. }) => {
                tracing::info!(table = self.table.uri(), reason, "planning again");
                self.has_lost = true;
                if files_are_lost {
                    written.delete(self.table).await;
                }
                loaded.into_iter().map(|(task, _)| task.candidate).collect()
            }
            Err(error) => {
                if !error.kind().might_have_happened() {
                    written.delete(self.table).await;
                }
                self.fail_all(loaded, &error);
                Vec::new()
            }
        }
    }

    /// The append of what was loaded, and what it takes away.
    fn plan(
        &self,
        planned_on: &Pin,
        written: &Written,
        loaded: &[(Task, Facts)],
        aliases: Vec<PlannedSource>,
    ) -> Plan {
        let quarantine = written.quarantine.as_ref();
        let planned = loaded.iter().map(|(task, facts)| task.planned(facts, quarantine));
        let sources = planned.chain(aliases).collect();
        let plan = Plan::new(self.environment, planned_on, written.files.clone(), sources);
        let plan = plan.watching(self.watch.clone());
        let plan = if self.feed.mode == Mode::Append { plan.blind() } else { plan };
        let replaced = loaded.iter().filter(|(task, _)| task.replaces);
        let names: Vec<String> = replaced.map(|(task, _)| task.candidate.name.clone()).collect();
        match &self.feed.source_file_column {
            Some(column) if !names.is_empty() => plan.removing(Removal {
                sources: Sources::Named { column: column.clone(), names },
                is_replacement: true,
                target_file_bytes: self.feed.target_file_bytes,
            }),
            _ => plan,
        }
    }

    fn look_whether_due(&mut self, planned_on: &Pin, version: u64) {
        let is_due = |base| self.table.is_checkpoint_due(base, version);
        if planned_on.snapshot().is_some_and(is_due) {
            self.checkpoint_due = Some(version);
        }
    }

    /// Sums the table and its ledger up, where that is due. What was committed is committed, whatever
    /// comes of it.
    async fn sum_up(&mut self) {
        let retired = ledger::delete_all(self.table, std::mem::take(&mut self.retired));
        time::until_the_end(self.environment, retired).await;
        if let Some(version) = self.checkpoint_due {
            self.checkpoint(version).await;
        }
        if self.merge_due {
            self.merge_ledger().await;
        }
    }

    async fn merge_ledger(&self) {
        let Feed { ledger, commit_attempts_max, .. } = self.feed;
        let merge =
            commit::merge_ledger(self.environment, self.table, ledger, *commit_attempts_max);
        let uri = self.table.uri();
        match time::until_the_end(self.environment, Box::pin(merge)).await {
            Some(Ok(merges)) => tracing::info!(uri, merges, "merged runs of the ledger"),
            Some(Err(error)) => tracing::warn!(uri, "the ledger's runs were not merged: {error}"),
            None => tracing::warn!(uri, "no time to merge the ledger's runs"),
        }
    }

    async fn checkpoint(&self, version: u64) {
        let uri = self.table.uri();
        match self.table.checkpoint(self.environment, version).await {
            Ok(Checkpoint::Written { bytes, .. }) => {
                tracing::info!(uri, version, bytes, "summed up the table in a checkpoint");
            }
            Ok(Checkpoint::There) => {}
            Ok(Checkpoint::NoTime) => {
                tracing::warn!(uri, version, "no time for a checkpoint: run `lakefeed maintain`");
            }
            Err(error) => tracing::warn!(uri, version, "no checkpoint was written: {error}"),
        }
    }

    /// Commits under the table's lease, where the feed wants one and it is to be had.
    async fn commit_plan(&self, planned_on: &Pin, plan: &Plan) -> Result<Outcome> {
        let guard = self.lease_for_commit().await;
        // Others may have committed while we waited for our turn, or we ourselves.
        let pin_again = guard.is_some() || self.has_committed;
        let commit = async {
            let newest = match pin_again {
                true => Pin::newest(self.table, &self.feed.ledger).await?,
                false => None,
            };
            let pin = newest.unwrap_or_else(|| planned_on.clone());
            let attempts_max = self.feed.commit_attempts_max;
            commit::commit(self.environment, self.table, pin, plan, attempts_max).await
        };
        match guard {
            Some(guard) => guard.during(commit).await,
            None => commit.await,
        }
    }

    fn writer(&self, pin: &Pin, limits: &Limits) -> Result<TableWriter> {
        TableWriter::new(
            pin.destination(self.table),
            limits.writer.clone(),
            Arc::clone(&self.environment.entropy),
            Arc::clone(&self.environment.clock),
            &self.environment.budget,
        )
    }

    /// Fails the task, or plans it again where its object has changed under it.
    fn give_up(&mut self, mut task: Task, error: &Error) -> Vec<Candidate> {
        if error.kind() == ErrorKind::SourceChanged && task.candidate.may_change_again() {
            return vec![task.candidate];
        }
        let receipt = task.failed(self.environment, error);
        self.finish(receipt);
        Vec::new()
    }

    /// Fails the last of `loaded`, whose rows could not be written; the others run again, unless it
    /// is the storage that failed, which they would meet as well.
    fn blame_last(
        &mut self,
        mut loaded: Vec<(Task, Facts)>,
        rest: impl Iterator<Item = (Task, Facts)>,
        error: &Error,
    ) -> Vec<Candidate> {
        if error.kind() == ErrorKind::StorageUnavailable {
            self.fail_all(loaded.into_iter().chain(rest), error);
            return Vec::new();
        }
        let blamed = loaded.pop();
        self.fail_all(blamed, error);
        loaded.into_iter().chain(rest).map(|(task, _)| task.candidate).collect()
    }

    fn fail_all(&mut self, tasks: impl IntoIterator<Item = (Task, Facts)>, error: &Error) {
        for (task, _) in tasks {
            let receipt = task.failed(self.environment, error);
            self.finish(receipt);
        }
    }

    /// Fails those of `candidates` that have no receipt yet.
    fn fail_waiting(&mut self, candidates: Vec<Candidate>, error: &Error) {
        let told: HashSet<String> = self.receipts.iter().map(|r| r.source.clone()).collect();
        for candidate in candidates {
            if !told.contains(&candidate.announcement.location.uri) {
                self.finish(candidate.failed(error));
            }
        }
    }

    fn finish(&mut self, receipt: Receipt) {
        self.observer.finished(&receipt);
        self.receipts.push(receipt);
    }
}

/// The files of an append, to be shared out among its objects by rows.
struct Share {
    files: u64,
    bytes: u64,
    rows: u64,
}

impl Share {
    fn of(files: &[DataFile]) -> Self {
        Self {
            files: files.len() as u64,
            bytes: files.iter().map(|file| file.size_bytes).sum(),
            rows: files.iter().map(|file| file.rows).sum(),
        }
    }

    fn bytes_of(&self, rows: u64) -> u64 {
        let share = u128::from(self.bytes) * u128::from(rows) / u128::from(self.rows.max(1));
        u64::try_from(share).unwrap_or(self.bytes)
    }
}

#[cfg(test)]
mod tests;
