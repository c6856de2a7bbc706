//! One version of a table, which everything is planned on.

use std::sync::Arc;

use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::{self, Found, Ledger};
use crate::parquet::Destination;
use crate::table::{Creation, Evolution, FileOrigin, Layout, Snapshot, Table, TableDefinition};

/// How often a table is loaded whose ledger seems to be missing.
const LOADS_MAX: u32 = 4;

/// One version of the table, and what its ledger says at that version.
#[derive(Debug, Clone)]
pub struct Pin {
    pub(super) base: Base,
    pub(super) ledger: Arc<Ledger>,
    /// A change of the table's columns that what is planned on this pin makes.
    pub(super) evolution: Option<Evolution>,
}

#[derive(Clone)]
pub(super) enum Base {
    /// There is a table.
    Present(Snapshot),
    /// There is none yet; this is how it would begin.
    Absent(Creation),
}

impl std::fmt::Debug for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Present(snapshot) => snapshot.fmt(f),
            Self::Absent(creation) => write!(f, "Absent({})", creation.table_id),
        }
    }
}

impl Pin {
    /// Pins the newest version of the table, if there is one.
    ///
    /// # Errors
    /// Those of [`Table::load`] and [`Ledger::load`].
    pub async fn newest(table: &dyn Table, ledger: &str) -> Result<Option<Self>> {
        let pinned = Self::newest_with(table, ledger, &[]).await?;
        Ok(pinned.map(|(pin, _)| pin))
    }

    /// Pins the newest version of the table, if there is one, and looks up `names` in its ledger.
    ///
    /// # Errors
    /// Those of [`Table::load`], [`Ledger::load`] and [`Ledger::find`].
    pub async fn newest_with(
        table: &dyn Table,
        ledger: &str,
        names: &[&str],
    ) -> Result<Option<(Self, Found)>> {
        let mut loads = 1;
        let mut missing_at = None;
        loop {
            let Some(snapshot) = table.load(ledger).await? else { return Ok(None) };
            let pointer = snapshot.pointer;
            match look_up(table, &snapshot, ledger, names).await {
                Ok((ledger, found)) => {
                    let ledger = Arc::new(ledger);
                    let pin = Self { base: Base::Present(snapshot), ledger, evolution: None };
                    return Ok(Some((pin, found)));
                }
                // Another writer may have adopted the table since, or may have deleted what its
                // ledger no longer names: only the current pointer tells what is missing (12).
                Err(error) if error.kind() == ErrorKind::LedgerMissing && loads < LOADS_MAX => {
                    loads += 1;
                    missing_at = Some(pointer);
                }
                Err(error) if error.kind() == ErrorKind::LedgerMissing => {
                    return Err(if missing_at == Some(pointer) { error } else { outrun(error) });
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Pins the absence of a table, which would begin as `definition` says. Nothing is written.
    ///
    /// # Errors
    /// Those of [`Table::plan_creation`].
    pub async fn absence(
        environment: &Environment,
        table: &dyn Table,
        ledger: &str,
        definition: &TableDefinition,
    ) -> Result<Self> {
        let pointer = ledger::first_pointer(&environment.entropy);
        let creation = table.plan_creation(definition, ledger, pointer).await?;
        let ledger = Ledger::unadopted(ledger, &creation.table_id);
        Ok(Self { base: Base::Absent(creation), ledger: Arc::new(ledger), evolution: None })
    }

    /// The same pin, on which everything is planned for a table whose columns have changed so: whatever
    /// is committed first changes them.
    pub fn evolved(&self, evolution: Evolution) -> Self {
        Self { evolution: Some(evolution), ..self.clone() }
    }

    /// What the table has taken at this pin.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// How the table will want the data files of what is planned on this pin.
    pub fn layout(&self) -> &Arc<Layout> {
        self.evolution.as_ref().map_or(self.table_layout(), |evolution| &evolution.layout)
    }

    /// How the table wants its data files as it is.
    pub(super) fn table_layout(&self) -> &Arc<Layout> {
        match &self.base {
            Base::Present(snapshot) => &snapshot.layout,
            Base::Absent(creation) => &creation.layout,
        }
    }

    /// Where the data files of what is planned on this pin go.
    pub fn destination(&self, table: &dyn Table) -> Destination {
        Destination::in_table(table, self.layout(), self.origin())
    }

    /// What the names of those files tell.
    pub(super) fn origin(&self) -> FileOrigin {
        FileOrigin { ledger: self.ledger.name().to_owned(), fence: self.ledger.fence() }
    }

    /// The pinned version; nothing where there is no table.
    pub fn version(&self) -> Option<u64> {
        self.snapshot().map(|snapshot| snapshot.version)
    }

    /// The table at the pinned version; nothing where there is no table.
    pub fn snapshot(&self) -> Option<&Snapshot> {
        match &self.base {
            Base::Present(snapshot) => Some(snapshot),
            Base::Absent(_) => None,
        }
    }
}

/// What was missing was another thing each time: nothing is wrong.
fn outrun(missing: Error) -> Error {
    Error::new(ErrorKind::StorageUnavailable, "the ledger moves on faster than it is read")
        .with_cause(missing)
        .with_advice("run again; nothing is missing")
}

async fn look_up(
    table: &dyn Table,
    snapshot: &Snapshot,
    ledger: &str,
    names: &[&str],
) -> Result<(Ledger, Found)> {
    let ledger = Ledger::load(table, &snapshot.table_id, ledger, snapshot.pointer).await?;
    let found = ledger.find(table, names.iter().copied()).await?;
    Ok((ledger, found))
}
