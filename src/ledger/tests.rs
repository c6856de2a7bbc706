//! The ledger's files, beside a list of what they should say.
#![cfg(feature = "delta")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use object_store::memory::InMemory;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

use super::*;
use crate::clock::SystemClock;
use crate::config::Feed;
use crate::memory::MemoryBudget;
use crate::store::Stores;

const TABLE_ID: &str = "4ffcd4bb-0f52-4d7f-a6d7-4a1d5ab5ca26";

/// The files of one ledger, and what they should say.
struct World {
    environment: Environment,
    table: Box<dyn Table>,
    ledger: Ledger,
    expected: Vec<Entry>,
}

impl World {
    async fn new(limits: Limits) -> Self {
        let stores = Stores::new(PathBuf::from("/"));
        stores.overlay("memory", Arc::new(InMemory::new()));
        let environment = Environment {
            clock: Arc::new(SystemClock::default()),
            entropy: Arc::new(Entropy::from_seed(1)),
            stores: Arc::new(stores),
            process: "test".to_owned(),
            time_box: None,
            budget: MemoryBudget::for_process(1 << 30).unwrap(),
            ledger: limits,
        };
        let feed = Feed { table: "memory:///t".to_owned(), ..Feed::default() };
        let table = crate::table::open(&environment, &feed).unwrap();
        let none = Ledger::unadopted("default", TABLE_ID);
        let pointer = first_pointer(&environment.entropy);
        let first = none.write_first_tail(table.as_ref(), pointer).await.unwrap();
        let mut world = Self { environment, table, ledger: none, expected: Vec::new() };
        world.commit(first).await;
        world
    }

    async fn commit(&mut self, next: NextTail) {
        let (table, pointer) = (self.table.as_ref(), next.pointer);
        delete_all(table, next.settle(table, CommitOutcome::Committed(0)).await).await;
        self.ledger = self.load(pointer).await.unwrap();
    }

    async fn load(&self, pointer: Pointer) -> Result<Ledger> {
        Ledger::load(self.table.as_ref(), TABLE_ID, "default", Some(pointer)).await
    }

    fn entry(&self, name: &str) -> Entry {
        let sequence = self.ledger.sequence() + 1;
        Entry {
            name: name.to_owned(),
            sequence,
            identity: format!("etag:{sequence:x}:7"),
            size_bytes: 7,
            content: Entry::render_content(sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            append: self.environment.entropy.uuid(),
            version: sequence + 3,
            rows: sequence % 5,
            rows_rejected: sequence % 2,
            quarantine: None,
            at: self.environment.clock.now(),
            state: if sequence.is_multiple_of(7) { EntryState::Alias } else { EntryState::In },
        }
    }

    async fn enter(&mut self, names: impl IntoIterator<Item = &str>) {
        let entries: Vec<Entry> = names.into_iter().map(|name| self.entry(name)).collect();
        self.expected.extend(entries.clone());
        let next =
            self.ledger.write_next_tail(&self.environment, self.table.as_ref(), entries).await;
        self.commit(next.unwrap()).await;
    }

    async fn merge(&mut self) -> bool {
        let (environment, table) = (&self.environment, self.table.as_ref());
        let Some(inputs) = self.ledger.runs_to_merge(environment) else { return false };
        let merged = self.ledger.merge(environment, table, inputs).await.unwrap();
        let next = self.ledger.write_merged_tail(environment, table, &merged).await.unwrap();
        self.commit(next.unwrap()).await;
        true
    }

    async fn found(&self, names: &BTreeSet<String>, after: u64) -> Vec<Entry> {
        let names = names.iter().map(String::as_str);
        let found = self.ledger.find_after(self.table.as_ref(), names, after).await.unwrap();
        sorted(found.entries().cloned())
    }

    async fn files(&self) -> Vec<String> {
        let folder = self.ledger.place.folder(self.table.as_ref());
        let relative = |meta: object_store::ObjectMeta| {
            let rest = meta.location.prefix_match(&folder).unwrap();
            rest.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/")
        };
        let mut files: Vec<String> =
            self.table.store().list(Some(&folder)).map_ok(relative).try_collect().await.unwrap();
        files.sort();
        files
    }
}

fn sorted(entries: impl Iterator<Item = Entry>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = entries.collect();
    entries.sort_by(|a, b| (&a.name, a.sequence).cmp(&(&b.name, b.sequence)));
    entries
}

/// As small as they can be.
fn tiny() -> Limits {
    Limits { tail_entries_max: 2, runs_alike_max: 2, merge_interval: 1, retired_files_max: 4 }
}

fn name(number: u32) -> String {
    // Longer than bounds are by default, and different only after that; with what JSON escapes.
    format!("s3://landing/{}/\"a\\b\"/ü {number}.csv", "x".repeat(80))
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_folded_and_merged_nothing_is_forgotten() {
    for seed in 0..20 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut world = World::new(tiny()).await;
        for _ in 0..30 {
            if rng.random_bool(0.3) {
                world.merge().await;
            } else {
                let some = rng.random_range(1..6);
                let names: BTreeSet<String> =
                    (0..some).map(|_| name(rng.random_range(0..40))).collect();
                world.enter(names.iter().map(String::as_str)).await;
            }
            let asked: BTreeSet<String> = (0..5).map(|_| name(rng.random_range(0..50))).collect();
            let after = rng.random_range(0..=world.ledger.sequence());
            let expected = world
                .expected
                .iter()
                .filter(|entry| asked.contains(&entry.name) && entry.sequence > after);
            assert_eq!(world.found(&asked, after).await, sorted(expected.cloned()), "{seed}");
        }
        let all: Vec<Entry> =
            world.ledger.entries(world.table.as_ref()).try_concat().await.unwrap();
        assert_eq!(sorted(all.into_iter()), sorted(world.expected.iter().cloned()));
        assert_eq!(world.ledger.count(), world.expected.len() as u64);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_stay_few_and_their_files_too() {
    let mut world = World::new(tiny()).await;
    for number in 0..100 {
        world.enter([name(number).as_str(), "b", "c"]).await;
        while world.merge().await {}
    }
    assert!(world.ledger.runs().len() <= 9, "{}", world.ledger.runs().len());
    let named: BTreeSet<String> = std::iter::once(tail::file_of(world.ledger.pointer().unwrap()))
        .chain(world.ledger.runs().iter().map(|run| run.file.clone()))
        .chain(world.ledger.header.retired.iter().cloned())
        .collect();
    assert_eq!(world.files().await, Vec::from_iter(named));
    assert!(world.ledger.header.retired.len() <= 7, "{:?}", world.ledger.header.retired);
}

/// More than one row group, with one name on both sides of their boundary.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_many_row_groups_finds_each_name() {
    let mut world = World::new(Limits { tail_entries_max: 0, ..tiny() }).await;
    for _ in 0..3 {
        // A row group has 17,500 rows, and three do not go into that.
        let names: Vec<String> = (0..20_000).map(|n| format!("{n:06}.csv")).collect();
        world.enter(names.iter().map(String::as_str)).await;
    }
    while world.merge().await {}
    assert_eq!(world.ledger.runs().len(), 1);
    let asked: BTreeSet<String> =
        ["000000.csv", "005833.csv", "005834.csv", "011666.csv", "019999.csv", "nothing", "0"]
            .map(str::to_owned)
            .into();
    let expected = world.expected.iter().filter(|entry| asked.contains(&entry.name));
    assert_eq!(world.found(&asked, 0).await, sorted(expected.cloned()));
    assert_eq!(world.found(&asked, 0).await.len(), 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_attempt_leaves_nothing_and_an_unknown_one_everything() {
    let mut world = World::new(tiny()).await;
    world.enter(["a", "b", "c", "d"]).await;
    let before = world.files().await;
    for (outcome, is_left) in [(CommitOutcome::Conflict, false), (CommitOutcome::Unknown, true)] {
        let added = ["e", "f", "g"].map(|name| world.entry(name)).to_vec();
        let (environment, table) = (&world.environment, world.table.as_ref());
        let next = world.ledger.write_next_tail(environment, table, added).await.unwrap();
        assert_eq!(world.files().await.len(), before.len() + 2);
        assert!(next.settle(table, outcome).await.is_empty());
        assert_eq!(world.files().await != before, is_left, "{outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_is_not_put_on_what_it_was_not_made_of() {
    let mut world = World::new(tiny()).await;
    for names in [["a", "b", "c"], ["d", "e", "f"]] {
        world.enter(names).await;
    }
    let (environment, table) = (&world.environment, world.table.as_ref());
    let inputs = world.ledger.runs_to_merge(environment).unwrap();
    let merged = world.ledger.merge(environment, table, inputs).await.unwrap();
    let fresh = world.ledger.write_fresh_tail(environment, table, &[]).await.unwrap();
    let reset = world.load(fresh.pointer).await.unwrap();
    assert!(reset.write_merged_tail(environment, table, &merged).await.unwrap().is_none());
    let next = world.ledger.write_merged_tail(environment, table, &merged).await.unwrap();
    let next = world.load(next.unwrap().pointer).await.unwrap();
    assert!(next.write_merged_tail(environment, table, &merged).await.unwrap().is_none());
    assert_eq!(next.count(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_is_not_put_behind_another_fence() {
    let mut world = World::new(tiny()).await;
    for names in [["a", "b", "c"], ["d", "e", "f"]] {
        world.enter(names).await;
    }
    let (environment, table) = (&world.environment, world.table.as_ref());
    let inputs = world.ledger.runs_to_merge(environment).unwrap();
    let merged = world.ledger.merge(environment, table, inputs).await.unwrap();
    let fenced = world.ledger.write_fenced_tail(environment, table).await.unwrap();
    let fenced = world.load(fenced.pointer).await.unwrap();
    assert_eq!((fenced.fence(), fenced.count()), (world.ledger.sequence() + 1, 6));
    assert_eq!(fenced.runs(), world.ledger.runs());
    assert!(fenced.write_merged_tail(environment, table, &merged).await.unwrap().is_none());
    // Nobody names it, and nobody will.
    let orphans = fenced.orphans(table, fenced.fence(), 100).await.unwrap();
    let orphans: Vec<_> = orphans.iter().filter_map(|file| file.location.filename()).collect();
    assert_eq!(orphans, [merged.file_name()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_gone_or_damaged_is_missing_and_not_empty() {
    let mut world = World::new(tiny()).await;
    world.enter(["a", "b", "c"]).await;
    let table = world.table.as_ref();
    let path = world.ledger.place.file(table, &world.ledger.runs()[0].file);
    let body = table.store().get(&path).await.unwrap().bytes().await.unwrap();
    let damaged: Vec<u8> = body.iter().map(|byte| byte ^ 1).collect();
    table.store().put(&path, damaged.into()).await.unwrap();
    let error = world.ledger.find(table, ["b"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LedgerMissing, "{error}");
    table.store().delete(&path).await.unwrap();
    let error = world.ledger.find(table, ["b"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LedgerMissing, "{error}");
    // What cannot be in it needs no look.
    assert!(world.ledger.find(table, ["z"]).await.unwrap().of("z").is_empty());
}

/// A filter twice as large would be no better, and cost each look-up.
#[tokio::test(flavor = "multi_thread")]
async fn a_filter_is_of_the_size_that_was_reckoned_with() {
    let mut world = World::new(tiny()).await;
    let names: Vec<String> = (0..40_000).map(|n| format!("{n}.csv")).collect();
    world.enter(names.iter().map(String::as_str)).await;
    let run = &world.ledger.runs()[0];
    let table = world.table.as_ref();
    let body = table.store().get(&world.ledger.place.file(table, &run.file)).await.unwrap();
    let body = body.bytes().await.unwrap();
    let footer =
        parquet::file::metadata::ParquetMetaDataReader::new().parse_and_finish(&body).unwrap();
    assert_eq!(footer.num_row_groups(), 3);
    for group in footer.row_groups() {
        let bytes = group.column(run::NAME).bloom_filter_length().unwrap();
        assert!(bytes <= (32 << 10) + 64, "{bytes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_lakefeeds_ledger_is_refused() {
    let mut world = World::new(tiny()).await;
    world.enter(["a"]).await;
    let table = world.table.as_ref();
    let pointer = world.ledger.pointer().unwrap();
    let path = world.ledger.place.file(table, &tail::file_of(pointer));
    let body = table.store().get(&path).await.unwrap().bytes().await.unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    let newer = text.replace("lakefeed-ledger/2", "lakefeed-ledger/3");
    table.store().put(&path, newer.into_bytes().into()).await.unwrap();
    let error = world.load(pointer).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TableUnsupported, "{error}");
    assert!(error.to_string().contains("lakefeed-ledger/3"), "{error}");
}

#[test]
fn an_append_id_is_no_name() {
    // The files of runs are no tails, whatever their names look like.
    assert_eq!(tail::pointer_in(&format!("{}.ledger", Uuid::nil())), None);
    assert_eq!(tail::pointer_in(&tail::file_of(7 << 24 | 5)), Some(7 << 24 | 5));
}

fn taken(sequence: u64, rows: u64, state: EntryState) -> Entry {
    let identity = format!("v{sequence}");
    Entry { sequence, identity, state, ..Entry::of_any_version("a", rows, 0) }
}

/// With `dedupe = "column"`: what it holds, what the ledger says, and what counts of that.
#[test]
fn what_the_table_holds_decides_what_was_taken() {
    use EntryState::{In, Undone};
    let (first, void) = (taken(1, 5, In), taken(2, 0, In));
    let (undone, again) = (taken(3, 0, Undone), taken(4, 5, In));
    let cases: [(bool, &[&Entry], &[&Entry]); 7] = [
        (true, &[&first], &[&first]),
        (false, &[&first], &[]),
        (false, &[&first, &void], &[&void]),
        (false, &[&first, &undone], &[&undone]),
        // Somebody has deleted what was taken again.
        (false, &[&first, &undone, &again], &[]),
        (false, &[&void, &undone, &again], &[&void]),
        (true, &[&undone, &again], &[&undone, &again]),
    ];
    for (is_held, entries, expected) in cases {
        let held = is_held.then(|| ("a".to_owned(), 5)).into_iter().collect();
        let found: Found = entries.iter().copied().cloned().collect();
        let counted = found.as_held(&held, 7);
        assert!(counted.of("a").iter().eq(expected.iter().copied()), "{is_held} {entries:?}");
    }
    // Rows that the ledger does not account for are of any version.
    let found: Found = [undone].into_iter().collect();
    let counted = found.as_held(&[("a".to_owned(), 5)].into(), 7);
    assert_eq!(counted.of("a"), [Entry::of_any_version("a", 5, 7)]);
}

#[test]
fn what_was_undone_stands_as_undone_whichever_version_it_is() {
    let entries = [taken(1, 5, EntryState::In), taken(2, 5, EntryState::In)];
    let undone = Entry { identity: "v2".to_owned(), ..taken(3, 0, EntryState::Undone) };
    let again = Entry { identity: "v1".to_owned(), ..taken(4, 5, EntryState::In) };
    let found: Found = entries.into_iter().chain([undone.clone()]).collect();
    assert_eq!(found.standing("a", "v1"), Standing::Taken(&undone));
    assert_eq!(found.standing("a", "v2"), Standing::Taken(&undone));
    let found: Found = found.entries().cloned().chain([again.clone()]).collect();
    assert_eq!(found.standing("a", "v1"), Standing::Taken(&again));
    assert_eq!(found.standing("a", "v2"), Standing::Taken(&undone));
}
