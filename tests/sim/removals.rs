//! What each commit of ours did to the rows of each object, where rows are taken away.

use std::collections::{BTreeMap, BTreeSet};

use lakefeed::config::{Dedupe, OnChanged};
use lakefeed::fault::FaultRates;
use lakefeed::receipt::{Receipt, Status};
use serde_json::Value;

use crate::auditor::{Audit, broken};
use crate::log::{self, Log, Row, TABLE};
use crate::shape;
use crate::world::{self, Content, Journal, REPLAY, World};

/// How often each row is there, by its object.
type Rows = BTreeMap<String, BTreeMap<Row, usize>>;

/// Each commit leaves of its objects what its entries say, and of all others what there was.
pub fn commits_do_what_they_say(world: &World, journal: &Journal, log: &Log) -> Audit {
    let mut before = Rows::new();
    let mut upto = Log::new();
    for (version, commit) in log {
        upto.insert(*version, commit.clone());
        let after = rows(world, &upto);
        if let Some(append) = log::append_id(commit) {
            let replays = journal.offered.iter().filter(|(run, _)| run.starts_with(REPLAY));
            let is_replay = replays.flat_map(|(_, appends)| appends).any(|it| *it == append);
            let entries = log::pointer(commit).and_then(|pointer| world.truth.ledger(pointer));
            let entries = entries.into_iter().flat_map(|ledger| ledger.entries.into_values());
            let entries: Vec<Value> = entries.filter(|it| it["version"] == *version).collect();
            check(world, journal, *version, &entries, is_replay, &before, &after)?;
        }
        before = after;
    }
    Ok(())
}

fn check(
    world: &World,
    journal: &Journal,
    version: u64,
    entries: &[Value],
    is_replay: bool,
    before: &Rows,
    after: &Rows,
) -> Audit {
    let none = BTreeMap::new();
    let replaces = is_replay || world.script.on_changed == OnChanged::Replace;
    let decides = world.script.removals.as_ref().is_some_and(|it| it.dedupe == Dedupe::Column);
    let objects: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for object in objects {
        let (was, is) = (before.get(object).unwrap_or(&none), after.get(object).unwrap_or(&none));
        let entry =
            entries.iter().find(|entry| entry["name"] == format!("memory:///in/{object}.csv"));
        let expected = match entry.map(|entry| (entry["state"].as_str().unwrap(), entry)) {
            Some(("in", entry)) => {
                let content = rows_of(content(journal, entry));
                // What is appended to is another content of the object.
                let appends = world.script.on_changed == OnChanged::Append;
                let is_there = |row: &Row| was.contains_key(row) || !appends;
                let is_held = !was.is_empty() && content.keys().any(is_there);
                if !replaces && decides && is_held {
                    let how =
                        format!("version {version} takes {object}, of which there was {was:?}");
                    return broken("what the table holds is not taken again", how);
                }
                if replaces { content } else { sum(was, &content) }
            }
            Some(("undone", _)) => BTreeMap::new(),
            _ => was.clone(),
        };
        let takes_away = replaces || entry.is_some_and(|entry| entry["state"] == "undone");
        let removed = if takes_away { was.values().sum::<usize>() as u64 } else { 0 };
        if let Some(told) = told(journal, object, version).filter(|told| *told != removed) {
            let how = format!("version {version} took {removed} rows of {object}, not {told}");
            return broken("what was removed is told", how);
        }
        if *is != expected {
            let how = format!("version {version}, of {object}: {was:?} became {is:?}; {entries:?}");
            return broken("commits do what they say", how);
        }
    }
    Ok(())
}

/// How many rows of an object a receipt, or who took it back, says that a version removed.
fn told(journal: &Journal, object: &str, version: u64) -> Option<u64> {
    let undone = journal.undone.iter().find(|(name, by, _)| name == object && *by == version);
    let uri = format!("memory:///in/{object}.csv");
    let is_it = |receipt: &&Receipt| {
        (receipt.status, receipt.version) == (Status::Committed, Some(version))
            && receipt.source == uri
    };
    let mut receipts = journal.receipts.iter().map(|(_, receipt)| receipt);
    undone.map(|(.., rows)| *rows).or_else(|| Some(receipts.find(is_it)?.rows_removed))
}

/// Where what the table holds decides, the last run leaves no object out that it holds nothing of; but
/// for those that have no rows, or that a person took back.
pub fn what_is_not_held_is_taken(
    world: &World,
    journal: &Journal,
    log: &Log,
    entries: &[Value],
) -> Audit {
    if !world.script.removals.as_ref().is_some_and(|it| it.dedupe == Dedupe::Column) {
        return Ok(());
    }
    let held = rows(world, log);
    let duplicates = journal
        .receipts
        .iter()
        .filter(|(run, receipt)| run == "last" && receipt.status == Status::Duplicate);
    for (_, receipt) in duplicates {
        let object =
            (0..world.script.objects).find(|it| world::uri(*it) == receipt.source).unwrap();
        let of_it = entries.iter().filter(|entry| entry["name"] == receipt.source.as_str());
        let (mut is_undone, mut is_void) = (false, false);
        for entry in of_it {
            is_void |= entry["rows"] == 0 && entry["version"].as_u64() == receipt.version;
            is_undone = entry["state"] == "undone" || (is_undone && entry["rows"] == 0);
        }
        if !held.contains_key(&world::name(object)) && !is_undone && !is_void {
            return broken("what is not held is taken", format!("{receipt:?}"));
        }
    }
    Ok(())
}

/// Where nothing goes wrong, and no log is cleaned up so that a commit is out of sight, every data file
/// that was given up is deleted.
pub fn nothing_is_left_behind(world: &World, log: &Log) -> Audit {
    let faults = world.script.faults;
    let FaultRates { way_max, late_max, freeze, .. } = faults;
    let calm = FaultRates { way_max, late_max, freeze, ..FaultRates::NONE };
    let sums_up = world.script.cleanings > 0 || world.script.guests.checkpoint_interval.is_some();
    if faults != calm || world.script.kill_rate > 0.0 || sums_up {
        return Ok(());
    }
    let adds = log.values().flatten().filter_map(|action| action.get("add"));
    let named: BTreeSet<String> = adds.map(shape::key).collect();
    let folder = format!("{TABLE}/");
    let names = world.truth.names(TABLE).into_iter();
    let mut ours = names.filter(|name| name.contains("lakefeed-"));
    match ours.find(|name| !named.contains(&name[folder.len()..])) {
        Some(name) => broken("nothing is left behind", name),
        None => Ok(()),
    }
}

fn content<'a>(journal: &'a Journal, entry: &Value) -> &'a Content {
    let tag = entry["identity"].as_str().unwrap().split(':').nth(1).unwrap_or_default();
    &journal.contents[&(entry["name"].as_str().unwrap().to_owned(), tag.to_owned())]
}

fn rows_of(content: &Content) -> BTreeMap<Row, usize> {
    let object = world::name(content.object);
    let row = |row: usize| (object.clone(), content.version.to_string(), row.to_string());
    (0..content.rows).map(|number| (row(number), 1)).collect()
}

fn sum(some: &BTreeMap<Row, usize>, more: &BTreeMap<Row, usize>) -> BTreeMap<Row, usize> {
    let mut sum = some.clone();
    for (row, count) in more {
        *sum.entry(row.clone()).or_default() += count;
    }
    sum
}

fn rows(world: &World, log: &Log) -> Rows {
    let mut rows = Rows::new();
    let live = log::live(log);
    for row in live
        .values()
        .filter_map(|add| shape::read(&world.truth, add))
        .flat_map(|batch| shape::rows_of(&batch))
    {
        *rows.entry(row.0.clone()).or_default().entry(row).or_default() += 1;
    }
    rows
}
