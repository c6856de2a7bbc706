//! What must be true of every world, whatever happened in it. Each promise by its name.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::DataType;
use lakefeed::config::OnChanged;
use lakefeed::error::ErrorKind;
use lakefeed::receipt::{Receipt, Status};
use serde_json::Value;

use crate::log::{self, Entries, Log, Row, TABLE};
use crate::removals;
use crate::shape::{self, FOREIGN, Shape};
use crate::world::{self, Content, Journal, World};

/// A promise that was broken, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub promise: &'static str,
    pub how: String,
}

pub type Audit = Result<(), Violation>;

pub fn broken(promise: &'static str, how: impl Into<String>) -> Audit {
    Err(Violation { promise, how: how.into() })
}

/// Everything that there is to know of a world at its end.
struct Evidence<'a> {
    world: &'a World,
    journal: &'a Journal,
    log: Log,
    /// The newest ledger's.
    entries: Vec<Value>,
    /// How often each row is in the table, or was deleted from it by others.
    rows: BTreeMap<Row, usize>,
}

/// Checks every promise.
pub fn audit(world: &World) -> Audit {
    let journal = world.journal();
    let log = world.truth.log();
    versions_are_contiguous(&log)?;
    no_file_comes_twice(&log)?;
    every_file_exists(world, &journal, &log)?;
    files_fit_their_table(world, &log)?;
    let entries = entries_only_grow(world, &log)?;
    let mut rows = BTreeMap::new();
    let live = log::live(&log);
    let live = live.values().filter_map(|add| shape::read(&world.truth, add));
    for row in live.flat_map(|batch| shape::rows_of(&batch)).chain(journal.deleted.clone()) {
        *rows.entry(row).or_default() += 1;
    }
    let evidence = Evidence { world, journal: &journal, log, entries, rows };
    if world.script.resets > 0 {
        // What was forgotten may be taken again; still nothing may be torn.
        return evidence.all_or_nothing();
    }
    if world.script.removals.is_some() {
        // What was taken may be gone by now; so each commit is looked at by itself.
        removals::commits_do_what_they_say(world, &journal, &evidence.log)?;
        removals::what_is_not_held_is_taken(world, &journal, &evidence.log, &evidence.entries)?;
    } else {
        evidence.all_or_nothing()?;
        evidence.rows_are_as_entered()?;
    }
    removals::nothing_is_left_behind(world, &evidence.log)?;
    evidence.rows_have_an_entry()?;
    evidence.receipts_are_true()?;
    evidence.faults_are_not_called_damage()?;
    evidence.no_orphan_stays()?;
    evidence.nothing_is_left_out()
}

fn versions_are_contiguous(log: &Log) -> Audit {
    match log.keys().zip(0..).find(|(version, expected)| **version != *expected) {
        Some((version, _)) => broken("versions are contiguous", format!("a gap before {version}")),
        None => Ok(()),
    }
}

fn no_file_comes_twice(log: &Log) -> Audit {
    let mut seen = BTreeSet::new();
    for path in log::added(log) {
        if !seen.insert(path.clone()) {
            return broken("no file is added twice", path);
        }
    }
    Ok(())
}

/// Not only what is live: a reader of an older version needs what it named, but for what was
/// lawfully swept up.
fn every_file_exists(world: &World, journal: &Journal, log: &Log) -> Audit {
    const PROMISE: &str = "no file is deleted that a commit named";
    let live = log::live(log);
    for (version, add) in added(log) {
        let path = shape::key(add);
        let is_lawful = match journal.swept.get(&path) {
            Some(at) => version <= *at && !live.contains_key(&path),
            None => world.truth.has_file(&path),
        };
        if !is_lawful {
            return broken(PROMISE, format!("{path} of version {version}"));
        }
    }
    for (path, add) in live {
        let rows = world.truth.batch(&path).map_or(0, |batch| batch.num_rows());
        let stats: Value = serde_json::from_str(add["stats"].as_str().unwrap_or("null")).unwrap();
        if stats["numRecords"] != rows {
            return broken("statistics are true", format!("{path} has {rows} rows: {stats}"));
        }
    }
    Ok(())
}

/// Every action that adds a file, and its version.
fn added(log: &Log) -> impl Iterator<Item = (u64, &Value)> {
    log.iter().flat_map(|(version, commit)| {
        commit.iter().filter_map(|action| Some((*version, action.get("add")?)))
    })
}

/// A file holds the columns that its table had in the version that added it, in their types; ours
/// hold all of them, but for rows that were written again in the commit that added a column.
fn files_fit_their_table(world: &World, log: &Log) -> Audit {
    let mut table: Option<Shape> = None;
    for (version, commit) in log {
        let before = table.clone();
        if let Some(metadata) = commit.iter().find_map(|action| action.get("metaData")) {
            table = Some(Shape { metadata: metadata.clone() });
        }
        let Some(table) = &table else { continue };
        for add in commit.iter().filter_map(|action| action.get("add")) {
            let Some(file) = world.truth.batch(&shape::key(add)) else { continue };
            let is_ours = shape::key(add).contains("lakefeed-");
            let is_new = |name: &String| {
                let before = before.as_ref().map(Shape::stored).unwrap_or_default();
                before.iter().all(|(column, ..)| column != name)
            };
            let removes = commit.iter().any(|action| action.get("remove").is_some());
            let is_fit = |(name, kind, is_nullable): &(String, DataType, bool)| {
                let may_lack = *is_nullable && (!is_ours || (removes && is_new(name)));
                let column = file.column_by_name(name);
                column.map_or(may_lack, |column| column.data_type() == kind)
            };
            let stored = table.stored();
            let known = |name: &String| stored.iter().any(|(column, ..)| column == name);
            let has_only_known = file.schema().fields().iter().all(|field| known(field.name()));
            let partition: Vec<String> =
                add["partitionValues"].as_object().unwrap().keys().cloned().collect();
            let is_in_place = partition == Vec::from_iter(table.partition());
            if !has_only_known || !is_in_place || !stored.iter().all(is_fit) {
                let how =
                    format!("{add} of version {version}: {:?}, and not {stored:?}", file.schema());
                return broken("files fit their table", how);
            }
        }
    }
    Ok(())
}

/// The newest ledger is there, and each holds what the one before it did; returns the newest's
/// entries, as they were entered.
fn entries_only_grow(world: &World, log: &Log) -> Result<Vec<Value>, Violation> {
    let mut entries = Entries::new();
    let mut fence = Value::from(0);
    let mut is_there = true;
    for (version, commit) in log {
        let Some(pointer) = log::pointer(commit) else { continue };
        let Some(ledger) = world.truth.ledger(pointer) else {
            let how = format!("version {version} points to {pointer}");
            return Err(Violation { promise: "a commit's ledger is whole", how });
        };
        // A reset's fence comes with no entries, a sweep's with those that there are.
        if fence != ledger.fence && ledger.entries.is_empty() && world.script.resets > 0 {
            entries.clear();
        }
        fence = ledger.fence;
        if let Some((_, forgotten)) =
            entries.iter().find(|(key, entry)| ledger.entries.get(key) != Some(entry))
        {
            let how = format!("version {version} forgets {forgotten}");
            return Err(Violation { promise: "entries only grow", how });
        }
        let mut added = ledger.entries.iter().filter(|(key, _)| !entries.contains_key(key));
        if let Some((_, entry)) = added.find(|(_, entry)| entry["version"] != *version) {
            let how = format!("version {version} enters {entry}");
            return Err(Violation { promise: "entries say their version", how });
        }
        entries = ledger.entries;
        is_there = ledger.is_there;
    }
    if !is_there {
        let how = "the newest".to_owned();
        return Err(Violation { promise: "no file of the ledger is deleted that it names", how });
    }
    let mut entries: Vec<Value> = entries.into_values().collect();
    entries.sort_by_key(|entry| entry["sequence"].as_u64());
    Ok(entries)
}

impl Evidence<'_> {
    /// What an entry says was taken.
    fn content(&self, entry: &Value) -> Result<&Content, Violation> {
        let (name, identity) = (text(entry, "name"), text(entry, "identity"));
        let tag = identity.split(':').nth(1).unwrap_or_default();
        self.journal.contents.get(&(name.clone(), tag.to_owned())).ok_or_else(|| Violation {
            promise: "entries are of versions that there were",
            how: format!("{name} {identity}"),
        })
    }

    /// How often each row of a content is in the table.
    fn counts(&self, content: &Content) -> Vec<usize> {
        let row = |row: usize| {
            (world::name(content.object), content.version.to_string(), row.to_string())
        };
        let count = |number| self.rows.get(&row(number)).copied().unwrap_or_default();
        (0..content.rows).map(count).collect()
    }

    /// Of each version of each object: all rows, equally often, and once if nothing was forgotten.
    fn all_or_nothing(&self) -> Audit {
        for content in self.journal.contents.values() {
            let counts = self.counts(content);
            let most = 1 + self.world.script.resets;
            if counts.iter().any(|count| *count != counts[0]) {
                return broken("all or nothing", format!("{content:?}: {counts:?}"));
            }
            if counts.iter().any(|count| *count > most) {
                return broken("exactly once", format!("{content:?}: {counts:?}"));
            }
        }
        Ok(())
    }

    /// Rows are there if, and only if, the ledger says so.
    fn rows_are_as_entered(&self) -> Audit {
        let mut taken = BTreeSet::new();
        for entry in self.entries.iter().filter(|entry| entry["state"] == "in") {
            let content = self.content(entry)?;
            taken.insert((content.object, content.version));
            if entry["rows"] != content.rows || content.is_bad {
                return broken("entries are true", format!("{entry} is of {content:?}"));
            }
        }
        for content in self.journal.contents.values() {
            let counts = self.counts(content);
            let is_taken = taken.contains(&(content.object, content.version));
            if is_taken && counts.contains(&0) {
                return broken("what was taken is there", format!("{content:?}: {counts:?}"));
            }
            if !is_taken && counts.contains(&1) {
                return broken("rows have an entry", format!("{content:?}: {counts:?}"));
            }
        }
        for entry in self.entries.iter().filter(|entry| entry["state"] == "alias") {
            let content = self.content(entry)?;
            if !taken.contains(&(content.object, content.version)) {
                return broken("aliases are true", entry.to_string());
            }
        }
        Ok(())
    }

    fn rows_have_an_entry(&self) -> Audit {
        let contents: BTreeSet<(String, String)> = self
            .journal
            .contents
            .values()
            .map(|content| (world::name(content.object), content.version.to_string()))
            .collect();
        let unknown = self.rows.iter().find(|((object, version, _), count)| {
            let is_foreign = object == FOREIGN && **count == 1;
            !is_foreign && !contents.contains(&(object.clone(), version.clone()))
        });
        match unknown {
            Some(row) => broken("rows are somebody's", format!("{row:?}")),
            None => Ok(()),
        }
    }

    fn receipts_are_true(&self) -> Audit {
        for (run, receipt) in &self.journal.receipts {
            let mine = |entry: &&Value| {
                let offered = self.journal.offered.get(run);
                text(entry, "name") == receipt.source
                    && offered.is_some_and(|appends| appends.contains(&text(entry, "append")))
            };
            let entered = || {
                let of_version = |e: &&Value| e["version"].as_u64() == receipt.version;
                self.entries.iter().filter(of_version).filter(|e| text(e, "name") == receipt.source)
            };
            let is_true = match (receipt.status, &receipt.error) {
                (Status::Committed, _) => {
                    entered().filter(mine).any(|entry| entry["rows"] == receipt.rows)
                }
                (Status::Duplicate, _) => {
                    entered().next().is_some() || self.journal.copied.contains(&receipt.source)
                }
                (Status::Skipped, _) => true,
                (Status::Failed, Some(error)) => {
                    error.kind.might_have_happened() || !self.entries.iter().any(|e| mine(&e))
                }
                (Status::Failed, None) => false,
            };
            if !is_true {
                let promise = match receipt.status {
                    Status::Failed => "what did not happen never does",
                    _ => "receipts are true",
                };
                return broken(promise, format!("{run}: {receipt:?}"));
            }
        }
        Ok(())
    }

    /// After a sweep in peace, every file that is there was named by a commit.
    fn no_orphan_stays(&self) -> Audit {
        if self.world.script.orphans.is_none() || self.log.is_empty() {
            // Nobody sweeps where there is no table.
            return Ok(());
        }
        // What was put in a slot that was cleaned up before is nobody's, but can be read.
        let there = self.world.truth.commits();
        let named: BTreeSet<String> = log::added(&self.log).chain(log::added(&there)).collect();
        let is_ours = |file: &&String| file.contains("/lakefeed-default-");
        for file in self.world.truth.names(TABLE).iter().filter(is_ours) {
            let path = file.strip_prefix(&format!("{TABLE}/")).unwrap_or(file);
            if !named.contains(path) {
                return broken("no orphan stays", path);
            }
        }
        let newest = self.log.values().rev().find_map(|commit| log::pointer(commit));
        let of_ledger = newest.map(|pointer| self.world.truth.ledger_files(pointer));
        match of_ledger.into_iter().flatten().find(|(_, is_named)| !is_named) {
            Some((file, _)) => broken("no orphan of the ledger stays", file),
            None => Ok(()),
        }
    }

    /// A store that fails for a while is worth another try; a person need not look at the table.
    fn faults_are_not_called_damage(&self) -> Audit {
        for (run, receipt) in &self.journal.receipts {
            let Some(error) = &receipt.error else { continue };
            let is_fair = match error.kind {
                ErrorKind::SourceChanged
                | ErrorKind::SourceUnavailable
                | ErrorKind::StorageUnavailable
                | ErrorKind::Contention
                | ErrorKind::CommitUnknown => true,
                ErrorKind::SourceInvalid => self.is_bad(receipt),
                ErrorKind::SchemaMismatch => log::shapes(&self.log).any(|shape| shape.is_shut()),
                // A listing that shows less than there is looks like damage, and must.
                ErrorKind::TableInvalid | ErrorKind::LedgerMissing => {
                    self.world.script.faults.lag > 0.0
                }
                ErrorKind::SourceRefused => self.world.script.on_changed == OnChanged::Fail,
                _ => false,
            };
            if !is_fair {
                return broken("faults are not called damage", format!("{run}: {receipt:?}"));
            }
        }
        Ok(())
    }

    fn is_bad(&self, receipt: &Receipt) -> bool {
        let bad = self.world.script.bad_object;
        bad.is_some_and(|object| world::uri(object) == receipt.source)
    }

    /// Once the store is well again, one more run takes whatever is wanted.
    fn nothing_is_left_out(&self) -> Audit {
        let last = self.journal.receipts.iter().filter(|(run, _)| run == "last");
        let is_shut = log::shapes(&self.log).next_back().is_some_and(|shape| shape.is_shut());
        for (_, receipt) in last {
            let is_wanted = match receipt.error.as_ref().map(|error| error.kind) {
                None => continue,
                Some(ErrorKind::SourceInvalid) => !self.is_bad(receipt),
                Some(ErrorKind::SourceRefused) => self.world.script.on_changed != OnChanged::Fail,
                Some(ErrorKind::SchemaMismatch) => !is_shut,
                Some(_) => true,
            };
            if is_wanted {
                return broken("nothing is left out", format!("{receipt:?}"));
            }
        }
        let told = self.journal.receipts.iter().filter(|(run, _)| run == "last").count();
        if told != self.world.script.objects {
            return broken("every object ends in a receipt", format!("{told}"));
        }
        let first_contents = self.journal.contents.values().filter(|content| content.version == 0);
        for first in first_contents {
            let uri = world::uri(first.object);
            let any = self.entries.iter().any(|entry| text(entry, "name") == uri)
                || self.journal.copied.contains(&uri);
            let is_wanted =
                first.rows > 0 && self.world.script.bad_object != Some(first.object) && !is_shut;
            if is_wanted && !any {
                return broken("nothing is left out", format!("{first:?}, of {}", self.log.len()));
            }
        }
        Ok(())
    }
}

fn text(entry: &Value, field: &str) -> String {
    entry[field].as_str().unwrap_or_default().to_owned()
}
