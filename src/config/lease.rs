//! Whether writers agree on who may write.

use std::str::FromStr;

use serde::Deserialize;

use super::{values, word, wrong};
use crate::error::{Error, Result};

/// The longest lease: a day. A longer one is a mistake, and would be a long wait after a crash.
const DURATION_SECONDS_MAX: u64 = 24 * 60 * 60;

/// The lease of a feed's table: `[feed.lease]`, or `--lease scope`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LeaseOptions {
    /// What it is held for.
    #[serde(deserialize_with = "values::from_text")]
    pub scope: LeaseScope,
    /// The time without a sign of life after which another writer may take it.
    pub duration_seconds: u64,
    /// How long a commit waits for it, before it goes on without.
    pub wait_seconds_max: u64,
}

impl Default for LeaseOptions {
    fn default() -> Self {
        Self { scope: LeaseScope::Off, duration_seconds: 30, wait_seconds_max: 10 }
    }
}

impl LeaseOptions {
    /// Checks what no single option can say of itself.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Configuration`], naming the option.
    pub fn validate(&self) -> Result<()> {
        for (option, seconds) in [
            ("duration_seconds", self.duration_seconds),
            // No wait at all is a wait, too.
            ("wait_seconds_max", self.wait_seconds_max.max(1)),
        ] {
            if !(1..=DURATION_SECONDS_MAX).contains(&seconds) {
                return Err(wrong(format!("{option} is {seconds}"))
                    .with_advice(format!("give it 1 to {DURATION_SECONDS_MAX} seconds")));
            }
        }
        Ok(())
    }
}

/// What a lease is held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseScope {
    /// Nothing: there is none.
    Off,
    /// Each commit, so that many writers queue instead of colliding.
    Commit,
    /// The whole run; a second run fails at once.
    Run,
}

impl FromStr for LeaseScope {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        word(text)
    }
}
