//! One object's rows, as the table's batches.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};

use super::budget::{CHUNK_BYTES, Limits};
use super::task::{Facts, Task};
use super::text::TextReader;
use super::{Run, schema};
use crate::commit::Pin;
use crate::csv::{Decoded, Decoder, Dialect, Reject, Sample};
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::Entry;
use crate::receipt::Observer;
use crate::table::Layout;

/// A stream of one object's batches, in the table's columns.
pub(super) struct Rows<'a> {
    layout: &'a Arc<Layout>,
    limits: &'a Limits,
    dialect: Dialect,
    /// The column that holds the source's name, and the name.
    source_column: Option<(usize, &'a str)>,
    uri: &'a str,
    observer: &'a dyn Observer,
    observed_bytes: u64,

    reader: TextReader,
    /// Text: those at `start..` wait to be decoded.
    buffer: Vec<u8>,
    start: usize,
    at_end: bool,
    decoder: Option<Decoder>,
    rows: u64,
}

/// An object that was to be decoded wholly.
pub(super) enum Staged {
    Whole {
        batches: Vec<RecordBatch>,
        facts: Facts,
    },
    /// It holds nothing, not even a header.
    Empty,
    /// Its rows take more memory than small objects may.
    TooLarge,
}

impl<'a> Rows<'a> {
    pub fn open(run: &'a Run<'_>, pin: &'a Pin, limits: &'a Limits, task: &'a Task) -> Self {
        let layout = pin.layout();
        let source_column = run.feed.source_file_column.as_ref();
        let source_column = source_column.and_then(|name| layout.schema.index_of(name).ok());
        Self {
            layout,
            limits,
            dialect: run.feed.csv.dialect_options().or_default(),
            source_column: source_column.map(|column| (column, task.candidate.name.as_str())),
            uri: &task.object.location.uri,
            observer: run.observer,
            observed_bytes: 0,
            reader: TextReader::open(&task.object, &run.feed.csv),
            buffer: Vec::new(),
            start: 0,
            at_end: false,
            decoder: None,
            rows: 0,
        }
    }

    /// Decodes the whole object, if its rows fit in the stage.
    ///
    /// # Errors
    /// Those of [`Rows::next`].
    pub async fn stage(mut self) -> Result<Staged> {
        let (mut batches, mut bytes) = (Vec::new(), 0);
        while let Some(batch) = self.next().await? {
            bytes += batch.get_array_memory_size() as u64;
            if bytes > self.limits.stage_bytes_max {
                return Ok(Staged::TooLarge);
            }
            batches.push(batch);
        }
        match self.decoder {
            Some(_) => Ok(Staged::Whole { batches, facts: self.facts() }),
            None => Ok(Staged::Empty),
        }
    }

    /// The next batch; nothing at the object's end.
    ///
    /// # Errors
    /// [`ErrorKind::SourceInvalid`] with its place for a bad row, and those of
    /// [`TextReader::read`] and [`Decoder::decode`].
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let next = self.advance().await;
        let read = self.reader.bytes_read();
        self.observer.progressed(read - self.observed_bytes);
        self.observed_bytes = read;
        match next {
            Ok(Some(decoded)) => {
                let batch = self.accept(decoded).map_err(|error| self.reader.tell(error))?;
                self.rows += batch.num_rows() as u64;
                Ok(Some(batch))
            }
            Ok(None) => Ok(None),
            Err(error) => Err(self.reader.tell(error).with_object(self.uri)),
        }
    }

    /// Bytes of the object that were read so far, as stored.
    pub fn bytes_read(&self) -> u64 {
        self.reader.bytes_read()
    }

    /// What is known of the object, once it has come to its end.
    pub fn facts(&self) -> Facts {
        Facts {
            rows: self.rows,
            rows_rejected: 0,
            bytes_read: self.reader.bytes_read(),
            content: Entry::render_content(self.reader.content_hash()),
            compression: self.reader.compression(),
            encoding: self.reader.encoding(),
        }
    }

    async fn advance(&mut self) -> Result<Option<Decoded>> {
        if self.decoder.is_none() {
            self.decoder = self.begin().await?;
        }
        loop {
            let Some(decoder) = &mut self.decoder else { return Ok(None) };
            let mut waiting = &self.buffer[self.start..];
            let decoded = decoder.decode(&mut waiting)?;
            self.start = self.buffer.len() - waiting.len();
            if decoded.is_some() {
                return Ok(decoded);
            }
            if self.at_end {
                return decoder.finish();
            }
            self.buffer.clear();
            self.start = 0;
            self.fill().await?;
        }
    }

    /// Reads until the header is there, and makes the decoder for it; nothing for an object that
    /// ends before it has one.
    async fn begin(&mut self) -> Result<Option<Decoder>> {
        loop {
            self.fill().await?;
            let sample = Sample { bytes: &self.buffer, whole: self.at_end };
            let header = crate::csv::read_header(sample, &self.dialect);
            if let Some(header) = header.map_err(|error| self.reader.locate(error))? {
                let source = self.source_column.map(|(column, _)| column);
                let plan = schema::decode_plan(&header, &self.dialect, self.layout, source)?;
                let decoder = Decoder::new(plan, &self.dialect, self.limits.decode)?;
                return Ok(Some(decoder.with_offsets(self.reader.offsets())));
            }
            if self.at_end {
                return Ok(None);
            }
            if self.buffer.len() > self.limits.decode.row_bytes_max {
                return Err(Error::new(
                    ErrorKind::SourceInvalid,
                    format!(
                        "its first line is longer than {} bytes",
                        self.limits.decode.row_bytes_max
                    ),
                )
                .with_advice("check that this is a CSV file, and its quote character"));
            }
        }
    }

    /// Reads one more chunk behind what the buffer holds.
    async fn fill(&mut self) -> Result<()> {
        let end = self.buffer.len();
        self.buffer.resize(end + CHUNK_BYTES, 0);
        let mut filled = end;
        while filled < self.buffer.len() && !self.at_end {
            let read = self.reader.read(&mut self.buffer[filled..]).await?;
            self.at_end = read == 0;
            filled += read;
        }
        self.buffer.truncate(filled);
        Ok(())
    }

    /// The feed's policy for bad rows: one bad row fails its object.
    fn accept(&self, decoded: Decoded) -> Result<RecordBatch> {
        match decoded.rejects.into_iter().next() {
            Some(reject) => Err(bad_row(reject).with_object(self.uri)),
            None => self.with_source(decoded.batch),
        }
    }

    fn with_source(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let Some((column, name)) = self.source_column else { return Ok(batch) };
        let (schema, mut columns, rows) = batch.into_parts();
        let names: ArrayRef =
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(name, rows)));
        columns[column] = names;
        RecordBatch::try_new(schema, columns).map_err(|cause| {
            Error::new(ErrorKind::Internal, "the source's name does not fit its column")
                .with_cause(cause)
        })
    }
}

fn bad_row(reject: Reject) -> Error {
    Error::new(ErrorKind::SourceInvalid, reject.reason).with_position(reject.position).with_advice(
        "mend the row, or give the column another type with [feed.columns]; nothing of the object \
         was taken",
    )
}
