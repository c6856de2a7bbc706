//! The protocol as a state machine, and what must hold of it.

use std::collections::{BTreeMap, BTreeSet};

use stateright::{Model, Property};

use crate::ingester::{self, Ingester, Move, Step};
use crate::others::{self, Deed, Merge, Other, Rebuild, Sweep, Undo};
use crate::world::{ANY, Budget, Commit, Id, Key, Object, Table, Tail, World};

/// What can be taken out of the protocol. The numbers are those of `docs/architecture.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// 1: adoption is a commit of its own.
    AdoptionFirst,
    /// 1: a ledger belongs to one table id.
    OneTablePerLedger,
    /// 2: the table is pinned before the object is looked at.
    PinBeforeLook,
    /// 3: data files are durable before the commit.
    DurableBeforeCommit,
    /// 3: the tail extends the pinned pointer's.
    ExtendsThePinned,
    /// 4: the commit takes exactly the slot after the pin.
    TakesTheSlot,
    /// 5: rows and pointer move in one commit.
    Together,
    /// 6: a conflict may be with our own commit.
    AsksWhetherMine,
    /// 6: nobody has entered one of the objects meanwhile.
    KeysAreChecked,
    /// 6: the columns are those that the files were written for.
    SchemaIsChecked,
    /// 7: a lost answer is no failure.
    UnknownIsNotFailed,
    /// 8: a success counts when it is visible.
    SuccessIsVisible,
    /// 8: visible means no checkpoint at or above; the previous slot alone does not tell.
    NoCheckpointAbove,
    /// 8: nor is an attempt lost because another's commit is in a slot that was cleaned.
    LostIsJudgedOnLog,
    /// 9: entries only grow.
    EntriesOnlyGrow,
    /// 10: a rebuild never rebases.
    RebuildNeverRebases,
    /// 10: whoever planned under another fence starts again.
    FenceIsChecked,
    /// 10: a fence is never used twice.
    FenceOnlyGrows,
    /// 10: a removal never rebases.
    RemovalNeverRebases,
    /// 11: files of an unknown attempt stay.
    UnknownKeepsFiles,
    /// 11: the sweeper moves the fence before it deletes.
    FenceBeforeDelete,
    /// 11: what is named is judged on a pin behind the fence.
    PinBehindFence,
    /// 11: a merged run is put in no ledger behind another fence.
    MergeFenceIsChecked,
    /// 6: a merged run takes the place of runs that are all still named.
    MergeInputsAreNamed,
    /// 12: a missing pointer does not mean an empty ledger.
    MissingIsNotEmpty,
    /// 12: what is missing is judged on the current pointer.
    MissingIsJudgedOnCurrent,
}

/// One configuration of the model.
#[derive(Clone, Debug)]
pub struct Protocol {
    /// What is left out of it.
    pub without: Option<Rule>,
    /// Iceberg's catalog instead of Delta's log.
    pub is_iceberg: bool,
    /// For each ingester, the keys of the objects announced to it.
    pub announced: &'static [&'static [Key]],
    pub deliveries_max: u8,
    /// Pins read the version that was looked at, even when it was overwritten (S3's version ids).
    pub reads_old_versions: bool,
    /// The cleaner deletes slots one by one, in any order (as bulk deletes do), not all at once.
    pub cleans_one_by_one: bool,
    /// The table begins with a pointer.
    pub is_adopted: bool,
    /// Entries go to runs, one for each append.
    pub folds: bool,
    /// What the foreign writer does, in this order, at any time.
    pub deeds: &'static [Deed],
    pub budget: Budget,
}

impl Protocol {
    pub fn lacks(&self, rule: Rule) -> bool {
        self.without == Some(rule)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Ingester(usize, Move),
    Other(Other),
    /// A delayed put arrives.
    Arrive(usize),
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let first = Id(20, 0);
        let pointer = self.is_adopted.then_some(first);
        let tails = pointer.map(|id| (id, Tail::empty(0))).into_iter().collect::<BTreeMap<_, _>>();
        let creation = Commit { append: first, pointer, ..Commit::default() };
        let keys = self.announced.iter().flat_map(|keys| keys.iter()).max();
        vec![World {
            writes: vec![0; keys.map_or(0, |&key| usize::from(key) + 1)],
            log: vec![Some(creation)],
            checkpoint: 0,
            table: Table { version: 0, id: 0, schema: 0, pointer, files: Vec::new() },
            tails,
            files: BTreeMap::new(),
            in_flight: Vec::new(),
            ingesters: self.announced.iter().map(|_| Ingester::new()).collect(),
            deeds: self.deeds.to_vec(),
            sweep: Sweep::Idle,
            rebuild: Rebuild::Idle,
            undo: Undo::Idle,
            merges: [Merge::Idle, Merge::Idle],
            runs: BTreeMap::new(),
            garbage: Vec::new(),
            budget: self.budget,
            taken: Vec::new(),
            told_taken: BTreeSet::new(),
            told_lost: BTreeSet::new(),
            has_misfit: false,
            has_refused: false,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for author in 0..world.ingesters.len() {
            let mut moves = Vec::new();
            ingester::choices(self, world, author, &mut moves);
            actions.extend(moves.into_iter().map(|choice| Action::Ingester(author, choice)));
        }
        let mut others = Vec::new();
        others::choices(self, world, &mut others);
        actions.extend(others.into_iter().map(Action::Other));
        actions.extend((0..world.in_flight.len()).map(Action::Arrive));
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut world = world.clone();
        match action {
            Action::Ingester(author, choice) => {
                ingester::act(self, &mut world, author, choice);
            }
            Action::Other(choice) => others::act(self, &mut world, choice),
            Action::Arrive(which) => {
                let (slot, commit) = world.in_flight.remove(which);
                world.put(slot, &commit, self.is_iceberg);
            }
        }
        if self.budget.checkpoints == 0 {
            // Without a clean-up, a slot that is filled stays filled.
            let slots = world.log.len();
            world.in_flight.retain(|(slot, _)| usize::from(*slot) >= slots);
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(EXACTLY_ONCE, |_: &Self, world: &World| is_exactly_once(world)),
            Property::always(RECEIPTS_ARE_TRUE, |_: &Self, world: &World| are_receipts_true(world)),
            Property::always(FAILED_IS_FAILED, |_: &Self, world: &World| {
                world.taken.iter().all(|taken| !world.told_lost.contains(&taken.append))
            }),
            Property::always(NAMES_WHAT_IS_THERE, |_: &Self, world: &World| {
                let has_tail = world.table.pointer.is_none() || world.tail().is_some();
                let has_runs = world.tail().is_none_or(|tail| world.is_readable(tail));
                has_tail
                    && has_runs
                    && world.table.files.iter().all(|file| world.files.contains_key(&file.id))
            }),
            Property::always(LEDGER_AGREES, |_: &Self, world: &World| does_ledger_agree(world)),
            Property::always(RUNS_HOLD_ALL, |protocol: &Self, world: &World| {
                !protocol.folds || do_runs_hold_all(world)
            }),
            Property::always(UNDONE_IS_GONE, |protocol: &Self, world: &World| {
                protocol.budget.undos == 0 || is_undone_gone(world)
            }),
            Property::always(NEVER_BACK, |_: &Self, world: &World| {
                let writes = |key| {
                    let of_key = world.taken.iter().map(|taken| taken.object);
                    of_key.filter(move |object| object.key == key).map(|object| object.write)
                };
                (0..world.writes.len()).all(|key| writes(key as Key).is_sorted())
            }),
            Property::always(FILES_FIT, |_: &Self, world: &World| !world.has_misfit),
            Property::always(REFUSED_WITH_REASON, |protocol: &Self, world: &World| {
                !world.has_refused || protocol.deeds.contains(&Deed::ForgetPointer)
            }),
            Property::always(EVERYTHING_ENDS_WELL, |protocol: &Self, world: &World| {
                !protocol.has_ended(world) || protocol.is_everything_taken(world)
            }),
            Property::sometimes(CAN_COMMIT, |protocol: &Self, world: &World| {
                protocol.is_everything_taken(world)
            }),
        ]
    }
}

pub const EXACTLY_ONCE: &str = "the rows of an object's version are visible at most once";
pub const RECEIPTS_ARE_TRUE: &str = "what a receipt calls taken is in the table";
pub const FAILED_IS_FAILED: &str = "what a receipt calls failed never becomes visible";
pub const NAMES_WHAT_IS_THERE: &str = "the table names no deleted data file and no deleted tail";
pub const LEDGER_AGREES: &str = "ledger and rows agree at every version";
pub const RUNS_HOLD_ALL: &str = "every entry is in one run, and in one only";
pub const UNDONE_IS_GONE: &str = "what was undone has no rows, and what was not has them once";
pub const NEVER_BACK: &str = "no older version of an object follows a newer one";
pub const FILES_FIT: &str = "a data file becomes visible under the schema it was written for";
pub const REFUSED_WITH_REASON: &str = "no ledger is called missing that nobody lost";
pub const EVERYTHING_ENDS_WELL: &str = "whatever happens, in the end every object is taken";
pub const CAN_COMMIT: &str = "every announced object can end committed";

impl Protocol {
    /// Whether nothing can happen any more. Every way through the model gets here, since each
    /// retry is caused by something that has a budget.
    fn has_ended(&self, world: &World) -> bool {
        let is_idle = |ingester: &Ingester| {
            ingester.step == Step::Ended && ingester.deliveries == self.deliveries_max
        };
        world.ingesters.iter().all(is_idle) && {
            let mut actions = Vec::new();
            self.actions(world, &mut actions);
            actions.is_empty()
        }
    }

    fn is_everything_taken(&self, world: &World) -> bool {
        let may_be_refused = |deed: &Deed| matches!(deed, Deed::Replace | Deed::ForgetPointer);
        let is_taken = |key: &Key| world.taken.iter().any(|taken| taken.object.key == *key);
        self.deeds.iter().any(may_be_refused)
            || self.announced.iter().flat_map(|keys| keys.iter()).all(is_taken)
    }
}

fn is_exactly_once(world: &World) -> bool {
    let mut seen = BTreeSet::new();
    let mut is_first =
        |object: &Object, table_id| seen.insert((object.key, object.identity, table_id));
    world.taken.iter().all(|taken| is_first(&taken.object, taken.table_id))
}

fn are_receipts_true(world: &World) -> bool {
    let is_true = |&(key, identity, table_id): &(Key, u8, u8)| {
        world.taken.iter().any(|taken| {
            let object = taken.object;
            let same = object.identity == identity || identity == ANY;
            object.key == key && same && taken.table_id == table_id
        })
    };
    world.told_taken.iter().all(is_true)
}

/// Every row that came has an entry, and every entry has its rows.
fn does_ledger_agree(world: &World) -> bool {
    let Some(tail) = world.tail() else { return true };
    if tail.table_id != world.table.id {
        return true;
    }
    let taken = || world.taken.iter().filter(|taken| taken.table_id == world.table.id);
    let has_entry = |object: &Object| tail.entries.iter().any(|entry| object.is_covered_by(entry));
    taken().all(|taken| has_entry(&taken.object))
        && tail.entries.iter().all(|entry| taken().any(|taken| taken.object.is_covered_by(entry)))
}

/// Whether the runs of the current tail hold each append's entries once.
fn do_runs_hold_all(world: &World) -> bool {
    let Some(tail) = world.tail() else { return true };
    let mut of_runs: Vec<Id> = Vec::new();
    for run in tail.runs.iter().filter_map(|run| world.runs.get(run)) {
        of_runs.extend(&run.appends);
    }
    of_runs.sort();
    let appends: BTreeSet<Id> = tail.entries.iter().map(|entry| entry.append).collect();
    of_runs.into_iter().eq(appends)
}

/// For objects that nobody rewrites.
fn is_undone_gone(world: &World) -> bool {
    let Some(tail) = world.tail() else { return true };
    let rows = |key| {
        world
            .table
            .files
            .iter()
            .flat_map(|file| &file.rows)
            .filter(move |row| row.key == key)
            .count()
    };
    (0..world.writes.len() as Key).all(|key| {
        let is_in = tail.latest(key).is_some_and(|entry| !entry.is_undone);
        rows(key) == usize::from(is_in)
    })
}
