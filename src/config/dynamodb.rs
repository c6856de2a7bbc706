//! How DynamoDB is reached, and what its tables are called: the `[dynamodb]` table.

use serde::Deserialize;

use super::aws::{validate_endpoint, validate_seconds, validate_texts};
use super::wrong;
use crate::error::Result;

/// What the name of a table, or its ARN, may have beside letters and digits.
const TABLE_PUNCTUATION: [char; 5] = ['_', '-', '.', ':', '/'];

/// The longest that a request may take: as long as it may with all that repeat it.
const REQUEST_SECONDS_MAX: u64 = 20;

/// The `[dynamodb]` table of `lakefeed.toml`. What is left out is as the environment says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DynamoDbOptions {
    /// The DynamoDB table with the leases of the tables on S3; without it, each is an object beside
    /// its table.
    pub lease_table: Option<String>,
    /// The DynamoDB table in which writers agree on commits, as Delta's `S3DynamoDBLogStore` does.
    pub log_table: String,
    /// The region of both.
    pub region: Option<String>,
    /// The address of a service other than Amazon's.
    pub endpoint: Option<String>,
    /// Whether the endpoint may be spoken to without encryption.
    pub allow_http: Option<bool>,
    /// How long a request with its answer may take, in seconds.
    pub request_seconds_max: u64,
}

impl Default for DynamoDbOptions {
    fn default() -> Self {
        Self {
            lease_table: None,
            log_table: "delta_log".into(),
            region: None,
            endpoint: None,
            allow_http: None,
            request_seconds_max: 5,
        }
    }
}

impl DynamoDbOptions {
    /// Checks what no single field can say of itself.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Configuration`], naming the field.
    pub fn validate(&self) -> Result<()> {
        validate_texts(&[("endpoint", &self.endpoint), ("region", &self.region)])?;
        validate_seconds(self.request_seconds_max, REQUEST_SECONDS_MAX)?;
        validate_endpoint(self.endpoint.as_deref(), self.allow_http)?;
        let legal = |c: char| c.is_ascii_alphanumeric() || TABLE_PUNCTUATION.contains(&c);
        let tables =
            [("lease_table", self.lease_table.as_ref()), ("log_table", Some(&self.log_table))];
        for (field, name) in tables {
            if let Some(name) = name.filter(|name| name.is_empty() || !name.chars().all(legal)) {
                return Err(wrong(format!("{field} {name:?} is no name of a DynamoDB table"))
                    .with_advice("use the characters A-Z, a-z, 0-9, _, - and .; or its ARN"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_name() {
        for (name, is_fine) in [
            ("lakefeed-leases_1.x", true),
            ("arn:aws:dynamodb:eu-central-1:123456789012:table/leases", true),
            ("", false),
            ("leases of mine", false),
        ] {
            let lease = DynamoDbOptions { lease_table: Some(name.into()), ..Default::default() };
            let log = DynamoDbOptions { log_table: name.into(), ..Default::default() };
            assert_eq!(lease.validate().is_ok(), is_fine, "{name}");
            assert_eq!(log.validate().is_ok(), is_fine, "{name}");
        }
    }
}
