//! The command line's words, and the feed that they add up to.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use lakefeed::config::{
    self, ColumnType, Dedupe, Feed, Format, LeaseScope, Mode, OnChanged, Settings, SourceKey,
    parse_size,
};
use lakefeed::error::{Error, ErrorKind, Result};

/// Loads CSV files into a Delta table, exactly once, in bounded memory.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
    /// Log what is done to standard error (-v: each step, -vv: each detail)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

const EXAMPLES: &str = "\
Examples:
  Load a folder of CSV files into a table, which is created if it is not there:
    lakefeed ingest landing/ --table lake/orders
  See first what that would do:
    lakefeed plan landing/ --table lake/orders
  Run it again: files that the table has taken already are not taken twice.

Exit codes: 0 when every object was taken, had been taken, or was skipped by policy;
1 when any failed; 2 for a mistake in the command line or the configuration.";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take the objects that the table has not taken yet
    #[command(after_help = INGEST_EXAMPLES)]
    Ingest {
        #[command(flatten)]
        route: Route,
        /// What the table has taken does not count: `append` takes every object, also a second time;
        /// `overwrite` takes them in the place of everything that the table holds
        #[arg(long, value_name = "MODE")]
        mode: Option<BlindMode>,
        /// Write one receipt per object, as a line of JSON, to standard output
        #[arg(long)]
        json: bool,
    },
    /// Say what `ingest` would do, and write nothing
    #[command(after_help = PLAN_EXAMPLES)]
    Plan {
        #[command(flatten)]
        route: Route,
        /// Write the plan as JSON
        #[arg(long)]
        json: bool,
    },
    /// Take objects again, in the place of the rows that the table has of them
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay {
        #[command(flatten)]
        route: Route,
        /// Write one receipt per object, as a line of JSON, to standard output
        #[arg(long)]
        json: bool,
    },
    /// Remove the rows of objects that a table has taken; they are not taken again by themselves
    #[command(after_help = UNDO_EXAMPLES)]
    Undo {
        #[command(flatten)]
        target: LedgerTarget,
        /// The objects, by their names in the ledger or their addresses
        #[arg(value_name = "OBJECT", required = true)]
        objects: Vec<String>,
        /// Say what would be removed, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Show some rows of a table
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        /// The table's path or URI
        table: String,
        /// How many rows
        #[arg(long, value_name = "N", default_value_t = 10)]
        rows: usize,
        #[command(flatten)]
        resources: Resources,
    },
    /// Look at the record of what a table has taken, or mend it
    #[command(subcommand, after_help = LEDGER_EXAMPLES)]
    Ledger(LedgerCommand),
    /// Look at who may write to a table, by agreement, or end that
    #[command(subcommand, after_help = LEASE_EXAMPLES)]
    Lease(LeaseCommand),
    /// Sum a table and its ledger up, so that they load as quickly as new ones; or, in a build with
    /// the feature `maintain`, put its data files together or delete old ones
    #[command(after_help = MAINTAIN_EXAMPLES)]
    Maintain {
        /// The table's path or URI
        table: String,
        #[command(flatten)]
        chore: Chore,
        #[command(flatten)]
        resources: Resources,
    },
    /// Hand an event to the function as a cloud would, here
    #[command(after_help = INVOKE_EXAMPLES)]
    Invoke {
        /// The event, a file of JSON
        #[arg(value_name = "EVENT.json")]
        event: PathBuf,
        #[command(flatten)]
        resources: Resources,
        /// Write one receipt per object, as a line of JSON, then the answer to a queue, to standard output
        #[arg(long)]
        json: bool,
    },
    /// Write a script that completes `lakefeed` in a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        shell: Shell,
    },
}

const INGEST_EXAMPLES: &str = "\
Examples:
  lakefeed ingest landing/ --table lake/orders
  lakefeed ingest 'landing/2026-*.csv.gz' --table lake/orders --partition-by country
  lakefeed ingest export.csv --table lake/orders --csv delimiter=';' --column price='decimal(15,2)'
  lakefeed ingest --config lakefeed.toml --feed orders
  lakefeed ingest snapshot.csv --table lake/customers --mode overwrite";

const PLAN_EXAMPLES: &str = "\
Examples:
  lakefeed plan landing/ --table lake/orders
  lakefeed plan --feed orders";

const REPLAY_EXAMPLES: &str = "\
Examples:
  lakefeed replay landing/2026-11-23.csv --table lake/orders
  lakefeed replay --feed orders";

const UNDO_EXAMPLES: &str = "\
Examples:
  lakefeed undo lake/orders landing/2026-11-23.csv --dry-run
  lakefeed undo lake/orders landing/2026-11-23.csv";

const SHOW_EXAMPLES: &str = "\
Examples:
  lakefeed show lake/orders --rows 3";

const LEDGER_EXAMPLES: &str = "\
Examples:
  lakefeed ledger show lake/orders
  lakefeed ledger rebuild lake/orders --ledger orders-eu";

const LEASE_EXAMPLES: &str = "\
Examples:
  lakefeed lease show lake/orders
  lakefeed lease break lake/orders";

const MAINTAIN_EXAMPLES: &str = "\
Examples:
  lakefeed maintain lake/orders
  lakefeed maintain lake/orders --orphans --dry-run
  lakefeed maintain lake/orders --optimize --memory 4GiB
  lakefeed maintain lake/orders --zorder customer,day --memory 4GiB
  lakefeed maintain lake/orders --vacuum --dry-run";

const INVOKE_EXAMPLES: &str = "\
Examples:
  lakefeed invoke events/schedule/sweep-one-feed.json --config lakefeed.toml
  lakefeed invoke events/aws/sqs.json --config lakefeed.toml --json";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  lakefeed completions bash > ~/.local/share/bash-completion/completions/lakefeed
  lakefeed completions zsh > \"${fpath[1]}/_lakefeed\"";

/// What is done with a table's files, instead.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("deletion").args(["orphans", "vacuum"])))]
pub struct Chore {
    /// Delete what killed and frozen writers left behind: files that no commit names, and none may still
    /// name
    #[arg(long)]
    pub orphans: bool,
    /// Put small data files together
    #[arg(long, conflicts_with_all = ["zorder", "deletion"])]
    pub optimize: bool,
    /// Put all data files together, rows near each other that are alike in these columns
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', conflicts_with = "deletion")]
    pub zorder: Option<Vec<String>>,
    /// Delete data files that the newest version has no use for, and that are old enough
    #[arg(long)]
    pub vacuum: bool,
    /// Say what would be deleted, and delete nothing
    #[arg(long, requires = "deletion")]
    pub dry_run: bool,
    /// How old is old enough [default: as the table says, or 168]
    #[arg(long, value_name = "HOURS", requires = "vacuum")]
    pub retain: Option<u32>,
    /// Yes, even if the table says that files are kept for longer
    #[arg(long, requires = "retain")]
    pub yes: bool,
}

impl Chore {
    /// Whether it takes the engine of the feature `maintain`.
    pub fn wants_engine(&self) -> bool {
        self.optimize || self.zorder.is_some() || self.vacuum
    }
}

/// Where the configuration is, and how much memory there is.
#[derive(Debug, Args)]
pub struct Resources {
    /// The configuration, a file or an address [default: $LAKEFEED_CONFIG, or lakefeed.toml here]
    #[arg(long, value_name = "FILE")]
    pub config: Option<String>,
    /// What the process may use in all, as 256MiB [default: the container's limit, at most 512MiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub memory: Option<u64>,
}

/// What to take, where to, and how.
#[derive(Debug, Args)]
pub struct Route {
    /// Files, folders, globs or URIs [default: the feed's]
    #[arg(value_name = "SOURCE", required_unless_present = "feed")]
    sources: Vec<String>,
    /// The table's path or URI [default: the feed's]
    #[arg(long, value_name = "URI", required_unless_present = "feed")]
    table: Option<String>,
    /// A feed of the configuration; the other flags override its fields
    #[arg(long, value_name = "NAME")]
    feed: Option<String>,
    #[command(flatten)]
    pub resources: Resources,
    /// The table's format: delta or iceberg [default: delta]
    #[arg(long)]
    format: Option<Format>,
    /// How the CSV is written, as delimiter=';' or header=false; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = csv_option)]
    csv: Vec<(String, String)>,
    /// What becomes of columns that are new or missing, as new_columns=add; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = drift_option)]
    drift: Vec<(String, String)>,
    /// A column's type, as price='decimal(15,2)'; repeatable [default: the table's, or inferred]
    #[arg(long, value_name = "NAME=TYPE", value_parser = column)]
    column: Vec<(String, ColumnType)>,
    /// The partition columns of a table that is created, as country,day
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    partition_by: Option<Vec<String>>,
    /// What to do with an object that was taken and has changed: skip, append, replace or fail
    /// [default: skip]
    #[arg(long, value_name = "POLICY")]
    on_changed: Option<OnChanged>,
    /// What decides whether an object was taken: ledger, or column, what the table holds now
    /// [default: ledger]
    #[arg(long, value_name = "WHAT")]
    dedupe: Option<Dedupe>,
    /// What names an object in the ledger: uri, relative or name [default: uri]
    #[arg(long, value_name = "KEY")]
    source_key: Option<SourceKey>,
    /// The ledger in which the objects are entered [default: default]
    #[arg(long, value_name = "NAME")]
    ledger: Option<String>,
    /// What the table's lease is held for: off, commit or run [default: off]
    #[arg(long, value_name = "SCOPE")]
    lease: Option<LeaseScope>,
}

impl Route {
    /// The feed that the configuration and the flags describe together.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`], from either.
    pub fn feed(self, settings: &Settings, mode: Mode) -> Result<Feed> {
        let mut feed = match &self.feed {
            Some(name) => settings.feed(name)?.clone(),
            None => settings.feed("default").cloned().unwrap_or_default(),
        };
        if !self.sources.is_empty() {
            feed.source = self.sources;
        }
        replace(&mut feed.table, self.table);
        replace(&mut feed.format, self.format);
        replace(&mut feed.partition_by, self.partition_by);
        replace(&mut feed.on_changed, self.on_changed);
        replace(&mut feed.dedupe, self.dedupe);
        replace(&mut feed.source_key, self.source_key);
        replace(&mut feed.ledger, self.ledger);
        replace(&mut feed.lease.scope, self.lease);
        feed.mode = mode;
        for (name, column_type) in self.column {
            feed.columns.entry(name).or_default().column_type = Some(column_type);
        }
        for (key, value) in &self.csv {
            feed.csv.set(key, value)?;
        }
        for (key, value) in &self.drift {
            feed.drift.set(key, value)?;
        }
        feed.validate()?;
        Ok(feed)
    }
}

/// A mode in which the ledger is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BlindMode {
    /// Every object is taken as well.
    Append,
    /// The objects take the place of everything.
    Overwrite,
}

impl From<BlindMode> for Mode {
    fn from(mode: BlindMode) -> Self {
        match mode {
            BlindMode::Append => Self::Append,
            BlindMode::Overwrite => Self::Overwrite,
        }
    }
}

fn replace<T>(field: &mut T, flag: Option<T>) {
    if let Some(value) = flag {
        *field = value;
    }
}

#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// List the objects that the table has taken
    Show {
        #[command(flatten)]
        target: LedgerTarget,
        /// Only these, by the names that the list has
        #[arg(value_name = "OBJECT")]
        objects: Vec<String>,
    },
    /// Begin a ledger for a table that was filled without one
    Adopt(LedgerTarget),
    /// Make the ledger again from the table's source file column
    Rebuild(LedgerTarget),
    /// Forget what was taken; every object may then be taken again
    Reset {
        #[command(flatten)]
        target: LedgerTarget,
        /// Yes, forget it
        #[arg(long)]
        yes: bool,
    },
}

/// One ledger of one table.
#[derive(Debug, Args)]
pub struct LedgerTarget {
    /// The table's path or URI
    pub table: String,
    /// The ledger's name
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub ledger: String,
    #[command(flatten)]
    pub resources: Resources,
    /// Write JSON to standard output
    #[arg(long)]
    pub json: bool,
}

impl LedgerCommand {
    /// The ledger that the command is about.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] for a reset without `--yes`.
    pub fn target(&self) -> Result<&LedgerTarget> {
        match self {
            Self::Show { target, .. } | Self::Adopt(target) | Self::Rebuild(target) => Ok(target),
            Self::Reset { target, yes: true } => Ok(target),
            Self::Reset { target, yes: false } => Err(Error::new(
                ErrorKind::Configuration,
                "reset forgets which objects the table has taken, so that rows may come twice",
            )
            .with_object(&target.table)
            .with_advice("add --yes if that is what you want")),
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum LeaseCommand {
    /// Say who holds the table's lease, since when, and what for
    Show(LeaseTarget),
    /// End the table's lease, whoever holds it; no row depends on it
    Break(LeaseTarget),
}

/// The lease of one table.
#[derive(Debug, Args)]
pub struct LeaseTarget {
    /// The table's path or URI
    pub table: String,
    #[command(flatten)]
    pub resources: Resources,
    /// Write JSON to standard output
    #[arg(long)]
    pub json: bool,
}

/// `key=value`, with a known key and a legal value.
fn csv_option(text: &str) -> Result<(String, String)> {
    let (key, value) = text.split_once('=').ok_or_else(|| unpaired(text, "delimiter=';'"))?;
    config::CsvOptions::default().set(key, value)?;
    Ok((key.to_owned(), value.to_owned()))
}

/// `key=value`, with a known key and a legal value.
fn drift_option(text: &str) -> Result<(String, String)> {
    let (key, value) = text.split_once('=').ok_or_else(|| unpaired(text, "new_columns=add"))?;
    config::DriftOptions::default().set(key, value)?;
    Ok((key.to_owned(), value.to_owned()))
}

/// `name=type`; a type has no equals sign, but a name may.
fn column(text: &str) -> Result<(String, ColumnType)> {
    let (name, kind) = text.rsplit_once('=').ok_or_else(|| unpaired(text, "price=float64"))?;
    Ok((name.to_owned(), kind.parse()?))
}

fn unpaired(text: &str, example: &str) -> Error {
    Error::new(ErrorKind::Configuration, format!("{text:?} has no equals sign"))
        .with_advice(format!("write it as {example}"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(["lakefeed"].iter().chain(line))
    }

    fn feed(settings: &Settings, line: &[&str]) -> Result<Feed> {
        match parse(line).unwrap().command {
            Command::Ingest { route, .. } | Command::Plan { route, .. } => {
                route.feed(settings, Mode::Once)
            }
            other => panic!("{other:?}"),
        }
    }

    fn orders() -> Settings {
        Settings::parse(
            "[[feed]]\nname = 'orders'\nsource = 'landing/'\ntable = 'lake/orders'\n\
             ledger = 'eu'\ncolumns = { id = 'int64', price = 'float64' }\n\
             csv = { delimiter = ';', header = false }\n",
        )
        .unwrap()
    }

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_source_and_a_table_are_enough() {
        let ours =
            feed(&Settings::default(), &["ingest", "a.csv", "b/", "--table", "out"]).unwrap();
        let expected = Feed {
            source: vec!["a.csv".into(), "b/".into()],
            table: "out".into(),
            ..Feed::default()
        };
        assert_eq!(ours, expected);
    }

    #[test]
    fn a_feed_is_enough() {
        let settings = orders();
        assert_eq!(&feed(&settings, &["plan", "--feed", "orders"]).unwrap(), &settings.feeds[0]);
        let error = feed(&settings, &["plan", "--feed", "ordres"]).unwrap_err();
        assert!(error.to_string().contains("did you mean \"orders\"?"), "{error}");
    }

    #[test]
    fn without_a_name_the_default_feed_counts() {
        let mut settings = orders();
        let line = ["ingest", "x.csv", "--table", "out"];
        assert_eq!(feed(&settings, &line).unwrap().ledger, "default");
        settings.feeds[0].name = "default".into();
        let ours = feed(&settings, &line).unwrap();
        assert_eq!((ours.ledger.as_str(), ours.table.as_str()), ("eu", "out"));
        assert_eq!(ours.source, ["x.csv"]);
    }

    #[test]
    fn flags_override_the_feed() {
        let ours = feed(
            &orders(),
            &[
                "ingest",
                "x.csv",
                "--feed=orders",
                "--table=t",
                "--format=iceberg",
                "--ledger=us",
                "--csv=delimiter=tab",
                "--csv",
                "null_values=NA,null",
                "--column",
                "price=decimal(15,2)",
                "--column=a=b=date",
                "--partition-by=country,day",
                "--on-changed=fail",
                "--dedupe=column",
                "--source-key=name",
                "--lease=run",
            ],
        )
        .unwrap();
        assert_eq!((ours.source, ours.table.as_str()), (vec!["x.csv".to_owned()], "t"));
        assert_eq!((ours.format, ours.ledger.as_str()), (Format::Iceberg, "us"));
        assert_eq!(
            (ours.csv.delimiter.as_deref(), ours.csv.header),
            (Some(&b"\t"[..]), Some(false))
        );
        assert_eq!(ours.csv.null_values, ["NA", "null"]);
        let columns: Vec<String> = ours
            .columns
            .iter()
            .map(|(name, options)| format!("{name}: {}", options.column_type.as_ref().unwrap()))
            .collect();
        assert_eq!(columns, ["a=b: date", "id: int64", "price: decimal(15,2)"]);
        assert_eq!(ours.partition_by, ["country", "day"]);
        assert_eq!((ours.on_changed, ours.source_key), (OnChanged::Fail, SourceKey::Name));
        assert_eq!((ours.dedupe, ours.lease.scope), (Dedupe::Column, LeaseScope::Run));
    }

    #[test]
    fn the_flags_together_are_checked() {
        let line = ["ingest", "x", "--table=t", "--csv=delimiter=|", "--csv=quote=|"];
        let error = feed(&Settings::default(), &line).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
    }

    #[test]
    fn bad_usage_says_what_is_wrong_and_exits_with_2() {
        for (line, expected) in [
            (vec!["ingest"], "<SOURCE>"),
            (vec!["ingest", "x"], "--table"),
            (vec!["ingest", "x", "--table=t", "--csv=delimeter=;"], "did you mean \"delimiter\"?"),
            (vec!["ingest", "x", "--table=t", "--csv=header"], "has no equals sign"),
            (vec!["ingest", "x", "--table=t", "--csv=quote=;;"], "is not a single byte"),
            (vec!["ingest", "x", "--table=t", "--column=a=text64"], "is not a column type"),
            (vec!["ingest", "x", "--table=t", "--memory=lots"], "is not a size"),
            (vec!["ingest", "x", "--table=t", "--on-changed=never"], "replace"),
            (vec!["ingest", "x", "--table=t", "--mode=merge"], "overwrite"),
            (vec!["undo", "t"], "<OBJECT>"),
            (vec!["ingest", "x", "--table=t", "--format=hudi"], "delta"),
            (vec!["ledger"], "rebuild"),
        ] {
            let error = parse(&line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line:?}");
            assert!(error.to_string().contains(expected), "{line:?}: {error}");
        }
    }

    #[test]
    fn a_reset_asks_for_yes() {
        let target = |line: &[&str]| match parse(line).unwrap().command {
            Command::Ledger(command) => command.target().map(|target| target.table.clone()),
            other => panic!("{other:?}"),
        };
        let error = target(&["ledger", "reset", "t"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert_eq!(target(&["ledger", "reset", "t", "--yes"]).unwrap(), "t");
        assert_eq!(target(&["ledger", "show", "t", "--json"]).unwrap(), "t");
    }
}
