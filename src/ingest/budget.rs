//! How the memory budget is shared among the pipeline's buffers.

use super::quarantine;
use super::text::TEXT_BYTES_MAX;
use crate::config::Feed;
use crate::csv;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::memory::{OVERHEAD_BYTES, Reservation, display_bytes};
use crate::parquet::WriterLimits;
use crate::source::READ_BUFFER_BYTES_MAX;
use crate::table::{Layout, Table};

/// The bytes of text that wait to be decoded.
pub(super) const CHUNK_BYTES: usize = 256 << 10;

/// What each part of the pipeline may hold.
pub(super) struct Limits {
    /// An object's rows, decoded wholly before they are written.
    pub stage_bytes_max: u64,
    /// Decoding.
    pub decode: csv::Limits,
    /// Writing.
    pub writer: WriterLimits,
    /// What is held for reading, staging and decoding; the writer holds its own.
    reservation: Reservation,
}

impl Limits {
    /// The limits within the environment's budget, for tables of this layout.
    ///
    /// # Errors
    /// [`ErrorKind::OverBudget`] with the sum, when they do not fit.
    pub fn new(
        environment: &Environment,
        feed: &Feed,
        table: &dyn Table,
        layout: &Layout,
    ) -> Result<Self> {
        let budget = &environment.budget;
        let bytes = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
        let decode = csv::Limits {
            row_bytes_max: bytes(feed.csv.line_bytes_max),
            field_bytes_max: bytes(feed.csv.field_bytes_max),
            ..csv::Limits::default()
        };
        // A row waits in the buffer while a batch is built from the rows before it, and a footer behind
        // the rows.
        let footer_bytes = if feed.csv.footer_lines > 0 { feed.csv.line_bytes_max } else { 0 };
        let decode_bytes =
            (CHUNK_BYTES + decode.row_bytes_max + decode.batch_bytes_max) as u64 + footer_bytes;
        let read_bytes =
            READ_BUFFER_BYTES_MAX + feed.csv.decompress_options().held_bytes_max() + TEXT_BYTES_MAX;
        let quarantine_bytes = quarantine::held_bytes_max(feed, decode.row_bytes_max);
        let before_writing = read_bytes + feed.stage_bytes_max + decode_bytes + quarantine_bytes;
        let over_budget = |cause: Error| {
            Error::new(
                ErrorKind::OverBudget,
                format!(
                    "{} of memory are too few: {} for the process, {} to read ahead, {} to stage \
                     small objects, {} to decode, {} for quarantined rows; {}",
                    display_bytes(budget.limit_bytes() + OVERHEAD_BYTES),
                    display_bytes(OVERHEAD_BYTES),
                    display_bytes(read_bytes),
                    display_bytes(feed.stage_bytes_max),
                    display_bytes(decode_bytes),
                    display_bytes(quarantine_bytes),
                    cause.message(),
                ),
            )
            .with_advice("give it more with --memory, or lower stage_bytes_max")
        };
        let reservation = budget.try_reserve("the decoder", before_writing).map_err(over_budget)?;
        let writer = WriterLimits::within(budget.available_bytes(), layout.schema.fields().len())
            .map_err(over_budget)?;
        let writer = WriterLimits {
            file_bytes_target: feed.target_file_bytes,
            part_bytes: table.part_bytes().unwrap_or(writer.part_bytes),
            ..writer
        };
        Ok(Self { stage_bytes_max: feed.stage_bytes_max, decode, writer, reservation })
    }

    /// What is held for reading, staging and decoding.
    pub fn held_bytes_max(&self) -> u64 {
        self.reservation.bytes()
    }
}
