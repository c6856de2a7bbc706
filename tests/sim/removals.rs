//! What each commit of ours did to the rows of each object, where rows are taken away.

use std::collections::{BTreeMap, BTreeSet};

use lakefeed::config::{Dedupe, OnChanged};
use serde_json::Value;

use crate::auditor::{Audit, broken};
use crate::log::{self, Log, Row};
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
                if !replaces && decides && !was.is_empty() && !content.is_empty() {
                    let how =
                        format!("version {version} takes {object}, of which there was {was:?}");
                    return broken("what the table holds is not taken again", how);
                }
                if replaces { content } else { sum(was, &content) }
            }
            Some(("undone", _)) => BTreeMap::new(),
            _ => was.clone(),
        };
        if *is != expected {
            let how = format!("version {version}, of {object}: {was:?} became {is:?}; {entries:?}");
            return broken("commits do what they say", how);
        }
    }
    Ok(())
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
