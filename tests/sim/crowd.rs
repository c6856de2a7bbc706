//! A table of very many files, each of which holds rows of several sources.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use parquet::arrow::ArrowWriter;
use rand::Rng;
use rand::seq::SliceRandom;
use serde_json::{Value, json};

use crate::auditor::{Audit, broken};
use crate::log::{self, Row, TABLE, Truth};
use crate::rivals::{Deed, Rival, SOURCE};
use crate::shape::{self, FOREIGN};
use crate::world::{self, World};

const FILES: usize = 1_000;
const ROWS_PER_FILE: usize = 2;
/// Files of the crowd that one compaction takes; of ours it takes all, mostly.
const COMPACTED_MAX: usize = 40;

/// One file of the crowd, as it is in every world.
struct File {
    path: String,
    body: Vec<u8>,
    statistics: String,
}

/// Puts the crowd into the table, in one commit.
pub fn come(truth: &Truth) {
    let action = |file: &File| {
        truth.put(&format!("{TABLE}/{}", file.path), file.body.clone());
        json!({"add": {
            "path": file.path, "partitionValues": {}, "size": file.body.len(),
            "modificationTime": 0, "dataChange": true, "stats": file.statistics,
        }})
    };
    truth.commit(&files().iter().map(action).collect::<Vec<_>>());
}

fn files() -> &'static [File] {
    static FILES_OF_ALL_WORLDS: OnceLock<Vec<File>> = OnceLock::new();
    FILES_OF_ALL_WORLDS.get_or_init(|| (0..FILES).map(file).collect())
}

fn file(number: usize) -> File {
    let rows: Vec<i64> =
        (0..ROWS_PER_FILE).map(|row| (number * ROWS_PER_FILE + row) as i64).collect();
    let sources: Vec<String> =
        rows.iter().map(|row| format!("memory:///others/{row:05}.csv")).collect();
    let object: ArrayRef = Arc::new(StringArray::from(vec![FOREIGN; ROWS_PER_FILE]));
    let numbers: ArrayRef = Arc::new(Int64Array::from(rows));
    let statistics = json!({
        "numRecords": ROWS_PER_FILE, "nullCount": {SOURCE: 0},
        "minValues": {SOURCE: sources.first()}, "maxValues": {SOURCE: sources.last()},
    });
    let columns = [
        ("object", object),
        ("version", Arc::clone(&numbers)),
        ("row", numbers),
        (SOURCE, Arc::new(StringArray::from(sources)) as ArrayRef),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut body = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut body, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    File { path: format!("crowd-{number:05}.parquet"), body, statistics: statistics.to_string() }
}

/// Compacts some of the crowd, and all that are not of it, most of the time.
pub fn compact(rival: &mut Rival<'_>) -> Deed {
    let log = rival.truth.log();
    let Some(shape) = log::shape(&log) else { return "finds no table".into() };
    let live = log::live(&log);
    let is_of_crowd = |path: &String| path.starts_with("crowd-");
    let (mut crowd, ours): (Vec<&String>, Vec<&String>) =
        live.keys().partition(|path| is_of_crowd(path));
    crowd.shuffle(rival.rng);
    crowd.truncate(rival.rng.random_range(2..COMPACTED_MAX));
    if rival.rng.random_bool(0.8) {
        crowd.extend(ours);
    }
    let files: Vec<Value> = crowd.into_iter().map(|path| live[path].clone()).collect();
    let rows: Vec<RecordBatch> =
        files.iter().map(|file| shape::read(rival.truth, file).unwrap()).collect();
    let whole = concat_batches(&rows[0].schema(), &rows).unwrap();
    let mut actions = shape.write(rival.truth, &whole, rival.rng, false);
    actions.extend(files.iter().map(|file| rival.remove(file, false)));
    rival.truth.commit(&actions);
    Deed::from(format!("compacts {} files", files.len()).as_str())
}

/// Every row of the crowd is there once, if it came, and of each object its newest content, exactly.
pub fn is_as_it_was_but_for_the_news(world: &World) -> Audit {
    let log = world.truth.log();
    let mut rows: BTreeMap<Row, usize> = BTreeMap::new();
    for add in log::live(&log).values() {
        for row in shape::rows_of(&shape::read(&world.truth, add).unwrap()) {
            *rows.entry(row).or_default() += 1;
        }
    }
    let journal = world.journal();
    let newest = (0..world.script.objects).map(|object| {
        let identity = world.truth.identity(&format!("in/{}.csv", world::name(object))).unwrap();
        let tag = identity.split(':').nth(1).unwrap().to_owned();
        &journal.contents[&(world::uri(object), tag)]
    });
    let of_objects = newest.flat_map(|content| {
        let object = world::name(content.object);
        let row = move |row: usize| (object.clone(), content.version.to_string(), row.to_string());
        (0..content.rows).map(row)
    });
    let has_come = log::added(&log).any(|path| path.starts_with("crowd-"));
    let of_crowd = (0..if has_come { FILES * ROWS_PER_FILE } else { 0 })
        .map(|row| (FOREIGN.to_owned(), row.to_string(), row.to_string()));
    let expected: BTreeSet<Row> = of_objects.chain(of_crowd).collect();
    if let Some(row) = expected.iter().find(|row| rows.get(*row) != Some(&1)) {
        return broken("an object is replaced in a crowd", format!("{row:?}: {:?}", rows.get(row)));
    }
    match rows.into_iter().find(|(row, _)| !expected.contains(row)) {
        Some(row) => broken("an object is replaced in a crowd", format!("{row:?} is left over")),
        None => Ok(()),
    }
}
