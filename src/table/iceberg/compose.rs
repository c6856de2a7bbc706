//! What a commit changes, composed on the pinned metadata and put nowhere yet.

use std::collections::HashMap;

use bytes::Bytes;
use iceberg::TableRequirement;
use iceberg::io::FileIO;
use iceberg::spec::{
    FormatVersion, MAIN_BRANCH, ManifestFile, ManifestList, ManifestListWriter,
    ManifestWriterBuilder, Operation, Snapshot, SortOrder, Summary, TableMetadata,
    TableMetadataBuildResult, TableMetadataBuilder, Transform, UnboundPartitionSpec,
};
use uuid::Uuid;

use super::catalog::{Change, Loaded};
use super::data_file::{METRICS_OF_COLUMN, describe};
use super::layout;
use super::metadata::library_error;
use crate::clock::Entropy;
use crate::error::{Error, ErrorKind, Result};
use crate::table::{Append, Layout, TableDefinition};

/// The property, and the entry in a snapshot's summary, with a ledger's pointer: its name follows.
pub(super) const POINTER: &str = "lakefeed.pointer.";
/// The most bits that a snapshot's id has: it is positive.
const SNAPSHOT_ID_BITS: u32 = 62;
/// Sources named in the table's history. The ledger names them all.
const HISTORY_SOURCES_MAX: usize = 50;
/// What a summary sums up over the whole table, and what of one snapshot is added to it.
const TOTALS: [(&str, &str); 6] = [
    ("total-data-files", "added-data-files"),
    ("total-records", "added-records"),
    ("total-files-size", "added-files-size"),
    ("total-delete-files", "added-delete-files"),
    ("total-position-deletes", "added-position-deletes"),
    ("total-equality-deletes", "added-equality-deletes"),
];

/// Lists in metadata, and what they are in the order of.
const ORDERS: [(&str, &str); 4] = [
    ("snapshots", "sequence-number"),
    ("schemas", "schema-id"),
    ("partition-specs", "spec-id"),
    ("sort-orders", "order-id"),
];

/// The files beside the metadata that an append names.
pub(super) struct Manifests {
    /// The manifest of the files that it adds, if it adds some.
    pub added: Option<Written>,
    /// The list of that one and all that were there.
    pub list: Written,
}

/// A file that is to be written.
pub(super) struct Written {
    /// Its name in the folder of metadata.
    pub name: String,
    /// What it holds.
    pub body: Bytes,
}

/// Random and temporal input of an append.
pub(super) struct Stamp {
    /// The id of the snapshot.
    pub snapshot_id: i64,
    /// What tells its files from those of every other attempt.
    pub unique: Uuid,
    /// When it is made, in milliseconds since 1970.
    pub millis: i64,
}

impl Stamp {
    /// The stamp of a snapshot after `base`, at a time that is not before it: clocks differ.
    pub fn draw(base: &TableMetadata, entropy: &Entropy, now_millis: i64) -> Self {
        let drawn = std::iter::repeat_with(|| entropy.bits(SNAPSHOT_ID_BITS).cast_signed());
        let mut free = drawn.filter(|&id| id != 0 && base.snapshot_by_id(id).is_none());
        let last = base.snapshots().map(|snapshot| snapshot.timestamp_ms()).max();
        Self {
            snapshot_id: free.next().unwrap_or_default(),
            unique: entropy.uuid(),
            millis: now_millis.max(base.last_updated_ms()).max(last.unwrap_or_default()),
        }
    }
}

/// The creation of a table at `uri`, and its metadata.
///
/// # Errors
/// [`ErrorKind::SchemaMismatch`] for columns that Iceberg does not have.
pub(super) fn creation(
    uri: &str,
    definition: &TableDefinition,
    source_column: Option<&str>,
    pointer: (String, String),
    table_id: Uuid,
    now_millis: i64,
) -> Result<(TableMetadata, Change)> {
    let defect = |cause| defect("a table could not be composed", cause);
    let schema = layout::schema_of(uri, &definition.schema)?;
    let mut spec = UnboundPartitionSpec::builder();
    for column in &definition.partition_by {
        let source = schema.field_id_by_name(column).ok_or_else(|| {
            Error::new(ErrorKind::Configuration, format!("there is no column {column:?}"))
                .with_object(uri)
                .with_advice("name columns of the table in partition_by")
        })?;
        spec = spec.add_partition_field(source, column, Transform::Identity).map_err(defect)?;
    }
    // Names of objects are to be told apart by bounds, by whoever compacts the table as well.
    let whole = source_column.filter(|column| schema.field_id_by_name(column).is_some());
    let metrics = whole.map(|column| (format!("{METRICS_OF_COLUMN}{column}"), "full".to_owned()));
    let built = TableMetadataBuilder::new(
        schema,
        spec.build(),
        SortOrder::unsorted_order(),
        uri.to_owned(),
        FormatVersion::V2,
        metrics.into_iter().chain([pointer]).collect(),
    )
    .map_err(defect)?;
    let built = built.assign_uuid(table_id).build().map_err(defect)?;
    let metadata = built.metadata.clone();
    Ok((metadata, change(vec![TableRequirement::NotExist], built, now_millis)?))
}

/// What the pinned metadata must still be like, wherever it is kept.
///
/// The columns' ids are among it: a column that was dropped and added again has another, and would read
/// null from files that were written for the old one.
fn requirements(base: &TableMetadata) -> Vec<TableRequirement> {
    vec![
        TableRequirement::UuidMatch { uuid: base.uuid() },
        TableRequirement::RefSnapshotIdMatch {
            r#ref: MAIN_BRANCH.to_owned(),
            snapshot_id: base.current_snapshot_id(),
        },
        TableRequirement::CurrentSchemaIdMatch { current_schema_id: base.current_schema_id() },
        TableRequirement::DefaultSpecIdMatch { default_spec_id: base.default_partition_spec_id() },
        TableRequirement::LastAssignedFieldIdMatch {
            last_assigned_field_id: base.last_column_id(),
        },
    ]
}

/// The manifests of `append`, on top of those in `before`, the pinned snapshot's list.
///
/// The library writes files through a storage of its own. It gets one in memory, and what it wrote is
/// written to the table's by us: a manifest is as long as an append has files, which have a limit, and
/// the list is held whole to be written again in any case.
pub(super) async fn manifests(
    base: &TableMetadata,
    layout: &Layout,
    append: &Append,
    before: Option<&Bytes>,
    stamp: &Stamp,
) -> Result<Manifests> {
    let memory = FileIO::new_with_memory();
    let folder = format!("{}/metadata", base.location());
    let manifest = format!("{}-m0.avro", stamp.unique);
    let list = format!("snap-{}-1-{}.avro", stamp.snapshot_id, stamp.unique);
    let written = async {
        let added = match append.files.is_empty() {
            true => None,
            false => {
                let output = memory.new_output(format!("{folder}/{manifest}"))?;
                Some(write_manifest(base, layout, append, output, stamp).await?)
            }
        };
        let mut writer = ManifestListWriter::v2(
            memory.new_output(format!("{folder}/{list}"))?.writer().await?,
            stamp.snapshot_id,
            base.current_snapshot_id(),
            base.next_sequence_number(),
        );
        let before = before.map(|bytes| ManifestList::parse_with_version(bytes, FormatVersion::V2));
        let before = before.transpose()?.map(ManifestList::consume_entries);
        let has_added = added.is_some();
        // The newest first, as other writers have it.
        writer.add_manifests(added.into_iter().chain(before.into_iter().flatten()))?;
        writer.close().await?;
        let read = async |name: String| {
            let body = memory.new_input(format!("{folder}/{name}"))?.read().await?;
            Ok::<_, iceberg::Error>(Written { name, body })
        };
        let added = if has_added { Some(read(manifest).await?) } else { None };
        Ok::<_, iceberg::Error>(Manifests { added, list: read(list).await? })
    };
    written.await.map_err(|cause| library_error(base.location(), cause))
}

async fn write_manifest(
    base: &TableMetadata,
    layout: &Layout,
    append: &Append,
    output: iceberg::io::OutputFile,
    stamp: &Stamp,
) -> iceberg::Result<ManifestFile> {
    let mut writer = ManifestWriterBuilder::new(
        output,
        Some(stamp.snapshot_id),
        base.current_schema().clone(),
        base.default_partition_spec().as_ref().clone(),
    )
    .build_v2_data();
    for file in &append.files {
        let described = describe(base, layout, file).map_err(|cause| {
            iceberg::Error::new(iceberg::ErrorKind::Unexpected, "a data file").with_source(cause)
        })?;
        // Its sequence number is that of the snapshot.
        writer.add_file(described, iceberg::spec::UNASSIGNED_SEQUENCE_NUMBER)?;
    }
    writer.write_manifest_file().await
}

/// The commit of `append` on top of `base`, whose snapshot's list of manifests is `list`.
///
/// Every move of the pointer is a snapshot, even one that adds no file: what a catalog compares are
/// snapshots and their sequence numbers, not properties.
pub(super) fn append(
    base: &Loaded,
    append: &Append,
    pointer: (String, String),
    list: &Written,
    stamp: &Stamp,
) -> Result<Change> {
    let defect = |cause| defect("a commit could not be composed", cause);
    let metadata = &base.metadata;
    let snapshot = Snapshot::builder()
        .with_snapshot_id(stamp.snapshot_id)
        .with_parent_snapshot_id(metadata.current_snapshot_id())
        .with_sequence_number(metadata.next_sequence_number())
        .with_timestamp_ms(stamp.millis)
        .with_manifest_list(format!("{}/metadata/{}", metadata.location(), list.name))
        .with_summary(summary(metadata, append, &pointer))
        .with_schema_id(metadata.current_schema_id())
        .build();
    let properties = HashMap::from([pointer]);
    // The branch keeps what it says of how long its snapshots are kept.
    let built = metadata
        .clone()
        .into_builder(Some(base.location.clone()))
        .set_properties(properties)
        .and_then(|builder| builder.set_branch_snapshot(snapshot, MAIN_BRANCH))
        .and_then(|builder| builder.build());
    change(requirements(metadata), built.map_err(defect)?, stamp.millis)
}

/// Strings by strings, as every engine shows them.
fn summary(base: &TableMetadata, append: &Append, pointer: &(String, String)) -> Summary {
    let rows: u64 = append.files.iter().map(|file| file.rows).sum();
    let bytes: u64 = append.files.iter().map(|file| file.size_bytes).sum();
    let sources = &append.sources[..append.sources.len().min(HISTORY_SOURCES_MAX)];
    let mut said = HashMap::from([
        ("added-data-files".to_owned(), append.files.len().to_string()),
        ("added-records".to_owned(), rows.to_string()),
        ("added-files-size".to_owned(), bytes.to_string()),
        ("engine-name".to_owned(), "lakefeed".to_owned()),
        ("engine-version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("lakefeed.append".to_owned(), append.id.to_string()),
        ("lakefeed.source-count".to_owned(), append.sources.len().to_string()),
        pointer.clone(),
    ]);
    said.extend(serde_json::to_string(sources).ok().map(|it| ("lakefeed.sources".to_owned(), it)));
    let quarantine = append.quarantine.clone();
    said.extend(quarantine.map(|address| ("lakefeed.quarantine".to_owned(), address)));
    let before = base.current_snapshot().map(|snapshot| &snapshot.summary().additional_properties);
    for (total, added) in TOTALS {
        let before: Option<u64> = match before {
            // Of a total that is not known, none is known.
            Some(said) => said.get(total).and_then(|total| total.parse().ok()),
            None => Some(0),
        };
        let added = said.get(added).and_then(|added| added.parse().ok()).unwrap_or(0);
        said.extend(before.map(|before| (total.to_owned(), (before + added).to_string())));
    }
    Summary { operation: Operation::Append, additional_properties: said }
}

fn change(
    requirements: Vec<TableRequirement>,
    built: TableMetadataBuildResult,
    millis: i64,
) -> Result<Change> {
    let unwritable = |cause: serde_json::Error| {
        Error::new(ErrorKind::Internal, "metadata could not be written").with_cause(cause)
    };
    let version = version_of(&built.metadata);
    let mut outcome = serde_json::to_value(&built.metadata).map_err(unwritable)?;
    // The library asks its own clock where no snapshot says when.
    outcome["last-updated-ms"] = millis.into();
    // The library keeps these in no order; people and other writers know them in this one.
    for (list, key) in ORDERS {
        if let Some(list) = outcome[list].as_array_mut() {
            list.sort_by_key(|item| item[key].as_i64());
        }
    }
    let outcome = serde_json::to_vec(&outcome).map_err(unwritable)?.into();
    Ok(Change { requirements, updates: built.changes, outcome, version })
}

/// The version of the table, as the pipeline counts: its last sequence number.
///
/// It is 0 when the table is created, each snapshot makes it one more, whatever the catalog, and it never
/// goes back, even where a snapshot is made current again that was before.
pub(super) fn version_of(metadata: &TableMetadata) -> u64 {
    metadata.last_sequence_number().unsigned_abs()
}

fn defect(message: &str, cause: iceberg::Error) -> Error {
    Error::new(ErrorKind::Internal, message).with_cause(cause)
}
