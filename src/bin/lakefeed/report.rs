//! What a run tells a person, or a script, while it goes on and at its end.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lakefeed::memory::display_bytes;
use lakefeed::receipt::{Observer, Receipt, Status, Tally};

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
pub fn grouped(number: u64) -> String {
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
