//! Runs of the ledger, merged by commits of their own.

use std::time::Duration;

use super::pin::Base;
use super::{Pin, back_off, lost_every_race, move_pointer, pin_again, unknown};
use crate::environment::Environment;
use crate::error::{ErrorKind, Result};
use crate::ledger::{Merged, Run};
use crate::table::{CommitOutcome, Table};

/// Merges in one go: each leaves one run of several.
const MERGES_MAX: u64 = 64;
/// What a merge takes at least, and how far it gets, where there is a third of a processor and a store
/// that answers slowly.
const MERGE_TIME_MIN: Duration = Duration::from_secs(5);
const MERGE_ENTRIES_PER_SECOND: u64 = 50_000;

/// Merges runs of the ledger until no more are to be merged, or until no commit would come to its
/// end in time. A merged run is put on top of whatever has become of the ledger, as long as that
/// still names what it was made of.
///
/// # Errors
/// [`ErrorKind::Contention`] when `attempts_max` races were lost, [`ErrorKind::CommitUnknown`], those
/// of [`crate::ledger::Ledger::merge`] and of the storage. The ledger says what it said before.
pub async fn merge_ledger(
    environment: &Environment,
    table: &dyn Table,
    ledger: &str,
    attempts_max: u32,
) -> Result<u64> {
    let (mut merges, mut missing_at) = (0, None);
    for _ in 0..MERGES_MAX {
        let Some(pin) = Pin::newest(table, ledger).await? else { break };
        let Some(inputs) = pin.ledger.runs_to_merge(environment) else { break };
        if !environment.has_time(time_to_merge(&inputs)) {
            tracing::warn!(uri = table.uri(), "no time to merge the ledger's runs");
            break;
        }
        let pointer = pin.ledger.pointer();
        let merged = match pin.ledger.merge(environment, table, inputs).await {
            Ok(merged) => merged,
            // Another has merged them, and they are gone (12).
            Err(error)
                if error.kind() == ErrorKind::LedgerMissing && missing_at != Some(pointer) =>
            {
                missing_at = Some(pointer);
                continue;
            }
            Err(error) => return Err(error),
        };
        match put_merged(environment, table, pin, &merged, attempts_max).await {
            Ok(true) => merges += 1,
            // Another has merged them, or started the ledger anew.
            Ok(false) => merged.delete(table).await,
            Err(error) => {
                if !error.kind().might_have_happened() {
                    merged.delete(table).await;
                }
                return Err(error);
            }
        }
    }
    Ok(merges)
}

/// What merging these runs may take.
fn time_to_merge(inputs: &[Run]) -> Duration {
    let entries: u64 = inputs.iter().map(|run| run.entries).sum();
    MERGE_TIME_MIN + Duration::from_secs(entries / MERGE_ENTRIES_PER_SECOND)
}

/// Whether the merged run is in the ledger now.
async fn put_merged(
    environment: &Environment,
    table: &dyn Table,
    mut pin: Pin,
    merged: &Merged,
    attempts_max: u32,
) -> Result<bool> {
    for attempt in 1..=attempts_max {
        let Base::Present(snapshot) = &pin.base else { return Ok(false) };
        let tail = pin.ledger.write_merged_tail(environment, table, merged).await?;
        let Some(tail) = tail else { return Ok(false) };
        match move_pointer(environment, table, snapshot, &pin.ledger, tail).await? {
            CommitOutcome::Committed(_) => return Ok(true),
            CommitOutcome::Conflict => back_off(environment, attempt).await,
            CommitOutcome::Unknown => return Err(unknown(table, snapshot.version + 1)),
        }
        pin = pin_again(table, &pin).await?;
    }
    Err(lost_every_race(table, attempts_max))
}
