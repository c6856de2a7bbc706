//! Objects and a table that drift apart, from end to end on a table in memory.
#![cfg(feature = "delta")]

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::util::display::array_value_to_string;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;

use crate::clock::{Entropy, SystemClock};
use crate::config::{ColumnType, DriftOptions, Feed, Mode, NewColumns, OnChanged};
use crate::environment::Environment;
use crate::error::ErrorKind;
use crate::ingest::ingest;
use crate::memory::MemoryBudget;
use crate::receipt::{Receipt, Status};
use crate::source::Announcement;
use crate::store::Stores;
use crate::table;

struct Lake {
    environment: Environment,
    store: Arc<InMemory>,
    feed: Feed,
}

impl Lake {
    fn new(new_columns: NewColumns) -> Self {
        let store = Arc::new(InMemory::new());
        let stores = Stores::new(PathBuf::from("/"));
        stores.overlay("memory", store.clone());
        let environment = Environment {
            clock: Arc::new(SystemClock::default()),
            entropy: Arc::new(Entropy::from_system()),
            stores: Arc::new(stores),
            process: "test".to_owned(),
            time_box: None,
            budget: MemoryBudget::for_process(1 << 30).unwrap(),
            ledger: crate::ledger::Limits::default(),
        };
        let drift = DriftOptions { new_columns, ..DriftOptions::default() };
        let feed = Feed { table: "memory:///t".to_owned(), drift, ..Feed::default() };
        Self { environment, store, feed }
    }

    /// Puts the objects, and takes them in one run.
    async fn take(&self, objects: &[(&str, &str)]) -> Vec<Receipt> {
        self.take_as(&self.feed, objects).await
    }

    async fn take_as(&self, feed: &Feed, objects: &[(&str, &str)]) -> Vec<Receipt> {
        let mut announced = Vec::new();
        for (name, body) in objects {
            let path = Path::from(format!("in/{name}.csv"));
            self.store.put(&path, (*body).to_owned().into()).await.unwrap();
            announced.push(Announcement {
                location: self
                    .environment
                    .stores
                    .resolve(&format!("memory:///in/{name}.csv"))
                    .unwrap(),
                relative: (*name).to_owned(),
                named: false,
                listed_identity: None,
                size_hint: None,
                deliveries: 1,
                unaddressable: None,
            });
        }
        let mut receipts = ingest(&self.environment, feed, announced, &()).await.unwrap();
        receipts.sort_by(|one, other| one.source.cmp(&other.source));
        receipts
    }

    /// The table's version, its columns but for the sources' names, and its rows in their order.
    async fn table(&self) -> (u64, String, Vec<String>) {
        let table = table::open(&self.environment, &self.feed).unwrap();
        let snapshot = table.load("default").await.unwrap().unwrap();
        let batches = table.some_rows(&snapshot, usize::MAX).await.unwrap();
        let schema = &snapshot.layout.schema;
        let wanted: Vec<usize> = (0..schema.fields().len())
            .filter(|&i| schema.field(i).name() != "_source_file")
            .collect();
        let names = wanted.iter().map(|&column| schema.field(column).name().as_str());
        let columns = names.collect::<Vec<_>>().join(",");
        let mut rows: Vec<String> = batches
            .iter()
            .map(|batch| batch.project(&wanted).unwrap())
            .flat_map(|batch| {
                (0..batch.num_rows()).map(|row| text_of(&batch, row)).collect::<Vec<_>>()
            })
            .collect();
        rows.sort();
        (snapshot.version, columns, rows)
    }
}

fn text_of(batch: &RecordBatch, row: usize) -> String {
    let value = |column: &Arc<dyn Array>| match column.is_null(row) {
        true => String::new(),
        false => array_value_to_string(column, row).unwrap(),
    };
    batch.columns().iter().map(value).collect::<Vec<_>>().join(",")
}

#[track_caller]
fn all_are(receipts: &[Receipt], status: Status) {
    for receipt in receipts {
        assert_eq!(receipt.status, status, "{receipt:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_columns_come_with_the_rows_that_have_them() {
    let lake = Lake::new(NewColumns::Add);
    lake.take(&[("a", "id,name\n1,one\n")]).await;
    let (before, ..) = lake.table().await;
    let receipts = lake.take(&[("b", "name,id,price\ntwo,2,0.5\n")]).await;
    all_are(&receipts, Status::Committed);
    assert_eq!(receipts[0].columns_added, ["price"]);
    let (version, columns, rows) = lake.table().await;
    assert_eq!((version, columns.as_str()), (before + 1, "id,name,price"));
    assert_eq!(rows, ["1,one,", "2,two,0.5"]);
    let receipts = lake.take(&[("c", "id,price\n3,1\n")]).await;
    assert!(receipts[0].columns_added.is_empty());
    assert_eq!(lake.table().await.2, ["1,one,", "2,two,0.5", "3,,1.0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_with_different_headers_end_well_in_one_batch() {
    let lake = Lake::new(NewColumns::Add);
    lake.take(&[("a", "id\n1\n")]).await;
    let receipts = lake
        .take(&[
            ("b", "id\n2\n"),
            ("c", "id,x\n3,30\n"),
            ("d", "id,y\n4,red\n"),
            ("e", "id,X,y\n5,2.5,blue\n"),
            ("f", "other,columns\n6,6\n"),
            ("g", "id,empty\n"),
        ])
        .await;
    all_are(&receipts[..4], Status::Committed);
    assert_eq!(receipts[4].error.as_ref().unwrap().kind, ErrorKind::SchemaMismatch);
    all_are(&receipts[5..], Status::Committed);
    let (version, columns, rows) = lake.table().await;
    // Created, a; then b and g; then those that drift, together.
    assert_eq!((version, columns.as_str()), (3, "id,x,y"));
    assert_eq!(rows, ["1,,", "2,,", "3,30.0,", "4,,red", "5,2.5,blue"]);
    assert_eq!(receipts[1].version, receipts[3].version);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_objects_drift_too() {
    let mut lake = Lake::new(NewColumns::Add);
    lake.feed.stage_bytes_max = 8;
    lake.take(&[("a", "id\n1\n")]).await;
    let receipts = lake.take(&[("b", "id,x\n2,2000000\n"), ("c", "id,x,y\n3,3,3\n")]).await;
    all_are(&receipts, Status::Committed);
    let (version, columns, rows) = lake.table().await;
    // One after the other, and the first has changed the columns for both.
    assert_eq!((version, columns.as_str()), (3, "id,x,y"));
    assert_eq!(rows, ["1,,", "2,2000000,", "3,3,3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_added_holds_nobody_back() {
    let lake = Lake::new(NewColumns::Add);
    lake.take(&[("a", "id\n1\n")]).await;
    let receipts = lake
        .take(&[
            ("b", "id,when\n2,2024-02-29 10:00\n"),
            ("c", "id,x\n3,3\n"),
            ("d", "id,x,y\n4,4,4\n"),
        ])
        .await;
    let error = receipts[0].error.as_ref().unwrap();
    assert_eq!(error.kind, ErrorKind::TableUnsupported);
    assert!(error.message.contains("\"when\" is a time without a zone"), "{error:?}");
    all_are(&receipts[1..], Status::Committed);
    assert_eq!(lake.table().await.2, ["1,,", "3,3,", "4,4,4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_objects_than_the_sample_has_are_all_taken() {
    let lake = Lake::new(NewColumns::Add);
    lake.take(&[("a", "id\n1\n")]).await;
    let objects: Vec<(String, String)> =
        (0..40).map(|i| (format!("o{i:02}"), format!("id,x{i}\n{i},{i}\n"))).collect();
    let objects: Vec<(&str, &str)> =
        objects.iter().map(|(name, body)| (name.as_str(), body.as_str())).collect();
    all_are(&lake.take(&objects).await, Status::Committed);
    let (_, columns, rows) = lake.table().await;
    assert_eq!((columns.split(',').count(), rows.len()), (41, 41));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_table_gets_what_the_sample_did_not_have() {
    let lake = Lake::new(NewColumns::Add);
    let objects: Vec<(String, String)> =
        (0..20).map(|i| (format!("o{i:02}"), format!("id\n{i}\n"))).collect();
    let mut objects: Vec<(&str, &str)> =
        objects.iter().map(|(name, body)| (name.as_str(), body.as_str())).collect();
    objects.push(("z", "id,late\n99,1\n"));
    all_are(&lake.take(&objects).await, Status::Committed);
    let (_, columns, rows) = lake.table().await;
    assert_eq!((columns.as_str(), rows.len()), ("id,late", 21));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_replaced_by_rows_with_more_columns() {
    let mut lake = Lake::new(NewColumns::Add);
    lake.feed.on_changed = OnChanged::Replace;
    lake.take(&[("a", "id\n1\n"), ("b", "id\n2\n")]).await;
    let receipts = lake.take(&[("a", "id,x\n10,7\n")]).await;
    all_are(&receipts, Status::Committed);
    assert_eq!(receipts[0].rows_removed, 1);
    let (_, columns, rows) = lake.table().await;
    assert_eq!((columns.as_str(), rows), ("id,x", vec!["10,7".to_owned(), "2,".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_overwritten_with_more_columns() {
    let lake = Lake::new(NewColumns::Add);
    lake.take(&[("a", "id\n1\n")]).await;
    let feed = Feed { mode: Mode::Overwrite, ..lake.feed.clone() };
    let receipts = lake.take_as(&feed, &[("b", "id\n2\n"), ("c", "id,x\n3,3\n")]).await;
    all_are(&receipts, Status::Committed);
    let (version, columns, rows) = lake.table().await;
    assert_eq!((version, columns.as_str()), (2, "id,x"));
    assert_eq!(rows, ["2,", "3,3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partitioned_table_gets_columns_too() {
    let mut lake = Lake::new(NewColumns::Add);
    lake.feed.partition_by = vec!["day".to_owned()];
    lake.take(&[("a", "day,id\n2024-01-01,1\n")]).await;
    let receipts = lake.take(&[("b", "id,x,day\n2,5,2024-01-02\n")]).await;
    all_are(&receipts, Status::Committed);
    let (_, columns, rows) = lake.table().await;
    assert_eq!(columns, "day,id,x");
    assert_eq!(rows, ["2024-01-01,1,", "2024-01-02,2,5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_gets_a_column_for_what_is_rescued() {
    let mut lake = Lake::new(NewColumns::Fail);
    lake.take(&[("a", "id\n1\n")]).await;
    lake.feed.drift.new_columns = NewColumns::Rescue;
    let receipts = lake.take(&[("b", "colour,id\nred,2\n,3\n"), ("c", "id\n4\n")]).await;
    all_are(&receipts, Status::Committed);
    assert_eq!(receipts[0].columns_added, ["_rescued"]);
    let (version, columns, rows) = lake.table().await;
    assert_eq!((version, columns.as_str()), (2, "id,_rescued"));
    assert_eq!(rows, ["1,", "2,{\"colour\":\"red\"}", "3,", "4,"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_that_add_columns_at_once_both_end_well() {
    for columns in [["x", "x"], ["x", "y"], ["x", "X"]] {
        let lake = Lake::new(NewColumns::Add);
        lake.take(&[("a", "id\n1\n")]).await;
        let bodies = columns.map(|column| format!("id,{column}\n2,2\n"));
        let (one, other) = ([("b", bodies[0].as_str())], [("c", bodies[1].as_str())]);
        let (one, other) = tokio::join!(lake.take(&one), lake.take(&other));
        all_are(&one, Status::Committed);
        all_are(&other, Status::Committed);
        let (version, header, rows) = lake.table().await;
        assert_eq!((version, rows.len()), (3, 3), "{columns:?}");
        let expected = if columns == ["x", "y"] { 3 } else { 2 };
        assert_eq!(header.split(',').count(), expected, "{header}");
        let added = one[0].columns_added.len() + other[0].columns_added.len();
        assert_eq!(added, expected - 1, "{columns:?}");
    }
}

impl Lake {
    /// What another engine does to let the table's columns become wider.
    async fn allow_widening(&self) {
        let (version, ..) = self.table().await;
        let path = |version: u64| Path::from(format!("t/_delta_log/{version:020}.json"));
        let first = self.store.get(&path(0)).await.unwrap().bytes().await.unwrap();
        let first: Vec<serde_json::Value> = first
            .split(|&b| b == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect();
        let of = |kind: &str| first.iter().find_map(|action| action.get(kind)).unwrap().clone();
        let mut metadata = of("metaData");
        metadata["configuration"]["delta.enableTypeWidening"] = "true".into();
        let features = ["typeWidening", "timestampNtz"];
        let protocol = serde_json::json!({
            "minReaderVersion": 3, "minWriterVersion": 7,
            "readerFeatures": features, "writerFeatures": features,
        });
        let actions = [
            serde_json::json!({ "protocol": protocol }),
            serde_json::json!({ "metaData": metadata }),
        ];
        let body = actions.map(|action| format!("{action}\n")).concat();
        self.store.put(&path(version + 1), body.into()).await.unwrap();
    }

    /// A table of narrow columns that may become wider.
    async fn narrow(new_columns: NewColumns) -> Self {
        let mut lake = Self::new(new_columns);
        for (name, kind) in [("id", "int8"), ("count", "int32"), ("size", "float32")] {
            lake.feed.columns.insert(name.to_owned(), kind.parse::<ColumnType>().unwrap().into());
        }
        let first = "id,count,size,day\n1,1,0.5,2024-01-01\n";
        all_are(&lake.take(&[("a", first)]).await, Status::Committed);
        lake.allow_widening().await;
        lake.feed.columns.clear();
        lake
    }

    async fn types(&self) -> Vec<String> {
        let table = table::open(&self.environment, &self.feed).unwrap();
        let snapshot = table.load("default").await.unwrap().unwrap();
        let fields = snapshot.layout.schema.fields().iter();
        fields.map(|field| ColumnType::name_of(field.data_type())).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_become_as_wide_as_their_values() {
    let lake = Lake::narrow(NewColumns::Fail).await;
    let receipts = lake
        .take(&[
            ("b", "id,count,size,day\n300,3000000000,1,2024-01-02 10:00\n"),
            ("c", "id,count,size,day\n70000,2,2,2024-01-03\n"),
            ("d", "id,count,size,day\n5,5,5,2024-01-04\n"),
        ])
        .await;
    all_are(&receipts, Status::Committed);
    assert_eq!(lake.types().await, ["int32", "int64", "float32", "timestamp", "string"]);
    let (version, _, rows) = lake.table().await;
    assert_eq!(version, 4, "those that fit, and then those that do not");
    assert_eq!(
        rows,
        [
            "1,1,0.5,2024-01-01T00:00:00",
            "300,3000000000,1.0,2024-01-02T10:00:00",
            "5,5,5.0,2024-01-04T00:00:00",
            "70000,2,2.0,2024-01-03T00:00:00",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_is_widened_and_another_added_in_one_commit() {
    let mut lake = Lake::narrow(NewColumns::Add).await;
    lake.feed.on_changed = OnChanged::Replace;
    let receipts = lake.take(&[("a", "id,new\n1000,x\n"), ("b", "id\n2\n")]).await;
    all_are(&receipts, Status::Committed);
    assert_eq!(
        (receipts[0].rows_removed, receipts[0].columns_added.as_slice()),
        (1, &["new".to_owned()][..])
    );
    assert_eq!(lake.types().await[0], "int16");
    assert_eq!(lake.table().await.2, ["1000,,,,x", "2,,,,"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_the_feed_gives_a_column_stays() {
    let mut lake = Lake::narrow(NewColumns::Fail).await;
    let int8: ColumnType = "int8".parse().unwrap();
    lake.feed.columns.insert("id".to_owned(), int8.into());
    let receipts = lake.take(&[("b", "id\n300\n")]).await;
    assert_eq!(receipts[0].error.as_ref().unwrap().kind, ErrorKind::SourceInvalid);
    lake.feed.columns.clear();
    lake.feed.drift.widen = false;
    let receipts = lake.take(&[("b", "id\n300\n")]).await;
    assert_eq!(receipts[0].error.as_ref().unwrap().kind, ErrorKind::SourceInvalid);
    assert_eq!(lake.types().await[0], "int8");
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_that_widen_at_once_both_end_well() {
    let lake = Lake::narrow(NewColumns::Fail).await;
    let (one, other) = ([("b", "id\n300\n")], [("c", "id\n70000\n")]);
    let (one, other) = tokio::join!(lake.take(&one), lake.take(&other));
    all_are(&one, Status::Committed);
    all_are(&other, Status::Committed);
    assert_eq!(lake.types().await[0], "int32");
    assert_eq!(lake.table().await.2.len(), 3);
}
