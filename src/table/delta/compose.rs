//! The bytes of a commit, composed by the kernel and put nowhere yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, Int64Array, MapBuilder, MapFieldNames, RecordBatch, StringArray};
use arrow::array::{StringBuilder, StructArray};
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use delta_kernel::committer::{CommitMetadata, CommitResponse, Committer, PublishMetadata};
use delta_kernel::engine::arrow_data::{ArrowEngineData, EngineDataArrowExt};
use delta_kernel::engine::to_json_bytes;
use delta_kernel::snapshot::SnapshotRef;
use delta_kernel::transaction::create_table::create_table;
use delta_kernel::transaction::data_layout::DataLayout;
use delta_kernel::transaction::{Transaction, UpdateTableOperation};
use delta_kernel::{
    Engine, EngineData, FilteredEngineData, KernelError, KernelResult, KernelResultIterator,
};
use url::Url;

use super::evolve::Evolved;
use super::layout::{self, Target};
use super::{ENGINE_INFO, files, statistics};
use crate::table::{Append, Creation, DataFile, Effect, Layout, Pointer, TableDefinition};

/// When the pointer to the ledger was last touched: the end of the year 9999, in milliseconds.
/// Spark drops a `txn` action that is older than the table's retention, or that says no time.
const NEVER_EXPIRES_MILLIS: i64 = 253_402_300_799_000;
/// An address for what has none yet.
const NOWHERE: &str = "memory:///new/";
/// Sources named in the table's history. The ledger names them all.
const HISTORY_SOURCES_MAX: usize = 50;

/// A committer that keeps the commit's bytes and puts them nowhere.
#[derive(Debug, Clone, Default)]
pub(super) struct Capture(Arc<Mutex<Option<Vec<u8>>>>);

impl Capture {
    fn take(&self) -> KernelResult<Vec<u8>> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.ok_or_else(|| KernelError::generic("the commit was not composed"))
    }
}

impl Committer for Capture {
    fn commit(
        &self,
        _engine: &dyn Engine,
        actions: KernelResultIterator<'_, FilteredEngineData>,
        metadata: CommitMetadata,
    ) -> KernelResult<CommitResponse> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(to_json_bytes(actions)?);
        // To the kernel, not committed: nothing is built on top of it.
        Ok(CommitResponse::Conflict { version: metadata.version() })
    }

    fn is_catalog_committer(&self) -> bool {
        false
    }

    fn publish(&self, _engine: &dyn Engine, _metadata: PublishMetadata) -> KernelResult<()> {
        Ok(())
    }
}

/// The commit that adds `append` on top of `snapshot`.
pub(super) fn append(
    engine: &dyn Engine,
    snapshot: &SnapshotRef,
    layout: &Layout,
    append: &Append,
    application: &str,
    pointer: Pointer,
) -> KernelResult<Bytes> {
    let capture = Capture::default();
    let evolved = evolved(append)?;
    let snapshot = &evolved.map_or_else(|| Ok(snapshot.clone()), |it| it.base(snapshot))?;
    let mut builder = snapshot
        .clone()
        .update_table(operation(&append.effect), ENGINE_INFO, true)
        .with_transaction_id(application, pointer)
        .with_operation_parameters(parameters(append))
        .with_operation_metrics(metrics(append));
    let removed = files::to_remove(&append.removed)?;
    if let Some(evolved) = evolved {
        builder = evolved.put_into(builder, snapshot)?;
    }
    if !append.files.is_empty() && removed.is_none() && evolved.is_none() {
        builder = builder.with_blind_append();
    }
    let mut transaction = builder.build(engine, Box::new(capture.clone()))?;
    if let Some(removed) = removed {
        transaction.remove_files(removed);
    }
    if !append.files.is_empty() {
        let target = Target {
            schema: evolved
                .map_or_else(|| snapshot.schema(), |evolved| Arc::clone(&evolved.schema)),
            partition_by: transaction.logical_partition_columns().to_vec(),
            state: transaction.write_state()?,
        };
        let root = snapshot.table_root();
        let files = add_files(engine, root, layout, &append.files, &transaction, &target)?;
        transaction.add_files(files);
    }
    let _ = transaction.commit(engine)?;
    keep_pointer(&capture.take()?, application)
}

/// The creation of a table, as version 0. It names no address; the one below is nowhere.
pub(super) fn creation(
    engine: &dyn Engine,
    definition: &TableDefinition,
    application: &str,
    pointer: Pointer,
) -> KernelResult<Creation> {
    let capture = Capture::default();
    let schema = layout::kernel_schema(&definition.schema)?;
    let data_layout = match definition.partition_by.as_slice() {
        [] => DataLayout::None,
        columns => DataLayout::partitioned(columns),
    };
    let transaction = create_table(NOWHERE, schema.clone(), ENGINE_INFO, false)
        .with_data_layout(data_layout)
        .with_transaction_id(application, pointer)
        .build(engine, Box::new(capture.clone()))?;
    let target = Target {
        schema,
        partition_by: definition.partition_by.clone(),
        state: transaction.write_state()?,
    };
    let layout = Arc::new(layout::of(&target)?);
    let _ = transaction.commit(engine)?;
    let commit = keep_pointer(&capture.take()?, application)?;
    let table_id = table_id(&commit)?;
    Ok(Creation { table_id, pointer, layout, inner: Arc::new(commit) })
}

fn evolved(append: &Append) -> KernelResult<Option<&Evolved>> {
    let Some(evolution) = &append.evolution else { return Ok(None) };
    let evolved = evolution.inner.downcast_ref();
    evolved.map(Some).ok_or_else(|| KernelError::generic("a change of another format"))
}

/// What other engines call a commit of this effect.
fn operation(effect: &Effect) -> UpdateTableOperation {
    match effect {
        Effect::Append | Effect::Replace { .. } => UpdateTableOperation::Write,
        Effect::Delete { .. } => UpdateTableOperation::Delete,
    }
}

fn parameters(append: &Append) -> Vec<(&'static str, Option<String>)> {
    let sources = &append.sources[..append.sources.len().min(HISTORY_SOURCES_MAX)];
    let (mode, predicate) = match &append.effect {
        Effect::Append => (Some("Append"), None),
        Effect::Replace { predicate } => (Some("Overwrite"), Some(predicate)),
        Effect::Delete { predicate } => (None, Some(predicate)),
    };
    let added = append.columns_added();
    let of_effect = [
        ("mode", mode.map(str::to_owned)),
        ("predicate", predicate.cloned()),
        ("columnsAdded", serde_json::to_string(&added).ok().filter(|_| !added.is_empty())),
    ];
    let quarantine = [("quarantine", append.quarantine.clone())];
    let of_all = [
        ("append", Some(append.id.to_string())),
        ("sourceCount", Some(append.sources.len().to_string())),
        ("sources", serde_json::to_string(sources).ok()),
    ];
    let of_some = of_effect.into_iter().chain(quarantine);
    of_some.filter(|(_, value)| value.is_some()).chain(of_all).collect()
}

fn metrics(append: &Append) -> Vec<(&'static str, Option<String>)> {
    let rows: u64 = append.files.iter().map(|file| file.rows).sum();
    let bytes: u64 = append.files.iter().map(|file| file.size_bytes).sum();
    vec![
        ("numFiles", Some(append.files.len().to_string())),
        ("numOutputRows", Some(rows.to_string())),
        ("numOutputBytes", Some(bytes.to_string())),
        ("numRemovedFiles", Some(append.removed.len().to_string())),
    ]
}

/// The files' `add` actions, as the kernel wants them: one row each.
fn add_files(
    engine: &dyn Engine,
    root: &Url,
    layout: &Layout,
    files: &[DataFile],
    transaction: &Transaction,
    target: &Target,
) -> KernelResult<Box<dyn EngineData>> {
    let mut paths = Vec::with_capacity(files.len());
    let names = MapFieldNames {
        entry: "key_value".to_owned(),
        key: "key".to_owned(),
        value: "value".to_owned(),
    };
    let mut partitions = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for file in files {
        let context = target.bind(&file.partition)?;
        paths.push(context.resolve_file_path(&file_url(root, &file.path)?)?);
        for (name, value) in context.physical_partition_values() {
            partitions.keys().append_value(name);
            partitions.values().append_option(value.as_deref());
        }
        partitions.append(true)?;
    }
    let partitions = partitions.finish();
    let stats = parse_statistics(engine, layout, files, transaction)?;
    let sizes = files.iter().map(|file| i64::try_from(file.size_bytes).unwrap_or(i64::MAX));
    let times = files.iter().map(|file| file.modified_millis);
    let field =
        |name: &str, data_type: &DataType, nullable| Field::new(name, data_type.clone(), nullable);
    let schema = Schema::new(vec![
        field("path", &DataType::Utf8, false),
        field("partitionValues", arrow::array::Array::data_type(&partitions), false),
        field("size", &DataType::Int64, false),
        field("modificationTime", &DataType::Int64, false),
        field("stats", arrow::array::Array::data_type(&stats), true),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(paths)),
        Arc::new(partitions),
        Arc::new(Int64Array::from_iter_values(sizes)),
        Arc::new(Int64Array::from_iter_values(times)),
        Arc::new(stats),
    ];
    Ok(Box::new(ArrowEngineData::new(RecordBatch::try_new(Arc::new(schema), columns)?)))
}

fn parse_statistics(
    engine: &dyn Engine,
    layout: &Layout,
    files: &[DataFile],
    transaction: &Transaction,
) -> KernelResult<StructArray> {
    let json = files.iter().map(|file| Some(statistics::json(layout, file)));
    let json: ArrayRef = Arc::new(json.collect::<StringArray>());
    let batch = RecordBatch::try_from_iter([("stats", json)])?;
    let parsed = engine
        .json_handler()
        .parse_json(Box::new(ArrowEngineData::new(batch)), transaction.stats_schema()?);
    Ok(parsed.try_into_record_batch()?.into())
}

fn file_url(table: &Url, key: &str) -> KernelResult<Url> {
    let mut url = table.clone();
    url.path_segments_mut()
        .map_err(|()| KernelError::generic(format!("{table} has no path")))?
        .pop_if_empty()
        .extend(key.split('/'));
    Ok(url)
}

/// Makes the pointer to the ledger outlast every retention: the kernel stamps it with now.
fn keep_pointer(commit: &[u8], application: &str) -> KernelResult<Bytes> {
    let mut kept = Vec::with_capacity(commit.len());
    for line in commit.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let mut action: HashMap<String, serde_json::Value> = serde_json::from_slice(line)?;
        match action.get_mut("txn") {
            Some(txn) if txn["appId"] == application => {
                txn["lastUpdated"] = NEVER_EXPIRES_MILLIS.into();
                serde_json::to_writer(&mut kept, &action)?;
            }
            _ => kept.extend_from_slice(line),
        }
        kept.push(b'\n');
    }
    Ok(kept.into())
}

fn table_id(commit: &[u8]) -> KernelResult<String> {
    for line in commit.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let action: serde_json::Value = serde_json::from_slice(line)?;
        if let Some(id) = action["metaData"]["id"].as_str() {
            return Ok(id.to_owned());
        }
    }
    Err(KernelError::generic("the creation has no metadata"))
}
