//! One world: a table, objects, and everybody who works on them, all from one seed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{LocalBoxFuture, join_all};
use lakefeed::clock::{Clock, Entropy};
use lakefeed::config::{Dedupe, DriftOptions, Feed, Mode, NewColumns};
use lakefeed::environment::Environment;
use lakefeed::error::Error;
use lakefeed::fault::{FaultRates, FaultyStore, SeededFaults, Written};
use lakefeed::ingest::ingest_into;
use lakefeed::lease::{LeaseStore, ObjectLease};
use lakefeed::memory::MemoryBudget;
use lakefeed::orphans::{self, Swept};
use lakefeed::receipt::{Observer, Receipt};
use lakefeed::repair;
use lakefeed::source::Announcement;
use lakefeed::store::Stores;
use lakefeed::table::delta::{DeltaTable, LogByName};
use lakefeed::undo::{self, Undone};
use object_store::ObjectStore;
use object_store::path::Path;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::crowd;
use crate::kernel;
use crate::log::{Row, TABLE, Truth};
use crate::process::{Freezer, Life, Process, SimulatedClock, Witness, without_table_ids};
use crate::rivals::{self, Deed, Rival};
use crate::script::{Guests, Leases, Orphans, Removals, Script};

/// How often a guest looks whether there is a table.
const PATIENCE: u32 = 100;
/// Makes another generator of the same seed, for the guests.
const GUESTS: u64 = 0x6775_6573_7473;
/// One more, for the leases.
const LEASES: u64 = 0x6c65_6173_6573;
/// And one for those who take rows away.
const REMOVALS: u64 = 0x7265_6d6f_7665;
/// And one for the sweeps of orphans.
const ORPHANS: u64 = 0x6f72_7068_616e;
/// And one for the headers of objects.
const DRIFT: u64 = 0x6472_6966_7473;
/// The record of the table's lease.
const LEASE: &str = "_delta_log/_lakefeed/table.lease";
const MEMORY_BYTES: u64 = 512 << 20;
/// What those are called who take an object again.
pub const REPLAY: &str = "replay";
/// And those who sweep orphans up.
pub const SWEEPS: &str = "orphans";
const LAST_SWEEP: &str = "orphans, last";
/// Longer than anything is late, lags or freezes.
const SETTLED: Duration = Duration::from_secs(24 * 3600);
/// A world that has not come to its end by then never will.
const END_OF_TIME: Duration = Duration::from_secs(30 * 24 * 3600);

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
    /// What was taken back: the object's name, the version that did it, and its rows.
    pub undone: Vec<(String, u64, u64)>,
    /// The objects whose rows another writer appended.
    pub copied: BTreeSet<String>,
    /// The rows that others deleted, as often as they did.
    pub deleted: Vec<Row>,
    /// The files that were swept up, and the table's newest version then.
    pub swept: BTreeMap<String, u64>,
    /// When each process began, and when it ended, if it did.
    pub lives: BTreeMap<String, (Duration, Option<Duration>)>,
}

/// One content of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    pub object: usize,
    pub version: usize,
    pub rows: usize,
    pub is_bad: bool,
    /// The number of the column that it has more than others, if it has one.
    pub more: Option<usize>,
}

impl Content {
    fn body(&self) -> String {
        let Self { object, version, rows, is_bad, more } = self;
        let more = more.map(|number| (format!(",more_{number}"), format!(",{number}")));
        let (more_name, more_value) = more.unwrap_or_default();
        let mut body = format!("object,version,row{more_name}\n");
        for row in 0..*rows {
            let _ = writeln!(body, "{},{version},{row}{more_value}", name(*object));
        }
        if *is_bad {
            body.push_str("some,fields,too,many,here\n");
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

/// Generators of the same seed, for what is on stage beside the script.
fn rngs_beside(seed: u64) -> [StdRng; 4] {
    [GUESTS, LEASES, REMOVALS, ORPHANS].map(|number| StdRng::seed_from_u64(seed ^ number))
}

/// Whether objects of the world of `seed` have columns that the table is to get.
fn drifts(seed: u64) -> bool {
    StdRng::seed_from_u64(seed ^ DRIFT).random_bool(0.4)
}

impl World {
    /// Lets the world of `seed` take its course, to its end.
    pub fn play(seed: u64) -> Self {
        Self::play_with_resets(seed, 0)
    }

    /// The same world, in which the ledger is reset so often.
    pub fn play_with_resets(seed: u64, resets: usize) -> Self {
        let [mut guests_rng, mut leases_rng, mut removals_rng, mut orphans_rng] = rngs_beside(seed);
        let guests = Guests::draw(&mut guests_rng);
        let leases = Leases::draw(&mut leases_rng);
        let removals = Removals::draw(&mut removals_rng);
        let removals = Some(removals).filter(|_| removals_rng.random_bool(0.4) && resets == 0);
        let orphans = Orphans::draw(&mut orphans_rng);
        let drifts = drifts(seed);
        let beside = |script: Script| {
            Script { resets, guests, leases, orphans, drifts, ..script }.with(removals)
        };
        Self::perform(seed, beside, [guests_rng, leases_rng, removals_rng, orphans_rng])
    }

    /// The world of `seed` in which rows are taken away for certain; every second one is calm.
    pub fn play_with_removals(seed: u64) -> Self {
        let [mut guests_rng, leases_rng, mut removals_rng, orphans_rng] = rngs_beside(seed);
        let guests = Guests::draw(&mut guests_rng);
        let removals = Removals::draw(&mut removals_rng);
        let beside = |script: Script| {
            let script = Script { guests, drifts: drifts(seed), ..script }.with(Some(removals));
            if seed.is_multiple_of(2) { script.calm() } else { script }
        };
        Self::perform(seed, beside, [guests_rng, leases_rng, removals_rng, orphans_rng])
    }

    /// The world of `seed` in which objects are replaced in the midst of a crowd of files; every second
    /// one is calm.
    pub fn play_in_a_crowd(seed: u64) -> Self {
        let beside = |script: Script| {
            let script = script.in_a_crowd();
            if seed.is_multiple_of(2) { script.calm() } else { script }
        };
        Self::perform(seed, beside, rngs_beside(seed))
    }

    /// The same world without guests.
    pub fn play_without_guests(seed: u64) -> Self {
        Self::perform(seed, |script| script, [(); 4].map(|()| StdRng::seed_from_u64(seed)))
    }

    /// Plays the script of a seed, with what is added `beside` it, and the generators for that.
    fn perform(seed: u64, beside: impl FnOnce(Script) -> Script, rngs: [StdRng; 4]) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let script = beside(Script::draw(&mut rng));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let world = Self {
                script,
                truth: Truth::default(),
                clock: Arc::new(SimulatedClock::start()),
                written: Arc::default(),
                journal: Arc::default(),
            };
            let ended = tokio::time::timeout(END_OF_TIME, world.run(rng, rngs)).await;
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

    async fn run(&self, mut rng: StdRng, rngs: [StdRng; 4]) {
        let [mut guests_rng, leases_rng, removals_rng, orphans_rng] = rngs;
        if self.script.table_is_there {
            rivals::create_table(&self.truth, &self.script.guests.partition_by());
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
        let mut another_guest = || StdRng::seed_from_u64(guests_rng.random());
        for ingester in 0..self.script.ingesters {
            actors.push(Box::pin(self.ingester(ingester, another(), another_guest())));
        }
        actors.push(Box::pin(self.deleter(another_guest())));
        actors.push(Box::pin(self.overwriter(another_guest())));
        actors.push(Box::pin(self.sweeper(another_guest())));
        actors.push(Box::pin(self.thief(leases_rng)));
        actors.push(Box::pin(self.crowd(removals_rng.clone())));
        actors.push(Box::pin(self.copier(removals_rng.clone())));
        actors.push(Box::pin(self.remover(removals_rng)));
        actors.push(Box::pin(self.orphan_sweeper(orphans_rng)));
        join_all(actors).await;
        self.clock.sleep(SETTLED).await;
        if self.script.guests.vacuums > 0 {
            self.sweep(&mut another_guest()).await;
        }
        self.note("world", "is settled; everything is ingested once more, without faults");
        let everything: Vec<usize> = (0..self.script.objects).collect();
        let process = self.process("last", FaultRates::NONE, rng.random());
        self.ingest("last", &everything, process).await;
        if self.script.orphans.is_some() {
            let process = self.process(LAST_SWEEP, FaultRates::NONE, rng.random());
            let swept = self.sweep_orphans(LAST_SWEEP, &process).await;
            // A reset that was cut short may have left a ledger that wants a person.
            let may_fail = !self.truth.has_log() || self.script.resets > 0;
            assert!(swept.is_ok() || may_fail, "a sweep in peace fails: {swept:?}");
        }
    }

    /// Waits for a share of the world's span.
    async fn pause(&self, rng: &mut StdRng, times: usize) {
        let share = self.script.span.mul_f64(2.0 / times as f64);
        self.clock.sleep(share.mul_f64(rng.random())).await;
    }

    fn produce(&self, object: usize, version: usize) {
        let is_bad = self.script.bad_object == Some(object) && version % 2 == 1;
        let rows = self.script.rows[object];
        let more = Some((object + version) % 3).filter(|_| self.script.drifts);
        let content = Content { object, version, rows, is_bad, more };
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
            let all_alike =
                self.script.guests.partition_by.is_none() && self.script.guests.overwrites == 0;
            let deed = self.rival(&mut rng).write(all_alike);
            self.is_done("foreigner", deed);
        }
    }

    fn rival<'a>(&'a self, rng: &'a mut StdRng) -> Rival<'a> {
        Rival { truth: &self.truth, rng, now: self.clock.now().timestamp_millis() }
    }

    fn is_done(&self, actor: &str, deed: Deed) {
        self.note(actor, &deed.what);
        self.journal().deleted.extend(deed.deleted);
    }

    /// Lets most of the guests come once there is a table.
    async fn opening(&self) {
        for _ in 0..PATIENCE {
            if self.truth.has_log() {
                return;
            }
            self.clock.sleep(self.script.span * 4 / PATIENCE).await;
        }
    }

    async fn deleter(&self, mut rng: StdRng) {
        self.opening().await;
        for _ in 0..self.script.guests.deletions {
            self.pause(&mut rng, self.script.guests.deletions).await;
            let deed = self.rival(&mut rng).delete();
            self.is_done("deleter", deed);
        }
    }

    async fn overwriter(&self, mut rng: StdRng) {
        let may_partition = !self.script.guests.feed_partitions;
        self.opening().await;
        for _ in 0..self.script.guests.overwrites {
            self.pause(&mut rng, self.script.guests.overwrites).await;
            let deed = self.rival(&mut rng).overwrite(may_partition);
            self.is_done("overwriter", deed);
        }
    }

    async fn sweeper(&self, mut rng: StdRng) {
        for _ in 0..self.script.guests.vacuums {
            self.pause(&mut rng, self.script.guests.vacuums).await;
            self.sweep(&mut rng).await;
        }
    }

    /// When the oldest process began of which a request may still arrive; now, if there is none.
    fn oldest_writer_began(&self) -> Duration {
        let (now, late_max) = (self.clock.monotonic(), self.script.faults.late_max);
        let may_write =
            |ended: &Option<Duration>| ended.is_none_or(|ended| ended + late_max >= now);
        let journal = self.journal();
        let lives = journal.lives.values().filter(|(_, ended)| may_write(ended));
        lives.map(|(began, _)| *began).min().unwrap_or(now)
    }

    /// VACUUM, with the shortest retention that is lawful: longer than any run has lived of which
    /// a request may still be on its way.
    async fn sweep(&self, rng: &mut StdRng) {
        let cutoff = self.clock.millis_at(self.oldest_writer_began());
        let modified = |file: &str| {
            let written = self.written.at(&Path::from(file));
            written.map_or(0, |at| self.clock.millis_at(at))
        };
        let Some((version, files)) = rivals::superfluous(&self.truth, cutoff, modified) else {
            return;
        };
        self.note("sweeper", &format!("sweeps up {} files, as of {version}", files.len()));
        for file in files {
            self.truth.archive_file(&file);
            self.journal().swept.insert(file, version);
            self.clock.sleep(self.script.faults.way_max.mul_f64(rng.random())).await;
        }
    }

    /// A person who breaks leases that are held.
    async fn thief(&self, mut rng: StdRng) {
        let (store, clock) = (self.truth.store.clone(), self.clock.clone());
        let path = Path::from(format!("{TABLE}/{LEASE}"));
        let lease = ObjectLease::new(LEASE.to_owned(), store, path, clock);
        for _ in 0..self.script.leases.thefts {
            self.pause(&mut rng, self.script.leases.thefts).await;
            if let Some(broken) = lease.break_().await.unwrap() {
                self.note("thief", &format!("breaks the lease of {}", broken.owner));
            }
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

    async fn ingester(&self, number: usize, mut rng: StdRng, mut guests_rng: StdRng) {
        for run in 0..self.script.runs {
            self.pause(&mut rng, self.script.runs).await;
            let mut announced: Vec<usize> =
                (0..self.script.objects).filter(|_| rng.random_bool(0.7)).collect();
            let again: Vec<usize> =
                announced.iter().copied().filter(|_| rng.random_bool(0.2)).collect();
            announced.extend(again);
            announced.shuffle(&mut rng);
            let actor = format!("{number}.{run}");
            let process = self.process(&actor, self.script.faults, rng.random());
            process.freezer.plan(self.script.guests.deep_freeze_rate, &mut guests_rng);
            let ingest = self.ingest(&actor, &announced, process);
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

    /// Others' files, very many, and somebody who compacts some of them and of ours.
    async fn crowd(&self, mut rng: StdRng) {
        let compactions = self.script.crowd_compactions;
        if compactions == 0 {
            return;
        }
        self.opening().await;
        if !self.truth.has_log() {
            // Whoever would have made the table was killed before.
            return;
        }
        crowd::come(&self.truth);
        for _ in 0..compactions {
            self.pause(&mut rng, compactions).await;
            let deed = crowd::compact(&mut self.rival(&mut rng));
            self.is_done("crowd", deed);
        }
    }

    /// Another writer who does by hand what the ingesters do.
    async fn copier(&self, mut rng: StdRng) {
        let Some(Removals { copies, .. }) = self.script.removals else { return };
        self.opening().await;
        for _ in 0..copies {
            self.pause(&mut rng, copies).await;
            let object = rng.random_range(0..self.script.objects);
            let identity = self.truth.identity(&format!("in/{}.csv", name(object)));
            let tag = identity.unwrap().split(':').nth(1).unwrap().to_owned();
            let content = self.journal().contents[&(uri(object), tag)].clone();
            let deed = self.rival(&mut rng).copy(&content);
            if deed.what.starts_with("copies") {
                self.journal().copied.insert(uri(object));
            }
            self.is_done("copier", deed);
        }
    }

    /// A person who takes objects back, and takes them again.
    async fn remover(&self, mut rng: StdRng) {
        let Some(Removals { undos, replays, .. }) = self.script.removals else { return };
        self.opening().await;
        for number in 0..undos + replays {
            self.pause(&mut rng, undos + replays).await;
            let object = rng.random_range(0..self.script.objects);
            let is_replay = rng.random_range(0..undos + replays) < replays;
            let actor = format!("{} {number}", if is_replay { REPLAY } else { "undo" });
            let mut process = self.process(&actor, self.script.faults, rng.random());
            if is_replay {
                process.feed.mode = Mode::Again;
                self.ingest(&actor, &[object], process).await;
                continue;
            }
            let Process { environment, feed, table, .. } = &process;
            let done = undo::undo(environment, feed, table, &[uri(object)]).await;
            if let Ok(Undone { version: Some(version), objects }) = &done {
                let undone = (name(object), *version, objects[0].rows_removed);
                self.journal().undone.push(undone);
            }
            let what = done.map(|undone| undone.version).map_err(|error| error.kind());
            self.note(&actor, &format!("takes {} back: {what:?}", name(object)));
        }
    }

    /// Somebody who deletes what nobody names, while others are writing.
    async fn orphan_sweeper(&self, mut rng: StdRng) {
        let Some(Orphans { sweeps, kill_rate, deep_freeze_rate }) = self.script.orphans else {
            return;
        };
        self.opening().await;
        for number in 0..sweeps {
            self.pause(&mut rng, sweeps).await;
            let actor = format!("{SWEEPS} {number}");
            let process = self.process(&actor, self.script.faults, rng.random());
            process.freezer.plan(deep_freeze_rate, &mut rng);
            let life = self.script.span.mul_f64(rng.random());
            let sweep = self.sweep_orphans(&actor, &process);
            if !rng.random_bool(kill_rate) {
                let _ = sweep.await;
            } else if tokio::time::timeout(life, sweep).await.is_err() {
                self.note(&actor, "is killed");
            }
        }
    }

    async fn sweep_orphans(&self, actor: &str, process: &Process) -> Result<Swept, Error> {
        let Process { environment, feed, table, .. } = process;
        let Feed { ledger, commit_attempts_max, .. } = feed;
        let swept = orphans::sweep(environment, table, ledger, *commit_attempts_max).await;
        let what = swept.as_ref().map(|it| it.data_files).map_err(|error| error.kind());
        self.note(actor, &format!("sweeps up what nobody names: {what:?}"));
        swept
    }

    /// One process that ingests, and ends.
    async fn ingest(&self, actor: &str, objects: &[usize], process: Process) {
        let announcement = |&object: &usize| Announcement {
            location: process.environment.stores.resolve(&uri(object)).unwrap(),
            relative: name(object),
            named: false,
            listed_identity: self
                .script
                .guests
                .lists
                .then(|| self.truth.identity(&format!("in/{}.csv", name(object))))
                .flatten(),
            size_hint: None,
            deliveries: 1,
            unaddressable: None,
        };
        let announcements = objects.iter().map(announcement).collect();
        let listener = Listener { world: self, actor };
        let Process { environment, feed, table, .. } = &process;
        let told = ingest_into(environment, feed, table, announcements, &listener).await;
        assert!(told.is_ok(), "{told:?}");
    }

    /// A process that has just started, and knows nothing.
    fn process(&self, actor: &str, rates: FaultRates, seed: u64) -> Process {
        let freezer = Arc::new(Freezer::default());
        let witness = Witness {
            actor: actor.to_owned(),
            clock: Arc::clone(&self.clock),
            journal: Arc::clone(&self.journal),
            faults: SeededFaults::new(seed, rates),
            only_commits_fail: self.script.only_commits_fail,
            freezer: Arc::clone(&freezer),
            truth: self.truth.clone(),
        };
        let store: Arc<dyn ObjectStore> = Arc::new(FaultyStore::new(
            self.truth.store.clone(),
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
            time_box: None,
            budget: MemoryBudget::for_process(MEMORY_BYTES).unwrap(),
            ledger: self.script.guests.ledger.clone(),
        };
        let new_columns = if self.script.drifts { NewColumns::Add } else { NewColumns::Fail };
        let feed = Feed {
            table: format!("memory:///{TABLE}"),
            on_changed: self.script.on_changed,
            stage_bytes_max: self.script.stage_bytes_max,
            partition_by: self.script.guests.feed_partition_by(),
            lease: self.script.leases.options,
            drift: DriftOptions { new_columns, ..DriftOptions::default() },
            dedupe: self.script.removals.as_ref().map_or(Dedupe::Ledger, |it| it.dedupe),
            ..Feed::default()
        };
        let location = environment.stores.resolve(&feed.table).unwrap();
        // Some look for the newest commits as they would on a local disk.
        let read: Arc<dyn ObjectStore> =
            if seed.is_multiple_of(2) { Arc::new(LogByName(store)) } else { store };
        let kernel = kernel::in_turns(read);
        let mut table = DeltaTable::with_kernel(&environment, &location, kernel).unwrap();
        if let Some(bytes) = self.script.guests.part_bytes {
            table = table.in_parts_of(bytes);
        }
        if let Some(versions) = self.script.guests.checkpoint_interval {
            table = table.with_checkpoints_every(versions);
        }
        let life = Life {
            actor: actor.to_owned(),
            clock: Arc::clone(&self.clock),
            journal: Arc::clone(&self.journal),
        };
        life.begin();
        Process { environment, feed, table, freezer, _life: life }
    }
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
