//! What a look-up and a commit cost a ledger of so many entries.
//!
//!     cargo bench --bench ledger              1,000,000 entries
//!     cargo bench --bench ledger -- 10000000  ten million: some minutes, and a gigabyte of disk
//!     cargo bench --bench ledger -- 10000000 FOLDER
//!
//! With a folder, the ledger is kept there, and made only if it is not there: what the second run
//! says of memory is that of look-ups and commits alone.
//!
//! The ledger is made as feeds make it, commit by commit, in a folder; requests and bytes are counted
//! on the way to it. Every figure is of one look-up or commit.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::DateTime;
use futures::stream::BoxStream;
use lakefeed::clock::{Entropy, SystemClock};
use lakefeed::config::Feed;
use lakefeed::environment::Environment;
use lakefeed::ledger::{self, Entry, EntryState, Ledger, Limits, NextTail};
use lakefeed::memory::{MemoryBudget, display_bytes};
use lakefeed::store::Stores;
use lakefeed::table::{CommitOutcome, Table};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use uuid::Uuid;

const TABLE_ID: &str = "4ffcd4bb-0f52-4d7f-a6d7-4a1d5ab5ca26";
const OBJECTS_PER_COMMIT: usize = 10_000;
const LOOKED_UP: u64 = 1_000;
/// One object in so many has a random name; the others are numbered as time goes on.
const RANDOM_NAMES_ONE_IN: u64 = 2;

/// A folder, and how much was asked of it.
#[derive(Debug)]
struct Counted {
    inner: LocalFileSystem,
    reads: AtomicU64,
    bytes_read: AtomicU64,
    writes: AtomicU64,
    bytes_written: AtomicU64,
}

impl std::fmt::Display for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Counted {
    async fn put_opts(&self, path: &Path, body: PutPayload, o: PutOptions) -> Result<PutResult> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.bytes_written.fetch_add(body.content_length() as u64, Ordering::Relaxed);
        self.inner.put_opts(path, body, o).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let result = self.inner.get_opts(path, options).await?;
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.bytes_read.fetch_add(result.range.end - result.range.start, Ordering::Relaxed);
        Ok(result)
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

struct Bench {
    environment: Environment,
    store: Arc<Counted>,
    table: Box<dyn Table>,
    ledger: Ledger,
}

impl Bench {
    async fn new(folder: &std::path::Path) -> Self {
        let store = Arc::new(Counted {
            inner: LocalFileSystem::new_with_prefix(folder).unwrap(),
            reads: AtomicU64::default(),
            bytes_read: AtomicU64::default(),
            writes: AtomicU64::default(),
            bytes_written: AtomicU64::default(),
        });
        let stores = Stores::new(PathBuf::from("/"));
        stores.overlay("memory", Arc::clone(&store) as Arc<dyn ObjectStore>);
        let environment = Environment {
            clock: Arc::new(SystemClock::default()),
            entropy: Arc::new(Entropy::from_seed(1)),
            stores: Arc::new(stores),
            process: "bench".to_owned(),
            time_box: None,
            budget: MemoryBudget::for_process(1 << 30).unwrap(),
            ledger: Limits::default(),
        };
        let feed = Feed { table: "memory:///t".to_owned(), ..Feed::default() };
        let table = lakefeed::table::open(&environment, &feed).unwrap();
        let ledger = Ledger::unadopted("default", TABLE_ID);
        Self { environment, store, table, ledger }
    }

    /// Opens the newest tail that is there; whether there is one.
    async fn open(&mut self) -> bool {
        let folder = self.table.ledger_root().join(TABLE_ID).join("default");
        let files = self.store.list_with_delimiter(Some(&folder)).await.unwrap().objects;
        let pointer = |file: ObjectMeta| file.location.filename()?.split('.').next()?.parse().ok();
        let newest = files.into_iter().filter_map(pointer).max();
        if newest.is_some() {
            let load = Ledger::load(self.table.as_ref(), TABLE_ID, "default", newest);
            self.ledger = load.await.unwrap();
        }
        newest.is_some()
    }

    async fn make(&mut self, entries: u64) {
        let pointer = ledger::first_pointer(&self.environment.entropy);
        let first = self.ledger.write_first_tail(self.table.as_ref(), pointer).await.unwrap();
        self.move_to(first).await;
        let before = Before::of(self);
        for begin in (0..entries).step_by(OBJECTS_PER_COMMIT) {
            self.enter((begin..entries.min(begin + OBJECTS_PER_COMMIT as u64)).map(name)).await;
            if self.ledger.is_merge_due(&self.environment) {
                self.merge().await;
            }
        }
        let peak = format!("peak {}", self.peak());
        self.tell(&format!("made, of {entries} entries"), &before, &peak);
    }

    async fn move_to(&mut self, next: NextTail) {
        let table = self.table.as_ref();
        let pointer = next.pointer;
        let retired = next.settle(table, CommitOutcome::Committed(0)).await;
        ledger::delete_all(table, retired).await;
        self.ledger = Ledger::load(table, TABLE_ID, "default", Some(pointer)).await.unwrap();
    }

    async fn enter(&mut self, names: impl Iterator<Item = String>) {
        let sequence = self.ledger.sequence() + 1;
        let append = self.environment.entropy.uuid();
        let entry = |name| Entry {
            name,
            sequence,
            identity: format!("etag:{}:104857", self.environment.entropy.uuid().simple()),
            size_bytes: 104_857,
            content: Entry::render_content(self.environment.entropy.bits(63)),
            append,
            version: sequence,
            rows: 1_000,
            rows_rejected: 0,
            at: DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
            state: EntryState::In,
            quarantine: None,
        };
        let entries: Vec<Entry> = names.map(entry).collect();
        let table = self.table.as_ref();
        let next = self.ledger.write_next_tail(&self.environment, table, entries).await.unwrap();
        self.move_to(next).await;
    }

    async fn merge(&mut self) {
        let table = self.table.as_ref();
        while let Some(inputs) = self.ledger.runs_to_merge(&self.environment) {
            let merged = self.ledger.merge(&self.environment, table, inputs).await.unwrap();
            let next = self.ledger.write_merged_tail(&self.environment, table, &merged).await;
            let pointer = next.unwrap().unwrap().pointer;
            self.ledger = Ledger::load(table, TABLE_ID, "default", Some(pointer)).await.unwrap();
        }
    }

    /// Prints what was asked of the store, and of the processor, since `before`.
    fn tell(&self, what: &str, before: &Before, detail: &str) {
        let now = Before::of(self);
        println!(
            "{what:<44} {:>4} reads {:>10}  {:>3} writes {:>10}  {:>7.1} ms CPU  {detail}",
            now.reads - before.reads,
            display_bytes(now.bytes_read - before.bytes_read),
            now.writes - before.writes,
            display_bytes(now.bytes_written - before.bytes_written),
            (now.cpu - before.cpu).as_secs_f64() * 1e3,
        );
    }

    async fn look_up(&self, what: &str, names: impl Iterator<Item = String>) {
        let names: Vec<String> = names.collect();
        let before = Before::of(self);
        let asked = names.iter().map(String::as_str);
        let found = self.ledger.find(self.table.as_ref(), asked).await.unwrap();
        self.tell(what, &before, &format!("{} found", found.entries().count()));
    }

    fn peak(&self) -> String {
        display_bytes(self.environment.clock.usage().peak_rss_bytes)
    }
}

struct Before {
    reads: u64,
    bytes_read: u64,
    writes: u64,
    bytes_written: u64,
    cpu: Duration,
}

impl Before {
    fn of(bench: &Bench) -> Self {
        let Counted { reads, bytes_read, writes, bytes_written, .. } = bench.store.as_ref();
        let [reads, bytes_read, writes, bytes_written] =
            [reads, bytes_read, writes, bytes_written].map(|count| count.load(Ordering::Relaxed));
        let cpu = bench.environment.clock.usage().cpu;
        Self { reads, bytes_read, writes, bytes_written, cpu }
    }
}

fn name(number: u64) -> String {
    if number.is_multiple_of(RANDOM_NAMES_ONE_IN) {
        // The same number has the same name.
        let bits = xxhash_rust::xxh3::xxh3_128(&number.to_le_bytes());
        return format!("s3://landing/uploads/{}.csv", Uuid::from_u128(bits));
    }
    let (day, minute) = (number / 28_800, number / 20 % 1440);
    format!("s3://landing/orders/day={day:05}/{minute:04}/part-{number:010}.csv")
}

fn main() {
    lakefeed::environment::runtime().unwrap().block_on(run());
}

async fn run() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let entries = arguments.next().map_or(1_000_000, |text| text.parse().unwrap());
    let scratch = tempfile::tempdir().unwrap();
    let folder = arguments.next().map_or(scratch.path().to_owned(), PathBuf::from);
    std::fs::create_dir_all(&folder).unwrap();
    let mut bench = Bench::new(&folder).await;
    if !bench.open().await {
        bench.make(entries).await;
    }
    let runs = bench.ledger.runs();
    let bytes = runs.iter().map(|run| run.bytes).sum();
    println!("{} runs, {}", runs.len(), display_bytes(bytes));

    let new = || entries + 1..;
    let some = |numbers: &mut dyn Iterator<Item = u64>| {
        numbers.take(LOOKED_UP as usize).map(name).collect::<Vec<_>>().into_iter()
    };
    let is_random = |number: &u64| number.is_multiple_of(RANDOM_NAMES_ONE_IN);
    let in_time = |number: &u64| !is_random(number);
    let step = (entries / LOOKED_UP).max(1) | 1;
    let scattered = || (0..entries).step_by(step as usize);
    bench.look_up("1,000 new, named by time", some(&mut new().filter(in_time))).await;
    bench.look_up("1,000 new, random names", some(&mut new().filter(is_random))).await;
    bench.look_up("1,000 taken, side by side", some(&mut (entries / 2..).filter(in_time))).await;
    bench.look_up("1,000 taken, anywhere", some(&mut scattered())).await;
    println!("peak {}", bench.peak());

    for (what, objects) in [("a commit of one object", 1), ("a commit of 1,000 objects", 1_000)] {
        let mut figures = Vec::new();
        for number in 0..300_u64 / objects.min(10) {
            let before = Before::of(&bench);
            let begin = entries * 2 + number * 2_000;
            bench.enter((begin..begin + objects).map(name)).await;
            let now = Before::of(&bench);
            figures.push((now.bytes_written - before.bytes_written, now.writes - before.writes));
        }
        figures.sort_unstable();
        let (bytes, writes) = figures[figures.len() / 2];
        println!("{what}: {} in {writes} writes, in the median", display_bytes(bytes));
    }
}
