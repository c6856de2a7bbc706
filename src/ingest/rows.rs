//! One object's rows, as the table's batches.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};

use super::Run;
use super::bad_rows::{Findings, Judge};
use super::budget::{CHUNK_BYTES, Limits};
use super::drift::{Drift, Fit, Matcher};
use super::task::{Facts, Task};
use super::text::TextReader;
use crate::commit::Pin;
use crate::config::{BadRows, Feed};
use crate::csv::{
    Complaint, DETECTION_BYTES_MAX, Decoded, Decoder, Detection, Header, Reject, Sample, detect,
};
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::Entry;
use crate::receipt::Observer;
use crate::table::{Layout, WiderTypes};

/// A stream of one object's batches, in the table's columns.
pub(super) struct Rows<'a> {
    feed: &'a Feed,
    layout: &'a Arc<Layout>,
    /// How the table's columns can be widened, if they can be.
    wider: Option<WiderTypes>,
    limits: &'a Limits,
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
    /// How the object is written, once its start was looked at.
    detection: Option<Detection>,
    /// What the table lacks for it: if anything, there are no batches.
    drift: Option<Drift>,
    rows: u64,
    judge: Judge<'a>,
    quarantines: bool,
    /// Rows to be quarantined.
    rejects: Vec<Reject>,
}

/// An object that was to be decoded wholly.
pub(super) enum Staged {
    Whole {
        batches: Vec<RecordBatch>,
        /// The rows that are to be quarantined.
        rejects: Vec<Reject>,
        facts: Facts,
    },
    /// It holds nothing, not even a header.
    Empty,
    /// Its rows take more memory than small objects may.
    TooLarge,
    /// The table is to have other columns first.
    Drifts(Drift),
}

impl<'a> Rows<'a> {
    pub fn open(run: &'a Run<'_>, pin: &'a Pin, limits: &'a Limits, task: &'a Task) -> Self {
        let layout = pin.layout();
        let source_column = run.feed.source_file_column.as_ref();
        let source_column = source_column.and_then(|name| layout.schema.index_of(name).ok());
        Self {
            feed: run.feed,
            layout,
            wider: pin.snapshot().and_then(|snapshot| run.table.wider_types(snapshot)),
            limits,
            source_column: source_column.map(|column| (column, task.candidate.name.as_str())),
            uri: &task.object.location.uri,
            observer: run.observer,
            observed_bytes: 0,
            reader: TextReader::open(&task.object, &run.feed.csv),
            buffer: Vec::new(),
            start: 0,
            at_end: false,
            decoder: None,
            detection: None,
            drift: None,
            rows: 0,
            judge: Judge::new(&run.feed.csv),
            quarantines: run.feed.csv.bad_rows == BadRows::Quarantine,
            rejects: Vec::new(),
        }
    }

    /// Decodes the whole object, if its rows fit in the stage.
    ///
    /// # Errors
    /// Those of [`Rows::next`].
    pub async fn stage(&mut self) -> Result<Staged> {
        let (mut batches, mut bytes) = (Vec::new(), 0);
        while let Some(batch) = self.next().await? {
            bytes += batch.get_array_memory_size() as u64;
            if bytes + self.rejects_bytes() > self.limits.stage_bytes_max {
                return Ok(Staged::TooLarge);
            }
            batches.push(batch);
        }
        let rejects = self.take_rejects();
        Ok(match (self.drift.take(), &self.decoder) {
            (Some(drift), _) => Staged::Drifts(drift),
            (None, Some(_)) => Staged::Whole { batches, rejects, facts: self.facts() },
            (None, None) => Staged::Empty,
        })
    }

    /// What the table lacks for the object, read no further than its header.
    ///
    /// # Errors
    /// Those of [`Rows::next`].
    pub async fn look(mut self) -> Result<Option<Drift>> {
        self.begin().await.map_err(|error| error.with_object(self.uri))?;
        Ok(self.drift)
    }

    /// What the table lacks for the object, known once there was no first batch.
    pub fn drift(&mut self) -> Option<Drift> {
        self.drift.take()
    }

    /// The next batch; nothing at the object's end, nor where the table lacks what it needs.
    ///
    /// # Errors
    /// [`ErrorKind::SourceInvalid`] with its place for a bad row, and those of
    /// [`TextReader::read`] and [`Decoder::decode`].
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let next = self.advance().await;
        let read = self.reader.bytes_read();
        self.observer.progressed(read - self.observed_bytes);
        self.observed_bytes = read;
        let accepted = match next {
            Ok(Some(decoded)) => self.accept(decoded).map(Some),
            Ok(None) => self.judge.end(self.rows).map(|()| None),
            Err(error) => Err(error),
        };
        let batch = accepted.map_err(|error| self.reader.tell(error).with_object(self.uri))?;
        self.rows += batch.as_ref().map_or(0, RecordBatch::num_rows) as u64;
        Ok(batch)
    }

    /// The rows since the last time that are to be quarantined.
    pub fn take_rejects(&mut self) -> Vec<Reject> {
        std::mem::take(&mut self.rejects)
    }

    fn rejects_bytes(&self) -> u64 {
        let bytes = |reject: &Reject| {
            size_of::<Reject>() + reject.raw.len() + reject.complaint.reason.len()
        };
        self.rejects.iter().map(bytes).sum::<usize>() as u64
    }

    /// What was found so far.
    pub fn findings(&self) -> Findings {
        let dialect = self.detection.as_ref().map(|detection| self.reader.report(detection));
        Findings { dialect, ..self.judge.findings().clone() }
    }

    /// Bytes of the object that were read so far, as stored.
    pub fn bytes_read(&self) -> u64 {
        self.reader.bytes_read()
    }

    /// What is known of the object, once it has come to its end.
    pub fn facts(&self) -> Facts {
        Facts {
            rows: self.rows,
            bytes_read: self.reader.bytes_read(),
            content: Entry::render_content(self.reader.content_hash()),
        }
    }

    async fn advance(&mut self) -> Result<Option<Decoded>> {
        if self.decoder.is_none() && self.drift.is_none() {
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

    /// Finds the dialect out, reads until the header is there, and makes the decoder for it; nothing
    /// for an object that ends before it has one, or that the table lacks something for.
    async fn begin(&mut self) -> Result<Option<Decoder>> {
        let matcher = Matcher::new(self.feed, self.layout, self.wider);
        let options = self.feed.csv.dialect_options();
        while self.buffer.len() < DETECTION_BYTES_MAX && !self.at_end {
            self.fill().await?;
        }
        let sample = Sample { bytes: &self.buffer, whole: self.at_end };
        let detection = detect(sample, &options, &matcher.names());
        let dialect = detection.dialect.clone();
        self.detection = Some(detection);
        loop {
            let sample = Sample { bytes: &self.buffer, whole: self.at_end };
            let header = crate::csv::read_header(sample, &dialect);
            if let Some(header) = header.map_err(|error| self.reader.locate(error))? {
                let names = self.names_of(header)?;
                let sample = Sample { bytes: &self.buffer, whole: self.at_end };
                let fit = matcher.fit(&names, &dialect, self.limits.decode, sample)?;
                return match fit {
                    Fit::Fits(plan) => {
                        let decoder = Decoder::new(plan, &dialect, self.limits.decode)?;
                        Ok(Some(decoder.with_offsets(self.reader.offsets())))
                    }
                    Fit::Drifts(drift) => {
                        self.drift = Some(drift);
                        Ok(None)
                    }
                };
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
            self.fill().await?;
        }
    }

    /// The names that a header has. What is wrong with it is told, or fails the object as a bad row does.
    fn names_of(&mut self, header: Header) -> Result<Vec<String>> {
        if self.feed.csv.bad_rows == BadRows::Fail {
            return header.sound().map_err(|error| self.reader.locate(error));
        }
        if let Some(fault) = header.fault {
            self.judge.tell(&Complaint { position: self.reader.located(fault.position), ..fault });
        }
        Ok(header.names)
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

    /// The good rows, where the bad ones are not too many.
    fn accept(&mut self, decoded: Decoded) -> Result<RecordBatch> {
        self.judge.add(&decoded)?;
        if self.quarantines {
            self.rejects.extend(decoded.rejects);
        }
        self.with_source(decoded.batch)
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
