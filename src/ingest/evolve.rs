//! Objects that the table lacks columns for: they go in with the change that they need.
//!
//! What an object lacks is known from its header. An object that lacks something is set aside there, so
//! that the others are not held up by it; then those that were set aside are taken together, on a pin whose
//! columns have changed so that they all fit. Their headers are read twice, which costs less than knowing
//! all headers before the first row, where hardly any object drifts. Types are inferred from the rows of
//! some of them, as for a new table; a column that only others have is added in the next round.

use arrow::datatypes::Schema;

use super::Run;
use super::budget::Limits;
use super::drift::{self, Drift, Matcher};
use super::rows::Rows;
use super::schema::{SAMPLE_OBJECTS_MAX, observe_some};
use super::task::{Candidate, Task};
use crate::commit::Pin;
use crate::config::NewColumns;
use crate::error::Result;

impl Run<'_> {
    /// Takes objects that the table at `pin` lacks something for, with the change that they need.
    /// Returns those to be planned again.
    pub(super) async fn append_drifting(
        &mut self,
        pin: &Pin,
        mut drifting: Vec<(Task, Drift)>,
    ) -> Vec<Candidate> {
        let mut again = Vec::new();
        // What they lack is not known on a pin that has lost a race; and a table that is not there yet
        // is made by what was taken before them.
        while !drifting.is_empty() && !self.has_lost && pin.snapshot().is_some() {
            let sampled = drifting.iter().take(SAMPLE_OBJECTS_MAX).map(|(task, _)| task.clone());
            let columns = Matcher::new(self.feed, pin.layout(), None).names();
            let sampled = sampled.collect();
            let observed =
                observe_some(self.feed, sampled, &columns, SAMPLE_OBJECTS_MAX, &self.time).await;
            for (task, error) in observed.failed {
                drifting.retain(|(other, _)| other.candidate.name != task.candidate.name);
                again.extend(self.give_up(task, &error));
            }
            let evolved = match observed.schema {
                Ok(None) => break,
                Ok(Some(inferred)) => self.evolve(pin, &drifting, &inferred).await,
                Err(error) => Err(error),
            };
            match evolved {
                Ok((evolved, limits)) => {
                    let tasks = drifting.drain(..).map(|(task, _)| task).collect();
                    let left =
                        Box::pin(self.append_all(&evolved, &limits, tasks, Vec::new())).await;
                    again.extend(left.again);
                    again.extend(left.drifting.into_iter().map(|(task, _)| task.candidate));
                }
                Err(error) if drifting.len() == 1 => {
                    for (task, _) in drifting.drain(..) {
                        again.extend(self.give_up(task, &error));
                    }
                }
                // What one of them wants cannot be. One goes alone, so that it is known which.
                Err(_) => again.extend(drifting.drain(1..).map(|(task, _)| task.candidate)),
            }
        }
        again.extend(drifting.into_iter().map(|(task, _)| task.candidate));
        again
    }

    /// The pin on which all of `tasks` fit, where the feed wants other columns for them: `pin` itself,
    /// if they do.
    ///
    /// # Errors
    /// Those of [`Rows::next`] and of [`crate::table::Table::plan_evolution`].
    pub(super) async fn pin_for_all(&self, pin: &Pin, tasks: &[Task]) -> Result<Pin> {
        let Some(snapshot) = pin.snapshot() else { return Ok(pin.clone()) };
        let widens = self.feed.drift.widen && self.table.wider_types(snapshot).is_some();
        if matches!(self.feed.drift.new_columns, NewColumns::Fail | NewColumns::Ignore) && !widens {
            return Ok(pin.clone());
        }
        let mut drifting = Vec::new();
        {
            let limits = Limits::new(self.environment, self.feed, self.table, pin.layout())?;
            for task in tasks {
                let drift = Rows::open(self, pin, &limits, task).look().await?;
                drifting.extend(drift.map(|drift| (task.clone(), drift)));
            }
        }
        let all = drifting.iter().map(|(task, _)| task.clone()).collect();
        let columns = Matcher::new(self.feed, pin.layout(), None).names();
        let observed = observe_some(self.feed, all, &columns, usize::MAX, &self.time).await;
        match observed.schema? {
            Some(inferred) => self.change(pin, &drifting, &inferred).await,
            None => Ok(pin.clone()),
        }
    }

    /// The pin whose columns have changed as `drifting` need it, and the limits for such a table.
    async fn evolve(
        &self,
        pin: &Pin,
        drifting: &[(Task, Drift)],
        inferred: &Schema,
    ) -> Result<(Pin, Limits)> {
        let evolved = self.change(pin, drifting, inferred).await?;
        let limits = Limits::new(self.environment, self.feed, self.table, evolved.layout())?;
        Ok((evolved, limits))
    }

    async fn change(
        &self,
        pin: &Pin,
        drifting: &[(Task, Drift)],
        inferred: &Schema,
    ) -> Result<Pin> {
        let Some(snapshot) = pin.snapshot() else { return Ok(pin.clone()) };
        let drifts = drifting.iter().map(|(_, drift)| drift);
        let change = drift::change(self.feed, drifts, inferred, self.table.wider_types(snapshot));
        match change.is_empty() {
            true => Ok(pin.clone()),
            false => Ok(pin.evolved(self.table.plan_evolution(snapshot, &change).await?)),
        }
    }
}

#[cfg(test)]
mod tests;
