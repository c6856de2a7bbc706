//! For any rows of any type: the file reads back as written, and no bound is too narrow.

use std::collections::HashMap;

use arrow::array::{
    Array, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array,
    Float64Array, Int8Array, Int16Array, Int32Array, TimestampMicrosecondArray,
};
use arrow::datatypes::{Float32Type, Float64Type, TimeUnit};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use parquet::basic::LogicalType;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::super::partition::value_at;
use super::*;

const ROWS_MAX: usize = 60;

fn column<T: std::fmt::Debug, A: Array + 'static>(
    values: impl Strategy<Value = T>,
    array: impl Fn(Vec<Option<T>>) -> A,
) -> impl Strategy<Value = ArrayRef> {
    let array = move |values| Arc::new(array(values)) as ArrayRef;
    // Of most values, of few, and of none: a row group may be all null.
    (vec(option::weighted(0.9, values), ROWS_MAX), 0..4_usize, 0..ROWS_MAX).prop_map(
        move |(mut values, blank, from)| {
            if blank == 0 {
                values.iter_mut().skip(from).for_each(|value| *value = None);
            }
            array(values)
        },
    )
}

fn text() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        Just('a'),
        Just('é'),
        Just('\u{7F}'),
        Just('\u{7FF}'),
        Just('\u{D7FF}'),
        Just('\u{E000}'),
        Just('\u{FFFF}'),
        Just('\u{10FFFF}'),
        any::<char>(),
    ];
    let free = vec(character.clone(), 0..40).prop_map(String::from_iter);
    let long = (character, 0..80_usize).prop_map(|(same, count)| same.to_string().repeat(count));
    prop_oneof![free, long]
}

fn float64() -> impl Strategy<Value = f64> {
    prop_oneof![
        5 => -10.0..10.0_f64,
        2 => prop_oneof![Just(0.0), Just(-0.0)],
        1 => prop_oneof![Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(f64::MAX), Just(-5e-324)],
    ]
}

/// Now and then a column with a NaN in it, of either sign.
fn perhaps_nan() -> impl Strategy<Value = f64> {
    prop_oneof![80 => float64(), 1 => Just(f64::NAN), 1 => Just(-f64::NAN)]
}

fn decimals(precision: u8, scale: i8) -> impl Strategy<Value = ArrayRef> {
    let greatest = 10_i128.pow(u32::from(precision)) - 1;
    let values = prop_oneof![-greatest..=greatest, -200..200_i128, Just(greatest), Just(-greatest)];
    column(values, move |values| {
        Decimal128Array::from(values).with_precision_and_scale(precision, scale).unwrap()
    })
}

fn numbers() -> impl Strategy<Value = Vec<ArrayRef>> {
    (
        column(any::<bool>(), BooleanArray::from),
        column(any::<i8>(), Int8Array::from),
        column(any::<i16>(), Int16Array::from),
        column(any::<i32>(), Int32Array::from),
        column(any::<i64>(), Int64Array::from),
        column(perhaps_nan().prop_map(|value| value as f32), Float32Array::from),
        column(perhaps_nan(), Float64Array::from),
        (decimals(7, 2), decimals(18, 0), decimals(38, 10)),
    )
        .prop_map(|(a, b, c, d, e, f, g, (h, i, j))| vec![a, b, c, d, e, f, g, h, i, j])
}

fn others() -> impl Strategy<Value = Vec<ArrayRef>> {
    (
        column(any::<i32>(), Date32Array::from),
        column(any::<i64>(), |values| TimestampMicrosecondArray::from(values).with_timezone("UTC")),
        column(any::<i64>(), TimestampMicrosecondArray::from),
        column(text(), StringArray::from),
        column(vec(any::<u8>(), 0..100), |values| {
            values.iter().map(Option::as_deref).collect::<BinaryArray>()
        }),
    )
        .prop_map(|(a, b, c, d, e)| vec![a, b, c, d, e])
}

fn batch() -> impl Strategy<Value = RecordBatch> {
    (numbers(), others()).prop_map(|(mut columns, others)| {
        columns.extend(others);
        let fields = columns.iter().enumerate().map(|(position, column)| {
            let id = (PARQUET_FIELD_ID_META_KEY.to_owned(), (position + 100).to_string());
            Field::new(format!("c.{position}"), column.data_type().clone(), true)
                .with_metadata(HashMap::from([id]))
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        RecordBatch::try_new(schema, columns).unwrap()
    })
}

fn at_most(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Boolean(a), Value::Boolean(b)) => a <= b,
        (Value::Integer(a), Value::Integer(b)) => a <= b,
        // The total order: a bound of zero must take in both zeros.
        (Value::Float(a), Value::Float(b)) => a.total_cmp(b).is_le(),
        (Value::Decimal(a, s), Value::Decimal(b, t)) => s == t && a <= b,
        (Value::Date(a), Value::Date(b)) => a <= b,
        (Value::Timestamp(a), Value::Timestamp(b)) => a <= b,
        (Value::String(a), Value::String(b)) => a.as_bytes() <= b.as_bytes(),
        _ => false,
    }
}

fn has_nan(column: &dyn Array) -> bool {
    match column.data_type() {
        DataType::Float32 => column.as_primitive::<Float32Type>().iter().flatten().any(f32::is_nan),
        DataType::Float64 => column.as_primitive::<Float64Type>().iter().flatten().any(f64::is_nan),
        _ => false,
    }
}

fn check_column(column: &dyn Array, known: &crate::table::ColumnStatistics) {
    assert_eq!(known.null_count, column.null_count() as u64);
    let is_unbounded = column.data_type() == &DataType::Binary || has_nan(column);
    if is_unbounded || column.null_count() == column.len() {
        assert_eq!((&known.lower, &known.upper), (&None, &None), "{}", column.data_type());
        return;
    }
    let lower = known.lower.as_ref().unwrap();
    if column.data_type() != &DataType::Utf8 {
        assert!(known.upper.is_some(), "{}", column.data_type());
    }
    for value in (0..column.len()).filter_map(|row| value_at(column, row)) {
        assert!(at_most(lower, &value), "{lower:?} is above {value:?}");
        if let Some(upper) = &known.upper {
            assert!(at_most(&value, upper), "{upper:?} is below {value:?}");
        }
    }
    if let (Some(Value::String(lower)), Some(Value::String(upper))) = (&known.lower, &known.upper) {
        let shared = lower.chars().zip(upper.chars()).take_while(|(a, b)| a == b).count();
        for text in [lower, upper] {
            assert!(text.chars().count() <= shared + 33, "{lower:?} {upper:?}");
        }
    }
}

async fn check(batch: RecordBatch, row_group_rows_max: usize) {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let layout =
        layout(batch.schema().fields().iter().map(|f| f.as_ref().clone()).collect(), vec![]);
    let limits = WriterLimits { row_group_rows_max, ..small_limits() };
    let mut writer = writer(&store, layout, limits);
    writer.write(&batch).await.unwrap();
    let files = writer.finish().await.unwrap();
    let [file] = files.as_slice() else { panic!("{files:?}") };
    let back = read(&store, file).await;
    for (position, column) in batch.columns().iter().enumerate() {
        check_column(column, &file.columns[position]);
        let stored = back.column(position);
        // Parquet does not embed the Arrow type: narrow integers come back as they are annotated.
        assert_eq!(stored.to_data(), column.to_data(), "{}", column.data_type());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_bound_is_too_narrow(batch in batch(), row_group_rows_max in 1..ROWS_MAX + 1) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(check(batch, row_group_rows_max));
    }
}

#[tokio::test]
async fn the_footer_says_what_other_readers_need() {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let fields = vec![
        Field::new("at", utc, true)
            .with_metadata(HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), "7".to_owned())])),
        Field::new("local", DataType::Timestamp(TimeUnit::Microsecond, None), true),
    ];
    let layout = layout(fields, vec![]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from(vec![1, 2]).with_timezone("UTC")),
        Arc::new(TimestampMicrosecondArray::from(vec![3, 4])),
    ];
    let batch = RecordBatch::try_new(layout.schema.clone(), columns).unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut writer = writer(&store, layout, small_limits());
    writer.write(&batch).await.unwrap();
    let files = writer.finish().await.unwrap();

    let bytes = bytes_of(&store, &files[0]).await;
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let file = builder.metadata().file_metadata();
    assert_eq!(file.created_by(), Some(concat!("lakefeed ", env!("CARGO_PKG_VERSION"))));
    assert!(file.key_value_metadata().is_none_or(Vec::is_empty));
    let columns = builder.parquet_schema().columns();
    assert_eq!(columns[0].self_type().get_basic_info().id(), 7);
    assert!(!columns[1].self_type().get_basic_info().has_id());
    let is_utc = |position: usize| match columns[position].logical_type_ref() {
        Some(LogicalType::Timestamp(timestamp)) => timestamp.is_adjusted_to_u_t_c,
        other => panic!("{other:?}"),
    };
    assert!(is_utc(0) && !is_utc(1));
}
