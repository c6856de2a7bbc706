//! What becomes of an object's columns that are not the table's, and of the table's that it lacks.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{file, values, word, wrong};
use crate::error::{Error, Result};

/// How the objects' columns and the table's come together: `[feed.drift]`, or `--drift key=value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DriftOptions {
    /// What makes a field of an object the table's column.
    #[serde(rename = "match", deserialize_with = "values::from_text")]
    pub match_by: MatchBy,
    /// Whether names that differ in case only are one.
    #[serde(deserialize_with = "values::from_text")]
    pub case: NameCase,
    /// What to do with an object that lacks a column of the table.
    #[serde(deserialize_with = "values::from_text")]
    pub missing_columns: MissingColumns,
    /// What to do with an object that has a column more than the table.
    #[serde(deserialize_with = "values::from_text")]
    pub new_columns: NewColumns,
    /// Whether a column becomes wider when its values do, where the table allows it.
    pub widen: bool,
}

impl Default for DriftOptions {
    fn default() -> Self {
        Self {
            match_by: MatchBy::Name,
            case: NameCase::Insensitive,
            missing_columns: MissingColumns::Null,
            new_columns: NewColumns::Fail,
            widen: true,
        }
    }
}

impl DriftOptions {
    /// Sets the option `key` as the command line writes it.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Configuration`], as from the file.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        match key {
            "match" => self.match_by = value.parse()?,
            "case" => self.case = value.parse()?,
            "missing_columns" => self.missing_columns = value.parse()?,
            "new_columns" => self.new_columns = value.parse()?,
            "widen" => {
                self.widen = value.parse().map_err(|_| {
                    wrong(format!("{value:?} is not true or false")).with_advice("say widen=false")
                })?;
            }
            _ => return Err(file::unknown::<Self>(key, "--drift")),
        }
        Ok(())
    }
}

/// What makes a field of an object the table's column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchBy {
    /// Its name in the header; where there is none, its position.
    Name,
    /// Its position, whatever the header says.
    Position,
}

/// Whether names that differ in case only are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameCase {
    /// They are.
    Insensitive,
    /// They are not.
    Sensitive,
}

/// What to do with an object that lacks a column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingColumns {
    /// Its rows have null there.
    Null,
    /// Fail it.
    Fail,
}

/// What to do with an object that has a column more than the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NewColumns {
    /// Fail it.
    Fail,
    /// Add the column to the table, in the commit that adds the rows.
    Add,
    /// Put its values into the column of what is rescued.
    Rescue,
    /// Leave its values out.
    Ignore,
}

impl FromStr for MatchBy {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        word(text)
    }
}

impl FromStr for NameCase {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        word(text)
    }
}

impl FromStr for MissingColumns {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        word(text)
    }
}

impl FromStr for NewColumns {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        word(text)
    }
}
