//! A table's metadata: read, and refused where we could not keep what it promises.

use std::collections::HashMap;

use iceberg::spec::{FormatVersion, TableMetadata, Transform};
use object_store::path::Path;
use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_128;

use crate::error::{Error, ErrorKind, Result};

/// The version of the format that we write.
const FORMAT_VERSION: u64 = 2;
/// What stands for "plain" among the codecs of metadata.
const NO_CODEC: &str = "none";

/// Of any version's metadata, what says which version it is.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Preamble {
    format_version: u64,
}

/// Properties that we would have to heed and do not, each with what it is for.
const UNHEEDED: [(&str, &str); 4] = [
    ("encryption.key-id", "it is encrypted"),
    (
        "schema.name-mapping.default",
        "some of its files have no field ids, and a name mapping instead",
    ),
    ("write.data.path", "its data files are to go to another place"),
    ("write.metadata.path", "its metadata is to go to another place"),
];

/// The metadata in `body`, which is that of the table at `uri`.
///
/// # Errors
/// [`ErrorKind::TableInvalid`] for what is no metadata, [`ErrorKind::TableUnsupported`] for that of
/// another version.
pub(super) fn parse(uri: &str, path: &Path, body: &[u8]) -> Result<TableMetadata> {
    let invalid = |cause: serde_json::Error| {
        Error::new(ErrorKind::TableInvalid, "the table's metadata cannot be read")
            .with_object(path.as_ref())
            .with_cause(cause)
            .with_advice("look at the table with another reader; nothing was written")
    };
    let Preamble { format_version } = serde_json::from_slice(body).map_err(invalid)?;
    match format_version {
        FORMAT_VERSION => serde_json::from_slice(body).map_err(invalid),
        1 => Err(unsupported(
            uri,
            "it is of format version 1, in which commits have no sequence",
            "ALTER TABLE t SET TBLPROPERTIES ('format-version' = '2')",
        )),
        later => Err(unsupported(
            uri,
            format!(
                "it is of format version {later}, and Lakefeed writes version {FORMAT_VERSION}"
            ),
            "ingest into a table of that version and merge from there",
        )),
    }
}

/// Refuses a table that asks of its writers what we do not do.
///
/// # Errors
/// [`ErrorKind::TableUnsupported`].
pub(super) fn check(uri: &str, metadata: &TableMetadata) -> Result<()> {
    debug_assert_eq!(metadata.format_version(), FormatVersion::V2, "others are not parsed");
    let properties = metadata.properties();
    if let Some((property, reason)) = UNHEEDED.iter().find(|(key, _)| is_set(properties, key)) {
        return Err(unsupported(
            uri,
            *reason,
            format!(
                "take the property {property} away if it is not meant, or ingest into another \
                     table and merge from there"
            ),
        ));
    }
    if metadata.encryption_keys_iter().next().is_some() {
        return Err(unsupported(uri, "it is encrypted", "ingest into another table"));
    }
    let codec = properties.get("write.metadata.compression-codec");
    if codec.is_some_and(|codec| !codec.eq_ignore_ascii_case(NO_CODEC)) {
        return Err(unsupported(
            uri,
            "its metadata is to be compressed",
            "ALTER TABLE t SET TBLPROPERTIES ('write.metadata.compression-codec' = 'none')",
        ));
    }
    let fields = metadata.default_partition_spec().fields();
    match fields.iter().find(|field| field.transform != Transform::Identity) {
        None => Ok(()),
        Some(field) => Err(unsupported(
            uri,
            format!("it is partitioned by {} of a column", field.transform),
            "ingest into a table that is partitioned by columns as they are, and merge from there",
        )),
    }
}

fn is_set(properties: &HashMap<String, String>, key: &str) -> bool {
    properties.get(key).is_some_and(|value| !value.eq_ignore_ascii_case("false"))
}

/// [`ErrorKind::TableUnsupported`], about the table at `uri`.
pub(super) fn unsupported(
    uri: &str,
    message: impl Into<String>,
    advice: impl Into<String>,
) -> Error {
    Error::new(ErrorKind::TableUnsupported, message).with_object(uri).with_advice(advice)
}

/// What an error of the Iceberg library means for the table at `uri`.
pub(super) fn library_error(uri: &str, cause: iceberg::Error) -> Error {
    let error = match cause.kind() {
        iceberg::ErrorKind::DataInvalid => {
            Error::new(ErrorKind::TableInvalid, "the table's metadata is not consistent")
                .with_advice("look at the table with another reader; nothing was written")
        }
        iceberg::ErrorKind::FeatureUnsupported => {
            Error::new(ErrorKind::TableUnsupported, "the table asks for what is not supported")
                .with_advice("ingest into another table and merge from there")
        }
        _ => Error::new(ErrorKind::Internal, "the Iceberg library gave up"),
    };
    error.with_object(uri).with_cause(cause)
}

/// See [`crate::table::Snapshot::columns_id`]. Columns are told apart by their ids.
///
/// # Errors
/// [`ErrorKind::Internal`].
pub(super) fn columns_id(metadata: &TableMetadata) -> Result<u128> {
    let columns = metadata.current_schema().as_struct();
    let partitions = metadata.default_partition_spec().fields();
    let described = serde_json::to_vec(&(columns, partitions)).map_err(|cause| {
        Error::new(ErrorKind::Internal, "a schema could not be written").with_cause(cause)
    })?;
    Ok(xxh3_128(&described))
}
