//! Everybody but the ingesters: foreign writers, the log cleaner, the sweeper, the repairer.

use std::collections::BTreeSet;

use crate::protocol::{Protocol, Rule};
use crate::world::{ANY, Commit, DataFile, Entry, Id, Key, Removal, RunFile, Tail, Version, World};

/// The authors of what is not an ingester's.
const FOREIGN: u8 = 10;
const SWEEPER: u8 = 11;
const REPAIRER: u8 = 12;
const UNDOER: u8 = 13;
const MERGERS: u8 = 14;

/// The object that is undone.
const UNDONE: Key = 0;

/// One commit of a foreign writer, which knows nothing of ledgers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deed {
    /// Rows of its own.
    Append,
    /// All rows in one new file.
    Compact,
    ChangeSchema,
    /// Another, empty table in the same place, which keeps the pointer (Spark's REPLACE).
    Replace,
    /// The pointer expires.
    ForgetPointer,
}

/// The orphan sweep: fence, then pin, then list, then delete.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sweep {
    Idle,
    Fenced,
    Pinned(SweepPin),
    Listed { files: BTreeSet<Id>, of_ledger: BTreeSet<Id> },
}

/// What the sweeper knows of the version that it pinned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SweepPin {
    /// What was planned under a lower one is swept.
    fence: u8,
    is_fenced: bool,
    sequence: u8,
    pointer: Option<Id>,
    files: BTreeSet<Id>,
    /// The runs that the tail names, and what it keeps for its readers.
    of_ledger: BTreeSet<Id>,
}

/// The ledger made again from the rows of a pinned version, behind a new fence.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Rebuild {
    Idle,
    Read { version: Version, entries: Vec<Entry> },
}

/// Somebody who takes back what the table took of the first object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Undo {
    Idle,
    Planned { version: Version, ledger: Tail, removal: Removal },
}

/// Runs of the ledger that are put together, by a commit of their own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Merge {
    Idle,
    Written { inputs: BTreeSet<Id>, output: Id, fence: u8 },
}

/// What one of them does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Other {
    Foreign,
    Rewrite(usize),
    Checkpoint,
    Clean(Version),
    CleanAll,
    SweepFence,
    SweepPin,
    SweepList,
    SweepDelete,
    RebuildRead,
    RebuildCommit,
    UndoPlan,
    UndoCommit,
    MergeWrite(usize),
    MergeCommit(usize),
    /// What was left behind long enough is deleted.
    Collect,
}

pub fn choices(protocol: &Protocol, world: &World, choices: &mut Vec<Other>) {
    let budget = &world.budget;
    if !world.deeds.is_empty() {
        choices.push(Other::Foreign);
    }
    if budget.rewrites > 0 {
        choices.extend((0..world.writes.len()).map(Other::Rewrite));
    }
    if budget.checkpoints > 0 && world.checkpoint < world.table.version {
        choices.push(Other::Checkpoint);
    }
    let mut old = (0..world.checkpoint).filter(|&version| world.slot(version).is_some());
    if protocol.cleans_one_by_one {
        choices.extend(old.map(Other::Clean));
    } else if old.next().is_some() {
        choices.push(Other::CleanAll);
    }
    let pins_first =
        protocol.lacks(Rule::FenceBeforeDelete) || protocol.lacks(Rule::PinBehindFence);
    match &world.sweep {
        Sweep::Idle if budget.sweeps == 0 => {}
        Sweep::Idle if pins_first => choices.push(Other::SweepPin),
        Sweep::Idle => choices.push(Other::SweepFence),
        Sweep::Fenced => choices.push(Other::SweepPin),
        Sweep::Pinned(pin) if !pin.is_fenced && protocol.lacks(Rule::PinBehindFence) => {
            choices.push(Other::SweepFence);
        }
        Sweep::Pinned(_) => choices.push(Other::SweepList),
        Sweep::Listed { .. } => choices.push(Other::SweepDelete),
    }
    match world.rebuild {
        Rebuild::Idle if budget.rebuilds > 0 => choices.push(Other::RebuildRead),
        Rebuild::Idle => {}
        Rebuild::Read { .. } => choices.push(Other::RebuildCommit),
    }
    match world.undo {
        Undo::Idle if budget.undos > 0 && may_undo(world) => choices.push(Other::UndoPlan),
        Undo::Idle => {}
        Undo::Planned { .. } => choices.push(Other::UndoCommit),
    }
    let may_merge = budget.merges > 0 && world.tail().is_some_and(|tail| tail.runs.len() > 1);
    for (merger, merge) in world.merges.iter().enumerate() {
        match merge {
            Merge::Idle if may_merge => choices.push(Other::MergeWrite(merger)),
            Merge::Idle => {}
            Merge::Written { .. } => choices.push(Other::MergeCommit(merger)),
        }
    }
    if !world.garbage.is_empty() {
        choices.push(Other::Collect);
    }
}

pub fn act(protocol: &Protocol, world: &mut World, choice: Other) {
    match choice {
        Other::Foreign => {
            let deed = world.deeds.remove(0);
            let append = Id(FOREIGN, world.table.version);
            let commit = Commit { append, deed: Some(deed), ..Commit::default() };
            world.put(world.table.version + 1, &commit, false);
        }
        Other::Rewrite(key) => {
            world.writes[key] += 1;
            world.budget.rewrites -= 1;
        }
        Other::Checkpoint => {
            world.checkpoint = world.table.version;
            world.budget.checkpoints -= 1;
        }
        Other::Clean(version) => world.log[usize::from(version)] = None,
        Other::CleanAll => world.log[..usize::from(world.checkpoint)].fill(None),
        Other::SweepFence => sweep_fence(world),
        Other::SweepPin => sweep_pin(world),
        Other::SweepList => sweep_list(world),
        Other::SweepDelete => sweep_delete(world),
        Other::RebuildRead => rebuild_read(world),
        Other::RebuildCommit => rebuild_commit(protocol, world),
        Other::UndoPlan => undo_plan(world),
        Other::UndoCommit => undo_commit(protocol, world),
        Other::MergeWrite(merger) => merge_write(world, merger),
        Other::MergeCommit(merger) => merge_commit(protocol, world, merger),
        Other::Collect => {
            for file in std::mem::take(&mut world.garbage) {
                world.delete(file);
            }
        }
    }
}

/// Commits a tail that sets a new fence.
fn sweep_fence(world: &mut World) {
    let Some(ledger) = world.tail().cloned() else { return world.end_sweep() };
    let id = Id(SWEEPER, world.table.version);
    let fence = ledger.sequence + 1;
    world.tails.insert(id, Tail { sequence: fence, fence, ..ledger });
    let commit = Commit { append: id, pointer: Some(id), ..Commit::default() };
    world.put(world.table.version + 1, &commit, false);
    world.sweep = match std::mem::replace(&mut world.sweep, Sweep::Idle) {
        Sweep::Pinned(pin) => Sweep::Pinned(SweepPin { fence, is_fenced: true, ..pin }),
        _ => Sweep::Fenced,
    };
}

fn sweep_pin(world: &mut World) {
    let Some(ledger) = world.tail() else { return world.end_sweep() };
    let is_fenced = world.sweep == Sweep::Fenced;
    world.sweep = Sweep::Pinned(SweepPin {
        // Without a fence, what was planned under this one is swept, too.
        fence: if is_fenced { ledger.fence } else { ledger.fence + 1 },
        is_fenced,
        sequence: ledger.sequence,
        pointer: world.table.pointer,
        files: world.table.files.iter().map(|file| file.id).collect(),
        of_ledger: ledger.runs.iter().chain(&ledger.retired).copied().collect(),
    });
}

fn sweep_list(world: &mut World) {
    let Sweep::Pinned(pin) = &world.sweep else { return };
    let is_orphan = |(id, fence): &(&Id, &u8)| **fence < pin.fence && !pin.files.contains(id);
    let files = world.files.iter().filter(is_orphan).map(|(id, _)| *id).collect();
    let is_named = |id| pin.pointer == Some(id) || pin.of_ledger.contains(&id);
    let tails = world.tails.iter().filter(|(_, tail)| tail.sequence <= pin.sequence);
    let runs = world.runs.iter().filter(|(_, run)| run.fence < pin.fence);
    let of_ledger = tails.map(|(id, _)| *id).chain(runs.map(|(id, _)| *id));
    let of_ledger = of_ledger.filter(|&id| !is_named(id)).collect();
    world.sweep = Sweep::Listed { files, of_ledger };
}

fn sweep_delete(world: &mut World) {
    if let Sweep::Listed { files, of_ledger } = &world.sweep {
        world.files.retain(|file, _| !files.contains(file));
        world.tails.retain(|tail, _| !of_ledger.contains(tail));
        world.runs.retain(|run, _| !of_ledger.contains(run));
    }
    world.end_sweep();
}

impl World {
    fn end_sweep(&mut self) {
        self.sweep = Sweep::Idle;
        self.budget.sweeps -= 1;
    }
}

fn rebuild_read(world: &mut World) {
    let rows = world.table.files.iter().flat_map(|file| &file.rows);
    let keys: BTreeSet<u8> = rows.map(|object| object.key).collect();
    let append = Id(REPAIRER, world.table.version);
    let entry = |key| Entry { key, identity: ANY, append, is_undone: false };
    let entries = keys.into_iter().map(entry).collect();
    world.rebuild = Rebuild::Read { version: world.table.version, entries };
    world.budget.rebuilds -= 1;
}

fn rebuild_commit(protocol: &Protocol, world: &mut World) {
    let Rebuild::Read { version, entries } = std::mem::replace(&mut world.rebuild, Rebuild::Idle)
    else {
        return;
    };
    if version != world.table.version && !protocol.lacks(Rule::RebuildNeverRebases) {
        return;
    }
    let sequence = world.tails.values().map(|tail| tail.sequence).max().unwrap_or(0) + 1;
    // Whatever the old tail's fence was, and whether or not it can be read: its sequence was lower,
    // and no fence is above its tail's sequence.
    let fence = if protocol.lacks(Rule::FenceOnlyGrows) { 1 } else { sequence };
    let id = Id(REPAIRER, world.table.version);
    let table_id = world.table.id;
    world.tails.insert(id, Tail { sequence, fence, entries, ..Tail::empty(table_id) });
    let commit = Commit { append: id, pointer: Some(id), ..Commit::default() };
    world.put(world.table.version + 1, &commit, false);
}

/// Whether the ledger says that there is something to undo.
fn may_undo(world: &World) -> bool {
    let latest = world.tail().and_then(|ledger| ledger.latest(UNDONE));
    latest.is_some_and(|entry| !entry.is_undone)
}

/// Plans on the pinned version which files go, and writes those again that hold other rows, too.
fn undo_plan(world: &mut World) {
    let Some(ledger) = world.tail().cloned() else { return };
    let version = world.table.version;
    let mut removal = Removal::default();
    for file in &world.table.files {
        let (gone, rest): (Vec<_>, Vec<_>) =
            file.rows.iter().copied().partition(|row| row.key == UNDONE);
        if gone.is_empty() {
            continue;
        }
        removal.removed.insert(file.id);
        if !rest.is_empty() {
            let id = Id(UNDOER, 16 * version + removal.rest.len() as u8);
            removal.rest.push(DataFile { id, rows: rest, schema: file.schema });
        }
    }
    let written = removal.rest.iter().map(|file| (file.id, ledger.fence));
    world.files.extend(written);
    world.undo = Undo::Planned { version, ledger, removal };
}

/// Takes the slot after the pinned version, or nothing: then it is planned again.
fn undo_commit(protocol: &Protocol, world: &mut World) {
    let Undo::Planned { version, ledger, removal } = std::mem::replace(&mut world.undo, Undo::Idle)
    else {
        return;
    };
    let rebases = protocol.lacks(Rule::RemovalNeverRebases);
    let newest = world.tail().cloned();
    let (version, ledger) = match newest {
        Some(newest) if rebases => (world.table.version, newest),
        _ => (version, ledger),
    };
    let Some(latest) = ledger.latest(UNDONE).copied() else { return };
    let id = Id(UNDOER, 100 + version);
    let mut tail = Tail { sequence: ledger.sequence + 1, ..ledger };
    tail.entries.push(Entry { append: id, is_undone: true, ..latest });
    let commit = Commit {
        append: id,
        pointer: Some(id),
        removal: Some(removal.clone()),
        ..Commit::default()
    };
    if version == world.table.version && world.put(version + 1, &commit, false) {
        world.tails.insert(id, tail);
        world.budget.undos -= 1;
    } else {
        for file in &removal.rest {
            world.files.remove(&file.id);
        }
    }
}

/// Reads the pinned ledger's runs, and writes one that holds what they hold.
fn merge_write(world: &mut World, merger: usize) {
    let Some(ledger) = world.tail().filter(|ledger| world.is_readable(ledger)).cloned() else {
        return;
    };
    let appends = ledger.runs.iter().flat_map(|run| world.runs[run].appends.clone()).collect();
    let (inputs, fence) = (ledger.runs, ledger.fence);
    let output = Id(MERGERS + merger as u8, world.table.version);
    world.runs.insert(output, RunFile { fence, appends });
    world.merges[merger] = Merge::Written { inputs, output, fence };
    world.budget.merges -= 1;
}

/// Puts it on top of whatever has become of the ledger, if that still names all that it was made of.
fn merge_commit(protocol: &Protocol, world: &mut World, merger: usize) {
    let Merge::Written { inputs, output, fence } =
        std::mem::replace(&mut world.merges[merger], Merge::Idle)
    else {
        return;
    };
    let Some(mut tail) = world.tail().cloned() else { return };
    let is_made_of_it = inputs.is_subset(&tail.runs) || protocol.lacks(Rule::MergeInputsAreNamed);
    let is_behind_it = fence == tail.fence || protocol.lacks(Rule::MergeFenceIsChecked);
    if !is_made_of_it || !is_behind_it {
        return world.delete(output);
    }
    tail.sequence += 1;
    tail.runs.retain(|run| !inputs.contains(run));
    tail.runs.insert(output);
    tail.retired.extend(&inputs);
    let released = tail.leave_behind(world.table.pointer);
    let id = Id(MERGERS + merger as u8, 100 + world.table.version);
    world.tails.insert(id, tail);
    let commit = Commit { append: id, pointer: Some(id), ..Commit::default() };
    world.put(world.table.version + 1, &commit, false);
    world.garbage.extend(released);
}
