//! Log files that have had their time.
//!
//! A table keeps its history for as long as it says (`delta.logRetentionDuration`, 30 days where it
//! does not). What is older than that, and behind a checkpoint from which every younger version can
//! still be read, is taken away after a checkpoint was written, the oldest first, some at a time.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use delta_kernel::snapshot::Snapshot as KernelSnapshot;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectMeta;
use object_store::path::Path;

use super::sidecars::CHECKPOINTS_MAX;
use super::{DeltaTable, hint, slot};
use crate::error::Result;
use crate::store::storage_error;

/// How long a log is kept, where the table does not say.
const RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);
/// Files that are taken away after one checkpoint: many more than are written between two.
const FILES_REMOVED_MAX: usize = 1_000;
/// A writer's promise to keep what is behind certain checkpoints.
const PROTECTION_FEATURE: &str = "checkpointProtection";

/// How long the table keeps its log; nothing, where that is not for us to decide.
pub(super) fn retention(snapshot: &KernelSnapshot) -> Option<Duration> {
    let properties = snapshot.table_properties();
    let protocol = snapshot.table_configuration().protocol();
    let mut features = protocol.writer_features().into_iter().flatten();
    let is_protected = features.any(|feature| feature.as_ref() == PROTECTION_FEATURE);
    let is_wanted = properties.enable_expired_log_cleanup.unwrap_or(true) && !is_protected;
    is_wanted.then(|| properties.log_retention_duration.unwrap_or(RETENTION))
}

impl DeltaTable {
    /// Takes away log files that are older than `retention` and that no younger version needs, and where
    /// the table has sidecars, those that no checkpoint names any more; how many.
    ///
    /// # Errors
    /// Those of listing. What could not be deleted is left for the next time.
    pub(super) async fn remove_expired_log_files(
        &self,
        retention: Duration,
        has_sidecars: bool,
    ) -> Result<u64> {
        let log = self.log();
        let horizon = self.clock.now() - retention;
        let failed = |cause| storage_error(log.as_ref(), cause);
        let mut files = self.store.list(Some(&log)).map_err(failed);
        let (mut seen, mut checkpoints) = (Seen::default(), Vec::new());
        while let Some(file) = files.try_next().await? {
            // What lies in folders has names of its own kind: the ledger's are numbers, too.
            if file.location.prefix_match(&log).is_some_and(|parts| parts.count() == 1) {
                if has_sidecars && is_checkpoint(&file) && checkpoints.len() <= CHECKPOINTS_MAX {
                    checkpoints.push(file.clone());
                }
                seen.add(file, horizon);
            }
        }
        let upto = hint::summed_up_to(self.store.as_ref(), &log).await?;
        let expired = seen.expired(upto);
        let gone: BTreeSet<Path> = expired.iter().cloned().collect();
        checkpoints.retain(|checkpoint: &ObjectMeta| !gone.contains(&checkpoint.location));
        let paths = stream::iter(expired.into_iter().map(Ok)).boxed();
        let mut removals = self.store.delete_stream(paths);
        let mut removed = 0;
        while let Some(removal) = removals.next().await {
            match removal {
                Ok(_) => removed += 1,
                Err(cause) => tracing::debug!(%cause, "an expired log file stays"),
            }
        }
        if has_sidecars && !gone.is_empty() {
            removed += self.remove_unnamed_sidecars(checkpoints, horizon).await?;
        }
        Ok(removed)
    }
}

/// What decides which files go, of a log that may have millions.
#[derive(Default)]
struct Seen {
    /// The oldest version of which a file is young.
    oldest_young: Option<u64>,
    /// The versions that one file sums up; one in a hundred.
    checkpoints: Vec<u64>,
    /// Files of the oldest versions, as many as may be taken away at once.
    oldest: BTreeSet<(u64, Path)>,
}

impl Seen {
    fn add(&mut self, file: ObjectMeta, horizon: DateTime<Utc>) {
        let Some(version) = version_of(&file) else { return };
        if file.last_modified >= horizon {
            self.oldest_young = Some(self.oldest_young.unwrap_or(version).min(version));
        }
        if is_whole_checkpoint(&file) {
            self.checkpoints.push(version);
        }
        self.oldest.insert((version, file.location));
        if self.oldest.len() > FILES_REMOVED_MAX {
            self.oldest.pop_last();
        }
    }

    /// The files to take away, the oldest first. `upto` is the version of the checkpoint that
    /// everybody knows of: only what is behind that one may be gone (see `hint`).
    fn expired(self, upto: Option<u64>) -> Vec<Path> {
        let Some(upto) = upto else { return Vec::new() };
        // Each version that is not too old must stay readable, and the newest in any case.
        let oldest_kept = self.oldest_young.unwrap_or(upto).min(upto);
        let behind = self.checkpoints.into_iter().filter(|version| *version <= oldest_kept).max();
        // None of these is young: `oldest_kept` is before all that are.
        let is_expired = |(version, _): &(u64, Path)| Some(*version) < behind;
        self.oldest.into_iter().take_while(is_expired).map(|(_, path)| path).collect()
    }
}

/// The version that a log file's name begins with; the last one of a file that compacts several.
fn version_of(file: &ObjectMeta) -> Option<u64> {
    let mut parts = file.location.filename()?.split('.');
    let first = slot::version(parts.next()?)?;
    Some(parts.next().and_then(slot::version).unwrap_or(first))
}

/// Whether this file sums a version up, alone or with others.
fn is_checkpoint(file: &ObjectMeta) -> bool {
    let name = file.location.filename().unwrap_or_default();
    name.get(slot::VERSION_DIGITS..).is_some_and(|rest| rest.starts_with(".checkpoint."))
}

/// Whether this one file sums a version up: it is not one of several parts, which may lack others.
fn is_whole_checkpoint(file: &ObjectMeta) -> bool {
    let name = file.location.filename().unwrap_or_default();
    name.get(slot::VERSION_DIGITS..) == Some(".checkpoint.parquet")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600;

    /// A log file of `version` that is so many days old.
    fn file(version: u64, suffix: &str, days: i64) -> ObjectMeta {
        ObjectMeta {
            location: Path::from(format!("t/_delta_log/{version:020}.{suffix}")),
            last_modified: DateTime::from_timestamp(100 * DAY - days * DAY, 0).unwrap(),
            size: 1,
            e_tag: None,
            version: None,
        }
    }

    fn names(listed: &[ObjectMeta], upto: Option<u64>) -> Vec<String> {
        let horizon = DateTime::from_timestamp((100 - 30) * DAY, 0).unwrap();
        let name = |path: Path| path.filename().unwrap().trim_start_matches('0').to_owned();
        let mut seen = Seen::default();
        listed.iter().for_each(|file| seen.add(file.clone(), horizon));
        seen.expired(upto).into_iter().map(name).collect()
    }

    /// Forty commits, one a day, the last of them today, and a checkpoint every ten.
    fn forty_days() -> Vec<ObjectMeta> {
        let commits = (1..=40).map(|version| file(version, "json", 40 - version as i64));
        let checkpoints = [10, 20, 30, 40]
            .map(|version| file(version, "checkpoint.parquet", 40 - version as i64));
        commits.chain(checkpoints).collect()
    }

    #[test]
    fn every_version_within_the_retention_stays_readable() {
        let log = forty_days();
        // Version 10 is 30 days old, and its checkpoint sums up what 9 and before say.
        let expected: Vec<String> = (1..10).map(|version| format!("{version}.json")).collect();
        assert_eq!(names(&log, Some(40)), expected);
        // Version 9 is young: nothing before it may go, as there is no checkpoint to read it from.
        let mut younger = log.clone();
        younger[8] = file(9, "json", 29);
        assert_eq!(names(&younger, Some(40)), Vec::<String>::new());
    }

    #[test]
    fn nothing_goes_that_no_hint_covers() {
        let mut log = forty_days();
        assert_eq!(names(&log, None), Vec::<String>::new());
        assert_eq!(names(&log, Some(9)), Vec::<String>::new());
        // However old all of it is, the newest checkpoint stays, with what comes after it.
        for file in &mut log {
            file.last_modified -= Duration::from_secs(1_000 * DAY as u64);
        }
        let left = |upto| log.len() - names(&log, upto).len();
        assert_eq!((left(Some(40)), left(Some(35)), left(Some(10))), (2, 13, 35));
    }

    #[test]
    fn only_log_files_go_and_parts_are_not_relied_on() {
        let odd = |name: &str| ObjectMeta {
            location: Path::from(format!("t/_delta_log/{name}")),
            ..file(0, "json", 99)
        };
        let mut log = vec![
            file(1, "json", 90),
            file(1, "crc", 90),
            file(5, "checkpoint.0000000001.0000000002.parquet", 90),
            odd("_last_checkpoint"),
            odd("1.json"),
            odd("notes.txt"),
            file(8, "json", 80),
        ];
        assert_eq!(names(&log, Some(8)), Vec::<String>::new());
        log.push(file(8, "checkpoint.parquet", 80));
        log.push(odd(&format!("{:020}.{:020}.compacted.json", 2, 8)));
        let parts = "5.checkpoint.0000000001.0000000002.parquet";
        assert_eq!(names(&log, Some(8)), ["1.crc", "1.json", parts]);
    }

    #[test]
    fn some_go_at_a_time_the_oldest_first() {
        let mut log: Vec<_> = (0..2_000).map(|version| file(version, "json", 90)).collect();
        log.push(file(1_999, "checkpoint.parquet", 90));
        log.reverse();
        let gone = names(&log, Some(1_999));
        assert_eq!(gone.len(), FILES_REMOVED_MAX);
        assert_eq!(gone[FILES_REMOVED_MAX - 1], "999.json");
    }
}
