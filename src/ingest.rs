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

use arrow::array::RecordBatch;
use object_store::path::Path;

use crate::commit::{self, Outcome, Pin, Plan, PlannedSource, Removal, Watch};
use crate::config::{Feed, Mode};
use crate::csv::Reject;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::lease::{Claimant, Guard};
use crate::ledger;
use crate::parquet::TableWriter;
use crate::receipt::{Observer, Receipt};
use crate::source::Announcement;
use crate::table::{self, Checkpoint, DataFile, Sources, Table};

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
use drift::Drift;
use quarantine::Quarantine;
use rows::{Rows, Staged};
use select::Selection;
use task::{Candidate, Facts, Task};
use time::Timekeeper;
use writing::{Writing, Written};

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

/// Whether an object may be staged with others: it is small, and not suspected of anything.
fn is_harmless(task: &Task, limits: &Limits) -> bool {
    task.object.size_bytes <= limits.stage_bytes_max
        && task.candidate.announcement.deliveries < attempts::DELIVERIES_MIN
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

    /// Takes the objects in as few appends as can be: small ones together, and then each large one.
    async fn append_all(
        &mut self,
        pin: &Pin,
        limits: &Limits,
        tasks: Vec<Task>,
        aliases: Vec<PlannedSource>,
    ) -> Left {
        let mut all = Left::default();
        let (mut small, mut large): (Vec<Task>, Vec<Task>) =
            tasks.into_iter().partition(|task| is_harmless(task, limits));
        let mut aliases = Some(aliases).filter(|aliases| !aliases.is_empty());
        while !small.is_empty() || aliases.is_some() {
            let rest = small.split_off(small.len().min(OBJECTS_PER_COMMIT_MAX));
            let aliases = aliases.take().unwrap_or_default();
            let left = self.append_together(pin, limits, small, aliases).await;
            large.extend(all.take(left));
            small = rest;
        }
        for (attempts_before, task) in self.dangerous_last(large).await {
            let left = self.append_marked(pin, limits, task, attempts_before).await;
            all.take(left);
        }
        all
    }

    /// One append of many small objects, which share data files.
    async fn append_together(
        &mut self,
        pin: &Pin,
        limits: &Limits,
        tasks: Vec<Task>,
        aliases: Vec<PlannedSource>,
    ) -> Left {
        let mut left = Left::default();
        let mut loaded = Vec::new();
        let mut writing = match self.begin_writing(pin) {
            Ok(writing) => writing,
            Err(error) => {
                self.fail_all(tasks.into_iter().map(|task| (task, Facts::default())), &error);
                return left;
            }
        };
        let mut tasks = tasks.into_iter();
        while let Some(mut task) = tasks.next() {
            task.begin(self.environment);
            if let Some(objection) = self.time.objection(task.object.size_bytes) {
                left.again.extend(self.give_up(task, &objection));
                continue;
            }
            let mut rows = Rows::open(self, pin, limits, &task);
            let staged = rows.stage().await;
            let findings = rows.findings();
            drop(rows);
            task.findings = findings;
            let (batches, rejects, facts) = match staged {
                Ok(Staged::Whole { batches, rejects, facts }) => (batches, rejects, facts),
                Ok(Staged::Empty) => {
                    self.finish(task.skipped("empty"));
                    continue;
                }
                Ok(Staged::TooLarge) => {
                    left.too_large.push(task);
                    continue;
                }
                Ok(Staged::Drifts(drift)) => {
                    left.drifting.push((task, drift));
                    continue;
                }
                Err(error) => {
                    left.again.extend(self.give_up(task, &error));
                    continue;
                }
            };
            let written =
                self.write_shared(&mut writing, pin, limits, &batches, (&task, &rejects)).await;
            loaded.push((task, facts));
            if let Err(error) = written {
                writing.abort().await;
                // What the shared files held is gone with them.
                let rest = tasks.map(|task| (task, Facts::default()));
                left.again.extend(self.blame_last(loaded, rest, &error));
                return left;
            }
        }
        match writing.finish(self.table).await {
            Ok(_) if loaded.is_empty() && aliases.is_empty() => {}
            Ok(written) => left.again.extend(self.commit(pin, written, loaded, aliases).await),
            Err(error) => self.fail_all(loaded, &error),
        }
        left
    }

    /// Writes some rows of one object to the shared files, which are begun with the first row.
    async fn write_shared(
        &self,
        writing: &mut Writing,
        pin: &Pin,
        limits: &Limits,
        batches: &[RecordBatch],
        (task, rejects): (&Task, &[Reject]),
    ) -> Result<()> {
        writing.quarantine.write(&task.candidate.name, rejects).await?;
        for batch in batches.iter().filter(|batch| batch.num_rows() > 0) {
            let writer = match &mut writing.writer {
                Some(writer) => writer,
                none => none.insert(self.writer(pin, limits)?),
            };
            writer.write(batch).await?;
        }
        Ok(())
    }

    /// Begins to write what one append adds.
    fn begin_writing(&self, pin: &Pin) -> Result<Writing> {
        let quarantine = Quarantine::new(self.environment, self.feed, self.table, pin)?;
        Ok(Writing { writer: None, quarantine })
    }

    /// With how often they were begun before without an end: those go last, and otherwise the
    /// smallest first.
    async fn dangerous_last(&self, tasks: Vec<Task>) -> Vec<(u32, Task)> {
        let mut marked = Vec::with_capacity(tasks.len());
        for task in tasks {
            marked.push((self.attempts_before(&task).await, task));
        }
        marked.sort_by_key(|(attempts, task)| (*attempts, task.object.size_bytes));
        marked
    }

    /// One append of one object that may be dangerous: if the function dies of it, a marker stays.
    async fn append_marked(
        &mut self,
        pin: &Pin,
        limits: &Limits,
        mut task: Task,
        attempts_before: u32,
    ) -> Left {
        task.begin(self.environment);
        if let Some(objection) = self.time.objection(task.object.size_bytes) {
            return self.give_up(task, &objection).into();
        }
        if let Some(objection) = self.mark(&task, attempts_before).await {
            return self.give_up(task, &objection).into();
        }
        let marker = self.marker_of(&task);
        let left = self.append_alone(pin, limits, task).await;
        self.unmark(&marker).await;
        left
    }

    /// One append of one large object, streamed.
    async fn append_alone(&mut self, pin: &Pin, limits: &Limits, mut task: Task) -> Left {
        let mut writing = match self.begin_writing(pin) {
            Ok(writing) => writing,
            Err(error) => return self.give_up(task, &error).into(),
        };
        let mut rows = Rows::open(self, pin, limits, &task);
        let streamed = self.stream(pin, limits, &task, &mut rows, &mut writing).await;
        let (drift, findings, facts) = (rows.drift(), rows.findings(), rows.facts());
        drop(rows);
        task.findings = findings;
        if let Err(error) = streamed {
            writing.abort().await;
            return self.give_up(task, &error).into();
        }
        if let Some(drift) = drift {
            writing.abort().await;
            return Left { drifting: vec![(task, drift)], ..Left::default() };
        }
        self.time.measure(facts.bytes_read, task.began());
        match writing.finish(self.table).await {
            Ok(written) => self.commit(pin, written, vec![(task, facts)], Vec::new()).await,
            Err(error) => self.give_up(task, &error),
        }
        .into()
    }

    /// Writes all rows of one object as they are read.
    async fn stream(
        &self,
        pin: &Pin,
        limits: &Limits,
        task: &Task,
        rows: &mut Rows<'_>,
        writing: &mut Writing,
    ) -> Result<()> {
        while let Some(batch) = rows.next().await? {
            let rejects = rows.take_rejects();
            self.write_shared(writing, pin, limits, &[batch], (task, &rejects)).await?;
            let (size, read) = (task.object.size_bytes, rows.bytes_read());
            if let Some(objection) = self.time.objection_while(size, read, task.began()) {
                return Err(objection);
            }
        }
        Ok(())
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

/// What an append leaves over.
#[derive(Default)]
struct Left {
    /// To be planned again.
    again: Vec<Candidate>,
    /// To be appended alone.
    too_large: Vec<Task>,
    /// To be appended when the table has what they need.
    drifting: Vec<(Task, Drift)>,
}

impl Left {
    /// Adds what `other` leaves over, but for the objects that are too large.
    fn take(&mut self, other: Self) -> Vec<Task> {
        self.again.extend(other.again);
        self.drifting.extend(other.drifting);
        other.too_large
    }
}

impl From<Vec<Candidate>> for Left {
    fn from(again: Vec<Candidate>) -> Self {
        Self { again, ..Self::default() }
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
