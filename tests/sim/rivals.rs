//! Who else works on the table: other writers, and a cleaner of its log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::{concat_batches, filter_record_batch};
use delta_kernel::snapshot::Snapshot;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::{Value, json};

use crate::kernel;
use crate::log::{self, Log, Row, TABLE, Truth};
use crate::shape::{self, FOREIGN, MUST, Shape, WIDE};
use crate::world::{self, Content};

/// The column that says whose a row is.
pub const SOURCE: &str = "_source_file";
const COLUMNS_ADDED_MAX: usize = 2;

/// What a rival did.
pub struct Deed {
    pub what: String,
    /// The rows that it deleted.
    pub deleted: Vec<Row>,
}

impl From<&str> for Deed {
    fn from(what: &str) -> Self {
        Self { what: what.to_owned(), deleted: Vec::new() }
    }
}

/// One who works on the table at some moment.
pub struct Rival<'a> {
    pub truth: &'a Truth,
    pub rng: &'a mut StdRng,
    /// Milliseconds since 1970.
    pub now: i64,
}

/// Makes the table before anybody ingests into it: one that was never adopted.
pub fn create_table(truth: &Truth, partition_by: &[&str]) {
    let fields = [("object", "string"), ("version", "long"), ("row", "long")];
    truth.commit(&[
        json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}),
        json!({"metaData": Shape::new(&fields, partition_by).metadata}),
    ]);
}

impl Rival<'_> {
    /// Appends, compacts, or adds a column; files are compacted if they are `all_alike`, or such of
    /// them as are.
    pub fn write(&mut self, all_alike: bool) -> Deed {
        let log = self.truth.log();
        let Some(shape) = log::shape(&log) else { return "finds no table".into() };
        match self.rng.random_range(0..4) {
            0 | 1 => self.append(&shape),
            2 => self.compact(&shape, &log, all_alike),
            _ => self.add_column(shape),
        }
    }

    /// Takes rows away: a file, or some of its rows.
    pub fn delete(&mut self) -> Deed {
        let log = self.truth.log();
        let Some(shape) = log::shape(&log) else { return "finds no table".into() };
        let live: Vec<Value> = log::live(&log).into_values().collect();
        if live.is_empty() {
            return "finds nothing to delete".into();
        }
        let file = &live[self.rng.random_range(0..live.len())];
        let Some(rows) = shape::read(self.truth, file) else {
            return "finds a file missing".into();
        };
        let kept: BooleanArray =
            (0..rows.num_rows()).map(|_| Some(self.rng.random_bool(0.3))).collect();
        let rest = filter_record_batch(&rows, &kept).unwrap();
        let gone = filter_record_batch(&rows, &arrow::compute::not(&kept).unwrap()).unwrap();
        if gone.num_rows() == 0 {
            return "deletes no row".into();
        }
        let mut actions = vec![self.remove(file, true)];
        if rest.num_rows() > 0 {
            actions.extend(shape.write(self.truth, &rest, self.rng, true));
        }
        self.truth.commit(&actions);
        let what = format!("deletes {} of {} rows of a file", gone.num_rows(), rows.num_rows());
        Deed { what, deleted: shape::rows_of(&gone) }
    }

    /// Overwrites the table with other columns: with all its rows, or with one of its own.
    pub fn overwrite(&mut self, may_partition: bool) -> Deed {
        let log = self.truth.log();
        let Some(mut shape) = log::shape(&log) else { return "finds no table".into() };
        let live: Vec<Value> = log::live(&log).into_values().collect();
        let Some(rows) =
            live.iter().map(|add| shape::read(self.truth, add)).collect::<Option<Vec<_>>>()
        else {
            return "finds a file missing".into();
        };
        let change = match self.rng.random_range(0..4) {
            0 => self.toggle_must(&mut shape),
            1 if may_partition => self.toggle_partition(&mut shape),
            _ => self.change_type(&mut shape),
        };
        let mut actions = vec![json!({"metaData": shape.metadata})];
        actions.extend(live.iter().map(|file| self.remove(file, true)));
        let mut deleted = Vec::new();
        if self.rng.random_bool(0.7) {
            for rows in &rows {
                actions.extend(shape.write(self.truth, rows, self.rng, true));
            }
        } else {
            deleted = rows.iter().flat_map(shape::rows_of).collect();
            let row = self.row();
            actions.extend(shape.write(self.truth, &row, self.rng, true));
        }
        self.truth.commit(&actions);
        Deed { what: format!("overwrites: {change}, and deletes {} rows", deleted.len()), deleted }
    }

    /// Appends the rows of an object, and says whose they are, if there are none of it.
    pub fn copy(&mut self, content: &Content) -> Deed {
        let log = self.truth.log();
        let Some(shape) = log::shape(&log) else { return "finds no table".into() };
        let has_source = shape.fields().iter().any(|field| shape::name_of(field) == SOURCE);
        if !has_source || content.rows == 0 || content.is_bad {
            return "finds nothing to copy".into();
        }
        let object = world::name(content.object);
        let live: Vec<Value> = log::live(&log).into_values().collect();
        let mut held = live.iter().filter_map(|add| shape::read(self.truth, add));
        if held.any(|rows| shape::rows_of(&rows).iter().any(|(of, ..)| *of == object)) {
            return "finds its rows there".into();
        }
        let texts =
            |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text; content.rows])) };
        let numbers: Vec<i64> = (0..content.rows as i64).collect();
        let columns: [(&str, ArrayRef); 4] = [
            ("object", texts(&object)),
            ("version", Arc::new(Int64Array::from(vec![content.version as i64; content.rows]))),
            ("row", Arc::new(Int64Array::from(numbers))),
            (SOURCE, texts(&world::uri(content.object))),
        ];
        let rows = RecordBatch::try_from_iter(columns).unwrap();
        let adds = shape.write(self.truth, &rows, self.rng, true);
        self.truth.commit(&adds);
        format!("copies {object}").as_str().into()
    }

    fn change_type(&mut self, shape: &mut Shape) -> String {
        let mut fields = shape.fields();
        let column = ["version", "row"][self.rng.random_range(0..2)];
        let kind = ["long", "string", WIDE][self.rng.random_range(0..3)];
        for field in fields.iter_mut().filter(|field| field["name"] == column) {
            field["type"] = kind.into();
        }
        shape.set_fields(fields);
        format!("{column} is a {kind}")
    }

    fn toggle_must(&mut self, shape: &mut Shape) -> String {
        let mut fields = shape.fields();
        fields.retain(|field| field["name"] != MUST);
        if !shape.is_shut() {
            fields.push(shape::field(MUST, "string", false));
        }
        shape.set_fields(fields);
        format!("no object fits: {}", shape.is_shut())
    }

    fn toggle_partition(&mut self, shape: &mut Shape) -> String {
        let partition_by = if shape.partition().is_none() { json!(["version"]) } else { json!([]) };
        let what = format!("partitioned by {partition_by}");
        shape.metadata["partitionColumns"] = partition_by;
        what
    }

    fn row(&mut self) -> RecordBatch {
        let object: ArrayRef = Arc::new(StringArray::from(vec![FOREIGN]));
        let number: ArrayRef = Arc::new(Int64Array::from(vec![self.rng.random_range(0..i64::MAX)]));
        let columns = [("object", object), ("version", Arc::clone(&number)), ("row", number)];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn append(&mut self, shape: &Shape) -> Deed {
        let row = self.row();
        let adds = shape.write(self.truth, &row, self.rng, true);
        self.truth.commit(&adds);
        "appends".into()
    }

    fn compact(&mut self, shape: &Shape, log: &Log, all_alike: bool) -> Deed {
        let mut groups: BTreeMap<String, Vec<(Value, RecordBatch)>> = BTreeMap::new();
        for add in log::live(log).into_values() {
            let Some(rows) = shape::read(self.truth, &add) else {
                return "finds a file missing".into();
            };
            // Files of before and after a change of columns are left alone.
            let columns: Vec<String> = if all_alike {
                vec![format!("{:?}", rows.schema())]
            } else {
                let schema = rows.schema();
                let fields = schema.fields().iter();
                fields.map(|f| format!("{} {}", f.name(), f.data_type())).collect()
            };
            let group = format!("{columns:?} {}", add["partitionValues"]);
            groups.entry(group).or_default().push((add, rows));
        }
        let is_fit = !all_alike || groups.len() == 1;
        let Some(files) = groups.into_values().filter(|_| is_fit).max_by_key(Vec::len) else {
            return "finds nothing to compact".into();
        };
        if files.len() < 2 {
            return "finds nothing to compact".into();
        }
        let whole =
            concat_batches(&files[0].1.schema(), files.iter().map(|(_, rows)| rows)).unwrap();
        let mut actions = shape.write(self.truth, &whole, self.rng, false);
        actions.extend(files.iter().map(|(file, _)| self.remove(file, false)));
        self.truth.commit(&actions);
        "compacts".into()
    }

    fn add_column(&mut self, mut shape: Shape) -> Deed {
        let mut fields = shape.fields();
        let is_added = |field: &&Value| shape::name_of(field).starts_with("added");
        let added = fields.iter().filter(is_added).count();
        if added == COLUMNS_ADDED_MAX {
            return "has columns enough".into();
        }
        fields.push(shape::field(&format!("added_{added}"), "string", true));
        shape.set_fields(fields);
        self.truth.commit(&[json!({"metaData": shape.metadata})]);
        "adds a column".into()
    }

    pub fn remove(&self, file: &Value, is_data_change: bool) -> Value {
        json!({"remove": {
            "path": file["path"], "deletionTimestamp": self.now, "dataChange": is_data_change,
        }})
    }
}

/// The data files that VACUUM deletes as of the newest version, and that version: those that were
/// written before `cutoff` by `modified`, that are not in the table, and that did not leave it
/// since `cutoff`. All in milliseconds since 1970. Names that begin with `_` are spared.
pub fn superfluous(
    truth: &Truth,
    cutoff: i64,
    modified: impl Fn(&str) -> i64,
) -> Option<(u64, Vec<String>)> {
    let log = truth.log();
    let (newest, _) = log.last_key_value()?;
    let mut needed: BTreeSet<String> = log::live(&log).values().map(shape::key).collect();
    let removes = log.values().flatten().filter_map(|action| action.get("remove"));
    let young = removes.filter(|remove| remove["deletionTimestamp"].as_i64() >= Some(cutoff));
    needed.extend(young.map(shape::key));
    let folder = format!("{TABLE}/");
    let is_hidden = |file: &str| file.split('/').any(|part| part.starts_with('_'));
    let files = truth.names(TABLE).into_iter().filter_map(|name| {
        let file = name.strip_prefix(&folder)?;
        let is_old = modified(&name) < cutoff;
        (is_old && !is_hidden(file) && !needed.contains(file)).then(|| file.to_owned())
    });
    Some((*newest, files.collect()))
}

/// Writes a checkpoint of the newest version, and then takes away what it made superfluous, oldest
/// first or in any order, at its own pace.
pub async fn clean(truth: &Truth, rng: &mut StdRng, pace_max: Duration) -> String {
    let Some(newest) = truth.log().keys().next_back().copied() else {
        return "finds no table".to_owned();
    };
    let engine = kernel::engine(truth.store.clone());
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
