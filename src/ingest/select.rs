//! Which objects are to be taken, seen from one pin.

use std::collections::HashSet;

use futures::stream::{self, StreamExt};

use super::Run;
use super::schema;
use super::task::{Candidate, Task};
use crate::commit::{self, Pin, PlannedSource, RowsRemoved};
use crate::config::{Dedupe, Feed, Mode, OnChanged};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::{self, Entry, EntryState, Found, Standing, hold_rows};
use crate::receipt::Receipt;
use crate::source::{DecompressOptions, SourceObject};
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
    /// Objects that there is nothing to do for, as long as the table holds what it holds.
    pub settled: Vec<(Candidate, Receipt)>,
}

/// What is known of the candidates' names at one pin.
#[derive(Default)]
pub(super) struct Taken {
    /// What was taken.
    pub found: Found,
    /// Of which names the table holds rows, where the feed wants that to decide.
    pub held: Option<RowsRemoved>,
}

/// What is to be done with one object, and why.
pub(super) enum Verdict {
    /// Take it, in the place of what was taken of it, or as well.
    Take { is_new: bool, replaces: bool },
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
        known: &Taken,
        candidates: Vec<Candidate>,
    ) -> Result<Selection> {
        let mut selection = Selection {
            pin,
            tasks: Vec::new(),
            aliases: Vec::new(),
            again: Vec::new(),
            settled: Vec::new(),
        };
        let candidates = self.settle_taken(known, candidates, &mut selection);
        let is_final = known.held.is_none();
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
                    judge(self.feed, &known.found, &candidate, &object).await.map(|v| (object, v))
                }
                Err(error) => Err(error),
            };
            match judged {
                Ok((object, Verdict::Take { replaces, .. })) => {
                    names.insert(candidate.name.clone());
                    selection.tasks.push(Task::new(candidate, object, replaces));
                }
                Ok((_, Verdict::Duplicate(taken))) => {
                    let receipt = candidate.duplicate(reason_of(&taken), &taken);
                    self.settle(&mut selection, is_final, candidate, receipt);
                }
                Ok((object, Verdict::Touched(taken))) => {
                    names.insert(candidate.name.clone());
                    let entries = known.found.of(&candidate.name);
                    selection.aliases.push(alias(&candidate, &object, &taken, entries));
                    let receipt = candidate.duplicate("same content", &taken);
                    self.settle(&mut selection, is_final, candidate, receipt);
                }
                Ok((_, Verdict::Changed(taken))) => {
                    let reason = format!("changed since version {} took it", taken.version);
                    let receipt = candidate.skipped(&reason);
                    self.settle(&mut selection, is_final, candidate, receipt);
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

    /// Settles those of which the very version was taken that a listing saw; nobody need look at
    /// them. If another version is there by now, that is an event of its own, or the next sweep's.
    fn settle_taken(
        &mut self,
        known: &Taken,
        candidates: Vec<Candidate>,
        selection: &mut Selection,
    ) -> Vec<Candidate> {
        if self.feed.mode != Mode::Once {
            return candidates;
        }
        let mut others = Vec::with_capacity(candidates.len());
        for candidate in candidates {
            let listed = candidate.announcement.listed_identity.as_deref();
            let standing = |identity| standing(self.feed, &known.found, &candidate, identity);
            match listed.map(standing) {
                Some(Standing::Taken(entry)) => {
                    let receipt = candidate.duplicate(reason_of(entry), entry);
                    self.settle(selection, known.held.is_none(), candidate, receipt);
                }
                _ => others.push(candidate),
            }
        }
        others
    }

    /// There is nothing to do for a candidate; what the ledger says is final, what the table holds
    /// may change before something else of this round is committed.
    fn settle(
        &mut self,
        selection: &mut Selection,
        is_final: bool,
        candidate: Candidate,
        receipt: Receipt,
    ) {
        if is_final {
            self.finish(receipt);
        } else {
            selection.settled.push((candidate, receipt));
        }
    }

    /// Where there is no table: plans one from a sample of the objects. Objects that are no CSV
    /// fail here; without a single row to tell types from, the others are skipped.
    async fn plan_table(&mut self, selection: &mut Selection) -> Result<()> {
        let tasks = std::mem::take(&mut selection.tasks);
        // What is written in one commit, with no round after it, has to fit from the start.
        let objects_max = match self.feed.mode {
            Mode::Overwrite => usize::MAX,
            Mode::Once | Mode::Again | Mode::Append => schema::SAMPLE_OBJECTS_MAX,
        };
        let observed = schema::observe_some(self.feed, tasks, &[], objects_max, &self.time).await;
        for (task, error) in observed.failed {
            selection.again.extend(self.give_up(task, &error));
        }
        match observed.schema? {
            Some(inferred) => {
                let definition = schema::define(self.feed, &inferred)?;
                let ledger = &self.feed.ledger;
                let pin = Pin::absence(self.environment, self.table, ledger, &definition).await?;
                selection.pin = Some(pin);
                selection.tasks = observed.tasks;
            }
            None => {
                for task in observed.tasks {
                    self.finish(
                        task.skipped("there is no table, and no row to infer its columns from"),
                    );
                }
            }
        }
        Ok(())
    }
}

/// Pins the newest version of the feed's table, if there is one that the feed fits, and finds out what
/// it has taken of the candidates' names.
///
/// # Errors
/// Those of [`Pin::newest_with`]; [`ErrorKind::Configuration`] where the feed does not fit the table; and
/// [`ErrorKind::LedgerMissing`] where the table's rows name their sources and no ledger knows them.
pub(super) async fn pin(
    environment: &Environment,
    feed: &Feed,
    table: &dyn Table,
    candidates: &[Candidate],
) -> Result<(Option<Pin>, Taken)> {
    let names: Vec<&str> = candidates.iter().map(|candidate| candidate.name.as_str()).collect();
    let pinned = Pin::newest_with(table, &feed.ledger, &names).await?;
    let Some((pin, found)) = pinned else {
        // Somebody else may make the table, with rows of ours in it, before we do.
        let held = (feed.dedupe == Dedupe::Column).then(RowsRemoved::new);
        return Ok((None, Taken { held, ..Taken::default() }));
    };
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
    let (Dedupe::Column, Some(column), Some(snapshot)) =
        (feed.dedupe, &feed.source_file_column, pin.snapshot())
    else {
        return Ok((Some(pin), Taken { found, held: None }));
    };
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let held = commit::rows_held(environment, table, snapshot, column, &names).await?;
    let found = found.as_held(&held, snapshot.version);
    Ok((Some(pin), Taken { found, held: Some(held) }))
}

/// How a version of an object stands: where it takes the place of others, only the latest counts.
fn standing<'a>(
    feed: &Feed,
    taken: &'a Found,
    candidate: &Candidate,
    identity: &str,
) -> Standing<'a> {
    match feed.on_changed {
        OnChanged::Replace => taken.latest_standing(&candidate.name, identity),
        _ => taken.standing(&candidate.name, identity),
    }
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
    let take = |replaces| Ok(Verdict::Take { is_new: entries.is_empty(), replaces });
    match feed.mode {
        Mode::Once => {}
        Mode::Again => return take(true),
        Mode::Append | Mode::Overwrite => return take(false),
    }
    let latest = match standing(feed, taken, candidate, &object.identity) {
        Standing::New => return take(false),
        Standing::Taken(entry) => return Ok(Verdict::Duplicate(entry.clone())),
        // Nothing of any version was ever in the table, so nothing can be in it twice.
        Standing::Other(_) if entries.iter().all(is_void) => return take(false),
        Standing::Other(latest) => latest,
    };
    let compared = match feed.on_changed {
        OnChanged::Replace => std::slice::from_ref(latest),
        _ => entries,
    };
    if compared.iter().any(|entry| entry.size_bytes == object.size_bytes) {
        let content =
            Entry::render_content(object.open(DecompressOptions::default()).hash_content().await?);
        let same = compared.iter().rev().find(|entry| entry.content == content);
        if let Some(entry) = same {
            return Ok(Verdict::Touched(entry.clone()));
        }
    }
    if !hold_rows(entries) {
        return take(false);
    }
    match feed.on_changed {
        OnChanged::Append => take(false),
        OnChanged::Replace => take(true),
        OnChanged::Skip => Ok(Verdict::Changed(latest.clone())),
        OnChanged::Fail => Ok(Verdict::Refused(
            Error::new(
                ErrorKind::SourceRefused,
                format!("its content has changed since version {} took it", latest.version),
            )
            .with_advice(
                "put new rows in a new object, or set on_changed to \"append\", \"replace\" or \
                 \"skip\"",
            ),
        )),
    }
}

/// Whether an entry says that its version has no rows.
fn is_void(entry: &Entry) -> bool {
    entry.rows == 0 && entry.state != EntryState::Undone
}

/// Why the object of a taken entry is a duplicate.
pub(super) fn reason_of(taken: &Entry) -> &'static str {
    match taken.state {
        EntryState::In | EntryState::Alias => "taken",
        EntryState::Undone => "undone",
    }
}

/// The entry of an object whose content was taken: it stands as that content does.
fn alias(
    candidate: &Candidate,
    object: &SourceObject,
    taken: &Entry,
    entries: &[Entry],
) -> PlannedSource {
    let state = if hold_rows(entries) { EntryState::Alias } else { EntryState::Undone };
    PlannedSource {
        uri: object.location.uri.clone(),
        entry: Entry {
            rows: if state == EntryState::Undone { 0 } else { taken.rows },
            rows_rejected: taken.rows_rejected,
            content: taken.content.clone(),
            ..Entry::draft(&candidate.name, object, state)
        },
    }
}
