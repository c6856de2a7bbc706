//! The writer as a whole, on stores in memory, on disk, and broken.

mod properties;
mod store;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema};
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use self::store::FaultyStore;
use super::*;
use crate::clock::{Entropy, SystemClock};
use crate::memory::{MemoryBudget, OVERHEAD_BYTES};
use crate::table::{DataFile, FileOrigin, Layout, Value};

const BUDGET_BYTES: u64 = 64 << 20;

/// Limits so small that little data meets them.
fn small_limits() -> WriterLimits {
    WriterLimits {
        row_group_rows_max: 1000,
        part_bytes: 8 << 10,
        ..WriterLimits::within(BUDGET_BYTES, 3).unwrap()
    }
}

fn layout(fields: Vec<Field>, partition_columns: Vec<usize>) -> Arc<Layout> {
    let schema = Arc::new(Schema::new(fields));
    let bounded_columns = vec![true; schema.fields().len()];
    Arc::new(Layout {
        file_schema: schema.clone(),
        schema,
        partition_columns,
        stores_partition_columns: false,
        bounded_columns,
    })
}

fn events_layout(partition_columns: Vec<usize>) -> Arc<Layout> {
    let fields = vec![
        Field::new("id", DataType::Int64, true),
        Field::new("kind", DataType::Utf8, true),
        Field::new("noise", DataType::Int64, true),
    ];
    layout(fields, partition_columns)
}

/// `rows` rows from `start`, of one of `kinds` in turn, with noise that does not compress.
fn events(start: usize, rows: usize, kinds: &[Option<&str>]) -> RecordBatch {
    let ids = start..start + rows;
    let noise = ids.clone().map(|i| (i as i64).wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(ids.clone().map(|i| i as i64))),
        Arc::new(ids.map(|i| kinds[i % kinds.len()]).collect::<StringArray>()),
        Arc::new(Int64Array::from_iter_values(noise)),
    ];
    RecordBatch::try_new(events_layout(vec![]).schema.clone(), columns).unwrap()
}

fn budget() -> MemoryBudget {
    MemoryBudget::for_process(OVERHEAD_BYTES + BUDGET_BYTES).unwrap()
}

fn destination(store: &Arc<dyn ObjectStore>, layout: Arc<Layout>) -> Destination {
    let origin = FileOrigin { ledger: "default".to_owned(), fence: 3 };
    Destination { store: store.clone(), root: Path::from("lake/events"), layout, origin }
}

fn writer(store: &Arc<dyn ObjectStore>, layout: Arc<Layout>, limits: WriterLimits) -> TableWriter {
    let entropy = Arc::new(Entropy::from_seed(1));
    let clock = Arc::new(SystemClock::default());
    TableWriter::new(destination(store, layout), limits, entropy, clock, &budget()).unwrap()
}

async fn bytes_of(store: &Arc<dyn ObjectStore>, file: &DataFile) -> bytes::Bytes {
    let key = Path::parse(format!("lake/events/{}", file.path)).unwrap();
    let bytes = store.get(&key).await.unwrap().bytes().await.unwrap();
    assert_eq!(bytes.len() as u64, file.size_bytes);
    bytes
}

async fn read(store: &Arc<dyn ObjectStore>, file: &DataFile) -> RecordBatch {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes_of(store, file).await).unwrap();
    let schema = builder.schema().clone();
    let batches: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
    let batch = concat_batches(&schema, &batches).unwrap();
    assert_eq!(batch.num_rows() as u64, file.rows);
    batch
}

async fn objects(store: &Arc<dyn ObjectStore>) -> Vec<String> {
    let found: Vec<_> = store.list(None).try_collect().await.unwrap();
    found.into_iter().map(|object| object.location.to_string()).collect()
}

fn files_below(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn a_file_of_several_row_groups_reads_back_from_any_store() {
    let folder = tempfile::tempdir().unwrap();
    let stores: [Arc<dyn ObjectStore>; 2] = [
        Arc::new(InMemory::new()),
        Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap()),
    ];
    for store in stores {
        let mut writer = writer(&store, events_layout(vec![]), small_limits());
        let batches = [events(0, 1700, &[Some("a")]), events(1700, 3000, &[Some("b"), None])];
        for batch in &batches {
            writer.write(batch).await.unwrap();
        }
        let files = writer.finish().await.unwrap();
        let [file] = files.as_slice() else { panic!("{files:?}") };

        let expected = concat_batches(&batches[0].schema(), &batches).unwrap();
        assert_eq!(read(&store, file).await, expected);
        assert!(file.path.starts_with("lakefeed-default-3-"));
        assert_eq!(file.columns[0].lower, Some(Value::Integer(0)));
        assert_eq!(file.columns[0].upper, Some(Value::Integer(4699)));
        assert_eq!(file.columns[1].null_count, 1500);
        let bytes = bytes_of(&store, file).await;
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
        let rows: Vec<_> = builder.metadata().row_groups().iter().map(|g| g.num_rows()).collect();
        assert_eq!(rows, [1000, 1000, 1000, 1000, 700]);
    }
}

#[tokio::test]
async fn without_rows_there_is_no_file() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut writer = writer(&store, events_layout(vec![]), small_limits());
    writer.write(&events(0, 0, &[None])).await.unwrap();
    assert_eq!(writer.finish().await.unwrap(), []);
    assert!(objects(&store).await.is_empty());
}

#[tokio::test]
async fn a_file_ends_at_its_target_and_where_its_footer_is_full() {
    let by_size = WriterLimits { file_bytes_target: 20_000, ..small_limits() };
    let by_footer = WriterLimits { row_groups_times_columns_max: 7, ..small_limits() };
    for (limits, file_rows_max) in [(by_size, 3000), (by_footer, 2000)] {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let mut writer = writer(&store, events_layout(vec![]), limits);
        for start in (0..9000).step_by(500) {
            writer.write(&events(start, 500, &[Some("a")])).await.unwrap();
        }
        let files = writer.finish().await.unwrap();
        assert!(files.len() > 2, "{}", files.len());
        assert!(files.iter().all(|file| file.rows <= file_rows_max), "{files:?}");
        assert_eq!(files.iter().map(|file| file.rows).sum::<u64>(), 9000);
    }
}

#[tokio::test]
async fn each_row_is_in_a_file_of_its_partition() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn ObjectStore> =
        Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap());
    let kinds = [None, Some(""), Some("a/b=50%"), Some("é #1"), Some("."), Some("plain")];
    let folders = ["__HIVE_DEFAULT_PARTITION__", "a%2Fb%3D50%25", "é %231", ".", "plain"];
    let limits = WriterLimits { open_partitions_max: 3, ..small_limits() };
    let mut writer = writer(&store, events_layout(vec![1]), limits);
    for start in (0..6000).step_by(1500) {
        writer.write(&events(start, 1500, &kinds)).await.unwrap();
        assert!(writer.open_partition_count() <= 3);
    }
    let files = writer.finish().await.unwrap();

    let mut ids = Vec::new();
    for file in &files {
        let (folder, name) = file.path.split_once('/').unwrap();
        let folder = folder.strip_prefix("kind=").unwrap();
        assert!(folders.contains(&folder) && !name.contains('/'), "{}", file.path);
        let rows = read(&store, file).await;
        assert_eq!(rows.schema().fields().len(), 2, "the partition column is not stored");
        assert_eq!(file.columns.len(), 2);
        let stored = rows.column(0).as_any().downcast_ref::<Int64Array>().unwrap().clone();
        assert!(stored.values().is_sorted(), "rows keep their order");
        for &id in stored.values() {
            let kind = kinds[id as usize % kinds.len()];
            assert_eq!(file.partition, [kind.map(|kind| Value::String(kind.to_owned()))]);
        }
        ids.extend_from_slice(stored.values());
    }
    ids.sort_unstable();
    assert!(ids.into_iter().eq(0..6000));
    let literal = folder.path().join("lake/events/kind=a%2Fb%3D50%25");
    assert!(literal.is_dir(), "the object key is not encoded again");
}

#[tokio::test]
async fn what_is_held_stays_within_the_limits_for_any_number_of_partitions() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let limits =
        WriterLimits { open_files_bytes_max: 6 << 20, slice_bytes_max: 64 << 10, ..small_limits() };
    let names: Vec<String> = (0..97).map(|i| format!("kind {i}")).collect();
    let kinds: Vec<_> = names.iter().map(|name| Some(name.as_str())).collect();
    let mut writer = writer(&store, events_layout(vec![1]), limits.clone());
    for start in (0..40_000).step_by(4000) {
        writer.write(&events(start, 4000, &kinds)).await.unwrap();
        assert!(writer.held_bytes() <= limits.open_files_bytes_max, "{}", writer.held_bytes());
    }
    let files = writer.finish().await.unwrap();
    assert!(files.len() > kinds.len(), "the limit was never met");
    assert_eq!(files.iter().map(|file| file.rows).sum::<u64>(), 40_000);
}

#[tokio::test]
async fn a_writer_reserves_what_it_may_hold_and_gives_it_back() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let limits = WriterLimits::within(BUDGET_BYTES, 3).unwrap();
    let budget = budget();
    let make = |partition_columns| {
        TableWriter::new(
            destination(&store, events_layout(partition_columns)),
            limits.clone(),
            Arc::new(Entropy::from_seed(1)),
            Arc::new(SystemClock::default()),
            &budget,
        )
    };
    let partitioned = make(vec![1]).unwrap();
    assert_eq!(budget.available_bytes(), 0);
    assert_eq!(make(vec![]).err().unwrap().kind(), ErrorKind::OverBudget);
    partitioned.abort().await;
    assert_eq!(budget.available_bytes(), BUDGET_BYTES);
}

#[tokio::test]
async fn abort_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn ObjectStore> =
        Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap());
    let limits = WriterLimits { file_bytes_target: 50_000, ..small_limits() };
    let mut writer = writer(&store, events_layout(vec![]), limits);
    for start in (0..30_000).step_by(5000) {
        writer.write(&events(start, 5000, &[Some("a")])).await.unwrap();
    }
    assert!(!files_below(folder.path()).is_empty());
    writer.abort().await;
    assert_eq!(files_below(folder.path()), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn a_store_that_fails_leaves_an_error_and_nothing_else() {
    for part in 0..12 {
        let faulty = Arc::new(FaultyStore::failing_at_part(part));
        let store: Arc<dyn ObjectStore> = faulty.clone();
        let limits = WriterLimits { file_bytes_target: 50_000, ..small_limits() };
        let mut writer = writer(&store, events_layout(vec![]), limits);
        let mut failed = None;
        for start in (0..30_000).step_by(500) {
            if let Err(error) = writer.write(&events(start, 500, &[Some("a")])).await {
                let again = writer.write(&events(0, 1, &[None])).await.unwrap_err();
                assert_eq!(again.kind(), ErrorKind::Internal);
                failed = Some(error);
                break;
            }
        }
        let error = match failed {
            Some(error) => error,
            None => writer.finish().await.unwrap_err(),
        };
        assert_eq!(error.kind(), ErrorKind::StorageUnavailable, "{error}");
        assert!(error.object().is_some_and(|object| object.starts_with("lake/events/lakefeed-")));
        assert_eq!(objects(&store).await, Vec::<String>::new(), "part {part}");
        assert_eq!(faulty.open_uploads(), 0, "part {part}");
    }
}

#[tokio::test]
async fn parts_are_of_one_size_and_few_are_in_flight() {
    let faulty = Arc::new(FaultyStore::failing_at_part(usize::MAX));
    let store: Arc<dyn ObjectStore> = faulty.clone();
    let limits = small_limits();
    let mut writer = writer(&store, events_layout(vec![]), limits.clone());
    writer.write(&events(0, 20_000, &[Some("a")])).await.unwrap();
    writer.finish().await.unwrap();
    let sizes = faulty.part_sizes();
    let (last, full) = sizes.split_last().unwrap();
    assert!(full.len() > 10 && full.iter().all(|&size| size == limits.part_bytes), "{sizes:?}");
    assert!(*last <= limits.part_bytes);
    assert_eq!(faulty.most_parts_in_flight(), limits.parts_in_flight_max);
}

#[tokio::test]
async fn a_folder_that_is_not_ours_to_write_is_named_as_such() {
    let folder = tempfile::tempdir().unwrap();
    // A file where a folder must be: it stops every user, root too.
    std::fs::write(folder.path().join("lake"), b"").unwrap();
    let store: Arc<dyn ObjectStore> =
        Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap());
    let mut writer = writer(&store, events_layout(vec![]), small_limits());
    writer.write(&events(0, 10, &[None])).await.unwrap();
    let error = writer.finish().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageUnavailable);
}

#[test]
fn limits_keep_to_their_budget() {
    for column_count in [1, 16, 200, 5000] {
        for budget_mib in [48, 64, 100, 200, 400, 4000] {
            let budget = budget_mib << 20;
            let Ok(limits) = WriterLimits::within(budget, column_count) else {
                continue;
            };
            assert!(limits.held_bytes_max(true) <= budget, "{column_count} {limits:?}");
            assert!(limits.held_bytes_max(false) <= limits.held_bytes_max(true), "{limits:?}");
            assert!(limits.part_bytes >= 5 << 20, "{limits:?}");
            assert!(limits.row_groups_times_columns_max >= column_count, "{limits:?}");
        }
    }
    let (small, large) = (WriterLimits::within(24 << 20, 16), WriterLimits::within(400 << 20, 16));
    let (small, large) = (small.unwrap(), large.unwrap());
    assert!(small.row_group_bytes_max < large.row_group_bytes_max);
    assert!(small.page_bytes_max < large.page_bytes_max);
    assert!(small.open_partitions_max < large.open_partitions_max);
    assert_eq!(large.row_group_bytes_max, 16 << 20);
    let error = WriterLimits::within(10 << 20, 16).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OverBudget);
    WriterLimits::within(200 << 20, 5000).unwrap();
}
