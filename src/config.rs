//! What the user can set: plain data, read from `lakefeed.toml` and from flags.
//!
//! Every field has a default and a place in `docs/configuration.md`; a test holds that page and this
//! code together. A value has one parser, whether it comes from the file or from a flag, and a name
//! that is not known is refused with the nearest one that is.

use std::collections::{BTreeMap, HashSet};
use std::str::FromStr;

use serde::Deserialize;
use serde::de::IntoDeserializer;

use crate::csv::{Formats, LongRows};
use crate::error::{Error, ErrorKind, Result};

pub use aws::{AwsAccess, AwsVariables};
pub use column::{ColumnFormat, ColumnOptions};
pub use column_type::ColumnType;
pub use csv::CsvOptions;
pub use drift::{DriftOptions, MatchBy, MissingColumns, NameCase, NewColumns};
pub use dynamodb::DynamoDbOptions;
pub use file::CONFIGURATION_BYTES_MAX;
pub use function::FunctionIdentity;
pub use lease::{LeaseOptions, LeaseScope};
pub use log::log_filter;
pub use memory::{MemoryOrigin, memory_limit};
pub use origin::{ADDRESS_VARIABLE, Origin, TEXT_VARIABLE, origin};
pub use policy::{BadRows, Dedupe, Mode, OnChanged, SourceKey};
pub use s3::S3Options;
#[cfg(feature = "maintain")]
pub(crate) use values::nearest;
pub use values::parse_size;

mod aws;
mod column;
mod column_type;
mod csv;
mod drift;
mod dynamodb;
mod file;
mod function;
mod lease;
mod log;
mod memory;
mod origin;
mod policy;
mod s3;
mod spelling;
mod values;

/// The longest name of a ledger: it is a folder's name and part of a transaction's.
const LEDGER_NAME_BYTES_MAX: usize = 64;

/// The whole of `lakefeed.toml`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What the process may use in all, in bytes.
    #[serde(deserialize_with = "values::optional_size")]
    pub memory: Option<u64>,
    /// How S3 is reached.
    pub s3: S3Options,
    /// How DynamoDB is reached.
    pub dynamodb: DynamoDbOptions,
    /// The routes from sources to tables.
    #[serde(rename = "feed")]
    pub feeds: Vec<Feed>,
}

impl Settings {
    /// The feed of this name.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when there is none, naming those that there are.
    pub fn feed(&self, name: &str) -> Result<&Feed> {
        self.feeds.iter().find(|feed| feed.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.feeds.iter().map(|feed| feed.name.as_str()).collect();
            let error = wrong(format!("there is no feed {name:?}"));
            if let Some(nearest) = values::nearest(name, &names) {
                return error.with_advice(format!("did you mean {nearest:?}?"));
            }
            match names.is_empty() {
                true => error.with_advice("add a [[feed]] of that name to lakefeed.toml"),
                false => error.with_advice(format!("the feeds are {}", names.join(", "))),
            }
        })
    }
}

impl Settings {
    /// What commands on the table at `address` need to know, by the first feed into it: its format,
    /// how it is committed to, how its address is written where that counts, and which column names
    /// the sources; without a feed, as by default.
    pub fn feed_of_table(&self, address: &str) -> Feed {
        let known = self.feeds.iter().find(|feed| is_same_table(&feed.table, address));
        let Some(Feed { table, format, commit, source_file_column, target_file_bytes, .. }) =
            known.cloned()
        else {
            return Feed { table: address.to_owned(), ..Feed::default() };
        };
        Feed { table, format, commit, source_file_column, target_file_bytes, ..Feed::default() }
    }

    /// Refuses feeds of one table that would not exclude each other.
    fn validate_commits(&self) -> Result<()> {
        for (number, feed) in self.feeds.iter().enumerate() {
            let differs = |other: &&Feed| {
                let in_name = feed.commit == CommitProtocol::DynamoDb
                    && scheme_of(&feed.table) != scheme_of(&other.table);
                is_same_table(&feed.table, &other.table) && (feed.commit != other.commit || in_name)
            };
            if let Some(other) = self.feeds[..number].iter().find(differs) {
                return Err(wrong(format!(
                    "{:?} and {:?} commit to one table in two ways",
                    other.name, feed.name
                ))
                .with_advice("give them the same commit, and write the table's address alike"));
            }
        }
        Ok(())
    }
}

/// Whether two addresses are the same table's, as far as they alone can tell.
fn is_same_table(one: &str, other: &str) -> bool {
    fn plain(address: &str) -> (&str, &str) {
        let (scheme, rest) = address.split_once("://").unwrap_or_default();
        match scheme {
            "s3" | "s3a" => ("s3", rest.trim_end_matches('/')),
            _ => ("", address.trim_end_matches('/')),
        }
    }
    plain(one) == plain(other)
}

fn scheme_of(address: &str) -> &str {
    address.split_once("://").unwrap_or_default().0
}

/// One configured route: source patterns, a table, and the policies between them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Feed {
    /// What `--feed` and the logs call it.
    pub name: String,
    /// Files, folders, globs or URIs; at least one.
    #[serde(deserialize_with = "values::one_or_many")]
    pub source: Vec<String>,
    /// The table's path or URI.
    pub table: String,
    /// The table's format.
    #[serde(deserialize_with = "values::from_text")]
    pub format: Format,
    /// How the table's writers exclude each other.
    #[serde(deserialize_with = "values::from_text")]
    pub commit: CommitProtocol,
    /// The table's ledger that this feed's objects are entered in.
    pub ledger: String,
    /// What names a source object in the ledger.
    #[serde(deserialize_with = "values::from_text")]
    pub source_key: SourceKey,
    /// What to do with an object that was taken before and has other content now.
    #[serde(deserialize_with = "values::from_text")]
    pub on_changed: OnChanged,
    /// What decides whether an object was taken.
    #[serde(deserialize_with = "values::from_text")]
    pub dedupe: Dedupe,
    /// The column that holds the name of each row's object, where the table is to have one.
    #[serde(deserialize_with = "values::text_or_false")]
    pub source_file_column: Option<String>,
    /// The partition columns of a table that is still to be made, in order.
    pub partition_by: Vec<String>,
    /// What is said of columns, by name.
    #[serde(deserialize_with = "column::columns")]
    pub columns: BTreeMap<String, ColumnOptions>,
    /// The size at which a data file is finished and the next one begun.
    #[serde(deserialize_with = "values::size")]
    pub target_file_bytes: u64,
    /// The largest object, decoded, that shares a data file with others.
    #[serde(deserialize_with = "values::size")]
    pub stage_bytes_max: u64,
    /// How many times a commit is tried before the race is given up.
    pub commit_attempts_max: u32,
    /// How much of an object is read to infer its columns' types.
    #[serde(deserialize_with = "values::size")]
    pub sample_bytes_max: u64,
    /// Whether writers agree on who may write.
    pub lease: LeaseOptions,
    /// How the objects are written.
    pub csv: CsvOptions,
    /// How the objects' columns and the table's come together.
    pub drift: DriftOptions,
    /// What is asked for this once: a command says it, never the configuration.
    #[serde(skip)]
    pub mode: Mode,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            name: "default".into(),
            source: Vec::new(),
            table: String::new(),
            format: Format::Delta,
            commit: CommitProtocol::ConditionalPut,
            ledger: "default".into(),
            source_key: SourceKey::Uri,
            on_changed: OnChanged::Skip,
            dedupe: Dedupe::Ledger,
            source_file_column: Some("_source_file".into()),
            partition_by: Vec::new(),
            columns: BTreeMap::new(),
            target_file_bytes: 128 << 20,
            stage_bytes_max: 16 << 20,
            commit_attempts_max: 10,
            sample_bytes_max: 4 << 20,
            lease: LeaseOptions::default(),
            csv: CsvOptions::default(),
            drift: DriftOptions::default(),
            mode: Mode::Once,
        }
    }
}

impl Feed {
    /// Why the feed needs to know whose each row is, if it does.
    pub fn needs_source_file_column(&self) -> Option<&'static str> {
        let reasons = [
            (self.mode == Mode::Again, "what is taken again takes the place of what was there"),
            (self.on_changed == OnChanged::Replace, "on_changed is \"replace\""),
            (self.dedupe == Dedupe::Column, "dedupe is \"column\""),
        ];
        reasons.into_iter().find(|(is_so, _)| *is_so).map(|(_, reason)| reason)
    }

    /// How the columns' values are written, each column by the name that `fold` makes of its own.
    pub fn formats(&self, fold: impl Fn(&str) -> String) -> Formats {
        let usual = self.csv.value_format();
        let columns = self.columns.iter();
        let columns = columns.map(|(name, options)| (fold(name), options.value_format(&usual)));
        Formats::new(usual.clone(), columns)
    }

    /// The column that takes what has no column of its own, where the feed wants that.
    pub fn rescued_column(&self) -> Option<&str> {
        let rules = self.csv.row_rules();
        let wanted = self.drift.new_columns == NewColumns::Rescue
            || rules.rescue
            || rules.long_rows == LongRows::Rescue;
        wanted.then_some(self.csv.rescued_column.as_str())
    }

    /// Checks what no single field can say of itself.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`], naming the field.
    pub fn validate(&self) -> Result<()> {
        self.validate_route()?;
        self.validate_columns()?;
        for (field, value) in [
            ("target_file_bytes", self.target_file_bytes),
            ("commit_attempts_max", self.commit_attempts_max.into()),
            ("sample_bytes_max", self.sample_bytes_max),
        ] {
            if value == 0 {
                return Err(wrong(format!("{field} is 0")).with_advice("give it at least 1"));
            }
        }
        self.lease.validate()?;
        self.csv.validate()
    }

    fn validate_route(&self) -> Result<()> {
        if self.name.is_empty() {
            return Err(wrong("name is empty").with_advice("leave it out for \"default\""));
        }
        if self.source.is_empty() || self.source.iter().any(String::is_empty) {
            return Err(wrong("source is missing or empty")
                .with_advice("name a file, a folder, a glob or a URI"));
        }
        if self.table.is_empty() {
            return Err(wrong("table is missing").with_advice("give the table's path or URI"));
        }
        if self.commit == CommitProtocol::DynamoDb
            && !(self.table.starts_with("s3://") || self.table.starts_with("s3a://"))
        {
            return Err(wrong("commit is \"dynamodb\" for a table that is not on S3")
                .with_advice("leave commit out, or give the table's s3:// or s3a:// address"));
        }
        if self.commit == CommitProtocol::DynamoDb && self.format != Format::Delta {
            return Err(wrong("commit is \"dynamodb\" for a table that is not Delta")
                .with_advice("leave commit out: that is how Delta tables are committed to"));
        }
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if self.ledger.is_empty()
            || self.ledger.len() > LEDGER_NAME_BYTES_MAX
            || !self.ledger.bytes().all(legal)
        {
            return Err(wrong(format!("{:?} cannot be the name of a ledger", self.ledger))
                .with_advice(format!(
                    "use 1 to {LEDGER_NAME_BYTES_MAX} of the characters A-Z, a-z, 0-9, _ and -"
                )));
        }
        Ok(())
    }

    fn validate_columns(&self) -> Result<()> {
        if self.source_file_column.as_deref() == Some("") {
            return Err(wrong("source_file_column is empty")
                .with_advice("give it a name, or say false for no such column"));
        }
        if let (None, Some(reason)) = (&self.source_file_column, self.needs_source_file_column()) {
            return Err(wrong(format!("there is no source_file_column, and {reason}"))
                .with_advice("leave source_file_column out, or give it a name"));
        }
        if self.columns.contains_key("") {
            return Err(wrong("a column in columns has no name"));
        }
        let usual = self.csv.value_format();
        for (name, options) in &self.columns {
            options.validate(&usual).map_err(|error| {
                let advice = error.advice().unwrap_or_default().to_owned();
                wrong(format!("column {name:?}: {}", error.message())).with_advice(advice)
            })?;
        }
        let mut seen = HashSet::new();
        for column in &self.partition_by {
            if column.is_empty() {
                return Err(wrong("a column in partition_by has no name"));
            }
            if !seen.insert(column) {
                return Err(wrong(format!("partition_by names {column:?} twice")));
            }
            if Some(column) == self.source_file_column.as_ref() {
                return Err(wrong(format!("partition_by names the source file column {column:?}"))
                    .with_advice("it would make a partition of every object"));
            }
        }
        Ok(())
    }
}

/// A table format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Delta Lake.
    Delta,
    /// Apache Iceberg.
    Iceberg,
}

/// How the writers of a Delta table exclude each other. All of one table have to do it in one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum CommitProtocol {
    /// The log file of a version is put on the condition that there is none.
    #[serde(rename = "conditional_put")]
    ConditionalPut,
    /// An entry in a DynamoDB table comes first, as Spark's `S3DynamoDBLogStore` has it.
    #[serde(rename = "dynamodb")]
    DynamoDb,
}

impl FromStr for Format {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        word(text)
    }
}

impl FromStr for CommitProtocol {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        word(text)
    }
}

/// One of an enumeration's words.
fn word<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T> {
    T::deserialize(text.into_deserializer())
        .map_err(|error: serde::de::value::Error| wrong(error.to_string()))
}

/// A variable of the environment; one that is empty counts as absent.
#[allow(clippy::disallowed_methods)]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Configuration, message)
}

#[cfg(test)]
mod page_tests;
#[cfg(test)]
mod tests;
