//! What is on stage in a world, and how much goes wrong there.

use std::num::NonZero;
use std::time::Duration;

use lakefeed::config::{Dedupe, LeaseOptions, LeaseScope, OnChanged};
use lakefeed::fault::FaultRates;
use lakefeed::ledger;
use rand::Rng;
use rand::rngs::StdRng;

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
    pub guests: Guests,
    pub leases: Leases,
    /// How ingesters take rows away, if they do.
    pub removals: Option<Removals>,
    /// Who deletes what nobody names, if anybody does.
    pub orphans: Option<Orphans>,
    /// How often somebody compacts some files of a crowd of others'; without them, there is no crowd.
    pub crowd_compactions: usize,
    /// Whether objects have a column more than others, which the table is to get.
    pub drifts: bool,
}

impl Script {
    pub fn draw(rng: &mut StdRng) -> Self {
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
            guests: Guests::default(),
            leases: Leases::default(),
            removals: None,
            orphans: None,
            crowd_compactions: 0,
            drifts: false,
        }
    }

    /// The same, in which four ingesters race to replace objects in the midst of a crowd of files.
    pub fn in_a_crowd(self) -> Self {
        let removals = Removals {
            on_changed: Some(OnChanged::Replace),
            dedupe: Dedupe::Ledger,
            undos: 0,
            replays: 0,
            copies: 0,
        };
        let crowded = Self {
            objects: 4,
            rows: vec![3, 2, 1, 2],
            bad_object: None,
            ingesters: 4,
            runs: 2,
            rewrites: 4,
            foreign_commits: 0,
            stage_bytes_max: 1 << 20,
            crowd_compactions: 6,
            ..self
        };
        crowded.with(Some(removals))
    }

    /// The same, in which nothing goes wrong but that others are first.
    pub fn calm(self) -> Self {
        let FaultRates { way_max, late_max, .. } = self.faults;
        let guests = Guests { deep_freeze_rate: 0.0, checkpoint_interval: None, ..self.guests };
        Self {
            kill_rate: 0.0,
            cleanings: 0,
            only_commits_fail: false,
            faults: FaultRates { way_max, late_max, ..FaultRates::NONE },
            guests,
            ..self
        }
    }

    /// The same, in which rows are taken away.
    pub fn with(self, removals: Option<Removals>) -> Self {
        let Some(Removals { on_changed, .. }) = removals else { return self };
        let on_changed = on_changed.unwrap_or(self.on_changed);
        // Another's table would not tell whose its rows are.
        Self { on_changed, table_is_there: false, removals, ..self }
    }
}

/// How rows are taken away, drawn beside everything else for the same reason as guests.
#[derive(Debug, Clone)]
pub struct Removals {
    /// The feed's policy, where it is not one of the others.
    pub on_changed: Option<OnChanged>,
    /// What decides whether an object was taken.
    pub dedupe: Dedupe,
    /// How often a person takes an object back.
    pub undos: usize,
    /// How often a person takes an object again.
    pub replays: usize,
    /// How often another writer appends an object's rows that are not there, and says whose they are.
    pub copies: usize,
}

impl Removals {
    pub fn draw(rng: &mut StdRng) -> Self {
        let dedupe = if rng.random_bool(0.3) { Dedupe::Column } else { Dedupe::Ledger };
        // The ledger knows nothing of what others copy: only the column does.
        let copies = [0, 2, 4][rng.random_range(0..3)];
        Self {
            on_changed: rng.random_bool(0.6).then_some(OnChanged::Replace),
            dedupe,
            undos: [0, 0, 2, 4][rng.random_range(0..4)],
            replays: [0, 0, 2][rng.random_range(0..3)],
            copies: if dedupe == Dedupe::Column { copies } else { 0 },
        }
    }
}

/// Sweeps of what killed and frozen ingesters left behind, drawn beside everything else for the same
/// reason as guests.
#[derive(Debug, Clone)]
pub struct Orphans {
    pub sweeps: usize,
    pub kill_rate: f64,
    pub deep_freeze_rate: f64,
}

impl Orphans {
    pub fn draw(rng: &mut StdRng) -> Option<Self> {
        let orphans = Self {
            sweeps: rng.random_range(1..=4),
            kill_rate: [0.0, 0.3][rng.random_range(0..2)],
            deep_freeze_rate: [0.0, 0.3][rng.random_range(0..2)],
        };
        rng.random_bool(0.4).then_some(orphans)
    }
}

/// Whether ingesters hold leases, drawn beside everything else for the same reason as guests.
#[derive(Debug, Clone, Default)]
pub struct Leases {
    pub options: LeaseOptions,
    /// How often a thief breaks the lease, whoever holds it.
    pub thefts: usize,
}

impl Leases {
    pub fn draw(rng: &mut StdRng) -> Self {
        let scope = [LeaseScope::Off, LeaseScope::Commit, LeaseScope::Commit, LeaseScope::Run]
            [rng.random_range(0..4)];
        let options = LeaseOptions {
            scope,
            duration_seconds: [1, 10][rng.random_range(0..2)],
            wait_seconds_max: [0, 1, 20][rng.random_range(0..3)],
        };
        let thefts = match scope {
            LeaseScope::Off => 0,
            _ => [0, 2, 6][rng.random_range(0..3)],
        };
        Self { options, thefts }
    }
}

/// Who else comes on stage in some worlds. They are drawn beside the rest of the script, so that a
/// seed's world without them stays what it was.
#[derive(Debug, Clone, Default)]
pub struct Guests {
    /// How often somebody sweeps up data files that no live version names.
    pub vacuums: usize,
    /// How often somebody deletes rows.
    pub deletions: usize,
    /// How often somebody overwrites the table with other columns.
    pub overwrites: usize,
    /// The column by which the table is partitioned at first.
    pub partition_by: Option<&'static str>,
    /// Whether the feed says so, too.
    pub feed_partitions: bool,
    /// The size of the parts in which data files are uploaded; whole, if none.
    pub part_bytes: Option<usize>,
    /// How often an ingester freezes for longer than anything else takes.
    pub deep_freeze_rate: f64,
    /// How many versions apart the ingesters sum the table up; as seldom as by default, if none.
    pub checkpoint_interval: Option<NonZero<u64>>,
    /// When the ingesters fold the ledger, and merge its runs.
    pub ledger: ledger::Limits,
    /// Whether ingesters find their objects by a listing, which says what version it saw.
    pub lists: bool,
}

impl Guests {
    pub fn draw(rng: &mut StdRng) -> Self {
        if rng.random_bool(0.3) {
            return Self::default();
        }
        Self {
            vacuums: [0, 1, 3][rng.random_range(0..3)],
            deletions: [0, 0, 1, 3][rng.random_range(0..4)],
            overwrites: [0, 0, 1, 3][rng.random_range(0..4)],
            partition_by: [None, None, Some("object"), Some("version")][rng.random_range(0..4)],
            feed_partitions: rng.random_bool(0.5),
            part_bytes: [None, None, Some(200), Some(600)][rng.random_range(0..4)],
            deep_freeze_rate: [0.0, 0.2, 0.5][rng.random_range(0..3)],
            checkpoint_interval: NonZero::new([0, 0, 1, 3][rng.random_range(0..4)]),
            ledger: draw_ledger_limits(rng),
            lists: rng.random(),
        }
    }

    pub fn feed_partition_by(&self) -> Vec<String> {
        let known = self.partition_by.filter(|_| self.feed_partitions);
        known.map(str::to_owned).into_iter().collect()
    }

    pub fn partition_by(&self) -> Vec<&'static str> {
        self.partition_by.into_iter().collect()
    }
}

fn draw_ledger_limits(rng: &mut StdRng) -> ledger::Limits {
    if rng.random_bool(0.5) {
        return ledger::Limits::default();
    }
    ledger::Limits {
        tail_entries_max: rng.random_range(0..=2),
        runs_alike_max: rng.random_range(2..=3),
        merge_interval: rng.random_range(1..=2),
        retired_files_max: [0, 1, 4][rng.random_range(0..3)],
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
