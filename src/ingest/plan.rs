//! The dry run: what an ingest would do, and why. Writes nothing.

use arrow::datatypes::{Field, Schema};
use futures::stream::{self, StreamExt};
use serde::Serialize;

use super::budget::Limits;
use super::drift::Matcher;
use super::schema;
use super::select::{self, Verdict};
use super::task::{Candidate, Task};
use super::time::Timekeeper;
use crate::commit::Pin;
use crate::config::{ColumnType, Feed, NewColumns};
use crate::csv::DialectReport;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::Found;
use crate::memory::OVERHEAD_BYTES;
use crate::source::{Announcement, SourceObject};
use crate::table::{self, Layout};

/// Objects looked at, at once.
const HEADS_IN_FLIGHT_MAX: usize = 16;

/// What an ingest would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IngestPlan {
    /// The table's address.
    pub table: String,
    /// The pinned version; nothing where the table would be created.
    pub version: Option<u64>,
    /// The table's columns, and what the objects hold.
    pub columns: Vec<PlannedColumn>,
    /// What would become of each object.
    pub objects: Vec<PlannedObject>,
    /// Commits that would be tried, the table's creation among them.
    pub commits: usize,
    /// Data files, at least: small objects share one, and partitions have their own.
    pub data_files_min: u64,
    /// What the pipeline would hold at most.
    pub memory_bytes_max: u64,
}

/// A column, as the table has it and as a sample of the objects has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedColumn {
    /// Its name.
    pub name: String,
    /// Its type in the table, or the one that it would be given.
    pub table_type: Option<String>,
    /// The type that a sample of the objects suggests; nothing where they have no such column.
    pub inferred_type: Option<String>,
    /// What would become of a column of the objects that is not the table's.
    pub new_column: Option<NewColumns>,
}

/// What would become of an object.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedObject {
    /// Its address.
    pub source: String,
    /// What would be done.
    pub action: Action,
    /// Why.
    pub reason: String,
    /// Its size as stored.
    pub size_bytes: u64,
    /// How it is written down, if it was looked at.
    pub dialect: Option<DialectReport>,
}

/// What would be done with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It would be taken, if its rows are good.
    Take,
    /// It would be left, having been taken.
    Duplicate,
    /// It would be left, by policy.
    Skip,
    /// It would fail.
    Fail,
}

/// Plans an ingest of the announced objects.
///
/// # Errors
/// As [`super::ingest`].
pub async fn plan(
    environment: &Environment,
    feed: &Feed,
    announcements: Vec<Announcement>,
) -> Result<IngestPlan> {
    let table = table::open(environment, feed)?;
    let candidate = |announcement| Candidate::new(feed, table.uri(), announcement);
    let candidates: Vec<Candidate> = announcements.into_iter().map(candidate).collect();
    let (pin, taken) = select::pin(environment, feed, table.as_ref(), &candidates).await?;
    let mut objects = Vec::new();
    let mut tasks = Vec::new();
    let mut looked = stream::iter(candidates)
        .map(|candidate| look(feed, &taken.found, candidate))
        .buffered(HEADS_IN_FLIGHT_MAX);
    while let Some((object, task)) = looked.next().await {
        objects.push(object);
        tasks.extend(task);
    }
    drop(looked);
    let taken_bytes: Vec<u64> = tasks.iter().map(|task| task.object.size_bytes).collect();
    let time = Timekeeper::new(environment);
    let names =
        pin.as_ref().map(|pin| Matcher::new(feed, pin.layout(), None).names()).unwrap_or_default();
    let observed =
        schema::observe_some(feed, tasks, &names, schema::SAMPLE_OBJECTS_MAX, &time).await;
    for (task, error) in observed.failed {
        refuse(&mut objects, &task, &error);
    }
    for object in &mut objects {
        object.dialect = observed.dialects.get(&object.source).cloned();
    }
    let inferred = observed.schema?;
    let pin = match (pin, &inferred) {
        (Some(pin), _) => pin,
        (None, Some(inferred)) => {
            let definition = schema::define(feed, inferred)?;
            Pin::absence(environment, table.as_ref(), &feed.ledger, &definition).await?
        }
        (None, None) => return Ok(nothing_to_do(table.uri(), objects)),
    };
    let limits = Limits::new(environment, feed, table.as_ref(), pin.layout())?;
    let (small, large): (Vec<u64>, Vec<u64>) =
        taken_bytes.iter().partition(|&&bytes| bytes <= limits.stage_bytes_max);
    let is_partitioned = !pin.layout().partition_columns.is_empty();
    let to_prepare = usize::from(pin.ledger().pointer().is_none());
    Ok(IngestPlan {
        table: table.uri().to_owned(),
        version: pin.version(),
        columns: columns(feed, pin.layout(), inferred.as_ref()),
        objects,
        commits: to_prepare + usize::from(!small.is_empty()) + large.len(),
        data_files_min: u64::from(!small.is_empty()) + large.len() as u64,
        memory_bytes_max: OVERHEAD_BYTES
            + limits.held_bytes_max()
            + limits.writer.held_bytes_max(is_partitioned),
    })
}

async fn look(feed: &Feed, taken: &Found, candidate: Candidate) -> (PlannedObject, Option<Task>) {
    let planned = |action, reason: String, size_bytes| PlannedObject {
        source: candidate.announcement.location.uri.clone(),
        action,
        reason,
        size_bytes,
        dialect: None,
    };
    let object = match SourceObject::of(&candidate.announcement).await {
        Ok(object) => object,
        Err(error) if error.kind() == ErrorKind::SourceGone && !candidate.announcement.named => {
            return (planned(Action::Skip, "gone".to_owned(), 0), None);
        }
        Err(error) => return (planned(Action::Fail, error.message().to_owned(), 0), None),
    };
    let size = object.size_bytes;
    let (action, reason) = match select::judge(feed, taken, &candidate, &object).await {
        Ok(Verdict::Take { is_new, replaces }) => {
            let reason = match (is_new, replaces) {
                (true, _) => "new",
                (false, false) => "changed",
                (false, true) => "changed: it takes the place of the rows that it had",
            };
            let planned = planned(Action::Take, reason.to_owned(), size);
            return (planned, Some(Task::new(candidate, object, replaces)));
        }
        Ok(Verdict::Duplicate(taken)) => {
            let reason = format!("{} by version {}", select::reason_of(&taken), taken.version);
            (Action::Duplicate, reason)
        }
        Ok(Verdict::Touched(taken)) => {
            (Action::Duplicate, format!("same content as version {} took", taken.version))
        }
        Ok(Verdict::Changed(taken)) => {
            (Action::Skip, format!("changed since version {} took it", taken.version))
        }
        Ok(Verdict::Empty) => (Action::Skip, "empty".to_owned()),
        Ok(Verdict::Refused(error)) | Err(error) => (Action::Fail, error.message().to_owned()),
    };
    (planned(action, reason, size), None)
}

fn refuse(objects: &mut [PlannedObject], task: &Task, error: &Error) {
    let uri = &task.object.location.uri;
    if let Some(object) = objects.iter_mut().find(|object| object.source == *uri) {
        object.action = Action::Fail;
        object.reason = error.to_string();
    }
}

/// The table's columns, and then those that only the objects have.
fn columns(feed: &Feed, layout: &Layout, inferred: Option<&Schema>) -> Vec<PlannedColumn> {
    let type_name = |field: &Field| ColumnType::name_of(field.data_type());
    let of_table = layout.schema.fields().iter().map(|field| PlannedColumn {
        name: field.name().clone(),
        table_type: Some(type_name(field)),
        inferred_type: None,
        new_column: None,
    });
    let mut columns: Vec<PlannedColumn> = of_table.collect();
    let fields = || inferred.into_iter().flat_map(Schema::fields);
    let names: Vec<String> = fields().map(|field| field.name().clone()).collect();
    let dialect = feed.csv.dialect_options().or_default();
    let found = Matcher::new(feed, layout, None).find(&names, &dialect);
    for (field, column) in fields().zip(found) {
        match column {
            Some(column) => columns[column].inferred_type = Some(type_name(field)),
            None => columns.push(PlannedColumn {
                name: field.name().clone(),
                table_type: None,
                inferred_type: Some(type_name(field)),
                new_column: Some(feed.drift.new_columns),
            }),
        }
    }
    columns
}

fn nothing_to_do(table: &str, objects: Vec<PlannedObject>) -> IngestPlan {
    IngestPlan {
        table: table.to_owned(),
        version: None,
        columns: Vec::new(),
        objects,
        commits: 0,
        data_files_min: 0,
        memory_bytes_max: OVERHEAD_BYTES,
    }
}
