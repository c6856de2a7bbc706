//! From a command to the library and back.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;
use futures::TryStreamExt;
use lakefeed::commit::{self, Pin};
use lakefeed::config::{self, Feed, Mode, Settings};
use lakefeed::delivery;
use lakefeed::environment::{self, Environment};
use lakefeed::error::{Error, ErrorKind, Result};
use lakefeed::event::{self, Answer, Request};
use lakefeed::ingest::{self, IngestPlan};
use lakefeed::lease;
use lakefeed::ledger::Entry;
use lakefeed::orphans;
use lakefeed::repair;
use lakefeed::table::{Snapshot, Table};
use lakefeed::{source, table, undo};

use crate::answers;
use crate::args::{
    Arguments, Chore, Command, LeaseCommand, LeaseTarget, LedgerCommand, LedgerTarget, Resources,
};
use crate::chore;
use crate::report::{Reporter, Style};

/// Runs one command.
pub fn run(command: Command) -> Result<ExitCode> {
    if let Command::Completions { shell } = command {
        return completions(shell);
    }
    let runtime = match &command {
        Command::Maintain { chore, .. } if chore.wants_engine() => chore::runtime()?,
        _ => environment::runtime()?,
    };
    runtime.block_on(dispatch(command))
}

async fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Ingest { route, mode, json } => {
            let (settings, environment) = open(&route.resources).await?;
            let feed = route.feed(&settings, mode.map_or(Mode::Once, Mode::from))?;
            ingest_feed(&environment, &feed, json).await
        }
        Command::Replay { route, json } => {
            let (settings, environment) = open(&route.resources).await?;
            ingest_feed(&environment, &route.feed(&settings, Mode::Again)?, json).await
        }
        Command::Undo { target, objects, dry_run } => undo(&target, objects, dry_run).await,
        Command::Plan { route, json } => {
            let (settings, environment) = open(&route.resources).await?;
            plan(&environment, &route.feed(&settings, Mode::Once)?, json).await
        }
        Command::Invoke { event, resources, json } => {
            let (settings, environment) = open(&resources).await?;
            invoke(&environment, &settings, &event, json).await
        }
        Command::Show { table, rows, resources } => show(&table, rows, &resources).await,
        Command::Ledger(command) => ledger(&command).await,
        Command::Lease(command) => lease(&command).await,
        Command::Maintain { table, chore, resources } => maintain(&table, &chore, &resources).await,
        Command::Completions { shell } => completions(shell),
    }
}

#[allow(clippy::disallowed_methods)]
async fn open(resources: &Resources) -> Result<(Settings, Environment)> {
    let directory = std::env::current_dir().map_err(|cause| {
        Error::new(ErrorKind::Configuration, "the current folder is gone").with_cause(cause)
    })?;
    let origin = config::origin(resources.config.clone())?;
    let settings = environment::settings(origin, &directory).await?;
    let memory_bytes = resources.memory;
    let environment = Environment::of_process(process_name(), &settings, directory, memory_bytes)?;
    Ok((settings, environment))
}

/// Who we are to the people who read a lease.
fn process_name() -> String {
    // Where there is no such file (it is Linux's), the number must do.
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}:{}", host.trim(), std::process::id())
}

/// Does what an event asks for, and says what the function would answer.
async fn invoke(
    environment: &Environment,
    settings: &Settings,
    event: &Path,
    json: bool,
) -> Result<ExitCode> {
    let request = event::parse(&read_event(event)?)?;
    let reporter = Reporter::new(io::stdout(), style(json));
    let delivery = delivery::handle(environment, settings, &request, &reporter).await?;
    reporter.finish(environment.clock.monotonic()).map_err(cannot_write)?;
    let failed = match &delivery.answer {
        Answer::Done => false,
        Answer::Failed(_) => true,
        Answer::Partial(response) => !response.batch_item_failures.is_empty(),
    };
    let text = match (&request, json) {
        (_, true) => answer(&delivery.answer)?,
        (Request::Announced(_), false) => answers::delivery(&delivery),
        (Request::Sweep(_) | Request::SweepAll, false) => String::new(),
    };
    to_stdout(text.as_bytes())?;
    Ok(ExitCode::from(u8::from(failed)))
}

fn read_event(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = event::EVENT_BYTES_MAX as u64 + 1;
    File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(
        |cause| {
            Error::new(ErrorKind::Configuration, "the event cannot be read")
                .with_object(path.display().to_string())
                .with_cause(cause)
        },
    )?;
    Ok(bytes)
}

/// What the function would answer to a queue; nobody else reads one.
fn answer(answer: &Answer) -> Result<String> {
    match answer {
        Answer::Partial(response) => to_json(response),
        Answer::Done | Answer::Failed(_) => Ok(String::new()),
    }
}

fn style(json: bool) -> Style {
    if json { Style::Json } else { Style::Human }
}

async fn ingest_feed(environment: &Environment, feed: &Feed, json: bool) -> Result<ExitCode> {
    match feed.mode {
        Mode::Once | Mode::Again => {}
        Mode::Append => tracing::warn!(
            "mode append: what was taken is taken again, so that its rows come twice"
        ),
        Mode::Overwrite => tracing::warn!(
            table = feed.table,
            "mode overwrite: these objects take the place of everything that the table holds"
        ),
    }
    let reporter = Reporter::new(io::stdout(), style(json));
    let delivery = delivery::sweep(environment, &[feed], &reporter).await?;
    reporter.finish(environment.clock.monotonic()).map_err(cannot_write)?;
    Ok(ExitCode::from(u8::from(delivery.answer != Answer::Done)))
}

async fn plan(environment: &Environment, feed: &Feed, json: bool) -> Result<ExitCode> {
    let found = source::discover(&environment.stores, &feed.source).try_collect().await?;
    let plan = ingest::plan(environment, feed, found).await?;
    let text = if json { to_json(&plan)? } else { answers::plan(&plan) };
    to_stdout(text.as_bytes())?;
    Ok(ExitCode::from(u8::from(has_failures(&plan))))
}

fn has_failures(plan: &IngestPlan) -> bool {
    plan.objects.iter().any(|object| object.action == ingest::Action::Fail)
}

async fn show(table: &str, rows: usize, resources: &Resources) -> Result<ExitCode> {
    let (settings, environment) = open(resources).await?;
    let feed = settings.feed_of_table(table);
    let table = table::open(&environment, &feed)?;
    let pinned = existing(table.as_ref(), &feed.ledger).await?;
    let batches = table.some_rows(&pinned, rows).await?;
    to_stdout(answers::rows(&batches)?.as_bytes())
}

/// Does what keeps a table in shape.
async fn maintain(table: &str, chore: &Chore, resources: &Resources) -> Result<ExitCode> {
    let (settings, environment) = open(resources).await?;
    let feed = settings.feed_of_table(table);
    if chore.wants_engine() {
        return to_stdout(chore::run(&environment, &feed, chore).await?.as_bytes());
    }
    let table = table::open(&environment, &feed)?;
    existing(table.as_ref(), &feed.ledger).await?;
    match chore.orphans {
        true => sweep_orphans(&environment, &feed, table.as_ref(), chore.dry_run).await,
        false => sum_up(&environment, &feed, table.as_ref()).await,
    }
}

async fn sweep_orphans(
    environment: &Environment,
    feed: &Feed,
    table: &dyn Table,
    dry_run: bool,
) -> Result<ExitCode> {
    let Feed { ledger, commit_attempts_max, .. } = feed;
    let swept = match dry_run {
        true => orphans::plan(environment, table, ledger).await?,
        false => orphans::sweep(environment, table, ledger, *commit_attempts_max).await?,
    };
    to_stdout(answers::orphans(&swept, dry_run).as_bytes())
}

/// Sums a table and its ledger up at the newest version.
async fn sum_up(environment: &Environment, feed: &Feed, table: &dyn Table) -> Result<ExitCode> {
    let Feed { ledger, commit_attempts_max, .. } = feed;
    let merges = commit::merge_ledger(environment, table, ledger, *commit_attempts_max).await;
    let version = existing(table, ledger).await?.version;
    let checkpoint = table.checkpoint(environment, version).await?;
    to_stdout(answers::checkpoint(version, checkpoint).as_bytes())?;
    // One has nothing to do with the other.
    to_stdout(answers::merges(merges?).as_bytes())
}

/// The newest version of a table that must be there.
async fn existing(table: &dyn Table, ledger: &str) -> Result<Snapshot> {
    table.load(ledger).await?.ok_or_else(|| table::missing(table))
}

async fn ledger(command: &LedgerCommand) -> Result<ExitCode> {
    let LedgerTarget { table, ledger, resources, json } = command.target()?;
    let (settings, environment) = open(resources).await?;
    let feed = settings.feed_of_table(table);
    let column = feed.source_file_column.clone().unwrap_or_default();
    let table = table::open(&environment, &feed)?;
    let repaired = match command {
        LedgerCommand::Show { objects, .. } => {
            let names =
                names_in_ledger(&environment, table.as_ref(), ledger, objects.clone()).await?;
            return show_ledger(table.as_ref(), ledger, &names, *json).await;
        }
        LedgerCommand::Adopt(_) => repair::adopt(&environment, table.as_ref(), ledger).await?,
        LedgerCommand::Rebuild(_) => {
            repair::rebuild(&environment, table.as_ref(), ledger, &column).await?
        }
        LedgerCommand::Reset { .. } => repair::reset(&environment, table.as_ref(), ledger).await?,
    };
    let text = if *json { to_json(&repaired)? } else { answers::repair(ledger, &repaired) };
    to_stdout(text.as_bytes())
}

/// Takes back what the table has taken of some objects, or says what that would remove.
async fn undo(target: &LedgerTarget, objects: Vec<String>, dry_run: bool) -> Result<ExitCode> {
    let LedgerTarget { table, ledger, resources, json } = target;
    let (settings, environment) = open(resources).await?;
    let feed = Feed { ledger: ledger.clone(), ..settings.feed_of_table(table) };
    let table = table::open(&environment, &feed)?;
    let names = names_in_ledger(&environment, table.as_ref(), ledger, objects).await?;
    let undone = match dry_run {
        true => undo::plan(&environment, &feed, table.as_ref(), &names).await?,
        false => undo::undo(&environment, &feed, table.as_ref(), &names).await?,
    };
    let text = if *json { to_json(&undone)? } else { answers::undone(&undone, dry_run) };
    to_stdout(text.as_bytes())
}

/// What the ledger calls the objects that a person names, by that very name or by an address.
async fn names_in_ledger(
    environment: &Environment,
    table: &dyn Table,
    ledger: &str,
    objects: Vec<String>,
) -> Result<Vec<String>> {
    let addresses: Vec<Option<String>> =
        objects.iter().map(|object| Some(environment.stores.resolve(object).ok()?.uri)).collect();
    let both =
        objects.iter().map(String::as_str).chain(addresses.iter().flatten().map(String::as_str));
    let pinned = Pin::newest_with(table, ledger, &both.collect::<Vec<_>>()).await?;
    let known = |name: &String| pinned.as_ref().is_some_and(|(_, it)| !it.of(name).is_empty());
    let of_both = objects.into_iter().zip(addresses);
    let mut names: Vec<String> = of_both
        .map(|(object, address)| match address.filter(&known) {
            Some(address) if !known(&object) => address,
            _ => object,
        })
        .collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// Shows the entries of `objects`, or all of them, some at a time: there may be millions.
async fn show_ledger(
    table: &dyn Table,
    name: &str,
    objects: &[String],
    json: bool,
) -> Result<ExitCode> {
    let text = |entries: &[Entry]| if json { lines(entries) } else { Ok(answers::ledger(entries)) };
    existing(table, name).await?;
    let names: Vec<&str> = objects.iter().map(String::as_str).collect();
    let Some((pin, found)) = Pin::newest_with(table, name, &names).await? else {
        return Ok(ExitCode::SUCCESS);
    };
    if !objects.is_empty() {
        let of_objects = objects.iter().flat_map(|name| found.of(name));
        let entries: Vec<Entry> = of_objects.cloned().collect();
        return to_stdout(text(&entries)?.as_bytes());
    }
    let mut all = pin.ledger().entries(table);
    loop {
        match all.try_next().await {
            Ok(Some(entries)) => to_stdout(text(&entries)?.as_bytes())?,
            Ok(None) => break,
            Err(error) => return Err(outrun(table, &pin, error).await),
        };
    }
    let count = if json { String::new() } else { format!("{} entries\n", pin.ledger().count()) };
    to_stdout(count.as_bytes())
}

/// What is missing of a ledger that has moved on meanwhile is not missing.
async fn outrun(table: &dyn Table, pin: &Pin, error: Error) -> Error {
    let newest = table.load(pin.ledger().name()).await;
    let has_moved = newest.is_ok_and(|it| it.and_then(|it| it.pointer) != pin.ledger().pointer());
    if error.kind() != ErrorKind::LedgerMissing || !has_moved {
        return error;
    }
    Error::new(ErrorKind::StorageUnavailable, "the ledger has moved on while it was shown")
        .with_object(table.uri())
        .with_advice("run again; nothing is missing")
}

async fn lease(command: &LeaseCommand) -> Result<ExitCode> {
    let (LeaseCommand::Show(target) | LeaseCommand::Break(target)) = command;
    let LeaseTarget { table, resources, json } = target;
    let (settings, environment) = open(resources).await?;
    let feed = settings.feed_of_table(table);
    let store = lease::open(&environment, table::open(&environment, &feed)?.as_ref());
    let (lease, is_broken) = match command {
        LeaseCommand::Show(_) => (store.inspect().await?, false),
        LeaseCommand::Break(_) => (store.break_().await?, true),
    };
    let text = match json {
        true => to_json(&lease)?,
        false => answers::lease(lease.as_ref(), is_broken, environment.clock.now()),
    };
    to_stdout(text.as_bytes())
}

fn lines<T: serde::Serialize>(values: &[T]) -> Result<String> {
    values.iter().map(to_json).collect()
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<String> {
    let json = serde_json::to_string(value)
        .map_err(|cause| Error::new(ErrorKind::Internal, "no JSON of this").with_cause(cause))?;
    Ok(format!("{json}\n"))
}

fn completions(shell: Shell) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "lakefeed", &mut script);
    to_stdout(&script)
}

/// Writes to standard output; that nobody listens any more is not an error.
fn to_stdout(bytes: &[u8]) -> Result<ExitCode> {
    match io::stdout().lock().write_all(bytes).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(cannot_write(error)),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn cannot_write(cause: io::Error) -> Error {
    Error::new(ErrorKind::StorageUnavailable, "cannot write to standard output").with_cause(cause)
}
