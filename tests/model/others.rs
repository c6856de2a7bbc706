//! Everybody but the ingesters: foreign writers, the log cleaner, the sweeper, the repairer.

use std::collections::BTreeSet;

use crate::protocol::{Protocol, Rule};
use crate::world::{ANY, Commit, Entry, Id, Tail, Version, World};

/// The authors of what is not an ingester's.
const FOREIGN: u8 = 10;
const SWEEPER: u8 = 11;
const REPAIRER: u8 = 12;

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
    Listed { files: BTreeSet<Id>, tails: BTreeSet<Id> },
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
}

/// The ledger made again from the rows of a pinned version, behind a new fence.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Rebuild {
    Idle,
    Read { version: Version, entries: Vec<Entry> },
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
}

pub fn act(protocol: &Protocol, world: &mut World, choice: Other) {
    match choice {
        Other::Foreign => {
            let deed = world.deeds.remove(0);
            let append = Id(FOREIGN, world.table.version);
            let commit = Commit { append, pointer: None, file: None, deed: Some(deed) };
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
    }
}

/// Commits a tail that sets a new fence.
fn sweep_fence(world: &mut World) {
    let Some(ledger) = world.tail().cloned() else { return world.end_sweep() };
    let id = Id(SWEEPER, world.table.version);
    let fence = ledger.sequence + 1;
    world.tails.insert(id, Tail { sequence: fence, fence, ..ledger });
    let commit = Commit { append: id, pointer: Some(id), file: None, deed: None };
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
    });
}

fn sweep_list(world: &mut World) {
    let Sweep::Pinned(pin) = &world.sweep else { return };
    let is_orphan = |(id, fence): &(&Id, &u8)| **fence < pin.fence && !pin.files.contains(id);
    let files = world.files.iter().filter(is_orphan).map(|(id, _)| *id).collect();
    let is_past =
        |(id, tail): &(&Id, &Tail)| tail.sequence <= pin.sequence && pin.pointer != Some(**id);
    let tails = world.tails.iter().filter(is_past).map(|(id, _)| *id).collect();
    world.sweep = Sweep::Listed { files, tails };
}

fn sweep_delete(world: &mut World) {
    if let Sweep::Listed { files, tails } = &world.sweep {
        world.files.retain(|file, _| !files.contains(file));
        world.tails.retain(|tail, _| !tails.contains(tail));
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
    let entry = |key| Entry { key, identity: ANY, append };
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
    world.tails.insert(id, Tail { table_id: world.table.id, sequence, fence, entries });
    let commit = Commit { append: id, pointer: Some(id), file: None, deed: None };
    world.put(world.table.version + 1, &commit, false);
}
