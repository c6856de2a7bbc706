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

/// The orphan sweep: list, then fence, then delete.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sweep {
    Idle,
    Listed { files: BTreeSet<Id>, tails: BTreeSet<Id> },
    Fenced { files: BTreeSet<Id>, tails: BTreeSet<Id> },
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
    SweepList,
    SweepFence,
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
    match world.sweep {
        Sweep::Idle if budget.sweeps > 0 => choices.push(Other::SweepList),
        Sweep::Idle => {}
        Sweep::Listed { .. } if protocol.lacks(Rule::FenceBeforeDelete) => {
            choices.push(Other::SweepDelete);
        }
        Sweep::Listed { .. } => choices.push(Other::SweepFence),
        Sweep::Fenced { .. } => choices.push(Other::SweepDelete),
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
        Other::SweepList => {
            let tails = world.tails.keys().copied().collect();
            world.sweep = Sweep::Listed { files: world.files.clone(), tails };
            world.budget.sweeps -= 1;
        }
        Other::SweepFence => sweep_fence(world),
        Other::SweepDelete => sweep_delete(world),
        Other::RebuildRead => rebuild_read(world),
        Other::RebuildCommit => rebuild_commit(protocol, world),
    }
}

/// Commits a tail with the next fence, and strikes from the list what this version names.
fn sweep_fence(world: &mut World) {
    let Sweep::Listed { mut files, mut tails } = world.sweep.clone() else { return };
    let Some(ledger) = world.tail().cloned() else { return world.sweep = Sweep::Idle };
    let id = Id(SWEEPER, world.table.version);
    let tail = Tail { sequence: ledger.sequence + 1, fence: ledger.fence + 1, ..ledger };
    world.tails.insert(id, tail);
    let commit = Commit { append: id, pointer: Some(id), file: None, deed: None };
    world.put(world.table.version + 1, &commit, false);
    strike_named(world, &mut files, &mut tails);
    world.sweep = Sweep::Fenced { files, tails };
}

fn sweep_delete(world: &mut World) {
    let (files, tails) = match std::mem::replace(&mut world.sweep, Sweep::Idle) {
        Sweep::Idle => return,
        Sweep::Listed { mut files, mut tails } => {
            strike_named(world, &mut files, &mut tails);
            (files, tails)
        }
        Sweep::Fenced { files, tails } => (files, tails),
    };
    world.files.retain(|file| !files.contains(file));
    world.tails.retain(|tail, _| !tails.contains(tail));
}

fn strike_named(world: &World, files: &mut BTreeSet<Id>, tails: &mut BTreeSet<Id>) {
    files.retain(|&id| !world.table.files.iter().any(|file| file.id == id));
    tails.retain(|&id| world.table.pointer != Some(id));
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
