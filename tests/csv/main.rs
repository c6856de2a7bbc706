//! CSV as it really is: cases of files, configurations, and what must come of them.
//!
//! A case is a folder below one of the subjects beside this file; README.md says what is in it. Each is
//! ingested into a table of its own, in memory, and the table is read. All cases that fail are told at
//! once, with what differs. Where `LAKEFEED_CSV_UPDATE` is set, what came of a case that fails is put
//! beside it as `expected.new.json`, for a person to look at and rename; it fails all the same.
#![cfg(feature = "delta")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)] // Whether to write what came of a case, the environment says.

mod case;
mod difference;
mod large;
mod world;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use futures::StreamExt;

use case::Case;

/// Cases that run at once.
const CASES_AT_ONCE_MAX: usize = 8;
/// Fewer are a sign that this looks in the wrong place.
const CASES_MIN: usize = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_is_read_as_expected() {
    let wanted = std::env::var("LAKEFEED_CSV_CASES").unwrap_or_default();
    let update = std::env::var_os("LAKEFEED_CSV_UPDATE").is_some();
    let folders = folders();
    assert!(folders.len() >= CASES_MIN, "only {} cases", folders.len());
    let cases: Vec<Case> = folders
        .into_iter()
        .filter(|folder| folder.to_string_lossy().contains(&wanted))
        .map(Case::read)
        .collect();
    let count = cases.len();
    let mut failures: Vec<(String, Vec<String>)> = futures::stream::iter(cases)
        .map(|case| async move { (case.name(), case.run(update).await) })
        .buffer_unordered(CASES_AT_ONCE_MAX)
        .filter(|(_, differences)| futures::future::ready(!differences.is_empty()))
        .collect()
        .await;
    failures.sort();
    let mut report = String::new();
    for (name, differences) in &failures {
        write!(report, "\n{name}\n  {}\n", differences.join("\n  ")).unwrap();
    }
    assert!(failures.is_empty(), "{} of {count} cases fail\n{report}", failures.len());
}

/// The folders of all cases: those that have an `expected.json`.
fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/csv");
    let mut found: Vec<PathBuf> = children(&root)
        .into_iter()
        .flat_map(|subject| children(&subject))
        .filter(|folder| folder.join("expected.json").is_file())
        .collect();
    found.sort();
    found
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).collect()
}
