//! What a run tells a person, or a script, while it goes on and at its end.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::{DateTime, Utc};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lakefeed::config::NewColumns;
use lakefeed::delivery::Delivery;
use lakefeed::error::{Error, ErrorKind, Result};
use lakefeed::event::Answer;
use lakefeed::ingest::{Action, IngestPlan, PlannedColumn, PlannedObject};
use lakefeed::lease::Lease;
use lakefeed::ledger::{Entry, EntryState};
use lakefeed::memory::display_bytes;
use lakefeed::orphans::Swept;
use lakefeed::receipt::{Observer, Receipt, Status, Tally};
use lakefeed::repair::Repair;
use lakefeed::table::Checkpoint;
use lakefeed::undo::{Undone, UndoneObject};

/// How many objects a person is told of one by one; the others are counted.
const LINES_MAX: u64 = 200;

/// How receipts are written to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// One receipt a line.
    Json,
    /// A line for each object that is not boring, then a summary.
    Human,
}

/// Writes receipts as they are known, and shows how the run is getting on.
pub struct Reporter<W> {
    style: Style,
    bar: ProgressBar,
    state: Mutex<State<W>>,
}

struct State<W> {
    out: W,
    tally: Tally,
    lines: u64,
    failure: Option<io::Error>,
}

impl<W: Write + Send> Reporter<W> {
    /// Receipts go to `out`; a progress bar to standard error, where that is a terminal.
    pub fn new(out: W, style: Style) -> Self {
        let bar = if io::stderr().is_terminal() { visible_bar() } else { ProgressBar::hidden() };
        let state = State { out, tally: Tally::default(), lines: 0, failure: None };
        Self { style, bar, state: Mutex::new(state) }
    }

    /// Ends the report of a run that took `elapsed`.
    ///
    /// # Errors
    /// The first failure to write, except that nobody was listening any more.
    pub fn finish(&self, elapsed: Duration) -> io::Result<()> {
        self.bar.finish_and_clear();
        let mut state = self.state();
        if self.style == Style::Human {
            let unlisted = state.lines.saturating_sub(LINES_MAX);
            if unlisted > 0 {
                state.write(&format!("… and {} more; --json lists every one", grouped(unlisted)));
            }
            let summary = Summary { tally: &state.tally, elapsed }.to_string();
            state.write(&summary);
        }
        match state.failure.take() {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<W>> {
        // A count is still a count when another thread died while it wrote a line.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Write + Send> Observer for Reporter<W> {
    fn started(&self, _: usize, bytes: u64) {
        // One report may be of several feeds.
        self.bar.inc_length(bytes);
    }

    fn progressed(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    fn finished(&self, receipt: &Receipt) {
        let mut state = self.state();
        state.tally.add(receipt);
        let line = match self.style {
            Style::Json => match serde_json::to_string(receipt) {
                Ok(line) => Some(line),
                Err(error) => return state.fail(error.into()),
            },
            Style::Human => {
                let line = describe(receipt);
                state.lines += u64::from(line.is_some());
                line.filter(|_| state.lines <= LINES_MAX)
            }
        };
        if let Some(line) = line {
            self.bar.suspend(|| state.write(&line));
        }
    }
}

impl<W: Write> State<W> {
    /// Writes a line, unless writing has failed before: the run goes on without its report.
    fn write(&mut self, line: &str) {
        if self.failure.is_none()
            && let Err(error) = writeln!(self.out, "{line}").and_then(|()| self.out.flush())
        {
            self.fail(error);
        }
    }

    fn fail(&mut self, error: io::Error) {
        self.failure.get_or_insert(error);
    }
}

fn visible_bar() -> ProgressBar {
    const TEMPLATE: &str =
        "{wide_bar} {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  {eta} left";
    let style =
        ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr())
        .with_style(style)
        // However the run ends, the bar is gone before anything else is said.
        .with_finish(indicatif::ProgressFinish::AndClear)
}

/// What there is to say of one object, if anything.
fn describe(receipt: &Receipt) -> Option<String> {
    let Receipt { source, status, reason, error, .. } = receipt;
    let reason = reason.as_deref();
    match status {
        Status::Committed => describe_bad_rows(receipt),
        Status::Duplicate => None,
        Status::Skipped => Some(format!("{source}: skipped: {}", reason.unwrap_or("by policy"))),
        Status::Failed => {
            let mut line = format!("{source}: failed: ");
            let Some(error) = error else {
                return Some(line + reason.unwrap_or("no reason given"));
            };
            if let Some(number) = error.line {
                line.push_str(&format!("line {}", grouped(number)));
                if let Some(byte) = error.byte {
                    line.push_str(&format!(" (byte {byte})"));
                }
                if let Some(column) = &error.column {
                    line.push_str(&format!(", column {column:?}"));
                }
                line.push_str(": ");
            }
            line.push_str(&error.message);
            if let Some(advice) = &error.advice {
                line.push_str(&format!("; {advice}"));
            }
            Some(line)
        }
    }
}

/// Each count that is not zero, and of what it is.
fn told(counts: &[(u64, &str)]) -> Vec<String> {
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    counts.map(|(count, what)| format!("{} {what}", grouped(*count))).collect()
}

/// What there is to say of the bad rows of an object that was taken, if it has some.
fn describe_bad_rows(receipt: &Receipt) -> Option<String> {
    let Receipt { source, rows, rows_rejected, rows_rescued, quarantine, .. } = receipt;
    let counts = [(*rows_rejected, "rejected"), (*rows_rescued, "rescued")];
    let told = told(&counts);
    if told.is_empty() {
        return None;
    }
    let all = grouped(rows + rows_rejected);
    let mut line = format!("{source}: {} of {all} rows", told.join(" and "));
    if let Some(first) = receipt.rejects.first() {
        line.push_str(&format!("; the first in line {}: {}", grouped(first.line), first.reason));
    }
    if let Some(file) = quarantine {
        line.push_str(&format!("; quarantined in {file}"));
    }
    Some(line)
}

/// The last lines of a report.
struct Summary<'a> {
    tally: &'a Tally,
    elapsed: Duration,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let &Tally { committed, duplicate, skipped, failed, .. } = self.tally;
        let counts = [
            (committed, "committed"),
            (duplicate, "taken before"),
            (skipped, "skipped"),
            (failed, "failed"),
        ];
        let told = told(&counts);
        if told.is_empty() {
            return f.write_str("no objects found");
        }
        let objects = self.tally.objects();
        let plural = if objects == 1 { "" } else { "s" };
        write!(f, "{} object{plural}: {}", grouped(objects), told.join(", "))?;
        if let Some((table, version)) = self.tally.attempts.keys().max_by_key(|(_, v)| *v) {
            write!(f, "; {table} is at version {version}")?;
        }
        writeln!(f)?;
        self.write_figures(f)
    }
}

impl Summary<'_> {
    fn write_figures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let &Tally { rows, rows_rejected, rows_rescued, rows_removed, .. } = self.tally;
        let &Tally { bytes_read, bytes_written, peak_rss_bytes, .. } = self.tally;
        write!(f, "{} row{}", grouped(rows), if rows == 1 { "" } else { "s" })?;
        if rows_rejected > 0 {
            write!(f, " ({} rejected)", grouped(rows_rejected))?;
        }
        if rows_rescued > 0 {
            write!(f, " ({} rescued)", grouped(rows_rescued))?;
        }
        if rows_removed > 0 {
            write!(f, ", in the place of {}", grouped(rows_removed))?;
        }
        let seconds = self.elapsed.as_secs_f64();
        write!(
            f,
            ", {} read, {} written, in {seconds:.1} s",
            display_bytes(bytes_read),
            display_bytes(bytes_written)
        )?;
        if bytes_read > 0 && seconds > 0.0 {
            let rate = (bytes_read as f64 / seconds) as u64;
            write!(f, " ({}/s)", display_bytes(rate))?;
        }
        if peak_rss_bytes > 0 {
            write!(f, ", {} of memory at most", display_bytes(peak_rss_bytes))?;
        }
        Ok(())
    }
}

/// A number with its digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// The dry run, for a person.
pub fn plan(plan: &IngestPlan) -> String {
    let mut text = match plan.version {
        Some(version) => format!("{} is at version {version}\n", plan.table),
        None => format!("{} does not exist yet\n", plan.table),
    };
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    for column in &plan.columns {
        let PlannedColumn { name, table_type, inferred_type, new_column } = column;
        line(match (table_type, inferred_type) {
            (Some(table), Some(inferred)) if table != inferred => {
                format!("  {name}: {table} (the objects look like {inferred})")
            }
            (Some(table), _) => format!("  {name}: {table}"),
            (None, inferred) => {
                let inferred = inferred.as_deref().unwrap_or("unknown");
                let fate = match new_column {
                    Some(NewColumns::Add) => "would be added",
                    Some(NewColumns::Rescue) => "its values would be rescued",
                    Some(NewColumns::Ignore) => "would be ignored",
                    Some(NewColumns::Fail) | None => "objects that have it would fail",
                };
                format!("  {name}: not in the table (the objects have {inferred}): {fate}")
            }
        });
    }
    for object in &plan.objects {
        let PlannedObject { source, action, reason, size_bytes, dialect } = object;
        let action = match action {
            Action::Take => "take",
            Action::Duplicate => "duplicate",
            Action::Skip => "skip",
            Action::Fail => "fail",
        };
        line(format!("{action:<9} {source} ({}): {reason}", display_bytes(*size_bytes)));
        if let Some(dialect) = dialect {
            line(format!("{:<9} {dialect}", ""));
        }
    }
    line(format!(
        "{} commits, {} data files or more, {} of memory at most; nothing was written",
        plan.commits,
        plan.data_files_min,
        display_bytes(plan.memory_bytes_max)
    ));
    text
}

/// Rows of a table in columns, for a person. Line ends within a value are shown as escapes.
///
/// # Errors
/// [`ErrorKind::Internal`] for a type that cannot be written as text.
pub fn rows(batches: &[RecordBatch]) -> Result<String> {
    let Some(first) = batches.first() else { return Ok("no rows\n".to_owned()) };
    let header = first.schema().fields().iter().map(|field| field.name().clone()).collect();
    let mut lines: Vec<Vec<String>> = vec![header];
    let unprintable =
        |cause| Error::new(ErrorKind::Internal, "a value has no text").with_cause(cause);
    for batch in batches {
        let options = FormatOptions::default();
        let columns: Vec<ArrayFormatter<'_>> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options))
            .collect::<Result<_, _>>()
            .map_err(unprintable)?;
        for row in 0..batch.num_rows() {
            let cell = |column: &ArrayFormatter<'_>| column.value(row).try_to_string();
            let cells: Vec<String> =
                columns.iter().map(cell).collect::<Result<_, _>>().map_err(unprintable)?;
            lines.push(cells.iter().map(|cell| on_one_line(cell)).collect());
        }
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..lines[0].len()).map(|i| width(i).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    Ok(text)
}

/// A value without line ends or other control characters.
fn on_one_line(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for character in value.chars() {
        match character.is_control() {
            true => text.extend(character.escape_default()),
            false => text.push(character),
        }
    }
    text
}

/// What an event came to beside its receipts, for a person.
pub fn delivery(delivery: &Delivery) -> String {
    let Delivery { answer, ignored, no_feed, .. } = delivery;
    let mut text = String::new();
    if *ignored > 0 {
        text.push_str(&format!("{} announced nothing\n", counted(*ignored, "record")));
    }
    if *no_feed > 0 {
        text.push_str(&format!("{} for no feed\n", counted(*no_feed, "object")));
    }
    let failed = match answer {
        Answer::Done => 0,
        Answer::Failed(messages) => *messages,
        Answer::Partial(response) => response.batch_item_failures.len(),
    };
    if failed > 0 {
        text.push_str(&format!("{} to be delivered again\n", counted(failed, "message")));
    }
    text
}

fn counted(count: usize, what: &str) -> String {
    format!("{} {what}{}", grouped(count as u64), if count == 1 { "" } else { "s" })
}

/// A ledger's entries, for a person.
pub fn ledger(entries: &[Entry]) -> String {
    let mut text = String::new();
    for entry in entries {
        let Entry { name, version, rows, rows_rejected, at, .. } = entry;
        let at = at.format("%Y-%m-%d %H:%M:%S");
        let state = match entry.state {
            EntryState::In => "",
            EntryState::Alias => ", the same content again",
            EntryState::Undone => ", undone",
        };
        text.push_str(&format!(
            "{at}Z  version {version}  {rows} rows, {rows_rejected} rejected{state}  {name}\n"
        ));
        if let Some(file) = &entry.quarantine {
            text.push_str(&format!("    quarantined in {file}\n"));
        }
    }
    text
}

/// What was undone, or would be.
pub fn undone(undone: &Undone, is_dry_run: bool) -> String {
    let mut text = String::new();
    for UndoneObject { name, rows_removed, was_undone } in &undone.objects {
        let what = match (was_undone, is_dry_run) {
            (true, _) => "undone before".to_owned(),
            (false, true) => format!("{} would be removed", counted(*rows_removed as usize, "row")),
            (false, false) => format!("{} removed", counted(*rows_removed as usize, "row")),
        };
        text.push_str(&format!("{name}: {what}\n"));
    }
    match undone.version {
        Some(version) => text.push_str(&format!("undone in version {version}\n")),
        None => text.push_str("nothing was changed\n"),
    }
    text
}

/// What became of a checkpoint at `version`, the newest.
pub fn checkpoint(version: u64, checkpoint: Checkpoint) -> String {
    match checkpoint {
        Checkpoint::Written { bytes, log_files_removed } => format!(
            "version {version} is summed up in a checkpoint of {}; {log_files_removed} expired log \
             files were removed\n",
            display_bytes(bytes)
        ),
        Checkpoint::There => format!("version {version} was summed up already\n"),
        Checkpoint::NoTime => format!("there was no time to sum up version {version}\n"),
    }
}

/// What was left behind and is gone, or would be.
pub fn orphans(swept: &Swept, is_dry_run: bool) -> String {
    let Swept { version, data_files, data_bytes, ledger_files, ledger_bytes, .. } = *swept;
    let data = counted(data_files as usize, "data file");
    let of_ledger = counted(ledger_files as usize, "file");
    let mut text = format!(
        "as of version {version}, no commit names {data} ({}) and {of_ledger} of the ledger ({}): {}\n",
        display_bytes(data_bytes),
        display_bytes(ledger_bytes),
        if is_dry_run { "nothing was deleted" } else { "deleted" },
    );
    if is_dry_run {
        text.push_str(
            "files of writers that are under way are among them; a sweep makes those begin again\n",
        );
    }
    if swept.failures > 0 {
        let failures = counted(swept.failures as usize, "file");
        text.push_str(&format!("{failures} could not be deleted: run it again\n"));
    }
    if swept.is_partial {
        text.push_str("there may be more: run it again\n");
    }
    text
}

/// What became of the ledger's runs.
pub fn merges(merges: u64) -> String {
    match merges {
        0 => String::new(),
        merges => format!("the ledger's files were merged, {merges} times\n"),
    }
}

/// Who holds a lease, or held the one that was broken, for a person.
pub fn lease(lease: Option<&Lease>, is_broken: bool, now: DateTime<Utc>) -> String {
    let Some(Lease { owner, purpose, epoch, acquired_at, expires_at, .. }) = lease else {
        return "nobody holds the lease\n".to_owned();
    };
    let time = |at: &DateTime<Utc>| at.format("%Y-%m-%d %H:%M:%S UTC").to_string();
    let expiry = match is_broken {
        true => "broken now".to_owned(),
        false if *expires_at < now => format!("since {}, not renewed", time(expires_at)),
        false => format!("{}, unless renewed", time(expires_at)),
    };
    format!(
        "owner    {owner}\npurpose  {purpose}\nsince    {}\nexpires  {expiry}\nepoch    {epoch}\n",
        time(acquired_at)
    )
}

/// What a repair did, for a person.
pub fn repair(ledger: &str, repair: &Repair) -> String {
    format!(
        "ledger {ledger:?} has {} entries; the table points to it since version {}\n",
        repair.entries, repair.version
    )
}

#[cfg(test)]
mod tests {
    use lakefeed::csv::RejectKind;
    use lakefeed::error::{Error, ErrorKind, Position};
    use lakefeed::receipt::{ErrorReport, RejectReport};

    use super::*;

    fn receipt(source: &str, status: Status) -> Receipt {
        let taken = status == Status::Committed;
        Receipt {
            source: source.into(),
            status,
            reason: (status == Status::Skipped).then(|| "changed".into()),
            table: "lake/orders".into(),
            version: taken.then_some(7),
            rows: if taken { 600_572 } else { 0 },
            rows_rejected: 0,
            rows_rescued: 0,
            rows_removed: 0,
            columns_added: vec![],
            bytes_read: 76 << 20,
            bytes_written: if taken { 14 << 20 } else { 0 },
            data_files: taken.into(),
            attempts: taken.into(),
            duration_ms: 700,
            cpu_ms: 900,
            peak_rss_bytes: 60 << 20,
            dialect: None,
            rejects: vec![],
            quarantine: None,
            error: None,
        }
    }

    fn invalid() -> Receipt {
        let error = Error::new(ErrorKind::SourceInvalid, "\"x\" is not an int64")
            .with_position(Position { line: 1003, byte: 40_000, column: Some("id".into()) })
            .with_advice("mend it");
        Receipt { error: Some(ErrorReport::from(&error)), ..receipt("in/d.csv", Status::Failed) }
    }

    fn report(style: Style, receipts: &[Receipt]) -> String {
        let mut out = Vec::new();
        let reporter = Reporter::new(&mut out, style);
        reporter.started(receipts.len(), 1 << 30);
        for receipt in receipts {
            reporter.progressed(receipt.bytes_read);
            reporter.finished(receipt);
        }
        reporter.finish(Duration::from_millis(2500)).unwrap();
        drop(reporter);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_person_reads_what_is_not_boring_and_a_summary() {
        let reject = RejectReport {
            line: 7,
            byte: 60,
            column: None,
            kind: RejectKind::TooFewFields,
            reason: "expected 2 fields, found 1".into(),
        };
        let dirty = Receipt {
            rows_rejected: 3,
            rejects: vec![reject],
            quarantine: Some("bad.parquet".into()),
            ..receipt("in/e.csv", Status::Committed)
        };
        let receipts = [
            receipt("in/a.csv", Status::Committed),
            receipt("in/b.csv", Status::Duplicate),
            receipt("in/c.csv", Status::Skipped),
            invalid(),
            dirty,
        ];
        assert_eq!(
            report(Style::Human, &receipts),
            "in/c.csv: skipped: changed\n\
             in/d.csv: failed: line 1,003 (byte 40000), column \"id\": \"x\" is not an int64; mend it\n\
             in/e.csv: 3 rejected of 600,575 rows; the first in line 7: expected 2 fields, found 1; \
             quarantined in bad.parquet\n\
             5 objects: 2 committed, 1 taken before, 1 skipped, 1 failed; lake/orders is at version 7\n\
             1,201,144 rows (3 rejected), 380.0 MiB read, 28.0 MiB written, in 2.5 s (152.0 MiB/s), \
             60.0 MiB of memory at most\n"
        );
    }

    #[test]
    fn nothing_found_is_said() {
        assert_eq!(report(Style::Human, &[]), "no objects found\n");
        assert_eq!(report(Style::Json, &[]), "");
    }

    #[test]
    fn a_long_list_is_cut() {
        let receipts = vec![receipt("in/c.csv", Status::Skipped); LINES_MAX as usize + 1000];
        let report = report(Style::Human, &receipts);
        assert_eq!(report.matches(": skipped: ").count() as u64, LINES_MAX);
        assert!(report.contains("… and 1,000 more; --json lists every one\n"), "{report}");
        assert!(report.contains("1,200 objects: 1,200 skipped\n"), "{report}");
    }

    #[test]
    fn a_script_reads_one_receipt_a_line() {
        let receipts = [receipt("in/a.csv", Status::Committed), invalid()];
        let lines = report(Style::Json, &receipts);
        let read: Vec<Receipt> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, receipts);
    }

    /// A writer that counts what it is given and fails.
    struct Broken(io::ErrorKind, u32);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            self.1 += 1;
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_output_stops_nothing_and_a_full_one_is_told() {
        for (kind, told) in [(io::ErrorKind::BrokenPipe, false), (io::ErrorKind::StorageFull, true)]
        {
            let reporter = Reporter::new(Broken(kind, 0), Style::Json);
            reporter.finished(&receipt("in/a.csv", Status::Committed));
            reporter.finished(&receipt("in/b.csv", Status::Committed));
            assert_eq!(reporter.finish(Duration::ZERO).is_err(), told, "{kind}");
            assert_eq!(reporter.state().out.1, 1, "it is not tried again");
        }
    }

    #[test]
    fn digits_are_grouped() {
        let all = [0, 999, 1000, 123_456, 1_234_567].map(grouped);
        assert_eq!(all, ["0", "999", "1,000", "123,456", "1,234,567"]);
    }
}
