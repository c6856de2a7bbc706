//! A table's columns, from what a sample of the objects has.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};

use super::budget::CHUNK_BYTES;
use super::task::Task;
use super::text::TextReader;
use super::time::Timekeeper;
use crate::config::{BadRows, ColumnOptions, CsvOptions, Feed, NewColumns};
use crate::csv::{
    DETECTION_BYTES_MAX, DialectReport, Formats, Inference, Sample, detect, folded_name, legal_name,
};
use crate::error::{Error, ErrorKind, Result};
use crate::table::{Layout, TableDefinition};

/// What a column's metadata calls the name that the header has for it, where the table's is another.
const HEADER_NAME: &str = "lakefeed.headerName";

/// Objects whose rows are looked at to infer a table's columns.
pub(super) const SAMPLE_OBJECTS_MAX: usize = 16;

/// What a sample of the objects says of their columns.
pub(super) struct Observed {
    /// The columns of them all, in order of their first appearance; nothing where it takes a row to know
    /// their types, and none was seen.
    pub schema: Result<Option<Schema>>,
    /// Objects that are no CSV.
    pub failed: Vec<(Task, Error)>,
    /// The others.
    pub tasks: Vec<Task>,
    /// How those that were looked at are written down, by address.
    pub dialects: HashMap<String, DialectReport>,
}

/// Looks at the first bytes of some of `tasks`: as many as it takes to see rows of `objects_max` of
/// them. Not of fewer where time runs out: a table's columns are for ever. `columns` are the names of
/// those that the table has already.
pub(super) async fn observe_some(
    feed: &Feed,
    tasks: Vec<Task>,
    columns: &[&str],
    objects_max: usize,
    time: &Timekeeper<'_>,
) -> Observed {
    let mut observed =
        Observed { schema: Ok(None), failed: vec![], tasks: vec![], dialects: HashMap::new() };
    let mut inference = Inference::new(folded_name)
        .with_formats(formats(feed))
        .tolerating_bad_rows(feed.csv.bad_rows != BadRows::Fail);
    let bytes_max = usize::try_from(feed.sample_bytes_max).unwrap_or(usize::MAX);
    let share = bytes_max / tasks.len().clamp(1, SAMPLE_OBJECTS_MAX);
    let mut with_rows = 0;
    for task in tasks {
        if with_rows == objects_max {
            observed.tasks.push(task);
            continue;
        }
        if let Some(objection) = time.objection(0) {
            observed.schema = Err(objection);
            return observed;
        }
        match observe(&mut inference, &task, &feed.csv, columns, share.max(1), bytes_max).await {
            Ok((has_rows, dialect)) => {
                with_rows += usize::from(has_rows);
                observed.dialects.insert(task.object.location.uri.clone(), dialect);
                observed.tasks.push(task);
            }
            Err(error) => {
                let error = error.with_object(&task.object.location.uri);
                observed.failed.push((task, error));
            }
        }
    }
    let schema = inference.finish();
    if with_rows > 0 || has_types(feed, &schema) {
        observed.schema = Ok(Some(schema));
    }
    observed
}

/// Whether the feed says the types of all columns, so that it takes no row to know them.
fn has_types(feed: &Feed, schema: &Schema) -> bool {
    let is_said = |field: &Arc<Field>| !feed.csv.infer || said_type(feed, field.name()).is_some();
    !schema.fields().is_empty() && schema.fields().iter().all(is_said)
}

/// The type that the feed says for a column of this name in the header, in a table that has none yet.
fn said_type(feed: &Feed, header_name: &str) -> Option<DataType> {
    let columns = &feed.columns;
    let said = columns.get(header_name).or_else(|| columns.get(&legal_name(header_name)));
    said.and_then(ColumnOptions::type_in_new_table)
}

/// The column that a table is given for one of the objects, which was inferred to be this. Where the
/// header has another name than the table can have, the column remembers it.
pub(super) fn new_column(feed: &Feed, inferred: &Field) -> Field {
    let header_name = inferred.name();
    let name = legal_name(header_name);
    let metadata = match name == *header_name {
        true => HashMap::new(),
        false => HashMap::from([(HEADER_NAME.to_owned(), header_name.clone())]),
    };
    let data_type = match said_type(feed, header_name) {
        Some(said) => said,
        None if !feed.csv.infer => DataType::Utf8,
        None => inferred.data_type().clone(),
    };
    Field::new(name, data_type, true).with_metadata(metadata)
}

/// Takes the first `bytes` of an object into account, or, if no row ends there, `bytes_max`; says
/// whether there was a row, and how the object is written down.
async fn observe(
    inference: &mut Inference,
    task: &Task,
    options: &CsvOptions,
    columns: &[&str],
    bytes: usize,
    bytes_max: usize,
) -> Result<(bool, DialectReport)> {
    // An object of nothing but misshapen rows has rows: what becomes of them is said where they are read.
    let seen = |inference: &Inference| inference.rows() + inference.rows_misshapen();
    let rows_before = seen(inference);
    // Never less than an ingest finds the dialect out from.
    for bytes in [bytes, bytes_max].map(|bytes| bytes.max(DETECTION_BYTES_MAX)) {
        let mut reader = TextReader::open(&task.object, options);
        let (bytes, whole) = sample(&mut reader, bytes).await?;
        let sample = Sample { bytes: &bytes, whole };
        let detection = detect(sample, &options.dialect_options(), columns);
        let observed = inference.observe(sample, &detection.dialect);
        observed.map_err(|error| reader.tell(reader.locate(error)))?;
        if whole || seen(inference) > rows_before {
            return Ok((seen(inference) > rows_before, reader.report(&detection)));
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
///
/// # Errors
/// [`ErrorKind::Configuration`] where the feed asks of them what they do not have.
pub(super) fn define(feed: &Feed, inferred: &Schema) -> Result<TableDefinition> {
    let mut fields = Vec::new();
    let mut overrides: HashSet<&String> = feed.columns.keys().collect();
    let mut names = HashSet::new();
    for field in inferred.fields() {
        let column = new_column(feed, field);
        overrides.retain(|known| *known != field.name() && *known != column.name());
        names.insert(column.name().to_lowercase());
        fields.push(column);
    }
    // One that is added later has its type by then.
    overrides.retain(|_| feed.drift.new_columns != NewColumns::Add);
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
    if let Some(name) = feed.rescued_column().filter(|name| names.insert((*name).to_owned())) {
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
    for (name, options) in &feed.columns {
        let Some(wanted) = &options.column_type else { continue };
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
    if let Some(name) = feed.rescued_column()
        && let Ok(field) = layout.schema.field_with_name(name)
        && *field.data_type() != DataType::Utf8
    {
        return Err(configuration(format!(
            "the table's column {name:?} cannot hold what is rescued"
        ))
        .with_object(table)
        .with_advice("say new_columns = \"add\", \"ignore\" or \"fail\""));
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

/// How the values of the feed's columns are written, by the names that a table tells apart.
pub(super) fn formats(feed: &Feed) -> Formats {
    feed.formats(folded_name)
}

fn configuration(message: String) -> Error {
    Error::new(ErrorKind::Configuration, message)
}
