//! The files of one append: rows that the table takes, and rows that it does not.

use super::quarantine::{Quarantine, QuarantineFile};
use crate::error::Result;
use crate::parquet::TableWriter;
use crate::table::{DataFile, Table, delete_data_files};

/// The files while they are written.
pub(super) struct Writing {
    /// Begun with the first row that the table takes.
    pub writer: Option<TableWriter>,
    pub quarantine: Quarantine,
}

/// The files, durable, and not named by a commit yet.
pub(super) struct Written {
    pub files: Vec<DataFile>,
    pub quarantine: Option<QuarantineFile>,
}

impl Writing {
    /// Ends all files. Where one cannot be ended, nothing of the others stays.
    ///
    /// # Errors
    /// Those of [`TableWriter::finish`] and [`Quarantine::finish`].
    pub async fn finish(self, table: &dyn Table) -> Result<Written> {
        let Self { writer, quarantine } = self;
        let files = match writer {
            Some(writer) => writer.finish().await,
            None => Ok(Vec::new()),
        };
        let files = match files {
            Ok(files) => files,
            Err(error) => {
                quarantine.abort().await;
                return Err(error);
            }
        };
        match quarantine.finish().await {
            Ok(quarantine) => Ok(Written { files, quarantine }),
            Err(error) => {
                delete_data_files(table, files.iter()).await;
                Err(error)
            }
        }
    }

    /// Gives all files up.
    pub async fn abort(self) {
        if let Some(writer) = self.writer {
            writer.abort().await;
        }
        self.quarantine.abort().await;
    }
}

impl Written {
    /// Deletes all files, now that no commit can have named them. Best effort.
    pub async fn delete(&self, table: &dyn Table) {
        delete_data_files(table, self.files.iter()).await;
        if let Some(quarantine) = &self.quarantine {
            quarantine.delete().await;
        }
    }
}
