//! From an object's header to the table's columns.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};

use super::budget::CHUNK_BYTES;
use super::task::Task;
use super::text::TextReader;
use super::time::Timekeeper;
use crate::config::{CsvOptions, Feed};
use crate::csv::{DecodePlan, Dialect, Inference, Sample, Target};
use crate::error::{Error, ErrorKind, Result};
use crate::table::{Layout, TableDefinition};

/// Objects whose rows are looked at to infer a table's columns.
const SAMPLE_OBJECTS_MAX: usize = 16;

/// What a sample of the objects says of a table that is not there yet.
pub(super) struct Inferred {
    /// The table; nothing where no row was seen.
    pub definition: Result<Option<TableDefinition>>,
    /// Objects that are no CSV.
    pub failed: Vec<(Task, Error)>,
    /// The others.
    pub tasks: Vec<Task>,
}

/// Infers a table from the first bytes of some of `tasks`: as many as it takes to see rows of
/// [`SAMPLE_OBJECTS_MAX`] of them. Not of fewer where time runs out: a table's columns are for ever.
pub(super) async fn infer(feed: &Feed, tasks: Vec<Task>, time: &Timekeeper<'_>) -> Inferred {
    let mut inferred = Inferred { definition: Ok(None), failed: vec![], tasks: vec![] };
    let mut inference = Inference::new(feed.csv.dialect_options().or_default(), folded_name);
    let bytes_max = usize::try_from(feed.sample_bytes_max).unwrap_or(usize::MAX);
    let share = bytes_max / tasks.len().clamp(1, SAMPLE_OBJECTS_MAX);
    let mut with_rows = 0;
    for task in tasks {
        if with_rows == SAMPLE_OBJECTS_MAX {
            inferred.tasks.push(task);
            continue;
        }
        if let Some(objection) = time.objection(0) {
            inferred.definition = Err(objection);
            return inferred;
        }
        match observe(&mut inference, &task, &feed.csv, share.max(1), bytes_max).await {
            Ok(has_rows) => {
                with_rows += usize::from(has_rows);
                inferred.tasks.push(task);
            }
            Err(error) => {
                let error = error.with_object(&task.object.location.uri);
                inferred.failed.push((task, error));
            }
        }
    }
    if with_rows > 0 {
        inferred.definition = define(feed, &inference.finish()).map(Some);
    }
    inferred
}

/// Takes the first `bytes` of an object into account, or, if no row ends there, `bytes_max`; says
/// whether there was a row.
async fn observe(
    inference: &mut Inference,
    task: &Task,
    options: &CsvOptions,
    bytes: usize,
    bytes_max: usize,
) -> Result<bool> {
    let rows_before = inference.rows();
    for bytes in [bytes, bytes_max] {
        let mut reader = TextReader::open(&task.object, options);
        let (bytes, whole) = sample(&mut reader, bytes).await?;
        let observed = inference.observe(Sample { bytes: &bytes, whole });
        observed.map_err(|error| reader.tell(reader.locate(error)))?;
        if whole || inference.rows() > rows_before {
            return Ok(inference.rows() > rows_before);
        }
    }
    Err(Error::new(ErrorKind::SourceInvalid, format!("no row ends in its first {bytes_max} bytes"))
        .with_advice("check its quotes and line ends, or raise sample_bytes_max"))
}

/// The first `bytes_max` bytes of an object's text, and whether they are all.
async fn sample(reader: &mut TextReader, bytes_max: usize) -> Result<(Vec<u8>, bool)> {
    let mut bytes = Vec::new();
    while bytes.len() < bytes_max {
        let end = bytes.len();
        bytes.resize(end + CHUNK_BYTES.min(bytes_max - end), 0);
        let read = reader.read(&mut bytes[end..]).await?;
        bytes.truncate(end + read);
        if read == 0 {
            return Ok((bytes, true));
        }
    }
    Ok((bytes, false))
}

/// The table for objects of this inferred schema, as the feed wants it.
fn define(feed: &Feed, inferred: &Schema) -> Result<TableDefinition> {
    let mut fields = Vec::new();
    let mut overrides: HashSet<&String> = feed.columns.keys().collect();
    let mut names = HashSet::new();
    for field in inferred.fields() {
        let name = legal_name(field.name());
        let wanted = feed.columns.get(field.name()).or_else(|| feed.columns.get(&name));
        overrides.retain(|column| *column != field.name() && **column != name);
        let data_type = match wanted {
            Some(wanted) => wanted.data_type().clone(),
            None if !feed.csv.infer => DataType::Utf8,
            None => field.data_type().clone(),
        };
        names.insert(name.to_lowercase());
        fields.push(Field::new(name, data_type, true));
    }
    if let Some(unknown) = overrides.into_iter().next() {
        return Err(configuration(format!(
            "[feed.columns] names {unknown:?}, and no object has it"
        ))
        .with_advice("use a name from the objects' header"));
    }
    if let Some(name) = &feed.source_file_column {
        if !names.insert(name.to_lowercase()) {
            return Err(configuration(format!("the objects have a column {name:?} of their own"))
                .with_advice("set source_file_column to another name, or to false"));
        }
        fields.push(Field::new(name, DataType::Utf8, true));
    }
    for column in &feed.partition_by {
        if !fields.iter().any(|field| field.name() == column) {
            return Err(configuration(format!(
                "partition_by names {column:?}, and no object has it"
            ))
            .with_advice("use a name from the objects' header"));
        }
    }
    Ok(TableDefinition {
        schema: Arc::new(Schema::new(fields)),
        partition_by: feed.partition_by.clone(),
    })
}

/// Refuses a feed that asks of an existing table what it is not.
///
/// # Errors
/// [`ErrorKind::Configuration`].
pub(super) fn check_feed(feed: &Feed, layout: &Layout, table: &str) -> Result<()> {
    for (name, wanted) in &feed.columns {
        let Ok(field) = layout.schema.field_with_name(name) else { continue };
        if field.data_type() != wanted.data_type() {
            return Err(configuration(format!(
                "[feed.columns] says {name:?} is {wanted}, and in the table it is {}",
                field.data_type()
            ))
            .with_object(table)
            .with_advice("take it out: a table keeps the types it was made with"));
        }
    }
    if let Some(name) = &feed.source_file_column
        && let Ok(field) = layout.schema.field_with_name(name)
        && *field.data_type() != DataType::Utf8
    {
        return Err(configuration(format!(
            "the table's column {name:?} cannot hold a source's name"
        ))
        .with_object(table)
        .with_advice("set source_file_column to another name, or to false"));
    }
    let has = |column: &String| layout.schema.index_of(column).is_ok();
    if let Some(reason) = feed.needs_source_file_column()
        && !feed.source_file_column.as_ref().is_some_and(has)
    {
        return Err(configuration(format!(
            "the table has no column {:?} to tell whose each row is, and {reason}",
            feed.source_file_column.as_deref().unwrap_or_default()
        ))
        .with_object(table)
        .with_advice("ingest into a table that Lakefeed has made with one, or leave that out"));
    }
    let partitions: Vec<&String> =
        layout.partition_columns.iter().map(|&i| layout.schema.field(i).name()).collect();
    if !feed.partition_by.is_empty() && !feed.partition_by.iter().eq(partitions.iter().copied()) {
        return Err(configuration(format!(
            "partition_by is {:?}, and the table is partitioned by {partitions:?}",
            feed.partition_by
        ))
        .with_object(table)
        .with_advice("take it out: a table keeps the partitions it was made with"));
    }
    Ok(())
}

/// Which field of a row goes into which column of the table: by name, where there is a header, else
/// by position. `source_column` is ours to fill.
///
/// # Errors
/// [`ErrorKind::SchemaMismatch`] for a field that the table has no column for, or a column that may
/// not be null and that no field feeds.
pub(super) fn decode_plan(
    header: &[String],
    dialect: &Dialect,
    layout: &Layout,
    source_column: Option<usize>,
) -> Result<DecodePlan> {
    let columns: Vec<usize> =
        (0..layout.schema.fields().len()).filter(|&i| Some(i) != source_column).collect();
    let fields = if dialect.has_header() {
        by_name(header, layout, &columns)?
    } else if header.len() <= columns.len() {
        columns[..header.len()].iter().copied().map(Target::Column).collect()
    } else {
        return Err(mismatch(format!(
            "its rows have {} fields, and the table has {} columns for them",
            header.len(),
            columns.len()
        )));
    };
    let unfed = columns.iter().find(|&&column| {
        !layout.schema.field(column).is_nullable() && !fields.contains(&Target::Column(column))
    });
    if let Some(&column) = unfed {
        let name = layout.schema.field(column).name();
        return Err(mismatch(format!("it has no column {name:?}, which may not be null")));
    }
    Ok(DecodePlan { schema: Arc::clone(&layout.schema), fields, rescued: None })
}

fn by_name(header: &[String], layout: &Layout, columns: &[usize]) -> Result<Vec<Target>> {
    let exact: HashMap<&str, usize> =
        columns.iter().map(|&i| (layout.schema.field(i).name().as_str(), i)).collect();
    let folded: HashMap<String, usize> =
        exact.iter().map(|(name, &i)| (folded_name(name), i)).collect();
    let column_of = |name: &String| {
        let folded = || folded.get(&folded_name(name));
        exact.get(name.as_str()).or_else(folded).copied()
    };
    let found: Vec<Option<usize>> = header.iter().map(column_of).collect();
    let unknown: Vec<&String> =
        header.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(n, _)| n).collect();
    if !unknown.is_empty() {
        let known: Vec<&String> = columns.iter().map(|&i| layout.schema.field(i).name()).collect();
        return Err(mismatch(format!(
            "the table has no column for {unknown:?} of its header; the table's are {known:?}"
        )));
    }
    let mut taken = HashSet::new();
    if let Some((name, _)) = header.iter().zip(&found).find(|(_, column)| !taken.insert(**column)) {
        return Err(mismatch(format!("two columns of its header are the table's {name:?}")));
    }
    Ok(found.into_iter().map(|column| column.map_or(Target::Ignored, Target::Column)).collect())
}

/// A column's name without the characters that Delta and Parquet forbid in one.
fn legal_name(name: &str) -> String {
    const FORBIDDEN: [char; 11] = [' ', ',', ';', '{', '}', '(', ')', '\n', '\r', '\t', '='];
    name.trim().replace(FORBIDDEN, "_")
}

/// The form in which a table tells names apart: neither by case, nor by what it forbids.
fn folded_name(name: &str) -> String {
    legal_name(name).to_lowercase()
}

fn configuration(message: String) -> Error {
    Error::new(ErrorKind::Configuration, message)
}

fn mismatch(message: String) -> Error {
    Error::new(ErrorKind::SchemaMismatch, message).with_advice(
        "mend the object's header, or add the column to the table first (ALTER TABLE t ADD COLUMN)",
    )
}
