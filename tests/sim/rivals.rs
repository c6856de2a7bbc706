//! Who else works on the table: another writer, and a cleaner of its log.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use delta_kernel::snapshot::Snapshot;
use parquet::arrow::ArrowWriter;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::{Value, json};

use crate::kernel;
use crate::log::{self, TABLE, Truth};

/// The object that rows of the other writer say they are of.
pub const FOREIGN: &str = "foreign";
const COLUMNS_ADDED_MAX: usize = 2;

/// Makes the table before anybody ingests into it: one that was never adopted.
pub fn create_table(truth: &Truth) {
    let field = |name: &str, kind: &str| json!({"name": name, "type": kind, "nullable": true, "metadata": {}});
    let fields = [field("object", "string"), field("version", "long"), field("row", "long")];
    let schema = json!({"type": "struct", "fields": fields}).to_string();
    truth.commit(&[
        json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}),
        json!({"metaData": {
            "id": "00000000-0000-4000-8000-000000000001",
            "format": {"provider": "parquet", "options": {}},
            "schemaString": schema, "partitionColumns": [], "configuration": {}, "createdTime": 0,
        }}),
    ]);
}

/// Does one thing to the table, if there is one: appends, compacts, or adds a column.
pub fn write(truth: &Truth, rng: &mut StdRng) -> &'static str {
    let log = truth.log();
    let Some(metadata) = log::metadata(&log) else { return "finds no table" };
    match rng.random_range(0..4) {
        0 | 1 => append(truth, rng),
        2 => compact(truth, &log, rng),
        _ => add_column(truth, metadata),
    }
}

fn append(truth: &Truth, rng: &mut StdRng) -> &'static str {
    let object: ArrayRef = Arc::new(StringArray::from(vec![FOREIGN]));
    let number: ArrayRef = Arc::new(Int64Array::from(vec![rng.random_range(0..i64::MAX)]));
    let columns = [("object", object), ("version", Arc::clone(&number)), ("row", number)];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let add = put_file(truth, &batch, rng, true);
    truth.commit(&[add]);
    "appends"
}

fn compact(truth: &Truth, log: &log::Log, rng: &mut StdRng) -> &'static str {
    let files: Vec<String> = log::live(log).into_keys().collect();
    let Some(batches) = files.iter().map(|file| truth.batches(file)).collect::<Option<Vec<_>>>()
    else {
        return "finds a file missing";
    };
    let batches = batches.concat();
    // Files of before and after a change of columns are left alone.
    let is_alike = batches.windows(2).all(|two| two[0].schema() == two[1].schema());
    if files.len() < 2 || !is_alike {
        return "finds nothing to compact";
    }
    let whole = concat_batches(&batches[0].schema(), &batches).unwrap();
    let mut actions = vec![put_file(truth, &whole, rng, false)];
    actions.extend(files.iter().map(
        |path| json!({"remove": {"path": path, "deletionTimestamp": 0, "dataChange": false}}),
    ));
    truth.commit(&actions);
    "compacts"
}

fn add_column(truth: &Truth, mut metadata: Value) -> &'static str {
    let text = metadata["schemaString"].as_str().unwrap();
    let mut schema: Value = serde_json::from_str(text).unwrap();
    let fields = schema["fields"].as_array_mut().unwrap();
    let added = fields.iter().filter(|f| f["name"].as_str().unwrap().starts_with("added")).count();
    if added == COLUMNS_ADDED_MAX {
        return "has columns enough";
    }
    let name = format!("added_{added}");
    fields.push(json!({"name": name, "type": "string", "nullable": true, "metadata": {}}));
    metadata["schemaString"] = schema.to_string().into();
    truth.commit(&[json!({"metaData": metadata})]);
    "adds a column"
}

fn put_file(truth: &Truth, batch: &RecordBatch, rng: &mut StdRng, is_data_change: bool) -> Value {
    let path = format!("foreign-{:016x}.parquet", rng.random::<u64>());
    let mut body = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut body, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    let size = body.len();
    truth.put(&format!("{TABLE}/{path}"), body);
    let stats = json!({"numRecords": batch.num_rows()}).to_string();
    json!({"add": {
        "path": path, "partitionValues": {}, "size": size, "modificationTime": 0,
        "dataChange": is_data_change, "stats": stats,
    }})
}

/// Writes a checkpoint of the newest version, and then takes away what it made superfluous, oldest
/// first or in any order, at its own pace.
pub async fn clean(truth: &Truth, rng: &mut StdRng, pace_max: Duration) -> String {
    let Some(newest) = truth.log().keys().next_back().copied() else {
        return "finds no table".to_owned();
    };
    let engine = kernel::engine(truth.0.clone());
    let url = format!("memory:///{TABLE}/");
    let snapshot = Snapshot::builder_for(url).at_version(newest).build(&engine).unwrap();
    snapshot.checkpoint(&engine, None).unwrap();
    let upto = rng.random_range(0..=newest);
    truth.archive(upto);
    let mut superfluous: Vec<u64> = (0..=upto).collect();
    if rng.random() {
        superfluous.shuffle(rng);
    }
    for version in superfluous {
        truth.delete_commit(version);
        #[allow(clippy::disallowed_methods)] // The simulated one.
        tokio::time::sleep(pace_max.mul_f64(rng.random())).await;
    }
    format!("checkpoints {newest} and cleans up to {upto}")
}
