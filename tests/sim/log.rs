//! A table's log and ledger, read from nothing: by none of the code that is on trial.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::json::LineDelimitedWriter;
use bytes::Bytes;
use futures::executor::block_on;
use futures::{FutureExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::shape::Shape;

/// The table's folder.
pub const TABLE: &str = "t";
/// Where the cleaner keeps the commits that it takes away, for the auditor.
const ARCHIVE: &str = "archive";
/// The application of the ledger's pointer.
const APPLICATION: &str = "lakefeed/default";

/// What is really stored.
#[derive(Clone, Default)]
pub struct Truth {
    pub store: Arc<InMemory>,
    /// Data files that were read before: nobody ever writes one again.
    read: Arc<Mutex<HashMap<String, RecordBatch>>>,
}

/// Every commit that ever was, oldest first, each as its actions.
pub type Log = BTreeMap<u64, Vec<Value>>;

/// A row as the producer numbered it: the object, the version of its content, the row.
pub type Row = (String, String, String);

impl Truth {
    pub fn get(&self, path: &str) -> Option<Bytes> {
        let found = self.store.get(&Path::from(path)).now_or_never().expect("memory never waits");
        found.ok().map(|found| block_on(found.bytes()).unwrap())
    }

    /// What a listing says of an object now, in the words of an entry.
    pub fn identity(&self, path: &str) -> Option<String> {
        let head = self.store.head(&Path::from(path)).now_or_never().expect("memory never waits");
        let meta = head.ok()?;
        Some(format!("etag:{}:{}", meta.e_tag?.trim_matches('"'), meta.size))
    }

    pub fn names(&self, folder: &str) -> Vec<String> {
        let listed =
            self.store.list(Some(&Path::from(folder))).map_ok(|meta| meta.location.to_string());
        let mut names: Vec<String> = block_on(listed.try_collect()).unwrap();
        names.sort();
        names
    }

    /// Writes an object, and returns its entity tag.
    pub fn put(&self, path: &str, body: impl Into<PutPayload>) -> String {
        let put = block_on(self.store.put(&Path::from(path), body.into())).unwrap();
        put.e_tag.unwrap().trim_matches('"').to_owned()
    }

    /// Every commit that is there for everybody to read.
    pub fn commits(&self) -> Log {
        self.commits_in(&format!("{TABLE}/_delta_log"))
    }

    fn commits_in(&self, folder: &str) -> Log {
        let commit = |name: &String| {
            let stem = name.strip_prefix(&format!("{folder}/"))?.strip_suffix(".json")?;
            let body = self.get(name)?;
            Some((stem.parse().ok()?, body.split(|&b| b == b'\n').filter_map(action).collect()))
        };
        self.names(folder).iter().filter_map(commit).collect()
    }

    /// Every commit that ever was. What was put below versions that were cleaned away, by a writer
    /// that did not know, is not part of it.
    pub fn log(&self) -> Log {
        let mut log = self.commits();
        log.extend(self.commits_in(ARCHIVE));
        log
    }

    /// Puts `actions` as the version after the newest.
    pub fn commit(&self, actions: &[Value]) {
        let version = self.log().keys().next_back().map_or(0, |newest| newest + 1);
        let body: String = actions.iter().map(|action| format!("{action}\n")).collect();
        let path = commit_path(version);
        block_on(self.store.put_opts(&path, body.into(), PutMode::Create.into())).unwrap();
    }

    /// Keeps what the log holds up to `version` where only the auditor looks.
    pub fn archive(&self, version: u64) {
        for cleaned in 0..=version {
            let archived = format!("{ARCHIVE}/{cleaned:020}.json");
            if let Some(body) = self.get(commit_path(cleaned).as_ref())
                && self.get(&archived).is_none()
            {
                self.put(&archived, body);
            }
        }
    }

    pub fn delete_commit(&self, version: u64) {
        let _ = block_on(self.store.delete(&commit_path(version)));
    }

    /// A data file, as one batch; nothing where it is missing, even from the archive.
    pub fn batch(&self, file: &str) -> Option<RecordBatch> {
        let body = self.get(&format!("{TABLE}/{file}"));
        let body = body.or_else(|| self.get(&format!("{ARCHIVE}/{file}")))?;
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(batch) = read.get(file) {
            return Some(batch.clone());
        }
        let reader = ParquetRecordBatchReaderBuilder::try_new(body).unwrap();
        let schema = Arc::clone(reader.schema());
        let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
        let batch = concat_batches(&schema, &batches).unwrap();
        read.insert(file.to_owned(), batch.clone());
        Some(batch)
    }

    /// Whether there is a table.
    pub fn has_log(&self) -> bool {
        let first = [commit_path(0).to_string(), format!("{ARCHIVE}/{:020}.json", 0)];
        first.iter().any(|path| self.get(path).is_some())
    }

    pub fn has_file(&self, file: &str) -> bool {
        self.get(&format!("{TABLE}/{file}")).is_some()
    }

    /// Moves a data file where only the auditor looks.
    pub fn archive_file(&self, file: &str) {
        let path = format!("{TABLE}/{file}");
        if let Some(body) = self.get(&path) {
            self.put(&format!("{ARCHIVE}/{file}"), body);
            let _ = block_on(self.store.delete(&Path::from(path)));
        }
    }

    /// Keeps a file of the ledger that is about to be deleted where only the auditor looks.
    pub fn archive_ledger_file(&self, path: &str) {
        if let Some(body) = self.get(path) {
            self.put(&format!("{ARCHIVE}/{path}"), body);
        }
    }

    /// The files in the folder of the ledger that `pointer` names, and whether that, or what it keeps
    /// for its readers, is the file.
    pub fn ledger_files(&self, pointer: i64) -> Vec<(String, bool)> {
        let there = self.names(&format!("{TABLE}/_delta_log/_lakefeed"));
        let current = format!("/default/{pointer:019}.ledger");
        let Some(path) = there.iter().find(|name| name.ends_with(&current)) else {
            return Vec::new();
        };
        let header = self.get(path).unwrap();
        let header = action(header.split(|&b| b == b'\n').next().unwrap()).unwrap();
        let runs = header["runs"].as_array().unwrap().iter().map(|run| &run["file"]);
        let named: Vec<&str> =
            runs.chain(header["retired"].as_array().unwrap()).filter_map(Value::as_str).collect();
        let folder = path.strip_suffix(&format!("{pointer:019}.ledger")).unwrap();
        let of_ledger = there.iter().filter_map(|name| name.strip_prefix(folder));
        let is_named = |file: &str| path.ends_with(file) || named.contains(&file);
        of_ledger.map(|file| (file.to_owned(), is_named(file))).collect()
    }

    /// The ledger that `pointer` names; nothing where a file of it is missing, even from the archive.
    pub fn ledger(&self, pointer: i64) -> Option<Ledger> {
        let root = format!("{TABLE}/_delta_log/_lakefeed");
        let archived = self.names(&format!("{ARCHIVE}/{root}"));
        let there = self.names(&root).into_iter().chain(archived);
        let file = format!("/default/{pointer:019}.ledger");
        let path = there.into_iter().find(|name| name.ends_with(&file))?;
        let mut lines =
            self.get(&path)?.split(|&b| b == b'\n').filter_map(action).collect::<Vec<_>>();
        let header = lines.remove(0);
        let folder = path.strip_suffix(&file)?.trim_start_matches(&format!("{ARCHIVE}/"));
        let mut is_there = !path.starts_with(ARCHIVE);
        let mut entries = lines;
        for run in header["runs"].as_array()? {
            let path = format!("{folder}/default/{}", run["file"].as_str()?);
            is_there &= self.get(&path).is_some();
            let body = self.get(&path).or_else(|| self.get(&format!("{ARCHIVE}/{path}")))?;
            entries.extend(rows(body));
        }
        let key =
            |entry: &Value| (entry["name"].as_str().map(str::to_owned), entry["sequence"].as_u64());
        let mut by_key: BTreeMap<_, _> = BTreeMap::new();
        for mut entry in entries {
            // Written in more ways than one.
            entry.as_object_mut()?.remove("at");
            if by_key.insert(key(&entry), entry).is_some() {
                // The same twice: no ledger says that.
                return None;
            }
        }
        Some(Ledger { fence: header["fence"].clone(), entries: by_key, is_there })
    }
}

/// What the ledger said at one move of its pointer.
pub struct Ledger {
    pub fence: Value,
    /// By name and sequence.
    pub entries: Entries,
    /// Whether every file of it is still in its place.
    pub is_there: bool,
}

pub type Entries = BTreeMap<(Option<String>, Option<u64>), Value>;

/// The rows of a run, as the tail would write them.
fn rows(body: Bytes) -> Vec<Value> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(body).unwrap().build().unwrap();
    let mut lines = LineDelimitedWriter::new(Vec::new());
    for batch in reader {
        lines.write(&batch.unwrap()).unwrap();
    }
    lines.finish().unwrap();
    lines.into_inner().split(|&byte| byte == b'\n').filter_map(action).collect()
}

fn action(line: &[u8]) -> Option<Value> {
    serde_json::from_slice(line).ok()
}

fn commit_path(version: u64) -> Path {
    Path::from(format!("{TABLE}/_delta_log/{version:020}.json"))
}

/// The pointer to the ledger that a commit moves, if it does.
pub fn pointer(commit: &[Value]) -> Option<i64> {
    let mut moves = commit.iter().filter(|action| action["txn"]["appId"] == APPLICATION);
    moves.next()?["txn"]["version"].as_i64()
}

/// The append that a commit says it is.
pub fn append_id(commit: &[Value]) -> Option<String> {
    let id = commit.iter().find_map(|a| a["commitInfo"]["operationParameters"]["append"].as_str());
    id.map(str::to_owned)
}

/// Whether a commit adds or removes `file`.
pub fn names(commit: &[Value], file: &str) -> bool {
    let names = |action: &Value, kind: &str| action[kind]["path"].as_str() == Some(file);
    commit.iter().any(|action| names(action, "add") || names(action, "remove"))
}

/// The actions that add what the table holds now, by path.
pub fn live(log: &Log) -> BTreeMap<String, Value> {
    let mut live = BTreeMap::new();
    for action in log.values().flatten() {
        if let Some(path) = action["add"]["path"].as_str() {
            live.insert(path.to_owned(), action["add"].clone());
        }
        if let Some(path) = action["remove"]["path"].as_str() {
            live.remove(path);
        }
    }
    live
}

/// The table's columns, and each change of them, oldest first.
pub fn shapes(log: &Log) -> impl DoubleEndedIterator<Item = Shape> {
    let metadata = log.values().flatten().filter_map(|action| action.get("metaData"));
    metadata.map(|metadata| Shape { metadata: metadata.clone() })
}

/// The table's latest columns.
pub fn shape(log: &Log) -> Option<Shape> {
    shapes(log).next_back()
}

/// Every data file that any commit ever added.
pub fn added(log: &Log) -> impl Iterator<Item = String> {
    log.values().flatten().filter_map(|action| action["add"]["path"].as_str().map(str::to_owned))
}
