//! What a command answers a person that is no run: a plan, a ledger, a lease, what was mended.

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::{DateTime, Utc};
use lakefeed::config::NewColumns;
use lakefeed::delivery::Delivery;
use lakefeed::error::{Error, ErrorKind, Result};
use lakefeed::event::Answer;
use lakefeed::ingest::{Action, IngestPlan, PlannedColumn, PlannedObject};
use lakefeed::lease::Lease;
use lakefeed::ledger::{Entry, EntryState};
use lakefeed::memory::display_bytes;
use lakefeed::orphans::Swept;
use lakefeed::repair::Repair;
use lakefeed::table::Checkpoint;
use lakefeed::undo::{Undone, UndoneObject};

use crate::report::grouped;

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
