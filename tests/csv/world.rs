//! A store in memory with objects and a table, and what can be read of it.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use lakefeed::clock::{Entropy, SystemClock};
use lakefeed::config::{ColumnType, Feed, Settings};
use lakefeed::environment::Environment;
use lakefeed::error::Result;
use lakefeed::ingest::ingest;
use lakefeed::memory::MemoryBudget;
use lakefeed::receipt::Receipt;
use lakefeed::source::Announcement;
use lakefeed::store::Stores;
use lakefeed::table;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Map, Value, json};

const BUDGET_BYTES: u64 = 1 << 30;
const ROWS_MAX: usize = 100_000;
const FEED: &str =
    "[[feed]]\nname = \"case\"\nsource = \"memory:///in/\"\ntable = \"memory:///t\"\n";

pub struct World {
    store: Arc<InMemory>,
    environment: Environment,
    feed: Feed,
}

impl World {
    /// An empty store and a feed, of which `feed` says in TOML what is not usual.
    pub fn new(feed: &str) -> Result<Self> {
        Self::with_budget(feed, BUDGET_BYTES)
    }

    /// The same, with so much memory.
    pub fn with_budget(feed: &str, bytes: u64) -> Result<Self> {
        let store = Arc::new(InMemory::new());
        let stores = Stores::new(PathBuf::from("/"));
        stores.overlay("memory", store.clone());
        let environment = Environment {
            clock: Arc::new(SystemClock::default()),
            entropy: Arc::new(Entropy::from_seed(6)),
            stores: Arc::new(stores),
            process: "test".to_owned(),
            time_box: None,
            budget: MemoryBudget::for_process(bytes)?,
            ledger: lakefeed::ledger::Limits::default(),
        };
        let source_file = match feed.contains("source_file_column") {
            true => "",
            false => "source_file_column = false\n",
        };
        let settings = Settings::parse(&format!("{FEED}{source_file}{feed}"))?;
        let feed = settings.feed("case")?.clone();
        Ok(Self { store, environment, feed })
    }

    /// Puts the objects and ingests them, in one batch.
    pub async fn ingest(&self, objects: &[(String, Vec<u8>)]) -> Result<Vec<Receipt>> {
        let mut announced = Vec::new();
        for (name, bytes) in objects {
            let path = Path::from(format!("in/{name}"));
            self.store.put(&path, bytes.clone().into()).await.unwrap();
            announced.push(Announcement {
                location: self.environment.stores.resolve(&format!("memory:///in/{name}"))?,
                relative: name.clone(),
                named: false,
                listed_identity: None,
                size_hint: None,
                deliveries: 1,
                unaddressable: None,
            });
        }
        let mut receipts = ingest(&self.environment, &self.feed, announced, &()).await?;
        receipts.sort_by(|a, b| a.source.cmp(&b.source));
        Ok(receipts)
    }

    /// What is in the table, and what the receipts say.
    pub async fn outcome(&self, receipts: &[Receipt]) -> Value {
        let mut outcome = Map::new();
        let several = receipts.len() > 1;
        let mut bad = Vec::new();
        for receipt in receipts {
            let source = receipt.source.rsplit('/').next().unwrap_or_default();
            for reject in &receipt.rejects {
                let mut reject = serde_json::to_value(reject).unwrap();
                if several {
                    reject["source"] = json!(source);
                }
                bad.push(reject);
            }
            if let Some(error) = &receipt.error {
                let mut error = serde_json::to_value(error).unwrap();
                error["source"] = json!(source);
                outcome.entry("error").or_insert(error);
            }
        }
        outcome.insert("bad".to_owned(), json!(bad));
        outcome.insert("dialect".to_owned(), json!(receipts[0].dialect));
        outcome.insert("quarantined".to_owned(), json!(self.quarantined(receipts).await));
        outcome.insert(
            "status".to_owned(),
            json!(receipts.iter().map(|r| r.status).collect::<Vec<_>>()),
        );
        self.read_table(&mut outcome, several).await;
        Value::Object(outcome)
    }

    async fn read_table(&self, outcome: &mut Map<String, Value>, sorted: bool) {
        let table = table::open(&self.environment, &self.feed).unwrap();
        let Some(snapshot) = table.load(&self.feed.ledger).await.unwrap() else { return };
        let columns: Vec<String> = snapshot
            .layout
            .schema
            .fields()
            .iter()
            .map(|field| format!("{} {}", field.name(), ColumnType::name_of(field.data_type())))
            .collect();
        let batches = table.some_rows(&snapshot, ROWS_MAX).await.unwrap();
        let mut rows: Vec<Vec<Option<String>>> = batches.iter().flat_map(rows_of).collect();
        if sorted {
            rows.sort();
        }
        outcome.insert("columns".to_owned(), json!(columns));
        outcome.insert("header_names".to_owned(), json!(self.header_names().await));
        outcome.insert("rows".to_owned(), json!(rows));
    }

    /// For each column of the new table, the name that its metadata keeps of the header, if any.
    async fn header_names(&self) -> Vec<Value> {
        let log = Path::from("t/_delta_log/00000000000000000000.json");
        let bytes = self.store.get(&log).await.unwrap().bytes().await.unwrap();
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let mut actions = lines.map(|line| serde_json::from_slice::<Value>(line).unwrap());
        let metadata = actions.find_map(|mut action| action.get_mut("metaData").map(Value::take));
        let schema = metadata.unwrap()["schemaString"].as_str().unwrap().to_owned();
        let schema: Value = serde_json::from_str(&schema).unwrap();
        let fields = schema["fields"].as_array().unwrap().iter();
        fields.map(|field| field["metadata"]["lakefeed.headerName"].clone()).collect()
    }

    /// The rows in the quarantine files that the receipts name: line, byte, kind, and the bytes as text.
    async fn quarantined(&self, receipts: &[Receipt]) -> Vec<Vec<Option<String>>> {
        let mut files: Vec<&String> =
            receipts.iter().filter_map(|r| r.quarantine.as_ref()).collect();
        files.dedup();
        let mut rows = Vec::new();
        for file in files {
            let location = self.environment.stores.resolve(file).unwrap();
            let bytes = location.store.get(&location.path).await.unwrap().bytes().await.unwrap();
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
            for batch in reader {
                let wanted = ["line", "byte", "kind", "raw"];
                let batch = batch.unwrap();
                let indices: Vec<usize> =
                    wanted.iter().map(|name| batch.schema().index_of(name).unwrap()).collect();
                rows.extend(rows_of(&batch.project(&indices).unwrap()));
            }
        }
        rows
    }
}

/// Each row's values as text; bytes that are text as such, and others in hexadecimal.
pub fn rows_of(batch: &RecordBatch) -> Vec<Vec<Option<String>>> {
    let options = FormatOptions::default();
    let formatters: Vec<ArrayFormatter<'_>> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options).unwrap())
        .collect();
    let value = |row: usize, column: usize| -> Option<String> {
        let array = batch.column(column);
        if array.is_null(row) {
            return None;
        }
        let bytes = array.as_any().downcast_ref::<arrow::array::BinaryArray>();
        match bytes.map(|bytes| std::str::from_utf8(bytes.value(row))) {
            Some(Ok(text)) => Some(text.to_owned()),
            _ => Some(formatters[column].value(row).to_string()),
        }
    };
    (0..batch.num_rows())
        .map(|row| (0..batch.num_columns()).map(|column| value(row, column)).collect())
        .collect()
}
