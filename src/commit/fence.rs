//! A new fence, moved by a commit of its own.

use super::pin::Base;
use super::{Pin, adopt, back_off, lost_every_race, move_pointer, pin_again, unknown};
use crate::environment::Environment;
use crate::error::Result;
use crate::table::{CommitOutcome, Table};

/// Puts the ledger behind a new fence, and pins the table behind it: whatever was planned before, and
/// is not committed at this pin, never will be. A fence that another moves meanwhile serves as well.
///
/// # Errors
/// [`crate::table::missing`]; [`Contention`](crate::error::ErrorKind::Contention) when `attempts_max` races were
/// lost; [`CommitUnknown`](crate::error::ErrorKind::CommitUnknown); those of the storage. No ingest is worse off
/// for a fence: those under way plan again.
pub async fn move_fence(
    environment: &Environment,
    table: &dyn Table,
    ledger: &str,
    attempts_max: u32,
) -> Result<Pin> {
    let mut pin = Pin::newest(table, ledger).await?.ok_or_else(|| crate::table::missing(table))?;
    let before = pin.ledger.fence();
    let mut in_doubt = None;
    for attempt in 1..=attempts_max {
        let Base::Present(snapshot) = &pin.base else { break };
        let outcome = match pin.ledger.pointer() {
            None => adopt(environment, table, &pin, snapshot).await?,
            Some(_) => {
                let tail = pin.ledger.write_fenced_tail(environment, table).await?;
                move_pointer(environment, table, snapshot, &pin.ledger, tail).await?
            }
        };
        in_doubt = (outcome == CommitOutcome::Unknown).then_some(snapshot.version + 1);
        if outcome == CommitOutcome::Conflict {
            back_off(environment, attempt).await;
        }
        pin = pin_again(table, &pin).await?;
        if pin.ledger.fence() > before {
            return Ok(pin);
        }
    }
    Err(match in_doubt {
        Some(slot) => unknown(table, slot),
        None => lost_every_race(table, attempts_max),
    })
}
