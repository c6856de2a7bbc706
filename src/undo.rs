//! Takes back what a table has taken of some objects.
//!
//! One commit removes exactly their rows, whoever has moved them since, and enters in the ledger that
//! they were undone: the same content is not taken again by itself, new content is. Who wants the same
//! content again takes it again ([`crate::config::Mode::Again`]).

use serde::Serialize;

use crate::commit::{self, Outcome, Pin, Plan, PlannedSource, Removal, RowsRemoved};
use crate::config::Feed;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::{self, Entry, EntryState, Found};
use crate::table::{Sources, Table};

/// How often an undoing is planned that others interfere with.
const PLANS_MAX: u32 = 20;

/// What was taken back, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Undone {
    /// The version of the table that did it; nothing, where there was nothing to do or to be done.
    pub version: Option<u64>,
    /// The objects, by their names in the ledger.
    pub objects: Vec<UndoneObject>,
}

/// What was taken back of one object, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UndoneObject {
    /// Its name in the ledger.
    pub name: String,
    /// Its rows.
    pub rows_removed: u64,
    /// Whether it was undone before.
    pub was_undone: bool,
}

/// Takes back what the feed's table has taken of the objects that its ledger calls `names`.
///
/// # Errors
/// [`ErrorKind::SourceRefused`] for a name that the ledger does not know, [`ErrorKind::SchemaMismatch`]
/// for a table that does not tell whose its rows are, and those of [`commit::commit`].
pub async fn undo(
    environment: &Environment,
    feed: &Feed,
    table: &dyn Table,
    names: &[String],
) -> Result<Undone> {
    for _ in 0..PLANS_MAX {
        let (pin, found) = pin(feed, table, names).await?;
        let to_undo: Vec<&Entry> = latest(&found, names).filter(|it| !is_undone(it)).collect();
        if to_undo.is_empty() {
            return Ok(told(None, names, &found, &RowsRemoved::new()));
        }
        let plan = Plan::new(environment, &pin, Vec::new(), to_undo.iter().map(undoing).collect())
            .removing(Removal {
                sources: sources(feed, &to_undo),
                is_replacement: false,
                target_file_bytes: feed.target_file_bytes,
            });
        let attempts_max = feed.commit_attempts_max;
        match commit::commit(environment, table, pin, &plan, attempts_max).await? {
            Outcome::Committed { version, rows_removed, chores, .. } => {
                ledger::delete_all(table, chores.retired).await;
                return Ok(told(Some(version), names, &found, &rows_removed));
            }
            Outcome::PlanAgain { reason, .. } => {
                tracing::info!(table = table.uri(), reason, "planning again");
            }
        }
    }
    Err(Error::new(ErrorKind::Contention, "it lost every race against other writers")
        .with_object(table.uri())
        .with_advice("run again later; nothing was undone"))
}

/// Says what [`undo`] would do. Nothing is written.
///
/// # Errors
/// Those of [`undo`].
pub async fn plan(
    environment: &Environment,
    feed: &Feed,
    table: &dyn Table,
    names: &[String],
) -> Result<Undone> {
    let (pin, found) = pin(feed, table, names).await?;
    let to_undo: Vec<&Entry> = latest(&found, names).filter(|it| !is_undone(it)).collect();
    let held = match (sources(feed, &to_undo), pin.snapshot()) {
        (Sources::Named { column, names }, Some(snapshot)) if !names.is_empty() => {
            commit::rows_held(environment, table, snapshot, &column, &names).await?
        }
        _ => RowsRemoved::new(),
    };
    Ok(told(None, names, &found, &held))
}

async fn pin(feed: &Feed, table: &dyn Table, names: &[String]) -> Result<(Pin, Found)> {
    let looked_up: Vec<&str> = names.iter().map(String::as_str).collect();
    let pinned = Pin::newest_with(table, &feed.ledger, &looked_up).await?;
    let (pin, found) = pinned.ok_or_else(|| crate::table::missing(table))?;
    let column = feed.source_file_column.as_deref().unwrap_or_default();
    if pin.layout().schema.index_of(column).is_err() {
        return Err(Error::new(
            ErrorKind::SchemaMismatch,
            format!("the table has no column {column:?} to tell whose each row is"),
        )
        .with_object(table.uri())
        .with_advice("remove the rows with another engine"));
    }
    if let Some(unknown) = names.iter().find(|name| found.of(name).is_empty()) {
        return Err(Error::new(ErrorKind::SourceRefused, "the table's ledger does not know it")
            .with_object(unknown)
            .with_advice("run `lakefeed ledger show TABLE` for the names that it knows"));
    }
    Ok((pin, found))
}

fn latest<'a>(found: &'a Found, names: &'a [String]) -> impl Iterator<Item = &'a Entry> {
    names.iter().filter_map(|name| found.of(name).last())
}

fn is_undone(latest: &Entry) -> bool {
    latest.state == EntryState::Undone
}

/// The entry that follows the latest of an object.
fn undoing(latest: &&Entry) -> PlannedSource {
    let entry = Entry {
        rows: 0,
        rows_rejected: 0,
        state: EntryState::Undone,
        quarantine: None,
        ..(*latest).clone()
    };
    PlannedSource { uri: latest.name.clone(), entry }
}

fn sources(feed: &Feed, entries: &[&Entry]) -> Sources {
    Sources::Named {
        column: feed.source_file_column.clone().unwrap_or_default(),
        names: entries.iter().map(|entry| entry.name.clone()).collect(),
    }
}

fn told(version: Option<u64>, names: &[String], found: &Found, removed: &RowsRemoved) -> Undone {
    let object = |name: &String| UndoneObject {
        name: name.clone(),
        rows_removed: removed.get(name).copied().unwrap_or(0),
        was_undone: found.of(name).last().is_some_and(is_undone),
    };
    Undone { version, objects: names.iter().map(object).collect() }
}
