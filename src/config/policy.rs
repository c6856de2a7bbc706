//! What becomes of an object, as the user wants it.

use std::str::FromStr;

use serde::Deserialize;

use super::word;
use crate::error::{Error, Result};

/// What names a source object in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKey {
    /// Its whole, canonical URI.
    Uri,
    /// Its path below the folder or the glob's fixed part.
    Relative,
    /// Its last path segment.
    Name,
}

/// What to do with an object that was taken before and has other content now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnChanged {
    /// Leave it.
    Skip,
    /// Add its rows as well.
    Append,
    /// Put its rows in the place of those that it had before.
    Replace,
    /// Call it an error.
    Fail,
}

/// What decides whether an object was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dedupe {
    /// The ledger: what was once taken is not taken again.
    Ledger,
    /// What the table holds now, by its source file column: an object whose rows somebody deleted is
    /// taken again. The ledger tells only which objects have no rows.
    Column,
}

/// What becomes of a row that is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadRows {
    /// It fails its object.
    #[default]
    Fail,
    /// It is kept in a file beside the table.
    Quarantine,
    /// It goes into the table as far as it can be read, and the rest of it into a column of its own.
    Rescue,
    /// It is left out, and counted.
    Drop,
}

/// What is done with what the table has taken, this once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// As the feed's policies say: no object is taken twice.
    #[default]
    Once,
    /// Whatever was taken, each object is taken, in the place of the rows that it had.
    Again,
    /// Whatever was taken, each object is taken as well.
    Append,
    /// The objects together take the place of everything that the table holds, in one commit.
    Overwrite,
}

impl FromStr for SourceKey {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        word(text)
    }
}

impl FromStr for OnChanged {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        word(text)
    }
}

impl FromStr for Dedupe {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        word(text)
    }
}
