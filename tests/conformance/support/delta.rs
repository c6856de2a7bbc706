//! Delta, as its protocol has it: JSON in `_delta_log`, and nothing of the kernel.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::PutMode;
use object_store::path::Path;
use serde_json::{Value as Json, json};

use super::log_entries::Entries;
use super::tables::{AddedFile, Change, Commit, Files, Format};

/// The applications that ledgers have their pointers under.
const APPLICATION: &str = "lakefeed/";

pub struct Delta {
    /// Where commits are entered first, if anywhere.
    pub entries: Option<Entries>,
}

fn path_of(version: u64) -> String {
    format!("_delta_log/{version:020}.json")
}

fn body_of(actions: &[Json]) -> Bytes {
    actions.iter().map(|action| format!("{action}\n")).collect::<String>().into()
}

async fn actions(table: &Files, version: u64) -> Vec<Json> {
    let body = table.get(&path_of(version)).await.unwrap_or_else(|| panic!("no version {version}"));
    let lines = body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// Paths are URLs: relative, and encoded once.
fn added(add: &Json) -> AddedFile {
    let statistics: Json = serde_json::from_str(add["stats"].as_str().unwrap()).unwrap();
    let partition = add["partitionValues"].as_object().unwrap().iter();
    AddedFile {
        path: Path::from_url_path(add["path"].as_str().unwrap()).unwrap().to_string(),
        size_bytes: add["size"].as_u64().unwrap(),
        rows: statistics["numRecords"].as_u64().unwrap(),
        partition: partition
            .map(|(column, value)| (column.clone(), value.as_str().map(str::to_owned)))
            .collect(),
        lower: statistics["minValues"].clone(),
        upper: statistics["maxValues"].clone(),
        nulls: statistics["nullCount"].clone(),
    }
}

/// The names of the columns that a commit gives the table.
fn columns(action: &Json) -> Option<Vec<String>> {
    let schema: Json = serde_json::from_str(action["metaData"]["schemaString"].as_str()?).unwrap();
    let name = |field: &Json| field["name"].as_str().unwrap().to_owned();
    Some(schema["fields"].as_array().unwrap().iter().map(name).collect())
}

#[async_trait]
impl Format for Delta {
    async fn versions(&self, table: &Files) -> Vec<u64> {
        let version = |key: &String| {
            let (folder, name) = key.rsplit_once('/')?;
            let is_of_log = folder == format!("{}/_delta_log", table.root);
            name.strip_suffix(".json").filter(|_| is_of_log)?.parse().ok()
        };
        table.everything().await.keys().filter_map(version).collect()
    }

    async fn commit(&self, table: &Files, version: u64) -> Commit {
        let actions = actions(table, version).await;
        let pointer = |action: &Json| {
            let ledger = action["txn"]["appId"].as_str()?.strip_prefix(APPLICATION)?;
            Some((ledger.to_owned(), action["txn"]["version"].as_i64().unwrap()))
        };
        Commit {
            columns: actions.iter().find_map(columns),
            pointers: actions.iter().filter_map(pointer).collect::<BTreeMap<_, _>>(),
            added: actions.iter().filter_map(|action| action.get("add")).map(added).collect(),
            removed: actions.iter().filter(|action| action.get("remove").is_some()).count(),
        }
    }

    async fn append(&self, table: &Files, path: &str, rows: u64) {
        let version = self.versions(table).await.len() as u64;
        let size = table.get(path).await.unwrap().len();
        let commit = body_of(&[
            json!({"commitInfo": {"timestamp": 0, "operation": "WRITE", "engineInfo": "another"}}),
            json!({"add": {
                "path": path, "partitionValues": {}, "size": size, "modificationTime": 0,
                "dataChange": true, "stats": json!({"numRecords": rows}).to_string(),
            }}),
        ]);
        if let Some(entries) = &self.entries {
            entries.put(version).await;
        }
        let (key, create) = (table.key(&path_of(version)), PutMode::Create);
        table.store.put_opts(&key, commit.into(), create.into()).await.unwrap();
    }

    async fn demands(&self, table: &Files) -> Vec<Change> {
        let path = path_of(self.versions(table).await.len() as u64);
        let asks = |what, protocol: Json| Change {
            what,
            path: path.clone(),
            body: Some(body_of(&[json!({ "protocol": protocol })])),
        };
        let unknown = ["notKnownToAnybody"];
        vec![
            asks(
                "a feature of writers",
                json!({"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": unknown}),
            ),
            asks(
                "a feature of readers and writers",
                json!({"minReaderVersion": 3, "minWriterVersion": 7,
                       "readerFeatures": unknown, "writerFeatures": unknown}),
            ),
            asks("a later protocol", json!({"minReaderVersion": 99, "minWriterVersion": 99})),
        ]
    }

    async fn promises(&self, table: &Files) -> Vec<Change> {
        let first = actions(table, 0).await;
        let created = |kind: &str| first.iter().find_map(|action| action.get(kind)).unwrap();
        let path = path_of(self.versions(table).await.len() as u64);
        let promise = |what, features: &[&str], property: &str| {
            let (mut protocol, mut metadata) =
                (created("protocol").clone(), created("metaData").clone());
            let writers = protocol["writerFeatures"].as_array_mut().unwrap();
            writers.extend(features.iter().map(|feature| json!(feature)));
            metadata["configuration"][property] = "true".into();
            let actions = [json!({ "protocol": protocol }), json!({ "metaData": metadata })];
            Change { what, path: path.clone(), body: Some(body_of(&actions)) }
        };
        let tracking = ["rowTracking", "domainMetadata"];
        vec![
            promise("rows are only added", &["appendOnly"], "delta.appendOnly"),
            promise("a feed of changes", &["changeDataFeed"], "delta.enableChangeDataFeed"),
            promise("rows keep their numbers", &tracking, "delta.enableRowTracking"),
        ]
    }

    async fn damages(&self, table: &Files) -> Vec<Change> {
        let newest = self.versions(table).await.len() as u64 - 1;
        let first = actions(table, 0).await;
        let without = |kind: &str| {
            let others = first.iter().filter(|action| action.get(kind).is_none());
            Some(body_of(&others.cloned().collect::<Vec<_>>()))
        };
        let commit = table.get(&path_of(newest)).await.unwrap();
        let change = |what, version, body| Change { what, path: path_of(version), body };
        vec![
            change("a commit is cut short", newest, Some(commit.slice(..commit.len() - 9))),
            change("a commit is no JSON", newest, Some(Bytes::from_static(b"\0\0\0\0"))),
            change("a version in the middle is missing", newest - 1, None),
            change("the first version is missing", 0, None),
            change("there is no metadata", 0, without("metaData")),
            change("there is no protocol", 0, without("protocol")),
        ]
    }
}
