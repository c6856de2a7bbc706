//! The columns of a table at one version, and data files read and written by them: by none of the
//! code that is on trial.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::display::array_value_to_string;
use parquet::arrow::ArrowWriter;
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::log::{Row, TABLE, Truth};

/// The object that rows of the other writer say they are of.
pub const FOREIGN: &str = "foreign";
/// A column that may not be null, and that no object feeds.
pub const MUST: &str = "must";
/// Whole numbers, wide enough for all of them.
pub const WIDE: &str = "decimal(20,0)";

/// A table's columns, as its metadata says.
#[derive(Debug, Clone)]
pub struct Shape {
    pub metadata: Value,
}

impl Shape {
    /// A table of `fields`, each a name, a type and whether it may be null.
    pub fn new(fields: &[(&str, &str)], partition_by: &[&str]) -> Self {
        let mut shape = Self {
            metadata: json!({
                "id": "00000000-0000-4000-8000-000000000001",
                "format": {"provider": "parquet", "options": {}},
                "schemaString": "", "partitionColumns": partition_by, "configuration": {},
                "createdTime": 0,
            }),
        };
        shape.set_fields(fields.iter().map(|(name, kind)| field(name, kind, true)).collect());
        shape
    }

    pub fn fields(&self) -> Vec<Value> {
        let text = self.metadata["schemaString"].as_str().unwrap();
        let schema: Value = serde_json::from_str(text).unwrap();
        schema["fields"].as_array().unwrap().clone()
    }

    pub fn set_fields(&mut self, fields: Vec<Value>) {
        let schema = json!({"type": "struct", "fields": fields});
        self.metadata["schemaString"] = schema.to_string().into();
    }

    pub fn partition(&self) -> Option<String> {
        Some(self.metadata["partitionColumns"][0].as_str()?.to_owned())
    }

    /// Whether no object fits it.
    pub fn is_shut(&self) -> bool {
        self.fields().iter().any(|field| field["name"] == MUST)
    }

    /// The columns that files store, by name, and whether each may be absent.
    pub fn stored(&self) -> Vec<(String, DataType, bool)> {
        let partition = self.partition();
        let fields = self.fields();
        let stored = fields.iter().filter(|field| field["name"].as_str() != partition.as_deref());
        let described = |field: &Value| {
            let is_nullable = field["nullable"].as_bool().unwrap();
            (name_of(field), data_type(field["type"].as_str().unwrap()), is_nullable)
        };
        stored.map(described).collect()
    }

    /// Writes `rows`, which hold every column that is not null, as files of this shape; returns
    /// their actions.
    pub fn write(
        &self,
        truth: &Truth,
        rows: &RecordBatch,
        rng: &mut StdRng,
        is_data_change: bool,
    ) -> Vec<Value> {
        let Some(partition) = self.partition() else {
            return vec![self.write_file(truth, rows, json!({}), rng, is_data_change)];
        };
        let values = rows.column_by_name(&partition).unwrap();
        let mut groups: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for row in 0..rows.num_rows() {
            let value = array_value_to_string(values, row).unwrap();
            groups.entry(value).or_default().push(row as u32);
        }
        let write = |(value, numbers): (String, Vec<u32>)| {
            let rows = take_record_batch(rows, &UInt32Array::from(numbers)).unwrap();
            self.write_file(truth, &rows, json!({&partition: value}), rng, is_data_change)
        };
        groups.into_iter().map(write).collect()
    }

    fn write_file(
        &self,
        truth: &Truth,
        rows: &RecordBatch,
        partition_values: Value,
        rng: &mut StdRng,
        is_data_change: bool,
    ) -> Value {
        let path = format!("foreign-{:016x}.parquet", rng.random::<u64>());
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        for (name, data_type, is_nullable) in self.stored() {
            let (column, is_nullable) = match rows.schema().column_with_name(&name) {
                Some((column, field)) => (Arc::clone(rows.column(column)), field.is_nullable()),
                None if is_nullable => continue,
                None => (text_column(FOREIGN, rows.num_rows()), false),
            };
            fields.push(Field::new(name, data_type.clone(), is_nullable));
            columns.push(cast(&column, &data_type).unwrap());
        }
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        let mut body = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut body, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let size = body.len();
        truth.put(&format!("{TABLE}/{path}"), body);
        let stats = json!({"numRecords": rows.num_rows()}).to_string();
        json!({"add": {
            "path": path, "partitionValues": partition_values, "size": size,
            "modificationTime": 0, "dataChange": is_data_change, "stats": stats,
        }})
    }
}

/// The rows of a data file, as one batch: what it stores, and its partition's value as text;
/// nothing where the file is missing.
pub fn read(truth: &Truth, add: &Value) -> Option<RecordBatch> {
    let stored = truth.batch(&key(add))?;
    let mut fields = stored.schema().fields().to_vec();
    let mut columns = stored.columns().to_vec();
    for (name, value) in add["partitionValues"].as_object().unwrap() {
        fields.push(Arc::new(Field::new(name, DataType::Utf8, true)));
        columns.push(text_column(value.as_str().unwrap_or_default(), stored.num_rows()));
    }
    Some(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap())
}

/// The object key of the file that an action names.
pub fn key(action: &Value) -> String {
    let path = action["path"].as_str().unwrap();
    assert!(!path.contains('%'), "no name on stage needs an escape: {path}");
    path.to_owned()
}

/// The rows of some batch.
pub fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    let cell = |column: &str, row: usize| {
        let column = batch.column_by_name(column).expect("a file holds every column");
        array_value_to_string(column, row).unwrap()
    };
    let row = |row| (cell("object", row), cell("version", row), cell("row", row));
    (0..batch.num_rows()).map(row).collect()
}

pub fn field(name: &str, kind: &str, is_nullable: bool) -> Value {
    json!({"name": name, "type": kind, "nullable": is_nullable, "metadata": {}})
}

pub fn name_of(field: &Value) -> String {
    field["name"].as_str().unwrap().to_owned()
}

fn text_column(text: &str, rows: usize) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows)))
}

fn data_type(kind: &str) -> DataType {
    match kind {
        "string" => DataType::Utf8,
        "long" => DataType::Int64,
        WIDE => DataType::Decimal128(20, 0),
        other => panic!("no column on stage is a {other}"),
    }
}
