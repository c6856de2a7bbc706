//! How S3 is reached: the `[s3]` table.

use serde::Deserialize;

use super::aws::{validate_endpoint, validate_seconds, validate_texts};
use crate::error::Result;

/// The longest that a request may take. Repeated, it goes out as it was signed, and S3 takes no
/// signature that is older than fifteen minutes.
const REQUEST_SECONDS_MAX: u64 = 300;

/// The `[s3]` table of `lakefeed.toml`. What is left out is as the environment says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3Options {
    /// The address of a store other than Amazon's.
    pub endpoint: Option<String>,
    /// The region of the buckets.
    pub region: Option<String>,
    /// Whether the bucket is part of the host's name and not of the path.
    pub virtual_hosted_style: Option<bool>,
    /// Whether the endpoint may be spoken to without encryption.
    pub allow_http: Option<bool>,
    /// The key of the key management service with which what is written is encrypted.
    pub sse_kms_key_id: Option<String>,
    /// Whether we pay for requests to buckets of others.
    pub request_payer: Option<bool>,
    /// Whether requests go unsigned, to buckets that anyone may read.
    pub unsigned: Option<bool>,
    /// How long a request with its answer may take, in seconds.
    pub request_seconds_max: u64,
}

impl Default for S3Options {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: None,
            virtual_hosted_style: None,
            allow_http: None,
            sse_kms_key_id: None,
            request_payer: None,
            unsigned: None,
            // The longest sends or fetches some megabytes.
            request_seconds_max: 60,
        }
    }
}

impl S3Options {
    /// Checks what no single field can say of itself.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Configuration`], naming the field.
    pub fn validate(&self) -> Result<()> {
        validate_texts(&[
            ("endpoint", &self.endpoint),
            ("region", &self.region),
            ("sse_kms_key_id", &self.sse_kms_key_id),
        ])?;
        validate_seconds(self.request_seconds_max, REQUEST_SECONDS_MAX)?;
        validate_endpoint(self.endpoint.as_deref(), self.allow_http)
    }
}
