//! Objects that take the place of everything that a table holds.

use super::budget::Limits;
use super::rows::Rows;
use super::select::{self, Selection};
use super::task::{Candidate, Facts, Task};
use super::writing::{Writing, Written};
use super::{OBJECTS_PER_COMMIT_MAX, Run};
use crate::commit::{Pin, Plan, Removal};
use crate::error::{Error, ErrorKind, Result};
use crate::receipt::Status;
use crate::table::Sources;

impl Run<'_> {
    /// Takes all candidates in one commit, which removes all that was there; none, where one of them
    /// fails. Returns those to be planned again: all of them, or none.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] for more objects than one commit enters, and those of a round.
    pub(super) async fn overwrite(&mut self, candidates: Vec<Candidate>) -> Result<Vec<Candidate>> {
        if candidates.len() > OBJECTS_PER_COMMIT_MAX {
            return Err(Error::new(
                ErrorKind::Configuration,
                format!("more than {OBJECTS_PER_COMMIT_MAX} objects cannot overwrite a table in one commit"),
            )
            .with_advice("overwrite it with some of them, and ingest the others"));
        }
        self.has_committed = false;
        let all = candidates.clone();
        let (pin, taken) =
            select::pin(self.environment, self.feed, self.table, &candidates).await?;
        let Selection { pin, tasks, again, .. } = self.select(pin, &taken, candidates).await?;
        if let Some(clash) = again.first() {
            let error = Error::new(
                ErrorKind::SourceRefused,
                format!("{:?} is the name of two objects, or of one that changes", clash.name),
            )
            .with_advice(
                "set source_key to \"uri\", and let nobody write to the objects meanwhile",
            );
            self.fail_waiting(all, &error);
            return Ok(Vec::new());
        }
        let has_failed = self.receipts.iter().any(|receipt| receipt.status == Status::Failed);
        let Some(pin) = pin.filter(|_| !has_failed) else {
            self.fail_waiting(all, &nothing_overwritten());
            return Ok(Vec::new());
        };
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        let pin = match self.pin_for_all(&pin, &tasks).await {
            Ok(pin) => pin,
            Err(error) => {
                self.fail_waiting(all, &error);
                return Ok(Vec::new());
            }
        };
        let limits = Limits::new(self.environment, self.feed, self.table, pin.layout())?;
        let mut writing = self.begin_writing(&pin)?;
        let loaded = match self.write_all(&pin, &limits, tasks, &mut writing).await {
            Ok(loaded) => loaded,
            Err(error) => {
                writing.abort().await;
                self.fail_waiting(all, &error);
                return Ok(Vec::new());
            }
        };
        match writing.finish(self.table).await {
            Ok(written) => Ok(self.commit_overwrite(&pin, written, loaded).await),
            Err(error) => {
                self.fail_all(loaded, &error);
                Ok(Vec::new())
            }
        }
    }

    /// Streams the rows of all objects to one set of files. One that cannot be read is failed for that,
    /// and the others because of it.
    async fn write_all(
        &mut self,
        pin: &Pin,
        limits: &Limits,
        tasks: Vec<Task>,
        writing: &mut Writing,
    ) -> Result<Vec<(Task, Facts)>> {
        let mut loaded = Vec::with_capacity(tasks.len());
        for mut task in tasks {
            task.begin(self.environment);
            let mut rows = Rows::open(self, pin, limits, &task);
            let read = loop {
                match rows.next().await {
                    Ok(Some(batch)) => {
                        let rejects = rows.take_rejects();
                        self.write_shared(writing, pin, limits, &[batch], (&task, &rejects))
                            .await?;
                    }
                    Ok(None) if rows.drift().is_some() => break Err(has_drifted()),
                    Ok(None) => break Ok(rows.facts()),
                    Err(error) => break Err(error),
                }
                if let Some(objection) = self.time.objection(0) {
                    return Err(objection);
                }
            };
            let findings = rows.findings();
            drop(rows);
            task.findings = findings;
            match read {
                Ok(facts) => loaded.push((task, facts)),
                Err(error) => {
                    let receipt = task.failed(self.environment, &error);
                    self.finish(receipt);
                    return Err(nothing_overwritten());
                }
            }
        }
        Ok(loaded)
    }

    async fn commit_overwrite(
        &mut self,
        planned_on: &Pin,
        written: Written,
        loaded: Vec<(Task, Facts)>,
    ) -> Vec<Candidate> {
        let quarantine = written.quarantine.as_ref();
        let sources = loaded.iter().map(|(task, facts)| task.planned(facts, quarantine)).collect();
        let plan = Plan::new(self.environment, planned_on, written.files.clone(), sources)
            .blind()
            .removing(Removal {
                sources: Sources::All,
                is_replacement: true,
                target_file_bytes: self.feed.target_file_bytes,
            });
        self.commit_planned(planned_on, &plan, written, loaded).await
    }
}

/// It has another header than when it was looked at.
fn has_drifted() -> Error {
    Error::new(ErrorKind::SourceChanged, "its header changed while it was read")
        .with_advice("let nobody write to the objects meanwhile, and run again")
}

fn nothing_overwritten() -> Error {
    Error::new(ErrorKind::SourceRefused, "nothing was overwritten, since another object failed")
        .with_advice("mend or leave out the object that failed, and run again")
}
