//! One world: a table, objects, and everybody who works on them, all from one seed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::future::{LocalBoxFuture, join_all};
use lakefeed::clock::{Clock, Entropy, Usage};
use lakefeed::config::{Feed, OnChanged};
use lakefeed::environment::Environment;
use lakefeed::fault::{
    Call, Fault, FaultRates, Faults, FaultyStore, Operation, SeededFaults, Treatment, Written,
};
use lakefeed::ingest::ingest_into;
use lakefeed::memory::MemoryBudget;
use lakefeed::receipt::{Observer, Receipt};
use lakefeed::repair;
use lakefeed::source::Announcement;
use lakefeed::store::Stores;
use lakefeed::table::delta::DeltaTable;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::kernel;
use crate::log::{self, TABLE, Truth};
use crate::rivals;

const MEMORY_BYTES: u64 = 512 << 20;
/// Longer than anything is late, lags or freezes.
const SETTLED: Duration = Duration::from_secs(24 * 3600);
/// A world that has not come to its end by then never will.
const END_OF_TIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// What is on stage, drawn from the seed.
#[derive(Debug, Clone)]
pub struct Script {
    pub objects: usize,
    /// How many rows each object has, whatever its content.
    pub rows: Vec<usize>,
    /// The object, if any, whose every second content is no good.
    pub bad_object: Option<usize>,
    pub ingesters: usize,
    pub runs: usize,
    pub on_changed: OnChanged,
    pub rewrites: usize,
    pub foreign_commits: usize,
    pub cleanings: usize,
    /// How often a person makes the ledger forget everything.
    pub resets: usize,
    pub table_is_there: bool,
    /// Small objects share data files, unless none is small.
    pub stage_bytes_max: u64,
    pub kill_rate: f64,
    pub faults: FaultRates,
    /// Whether only the commits themselves go wrong, and often.
    pub only_commits_fail: bool,
    /// Over what time everything happens.
    pub span: Duration,
}

impl Script {
    fn draw(rng: &mut StdRng) -> Self {
        let only_commits_fail = rng.random_bool(0.4);
        let objects = rng.random_range(1..=4);
        Self {
            objects,
            rows: (0..objects).map(|_| rng.random_range(0..=3)).collect(),
            bad_object: rng.random_bool(0.15).then(|| rng.random_range(0..objects)),
            ingesters: rng.random_range(2..=4),
            runs: rng.random_range(1..=3),
            on_changed: [OnChanged::Append, OnChanged::Append, OnChanged::Skip, OnChanged::Fail]
                [rng.random_range(0..4)],
            rewrites: rng.random_range(0..=4),
            foreign_commits: [0, 0, 2, 4][rng.random_range(0..4)],
            cleanings: [0, 0, 1, 3][rng.random_range(0..4)],
            resets: 0,
            table_is_there: rng.random_bool(0.3),
            stage_bytes_max: if rng.random_bool(0.3) { 1 } else { 1 << 20 },
            kill_rate: [0.0, 0.2, 0.5][rng.random_range(0..3)],
            faults: draw_faults(rng, only_commits_fail),
            only_commits_fail,
            span: Duration::from_millis([200, 1_000, 5_000][rng.random_range(0..3)]),
        }
    }
}

fn draw_faults(rng: &mut StdRng, only_commits_fail: bool) -> FaultRates {
    let intensity = if only_commits_fail {
        [0.3, 0.6][rng.random_range(0..2)]
    } else {
        [0.0, 0.01, 0.03, 0.1][rng.random_range(0..4)]
    };
    let mut rate = |share: f64| if rng.random_bool(0.5) { intensity * share } else { 0.0 };
    FaultRates {
        lose_answer: rate(0.5),
        lose_request: rate(0.5),
        deliver_late: rate(0.5),
        refuse: rate(0.3),
        conflict: rate(0.3),
        done_then_conflict: rate(0.5),
        done_then_refuse: rate(0.3),
        lag: rate(1.0),
        freeze: rate(0.5),
        way_max: Duration::from_millis([2, 10, 40][rng.random_range(0..3)]),
        late_max: Duration::from_millis([100, 1_000, 60_000][rng.random_range(0..3)]),
    }
}

/// A world and what is known of it.
pub struct World {
    pub script: Script,
    pub truth: Truth,
    clock: Arc<SimulatedClock>,
    written: Arc<Written>,
    pub journal: Arc<Mutex<Journal>>,
}

/// What was done and said.
#[derive(Default)]
pub struct Journal {
    pub trace: Vec<String>,
    /// Every receipt, by the run that gave it.
    pub receipts: Vec<(String, Receipt)>,
    /// The appends that a run tried to commit.
    pub offered: HashMap<String, BTreeSet<String>>,
    /// Which content an object had, by its address and entity tag.
    pub contents: BTreeMap<(String, String), Content>,
}

/// One content of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    pub object: usize,
    pub version: usize,
    pub rows: usize,
    pub is_bad: bool,
}

impl Content {
    fn body(&self) -> String {
        let Self { object, version, rows, is_bad } = self;
        let mut body = "object,version,row\n".to_owned();
        for row in 0..*rows {
            let _ = writeln!(body, "{},{version},{row}", name(*object));
        }
        if *is_bad {
            body.push_str("one,field,too,many\n");
        }
        body
    }
}

/// What rows say that they are of.
pub fn name(object: usize) -> String {
    format!("k{object}")
}

/// Where an object is.
pub fn uri(object: usize) -> String {
    format!("memory:///in/{}.csv", name(object))
}

impl World {
    /// Lets the world of `seed` take its course, to its end.
    pub fn play(seed: u64) -> Self {
        Self::play_with_resets(seed, 0)
    }

    /// The same world, in which the ledger is reset so often.
    pub fn play_with_resets(seed: u64, resets: usize) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let script = Script { resets, ..Script::draw(&mut rng) };
        Self::perform(script, rng)
    }

    fn perform(script: Script, rng: StdRng) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let world = Self {
                script,
                truth: Truth(Arc::new(InMemory::new())),
                clock: Arc::new(SimulatedClock::start()),
                written: Arc::default(),
                journal: Arc::default(),
            };
            let ended = tokio::time::timeout(END_OF_TIME, world.run(rng)).await;
            assert!(ended.is_ok(), "the world stands still");
            world
        })
    }

    pub fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, actor: &str, what: &str) {
        let line = format!("{:>9} {actor:<12} {what}", self.clock.monotonic().as_millis());
        self.journal().trace.push(without_table_ids(&line));
    }

    async fn run(&self, mut rng: StdRng) {
        if self.script.table_is_there {
            rivals::create_table(&self.truth);
        }
        for object in 0..self.script.objects {
            self.produce(object, 0);
        }
        let mut another = || StdRng::seed_from_u64(rng.random());
        let mut actors: Vec<LocalBoxFuture<'_, ()>> = vec![
            Box::pin(self.producer(another())),
            Box::pin(self.foreigner(another())),
            Box::pin(self.cleaner(another())),
            Box::pin(self.resetter(another())),
        ];
        for ingester in 0..self.script.ingesters {
            actors.push(Box::pin(self.ingester(ingester, another())));
        }
        join_all(actors).await;
        self.clock.sleep(SETTLED).await;
        self.note("world", "is settled; everything is ingested once more, without faults");
        let everything: Vec<usize> = (0..self.script.objects).collect();
        self.ingest("last", &everything, FaultRates::NONE, rng.random()).await;
    }

    /// Waits for a share of the world's span.
    async fn pause(&self, rng: &mut StdRng, times: usize) {
        let share = self.script.span.mul_f64(2.0 / times as f64);
        self.clock.sleep(share.mul_f64(rng.random())).await;
    }

    fn produce(&self, object: usize, version: usize) {
        let is_bad = self.script.bad_object == Some(object) && version % 2 == 1;
        let content = Content { object, version, rows: self.script.rows[object], is_bad };
        let tag = self.truth.put(&format!("in/{}.csv", name(object)), content.body());
        self.note("producer", &format!("writes {} version {version} as {tag}", name(object)));
        self.journal().contents.insert((uri(object), tag), content);
    }

    /// Writes objects again: with new content, or as they once were.
    async fn producer(&self, mut rng: StdRng) {
        let mut newest = vec![0; self.script.objects];
        for _ in 0..self.script.rewrites {
            self.pause(&mut rng, self.script.rewrites).await;
            let object = rng.random_range(0..newest.len());
            let version = if rng.random_bool(0.6) {
                newest[object] += 1;
                newest[object]
            } else {
                rng.random_range(0..=newest[object])
            };
            self.produce(object, version);
        }
    }

    async fn foreigner(&self, mut rng: StdRng) {
        for _ in 0..self.script.foreign_commits {
            self.pause(&mut rng, self.script.foreign_commits).await;
            let what = rivals::write(&self.truth, &mut rng);
            self.note("foreigner", what);
        }
    }

    async fn cleaner(&self, mut rng: StdRng) {
        for _ in 0..self.script.cleanings {
            self.pause(&mut rng, self.script.cleanings).await;
            let pace_max = self.script.faults.way_max;
            let what = rivals::clean(&self.truth, &mut rng, pace_max).await;
            self.note("cleaner", &what);
        }
    }

    async fn ingester(&self, number: usize, mut rng: StdRng) {
        for run in 0..self.script.runs {
            self.pause(&mut rng, self.script.runs).await;
            let mut announced: Vec<usize> =
                (0..self.script.objects).filter(|_| rng.random_bool(0.7)).collect();
            let again: Vec<usize> =
                announced.iter().copied().filter(|_| rng.random_bool(0.2)).collect();
            announced.extend(again);
            announced.shuffle(&mut rng);
            let actor = format!("{number}.{run}");
            let ingest = self.ingest(&actor, &announced, self.script.faults, rng.random());
            if rng.random_bool(self.script.kill_rate) {
                let life = self.script.span.mul_f64(rng.random());
                if tokio::time::timeout(life, ingest).await.is_err() {
                    self.note(&actor, "is killed");
                }
            } else {
                ingest.await;
            }
        }
    }

    async fn resetter(&self, mut rng: StdRng) {
        for reset in 0..self.script.resets {
            self.pause(&mut rng, self.script.resets).await;
            let actor = format!("reset {reset}");
            let process = self.process(&actor, self.script.faults, rng.random());
            let (environment, table) = (&process.environment, &process.table);
            let done = repair::reset(environment, table, &process.feed.ledger).await;
            self.note(&actor, if done.is_ok() { "is done" } else { "fails" });
        }
    }

    /// One process that ingests, and ends.
    async fn ingest(&self, actor: &str, objects: &[usize], rates: FaultRates, seed: u64) {
        let process = self.process(actor, rates, seed);
        let announcement = |&object: &usize| Announcement {
            location: process.environment.stores.resolve(&uri(object)).unwrap(),
            relative: name(object),
            named: false,
            size_hint: None,
            unaddressable: None,
        };
        let announcements = objects.iter().map(announcement).collect();
        let listener = Listener { world: self, actor };
        let Process { environment, feed, table } = &process;
        let told = ingest_into(environment, feed, table, announcements, &listener).await;
        assert!(told.is_ok(), "{told:?}");
    }

    /// A process that has just started, and knows nothing.
    fn process(&self, actor: &str, rates: FaultRates, seed: u64) -> Process {
        let witness = Witness {
            actor: actor.to_owned(),
            clock: Arc::clone(&self.clock),
            journal: Arc::clone(&self.journal),
            faults: SeededFaults::new(seed, rates),
            only_commits_fail: self.script.only_commits_fail,
        };
        let store: Arc<dyn ObjectStore> = Arc::new(FaultyStore::new(
            self.truth.0.clone(),
            Arc::new(witness),
            self.clock.clone(),
            Arc::clone(&self.written),
        ));
        let stores = Stores::new(PathBuf::from("/"));
        stores.overlay("memory", Arc::clone(&store));
        let environment = Environment {
            clock: self.clock.clone(),
            entropy: Arc::new(Entropy::from_seed(seed)),
            stores: Arc::new(stores),
            process: actor.to_owned(),
            budget: MemoryBudget::for_process(MEMORY_BYTES).unwrap(),
        };
        let feed = Feed {
            table: format!("memory:///{TABLE}"),
            on_changed: self.script.on_changed,
            stage_bytes_max: self.script.stage_bytes_max,
            ..Feed::default()
        };
        let location = environment.stores.resolve(&feed.table).unwrap();
        let kernel = kernel::in_turns(&store);
        let table = DeltaTable::with_kernel(&environment, &location, kernel).unwrap();
        Process { environment, feed, table }
    }
}

/// What a process holds, and loses when it is killed.
struct Process {
    environment: Environment,
    feed: Feed,
    table: DeltaTable,
}

/// Hears what an ingester says, as it says it: a receipt holds, whatever comes after.
struct Listener<'a> {
    world: &'a World,
    actor: &'a str,
}

impl Observer for Listener<'_> {
    fn started(&self, _: usize, _: u64) {}
    fn progressed(&self, _: u64) {}
    fn finished(&self, receipt: &Receipt) {
        let Receipt { source, status, reason, version, error, .. } = receipt;
        let error = error.as_ref().map(|error| (error.kind, &error.message));
        let what = format!("says {source}: {status:?} {reason:?} {version:?} {error:?}");
        self.world.note(self.actor, &what);
        self.world.journal().receipts.push((self.actor.to_owned(), receipt.clone()));
    }
}

/// Decides about the requests of one ingester, and writes them down.
struct Witness {
    actor: String,
    clock: Arc<SimulatedClock>,
    journal: Arc<Mutex<Journal>>,
    faults: SeededFaults,
    only_commits_fail: bool,
}

impl Faults for Witness {
    fn treat(&self, call: &Call<'_>) -> Treatment {
        let mut treatment = self.faults.treat(call);
        let is_commit =
            call.operation == Operation::Create && call.path.as_ref().ends_with(".json");
        if self.only_commits_fail && !is_commit {
            treatment.fault = Fault::None;
        }
        let Treatment { before, fault, after } = treatment;
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        journal.trace.push(format!(
            "{:>9} {:<12} {:?} {} {fault:?} {}+{} ms",
            self.clock.monotonic().as_millis(),
            self.actor,
            call.operation,
            without_table_ids(call.path.as_ref()),
            before.as_millis(),
            after.as_millis(),
        ));
        if let Some(payload) = call.payload.filter(|_| is_commit) {
            let body: Vec<u8> = payload.iter().flatten().copied().collect();
            let lines = body.split(|&byte| byte == b'\n');
            let actions: Vec<_> = lines.filter_map(|l| serde_json::from_slice(l).ok()).collect();
            let offered = journal.offered.entry(self.actor.clone()).or_default();
            offered.extend(log::append_id(&actions));
        }
        treatment
    }
}

/// A table that the kernel creates has an identifier that no seed decides.
fn without_table_ids(text: &str) -> String {
    let mut parts = text.split("_lakefeed/");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let after_id = part.split_once('/').map_or("", |(_, rest)| rest);
        text + "_lakefeed/*/" + after_id
    })
}

/// Time that passes only while everybody waits.
pub struct SimulatedClock(tokio::time::Instant);

impl SimulatedClock {
    #[allow(clippy::disallowed_methods)] // Of a runtime whose clock is paused.
    fn start() -> Self {
        Self(tokio::time::Instant::now())
    }
}

#[async_trait]
impl Clock for SimulatedClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + self.monotonic()
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    #[allow(clippy::disallowed_methods)]
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}
