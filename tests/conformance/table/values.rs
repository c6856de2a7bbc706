//! Values: of every type, in files, as partitions, and in statistics.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int8Array, Int16Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::cast;
use lakefeed::table::{CommitOutcome, TableDefinition};
use serde_json::json;

use crate::support::tables::{AddedFile, Lake, rows};

/// 2024-02-29, and its 23:59:59.123456.
const LEAP_DAY: i32 = 19_782;
const LEAP_DAY_MICROS: i64 = 19_782 * 86_400_000_000 + 86_399_123_456;

/// A column of each type that a table can have: something, its opposite, and nothing.
fn one_of_each() -> RecordBatch {
    let micros = || TimestampMicrosecondArray::from(vec![Some(LEAP_DAY_MICROS), Some(-1), None]);
    let decimals = Decimal128Array::from(vec![Some(123_456_789_012_345_678_901), Some(-5), None]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("boolean", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("int8", Arc::new(Int8Array::from(vec![Some(i8::MAX), Some(i8::MIN), None]))),
        ("int16", Arc::new(Int16Array::from(vec![Some(i16::MAX), Some(i16::MIN), None]))),
        ("int32", Arc::new(Int32Array::from(vec![Some(i32::MAX), Some(i32::MIN), None]))),
        ("int64", Arc::new(Int64Array::from(vec![Some(i64::MAX), Some(i64::MIN), None]))),
        ("float32", Arc::new(Float32Array::from(vec![Some(1.5), Some(-0.25), None]))),
        ("float64", Arc::new(Float64Array::from(vec![Some(1e300), Some(-0.1), None]))),
        ("decimal", Arc::new(decimals.with_precision_and_scale(38, 2).unwrap())),
        ("date", Arc::new(Date32Array::from(vec![Some(LEAP_DAY), Some(-1), None]))),
        ("timestamp", Arc::new(micros())),
        ("timestamptz", Arc::new(micros().with_timezone("UTC"))),
        ("string", Arc::new(StringArray::from(vec![Some("grüße, \"文件\""), Some("a"), None]))),
        ("binary", Arc::new(BinaryArray::from_opt_vec(vec![Some(b"\0\xff"), Some(b""), None]))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))
        .unwrap()
}

fn definition(batch: &RecordBatch, partition_by: &[&str]) -> TableDefinition {
    let partition_by = partition_by.iter().map(|&name| name.to_owned()).collect();
    TableDefinition { schema: batch.schema(), partition_by }
}

/// The same rows, in the types that the table's columns have.
fn as_stored(lake: &Lake, batch: &RecordBatch) -> RecordBatch {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        let stored = cast(column, &lake.can.stored_type(field.data_type())).unwrap();
        (field.name(), stored, true)
    });
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// Creates a table for `batch`, appends it, and returns what the table's metadata say of the files.
async fn store_rows(lake: &Lake, batch: &RecordBatch, partition_by: &[&str]) -> Vec<AddedFile> {
    let (process, base) = lake.created_as(&definition(batch, partition_by)).await;
    let batch = &as_stored(lake, batch);
    let files = process.write(&base.layout, batch).await;
    let append = process.append_of(files, "a.csv");
    let outcome = process.try_commit(&base, &append, 2).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Committed(1));

    let mut expected = rows(std::slice::from_ref(batch));
    expected.sort();
    assert_eq!(process.rows(&process.newest().await).await, expected);
    lake.commit(1).await.added
}

async fn a_column_of_each_type_comes_back(lake: Lake) {
    let batch = one_of_each();
    let added = store_rows(&lake, &batch, &[]).await;
    let batch = as_stored(&lake, &batch);
    assert_eq!(added.len(), 1);
    // The types, as well as the values.
    let now = lake.process().newest().await;
    assert_eq!(now.layout.schema, batch.schema());
    assert_eq!(lake.files().rows_of(&added[0].path).await, rows(&[batch]));
}

async fn statistics_bound_each_column(lake: Lake) {
    let added = store_rows(&lake, &one_of_each(), &[]).await;
    let [file] = added.as_slice() else { panic!("{added:?}") };
    assert_eq!(file.rows, 3);
    let (mut lower, mut upper) = (file.lower.clone(), file.upper.clone());
    let nulls = file.nulls.as_object().unwrap();
    assert_eq!(nulls.len(), 13);
    assert!(nulls.values().all(|count| *count == 1), "{nulls:?}");

    // As numbers, these depend on how JSON is read.
    let decimals = |bounds: &mut serde_json::Value| {
        bounds.as_object_mut().unwrap().remove("decimal").unwrap().to_string()
    };
    let (lowest, highest) = (decimals(&mut lower), decimals(&mut upper));
    assert_eq!(lowest.parse::<f64>().unwrap(), -0.05);
    assert_eq!(highest.parse::<f64>().unwrap(), 1_234_567_890_123_456_789.01);
    let mut expected_lower = json!({
        "int8": -128, "int16": -32768, "int32": i32::MIN, "int64": i64::MIN, "float32": -0.25,
        "float64": -0.1, "date": "1969-12-31", "string": "a",
        "timestamp": "1969-12-31T23:59:59.999", "timestamptz": "1969-12-31T23:59:59.999Z",
    });
    let mut expected_upper = json!({
        "int8": 127, "int16": 32767, "int32": i32::MAX, "int64": i64::MAX, "float32": 1.5,
        "float64": 1e300, "date": "2024-02-29", "string": "grüße, \"文件\"",
        "timestamp": "2024-02-29T23:59:59.124", "timestamptz": "2024-02-29T23:59:59.124Z",
    });
    if !lake.can.coarse_bounds {
        expected_lower["boolean"] = json!(false);
        expected_lower["timestamp"] = json!("1969-12-31T23:59:59.999999");
        expected_lower["timestamptz"] = json!("1969-12-31T23:59:59.999999Z");
        expected_upper["boolean"] = json!(true);
        expected_upper["timestamp"] = json!("2024-02-29T23:59:59.123456");
        expected_upper["timestamptz"] = json!("2024-02-29T23:59:59.123456Z");
    }
    assert_eq!(lower, expected_lower);
    assert_eq!(upper, expected_upper);
}

async fn a_partition_of_each_type_comes_back(lake: Lake) {
    let columns = [
        "boolean",
        "int8",
        "int16",
        "int32",
        "int64",
        "decimal",
        "date",
        "timestamp",
        "timestamptz",
        "string",
    ];
    let expected = [
        [None; 10],
        [
            Some("false"),
            Some("-128"),
            Some("-32768"),
            Some("-2147483648"),
            Some("-9223372036854775808"),
            Some("-0.05"),
            Some("1969-12-31"),
            Some("1969-12-31 23:59:59.999999"),
            Some("1969-12-31T23:59:59.999999Z"),
            Some("a"),
        ],
        [
            Some("true"),
            Some("127"),
            Some("32767"),
            Some("2147483647"),
            Some("9223372036854775807"),
            Some("1234567890123456789.01"),
            Some("2024-02-29"),
            Some("2024-02-29 23:59:59.123456"),
            Some("2024-02-29T23:59:59.123456Z"),
            Some("grüße, \"文件\""),
        ],
    ];
    let mut added = store_rows(&lake, &one_of_each(), &columns).await;
    added.sort_by_key(|file| file.partition["boolean"].clone());
    assert_eq!(added.len(), expected.len());
    for (file, expected) in added.iter().zip(expected) {
        assert_eq!(file.rows, 1);
        let partition = columns.map(|column| file.partition[column].as_deref());
        assert_eq!(partition, expected);
        assert_eq!(file.partition.len(), columns.len());
    }
}

async fn a_partition_of_any_text_comes_back(lake: Lake) {
    let texts = [
        Some("plain"),
        Some("with a space"),
        Some("50%"),
        Some("50%25"),
        Some("a/b=c"),
        Some("#hash?"),
        Some("a+b&c"),
        Some("grüße"),
        Some("文件"),
        Some(".."),
        Some(" "),
        None,
    ];
    let columns: [(&str, ArrayRef); 2] = [
        ("id", Arc::new(Int64Array::from_iter_values(0..texts.len() as i64))),
        ("text", Arc::new(StringArray::from(texts.to_vec()))),
    ];
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.map(|(n, c)| (n, c, true))).unwrap();
    let added = store_rows(&lake, &batch, &["text"]).await;
    assert_eq!(added.len(), texts.len());
    for file in added {
        let [row] = lake.files().rows_of(&file.path).await.try_into().unwrap();
        let (stored, partition) = row.split_once(" text=").unwrap_or((row.as_str(), ""));
        let id: usize = stored.strip_prefix("id=").unwrap().parse().unwrap();
        assert_eq!(file.partition["text"].as_deref(), texts[id]);
        let mut bound = json!({"id": id});
        if lake.can.stores_partition_columns {
            assert_eq!(partition, texts[id].unwrap_or("null"));
            bound
                .as_object_mut()
                .unwrap()
                .extend(texts[id].map(|it| ("text".to_owned(), json!(it))));
        }
        assert_eq!((file.lower, file.upper), (bound.clone(), bound));
    }
}

on_every_table!([
    a_column_of_each_type_comes_back,
    statistics_bound_each_column,
    a_partition_of_each_type_comes_back,
    a_partition_of_any_text_comes_back,
]);
