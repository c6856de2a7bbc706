//! What a person does about a ledger that is missing, foreign or wrong.
//!
//! Each repair is one commit on the pinned version. It starts a ledger behind a new fence, so that
//! an ingest that is under way meanwhile starts again, and it never rebases over a winner.

use crate::commit;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::{Entry, Ledger};
use crate::table::{Snapshot, Table};

/// What a repair did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Repair {
    /// The version of the table that points to the ledger.
    pub version: u64,
    /// How many entries the ledger has.
    pub entries: u64,
}

/// Starts an empty ledger for a table that has none of its own. One that has is left alone.
///
/// # Errors
/// [`ErrorKind::TableInvalid`] where there is no table, [`ErrorKind::Contention`], and those of
/// [`Ledger::load`], but for [`ErrorKind::LedgerForeign`].
pub async fn adopt(environment: &Environment, table: &dyn Table, name: &str) -> Result<Repair> {
    let snapshot = existing(table, name).await?;
    match Ledger::load(table, &snapshot.table_id, name, snapshot.pointer).await {
        Ok(ledger) if ledger.pointer().is_some() => {
            Ok(Repair { version: snapshot.version, entries: ledger.count() })
        }
        Ok(_) => start(environment, table, name, &snapshot, &[]).await,
        Err(error) if error.kind() == ErrorKind::LedgerForeign => {
            start(environment, table, name, &snapshot, &[]).await
        }
        // One that cannot be read may be whole: to forget it takes a reset.
        Err(error) => Err(error),
    }
}

/// Forgets what was taken.
///
/// # Errors
/// As [`adopt`].
pub async fn reset(environment: &Environment, table: &dyn Table, name: &str) -> Result<Repair> {
    let snapshot = existing(table, name).await?;
    start(environment, table, name, &snapshot, &[]).await
}

/// Makes the ledger again from the names in `column`: one entry for each, which any version of its
/// object matches.
///
/// # Errors
/// [`ErrorKind::SchemaMismatch`] where the table has no such column; otherwise as [`adopt`].
pub async fn rebuild(
    environment: &Environment,
    table: &dyn Table,
    name: &str,
    column: &str,
) -> Result<Repair> {
    let snapshot = existing(table, name).await?;
    if snapshot.layout.schema.field_with_name(column).is_err() {
        return Err(Error::new(
            ErrorKind::SchemaMismatch,
            format!("the table has no column {column:?} to tell its sources from"),
        )
        .with_object(table.uri())
        .with_advice("run `lakefeed ledger reset TABLE` to start with an empty ledger"));
    }
    let sources = table.count_rows_by(&snapshot, column).await?;
    let (append, at) = (environment.entropy.uuid(), environment.clock.now());
    let entry = |(name, rows): (String, u64)| Entry {
        append,
        at,
        ..Entry::of_any_version(&name, rows, snapshot.version)
    };
    let entries: Vec<Entry> = sources.into_iter().map(entry).collect();
    start(environment, table, name, &snapshot, &entries).await
}

async fn existing(table: &dyn Table, name: &str) -> Result<Snapshot> {
    table.load(name).await?.ok_or_else(|| crate::table::missing(table))
}

async fn start(
    environment: &Environment,
    table: &dyn Table,
    name: &str,
    snapshot: &Snapshot,
    entries: &[Entry],
) -> Result<Repair> {
    let ledger = Ledger::abandoned(table, &snapshot.table_id, name, snapshot.pointer).await?;
    let version = commit::replace_ledger(environment, table, snapshot, &ledger, entries).await?;
    Ok(Repair { version, entries: entries.len() as u64 })
}
