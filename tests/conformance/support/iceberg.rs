//! Iceberg, as its specification has it: JSON and Avro in `metadata`. What is read is read with none of
//! the `iceberg` crate; the other writer, who is not on trial, writes with it.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;
use iceberg::io::FileIO;
use iceberg::spec::{
    DataContentType, DataFileBuilder, DataFileFormat, FormatVersion, MAIN_BRANCH, ManifestList,
    ManifestListWriter, ManifestWriterBuilder, Snapshot, Summary, TableMetadata,
};
use object_store::PutMode;
use serde_json::{Map, Value as Json, json};

use super::tables::{AddedFile, Change, Commit, Files, Format};

/// What begins the names of what points to ledgers.
const POINTER: &str = "lakefeed.pointer.";
/// States of a file in a manifest.
const ADDED: u64 = 1;
const DELETED: u64 = 2;

pub struct Iceberg;

fn path_of(version: u64) -> String {
    format!("metadata/v{}.metadata.json", version + 1)
}

async fn metadata(table: &Files, version: u64) -> Json {
    let body = table.get(&path_of(version)).await.unwrap_or_else(|| panic!("no version {version}"));
    serde_json::from_slice(&body).unwrap()
}

/// The path below the table's root of what metadata names.
fn below<'a>(metadata: &Json, named: &'a str) -> &'a str {
    let below = named.strip_prefix(metadata["location"].as_str().unwrap());
    below.and_then(|below| below.strip_prefix('/')).unwrap_or_else(|| panic!("{named}"))
}

async fn records(table: &Files, path: &str) -> Vec<Json> {
    let body = table.get(path).await.unwrap_or_else(|| panic!("no {path}"));
    let records = apache_avro::Reader::new(&body[..]).unwrap();
    records.map(|record| Json::try_from(record.unwrap()).unwrap()).collect()
}

fn pointers(said: &Json) -> BTreeMap<String, i64> {
    let pointers = said.as_object().unwrap().iter().filter_map(|(key, value)| {
        let ledger = key.strip_prefix(POINTER)?;
        Some((ledger.to_owned(), value.as_str().unwrap().parse().unwrap()))
    });
    pointers.collect()
}

/// The one of `all` that has this id.
fn by_id<'a>(all: &'a Json, key: &str, id: &Json) -> &'a Json {
    all.as_array().unwrap().iter().find(|one| one[key] == *id).unwrap()
}

fn fields(metadata: &Json) -> &Vec<Json> {
    let schema = by_id(&metadata["schemas"], "schema-id", &metadata["current-schema-id"]);
    schema["fields"].as_array().unwrap()
}

fn column_names(metadata: &Json) -> Vec<String> {
    fields(metadata).iter().map(|field| field["name"].as_str().unwrap().to_owned()).collect()
}

fn bytes(array: &Json) -> Vec<u8> {
    let bytes = array.as_array().unwrap().iter();
    bytes.map(|byte| u8::try_from(byte.as_u64().unwrap()).unwrap()).collect()
}

fn little_endian(bytes: &[u8]) -> i64 {
    match bytes.len() {
        4 => i32::from_le_bytes(bytes.try_into().unwrap()).into(),
        _ => i64::from_le_bytes(bytes.try_into().unwrap()),
    }
}

/// Two's complement, the highest byte first, as short as it goes.
fn decimal(data_type: &str, bytes: &[u8]) -> String {
    let scale: usize =
        data_type.rsplit_once(',').unwrap().1.trim_end_matches(')').trim().parse().unwrap();
    let sign = if bytes[0] & 0x80 == 0 { 0 } else { -1_i128 };
    let unscaled = bytes.iter().fold(sign, |value, byte| value << 8 | i128::from(*byte));
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{}{whole}.{fraction}", if unscaled < 0 { "-" } else { "" })
}

fn moment(micros: i64, format: &str) -> String {
    DateTime::from_timestamp_micros(micros).unwrap().format(format).to_string()
}

fn date(days: i64) -> String {
    moment(days * 86_400_000_000, "%Y-%m-%d")
}

/// A bound, which is in bytes of its own form.
fn bound(data_type: &str, bytes: &[u8]) -> Json {
    match data_type {
        "boolean" => json!(bytes == [1]),
        "int" | "long" => json!(little_endian(bytes)),
        "float" => json!(f32::from_le_bytes(bytes.try_into().unwrap())),
        "double" => json!(f64::from_le_bytes(bytes.try_into().unwrap())),
        "date" => json!(date(little_endian(bytes))),
        "timestamp" => json!(moment(little_endian(bytes), "%Y-%m-%dT%H:%M:%S%.6f")),
        "timestamptz" => json!(moment(little_endian(bytes), "%Y-%m-%dT%H:%M:%S%.6fZ")),
        "string" => json!(std::str::from_utf8(bytes).unwrap()),
        decimals => json!(decimal(decimals, bytes).parse::<f64>().unwrap()),
    }
}

/// A partition's value, in words.
fn partition_text(data_type: &str, value: &Json) -> Option<String> {
    if value.is_null() {
        return None;
    }
    Some(match data_type {
        "date" => date(value.as_i64().unwrap()),
        "timestamp" => moment(value.as_i64().unwrap(), "%Y-%m-%d %H:%M:%S%.6f"),
        "timestamptz" => moment(value.as_i64().unwrap(), "%Y-%m-%dT%H:%M:%S%.6fZ"),
        "string" => value.as_str().unwrap().to_owned(),
        "boolean" | "int" | "long" => value.to_string(),
        decimals => decimal(decimals, &bytes(value)),
    })
}

fn added(metadata: &Json, file: &Json) -> AddedFile {
    let of_id = |id: &Json| fields(metadata).iter().find(|field| field["id"] == *id).unwrap();
    let map = |key: &str, value: &dyn Fn(&str, &Json) -> Json| {
        let entries = file[key].as_array().into_iter().flatten().map(|entry| {
            let field = of_id(&entry["key"]);
            let value = value(field["type"].as_str().unwrap(), &entry["value"]);
            (field["name"].as_str().unwrap().to_owned(), value)
        });
        Json::Object(entries.collect::<Map<_, _>>())
    };
    let bounds = |key: &str| map(key, &|data_type, value| bound(data_type, &bytes(value)));
    let specs = &metadata["partition-specs"];
    let spec = by_id(specs, "spec-id", &metadata["default-spec-id"])["fields"].as_array().unwrap();
    let partition = spec.iter().map(|partition| {
        assert_eq!(partition["transform"], "identity");
        let (source, name) = (of_id(&partition["source-id"]), partition["name"].as_str().unwrap());
        let text = partition_text(source["type"].as_str().unwrap(), &file["partition"][name]);
        (source["name"].as_str().unwrap().to_owned(), text)
    });
    let rows = file["record_count"].as_u64().unwrap();
    let counts = map("value_counts", &|_, count| count.clone());
    assert!(counts.as_object().unwrap().values().all(|count| *count == rows), "{counts}");
    AddedFile {
        path: below(metadata, file["file_path"].as_str().unwrap()).to_owned(),
        size_bytes: file["file_size_in_bytes"].as_u64().unwrap(),
        rows,
        partition: partition.collect(),
        lower: bounds("lower_bounds"),
        upper: bounds("upper_bounds"),
        nulls: map("null_value_counts", &|_, count| count.clone()),
    }
}

/// The same metadata, changed.
fn changed(metadata: &Json, change: impl FnOnce(&mut Json)) -> Option<Bytes> {
    let mut metadata = metadata.clone();
    change(&mut metadata);
    Some(metadata.to_string().into())
}

#[async_trait]
impl Format for Iceberg {
    async fn versions(&self, table: &Files) -> Vec<u64> {
        let number = |key: &String| {
            let name = key.strip_prefix(&format!("{}/metadata/v", table.root))?;
            name.strip_suffix(".metadata.json")?.parse::<u64>().ok()
        };
        let mut versions: Vec<u64> =
            table.everything().await.keys().filter_map(number).map(|number| number - 1).collect();
        versions.sort_unstable();
        versions
    }

    async fn commit(&self, table: &Files, version: u64) -> Commit {
        let now = metadata(table, version).await;
        assert_eq!(now["last-sequence-number"], version);
        let columns = column_names(&now);
        if version == 0 {
            let pointers = pointers(&now["properties"]);
            return Commit { columns: Some(columns), pointers, added: vec![], removed: 0 };
        }
        let before = metadata(table, version - 1).await;
        let snapshot = by_id(&now["snapshots"], "snapshot-id", &now["current-snapshot-id"]);
        assert_eq!(snapshot["sequence-number"], version);
        assert_eq!(now["refs"]["main"]["snapshot-id"], snapshot["snapshot-id"]);
        let moved = pointers(&snapshot["summary"]);
        let all = pointers(&now["properties"]);
        assert!(
            moved.iter().all(|(ledger, pointer)| all[ledger] == *pointer),
            "{moved:?}, {all:?}"
        );
        let mut files = Vec::new();
        let list = below(&now, snapshot["manifest-list"].as_str().unwrap());
        for manifest in records(table, list).await {
            if manifest["added_snapshot_id"] == snapshot["snapshot-id"] {
                let path = below(&now, manifest["manifest_path"].as_str().unwrap());
                assert_eq!(manifest["sequence_number"], version);
                files.extend(records(table, path).await);
            }
        }
        let of_state = |state: u64| files.iter().filter(move |entry| entry["status"] == state);
        Commit {
            columns: (column_names(&before) != columns).then_some(columns),
            pointers: moved,
            added: of_state(ADDED).map(|entry| added(&now, &entry["data_file"])).collect(),
            removed: of_state(DELETED).count(),
        }
    }

    async fn append(&self, table: &Files, path: &str, rows: u64) {
        let version = self.versions(table).await.len() as u64;
        let before = table.get(&path_of(version - 1)).await.unwrap();
        let before: TableMetadata = serde_json::from_slice(&before).unwrap();
        let size = table.get(path).await.unwrap().len() as u64;
        let file = DataFileBuilder::default()
            .content(DataContentType::Data)
            .file_path(format!("{}/{path}", before.location()))
            .file_format(DataFileFormat::Parquet)
            .record_count(rows)
            .file_size_in_bytes(size)
            .build()
            .unwrap();

        let (memory, id) = (FileIO::new_with_memory(), 4_711 + version as i64);
        let named =
            |name: &str| format!("{}/metadata/theirs-{version}-{name}.avro", before.location());
        let output = memory.new_output(named("m")).unwrap();
        let (schema, spec) = (before.current_schema(), before.default_partition_spec());
        let mut manifest =
            ManifestWriterBuilder::new(output, Some(id), schema.clone(), (**spec).clone())
                .build_v2_data();
        manifest.add_file(file, -1).unwrap();
        let manifest = manifest.write_manifest_file().await.unwrap();
        let output = memory.new_output(named("list")).unwrap().writer().await.unwrap();
        let sequence_number = before.next_sequence_number();
        let parent = before.current_snapshot_id();
        let mut list = ManifestListWriter::v2(output, id, parent, sequence_number);
        list.add_manifests([manifest].into_iter()).unwrap();
        if let Some(snapshot) = before.current_snapshot() {
            let there = table.get(below_str(&before, snapshot.manifest_list())).await.unwrap();
            let there = ManifestList::parse_with_version(&there, FormatVersion::V2).unwrap();
            list.add_manifests(there.consume_entries().into_iter()).unwrap();
        }
        list.close().await.unwrap();
        for name in ["m", "list"].map(named) {
            let body = memory.new_input(&name).unwrap().read().await.unwrap();
            table.put(below_str(&before, &name), body).await;
        }

        let snapshot = Snapshot::builder()
            .with_snapshot_id(id)
            .with_parent_snapshot_id(parent)
            .with_sequence_number(sequence_number)
            .with_timestamp_ms(before.last_updated_ms())
            .with_manifest_list(named("list"))
            .with_summary(Summary {
                operation: iceberg::spec::Operation::Append,
                additional_properties: HashMap::new(),
            })
            .with_schema_id(before.current_schema_id())
            .build();
        let after = before
            .into_builder(None)
            .set_branch_snapshot(snapshot, MAIN_BRANCH)
            .unwrap()
            .build()
            .unwrap();
        let body = Bytes::from(serde_json::to_vec(&after.metadata).unwrap());
        let (key, create) = (table.key(&path_of(version)), PutMode::Create);
        table.store.put_opts(&key, body.into(), create.into()).await.unwrap();
    }

    async fn demands(&self, table: &Files) -> Vec<Change> {
        let next = self.versions(table).await.len() as u64;
        let now = metadata(table, next - 1).await;
        let demand = |what, change: &dyn Fn(&mut Json)| Change {
            what,
            path: path_of(next),
            body: changed(&now, change),
        };
        let property = |what, key: &'static str, value: &'static str| {
            demand(what, &move |it| it["properties"][key] = value.into())
        };
        let compressed = Change {
            what: "compressed metadata",
            path: path_of(next).replace(".metadata.json", ".gz.metadata.json"),
            body: changed(&now, |_| {}),
        };
        vec![
            demand("a version of the format without sequences", &|it| {
                it["format-version"] = 1.into()
            }),
            demand("the version after ours", &|it| it["format-version"] = 3.into()),
            demand("a version that nobody knows", &|it| it["format-version"] = 99.into()),
            property("encryption", "encryption.key-id", "key"),
            property("a mapping of names", "schema.name-mapping.default", "[]"),
            property("another place for data", "write.data.path", "memory:///elsewhere"),
            property("compressed metadata to come", "write.metadata.compression-codec", "gzip"),
            compressed,
            demand("buckets", &|it| {
                it["partition-specs"][0]["fields"] = json!([{"source-id": 1, "field-id": 1000, "name": "b", "transform": "bucket[4]"}]);
                it["last-partition-id"] = 1000.into();
            }),
            demand("a column that no CSV can hold", &|it| {
                let fields = it["schemas"][0]["fields"].as_array_mut().unwrap();
                fields.push(json!({"id": 3, "name": "u", "required": true, "type": "uuid"}));
                it["last-column-id"] = 3.into();
            }),
            demand("another place", &|it| it["location"] = "memory:///elsewhere".into()),
        ]
    }

    /// No rows can be taken away yet, whatever a table promises.
    async fn promises(&self, _table: &Files) -> Vec<Change> {
        vec![]
    }

    async fn damages(&self, table: &Files) -> Vec<Change> {
        let newest = self.versions(table).await.len() as u64 - 1;
        let now = metadata(table, newest).await;
        let body = table.get(&path_of(newest)).await.unwrap();
        let damage = |what, body| Change { what, path: path_of(newest), body };
        let without = |key: &str| changed(&now, |it| drop(it.as_object_mut().unwrap().remove(key)));
        vec![
            damage("the metadata is cut short", Some(body.slice(..body.len() - 9))),
            damage("the metadata is no JSON", Some(Bytes::from_static(b"\0\0\0\0"))),
            damage("there is no version of the format", without("format-version")),
            damage("there is no id", without("table-uuid")),
            damage("there is no address", without("location")),
            damage("there is no schema", changed(&now, |it| it["schemas"] = json!([]))),
            damage(
                "the current snapshot is not there",
                changed(&now, |it| it["snapshots"] = json!([])),
            ),
            damage(
                "the pointer is no number",
                changed(&now, |it| {
                    it["properties"][format!("{POINTER}{}", super::tables::LEDGER)] = "none".into();
                }),
            ),
        ]
    }
}

fn below_str<'a>(metadata: &TableMetadata, named: &'a str) -> &'a str {
    named.strip_prefix(metadata.location()).unwrap().trim_start_matches('/')
}
