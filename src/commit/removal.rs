//! Rows that a commit takes away, as seen from one snapshot.
//!
//! A removal never rebases (10): it is planned on the very snapshot that the commit goes on top of.
//! Data files that hold nothing else go as they are. Those that hold other rows, too, are written
//! again without the rows that go; deletion vectors of others are honoured on the way. What was
//! found out about a file holds for as long as the file is in the table as it is, so a race that is
//! lost against somebody who left it alone costs no second reading.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use futures::TryStreamExt;

use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::memory::Reservation;
use crate::parquet::{Destination, TableWriter, WriterLimits};
use crate::table::{
    DataFile, Effect, FileOrigin, LiveFile, Snapshot, Sources, Table, delete_data_files,
};

/// Data files that one commit looks into or takes away: their names are held.
const FILES_MAX: usize = 10_000;
/// What is held of one of them: what the log says of it, and the action that takes it away. Measured
/// with names and statistics of the usual length.
const FILE_BYTES: u64 = 4 << 10;
/// Names in a predicate, which is for people.
const PREDICATE_NAMES_MAX: usize = 20;

/// Whose rows a commit takes away.
#[derive(Debug, Clone)]
pub struct Removal {
    /// Whose.
    pub sources: Sources,
    /// Whether it puts others in their place.
    pub is_replacement: bool,
    /// The size at which a file that is written again is finished, and the next one begun.
    pub target_file_bytes: u64,
}

/// The rows that a commit took away, by their source. Without names where it took away all.
pub type RowsRemoved = BTreeMap<String, u64>;

/// How many rows of each source a file holds, and how many of others.
#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    by_name: RowsRemoved,
    others: u64,
}

/// What becomes of one file.
#[derive(Debug, Clone)]
struct Cut {
    removed: RowsRemoved,
    /// Without rows to remove, the file stays.
    is_touched: bool,
    /// The files that hold its other rows from now on.
    rest: Vec<DataFile>,
}

/// A removal as seen from one snapshot.
#[derive(Debug, Clone, Default)]
pub(super) struct PlannedRemoval {
    pub removed: Vec<LiveFile>,
    pub added: Vec<DataFile>,
    pub rows: RowsRemoved,
}

/// Plans a removal on one snapshot after the other.
pub(super) struct Remover<'a> {
    environment: &'a Environment,
    table: &'a dyn Table,
    removal: &'a Removal,
    origin: &'a FileOrigin,
    /// By the file's id.
    known: HashMap<String, Cut>,
    last: PlannedRemoval,
    /// For the files of the last plan.
    held: Option<Reservation>,
}

impl Removal {
    /// What the table's history says of it.
    pub(super) fn effect(&self) -> Effect {
        let predicate = match &self.sources {
            Sources::All => "true".to_owned(),
            Sources::Named { column, names } => {
                let quoted = |name: &String| format!("'{}'", name.replace('\'', "''"));
                let mut texts: Vec<String> =
                    names.iter().take(PREDICATE_NAMES_MAX).map(quoted).collect();
                if names.len() > PREDICATE_NAMES_MAX {
                    texts.push(format!("/* and {} more */", names.len() - PREDICATE_NAMES_MAX));
                }
                format!("`{column}` IN ({})", texts.join(", "))
            }
        };
        match self.is_replacement {
            true => Effect::Replace { predicate },
            false => Effect::Delete { predicate },
        }
    }
}

impl<'a> Remover<'a> {
    pub fn new(
        environment: &'a Environment,
        table: &'a dyn Table,
        removal: &'a Removal,
        origin: &'a FileOrigin,
    ) -> Self {
        let (known, last) = (HashMap::new(), PlannedRemoval::default());
        Self { environment, table, removal, origin, known, last, held: None }
    }

    /// The removal as seen from `snapshot`. Files are written, and nothing names them yet.
    ///
    /// # Errors
    /// [`ErrorKind::TableUnsupported`] where rows cannot be taken away,
    /// [`ErrorKind::OverBudget`], and those of the storage.
    pub async fn plan(&mut self, snapshot: &Snapshot) -> Result<PlannedRemoval> {
        let mut planned = PlannedRemoval::default();
        let files = self.table.files_with(snapshot, &self.removal.sources, FILES_MAX).await?;
        self.held = None;
        self.held = Some(hold(self.environment, &files)?);
        for file in files {
            if !self.known.contains_key(&file.id) {
                let cut = self.cut(snapshot, &file).await?;
                self.known.insert(file.id.clone(), cut);
            }
            let Some(cut) = self.known.get(&file.id).filter(|cut| cut.is_touched) else { continue };
            planned.added.extend(cut.rest.iter().cloned());
            planned.removed.push(file);
            for (name, rows) in &cut.removed {
                *planned.rows.entry(name.clone()).or_default() += rows;
            }
        }
        if !planned.removed.is_empty() {
            self.table.check_removable(snapshot)?;
        }
        self.last = planned.clone();
        Ok(planned)
    }

    /// What the last plan takes away.
    pub fn rows(&self) -> RowsRemoved {
        self.last.rows.clone()
    }

    /// Deletes what was written and the last plan does not name.
    pub async fn discard_all_but_the_last(&self) {
        let kept: HashSet<&str> = self.last.added.iter().map(|file| file.path.as_str()).collect();
        let rest = self.known.values().flat_map(|cut| &cut.rest);
        delete_data_files(self.table, rest.filter(|file| !kept.contains(file.path.as_str()))).await;
    }

    /// Deletes what was written.
    pub async fn discard(&self) {
        delete_data_files(self.table, self.known.values().flat_map(|cut| &cut.rest)).await;
    }

    async fn cut(&self, snapshot: &Snapshot, file: &LiveFile) -> Result<Cut> {
        let Sources::Named { column, names } = &self.removal.sources else {
            return Ok(Cut { removed: RowsRemoved::new(), is_touched: true, rest: Vec::new() });
        };
        let names = names.iter().map(String::as_str).collect();
        let held = look_into(self.environment, self.table, snapshot, file, column, &names).await?;
        let rest = match held.by_name.is_empty() || held.others == 0 {
            true => Vec::new(),
            false => {
                self.table.check_removable(snapshot)?;
                self.write_again(snapshot, file, column, &names).await?
            }
        };
        Ok(Cut { is_touched: !held.by_name.is_empty(), removed: held.by_name, rest })
    }

    /// Writes the rows of `file` again that are of none of `names`.
    async fn write_again(
        &self,
        snapshot: &Snapshot,
        file: &LiveFile,
        column: &str,
        names: &HashSet<&str>,
    ) -> Result<Vec<DataFile>> {
        let Environment { budget, entropy, clock, .. } = self.environment;
        let layout = &snapshot.layout;
        let mut rows = self.table.rows_of(snapshot, file, None, budget).await?;
        let limits = WriterLimits::within(budget.available_bytes(), layout.schema.fields().len())?;
        let limits = WriterLimits {
            file_bytes_target: self.removal.target_file_bytes,
            part_bytes: self.table.part_bytes().unwrap_or(limits.part_bytes),
            ..limits
        };
        let destination = Destination::in_table(self.table, layout, self.origin.clone());
        let mut writer =
            TableWriter::new(destination, limits, Arc::clone(entropy), Arc::clone(clock), budget)?;
        loop {
            let rest = match rows.try_next().await {
                Ok(Some(batch)) => without(&batch, column, names),
                Ok(None) => return writer.finish().await,
                Err(error) => Err(error),
            };
            match rest {
                Ok(rest) if rest.num_rows() == 0 => {}
                Ok(rest) => writer.write(&rest).await?,
                Err(error) => {
                    writer.abort().await;
                    return Err(error);
                }
            }
        }
    }
}

/// The rows of `batch` that are of none of `names`.
fn without(batch: &RecordBatch, column: &str, names: &HashSet<&str>) -> Result<RecordBatch> {
    let internal = |cause| {
        Error::new(ErrorKind::Internal, "a data file's rows cannot be told apart").with_cause(cause)
    };
    let position = batch.schema().index_of(column).map_err(internal)?;
    let sources = texts(batch.column(position).as_ref(), column)?;
    let others: BooleanArray =
        sources.iter().map(|source| Some(!source.is_some_and(|it| names.contains(it)))).collect();
    filter_record_batch(batch, &others).map_err(internal)
}

fn texts<'a>(values: &'a dyn Array, column: &str) -> Result<&'a StringArray> {
    values.as_string_opt::<i32>().ok_or_else(|| {
        Error::new(
            ErrorKind::SchemaMismatch,
            format!("the table's column {column:?} holds no names of sources"),
        )
    })
}

fn hold(environment: &Environment, files: &[LiveFile]) -> Result<Reservation> {
    environment.budget.try_reserve("the list of data files", files.len() as u64 * FILE_BYTES)
}

/// Counts the rows of each of `names` in a file, and the others.
async fn look_into(
    environment: &Environment,
    table: &dyn Table,
    snapshot: &Snapshot,
    file: &LiveFile,
    column: &str,
    names: &HashSet<&str>,
) -> Result<Held> {
    let mut held = Held::default();
    let mut rows = table.rows_of(snapshot, file, Some(column), &environment.budget).await?;
    while let Some(batch) = rows.try_next().await? {
        for source in texts(batch.column(0).as_ref(), column)? {
            match source.filter(|source| names.contains(source)) {
                None => held.others += 1,
                Some(name) => match held.by_name.get_mut(name) {
                    Some(count) => *count += 1,
                    None => {
                        held.by_name.insert(name.to_owned(), 1);
                    }
                },
            }
        }
    }
    Ok(held)
}

/// What the table held of some sources when a commit was planned, and still must hold for it to be
/// right: which of them it held rows of, not how many.
#[derive(Debug, Clone)]
pub struct Watch {
    /// The text column that holds the name of each row's source.
    pub column: String,
    /// Sources that it held rows of.
    pub held: BTreeSet<String>,
}

impl Watch {
    /// Whether the table holds at `snapshot` what it held of these sources, and nothing of `absent`.
    ///
    /// # Errors
    /// Those of [`rows_held`].
    pub(super) async fn holds(
        &self,
        environment: &Environment,
        table: &dyn Table,
        snapshot: &Snapshot,
        absent: impl Iterator<Item = &str>,
    ) -> Result<bool> {
        let absent = absent.filter(|name| !self.held.contains(*name));
        let names: Vec<String> =
            absent.map(str::to_owned).chain(self.held.iter().cloned()).collect();
        let now = rows_held(environment, table, snapshot, &self.column, &names).await?;
        Ok(now.keys().eq(self.held.iter()))
    }
}

/// How many rows of each of `names` the table holds, by the text column `column`; those that it holds
/// none of are not named.
///
/// # Errors
/// [`ErrorKind::OverBudget`] where too many files may hold them, and those of the storage.
pub async fn rows_held(
    environment: &Environment,
    table: &dyn Table,
    snapshot: &Snapshot,
    column: &str,
    names: &[String],
) -> Result<RowsRemoved> {
    let sources = Sources::Named { column: column.to_owned(), names: names.to_vec() };
    let names = names.iter().map(String::as_str).collect();
    let mut sum = RowsRemoved::new();
    let files = table.files_with(snapshot, &sources, FILES_MAX).await?;
    let _held = hold(environment, &files)?;
    for file in files {
        let held = look_into(environment, table, snapshot, &file, column, &names).await?;
        for (name, rows) in held.by_name {
            *sum.entry(name).or_default() += rows;
        }
    }
    Ok(sum)
}
