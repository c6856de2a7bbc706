//! The commit: optimistic concurrency control on a pinned version.
//!
//! An append is planned on a *pin*: one version of the table, and the ledger as that version points
//! to it. To commit, it is put on top of a pin, in exactly the next version. Whoever loses that
//! race pins again and asks, in this order:
//!
//! 1. *Is it mine?* The ledger knows the append's id: it was committed after all.
//! 2. *Is it still right here?* The same table, the same fence, the same layout of data files, and
//!    nobody has entered one of its objects since it was planned. Then it goes on top of the new
//!    pin, its data files as they are. An append that changes the table's columns is right where the
//!    columns are still those that it changes, or have become those that it wants.
//! 3. Otherwise it is *planned again* from the start, without what others have taken.
//!
//! ```text
//!            ┌──────────────────────── pin again, back off ───────────────────────┐
//!            ▼                                                                    │
//!   pin ──► judge ── right ──► write tail ──► try pinned + 1 ── conflict ─────────┤
//!            │ │                                │        └───── unknown ── slot filled?
//!            │ └─ mine ──► Committed ◄─ committed                          └ no ──► CommitUnknown
//!            └─ not right ──► PlanAgain
//! ```
//!
//! The rules that this file keeps (numbers as in `docs/architecture.md`): creation and adoption
//! come first, as commits of their own (1); the tail is durable before the commit and extends the
//! pinned one (3); every move of the pointer takes a version (4); rows, entries and pointer move
//! together (5); conflicts are judged as above (6); an unknown attempt is settled by its slot (7);
//! what is deleted was never committed and never will be (11).

mod fence;
mod merge;
mod pin;
mod removal;

pub use fence::move_fence;
pub use merge::merge_ledger;
pub use pin::Pin;
pub use removal::{Removal, RowsRemoved, Watch, rows_held};

use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use uuid::Uuid;

use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::{self, Entry, Ledger, NextTail};
use crate::table::{
    Append, CommitOutcome, Creation, DataFile, Effect, Evolution, FileOrigin, Layout, Snapshot,
    Table,
};

use pin::Base;
use removal::{PlannedRemoval, Remover};

/// The ceiling of the wait before the second attempt; it doubles with each one after.
const BACKOFF_MIN: Duration = Duration::from_millis(20);
/// The ceiling of every wait.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Commits that only make the table ready, and are not counted as attempts to append: its creation,
/// its adoption, and both again after somebody replaced it.
const PREPARATIONS_MAX: u32 = 4;

impl Pin {
    /// The version that an attempt on top of this pin takes, and what the attempt is.
    fn next_step(&self) -> (u64, Step) {
        match (self.version(), self.ledger.pointer()) {
            (None, _) => (0, Step::Prepare),
            (Some(version), None) => (version + 1, Step::Prepare),
            (Some(version), Some(_)) => (version + 1, Step::Append),
        }
    }
}

/// An append, with what it was planned on.
#[derive(Debug, Clone)]
pub struct Plan {
    id: Uuid,
    table_id: Option<String>,
    /// What the names of its files tell, and with them, which fence it was planned under.
    origin: FileOrigin,
    /// What entered the ledger later was not known when it was planned.
    sequence: u64,
    version: Option<u64>,
    /// What the files are written for.
    layout: Arc<Layout>,
    /// What makes the table's layout that one, where it is not.
    evolution: Option<Evolution>,
    files: Vec<DataFile>,
    sources: Vec<PlannedSource>,
    removal: Option<Removal>,
    watch: Option<Watch>,
    /// Whether it is right whatever others have taken.
    is_blind: bool,
}

/// One object of an append.
#[derive(Debug, Clone)]
pub struct PlannedSource {
    /// Its address.
    pub uri: String,
    /// What the ledger will say of it; append, version, sequence and time are filled in by the
    /// commit.
    pub entry: Entry,
}

/// What became of a plan.
#[derive(Debug)]
pub enum Outcome {
    /// It is this version of the table.
    Committed {
        /// The version.
        version: u64,
        /// How many times it was tried.
        attempts: u32,
        /// The rows that it took away.
        rows_removed: RowsRemoved,
        /// The columns that it added to the table.
        columns_added: Vec<String>,
        /// What is left to do.
        chores: Chores,
    },
    /// It was not committed and never will be; what it rests on has changed.
    PlanAgain {
        /// What has changed, for the log.
        reason: &'static str,
        /// How many times it was tried.
        attempts: u32,
        /// Whether its data files may be deleted: no attempt that named them can be visible.
        files_are_lost: bool,
    },
}

/// What is left to do after a commit, when there is time. Nothing that is promised rests on it.
#[derive(Debug, Default)]
pub struct Chores {
    /// Whether runs of the ledger are to be merged.
    pub is_merge_due: bool,
    /// Files of the ledger that are to be deleted.
    pub retired: Vec<Path>,
}

enum Judgement {
    Mine(u64),
    Right,
    NotRight(&'static str),
}

impl Plan {
    /// Plans to append `files`, which hold the rows of `sources`, as seen from `pin`.
    pub fn new(
        environment: &Environment,
        pin: &Pin,
        files: Vec<DataFile>,
        sources: Vec<PlannedSource>,
    ) -> Self {
        Self {
            id: environment.entropy.uuid(),
            // A table that is created meanwhile, by us or by another, is the one we meant.
            table_id: pin.version().map(|_| pin.ledger.table_id().to_owned()),
            origin: pin.origin(),
            sequence: pin.ledger.sequence(),
            version: pin.version(),
            layout: Arc::clone(pin.layout()),
            evolution: pin.evolution.clone(),
            files,
            sources,
            removal: None,
            watch: None,
            is_blind: false,
        }
    }

    /// The same, right only as long as the table holds what it held of some sources.
    pub fn watching(self, watch: Option<Watch>) -> Self {
        Self { watch, ..self }
    }

    /// The same, right whatever others have taken meanwhile, or the table holds.
    pub fn blind(self) -> Self {
        Self { is_blind: true, watch: None, ..self }
    }

    /// The same, which takes rows away in the same commit.
    pub fn removing(self, removal: Removal) -> Self {
        Self { removal: Some(removal), ..self }
    }

    async fn judge(
        &self,
        environment: &Environment,
        table: &dyn Table,
        pin: &Pin,
    ) -> Result<Judgement> {
        let ledger = &pin.ledger;
        if self.table_id.as_ref().is_some_and(|id| id != ledger.table_id()) {
            return Ok(Judgement::NotRight("the table was replaced"));
        }
        let names = self.sources.iter().map(|source| source.entry.name.as_str());
        let entered_since = ledger.find_after(table, names, self.sequence).await?;
        if let Some(mine) = entered_since.entries().find(|entry| entry.append == self.id) {
            return Ok(Judgement::Mine(mine.version));
        }
        Ok(if ledger.sequence() < self.sequence {
            // What was entered since cannot be told by its sequence.
            Judgement::NotRight("the table was put back to an older version")
        } else if self.origin.fence != ledger.fence() {
            Judgement::NotRight("the ledger's fence has moved")
        } else if !self.fits_columns(pin) {
            Judgement::NotRight("the table's columns have changed")
        } else if entered_since.entries().next().is_some() && !self.is_blind {
            Judgement::NotRight("another writer has taken one of the objects")
        } else if !self.holds_as_planned(environment, table, pin).await? {
            Judgement::NotRight("the table does not hold the sources any more that it held")
        } else {
            Judgement::Right
        })
    }

    /// Whether the table wants its files as ours are, or will with what we change.
    fn fits_columns(&self, pin: &Pin) -> bool {
        let can_evolve = |evolution: &Evolution| {
            pin.snapshot().is_some_and(|snapshot| snapshot.columns_id == evolution.columns_id)
        };
        self.layout == *pin.table_layout() || self.evolution.as_ref().is_some_and(can_evolve)
    }

    /// Whether the table holds the rows of the same sources, where that decides what is taken.
    async fn holds_as_planned(
        &self,
        environment: &Environment,
        table: &dyn Table,
        pin: &Pin,
    ) -> Result<bool> {
        match (&self.watch, pin.snapshot()) {
            (Some(watch), Some(snapshot)) if self.version != pin.version() => {
                let ours = self.sources.iter().map(|source| source.entry.name.as_str());
                Box::pin(watch.holds(environment, table, snapshot, ours)).await
            }
            _ => Ok(true),
        }
    }

    /// The append as seen from `snapshot`: a change of columns is left out where the table has them so
    /// already, by our own hand or another's.
    fn append(&self, snapshot: &Snapshot, removal: PlannedRemoval) -> Append {
        let is_needed = |_: &&Evolution| self.layout != snapshot.layout;
        let evolution = self.evolution.as_ref().filter(is_needed).cloned();
        Append {
            id: self.id,
            files: self.files.iter().cloned().chain(removal.added).collect(),
            removed: removal.removed,
            effect: self.removal.as_ref().map_or(Effect::Append, Removal::effect),
            evolution,
            sources: self.sources.iter().map(|source| source.uri.clone()).collect(),
            quarantine: self.sources.iter().find_map(|source| source.entry.quarantine.clone()),
        }
    }

    fn unknown(&self, table: &dyn Table, slot: u64) -> Error {
        if !self.is_blind || self.removal.is_some() {
            return unknown(table, slot);
        }
        // Nothing would keep it from being taken twice.
        slot_unknown(table, slot).with_advice(format!(
            "look for the append {} in the table's history, and run again only if it is not there",
            self.id
        ))
    }

    /// The ledger's entries for a commit as `version`, which moves its pointer to `sequence`.
    fn entries(&self, environment: &Environment, version: u64, sequence: u64) -> Vec<Entry> {
        let (append, at) = (self.id, environment.clock.now());
        let entry = |source: &PlannedSource| Entry {
            append,
            version,
            sequence,
            at,
            ..source.entry.clone()
        };
        self.sources.iter().map(entry).collect()
    }
}

/// Commits `plan` on top of `pin`, or of whatever has become of the table since.
///
/// # Errors
/// [`ErrorKind::Contention`] when `attempts_max` races were lost: it did not happen.
/// [`ErrorKind::CommitUnknown`] when an answer was lost for good: it might have happened.
/// Otherwise those of the storage: it did not happen.
pub async fn commit(
    environment: &Environment,
    table: &dyn Table,
    pin: Pin,
    plan: &Plan,
    attempts_max: u32,
) -> Result<Outcome> {
    let mut remover =
        plan.removal.as_ref().map(|it| Remover::new(environment, table, it, &plan.origin));
    let mut unsettled = None;
    let outcome =
        race(environment, table, pin, plan, remover.as_mut(), attempts_max, &mut unsettled).await;
    let is_lost = !matches!(outcome, Ok(Outcome::Committed { .. })) && unsettled.is_none();
    if let Some(remover) = remover.filter(|_| is_lost) {
        remover.discard().await;
    }
    match (outcome, unsettled) {
        // What an attempt with a lost answer named may be visible: nothing of it is deleted, and
        // no later failure makes it a thing that did not happen.
        (Ok(Outcome::PlanAgain { reason, attempts, .. }), Some(_)) => {
            Ok(Outcome::PlanAgain { reason, attempts, files_are_lost: false })
        }
        (Err(cause), Some(slot)) => Err(plan.unknown(table, slot).with_cause(cause)),
        (outcome, _) => outcome,
    }
}

async fn race(
    environment: &Environment,
    table: &dyn Table,
    mut pin: Pin,
    plan: &Plan,
    mut remover: Option<&mut Remover<'_>>,
    attempts_max: u32,
    unsettled: &mut Option<u64>,
) -> Result<Outcome> {
    let (mut attempts, mut preparations) = (0, 0);
    // By the last attempt.
    let mut columns_added = Vec::new();
    while attempts < attempts_max && (attempts == 0 || !environment.is_over()) {
        attempts += 1;
        match plan.judge(environment, table, &pin).await {
            Ok(Judgement::Right) => {}
            Ok(Judgement::Mine(version)) => {
                let rows_removed = remover.map(|it| it.rows()).unwrap_or_default();
                let chores = Chores::default();
                return Ok(Outcome::Committed {
                    version,
                    attempts,
                    rows_removed,
                    columns_added,
                    chores,
                });
            }
            Ok(Judgement::NotRight(reason)) => {
                return Ok(Outcome::PlanAgain { reason, attempts, files_are_lost: true });
            }
            // Since this pin, the ledger may have left behind what it names (12).
            Err(error) if error.kind() == ErrorKind::LedgerMissing => {
                let newest = pin_again(table, &pin).await?;
                if newest.ledger.pointer() == pin.ledger.pointer() {
                    return Err(error);
                }
                pin = newest;
                continue;
            }
            Err(error) => return Err(error),
        }
        let (slot, step) = pin.next_step();
        let mut retired = Vec::new();
        let outcome = match (&pin.base, step) {
            (Base::Absent(creation), _) => create(table, &pin, creation).await?,
            (Base::Present(snapshot), Step::Prepare) => {
                adopt(environment, table, &pin, snapshot).await?
            }
            (Base::Present(snapshot), Step::Append) => {
                let removal = match &mut remover {
                    // In a box: what reads and writes data files is a large future, seldom needed.
                    Some(remover) => Box::pin(remover.plan(snapshot)).await?,
                    None => PlannedRemoval::default(),
                };
                let append = plan.append(snapshot, removal);
                columns_added = append.columns_added();
                try_append(environment, table, &pin, snapshot, plan, &append, &mut retired).await?
            }
        };
        match (outcome, step) {
            (CommitOutcome::Committed(version), Step::Append) => {
                let is_merge_due = pin.ledger.is_merge_due(environment);
                let chores = Chores { is_merge_due, retired };
                let mut rows_removed = RowsRemoved::new();
                if let Some(remover) = remover {
                    rows_removed = remover.rows();
                    if unsettled.is_none() {
                        remover.discard_all_but_the_last().await;
                    }
                }
                return Ok(Outcome::Committed {
                    version,
                    attempts,
                    rows_removed,
                    columns_added,
                    chores,
                });
            }
            // The table is ready now; that was no attempt of ours to append.
            (CommitOutcome::Committed(_), Step::Prepare) if preparations < PREPARATIONS_MAX => {
                preparations += 1;
                attempts -= 1;
            }
            (CommitOutcome::Committed(_), Step::Prepare) => {}
            (CommitOutcome::Conflict, _) => back_off(environment, attempts).await,
            (CommitOutcome::Unknown, _) => *unsettled = Some(slot),
        }
        pin = pin_again(table, &pin).await?;
        if outcome == CommitOutcome::Unknown && pin.version().is_none_or(|newest| newest < slot) {
            return Err(Error::new(ErrorKind::StorageUnavailable, "the version is still free"));
        }
    }
    Err(lost_every_race(table, attempts))
}

fn lost_every_race(table: &dyn Table, attempts: u32) -> Error {
    Error::new(ErrorKind::Contention, format!("other writers were first, {attempts} times"))
        .with_object(table.uri())
        .with_advice("run again later, or raise commit_attempts_max; nothing of it was committed")
}

/// What an attempt would achieve.
#[derive(Clone, Copy)]
enum Step {
    /// A table with a ledger, ready to be appended to.
    Prepare,
    /// The append itself.
    Append,
}

/// Creates the table, with its ledger's pointer at an empty tail.
async fn create(table: &dyn Table, pin: &Pin, creation: &Creation) -> Result<CommitOutcome> {
    let tail = pin.ledger.write_first_tail(table, creation.pointer).await?;
    let outcome = table.try_create(creation).await?;
    tail.settle(table, outcome).await;
    Ok(outcome)
}

/// Gives a table that somebody else made its first pointer, to an empty tail.
async fn adopt(
    environment: &Environment,
    table: &dyn Table,
    pin: &Pin,
    snapshot: &Snapshot,
) -> Result<CommitOutcome> {
    let pointer = ledger::first_pointer(&environment.entropy);
    let tail = pin.ledger.write_first_tail(table, pointer).await?;
    move_pointer(environment, table, snapshot, &pin.ledger, tail).await
}

/// Writes the tail that follows the pinned one, and tries the next version.
async fn try_append(
    environment: &Environment,
    table: &dyn Table,
    pin: &Pin,
    snapshot: &Snapshot,
    plan: &Plan,
    append: &Append,
    retired: &mut Vec<Path>,
) -> Result<CommitOutcome> {
    let ledger = &pin.ledger;
    let entries = plan.entries(environment, snapshot.version + 1, ledger.sequence() + 1);
    let tail = ledger.write_next_tail(environment, table, entries).await?;
    let outcome = table.try_commit(snapshot, append, ledger.name(), tail.pointer).await?;
    retired.extend(tail.settle(table, outcome).await);
    Ok(outcome)
}

/// Tries the next version, in which nothing happens but that the ledger's pointer moves.
async fn move_pointer(
    environment: &Environment,
    table: &dyn Table,
    snapshot: &Snapshot,
    ledger: &Ledger,
    tail: NextTail,
) -> Result<CommitOutcome> {
    let nothing = Append {
        id: environment.entropy.uuid(),
        files: vec![],
        removed: vec![],
        effect: Effect::Append,
        evolution: None,
        sources: vec![],
        quarantine: None,
    };
    let outcome = table.try_commit(snapshot, &nothing, ledger.name(), tail.pointer).await?;
    ledger::delete_all(table, tail.settle(table, outcome).await).await;
    Ok(outcome)
}

/// Moves the pointer of an existing table to a fresh tail of `entries`, forgetting the old one.
/// It never rebases: a winner between pin and commit is a [`ErrorKind::Contention`].
///
/// # Errors
/// [`ErrorKind::Contention`], [`ErrorKind::CommitUnknown`], and those of the storage.
pub async fn replace_ledger(
    environment: &Environment,
    table: &dyn Table,
    snapshot: &Snapshot,
    ledger: &Ledger,
    entries: &[Entry],
) -> Result<u64> {
    let tail = ledger.write_fresh_tail(environment, table, entries).await?;
    match move_pointer(environment, table, snapshot, ledger, tail).await? {
        CommitOutcome::Committed(version) => Ok(version),
        CommitOutcome::Conflict => {
            Err(Error::new(ErrorKind::Contention, "another writer was first")
                .with_object(table.uri())
                .with_advice("run again; nothing was changed"))
        }
        CommitOutcome::Unknown => Err(unknown(table, snapshot.version + 1)),
    }
}

async fn pin_again(table: &dyn Table, pin: &Pin) -> Result<Pin> {
    match Pin::newest(table, pin.ledger.name()).await? {
        Some(newest) => Ok(newest),
        // Still no table: the creation was refused, or is on its way.
        None if pin.version().is_none() => Ok(pin.clone()),
        None => Err(Error::new(ErrorKind::TableInvalid, "the table has vanished")
            .with_object(table.uri())
            .with_advice("nothing of this was committed; run again to make a new table")),
    }
}

async fn back_off(environment: &Environment, attempts: u32) {
    let ceiling = BACKOFF_MIN.saturating_mul(2_u32.saturating_pow(attempts - 1)).min(BACKOFF_MAX);
    environment.clock.sleep(environment.entropy.jitter(ceiling)).await;
}

fn slot_unknown(table: &dyn Table, slot: u64) -> Error {
    Error::new(ErrorKind::CommitUnknown, format!("whether version {slot} was committed is unknown"))
        .with_object(table.uri())
}

fn unknown(table: &dyn Table, slot: u64) -> Error {
    slot_unknown(table, slot)
        .with_advice("run again: the ledger tells what was taken, and nothing is taken twice")
}

#[cfg(test)]
mod tests;
