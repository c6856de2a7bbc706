//! Appends: objects, read and decoded, as rows in data files, which are committed at the end.
//!
//! Small objects share files, and a commit; a large one has its own. An object that the table lacks
//! something for is left over (see `evolve`).

use arrow::array::RecordBatch;

use super::budget::Limits;
use super::drift::Drift;
use super::quarantine::Quarantine;
use super::rows::{Rows, Staged};
use super::task::{Candidate, Facts, Task};
use super::writing::Writing;
use super::{OBJECTS_PER_COMMIT_MAX, Run, attempts};
use crate::commit::{Pin, PlannedSource};
use crate::csv::Reject;
use crate::error::Result;

/// What an append leaves over.
#[derive(Default)]
pub(super) struct Left {
    /// To be planned again.
    pub again: Vec<Candidate>,
    /// To be appended alone.
    too_large: Vec<Task>,
    /// To be appended when the table has what they need.
    pub drifting: Vec<(Task, Drift)>,
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

impl Run<'_> {
    /// Takes the objects in as few appends as can be: small ones together, and then each large one.
    pub(super) async fn append_all(
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
    pub(super) async fn write_shared(
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
    pub(super) fn begin_writing(&self, pin: &Pin) -> Result<Writing> {
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
}

/// Whether an object may be staged with others: it is small, and not suspected of anything.
fn is_harmless(task: &Task, limits: &Limits) -> bool {
    task.object.size_bytes <= limits.stage_bytes_max
        && task.candidate.announcement.deliveries < attempts::DELIVERIES_MIN
}
