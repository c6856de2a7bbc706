//! Arrow to Parquet: batches of rows in, finished data files out, in bounded memory.
//!
//! A [`TableWriter`] takes the batches of one append. Each open file encodes one row group at a
//! time; a finished row group moves to the file's part buffer, and every full part is sent at once,
//! so a file of any size passes through a row group and a few parts. A file is durable, and still
//! not part of any table, when [`TableWriter::finish`] names it.
//!
//! [`WriterLimits`] says how much may be held, and where; the writer reserves the sum when it is
//! made and counts against it as it goes.

mod partition;
mod properties;
mod statistics;
mod stored;
mod streamed;
mod table_writer;
mod upload;
mod writer;

#[cfg(test)]
mod tests;

#[cfg(feature = "iceberg")]
pub(crate) use statistics::{prefix, text_upper};
pub use stored::StoredFile;
pub use streamed::StreamedFile;
pub use table_writer::{Destination, TableWriter};

use crate::error::{Error, ErrorKind, Result};
use crate::memory::display_bytes;

/// S3 takes no smaller part, but for the last.
const PART_BYTES_MIN: usize = 5 << 20;
const PART_BYTES_MAX: usize = 6 << 20;
const PARTS_IN_FLIGHT_MAX: usize = 2;

const ROW_GROUP_BYTES_MAX: usize = 16 << 20;
const ROW_GROUP_ROWS_MAX: usize = 1 << 20;
/// A smaller row group is not worth its part of the footer.
const ROW_GROUP_MEMORY_BYTES_MIN: usize = 4 << 20;
const FILE_BYTES_TARGET: u64 = 128 << 20;
const OPEN_PARTITIONS_MAX: usize = 256;
const ROW_GROUPS_TIMES_COLUMNS_MAX: usize = 20_000;

const PAGE_BYTES_MIN: usize = 64 << 10;
const PAGE_BYTES_MAX: usize = 1 << 20;
const PAGE_ROWS_MAX: usize = 20_000;
const DICTIONARY_BYTES_MAX: usize = 32 << 10;

/// What a column of an open row group takes before its first value, and with a dictionary, whose
/// table of hashes is allocated at once.
const COLUMN_BYTES: usize = 4 << 10;
const DICTIONARY_COLUMN_BYTES: usize = 96 << 10;
/// A compressor's state; a column has one from its first full page on.
const CODEC_BYTES: usize = 640 << 10;
/// What the footer keeps in memory of one column of one finished row group, page index included.
const CHUNK_METADATA_BYTES: usize = 3 << 9;

/// How much a [`TableWriter`] may hold, and when a row group, a part, a file ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterLimits {
    /// A row group ends when so much is encoded,
    pub row_group_bytes_max: usize,
    /// or when it has so many rows,
    pub row_group_rows_max: usize,
    /// or when it takes so much memory: encoded pages, open pages, dictionaries and compressors.
    pub row_group_memory_bytes_max: usize,
    /// A batch is encoded in slices of about this size, the limits being looked at after each.
    pub slice_bytes_max: usize,
    /// A file ends when it is this large.
    pub file_bytes_target: u64,
    /// A file ends before its row groups times its columns are more: the footer is held whole.
    pub row_groups_times_columns_max: usize,
    /// The size of every part of a multipart upload but the last.
    pub part_bytes: usize,
    /// How many parts, of all files together, are being sent.
    pub parts_in_flight_max: usize,
    /// How many partitions have an open file.
    pub open_partitions_max: usize,
    /// What all open files together hold, parts in flight aside.
    pub open_files_bytes_max: usize,
    /// The size of a page before compression.
    pub page_bytes_max: usize,
    /// The rows of a page.
    pub page_rows_max: usize,
    /// The size of a column's dictionary in one row group; without dictionaries, nothing.
    pub dictionary_bytes_max: usize,
}

impl WriterLimits {
    /// The best limits for files of `column_count` columns whose sum,
    /// [`WriterLimits::held_bytes_max`] of a partitioned table, is `budget_bytes`.
    ///
    /// # Errors
    /// [`ErrorKind::OverBudget`] when not even one file can be written in that.
    pub fn within(budget_bytes: u64, column_count: usize) -> Result<Self> {
        let budget = usize::try_from(budget_bytes).unwrap_or(usize::MAX);
        let columns = column_count.max(1);

        let part_bytes = (budget / 8).clamp(PART_BYTES_MIN, PART_BYTES_MAX);
        let parts_in_flight_max = (budget / 8 / PART_BYTES_MIN).clamp(1, PARTS_IN_FLIGHT_MAX);
        let footer_bytes = (columns * CHUNK_METADATA_BYTES)
            .max((budget / 16).min(ROW_GROUPS_TIMES_COLUMNS_MAX * CHUNK_METADATA_BYTES));
        let fixed_bytes = part_bytes * (parts_in_flight_max + 1) + footer_bytes;

        // Of the rest, a ninth is for the slice that takes a row group over its limit.
        let row_group_memory = budget.saturating_sub(fixed_bytes) / 9 * 8;
        let row_group_memory_min = ROW_GROUP_MEMORY_BYTES_MIN + 2 * columns * COLUMN_BYTES;
        if row_group_memory < row_group_memory_min {
            return Err(over_budget(budget_bytes, columns, fixed_bytes, row_group_memory_min));
        }
        let codecs_bytes = columns * CODEC_BYTES;
        let row_group_memory_bytes_max =
            row_group_memory.min(2 * ROW_GROUP_BYTES_MAX + codecs_bytes.min(ROW_GROUP_BYTES_MAX));

        let with_dictionaries = columns * DICTIONARY_COLUMN_BYTES <= row_group_memory_bytes_max / 4;
        let open_file_bytes = columns * column_bytes(with_dictionaries);
        let open_files_bytes_max = budget - part_bytes * parts_in_flight_max;
        Ok(Self {
            row_group_bytes_max: (row_group_memory_bytes_max / 4 * 3).min(ROW_GROUP_BYTES_MAX),
            // A wide table's compressors would take more than its rows, were there one for each
            // column at a time. A row group that ends before its pages are full needs one in all.
            row_group_rows_max: if codecs_bytes > row_group_memory_bytes_max / 2 {
                PAGE_ROWS_MAX - 1
            } else {
                ROW_GROUP_ROWS_MAX
            },
            row_group_memory_bytes_max,
            slice_bytes_max: row_group_memory_bytes_max / 8,
            file_bytes_target: FILE_BYTES_TARGET,
            row_groups_times_columns_max: footer_bytes / CHUNK_METADATA_BYTES,
            part_bytes,
            parts_in_flight_max,
            open_partitions_max: (open_files_bytes_max / 2 / open_file_bytes)
                .clamp(1, OPEN_PARTITIONS_MAX),
            open_files_bytes_max,
            page_bytes_max: (row_group_memory_bytes_max / 16).clamp(PAGE_BYTES_MIN, PAGE_BYTES_MAX),
            page_rows_max: PAGE_ROWS_MAX,
            dictionary_bytes_max: if with_dictionaries { DICTIONARY_BYTES_MAX } else { 0 },
        })
    }

    /// The most that a writer within these limits holds: what it reserves. Without partitions
    /// there is one open file: a row group and the slice that ends it, less than one part that
    /// waits, and the footer.
    pub fn held_bytes_max(&self, is_partitioned: bool) -> u64 {
        let one_file = self.row_group_memory_bytes_max
            + self.slice_bytes_max
            + self.part_bytes
            + self.row_groups_times_columns_max * CHUNK_METADATA_BYTES;
        let open_files = if is_partitioned {
            self.open_files_bytes_max
        } else {
            self.open_files_bytes_max.min(one_file)
        };
        (self.part_bytes * self.parts_in_flight_max + open_files) as u64
    }

    /// What a file of `column_count` columns takes as soon as it is opened.
    fn open_file_bytes(&self, column_count: usize) -> usize {
        column_count * column_bytes(self.dictionary_bytes_max > 0)
    }

    /// What the compressors take of an open row group with `rows` rows that itself takes `bytes`.
    fn codecs_bytes(&self, column_count: usize, rows: usize, bytes: usize) -> usize {
        let columns_with_a_page =
            if rows >= self.page_rows_max { column_count } else { bytes / self.page_bytes_max };
        columns_with_a_page.min(column_count) * CODEC_BYTES
    }
}

fn column_bytes(with_dictionaries: bool) -> usize {
    if with_dictionaries { DICTIONARY_COLUMN_BYTES } else { COLUMN_BYTES }
}

fn over_budget(budget_bytes: u64, columns: usize, fixed_bytes: usize, row_group: usize) -> Error {
    let needed = display_bytes((fixed_bytes + row_group / 8 * 9) as u64);
    Error::new(
        ErrorKind::OverBudget,
        format!(
            "writing {columns} columns takes {needed}, and {} are left for it",
            display_bytes(budget_bytes)
        ),
    )
    .with_advice("give it more with --memory")
}
