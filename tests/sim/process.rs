//! One process of a world: what it holds, its clock, and who decides about its requests.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use lakefeed::clock::{Clock, Usage};
use lakefeed::config::Feed;
use lakefeed::environment::Environment;
use lakefeed::fault::{Call, Fault, Faults, Operation, SeededFaults, Treatment};
use lakefeed::table::delta::DeltaTable;
use rand::Rng;
use rand::rngs::StdRng;

use crate::log::{self, TABLE, Truth};
use crate::world::{Journal, SWEEPS};

/// The first requests of a process, any of which it may freeze at.
const FREEZE_WITHIN_REQUESTS: usize = 40;

/// What a process holds, and loses when it is killed.
pub struct Process {
    pub environment: Environment,
    pub feed: Feed,
    pub table: DeltaTable,
    pub freezer: Arc<Freezer>,
    pub _life: Life,
}

/// Says in the journal when a process began and ended.
pub struct Life {
    pub actor: String,
    pub clock: Arc<SimulatedClock>,
    pub journal: Arc<Mutex<Journal>>,
}

impl Life {
    pub fn begin(&self) {
        self.journal().lives.insert(self.actor.clone(), (self.clock.monotonic(), None));
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        let now = self.clock.monotonic();
        if let Some((_, ended)) = self.journal().lives.get_mut(&self.actor) {
            *ended = Some(now);
        }
    }
}

/// Lets a process stand still once, for longer than anything else takes: the request that it is at,
/// and all that its other tasks, a lease's heartbeat say, ask for meanwhile.
#[derive(Default)]
pub struct Freezer(Mutex<State>);

#[derive(Default)]
struct State {
    planned: Option<Freeze>,
    /// On the simulated clock.
    frozen_until: Duration,
}

struct Freeze {
    /// So many requests go through before.
    requests: usize,
    /// Before the request arrives, or after.
    is_before: bool,
    duration: Duration,
}

impl Freezer {
    /// Perhaps plans one.
    pub fn plan(&self, rate: f64, rng: &mut StdRng) {
        let freeze = Freeze {
            requests: rng.random_range(0..FREEZE_WITHIN_REQUESTS),
            is_before: rng.random(),
            duration: Duration::from_secs([60, 600, 10_000][rng.random_range(0..3)]),
        };
        let planned = Some(freeze).filter(|_| rng.random_bool(rate));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            State { planned, ..State::default() };
    }

    fn treat(&self, treatment: &mut Treatment, now: Duration) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        treatment.before += state.frozen_until.saturating_sub(now);
        let Some(freeze) = state.planned.as_mut() else { return };
        if freeze.requests > 0 {
            freeze.requests -= 1;
            return;
        }
        let way = if freeze.is_before { &mut treatment.before } else { &mut treatment.after };
        *way += freeze.duration;
        state.frozen_until = now + treatment.before + treatment.after;
        state.planned = None;
    }
}

/// Decides about the requests of one ingester, and writes them down.
pub struct Witness {
    pub actor: String,
    pub clock: Arc<SimulatedClock>,
    pub journal: Arc<Mutex<Journal>>,
    pub faults: SeededFaults,
    pub only_commits_fail: bool,
    pub freezer: Arc<Freezer>,
    pub truth: Truth,
}

impl Witness {
    /// A sweep of orphans may take what VACUUM may: a file that left the table, where no commit is
    /// there any more that could tell. (To the kernel, all tombstones on stage are years old.)
    fn look_after(&self, path: &str) {
        let Some(file) = path.strip_prefix(&format!("{TABLE}/")) else { return };
        let log = self.truth.log();
        let is_named = |commit: &Vec<_>| log::names(commit, file);
        let was_named = log.values().any(is_named);
        let is_told = self.truth.commits().values().any(is_named);
        if was_named && !is_told && !log::live(&log).contains_key(file) {
            self.truth.archive_file(file);
            let version = log.keys().next_back().copied().unwrap_or_default();
            let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
            journal.swept.insert(file.to_owned(), version);
        }
    }
}

impl Faults for Witness {
    fn treat(&self, call: &Call<'_>) -> Treatment {
        let mut treatment = self.faults.treat(call);
        let is_commit =
            call.operation == Operation::Create && call.path.as_ref().ends_with(".json");
        if self.only_commits_fail && !is_commit {
            treatment.fault = Fault::None;
        }
        self.freezer.treat(&mut treatment, self.clock.monotonic());
        if call.operation == Operation::Delete && call.path.as_ref().ends_with(".ledger") {
            self.truth.archive_ledger_file(call.path.as_ref());
        }
        if call.operation == Operation::Delete && self.actor.starts_with(SWEEPS) {
            self.look_after(call.path.as_ref());
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
pub fn without_table_ids(text: &str) -> String {
    if !text.contains("_lakefeed/") {
        return text.to_owned();
    }
    let mut parts = text.split("_lakefeed/");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        if part.starts_with("table.lease") {
            return text + "_lakefeed/" + part;
        }
        let after_id = part.split_once('/').map_or("", |(_, rest)| rest);
        text + "_lakefeed/*/" + after_id
    })
}

/// Time that passes only while everybody waits.
pub struct SimulatedClock(tokio::time::Instant);

impl SimulatedClock {
    #[allow(clippy::disallowed_methods)] // Of a runtime whose clock is paused.
    pub fn start() -> Self {
        Self(tokio::time::Instant::now())
    }

    /// A moment of this clock in milliseconds since 1970.
    pub fn millis_at(&self, moment: Duration) -> i64 {
        (self.now() - self.monotonic() + moment).timestamp_millis()
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
