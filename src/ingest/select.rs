//! Which objects are to be taken, seen from one pin.

use std::collections::HashSet;

use futures::stream::{self, StreamExt};

use super::Run;
use super::schema;
use super::task::{Candidate, Task};
use crate::commit::{Pin, PlannedSource};
use crate::config::{Feed, OnChanged};
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::{self, Entry, EntryState, Found, Standing};
use crate::source::SourceObject;
use crate::table::Table;

/// Objects looked at, at once.
const HEADS_IN_FLIGHT_MAX: usize = 16;

/// What is to be done on one pin.
pub(super) struct Selection {
    /// The pin; nothing where there is no table and nothing to make one of.
    pub pin: Option<Pin>,
    /// Objects to be taken.
    pub tasks: Vec<Task>,
    /// Objects whose content was taken under another identity.
    pub aliases: Vec<PlannedSource>,
    /// Objects that must wait for another of the same name.
    pub again: Vec<Candidate>,
}

/// What is to be done with one object, and why.
pub(super) enum Verdict {
    /// Take it: it is new, or it has changed.
    Take { is_new: bool },
    /// Its version was taken.
    Duplicate(Entry),
    /// Its content was taken, under another identity.
    Touched(Entry),
    /// Other content was taken, and the feed does not want this one.
    Changed(Entry),
    /// Other content was taken, and the feed calls that an error.
    Refused(Error),
    /// It has no bytes.
    Empty,
}

impl Run<'_> {
    /// Looks at every candidate, asks the ledger, and says what is done already.
    ///
    /// # Errors
    /// [`ErrorKind::DeadlineExceeded`] where looking takes all of the time, and those of
    /// [`Run::plan_table`].
    pub(super) async fn select(
        &mut self,
        pin: Option<Pin>,
        taken: &Found,
        candidates: Vec<Candidate>,
    ) -> Result<Selection> {
        let mut selection =
            Selection { pin, tasks: Vec::new(), aliases: Vec::new(), again: Vec::new() };
        let candidates = self.finish_taken(taken, candidates);
        // Of equal names one is entered at a time: what the others are depends on it.
        let mut names = HashSet::new();
        let mut looked = stream::iter(candidates)
            .map(async |candidate| {
                let head = SourceObject::of(&candidate.announcement).await;
                (candidate, head)
            })
            .buffered(HEADS_IN_FLIGHT_MAX);
        while let Some((mut candidate, head)) = looked.next().await {
            if let Some(objection) = self.time.objection(0) {
                return Err(objection);
            }
            if names.contains(&candidate.name) {
                selection.again.push(candidate);
                continue;
            }
            let judged = match head {
                Ok(object) => {
                    judge(self.feed, taken, &candidate, &object).await.map(|v| (object, v))
                }
                Err(error) => Err(error),
            };
            match judged {
                Ok((object, Verdict::Take { .. })) => {
                    names.insert(candidate.name.clone());
                    selection.tasks.push(Task::new(candidate, object));
                }
                Ok((_, Verdict::Duplicate(taken))) => {
                    self.finish(candidate.duplicate("taken", &taken));
                }
                Ok((object, Verdict::Touched(taken))) => {
                    names.insert(candidate.name.clone());
                    self.finish(candidate.duplicate("same content", &taken));
                    selection.aliases.push(alias(&candidate, &object, &taken));
                }
                Ok((_, Verdict::Changed(taken))) => {
                    let reason = format!("changed since version {} took it", taken.version);
                    self.finish(candidate.skipped(&reason));
                }
                Ok((_, Verdict::Empty)) => self.finish(candidate.skipped("empty")),
                Ok((_, Verdict::Refused(error))) => self.finish(candidate.failed(&error)),
                Err(error) if error.kind() == ErrorKind::SourceChanged => {
                    if candidate.may_change_again() {
                        selection.again.push(candidate);
                    } else {
                        self.finish(candidate.failed(&error));
                    }
                }
                Err(error)
                    if error.kind() == ErrorKind::SourceGone && !candidate.announcement.named =>
                {
                    self.finish(candidate.skipped("gone"));
                }
                Err(error) => self.finish(candidate.failed(&error)),
            }
        }
        drop(looked);
        if selection.pin.is_none() && !selection.tasks.is_empty() {
            self.plan_table(&mut selection).await?;
        }
        Ok(selection)
    }

    /// Finishes those of which the very version was taken that a listing saw; nobody need look at
    /// them. If another version is there by now, that is an event of its own, or the next sweep's.
    fn finish_taken(&mut self, taken: &Found, candidates: Vec<Candidate>) -> Vec<Candidate> {
        let mut others = Vec::with_capacity(candidates.len());
        for candidate in candidates {
            let listed = candidate.announcement.listed_identity.as_deref();
            match listed.map(|identity| taken.standing(&candidate.name, identity)) {
                Some(Standing::Taken(entry)) => self.finish(candidate.duplicate("taken", entry)),
                _ => others.push(candidate),
            }
        }
        others
    }

    /// Where there is no table: plans one from a sample of the objects. Objects that are no CSV
    /// fail here; without a single row to tell types from, the others are skipped.
    async fn plan_table(&mut self, selection: &mut Selection) -> Result<()> {
        let tasks = std::mem::take(&mut selection.tasks);
        let inferred = schema::infer(self.feed, tasks, &self.time).await;
        for (task, error) in inferred.failed {
            selection.again.extend(self.give_up(task, &error));
        }
        match inferred.definition? {
            Some(definition) => {
                let ledger = &self.feed.ledger;
                let pin = Pin::absence(self.environment, self.table, ledger, &definition).await?;
                selection.pin = Some(pin);
                selection.tasks = inferred.tasks;
            }
            None => {
                for task in inferred.tasks {
                    self.finish(
                        task.skipped("there is no table, and no row to infer its columns from"),
                    );
                }
            }
        }
        Ok(())
    }
}

/// Pins the newest version of the feed's table, if there is one that the feed fits, and looks up what
/// it has taken of the candidates' names.
///
/// # Errors
/// Those of [`Pin::newest_with`]; [`ErrorKind::Configuration`] where the feed does not fit the table; and
/// [`ErrorKind::LedgerMissing`] where the table's rows name their sources and no ledger knows them.
pub(super) async fn pin(
    feed: &Feed,
    table: &dyn Table,
    candidates: &[Candidate],
) -> Result<(Option<Pin>, Found)> {
    let names: Vec<&str> = candidates.iter().map(|candidate| candidate.name.as_str()).collect();
    let pinned = Pin::newest_with(table, &feed.ledger, &names).await?;
    let Some((pin, taken)) = pinned else { return Ok((None, Found::default())) };
    schema::check_feed(feed, pin.layout(), table.uri())?;
    let names_sources = feed
        .source_file_column
        .as_ref()
        .is_some_and(|column| pin.layout().schema.index_of(column).is_ok());
    if pin.ledger().pointer().is_none()
        && names_sources
        && !ledger::any(table, pin.ledger().table_id()).await?
    {
        return Err(ledger::missing(table, "its rows name their sources, and it has no ledger"));
    }
    Ok((Some(pin), taken))
}

/// What is to be done with `object`, given what the ledger says of its name.
pub(super) async fn judge(
    feed: &Feed,
    taken: &Found,
    candidate: &Candidate,
    object: &SourceObject,
) -> Result<Verdict> {
    if object.size_bytes == 0 {
        // Not entered in the ledger: an object that is being written may be empty at first.
        return Ok(Verdict::Empty);
    }
    let entries = taken.of(&candidate.name);
    let take = Verdict::Take { is_new: entries.is_empty() };
    let latest = match taken.standing(&candidate.name, &object.identity) {
        Standing::New => return Ok(take),
        Standing::Taken(entry) => return Ok(Verdict::Duplicate(entry.clone())),
        // Nothing of any version is in the table, so nothing can be in it twice.
        Standing::Other(_) if entries.iter().all(|entry| entry.rows == 0) => return Ok(take),
        Standing::Other(latest) => latest,
    };
    if entries.iter().any(|entry| entry.size_bytes == object.size_bytes) {
        let content = Entry::render_content(object.open().hash_content().await?);
        let same = entries.iter().rev().find(|entry| entry.content == content);
        if let Some(entry) = same {
            return Ok(Verdict::Touched(entry.clone()));
        }
    }
    Ok(match feed.on_changed {
        OnChanged::Append => take,
        OnChanged::Skip => Verdict::Changed(latest.clone()),
        OnChanged::Fail => Verdict::Refused(
            Error::new(
                ErrorKind::SourceRefused,
                format!("its content has changed since version {} took it", latest.version),
            )
            .with_advice(
                "put new rows in a new object, or set on_changed to \"append\" or \"skip\"",
            ),
        ),
    })
}

fn alias(candidate: &Candidate, object: &SourceObject, taken: &Entry) -> PlannedSource {
    PlannedSource {
        uri: object.location.uri.clone(),
        entry: Entry {
            rows: taken.rows,
            rows_rejected: taken.rows_rejected,
            content: taken.content.clone(),
            ..Entry::draft(&candidate.name, object, EntryState::Alias)
        },
    }
}
